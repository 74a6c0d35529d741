//! What does not change in a fit: weights and rates of features and cells.

use super::driver::{Buffer, Queue};
use super::kernels::{Address, Rates};
use crate::Result;
use crate::backend::{Job, Set};

/// Weights and rates of features and cells.
pub struct Constants {
    feature_weight: Option<Buffer<f32>>,
    profile: Option<Buffer<f32>>,
    sets: [OfSet; 2],
}

#[derive(Default)]
struct OfSet {
    cell_weight: Option<Buffer<f32>>,
    ambient: Option<Buffer<f32>>,
    down: Option<Buffer<f32>>,
}

impl Constants {
    /// Those of a job, which are the same in all of a fit.
    pub fn upload(queue: &Queue, job: &Job<'_, f32>) -> Result<Self> {
        let copy = |values: Vec<f32>| {
            let some = (!values.is_empty()).then_some(values);
            some.map(|values| queue.upload(values, "weights"))
                .transpose()
        };
        let of_set = |set: usize| -> Result<OfSet> {
            let background = set == Set::Background as usize;
            let ambient = if background { job.ambient } else { &[] };
            let weight = job.weights[set].iter().map(|&weight| weight as f32);
            let factors = job.size_factors[set].iter();
            Ok(OfSet {
                cell_weight: copy(weight.collect())?,
                ambient: copy(ambient.to_vec())?,
                down: copy(factors.map(|factor| factor.recip() as f32).collect())?,
            })
        };
        Ok(Constants {
            feature_weight: copy(job.basis.weight.to_vec())?,
            profile: copy(job.basis.ambient.to_vec())?,
            sets: [of_set(0)?, of_set(1)?],
        })
    }

    /// Those of a set's cells from this one on.
    pub fn rates(&self, set: usize, first: usize, guard: f32) -> Rates {
        let of_set = &self.sets[set];
        Rates {
            feature_weight: address(&self.feature_weight, 0),
            cell_weight: address(&of_set.cell_weight, first),
            profile: address(&self.profile, 0),
            ambient: address(&of_set.ambient, first),
            guard,
            ..Rates::default()
        }
    }

    /// The reciprocal size factors of a set's cells from this one on.
    pub fn down(&self, set: usize, first: usize) -> Address {
        address(&self.sets[set].down, first)
    }
}

/// Where an entry of a buffer is, if there is one.
fn address(buffer: &Option<Buffer<f32>>, at: usize) -> Address {
    buffer.as_ref().map_or(0, |buffer| buffer.at(at))
}

//! What predictions of held-out entries are measured by.

use crate::loss::{self, LossKind};
use crate::matrix::{Columns, Matrix, Summary, with_columns};
use crate::real::Real;

/// The mean profile of a set and the weights of its features; empty without a hold-out.
///
/// Counts have heavy tails: one red cell's haemoglobin weighs as much as all that a usual cell holds, and whether it is held
/// out, or gets a factor, would decide every comparison. So a feature's divergence is divided by what a cell of the set
/// loses of it under the mean profile model (all cells alike but for their sums), plus the mean of that over features, which
/// keeps rare features from being blown up. The weights depend on the data alone, so they favour no model; and the weighted
/// divergence of two sets is on one scale.
#[derive(Clone, Debug, Default)]
pub(super) struct Yardstick<T> {
    profile: Vec<T>,
    weight: Vec<T>,
}

impl<T: Real> Yardstick<T> {
    /// `unit`: what a divergence is multiplied by to be in the data's own units.
    pub fn new(matrix: &Matrix<'_>, set: &Summary, loss: LossKind, unit: f64) -> Self {
        let null = with_columns!(matrix, block => mean_profile_losses(block, set, loss));
        let mean = null.iter().sum::<f64>() / null.len() as f64;
        let size = match loss {
            LossKind::Mse => set.sum_squares,
            LossKind::Poisson | LossKind::Nb => set.sum,
        };
        // All cells alike: no rounding error may pass for a loss.
        let least = 1e-9 * size / (null.len() * set.column_sums.len()) as f64;
        let weight = |null: &f64| T::of(unit / (null + mean).max(least));
        Yardstick {
            profile: set.profile(),
            weight: null.iter().map(weight).collect(),
        }
    }

    pub fn view(&self) -> loss::Yardstick<'_, T> {
        loss::Yardstick {
            profile: &self.profile,
            weight: &self.weight,
        }
    }
}

/// The mean over cells of each feature's divergence from `p s`, its share of the set's total times the cell's sum.
fn mean_profile_losses(block: &impl Columns, set: &Summary, loss: LossKind) -> Vec<f64> {
    let share: Vec<f64> = set.profile();
    let mut sums = match loss {
        LossKind::Mse => {
            let squares: f64 = set.column_sums.iter().map(|s| s * s).sum();
            share.iter().map(|p| p * p * squares).collect()
        }
        // Σ (p s − x) over the cells of a feature is 0.
        LossKind::Poisson | LossKind::Nb => vec![0.0; share.len()],
    };
    for (j, cell) in set.column_sums.iter().enumerate() {
        for (i, x) in block.column(j).filter(|(_, x)| *x > 0.0) {
            let rate = share[i] * cell;
            sums[i] += match loss {
                LossKind::Mse => x * (x - 2.0 * rate),
                LossKind::Poisson | LossKind::Nb => x * (x / rate).ln(),
            };
        }
    }
    let cells = set.column_sums.len() as f64;
    sums.iter().map(|sum| sum.max(0.0) / cells).collect()
}

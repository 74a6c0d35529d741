//! What a contrasted background of counts has besides its factors, so that the objective has a lower bound.

use super::{FitParams, Problem};
use crate::real::{Real, count};

/// The background's rate without factors: profile over features, and a multiple of it for each cell.
#[derive(Default)]
pub struct Ambient<T> {
    /// Empty, as all of it, where there is none.
    pub profile: Vec<T>,
    /// Sum of the profile, each feature times its weight.
    pub sum: T,
    /// Of each cell, what the profile is multiplied by.
    pub cells: Vec<T>,
}

impl<T: Real> Ambient<T> {
    /// Empty unless the background is contrasted and the loss has need of it.
    pub fn new(problem: &Problem<'_>, params: &FitParams, unit: f64) -> Self {
        let needed = params.loss.is_counts() && params.weight < 0.0 && params.ambient > 0.0;
        let Some(y) = problem.background_summary.as_ref().filter(|_| needed) else {
            return Ambient::default();
        };
        let multiple = |sum: &f64| T::of(sum * (params.ambient / unit));
        let (profile, sums): (Vec<T>, _) = y.counted_profile();
        let weights = &problem.weights.features;
        let counts = profile.iter().take(problem.parts()[0]).enumerate();
        let weighted = counts.map(|(i, share)| count(weights, i) * share.wide());
        Ambient {
            sum: if weights.is_empty() && problem.mixture.is_empty() {
                T::one()
            } else {
                T::of(weighted.sum())
            },
            profile,
            cells: sums.iter().map(multiple).collect(),
        }
    }
}

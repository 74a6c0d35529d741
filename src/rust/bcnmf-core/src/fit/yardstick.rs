//! What predictions of held-out entries are measured by.

use crate::loss::{self, LossKind};
use crate::matrix::{Columns, Matrix, Summary, with_columns};
use crate::real::{Real, count};

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
    /// `weights`: how often the features count, empty where all count once. `unit`: what a divergence is multiplied by to be in the
    /// data's own units.
    pub fn new(
        matrix: &Matrix<'_>,
        set: &Summary,
        weights: &[f64],
        loss: LossKind,
        unit: f64,
    ) -> Self {
        let null = with_columns!(matrix, block => mean_profile_losses(block, set, loss));
        let mean = null.iter().sum::<f64>() / null.len() as f64;
        let size = match loss {
            LossKind::Mse => set.sum_squares,
            LossKind::Poisson | LossKind::Nb | LossKind::Zinb => set.sum,
        };
        // All cells alike: no rounding error may pass for a loss.
        let least = 1e-9 * size / (null.len() * set.column_sums.len()) as f64;
        let weight =
            |(i, null): (usize, &f64)| T::of(count(weights, i) * unit / (null + mean).max(least));
        let mut profile: Vec<f64> = set.profile();
        if !weights.is_empty() {
            // As the fitted totals that it smooths are weighted.
            let sum: f64 = profile
                .iter()
                .zip(weights)
                .map(|(p, weight)| p * weight)
                .sum();
            profile.iter_mut().for_each(|share| *share /= sum);
        }
        Yardstick {
            profile: profile.into_iter().map(T::of).collect(),
            weight: null.iter().enumerate().map(weight).collect(),
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
        LossKind::Poisson | LossKind::Nb | LossKind::Zinb => vec![0.0; share.len()],
    };
    let mut known = vec![set.column_sums.len(); share.len()];
    let mut absent = Vec::new();
    for (j, cell) in set.column_sums.iter().enumerate() {
        for (i, x) in block.column(j).filter(|(_, x)| *x > 0.0) {
            let rate = share[i] * cell;
            sums[i] += match loss {
                LossKind::Mse => x * (x - 2.0 * rate),
                LossKind::Poisson | LossKind::Nb | LossKind::Zinb => x * (x / rate).ln(),
            };
        }
        absent.clear();
        block.absent(j, &mut absent);
        for &i in &absent {
            let i = i as usize;
            known[i] -= 1;
            if loss == LossKind::Mse {
                sums[i] -= share[i] * share[i] * cell * cell;
            }
        }
    }
    let means = sums.iter().zip(known);
    means
        .map(|(sum, known)| sum.max(0.0) / known.max(1) as f64)
        .collect()
}

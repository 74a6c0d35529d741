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
    /// `weights`: how often the features count, empty where all count once. `loss`: of a feature. Data are divided by `unit`.
    pub fn new(
        matrix: &Matrix<'_>,
        set: &Summary,
        weights: &[f64],
        loss: impl Fn(usize) -> LossKind,
        unit: f64,
    ) -> Self {
        let null = with_columns!(matrix, block => mean_profile_losses(block, set, &loss));
        // Losses of counts and squared errors have no common scale.
        let mean = |counts: bool| {
            let like = (0..null.len()).filter(|&i| loss(i).is_counts() == counts);
            like.clone().map(|i| null[i]).sum::<f64>() / like.count().max(1) as f64
        };
        let means = [false, true].map(mean);
        let weight = |(i, null): (usize, &f64)| {
            let (loss, entries) = (loss(i), (set.row_sums.len() * set.column_sums.len()) as f64);
            let size = if loss.is_counts() {
                set.sum
            } else {
                set.sum_squares
            };
            // All cells alike: no rounding error may pass for a loss.
            let least = 1e-9 * size / entries;
            let typical = null + means[usize::from(loss.is_counts())];
            T::of(count(weights, i) * loss.to_user(unit) / typical.max(least))
        };
        let mut profile: Vec<f64> = set.profile();
        let counted: Vec<usize> = (0..null.len()).filter(|&i| loss(i).is_counts()).collect();
        if !weights.is_empty() || counted.len() < null.len() {
            // As the fitted totals of counts that it smooths.
            let shares = counted.iter().map(|&i| profile[i] * count(weights, i));
            let sum: f64 = shares.sum();
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
fn mean_profile_losses(
    block: &impl Columns,
    set: &Summary,
    loss: impl Fn(usize) -> LossKind,
) -> Vec<f64> {
    let share: Vec<f64> = set.profile();
    let squares: f64 = set.column_sums.iter().map(|s| s * s).sum();
    // Σ (p s − x) over the cells of a feature is 0.
    let start = |(i, p): (usize, &f64)| {
        if loss(i).is_counts() {
            0.0
        } else {
            p * p * squares
        }
    };
    let mut sums: Vec<f64> = share.iter().enumerate().map(start).collect();
    let mut known = vec![set.column_sums.len(); share.len()];
    let mut absent = Vec::new();
    for (j, cell) in set.column_sums.iter().enumerate() {
        for (i, x) in block.column(j).filter(|(_, x)| *x > 0.0) {
            let rate = share[i] * cell;
            sums[i] += if loss(i).is_counts() {
                x * (x / rate).ln()
            } else {
                x * (x - 2.0 * rate)
            };
        }
        absent.clear();
        block.absent(j, &mut absent);
        for &i in &absent {
            let i = i as usize;
            known[i] -= 1;
            if !loss(i).is_counts() {
                sums[i] -= share[i] * share[i] * cell * cell;
            }
        }
    }
    let means = sums.iter().zip(known);
    means
        .map(|(sum, known)| sum.max(0.0) / known.max(1) as f64)
        .collect()
}

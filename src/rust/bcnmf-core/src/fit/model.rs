//! What comes out of a fit.

use super::decreasing;
use crate::real::Real;
use crate::width::padded;

/// W and H as they are, in the data's units: `X ≈ w · h`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Factors {
    /// Features × factors, column by column.
    pub w: Vec<f64>,
    /// Factors × target cells, column by column.
    pub h: Vec<f64>,
    /// Factors × background cells, column by column; empty without background.
    pub h_background: Vec<f64>,
}

impl Factors {
    pub(crate) fn from_working<T: Real>(w: &[T], h: [&[T]; 2], k: usize, unit: f64) -> Self {
        let stored = padded::<T>(k);
        let rows = w.len() / stored;
        Factors {
            w: (0..rows * k)
                .map(|at| w[at % rows * stored + at / rows].wide())
                .collect(),
            h: unpad(h[0], k, unit),
            h_background: unpad(h[1], k, unit),
        }
    }
}

/// Coefficients in working layout to factors × cells in the data's unit.
pub(crate) fn unpad<T: Real>(h: &[T], k: usize, unit: f64) -> Vec<f64> {
    h.chunks_exact(padded::<T>(k))
        .flat_map(|cell| cell[..k].iter().map(|h| h.wide() * unit))
        .collect()
}

/// State after some complete sweeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Complete sweeps; 0 is the start.
    pub iteration: usize,
    /// `D(X ‖ W H_X)`, summed over entries.
    pub target: f64,
    /// `D(Y ‖ W H_Y)`; NaN without background.
    pub background: f64,
    /// `D(X) + weight · D(Y)` plus penalties.
    pub objective: f64,
    /// Correlation distance of W to the sweep before; NaN at the start.
    pub change: f64,
}

/// What a model loses on the entries of one set that its fit has not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldOut {
    /// Divergence, summed over these entries, each divided by about what one of its feature loses under the mean profile model of the set:
    /// free of unit and size.
    pub loss: f64,
    /// Their number.
    pub entries: usize,
}

/// A fitted model in the form users read: `X ≈ w · diag(d) · h`, factors by decreasing `d`.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Features × factors, column by column; columns sum to 1.
    pub w: Vec<f64>,
    /// Scale of each factor in the target, decreasing.
    pub d: Vec<f64>,
    /// Factors × target cells; rows sum to 1.
    pub h: Vec<f64>,
    /// Scale of each factor in the background.
    pub d_background: Vec<f64>,
    /// Factors × background cells; rows sum to 1.
    pub h_background: Vec<f64>,
    /// Whether the factor was reserved for the target.
    pub target_only: Vec<bool>,
    /// Whether its loadings were held.
    pub held: Vec<bool>,
}

impl Model {
    /// Moves the scales into `d` and sorts. A factor that is zero in W or H keeps zeros. The last `k_target` factors are target-only, and the last
    /// `hold` of these were held.
    pub fn new(factors: &Factors, k: usize, k_target: usize, hold: usize) -> Self {
        let rows = factors.w.len() / k;
        let w_sums: Vec<f64> = factors
            .w
            .chunks_exact(rows)
            .map(|w| w.iter().sum())
            .collect();
        let totals = |h: &[f64]| {
            let mut sums = vec![0.0; k];
            for cell in h.chunks_exact(k) {
                sums.iter_mut().zip(cell).for_each(|(sum, h)| *sum += h);
            }
            sums
        };
        let h_sums = [totals(&factors.h), totals(&factors.h_background)];
        let scale = |set: usize, k: usize| (h_sums[set][k] * w_sums[k]).min(f64::MAX);
        let order = decreasing((0..k).map(|factor| scale(0, factor)));

        let share = |value: f64, sum: f64| if sum > 0.0 { value / sum } else { 0.0 };
        let rows_of = |h: &[f64], sums: &[f64]| -> Vec<f64> {
            h.chunks_exact(k)
                .flat_map(|cell| order.iter().map(|&f| share(cell[f], sums[f])))
                .collect()
        };
        Model {
            w: order
                .iter()
                .flat_map(|&f| {
                    let sum = w_sums[f];
                    factors.w[f * rows..][..rows]
                        .iter()
                        .map(move |&w| share(w, sum))
                })
                .collect(),
            d: order.iter().map(|&f| scale(0, f)).collect(),
            h: rows_of(&factors.h, &h_sums[0]),
            d_background: if factors.h_background.is_empty() {
                Vec::new()
            } else {
                order.iter().map(|&f| scale(1, f)).collect()
            },
            h_background: rows_of(&factors.h_background, &h_sums[1]),
            target_only: order.iter().map(|&f| f >= k - k_target).collect(),
            held: order.iter().map(|&f| f >= k - hold).collect(),
        }
    }
}

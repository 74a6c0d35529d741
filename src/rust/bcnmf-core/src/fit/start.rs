//! Starting values.

use super::problem::rescale_cells;
use super::{Factors, FitParams, Problem};
use crate::matrix::LARGEST;
use crate::real::Real;
use crate::width::{column_sums, padded};
use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Open01};

/// Where a fit starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// W uniform on (0, 1) from this seed, columns scaled to sum 1; each cell's coefficients equal,
    /// such that the fitted total of the cell is its total.
    Seed(u64),
    /// This W (features × factors, column by column); coefficients as for a seed.
    Loadings(Vec<f64>),
    /// These factors; another fit goes on.
    Factors(Factors),
}

/// W and both H in working layout: padded, `T`, data divided by `unit`.
pub(crate) struct Working<T> {
    pub w: Vec<T>,
    pub h: [Vec<T>; 2],
}

impl Start {
    /// Sets up the working factors.
    ///
    /// # Errors
    /// Given values of another shape, or not finite and non-negative.
    pub(crate) fn working<T: Real>(
        &self,
        problem: &Problem<'_>,
        params: &FitParams,
        unit: f64,
    ) -> Result<Working<T>> {
        let (rows, k) = (problem.target.rows(), params.k);
        let cells = [
            problem.target.columns(),
            problem.background.as_ref().map_or(0, |y| y.columns()),
        ];
        // The last k_target factors do not exist for the background; zeros stay zeros.
        let available = [k, k - params.k_target];
        let level = || level_cells(problem, params, unit);
        match self {
            Start::Seed(seed) => {
                // Entry (i, k) is number i·K + k of the seed's stream.
                let mut w = uniform(*seed, rows * k);
                normalise_columns(&mut w, k);
                Ok(Working {
                    w: pad(&w, k),
                    h: level(),
                })
            }
            Start::Loadings(given) => {
                check_values("the starting w", given, rows, k)?;
                let mut w = transpose(given, rows, k);
                normalise_columns(&mut w, k);
                Ok(Working {
                    w: pad(&w, k),
                    h: level(),
                })
            }
            Start::Factors(given) => {
                check_values("the starting w", &given.w, rows, k)?;
                check_values("the starting h", &given.h, k, cells[0])?;
                check_values(
                    "the starting h_background",
                    &given.h_background,
                    k,
                    cells[1],
                )?;
                let w = transpose(&given.w, rows, k);
                let h = [
                    (&given.h, available[0], &problem.size_factors[0]),
                    (&given.h_background, available[1], &problem.size_factors[1]),
                ]
                .map(|(h, available, size_factors)| {
                    let mut h: Vec<f64> = h.iter().map(|h| h / unit).collect();
                    rescale_cells(&mut h, k, size_factors, true);
                    h.chunks_exact_mut(k)
                        .for_each(|cell| cell[available..].fill(0.0));
                    pad(&h, k)
                });
                Ok(Working { w: pad(&w, k), h })
            }
        }
    }
}

/// The first `n` of the random numbers on (0, 1) that this seed stands for.
pub fn uniform(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Open01.sample_iter(&mut rng).take(n).collect()
}

/// Coefficients of both sets that are all alike, each cell's total spread evenly over the factors that there are for it.
pub(crate) fn level_cells<T: Real>(
    problem: &Problem<'_>,
    params: &FitParams,
    unit: f64,
) -> [Vec<T>; 2] {
    let [x, y] = problem.cell_sums();
    let k = params.k;
    [level(x, k, k, unit), level(y, k, k - params.k_target, unit)]
}

/// Each cell's total spread evenly over the first `available` of `k` factors.
pub(crate) fn level<T: Real>(cell_sums: &[f64], k: usize, available: usize, unit: f64) -> Vec<T> {
    let mut h = vec![T::zero(); cell_sums.len() * padded::<T>(k)];
    for (cell, sum) in h.chunks_exact_mut(padded::<T>(k)).zip(cell_sums) {
        cell[..available].fill(T::of(sum / unit / available.max(1) as f64));
    }
    h
}

pub(crate) fn normalise_columns(w: &mut [f64], k: usize) -> Vec<f64> {
    let sums = column_sums(w, k);
    for row in w.chunks_exact_mut(k) {
        for (w, &sum) in row.iter_mut().zip(&sums) {
            if sum > 0.0 {
                *w /= sum;
            }
        }
    }
    sums
}

/// Column by column to row by row.
pub(crate) fn transpose(w: &[f64], rows: usize, k: usize) -> Vec<f64> {
    (0..rows * k).map(|at| w[at % k * rows + at / k]).collect()
}

/// Sets the loadings of features that nothing asks for to zero, where they stay: those that are zero
/// in the target, unless a background that is to be explained has them, or they are held.
pub(crate) fn drop_empty_features<T: Real>(w: &mut [T], problem: &Problem<'_>, params: &FitParams) {
    let background = problem
        .background_summary
        .as_ref()
        .filter(|_| params.weight > 0.0);
    let rows = w.len() / problem.target_summary.row_sums.len();
    for (i, row) in w.chunks_exact_mut(rows).enumerate() {
        let explained = background.is_some_and(|y| y.row_sums[i] > 0.0);
        if problem.target_summary.row_sums[i] == 0.0 && !explained {
            row[..params.k - params.hold].fill(T::zero());
        }
    }
}

/// Items of `k` values to padded items in working precision.
pub(crate) fn pad<T: Real>(items: &[f64], k: usize) -> Vec<T> {
    let mut out = vec![T::zero(); items.len() / k * padded::<T>(k)];
    for (to, from) in out
        .chunks_exact_mut(padded::<T>(k))
        .zip(items.chunks_exact(k))
    {
        to.iter_mut()
            .zip(from)
            .for_each(|(to, &from)| *to = T::of(from));
    }
    out
}

pub(crate) fn check_values(
    what: &'static str,
    values: &[f64],
    rows: usize,
    columns: usize,
) -> Result<()> {
    if values.len() != rows * columns {
        return Err(Error::Shape {
            what,
            got_rows: values.len() / columns.max(1),
            got_columns: columns,
            rows,
            columns,
        });
    }
    match values.iter().position(|v| !(*v >= 0.0 && v.is_finite())) {
        // As for data: squares have to stay in range.
        None => match values.iter().copied().fold(0.0, f64::max) {
            max if max > LARGEST => Err(Error::Magnitude {
                what,
                max,
                most: LARGEST,
            }),
            _ => Ok(()),
        },
        Some(at) => Err(Error::BadValue {
            what,
            kind: "negative or non-finite",
            count: values
                .iter()
                .filter(|v| !(**v >= 0.0 && v.is_finite()))
                .count(),
            row: at % rows + 1,
            column: at / rows + 1,
            value: values[at],
        }),
    }
}

/// What coefficients may be at most: beyond, the data's unit takes them out of range.
pub(crate) fn most(unit: f64) -> f64 {
    f64::MAX / unit.max(1.0)
}

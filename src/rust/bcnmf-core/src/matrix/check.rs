//! One look at all values before any work starts.

use super::{Columns, LARGEST, Matrix, Missing, with_columns};
use crate::real::{Real, count};
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// What a matrix holds, found in one pass.
///
/// Where entries are missing, sums over features, cells and all are what they would be without: see [`Matrix::check`].
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Sum of all values.
    pub sum: f64,
    /// Sum of all squares that are known.
    pub sum_squares: f64,
    /// Sums of values and of squares that are known, each times the weights of its feature and cell.
    pub weighted: [f64; 2],
    /// Number of entries that are missing.
    pub missing: usize,
    /// Largest value.
    pub max: f64,
    /// Number of values above zero.
    pub positive: usize,
    /// Number of values that are not whole numbers.
    pub fractional: usize,
    /// Sum of each feature over the cells.
    pub row_sums: Vec<f64>,
    /// Sum of each cell over the features.
    pub column_sums: Vec<f64>,
}

impl Summary {
    /// Each feature's share of the total.
    pub fn profile<T: Real>(&self) -> Vec<T> {
        let share = |sum: &f64| T::of(sum / self.sum);
        self.row_sums.iter().map(share).collect()
    }
}

#[derive(Clone, Copy, Default)]
struct Found {
    count: usize,
    first: Option<(usize, usize, f64)>,
}

impl Found {
    fn note(&mut self, row: usize, column: usize, value: f64) {
        self.count += 1;
        self.first.get_or_insert((row, column, value));
    }
    fn add(&mut self, later: Found) {
        self.count += later.count;
        self.first = self.first.or(later.first);
    }
    fn check(self, what: &'static str, kind: &'static str) -> Result<()> {
        match self.first {
            None => Ok(()),
            Some((row, column, value)) => Err(Error::BadValue {
                what,
                kind,
                count: self.count,
                row: row + 1,
                column: column + 1,
                value,
            }),
        }
    }
}

impl Matrix<'_> {
    /// Checks every value that is not missing and sums up. Runs on the current thread pool. `weights`: of features and of cells, each
    /// empty for 1.
    ///
    /// Sums over features and cells that lack entries are completed by the model `p sᵀ` that agrees with the sums that are known, found
    /// by iterative proportional fitting (Deming & Stephan 1940).
    ///
    /// # Errors
    /// Empty; NA, NaN, infinite or negative values; largest value beyond 1e±100, where squares
    /// would leave double precision. All zeros are not an error here.
    pub fn check(&self, what: &'static str, weights: [&[f64]; 2]) -> Result<Summary> {
        let (rows, columns) = (self.rows(), self.columns());
        if rows == 0 || columns == 0 {
            return Err(Error::Empty {
                what,
                rows,
                columns,
            });
        }
        let parts: Vec<_> = self
            .stripes()
            .into_par_iter()
            .map(|range| with_columns!(self, block => scan(block, range, weights)))
            .collect();
        let mut summary = Summary {
            row_sums: vec![0.0; rows],
            ..Summary::default()
        };
        let mut bad = [Found::default(); 3];
        for (part, found) in parts {
            summary.sum += part.sum;
            summary.sum_squares += part.sum_squares;
            for (all, one) in summary.weighted.iter_mut().zip(part.weighted) {
                *all += one;
            }
            summary.missing += part.missing;
            summary.max = summary.max.max(part.max);
            summary.positive += part.positive;
            summary.fractional += part.fractional;
            summary.column_sums.extend(part.column_sums);
            for (all, one) in summary.row_sums.iter_mut().zip(part.row_sums) {
                *all += one;
            }
            for (all, one) in bad.iter_mut().zip(found) {
                all.add(one);
            }
        }
        for (found, kind) in bad
            .into_iter()
            .zip(["missing (NA or NaN)", "infinite", "negative"])
        {
            found.check(what, kind)?;
        }
        if summary.max > 0.0 && !(1e-100..=LARGEST).contains(&summary.max) {
            return Err(Error::Magnitude {
                what,
                max: summary.max,
                most: LARGEST,
            });
        }
        if summary.missing > 0 {
            self.complete(&mut summary);
        }
        Ok(summary)
    }

    /// Puts what sums would be if no entry were missing in the place of those that are known.
    fn complete(&self, summary: &mut Summary) {
        let known = (summary.row_sums.clone(), summary.column_sums.clone());
        let (mut profile, mut sizes) = (vec![1.0; self.rows()], Vec::new());
        for _ in 0..COMPLETIONS {
            let parts: Vec<_> = self
                .stripes()
                .into_par_iter()
                .map(|range| with_columns!(self, block => fit_sizes(block, range, &known.1, &profile)))
                .collect();
            sizes.clear();
            let mut covered = vec![0.0; self.rows()];
            for (part, cover) in parts {
                sizes.extend(part);
                for (all, one) in covered.iter_mut().zip(cover) {
                    *all += one;
                }
            }
            let all = sizes.iter().sum();
            for ((share, &sum), covered) in profile.iter_mut().zip(&known.0).zip(covered) {
                *share = completed(sum, covered, all);
            }
        }
        let [all, total] = [&profile, &sizes].map(|parts| parts.iter().sum::<f64>());
        summary.row_sums = profile.iter().map(|share| share * total).collect();
        summary.column_sums = sizes.iter().map(|size| size * all).collect();
        summary.sum = all * total;
    }
}

/// Rounds of proportional fitting: with half of the entries missing at random, three leave less than a per mille.
const COMPLETIONS: usize = 5;

/// What a sum over a part would be over all. Of parts that are nothing but rounding the sum itself is taken.
fn completed(sum: f64, part: f64, all: f64) -> f64 {
    if part > 1e-9 * all {
        sum / part
    } else if sum > 0.0 {
        sum / all
    } else {
        0.0
    }
}

/// The size of each cell that agrees with its sum, given the profile of all; and what sizes of cells cover each feature.
fn fit_sizes(
    block: &impl Columns,
    range: Range<usize>,
    column_sums: &[f64],
    profile: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let all: f64 = profile.iter().sum();
    let (mut sizes, mut total) = (Vec::with_capacity(range.len()), 0.0);
    let (mut covered, mut places) = (vec![0.0; profile.len()], Vec::new());
    // What is shorter is listed: the entries that are there, or the others.
    let lists_known = block.missing() == Missing::Zeros;
    for j in range {
        places.clear();
        if lists_known {
            places.extend(block.column(j).map(|(i, _)| i as u32));
        } else {
            block.absent(j, &mut places);
        }
        let part: f64 = places.iter().map(|&i| profile[i as usize]).sum();
        let known = if lists_known { part } else { all - part };
        let size = completed(column_sums[j], known, all);
        for &i in &places {
            covered[i as usize] += if lists_known { size } else { -size };
        }
        total += size;
        sizes.push(size);
    }
    if !lists_known {
        covered.iter_mut().for_each(|sum| *sum += total);
    }
    (sizes, covered)
}

fn scan(
    block: &impl Columns,
    range: Range<usize>,
    [feature_weights, cell_weights]: [&[f64]; 2],
) -> (Summary, [Found; 3]) {
    let mut absent = Vec::new();
    let mut part = Summary {
        row_sums: vec![0.0; block.rows()],
        ..Summary::default()
    };
    let mut bad = [Found::default(); 3];
    for j in range {
        let mut column_sum = 0.0;
        absent.clear();
        block.absent(j, &mut absent);
        part.missing += absent.len();
        let cell_weight = count(cell_weights, j);
        for (i, x) in block.column(j) {
            if !(x >= 0.0 && x.is_finite()) {
                let kind = if x.is_nan() {
                    0
                } else if x.is_infinite() {
                    1
                } else {
                    2
                };
                bad[kind].note(i, j, x);
                continue;
            }
            column_sum += x;
            part.sum_squares += x * x;
            let weight = count(feature_weights, i) * cell_weight;
            part.weighted[0] += weight * x;
            part.weighted[1] += weight * x * x;
            part.max = part.max.max(x);
            part.positive += 1;
            part.fractional += usize::from(x.fract() != 0.0);
            part.row_sums[i] += x;
        }
        part.sum += column_sum;
        part.column_sums.push(column_sum);
    }
    (part, bad)
}

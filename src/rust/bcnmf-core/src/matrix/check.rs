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
    /// Where cells have weights, `row_sums` with each cell as often as it counts, and `column_sums` as these complete them.
    pub counted: Option<[Vec<f64>; 2]>,
}

impl Summary {
    /// Each feature's share of the total.
    pub fn profile<T: Real>(&self) -> Vec<T> {
        shares(&self.row_sums, self.sum)
    }

    /// The same with each cell as often as it counts, and the sums of cells that belong to it: `p` and `s` of the model `p sᵀ`.
    pub fn counted_profile<T: Real>(&self) -> (Vec<T>, &[f64]) {
        match &self.counted {
            None => (self.profile(), &self.column_sums),
            Some([rows, columns]) => (shares(rows, rows.iter().sum()), columns),
        }
    }
}

fn shares<T: Real>(sums: &[f64], all: f64) -> Vec<T> {
    sums.iter().map(|sum| T::of(sum / all)).collect()
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
        let (mut bad, mut counted) = ([Found::default(); 3], vec![0.0; rows]);
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
            add(&mut summary.row_sums, part.row_sums);
            if let Some([rows, _]) = part.counted {
                add(&mut counted, rows);
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
        if !weights[1].is_empty() {
            let columns = summary.column_sums.clone();
            summary.counted = Some([counted, columns]);
        }
        if summary.missing > 0 {
            let sums = [&summary.row_sums[..], &summary.column_sums];
            let cells = weights[1];
            let counted = summary
                .counted
                .as_ref()
                .map(|[rows, columns]| self.complete([rows, columns], cells).0);
            let (sums, all) = self.complete(sums, &[]);
            ([summary.row_sums, summary.column_sums], summary.sum) = (sums, all);
            summary.counted = counted;
        }
        Ok(summary)
    }

    /// What sums of features, each cell as often as it counts, and of cells would be if no entry were missing, and the sum of all.
    fn complete(&self, known: [&[f64]; 2], weights: &[f64]) -> ([Vec<f64>; 2], f64) {
        let (mut profile, mut sizes) = (vec![1.0; self.rows()], Vec::new());
        let mut all = 0.0;
        for _ in 0..COMPLETIONS {
            let parts: Vec<_> = self
                .stripes()
                .into_par_iter()
                .map(|range| {
                    with_columns!(self, block => fit_sizes(block, range, [known[1], weights], &profile))
                })
                .collect();
            sizes.clear();
            let mut covered = vec![0.0; self.rows()];
            for (part, cover) in parts {
                sizes.extend(part);
                add(&mut covered, cover);
            }
            let counted = sizes.iter().enumerate();
            all = counted.map(|(j, size)| size * count(weights, j)).sum();
            for ((share, &sum), covered) in profile.iter_mut().zip(known[0]).zip(covered) {
                *share = completed(sum, covered, all);
            }
        }
        let total: f64 = profile.iter().sum();
        let rows = profile.iter().map(|share| share * all).collect();
        let columns = sizes.iter().map(|size| size * total).collect();
        ([rows, columns], all * total)
    }
}

fn add(sums: &mut [f64], parts: Vec<f64>) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
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

/// The size of each cell that agrees with its sum, given the profile of all; and what sizes of cells, each as often as it counts, cover each feature.
fn fit_sizes(
    block: &impl Columns,
    range: Range<usize>,
    [column_sums, weights]: [&[f64]; 2],
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
        let counted = size * count(weights, j);
        for &i in &places {
            covered[i as usize] += if lists_known { counted } else { -counted };
        }
        total += counted;
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
    let of_cells = if cell_weights.is_empty() {
        0
    } else {
        block.rows()
    };
    let mut counted = vec![0.0; of_cells];
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
            if let Some(sum) = counted.get_mut(i) {
                *sum += cell_weight * x;
            }
        }
        part.sum += column_sum;
        part.column_sums.push(column_sum);
    }
    part.counted = Some([counted, Vec::new()]);
    (part, bad)
}

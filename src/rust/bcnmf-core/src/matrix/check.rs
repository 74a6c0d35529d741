//! One look at all values before any work starts.

use super::{Columns, Matrix, with_columns};
use crate::real::Real;
use crate::{Error, Result};
use rayon::prelude::*;

/// What a matrix holds, found in one pass.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Sum of all values.
    pub sum: f64,
    /// Sum of all squares.
    pub sum_squares: f64,
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
    /// Checks every value and sums up. Runs on the current thread pool.
    ///
    /// # Errors
    /// Empty; NA, NaN, infinite or negative values; largest value beyond 1e±100, where squares
    /// would leave double precision. All zeros are not an error here.
    pub fn check(&self, what: &'static str) -> Result<Summary> {
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
            .map(|range| with_columns!(self, block => scan(block, range)))
            .collect();
        let mut summary = Summary {
            row_sums: vec![0.0; rows],
            ..Summary::default()
        };
        let mut bad = [Found::default(); 3];
        for (part, found) in parts {
            summary.sum += part.sum;
            summary.sum_squares += part.sum_squares;
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
        if summary.max > 0.0 && !(1e-100..=1e100).contains(&summary.max) {
            return Err(Error::Magnitude {
                what,
                max: summary.max,
            });
        }
        Ok(summary)
    }
}

fn scan(block: &impl Columns, range: std::ops::Range<usize>) -> (Summary, [Found; 3]) {
    let mut part = Summary {
        row_sums: vec![0.0; block.rows()],
        ..Summary::default()
    };
    let mut bad = [Found::default(); 3];
    for j in range {
        let mut column_sum = 0.0;
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

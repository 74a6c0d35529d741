//! What a block of data is: features × cells, columns contiguous, values in double as R has them.
//!
//! A column is an iterator over its `(feature, value)` pairs with value ≠ 0, whether it is stored
//! dense or sparse. Losses see these pairs, gathered as a [`Cell`], and nothing else, so both give the same
//! bits. Values of entries that are [`Missing`] are seen by nobody.

mod cell;
mod check;
mod csc;
mod dense;
mod gather;
mod hold_out;
mod missing;

pub use cell::Cell;
pub(crate) use cell::CellBuffer;
pub use check::Summary;
pub use csc::Csc;
pub use dense::Dense;
pub use gather::{Gather, Layer};
pub use hold_out::{HoldOut, held_out_entries};
pub use missing::Missing;

use std::ops::Range;

/// Columns of non-negative data, borrowed.
pub trait Columns: Sync {
    /// Number of features.
    fn rows(&self) -> usize;
    /// Number of cells.
    fn columns(&self) -> usize;
    /// The stored entries of cell `j`, by increasing feature; zeros may be among them, and missing ones.
    fn entries(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + Clone;
    /// Which entries are missing.
    fn missing(&self) -> Missing;
    /// The non-zero entries of cell `j` that are not missing, by increasing feature.
    #[inline(always)]
    fn column(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + Clone {
        let all = self.missing() == Missing::None;
        self.entries(j)
            .filter(move |&(_, x)| x != 0.0 && (all || !x.is_nan()))
    }
    /// Appends the features that are missing in cell `j`, increasing.
    #[inline(always)]
    fn absent(&self, j: usize, out: &mut Vec<u32>) {
        match self.missing() {
            Missing::None => {}
            Missing::Nan => {
                let nan = self.entries(j).filter(|(_, x)| x.is_nan());
                out.extend(nan.map(|(i, _)| i as u32));
            }
            Missing::Zeros => {
                let mut next = 0;
                for (i, _) in self.column(j) {
                    out.extend(next..i as u32);
                    next = i as u32 + 1;
                }
                out.extend(next..self.rows() as u32);
            }
        }
    }
    /// Features and values of cell `j` as they are stored, if they are; zeros may be among them.
    fn stored(&self, _j: usize) -> Option<(&[i32], &[f64])> {
        None
    }
    /// Upper bound of the non-zero entries in cells before `j`.
    fn stored_before(&self, j: usize) -> usize;
}

/// A target or background matrix, borrowed.
#[derive(Clone, Debug)]
pub enum Matrix<'a> {
    /// Column-major dense.
    Dense(Dense<'a>),
    /// Compressed sparse columns.
    Csc(Csc<'a>),
}

/// Calls `$call` with `$block` bound to the concrete storage.
macro_rules! with_columns {
    ($matrix:expr, $block:ident => $call:expr) => {
        match $matrix {
            $crate::matrix::Matrix::Dense($block) => $call,
            $crate::matrix::Matrix::Csc($block) => $call,
        }
    };
}
pub(crate) use with_columns;

impl Matrix<'_> {
    /// Number of features.
    pub fn rows(&self) -> usize {
        with_columns!(self, block => block.rows())
    }
    /// Number of cells.
    pub fn columns(&self) -> usize {
        with_columns!(self, block => block.columns())
    }
    /// Which entries are missing.
    pub fn missing(&self) -> Missing {
        with_columns!(self, block => block.missing())
    }
    /// The same data, with these entries missing.
    pub fn with_missing(self, missing: Missing) -> Self {
        match self {
            Matrix::Dense(block) => Matrix::Dense(block.with_missing(missing)),
            Matrix::Csc(block) => Matrix::Csc(block.with_missing(missing)),
        }
    }
    /// Upper bound of the number of non-zero entries.
    pub fn stored(&self) -> usize {
        with_columns!(self, block => block.stored_before(block.columns()))
    }

    /// Cuts the cells into consecutive ranges of about equal work.
    ///
    /// The cut depends on the data alone, never on the number of threads: each range is summed on
    /// its own and the sums are added in order, which is what makes threads reproducible. A range
    /// holds at least 64 stored values a feature, so that adding the sums up stays cheap.
    pub fn stripes(&self) -> Vec<Range<usize>> {
        let (rows, columns, stored) = (self.rows(), self.columns(), self.stored());
        let count = (stored / (64 * rows.max(1)))
            .clamp(1, MOST_STRIPES)
            .min(columns.max(1));
        // A column costs something even when it is empty.
        let work = |j: usize| with_columns!(self, block => block.stored_before(j)) + 4 * j;
        let total = work(columns);
        let mut ends: Vec<usize> = (1..count)
            .map(|s| partition_point(columns, |j| work(j) < total / count * s))
            .collect();
        ends.push(columns);
        let mut start = 0;
        ends.into_iter()
            .map(|end| {
                let range = start..end.max(start);
                start = range.end;
                range
            })
            .collect()
    }
}

/// Squares of larger values are too near the end of double precision.
pub(crate) const LARGEST: f64 = 1e100;

pub(crate) const MOST_STRIPES: usize = 32;

fn partition_point(n: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        if below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ShapeBuilder};

    #[test]
    fn stripes_cover_every_column_once() {
        for columns in [1, 2, 63, 700] {
            let x = Array2::<f64>::ones((3, columns).f());
            let matrix = Matrix::Dense(Dense::new(x.view()).expect("column-major"));
            let stripes = matrix.stripes();
            assert_eq!(stripes[0].start, 0);
            assert_eq!(stripes.last().map(|r| r.end), Some(columns));
            assert!(stripes.windows(2).all(|w| w[0].end == w[1].start));
        }
    }
}

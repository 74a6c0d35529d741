//! A target, a background, and what one look at them told.

use super::{Contrast, Size};
use crate::loss::LossKind;
use crate::matrix::{Matrix, Summary};
use crate::{Error, Result};

/// Checked data of a fit.
#[derive(Debug)]
pub struct Problem<'a> {
    /// Features × target cells.
    pub target: Matrix<'a>,
    /// The same features × background cells.
    pub background: Option<Matrix<'a>>,
    /// Sums over the target.
    pub target_summary: Summary,
    /// Sums over the background.
    pub background_summary: Option<Summary>,
}

impl<'a> Problem<'a> {
    /// Looks at every value once. Runs on the current thread pool.
    ///
    /// # Errors
    /// What [`Matrix::check`] refuses; a matrix of zeros; numbers of features that differ.
    pub fn new(target: Matrix<'a>, background: Option<Matrix<'a>>) -> Result<Self> {
        let target_summary = positive(&target, "target")?;
        let background_summary = match &background {
            None => None,
            Some(y) if y.rows() != target.rows() => {
                return Err(Error::Shape {
                    what: "background",
                    got_rows: y.rows(),
                    got_columns: y.columns(),
                    rows: target.rows(),
                    columns: y.columns(),
                });
            }
            Some(y) => Some(positive(y, "background")?),
        };
        Ok(Problem {
            target,
            background,
            target_summary,
            background_summary,
        })
    }

    /// A power of two that no value exceeds: data are divided by it so that single precision has
    /// room on both sides. Powers of two change no digit.
    pub fn unit(&self) -> f64 {
        let background = self.background_summary.as_ref().map_or(0.0, |s| s.max);
        unit(self.target_summary.max.max(background))
    }

    /// What the penalties of a fit with `k` factors are scaled by.
    pub fn size(&self, k: usize) -> Size {
        Size {
            features: self.target.rows(),
            cells: self.target.columns(),
            k,
            total: self.target_summary.sum,
        }
    }

    /// Size of the background relative to the target, `β/α`: squares for mse, sums for counts.
    /// 0 without background.
    pub fn size_ratio(&self, loss: LossKind) -> f64 {
        let size = |s: &Summary| match loss {
            LossKind::Mse => s.sum_squares,
            LossKind::Poisson | LossKind::Nb => s.sum,
        };
        self.background_summary
            .as_ref()
            .map_or(0.0, |y| size(y) / size(&self.target_summary))
    }

    /// The signed background weight of the objective; 0 without background.
    pub fn weight(&self, contrast: Contrast, loss: LossKind) -> f64 {
        let ratio = self.size_ratio(loss);
        if ratio == 0.0 {
            return 0.0;
        }
        match contrast {
            Contrast::Alpha(alpha) => -alpha,
            Contrast::Beta(beta) => -beta / ratio,
            Contrast::Explain(lambda) => lambda,
            Contrast::ExplainBySize(times) => times / ratio,
        }
    }

    /// Target and background as a pass wants them.
    pub(crate) fn sets(&self) -> [Option<&Matrix<'a>>; 2] {
        [Some(&self.target), self.background.as_ref()]
    }

    /// Target and background with what one look at them told.
    pub(crate) fn each_set(&self) -> [Option<(&Matrix<'a>, &Summary)>; 2] {
        let background = self.background.as_ref();
        [
            Some((&self.target, &self.target_summary)),
            background.zip(self.background_summary.as_ref()),
        ]
    }

    /// Sums of the cells of target and background.
    pub(crate) fn cell_sums(&self) -> [&[f64]; 2] {
        let background = self
            .background_summary
            .as_ref()
            .map_or(&[][..], |s| &s.column_sums);
        [&self.target_summary.column_sums, background]
    }
}

/// The power of two at or above `max`; 1 for data without a positive value.
pub(crate) fn unit(max: f64) -> f64 {
    if max > 0.0 {
        max.log2().ceil().exp2()
    } else {
        1.0
    }
}

fn positive(matrix: &Matrix<'_>, what: &'static str) -> Result<Summary> {
    let summary = matrix.check(what)?;
    if summary.max > 0.0 {
        Ok(summary)
    } else {
        Err(Error::AllZero { what })
    }
}

//! A target, a background, and what one look at them told.

use super::params::within;
use super::{Contrast, FitParams, Size};
use crate::backend::cuda::{self, Gpu};
use crate::loss::LossKind;
use crate::loss::mixture::{counts, family};
use crate::matrix::{Columns, Matrix, Missing, Summary, with_columns};
use crate::real::count;
use crate::{Error, Result};
use std::sync::Arc;

/// How often features and cells count: the divergence of an entry, and the penalty on a loading or coefficient, times the weights of its feature and
/// cell. Empty where all count once.
///
/// A feature's loadings are the best for it whatever its weight, and a cell's coefficients too, so those of weight 0 are told by the others without
/// a word in what these are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Of the features.
    pub features: Vec<f64>,
    /// Of the cells of target and background.
    pub cells: [Vec<f64>; 2],
}

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
    /// How often features and cells count.
    pub weights: Weights,
    /// Size factors of the cells of target and background, empty for 1: what a cell's coefficients are multiplied by in its rates.
    pub size_factors: [Vec<f64>; 2],
    /// The loss of each feature where they differ, counts before squared errors; empty where all have one. See [`Problem::with_mixture`].
    pub mixture: Vec<LossKind>,
    /// The data on a device, where fits run there. See [`Problem::on_device`].
    pub(crate) device: Option<Arc<cuda::Data>>,
}

impl<'a> Problem<'a> {
    /// Looks at every value once. Runs on the current thread pool.
    ///
    /// # Errors
    /// What [`Matrix::check`] refuses; a matrix of zeros; numbers of features that differ.
    pub fn new(target: Matrix<'a>, background: Option<Matrix<'a>>) -> Result<Self> {
        Self::weighted(target, background, Weights::default())
    }

    /// As [`Problem::new`], of features and cells that do not all count once.
    ///
    /// # Errors
    /// As there; weights that are negative or not finite, not as many as features or cells, or all zero.
    pub fn weighted(
        target: Matrix<'a>,
        background: Option<Matrix<'a>>,
        weights: Weights,
    ) -> Result<Self> {
        let cells = [
            target.columns(),
            background.as_ref().map_or(0, Matrix::columns),
        ];
        check_weights("feature weights", &weights.features, target.rows())?;
        check_weights("cell weights", &weights.cells[0], cells[0])?;
        check_weights("background cell weights", &weights.cells[1], cells[1])?;
        let of_set = |set: usize| [&weights.features[..], &weights.cells[set][..]];
        let (target, target_summary) = positive(target, "target", of_set(0))?;
        let (background, background_summary) = match background {
            None => (None, None),
            Some(y) if y.rows() != target.rows() => {
                return Err(Error::Shape {
                    what: "background",
                    got_rows: y.rows(),
                    got_columns: y.columns(),
                    rows: target.rows(),
                    columns: y.columns(),
                });
            }
            Some(y) => {
                let (y, summary) = positive(y, "background", of_set(1))?;
                (Some(y), Some(summary))
            }
        };
        Ok(Problem {
            target,
            background,
            target_summary,
            background_summary,
            weights,
            size_factors: Default::default(),
            mixture: Vec::new(),
            device: None,
        })
    }

    /// The same with rates `s_j W h_j`, so that coefficients of cells with different depth compare. Fits work on `s_j h_j`, which changes nothing
    /// but the penalties on `h_j`.
    ///
    /// # Errors
    /// Size factors that are not positive and finite, or not as many as cells.
    pub fn with_size_factors(self, size_factors: [Vec<f64>; 2]) -> Result<Self> {
        let cells = [
            self.target.columns(),
            self.background.as_ref().map_or(0, Matrix::columns),
        ];
        for (factors, cells) in size_factors.iter().zip(cells) {
            check_size_factors(factors, cells)?;
        }
        Ok(Problem {
            size_factors,
            ..self
        })
    }

    /// The same where features have different losses, as modalities of the same cells do: `F` sums their divergences up, each times its feature's
    /// weight. Features with squared errors come last. Fits of it have the loss that [`Problem::family`] says.
    ///
    /// # Errors
    /// Not as many losses as features, no counts, or another order.
    pub fn with_mixture(self, mixture: Vec<LossKind>) -> Result<Self> {
        check_mixture(&mixture, self.target.rows())?;
        Ok(Problem { mixture, ..self })
    }

    /// The same with its data on this device, as many as have room beside a fit with these parameters, and fits that run there. `most`: bytes that may be
    /// used; none for what is free. What has no room is copied in every pass, while the device is at work on what came before. Runs on the current
    /// thread pool.
    ///
    /// # Errors
    /// If the device fails, has no room, or can't do what such fits need.
    pub fn on_device(
        self,
        device: Arc<Gpu>,
        params: &FitParams,
        most: Option<usize>,
    ) -> Result<Self> {
        cuda::check(&self, params)?;
        let most = most.unwrap_or(usize::MAX);
        let data = cuda::Data::new(device, &self, params, most)?;
        let device = Some(Arc::new(data));
        Ok(Problem { device, ..self })
    }

    /// The loss of a fit's parameters, where features have different ones: one that serves all of its counts. `None` where all have one.
    pub fn family(&self) -> Option<LossKind> {
        family(&self.mixture).ok()
    }

    /// The loss of a feature in fits with this loss.
    pub(crate) fn loss_of(&self, feature: usize, all: LossKind) -> LossKind {
        self.mixture.get(feature).copied().unwrap_or(all)
    }

    /// How many features have the loss of a fit, and how many squared errors besides.
    pub(crate) fn parts(&self) -> [usize; 2] {
        parts(&self.mixture, self.target.rows())
    }

    /// Whether any entry is missing.
    pub(crate) fn lacks_entries(&self) -> bool {
        let lacks = |set: &Matrix<'_>| set.missing() != Missing::None;
        self.sets().into_iter().flatten().any(lacks)
    }

    /// A power of two that no value exceeds: data are divided by it so that single precision has
    /// room on both sides. Powers of two change no digit.
    pub fn unit(&self) -> f64 {
        let background = self.background_summary.as_ref().map_or(0.0, |s| s.max);
        unit(self.target_summary.max.max(background))
    }

    /// Refuses values beyond `most`.
    pub(crate) fn check_largest(&self, most: f64) -> Result<()> {
        let background = self.background_summary.as_ref();
        let sets = [
            ("target", Some(&self.target_summary)),
            ("background", background),
        ];
        for (what, summary) in sets {
            let max = summary.map_or(0.0, |summary| summary.max);
            if max > most {
                return Err(Error::Magnitude { what, max, most });
            }
        }
        Ok(())
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
    /// Of values that are known, times the weights of their features and cells. 0 without background.
    pub fn size_ratio(&self, loss: LossKind) -> f64 {
        let [x, y] = [0, 1].map(|set| self.size_of_set(set, loss));
        y / x
    }

    /// Numbers of values among the counts of target and background that are not whole.
    pub fn fractional(&self) -> [usize; 2] {
        self.each_set().map(|set| match set {
            None => 0,
            Some((_, summary)) if self.mixture.is_empty() => summary.fractional,
            Some((matrix, _)) => {
                let counts = counts(&self.mixture);
                let broken = |&(i, x): &(usize, f64)| i < counts && x.fract() != 0.0;
                with_columns!(matrix, block => {
                    (0..matrix.columns()).map(|j| block.column(j).filter(broken).count()).sum()
                })
            }
        })
    }

    fn size_of_set(&self, set: usize, loss: LossKind) -> f64 {
        let Some((matrix, summary)) = self.each_set()[set] else {
            return 0.0;
        };
        if self.mixture.is_empty() {
            return summary.weighted[usize::from(!loss.is_counts())];
        }
        let cells = &self.weights.cells[set];
        let size_of = |(i, x): (usize, f64)| {
            let size = if self.mixture[i].is_counts() {
                x
            } else {
                x * x
            };
            size * count(&self.weights.features, i)
        };
        with_columns!(matrix, block => {
            let columns = 0..matrix.columns();
            columns.map(|j| count(cells, j) * block.column(j).map(size_of).sum::<f64>()).sum()
        })
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

/// The matrix and what one look at it told. One that could lack entries and does not is like any other from here on.
fn positive<'a>(
    matrix: Matrix<'a>,
    what: &'static str,
    weights: [&[f64]; 2],
) -> Result<(Matrix<'a>, Summary)> {
    let summary = matrix.check(what, weights)?;
    if summary.weighted[0] <= 0.0 {
        let missing = summary.missing > 0;
        return Err(Error::AllZero { what, missing });
    }
    let matrix = if summary.missing == 0 {
        matrix.with_missing(Missing::None)
    } else {
        matrix
    };
    Ok((matrix, summary))
}

pub(super) fn check_weights(name: &'static str, weights: &[f64], needed: usize) -> Result<()> {
    if weights.is_empty() {
        return Ok(());
    }
    within(name, weights.len(), weights.len() == needed, || {
        format!("{needed} numbers")
    })?;
    for weight in weights {
        within(name, weight, *weight >= 0.0 && *weight <= 1e100, || {
            "at least 0 and at most 1e100".into()
        })?;
    }
    let sum: f64 = weights.iter().sum();
    within(name, sum, sum > 0.0, || "above 0 for at least one".into())
}

/// Checks the losses of so many features; they may all have one, and `mixture` be empty.
pub(super) fn check_mixture(mixture: &[LossKind], features: usize) -> Result<()> {
    if mixture.is_empty() {
        return Ok(());
    }
    let n = mixture.len();
    within("number of losses", n, n == features, || {
        format!("{features}, one a feature")
    })?;
    family(mixture).map(|_| ())
}

/// Checks that fits of such features have the loss that serves all of their counts.
pub(super) fn check_family(mixture: &[LossKind], loss: LossKind) -> Result<()> {
    if mixture.is_empty() {
        return Ok(());
    }
    let family = family(mixture)?;
    within("loss", format!("{loss:?}"), loss == family, || {
        format!("{family:?}, which serves all counts among the features")
    })
}

/// How many of these features have the loss of a fit, and how many squared errors besides.
pub(super) fn parts(mixture: &[LossKind], features: usize) -> [usize; 2] {
    if mixture.is_empty() {
        return [features, 0];
    }
    let counts = counts(mixture);
    [counts, features - counts]
}

pub(super) fn check_size_factors(factors: &[f64], cells: usize) -> Result<()> {
    if factors.is_empty() {
        return Ok(());
    }
    let n = factors.len();
    within("number of size factors", n, n == cells, || {
        format!("{cells}, one a cell")
    })?;
    for factor in factors {
        within(
            "a size factor",
            factor,
            (1e-50..=1e50).contains(factor),
            || "between 1e-50 and 1e50".into(),
        )?;
    }
    Ok(())
}

/// Divides, or multiplies, the coefficients of each cell by its size factor.
pub(super) fn rescale_cells(h: &mut [f64], k: usize, factors: &[f64], multiply: bool) {
    for (cell, factor) in h.chunks_exact_mut(k).zip(factors) {
        let times = if multiply { *factor } else { factor.recip() };
        cell.iter_mut()
            .for_each(|h| *h = (*h * times).min(f64::MAX));
    }
}

//! New cells on a fixed basis: H steps to convergence, cell by cell.

use super::dispersion::Sizes;
use super::dropout::Odds;
use super::model::unpad;
use super::params::within;
use super::problem::{
    check_family, check_mixture, check_size_factors, check_weights, parts, rescale_cells, unit,
};
use super::start::{check_values, level, normalise_columns, pad, transpose};
use super::{Driver, Dropout, Penalty, Per, Progress, Size};
use crate::Result;
use crate::aligned::Aligned;
use crate::backend::{Job, Pass, Set};
use crate::loss::mse::Mse;
use crate::loss::zinb::probability;
use crate::loss::{Basis, Control, Loss, LossKind, SLACK, mixture, with_loss};
use crate::matrix::Matrix;
use crate::real::Real;
use crate::width::padded;
use rayon::ThreadPool;
use std::time::{Duration, Instant};

/// The best non-negative response of each cell to a given W. The problem is convex, every cell
/// stays in cache until it has converged.
pub struct Projection<'a, T> {
    data: Matrix<'a>,
    pool: ThreadPool,
    loss: LossKind,
    k: usize,
    unit: f64,
    control: Control<T>,
    w: Aligned<T>,
    w_sums: Vec<f64>,
    /// Features before those with squared errors.
    counts: usize,
    weight: Vec<T>,
    size_factors: Vec<f64>,
    sizes: Sizes<T>,
    shared: Aligned<T>,
    shared_squares: Aligned<T>,
    h: Vec<T>,
    h_next: Vec<T>,
    pass: Pass<T>,
    /// Whether this pass takes no count to be lost. Where cells have odds of dropout, factors that explain little could explain what is
    /// thought to be lost at the start, and stay.
    lossless: bool,
    done: bool,
}

/// How far a projection goes.
#[derive(Clone, Debug)]
pub struct ProjectionParams {
    /// The loss.
    pub loss: LossKind,
    /// Most H steps a cell.
    pub maxit: usize,
    /// A cell is done when no coefficient changes by more than this part of its largest.
    pub tol: f64,
    /// Penalty on H, as it was for the fit …
    pub h_penalty: Penalty,
    /// … and what scaled it there.
    pub size: Size,
    /// Sizes of the features with nb and zinb; empty with other losses.
    pub sizes: Vec<f64>,
    /// Dropout with zinb: of features for good, of the new cells where it starts from.
    pub dropout: Dropout,
    /// How often the features count; empty where all count once.
    pub weights: Vec<f64>,
    /// The loss of each feature, as [`Problem::with_mixture`](super::Problem::with_mixture) has it; empty where all have one.
    pub mixture: Vec<LossKind>,
    /// What the cells' coefficients are multiplied by in their rates; empty for 1.
    pub size_factors: Vec<f64>,
}

impl<'a, T: Real> Projection<'a, T> {
    /// Sets up the projection on `w` (features × factors, column by column).
    ///
    /// # Errors
    /// Data that [`Matrix::check`] refuses, or a `w` of another shape or with bad values.
    pub fn new(
        data: Matrix<'a>,
        w: &[f64],
        params: ProjectionParams,
        pool: ThreadPool,
    ) -> Result<Self> {
        let summary = pool.install(|| data.check("newdata", [&[], &[]]))?;
        let Size {
            features,
            cells,
            k,
            total,
        } = params.size;
        within("k", k, k >= 1, || "at least 1".into())?;
        within(
            "size",
            features.min(cells),
            features.min(cells) >= 1,
            || "at least 1".into(),
        )?;
        within("total", total, total > 0.0 && total.is_finite(), || {
            "positive and finite".into()
        })?;
        within("tol", params.tol, params.tol >= 0.0, || "at least 0".into())?;
        check_values("w", w, data.rows(), k)?;
        check_weights("feature weights", &params.weights, data.rows())?;
        check_size_factors(&params.size_factors, data.columns())?;
        check_mixture(&params.mixture, data.rows())?;
        check_family(&params.mixture, params.loss)?;
        let unit = unit(summary.max);
        let weight: Vec<T> = mixture::weights(&params.weights, &params.mixture, unit);
        let (_, penalty) = Penalty::absolute(
            Penalty::default(),
            params.h_penalty,
            params.loss,
            params.size,
            unit,
        );
        for value in [
            params.h_penalty.l1,
            params.h_penalty.l2,
            penalty.l1,
            penalty.l2,
        ] {
            within(
                "h penalty",
                value,
                value >= 0.0 && T::of(value).is_finite(),
                || "at least 0 and small enough for the precision".into(),
            )?;
        }
        // Columns that sum to 1 leave squares and quotients room; the sums go back into h.
        let mut w = transpose(w, data.rows(), k);
        let w_sums = normalise_columns(&mut w, k);
        let w: Vec<T> = pad(&w, k);
        let lossless = params.loss == LossKind::Zinb && params.dropout.per == Per::Cell;
        let mut sizes = if params.loss.has_sizes() {
            let dropout = (params.loss == LossKind::Zinb).then_some(params.dropout);
            let shape = [data.rows(), data.columns()];
            Sizes::fixed(params.sizes, dropout, shape, unit, &params.mixture)?
        } else {
            Sizes::default()
        };
        let (factors, [counts, squares]) = (padded::<T>(k), parts(&params.mixture, data.rows()));
        let (of_counts, of_squares) = w.split_at(counts * factors);
        sizes.share(of_counts, factors, &weight, &[]);
        let h: Vec<T> = level(&summary.column_sums, k, k, unit);
        Ok(Projection {
            shared: with_loss!(params.loss, loss => loss.shared(of_counts, &weight, factors)),
            shared_squares: if squares > 0 {
                Mse.shared(of_squares, &weight[counts..], factors)
            } else {
                Aligned::default()
            },
            counts,
            weight,
            size_factors: params.size_factors,
            pass: Pass::new([Some(&data), None], params.loss, [0, 0], factors, false),
            control: Control {
                steps: params.maxit,
                tolerance: T::of(params.tol),
                guard: T::TINY,
                floor: T::FLOOR,
                slack: if summary.missing > 0 {
                    T::of(SLACK)
                } else {
                    T::zero()
                },
                l1: T::of(penalty.l1),
                l2: T::of(penalty.l2),
                measures: true,
            },
            sizes,
            h_next: h.clone(),
            loss: params.loss,
            data,
            pool,
            k,
            unit,
            w: Aligned::from(&w[..]),
            w_sums,
            h,
            lossless,
            done: false,
        })
    }

    /// Factors × cells, column by column, such that `newdata ≈ w · h · diag(size factors)`.
    pub fn coefficients(&self) -> Vec<f64> {
        let mut h = unpad(&self.h_next, self.k, self.unit);
        for cell in h.chunks_exact_mut(self.k) {
            for (h, &sum) in cell.iter_mut().zip(&self.w_sums) {
                *h = if sum > 0.0 {
                    (*h / sum).min(f64::MAX)
                } else {
                    0.0
                };
            }
        }
        rescale_cells(&mut h, self.k, &self.size_factors, false);
        h
    }
}

impl<T: Real> Projection<'_, T> {
    /// Probabilities of dropout of the new cells; empty where cells have none, and before the end.
    pub fn dropout(&self) -> Vec<f64> {
        let odds = self.pass.log_odds(Set::Target);
        odds.iter().map(|odds| probability(odds.wide())).collect()
    }
}

impl<T: Real> Driver for Projection<'_, T> {
    fn advance(&mut self, budget: Duration) -> Progress {
        let deadline = Instant::now() + budget;
        let basis = Basis {
            w: &self.w,
            shared: &self.shared,
            weight: &self.weight,
            guard: self.control.guard,
            ambient: &[],
            ambient_sum: T::zero(),
            dispersed: Default::default(),
        };
        let (basis, squares) = basis.parts(&self.shared_squares, self.counts, padded::<T>(self.k));
        let job = Job {
            loss: self.loss,
            basis,
            squares,
            dispersed: self.sizes.view(),
            factors: padded::<T>(self.k),
            scale: self.unit.recip(),
            control: self.control,
            stats: false,
            sizes: false,
            excess: false,
            weights: Default::default(),
            size_factors: [&self.size_factors, &[]],
            log_odds: if self.lossless {
                Default::default()
            } else {
                self.sizes.odds_of_cells()
            },
            moves_odds: !self.lossless && self.sizes.odds().is_some_and(Odds::moves),
            hold_out: None,
            yardsticks: Default::default(),
            ambient: &[],
            order: [None; 2],
        };
        let (pass, data, h, h_next) = (&mut self.pass, &self.data, &self.h, &mut self.h_next);
        let through = self.done
            || self.pool.install(|| {
                pass.run(
                    &job,
                    [Some(data), None],
                    [h, &[]],
                    [h_next, &mut []],
                    deadline,
                )
            });
        let twice = self
            .sizes
            .odds()
            .is_some_and(|odds| odds.per() == Per::Cell);
        let passed = f64::from(u8::from(twice && !self.lossless));
        let share = (passed + self.pass.fraction()) / (1.0 + f64::from(u8::from(twice)));
        let again = through && self.lossless;
        if again {
            self.lossless = false;
            self.h.copy_from_slice(&self.h_next);
            self.pool.install(|| self.pass.rewind());
        }
        self.done = through && !again;
        Progress {
            finished: usize::from(self.done),
            starts: 1,
            share,
            iteration: usize::from(self.done),
            objective: f64::NAN,
            change: f64::NAN,
            done: self.done,
        }
    }
}

//! Full-batch sweeps: every cell's H step, then one W step from all records. And what mini-batches
//! share with them: a fit's state, its history, its end.

use super::ambient::Ambient;
use super::dispersion::Sizes;
use super::dropout::Odds;
use super::extrapolation::Extrapolation;
use super::mini_batch::{MiniBatch, SETTLE};
use super::params::{Update, within};
use super::problem::rescale_cells;
use super::revive::{is_time, look, revive};
use super::start::{drop_empty_features, level_cells, most};
use super::step_length::StepLength;
use super::w_step::{WControl, w_step};
use super::yardstick::Yardstick;
use super::{
    Factors, FitParams, HeldOut, Penalty, Per, Problem, Record, Scaling, Start,
    correlation_distance,
};
use crate::aligned::Aligned;
use crate::backend::cuda::Data;
use crate::backend::{Backend, Job, Pass, Set, Sums, Threads, in_range, scale_factors};
use crate::error::check_memory;
use crate::loss::mse::Mse;
use crate::loss::{Basis, Control, Loss, LossKind, SLACK, mixture, with_loss};
use crate::real::{Real, count};
use crate::stats::WStats;
use crate::width::{column_sums, padded};
use crate::{Error, Result};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Loadings that summed to 1 and sum to more than this after a step belong to a factor that the target does not use.
const RUNAWAY: f64 = 1e3;

/// One fit in progress, from one start.
///
/// The cells' coefficients are kept twice, so that whenever the fit is left in the middle of a pass the
/// model after the last complete sweep is there.
pub struct FullBatch<'a, T> {
    pub(super) problem: Arc<Problem<'a>>,
    pub(super) params: FitParams,
    pub(super) unit: f64,
    /// Whether the coefficients that the fit starts from are made up.
    pub(super) fresh: bool,
    /// Whether the coefficients are all alike, as none has moved yet.
    level: bool,
    /// What a device failed at; CPU threads went on then.
    mishap: Option<Error>,
    control: Control<T>,
    pub(super) w_control: WControl,
    ambient: Ambient<T>,
    /// Of the features; empty where all count once.
    weight: Vec<T>,
    pub(super) sizes: Sizes<T>,
    /// Of target and background.
    yardsticks: [Yardstick<T>; 2],
    pub(super) w: Aligned<T>,
    pub(super) w_next: Aligned<T>,
    pub(super) cells: Box<dyn Backend<T> + 'a>,
    /// Of fits that are accelerated.
    extrapolation: Option<Extrapolation<T>>,
    /// Of contrasts with coordinate descent.
    step_length: Option<StepLength<T>>,
    shared: Aligned<T>,
    /// What squared errors of a mixture need of their loadings, and what the W step does with these.
    shared_squares: Aligned<T>,
    w_control_squares: WControl,
    pub(super) batches: Option<MiniBatch<T>>,
    pub(super) phase: Phase,
    pub(super) history: Vec<Record>,
    held_out: [HeldOut; 2],
    /// Change in the sweep that the current pass evaluates.
    pub(super) change: f64,
    pub(super) converged: bool,
    pub(super) failed: bool,
    /// Factors that were started anew.
    revived: usize,
}

/// Takes the cells' odds of dropout that come out of a pass, for the cells in these orders.
pub(super) fn take_odds<T: Real>(
    sizes: &mut Sizes<T>,
    log_odds: impl Fn(Set) -> Vec<T>,
    order: [Option<&[u32]>; 2],
) {
    let Some(odds) = sizes.odds_mut().filter(|odds| odds.per() == Per::Cell) else {
        return;
    };
    odds.begin_step();
    for (set, order) in Set::BOTH.into_iter().zip(order) {
        odds.take_cells(set as usize, &log_odds(set), order);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A pass with H steps and records.
    Sweep,
    /// Such a pass in mini-batches.
    Batches,
    /// H steps alone, as cells that were seen early know an old W.
    Settle,
    /// A last pass that only evaluates the divergences of the final model.
    Evaluate,
    Done,
}

impl<'a, T: Real> FullBatch<'a, T> {
    /// Sets up a fit. `maxit = 0` evaluates the start.
    ///
    /// # Errors
    /// Parameters or starting values out of range.
    pub fn new(problem: Arc<Problem<'a>>, params: FitParams, start: &Start) -> Result<Self> {
        let device = problem.device.clone();
        Self::on(device.as_ref(), problem, params, start)
    }

    /// The same on this device, or on CPU threads wherever the data are.
    pub(super) fn on(
        device: Option<&Arc<Data>>,
        problem: Arc<Problem<'a>>,
        params: FitParams,
        start: &Start,
    ) -> Result<Self> {
        params.check(&problem)?;
        check_memory("the factors", Self::bytes(&problem, &params))?;
        let (unit, guard, floor) = match params.scaling {
            Scaling::Normalised => (problem.unit(), T::TINY.wide(), T::FLOOR.wide()),
            Scaling::Plain { guard } => (1.0, guard, 0.0),
        };
        let mut working = start.working::<T>(&problem, &params, unit)?;
        // An evaluation takes the factors as they are.
        if params.scaling == Scaling::Normalised && params.maxit > 0 {
            drop_empty_features(&mut working.w, &problem, &params);
        }
        // Single precision without a unit has little room.
        let largest = problem
            .background_summary
            .as_ref()
            .map_or(0.0, |y| y.max)
            .max(problem.target_summary.max);
        let largest = [T::of(largest / unit)];
        let parts = [&working.w[..], &working.h[0], &working.h[1], &largest];
        if !parts.iter().all(|part| in_range(part, most(unit))) {
            return Err(Error::NotFinite { sweep: 0 });
        }
        let factors = padded::<T>(params.k);
        let size = problem.size(params.k);
        let (w_penalty, h_penalty) =
            Penalty::absolute(params.w_penalty, params.h_penalty, params.loss, size, unit);
        for (name, penalty) in [("w penalty", w_penalty), ("h penalty", h_penalty)] {
            for value in [penalty.l1, penalty.l2] {
                within(name, value, T::of(value).is_finite(), || {
                    "small enough for the precision".into()
                })?;
            }
        }
        let slack = if problem.lacks_entries() { SLACK } else { 0.0 };
        let control = Control {
            steps: params.steps.h,
            tolerance: T::zero(),
            guard: T::of(guard),
            floor: T::of(floor),
            slack: T::of(slack),
            l1: T::of(h_penalty.l1),
            l2: T::of(h_penalty.l2),
            measures: true,
        };
        let w_control = WControl {
            loss: params.loss,
            factors,
            free: params.k - params.hold,
            steps: params.steps.w,
            descend: params
                .batches
                .is_none_or(|batches| batches.update == Update::Pass),
            imputes: params.hold_out.is_none(),
            weight: params.weight,
            l1: w_penalty.l1,
            l2: w_penalty.l2,
            guard,
            // Here it is rounding alone that is to be outweighed.
            slack: 1e-2 * slack,
            floor,
            ceiling: if params.scaling == Scaling::Normalised {
                T::CEILING.wide()
            } else {
                f64::INFINITY
            },
        };
        let phase = match params.batches {
            _ if params.maxit == 0 => Phase::Evaluate,
            Some(_) => Phase::Batches,
            None => Phase::Sweep,
        };
        let (penalty, _) = Penalty::absolute(
            params.w_penalty,
            params.h_penalty,
            LossKind::Mse,
            size,
            unit,
        );
        let w_control_squares = WControl {
            loss: LossKind::Mse,
            l1: penalty.l1,
            l2: penalty.l2,
            ..w_control
        };
        let cells: Box<dyn Backend<T> + 'a> = match device {
            Some(device) => T::on_device(device, &problem, &params, working.h)?,
            None => {
                let pass = Self::pass(&problem, &params, phase);
                Box::new(Threads::new(working.h, pass))
            }
        };
        let batches = params.batches.filter(|_| phase == Phase::Batches);
        let accelerates =
            params.accelerate && params.scaling == Scaling::Normalised && phase == Phase::Sweep;
        let squares = problem.parts()[1] > 0;
        let descends = w_control.descends() || (squares && w_control_squares.descends());
        let shortens = params.weight < 0.0 && descends;
        let fresh = !matches!(start, Start::Factors(_));
        let mut fit = FullBatch {
            ambient: Ambient::new(&problem, &params, unit),
            weight: mixture::weights(&problem.weights.features, &problem.mixture, unit),
            sizes: Sizes::new(&problem, &params, fresh, unit)?,
            yardsticks: match params.hold_out {
                Some(_) => problem.each_set().map(|set| {
                    set.map_or(Yardstick::default(), |(matrix, summary)| {
                        let weights = &problem.weights.features;
                        let loss = |i| problem.loss_of(i, params.loss);
                        Yardstick::new(matrix, summary, weights, loss, unit)
                    })
                }),
                None => Default::default(),
            },
            w_next: Aligned::zeros(working.w.len()),
            extrapolation: accelerates.then(Extrapolation::new),
            step_length: shortens.then(|| StepLength::new(factors)),
            shared: Aligned::default(),
            shared_squares: Aligned::default(),
            w: Aligned::from(&working.w[..]),
            cells,
            batches: batches.map(|batches| MiniBatch::new(&problem, &params, batches, start)),
            problem,
            params,
            unit,
            fresh,
            level: fresh,
            mishap: None,
            control,
            w_control,
            w_control_squares,
            phase,
            history: Vec::new(),
            held_out: [HeldOut::default(); 2],
            change: f64::NAN,
            converged: false,
            failed: false,
            revived: 0,
        };
        fit.share();
        Ok(fit)
    }

    /// About what a fit needs besides the data: its factors, where they go to, where they come from, and the records of the cells.
    fn bytes(problem: &Problem<'_>, params: &FitParams) -> f64 {
        let sets = problem.sets().into_iter().flatten();
        let (mut cells, mut records) = (0, 0);
        for set in sets {
            cells += set.columns();
            records += set.stripes().len();
        }
        let features = problem.target.rows() as f64;
        let number = size_of::<T>() as f64;
        let model = (2.0 * number + size_of::<f64>() as f64) * (features + cells as f64);
        (model + records as f64 * number * features) * padded::<T>(params.k) as f64
    }

    /// CPU threads' pass over all cells.
    fn pass(problem: &Problem<'_>, params: &FitParams, phase: Phase) -> Pass<T> {
        let rows = match phase {
            Phase::Sweep => problem.parts(),
            _ => [0, 0],
        };
        let masked = params.hold_out.is_some() || problem.lacks_entries();
        let factors = padded::<T>(params.k);
        Pass::new(problem.sets(), params.loss, rows, factors, masked)
    }

    /// Works until the deadline or the end; true at the end. Runs on the current thread pool.
    pub fn advance(&mut self, deadline: Instant) -> bool {
        while self.phase != Phase::Done && self.run_on(deadline) {
            if Instant::now() >= deadline {
                break;
            }
        }
        self.phase == Phase::Done
    }

    /// The rest of the pass or batch in work; false if the deadline came first.
    fn run(&mut self, deadline: Instant) -> Result<bool> {
        if self.phase == Phase::Batches {
            return self.run_batch(deadline);
        }
        if !self.run_pass(deadline)? {
            return Ok(false);
        }
        if self.phase == Phase::Settle {
            self.cells.swap();
            self.take_odds();
            self.phase = Phase::Evaluate;
        } else {
            let sweeps = self.history.len();
            self.record(Set::BOTH.map(|set| self.cells.sums(set)));
            if self.phase == Phase::Sweep && !self.failed {
                let records = self.cells.take_records();
                let [x, y] = records.each_ref().map(|set| set.iter().collect::<Vec<_>>());
                self.finish_sweep([&x, &y])
                    // The sweep will be taken once more.
                    .inspect_err(|_| self.history.truncate(sweeps))?;
                self.cells.give_records(records);
                if !self.failed {
                    self.take_odds();
                }
            } else {
                self.phase = Phase::Done;
            }
        }
        self.cells.rewind();
        Ok(true)
    }

    /// As [`FullBatch::run`]. When a device fails, CPU threads go on with W, which is here, and coefficients that are as good as those of a start.
    fn run_on(&mut self, deadline: Instant) -> bool {
        self.run(deadline).unwrap_or_else(|error| {
            self.mishap = Some(error);
            let (problem, params) = (&self.problem, &self.params);
            let pass = Self::pass(problem, params, self.phase);
            let level = level_cells(problem, params, self.unit);
            self.cells = Box::new(Threads::new(level, pass));
            self.level = true;
            if self.phase == Phase::Evaluate {
                self.phase = Phase::Settle;
            }
            true
        })
    }

    fn take_odds(&mut self) {
        take_odds(&mut self.sizes, |set| self.cells.log_odds(set), [None; 2]);
    }

    /// Complete sweeps so far.
    pub fn iteration(&self) -> usize {
        match (self.phase, self.history.len()) {
            (Phase::Done, n) => n.saturating_sub(1),
            (_, n) => n,
        }
    }

    /// What was evaluated so far, one record a sweep, the start first.
    pub fn history(&self) -> &[Record] {
        &self.history
    }

    /// Whether the fit stopped because W changed by less than `tol`.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// Whether the fit stopped because the numbers left the finite range; the factors are those of
    /// the sweep before.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// What a device failed at, after which CPU threads went on.
    pub fn mishap(&self) -> Option<&Error> {
        self.mishap.as_ref()
    }

    /// The loadings after the last complete sweep, from which W may have gone on.
    fn model(&self) -> &[T] {
        let extrapolation = self.extrapolation.as_ref();
        extrapolation.map_or(&self.w, |extrapolation| extrapolation.model(&self.w))
    }

    /// The coefficients after the last complete sweep; those of a start if a device has lost them.
    fn coefficients(&self) -> [Cow<'_, [T]>; 2] {
        let cells = self.cells.coefficients();
        cells.unwrap_or_else(|_| level_cells(&self.problem, &self.params, self.unit).map(Cow::from))
    }

    /// How many dead or duplicate factors were started anew.
    pub fn revived(&self) -> usize {
        self.revived
    }

    /// Part of the current pass that is done.
    pub fn fraction(&self) -> f64 {
        let batches = self.batches.as_ref();
        batches
            .filter(|_| self.phase == Phase::Batches)
            .map_or(self.cells.fraction(), MiniBatch::fraction)
    }

    /// The factors after the last complete sweep.
    pub fn factors(&self) -> Factors {
        let k = self.params.k;
        let h = self.coefficients();
        let mut factors = Factors::from_working(self.model(), [&h[0], &h[1]], k, self.unit);
        let [target, background] = &self.problem.size_factors;
        rescale_cells(&mut factors.h, k, target, false);
        rescale_cells(&mut factors.h_background, k, background, false);
        factors
    }

    /// What entries that were held out lose by the final model, target and background; `None` without a
    /// hold-out, or before the end.
    pub fn held_out(&self) -> Option<[HeldOut; 2]> {
        (self.params.hold_out.is_some() && self.phase == Phase::Done).then_some(self.held_out)
    }

    /// Sizes of the features with nb, of target and background where these differ; empty with other losses.
    pub fn sizes(&self) -> Vec<Vec<f64>> {
        self.sizes.sizes()
    }

    /// Probabilities of dropout with zinb: of features, for target and background where these differ, or of the cells of target and background; empty with other
    /// losses, and before they are estimated.
    pub fn dropout(&self) -> Vec<Vec<f64>> {
        self.sizes.odds().map_or(Vec::new(), Odds::probabilities)
    }

    fn run_pass(&mut self, deadline: Instant) -> Result<bool> {
        let steps = match self.phase {
            Phase::Sweep if self.level => self.params.steps.first,
            Phase::Sweep => self.params.steps.h,
            Phase::Settle => SETTLE.0,
            _ => 0,
        };
        // Out of the fit and back in, as it moves while the rest is looked at.
        let mut cells = std::mem::replace(&mut self.cells, Box::new(Threads::default()));
        let mut job = self.job(steps, self.phase == Phase::Sweep);
        if self.phase == Phase::Settle {
            job.control.tolerance = T::of(SETTLE.1);
        }
        let done = cells.run(&job, self.problem.sets(), deadline);
        self.cells = cells;
        self.level &= !matches!(done, Ok(true));
        done
    }

    /// What is done with every cell, on the present W.
    pub(super) fn job(&self, steps: usize, stats: bool) -> Job<'_, T> {
        let basis = Basis {
            w: &self.w,
            shared: &self.shared,
            weight: &self.weight,
            guard: self.control.guard,
            ambient: &self.ambient.profile,
            ambient_sum: self.ambient.sum,
            dispersed: Default::default(),
        };
        let (basis, squares) = basis.parts(
            &self.shared_squares,
            self.problem.parts()[0],
            padded::<T>(self.params.k),
        );
        Job {
            loss: self.params.loss,
            basis,
            squares,
            dispersed: self.sizes.view(),
            factors: padded::<T>(self.params.k),
            scale: self.unit.recip(),
            control: Control {
                steps,
                ..self.control
            },
            stats,
            sizes: stats && self.sizes.wants(self.history.len()),
            excess: self.sizes.excess().is_none(),
            weights: self.problem.weights.cells.each_ref().map(Vec::as_slice),
            size_factors: self.problem.size_factors.each_ref().map(Vec::as_slice),
            log_odds: self.sizes.odds_of_cells(),
            moves_odds: self.sizes.odds().is_some_and(Odds::moves),
            hold_out: self.params.hold_out,
            yardsticks: self.yardsticks.each_ref().map(Yardstick::view),
            ambient: &self.ambient.cells,
            order: [None; 2],
        }
    }

    /// Notes the divergences of the model that the pass started from.
    pub(super) fn record(&mut self, sums: [Sums; 2]) {
        let to_user = self.params.loss.to_user(self.unit);
        let factor = self.params.loss.penalty_factor();
        let excess = sums.map(|sums| sums.excess);
        let known = self.sizes.excess().unwrap_or(excess);
        self.sizes.know(known);
        let [mut x, mut y] = sums;
        for (sums, excess) in [&mut x, &mut y].into_iter().zip(known) {
            // Where counts are fitted almost exactly rounding may leave less than nothing; NaN stays.
            sums.divergence -= excess;
            if sums.divergence < 0.0 {
                sums.divergence = 0.0;
            }
        }
        let weights = &self.problem.weights.features;
        let odds = self.sizes.odds();
        let prior = |set| odds.map_or(0.0, |odds| odds.prior(set, weights)) / self.unit;
        let mut objective = x.divergence + factor * (x.penalty + self.w_penalty()) + prior(0);
        let mut background = f64::NAN;
        if self.problem.background.is_some() {
            objective += self.params.weight * (y.divergence + factor * y.penalty + prior(1));
            background = y.divergence * to_user;
        }
        // Infinity minus infinity: nothing can be said about this model.
        self.failed = objective.is_nan();
        self.held_out = sums.map(|sums| HeldOut {
            loss: sums.held_out,
            entries: sums.n_held_out,
        });
        self.history.push(Record {
            iteration: self.history.len(),
            target: x.divergence * to_user,
            background,
            objective: objective * to_user,
            change: self.change,
        });
    }

    fn w_penalty(&self) -> f64 {
        let WControl { l1, l2, .. } = self.w_control;
        if (Penalty { l1, l2 }).is_none() {
            return 0.0;
        }
        let parts = [self.w_control, self.w_control_squares].map(|c| [c.l1, c.l2]);
        let counts = self.problem.parts()[0];
        let rows = self.w.chunks_exact(padded::<T>(self.params.k));
        rows.enumerate()
            .map(|(i, row)| {
                let [l1, l2] = parts[usize::from(i >= counts)];
                let penalty = |w: &T| (l1 + 0.5 * l2 * w.wide()) * w.wide();
                count(&self.weight, i).wide() * row.iter().map(penalty).sum::<f64>()
            })
            .sum()
    }

    /// W step, rescaling, stopping rule.
    pub(super) fn finish_sweep(&mut self, records: [&[&WStats<T>]; 2]) -> Result<()> {
        if self.cells.step_w(&mut self.w_next, self.w_control)? {
            self.hold_loadings();
        } else {
            self.step_w(records);
        }
        if let Some(lengths) = &mut self.step_length {
            lengths.shorten(&self.w, &mut self.w_next);
        }
        let grown = self.normalise_next()?;
        if !self.next_in_range()? {
            return Ok(());
        }
        self.change = correlation_distance(self.model(), &self.w_next, self.entries());
        std::mem::swap(&mut self.w, &mut self.w_next);
        self.cells.swap();
        self.hold_background(&grown)?;
        self.estimate_sizes(records);
        self.converged = self.change < self.params.tol && self.sizes.settled();
        let revived = self.revive()?;
        if let Some(lengths) = self.step_length.as_mut().filter(|_| revived) {
            lengths.forget();
        }
        // The record of this sweep is written by the next pass.
        if self.converged || self.history.len() >= self.params.maxit {
            self.phase = Phase::Evaluate;
        }
        self.extrapolate(revived);
        self.share();
        Ok(())
    }

    /// Has W go on from where a step has led to, unless factors were started anew; not from the last one.
    fn extrapolate(&mut self, revived: bool) {
        let Some(extrapolation) = &mut self.extrapolation else {
            return;
        };
        if revived || self.phase != Phase::Sweep {
            extrapolation.stop();
            return;
        }
        let Some(last) = self.history.last() else {
            return;
        };
        let factors = padded::<T>(self.params.k);
        let lengths = self.step_length.as_ref();
        let goes = lengths.map_or_else(|| vec![true; factors], StepLength::whole);
        let counts = self.problem.parts()[0] * factors;
        let of = |loadings, control: &WControl| if control.descends() { 0 } else { loadings };
        // Squared errors of a mixture come last.
        let multiplicative =
            of(counts, &self.w_control) + of(self.w.len() - counts, &self.w_control_squares);
        extrapolation.go_on(
            &self.w_next,
            &mut self.w,
            multiplicative,
            &goes,
            last.objective,
        );
    }

    /// Puts loadings back that are to stay, which a device does not know of.
    fn hold_loadings(&mut self) {
        let FitParams { k, hold, .. } = self.params;
        let factors = padded::<T>(k);
        let rows = self.w.chunks_exact(factors);
        for (next, old) in self.w_next.chunks_exact_mut(factors).zip(rows) {
            next[k - hold..k].copy_from_slice(&old[k - hold..k]);
        }
    }

    /// The next W, from the records.
    pub(super) fn step_w(&mut self, records: [&[&WStats<T>]; 2]) {
        let counts = self.problem.parts()[0] * padded::<T>(self.params.k);
        let (w, w_squares) = self.w.split_at(counts);
        let (next, next_squares) = self.w_next.split_at_mut(counts);
        w_step(w, next, records, self.sizes.scaled(), self.w_control);
        if !w_squares.is_empty() {
            let squares = records.map(|set| set.iter().filter_map(|r| r.squares.as_deref()));
            let [x, y] = squares.map(Iterator::collect::<Vec<_>>);
            let (sizes, control) = ([&[][..]; 2], self.w_control_squares);
            w_step(w_squares, next_squares, [&x, &y], sizes, control);
        }
    }

    /// Moves the sizes, if the records of the pass say where.
    pub(super) fn estimate_sizes(&mut self, records: [&[&WStats<T>]; 2]) {
        // The history has this sweep's start already.
        if self.sizes.wants(self.history.len() - 1) {
            self.sizes.estimate(records);
        }
        self.sizes.begin(self.history.len());
    }

    /// Moves the sums of the new W's columns into the new H, and returns them.
    pub(super) fn normalise_next(&mut self) -> Result<Vec<f64>> {
        let mut sums = column_sums(&self.w_next, padded::<T>(self.params.k));
        if self.params.scaling != Scaling::Normalised {
            return Ok(vec![1.0; sums.len()]);
        }
        // What is held has its sum, whatever rounding says.
        sums[self.params.k - self.params.hold..].fill(1.0);
        // NaN is no sum either.
        sums.iter_mut()
            .for_each(|sum| *sum = if *sum > 0.0 { *sum } else { 1.0 });
        let down: Vec<f64> = sums.iter().map(|s| s.recip()).collect();
        scale_factors(&mut self.w_next, &down);
        self.cells.scale_next(&sums)?;
        Ok(sums)
    }

    /// Without a weight of the background nothing holds the loadings of a factor that the target does not use. Where they have `grown` out of all measure, the
    /// background's coefficients, which were for others, do not go with them: steps from there would be rounding.
    fn hold_background(&mut self, grown: &[f64]) -> Result<()> {
        let beside = self.params.weight == 0.0 && self.problem.background.is_some();
        if beside && grown.iter().any(|sum| *sum > RUNAWAY) {
            let back = |sum: &f64| if *sum > RUNAWAY { sum.recip() } else { 1.0 };
            let back: Vec<f64> = grown.iter().map(back).collect();
            scale_factors(&mut self.cells.host()?.now[1], &back);
        }
        Ok(())
    }

    /// Whether the new W and H are numbers that can be gone on with; if not, the fit has failed.
    pub(super) fn next_in_range(&mut self) -> Result<bool> {
        let most = most(self.unit);
        self.failed = !in_range(&self.w_next, most) || !self.cells.next_in_range(most)?;
        if self.failed {
            self.phase = Phase::Done;
        }
        Ok(!self.failed)
    }

    /// Loadings without padding.
    pub(super) fn entries(&self) -> usize {
        self.w.len() / padded::<T>(self.params.k) * self.params.k
    }

    /// Starts factors anew that do nothing, a few times at most; whether there were any.
    fn revive(&mut self) -> Result<bool> {
        let all = 3 * self.params.k;
        let time = is_time(&self.params, self.history.len(), self.converged);
        if !self.fresh || !time || self.revived >= all {
            return Ok(false);
        }
        // On a device they are only looked at, unless there is something to do.
        let found = look(&self.w, &self.cells.coefficients()?[0], &self.params);
        let mut revived = 0;
        if !found.is_empty() {
            let (w, h) = (&mut self.w, &mut self.cells.host()?.now);
            revived = revive(&self.problem, &self.params, self.unit, found, w, h);
            self.converged &= revived == 0;
            self.revived += revived;
        }
        Ok(revived > 0)
    }

    pub(super) fn share(&mut self) {
        let factors = padded::<T>(self.params.k);
        let [counts, squares] = self.problem.parts();
        let (w, w_squares) = self.w.split_at(counts * factors);
        let weight = &self.weight;
        self.shared = with_loss!(self.params.loss, loss => loss.shared(w, weight, factors));
        if squares > 0 {
            self.shared_squares = Mse.shared(w_squares, &weight[counts..], factors);
        }
        self.sizes.share(w, factors, weight, &self.ambient.profile);
    }
}

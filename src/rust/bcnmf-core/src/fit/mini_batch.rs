//! Mini-batches: H steps on some cells, then a W step, from a record of which old batches fade out.
//!
//! Stochastic majorise-minimise (Mairal, Bach, Ponce and Sapiro 2010; online EM: Cappé and Moulines 2009). With `s_t` the
//! record of batch `t`, scaled up to the whole set, W follows `S_t = (1 − γ_t) S_{t−1} + γ_t s_t` with
//! `γ_t = (t + 2)^−κ`, `t` from 0, and `S_{−1}` a record that would leave the starting W as it is: without it what the first batch
//! happens not to have would be lost. A record is that of a majoriser of the objective in W, so what is averaged are
//! majorisers, each of them touching at the W that it was made with.
//!
//! Where a record belongs to one W (poisson), what lasts is not the numerator `P` but `W ∘ P`, the weight of the majoriser's logarithm. So when W
//! moves, numerators that pull up are divided by what W was multiplied with. The tangent of a contrasted background's likelihood is a
//! gradient and lasts as it is.

use super::FullBatch;
use super::full_batch::{Phase, take_odds};
use super::params::{Batches, FitParams, Update};
use super::start::{Start, most};
use super::{Problem, correlation_distance};
use crate::Result;
use crate::backend::{Coefficients, Pass, Set, Sums, even_ranges, in_range};
use crate::loss::{Loss, LossKind, with_loss};
use crate::matrix::{MOST_STRIPES, Matrix};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::padded;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::time::Instant;

/// `κ`: from 0.5 down batches never average out, and from 1 up the first ones are not forgotten. Of 0.5, 0.6 and 0.7 the smaller ones
/// had the lower objectives after one to ten passes, but for batches of some ten cells.
const FADING: f64 = 0.55;

/// H steps on a cell that is seen for the first time, and from the second time on, at least: there are few passes.
const FIRST: usize = 20;
const AGAIN: usize = 5;

/// H steps end when no coefficient moves by more than this part of the largest.
const ENOUGH: f64 = 0.01;

/// At the end, on the final W: most H steps, and when they end.
pub(super) const SETTLE: (usize, f64) = (20, 1e-3);

/// Stored values a feature in a stripe of a batch, about: clearing and adding up its record costs as much as a few of them.
const STRIPE: usize = 8;

/// Batches of a pass, and what came of them.
pub(super) struct MiniBatch<T> {
    batches: Batches,
    seed: u64,
    /// Batches of a pass.
    number: usize,
    /// Batches of this pass that are done.
    at: usize,
    /// Of all passes. A fit that goes on from another has one behind it: its W is not the first batch's to overturn.
    done: usize,
    /// Cells of target and background in the order of this pass.
    order: [Vec<u32>; 2],
    /// Coefficients of the batch in work, and whether they are there.
    h: [Vec<T>; 2],
    h_next: [Vec<T>; 2],
    loaded: bool,
    pass: Pass<T>,
    /// Of target and background, as if it were of all their cells.
    record: [WStats<T>; 2],
    /// Sets of which no cell is in the record.
    unseen: [bool; 2],
    sums: [Sums; 2],
    /// W at the start of the pass.
    w: Vec<T>,
}

impl<T: Real> MiniBatch<T> {
    pub fn new(problem: &Problem<'_>, params: &FitParams, batches: Batches, start: &Start) -> Self {
        let cells = problem.sets().map(|set| set.map_or(0, Matrix::columns));
        let number = cells[0].div_ceil(batches.size);
        let (rows, factors) = (problem.target.rows(), padded::<T>(params.k));
        // As many for every batch: the larger ones have a cell more.
        let stripes = problem.sets().map(|set| {
            let Some(set) = set else { return Vec::new() };
            let room = set.columns().div_ceil(number);
            let stored = set.stored() / number;
            let stripes = (stored / (STRIPE * rows)).clamp(1, MOST_STRIPES.min(room));
            even_ranges(room, stripes).collect()
        });
        let (masked, parts) = (problem.lacks_entries(), problem.parts());
        let record = || WStats::new(params.loss, parts, factors, masked);
        MiniBatch {
            batches,
            seed: match start {
                Start::Seed(seed) => *seed,
                Start::Loadings(_) | Start::Factors(_) => 0,
            },
            number,
            at: 0,
            done: match start {
                Start::Seed(_) | Start::Loadings(_) => 0,
                Start::Factors(_) => number,
            },
            order: cells.map(|cells| (0..cells as u32).collect()),
            h: Default::default(),
            h_next: Default::default(),
            loaded: false,
            pass: Pass::planned(stripes, params.loss, parts, factors, masked),
            record: [record(), record()],
            unseen: [true; 2],
            sums: Default::default(),
            w: Vec::new(),
        }
    }

    /// The part of this pass that is done, 0 to 1.
    pub fn fraction(&self) -> f64 {
        (self.at as f64 + self.pass.fraction()) / self.number as f64
    }

    /// Where the batch in work is in the order of each set.
    fn places(&self) -> [Range<usize>; 2] {
        self.order.each_ref().map(|order| {
            let batches = &mut even_ranges(order.len(), self.number);
            batches.nth(self.at).unwrap_or_default()
        })
    }

    /// Its cells.
    fn cells(&self) -> [&[u32]; 2] {
        let [x, y] = self.places();
        [&self.order[0][x], &self.order[1][y]]
    }

    fn begin_pass(&mut self, w: &[T]) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // A stream of its own for every pass, and none of those that starts are made of.
        rng.set_stream(1 + (self.done / self.number) as u64);
        for order in &mut self.order {
            // From the same order every time, so that a pass depends on its number alone.
            order.iter_mut().zip(0..).for_each(|(cell, j)| *cell = j);
            order.shuffle(&mut rng);
        }
        self.w.clear();
        self.w.extend_from_slice(w);
        self.sums = Default::default();
        if self.batches.update == Update::Pass {
            self.record.iter_mut().for_each(WStats::clear);
        }
    }

    /// Gathers the coefficients of the next batch.
    fn load(&mut self, h: &[Vec<T>; 2], factors: usize) {
        let cells = self.cells().map(<[u32]>::len);
        for set in [0, 1] {
            let mut own = std::mem::take(&mut self.h[set]);
            own.clear();
            for &j in self.cells()[set] {
                own.extend_from_slice(&h[set][j as usize * factors..][..factors]);
            }
            self.h_next[set].resize(own.len(), T::zero());
            self.h[set] = own;
        }
        self.pass.resize(cells);
        self.loaded = true;
    }

    /// Puts the coefficients of the batch back to their cells.
    fn store(&mut self, h: &mut [Vec<T>; 2], factors: usize) {
        for (set, cells) in self.cells().into_iter().enumerate() {
            for (&j, new) in cells.iter().zip(self.h_next[set].chunks_exact(factors)) {
                h[set][j as usize * factors..][..factors].copy_from_slice(new);
            }
        }
        self.loaded = false;
    }

    /// Adds the batch's sums and records.
    fn add(&mut self, w: &[T], sizes: [&[T]; 2], loss: LossKind, factors: usize) {
        let fresh = ((self.done + 2) as f64).powf(-FADING);
        let cells = self.cells().map(<[u32]>::len);
        for (at, set) in Set::BOTH.into_iter().enumerate() {
            let sums = self.pass.sums(set);
            self.sums[at].divergence += sums.divergence;
            self.sums[at].excess += sums.excess;
            self.sums[at].penalty += sums.penalty;
            // A small background has no cell in some batches.
            if cells[at] == 0 {
                continue;
            }
            let records = self.pass.records(set);
            if self.batches.update == Update::Pass {
                self.record[at].blend(1.0, &records, 1.0);
                continue;
            }
            let scale = self.order[at].len() as f64 / cells[at] as f64;
            if std::mem::take(&mut self.unseen[at]) {
                self.record[at].blend(0.0, &records, scale);
                with_loss!(loss, loss => self.record[at].temper(loss, w, sizes[at], factors, fresh));
            } else {
                self.record[at].blend(1.0 - fresh, &records, fresh * scale);
            }
        }
        self.done += 1;
        self.at += 1;
    }
}

impl<T: Real> FullBatch<'_, T> {
    /// The rest of the batch in work; false if the deadline came first.
    pub(super) fn run_batch(&mut self, deadline: Instant) -> Result<bool> {
        // Out of the fit and back in, as both move.
        let Some(mut work) = self.batches.take() else {
            return Ok(true);
        };
        let done = self.go_on(&mut work, deadline);
        self.batches = Some(work);
        done
    }

    fn go_on(&mut self, work: &mut MiniBatch<T>, deadline: Instant) -> Result<bool> {
        if !work.loaded {
            if work.at == 0 {
                work.begin_pass(&self.w);
            }
            let now = &self.cells.host()?.now;
            work.load(now, padded::<T>(self.params.k));
        }
        let done = self.run_cells(work, deadline);
        if done {
            self.finish_batch(work)?;
        }
        Ok(done)
    }

    fn run_cells(&self, work: &mut MiniBatch<T>, deadline: Instant) -> bool {
        let first = work.done < work.number;
        let each = work.batches.update == Update::Batch;
        let steps = self.params.steps;
        let mut job = match (each, first) {
            (true, true) => self.job(FIRST.max(steps.first), true),
            (true, false) => self.job(AGAIN.max(steps.h), true),
            (false, true) => self.job(steps.first, true),
            (false, false) => self.job(steps.h, true),
        };
        if each {
            job.control.tolerance = T::of(ENOUGH);
        }
        let [x, y] = work.places();
        job.order = [Some(&work.order[0][x]), Some(&work.order[1][y])];
        let [target, background] = &mut work.h_next;
        let h = [&work.h[0][..], &work.h[1][..]];
        let sets = self.problem.sets();
        work.pass.run(&job, sets, h, [target, background], deadline)
    }

    /// Coefficients back to their cells, the W step, and the end of the pass when this was its last batch.
    fn finish_batch(&mut self, work: &mut MiniBatch<T>) -> Result<()> {
        let factors = padded::<T>(self.params.k);
        let each = work.batches.update == Update::Batch;
        let sound = work.h_next.iter().all(|h| in_range(h, most(self.unit)));
        if sound {
            let [x, y] = work.cells();
            let log_odds = |set| work.pass.log_odds(set);
            take_odds(&mut self.sizes, log_odds, [Some(x), Some(y)]);
            let Coefficients { now, next } = self.cells.host()?;
            work.store(if each { now } else { next }, factors);
            work.add(&self.w, self.sizes.scaled(), self.params.loss, factors);
        }
        if !sound || (each && !self.move_w(work)) {
            // The pass is broken off, with the factors that there were; its record is of the cells so far.
            self.record(work.sums);
            self.failed = true;
            self.phase = Phase::Done;
        } else if work.at == work.number {
            work.at = 0;
            self.finish_batches(work)?;
        }
        Ok(())
    }

    /// The records of target and background, none of one that there is not.
    fn by_set<'r>(&self, records: &'r [&'r WStats<T>; 2]) -> [&'r [&'r WStats<T>]; 2] {
        let background = usize::from(self.problem.background.is_some());
        [&records[..1], &records[1..1 + background]]
    }

    /// The W step of a batch; false, and none, where the numbers leave their range.
    fn move_w(&mut self, work: &mut MiniBatch<T>) -> bool {
        let records = work.record.each_ref();
        self.step_w(self.by_set(&records));
        if !in_range(&self.w_next, most(self.unit)) {
            return false;
        }
        if !with_loss!(self.params.loss, loss => loss.lasting()) {
            // Those in the numerator of the W step.
            let pull_up = 1 + usize::from(self.params.weight >= 0.0);
            for record in &mut work.record[..pull_up] {
                record.follow(&self.w, &self.w_next);
            }
        }
        std::mem::swap(&mut self.w, &mut self.w_next);
        self.share();
        true
    }

    /// Rescaling, history, stopping rule.
    fn finish_batches(&mut self, work: &mut MiniBatch<T>) -> Result<()> {
        let before = self.history.last().map(|record| record.objective);
        self.record(work.sums);
        if self.failed {
            self.phase = Phase::Done;
            return Ok(());
        }
        if work.batches.update == Update::Pass {
            let records = work.record.each_ref();
            return self.finish_sweep(self.by_set(&records));
        }
        self.w_next.copy_from_slice(&self.w);
        let Coefficients { now, next } = self.cells.host()?;
        for (next, h) in next.iter_mut().zip(now) {
            next.copy_from_slice(h);
        }
        let sums = self.normalise_next()?;
        if !self.next_in_range()? {
            return Ok(());
        }
        std::mem::swap(&mut self.w, &mut self.w_next);
        self.cells.swap();
        work.record.iter_mut().for_each(|r| r.rescale_h(&sums));
        let records = work.record.each_ref();
        self.estimate_sizes(self.by_set(&records));
        self.change = correlation_distance(&work.w, &self.w, self.entries());
        self.share();
        // The first pass has measured coefficients that knew nothing.
        let now = self.history.last().map_or(f64::NAN, |r| r.objective);
        let told = self.params.tol > 0.0 && (self.history.len() > 2 || !self.fresh);
        let little = self.params.tol * now.abs();
        self.converged = told && before.is_some_and(|before| before - now < little);
        if self.converged || self.history.len() >= self.params.maxit {
            self.phase = Phase::Settle;
        }
        Ok(())
    }
}

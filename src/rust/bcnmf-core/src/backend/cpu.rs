//! CPU threads: a pass over all cells, in slices of time, with the same bits for any thread count.

use super::work::Work;
use super::{Backend, Coefficients, in_range, scale_factors};
use crate::loss::{Basis, Control, Dispersed, Loss, LossKind, TILE, Yardstick, with_loss};
use crate::matrix::{HoldOut, Matrix};
use crate::real::Real;
use crate::stats::WStats;
use crate::{Error, Result};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

/// A thread pool of a fit's own: the global one would hang in forked processes.
///
/// # Errors
/// If the operating system refuses the threads.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::Threads {
            threads,
            why: e.to_string(),
        })
}

/// The two data sets of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    Target = 0,
    Background = 1,
}

impl Set {
    pub const BOTH: [Set; 2] = [Set::Target, Set::Background];
}

/// What is done with every cell of a pass.
#[derive(Clone, Copy)]
pub struct Job<'j, T> {
    pub loss: LossKind,
    pub basis: Basis<'j, T>,
    /// In a mixture of losses, the features with squared errors, which come after those of `basis`.
    pub squares: Option<Basis<'j, T>>,
    /// [`Basis::dispersed`] of target and background.
    pub dispersed: [Dispersed<'j, T>; 2],
    /// Padded number of factors.
    pub factors: usize,
    /// Values are multiplied by this when read.
    pub scale: f64,
    pub control: Control<T>,
    /// Whether the record for a W step is wanted.
    pub stats: bool,
    /// Whether the derivatives by the sizes are wanted in it.
    pub sizes: bool,
    /// Whether [`Sums::excess`] is wanted.
    pub excess: bool,
    /// How often the cells of target and background count; empty where all count once.
    pub weights: [&'j [f64]; 2],
    /// Their size factors, by which penalties on what they are multiplied with are divided; empty for 1.
    pub size_factors: [&'j [f64]; 2],
    /// Logarithms of the odds that counts of the cells of target and background are lost; empty where cells have none.
    pub log_odds: [&'j [T]; 2],
    /// Whether they move with the cells' coefficients.
    pub moves_odds: bool,
    /// Entries that do not count, besides those that are missing.
    pub hold_out: Option<HoldOut>,
    /// Of target and background, where entries are held out.
    pub yardsticks: [Yardstick<'j, T>; 2],
    /// [`Cell::ambient`] of the background's cells, where there is such a rate; the target has none.
    pub ambient: &'j [T],
    /// Which cell of target and background is at which place of the pass; `None` for each at its own.
    pub order: [Option<&'j [u32]>; 2],
}

/// Consecutive cells whose record is summed on its own, in order.
struct Stripe<T> {
    set: Set,
    cells: Range<usize>,
    /// First cell that this pass has not seen.
    next: usize,
    stats: WStats<T>,
    sums: Sums,
    /// The logarithms of the cells' odds of dropout after their H steps; empty where they have none.
    log_odds: Vec<T>,
}

/// What a pass measures: of the coefficients that came in, not of those that go out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub divergence: f64,
    /// What is to be taken off the divergence, of data and sizes alone.
    pub excess: f64,
    /// `l1 Σh + l2 Σh²/2`.
    pub penalty: f64,
    /// Weighted divergence of the entries that do not count, where a pass only evaluates.
    pub held_out: f64,
    /// Their number.
    pub n_held_out: usize,
}

/// One pass over all cells of target and background, which may be cut into any slices of time; over none by default.
#[derive(Default)]
pub(crate) struct Pass<T> {
    stripes: Vec<Stripe<T>>,
    cells: usize,
}

/// `n` places cut into so many consecutive ranges, as even as can be.
pub(crate) fn even_ranges(n: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    (0..parts).map(move |part| part * n / parts..(part + 1) * n / parts)
}

/// Cells between two looks at the clock.
fn cells_per_look<L: Loss>(_: L) -> usize {
    if L::DENSE { TILE } else { 16 }
}

impl<T: Real> Pass<T> {
    /// Plans a pass; records are of `rows` features, as [`WStats::new`] has them, none for 0. `masked`: whether there are entries that do not count.
    pub fn new(
        sets: [Option<&Matrix<'_>>; 2],
        loss: LossKind,
        rows: [usize; 2],
        factors: usize,
        masked: bool,
    ) -> Self {
        let planned = sets.map(|matrix| matrix.map_or(Vec::new(), Matrix::stripes));
        Self::planned(planned, loss, rows, factors, masked)
    }

    /// A pass over places, which are filled with any cells: see [`Job::order`].
    pub fn planned(
        stripes: [Vec<Range<usize>>; 2],
        loss: LossKind,
        rows: [usize; 2],
        factors: usize,
        masked: bool,
    ) -> Self {
        let mut pass = Pass {
            stripes: Vec::new(),
            cells: 0,
        };
        for (set, stripes) in Set::BOTH.into_iter().zip(stripes) {
            pass.cells += stripes.last().map_or(0, |last| last.end);
            pass.stripes.extend(stripes.into_iter().map(|cells| Stripe {
                set,
                next: cells.start,
                cells,
                stats: WStats::new(loss, rows, factors, masked),
                sums: Sums::default(),
                log_odds: Vec::new(),
            }));
        }
        pass
    }

    /// Back to the first cell, with so many places in each set, spread evenly over its stripes.
    pub fn resize(&mut self, cells: [usize; 2]) {
        self.cells = cells.iter().sum();
        let stripes = Set::BOTH.map(|set| self.records(set).len());
        for (set, stripes) in stripes.into_iter().enumerate() {
            let even = even_ranges(cells[set], stripes);
            let mine = self.stripes.iter_mut().filter(|s| s.set as usize == set);
            mine.zip(even)
                .for_each(|(stripe, cells)| stripe.cells = cells);
        }
        self.rewind();
    }

    /// Back to the first cell, with empty records.
    pub fn rewind(&mut self) {
        self.stripes.par_iter_mut().for_each(|stripe| {
            stripe.next = stripe.cells.start;
            stripe.stats.clear();
            stripe.sums = Sums::default();
            // A stripe may have no cells the next time.
            stripe.log_odds.clear();
        });
    }

    /// Goes on from where the last call stopped, until the end (true) or the deadline (false).
    /// `h` is read, `h_next` written, both cell by cell.
    pub fn run(
        &mut self,
        job: &Job<'_, T>,
        sets: [Option<&Matrix<'_>>; 2],
        h: [&[T]; 2],
        h_next: [&mut [T]; 2],
        deadline: Instant,
    ) -> bool {
        let mut rest = h_next;
        let mut work = Vec::with_capacity(self.stripes.len());
        for stripe in &mut self.stripes {
            let set = stripe.set as usize;
            let range = stripe.cells.start * job.factors..stripe.cells.end * job.factors;
            let (mine, others) = std::mem::take(&mut rest[set]).split_at_mut(range.len());
            rest[set] = others;
            if stripe.next < stripe.cells.end {
                work.push((stripe, sets[set], &h[set][range], mine));
            }
        }
        // However small the budget, the first stripe goes on a little: the end is always reached.
        work.into_par_iter()
            .enumerate()
            .for_each(|(at, (stripe, matrix, h, h_next))| {
                if let Some(matrix) = matrix {
                    stripe.run(job, matrix, h, h_next, deadline, at == 0);
                }
            });
        self.stripes
            .iter()
            .all(|stripe| stripe.next == stripe.cells.end)
    }

    /// Sums over the cells of one set, added in a fixed order.
    pub fn sums(&self, set: Set) -> Sums {
        self.stripes
            .iter()
            .filter(|s| s.set == set)
            .fold(Sums::default(), |all, s| Sums {
                divergence: all.divergence + s.sums.divergence,
                excess: all.excess + s.sums.excess,
                penalty: all.penalty + s.sums.penalty,
                held_out: all.held_out + s.sums.held_out,
                n_held_out: all.n_held_out + s.sums.n_held_out,
            })
    }

    /// The logarithms of the odds of dropout of one set's cells after the pass, place by place; none where cells have no odds.
    pub fn log_odds(&self, set: Set) -> Vec<T> {
        let stripes = self.stripes.iter().filter(move |s| s.set == set);
        stripes.flat_map(|s| s.log_odds.iter().copied()).collect()
    }

    /// The records of one set, in a fixed order.
    pub fn records(&self, set: Set) -> Vec<&WStats<T>> {
        self.stripes
            .iter()
            .filter(|s| s.set == set)
            .map(|s| &s.stats)
            .collect()
    }

    /// The part of the cells that this pass has seen, 0 to 1.
    pub fn fraction(&self) -> f64 {
        let seen: usize = self.stripes.iter().map(|s| s.next - s.cells.start).sum();
        seen as f64 / self.cells.max(1) as f64
    }
}

/// The coefficients of a fit's cells, and their passes on CPU threads.
#[derive(Default)]
pub(crate) struct Threads<T> {
    cells: Coefficients<T>,
    pass: Pass<T>,
}

impl<T: Real> Threads<T> {
    /// Starts from these coefficients.
    pub fn new(h: [Vec<T>; 2], pass: Pass<T>) -> Self {
        let cells = Coefficients {
            next: h.each_ref().map(|h| vec![T::zero(); h.len()]),
            now: h,
        };
        Threads { cells, pass }
    }
}

impl<T: Real> Backend<T> for Threads<T> {
    fn run(
        &mut self,
        job: &Job<'_, T>,
        sets: [Option<&Matrix<'_>>; 2],
        deadline: Instant,
    ) -> Result<bool> {
        let Coefficients { now, next } = &mut self.cells;
        let (h, [target, background]) = (now.each_ref().map(Vec::as_slice), next);
        let next = [&mut target[..], &mut background[..]];
        Ok(self.pass.run(job, sets, h, next, deadline))
    }

    fn rewind(&mut self) {
        self.pass.rewind();
    }

    fn fraction(&self) -> f64 {
        self.pass.fraction()
    }

    fn sums(&self, set: Set) -> Sums {
        self.pass.sums(set)
    }

    fn take_records(&mut self) -> [Vec<WStats<T>>; 2] {
        Set::BOTH.map(|set| {
            let stripes = self.pass.stripes.iter_mut().filter(|s| s.set == set);
            stripes.map(|s| std::mem::take(&mut s.stats)).collect()
        })
    }

    fn give_records(&mut self, records: [Vec<WStats<T>>; 2]) {
        let all = self.pass.stripes.iter_mut();
        all.zip(records.into_iter().flatten())
            .for_each(|(stripe, record)| stripe.stats = record);
    }

    fn log_odds(&self, set: Set) -> Vec<T> {
        self.pass.log_odds(set)
    }

    fn scale_next(&mut self, scale: &[f64]) -> Result<()> {
        let next = self.cells.next.iter_mut();
        next.for_each(|h| scale_factors(h, scale));
        Ok(())
    }

    fn next_in_range(&mut self, most: f64) -> Result<bool> {
        Ok(self.cells.next.iter().all(|h| in_range(h, most)))
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.cells.now, &mut self.cells.next);
    }

    fn coefficients(&self) -> Result<[Cow<'_, [T]>; 2]> {
        Ok(self.cells.now.each_ref().map(Cow::from))
    }

    fn host(&mut self) -> Result<&mut Coefficients<T>> {
        Ok(&mut self.cells)
    }
}

impl<T: Real> Stripe<T> {
    fn run(
        &mut self,
        job: &Job<'_, T>,
        matrix: &Matrix<'_>,
        h: &[T],
        h_next: &mut [T],
        deadline: Instant,
        mut must: bool,
    ) {
        let mut buffers = Default::default();
        let odds = if job.log_odds[self.set as usize].is_empty() {
            0
        } else {
            self.cells.len()
        };
        self.log_odds.resize(odds, T::zero());
        let most = with_loss!(job.loss, loss => cells_per_look(loss));
        while self.next < self.cells.end && (must || Instant::now() < deadline) {
            must = false;
            let cells = self.next..self.cells.end.min(self.next + most);
            let stored = (cells.start - self.cells.start) * job.factors
                ..(cells.end - self.cells.start) * job.factors;
            self.next = cells.end;
            let (h, h_next) = (&h[stored.clone()], &mut h_next[stored]);
            let seen = cells.start - self.cells.start..cells.end - self.cells.start;
            let log_odds_next = self.log_odds.get_mut(seen).unwrap_or_default();
            let (set, stats, sums) = (self.set, &mut self.stats, &mut self.sums);
            T::compute(Work {
                job,
                set,
                matrix,
                cells,
                buffers: &mut buffers,
                h,
                h_next,
                log_odds_next,
                stats,
                sums,
            });
        }
    }
}

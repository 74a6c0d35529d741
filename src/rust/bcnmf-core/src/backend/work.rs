//! What is done with a cell, compiled for every instruction set and common number of factors.

use super::cpu::{Job, Set, Sums};
use super::{Backend, cuda};
use crate::group::GROUP;
use crate::loss::mixture::{HeldSquares, RecordSquares, SquaresOf};
use crate::loss::zinb::{log_odds, prior};
use crate::loss::{
    ABREAST, Basis, Before, Control, Few, Loss, Squares, Tile, Yardstick, Zeros, ZerosRecord,
    copied, with_loss,
};
use crate::matrix::{Cell, CellBuffer, Matrix, Missing};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Dynamic, Width, with_width};
use crate::{FitParams, Problem, Result};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;
use std::sync::Arc;

/// Some cells of one set, one after the other.
pub struct Work<'c, T> {
    pub job: &'c Job<'c, T>,
    pub set: Set,
    pub matrix: &'c Matrix<'c>,
    /// Places of the pass.
    pub cells: Range<usize>,
    pub buffers: &'c mut [CellBuffer<T>; GROUP],
    /// Coefficients of these cells, and where they go.
    pub h: &'c [T],
    pub h_next: &'c mut [T],
    /// Where the logarithms of these cells' odds of dropout go; empty where cells have none.
    pub log_odds_next: &'c mut [T],
    pub stats: &'c mut WStats<T>,
    pub sums: &'c mut Sums,
}

/// The two precisions' own code. Behind a trait that is not generic, so that it is compiled once, in
/// this crate, and not again wherever a fit is used.
pub trait Compute: Sized {
    /// Does the work.
    fn compute(work: Work<'_, Self>);
    /// The coefficients `h` of a fit's cells, on the device that has its data.
    ///
    /// # Errors
    /// If the device can't do what the fit needs.
    fn on_device(
        device: &Arc<cuda::Data>,
        problem: &Problem<'_>,
        params: &FitParams,
        h: [Vec<Self>; 2],
    ) -> Result<Box<dyn Backend<Self>>>;
}

impl Compute for f32 {
    fn compute(work: Work<'_, f32>) {
        compute(work);
    }

    fn on_device(
        device: &Arc<cuda::Data>,
        problem: &Problem<'_>,
        params: &FitParams,
        h: [Vec<f32>; 2],
    ) -> Result<Box<dyn Backend<f32>>> {
        Ok(Box::new(cuda::Cells::new(device, problem, params, h)?))
    }
}

impl Compute for f64 {
    fn compute(work: Work<'_, f64>) {
        compute(work);
    }

    fn on_device(
        _device: &Arc<cuda::Data>,
        _problem: &Problem<'_>,
        _params: &FitParams,
        _h: [Vec<f64>; 2],
    ) -> Result<Box<dyn Backend<f64>>> {
        Err(cuda::refused("it works in single precision"))
    }
}

fn compute<T: Real>(work: Work<'_, T>) {
    with_loss!(work.job.loss, loss => compute_loss(work, loss));
}

fn compute_loss<T: Real, L: Loss>(work: Work<'_, T>, loss: L) {
    let factors = work.job.factors;
    // Most of what is done for cells side by side is the same for all widths, and double precision is for reference.
    let known = !((L::DENSE || L::ABREAST) && T::LANES == 4);
    match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) if known => with_width!(T, factors, width => {
            Simd::vectorize(simd, Kernel { work, loss, width });
        }),
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(simd) if known => with_width!(T, factors, width => {
            Simd::vectorize(simd, Kernel { work, loss, width });
        }),
        // Without vector registers there is nothing to win from a known width.
        other => other.dispatch(Kernel {
            work,
            loss,
            width: Dynamic(factors),
        }),
    }
}

struct Kernel<'c, T, L, K> {
    work: Work<'c, T>,
    loss: L,
    width: K,
}

impl<T: Real, L: Loss, K: Width> WithSimd for Kernel<'_, T, L, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if L::DENSE {
            return self.work.tile(simd, self.loss, self.width);
        }
        if L::ABREAST {
            for first in (0..self.work.cells.len()).step_by(GROUP) {
                self.work.few_cells(simd, self.loss, self.width, first);
            }
            return;
        }
        for (at, place) in self.work.cells.clone().enumerate() {
            self.work.one_cell(simd, self.loss, self.width, at, place);
        }
    }
}

impl<T: Real> Work<'_, T> {
    #[inline(always)]
    fn one_cell<S: Simd>(
        &mut self,
        simd: S,
        loss: impl Loss,
        width: impl Width,
        at: usize,
        place: usize,
    ) {
        let Job { basis, stats, .. } = *self.job;
        let control = self.job.control_of(self.set, place);
        let cell = (self.job).gather(&mut self.buffers[0], self.set, self.matrix, place);
        let mut copy = copied(width, self.h, at);
        let h = copy.as_mut();
        let yardstick = self.job.yardsticks[self.set as usize];
        self.sums
            .look(simd, loss, width, basis, cell, h, &control, yardstick);
        let before = loss.h_step(simd, width, basis, cell, h, &control);
        self.sums.take(cell, before);
        if stats {
            loss.w_stats(simd, width, basis, cell, h, self.stats);
        }
        width.row_mut(self.h_next, at).copy_from_slice(h);
    }

    /// The cells from this one on, as many as are worked on side by side.
    #[inline(always)]
    fn few_cells<S: Simd>(&mut self, simd: S, loss: impl Loss, width: impl Width, first: usize) {
        let Job { basis, stats, .. } = *self.job;
        let n = GROUP.min(self.cells.len() - first);
        let mut cells = [Cell::default(); GROUP];
        let mut controls = [self.job.control; GROUP];
        let room = self.buffers.iter_mut().zip(&mut cells).zip(&mut controls);
        for (at, ((buffer, cell), control)) in room.enumerate().take(n) {
            let place = self.cells.start + first + at;
            *control = self.job.control_of(self.set, place);
            *cell = self.job.gather(buffer, self.set, self.matrix, place);
        }
        let cells = &cells[..n];
        let range = first * width.size()..(first + n) * width.size();
        let (h, h_next) = (&self.h[range.clone()], &mut self.h_next[range]);
        let yardstick = self.job.yardsticks[self.set as usize];
        for (at, (&cell, control)) in cells.iter().zip(&controls).enumerate() {
            let h = width.row(h, at);
            self.sums
                .look(simd, loss, width, basis, cell, h, control, yardstick);
        }
        let mut few = Few {
            cells,
            controls: &controls,
            h,
            h_next,
            before: [Before::default(); GROUP],
        };
        loss.h_steps(simd, width, basis, &mut few);
        for (&cell, before) in cells.iter().zip(few.before) {
            self.sums.take(cell, before);
        }
        if stats {
            loss.record(simd, width, basis, cells, few.h_next, self.stats);
        }
    }

    /// All cells side by side, for a loss that looks at zeros: for each step what zeros have for all of them, then each cell's own
    /// part.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, loss: impl Loss, width: impl Width) {
        let Job { control, .. } = *self.job;
        let basis = Basis {
            dispersed: self.job.dispersed[self.set as usize],
            ..self.job.basis
        };
        let (cells, factors) = (self.cells.len(), width.size());
        let abreast = cells.next_multiple_of(ABREAST);
        let mut h = self.h.to_vec();
        h.resize(abreast * factors, T::zero());
        let odds = if self.log_odds_next.is_empty() {
            0
        } else {
            abreast
        };
        let tile = &mut Tile {
            h,
            ambient: vec![T::zero(); abreast],
            weight: vec![T::zero(); abreast],
            log_odds: vec![T::zero(); odds],
            masked: vec![Vec::new(); cells],
            lost: vec![0.0; odds],
            factors,
            ..Tile::default()
        };
        for (at, place) in self.cells.clone().enumerate() {
            tile.ambient[at] = self.job.cell_ambient(self.set, place);
            tile.weight[at] = self.job.cell_weight(self.set, place);
            if let Some(log_odds) = self.job.cell_log_odds(self.set, place) {
                tile.log_odds[at] = log_odds;
            }
        }
        if self.job.masks(self.matrix) {
            self.list_masked(&mut tile.masked);
        }
        let mut denominators = vec![T::zero(); abreast * factors];
        let mixed = if self.job.squares.is_some() { cells } else { 0 };
        let (mut pulls, mut push) = (vec![T::zero(); mixed * factors], vec![T::zero(); factors]);
        let mut moves = vec![true; cells];
        for step in 0..control.steps.max(1) {
            self.sums.divergence += simd.vectorize(Zeros {
                basis,
                tile,
                denominators: &mut denominators,
                measures: step == 0,
            });
            for (at, place) in self.cells.clone().enumerate() {
                if !moves[at] {
                    continue;
                }
                let control = Control {
                    steps: control.steps.min(1),
                    measures: step == 0,
                    ..self.job.control_of(self.set, place)
                };
                let h = width.row_mut(&mut tile.h, at);
                let pull = pulls.get_mut(at * factors..(at + 1) * factors);
                let room = [pull.unwrap_or_default(), &mut push];
                let squares = self.squares(simd, place, h, &control, room);
                let cell = Cell {
                    zeros: width.row(&denominators, at),
                    log_odds: tile.log_odds.get(at).copied(),
                    squares,
                    ..self
                        .job
                        .gather_counts(&mut self.buffers[0], self.set, self.matrix, place)
                };
                let counts = cell.weight.wide();
                if step == 0 {
                    self.sums.penalty += counts * penalty(h, &control);
                    if let Some(log_odds) = cell.log_odds {
                        self.sums.penalty += counts * prior(log_odds.wide()) * self.job.scale;
                    }
                    if self.job.excess {
                        self.sums.excess += counts * loss.excess(basis, cell);
                    }
                    if control.steps == 0 {
                        let yardstick = self.job.yardsticks[self.set as usize];
                        self.sums.held_out +=
                            counts * loss.held_out(simd, width, basis, cell, h, yardstick);
                        self.sums.n_held_out += cell.held.len();
                    }
                }
                let mut old = width.zeros::<T>();
                old.as_mut().copy_from_slice(h);
                let before = loss.h_step(simd, width, basis, cell, h, &control);
                if step == 0 {
                    self.sums.divergence += counts * before.divergence;
                }
                moves[at] = has_moved(old.as_ref(), h, control.tolerance);
                if odds > 0 && control.steps > 0 && self.job.moves_odds {
                    let entries = basis.entries(cell, basis.features(factors));
                    tile.log_odds[at] = T::of(log_odds(tile.lost[at] - before.lost, entries));
                }
            }
            if !moves.contains(&true) {
                break;
            }
        }
        self.h_next.copy_from_slice(&tile.h[..cells * factors]);
        let known = self.log_odds_next.len();
        self.log_odds_next.copy_from_slice(&tile.log_odds[..known]);
        if !self.job.stats {
            return;
        }
        simd.vectorize(ZerosRecord {
            basis,
            tile,
            stats: self.stats,
            sizes: self.job.sizes,
        });
        for (at, place) in self.cells.clone().enumerate() {
            let cell = Cell {
                log_odds: tile.log_odds.get(at).copied(),
                ..self
                    .job
                    .gather_counts(&mut self.buffers[0], self.set, self.matrix, place)
            };
            let h = width.row(&tile.h, at);
            loss.w_stats(simd, width, basis, cell, h, self.stats);
            if self.job.sizes {
                loss.sizes(simd, width, basis, cell, h, self.stats);
            }
            if let (Some(basis), Some(stats)) = (self.job.squares, &mut self.stats.squares) {
                let cell =
                    (self.job).gather_squares(&mut self.buffers[0], self.set, self.matrix, place);
                simd.vectorize(RecordSquares {
                    basis,
                    cell,
                    h,
                    stats,
                });
            }
        }
    }

    /// What a cell's features with squared errors have for an H step, in the room for it, and what of it counts before the first one; `None` if there are none.
    #[inline(always)]
    fn squares<'r, S: Simd>(
        &mut self,
        simd: S,
        place: usize,
        h: &[T],
        control: &Control<T>,
        [pull, push]: [&'r mut [T]; 2],
    ) -> Option<Squares<'r, T>> {
        let basis = self.job.squares?;
        let first = control.measures;
        let mut counts = 1.0;
        let cell = (first || self.job.masks(self.matrix)).then(|| {
            let cell =
                (self.job).gather_squares(&mut self.buffers[0], self.set, self.matrix, place);
            counts = cell.weight.wide();
            cell
        });
        if let Some(cell) = cell.filter(|_| first && control.steps == 0) {
            let yardstick = self.job.yardsticks[self.set as usize].after(self.job.counts());
            self.sums.held_out += counts
                * simd.vectorize(HeldSquares {
                    basis,
                    cell,
                    h,
                    yardstick,
                });
            self.sums.n_held_out += cell.held.len();
        }
        self.sums.divergence += counts
            * simd.vectorize(SquaresOf {
                basis,
                cell,
                h,
                control,
                pull,
                push,
            });
        Some(Squares { pull, push })
    }
}

impl<T: Real> Work<'_, T> {
    /// The features that do not count in each cell. Apart from the kernels, as few cells have any.
    #[inline(never)]
    fn list_masked(&mut self, masked: &mut [Vec<u32>]) {
        for (masked, place) in masked.iter_mut().zip(self.cells.clone()) {
            let cell = self
                .job
                .gather_counts(&mut self.buffers[0], self.set, self.matrix, place);
            let features = self.job.counts();
            let mut counted = cell.counted(features).peekable();
            let all = 0..features as u32;
            masked.extend(all.filter(|&i| counted.next_if_eq(&(i as usize)).is_none()));
        }
    }
}

impl Sums {
    /// Adds a cell's penalty, and, where nothing is to move, the divergence of what does not count.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn look<S: Simd, T: Real, K: Width>(
        &mut self,
        simd: S,
        loss: impl Loss,
        width: K,
        basis: Basis<'_, T>,
        cell: Cell<'_, T>,
        h: &[T],
        control: &Control<T>,
        yardstick: Yardstick<'_, T>,
    ) {
        let counts = cell.weight.wide();
        self.penalty += counts * penalty(h, control);
        if control.steps == 0 {
            self.held_out += counts * loss.held_out(simd, width, basis, cell, h, yardstick);
            self.n_held_out += cell.held.len();
        }
    }

    /// Adds a cell's divergence.
    #[inline(always)]
    fn take<T: Real>(&mut self, cell: Cell<'_, T>, before: Before) {
        let divergence = cell.weight.wide() * before.divergence;
        // Rounding can leave less than nothing; `max` would turn NaN into 0 as well.
        self.divergence += if divergence < 0.0 { 0.0 } else { divergence };
    }
}

/// What a cell's coefficients cost by their penalties.
#[inline(always)]
fn penalty<T: Real>(h: &[T], control: &Control<T>) -> f64 {
    let (l1, l2) = (control.l1.wide(), control.l2.wide());
    if l1 == 0.0 && l2 == 0.0 {
        return 0.0;
    }
    h.iter()
        .map(|h| (l1 + 0.5 * l2 * h.wide()) * h.wide())
        .sum()
}

/// Whether a coefficient has changed by more than this part of the largest; any has, where the part is 0.
#[inline(always)]
fn has_moved<T: Real>(before: &[T], after: &[T], tolerance: T) -> bool {
    let (mut largest, mut change) = (T::zero(), T::zero());
    for (&new, &old) in after.iter().zip(before) {
        change = change.max((new - old).abs());
        largest = largest.max(new);
    }
    tolerance == T::zero() || change > tolerance * largest
}

impl<T: Real> Job<'_, T> {
    #[inline(always)]
    fn gather<'c>(
        &self,
        buffer: &'c mut CellBuffer<T>,
        set: Set,
        matrix: &'c Matrix<'_>,
        place: usize,
    ) -> Cell<'c, T> {
        let j = self.cell_at(set, place);
        Cell {
            weight: self.cell_weight(set, place),
            ambient: self.cell_ambient(set, place),
            ..buffer.gather(matrix, j, self.scale, self.held_out(set, matrix, j))
        }
    }

    /// A cell without its features with squared errors, if it has any: they are only beside losses that look at zeros.
    #[inline(always)]
    fn gather_counts<'c>(
        &self,
        buffer: &'c mut CellBuffer<T>,
        set: Set,
        matrix: &'c Matrix<'_>,
        place: usize,
    ) -> Cell<'c, T> {
        if self.squares.is_some() {
            return self.gather_part(buffer, set, matrix, place, 0..self.counts());
        }
        self.gather(buffer, set, matrix, place)
    }

    /// A cell's features with squared errors.
    #[inline(always)]
    fn gather_squares<'c>(
        &self,
        buffer: &'c mut CellBuffer<T>,
        set: Set,
        matrix: &Matrix<'_>,
        place: usize,
    ) -> Cell<'c, T> {
        self.gather_part(buffer, set, matrix, place, self.counts()..matrix.rows())
    }

    #[inline(never)]
    fn gather_part<'c>(
        &self,
        buffer: &'c mut CellBuffer<T>,
        set: Set,
        matrix: &Matrix<'_>,
        place: usize,
        features: Range<usize>,
    ) -> Cell<'c, T> {
        let j = self.cell_at(set, place);
        let held_out = self.held_out(set, matrix, j);
        Cell {
            weight: self.cell_weight(set, place),
            ambient: self.cell_ambient(set, place),
            ..buffer.gather_part(matrix, j, self.scale, held_out, features)
        }
    }

    /// Features of a cell that are held out.
    #[inline(always)]
    fn held_out(
        &self,
        set: Set,
        matrix: &Matrix<'_>,
        j: usize,
    ) -> Option<impl Iterator<Item = u32> + use<T>> {
        let background = set == Set::Background;
        (self.hold_out).map(|h| h.features(matrix.rows(), background, j))
    }

    /// How many features there are before those with squared errors.
    #[inline(always)]
    fn counts(&self) -> usize {
        self.basis.features(self.factors)
    }

    /// Which cell is at a place.
    #[inline(always)]
    fn cell_at(&self, set: Set, place: usize) -> usize {
        self.order[set as usize].map_or(place, |order| order[place] as usize)
    }

    /// The control of a cell's steps.
    #[inline(always)]
    fn control_of(&self, set: Set, place: usize) -> Control<T> {
        let factors = self.size_factors[set as usize];
        if factors.is_empty() {
            return self.control;
        }
        let down = factors[self.cell_at(set, place)].recip();
        Control {
            l1: T::of(self.control.l1.wide() * down),
            l2: T::of(self.control.l2.wide() * down * down),
            ..self.control
        }
    }

    /// Whether there may be entries that do not count.
    fn masks(&self, matrix: &Matrix<'_>) -> bool {
        self.hold_out.is_some() || matrix.missing() != Missing::None
    }

    #[inline(always)]
    fn cell_weight(&self, set: Set, place: usize) -> T {
        let weights = self.weights[set as usize];
        if weights.is_empty() {
            T::one()
        } else {
            T::of(weights[self.cell_at(set, place)])
        }
    }

    #[inline(always)]
    fn cell_log_odds(&self, set: Set, place: usize) -> Option<T> {
        let log_odds = self.log_odds[set as usize];
        log_odds.get(self.cell_at(set, place)).copied()
    }

    #[inline(always)]
    fn cell_ambient(&self, set: Set, place: usize) -> T {
        let ambient = match set {
            Set::Background => self.ambient.get(self.cell_at(set, place)).copied(),
            Set::Target => None,
        };
        ambient.unwrap_or_default()
    }
}

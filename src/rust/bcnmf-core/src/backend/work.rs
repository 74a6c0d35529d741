//! What is done with a cell, compiled for every instruction set and common number of factors.

use super::cpu::{Job, Set, Sums};
use crate::loss::{Loss, with_loss};
use crate::matrix::{Cell, CellBuffer, Matrix};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Dynamic, Width, with_width};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Some cells of one set, one after the other.
pub struct Work<'c, T> {
    pub job: &'c Job<'c, T>,
    pub set: Set,
    pub matrix: &'c Matrix<'c>,
    /// Places of the pass.
    pub cells: Range<usize>,
    pub buffer: &'c mut CellBuffer<T>,
    /// Coefficients of these cells, and where they go.
    pub h: &'c [T],
    pub h_next: &'c mut [T],
    pub stats: &'c mut WStats<T>,
    pub sums: &'c mut Sums,
}

/// The two precisions' own code. Behind a trait that is not generic, so that it is compiled once, in
/// this crate, and not again wherever a fit is used.
pub trait Compute: Sized {
    /// Does the work.
    fn compute(work: Work<'_, Self>);
}

impl Compute for f32 {
    fn compute(work: Work<'_, f32>) {
        compute(work);
    }
}

impl Compute for f64 {
    fn compute(work: Work<'_, f64>) {
        compute(work);
    }
}

fn compute<T: Real>(work: Work<'_, T>) {
    with_loss!(work.job.loss, loss => compute_loss(work, loss));
}

fn compute_loss<T: Real>(work: Work<'_, T>, loss: impl Loss) {
    let factors = work.job.factors;
    match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) => with_width!(factors, width => {
            Simd::vectorize(simd, Kernel { work, loss, width });
        }),
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(simd) => with_width!(factors, width => {
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
        let Job { basis, control, .. } = *self.job;
        let cell = self.job.gather(self.buffer, self.set, self.matrix, place);
        // A copy that nothing else can point to stays in registers.
        let mut copy = width.zeros::<T>();
        let h = copy.as_mut();
        h.copy_from_slice(width.row(self.h, at));
        if control.l1 > T::zero() || control.l2 > T::zero() {
            for &h in h.iter() {
                self.sums.penalty +=
                    (control.l1.wide() + 0.5 * control.l2.wide() * h.wide()) * h.wide();
            }
        }
        if control.steps == 0 {
            let yardstick = self.job.yardsticks[self.set as usize];
            self.sums.held_out += loss.held_out(simd, width, basis, cell, h, yardstick);
            self.sums.n_held_out += cell.masked.len();
        }
        let divergence = loss.h_step(simd, width, basis, cell, h, &control);
        // Rounding can leave less than nothing; `max` would turn NaN into 0 as well.
        self.sums.divergence += if divergence < 0.0 { 0.0 } else { divergence };
        if self.job.stats {
            loss.w_stats(simd, width, basis, cell, h, self.stats);
        }
        width.row_mut(self.h_next, at).copy_from_slice(h);
    }
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
        let j = self.order[set as usize].map_or(place, |order| order[place] as usize);
        let background = set == Set::Background;
        let masked = self
            .hold_out
            .map(|h| h.features(matrix.rows(), background, j));
        let ambient = match set {
            Set::Background => self.ambient.get(j).copied(),
            Set::Target => None,
        };
        buffer.gather(matrix, j, self.scale, masked, ambient.unwrap_or_default())
    }
}

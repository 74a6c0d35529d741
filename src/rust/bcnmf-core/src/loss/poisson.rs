//! Generalised Kullback–Leibler divergence, `D = Σ x log(x/λ) − x + λ` with `Λ = W H`.
//!
//! H ∘ Wᵀ(X/Λ) / Wᵀ1 and W ∘ (X/Λ)Hᵀ / 1Hᵀ: Lee & Seung 2001; with contrast, arXiv 2602.22387.
//! `X/Λ` is needed at the non-zeros only, and `Σ λ` comes from column sums of `W`.

use super::log_sum::{CHUNK, Chunk};
use super::{Basis, Control, Loss, update_cell};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Width, add_scaled, column_sums, dot, dot_wide};
use pulp::Simd;

/// The Poisson log-likelihood, up to a constant.
#[derive(Clone, Copy, Debug)]
pub struct Poisson;

impl Loss for Poisson {
    fn shared<T: Real>(self, w: &[T], factors: usize) -> Vec<T> {
        column_sums(w, factors).into_iter().map(T::of).collect()
    }

    #[inline(always)]
    fn h_step<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        column: impl Iterator<Item = (usize, T)> + Clone,
        h: &mut [T],
        control: &Control<T>,
    ) -> f64 {
        let total = dot_wide(basis.shared, h);
        let (mut numerator, deviance) = sums_and_deviance(simd, width, basis, column.clone(), h);
        for step in 0..control.steps {
            if step > 0 {
                numerator = sums(simd, width, basis, column.clone(), h);
            }
            if update_cell(self, h, numerator.as_ref(), basis.shared, control) {
                break;
            }
        }
        total + deviance
    }

    fn denominator_len(self, factors: usize) -> usize {
        factors
    }

    #[inline(always)]
    fn w_stats<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        column: impl Iterator<Item = (usize, T)> + Clone,
        h: &[T],
        stats: &mut WStats<T>,
    ) {
        for (i, x) in column {
            let r = ratio(x, dot(simd, width.row(basis.w, i), h), basis.guard);
            add_scaled(simd, width.row_mut(&mut stats.numerator, i), r, h);
        }
        for (sum, &h) in stats.denominator.iter_mut().zip(h) {
            *sum += h.wide();
        }
    }

    /// The ratios are to the rates of one W.
    fn lasting(self) -> bool {
        false
    }

    fn denominator(self, record: &[f64], _w_row: &[f64], out: &mut [f64]) {
        out.copy_from_slice(record);
    }

    /// With an L2 penalty the majoriser `−a log h + b h + l2 h²/2` has its minimum at the positive
    /// root of `l2 h² + b h − a`.
    #[inline(always)]
    fn update(
        self,
        value: f64,
        numerator: f64,
        denominator: f64,
        l1: f64,
        l2: f64,
        guard: f64,
    ) -> f64 {
        let a = value * numerator;
        let b = denominator + l1 + guard;
        if l2 > 0.0 {
            2.0 * a / (b + (b * b + 4.0 * l2 * a).sqrt())
        } else {
            a / b
        }
    }
}

/// `Wᵀ(x/λ)` of one cell. Returned by value: sums that are later taken one by one through the same
/// variable would be kept in memory here, and wait for it at every entry.
#[inline(always)]
fn sums<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    column: impl Iterator<Item = (usize, T)>,
    h: &[T],
) -> K::Vector<T> {
    let mut sums = width.zeros::<T>();
    for (i, x) in column {
        let row = width.row(basis.w, i);
        let r = ratio(x, dot(simd, row, h), basis.guard);
        add_scaled(simd, sums.as_mut(), r, row);
    }
    sums
}

/// [`sums`], and `Σ x log(x/λ) − x`.
#[inline(always)]
fn sums_and_deviance<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    mut column: impl Iterator<Item = (usize, T)>,
    h: &[T],
) -> (K::Vector<T>, f64) {
    let mut sums = width.zeros::<T>();
    let mut deviance = 0.0;
    loop {
        let mut chunk = Chunk::neutral();
        let mut taken = 0;
        for (at, (i, x)) in (0..CHUNK).zip(column.by_ref()) {
            let row = width.row(basis.w, i);
            let r = ratio(x, dot(simd, row, h), basis.guard);
            (chunk.x[at], chunk.ratio[at]) = (x, r);
            add_scaled(simd, sums.as_mut(), r, row);
            taken = at + 1;
        }
        deviance += chunk.sum();
        if taken < CHUNK {
            return (sums, deviance);
        }
    }
}

/// `x / λ`. Where λ is zero so is every product this ratio is multiplied with.
#[inline(always)]
fn ratio<T: Real>(x: T, rate: T, guard: T) -> T {
    if rate > T::zero() {
        x / (rate + guard)
    } else {
        T::zero()
    }
}

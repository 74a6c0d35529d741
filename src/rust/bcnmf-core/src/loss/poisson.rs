//! Generalised Kullback–Leibler divergence, `D = Σ x log(x/λ) − x + λ` with `Λ = W H`.
//!
//! H ∘ Wᵀ(X/Λ) / Wᵀ1 and W ∘ (X/Λ)Hᵀ / 1Hᵀ: Lee & Seung 2001; with contrast, arXiv 2602.22387.
//! `X/Λ` is needed at the non-zeros only, and `Σ λ` comes from column sums of `W`.

use super::log_sum::{CHUNK, Chunk};
use super::{Basis, Control, Loss, update_cell};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Width, add_scaled, dot, dot_wide};
use pulp::Simd;

/// The Poisson log-likelihood, up to a constant.
#[derive(Clone, Copy, Debug)]
pub struct Poisson;

impl Loss for Poisson {
    fn shared<T: Real>(self, w: &[T], factors: usize) -> Vec<T> {
        let mut sums = vec![0.0; factors];
        for row in w.chunks_exact(factors) {
            for (sum, &w) in sums.iter_mut().zip(row) {
                *sum += w.wide();
            }
        }
        sums.into_iter().map(T::of).collect()
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
        let mut wr = width.zeros::<T>();
        let mut divergence = dot_wide(basis.shared, h);
        let mut entries = column.clone();
        loop {
            let mut chunk = Chunk::neutral();
            let mut taken = 0;
            for (at, (i, x)) in (0..CHUNK).zip(entries.by_ref()) {
                let row = width.row(basis.w, i);
                let r = ratio(x, dot(simd, row, h), basis.guard);
                (chunk.x[at], chunk.ratio[at]) = (x, r);
                add_scaled(simd, wr.as_mut(), r, row);
                taken = at + 1;
            }
            divergence += chunk.sum();
            if taken < CHUNK {
                break;
            }
        }
        for step in 0..control.steps {
            if step > 0 {
                wr = width.zeros();
                for (i, x) in column.clone() {
                    let row = width.row(basis.w, i);
                    add_scaled(
                        simd,
                        wr.as_mut(),
                        ratio(x, dot(simd, row, h), basis.guard),
                        row,
                    );
                }
            }
            if update_cell(self, h, wr.as_ref(), basis.shared, control) {
                break;
            }
        }
        divergence
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

/// `x / λ`. Where λ is zero so is every product this ratio is multiplied with.
#[inline(always)]
fn ratio<T: Real>(x: T, rate: T, guard: T) -> T {
    if rate > T::zero() {
        x / (rate + guard)
    } else {
        T::zero()
    }
}

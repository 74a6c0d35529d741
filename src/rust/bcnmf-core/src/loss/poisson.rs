//! Generalised Kullback–Leibler divergence, `D = Σ x log(x/λ) − x + λ` with `Λ = W H`.
//!
//! H ∘ Wᵀ(X/Λ) / Wᵀ1 and W ∘ (X/Λ)Hᵀ / 1Hᵀ: Lee & Seung 2001; with contrast, arXiv 2602.22387.
//! `X/Λ` is needed at the non-zeros only, and `Σ λ` comes from column sums of `W`.
//!
//! # A contrast with a lower bound
//!
//! `F(W) = D(X ‖ W H_X) − α D(Y ‖ W H_Y)` has none: with `w_i → 0` for a feature `i` that the background has,
//! `D(Y)` goes to infinity like `−Σ_j y_ij log w_i`, and as soon as `α Σ_j y_ij > Σ_j x_ij` faster than the
//! target's divergence does. So the background of a contrast has a fixed ambient rate besides its factors,
//! `Λ_Y = W H_Y + ε p sᵀ`, where `p` is the background's mean profile (sum 1) and `s` its cells' totals. Then
//!
//! - **F is bounded.** `H_Y = 0` is allowed, so the best response has `D(Y ‖ Λ_Y) ≤ D(Y ‖ ε p sᵀ) =: B < ∞` whatever
//!   `W` is, and `F(W) ≥ −α B` since `D(X) ≥ 0`. The same bound keeps the target: at a minimum, with `W₀` the basis
//!   of plain NMF, `D(X ‖ W H_X) ≤ D(X ‖ W₀ H₀) + α B`.
//! - **Every step stays MM.** The ambient rate is one more component of `Λ` whose loading and coefficient are not
//!   updated. Where a step majorises `−x log Σ_c λ_c` by Jensen's inequality (H_X, H_Y, and W for the target) the sum
//!   has one more term, which is constant. Where it takes the tangent of the concave `y log λ` (W for the
//!   background), the gradient is `(Y/Λ_Y) H_Yᵀ` with the whole `Λ_Y`; and `−λ` is linear in the
//!   factors as before. No update changes its form, only `Λ_Y` does.
//!
//! `ε = 0` is the published objective.

use super::log_sum::{CHUNK, Chunk};
use super::{Basis, Control, Loss, Yardstick, not_negative, update_cell};
use crate::matrix::Cell;
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Width, add_scaled, column_sums, dot, dot_wide};
use pulp::Simd;

/// The Poisson log-likelihood, up to a constant.
#[derive(Clone, Copy, Debug)]
pub struct Poisson;

/// Part of a held-out rate that comes from the mean profile: a feature that the fit has not seen in a
/// factor would be impossible there, and a single count of it outweigh all others.
const SMOOTHING: f64 = 0.01;

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
        cell: Cell<'_, T>,
        h: &mut [T],
        control: &Control<T>,
    ) -> f64 {
        let mut denominator = width.zeros::<T>();
        denominator.as_mut().copy_from_slice(basis.shared);
        let mut total = basis.ambient_total(cell);
        if !cell.masked.is_empty() {
            for &i in cell.masked {
                let row = width.row(basis.w, i as usize);
                add_scaled(simd, denominator.as_mut(), -T::one(), row);
                total -= basis.ambient_rate(cell, i as usize).wide();
            }
            not_negative(denominator.as_mut());
        }
        total += dot_wide(denominator.as_ref(), h);
        let (mut numerator, deviance) = sums_and_deviance(simd, width, basis, cell, h);
        for step in 0..control.steps {
            if step > 0 {
                numerator = sums(simd, width, basis, cell, h);
            }
            if update_cell(self, h, numerator.as_ref(), denominator.as_ref(), control) {
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
        cell: Cell<'_, T>,
        h: &[T],
        stats: &mut WStats<T>,
    ) {
        for (i, x) in cell.entries() {
            let r = ratio(x, rate(simd, width, basis, cell, i, h), basis.guard);
            add_scaled(simd, width.row_mut(&mut stats.numerator, i), r, h);
        }
        for (sum, &h) in stats.denominator.iter_mut().zip(h) {
            *sum += h.wide();
        }
        for &i in cell.masked {
            add_scaled(
                simd,
                width.row_mut(&mut stats.masked, i as usize),
                T::one(),
                h,
            );
        }
    }

    #[inline(always)]
    fn held_out<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cell: Cell<'_, T>,
        h: &[T],
        yardstick: Yardstick<'_, T>,
    ) -> f64 {
        let mut sum = 0.0;
        let mut chunk = Chunk::neutral();
        let total = dot_wide(basis.shared, h) + basis.ambient_total(cell);
        let total = T::of(SMOOTHING * total);
        for (at, (i, x)) in cell.held_out().enumerate() {
            let fitted = rate(simd, width, basis, cell, i, h);
            let rate = T::of(1.0 - SMOOTHING) * fitted + total * yardstick.profile[i];
            let weight = yardstick.weight[i];
            sum += (weight * rate).wide();
            (chunk.x[at % CHUNK], chunk.ratio[at % CHUNK]) =
                (weight * x, ratio(x, rate, basis.guard));
            if at % CHUNK == CHUNK - 1 {
                sum += chunk.sum();
                chunk = Chunk::neutral();
            }
        }
        sum + chunk.sum()
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
    cell: Cell<'_, T>,
    h: &[T],
) -> K::Vector<T> {
    let mut sums = width.zeros::<T>();
    for (i, x) in cell.entries() {
        let r = ratio(x, rate(simd, width, basis, cell, i, h), basis.guard);
        add_scaled(simd, sums.as_mut(), r, width.row(basis.w, i));
    }
    sums
}

/// [`sums`], and `Σ x log(x/λ) − x`.
#[inline(always)]
fn sums_and_deviance<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    h: &[T],
) -> (K::Vector<T>, f64) {
    let mut sums = width.zeros::<T>();
    let mut deviance = 0.0;
    let mut entries = cell.entries();
    loop {
        let mut chunk = Chunk::neutral();
        let mut taken = 0;
        for (at, (i, x)) in (0..CHUNK).zip(entries.by_ref()) {
            let r = ratio(x, rate(simd, width, basis, cell, i, h), basis.guard);
            (chunk.x[at], chunk.ratio[at]) = (x, r);
            add_scaled(simd, sums.as_mut(), r, width.row(basis.w, i));
            taken = at + 1;
        }
        deviance += chunk.sum();
        if taken < CHUNK {
            return (sums, deviance);
        }
    }
}

/// The rate of one entry: what the factors say, and what is there without them.
#[inline(always)]
fn rate<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    i: usize,
    h: &[T],
) -> T {
    dot(simd, width.row(basis.w, i), h) + basis.ambient_rate(cell, i)
}

impl<T: Real> Basis<'_, T> {
    #[inline(always)]
    fn ambient_total(&self, cell: Cell<'_, T>) -> f64 {
        if self.ambient.is_empty() {
            0.0
        } else {
            cell.ambient.wide()
        }
    }

    #[inline(always)]
    fn ambient_rate(&self, cell: Cell<'_, T>, i: usize) -> T {
        // No profile, no rate.
        self.ambient
            .get(i)
            .map_or(T::zero(), |&share| share * cell.ambient)
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

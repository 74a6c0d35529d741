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
//! `Λ_Y = W H_Y + ε p sᵀ`, where `p` is the background's mean profile (sum 1; each cell as often as it counts) and `s` its cells' totals. Then
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

use super::log_sum::{GROUPS, LogSum, add_logs};
use super::{Basis, Before, Control, Loss, Yardstick, is_dispersed, not_negative, update_cell};
use crate::aligned::Aligned;
use crate::group::{
    Each, GROUP, Groups, add_rows, add_scaled, add_to_rows, dots, ratios, rows_of, total,
};
use crate::matrix::Cell;
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Dynamic, Width, column_sums, dot, dot_wide};
use pulp::{Simd, WithSimd};

/// The Poisson log-likelihood, up to a constant.
#[derive(Clone, Copy, Debug)]
pub struct Poisson;

/// Part of a held-out rate that comes from the mean profile: a feature that the fit has not seen in a
/// factor would be impossible there, and a single count of it outweigh all others.
pub(super) const SMOOTHING: f64 = 0.01;

impl Loss for Poisson {
    fn shared<T: Real>(self, w: &[T], weight: &[T], factors: usize) -> Aligned<T> {
        let sums = if weight.is_empty() {
            column_sums(w, factors)
        } else {
            let mut sums = vec![0.0; factors];
            for (row, weight) in w.chunks_exact(factors).zip(weight) {
                for (sum, w) in sums.iter_mut().zip(row) {
                    *sum += weight.wide() * w.wide();
                }
            }
            sums
        };
        sums.into_iter().map(T::of).collect()
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
    ) -> Before {
        let mut denominator = counted_sums(simd, width, basis, cell);
        let mut rates = basis.ambient_total(cell);
        rates += dot_wide(denominator.as_ref(), h);
        let slack = slack(simd, width, basis, cell, &denominator, control);
        if let Some(slack) = &slack {
            add_scaled(simd, denominator.as_mut(), T::one(), slack.as_ref());
        }
        let (mut numerator, deviance) = sums(simd, width, basis, cell, h, true);
        for step in 0..control.steps {
            if step > 0 {
                numerator = sums(simd, width, basis, cell, h, false).0;
            }
            if let Some(slack) = &slack {
                add_scaled(simd, numerator.as_mut(), T::one(), slack.as_ref());
            }
            if update_cell(self, h, numerator.as_ref(), denominator.as_ref(), control) {
                break;
            }
        }
        (rates + deviance).into()
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
        if !cell.is_whole() {
            simd.vectorize(RecordMasked {
                basis,
                cell,
                h,
                stats,
            });
        }
        let w = width.rows(basis.w);
        let mut numerator = width.rows_mut(&mut stats.numerator);
        let mut groups = Groups::new(cell.index, cell.value);
        while let Some((index, x)) = groups.take() {
            let rows = rows_of(w, &index);
            let mut r = ratios_to_fit(simd, basis, cell, &index, &x, &rows, h);
            cell.weigh(&mut r);
            add_to_rows(simd, &mut numerator, &index, &r, h);
        }
        add_wide(&mut stats.denominator, cell.weight, h);
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
        let (mut rates, mut terms) = (0.0, LogSum::new(simd));
        let total_rate = basis.whole_rate(cell, h);
        let smooth = T::of(SMOOTHING * total_rate);
        for (index, held) in cell.held_at.chunks(GROUP).zip(cell.held.chunks(GROUP)) {
            let [mut value, mut at, mut rates_at] = [[T::zero(); GROUP]; 3];
            for (e, (&i, &x)) in index.iter().zip(held).enumerate() {
                let i = i as usize;
                let fitted = rate(simd, width, basis, cell, i, h);
                let rate = T::of(1.0 - SMOOTHING) * fitted + smooth * yardstick.profile[i];
                let weight = yardstick.weight[i];
                rates += (weight * rate).wide();
                (value[e], at[e], rates_at[e]) = (weight * x, x, rate);
            }
            terms.add(&value, &ratios(simd, &at, &rates_at, basis.guard));
        }
        rates + terms.total()
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

/// `Wᵀ1` over the features that count, each as often as it does.
#[inline(always)]
pub(super) fn counted_sums<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
) -> K::Vector<T> {
    counted_sums_of(simd, width, basis, basis.shared, cell, false)
}

/// The same, from the sums over all features, or over all that are Poisson.
#[inline(always)]
pub(super) fn counted_sums_of<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    all: &[T],
    cell: Cell<'_, T>,
    of_poisson: bool,
) -> K::Vector<T> {
    let mut sums = width.zeros::<T>();
    sums.as_mut().copy_from_slice(all);
    if !cell.is_whole() {
        let counted = CountedSums {
            basis,
            all,
            cell,
            of_poisson,
        };
        let counted = simd.vectorize(counted);
        sums.as_mut().copy_from_slice(&counted);
    }
    sums
}

/// [`counted_sums_of`] a cell with entries that do not count.
struct CountedSums<'c, T> {
    basis: Basis<'c, T>,
    all: &'c [T],
    cell: Cell<'c, T>,
    of_poisson: bool,
}

impl<T: Real> WithSimd for CountedSums<'_, T> {
    type Output = Vec<T>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<T> {
        let CountedSums {
            basis,
            all,
            cell,
            of_poisson,
        } = self;
        let (width, features) = (Dynamic(all.len()), basis.w.len() / all.len());
        let mut sums = all.to_vec();
        let mut lost = cell.is_mostly_masked(features);
        if !lost {
            for i in cell.masked.iter().map(|&i| i as usize) {
                if !of_poisson || basis.is_poisson(i) {
                    let row = width.row(basis.w, i);
                    add_scaled(simd, &mut sums, -basis.weight_of(i), row);
                }
            }
            let rounding = T::of(32.0) * T::epsilon();
            for (&sum, &all) in sums.iter().zip(all) {
                lost |= sum <= rounding * all && all > T::zero();
            }
        }
        // Nearly all of a factor does not count: what is left has to be summed, not what is not taken off.
        if lost {
            sums.fill(T::zero());
            for i in cell.counted(features) {
                if !of_poisson || basis.is_poisson(i) {
                    let row = width.row(basis.w, i);
                    add_scaled(simd, &mut sums, basis.weight_of(i), row);
                }
            }
        }
        sums
    }
}

/// What the features that do not count in a cell add to the numerators and denominators of its H steps, from the sums over those that do.
#[inline(always)]
pub(super) fn slack<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    counted: &K::Vector<T>,
    control: &Control<T>,
) -> Option<K::Vector<T>> {
    if cell.is_whole() || control.slack == T::zero() {
        return None;
    }
    let mut rest = width.zeros::<T>();
    add_scaled(simd, rest.as_mut(), control.slack, basis.shared);
    add_scaled(simd, rest.as_mut(), -control.slack, counted.as_ref());
    not_negative(rest.as_mut());
    Some(rest)
}

/// Adds to the record what is to be taken off the denominators of Poisson features that do not count in a cell.
pub(super) struct RecordMasked<'c, T> {
    pub basis: Basis<'c, T>,
    pub cell: Cell<'c, T>,
    pub h: &'c [T],
    pub stats: &'c mut WStats<T>,
}

impl<T: Real> WithSimd for RecordMasked<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let RecordMasked {
            basis,
            cell,
            h,
            stats,
        } = self;
        let (width, features) = (Dynamic(h.len()), basis.w.len() / h.len());
        let mostly = cell.is_mostly_masked(features);
        if mostly {
            add_wide(&mut stats.masked, cell.weight, h);
        }
        let weight = if mostly { -cell.weight } else { cell.weight };
        for i in cell.shorter(features) {
            if basis.is_poisson(i) {
                add_scaled(simd, width.row_mut(&mut stats.own, i), weight, h);
            }
        }
    }
}

/// `sum += weight · h`, in double.
#[inline(always)]
pub(super) fn add_wide<T: Real>(sums: &mut [f64], weight: T, h: &[T]) {
    for (sum, &h) in sums.iter_mut().zip(h) {
        *sum += weight.wide() * h.wide();
    }
}

/// `Wᵀ(x/λ)` of one cell and, if wanted, `Σ x log(x/λ) − x`, each feature as often as it counts.
#[inline(always)]
fn sums<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    h: &[T],
    deviance: bool,
) -> (K::Vector<T>, f64) {
    let mut sums = width.zeros::<T>();
    let mut logs = [0.0; GROUP];
    let w = width.rows(basis.w);
    let mut groups = Groups::new(cell.index, cell.value);
    // A few groups at a time: their sums across registers, divisions and logarithms wait for each other no more, and
    // their rows are still near when they are added.
    let mut index = [[0; GROUP]; GROUPS];
    let [mut value, mut ratio] = [[[T::zero(); GROUP]; GROUPS]; 2];
    let mut taken = GROUPS;
    while taken == GROUPS {
        taken = 0;
        while taken < GROUPS
            && let Some((i, x)) = groups.take()
        {
            ratio[taken] = ratios_to_fit(simd, basis, cell, &i, &x, &rows_of(w, &i), h);
            (index[taken], value[taken]) = (i, x);
            taken += 1;
        }
        if deviance {
            value[taken..].fill([T::zero(); GROUP]);
            for (index, value) in index.iter().zip(&mut value) {
                basis.weigh(index, value);
            }
            add_logs(simd, &mut logs, &value, &ratio);
        }
        for (index, ratio) in index[..taken].iter().zip(&mut ratio) {
            basis.weigh(index, ratio);
            add_rows(simd, [sums.as_mut()], ratio, &rows_of(w, index));
        }
    }
    (sums, total(logs))
}

/// `x / λ` of a group of entries.
#[inline(always)]
fn ratios_to_fit<S: Simd, T: Real>(
    simd: S,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    index: &Each<u32>,
    x: &Each<T>,
    rows: &Each<&[T]>,
    h: &[T],
) -> Each<T> {
    let mut rates = dots(simd, rows, h);
    basis.add_ambient(cell, index, &mut rates);
    ratios(simd, x, &rates, basis.guard)
}

/// The rate of one entry: what the factors say, and what is there without them.
#[inline(always)]
pub(super) fn rate<S: Simd, T: Real, K: Width>(
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
    /// Whether a feature has no finite size.
    #[inline(always)]
    pub(super) fn is_poisson(&self, i: usize) -> bool {
        !is_dispersed(self.dispersed.size, i)
    }

    /// The sum of a cell's rates over all features, each as often as it counts.
    #[inline(always)]
    pub(super) fn whole_rate(&self, cell: Cell<'_, T>, h: &[T]) -> f64 {
        dot_wide(self.shared, h) + (cell.ambient * self.ambient_sum).wide()
    }

    /// The sum of a cell's ambient rates over the features that count, each as often as it does.
    #[inline(always)]
    pub(super) fn ambient_total(&self, cell: Cell<'_, T>) -> f64 {
        if self.ambient.is_empty() {
            return 0.0;
        }
        let rate = |i: usize| (self.weight_of(i) * self.ambient_rate(cell, i)).wide();
        if cell.is_mostly_masked(self.ambient.len()) {
            return cell.counted(self.ambient.len()).map(rate).sum();
        }
        let masked: f64 = cell.masked.iter().map(|&i| rate(i as usize)).sum();
        (cell.ambient * self.ambient_sum).wide() - masked
    }

    /// Adds the ambient rates of a group of entries to what the factors say.
    #[inline(always)]
    pub(super) fn add_ambient(&self, cell: Cell<'_, T>, index: &Each<u32>, rates: &mut Each<T>) {
        // The target has the profile, but no such rate.
        if cell.ambient > T::zero() {
            for (rate, &i) in rates.iter_mut().zip(index) {
                *rate += self.ambient_rate(cell, i as usize);
            }
        }
    }

    #[inline(always)]
    pub(super) fn ambient_rate(&self, cell: Cell<'_, T>, i: usize) -> T {
        // No profile, no rate.
        self.ambient
            .get(i)
            .map_or(T::zero(), |&share| share * cell.ambient)
    }
}

//! Negative binomial divergence: counts with mean `λ` and variance `λ + λ²/r`, for a size `r` of each feature.
//!
//! `D = Σ r log(1 + λ/r) + x log((x/λ)(1 + λ/r)) − x − E(x, r)` is minus the log-likelihood, less that of Poisson counts fitted
//! exactly, with `E` of [`super::rising`]. It does not go below 0, compares fits with different sizes, and is the
//! Kullback–Leibler divergence of [`super::poisson`] for `r = ∞`. For given sizes it is `x log(x/λ) − (x + r) log((x + r)/(λ + r))` and a constant.
//!
//! H ∘ Wᵀ(X/Λ) / Wᵀ((X + r)/(Λ + r)), and the same for W: Gouvert, Oberlin & Févotte 2020. `−x log λ` is majorised by
//! Jensen's inequality as with poisson, and the concave `(x + r) log(λ + r)` by its tangent. A contrast turns both
//! around: `x log λ` is concave then, and `−(x + r) log(λ + r)` is majorised by Jensen's inequality, in which `r` is one more
//! component of the sum that is not updated, just as the ambient rate of [`super::poisson`] is.
//!
//! `(X + r)/(Λ + r)` is not sparse. It is `r/(λ + r)`, which knows nothing of the data and is taken for blocks of features × cells that stay in
//! cache, plus `x/(λ + r)` at the non-zeros. Features whose size is infinite are as with poisson, and sparse.

use super::log_sum::LogSum;
use super::mixture::update_jointly;
use super::poisson::{
    Poisson, RecordMasked, SMOOTHING, add_wide, counted_sums, counted_sums_of, rate, slack,
};
use super::rising::{excess, slopes};
use super::tile::zero_slope;
use super::zinb::{GroupOfZeros, log_kept, loss_of_zero, zero};
use super::{Basis, Before, Control, Loss, Yardstick, update_cell};
use crate::aligned::Aligned;
use crate::group::{Each, GROUP, Groups, add_rows, add_scaled, add_to_rows, dots, ratios, rows_of};
use crate::matrix::Cell;
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Width, dot_wide};
use pulp::Simd;

/// The negative binomial log-likelihood, up to a constant; of zero-inflated counts where there are odds of dropout, see [`super::zinb`].
#[derive(Clone, Copy, Debug)]
pub struct Nb;

/// The features' sizes and what depends on them.
#[derive(Clone, Copy, Debug)]
pub struct Dispersed<'w, T> {
    /// Size of each feature in the unit of the data; infinite for those that are Poisson.
    pub size: &'w [T],
    /// The others, increasing …
    pub features: &'w [u32],
    /// … and their rows of W.
    pub rows: &'w [T],
    /// Sums over the rows of the Poisson features.
    pub sums: &'w [T],
    /// Their share of the ambient profile.
    pub ambient: T,
    /// Logarithms of the odds that counts of each feature are lost, see [`super::zinb`]; empty where they are not, or where cells have odds.
    pub log_odds: &'w [T],
    /// Features of which no count is ever lost though others' are; empty where all are alike.
    pub certain: &'w [bool],
    /// What data and sizes were divided by.
    pub unit: f64,
}

/// Whether a feature has a finite size; none has where there are no sizes.
pub(crate) fn is_dispersed<T: Real>(sizes: &[T], feature: usize) -> bool {
    sizes.get(feature).is_some_and(|size| size.is_finite())
}

impl<T: Real> Default for Dispersed<'_, T> {
    fn default() -> Self {
        Dispersed {
            size: &[],
            features: &[],
            rows: &[],
            sums: &[],
            ambient: T::zero(),
            log_odds: &[],
            certain: &[],
            unit: 1.0,
        }
    }
}

impl Loss for Nb {
    const DENSE: bool = true;

    fn shared<T: Real>(self, w: &[T], weight: &[T], factors: usize) -> Aligned<T> {
        Poisson.shared(w, weight, factors)
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
        let sums = basis.dispersed.sums;
        // What counts of features with a size is in the tile's sums.
        let mut denominator = counted_sums_of(simd, width, basis, sums, cell, true);
        add_scaled(simd, denominator.as_mut(), T::one(), cell.zeros);
        let mut rates = 0.0;
        if control.measures {
            let features = basis.w.len() / width.size();
            if cell.is_mostly_masked(features) {
                for i in cell.counted(features).filter(|&i| basis.is_poisson(i)) {
                    let rate = rate(simd, width, basis, cell, i, h);
                    rates += (basis.weight_of(i) * rate).wide();
                }
            } else {
                rates += dot_wide(sums, h);
                if !basis.ambient.is_empty() {
                    rates += (cell.ambient * basis.dispersed.ambient).wide();
                }
                let masked = cell.masked.iter().map(|&i| i as usize);
                for i in masked.filter(|&i| basis.is_poisson(i)) {
                    let rate = rate(simd, width, basis, cell, i, h);
                    rates -= (basis.weight_of(i) * rate).wide();
                }
            }
        }
        let w = width.rows(basis.w);
        let (mut pull, mut push) = (width.zeros::<T>(), width.zeros::<T>());
        let (mut logs, mut surprises, mut lost) = (LogSum::new(simd), 0.0, 0.0);
        let mut groups = Groups::new(cell.index, cell.value);
        while let Some((index, x)) = groups.take() {
            let rows = rows_of(w, &index);
            let [mut r, mut tail, over, surprise, mut gone] =
                quotients(simd, basis, cell, &index, &x, &rows, h);
            if cell.log_odds.is_some() {
                basis.weigh(&index, &mut gone);
                lost += gone.iter().map(|gone| gone.wide()).sum::<f64>();
            }
            basis.weigh(&index, &mut r);
            basis.weigh(&index, &mut tail);
            add_rows(simd, [pull.as_mut()], &r, &rows);
            add_rows(simd, [push.as_mut()], &tail, &rows);
            if control.measures {
                let (mut x, mut surprise) = (x, surprise);
                basis.weigh(&index, &mut x);
                logs.add(&x, &over);
                basis.weigh(&index, &mut surprise);
                surprises += surprise.iter().map(|s| s.wide()).sum::<f64>();
            }
        }
        add_scaled(simd, denominator.as_mut(), T::one(), push.as_ref());
        if !cell.is_whole() {
            let counted = counted_sums(simd, width, basis, cell);
            if let Some(slack) = slack(simd, width, basis, cell, &counted, control) {
                add_scaled(simd, denominator.as_mut(), T::one(), slack.as_ref());
                add_scaled(simd, pull.as_mut(), T::one(), slack.as_ref());
            }
        }
        if control.steps > 0 {
            let (pull, push) = (pull.as_ref(), denominator.as_ref());
            match cell.squares {
                Some(squares) => update_jointly(h, pull, push, squares, control),
                None => {
                    update_cell(self, h, pull, push, control);
                }
            }
            if basis.loses(cell) {
                // Nothing pushes down where all zeros are taken for dropout: far beyond any data it ends. NaN stays.
                for h in h {
                    *h = if *h > T::CEILING { T::CEILING } else { *h };
                }
            }
        }
        Before {
            divergence: rates + surprises + logs.total(),
            lost,
        }
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
        let mut own = width.rows_mut(&mut stats.own);
        let mut groups = Groups::new(cell.index, cell.value);
        while let Some((index, x)) = groups.take() {
            let rows = rows_of(w, &index);
            let [mut r, mut tail, ..] = quotients(simd, basis, cell, &index, &x, &rows, h);
            cell.weigh(&mut r);
            cell.weigh(&mut tail);
            add_to_rows(simd, &mut numerator, &index, &r, h);
            add_to_rows(simd, &mut own, &index, &tail, h);
        }
        add_wide(&mut stats.denominator, cell.weight, h);
    }

    #[inline(always)]
    fn sizes<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cell: Cell<'_, T>,
        h: &[T],
        stats: &mut WStats<T>,
    ) {
        let Dispersed { size, unit, .. } = basis.dispersed;
        for (i, x) in cell.entries() {
            if is_dispersed(size, i) {
                let (x, size) = (x.wide() * unit, size[i].wide() * unit);
                let fitted = rate(simd, width, basis, cell, i, h);
                let t = fitted.wide() * unit / size;
                let [first, second] = slopes(x, size);
                let part = t / (1.0 + t);
                let times = cell.weight.wide();
                let mut slope = first - x + x * part;
                let mut curvature = first + second - x * t / ((1.0 + t) * (1.0 + t));
                if let Some(log_odds) = basis.log_odds(cell, i) {
                    // What the tile took for a zero that may be lost was counted.
                    let zero = zero::<S, _>(log_odds.wide(), basis.zero_loss(i, fitted));
                    let [by_size, again] = zero_slope::<S>(t).map(|by| size * by);
                    let unsure = zero.counted * zero.lost;
                    slope += zero.lost * by_size;
                    curvature += zero.lost * again - unsure * by_size * by_size;
                    if let Some(sums) = stats.dropout.get_mut(i) {
                        sums[0] -= times * zero.lost;
                        sums[1] -= times * unsure;
                        sums[2] += times * unsure * by_size;
                    }
                }
                stats.sizes[i][0] += times * slope;
                stats.sizes[i][1] += times * curvature;
            }
        }
    }

    #[inline(always)]
    fn excess<T: Real>(self, basis: Basis<'_, T>, cell: Cell<'_, T>) -> f64 {
        let Dispersed { size, unit, .. } = basis.dispersed;
        let sum: f64 = cell
            .entries()
            .map(|(i, x)| {
                basis.weight_of(i).wide() * excess(x.wide() * unit, size[i].wide() * unit)
            })
            .sum();
        sum / unit
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
        let Dispersed { size, unit, .. } = basis.dispersed;
        let total_rate = basis.whole_rate(cell, h);
        let smooth = T::of(SMOOTHING * total_rate);
        let mut sum = 0.0;
        for (i, x) in cell.held_out() {
            let fitted = rate(simd, width, basis, cell, i, h);
            let rate = (T::of(1.0 - SMOOTHING) * fitted + smooth * yardstick.profile[i]).wide();
            let (x, size) = (x.wide(), size[i].wide());
            let log_odds = basis.log_odds(cell, i).unwrap_or(T::neg_infinity()).wide();
            let (kept, zero) = (log_kept::<S, _>(log_odds), zero_term(rate, size));
            let mut loss = if x > 0.0 {
                let ratio = (x / rate.max(f64::MIN_POSITIVE)) * (1.0 + rate / size);
                zero + kept / unit + x * (ratio.ln() - 1.0)
            } else {
                loss_of_zero::<S, _>(log_odds, kept, zero * unit) / unit
            };
            loss -= excess(x * unit, size * unit) / unit;
            sum += yardstick.weight[i].wide() * loss;
        }
        sum
    }

    fn lasting(self) -> bool {
        false
    }

    fn denominator(self, record: &[f64], w_row: &[f64], out: &mut [f64]) {
        Poisson.denominator(record, w_row, out);
    }

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
        Poisson.update(value, numerator, denominator, l1, l2, guard)
    }
}

/// `x/λ`, `x/(λ + r)` and `(x/λ)(1 + λ/r)` of a group of entries. Where they would be lost if they were zeros with a probability `v`, which the tile has taken them for,
/// `(x + v r)/(λ + r)` is the second; the fourth, else 0, is the divergence that the tile has not, and the fifth `v`.
#[inline(always)]
fn quotients<S: Simd, T: Real>(
    simd: S,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    index: &Each<u32>,
    x: &Each<T>,
    rows: &Each<&[T]>,
    h: &[T],
) -> [Each<T>; 5] {
    let mut rates = dots(simd, rows, h);
    basis.add_ambient(cell, index, &mut rates);
    let mut sizes = [T::zero(); GROUP];
    for (size, &i) in sizes.iter_mut().zip(index) {
        *size = basis.dispersed.size[i as usize];
    }
    let r = ratios(simd, x, &rates, basis.guard);
    let (mut sums, mut over) = (rates, r);
    for ((sum, over), (&rate, &size)) in
        sums.iter_mut().zip(&mut over).zip(rates.iter().zip(&sizes))
    {
        *sum = rate + size;
        *over *= T::one() + rate / size;
    }
    let (mut counts, mut surprise, mut gone) = (*x, [T::zero(); GROUP], [T::zero(); GROUP]);
    if basis.loses(cell) {
        let group = GroupOfZeros {
            basis,
            cell,
            index,
            rates: &rates,
            sizes: &sizes,
        };
        let [lost, surprises] = simd.vectorize(group);
        let down = T::of(basis.dispersed.unit.recip());
        for e in 0..GROUP {
            // What fills up a group is no entry, and Poisson features of a mixture lose none.
            if (x[e] > T::zero()) & sizes[e].is_finite() {
                counts[e] += lost[e] * sizes[e];
                gone[e] = lost[e];
                surprise[e] = surprises[e] * down;
            }
        }
    }
    let tail = ratios(simd, &counts, &sums, basis.guard);
    [r, tail, over, surprise, gone]
}

/// `r log(1 + λ/r)`; λ for an infinite size.
#[inline(always)]
fn zero_term<T: Real>(rate: T, size: T) -> T {
    if size.is_finite() {
        size * (rate / size).ln_1p()
    } else {
        rate
    }
}

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
use super::poisson::{
    Poisson, RecordMasked, SMOOTHING, add_wide, counted_sums, counted_sums_of, rate, slack,
};
use super::rising::{excess, slopes};
use super::{Apart, Basis, Control, Loss, Yardstick, update_cell};
use crate::group::{Each, GROUP, Groups, add_rows, add_scaled, add_to_rows, dots, ratios, rows_of};
use crate::matrix::Cell;
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Width, dot_wide, sum_lanes};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use pulp::Simd;
use std::ops::Range;

/// The negative binomial log-likelihood, up to a constant.
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
            unit: 1.0,
        }
    }
}

/// Some cells next to each other, filled up to whole registers with cells of nothing.
pub struct Tile<T> {
    /// Cells × factors, padded.
    pub h: Vec<T>,
    /// [`Cell::ambient`] of each.
    pub ambient: Vec<T>,
    /// [`Cell::weight`] of each.
    pub weight: Vec<T>,
    /// Features that do not count in each cell, increasing; empty where all count.
    pub masked: Vec<Vec<u32>>,
    /// Padded number of factors.
    pub factors: usize,
    /// Room for a block of rates.
    pub rates: Vec<T>,
}

/// What is counted.
#[derive(Clone, Copy)]
enum Items {
    Features,
    Cells,
}

/// Cells in a tile, at most, and features in a block: what a core has in its nearest cache, about.
pub const TILE: usize = 64;
const BLOCK: usize = 128;
/// A tile's cells are a multiple of this.
pub const ABREAST: usize = 8;

impl Loss for Nb {
    const DENSE: bool = true;

    fn shared<T: Real>(self, w: &[T], weight: &[T], factors: usize) -> Vec<T> {
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
    ) -> f64 {
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
        let (mut pull, mut pull_too) = (width.zeros::<T>(), width.zeros::<T>());
        let (mut push, mut push_too) = (width.zeros::<T>(), width.zeros::<T>());
        let mut logs = LogSum::new();
        let mut groups = Groups::new(cell.index, cell.value);
        while let Some((index, x)) = groups.take() {
            let rows = rows_of(w, &index);
            let [mut r, mut tail, over] = quotients(simd, basis, cell, &index, &x, &rows, h);
            basis.weigh(&index, &mut r);
            basis.weigh(&index, &mut tail);
            add_rows(simd, [pull.as_mut(), pull_too.as_mut()], &r, &rows);
            add_rows(simd, [push.as_mut(), push_too.as_mut()], &tail, &rows);
            if control.measures {
                let mut x = x;
                basis.weigh(&index, &mut x);
                logs.add(&x, &over);
            }
        }
        for (sum, part) in [(&mut pull, &pull_too), (&mut push, &push_too)] {
            add_scaled(simd, sum.as_mut(), T::one(), part.as_ref());
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
            update_cell(self, h, pull.as_ref(), denominator.as_ref(), control);
        }
        rates + logs.total()
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
            simd.vectorize(Apart(RecordMasked {
                basis,
                cell,
                h,
                stats,
            }));
        }
        let w = width.rows(basis.w);
        let mut numerator = width.rows_mut(&mut stats.numerator);
        let mut own = width.rows_mut(&mut stats.own);
        let mut groups = Groups::new(cell.index, cell.value);
        while let Some((index, x)) = groups.take() {
            let rows = rows_of(w, &index);
            let [mut r, mut tail, _] = quotients(simd, basis, cell, &index, &x, &rows, h);
            cell.weigh(&mut r);
            cell.weigh(&mut tail);
            add_to_rows(simd, &mut numerator, &index, &r, h);
            add_to_rows(simd, &mut own, &index, &tail, h);
        }
        add_wide(&mut stats.denominator, cell.weight, h);
    }

    #[inline(always)]
    fn zeros<T: Real>(
        self,
        basis: Basis<'_, T>,
        tile: &mut Tile<T>,
        denominators: &mut [T],
        measures: bool,
    ) -> f64 {
        let (cells, factors) = (tile.ambient.len(), tile.factors);
        let mut divergence = 0.0;
        denominators.fill(T::zero());
        for block in blocks(basis.dispersed) {
            let w = tile.block_rates(basis, block.clone());
            if measures {
                let features = &basis.dispersed.features[block.clone()];
                for (rates, &i) in tile.rates.chunks_exact(cells).zip(features) {
                    let size = basis.dispersed.size[i as usize];
                    let times = (size * basis.weight_of(i as usize)).wide();
                    divergence += times * sum_log1p(rates, &tile.weight, size.recip());
                }
            }
            tile.take_shares(basis, block, Items::Features);
            let shares = view(&tile.rates, w.len() / factors, cells);
            let mut sums = view_mut(denominators, cells, factors);
            general_mat_mul(
                T::one(),
                &shares.t(),
                &view(w, w.len() / factors, factors),
                T::one(),
                &mut sums,
            );
        }
        divergence
    }

    #[inline(always)]
    fn zeros_record<T: Real>(self, basis: Basis<'_, T>, tile: &mut Tile<T>, stats: &mut WStats<T>) {
        let (cells, factors) = (tile.ambient.len(), tile.factors);
        let mut sums = vec![T::zero(); BLOCK * factors];
        for block in blocks(basis.dispersed) {
            let rows = block.len();
            tile.block_rates(basis, block.clone());
            tile.take_shares(basis, block.clone(), Items::Cells);
            let sums = &mut sums[..rows * factors];
            let shares = view(&tile.rates, rows, cells);
            general_mat_mul(
                T::one(),
                &shares,
                &view(&tile.h, cells, factors),
                T::zero(),
                &mut view_mut(sums, rows, factors),
            );
            let features = &basis.dispersed.features[block];
            for (sum, &i) in sums.chunks_exact(factors).zip(features) {
                let own = &mut stats.own[i as usize * factors..][..factors];
                own.iter_mut().zip(sum).for_each(|(own, &sum)| *own += sum);
            }
        }
    }

    #[inline(always)]
    fn zeros_sizes<T: Real>(self, basis: Basis<'_, T>, tile: &mut Tile<T>, stats: &mut WStats<T>) {
        let cells = tile.ambient.len();
        for block in blocks(basis.dispersed) {
            tile.block_rates(basis, block.clone());
            let features = &basis.dispersed.features[block];
            for (rates, &i) in tile.rates.chunks_exact(cells).zip(features) {
                let size = basis.dispersed.size[i as usize].wide();
                let [slope, curvature] = zero_slopes(rates, &tile.weight, size.recip());
                let times = size * basis.dispersed.unit * basis.weight_of(i as usize).wide();
                let sums = &mut stats.sizes[i as usize];
                sums[0] += times * slope;
                sums[1] += times * curvature;
            }
        }
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
                let t = rate(simd, width, basis, cell, i, h).wide() * unit / size;
                let [first, second] = slopes(x, size);
                let part = t / (1.0 + t);
                let times = (cell.weight * basis.weight_of(i)).wide();
                let slope = first - x + x * part;
                let curvature = first + second - x * t / ((1.0 + t) * (1.0 + t));
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
            let mut loss = zero_term(rate, size) - excess(x * unit, size * unit) / unit;
            if x > 0.0 {
                let ratio = (x / rate.max(f64::MIN_POSITIVE)) * (1.0 + rate / size);
                loss += x * (ratio.ln() - 1.0);
            }
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

/// `x/λ`, `x/(λ + r)` and `(x/λ)(1 + λ/r)` of a group of entries.
#[inline(always)]
fn quotients<S: Simd, T: Real>(
    simd: S,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    index: &Each<u32>,
    x: &Each<T>,
    rows: &Each<&[T]>,
    h: &[T],
) -> [Each<T>; 3] {
    let mut rates = dots(simd, rows, h);
    if !basis.ambient.is_empty() {
        for (rate, &i) in rates.iter_mut().zip(index) {
            *rate += basis.ambient_rate(cell, i as usize);
        }
    }
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
    [r, ratios(simd, x, &sums, basis.guard), over]
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

/// `Σ log(1 + λ/r)`, of `1/r`, each cell as often as it counts.
#[inline(always)]
fn sum_log1p<T: Real>(rates: &[T], weight: &[T], inverse: T) -> f64 {
    let mut lanes = [T::zero(); ABREAST];
    let weights = weight.as_chunks::<ABREAST>().0;
    for (rates, weights) in rates.as_chunks::<ABREAST>().0.iter().zip(weights) {
        for ((lane, &rate), &weight) in lanes.iter_mut().zip(rates).zip(weights) {
            *lane += weight * log1p(rate * inverse);
        }
    }
    lanes.iter().map(|lane| lane.wide()).sum()
}

/// `log(1 + t)` for `t ≥ 0`, with what rounding took from `1 + t` given back.
#[inline(always)]
fn log1p<T: Real>(t: T) -> T {
    let sum = T::one() + t;
    sum.fast_ln() + (t - (sum - T::one())) / sum
}

/// Sums of `t/(1 + t) − log(1 + t)` and of that plus `t²/(1 + t)²`, with `t = λ/r`: first and second derivative by the logarithm of the size, over
/// the size, of a zero's log-likelihood, each cell as often as it counts.
#[inline(always)]
fn zero_slopes<T: Real>(rates: &[T], weights: &[T], inverse: f64) -> [f64; 2] {
    let (mut first, mut second) = ([0.0; 4], [0.0; 4]);
    for (rates, weights) in rates.chunks(4).zip(weights.chunks(4)) {
        let sums = first.iter_mut().zip(&mut second);
        for ((first, second), (rate, weight)) in sums.zip(rates.iter().zip(weights)) {
            let t = rate.wide() * inverse;
            let part = t / (1.0 + t);
            let slope = part - log1p(t);
            *first += weight.wide() * slope;
            *second += weight.wide() * (slope + part * part);
        }
    }
    [first, second].map(sum_lanes)
}

/// The dispersed features in blocks.
fn blocks<T>(dispersed: Dispersed<'_, T>) -> impl Iterator<Item = Range<usize>> {
    let all = dispersed.features.len();
    (0..all)
        .step_by(BLOCK)
        .map(move |at| at..all.min(at + BLOCK))
}

impl<T: Real> Tile<T> {
    /// Fills the room with the rates of a block, features × cells, and gives the block's rows of W.
    #[inline(always)]
    fn block_rates<'w>(&mut self, basis: Basis<'w, T>, block: Range<usize>) -> &'w [T] {
        let (cells, factors, rows) = (self.ambient.len(), self.factors, block.len());
        let features = &basis.dispersed.features[block.clone()];
        self.rates.clear();
        self.rates.resize(rows * cells, T::zero());
        if !basis.ambient.is_empty() {
            for (rates, &i) in self.rates.chunks_exact_mut(cells).zip(features) {
                let profile = basis.ambient[i as usize];
                for (rate, &ambient) in rates.iter_mut().zip(&self.ambient) {
                    *rate = profile * ambient;
                }
            }
        }
        let w = &basis.dispersed.rows[block.start * factors..block.end * factors];
        let (rows_of_w, h) = (view(w, rows, factors), view(&self.h, cells, factors));
        let mut rates = view_mut(&mut self.rates, rows, cells);
        general_mat_mul(T::one(), &rows_of_w, &h.t(), T::one(), &mut rates);
        self.mask(basis, block);
        w
    }

    /// Puts `r/(λ + r)` in the place of a block's rates, as often as these items count, and zeros where entries do not.
    #[inline(always)]
    fn take_shares(&mut self, basis: Basis<'_, T>, block: Range<usize>, by: Items) {
        let features = &basis.dispersed.features[block.clone()];
        let rows = self.rates.chunks_exact_mut(self.ambient.len());
        for (rates, &i) in rows.zip(features) {
            let size = basis.dispersed.size[i as usize];
            match by {
                Items::Features => {
                    let times = size * basis.weight_of(i as usize);
                    for rate in rates {
                        *rate = times / (*rate + size);
                    }
                }
                Items::Cells => {
                    for (rate, &weight) in rates.iter_mut().zip(&self.weight) {
                        *rate = size * weight / (*rate + size);
                    }
                }
            }
        }
        self.mask(basis, block);
    }

    /// Puts zeros where entries do not count.
    fn mask(&mut self, basis: Basis<'_, T>, block: Range<usize>) {
        let features = &basis.dispersed.features[block];
        let (Some(first), Some(last)) = (features.first(), features.last()) else {
            return;
        };
        for (cell, masked) in self.masked.iter().enumerate() {
            let here = masked.partition_point(|i| i < first)..masked.partition_point(|i| i <= last);
            for i in &masked[here] {
                if let Ok(row) = features.binary_search(i) {
                    self.rates[row * self.ambient.len() + cell] = T::zero();
                }
            }
        }
    }
}

/// `rows × columns`, row by row.
fn view<T>(values: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns]).expect("as many values")
}

fn view_mut<T>(values: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), &mut values[..rows * columns])
        .expect("as many values")
}

//! What zeros have for losses that look at them one by one: of some cells at a time, in blocks of features × cells that stay in cache and
//! are never stored, as if all entries were zeros.

use super::elementary::log1p;
use super::zinb::{log_kept, loss_of_zero, zero};
use super::{Basis, Dispersed};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::sum_lanes;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Cells in a tile, at most, and features in a block: what a core has in its nearest cache, about.
pub const TILE: usize = 64;
const BLOCK: usize = 128;
/// A tile's cells are a multiple of this.
pub const ABREAST: usize = 8;

/// Some cells next to each other, filled up to whole registers with cells of nothing.
#[derive(Default)]
pub struct Tile<T> {
    /// Cells × factors, padded.
    pub h: Vec<T>,
    /// [`Cell::ambient`](crate::matrix::Cell::ambient) of each.
    pub ambient: Vec<T>,
    /// [`Cell::weight`](crate::matrix::Cell::weight) of each.
    pub weight: Vec<T>,
    /// [`Cell::log_odds`](crate::matrix::Cell::log_odds) of each; empty where cells have none.
    pub log_odds: Vec<T>,
    /// Features that do not count in each cell, increasing; empty where all count.
    pub masked: Vec<Vec<u32>>,
    /// Padded number of factors.
    pub factors: usize,
    /// How many entries of each cell are lost, each as often as its feature counts; kept where cells have odds.
    pub lost: Vec<f64>,
    /// Room for a block of rates …
    pub rates: Vec<T>,
    /// … and of posterior probabilities that zeros were counted; empty where none is ever lost.
    pub counted: Vec<T>,
}

/// What is counted.
#[derive(Clone, Copy)]
enum Items {
    Features,
    Cells,
}

/// Writes what the entries of a tile's cells would add to the denominators of their H steps (cells × factors) if all were zeros, and
/// returns what they would add to the divergence, if it is wanted.
pub struct Zeros<'z, 'w, T> {
    /// With the sizes of the tile's set.
    pub basis: Basis<'w, T>,
    /// The cells.
    pub tile: &'z mut Tile<T>,
    /// Cells × factors.
    pub denominators: &'z mut [T],
    /// Whether the divergence is wanted.
    pub measures: bool,
}

impl<T: Real> WithSimd for Zeros<'_, '_, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let Zeros {
            basis,
            tile,
            denominators,
            measures,
        } = self;
        let (cells, factors) = (tile.ambient.len(), tile.factors);
        let mut divergence = 0.0;
        denominators.fill(T::zero());
        tile.lost.fill(0.0);
        for block in blocks(basis.dispersed) {
            let w = tile.block_rates(basis, block.clone());
            divergence += tile.look::<S>(basis, block.clone(), measures);
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
}

/// Adds to the record what a tile's entries would if all were zeros.
pub struct ZerosRecord<'z, 'w, T> {
    /// With the sizes of the tile's set.
    pub basis: Basis<'w, T>,
    /// The cells.
    pub tile: &'z mut Tile<T>,
    /// The record.
    pub stats: &'z mut WStats<T>,
    /// Whether the derivatives by sizes and odds are wanted.
    pub sizes: bool,
}

impl<T: Real> WithSimd for ZerosRecord<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let ZerosRecord {
            basis,
            tile,
            stats,
            sizes,
        } = self;
        let (cells, factors) = (tile.ambient.len(), tile.factors);
        let mut sums = vec![T::zero(); BLOCK * factors];
        for block in blocks(basis.dispersed) {
            let rows = block.len();
            tile.block_rates(basis, block.clone());
            tile.look::<S>(basis, block.clone(), false);
            if sizes {
                tile.slopes::<S>(basis, block.clone(), stats);
            }
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
        mask(&mut self.rates, T::zero(), &self.masked, cells, features);
        w
    }

    /// What a block's entries would add to the divergence if all were zeros, if it is wanted. Where entries can be lost, fills the room with the posterior
    /// probabilities that they were not.
    #[inline(always)]
    fn look<S: Simd>(&mut self, basis: Basis<'_, T>, block: Range<usize>, measures: bool) -> f64 {
        let cells = self.ambient.len();
        let features = &basis.dispersed.features[block];
        let Dispersed { size, unit, .. } = basis.dispersed;
        let by_feature = !basis.dispersed.log_odds.is_empty();
        let mut divergence = 0.0;
        self.counted.clear();
        if !by_feature && self.log_odds.is_empty() {
            let all = self.rates.chunks_exact(cells).zip(features);
            for (rates, &i) in all.filter(|_| measures) {
                let size = size[i as usize];
                let times = (size * basis.weight_of(i as usize)).wide();
                divergence += times * sum_log1p::<S, _>(rates, &self.weight, size.recip());
            }
            return divergence;
        }
        self.counted.resize(self.rates.len(), T::zero());
        let (mut log_odds, mut kept) = ([T::zero(); TILE], [T::zero(); TILE]);
        if !by_feature {
            log_odds[..cells].copy_from_slice(&self.log_odds);
            for (kept, &odds) in kept.iter_mut().zip(&log_odds) {
                *kept = log_kept::<S, _>(odds);
            }
        }
        let rows = self.rates.chunks_exact(cells).zip(features);
        for ((rates, &i), counted) in rows.zip(self.counted.chunks_exact_mut(cells)) {
            let i = i as usize;
            if by_feature {
                log_odds = [basis.dispersed.log_odds[i]; TILE];
                kept = [log_kept::<S, _>(log_odds[0]); TILE];
            }
            let (log_odds, kept) = if basis.is_certain(i) {
                (&[T::neg_infinity(); TILE], &[T::zero(); TILE])
            } else {
                (&log_odds, &kept)
            };
            let size = [size[i], T::of(unit)];
            count_zeros::<S, _>(rates, log_odds, size, counted);
            if measures {
                let times = basis.weight_of(i).wide() / unit;
                divergence +=
                    times * sum_zeros::<S, _>(rates, &self.weight, [log_odds, kept], size);
            }
        }
        mask(&mut self.counted, T::one(), &self.masked, cells, features);
        if !by_feature {
            let rows = self.counted.chunks_exact(cells).zip(features);
            for (counted, &i) in rows {
                let weight = basis.weight_of(i as usize).wide();
                for (lost, &counted) in self.lost.iter_mut().zip(counted) {
                    *lost += weight * (T::one() - counted).wide();
                }
            }
        }
        divergence
    }

    /// Puts `r/(λ + r)` in the place of a block's rates, times the probability that the zero was counted, as often as these items count, and zeros where
    /// entries do not.
    #[inline(always)]
    fn take_shares(&mut self, basis: Basis<'_, T>, block: Range<usize>, by: Items) {
        let cells = self.ambient.len();
        let features = &basis.dispersed.features[block];
        let rows = self.rates.chunks_exact_mut(cells);
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
        for (share, &counted) in self.rates.iter_mut().zip(&self.counted) {
            *share *= counted;
        }
        mask(&mut self.rates, T::zero(), &self.masked, cells, features);
    }

    /// Adds to the derivatives by the logarithms of sizes and odds what a block's entries would if all were zeros.
    #[inline(always)]
    fn slopes<S: Simd>(&self, basis: Basis<'_, T>, block: Range<usize>, stats: &mut WStats<T>) {
        let cells = self.ambient.len();
        let all: f64 = self.weight.iter().map(|weight| weight.wide()).sum();
        let features = &basis.dispersed.features[block.clone()];
        for (at, &i) in features.iter().enumerate() {
            let i = i as usize;
            let rates = &self.rates[at * cells..][..cells];
            let size = basis.dispersed.size[i].wide();
            let real_size = size * basis.dispersed.unit;
            let sums = &mut stats.sizes[i];
            if self.counted.is_empty() {
                let [slope, curvature] = zero_slopes::<S, _>(rates, &self.weight, size.recip());
                sums[0] += real_size * slope;
                sums[1] += real_size * curvature;
                continue;
            }
            let counted = &self.counted[at * cells..][..cells];
            let all_sums = lost_slopes::<S, _>(rates, &self.weight, counted, size.recip());
            let [slope, curvature, lost, unsure, mixed, square] = all_sums;
            sums[0] += real_size * slope;
            sums[1] += real_size * (curvature + real_size * square);
            if let Some(sums) = stats.dropout.get_mut(i) {
                let parts = [lost, unsure, -real_size * mixed, all];
                sums.iter_mut()
                    .zip(parts)
                    .for_each(|(sum, part)| *sum += part);
            }
        }
        if !stats.dropout.is_empty() && !self.counted.is_empty() {
            self.forget_masked(features, stats);
        }
    }

    /// Takes entries that do not count off the number of those that do.
    #[inline(never)]
    fn forget_masked(&self, features: &[u32], stats: &mut WStats<T>) {
        for (masked, weight) in self.masked.iter().zip(&self.weight) {
            for &i in within(masked, features) {
                if features.binary_search(&i).is_ok() {
                    stats.dropout[i as usize][3] -= weight.wide();
                }
            }
        }
    }
}

/// Those of a cell's masked features that lie between the first and the last of these.
fn within<'m>(masked: &'m [u32], features: &[u32]) -> &'m [u32] {
    let (Some(first), Some(last)) = (features.first(), features.last()) else {
        return &[];
    };
    &masked[masked.partition_point(|i| i < first)..masked.partition_point(|i| i <= last)]
}

/// Puts a value where entries do not count.
fn mask<T: Copy>(room: &mut [T], value: T, masked: &[Vec<u32>], cells: usize, features: &[u32]) {
    for (cell, masked) in masked.iter().enumerate() {
        for i in within(masked, features) {
            if let Ok(row) = features.binary_search(i) {
                room[row * cells + cell] = value;
            }
        }
    }
}

/// `Σ log(1 + λ/r)`, of `1/r`, each cell as often as it counts.
#[inline(always)]
fn sum_log1p<S: Simd, T: Real>(rates: &[T], weight: &[T], inverse: T) -> f64 {
    let mut lanes = [T::zero(); ABREAST];
    let weights = weight.as_chunks::<ABREAST>().0;
    for (rates, weights) in rates.as_chunks::<ABREAST>().0.iter().zip(weights) {
        for ((lane, &rate), &weight) in lanes.iter_mut().zip(rates).zip(weights) {
            *lane += weight * log1p::<S, _>(rate * inverse);
        }
    }
    lanes.iter().map(|lane| lane.wide()).sum()
}

/// The posterior probabilities that zeros with these rates were counted; `size`, and the unit of it and the rates.
#[inline(always)]
fn count_zeros<S: Simd, T: Real>(
    rates: &[T],
    log_odds: &[T],
    [size, unit]: [T; 2],
    counted: &mut [T],
) {
    let (inverse, times) = (size.recip(), size * unit);
    for ((counted, &rate), &odds) in counted.iter_mut().zip(rates).zip(log_odds) {
        *counted = zero::<S, _>(odds, times * log1p::<S, _>(rate * inverse)).counted;
    }
}

/// `Σ −log P₀` of zeros with these rates, each cell as often as it counts.
#[inline(always)]
fn sum_zeros<S: Simd, T: Real>(
    rates: &[T],
    weights: &[T],
    [log_odds, kept]: [&[T]; 2],
    [size, unit]: [T; 2],
) -> f64 {
    let (inverse, times) = (size.recip(), size * unit);
    let mut lanes = [T::zero(); ABREAST];
    let cells = rates.as_chunks::<ABREAST>().0.iter();
    let odds = log_odds.as_chunks::<ABREAST>().0.iter();
    let known = weights
        .as_chunks::<ABREAST>()
        .0
        .iter()
        .zip(odds.zip(kept.as_chunks::<ABREAST>().0));
    for (rates, (weights, (log_odds, kept))) in cells.zip(known) {
        for lane in 0..ABREAST {
            let s = times * log1p::<S, _>(rates[lane] * inverse);
            lanes[lane] += weights[lane] * loss_of_zero::<S, _>(log_odds[lane], kept[lane], s);
        }
    }
    lanes.iter().map(|lane| lane.wide()).sum()
}

/// Sums of `t/(1 + t) − log(1 + t)` and of that plus `t²/(1 + t)²`, with `t = λ/r`: first and second derivative by the logarithm of the size, over
/// the size, of a zero's log-likelihood, each cell as often as it counts.
#[inline(always)]
fn zero_slopes<S: Simd, T: Real>(rates: &[T], weights: &[T], inverse: f64) -> [f64; 2] {
    let (mut first, mut second) = ([0.0; 4], [0.0; 4]);
    for (rates, weights) in rates.chunks(4).zip(weights.chunks(4)) {
        let sums = first.iter_mut().zip(&mut second);
        for ((first, second), (rate, weight)) in sums.zip(rates.iter().zip(weights)) {
            let [slope, curvature] = zero_slope::<S>(rate.wide() * inverse);
            *first += weight.wide() * slope;
            *second += weight.wide() * curvature;
        }
    }
    [first, second].map(sum_lanes)
}

/// The two terms of [`zero_slopes`].
#[inline(always)]
pub(super) fn zero_slope<S: Simd>(t: f64) -> [f64; 2] {
    let part = t / (1.0 + t);
    let slope = part - log1p::<S, _>(t);
    [slope, slope + part * part]
}

/// The same where zeros can be lost, with the posterior probabilities `u` that they were not: sums of both terms times `u`, of `1 − u`, of `u (1 − u)`, and of that times the
/// first term and times its square. By the logarithm of the odds the log-likelihood has the first derivative `1 − u − π`.
#[inline(always)]
fn lost_slopes<S: Simd, T: Real>(
    rates: &[T],
    weights: &[T],
    counted: &[T],
    inverse: f64,
) -> [f64; 6] {
    let mut sums = [[0.0; 4]; 6];
    let all = rates
        .chunks(4)
        .zip(weights.chunks(4))
        .zip(counted.chunks(4));
    for ((rates, weights), counted) in all {
        for (lane, ((rate, weight), counted)) in rates.iter().zip(weights).zip(counted).enumerate()
        {
            let (weight, counted) = (weight.wide(), counted.wide());
            let [slope, curvature] = zero_slope::<S>(rate.wide() * inverse);
            let lost = 1.0 - counted;
            let unsure = counted * lost;
            sums[0][lane] += weight * counted * slope;
            sums[1][lane] += weight * counted * curvature;
            sums[2][lane] += weight * lost;
            sums[3][lane] += weight * unsure;
            sums[4][lane] += weight * unsure * slope;
            sums[5][lane] += weight * unsure * slope * slope;
        }
    }
    sums.map(sum_lanes)
}

/// `rows × columns`, row by row.
fn view<T>(values: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns]).expect("as many values")
}

fn view_mut<T>(values: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), &mut values[..rows * columns])
        .expect("as many values")
}

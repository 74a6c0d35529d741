//! Squared error, `D = ‖X − W H‖²`.
//!
//! One step: H ∘ (WᵀX) / (WᵀW H) and W ∘ (X Hᵀ) / (W H Hᵀ), Lee & Seung 2001; with contrast, arXiv 2602.22387.
//! Several steps: passes of coordinate descent, Hsieh & Dhillon 2011, on the quadratic that the contrast's tangent leaves.
//! Nothing of the size of X is formed: zeros enter through `WᵀW` and `H Hᵀ`, and what entries that do not
//! count have in these is taken off again.

use super::{
    Basis, Before, Control, Few, Loss, Yardstick, above_rounding, abreast, copied, floored,
    not_negative, update_cell,
};
use crate::aligned::Aligned;
use crate::group::{
    Each, GROUP, Groups, add_each_scaled, add_rows, add_scaled, add_to_rows, rows_of, total,
};
use crate::matrix::Cell;
use crate::real::{Real, count};
use crate::stats::WStats;
use crate::width::{Dynamic, Rows, RowsMut, Width, dot, dot_wide};
use pulp::{Scalar, Simd, WithSimd};
use rayon::prelude::*;

/// Most passes of coordinate descent in which entries that do not count stay what they were taken to be.
const ROUND: usize = 20;

/// The squared error.
#[derive(Clone, Copy, Debug)]
pub struct Mse;

impl Loss for Mse {
    const ABREAST: bool = true;

    fn shared<T: Real>(self, w: &[T], weight: &[T], factors: usize) -> Aligned<T> {
        // Parts of a fixed size, added in order: the same bits for any number of threads.
        let parts: Vec<Vec<f64>> = w
            .par_chunks(ROWS * factors)
            .enumerate()
            .map(|(part, rows)| {
                let mut gram = vec![0.0; factors * factors];
                for (at, row) in rows.chunks_exact(factors).enumerate() {
                    let weight = count(weight, part * ROWS + at);
                    add_outer(Scalar, Dynamic(factors), &mut gram, [weight], [row]);
                }
                gram
            })
            .collect();
        let mut gram = vec![0.0; factors * factors];
        for part in &parts {
            gram.iter_mut()
                .zip(part)
                .for_each(|(sum, part)| *sum += part);
        }
        gram.into_iter().map(T::of).collect()
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
        let (wx, squares) = sums_and_squares(simd, width, basis, cell);
        let wx = wx.as_ref();
        simd.vectorize(CellSteps {
            basis,
            cell,
            h,
            wx,
            squares,
            control,
        })
    }

    fn denominator_len(self, factors: usize) -> usize {
        factors * factors
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
        add_to_numerator(simd, width, basis, cell, h, stats);
        add_outer(simd, width, &mut stats.denominator, [cell.weight], [h]);
    }

    #[inline(always)]
    fn h_steps<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        few: &mut Few<'_, '_, T>,
    ) {
        abreast::h_steps(simd, width, basis, few);
    }

    #[inline(always)]
    fn record<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cells: &[Cell<'_, T>],
        h: &[T],
        stats: &mut WStats<T>,
    ) {
        for (at, &cell) in cells.iter().enumerate() {
            let own = copied(width, h, at);
            add_to_numerator(simd, width, basis, cell, own.as_ref(), stats);
        }
        let gram = &mut stats.denominator;
        if let Ok(cells) = <&[Cell<'_, T>; GROUP]>::try_from(cells) {
            let mut rows: Each<&[T]> = [&[]; GROUP];
            for (at, row) in rows.iter_mut().enumerate() {
                *row = width.row(h, at);
            }
            add_outer(simd, width, gram, cells.map(|cell| cell.weight), rows);
            return;
        }
        for (at, cell) in cells.iter().enumerate() {
            add_outer(simd, width, gram, [cell.weight], [width.row(h, at)]);
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
        cell.held_out()
            .map(|(i, x)| {
                let error = x.wide() - dot(simd, width.row(basis.w, i), h).wide();
                yardstick.weight[i].wide() * error * error
            })
            .sum()
    }

    fn lasting(self) -> bool {
        true
    }

    fn denominator(self, record: &[f64], w_row: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (row, &w) in record.chunks_exact(out.len()).zip(w_row) {
            out.iter_mut()
                .zip(row)
                .for_each(|(sum, gram)| *sum += w * gram);
        }
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
        value * numerator / (denominator + l1 + l2 * value + guard)
    }
}

/// The steps of one cell alone, from `Wᵀx` and `xᵀx`. What they cost is the same for all widths, beside what they are told.
pub(super) struct CellSteps<'c, T> {
    pub basis: Basis<'c, T>,
    pub cell: Cell<'c, T>,
    pub h: &'c mut [T],
    pub wx: &'c [T],
    pub squares: f64,
    pub control: &'c Control<T>,
}

impl<T: Real> WithSimd for CellSteps<'_, T> {
    type Output = Before;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Before {
        let CellSteps {
            basis,
            cell,
            h,
            wx,
            squares,
            control,
        } = self;
        let width = Dynamic(h.len());
        let mut gh = gram_times(simd, width, basis, cell, h);
        let divergence = errors_of(basis, cell, h, [wx, &gh], squares);
        if control.steps > 1 && cell.held_at.is_empty() {
            let mut own: Vec<T>;
            let mut gram = basis.shared;
            if !cell.is_whole() {
                let factors = width.size();
                own = simd.vectorize(OwnGram {
                    basis,
                    cell,
                    factors,
                });
                for (own, &all) in own.iter_mut().zip(basis.shared) {
                    *own += control.slack * (all - *own);
                }
                gram = &own;
            }
            // In each round entries that do not count are taken to be what they were fitted by at its beginning.
            let several = control.steps > ROUND && !cell.is_whole();
            let mut left = control.steps;
            loop {
                let round = Control {
                    steps: if several { left.min(ROUND) } else { left },
                    ..*control
                };
                let taken = descend(simd, width, gram, h, [wx, &gh], &round);
                left -= taken;
                if !several || taken == 1 || left == 0 {
                    return divergence.into();
                }
                gh = gram_times(simd, width, basis, cell, h);
            }
        }
        // Held-out entries are another set for every cell and every fit, and many: a Gram matrix for each cell would cost more than
        // its steps.
        for step in 0..control.steps {
            if step > 0 {
                gh = gram_times(simd, width, basis, cell, h);
            }
            let mut pull = wx.to_vec();
            add_slack(simd, width, basis, cell, h, [&mut pull, &mut gh], control);
            if update_cell(Mse, h, &pull, &gh, control) {
                break;
            }
        }
        divergence.into()
    }
}

/// The sum of a cell's squared errors, from `Wᵀx`, `WᵀW h` and `xᵀx`.
#[inline(always)]
pub(super) fn errors_of<T: Real>(
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    h: &[T],
    [wx, gh]: [&[T]; 2],
    squares: f64,
) -> f64 {
    errors(basis, cell, h, [squares, dot_wide(wx, h), dot_wide(gh, h)])
}

/// The same from `xᵀx`, `xᵀW h` and `hᵀWᵀW h`.
#[inline(always)]
pub(super) fn errors<T: Real>(
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    h: &[T],
    [squares, cross, fit]: [f64; 3],
) -> f64 {
    let errors = squares - 2.0 * cross + fit;
    // Subtraction has lost half of the digits: look at the residuals themselves.
    if errors < squares * T::epsilon().wide().sqrt() {
        return residual_squares(basis, cell, h);
    }
    errors
}

/// What a cell adds to numerators, and, if not all features count in it, what these would.
#[inline(always)]
fn add_to_numerator<S: Simd, T: Real, K: Width>(
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
    let mut numerator = width.rows_mut(&mut stats.numerator);
    let mut groups = Groups::new(cell.index, cell.value);
    while let Some((index, mut x)) = groups.take() {
        cell.weigh(&mut x);
        add_to_rows(simd, &mut numerator, &index, &x, h);
    }
}

/// Lets what does not count in a cell count a little, as what it is fitted by, in `Wᵀx` and `WᵀW h`.
#[inline(always)]
pub(super) fn add_slack<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    h: &[T],
    [pull, gh]: [&mut K::Vector<T>; 2],
    control: &Control<T>,
) {
    if !cell.is_whole() && control.slack > T::zero() {
        let mut rest = shared_times(simd, width, basis, h);
        add_scaled(simd, rest.as_mut(), -T::one(), gh.as_ref());
        not_negative(rest.as_mut());
        add_scaled(simd, pull.as_mut(), control.slack, rest.as_ref());
        add_scaled(simd, gh.as_mut(), control.slack, rest.as_ref());
    }
}

/// `Wᵀx` and `xᵀx` of one cell, each feature as often as it counts.
#[inline(always)]
pub(super) fn sums_and_squares<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
) -> (K::Vector<T>, f64) {
    let (mut sums, mut others) = (width.zeros::<T>(), width.zeros::<T>());
    let mut squares = [0.0; GROUP];
    let w = width.rows(basis.w);
    let mut groups = Groups::new(cell.index, cell.value);
    while let Some((index, x)) = groups.take() {
        let rows = rows_of(w, &index);
        let mut weighted = x;
        basis.weigh(&index, &mut weighted);
        add_rows(simd, [sums.as_mut(), others.as_mut()], &weighted, &rows);
        for ((sum, x), weighted) in squares.iter_mut().zip(x).zip(weighted) {
            *sum += x.wide() * weighted.wide();
        }
    }
    add_scaled(simd, sums.as_mut(), T::one(), others.as_ref());
    (sums, total(squares))
}

/// Several steps at once: passes of coordinate descent over a cell's coefficients, each of which is set to its best
/// value given the others. As cheap as multiplicative steps and much faster, as
/// one coefficient may take over from another at once. What is zero stays zero, as in the other steps. How many passes were taken.
#[inline(always)]
fn descend<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    gram: &[T],
    h: &mut [T],
    [wx, gh]: [&[T]; 2],
    control: &Control<T>,
) -> usize {
    let gram = width.rows(gram);
    let mut gradient = width.zeros::<T>();
    let gradient = gradient.as_mut();
    for (((g, &gh), &wx), &h) in gradient.iter_mut().zip(gh).zip(wx).zip(h.iter()) {
        *g = gh - wx + control.l1 + control.l2 * h;
    }
    let floor = control.floor.max(T::FLOOR);
    for pass in 1..=control.steps {
        let (mut largest, mut change) = (T::zero(), T::zero());
        for k in 0..width.size() {
            let (row, old) = (gram.row(k), h[k]);
            if old > T::zero() {
                let best = old - gradient[k] / (row[k] + control.l2 + control.guard);
                let new = floored(above_rounding(best, old), old, wx[k], floor);
                if new != old {
                    add_scaled(simd, gradient, new - old, row);
                    gradient[k] += control.l2 * (new - old);
                    h[k] = new;
                }
                change = change.max((new - old).abs());
                largest = largest.max(new);
            }
        }
        if change <= control.tolerance * largest {
            return pass;
        }
    }
    control.steps
}

/// `WᵀW h` over all features.
#[inline(always)]
pub(super) fn shared_times<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    h: &[T],
) -> K::Vector<T> {
    // Two sums, as in `add_rows`; padded vectors are even.
    let (mut product, mut odd) = (width.zeros::<T>(), width.zeros::<T>());
    for (pair, h) in h.as_chunks::<2>().0.iter().enumerate() {
        let k = 2 * pair;
        add_scaled(simd, product.as_mut(), h[0], width.row(basis.shared, k));
        add_scaled(simd, odd.as_mut(), h[1], width.row(basis.shared, k + 1));
    }
    add_scaled(simd, product.as_mut(), T::one(), odd.as_ref());
    product
}

/// `WᵀW h` over the features that count, each as often as it does.
#[inline(always)]
pub(super) fn gram_times<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    cell: Cell<'_, T>,
    h: &[T],
) -> K::Vector<T> {
    if cell.is_whole() {
        return shared_times(simd, width, basis, h);
    }
    let mut product = width.zeros::<T>();
    let counted = simd.vectorize(CountedTimes { basis, cell, h });
    product.as_mut().copy_from_slice(&counted);
    product
}

/// [`gram_times`] of a cell with entries that do not count.
struct CountedTimes<'c, T> {
    basis: Basis<'c, T>,
    cell: Cell<'c, T>,
    h: &'c [T],
}

impl<T: Real> WithSimd for CountedTimes<'_, T> {
    type Output = Vec<T>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<T> {
        let CountedTimes { basis, cell, h } = self;
        let (width, features) = (Dynamic(h.len()), basis.w.len() / h.len());
        let mostly = cell.is_mostly_masked(features);
        let mut product = if mostly {
            width.zeros()
        } else {
            shared_times(simd, width, basis, h)
        };
        let sign = if mostly { T::one() } else { -T::one() };
        for i in cell.shorter(features) {
            let row = width.row(basis.w, i);
            let fit = sign * basis.weight_of(i) * dot(simd, row, h);
            add_scaled(simd, &mut product, fit, row);
        }
        not_negative(&mut product);
        product
    }
}

/// Adds to the record what entries that do not count would add to denominators.
struct RecordMasked<'c, T> {
    basis: Basis<'c, T>,
    cell: Cell<'c, T>,
    h: &'c [T],
    stats: &'c mut WStats<T>,
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
            add_outer(simd, width, &mut stats.masked, [cell.weight], [h]);
        }
        let weight = if mostly { -cell.weight } else { cell.weight };
        for i in cell.shorter(features) {
            let fit = weight * dot(simd, width.row(basis.w, i), h);
            add_scaled(simd, width.row_mut(&mut stats.own, i), fit, h);
        }
    }
}

/// `WᵀW` over the features that count in one cell, each as often as it does.
struct OwnGram<'c, T> {
    basis: Basis<'c, T>,
    cell: Cell<'c, T>,
    factors: usize,
}

impl<T: Real> WithSimd for OwnGram<'_, T> {
    type Output = Vec<T>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<T> {
        let OwnGram {
            basis,
            cell,
            factors,
        } = self;
        let (width, features) = (Dynamic(factors), basis.w.len() / factors);
        let mut gram = vec![0.0; factors * factors];
        let mut lost = cell.is_mostly_masked(features);
        if !lost {
            for (gram, shared) in gram.iter_mut().zip(basis.shared) {
                *gram = shared.wide();
            }
            for i in cell.masked.iter().map(|&i| i as usize) {
                let weight = -basis.weight_of(i);
                add_outer(simd, width, &mut gram, [weight], [width.row(basis.w, i)]);
            }
            // Where nearly all of a factor does not count, what is left is mostly rounding.
            for at in (0..gram.len()).step_by(factors + 1) {
                lost |= gram[at] <= 1e-3 * basis.shared[at].wide() && gram[at] != 0.0;
            }
        }
        if lost {
            gram.fill(0.0);
            for i in cell.counted(features) {
                let weight = basis.weight_of(i);
                add_outer(simd, width, &mut gram, [weight], [width.row(basis.w, i)]);
            }
        }
        gram.into_iter().map(T::of).collect()
    }
}

/// Rows of one parallel task.
const ROWS: usize = 512;

/// `gram += Σ weight · v vᵀ` over some vectors, in their order and in double.
#[inline(always)]
fn add_outer<S: Simd, T: Real, K: Width, const N: usize>(
    simd: S,
    width: K,
    gram: &mut [f64],
    weights: [T; N],
    vectors: [&[T]; N],
) {
    let mut wide = [(); N].map(|()| width.zeros::<f64>());
    for (wide, vector) in wide.iter_mut().zip(vectors) {
        for (wide, v) in wide.as_mut().iter_mut().zip(vector) {
            *wide = v.wide();
        }
    }
    let mut rows = width.rows_mut(gram);
    for k in 0..width.size() {
        let mut scales = weights.map(T::wide);
        let mut any = false;
        for (scale, wide) in scales.iter_mut().zip(&wide) {
            let v = wide.as_ref()[k];
            any |= v > 0.0;
            *scale *= v;
        }
        if any {
            let mut vectors: [&[f64]; N] = [&[]; N];
            for (vector, wide) in vectors.iter_mut().zip(&wide) {
                *vector = wide.as_ref();
            }
            add_each_scaled(simd, rows.row_mut(k), scales, vectors);
        }
    }
}

/// `‖x − W h‖²` entry by entry, each feature as often as it counts: features × factors operations, for cells fitted almost exactly.
#[inline(never)]
fn residual_squares<T: Real>(basis: Basis<'_, T>, cell: Cell<'_, T>, h: &[T]) -> f64 {
    let mut entries = cell.entries().peekable();
    let mut sum = 0.0;
    for i in cell.counted(basis.w.len() / h.len()) {
        let x = entries
            .next_if(|&(at, _)| at == i)
            .map_or(0.0, |(_, x)| x.wide());
        let error = x - dot_wide(Dynamic(h.len()).row(basis.w, i), h);
        sum += basis.weight_of(i).wide() * error * error;
    }
    sum
}

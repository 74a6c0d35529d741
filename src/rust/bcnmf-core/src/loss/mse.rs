//! Squared error, `D = ‖X − W H‖²`.
//!
//! One step: H ∘ (WᵀX) / (WᵀW H) and W ∘ (X Hᵀ) / (W H Hᵀ), Lee & Seung 2001; with contrast, arXiv 2602.22387.
//! Several steps: passes of coordinate descent, Hsieh & Dhillon 2011, on the quadratic that the contrast's tangent leaves.
//! Nothing of the size of X is formed: zeros enter through `WᵀW` and `H Hᵀ`, and what entries that do not
//! count have in these is taken off again.

use super::{Basis, Control, Loss, Yardstick, above_rounding, floored, not_negative, update_cell};
use crate::group::{GROUP, Groups, add_rows, add_scaled, add_to_rows, rows_of, total};
use crate::matrix::Cell;
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Dynamic, Rows, RowsMut, Width, dot, dot_wide};
use pulp::{Scalar, Simd};
use rayon::prelude::*;

/// The squared error.
#[derive(Clone, Copy, Debug)]
pub struct Mse;

impl Loss for Mse {
    fn shared<T: Real>(self, w: &[T], factors: usize) -> Vec<T> {
        // Parts of a fixed size, added in order: the same bits for any number of threads.
        let parts: Vec<Vec<f64>> = w
            .par_chunks(ROWS * factors)
            .map(|rows| {
                let mut gram = vec![0.0; factors * factors];
                for row in rows.chunks_exact(factors) {
                    add_outer(Scalar, Dynamic(factors), &mut gram, row);
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
    ) -> f64 {
        let (wx, squares) = sums_and_squares(simd, width, basis.w, cell);
        let mut gh = gram_times(simd, width, basis, cell.masked, h);
        let fit = dot_wide(gh.as_ref(), h);
        let mut divergence = squares - 2.0 * dot_wide(wx.as_ref(), h) + fit;
        // Subtraction has lost half of the digits: look at the residuals themselves.
        if divergence < squares * T::epsilon().wide().sqrt() {
            divergence = residual_squares(width, basis.w, cell, h);
        }
        if control.steps > 1 && cell.masked.is_empty() {
            descend(simd, width, basis.shared, h, [wx, gh], control);
            return divergence;
        }
        // Cells with entries that do not count have each a Gram matrix of its own, which is not formed.
        for step in 0..control.steps {
            if step > 0 {
                gh = gram_times(simd, width, basis, cell.masked, h);
            }
            if update_cell(self, h, wx.as_ref(), gh.as_ref(), control) {
                break;
            }
        }
        divergence
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
        let mut numerator = width.rows_mut(&mut stats.numerator);
        let mut groups = Groups::new(cell.index, cell.value);
        while let Some((index, x)) = groups.take() {
            add_to_rows(simd, &mut numerator, &index, &x, h);
        }
        add_outer(simd, width, &mut stats.denominator, h);
        for &i in cell.masked {
            let fit = dot(simd, width.row(basis.w, i as usize), h);
            add_scaled(simd, width.row_mut(&mut stats.own, i as usize), fit, h);
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

/// `Wᵀx` and `xᵀx` of one cell.
#[inline(always)]
fn sums_and_squares<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    w: &[T],
    cell: Cell<'_, T>,
) -> (K::Vector<T>, f64) {
    let (mut sums, mut others) = (width.zeros::<T>(), width.zeros::<T>());
    let mut squares = [0.0; GROUP];
    let w = width.rows(w);
    let mut groups = Groups::new(cell.index, cell.value);
    while let Some((index, x)) = groups.take() {
        let rows = rows_of(w, &index);
        add_rows(simd, [sums.as_mut(), others.as_mut()], &x, &rows);
        for (sum, x) in squares.iter_mut().zip(x) {
            *sum += x.wide() * x.wide();
        }
    }
    add_scaled(simd, sums.as_mut(), T::one(), others.as_ref());
    (sums, total(squares))
}

/// Several steps at once: passes of coordinate descent over a cell's coefficients, each of which is set to its best
/// value given the others. As cheap as multiplicative steps and much faster, as
/// one coefficient may take over from another at once. What is zero stays zero, as in the other steps.
#[inline(always)]
fn descend<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    gram: &[T],
    h: &mut [T],
    [wx, gh]: [K::Vector<T>; 2],
    control: &Control<T>,
) {
    let gram = width.rows(gram);
    let mut gradient = gh;
    let gradient = gradient.as_mut();
    for ((g, &wx), &h) in gradient.iter_mut().zip(wx.as_ref()).zip(h.iter()) {
        *g = *g - wx + control.l1 + control.l2 * h;
    }
    let floor = control.floor.max(T::FLOOR);
    for _ in 0..control.steps {
        let (mut largest, mut change) = (T::zero(), T::zero());
        for k in 0..width.size() {
            let (row, old) = (gram.row(k), h[k]);
            if old > T::zero() {
                let best = old - gradient[k] / (row[k] + control.l2 + control.guard);
                let new = floored(above_rounding(best, old), old, wx.as_ref()[k], floor);
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
            break;
        }
    }
}

/// `WᵀW h` over the features that count.
#[inline(always)]
fn gram_times<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    masked: &[u32],
    h: &[T],
) -> K::Vector<T> {
    let mut product = width.zeros::<T>();
    for (k, &h) in h.iter().enumerate() {
        add_scaled(simd, product.as_mut(), h, width.row(basis.shared, k));
    }
    if !masked.is_empty() {
        for &i in masked {
            let row = width.row(basis.w, i as usize);
            add_scaled(simd, product.as_mut(), -dot(simd, row, h), row);
        }
        not_negative(product.as_mut());
    }
    product
}

/// Rows of one parallel task.
const ROWS: usize = 512;

/// `gram += v vᵀ`, in double.
#[inline(always)]
fn add_outer<S: Simd, T: Real, K: Width>(simd: S, width: K, gram: &mut [f64], v: &[T]) {
    let mut wide = width.zeros::<f64>();
    for (wide, v) in wide.as_mut().iter_mut().zip(v) {
        *wide = v.wide();
    }
    let mut rows = width.rows_mut(gram);
    for (k, &v) in wide.as_ref().iter().enumerate() {
        if v > 0.0 {
            add_scaled(simd, rows.row_mut(k), v, wide.as_ref());
        }
    }
}

/// `‖x − W h‖²` entry by entry: features × factors operations, for cells fitted almost exactly.
#[inline(always)]
fn residual_squares<T: Real, K: Width>(width: K, w: &[T], cell: Cell<'_, T>, h: &[T]) -> f64 {
    let mut entries = cell.entries().peekable();
    let mut masked = cell.masked.iter().peekable();
    let mut sum = 0.0;
    for i in 0..w.len() / width.size() {
        if masked.next_if(|&&at| at as usize == i).is_some() {
            continue;
        }
        let x = entries
            .next_if(|&(at, _)| at == i)
            .map_or(0.0, |(_, x)| x.wide());
        sum += (x - dot_wide(width.row(w, i), h)).powi(2);
    }
    sum
}

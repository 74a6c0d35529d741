//! Steps of squared errors on a few cells side by side, each in its lane of the vector registers. Coordinate descent on one cell alone waits for every
//! coefficient before it goes on to the next.
//!
//! A lane's operations are those that [`super::mse`] has for a cell alone, in the same order: the same bits, whatever is in the other lanes.

use super::mse::{CellSteps, Mse, errors, sums_and_squares};
use super::{Basis, Control, Few, Loss, above_rounding, copied, floored};
use crate::group::{Each, GROUP, add_scaled};
use crate::real::Real;
use crate::width::{Rows, Width, sum_lanes};
use pulp::Simd;

/// The steps of those cells in which all features count side by side, of others alone.
#[inline(always)]
pub(super) fn h_steps<S: Simd, T: Real, K: Width>(
    simd: S,
    width: K,
    basis: Basis<'_, T>,
    few: &mut Few<'_, '_, T>,
) {
    let (mut h, mut wx, mut gh) = (
        width.abreast::<T>(),
        width.abreast::<T>(),
        width.abreast::<T>(),
    );
    let (h, wx, gh) = (h.as_mut(), wx.as_mut(), gh.as_mut());
    let mut squares = [0.0; GROUP];
    for (lane, &cell) in few.cells.iter().enumerate() {
        let (sums, of_cell) = sums_and_squares(simd, width, basis, cell);
        if cell.is_whole() {
            squares[lane] = of_cell;
            put(wx, lane, sums.as_ref());
            put(h, lane, width.row(few.h, lane));
        } else {
            let mut own = copied(width, few.h, lane);
            few.before[lane] = simd.vectorize(CellSteps {
                basis,
                cell,
                h: own.as_mut(),
                wx: sums.as_ref(),
                squares: of_cell,
                control: &few.controls[lane],
            });
            width
                .row_mut(few.h_next, lane)
                .copy_from_slice(own.as_ref());
        }
    }
    times(simd, width.rows(basis.shared), h, gh);
    let (fit, cross) = (dots_wide(gh, h), dots_wide(wx, h));
    for (lane, &cell) in few.cells.iter().enumerate() {
        if cell.is_whole() {
            let own = width.row(few.h, lane);
            let sums = [squares[lane], cross[lane], fit[lane]];
            few.before[lane] = errors(basis, cell, own, sums).into();
        }
    }
    match few.controls[0].steps {
        0 => {}
        1 => update(h, wx, gh, few.controls),
        _ => {
            let Control {
                steps,
                tolerance,
                guard,
                floor,
                ..
            } = few.controls[0];
            let descent = Descent {
                penalties: penalties(few.controls),
                guard,
                range: [floor.max(T::FLOOR), T::infinity()],
                passes: steps,
                tolerance,
            };
            add(gh, -T::one(), wx);
            descend(simd, width.rows(basis.shared), h, wx, gh, descent);
        }
    }
    for (lane, cell) in few.cells.iter().enumerate() {
        if cell.is_whole() {
            take(width.row_mut(few.h_next, lane), h, lane);
        }
    }
}

/// Puts a vector over the factors into a lane.
#[inline(always)]
pub(crate) fn put<T: Real>(lanes: &mut [Each<T>], lane: usize, vector: &[T]) {
    for (lanes, &value) in lanes.iter_mut().zip(vector) {
        lanes[lane] = value;
    }
}

/// Takes it out of there.
#[inline(always)]
pub(crate) fn take<T: Real, U: Real>(vector: &mut [T], lanes: &[Each<U>], lane: usize) {
    for (value, lanes) in vector.iter_mut().zip(lanes) {
        *value = T::of(lanes[lane].wide());
    }
}

/// The product with a Gram matrix.
#[inline(always)]
pub(crate) fn times<'r, S: Simd, T: Real>(
    simd: S,
    gram: impl Rows<'r, T>,
    x: &[Each<T>],
    product: &mut [Each<T>],
) {
    // As many sums side by side as there are registers for. Padded vectors are a multiple of that.
    const SUMS: usize = 4;
    for (block, product) in product.as_chunks_mut::<SUMS>().0.iter_mut().enumerate() {
        let (mut even, mut odd) = ([[T::zero(); GROUP]; SUMS], [[T::zero(); GROUP]; SUMS]);
        for (pair, [first, second]) in x.as_chunks::<2>().0.iter().enumerate() {
            let of = |k: usize| gram.row(2 * pair + k)[block * SUMS..][..SUMS].iter();
            for (sum, &g) in even.iter_mut().zip(of(0)) {
                add_scaled(simd, sum, g, first);
            }
            for (sum, &g) in odd.iter_mut().zip(of(1)) {
                add_scaled(simd, sum, g, second);
            }
        }
        for ((product, even), odd) in product.iter_mut().zip(&even).zip(&odd) {
            for ((product, even), &odd) in product.iter_mut().zip(even).zip(odd) {
                *product = *even + odd;
            }
        }
    }
}

/// Inner products over the factors, accumulated in double, as [`crate::width::dot_wide`].
#[inline(always)]
fn dots_wide<T: Real>(a: &[Each<T>], b: &[Each<T>]) -> [f64; GROUP] {
    let mut sums = [[0.0; GROUP]; 4];
    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
                *sum += a.wide() * b.wide();
            }
        }
    }
    let mut dots = [0.0; GROUP];
    for (lane, dot) in dots.iter_mut().enumerate() {
        *dot = sum_lanes(sums.map(|sum| sum[lane]));
    }
    dots
}

/// A multiplicative step, as [`super::update_cell`].
#[inline(always)]
fn update<T: Real>(h: &mut [Each<T>], wx: &[Each<T>], gh: &[Each<T>], controls: &[Control<T>]) {
    let Control { guard, floor, .. } = controls[0];
    let [l1, l2] = penalties(controls);
    for ((h, p), q) in h.iter_mut().zip(wx).zip(gh) {
        let old = *h;
        for lane in 0..GROUP {
            let [value, p] = [old[lane], p[lane]];
            let [l1, l2] = [l1[lane].wide(), l2[lane].wide()];
            let new = Mse.update(value.wide(), p.wide(), q[lane].wide(), l1, l2, guard.wide());
            h[lane] = floored(T::of(new), value, p, floor);
        }
    }
}

/// `sum += scale · lanes`.
#[inline(always)]
pub(crate) fn add<T: Real>(sum: &mut [Each<T>], scale: T, lanes: &[Each<T>]) {
    for (sum, lanes) in sum.iter_mut().zip(lanes) {
        for (sum, &value) in sum.iter_mut().zip(lanes) {
            *sum += scale * value;
        }
    }
}

/// How passes of coordinate descent are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descent<T> {
    /// `l1` and `l2` of each lane.
    pub penalties: [Each<T>; 2],
    /// Added to the curvature.
    pub guard: T,
    /// Positive values do not fall below the one, nor grow beyond the other.
    pub range: [T; 2],
    /// How many passes …
    pub passes: usize,
    /// … of which a lane takes no more after one in which nothing changed by more than this part of the largest.
    pub tolerance: T,
}

/// Passes of coordinate descent (Hsieh & Dhillon 2011) on some least squares problems with one Gram matrix: `x ≥ 0` of each lane goes from value to value, each of which is set to its best, given the
/// others. What is zero stays zero. `pull`: what draws values up; `gradient`: `gram x − pull`, without penalties.
#[inline(always)]
pub(crate) fn descend<'r, S: Simd, T: Real>(
    simd: S,
    gram: impl Rows<'r, T>,
    x: &mut [Each<T>],
    pull: &[Each<T>],
    gradient: &mut [Each<T>],
    descent: Descent<T>,
) {
    let Descent {
        penalties: [l1, l2],
        guard,
        range: [floor, ceiling],
        passes,
        tolerance,
    } = descent;
    for (g, x) in gradient.iter_mut().zip(x.iter()) {
        for lane in 0..GROUP {
            g[lane] = g[lane] + l1[lane] + l2[lane] * x[lane];
        }
    }
    let mut rests = [false; GROUP];
    for _ in 0..passes {
        let (mut largest, mut change) = ([T::zero(); GROUP], [T::zero(); GROUP]);
        for k in 0..x.len() {
            let (row, old, slope) = (gram.row(k), x[k], gradient[k]);
            let mut moves = [false; GROUP];
            for lane in 0..GROUP {
                moves[lane] = (old[lane] > T::zero()) & !rests[lane];
            }
            if moves == [false; GROUP] {
                continue;
            }
            let (mut new, mut step) = (old, [T::zero(); GROUP]);
            for lane in 0..GROUP {
                let (old, pull) = (old[lane], pull[k][lane]);
                let best = old - slope[lane] / (row[k] + l2[lane] + guard);
                let best = floored(above_rounding(best, old), old, pull, floor);
                let best = if (best > ceiling) & (best > old) {
                    ceiling.max(old)
                } else {
                    best
                };
                new[lane] = if moves[lane] { best } else { old };
                step[lane] = new[lane] - old;
                change[lane] = change[lane].max(step[lane].abs());
                largest[lane] = largest[lane].max(new[lane]);
            }
            for (g, &w) in gradient.iter_mut().zip(row) {
                add_scaled(simd, g, w, &step);
            }
            for lane in 0..GROUP {
                gradient[k][lane] += l2[lane] * step[lane];
            }
            x[k] = new;
        }
        for lane in 0..GROUP {
            rests[lane] |= change[lane] <= tolerance * largest[lane];
        }
        if rests == [true; GROUP] {
            break;
        }
    }
}

/// Of each cell the penalties, which may differ.
#[inline(always)]
fn penalties<T: Real>(controls: &[Control<T>]) -> [Each<T>; 2] {
    let mut both = [[T::zero(); GROUP]; 2];
    for (lane, control) in controls.iter().enumerate() {
        (both[0][lane], both[1][lane]) = (control.l1, control.l2);
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Before;
    use crate::matrix::Cell;
    use crate::width::{padded, with_width};
    use pulp::{Arch, WithSimd};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const FEATURES: usize = 40;

    /// The steps of some cells, side by side or each alone.
    struct Steps<'s, T> {
        basis: Basis<'s, T>,
        cells: &'s [Cell<'s, T>],
        controls: &'s [Control<T>],
        h: &'s [T],
        alone: bool,
    }

    impl<T: Real> WithSimd for Steps<'_, T> {
        type Output = (Vec<T>, Vec<f64>);
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut h_next = vec![T::zero(); self.h.len()];
            let mut few = Few {
                cells: self.cells,
                controls: self.controls,
                h: self.h,
                h_next: &mut h_next,
                before: [Before::default(); GROUP],
            };
            let basis = self.basis;
            with_width!(T, self.h.len() / self.cells.len(), width => {
                if self.alone {
                    for at in 0..self.cells.len() {
                        few.step_one(Mse, simd, width, basis, at);
                    }
                } else {
                    Mse.h_steps(simd, width, basis, &mut few);
                }
            });
            let before = few.before[..self.cells.len()].iter();
            let divergences = before.map(|before| before.divergence).collect();
            (h_next, divergences)
        }
    }

    fn same_bits<T: Real>(k: usize, n: usize, steps: usize, tolerance: f64) {
        let mut rng = ChaCha8Rng::seed_from_u64((k * 100 + n) as u64);
        let factors = padded::<T>(k);
        let mut draw = |items: usize, zeros: f64| -> Vec<T> {
            let mut one = |at: usize| {
                let x: f64 = rng.random();
                let zero = at % factors >= k || rng.random::<f64>() < zeros;
                T::of(if zero { 0.0 } else { x })
            };
            (0..items * factors).map(&mut one).collect()
        };
        let (w, h) = (draw(FEATURES, 0.1), draw(n, 0.2));
        let counts: Vec<u32> = (0..n).map(|at| (at * 7 % FEATURES) as u32).collect();
        let index: Vec<Vec<u32>> = counts
            .iter()
            .map(|&n| (0..n).map(|i| i * FEATURES as u32 / n.max(1)).collect())
            .collect();
        let value: Vec<Vec<T>> = counts
            .iter()
            .map(|&n| (0..n).map(|_| T::of(3.0 * rng.random::<f64>())).collect())
            .collect();
        let masked = [1, 5, 6];
        let cell = |at: usize| Cell {
            index: &index[at],
            value: &value[at],
            // In the third cell not all features count.
            masked: if at == 2 { &masked } else { &[] },
            weight: T::one(),
            ..Cell::default()
        };
        let cells: Vec<Cell<'_, T>> = (0..n).map(cell).collect();
        let control = |at: usize| Control {
            steps,
            tolerance: T::of(tolerance),
            guard: T::TINY,
            floor: T::FLOOR,
            slack: T::of(1e-3),
            l1: T::of(0.01 * at as f64),
            l2: T::of(0.02 * (at % 3) as f64),
            measures: true,
        };
        let controls: Vec<Control<T>> = (0..n).map(control).collect();
        let shared = Mse.shared(&w, &[], factors);
        let basis = Basis {
            w: &w,
            shared: &shared,
            weight: &[],
            guard: T::TINY,
            ambient: &[],
            ambient_sum: T::zero(),
            dispersed: Default::default(),
        };
        let steps = |alone| Steps {
            basis,
            cells: &cells,
            controls: &controls,
            h: &h,
            alone,
        };
        let [few, alone] = [false, true].map(|alone| Arch::new().dispatch(steps(alone)));
        assert_eq!(few, alone, "k = {k}, {n} cells, {tolerance}");
        assert!(steps(true).controls[0].steps == 0 || few.0 != h);
    }

    #[test]
    fn cells_side_by_side_have_the_bits_of_cells_alone() {
        for k in [1, 4, 7, 20, 31, 40] {
            for n in [1, 5, GROUP] {
                for (steps, tolerance) in [(0, 0.0), (1, 0.0), (2, 0.0), (9, 0.0), (9, 0.05)] {
                    same_bits::<f32>(k, n, steps, tolerance);
                    same_bits::<f64>(k, n, steps, tolerance);
                }
            }
        }
    }
}

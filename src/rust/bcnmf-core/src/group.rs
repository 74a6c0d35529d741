//! Products with several entries of a cell at a time.
//!
//! One entry's product with a row of `W` is a few multiplications and then a sum across a vector register, a
//! division and a broadcast, each of which waits for the one before. Of [`GROUP`] entries, sums and
//! divisions are taken side by side.
//!
//! No loop over registers may be in a closure: pulp's operations are compiled for an instruction set in the
//! function that they are inlined into, and closures are functions of their own.

use crate::real::Real;
use crate::width::{Rows, RowsMut, sum_lanes};
use pulp::Simd;

/// Entries that are worked on together.
pub const GROUP: usize = 8;

/// One number for each entry of a group.
pub type Each<T> = [T; GROUP];

/// The rows of a group's features.
#[inline(always)]
pub fn rows_of<'r, T: Real>(rows: impl Rows<'r, T>, index: &Each<u32>) -> Each<&'r [T]> {
    let mut all: Each<&[T]> = [&[]; GROUP];
    for (row, &i) in all.iter_mut().zip(index) {
        *row = rows.row(i as usize);
    }
    all
}

/// `⟨row, h⟩` for each row of a group.
#[inline(always)]
pub fn dots<S: Simd, T: Real>(simd: S, rows: &Each<&[T]>, h: &[T]) -> Each<T> {
    let mut parts = [T::splat(simd, T::zero()); GROUP];
    let h = T::registers::<S>(h);
    for (part, row) in parts.iter_mut().zip(rows) {
        for (&w, &h) in T::registers::<S>(row).iter().zip(h) {
            *part = T::multiply_add(simd, w, h, *part);
        }
    }
    T::sum_registers(simd, &parts)
}

/// [`Real::ratio`] of each entry of a group.
#[inline(always)]
pub fn ratios<S: Simd, T: Real>(simd: S, x: &Each<T>, rates: &Each<T>, guard: T) -> Each<T> {
    let mut ratios = [T::zero(); GROUP];
    let guard = T::splat(simd, guard);
    let given = T::registers::<S>(x).iter().zip(T::registers::<S>(rates));
    for (ratio, (&x, &rate)) in T::registers_mut::<S>(&mut ratios).iter_mut().zip(given) {
        *ratio = T::ratio(simd, x, rate, guard);
    }
    ratios
}

/// `sum += scale · row`.
#[inline(always)]
pub fn add_scaled<S: Simd, T: Real>(simd: S, sum: &mut [T], scale: T, row: &[T]) {
    let scale = T::splat(simd, scale);
    for (sum, &row) in T::registers_mut::<S>(sum)
        .iter_mut()
        .zip(T::registers::<S>(row))
    {
        *sum = T::multiply_add(simd, scale, row, *sum);
    }
}

/// `sum += Σ scale · row` over some rows, in their order.
#[inline(always)]
pub fn add_each_scaled<S: Simd, T: Real, const N: usize>(
    simd: S,
    sum: &mut [T],
    scales: [T; N],
    rows: [&[T]; N],
) {
    let mut each = [(T::splat(simd, T::zero()), &[][..]); N];
    for ((each, scale), row) in each.iter_mut().zip(scales).zip(rows) {
        *each = (T::splat(simd, scale), T::registers::<S>(row));
    }
    for (at, sum) in T::registers_mut::<S>(sum).iter_mut().enumerate() {
        for (scale, row) in &each {
            *sum = T::multiply_add(simd, *scale, row[at], *sum);
        }
    }
}

/// `sums += Σ scale · row` over a group, in turns to some sums: each addition to one waits for the one before.
#[inline(always)]
pub fn add_rows<S: Simd, T: Real, const SUMS: usize>(
    simd: S,
    sums: [&mut [T]; SUMS],
    scale: &Each<T>,
    rows: &Each<&[T]>,
) {
    for (e, (&scale, row)) in scale.iter().zip(rows).enumerate() {
        add_scaled(simd, sums[e % SUMS], scale, row);
    }
}

/// `row_i += scale_i h` for the features of a group.
#[inline(always)]
pub fn add_to_rows<S: Simd, T: Real>(
    simd: S,
    rows: &mut impl RowsMut<T>,
    index: &Each<u32>,
    scale: &Each<T>,
    h: &[T],
) {
    for (&i, &scale) in index.iter().zip(scale) {
        add_scaled(simd, rows.row_mut(i as usize), scale, h);
    }
}

/// The features and values of a cell, a group at a time; the last group is filled up with values of zero at the
/// first feature.
pub struct Groups<'c, T> {
    index: &'c [Each<u32>],
    value: &'c [Each<T>],
    last: (Each<u32>, Each<T>),
    at: usize,
    end: usize,
}

impl<'c, T: Real> Groups<'c, T> {
    /// The groups of one cell.
    #[inline(always)]
    pub fn new(index: &'c [u32], value: &'c [T]) -> Self {
        let n = index.len();
        let (index, index_rest) = index.as_chunks::<GROUP>();
        let (value, value_rest) = value.as_chunks::<GROUP>();
        let mut last = ([0; GROUP], [T::zero(); GROUP]);
        for (e, (&i, &x)) in index_rest.iter().zip(value_rest).enumerate() {
            (last.0[e], last.1[e]) = (i, x);
        }
        Groups {
            index,
            value,
            last,
            at: 0,
            end: n.div_ceil(GROUP),
        }
    }

    /// The next group.
    #[inline(always)]
    pub fn take(&mut self) -> Option<(Each<u32>, Each<T>)> {
        if self.at == self.end {
            return None;
        }
        let group = match (self.index.get(self.at), self.value.get(self.at)) {
            (Some(&index), Some(&value)) => (index, value),
            _ => self.last,
        };
        self.at += 1;
        Some(group)
    }
}

/// The sum over a group.
#[inline(always)]
pub fn total(terms: Each<f64>) -> f64 {
    const HALF: usize = GROUP / 2;
    let mut four = [0.0; HALF];
    for e in 0..HALF {
        four[e] = terms[e] + terms[e + HALF];
    }
    sum_lanes(four)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width::{Width, padded, with_width};
    use pulp::{Arch, Scalar, WithSimd};

    /// Small whole numbers, of which sums are exact in any order.
    fn numbers<T: Real>(n: usize, from: usize) -> Vec<T> {
        (0..n).map(|i| T::of(((i * 7 + from) % 5) as f64)).collect()
    }

    struct Products<'a, T> {
        rows: &'a [T],
        size: usize,
    }

    impl<T: Real> WithSimd for Products<'_, T> {
        type Output = ();
        fn with_simd<S: Simd>(self, simd: S) {
            let index = [3, 0, 0, 5, 1, 2, 9, 3];
            let (h, x) = (numbers::<T>(self.size, 1), [T::of(2.0); GROUP]);
            with_width!(T, self.size, width => {
                let rows = rows_of(width.rows(self.rows), &index);
                let products = dots(simd, &rows, &h);
                let mut sums = [numbers::<T>(self.size, 2), vec![T::zero(); self.size]];
                let [even, odd] = &mut sums;
                add_rows(simd, [even, odd], &x, &rows);
                let mut sum = numbers::<T>(self.size, 2);
                add_rows(simd, [&mut sum], &x, &rows);
                let mut changed = self.rows.to_vec();
                add_to_rows(simd, &mut width.rows_mut(&mut changed), &index, &x, &h);
                for k in 0..self.size {
                    let all: T = index.iter().map(|&i| self.rows[i as usize * self.size + k]).sum();
                    let want = T::of(((k * 7 + 2) % 5) as f64) + T::of(2.0) * all;
                    assert_eq!([sums[0][k] + sums[1][k], sum[k]], [want; 2]);
                    // The first row is there twice, the fifth not at all.
                    assert_eq!(changed[k], self.rows[k] + T::of(4.0) * h[k]);
                    assert_eq!(changed[4 * self.size + k], self.rows[4 * self.size + k]);
                }
                for (&i, product) in index.iter().zip(products) {
                    let row = &self.rows[i as usize * self.size..][..self.size];
                    let want: T = row.iter().zip(&h).map(|(&a, &b)| a * b).sum();
                    assert_eq!(product, want);
                }
            });
            let rates = [0.0, 1.0, 4.0, 0.5, 0.0, 8.0, 2.0, 1.0].map(T::of);
            let r = ratios(simd, &x, &rates, T::TINY).map(T::wide);
            assert_eq!(r, [0.0, 2.0, 0.5, 4.0, 0.0, 0.25, 1.0, 2.0]);
        }
    }

    fn products_agree<T: Real>() {
        for k in [1, 3, 5, 9, 13, 20, 24, 31, 33, 64, 100] {
            let size = padded::<T>(k);
            let rows = &numbers::<T>(10 * size, 3);
            Arch::new().dispatch(Products { rows, size });
            Products { rows, size }.with_simd(Scalar);
        }
    }

    #[test]
    fn products_agree_at_every_width_and_precision() {
        products_agree::<f32>();
        products_agree::<f64>();
    }

    #[test]
    fn groups_hold_every_entry_once() {
        for n in 0..30u32 {
            let index: Vec<u32> = (0..n).collect();
            let value: Vec<f64> = index.iter().map(|&i| f64::from(i + 1)).collect();
            let mut groups = Groups::new(&index, &value);
            let (mut seen, mut zeros) = (Vec::new(), 0);
            while let Some((index, value)) = groups.take() {
                for (i, x) in index.into_iter().zip(value) {
                    if x > 0.0 {
                        seen.push(i);
                        assert_eq!(x, f64::from(i + 1));
                    } else {
                        zeros += 1;
                    }
                }
            }
            assert_eq!(seen, index);
            assert!(zeros < GROUP);
        }
    }
}

//! The number of factors as a compile-time constant where that pays.
//!
//! Rows of `W` and columns of `H` are stored padded with zeros to [`padded`] entries, so that inner
//! loops have no remainder and, for common sizes, a length the compiler knows: accumulators then
//! live in registers. Multiplicative updates keep the padding at zero.

use crate::group::{Each, GROUP};
use crate::real::Real;
use pulp::Simd;

/// Entries a vector of `k` factors is stored in: full registers, and 32 for the sizes just below.
pub fn padded<T: Real>(k: usize) -> usize {
    match k {
        25..=32 => 32,
        _ => k.next_multiple_of(T::LANES),
    }
}

/// A padded number of factors, known at compile time or not.
pub trait Width: Copy + Send + Sync {
    /// A vector over the factors.
    type Vector<T: Real>: AsRef<[T]> + AsMut<[T]>;
    /// Of each factor a number for every cell of a group.
    type Abreast<T: Real>: AsRef<[Each<T>]> + AsMut<[Each<T>]>;
    /// Rows of a store.
    type Rows<'r, T: Real>: Rows<'r, T>;
    /// Rows of a store, to write.
    type RowsMut<'r, T: Real>: RowsMut<T>;
    /// Number of entries, padding included.
    fn size(self) -> usize;
    /// A vector of zeros.
    fn zeros<T: Real>(self) -> Self::Vector<T>;
    /// Zeros for a group of cells.
    fn abreast<T: Real>(self) -> Self::Abreast<T>;
    /// A row-by-row store cut into its rows.
    fn rows<T: Real>(self, store: &[T]) -> Self::Rows<'_, T>;
    /// A row-by-row store cut into rows to write.
    fn rows_mut<T: Real>(self, store: &mut [T]) -> Self::RowsMut<'_, T>;
    /// Entries of item `i` in a row-by-row store.
    #[inline(always)]
    fn row<T>(self, store: &[T], i: usize) -> &[T] {
        &store[i * self.size()..][..self.size()]
    }
    /// Mutable entries of item `i` in a row-by-row store.
    #[inline(always)]
    fn row_mut<T>(self, store: &mut [T], i: usize) -> &mut [T] {
        &mut store[i * self.size()..][..self.size()]
    }
}

/// The rows of a store: one look at its bounds a row.
pub trait Rows<'r, T>: Copy {
    /// Row `i`.
    fn row(self, i: usize) -> &'r [T];
}

/// The rows of a store, to write.
pub trait RowsMut<T> {
    /// Row `i`.
    fn row_mut(&mut self, i: usize) -> &mut [T];
}

impl<'r, T, const K: usize> Rows<'r, T> for &'r [[T; K]] {
    #[inline(always)]
    fn row(self, i: usize) -> &'r [T] {
        &self[i]
    }
}

impl<T, const K: usize> RowsMut<T> for &mut [[T; K]] {
    #[inline(always)]
    fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self[i]
    }
}

/// Rows of a length that is not known to the compiler.
#[derive(Clone, Copy, Debug)]
pub struct DynamicRows<S> {
    store: S,
    size: usize,
}

impl<'r, T> Rows<'r, T> for DynamicRows<&'r [T]> {
    #[inline(always)]
    fn row(self, i: usize) -> &'r [T] {
        &self.store[i * self.size..][..self.size]
    }
}

impl<T> RowsMut<T> for DynamicRows<&mut [T]> {
    #[inline(always)]
    fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self.store[i * self.size..][..self.size]
    }
}

/// A width known to the compiler.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const K: usize>;

/// A vector over so many factors, in as few cache lines as can be.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Lines<T, const K: usize>([T; K]);

impl<T, const K: usize> AsRef<[T]> for Lines<T, K> {
    #[inline(always)]
    fn as_ref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const K: usize> AsMut<[T]> for Lines<T, K> {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<const K: usize> Width for Fixed<K> {
    type Vector<T: Real> = Lines<T, K>;
    type Abreast<T: Real> = Lines<Each<T>, K>;
    type Rows<'r, T: Real> = &'r [[T; K]];
    type RowsMut<'r, T: Real> = &'r mut [[T; K]];
    #[inline(always)]
    fn rows<T: Real>(self, store: &[T]) -> &[[T; K]] {
        store.as_chunks().0
    }
    #[inline(always)]
    fn rows_mut<T: Real>(self, store: &mut [T]) -> &mut [[T; K]] {
        store.as_chunks_mut().0
    }
    #[inline(always)]
    fn size(self) -> usize {
        K
    }
    #[inline(always)]
    fn zeros<T: Real>(self) -> Lines<T, K> {
        Lines([T::zero(); K])
    }
    #[inline(always)]
    fn abreast<T: Real>(self) -> Lines<Each<T>, K> {
        Lines([[T::zero(); GROUP]; K])
    }
}

/// Any other width.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic(
    /// Number of entries, a multiple of the lanes.
    pub usize,
);

impl Width for Dynamic {
    type Vector<T: Real> = Vec<T>;
    type Abreast<T: Real> = Vec<Each<T>>;
    type Rows<'r, T: Real> = DynamicRows<&'r [T]>;
    type RowsMut<'r, T: Real> = DynamicRows<&'r mut [T]>;
    #[inline(always)]
    fn rows<T: Real>(self, store: &[T]) -> DynamicRows<&[T]> {
        DynamicRows {
            store,
            size: self.0,
        }
    }
    #[inline(always)]
    fn rows_mut<T: Real>(self, store: &mut [T]) -> DynamicRows<&mut [T]> {
        DynamicRows {
            store,
            size: self.0,
        }
    }
    #[inline(always)]
    fn size(self) -> usize {
        self.0
    }
    #[inline(always)]
    fn zeros<T: Real>(self) -> Vec<T> {
        vec![T::zero(); self.0]
    }
    #[inline(always)]
    fn abreast<T: Real>(self) -> Vec<Each<T>> {
        vec![[T::zero(); GROUP]; self.0]
    }
}

/// Calls `$call` with `$width` bound to the [`Width`] for the length `$len` that vectors of `$real` are padded to. Lengths that they never
/// have are not compiled.
macro_rules! with_width {
    ($real:ty, $len:expr, $width:ident => $call:expr) => {
        match $len {
            4 if <$real as $crate::real::Real>::LANES == 4 => {
                let $width = $crate::width::Fixed::<4>;
                $call
            }
            8 => {
                let $width = $crate::width::Fixed::<8>;
                $call
            }
            12 if <$real as $crate::real::Real>::LANES == 4 => {
                let $width = $crate::width::Fixed::<12>;
                $call
            }
            16 => {
                let $width = $crate::width::Fixed::<16>;
                $call
            }
            20 if <$real as $crate::real::Real>::LANES == 4 => {
                let $width = $crate::width::Fixed::<20>;
                $call
            }
            24 => {
                let $width = $crate::width::Fixed::<24>;
                $call
            }
            32 => {
                let $width = $crate::width::Fixed::<32>;
                $call
            }
            other => {
                let $width = $crate::width::Dynamic(other);
                $call
            }
        }
    };
}
pub(crate) use with_width;

/// Inner product over the factors; the order of additions depends on the length alone.
#[inline(always)]
pub fn dot<S: Simd, T: Real>(simd: S, a: &[T], b: &[T]) -> T {
    let mut sum = T::splat(simd, T::zero());
    for (a, b) in T::registers::<S>(a).iter().zip(T::registers::<S>(b)) {
        sum = T::multiply_add(simd, *a, *b, sum);
    }
    T::sum_register(simd, sum)
}

/// Inner product accumulated in double.
#[inline(always)]
pub fn dot_wide<T: Real>(a: &[T], b: &[T]) -> f64 {
    // Padded vectors have no rest.
    let mut lanes = [0.0; 4];
    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a.wide() * b.wide();
        }
    }
    sum_lanes(lanes)
}

/// The sum of four that were added up side by side, as a vector register's is taken.
#[inline(always)]
pub fn sum_lanes([a, b, c, d]: [f64; 4]) -> f64 {
    (a + c) + (b + d)
}

/// Sum of each factor over all items of a row-by-row store, in double and in order.
pub fn column_sums<T: Real>(items: &[T], factors: usize) -> Vec<f64> {
    let mut sums = vec![0.0; factors];
    for item in items.chunks_exact(factors) {
        sums.iter_mut()
            .zip(item)
            .for_each(|(sum, value)| *sum += value.wide());
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::add_scaled;
    use pulp::{Arch, WithSimd};

    #[test]
    fn padding_is_small_and_never_short() {
        for k in 1..200 {
            for (p, lanes) in [(padded::<f32>(k), 8), (padded::<f64>(k), 4)] {
                assert!(p >= k && p.is_multiple_of(lanes) && p < k + 8, "{k} -> {p}");
            }
        }
    }

    struct Products<'a>(&'a [f64]);

    impl WithSimd for Products<'_> {
        type Output = (f64, Vec<f64>);
        fn with_simd<S: Simd>(self, simd: S) -> (f64, Vec<f64>) {
            with_width!(f64, self.0.len(), width => {
                let mut sum = width.zeros::<f64>();
                add_scaled(simd, sum.as_mut(), 2.0, width.row(self.0, 0));
                let sum: &[f64] = sum.as_ref();
                (dot(simd, self.0, self.0), sum.to_vec())
            })
        }
    }

    #[test]
    fn products_agree_at_every_width() {
        for k in [1, 4, 5, 9, 16, 20, 31, 33, 100] {
            let a: Vec<f64> = (0..padded::<f64>(k)).map(|i| i as f64).collect();
            let (product, doubled) = Arch::new().dispatch(Products(&a));
            assert_eq!(product, a.iter().map(|x| x * x).sum::<f64>());
            assert_eq!(dot_wide(&a, &a), product);
            assert!(doubled.iter().zip(&a).all(|(d, a)| *d == 2.0 * a));
        }
    }
}

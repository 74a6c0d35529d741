//! The number of factors as a compile-time constant where that pays.
//!
//! Rows of `W` and columns of `H` are stored padded with zeros to [`padded`] entries, so that inner
//! loops have no remainder and, for common sizes, a length the compiler knows: accumulators then
//! live in registers. Multiplicative updates keep the padding at zero.

use crate::real::Real;

/// Entries a vector of `k` factors is stored in: a multiple of 4 up to 24, 32, then a multiple of 8.
pub const fn padded(k: usize) -> usize {
    match k {
        0..=24 => k.next_multiple_of(4),
        25..=32 => 32,
        _ => k.next_multiple_of(8),
    }
}

/// A padded number of factors, known at compile time or not.
pub trait Width: Copy + Send + Sync {
    /// A vector over the factors.
    type Vector<T: Real>: AsRef<[T]> + AsMut<[T]>;
    /// Number of entries, padding included.
    fn size(self) -> usize;
    /// A vector of zeros.
    fn zeros<T: Real>(self) -> Self::Vector<T>;
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

/// A width known to the compiler.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const K: usize>;

impl<const K: usize> Width for Fixed<K> {
    type Vector<T: Real> = [T; K];
    #[inline(always)]
    fn size(self) -> usize {
        K
    }
    #[inline(always)]
    fn zeros<T: Real>(self) -> [T; K] {
        [T::zero(); K]
    }
}

/// Any other width.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic(
    /// Number of entries, a multiple of 4.
    pub usize,
);

impl Width for Dynamic {
    type Vector<T: Real> = Vec<T>;
    #[inline(always)]
    fn size(self) -> usize {
        self.0
    }
    #[inline(always)]
    fn zeros<T: Real>(self) -> Vec<T> {
        vec![T::zero(); self.0]
    }
}

/// Calls `$call` with `$width` bound to the [`Width`] for the padded length `$len`.
macro_rules! with_width {
    ($len:expr, $width:ident => $call:expr) => {
        match $len {
            4 => {
                let $width = $crate::width::Fixed::<4>;
                $call
            }
            8 => {
                let $width = $crate::width::Fixed::<8>;
                $call
            }
            12 => {
                let $width = $crate::width::Fixed::<12>;
                $call
            }
            16 => {
                let $width = $crate::width::Fixed::<16>;
                $call
            }
            20 => {
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

const LANES: usize = 4;

/// Inner product over the factors; the order of additions depends on the length alone.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lane = [T::zero(); LANES];
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for l in 0..LANES {
            lane[l] += x[l] * y[l];
        }
    }
    (lane[0] + lane[1]) + (lane[2] + lane[3])
}

/// Inner product accumulated in double.
#[inline(always)]
pub fn dot_wide<T: Real>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x.wide() * y.wide()).sum()
}

/// `sum += scale * x` over the factors.
#[inline(always)]
pub fn add_scaled<T: Real>(sum: &mut [T], scale: T, x: &[T]) {
    for (s, x) in sum.iter_mut().zip(x) {
        *s += scale * *x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_small_and_never_short() {
        for k in 1..200 {
            let p = padded(k);
            assert!(p >= k && p.is_multiple_of(4) && p < k + 8, "{k} -> {p}");
        }
    }

    #[test]
    fn products_agree_at_every_width() {
        for k in [1, 4, 5, 20, 31, 33, 100] {
            let len = padded(k);
            let a: Vec<f64> = (0..len).map(|i| i as f64).collect();
            let expect: f64 = a.iter().map(|x| x * x).sum();
            assert_eq!(dot(&a, &a), expect);
            assert_eq!(dot_wide(&a, &a), expect);
            with_width!(len, width => {
                let mut sum = width.zeros::<f64>();
                let sum: &mut [f64] = sum.as_mut();
                add_scaled(sum, 2.0, width.row(&a, 0));
                assert_eq!(sum[len - 1], 2.0 * a[len - 1]);
            });
        }
    }
}

//! `Σ x log r` over many entries, in vector registers: the standard library's logarithm is one call
//! an entry, and costs more than all the rest of a Poisson step.

use crate::group::{Each, GROUP};
use crate::real::Real;
use crate::width::sum_lanes;

/// Groups that are summed at a time: enough for the compiler to make a loop over registers of it.
const GROUPS: usize = 4;

/// What a count costs where the fitted rate is zero, instead of ∞: the logarithm of the largest double.
const IMPOSSIBLE: f64 = 708.0;

/// Values and their ratios to the fitted rates, waiting to be summed.
pub(super) struct LogSum<T> {
    x: [Each<T>; GROUPS],
    ratio: [Each<T>; GROUPS],
    waiting: usize,
    sum: f64,
}

impl<T: Real> LogSum<T> {
    #[inline(always)]
    pub fn new() -> Self {
        LogSum {
            x: [[T::zero(); GROUP]; GROUPS],
            ratio: [[T::one(); GROUP]; GROUPS],
            waiting: 0,
            sum: 0.0,
        }
    }

    /// Adds `x log r − x` of each entry of a group. A ratio of zero stands for a rate of zero: such a value
    /// is impossible under the model and costs `x` times [`IMPOSSIBLE`] instead of ∞.
    #[inline(always)]
    pub fn add(&mut self, x: &Each<T>, ratio: &Each<T>) {
        self.x[self.waiting] = *x;
        self.ratio[self.waiting] = *ratio;
        self.waiting += 1;
        if self.waiting == GROUPS {
            self.settle();
        }
    }

    /// The sum of all that was added.
    #[inline(always)]
    pub fn total(mut self) -> f64 {
        self.settle();
        self.sum
    }

    #[inline(always)]
    fn settle(&mut self) {
        let mut terms = [T::zero(); GROUP * GROUPS];
        let (x, ratio) = (self.x.as_flattened(), self.ratio.as_flattened());
        for ((term, &x), &ratio) in terms.iter_mut().zip(x).zip(ratio) {
            let log = if ratio > T::zero() {
                ratio.fast_ln()
            } else {
                T::of(IMPOSSIBLE)
            };
            *term = x * (log - T::one());
        }
        let mut lanes = [0.0; 4];
        for four in terms.chunks_exact(4) {
            for (lane, term) in lanes.iter_mut().zip(four) {
                *lane += term.wide();
            }
        }
        self.sum += sum_lanes(lanes);
        self.x = [[T::zero(); GROUP]; GROUPS];
        self.waiting = 0;
    }
}

/// Natural logarithm of a positive number: the mantissa `m` is brought to `[√½, √2)`, and
/// `log m = 2 artanh((m − 1)/(m + 1))` summed as its power series, as far as the precision is worth it. All in
/// operations that every vector unit has; the smallest normal number stands for what is below it.
macro_rules! natural_logarithm {
    ($name:ident, $float:ty, $bits:ty, $stored:literal, $sqrt_half:literal, $terms:literal) => {
        #[inline(always)]
        pub(crate) fn $name(value: $float) -> $float {
            const MANTISSA: $bits = (1 << $stored) - 1;
            // Exponents are counted from √½, with a bias that keeps them positive.
            const BIAS: $bits = 1 << (<$float>::MAX_EXP.trailing_zeros() + 1);
            // Or-ing a smaller integer into this number adds it.
            const ONE_BIT: $float = (1 as $bits << $stored) as $float;
            let bits = value.max(<$float>::MIN_POSITIVE).to_bits();
            let shifted = bits.wrapping_sub($sqrt_half).wrapping_add(BIAS << $stored);
            let exponent = <$float>::from_bits((shifted >> $stored) | ONE_BIT.to_bits())
                - (ONE_BIT + BIAS as $float);
            let m = <$float>::from_bits((shifted & MANTISSA) + $sqrt_half);
            let s = (m - 1.0) / (m + 1.0);
            let z = s * s;
            let mut series = 0.0;
            for term in (0..$terms).rev() {
                series = series * z + ((2 * term + 1) as $float).recip();
            }
            exponent * std::f64::consts::LN_2 as $float + 2.0 * s * series
        }
    };
}
natural_logarithm!(ln_f32, f32, u32, 23, 0x3f35_04f3, 5);
natural_logarithm!(ln_f64, f64, u64, 52, 0x3fe6_a09e_667f_3bcd, 11);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(exponent in -1000.0..1000.0_f64, m in 0.5..2.0_f64) {
            let value = exponent.exp2() * m;
            prop_assert!((ln_f64(value) - value.ln()).abs() <= 4e-16 * value.ln().abs().max(1.0));
            prop_assert!((ln_f64(m) - m.ln()).abs() <= 4e-16);
            let value = (exponent / 8.0).exp2() as f32 * m as f32;
            let exact = f64::from(value).ln();
            prop_assert!((f64::from(ln_f32(value)) - exact).abs() <= 2e-7 * exact.abs().max(1.0));
        }
    }

    #[test]
    fn known_values() {
        for value in [1.0, 2.0, 0.5, std::f64::consts::E, f64::MIN_POSITIVE, 1e300] {
            assert!(
                (ln_f64(value) - value.ln()).abs() <= 4e-16 * value.ln().abs().max(1.0),
                "{value}"
            );
        }
        for value in [f32::MIN_POSITIVE, f32::MAX, 1.0f32] {
            let exact = f64::from(value).ln();
            assert!(
                (f64::from(ln_f32(value)) - exact).abs() <= 2e-7 * exact.abs(),
                "{value}"
            );
        }
        assert_eq!((ln_f32(1.0), ln_f64(1.0)), (0.0, 0.0));
    }

    #[test]
    fn any_number_of_groups_is_summed() {
        for groups in 0..10 {
            let mut sum = LogSum::<f32>::new();
            for _ in 0..groups {
                sum.add(&[2.0; GROUP], &[1.0; GROUP]);
            }
            assert_eq!(sum.total(), -2.0 * (groups * GROUP) as f64);
        }
        let mut sum = LogSum::<f64>::new();
        sum.add(&[1.0; GROUP], &[0.0; GROUP]);
        assert_eq!(sum.total(), (IMPOSSIBLE - 1.0) * GROUP as f64);
    }
}

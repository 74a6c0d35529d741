//! Logarithm and exponential in operations that every vector unit has: the standard library's are one call an entry, and
//! cost more than all the rest of a step.

use crate::real::Real;

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

/// Exponential, of the smallest normal number's logarithm for what is below it: with `n` the multiple of `log 2` next to `x`,
/// `2ⁿ` times the power series of the rest, as far as the precision is worth it.
macro_rules! exponential {
    ($name:ident, $float:ty, $bits:ty, $stored:literal, $ln2_high:literal, $ln2_low:literal, $terms:literal) => {
        #[inline(always)]
        pub(crate) fn $name(value: $float) -> $float {
            // Adding it rounds to a whole number, which is in the last bits then.
            const ROUND: $float = 1.5 * (1 as $bits << $stored) as $float;
            const LEAST: $float = (<$float>::MIN_EXP - 1) as $float * std::f64::consts::LN_2 as $float;
            const MOST: $float = (<$float>::MAX_EXP - 1) as $float * std::f64::consts::LN_2 as $float;
            let value = value.max(LEAST).min(MOST);
            let rounded = value * std::f64::consts::LOG2_E as $float + ROUND;
            let n = rounded - ROUND;
            let rest = (value - n * $ln2_high) - n * $ln2_low;
            let mut series = 1.0;
            // Of an inclusive range the compiler makes no loop over registers.
            for term in (0..$terms).rev() {
                series = series * (rest * ((term + 1) as $float).recip()) + 1.0;
            }
            let power = <$float>::from_bits((rounded.to_bits() << $stored).wrapping_add((1.0 as $float).to_bits()));
            power * series
        }
    };
}
// log 2 in two parts, the first with so few digits that its multiples are exact.
exponential!(exp_f32, f32, u32, 23, 0.693_359_4, -2.121_944_4e-4, 7);
exponential!(
    exp_f64,
    f64,
    u64,
    52,
    0.693_147_180_369_123_8,
    1.908_214_929_270_587_7e-10,
    13
);

/// `log(1 + t)` for `t ≥ 0`, with what rounding took from `1 + t` given back.
#[inline(always)]
pub(super) fn log1p<T: Real>(t: T) -> T {
    let sum = T::one() + t;
    sum.fast_ln() + (t - (sum - T::one())) / sum
}

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

    proptest! {
        #[test]
        fn exponentials_agree_with_the_standard_library(value in -690.0..690.0_f64) {
            prop_assert!((exp_f64(value) / value.exp() - 1.0).abs() <= 1e-15);
            let value = (value / 8.0) as f32;
            prop_assert!((f64::from(exp_f32(value)) / f64::from(value).exp() - 1.0).abs() <= 3e-7);
        }
    }

    #[test]
    fn exponentials_at_the_ends() {
        assert_eq!((exp_f32(0.0), exp_f64(0.0)), (1.0, 1.0));
        let least = [
            exp_f64(f64::NEG_INFINITY),
            exp_f64(-1e300),
            exp_f64(f64::MIN_POSITIVE.ln()),
        ];
        assert!(least.iter().all(|e| *e > 0.0 && *e < 1e-307), "{least:?}");
        let least = [
            exp_f32(f32::NEG_INFINITY),
            exp_f32(-1e30),
            exp_f32(f32::MIN_POSITIVE.ln()),
        ];
        assert!(least.iter().all(|e| *e > 0.0 && *e < 1e-37), "{least:?}");
        assert!(exp_f64(1e300) > 1e307 && exp_f32(1e30) > 1e38);
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
}

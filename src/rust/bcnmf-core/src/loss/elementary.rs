//! Logarithm and exponential in operations that every vector unit has: the standard library's are one call an entry, and
//! cost more than all the rest of a step.

use crate::real::Real;
use pulp::Simd;

/// `a b + c` in one operation, or, where that is a call of the standard library, in two.
macro_rules! multiply_add {
    ($fused:ident, $a:expr, $b:expr, $c:expr) => {
        if $fused {
            $a.mul_add($b, $c)
        } else {
            $a * $b + $c
        }
    };
}

/// Natural logarithm of a positive number: the mantissa `m` is brought to `[√½, √2)`, and
/// `log m = 2 artanh((m − 1)/(m + 1))` summed as its power series, as far as the precision is worth it. All in
/// operations that every vector unit has; the smallest normal number stands for what is below it.
macro_rules! natural_logarithm {
    ($name:ident, $float:ty, $bits:ty, $stored:literal, $sqrt_half:literal, $terms:literal) => {
        #[inline(always)]
        pub(crate) fn $name<const FUSED: bool>(value: $float) -> $float {
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
            let mut series: $float = ((2 * $terms - 1) as $float).recip();
            for term in (0..$terms - 1).rev() {
                let next = ((2 * term + 1) as $float).recip();
                series = multiply_add!(FUSED, series, z, next);
            }
            const LN_2: $float = std::f64::consts::LN_2 as $float;
            multiply_add!(FUSED, exponent, LN_2, (s + s) * series)
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
        pub(crate) fn $name<const FUSED: bool>(value: $float) -> $float {
            // Adding it rounds to a whole number, which is in the last bits then.
            const ROUND: $float = 1.5 * (1 as $bits << $stored) as $float;
            const LEAST: $float = (<$float>::MIN_EXP - 1) as $float * std::f64::consts::LN_2 as $float;
            const MOST: $float = (<$float>::MAX_EXP - 1) as $float * std::f64::consts::LN_2 as $float;
            let value = value.max(LEAST).min(MOST);
            let rounded = multiply_add!(FUSED, value, std::f64::consts::LOG2_E as $float, ROUND);
            let n = ROUND - rounded;
            let rest = multiply_add!(FUSED, n, $ln2_high, value);
            let rest = multiply_add!(FUSED, n, $ln2_low, rest);
            let mut series: $float = 1.0;
            // Of an inclusive range the compiler makes no loop over registers.
            for term in (0..$terms).rev() {
                let part = rest * ((term + 1) as $float).recip();
                series = multiply_add!(FUSED, series, part, 1.0);
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
pub(super) fn log1p<S: Simd, T: Real>(t: T) -> T {
    let sum = T::one() + t;
    sum.fast_ln::<S>() + (t - (sum - T::one())) / sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logarithms_agree<const FUSED: bool>(exponent: f64, m: f64) -> Result<(), TestCaseError> {
        for value in [exponent.exp2() * m, m] {
            let exact = value.ln();
            let error = (ln_f64::<FUSED>(value) - exact).abs();
            prop_assert!(error <= 4e-16 * exact.abs().max(1.0));
        }
        let value = (exponent / 8.0).exp2() as f32 * m as f32;
        let exact = f64::from(value).ln();
        let error = (f64::from(ln_f32::<FUSED>(value)) - exact).abs();
        prop_assert!(error <= 2e-7 * exact.abs().max(1.0));
        Ok(())
    }

    fn exponentials_agree<const FUSED: bool>(value: f64) -> Result<(), TestCaseError> {
        prop_assert!((exp_f64::<FUSED>(value) / value.exp() - 1.0).abs() <= 1e-15);
        let value = (value / 8.0) as f32;
        let exact = f64::from(value).exp();
        prop_assert!((f64::from(exp_f32::<FUSED>(value)) / exact - 1.0).abs() <= 3e-7);
        Ok(())
    }

    proptest! {
        #[test]
        fn agree_with_the_standard_library(exponent in -1000.0..1000.0_f64, m in 0.5..2.0_f64, value in -690.0..690.0_f64) {
            logarithms_agree::<true>(exponent, m)?;
            logarithms_agree::<false>(exponent, m)?;
            exponentials_agree::<true>(value)?;
            exponentials_agree::<false>(value)?;
        }
    }

    fn exponentials_at_the_ends<const FUSED: bool>() {
        let (single, double) = (exp_f32::<FUSED>, exp_f64::<FUSED>);
        assert_eq!((single(0.0), double(0.0)), (1.0, 1.0));
        let least = [f64::NEG_INFINITY, -1e300, f64::MIN_POSITIVE.ln()].map(double);
        assert!(least.iter().all(|e| *e > 0.0 && *e < 1e-307), "{least:?}");
        let least = [f32::NEG_INFINITY, -1e30, f32::MIN_POSITIVE.ln()].map(single);
        assert!(least.iter().all(|e| *e > 0.0 && *e < 1e-37), "{least:?}");
        assert!(double(1e300) > 1e307 && single(1e30) > 1e38);
    }

    fn known_logarithms<const FUSED: bool>() {
        let (single, double) = (ln_f32::<FUSED>, ln_f64::<FUSED>);
        for value in [1.0, 2.0, 0.5, std::f64::consts::E, f64::MIN_POSITIVE, 1e300] {
            let exact = value.ln();
            let error = (double(value) - exact).abs();
            assert!(error <= 4e-16 * exact.abs().max(1.0), "{value}");
        }
        for value in [f32::MIN_POSITIVE, f32::MAX, 1.0f32] {
            let exact = f64::from(value).ln();
            let error = (f64::from(single(value)) - exact).abs();
            assert!(error <= 2e-7 * exact.abs(), "{value}");
        }
        assert_eq!((single(1.0), double(1.0)), (0.0, 0.0));
    }

    #[test]
    fn known_values() {
        exponentials_at_the_ends::<true>();
        exponentials_at_the_ends::<false>();
        known_logarithms::<true>();
        known_logarithms::<false>();
    }
}

//! `Σ x log r` over many entries, in vector registers: the standard library's logarithm is one call
//! an entry, and costs more than all the rest of a Poisson step.

use crate::real::Real;

/// Entries that are summed at a time.
pub(super) const CHUNK: usize = 32;

/// Values and their ratios to the fitted rates, waiting to be summed.
#[derive(Clone, Copy)]
pub(super) struct Chunk<T> {
    pub x: [T; CHUNK],
    pub ratio: [T; CHUNK],
}

impl<T: Real> Chunk<T> {
    /// Entries that add nothing.
    #[inline(always)]
    pub fn neutral() -> Self {
        Chunk {
            x: [T::zero(); CHUNK],
            ratio: [T::one(); CHUNK],
        }
    }

    /// `Σ x log r − x`. A ratio of zero stands for a rate of zero: such a value is impossible under
    /// the model and costs `x · 708`, the logarithm of the largest double, instead of ∞.
    #[inline(always)]
    pub fn sum(&self) -> f64 {
        let mut terms = [0.0; CHUNK];
        for ((term, x), ratio) in terms.iter_mut().zip(&self.x).zip(&self.ratio) {
            let ratio = ratio.wide();
            let log = if ratio > 0.0 {
                ln(ratio, T::LOG_TERMS)
            } else {
                708.0
            };
            *term = x.wide() * (log - 1.0);
        }
        let mut lane = [0.0; 4];
        for four in terms.chunks_exact(4) {
            for l in 0..4 {
                lane[l] += four[l];
            }
        }
        (lane[0] + lane[2]) + (lane[1] + lane[3])
    }
}

/// Natural logarithm of a positive double: the mantissa `m` is brought to `[√½, √2)`, and
/// `log m = 2 artanh((m − 1)/(m + 1))` summed as its power series. Its first 11 terms give a few units
/// in the last place, 6 terms 1e-10.
#[inline(always)]
fn ln(value: f64, terms: u32) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const MANTISSA: u64 = (1 << 52) - 1;
    // Exponents are counted from √½, with a bias that keeps them positive.
    const BIAS: u64 = 1 << 11;
    // Or-ing an integer below 2⁵² into this double adds it: a conversion that every vector unit has.
    const TWO_52: f64 = (1u64 << 52) as f64;
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    let shifted = bits.wrapping_sub(SQRT_HALF).wrapping_add(BIAS << 52);
    let exponent = f64::from_bits((shifted >> 52) | TWO_52.to_bits()) - (TWO_52 + BIAS as f64);
    let m = f64::from_bits((shifted & MANTISSA) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut series = 0.0;
    for term in (0..terms).rev() {
        series = series * z + f64::from(2 * term + 1).recip();
    }
    exponent * std::f64::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(exponent in -1000.0..1000.0_f64, m in 0.5..2.0_f64) {
            let value = exponent.exp2() * m;
            prop_assert!((ln(value, 11) - value.ln()).abs() <= 4e-16 * value.ln().abs().max(1.0));
            prop_assert!((ln(m, 11) - m.ln()).abs() <= 4e-16);
            prop_assert!((ln(m, 6) - m.ln()).abs() <= 1e-10);
        }
    }

    #[test]
    fn known_values() {
        for value in [1.0, 2.0, 0.5, std::f64::consts::E, f64::MIN_POSITIVE, 1e300] {
            assert!(
                (ln(value, 11) - value.ln()).abs() <= 4e-16 * value.ln().abs().max(1.0),
                "{value}"
            );
        }
        assert_eq!(ln(1.0, 11), 0.0);
        assert_eq!(Chunk::<f32>::neutral().sum(), 0.0);
    }
}

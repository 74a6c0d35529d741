//! `Γ(r + x) / (Γ(r) rˣ)`, the rising factorial of a negative binomial likelihood over its Poisson limit, and how it
//! changes with the size `r`.

/// Counts up to which sums are shorter than series.
const FEW: f64 = 24.0;

/// Where the asymptotic series begin; from here on they are good to 1e-12.
const FAR: f64 = 10.0;

/// `E(x, r) = log Γ(r + x) − log Γ(r) − x log r` for `x ≥ 0`, `r > 0`: 0 for `x ≤ 1` and where `r` is infinite.
pub(super) fn excess(x: f64, size: f64) -> f64 {
    if size == f64::INFINITY {
        return 0.0;
    }
    if x <= FEW && x.fract() == 0.0 {
        // Below 1e308 for any size from 1e-11 up.
        let product: f64 = (1..x as u32).map(|m| 1.0 + f64::from(m) / size).product();
        return product.ln();
    }
    ln_gamma(size + x) - ln_gamma(size) - x * size.ln()
}

/// `r ψ(r + x) − r ψ(r)` and `r² ψ′(r + x) − r² ψ′(r)`, with the digamma function ψ: what the logarithm of the size feels
/// of `log Γ(r + x) − log Γ(r)`.
pub(super) fn slopes(x: f64, size: f64) -> [f64; 2] {
    if x <= FEW && x.fract() == 0.0 {
        let (mut first, mut second) = (0.0, 0.0);
        for m in 0..x as u32 {
            let part = size / (size + f64::from(m));
            first += part;
            second -= part * part;
        }
        return [first, second];
    }
    let ([a, b], [c, d]) = (polygamma(size + x), polygamma(size));
    [size * (a - c), size * size * (b - d)]
}

/// `log Γ(z)` by Stirling's series.
fn ln_gamma(z: f64) -> f64 {
    let (mut z, mut below) = (z, 1.0);
    while z < FAR {
        below *= z;
        z += 1.0;
    }
    let q = (z * z).recip();
    let series = (1.0 / 12.0 - q * (1.0 / 360.0 - q * (1.0 / 1260.0 - q / 1680.0))) / z;
    (z - 0.5) * z.ln() - z + 0.5 * std::f64::consts::TAU.ln() + series - below.ln()
}

/// `ψ(z)` and `ψ′(z)`.
fn polygamma(z: f64) -> [f64; 2] {
    let (mut z, mut first, mut second) = (z, 0.0, 0.0);
    while z < FAR {
        first -= z.recip();
        second += (z * z).recip();
        z += 1.0;
    }
    let q = (z * z).recip();
    let series = q * (1.0 / 12.0 - q * (1.0 / 120.0 - q * (1.0 / 252.0 - q / 240.0)));
    first += z.ln() - 0.5 / z - series;
    let series = q * (1.0 / 6.0 - q * (1.0 / 30.0 - q * (1.0 / 42.0 - q / 30.0))) / z;
    [first, second + z.recip() + 0.5 * q + series]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let half = std::f64::consts::PI.sqrt().ln();
        assert!((ln_gamma(0.5) - half).abs() < 1e-12);
        assert!(ln_gamma(1.0).abs() < 1e-12 && ln_gamma(2.0).abs() < 1e-12);
        assert!((ln_gamma(11.0) - 3_628_800f64.ln()).abs() < 1e-12);
        let [digamma, trigamma] = polygamma(1.0);
        assert!((digamma + 0.577_215_664_901_532_9).abs() < 1e-12);
        assert!((trigamma - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-12);
        assert_eq!(excess(1.0, 3.0), 0.0);
        assert_eq!(excess(0.0, 3.0), 0.0);
        assert_eq!(excess(7.0, f64::INFINITY), 0.0);
        // Γ(r + 3)/Γ(r) = r (r + 1)(r + 2)
        assert!((excess(3.0, 0.5) - (3.0f64 * 5.0).ln()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn sums_and_series_agree(x in 0u32..25, log_size in -6.9..13.8_f64) {
            let (x, size) = (f64::from(x), log_size.exp());
            let near = ln_gamma(size + x) - ln_gamma(size) - x * size.ln();
            prop_assert!((excess(x, size) - near).abs() < 1e-8 * (1.0 + size * 1e-3));
            let ([a, b], [c, d]) = (polygamma(size + x), polygamma(size));
            let [first, second] = slopes(x, size);
            prop_assert!((first - size * (a - c)).abs() < 1e-9 * (1.0 + x + size * 1e-3));
            prop_assert!((second - size * size * (b - d)).abs() < 1e-8 * (1.0 + x + size * 1e-2));
        }

        #[test]
        fn slopes_are_those_of_the_excess(x in 0.0..100.0_f64, log_size in -6.9..9.0_f64) {
            // d/d(log r) of the excess is r ψ(r + x) − r ψ(r) − x.
            let by = 1e-4;
            let at = |log_size: f64| excess(x, log_size.exp());
            let slope = (at(log_size + by) - at(log_size - by)) / (2.0 * by);
            let [first, _] = slopes(x, log_size.exp());
            prop_assert!((first - x - slope).abs() < 1e-5 * (1.0 + x));
        }
    }
}

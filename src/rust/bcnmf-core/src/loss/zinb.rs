//! Zero-inflated negative binomial counts: with a probability `π` of its feature or its cell a count is lost (dropout) and a zero is
//! there instead; else it is as with [`super::nb`].
//!
//! A zero has the likelihood `P₀ = π + (1 − π) e^−s` with `s = r log(1 + λ/r)`, any other count `1 − π` times that of nb. So
//!
//! `D = Σ_{x = 0} −log P₀ + Σ_{x > 0} (d_nb(x, λ) − log(1 − π))`
//!
//! with nb's divergence `d_nb`, and for `π = 0` that is nb's. It is minus the log-likelihood, less that of Poisson counts fitted exactly.
//!
//! # Steps
//!
//! Expectation-maximisation (Dempster, Laird and Rubin 1977; for counts Lambert 1992). A zero was counted, not lost, with the posterior probability
//! `u = (1 − π) e^−s / P₀`. With the zeros weighted by it, nb's updates of H, and of W where the set is to be described, majorise `D`: it does not
//! rise. `π` becomes the mean of `1 − u`, with `u = 1` for counts above zero. A posterior is that of present rates: it is never stored, and zeros are looked at tile by
//! tile as with nb, as if all entries were zeros; what is then taken off where they are not is known to the cell.
//!
//! A contrast maximises `D(Y)` in W. A zero's `−log P₀` is concave in its rate, so no weighted step majorises it. But H_Y is the background's own best response, and
//! so is its posterior: for given posteriors the background's free energy is nb's divergence weighted by `u`, and the W step goes downhill in
//! `F = D(X) − α · (that)`, as for given H_Y it does with the other losses.
//!
//! # A prior
//!
//! Features and cells with few counts do not tell `π`. [`PRIOR`] more counts of each that were not lost, a prior density `(1 − π)^PRIOR`, let it go to zero where nothing speaks for
//! dropout. The objective of a fit has `−PRIOR Σ log(1 − π)` in it, as it has penalties.

use super::elementary::log1p;
use super::{Basis, Cell};
use crate::group::{Each, GROUP};
use crate::real::Real;
use pulp::{Scalar, Simd, WithSimd};

/// Counts, of each feature or cell that has a probability of its own, that are known not to be lost.
pub const PRIOR: f64 = 1.0;

/// Probabilities do not come nearer to 1 than this: a feature without counts would be all dropout.
const NEARLY_ALL: f64 = 1e-9;

/// The logarithm of the odds of dropout where so many of the entries that there are were lost, and [`PRIOR`] more not.
pub(crate) fn log_odds(lost: f64, entries: f64) -> f64 {
    let lost = lost.max(0.0);
    (lost / (entries + PRIOR - lost).max(NEARLY_ALL * entries)).ln()
}

/// The probability of dropout, from the logarithm of its odds.
pub(crate) fn probability(log_odds: f64) -> f64 {
    (1.0 + (-log_odds).exp()).recip()
}

/// The logarithm of the odds, from the probability.
pub(crate) fn odds_of(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}

/// What the prior adds to the objective.
pub(crate) fn prior(log_odds: f64) -> f64 {
    PRIOR * log_kept::<Scalar, _>(log_odds)
}

/// What is known of an entry if it is a zero.
#[derive(Clone, Copy)]
pub(super) struct Zero<T> {
    /// Posterior probability that it was counted, `u`.
    pub counted: T,
    /// That it was lost, `1 − u`.
    pub lost: T,
    /// `−log u`.
    pub surprise: T,
}

/// `−log u` is `log(1 + e^t)` with `t` the sum of the logarithm of the odds of dropout and of `s`; nothing here overflows, and no odds, a logarithm of `−∞`, are as
/// good as any.
#[inline(always)]
pub(super) fn zero<S: Simd, T: Real>(log_odds: T, s: T) -> Zero<T> {
    let t = log_odds + s;
    let small = (-t.abs()).fast_exp::<S>();
    let likely = (T::one() + small).recip();
    let (counted, lost) = if t <= T::zero() {
        (likely, small * likely)
    } else {
        (small * likely, likely)
    };
    let surprise = t.max(T::zero()) + log1p::<S, _>(small);
    Zero {
        counted,
        lost,
        surprise,
    }
}

/// `−log(1 − π)`, of the logarithm of the odds.
#[inline(always)]
pub(super) fn log_kept<S: Simd, T: Real>(log_odds: T) -> T {
    zero::<S, _>(log_odds, T::zero()).surprise
}

/// `−log P₀`, where `kept` is [`log_kept`].
#[inline(always)]
pub(super) fn loss_of_zero<S: Simd, T: Real>(log_odds: T, kept: T, s: T) -> T {
    // The logarithm of what is larger, dropout or a count of zero, and the rest.
    let t = log_odds + s;
    let larger = if t <= T::zero() { s } else { -log_odds };
    kept + larger - log1p::<S, _>((-t.abs()).fast_exp::<S>())
}

impl<T: Real> Basis<'_, T> {
    /// Whether entries of a cell can be lost.
    #[inline(always)]
    pub(super) fn loses(&self, cell: Cell<'_, T>) -> bool {
        !self.dispersed.log_odds.is_empty() || cell.log_odds.is_some()
    }

    /// The logarithm of the odds that an entry is lost; `None` where none ever is.
    #[inline(always)]
    pub(super) fn log_odds(&self, cell: Cell<'_, T>, feature: usize) -> Option<T> {
        let by_feature = self.dispersed.log_odds.get(feature);
        let by_cell = cell.log_odds.filter(|_| !self.is_certain(feature));
        by_feature.copied().or(by_cell)
    }

    /// Whether a feature's counts are never lost, though others' are.
    #[inline(always)]
    pub(super) fn is_certain(&self, feature: usize) -> bool {
        self.dispersed.certain.get(feature) == Some(&true)
    }

    /// How many of a cell's entries count that can be lost, of so many features, each as often as it does.
    pub(crate) fn entries(&self, cell: Cell<'_, T>, features: usize) -> f64 {
        if cell.is_whole() && self.weight.is_empty() && self.dispersed.certain.is_empty() {
            return features as f64;
        }
        let counted = cell.counted(features).filter(|&i| !self.is_certain(i));
        counted.map(|i| self.weight_of(i).wide()).sum()
    }

    /// `s` in the counts' own unit.
    #[inline(always)]
    pub(super) fn zero_loss(&self, feature: usize, rate: T) -> f64 {
        let size = self.dispersed.size[feature].wide();
        size * self.dispersed.unit * (rate.wide() / size).ln_1p()
    }
}

/// What is known of a group of entries if they are zeros. Compiled once for all numbers of factors.
pub(super) struct GroupOfZeros<'c, T> {
    pub basis: Basis<'c, T>,
    pub cell: Cell<'c, T>,
    pub index: &'c Each<u32>,
    pub rates: &'c Each<T>,
    pub sizes: &'c Each<T>,
}

impl<T: Real> WithSimd for GroupOfZeros<'_, T> {
    /// `1 − u` and `−log u`.
    type Output = [Each<T>; 2];
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> [Each<T>; 2] {
        let GroupOfZeros {
            basis,
            cell,
            index,
            rates,
            sizes,
        } = self;
        let mut log_odds = [cell.log_odds.unwrap_or_default(); GROUP];
        if !basis.dispersed.log_odds.is_empty() {
            for (odds, &i) in log_odds.iter_mut().zip(index) {
                *odds = basis.dispersed.log_odds[i as usize];
            }
        } else if !basis.dispersed.certain.is_empty() {
            for (odds, &i) in log_odds.iter_mut().zip(index) {
                if basis.is_certain(i as usize) {
                    *odds = T::neg_infinity();
                }
            }
        }
        let unit = T::of(basis.dispersed.unit);
        let [mut lost, mut surprise] = [[T::zero(); GROUP]; 2];
        for e in 0..GROUP {
            let s = sizes[e] * unit * log1p::<S, _>(rates[e] / sizes[e]);
            let zero = zero::<S, _>(log_odds[e], s);
            (lost[e], surprise[e]) = (zero.lost, zero.surprise);
        }
        [lost, surprise]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_definition(p in 1e-6..0.999_999_f64, s in 0.0..30.0_f64) {
            let log_odds = (p / (1.0 - p)).ln();
            let all = p + (1.0 - p) * (-s).exp();
            let Zero { counted, lost, surprise } = zero::<Scalar, _>(log_odds, s);
            let want = (1.0 - p) * (-s).exp() / all;
            prop_assert!((counted - want).abs() <= 1e-9 * want);
            prop_assert!((counted + lost - 1.0).abs() <= 1e-15);
            prop_assert!((surprise + want.ln()).abs() <= 1e-9 * (1.0 + s));
            let loss = loss_of_zero::<Scalar, _>(log_odds, log_kept::<Scalar, _>(log_odds), s);
            prop_assert!((loss + all.ln()).abs() <= 1e-9 * (1.0 + s));
        }
    }

    #[test]
    fn no_dropout_is_a_count_and_nothing_overflows() {
        for s in [0.0f32, 1e-3, 1.0, 1e6] {
            let zero = zero::<Scalar, _>(f32::NEG_INFINITY, s);
            assert_eq!(zero.counted, 1.0);
            assert!(zero.lost < 1e-37 && zero.surprise < 1e-37);
            let none = f32::NEG_INFINITY;
            assert_eq!(
                loss_of_zero::<Scalar, _>(none, log_kept::<Scalar, _>(none), s),
                s
            );
        }
        let zero = zero::<Scalar, _>(2.0f32, 1e9);
        assert_eq!(zero.lost, 1.0);
        assert!(zero.counted < 1e-37 && zero.surprise > 0.9e9);
        assert!(
            (loss_of_zero::<Scalar, _>(0.0, log_kept::<Scalar, _>(0.0), 1e9f32) - 2.0f32.ln())
                .abs()
                < 1e-6
        );
        // A rate of nothing loses nothing, whatever the odds.
        for log_odds in [-30.0f32, -1.0, 0.0, 3.0] {
            assert!(
                loss_of_zero::<Scalar, _>(log_odds, log_kept::<Scalar, _>(log_odds), 0.0).abs()
                    < 1e-6
            );
        }
    }
}

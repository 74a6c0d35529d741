//! A loss for each modality: some features of the same cells are counts, the others have squared errors.
//!
//! Counts of all kinds are one loss, [`super::nb`]: those of [`super::poisson`] have an infinite size, those of [`super::nb`] no dropout. They
//! come first, and features with squared errors after them. The objective is the sum of both divergences, each feature as often as it counts.
//!
//! A cell's coefficients belong to all of its features. With `t = h/h₀` the counts' majoriser has the gradient `q − p/t` by a coefficient, that
//! of squared errors, `(WᵀW h₀) t − Wᵀx` (Lee & Seung 2001), twice that. Their sum, with penalties, is 0 at the positive root of
//! `(q₂ + l₂ h₀) t² + (q + l₁ − p₂) t − p = 0`, which is the step of either where the other has nothing. A feature's loadings
//! have nothing to do with those of others, so W steps are taken for each part by itself.

use super::mse::{self, Mse};
use super::{Basis, Control, Loss, LossKind, Yardstick, floored};
use crate::matrix::Cell;
use crate::real::{Real, count};
use crate::stats::WStats;
use crate::width::Dynamic;
use crate::{Error, Result};
use pulp::{Simd, WithSimd};

/// The loss that serves all counts of a mixture, one loss a feature.
///
/// # Errors
/// If there are no counts, or some after features with squared errors.
pub(crate) fn family(mixture: &[LossKind]) -> Result<LossKind> {
    let wrong = |value: &str| {
        Err(Error::Parameter {
            name: "mixture",
            value: value.into(),
            range: "counts first, squared errors after them".into(),
        })
    };
    if counts(mixture) == 0 {
        return wrong("without counts");
    }
    if mixture[counts(mixture)..]
        .iter()
        .any(|loss| loss.is_counts())
    {
        return wrong("in another order");
    }
    Ok(if mixture.contains(&LossKind::Zinb) {
        LossKind::Zinb
    } else {
        LossKind::Nb
    })
}

/// How many features come before those with squared errors.
pub(crate) fn counts(mixture: &[LossKind]) -> usize {
    mixture.iter().take_while(|loss| loss.is_counts()).count()
}

/// How often features count beside each other when their data are divided by `unit`. Divergences are then multiplied by it to be those of the
/// data, and squared errors by its square; steps follow half of these.
pub(crate) fn weights<T: Real>(own: &[f64], mixture: &[LossKind], unit: f64) -> Vec<T> {
    if mixture.is_empty() {
        return own.iter().map(|weight| T::of(*weight)).collect();
    }
    let times = |loss: &LossKind| if loss.is_counts() { 1.0 } else { 2.0 * unit };
    let all = mixture.iter().enumerate();
    all.map(|(i, loss)| T::of(count(own, i) * times(loss)))
        .collect()
}

/// What squared errors have for an H step of a cell: for its numerators and denominators.
#[derive(Clone, Copy, Debug)]
pub struct Squares<'c, T> {
    /// `Wᵀx`.
    pub pull: &'c [T],
    /// `WᵀW h`.
    pub push: &'c [T],
}

/// Works this out. `pull` is what it was in the step before where there is no `cell`, which all features count in then.
pub(crate) struct SquaresOf<'c, T> {
    pub basis: Basis<'c, T>,
    pub cell: Option<Cell<'c, T>>,
    pub h: &'c [T],
    pub control: &'c Control<T>,
    pub pull: &'c mut [T],
    pub push: &'c mut [T],
}

impl<T: Real> WithSimd for SquaresOf<'_, T> {
    /// The divergence before the step.
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let SquaresOf {
            basis,
            cell,
            h,
            control,
            pull,
            push,
        } = self;
        let width = Dynamic(h.len());
        let Some(cell) = cell else {
            push.copy_from_slice(&mse::shared_times(simd, width, basis, h));
            return 0.0;
        };
        let (mut wx, squares) = mse::sums_and_squares(simd, width, basis, cell);
        let mut gh = mse::gram_times(simd, width, basis, cell, h);
        let errors = if control.measures {
            mse::errors_of(basis, cell, h, [&wx, &gh], squares)
        } else {
            0.0
        };
        mse::add_slack(simd, width, basis, cell, h, [&mut wx, &mut gh], control);
        pull.copy_from_slice(&wx);
        push.copy_from_slice(&gh);
        0.5 * errors
    }
}

/// Adds a cell's squared errors to a record of theirs.
pub(crate) struct RecordSquares<'c, T> {
    pub basis: Basis<'c, T>,
    pub cell: Cell<'c, T>,
    pub h: &'c [T],
    pub stats: &'c mut WStats<T>,
}

impl<T: Real> WithSimd for RecordSquares<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let RecordSquares {
            basis,
            cell,
            h,
            stats,
        } = self;
        Mse.w_stats(simd, Dynamic(h.len()), basis, cell, h, stats);
    }
}

/// The squared errors of a cell's entries that do not count.
pub(crate) struct HeldSquares<'c, T> {
    pub basis: Basis<'c, T>,
    pub cell: Cell<'c, T>,
    pub h: &'c [T],
    pub yardstick: Yardstick<'c, T>,
}

impl<T: Real> WithSimd for HeldSquares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let HeldSquares {
            basis,
            cell,
            h,
            yardstick,
        } = self;
        Mse.held_out(simd, Dynamic(h.len()), basis, cell, h, yardstick)
    }
}

/// The step of a cell's coefficients, from the counts' numerators and denominators and those of squared errors.
#[inline(never)]
pub(super) fn update_jointly<T: Real>(
    h: &mut [T],
    pull: &[T],
    push: &[T],
    squares: Squares<'_, T>,
    control: &Control<T>,
) {
    let [l1, l2, guard] = [control.l1, control.l2, control.guard].map(T::wide);
    for (k, h) in h.iter_mut().enumerate() {
        let old = h.wide();
        // Zero stays zero, also where a cell has no rate and what pulls is infinite.
        if old == 0.0 {
            continue;
        }
        let constant = pull[k].wide();
        let linear = push[k].wide() + l1 - squares.pull[k].wide() + guard;
        let quadratic = squares.push[k].wide() + l2 * old;
        let new = T::of(old * positive_root(quadratic, linear, constant, guard));
        *h = floored(new, *h, pull[k] + squares.pull[k], control.floor);
    }
}

/// The positive root of `a t² + b t − c`, for `a, c ≥ 0`; what is divided by is no smaller than `guard`.
fn positive_root(a: f64, b: f64, c: f64, guard: f64) -> f64 {
    // The quotient of a count and a rate of zero is next to infinite, and so is a square.
    let root = b.hypot(2.0 * a.sqrt() * c.sqrt());
    // Of the two forms the one that subtracts nothing. NaN stays NaN.
    if b > 0.0 {
        2.0 * c / (b + root)
    } else {
        (root - b) / (2.0 * a + guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_root_is_one_and_has_both_steps_as_limits(
            a in 1e-3..1e3_f64, b in -1e3..1e3_f64, c in 1e-3..1e3_f64,
        ) {
            let t = positive_root(a, b, c, 0.0);
            prop_assert!(t > 0.0 && (a * t * t + b * t - c).abs() <= 1e-9 * (c + b.abs() * t));
            let (p, q) = (c, a);
            // Counts alone, and squares alone.
            prop_assert!((positive_root(0.0, q, p, 0.0) - p / q).abs() <= 1e-12 * p / q);
            prop_assert!((positive_root(q, -p, 0.0, 0.0) - p / q).abs() <= 1e-12 * p / q);
        }
    }

    #[test]
    fn counts_come_first() {
        use LossKind::{Mse, Nb, Poisson, Zinb};
        let of = |mixture: &[LossKind]| family(mixture);
        assert_eq!(of(&[Poisson, Mse]).expect("in order"), Nb);
        assert_eq!(of(&[Nb, Poisson, Zinb, Mse, Mse]).expect("in order"), Zinb);
        for (mixture, why) in [
            (&[Mse, Mse][..], "without counts"),
            (&[Mse, Nb], "without counts"),
            (&[Nb, Mse, Poisson], "in another order"),
        ] {
            let error = of(mixture).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

//! How far the factors of a contrast go along their steps.
//!
//! The objective of a contrast, `f(W) = min D(X) − α · min D(Y)` with the minima over the coefficients, falls in the direction of a W step, as that
//! step knows the gradient. But the step is for the coefficients as they are, and the background's give way to it: what is taken out of a factor that the background uses is put
//! back once the background has let go of it. Passes of coordinate descent go all the way to the best loadings, and such a factor may go to and fro without an end. So
//! each factor whose step turns round goes a part of it only, and more again as long as its steps have one direction (the delta-bar-delta rule, Jacobs 1988, of
//! whole factors). Where W may come to rest is not changed by that. Multiplicative steps are short enough by themselves.

use crate::real::Real;

/// What the part is divided by where a step turns round, and multiplied by where it does not.
const SHRINKAGE: f64 = 2.0;
const GROWTH: f64 = 1.2;
/// From less it would take many sweeps to come back, and from nothing for ever.
const LEAST: f64 = 1e-3;
/// What a factor's loadings add up to grows by this in a step, at most. Where little of the target is left in a factor, hardly anything holds back what the contrast
/// pulls at, and coefficients would have to come after by any order of magnitude.
const MOST: f64 = 2.0;

/// What is known of the steps before.
pub struct StepLength<T> {
    /// The last whole steps, of all loadings; empty where there is none.
    last: Vec<T>,
    /// The part that each factor goes, from [`LEAST`] to 1.
    parts: Vec<f64>,
    /// The part that it went last.
    gone: Vec<f64>,
}

impl<T: Real> StepLength<T> {
    /// For that many factors, padded ones among them.
    pub fn new(factors: usize) -> Self {
        StepLength {
            last: Vec::new(),
            parts: vec![1.0; factors],
            gone: vec![1.0; factors],
        }
    }

    /// Shortens the steps from `w` to `next`.
    pub fn shorten(&mut self, w: &[T], next: &mut [T]) {
        let factors = self.parts.len();
        let first = self.last.is_empty();
        self.last.resize(w.len(), T::zero());
        let mut along = vec![0.0; factors];
        let mut sums = vec![[0.0; 2]; factors];
        let rows = w.chunks_exact(factors).zip(next.chunks_exact(factors));
        for ((w, next), last) in rows.zip(self.last.chunks_exact_mut(factors)) {
            for (k, last) in last.iter_mut().enumerate() {
                let step = next[k] - w[k];
                along[k] += step.wide() * last.wide();
                *last = step;
                sums[k][0] += w[k].wide();
                sums[k][1] += next[k].wide();
            }
        }
        if !first {
            for (part, along) in self.parts.iter_mut().zip(along) {
                *part = if along < 0.0 {
                    (*part / SHRINKAGE).max(LEAST)
                } else {
                    (*part * GROWTH).min(1.0)
                };
            }
        }
        for (k, [old, new]) in sums.into_iter().enumerate() {
            let most = (MOST - 1.0) * old / (new - old);
            let long = old > 0.0 && new > MOST * old;
            self.gone[k] = if long { most } else { 1.0 }.min(self.parts[k]);
        }
        for (w, next) in w.chunks_exact(factors).zip(next.chunks_exact_mut(factors)) {
            for ((w, next), &part) in w.iter().zip(next).zip(&self.gone) {
                if part < 1.0 {
                    *next = T::of(w.wide() + part * (next.wide() - w.wide()));
                }
            }
        }
    }

    /// Whether each factor goes all of its step.
    pub fn whole(&self) -> Vec<bool> {
        self.gone.iter().map(|&part| part == 1.0).collect()
    }

    /// Forgets the last steps, which other factors have made.
    pub fn forget(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_that_turns_round_goes_less_far_and_others_all_the_way() {
        let mut lengths = StepLength::new(2);
        let mut step = |to: [f64; 4]| {
            let mut next = to;
            lengths.shorten(&[1.0; 4], &mut next);
            next
        };
        assert_eq!(step([2.0, 2.0, 0.0, 2.0]), [2.0, 2.0, 0.0, 2.0]);
        assert_eq!(step([0.0, 2.0, 2.0, 2.0]), [0.5, 2.0, 1.5, 2.0]);
        // The whole steps are compared, not what was left of them.
        assert_eq!(step([0.0, 2.0, 2.0, 2.0]), [0.4, 2.0, 1.6, 2.0]);
        assert_eq!(step([2.0, 2.0, 0.0, 2.0]), [1.3, 2.0, 0.7, 2.0]);
        assert_eq!(lengths.whole(), [false, true]);
        lengths.forget();
        let mut next = [0.0, 0.0, 2.0, 0.0];
        lengths.shorten(&[1.0; 4], &mut next);
        assert_eq!(next, [0.7, 0.0, 1.3, 0.0]);
    }

    #[test]
    fn a_factor_doubles_at_most() {
        let mut lengths = StepLength::new(2);
        let mut next = [31.0, 2.0, 1.0, 1.0];
        lengths.shorten(&[1.0; 4], &mut next);
        assert_eq!(next, [3.0, 2.0, 1.0, 1.0]);
        assert_eq!(lengths.whole(), [false, true]);
    }

    #[test]
    fn without_a_step_nothing_is_shortened() {
        let mut lengths = StepLength::<f32>::new(1);
        for _ in 0..3 {
            let mut next = [1.0, 2.0];
            lengths.shorten(&[1.0, 2.0], &mut next);
            assert_eq!(next, [1.0, 2.0]);
        }
    }

    #[test]
    fn to_and_fro_comes_to_rest() {
        // A step that is three times too long.
        let mut lengths = StepLength::new(1);
        let mut w = [1.0_f64];
        for _ in 0..60 {
            let mut next = [w[0] - 3.0 * w[0]];
            lengths.shorten(&w, &mut next);
            w = next;
        }
        assert!(w[0].abs() < 1e-9);
    }
}

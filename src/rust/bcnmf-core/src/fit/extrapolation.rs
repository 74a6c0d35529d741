//! Acceleration: between sweeps W goes on in the direction of its last step, and the next pass finds the coefficients there.
//!
//! Extrapolation of alternating updates with a restart where the objective rises (Ang & Gillis 2019, Algorithm 3, of W alone):
//! several H steps a sweep bring H near its best response, so that a sweep is one step of a descent in W, which momentum speeds up.
//! Multiplicative steps are extrapolated in the logarithms of the loadings, where they are additive; coordinate descent in the loadings.
//! Steps themselves stay as they are, and go downhill from where they start. The model is always what a step has led to.

use crate::real::Real;

/// How far the first extrapolation goes, in steps.
const FIRST: f64 = 0.5;
/// What that is multiplied by as long as the objective falls, and divided by where it rises.
const GROWTH: f64 = 1.1;
const SHRINKAGE: f64 = 2.0;
/// Beyond where the objective rose last it goes with hesitation, and never further than this.
const HESITATION: f64 = 1.05;
const FARTHEST: f64 = 1.5;
/// No loading is multiplied or divided by more: early steps are long.
const MOST: f64 = 4.0;

/// What is known of the sweeps before.
pub struct Extrapolation<T> {
    /// Where the last W step led to, if W has gone on from there.
    stepped: Vec<T>,
    /// The objective where the last pass began.
    objective: f64,
    rate: f64,
    most: f64,
}

impl<T: Real> Extrapolation<T> {
    pub fn new() -> Self {
        Extrapolation {
            stepped: Vec::new(),
            objective: f64::INFINITY,
            rate: FIRST,
            most: FARTHEST,
        }
    }

    /// The loadings of the model, when W is where it has gone on to.
    pub fn model<'w>(&'w self, w: &'w [T]) -> &'w [T] {
        if self.stepped.is_empty() {
            w
        } else {
            &self.stepped
        }
    }

    /// Goes on from the loadings `w`, to which a step has led from `from`, unless the objective has risen; it was `objective` at `from`. The first
    /// `multiplicative` loadings had multiplicative steps. `goes`: which factors go on.
    pub fn go_on(
        &mut self,
        from: &[T],
        w: &mut [T],
        multiplicative: usize,
        goes: &[bool],
        objective: f64,
    ) {
        let last = std::mem::replace(&mut self.objective, objective);
        if last == f64::INFINITY {
            return;
        }
        // NaN has not.
        let fell = objective <= last;
        if !fell {
            self.stepped.clear();
            self.most = self.rate;
            self.rate /= SHRINKAGE;
            return;
        }
        if self.stepped.is_empty() {
            self.stepped.extend_from_slice(from);
        }
        for (at, (w, stepped)) in w.iter_mut().zip(&mut self.stepped).enumerate() {
            let (new, old) = (w.wide(), stepped.wide());
            *stepped = *w;
            if new > 0.0 && old > 0.0 && goes[at % goes.len()] {
                let further = if at < multiplicative {
                    new * (new / old).powf(self.rate)
                } else {
                    new + self.rate * (new - old)
                };
                let further = T::of(further.clamp(new / MOST, new * MOST));
                // What is not zero does not become so.
                *w = further.max(T::FLOOR.min(*w));
            }
        }
        self.most = (self.most * HESITATION).min(FARTHEST);
        self.rate = (self.rate * GROWTH).min(self.most);
    }

    /// Forgets the direction.
    pub fn stop(&mut self) {
        self.stepped.clear();
        self.objective = f64::INFINITY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three sweeps towards `to`, with these objectives.
    fn third(objectives: [f64; 3], multiplicative: usize) -> (Vec<f64>, Extrapolation<f64>) {
        let mut extrapolation = Extrapolation::new();
        let steps = [
            [1.0, 1.0, 0.0],
            [0.8, 1.2, 0.0],
            [0.7, 1.3, 0.0],
            [0.6, 1.4, 0.0],
        ];
        let mut w = vec![0.0; 3];
        let mut from = steps[0].to_vec();
        for (step, objective) in steps[1..].iter().zip(objectives) {
            w.copy_from_slice(step);
            extrapolation.go_on(&from, &mut w, multiplicative, &[true; 3], objective);
            from.copy_from_slice(&w);
        }
        (w, extrapolation)
    }

    #[test]
    fn it_goes_on_in_the_direction_of_the_last_step() {
        let rate = FIRST * GROWTH;
        let (w, extrapolation) = third([3.0, 2.0, 1.0], 0);
        assert!((w[0] - (0.6 - 0.1 * rate)).abs() < 1e-12);
        assert!((w[1] - (1.4 + 0.1 * rate)).abs() < 1e-12);
        assert_eq!(extrapolation.model(&w), [0.6, 1.4, 0.0]);
        let (w, extrapolation) = third([3.0, 2.0, 1.0], 3);
        assert!((w[0] - 0.6 * (0.6_f64 / 0.7).powf(rate)).abs() < 1e-12);
        assert_eq!(w[2], 0.0);
        assert_eq!(extrapolation.model(&w), [0.6, 1.4, 0.0]);
    }

    #[test]
    fn where_the_objective_rises_it_stays_and_is_careful() {
        for last in [2.5, f64::NAN] {
            let (w, extrapolation) = third([3.0, 2.0, last], 3);
            assert_eq!(w, [0.6, 1.4, 0.0]);
            assert_eq!(extrapolation.model(&w), w);
            assert_eq!(extrapolation.rate, FIRST * GROWTH / SHRINKAGE);
            assert_eq!(extrapolation.most, FIRST * GROWTH);
        }
    }

    #[test]
    fn factors_that_are_to_stay_stay() {
        let mut extrapolation = Extrapolation::new();
        let mut w = vec![0.5; 4];
        extrapolation.go_on(&[0.4; 4], &mut w, 0, &[true, false], 2.0);
        let mut w = vec![0.6; 4];
        extrapolation.go_on(&[0.5; 4], &mut w, 0, &[true, false], 1.0);
        assert!(w[0] > 0.6 && w[2] > 0.6);
        assert_eq!([w[1], w[3]], [0.6; 2]);
    }

    #[test]
    fn nothing_becomes_zero_or_runs_away() {
        for multiplicative in [0, 2] {
            let mut extrapolation = Extrapolation::<f32>::new();
            let mut w = vec![0.5, 0.5];
            extrapolation.go_on(&[0.5, 0.5], &mut w, multiplicative, &[true], 2.0);
            let mut w = vec![1e-18, 1e3];
            extrapolation.go_on(&[0.5, 1e-9], &mut w, multiplicative, &[true], 1.0);
            assert_eq!(w[0], 1e-18);
            assert!(w[1] <= 4e3);
        }
    }
}

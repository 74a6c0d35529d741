//! The probabilities of dropout in a fit of zero-inflated counts: where they start, and how they move.

use super::params::{Dropout, Per, within};
use crate::Result;
use crate::loss::zinb::{PRIOR, log_odds, odds_of, prior, probability};
use crate::real::{Real, count};

/// Where probabilities of features and cells start: so low that the objective hardly rises. From there those of features climb as the sizes move; what is left to expectation-maximisation
/// alone would take long.
const START: [f64; 2] = [0.01, 0.05];

/// They climb up to here.
const LOW: f64 = 0.05;

/// The logarithm of the odds does not move by more than this at a time, where it moves with that of the size.
const MOST: f64 = 1.0;

/// As long as probabilities move by more than this in the mean, a fit does not end.
const RESTLESS: f64 = 2e-3;

/// The logarithms of the odds that counts are lost.
#[derive(Clone, Debug)]
pub(super) struct Odds<T> {
    dropout: Dropout,
    /// How many features or cells have odds in each set.
    lengths: Vec<usize>,
    /// Features of which nothing is ever lost, as their losses know no dropout; empty where all do.
    certain: Vec<bool>,
    /// Features (one set that stands for both, or two) or cells of target and background; empty before they begin.
    sets: Vec<Vec<T>>,
    /// How much the probabilities moved in the last sweep: means of each set, added up.
    moved: f64,
}

impl<T: Real> Odds<T> {
    /// None yet, for sets of so many features or cells.
    ///
    /// # Errors
    /// Probabilities that are given and wrong.
    pub fn new(dropout: Dropout, lengths: Vec<usize>, certain: Vec<bool>) -> Result<Self> {
        let name = "probability of dropout";
        for (given, &length) in dropout.probability.iter().zip(&lengths) {
            if given.is_empty() {
                continue;
            }
            within(name, given.len(), given.len() == length, || {
                format!("{length} numbers, one for each feature or cell")
            })?;
            for p in given {
                within(name, p, (0.0..1.0).contains(p), || {
                    "at least 0 and below 1".into()
                })?;
            }
        }
        Ok(Odds {
            dropout,
            lengths,
            certain,
            sets: Vec::new(),
            moved: f64::INFINITY,
        })
    }

    /// Lets them begin.
    pub fn begin(&mut self) {
        let given = self.dropout.probability.iter();
        let start = START[self.dropout.per as usize];
        let start = given.zip(&self.lengths).map(|(given, &length)| {
            if given.is_empty() {
                vec![T::of(odds_of(start)); length]
            } else {
                given.iter().map(|p| T::of(odds_of(*p))).collect()
            }
        });
        self.sets = start.collect();
        if self.per() == Per::Feature {
            for set in &mut self.sets {
                let certain = self
                    .certain
                    .iter()
                    .zip(set)
                    .filter(|(certain, _)| **certain);
                certain.for_each(|(_, odds)| *odds = T::neg_infinity());
            }
        }
    }

    /// Which features are never lost; empty where all can be.
    pub fn certain(&self) -> &[bool] {
        &self.certain
    }

    /// Whether a feature is never lost.
    pub fn is_certain(&self, feature: usize) -> bool {
        self.certain.get(feature) == Some(&true)
    }

    /// Whether they have begun.
    pub fn begun(&self) -> bool {
        !self.sets.is_empty()
    }

    /// What has a probability of its own.
    pub fn per(&self) -> Per {
        self.dropout.per
    }

    /// Whether they are estimated.
    pub fn moves(&self) -> bool {
        !self.dropout.fixed
    }

    /// Whether a fit may end.
    pub fn settled(&self) -> bool {
        !self.moves() || self.moved <= RESTLESS
    }

    /// Those of a set, where they are of these items; empty otherwise.
    pub fn of(&self, per: Per, set: usize) -> &[T] {
        let found = self.sets.get(set).or(match per {
            Per::Feature => self.sets.first(),
            Per::Cell => None,
        });
        found
            .filter(|_| per == self.per())
            .map_or(&[], Vec::as_slice)
    }

    /// The probabilities, set by set.
    pub fn probabilities(&self) -> Vec<Vec<f64>> {
        let of = |set: &Vec<T>| set.iter().map(|odds| probability(odds.wide())).collect();
        self.sets.iter().map(of).collect()
    }

    /// What the prior adds to the objective of a set of features, in the counts' own unit; cells have theirs among their sums.
    /// Features count as often as `weight` says, empty where all count once.
    pub fn prior(&self, set: usize, weight: &[f64]) -> f64 {
        if self.per() == Per::Cell {
            return 0.0;
        }
        let odds = self.sets.get(set).into_iter().flatten().enumerate();
        odds.map(|(i, odds)| count(weight, i) * prior(odds.wide()))
            .sum()
    }

    /// Takes those of a set's cells that come out of a pass, for the cells in this order, if they are not in their own.
    pub fn take_cells(&mut self, set: usize, next: &[T], order: Option<&[u32]>) {
        let Some(odds) = self.sets.get_mut(set).filter(|_| !self.dropout.fixed) else {
            return;
        };
        let (mut moved, mut number) = (0.0, 0);
        for (place, &next) in next.iter().enumerate() {
            let cell = order.map_or(place, |order| order[place] as usize);
            moved += (probability(next.wide()) - probability(odds[cell].wide())).abs();
            number += 1;
            odds[cell] = next;
        }
        self.moved += moved / f64::from(number.max(1));
    }

    /// Begins to add up by how much they move.
    pub fn begin_step(&mut self) {
        self.moved = 0.0;
    }

    /// Moves those of a feature: by a step of Newton's method, up where they are low and the likelihood rises (if they may climb), or to where the posterior
    /// probabilities say (EM). `sums`: those of [`crate::stats::WStats::dropout`].
    pub fn step(
        &mut self,
        set: usize,
        feature: usize,
        sums: [f64; 4],
        newton: Option<f64>,
        climbs: bool,
    ) {
        let number = self.sets[set].len() as f64;
        let climbs = climbs && self.slopes(set, feature, sums)[0] > 0.0;
        let odds = &mut self.sets[set][feature];
        let old = probability(odds.wide());
        *odds = T::of(match newton {
            Some(step) => odds.wide() + step,
            None if climbs && old < LOW => odds.wide() + MOST,
            None => log_odds(sums[0], sums[3]),
        });
        self.moved += (probability(odds.wide()) - old).abs() / number;
    }

    /// First and second derivative of a feature's log-likelihood, and of the prior's logarithm, by the logarithm of the odds.
    pub fn slopes(
        &self,
        set: usize,
        feature: usize,
        [lost, unsure, _, entries]: [f64; 4],
    ) -> [f64; 2] {
        let p = probability(self.sets[set][feature].wide());
        let all = entries + PRIOR;
        [lost - all * p, unsure - all * p * (1.0 - p)]
    }
}

/// One step of Newton's method for the logarithms of a feature's size and odds at once: small sizes and dropout explain the same zeros, and one at a time they would
/// go the length of a ridge in small steps. `None` where the likelihood is not concave in both.
///
/// First and second derivatives by the size, the same by the `odds`, and the `mixed` second one; the size's logarithm does not move by more than `most`. Where the size is to shrink, the step is taken for `1/r`, as for the size alone.
pub(super) fn joint_step(
    [slope, curvature]: [f64; 2],
    odds: [f64; 2],
    mixed: f64,
    most: f64,
) -> Option<[f64; 2]> {
    let shrinks = slope < 0.0;
    let (slope, curvature, mixed) = if shrinks {
        (-slope, curvature + slope, -mixed)
    } else {
        (slope, curvature, mixed)
    };
    let determinant = curvature * odds[1] - mixed * mixed;
    // Nearly singular is as good as that.
    let concave = curvature < 0.0 && odds[1] < 0.0 && determinant > 1e-6 * curvature * odds[1];
    if !concave {
        return None;
    }
    let by_size = (mixed * odds[0] - odds[1] * slope) / determinant;
    let by_odds = (mixed * slope - curvature * odds[0]) / determinant;
    let by_size = match shrinks {
        true if by_size <= -1.0 => return None,
        true => -by_size.ln_1p(),
        false => by_size,
    };
    let down = (by_size.abs() / most).max(by_odds.abs() / MOST).max(1.0);
    Some([by_size / down, by_odds / down])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Of a quadratic it is the step to the top, for the size's own logarithm.
        #[test]
        fn a_small_joint_step_ends_at_the_top(
            a in 0.5..5.0_f64, c in 0.5..5.0_f64, share in -0.9..0.9_f64, x in 0.001..0.1_f64, y in -0.1..0.1_f64,
        ) {
            let mixed = share * (a * c).sqrt();
            // f = −(a u² − 2 m u v + c v²)/2 around the top, at the distance −(x, y).
            let slopes = [a * x - mixed * y, c * y - mixed * x];
            prop_assume!(slopes[0] > 0.0);
            let step = joint_step([slopes[0], -a], [slopes[1], -c], mixed, 2.0).expect("concave");
            prop_assert!((step[0] - x).abs() < 1e-9 && (step[1] - y).abs() < 1e-9);
        }
    }

    #[test]
    fn no_joint_step_where_there_is_no_top() {
        assert!(joint_step([1.0, 1.0], [1.0, -1.0], 0.0, 2.0).is_none());
        assert!(joint_step([1.0, -1.0], [1.0, -1.0], 1.0, 2.0).is_none());
        let far = joint_step([100.0, -1.0], [1.0, -1.0], 0.0, 2.0).expect("concave");
        assert!((far[0] - 2.0).abs() < 1e-12 && (far[1] - 0.02).abs() < 1e-12);
    }
}

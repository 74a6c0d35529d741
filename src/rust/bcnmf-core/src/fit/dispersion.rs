//! The features' sizes in a fit of negative binomial counts, and their odds of dropout where these are zero-inflated: where they start, when they move, and what
//! hangs on them.

use super::dropout::{Odds, joint_step};
use super::params::{FitParams, Update, within};
use super::{By, Dispersion, Dropout, Per, Problem};
use crate::Result;
use crate::loss::{Dispersed, LossKind};
use crate::matrix::Matrix;
use crate::real::{Real, count};
use crate::stats::WStats;

/// The range of sizes. From the upper end on a feature is taken to be Poisson, with an infinite size.
pub const SIZES: [f64; 2] = [1e-3, 1e6];

/// Sweeps that a fit from scratch takes as if all were Poisson, or a third of all if these are few: they cost a fraction, and save as
/// many of the others.
const HEAD: usize = 30;

/// Of the upper end, where estimates begin.
const NEARLY: f64 = 0.999;

/// Sweeps between two estimates: derivatives by the sizes cost half a sweep.
const EVERY: usize = 5;

/// As long as the logarithms of the sizes move by more than this in the mean, they do so in every sweep, and a fit does not end.
const RESTLESS: f64 = 0.05;

/// The logarithm of a size does not move by more than this at a time, but for the first time.
const MOST: f64 = 2.0;

/// The sizes of a fit. Empty with other losses.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes<T> {
    dispersion: Dispersion,
    /// Of one set that stands for both, or of target and background.
    sets: Vec<Set<T>>,
    unit: f64,
    /// How often features count in what they share; empty where all count once.
    feature_weight: Vec<f64>,
    /// What the background counts where both sets have the same sizes: as in what W has to explain.
    weight: f64,
    /// Whether a feature whose size reaches the end becomes Poisson: not where records outlive a sweep, which are of the features
    /// that were dispersed then, nor where zeros are looked at for dropout anyway.
    limit: bool,
    /// Whether derivatives are recorded in every sweep.
    always: bool,
    /// Of dropout, with zero-inflated counts.
    odds: Option<Odds<T>>,
    /// Features that have no size, as their losses have none; empty where all have one.
    sizeless: Vec<bool>,
    /// Sweeps to take before sizes are estimated from scratch.
    head: Option<usize>,
    /// Sweeps before they began to move, and estimates since.
    begun: usize,
    estimates: usize,
    /// How much the logarithms moved in the last one, in the mean.
    moved: f64,
    /// What is to be taken off the divergences of target and background, if it is known for these sizes.
    excess: Option<[f64; 2]>,
}

/// The sizes of a set's features.
#[derive(Clone, Debug, Default)]
struct Set<T> {
    /// In the data's own units.
    size: Vec<f64>,
    scaled: Vec<T>,
    features: Vec<u32>,
    rows: Vec<T>,
    sums: Vec<T>,
    ambient: T,
}

impl<T: Real> Sizes<T> {
    /// Sizes of a fit; `fresh` where its coefficients are made up.
    ///
    /// # Errors
    /// Sizes that are given and wrong.
    pub fn new(problem: &Problem<'_>, params: &FitParams, fresh: bool, unit: f64) -> Result<Self> {
        if !params.loss.has_sizes() {
            return Ok(Sizes::default());
        }
        let dispersion = params.dispersion.clone();
        let (rows, given) = (problem.target.rows(), &params.dispersion.size);
        let shared = dispersion.shared || problem.background.is_none();
        let sets = if shared { 1 } else { 2 };
        let scratch = given[0].is_empty();
        let possible = !scratch || dispersion.by != By::Fixed;
        within("size", "none", possible, || {
            "given where it is fixed".into()
        })?;
        let start = if scratch {
            vec![vec![f64::INFINITY; rows]; sets]
        } else {
            given[..sets].to_vec()
        };
        start.iter().try_for_each(|size| check(size, rows))?;
        let dropout = (params.loss == LossKind::Zinb).then(|| params.dropout.clone());
        let with_odds = match params.dropout.per {
            Per::Feature => vec![rows; sets],
            Per::Cell => problem
                .sets()
                .into_iter()
                .flatten()
                .map(Matrix::columns)
                .collect(),
        };
        let mut sizes = Self::from(
            start,
            dispersion,
            dropout,
            with_odds,
            unit,
            &problem.mixture,
        )?;
        sizes.weight = params.weight.max(0.0);
        sizes.feature_weight.clone_from(&problem.weights.features);
        let online = params
            .batches
            .is_some_and(|batches| batches.update == Update::Batch);
        sizes.limit &= !online;
        sizes.always |= online;
        if scratch {
            let head = if fresh { HEAD.min(params.maxit / 3) } else { 0 };
            sizes.head = Some(if online { 0 } else { head });
            sizes.begin(0);
        } else {
            sizes.begin_odds();
        }
        Ok(sizes)
    }

    /// Sizes that are given for good, and dropout of so many features or cells.
    ///
    /// # Errors
    /// If sizes are not above 0, or not one a feature; wrong probabilities.
    pub fn fixed(
        size: Vec<f64>,
        dropout: Option<Dropout>,
        [rows, cells]: [usize; 2],
        unit: f64,
        mixture: &[LossKind],
    ) -> Result<Self> {
        check(&size, rows)?;
        let dispersion = Dispersion {
            by: By::Fixed,
            ..Dispersion::default()
        };
        let per = dropout.as_ref().map_or(Per::Feature, |dropout| dropout.per);
        let with_odds = match per {
            Per::Feature => vec![rows],
            Per::Cell => vec![cells],
        };
        let mut sizes = Self::from(vec![size], dispersion, dropout, with_odds, unit, mixture)?;
        sizes.begin_odds();
        Ok(sizes)
    }

    fn from(
        start: Vec<Vec<f64>>,
        dispersion: Dispersion,
        dropout: Option<Dropout>,
        with_odds: Vec<usize>,
        unit: f64,
        mixture: &[LossKind],
    ) -> Result<Self> {
        let certain = mixture.iter().map(|loss| *loss != LossKind::Zinb);
        let odds = dropout
            .map(|dropout| Odds::new(dropout, with_odds, certain.collect()))
            .transpose()?;
        let sets = start.into_iter().map(|size| Set {
            size,
            ..Set::default()
        });
        let mut sizes = Sizes {
            sets: sets.collect(),
            unit,
            limit: odds.is_none(),
            // Expectation-maximisation, which takes its time.
            always: dispersion.by == By::Fixed
                && odds.as_ref().is_some_and(|odds| odds.per() == Per::Feature),
            odds,
            dispersion,
            sizeless: mixture.iter().map(|loss| !loss.has_sizes()).collect(),
            ..Sizes::default()
        };
        sizes.settle();
        Ok(sizes)
    }

    fn begin_odds(&mut self) {
        if let Some(odds) = &mut self.odds {
            odds.begin();
            self.settle();
        }
    }

    fn moves(&self) -> bool {
        !self.sets.is_empty() && self.dispersion.by != By::Fixed
    }

    /// Whether the sweep after so many is to record the derivatives.
    pub fn wants(&self, sweeps: usize) -> bool {
        let since = sweeps.saturating_sub(self.begun);
        let time = since.is_multiple_of(EVERY) || !self.settled();
        let by_feature = self.odds.as_ref().filter(|odds| odds.per() == Per::Feature);
        let moves = self.moves() || by_feature.is_some_and(Odds::moves);
        moves && self.head.is_none() && (time || self.always)
    }

    /// Whether a fit may end.
    pub fn settled(&self) -> bool {
        let odds = self.odds.as_ref().is_none_or(Odds::settled);
        odds && (!self.moves() || (self.estimates > 1 && self.moved <= RESTLESS))
    }

    /// The odds of dropout; `None` with losses that have none.
    pub fn odds(&self) -> Option<&Odds<T>> {
        self.odds.as_ref()
    }

    /// Their logarithms for the cells of target and background; empty where cells have none.
    pub fn odds_of_cells(&self) -> [&[T]; 2] {
        let odds = self.odds.as_ref();
        [0, 1].map(|set| odds.map_or(&[][..], |odds| odds.of(Per::Cell, set)))
    }

    /// The odds of dropout, to be moved.
    pub fn odds_mut(&mut self) -> Option<&mut Odds<T>> {
        self.odds.as_mut()
    }

    /// What is to be taken off the divergences, if it is known.
    pub fn excess(&self) -> Option<[f64; 2]> {
        if self.sets.is_empty() {
            Some([0.0; 2])
        } else {
            self.excess
        }
    }

    /// Notes it.
    pub fn know(&mut self, excess: [f64; 2]) {
        self.excess = Some(excess);
    }

    /// The sizes in the data's own units, of target and background where these differ.
    pub fn sizes(&self) -> Vec<Vec<f64>> {
        // Where zeros are looked at anyway, what is taken for Poisson has a finite size.
        let told = |size: &f64| {
            if *size >= SIZES[1] {
                f64::INFINITY
            } else {
                *size
            }
        };
        let of = |set: &Set<T>| set.size.iter().map(told).collect();
        self.sets.iter().map(of).collect()
    }

    /// The scaled sizes of each set; empty with other losses.
    pub fn scaled(&self) -> [&[T]; 2] {
        [0, 1].map(|set| self.of(set).map_or(&[][..], |set| &set.scaled))
    }

    /// What a pass needs of each set.
    pub fn view(&self) -> [Dispersed<'_, T>; 2] {
        [0, 1].map(|at| match self.of(at) {
            None => Dispersed::default(),
            Some(set) => Dispersed {
                size: &set.scaled,
                features: &set.features,
                rows: &set.rows,
                sums: &set.sums,
                ambient: set.ambient,
                log_odds: self
                    .odds
                    .as_ref()
                    .map_or(&[], |odds| odds.of(Per::Feature, at)),
                certain: self.odds.as_ref().map_or(&[], Odds::certain),
                unit: self.unit,
            },
        })
    }

    fn of(&self, set: usize) -> Option<&Set<T>> {
        self.sets.get(set).or(self.sets.first())
    }

    /// Takes what is derived from a new W; `weight` and `profile`: of the features, each may be empty.
    pub fn share(&mut self, w: &[T], factors: usize, weight: &[T], profile: &[T]) {
        for set in &mut self.sets {
            let mut sums = vec![0.0; factors];
            let mut ambient = 0.0;
            set.rows.clear();
            for (i, (row, size)) in w.chunks_exact(factors).zip(&set.scaled).enumerate() {
                if size.is_finite() {
                    set.rows.extend_from_slice(row);
                } else {
                    let weight = count(weight, i).wide();
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, w)| *sum += weight * w.wide());
                    ambient += weight * profile.get(i).map_or(0.0, |share| share.wide());
                }
            }
            set.sums = sums.into_iter().map(T::of).collect();
            set.ambient = T::of(ambient);
        }
    }

    /// Ends the head start, if it is over after so many sweeps: all features are next to Poisson then, where the
    /// likelihood tells which of them are not.
    pub fn begin(&mut self, sweeps: usize) {
        if self.head.take_if(|head| *head <= sweeps).is_some() {
            for set in &mut self.sets {
                for (i, size) in set.size.iter_mut().enumerate() {
                    if self.sizeless.get(i) != Some(&true) {
                        *size = NEARLY * SIZES[1];
                    }
                }
            }
            self.excess = None;
            self.begun = sweeps;
            self.settle();
            // Zeros that dropout explains are no dispersion.
            self.begin_odds();
        }
    }

    /// One step of Newton's method for each size, and odds of dropout with it, from the derivatives of the log-likelihood by their logarithms that the
    /// records have summed.
    pub fn estimate(&mut self, records: [&[&WStats<T>]; 2]) {
        // A background counts where both sets have the same sizes.
        let other = (self.sets.len() == 1 && self.weight > 0.0).then_some(self.weight);
        let sizes = |at, i: usize| sum(records, at, other, |record| record.sizes[i]);
        let dropout = |at, i: usize| sum(records, at, other, |record| record.dropout[i]);
        let by = self.dispersion.by;
        let most = if self.estimates == 0 {
            f64::INFINITY
        } else {
            MOST
        };
        let odds = self.odds.as_mut();
        let mut odds = odds.filter(|odds| odds.per() == Per::Feature && odds.moves());
        if let Some(odds) = &mut odds {
            odds.begin_step();
        }
        let (mut moved, mut number) = (0.0, 0);
        for (at, set) in self.sets.iter_mut().enumerate() {
            let global = (by == By::Global).then(|| {
                let features = set.features.iter().map(|&i| i as usize);
                let weight = |i: usize| count(&self.feature_weight, i);
                let sums = features.fold([0.0; 2], |sum, i| add(sum, sizes(at, i), weight(i)));
                newton(sums, most)
            });
            for &i in &set.features {
                let i = i as usize;
                let mut joint = None;
                if let Some(odds) = odds.as_mut().filter(|odds| !odds.is_certain(i)) {
                    let sums = dropout(at, i);
                    if by == By::Feature && self.estimates > 0 {
                        joint = joint_step(sizes(at, i), odds.slopes(at, i, sums), sums[2], MOST);
                    }
                    let climbs = by == By::Feature;
                    odds.step(at, i, sums, joint.map(|[_, step]| step), climbs);
                }
                let step = match by {
                    By::Fixed => continue,
                    By::Global => global.unwrap_or_default(),
                    By::Feature => {
                        joint.map_or_else(|| newton(sizes(at, i), most), |[step, _]| step)
                    }
                };
                let old = set.size[i];
                set.size[i] = old * step.exp();
                // What pushes against an end does not move.
                let new = set.size[i].clamp(SIZES[0], SIZES[1]);
                moved += (new / old).ln().abs().min(MOST);
                number += 1;
            }
        }
        self.estimates += 1;
        self.moved = moved / f64::from(number.max(1));
        if by != By::Fixed {
            self.excess = None;
            self.settle();
        }
    }

    /// Brings the sizes into their range, and what hangs on them up to date.
    fn settle(&mut self) {
        let [least, most] = SIZES;
        for set in &mut self.sets {
            for (i, size) in set.size.iter_mut().enumerate() {
                if self.sizeless.get(i) == Some(&true) || (self.limit && *size >= most) {
                    *size = f64::INFINITY;
                } else if size.is_finite() || self.odds.as_ref().is_some_and(Odds::begun) {
                    *size = size.clamp(least, most);
                }
            }
            // In tiny units sizes are huge, and have to stay finite: features are Poisson long before.
            let huge = T::CEILING.wide().powi(2);
            let scaled = |size: &f64| {
                let scaled = size / self.unit;
                T::of(if size.is_finite() {
                    scaled.min(huge)
                } else {
                    scaled
                })
            };
            set.scaled = set.size.iter().map(scaled).collect();
            let dispersed = set
                .size
                .iter()
                .zip(0..)
                .filter(|(size, _)| size.is_finite());
            set.features = dispersed.map(|(_, i)| i).collect();
        }
    }
}

fn add<const N: usize>(mut a: [f64; N], b: [f64; N], weight: f64) -> [f64; N] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += weight * b);
    a
}

/// The sum of a part over the records of a set, and over those of the background, where it counts, by its weight.
fn sum<T, const N: usize>(
    records: [&[&WStats<T>]; 2],
    set: usize,
    other: Option<f64>,
    of: impl Fn(&WStats<T>) -> [f64; N],
) -> [f64; N] {
    let all = |set: usize| {
        let parts = records[set].iter().map(|record| of(record));
        parts.fold([0.0; N], |sum, part| add(sum, part, 1.0))
    };
    match other {
        Some(weight) => add(all(0), all(1), weight),
        None => all(set),
    }
}

fn check(size: &[f64], rows: usize) -> Result<()> {
    for size in size {
        within("size", size, *size > 0.0, || "above 0".into())?;
    }
    within("number of sizes", size.len(), size.len() == rows, || {
        format!("{rows}, one a feature")
    })
}

/// The step of a size's logarithm where the log-likelihood has this slope and curvature by it.
///
/// The likelihood is steep on the side of small dispersions `1/r` and flat on that of large ones. So Newton's method stops short of
/// the maximum if it is taken for the dispersion where that is too small, and for the logarithm of the size where that
/// is too small.
fn newton([slope, curvature]: [f64; 2], most: f64) -> f64 {
    if slope == 0.0 || slope.is_nan() || curvature.is_nan() {
        return 0.0;
    }
    if slope > 0.0 {
        let step = if curvature < 0.0 {
            -slope / curvature
        } else {
            MOST
        };
        return step.min(MOST);
    }
    // The second derivative by the dispersion, times its square.
    let curvature = curvature + slope;
    let step = if curvature < 0.0 {
        -(slope / curvature).ln_1p()
    } else {
        -MOST
    };
    step.max(-most)
}

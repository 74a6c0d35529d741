//! Random data and parameters, drawn from a few numbers that proptest can print and shrink.

use super::{Sparse, dense, factors, finish};
use bcnmf_core::fit::{
    By, Dispersion, Dropout, Factors, FitParams, FullBatch, Penalty, Per, Problem, Steps, Weights,
};
use bcnmf_core::matrix::{HoldOut, Missing};
use bcnmf_core::real::Real;
use bcnmf_core::{LossKind, Matrix, Start};
use ndarray::{Array2, ShapeBuilder};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Open01};

/// A target and a background that own their values, dense and sparse.
pub struct Data {
    pub x: Array2<f64>,
    pub y: Option<Array2<f64>>,
    pub missing: Missing,
    pub weights: Weights,
    /// The loss of each feature, where they differ.
    pub mixture: Vec<LossKind>,
    slots: (Sparse, Option<Sparse>),
}

impl Data {
    pub fn new(x: Array2<f64>, y: Option<Array2<f64>>) -> Self {
        let slots = (Sparse::from_dense(&x), y.as_ref().map(Sparse::from_dense));
        Data {
            x,
            y,
            missing: Missing::None,
            weights: Weights::default(),
            mixture: Vec::new(),
            slots,
        }
    }

    pub fn with_missing(self, missing: Missing) -> Self {
        Data { missing, ..self }
    }

    pub fn with_weights(self, weights: Weights) -> Self {
        Data { weights, ..self }
    }

    pub fn with_mixture(self, mixture: Vec<LossKind>) -> Self {
        Data { mixture, ..self }
    }

    /// The loss of a feature in fits with this loss.
    pub fn loss_of(&self, feature: usize, all: LossKind) -> LossKind {
        self.mixture.get(feature).copied().unwrap_or(all)
    }

    /// Whether every feature and cell has a positive entry that is known.
    pub fn is_seen(&self) -> bool {
        let sets = [Some(&self.x), self.y.as_ref()];
        sets.into_iter().flatten().all(|x| {
            let seen = |values: ndarray::ArrayView1<'_, f64>| values.iter().any(|x| *x > 0.0);
            x.rows().into_iter().all(seen) && x.columns().into_iter().all(seen)
        })
    }

    pub fn scaled(&self, c: f64) -> Self {
        let scale = |x: &Array2<f64>| x.mapv(|x| x * c);
        self.like(scale(&self.x), self.y.as_ref().map(scale))
    }

    pub fn without_background(&self) -> Self {
        let mut alone = self.like(self.x.clone(), None);
        alone.weights.cells[1].clear();
        alone
    }

    /// Other data of the same kind.
    pub fn like(&self, x: Array2<f64>, y: Option<Array2<f64>>) -> Self {
        Data::new(x, y)
            .with_missing(self.missing)
            .with_weights(self.weights.clone())
            .with_mixture(self.mixture.clone())
    }

    pub fn matrices(&self, sparse: bool) -> (Matrix<'_>, Option<Matrix<'_>>) {
        let (x, y) = if sparse {
            (self.slots.0.view(), self.slots.1.as_ref().map(Sparse::view))
        } else {
            (dense(&self.x), self.y.as_ref().map(dense))
        };
        match y {
            None => (x.with_missing(self.missing), None),
            Some(y) => (
                x.with_missing(self.missing),
                Some(y.with_missing(self.missing)),
            ),
        }
    }

    pub fn problem(&self, sparse: bool) -> Problem<'_> {
        let (x, y) = self.matrices(sparse);
        let problem = Problem::weighted(x, y, self.weights.clone()).expect("valid data");
        problem
            .with_mixture(self.mixture.clone())
            .expect("in order")
    }

    /// Runs a fit to its end.
    pub fn fit<T: Real>(
        &self,
        sparse: bool,
        params: &FitParams,
        start: &Start,
    ) -> FullBatch<'_, T> {
        finish(self.problem(sparse), params, start)
    }
}

/// What it takes to draw a problem, a start and parameters.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub rows: usize,
    pub cells: usize,
    /// 0: no background.
    pub background: usize,
    pub k: usize,
    pub loss: LossKind,
    pub sparse: bool,
    /// Signed background weight.
    pub weight: f64,
    pub k_target: usize,
    /// How many of these keep their loadings.
    pub hold: usize,
    /// L1 and L2 on W, L1 and L2 on H.
    pub penalties: [f64; 4],
    pub steps: Steps,
    /// The background's ambient rate.
    pub ambient: f64,
    pub hold_out: Option<HoldOut>,
    /// Which entries are missing; of NaN up to this part of each cell, different for all.
    pub missing: (Missing, f64),
    /// Whether features and cells have weights, some of them 0.
    pub weighted: bool,
    /// Whether features have different losses, if `loss` is one that serves several: see [`Scenario::mixture`].
    pub mixed: bool,
    /// Part of the entries that is not zero.
    pub density: f64,
    /// Leave a row and a column empty.
    pub blank: bool,
    pub seed: u64,
}

pub fn losses() -> impl Strategy<Value = LossKind> {
    prop_oneof![
        Just(LossKind::Mse),
        Just(LossKind::Poisson),
        Just(LossKind::Nb),
        Just(LossKind::Zinb)
    ]
}

/// Sizes with the edge cases in them: one, a few, and enough for every kind of padding.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(1usize), 6 => 2..12usize, 1 => 12..45usize]
}

pub fn scenarios() -> impl Strategy<Value = Scenario> {
    let shape = (
        size(),
        size(),
        prop_oneof![1 => Just(0usize), 6 => size()],
        1..45usize,
        0..45usize,
    );
    let weight = prop_oneof![1 => Just(0.0), 4 => -3.0..0.0f64, 2 => 0.0..3.0f64];
    let strength = || prop_oneof![1 => Just(0.0), 1 => 0.0..2.0f64];
    let penalties = prop_oneof![
        Just([0.0; 4]),
        (strength(), strength(), strength(), strength()).prop_map(|(a, b, c, d)| [a, b, c, d])
    ];
    let several = (1..5usize, 1..5usize, 1..5usize).prop_map(|(h, first, w)| Steps { h, first, w });
    let steps = prop_oneof![Just(Steps::ONE), several];
    let ambient = prop_oneof![1 => Just(0.0), 1 => 0.001..0.5f64];
    let held = (0.02..0.6f64, any::<u64>()).prop_map(|(part, seed)| HoldOut { seed, part });
    let hold_out = prop_oneof![1 => Just(None), 1 => held.prop_map(Some)];
    let missing = prop_oneof![
        3 => Just((Missing::None, 0.0)),
        2 => (0.02..1.0f64).prop_map(|part| (Missing::Nan, part)),
        1 => Just((Missing::Zeros, 0.0)),
    ];
    let weighted = prop_oneof![2 => Just(false), 1 => Just(true)];
    let mixed = prop_oneof![1 => Just(false), 1 => Just(true)];
    let model = (ambient, hold_out, missing, weighted, mixed);
    let look = (
        0.1..1.0f64,
        any::<bool>(),
        any::<bool>(),
        any::<u64>(),
        steps,
    );
    (shape, losses(), weight, penalties, model, look).prop_map(
        |(shape, loss, weight, penalties, model, look)| {
            let (ambient, hold_out, missing, weighted, mixed) = model;
            let (rows, cells, background, k, k_target) = shape;
            let k = 1 + (k - 1) % rows.min(cells);
            let k_target = if weight > 0.0 { k_target % (k + 1) } else { 0 };
            let (density, blank, sparse, seed, steps) = look;
            let hold = (seed as usize / 16 % (2 * k_target + 1)).saturating_sub(k_target);
            Scenario {
                rows,
                cells,
                background,
                k,
                loss,
                sparse,
                weight,
                k_target,
                hold,
                penalties,
                steps,
                ambient,
                hold_out,
                missing,
                weighted,
                mixed,
                density,
                blank,
                seed,
            }
        },
    )
}

impl Scenario {
    pub fn params(&self) -> FitParams {
        let [l1_w, l2_w, l1_h, l2_h] = self.penalties;
        FitParams {
            weight: self.weight,
            k_target: self.k_target,
            hold: self.hold.min(self.k_target).min(self.k - 1),
            tol: 0.0,
            w_penalty: Penalty { l1: l1_w, l2: l2_w },
            h_penalty: Penalty { l1: l1_h, l2: l2_h },
            steps: self.steps,
            ambient: self.ambient,
            hold_out: self.hold_out,
            dispersion: self.dispersion(),
            dropout: self.dropout(),
            ..FitParams::new(self.k, self.loss)
        }
    }

    /// Losses of the features: counts of several kinds, of which the first has the scenario's loss, and squared errors after them, or none.
    pub fn mixture(&self) -> Vec<LossKind> {
        if !self.mixed || !self.loss.has_sizes() {
            return Vec::new();
        }
        let counts = 1 + self.seed as usize / 8 % self.rows;
        let kinds = [self.loss, LossKind::Poisson, LossKind::Nb];
        let counted = (0..counts).map(|i| kinds[i % 3]);
        counted
            .chain((counts..self.rows).map(|_| LossKind::Mse))
            .collect()
    }

    /// Sizes that stay, some of them infinite, with nb.
    fn dispersion(&self) -> Dispersion {
        let sizes = |stream: u64| -> Vec<f64> {
            let exponents = random(self.rows, 1, 1.0, self.seed ^ stream);
            let size = |e: &f64| {
                if *e > 2.0 {
                    f64::INFINITY
                } else {
                    0.05 * (4.0 * e).exp()
                }
            };
            exponents.iter().map(size).collect()
        };
        if !self.loss.has_sizes() {
            return Dispersion::default();
        }
        Dispersion {
            by: By::Fixed,
            shared: self.seed.is_multiple_of(2),
            size: [sizes(21), sizes(22)],
        }
    }

    /// Probabilities that stay, of features or cells, some of them 0, with zinb.
    fn dropout(&self) -> Dropout {
        let draw = |n: usize, stream: u64| -> Vec<f64> {
            let values = random(n, 1, 0.8, self.seed ^ stream);
            values.iter().map(|e| e / (1.0 + e)).collect()
        };
        let per = if self.seed % 4 < 2 {
            Per::Feature
        } else {
            Per::Cell
        };
        let lengths = match per {
            Per::Feature if self.seed.is_multiple_of(2) => [self.rows, 0],
            Per::Feature => [self.rows; 2],
            Per::Cell => [self.cells, self.background],
        };
        if self.loss != LossKind::Zinb {
            return Dropout::default();
        }
        Dropout {
            per,
            fixed: true,
            probability: [draw(lengths[0], 23), draw(lengths[1], 24)],
        }
    }

    pub fn data(&self) -> Data {
        let draw = |cells: usize, stream: u64| {
            let mut x = random(self.rows, cells, self.density, self.seed ^ stream);
            if self.loss.is_counts() {
                x.mapv_inplace(|x| (4.0 * x).ceil());
            }
            if self.blank {
                let at = self.seed as usize;
                if self.rows > 1 {
                    x.row_mut(at % self.rows).fill(0.0);
                }
                if cells > 1 {
                    x.column_mut(at % cells).fill(0.0);
                }
            }
            if self.missing.0 == Missing::Nan {
                let places = random(self.rows, cells, 1.0, self.seed ^ stream ^ 30);
                for (j, mut column) in x.columns_mut().into_iter().enumerate() {
                    // From nearly none to the whole part.
                    let part = self.missing.1 * (j as f64 + 1.0) / cells as f64;
                    for (x, place) in column.iter_mut().zip(places.column(j)) {
                        if (-place).exp() < part {
                            *x = f64::NAN;
                        }
                    }
                }
            }
            // One that counts is there.
            let at = (self.seed as usize + 1) % cells;
            x[(at % self.rows, at)] = 1.0;
            x
        };
        let data = Data::new(
            draw(self.cells, 1),
            (self.background > 0).then(|| draw(self.background, 2)),
        );
        let data = data
            .with_missing(self.missing.0)
            .with_mixture(self.mixture());
        if !self.weighted {
            return data;
        }
        let draw = |n: usize, stream: u64| -> Vec<f64> {
            let mut weights = random(n, 1, 0.8, self.seed ^ stream)
                .into_raw_vec_and_offset()
                .0;
            // That of the entry that is there, in both sets.
            let at = (self.seed as usize + 1) % n;
            weights[at] += 0.5;
            weights
        };
        let mut features = draw(self.rows, 31);
        for cells in [self.cells, self.background.max(1)] {
            features[(self.seed as usize + 1) % cells % self.rows] += 0.5;
        }
        let background = if self.background > 0 {
            draw(self.background, 33)
        } else {
            Vec::new()
        };
        data.with_weights(Weights {
            features,
            cells: [draw(self.cells, 32), background],
        })
    }

    /// Factors with a few zeros in them, of another scale than the data's.
    pub fn factors(&self) -> Factors {
        let draw = |rows, columns, stream: u64| random(rows, columns, 0.9, self.seed ^ stream);
        let scale = 10f64.powi((self.seed % 7) as i32 - 3);
        let mut h_background = draw(self.k, self.background, 5);
        h_background
            .slice_mut(ndarray::s![self.k - self.k_target.., ..])
            .fill(0.0);
        factors(
            &(draw(self.rows, self.k, 3) * scale),
            &draw(self.k, self.cells, 4),
            (self.background > 0).then_some(&h_background),
        )
    }
}

/// Exponential values, column-major; entries are zero with probability `1 - density`.
pub fn random(rows: usize, columns: usize, density: f64, seed: u64) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || -> f64 { Open01.sample(&mut rng) };
    Array2::from_shape_simple_fn((rows, columns).f(), || {
        let (value, keep) = (-draw().ln(), draw());
        if keep < density { value } else { 0.0 }
    })
}

/// Positive factors of the data's shape to start from.
pub fn start_of(data: &Data, k: usize, seed: u64) -> Start {
    let cells = [Some(&data.x), data.y.as_ref()].map(|x| x.map_or(0, |x| x.ncols()));
    let draw = |rows, columns, s| random(rows, columns, 1.0, seed ^ s);
    let [w, h, y] = [
        draw(data.x.nrows(), k, 11),
        draw(k, cells[0], 12),
        draw(k, cells[1], 13),
    ];
    Start::Factors(factors(&w, &h, data.y.is_some().then_some(&y)))
}

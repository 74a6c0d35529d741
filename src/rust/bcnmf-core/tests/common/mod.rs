//! Shared by the integration tests. Not every test file uses every helper.
#![allow(dead_code)]

pub mod counted;
pub mod planted;
pub mod scenario;

use bcnmf_core::fit::{Dropout, Factors, FitParams, FullBatch, Penalty, Per, Problem, SIZES};
use bcnmf_core::loss::zinb::PRIOR;
use bcnmf_core::matrix::{Csc, Dense, Missing};
use bcnmf_core::real::Real;
use bcnmf_core::{LossKind, Matrix, Start};
use ndarray::{Array2, ShapeBuilder};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use scenario::Data;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sparse copy of a dense matrix that owns its slots.
pub struct Sparse {
    rows: usize,
    columns: usize,
    p: Vec<i32>,
    i: Vec<i32>,
    x: Vec<f64>,
}

impl Sparse {
    pub fn from_dense(x: &Array2<f64>) -> Self {
        let (rows, columns) = x.dim();
        let mut sparse = Sparse {
            rows,
            columns,
            p: vec![0],
            i: vec![],
            x: vec![],
        };
        for column in x.columns() {
            for (i, &x) in column.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                sparse.i.push(i as i32);
                sparse.x.push(x);
            }
            sparse.p.push(sparse.x.len() as i32);
        }
        sparse
    }

    /// The same matrix with its zeros stored too.
    pub fn with_zeros(x: &Array2<f64>) -> Self {
        let (rows, columns) = x.dim();
        Sparse {
            rows,
            columns,
            p: (0..=columns).map(|j| (j * rows) as i32).collect(),
            i: (0..rows * columns).map(|at| (at % rows) as i32).collect(),
            x: flat(x),
        }
    }

    pub fn view(&self) -> Matrix<'_> {
        let Sparse {
            rows,
            columns,
            p,
            i,
            x,
        } = self;
        Matrix::Csc(Csc::new(*rows, *columns, p, i, x, "target").expect("valid slots"))
    }
}

pub fn dense(x: &Array2<f64>) -> Matrix<'_> {
    Matrix::Dense(Dense::new(x.view()).expect("column-major"))
}

/// Column-major copy.
pub fn fortran(x: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::zeros(x.dim().f());
    out.assign(x);
    out
}

/// Column by column values as a matrix.
pub fn matrix(values: &[f64], rows: usize) -> Array2<f64> {
    Array2::from_shape_vec((rows, values.len() / rows).f(), values.to_vec()).expect("full columns")
}

pub fn flat(x: &Array2<f64>) -> Vec<f64> {
    x.t().iter().copied().collect()
}

pub fn factors(w: &Array2<f64>, h: &Array2<f64>, y: Option<&Array2<f64>>) -> Factors {
    Factors {
        w: flat(w),
        h: flat(h),
        h_background: y.map(flat).unwrap_or_default(),
    }
}

/// Runs a fit to its end.
pub fn run<'a, T: Real>(
    target: Matrix<'a>,
    background: Option<Matrix<'a>>,
    params: &FitParams,
    start: &Start,
) -> FullBatch<'a, T> {
    finish(
        Problem::new(target, background).expect("valid data"),
        params,
        start,
    )
}

/// Runs a fit of a problem to its end.
pub fn finish<'a, T: Real>(
    problem: Problem<'a>,
    params: &FitParams,
    start: &Start,
) -> FullBatch<'a, T> {
    let problem = Arc::new(problem);
    let mut fit = FullBatch::<T>::new(problem, params.clone(), start).expect("valid parameters");
    assert!(fit.advance(Instant::now() + Duration::from_secs(600)));
    fit
}

/// `D(X ‖ Λ)` written down naively, in double.
pub fn divergence(loss: LossKind, x: &Array2<f64>, rate: &Array2<f64>) -> f64 {
    x.iter()
        .zip(rate)
        .map(|(&x, &l)| entry_divergence(loss, x, l, f64::INFINITY, 0.0))
        .sum()
}

/// The size of a feature with this loss in target or background; infinite where there are none.
fn size_of(params: &FitParams, loss: LossKind, background: bool, feature: usize) -> f64 {
    if !loss.has_sizes() {
        return f64::INFINITY;
    }
    let sets = &params.dispersion.size;
    let set = usize::from(background && !params.dispersion.shared);
    let size = sets[set].get(feature).copied().unwrap_or(f64::INFINITY);
    // Zeros of features that are nearly Poisson are looked at too.
    if params.loss == LossKind::Zinb {
        size.min(SIZES[1])
    } else {
        size
    }
}

/// The probability of dropout of an entry in target or background, of a feature that knows any.
fn dropout_of(params: &FitParams, background: bool, feature: usize, cell: usize) -> f64 {
    let Dropout {
        per, probability, ..
    } = &params.dropout;
    let both = *per == Per::Feature && params.dispersion.shared;
    let set = &probability[usize::from(background && !both)];
    set[if *per == Per::Feature { feature } else { cell }]
}

/// `log Γ(z)` for `z > 0`, Lanczos' approximation.
pub fn ln_gamma(z: f64) -> f64 {
    const G: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let z = z - 1.0;
    let terms = G[1..].iter().zip(1..);
    let series = G[0] + terms.map(|(g, n)| g / (z + f64::from(n))).sum::<f64>();
    let t = z + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (z + 0.5) * t.ln() - t + series.ln()
}

/// `−log NB(x | λ, r)`, less what exactly fitted Poisson counts have.
fn nb_divergence(x: f64, rate: f64, size: f64) -> f64 {
    let zero = size * (rate / size).ln_1p();
    if x == 0.0 {
        return zero;
    }
    // Γ(x + r) / (Γ(r) rˣ): of whole numbers without differences of large ones.
    let rising = if x.fract() == 0.0 {
        (1..x as u32).map(|m| (f64::from(m) / size).ln_1p()).sum()
    } else {
        ln_gamma(x + size) - ln_gamma(size) - x * size.ln()
    };
    let likelihood = rising - zero + x * (rate.max(f64::MIN_POSITIVE).ln() - (rate / size).ln_1p());
    x * x.ln() - x - likelihood
}

/// Posterior probability that a zero is a lost count.
fn lost(rate: f64, size: f64, dropout: f64) -> f64 {
    if dropout == 0.0 {
        return 0.0;
    }
    dropout / (dropout + (1.0 - dropout) * (-nb_divergence(0.0, rate, size)).exp())
}

/// The free energy of a zero that is lost with a probability `v`: what it loses, where that is its posterior.
fn zero_energy(rate: f64, size: f64, dropout: f64, v: f64) -> f64 {
    let entropy = |p: f64| if p > 0.0 { p * p.ln() } else { 0.0 };
    let prior = |p: f64, weight: f64| if weight > 0.0 { -weight * p.ln() } else { 0.0 };
    let counted = (1.0 - v) * nb_divergence(0.0, rate, size);
    counted + prior(1.0 - dropout, 1.0 - v) + prior(dropout, v) + entropy(v) + entropy(1.0 - v)
}

fn entry_divergence(loss: LossKind, x: f64, rate: f64, size: f64, dropout: f64) -> f64 {
    match loss {
        // A count of zero may be as good as impossible.
        LossKind::Zinb if x == 0.0 && dropout > 0.0 => {
            -(dropout + (1.0 - dropout) * (-nb_divergence(x, rate, size)).exp()).ln()
        }
        LossKind::Zinb => nb_divergence(x, rate, size) - (1.0 - dropout).ln(),
        LossKind::Nb if size.is_finite() => nb_divergence(x, rate, size),
        LossKind::Mse => (x - rate).powi(2),
        _ if x == 0.0 => rate,
        _ => x * log_ratio(x, rate) - x + rate,
    }
}

/// A set with what is known of it, written down entry by entry.
pub struct Part<'a> {
    pub x: &'a Array2<f64>,
    pub known: Array2<bool>,
    /// Of each entry: those of its feature and cell multiplied.
    pub weight: Array2<f64>,
    feature_weight: Vec<f64>,
    cell_weight: Vec<f64>,
    genes: Vec<f64>,
    cells: Vec<f64>,
    all: f64,
    /// The same three with each cell as often as it counts.
    counted: (Vec<f64>, Vec<f64>, f64),
    background: bool,
    mixture: &'a [LossKind],
}

impl<'a> Part<'a> {
    pub fn of(data: &'a Data, background: bool) -> Option<Self> {
        let x = if background {
            data.y.as_ref()?
        } else {
            &data.x
        };
        let known = x.mapv(|x| match data.missing {
            Missing::Zeros => x > 0.0,
            _ => !x.is_nan(),
        });
        let (rows, columns) = x.dim();
        let filled = |weights: &Vec<f64>, n: usize| {
            if weights.is_empty() {
                vec![1.0; n]
            } else {
                weights.clone()
            }
        };
        let feature_weight = filled(&data.weights.features, rows);
        let cell_weight = filled(&data.weights.cells[usize::from(background)], columns);
        let weight =
            Array2::from_shape_fn((rows, columns), |(i, j)| feature_weight[i] * cell_weight[j]);
        let (genes, cells, all) = margins(x, &known, &vec![1.0; columns]);
        let counted = margins(x, &known, &cell_weight);
        Some(Part {
            x,
            known,
            weight,
            feature_weight,
            cell_weight,
            genes,
            cells,
            all,
            counted,
            background,
            mixture: &data.mixture,
        })
    }

    fn loss_of(&self, feature: usize, all: LossKind) -> LossKind {
        self.mixture.get(feature).copied().unwrap_or(all)
    }

    fn is_known(&self, i: usize, j: usize) -> bool {
        self.known[(i, j)]
    }

    /// What the divergence of held-out entries of each feature is multiplied by, from its definition in the core's `yardstick.rs`.
    fn held_out_weights(&self, all: LossKind) -> Vec<f64> {
        let x = self.x;
        let loss = |i: usize| self.loss_of(i, all);
        let null: Vec<f64> = (0..x.nrows())
            .map(|i| {
                let known: Vec<usize> = (0..x.ncols()).filter(|&j| self.is_known(i, j)).collect();
                let of = |&j: &usize| {
                    let rate = self.genes[i] * self.cells[j] / self.all;
                    match loss(i) {
                        LossKind::Mse => (x[(i, j)] - rate).powi(2),
                        // Poisson's for all counts, without what sums to 0.
                        _ if x[(i, j)] == 0.0 => 0.0,
                        _ => x[(i, j)] * log_ratio(x[(i, j)], rate),
                    }
                };
                known.iter().map(of).sum::<f64>().max(0.0) / known.len().max(1) as f64
            })
            .collect();
        let weight = |(i, weight): (usize, &f64)| {
            let alike = (0..null.len()).filter(|&o| loss(o).is_counts() == loss(i).is_counts());
            let mean = alike.clone().map(|o| null[o]).sum::<f64>() / alike.count() as f64;
            let size = match loss(i) {
                LossKind::Mse => x.iter().filter(|x| !x.is_nan()).map(|x| x * x).sum(),
                LossKind::Poisson | LossKind::Nb | LossKind::Zinb => self.all,
            };
            let least = 1e-9 * size / x.len() as f64;
            weight / (null[i] + mean).max(least)
        };
        self.feature_weight.iter().enumerate().map(weight).collect()
    }

    /// Of the entries that count, as often as they do.
    pub fn divergence(&self, rate: &Array2<f64>, params: &FitParams) -> f64 {
        self.split_divergence(rate, params, None)[0]
    }

    /// [`Part::divergence`], and the weighted one of those that are held out. With the rates that `posterior` probabilities of dropout belong to: the free energy
    /// for these.
    fn split_divergence(
        &self,
        rate: &Array2<f64>,
        params: &FitParams,
        posterior: Option<&Array2<f64>>,
    ) -> [f64; 2] {
        let (mut sums, x) = ([0.0; 2], self.x);
        let weights = self.held_out_weights(params.loss);
        let counts = |i: &usize| self.loss_of(*i, params.loss).is_counts();
        let profile_weight: f64 = (0..self.genes.len())
            .filter(counts)
            .map(|i| self.genes[i] / self.all * self.feature_weight[i])
            .sum();
        for (cell, (x, rate)) in x.columns().into_iter().zip(rate.columns()).enumerate() {
            let mut held_out = vec![false; x.len()];
            if let Some(hold_out) = params.hold_out {
                for i in hold_out.features(x.len(), self.background, cell) {
                    held_out[i as usize] = true;
                }
            }
            let total: f64 = (0..rate.len())
                .filter(counts)
                .map(|i| rate[i] * self.feature_weight[i])
                .sum();
            for (i, held_out) in held_out.into_iter().enumerate() {
                if !self.is_known(i, cell) {
                    continue;
                }
                // Predictions of counts are smoothed by a hundredth of the mean profile.
                let loss = self.loss_of(i, params.loss);
                let rate = match loss {
                    LossKind::Poisson | LossKind::Nb | LossKind::Zinb if held_out => {
                        let share = self.genes[i] / self.all / profile_weight;
                        0.99 * rate[i] + 0.01 * total * share
                    }
                    _ => rate[i],
                };
                let weight = if held_out {
                    weights[i] * self.cell_weight[cell]
                } else {
                    self.weight[(i, cell)]
                };
                let size = size_of(params, loss, self.background, i);
                let zinb = loss == LossKind::Zinb;
                let dropout = if zinb {
                    dropout_of(params, self.background, i, cell)
                } else {
                    0.0
                };
                let loss = match posterior.filter(|_| zinb && x[i] == 0.0) {
                    Some(at) => {
                        let v = lost(at[(i, cell)], size, dropout);
                        zero_energy(rate, size, dropout, v)
                    }
                    None => entry_divergence(loss, x[i], rate, size, dropout),
                };
                sums[usize::from(held_out)] += weight * loss;
            }
        }
        sums
    }

    /// Sum of the magnitudes of the divergence's terms.
    fn magnitude(&self, loss: LossKind, rate: &Array2<f64>) -> f64 {
        let entries = self.x.indexed_iter().zip(rate).zip(&self.weight);
        // What does not count is taken off at places: rounding is relative to it as well.
        entries
            .map(|((((i, _), &x), &l), &weight)| {
                let x = if x.is_nan() { 0.0 } else { x };
                weight
                    * match self.loss_of(i, loss) {
                        LossKind::Mse => x * x + l * l,
                        _ if x == 0.0 => l,
                        _ => x * log_ratio(x, l).abs() + x + l,
                    }
            })
            .sum()
    }

    /// `ε p sᵀ` of a background that is contrasted, from its definition in the documentation of the loss.
    pub fn ambient_rate(&self, params: &FitParams) -> Array2<f64> {
        let on = self.background && params.loss.is_counts() && params.weight < 0.0;
        let (genes, cells, all) = &self.counted;
        let share = if on { params.ambient / all } else { 0.0 };
        Array2::from_shape_fn(self.x.dim(), |(i, j)| {
            let counts = self.loss_of(i, params.loss).is_counts();
            f64::from(u8::from(counts)) * share * genes[i] * cells[j]
        })
    }
}

/// Sums over features, with each cell as often as it counts, cells and all; completed by the model that agrees with what is known, from the definition in the core's `check.rs`.
fn margins(x: &Array2<f64>, known: &Array2<bool>, weights: &[f64]) -> (Vec<f64>, Vec<f64>, f64) {
    let of = |(i, j): (usize, usize)| if known[(i, j)] { x[(i, j)] } else { 0.0 };
    let (rows, columns) = x.dim();
    let genes: Vec<f64> = (0..rows)
        .map(|i| (0..columns).map(|j| weights[j] * of((i, j))).sum())
        .collect();
    let cells: Vec<f64> = (0..columns)
        .map(|j| (0..rows).map(|i| of((i, j))).sum())
        .collect();
    let all: f64 = genes.iter().sum();
    if known.iter().all(|known| *known) {
        return (genes, cells, all);
    }
    let (mut profile, mut sizes) = (vec![1.0; rows], vec![0.0; columns]);
    let over = |sum: f64, part: f64, all: f64| {
        if part > 1e-9 * all {
            sum / part
        } else if sum > 0.0 {
            sum / all
        } else {
            0.0
        }
    };
    for _ in 0..5 {
        let all = profile.iter().sum();
        for j in 0..columns {
            let covering = (0..rows).filter(|&i| known[(i, j)]);
            sizes[j] = over(cells[j], covering.map(|i| profile[i]).sum(), all);
        }
        let counted = |j: usize| weights[j] * sizes[j];
        let all = (0..columns).map(counted).sum();
        for i in 0..rows {
            let covering = (0..columns).filter(|&j| known[(i, j)]);
            profile[i] = over(genes[i], covering.map(counted).sum(), all);
        }
    }
    let p: f64 = profile.iter().sum();
    let s: f64 = sizes
        .iter()
        .zip(weights)
        .map(|(size, weight)| size * weight)
        .sum();
    (
        profile.iter().map(|share| share * s).collect(),
        sizes.iter().map(|size| size * p).collect(),
        p * s,
    )
}

/// `log(x/λ)` with λ kept above zero.
fn log_ratio(x: f64, rate: f64) -> f64 {
    x.ln() - rate.max(f64::MIN_POSITIVE).ln()
}

/// The product `w · h` of factors stored column by column.
pub fn product(w: &[f64], h: &[f64], k: usize) -> Array2<f64> {
    matrix(w, w.len() / k).dot(&matrix(h, k))
}

/// The penalties' scales `[w₁, w₂, h₁, h₂]`, from the equations in the documentation of
/// [`bcnmf_core::fit::Penalty`].
fn penalty_scales(loss: LossKind, x: &Part<'_>, k: usize) -> [f64; 4] {
    let (m, n, k) = (x.x.nrows() as f64, x.x.ncols() as f64, k as f64);
    let total = x.all;
    let mean = total / (m * n);
    match loss {
        LossKind::Mse => [mean * total / k, total * total / (n * k * k), mean, 1.0 / m],
        LossKind::Poisson | LossKind::Nb | LossKind::Zinb => {
            [total / k, total * m / k, 1.0, n / total]
        }
    }
}

/// What the core reports of a model, written down naively.
#[derive(Clone, Copy, Debug)]
pub struct Naive {
    pub target: f64,
    /// NaN without background.
    pub background: f64,
    /// Penalties of W, H_X and H_Y, as they enter their own objective.
    pub penalty: [f64; 3],
    pub objective: f64,
    /// Sum of the magnitudes of the objective's terms: what rounding errors are relative to.
    pub magnitude: f64,
    /// The background's part of it, without its weight.
    pub magnitude_background: f64,
    /// Weighted divergence of what is held out, of target and background.
    pub held_out: [f64; 2],
}

/// Divergences and objective of `factors`, entry by entry.
pub fn naive(data: &Data, f: &Factors, params: &FitParams) -> Naive {
    naive_given(data, f, params, None)
}

/// The same, where the background's zeros are lost with the posterior probabilities that belong to other factors.
pub fn naive_given(
    data: &Data,
    f: &Factors,
    params: &FitParams,
    posterior: Option<&Factors>,
) -> Naive {
    let FitParams {
        k, loss, weight, ..
    } = *params;
    let x = Part::of(data, false).expect("a target");
    let penalty = |loss: LossKind, p: Penalty, of_h: bool, v: f64| -> f64 {
        let factor = if loss == LossKind::Mse { 2.0 } else { 1.0 };
        let [w1, w2, h1, h2] = penalty_scales(loss, &x, k);
        let [s1, s2] = if of_h { [h1, h2] } else { [w1, w2] };
        factor * (p.l1 * s1 * v + p.l2 * s2 * v * v / 2.0)
    };
    let of_w = |(at, w): (usize, &f64)| {
        let i = at % x.x.nrows();
        x.feature_weight[i] * penalty(x.loss_of(i, loss), params.w_penalty, false, *w)
    };
    let of_h = |h: &[f64], weights: &[f64]| -> f64 {
        let terms = h.iter().enumerate();
        terms
            .map(|(at, h)| weights[at / k] * penalty(loss, params.h_penalty, true, *h))
            .sum()
    };
    let pw: f64 = f.w.iter().enumerate().map(of_w).sum();
    let px = of_h(&f.h, &x.cell_weight);
    let rate = product(&f.w, &f.h, k);
    let [target, held_out] = x.split_divergence(&rate, params, None);
    // What is known of dropout before: see the core's `zinb.rs`.
    let prior = |set: usize, weights: &[f64]| -> f64 {
        let by_cell = params.dropout.per == Per::Cell;
        let probability = params.dropout.probability[set].iter().enumerate();
        let weight = |at: usize| {
            if by_cell {
                weights[at]
            } else {
                x.feature_weight[at]
            }
        };
        let known = probability.filter(|(at, _)| by_cell || x.loss_of(*at, loss) == LossKind::Zinb);
        known
            .map(|(at, p)| -PRIOR * weight(at) * (1.0 - p).ln())
            .sum()
    };
    let zinb = loss == LossKind::Zinb;
    let own_prior = params.dropout.per == Per::Cell || !params.dispersion.shared;
    let mut all = Naive {
        target,
        background: f64::NAN,
        penalty: [pw, px, 0.0],
        objective: target + pw + px,
        magnitude: x.magnitude(loss, &rate) + pw + px,
        magnitude_background: 0.0,
        held_out: [held_out, 0.0],
    };
    if zinb {
        all.objective += prior(0, &x.cell_weight);
    }
    if let Some(y) = Part::of(data, true) {
        let py = of_h(&f.h_background, &y.cell_weight);
        let rates = |f: &Factors| product(&f.w, &f.h_background, k) + y.ambient_rate(params);
        let (rate, posterior) = (rates(f), posterior.map(rates));
        [all.background, all.held_out[1]] = y.split_divergence(&rate, params, posterior.as_ref());
        if zinb && own_prior {
            all.objective += weight * prior(1, &y.cell_weight);
        }
        all.penalty[2] = py;
        all.objective += weight * (all.background + py);
        all.magnitude_background = y.magnitude(loss, &rate) + py;
        all.magnitude += weight.abs() * all.magnitude_background;
    }
    all
}

/// Largest difference relative to the largest value.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let most = a
        .iter()
        .chain(b)
        .fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    // A NaN must not pass as a small difference.
    a.iter().zip(b).fold(0.0, |d, (a, b)| {
        let here = (a - b).abs() / most;
        if here.is_nan() || here > d { here } else { d }
    })
}

/// The largest [`distance`] of the three parts of two sets of factors.
pub fn factor_distance(a: &Factors, b: &Factors) -> f64 {
    let parts = [
        (&a.w, &b.w),
        (&a.h, &b.h),
        (&a.h_background, &b.h_background),
    ];
    parts
        .into_iter()
        .map(|(a, b)| distance(a, b))
        .fold(0.0, f64::max)
}

/// How many tests a property gets, from the same seed every time. `PROPTEST_CASES` and
/// `PROPTEST_RNG_SEED` look further.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

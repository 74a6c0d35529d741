//! Planted programs are found; projections reach the best response; models and restarts keep what
//! they promise.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{
    Contrast, Factors, FitParams, Model, Penalty, Projection, ProjectionParams, Restarts,
};
use bcnmf_core::matrix::Csc;
use bcnmf_core::real::Real;
use bcnmf_core::simulate::{Counts, Simulated, Simulation};
use bcnmf_core::{Driver, LossKind, Matrix, Problem, Start};
use common::scenario::{Data, losses, random};
use common::{cases, distance, naive, product, run};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const FEATURES: usize = 120;
const K: usize = 5;

/// Shared programs, and perhaps one that the target alone has and that is a fifth of every cell.
fn planted(k_shared: usize, k_target: usize, seed: u64) -> Simulated {
    let simulation = Simulation {
        features: FEATURES,
        target: 250,
        background: 200,
        k_shared,
        k_target,
        share: 0.2,
        depth: 1500.0,
        depth_sd: 0.3,
        loading_shape: 0.3,
        use_shape: 0.3,
        seed,
    };
    simulation.run().expect("valid")
}

fn counts(counts: &Counts) -> Matrix<'_> {
    let Counts { p, i, x } = counts;
    Matrix::Csc(Csc::new(FEATURES, p.len() - 1, p, i, x, "counts").expect("valid"))
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Cosine of each planted program with its best match.
fn matches(truth: &[f64], w: &[f64]) -> Vec<f64> {
    truth
        .chunks_exact(FEATURES)
        .map(|t| {
            w.chunks_exact(FEATURES)
                .map(|w| cosine(t, w))
                .fold(0.0, f64::max)
        })
        .collect()
}

fn fit<T: Real>(sim: &Simulated, background: bool, params: FitParams, seeds: u64) -> Model {
    let y = background.then(|| counts(&sim.background));
    let problem = Arc::new(Problem::new(counts(&sim.target), y).expect("valid"));
    let starts = (0..seeds).map(Start::Seed).collect();
    let pool = pool(2).expect("threads");
    let mut fit = Restarts::<T>::new(problem, params, starts, pool).expect("valid");
    while !fit.advance(Duration::from_secs(600)).done {}
    fit.model()
}

#[test]
fn planted_programs_are_found() {
    for seed in [1, 2] {
        let sim = planted(5, 0, seed);
        for loss in [LossKind::Poisson, LossKind::Mse] {
            let params = FitParams {
                maxit: 150,
                tol: 0.0,
                ..FitParams::new(K, loss)
            };
            let found = matches(&sim.w, &fit::<f32>(&sim, false, params, 3).w);
            assert!(
                found.iter().all(|c| *c >= 0.95),
                "{loss:?}, seed {seed}: {found:?}"
            );
        }
    }
}

#[test]
fn the_target_only_program_is_found_where_it_was_asked_for() {
    for seed in [1, 2, 3] {
        let sim = planted(4, 1, seed);
        let y = Some(counts(&sim.background));
        let problem = Problem::new(counts(&sim.target), y).expect("valid");
        let weight = problem.weight(Contrast::ExplainBySize, LossKind::Poisson);
        let params = FitParams {
            maxit: 150,
            tol: 0.0,
            weight,
            k_target: 1,
            ..FitParams::new(K, LossKind::Poisson)
        };
        let model = fit::<f32>(&sim, true, params, 3);
        assert_eq!(model.target_only.iter().filter(|only| **only).count(), 1);
        let only = model
            .target_only
            .iter()
            .position(|only| *only)
            .expect("one");
        let w = &model.w[only * FEATURES..][..FEATURES];
        let found = cosine(w, &sim.w[4 * FEATURES..]);
        assert!(found >= 0.95, "seed {seed}: {found}");
        assert_eq!(model.d_background[only], 0.0);
        assert!(
            model
                .h_background
                .chunks_exact(K)
                .all(|cell| cell[only] == 0.0)
        );
        let all = matches(&sim.w, &model.w);
        assert!(all.iter().all(|c| *c >= 0.95), "seed {seed}: {all:?}");
    }
}

/// With fewer factors than programs, contrast decides which program gets one.
#[test]
fn contrast_prefers_what_the_background_lacks() {
    let mut gain = 0.0;
    for seed in [1, 2, 3] {
        let sim = planted(4, 1, seed);
        let truth = &sim.w[4 * FEATURES..];
        let y = Some(counts(&sim.background));
        let problem = Problem::new(counts(&sim.target), y).expect("valid");
        let [plain, contrast] = [0.0, 0.4].map(|beta| {
            let weight = problem.weight(Contrast::Beta(beta), LossKind::Poisson);
            let params = FitParams {
                maxit: 100,
                tol: 0.0,
                weight,
                ..FitParams::new(3, LossKind::Poisson)
            };
            matches(truth, &fit::<f64>(&sim, true, params, 2).w)[0]
        });
        gain += contrast - plain;
    }
    assert!(gain > 0.0, "{gain}");
}

fn project<T: Real>(
    data: Matrix<'_>,
    w: &[f64],
    params: ProjectionParams,
    threads: usize,
) -> Vec<f64> {
    let pool = pool(threads).expect("threads");
    let mut projection = Projection::<T>::new(data, w, params, pool).expect("valid");
    let mut calls = 0;
    while !projection.advance(Duration::from_millis(20)).done {
        calls += 1;
        assert!(calls < 10_000);
    }
    projection.coefficients()
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_projection_is_at_least_as_good_as_the_fit(
        loss in losses(),
        sparse: bool,
        seed: u64,
        k in 1..7usize,
        (l1, l2) in prop_oneof![Just((0.0, 0.0)), (0.0..0.5f64, 0.0..0.5f64)],
        scale in prop_oneof![Just(1.0), Just(1e20)],
    ) {
        let data = Data::new(random(20, 60, 0.4, seed) * scale, None);
        let h_penalty = Penalty { l1, l2 };
        let params = FitParams { h_penalty, maxit: 50, tol: 0.0, ..FitParams::new(k, loss) };
        let fit = data.fit::<f64>(sparse, &params, &Start::Seed(seed)).factors();
        let size = data.problem(sparse).size(k);
        let how = ProjectionParams { loss, maxit: 5000, tol: 1e-9, h_penalty, size };
        let h = project::<f64>(data.matrices(sparse).0, &fit.w, how, 1);
        prop_assert_eq!(&h, &project::<f64>(data.matrices(sparse).0, &fit.w, how, 2));
        let dense = project::<f64>(data.matrices(false).0, &fit.w, how, 1);
        prop_assert!(distance(&h, &dense) <= 1e-10);
        // Penalties of W are the same on both sides: there are none.
        let own = naive(&data.x, None, &fit, &params).objective;
        let best = naive(&data.x, None, &Factors { h: h.clone(), ..fit.clone() }, &params).objective;
        prop_assert!(best <= own * (1.0 + 1e-6), "{best:e} {own:e}");
        let single = project::<f32>(data.matrices(sparse).0, &fit.w, ProjectionParams { tol: 1e-6, ..how }, 2);
        let single = naive(&data.x, None, &Factors { h: single, ..fit.clone() }, &params).objective;
        prop_assert!(single <= own * (1.0 + 1e-3), "{single:e} {own:e}");
        // The response of a cell is its own: it does not depend on the other cells.
        let few = Data::new(common::fortran(&data.x.slice(ndarray::s![.., ..7]).to_owned()), None);
        let few = project::<f64>(few.matrices(sparse).0, &fit.w, how, 1);
        prop_assert!(distance(&few, &h[..7 * k]) <= 1e-6);
    }

    #[test]
    fn a_projection_of_nothing_is_nothing(loss in losses(), sparse: bool, seed: u64, k in 1..7usize) {
        let w = random(10, k, 0.7, seed);
        let mut x = Array2::zeros(ndarray::ShapeBuilder::f((10, 8)));
        let zeros = Data::new(x.clone(), None);
        x[(3, 2)] = 1.0;
        let one = Data::new(x, None);
        let size = one.problem(false).size(k);
        let h_penalty = Penalty::default();
        let how = ProjectionParams { loss, maxit: 100, tol: 1e-6, h_penalty, size };
        let h = project::<f64>(zeros.matrices(sparse).0, &common::flat(&w), how, 1);
        prop_assert!(h.iter().all(|h| *h == 0.0) && h.len() == 8 * k);
        let h = project::<f64>(one.matrices(sparse).0, &common::flat(&w), how, 1);
        let outside = h.chunks_exact(k).enumerate().filter(|(cell, _)| *cell != 2);
        prop_assert!(outside.flat_map(|(_, h)| h).all(|h| *h == 0.0));
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_model_is_its_factors_in_another_form(
        (rows, cells, background, k) in (1..9usize, 1..9usize, 0..9usize, 1..6usize),
        k_target in 0..6usize,
        dead in proptest::option::of((0..6usize, 0..3usize)),
        seed: u64,
    ) {
        let k_target = k_target.min(k);
        let draw = |rows, columns, stream: u64| random(rows, columns, 0.8, seed ^ stream);
        let (mut w, mut h, mut y) = (draw(rows, k, 1), draw(k, cells, 2), draw(k, background, 3));
        if let Some((factor, part)) = dead {
            match part {
                0 => w.column_mut(factor % k).fill(0.0),
                1 => h.row_mut(factor % k).fill(0.0),
                _ => y.row_mut(factor % k).fill(0.0),
            }
        }
        let f = common::factors(&w, &h, Some(&y));
        let model = Model::new(&f, k, k_target);
        prop_assert_eq!(
            [model.w.len(), model.d.len(), model.h.len(), model.h_background.len()],
            [rows * k, k, cells * k, background * k]
        );
        prop_assert_eq!(model.d_background.len(), if background > 0 { k } else { 0 });
        prop_assert_eq!(model.target_only.iter().filter(|only| **only).count(), k_target);
        prop_assert!(model.d.windows(2).all(|d| d[0] >= d[1]));
        let unit_or_dead = |sum: f64| sum == 0.0 || (sum - 1.0).abs() <= 1e-12;
        prop_assert!(model.w.chunks_exact(rows).all(|w| unit_or_dead(w.iter().sum())));
        for (h, d) in [(&model.h, &model.d), (&model.h_background, &model.d_background)] {
            for f in 0..d.len() {
                let sum: f64 = h.chunks_exact(k).map(|cell| cell[f]).sum();
                prop_assert!(unit_or_dead(sum), "{sum}");
                prop_assert!(sum > 0.0 || d[f] == 0.0);
            }
        }
        let sets = [(&model.d, &model.h, &f.h), (&model.d_background, &model.h_background, &f.h_background)];
        for (d, h, own) in sets {
            let scaled: Vec<f64> = h.iter().enumerate().map(|(at, h)| h * d[at % k]).collect();
            let (got, want) = (product(&model.w, &scaled, k), product(&f.w, own, k));
            let error = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            prop_assert!(error <= 1e-12 * want.iter().copied().fold(1.0, f64::max), "{error:e}");
        }
    }
}

fn restarts<'a>(
    data: &'a Data,
    params: &FitParams,
    starts: Vec<Start>,
) -> bcnmf_core::Result<Restarts<'a, f64>> {
    Restarts::new(
        Arc::new(data.problem(true)),
        params.clone(),
        starts,
        pool(2)?,
    )
}

#[test]
fn the_best_start_is_kept_and_all_are_recorded() {
    let data = Data::new(random(20, 30, 0.3, 1), Some(random(20, 10, 0.3, 2)));
    let params = FitParams {
        maxit: 30,
        tol: 0.0,
        weight: -0.2,
        ..FitParams::new(6, LossKind::Poisson)
    };
    let starts: Vec<Start> = (1..=8).map(Start::Seed).collect();
    let mut fit = restarts(&data, &params, starts.clone()).expect("valid");
    assert_eq!(fit.best(), None);
    let mut seen = 0;
    loop {
        let progress = fit.advance(Duration::from_secs(60));
        assert!(progress.start >= seen && progress.starts == 8);
        seen = progress.start;
        if progress.done {
            break;
        }
    }
    let ends: Vec<f64> = fit.outcomes().iter().map(|o| o.objective()).collect();
    assert_eq!(ends.len(), 8);
    let best = fit.best().expect("finished");
    assert!(ends.iter().all(|end| *end >= ends[best]), "{ends:?}");
    assert!(
        ends.iter().any(|end| *end > ends[best]),
        "all starts end alike: {ends:?}"
    );
    for (at, (outcome, start)) in fit.outcomes().iter().zip(&starts).enumerate() {
        assert_eq!(
            (outcome.start, outcome.iterations, outcome.history.len()),
            (at, 30, 31)
        );
        assert!(!outcome.failed && !outcome.converged);
        let (x, y) = data.matrices(true);
        let alone = run::<f64>(x, y, &params, start);
        assert_eq!(alone.history()[30].objective, ends[at]);
        if at == best {
            assert_eq!(alone.factors(), fit.factors());
        }
    }
}

#[test]
fn a_fit_that_converges_says_so() {
    let data = Data::new(random(20, 30, 1.0, 1), None);
    let params = FitParams {
        maxit: 5000,
        tol: 1e-6,
        ..FitParams::new(2, LossKind::Mse)
    };
    let fit = data.fit::<f64>(false, &params, &Start::Seed(1));
    let (last, before) = fit.history().split_last().expect("records");
    assert!(fit.converged() && fit.iteration() < 5000 && fit.iteration() == before.len());
    assert!(last.change < 1e-6 && before.iter().all(|r| r.change.is_nan() || r.change >= 1e-6));
}

#[test]
fn bad_starts_and_parameters_are_refused_before_any_work() {
    let data = Data::new(random(4, 5, 1.0, 1), Some(random(4, 3, 1.0, 2)));
    let params = FitParams::new(2, LossKind::Mse);
    let good = || Factors {
        w: vec![1.0; 8],
        h: vec![1.0; 10],
        h_background: vec![1.0; 6],
    };
    assert!(restarts(&data, &params, vec![Start::Factors(good())]).is_ok());
    let mut bad = vec![
        Start::Loadings(vec![1.0; 7]),
        Start::Loadings(vec![f64::NAN; 8]),
        Start::Loadings(vec![-1.0; 8]),
        Start::Factors(Factors {
            h: vec![1.0; 9],
            ..good()
        }),
        Start::Factors(Factors {
            h_background: vec![],
            ..good()
        }),
        Start::Factors(Factors {
            h: vec![f64::INFINITY; 10],
            ..good()
        }),
    ];
    for bad in bad.drain(..) {
        // Also behind good ones: nobody waits an hour to hear of it.
        let starts = vec![Start::Seed(1), bad.clone(), Start::Seed(2)];
        assert!(restarts(&data, &params, starts).is_err(), "{bad:?}");
    }
    let base = || params.clone();
    for bad in [
        FitParams { k: 0, ..base() },
        FitParams { k: 5, ..base() },
        FitParams {
            k_target: 3,
            ..base()
        },
        FitParams {
            weight: f64::NAN,
            ..base()
        },
        FitParams {
            weight: f64::NEG_INFINITY,
            ..base()
        },
        FitParams {
            tol: -1.0,
            ..base()
        },
        FitParams {
            tol: f64::NAN,
            ..base()
        },
        FitParams {
            w_penalty: Penalty { l1: -1.0, l2: 0.0 },
            ..base()
        },
        FitParams {
            h_penalty: Penalty {
                l1: 0.0,
                l2: f64::INFINITY,
            },
            ..base()
        },
    ] {
        assert!(
            restarts(&data, &bad, vec![Start::Seed(1)]).is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn a_stopped_fit_leaves_its_last_complete_sweep() {
    let data = Data::new(random(60, 2000, 0.5, 1), None);
    let params = FitParams {
        maxit: 1000,
        tol: 0.0,
        ..FitParams::new(5, LossKind::Poisson)
    };
    let mut fit = restarts(&data, &params, vec![Start::Seed(1), Start::Seed(2)]).expect("valid");
    while fit.advance(Duration::from_millis(1)).iteration < 3 {}
    fit.stop();
    assert!(fit.advance(Duration::from_secs(60)).done);
    assert_eq!((fit.outcomes().len(), fit.best()), (1, Some(0)));
    let sweeps = fit.outcomes()[0].iterations;
    let params = FitParams {
        maxit: sweeps,
        ..params
    };
    let alone = data.fit::<f64>(true, &params, &Start::Seed(1));
    assert_eq!(alone.factors(), fit.factors());
    let model = fit.model();
    assert!(
        model
            .w
            .iter()
            .chain(&model.d)
            .chain(&model.h)
            .all(|v| v.is_finite())
    );
}

#[test]
fn a_fit_stopped_at_once_leaves_its_start() {
    let data = Data::new(random(6, 7, 1.0, 1), None);
    let params = FitParams::new(2, LossKind::Mse);
    let mut fit = restarts(&data, &params, vec![Start::Seed(1)]).expect("valid");
    fit.stop();
    assert!(fit.advance(Duration::from_secs(1)).done);
    let model = fit.model();
    assert_eq!((model.w.len(), model.h.len()), (12, 14));
    assert!(model.d.iter().all(|d| d.is_finite() && *d > 0.0));
}

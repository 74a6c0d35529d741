//! Planted programs are found, and projections reach the best response.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{
    By, Contrast, Dispersion, Dropout, Factors, FitParams, Model, Penalty, Projection,
    ProjectionParams, Restarts, Steps,
};
use bcnmf_core::matrix::Missing;
use bcnmf_core::real::Real;
use bcnmf_core::simulate::Simulated;
use bcnmf_core::{Driver, LossKind, Matrix, Problem, Start};
use common::planted::{FEATURES, cosine, counts, matches, planted};
use common::scenario::{Data, losses, random};
use common::{cases, distance, naive};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const K: usize = 5;

fn fit<T: Real>(sim: &Simulated, background: bool, params: FitParams, seeds: u64) -> Model {
    let y = background.then(|| counts(&sim.background, FEATURES));
    let problem = Arc::new(Problem::new(counts(&sim.target, FEATURES), y).expect("valid"));
    let starts = (0..seeds).map(Start::Seed).collect();
    let pool = pool(2).expect("threads");
    let mut fit = Restarts::<T>::new(problem, params, starts, pool).expect("valid");
    while !fit.advance(Duration::from_secs(600)).done {}
    fit.model()
}

#[test]
fn planted_programs_are_found() {
    for seed in [1, 2] {
        let sim = planted(5, 0, 0.2, seed);
        for loss in [LossKind::Poisson, LossKind::Mse] {
            let params = FitParams {
                maxit: 150,
                tol: 0.0,
                ..FitParams::new(K, loss)
            };
            let found = matches(&sim.w, &fit::<f32>(&sim, false, params, 3).w, FEATURES);
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
        let sim = planted(4, 1, 0.2, seed);
        let y = Some(counts(&sim.background, FEATURES));
        let problem = Problem::new(counts(&sim.target, FEATURES), y).expect("valid");
        let weight = problem.weight(Contrast::ExplainBySize(1.0), LossKind::Poisson);
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
        let all = matches(&sim.w, &model.w, FEATURES);
        assert!(all.iter().all(|c| *c >= 0.95), "seed {seed}: {all:?}");
    }
}

/// With fewer factors than programs, contrast decides which program gets one.
#[test]
fn contrast_prefers_what_the_background_lacks() {
    let mut gain = 0.0;
    for seed in [1, 2, 3] {
        let sim = planted(4, 1, 0.2, seed);
        let truth = &sim.w[4 * FEATURES..];
        let y = Some(counts(&sim.background, FEATURES));
        let problem = Problem::new(counts(&sim.target, FEATURES), y).expect("valid");
        let [plain, contrast] = [0.0, 0.4].map(|beta| {
            let weight = problem.weight(Contrast::Beta(beta), LossKind::Poisson);
            let params = FitParams {
                maxit: 100,
                tol: 0.0,
                weight,
                ..FitParams::new(3, LossKind::Poisson)
            };
            matches(truth, &fit::<f64>(&sim, true, params, 2).w, FEATURES)[0]
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
        mixed: bool,
    ) {
        // Sizes have a scale of their own.
        let scale = if loss.has_sizes() { 1.0 } else { scale };
        let mixture: Vec<LossKind> = if mixed && loss.has_sizes() {
            (0..20).map(|i| if i < 14 { [loss, LossKind::Poisson, LossKind::Nb][i % 3] } else { LossKind::Mse }).collect()
        } else {
            Vec::new()
        };
        let data = Data::new(random(20, 60, 0.4, seed) * scale, None).with_mixture(mixture.clone());
        let h_penalty = Penalty { l1, l2 };
        let sizes: Vec<f64> = (0..20).map(|i| if i % 3 == 0 { f64::INFINITY } else { 0.3 * f64::from(i) }).collect();
        let dispersion = Dispersion { by: By::Fixed, shared: true, size: [sizes.clone(), Vec::new()] };
        let probability = [(0..20).map(|i| 0.04 * f64::from(i)).collect(), Vec::new()];
        let dropout = Dropout { fixed: true, probability, ..Dropout::default() };
        let params = FitParams { h_penalty, maxit: 50, tol: 0.0, dispersion, dropout: dropout.clone(), ..FitParams::new(k, loss) };
        let fit = data.fit::<f64>(sparse, &params, &Start::Seed(seed)).factors();
        let size = data.problem(sparse).size(k);
        let how = ProjectionParams { loss, maxit: 5000, tol: 1e-9, h_penalty, size, sizes, dropout, weights: vec![], mixture, size_factors: vec![] };
        let h = project::<f64>(data.matrices(sparse).0, &fit.w, how.clone(), 1);
        prop_assert_eq!(&h, &project::<f64>(data.matrices(sparse).0, &fit.w, how.clone(), 2));
        let dense = project::<f64>(data.matrices(false).0, &fit.w, how.clone(), 1);
        prop_assert!(distance(&h, &dense) <= 1e-10);
        // Penalties of W are the same on both sides: there are none.
        let own = naive(&data.without_background(), &fit, &params).objective;
        let best = naive(&data.without_background(), &Factors { h: h.clone(), ..fit.clone() }, &params).objective;
        prop_assert!(best <= own * (1.0 + 1e-6), "{best:e} {own:e}");
        let single = project::<f32>(data.matrices(sparse).0, &fit.w, ProjectionParams { tol: 1e-6, ..how.clone() }, 2);
        let single = naive(&data.without_background(), &Factors { h: single, ..fit.clone() }, &params).objective;
        prop_assert!(single <= own * (1.0 + 1e-3), "{single:e} {own:e}");
        // The response of a cell is its own: it does not depend on the other cells.
        let few = Data::new(common::fortran(&data.x.slice(ndarray::s![.., ..7]).to_owned()), None);
        let few = project::<f64>(few.matrices(sparse).0, &fit.w, how.clone(), 1);
        prop_assert!(distance(&few, &h[..7 * k]) <= 1e-6);
    }

    /// Squared errors of the entries that are known are a convex problem of each cell's own, wherever its steps start.
    #[test]
    fn missing_entries_do_not_hold_a_projection_back(
        sparse: bool, seed: u64, k in 1..6usize, missing in prop_oneof![Just(Missing::Nan), Just(Missing::Zeros)],
    ) {
        let mut x = random(20, 40, 0.5, seed);
        if missing == Missing::Nan {
            x.zip_mut_with(&random(20, 40, 1.0, !seed), |x, place| if *place > 0.7 { *x = f64::NAN });
        }
        let data = Data::new(x, None).with_missing(missing);
        let params = FitParams { maxit: 60, tol: 0.0, steps: Steps::fast(LossKind::Mse), ..FitParams::new(k, LossKind::Mse) };
        let fit = data.fit::<f64>(sparse, &params, &Start::Seed(seed)).factors();
        let (h_penalty, size) = (Penalty::default(), data.problem(sparse).size(k));
        let how = ProjectionParams { loss: LossKind::Mse, maxit: 20_000, tol: 1e-10, h_penalty, size, sizes: vec![], dropout: Dropout::default(), weights: vec![], mixture: vec![], size_factors: vec![] };
        for tol in [1e-9, 0.0] {
            let h = project::<f64>(data.matrices(sparse).0, &fit.w, ProjectionParams { tol, ..how.clone() }, 1);
            let own = naive(&data, &fit, &params).target;
            let best = naive(&data, &Factors { h, ..fit.clone() }, &params).target;
            prop_assert!(best <= own * (1.0 + 1e-6), "{best:e} {own:e}");
        }
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
        let how = ProjectionParams { loss, maxit: 100, tol: 1e-6, h_penalty, size, sizes: vec![2.0; 10], dropout: Dropout::default(), weights: vec![], mixture: vec![], size_factors: vec![] };
        let h = project::<f64>(zeros.matrices(sparse).0, &common::flat(&w), how.clone(), 1);
        prop_assert!(h.iter().all(|h| *h == 0.0) && h.len() == 8 * k);
        let h = project::<f64>(one.matrices(sparse).0, &common::flat(&w), how.clone(), 1);
        let outside = h.chunks_exact(k).enumerate().filter(|(cell, _)| *cell != 2);
        prop_assert!(outside.flat_map(|(_, h)| h).all(|h| *h == 0.0));
    }
}

//! Every step goes downhill: the H step in its own divergence, the W step in F, explained
//! backgrounds and plain NMF over whole fits.

mod common;

use bcnmf_core::fit::{
    Batches, By, Contrast, Dispersion, Factors, FitParams, Penalty, Record, Scaling, Steps, Update,
};
use bcnmf_core::real::Real;
use bcnmf_core::{LossKind, Start};
use common::scenario::{Data, Scenario, losses, random, scenarios, start_of};
use common::{Naive, cases, factor_distance, matrix, naive, naive_given};
use ndarray::Array2;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// No penalties' rescaling, and a guard that changes no digit.
const BARE: Scaling = Scaling::Plain { guard: 1e-300 };

fn one_sweep(scenario: &Scenario, data: &Data, scaling: Scaling, from: &Factors) -> Factors {
    let params = FitParams {
        maxit: 1,
        scaling,
        ..scenario.params()
    };
    data.fit::<f64>(scenario.sparse, &params, &Start::Factors(from.clone()))
        .factors()
}

fn bounded(f: &Factors) -> bool {
    f.w.iter()
        .chain(&f.h)
        .chain(&f.h_background)
        .all(|v| *v < 1e100)
}

/// Asserts that no step of the sweep went uphill.
fn downhill(scenario: &Scenario, data: &Data, old: &Factors, new: &Factors) -> TestCaseResult {
    let value = |f: &Factors| naive(data, f, &scenario.params());
    // The H step has happened, the W step has not.
    let between = Factors {
        w: old.w.clone(),
        ..new.clone()
    };
    let (before, middle) = (value(old), value(&between));
    // A contrasted background has the posterior of its own rates before the W step.
    let after = naive_given(
        data,
        new,
        &scenario.params(),
        (scenario.weight < 0.0).then_some(&between),
    );
    let h = |v: &Naive| v.target + v.penalty[1];
    prop_assert!(
        h(&middle) <= h(&before) + 1e-9 * before.magnitude,
        "H_X step: {before:?} {middle:?}"
    );
    if data.y.is_some() {
        let h = |v: &Naive| v.background + v.penalty[2];
        prop_assert!(
            h(&middle) <= h(&before) + 1e-9 * before.magnitude_background,
            "H_Y step: {before:?} {middle:?}"
        );
    }
    prop_assert!(
        after.objective <= middle.objective + 1e-9 * middle.magnitude,
        "W step: {middle:?} {after:?}"
    );
    Ok(())
}

/// Largest rise of the objective in one sweep, relative to its size.
fn largest_rise(history: &[Record]) -> f64 {
    history
        .windows(2)
        .map(|w| (w[1].objective - w[0].objective) / w[0].objective.abs())
        .fold(f64::NEG_INFINITY, f64::max)
}

fn falls<T: Real>(data: &Data, params: &FitParams, sparse: bool, slack: f64) -> TestCaseResult {
    let fit = data.fit::<T>(sparse, params, &Start::Seed(1));
    prop_assert!(!fit.failed());
    prop_assert_eq!(fit.history().len(), params.maxit + 1);
    let rise = largest_rise(fit.history());
    prop_assert!(rise <= slack, "rises by {rise:e} in {:?}", fit.history());
    Ok(())
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn no_step_goes_uphill(scenario in scenarios()) {
        let data = scenario.data();
        let start = scenario.factors();
        let once = one_sweep(&scenario, &data, BARE, &start);
        // A factor that the target has stopped using can make F as small as one likes where the
        // background is empty: one step goes to infinity there.
        prop_assume!(bounded(&once));
        downhill(&scenario, &data, &start, &once)?;
        let twice = one_sweep(&scenario, &data, BARE, &once);
        prop_assume!(bounded(&twice));
        downhill(&scenario, &data, &once, &twice)?;
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// Without penalties the rescaling between the steps changes no divergence. Features that the
    /// target lacks leave a rescaled fit: there are none here.
    #[test]
    fn no_rescaled_sweep_goes_uphill_after_its_h_step(scenario in scenarios()) {
        let scenario = Scenario { penalties: [0.0; 4], density: 1.0, blank: false, ..scenario };
        let (data, start) = (scenario.data(), scenario.factors());
        prop_assume!(data.is_seen());
        let value = |f: &Factors| naive(&data, f, &scenario.params());
        let bare = one_sweep(&scenario, &data, BARE, &start);
        prop_assume!(bounded(&bare));
        let between_factors = Factors { w: start.w.clone(), ..bare };
        let between = value(&between_factors);
        let after = one_sweep(&scenario, &data, Scaling::Normalised, &start);
        let posterior = (scenario.weight < 0.0).then_some(&between_factors);
        let after = naive_given(&data, &after, &scenario.params(), posterior);
        prop_assert!(after.objective <= between.objective + 1e-9 * between.magnitude, "{between:?} {after:?}");
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn plain_nmf_falls_in_every_sweep(
        loss in losses(), sparse: bool, fast: bool, seed: u64, k in 1..9usize,
    ) {
        // Dropout comes in at once, as large as it may be: see `zinb.rs` for what falls then.
        prop_assume!(loss != LossKind::Zinb);
        let data = Data::new(random(20, 30, 0.4, seed), None);
        let steps = if fast { Steps::fast(loss) } else { Steps::ONE };
        let params = FitParams { maxit: 60, tol: 0.0, steps, ..FitParams::new(k, loss) };
        falls::<f64>(&data, &params, sparse, 1e-9)?;
        falls::<f32>(&data, &params, sparse, 1e-5)?;
    }

    /// Whatever the steps, the precision and the batches, from loadings and from factors.
    #[test]
    fn held_loadings_stay(
        scenario in scenarios(),
        goes_on: bool,
        (accelerate, batches) in (any::<bool>(), proptest::option::of(1..20usize)),
        each: bool,
    ) {
        let data = scenario.data();
        let Scenario { k, hold, .. } = scenario;
        let factors = scenario.factors();
        let update = if each { Update::Batch } else { Update::Pass };
        let batches = batches.filter(|_| scenario.hold_out.is_none());
        let params = FitParams {
            maxit: 8,
            accelerate,
            revive: true,
            batches: batches.map(|size| Batches { size, update }),
            ..scenario.params()
        };
        let start = if goes_on { Start::Factors(factors.clone()) } else { Start::Loadings(factors.w.clone()) };
        let first = data.fit::<f64>(scenario.sparse, &FitParams { maxit: 0, ..params.clone() }, &start).factors();
        let from = (k - hold) * scenario.rows;
        let fit = data.fit::<f64>(scenario.sparse, &params, &start).factors();
        prop_assert_eq!(&fit.w[from..], &first.w[from..]);
        let single = data.fit::<f32>(scenario.sparse, &params, &start).factors();
        let rounded: Vec<f64> = first.w[from..].iter().map(|w| f64::from(*w as f32)).collect();
        prop_assert_eq!(&single.w[from..], &rounded[..]);
    }

    #[test]
    fn explained_backgrounds_fall_in_every_sweep(
        loss in losses(),
        sparse: bool,
        fast: bool,
        seed: u64,
        (k, k_target) in (1..9usize).prop_flat_map(|k| (Just(k), 0..=k)),
        hold in 0..3usize,
        lambda in 0.05..4.0f64,
    ) {
        prop_assume!(loss != LossKind::Zinb);
        let data = Data::new(random(20, 30, 0.4, seed), Some(random(20, 25, 0.4, !seed)));
        let weight = data.problem(sparse).weight(Contrast::Explain(lambda), loss);
        let steps = if fast { Steps::fast(loss) } else { Steps::ONE };
        let hold = hold.min(k_target).min(k - 1);
        let params = FitParams { maxit: 60, tol: 0.0, weight, k_target, hold, steps, ..FitParams::new(k, loss) };
        falls::<f64>(&data, &params, sparse, 1e-9)?;
        falls::<f32>(&data, &params, sparse, 1e-5)?;
    }
}

fn runs_away<T: Real>(loss: LossKind) {
    // The second feature is in the target alone, the factor in the background alone: nothing holds
    // the factor's loading there.
    let x = ndarray::array![[1.0, 2.0], [3.0, 1.0], [2.0, 0.5]];
    let y = ndarray::array![[2.0, 1.0], [0.0, 0.0], [1.0, 3.0]];
    let data = Data::new(common::fortran(&x), Some(common::fortran(&y)));
    let start = Factors {
        w: vec![0.3, 0.4, 0.3, 0.2, 0.5, 0.3],
        h: vec![1.0, 0.0, 2.0, 0.0],
        h_background: vec![1.0; 4],
    };
    for weight in [-0.3, -1.5, -3.0] {
        let params = FitParams {
            maxit: 50,
            tol: 0.0,
            weight,
            ..FitParams::new(2, loss)
        };
        let fit = data.fit::<T>(true, &params, &Start::Factors(start.clone()));
        assert!(
            !fit.failed(),
            "{loss:?} {weight} {:?} {:?} {:?} {:?}",
            fit.sizes(),
            fit.dropout(),
            fit.history(),
            fit.factors()
        );
        let Factors { w, h, h_background } = fit.factors();
        assert!(
            w.iter()
                .chain(&h)
                .chain(&h_background)
                .all(|v| v.is_finite())
        );
        assert!(
            fit.history().iter().all(|r| r.objective.is_finite()),
            "{:?}",
            fit.history()
        );
    }
}

#[test]
fn a_factor_that_the_target_does_not_use_stays_finite() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        runs_away::<f64>(loss);
        runs_away::<f32>(loss);
    }
}

/// A strong penalty takes all of the target out of some factors. Without a weight the background has no word in what becomes of their loadings, and its
/// coefficients still stay where they are a response.
#[test]
fn a_background_without_weight_stays_finite_where_factors_die() {
    for seed in 0..10 {
        let data = Data::new(random(30, 40, 0.4, seed), Some(random(30, 30, 0.4, !seed)));
        let params = FitParams {
            maxit: 100,
            tol: 0.0,
            h_penalty: Penalty { l1: 2.0, l2: 0.0 },
            steps: Steps::fast(LossKind::Mse),
            ..FitParams::new(6, LossKind::Mse)
        };
        let nothing: f64 = data.y.iter().flatten().map(|y| y * y).sum();
        let check = |failed: bool, history: &[Record]| {
            assert!(!failed, "{history:?}");
            assert!(history[100].background <= nothing, "{history:?}");
        };
        let double = data.fit::<f64>(true, &params, &Start::Seed(seed));
        check(double.failed(), double.history());
        let single = data.fit::<f32>(true, &params, &Start::Seed(seed));
        check(single.failed(), single.history());
    }
}

/// Below the regime in which W collapses, contrast too settles: a fit of counts ends lower than it
/// started, and every sweep's W step lowered F.
#[test]
fn moderate_contrast_settles() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let data = Data::new(random(30, 60, 0.5, 1), Some(random(30, 40, 0.5, 2)));
        let weight = data.problem(true).weight(Contrast::Beta(0.3), loss);
        let params = FitParams {
            maxit: 200,
            tol: 0.0,
            weight,
            ..FitParams::new(4, loss)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(3));
        let history = fit.history();
        assert!(history[200].objective < history[0].objective, "{loss:?}");
        assert!(
            history[200].change < 1e-4,
            "{loss:?}: {}",
            history[200].change
        );
    }
}

/// Passes of coordinate descent go as far as the background's coefficients of the sweep before let them, and these give way: without
/// shorter steps for factors that turn round four of these fits go to and fro for ever.
#[test]
fn contrasts_with_coordinate_descent_come_to_rest() {
    let mut settled = 0;
    for (beta, accelerate) in [(0.2, false), (0.2, true), (0.5, false), (0.5, true)] {
        for seed in 1..=6 {
            let data = Data::new(random(30, 60, 0.5, seed), Some(random(30, 40, 0.5, !seed)));
            let params = FitParams {
                maxit: 1000,
                tol: 1e-9,
                weight: data
                    .problem(true)
                    .weight(Contrast::Beta(beta), LossKind::Mse),
                steps: Steps::fast(LossKind::Mse),
                accelerate,
                ..FitParams::new(4, LossKind::Mse)
            };
            let fit = data.fit::<f64>(true, &params, &Start::Seed(seed));
            settled += usize::from(fit.converged());
        }
    }
    assert!(settled >= 23, "{settled} of 24");
}

/// How far from optimal (Karush, Kuhn, Tucker) `solution` is for `min ‖data − basis · solution‖²`, `solution ≥ 0`, given
/// the Gram matrix and `basisᵀ data`: the gradient where it may not be negative, and has to be zero.
fn optimality_gap(gram: &Array2<f64>, pull: &Array2<f64>, solution: &Array2<f64>) -> f64 {
    let gradient = gram.dot(solution) - pull;
    let most = pull.iter().copied().fold(0.0, f64::max);
    gradient
        .iter()
        .zip(solution)
        .map(|(&g, &s)| if s > 1e-9 { g.abs() } else { (-g).max(0.0) })
        .fold(0.0, f64::max)
        / most
}

proptest! {
    #![proptest_config(cases(60))]

    /// With as many passes as it takes, H is the non-negative least squares solution for the old W, and W the one for
    /// the new H, of both sets where the background is explained.
    #[test]
    fn passes_of_mse_end_at_the_least_squares_solution(
        rows in 4..15usize, cells in 4..15usize, others in 1..8usize, k in 1..4usize, weight in 0.0..2.0f64, sparse: bool, seed: u64,
    ) {
        let data = Data::new(random(rows, cells, 0.8, seed), Some(random(rows, others, 0.8, !seed)));
        let params = FitParams {
            maxit: 1,
            weight,
            scaling: BARE,
            steps: Steps { h: 3000, first: 3000, w: 3000 },
            ..FitParams::new(k, LossKind::Mse)
        };
        let start = start_of(&data, k, seed);
        let Start::Factors(old) = &start else { unreachable!() };
        let new = data.fit::<f64>(sparse, &params, &start).factors();
        let w = matrix(&old.w, rows);
        let y = data.y.as_ref().expect("a background");
        let [h, h_y] = [matrix(&new.h, k), matrix(&new.h_background, k)];
        for (x, h) in [(&data.x, &h), (y, &h_y)] {
            let gap = optimality_gap(&w.t().dot(&w), &w.t().dot(x), h);
            prop_assert!(gap <= 1e-7, "H: {gap:e}");
        }
        let gram = h.dot(&h.t()) + h_y.dot(&h_y.t()) * weight;
        let pull = h.dot(&data.x.t()) + h_y.dot(&y.t()) * weight;
        let gap = optimality_gap(&gram, &pull, &matrix(&new.w, rows).reversed_axes());
        prop_assert!(gap <= 1e-7, "W: {gap:e}");
    }
}

/// Several steps are only a faster way: where they settle, single ones stay, and the reverse.
#[test]
fn the_number_of_steps_does_not_move_fixed_points() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let data = Data::new(random(12, 20, 1.0, 1), Some(random(12, 15, 1.0, 2)));
        for contrast in [Contrast::Beta(0.2), Contrast::Explain(0.7)] {
            let weight = data.problem(false).weight(contrast, loss);
            let with = |steps, maxit, start: &Start| {
                let params = FitParams {
                    maxit,
                    tol: 0.0,
                    weight,
                    steps,
                    dispersion: Dispersion {
                        by: By::Fixed,
                        shared: true,
                        size: [vec![2.0; 12], Vec::new()],
                    },
                    ..FitParams::new(2, loss)
                };
                data.fit::<f64>(false, &params, start)
            };
            for (to, then) in [
                (Steps::fast(loss), Steps::ONE),
                (Steps::ONE, Steps::fast(loss)),
            ] {
                let settled = with(to, 20_000, &Start::Seed(1)).factors();
                let moved = with(then, 50, &Start::Factors(settled.clone())).factors();
                let error = factor_distance(&settled, &moved);
                // Single steps have not quite arrived after 20 000 sweeps, and coordinate descent goes the rest.
                let rest = loss == LossKind::Mse && to == Steps::ONE;
                let bound = if rest { 1e-5 } else { 1e-6 };
                assert!(error <= bound, "{loss:?} {contrast:?} {to:?}: {error:e}");
            }
        }
    }
}

/// From the same start and in as many sweeps, several steps come further down.
#[test]
fn several_steps_save_sweeps() {
    let data = Data::new(random(40, 60, 0.5, 1), None);
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let [one, fast] = [Steps::ONE, Steps::fast(loss)].map(|steps| {
            let params = FitParams {
                maxit: 30,
                tol: 0.0,
                steps,
                ..FitParams::new(5, loss)
            };
            let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
            fit.history()[30].objective
        });
        assert!(fast < one, "{loss:?}: {fast} {one}");
    }
}

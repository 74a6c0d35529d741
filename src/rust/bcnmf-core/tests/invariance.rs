//! What must not matter: storage, scale, rescaling, threads, slices of time, a pause.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{
    By, Contrast, Dispersion, Dropout, Factors, FitParams, Outcome, Penalty, Problem, Restarts,
    Scaling, Steps, Weights,
};
use bcnmf_core::matrix::Missing;
use bcnmf_core::real::Real;
use bcnmf_core::{Driver, LossKind, Matrix, Start};
use common::scenario::{Data, Scenario, losses, random, scenarios, start_of};
use common::{Sparse, cases, distance, factor_distance, finish, product};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::sync::Arc;
use std::time::Duration;

/// A problem in the regime that a user would choose: positive data, moderate contrast.
fn sane(loss: LossKind, seed: u64, beta: f64, k: usize) -> (Data, FitParams) {
    let data = Data::new(random(15, 20, 1.0, seed), Some(random(15, 12, 1.0, !seed)));
    let weight = data.problem(false).weight(Contrast::Beta(beta), loss);
    (
        data,
        FitParams {
            maxit: 20,
            tol: 0.0,
            weight,
            dispersion: Dispersion {
                by: By::Fixed,
                shared: true,
                size: [vec![2.0; 15], Vec::new()],
            },
            ..FitParams::new(k, loss)
        },
    )
}

/// The scenario's parameters with a contrast of at most beta = 0.3: where F has no lower bound,
/// rounding errors grow as fast as the factors do.
fn moderate(scenario: &Scenario, data: &Data) -> FitParams {
    let contrast = match scenario.weight {
        weight if weight < 0.0 => Contrast::Beta(-weight / 10.0),
        weight => Contrast::Explain(weight),
    };
    let weight = data.problem(true).weight(contrast, scenario.loss);
    FitParams {
        weight,
        ..scenario.params()
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn dense_and_sparse_agree(scenario in scenarios(), seed: u64, normalised: bool) {
        let data = scenario.data();
        let scaling = if normalised { Scaling::Normalised } else { Scaling::Plain { guard: 1e-16 } };
        let params = FitParams { maxit: 10, scaling, ..moderate(&scenario, &data) };
        let start = Start::Seed(seed);
        let dense = data.fit::<f64>(false, &params, &start);
        let sparse = data.fit::<f64>(true, &params, &start);
        prop_assert!(factor_distance(&dense.factors(), &sparse.factors()) <= 1e-10);
        let zeros = (Sparse::with_zeros(&data.x), data.y.as_ref().map(Sparse::with_zeros));
        let x = zeros.0.view().with_missing(data.missing);
        let y = zeros.1.as_ref().map(|y| y.view().with_missing(data.missing));
        let problem = Problem::weighted(x, y, data.weights.clone()).expect("valid data");
        let problem = problem.with_mixture(data.mixture.clone()).expect("in order");
        let stored = finish::<f64>(problem, &params, &start);
        prop_assert!(factor_distance(&dense.factors(), &stored.factors()) <= 1e-10);
    }

    #[test]
    fn rescaling_changes_no_product(
        loss in losses(), seed: u64, beta in 0.0..0.5f64, k in 1..6usize,
    ) {
        let (data, params) = sane(loss, seed, beta, k);
        let start = start_of(&data, k, seed);
        let on = data.fit::<f64>(false, &params, &start).factors();
        let params = FitParams { scaling: Scaling::Plain { guard: 1e-300 }, ..params };
        let off = data.fit::<f64>(false, &params, &start).factors();
        for (h_on, h_off) in [(&on.h, &off.h), (&on.h_background, &off.h_background)] {
            let (a, b) = (product(&on.w, h_on, k), product(&off.w, h_off, k));
            let error = a.iter().zip(&b).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
            prop_assert!(error <= 1e-8, "{error:e}");
        }
        for column in on.w.chunks_exact(15) {
            prop_assert!((column.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_power_of_two_in_the_unit_changes_no_bit(
        scenario in scenarios(), power in -90..90i32, seed: u64, single: bool,
    ) {
        // Sizes have a unit of their own.
        prop_assume!(!scenario.loss.has_sizes());
        let data = scenario.data();
        let params = FitParams { maxit: 8, ..scenario.params() };
        if single {
            same_bits_scaled::<f32>(&data, &params, power, seed)?;
        } else {
            same_bits_scaled::<f64>(&data, &params, power, seed)?;
        }
    }

    #[test]
    fn the_unit_does_not_matter(
        scenario in scenarios(),
        c in prop_oneof![Just(1e30), Just(1e-30), Just(3.0), 1e-5..1e5f64],
        seed: u64,
    ) {
        // Where all that a cell shows is at the floor, what is left after taking off the held-out entries is rounding. And where next to
        // nothing is in the data, factors come to the floor.
        let density = scenario.density.max(0.3);
        // Coordinate descent reaches exact fits of few data, which are not unique.
        let k = scenario.k.min(scenario.cells.min(scenario.rows).div_ceil(2));
        let k_target = scenario.k_target.min(k);
        let all = scenario.missing.0 == Missing::None;
        let steps = if all { scenario.steps } else { Steps::ONE };
        // What a contrasted background alone tells of a feature, its known target cells being of no weight, is anything.
        let weighted = scenario.weighted && all;
        let scenario = Scenario { hold_out: None, weighted, density, k, k_target, steps, ..scenario };
        prop_assume!(!scenario.loss.has_sizes());
        let data = scenario.data();
        let mut params = FitParams { maxit: 8, ..moderate(&scenario, &data) };
        // Not so strong that factors die, and come back from the floor, whose place depends on the unit.
        params.w_penalty.l1 /= 10.0;
        params.weight = params.weight.max(-0.5);
        let error = scale_error::<f64>(&data, &params, c, seed);
        // Coordinate descent takes differences, which may cost half of the digits of a factor that shrinks at once.
        let descent = params.loss == LossKind::Mse && params.steps != Steps::ONE;
        // And so do entries that are taken off.
        let bound = if all { 1e-9 } else { 1e-7 };
        prop_assert!(error <= if descent { 1e-5 } else { bound }, "double: {error:e}");
        let error = scale_error::<f32>(&data, &params, c, seed);
        prop_assert!(error <= 3e-3, "single: {error:e}");
    }

}

/// Largest difference between the fits of the data and of `c` times the data, as parts of the
/// largest value. Penalties can take a model down to the floor, whose place depends on the unit:
/// W is looked at without them only.
fn scale_error<T: Real>(data: &Data, params: &FitParams, c: f64, seed: u64) -> f64 {
    let one = data.fit::<T>(true, params, &Start::Seed(seed)).factors();
    let scaled = data.scaled(c);
    let many = scaled.fit::<T>(true, params, &Start::Seed(seed)).factors();
    let free = params.w_penalty == Penalty::default() && params.h_penalty == Penalty::default();
    let w = if free { distance(&one.w, &many.w) } else { 0.0 };
    let sets = [(&data.x, &one.h, &many.h)];
    let background = data
        .y
        .iter()
        .map(|y| (y, &one.h_background, &many.h_background));
    sets.into_iter()
        .chain(background)
        .fold(w, |worst, (x, h_one, h_many)| {
            let most = x.iter().copied().fold(0.0, f64::max);
            let (a, b) = (
                product(&one.w, h_one, params.k),
                product(&many.w, h_many, params.k),
            );
            let error = a
                .iter()
                .zip(&b)
                .map(|(a, b)| (a - b / c).abs() / most)
                .fold(0.0, f64::max);
            worst.max(error)
        })
}

fn same_bits_scaled<T: Real>(
    data: &Data,
    params: &FitParams,
    power: i32,
    seed: u64,
) -> TestCaseResult {
    let c = 2f64.powi(power);
    let scaled = data.scaled(c);
    let one = data.fit::<T>(true, params, &Start::Seed(seed));
    let many = scaled.fit::<T>(true, params, &Start::Seed(seed));
    let (f, mut g) = (one.factors(), many.factors());
    g.h.iter_mut()
        .chain(&mut g.h_background)
        .for_each(|h| *h /= c);
    for (f, g) in [
        (&f.w, &g.w),
        (&f.h, &g.h),
        (&f.h_background, &g.h_background),
    ] {
        // Below, dividing by the scale has rounded to a subnormal number.
        let same = |(f, g): (&f64, &f64)| f == g || f.max(*g) < 1e-250;
        prop_assert!(f.iter().zip(g).all(same), "{f:?} {g:?}");
    }
    let c = if params.loss == LossKind::Mse {
        c * c
    } else {
        c
    };
    // Without a lower bound, what the larger unit has no number for.
    let same = |one: f64, many: f64| one == many / c || !many.is_finite();
    for (one, many) in one.history().iter().zip(many.history()) {
        prop_assert_eq!(one.target, many.target / c);
        prop_assert!(same(one.objective, many.objective));
        prop_assert!(same(one.background, many.background));
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn without_weight_a_background_does_not_touch_w(
        loss in losses(), sparse: bool, seed: u64, k in 1..6usize, alpha in prop_oneof![Just(0.0), Just(-0.0)],
    ) {
        let data = Data::new(random(15, 20, 0.5, seed), Some(random(15, 12, 0.5, !seed)));
        let params = FitParams { maxit: 15, tol: 0.0, ..FitParams::new(k, loss) };
        let alone = data.without_background();
        let alone = alone.fit::<f64>(sparse, &params, &Start::Seed(seed)).factors();
        let weight = data.problem(sparse).weight(Contrast::Alpha(alpha), loss);
        let params = FitParams { weight, ..params };
        let beside = data.fit::<f64>(sparse, &params, &Start::Seed(seed)).factors();
        prop_assert!(distance(&alone.w, &beside.w) <= 1e-12);
        prop_assert!(distance(&alone.h, &beside.h) <= 1e-12);
    }

    #[test]
    fn target_only_factors_are_not_used_by_the_background(
        loss in losses(), sparse: bool, seed: u64, k_target in 0..6usize, lambda in 0.1..3.0f64,
    ) {
        let k = 5;
        let k_target = k_target.min(k);
        let data = Data::new(random(15, 20, 0.9, seed), Some(random(15, 12, 0.9, !seed)));
        // Sizes and dropout that stay: when they are estimated depends on how much those of both sets still move.
        let dispersion = Dispersion { by: By::Fixed, shared: false, size: [vec![2.0; 15], vec![1.0; 15]] };
        let dropout = Dropout { fixed: true, probability: [vec![0.1; 15], vec![0.2; 15]], ..Dropout::default() };
        let params =
            FitParams { maxit: 15, tol: 0.0, weight: lambda, k_target, dispersion, dropout, ..FitParams::new(k, loss) };
        for start in [Start::Seed(seed), start_of(&data, k, seed)] {
            let fit = data.fit::<f64>(sparse, &params, &start).factors();
            for cell in fit.h_background.chunks_exact(k) {
                prop_assert!(cell[k - k_target..].iter().all(|h| *h == 0.0));
                prop_assert!(cell[..k - k_target].iter().all(|h| *h > 0.0));
            }
        }
        if k_target == k {
            let fit = data.fit::<f64>(sparse, &params, &Start::Seed(seed)).factors();
            let plain = FitParams { weight: 0.0, k_target: 0, ..params };
            let alone = data.without_background();
            let alone = alone.fit::<f64>(sparse, &plain, &Start::Seed(seed)).factors();
            prop_assert!(distance(&alone.w, &fit.w) <= 1e-12);
        }
    }

    #[test]
    fn a_pause_does_not_matter(scenario in scenarios(), seed: u64, first in 1..15usize) {
        // A contrast with coordinate descent compares its steps, and has none from before the pause.
        let w = if scenario.weight < 0.0 { 1 } else { scenario.steps.w };
        let scenario = Scenario { steps: Steps { w, ..scenario.steps }, ..scenario };
        let data = scenario.data();
        let fit = |maxit: usize, start: &Start| {
            let params = FitParams { maxit, ..moderate(&scenario, &data) };
            data.fit::<f64>(scenario.sparse, &params, start).factors()
        };
        let long = fit(20, &Start::Seed(seed));
        let short = fit(first, &Start::Seed(seed));
        // Where a contrast has no bound nothing holds the background's coefficients either.
        prop_assume!(short.h_background.iter().all(|h| *h < 1e100));
        let resumed = fit(20 - first, &Start::Factors(short));
        let error = factor_distance(&long, &resumed);
        prop_assert!(error <= 1e-9, "{error:e}");
    }

    #[test]
    fn background_cells_of_no_weight_are_as_good_as_absent(
        loss in losses(), seed: u64, sparse: bool, zeros_lack: bool, absent in 1..8usize, k in 1..4usize,
    ) {
        let (cells, features) = (12, 15);
        let density = if zeros_lack { 0.8 } else { 1.0 };
        let background = random(features, cells, density, !seed);
        let weights = |n: usize| Weights {
            cells: [vec![1.0; 20], (0..n).map(|j| if j < cells - absent { 1.5 } else { 0.0 }).collect()],
            ..Weights::default()
        };
        let data = |n: usize| {
            let background = background.slice(ndarray::s![.., ..n]).to_owned();
            Data::new(random(features, 20, density, seed), Some(background))
                .with_missing(if zeros_lack { Missing::Zeros } else { Missing::None })
                .with_weights(weights(n))
        };
        let (all, some) = (data(cells), data(cells - absent));
        let Start::Factors(start) = start_of(&all, k, seed) else { unreachable!("it has factors") };
        let mut part = start.clone();
        part.h_background.truncate((cells - absent) * k);
        let weight = some.problem(sparse).weight(Contrast::Beta(0.3), loss);
        let params = FitParams { maxit: 10, tol: 0.0, weight, ambient: 0.05, ..FitParams::new(k, loss) };
        let mut fit = all.fit::<f64>(sparse, &params, &Start::Factors(start)).factors();
        let without = some.fit::<f64>(sparse, &params, &Start::Factors(part)).factors();
        fit.h_background.truncate((cells - absent) * k);
        let error = factor_distance(&fit, &without);
        prop_assert!(error <= 1e-9, "{error:e}");
    }
}

/// All bits of what comes out of several starts.
fn outcome<T: Real>(
    data: &Data,
    sparse: bool,
    params: &FitParams,
    (starts, threads): (u64, usize),
    budget: Duration,
) -> (Factors, Vec<Outcome>) {
    let problem = Arc::new(data.problem(sparse));
    let starts = (1..=starts).map(Start::Seed).collect();
    let pool = pool(threads).expect("threads");
    let mut fit = Restarts::<T>::new(problem, params.clone(), starts, pool).expect("valid");
    let mut calls = 0;
    while !fit.advance(budget).done {
        calls += 1;
        assert!(
            calls < 300_000,
            "{budget:?} at a time does not get anywhere"
        );
    }
    (fit.factors(), fit.outcomes().to_vec())
}

/// NaN is part of a history, so bits are compared by what they print as.
fn same(a: &(Factors, Vec<Outcome>), b: &(Factors, Vec<Outcome>)) -> bool {
    a.0 == b.0 && format!("{:?}", a.1) == format!("{:?}", b.1)
}

fn threads_and_slices<T: Real>(loss: LossKind, sparse: bool) {
    let data = Data::new(random(60, 2500, 0.5, 1), Some(random(60, 1700, 0.5, 2)));
    let (x, y) = data.matrices(sparse);
    assert!(x.stripes().len() >= 8 && y.map_or(0, |y| y.stripes().len()) >= 8);
    let params = FitParams {
        maxit: 4,
        tol: 0.0,
        weight: -0.3,
        steps: Steps::fast(loss),
        ..FitParams::new(5, loss)
    };
    let long = Duration::from_secs(600);
    let want = outcome::<T>(&data, sparse, &params, (2, 1), long);
    for threads in [2, 4] {
        let got = outcome::<T>(&data, sparse, &params, (2, threads), long);
        assert!(same(&want, &got), "{threads} threads");
    }
    for (threads, micros) in [(1, 1000), (2, 300), (2, 50), (1, 1)] {
        let got = outcome::<T>(
            &data,
            sparse,
            &params,
            (2, threads),
            Duration::from_micros(micros),
        );
        assert!(
            same(&want, &got),
            "{threads} threads, {micros} µs at a time"
        );
    }
}

#[test]
fn threads_and_slices_change_no_bit_mse() {
    for sparse in [false, true] {
        threads_and_slices::<f64>(LossKind::Mse, sparse);
        threads_and_slices::<f32>(LossKind::Mse, sparse);
    }
}

#[test]
fn threads_and_slices_change_no_bit_nb() {
    for sparse in [false, true] {
        threads_and_slices::<f64>(LossKind::Nb, sparse);
        threads_and_slices::<f32>(LossKind::Nb, sparse);
        threads_and_slices::<f32>(LossKind::Zinb, sparse);
    }
}

#[test]
fn threads_and_slices_change_no_bit_poisson() {
    for sparse in [false, true] {
        threads_and_slices::<f64>(LossKind::Poisson, sparse);
        threads_and_slices::<f32>(LossKind::Poisson, sparse);
    }
}

/// Starts are fitted one after the other by one thread, side by side by several.
#[test]
fn starts_side_by_side_change_no_bit() {
    let data = Data::new(random(30, 400, 0.5, 1), Some(random(30, 200, 0.5, 2)));
    let params = FitParams {
        maxit: 60,
        // Some starts converge before others.
        tol: 3e-4,
        weight: -0.3,
        ..FitParams::new(4, LossKind::Mse)
    };
    for starts in [1, 2, 3, 7] {
        let long = Duration::from_secs(600);
        let want = outcome::<f64>(&data, true, &params, (starts, 1), long);
        assert_eq!(want.1.len(), starts as usize);
        for threads in [1, 2, 3, 8] {
            for budget in [long, Duration::from_micros(200), Duration::from_micros(1)] {
                let got = outcome::<f64>(&data, true, &params, (starts, threads), budget);
                assert!(
                    same(&want, &got),
                    "{starts} starts, {threads} threads, {budget:?} at a time"
                );
            }
        }
    }
}

#[test]
fn the_sums_of_the_data_do_not_depend_on_threads() {
    let data = Data::new(random(60, 2500, 0.5, 1), None);
    let sums = |threads: usize, sparse: bool| {
        let (x, _): (Matrix<'_>, _) = data.matrices(sparse);
        let s = pool(threads)
            .expect("threads")
            .install(|| x.check("target", [&[], &[]]).expect("valid"));
        (s.sum, s.sum_squares, s.row_sums, s.column_sums)
    };
    for sparse in [false, true] {
        assert_eq!(sums(1, sparse), sums(4, sparse));
    }
}

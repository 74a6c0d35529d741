//! Mini-batches: the same as full batch where W waits for the pass, near it after few passes where it does not.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{
    Batches, By, Contrast, Dispersion, Dropout, FitParams, FullBatch, Problem, Restarts, Scaling,
    Steps, Update,
};
use bcnmf_core::matrix::{HoldOut, Missing};
use bcnmf_core::real::Real;
use bcnmf_core::{Driver, LossKind, Matrix, Start};
use common::planted::{FEATURES, counts, planted, planted_in};
use common::scenario::{Data, Scenario, random, scenarios};
use common::{cases, factor_distance, naive, run};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn batches(size: usize, update: Update) -> Option<Batches> {
    Some(Batches { size, update })
}

/// A contrast at which rounding errors do not grow, and no entries held out.
fn moderate(scenario: &Scenario, data: &Data) -> FitParams {
    let contrast = match scenario.weight {
        weight if weight < 0.0 => Contrast::Beta(-weight / 10.0),
        weight => Contrast::Explain(weight),
    };
    FitParams {
        weight: data.problem(true).weight(contrast, scenario.loss),
        maxit: 6,
        hold_out: None,
        ..scenario.params()
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn w_that_waits_for_the_pass_is_that_of_a_full_batch(
        scenario in scenarios(), size in 1..50usize, seed: u64,
    ) {
        // Coordinate descent takes few data to the end, where a fit is exact and not the only one.
        let descent = scenario.loss == LossKind::Mse || scenario.mixture().contains(&LossKind::Mse);
        let steps = if descent { Steps::ONE } else { scenario.steps };
        let scenario = Scenario { steps, ..scenario };
        let data = scenario.data();
        // What only entries that are missing, or cells of no weight, would tell of a feature is anything.
        prop_assume!(data.is_seen() || (scenario.missing.0 == Missing::None && !scenario.weighted));
        let full = moderate(&scenario, &data);
        let cut = FitParams { batches: batches(size, Update::Pass), ..full.clone() };
        let start = Start::Seed(seed);
        let want = data.fit::<f64>(scenario.sparse, &full, &start);
        let got = data.fit::<f64>(scenario.sparse, &cut, &start);
        let error = factor_distance(&want.factors(), &got.factors());
prop_assert!(error <= 1e-9, "{error:e}");
        prop_assert_eq!(want.history().len(), got.history().len());
        for (a, b) in want.history().iter().zip(got.history()) {
            let size = 1e-9 * (a.target.abs() + a.background.abs().max(0.0) + 1.0);
            prop_assert!((a.target - b.target).abs() <= size, "{a:?} {b:?}");
        }
    }

    #[test]
    fn any_data_give_finite_factors_and_a_true_last_record(
        scenario in scenarios(), size in 1..50usize, passes in 1..5usize, seed: u64,
    ) {
        // Every entry can be fitted: a count whose rate is zero costs what the unit makes of it.
        let scenario = Scenario { density: 1.0, blank: false, ..scenario };
        let data = scenario.data();
        prop_assume!(data.is_seen());
        let params = FitParams {
            maxit: passes, tol: 0.0, batches: batches(size, Update::Batch), ..moderate(&scenario, &data)
        };
        let fit = data.fit::<f64>(scenario.sparse, &params, &Start::Seed(seed));
        prop_assert!(!fit.failed());
        prop_assert!(fit.iteration() <= passes && fit.history().len() == fit.iteration() + 1);
        let factors = fit.factors();
        let all = [&factors.w, &factors.h, &factors.h_background];
        prop_assert!(all.iter().all(|part| part.iter().all(|v| v.is_finite() && *v >= 0.0)));
        // Nothing that is closed to the background opens.
        for cell in factors.h_background.chunks_exact(params.k) {
            prop_assert!(cell[params.k - params.k_target..].iter().all(|h| *h == 0.0));
        }
        let want = naive(&data, &factors, &params);
        let last = fit.history()[fit.iteration()];
        prop_assert!((last.target - want.target).abs() <= 1e-9 * want.magnitude);
    }

    #[test]
    fn dense_sparse_threads_and_slices_of_time_give_the_same(
        scenario in scenarios(), size in 1..50usize, each: bool, seed: u64,
    ) {
        let data = scenario.data();
        let update = if each { Update::Batch } else { Update::Pass };
        let params = FitParams { maxit: 3, batches: batches(size, update), ..moderate(&scenario, &data) };
        let start = Start::Seed(seed);
        let fit = |threads: usize, budget: Duration| {
            let problem = Arc::new(data.problem(scenario.sparse));
            let pool = pool(threads).expect("threads");
            let mut fit = Restarts::<f32>::new(problem, params.clone(), vec![start.clone()], pool).expect("valid");
            while !fit.advance(budget).done {}
            (fit.factors(), fit.outcomes()[0].history.last().map(|r| r.objective.to_bits()))
        };
        let want = fit(1, Duration::from_secs(60));
        prop_assert_eq!(&want, &fit(3, Duration::from_secs(60)));
        prop_assert_eq!(&want, &fit(2, Duration::ZERO));
        // Records of dense data are summed in other stripes.
        let [dense, sparse] = [false, true].map(|sparse| data.fit::<f64>(sparse, &params, &start).factors());
        prop_assert!(factor_distance(&dense, &sparse) <= 1e-8);
    }
}

fn fit<'a, T: Real>(problem: &Arc<Problem<'a>>, params: &FitParams, seed: u64) -> FullBatch<'a, T> {
    let start = Start::Seed(seed);
    let mut fit = FullBatch::<T>::new(problem.clone(), params.clone(), &start).expect("valid");
    assert!(fit.advance(Instant::now() + Duration::from_secs(600)));
    fit
}

#[test]
fn few_passes_come_near_the_full_batch_and_nearer_than_as_many_sweeps() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        for seed in 1..3 {
            let sim = planted_in([2000, 1000], 4, 2, 0.2, seed);
            let x = counts(&sim.target, FEATURES);
            let y = counts(&sim.background, FEATURES);
            let problem = Arc::new(Problem::new(x, Some(y)).expect("valid"));
            let contrasts = [(Contrast::ExplainBySize(1.0), 2), (Contrast::Beta(0.2), 0)];
            for (contrast, k_target) in contrasts {
                let full = FitParams {
                    weight: problem.weight(contrast, loss),
                    k_target,
                    maxit: 100,
                    tol: 0.0,
                    ambient: 0.02,
                    steps: Steps::fast(loss),
                    ..FitParams::new(6, loss)
                };
                let short = FitParams {
                    maxit: 3,
                    ..full.clone()
                };
                let online = FitParams {
                    batches: batches(20, Update::Batch),
                    ..short.clone()
                };
                let target = |params: &FitParams| {
                    let fit = fit::<f32>(&problem, params, seed);
                    fit.history()[fit.iteration()].target
                };
                let [full, online, short] = [&full, &online, &short].map(target);
                let said = format!("{loss:?} {contrast:?} {seed}: {full} {online} {short}");
                assert!(online < 1.2 * full, "{said}");
                // Sweeps by coordinate descent get further than others.
                let part = if loss == LossKind::Mse { 0.5 } else { 0.1 };
                assert!(online - full < part * (short - full), "{said}");
            }
        }
    }
}

/// Going on from a fit keeps what it has found.
#[test]
fn a_fit_that_goes_on_in_batches_stays_near_its_start() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let sim = planted_in([1000, 1], 4, 0, 0.0, 3);
        let problem = Arc::new(Problem::new(counts(&sim.target, FEATURES), None).expect("valid"));
        let full = FitParams {
            maxit: 200,
            tol: 0.0,
            ..FitParams::new(4, loss)
        };
        let one = FitParams {
            maxit: 1,
            batches: batches(20, Update::Batch),
            ..full.clone()
        };
        let last = |fit: &FullBatch<'_, f32>| fit.history()[fit.iteration()].target;
        let from = fit::<f32>(&problem, &full, 1);
        let start = Start::Factors(from.factors());
        let mut one = one;
        let anew = last(&fit::<f32>(&problem, &one, 1));
        one.dispersion.size[0] = from.sizes().into_iter().next().unwrap_or_default();
        one.dropout.probability[0] = from.dropout().into_iter().next().unwrap_or_default();
        let mut on = FullBatch::<f32>::new(problem.clone(), one, &start).expect("valid");
        assert!(on.advance(Instant::now() + Duration::from_secs(600)));
        let (on, best) = (last(&on), last(&from));
        assert!(on < 1.02 * best, "{loss:?}: {on} {best}");
        assert!(
            on - best < 0.5 * (anew - best),
            "{loss:?}: {on} {anew} {best}"
        );
    }
}

/// Passes of coordinate descent too, on more data than can be fitted exactly.
#[test]
fn descent_that_waits_for_the_pass_is_that_of_a_full_batch() {
    let data = Data::new(random(20, 60, 0.8, 1), Some(random(20, 40, 0.8, 2)));
    for contrast in [Contrast::Beta(0.2), Contrast::ExplainBySize(1.0)] {
        let full = FitParams {
            maxit: 20,
            tol: 0.0,
            weight: data.problem(true).weight(contrast, LossKind::Mse),
            steps: Steps::fast(LossKind::Mse),
            ..FitParams::new(3, LossKind::Mse)
        };
        let cut = FitParams {
            batches: batches(7, Update::Pass),
            ..full.clone()
        };
        let [want, got] =
            [full, cut].map(|params| data.fit::<f64>(true, &params, &Start::Seed(1)).factors());
        let error = factor_distance(&want, &got);
        assert!(error <= 1e-9, "{contrast:?}: {error:e}");
    }
}

/// A feature of one cell in fifty is in few batches.
#[test]
fn what_the_first_batch_does_not_have_is_not_lost() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let mut x = random(12, 200, 1.0, 7);
        for (j, x) in x.row_mut(5).iter_mut().enumerate() {
            *x = if j % 50 == 0 { 20.0 } else { 0.0 };
        }
        let data = Data::new(x, None);
        let params = FitParams {
            maxit: 10,
            tol: 0.0,
            batches: batches(4, Update::Batch),
            dispersion: Dispersion {
                by: By::Fixed,
                shared: true,
                size: [vec![2.0; 12], Vec::new()],
            },
            dropout: Dropout {
                fixed: true,
                probability: [vec![0.1; 12], Vec::new()],
                ..Dropout::default()
            },
            ..FitParams::new(3, loss)
        };
        let fitted = |params: &FitParams| {
            let factors = data.fit::<f64>(true, params, &Start::Seed(3)).factors();
            let fitted: Array2<f64> = common::product(&factors.w, &factors.h, 3);
            fitted.row(5).sum()
        };
        let all = FitParams {
            maxit: 200,
            batches: None,
            ..params.clone()
        };
        // Dispersed counts need not be fitted to their sum.
        let want = match loss {
            LossKind::Nb | LossKind::Zinb => fitted(&all),
            _ => data.x.row(5).sum(),
        };
        let got = fitted(&params);
        assert!(
            got > 0.5 * want && got < 2.0 * want,
            "{loss:?}: {got} of {want}"
        );
    }
}

/// The rule looks at the objective, and says so.
#[test]
fn passes_end_when_the_objective_has_stopped_to_fall() {
    let sim = planted(4, 0, 0.0, 1);
    let problem = |x| Arc::new(Problem::new(x, None).expect("valid"));
    let problem = problem(counts(&sim.target, FEATURES));
    let passes = |tol: f64| {
        let params = FitParams {
            maxit: 60,
            tol,
            batches: batches(25, Update::Batch),
            ..FitParams::new(4, LossKind::Poisson)
        };
        let fit = fit::<f32>(&problem, &params, 1);
        assert_eq!(fit.converged(), fit.iteration() < 60);
        fit.iteration()
    };
    assert_eq!(passes(0.0), 60);
    let (loose, tight) = (passes(1e-2), passes(1e-3));
    assert!((2..tight).contains(&loose) && tight < 60, "{loose} {tight}");
}

#[test]
fn small_backgrounds_large_batches_and_plain_scaling() {
    let data = Data::new(random(6, 40, 1.0, 1), Some(random(6, 3, 1.0, 2)));
    for size in [1, 7, 40, 1000] {
        for scaling in [Scaling::Normalised, Scaling::Plain { guard: 1e-16 }] {
            for weight in [0.5, -0.3] {
                let params = FitParams {
                    weight,
                    scaling,
                    maxit: 20,
                    tol: 0.0,
                    batches: batches(size, Update::Batch),
                    ..FitParams::new(3, LossKind::Poisson)
                };
                let fit = data.fit::<f64>(false, &params, &Start::Seed(1));
                let history = fit.history();
                let (first, last) = (history[1].target, history[20].target);
                assert!(
                    last < first && last > 0.0,
                    "{size} {scaling:?} {weight}: {first} {last}"
                );
            }
        }
    }
}

#[test]
fn what_batches_cannot_do_is_refused() {
    let x = common::fortran(&random(4, 5, 1.0, 1));
    let target: fn(&Array2<f64>) -> Matrix<'_> = common::dense;
    let hold_out = Some(HoldOut { seed: 1, part: 0.1 });
    for (size, hold_out) in [(0, None), (2, hold_out)] {
        let params = FitParams {
            batches: batches(size, Update::Batch),
            hold_out,
            ..FitParams::new(2, LossKind::Mse)
        };
        let problem = Arc::new(Problem::new(target(&x), None).expect("valid"));
        let error = FullBatch::<f64>::new(problem, params, &Start::Seed(1))
            .err()
            .expect("refused");
        assert!(error.to_string().contains("batch size"), "{error}");
    }
    // An evaluation has no batches.
    let params = FitParams {
        batches: batches(2, Update::Batch),
        maxit: 0,
        ..FitParams::new(2, LossKind::Mse)
    };
    assert_eq!(
        run::<f64>(target(&x), None, &params, &Start::Seed(1)).iteration(),
        0
    );
}

//! What a fit says of itself: its history, its model, its restarts.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{Factors, FitParams, Model, Penalty, Record, Restarts};
use bcnmf_core::{Driver, LossKind, Start};
use common::scenario::{Data, Scenario, random, scenarios, start_of};
use common::{cases, factor_distance, naive, product, run};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn the_history_tells_what_the_model_does(
        scenario in scenarios(), sweeps in 0..6usize, seed: u64,
    ) {
        // Every entry can be fitted: a count whose rate is zero costs what the unit makes of it.
        let scenario = Scenario { density: 1.0, blank: false, ..scenario };
        let data = scenario.data();
        prop_assume!(data.is_seen());
        let params = FitParams { maxit: 6, ..scenario.params() };
        for start in [Start::Seed(seed), start_of(&data, scenario.k, seed)] {
            let all = data.fit::<f64>(scenario.sparse, &params, &start);
            let some = FitParams { maxit: sweeps, ..params.clone() };
            let some = data.fit::<f64>(scenario.sparse, &some, &start);
            let want = naive(&data, &some.factors(), &params);
            prop_assert_eq!(some.history().len(), sweeps + 1);
            prop_assert_eq!(some.iteration(), sweeps);
            let record = all.history()[sweeps];
            prop_assert_eq!(record.iteration, sweeps);
            // The last record belongs to the factors that come out.
            prop_assert_eq!(some.history()[sweeps].objective.to_bits(), record.objective.to_bits());
            if data.y.is_none() || scenario.k_target < scenario.k || scenario.loss == LossKind::Mse {
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * want.magnitude;
                prop_assert!(close(record.objective, want.objective), "{record:?} {want:?}");
            }
            prop_assert!((record.target - want.target).abs() <= 1e-9 * want.magnitude);
            prop_assert_eq!(record.background.is_nan(), data.y.is_none());
        }
    }

    #[test]
    fn evaluation_alone_is_naive(scenario in scenarios(), seed: u64) {
        let scenario = Scenario { density: 1.0, blank: false, k_target: 0, ..scenario };
        let data = scenario.data();
        let start = start_of(&data, scenario.k, seed);
        let params = FitParams { maxit: 0, ..scenario.params() };
        let Start::Factors(given) = &start else { unreachable!() };
        let want = naive(&data, given, &params);
        let check = |got: &[Record], tolerance: f64| {
            prop_assert_eq!(got.len(), 1);
            let close = |a: f64, b: f64, size: f64| a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * size;
            prop_assert!(close(got[0].target, want.target, want.magnitude), "{got:?} {want:?}");
            prop_assert!(close(got[0].background, want.background, want.magnitude_background));
            prop_assert!(close(got[0].objective, want.objective, want.magnitude));
            Ok(())
        };
        let double = data.fit::<f64>(scenario.sparse, &params, &start);
        check(double.history(), 1e-11)?;
        prop_assert_eq!(double.held_out().is_some(), scenario.hold_out.is_some());
        for (got, want) in double.held_out().iter().flatten().zip(want.held_out) {
            prop_assert!((got.loss - want).abs() <= 1e-7 * want);
        }
        prop_assert!(factor_distance(given, &double.factors()) == 0.0);
        check(data.fit::<f32>(scenario.sparse, &params, &start).history(), 1e-5)?;
    }
}

/// Data of rank 3 and a start so near that hardly anything is left: the difference of two large
/// sums would be all rounding.
#[test]
fn small_residuals_are_exact_in_single_precision() {
    let (w, h) = (random(40, 3, 1.0, 1), random(3, 60, 1.0, 2));
    let x = common::fortran(&w.dot(&h));
    let squares: f64 = x.iter().map(|x| x * x).sum();
    let data = Data::new(x, None);
    for near in [1e-2, 1e-3, 1e-4, 2e-5] {
        let shake = |m: &Array2<f64>, seed| {
            let noise = random(m.nrows(), m.ncols(), 1.0, seed);
            m + &(m * &noise * near)
        };
        let start = Start::Factors(common::factors(&shake(&w, 3), &shake(&h, 4), None));
        for maxit in [0, 1, 5] {
            let params = FitParams {
                maxit,
                tol: 0.0,
                ..FitParams::new(3, LossKind::Mse)
            };
            let fit = data.fit::<f32>(false, &params, &start);
            let want = naive(&data.without_background(), &fit.factors(), &params).target;
            let got = fit.history()[maxit].target;
            assert!(
                (got / want - 1.0).abs() <= 0.01,
                "{got:e} for {want:e}, {:e} of all squares",
                want / squares
            );
        }
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
        let model = Model::new(&f, k, k_target, 0);
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
    let mut seen = (0, 0.0);
    loop {
        let progress = fit.advance(Duration::from_micros(300));
        let now = (progress.finished, progress.share);
        assert!(now.0 >= seen.0 && now.1 >= seen.1 && progress.starts == 8);
        seen = now;
        if progress.done {
            break;
        }
    }
    assert_eq!(seen, (8, 1.0));
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
fn a_stopped_fit_leaves_the_last_complete_sweeps() {
    let data = Data::new(random(60, 2000, 0.5, 1), None);
    let params = FitParams {
        maxit: 1000,
        tol: 0.0,
        ..FitParams::new(5, LossKind::Poisson)
    };
    let starts: Vec<Start> = (1..=3).map(Start::Seed).collect();
    let mut fit = restarts(&data, &params, starts.clone()).expect("valid");
    while fit.advance(Duration::from_millis(1)).iteration < 3 {}
    fit.stop();
    let progress = fit.advance(Duration::from_secs(60));
    assert!(progress.done && progress.finished == 2);
    // Two threads, so two were in work.
    let ends: Vec<(usize, f64)> = fit
        .outcomes()
        .iter()
        .map(|o| (o.iterations, o.objective()))
        .collect();
    assert_eq!(ends.len(), 2);
    let best = fit.best().expect("stopped");
    // A start that was not evaluated is worse than any.
    let better = |end: &(usize, f64)| end.1 < ends[best].1;
    assert!(
        !ends.iter().any(better) && ends[best].1.is_finite(),
        "{ends:?}"
    );
    for (at, (start, (sweeps, _))) in starts.iter().zip(&ends).enumerate() {
        let params = FitParams {
            maxit: *sweeps,
            ..params.clone()
        };
        let alone = data.fit::<f64>(true, &params, start);
        // The last sweep is not evaluated.
        let history = &fit.outcomes()[at].history;
        let objective = |r: &Record| r.objective;
        assert!(
            history
                .iter()
                .map(objective)
                .eq(alone.history()[..history.len()].iter().map(objective))
        );
        if at == best {
            assert_eq!(alone.factors(), fit.factors());
        }
    }
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
fn starts_that_ended_are_preferred_to_those_that_are_stopped() {
    let data = Data::new(random(60, 2000, 0.5, 1), None);
    // The second starts where the first one is after many sweeps.
    let params = FitParams {
        maxit: 30,
        tol: 0.0,
        ..FitParams::new(5, LossKind::Poisson)
    };
    let far = data.fit::<f64>(true, &params, &Start::Seed(1)).factors();
    let params = FitParams {
        maxit: 2,
        ..params.clone()
    };
    let starts = vec![Start::Seed(1), Start::Factors(far)];
    let one = pool(1).expect("a thread");
    let mut fit =
        Restarts::<f64>::new(Arc::new(data.problem(true)), params, starts, one).expect("valid");
    loop {
        let progress = fit.advance(Duration::ZERO);
        if (progress.finished, progress.iteration) == (1, 1) {
            break;
        }
    }
    fit.stop();
    let ends: Vec<f64> = fit.outcomes().iter().map(|o| o.objective()).collect();
    assert!(ends.len() == 2 && ends[1] < ends[0], "{ends:?}");
    assert_eq!(fit.best(), Some(0));
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

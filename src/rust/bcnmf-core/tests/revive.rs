//! Factors that do nothing are started anew, and ordinary fits are left alone.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{Contrast, FitParams, Model, Outcome, Restarts, Steps, uniform};
use bcnmf_core::simulate::{Counts, Simulated};
use bcnmf_core::{Driver, LossKind, Problem, Start};
use common::planted::{FEATURES, counts, matches, planted};
use std::sync::Arc;
use std::time::Duration;

const K: usize = 5;

fn params(loss: LossKind) -> FitParams {
    FitParams {
        maxit: 300,
        tol: 1e-9,
        steps: Steps::fast(loss),
        revive: true,
        ..FitParams::new(K, loss)
    }
}

/// `contrast`: none for no background.
fn fit(
    sim: &Simulated,
    contrast: Option<Contrast>,
    params: FitParams,
    start: Start,
    threads: usize,
) -> (Model, Outcome) {
    let y = contrast
        .is_some()
        .then(|| counts(&sim.background, FEATURES));
    let problem = Problem::new(counts(&sim.target, FEATURES), y).expect("valid");
    let weight = contrast.map_or(0.0, |contrast| problem.weight(contrast, params.loss));
    let params = FitParams { weight, ..params };
    let pool = pool(threads).expect("threads");
    let mut fit =
        Restarts::<f32>::new(Arc::new(problem), params, vec![start], pool).expect("valid");
    while !fit.advance(Duration::from_secs(600)).done {}
    (fit.model(), fit.outcomes()[0].clone())
}

/// A random start with the column of one factor put in the place of others', or with zeros there.
fn bad_start(from: Option<usize>, to: &[usize]) -> Start {
    let mut w = uniform(1, FEATURES * K);
    for to in to {
        let column = match from {
            Some(from) => w[from * FEATURES..][..FEATURES].to_vec(),
            None => vec![0.0; FEATURES],
        };
        w[to * FEATURES..][..FEATURES].copy_from_slice(&column);
    }
    Start::Loadings(w)
}

#[test]
fn zero_and_equal_columns_become_factors_of_their_own() {
    let sim = planted(5, 0, 0.25, 1);
    for loss in [
        LossKind::Poisson,
        LossKind::Mse,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let (_, usual) = fit(&sim, None, params(loss), Start::Seed(1), 2);
        assert_eq!(usual.revived, 0);
        for (from, to) in [
            (None, &[1][..]),
            (None, &[0, 3, 4]),
            (Some(0), &[2]),
            (Some(2), &[0, 1, 4]),
        ] {
            let start = bad_start(from, to);
            let (model, outcome) = fit(&sim, None, params(loss), start.clone(), 2);
            // Coordinate descent parts equal columns by itself: one takes over before the next is looked at.
            let stuck = loss != LossKind::Mse || from.is_none();
            if stuck {
                assert!(outcome.revived >= to.len(), "{from:?} {to:?}");
            }
            let found = matches(&sim.w, &model.w, FEATURES);
            assert!(
                found.iter().all(|c| *c >= 0.95),
                "{loss:?} {from:?} {to:?}: {found:?}"
            );
            let (end, want) = (outcome.objective(), usual.objective());
            assert!(end <= 1.01 * want, "{loss:?}: {end} for {want}");
            let least = model.d.iter().copied().fold(f64::MAX, f64::min);
            assert!(least > 0.01 * model.d[0]);
            // It is the reviving that does it.
            let without = FitParams {
                revive: false,
                ..params(loss)
            };
            let (_, without) = fit(&sim, None, without, start.clone(), 2);
            assert_eq!(without.revived, 0);
            assert_eq!(without.objective() > 1.05 * want, stuck);
            // The objective hardly rises when a factor is started anew.
            let steps = outcome.history.windows(2);
            let rise = steps
                .map(|s| s[1].objective / s[0].objective)
                .fold(0.0, f64::max);
            // More where dropout is let in.
            let most = if loss == LossKind::Zinb { 1.1 } else { 1.02 };
            assert!(rise < most, "{loss:?}: {rise}");
            let alone = fit(&sim, None, params(loss), start, 1);
            assert_eq!(alone.0, model);
        }
    }
}

#[test]
fn target_only_factors_stay_so_and_both_signs_of_the_background_work() {
    let sim = planted(4, 1, 0.25, 2);
    let explain = FitParams {
        k_target: 1,
        ..params(LossKind::Poisson)
    };
    for to in [&[4][..], &[1], &[0, 4]] {
        let start = bad_start(None, to);
        let (model, outcome) = fit(
            &sim,
            Some(Contrast::ExplainBySize(1.0)),
            explain.clone(),
            start,
            2,
        );
        assert!(outcome.revived >= to.len());
        let only = model
            .target_only
            .iter()
            .position(|only| *only)
            .expect("one");
        assert_eq!(model.d_background[only], 0.0);
        let found = matches(&sim.w, &model.w, FEATURES);
        assert!(found.iter().all(|c| *c >= 0.9), "{to:?}: {found:?}");
    }
    // Equal loadings, of which the background may use one: no duplicates.
    let start = bad_start(Some(0), &[4]);
    let (_, outcome) = fit(&sim, Some(Contrast::ExplainBySize(1.0)), explain, start, 2);
    assert_eq!(outcome.revived, 0);
    for loss in [
        LossKind::Poisson,
        LossKind::Mse,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let start = bad_start(None, &[2]);
        let (model, outcome) = fit(&sim, Some(Contrast::Beta(0.2)), params(loss), start, 2);
        assert!(outcome.revived >= 1 && model.d.iter().all(|d| *d > 0.01 * model.d[0]));
        assert!(model.d_background.iter().all(|d| *d > 0.0));
    }
}

#[test]
fn ordinary_fits_are_left_alone() {
    let sim = planted(4, 1, 0.25, 3);
    for loss in [
        LossKind::Poisson,
        LossKind::Mse,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        for contrast in [None, Some(Contrast::Beta(0.3))] {
            let (with, outcome) = fit(&sim, contrast, params(loss), Start::Seed(2), 2);
            assert_eq!(outcome.revived, 0);
            let without = FitParams {
                revive: false,
                ..params(loss)
            };
            assert_eq!(fit(&sim, contrast, without, Start::Seed(2), 2).0, with);
        }
    }
}

/// Where nothing is left to explain, or too few sweeps, and for a single factor.
#[test]
fn nothing_is_revived_in_vain() {
    let w: Vec<f64> = uniform(3, FEATURES);
    let (mut p, mut i, mut x) = (vec![0], vec![], vec![]);
    for j in 0..30 {
        for (at, w) in w.iter().enumerate() {
            i.push(at as i32);
            x.push(w * f64::from(j + 1));
        }
        p.push(x.len() as i32);
    }
    let one_rank = Counts { p, i, x };
    let mut sim = planted(5, 0, 0.25, 1);
    let short = FitParams {
        maxit: 19,
        ..params(LossKind::Mse)
    };
    let (_, outcome) = fit(&sim, None, short, bad_start(None, &[1]), 2);
    assert_eq!(outcome.revived, 0);
    let one = FitParams {
        k: 1,
        ..params(LossKind::Mse)
    };
    let start = Start::Loadings(uniform(1, FEATURES));
    assert_eq!(fit(&sim, None, one.clone(), start, 2).1.revived, 0);
    let dead = Start::Loadings(vec![0.0; FEATURES]);
    let (model, outcome) = fit(&sim, None, one, dead, 2);
    assert!(outcome.revived == 1 && model.d[0] > 0.0);
    sim.target = one_rank;
    let (_, outcome) = fit(&sim, None, params(LossKind::Mse), bad_start(None, &[1]), 2);
    assert_eq!(outcome.revived, 0);
}

//! Fits of which W goes on in the direction of its last step: the same models, sooner.

mod common;

use bcnmf_core::fit::{Contrast, FitParams, FullBatch, Scaling, Steps};
use bcnmf_core::{LossKind, Start};
use common::planted::{FEATURES, dense_counts, planted};
use common::scenario::{Data, Scenario, scenarios, start_of};
use common::{cases, naive};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Instant;

fn accelerated(params: &FitParams) -> FitParams {
    FitParams {
        accelerate: true,
        ..params.clone()
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// The model is what the last step has led to, not where W would have gone on to.
    #[test]
    fn the_last_record_is_the_models(scenario in scenarios(), sweeps in 0..12usize) {
        let scenario = Scenario { density: 1.0, blank: false, ..scenario };
        let data = scenario.data();
        prop_assume!(data.is_seen());
        let start = start_of(&data, scenario.k, scenario.seed);
        let params = FitParams { maxit: sweeps, ..accelerated(&scenario.params()) };
        let fit = data.fit::<f64>(scenario.sparse, &params, &start);
        prop_assume!(!fit.failed());
        let want = naive(&data, &fit.factors(), &params);
        let record = fit.history()[sweeps];
        prop_assert!((record.target - want.target).abs() <= 1e-9 * want.magnitude, "{record:?} {want:?}");
        if scenario.k_target < scenario.k || scenario.loss == LossKind::Mse {
            prop_assert!((record.objective - want.objective).abs() <= 1e-9 * want.magnitude, "{record:?} {want:?}");
        }
    }

    /// However it is cut in time, and however many sweeps it may take: the same way, to the bit.
    #[test]
    fn pauses_and_more_sweeps_change_nothing(scenario in scenarios(), sweeps in 1..12usize) {
        let data = scenario.data();
        let start = start_of(&data, scenario.k, scenario.seed);
        let params = FitParams { maxit: sweeps, ..accelerated(&scenario.params()) };
        let whole = data.fit::<f64>(scenario.sparse, &params, &start);
        prop_assume!(!whole.failed());
        let longer = FitParams { maxit: sweeps + 3, ..params.clone() };
        let problem = Arc::new(data.problem(scenario.sparse));
        let mut paused = FullBatch::<f64>::new(problem, longer, &start).expect("valid");
        while paused.iteration() < sweeps {
            prop_assert!(!paused.advance(Instant::now()));
        }
        prop_assert_eq!(paused.factors(), whole.factors());
        prop_assert_eq!(paused.history().len(), sweeps);
    }

    /// The first two sweeps have no direction to go on in; and neither has what is not normalised.
    #[test]
    fn it_takes_two_steps_to_go_on(scenario in scenarios(), plain: bool) {
        let data = scenario.data();
        let start = start_of(&data, scenario.k, scenario.seed);
        let params = match plain {
            true => FitParams {
                maxit: 5,
                scaling: Scaling::Plain { guard: 1e-16 },
                ..scenario.params()
            },
            false => FitParams { maxit: 2, ..scenario.params() },
        };
        let step_by_step = data.fit::<f64>(scenario.sparse, &params, &start);
        let fast = data.fit::<f64>(scenario.sparse, &accelerated(&params), &start);
        prop_assert_eq!(fast.factors(), step_by_step.factors());
    }
}

/// Sweeps until the objective is within a thousandth of the target's part of the best.
fn sweeps_to(fit: &FullBatch<'_, f64>, best: f64) -> usize {
    let near = |record: &bcnmf_core::fit::Record| record.objective <= best + 1e-3 * record.target;
    let reached = fit.history().iter().position(near);
    reached.unwrap_or(fit.history().len())
}

#[test]
fn fewer_sweeps_are_needed() {
    let (mut all, mut all_fast) = (0, 0);
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        for (contrast, k_target) in [(Contrast::Beta(0.2), 0), (Contrast::ExplainBySize(2.0), 2)] {
            for seed in 1..=3 {
                let sim = planted(4, 2, 0.1, seed);
                let data = Data::new(
                    dense_counts(&sim.target, FEATURES),
                    Some(dense_counts(&sim.background, FEATURES)),
                );
                let params = FitParams {
                    weight: data.problem(true).weight(contrast, loss),
                    k_target,
                    maxit: 200,
                    tol: 0.0,
                    steps: Steps::fast(loss),
                    ambient: 0.02,
                    ..FitParams::new(6, loss)
                };
                let start = Start::Seed(seed);
                let step_by_step = data.fit::<f64>(true, &params, &start);
                let fast = data.fit::<f64>(true, &accelerated(&params), &start);
                let last = |fit: &FullBatch<'_, f64>| fit.history()[200].objective;
                let best = last(&step_by_step).min(last(&fast));
                let (slow, soon) = (sweeps_to(&step_by_step, best), sweeps_to(&fast, best));
                eprintln!("{loss:?} {contrast:?} {seed}: {slow} {soon}");
                all += slow;
                all_fast += soon;
            }
        }
    }
    assert!(10 * all_fast < 8 * all, "{all_fast} of {all}");
}

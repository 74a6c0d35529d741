//! A contrast with an ambient rate has a lower bound, and keeps the target's fit.

mod common;

use bcnmf_core::fit::{FitParams, Record, Scaling};
use bcnmf_core::matrix::Missing;
use bcnmf_core::simulate::Simulation;
use bcnmf_core::{LossKind, Start};
use common::planted::dense_counts;
use common::scenario::{Data, Scenario, scenarios, start_of};
use common::{Part, cases};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(150))]

    /// However strong the contrast: with coefficients that are a best response, `F ≥ −α D(Y ‖ ε p sᵀ)`.
    #[test]
    fn the_objective_has_the_bound_that_is_promised(
        scenario in scenarios(), alpha in 0.0..20.0f64, ambient in 0.001..0.5f64, sweeps in 1..40usize,
    ) {
        let scenario = Scenario {
            loss: LossKind::Poisson,
            weight: -alpha,
            k_target: 0,
            penalties: [0.0; 4],
            background: scenario.background.max(1),
            hold_out: None,
            // Nothing keeps the target's coefficients from growing where W is next to nothing in all that a cell shows, or that counts.
            missing: (Missing::None, 0.0),
            weighted: false,
            ambient,
            ..scenario
        };
        let data = scenario.data();
        let params = FitParams { maxit: sweeps, ..scenario.params() };
        let fit = data.fit::<f64>(scenario.sparse, &params, &start_of(&data, scenario.k, scenario.seed));
        prop_assert!(!fit.failed());
        // H steps alone to the best response: W stays where its steps would be of no weight.
        let mut factors = fit.factors();
        let respond = FitParams {
            weight: -1e-300,
            maxit: 1,
            scaling: Scaling::Plain { guard: 1e-300 },
            ..params
        };
        for _ in 0..50 {
            let next = data.fit::<f64>(false, &respond, &Start::Factors(factors.clone())).factors();
            factors.h_background = next.h_background;
        }
        let response = common::naive(&data, &factors, &scenario.params());
        // What no best response exceeds.
        let y = Part::of(&data, true).expect("a background");
        let bound = y.divergence(&y.ambient_rate(&scenario.params()), &scenario.params());
        prop_assert!(response.background <= bound * (1.0 + 1e-3) + 1e-6, "{} > {bound}", response.background);
    }
}

/// However strong a contrast of squared errors is, coefficients keep up with the loadings that they are multiplied with: neither set ends far above what no factors at all would leave
/// of it. (Divergences are those of the coefficients before the last W step, so a little above.)
#[test]
fn strong_contrasts_of_squared_errors_stay_in_range() {
    for seed in 1..4 {
        let sim = Simulation {
            features: 60,
            target: 80,
            background: 50,
            k_shared: 2,
            k_target: 1,
            share: 0.3,
            depth: 300.0,
            depth_sd: 0.3,
            loading_shape: 0.4,
            use_shape: 0.4,
            seed,
        }
        .run()
        .expect("valid");
        let data = Data::new(
            dense_counts(&sim.target, 60),
            Some(dense_counts(&sim.background, 60)),
        );
        let squares = |x: &ndarray::Array2<f64>| x.iter().map(|x| x * x).sum::<f64>();
        let all = [squares(&data.x), squares(data.y.as_ref().expect("given"))];
        for beta in [2.0, 10.0, 30.0, 1e3, 1e5] {
            for accelerate in [false, true] {
                let params = FitParams {
                    maxit: 200,
                    weight: -beta * all[0] / all[1],
                    accelerate,
                    ..FitParams::new(3, LossKind::Mse)
                };
                let single = data.fit::<f32>(true, &params, &Start::Seed(seed));
                let double = data.fit::<f64>(true, &params, &Start::Seed(seed));
                assert!(!single.failed() && !double.failed());
                for end in [single.history().last(), double.history().last()] {
                    let end = end.expect("a record");
                    assert!(
                        end.target < 4.0 * all[0] && end.background < 4.0 * all[1],
                        "beta = {beta}: {end:?}"
                    );
                }
            }
        }
    }
}

/// A background in which most features outweigh the target: without the ambient rate their loadings
/// run to zero, and the target's fit with them.
#[test]
fn a_strong_contrast_keeps_the_targets_fit() {
    let sim = Simulation {
        features: 80,
        target: 200,
        background: 300,
        k_shared: 3,
        k_target: 1,
        share: 0.2,
        depth: 150.0,
        depth_sd: 0.3,
        loading_shape: 0.4,
        use_shape: 0.4,
        seed: 1,
    }
    .run()
    .expect("valid");
    let data = Data::new(
        dense_counts(&sim.target, 80),
        Some(dense_counts(&sim.background, 80)),
    );
    let params = |weight: f64, ambient: f64| FitParams {
        weight,
        ambient,
        maxit: 300,
        tol: 0.0,
        ..FitParams::new(4, LossKind::Poisson)
    };
    let last = |weight: f64, ambient: f64| -> Record {
        let params = params(weight, ambient);
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        assert!(!fit.failed());
        *fit.history().last().expect("a record")
    };
    let plain = last(0.0, 0.02).target;
    let (bare, bounded) = (last(-2.0, 0.0).target, last(-2.0, 0.02).target);
    assert!(bare > 5.0 * plain, "{bare} {plain}");
    assert!(bounded < bare / 2.0, "{bounded} {bare} {plain}");
    let (y, params) = (
        Part::of(&data, true).expect("a background"),
        params(-2.0, 0.02),
    );
    let bound = y.divergence(&y.ambient_rate(&params), &params);
    assert!(last(-2.0, 0.02).background <= bound);
}

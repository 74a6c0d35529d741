//! Negative binomial counts: the Poisson limit, estimated sizes, predictions.

mod common;

use bcnmf_core::fit::{By, Contrast, Dispersion, FitParams, FullBatch, SIZES};
use bcnmf_core::matrix::{HoldOut, Missing};
use bcnmf_core::{LossKind, Start};
use common::counted::{RANK, counts, fixed, params, some_sizes};
use common::scenario::{Data, Scenario, scenarios};
use common::{cases, distance, factor_distance, ln_gamma};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;

proptest! {
    #![proptest_config(cases(150))]

    /// From the end of the range on, features are Poisson's; just below, nearly.
    #[test]
    fn large_sizes_are_poisson(scenario in scenarios(), seed: u64) {
        // The loadings of features that are missing or held out in all cells are anything.
        let hold_out = scenario.hold_out.filter(|_| scenario.missing.0 == Missing::None);
        let scenario = Scenario { loss: LossKind::Poisson, hold_out, ..scenario };
        let data = scenario.data();
        // A contrast without a bound would make much of a small difference.
        let weight = scenario.weight.abs();
        let with = |loss, size: f64| {
            let dispersion = fixed(vec![size; scenario.rows]);
            let params = FitParams { loss, weight, maxit: 5, dispersion, ..scenario.params() };
            let fit = data.fit::<f64>(scenario.sparse, &params, &Start::Seed(seed));
            (fit.factors(), fit.history().last().map_or(f64::NAN, |last| last.target))
        };
        let (want, divergence) = with(LossKind::Poisson, 1.0);
        let (at, same) = with(LossKind::Nb, SIZES[1]);
        prop_assert!(factor_distance(&want, &at) <= 1e-10);
        prop_assert!((same - divergence).abs() <= 1e-9 * (1.0 + divergence), "{same:e} {divergence:e}");
        let (below, near) = with(LossKind::Nb, 0.99 * SIZES[1]);
        // Of what is fitted, and counts.
        let part = common::Part::of(&data, false).expect("a target");
        let known = ndarray::Zip::from(&part.known).and(&part.weight).map_collect(|known, weight| *known && *weight > 0.0);
        let [want, below] = [want, below].map(|f| {
            let product = common::product(&f.w, &f.h, scenario.k);
            product * known.mapv(|known| f64::from(u8::from(known)))
        });
        let error = distance(&common::flat(&want), &common::flat(&below));
        prop_assert!(error <= 1e-4, "{error:e}");
        prop_assert!((near - divergence).abs() <= 1e-4 * (1.0 + divergence));
    }
}

/// What is fitted to and what is predicted, with both likelihoods.
fn compare(x: Array2<f64>) -> [[f64; 2]; 2] {
    let data = Data::new(x, None);
    [LossKind::Poisson, LossKind::Nb].map(|loss| {
        let params = FitParams {
            hold_out: Some(HoldOut { seed: 1, part: 0.1 }),
            ..params(loss, 300)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        let held_out = fit.held_out().expect("a hold-out")[0];
        [fit.history()[300].target, held_out.loss]
    })
}

#[test]
fn dispersed_counts_are_predicted_better_and_poisson_counts_as_well() {
    let [poisson, nb] = compare(counts(&some_sizes(60), 400, 1));
    assert!(nb[0] < 0.9 * poisson[0], "{nb:?} {poisson:?}");
    assert!(nb[1] < 0.95 * poisson[1], "{nb:?} {poisson:?}");
    let [poisson, nb] = compare(counts(&[f64::INFINITY; 60], 1500, 1));
    assert!(nb[0] < 1.001 * poisson[0], "{nb:?} {poisson:?}");
    assert!(nb[1] < 1.001 * poisson[1], "{nb:?} {poisson:?}");
}

/// The likelihood of one feature's size, up to a constant, given the rates.
fn likelihood(x: &[f64], rate: &[f64], r: f64) -> f64 {
    let one = |(&x, &l): (&f64, &f64)| {
        let counted = if x > 0.0 { x * (l / (l + r)).ln() } else { 0.0 };
        ln_gamma(x + r) - ln_gamma(r) + r * (r / (r + l)).ln() + counted
    };
    x.iter().zip(rate).map(one).sum()
}

#[test]
fn estimated_sizes_are_those_that_the_counts_were_drawn_with() {
    let sizes = some_sizes(120);
    let x = counts(&sizes, 3000, 5);
    let data = Data::new(x, None);
    let fit = data.fit::<f64>(true, &params(LossKind::Nb, 400), &Start::Seed(1));
    let found = &fit.sizes()[0];
    let common = (0..120).filter(|&i| data.x.row(i).sum() >= 0.5 * 3000.0);
    let close = |i: &usize| (found[*i] / sizes[*i] - 1.0).abs() <= 0.25;
    let (good, bad): (Vec<usize>, Vec<usize>) = common.partition(close);
    assert!(
        good.len() > 80 && 20 * bad.len() <= good.len(),
        "{bad:?}: {found:?}"
    );
    // And each is the most likely one for the rates of the fit.
    let f = fit.factors();
    let rate = common::product(&f.w, &f.h, RANK);
    for (i, &size) in found.iter().enumerate() {
        let (x, rate) = (data.x.row(i).to_vec(), rate.row(i).to_vec());
        let at = |size: f64| likelihood(&x, &rate, size);
        for other in [1.05 * size, size / 1.05] {
            let end = size.is_infinite() || size == SIZES[0];
            let best = end || at(size) >= at(other) - 1e-3;
            assert!(best, "{i}: {size} {} {other} {}", at(size), at(other));
        }
    }
}

#[test]
fn one_size_for_all_is_found() {
    let data = Data::new(counts(&[2.0; 120], 600, 7), None);
    let dispersion = Dispersion {
        by: By::Global,
        ..Dispersion::default()
    };
    let params = FitParams {
        dispersion,
        ..params(LossKind::Nb, 300)
    };
    let fit = data.fit::<f32>(true, &params, &Start::Seed(1));
    let sizes = &fit.sizes()[0];
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
    assert!((sizes[0] / 2.0 - 1.0).abs() < 0.1, "{}", sizes[0]);
}

#[test]
fn a_background_has_sizes_of_its_own_where_it_is_asked_for() {
    let (x, y) = (counts(&[5.0; 40], 500, 3), counts(&[0.5; 40], 500, 3));
    let data = Data::new(x, Some(y));
    let weight = data
        .problem(true)
        .weight(Contrast::ExplainBySize(1.0), LossKind::Nb);
    let medians = |shared: bool, weight: f64| -> Vec<f64> {
        let dispersion = Dispersion {
            shared,
            ..Dispersion::default()
        };
        let params = FitParams {
            weight,
            dispersion,
            ..params(LossKind::Nb, 200)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        let median = |mut sizes: Vec<f64>| {
            sizes.sort_by(f64::total_cmp);
            sizes[20]
        };
        fit.sizes().into_iter().map(median).collect()
    };
    let own = medians(false, weight);
    assert!(
        (own[0] / 5.0 - 1.0).abs() < 0.3 && (own[1] / 0.5 - 1.0).abs() < 0.3,
        "{own:?}"
    );
    let both = medians(true, weight);
    assert!(
        both.len() == 1 && both[0] > 0.6 && both[0] < 3.0,
        "{both:?}"
    );
    // What is not explained has no say.
    let target = medians(true, 0.0);
    assert!((target[0] / 5.0 - 1.0).abs() < 0.3, "{target:?}");
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let data = Data::new(counts(&[1.0; 5], 8, 1), None);
    let refused = |by, size: Vec<f64>| {
        let dispersion = Dispersion {
            by,
            shared: true,
            size: [size, Vec::new()],
        };
        let params = FitParams {
            dispersion,
            ..params(LossKind::Nb, 1)
        };
        let problem = Arc::new(data.problem(true));
        FullBatch::<f64>::new(problem, params, &Start::Seed(1))
            .err()
            .expect("an error")
            .to_string()
    };
    assert!(refused(By::Fixed, vec![]).contains("size"));
    assert!(refused(By::Fixed, vec![1.0; 4]).contains("5, one a feature"));
    for size in [0.0, -1.0, f64::NAN] {
        let sizes = vec![1.0, 1.0, size, 1.0, 1.0];
        assert!(refused(By::Feature, sizes).contains("above 0"));
    }
}

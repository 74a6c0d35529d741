//! Zero-inflated counts: the limits, expectation-maximisation, what is estimated, predictions.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{
    Batches, Dropout, FitParams, FullBatch, Per, Projection, ProjectionParams, Size, Update,
};
use bcnmf_core::matrix::HoldOut;
use bcnmf_core::{Driver, LossKind, Start};
use common::counted::{counts, fixed, lose, params, some_sizes};
use common::scenario::{Data, Scenario, scenarios};
use common::{cases, factor_distance, naive};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn per(per: Per) -> Dropout {
    Dropout {
        per,
        ..Dropout::default()
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// Nothing is lost: the same model, of features that are all dispersed.
    #[test]
    fn without_dropout_it_is_nb(scenario in scenarios(), seed: u64, by_cell: bool) {
        let scenario = Scenario { mixed: false, ..scenario };
        let data = Scenario { loss: LossKind::Nb, ..scenario.clone() }.data();
        let sizes = vec![0.5 + (seed % 7) as f64; scenario.rows];
        let nothing = [vec![0.0; if by_cell { scenario.cells } else { scenario.rows }], vec![0.0; scenario.background]];
        let dropout = Dropout { per: if by_cell { Per::Cell } else { Per::Feature }, fixed: true, probability: nothing };
        // A contrast without a bound would make much of a small difference.
        let weight = scenario.weight.abs();
        let with = |loss| {
            let params = FitParams { loss, weight, maxit: 5, dispersion: fixed(sizes.clone()), dropout: dropout.clone(), ..scenario.params() };
            let fit = data.fit::<f64>(scenario.sparse, &params, &Start::Seed(seed));
            (fit.factors(), *fit.history().last().expect("a record"))
        };
        let ((nb, want), (zinb, got)) = (with(LossKind::Nb), with(LossKind::Zinb));
        let error = factor_distance(&nb, &zinb);
        prop_assert!(error <= 1e-8, "{error:e}");
        prop_assert!((want.objective - got.objective).abs() <= 1e-9 * (1.0 + want.objective.abs()));
    }

    /// Expectation-maximisation: with sizes that stay, the observed likelihood, and the prior with it, never falls in a whole fit.
    #[test]
    fn observed_likelihood_never_falls(scenario in scenarios(), by_cell: bool, seed: u64) {
        let scenario = Scenario { loss: LossKind::Zinb, hold_out: None, penalties: [0.0; 4], ..scenario };
        let data = scenario.data();
        let dropout = per(if by_cell { Per::Cell } else { Per::Feature });
        let params = FitParams { weight: scenario.weight.abs(), maxit: 12, dropout, ..scenario.params() };
        let fit = data.fit::<f64>(scenario.sparse, &params, &Start::Seed(seed));
        for pair in fit.history().windows(2) {
            let (before, after) = (pair[0].objective, pair[1].objective);
            prop_assert!(after <= before + 1e-8 * (1.0 + before.abs()), "{before:e} {after:e} {:?}", pair[1]);
        }
    }

    /// Cells respond to a basis that stays: every step of coefficients and dropout is downhill.
    #[test]
    fn responses_never_get_worse(scenario in scenarios(), by_cell: bool) {
        let scenario = Scenario { loss: LossKind::Zinb, background: 0, hold_out: None, weighted: false, penalties: [0.0; 4], ..scenario };
        let data = scenario.data();
        let given = scenario.factors();
        let sizes = vec![0.7; scenario.rows];
        let dropout = Dropout {
            per: if by_cell { Per::Cell } else { Per::Feature },
            fixed: false,
            probability: [vec![0.3; if by_cell { scenario.cells } else { scenario.rows }], Vec::new()],
        };
        let mut before = f64::INFINITY;
        for maxit in 1..7 {
            let params = ProjectionParams {
                loss: LossKind::Zinb,
                maxit,
                tol: 0.0,
                h_penalty: Default::default(),
                size: data.problem(true).size(scenario.k),
                sizes: sizes.clone(),
                dropout: dropout.clone(),
                weights: vec![],
                mixture: data.mixture.clone(),
                size_factors: vec![],
            };
            let pool = pool(1).expect("a thread");
            let matrix = data.matrices(scenario.sparse).0;
            let mut projection = Projection::<f64>::new(matrix, &given.w, params, pool).expect("valid");
            while !projection.advance(Duration::from_secs(60)).done {}
            let found = projection.dropout();
            prop_assert_eq!(found.len(), if by_cell { scenario.cells } else { 0 });
            let dropout = Dropout { probability: [if by_cell { found } else { dropout.probability[0].clone() }, Vec::new()], ..dropout.clone() };
            let params = FitParams { dispersion: fixed(sizes.clone()), dropout, hold_out: None, weight: 0.0, k_target: 0, ..FitParams::new(scenario.k, LossKind::Zinb) };
            let factors = bcnmf_core::fit::Factors { h: projection.coefficients(), ..given.clone() };
            let after = naive(&data, &factors, &params).objective;
            prop_assert!(after <= before + 1e-9 * (1.0 + before.abs()), "{before:e} {after:e}");
            before = after;
        }
    }
}

/// Of features with a mean of at least a half, the parts whose size is found within a quarter and whose dropout within 0.05.
fn found(fit: &FullBatch<'_, f64>, sizes: &[f64], dropout: &[f64], data: &Data) -> [f64; 2] {
    let cells = data.x.ncols() as f64;
    let kept = |i: usize| 1.0 - dropout[i];
    let common: Vec<usize> = (0..sizes.len())
        .filter(|&i| data.x.row(i).sum() >= 0.5 * cells * kept(i))
        .collect();
    assert!(common.len() > 60, "{}", common.len());
    let part = |ok: &dyn Fn(usize) -> bool| {
        common.iter().filter(|&&i| ok(i)).count() as f64 / common.len() as f64
    };
    let (got_sizes, got) = (&fit.sizes()[0], &fit.dropout()[0]);
    [
        part(&|i| (got_sizes[i] / sizes[i] - 1.0).abs() <= 0.25),
        part(&|i| (got[i] - dropout[i]).abs() <= 0.05),
    ]
}

#[test]
fn sizes_and_dropout_of_features_are_found() {
    let sizes = some_sizes(120);
    let dropout: Vec<f64> = (0..120)
        .map(|i| 0.5 * f64::from(i * 7 % 11) / 10.0)
        .collect();
    let mut x = counts(&sizes, 6000, 5);
    lose(&mut x, |i, _| dropout[i], 8);
    let data = Data::new(x, None);
    let fit = data.fit::<f64>(true, &params(LossKind::Zinb, 300), &Start::Seed(1));
    let parts = found(&fit, &sizes, &dropout, &data);
    assert!(parts.iter().all(|part| *part >= 0.9), "{parts:?}");
}

/// What is predicted of entries that are held out, with nb and with zinb.
fn predicted(x: Array2<f64>) -> [f64; 2] {
    let data = Data::new(x, None);
    [LossKind::Nb, LossKind::Zinb].map(|loss| {
        let params = FitParams {
            hold_out: Some(HoldOut { seed: 1, part: 0.1 }),
            ..params(loss, 200)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        fit.held_out().expect("a hold-out")[0].loss
    })
}

#[test]
fn lossy_counts_are_predicted_better_and_others_as_well() {
    let mut x = counts(&[4.0; 60], 1500, 1);
    let [nb, zinb] = predicted(x.clone());
    assert!(zinb < 1.001 * nb, "{zinb} {nb}");
    lose(&mut x, |i, _| 0.1 * (i % 6) as f64, 2);
    let [nb, zinb] = predicted(x);
    assert!(zinb < 0.99 * nb, "{zinb} {nb}");
}

#[test]
fn dropout_of_cells_is_found() {
    let mut x = counts(&some_sizes(300), 400, 3);
    let dropout: Vec<f64> = (0..400).map(|j| 0.1 * f64::from(j % 6)).collect();
    lose(&mut x, |_, j| dropout[j], 4);
    let params = FitParams {
        dropout: per(Per::Cell),
        ..params(LossKind::Zinb, 300)
    };
    let data = Data::new(x, None);
    for found in [
        data.fit::<f64>(true, &params, &Start::Seed(1)).dropout(),
        data.fit::<f32>(true, &params, &Start::Seed(1)).dropout(),
    ] {
        let error = |(a, b): (&f64, &f64)| (a - b).abs();
        let mean = found[0].iter().zip(&dropout).map(error).sum::<f64>() / 400.0;
        assert!(mean < 0.05, "{mean}");
    }
}

#[test]
fn probabilities_that_cannot_be_are_refused() {
    let data = Data::new(counts(&[1.0; 5], 8, 1), None);
    let refused = |per, probability: Vec<f64>| {
        let dropout = Dropout {
            per,
            fixed: false,
            probability: [probability, Vec::new()],
        };
        let params = FitParams {
            dropout,
            ..params(LossKind::Zinb, 1)
        };
        let problem = Arc::new(data.problem(true));
        FullBatch::<f64>::new(problem, params, &Start::Seed(1))
            .err()
            .expect("an error")
            .to_string()
    };
    assert!(refused(Per::Feature, vec![0.1; 8]).contains("5 numbers"));
    assert!(refused(Per::Cell, vec![0.1; 5]).contains("8 numbers"));
    for p in [-0.1, 1.0, f64::NAN] {
        let probability = vec![0.1, p, 0.1, 0.1, 0.1];
        assert!(refused(Per::Feature, probability).contains("below 1"));
    }
}

#[test]
fn a_fit_of_poisson_counts_ends() {
    let data = Data::new(counts(&[f64::INFINITY; 60], 500, 1), None);
    for per in [Per::Feature, Per::Cell] {
        let params = FitParams {
            tol: 1e-7,
            dropout: self::per(per),
            ..params(LossKind::Zinb, 600)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        assert!(fit.converged(), "{per:?}");
    }
}

/// A feature that one factor has nearly alone, and that a cell lacks: its zeros could be taken for lost if some were thought to be so from the start.
#[test]
fn projected_cells_lose_nothing_to_factors_that_they_lack() {
    let w = vec![0.5, 0.5, 0.0, 0.01, 0.01, 0.98];
    let cell = Array2::from_shape_vec((3, 1), vec![40.0, 40.0, 0.0]).expect("3 x 1");
    let data = Data::new(cell, None);
    let params = ProjectionParams {
        loss: LossKind::Zinb,
        maxit: 2000,
        tol: 1e-6,
        h_penalty: Default::default(),
        size: Size {
            features: 3,
            cells: 1,
            k: 2,
            total: 80.0,
        },
        sizes: vec![5.0, 5.0, 1e6],
        dropout: per(Per::Cell),
        weights: Vec::new(),
        mixture: Vec::new(),
        size_factors: Vec::new(),
    };
    let pool = pool(1).expect("a thread");
    let mut projection =
        Projection::<f64>::new(data.matrices(true).0, &w, params, pool).expect("valid");
    while !projection.advance(Duration::from_millis(1)).done {}
    let h = projection.coefficients();
    assert!((h[0] - 80.0).abs() < 1.0 && h[1] < 1e-3, "{h:?}");
}

/// Batches that have no cell of a small background, after such as have one.
#[test]
fn batches_without_background_cells_fit() {
    let sizes = some_sizes(30);
    let data = Data::new(counts(&sizes, 60, 5), Some(counts(&sizes, 3, 6)));
    let params = FitParams {
        weight: -0.1,
        dropout: per(Per::Cell),
        batches: Some(Batches {
            size: 5,
            update: Update::Batch,
        }),
        ..params(LossKind::Zinb, 3)
    };
    let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
    assert!(!fit.failed());
    assert!(fit.dropout().into_iter().map(|set| set.len()).eq([60, 3]));
}

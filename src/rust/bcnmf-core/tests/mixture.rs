//! A loss for each modality: what each part has to say alone, and both together.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{Contrast, FitParams, FullBatch, Steps, Weights};
use bcnmf_core::real::Real;
use bcnmf_core::{LossKind, Problem, Start};
use common::counted::{counts, fixed, lose, some_sizes};
use common::planted::cosine;
use common::scenario::{Data, Scenario, random, scenarios};
use common::{cases, factor_distance, fortran};
use ndarray::{Array2, Axis, concatenate, s};
use proptest::prelude::*;
use std::sync::Arc;

const COUNTS: [LossKind; 3] = [LossKind::Poisson, LossKind::Nb, LossKind::Zinb];

/// So many features of this loss, and so many with squared errors.
fn two(loss: LossKind, counts: usize, squares: usize) -> Vec<LossKind> {
    let mut mixture = vec![loss; counts];
    mixture.resize(counts + squares, LossKind::Mse);
    mixture
}

/// Some rows of both sets.
fn rows(data: &Data, from: usize, to: usize) -> Data {
    let cut = |x: &Array2<f64>| fortran(&x.slice(s![from..to, ..]).to_owned());
    Data::new(cut(&data.x), data.y.as_ref().map(cut))
}

proptest! {
    #![proptest_config(cases(150))]

    /// A modality of no weight has no say in the coefficients, and those are what the other alone has.
    #[test]
    fn what_does_not_count_changes_nothing(
        of_counts in 2..8usize, of_squares in 2..8usize, which in 0..3usize, squares: bool, sparse: bool, seed: u64, weight in -0.5..1.0f64,
    ) {
        let (all, loss) = (of_counts + of_squares, COUNTS[which]);
        let draw = |cells, stream: u64| random(all, cells, 0.8, seed ^ stream).mapv(|x| (3.0 * x).ceil());
        let family = if loss == LossKind::Zinb { loss } else { LossKind::Nb };
        let features = (0..all).map(|i| f64::from(u8::from((i >= of_counts) == squares))).collect();
        let both = Data::new(draw(9, 1), Some(draw(7, 2)))
            .with_weights(Weights { features, ..Weights::default() })
            .with_mixture(two(loss, of_counts, of_squares));
        let kept = if squares { of_counts..all } else { 0..of_counts };
        let alone = rows(&both, kept.start, kept.end);
        let probability = |n: usize| bcnmf_core::fit::Dropout { fixed: true, probability: [vec![0.2; n], Vec::new()], ..Default::default() };
        let start = common::scenario::start_of(&both, 2, seed);
        let Start::Factors(given) = &start else { unreachable!() };
        let w: Vec<f64> = given.w.chunks_exact(all).flat_map(|w| w[kept.clone()].to_vec()).collect();
        let less = Start::Factors(bcnmf_core::fit::Factors { w, ..given.clone() });
        let how = |loss, n: usize| FitParams {
            maxit: 6, tol: 0.0, weight, scaling: bcnmf_core::fit::Scaling::Plain { guard: 1e-300 }, dispersion: fixed(vec![1.5; n]), dropout: probability(n),
            ..FitParams::new(2, loss)
        };
        let fit = both.fit::<f64>(sparse, &how(family, all), &start).factors();
        let own = alone.fit::<f64>(sparse, &how(if squares { LossKind::Mse } else { loss }, kept.len()), &less).factors();
        let w = fit.w.chunks_exact(all).flat_map(|w| w[kept.clone()].to_vec()).collect();
        let fit = bcnmf_core::fit::Factors { w, ..fit };
        let error = factor_distance(&own, &fit);
        prop_assert!(error <= 1e-9, "{error:e}");
    }

    /// Poisson counts alone are Poisson counts.
    #[test]
    fn counts_of_one_kind_are_no_mixture(scenario in scenarios(), seed: u64) {
        let hold_out = scenario.hold_out.filter(|_| scenario.missing.0 == bcnmf_core::matrix::Missing::None);
        let scenario = Scenario { loss: LossKind::Poisson, hold_out, ..scenario };
        let data = scenario.data();
        let weight = scenario.weight.abs();
        let params = FitParams { weight, maxit: 5, ..scenario.params() };
        let want = data.fit::<f64>(scenario.sparse, &params, &Start::Seed(seed));
        let mixed = data.like(data.x.clone(), data.y.clone()).with_mixture(vec![LossKind::Poisson; scenario.rows]);
        let got = mixed.fit::<f64>(scenario.sparse, &FitParams { loss: LossKind::Nb, ..params }, &Start::Seed(seed));
        prop_assert!(factor_distance(&want.factors(), &got.factors()) <= 1e-9);
        let last = |fit: &FullBatch<'_, f64>| fit.history().last().map_or(f64::NAN, |last| last.objective);
        let (want, got) = (last(&want), last(&got));
        prop_assert!((want - got).abs() <= 1e-9 * (1.0 + want.abs()), "{want:e} {got:e}");
    }

    /// The strength of a contrast is free of scale, in each modality by its own measure.
    #[test]
    fn sizes_are_sums_of_counts_and_of_squares(of_counts in 1..6usize, of_squares in 1..6usize, sparse: bool, seed: u64) {
        let all = of_counts + of_squares;
        let features: Vec<f64> = (0..all).map(|i| 0.5 + i as f64).collect();
        let data = Data::new(random(all, 5, 1.0, seed), Some(random(all, 4, 1.0, !seed)))
            .with_weights(Weights { features: features.clone(), ..Weights::default() })
            .with_mixture(two(LossKind::Nb, of_counts, of_squares));
        let size = |x: &Array2<f64>| -> f64 {
            x.indexed_iter().map(|((i, _), x)| features[i] * if i < of_counts { *x } else { x * x }).sum()
        };
        let want = size(data.y.as_ref().expect("a background")) / size(&data.x);
        let problem = data.problem(sparse);
        prop_assert!((problem.size_ratio(LossKind::Nb) - want).abs() <= 1e-12 * want);
        let weight = problem.weight(Contrast::Beta(0.3), LossKind::Nb);
        prop_assert!((weight + 0.3 / want).abs() <= 1e-12 / want);
    }
}

/// Counts of three programs, and values with noise of the same cells' programs, eight features.
fn cite(sizes: &[f64], cells: usize, seed: u64) -> (Data, Array2<f64>) {
    let x = counts(sizes, cells, seed);
    let w = random(8, 3, 0.6, seed + 10) + 0.01;
    // As `counts` draws them.
    let h = random(3, cells, 0.6, seed + 1);
    let noise = random(8, cells, 1.0, seed + 11);
    let values = w.dot(&h) * 5.0 + noise * 0.1;
    let both = concatenate(Axis(0), &[x.view(), values.view()]).expect("the same cells");
    (Data::new(fortran(&both), None), w)
}

fn params(loss: LossKind, maxit: usize) -> FitParams {
    FitParams {
        maxit,
        tol: 0.0,
        steps: Steps {
            w: 5,
            ..Steps::fast(loss)
        },
        ..FitParams::new(3, loss)
    }
}

/// Of the values alone, each program's best cosine with a factor.
fn found(fit: &FullBatch<'_, impl Real>, rows: usize, w: &Array2<f64>) -> Vec<f64> {
    let got = fit.factors().w;
    let of = |program: ndarray::ArrayView1<'_, f64>| {
        let parts = got.chunks_exact(rows).map(|w| &w[rows - 8..]);
        parts
            .map(|part| cosine(&program.to_vec(), part))
            .fold(0.0, f64::max)
    };
    w.columns().into_iter().map(of).collect()
}

#[test]
fn programs_of_both_modalities_are_found() {
    let (data, w) = cite(&[2.0; 60], 400, 1);
    let rows = data.x.nrows();
    let ratio = data.x.slice(s![..60, ..]).sum() / data.x.slice(s![60.., ..]).mapv(|x| x * x).sum();
    let features = (0..rows)
        .map(|i| if i < 60 { 1.0 } else { ratio })
        .collect();
    let data = data
        .with_weights(Weights {
            features,
            ..Weights::default()
        })
        .with_mixture(two(LossKind::Nb, 60, 8));
    let double = data.fit::<f64>(true, &params(LossKind::Nb, 300), &Start::Seed(1));
    let single = data.fit::<f32>(false, &params(LossKind::Nb, 300), &Start::Seed(1));
    for cosines in [found(&double, rows, &w), found(&single, rows, &w)] {
        assert!(cosines.iter().all(|c| *c > 0.98), "{cosines:?}");
    }
    // Sizes are estimated of counts alone, and are what they were drawn with.
    let sizes = &double.sizes()[0];
    let near = sizes[..60].iter().filter(|s| (*s / 2.0 - 1.0).abs() < 0.3);
    assert!(near.count() > 45, "{sizes:?}");
    assert!(sizes[60..].iter().all(|s| s.is_infinite()));
}

#[test]
fn each_count_is_of_its_own_kind() {
    let mut x = counts(&some_sizes(90), 2000, 3);
    lose(&mut x, |i, _| if i >= 60 { 0.3 } else { 0.0 }, 4);
    let mixture: Vec<LossKind> = (0..90).map(|i| COUNTS[i / 30]).collect();
    let data = Data::new(x, None).with_mixture(mixture);
    for per in [bcnmf_core::fit::Per::Feature, bcnmf_core::fit::Per::Cell] {
        let dropout = bcnmf_core::fit::Dropout {
            per,
            ..Default::default()
        };
        let params = FitParams {
            dropout,
            ..params(LossKind::Zinb, 150)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        let sizes = &fit.sizes()[0];
        assert!(sizes[..30].iter().all(|s| s.is_infinite()));
        let seen = (30..90).filter(|&i| data.x.row(i).mean() > Some(0.1));
        assert!(seen.clone().count() > 50);
        assert!(seen.map(|i| sizes[i]).all(f64::is_finite), "{sizes:?}");
        let lost = &fit.dropout()[0];
        let mean = |lost: &[f64]| lost.iter().sum::<f64>() / lost.len() as f64;
        if per == bcnmf_core::fit::Per::Feature {
            assert!(lost[..60].iter().all(|p| *p == 0.0));
            assert!((mean(&lost[60..]) - 0.3).abs() < 0.05, "{lost:?}");
        } else {
            // Thirty features tell little of a cell; zeros of all ninety would make it a tenth.
            assert!((0.2..0.4).contains(&mean(lost)), "{}", mean(lost));
        }
    }
}

#[test]
fn threads_and_batches_do_not_matter() {
    let (data, _) = cite(&[2.0; 40], 300, 5);
    let data = data.with_mixture(two(LossKind::Nb, 40, 8));
    let fit = |threads: usize| {
        let pool = pool(threads).expect("threads");
        pool.install(|| {
            data.fit::<f32>(true, &params(LossKind::Nb, 12), &Start::Seed(2))
                .factors()
        })
    };
    assert_eq!(fit(1), fit(2));
    // Online it comes to about where a full batch does.
    let full = data.fit::<f64>(true, &params(LossKind::Nb, 200), &Start::Seed(1));
    let online = FitParams {
        batches: Some(bcnmf_core::fit::Batches {
            size: 50,
            update: bcnmf_core::fit::Update::Batch,
        }),
        ..params(LossKind::Nb, 150)
    };
    let online = data.fit::<f64>(true, &online, &Start::Seed(1));
    let last = |fit: &FullBatch<'_, f64>| fit.history().last().expect("a record").objective;
    let (full, online) = (last(&full), last(&online));
    assert!(online < 1.02 * full, "{online} {full}");
}

#[test]
fn losses_that_do_not_fit_are_refused() {
    let data = Data::new(random(4, 5, 1.0, 1), None);
    let refused = |mixture: Vec<LossKind>| {
        let (x, _) = data.matrices(false);
        let problem = Problem::new(x, None).expect("valid data");
        problem
            .with_mixture(mixture)
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(two(LossKind::Nb, 2, 1)).contains("4, one a feature"));
    assert!(refused(two(LossKind::Nb, 0, 4)).contains("without counts"));
    let (x, _) = data.matrices(false);
    let problem = Problem::new(x, None).expect("valid data");
    let problem = problem
        .with_mixture(two(LossKind::Zinb, 2, 2))
        .expect("in order");
    assert_eq!(problem.family(), Some(LossKind::Zinb));
    let other = FitParams::new(2, LossKind::Nb);
    let error = FullBatch::<f64>::new(Arc::new(problem), other, &Start::Seed(1));
    let said = error.err().expect("refused").to_string();
    assert!(said.contains("Zinb, which serves all counts"), "{said}");
}

//! Entries that nobody knows, and features and cells that do not all count once.

mod common;

use bcnmf_core::LossKind::{Mse, Nb, Poisson};
use bcnmf_core::fit::{
    Batches, By, Dispersion, FitParams, Penalty, Record, Steps, Update, Weights,
};
use bcnmf_core::matrix::{HoldOut, Missing};
use bcnmf_core::real::Real;
use bcnmf_core::{LossKind, Start};
use common::planted::matches;
use common::scenario::{Data, losses, random, scenarios, start_of};
use common::{cases, distance, factors, fortran};
use ndarray::{Array2, Axis, concatenate};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// The same data with a part of the entries missing that differs by feature and cell, about `part` in all.
fn with_holes(x: &Array2<f64>, part: f64, seed: u64) -> Array2<f64> {
    let (rows, cells) = x.dim();
    let places = random(rows, cells, 1.0, seed);
    Array2::from_shape_fn((rows, cells), |(i, j)| {
        let tilt = 0.5 + i as f64 / rows as f64;
        let tilt = tilt * (0.5 + j as f64 / cells as f64);
        if (-places[(i, j)]).exp() < part * tilt {
            f64::NAN
        } else {
            x[(i, j)]
        }
    })
}

/// With sizes that stay, one a feature.
fn sized(params: FitParams, rows: usize) -> FitParams {
    let dispersion = Dispersion {
        by: By::Fixed,
        shared: true,
        size: [vec![2.0; rows], Vec::new()],
    };
    FitParams {
        dispersion,
        ..params
    }
}

fn plain(k: usize, loss: LossKind, maxit: usize) -> FitParams {
    FitParams {
        maxit,
        tol: 0.0,
        steps: Steps::fast(loss),
        ..FitParams::new(k, loss)
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Data that could lack entries and do not are like any others, to the bit.
    #[test]
    fn a_mask_of_nothing_changes_nothing(scenario in scenarios(), seed: u64) {
        let data = scenario.data();
        prop_assume!(data.missing == Missing::None);
        let params = FitParams { maxit: 4, ..scenario.params() };
        let bits = |data: &Data| {
            let fit = data.fit::<f64>(scenario.sparse, &params, &Start::Seed(seed));
            let bits: Vec<_> = fit.history().iter().map(|r| r.objective.to_bits()).collect();
            (fit.factors(), bits)
        };
        let want = bits(&data);
        let could = data.like(data.x.clone(), data.y.clone()).with_missing(Missing::Nan);
        prop_assert_eq!(&want, &bits(&could));
    }

    #[test]
    fn every_sweep_falls_where_entries_are_missing(
        loss in losses(), sparse: bool, zeros: bool, part in 0.01..0.7f64, seed: u64, k in 1..9usize,
        contrast in prop_oneof![Just(0.0), 0.1..2.0f64],
    ) {
        let x = with_holes(&random(20, 30, 0.6, seed), part, !seed);
        let y = with_holes(&random(20, 25, 0.6, seed ^ 1), part, seed ^ 2);
        let data = Data::new(fortran(&x), Some(fortran(&y)));
        let data = data.with_missing(if zeros { Missing::Zeros } else { Missing::Nan });
        let params = FitParams { weight: contrast, k_target: k / 3, ..plain(k, loss, 40) };
        let params = sized(params, 20);
        falls::<f64>(&data, &params, sparse, 1e-9)?;
        falls::<f32>(&data, &params, sparse, 1e-5)?;
    }

    /// A cell that counts twice is there twice, and so is a feature.
    #[test]
    fn weights_are_copies(
        loss in losses(), sparse: bool, seed: u64, k in 1..5usize, twice in 0..12usize,
        weight in prop_oneof![-0.5..0.0f64, 0.0..1.0f64], holes: bool,
    ) {
        let part = if holes { 0.3 } else { 0.0 };
        let x = with_holes(&random(12, 20, 0.8, seed), part, !seed);
        let y = with_holes(&random(12, 15, 0.8, seed ^ 1), part, seed ^ 2);
        let params = FitParams { weight, ..plain(k, loss, 6) };
        let missing = if holes { Missing::Nan } else { Missing::None };
        let data = Data::new(fortran(&x), Some(fortran(&y))).with_missing(missing);
        let start = start_of(&data, k, seed);
        let Start::Factors(given) = &start else { unreachable!() };
        let mut weights = vec![1.0; 20];
        weights[twice] = 2.0;
        let copied = |x: &Array2<f64>, axis: usize| {
            let copy = x.select(Axis(axis), &[twice]);
            fortran(&concatenate(Axis(axis), &[x.view(), copy.view()]).expect("as long"))
        };
        let h = common::matrix(&given.h, k);
        let w = common::matrix(&given.w, 12);
        let h_background = common::matrix(&given.h_background, k);

        let cells = Weights { cells: [weights.clone(), Vec::new()], ..Weights::default() };
        let weighed = data.like(data.x.clone(), data.y.clone()).with_weights(cells);
        let twins = data.like(copied(&x, 1), data.y.clone());
        let twin_start = Start::Factors(factors(&w, &copied(&h, 1), Some(&h_background)));
        same(&weighed, &start, &twins, &twin_start, &params, sparse, |f| f.w.clone())?;

        weights.truncate(12);
        let features = Weights { features: weights, ..Weights::default() };
        let weighed = data.like(data.x.clone(), data.y.clone()).with_weights(features);
        let twins = data.like(copied(&x, 0), data.y.as_ref().map(|y| copied(y, 0)));
        let twin_start = Start::Factors(factors(&copied(&w, 0), &h, Some(&h_background)));
        // The columns of W sum to another number.
        same(&weighed, &start, &twins, &twin_start, &params, sparse, |f| {
            let rows = f.w.len() / k;
            flat_product(&f.w, &f.h, rows, k)
        })?;
    }
}

/// Fitted values of the first 12 features.
fn flat_product(w: &[f64], h: &[f64], rows: usize, k: usize) -> Vec<f64> {
    let w = common::matrix(w, rows);
    let part = w.slice(ndarray::s![..12, ..]).dot(&common::matrix(h, k));
    part.iter().copied().collect()
}

fn same(
    a: &Data,
    from_a: &Start,
    b: &Data,
    from_b: &Start,
    params: &FitParams,
    sparse: bool,
    part: impl Fn(&bcnmf_core::fit::Factors) -> Vec<f64>,
) -> TestCaseResult {
    let [a, b] = [(a, from_a), (b, from_b)].map(|(data, start)| {
        let params = sized(params.clone(), data.x.nrows());
        let fit = data.fit::<f64>(sparse, &params, start);
        let last = *fit.history().last().expect("a record");
        (part(&fit.factors()), last)
    });
    prop_assert!(distance(&a.0, &b.0) <= 1e-8, "{}", distance(&a.0, &b.0));
    let size = a.1.target + a.1.background;
    prop_assert!(
        (a.1.objective - b.1.objective).abs() <= 1e-8 * size,
        "{:?} {:?}",
        a.1,
        b.1
    );
    Ok(())
}

fn falls<T: Real>(data: &Data, params: &FitParams, sparse: bool, slack: f64) -> TestCaseResult {
    let fit = data.fit::<T>(sparse, params, &Start::Seed(1));
    prop_assert!(!fit.failed());
    let rise = |w: &[Record]| (w[1].objective - w[0].objective) / w[0].objective.abs();
    let worst = fit.history().windows(2).map(rise).fold(0.0, f64::max);
    prop_assert!(worst <= slack, "rises by {worst:e}");
    Ok(())
}

/// Half of the entries, at rates that differ by feature and cell, is enough to find planted programs.
#[test]
fn planted_programs_are_found_with_half_of_the_entries_missing() {
    for loss in [Mse, Poisson, Nb] {
        let (w, h) = (random(50, 3, 0.3, 4), random(3, 200, 0.5, 5));
        let x = with_holes(&w.dot(&h), 0.5, 6);
        let known = x.iter().filter(|x| !x.is_nan()).count() as f64 / x.len() as f64;
        assert!((0.45..0.6).contains(&known));
        let data = Data::new(fortran(&x), None).with_missing(Missing::Nan);
        let fit = data.fit::<f64>(false, &plain(3, loss, 2000), &Start::Seed(1));
        let found = matches(&common::flat(&w), &fit.factors().w, 50);
        assert!(found.iter().all(|c| *c >= 0.95), "{loss:?} {found:?}");
        // And the missing entries are filled in.
        let (full, fitted) = (
            w.dot(&h),
            common::product(&fit.factors().w, &fit.factors().h, 3),
        );
        let (mut error, mut size) = (0.0, 0.0);
        for ((x, full), fitted) in x.iter().zip(&full).zip(&fitted) {
            if x.is_nan() {
                error += (full - fitted).powi(2);
                size += full.powi(2);
            }
        }
        assert!(error < 0.02 * size, "{loss:?} {}", error / size);
    }
}

/// Features and cells of weight 0 have a word in nothing, and are told by the others.
#[test]
fn what_does_not_count_is_told_by_the_rest() {
    for loss in [Mse, Poisson, Nb] {
        let x = random(20, 60, 0.7, 1);
        let weights = |n: usize, without: usize| -> Vec<f64> {
            (0..n)
                .map(|at| f64::from(u8::from(at >= without)))
                .collect()
        };
        let all = Data::new(x.clone(), None);
        let params = sized(plain(3, loss, 400), 20);
        let cells = Weights {
            cells: [weights(60, 20), Vec::new()],
            ..Weights::default()
        };
        let weighed = all.like(x.clone(), None).with_weights(cells);
        let rest = all.like(fortran(&x.slice(ndarray::s![.., 20..]).to_owned()), None);
        let [a, b] = [&weighed, &rest].map(|d| d.fit::<f64>(true, &params, &Start::Seed(2)));
        assert!(distance(&a.factors().w, &b.factors().w) < 1e-9, "{loss:?}");
        assert!(distance(&a.factors().h[60..], &b.factors().h) < 1e-9);
        assert!(a.factors().h[..60].iter().any(|h| *h > 0.0));

        let features = Weights {
            features: weights(20, 5),
            ..Weights::default()
        };
        let weighed = all.like(x.clone(), None).with_weights(features);
        let fit = weighed.fit::<f64>(true, &params, &Start::Seed(2));
        // Other values there change nothing elsewhere.
        let mut other = x.clone();
        other
            .slice_mut(ndarray::s![..5, ..])
            .mapv_inplace(|x| 0.5 * x);
        let params = FitParams {
            maxit: 30,
            ..params
        };
        let start = start_of(&all, 3, 7);
        let [a, b] = [x, other].map(|x| {
            let data = weighed.like(x, None);
            let factors = data.fit::<f64>(true, &params, &start).factors();
            let product = common::product(&factors.w, &factors.h, 3);
            product
                .slice(ndarray::s![5.., ..])
                .iter()
                .copied()
                .collect::<Vec<f64>>()
        });
        assert!(distance(&a, &b) < 1e-9, "{loss:?}");
        let w = fit.factors().w;
        assert!(w.chunks_exact(20).any(|w| w[..5].iter().any(|w| *w > 0.0)));
    }
}

/// W that moves after every batch gets near to the full batch where entries are missing, too.
#[test]
fn mini_batches_take_missing_entries() {
    for loss in [Mse, Poisson, Nb] {
        let (w, h) = (random(40, 4, 0.4, 1), random(4, 1500, 0.6, 2));
        let mean = 3.0 * w.dot(&h);
        let noise = random(40, 1500, 1.0, 3);
        let mut x = mean + 0.3 * noise;
        if loss.is_counts() {
            x.mapv_inplace(|x| x.round());
        }
        for (part, missing) in [
            (0.05, Missing::Nan),
            (0.5, Missing::Nan),
            (0.0, Missing::Zeros),
        ] {
            let data = Data::new(fortran(&with_holes(&x, part, 4)), None).with_missing(missing);
            let last = |params: FitParams| {
                let fit = data.fit::<f32>(true, &params, &Start::Seed(1));
                assert!(!fit.failed(), "{loss:?} {part}");
                fit.history().last().expect("a record").target
            };
            let batches = Some(Batches {
                size: 100,
                update: Update::Batch,
            });
            let full = last(plain(4, loss, 300));
            let online = last(FitParams {
                batches,
                ..plain(4, loss, 10)
            });
            assert!(
                online < 1.1 * full,
                "{loss:?} {part} {missing:?}: {online} {full}"
            );
        }
    }
}

/// Entries can be held out of those that are known.
#[test]
fn known_entries_are_held_out() {
    let x = with_holes(&random(30, 50, 0.9, 1), 0.4, 2);
    let data = Data::new(fortran(&x), None).with_missing(Missing::Nan);
    for loss in [Mse, Poisson, Nb] {
        let hold_out = HoldOut { seed: 3, part: 0.2 };
        let params = FitParams {
            hold_out: Some(hold_out),
            ..plain(3, loss, 50)
        };
        let fit = data.fit::<f64>(true, &params, &Start::Seed(1));
        let [held, _] = fit.held_out().expect("a hold-out");
        let known: usize = (0..50)
            .map(|j| {
                let features = hold_out.features(30, false, j);
                features.filter(|&i| !x[(i as usize, j)].is_nan()).count()
            })
            .sum();
        assert_eq!(held.entries, known);
        assert!(held.loss > 0.0);
    }
}

/// Size factors are a scale: the fit is the same but for its coefficients, and for penalties, which are on these.
#[test]
fn size_factors_scale_coefficients() {
    let (x, y) = (random(15, 40, 0.8, 1), random(15, 30, 0.8, 2));
    let factors_of = |n: usize, seed: u64| -> Vec<f64> {
        let draws = random(n, 1, 1.0, seed);
        draws.iter().map(|draw| 0.2 + draw).collect()
    };
    let s = [factors_of(40, 3), factors_of(30, 4)];
    let data = Data::new(x.clone(), Some(y.clone()));
    for loss in [Mse, Poisson, Nb] {
        let params = FitParams {
            weight: 0.7,
            ..sized(plain(4, loss, 30), 15)
        };
        let fit = |params: &FitParams, start: &Start, with: bool| {
            let problem = data.problem(true);
            let problem = if with {
                problem.with_size_factors(s.clone()).expect("positive")
            } else {
                problem
            };
            let fit = common::finish::<f64>(problem, params, start);
            (fit.factors(), fit.history().to_vec())
        };
        let scaled = |h: &[f64], s: &[f64]| -> Vec<f64> {
            let cells = h.chunks_exact(4).zip(s);
            cells
                .flat_map(|(h, s)| h.iter().map(move |h| h * s))
                .collect()
        };
        let (plain, history) = fit(&params, &Start::Seed(1), false);
        let (with, same) = fit(&params, &Start::Seed(1), true);
        assert_eq!(plain.w, with.w);
        assert!(distance(&plain.h, &scaled(&with.h, &s[0])) < 1e-14);
        assert!(distance(&plain.h_background, &scaled(&with.h_background, &s[1])) < 1e-14);
        assert_eq!(
            history.last().map(|r| r.target.to_bits()),
            same.last().map(|r| r.target.to_bits())
        );
        // A fit that goes on takes the coefficients as they came out.
        let go_on = Start::Factors(with.clone());
        let evaluation = FitParams {
            maxit: 0,
            ..params.clone()
        };
        let (_, again) = fit(&evaluation, &go_on, true);
        let last = same.last().expect("a record").target;
        assert!((again[0].target - last).abs() < 1e-9 * last);
        // Penalties: the objective is that of the coefficients that come out.
        let penalised = FitParams {
            h_penalty: Penalty { l1: 0.3, l2: 0.2 },
            w_penalty: Penalty::default(),
            ..params
        };
        let (with, records) = fit(&penalised, &Start::Seed(1), true);
        let target = records.last().expect("a record");
        let naive = common::naive(&data, &with, &penalised);
        let bare = target.target + penalised.weight * target.background;
        let want = naive.penalty[1] + penalised.weight * naive.penalty[2];
        assert!((target.objective - bare - want).abs() < 1e-9 * target.objective);
    }
}

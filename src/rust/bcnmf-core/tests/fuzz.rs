//! Odd shapes, odd values, odd parameters: an error or a finite model, never a panic, never NaN.

mod common;

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{
    Batches, By, Contrast, Dispersion, Dropout, Factors, FitParams, Model, Penalty, Per,
    Projection, ProjectionParams, Record, Restarts, Scaling, Size, Steps, Update,
};
use bcnmf_core::matrix::{Csc, HoldOut, Missing};
use bcnmf_core::real::Real;
use bcnmf_core::simulate::Simulation;
use bcnmf_core::{Driver, LossKind, Matrix, Problem, Start};
use common::scenario::losses;
use common::{cases, dense};
use ndarray::{Array2, ShapeBuilder};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::sync::Arc;
use std::time::Duration;

/// Values that matrices may hold, nasty ones among them.
fn allowed() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => Just(0.0),
        1 => Just(-0.0),
        4 => 0.0..10.0f64,
        1 => Just(5e-324),
        1 => Just(1e-300),
        1 => Just(1e-40),
        3 => Just(1.0),
        2 => Just(1e5),
        1 => Just(1e40),
        1 => Just(1e99),
    ]
}

/// Values that they may not hold as well.
fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        40 => allowed(),
        1 => Just(1e300),
        1 => Just(f64::MAX),
        1 => Just(-1.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
    ]
}

fn parameter() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => Just(0.0),
        3 => Just(0.5),
        2 => Just(3.0),
        1 => Just(1e6),
        1 => Just(1e300),
        1 => Just(5e-324),
        1 => Just(-1.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NAN),
    ]
}

/// Matrices of so many rows, most of them with values that are allowed.
fn matrices(rows: usize) -> impl Strategy<Value = Array2<f64>> {
    let fill = move |columns: usize, value: BoxedStrategy<f64>| {
        vec(value, rows * columns).prop_map(move |values| {
            Array2::from_shape_vec((rows, columns).f(), values).expect("rows x columns values")
        })
    };
    let value = prop_oneof![3 => Just(true), 1 => Just(false)];
    (0..6usize, value).prop_flat_map(move |(columns, tame)| {
        fill(
            columns,
            if tame {
                allowed().boxed()
            } else {
                any_value().boxed()
            },
        )
    })
}

fn pair() -> impl Strategy<Value = (Array2<f64>, Option<Array2<f64>>)> {
    (0..6usize, any::<bool>()).prop_flat_map(|(rows, odd)| {
        let background_rows = if odd && rows == 3 { 4 } else { rows };
        (
            matrices(rows),
            proptest::option::of(matrices(background_rows)),
        )
    })
}

fn scaling() -> impl Strategy<Value = Scaling> {
    let guard = prop_oneof![Just(1e-16), Just(1e-300), Just(0.0), parameter()];
    prop_oneof![4 => Just(Scaling::Normalised), 1 => guard.prop_map(|guard| Scaling::Plain { guard })]
}

fn penalties() -> impl Strategy<Value = (Penalty, Penalty)> {
    let one = || (parameter(), parameter()).prop_map(|(l1, l2)| Penalty { l1, l2 });
    prop_oneof![2 => Just((Penalty::default(), Penalty::default())), 1 => (one(), one())]
}

#[derive(Clone, Debug)]
struct Wish {
    params: FitParams,
    contrast: Contrast,
    mixture: Vec<LossKind>,
}

/// The losses of features: mostly none, else most of them in order.
fn mixtures() -> impl Strategy<Value = Vec<LossKind>> {
    let counts = prop_oneof![
        Just(LossKind::Poisson),
        Just(LossKind::Nb),
        Just(LossKind::Zinb)
    ];
    let ordered = (vec(counts, 0..5), 0..5usize).prop_map(|(mut losses, squares)| {
        losses.extend(vec![LossKind::Mse; squares]);
        losses
    });
    prop_oneof![2 => Just(Vec::new()), 3 => ordered, 1 => vec(losses(), 0..6)]
}

fn dropouts() -> impl Strategy<Value = Dropout> {
    let per = prop_oneof![Just(Per::Feature), Just(Per::Cell)];
    let probability =
        || prop_oneof![3 => Just(0.5), 1 => Just(0.0), 1 => Just(1.0 - 1e-16), 1 => parameter()];
    let set = move || prop_oneof![2 => Just(Vec::new()), 1 => vec(probability(), 0..7)];
    (per, any::<bool>(), set(), set()).prop_map(|(per, fixed, x, y)| Dropout {
        per,
        fixed,
        probability: [x, y],
    })
}

fn wishes() -> impl Strategy<Value = Wish> {
    let contrast = prop_oneof![
        4 => parameter().prop_map(Contrast::Alpha),
        1 => parameter().prop_map(Contrast::Beta),
        2 => parameter().prop_map(Contrast::Explain),
        1 => Just(Contrast::ExplainBySize(1.0)),
    ];
    let k = prop_oneof![12 => 1..4usize, 1 => Just(0usize), 1 => 4..8usize];
    let targets = prop_oneof![8 => Just(0usize), 4 => 0..4usize, 1 => 4..9usize];
    let hold = prop_oneof![4 => Just(0usize), 1 => 1..4usize];
    let k_target = (targets, hold);
    let stop = (
        prop_oneof![3 => Just(0.0), 1 => Just(1e-4), 1 => parameter()],
        prop_oneof![8 => 0..12usize, 1 => 20..24usize],
        prop_oneof![20 => (1..4usize, 1..4usize, 1..4usize), 1 => Just((0, 1, 1)), 1 => Just((1, 1, 0))],
    );
    let ambient = prop_oneof![2 => Just(0.0), 2 => Just(0.02), 1 => parameter()];
    let held = (
        any::<u64>(),
        prop_oneof![4 => 0.0..1.0f64, 1 => parameter()],
    );
    let update = prop_oneof![Just(Update::Batch), Just(Update::Pass)];
    let batches = (0..60usize, update).prop_map(|(size, update)| Batches { size, update });
    let batches = proptest::option::of(batches);
    let by = prop_oneof![Just(By::Feature), Just(By::Global), Just(By::Fixed)];
    let sizes = || prop_oneof![1 => Just(Vec::new()), 1 => vec(parameter(), 0..7)];
    let dispersion =
        (by, any::<bool>(), sizes(), sizes()).prop_map(|(by, shared, x, y)| Dispersion {
            by,
            shared,
            size: [x, y],
        });
    let dropout = dropouts();
    let hold_out = proptest::option::of(held.prop_map(|(seed, part)| HoldOut { seed, part }));
    (
        losses(),
        k,
        k_target,
        contrast,
        penalties(),
        scaling(),
        stop,
        (ambient, dispersion, dropout, batches, hold_out, mixtures()),
    )
        .prop_map(
            |(
                loss,
                k,
                (k_target, hold),
                contrast,
                (w_penalty, h_penalty),
                scaling,
                (tol, maxit, (h, first, w)),
                (ambient, dispersion, dropout, batches, hold_out, mixture),
            )| Wish {
                params: FitParams {
                    k,
                    loss,
                    weight: 0.0,
                    k_target,
                    hold,
                    maxit,
                    tol,
                    w_penalty,
                    h_penalty,
                    scaling,
                    steps: Steps { h, first, w },
                    accelerate: first % 2 == 0,
                    ambient,
                    dispersion,
                    dropout,
                    batches,
                    hold_out,
                    revive: true,
                },
                contrast,
                mixture,
            },
        )
}

/// Starting values are cut to, or left short of, the length that is needed.
#[derive(Clone, Debug)]
enum From {
    Seed(u64),
    Loadings(Vec<f64>),
    Factors([Vec<f64>; 3]),
}

fn starts() -> impl Strategy<Value = From> {
    let values = || vec(any_value(), 30..31);
    prop_oneof![
        3 => any::<u64>().prop_map(From::Seed),
        1 => values().prop_map(From::Loadings),
        1 => (values(), values(), values()).prop_map(|(w, x, y)| From::Factors([w, x, y])),
    ]
}

impl From {
    fn start(&self, x: &Matrix<'_>, y: Option<&Matrix<'_>>, k: usize) -> Start {
        let cut = |v: &Vec<f64>, n: usize| v[..n.min(v.len())].to_vec();
        match self {
            From::Seed(seed) => Start::Seed(*seed),
            From::Loadings(w) => Start::Loadings(cut(w, x.rows() * k)),
            From::Factors([w, h, h_background]) => Start::Factors(Factors {
                w: cut(w, x.rows() * k),
                h: cut(h, k * x.columns()),
                h_background: cut(h_background, k * y.map_or(0, Matrix::columns)),
            }),
        }
    }
}

fn finite(what: &str, values: &[f64]) -> TestCaseResult {
    prop_assert!(
        values.iter().all(|v| *v >= 0.0 && v.is_finite()),
        "{what}: {values:?}"
    );
    Ok(())
}

fn check_model(model: &Model) -> TestCaseResult {
    finite("w", &model.w)?;
    finite("d", &model.d)?;
    finite("h", &model.h)?;
    finite("d_background", &model.d_background)?;
    finite("h_background", &model.h_background)
}

/// What is documented to be NaN, and nothing else, is NaN: the background's divergence without
/// one, the change at the start, and what made a fit fail.
fn check_history(history: &[Record], failed: bool, background: bool) -> TestCaseResult {
    let good = history.len() - usize::from(failed);
    for (i, record) in history[..good].iter().enumerate() {
        let Record {
            iteration,
            target,
            background: y,
            objective,
            change,
        } = *record;
        prop_assert_eq!(iteration, i);
        prop_assert!(target >= 0.0, "{:?}", history);
        prop_assert!(!objective.is_nan(), "{:?}", history);
        prop_assert_eq!(y.is_nan(), !background, "{:?}", history);
        prop_assert_eq!(change.is_nan(), i == 0, "{:?}", history);
    }
    Ok(())
}

/// Fits if it is allowed to, and looks at all that comes out.
fn survive<T: Real>(
    x: Matrix<'_>,
    y: Option<Matrix<'_>>,
    wish: &Wish,
    from: &From,
) -> TestCaseResult {
    let start = from.start(&x, y.as_ref(), wish.params.k);
    let (background, cells) = (y.is_some(), x.columns());
    let Ok(problem) = Problem::new(x, y) else {
        return Ok(());
    };
    let Wish {
        params,
        contrast,
        mixture,
    } = wish;
    // As many as there are features, where there are enough.
    let few = mixture.len().min(problem.target.rows());
    let Ok(problem) = problem.with_mixture(mixture[..few].to_vec()) else {
        return Ok(());
    };
    let loss = problem.family().unwrap_or(params.loss);
    let weight = problem.weight(*contrast, loss);
    let params = FitParams {
        loss,
        weight,
        ..params.clone()
    };
    let one = pool(1).expect("one thread");
    let starts = vec![start, Start::Seed(1)];
    let Ok(mut fit) = Restarts::<T>::new(Arc::new(problem), params.clone(), starts, one) else {
        return Ok(());
    };
    finite("first w", &fit.factors().w)?;
    check_model(&fit.model())?;
    while !fit.advance(Duration::from_secs(60)).done {}
    prop_assert_eq!(fit.outcomes().len(), 2);
    for outcome in fit.outcomes() {
        prop_assert!(!outcome.history.is_empty());
        check_history(&outcome.history, outcome.failed, background)?;
    }
    let factors = fit.factors();
    prop_assert_eq!(factors.h.len(), params.k * cells);
    finite("w", &factors.w)?;
    finite("h", &factors.h)?;
    finite("h_background", &factors.h_background)?;
    check_model(&fit.model())
}

proptest! {
    #![proptest_config(cases(6000))]

    #[test]
    fn any_matrix_gives_an_error_or_a_finite_model(
        (x, y) in pair(),
        wish in wishes(),
        from in starts(),
        missing in prop_oneof![3 => Just(Missing::None), 3 => Just(Missing::Nan), 1 => Just(Missing::Zeros)],
        single: bool,
    ) {
        let lacks = |x| dense(x).with_missing(missing);
        let (x, y) = (lacks(&x), y.as_ref().map(lacks));
        if single {
            survive::<f32>(x, y, &wish, &from)?;
        } else {
            survive::<f64>(x, y, &wish, &from)?;
        }
    }

    #[test]
    fn any_slots_give_an_error_or_a_finite_model(
        (rows, columns) in (0..5usize, 0..5usize),
        p in vec(prop_oneof![20 => 0..6i32, 1 => -2..0i32, 1 => Just(i32::MAX), 1 => Just(i32::MIN)], 0..7),
        i in vec(prop_oneof![20 => 0..5i32, 1 => -2..0i32, 1 => Just(i32::MAX)], 0..7),
        x in vec(any_value(), 0..7),
        tidy: bool,
        wish in wishes(),
    ) {
        let (mut p, mut i, mut x) = (p, i, x);
        if tidy {
            // Close enough to valid slots that many are.
            let n = i.len().min(x.len());
            i.truncate(n);
            x.truncate(n);
            p.resize(columns + 1, 0);
            p.sort_unstable();
            (p[0], p[columns]) = (0, n as i32);
            p.iter_mut().for_each(|p| *p = (*p).clamp(0, n as i32));
            for w in p.windows(2) {
                i[w[0] as usize..w[1] as usize].sort_unstable();
            }
        }
        if let Ok(x) = Csc::new(rows, columns, &p, &i, &x, "target") {
            survive::<f64>(Matrix::Csc(x.clone()), None, &wish, &From::Seed(1))?;
            survive::<f32>(Matrix::Csc(x.clone()), Some(Matrix::Csc(x)), &wish, &From::Seed(1))?;
        }
    }

    #[test]
    fn any_projection_gives_an_error_or_finite_coefficients(
        x in (0..6usize).prop_flat_map(matrices),
        w in vec(any_value(), 30..31),
        k in 0..6usize,
        loss in losses(),
        (_, h_penalty) in penalties(),
        tol in parameter(),
        (features, cells, total) in (0..3usize, 0..3usize, parameter()),
        (sizes, dropout) in (vec(parameter(), 0..7), dropouts()),
        (weights, size_factors, mixture) in (vec(parameter(), 0..7), vec(parameter(), 0..7), mixtures()),
        single: bool,
    ) {
        let size = Size { features, cells, k, total };
        let params = ProjectionParams { loss, maxit: 20, tol, h_penalty, size, sizes, dropout, weights, mixture, size_factors };
        let w = &w[..x.nrows() * k];
        let one = pool(1).expect("one thread");
        let h = if single {
            Projection::<f32>::new(dense(&x), w, params, one).map(|mut p| {
                while !p.advance(Duration::from_secs(60)).done {}
                p.coefficients()
            })
        } else {
            Projection::<f64>::new(dense(&x), w, params, one).map(|mut p| {
                while !p.advance(Duration::from_secs(60)).done {}
                p.coefficients()
            })
        };
        if let Ok(h) = h {
            prop_assert_eq!(h.len(), k * x.ncols());
            finite("h", &h)?;
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_simulation_gives_an_error_or_valid_counts(
        (features, target, background) in (0..5usize, 0..5usize, 0..5usize),
        (k_shared, k_target) in (0..3usize, 0..3usize),
        share in prop_oneof![Just(0.0), Just(0.5), Just(1.0), parameter()],
        depth in prop_oneof![3 => Just(10.0), 1 => Just(5e-324), 1 => Just(1e-300), 1 => Just(-1.0), 1 => Just(f64::NAN)],
        depth_sd in prop_oneof![2 => Just(0.0), 2 => Just(0.5), 1 => Just(-1.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)],
        (loading_shape, use_shape) in (shape(), shape()),
        seed: u64,
    ) {
        let simulation = Simulation {
            features, target, background, k_shared, k_target, share, depth, depth_sd,
            loading_shape, use_shape, seed,
        };
        if let Ok(sim) = simulation.run() {
            for (counts, cells) in [(&sim.target, target), (&sim.background, background)] {
                let csc = Csc::new(features, cells, &counts.p, &counts.i, &counts.x, "target");
                prop_assert!(csc.is_ok(), "{:?} {:?}", csc, counts);
                prop_assert!(counts.x.iter().all(|x| *x >= 1.0 && x.fract() == 0.0), "{:?}", counts);
            }
            finite("w", &sim.w)?;
            finite("h", &sim.h)?;
            finite("h_background", &sim.h_background)?;
        }
    }
}

fn shape() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(0.5), 1 => Just(1e-3), 1 => Just(1e6), 1 => parameter()]
}

fn fit_of(loss: LossKind, starts: Vec<Start>) -> bcnmf_core::Result<Restarts<'static, f64>> {
    static X: [f64; 4] = [1.0, 2.0, 3.0, 5.0];
    let view =
        ndarray::ArrayView2::from_shape(ndarray::ShapeBuilder::f((2, 2)), &X).expect("2 x 2");
    let x = Matrix::Dense(bcnmf_core::matrix::Dense::new(view)?);
    Restarts::new(
        Arc::new(Problem::new(x, None)?),
        FitParams::new(1, loss),
        starts,
        pool(1)?,
    )
}

#[test]
fn no_start_is_an_error() {
    assert!(fit_of(LossKind::Mse, Vec::new()).is_err());
}

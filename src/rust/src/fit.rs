//! A fit in progress behind an external pointer.

use crate::arguments::Arguments;
use crate::data::{borrow, borrow_optional, r_matrix};
use crate::{Result, refuse};
use bcnmf_core::backend::cuda::{self, Gpu};
use bcnmf_core::backend::{ThreadPool, pool};
use bcnmf_core::fit::{
    Batches, By, Contrast, Degenerate, Dispersion, Factors, HeldOut, Outcome, Restarts, Scaling,
    Steps, Update, Weights, uniform,
};
use bcnmf_core::matrix::{HoldOut, held_out_entries};
use bcnmf_core::{Driver, Error, FitParams, LossKind, Matrix, Problem, Progress, Start};
use extendr_api::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// The starts of one call, in the precision asked for, and the R objects they read.
struct Session {
    fit: Precision,
    problem: Arc<Problem<'static>>,
    weight: f64,
    loss: LossKind,
    _owners: Vec<Robj>,
}

enum Precision {
    Single(Restarts<'static, f32>),
    Double(Restarts<'static, f64>),
}

macro_rules! with_fit {
    ($session:expr, $fit:ident => $call:expr) => {
        match $session {
            Precision::Single($fit) => $call,
            Precision::Double($fit) => $call,
        }
    };
}

/// What a call asks for, checked.
struct Asked {
    problem: Problem<'static>,
    params: FitParams,
    pool: ThreadPool,
    owners: Vec<Robj>,
}

/// Checks data and arguments.
fn ask(target: &Robj, background: &Robj, arguments: &Arguments) -> Result<Asked> {
    let x = borrow(target, "target")?;
    let y = borrow_optional(background, "background")?;
    let mut owners = x.owners;
    let mut weights = Weights {
        features: x.features,
        cells: [x.cells, Vec::new()],
    };
    let mut size_factors = [x.size_factors, Vec::new()];
    let background: Option<Matrix<'static>> = y.map(|y| {
        owners.extend(y.owners);
        weights.cells[1] = y.cells;
        size_factors[1] = y.size_factors;
        y.matrix
    });
    let mixture = x.losses;
    let pool = pool(arguments.count("threads")?.max(1)).map_err(refuse)?;
    let problem = pool
        .install(|| Problem::weighted(x.matrix, background, weights))
        .and_then(|problem| problem.with_size_factors(size_factors))
        .and_then(|problem| problem.with_mixture(mixture))
        .map_err(refuse)?;
    // Data that have their features' losses with them need no other.
    let loss = match problem.family() {
        Some(family) => family,
        None => arguments.loss()?,
    };
    let weight = problem.weight(contrast(arguments)?, loss);
    let (w_penalty, h_penalty) = arguments.penalties()?;
    let params = FitParams {
        k: arguments.count("k")?,
        loss,
        weight,
        k_target: arguments.count("k_target")?,
        hold: arguments.count("hold")?,
        maxit: arguments.count("maxit")?,
        tol: arguments.number("tol")?,
        w_penalty,
        h_penalty,
        scaling: Scaling::Normalised,
        steps: steps(arguments, &problem, loss)?,
        accelerate: arguments.number("accelerate")? != 0.0,
        ambient: arguments.number("ambient")?,
        dispersion: dispersion(arguments)?,
        batches: batches(arguments)?,
        dropout: arguments.dropout()?,
        hold_out: hold_out(arguments)?,
        revive: true,
    };
    Ok(Asked {
        problem,
        params,
        pool,
        owners,
    })
}

/// Checks data and arguments and sets up the fit.
/// @noRd
#[extendr]
fn rs_fit_new(target: Robj, background: Robj, arguments: List) -> Result<Robj> {
    let arguments = Arguments(arguments);
    let Asked {
        mut problem,
        params,
        pool,
        owners,
    } = ask(&target, &background, &arguments)?;
    if let Some(number) = device(&arguments)? {
        let gpu = Gpu::open(number).map_err(refuse)?;
        let on_device = pool.install(|| problem.on_device(gpu, &params, None));
        problem = on_device.map_err(refuse)?;
    }
    let (weight, loss) = (params.weight, params.loss);
    let (starts, problem) = (starts(&arguments)?, Arc::new(problem));
    let fit = match arguments.text("precision")?.as_str() {
        "double" => {
            Precision::Double(Restarts::new(problem.clone(), params, starts, pool).map_err(refuse)?)
        }
        _ => {
            Precision::Single(Restarts::new(problem.clone(), params, starts, pool).map_err(refuse)?)
        }
    };
    let session = Session {
        fit,
        problem,
        weight,
        loss,
        _owners: owners,
    };
    Ok(ExternalPtr::new(session).into())
}

/// Why a GPU cannot be used for this; empty if it can.
/// @noRd
#[extendr]
fn rs_fit_refused(target: Robj, background: Robj, arguments: List) -> Result<String> {
    let arguments = Arguments(arguments);
    let opened = device(&arguments)?.map(Gpu::open).transpose();
    if let Err(Error::Device { why }) = opened {
        return Ok(why);
    }
    if arguments.text("precision")? == "double" {
        return Ok("it works in single precision".into());
    }
    let asked = ask(&target, &background, &arguments)?;
    match cuda::check(&asked.problem, &asked.params) {
        Err(Error::Device { why }) => Ok(why),
        other => other.map(|()| String::new()).map_err(refuse),
    }
}

/// What one look at the data told: weights, sums, feature means.
/// @noRd
#[extendr]
fn rs_fit_data(session: ExternalPtr<Session>) -> List {
    let Problem {
        target,
        background,
        target_summary: x,
        background_summary: y,
        ..
    } = &*session.problem;
    let means = |sums: &[f64], cells: usize| -> Vec<f64> {
        sums.iter().map(|sum| sum / cells as f64).collect()
    };
    let cells = background.as_ref().map_or(0, Matrix::columns);
    let [fractional, fractional_background] = session.problem.fractional();
    let y = y.as_ref();
    list!(
        weight = session.weight,
        size_ratio = session.problem.size_ratio(session.loss),
        total = x.sum,
        total_background = y.map_or(0.0, |y| y.sum),
        missing = x.missing as f64,
        missing_background = y.map_or(0, |y| y.missing) as f64,
        cell_total = x.column_sums.clone(),
        fractional = fractional as f64,
        fractional_background = fractional_background as f64,
        feature_mean = means(&x.row_sums, target.columns()),
        feature_mean_background = y.map_or(Vec::new(), |y| means(&y.row_sums, cells)),
        empty_features = x.row_sums.iter().filter(|sum| **sum == 0.0).count() as f64,
        empty_cells = x.column_sums.iter().filter(|sum| **sum == 0.0).count() as f64
    )
}

/// Works for about so many seconds.
/// @noRd
#[extendr]
fn rs_fit_advance(mut session: ExternalPtr<Session>, seconds: f64) -> List {
    progress(with_fit!(&mut session.fit, fit => fit.advance(budget(seconds))))
}

/// Gives up the sweep in work and all further starts.
/// @noRd
#[extendr]
fn rs_fit_stop(mut session: ExternalPtr<Session>) {
    with_fit!(&mut session.fit, fit => fit.stop());
}

/// The best model so far, and how every start went.
/// @noRd
#[extendr]
fn rs_fit_result(session: ExternalPtr<Session>) -> Result<List> {
    let (model, best, outcomes) =
        with_fit!(&session.fit, fit => (fit.model(), fit.best(), fit.outcomes()));
    let (rows, k) = (session.problem.target.rows(), model.d.len());
    Ok(list!(
        w = r_matrix(&model.w, rows)?,
        h = r_matrix(&model.h, k)?,
        h_background = r_matrix(&model.h_background, k)?,
        d = model.d,
        d_background = model.d_background,
        target_only = model.target_only,
        held = model.held,
        sizes = List::from_values(with_fit!(&session.fit, fit => fit.sizes())),
        dropout = List::from_values(with_fit!(&session.fit, fit => fit.dropout())),
        best = best.map_or(1, |best| best as i32 + 1),
        outcomes = List::from_values(outcomes.iter().map(outcome))
    ))
}

fn outcome(outcome: &Outcome) -> List {
    let column = |value: fn(&bcnmf_core::fit::Record) -> f64| -> Vec<f64> {
        outcome.history.iter().map(value).collect()
    };
    let held_out = |value: fn(&HeldOut) -> f64| -> Vec<f64> {
        outcome.held_out.iter().flatten().map(value).collect()
    };
    list!(
        target = column(|r| r.target),
        background = column(|r| r.background),
        objective = column(|r| r.objective),
        change = column(|r| r.change),
        iterations = outcome.iterations as f64,
        converged = outcome.converged,
        failed = outcome.failed,
        held_out = held_out(|h| h.loss),
        n_held_out = held_out(|h| h.entries as f64),
        revived = outcome.revived as f64,
        mishap = outcome
            .mishap
            .as_ref()
            .map_or(String::new(), Error::to_string)
    )
}

/// Dead factors, and duplicate ones with their twins, from 1: of the loadings' Gram matrix, the factors' totals
/// and which of them are target-only.
/// @noRd
#[extendr]
fn rs_degenerate(gram: &[f64], totals: &[f64], target_only: &[f64]) -> List {
    let target_only: Vec<bool> = target_only.iter().map(|only| *only > 0.0).collect();
    let found = Degenerate::find(gram, totals, &target_only);
    let from_1 =
        |factors: Vec<usize>| -> Vec<i32> { factors.iter().map(|f| *f as i32 + 1).collect() };
    let (duplicates, twins) = found.duplicates.into_iter().unzip();
    list!(
        dead = from_1(found.dead),
        duplicates = from_1(duplicates),
        twins = from_1(twins)
    )
}

/// Features, cells (from 0) and values of the entries that a fit of this set does not see.
/// @noRd
#[extendr]
fn rs_held_out(x: Robj, part: f64, seed: f64, background: f64) -> Result<List> {
    let data = borrow(&x, "data")?;
    let seed = seed as i64 as u64;
    let hold_out = HoldOut { seed, part };
    hold_out.check().map_err(refuse)?;
    let (i, j, x) = held_out_entries(&data.matrix, hold_out, background > 0.0);
    let integers = |v: Vec<u32>| -> Vec<i32> { v.into_iter().map(|v| v as i32).collect() };
    Ok(list!(i = integers(i), j = integers(j), x = x))
}

/// Random numbers on (0, 1): those that a start from this seed is made of.
/// @noRd
#[extendr]
fn rs_uniform(seed: f64, n: f64) -> Vec<f64> {
    uniform(seed as i64 as u64, n as usize)
}

/// A span of time that any double means something for.
pub(crate) fn budget(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds)
        .unwrap_or_default()
        .min(Duration::from_secs(3600))
}

pub(crate) fn progress(progress: Progress) -> List {
    list!(
        done = progress.done,
        finished = progress.finished as f64,
        starts = progress.starts as f64,
        share = progress.share,
        iteration = progress.iteration as f64,
        objective = progress.objective,
        change = progress.change
    )
}

fn contrast(arguments: &Arguments) -> Result<Contrast> {
    let strength = arguments.number("strength")?;
    match arguments.text("contrast")?.as_str() {
        "alpha" => Ok(Contrast::Alpha(strength)),
        "beta" => Ok(Contrast::Beta(strength)),
        "lambda" => Ok(Contrast::Explain(strength)),
        "size" => Ok(Contrast::ExplainBySize(strength)),
        other => Err(refuse(format!("internal argument contrast is {other}"))),
    }
}

/// `steps`: h, first h, w; empty for what suits the loss.
fn steps(arguments: &Arguments, problem: &Problem<'_>, loss: LossKind) -> Result<Steps> {
    match arguments.numbers("steps")?[..] {
        // Squared errors beside counts take as many steps of W as alone.
        [] if problem.family().is_some() => Ok(Steps {
            w: Steps::fast(LossKind::Mse).w,
            ..Steps::fast(loss)
        }),
        [] => Ok(Steps::fast(loss)),
        [h, first, w] => Ok(Steps {
            h: h as usize,
            first: first as usize,
            w: w as usize,
        }),
        _ => Err(refuse("internal argument steps is not h, first h, w")),
    }
}

/// `batches`: size, and 1 where W moves after every batch; empty for the full batch.
fn batches(arguments: &Arguments) -> Result<Option<Batches>> {
    match arguments.numbers("batches")?[..] {
        [] => Ok(None),
        [size, online] => Ok(Some(Batches {
            size: size as usize,
            update: if online > 0.0 {
                Update::Batch
            } else {
                Update::Pass
            },
        })),
        _ => Err(refuse("internal argument batches is not size, online")),
    }
}

/// `dispersion`: what is estimated; `sizes` and `sizes_background`: one a feature, or empty; `dispersion_shared`: 1 where
/// both sets have the same.
fn dispersion(arguments: &Arguments) -> Result<Dispersion> {
    let by = match arguments.text("dispersion")?.as_str() {
        "gene" => By::Feature,
        "global" => By::Global,
        "fixed" => By::Fixed,
        other => return Err(refuse(format!("internal argument dispersion is {other}"))),
    };
    Ok(Dispersion {
        by,
        shared: arguments.number("dispersion_shared")? > 0.0,
        size: [
            arguments.numbers("sizes")?,
            arguments.numbers("sizes_background")?,
        ],
    })
}

/// `device`: the number of a GPU, from 0; below for the CPU.
fn device(arguments: &Arguments) -> Result<Option<usize>> {
    let number = arguments.number("device")?;
    Ok((number >= 0.0).then_some(number as usize))
}

/// `hold_out`: part and seed; empty for none.
fn hold_out(arguments: &Arguments) -> Result<Option<HoldOut>> {
    match arguments.numbers("hold_out")?[..] {
        [] => Ok(None),
        [part, seed] => Ok(Some(HoldOut {
            part,
            seed: seed as i64 as u64,
        })),
        _ => Err(refuse("internal argument hold_out is not part, seed")),
    }
}

/// `seed`: one start each; else `w`: a list of matrices; else `factors`: w, h and h_background.
fn starts(arguments: &Arguments) -> Result<Vec<Start>> {
    let values = |x: &Robj| {
        x.as_real_slice()
            .map(<[f64]>::to_vec)
            .ok_or_else(|| refuse("a start is not numeric"))
    };
    let factors = arguments.get("factors")?;
    if !factors.is_null() {
        let parts = factors
            .as_list()
            .ok_or_else(|| refuse("factors is not a list"))?;
        let parts = Arguments(parts);
        return Ok(vec![Start::Factors(Factors {
            w: values(&parts.get("w")?)?,
            h: values(&parts.get("h")?)?,
            h_background: values(&parts.get("h_background")?)?,
        })]);
    }
    let w = arguments.get("w")?;
    if !w.is_null() {
        let w = w.as_list().ok_or_else(|| refuse("w is not a list"))?;
        return w
            .values()
            .map(|w| values(&w).map(Start::Loadings))
            .collect();
    }
    let seeds = arguments.numbers("seed")?;
    Ok(seeds
        .into_iter()
        .map(|seed| Start::Seed(seed as i64 as u64))
        .collect())
}

extendr_module! {
    mod fit;
    fn rs_fit_new;
    fn rs_fit_refused;
    fn rs_fit_data;
    fn rs_fit_advance;
    fn rs_fit_stop;
    fn rs_fit_result;
    fn rs_held_out;
    fn rs_degenerate;
    fn rs_uniform;
}

//! Simulated counts for R.

use crate::arguments::Arguments;
use crate::data::r_matrix;
use crate::fit::budget;
use crate::{Result, refuse};
use bcnmf_core::simulate::{Counts, Simulation, Simulator};
use extendr_api::prelude::*;

/// None once its data are R's.
struct Session {
    simulator: Option<Simulator>,
    features: usize,
    k: usize,
}

/// Checks what to simulate.
/// @noRd
#[extendr]
fn rs_simulate_new(arguments: List) -> Result<Robj> {
    let arguments = Arguments(arguments);
    let simulation = Simulation {
        features: arguments.count("n_features")?,
        target: arguments.count("n_target")?,
        background: arguments.count("n_background")?,
        k_shared: arguments.count("k_shared")?,
        k_target: arguments.count("k_target")?,
        share: arguments.number("share")?,
        depth: arguments.number("depth")?,
        depth_sd: arguments.number("depth_sd")?,
        loading_shape: arguments.number("loading_shape")?,
        use_shape: arguments.number("use_shape")?,
        seed: arguments.number("seed")? as i64 as u64,
    };
    let (features, k) = (
        simulation.features,
        simulation.k_shared + simulation.k_target,
    );
    let simulator = Some(Simulator::new(simulation).map_err(refuse)?);
    Ok(ExternalPtr::new(Session {
        simulator,
        features,
        k,
    })
    .into())
}

/// Works for about so many seconds.
/// @noRd
#[extendr]
fn rs_simulate_advance(mut session: ExternalPtr<Session>, seconds: f64) -> Result<List> {
    let simulator = session.simulator.as_mut().ok_or_else(taken)?;
    Ok(list!(
        done = simulator.advance(budget(seconds)).map_err(refuse)?
    ))
}

/// Target and background counts with planted programs, and the truth; once.
/// @noRd
#[extendr]
fn rs_simulate_result(mut session: ExternalPtr<Session>) -> Result<List> {
    let result = session.simulator.take().ok_or_else(taken)?.into_result();
    Ok(list!(
        target = slots(result.target),
        background = slots(result.background),
        w = r_matrix(&result.w, session.features)?,
        h = r_matrix(&result.h, session.k)?,
        h_background = r_matrix(&result.h_background, session.k)?
    ))
}

fn taken() -> extendr_api::Error {
    refuse("the simulation has been taken")
}

fn slots(counts: Counts) -> List {
    list!(p = counts.p, i = counts.i, x = counts.x)
}

extendr_module! {
    mod simulate;
    fn rs_simulate_new;
    fn rs_simulate_advance;
    fn rs_simulate_result;
}

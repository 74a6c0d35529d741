//! Simulated counts for R.

use crate::arguments::Arguments;
use crate::data::r_matrix;
use crate::{Result, refuse};
use bcnmf_core::simulate::{Counts, Simulation};
use extendr_api::prelude::*;

/// Target and background counts with planted programs, and the truth.
/// @noRd
#[extendr]
fn rs_simulate(arguments: List) -> Result<List> {
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
    let result = simulation.run().map_err(refuse)?;
    let k = simulation.k_shared + simulation.k_target;
    Ok(list!(
        target = slots(result.target),
        background = slots(result.background),
        w = r_matrix(&result.w, simulation.features)?,
        h = r_matrix(&result.h, k)?,
        h_background = r_matrix(&result.h_background, k)?
    ))
}

fn slots(counts: Counts) -> List {
    list!(p = counts.p, i = counts.i, x = counts.x)
}

extendr_module! {
    mod simulate;
    fn rs_simulate;
}

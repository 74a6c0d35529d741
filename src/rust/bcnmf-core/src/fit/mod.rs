//! Drivers: what is fitted, from where, in which order, and when it stops.
//!
//! A driver is an object that remembers a fit in progress. Its caller advances it by a small time
//! budget, again and again, and may look at the model in between.

mod ambient;
mod dispersion;
mod dropout;
mod extrapolation;
mod full_batch;
mod mini_batch;
mod model;
mod params;
mod problem;
mod project;
mod restarts;
mod revive;
mod start;
mod step_length;
mod stopping;
mod w_step;
mod yardstick;

pub use dispersion::SIZES;
pub use full_batch::FullBatch;
pub use model::{Factors, HeldOut, Model, Record};
pub use params::{
    Batches, By, Contrast, Dispersion, Dropout, FitParams, Penalty, Per, Scaling, Size, Steps,
    Update,
};
pub use problem::{Problem, Weights};
pub use project::{Projection, ProjectionParams};
pub use restarts::{Outcome, Restarts};
pub use revive::Degenerate;
pub use start::{Start, uniform};
pub use stopping::correlation_distance;
pub(crate) use w_step::WControl;

use std::time::Duration;

/// How far a driver has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Starts that ended.
    pub finished: usize,
    /// Number of starts.
    pub starts: usize,
    /// Part that is done of the sweeps that all starts may take, 0 to 1; never falls.
    pub share: f64,
    /// Complete sweeps of the first start in work.
    pub iteration: usize,
    /// Its objective in the latest sweep that is evaluated; NaN before the first.
    pub objective: f64,
    /// Its correlation distance of W in the latest sweep; NaN before the first.
    pub change: f64,
    /// Nothing is left to do.
    pub done: bool,
}

/// Something that can be advanced by a time budget.
pub trait Driver {
    /// Works for about this long and says how far it came. Never longer than the budget by more
    /// than a few cells' work and one W step.
    ///
    /// # Errors
    /// None once the driver exists, except that threads cannot be had.
    fn advance(&mut self, budget: Duration) -> Progress;
}

/// The places of some numbers, from the largest to the smallest; of equal ones the first comes first.
fn decreasing(values: impl Iterator<Item = f64>) -> Vec<usize> {
    let mut places: Vec<(f64, usize)> = values.zip(0..).collect();
    places.sort_by(|a, b| b.0.total_cmp(&a.0));
    places.into_iter().map(|(_, place)| place).collect()
}

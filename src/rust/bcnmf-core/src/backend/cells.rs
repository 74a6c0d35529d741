//! The coefficients of a fit, and who moves them.

use super::cpu::{Job, Set, Sums};
use crate::Result;
use crate::fit::WControl;
use crate::matrix::Matrix;
use crate::real::Real;
use crate::stats::WStats;
use std::borrow::Cow;
use std::time::Instant;

/// The coefficients of a fit's cells, target and background, cell by cell and padded, before and after a pass.
#[derive(Default)]
pub struct Coefficients<T> {
    pub now: [Vec<T>; 2],
    pub next: [Vec<T>; 2],
}

/// The coefficients of a fit's cells, wherever they are, and passes over all cells that move them. What a [`Job`] borrows, but for what hangs on
/// `W` and the sizes, is the same in all passes.
pub trait Backend<T: Real>: Send {
    /// Goes on from where the last call stopped, until the end of the pass (true) or the deadline (false).
    ///
    /// # Errors
    /// If a device fails; then nothing more can be had of it.
    fn run(
        &mut self,
        job: &Job<'_, T>,
        sets: [Option<&Matrix<'_>>; 2],
        deadline: Instant,
    ) -> Result<bool>;
    /// Back to the first cell, with empty records.
    fn rewind(&mut self);
    /// The part of the cells that this pass has seen, 0 to 1.
    fn fraction(&self) -> f64;
    /// What a complete pass has measured of one set.
    fn sums(&self, set: Set) -> Sums;
    /// The next loadings from what a complete pass has added up, where a device has that to itself: false where it is in the
    /// records.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn step_w(&mut self, _w_next: &mut [T], _control: WControl) -> Result<bool> {
        Ok(false)
    }
    /// Its records of target and background, each in a fixed order.
    fn take_records(&mut self) -> [Vec<WStats<T>>; 2];
    /// The room for those of the next one.
    fn give_records(&mut self, records: [Vec<WStats<T>>; 2]);
    /// The logarithms of the odds of dropout of one set's cells after the pass; empty where cells have none.
    fn log_odds(&self, set: Set) -> Vec<T>;
    /// Multiplies each factor of the new coefficients.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn scale_next(&mut self, scale: &[f64]) -> Result<()>;
    /// Whether the new coefficients are numbers of at most this size.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn next_in_range(&mut self, most: f64) -> Result<bool>;
    /// Makes the new coefficients those to go on from.
    fn swap(&mut self);
    /// Those to go on from.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn coefficients(&self) -> Result<[Cow<'_, [T]>; 2]>;
    /// The coefficients, to be changed.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn host(&mut self) -> Result<&mut Coefficients<T>>;
}

//! Who moves the cells' coefficients, and adds the records up.

mod cells;
mod cpu;
pub mod cuda;
mod work;

pub(crate) use cells::{Backend, Coefficients};
pub use cpu::pool;
pub(crate) use cpu::{Job, Pass, Set, Sums, Threads, even_ranges};
pub use rayon::ThreadPool;
pub(crate) use work::Compute;

use crate::real::Real;
use rayon::prelude::*;

/// Whether all values are numbers of at most this size.
pub(crate) fn in_range<T: Real>(values: &[T], most: f64) -> bool {
    values.iter().all(|v| v.is_finite() && v.wide() <= most)
}

/// Multiplies factor `k` of every item by `scale[k]`.
pub(crate) fn scale_factors<T: Real>(items: &mut [T], scale: &[f64]) {
    let scale: Vec<T> = scale.iter().map(|&s| T::of(s)).collect();
    items.par_chunks_mut(1024 * scale.len()).for_each(|chunk| {
        for item in chunk.chunks_exact_mut(scale.len()) {
            item.iter_mut()
                .zip(&scale)
                .for_each(|(value, &s)| *value *= s);
        }
    });
}

//! Who adds the records up.

mod cpu;
mod work;

pub use cpu::pool;
pub(crate) use cpu::{Job, Pass, Set, Sums, even_ranges};
pub(crate) use work::Compute;

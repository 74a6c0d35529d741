//! Who adds the records up.

mod cpu;

pub use cpu::pool;
pub(crate) use cpu::{Job, Pass, Set, Sums, even_ranges};

//! The R side of bcnmf: checks, converts, calls `bcnmf_core`, converts back. No numerics.
//!
//! A fit in progress is an external pointer that R advances by a time budget. Every fallible call
//! returns `Err`, which extendr turns into an R error once all Rust values are dropped; the R code
//! gives it the class `bcnmf_error`.

mod arguments;
mod data;
mod device;
mod fit;
mod gather;
mod project;
mod simulate;

use extendr_api::prelude::*;

/// `Result` with extendr's error, which becomes an R error.
type Result<T> = extendr_api::Result<T>;

/// An error of the core, or a message, as an R error.
fn refuse(error: impl std::fmt::Display) -> extendr_api::Error {
    extendr_api::Error::Other(error.to_string())
}

/// Version of the compiled core.
/// @noRd
#[extendr]
fn rs_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Processors that this process may use.
/// @noRd
#[extendr]
fn rs_processors() -> i32 {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(i32::MAX as usize) as i32)
}

extendr_module! {
    mod bcnmf;
    fn rs_version;
    fn rs_processors;
    use device;
    use fit;
    use gather;
    use project;
    use simulate;
}

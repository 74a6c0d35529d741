//! Background-contrastive non-negative matrix factorisation (arXiv 2602.22387).
//!
//! A target `X` (features × cells) is factorised as `X ≈ W H_X`, a background `Y` as `Y ≈ W H_Y`
//! with the same non-negative basis `W`. With a signed background weight `s` the objective is
//!
//! ```text
//! F(W, H_X, H_Y) = D(X ‖ W H_X) + s · D(Y ‖ W H_Y)
//! ```
//!
//! `s = −α` is the contrast of the paper (the basis should describe `Y` badly), `s = +λ` with some
//! rows of `H_Y` fixed at zero gives target-only factors. In both cases `H_X` and `H_Y` minimise
//! their own divergence.
//!
//! There is one algorithm. A [`loss`] turns a column of data and `W` into an updated column of `H`
//! and an additive record of what `W` needs ([`stats::WStats`]); [`backend`] decides who adds the
//! records, [`fit`] decides when to stop.
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod aligned;
pub mod backend;
pub mod error;
pub mod fit;
pub mod group;
pub mod loss;
pub mod matrix;
pub mod real;
pub mod simulate;
pub mod stats;
pub mod width;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use error::Error;
pub use fit::{Driver, FitParams, Model, Problem, Progress, Start};
pub use loss::LossKind;
pub use matrix::Matrix;

/// Result of a fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

//! NVIDIA GPUs, through the driver alone: it is looked for when it is asked for, and compiles the embedded PTX for the GPU that there is.
//!
//! Data are on the device in chunks of cells, once by cell for H steps and once by feature for the numerators of W; what has no room there comes through
//! two slots of pinned memory while the chunk before is in work. Coefficients stay on the device between passes. A W step is one kernel, in double, which
//! adds up what the pass has left in parts; the loadings alone come back, to be normalised and compared.
//!
//! No sum depends on the order in which blocks happen to run, so a GPU gives the same bits again.

mod chunk;
mod constants;
mod data;
mod dispersed;
mod driver;
mod kernels;
mod loadings;
mod pass;

pub(crate) use data::Data;
pub use driver::{DeviceInfo, Gpu, devices};
pub(crate) use pass::Cells;

use crate::{Error, Problem};

/// The most factors that kernels hold.
pub const MOST_FACTORS: usize = 128;

/// An error that says why a GPU can't be used.
pub(crate) fn refused(why: impl Into<String>) -> Error {
    Error::Device { why: why.into() }
}

/// What fits on a GPU can't have yet.
///
/// # Errors
/// The first of it that this problem or these parameters ask for.
pub fn check(problem: &Problem<'_>, params: &crate::FitParams) -> crate::Result<()> {
    let most = format!("it holds at most {MOST_FACTORS} factors, not {}", params.k);
    let asked = [
        (params.k > MOST_FACTORS, &most[..]),
        (
            problem.family().is_some(),
            "mixtures of losses run on the CPU only",
        ),
        (problem.lacks_entries(), "masked entries need the CPU"),
        (params.hold_out.is_some(), "held-out entries need the CPU"),
        (params.batches.is_some(), "mini-batches run on the CPU only"),
    ];
    match asked.into_iter().find(|(asked, _)| *asked) {
        Some((_, why)) => Err(refused(why)),
        None => Ok(()),
    }
}

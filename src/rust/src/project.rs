//! Projection of new cells behind an external pointer.

use crate::arguments::Arguments;
use crate::data::{borrow, r_matrix};
use crate::fit::{budget, progress};
use crate::{Result, refuse};
use bcnmf_core::Driver;
use bcnmf_core::backend::pool;
use bcnmf_core::fit::{Projection, ProjectionParams, Size};
use extendr_api::prelude::*;

struct Session {
    projection: Projection<'static, f64>,
    k: usize,
    _owners: Vec<Robj>,
}

/// Checks new cells and sets up their projection on `w`.
/// @noRd
#[extendr]
fn rs_project_new(newdata: Robj, w: Robj, arguments: List) -> Result<Robj> {
    let arguments = Arguments(arguments);
    let data = borrow(&newdata, "newdata")?;
    let w = w
        .as_real_slice()
        .ok_or_else(|| refuse("w must be a numeric matrix"))?;
    let (_, h_penalty) = arguments.penalties()?;
    let size = Size {
        features: data.matrix.rows(),
        cells: arguments.count("cells")?,
        k: arguments.count("k")?,
        total: arguments.number("total")?,
    };
    let params = ProjectionParams {
        loss: arguments.loss()?,
        mixture: data.losses,
        maxit: arguments.count("maxit")?,
        tol: arguments.number("tol")?,
        h_penalty,
        size,
        sizes: arguments.numbers("sizes")?,
        dropout: arguments.dropout()?,
        weights: data.features,
        size_factors: data.size_factors,
    };
    let pool = pool(arguments.count("threads")?.max(1)).map_err(refuse)?;
    let projection = Projection::new(data.matrix, w, params, pool).map_err(refuse)?;
    Ok(ExternalPtr::new(Session {
        projection,
        k: size.k,
        _owners: data.owners,
    })
    .into())
}

/// Works for about so many seconds.
/// @noRd
#[extendr]
fn rs_project_advance(mut session: ExternalPtr<Session>, seconds: f64) -> List {
    progress(session.projection.advance(budget(seconds)))
}

/// Factors x cells, such that `newdata ≈ w %*% result`.
/// @noRd
#[extendr]
fn rs_project_result(session: ExternalPtr<Session>) -> Result<Robj> {
    r_matrix(&session.projection.coefficients(), session.k)
}

extendr_module! {
    mod project;
    fn rs_project_new;
    fn rs_project_advance;
    fn rs_project_result;
}

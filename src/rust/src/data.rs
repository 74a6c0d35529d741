//! R's matrices as borrowed data of the core.

use crate::arguments::Arguments;
use crate::{Result, refuse};
use bcnmf_core::matrix::{Csc, Dense, Missing};
use bcnmf_core::{LossKind, Matrix};
use extendr_api::prelude::*;
use ndarray::{ArrayView2, ShapeBuilder};

/// A matrix of the core that reads R's memory, and the R objects that own that memory.
pub(crate) struct Borrowed {
    pub matrix: Matrix<'static>,
    pub owners: Vec<Robj>,
    /// How often features and cells count; empty where all count once.
    pub features: Vec<f64>,
    pub cells: Vec<f64>,
    /// Size factors of the cells; empty for 1.
    pub size_factors: Vec<f64>,
    /// The loss of each feature, where they differ; else empty.
    pub losses: Vec<LossKind>,
}

/// Borrows a double matrix or a dgCMatrix, or what an R object of class `bcnmf_data` has of either. `what` names it in messages.
pub(crate) fn borrow(x: &Robj, what: &'static str) -> Result<Borrowed> {
    if x.inherits("bcnmf_data") {
        return with_parts(x, what);
    }
    if x.inherits("dgCMatrix") {
        sparse(x, what)
    } else {
        dense(x, what)
    }
}

/// The matrix in the object, with what is known of its entries and items.
fn with_parts(x: &Robj, what: &'static str) -> Result<Borrowed> {
    let parts = Arguments(x.as_list().ok_or_else(|| refuse("not a list"))?);
    let missing = match parts.text("missing")?.as_str() {
        "nan" => Missing::Nan,
        "zeros" => Missing::Zeros,
        _ => Missing::None,
    };
    let numbers = |name: &str| match parts.get(name)? {
        none if none.is_null() => Ok(Vec::new()),
        _ => parts.numbers(name),
    };
    let borrowed = borrow(&parts.get("matrix")?, what)?;
    Ok(Borrowed {
        matrix: borrowed.matrix.with_missing(missing),
        features: numbers("features")?,
        cells: numbers("cells")?,
        size_factors: numbers("size_factors")?,
        losses: match parts.get("losses")? {
            none if none.is_null() => Vec::new(),
            names => names
                .as_str_iter()
                .ok_or_else(|| refuse("losses are not strings"))?
                .map(|name| LossKind::from_name(name).map_err(refuse))
                .collect::<Result<_>>()?,
        },
        ..borrowed
    })
}

/// As [`borrow`], with `NULL` for none.
pub(crate) fn borrow_optional(x: &Robj, what: &'static str) -> Result<Option<Borrowed>> {
    if x.is_null() {
        Ok(None)
    } else {
        borrow(x, what).map(Some)
    }
}

fn dense(x: &Robj, what: &'static str) -> Result<Borrowed> {
    let values = x
        .as_real_slice()
        .ok_or_else(|| refuse(format!("{what} must be a numeric matrix of type double")))?;
    let (rows, columns) = dimensions(x.get_attrib("dim"), what)?;
    let view = ArrayView2::from_shape((rows, columns).f(), outlive(values)).map_err(refuse)?;
    let matrix = Matrix::Dense(Dense::new(view).map_err(refuse)?);
    Ok(Borrowed {
        matrix,
        owners: vec![x.clone()],
        features: Vec::new(),
        cells: Vec::new(),
        size_factors: Vec::new(),
        losses: Vec::new(),
    })
}

fn sparse(x: &Robj, what: &'static str) -> Result<Borrowed> {
    let (csc, slots) = csc(x, what)?;
    Ok(Borrowed {
        matrix: Matrix::Csc(csc),
        owners: slots,
        features: Vec::new(),
        cells: Vec::new(),
        size_factors: Vec::new(),
        losses: Vec::new(),
    })
}

/// The slots of a dgCMatrix as the core reads them, and the R objects that own them.
pub(crate) fn csc(x: &Robj, what: &'static str) -> Result<(Csc<'static>, Vec<Robj>)> {
    let slot = |name: &str| {
        x.get_attrib(name)
            .ok_or_else(|| refuse(format!("{what} has no slot {name}")))
    };
    let (p, i, values) = (slot("p")?, slot("i")?, slot("x")?);
    let (rows, columns) = dimensions(x.get_attrib("Dim"), what)?;
    let integers = |slot: &Robj, name: &str| {
        slot.as_integer_slice()
            .map(outlive)
            .ok_or_else(|| refuse(format!("slot {name} of {what} must be integer")))
    };
    let values_slice = values
        .as_real_slice()
        .map(outlive)
        .ok_or_else(|| refuse(format!("slot x of {what} must be double")))?;
    let (p_slice, i_slice) = (integers(&p, "p")?, integers(&i, "i")?);
    let csc = Csc::new(rows, columns, p_slice, i_slice, values_slice, what).map_err(refuse)?;
    Ok((csc, vec![p, i, values]))
}

fn dimensions(attribute: Option<Robj>, what: &str) -> Result<(usize, usize)> {
    let size = |n: i32| usize::try_from(n).ok();
    attribute
        .as_ref()
        .and_then(|dim| dim.as_integer_slice())
        .and_then(|dim| match dim {
            [rows, columns] => Some((size(*rows)?, size(*columns)?)),
            _ => None,
        })
        .ok_or_else(|| refuse(format!("{what} must have two dimensions")))
}

/// Cuts the tie between a slice and the reference it was read through.
fn outlive<T>(slice: &[T]) -> &'static [T] {
    // SAFETY: the slice lies in an R vector, which never moves. `Borrowed::owners` keeps the vector
    // protected, and whoever takes the matrix out of `Borrowed` keeps the owners beside it; R copies
    // a vector that is bound to a name before it modifies it, and the callers in R keep it bound.
    unsafe { std::slice::from_raw_parts(slice.as_ptr(), slice.len()) }
}

/// Values column by column as an R matrix.
pub(crate) fn r_matrix(values: &[f64], rows: usize) -> Result<Robj> {
    let columns = values.len().checked_div(rows).unwrap_or(0);
    let mut matrix = Robj::from(values);
    matrix.set_attrib("dim", [rows as i32, columns as i32])?;
    Ok(matrix)
}

//! Features and cells of sparse matrices, gathered into one that R allocates once.

use crate::data::csc;
use crate::{Result, refuse};
use bcnmf_core::matrix::{Gather, Layer};
use extendr_api::prelude::*;

/// The slots of the dgCMatrix whose column j is cell `cell[j]` of `layers[[layer[j]]]` (both from 1); `rows` has
/// for each layer where its features go (from 1; NA or 0 to leave one out).
/// @noRd
#[extendr]
fn rs_gather(layers: List, rows: List, layer: &[i32], cell: &[i32]) -> Result<List> {
    // The R objects are bound in the caller, and `maps` keeps the integer vectors for the borrow.
    let maps: Vec<Robj> = rows.values().collect();
    let mut owners = Vec::new();
    let mut sources = Vec::new();
    for (matrix, map) in layers.values().zip(&maps) {
        let (csc, slots) = csc(&matrix, "the layer")?;
        owners.push(slots);
        let map = map
            .as_integer_slice()
            .ok_or_else(|| refuse("internal argument rows is not integer"))?;
        sources.push(Layer::new(csc, map).map_err(refuse)?);
    }
    let index = |i: i32| usize::try_from(i64::from(i) - 1).map_err(|_| refuse("a cell below 1"));
    let cells: Result<Vec<_>> = layer
        .iter()
        .zip(cell)
        .map(|(&l, &c)| Ok((index(l)?, index(c)?)))
        .collect();
    let gather = Gather::new(sources, cells?).map_err(refuse)?;
    let p = gather.pointers().map_err(refuse)?;
    let stored = p.last().map_or(0, |&n| n as usize);
    let mut i = Robj::from(Integers::new(stored));
    let mut x = Robj::from(Doubles::new(stored));
    match (i.as_integer_slice_mut(), x.as_real_slice_mut()) {
        (Some(i), Some(x)) => gather.fill(i, x).map_err(refuse)?,
        _ => return Err(refuse("R gave no vectors")),
    }
    Ok(list!(p = p, i = i, x = x))
}

extendr_module! {
    mod gather;
    fn rs_gather;
}

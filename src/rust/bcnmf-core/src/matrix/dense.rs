//! Dense column-major data, read in place.

use super::{Columns, Missing};
use crate::{Error, Result};
use ndarray::ArrayView2;

/// A dense matrix whose columns are contiguous, as R stores it.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a> {
    rows: usize,
    columns: usize,
    values: &'a [f64],
    missing: Missing,
}

impl<'a> Dense<'a> {
    /// Borrows a column-major view (features × cells).
    ///
    /// # Errors
    /// If the view's columns are not contiguous.
    pub fn new(view: ArrayView2<'a, f64>) -> Result<Self> {
        let (rows, columns) = view.dim();
        let values = view
            .reversed_axes()
            .to_slice()
            .ok_or_else(|| Error::Parameter {
                name: "view",
                value: "not column-major".into(),
                range: "a column-major array".into(),
            })?;
        Ok(Dense {
            rows,
            columns,
            values,
            missing: Missing::None,
        })
    }

    /// The same data, with these entries missing.
    pub fn with_missing(self, missing: Missing) -> Self {
        Dense { missing, ..self }
    }
}

impl Columns for Dense<'_> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn columns(&self) -> usize {
        self.columns
    }
    #[inline(always)]
    fn entries(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + Clone {
        self.values[j * self.rows..][..self.rows]
            .iter()
            .copied()
            .enumerate()
    }
    #[inline(always)]
    fn missing(&self) -> Missing {
        self.missing
    }
    fn stored_before(&self, j: usize) -> usize {
        j * self.rows
    }
}

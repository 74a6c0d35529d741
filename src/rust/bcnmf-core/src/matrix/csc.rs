//! Compressed sparse columns: the slots of a `dgCMatrix`, read in place.

use super::{Columns, Missing};
use crate::{Error, Result};
use sprs::CsMatViewI;

/// A sparse matrix by columns with 32-bit indices.
#[derive(Clone, Debug)]
pub struct Csc<'a> {
    view: CsMatViewI<'a, f64, i32, i32>,
    missing: Missing,
}

impl<'a> Csc<'a> {
    /// Borrows the slots `p`, `i` and `x` of a `dgCMatrix` (features × cells).
    ///
    /// # Errors
    /// If they contradict each other: lengths, `p` that decreases, `i` out of range or unsorted.
    pub fn new(
        rows: usize,
        columns: usize,
        p: &'a [i32],
        i: &'a [i32],
        x: &'a [f64],
        what: &'static str,
    ) -> Result<Self> {
        let corrupt = |why: String| Error::CorruptSparse { what, why };
        if p.len() != columns + 1 {
            let (n, need) = (p.len(), columns + 1);
            return Err(corrupt(format!("slot p has length {n}, not {need}")));
        }
        if i.len() != x.len() {
            let (n, m) = (i.len(), x.len());
            return Err(corrupt(format!("slot i has length {n}, slot x {m}")));
        }
        // Looked at before sprs does: it turns pointers into sizes first.
        if p[0] != 0 || p.windows(2).any(|w| w[1] < w[0]) {
            return Err(corrupt("slot p does not increase from 0".into()));
        }
        if p[columns] as usize != i.len() {
            let (end, n) = (p[columns], i.len());
            return Err(corrupt(format!(
                "slot p ends at {end}, but {n} values are stored"
            )));
        }
        if let Some(&index) = i.iter().find(|&&r| r < 0 || r as usize >= rows) {
            // R's NA
            let index = if index == i32::MIN {
                "NA".into()
            } else {
                index.to_string()
            };
            return Err(corrupt(format!(
                "slot i holds {index}, outside 0 to {}",
                rows as i64 - 1
            )));
        }
        let view = CsMatViewI::try_new_csc((rows, columns), p, i, x)
            .map_err(|(p, i, _, e)| corrupt(out_of_order(p, i).unwrap_or_else(|| e.to_string())))?;
        Ok(Csc {
            view,
            missing: Missing::None,
        })
    }

    /// The same data, with these entries missing.
    pub fn with_missing(self, missing: Missing) -> Self {
        Csc { missing, ..self }
    }

    #[inline(always)]
    fn slots(&self, j: usize) -> (&[i32], &[f64]) {
        let range = self.stored_before(j)..self.stored_before(j + 1);
        (
            &self.view.indices()[range.clone()],
            &self.view.data()[range],
        )
    }
}

/// Where the rows of a column are not increasing, and what to do about that.
fn out_of_order(p: &[i32], i: &[i32]) -> Option<String> {
    let rows = |j: usize| &i[p[j] as usize..p[j + 1] as usize];
    (0..p.len() - 1).find_map(|j| {
        let pair = rows(j).windows(2).find(|pair| pair[1] <= pair[0])?;
        let (column, row) = (j + 1, pair[1] + 1);
        let why = if pair[0] == pair[1] {
            format!("column {column} holds row {row} twice")
        } else {
            format!("column {column} holds row {row} after row {}", pair[0] + 1)
        };
        Some(format!(
            "{why}; Matrix::sparseMatrix(i = x@i, p = x@p, x = x@x, dims = dim(x), index1 = FALSE) makes a valid one of a matrix x, with the sum of what is stored twice"
        ))
    })
}

impl Columns for Csc<'_> {
    fn rows(&self) -> usize {
        self.view.rows()
    }
    fn columns(&self) -> usize {
        self.view.cols()
    }
    #[inline(always)]
    fn entries(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + Clone {
        let (index, value) = self.slots(j);
        index.iter().zip(value).map(|(&i, &x)| (i as usize, x))
    }
    #[inline(always)]
    fn missing(&self) -> Missing {
        self.missing
    }
    #[inline(always)]
    fn stored(&self, j: usize) -> Option<(&[i32], &[f64])> {
        Some(self.slots(j))
    }
    #[inline(always)]
    fn stored_before(&self, j: usize) -> usize {
        self.view.indptr().raw_storage()[j] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_slots_are_named() {
        let x = [1.0, 2.0];
        let bad = |p: &[i32], i: &[i32], word: &str| {
            let error = Csc::new(3, 2, p, i, &x, "target")
                .expect_err(word)
                .to_string();
            assert!(error.contains(word), "{error}");
        };
        bad(&[0, 1], &[0, 1], "length 2, not 3");
        bad(&[0, 1, 2], &[0], "slot i has length 1");
        bad(&[0, 2, 1], &[0, 1], "does not increase");
        bad(&[1, 1, 2], &[0, 1], "does not increase");
        bad(&[0, 1, 3], &[0, 1], "ends at 3");
        bad(&[0, 1, 2], &[0, 3], "holds 3");
        bad(&[0, 1, 2], &[-1, 1], "holds -1");
        bad(&[0, 1, 2], &[0, i32::MIN], "holds NA");
        bad(&[0, 2, 2], &[1, 0], "column 1 holds row 1 after row 2;");
        bad(&[0, 0, 2], &[2, 2], "column 2 holds row 3 twice;");
        assert!(Csc::new(3, 2, &[0, 1, 2], &[0, 2], &x, "target").is_ok());
    }
}

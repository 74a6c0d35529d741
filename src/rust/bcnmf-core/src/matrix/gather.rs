//! Some features of some cells of sparse matrices, gathered into one.
//!
//! The variable features of a target and of a background are a small part of the matrices that an
//! object holds, which may also be split into layers. Nothing but the result is allocated: the
//! caller first asks for its column pointers, then for its entries.

use super::{Columns, Csc};
use crate::{Error, Result};

/// A matrix to gather from: features × cells, and where its features go.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    matrix: Csc<'a>,
    rows: &'a [i32],
}

impl<'a> Layer<'a> {
    /// `rows` has the row of the result, from 1, for each feature of `matrix`; values below 1 mean
    /// that the feature is left out.
    ///
    /// # Errors
    /// If the lengths differ, or two features go to one row.
    pub fn new(matrix: Csc<'a>, rows: &'a [i32]) -> Result<Self> {
        let error = |value: String, range: String| Error::Parameter {
            name: "rows",
            value,
            range,
        };
        if rows.len() != matrix.rows() {
            return Err(error(
                format!("of length {}", rows.len()),
                format!("of length {}", matrix.rows()),
            ));
        }
        let mut taken: Vec<i32> = rows.iter().copied().filter(|&row| row >= 1).collect();
        taken.sort_unstable();
        if let Some(twice) = taken.windows(2).find(|w| w[0] == w[1]) {
            return Err(error(
                format!("{} for two features", twice[0]),
                "different for each".into(),
            ));
        }
        Ok(Layer { matrix, rows })
    }

    fn entries(&self, cell: usize) -> impl Iterator<Item = (i32, f64)> {
        let rows = self.rows;
        self.matrix
            .column(cell)
            .map(move |(feature, value)| (rows[feature], value))
            .filter(|&(row, _)| row >= 1)
            .map(|(row, value)| (row - 1, value))
    }
}

/// Columns of the result: for each its layer and its cell in that layer.
#[derive(Clone, Debug)]
pub struct Gather<'a> {
    layers: Vec<Layer<'a>>,
    cells: Vec<(usize, usize)>,
}

impl<'a> Gather<'a> {
    /// Takes the `(layer, cell)` of each column, both from 0.
    ///
    /// # Errors
    /// If there is no such layer or cell.
    pub fn new(layers: Vec<Layer<'a>>, cells: Vec<(usize, usize)>) -> Result<Self> {
        for &(layer, cell) in &cells {
            let columns = layers.get(layer).map_or(0, |l| l.matrix.columns());
            if cell >= columns {
                return Err(Error::Parameter {
                    name: "cell",
                    value: format!("{} of layer {}", cell + 1, layer + 1),
                    range: format!("at most {columns}"),
                });
            }
        }
        Ok(Gather { layers, cells })
    }

    /// The column pointers of the result, one more than it has columns.
    ///
    /// # Errors
    /// If the result has more entries than 32-bit pointers can count.
    pub fn pointers(&self) -> Result<Vec<i32>> {
        let mut pointers = Vec::with_capacity(self.cells.len() + 1);
        let mut total = 0usize;
        pointers.push(0);
        for &(layer, cell) in &self.cells {
            total += self.layers[layer].entries(cell).count();
            pointers.push(i32::try_from(total).map_err(|_| Error::TooManyValues)?);
        }
        Ok(pointers)
    }

    /// Writes the entries: rows from 0, increasing within each column, and values.
    ///
    /// # Errors
    /// If the two have other lengths than the last of [`Gather::pointers`].
    pub fn fill(&self, rows: &mut [i32], values: &mut [f64]) -> Result<()> {
        let mut place = rows.iter_mut().zip(values.iter_mut());
        let mut column: Vec<(i32, f64)> = Vec::new();
        for &(layer, cell) in &self.cells {
            column.clear();
            column.extend(self.layers[layer].entries(cell));
            if !column.is_sorted_by_key(|&(row, _)| row) {
                column.sort_unstable_by_key(|&(row, _)| row);
            }
            for &(row, value) in &column {
                let (r, v) = place.next().ok_or_else(wrong_length)?;
                (*r, *v) = (row, value);
            }
        }
        match place.next() {
            None => Ok(()),
            Some(_) => Err(wrong_length()),
        }
    }
}

fn wrong_length() -> Error {
    Error::Parameter {
        name: "length of the result",
        value: "another".into(),
        range: "as the pointers say".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 3 x 2: columns (1, 0, 2) and (0, 3, 4)
    const P: [i32; 3] = [0, 2, 4];
    const I: [i32; 4] = [0, 2, 1, 2];
    const X: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

    fn matrix() -> Csc<'static> {
        Csc::new(3, 2, &P, &I, &X, "layer").expect("valid")
    }

    fn gathered(rows: &[i32], cells: &[(usize, usize)]) -> (Vec<i32>, Vec<i32>, Vec<f64>) {
        let layer = Layer::new(matrix(), rows).expect("valid");
        let gather = Gather::new(vec![layer.clone(), layer], cells.to_vec()).expect("valid");
        let p = gather.pointers().expect("small");
        let n = *p.last().expect("never empty") as usize;
        let (mut i, mut x) = (vec![-1; n], vec![f64::NAN; n]);
        gather.fill(&mut i, &mut x).expect("right length");
        for wrong in [n + 1, n.wrapping_sub(1)] {
            if wrong < usize::MAX {
                let short = gather.fill(&mut vec![0; wrong], &mut vec![0.0; wrong]);
                assert!(short.is_err());
            }
        }
        (p, i, x)
    }

    #[test]
    fn everything_in_order_is_the_matrix_itself() {
        let all = gathered(&[1, 2, 3], &[(0, 0), (1, 1)]);
        assert_eq!(all, (P.to_vec(), I.to_vec(), X.to_vec()));
    }

    #[test]
    fn rows_are_permuted_and_left_out_and_cells_repeated() {
        // the third feature first, the first second, none of the second
        let (p, i, x) = gathered(&[2, i32::MIN, 1], &[(0, 1), (1, 0), (0, 0)]);
        assert_eq!(p, [0, 1, 3, 5]);
        assert_eq!(i, [0, 0, 1, 0, 1]);
        assert_eq!(x, [4.0, 2.0, 1.0, 2.0, 1.0]);
        assert_eq!(gathered(&[0, 0, 0], &[(0, 0)]).0, [0, 0]);
        assert_eq!(gathered(&[1, 2, 3], &[]).0, [0]);
    }

    #[test]
    fn contradictions_are_errors() {
        let said = |result: Result<Layer<'_>>, words: &str| {
            let error = result.expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        };
        said(Layer::new(matrix(), &[1, 2]), "of length 2");
        said(Layer::new(matrix(), &[1, 2, 1]), "1 for two features");
        let layer = || Layer::new(matrix(), &[1, 2, 3]).expect("valid");
        assert!(Gather::new(vec![layer()], vec![(1, 0)]).is_err());
        assert!(Gather::new(vec![layer()], vec![(0, 2)]).is_err());
    }
}

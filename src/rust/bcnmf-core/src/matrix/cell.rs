//! One cell's data, gathered in working precision: what a loss reads, again and again while it is in
//! cache.

use super::{Matrix, with_columns};
use crate::real::Real;
use pulp::bytemuck::cast_slice;

/// One cell as a loss sees it.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'c, T> {
    /// Features of the non-zero entries that count, increasing.
    pub index: &'c [u32],
    /// Their values.
    pub value: &'c [T],
    /// Features that do not count in this cell, increasing.
    pub masked: &'c [u32],
    /// Their values, zeros included.
    pub held: &'c [T],
    /// Rate that is there without any factor, as a multiple of [`crate::loss::Basis::ambient`].
    pub ambient: T,
    /// What its features would add to the denominator of an H step if all were zeros: see [`crate::loss::Loss::zeros`].
    pub zeros: &'c [T],
}

impl<'c, T: Real> Cell<'c, T> {
    /// The non-zero entries that count, by increasing feature.
    #[inline(always)]
    pub fn entries(self) -> impl Iterator<Item = (usize, T)> + Clone + use<'c, T> {
        let index = self.index.iter().map(|&i| i as usize);
        index.zip(self.value.iter().copied())
    }

    /// The entries that do not count, zeros included.
    #[inline(always)]
    pub fn held_out(self) -> impl Iterator<Item = (usize, T)> + Clone + use<'c, T> {
        let index = self.masked.iter().map(|&i| i as usize);
        index.zip(self.held.iter().copied())
    }
}

/// Room for one cell, used again for the next.
#[derive(Clone, Debug, Default)]
pub struct CellBuffer<T> {
    index: Vec<u32>,
    value: Vec<T>,
    masked: Vec<u32>,
    held: Vec<T>,
}

impl<T: Real> CellBuffer<T> {
    /// Gathers cell `j`; values are multiplied by `scale`.
    #[inline(always)]
    pub fn gather<'c>(
        &'c mut self,
        matrix: &'c Matrix<'_>,
        j: usize,
        scale: f64,
        masked: Option<impl Iterator<Item = u32>>,
        ambient: T,
    ) -> Cell<'c, T> {
        self.index.clear();
        self.value.clear();
        self.masked.clear();
        self.held.clear();
        if let Some(masked) = masked {
            self.masked.extend(masked);
            self.held.resize(self.masked.len(), T::zero());
        }
        let mut index = None;
        with_columns!(matrix, block => {
            match super::Columns::stored(block, j) {
                Some((rows, values)) if self.masked.is_empty() && self.convert(values, scale) => {
                    index = Some(cast_slice(rows));
                }
                _ => self.fill(super::Columns::column(block, j), scale),
            }
        });
        Cell {
            index: index.unwrap_or(&self.index),
            value: &self.value,
            masked: &self.masked,
            held: &self.held,
            ambient,
            zeros: &[],
        }
    }

    /// All values of a cell that has no zeros among them; false if it has.
    #[inline(always)]
    fn convert(&mut self, values: &[f64], scale: f64) -> bool {
        self.value.resize(values.len(), T::zero());
        let mut zeros = 0;
        for (out, &x) in self.value.iter_mut().zip(values) {
            zeros += u64::from(x == 0.0);
            *out = T::of(x * scale);
        }
        zeros == 0
    }

    #[inline(always)]
    fn fill(&mut self, column: impl Iterator<Item = (usize, f64)>, scale: f64) {
        self.value.clear();
        if self.masked.is_empty() {
            for (i, x) in column {
                self.index.push(i as u32);
                self.value.push(T::of(x * scale));
            }
            return;
        }
        let mut at = 0;
        for (i, x) in column {
            let i = i as u32;
            while self.masked.get(at).is_some_and(|&masked| masked < i) {
                at += 1;
            }
            if self.masked.get(at) == Some(&i) {
                self.held[at] = T::of(x * scale);
            } else {
                self.index.push(i);
                self.value.push(T::of(x * scale));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Dense, HoldOut};
    use ndarray::{Array2, ShapeBuilder};

    #[test]
    fn every_entry_counts_or_is_held_out() {
        let x = Array2::from_shape_fn((50, 3).f(), |(i, j)| ((i * 7 + j) % 4) as f64);
        let matrix = Matrix::Dense(Dense::new(x.view()).expect("column-major"));
        let hold_out = HoldOut { seed: 3, part: 0.3 };
        let mut buffer = CellBuffer::<f64>::default();
        for j in 0..3 {
            let mut seen = vec![0.0; 50];
            let masked = hold_out.features(50, false, j);
            let cell = buffer.gather(&matrix, j, 0.5, Some(masked), 0.0);
            assert!(!cell.masked.is_empty() && cell.value.iter().all(|x| *x > 0.0));
            for (i, value) in cell.entries().chain(cell.held_out()) {
                assert_eq!(seen[i], 0.0);
                seen[i] = value;
            }
            assert!(seen.iter().zip(x.column(j)).all(|(a, b)| *a == 0.5 * b));
            let all = buffer.gather(&matrix, j, 0.5, None::<std::iter::Empty<u32>>, 0.0);
            assert!(all.masked.is_empty() && all.held.is_empty());
            assert_eq!(
                all.entries().count(),
                seen.iter().filter(|x| **x > 0.0).count()
            );
        }
    }
}

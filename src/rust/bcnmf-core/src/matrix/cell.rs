//! One cell's data, gathered in working precision: what a loss reads, again and again while it is in
//! cache.

use super::{Matrix, Missing, with_columns};
use crate::group::Each;
use crate::loss::Squares;
use crate::real::Real;
use pulp::bytemuck::cast_slice;
use std::ops::Range;

/// One cell as a loss sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell<'c, T> {
    /// Features of the non-zero entries that count, increasing.
    pub index: &'c [u32],
    /// Their values.
    pub value: &'c [T],
    /// Features that do not count in this cell, missing or held out, increasing. Not listed where only those with a value count.
    pub masked: &'c [u32],
    /// Whether only features in `index` count: zeros are missing.
    pub only_values: bool,
    /// Those among them that are known and held out …
    pub held_at: &'c [u32],
    /// … and their values, zeros included.
    pub held: &'c [T],
    /// How often the cell counts.
    pub weight: T,
    /// Rate that is there without any factor, as a multiple of [`crate::loss::Basis::ambient`].
    pub ambient: T,
    /// Logarithm of the odds that a count of it is lost, where cells have odds: see [`crate::loss::zinb`].
    pub log_odds: Option<T>,
    /// What its features would add to the denominator of an H step if all were zeros, for losses that look at zeros.
    pub zeros: &'c [T],
    /// What its features with squared errors have for an H step, in a mixture of losses.
    pub squares: Option<Squares<'c, T>>,
}

impl<'c, T: Real> Cell<'c, T> {
    /// The non-zero entries that count, by increasing feature.
    #[inline(always)]
    pub fn entries(self) -> impl Iterator<Item = (usize, T)> + Clone + use<'c, T> {
        let index = self.index.iter().map(|&i| i as usize);
        index.zip(self.value.iter().copied())
    }

    /// The entries that are held out, zeros included.
    #[inline(always)]
    pub fn held_out(self) -> impl Iterator<Item = (usize, T)> + Clone + use<'c, T> {
        let index = self.held_at.iter().map(|&i| i as usize);
        index.zip(self.held.iter().copied())
    }

    /// Multiplies what a group of entries have by the weight of the cell.
    #[inline(always)]
    pub(crate) fn weigh(self, values: &mut Each<T>) {
        for value in values {
            *value *= self.weight;
        }
    }

    /// Whether all features count.
    #[inline(always)]
    pub fn is_whole(self) -> bool {
        self.masked.is_empty() && !self.only_values
    }

    /// Whether fewer of so many features count than do not, or only those that count are known.
    #[inline(always)]
    pub fn is_mostly_masked(self, features: usize) -> bool {
        self.only_values || 2 * self.masked.len() > features
    }

    /// The features, of so many, that count where the cell is mostly masked, else those that do not.
    #[inline(always)]
    pub fn shorter(self, features: usize) -> impl Iterator<Item = usize> + use<'c, T> {
        let mostly = self.is_mostly_masked(features);
        let counted = self.counted(if mostly { features } else { 0 });
        let masked = if mostly { &[][..] } else { self.masked };
        masked.iter().map(|&i| i as usize).chain(counted)
    }

    /// The features, of so many, that count.
    #[inline(always)]
    pub fn counted(self, features: usize) -> impl Iterator<Item = usize> + use<'c, T> {
        let (listed, looked_for) = if self.only_values {
            (self.index, 0)
        } else {
            (&[][..], features)
        };
        let mut masked = self.masked.iter().peekable();
        let others =
            (0..looked_for).filter(move |&i| masked.next_if(|&&at| at as usize == i).is_none());
        listed.iter().map(|&i| i as usize).chain(others)
    }
}

/// Room for one cell, used again for the next.
#[derive(Clone, Debug, Default)]
pub struct CellBuffer<T> {
    index: Vec<u32>,
    value: Vec<T>,
    masked: Vec<u32>,
    held_at: Vec<u32>,
    held: Vec<T>,
}

impl<T: Real> CellBuffer<T> {
    /// Gathers cell `j`; values are multiplied by `scale`. `held_out`: features, increasing, that do not count although they may be
    /// known.
    #[inline(always)]
    pub fn gather<'c>(
        &'c mut self,
        matrix: &'c Matrix<'_>,
        j: usize,
        scale: f64,
        held_out: Option<impl Iterator<Item = u32>>,
    ) -> Cell<'c, T> {
        self.begin(matrix, j);
        if let Some(held_out) = held_out {
            self.hold_out(held_out);
        }
        self.held.clear();
        self.held.resize(self.held_at.len(), T::zero());
        let mut index = None;
        with_columns!(matrix, block => {
            match super::Columns::stored(block, j) {
                Some((rows, values)) if self.masked.is_empty() && self.convert(values, scale) => {
                    index = Some(cast_slice(rows));
                }
                _ => self.fill(super::Columns::column(block, j), scale),
            }
        });
        self.finish(matrix, index)
    }

    /// Room for another cell, of which the missing entries are listed.
    #[inline(always)]
    fn begin(&mut self, matrix: &Matrix<'_>, j: usize) {
        self.index.clear();
        self.value.clear();
        self.masked.clear();
        self.held_at.clear();
        if matrix.missing() == Missing::Nan {
            self.list_missing(matrix, j);
        }
    }

    /// What was gathered; `index` where it is the matrix's own.
    #[inline(always)]
    fn finish<'c>(&'c mut self, matrix: &Matrix<'_>, index: Option<&'c [u32]>) -> Cell<'c, T> {
        let only_values = matrix.missing() == Missing::Zeros;
        if only_values {
            self.masked.clear();
            self.forget_zeros();
        }
        Cell {
            index: index.unwrap_or(&self.index),
            value: &self.value,
            masked: &self.masked,
            only_values,
            held_at: &self.held_at,
            held: &self.held,
            weight: T::one(),
            ambient: T::zero(),
            log_odds: None,
            zeros: &[],
            squares: None,
        }
    }

    // What follows is not for every cell, and would be in every kernel.

    /// As [`CellBuffer::gather`], of these features alone, which are counted from the first of them.
    #[inline(never)]
    pub fn gather_part<'c>(
        &'c mut self,
        matrix: &Matrix<'_>,
        j: usize,
        scale: f64,
        held_out: Option<impl Iterator<Item = u32>>,
        features: Range<usize>,
    ) -> Cell<'c, T> {
        let part = features.start as u32..features.end as u32;
        self.begin(matrix, j);
        self.masked.retain(|i| part.contains(i));
        if let Some(held_out) = held_out {
            self.hold_out(held_out.filter(|i| part.contains(i)));
        }
        for i in self.masked.iter_mut().chain(&mut self.held_at) {
            *i -= part.start;
        }
        self.held.clear();
        self.held.resize(self.held_at.len(), T::zero());
        with_columns!(matrix, block => match super::Columns::stored(block, j) {
            Some((rows, values)) => {
                let [from, to] = [features.start, features.end]
                    .map(|end| rows.partition_point(|&i| (i as usize) < end));
                let stored = rows[from..to].iter().zip(&values[from..to]);
                let column = stored.map(|(&i, &x)| (i as usize - features.start, x));
                // Zeros may be stored, and NaN where entries are missing.
                self.fill(column.filter(|&(_, x)| x > 0.0), scale);
            }
            None => {
                let column = super::Columns::column(block, j);
                let part = column.filter(|(i, _)| features.contains(i));
                self.fill(part.map(|(i, x)| (i - features.start, x)), scale);
            }
        });
        self.finish(matrix, None)
    }

    #[inline(never)]
    fn list_missing(&mut self, matrix: &Matrix<'_>, j: usize) {
        with_columns!(matrix, block => super::Columns::absent(block, j, &mut self.masked));
    }

    /// Masks these features too; those that are missing are not held out.
    #[inline(never)]
    fn hold_out(&mut self, features: impl Iterator<Item = u32>) {
        if self.masked.is_empty() {
            self.held_at.extend(features);
        } else {
            let mut missing = self.masked.iter().copied().peekable();
            self.held_at.extend(features.filter(|&i| {
                while missing.next_if(|&at| at < i).is_some() {}
                missing.peek() != Some(&i)
            }));
        }
        self.masked.extend_from_slice(&self.held_at);
        self.masked.sort_unstable();
    }

    /// Takes zeros, which are missing, out of what is held out.
    #[inline(never)]
    fn forget_zeros(&mut self) {
        let mut known = self.held.iter().map(|&held| held > T::zero());
        self.held_at.retain(|_| known.next() == Some(true));
        self.held.retain(|&held| held > T::zero());
    }

    /// All values of a cell that has no zeros and nothing missing among them; false if it has.
    #[inline(always)]
    fn convert(&mut self, values: &[f64], scale: f64) -> bool {
        self.value.resize(values.len(), T::zero());
        let mut positive = 0;
        for (out, &x) in self.value.iter_mut().zip(values) {
            positive += usize::from(x > 0.0);
            *out = T::of(x * scale);
        }
        positive == values.len()
    }

    #[inline(always)]
    fn fill(&mut self, column: impl Iterator<Item = (usize, f64)>, scale: f64) {
        self.value.clear();
        let mut at = 0;
        for (i, x) in column {
            let i = i as u32;
            while self.held_at.get(at).is_some_and(|&held| held < i) {
                at += 1;
            }
            if self.held_at.get(at) == Some(&i) {
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
            let cell = buffer.gather(&matrix, j, 0.5, Some(masked));
            assert!(!cell.masked.is_empty() && cell.value.iter().all(|x| *x > 0.0));
            for (i, value) in cell.entries().chain(cell.held_out()) {
                assert_eq!(seen[i], 0.0);
                seen[i] = value;
            }
            assert!(seen.iter().zip(x.column(j)).all(|(a, b)| *a == 0.5 * b));
            let all = buffer.gather(&matrix, j, 0.5, None::<std::iter::Empty<u32>>);
            assert!(all.masked.is_empty() && all.held.is_empty());
            assert_eq!(
                all.entries().count(),
                seen.iter().filter(|x| **x > 0.0).count()
            );
        }
    }
    #[test]
    fn missing_entries_are_masked_and_not_held() {
        let value = |i: usize, j: usize| match (i * 7 + j) % 4 {
            3 => f64::NAN,
            other => other as f64,
        };
        let x = Array2::from_shape_fn((50, 3).f(), |(i, j)| value(i, j));
        let hold_out = HoldOut { seed: 3, part: 0.3 };
        let mut buffer = CellBuffer::<f64>::default();
        for (missing, known) in [(Missing::Nan, 0.0), (Missing::Zeros, 1.0)] {
            let dense = Dense::new(x.view()).expect("column-major");
            let matrix = Matrix::Dense(dense.with_missing(missing));
            for j in 0..3 {
                let held_out: Vec<u32> = hold_out.features(50, false, j).collect();
                let cell = buffer.gather(&matrix, j, 1.0, Some(held_out.iter().copied()));
                let is_known = |i: usize| x[(i, j)] >= known;
                let masked = (0..50).filter(|&i| !is_known(i) || held_out.contains(&(i as u32)));
                let counted: Vec<usize> = cell.counted(50).collect();
                assert!(masked.eq((0..50).filter(|i| !counted.contains(i))));
                let held = held_out.iter().filter(|&&i| is_known(i as usize));
                assert!(held.eq(cell.held_at) && !cell.held_at.is_empty());
                assert!((cell.held_out()).all(|(i, held)| held == x[(i, j)]));
                assert!(cell.entries().all(|(i, value)| value == x[(i, j)]));
                let zeros = (cell.counted(50)).filter(|&i| x[(i, j)] == 0.0).count();
                assert_eq!(cell.entries().count() + zeros, counted.len());
                assert!(!cell.is_whole());
                assert_eq!(zeros > 0, missing == Missing::Nan);
            }
        }
    }
}

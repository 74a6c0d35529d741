//! Room for rows that are read a vector register at a time.
//!
//! Allocators give large rooms an address 16 bytes behind a page's beginning. From there, every other register of 32 bytes would lie in
//! two cache lines, and rows in one line more than they fill.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Numbers that begin at a cache line.
pub struct Aligned<T> {
    /// With entries to spare, as many as a line has.
    store: Vec<T>,
    from: usize,
    len: usize,
}

impl<T> Aligned<T> {
    const SPARE: usize = LINE / size_of::<T>();

    /// Entries of a store before the first at a line's beginning. Any place does where there is no such.
    fn before(store: &[T]) -> usize {
        store.as_ptr().align_offset(LINE).min(Self::SPARE)
    }
}

impl<T: Clone + Default> Aligned<T> {
    /// So many zeros.
    pub fn zeros(len: usize) -> Self {
        let store = vec![T::default(); len + Self::SPARE];
        let from = Self::before(&store);
        Aligned { store, from, len }
    }
}

impl<T: Clone> From<&[T]> for Aligned<T> {
    fn from(values: &[T]) -> Self {
        let Some(any) = values.first() else {
            return Self::default();
        };
        let len = values.len();
        let mut store = Vec::with_capacity(len + Self::SPARE);
        let from = Self::before(&store);
        store.resize(from, any.clone());
        store.extend_from_slice(values);
        Aligned { store, from, len }
    }
}

impl<T: Clone> FromIterator<T> for Aligned<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::from(&values.into_iter().collect::<Vec<T>>()[..])
    }
}

impl<T: Clone> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        Self::from(&self[..])
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned {
            store: Vec::new(),
            from: 0,
            len: 0,
        }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.store[self.from..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.store[self.from..][..self.len]
    }
}

impl<T: fmt::Debug> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins_at_a_line<T>(values: &[T]) -> bool {
        values.is_empty() || (values.as_ptr() as usize).is_multiple_of(LINE)
    }

    #[test]
    fn rooms_and_their_copies_begin_at_a_line() {
        for len in [0, 1, 15, 16, 1000, 100_000] {
            let mut single = Aligned::<f32>::zeros(len);
            let double = Aligned::<f64>::zeros(len);
            single
                .iter_mut()
                .enumerate()
                .for_each(|(i, v)| *v = (i % 7) as f32);
            let copy = single.clone();
            assert!(
                begins_at_a_line(&single) && begins_at_a_line(&double) && begins_at_a_line(&copy)
            );
            assert_eq!((single.len(), double.len()), (len, len));
            assert_eq!(&single[..], &copy[..]);
        }
        assert!(Aligned::<f32>::default().is_empty());
    }
}

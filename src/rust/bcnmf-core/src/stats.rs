//! The additive record of what one `W` step needs from a set of cells.

use crate::real::Real;

/// Numerator and denominator sums over some cells. Records of the same kind add up, entry by entry.
#[derive(Clone, Debug)]
pub struct WStats<T> {
    /// Features × factors, row by row: `X Hᵀ` (mse) or `(X/Λ) Hᵀ` (poisson).
    pub numerator: Vec<T>,
    /// `H Hᵀ` (mse, factors × factors) or `H 1` (poisson, factors).
    pub denominator: Vec<f64>,
    /// Features × factors, row by row: what entries that do not count would add to each feature's
    /// denominator. Empty when all count.
    pub masked: Vec<T>,
}

impl<T: Real> WStats<T> {
    /// A record of no cells.
    pub fn new(numerator: usize, denominator: usize, masked: bool) -> Self {
        WStats {
            numerator: vec![T::zero(); numerator],
            denominator: vec![0.0; denominator],
            masked: vec![T::zero(); if masked { numerator } else { 0 }],
        }
    }

    /// Forgets all cells.
    pub fn clear(&mut self) {
        self.numerator.fill(T::zero());
        self.denominator.fill(0.0);
        self.masked.fill(T::zero());
    }
}

//! The additive record of what one `W` step needs from a set of cells.

use crate::loss::Loss;
use crate::real::Real;
use rayon::prelude::*;

/// Numbers of one parallel task.
const CHUNK: usize = 4096;

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

    /// `keep` times this record and `take` times the sum of others, added in order. Where all entries count.
    pub fn blend(&mut self, keep: f64, others: &[&Self], take: f64) {
        let (kept, taken) = (T::of(keep), T::of(take));
        self.numerator
            .par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, numerator)| {
                numerator.iter_mut().for_each(|sum| *sum *= kept);
                for other in others {
                    let other = &other.numerator[chunk * CHUNK..][..numerator.len()];
                    numerator
                        .iter_mut()
                        .zip(other)
                        .for_each(|(sum, &part)| *sum += taken * part);
                }
            });
        self.denominator.iter_mut().for_each(|sum| *sum *= keep);
        for other in others {
            let parts = self.denominator.iter_mut().zip(&other.denominator);
            parts.for_each(|(sum, part)| *sum += take * part);
        }
    }

    /// Mixes the numerator, of which the part `fresh` is kept, with one that would leave these loadings as they are. What few cells do not have is
    /// not lost for all of them then: loadings that are zero stay zero.
    pub fn temper(&mut self, loss: impl Loss, w: &[T], factors: usize, fresh: f64) {
        let (mut row, mut neutral) = (vec![0.0; factors], vec![0.0; factors]);
        let rows = self.numerator.chunks_exact_mut(factors);
        for (numerator, w) in rows.zip(w.chunks_exact(factors)) {
            row.iter_mut().zip(w).for_each(|(wide, w)| *wide = w.wide());
            loss.denominator(&self.denominator, &row, &mut neutral);
            for (p, q) in numerator.iter_mut().zip(&neutral) {
                *p = T::of(fresh * p.wide() + (1.0 - fresh) * q);
            }
        }
    }

    /// When loadings move, numerators that were made with the old ones are divided by what these were multiplied with, so that
    /// their products with the loadings stay.
    pub fn follow(&mut self, old: &[T], new: &[T]) {
        let moved = old.par_chunks(CHUNK).zip(new.par_chunks(CHUNK));
        self.numerator
            .par_chunks_mut(CHUNK)
            .zip(moved)
            .for_each(|(numerator, (old, new))| {
                for ((p, &old), &new) in numerator.iter_mut().zip(old).zip(new) {
                    // Loadings that are zero stay so, whatever pulls.
                    *p = if new > T::zero() {
                        *p * (old / new)
                    } else {
                        T::zero()
                    };
                }
            });
    }

    /// The record of the same cells when their coefficients are multiplied by a number for each factor.
    pub fn rescale_h(&mut self, scale: &[f64]) {
        let factors = scale.len();
        for row in self.numerator.chunks_exact_mut(factors) {
            row.iter_mut()
                .zip(scale)
                .for_each(|(p, &scale)| *p = T::of(p.wide() * scale));
        }
        let squares = self.denominator.len() == factors * factors && factors > 1;
        for (at, sum) in self.denominator.iter_mut().enumerate() {
            let other = if squares { scale[at / factors] } else { 1.0 };
            *sum *= scale[at % factors] * other;
        }
    }

    /// Forgets all cells.
    pub fn clear(&mut self) {
        self.numerator.fill(T::zero());
        self.denominator.fill(0.0);
        self.masked.fill(T::zero());
    }
}

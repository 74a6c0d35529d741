//! The additive record of what one `W` step needs from a set of cells.

use crate::aligned::Aligned;
use crate::loss::mse::Mse;
use crate::loss::{Loss, LossKind, is_dispersed, with_loss};
use crate::real::Real;
use rayon::prelude::*;

/// Numbers of one parallel task.
const CHUNK: usize = 4096;

/// Numerator and denominator sums over some cells. Records of the same kind add up, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct WStats<T> {
    /// Features × factors, row by row: `X Hᵀ` (mse) or `(X/Λ) Hᵀ` (poisson).
    pub numerator: Aligned<T>,
    /// `H Hᵀ` (mse, factors × factors) or `H 1` (poisson, factors).
    pub denominator: Vec<f64>,
    /// Features × factors, row by row: where features' denominators differ. Of entries that do not count, what they would add, to be taken
    /// off; of features with a size (nb), the whole denominator. Empty when no feature has anything of its own.
    pub own: Aligned<T>,
    /// As `denominator`, of cells of which most entries do not count: to be taken off too, but for those that do, which `own` has
    /// with a negative sign.
    pub masked: Vec<f64>,
    /// Of each feature, first and second derivative of the log-likelihood by the logarithm of its size. Empty when they are not wanted.
    pub sizes: Vec<[f64; 2]>,
    /// Of each feature, where features have odds of dropout (zinb): how many of its entries are lost, the sum of `u (1 − u)` over zeros, that of the second derivatives of the
    /// log-likelihood by the logarithms of size and odds, and how many entries it has. With `sizes`, or empty.
    pub dropout: Vec<[f64; 4]>,
    /// Of the features with squared errors, in a mixture of losses: all else is of the others then.
    pub squares: Option<Box<WStats<T>>>,
}

impl<T: Real> WStats<T> {
    /// A record of no cells, of so many features with this loss, and so many with squared errors besides; `masked` says whether there will be entries
    /// that do not count.
    pub fn new(loss: LossKind, [rows, squares]: [usize; 2], factors: usize, masked: bool) -> Self {
        let denominator = with_loss!(loss, loss => loss.denominator_len(factors));
        let sizes = if loss.has_sizes() { rows } else { 0 };
        let own = if masked || sizes > 0 { rows } else { 0 };
        WStats {
            numerator: Aligned::zeros(rows * factors),
            denominator: vec![0.0; denominator],
            masked: vec![0.0; if masked { denominator } else { 0 }],
            own: Aligned::zeros(own * factors),
            sizes: vec![[0.0; 2]; sizes],
            dropout: vec![[0.0; 4]; if loss == LossKind::Zinb { rows } else { 0 }],
            squares: (squares > 0)
                .then(|| Box::new(WStats::new(LossKind::Mse, [squares, 0], factors, masked))),
        }
    }

    /// `keep` times this record and `take` times the sum of others, added in order.
    pub fn blend(&mut self, keep: f64, others: &[&Self], take: f64) {
        let rates = [keep, take].map(T::of);
        blend(&mut self.numerator, rates, others, |other| &other.numerator);
        blend(&mut self.own, rates, others, |other| &other.own);
        let rates = [keep, take];
        blend_each(&mut self.sizes, rates, others, |other| &other.sizes);
        blend_each(&mut self.dropout, rates, others, |other| &other.dropout);
        let shared = self.denominator.iter_mut().chain(&mut self.masked);
        shared.for_each(|sum| *sum *= keep);
        for other in others {
            let parts = other.denominator.iter().chain(&other.masked);
            let shared = self.denominator.iter_mut().chain(&mut self.masked);
            shared
                .zip(parts)
                .for_each(|(sum, part)| *sum += take * part);
        }
        if let Some(squares) = &mut self.squares {
            let others: Vec<&Self> = others.iter().filter_map(|o| o.squares.as_deref()).collect();
            squares.blend(keep, &others, take);
        }
    }

    /// Mixes the numerator, of which the part `fresh` is kept, with one that would leave these loadings as they are. What few cells do not have is
    /// not lost for all of them then: loadings that are zero stay zero.
    pub fn temper(&mut self, loss: impl Loss, w: &[T], size: &[T], factors: usize, fresh: f64) {
        let [mut row, mut neutral, mut held] = [(); 3].map(|()| vec![0.0; factors]);
        let rows = self.numerator.chunks_exact_mut(factors);
        for (i, (numerator, w)) in rows.zip(w.chunks_exact(factors)).enumerate() {
            row.iter_mut().zip(w).for_each(|(wide, w)| *wide = w.wide());
            if is_dispersed(size, i) {
                let own = &self.own[i * factors..][..factors];
                neutral
                    .iter_mut()
                    .zip(own)
                    .for_each(|(wide, own)| *wide = own.wide());
            } else {
                loss.denominator(&self.denominator, &row, &mut neutral);
                if !self.masked.is_empty() {
                    loss.denominator(&self.masked, &row, &mut held);
                    let own = &self.own[i * factors..][..factors];
                    for ((q, held), own) in neutral.iter_mut().zip(&held).zip(own) {
                        *q = (*q - held - own.wide()).max(0.0);
                    }
                }
            }
            for (p, q) in numerator.iter_mut().zip(&neutral) {
                *p = T::of(fresh * p.wide() + (1.0 - fresh) * q);
            }
        }
        let seen = self.numerator.len();
        if let Some(squares) = &mut self.squares {
            squares.temper(Mse, &w[seen..], &[], factors, fresh);
        }
    }

    /// When loadings move, numerators that were made with the old ones are divided by what these were multiplied with, so that
    /// their products with the loadings stay. Those of squared errors last as they are.
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
        let own = self.own.chunks_exact_mut(factors);
        for row in self.numerator.chunks_exact_mut(factors).chain(own) {
            row.iter_mut()
                .zip(scale)
                .for_each(|(p, &scale)| *p = T::of(p.wide() * scale));
        }
        let squares = self.denominator.len() == factors * factors && factors > 1;
        for sums in [&mut self.denominator, &mut self.masked] {
            for (at, sum) in sums.iter_mut().enumerate() {
                let other = if squares { scale[at / factors] } else { 1.0 };
                *sum *= scale[at % factors] * other;
            }
        }
        if let Some(squares) = &mut self.squares {
            squares.rescale_h(scale);
        }
    }

    /// Forgets all cells.
    pub fn clear(&mut self) {
        self.numerator.fill(T::zero());
        self.denominator.fill(0.0);
        self.masked.fill(0.0);
        self.own.fill(T::zero());
        self.sizes.fill([0.0; 2]);
        self.dropout.fill([0.0; 4]);
        if let Some(squares) = &mut self.squares {
            squares.clear();
        }
    }
}

/// `keep` times some sums and `take` times those of others, which `of` finds.
fn blend<T: Real>(
    sums: &mut [T],
    [keep, take]: [T; 2],
    others: &[&WStats<T>],
    of: impl Fn(&WStats<T>) -> &[T] + Sync,
) {
    sums.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, sums)| {
            sums.iter_mut().for_each(|sum| *sum *= keep);
            for other in others {
                let other = &of(other)[chunk * CHUNK..][..sums.len()];
                sums.iter_mut()
                    .zip(other)
                    .for_each(|(sum, &part)| *sum += take * part);
            }
        });
}

/// The same of a few sums for each feature.
fn blend_each<T, const N: usize>(
    sums: &mut [[f64; N]],
    [keep, take]: [f64; 2],
    others: &[&WStats<T>],
    of: impl Fn(&WStats<T>) -> &[[f64; N]],
) {
    for (at, sums) in sums.iter_mut().enumerate() {
        for (part, sum) in sums.iter_mut().enumerate() {
            let others = others.iter().map(|other| of(other)[at][part]);
            *sum = keep * *sum + take * others.sum::<f64>();
        }
    }
}

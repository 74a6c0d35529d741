//! `Σ x log r` over many entries, in vector registers: the standard library's logarithm is one call
//! an entry, and costs more than all the rest of a Poisson step.

use crate::group::{Each, GROUP};
use crate::real::Real;
use crate::width::sum_lanes;

/// Groups that are summed at a time: enough for the compiler to make a loop over registers of it.
const GROUPS: usize = 4;

/// What a count costs where the fitted rate is zero, instead of ∞: the logarithm of the largest double.
const IMPOSSIBLE: f64 = 708.0;

/// Values and their ratios to the fitted rates, waiting to be summed.
pub(super) struct LogSum<T> {
    x: [Each<T>; GROUPS],
    ratio: [Each<T>; GROUPS],
    waiting: usize,
    sum: f64,
}

impl<T: Real> LogSum<T> {
    #[inline(always)]
    pub fn new() -> Self {
        LogSum {
            x: [[T::zero(); GROUP]; GROUPS],
            ratio: [[T::one(); GROUP]; GROUPS],
            waiting: 0,
            sum: 0.0,
        }
    }

    /// Adds `x log r − x` of each entry of a group. A ratio of zero stands for a rate of zero: such a value
    /// is impossible under the model and costs `x` times [`IMPOSSIBLE`] instead of ∞.
    #[inline(always)]
    pub fn add(&mut self, x: &Each<T>, ratio: &Each<T>) {
        self.x[self.waiting] = *x;
        self.ratio[self.waiting] = *ratio;
        self.waiting += 1;
        if self.waiting == GROUPS {
            self.settle();
        }
    }

    /// The sum of all that was added.
    #[inline(always)]
    pub fn total(mut self) -> f64 {
        self.settle();
        self.sum
    }

    #[inline(always)]
    fn settle(&mut self) {
        let mut terms = [T::zero(); GROUP * GROUPS];
        let (x, ratio) = (self.x.as_flattened(), self.ratio.as_flattened());
        for ((term, &x), &ratio) in terms.iter_mut().zip(x).zip(ratio) {
            let log = if ratio > T::zero() {
                ratio.fast_ln()
            } else {
                T::of(IMPOSSIBLE)
            };
            *term = x * (log - T::one());
        }
        let mut lanes = [0.0; 4];
        for four in terms.chunks_exact(4) {
            for (lane, term) in lanes.iter_mut().zip(four) {
                *lane += term.wide();
            }
        }
        self.sum += sum_lanes(lanes);
        self.x = [[T::zero(); GROUP]; GROUPS];
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_groups_is_summed() {
        for groups in 0..10 {
            let mut sum = LogSum::<f32>::new();
            for _ in 0..groups {
                sum.add(&[2.0; GROUP], &[1.0; GROUP]);
            }
            assert_eq!(sum.total(), -2.0 * (groups * GROUP) as f64);
        }
        let mut sum = LogSum::<f64>::new();
        sum.add(&[1.0; GROUP], &[0.0; GROUP]);
        assert_eq!(sum.total(), (IMPOSSIBLE - 1.0) * GROUP as f64);
    }
}

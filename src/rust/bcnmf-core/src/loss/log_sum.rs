//! `Σ x log r` over many entries, in vector registers: the standard library's logarithm is one call
//! an entry, and costs more than all the rest of a Poisson step.

use crate::group::{Each, GROUP, total};
use crate::real::Real;
use pulp::Simd;

/// Groups that are summed at a time: enough for the compiler to make a loop over registers of it.
pub(super) const GROUPS: usize = 4;

/// What a count costs where the fitted rate is zero, instead of ∞: the logarithm of the largest double.
const IMPOSSIBLE: f64 = 708.0;

/// Values and their ratios to the fitted rates, waiting to be summed.
pub(super) struct LogSum<S, T> {
    simd: S,
    x: [Each<T>; GROUPS],
    ratio: [Each<T>; GROUPS],
    waiting: usize,
    sums: Each<f64>,
}

impl<S: Simd, T: Real> LogSum<S, T> {
    #[inline(always)]
    pub fn new(simd: S) -> Self {
        LogSum {
            simd,
            x: [[T::zero(); GROUP]; GROUPS],
            ratio: [[T::one(); GROUP]; GROUPS],
            waiting: 0,
            sums: [0.0; GROUP],
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
        total(self.sums)
    }

    #[inline(always)]
    fn settle(&mut self) {
        add_logs(self.simd, &mut self.sums, &self.x, &self.ratio);
        self.x = [[T::zero(); GROUP]; GROUPS];
        self.waiting = 0;
    }
}

/// Adds the terms of some groups.
#[inline(always)]
pub(super) fn add_logs<S: Simd, T: Real>(
    simd: S,
    sums: &mut Each<f64>,
    x: &[Each<T>; GROUPS],
    ratio: &[Each<T>; GROUPS],
) {
    let mut terms = [T::zero(); GROUP * GROUPS];
    for ((term, &x), &ratio) in terms
        .iter_mut()
        .zip(x.as_flattened())
        .zip(ratio.as_flattened())
    {
        let log = if ratio > T::zero() {
            ratio.fast_ln::<S>()
        } else {
            T::of(IMPOSSIBLE)
        };
        *term = x * (log - T::one());
    }
    for terms in terms.as_chunks::<GROUP>().0 {
        T::add_wide(simd, sums, terms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, Scalar, WithSimd};
    use std::marker::PhantomData;

    /// So many groups of values from 0 on with ratios that rise, from 0 on too.
    struct Sum<T>(usize, PhantomData<T>);

    impl<T: Real> WithSimd for Sum<T> {
        /// What came out, what should, and the sum of the terms' magnitudes.
        type Output = [f64; 3];
        fn with_simd<S: Simd>(self, simd: S) -> [f64; 3] {
            let mut sum = LogSum::<S, T>::new(simd);
            let [mut want, mut magnitude] = [0.0; 2];
            for group in 0..self.0 {
                let at = |e: usize| (group * GROUP + e) as f64;
                let (mut x, mut ratio) = ([T::zero(); GROUP], [T::zero(); GROUP]);
                for e in 0..GROUP {
                    x[e] = T::of(at(e) % 5.0);
                    ratio[e] = T::of(0.01 * (at(e) % 300.0).powi(2));
                    let log = match ratio[e].wide() {
                        0.0 => IMPOSSIBLE,
                        ratio => ratio.ln(),
                    };
                    let term = x[e].wide() * (log - 1.0);
                    want += term;
                    magnitude += term.abs();
                }
                sum.add(&x, &ratio);
            }
            [sum.total(), want, magnitude]
        }
    }

    fn sums_agree<T: Real>() {
        for groups in (0..10).chain([100]) {
            let sum = || Sum::<T>(groups, PhantomData);
            for [got, want, magnitude] in [Arch::new().dispatch(sum()), sum().with_simd(Scalar)] {
                let error = (got - want).abs();
                assert!(error <= 2.0 * T::epsilon().wide() * magnitude, "{groups}");
            }
        }
    }

    #[test]
    fn any_number_of_groups_is_summed() {
        sums_agree::<f32>();
        sums_agree::<f64>();
    }

    #[test]
    fn what_is_impossible_has_a_price() {
        let mut sum = LogSum::<_, f64>::new(Scalar);
        sum.add(&[1.0; GROUP], &[0.0; GROUP]);
        assert_eq!(sum.total(), (IMPOSSIBLE - 1.0) * GROUP as f64);
    }
}

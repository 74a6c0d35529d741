//! The two precisions of the arithmetic.

use crate::backend::Compute;
use crate::group::Each;
use crate::loss::{exp_f32, exp_f64, ln_f32, ln_f64};
use ndarray::LinalgScalar;
use num_traits::{Float, NumAssign};
use pulp::Simd;
use pulp::bytemuck::{self, cast_slice, cast_slice_mut};
#[cfg(target_arch = "x86_64")]
use std::any::TypeId;
use std::fmt::Debug;
use std::iter::Sum;

/// `f32` or `f64`: the type that factors are stored and multiplied in.
///
/// Sums that decide (divergences, column sums, stopping) are always accumulated in `f64`.
pub trait Real:
    Compute + LinalgScalar + Float + NumAssign + Sum + Debug + Default + Send + Sync + 'static
{
    /// Smallest value a positive loading or coefficient is allowed to fall to. It keeps products of
    /// two of them above the subnormal numbers (slow, and unable to grow back).
    const FLOOR: Self;
    /// Largest value that a W step lets a loading grow to. Loadings sum to 1 when a step starts, and
    /// where the objective has no lower bound (a feature that the background lacks, a factor that the
    /// target does not use) a contrast step would go to infinity at once. The majoriser is convex, so
    /// a shorter step goes downhill too.
    const CEILING: Self;
    /// Added to denominators, far below [`Real::FLOOR`] squared.
    const TINY: Self;
    /// Entries that vectors over the factors are padded to a multiple of: 32 bytes.
    const LANES: usize;
    /// A vector register of the instruction set `S`; its size divides 32 bytes.
    type Register<S: Simd>: Copy;

    /// Rounds a double to this precision.
    fn of(value: f64) -> Self;
    /// This value as a double, exactly.
    fn wide(self) -> f64;
    /// Natural logarithm of a positive number, in operations of the instruction set `S` that can be done side by side.
    fn fast_ln<S: Simd>(self) -> Self;
    /// Exponential, as [`Real::fast_ln`].
    fn fast_exp<S: Simd>(self) -> Self;
    /// A padded vector as registers.
    fn registers<S: Simd>(vector: &[Self]) -> &[Self::Register<S>];
    /// A padded vector as registers to write.
    fn registers_mut<S: Simd>(vector: &mut [Self]) -> &mut [Self::Register<S>];
    /// A register full of one value.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Register<S>;
    /// `a b + c`, rounded once or twice.
    fn multiply_add<S: Simd>(
        simd: S,
        a: Self::Register<S>,
        b: Self::Register<S>,
        c: Self::Register<S>,
    ) -> Self::Register<S>;
    /// `x / (rate + guard)`, and 0 where the rate is 0: where it is, so is every product that this ratio is
    /// multiplied with.
    fn ratio<S: Simd>(
        simd: S,
        x: Self::Register<S>,
        rate: Self::Register<S>,
        guard: Self::Register<S>,
    ) -> Self::Register<S>;
    /// Sum of a register's entries.
    fn sum_register<S: Simd>(simd: S, register: Self::Register<S>) -> Self;
    /// The sum of each register's entries.
    fn sum_registers<S: Simd>(simd: S, registers: &Each<Self::Register<S>>) -> Each<Self>;
    /// Adds to sums in double.
    fn add_wide<S: Simd>(simd: S, sums: &mut Each<f64>, terms: &Each<Self>);
}

/// How often an item counts by these weights: once where there are none.
#[inline(always)]
pub(crate) fn count<T: Real>(weights: &[T], item: usize) -> T {
    weights.get(item).copied().unwrap_or(T::one())
}

/// Whether an instruction set multiplies and adds in one operation.
#[inline(always)]
fn fuses<S: Simd>() -> bool {
    #[cfg(target_arch = "x86_64")]
    return TypeId::of::<S>() == TypeId::of::<pulp::x86::V3>();
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// The register operations of one precision, by pulp's names and ours.
macro_rules! registers {
    ($register:ident, $splat:ident, $multiply_add:ident, $add:ident, $div:ident,
     $less:ident, $select:ident, $sum:ident, $sum_avx2:ident, $add_avx2:ident, $ln:ident, $exp:ident) => {
        type Register<S: Simd> = S::$register;
        #[inline(always)]
        fn registers<S: Simd>(vector: &[Self]) -> &[S::$register] {
            cast_slice(vector)
        }
        #[inline(always)]
        fn registers_mut<S: Simd>(vector: &mut [Self]) -> &mut [S::$register] {
            cast_slice_mut(vector)
        }
        #[inline(always)]
        fn splat<S: Simd>(simd: S, value: Self) -> S::$register {
            simd.$splat(value)
        }
        #[inline(always)]
        fn multiply_add<S: Simd>(
            simd: S,
            a: S::$register,
            b: S::$register,
            c: S::$register,
        ) -> S::$register {
            simd.$multiply_add(a, b, c)
        }
        #[inline(always)]
        fn ratio<S: Simd>(
            simd: S,
            x: S::$register,
            rate: S::$register,
            guard: S::$register,
        ) -> S::$register {
            let zero = simd.$splat(0.0);
            let ratio = simd.$div(x, simd.$add(rate, guard));
            simd.$select(simd.$less(zero, rate), ratio, zero)
        }
        #[inline(always)]
        fn sum_register<S: Simd>(simd: S, register: S::$register) -> Self {
            simd.$sum(register)
        }
        #[inline(always)]
        fn sum_registers<S: Simd>(simd: S, registers: &Each<S::$register>) -> Each<Self> {
            #[cfg(target_arch = "x86_64")]
            if let Some(avx) = crate::x86::avx2(simd) {
                return crate::x86::$sum_avx2(avx, bytemuck::cast(*registers));
            }
            registers.map(|register| simd.$sum(register))
        }
        #[inline(always)]
        fn add_wide<S: Simd>(simd: S, sums: &mut Each<f64>, terms: &Each<Self>) {
            #[cfg(target_arch = "x86_64")]
            if let Some(avx) = crate::x86::avx2(simd) {
                return crate::x86::$add_avx2(avx, sums, terms);
            }
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += term.wide();
            }
        }
        #[inline(always)]
        fn fast_ln<S: Simd>(self) -> Self {
            if fuses::<S>() {
                $ln::<true>(self)
            } else {
                $ln::<false>(self)
            }
        }
        #[inline(always)]
        fn fast_exp<S: Simd>(self) -> Self {
            if fuses::<S>() {
                $exp::<true>(self)
            } else {
                $exp::<false>(self)
            }
        }
    };
}

impl Real for f32 {
    const FLOOR: f32 = 1e-18;
    const CEILING: f32 = 1e9;
    const TINY: f32 = 1e-37;
    const LANES: usize = 8;
    registers!(
        f32s,
        splat_f32s,
        mul_add_e_f32s,
        add_f32s,
        div_f32s,
        less_than_f32s,
        select_f32s,
        reduce_sum_f32s,
        sum_f32,
        add_f32,
        ln_f32,
        exp_f32
    );
    #[inline(always)]
    fn of(value: f64) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const FLOOR: f64 = 1e-150;
    const CEILING: f64 = 1e75;
    const TINY: f64 = 1e-305;
    const LANES: usize = 4;
    registers!(
        f64s,
        splat_f64s,
        mul_add_e_f64s,
        add_f64s,
        div_f64s,
        less_than_f64s,
        select_f64s,
        reduce_sum_f64s,
        sum_f64,
        add_f64,
        ln_f64,
        exp_f64
    );
    #[inline(always)]
    fn of(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

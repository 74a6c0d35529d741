//! The two precisions of the arithmetic.

use num_traits::{Float, NumAssign};
use std::fmt::Debug;
use std::iter::Sum;

/// `f32` or `f64`: the type that factors are stored and multiplied in.
///
/// Sums that decide (divergences, column sums, stopping) are always accumulated in `f64`.
pub trait Real: Float + NumAssign + Sum + Debug + Default + Send + Sync + 'static {
    /// Smallest value a positive loading or coefficient is allowed to fall to. It keeps products of
    /// two of them above the subnormal numbers (slow, and unable to grow back).
    const FLOOR: Self;
    /// Added to denominators, far below [`Real::FLOOR`] squared.
    const TINY: Self;
    /// Rounds a double to this precision.
    fn of(value: f64) -> Self;
    /// This value as a double, exactly.
    fn wide(self) -> f64;
}

impl Real for f32 {
    const FLOOR: f32 = 1e-18;
    const TINY: f32 = 1e-37;
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
    const TINY: f64 = 1e-305;
    #[inline(always)]
    fn of(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

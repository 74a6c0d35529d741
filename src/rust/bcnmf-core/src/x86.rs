//! What AVX2 does better than pulp's portable operations: eight sums across registers at once.

use crate::group::{Each, GROUP};
use pulp::Simd;
use pulp::bytemuck::cast;
use pulp::x86::V3;
use std::any::Any;
use std::arch::x86_64::{__m128, __m256, __m256d};

/// The instruction set as AVX2, if that is what it is.
#[inline(always)]
pub(crate) fn avx2<S: Simd>(simd: S) -> Option<V3> {
    (&simd as &dyn Any).downcast_ref::<V3>().copied()
}

/// The sum of each register: halves are swapped so that one addition folds two registers, then neighbours are
/// added.
#[inline(always)]
pub(crate) fn sum_f32(simd: V3, registers: Each<[f32; 8]>) -> Each<f32> {
    let r: Each<__m256> = cast(registers);
    let avx = simd.avx;
    let mut f = [r[0]; 4];
    for e in 0..4 {
        let kept = avx._mm256_blend_ps::<0xf0>(r[e], r[e + 4]);
        let swapped = avx._mm256_permute2f128_ps::<0x21>(r[e], r[e + 4]);
        f[e] = avx._mm256_add_ps(kept, swapped);
    }
    let low = avx._mm256_hadd_ps(f[0], f[1]);
    let high = avx._mm256_hadd_ps(f[2], f[3]);
    cast(avx._mm256_hadd_ps(low, high))
}

/// As [`sum_f32`], four and four.
#[inline(always)]
pub(crate) fn sum_f64(simd: V3, registers: [[f64; 4]; GROUP]) -> Each<f64> {
    let r: Each<__m256d> = cast(registers);
    let avx = simd.avx;
    let mut sums = [r[0]; 2];
    for (sum, r) in sums.iter_mut().zip(r.as_chunks::<4>().0) {
        let (low, high) = (
            avx._mm256_hadd_pd(r[0], r[1]),
            avx._mm256_hadd_pd(r[2], r[3]),
        );
        let kept = avx._mm256_blend_pd::<0b1100>(low, high);
        let swapped = avx._mm256_permute2f128_pd::<0x21>(low, high);
        *sum = avx._mm256_add_pd(kept, swapped);
    }
    cast(sums)
}

/// Adds in double.
#[inline(always)]
pub(crate) fn add_f32(simd: V3, sums: &mut Each<f64>, terms: &Each<f32>) {
    let avx = simd.avx;
    let terms: [__m128; 2] = cast(*terms);
    for (sum, terms) in sums.as_chunks_mut::<4>().0.iter_mut().zip(terms) {
        *sum = cast(avx._mm256_add_pd(cast(*sum), avx._mm256_cvtps_pd(terms)));
    }
}

/// As [`add_f32`].
#[inline(always)]
pub(crate) fn add_f64(simd: V3, sums: &mut Each<f64>, terms: &Each<f64>) {
    let avx = simd.avx;
    let terms: [__m256d; 2] = cast(*terms);
    for (sum, terms) in sums.as_chunks_mut::<4>().0.iter_mut().zip(terms) {
        *sum = cast(avx._mm256_add_pd(cast(*sum), terms));
    }
}

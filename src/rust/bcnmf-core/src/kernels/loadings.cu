// W steps, in double, for any number of factors: see `fit/w_step.rs`. A warp has a feature, and lanes its factors in turn.
#define THREADS 128
#include "items.cuh"

// The square root of what double precision rounds by, and the least number that has all its digits.
#define ROUNDING 1.4901161193847656e-8
#define LEAST 2.2250738585072014e-308

// What a warp has of its feature: loadings, and numerators and denominators of both sets.
struct Row {
  double w[MOST_FACTORS];
  double p[2][MOST_FACTORS];
  double q[2][MOST_FACTORS];
};

#define EACH_FACTOR(f) for (u32 f = threadIdx.x % 32; f < a.k; f += 32)

// The sum over parts of a feature's vectors.
static __device__ __forceinline__ void sum_parts(double *sums, const float *parts, u32 number, const WStep &a, u32 feature) {
  EACH_FACTOR(f) {
    double sum = 0.0;
#pragma unroll 4
    for (u32 part = 0; part < number; part++) sum += parts[((size_t)part * a.features + feature) * a.stride + f];
    sums[f] = sum;
  }
}

// Σ w[k] gram[k] over the factors k.
static __device__ __forceinline__ void gram_times(double *product, const double *gram, const double *w, const WStep &a) {
  EACH_FACTOR(f) {
    double sum = 0.0;
#pragma unroll 4
    for (u32 k = 0; k < a.k; k++) sum = fma(w[k], gram[(size_t)k * a.stride + f], sum);
    product[f] = sum;
  }
}

// Not beyond the ceiling, if it was not there before; NaN stays.
static __device__ __forceinline__ double lowered(double value, double old, double ceiling) {
  const double most = fmax(ceiling, old);
  return value > most ? most : value;
}

// Passes of coordinate descent: what is concave, of a background that is contrasted, is replaced by its tangent at the point where a pass
// starts.
static __device__ __forceinline__ void descend(Row &row, const WStep &a) {
  const double *target = a.sets[0].denominator, *background = a.sets[1].numerator ? a.sets[1].denominator : 0;
  const double explained = fmax(a.weight, 0.0), contrast = fmax(-a.weight, 0.0), floor = fmax(a.floor, LEAST);
  double *pull = row.q[0], *tangent = row.q[1];
#pragma unroll 1
  for (u32 step = 0; step < a.steps; step++) {
    if (background && contrast > 0.0) gram_times(tangent, background, row.w, a);
    EACH_FACTOR(f) {
      pull[f] = row.p[0][f] + explained * row.p[1][f];
      if (background && contrast > 0.0) pull[f] += contrast * tangent[f];
    }
    __syncwarp();
#pragma unroll 1
    for (u32 k = 0; k < a.k; k++) {
      const double old = row.w[k];
      if (!(old > 0.0)) continue;
      double product = 0.0;
      EACH_FACTOR(f) {
        const size_t at = (size_t)k * a.stride + f;
        product = fma(target[at] + (background ? explained * background[at] : 0.0), row.w[f], product);
      }
      const size_t own = (size_t)k * a.stride + k;
      const double curvature = fmax(target[own] + (background ? explained * background[own] : 0.0), 0.0);
      const double gradient = over_warp(product) - pull[k] + contrast * row.p[1][k] + a.l1 + a.l2 * old;
      const double best = old - gradient / (curvature + a.l2 + a.guard);
      const double value = floored(above_rounding(best, old, ROUNDING), old, pull[k], floor);
      // All lanes have read the old one.
      if (threadIdx.x % 32 == 0) row.w[k] = lowered(value, old, a.ceiling);
      __syncwarp();
    }
  }
}

// One step.
static __device__ __forceinline__ void step(Row &row, const WStep &a, u32 feature) {
  const double size = fabs(a.weight);
  // A background that is contrasted adds each to the other.
  const bool contrasts = a.weight < 0.0;
#pragma unroll 1
  for (u32 set = 0; set < 2; set++) {
    const Gathered &has = a.sets[set];
    double *q = row.q[set];
    if (!has.numerator) {
      EACH_FACTOR(f) q[f] = 0.0;
    } else if (a.quadratic) {
      gram_times(q, has.denominator, row.w, a);
    } else if (has.size && has.size[feature] < ENDLESS) {
      sum_parts(q, has.own, a.own_parts, a, feature);
    } else {
      EACH_FACTOR(f) q[f] = has.denominator[f];
    }
  }
  // Products with Gram matrices have read all loadings.
  __syncwarp();
  EACH_FACTOR(f) {
    const double pull = row.p[0][f] + size * (contrasts ? row.q : row.p)[1][f], old = row.w[f];
    const double push = row.q[0][f] + size * (contrasts ? row.p : row.q)[1][f] + a.l1 + a.guard;
    const double value = a.quadratic ? squares_step(old, pull, push, a.l2, a.floor) : counts_step(old, pull, push, a.l2, a.floor);
    row.w[f] = lowered(value, old, a.ceiling);
  }
}

KERNEL(w_step, WStep) {
  __shared__ Row rows[WARPS];
  Row &row = rows[threadIdx.x / 32];
  for (u32 i = blockIdx.x * WARPS + threadIdx.x / 32; i < a.features; i += gridDim.x * WARPS) {
    EACH_FACTOR(f) row.w[f] = a.w[(size_t)i * a.stride + f];
#pragma unroll 1
    for (u32 set = 0; set < 2; set++) sum_parts(row.p[set], a.sets[set].numerator, a.sets[set].numerator ? a.parts : 0, a, i);
    __syncwarp();
    if (a.quadratic && a.steps > 1) {
      descend(row, a);
    } else {
      step(row, a, i);
    }
    __syncwarp();
    for (u32 f = threadIdx.x % 32; f < a.stride; f += 32) a.w_next[(size_t)i * a.stride + f] = f < a.k ? (float)row.w[f] : 0.0f;
    __syncwarp();
  }
}

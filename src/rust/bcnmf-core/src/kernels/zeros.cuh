// Zeros of counts of which some may be lost: see `loss/zinb.rs`.
#ifndef BCNMF_ZEROS
#define BCNMF_ZEROS
#include "items.cuh"

// What is known of an entry if it is a zero: the posterior probabilities that it was counted and that it was lost, and −log of the first.
struct Zero {
  float counted;
  float lost;
  float surprise;
};

static __device__ __forceinline__ Zero zero(float log_odds, float s) {
  const float t = log_odds + s, small = expf(-fabsf(t)), likely = 1.0f / (1.0f + small);
  const bool counted = t <= 0.0f;
  return {counted ? likely : small * likely, counted ? small * likely : likely, fmaxf(t, 0.0f) + log1pf(small)};
}

// −log(1 − π)
static __device__ __forceinline__ float log_kept(float log_odds) { return zero(log_odds, 0.0f).surprise; }

// −log P₀
static __device__ __forceinline__ float loss_of_zero(float log_odds, float kept, float s) {
  const float t = log_odds + s;
  return kept + (t <= 0.0f ? s : -log_odds) - log1pf(expf(-fabsf(t)));
}

static __device__ __forceinline__ bool loses(const Rates &a) { return a.feature_odds || a.cell_odds; }

static __device__ __forceinline__ float log_odds(const Rates &a, u32 feature, u32 cell) {
  if (a.certain && a.certain[feature]) return -ENDLESS;
  return a.feature_odds ? a.feature_odds[feature] : a.cell_odds[cell];
}

// t/(1 + t) − log(1 + t). In double, as next to Poisson counts first and second derivatives cancel but for a millionth.
static __device__ __forceinline__ double zero_slope(double t) { return t / (1.0 + t) - log1p(t); }

#endif

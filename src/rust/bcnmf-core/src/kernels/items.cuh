// What all kernels share.
#ifndef BCNMF_ITEMS
#define BCNMF_ITEMS
#include "arguments.cuh"

#ifndef KERNEL
#define KERNEL(name, Args) extern "C" __global__ void __launch_bounds__(THREADS) name(const Args a)
#endif
#define WARPS (THREADS / 32)
#define MOST_FACTORS 128
// All lanes of a warp.
#define ALL 0xffffffffu
// Others that a block looks at together.
#define TILE 32
// Sums for derivatives by size and odds.
#define SLOPES 6
#define ENDLESS __int_as_float(0x7f800000)

// How often an item counts.
static __device__ __forceinline__ float count(const float *weights, u32 item) {
  return weights ? weights[item] : 1.0f;
}

static __device__ __forceinline__ float ambient_rate(const Rates &a, u32 feature, u32 cell) {
  return a.ambient ? a.profile[feature] * a.ambient[cell] : 0.0f;
}

struct Range {
  u32 from;
  u32 to;
};

// One of so many parts of n things, as even as can be.
static __device__ __forceinline__ Range even_part(u32 n, u32 part, u32 parts) {
  const unsigned long long all = n;
  return {(u32)(all * part / parts), (u32)(all * (part + 1) / parts)};
}

// A part of a feature's entries.
static __device__ __forceinline__ Range part_of(const FeatureSums &a, u32 feature, u32 part) {
  const u32 start = a.features.start[feature];
  const Range entries = even_part(a.features.start[feature + 1] - start, part, a.parts);
  return {start + entries.from, start + entries.to};
}

template <class T> static __device__ __forceinline__ T over_warp(T x) {
#pragma unroll 1
  for (u32 o = 1; o < 32; o <<= 1) x += __shfl_xor_sync(ALL, x, o);
  return x;
}

// ---- Steps of one coefficient or loading: see `loss/`

// Keeps a positive value above the floor while something pulls it up.
template <class T> static __device__ __forceinline__ T floored(T value, T old, T pull, T floor) {
  return value < floor && old > 0 && pull > 0 ? floor : value;
}

// The minimiser of −a log h + b h + l2 h²/2 with a = old · pull and b = push, in which L1 and guard are.
template <class T> static __device__ __forceinline__ T counts_step(T old, T pull, T push, T l2, T floor) {
  const T a = old * pull;
  const T value = l2 > 0 ? 2 * a / (push + sqrt(push * push + 4 * l2 * a)) : a / push;
  return floored(value, old, pull, floor);
}

// The same for squared errors.
template <class T> static __device__ __forceinline__ T squares_step(T old, T pull, T push, T l2, T floor) {
  return floored(old * pull / (push + l2 * old), old, pull, floor);
}

// Zero for what is below zero, or so small against the value before that rounding, of which `rounding` is the square root, is a good part
// of it.
template <class T> static __device__ __forceinline__ T above_rounding(T value, T old, T rounding) {
  return value < old * rounding ? 0 : value;
}

#endif

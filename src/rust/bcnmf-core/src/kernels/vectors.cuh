// What kernels share that hold KP factors of a vector in registers. `lanes` neighbouring threads (1, 2 or 4) share a vector.
//
// What an H step needs of W's rows, a W step needs of H's columns: sums over the entries of a compressed item (a cell or a feature) of the
// others' vectors, times what the loss makes of value and rate. In H steps a warp has a cell, its groups of lanes the entries, and each lane
// its factors of h, the same in all groups. In W steps a block has a feature's entries, or a part of them. See `loss/` for the losses themselves.
#ifndef BCNMF_VECTORS
#define BCNMF_VECTORS
#define THREADS 128
#include "items.cuh"

#define PASTE(name, kp) name##_##kp
#define OF_KP(name, kp) PASTE(name, kp)
#define NAMED(name) OF_KP(name, KP)

// What a count costs where the fitted rate is zero, instead of infinity.
#define IMPOSSIBLE 708.0f
#define LARGEST 3.4028235e38f
// The least positive coefficient.
#define FLOOR 1e-18f
// The square root of what single precision rounds by.
#define ROUNDING 3.4526698e-4f

// Where a thread stands in its warp.
struct Lane {
  u32 lane;   // in the warp
  u32 warp;   // in the block
  u32 lanes;  // that share a vector
  u32 group;  // of such lanes
  u32 groups; // of them in a warp
  u32 first;  // factor of this lane
};

static __device__ __forceinline__ Lane stand(u32 lanes) {
  const u32 lane = threadIdx.x % 32;
  return {lane, threadIdx.x / 32, lanes, lane / lanes, 32 / lanes, lane % lanes * KP};
}

static __device__ __forceinline__ void load(float *to, const float *from) {
#pragma unroll
  for (u32 f = 0; f < KP; f += 4) {
    const float4 four = *(const float4 *)(from + f);
    to[f] = four.x;
    to[f + 1] = four.y;
    to[f + 2] = four.z;
    to[f + 3] = four.w;
  }
}

static __device__ __forceinline__ void store(float *to, const float *from) {
#pragma unroll
  for (u32 f = 0; f < KP; f += 4) {
    *(float4 *)(to + f) = make_float4(from[f], from[f + 1], from[f + 2], from[f + 3]);
  }
}

static __device__ __forceinline__ void clear(float *v) {
#pragma unroll
  for (u32 f = 0; f < KP; f++) v[f] = 0.0f;
}

static __device__ __forceinline__ void add_scaled(float *sum, float times, const float *v) {
#pragma unroll
  for (u32 f = 0; f < KP; f++) sum[f] = fmaf(times, v[f], sum[f]);
}

// The sum over the lanes that share a vector, for all of them.
static __device__ __forceinline__ float over_lanes(float x, u32 lanes) {
#pragma unroll 1
  for (u32 o = 1; o < lanes; o <<= 1) x += __shfl_xor_sync(ALL, x, o);
  return x;
}

static __device__ __forceinline__ float dot(const float *v, const float *u, u32 lanes) {
  float sum = 0.0f;
#pragma unroll
  for (u32 f = 0; f < KP; f++) sum = fmaf(v[f], u[f], sum);
  return over_lanes(sum, lanes);
}

// Sums of each factor over the groups of a warp, for all of them.
static __device__ __forceinline__ void over_groups(float *sums, u32 lanes) {
#pragma unroll 1
  for (u32 o = lanes; o < 32; o <<= 1) {
#pragma unroll
    for (u32 f = 0; f < KP; f++) sums[f] += __shfl_xor_sync(ALL, sums[f], o);
  }
}

// x / rate, and 0 where the rate is 0: where it is, so is every product that this ratio is multiplied with.
static __device__ __forceinline__ float ratio(float x, float rate, float guard) {
  return rate > 0.0f ? x / (rate + guard) : 0.0f;
}

// x log(ratio) − x
static __device__ __forceinline__ float deviance(float x, float ratio) {
  return x > 0.0f ? x * ((ratio > 0.0f ? logf(fminf(ratio, LARGEST)) : IMPOSSIBLE) - 1.0f) : 0.0f;
}

// ---- Entries

// How many a group of lanes has at a time, so that the others' vectors of one are on their way while another's are waited for.
#define FEW (KP > 20 ? 1 : 2)

struct Few {
  u32 index[FEW];
  float value[FEW];
  float row[FEW][KP];
  float rate[FEW];
};

// Those from `from` on, `step` apart, and the vectors of their others; beyond `to` there are zeros. Entries are read once, and are not to drive
// vectors out of the caches.
static __device__ __forceinline__ void fetch(Few &few, const Entries &entries, u32 from, u32 step, u32 to, const float *others, u32 stride, u32 first) {
#pragma unroll
  for (u32 n = 0; n < FEW; n++) {
    const u32 e = from + n * step, there = min(e, to - 1);
    few.index[n] = __ldcs(entries.index + there);
    few.value[n] = e < to ? __ldcs(entries.value + there) : 0.0f;
  }
#pragma unroll
  for (u32 n = 0; n < FEW; n++) load(few.row[n], others + (size_t)few.index[n] * stride + first);
}

// What the factors say of their rates.
static __device__ __forceinline__ void take_rates(Few &few, const float *v, u32 lanes) {
#pragma unroll
  for (u32 n = 0; n < FEW; n++) {
    // Several sums, as each product waits for the one before it in a sum.
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (u32 f = 0; f < KP; f++) sums[f % 4] = fmaf(v[f], few.row[n][f], sums[f % 4]);
    few.rate[n] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  if (lanes > 1) {
#pragma unroll
    for (u32 n = 0; n < FEW; n++) few.rate[n] = over_lanes(few.rate[n], lanes);
  }
}

// ---- Tiles: neighbouring threads have an item, and a block's threads look at the same others

// Copies rows of vectors to shared memory.
static __device__ __forceinline__ void share_rows(float *to, const float *from, u32 rows, u32 stride) {
  for (u32 f = threadIdx.x; f < rows * stride; f += THREADS) to[f] = from[f];
}

// Cells that features look at.
struct SharedCells {
  float h[TILE * MOST_FACTORS];
  float weight[TILE];
  float ambient[TILE];
};

// Takes those from `base` on, before `end`, and returns how many there are.
static __device__ __forceinline__ u32 share_cells(SharedCells &cells, const Rates &a, const float *h, u32 base, u32 end, u32 stride) {
  const u32 number = min((u32)TILE, end - base);
  // What was here before was read.
  __syncthreads();
  share_rows(cells.h, h + (size_t)base * stride, number, stride);
  if (threadIdx.x < number) {
    const u32 j = base + threadIdx.x;
    cells.weight[threadIdx.x] = count(a.cell_weight, j);
    cells.ambient[threadIdx.x] = a.ambient ? a.ambient[j] : 0.0f;
  }
  __syncthreads();
  return number;
}

// Whether something holds for any thread of a block, for all of them.
static __device__ __forceinline__ bool any_of_block(bool holds, u32 *room) {
  // What was here before was read.
  __syncthreads();
  if (threadIdx.x == 0) *room = 0;
  __syncthreads();
  if (holds) *room = 1;
  __syncthreads();
  return *room;
}

// ---- What H steps measure

// Takes back what rounding has left below zero; NaN stays.
static __device__ __forceinline__ double not_negative(double x) { return x < 0.0 ? 0.0 : x; }

struct Measured {
  double divergence;
  double penalty;
};

// Adds what the warps of a block have measured, in order.
static __device__ void add_measured(double *sums, Measured measured, const Lane &at) {
  __shared__ double warps[WARPS][2];
  if (at.lane == 0) {
    warps[at.warp][0] = measured.divergence;
    warps[at.warp][1] = measured.penalty;
  }
  __syncthreads();
  if (threadIdx.x < 2) {
    double sum = 0.0;
#pragma unroll 1
    for (u32 warp = 0; warp < WARPS; warp++) sum += warps[warp][threadIdx.x];
    sums[3 * blockIdx.x + threadIdx.x] += sum;
  }
}

static __device__ __forceinline__ double penalty(const float *h, float l1, float l2, u32 lanes) {
  if (l1 == 0.0f && l2 == 0.0f) return 0.0;
  float sum = 0.0f;
#pragma unroll
  for (u32 f = 0; f < KP; f++) sum += (l1 + 0.5f * l2 * h[f]) * h[f];
  return over_lanes(sum, lanes);
}

// Whether no coefficient changed by more than this part of the largest; some did, where the part is 0.
static __device__ __forceinline__ bool is_still(const float *before, const float *after, float tolerance, u32 lanes) {
  if (tolerance == 0.0f) return false;
  float largest = 0.0f, change = 0.0f;
#pragma unroll
  for (u32 f = 0; f < KP; f++) {
    largest = fmaxf(largest, after[f]);
    change = fmaxf(change, fabsf(after[f] - before[f]));
  }
#pragma unroll 1
  for (u32 o = 1; o < lanes; o <<= 1) {
    largest = fmaxf(largest, __shfl_xor_sync(ALL, largest, o));
    change = fmaxf(change, __shfl_xor_sync(ALL, change, o));
  }
  return change <= tolerance * largest;
}

// ---- Numerators of W

static __device__ __forceinline__ void add_vector(float *to, const float *v) {
  float sum[KP];
  load(sum, to);
  add_scaled(sum, 1.0f, v);
  store(to, sum);
}

// Adds the sums of a block's warps to a vector, in order.
static __device__ __forceinline__ void add_block(float *to, const float *sums, float (*warps)[MOST_FACTORS], u32 stride, const Lane &at) {
  // What was here before was read.
  __syncthreads();
  if (at.group == 0) store(warps[at.warp] + at.first, sums);
  __syncthreads();
  if (threadIdx.x < stride) {
    float sum = 0.0f;
#pragma unroll 1
    for (u32 warp = 0; warp < WARPS; warp++) sum += warps[warp][threadIdx.x];
    to[threadIdx.x] += sum;
  }
}

#endif

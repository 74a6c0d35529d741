// Kernels that are the same for all numbers of factors.
#define THREADS 256
#include "items.cuh"

// ---- Transposition: a counting sort. Cells in a group come one after the other, and a cell has a feature once at most, so no two
// threads meet at one number, and the order within a feature is that of the cells.

// How many entries of each feature a group has. One block a group; `counts` is zero before.
KERNEL(count_entries, Transpose) {
  u32 *counts = a.counts + (size_t)blockIdx.x * a.features;
  const Range group = even_part(a.count, blockIdx.x, a.groups);
  for (u32 j = group.from; j < group.to; j++) {
    for (u32 e = a.cells.start[j] + threadIdx.x; e < a.cells.start[j + 1]; e += THREADS) {
      counts[a.cells.index[e]]++;
    }
    __syncthreads();
  }
}

// Turns the counts of each feature's groups into those before each, and gives all to `start`.
KERNEL(count_before, Transpose) {
  const u32 i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= a.features) return;
  u32 before = 0;
  for (u32 group = 0; group < a.groups; group++) {
    u32 *count = a.counts + (size_t)group * a.features + i;
    const u32 here = *count;
    *count = before;
    before += here;
  }
  a.start[i + 1] = before;
}

// Turns the features' counts into their first places. One block.
KERNEL(first_places, Transpose) {
  __shared__ u32 sums[THREADS];
  const u32 each = (a.features + THREADS - 1) / THREADS;
  const u32 from = min(threadIdx.x * each, a.features), to = min(from + each, a.features);
  u32 sum = 0;
  for (u32 i = from; i < to; i++) sum += a.start[i + 1];
  sums[threadIdx.x] = sum;
  __syncthreads();
  u32 before = 0;
  for (u32 t = 0; t < threadIdx.x; t++) before += sums[t];
  for (u32 i = from; i < to; i++) {
    before += a.start[i + 1];
    a.start[i + 1] = before;
  }
  if (threadIdx.x == 0) a.start[0] = 0;
}

// Puts the entries to their places. One block a group.
KERNEL(place_entries, Transpose) {
  u32 *before = a.counts + (size_t)blockIdx.x * a.features;
  const Range group = even_part(a.count, blockIdx.x, a.groups);
  for (u32 j = group.from; j < group.to; j++) {
    for (u32 e = a.cells.start[j] + threadIdx.x; e < a.cells.start[j + 1]; e += THREADS) {
      const u32 i = a.cells.index[e];
      const u32 at = a.start[i] + before[i]++;
      a.index[at] = j;
      a.value[at] = a.cells.value[e];
    }
    __syncthreads();
  }
}

// ---- Denominators of W

// Σ h of counts, each cell as often as it counts.
KERNEL(total_h, Totals) {
  __shared__ double rows[THREADS];
  const u32 abreast = THREADS / a.stride, f = threadIdx.x % a.stride, row = threadIdx.x / a.stride;
  double sum = 0.0;
  if (row < abreast) {
    for (u32 j = blockIdx.x * abreast + row; j < a.cells; j += gridDim.x * abreast) {
      const double times = count(a.cell_weight, j);
      sum += times * a.h[(size_t)j * a.stride + f];
    }
  }
  rows[threadIdx.x] = sum;
  __syncthreads();
  if (row == 0) {
    double all = 0.0;
    for (u32 r = 0; r < abreast; r++) all += rows[r * a.stride + f];
    a.sums[(size_t)blockIdx.x * a.stride + f] += all;
  }
}

// H Hᵀ, each cell as often as it counts: exact products of a tile's cells in single precision, sums over tiles in double.
KERNEL(gram_h, Totals) {
  __shared__ float tile[TILE * MOST_FACTORS];
  __shared__ float weight[TILE];
  double *sums = a.sums + (size_t)blockIdx.x * a.stride * a.stride;
  for (u32 first = blockIdx.x * TILE; first < a.cells; first += gridDim.x * TILE) {
    const u32 cells = min((u32)TILE, a.cells - first);
    for (u32 at = threadIdx.x; at < cells * a.stride; at += THREADS) {
      tile[at] = a.h[(size_t)first * a.stride + at];
    }
    if (threadIdx.x < cells) weight[threadIdx.x] = count(a.cell_weight, first + threadIdx.x);
    __syncthreads();
    for (u32 pair = threadIdx.x; pair < a.stride * a.stride; pair += THREADS) {
      const u32 f = pair / a.stride, g = pair % a.stride;
      float sum = 0.0f;
      for (u32 j = 0; j < cells; j++) {
        sum = fmaf(weight[j] * tile[j * a.stride + f], tile[j * a.stride + g], sum);
      }
      sums[pair] += sum;
    }
    __syncthreads();
  }
}

// ---- Sums of parts, in a fixed order

KERNEL(sum_parts, SumParts) {
  const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
  if (at >= a.count) return;
  double sum = 0.0;
  for (u32 part = 0; part < a.number; part++) sum += a.parts[part * a.count + at];
  a.sum[at] = sum;
}

// ---- Coefficients

KERNEL(scale_h, Scale) {
  const size_t step = (size_t)gridDim.x * THREADS;
  for (size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x; at < a.count; at += step) {
    const float value = a.h[at] * a.scale[at % a.stride];
    a.h[at] = value;
    // NaN is not at most anything either.
    if (!(value <= a.most)) *a.flag = 1;
  }
}

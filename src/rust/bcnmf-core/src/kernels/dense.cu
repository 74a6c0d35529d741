// Poisson counts and squared errors of data that are not compressed, of which a tile of cells × features is in shared memory.
#include "vectors.cuh"

// Numbers of a cell in a tile: one more than there are, so that threads next to each other read from different banks.
#define ROW (TILE + 1)

struct Tiles {
  float *rows;
  float *x;
  float *weight;
  float *profile;
};

#define SHARED_TILES \
  alignas(16) __shared__ float rows[TILE * MOST_FACTORS]; \
  __shared__ float values[THREADS * ROW], weight[TILE], profile[TILE]; \
  const Tiles tiles = {rows, values, weight, profile}

// Wᵀ(x/λ) and its part of the divergence, or Wᵀx and xᵀx, of the cell that a thread has a share in. `first`: the first of the block.
template <bool IS_POISSON>
static __device__ __forceinline__ double sums_of_cell(const CellStep &a, const Lane &at, const Tiles &tiles, u32 first, const float *h, float *sums) {
  const u32 abreast = THREADS / a.lanes, mine = threadIdx.x / a.lanes, j = min(first + mine, a.count - 1);
  const float ambient = a.rates.ambient ? a.rates.ambient[j] : 0.0f;
  // Tile by tile in double, as a divergence is a small difference of large sums.
  double measured = 0.0;
  clear(sums);
#pragma unroll 1
  for (u32 base = 0; base < a.features; base += TILE) {
    const u32 number = min((u32)TILE, a.features - base);
    __syncthreads();
    share_rows(tiles.rows, a.w + (size_t)base * a.stride, number, a.stride);
    for (u32 c = at.warp; c < abreast; c += WARPS) {
      const bool in = first + c < a.count && at.lane < number;
      tiles.x[c * ROW + at.lane] = in ? a.dense[(size_t)(first + c) * a.features + base + at.lane] : 0.0f;
    }
    if (threadIdx.x < number) {
      tiles.weight[threadIdx.x] = count(a.rates.feature_weight, base + threadIdx.x);
      tiles.profile[threadIdx.x] = a.rates.ambient ? a.rates.profile[base + threadIdx.x] : 0.0f;
    }
    __syncthreads();
    float of_tile = 0.0f, tile[KP];
    clear(tile);
#pragma unroll 1
    for (u32 r = 0; r < number; r++) {
      const float x = tiles.x[mine * ROW + r], times = tiles.weight[r];
      float row[KP];
      load(row, tiles.rows + r * a.stride + at.first);
      if (IS_POISSON) {
        const float quotient = ratio(x, dot(row, h, a.lanes) + tiles.profile[r] * ambient, a.rates.guard);
        if (a.measures) of_tile = fmaf(times, deviance(x, quotient), of_tile);
        add_scaled(tile, times * quotient, row);
      } else {
        of_tile = fmaf(times * x, x, of_tile);
        add_scaled(tile, times * x, row);
      }
    }
    measured += of_tile;
    add_scaled(sums, 1.0f, tile);
  }
  return measured;
}

// Wᵀx and xᵀx, for `cell_step_mse`.
KERNEL(NAMED(cell_pull_mse), CellStep) {
  SHARED_TILES;
  const Lane at = stand(a.lanes);
  const u32 abreast = THREADS / a.lanes, first = blockIdx.x * abreast, j = first + threadIdx.x / a.lanes;
  float sums[KP];
  const double squares = sums_of_cell<false>(a, at, tiles, first, 0, sums);
  if (j < a.count) {
    store((float *)a.pull + (size_t)j * a.stride + at.first, sums);
    if (at.first == 0) ((double *)a.squares)[j] = squares;
  }
}

KERNEL(NAMED(cell_step_dense_poisson), CellStep) {
  SHARED_TILES;
  __shared__ u32 any;
  const Lane at = stand(a.lanes);
  const u32 abreast = THREADS / a.lanes;
  Measured measured = {0.0, 0.0};
  for (u32 first = blockIdx.x * abreast; first < a.count; first += gridDim.x * abreast) {
    const u32 mine = first + threadIdx.x / a.lanes, j = min(mine, a.count - 1);
    const float down = count(a.down, j), l1 = a.l1 * down, l2 = a.l2 * down * down;
    bool goes_on = mine < a.count;
    float h[KP];
    load(h, a.h + (size_t)j * a.stride + at.first);
    for (u32 step = 0; step < max(a.steps, 1u); step++) {
      if (!any_of_block(goes_on, &any)) break;
      float pull[KP], push[KP];
      const double logs = sums_of_cell<true>(a, at, tiles, first, h, pull);
      load(push, a.shared + at.first);
      if (a.measures && step == 0) {
        const float ambient = a.rates.ambient ? a.rates.ambient[j] * a.ambient_sum : 0.0f;
        const double divergence = (double)dot(push, h, a.lanes) + ambient + logs, cost = penalty(h, l1, l2, a.lanes);
        // Of the lanes that share a cell one counts.
        if (mine < a.count && at.first == 0) {
          const double times = count(a.rates.cell_weight, j);
          measured.divergence += times * not_negative(divergence);
          measured.penalty += times * cost;
        }
      }
      if (a.steps == 0) break;
      float old[KP];
#pragma unroll
      for (u32 f = 0; f < KP; f++) {
        old[f] = h[f];
        if (goes_on) h[f] = counts_step(h[f], pull[f], push[f] + l1 + a.rates.guard, l2, a.floor);
      }
      const bool still = is_still(old, h, a.tolerance, a.lanes);
      goes_on = goes_on && !still;
    }
    if (a.steps > 0 && mine < a.count) store(a.h_next + (size_t)j * a.stride + at.first, h);
  }
  if (a.measures) {
    measured.divergence = over_warp(measured.divergence);
    measured.penalty = over_warp(measured.penalty);
    add_measured(a.sums, measured, at);
  }
}

// Numerators of W: neighbouring threads have a feature, and a block's threads look at the same cells.
template <bool IS_POISSON> static __device__ __forceinline__ void feature_tiles(const FeatureSums &a) {
  alignas(16) __shared__ SharedCells cells;
  const Lane at = stand(a.lanes);
  const u32 abreast = THREADS / a.lanes, part = blockIdx.y;
  const u32 mine = blockIdx.x * abreast + threadIdx.x / a.lanes, i = min(mine, a.count - 1);
  const Range all = even_part(a.cells, part, a.parts);
  const float profile = a.rates.ambient ? a.rates.profile[i] : 0.0f;
  float w[KP], sums[KP];
  load(w, a.w + (size_t)i * a.stride + at.first);
  clear(sums);
#pragma unroll 1
  for (u32 base = all.from; base < all.to; base += TILE) {
    const u32 number = share_cells(cells, a.rates, a.h, base, all.to, a.stride);
#pragma unroll 1
    for (u32 c = 0; c < number; c++) {
      float x = a.dense[(size_t)(base + c) * a.count + i];
      float row[KP];
      load(row, cells.h + c * a.stride + at.first);
      if (IS_POISSON) x = ratio(x, dot(w, row, a.lanes) + profile * cells.ambient[c], a.rates.guard);
      add_scaled(sums, cells.weight[c] * x, row);
    }
  }
  if (mine < a.count) add_vector(a.numerator + ((size_t)part * a.count + i) * a.stride + at.first, sums);
}

KERNEL(NAMED(feature_tiles_mse), FeatureSums) { feature_tiles<false>(a); }
KERNEL(NAMED(feature_tiles_poisson), FeatureSums) { feature_tiles<true>(a); }

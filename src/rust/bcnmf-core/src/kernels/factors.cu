// Poisson counts and squared errors: see `loss/poisson.rs` and `loss/mse.rs`.
#include "vectors.cuh"

KERNEL(NAMED(cell_step_poisson), CellStep) {
  const Lane at = stand(a.lanes);
  Measured measured = {0.0, 0.0};
  for (u32 j = blockIdx.x * WARPS + at.warp; j < a.count; j += gridDim.x * WARPS) {
    const u32 start = a.cells.start[j], end = a.cells.start[j + 1];
    const float down = count(a.down, j), l1 = a.l1 * down, l2 = a.l2 * down * down;
    float h[KP];
    load(h, a.h + (size_t)j * a.stride + at.first);
    for (u32 step = 0; step < max(a.steps, 1u); step++) {
      const bool measures = a.measures && step == 0;
      float pull[KP], logs = 0.0f;
      clear(pull);
#pragma unroll 1
      for (u32 base = start; base < end; base += FEW * at.groups) {
        Few few;
        fetch(few, a.cells, base + at.group, at.groups, end, a.w, a.stride, at.first);
        take_rates(few, h, at.lanes);
#pragma unroll
        for (u32 n = 0; n < FEW; n++) {
          const u32 i = few.index[n];
          const float x = few.value[n], times = count(a.rates.feature_weight, i);
          const float r = ratio(x, few.rate[n] + ambient_rate(a.rates, i, j), a.rates.guard);
          if (measures) logs = fmaf(times, deviance(x, r), logs);
          add_scaled(pull, times * r, few.row[n]);
        }
      }
      over_groups(pull, at.lanes);
      float push[KP];
      load(push, a.shared + at.first);
      if (measures) {
        const float times = count(a.rates.cell_weight, j);
        const float ambient = a.rates.ambient ? a.rates.ambient[j] * a.ambient_sum : 0.0f;
        const float rates = dot(push, h, at.lanes) + ambient;
        // Each entry was seen by all lanes of its group.
        const double divergence = rates + over_warp((double)logs) / at.lanes;
        measured.divergence += times * not_negative(divergence);
        measured.penalty += times * penalty(h, l1, l2, at.lanes);
      }
      if (a.steps == 0) break;
      float old[KP];
#pragma unroll
      for (u32 f = 0; f < KP; f++) {
        old[f] = h[f];
        h[f] = counts_step(h[f], pull[f], push[f] + l1 + a.rates.guard, l2, a.floor);
      }
      if (is_still(old, h, a.tolerance, at.lanes)) break;
    }
    if (a.steps > 0 && at.group == 0) store(a.h_next + (size_t)j * a.stride + at.first, h);
  }
  if (a.measures) add_measured(a.sums, measured, at);
}

// Squared errors. Steps are taken on vectors whose factors lie side by side in the warp: factor f is in slot f / 32 of lane f % 32.
#define SLOTS (MOST_FACTORS / 32)

// ‖x − W h‖² entry by entry, for cells that are fitted almost exactly.
static __device__ __forceinline__ double residual_squares(const CellStep &a, const Lane &at, const float *h, u32 j) {
  const u32 start = a.dense ? 0 : a.cells.start[j], end = a.dense ? 0 : a.cells.start[j + 1];
  double sum = 0.0;
#pragma unroll 1
  for (u32 base = 0; base < a.features; base += at.groups) {
    const u32 i = min(base + at.group, a.features - 1);
    float row[KP];
    load(row, a.w + (size_t)i * a.stride + at.first);
    const double x = a.dense ? a.dense[(size_t)j * a.features + i] : 0.0f, error = x - dot(row, h, at.lanes);
    if (base + at.group < a.features) sum += count(a.rates.feature_weight, i) * error * error;
  }
#pragma unroll 1
  for (u32 base = start; base < end; base += at.groups) {
    const u32 e = min(base + at.group, end - 1), i = a.cells.index[e];
    float row[KP];
    load(row, a.w + (size_t)i * a.stride + at.first);
    const double fit = dot(row, h, at.lanes), error = a.cells.value[e] - fit;
    // The same fit as above, so that what was added there for a zero goes to the last digit.
    if (base + at.group < end) sum += count(a.rates.feature_weight, i) * (error * error - fit * fit);
  }
  return over_warp(sum) / at.lanes;
}

KERNEL(NAMED(cell_step_mse), CellStep) {
  alignas(16) __shared__ float room[WARPS][2][MOST_FACTORS];
  const Lane at = stand(a.lanes);
  Measured measured = {0.0, 0.0};
  float *wx_room = room[at.warp][0], *h_room = room[at.warp][1];
  for (u32 j = blockIdx.x * WARPS + at.warp; j < a.count; j += gridDim.x * WARPS) {
    const float down = count(a.down, j), l1 = a.l1 * down, l2 = a.l2 * down * down;
    float own[KP], pull[KP];
    double squares;
    load(own, a.h + (size_t)j * a.stride + at.first);
    if (a.dense) {
      load(pull, a.pull + (size_t)j * a.stride + at.first);
      squares = a.squares[j];
    } else {
      const u32 start = a.cells.start[j], end = a.cells.start[j + 1];
      float sum = 0.0f;
      clear(pull);
#pragma unroll 1
      for (u32 base = start; base < end; base += FEW * at.groups) {
        Few few;
        fetch(few, a.cells, base + at.group, at.groups, end, a.w, a.stride, at.first);
#pragma unroll
        for (u32 n = 0; n < FEW; n++) {
          const float x = few.value[n], weighted = count(a.rates.feature_weight, few.index[n]) * x;
          add_scaled(pull, weighted, few.row[n]);
          sum = fmaf(weighted, x, sum);
        }
      }
      over_groups(pull, at.lanes);
      squares = over_warp((double)sum) / at.lanes;
    }
    // Now all lanes are done with what the last cell has left there.
    __syncwarp();
    if (at.group == 0) {
      store(wx_room + at.first, pull);
      store(h_room + at.first, own);
    }
    __syncwarp();
    float wx[SLOTS], h[SLOTS], gh[SLOTS];
#pragma unroll
    for (u32 s = 0; s < SLOTS; s++) {
      const u32 f = 32 * s + at.lane;
      const bool in = f < a.stride;
      wx[s] = in ? wx_room[f] : 0.0f;
      h[s] = in ? h_room[f] : 0.0f;
    }
#pragma unroll
    for (u32 s = 0; s < SLOTS; s++) {
      const u32 f = 32 * s + at.lane;
      gh[s] = 0.0f;
      if (f < a.stride) {
#pragma unroll 1
        for (u32 k = 0; k < a.k; k++) gh[s] = fmaf(a.shared[k * a.stride + f], h_room[k], gh[s]);
      }
    }
    if (a.measures) {
      double fit = 0.0, product = 0.0, cost = 0.0;
#pragma unroll
      for (u32 s = 0; s < SLOTS; s++) {
        fit += (double)gh[s] * h[s];
        product += (double)wx[s] * h[s];
        cost += (l1 + 0.5 * l2 * h[s]) * h[s];
      }
      double errors = squares - 2.0 * over_warp(product) + over_warp(fit);
      // Subtraction has lost half of the digits: look at the residuals themselves.
      if (errors < squares * ROUNDING) errors = residual_squares(a, at, own, j);
      const double times = count(a.rates.cell_weight, j);
      measured.divergence += times * not_negative(errors);
      measured.penalty += times * over_warp(cost);
    }
    if (a.steps == 1) {
#pragma unroll
      for (u32 s = 0; s < SLOTS; s++) {
        h[s] = squares_step(h[s], wx[s], gh[s] + l1 + a.rates.guard, l2, a.floor);
      }
    }
    if (a.steps > 1) {
      float gradient[SLOTS];
#pragma unroll
      for (u32 s = 0; s < SLOTS; s++) gradient[s] = gh[s] - wx[s] + l1 + l2 * h[s];
      const float floor = fmaxf(a.floor, FLOOR);
      for (u32 step = 0; step < a.steps; step++) {
        float largest = 0.0f, change = 0.0f;
#pragma unroll
        for (u32 slot = 0; slot < SLOTS; slot++) {
#pragma unroll 1
          for (u32 lane = 0; 32 * slot + lane < min(a.k, 32 * slot + 32); lane++) {
            const u32 k = 32 * slot + lane;
            const float old = __shfl_sync(ALL, h[slot], lane);
            if (!(old > 0.0f)) continue;
            const float *gram = a.shared + (size_t)k * a.stride;
            const float slope = __shfl_sync(ALL, gradient[slot], lane), up = __shfl_sync(ALL, wx[slot], lane);
            const float best = old - slope / (gram[k] + l2 + a.rates.guard);
            const float value = floored(above_rounding(best, old, ROUNDING), old, up, floor), by = value - old;
            if (by != 0.0f) {
#pragma unroll
              for (u32 s = 0; s < SLOTS; s++) {
                const u32 f = 32 * s + at.lane;
                if (f < a.stride) gradient[s] = fmaf(by, gram[f], gradient[s]);
              }
              if (at.lane == lane) {
                gradient[slot] += l2 * by;
                h[slot] = value;
              }
            }
            change = fmaxf(change, fabsf(by));
            largest = fmaxf(largest, value);
          }
        }
        if (change <= a.tolerance * largest) break;
      }
    }
    if (a.steps > 0) {
#pragma unroll
      for (u32 s = 0; s < SLOTS; s++) {
        const u32 f = 32 * s + at.lane;
        if (f < a.stride) a.h_next[(size_t)j * a.stride + f] = h[s];
      }
    }
  }
  if (a.measures) add_measured(a.sums, measured, at);
}

template <bool IS_POISSON> static __device__ __forceinline__ void feature_sums(const FeatureSums &a) {
  alignas(16) __shared__ float warps[WARPS][MOST_FACTORS];
  const Lane at = stand(a.lanes);
  const u32 i = blockIdx.x, part = blockIdx.y;
  const Range entries = part_of(a, i, part);
  if (entries.from == entries.to) return;
  float w[KP], sums[KP];
  load(w, a.w + (size_t)i * a.stride + at.first);
  clear(sums);
#pragma unroll 1
  for (u32 base = entries.from; base < entries.to; base += FEW * WARPS * at.groups) {
    Few few;
    fetch(few, a.features, base + at.warp * at.groups + at.group, WARPS * at.groups, entries.to, a.h, a.stride, at.first);
    if (IS_POISSON) take_rates(few, w, at.lanes);
#pragma unroll
    for (u32 n = 0; n < FEW; n++) {
      const u32 j = few.index[n];
      float x = few.value[n];
      if (IS_POISSON) x = ratio(x, few.rate[n] + ambient_rate(a.rates, i, j), a.rates.guard);
      add_scaled(sums, x * count(a.rates.cell_weight, j), few.row[n]);
    }
  }
  over_groups(sums, at.lanes);
  add_block(a.numerator + ((size_t)part * a.count + i) * a.stride, sums, warps, a.stride, at);
}

KERNEL(NAMED(feature_sums_mse), FeatureSums) { feature_sums<false>(a); }
KERNEL(NAMED(feature_sums_poisson), FeatureSums) { feature_sums<true>(a); }

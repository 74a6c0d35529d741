// Negative binomial counts, of which some may be lost (zinb): see `loss/nb.rs` and `loss/zinb.rs`.
#include "vectors.cuh"
#include "zeros.cuh"

// Where coefficients end that nothing pushes down.
#define CEILING 1e9f
#define PRIOR 1.0
#define NEARLY_ALL 1e-9

// What an entry has for a step.
struct Quotients {
  float pull;     // x / λ
  float push;     // (x + (1 − u) r)/(λ + r): the zero that it is not was counted with u
  float over;     // (x / λ)(1 + λ/r)
  float lost;     // 1 − u
  float surprise; // −log u
};

static __device__ __forceinline__ Quotients quotients(const Rates &a, float x, float rate, float size, u32 i, u32 j) {
  Quotients q = {ratio(x, rate, a.guard), 0.0f, 0.0f, 0.0f, 0.0f};
  q.over = q.pull * (1.0f + rate / size);
  float counts = x;
  if (loses(a) && x > 0.0f && size < ENDLESS) {
    const Zero z = zero(log_odds(a, i, j), size * a.unit * log1pf(rate / size));
    counts += z.lost * size;
    q.lost = z.lost;
    q.surprise = z.surprise / a.unit;
  }
  q.push = ratio(counts, rate + size, a.guard);
  return q;
}

// One H step of each cell, after what zeros have was taken for all of them.
KERNEL(NAMED(cell_step_nb), CellStep) {
  const Lane at = stand(a.lanes);
  Measured measured = {0.0, 0.0};
  for (u32 j = blockIdx.x * WARPS + at.warp; j < a.count; j += gridDim.x * WARPS) {
    if (a.again && !a.moves[j]) continue;
    const u32 start = a.cells.start[j], end = a.cells.start[j + 1];
    const float down = count(a.down, j), l1 = a.l1 * down, l2 = a.l2 * down * down;
    float h[KP], pull[KP], push[KP], logs = 0.0f, lost = 0.0f;
    load(h, a.h + (size_t)j * a.stride + at.first);
    clear(pull);
    clear(push);
#pragma unroll 1
    for (u32 base = start; base < end; base += at.groups) {
      const u32 e = base + at.group, there = min(e, end - 1), i = a.cells.index[there];
      const float x = e < end ? a.cells.value[there] : 0.0f;
      const float times = count(a.rates.feature_weight, i), size = a.rates.size[i];
      float row[KP];
      load(row, a.w + (size_t)i * a.stride + at.first);
      const float rate = dot(row, h, at.lanes) + ambient_rate(a.rates, i, j);
      const Quotients q = quotients(a.rates, x, rate, size, i, j);
      add_scaled(pull, times * q.pull, row);
      add_scaled(push, times * q.push, row);
      lost = fmaf(times, q.lost, lost);
      if (a.measures) logs = fmaf(times, deviance(x, q.over) + q.surprise, logs);
    }
    over_groups(pull, at.lanes);
    over_groups(push, at.lanes);
    float sums[KP];
    load(sums, a.shared + at.first);
    const float times = count(a.rates.cell_weight, j);
    if (a.measures) {
      const float ambient = a.rates.ambient ? a.rates.ambient[j] * a.ambient_sum : 0.0f;
      measured.divergence += times * (dot(sums, h, at.lanes) + ambient + over_warp((double)logs) / at.lanes);
      measured.penalty += times * penalty(h, l1, l2, at.lanes);
      if (a.rates.cell_odds) measured.penalty += times * a.prior * log_kept(a.rates.cell_odds[j]);
    }
    if (a.steps == 0) continue;
#pragma unroll 1
    for (u32 part = 0; part < a.parts; part++) {
      float zeros[KP];
      load(zeros, a.zeros + ((size_t)part * a.count + j) * a.stride + at.first);
      add_scaled(push, 1.0f, zeros);
    }
    float old[KP];
#pragma unroll
    for (u32 f = 0; f < KP; f++) {
      old[f] = h[f];
      h[f] = counts_step(h[f], pull[f], sums[f] + push[f] + l1 + a.rates.guard, l2, a.floor);
      // NaN stays.
      if (loses(a.rates) && h[f] > CEILING) h[f] = CEILING;
    }
    const bool still = is_still(old, h, a.tolerance, at.lanes);
    if (at.group == 0) store(a.h_next + (size_t)j * a.stride + at.first, h);
    const double of_counts = over_warp((double)lost) / at.lanes;
    if (at.lane == 0) {
      a.moves[j] = !still;
      if (a.odds_next) {
        double all = -of_counts;
#pragma unroll 1
        for (u32 part = 0; part < a.parts; part++) all += a.lost[(size_t)part * a.count + j];
        all = not_negative(all);
        const double kept = fmax(a.entries + PRIOR - all, NEARLY_ALL * a.entries);
        a.odds_next[j] = a.moves_odds ? (float)log(all / kept) : a.rates.cell_odds[j];
      }
    }
  }
  if (a.measures) add_measured(a.sums, measured, at);
}

// For H steps: neighbouring threads have a cell, and a block's threads look at the same features.
KERNEL(NAMED(cell_zeros), Zeros) {
  alignas(16) __shared__ float rows[TILE * MOST_FACTORS];
  __shared__ float size[TILE], weight[TILE], profile[TILE];
  __shared__ u32 feature[TILE];
  __shared__ u32 any;
  const Lane at = stand(a.lanes);
  const u32 abreast = THREADS / a.lanes, part = blockIdx.y;
  const Range all = even_part(a.features, part, a.parts);
  Measured measured = {0.0, 0.0};
  for (u32 first = blockIdx.x * abreast; first < a.cells; first += gridDim.x * abreast) {
    const u32 mine = first + threadIdx.x / a.lanes, j = min(mine, a.cells - 1);
    if (!any_of_block(!a.moves || a.moves[j], &any)) continue;
    float h[KP], sums[KP], divergence = 0.0f, lost = 0.0f;
    load(h, a.h + (size_t)j * a.stride + at.first);
    clear(sums);
    const float ambient = a.rates.ambient ? a.rates.ambient[j] : 0.0f;
    for (u32 base = all.from; base < all.to; base += TILE) {
      const u32 number = min((u32)TILE, all.to - base);
      __syncthreads();
      share_rows(rows, a.w + (size_t)base * a.stride, number, a.stride);
      if (threadIdx.x < number) {
        const u32 i = a.dispersed[base + threadIdx.x];
        feature[threadIdx.x] = i;
        size[threadIdx.x] = a.rates.size[i];
        weight[threadIdx.x] = count(a.rates.feature_weight, i);
        profile[threadIdx.x] = a.rates.ambient ? a.rates.profile[i] : 0.0f;
      }
      __syncthreads();
      float measures = 0.0f;
#pragma unroll 1
      for (u32 r = 0; r < number; r++) {
        float row[KP];
        load(row, rows + r * a.stride + at.first);
        const float rate = dot(row, h, a.lanes) + profile[r] * ambient, s = size[r];
        float share = weight[r] * s / (rate + s);
        if (loses(a.rates)) {
          const float odds = log_odds(a.rates, feature[r], j), loss = s * a.rates.unit * log1pf(rate / s);
          const Zero z = zero(odds, loss);
          share *= z.counted;
          lost = fmaf(weight[r], z.lost, lost);
          if (a.measures) measures += weight[r] * loss_of_zero(odds, log_kept(odds), loss) / a.rates.unit;
        } else if (a.measures) {
          measures += weight[r] * s * log1pf(rate / s);
        }
        add_scaled(sums, share, row);
      }
      divergence += measures;
    }
    if (mine < a.cells) {
      store(a.shares + ((size_t)part * a.cells + j) * a.stride + at.first, sums);
      if (a.lost && at.first == 0) a.lost[(size_t)part * a.cells + j] = lost;
      // Of the lanes that share a cell one counts.
      if (at.first == 0) measured.divergence += count(a.rates.cell_weight, j) * divergence;
    }
  }
  if (a.measures) {
    measured.divergence = over_warp(measured.divergence);
    add_measured(a.sums + 3 * (size_t)gridDim.x * blockIdx.y, measured, at);
  }
}

// For W steps: neighbouring threads have a feature, and a block's threads look at the same cells.
KERNEL(NAMED(feature_zeros), Zeros) {
  alignas(16) __shared__ SharedCells cells;
  const Lane at = stand(a.lanes);
  const u32 abreast = THREADS / a.lanes, part = blockIdx.y;
  const u32 mine = blockIdx.x * abreast + threadIdx.x / a.lanes, r = min(mine, a.features - 1), i = a.dispersed[r];
  const Range all = even_part(a.cells, part, a.parts);
  float w[KP], sums[KP];
  load(w, a.w + (size_t)r * a.stride + at.first);
  clear(sums);
  const float size = a.rates.size[i], profile = a.rates.ambient ? a.rates.profile[i] : 0.0f;
  double slope = 0.0, curvature = 0.0, lost = 0.0, unsure = 0.0, mixed = 0.0, square = 0.0, seen = 0.0;
  for (u32 base = all.from; base < all.to; base += TILE) {
    const u32 number = share_cells(cells, a.rates, a.h, base, all.to, a.stride);
#pragma unroll 1
    for (u32 c = 0; c < number; c++) {
      float row[KP];
      load(row, cells.h + c * a.stride + at.first);
      const float rate = dot(w, row, a.lanes) + profile * cells.ambient[c], times = cells.weight[c];
      Zero z = {1.0f, 0.0f, 0.0f};
      if (loses(a.rates)) z = zero(log_odds(a.rates, i, base + c), size * a.rates.unit * log1pf(rate / size));
      add_scaled(sums, times * z.counted * size / (rate + size), row);
      if (a.slopes) {
        const double t = (double)rate / size, ratio = t / (1.0 + t), first = zero_slope(t);
        const double kept = (double)times * z.counted, gone = (double)times * z.lost, open = kept * z.lost;
        slope += kept * first;
        curvature += kept * (first + ratio * ratio);
        lost += gone;
        unsure += open;
        mixed += open * first;
        square += open * first * first;
        seen += times;
      }
    }
  }
  if (mine >= a.features) return;
  add_vector(a.shares + ((size_t)part * a.all + i) * a.stride + at.first, sums);
  if (a.slopes && at.first == 0) {
    double *to = a.slopes + SLOPES * ((size_t)part * a.all + i);
    const double real = (double)size * a.rates.unit;
    to[0] += real * slope;
    to[1] += real * (curvature + real * square);
    to[2] += lost;
    to[3] += unsure;
    to[4] -= real * mixed;
    to[5] += seen;
  }
}

KERNEL(NAMED(feature_sums_nb), FeatureSums) {
  alignas(16) __shared__ float warps[WARPS][MOST_FACTORS];
  const Lane at = stand(a.lanes);
  const u32 i = blockIdx.x, part = blockIdx.y;
  const Range entries = part_of(a, i, part);
  if (entries.from == entries.to) return;
  const float size = a.rates.size[i];
  float w[KP], pull[KP], push[KP];
  load(w, a.w + (size_t)i * a.stride + at.first);
  clear(pull);
  clear(push);
#pragma unroll 1
  for (u32 base = entries.from; base < entries.to; base += WARPS * at.groups) {
    const u32 e = base + at.warp * at.groups + at.group, there = min(e, entries.to - 1), j = a.features.index[there];
    const float x = e < entries.to ? a.features.value[there] : 0.0f, times = count(a.rates.cell_weight, j);
    float row[KP];
    load(row, a.h + (size_t)j * a.stride + at.first);
    const float rate = dot(w, row, at.lanes) + ambient_rate(a.rates, i, j);
    const Quotients q = quotients(a.rates, x, rate, size, i, j);
    add_scaled(pull, times * q.pull, row);
    add_scaled(push, times * q.push, row);
  }
  over_groups(pull, at.lanes);
  add_block(a.numerator + ((size_t)part * a.count + i) * a.stride, pull, warps, a.stride, at);
  // Others share their denominators.
  if (!(size < ENDLESS)) return;
  over_groups(push, at.lanes);
  add_block(a.own + ((size_t)part * a.count + i) * a.stride, push, warps, a.stride, at);
}

// What sizes and odds of dropout of negative binomial counts need of the entries, for any number of factors. In double: it is not
// needed in every sweep. See `loss/nb.rs` and `loss/rising.rs`.
#define THREADS 256
#include "zeros.cuh"

#define FEW 24.0
#define FAR 10.0
// Sums that entries have: all but their number.
#define OF_ENTRIES (SLOPES - 1)

static __device__ __attribute__((noinline)) double digamma(double z, double *second) {
  double first = 0.0;
  *second = 0.0;
#pragma unroll 1
  for (; z < FAR; z += 1.0) {
    first -= 1.0 / z;
    *second += 1.0 / (z * z);
  }
  const double q = 1.0 / (z * z);
  first += log(z) - 0.5 / z - q * (1.0 / 12 - q * (1.0 / 120 - q * (1.0 / 252 - q / 240)));
  *second += 1.0 / z + 0.5 * q + q * (1.0 / 6 - q * (1.0 / 30 - q * (1.0 / 42 - q / 30))) / z;
  return first;
}

static __device__ __forceinline__ bool is_few(double x) { return x <= FEW && x == floor(x); }

// r ψ(r + x) − r ψ(r) and r² ψ′(r + x) − r² ψ′(r)
static __device__ __attribute__((noinline)) void rising_slopes(double x, double size, double *first, double *second) {
  *first = *second = 0.0;
  if (is_few(x)) {
#pragma unroll 1
    for (double m = 0.0; m < x; m += 1.0) {
      const double part = size / (size + m);
      *first += part;
      *second -= part * part;
    }
    return;
  }
  double far, near;
  *first = size * (digamma(size + x, &far) - digamma(size, &near));
  *second = size * size * (far - near);
}

static __device__ __attribute__((noinline)) double log_gamma(double z) {
  double below = 1.0;
#pragma unroll 1
  for (; z < FAR; z += 1.0) below *= z;
  const double q = 1.0 / (z * z);
  const double series = (1.0 / 12 - q * (1.0 / 360 - q * (1.0 / 1260 - q / 1680))) / z;
  return (z - 0.5) * log(z) - z + 0.9189385332046727 + series - log(below);
}

// log Γ(r + x) − log Γ(r) − x log r
static __device__ __attribute__((noinline)) double excess(double x, double size) {
  if (!is_few(x)) return log_gamma(size + x) - log_gamma(size) - x * log(size);
  double product = 1.0;
#pragma unroll 1
  for (double m = 1.0; m < x; m += 1.0) product *= 1.0 + m / size;
  return log(product);
}

// What an entry has for the slopes by the logarithms of size and odds, beyond what a zero in its place would.
static __device__ __forceinline__ void add_slopes(const Rates &a, double *slopes, float x, float rate, float size, u32 i, u32 j) {
  const double counts = (double)x * a.unit, real = (double)size * a.unit, t = (double)rate / size, part = t / (1.0 + t);
  const double times = count(a.cell_weight, j);
  double first, second;
  rising_slopes(counts, real, &first, &second);
  double slope = first - counts + counts * part;
  double curvature = first + second - counts * t / ((1.0 + t) * (1.0 + t));
  if (loses(a)) {
    const float odds = log_odds(a, i, j);
    if (odds > -ENDLESS) {
      const Zero z = zero(odds, real * log1p(t));
      const double by = real * zero_slope(t), unsure = (double)z.counted * z.lost;
      slope += z.lost * by;
      curvature += z.lost * (by + real * part * part) - unsure * by * by;
      slopes[2] -= times * z.lost;
      slopes[3] -= times * unsure;
      slopes[4] += times * unsure * by;
    }
  }
  slopes[0] += times * slope;
  slopes[1] += times * curvature;
}

// The sum of a block's numbers in its first thread, in a fixed order.
static __device__ __forceinline__ double over_block(double x, double *room) {
  __syncthreads();
  room[threadIdx.x] = x;
  __syncthreads();
  for (u32 half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    __syncthreads();
  }
  return room[0];
}

// One block has a feature's entries, or a part of them.
KERNEL(entry_slopes, FeatureSums) {
  __shared__ float w[MOST_FACTORS];
  __shared__ double room[THREADS];
  const u32 i = blockIdx.x, part = blockIdx.y;
  const Range entries = part_of(a, i, part);
  const float size = a.rates.size[i];
  if (entries.from == entries.to || !(size < ENDLESS)) return;
  if (threadIdx.x < a.stride) w[threadIdx.x] = a.w[(size_t)i * a.stride + threadIdx.x];
  __syncthreads();
  double slopes[OF_ENTRIES] = {0.0, 0.0, 0.0, 0.0, 0.0};
  for (u32 e = entries.from + threadIdx.x; e < entries.to; e += THREADS) {
    const u32 j = a.features.index[e];
    const float *h = a.h + (size_t)j * a.stride;
    float rate = 0.0f;
    for (u32 f = 0; f < a.stride; f++) rate = fmaf(w[f], h[f], rate);
    add_slopes(a.rates, slopes, a.features.value[e], rate + ambient_rate(a.rates, i, j), size, i, j);
  }
#pragma unroll
  for (u32 n = 0; n < OF_ENTRIES; n++) {
    const double sum = over_block(slopes[n], room);
    if (threadIdx.x == 0) a.slopes[SLOPES * ((size_t)part * a.count + i) + n] += sum;
  }
}

// The part of the divergence that hangs on data and sizes alone, to the third of a block's sums. Blocks have cells in turn.
KERNEL(entry_excess, CellStep) {
  __shared__ double room[THREADS];
  double sum = 0.0;
  for (u32 j = blockIdx.x; j < a.count; j += gridDim.x) {
    const double times = count(a.rates.cell_weight, j);
    for (u32 e = a.cells.start[j] + threadIdx.x; e < a.cells.start[j + 1]; e += THREADS) {
      const u32 i = a.cells.index[e];
      const double x = (double)a.cells.value[e] * a.rates.unit, size = (double)a.rates.size[i] * a.rates.unit;
      if (a.rates.size[i] < ENDLESS) sum += times * count(a.rates.feature_weight, i) * excess(x, size) / a.rates.unit;
    }
  }
  sum = over_block(sum, room);
  if (threadIdx.x == 0) a.sums[3 * blockIdx.x + 2] += sum;
}

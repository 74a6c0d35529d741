// What a device can do at most: read its memory, multiply and add. src/roofs.rs runs these.

#define THREADS 256
#ifndef KERNEL
#define KERNEL(name, Args) extern "C" __global__ void __launch_bounds__(THREADS) name(const Args a)
#endif

struct Read {
  const float4 *from;
  float *sums;  // one a thread
  size_t count; // of float4
};

static __device__ __forceinline__ void add(float4 &sum, const float4 four) {
  sum.x += four.x;
  sum.y += four.y;
  sum.z += four.z;
  sum.w += four.w;
}

// All threads read the buffer once, side by side, each with several loads under way. The sums keep the compiler from
// leaving loads out.
#define LOADS 8

KERNEL(read_all, Read) {
  const size_t thread = (size_t)blockIdx.x * THREADS + threadIdx.x, threads = (size_t)gridDim.x * THREADS;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  size_t at = thread;
  for (; at + (LOADS - 1) * threads < a.count; at += LOADS * threads) {
    float4 loaded[LOADS];
#pragma unroll
    for (int l = 0; l < LOADS; l++) loaded[l] = a.from[at + l * threads];
#pragma unroll
    for (int l = 0; l < LOADS; l++) add(sum, loaded[l]);
  }
  for (; at < a.count; at += threads) add(sum, a.from[at]);
  a.sums[thread] = sum.x + sum.y + sum.z + sum.w;
}

struct MultiplyAdd {
  float *sums; // one a thread
  float factor;
  float addend;
  unsigned int rounds;
};

// Chains are independent of each other, so that a thread need not wait for its own last result; src/roofs.rs counts them too.
#define CHAINS 16
#define STEPS 16

KERNEL(multiply_add, MultiplyAdd) {
  float chain[CHAINS];
#pragma unroll
  for (int c = 0; c < CHAINS; c++) chain[c] = (float)(threadIdx.x + c);
  for (unsigned int round = 0; round < a.rounds; round++) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
#pragma unroll
      for (int c = 0; c < CHAINS; c++) chain[c] = fmaf(chain[c], a.factor, a.addend);
    }
  }
  float sum = 0.0f;
#pragma unroll
  for (int c = 0; c < CHAINS; c++) sum += chain[c];
  a.sums[(size_t)blockIdx.x * THREADS + threadIdx.x] = sum;
}

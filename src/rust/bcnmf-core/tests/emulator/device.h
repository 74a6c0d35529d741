// What the kernels' sources need so that g++ compiles them for the CPU: build.sh includes this before each of them.
// What threads do together (barriers, shuffles) is in driver.cpp, which runs each thread as a fiber.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

#define EMULATED 1

#define __device__ __attribute__((unused)) // helpers in a header are not used by every kernel's source
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
    unsigned x, y, z;
};

// The thread that runs now; the scheduler sets them whenever it goes on with another one.
extern uint3 threadIdx, blockIdx, blockDim, gridDim;

constexpr int warpSize = 32;

#define EMULATED_VECTOR2(Vector, T)                                                                                    \
    struct alignas(2 * sizeof(T)) Vector {                                                                             \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    inline Vector make_##Vector(T x, T y) { return {x, y}; }
#define EMULATED_VECTOR4(Vector, T)                                                                                    \
    struct alignas(4 * sizeof(T)) Vector {                                                                             \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    inline Vector make_##Vector(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATED_VECTOR2(int2, int)
EMULATED_VECTOR2(uint2, unsigned)
EMULATED_VECTOR2(float2, float)
EMULATED_VECTOR2(double2, double)
EMULATED_VECTOR4(int4, int)
EMULATED_VECTOR4(uint4, unsigned)
EMULATED_VECTOR4(float4, float)
#undef EMULATED_VECTOR2
#undef EMULATED_VECTOR4

namespace emulated {

// The usual arithmetic conversions, which CUDA's overloads of min and max follow; integers and floating-point
// numbers don't mix there either.
template <class T, class U>
using Common = std::enable_if_t<std::is_floating_point<T>::value == std::is_floating_point<U>::value,
                                decltype(true ? T() : U())>;

// How the bits of one type are read as another.
template <class To, class From> inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "one size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// What the lanes of a warp brought to an operation that they all take part in.
struct Meeting {
    const uint64_t *values; // one for each lane; those of lanes that don't exist are all ones, not a number
    unsigned lanes;         // those that exist: a block's last warp may be short
    unsigned lane;          // the calling one
};

// Return when all lanes of the warp, or all threads of the block, have called.
Meeting meet(const char *operation, unsigned mask, uint64_t value, const char *file, int line);
void synchronise_block(const char *file, int line);

// Where the kernel's source calls, for messages: defaults of arguments are evaluated at the call.
#define EMULATED_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// The value of the lane that `source` names, or the own one if that is beyond the own group of `width` lanes.
template <class T, class Source>
inline T shuffle(const char *operation, unsigned mask, T value, int width, Source source, const char *file, int line) {
    static_assert(std::is_arithmetic<T>::value && sizeof(T) <= sizeof(uint64_t), "no such shuffle in CUDA");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    const Meeting met = meet(operation, mask, bits, file, line);
    const unsigned first = met.lane & ~(width - 1u), last = met.lane | (width - 1u);
    const unsigned from = source(met.lane, first);
    memcpy(&value, &met.values[from > last ? met.lane : from], sizeof value);
    return value;
}

struct Votes {
    unsigned lanes, set; // those that exist; those that said yes
};

inline Votes vote(const char *operation, unsigned mask, int predicate, const char *file, int line) {
    const Meeting met = meet(operation, mask, predicate != 0, file, line);
    Votes votes = {met.lanes, 0};
    for (unsigned lane = 0; lane < 32; ++lane)
        votes.set |= unsigned(met.values[lane] & 1) << lane;
    votes.set &= met.lanes;
    return votes;
}

// Makes a kernel known by the name that its PTX has too: what runs one thread, and the shared memory of its source.
struct Registration {
    Registration(const char *name, void (*run)(const void *args), unsigned char *shared, unsigned char *shared_end);
};

} // namespace emulated

template <class T, class U> inline emulated::Common<T, U> min(T a, U b) {
    using C = emulated::Common<T, U>;
    if constexpr (std::is_floating_point<C>::value)
        return fmin(C(a), C(b));
    else
        return C(a) < C(b) ? C(a) : C(b);
}

template <class T, class U> inline emulated::Common<T, U> max(T a, U b) {
    using C = emulated::Common<T, U>;
    if constexpr (std::is_floating_point<C>::value)
        return fmax(C(a), C(b));
    else
        return C(a) > C(b) ? C(a) : C(b);
}

inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline float __int_as_float(int a) { return emulated::bits_as<float>(a); }
inline int __float_as_int(float a) { return emulated::bits_as<int>(a); }

template <class T> inline T __ldg(const T *address) { return *address; }
template <class T> inline T __ldcs(const T *address) { return *address; }

// A thread is only ever interrupted at a barrier or at a warp's operation, never in between.
inline int atomicAdd(int *address, int value) {
    const int old = *address;
    *address = int(unsigned(old) + unsigned(value));
    return old;
}
inline unsigned atomicAdd(unsigned *address, unsigned value) {
    const unsigned old = *address;
    *address = old + value;
    return old;
}

inline void __syncthreads(EMULATED_HERE) { emulated::synchronise_block(file, line); }

inline void __syncwarp(unsigned mask = 0xffffffff, EMULATED_HERE) {
    emulated::meet("__syncwarp", mask, 0, file, line);
}

template <class T> inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATED_HERE) {
    return emulated::shuffle(
        "__shfl_sync", mask, value, width,
        [=](unsigned, unsigned first) { return first | (unsigned(source) & (width - 1u)); }, file, line);
}

template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, EMULATED_HERE) {
    return emulated::shuffle(
        "__shfl_xor_sync", mask, value, width, [=](unsigned lane, unsigned) { return lane ^ unsigned(other); }, file,
        line);
}

template <class T> inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_HERE) {
    return emulated::shuffle(
        "__shfl_down_sync", mask, value, width, [=](unsigned lane, unsigned) { return lane + delta; }, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATED_HERE) {
    return emulated::vote("__ballot_sync", mask, predicate, file, line).set;
}
inline int __all_sync(unsigned mask, int predicate, EMULATED_HERE) {
    const emulated::Votes votes = emulated::vote("__all_sync", mask, predicate, file, line);
    return votes.set == votes.lanes;
}
inline int __any_sync(unsigned mask, int predicate, EMULATED_HERE) {
    return emulated::vote("__any_sync", mask, predicate, file, line).set != 0;
}

#ifdef EMULATED_UNIT // a kernels' source rather than driver.cpp

#define EMULATED_JOIN_(a, b) a##b
#define EMULATED_JOIN(a, b) EMULATED_JOIN_(a, b)

// All that a source leaves without an initial value, which is its shared memory, is in one section: see build.sh. The
// linker names its bounds.
#define __shared__ static
#define EMULATED_SHARED EMULATED_JOIN(__start_shared_, EMULATED_UNIT)
#define EMULATED_SHARED_END EMULATED_JOIN(__stop_shared_, EMULATED_UNIT)
extern "C" __attribute__((visibility("hidden"))) unsigned char EMULATED_SHARED[], EMULATED_SHARED_END[];

// Its argument is passed by value, so that each thread has its own, of the right size. Two macros, as the name may
// itself be made by one.
#define KERNEL(name, Args) EMULATED_KERNEL(name, Args)
#define EMULATED_KERNEL(name, Args)                                                                                    \
    static void name(const Args a);                                                                                    \
    static const emulated::Registration EMULATED_JOIN(emulated_, name)(                                                \
        #name, [](const void *args) { name(*static_cast<const Args *>(args)); }, EMULATED_SHARED,                      \
        EMULATED_SHARED_END);                                                                                          \
    static void name(const Args a)

#endif

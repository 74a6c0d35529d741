// A CUDA driver without a GPU: the part of the driver's interface that cudarc calls, kernels being run on the CPU.
//
// Everything is done when it is called, so that streams and events order nothing. What a GPU leaves undefined is made
// to fail: memory starts as and, once freed, turns into what is not a number, writing beyond an allocation or waiting
// for threads that don't come ends the process. A device address is the address itself.
//
// Environment variables, read whenever they matter:
//   EMULATED_CUDA_ORDER        forward (default), reverse or shuffle: which thread and which block goes first
//   EMULATED_CUDA_MEMORY       bytes of the device (8 GiB)
//   EMULATED_CUDA_FAIL_LAUNCH  from this launch on (the process' first is 1) the device is lost, for good
//   EMULATED_CUDA_DEVICES      0: there is no device

#include "device.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

// Results, with the numbers, names and texts of CUDA's.
#define RESULTS(_)                                                                                                     \
    _(SUCCESS, 0, "CUDA_SUCCESS", "no error")                                                                          \
    _(INVALID_VALUE, 1, "CUDA_ERROR_INVALID_VALUE", "invalid argument")                                                \
    _(OUT_OF_MEMORY, 2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory")                                                   \
    _(NOT_INITIALIZED, 3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error")                                        \
    _(NO_DEVICE, 100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected")                                    \
    _(INVALID_DEVICE, 101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal")                                      \
    _(INVALID_CONTEXT, 201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context")                                    \
    _(INVALID_PTX, 218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed")                                      \
    _(INVALID_HANDLE, 400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle")                                     \
    _(NOT_FOUND, 500, "CUDA_ERROR_NOT_FOUND", "named symbol not found")                                                \
    _(CONTEXT_IS_DESTROYED, 709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed")                            \
    _(LAUNCH_FAILED, 719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure")                                    \
    _(NOT_SUPPORTED, 801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported")
#define RESULT(id, number, name, text) id = number,
enum Result : int { RESULTS(RESULT) };
#undef RESULT

[[noreturn]] void stop(const char *format, const char *about) {
    fprintf(stderr, "emulated CUDA: ");
    fprintf(stderr, format, about);
    fputc('\n', stderr);
    abort();
}

uint64_t number_from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    if (!text)
        return otherwise;
    char *end;
    const uint64_t number = strtoull(text, &end, 10);
    if (end == text || *end)
        stop("%s is not a whole number", name);
    return number;
}

// ---- Memory ----

constexpr size_t GRANULE = 512; // what CUDA aligns and rounds to
constexpr size_t GUARD = 4 * GRANULE;

// Allocations of one kind, each between two guard zones.
class Memory {
    std::map<uintptr_t, size_t> live;                   // begin and size
    std::deque<std::pair<uintptr_t, size_t>> forgotten; // freed but held back, so that nobody else gets them yet
    size_t taken = 0, held_back = 0;
    const char *kind;

    static constexpr size_t HELD_BACK = 8 << 20; // bytes

    // Not a number whether read as float or as double, and too great an index. `at` phases the pattern: allocations
    // end anywhere.
    static const unsigned char *pattern(uintptr_t at) {
        static const std::vector<uint32_t> words(PATTERN / sizeof(uint32_t) + 1, 0x7ff4dead);
        return reinterpret_cast<const unsigned char *>(words.data()) + at % sizeof(uint32_t);
    }
    static constexpr size_t PATTERN = GUARD + GRANULE; // bytes of it there are, at any phase

    static void fill(uintptr_t from, uintptr_t to) {
        while (from < to) {
            const size_t n = std::min<size_t>(to - from, PATTERN);
            memcpy(reinterpret_cast<void *>(from), pattern(from), n);
            from += n;
        }
    }

    // Ends the process if what fill() wrote has changed. `begin` and `size`: of the allocation it belongs to.
    void expect(uintptr_t from, uintptr_t to, uintptr_t begin, size_t size, const char *state, const char *when) const {
        for (; from < to; from += std::min<size_t>(to - from, PATTERN)) {
            const auto *bytes = reinterpret_cast<const unsigned char *>(from), *expected = pattern(from);
            const size_t n = std::min<size_t>(to - from, PATTERN);
            if (memcmp(bytes, expected, n) == 0)
                continue;
            const size_t at = std::mismatch(bytes, bytes + n, expected).first - bytes;
            fprintf(stderr, "emulated CUDA: %s: byte %td of %s%s memory of %zu bytes (%p) was written\n", when,
                    ptrdiff_t(from + at - begin), state, kind, size, reinterpret_cast<void *>(begin));
            abort();
        }
    }

    static uintptr_t guarded_end(uintptr_t begin, size_t size) { return begin + rounded(size) + GUARD; }

    void expect_guards(uintptr_t begin, size_t size, const char *when) const {
        expect(begin - GUARD, begin, begin, size, "", when);
        expect(begin + size, guarded_end(begin, size), begin, size, "", when);
    }

    void release_one() {
        const auto [begin, size] = forgotten.front();
        expect(begin - GUARD, guarded_end(begin, size), begin, size, "freed ", "afterwards");
        std::free(reinterpret_cast<void *>(begin - GUARD));
        held_back -= size;
        forgotten.pop_front();
    }

  public:
    explicit Memory(const char *kind) : kind(kind) {}

    static size_t rounded(size_t size) { return (size + GRANULE - 1) / GRANULE * GRANULE; }

    size_t used() const { return taken; }
    size_t count() const { return live.size(); }

    // Null if there is none.
    void *allocate(size_t size) {
        void *memory = size > SIZE_MAX / 2 ? nullptr : aligned_alloc(GRANULE, rounded(size) + 2 * GUARD);
        if (!memory)
            return nullptr;
        const uintptr_t begin = reinterpret_cast<uintptr_t>(memory) + GUARD;
        fill(begin - GUARD, begin);
        memset(reinterpret_cast<void *>(begin), 0xff, size);
        fill(begin + size, guarded_end(begin, size));
        live[begin] = size;
        taken += rounded(size);
        return reinterpret_cast<void *>(begin);
    }

    bool free(const void *address) {
        const auto found = live.find(reinterpret_cast<uintptr_t>(address));
        if (found == live.end())
            return false;
        const auto [begin, size] = *found;
        expect_guards(begin, size, "when it is freed");
        fill(begin, begin + size);
        live.erase(found);
        taken -= rounded(size);
        forgotten.emplace_back(begin, size);
        for (held_back += size; held_back > HELD_BACK;)
            release_one();
        return true;
    }

    // Whether all of the range lies in one allocation.
    bool contains(const void *address, size_t size) const {
        const uintptr_t from = reinterpret_cast<uintptr_t>(address);
        auto next = live.upper_bound(from);
        if (next == live.begin())
            return false;
        --next;
        const uintptr_t end = next->first + next->second;
        return from <= end && size <= end - from;
    }

    // Whether any of the range does.
    bool touches(const void *address, size_t size) const {
        const uintptr_t from = reinterpret_cast<uintptr_t>(address);
        auto next = live.lower_bound(from + size);
        if (next == live.begin())
            return false;
        --next;
        return from < next->first + next->second;
    }

    void expect_guards(const char *when) const {
        for (const auto &[begin, size] : live)
            expect_guards(begin, size, when);
    }

    void expect_freed_untouched() const {
        for (const auto &[begin, size] : forgotten)
            expect(begin - GUARD, guarded_end(begin, size), begin, size, "freed ", "when the context is waited for");
    }
};

Memory device_memory("device"), pinned_memory("pinned host");

uint64_t total_memory() { return number_from_environment("EMULATED_CUDA_MEMORY", uint64_t(8) << 30); }

uint64_t free_memory() {
    const uint64_t total = total_memory();
    return total - std::min<uint64_t>(total, device_memory.used());
}

// ---- Fibers: functions that can be left in their middle and gone on with later ----

constexpr size_t STACK = 256 << 10; // a sanitizer's messages need much; pages not written to cost nothing

#if defined(__x86_64__)

// Where the stack ends of what is not running; the registers that a call leaves alone are on it.
using Context = void *;

extern "C" __attribute__((visibility("hidden"))) void emulated_switch(Context *from, Context to);
asm(R"(
    .pushsection .text
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, . - emulated_switch
    .popsection
)");

void switch_context(Context &from, Context &to) { emulated_switch(&from, to); }

// `entry` finds the stack as a call would leave it: a return address (none) at 8 below a multiple of 16.
void prepare(Context &context, unsigned char *stack_end, void (*entry)()) {
    auto **top = reinterpret_cast<void **>(stack_end);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(entry);
    context = top - 6; // registers of any value
}

#else

using Context = ucontext_t;

void switch_context(Context &from, Context &to) { swapcontext(&from, &to); }

void prepare(Context &context, unsigned char *stack_end, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_size = STACK - 64 * 64;
    context.uc_stack.ss_sp = stack_end - context.uc_stack.ss_size;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}

#endif

// The end of the stack of a block's i-th thread. Below each stack is a page that nobody may touch. The ends are at
// different places of their pages, as otherwise all would compete for the same few lines of the cache.
unsigned char *stack_of(unsigned i) {
    static const size_t page = sysconf(_SC_PAGESIZE);
    static unsigned char *const stacks = [] {
        const size_t size = 1024 * (page + STACK);
        void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            stop("%s", "no memory for stacks");
        auto *first = static_cast<unsigned char *>(memory);
        for (size_t at = 0; at < size; at += page + STACK)
            if (mprotect(first + at, page, PROT_NONE) != 0)
                stop("%s", "stacks can't be kept apart");
        return first;
    }();
    return stacks + (i + 1) * (page + STACK) - i % 64 * 64;
}

// ---- Launches ----

constexpr unsigned ALL = 0xffffffff;

struct Kernel {
    std::string name;
    void (*run)(const void *args);
    unsigned char *shared, *shared_end;
};

// Filled while the library is loaded, in an order that is not known: hence made when first asked for.
std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

struct Thread {
    Context context;
    uint3 index;
    const char *operation, *file; // what it waits at
    int line;
};

// A bit of each mask stands for a lane. A lane that exists and doesn't run is in one of the other four.
struct Warp {
    unsigned lanes, ready, met, stopped, exited; // met: at a warp's operation; stopped: at __syncthreads
    // What lanes bring to an operation. The next one uses the other half, as some lanes may be there before others
    // have read this one's; none can be at the one after the next.
    uint64_t values[2][32];
    unsigned half;
};

// The launch that is running: there is one at a time. Its threads are fibers of one thread of the process; each runs
// until it has to wait or exits.
struct {
    const Kernel *kernel;
    const void *args;
    enum { FORWARD, REVERSE, SHUFFLE } order;
    std::mt19937 random;
    Context caller; // of the block's threads, gone on with when none of them can
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    unsigned runnable;        // a bit for each warp that has ready lanes
    unsigned alive, stopped;  // threads that have not exited, and of them those at __syncthreads
    const Thread *at_barrier; // one of the latter
    unsigned warp, lane;      // of the running thread
} now;

Thread &running() { return now.threads[now.warp * 32 + now.lane]; }

// The process ends, after telling where each thread is.
[[noreturn]] void defect(const std::string &what) {
    fprintf(stderr, "emulated CUDA: kernel %s, block (%u, %u, %u) of %zu threads: %s\n", now.kernel->name.c_str(),
            blockIdx.x, blockIdx.y, blockIdx.z, now.threads.size(), what.c_str());
    const auto state = [](unsigned warp, unsigned lane) -> std::string {
        const Warp &w = now.warps[warp];
        const Thread &thread = now.threads[warp * 32 + lane];
        const unsigned bit = 1u << lane;
        if (w.exited & bit)
            return "has exited";
        if (!((w.met | w.stopped) & bit))
            return "can go on";
        const char *slash = strrchr(thread.file, '/');
        return std::string("waits at ") + thread.operation + " (" + (slash ? slash + 1 : thread.file) + ":" +
               std::to_string(thread.line) + ")";
    };
    for (unsigned warp = 0; warp < now.warps.size(); ++warp) {
        const unsigned lanes = std::min<size_t>(32, now.threads.size() - warp * 32);
        for (unsigned first = 0, end; first < lanes; first = end) {
            const std::string same = state(warp, first);
            for (end = first + 1; end < lanes && state(warp, end) == same;)
                ++end;
            fprintf(stderr, "  threads %u to %u: %s\n", warp * 32 + first, warp * 32 + end - 1, same.c_str());
        }
    }
    abort();
}

void wait_at(const char *operation, const char *file, int line) {
    Thread &thread = running();
    thread.operation = operation;
    thread.file = file;
    thread.line = line;
}

void make_ready(unsigned warp, unsigned lanes) {
    now.warps[warp].ready |= lanes;
    now.runnable |= 1u << warp;
}

void open_barrier() {
    for (unsigned warp = 0; warp < now.warps.size(); ++warp)
        if (const unsigned lanes = now.warps[warp].stopped) {
            now.warps[warp].stopped = 0;
            make_ready(warp, lanes);
        }
    now.stopped = 0;
}

// Which of the set's bits is next.
unsigned pick(unsigned set) {
    switch (now.order) {
    case now.FORWARD:
        return __builtin_ctz(set);
    case now.REVERSE:
        return 31 - __builtin_clz(set);
    case now.SHUFFLE: // the first from a random place on
        if (const unsigned above = set & (ALL << now.random() % 32))
            set = above;
        return __builtin_ctz(set);
    }
    __builtin_unreachable();
}

// Leaves a thread, or the caller, for the next thread that can go on. One thread switches to another without a detour,
// so that all return to the same address, as the processor predicts.
void leave(Context &from) {
    if (!now.runnable) {
        switch_context(from, now.caller);
        return;
    }
    now.warp = pick(now.runnable);
    Warp &warp = now.warps[now.warp];
    now.lane = pick(warp.ready);
    warp.ready &= ~(1u << now.lane);
    if (!warp.ready)
        now.runnable &= ~(1u << now.warp);
    Thread &next = running();
    threadIdx = next.index;
    if (&from != &next.context)
        switch_context(from, next.context);
}

void fiber() {
    now.kernel->run(now.args);

    Warp &warp = now.warps[now.warp];
    warp.exited |= 1u << now.lane;
    if (warp.met)
        defect("a thread exits that others of its warp wait for");
    if (--now.alive == now.stopped && now.alive)
        open_barrier();
    Context never;
    leave(never);
}

void run_block() {
    memset(now.kernel->shared, 0xff, now.kernel->shared_end - now.kernel->shared);
    const unsigned n = now.threads.size();
    now.alive = n;
    now.stopped = now.runnable = 0;
    for (unsigned i = 0; i < n; ++i)
        prepare(now.threads[i].context, stack_of(i), fiber);
    for (unsigned i = 0; i < now.warps.size(); ++i) {
        Warp &warp = now.warps[i];
        memset(&warp, 0, sizeof warp);
        memset(warp.values, 0xff, sizeof warp.values);
        warp.lanes = n - i * 32 < 32 ? (1u << (n - i * 32)) - 1 : ALL;
        make_ready(i, warp.lanes);
    }
    leave(now.caller);
    if (now.alive)
        defect("threads wait for others that never come");
}

void run_grid(const Kernel &kernel, const void *args, uint3 grid, uint3 block, uint64_t launch) {
    const char *order = getenv("EMULATED_CUDA_ORDER");
    if (!order || !strcmp(order, "forward"))
        now.order = now.FORWARD;
    else if (!strcmp(order, "reverse"))
        now.order = now.REVERSE;
    else if (!strcmp(order, "shuffle"))
        now.order = now.SHUFFLE;
    else
        stop("EMULATED_CUDA_ORDER is %s rather than forward, reverse or shuffle", order);
    now.random.seed(launch);
    now.kernel = &kernel;
    now.args = args;
    gridDim = grid;
    blockDim = block;
    const unsigned n = block.x * block.y * block.z;
    now.threads.resize(n);
    now.warps.resize((n + 31) / 32);
    for (unsigned i = 0; i < n; ++i)
        now.threads[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};

    const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
    std::vector<uint64_t> shuffled;
    if (now.order == now.SHUFFLE) {
        shuffled.resize(blocks);
        std::iota(shuffled.begin(), shuffled.end(), 0);
        std::shuffle(shuffled.begin(), shuffled.end(), now.random);
    }
    for (uint64_t i = 0; i < blocks; ++i) {
        const uint64_t b = now.order == now.FORWARD ? i : now.order == now.REVERSE ? blocks - 1 - i : shuffled[i];
        blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)};
        run_block();
    }
}

} // namespace

namespace emulated {

Meeting meet(const char *operation, unsigned mask, uint64_t value, const char *file, int line) {
    Warp &warp = now.warps[now.warp];
    const unsigned bit = 1u << now.lane;
    wait_at(operation, file, line);
    if (warp.met) {
        const Thread &other = now.threads[now.warp * 32 + __builtin_ctz(warp.met)];
        if (strcmp(other.operation, operation))
            defect(std::string("lanes of a warp meet, one at ") + operation + ", another at " + other.operation);
    }
    uint64_t *values = warp.values[warp.half];
    values[now.lane] = value;
    warp.met |= bit;
    if (mask != ALL)
        defect("only the mask of all lanes is emulated");
    if (warp.exited)
        defect("a mask names lanes that have exited");
    if (warp.met == warp.lanes) {
        warp.met = 0;
        warp.half ^= 1;
        make_ready(now.warp, warp.lanes);
    }
    leave(running().context);
    return {values, warp.lanes, now.lane};
}

void synchronise_block(const char *file, int line) {
    wait_at("__syncthreads", file, line);
    now.warps[now.warp].stopped |= 1u << now.lane;
    if (now.stopped && (line != now.at_barrier->line || strcmp(file, now.at_barrier->file)))
        defect("its threads wait at different __syncthreads");
    now.at_barrier = &running();
    if (++now.stopped == now.alive)
        open_barrier();
    leave(running().context);
}

Registration::Registration(const char *name, void (*run)(const void *), unsigned char *shared,
                           unsigned char *shared_end) {
    if (!kernels().emplace(name, Kernel{name, run, shared, shared_end}).second)
        stop("two kernels are named %s", name);
}

} // namespace emulated

// ---- What the driver's functions have in common ----

namespace {

struct Primary {
    int references;
};

struct Stream {};

struct Event {
    bool timed, recorded;
    std::chrono::steady_clock::time_point when;
};

struct Module {
    std::string ptx;
};

struct Function {
    const Module *module;
    const Kernel *kernel;
    unsigned max_threads;
};

// Objects that callers know by address; they may pass any.
template <class T> class Handles {
    std::map<const T *, std::unique_ptr<T>> live;

  public:
    T *add(T object) {
        auto owned = std::make_unique<T>(std::move(object));
        T *const address = owned.get();
        live[address] = std::move(owned);
        return address;
    }
    bool has(const T *object) const { return live.count(object) != 0; }
    bool remove(const T *object) { return live.erase(object) != 0; }
    template <class Condition> void remove_if(Condition condition) {
        for (auto next = live.begin(); next != live.end();)
            next = condition(*next->second) ? live.erase(next) : std::next(next);
    }
};

std::mutex mutex; // held during each call: kernels of several threads run one after the other
bool initialised = false;
bool lost = false; // as on a GPU, only another process has it back
uint64_t launches = 0;
Primary primary = {0};
thread_local Primary *current = nullptr;
Handles<Stream> streams;
Handles<Event> events;
Handles<Module> modules;
Handles<Function> functions;

// What a call that needs no context does under the lock.
template <class Body> Result without_context(Body body) {
    const std::lock_guard<std::mutex> lock(mutex);
    return initialised ? body() : NOT_INITIALIZED;
}

// ... and one that works in the calling thread's context.
template <class Body> Result in_context(Body body) {
    return without_context([&] {
        if (!current)
            return INVALID_CONTEXT;
        if (!current->references)
            return CONTEXT_IS_DESTROYED;
        return body();
    });
}

// ... on the device, or releasing something: that is done even on a lost device, though the call fails.
template <class Body> Result on_device(Body body) {
    return in_context([&] { return lost ? LAUNCH_FAILED : body(); });
}
template <class Body> Result releasing(Body body) {
    return in_context([&] {
        const Result result = body();
        return lost ? LAUNCH_FAILED : result;
    });
}

// The first three are default streams.
bool known(const Stream *stream) {
    return stream == nullptr || stream == reinterpret_cast<Stream *>(1) || stream == reinterpret_cast<Stream *>(2) ||
           streams.has(stream);
}

Result allocate(void **address, size_t size, const Stream *stream) {
    return on_device([&] {
        if (!known(stream))
            return INVALID_HANDLE;
        if (size == 0)
            return INVALID_VALUE;
        const uint64_t left = free_memory();
        if (size > left || Memory::rounded(size) > left) // rounding may overflow
            return OUT_OF_MEMORY;
        *address = device_memory.allocate(size);
        return *address ? SUCCESS : OUT_OF_MEMORY;
    });
}

Result release(void *address, const Stream *stream) {
    return releasing([&] {
        if (!known(stream))
            return INVALID_HANDLE;
        return device_memory.free(address) ? SUCCESS : INVALID_VALUE;
    });
}

Result set(void *address, unsigned char byte, size_t size, const Stream *stream) {
    return on_device([&] {
        if (!known(stream))
            return INVALID_HANDLE;
        if (size == 0)
            return SUCCESS;
        if (!device_memory.contains(address, size))
            return INVALID_VALUE;
        memset(address, byte, size);
        return SUCCESS;
    });
}

enum Place { HOST, DEVICE };

Result copy(Place to_place, void *to, Place from_place, const void *from, size_t size, const Stream *stream) {
    const auto right = [size](Place place, const void *address) {
        return place == DEVICE ? device_memory.contains(address, size) : !device_memory.touches(address, size);
    };
    return on_device([&] {
        if (!known(stream))
            return INVALID_HANDLE;
        if (size == 0)
            return SUCCESS;
        const auto a = reinterpret_cast<uintptr_t>(to), b = reinterpret_cast<uintptr_t>(from);
        const bool apart = std::max(a, b) - std::min(a, b) >= size;
        if (!right(to_place, to) || !right(from_place, from) || !apart)
            return INVALID_VALUE;
        memcpy(to, from, size);
        return SUCCESS;
    });
}

// How many threads the entry allows: `.maxntid X, Y, Z`, of which the last may be missing, before its body.
unsigned max_threads(const std::string &ptx, size_t entry) {
    const size_t body = std::min(ptx.find('{', entry), ptx.size());
    const size_t at = ptx.find(".maxntid", entry);
    unsigned x, y = 1, z = 1;
    if (at >= body || sscanf(ptx.c_str() + at, ".maxntid %u , %u , %u", &x, &y, &z) < 1)
        return 1024;
    return x * y * z;
}

bool is_device(int ordinal) { return ordinal == 0; }

// By number of CUDA's CUdevice_attribute. Those of an H100, but for the multiprocessors.
const std::map<int, int> ATTRIBUTES = {
    {1, 1024},       // threads per block
    {2, 1024},       // ... along x
    {3, 1024},       // y
    {4, 64},         // z
    {5, 2147483647}, // blocks along x
    {6, 65535},      // y
    {7, 65535},      // z
    {8, 49152},      // shared memory per block
    {9, 65536},      // constant memory
    {10, 32},        // lanes of a warp
    {12, 65536},     // registers per block
    {16, 4},         // multiprocessors
    {18, 0},         // integrated
    {31, 1},         // concurrent kernels
    {38, 52428800},  // level-2 cache
    {39, 2048},      // threads per multiprocessor
    {40, 3},         // engines that copy
    {41, 1},         // unified addressing
    {75, 9},         // compute capability, major
    {76, 0},         // ... minor
    {81, 233472},    // shared memory per multiprocessor
    {82, 65536},     // registers per multiprocessor
    {97, 232448},    // shared memory per block, on request
    {106, 32},       // blocks per multiprocessor
    {115, 1},        // memory pools
};

} // namespace

// ---- The driver's functions ----

#define API extern "C" __attribute__((visibility("default")))

// Not CUDA's: how much device memory has not been freed, in allocations.
API size_t emulated_cuda_live_allocations() {
    const std::lock_guard<std::mutex> lock(mutex);
    return device_memory.count();
}

API Result cuInit(unsigned) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (number_from_environment("EMULATED_CUDA_DEVICES", 1) == 0)
        return NO_DEVICE;
    initialised = true;
    return SUCCESS;
}

API Result cuDriverGetVersion(int *version) {
    *version = 12040;
    return SUCCESS;
}

#define NAME(id, number, name, text)                                                                                   \
    case id:                                                                                                           \
        *answer = name;                                                                                                \
        return SUCCESS;
#define TEXT(id, number, name, text)                                                                                   \
    case id:                                                                                                           \
        *answer = text;                                                                                                \
        return SUCCESS;
API Result cuGetErrorName(Result result, const char **answer) {
    switch (result) { RESULTS(NAME) }
    *answer = nullptr;
    return INVALID_VALUE;
}
API Result cuGetErrorString(Result result, const char **answer) {
    switch (result) { RESULTS(TEXT) }
    *answer = nullptr;
    return INVALID_VALUE;
}

API Result cuDeviceGetCount(int *count) {
    return without_context([&] {
        *count = 1;
        return SUCCESS;
    });
}

API Result cuDeviceGet(int *device, int ordinal) {
    return without_context([&] {
        *device = ordinal;
        return is_device(ordinal) ? SUCCESS : INVALID_DEVICE;
    });
}

API Result cuDeviceGetName(char *name, int size, int device) {
    return without_context([&] {
        if (!is_device(device))
            return INVALID_DEVICE;
        snprintf(name, size, "Emulated GPU");
        return SUCCESS;
    });
}

API Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    return without_context([&] {
        const auto found = ATTRIBUTES.find(attribute);
        if (!is_device(device))
            return INVALID_DEVICE;
        if (found == ATTRIBUTES.end())
            return INVALID_VALUE;
        *value = found->second;
        return SUCCESS;
    });
}

API Result cuDeviceTotalMem_v2(size_t *bytes, int device) {
    return without_context([&] {
        *bytes = total_memory();
        return is_device(device) ? SUCCESS : INVALID_DEVICE;
    });
}

API Result cuDevicePrimaryCtxRetain(Primary **context, int device) {
    return without_context([&] {
        if (!is_device(device))
            return INVALID_DEVICE;
        ++primary.references;
        *context = &primary;
        return SUCCESS;
    });
}

API Result cuDevicePrimaryCtxRelease_v2(int device) {
    return without_context([&] {
        if (!is_device(device))
            return INVALID_DEVICE;
        if (!primary.references)
            return INVALID_CONTEXT;
        --primary.references;
        return SUCCESS;
    });
}

API Result cuCtxGetCurrent(Primary **context) {
    return without_context([&] {
        *context = current;
        return SUCCESS;
    });
}

API Result cuCtxSetCurrent(Primary *context) {
    return without_context([&] {
        if (context && context != &primary)
            return INVALID_CONTEXT;
        current = context;
        return SUCCESS;
    });
}

API Result cuCtxSynchronize() {
    return on_device([] {
        device_memory.expect_freed_untouched();
        return SUCCESS;
    });
}

API Result cuMemGetInfo_v2(size_t *free, size_t *total) {
    return on_device([&] {
        *free = free_memory();
        *total = total_memory();
        return SUCCESS;
    });
}

API Result cuStreamCreate(Stream **stream, unsigned) {
    return on_device([&] {
        *stream = streams.add({});
        return SUCCESS;
    });
}

API Result cuStreamDestroy_v2(Stream *stream) {
    return releasing([&] { return streams.remove(stream) ? SUCCESS : INVALID_HANDLE; });
}

API Result cuStreamSynchronize(Stream *stream) {
    return on_device([&] { return known(stream) ? SUCCESS : INVALID_HANDLE; });
}

API Result cuStreamWaitEvent(Stream *stream, Event *event, unsigned) {
    return on_device([&] { return known(stream) && events.has(event) ? SUCCESS : INVALID_HANDLE; });
}

API Result cuEventCreate(Event **event, unsigned flags) {
    return on_device([&] {
        const bool timed = !(flags & 2); // CU_EVENT_DISABLE_TIMING
        *event = events.add({timed, false, {}});
        return SUCCESS;
    });
}

API Result cuEventDestroy_v2(Event *event) {
    return releasing([&] { return events.remove(event) ? SUCCESS : INVALID_HANDLE; });
}

API Result cuEventRecord(Event *event, Stream *stream) {
    return on_device([&] {
        if (!known(stream) || !events.has(event))
            return INVALID_HANDLE;
        event->recorded = true;
        event->when = std::chrono::steady_clock::now();
        return SUCCESS;
    });
}

API Result cuEventQuery(Event *event) {
    return on_device([&] { return events.has(event) ? SUCCESS : INVALID_HANDLE; });
}

API Result cuEventSynchronize(Event *event) { return cuEventQuery(event); }

API Result cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    return on_device([&] {
        for (const Event *event : {start, end})
            if (!events.has(event) || !event->timed || !event->recorded)
                return INVALID_HANDLE;
        *milliseconds = std::chrono::duration<float, std::milli>(end->when - start->when).count();
        return SUCCESS;
    });
}

API Result cuMemAlloc_v2(void **address, size_t size) { return allocate(address, size, nullptr); }
API Result cuMemAllocAsync(void **address, size_t size, Stream *stream) { return allocate(address, size, stream); }
API Result cuMemFree_v2(void *address) { return release(address, nullptr); }
API Result cuMemFreeAsync(void *address, Stream *stream) { return release(address, stream); }

API Result cuMemHostAlloc(void **address, size_t size, unsigned) {
    return on_device([&] {
        if (size == 0)
            return INVALID_VALUE;
        *address = pinned_memory.allocate(size);
        return *address ? SUCCESS : OUT_OF_MEMORY;
    });
}

API Result cuMemFreeHost(void *address) {
    return releasing([&] { return pinned_memory.free(address) ? SUCCESS : INVALID_VALUE; });
}

API Result cuMemsetD8_v2(void *to, unsigned char byte, size_t n) { return set(to, byte, n, nullptr); }
API Result cuMemsetD8Async(void *to, unsigned char byte, size_t n, Stream *stream) { return set(to, byte, n, stream); }

API Result cuMemcpyHtoD_v2(void *to, const void *from, size_t size) {
    return copy(DEVICE, to, HOST, from, size, nullptr);
}
API Result cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, Stream *stream) {
    return copy(DEVICE, to, HOST, from, size, stream);
}
API Result cuMemcpyDtoH_v2(void *to, const void *from, size_t size) {
    return copy(HOST, to, DEVICE, from, size, nullptr);
}
API Result cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, Stream *stream) {
    return copy(HOST, to, DEVICE, from, size, stream);
}
API Result cuMemcpyDtoD_v2(void *to, const void *from, size_t size) {
    return copy(DEVICE, to, DEVICE, from, size, nullptr);
}
API Result cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t size, Stream *stream) {
    return copy(DEVICE, to, DEVICE, from, size, stream);
}

// A real pool gives memory back to the system at each synchronisation unless its threshold is raised. Here nothing is
// pooled: whatever is asked for is accepted.
API Result cuDeviceGetDefaultMemPool(void **pool, int device) {
    return without_context([&] {
        *pool = &device_memory;
        return is_device(device) ? SUCCESS : INVALID_DEVICE;
    });
}
API Result cuMemPoolSetAttribute(void *pool, int, void *) {
    return without_context([&] { return pool == &device_memory ? SUCCESS : INVALID_VALUE; });
}
API Result cuMemPoolTrimTo(void *pool, size_t) {
    return without_context([&] { return pool == &device_memory ? SUCCESS : INVALID_VALUE; });
}

API Result cuModuleLoadData(Module **module, const char *ptx) {
    return on_device([&] {
        if (!strstr(ptx, ".version"))
            return INVALID_PTX;
        *module = modules.add({ptx});
        return SUCCESS;
    });
}

API Result cuModuleUnload(Module *module) {
    return releasing([&] {
        functions.remove_if([&](const Function &function) { return function.module == module; });
        return modules.remove(module) ? SUCCESS : INVALID_HANDLE;
    });
}

API Result cuModuleGetFunction(Function **function, Module *module, const char *name) {
    return on_device([&] {
        if (!modules.has(module))
            return INVALID_HANDLE;
        const size_t entry = module->ptx.find(std::string(".entry ") + name + "(");
        const auto kernel = kernels().find(name);
        if (entry == std::string::npos || kernel == kernels().end())
            return NOT_FOUND;
        *function = functions.add({module, &kernel->second, max_threads(module->ptx, entry)});
        return SUCCESS;
    });
}

API Result cuFuncGetAttribute(int *value, int attribute, Function *function) {
    return on_device([&] {
        if (!functions.has(function))
            return INVALID_HANDLE;
        if (attribute != 0) // CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
            return NOT_SUPPORTED;
        *value = function->max_threads;
        return SUCCESS;
    });
}

API Result cuFuncSetAttribute(Function *function, int attribute, int value) {
    return on_device([&] {
        const bool dynamic_shared = attribute == 8 && value >= 0 && value <= ATTRIBUTES.at(97);
        const bool carveout = attribute == 9 && value >= -1 && value <= 100;
        if (!functions.has(function))
            return INVALID_HANDLE;
        return dynamic_shared || carveout ? SUCCESS : INVALID_VALUE;
    });
}

API Result cuFuncSetCacheConfig(Function *function, int) {
    return on_device([&] { return functions.has(function) ? SUCCESS : INVALID_HANDLE; });
}

API Result cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream *stream, void **params,
                          void **extra) {
    return on_device([&] {
        if (!functions.has(function) || !known(stream))
            return INVALID_HANDLE;
        if (shared_bytes || extra)
            return NOT_SUPPORTED;
        const auto within = [](unsigned size, int attribute) {
            return size && size <= unsigned(ATTRIBUTES.at(attribute));
        };
        if (!params || !params[0] || !within(grid_x, 5) || !within(grid_y, 6) || !within(grid_z, 7) ||
            !within(block_x, 2) || !within(block_y, 3) || !within(block_z, 4) ||
            uint64_t(block_x) * block_y * block_z > std::min(function->max_threads, 1024u))
            return INVALID_VALUE;
        if (++launches >= number_from_environment("EMULATED_CUDA_FAIL_LAUNCH", UINT64_MAX)) {
            lost = true;
            return LAUNCH_FAILED;
        }
        run_grid(*function->kernel, params[0], {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, launches);
        const std::string when = "after kernel " + function->kernel->name;
        device_memory.expect_guards(when.c_str());
        pinned_memory.expect_guards(when.c_str());
        return SUCCESS;
    });
}

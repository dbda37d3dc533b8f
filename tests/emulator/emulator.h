/* CUDA's names for host C++ (g++ on x86-64), so that the text of a kernel compiles as it is: include this
 * before it, and say EMU_KERNEL(name) behind it.
 *
 * A thread of a block is a fibre; blocks run one after the other. Compile with -fno-strict-aliasing. What is
 * here is what generated kernels use; a name that is missing fails to compile. */
#ifndef SN_EMULATOR_H
#define SN_EMULATOR_H

#define SN_EMULATE

/* C's headers and not those of C++, which cost a compilation more than a kernel does. */
#ifndef EMU_ENGINE
#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS
#endif

#include "launch.h"

#include <math.h>
#include <string.h>

struct uint3 {
    unsigned x, y, z;
};

/* Vectors of memory, aligned as CUDA's are: compile with -fsanitize=alignment, and an address that is not is
 * reported. */
#define EMU_VECTORS(type, name)                                                                              \
    struct __attribute__((aligned(2 * sizeof(type)))) name##2 {                                              \
        type x, y;                                                                                           \
    };                                                                                                       \
    struct __attribute__((aligned(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16))) name##4 {                 \
        type x, y, z, w;                                                                                     \
    };                                                                                                       \
    static inline __attribute__((unused)) name##2 make_##name##2(type x, type y) {                           \
        return {x, y};                                                                                       \
    }                                                                                                        \
    static inline __attribute__((unused)) name##4 make_##name##4(type x, type y, type z, type w) {           \
        return {x, y, z, w};                                                                                 \
    }
EMU_VECTORS(float, float)
EMU_VECTORS(int, int)
EMU_VECTORS(unsigned, uint)
EMU_VECTORS(unsigned short, ushort)
EMU_VECTORS(unsigned char, uchar)
EMU_VECTORS(double, double)
EMU_VECTORS(long long, longlong)

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((unused))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

/* All that a module of kernels keeps in its .bss is shared memory: it is filled with NaN before each block. */
#define __shared__ static

/* name_call(args): what a launch calls in every thread. The argument struct is called nameArgs. */
#define EMU_KERNEL(name)                                                                                     \
    extern "C" void name##_call(const void *args) {                                                          \
        name(*(const name##Args *)args);                                                                     \
    }

/* The same with what a driver needs to know; `bound`: of __launch_bounds__, or 0. */
#define EMU_ENTRY(name, bound)                                                                               \
    EMU_KERNEL(name)                                                                                         \
    extern "C" __attribute__((used)) const EmuEntry name##_entry = {                                         \
        name##_call, sizeof(name##Args), emu_pointers<name##Args>(0), emu_fault_at<name##Args>(0), bound};

/* How many pointers its member `buffer`, which is the first, has; where its member `fault` is. 0: there is none. */
template <class A> static constexpr auto emu_pointers(int) -> decltype((void)A::buffer, size_t()) {
    return sizeof(A::buffer) / sizeof(void *);
}
template <class A> static constexpr size_t emu_pointers(long) {
    return 0;
}
template <class A> static constexpr auto emu_fault_at(int) -> decltype((void)A::fault, size_t()) {
    return offsetof(A, fault);
}
template <class A> static constexpr size_t emu_fault_at(long) {
    return 0;
}

/* Where a module of kernels lies: a shared object of its own, linked with -nostartfiles. */
struct EmuModule {
    const char *start, *end;         /* of all of it */
    char *shared_start, *shared_end; /* of what it keeps */
    bool checked;                    /* compiled with the calls for the check of accesses */
};
void emu_register(const EmuModule *module);
void emu_unregister(const EmuModule *module);

#ifndef EMU_ENGINE
/* The linker's names. */
extern "C" __attribute__((visibility("hidden"))) char __ehdr_start[], __bss_start[], _end[];

#ifdef __SANITIZE_THREAD__
#define EMU_CHECKED true
#else
#define EMU_CHECKED false
#endif
static const EmuModule emu_module = {__ehdr_start, _end, __bss_start, _end, EMU_CHECKED};
__attribute__((constructor, no_sanitize("thread"))) static void emu_load() {
    emu_register(&emu_module);
}
__attribute__((destructor, no_sanitize("thread"))) static void emu_unload() {
    emu_unregister(&emu_module);
}
#endif

/* ---- where a thread is ---- */

struct EmuPlace {
    uint3 thread, block, block_size, grid_size;
    int lane;
    /* for the check of accesses: the number in the block, and how many barriers of block and warp are behind
     * it */
    int number, block_barriers, warp_barriers;
};
extern EmuPlace emu_place; /* of the thread that runs now */

#define threadIdx (emu_place.thread)
#define blockIdx  (emu_place.block)
#define blockDim  (emu_place.block_size)
#define gridDim   (emu_place.grid_size)

/* ---- barriers and exchanges: `line` tells one call in the text from another ---- */

void emu_block_barrier(int line);
void emu_warp_barrier(unsigned mask, int line);
/* Every lane of `mask` gives `bytes` (at most 16) at `value`; result[] is what lane `source` gave. */
void emu_exchange(unsigned mask, int line, const void *value, size_t bytes, int source, void *result);
unsigned emu_ballot(unsigned mask, int line, bool vote);
void *emu_dynamic_shared();

#define __syncthreads()          emu_block_barrier(__LINE__)
#define __syncwarp()             emu_warp_barrier(~0u, __LINE__)
#define __ballot_sync(m, p)      emu_ballot(m, __LINE__, p)
#define __popc(x)                __builtin_popcount(x)
#define __any_sync(m, p)         (emu_ballot(m, __LINE__, p) != 0)
#define __all_sync(m, p)         (emu_ballot(m, __LINE__, !(p)) == 0)
#define __shfl_sync(m, x, l)     emu_shuffle(m, __LINE__, x, (l)&31)
#define __shfl_xor_sync(m, x, l) emu_shuffle(m, __LINE__, x, emu_place.lane ^ (l))
#define __shfl_down_sync(m, x, d)                                                                            \
    emu_shuffle(m, __LINE__, x, emu_place.lane + (d) > 31 ? emu_place.lane : emu_place.lane + (d))
#define __shfl_up_sync(m, x, d)                                                                              \
    emu_shuffle(m, __LINE__, x, emu_place.lane < (d) ? emu_place.lane : emu_place.lane - (d))

template <class T> static inline T emu_shuffle(unsigned mask, int line, T value, int source) {
    T result;
    emu_exchange(mask, line, &value, sizeof value, source, &result);
    return result;
}

/* ---- tensor cores and copies past the registers: what codegen/device/tensor.cuh says of them ---- */

/* Products are exact, sums in f32. Of TF32 operands the low 13 bits are cut off, so that one that was not
 * rounded shows. */
void emu_mma_bf16(float *d, const uint32_t *a, const uint32_t *b, int line);
void emu_mma_f16(float *d, const uint32_t *a, const uint32_t *b, int line);
void emu_mma_tf32(float *d, const uint32_t *a, const uint32_t *b, int line);
uint32_t emu_to_tf32(float x);

/* Rows are in shared memory and aligned to 16 bytes, or that is reported. */
void emu_ldmatrix4(uint32_t *r, const void *row, int transposed, int line);

/* What is copied arrives at the wait that covers it and not before: until then the destination is NaN, and with
 * the check of accesses a load of it is reported. */
void emu_copy_async(void *to, const void *from, int bytes);
void emu_copy_commit();
void emu_copy_wait(int groups);

/* ---- atomics: threads change places at barriers only, so plain accesses are atomic ---- */

#define EMU_ATOMIC static __attribute__((noinline, unused, no_sanitize("thread"))) T

template <class T> EMU_ATOMIC emu_replace(T *at, T value) {
    T before = *at;
    *at = value;
    return before;
}
template <class T> EMU_ATOMIC atomicAdd(T *at, T value) {
    return emu_replace(at, (T)(*at + value));
}
template <class T> EMU_ATOMIC atomicMax(T *at, T value) {
    return emu_replace(at, *at < value ? value : *at);
}
template <class T> EMU_ATOMIC atomicMin(T *at, T value) {
    return emu_replace(at, value < *at ? value : *at);
}
template <class T> EMU_ATOMIC atomicExch(T *at, T value) {
    return emu_replace(at, value);
}
template <class T> EMU_ATOMIC atomicCAS(T *at, T expected, T value) {
    return emu_replace(at, *at == expected ? value : *at);
}

/* ---- bits, and functions that the host's library lacks ---- */

template <class To, class From> static inline To emu_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline float __uint_as_float(unsigned x) {
    return emu_bits<float>(x);
}
static inline unsigned __float_as_uint(float x) {
    return emu_bits<unsigned>(x);
}
static inline double __longlong_as_double(long long x) {
    return emu_bits<double>(x);
}
static inline long long __double_as_longlong(double x) {
    return emu_bits<long long>(x);
}
static inline float rsqrtf(float x) {
    return 1 / sqrtf(x);
}
static inline double rsqrt(double x) {
    return 1 / sqrt(x);
}

#endif

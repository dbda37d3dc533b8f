/* The machine's own rates, by the same compiler and vectors as the kernels: fused multiply-adds, reading,
 * copying. */
#include "vector.h"

#include "vector_narrow.h"

#include "vector_memory.h"

float peak(int64_t rounds, float seed);
void read_all(const float *from, int64_t floats, float *sum);
void copy_all(const float *from, int64_t floats, float *to);

/* 2 * 12 * SN_LANES operations a round. The accumulators start apart, or the compiler would merge them. */
float peak(int64_t rounds, float seed) {
    vf32 x = sn_splat_f32(1 + seed), y = sn_splat_f32(seed);
#define START(i) vf32 c##i = sn_splat_f32(seed * (i + 1));
#define STEP(i)  c##i = c##i * x + y;
#define ALL(F)   F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
    ALL(START)
    for (int64_t i = 0; i < rounds; i++) {
        ALL(STEP)
    }
    return sn_sum_f32(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
}

void read_all(const float *from, int64_t floats, float *sum) {
    vf32 a = {0}, b = {0}, c = {0}, d = {0};
    for (int64_t i = 0; i + 4 * SN_LANES <= floats; i += 4 * SN_LANES) {
        a += sn_load_f32_v(from + i);
        b += sn_load_f32_v(from + i + SN_LANES);
        c += sn_load_f32_v(from + i + 2 * SN_LANES);
        d += sn_load_f32_v(from + i + 3 * SN_LANES);
    }
    *sum = sn_sum_f32(a + b + c + d);
}

/* Past the caches on the way out, where the compiler offers it. */
void copy_all(const float *from, int64_t floats, float *to) {
    for (int64_t i = 0; i + SN_LANES <= floats; i += SN_LANES) {
        vf32 x = sn_load_f32_v(from + i);
#if defined(__clang__)
        __builtin_nontemporal_store(x, (vf32 *)(to + i));
#elif SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
        __builtin_ia32_movntps512(to + i, x);
#elif SN_VECTOR_BYTES == 32 && defined(__AVX__)
        __builtin_ia32_movntps256(to + i, x);
#else
        sn_store_f32_v(to + i, x);
#endif
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

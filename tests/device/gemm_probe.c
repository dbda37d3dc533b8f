/* A contraction with plain holes, as the code generator would write it: C = gelu-free affine epilogue
 * alpha * sum + bias[n], stored as f32. Buffers: A, B or its panels, C, bias. Symbols: M, N, K, batch and the
 * element strides of A (batch, m, k), B (batch, k, n) and C (batch, m). */
#include "vector.h"

#include "vector_narrow.h"

#include "vector_memory.h"

#include "tile_element.h"

#include "tile.h" /* behind what it needs */

#ifndef SN_GEMM_B
#define SN_GEMM_B 1
#endif
#if SN_GEMM_B == 0 || !SN_GEMM_PACK
#include "gemm.h"
#if SN_GEMM_B || SN_GEMM_SPLIT
#include "gemm_panel.h"
#endif
#if SN_GEMM_B
#include "gemm_packed.h"
#else
#include "gemm_unpacked.h"
#endif
#if SN_GEMM_SPLIT
#include "matrix.h"

#include "gemm_split_parts.h"

#include "gemm_split.h" /* likewise */
#endif
#endif
#if SN_GEMM_B == 0 || SN_GEMM_PACK
#include "gemm_pack.h"
#endif
#if SN_GEMM_B == 0 || !SN_GEMM_PACK
#include "gemm_gather.h"

#include "gemm_holes.h" /* likewise */
#if SN_GEMM_B == 0
#include "gemm_row.h"
#endif
#endif

/* Of a single row: two blocks of columns, if there are enough, and pieces of K where there can be several. */
#define ROW_BLOCKS(N) ((N) > 32 ? 2 : 1)
#define ROW_PIECES    (SN_GEMM_PARTIAL ? 3 : 1)

struct SnContext {
    const char *a, *b;
    float *c;
    const float *bias;
    const int64_t *symbols;
};

#if SN_GEMM_B == 0 || SN_GEMM_PACK
SN_INLINE const float *b_at(const SnContext *x, int64_t batch, int64_t k, int64_t n) {
    return (const float *)x->b + batch * x->symbols[7] + k * x->symbols[8] + n * x->symbols[9];
}
SN_INLINE vf32 sn_gemm_b_v(const SnContext *x, int64_t batch, int64_t k, int64_t n) {
    return sn_load_f32_v(b_at(x, batch, k, n));
}
SN_INLINE float sn_gemm_b_s(const SnContext *x, int64_t batch, int64_t k, int64_t n) {
    return *b_at(x, batch, k, n);
}
#endif
#if SN_GEMM_B == 0 && SN_GEMM_B_POINTER
SN_INLINE const void *sn_gemm_b_pointer(const SnContext *x, int64_t batch, int64_t k, int64_t n) {
    return b_at(x, batch, k, n);
}
#endif
#if SN_GEMM_B == 0 && SN_GEMM_PARTIAL
static float partial[1 << 16];
SN_INLINE const void *sn_gemm_partial(const SnContext *x, int64_t at) {
    (void)x;
    return partial + at;
}
#endif

#if SN_GEMM_PACK
int pack(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end);
int pack(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {
    SnContext x = {.b = buffers[0], .symbols = symbols};
    sn_gemm_pack_run(&x, buffers[1], symbols[1], symbols[2], begin, end);
    return 0;
}
#else
SN_INLINE const float *a_at(const SnContext *x, int64_t batch, int64_t m, int64_t k) {
    return (const float *)x->a + batch * x->symbols[4] + m * x->symbols[5] + k * x->symbols[6];
}
SN_INLINE vf32 sn_gemm_a_v(const SnContext *x, int64_t batch, int64_t m, int64_t k) {
    return sn_load_f32_v(a_at(x, batch, m, k));
}
SN_INLINE float sn_gemm_a_s(const SnContext *x, int64_t batch, int64_t m, int64_t k) {
    return *a_at(x, batch, m, k);
}
#if SN_GEMM_A_POINTER
SN_INLINE const void *sn_gemm_a_pointer(const SnContext *x, int64_t batch, int64_t m, int64_t k) {
    return a_at(x, batch, m, k);
}
#endif
#if SN_GEMM_B != 0
SN_INLINE const void *sn_gemm_panels(const SnContext *x, int64_t batch) {
    int64_t panels = sn_ceil_div(x->symbols[1], SN_TILE_NR); /* of a batch */
    return x->b + batch * panels * SN_TILE_PANEL_BYTES(x->symbols[2]);
}
#endif
SN_INLINE float *c_at(const SnContext *x, int64_t batch, int64_t m, int64_t n) {
    return x->c + batch * x->symbols[10] + m * x->symbols[11] + n;
}
#if SN_GEMM_AHEAD
SN_INLINE void sn_epilogue_ahead(const SnContext *x, int64_t batch, int64_t m, int64_t n) {
    __builtin_prefetch(c_at(x, batch, m, n), 1);
}
#endif
SN_INLINE void sn_epilogue_v(const SnContext *x, vf32 sum, int64_t batch, int64_t m, int64_t n) {
    sn_store_f32_v(c_at(x, batch, m, n), sum * 0.5f + sn_load_f32_v(x->bias + n));
}
SN_INLINE void sn_epilogue_s(const SnContext *x, float sum, int64_t batch, int64_t m, int64_t n) {
    *c_at(x, batch, m, n) = sum * 0.5f + x->bias[n];
}
int multiply(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end);
int multiply(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {
    SnContext x = {buffers[0], buffers[1], buffers[2], buffers[3], symbols};
#if SN_GEMM_B == 0
    if (symbols[0] == 1) {
        sn_gemm_row_run(&x, symbols[1], symbols[2], symbols[3], ROW_BLOCKS(symbols[1]), ROW_PIECES, begin,
                        end);
        return 0;
    }
#endif
    sn_gemm_run(&x, symbols[0], symbols[1], symbols[2], begin, end);
    return 0;
}
int64_t after(int64_t M, int64_t N, int64_t batch);
int64_t after(int64_t M, int64_t N, int64_t batch) {
#if SN_GEMM_B == 0
    if (M == 1 && ROW_PIECES > 1) return batch * ROW_BLOCKS(N);
#else
    (void)M, (void)N, (void)batch;
#endif
    return 0;
}
int64_t items(int64_t M, int64_t N, int64_t batch);
int64_t items(int64_t M, int64_t N, int64_t batch) {
    int64_t U = sn_ceil_div(M, SN_TILE_MR), P = sn_ceil_div(N, SN_TILE_NR);
#if SN_GEMM_B == 0
    if (M == 1) return batch * ROW_BLOCKS(N) * ROW_PIECES;
#if SN_GEMM_SPLIT
    if (M >= SN_GEMM_SPLIT) return batch * sn_ceil_div(U, SN_GEMM_HEIGHTS) * sn_ceil_div(P, SN_GEMM_STEP);
#endif
    return batch * (U <= SN_GEMM_FEW ? P : sn_ceil_div(P, SN_GEMM_PANELS) * sn_ceil_div(U, SN_GEMM_BLOCKS));
#else
    return batch * sn_ceil_div(U, SN_GEMM_HEIGHTS) * sn_ceil_div(P, 2);
#endif
}
#endif

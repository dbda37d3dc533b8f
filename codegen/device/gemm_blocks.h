/* Panels of narrow integers with a factor for each column and each block of rows of K: after gemm_panel.h, before
 * gemm_packed.h.
 *   SN_GEMM_BITS  8 (default): panels of i8 [K][NR]; 4: words [K/8][NR], the row of the least k in the lowest bits, K
 *                 and blocks multiples of 8
 * Many rows of A meet a piece of a panel that was widened to f32 once; few of them widen and scale it as they read it, which the
 * bytes of the panels bound. Both multiply by the rounded product of a number and its factor, so that sums do not depend on
 * how many rows there are. */
#ifndef SN_DEVICE_GEMM_BLOCKS_H
#define SN_DEVICE_GEMM_BLOCKS_H

#define SN_BLOCKS_FAR 4096 /* bytes of a panel that are fetched ahead */

/* The numbers of SN_LANES columns: all of them, or the lowest four bits. */
SN_INLINE vf32 sn_blocks_whole(vi32 x) {
    return SN_CONVERT(x, vf32);
}
#if SN_LANES == 16 && defined(__AVX512F__) && !defined(__clang__)
/* One instruction, which looks at no other bits of an index. */
SN_INLINE vf32 sn_blocks_low(vi32 x) {
    return __builtin_shuffle((vf32){0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1}, x);
}
#else
SN_INLINE vf32 sn_blocks_low(vi32 x) {
    return SN_CONVERT(x << 28 >> 28, vf32);
}
#endif
#if SN_GEMM_BITS == 4
#define SN_BLOCKS_STEP    8 /* rows that are loaded together */
#define sn_blocks_load(p) sn_load_i32_v(p)
#define sn_blocks_number  sn_blocks_low
#else
#define SN_BLOCKS_STEP    1
#define sn_blocks_load(p) sn_load_i8_v(p)
#define sn_blocks_number  sn_blocks_whole
#endif
#define SN_BLOCKS_BYTES (SN_BLOCKS_STEP * SN_GEMM_BITS / 8) /* of a column in a step */

/* The factors of panel p from row k on. */
SN_INLINE const float *sn_blocks_factors(const SnGemm *g, const SnGemmRound *r, int64_t p) {
    int64_t blocks = sn_ceil_div(g->K, SN_GEMM_BLOCK);
    return (const float *)g->holes->factors(g->context, r->batch) +
           (p * blocks + r->k / SN_GEMM_BLOCK) * SN_TILE_NR;
}

/* A round's piece of panel p as f32. */
SN_OUTLINE void sn_gemm_widen(const SnGemm *g, const SnGemmRound *r, int64_t p, float *wide) {
    const int8_t *panel = (const int8_t *)sn_gemm_panel(g, r, p);
    const float *factors = sn_blocks_factors(g, r, p);
    for (int64_t k = 0, end; k < r->count; k = end, factors += SN_TILE_NR) {
        end = sn_least(r->count, ((r->k + k) / SN_GEMM_BLOCK + 1) * SN_GEMM_BLOCK - r->k);
        for (int64_t j = 0; j < SN_TILE_NR; j += SN_LANES) {
            vf32 factor = sn_load_f32_v(factors + j);
            for (int64_t i = k; i < end; i += SN_BLOCKS_STEP) {
                vi32 word = sn_blocks_load(panel + (i / SN_BLOCKS_STEP * SN_TILE_NR + j) * SN_BLOCKS_BYTES);
                for (int row = 0; row < SN_BLOCKS_STEP; row++, word >>= 4)
                    sn_store_f32_v(wide + (i + row) * SN_TILE_NR + j, sn_blocks_number(word) * factor);
            }
        }
    }
}

/* ---- few rows ---- */

#define SN_BLOCKS_FACTOR(i, j)                                                                               \
    vf32 f##i##_##j = panels > i ? sn_load_f32_v(factors + (i)*beside_factors + (j)*SN_LANES) : (vf32){0};   \
    if (panels > i) __builtin_prefetch(factors + (i)*beside_factors + 4 * SN_TILE_NR + (j)*SN_LANES);
#define SN_BLOCKS_LOAD(i, j)                                                                                 \
    vi32 w##i##_##j =                                                                                        \
        panels > i ? sn_blocks_load(b + (i)*beside + (j)*SN_LANES * SN_BLOCKS_BYTES) : (vi32){0};
#define SN_BLOCKS_NUMBER(i, j) vf32 b##i##_##j = sn_blocks_number(w##i##_##j) * f##i##_##j;
#define SN_BLOCKS_NEXT(i, j)   w##i##_##j >>= 4;
#define SN_BLOCKS_BOTH(F)      SN_TILE_COLUMNS(F, 0) SN_TILE_COLUMNS(F, 1)
#define SN_BLOCKS_ADD(i, j)    c##i##_##j += x * (panels > 1 && i == 1 ? b1_##j : b0_##j);
#define SN_BLOCKS_ROW(i)                                                                                     \
    if (rows > i) {                                                                                          \
        vf32 x = sn_splat_f32(a[(panels > 1 ? 0 : i) * lda + k * along]);                                    \
        SN_TILE_COLUMNS(SN_BLOCKS_ADD, i)                                                                    \
    }
#define SN_BLOCKS_FETCH(i, j)                                                                                \
    if (panels > i && (j) < (SN_TILE_NR * SN_BLOCKS_BYTES + 63) / 64)                                        \
        __builtin_prefetch(b + (i)*beside + SN_BLOCKS_FAR + (j)*64);

/* Rows of A by a panel, or, where `panels` is 2, one row by two of them, which lie `beside` bytes apart, so that a chain of
 * additions waits less for itself; `rows` is 2 then, c's rows are the panels'. The first block ends before row `end`. */
SN_INLINE void sn_blocks_tile(const int rows, const int panels, int64_t length, int64_t end, const float *a,
                              const int64_t lda, const int64_t along, const int8_t *b, int64_t beside,
                              const float *factors, int64_t beside_factors, float *c, int64_t ldc,
                              int accumulate) {
    SN_TILE_ROWS(SN_TILE_DECLARE_ROW)
    if (accumulate) {
        SN_TILE_ROWS(SN_TILE_FETCH_ROW)
    }
    for (int64_t k = 0; k < length; end += SN_GEMM_BLOCK, factors += SN_TILE_NR) {
        SN_BLOCKS_BOTH(SN_BLOCKS_FACTOR)
        for (int64_t last = sn_least(end, length); k < last; b += SN_TILE_NR * SN_BLOCKS_BYTES) {
            SN_BLOCKS_BOTH(SN_BLOCKS_LOAD)
            SN_BLOCKS_BOTH(SN_BLOCKS_FETCH)
#pragma GCC unroll 8
            for (int row = 0; row < SN_BLOCKS_STEP; row++, k++) {
                SN_BLOCKS_BOTH(SN_BLOCKS_NUMBER)
                SN_TILE_ROWS(SN_BLOCKS_ROW)
                SN_BLOCKS_BOTH(SN_BLOCKS_NEXT)
            }
        }
    }
    SN_TILE_ROWS(SN_TILE_KEEP_ROW)
}

#define SN_BLOCKS_CASE(n, unused)                                                                            \
    case n:                                                                                                  \
        sn_blocks_tile(n, 1, r->count, end, from, SN_GEMM_LDA, SN_GEMM_NEXT, b, 0, factors, 0, c,            \
                       SN_GEMM_LDC, r->k > 0);                                                               \
        break;

/* A round of at most two heights. */
SN_OUTLINE void sn_gemm_few(const SnGemm *g, const SnGemmRound *r, float *a, float *sums) {
    int64_t end = SN_GEMM_BLOCK - r->k % SN_GEMM_BLOCK, wide;
    for (int64_t p = r->p0; p < r->p1; p += wide) {
        const int8_t *b = (const int8_t *)sn_gemm_panel(g, r, p);
        const float *factors = sn_blocks_factors(g, r, p);
        wide = g->M == 1 && p + 1 < r->p1 ? 2 : 1;
        for (int64_t u = r->u0; u < r->u1; u++) {
            int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m;
            const float *from = sn_gemm_height(g, r, u, a);
            float *c =
                sums +
                (g->pieces > 1 ? (u - r->u0) * SN_TILE_MR * SN_GEMM_LDC + (p - r->p0) * SN_TILE_NR : 0);
            if (wide == 2)
                sn_blocks_tile(2, 2, r->count, end, from, SN_GEMM_LDA, SN_GEMM_NEXT, b,
                               SN_GEMM_PANEL_BYTES(g->K), factors,
                               sn_ceil_div(g->K, SN_GEMM_BLOCK) * SN_TILE_NR, c, SN_TILE_NR, r->k > 0);
            else
                switch (sn_tile_height(rows)) { SN_TILE_CASES(SN_BLOCKS_CASE, 0) }
            if (r->k + r->count >= g->K)
                g->holes->finish(g->context, c, SN_GEMM_LDC, r->batch, m, rows, p * SN_TILE_NR,
                                 sn_least(wide * SN_TILE_NR, g->N - p * SN_TILE_NR));
        }
    }
}

#endif

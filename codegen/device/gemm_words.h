/* Operands of contractions in words of several elements of a column of A's row or of B: after gemm.h, where SN_GEMM_WORD is not 1.
 * What lies behind K in its last word is zero. With SN_GEMM_MATRIX those of B alone. */
#ifndef SN_DEVICE_GEMM_WORDS_H
#define SN_DEVICE_GEMM_WORDS_H

#if SN_GEMM_MATRIX
#elif SN_GEMM_A_ACROSS
SN_INLINE float sn_gemm_inner(const SnGemm *g, int64_t batch, int64_t m, int64_t k) {
    return k < g->depth ? sn_gemm_a_s(g->context, batch, m, k) : 0;
}
/* out (count, MR), as numbers are copied. */
SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, int32_t *out) {
    int64_t whole = sn_least(g->depth / 2 - k, count); /* words without a zero */
    if (m + sn_ceil_div(rows, SN_LANES) * SN_LANES > g->M) whole = 0;
    for (int64_t i = 0; i < whole; i++)
        for (int64_t r = 0; r < rows; r += SN_LANES)
            sn_store_i32_v(out + i * SN_TILE_MR + r,
                           sn_tile_pairs(sn_gemm_a_v(g->context, batch, m + r, 2 * (k + i)),
                                         sn_gemm_a_v(g->context, batch, m + r, 2 * (k + i) + 1)));
    for (int64_t i = whole; i < count; i++)
        for (int64_t r = 0; r < SN_TILE_MR; r++) {
            uint32_t first = r < rows ? sn_tile_part(sn_gemm_inner(g, batch, m + r, 2 * (k + i))) : 0;
            uint32_t second = r < rows ? sn_tile_part(sn_gemm_inner(g, batch, m + r, 2 * (k + i) + 1)) : 0;
            out[i * SN_TILE_MR + r] = (int32_t)(first | second << 16);
        }
}
#else
/* out (height, LDA); the rows to the height are zero. */
SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, int32_t *out) {
    int64_t first = SN_GEMM_WORD * k, parts = SN_GEMM_WORD * count, known = sn_least(g->depth - first, parts);
    for (int64_t r = 0; r < sn_tile_height(rows); r++) {
        SnTilePart *row = (SnTilePart *)(out + r * SN_GEMM_LDA);
        int64_t i = 0;
#if !SN_GEMM_A_ALONG_M
        for (; r < rows && i + SN_LANES <= known; i += SN_LANES) {
#if SN_GEMM_A_POINTER
            __builtin_prefetch(sn_gemm_a_pointer(g->context, batch, m + r + SN_GEMM_FAR, first + i));
#endif
            sn_tile_store_parts(row + i, sn_gemm_a_v(g->context, batch, m + r, first + i));
        }
#endif
        for (; r < rows && i < known; i++)
            row[i] = sn_tile_part(sn_gemm_a_s(g->context, batch, m + r, first + i));
        for (; i < parts; i++) row[i] = 0;
    }
}
#endif

#if SN_GEMM_B == 0
SN_INLINE int32_t sn_gemm_pair_b(const SnGemm *g, int64_t batch, int64_t k, int64_t n) {
    uint32_t first = sn_tile_part(sn_gemm_b_s(g->context, batch, 2 * k, n)), second = 0;
    if (2 * k + 1 < g->depth) second = sn_tile_part(sn_gemm_b_s(g->context, batch, 2 * k + 1, n));
    return (int32_t)(first | second << 16);
}

/* The words of SN_LANES rows k .. and as many columns n .. go to out, rows SN_TILE_NR apart. */
#if SN_GEMM_B_ALONG_K
SN_INLINE void sn_gemm_gather_square(const SnGemm *g, int64_t batch, int64_t k, int64_t n, int32_t *out) {
    SN_ALIGNED int32_t square[SN_LANES * SN_LANES];
    for (int64_t l = 0; l < SN_LANES; l++) {
        SnTilePart *row = (SnTilePart *)(square + l * SN_LANES);
        sn_tile_store_parts(row, sn_gemm_b_v(g->context, batch, 2 * k, n + l));
        sn_tile_store_parts(row + SN_LANES, sn_gemm_b_v(g->context, batch, 2 * k + SN_LANES, n + l));
    }
    sn_transpose_square((const float *)square, (float *)out, SN_TILE_NR);
}
#define SN_GEMM_TOGETHER SN_LANES
#else
SN_INLINE void sn_gemm_gather_square(const SnGemm *g, int64_t batch, int64_t k, int64_t n, int32_t *out) {
    sn_store_i32_v(out, sn_tile_pairs(sn_gemm_b_v(g->context, batch, 2 * k, n),
                                      sn_gemm_b_v(g->context, batch, 2 * k + 1, n)));
}
#define SN_GEMM_TOGETHER 1 /* rows of words that are read at once */
#endif

/* out (panels, count, NR): rows of words k .. k+count of the panels whose first column is n, zero from column N on. */
SN_OUTLINE void sn_gemm_gather_b_words(const SnGemm *g, int64_t batch, int64_t k, int64_t count, int64_t n,
                                       int64_t panels, int32_t *out) {
    int64_t columns = sn_least(g->N - n, panels * SN_TILE_NR),
            done = 0; /* rows that the whole vectors have */
    int64_t whole = columns / SN_LANES * SN_LANES, full = sn_least(g->depth / 2 - k, count);
    for (; done + SN_GEMM_TOGETHER <= full; done += SN_GEMM_TOGETHER)
        for (int64_t j = 0; j < whole; j += SN_LANES)
            sn_gemm_gather_square(g, batch, k + done, n + j,
                                  out + (j / SN_TILE_NR * count + done) * SN_TILE_NR + j % SN_TILE_NR);
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = i < done ? whole : 0; j < panels * SN_TILE_NR; j++)
            out[(j / SN_TILE_NR * count + i) * SN_TILE_NR + j % SN_TILE_NR] =
                j < columns ? sn_gemm_pair_b(g, batch, k + i, n + j) : 0;
}
#endif

#endif

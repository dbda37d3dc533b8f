/* Rows of A as matrix tiles read them: after gemm_gather.h, where SN_GEMM_MATRIX is 1. */
#ifndef SN_DEVICE_GEMM_MATRIX_COPY_H
#define SN_DEVICE_GEMM_MATRIX_COPY_H

/* Copies are (steps, ROWS, WORDS), zero behind the rows and behind K. */
#define SN_GEMM_STRIDE (SN_GEMM_ROWS * SN_GEMM_WORDS) /* words between the steps of a row */

#if SN_GEMM_A_STRIDE
SN_INLINE void sn_gemm_copy_row(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t count,
                                int32_t *out, const int64_t step) {
    const int32_t *from = sn_gemm_a_pointer(g->context, batch, m, SN_GEMM_WORD * k);
    int64_t whole = count / SN_GEMM_WORDS, rest = count % SN_GEMM_WORDS;
    for (int64_t i = 0; i < whole; i++)
        __builtin_memcpy(out + i * step, from + i * SN_GEMM_WORDS, 4 * SN_GEMM_WORDS);
    if (!rest) return;
    int32_t *last = out + whole * step;
    for (int64_t i = 0; i < SN_GEMM_WORDS; i++) last[i] = i < rest ? from[whole * SN_GEMM_WORDS + i] : 0;
}
#else
/* Elements of K that are not there are zero. */
SN_INLINE SnTilePart sn_gemm_copy_part(const SnGemm *g, int64_t batch, int64_t m, int64_t k) {
    return k < g->depth ? sn_tile_part(sn_gemm_a_s(g->context, batch, m, k)) : 0;
}
SN_INLINE void sn_gemm_copy_row(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t count,
                                int32_t *out, const int64_t step) {
    int64_t first = SN_GEMM_WORD * k, known = sn_least(g->depth - first, SN_GEMM_WORD * count);
    for (int64_t i = 0; i < sn_gemm_steps(count); i++) {
        SnTilePart *row = (SnTilePart *)(out + i * step);
        int64_t at = SN_GEMM_WORD * SN_GEMM_WORDS * i, l = 0;
#if !SN_GEMM_A_ALONG_M
        for (; l < SN_GEMM_WORD * SN_GEMM_WORDS && at + l + SN_LANES <= known; l += SN_LANES)
            sn_tile_store_parts(row + l, sn_gemm_a_v(g->context, batch, m, first + at + l));
#endif
        for (; l < SN_GEMM_WORD * SN_GEMM_WORDS; l++)
            row[l] = at + l < known ? sn_gemm_copy_part(g, batch, m, first + at + l) : 0;
    }
}
#endif

#if SN_GEMM_A_ACROSS
/* SN_LANES rows m .. of the first `whole` steps, by squares of rows and words. */
SN_INLINE void sn_gemm_copy_across(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t whole,
                                   int32_t *out) {
    SN_ALIGNED int32_t square[SN_LANES * SN_LANES];
    for (int64_t i = 0; i < whole * SN_GEMM_WORDS; i += SN_LANES) {
        for (int64_t l = 0; l < SN_LANES; l++)
            sn_store_i32_v(square + l * SN_LANES,
                           sn_tile_pairs(sn_gemm_a_v(g->context, batch, m, 2 * (k + i + l)),
                                         sn_gemm_a_v(g->context, batch, m, 2 * (k + i + l) + 1)));
        sn_transpose_square(
            (const float *)square,
            (float *)(out + i / SN_GEMM_WORDS * SN_GEMM_ROWS * SN_GEMM_WORDS + i % SN_GEMM_WORDS),
            SN_GEMM_WORDS);
    }
}
#endif

SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, int32_t *out) {
    int64_t r = 0, done = 0;
#if SN_GEMM_A_ACROSS
    done = sn_least(g->depth / 2 - k, count) / SN_GEMM_WORDS; /* steps without a zero */
    for (; r + SN_LANES <= rows; r += SN_LANES) {
        sn_gemm_copy_across(g, batch, m + r, k, done, out + r * SN_GEMM_WORDS);
        for (int64_t l = r; l < r + SN_LANES && done * SN_GEMM_WORDS < count; l++)
            sn_gemm_copy_row(g, batch, m + l, k + done * SN_GEMM_WORDS, count - done * SN_GEMM_WORDS,
                             out + (done * SN_GEMM_ROWS + l) * SN_GEMM_WORDS, SN_GEMM_STRIDE);
    }
#endif
    (void)done;
    for (; r < rows; r++)
        sn_gemm_copy_row(g, batch, m + r, k, count, out + r * SN_GEMM_WORDS, SN_GEMM_STRIDE);
    for (int64_t i = 0; i < sn_gemm_steps(count) && rows < SN_GEMM_ROWS; i++)
        __builtin_memset(out + (i * SN_GEMM_ROWS + rows) * SN_GEMM_WORDS, 0,
                         (size_t)(SN_GEMM_ROWS - rows) * 4 * SN_GEMM_WORDS);
}

#endif

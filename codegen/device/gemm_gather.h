/* What a contraction's form calls of a kernel: rows of A copied, and sums given to the epilogue. After gemm.h, which has the contract
 * of the holes; A's words are gemm_words.h's, and rows for matrix tiles gemm_matrix_copy.h's. */
#ifndef SN_DEVICE_GEMM_GATHER_H
#define SN_DEVICE_GEMM_GATHER_H

SN_INLINE SnTileVector sn_gemm_a_v(const SnContext *context, int64_t batch, int64_t m, int64_t k);
SN_INLINE SnTileNumber sn_gemm_a_s(const SnContext *context, int64_t batch, int64_t m, int64_t k);
SN_INLINE void sn_epilogue_v(const SnContext *context, SnTileVector sum, int64_t batch, int64_t m, int64_t n);
SN_INLINE void sn_epilogue_s(const SnContext *context, SnTileNumber sum, int64_t batch, int64_t m, int64_t n);
#if SN_GEMM_AHEAD
SN_INLINE void sn_epilogue_ahead(const SnContext *context, int64_t batch, int64_t m, int64_t n);
#endif
#if SN_GEMM_A_POINTER
SN_INLINE const void *sn_gemm_a_pointer(const SnContext *context, int64_t batch, int64_t m, int64_t k);
#endif

#if SN_GEMM_A_RUN
SN_INLINE vf32 sn_gemm_a_run_v(const SnContext *context, int64_t batch, int64_t m, int64_t run,
                               int64_t within);
#endif

/* Copies rows m .. m+rows of A, its columns (or words, gemm_words.h) k .. k+count. */
SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, SnTileElement *out);

#if SN_GEMM_WORD == 1 && SN_GEMM_A_ACROSS
/* out (count, MR). Whole vectors of rows are stored, each over what the one
 * before it has too much; behind the rows lies what the tile may read and nobody uses. */
SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, float *out) {
    const SnContext *context = g->context;
    if (m + sn_ceil_div(rows, SN_LANES) * SN_LANES <= g->M) {
        for (int64_t i = 0; i < count; i++)
            for (int64_t r = 0; r < rows; r += SN_LANES)
                sn_store_f32_v(out + i * SN_TILE_MR + r, sn_gemm_a_v(context, batch, m + r, k + i));
        return;
    }
    for (int64_t i = 0; i < count; i++)
        for (int64_t r = 0; r < SN_TILE_MR; r++)
            out[i * SN_TILE_MR + r] = r < rows ? sn_gemm_a_s(context, batch, m + r, k + i) : 0;
}
#elif SN_GEMM_WORD == 1 && SN_GEMM_A_RUN
/* out (height, LDA); the rows to the height are zero. Vectors go beyond the ends of runs and rows, which is stored over. */
SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, float *out) {
    const SnContext *context = g->context;
    for (int64_t r = 0; r < rows; r++, out += SN_GEMM_LDA) {
        int64_t run = k / SN_GEMM_A_RUN, from = k % SN_GEMM_A_RUN, at = 0;
        for (; at < count; run++, from = 0) {
            int64_t to = sn_least(SN_GEMM_A_RUN, from + count - at);
            for (int64_t i = from; i < to; i += SN_LANES)
                sn_store_f32_v(out + at + i - from, sn_gemm_a_run_v(context, batch, m + r, run, i));
            at += to - from;
        }
    }
    for (int64_t r = rows; r < sn_tile_height(rows); r++, out += SN_GEMM_LDA)
        __builtin_memset(out, 0, (size_t)count * sizeof(float));
}
#elif SN_GEMM_WORD == 1
/* out (height, LDA); the rows to the height are zero. */
SN_OUTLINE void sn_gemm_gather_a(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k,
                                 int64_t count, float *out) {
    const SnContext *context = g->context;
    int64_t whole = 0; /* columns already there */
    for (int64_t r = 0; r < rows; r++)
        for (whole = 0; whole + SN_LANES <= count; whole += SN_LANES) {
#if SN_GEMM_A_POINTER
            __builtin_prefetch(sn_gemm_a_pointer(context, batch, m + r + SN_GEMM_FAR, k + whole));
#endif
            sn_store_f32_v(out + r * SN_GEMM_LDA + whole, sn_gemm_a_v(context, batch, m + r, k + whole));
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = whole; i < count; i++)
            out[r * SN_GEMM_LDA + i] = sn_gemm_a_s(context, batch, m + r, k + i);
    for (int64_t r = rows; r < sn_tile_height(rows); r++)
        __builtin_memset(out + r * SN_GEMM_LDA, 0, (size_t)count * sizeof(float));
}
#endif

#if SN_GEMM_A_POINTER && SN_GEMM_A_ACROSS
/* Fetches rows m .. end of A, which lie side by side, and columns k .. k+count of it. */
SN_OUTLINE void sn_gemm_fetch_a(const SnContext *context, int64_t batch, int64_t m, int64_t end, int64_t k,
                                int64_t count) {
    for (int64_t i = k; i < k + count; i++)
        for (int64_t r = m; r < end; r += SN_LANES * SN_GEMM_WORD)
            __builtin_prefetch(sn_gemm_a_pointer(context, batch, r, i), 0, 2);
}
#endif

#if SN_GEMM_SPLIT && SN_GEMM_A_ACROSS
/* out (count, LANES): up to SN_LANES rows m .. of A by columns k .. k+count; zero behind the rows. */
SN_OUTLINE void sn_gemm_gather_lanes(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t count,
                                     float *out) {
    int64_t rows = sn_least(g->M - m, SN_LANES);
    for (int64_t l = 0; l < count; l++, out += SN_LANES)
        if (rows == SN_LANES) {
            sn_store_f32_v(out, sn_gemm_a_v(g->context, batch, m, k + l));
        } else {
            for (int64_t i = 0; i < SN_LANES; i++)
                out[i] = i < rows ? sn_gemm_a_s(g->context, batch, m + i, k + l) : 0;
        }
}
#endif

/* sums (rows, lds) of rows m .. and columns n .. n+columns go to the epilogue, each once. */
SN_OUTLINE void sn_gemm_finish(const SnContext *context, const SnTileNumber *sums, int64_t lds, int64_t batch,
                               int64_t m, int64_t rows, int64_t n, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) {
        const SnTileNumber *row = sums + r * lds;
        int64_t i = 0;
        for (; i + SN_LANES <= columns; i += SN_LANES) {
#if SN_GEMM_AHEAD
            sn_epilogue_ahead(context, batch, m + r, n + i + SN_TILE_NR); /* for the next panel */
#endif
            sn_epilogue_v(context, sn_tile_load(row + i), batch, m + r, n + i);
        }
        for (; i < columns; i++) sn_epilogue_s(context, row[i], batch, m + r, n + i);
    }
}

#endif

/* Contraction of bf16 with a B that is data, by matrix tiles: after gemm_pack.h, gemm.h, matrix.h, gemm_words.h, gemm_panel.h
 * and gemm_matrix.h, whose work items these are.
 *
 * A piece of a few panels is packed as words at once, since a row of B is often all that lies together in memory, and then meets
 * all heights of a block.
 * Stack: 4 * (32 * HEIGHTS * (KC + GROUP * NR) + TAKEN * KC * NR) bytes, 1.5 MB with pieces of 384 words and panels of 48. */
#ifndef SN_DEVICE_GEMM_MATRIX_UNPACKED_H
#define SN_DEVICE_GEMM_MATRIX_UNPACKED_H

#define SN_GEMM_TAKEN 4 /* panels that are packed at once */

SN_OUTLINE void sn_gemm_round(const SnGemm *g, const SnGemmRound *r, int32_t *a, int32_t *words, float *sums,
                              SnGemmRest *rest) {
    sn_gemm_copy_block(g, r, a);
    for (int64_t p = r->p0; p < r->p1; p += SN_GEMM_TAKEN) {
        int64_t taken = sn_least(r->p1 - p, SN_GEMM_TAKEN);
        g->holes->gather_words(g, r->batch, r->k, r->count, p * SN_TILE_NR, taken, words);
        for (int64_t i = 0; i < taken; i++)
            sn_gemm_panel_part(g, r, p + i, (const char *)(words + i * r->count * SN_TILE_NR), 0, r->count,
                               (const char *)0, a, sums, rest);
    }
}

SN_OUTLINE void sn_gemm_many(SnGemm *g, int64_t begin, int64_t end) {
    SN_ALIGNED int32_t a[SN_GEMM_HEIGHTS * SN_GEMM_COPY], words[SN_GEMM_TAKEN * SN_GEMM_KC * SN_TILE_NR];
    SN_ALIGNED float sums[SN_GEMM_HEIGHTS * SN_GEMM_GROUP * SN_GEMM_SUMS];
    SnGemmRest rest = {.rows = 0};
    SnGemmRound r = sn_gemm_begin(g, &begin, end);
    sn_matrix_begin();
    for (; r.u0 < r.u1; r = sn_gemm_behind(g, &r, &begin, end)) sn_gemm_round(g, &r, a, words, sums, &rest);
    sn_gemm_finish_some(g, &rest, rest.rows);
    sn_matrix_end();
}

SN_OUTLINE void sn_gemm_run_tiles(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                                  int64_t K, int64_t begin, int64_t end) {
    SnGemm g = sn_gemm_shape(context, holes, M, N, K);
    if (begin < end) sn_gemm_many(&g, begin, end);
}

SN_COMMON void SN_COMMON_NAME(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                              int64_t K, int64_t begin, int64_t end) {
    sn_gemm_run_tiles(context, holes, M, N, K, begin, end);
}

#endif

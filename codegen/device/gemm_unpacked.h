/* Contraction with a B that is data, packed by every work item for itself: after gemm_pack.h, gemm.h, whose
 * contract it completes.
 *
 * For the host, which may define SN_GEMM_PANELS and SN_GEMM_BLOCKS, the panels and the heights of the tile in a
 * work item (default 4 and what gives about 256 rows): with U = ceil(M / SN_TILE_MR) and P = ceil(N / NR)
 *   work items       batch * (U <= 4 ? P : ceil(P / SN_GEMM_PANELS) * ceil(U / SN_GEMM_BLOCKS))
 *
 * A work item is a block of panels by heights of the tile, or a panel and all the rows, when these are few;
 * neighbours in a call are joined, so that the panels stay in the second-level cache. Stack: less than 1.1 MB with the default tile. */
#ifndef SN_DEVICE_GEMM_UNPACKED_H
#define SN_DEVICE_GEMM_UNPACKED_H

#ifndef SN_GEMM_PANELS
#define SN_GEMM_PANELS 4
#endif
#ifndef SN_GEMM_BLOCKS
#define SN_GEMM_BLOCKS (256 / SN_TILE_MR)
#endif
#define SN_GEMM_FEW 4 /* heights at most for which an item is one panel and all rows */
/* Heights joined at most: the sums of the block, the panels and a height of A share the second-level cache.
 */
#define SN_GEMM_MOST     (512 / SN_TILE_MR / SN_GEMM_BLOCKS * SN_GEMM_BLOCKS)
#define SN_GEMM_JOIN     (SN_GEMM_MOST > SN_GEMM_BLOCKS ? SN_GEMM_MOST : SN_GEMM_BLOCKS)
#define SN_GEMM_SUMS_LDC (SN_GEMM_PANELS * SN_TILE_NR + SN_LANES)

/* The heights u0 .. u1 of the tile (at most SN_GEMM_JOIN) by the panels p0 .. p1 (at most SN_GEMM_PANELS). */
SN_OUTLINE void sn_gemm_block(const SnGemm *g, int64_t u0, int64_t u1, int64_t p0, int64_t p1) {
    SN_ALIGNED SnTileElement a[SN_GEMM_HEIGHT];
    SN_ALIGNED float sums[SN_GEMM_JOIN * SN_TILE_MR * SN_GEMM_SUMS_LDC];
    SN_ALIGNED SnTileElement packed[SN_GEMM_PANELS * SN_GEMM_KC * SN_TILE_NR];
    int64_t k = 0;
    do {
        int64_t count = sn_least(g->K - k, g->piece);
#if SN_GEMM_WORD > 1
        g->holes->gather_words(g, g->batch, k, count, p0 * SN_TILE_NR, p1 - p0, packed);
#else
        g->holes->gather_b(g->context, g->batch, k, count, p0 * SN_TILE_NR, p1 - p0, g->N, packed);
#endif
        for (int64_t u = u0; u < u1; u++) {
            int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m;
            float *c = sums + (g->pieces > 1 ? (u - u0) * SN_TILE_MR * SN_GEMM_SUMS_LDC : 0);
            g->holes->gather_a(g, g->batch, m, rows, k, count, a);
            for (int64_t p = p0; p < p1; p++) {
                const SnTileElement *b = packed + (p - p0) * count * SN_TILE_NR;
                float *sum = c + (p - p0) * SN_TILE_NR;
                sn_tile(sn_tile_height(rows), count, a, SN_GEMM_LDA, SN_GEMM_NEXT, b, sum, SN_GEMM_SUMS_LDC,
                        k > 0);
                if (k + count >= g->K)
                    g->holes->finish(g->context, sum, SN_GEMM_SUMS_LDC, g->batch, m, rows, p * SN_TILE_NR,
                                     sn_least(SN_TILE_NR, g->N - p * SN_TILE_NR));
            }
        }
        k += count;
    } while (k < g->K);
}

SN_OUTLINE void sn_gemm_run_tiles(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                                  int64_t K, int64_t begin, int64_t end) {
    SnGemm g = sn_gemm_shape(context, holes, M, N, K);
    int64_t U = g.heights, P = g.panels, joined;
    int64_t row_items = sn_ceil_div(U, SN_GEMM_BLOCKS), panel_items = sn_ceil_div(P, SN_GEMM_PANELS);
    for (int64_t item = begin; item < end; item += joined) {
        if (U <= SN_GEMM_FEW) { /* 0: no rows, of which the items know nothing */
            int64_t p = item % P;
            g.batch = item / P;
            joined = sn_least(end - item, P - p);
            joined = sn_least(joined, SN_GEMM_PANELS);
            sn_gemm_block(&g, 0, U, p, p + joined);
        } else {
            int64_t u = item % row_items, p = item / row_items % panel_items * SN_GEMM_PANELS;
            g.batch = item / (row_items * panel_items);
            joined = sn_least(sn_least(end - item, row_items - u), SN_GEMM_JOIN / SN_GEMM_BLOCKS);
            sn_gemm_block(&g, u * SN_GEMM_BLOCKS, sn_least(U, (u + joined) * SN_GEMM_BLOCKS), p,
                          sn_least(P, p + SN_GEMM_PANELS));
        }
    }
}

#if !SN_GEMM_SPLIT /* otherwise gemm_split.h's */
SN_COMMON void SN_COMMON_NAME(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                              int64_t K, int64_t begin, int64_t end) {
    sn_gemm_run_tiles(context, holes, M, N, K, begin, end);
}
#endif

#endif

/* Contraction with a B that lies packed in panels: after gemm.h, whose contract it completes, gemm_panel.h, and gemm_blocks.h
 * where panels have factors.
 *   SN_GEMM_HEIGHTS  heights of the tile in a block, default 8
 * Work items, for the host, which may define SN_GEMM_HEIGHTS: with U = ceil(M / SN_TILE_MR) and P = ceil(N / NR)
 *   batch * ceil(U / SN_GEMM_HEIGHTS) * ceil(P / 2)
 *
 * A block of rows, which the second-level cache holds, meets one panel after the other: a piece of a panel
 * comes from memory once a block, while the piece before it is multiplied, and the sums of a block stay near
 * until K is done. All blocks of rows meet the panels of a group before the next group, so that these come from
 * the last-level cache.
 * Panels of i8 are widened a piece at a time where full tiles meet it, into KC * NR floats beside
 * what the stack holds otherwise: 4 * HEIGHTS * MR * (KC + GROUP * NR + 2 * LANES) bytes, 400 KB with the defaults and 8 by 3, or
 * 4 * MR * (A_STRIDE + HEIGHTS * (GROUP * NR + LANES)), 700 KB with the longest rows. */
#ifndef SN_DEVICE_GEMM_PACKED_H
#define SN_DEVICE_GEMM_PACKED_H

/* Fetches the part of tile `at` of the block of A that the next round copies. */
SN_INLINE void sn_gemm_fetch(const SnGemm *g, const SnGemmRound *r, const SnGemmRound *next, int64_t at) {
#if SN_GEMM_A_POINTER && SN_GEMM_A_ACROSS
    int64_t tiles = (r->u1 - r->u0) * (r->p1 - r->p0), end = sn_gemm_first(g, next->u1);
    int64_t first = next->count * at / tiles * SN_GEMM_WORD,
            last = next->count * (at + 1) / tiles * SN_GEMM_WORD;
    g->holes->fetch_a(g->context, next->batch, sn_gemm_first(g, next->u0), end,
                      next->k * SN_GEMM_WORD + first, last - first);
#else
    (void)g, (void)r, (void)next, (void)at;
#endif
}

#if !SN_GEMM_BLOCK && SN_GEMM_B == 4
/* A round's piece of panel p as f32: once for the many heights that meet it. */
SN_OUTLINE void sn_gemm_widen(const SnGemm *g, const SnGemmRound *r, int64_t p, float *wide) {
    const int8_t *panel = (const int8_t *)sn_gemm_panel(g, r, p);
    for (int64_t i = 0; i < r->count * SN_TILE_NR; i += SN_LANES)
        sn_store_f32_v(wide + i, SN_CONVERT(sn_load_i8_v(panel + i), vf32));
}
#endif

/* Does a round, whose first panel was fetched before or not. Many heights meet a piece of a panel, and each of them
 * fetches its share of the next one and, unless SN_TILE_ONCE, two thirds of the share behind it, since what is asked for only once
 * does not always come in time; where they are so few that they would not fetch it in time, the first one reads the piece as it
 * comes. */
SN_OUTLINE void sn_gemm_round(const SnGemm *g, const SnGemmRound *r, const SnGemmRound *next, int near,
                              SnTileElement *a, SnTileNumber *sums, float *wide) {
    (void)wide;
    int64_t heights = r->u1 - r->u0, bytes = SN_GEMM_PANEL_BYTES(2) / (SN_TILE_B == 2 ? 1 : 2);
    int64_t share = heights > 2 ? SN_GEMM_PANEL_BYTES(r->count) / heights : 0;
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m;
        if (!sn_gemm_lies(g, u))
            g->holes->gather_a(g, r->batch, m, rows, r->k, r->count, sn_gemm_copy(r, u, a));
    }
#if SN_GEMM_BLOCK
    if (heights <= 2) {
        sn_gemm_few(g, r, a, sums);
        return;
    }
#endif
    for (int64_t p = r->p0; p < r->p1; p++) {
        const char *b = sn_gemm_panel(g, r, p);
        const char *ahead = p + 1 < r->p1 ? sn_gemm_panel(g, r, p + 1) : sn_gemm_panel(g, next, next->p0);
#if SN_GEMM_B == 4
        if (SN_GEMM_BLOCK || heights > 2) sn_gemm_widen(g, r, p, wide);
#endif
        for (int64_t u = r->u0; u < r->u1; u++) {
            int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m, height = u - r->u0;
            int64_t step = heights > 2 ? sn_ceil_div(bytes * (SN_TILE_ONCE ? 3 : 5), heights * 3)
                           : height    ? 64
                                       : 0;
            const void *from = b;
            int here = near;
#if SN_GEMM_B == 4
            /* Without factors lower tiles widen as they read. */
            here = SN_GEMM_BLOCK || (heights > 2 && sn_tile_height(rows) == SN_TILE_MR);
            if (here) from = wide;
#endif
            SnTileNumber *sum =
                sums + (g->pieces > 1 ? height * SN_TILE_MR * SN_GEMM_LDC + (p - r->p0) * SN_TILE_NR : 0);
            sn_tile_stream(sn_tile_height(rows), r->count, sn_gemm_height(g, r, u, a), SN_GEMM_LDA,
                           SN_GEMM_NEXT, from, sum, SN_GEMM_LDC, r->k > 0, ahead + share * height,
                           here ? step : 0);
            near = 1;
            sn_gemm_fetch(g, r, next, (p - r->p0) * heights + height);
            if (r->k + r->count >= g->K)
                g->holes->finish(g->context, sum, SN_GEMM_LDC, r->batch, m, rows, p * SN_TILE_NR,
                                 sn_least(SN_TILE_NR, g->N - p * SN_TILE_NR));
        }
    }
}

SN_OUTLINE void sn_gemm_run_tiles(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                                  int64_t K, int64_t begin, int64_t end) {
    SN_ALIGNED SnTileElement a[(SN_GEMM_A_STRIDE ? 1 : SN_GEMM_HEIGHTS) * SN_GEMM_HEIGHT];
    SN_ALIGNED SnTileNumber sums[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_LDC];
#if SN_GEMM_B == 4
    SN_ALIGNED float wide[SN_GEMM_KC * SN_TILE_NR];
#else
    float *const wide = (float *)0;
#endif
    SnGemm g = sn_gemm_shape(context, holes, M, N, K);
    int64_t item = begin;
    SnGemmRound r = {0}, next;
    if (begin < end) r = sn_gemm_begin(&g, &item, end);
    for (int near = 0; r.u0 < r.u1; near = 1, r = next) {
        next = sn_gemm_behind(&g, &r, &item, end);
        sn_gemm_round(&g, &r, &next, near, a, sums, wide);
    }
}

#if !SN_GEMM_SPLIT /* otherwise gemm_split.h's */
SN_COMMON void SN_COMMON_NAME(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                              int64_t K, int64_t begin, int64_t end) {
    sn_gemm_run_tiles(context, holes, M, N, K, begin, end);
}
#endif

#endif

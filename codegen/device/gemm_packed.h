/* Contraction with a B that lies packed in panels: after gemm.h, whose contract it completes.
 *   SN_GEMM_HEIGHTS  heights of the tile in a block, default 8
 * Work items, for the host, which may define SN_GEMM_HEIGHTS: with U = ceil(M / SN_TILE_MR) and P = ceil(N / NR)
 *   batch * ceil(U / SN_GEMM_HEIGHTS) * ceil(P / 2)
 *
 * A block of rows, copied into the second-level cache, meets one panel after the other: a piece of a panel
 * comes from memory once a block, while the piece before it is multiplied, and the sums of a block stay near
 * until K is done. All blocks of rows meet the panels of a group before the next group, so that these come from
 * the last-level cache.
 * Stack: 4 * HEIGHTS * MR * (KC + GROUP * NR + 2 * LANES) bytes, 400 KB with the defaults and 8 by 3. */
#ifndef SN_DEVICE_GEMM_PACKED_H
#define SN_DEVICE_GEMM_PACKED_H

#ifndef SN_GEMM_HEIGHTS
#define SN_GEMM_HEIGHTS 8
#endif
#define SN_GEMM_STEP  2                   /* panels of a work item */
#define SN_GEMM_GROUP 16                  /* panels whose sums a block keeps */
#define SN_GEMM_WIDE  (4 * SN_GEMM_GROUP) /* panels of a group where K is one piece: no sums are kept */
#define SN_GEMM_LDC   (SN_GEMM_GROUP * SN_TILE_NR + SN_LANES)

SN_INLINE const void *sn_gemm_panels(const SnContext *context, int64_t batch);

/* While a piece of a panel is multiplied by `heights` heights of A, each of them fetches its share of the next
 * piece: where it begins, and the bytes in a step of the tile; 0 where so few heights would not fetch it in
 * time, and the first one reads the panel as it comes. */
SN_INLINE int64_t sn_gemm_share(int64_t count, int64_t heights, int64_t u) {
    return heights > 2 ? SN_TILE_PANEL_BYTES(count) * u / heights : 0;
}
SN_INLINE int64_t sn_gemm_step(int64_t heights, int64_t u) {
    int64_t bytes = SN_TILE_PANEL_BYTES(2) / (SN_TILE_B == 2 ? 1 : 2); /* of B, in a step of the tile */
    return heights > 2 ? sn_ceil_div(bytes, heights) : u ? 64 : 0;
}

/* The heights u0 .. u1 (at most SN_GEMM_HEIGHTS) by the panels p0 .. p1 of a group. */
SN_OUTLINE void sn_gemm_block(const SnGemm *g, int64_t u0, int64_t u1, int64_t p0, int64_t p1) {
    SN_ALIGNED float a[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_LDA];
    SN_ALIGNED float sums[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_LDC];
    const char *panels = sn_gemm_panels(g->context, g->batch);
    int64_t k = 0, heights = u1 - u0, count;
    int cold = 1; /* nothing has fetched the panel at hand */
    do {
        count = sn_least(g->K - k, g->piece);
        for (int64_t u = 0; u < heights; u++) {
            int64_t m = sn_gemm_first(g, u0 + u), rows = sn_gemm_first(g, u0 + u + 1) - m;
            sn_gemm_gather_a(g->context, g->batch, m, rows, g->M, k, count, a + u * SN_TILE_MR * SN_GEMM_LDA);
        }
        for (int64_t p = p0; p < p1; p++) {
            const char *b = panels + p * SN_TILE_PANEL_BYTES(g->K) + SN_TILE_PANEL_BYTES(k);
            const char *next = p + 1 < p1
                                   ? b + SN_TILE_PANEL_BYTES(g->K)
                                   : panels + p0 * SN_TILE_PANEL_BYTES(g->K) + SN_TILE_PANEL_BYTES(k + count);
            for (int64_t u = 0; u < heights; u++) {
                int64_t m = sn_gemm_first(g, u0 + u), rows = sn_gemm_first(g, u0 + u + 1) - m;
                float *sum =
                    sums + (g->pieces > 1 ? u * SN_TILE_MR * SN_GEMM_LDC + (p - p0) * SN_TILE_NR : 0);
                sn_tile_stream(sn_tile_height(rows), count, a + u * SN_TILE_MR * SN_GEMM_LDA, SN_GEMM_LDA, b,
                               sum, SN_GEMM_LDC, k > 0, next + sn_gemm_share(count, heights, u),
                               cold ? 0 : sn_gemm_step(heights, u));
                cold = 0;
                if (k + count >= g->K)
                    sn_gemm_finish(g->context, sum, SN_GEMM_LDC, g->batch, m, rows, p * SN_TILE_NR,
                                   sn_least(SN_TILE_NR, g->N - p * SN_TILE_NR));
            }
        }
        k += count;
    } while (k < g->K);
}

SN_OUTLINE void sn_gemm_run(const SnContext *context, int64_t M, int64_t N, int64_t K, int64_t begin,
                            int64_t end) {
    SnGemm g = sn_gemm_shape(context, M, N, K);
    int64_t blocks = sn_ceil_div(g.heights, SN_GEMM_HEIGHTS), steps = sn_ceil_div(g.panels, SN_GEMM_STEP);
    int64_t width = (g.pieces > 1 ? SN_GEMM_GROUP : SN_GEMM_WIDE) / SN_GEMM_STEP, joined;
    for (int64_t item = begin; item < end; item += joined) {
        int64_t at = item % (blocks * steps), group = at / (blocks * width) * width;
        int64_t wide = sn_least(width, steps - group);
        int64_t block = (at - group * blocks) / wide, step = (at - group * blocks) % wide;
        g.batch = item / (blocks * steps);
        joined = sn_least(end - item, wide - step);
        step += group;
        sn_gemm_block(&g, block * g.heights / blocks, (block + 1) * g.heights / blocks, step * SN_GEMM_STEP,
                      sn_least(g.panels, (step + joined) * SN_GEMM_STEP));
    }
}

#endif

/* What the forms of a contraction with packed panels share: after gemm.h. Where panels lie, which part of a product is done
 * at once, and where its rows of A are. */
#ifndef SN_DEVICE_GEMM_PANEL_H
#define SN_DEVICE_GEMM_PANEL_H

#ifndef SN_GEMM_HEIGHTS
#define SN_GEMM_HEIGHTS 8
#endif
#ifndef SN_GEMM_GROUP
#define SN_GEMM_GROUP 16 /* panels whose sums a block keeps */
#endif
#define SN_GEMM_STEP 2                   /* panels of a work item */
#define SN_GEMM_WIDE (4 * SN_GEMM_GROUP) /* panels of a group where K is one piece: no sums are kept */
#define SN_GEMM_LDC  (SN_GEMM_GROUP * SN_TILE_NR + SN_LANES)

/* The bytes of k rows of a panel as it is stored. */
#if SN_GEMM_BLOCK
#define SN_GEMM_PANEL_BYTES(k) (SN_TILE_NR * (k)*SN_GEMM_BITS / 8)
#else
#define SN_GEMM_PANEL_BYTES(k) SN_TILE_PANEL_BYTES(k)
#endif

/* A block of rows, the heights u0 .. u1 (at most SN_GEMM_HEIGHTS), by a piece of the panels p0 .. p1 of a
 * group: the rows k .. k+count of B. */
typedef struct SnGemmRound {
    int64_t batch, u0, u1, p0, p1, k, count;
} SnGemmRound;

#if SN_GEMM_B
SN_INLINE const char *sn_gemm_panel(const SnGemm *g, const SnGemmRound *r, int64_t p) {
    return (const char *)g->holes->panels(g->context, r->batch) + p * SN_GEMM_PANEL_BYTES(g->K) +
           SN_GEMM_PANEL_BYTES(r->k);
}
#endif

/* Where the tile finds height u of A: where it lies, or in `a`, a copy. Rows behind the last one cannot be read. */
SN_INLINE int sn_gemm_lies(const SnGemm *g, int64_t u) {
    int64_t m = sn_gemm_first(g, u);
    return SN_GEMM_A_STRIDE && m + sn_tile_height(sn_gemm_first(g, u + 1) - m) <= g->M;
}
SN_INLINE SnTileElement *sn_gemm_copy(const SnGemmRound *r, int64_t u, SnTileElement *a) {
    return a + (SN_GEMM_A_STRIDE ? 0 : (u - r->u0) * SN_GEMM_HEIGHT);
}
SN_INLINE const SnTileElement *sn_gemm_height(const SnGemm *g, const SnGemmRound *r, int64_t u,
                                              SnTileElement *a) {
#if SN_GEMM_A_STRIDE
    if (sn_gemm_lies(g, u))
        return g->holes->a_pointer(g->context, r->batch, sn_gemm_first(g, u), r->k * SN_GEMM_WORD);
#else
    (void)g;
#endif
    return sn_gemm_copy(r, u, a);
}

/* The round that begins with *item, before `end`, which becomes the first item behind it. */
SN_INLINE SnGemmRound sn_gemm_begin(const SnGemm *g, int64_t *item, int64_t end) {
    int64_t blocks = sn_ceil_div(g->heights, SN_GEMM_HEIGHTS), steps = sn_ceil_div(g->panels, SN_GEMM_STEP);
    int64_t width = (g->pieces > 1 ? SN_GEMM_GROUP : SN_GEMM_WIDE) / SN_GEMM_STEP;
    int64_t at = *item % (blocks * steps), batch = *item / (blocks * steps);
    int64_t group = at / (blocks * width) * width, wide = sn_least(width, steps - group);
    int64_t block = (at - group * blocks) / wide, step = (at - group * blocks) % wide;
    int64_t joined = sn_least(end - *item, wide - step);
    *item += joined;
    return (SnGemmRound){.batch = batch,
                         .u0 = block * g->heights / blocks,
                         .u1 = (block + 1) * g->heights / blocks,
                         .p0 = (group + step) * SN_GEMM_STEP,
                         .p1 = sn_least(g->panels, (group + step + joined) * SN_GEMM_STEP),
                         .k = 0,
                         .count = sn_least(g->K, g->piece)};
}

/* The round behind r; one of no heights behind the last. */
SN_INLINE SnGemmRound sn_gemm_behind(const SnGemm *g, const SnGemmRound *r, int64_t *item, int64_t end) {
    SnGemmRound next = *r;
    next.k += r->count;
    next.count = sn_least(g->K - next.k, g->piece);
    if (next.count > 0) return next;
    if (*item < end) return sn_gemm_begin(g, item, end);
    next = *r;
    next.u1 = next.u0;
    return next;
}

#endif

/* Operands of f32 as three parts of bf16, for gemm_split.h, which says what the parts are: after gemm_panel.h and matrix.h. */
#ifndef SN_DEVICE_GEMM_SPLIT_PARTS_H
#define SN_DEVICE_GEMM_SPLIT_PARTS_H

enum {
    SN_SPLIT_STEP = 32,       /* rows of B, or columns of A, of a tile */
    SN_SPLIT_SIDE = 32,       /* rows of A, or columns of B: two tiles of each part */
    SN_SPLIT_BYTES = 6 * 1024 /* of a step of a side: the three parts of one tile, then those of the other */
};

/* Elements of the rows (or columns) of a tile, 16 words. The three parts of a tile lie 1 KB apart. */
SN_INLINE void sn_split_store(vf32 x, vf32 y, char *to) {
    const vu32 half = sn_splat_u32(0x8000), upper = sn_splat_u32(0xffff0000);
    x *= 0x1p24f, y *= 0x1p24f;
    for (int part = 0; part < 2; part++) {
        vu32 first = ((vu32)x + half) & upper, second = ((vu32)y + half) & upper;
        sn_store_u32_v((uint32_t *)(to + part * SN_MATRIX_TILE_BYTES), first >> 16 | second);
        x -= (vf32)first, y -= (vf32)second;
    }
    sn_store_u32_v((uint32_t *)(to + 2 * SN_MATRIX_TILE_BYTES), (vu32)x >> 16 | ((vu32)y & upper));
}

#if SN_GEMM_A_ACROSS
/* Up to 16 rows m .. by up to 32 columns k .. of A, whose rows lie side by side, to one tile of each part. */
SN_INLINE void sn_split_across(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t count,
                               char *to) {
    SN_ALIGNED float lying[SN_SPLIT_STEP * SN_LANES], turned[SN_SPLIT_STEP * SN_LANES];
    g->holes->gather_lanes(g, batch, m, k, sn_least(count, SN_SPLIT_STEP), lying);
    for (int64_t i = sn_least(count, SN_SPLIT_STEP) * SN_LANES; i < SN_SPLIT_STEP * SN_LANES; i++)
        lying[i] = 0;
    for (int64_t half = 0; half < 2; half++)
        sn_transpose_square(lying + half * SN_LANES * SN_LANES, turned + half * SN_LANES * SN_LANES,
                            SN_LANES);
    for (int64_t i = 0; i < SN_LANES; i++)
        sn_split_store(sn_load_f32_v(turned + i * SN_LANES),
                       sn_load_f32_v(turned + (SN_LANES + i) * SN_LANES), to + i * 64);
}

/* The block of A of a round, all rows of a step before the next step, as they lie together. `a` is not used. */
SN_OUTLINE void sn_split_a(const SnGemm *g, const SnGemmRound *r, SnTileElement *a, char *to) {
    int64_t steps = sn_ceil_div(r->count, SN_SPLIT_STEP), first = sn_gemm_first(g, r->u0);
    int64_t rows = sn_gemm_first(g, r->u1) - first;
    (void)a;
    for (int64_t step = 0; step < steps; step++)
        for (int64_t i = 0; i < rows; i += SN_LANES)
            sn_split_across(
                g, r->batch, first + i, r->k + step * SN_SPLIT_STEP, r->count - step * SN_SPLIT_STEP,
                to + (i / SN_SPLIT_SIDE * steps + step) * SN_SPLIT_BYTES + i / 16 % 2 * SN_SPLIT_BYTES / 2);
}
#else
/* Row i of a block: `count` elements. `to`: the block's parts, of so many steps. */
SN_INLINE void sn_split_row(const float *from, int64_t count, int64_t i, int64_t steps, char *to) {
    to += i / SN_SPLIT_SIDE * steps * SN_SPLIT_BYTES + i / 16 % 2 * SN_SPLIT_BYTES / 2 + i % 16 * 64;
    for (int64_t k = 0; k < count; k += SN_SPLIT_STEP, to += SN_SPLIT_BYTES) {
        if (k + SN_SPLIT_STEP <= count) {
            sn_split_store(sn_load_f32_v(from + k), sn_load_f32_v(from + k + 16), to);
        } else {
            SN_ALIGNED float rest[SN_SPLIT_STEP] = {0};
            __builtin_memcpy(rest, from + k, (size_t)(count - k) * sizeof(float));
            sn_split_store(sn_load_f32_v(rest), sn_load_f32_v(rest + 16), to);
        }
    }
}

/* The block of A of a round, a height at a time; `a` has room for one. */
SN_OUTLINE void sn_split_a(const SnGemm *g, const SnGemmRound *r, SnTileElement *a, char *to) {
    int64_t steps = sn_ceil_div(r->count, SN_SPLIT_STEP), first = sn_gemm_first(g, r->u0);
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m;
        const float *from = a;
#if SN_GEMM_A_STRIDE
        if (sn_gemm_lies(g, u)) from = g->holes->a_pointer(g->context, r->batch, m, r->k);
#endif
        if (from == a) g->holes->gather_a(g, r->batch, m, rows, r->k, r->count, a);
        for (int64_t i = 0; i < rows; i++)
            sn_split_row(from + i * SN_GEMM_LDA, r->count, m - first + i, steps, to);
    }
}
#endif

/* The part of B that is at hand: the panels p0 .. p1 of a round, where they lie, or as they were packed. */
typedef struct SnSplitPanels {
    int64_t p0, p1;
    const float *packed; /* a piece of each, one after the other (SN_GEMM_B 0) */
} SnSplitPanels;

/* Splits 32 columns of B a unit at a time: two rows of them, 16 apart. */
typedef struct SnSplitFeed {
    const float *b[2];      /* the rows of each 16 columns, NR apart */
    const float *behind[2]; /* where row `count` would be, if those of the columns behind followed */
    char *to;
    int64_t count, at, units; /* rows; units done, and all */
} SnSplitFeed;

/* Columns 16 * side .. of panels of a round. */
SN_INLINE const float *sn_split_columns(const SnGemm *g, const SnGemmRound *r, const SnSplitPanels *panels,
                                        int64_t side) {
    int64_t p = side / SN_TILE_NV;
#if SN_GEMM_B
    const float *panel = (const float *)sn_gemm_panel(g, r, panels->p0 + p);
#else
    (void)g;
    const float *panel = panels->packed + p * r->count * SN_TILE_NR;
#endif
    return panel + side % SN_TILE_NV * 16;
}

/* Of the columns 32 * side .. of panels of a round. `next`: the first panels of the next round, which lie somewhere else, or NULL. */
SN_INLINE SnSplitFeed sn_split_begin(const SnGemm *g, const SnGemmRound *r, const SnSplitPanels *panels,
                                     int64_t side, const float *next, char *to) {
    int64_t sides = (panels->p1 - panels->p0) * SN_TILE_NV; /* of 16 columns; an odd one is split twice */
    SnSplitFeed feed = {
        .to = to, .count = r->count, .units = sn_ceil_div(r->count, SN_SPLIT_STEP) * SN_MATRIX_WORDS};
    for (int64_t i = 0; i < 2; i++) {
        int64_t at = 2 * side + i, behind = at + 2;
        feed.b[i] = sn_split_columns(g, r, panels, sn_least(at, sides - 1));
        feed.behind[i] = feed.b[i];
        if (behind < sides)
            feed.behind[i] = sn_split_columns(g, r, panels, behind) - r->count * SN_TILE_NR;
        else if (next)
            feed.behind[i] = next + i * 16 - r->count * SN_TILE_NR;
    }
    return feed;
}

SN_INLINE void sn_split_fetch(const SnSplitFeed *feed, int i, int64_t k) {
    __builtin_prefetch((k < feed->count ? feed->b[i] : feed->behind[i]) + k * SN_TILE_NR);
}

/* Of the two rows of a unit the line of the first one is fetched a step before, into the first-level cache: there are few lines
 * that it can wait for, and one fetched into the second-level cache would be waited for twice. What lies behind, the other row's,
 * the processor then brings itself; asked for both, it brings neither in time. Behind the last row those of the next columns are
 * fetched. */
SN_INLINE void sn_split_feed(SnSplitFeed *feed, int64_t until) {
    for (; feed->at < until; feed->at++) {
        int64_t step = feed->at / SN_MATRIX_WORDS, word = feed->at % SN_MATRIX_WORDS;
        int64_t k = step * SN_SPLIT_STEP + word, left = feed->count - k;
        char *to = feed->to + step * SN_SPLIT_BYTES + word * 64;
        for (int i = 0; i < 2; i++) {
            const float *from = feed->b[i] + k * SN_TILE_NR;
            vf32 x = left > 0 ? sn_load_f32_v(from) : (vf32){0};
            vf32 y = left > 16 ? sn_load_f32_v(from + 16 * SN_TILE_NR) : (vf32){0};
            sn_split_fetch(feed, i, k + SN_SPLIT_STEP);
            sn_split_store(x, y, to + i * SN_SPLIT_BYTES / 2);
        }
    }
}

#endif

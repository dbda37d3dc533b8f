/* Products of f32 by matrix tiles: after gemm_packed.h (SN_GEMM_B 1), or gemm_panel.h and gemm_unpacked.h (SN_GEMM_B 0), and
 * gemm_split_parts.h; for vectors of 64 bytes.
 *   SN_GEMM_SPLIT        the least M that is multiplied so; below it sn_gemm_run is called
 *   SN_GEMM_SPLIT_DEPTH  and the least K (SN_GEMM_B 1); default 0
 * HEIGHTS * MR is a multiple of 32. Work items are those of gemm_panel.h, but those of gemm_unpacked.h below SPLIT rows of an
 * SN_GEMM_B of 0.
 *
 * Every f32 is the sum of three bf16, each what the one before leaves, rounded: x1 + x2 + x3, exactly. Of the nine products
 * of parts a2 b3, a3 b2 and a3 b3 are left out, which are at most 2^-25 of |a b|; tiles add the other six to f32 sums.
 *
 * Operands are multiplied by 2^24 before, so that no part of a number that f32 has is subnormal, which tiles take for zero,
 * and what they lose of products is less than f32's least number. Sums, divided by 2^48 in the end, are finite up to 2^80: what is
 * not (also because an operand is not, or because it is so large that its rounding is not) is computed again by f32
 * multiply-adds, to the bits of sn_gemm_run.
 *
 * A piece of the block of A is split once a round, into at most 6 * HEIGHTS * MR * KC bytes; of B 32 columns, into half of
 * 2 * 6 * 32 * KC bytes while those in the other half are multiplied. On the stack lie about 1.4 MB in all with blocks of 128
 * rows and pieces of 768. The words of a tile have elements k and k + 16 of a step's 32, so that nothing is shuffled. A B
 * that is data is packed as panels of f32 before, a few at a time, as a row of it is often all that lies together in memory. */
#ifndef SN_DEVICE_GEMM_SPLIT_H
#define SN_DEVICE_GEMM_SPLIT_H

#if SN_LANES != 16 || SN_TILE_B != 1 || SN_GEMM_B > 1 || SN_GEMM_HEIGHTS * SN_TILE_MR % 32 != 0
#error "not a product that matrix tiles can have"
#endif

#ifndef SN_GEMM_SPLIT_DEPTH
#define SN_GEMM_SPLIT_DEPTH 0
#endif
#define SN_SPLIT_TAKEN 2 /* panels that are packed at once (SN_GEMM_B 0) */

/* `tall`: both tiles of 16 rows; otherwise only the upper one has any. A constant at every call. */
#define SN_SPLIT_A(part)                                                                                     \
    SN_MATRIX_LOAD(4, a + (part)*1024, 64);                                                                  \
    if (tall) SN_MATRIX_LOAD(5, a + (3 + (part)) * 1024, 64);
#define SN_SPLIT_B(part)                                                                                     \
    SN_MATRIX_LOAD(6, b + (part)*1024, 64);                                                                  \
    SN_MATRIX_LOAD(7, b + (3 + (part)) * 1024, 64);
#define SN_SPLIT_MULTIPLY                                                                                    \
    SN_MATRIX_PAIRS(0, 4, 6);                                                                                \
    SN_MATRIX_PAIRS(1, 4, 7);                                                                                \
    if (tall) {                                                                                              \
        SN_MATRIX_PAIRS(2, 5, 6);                                                                            \
        SN_MATRIX_PAIRS(3, 5, 7);                                                                            \
    }                                                                                                        \
    sn_split_feed(&split, sn_least((due += share) >> 16, until));
#define SN_SPLIT_SUMS(F)                                                                                     \
    F(0, sums, SN_GEMM_LDC * 4);                                                                             \
    F(1, sums + 16, SN_GEMM_LDC * 4);                                                                        \
    if (tall) {                                                                                              \
        F(2, sums + 16 * SN_GEMM_LDC, SN_GEMM_LDC * 4);                                                      \
        F(3, sums + 16 * SN_GEMM_LDC + 16, SN_GEMM_LDC * 4);                                                 \
    }

/* sums (32 or 16, LDC) = or += so many rows by 32 columns of `steps`, while the feed goes on until unit `until`, its share behind each
 * of the six products: a processor looks a few hundred instructions ahead, so that tiles and vectors are at work at once only where
 * they take turns every few tiles. One operand changes from one product to the next, and the greatest is added last. */
SN_INLINE void sn_split_steps(const int tall, const char *a, const char *b, int64_t steps, float *sums,
                              int accumulate, SnSplitFeed *feed, int64_t until) {
    SnSplitFeed split = *feed; /* in registers, which stores cannot change */
    int64_t due = split.at << 16, share = sn_ceil_div((until - split.at) << 16, 6 * steps);
    if (accumulate) {
        SN_SPLIT_SUMS(SN_MATRIX_LOAD)
    } else {
        SN_MATRIX_ZERO(0);
        SN_MATRIX_ZERO(1);
        SN_MATRIX_ZERO(2);
        SN_MATRIX_ZERO(3);
    }
    for (int64_t step = 0; step < steps; step++, a += SN_SPLIT_BYTES, b += SN_SPLIT_BYTES) {
        SN_SPLIT_A(2)
        SN_SPLIT_B(0)
        SN_SPLIT_MULTIPLY
        SN_SPLIT_A(1)
        SN_SPLIT_MULTIPLY
        SN_SPLIT_B(1)
        SN_SPLIT_MULTIPLY
        SN_SPLIT_A(0)
        SN_SPLIT_MULTIPLY
        SN_SPLIT_B(2)
        SN_SPLIT_MULTIPLY
        SN_SPLIT_B(0)
        SN_SPLIT_MULTIPLY
    }
    *feed = split;
    SN_SPLIT_SUMS(SN_MATRIX_STORE)
}

/* The same of up to 32 rows, as many tiles as they need. */
SN_OUTLINE void sn_split_multiply(int64_t rows, const char *a, const char *b, int64_t steps, float *sums,
                                  int accumulate, SnSplitFeed *feed, int64_t until) {
    if (rows > SN_MATRIX_ROWS)
        sn_split_steps(1, a, b, steps, sums, accumulate, feed, until);
    else
        sn_split_steps(0, a, b, steps, sums, accumulate, feed, until);
}

SN_INLINE int sn_split_is_finite(float x) {
    return x * 0 == 0;
}

/* Takes the scale off sums (rows, 32). Whether all of them are finite. */
SN_INLINE int sn_split_settle(float *sums, int64_t rows) {
    vf32 odd = {0};
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < SN_SPLIT_SIDE; j += SN_LANES) {
            vf32 sum = sn_load_f32_v(sums + i * SN_GEMM_LDC + j) * 0x1p-48f;
            odd += sum * 0;
            sn_store_f32_v(sums + i * SN_GEMM_LDC + j, sum);
        }
    return !sn_any(sn_ne_f32_v(odd, (vf32){0}));
}

/* A piece of panel p of a round, where it lies, or packed to `out`. */
SN_INLINE const void *sn_split_panel(const SnGemm *g, const SnGemmRound *r, int64_t p, float *out) {
#if SN_GEMM_B
    (void)out;
    return sn_gemm_panel(g, r, p);
#else
    g->holes->gather_b(g->context, r->batch, r->k, r->count, p * SN_TILE_NR, 1, g->N, out);
    return out;
#endif
}

/* What is not finite of the sums of rows m .. m+rows and columns n .. n+columns of a round, by multiply-adds. */
SN_OUTLINE void sn_split_again(const SnGemm *g, const SnGemmRound *r, int64_t m, int64_t rows, int64_t n,
                               int64_t columns, float *sums, SnTileElement *a) {
    SN_ALIGNED float exact[SN_TILE_MR * SN_TILE_NR], panel[SN_GEMM_B ? 1 : SN_GEMM_KC * SN_TILE_NR];
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t first = sn_gemm_first(g, u), behind = sn_gemm_first(g, u + 1);
        if (behind <= m || first >= m + rows) continue;
        for (int64_t p = n / SN_TILE_NR; p * SN_TILE_NR < n + columns; p++) {
            SnGemmRound part = *r;
            for (part.k = 0; part.k < g->K; part.k += part.count) {
                part.count = sn_least(g->K - part.k, g->piece);
                g->holes->gather_a(g, r->batch, first, behind - first, part.k, part.count, a);
                sn_tile_strided(SN_TILE_MR, SN_TILE_FETCH_NONE, part.count, a, SN_GEMM_LDA, SN_GEMM_NEXT,
                                sn_split_panel(g, &part, p, panel), exact, SN_TILE_NR, part.k > 0,
                                (const char *)0, 0);
            }
            for (int64_t i = 0; i < behind - first; i++)
                for (int64_t j = 0; j < SN_TILE_NR; j++) {
                    int64_t row = first + i - m, column = p * SN_TILE_NR + j - n;
                    if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
                    float *sum = sums + row * SN_GEMM_LDC + column;
                    if (!sn_split_is_finite(*sum)) *sum = exact[i * SN_TILE_NR + j];
                }
        }
    }
}

/* What a range works in. */
typedef struct SnSplitSpace {
    SnTileElement *a; /* a height */
    char *parts, *columns[2];
    float *sums, *packed;
    int turn, near; /* the columns at hand, and whether they are split already */
} SnSplitSpace;

/* The feed of 32 columns behind those of `side`: of these panels or, behind the last, the first of a round that follows, if it
 * has any rows. */
SN_INLINE SnSplitFeed sn_split_behind(const SnGemm *g, const SnGemmRound *r, const SnSplitPanels *panels,
                                      int64_t side, int64_t sides, const SnGemmRound *next, char *to) {
    const SnSplitPanels following = {next->p0, next->p1, (const float *)0};
    const float *first = next->u0 < next->u1 ? sn_split_columns(g, next, &following, 0) : (const float *)0;
    if (side + 1 < sides) return sn_split_begin(g, r, panels, side + 1, first, to);
    if (!first) return (SnSplitFeed){0};
    return sn_split_begin(g, next, &following, 0, (const float *)0, to);
}

/* The rows of a round, which are split, by some of its panels. Meanwhile the first columns of the next round are split. */
SN_OUTLINE void sn_split_panels(const SnGemm *g, const SnGemmRound *r, const SnSplitPanels *panels,
                                const SnGemmRound *next, SnSplitSpace *in) {
    int64_t first = sn_gemm_first(g, r->u0), M = sn_gemm_first(g, r->u1) - first;
    int64_t steps = sn_ceil_div(r->count, SN_SPLIT_STEP), blocks = sn_ceil_div(M, SN_SPLIT_SIDE);
    int64_t tiles = sn_ceil_div(M, SN_MATRIX_ROWS); /* one below the other: each takes as long */
    int64_t begin = panels->p0 * SN_TILE_NR, end = sn_least(g->N, panels->p1 * SN_TILE_NR);
    int64_t sides = sn_ceil_div(end - begin, SN_SPLIT_SIDE);
    for (int64_t side = 0; side < sides; side++, in->turn = !in->turn) {
        int64_t n = begin + side * SN_SPLIT_SIDE, width = sn_least(SN_SPLIT_SIDE, end - n);
        SnSplitFeed feed = sn_split_behind(g, r, panels, side, sides, next, in->columns[!in->turn]);
        for (int64_t block = 0; block < blocks; block++) {
            int64_t at = block * SN_SPLIT_SIDE, m = first + at, rows = sn_least(SN_SPLIT_SIDE, M - at);
            float *sum = in->sums + at * SN_GEMM_LDC + (g->pieces > 1 ? n - r->p0 * SN_TILE_NR : 0);
            sn_split_multiply(rows, in->parts + block * steps * SN_SPLIT_BYTES, in->columns[in->turn], steps,
                              sum, r->k > 0, &feed, feed.units * sn_least(2 * block + 2, tiles) / tiles);
            if (r->k + r->count < g->K) continue;
            if (!sn_split_settle(sum, rows)) sn_split_again(g, r, m, rows, n, width, sum, in->a);
            g->holes->finish(g->context, sum, SN_GEMM_LDC, r->batch, m, rows, n, width);
        }
    }
}

/* Splits the first columns of these panels, which nothing is multiplied beside. */
SN_INLINE void sn_split_first(const SnGemm *g, const SnGemmRound *r, const SnSplitPanels *panels,
                              const SnSplitSpace *in) {
    SnSplitFeed feed = sn_split_begin(g, r, panels, 0, (const float *)0, in->columns[in->turn]);
    sn_split_feed(&feed, feed.units);
}

/* Does a round. */
SN_OUTLINE void sn_split_round(const SnGemm *g, const SnGemmRound *r, const SnGemmRound *next,
                               SnSplitSpace *in) {
    sn_split_a(g, r, in->a, in->parts);
#if SN_GEMM_B
    const SnSplitPanels panels = {r->p0, r->p1, (const float *)0};
    if (!in->near) sn_split_first(g, r, &panels, in);
    sn_split_panels(g, r, &panels, next, in);
    in->near = 1;
#else
    const SnGemmRound none = {0};
    (void)next;
    for (int64_t p = r->p0; p < r->p1; p += SN_SPLIT_TAKEN) {
        const SnSplitPanels panels = {p, sn_least(r->p1, p + SN_SPLIT_TAKEN), in->packed};
        g->holes->gather_b(g->context, r->batch, r->k, r->count, p * SN_TILE_NR, panels.p1 - p, g->N,
                           in->packed);
        sn_split_first(g, r, &panels, in);
        sn_split_panels(g, r, &panels, &none, in);
    }
#endif
}

SN_OUTLINE void sn_split_run(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                             int64_t K, int64_t begin, int64_t end) {
    SN_ALIGNED SnTileElement a[SN_GEMM_HEIGHT];
    SN_ALIGNED float sums[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_LDC];
    SN_ALIGNED float packed[SN_GEMM_B ? 1 : SN_SPLIT_TAKEN * SN_GEMM_KC * SN_TILE_NR];
    SN_ALIGNED char parts[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_KC * 6];
    SN_ALIGNED char columns[2][SN_SPLIT_SIDE * SN_GEMM_KC * 6];
    SnSplitSpace in = {a, parts, {columns[0], columns[1]}, sums, packed, 0, 0};
    SnGemm g = sn_gemm_shape(context, holes, M, N, K);
    int64_t item = begin;
    SnGemmRound r = {0}, next;
    if (begin < end) r = sn_gemm_begin(&g, &item, end);
    sn_matrix_begin();
    for (; r.u0 < r.u1; r = next) {
        next = sn_gemm_behind(&g, &r, &item, end);
        sn_split_round(&g, &r, &next, &in);
    }
    sn_matrix_end();
}

SN_COMMON void SN_COMMON_NAME(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                              int64_t K, int64_t begin, int64_t end) {
    if (M < SN_GEMM_SPLIT || K < SN_GEMM_SPLIT_DEPTH)
        sn_gemm_run_tiles(context, holes, M, N, K, begin, end);
    else
        sn_split_run(context, holes, M, N, K, begin, end);
}

#endif

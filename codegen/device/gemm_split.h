/* Products of f32 by matrix tiles: after gemm_packed.h (SN_GEMM_B 1) and matrix.h; for vectors of 64 bytes.
 *   SN_GEMM_SPLIT  the least M that is multiplied so; below it sn_gemm_run is called
 * HEIGHTS * MR is a multiple of 32, and A does not run across (SN_GEMM_A_ALONG_M 0). Work items are those of gemm_packed.h.
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
 * 2 * 6 * 32 * KC bytes while those in the other half are multiplied. On the stack lie about 2 MB in all with blocks of 256
 * rows and pieces of 512. The words of a tile have elements k and k + 16 of a step's 32, so that nothing is shuffled. */
#ifndef SN_DEVICE_GEMM_SPLIT_H
#define SN_DEVICE_GEMM_SPLIT_H

#if SN_LANES != 16 || SN_TILE_B != 1 || SN_GEMM_A_ACROSS || SN_GEMM_HEIGHTS * SN_TILE_MR % 32 != 0
#error "not a product that matrix tiles can have"
#endif

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

/* The block of A of a round, a height at a time. */
SN_OUTLINE void sn_split_a(const SnGemm *g, const SnGemmRound *r, SnTileElement *a, char *to) {
    int64_t steps = sn_ceil_div(r->count, SN_SPLIT_STEP), first = sn_gemm_first(g, r->u0);
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m;
        if (!sn_gemm_lies(g, u))
            sn_gemm_gather_a(g, r->batch, m, rows, r->k, r->count, sn_gemm_copy(r, u, a));
        const float *from = sn_gemm_height(g, r, u, a);
        for (int64_t i = 0; i < rows; i++)
            sn_split_row(from + i * SN_GEMM_LDA, r->count, m - first + i, steps, to);
    }
}

/* Splits 32 columns of B a unit at a time: two rows of them, 16 apart. */
typedef struct SnSplitFeed {
    const float *b[2],
        *ahead[2]; /* the rows of each 16 columns, NR apart; of those that come next, to be fetched */
    char *to;
    int64_t count, at, units; /* rows; units done, and all */
} SnSplitFeed;

/* Columns 16 * side .. of the panels of a round. */
SN_INLINE const float *sn_split_columns(const SnGemm *g, const SnGemmRound *r, int64_t side) {
    return (const float *)sn_gemm_panel(g, r, r->p0 + side / SN_TILE_NV) + side % SN_TILE_NV * 16;
}

/* Those 32 columns of a round, behind which the next round's first ones come. */
SN_INLINE SnSplitFeed sn_split_begin(const SnGemm *g, const SnGemmRound *r, const SnGemmRound *next,
                                     int64_t side, char *to) {
    int64_t sides = (r->p1 - r->p0) * SN_TILE_NV; /* of 16 columns; an odd one is split twice */
    SnSplitFeed feed = {
        .to = to, .count = r->count, .units = sn_ceil_div(r->count, SN_SPLIT_STEP) * SN_MATRIX_WORDS};
    for (int64_t i = 0; i < 2; i++) {
        int64_t at = 2 * side + i, ahead = at + 2;
        feed.b[i] = sn_split_columns(g, r, sn_least(at, sides - 1));
        feed.ahead[i] = ahead < sides ? sn_split_columns(g, r, ahead) : sn_split_columns(g, next, ahead % 2);
    }
    return feed;
}

SN_INLINE void sn_split_feed(SnSplitFeed *feed, int64_t until) {
    for (; feed->at < until; feed->at++) {
        int64_t step = feed->at / SN_MATRIX_WORDS, word = feed->at % SN_MATRIX_WORDS;
        int64_t k = step * SN_SPLIT_STEP + word, left = feed->count - k;
        char *to = feed->to + step * SN_SPLIT_BYTES + word * 64;
        for (int i = 0; i < 2; i++) {
            const float *from = feed->b[i] + k * SN_TILE_NR;
            vf32 x = left > 0 ? sn_load_f32_v(from) : (vf32){0};
            vf32 y = left > 16 ? sn_load_f32_v(from + 16 * SN_TILE_NR) : (vf32){0};
            __builtin_prefetch(feed->ahead[i] + k * SN_TILE_NR, 0, 2);
            __builtin_prefetch(feed->ahead[i] + (k + 16) * SN_TILE_NR, 0, 2);
            sn_split_store(x, y, to + i * SN_SPLIT_BYTES / 2);
        }
    }
}

#define SN_SPLIT_A(part)                                                                                     \
    SN_MATRIX_LOAD(4, a + (part)*1024, 64);                                                                  \
    SN_MATRIX_LOAD(5, a + (3 + (part)) * 1024, 64);
#define SN_SPLIT_B(part)                                                                                     \
    SN_MATRIX_LOAD(6, b + (part)*1024, 64);                                                                  \
    SN_MATRIX_LOAD(7, b + (3 + (part)) * 1024, 64);
#define SN_SPLIT_MULTIPLY                                                                                    \
    SN_MATRIX_PAIRS(0, 4, 6);                                                                                \
    SN_MATRIX_PAIRS(1, 4, 7);                                                                                \
    SN_MATRIX_PAIRS(2, 5, 6);                                                                                \
    SN_MATRIX_PAIRS(3, 5, 7);

/* sums (32, LDC) = or += 32 rows by 32 columns of `steps`, while the feed goes on until unit `until`. One operand changes from
 * one of the six products to the next, and the greatest is added last. */
SN_OUTLINE void sn_split_multiply(const char *a, const char *b, int64_t steps, float *sums, int accumulate,
                                  SnSplitFeed *feed, int64_t until) {
    int64_t from = feed->at;
    if (accumulate) {
        SN_MATRIX_LOAD(0, sums, SN_GEMM_LDC * 4);
        SN_MATRIX_LOAD(1, sums + 16, SN_GEMM_LDC * 4);
        SN_MATRIX_LOAD(2, sums + 16 * SN_GEMM_LDC, SN_GEMM_LDC * 4);
        SN_MATRIX_LOAD(3, sums + 16 * SN_GEMM_LDC + 16, SN_GEMM_LDC * 4);
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
        sn_split_feed(feed, from + (until - from) * (step + 1) / steps);
    }
    SN_MATRIX_STORE(0, sums, SN_GEMM_LDC * 4);
    SN_MATRIX_STORE(1, sums + 16, SN_GEMM_LDC * 4);
    SN_MATRIX_STORE(2, sums + 16 * SN_GEMM_LDC, SN_GEMM_LDC * 4);
    SN_MATRIX_STORE(3, sums + 16 * SN_GEMM_LDC + 16, SN_GEMM_LDC * 4);
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

/* What is not finite of the sums of rows m .. m+rows and columns n .. n+columns of a round, by multiply-adds. */
SN_OUTLINE void sn_split_again(const SnGemm *g, const SnGemmRound *r, int64_t m, int64_t rows, int64_t n,
                               int64_t columns, float *sums, SnTileElement *a) {
    SN_ALIGNED float exact[SN_TILE_MR * SN_TILE_NR];
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t first = sn_gemm_first(g, u), behind = sn_gemm_first(g, u + 1);
        if (behind <= m || first >= m + rows) continue;
        for (int64_t p = n / SN_TILE_NR; p * SN_TILE_NR < n + columns; p++) {
            SnGemmRound part = *r;
            for (part.k = 0; part.k < g->K; part.k += part.count) {
                part.count = sn_least(g->K - part.k, g->piece);
                sn_gemm_gather_a(g, r->batch, first, behind - first, part.k, part.count, a);
                sn_tile_strided(SN_TILE_MR, SN_TILE_FETCH_NONE, part.count, a, SN_GEMM_LDA, SN_GEMM_NEXT,
                                sn_gemm_panel(g, &part, p), exact, SN_TILE_NR, part.k > 0, (const char *)0,
                                0);
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

/* Does a round. */
SN_OUTLINE void sn_split_round(const SnGemm *g, const SnGemmRound *r, const SnGemmRound *next,
                               SnTileElement *a, char *parts, char *columns[2], float *sums) {
    int64_t first = sn_gemm_first(g, r->u0), M = sn_gemm_first(g, r->u1) - first;
    int64_t steps = sn_ceil_div(r->count, SN_SPLIT_STEP), blocks = sn_ceil_div(M, SN_SPLIT_SIDE);
    int64_t end = sn_least(g->N, r->p1 * SN_TILE_NR),
            sides = sn_ceil_div(end - r->p0 * SN_TILE_NR, SN_SPLIT_SIDE);
    sn_split_a(g, r, a, parts);
    SnSplitFeed feed = sn_split_begin(g, r, next, 0, columns[0]);
    sn_split_feed(&feed, feed.units);
    for (int64_t side = 0; side < sides; side++) {
        int64_t n = r->p0 * SN_TILE_NR + side * SN_SPLIT_SIDE, units = side + 1 < sides ? feed.units : 0;
        int64_t width = sn_least(SN_SPLIT_SIDE, end - n);
        feed = sn_split_begin(g, r, next, side + 1, columns[(side + 1) % 2]);
        for (int64_t block = 0; block < blocks; block++) {
            int64_t at = block * SN_SPLIT_SIDE, m = first + at, rows = sn_least(SN_SPLIT_SIDE, M - at);
            float *sum = sums + at * SN_GEMM_LDC + (g->pieces > 1 ? side * SN_SPLIT_SIDE : 0);
            sn_split_multiply(parts + block * steps * SN_SPLIT_BYTES, columns[side % 2], steps, sum, r->k > 0,
                              &feed, units * (block + 1) / blocks);
            if (r->k + r->count < g->K) continue;
            if (!sn_split_settle(sum, rows)) sn_split_again(g, r, m, rows, n, width, sum, a);
            sn_gemm_finish(g->context, sum, SN_GEMM_LDC, r->batch, m, rows, n, width);
        }
    }
}

SN_OUTLINE void sn_split_run(const SnContext *context, int64_t M, int64_t N, int64_t K, int64_t begin,
                             int64_t end) {
    SN_ALIGNED SnTileElement a[(SN_GEMM_A_STRIDE ? 1 : SN_GEMM_HEIGHTS) * SN_GEMM_HEIGHT];
    SN_ALIGNED float sums[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_LDC];
    SN_ALIGNED char parts[SN_GEMM_HEIGHTS * SN_TILE_MR * SN_GEMM_KC * 6];
    SN_ALIGNED char columns[2][SN_SPLIT_SIDE * SN_GEMM_KC * 6];
    char *both[2] = {columns[0], columns[1]};
    SnGemm g = sn_gemm_shape(context, M, N, K);
    int64_t item = begin;
    SnGemmRound r = {0}, next;
    if (begin < end) r = sn_gemm_begin(&g, &item, end);
    sn_matrix_begin();
    for (; r.u0 < r.u1; r = next) {
        next = sn_gemm_behind(&g, &r, &item, end);
        sn_split_round(&g, &r, &next, a, parts, both, sums);
    }
    sn_matrix_end();
}

SN_INLINE void sn_gemm_split_run(const SnContext *context, int64_t M, int64_t N, int64_t K, int64_t begin,
                                 int64_t end) {
    if (M < SN_GEMM_SPLIT)
        sn_gemm_run(context, M, N, K, begin, end);
    else
        sn_split_run(context, M, N, K, begin, end);
}

#endif

/* Contraction with a B of bf16 or of bytes that lies packed in panels, by matrix tiles: after gemm.h, matrix.h and gemm_panel.h, in
 * place of gemm_packed.h, whose work items and rounds these are, with a height of 32 rows.
 *   SN_GEMM_MATRIX 1, SN_TILE_B 5 or 6, SN_TILE_NR 16, 32 or 48
 *
 * Two tiles of rows by those of a panel are summed at once: of 48 columns six sums, which leaves one tile for each operand, so that
 * the rows' tiles are loaded twice in a step of K, the second time from the first-level cache. What bounds the product is how fast
 * the second-level cache gives lines, about half as fast as tiles could take them. A part of a panel meets all heights of a block,
 * whose rows lie copied as words in the order in which tiles read them, while the next part is fetched into the second-level cache
 * (into the first, a line that comes from afar would keep others waiting for as long). The epilogue of a height runs in between the
 * next one's steps, since tiles are multiplied beside what vectors do. What K and the rows lack of a tile is zero.
 * Stack: 4 * 32 * HEIGHTS * (KC + GROUP * NR) bytes, 1.8 MB with pieces of 1024 words and panels of 48. */
#ifndef SN_DEVICE_GEMM_MATRIX_H
#define SN_DEVICE_GEMM_MATRIX_H

#if SN_TILE_B < 5 || SN_TILE_NR % 16 || SN_TILE_NR > 48
#error "matrix tiles multiply words, and panels of at most three tiles"
#endif

#if SN_TILE_B == 6
#define SN_GEMM_ADD SN_MATRIX_PAIRS
#else
#define SN_GEMM_ADD SN_MATRIX_BYTES
#endif

#define SN_GEMM_PART 384 /* words of K, at most, between loading sums and storing them */
#define SN_GEMM_SUMS (SN_GEMM_ROWS * SN_TILE_NR)                   /* of a height by a panel, (ROWS, NR) */
#define SN_GEMM_LDW  ((SN_GEMM_KC + 15) / 16 * 16 + SN_GEMM_WORDS) /* words between rows of few */
#define SN_GEMM_COPY ((SN_GEMM_KC + 15) / 16 * 16 * SN_GEMM_ROWS)  /* words of a height's copy */

/* ---- the epilogue of a height, a few rows at a time ---- */

typedef struct SnGemmRest {
    const SnTileNumber *sums; /* (rows, NR) */
    int64_t batch, m, rows, n, columns, done;
} SnGemmRest;

SN_INLINE void sn_gemm_finish_some(const SnGemm *g, SnGemmRest *rest, int64_t count) {
    count = sn_least(count, rest->rows - rest->done);
    if (count <= 0) return;
    g->holes->finish(g->context, rest->sums + rest->done * SN_TILE_NR, SN_TILE_NR, rest->batch,
                     rest->m + rest->done, count, rest->n, rest->columns);
    rest->done += count;
}

/* ---- tiles ---- */

#define SN_GEMM_OF(t, u)   (sums + (u)*SN_MATRIX_ROWS * SN_TILE_NR + (t)*SN_MATRIX_COLUMNS), 4 * SN_TILE_NR
#define SN_GEMM_COLUMNS(F) F(0, 0, 3) SN_GEMM_COLUMNS_1(F) SN_GEMM_COLUMNS_2(F)
#if SN_TILE_NR > 16
#define SN_GEMM_COLUMNS_1(F) F(1, 1, 4)
#else
#define SN_GEMM_COLUMNS_1(F)
#endif
#if SN_TILE_NR > 32
#define SN_GEMM_COLUMNS_2(F) F(2, 2, 5)
#else
#define SN_GEMM_COLUMNS_2(F)
#endif
#define SN_GEMM_CLEAR(j, upper, lower)                                                                       \
    SN_MATRIX_ZERO(upper);                                                                                   \
    if (both) SN_MATRIX_ZERO(lower);
#define SN_GEMM_TAKE(j, upper, lower)                                                                        \
    SN_MATRIX_LOAD_AT(upper, SN_GEMM_OF(j, 0));                                                              \
    if (both) SN_MATRIX_LOAD_AT(lower, SN_GEMM_OF(j, 1));
#define SN_GEMM_GIVE(j, upper, lower)                                                                        \
    SN_MATRIX_STORE_AT(upper, SN_GEMM_OF(j, 0));                                                             \
    if (both) SN_MATRIX_STORE_AT(lower, SN_GEMM_OF(j, 1));
#define SN_MATRIX_LOAD_AT(t, ...)  SN_MATRIX_LOAD(t, __VA_ARGS__)
#define SN_MATRIX_STORE_AT(t, ...) SN_MATRIX_STORE(t, __VA_ARGS__)

/* A step of K. The rows of the last column's tile are those that the next one begins with. */
#define SN_GEMM_MULTIPLY(j, upper, lower)                                                                    \
    SN_MATRIX_LOAD(7, b + 64 * (j), 4 * SN_TILE_NR);                                                         \
    if (both && (j) % 2) {                                                                                   \
        SN_GEMM_ADD(lower, 6, 7);                                                                            \
        SN_MATRIX_LOAD(6, a, 64);                                                                            \
        SN_GEMM_ADD(upper, 6, 7);                                                                            \
    } else {                                                                                                 \
        SN_GEMM_ADD(upper, 6, 7);                                                                            \
        if (both) SN_MATRIX_LOAD(6, a + SN_MATRIX_TILE_BYTES, 64);                                           \
        if (both) SN_GEMM_ADD(lower, 6, 7);                                                                  \
    }
SN_INLINE void sn_gemm_step(const int both, const char *a, const char *b) {
    SN_MATRIX_LOAD(6, a, 64);
    SN_GEMM_COLUMNS(SN_GEMM_MULTIPLY)
}

typedef struct SnGemmPart {
    const char *b, *edge; /* whole steps; and the last one, with zeros behind K, or NULL */
    int64_t steps;        /* whole ones */
    const char *ahead;
    int64_t lines; /* of it that are fetched in a step */
} SnGemmPart;

/* A height of A by a part of a panel, while `rest` is finished. */
SN_INLINE void sn_gemm_multiply(const int both, const SnGemm *g, const SnGemmPart *part, const char *a,
                                SnTileNumber *sums, int accumulate, SnGemmRest *rest) {
    const char *b = part->b, *ahead = part->ahead;
    const int64_t steps = part->steps, some = sn_ceil_div(rest->rows, steps > 0 ? steps : 1);
    if (accumulate) {
        SN_GEMM_COLUMNS(SN_GEMM_TAKE)
    } else {
        SN_GEMM_COLUMNS(SN_GEMM_CLEAR)
    }
    for (int64_t i = 0; i < steps; i++) {
        sn_gemm_step(both, a, b);
        a += 2 * SN_MATRIX_TILE_BYTES;
        b += SN_MATRIX_TILE_BYTES / 16 * SN_TILE_NR;
        for (int64_t l = 0; l < part->lines; l++, ahead += 64) __builtin_prefetch(ahead, 0, 2);
        sn_gemm_finish_some(g, rest, some);
    }
    if (part->edge) sn_gemm_step(both, a, part->edge);
    sn_gemm_finish_some(g, rest, rest->rows);
    SN_GEMM_COLUMNS(SN_GEMM_GIVE)
}

/* Every height of the round by the words k .. k+count, of the round's, of panel p, which lie at `from`. */
SN_OUTLINE void sn_gemm_panel_part(const SnGemm *g, const SnGemmRound *r, int64_t p, const char *from,
                                   int64_t k, int64_t count, const char *ahead, const int32_t *a,
                                   SnTileNumber *sums, SnGemmRest *rest) {
    SN_ALIGNED int32_t edge[SN_GEMM_WORDS * SN_TILE_NR];
    int64_t heights = r->u1 - r->u0, last = count % SN_GEMM_WORDS;
    SnGemmPart part = {from, (const char *)0, count / SN_GEMM_WORDS, ahead, 0};
    if (last) {
        __builtin_memset(edge, 0, sizeof edge);
        __builtin_memcpy(edge, part.b + SN_GEMM_PANEL_BYTES(count - last), (size_t)SN_GEMM_PANEL_BYTES(last));
        part.edge = (const char *)edge;
    }
    part.lines = ahead ? sn_ceil_div(SN_TILE_NR, heights) : 0;
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t m = sn_gemm_first(g, u), rows = sn_gemm_first(g, u + 1) - m, height = u - r->u0;
        const char *rows_of = (const char *)(a + height * SN_GEMM_COPY + k * SN_GEMM_ROWS);
        SnTileNumber *sum =
            sums + (g->pieces > 1 ? height * SN_GEMM_GROUP + p - r->p0 : height) * SN_GEMM_SUMS;
        if (rows > SN_MATRIX_ROWS)
            sn_gemm_multiply(1, g, &part, rows_of, sum, r->k + k > 0, rest);
        else
            sn_gemm_multiply(0, g, &part, rows_of, sum, r->k + k > 0, rest);
        part.ahead += part.lines * part.steps * 64;
        if (r->k + k + count >= g->K)
            *rest = (SnGemmRest){
                sum, r->batch, m, rows, p * SN_TILE_NR, sn_least(SN_TILE_NR, g->N - p * SN_TILE_NR), 0};
    }
}

/* The rows of a round, copied. */
SN_OUTLINE void sn_gemm_copy_block(const SnGemm *g, const SnGemmRound *r, int32_t *a) {
    for (int64_t u = r->u0; u < r->u1; u++) {
        int64_t m = sn_gemm_first(g, u);
        g->holes->gather_a(g, r->batch, m, sn_gemm_first(g, u + 1) - m, r->k, r->count,
                           a + (u - r->u0) * SN_GEMM_COPY);
    }
}

#if SN_GEMM_B /* otherwise gemm_matrix_unpacked.h goes on */
SN_OUTLINE void sn_gemm_round(const SnGemm *g, const SnGemmRound *r, const SnGemmRound *next, int32_t *a,
                              SnTileNumber *sums, SnGemmRest *rest) {
    sn_gemm_copy_block(g, r, a);
    int64_t parts = sn_ceil_div(r->count, SN_GEMM_PART);
    int64_t each = sn_gemm_steps(sn_ceil_div(r->count, parts)) * SN_GEMM_WORDS;
    for (int64_t p = r->p0; p < r->p1; p++)
        for (int64_t k = 0; k < r->count; k += each) {
            int64_t count = sn_least(each, r->count - k);
            const char *ahead = k + count < r->count ? sn_gemm_panel(g, r, p) + SN_GEMM_PANEL_BYTES(k + count)
                                : p + 1 < r->p1      ? sn_gemm_panel(g, r, p + 1)
                                                     : sn_gemm_panel(g, next, next->p0);
            sn_gemm_panel_part(g, r, p, sn_gemm_panel(g, r, p) + SN_GEMM_PANEL_BYTES(k), k, count, ahead, a,
                               sums, rest);
        }
}

/* Whether rows are so few that reading the panels is all: the register tile, which asks for each line shortly before it, has that
 * quicker, to the same sums of bytes. Sums of bf16, which would be others, are always the tiles'. */
SN_INLINE int sn_gemm_is_few(const SnGemm *g) {
    return SN_TILE_B == 5 && g->M <= SN_TILE_MR;
}

SN_OUTLINE void sn_gemm_round_few(const SnGemm *g, const SnGemmRound *r, int32_t *a, SnTileNumber *sums) {
    int64_t height = sn_tile_height(g->M);
    for (int64_t m = 0; m < g->M; m++)
        g->holes->copy_row(g, r->batch, m, r->k, r->count, a + m * SN_GEMM_LDW, SN_GEMM_WORDS);
    for (int64_t m = g->M; m < height; m++) __builtin_memset(a + m * SN_GEMM_LDW, 0, 4 * SN_GEMM_LDW);
    for (int64_t p = r->p0; p < r->p1; p++) {
        SnTileNumber *sum = sums + (g->pieces > 1 ? p - r->p0 : 0) * SN_GEMM_SUMS;
        sn_tile_stream(height, r->count, a, SN_GEMM_LDW, 1, sn_gemm_panel(g, r, p), sum, SN_TILE_NR, r->k > 0,
                       (const char *)0, 0);
        if (r->k + r->count >= g->K)
            g->holes->finish(g->context, sum, SN_TILE_NR, r->batch, 0, g->M, p * SN_TILE_NR,
                             sn_least(SN_TILE_NR, g->N - p * SN_TILE_NR));
    }
}

SN_OUTLINE void sn_gemm_run_tiles(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                                  int64_t K, int64_t begin, int64_t end) {
    SN_ALIGNED int32_t a[SN_GEMM_HEIGHTS * SN_GEMM_COPY];
    SN_ALIGNED SnTileNumber sums[SN_GEMM_HEIGHTS * SN_GEMM_GROUP * SN_GEMM_SUMS];
    SnGemm g = sn_gemm_shape(context, holes, M, N, K);
    SnGemmRest rest = {.rows = 0};
    int64_t item = begin;
    SnGemmRound r = {0}, next;
    if (begin < end) r = sn_gemm_begin(&g, &item, end);
    const int few = sn_gemm_is_few(&g), tiles = !few && r.u0 < r.u1;
    if (tiles) sn_matrix_begin();
    for (; r.u0 < r.u1; r = next) {
        next = sn_gemm_behind(&g, &r, &item, end);
        if (few)
            sn_gemm_round_few(&g, &r, a, sums);
        else
            sn_gemm_round(&g, &r, &next, a, sums, &rest);
    }
    sn_gemm_finish_some(&g, &rest, rest.rows);
    if (tiles) sn_matrix_end();
}

SN_COMMON void SN_COMMON_NAME(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                              int64_t K, int64_t begin, int64_t end) {
    sn_gemm_run_tiles(context, holes, M, N, K, begin, end);
}

#endif

#endif

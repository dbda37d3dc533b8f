/* The gradients of attention without its score matrix. With P[i][j] = exp(score - maximum - logarithm) of row i and
 * dS = P o (dO . V^T - sums): dQ = scale dS K, dK = scale dS^T Q, dV = P^T dO, the last two summed over the heads that share a
 * key head.
 *
 * Contract for the code generator: after vector.h, vector_math.h, tile.h (SN_TILE_B 1) and attention_score.h, then
 * attention_backward_step.h. #defines before the text: SN_ATTENTION_D, SN_ATTENTION_DV, SN_ATTENTION_SCORE, SN_ATTENTION_CAPPED and SN_ATTENTION_DROPS as in attention.h, and
 *
 * - SN_BACKWARD_COLUMNS: keys of a step, a multiple of SN_TILE_NR
 *
 * - SN_BACKWARD_BLOCKS: heights of the tile in a step
 *
 * - SN_BACKWARD_STORES: which gradients are stored: 1 of queries, 2 of keys, 4 of values
 *
 * Holes, besides those of queries, keys, values, scores and masks that attention.h tells of:
 *
 * - vf32 sn_slope_v(context, b, h, i, d), lanes along d, and float sn_slope_s: dO
 *
 * - float sn_statistic_s(context, b, h, i, which): of a row its maximum (0) and logarithm (1)
 *
 * - float sn_sum_s(context, b, h, i, 0): of a row the sum of dO o O
 *
 * - void sn_output_v(context, vf32 dq, b, h, i, d), lanes along d, and sn_output_s; sn_key_slope_v(context, vf32 dk, b, g, j, d)
 *   and sn_value_slope_v(context, vf32 dv, b, g, j, d) likewise: those that are stored
 *
 * - const void *sn_backward_partial(context, at): the address of element `at` of a float buffer of batch * heads * parts *
 *   rows * SN_BACKWARD_PD, for sums of dQ
 *
 * The entry calls sn_backward_run(context, &(SnAttention){...}, parts, begin, end). Items of the first round: batch * kv_heads *
 * parts; of the second, when parts > 1: batch * heads * rows. An item has every parts-th step of the keys of a key head and all
 * its rows, so parts are at most the steps. Their sums of dQ are added in order, and everything else is the work of one item:
 * results do not depend on how items are split.
 *
 * Stack: about 4 * (COLUMNS * (3 D + 2 DV) + 4 (ROWS + MR) * max(COLUMNS, D, DV)) bytes.
 * After Dao et al. (FlashAttention, 2022) and Dao (FlashAttention-2, 2023). */
#ifndef SN_DEVICE_ATTENTION_BACKWARD_H
#define SN_DEVICE_ATTENTION_BACKWARD_H

#define SN_BACKWARD_ROWS (SN_BACKWARD_BLOCKS * SN_TILE_MR)
#define SN_BACKWARD_PD   ((SN_ATTENTION_D + SN_TILE_NR - 1) / SN_TILE_NR * SN_TILE_NR)
#define SN_BACKWARD_PE   ((SN_ATTENTION_DV + SN_TILE_NR - 1) / SN_TILE_NR * SN_TILE_NR)
#define SN_BACKWARD_WIDE (SN_BACKWARD_PD > SN_BACKWARD_PE ? SN_BACKWARD_PD : SN_BACKWARD_PE)
/* One stride of all left operands, so that one tile function serves them; padded against cache set conflicts. */
#define SN_BACKWARD_LD                                                                                       \
    ((SN_BACKWARD_COLUMNS > SN_BACKWARD_WIDE ? SN_BACKWARD_COLUMNS : SN_BACKWARD_WIDE) + SN_LANES)
#define SN_BACKWARD_LDK     (SN_BACKWARD_PD + SN_LANES)
#define SN_BACKWARD_LDV     (SN_BACKWARD_PE + SN_LANES)
#define SN_BACKWARD_HEIGHTS ((SN_BACKWARD_COLUMNS + SN_TILE_MR - 1) / SN_TILE_MR) /* of a step's keys */

SN_INLINE vf32 sn_slope_v(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE float sn_slope_s(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE float sn_statistic_s(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t which);
SN_INLINE float sn_sum_s(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t zero);
SN_INLINE const void *sn_backward_partial(const SnContext *context, int64_t at);
#if SN_BACKWARD_STORES & 1
SN_INLINE void sn_output_v(const SnContext *context, vf32 x, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE void sn_output_s(const SnContext *context, float x, int64_t b, int64_t h, int64_t i, int64_t d);
#endif
#if SN_BACKWARD_STORES & 2
SN_INLINE void sn_key_slope_v(const SnContext *context, vf32 x, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE void sn_key_slope_s(const SnContext *context, float x, int64_t b, int64_t g, int64_t j, int64_t d);
#endif
#if SN_BACKWARD_STORES & 4
SN_INLINE void sn_value_slope_v(const SnContext *context, vf32 x, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE void sn_value_slope_s(const SnContext *context, float x, int64_t b, int64_t g, int64_t j,
                                int64_t d);
#endif

/* The state of a work item. Rows past those of a height are read and written by the tile, so buffers of rows have some
 * to spare; height v of the keys owns the rows v * MR .. of `dk` and `dv`. */
typedef struct SnBackward {
    const SnContext *context;
    const SnAttention *p;
    int64_t b, h, g, part, parts;
    int64_t j, count;                 /* columns of the step */
    int64_t i, rows;                  /* rows at hand */
    int64_t end[SN_BACKWARD_BLOCKS];  /* of each height of the rows: the columns that it sees */
    int started[SN_BACKWARD_HEIGHTS]; /* the height of keys has sums */
    float maximum[SN_BACKWARD_ROWS], logarithm[SN_BACKWARD_ROWS], sum[SN_BACKWARD_ROWS];
    SN_ALIGNED_64 float stage[SN_LANES * SN_BACKWARD_WIDE];                       /* rows that are packed */
    SN_ALIGNED_64 float keys[SN_BACKWARD_COLUMNS * SN_ATTENTION_D];               /* (panel of j, d, NR) */
    SN_ALIGNED_64 float values[SN_BACKWARD_COLUMNS * SN_ATTENTION_DV];            /* (panel of j, d, NR) */
    SN_ALIGNED_64 float key_rows[SN_BACKWARD_COLUMNS * SN_BACKWARD_PD];           /* (panel of d, j, NR) */
    SN_ALIGNED_64 float query_rows[SN_BACKWARD_ROWS * SN_BACKWARD_PD];            /* (panel of d, i, NR) */
    SN_ALIGNED_64 float slope_rows[SN_BACKWARD_ROWS * SN_BACKWARD_PE];            /* (panel of d, i, NR) */
    SN_ALIGNED_64 float query[(SN_BACKWARD_ROWS + SN_TILE_MR) * SN_BACKWARD_LD];  /* (i, d), scaled */
    SN_ALIGNED_64 float slope[(SN_BACKWARD_ROWS + SN_TILE_MR) * SN_BACKWARD_LD];  /* (i, d) */
    SN_ALIGNED_64 float weight[(SN_BACKWARD_ROWS + SN_TILE_MR) * SN_BACKWARD_LD]; /* (i, j): P */
    SN_ALIGNED_64 float change[(SN_BACKWARD_ROWS + SN_TILE_MR) * SN_BACKWARD_LD]; /* (i, j): dS */
#if SN_ATTENTION_DROPS
    SN_ALIGNED_64 float keep[SN_BACKWARD_LD]; /* (j): the factors of a row */
#endif
    SN_ALIGNED_64 float dq[SN_TILE_MR * SN_BACKWARD_LDK];                       /* (row of a height, d) */
    SN_ALIGNED_64 float dk[SN_BACKWARD_HEIGHTS * SN_TILE_MR * SN_BACKWARD_LDK]; /* (row of a height, d) */
    SN_ALIGNED_64 float dv[SN_BACKWARD_HEIGHTS * SN_TILE_MR * SN_BACKWARD_LDV]; /* (row of a height, d) */
} SnBackward;

/* ---- reading and packing ---- */

/* A row of an operand, with zeros behind it up to whole panels. */
#define SN_BACKWARD_READ(NAME, HOLE, SIZE, PADDED)                                                           \
    SN_OUTLINE void NAME(const SnContext *context, float *to, int64_t b, int64_t h, int64_t i) {             \
        int64_t d = 0;                                                                                       \
        for (; d + SN_LANES <= SIZE; d += SN_LANES) sn_store_f32_v(to + d, HOLE##_v(context, b, h, i, d));   \
        for (; d < SIZE; d++) to[d] = HOLE##_s(context, b, h, i, d);                                         \
        for (; d < PADDED; d++) to[d] = 0;                                                                   \
    }
SN_BACKWARD_READ(sn_backward_query, sn_query, SN_ATTENTION_D, SN_BACKWARD_PD)
SN_BACKWARD_READ(sn_backward_key, sn_key, SN_ATTENTION_D, SN_BACKWARD_PD)
SN_BACKWARD_READ(sn_backward_value, sn_value, SN_ATTENTION_DV, SN_BACKWARD_PE)
SN_BACKWARD_READ(sn_backward_slope, sn_slope, SN_ATTENTION_DV, SN_BACKWARD_PE)

/* A padded row into panels of d: row r of `rows` in each. */
SN_INLINE void sn_backward_spread(const float *from, float *to, int64_t r, int64_t rows,
                                  const int64_t padded) {
    for (int64_t d = 0; d < padded; d += SN_LANES)
        sn_store_f32_v(to + d / SN_TILE_NR * rows * SN_TILE_NR + r * SN_TILE_NR + d % SN_TILE_NR,
                       sn_load_f32_v(from + d));
}

/* Rows of `stage`, as columns l .. of panels of columns, `size` of each. */
SN_INLINE void sn_backward_turn(const SnBackward *t, float *panels, int64_t l, const int64_t size) {
    float *to = panels + l / SN_TILE_NR * SN_TILE_NR * size + l % SN_TILE_NR;
    int64_t d = 0;
    for (; d + SN_LANES <= size; d += SN_LANES) {
        SN_ALIGNED_64 float square[SN_LANES * SN_LANES];
        for (int64_t r = 0; r < SN_LANES; r++)
            sn_store_f32_v(square + r * SN_LANES, sn_load_f32_v(t->stage + r * SN_BACKWARD_WIDE + d));
        sn_transpose_square(square, to + d * SN_TILE_NR, SN_TILE_NR);
    }
    for (; d < size; d++)
        for (int64_t r = 0; r < SN_LANES; r++) to[d * SN_TILE_NR + r] = t->stage[r * SN_BACKWARD_WIDE + d];
}

/* The keys and values of the step. Columns past the count, up to whole panels, are zero. */
SN_OUTLINE void sn_backward_columns(SnBackward *t) {
    int64_t whole = sn_attention_ceil(t->count, SN_TILE_NR) * SN_TILE_NR;
    for (int64_t l = 0; l < whole; l += SN_LANES) {
        int64_t left = t->count - l, n = left < 0 ? 0 : left < SN_LANES ? left : SN_LANES;
        if (n < SN_LANES) __builtin_memset(t->stage, 0, sizeof t->stage);
        for (int64_t r = 0; r < n; r++) {
            float *row = t->stage + r * SN_BACKWARD_WIDE;
            sn_backward_key(t->context, row, t->b, t->g, t->j + l + r);
            sn_backward_spread(row, t->key_rows, l + r, SN_BACKWARD_COLUMNS, SN_BACKWARD_PD);
        }
        sn_backward_turn(t, t->keys, l, SN_ATTENTION_D);
        for (int64_t r = 0; r < n; r++)
            sn_backward_value(t->context, t->stage + r * SN_BACKWARD_WIDE, t->b, t->g, t->j + l + r);
        sn_backward_turn(t, t->values, l, SN_ATTENTION_DV);
    }
}

/* Queries, slopes and statistics of the rows at hand. */
SN_OUTLINE void sn_backward_front(SnBackward *t) {
    for (int64_t r = 0; r < t->rows; r++) {
        float *query = t->query + r * SN_BACKWARD_LD, *slope = t->slope + r * SN_BACKWARD_LD;
        sn_backward_query(t->context, query, t->b, t->h, t->i + r);
        for (int64_t d = 0; d < SN_BACKWARD_PD; d += SN_LANES)
            sn_store_f32_v(query + d, t->p->scale * sn_load_f32_v(query + d));
        sn_backward_spread(query, t->query_rows, r, SN_BACKWARD_ROWS, SN_BACKWARD_PD);
        sn_backward_slope(t->context, slope, t->b, t->h, t->i + r);
        sn_backward_spread(slope, t->slope_rows, r, SN_BACKWARD_ROWS, SN_BACKWARD_PE);
        float maximum = sn_statistic_s(t->context, t->b, t->h, t->i + r, 0);
        int empty = maximum == -__builtin_inff(); /* no score is counted */
        t->maximum[r] = empty ? __builtin_inff() : maximum;
        t->logarithm[r] = empty ? 0 : sn_statistic_s(t->context, t->b, t->h, t->i + r, 1);
        t->sum[r] = sn_sum_s(t->context, t->b, t->h, t->i + r, 0);
    }
}

#endif

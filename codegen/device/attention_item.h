/* Work items of attention of many rows: their state, what is fetched ahead of them, and how they end. After attention.h, before
 * attention_many.h or attention_matrix.h, which multiply. */
#ifndef SN_DEVICE_ATTENTION_ITEM_H
#define SN_DEVICE_ATTENTION_ITEM_H

#define SN_ATTENTION_BM   (SN_ATTENTION_BLOCKS * SN_ATTENTION_HIGH) /* rows of a work item */
#define SN_ATTENTION_STEP (SN_ATTENTION_FIT / SN_TILE_NR)
#define SN_ATTENTION_BN   ((SN_ATTENTION_STEP > 1 ? SN_ATTENTION_STEP : 1) * SN_TILE_NR)
#if SN_ATTENTION_MATRIX
#define SN_ATTENTION_LDS   (SN_ATTENTION_BN + SN_LANES)
#define SN_ATTENTION_DEEP  ((SN_ATTENTION_D + 31) / 32) /* steps of a tile along d */
#define SN_ATTENTION_SLOTS SN_ATTENTION_HIGH
#else
/* Rows of scores, and of the queries of one height: one stride, so that one tile function serves both. */
#define SN_ATTENTION_LDS   ((SN_ATTENTION_BN > SN_ATTENTION_D ? SN_ATTENTION_BN : SN_ATTENTION_D) + SN_LANES)
/* d and j in words of two, where operands are bf16. */
#define SN_ATTENTION_WORD  (SN_TILE_B == 6 ? 2 : 1)
#define SN_ATTENTION_DEPTH (SN_ATTENTION_D / SN_ATTENTION_WORD)
#define SN_ATTENTION_LONG  (SN_ATTENTION_BN / SN_ATTENTION_WORD)
#define SN_ATTENTION_SLOTS ((SN_TILE_MR + SN_LANES - 1) / SN_LANES * SN_LANES)
#endif

#define SN_ATTENTION_LINE (SN_TILE_B == 6 ? 32 : 16) /* elements of queries, keys and values in 64 bytes */
#define SN_ATTENTION_NEAR                                                                                    \
    (SN_ATTENTION_MATRIX ? 2 : 3) /* cache that they are fetched to: tiles leave no room in the first */

/* What is fetched while the step at hand computes: what the next one reads, keys and values [j, j1) and queries [i, i1), and
 * the places of the rows [o, o1) of this item's results, if the step is its last. */
typedef struct SnAttentionAhead {
    int64_t b, h, g, j, j1, i, i1, o, o1;
} SnAttentionAhead;

/* The state of a work item. Height u owns the rows u * HIGH .. of `out`. */
typedef struct SnAttentionItem {
    const SnContext *context;
    int64_t columns;
    int64_t b, h, g, i0, rows, heights; /* rows of this item, from i0, cut into heights */
    SnAttentionAhead ahead;
    int started[SN_ATTENTION_BLOCKS]; /* the height has sums in `out` */
    float scale, rest, cap;           /* of queries, of scores after that (words alone), soft cap */
    float unit;                       /* of maxima */
    SN_ALIGNED_64 float maximum[SN_ATTENTION_BLOCKS * SN_ATTENTION_SLOTS]; /* (height, row) */
    SN_ALIGNED_64 float sum[SN_ATTENTION_BLOCKS * SN_ATTENTION_SLOTS];
#if SN_ATTENTION_MATRIX
    /* (row, j) of a height; (step of d, half of the rows), its queries; (panel of j, step of d, half of its columns); (panel of d,
     * step of j, half of its columns). */
    SN_ALIGNED_64 float scores[SN_ATTENTION_HIGH * SN_ATTENTION_LDS];
    SN_ALIGNED_64 char front[SN_ATTENTION_DEEP * 2 * SN_MATRIX_TILE_BYTES];
    SN_ALIGNED_64 char keys[SN_ATTENTION_BN / 16 * SN_ATTENTION_DEEP * SN_MATRIX_TILE_BYTES];
    SN_ALIGNED_64 char values[SN_ATTENTION_BN / 32 * SN_ATTENTION_OUT / 16 * SN_MATRIX_TILE_BYTES];
#else
    SN_ALIGNED_64 float scores[SN_TILE_MR * SN_ATTENTION_LDS];        /* (row, j) of one height */
    SN_ALIGNED_64 SnTileElement front[SN_TILE_MR * SN_ATTENTION_LDS]; /* (row, d) of its queries, scaled */
    SN_ALIGNED_64 SnTileElement keys[SN_ATTENTION_BN * SN_ATTENTION_DEPTH];   /* (panel of j, d, NR) */
    SN_ALIGNED_64 SnTileElement values[SN_ATTENTION_LONG * SN_ATTENTION_OUT]; /* (panel of d, j, NR) */
#endif
    SN_ALIGNED_64 float out[SN_ATTENTION_BM * SN_ATTENTION_LDO]; /* (row, d), not yet divided by the sum */
} SnAttentionItem;

/* Of attention_many.h or attention_matrix.h. What of the scale queries do not have is multiplied into scores. */
SN_INLINE void sn_attention_scale(SnAttentionItem *t, float scale);

/* Height u of `total` rows: the first of them, and how many. */
SN_INLINE int64_t sn_attention_cut(int64_t total, int64_t u, int64_t *rows) {
#if SN_ATTENTION_MATRIX
    int64_t left = total - u * SN_ATTENTION_HIGH;
    *rows = left < SN_ATTENTION_HIGH ? left : SN_ATTENTION_HIGH;
    return u * SN_ATTENTION_HIGH;
#else
    return sn_attention_height(total, u, rows);
#endif
}

/* Fetches the next row of each operand ahead, and where one of O goes. Called between two tiles and beside each row's
 * exponentials: that is often enough for all rows, and more of them at once would wait for each other. */
SN_OUTLINE void sn_attention_fetch(SnAttentionItem *t) {
    SnAttentionAhead *a = &t->ahead;
    if (a->o < a->o1) {
        for (int64_t d = 0; d < SN_ATTENTION_DV; d += 16) sn_output_ahead(t->context, t->b, t->h, a->o, d);
        a->o++;
    }
#if SN_ATTENTION_POINTER
    if (a->j < a->j1) {
        for (int64_t d = 0; d < SN_ATTENTION_D; d += SN_ATTENTION_LINE)
            __builtin_prefetch(sn_key_pointer(t->context, a->b, a->g, a->j, d), 0, SN_ATTENTION_NEAR);
        for (int64_t d = 0; d < SN_ATTENTION_DV; d += SN_ATTENTION_LINE)
            __builtin_prefetch(sn_value_pointer(t->context, a->b, a->g, a->j, d), 0, SN_ATTENTION_NEAR);
        a->j++;
    }
    if (a->i < a->i1) {
        for (int64_t d = 0; d < SN_ATTENTION_D; d += SN_ATTENTION_LINE)
            __builtin_prefetch(sn_query_pointer(t->context, a->b, a->h, a->i, d), 0, SN_ATTENTION_NEAR);
        a->i++;
    }
#endif
}

/* The rows of O of height u. */
SN_OUTLINE void sn_attention_end(SnAttentionItem *t, int64_t u) {
    int64_t rows, i = t->i0 + sn_attention_cut(t->rows, u, &rows);
    float *out = t->out + u * SN_ATTENTION_HIGH * SN_ATTENTION_LDO;
    if (!t->started[u]) __builtin_memset(out, 0, (size_t)(rows * SN_ATTENTION_LDO) * sizeof(float));
    for (int64_t r = 0; r < rows; r++)
        sn_attention_finish(t->context, out + r * SN_ATTENTION_LDO,
                            t->unit * t->maximum[u * SN_ATTENTION_SLOTS + r],
                            t->sum[u * SN_ATTENTION_SLOTS + r], t->columns, t->b, t->h, i + r);
}

/* The first row of a block: with matrix tiles, a multiple of their height. */
SN_INLINE int64_t sn_attention_first_row(const SnAttention *p, int64_t block, int64_t blocks) {
    const int64_t unit = SN_ATTENTION_MATRIX ? SN_ATTENTION_HIGH : 1;
    int64_t first = block * sn_attention_ceil(p->rows, unit) / blocks * unit;
    return first < p->rows ? first : p->rows;
}

/* The rows of a work item: how many, of which batch and head, and the first of them. */
SN_INLINE int64_t sn_attention_locate(const SnAttention *p, int64_t item, int64_t *b, int64_t *h,
                                      int64_t *i) {
    int64_t blocks = sn_attention_ceil(p->rows, SN_ATTENTION_BM), block = item % blocks;
    *h = item / blocks % p->heads;
    *b = item / blocks / p->heads;
    *i = sn_attention_first_row(p, block, blocks);
    return sn_attention_first_row(p, block + 1, blocks) - *i;
}

/* What comes after the step at j: the next step of the item, or the first one of the item `next`, if any. Behind the
 * end of a range of items that is a guess: the thread's next range often begins there. Returns whether the step is the item's
 * last. */
SN_INLINE int sn_attention_look_ahead(SnAttentionItem *t, const SnAttention *p, int64_t j, int64_t next) {
    SnAttentionAhead *a = &t->ahead;
    int64_t from = j + SN_ATTENTION_BN;
    *a = (SnAttentionAhead){.b = t->b, .h = t->h, .g = t->g, .j = from, .j1 = from + SN_ATTENTION_BN};
    int last =
        from >= p->columns || !sn_mask_tile(t->context, t->b, t->h, t->i0, t->i0 + t->rows, from, p->columns);
    if (last) {
        a->o = t->i0, a->o1 = t->i0 + t->rows;
        if (next == sn_attention_items(p)) next--; /* what is near already */
        a->i1 = sn_attention_locate(p, next, &a->b, &a->h, &a->i);
        a->i1 += a->i;
        a->g = a->h / (p->heads / p->kv_heads);
        a->j = 0, a->j1 = SN_ATTENTION_BN;
    }
    if (a->j1 > p->columns) a->j1 = p->columns;
    return last;
}

#endif

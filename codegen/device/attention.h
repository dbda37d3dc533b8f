/* Attention without its score matrix: O[b][h][i] = softmax over j of (scale * Q[b][h][i] . K[b][g][j]) times
 * V[b][g][j].
 *
 * Contract for the code generator: after vector.h, vector_math.h and tile.h (SN_TILE_B 1). #defines before
 * the text: SN_ATTENTION_D, SN_ATTENTION_DV   head sizes of Q and K, and of V and O (DV is D when absent)
 *   SN_ATTENTION_SCORE       0 no score hole (default), 1 the hole only masks: it is called where
 * sn_mask_tile says 1, 2 the hole is called for every score (a bias) SN_ATTENTION_EMPTY_ZERO  1: a row of O
 * whose scores are all -infinity is zero; 0 (default): NaN, as Softmax has it SN_ATTENTION_STATISTICS  1: the
 * row's greatest score and its sum of exponentials go to a hole SN_ATTENTION_BLOCKS      heights of the tile
 * in a work item (default: about 256 rows, fewer when D is large) Holes, defined after the text; g = h /
 * (heads / kv_heads); a v form is only called with all its lanes inside: vf32 sn_query_v(context, b, h, i,
 * d), sn_key_v(context, b, g, j, d), sn_value_v(context, b, g, j, d): lanes along d, and float sn_query_s,
 * sn_key_s, sn_value_s vf32 sn_score_v(context, vf32 score, b, h, i, j): the score to use, lanes along j; and
 * float sn_score_s int sn_mask_tile(context, b, h, i0, i1, j0, j1): what is masked of rows [i0, i1) by
 * columns [j0, j1): 0 all (never looked at), 1 some, 2 nothing. It need not be exact: 1 is always right. void
 * sn_output_v(context, vf32 o, b, h, i, d), lanes along d; and sn_output_s void
 * sn_attention_statistics(context, float maximum, float sum, b, h, i) The entry calls
 * sn_attention_run(context, &(SnAttention){...}, begin, end).
 *
 * For the host: work items = batch * heads * ceil(rows / (SN_ATTENTION_BLOCKS * SN_TILE_MR)).
 * Stack: about 4 * (BM * (D + DV) + BN * (D + DV) + 2 MR * BN) bytes, 310 KB for D = 64 and 14 rows.
 * After Milakov and Gimelshein (online softmax, 2018) and Dao et al. (FlashAttention, 2022). Which columns
 * share a step depends on the shape alone, so no result depends on how the items are split. */
#ifndef SN_DEVICE_ATTENTION_H
#define SN_DEVICE_ATTENTION_H

#ifndef SN_ATTENTION_DV
#define SN_ATTENTION_DV SN_ATTENTION_D
#endif
#ifndef SN_ATTENTION_SCORE
#define SN_ATTENTION_SCORE 0
#endif
#ifndef SN_ATTENTION_EMPTY_ZERO
#define SN_ATTENTION_EMPTY_ZERO 0
#endif
#ifndef SN_ATTENTION_STATISTICS
#define SN_ATTENTION_STATISTICS 0
#endif
#ifndef SN_ATTENTION_BLOCKS
#define SN_ATTENTION_BLOCKS ((256 + SN_TILE_MR - 1) / SN_TILE_MR)
#endif
#if SN_TILE_B != 1
#error "attention packs keys and values as f32: SN_TILE_B must be 1"
#endif

#define SN_ATTENTION_BM (SN_ATTENTION_BLOCKS * SN_TILE_MR) /* rows of a work item */
/* Columns of a step: keys and values together take about 128 KB. */
#define SN_ATTENTION_STEP (32768 / (SN_ATTENTION_D + SN_ATTENTION_DV) / SN_TILE_NR)
#define SN_ATTENTION_BN   ((SN_ATTENTION_STEP > 1 ? SN_ATTENTION_STEP : 1) * SN_TILE_NR)
#define SN_ATTENTION_OUT  ((SN_ATTENTION_DV + SN_TILE_NR - 1) / SN_TILE_NR * SN_TILE_NR)
#define SN_ATTENTION_LDQ  (SN_ATTENTION_D + SN_LANES) /* padded against cache set conflicts */
/* Rows of scores, and of the queries of one height: one stride, so that one tile function serves both. */
#define SN_ATTENTION_LDS ((SN_ATTENTION_BN > SN_ATTENTION_D ? SN_ATTENTION_BN : SN_ATTENTION_D) + SN_LANES)
#define SN_ATTENTION_LDO (SN_ATTENTION_OUT + SN_LANES)
#define SN_ALIGNED_64    __attribute__((aligned(64)))

typedef struct SnAttention {
    int64_t batch, heads, kv_heads, rows, columns;
    float scale;
} SnAttention;

SN_INLINE vf32 sn_query_v(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE float sn_query_s(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE vf32 sn_key_v(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE float sn_key_s(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE vf32 sn_value_v(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE float sn_value_s(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE int sn_mask_tile(const SnContext *context, int64_t b, int64_t h, int64_t i0, int64_t i1, int64_t j0,
                           int64_t j1);
SN_INLINE void sn_output_v(const SnContext *context, vf32 o, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE void sn_output_s(const SnContext *context, float o, int64_t b, int64_t h, int64_t i, int64_t d);
#if SN_ATTENTION_SCORE
SN_INLINE vf32 sn_score_v(const SnContext *context, vf32 score, int64_t b, int64_t h, int64_t i, int64_t j);
SN_INLINE float sn_score_s(const SnContext *context, float score, int64_t b, int64_t h, int64_t i, int64_t j);
#endif
#if SN_ATTENTION_STATISTICS
SN_INLINE void sn_attention_statistics(const SnContext *context, float maximum, float sum, int64_t b,
                                       int64_t h, int64_t i);
#endif

/* The state of a work item. Height u of the tile owns the rows u * MR .. of query, out, maximum and sum. */
typedef struct SnAttentionItem {
    const SnContext *context;
    int64_t b, h, g, i0, rows, heights; /* rows of this item, from i0, cut into nearly equal heights */
    float maximum[SN_ATTENTION_BM], sum[SN_ATTENTION_BM];
    SN_ALIGNED_64 float query[SN_ATTENTION_BM * SN_ATTENTION_LDQ];  /* (row, d), scaled */
    SN_ALIGNED_64 float scores[SN_TILE_MR * SN_ATTENTION_LDS];      /* (row, j) of one height */
    SN_ALIGNED_64 float front[SN_TILE_MR * SN_ATTENTION_LDS];       /* (row, d) of its queries */
    SN_ALIGNED_64 float out[SN_ATTENTION_BM * SN_ATTENTION_LDO];    /* (row, d), not yet divided by the sum */
    SN_ALIGNED_64 float keys[SN_ATTENTION_BN * SN_ATTENTION_D];     /* (panel of j, d, NR) */
    SN_ALIGNED_64 float values[SN_ATTENTION_BN * SN_ATTENTION_OUT]; /* (panel of d, j, NR) */
} SnAttentionItem;

/* The rows of height u: first of them in the item, and how many. */
SN_INLINE int64_t sn_attention_height(const SnAttentionItem *t, int64_t u, int64_t *rows) {
    int64_t first = u * t->rows / t->heights;
    *rows = (u + 1) * t->rows / t->heights - first;
    return first;
}

SN_OUTLINE void sn_attention_start(SnAttentionItem *t, float scale) {
    int64_t slots = t->heights * SN_TILE_MR;
    __builtin_memset(t->out, 0, (size_t)(slots * SN_ATTENTION_LDO) * sizeof(float));
    for (int64_t u = 0; u < t->heights; u++) {
        int64_t rows, first = sn_attention_height(t, u, &rows);
        for (int64_t r = 0; r < rows; r++) {
            float *to = t->query + (u * SN_TILE_MR + r) * SN_ATTENTION_LDQ;
            int64_t d = 0, i = t->i0 + first + r;
            t->maximum[u * SN_TILE_MR + r] = -__builtin_inff();
            t->sum[u * SN_TILE_MR + r] = 0;
            for (; d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES)
                sn_store_f32_v(to + d, scale * sn_query_v(t->context, t->b, t->h, i, d));
            for (; d < SN_ATTENTION_D; d++) to[d] = scale * sn_query_s(t->context, t->b, t->h, i, d);
        }
        __builtin_memset(t->query + (u * SN_TILE_MR + rows) * SN_ATTENTION_LDQ, 0,
                         (size_t)((SN_TILE_MR - rows) * SN_ATTENTION_LDQ) * sizeof(float));
    }
}

/* Keys j .. j+count, transposed into panels; columns past the count are zero. */
SN_OUTLINE void sn_attention_pack_keys(SnAttentionItem *t, int64_t j, int64_t count) {
    for (int64_t l = 0; l < count; l += SN_LANES) {
        float *to = t->keys + l / SN_TILE_NR * SN_TILE_NR * SN_ATTENTION_D + l % SN_TILE_NR;
        int64_t d = 0;
        for (; l + SN_LANES <= count && d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES) {
            SN_ALIGNED_64 float square[SN_LANES * SN_LANES];
            for (int64_t r = 0; r < SN_LANES; r++)
                sn_store_f32_v(square + r * SN_LANES, sn_key_v(t->context, t->b, t->g, j + l + r, d));
            sn_transpose_square(square, to + d * SN_TILE_NR, SN_TILE_NR);
        }
        for (; d < SN_ATTENTION_D; d++)
            for (int64_t r = 0; r < SN_LANES; r++)
                to[d * SN_TILE_NR + r] = l + r < count ? sn_key_s(t->context, t->b, t->g, j + l + r, d) : 0;
    }
    for (int64_t l = (count + SN_LANES - 1) / SN_LANES * SN_LANES; l % SN_TILE_NR; l += SN_LANES)
        for (int64_t d = 0; d < SN_ATTENTION_D; d++)
            sn_store_f32_v(t->keys + (l / SN_TILE_NR * SN_ATTENTION_D + d) * SN_TILE_NR + l % SN_TILE_NR,
                           (vf32){0});
}

/* Values j .. j+count into panels; columns from DV on are zero. */
SN_OUTLINE void sn_attention_pack_values(SnAttentionItem *t, int64_t j, int64_t count) {
    for (int64_t l = 0; l < count; l++)
        for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES) {
            float *to = t->values + (d / SN_TILE_NR * SN_ATTENTION_BN + l) * SN_TILE_NR + d % SN_TILE_NR;
            if (d + SN_LANES <= SN_ATTENTION_DV) {
                sn_store_f32_v(to, sn_value_v(t->context, t->b, t->g, j + l, d));
                continue;
            }
            for (int64_t r = 0; r < SN_LANES; r++)
                to[r] = d + r < SN_ATTENTION_DV ? sn_value_s(t->context, t->b, t->g, j + l, d + r) : 0;
        }
}

#if SN_ATTENTION_SCORE
/* The score hole over rows of a panel whose first column is j, of which `count` exist. */
SN_INLINE void sn_attention_adjust(const SnAttentionItem *t, float *scores, int64_t i, int64_t rows,
                                   int64_t j, int64_t count) {
    for (int64_t r = 0; r < rows; r++) {
        float *s = scores + r * SN_ATTENTION_LDS;
        int64_t l = 0;
        for (; l + SN_LANES <= count; l += SN_LANES)
            sn_store_f32_v(s + l, sn_score_v(t->context, sn_load_f32_v(s + l), t->b, t->h, i + r, j + l));
        for (; l < count; l++) s[l] = sn_score_s(t->context, s[l], t->b, t->h, i + r, j + l);
    }
}
#endif

/* The tile of both products: scores by panels of keys, outputs by panels of values. */
SN_OUTLINE void sn_attention_tile(int64_t rows, int64_t length, const float *a, const float *b, float *c,
                                  int64_t ldc, int accumulate) {
    sn_tile(sn_tile_height(rows), length, a, SN_ATTENTION_LDS, b, c, ldc, accumulate);
}

/* Scores of height u against the keys j .. j+count. Returns the columns [*from, end) that are not wholly
 * masked; what is masked in between, or lies past the count, is -infinity. */
SN_OUTLINE int64_t sn_attention_score(SnAttentionItem *t, int64_t u, int64_t j, int64_t count, int state,
                                      int64_t *from) {
    int64_t rows, i = t->i0 + sn_attention_height(t, u, &rows), end = 0;
    float *scores = t->scores;
    *from = -1;
    for (int64_t r = 0; r < sn_tile_height(rows); r++)
        __builtin_memcpy(t->front + r * SN_ATTENTION_LDS, t->query + (u * SN_TILE_MR + r) * SN_ATTENTION_LDQ,
                         SN_ATTENTION_D * sizeof(float));
    for (int64_t l = 0; l < count; l += SN_TILE_NR) {
        int64_t width = count - l < SN_TILE_NR ? count - l : SN_TILE_NR, fill = width;
        int here = state == 2 ? 2 : sn_mask_tile(t->context, t->b, t->h, i, i + rows, j + l, j + l + width);
        if (here) {
            if (*from < 0) *from = l;
            end = l + width;
            sn_attention_tile(rows, SN_ATTENTION_D, t->front, t->keys + l * SN_ATTENTION_D, scores + l,
                              SN_ATTENTION_LDS, 0);
#if SN_ATTENTION_SCORE
            if (SN_ATTENTION_SCORE == 2 || here == 1)
                sn_attention_adjust(t, scores + l, i, rows, j + l, width);
#endif
        } else {
            fill = 0;
        }
        for (int64_t r = 0; fill < SN_TILE_NR && r < rows; r++)
            for (int64_t e = fill; e < SN_TILE_NR; e++)
                scores[r * SN_ATTENTION_LDS + l + e] = -__builtin_inff();
    }
    while (state == 1 && end > SN_LANES) { /* vectors at the end that none of these rows sees */
        int64_t shorter = (end - 1) / SN_LANES * SN_LANES;
        if (sn_mask_tile(t->context, t->b, t->h, i, i + rows, j + shorter, j + end)) break;
        end = shorter;
    }
    return end;
}

/* The larger; b, when a is NaN. */
SN_INLINE vf32 sn_attention_larger(vf32 a, vf32 b) {
    return sn_at_least(b, a);
}
SN_FOLD(attention_greatest, sn_attention_larger, f32, float, vf32)

/* Scores of a row, whole vectors of them, to exponentials relative to the greatest so far; rescales what was
 * summed before. A row with nothing but -infinity so far keeps zeros. */
SN_OUTLINE void sn_attention_softmax(float *s, int64_t from, int64_t end, float *maximum, float *sum,
                                     float *out) {
    vf32 m = sn_splat_f32(*maximum), total = {0};
    for (int64_t l = from; l < end; l += SN_LANES) {
        vf32 x = sn_load_f32_v(s + l);
        m = sn_attention_larger(x, m); /* a NaN is passed over here and met below */
    }
    float greatest = sn_attention_greatest_f32(m), origin = greatest == -__builtin_inff() ? 0 : greatest;
    for (int64_t l = from; l < end; l += SN_LANES) {
        vf32 p = sn_exp_f32_v(sn_load_f32_v(s + l) - origin);
        total += p;
        sn_store_f32_v(s + l, p);
    }
    float before = *maximum;
    if (before != greatest && before != -__builtin_inff()) {
        float shrink = sn_exp_f32_s(before - origin);
        *sum *= shrink;
        for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES)
            sn_store_f32_v(out + d, sn_load_f32_v(out + d) * shrink);
    }
    *sum += sn_sum_f32(total);
    *maximum = greatest;
}

/* The step of an item of one row: packing would cost more than the products, so keys and values are read
 * where they lie, along d. */
SN_OUTLINE void sn_attention_step_row(SnAttentionItem *t, int64_t j, int64_t count, int state) {
    float *s = t->scores, *out = t->out;
    for (int64_t l = 0; l < count; l++) {
        vf32 products = {0};
        int64_t d = 0;
        for (; d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES)
            products += sn_load_f32_v(t->query + d) * sn_key_v(t->context, t->b, t->g, j + l, d);
        s[l] = sn_sum_f32(products);
        for (; d < SN_ATTENTION_D; d++) s[l] += t->query[d] * sn_key_s(t->context, t->b, t->g, j + l, d);
    }
#if SN_ATTENTION_SCORE
    if (SN_ATTENTION_SCORE == 2 || state == 1) sn_attention_adjust(t, s, t->i0, 1, j, count);
#else
    (void)state;
#endif
    for (int64_t l = count; l % SN_LANES; l++) s[l] = -__builtin_inff();
    sn_attention_softmax(s, 0, count, t->maximum, t->sum, out);
    int64_t step = 4;
    for (int64_t l = 0; l < count; l += step) {
        int64_t d = 0;
        if (count - l < step) step = 1;
        for (; d + SN_LANES <= SN_ATTENTION_DV; d += SN_LANES) {
            vf32 o = sn_load_f32_v(out + d);
            for (int64_t r = 0; r < step; r++)
                o += s[l + r] * sn_value_v(t->context, t->b, t->g, j + l + r, d);
            sn_store_f32_v(out + d, o);
        }
        for (; d < SN_ATTENTION_DV; d++)
            for (int64_t r = 0; r < step; r++)
                out[d] += s[l + r] * sn_value_s(t->context, t->b, t->g, j + l + r, d);
    }
}

SN_OUTLINE void sn_attention_step(SnAttentionItem *t, int64_t j, int64_t count, int state) {
    sn_attention_pack_keys(t, j, count);
    sn_attention_pack_values(t, j, count);
    for (int64_t u = 0; u < t->heights; u++) {
        int64_t rows, from, end = sn_attention_score(t, u, j, count, state, &from);
        (void)sn_attention_height(t, u, &rows);
        if (from < 0) continue;
        float *scores = t->scores, *out = t->out + u * SN_TILE_MR * SN_ATTENTION_LDO;
        for (int64_t r = 0; r < rows; r++)
            sn_attention_softmax(scores + r * SN_ATTENTION_LDS, from, end, t->maximum + u * SN_TILE_MR + r,
                                 t->sum + u * SN_TILE_MR + r, out + r * SN_ATTENTION_LDO);
        for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_TILE_NR)
            sn_attention_tile(rows, end - from, scores + from,
                              t->values + d * SN_ATTENTION_BN + from * SN_TILE_NR, out + d, SN_ATTENTION_LDO,
                              1);
    }
}

SN_OUTLINE void sn_attention_finish(const SnAttentionItem *t, int64_t columns) {
    for (int64_t u = 0; u < t->heights; u++) {
        int64_t rows, first = sn_attention_height(t, u, &rows);
        for (int64_t r = 0; r < rows; r++) {
            int64_t d = 0, i = t->i0 + first + r, row = u * SN_TILE_MR + r;
            const float *out = t->out + row * SN_ATTENTION_LDO;
            float inverse = columns ? 1 / t->sum[row] : 0; /* the sum of no values is 0 */
#if SN_ATTENTION_EMPTY_ZERO
            if (t->sum[row] == 0) inverse = 0;
#endif
            for (; d + SN_LANES <= SN_ATTENTION_DV; d += SN_LANES)
                sn_output_v(t->context, sn_load_f32_v(out + d) * inverse, t->b, t->h, i, d);
            for (; d < SN_ATTENTION_DV; d++) sn_output_s(t->context, out[d] * inverse, t->b, t->h, i, d);
#if SN_ATTENTION_STATISTICS
            sn_attention_statistics(t->context, t->maximum[row], t->sum[row], t->b, t->h, i);
#endif
        }
    }
}

SN_INLINE int64_t sn_attention_items(const SnAttention *p) {
    return p->batch * p->heads * ((p->rows + SN_ATTENTION_BM - 1) / SN_ATTENTION_BM);
}

SN_OUTLINE void sn_attention_run(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end) {
    SnAttentionItem t;
    t.context = context;
    /* Rows past those of a height are read by the tile; what comes of them is not used. */
    __builtin_memset(t.scores, 0, sizeof t.scores);
    int64_t blocks = (p->rows + SN_ATTENTION_BM - 1) / SN_ATTENTION_BM;
    for (int64_t item = begin; item < end; item++) {
        int64_t block = item % blocks;
        t.h = item / blocks % p->heads;
        t.b = item / blocks / p->heads;
        t.g = t.h / (p->heads / p->kv_heads);
        t.i0 = block * p->rows / blocks;
        t.rows = (block + 1) * p->rows / blocks - t.i0;
        t.heights = (t.rows + SN_TILE_MR - 1) / SN_TILE_MR;
        sn_attention_start(&t, p->scale);
        for (int64_t j = 0; j < p->columns; j += SN_ATTENTION_BN) {
            int64_t count = p->columns - j < SN_ATTENTION_BN ? p->columns - j : SN_ATTENTION_BN;
            int state = sn_mask_tile(context, t.b, t.h, t.i0, t.i0 + t.rows, j, j + count);
            if (!state) continue;
            while (state == 1 && count > SN_TILE_NR) { /* columns at the end that no row of the item sees */
                int64_t shorter = (count - 1) / SN_TILE_NR * SN_TILE_NR;
                if (sn_mask_tile(context, t.b, t.h, t.i0, t.i0 + t.rows, j + shorter, j + count)) break;
                count = shorter;
            }
            if (t.rows == 1)
                sn_attention_step_row(&t, j, count, state);
            else
                sn_attention_step(&t, j, count, state);
        }
        sn_attention_finish(&t, p->columns);
    }
}

#endif

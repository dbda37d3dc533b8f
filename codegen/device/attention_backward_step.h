/* What an item of attention_backward.h does with its steps: blocks of rows against the keys at hand. */
#ifndef SN_DEVICE_ATTENTION_BACKWARD_STEP_H
#define SN_DEVICE_ATTENTION_BACKWARD_STEP_H

/* ---- products ---- */

/* Variants of the tile: a height has at least half its rows, so few are compiled. `across` and `along`: the strides of the
 * left operand. */
#define SN_BACKWARD_TILE(n, across, along)                                                                   \
    sn_tile_strided(n, SN_TILE_FETCH_NONE, length, a, across, along, b, c, ldc, accumulate, (const char *)0, \
                    0)
#define SN_BACKWARD_PRODUCT(NAME, across, along)                                                             \
    SN_OUTLINE void NAME(int64_t rows, int64_t length, const float *a, const float *b, float *c,             \
                         int64_t ldc, int accumulate) {                                                      \
        if (SN_TILE_MR > 8 && rows <= 8)                                                                     \
            SN_BACKWARD_TILE(8, across, along);                                                              \
        else if (SN_TILE_MR > 11 && rows <= 11)                                                              \
            SN_BACKWARD_TILE(11, across, along);                                                             \
        else                                                                                                 \
            SN_BACKWARD_TILE(SN_TILE_MR, across, along);                                                     \
    }
SN_BACKWARD_PRODUCT(sn_backward_by_row, SN_BACKWARD_LD, 1)
SN_BACKWARD_PRODUCT(sn_backward_by_column, 1, SN_BACKWARD_LD)

/* Scores and dO . V^T of row r of the rows at hand become P and dS; zero where the row sees nothing. */
SN_OUTLINE void sn_backward_weigh(SnBackward *t, int64_t r, SnAttentionSpan span) {
    float *weight = t->weight + r * SN_BACKWARD_LD, *change = t->change + r * SN_BACKWARD_LD;
    const float maximum = t->maximum[r], logarithm = t->logarithm[r], sum = t->sum[r];
#if SN_ATTENTION_DROPS
    for (int64_t l = 0; l < span.end; l += SN_LANES) {
        vf32 factor = sn_attention_keep(t->context, t->b, t->h, t->i + r, t->j + l, t->p->columns - t->j - l);
        sn_store_f32_v(t->keep + l, factor);
        sn_store_f32_v(change + l, factor * sn_load_f32_v(change + l));
    }
#endif
#if SN_ATTENTION_CAPPED /* the slope of cap * tanh(x) is cap * (1 - tanh(x)^2) */
    for (int64_t l = 0; l < span.end; l += SN_LANES) {
        vf32 bent = sn_tanh_f32_v(sn_load_f32_v(weight + l));
        sn_store_f32_v(weight + l, t->p->cap * bent);
        sn_store_f32_v(change + l, (t->p->cap - t->p->cap * bent * bent) * (sn_load_f32_v(change + l) - sum));
    }
#endif
    (void)sn_attention_settle(t->context, weight, t->b, t->h, t->i + r, t->j, t->count, &span);
    int64_t l = 0;
    for (; l < span.end; l += SN_LANES) {
        vf32 p = sn_attention_exp(sn_load_f32_v(weight + l) - maximum - logarithm);
#if SN_ATTENTION_DROPS
        sn_store_f32_v(weight + l, p * sn_load_f32_v(t->keep + l));
#else
        sn_store_f32_v(weight + l, p);
#endif
        vf32 slope = sn_load_f32_v(change + l);
        sn_store_f32_v(change + l, p * (SN_ATTENTION_CAPPED ? slope : slope - sum));
    }
    for (; l < t->count; l += SN_LANES) {
        sn_store_f32_v(weight + l, (vf32){0});
        sn_store_f32_v(change + l, (vf32){0});
    }
}

/* P and dS of height u, whose `rows` begin at row `first` of those at hand. */
SN_OUTLINE void sn_backward_weights(SnBackward *t, int64_t u, int64_t first, int64_t rows, int state) {
    int64_t i = t->i + first, at = first * SN_BACKWARD_LD;
    SnAttentionSpan span = {0, -1, t->count};
    if (state == 1) span.end = sn_attention_seen(t->context, t->b, t->h, i, rows, t->j, t->count);
    t->end[u] = span.end;
    for (int64_t l = 0; l < span.end; l += SN_TILE_NR) {
        int64_t width = span.end - l < SN_TILE_NR ? span.end - l : SN_TILE_NR;
        int here =
            state == 2 ? 2 : sn_mask_tile(t->context, t->b, t->h, i, i + rows, t->j + l, t->j + l + width);
        if (span.hole < 0 && (SN_ATTENTION_SCORE == 2 || here != 2)) span.hole = l;
        sn_backward_by_row(rows, SN_ATTENTION_D, t->query + at, t->keys + l * SN_ATTENTION_D,
                           t->weight + at + l, SN_BACKWARD_LD, 0);
        sn_backward_by_row(rows, SN_ATTENTION_DV, t->slope + at, t->values + l * SN_ATTENTION_DV,
                           t->change + at + l, SN_BACKWARD_LD, 0);
    }
    if (span.hole < 0) span.hole = span.end;
    for (int64_t r = first; r < first + rows; r++) sn_backward_weigh(t, r, span);
}

/* Where the sums of dQ of row i are, of this item's part. */
SN_INLINE float *sn_backward_sums(const SnBackward *t, int64_t i) {
    int64_t row = ((t->b * t->p->heads + t->h) * t->parts + t->part) * t->p->rows + i;
    return (float *)sn_backward_partial(t->context, row * SN_BACKWARD_PD);
}

/* dQ of a height; `fresh`: nothing of it was summed up before. */
SN_OUTLINE void sn_backward_query_slopes(SnBackward *t, int64_t u, int64_t first, int64_t rows, int fresh) {
    for (int64_t d = 0; d < SN_BACKWARD_PD; d += SN_TILE_NR)
        sn_backward_by_row(rows, t->end[u], t->change + first * SN_BACKWARD_LD,
                           t->key_rows + d * SN_BACKWARD_COLUMNS, t->dq + d, SN_BACKWARD_LDK, 0);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = t->dq + r * SN_BACKWARD_LDK;
        float *to = sn_backward_sums(t, t->i + first + r);
        for (int64_t d = 0; d < SN_BACKWARD_PD; d += SN_LANES) {
            vf32 x = sn_load_f32_v(from + d);
            sn_store_f32_v(to + d, fresh ? x : x + sn_load_f32_v(to + d));
        }
    }
}

/* What the rows at hand add to dK and dV: heights of keys that none of the first rows see leave these out. */
SN_OUTLINE void sn_backward_key_slopes(SnBackward *t) {
    for (int64_t v = 0; v * SN_TILE_MR < t->count; v++) {
        int64_t rows, first = sn_attention_height(t->count, v, &rows), u = 0, skipped = 0, height = 0;
        while (skipped < t->rows && t->end[u] <= first)
            skipped = sn_attention_height(t->rows, u, &height) + height, u++;
        int64_t length = t->rows - skipped, at = skipped * SN_BACKWARD_LD + first;
        if (length <= 0) continue;
        for (int64_t d = 0; d < SN_BACKWARD_PD; d += SN_TILE_NR)
            sn_backward_by_column(
                rows, length, t->change + at, t->query_rows + d * SN_BACKWARD_ROWS + skipped * SN_TILE_NR,
                t->dk + v * SN_TILE_MR * SN_BACKWARD_LDK + d, SN_BACKWARD_LDK, t->started[v]);
        for (int64_t d = 0; d < SN_BACKWARD_PE; d += SN_TILE_NR)
            sn_backward_by_column(
                rows, length, t->weight + at, t->slope_rows + d * SN_BACKWARD_ROWS + skipped * SN_TILE_NR,
                t->dv + v * SN_TILE_MR * SN_BACKWARD_LDV + d, SN_BACKWARD_LDV, t->started[v]);
        t->started[v] = 1;
    }
}

/* The rows at hand against the step's columns; `fresh`: it is the first step of the part. */
SN_OUTLINE void sn_backward_step(SnBackward *t, int fresh) {
    int state = sn_mask_tile(t->context, t->b, t->h, t->i, t->i + t->rows, t->j, t->j + t->count);
    if (!state) {
        for (int64_t r = 0; fresh && r < t->rows; r++)
            __builtin_memset(sn_backward_sums(t, t->i + r), 0, SN_BACKWARD_PD * sizeof(float));
        return;
    }
    sn_backward_front(t);
    for (int64_t u = 0; u * SN_TILE_MR < t->rows; u++) {
        int64_t rows, first = sn_attention_height(t->rows, u, &rows);
        sn_backward_weights(t, u, first, rows, state);
        sn_backward_query_slopes(t, u, first, rows, fresh);
    }
    sn_backward_key_slopes(t);
}

/* ---- results ---- */

#define SN_BACKWARD_WRITE(NAME, HOLE, SIZE)                                                                  \
    SN_INLINE void NAME(const SnContext *context, const float *from, float by, int64_t b, int64_t h,         \
                        int64_t i) {                                                                         \
        for (int64_t d = 0; d + SN_LANES <= SIZE; d += SN_LANES)                                             \
            HOLE##_v(context, by *sn_load_f32_v(from + d), b, h, i, d);                                      \
        for (int64_t d = SIZE / SN_LANES * SN_LANES; d < SIZE; d++)                                          \
            HOLE##_s(context, by *from[d], b, h, i, d);                                                      \
    }
#if SN_BACKWARD_STORES & 1
SN_BACKWARD_WRITE(sn_backward_store_query, sn_output, SN_ATTENTION_D)
#endif
#if SN_BACKWARD_STORES & 2
SN_BACKWARD_WRITE(sn_backward_store_key, sn_key_slope, SN_ATTENTION_D)
#endif
#if SN_BACKWARD_STORES & 4
SN_BACKWARD_WRITE(sn_backward_store_value, sn_value_slope, SN_ATTENTION_DV)
#endif

/* dK and dV of the step. */
SN_OUTLINE void sn_backward_store_columns(SnBackward *t) {
    for (int64_t v = 0; v * SN_TILE_MR < t->count; v++) {
        int64_t rows, first = sn_attention_height(t->count, v, &rows);
        float *dk = t->dk + v * SN_TILE_MR * SN_BACKWARD_LDK, *dv = t->dv + v * SN_TILE_MR * SN_BACKWARD_LDV;
        if (!t->started[v]) {
            __builtin_memset(dk, 0, SN_TILE_MR * SN_BACKWARD_LDK * sizeof(float));
            __builtin_memset(dv, 0, SN_TILE_MR * SN_BACKWARD_LDV * sizeof(float));
        }
        for (int64_t r = 0; r < rows; r++) {
#if SN_BACKWARD_STORES & 2
            sn_backward_store_key(t->context, dk + r * SN_BACKWARD_LDK, 1, t->b, t->g, t->j + first + r);
#endif
#if SN_BACKWARD_STORES & 4
            sn_backward_store_value(t->context, dv + r * SN_BACKWARD_LDV, 1, t->b, t->g, t->j + first + r);
#endif
        }
    }
}

/* dQ of a row: the sum of what the parts have, in their order. */
SN_OUTLINE void sn_backward_merge(const SnContext *context, const SnAttention *p, int64_t parts, int64_t b,
                                  int64_t h, int64_t i) {
#if SN_BACKWARD_STORES & 1
    SN_ALIGNED_64 float total[SN_BACKWARD_PD] = {0};
    for (int64_t part = 0; part < parts && p->columns; part++) {
        int64_t row = ((b * p->heads + h) * parts + part) * p->rows + i;
        const float *from = sn_backward_partial(context, row * SN_BACKWARD_PD);
        for (int64_t d = 0; d < SN_BACKWARD_PD; d += SN_LANES)
            sn_store_f32_v(total + d, sn_load_f32_v(total + d) + sn_load_f32_v(from + d));
    }
    sn_backward_store_query(context, total, p->scale, b, h, i);
#else
    (void)context, (void)p, (void)parts, (void)b, (void)h, (void)i;
#endif
}

/* An item of the first round. */
SN_OUTLINE void sn_backward_item(SnBackward *t) {
    const SnAttention *p = t->p;
    int64_t group = p->heads / p->kv_heads;
    for (t->j = t->part * SN_BACKWARD_COLUMNS; t->j < p->columns; t->j += t->parts * SN_BACKWARD_COLUMNS) {
        t->count = p->columns - t->j < SN_BACKWARD_COLUMNS ? p->columns - t->j : SN_BACKWARD_COLUMNS;
        sn_backward_columns(t);
        for (int64_t v = 0; v < SN_BACKWARD_HEIGHTS; v++) t->started[v] = 0;
        for (t->h = t->g * group; t->h < (t->g + 1) * group; t->h++)
            for (t->i = 0; t->i < p->rows; t->i += SN_BACKWARD_ROWS) {
                t->rows = p->rows - t->i < SN_BACKWARD_ROWS ? p->rows - t->i : SN_BACKWARD_ROWS;
                sn_backward_step(t, t->j == t->part * SN_BACKWARD_COLUMNS);
            }
        sn_backward_store_columns(t);
    }
    if (t->parts > 1) return;
    for (t->h = t->g * group; t->h < (t->g + 1) * group; t->h++)
        for (int64_t i = 0; i < p->rows; i++) sn_backward_merge(t->context, p, 1, t->b, t->h, i);
}

SN_INLINE void sn_backward_run(const SnContext *context, const SnAttention *p, int64_t parts, int64_t begin,
                               int64_t end) {
    SnBackward t;
    int64_t first = p->batch * p->kv_heads * parts;
    t.context = context, t.p = p, t.parts = parts;
    if (begin < first) { /* what the tile reads of rows that are not there; nothing comes of it */
        __builtin_memset(t.query, 0, sizeof t.query);
        __builtin_memset(t.slope, 0, sizeof t.slope);
        __builtin_memset(t.weight, 0, sizeof t.weight);
        __builtin_memset(t.change, 0, sizeof t.change);
    }
    for (int64_t item = begin; item < end; item++) {
        if (item >= first) {
            int64_t row = item - first, head = row / p->rows;
            sn_backward_merge(context, p, parts, head / p->heads, head % p->heads, row % p->rows);
            continue;
        }
        t.part = item % parts;
        t.g = item / parts % p->kv_heads;
        t.b = item / parts / p->kv_heads;
        sn_backward_item(&t);
    }
}

#endif

/* Attention of few rows (decoding): packing would cost more than the products, so keys and values are read
 * where they lie, along d, once for all the rows that share them. An item is a chunk of the columns; with
 * several chunks, each leaves its part of a row in memory, and the second round puts the parts together in
 * the order of the columns. */
#ifndef SN_DEVICE_ATTENTION_FEW_H
#define SN_DEVICE_ATTENTION_FEW_H

#define SN_ATTENTION_AT_ONCE 32 /* columns whose values stay in the first-level cache between the rows */

/* Columns that are fetched ahead: 4 KB of keys, into the first-level cache; or where streams gain by it, 3 KB into the second-level
 * cache and 1 KB from there (Target.fetch_bytes is 2 KB). */
#define SN_ATTENTION_FAR           (SN_ATTENTION_D > 128 ? 8 : SN_ATTENTION_D < 16 ? 64 : 1024 / SN_ATTENTION_D)
#define SN_ATTENTION_BEHIND(bytes) ((bytes) / (4 * SN_ATTENTION_D) > 0 ? (bytes) / (4 * SN_ATTENTION_D) : 1)

/* Row r of the item is row i[r] of head h[r]. */
typedef struct SnAttentionFew {
    const SnContext *context;
    int64_t b, g, rows, h[SN_ATTENTION_SHARE], i[SN_ATTENTION_SHARE];
    float maximum[SN_ATTENTION_SHARE], sum[SN_ATTENTION_SHARE];
    SN_ALIGNED_64 float query[SN_ATTENTION_SHARE * SN_ATTENTION_LDQ]; /* (row, d), scaled */
    SN_ALIGNED_64 float out[SN_ATTENTION_SHARE * SN_ATTENTION_LDO];   /* (row, d), not yet divided */
    SN_ALIGNED_64 float scores[SN_ATTENTION_SHARE * SN_ATTENTION_CHUNK];
} SnAttentionFew;

/* Rows `first` .. of the group of heads that share key head g. */
SN_INLINE void sn_attention_few_start(SnAttentionFew *t, const SnAttention *p, int64_t first) {
    int64_t group = p->heads / p->kv_heads, left = group * p->rows - first;
    t->rows = left < SN_ATTENTION_SHARE ? left : SN_ATTENTION_SHARE;
    for (int64_t r = 0; r < t->rows; r++) {
        float *to = t->query + r * SN_ATTENTION_LDQ;
        int64_t d = 0, h = t->g * group + (first + r) / p->rows, i = (first + r) % p->rows;
        t->h[r] = h, t->i[r] = i;
        for (; d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES)
            sn_store_f32_v(to + d, p->scale * sn_query_v(t->context, t->b, h, i, d));
        for (; d < SN_ATTENTION_D; d++) to[d] = p->scale * sn_query_s(t->context, t->b, h, i, d);
    }
    __builtin_memset(t->out, 0, (size_t)(t->rows * SN_ATTENTION_LDO) * sizeof(float));
}

/* What is read at column l of the chunk at j, or behind its columns: first keys, then values, then the keys of the next chunk. */
#if SN_ATTENTION_POINTER
SN_INLINE const void *sn_attention_few_pointer(const SnAttentionFew *t, int64_t j, int64_t l, int64_t count,
                                               int values, int64_t d) {
    if (values == (l < count))
        return sn_value_pointer(t->context, t->b, t->g, j + (values ? l : l - count), d);
    return sn_key_pointer(t->context, t->b, t->g, j + l, d);
}
#endif
#define SN_ATTENTION_FETCH(columns, cache)                                                                   \
    for (int64_t d = 0, end = values == (l + (columns) < count) ? SN_ATTENTION_DV : SN_ATTENTION_D; d < end; \
         d += 16)                                                                                            \
        __builtin_prefetch(sn_attention_few_pointer(t, j, l + (columns), count, values, d), 0, cache);

/* Fetches what is read some columns after column l. */
SN_INLINE void sn_attention_few_fetch(const SnAttentionFew *t, int64_t j, int64_t l, int64_t count,
                                      int values) {
#if SN_ATTENTION_POINTER && SN_ATTENTION_STREAM
    SN_ATTENTION_FETCH(SN_ATTENTION_BEHIND(SN_ATTENTION_STREAM / 2 * 3), 2)
    SN_ATTENTION_FETCH(SN_ATTENTION_BEHIND(SN_ATTENTION_STREAM / 2), 3)
#elif SN_ATTENTION_POINTER
    SN_ATTENTION_FETCH(SN_ATTENTION_FAR, 3)
#else
    (void)t, (void)j, (void)l, (void)count, (void)values;
#endif
}

/* Products of a query with the keys from j on, `n` of which exist. */
SN_INLINE vf32 sn_attention_dots(const SnAttentionFew *t, int64_t r, int64_t j, int64_t l0, int64_t count) {
    const float *query = t->query + r * SN_ATTENTION_LDQ;
    int64_t n = count - l0;
    SN_ALIGNED_64 float square[SN_LANES * SN_LANES];
    int64_t d;
    SN_ROLLED
    for (int64_t l = 0; l < SN_LANES; l++) {
        int64_t at = j + l0 + (l < n ? l : n - 1);
        if (r == 0) sn_attention_few_fetch(t, j, l0 + l, count, 0);
        vf32 products = {0};
        for (d = 0; d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES)
            products += sn_load_f32_v(query + d) * sn_key_v(t->context, t->b, t->g, at, d);
        for (; d < SN_ATTENTION_D; d++) products[0] += query[d] * sn_key_s(t->context, t->b, t->g, at, d);
        sn_store_f32_v(square + l * SN_LANES, products);
    }
    return sn_attention_sums(square);
}

SN_FOLD(attention_most, sn_attention_larger, f32, float, vf32)

/* The row's exponentials over the chunk, and their greatest score and sum. */
SN_INLINE void sn_attention_few_softmax(SnAttentionFew *t, const SnAttention *p, int64_t r, int64_t j,
                                        int64_t count) {
    float *s = t->scores + r * SN_ATTENTION_CHUNK;
    int state = sn_mask_tile(t->context, t->b, t->h[r], t->i[r], t->i[r] + 1, j, j + count);
    SnAttentionSpan span = {0, SN_ATTENTION_SCORE == 2 || state != 2 ? 0 : count, count};
#if SN_ATTENTION_CAPPED
    sn_attention_bend(s, 0, count, p->cap);
#endif
    (void)p;
    t->maximum[r] =
        sn_attention_most_f32(sn_attention_settle(t->context, s, t->b, t->h[r], t->i[r], j, count, &span));
    t->sum[r] =
        sn_sum_f32(sn_attention_exponentials(s, 0, count, sn_attention_origin(SN_C(t->maximum[r]))[0]));
#if SN_ATTENTION_DROPS
    sn_attention_drop(t->context, s, t->b, t->h[r], t->i[r], j, 0, count, p->columns);
#endif
}

/* Adds the values of columns [from, end) of the chunk at j, weighted, to `vectors` (a constant) vectors of
 * row r from d on. */
SN_INLINE void sn_attention_weigh(SnAttentionFew *t, int64_t r, int64_t j, int64_t from, int64_t end,
                                  int64_t count, int64_t d, const int vectors) {
    const float *s = t->scores + r * SN_ATTENTION_CHUNK;
    float *out = t->out + r * SN_ATTENTION_LDO + d;
    vf32 o[8];
    for (int v = 0; v < vectors; v++) o[v] = sn_load_f32_v(out + v * SN_LANES);
    SN_ROLLED
    for (int64_t l = from; l < end; l++) {
        if (r == 0 && d == 0) sn_attention_few_fetch(t, j, l, count, 1);
        for (int v = 0; v < vectors; v++)
            o[v] += s[l] * sn_value_v(t->context, t->b, t->g, j + l, d + v * SN_LANES);
    }
    for (int v = 0; v < vectors; v++) sn_store_f32_v(out + v * SN_LANES, o[v]);
}

/* The same for the whole row. */
SN_INLINE void sn_attention_weigh_row(SnAttentionFew *t, int64_t r, int64_t j, int64_t from, int64_t count) {
    enum { WHOLE = SN_ATTENTION_DV / SN_LANES, WIDE = WHOLE >= 8 ? 8 : 4 };
    int64_t d = 0, end = from + SN_ATTENTION_AT_ONCE < count ? from + SN_ATTENTION_AT_ONCE : count;
    for (; d + WIDE * SN_LANES <= SN_ATTENTION_DV; d += WIDE * SN_LANES)
        sn_attention_weigh(t, r, j, from, end, count, d, WIDE);
    if (WHOLE % WIDE)
        for (; d + SN_LANES <= SN_ATTENTION_DV; d += SN_LANES)
            sn_attention_weigh(t, r, j, from, end, count, d, 1);
    if (SN_ATTENTION_DV % SN_LANES)
        for (; d < SN_ATTENTION_DV; d++)
            for (int64_t l = from; l < end; l++)
                t->out[r * SN_ATTENTION_LDO + d] +=
                    t->scores[r * SN_ATTENTION_CHUNK + l] * sn_value_s(t->context, t->b, t->g, j + l, d);
}

/* All the rows against the columns j .. j+count. */
SN_OUTLINE void sn_attention_few_chunk(SnAttentionFew *t, const SnAttention *p, int64_t j, int64_t count) {
    for (int64_t l = 0; l < count; l += SN_LANES)
        for (int64_t r = 0; r < t->rows; r++)
            sn_store_f32_v(t->scores + r * SN_ATTENTION_CHUNK + l, sn_attention_dots(t, r, j, l, count));
    for (int64_t r = 0; r < t->rows; r++) sn_attention_few_softmax(t, p, r, j, count);
    for (int64_t l = 0; l < count; l += SN_ATTENTION_AT_ONCE)
        for (int64_t r = 0; r < t->rows; r++) sn_attention_weigh_row(t, r, j, l, count);
}

/* Where a chunk's part of a row lies; rows are those of the second round. */
SN_INLINE float *sn_attention_part(const SnContext *context, const SnAttention *p, int64_t row,
                                   int64_t chunk) {
    return (float *)sn_attention_partial(context,
                                         (row * sn_attention_chunks(p) + chunk) * SN_ATTENTION_PARTIAL);
}

SN_OUTLINE void sn_attention_few(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end) {
    SnAttentionFew t;
    t.context = context;
    int64_t chunks = sn_attention_chunks(p),
            shares = sn_attention_ceil(p->rows * (p->heads / p->kv_heads), SN_ATTENTION_SHARE);
    for (int64_t item = begin; item < end; item++) {
        int64_t chunk = item % chunks, share = item / chunks % shares, at = item / chunks / shares;
        int64_t j = chunk * SN_ATTENTION_CHUNK, left = p->columns - j;
        t.g = at % p->kv_heads, t.b = at / p->kv_heads;
        sn_attention_few_start(&t, p, share * SN_ATTENTION_SHARE);
        sn_attention_few_chunk(&t, p, j, left < SN_ATTENTION_CHUNK ? left : SN_ATTENTION_CHUNK);
        for (int64_t r = 0; r < t.rows; r++) {
            const float *out = t.out + r * SN_ATTENTION_LDO;
            if (chunks == 1) {
                sn_attention_finish(context, out, t.maximum[r], t.sum[r], p->columns, t.b, t.h[r], t.i[r]);
                continue;
            }
            float *part = sn_attention_part(context, p, (t.b * p->heads + t.h[r]) * p->rows + t.i[r], chunk);
            for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES)
                sn_store_f32_v(part + d, sn_load_f32_v(out + d));
            part[SN_ATTENTION_OUT] = t.maximum[r], part[SN_ATTENTION_OUT + 1] = t.sum[r];
        }
    }
}

SN_OUTLINE void sn_attention_merge(const SnContext *context, const SnAttention *p, int64_t row) {
    SN_ALIGNED_64 float out[SN_ATTENTION_OUT] = {0};
    int64_t chunks = sn_attention_chunks(p), h = row / p->rows;
    float sum = 0, greatest = -__builtin_inff();
    SN_ROLLED
    for (int64_t c = 0; c < chunks; c++) {
        float maximum = sn_attention_part(context, p, row, c)[SN_ATTENTION_OUT];
        if (maximum > greatest) greatest = maximum;
    }
    vf32 origin = sn_attention_origin(SN_C(greatest));
    SN_ROLLED
    for (int64_t c = 0; c < chunks; c++) {
        const float *part = sn_attention_part(context, p, row, c);
        vf32 weight = sn_attention_exp(SN_C(part[SN_ATTENTION_OUT]) - origin);
        sum += weight[0] * part[SN_ATTENTION_OUT + 1];
        for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES)
            sn_store_f32_v(out + d, sn_load_f32_v(out + d) + weight * sn_load_f32_v(part + d));
    }
    sn_attention_finish(context, out, greatest, sum, p->columns, h / p->heads, h % p->heads, row % p->rows);
}

#endif

/* Attention of many rows: an item packs keys and values into panels, step by step, and runs the register tile
 * over its rows, one height of them at a time. */
#ifndef SN_DEVICE_ATTENTION_MANY_H
#define SN_DEVICE_ATTENTION_MANY_H

/* attention_pack.h and attention_words.h. The queries of a height, scaled, to `front`; keys j .. j+count, transposed into panels,
 * where columns past the count are zero; and values, where columns from DV on are zero. */
SN_INLINE void sn_attention_front(SnAttentionItem *t, int64_t i, int64_t rows);
SN_OUTLINE void sn_attention_pack_keys(SnAttentionItem *t, int64_t j, int64_t count);
SN_OUTLINE void sn_attention_pack_values(SnAttentionItem *t, int64_t j, int64_t count);
/* What of the scale queries do not have is multiplied into scores: a panel's. */
SN_INLINE void sn_attention_scale(SnAttentionItem *t, float scale);
SN_INLINE void sn_attention_rescale(const SnAttentionItem *t, float *scores, int64_t rows);
/* The weights of a height, where the tile finds those from column `from` on. */
SN_INLINE const SnTileElement *sn_attention_weights(SnAttentionItem *t, int64_t rows, int64_t from,
                                                    int64_t end);

/* The tile of both products: scores by panels of keys, outputs by panels of values. A height has at least
 * half the rows of the tile, so few variants are compiled; the rows of A past those of the height are
 * readable. */
#define SN_ATTENTION_TILE(n)                                                                                 \
    sn_tile_rows(n, SN_TILE_FETCH_NONE, length, a, SN_ATTENTION_LDS, b, c, ldc, accumulate, (const char *)0, \
                 0)
SN_OUTLINE void sn_attention_tile(int64_t rows, int64_t length, const SnTileElement *a,
                                  const SnTileElement *b, float *c, int64_t ldc, int accumulate) {
    if (SN_TILE_MR > 8 && rows <= 8)
        SN_ATTENTION_TILE(8);
    else if (SN_TILE_MR > 11 && rows <= 11)
        SN_ATTENTION_TILE(11);
    else
        SN_ATTENTION_TILE(SN_TILE_MR);
}

/* Scores against the first vector of a panel of two: columns that a causal mask leaves of the last one. */
#if SN_TILE_NV == 2
#define SN_NARROW_DECLARE(i) vf32 c##i = {0};
#define SN_NARROW_ROW(i)                                                                                     \
    if (SN_TILE_MR > i) SN_TILE_ADD(c##i, sn_tile_splat(a[(i)*SN_ATTENTION_LDS + k]), x)
#define SN_NARROW_KEEP(i)                                                                                    \
    if (SN_TILE_MR > i) sn_store_f32_v(c + (i)*SN_ATTENTION_LDS, c##i);
SN_OUTLINE void sn_attention_narrow(const SnTileElement *a, const SnTileElement *b, float *c) {
    SN_TILE_ROWS(SN_NARROW_DECLARE)
    for (int64_t k = 0; k < SN_ATTENTION_DEPTH; k++) {
        SnTileElements x = sn_tile_operand(b + k * SN_TILE_NR);
        SN_TILE_ROWS(SN_NARROW_ROW)
    }
    SN_TILE_ROWS(SN_NARROW_KEEP)
}
#endif

/* Scores of height u against the keys j .. j+count, the hole not yet called. */
SN_OUTLINE SnAttentionSpan sn_attention_score(SnAttentionItem *t, int64_t u, int64_t j, int64_t count,
                                              int state) {
    int64_t rows, i = t->i0 + sn_attention_height(t->rows, u, &rows);
    SnAttentionSpan span = {
        -1, -1, state == 1 ? sn_attention_seen(t->context, t->b, t->h, i, rows, j, count) : count};
    sn_attention_front(t, i, rows);
    for (int64_t l = 0; l < span.end; l += SN_TILE_NR) {
        int64_t width = span.end - l < SN_TILE_NR ? span.end - l : SN_TILE_NR;
        int here = state == 2 ? 2 : sn_mask_tile(t->context, t->b, t->h, i, i + rows, j + l, j + l + width);
        float *scores = t->scores + l;
        const SnTileElement *keys = t->keys + l * SN_ATTENTION_DEPTH;
        sn_attention_fetch(t);
        if (span.hole < 0 && (SN_ATTENTION_SCORE == 2 || here == 1)) span.hole = l;
        if (here && span.from < 0) span.from = l;
        if (!here) {
            for (int64_t r = 0; span.from >= 0 && r < rows; r++)
                for (int64_t e = 0; e < SN_TILE_NR; e += SN_LANES)
                    sn_store_f32_v(scores + r * SN_ATTENTION_LDS + e, SN_C(-__builtin_inff()));
#if SN_TILE_NV == 2
        } else if (width <= SN_LANES) {
            sn_attention_narrow(t->front, keys, scores);
#endif
        } else {
            sn_attention_tile(rows, SN_ATTENTION_DEPTH, t->front, keys, scores, SN_ATTENTION_LDS, 0);
        }
        if (here) sn_attention_rescale(t, scores, rows);
    }
    if (span.hole < 0) span.hole = span.end;
    return span;
}

/* The greatest of the scores [from, end) of a height, whole vectors, lane by lane: all rows side by side, so that none waits
 * for another. */
#define SN_MOST_DECLARE(i) vf32 m##i = SN_C(-__builtin_inff());
#define SN_MOST_ROW(i)                                                                                       \
    if (SN_TILE_MR > i) m##i = sn_attention_larger(sn_load_f32_v(s + (i)*SN_ATTENTION_LDS + l), m##i);
#define SN_MOST_KEEP(i)                                                                                      \
    if (SN_TILE_MR > i) sn_store_f32_v(most + (i)*SN_LANES, m##i);
SN_OUTLINE void sn_attention_most_of_rows(const float *s, int64_t from, int64_t end, float *most) {
    SN_TILE_ROWS(SN_MOST_DECLARE)
    for (int64_t l = from; l < end; l += SN_LANES) {
        SN_TILE_ROWS(SN_MOST_ROW)
    }
    SN_TILE_ROWS(SN_MOST_KEEP)
}

/* Scores of height u to exponentials relative to the greatest so far; rescales what was summed before. */
SN_OUTLINE void sn_attention_softmax(SnAttentionItem *t, int64_t u, int64_t j, int64_t count,
                                     SnAttentionSpan span) {
    int64_t rows, i = t->i0 + sn_attention_height(t->rows, u, &rows);
    float *maximum = t->maximum + u * SN_ATTENTION_SLOTS, *sum = t->sum + u * SN_ATTENTION_SLOTS;
    SN_ALIGNED_64 float square[SN_ATTENTION_SLOTS * SN_LANES] = {0}; /* a vector for each row */
    SN_ALIGNED_64 float origin[SN_ATTENTION_SLOTS], shrink[SN_ATTENTION_SLOTS];
#if SN_ATTENTION_CAPPED
    for (int64_t r = 0; r < rows; r++)
        sn_attention_bend(t->scores + r * SN_ATTENTION_LDS, span.from, span.end, t->cap);
#endif
    sn_attention_most_of_rows(t->scores, span.from, sn_attention_plain(&span), square);
    for (int64_t l = sn_attention_plain(&span); l < span.end; l += SN_LANES)
        for (int64_t r = 0; r < rows; r++) {
            float *most = square + r * SN_LANES, *s = t->scores + r * SN_ATTENTION_LDS;
            vf32 x = sn_attention_mask(t->context, s, t->b, t->h, i + r, j, count, &span, l);
            sn_store_f32_v(most, sn_attention_larger(x, sn_load_f32_v(most)));
        }
    for (int64_t r = 0; r < rows; r += SN_LANES) {
        vf32 before = sn_load_f32_v(maximum + r);
        vf32 now = sn_attention_larger(sn_attention_greatest(square + r * SN_LANES), before);
        vf32 zero = sn_attention_origin(now);
        sn_store_f32_v(maximum + r, now);
        sn_store_f32_v(origin + r, zero);
        sn_store_f32_v(shrink + r, sn_attention_exp(before - zero));
    }
    for (int64_t r = 0; r < rows; r++) {
        sn_attention_fetch(t);
        sn_store_f32_v(square + r * SN_LANES, sn_attention_exponentials(t->scores + r * SN_ATTENTION_LDS,
                                                                        span.from, span.end, origin[r]));
    }
#if SN_ATTENTION_DROPS
    for (int64_t r = 0; r < rows; r++)
        sn_attention_drop(t->context, t->scores + r * SN_ATTENTION_LDS, t->b, t->h, i + r, j, span.from,
                          span.end, t->columns);
#endif
    for (int64_t r = 0; r < rows; r += SN_LANES)
        sn_store_f32_v(sum + r, sn_load_f32_v(sum + r) * sn_load_f32_v(shrink + r) +
                                    sn_attention_sums(square + r * SN_LANES));
    for (int64_t r = 0; r < rows && t->started[u]; r++) {
        float *out = t->out + (u * SN_TILE_MR + r) * SN_ATTENTION_LDO;
        for (int64_t d = 0; d < SN_ATTENTION_OUT && shrink[r] != 1; d += SN_LANES)
            sn_store_f32_v(out + d, sn_load_f32_v(out + d) * shrink[r]);
    }
}

/* Height u's weights of the columns of the span, times their values. */
SN_INLINE void sn_attention_add(SnAttentionItem *t, int64_t u, int64_t j, int64_t count,
                                const SnAttentionSpan *span) {
    sn_attention_softmax(t, u, j, count, *span);
    int64_t rows;
    (void)sn_attention_height(t->rows, u, &rows);
    const SnTileElement *weights = sn_attention_weights(t, rows, span->from, span->end);
    int64_t length = sn_attention_ceil(span->end - span->from, SN_ATTENTION_WORD);
    for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_TILE_NR) {
        sn_attention_fetch(t);
        sn_attention_tile(rows, length, weights,
                          t->values + d * SN_ATTENTION_LONG + span->from / SN_ATTENTION_WORD * SN_TILE_NR,
                          t->out + u * SN_TILE_MR * SN_ATTENTION_LDO + d, SN_ATTENTION_LDO, t->started[u]);
    }
    t->started[u] = 1;
}

#endif

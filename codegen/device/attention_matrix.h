/* Attention of many rows of bf16 by matrix tiles: after attention_item.h and matrix.h, in place of attention_many.h, for vectors
 * of 64 bytes.
 *   SN_ATTENTION_MATRIX 1, SN_TILE_B 6, SN_TILE_NV 2
 *
 * A height has 32 rows, a panel of keys or values 32 columns: four tiles of sums. Words of weights have columns l and l + 16 of a
 * panel, and words of values the rows of these, so that nothing is shuffled. Scores become weights where they lie. What d, rows
 * and columns lack of a tile is zero. Tiles and vectors of 64 bytes do not work at once: nothing is gained by doing the products of
 * one height between the exponentials of another. */
#ifndef SN_DEVICE_ATTENTION_MATRIX_H
#define SN_DEVICE_ATTENTION_MATRIX_H

#if SN_LANES != 16 || SN_TILE_B != 6 || SN_TILE_NR != 32
#error "matrix tiles multiply words of bf16, and panels of two tiles"
#endif

enum {
    SN_ATTENTION_PAIR = 2 * SN_MATRIX_TILE_BYTES, /* of a step of an operand */
    SN_ATTENTION_SIDE = 32,                       /* its rows or columns */
};

/* attention_matrix_pack.h. */
SN_INLINE void sn_attention_front(SnAttentionItem *t, int64_t i, int64_t rows);
SN_OUTLINE void sn_attention_pack_keys(SnAttentionItem *t, int64_t j, int64_t count);
SN_OUTLINE void sn_attention_pack_values(SnAttentionItem *t, int64_t j, int64_t count);

/* ---- products ---- */

#define SN_ATTENTION_BYTES(floats) ((floats) * (int64_t)sizeof(float))
#define SN_ATTENTION_PLACES(MOVE)                                                                            \
    MOVE(0, c, SN_ATTENTION_BYTES(ldc));                                                                     \
    MOVE(1, c + SN_MATRIX_COLUMNS, SN_ATTENTION_BYTES(ldc));                                                 \
    if (both) MOVE(2, below, SN_ATTENTION_BYTES(ldc));                                                       \
    if (both) MOVE(3, below + SN_MATRIX_COLUMNS, SN_ATTENTION_BYTES(ldc));

/* c, 32 columns of one or two times 16 rows that lie ldc floats apart, = or += A . B, in steps of 32 along K. Of A steps, the rows
 * from 16 on and rows lie `step`, `lower` and `row` bytes apart. */
SN_INLINE void sn_attention_multiply(const int both, const char *a, const int64_t step, const int64_t lower,
                                     const int64_t row, const char *b, int64_t steps, float *c,
                                     const int64_t ldc, int accumulate) {
    float *below = c + SN_MATRIX_ROWS * ldc;
    if (accumulate) {
        SN_ATTENTION_PLACES(SN_MATRIX_LOAD)
    } else {
        SN_MATRIX_ZERO(0);
        SN_MATRIX_ZERO(1);
        SN_MATRIX_ZERO(2);
        SN_MATRIX_ZERO(3);
    }
    for (int64_t k = 0; k < steps; k++, a += step, b += SN_ATTENTION_PAIR) {
        SN_MATRIX_LOAD(4, a, row);
        SN_MATRIX_LOAD(6, b, 64);
        SN_MATRIX_PAIRS(0, 4, 6);
        SN_MATRIX_LOAD(7, b + SN_MATRIX_TILE_BYTES, 64);
        SN_MATRIX_PAIRS(1, 4, 7);
        if (both) {
            SN_MATRIX_LOAD(5, a + lower, row);
            SN_MATRIX_PAIRS(2, 5, 6);
            SN_MATRIX_PAIRS(3, 5, 7);
        }
    }
    SN_ATTENTION_PLACES(SN_MATRIX_STORE)
}

/* The whole panels that hold so many columns. */
SN_INLINE int64_t sn_attention_whole(int64_t columns) {
    return sn_attention_ceil(columns, SN_ATTENTION_SIDE) * SN_ATTENTION_SIDE;
}

/* Queries of a height by the panels of keys [from, end). */
SN_INLINE void sn_attention_products(SnAttentionItem *t, const int both, int64_t from, int64_t end) {
    for (int64_t l = from; l < end; l += SN_ATTENTION_SIDE) {
        sn_attention_fetch(t);
        sn_attention_multiply(both, t->front, SN_ATTENTION_PAIR, SN_MATRIX_TILE_BYTES, 64,
                              t->keys + l / SN_ATTENTION_SIDE * SN_ATTENTION_DEEP * SN_ATTENTION_PAIR,
                              SN_ATTENTION_DEEP, t->scores + l, SN_ATTENTION_LDS, 0);
    }
}

/* Scores of height u against the keys j .. j+count, the hole not yet called. */
SN_OUTLINE SnAttentionSpan sn_attention_score(SnAttentionItem *t, int64_t u, int64_t j, int64_t count,
                                              int state) {
    int64_t rows, i = t->i0 + sn_attention_cut(t->rows, u, &rows);
    SnAttentionSpan span = {
        -1, -1, state == 1 ? sn_attention_seen(t->context, t->b, t->h, i, rows, j, count) : count};
    for (int64_t l = 0; l < span.end; l += SN_ATTENTION_SIDE) {
        int64_t width = span.end - l < SN_ATTENTION_SIDE ? span.end - l : SN_ATTENTION_SIDE;
        int here = state == 2 ? 2 : sn_mask_tile(t->context, t->b, t->h, i, i + rows, j + l, j + l + width);
        if (here && span.from < 0) span.from = l;
        if (span.from >= 0 && span.hole < 0 && (SN_ATTENTION_SCORE == 2 || here < 2)) span.hole = l;
    }
    if (span.hole < 0) span.hole = span.end;
    if (span.from < 0) return span;
    sn_attention_front(t, i, rows);
    if (rows > SN_MATRIX_ROWS)
        sn_attention_products(t, 1, span.from, sn_attention_whole(span.end));
    else
        sn_attention_products(t, 0, span.from, sn_attention_whole(span.end));
    return span;
}

/* Weights of height u of the panels [from, end), times their values. */
SN_INLINE void sn_attention_sum(SnAttentionItem *t, const int both, int64_t u, int64_t from, int64_t end) {
    for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_ATTENTION_SIDE)
        sn_attention_multiply(
            both, (const char *)t->scores + from * 2, 64,
            SN_ATTENTION_BYTES(SN_MATRIX_ROWS * SN_ATTENTION_LDS), SN_ATTENTION_BYTES(SN_ATTENTION_LDS),
            t->values +
                (d * SN_ATTENTION_BN / SN_ATTENTION_SIDE + from) / SN_ATTENTION_SIDE * SN_ATTENTION_PAIR,
            (end - from) / SN_ATTENTION_SIDE, t->out + u * SN_ATTENTION_HIGH * SN_ATTENTION_LDO + d,
            SN_ATTENTION_LDO, t->started[u]);
}

/* ---- weights ---- */

/* Queries stay as they are: the scale is of differences of scores, or of scores where these have to have it. */
SN_INLINE void sn_attention_scale(SnAttentionItem *t, float scale) {
    const int early = SN_ATTENTION_SCORE == 2 || SN_ATTENTION_CAPPED || !(scale > 0);
    t->rest = early ? scale : 1, t->unit = early ? 1 : scale;
}

/* 2^t for t <= 0, 0 below -126; NaN stays. The relative error is at most 3e-6, and 2^0 is 1. */
SN_INLINE vf32 sn_attention_power(vf32 t) {
#if SN_MATRIX
    vf32 f, p;
    __asm__("vreduceps $1, %1, %0" : "=v"(f) : "v"(t)); /* t - floor(t) */
    p = SN_POLY(f, 0.24128021f, SN_POLY1(f, 0.05224246f, 0.01342669f));
    p = SN_POLY(f, 1.0f, SN_POLY(f, 0.69304484f, p));
    __asm__("vcmpps $5, %2, %1, %%k1\n\tvscalefps %1, %3, %0 %{%%k1%}%{z%}"
            : "=v"(f)
            : "v"(t), "v"(SN_C(-126.0f)), "v"(p)
            : "k1");
    return f;
#else
    return sn_attention_exp(t * SN_C(0x1.62e430p-1f));
#endif
}

/* Elements of columns l and l + 16, rounded to bf16; they are not negative. */
SN_INLINE vu32 sn_attention_words(vf32 x, vf32 y) {
    return ((vu32)x + 0x8000) >> 16 | (((vu32)y + 0x8000) & 0xffff0000);
}

/* Scores [from, end) of a row, whole panels, to words of weights relative to `origin`; returns their sum, lane by lane. Where
 * weights are dropped they stay f32. */
SN_OUTLINE vf32 sn_attention_soften(float *s, int64_t from, int64_t end, float origin, float factor) {
    vf32 total = {0}, other = {0};
    for (int64_t l = from; l < end; l += 2 * SN_LANES) {
        vf32 x = sn_attention_power((sn_load_f32_v(s + l) - origin) * factor);
        vf32 y = sn_attention_power((sn_load_f32_v(s + l + SN_LANES) - origin) * factor);
        total += x, other += y;
#if SN_ATTENTION_DROPS
        sn_store_f32_v(s + l, x), sn_store_f32_v(s + l + SN_LANES, y);
#else
        sn_store_u32_v((uint32_t *)s + l / 2, sn_attention_words(x, y));
#endif
    }
    return total + other;
}

#if SN_ATTENTION_DROPS
/* The same once they have been multiplied by factors. */
SN_OUTLINE void sn_attention_narrow(float *s, int64_t from, int64_t end) {
    for (int64_t l = from; l < end; l += 2 * SN_LANES)
        sn_store_u32_v((uint32_t *)s + l / 2,
                       sn_attention_words(sn_load_f32_v(s + l), sn_load_f32_v(s + l + SN_LANES)));
}
#endif

/* The scale, where scores have to have it before the hole or their maximum; and the soft cap. */
SN_INLINE void sn_attention_bring(SnAttentionItem *t, float *s, int64_t from, int64_t end) {
    for (int64_t l = from; l < end && t->rest != 1; l += SN_LANES)
        sn_store_f32_v(s + l, sn_load_f32_v(s + l) * t->rest);
#if SN_ATTENTION_CAPPED
    sn_attention_bend(s, from, end, t->cap);
#endif
}

/* Rows r .. of height u, at most SN_LANES of them: masks, and the maximum so far; `origin` and `shrink` of each. */
SN_OUTLINE void sn_attention_rise(SnAttentionItem *t, int64_t u, int64_t r, int64_t count, int64_t j,
                                  int64_t keys, const SnAttentionSpan *span, float *origin, float *shrink) {
    SN_ALIGNED_64 float square[SN_LANES * SN_LANES] = {0};
    const int64_t plain = sn_attention_plain(span), end = sn_attention_whole(span->end);
    float *maximum = t->maximum + u * SN_ATTENTION_SLOTS + r;
    for (int64_t k = 0; k < count; k++) {
        float *s = t->scores + (r + k) * SN_ATTENTION_LDS;
        vf32 most = SN_C(-__builtin_inff());
        sn_attention_bring(t, s, span->from, end);
        for (int64_t l = span->from; l < plain; l += SN_LANES)
            most = sn_attention_larger(sn_load_f32_v(s + l), most);
        for (int64_t l = plain; l < end; l += SN_LANES)
            most = sn_attention_larger(sn_attention_mask(t->context, s, t->b, t->h,
                                                         t->i0 + u * SN_ATTENTION_HIGH + r + k, j, keys, span,
                                                         l),
                                       most);
        sn_store_f32_v(square + k * SN_LANES, most);
    }
    vf32 before = sn_load_f32_v(maximum), now = sn_attention_larger(sn_attention_greatest(square), before);
    vf32 zero = sn_attention_origin(now);
    sn_store_f32_v(maximum, now);
    sn_store_f32_v(origin, zero);
    sn_store_f32_v(shrink, sn_attention_exp((before - zero) * t->unit));
}

/* Scores of height u to weights relative to the greatest so far; rescales what was summed before. */
SN_OUTLINE void sn_attention_softmax(SnAttentionItem *t, int64_t u, int64_t j, int64_t count, int64_t rows,
                                     const SnAttentionSpan *span) {
    SN_ALIGNED_64 float square[SN_LANES * SN_LANES], origin[SN_ATTENTION_HIGH], shrink[SN_ATTENTION_HIGH];
    const int64_t end = sn_attention_whole(span->end);
    const float factor = t->unit * 0x1.715476p+0f;
    float *sum = t->sum + u * SN_ATTENTION_SLOTS;
    for (int64_t r = 0; r < rows; r += SN_LANES) {
        int64_t some = rows - r < SN_LANES ? rows - r : SN_LANES;
        sn_attention_rise(t, u, r, some, j, count, span, origin + r, shrink + r);
        for (int64_t k = 0; k < some; k++) {
            float *s = t->scores + (r + k) * SN_ATTENTION_LDS;
            sn_attention_fetch(t);
            vf32 total = sn_attention_soften(s, span->from, end, origin[r + k], factor);
            sn_store_f32_v(square + k * SN_LANES, total);
#if SN_ATTENTION_DROPS
            int64_t i = t->i0 + u * SN_ATTENTION_HIGH + r + k;
            sn_attention_drop(t->context, s, t->b, t->h, i, j, span->from, end, t->columns);
            sn_attention_narrow(s, span->from, end);
#endif
        }
        sn_store_f32_v(sum + r,
                       sn_load_f32_v(sum + r) * sn_load_f32_v(shrink + r) + sn_attention_sums(square));
    }
    for (int64_t r = 0; r < rows && t->started[u]; r++) {
        float *out = t->out + (u * SN_ATTENTION_HIGH + r) * SN_ATTENTION_LDO;
        for (int64_t d = 0; d < SN_ATTENTION_OUT && shrink[r] != 1; d += SN_LANES)
            sn_store_f32_v(out + d, sn_load_f32_v(out + d) * shrink[r]);
    }
}

/* What the columns of the span add to height u. */
SN_INLINE void sn_attention_add(SnAttentionItem *t, int64_t u, int64_t j, int64_t count,
                                const SnAttentionSpan *span) {
    int64_t rows;
    (void)sn_attention_cut(t->rows, u, &rows);
    sn_attention_softmax(t, u, j, count, rows, span);
    if (rows > SN_MATRIX_ROWS)
        sn_attention_sum(t, 1, u, span->from, sn_attention_whole(span->end));
    else
        sn_attention_sum(t, 0, u, span->from, sn_attention_whole(span->end));
    t->started[u] = 1;
}

#endif

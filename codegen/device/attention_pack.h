/* What attention of many rows reads, as f32: after attention_many.h, which says what these are. */
#ifndef SN_DEVICE_ATTENTION_PACK_H
#define SN_DEVICE_ATTENTION_PACK_H

SN_INLINE void sn_attention_scale(SnAttentionItem *t, float scale) {
    t->scale = scale, t->rest = 1;
}
SN_INLINE void sn_attention_rescale(const SnAttentionItem *t, float *scores, int64_t rows) {
    (void)t, (void)scores, (void)rows;
}
SN_INLINE const float *sn_attention_weights(SnAttentionItem *t, int64_t rows, int64_t from, int64_t end) {
    (void)rows, (void)end;
    return t->scores + from;
}

SN_OUTLINE void sn_attention_copy_queries(const SnContext *context, int64_t b, int64_t h, int64_t i,
                                          int64_t rows, float scale, float *restrict front) {
    for (int64_t r = 0; r < rows; r++) {
        float *to = front + r * SN_ATTENTION_LDS;
        SN_UNROLLED
        for (int64_t d = 0; d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES)
            sn_store_f32_v(to + d, scale * sn_query_v(context, b, h, i + r, d));
        for (int64_t d = SN_ATTENTION_D / SN_LANES * SN_LANES; d < SN_ATTENTION_D; d++)
            to[d] = scale * sn_query_s(context, b, h, i + r, d);
    }
}
SN_INLINE void sn_attention_front(SnAttentionItem *t, int64_t i, int64_t rows) {
    sn_attention_copy_queries(t->context, t->b, t->h, i, rows, t->scale, t->front);
}

/* `panels` is restrict, here and below: so addresses are read once, and not after each store. */
SN_OUTLINE void sn_attention_turn_keys(const SnContext *context, int64_t b, int64_t g, int64_t j,
                                       int64_t count, float *restrict panels) {
    for (int64_t l = 0; l < count; l += SN_LANES) {
        float *to = panels + l / SN_TILE_NR * SN_TILE_NR * SN_ATTENTION_D + l % SN_TILE_NR;
        int64_t d = 0;
        for (; l + SN_LANES <= count && d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES) {
            SN_ALIGNED_64 float square[SN_LANES * SN_LANES];
            for (int64_t r = 0; r < SN_LANES; r++)
                sn_store_f32_v(square + r * SN_LANES, sn_key_v(context, b, g, j + l + r, d));
            sn_transpose_square(square, to + d * SN_TILE_NR, SN_TILE_NR);
        }
        for (; d < SN_ATTENTION_D; d++)
            for (int64_t r = 0; r < SN_LANES; r++)
                to[d * SN_TILE_NR + r] = l + r < count ? sn_key_s(context, b, g, j + l + r, d) : 0;
    }
    for (int64_t l = (count + SN_LANES - 1) / SN_LANES * SN_LANES; l % SN_TILE_NR; l += SN_LANES)
        for (int64_t d = 0; d < SN_ATTENTION_D; d++)
            sn_store_f32_v(panels + (l / SN_TILE_NR * SN_ATTENTION_D + d) * SN_TILE_NR + l % SN_TILE_NR,
                           (vf32){0});
}

SN_OUTLINE void sn_attention_pack_keys(SnAttentionItem *t, int64_t j, int64_t count) {
    sn_attention_turn_keys(t->context, t->b, t->g, j, count, t->keys);
}

SN_OUTLINE void sn_attention_copy_values(const SnContext *context, int64_t b, int64_t g, int64_t j,
                                         int64_t count, float *restrict panels) {
    for (int64_t l = 0; l < count; l++) {
        SN_UNROLLED
        for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES) {
            float *to = panels + (d / SN_TILE_NR * SN_ATTENTION_BN + l) * SN_TILE_NR + d % SN_TILE_NR;
            if (d + SN_LANES <= SN_ATTENTION_DV) {
                sn_store_f32_v(to, sn_value_v(context, b, g, j + l, d));
                continue;
            }
            for (int64_t r = 0; r < SN_LANES; r++)
                to[r] = d + r < SN_ATTENTION_DV ? sn_value_s(context, b, g, j + l, d + r) : 0;
        }
    }
}
SN_OUTLINE void sn_attention_pack_values(SnAttentionItem *t, int64_t j, int64_t count) {
    sn_attention_copy_values(t->context, t->b, t->g, j, count, t->values);
}

#endif

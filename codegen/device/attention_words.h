/* What attention of many rows reads, as words of two bf16: along d of queries and keys, along j of weights and values. After
 * attention_many.h, which says what these are. A D that is odd has no words. */
#ifndef SN_DEVICE_ATTENTION_WORDS_H
#define SN_DEVICE_ATTENTION_WORDS_H

/* bf16 has queries times a power of two. */
SN_INLINE void sn_attention_scale(SnAttentionItem *t, float scale) {
    uint32_t bits;
    __builtin_memcpy(&bits, &scale, sizeof bits);
    int exact = !(bits & 0x7fffff);
    t->scale = exact ? scale : 1, t->rest = exact ? 1 : scale;
}
SN_INLINE void sn_attention_rescale(const SnAttentionItem *t, float *scores, int64_t rows) {
    for (int64_t r = 0; r < rows && t->rest != 1; r++)
        for (int64_t e = 0; e < SN_TILE_NR; e += SN_LANES) {
            float *at = scores + r * SN_ATTENTION_LDS + e;
            sn_store_f32_v(at, sn_load_f32_v(at) * t->rest);
        }
}

/* Rounded where they lie; they are not negative. Behind the end they are 0, up to a whole vector. */
SN_INLINE const SnTileElement *sn_attention_weights(SnAttentionItem *t, int64_t rows, int64_t from,
                                                    int64_t end) {
    for (int64_t r = 0; r < rows; r++) {
        float *row = t->scores + r * SN_ATTENTION_LDS;
        for (int64_t l = from; l < end; l += SN_LANES)
            sn_tile_store_halves((uint16_t *)row + l, (vf32)((vu32)sn_load_f32_v(row + l) + 0x8000));
    }
    return (const SnTileElement *)t->scores + from / 2;
}

SN_INLINE void sn_attention_front(SnAttentionItem *t, int64_t i, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *to = (uint16_t *)(t->front + r * SN_ATTENTION_LDS);
        for (int64_t d = 0; d + SN_LANES <= SN_ATTENTION_D; d += SN_LANES)
            sn_tile_store_halves(to + d, t->scale * sn_query_v(t->context, t->b, t->h, i + r, d));
        for (int64_t d = SN_ATTENTION_D / SN_LANES * SN_LANES; d < SN_ATTENTION_D; d++)
            to[d] = sn_tile_half(t->scale * sn_query_s(t->context, t->b, t->h, i + r, d));
    }
}

/* Two vectors of key j from d on, zero from D on. */
SN_INLINE void sn_attention_key(const SnAttentionItem *t, int64_t j, int64_t d, uint16_t *to) {
    int64_t n = SN_ATTENTION_D - d < 2 * SN_LANES ? SN_ATTENTION_D - d : 2 * SN_LANES, i = 0;
    for (; i + SN_LANES <= n; i += SN_LANES)
        sn_tile_store_halves(to + i, sn_key_v(t->context, t->b, t->g, j, d + i));
    for (; i < n; i++) to[i] = sn_tile_half(sn_key_s(t->context, t->b, t->g, j, d + i));
    for (; i < 2 * SN_LANES; i++) to[i] = 0;
}

SN_OUTLINE void sn_attention_pack_keys(SnAttentionItem *t, int64_t j, int64_t count) {
    for (int64_t l = 0; l < count; l += SN_LANES)
        for (int64_t d = 0; d < SN_ATTENTION_D; d += 2 * SN_LANES) {
            SN_ALIGNED_64 SnTileElement square[SN_LANES * SN_LANES], turned[SN_LANES * SN_LANES];
            SnTileElement *to = t->keys + l / SN_TILE_NR * SN_TILE_NR * SN_ATTENTION_DEPTH + l % SN_TILE_NR +
                                d / 2 * SN_TILE_NR;
            if (l + SN_LANES > count) __builtin_memset(square, 0, sizeof square);
            for (int64_t r = 0; r < SN_LANES && l + r < count; r++)
                sn_attention_key(t, j + l + r, d, (uint16_t *)(square + r * SN_LANES));
            if (d + 2 * SN_LANES <= SN_ATTENTION_D) {
                sn_transpose_square((const float *)square, (float *)to, SN_TILE_NR);
                continue;
            }
            sn_transpose_square((const float *)square, (float *)turned, SN_LANES);
            for (int64_t k = 0; k < SN_ATTENTION_DEPTH - d / 2; k++)
                sn_store_i32_v(to + k * SN_TILE_NR, sn_load_i32_v(turned + k * SN_LANES));
        }
    for (int64_t l = (count + SN_LANES - 1) / SN_LANES * SN_LANES; l % SN_TILE_NR; l += SN_LANES)
        for (int64_t k = 0; k < SN_ATTENTION_DEPTH; k++)
            sn_store_i32_v(t->keys + (l / SN_TILE_NR * SN_ATTENTION_DEPTH + k) * SN_TILE_NR + l % SN_TILE_NR,
                           (vi32){0});
}

/* Values of row j, and of the row behind it where there is one, from d on. */
SN_INLINE vi32 sn_attention_value(const SnAttentionItem *t, int64_t j, int64_t d, int both) {
    SN_ALIGNED_64 float row[2 * SN_LANES] = {0};
    if (d + SN_LANES <= SN_ATTENTION_DV) {
        vf32 first = sn_value_v(t->context, t->b, t->g, j, d), second = {0};
        if (both) second = sn_value_v(t->context, t->b, t->g, j + 1, d);
        return sn_tile_pairs(first, second);
    }
    for (int64_t r = 0; d + r < SN_ATTENTION_DV; r++) {
        row[r] = sn_value_s(t->context, t->b, t->g, j, d + r);
        if (both) row[SN_LANES + r] = sn_value_s(t->context, t->b, t->g, j + 1, d + r);
    }
    return sn_tile_pairs(sn_load_f32_v(row), sn_load_f32_v(row + SN_LANES));
}

SN_OUTLINE void sn_attention_pack_values(SnAttentionItem *t, int64_t j, int64_t count) {
    for (int64_t l = 0; l < count; l += 2)
        for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES)
            sn_store_i32_v(t->values + (d / SN_TILE_NR * SN_ATTENTION_LONG + l / 2) * SN_TILE_NR +
                               d % SN_TILE_NR,
                           sn_attention_value(t, j + l, d, l + 1 < count));
}

#endif

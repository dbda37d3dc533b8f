/* What attention by matrix tiles reads, as tiles of words of bf16: after attention_matrix.h, which says what these are.
 *   SN_ATTENTION_LINES  1: elements of queries, keys and values lie one behind another along d, at the addresses that their holes
 *                       tell (SN_ATTENTION_POINTER 1) */
#ifndef SN_DEVICE_ATTENTION_MATRIX_PACK_H
#define SN_DEVICE_ATTENTION_MATRIX_PACK_H

/* 32 elements from d on of a row, zero from D on. */
#if SN_ATTENTION_LINES
#define SN_ATTENTION_HALVES(NAME, HOLE)                                                                      \
    SN_INLINE void NAME(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d, void *to) {    \
        const char *from = HOLE##_pointer(context, b, h, i, d);                                              \
        const int64_t n = SN_ATTENTION_D - d;                                                                \
        if (n < 32) sn_store_i32_v(to, (vi32){0});                                                           \
        __builtin_memcpy(to, from, n < 32 ? (size_t)n * 2 : 64);                                             \
    }
#else
#define SN_ATTENTION_HALVES(NAME, HOLE)                                                                      \
    SN_INLINE void NAME(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d, void *to) {    \
        int64_t n = SN_ATTENTION_D - d < 32 ? SN_ATTENTION_D - d : 32, e = 0;                                \
        uint16_t *halves = to;                                                                               \
        for (; e + SN_LANES <= n; e += SN_LANES)                                                             \
            sn_tile_store_halves(halves + e, HOLE##_v(context, b, h, i, d + e));                             \
        for (; e < n; e++) halves[e] = sn_tile_half(HOLE##_s(context, b, h, i, d + e));                      \
        for (; e < 32; e++) halves[e] = 0;                                                                   \
    }
#endif
SN_ATTENTION_HALVES(sn_attention_query, sn_query)
SN_ATTENTION_HALVES(sn_attention_key, sn_key)

SN_OUTLINE void sn_attention_copy_queries(const SnContext *context, int64_t b, int64_t h, int64_t i,
                                          int64_t rows, char *restrict front) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < SN_ATTENTION_D; d += 32)
            sn_attention_query(context, b, h, i + r, d, front + d / 32 * SN_ATTENTION_PAIR + r * 64);
}
SN_INLINE void sn_attention_front(SnAttentionItem *t, int64_t i, int64_t rows) {
    sn_attention_copy_queries(t->context, t->b, t->h, i, rows, t->front);
}

/* `panels` is restrict, here and below: so addresses are read once, and not after each store. */
SN_OUTLINE void sn_attention_turn_keys(const SnContext *context, int64_t b, int64_t g, int64_t j,
                                       int64_t count, char *restrict panels) {
    for (int64_t l = 0; l < sn_attention_whole(count); l += SN_LANES)
        for (int64_t d = 0; d < SN_ATTENTION_D; d += 32) {
            SN_ALIGNED_64 float square[SN_LANES * SN_LANES];
            char *to = panels + (l / 32 * SN_ATTENTION_DEEP + d / 32) * SN_ATTENTION_PAIR +
                       l % 32 / 16 * SN_MATRIX_TILE_BYTES;
            if (l + SN_LANES > count) __builtin_memset(square, 0, sizeof square);
            for (int64_t r = 0; r < SN_LANES && l + r < count; r++)
                sn_attention_key(context, b, g, j + l + r, d, square + r * SN_LANES);
            sn_transpose_square(square, (float *)to, SN_MATRIX_WORDS);
        }
}
SN_OUTLINE void sn_attention_pack_keys(SnAttentionItem *t, int64_t j, int64_t count) {
    sn_attention_turn_keys(t->context, t->b, t->g, j, count, t->keys);
}

/* Values from d on of row j, if it is there, in the lower halves of words; zero from DV on. */
SN_INLINE vu32 sn_attention_value(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d,
                                  int there) {
    SN_ALIGNED_64 float row[SN_LANES] = {0};
    if (!there) return (vu32){0};
    if (d + SN_LANES <= SN_ATTENTION_DV) {
#if SN_ATTENTION_LINES
        return (vu32)sn_load_u16_v(sn_value_pointer(context, b, g, j, d));
#else
        return (vu32)sn_value_v(context, b, g, j, d) >> 16;
#endif
    }
    for (int64_t r = 0; d + r < SN_ATTENTION_DV; r++) row[r] = sn_value_s(context, b, g, j, d + r);
    return (vu32)sn_load_f32_v(row) >> 16;
}

SN_OUTLINE void sn_attention_copy_values(const SnContext *context, int64_t b, int64_t g, int64_t j,
                                         int64_t count, char *restrict panels) {
    for (int64_t l = 0; l < count; l += 32)
        for (int64_t w = l; w < l + SN_MATRIX_WORDS; w++) {
            SN_UNROLLED
            for (int64_t d = 0; d < SN_ATTENTION_OUT; d += SN_LANES) {
                char *to = panels + (d / 32 * (SN_ATTENTION_BN / 32) + l / 32) * SN_ATTENTION_PAIR +
                           d % 32 / 16 * SN_MATRIX_TILE_BYTES + (w - l) * 64;
                vu32 upper = sn_attention_value(context, b, g, j + w + 16, d, w + 16 < count);
                sn_store_u32_v((uint32_t *)to,
                               sn_attention_value(context, b, g, j + w, d, w < count) | upper << 16);
            }
        }
}
SN_OUTLINE void sn_attention_pack_values(SnAttentionItem *t, int64_t j, int64_t count) {
    sn_attention_copy_values(t->context, t->b, t->g, j, count, t->values);
}

#endif

/* Attention with plain holes, as the code generator would write it. Buffers: Q, K, V, O, a bias (rows,
 * columns) and the parts of the second round, all dense in (batch, head, row, d). Symbols: batch, heads,
 * kv_heads, rows, columns, causal (queries are the last rows). */
#include "vector.h"

#include "vector_narrow.h"

#include "vector_memory.h"

#include "vector_exp.h"

#include "vector_math.h"

#include "vector_libm.h"

#include "tile_element.h"

#include "tile.h" /* behind what it needs */

#include "attention_score.h"

#include "attention.h"

#include "attention_few.h"

#include "attention_item.h"

#include "attention_many.h"

#include "attention_pack.h"

#include "attention_run.h"

struct SnContext {
    const float *q, *k, *v, *bias;
    float *o, *partial;
    const int64_t *symbols;
};

SN_INLINE int64_t query_at(const SnContext *x, int64_t b, int64_t h, int64_t i, int64_t d, int64_t size) {
    return ((b * x->symbols[1] + h) * x->symbols[3] + i) * size + d;
}
SN_INLINE int64_t key_at(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d, int64_t size) {
    return ((b * x->symbols[2] + g) * x->symbols[4] + j) * size + d;
}
SN_INLINE vf32 sn_query_v(const SnContext *x, int64_t b, int64_t h, int64_t i, int64_t d) {
    return sn_load_f32_v(x->q + query_at(x, b, h, i, d, SN_ATTENTION_D));
}
SN_INLINE float sn_query_s(const SnContext *x, int64_t b, int64_t h, int64_t i, int64_t d) {
    return x->q[query_at(x, b, h, i, d, SN_ATTENTION_D)];
}
SN_INLINE vf32 sn_key_v(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d) {
    return sn_load_f32_v(x->k + key_at(x, b, g, j, d, SN_ATTENTION_D));
}
SN_INLINE float sn_key_s(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d) {
    return x->k[key_at(x, b, g, j, d, SN_ATTENTION_D)];
}
SN_INLINE vf32 sn_value_v(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d) {
    return sn_load_f32_v(x->v + key_at(x, b, g, j, d, SN_ATTENTION_DV));
}
SN_INLINE float sn_value_s(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d) {
    return x->v[key_at(x, b, g, j, d, SN_ATTENTION_DV)];
}
#if SN_ATTENTION_POINTER
SN_INLINE const void *sn_query_pointer(const SnContext *x, int64_t b, int64_t h, int64_t i, int64_t d) {
    return x->q + query_at(x, b, h, i, d, SN_ATTENTION_D);
}
SN_INLINE const void *sn_key_pointer(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d) {
    return x->k + key_at(x, b, g, j, d, SN_ATTENTION_D);
}
SN_INLINE const void *sn_value_pointer(const SnContext *x, int64_t b, int64_t g, int64_t j, int64_t d) {
    return x->v + key_at(x, b, g, j, d, SN_ATTENTION_DV);
}
#endif
/* Column j is visible to row i up to this one. */
SN_INLINE int64_t limit(const SnContext *x, int64_t i) {
    return x->symbols[5] ? i + x->symbols[4] - x->symbols[3] : x->symbols[4];
}
SN_INLINE int sn_mask_tile(const SnContext *x, int64_t b, int64_t h, int64_t i0, int64_t i1, int64_t j0,
                           int64_t j1) {
    (void)b, (void)h;
    return j0 > limit(x, i1 - 1) ? 0 : j1 - 1 > limit(x, i0) ? 1 : 2;
}
#if SN_ATTENTION_SCORE == 3
SN_INLINE int64_t sn_mask_end(const SnContext *x, int64_t b, int64_t h, int64_t i) {
    (void)b, (void)h;
    return limit(x, i) + 1;
}
#endif
#if SN_ATTENTION_HOLE
SN_INLINE vf32 sn_score_v(const SnContext *x, vf32 s, int64_t b, int64_t h, int64_t i, int64_t j) {
    (void)b, (void)h;
    if (SN_ATTENTION_SCORE == 2) s += sn_load_f32_v(x->bias + i * x->symbols[4] + j);
    vi32 hidden = sn_gt_i32_v(sn_iota_i32(), sn_splat_i32((int32_t)(limit(x, i) - j)));
    return sn_select_f32_v(hidden, sn_splat_f32(-__builtin_inff()), s);
}
SN_INLINE float sn_score_s(const SnContext *x, float s, int64_t b, int64_t h, int64_t i, int64_t j) {
    (void)b, (void)h;
    if (SN_ATTENTION_SCORE == 2) s += x->bias[i * x->symbols[4] + j];
    return j > limit(x, i) ? -__builtin_inff() : s;
}
#endif
SN_INLINE void sn_output_v(const SnContext *x, vf32 o, int64_t b, int64_t h, int64_t i, int64_t d) {
    sn_store_f32_v(x->o + query_at(x, b, h, i, d, SN_ATTENTION_DV), o);
}
SN_INLINE void sn_output_s(const SnContext *x, float o, int64_t b, int64_t h, int64_t i, int64_t d) {
    x->o[query_at(x, b, h, i, d, SN_ATTENTION_DV)] = o;
}
SN_INLINE void sn_output_ahead(const SnContext *x, int64_t b, int64_t h, int64_t i, int64_t d) {
    __builtin_prefetch(x->o + query_at(x, b, h, i, d, SN_ATTENTION_DV), 1);
}
SN_INLINE const void *sn_attention_partial(const SnContext *x, int64_t at) {
    return x->partial + at;
}
SN_INLINE SnAttention shape(const int64_t *s) {
    return (SnAttention){s[0], s[1], s[2], s[3], s[4], 1 / __builtin_sqrtf(SN_ATTENTION_D), 0};
}
int attend(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end);
int attend(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {
    SnContext x = {buffers[0], buffers[1], buffers[2], buffers[4], buffers[3], buffers[5], symbols};
    SnAttention p = shape(symbols);
    sn_attention_run(&x, &p, begin, end);
    return 0;
}
int64_t items(const int64_t *symbols);
int64_t items(const int64_t *symbols) {
    SnAttention p = shape(symbols);
    return sn_attention_items(&p);
}
int64_t after(const int64_t *symbols);
int64_t after(const int64_t *symbols) {
    SnAttention p = shape(symbols);
    return sn_attention_after(&p);
}
/* Floats that the parts of a row of the second round take. */
int64_t partial(const int64_t *symbols);
int64_t partial(const int64_t *symbols) {
    SnAttention p = shape(symbols);
    return sn_attention_chunks(&p) * SN_ATTENTION_PARTIAL;
}

/* Attention without its score matrix: O[b][h][i] = softmax over j of (scale * Q[b][h][i] . K[b][g][j]) times
 * V[b][g][j].
 *
 * Contract for the code generator: after vector.h, vector_math.h and tile.h (SN_TILE_B 1, or 6 where queries, keys and
 * values are all bf16: weights are then rounded to bf16 before they meet the values of many rows), in this
 * order: attention_score.h, attention.h, attention_few.h; attention_item.h, attention_many.h and attention_pack.h (or with 6 and an
 * even D attention_words.h), or with SN_ATTENTION_MATRIX matrix.h, attention_item.h, attention_matrix.h and
 * attention_matrix_pack.h; attention_run.h. #defines before the text:
 *
 * - SN_ATTENTION_D, SN_ATTENTION_DV: head sizes of Q and K, and of V and O (DV is D when absent)
 *
 * - SN_ATTENTION_SCORE: 0 nothing is masked (default); 1 the score hole only masks, and is called where
 *   sn_mask_tile says 1; 2 the hole is called for every score (a bias); 3 no such hole: a row sees the columns
 *   before sn_mask_end
 *
 * - SN_ATTENTION_CAPPED: 1 scores are cap * tanh(scale * Q . K) before holes and masks; 0 (default) not
 *
 * - SN_ATTENTION_DROPS: 1 weights are multiplied by a hole's factor once their sum is known; 0 (default) not
 *
 * - SN_ATTENTION_EMPTY_ZERO: 1 a row of O whose scores are all -infinity is zero; 0 (default) NaN, as
 *   Softmax has it
 *
 * - SN_ATTENTION_STATISTICS: 1 the row's maximum and the logarithm of its sum of exponentials go to a hole
 *
 * - SN_ATTENTION_POINTER: 1 there are holes for the addresses of queries, keys and values, so that they are
 *   fetched ahead; 0 (default) none
 *
 * - SN_ATTENTION_STREAM: few rows fetch keys and values about so many bytes ahead into the second-level cache
 *   (Target.fetch_bytes); 0 (default) into the first
 *
 * - SN_ATTENTION_MATRIX: 1 many rows are multiplied by matrix tiles (SN_TILE_B 6); 0 (default) by the register tile
 *
 * - SN_ATTENTION_BLOCKS: heights in a work item, of the tile's rows or by matrix tiles of 32 (default: about 256 rows)
 *
 * - SN_ATTENTION_FEW: rows of a head up to which keys and values are read where they lie (default 8)
 *
 * - SN_ATTENTION_SHARE: rows of a work item then, of all the heads that share a key head (default 16)
 *
 * - SN_ATTENTION_CHUNK: columns of a work item then, a multiple of 16 (default: their keys and values take
 *   about 128 KB)
 *
 * Holes, defined after the text; g = h / (heads / kv_heads); a v form is only called with all its lanes
 * inside:
 *
 * - vf32 sn_query_v(context, b, h, i, d), sn_key_v(context, b, g, j, d), sn_value_v(context, b, g, j, d),
 *   lanes along d, and float sn_query_s, sn_key_s, sn_value_s
 *
 * - const void *sn_query_pointer(context, b, h, i, d), sn_key_pointer(context, b, g, j, d) and
 *   sn_value_pointer(context, b, g, j, d) with SN_ATTENTION_POINTER; only prefetched, may lie outside
 *
 * - vf32 sn_score_v(context, vf32 score, b, h, i, j): the score to use, lanes along j; and float sn_score_s
 *
 * - vf32 sn_keep_v(context, b, h, i, j): the factors, lanes along j; and float sn_keep_s
 *
 * - int sn_mask_tile(context, b, h, i0, i1, j0, j1): what is masked of rows [i0, i1) by columns [j0, j1):
 *   0 all (never looked at), 1 some, 2 nothing. It need not be exact: 1 is always right.
 *
 * - int64_t sn_mask_end(context, b, h, i), with SCORE 3: may be below 0, or behind the last column
 *
 * - void sn_output_v(context, vf32 o, b, h, i, d), lanes along d; and sn_output_s
 *
 * - void sn_attention_statistics_s(context, float number, b, h, i, which), with SN_ATTENTION_STATISTICS: 0 the greatest
 *   score, 1 the logarithm of the sum of exponentials relative to it
 *
 * - void sn_output_ahead(context, b, h, i, d): fetches the place of that element of O, for writing
 *
 * - const void *sn_attention_partial(context, at): the address of element `at` of a float buffer that is
 *   written, for what the first round of work items leaves to the second
 *
 * The entry calls sn_attention_run(context, &(SnAttention){...}, begin, end).
 *
 * For the host: items of two rounds, numbered one after the other; all of the first are done before any of
 * the second is begun. With group = heads / kv_heads, chunks = max(1, ceil(columns / CHUNK)):
 *
 * - rows > FEW: batch * heads * ceil(rows / (BLOCKS * rows of a height)), and none in the second
 *
 * - otherwise: batch * kv_heads * ceil(rows * group / SHARE) * chunks, and, when chunks > 1, batch * heads *
 *   rows in the second, each of which has chunks * SN_ATTENTION_PARTIAL floats of that buffer
 *
 * Stack: about 4 * (BM * DV + BN * (D + DV) + 2 MR * BN) bytes, 230 KB for D = 64 and 14 rows.
 * After Milakov and Gimelshein (online softmax, 2018) and Dao et al. (FlashAttention, 2022). Which columns
 * share a step depends on the shape alone, so no result depends on how the items are split. */
#ifndef SN_DEVICE_ATTENTION_H
#define SN_DEVICE_ATTENTION_H

#ifndef SN_ATTENTION_EMPTY_ZERO
#define SN_ATTENTION_EMPTY_ZERO 0
#endif
#ifndef SN_ATTENTION_STATISTICS
#define SN_ATTENTION_STATISTICS 0
#endif
#ifndef SN_ATTENTION_POINTER
#define SN_ATTENTION_POINTER 0
#endif
#ifndef SN_ATTENTION_MATRIX
#define SN_ATTENTION_MATRIX 0
#endif
#define SN_ATTENTION_HIGH (SN_ATTENTION_MATRIX ? 32 : SN_TILE_MR) /* rows of a height */
#ifndef SN_ATTENTION_STREAM
#define SN_ATTENTION_STREAM 0
#endif
#ifndef SN_ATTENTION_BLOCKS
#define SN_ATTENTION_BLOCKS ((256 + SN_TILE_MR - 1) / SN_TILE_MR)
#endif
#ifndef SN_ATTENTION_FEW
#define SN_ATTENTION_FEW 8
#endif
#ifndef SN_ATTENTION_SHARE
#define SN_ATTENTION_SHARE 16
#endif
#ifndef SN_ATTENTION_CHUNK
#define SN_ATTENTION_CHUNK (SN_ATTENTION_FIT < 16 ? 16 : SN_ATTENTION_FIT / 16 * 16)
#endif

#define SN_ATTENTION_OUT     ((SN_ATTENTION_DV + SN_TILE_NR - 1) / SN_TILE_NR * SN_TILE_NR)
#define SN_ATTENTION_LDQ     (SN_ATTENTION_D + SN_LANES) /* padded against cache set conflicts */
#define SN_ATTENTION_LDO     (SN_ATTENTION_OUT + SN_LANES)
#define SN_ATTENTION_PARTIAL (SN_ATTENTION_OUT + 16) /* out, maximum, sum */

SN_INLINE void sn_output_v(const SnContext *context, vf32 o, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE void sn_output_s(const SnContext *context, float o, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE void sn_output_ahead(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE const void *sn_attention_partial(const SnContext *context, int64_t at);
#if SN_ATTENTION_POINTER
SN_INLINE const void *sn_query_pointer(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE const void *sn_key_pointer(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE const void *sn_value_pointer(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
#endif
#if SN_ATTENTION_STATISTICS
SN_INLINE void sn_attention_statistics_s(const SnContext *context, float number, int64_t b, int64_t h,
                                         int64_t i, int64_t which);
#endif

SN_INLINE int64_t sn_attention_chunks(const SnAttention *p) {
    return p->columns > SN_ATTENTION_CHUNK ? sn_attention_ceil(p->columns, SN_ATTENTION_CHUNK) : 1;
}
/* Items of the first round, and of the second. */
SN_INLINE int64_t sn_attention_items(const SnAttention *p) {
    if (p->rows > SN_ATTENTION_FEW)
        return p->batch * p->heads * sn_attention_ceil(p->rows, SN_ATTENTION_BLOCKS * SN_ATTENTION_HIGH);
    int64_t shared = p->rows * (p->heads / p->kv_heads);
    return p->batch * p->kv_heads * sn_attention_ceil(shared, SN_ATTENTION_SHARE) * sn_attention_chunks(p);
}
SN_INLINE int64_t sn_attention_after(const SnAttention *p) {
    return p->rows <= SN_ATTENTION_FEW && sn_attention_chunks(p) > 1 ? p->batch * p->heads * p->rows : 0;
}

#if SN_ATTENTION_CAPPED
/* The soft cap on the scores [from, end), whole vectors of them, in place. */
SN_OUTLINE void sn_attention_bend(float *s, int64_t from, int64_t end, float cap) {
    for (int64_t l = from; l < end; l += SN_LANES)
        sn_store_f32_v(s + l, cap * sn_tanh_f32_v(sn_load_f32_v(s + l)));
}
#endif

#if SN_ATTENTION_DROPS
/* Factors on the weights [from, end) of row i, whose column 0 is j; `columns` exist in all. */
SN_OUTLINE void sn_attention_drop(const SnContext *context, float *s, int64_t b, int64_t h, int64_t i,
                                  int64_t j, int64_t from, int64_t end, int64_t columns) {
    for (int64_t l = from; l < end; l += SN_LANES)
        sn_store_f32_v(s + l,
                       sn_load_f32_v(s + l) * sn_attention_keep(context, b, h, i, j + l, columns - j - l));
}
#endif

/* Exponentials of the scores [from, end), whole vectors of them, in place; returns their sum, lane by lane.
 */
SN_OUTLINE vf32 sn_attention_exponentials(float *s, int64_t from, int64_t end, float origin) {
    vf32 total = {0};
    for (int64_t l = from; l < end; l += SN_LANES) {
        vf32 p = sn_attention_exp(sn_load_f32_v(s + l) - origin);
        total += p;
        sn_store_f32_v(s + l, p);
    }
    return total;
}

/* A row of O from what was summed up. */
SN_OUTLINE void sn_attention_finish(const SnContext *context, const float *out, float maximum, float sum,
                                    int64_t columns, int64_t b, int64_t h, int64_t i) {
    float inverse = columns ? 1 / sum : 0; /* the sum of no values is 0 */
#if SN_ATTENTION_EMPTY_ZERO
    if (sum == 0) inverse = 0;
#endif
    for (int64_t d = 0; d + SN_LANES <= SN_ATTENTION_DV; d += SN_LANES)
        sn_output_v(context, sn_load_f32_v(out + d) * inverse, b, h, i, d);
    for (int64_t d = SN_ATTENTION_DV / SN_LANES * SN_LANES; d < SN_ATTENTION_DV; d++)
        sn_output_s(context, out[d] * inverse, b, h, i, d);
#if SN_ATTENTION_STATISTICS
    sn_attention_statistics_s(context, maximum, b, h, i, 0);
    sn_attention_statistics_s(context, sn_log_f32_s(sum), b, h, i, 1);
#else
    (void)maximum;
#endif
}

#endif

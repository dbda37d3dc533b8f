/* Attention without its score matrix: O[b][h][i] = softmax over j of (scale * Q[b][h][i] . K[b][g][j]) times
 * V[b][g][j].
 *
 * Contract for the code generator: after vector.h, vector_math.h and tile.h (SN_TILE_B 1), in this order:
 * attention.h, attention_few.h, attention_many.h. #defines before the text:
 *
 * - SN_ATTENTION_D, SN_ATTENTION_DV: head sizes of Q and K, and of V and O (DV is D when absent)
 *
 * - SN_ATTENTION_SCORE: 0 nothing is masked (default); 1 the score hole only masks, and is called where
 *   sn_mask_tile says 1; 2 the hole is called for every score (a bias); 3 no hole: a row sees the columns up
 *   to some last one, and sn_mask_tile is exact for a single row
 *
 * - SN_ATTENTION_EMPTY_ZERO: 1 a row of O whose scores are all -infinity is zero; 0 (default) NaN, as
 *   Softmax has it
 *
 * - SN_ATTENTION_STATISTICS: 1 the logarithm of the row's sum of exponentials goes to a hole
 *
 * - SN_ATTENTION_POINTER: 1 there are holes for the addresses of queries, keys and values, so that they are
 *   fetched ahead; 0 (default) none
 *
 * - SN_ATTENTION_BLOCKS: heights of the tile in a work item (default: about 256 rows)
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
 * - int sn_mask_tile(context, b, h, i0, i1, j0, j1): what is masked of rows [i0, i1) by columns [j0, j1):
 *   0 all (never looked at), 1 some, 2 nothing. It need not be exact: 1 is always right, unless SCORE is 3.
 *
 * - void sn_output_v(context, vf32 o, b, h, i, d), lanes along d; and sn_output_s
 *
 * - void sn_attention_statistics_s(context, float logarithm, b, h, i), with SN_ATTENTION_STATISTICS
 *
 * - const void *sn_attention_partial(context, at): the address of element `at` of a float buffer that is
 *   written, for what the first round of work items leaves to the second
 *
 * The entry calls sn_attention_run(context, &(SnAttention){...}, begin, end).
 *
 * For the host: items of two rounds, numbered one after the other; all of the first are done before any of
 * the second is begun. With group = heads / kv_heads, chunks = max(1, ceil(columns / CHUNK)):
 *
 * - rows > FEW: batch * heads * ceil(rows / (BLOCKS * SN_TILE_MR)), and none in the second
 *
 * - otherwise: batch * kv_heads * ceil(rows * group / SHARE) * chunks, and, when chunks > 1, batch * heads *
 *   rows in the second, each of which has chunks * SN_ATTENTION_PARTIAL floats of that buffer
 *
 * Stack: about 4 * (BM * DV + BN * (D + DV) + 2 MR * BN) bytes, 230 KB for D = 64 and 14 rows.
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
#ifndef SN_ATTENTION_POINTER
#define SN_ATTENTION_POINTER 0
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
/* Columns that share a step: their keys and values take about 128 KB. */
#define SN_ATTENTION_FIT                                                                                     \
    (SN_ATTENTION_D + SN_ATTENTION_DV < 64 ? 512 : 32768 / (SN_ATTENTION_D + SN_ATTENTION_DV))
#ifndef SN_ATTENTION_CHUNK
#define SN_ATTENTION_CHUNK (SN_ATTENTION_FIT < 16 ? 16 : SN_ATTENTION_FIT / 16 * 16)
#endif
#if SN_TILE_B != 1
#error "attention packs keys and values as f32: SN_TILE_B must be 1"
#endif

#define SN_ATTENTION_OUT     ((SN_ATTENTION_DV + SN_TILE_NR - 1) / SN_TILE_NR * SN_TILE_NR)
#define SN_ATTENTION_LDQ     (SN_ATTENTION_D + SN_LANES) /* padded against cache set conflicts */
#define SN_ATTENTION_LDO     (SN_ATTENTION_OUT + SN_LANES)
#define SN_ATTENTION_PARTIAL (SN_ATTENTION_OUT + 16) /* out, maximum, sum */
#define SN_ALIGNED_64        __attribute__((aligned(64)))
/* Before a loop whose body is long or that is seldom run: unrolled copies cost time to compile. */
#if defined(__clang__)
#define SN_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define SN_ROLLED _Pragma("GCC unroll 1")
#endif

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
SN_INLINE const void *sn_attention_partial(const SnContext *context, int64_t at);
#if SN_ATTENTION_POINTER
SN_INLINE const void *sn_query_pointer(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE const void *sn_key_pointer(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE const void *sn_value_pointer(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
#endif
#define SN_ATTENTION_HOLE (SN_ATTENTION_SCORE == 1 || SN_ATTENTION_SCORE == 2)
#if SN_ATTENTION_HOLE
SN_INLINE vf32 sn_score_v(const SnContext *context, vf32 score, int64_t b, int64_t h, int64_t i, int64_t j);
SN_INLINE float sn_score_s(const SnContext *context, float score, int64_t b, int64_t h, int64_t i, int64_t j);
#endif
#if SN_ATTENTION_STATISTICS
SN_INLINE void sn_attention_statistics_s(const SnContext *context, float logarithm, int64_t b, int64_t h,
                                         int64_t i);
#endif

/* Work items of rows that are many, or few; and one of the second round. */
SN_OUTLINE void sn_attention_many(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end);
SN_OUTLINE void sn_attention_few(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end);
SN_OUTLINE void sn_attention_merge(const SnContext *context, const SnAttention *p, int64_t row);

SN_INLINE int64_t sn_attention_ceil(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
SN_INLINE int64_t sn_attention_chunks(const SnAttention *p) {
    return p->columns > SN_ATTENTION_CHUNK ? sn_attention_ceil(p->columns, SN_ATTENTION_CHUNK) : 1;
}
/* Items of the first round, and of the second. */
SN_INLINE int64_t sn_attention_items(const SnAttention *p) {
    if (p->rows > SN_ATTENTION_FEW)
        return p->batch * p->heads * sn_attention_ceil(p->rows, SN_ATTENTION_BLOCKS * SN_TILE_MR);
    int64_t shared = p->rows * (p->heads / p->kv_heads);
    return p->batch * p->kv_heads * sn_attention_ceil(shared, SN_ATTENTION_SHARE) * sn_attention_chunks(p);
}
SN_INLINE int64_t sn_attention_after(const SnAttention *p) {
    return p->rows <= SN_ATTENTION_FEW && sn_attention_chunks(p) > 1 ? p->batch * p->heads * p->rows : 0;
}

/* The larger; b, when a is NaN. */
SN_INLINE vf32 sn_attention_larger(vf32 a, vf32 b) {
    return sn_at_least(b, a);
}

/* Lane i: the sum, or the greatest, of row i of a square of SN_LANES, which is overwritten. Each stage folds
 * two rows into one; which two puts the results in order. */
#define SN_ATTENTION_FOLD(NAME, OP)                                                                          \
    SN_OUTLINE vf32 sn_attention_##NAME(float *square) {                                                     \
        for (int64_t n = SN_LANES / 2; n > 0; n /= 2)                                                        \
            for (int64_t i = 0; i < n; i++) {                                                                \
                float *first = square + i * SN_LANES;                                                        \
                vf32 a = sn_load_f32_v(first), b = sn_load_f32_v(first + n * SN_LANES);                      \
                sn_store_f32_v(first, OP(SN_ZIP_LOW(a, b), SN_ZIP_HIGH(a, b)));                              \
            }                                                                                                \
        return sn_load_f32_v(square);                                                                        \
    }
SN_ATTENTION_FOLD(sums, sn_add_f32_v)
SN_ATTENTION_FOLD(greatest, sn_attention_larger)

/* e^x for x <= 0, 0 below -87.7; NaN stays. 2^n and a minimax polynomial for 2^f, with n + f = x / log 2 and
 * |f| <= 1/2. The relative error of a result is at most 2.5e-7 + 1.4e-8 |x|, and e^0 is 1. */
SN_INLINE vf32 sn_attention_exp(vf32 x) {
    const vf32 round = SN_C(0x1.8p23f + 127), log2e = SN_C(0x1.715476p+0f);
    x = sn_at_least(x, SN_C(-88.1f));
    vf32 shifted = sn_fma_f32_v(x, log2e, round); /* its low bits are the exponent field of 2^n */
    vf32 f = sn_fma_f32_v(x, log2e, round - shifted);
    vf32 p = SN_POLY(f, 0.24022242f, SN_POLY(f, 0.055507336f, SN_POLY1(f, 0.009671513f, 0.0013264728f)));
    p = SN_POLY(f, 1.0f, SN_POLY(f, 0.693147f, p));
    return p * (vf32)((vi32)shifted << 23);
}
/* What exponentials are relative to: a row of nothing but -infinity keeps zeros. */
SN_INLINE vf32 sn_attention_origin(vf32 greatest) {
    return sn_select_f32_v(greatest == -__builtin_inff(), (vf32){0}, greatest);
}

#if SN_ATTENTION_HOLE
/* The score hole over a vector of scores from column j on, `n` of which exist. */
SN_INLINE vf32 sn_attention_hole(const SnContext *context, vf32 score, int64_t b, int64_t h, int64_t i,
                                 int64_t j, int64_t n) {
    if (n >= SN_LANES) return sn_score_v(context, score, b, h, i, j);
    SN_ALIGNED_64 float s[SN_LANES];
    sn_store_f32_v(s, score);
    SN_ROLLED
    for (int64_t l = 0; l < n; l++) s[l] = sn_score_s(context, s[l], b, h, i, j + l);
    return sn_load_f32_v(s);
}
#endif

/* Columns of a step: scores of [from, end) count, and from `hole` on some may be masked. */
typedef struct SnAttentionSpan {
    int64_t from, hole, end;
} SnAttentionSpan;

/* Scores before lane n; -infinity from there on. */
SN_INLINE vf32 sn_attention_first(vf32 score, int64_t n) {
    vi32 inside = sn_lt_i32_v(sn_iota_i32(), sn_splat_i32((int32_t)n));
    return sn_select_f32_v(inside, score, SN_C(-__builtin_inff()));
}

#if SN_ATTENTION_SCORE == 3
/* How many columns from j on row i sees; fewer than a vector. */
SN_INLINE int64_t sn_attention_visible(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t j) {
    int64_t n = 0;
    SN_ROLLED
    for (int64_t step = SN_LANES / 2; step > 0; step /= 2)
        if (sn_mask_tile(context, b, h, i, i + 1, j + n, j + n + step) == 2) n += step;
    return n;
}
#endif

/* Masks, or calls the hole on, scores of row i, whose column 0 is j, of which `count` exist; makes those past the end of
 * the span -infinity, up to a whole vector; and returns the greatest, lane by lane. */
SN_OUTLINE vf32 sn_attention_settle(const SnContext *context, float *s, int64_t b, int64_t h, int64_t i,
                                    int64_t j, int64_t count, const SnAttentionSpan *span) {
    vf32 m = SN_C(-__builtin_inff());
    int64_t l = span->from, whole = span->end / SN_LANES * SN_LANES;
    for (int64_t plain = span->hole < whole ? span->hole : whole; l < plain; l += SN_LANES)
        m = sn_attention_larger(sn_load_f32_v(s + l), m); /* a NaN is passed over here and met below */
    SN_ROLLED
    for (; l < span->end; l += SN_LANES) {
        vf32 x = sn_load_f32_v(s + l);
#if SN_ATTENTION_SCORE
        int64_t n = count - l, last = n < SN_LANES ? n : SN_LANES;
        int here = span->hole == span->end ? 2 : sn_mask_tile(context, b, h, i, i + 1, j + l, j + l + last);
        if (!here && SN_ATTENTION_SCORE != 2) x = SN_C(-__builtin_inff());
#if SN_ATTENTION_HOLE
        if (here == 1 || SN_ATTENTION_SCORE == 2) x = sn_attention_hole(context, x, b, h, i, j + l, n);
#else
        if (here == 1) x = sn_attention_first(x, sn_attention_visible(context, b, h, i, j + l));
#endif
#else
        (void)context, (void)b, (void)h, (void)i, (void)j, (void)count;
#endif
        if (l >= whole) x = sn_attention_first(x, span->end - l);
        m = sn_attention_larger(x, m);
        sn_store_f32_v(s + l, x);
    }
    return m;
}

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
    sn_attention_statistics_s(context, maximum + sn_log_f32_s(sum), b, h, i);
#else
    (void)maximum;
#endif
}

SN_INLINE void sn_attention_run(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end) {
    int64_t first = sn_attention_items(p), last = end < first ? end : first;
    if (begin < last && p->rows > SN_ATTENTION_FEW) sn_attention_many(context, p, begin, last);
    if (begin < last && p->rows <= SN_ATTENTION_FEW) sn_attention_few(context, p, begin, last);
    for (int64_t item = begin > first ? begin : first; item < end; item++)
        sn_attention_merge(context, p, item - first);
}

#endif

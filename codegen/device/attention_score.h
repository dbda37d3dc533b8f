/* What attention and its gradients share: operands, scores that a mask or a bias changes, exponentials, and how rows are
 * cut for the register tile. After vector.h, vector_math.h and tile.h (SN_TILE_B 1 or 6). */
#ifndef SN_DEVICE_ATTENTION_SCORE_H
#define SN_DEVICE_ATTENTION_SCORE_H

#ifndef SN_ATTENTION_DV
#define SN_ATTENTION_DV SN_ATTENTION_D
#endif
#ifndef SN_ATTENTION_SCORE
#define SN_ATTENTION_SCORE 0
#endif
#ifndef SN_ATTENTION_DROPS
#define SN_ATTENTION_DROPS 0
#endif
#ifndef SN_ATTENTION_CAPPED
#define SN_ATTENTION_CAPPED 0
#endif
#if SN_TILE_B != 1 && SN_TILE_B != 6
#error "attention packs keys and values as f32 or as words of bf16: SN_TILE_B must be 1 or 6"
#endif

/* Columns that share a step: their keys and values take about 128 KB. */
#define SN_ATTENTION_FIT                                                                                     \
    (SN_ATTENTION_D + SN_ATTENTION_DV < 64 ? 512 : 32768 / (SN_ATTENTION_D + SN_ATTENTION_DV))
#define SN_ALIGNED_64 __attribute__((aligned(64)))
/* Before a loop whose body is long or that is seldom run: unrolled copies cost time to compile. */
#if defined(__clang__)
#define SN_ROLLED _Pragma("clang loop unroll(disable)")
#define SN_UNROLLED                                                                                          \
    _Pragma("clang loop unroll_count(8)") /* short copies, whose addresses take longer than they */
#else
#define SN_ROLLED   _Pragma("GCC unroll 1")
#define SN_UNROLLED _Pragma("GCC unroll 8")
#endif

typedef struct SnAttention {
    int64_t batch, heads, kv_heads, rows, columns;
    float
        scale; /* of products; with SN_ATTENTION_CAPPED of arguments of the tanh, that is, divided by the cap */
    float cap;
} SnAttention;

SN_INLINE vf32 sn_query_v(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE float sn_query_s(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t d);
SN_INLINE vf32 sn_key_v(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE float sn_key_s(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE vf32 sn_value_v(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE float sn_value_s(const SnContext *context, int64_t b, int64_t g, int64_t j, int64_t d);
SN_INLINE int sn_mask_tile(const SnContext *context, int64_t b, int64_t h, int64_t i0, int64_t i1, int64_t j0,
                           int64_t j1);
#if SN_ATTENTION_SCORE == 3
SN_INLINE int64_t sn_mask_end(const SnContext *context, int64_t b, int64_t h, int64_t i);
#endif
#define SN_ATTENTION_HOLE (SN_ATTENTION_SCORE == 1 || SN_ATTENTION_SCORE == 2)
#if SN_ATTENTION_HOLE
SN_INLINE vf32 sn_score_v(const SnContext *context, vf32 score, int64_t b, int64_t h, int64_t i, int64_t j);
SN_INLINE float sn_score_s(const SnContext *context, float score, int64_t b, int64_t h, int64_t i, int64_t j);
#endif

#if SN_ATTENTION_DROPS
SN_INLINE vf32 sn_keep_v(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t j);
SN_INLINE float sn_keep_s(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t j);

/* What the weights of row i from column j on, of which `n` exist, are multiplied by. */
SN_INLINE vf32 sn_attention_keep(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t j,
                                 int64_t n) {
    if (n >= SN_LANES) return sn_keep_v(context, b, h, i, j);
    SN_ALIGNED_64 float s[SN_LANES] = {0};
    SN_ROLLED
    for (int64_t l = 0; l < n; l++) s[l] = sn_keep_s(context, b, h, i, j + l);
    return sn_load_f32_v(s);
}
#endif

SN_INLINE int64_t sn_attention_ceil(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* The rows of height u of `total`: first of them, and how many. All but the last two heights are full; these are cut so
 * that the variants of the tile waste least. */
SN_INLINE int64_t sn_attention_height(int64_t total, int64_t u, int64_t *rows) {
    int64_t heights = sn_attention_ceil(total, SN_TILE_MR), whole = heights > 1 ? heights - 2 : 0;
    int64_t left = total - whole * SN_TILE_MR;
    int64_t half = (left + 1) / 2, most = heights > 1 ? left - SN_TILE_MR : left;
    int64_t part = SN_TILE_MR > 11 && half >= 11 ? 11 : SN_TILE_MR > 8 && half >= 8 ? 8 : half;
    if (part < most) part = most;
    *rows = u < whole ? SN_TILE_MR : u == whole ? part : left - part;
    return u <= whole ? u * SN_TILE_MR : whole * SN_TILE_MR + part;
}

/* How many of the columns j .. j+count the rows i .. i+rows see, leaving out those at the end. */
SN_OUTLINE int64_t sn_attention_seen(const SnContext *context, int64_t b, int64_t h, int64_t i, int64_t rows,
                                     int64_t j, int64_t count) {
    SN_ROLLED
    for (int64_t step = SN_TILE_NR; step > 0; step /= 2)
        while (count >= step && !sn_mask_tile(context, b, h, i, i + rows, j + count - step, j + count))
            count -= step;
    return count;
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

/* The columns before which scores are whole vectors that no mask and no hole changes. */
SN_INLINE int64_t sn_attention_plain(const SnAttentionSpan *span) {
    int64_t whole = span->end / SN_LANES * SN_LANES, plain = span->hole < whole ? span->hole : whole;
    return plain < span->from ? span->from : plain;
}

/* Masks, or calls the hole on, the vector s + l of scores of row i, whose column 0 is j, and of which `count` exist; makes
 * those past the end of the span -infinity. */
SN_INLINE vf32 sn_attention_mask(const SnContext *context, float *s, int64_t b, int64_t h, int64_t i,
                                 int64_t j, int64_t count, const SnAttentionSpan *span, int64_t l) {
    vf32 x = sn_load_f32_v(s + l);
    int64_t n = span->end - l;
#if SN_ATTENTION_HOLE
    int64_t left = count - l, last = left < SN_LANES ? left : SN_LANES;
    int here = span->hole == span->end ? 2 : sn_mask_tile(context, b, h, i, i + 1, j + l, j + l + last);
    if (!here && SN_ATTENTION_SCORE != 2) x = SN_C(-__builtin_inff());
    if (here == 1 || SN_ATTENTION_SCORE == 2) x = sn_attention_hole(context, x, b, h, i, j + l, left);
#elif SN_ATTENTION_SCORE
    int64_t seen = sn_mask_end(context, b, h, i) - j - l;
    if (seen < n) n = seen;
#endif
    (void)context, (void)b, (void)h, (void)i, (void)j, (void)count;
    x = sn_attention_first(x, n);
    sn_store_f32_v(s + l, x);
    return x;
}

/* Does so with all that is not plain, and returns the greatest score of the row, lane by lane. */
SN_OUTLINE vf32 sn_attention_settle(const SnContext *context, float *s, int64_t b, int64_t h, int64_t i,
                                    int64_t j, int64_t count, const SnAttentionSpan *span) {
    vf32 m = SN_C(-__builtin_inff());
    int64_t l = span->from;
    for (int64_t plain = sn_attention_plain(span); l < plain; l += SN_LANES)
        m = sn_attention_larger(sn_load_f32_v(s + l), m); /* a NaN is passed over here and met below */
    SN_ROLLED
    for (; l < span->end; l += SN_LANES)
        m = sn_attention_larger(sn_attention_mask(context, s, b, h, i, j, count, span, l), m);
    return m;
}

#endif

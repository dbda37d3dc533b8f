/* Recurrent networks over run-time steps, out[T + 1, B, P·H]: ir/recurrent.h says what of what. After tile.h and
 * vector_math.h.
 *
 * Contract for the code generator: SN_RECURRENT_REAL, float or double; SN_RECURRENT_TYPE, f32 or f64, its name in those of
 * functions; SN_RECURRENT_LANES, 1 where that has vectors, f32; SN_RECURRENT_KIND, 0 simple, 1 gated, 2 long_short; SN_RECURRENT_UNITS, H; SN_RECURRENT_REVERSE and
 * SN_RECURRENT_LATE; SN_RECURRENT_GATE, _CANDIDATE and _OUTPUT, names of functions; SN_RECURRENT_BIAS, _PEEP and _LENGTH, 1
 * where there is such an operand; and the holes
 *   REAL sn_recurrent_x_s(context, int64_t t, int64_t b, int64_t c)
 *   REAL sn_recurrent_weight_s(context, int64_t k, int64_t c), and of f32 vf32 sn_recurrent_weight_v(…)
 *   REAL sn_recurrent_state_s(context, int64_t b, int64_t c)
 *   REAL sn_recurrent_bias_s(context, int64_t c), REAL sn_recurrent_peep_s(context, int64_t c)
 *   int64_t sn_recurrent_length_s(context, int64_t b)
 * Of operands that are not there the holes are absent. A work item has SN_RECURRENT_ROWS sequences, which share what is read of the weights. */
#ifndef SN_DEVICE_RECURRENT_H
#define SN_DEVICE_RECURRENT_H

enum {
    SN_RECURRENT_H = SN_RECURRENT_UNITS,
    SN_RECURRENT_G = SN_RECURRENT_KIND == 0   ? 1
                     : SN_RECURRENT_KIND == 1 ? 3
                                              : 4,
    SN_RECURRENT_COLUMNS = SN_RECURRENT_G * SN_RECURRENT_H,
    SN_RECURRENT_WIDTH = SN_RECURRENT_KIND == 2 ? 2 * SN_RECURRENT_H : SN_RECURRENT_H,
};

typedef SN_RECURRENT_REAL SnReal;

SN_INLINE SnReal sn_recurrent_x_s(const SnContext *context, int64_t t, int64_t b, int64_t c);
SN_INLINE SnReal sn_recurrent_weight_s(const SnContext *context, int64_t k, int64_t c);
SN_INLINE SnReal sn_recurrent_state_s(const SnContext *context, int64_t b, int64_t c);
#if SN_RECURRENT_LANES
SN_INLINE vf32 sn_recurrent_weight_v(const SnContext *context, int64_t k, int64_t c);
#endif
#if SN_RECURRENT_BIAS
SN_INLINE SnReal sn_recurrent_bias_s(const SnContext *context, int64_t c);
#else
#define sn_recurrent_bias_s(context, c) 0
#endif
#if SN_RECURRENT_PEEP
SN_INLINE SnReal sn_recurrent_peep_s(const SnContext *context, int64_t c);
#else
#define sn_recurrent_peep_s(context, c) 0
#endif
#if SN_RECURRENT_LENGTH
SN_INLINE int64_t sn_recurrent_length_s(const SnContext *context, int64_t b);
#else
#define sn_recurrent_length_s(context, b) INT64_MAX
#endif

SN_INLINE float sn_relu_f32_s(float x) {
    return x < 0 ? 0 : x;
}
SN_INLINE double sn_relu_f64_s(double x) {
    return x < 0 ? 0 : x;
}
SN_INLINE vf32 sn_relu_f32_v(vf32 x) {
    return sn_select_f32_v(x < 0, sn_splat_f32(0), x);
}

#define SN_RECURRENT_JOIN_(NAME, TYPE, FORM) sn_##NAME##_##TYPE##_##FORM
#define SN_RECURRENT_JOIN(NAME, TYPE, FORM)  SN_RECURRENT_JOIN_(NAME, TYPE, FORM)
#define SN_RECURRENT_ONE(NAME, X)            SN_RECURRENT_JOIN(NAME, SN_RECURRENT_TYPE, s)(X)

/* x[i] = NAME(x[i]) for `count` numbers. */
#if SN_RECURRENT_LANES
#define SN_RECURRENT_EACH(NAME, x, count)                                                                    \
    do {                                                                                                     \
        int each = 0;                                                                                        \
        for (; each + SN_LANES <= (count); each += SN_LANES)                                                 \
            sn_store_f32_v((x) + each, SN_RECURRENT_JOIN(NAME, f32, v)(sn_load_f32_v((x) + each)));          \
        for (; each < (count); each++) (x)[each] = SN_RECURRENT_ONE(NAME, (x)[each]);                        \
    } while (0)
#else
#define SN_RECURRENT_EACH(NAME, x, count)                                                                    \
    do {                                                                                                     \
        for (int each = 0; each < (count); each++) (x)[each] = SN_RECURRENT_ONE(NAME, (x)[each]);            \
    } while (0)
#endif

/* sum[c] += Σ h[k + i]·weight[k + i, c] over i < 4, for the columns [first, last). */
SN_INLINE void sn_recurrent_four(const SnContext *context, SnReal *sum, const SnReal *h, int k, int first,
                                 int last) {
    int c = first;
#if SN_RECURRENT_LANES
    const vf32 h0 = sn_splat_f32(h[k]), h1 = sn_splat_f32(h[k + 1]);
    const vf32 h2 = sn_splat_f32(h[k + 2]), h3 = sn_splat_f32(h[k + 3]);
    for (; c + SN_LANES <= last; c += SN_LANES) {
        vf32 s = sn_fma_f32_v(h0, sn_recurrent_weight_v(context, k, c), sn_load_f32_v(sum + c));
        s = sn_fma_f32_v(h1, sn_recurrent_weight_v(context, k + 1, c), s);
        s = sn_fma_f32_v(h2, sn_recurrent_weight_v(context, k + 2, c), s);
        s = sn_fma_f32_v(h3, sn_recurrent_weight_v(context, k + 3, c), s);
        sn_store_f32_v(sum + c, s);
    }
#endif
    for (; c < last; c++)
        for (int i = 0; i < 4; i++) sum[c] += h[k + i] * sn_recurrent_weight_s(context, k + i, c);
}

/* The products of `rows` states, `stride` apart, with the columns [first, last) of the weights. */
SN_INLINE void sn_recurrent_products(const SnContext *context, SnReal (*sum)[SN_RECURRENT_COLUMNS], int rows,
                                     const SnReal *h, int stride, int first, int last) {
    int k = 0;
    for (; k + 4 <= SN_RECURRENT_H; k += 4)
        for (int r = 0; r < rows; r++)
            sn_recurrent_four(context, sum[r], h + (int64_t)r * stride, k, first, last);
    for (; k < SN_RECURRENT_H; k++)
        for (int r = 0; r < rows; r++)
            for (int c = first; c < last; c++)
                sum[r][c] += h[(int64_t)r * stride + k] * sn_recurrent_weight_s(context, k, c);
}

#if SN_RECURRENT_KIND == 0
static void sn_recurrent_step(const SnContext *context, SnReal (*sum)[SN_RECURRENT_COLUMNS], int rows,
                              const SnReal *from, SnReal *to, int64_t t, int64_t b) {
    sn_recurrent_products(context, sum, rows, from, SN_RECURRENT_WIDTH, 0, SN_RECURRENT_COLUMNS);
    for (int r = 0; r < rows; r++, to += SN_RECURRENT_WIDTH) {
        for (int j = 0; j < SN_RECURRENT_H; j++) to[j] = sum[r][j] + sn_recurrent_x_s(context, t, b + r, j);
        SN_RECURRENT_EACH(SN_RECURRENT_CANDIDATE, to, SN_RECURRENT_H);
    }
}
#elif SN_RECURRENT_KIND == 1
/* Between the two products `to` has reset·h. */
static void sn_recurrent_step(const SnContext *context, SnReal (*sum)[SN_RECURRENT_COLUMNS], int rows,
                              const SnReal *from, SnReal *to, int64_t t, int64_t b) {
    const int H = SN_RECURRENT_H, early = SN_RECURRENT_LATE ? 3 * H : 2 * H;
    sn_recurrent_products(context, sum, rows, from, SN_RECURRENT_WIDTH, 0, early);
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < 2 * H; c++) sum[r][c] += sn_recurrent_x_s(context, t, b + r, c);
        SN_RECURRENT_EACH(SN_RECURRENT_GATE, sum[r], 2 * H);
        SnReal *reset = to + r * H;
        for (int j = 0; j < H; j++) reset[j] = sum[r][H + j] * from[r * H + j];
    }
    if (!SN_RECURRENT_LATE) sn_recurrent_products(context, sum, rows, to, SN_RECURRENT_WIDTH, 2 * H, 3 * H);
    for (int r = 0; r < rows; r++) {
        SnReal *update = sum[r], *reset = sum[r] + H, *candidate = sum[r] + 2 * H;
        for (int j = 0; j < H; j++) {
            if (SN_RECURRENT_LATE) candidate[j] *= reset[j];
            candidate[j] += sn_recurrent_x_s(context, t, b + r, 2 * H + j);
        }
        SN_RECURRENT_EACH(SN_RECURRENT_CANDIDATE, candidate, H);
        for (int j = 0; j < H; j++)
            to[r * H + j] = candidate[j] + update[j] * (from[r * H + j] - candidate[j]);
    }
}
#else
static void sn_recurrent_step(const SnContext *context, SnReal (*sum)[SN_RECURRENT_COLUMNS], int rows,
                              const SnReal *from, SnReal *to, int64_t t, int64_t b) {
    const int H = SN_RECURRENT_H;
    sn_recurrent_products(context, sum, rows, from, SN_RECURRENT_WIDTH, 0, SN_RECURRENT_COLUMNS);
    for (int r = 0; r < rows; r++, from += SN_RECURRENT_WIDTH, to += SN_RECURRENT_WIDTH) {
        SnReal *input = sum[r], *output = sum[r] + H, *forget = sum[r] + 2 * H, *candidate = sum[r] + 3 * H;
        for (int c = 0; c < 4 * H; c++) sum[r][c] += sn_recurrent_x_s(context, t, b + r, c);
        for (int j = 0; j < H && SN_RECURRENT_PEEP; j++) {
            input[j] += sn_recurrent_peep_s(context, j) * from[H + j];
            forget[j] += sn_recurrent_peep_s(context, 2 * H + j) * from[H + j];
        }
        SN_RECURRENT_EACH(SN_RECURRENT_GATE, input, H);
        SN_RECURRENT_EACH(SN_RECURRENT_GATE, forget, H);
        SN_RECURRENT_EACH(SN_RECURRENT_CANDIDATE, candidate, H);
        for (int j = 0; j < H; j++) {
            to[j] = to[H + j] = forget[j] * from[H + j] + input[j] * candidate[j];
            if (SN_RECURRENT_PEEP) output[j] += sn_recurrent_peep_s(context, H + j) * to[H + j];
        }
        SN_RECURRENT_EACH(SN_RECURRENT_GATE, output, H);
        SN_RECURRENT_EACH(SN_RECURRENT_OUTPUT, to, H);
        for (int j = 0; j < H; j++) to[j] *= output[j];
    }
}
#endif

/* Beyond a sequence's length its state stays. */
SN_INLINE void sn_recurrent_hold(const SnContext *context, const SnReal *from, SnReal *to, int rows,
                                 int64_t t, int64_t b) {
    for (int r = 0; r < rows && SN_RECURRENT_LENGTH; r++)
        if (t >= sn_recurrent_length_s(context, b + r))
            for (int c = 0; c < SN_RECURRENT_WIDTH; c++)
                to[r * SN_RECURRENT_WIDTH + c] = from[r * SN_RECURRENT_WIDTH + c];
}

static void sn_recurrent_item(const SnContext *context, SnReal *out, int64_t steps, int64_t batch,
                              int64_t b) {
    SnReal sum[SN_RECURRENT_ROWS][SN_RECURRENT_COLUMNS];
    const int rows = batch - b < SN_RECURRENT_ROWS ? (int)(batch - b) : SN_RECURRENT_ROWS;
    const int64_t row = batch * SN_RECURRENT_WIDTH;
    out += b * SN_RECURRENT_WIDTH;
    SnReal *first = SN_RECURRENT_REVERSE ? out + steps * row : out;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < SN_RECURRENT_WIDTH; c++)
            first[r * SN_RECURRENT_WIDTH + c] = sn_recurrent_state_s(context, b + r, c);
    for (int64_t i = 0; i < steps; i++) {
        const int64_t t = SN_RECURRENT_REVERSE ? steps - 1 - i : i;
        const SnReal *from = out + (SN_RECURRENT_REVERSE ? t + 1 : t) * row;
        SnReal *to = out + (SN_RECURRENT_REVERSE ? t : t + 1) * row;
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < SN_RECURRENT_COLUMNS; c++) sum[r][c] = sn_recurrent_bias_s(context, c);
        sn_recurrent_step(context, sum, rows, from, to, t, b);
        sn_recurrent_hold(context, from, to, rows, t, b);
    }
}

static void sn_recurrent_run(const SnContext *context, SnReal *out, int64_t steps, int64_t batch,
                             int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; item++)
        sn_recurrent_item(context, out, steps, batch, item * SN_RECURRENT_ROWS);
}

#endif

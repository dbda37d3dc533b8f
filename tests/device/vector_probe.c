/* Every one-argument f32 function over an array in three ways: whole vectors, partial vectors, scalars. */
#include "vector.h"

#include "vector_narrow.h"

#include "vector_memory.h"

#include "vector_exp.h"

#include "vector_math.h"

#include "vector_libm.h"

#include "vector_integer.h"

#include "memory.h"

#include "transpose.h"

#define PROBE(NAME)                                                                                          \
    void probe_##NAME(const float *x, float *v, float *p, float *s, int64_t count);                          \
    void probe_##NAME(const float *x, float *v, float *p, float *s, int64_t count) {                         \
        for (int64_t i = 0; i < count; i += SN_LANES) {                                                      \
            sn_store_f32_v(v + i, sn_##NAME##_f32_v(sn_load_f32_v(x + i)));                                  \
            for (int64_t j = 0; j < SN_LANES; j += 3) {                                                      \
                int64_t n = SN_LANES - j < 3 ? SN_LANES - j : 3;                                             \
                sn_store_f32_p(p + i + j, sn_##NAME##_f32_v(sn_load_f32_p(x + i + j, n)), n);                \
            }                                                                                                \
            for (int64_t j = 0; j < SN_LANES; j++)                                                           \
                sn_store_f32_s(s + i + j, sn_##NAME##_f32_s(sn_load_f32_s(x + i + j)));                      \
        }                                                                                                    \
    }
SN_OWN(PROBE)
PROBE(tan)
PROBE(log1p)

void probe_pow(const float *x, const float *y, float *v, float *s, int64_t count);
void probe_pow(const float *x, const float *y, float *v, float *s, int64_t count) {
    for (int64_t i = 0; i < count; i += SN_LANES) {
        sn_store_f32_v(v + i, sn_pow_f32_v(sn_load_f32_v(x + i), sn_load_f32_v(y + i)));
        for (int64_t j = 0; j < SN_LANES; j++) s[i + j] = sn_pow_f32_s(x[i + j], y[i + j]);
    }
}

/* 16-bit floats there and back; `kind` 0 is f16, 1 bf16. */
void probe_narrow(const float *x, uint16_t *v, uint16_t *s, int64_t count, int kind);
void probe_narrow(const float *x, uint16_t *v, uint16_t *s, int64_t count, int kind) {
    for (int64_t i = 0; i < count; i += SN_LANES) {
        if (kind)
            sn_store_bf16_v(v + i, sn_load_f32_v(x + i));
        else
            sn_store_f16_v(v + i, sn_load_f32_v(x + i));
        for (int64_t j = 0; j < SN_LANES; j++)
            s[i + j] = kind ? sn_to_bf16_s(x[i + j]) : sn_to_f16_s(x[i + j]);
    }
}

/* The same two vectors at a time, past the caches or not, by turns. */
void probe_narrow_two(const float *x, uint16_t *v, int64_t count, int kind);
void probe_narrow_two(const float *x, uint16_t *v, int64_t count, int kind) {
    for (int64_t i = 0; i < count; i += 2 * SN_LANES) {
        const vf32 low = sn_load_f32_v(x + i), high = sn_load_f32_v(x + i + SN_LANES);
        const uintptr_t past = i & (2 * SN_LANES) ? UINTPTR_MAX : 0;
        if (kind)
            sn_stream_bf16_w(v + i, low, high, past);
        else
            sn_stream_f16_w(v + i, low, high, past);
    }
    sn_stream_end();
}
void probe_widen(const uint16_t *x, float *v, float *s, int64_t count, int kind);
void probe_widen(const uint16_t *x, float *v, float *s, int64_t count, int kind) {
    for (int64_t i = 0; i < count; i += SN_LANES) {
        sn_store_f32_v(v + i, kind ? sn_load_bf16_v(x + i) : sn_load_f16_v(x + i));
        for (int64_t j = 0; j < SN_LANES; j++)
            s[i + j] = kind ? sn_load_bf16_s(x + i + j) : sn_load_f16_s(x + i + j);
    }
}

/* The number of lanes of integer functions whose forms disagree, or that miss C's own results. */
#define CHECK(TYPE, C, V)                                                                                    \
    do {                                                                                                     \
        static const C sample[] = {0,                                                                        \
                                   1,                                                                        \
                                   2,                                                                        \
                                   3,                                                                        \
                                   7,                                                                        \
                                   100,                                                                      \
                                   (C)-1,                                                                    \
                                   (C)-2,                                                                    \
                                   (C)-7,                                                                    \
                                   (C)((C)1 << (sizeof(C) * 8 - 1)),                                         \
                                   (C)(((C)1 << (sizeof(C) * 8 - 2)) - 1 + ((C)1 << (sizeof(C) * 8 - 2)))};  \
        for (unsigned i = 0; i < sizeof sample / sizeof *sample; i++)                                        \
            for (unsigned j = 0; j < sizeof sample / sizeof *sample; j++) {                                  \
                C a = sample[i], b = sample[j];                                                              \
                V x = sn_splat_##TYPE(a), y = sn_splat_##TYPE(b);                                            \
                bad += sn_div_##TYPE##_v(x, y)[1] != sn_div_##TYPE##_s(a, b);                                \
                bad += sn_mod_##TYPE##_v(x, y)[2] != sn_mod_##TYPE##_s(a, b);                                \
                bad += sn_floordiv_##TYPE##_v(x, y)[3] != sn_floordiv_##TYPE##_s(a, b);                      \
                bad += sn_max_##TYPE##_v(x, y)[0] != (a > b ? a : b);                                        \
                bad += sn_min_##TYPE##_v(x, y)[0] != (a < b ? a : b);                                        \
                bad += sn_abs_##TYPE##_v(x)[1] != sn_abs_##TYPE##_s(a);                                      \
                bad += sn_sign_##TYPE##_v(x)[1] != sn_sign_##TYPE##_s(a);                                    \
                bad += sn_cvt_##TYPE##_f32_v(x)[1] != (float)a;                                              \
                bad += sn_lt_##TYPE##_v(x, y)[1] != -(a < b);                                                \
                bad += sn_div_fault_##TYPE##_v(x, y)[1] != sn_div_fault_##TYPE##_s(a, b);                    \
                if (sn_div_fault_##TYPE##_s(a, b)) continue;                                                 \
                bad += sn_div_##TYPE##_s(a, b) != a / b;                                                     \
                bad += sn_floordiv_##TYPE##_s(a, b) * b + sn_mod_##TYPE##_s(a, b) != a;                      \
                bad += sn_mod_##TYPE##_s(a, b) != 0 && (sn_mod_##TYPE##_s(a, b) > 0) != (b > 0);             \
            }                                                                                                \
    } while (0)
/* How many lanes are wrong of numbers of both signs that wrap to narrow types, beside C's own conversions. */
#define WRAP(TYPE, T)                                                                                        \
    for (int lane = 0; lane < SN_LANES; lane++)                                                              \
        bad += sn_wrap_##TYPE##_v(wide)[lane] != (int32_t)(T)wide[lane];

static int64_t wraps(void) {
    int64_t bad = 0;
    for (int32_t first = -70000; first < 70000; first += 77) {
        const vi32 wide = first + sn_iota_i32() * 5;
        WRAP(i8, int8_t)
        WRAP(u8, uint8_t)
        WRAP(i16, int16_t)
        WRAP(u16, uint16_t)
    }
    return bad;
}

int64_t probe_integers(void);
int64_t probe_integers(void) {
    int64_t bad = 0;
    CHECK(i32, int32_t, vi32);
    CHECK(i64, int64_t, vi64);
    CHECK(u32, uint32_t, vu32);
    CHECK(u64, uint64_t, vu64);
    return bad + wraps();
}

/* Partial and strided accesses of each storage type: loads n elements, stores them, and nothing else. */
#define MOVE(TYPE, T)                                                                                        \
    void move_##TYPE(const T *from, T *to, int64_t n, int64_t stride);                                       \
    void move_##TYPE(const T *from, T *to, int64_t n, int64_t stride) {                                      \
        if (stride)                                                                                          \
            sn_store_##TYPE##_x(to, sn_load_##TYPE##_x(from, stride), stride);                               \
        else                                                                                                 \
            sn_store_##TYPE##_p(to, sn_load_##TYPE##_p(from, n), n);                                         \
    }
MOVE(f32, float)
MOVE(f64, double)
MOVE(i8, int8_t)
MOVE(bool, uint8_t)
MOVE(u16, uint16_t)
MOVE(i64, int64_t)

/* How many lanes are wrong of all loads of the lanes that a mask names. */
#define LIVE(TYPE, T, VALUE)                                                                                 \
    static int64_t live_##TYPE(void) {                                                                       \
        T from[SN_LANES], to[SN_LANES];                                                                      \
        int64_t wrong = 0;                                                                                   \
        for (int i = 0; i < SN_LANES; i++) from[i] = (T)(VALUE);                                             \
        for (uint32_t bits = 0; bits < 1u << SN_LANES; bits++) {                                             \
            vi32 live;                                                                                       \
            for (int i = 0; i < SN_LANES; i++) live[i] = -(int32_t)(bits >> i & 1);                          \
            sn_store_##TYPE##_v(to, sn_load_##TYPE##_m(from, live));                                         \
            for (int i = 0; i < SN_LANES; i++) wrong += to[i] != (bits >> i & 1 ? from[i] : 0);              \
        }                                                                                                    \
        return wrong;                                                                                        \
    }
LIVE(f32, float, i + 1)
LIVE(f64, double, i + 1)
LIVE(i8, int8_t, i + 1)
LIVE(bool, uint8_t, 1)
LIVE(u16, uint16_t, i + 1)
LIVE(i64, int64_t, i + 1)
int64_t probe_live(void);
int64_t probe_live(void) {
    return live_f32() + live_f64() + live_i8() + live_bool() + live_u16() + live_i64();
}

/* sums[0..3]: sum, product, greatest, least of the lanes. */
int lanes(void);
int lanes(void) {
    return SN_LANES;
}
void probe_folds(const float *x, float *folds);
void probe_folds(const float *x, float *folds) {
    vf32 v = sn_load_f32_v(x);
    folds[0] = sn_sum_f32(v);
    folds[1] = sn_prod_f32(v);
    folds[2] = sn_max_f32(v);
    folds[3] = sn_min_f32(v);
}
/* From NaN-ridden pairs: greatest and least in both forms, 4 floats a pair. */
void probe_extremes(float a, float b, float *out);
void probe_extremes(float a, float b, float *out) {
    out[0] = sn_max_f32_v(sn_splat_f32(a), sn_splat_f32(b))[1];
    out[1] = sn_max_f32_s(a, b);
    out[2] = sn_min_f32_v(sn_splat_f32(a), sn_splat_f32(b))[1];
    out[3] = sn_min_f32_s(a, b);
}

/* How many elements of transposed squares, or of parts of them, are wrong. */
#define PROBE_SQUARES(NAME, T, C)                                                                            \
    static int64_t squares_##NAME(int64_t count, int64_t m) {                                                \
        enum { STRIDE = 29, WIDTH = 48 };                                                                    \
        static T from[STRIDE * WIDTH + 1];                                                                   \
        static C to[SN_LANES * WIDTH];                                                                       \
        int64_t wrong = 0;                                                                                   \
        for (int i = 0; i < STRIDE * WIDTH; i++) from[i + 1] = (T)(0x3c00 + i);                              \
        sn_squares_##NAME(from + 1, STRIDE, count, m, to, WIDTH);                                            \
        for (int64_t j = 0; j < m; j++)                                                                      \
            for (int64_t k = 0; k < count; k++)                                                              \
                wrong += to[j * WIDTH + k] != sn_load_##NAME##_s(from + 1 + k * STRIDE + j);                 \
        return wrong;                                                                                        \
    }
PROBE_SQUARES(f32, float, float)
PROBE_SQUARES(i32, int32_t, int32_t)
PROBE_SQUARES(f16, uint16_t, float)
PROBE_SQUARES(bf16, uint16_t, float)
int64_t probe_squares(void);
int64_t probe_squares(void) {
    int64_t wrong = 0;
    for (int64_t count = 1; count <= 2 * SN_LANES; count++)
        for (int64_t m = 1; m <= SN_LANES; m++)
            wrong += squares_f32(count, m) + squares_i32(count, m) + squares_f16(count, m) +
                     squares_bf16(count, m);
    return wrong;
}

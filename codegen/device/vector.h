/* Vectors of the C dialect: types, masks, conversions, horizontal reductions; and what the names of all its parts mean.
 *
 * Contract for the code generator. A kernel's text is, in this order:
 *   1. #define SN_VECTOR_BYTES 64, 32 or 16 (when absent: what the compiler's flags allow);
 *   2. the text of vector.h, vector_narrow.h and vector_memory.h, then vector_exp.h with vector_math.h and vector_libm.h, and
 *      vector_integer.h, when their functions are used, then the #defines of a template and its text (gemm.h, attention.h);
 *   3. `struct SnContext { ... };` with whatever the holes read (buffers, symbols, int *fault);
 *   4. the hole functions and the entry `int k(void *const *, const int64_t *, int64_t, int64_t)`.
 * Flags: gcc or clang -std=gnu11 -O3 -march=native -fwrapv -fno-math-errno -ffp-contract=fast
 * -fno-trapping-math -fno-strict-aliasing -Wno-psabi (and -lm when f64 maths or the rarer f32 functions are
 * used).
 *
 * Lanes: every vector has SN_LANES = SN_VECTOR_BYTES / 4 lanes, whatever its element.
 * Compute types: f32 vf32/float, f64 vf64/double, i32 vi32/int32_t, u32 vu32/uint32_t, i64 vi64/int64_t,
 * u64 vu64/uint64_t, and truth values `mask`: vi32/int32_t, each lane 0 or -1, in scalar form too, so that
 * & | ^ ~ are the logical operators of both forms. The arithmetic operators work on both forms as well.
 * Storage types: the compute types and f16, bf16 (compute as f32), i8, u8, i16, u16 (compute as i32; the
 * store wraps, sn_wrap_T_v wraps in between), bool (one byte 0 or 1, computes as mask).
 *
 * Names are sn_VERB_TYPE_FORM; TYPE is as above, FORM is one of
 *   v  a whole vector        s  one scalar, with the same bits as the lane of v
 *   p  the first n lanes (0 <= n <= SN_LANES): touches no other memory, other lanes load as zero
 *   x  a vector whose lanes are `stride` elements apart
 *   w  two whole vectors of 16-bit floats, one behind the other
 *   m  the lanes whose truth value is -1: touches no other memory, other lanes load as zero
 * sn_load_T_{v,p,x,m,s}(pointer [, n, stride or mask]), sn_store_T_{v,p,x,s}(pointer, value [, n or stride]),
 * sn_gather_T_v(pointer, vi64 element_offsets), sn_splat_C(x), sn_iota_i32(), sn_iota_i64(),
 * sn_select_C_{v,s}(mask, yes, no), sn_{eq,ne,lt,le,gt,ge}_C_{v,s}(a, b), sn_cvt_FROM_TO_{v,s}(x) between
 * compute types, sn_any(mask), sn_all(mask), and sn_{sum,prod,max,min}_C(vector), a fixed tree.
 * Tails equal bodies when they use form p with the v functions, or form s. */
#ifndef SN_DEVICE_VECTOR_H
#define SN_DEVICE_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#ifndef SN_VECTOR_BYTES
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define SN_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define SN_VECTOR_BYTES 32
#else
#define SN_VECTOR_BYTES 16
#endif
#endif

#define SN_LANES  (SN_VECTOR_BYTES / 4)
#define SN_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define SN_OUTLINE static __attribute__((noinline, unused))
#else
#define SN_OUTLINE                                                                                           \
    static __attribute__((noinline, noclone, unused)) /* a copy per caller would cost time to compile */
#endif

/* Lists over the lanes, and rotations by a power of two, for each number of lanes. */
#define SN_ROTATE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#if SN_LANES == 16
#define SN_LIST(F, ...)                                                                                      \
    F(0, __VA_ARGS__), F(1, __VA_ARGS__), F(2, __VA_ARGS__), F(3, __VA_ARGS__), F(4, __VA_ARGS__),           \
        F(5, __VA_ARGS__), F(6, __VA_ARGS__), F(7, __VA_ARGS__), F(8, __VA_ARGS__), F(9, __VA_ARGS__),       \
        F(10, __VA_ARGS__), F(11, __VA_ARGS__), F(12, __VA_ARGS__), F(13, __VA_ARGS__), F(14, __VA_ARGS__),  \
        F(15, __VA_ARGS__)
#define SN_ROTATE_8(v) SN_ROTATE(v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define SN_ROTATE_4(v) SN_ROTATE(v, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
#define SN_ROTATE_2(v) SN_ROTATE(v, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1)
#define SN_ROTATE_1(v) SN_ROTATE(v, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0)
#elif SN_LANES == 8
#define SN_LIST(F, ...)                                                                                      \
    F(0, __VA_ARGS__), F(1, __VA_ARGS__), F(2, __VA_ARGS__), F(3, __VA_ARGS__), F(4, __VA_ARGS__),           \
        F(5, __VA_ARGS__), F(6, __VA_ARGS__), F(7, __VA_ARGS__)
#define SN_ROTATE_4(v) SN_ROTATE(v, 4, 5, 6, 7, 0, 1, 2, 3)
#define SN_ROTATE_2(v) SN_ROTATE(v, 2, 3, 4, 5, 6, 7, 0, 1)
#define SN_ROTATE_1(v) SN_ROTATE(v, 1, 2, 3, 4, 5, 6, 7, 0)
#elif SN_LANES == 4
#define SN_LIST(F, ...) F(0, __VA_ARGS__), F(1, __VA_ARGS__), F(2, __VA_ARGS__), F(3, __VA_ARGS__)
#define SN_ROTATE_2(v)  SN_ROTATE(v, 2, 3, 0, 1)
#define SN_ROTATE_1(v)  SN_ROTATE(v, 1, 2, 3, 0)
#else
#error "SN_VECTOR_BYTES must be 16, 32 or 64"
#endif

typedef float vf32 __attribute__((vector_size(SN_VECTOR_BYTES)));
typedef int32_t vi32 __attribute__((vector_size(SN_VECTOR_BYTES)));
typedef uint32_t vu32 __attribute__((vector_size(SN_VECTOR_BYTES)));
typedef double vf64 __attribute__((vector_size(2 * SN_VECTOR_BYTES)));
typedef int64_t vi64 __attribute__((vector_size(2 * SN_VECTOR_BYTES)));
typedef uint64_t vu64 __attribute__((vector_size(2 * SN_VECTOR_BYTES)));
typedef int16_t vi16 __attribute__((vector_size(SN_VECTOR_BYTES / 2)));
typedef uint16_t vu16 __attribute__((vector_size(SN_VECTOR_BYTES / 2)));
typedef int8_t vi8 __attribute__((vector_size(SN_VECTOR_BYTES / 4)));
typedef uint8_t vu8 __attribute__((vector_size(SN_VECTOR_BYTES / 4)));

typedef struct SnContext SnContext;

#define SN_SAME(i, x)    (x)
#define SN_INDEX(i, x)   (i)
#define SN_CONVERT(x, T) __builtin_convertvector(x, T)

SN_INLINE vf32 sn_splat_f32(float x) {
    return (vf32){SN_LIST(SN_SAME, x)};
}
SN_INLINE vi32 sn_splat_i32(int32_t x) {
    return (vi32){SN_LIST(SN_SAME, x)};
}
SN_INLINE vi32 sn_splat_mask(int32_t x) {
    return sn_splat_i32(x);
}
SN_INLINE vu32 sn_splat_u32(uint32_t x) {
    return (vu32){SN_LIST(SN_SAME, x)};
}
SN_INLINE vf64 sn_splat_f64(double x) {
    return (vf64){SN_LIST(SN_SAME, x)};
}
SN_INLINE vi64 sn_splat_i64(int64_t x) {
    return (vi64){SN_LIST(SN_SAME, x)};
}
SN_INLINE vu64 sn_splat_u64(uint64_t x) {
    return (vu64){SN_LIST(SN_SAME, x)};
}
SN_INLINE vi32 sn_iota_i32(void) {
    return (vi32){SN_LIST(SN_INDEX, 0)};
}
SN_INLINE vi64 sn_iota_i64(void) {
    return (vi64){SN_LIST(SN_INDEX, 0)};
}

/* Masks and selection. 64-bit comparisons are narrowed, so that every mask is a vi32. */
SN_INLINE vi32 sn_as_mask32(vi32 m) {
    return m;
}
SN_INLINE vi32 sn_as_mask64(vi64 m) {
    return SN_CONVERT(m, vi32);
}
SN_INLINE vi32 sn_widen_mask32(vi32 m) {
    return m;
}
SN_INLINE vi64 sn_widen_mask64(vi32 m) {
    return SN_CONVERT(m, vi64);
}

#define SN_COMPARE(NAME, OP, TYPE, C, V, BITS)                                                               \
    SN_INLINE vi32 sn_##NAME##_##TYPE##_v(V a, V b) {                                                        \
        return sn_as_mask##BITS(a OP b);                                                                     \
    }                                                                                                        \
    SN_INLINE int32_t sn_##NAME##_##TYPE##_s(C a, C b) {                                                     \
        return -(a OP b);                                                                                    \
    }
#define SN_MASKING(TYPE, C, V, I, BITS)                                                                      \
    SN_COMPARE(eq, ==, TYPE, C, V, BITS)                                                                     \
    SN_COMPARE(ne, !=, TYPE, C, V, BITS)                                                                     \
    SN_COMPARE(lt, <, TYPE, C, V, BITS)                                                                      \
    SN_COMPARE(le, <=, TYPE, C, V, BITS)                                                                     \
    SN_COMPARE(gt, >, TYPE, C, V, BITS)                                                                      \
    SN_COMPARE(ge, >=, TYPE, C, V, BITS)                                                                     \
    SN_INLINE V sn_select_##TYPE##_v(vi32 m, V yes, V no) {                                                  \
        I wide = sn_widen_mask##BITS(m);                                                                     \
        return (V)((wide & (I)yes) | (~wide & (I)no));                                                       \
    }                                                                                                        \
    SN_INLINE C sn_select_##TYPE##_s(int32_t m, C yes, C no) {                                               \
        return m ? yes : no;                                                                                 \
    }
SN_MASKING(f32, float, vf32, vi32, 32)
SN_MASKING(i32, int32_t, vi32, vi32, 32)
SN_MASKING(u32, uint32_t, vu32, vi32, 32)
SN_MASKING(mask, int32_t, vi32, vi32, 32)
SN_MASKING(f64, double, vf64, vi64, 64)
SN_MASKING(i64, int64_t, vi64, vi64, 64)
SN_MASKING(u64, uint64_t, vu64, vi64, 64)

/* Conversions between compute types. Out of range and NaN to integer give what the machine gives, the same in
 * both forms; whether that is a fault is the generator's affair. */
#define SN_CVT(FROM, FC, FV, TO, TC, TV)                                                                     \
    SN_INLINE TV sn_cvt_##FROM##_##TO##_v(FV x) {                                                            \
        return SN_CONVERT(x, TV);                                                                            \
    }                                                                                                        \
    SN_INLINE TC sn_cvt_##FROM##_##TO##_s(FC x) {                                                            \
        return sn_cvt_##FROM##_##TO##_v(sn_splat_##FROM(x))[0];                                              \
    }
#define SN_CVT_FROM(FROM, FC, FV)                                                                            \
    SN_CVT(FROM, FC, FV, f32, float, vf32)                                                                   \
    SN_CVT(FROM, FC, FV, f64, double, vf64)                                                                  \
    SN_CVT(FROM, FC, FV, i32, int32_t, vi32)                                                                 \
    SN_CVT(FROM, FC, FV, u32, uint32_t, vu32)                                                                \
    SN_CVT(FROM, FC, FV, i64, int64_t, vi64)                                                                 \
    SN_CVT(FROM, FC, FV, u64, uint64_t, vu64)                                                                \
    SN_INLINE vi32 sn_cvt_##FROM##_mask_v(FV x) {                                                            \
        return sn_ne_##FROM##_v(x, (FV){0});                                                                 \
    }                                                                                                        \
    SN_INLINE int32_t sn_cvt_##FROM##_mask_s(FC x) {                                                         \
        return -(x != 0);                                                                                    \
    }
#define SN_CVT_MASK(TO, TC, TV)                                                                              \
    SN_INLINE TV sn_cvt_mask_##TO##_v(vi32 x) {                                                              \
        return SN_CONVERT(-x, TV);                                                                           \
    }                                                                                                        \
    SN_INLINE TC sn_cvt_mask_##TO##_s(int32_t x) {                                                           \
        return (TC)-x;                                                                                       \
    }
SN_CVT_FROM(f32, float, vf32)
SN_CVT_FROM(f64, double, vf64)
SN_CVT_FROM(i32, int32_t, vi32)
SN_CVT_FROM(u32, uint32_t, vu32)
SN_CVT_FROM(i64, int64_t, vi64)
SN_CVT_FROM(u64, uint64_t, vu64)
SN_CVT_MASK(f32, float, vf32)
SN_CVT_MASK(f64, double, vf64)
SN_CVT_MASK(i32, int32_t, vi32)
SN_CVT_MASK(u32, uint32_t, vu32)
SN_CVT_MASK(i64, int64_t, vi64)
SN_CVT_MASK(u64, uint64_t, vu64)

/* Largest and smallest as ONNX and numpy have them: a NaN in either operand is the result; of equal ones the
 * second. */
#define SN_EXTREMES_V(TYPE, V)                                                                               \
    SN_INLINE V sn_max_##TYPE##_v(V a, V b) {                                                                \
        return sn_select_##TYPE##_v(sn_gt_##TYPE##_v(a, b) | sn_ne_##TYPE##_v(a, a), a, b);                  \
    }                                                                                                        \
    SN_INLINE V sn_min_##TYPE##_v(V a, V b) {                                                                \
        return sn_select_##TYPE##_v(sn_lt_##TYPE##_v(a, b) | sn_ne_##TYPE##_v(a, a), a, b);                  \
    }
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__) && !defined(__clang__)
/* The machine's give the second operand where either is NaN; lanes where the first is NaN keep it. */
SN_INLINE vf32 sn_max_f32_v(vf32 a, vf32 b) {
    return __builtin_ia32_maxps512_mask(a, b, a,
                                        (uint16_t)__builtin_ia32_cmpps512_mask(a, a, 7, (uint16_t)-1, 4), 4);
}
SN_INLINE vf32 sn_min_f32_v(vf32 a, vf32 b) {
    return __builtin_ia32_minps512_mask(a, b, a,
                                        (uint16_t)__builtin_ia32_cmpps512_mask(a, a, 7, (uint16_t)-1, 4), 4);
}
#else
SN_EXTREMES_V(f32, vf32)
#endif
SN_EXTREMES_V(f64, vf64)
SN_EXTREMES_V(i32, vi32)
SN_EXTREMES_V(u32, vu32)
SN_EXTREMES_V(i64, vi64)
SN_EXTREMES_V(u64, vu64)
#define SN_EXTREMES(TYPE, C, V)                                                                              \
    SN_INLINE C sn_max_##TYPE##_s(C a, C b) {                                                                \
        return sn_max_##TYPE##_v((V){a}, (V){b})[0];                                                         \
    }                                                                                                        \
    SN_INLINE C sn_min_##TYPE##_s(C a, C b) {                                                                \
        return sn_min_##TYPE##_v((V){a}, (V){b})[0];                                                         \
    }                                                                                                        \
    SN_INLINE V sn_add_##TYPE##_v(V a, V b) {                                                                \
        return a + b;                                                                                        \
    }                                                                                                        \
    SN_INLINE V sn_mul_##TYPE##_v(V a, V b) {                                                                \
        return a * b;                                                                                        \
    }

#if SN_LANES == 16
#define SN_FOLD_8(x, OP) x = OP(x, SN_ROTATE_8(x));
#else
#define SN_FOLD_8(x, OP)
#endif
#if SN_LANES >= 8
#define SN_FOLD_4(x, OP) x = OP(x, SN_ROTATE_4(x));
#else
#define SN_FOLD_4(x, OP)
#endif
#define SN_FOLD(NAME, OP, TYPE, C, V)                                                                        \
    SN_INLINE C sn_##NAME##_##TYPE(V x) {                                                                    \
        SN_FOLD_8(x, OP)                                                                                     \
        SN_FOLD_4(x, OP)                                                                                     \
        x = OP(x, SN_ROTATE_2(x));                                                                           \
        x = OP(x, SN_ROTATE_1(x));                                                                           \
        return x[0];                                                                                         \
    }
#define SN_FOLDS(TYPE, C, V)                                                                                 \
    SN_EXTREMES(TYPE, C, V)                                                                                  \
    SN_FOLD(sum, sn_add_##TYPE##_v, TYPE, C, V)                                                              \
    SN_FOLD(prod, sn_mul_##TYPE##_v, TYPE, C, V)                                                             \
    SN_FOLD(max, sn_max_##TYPE##_v, TYPE, C, V)                                                              \
    SN_FOLD(min, sn_min_##TYPE##_v, TYPE, C, V)
SN_FOLDS(f32, float, vf32)
SN_FOLDS(f64, double, vf64)
SN_FOLDS(i32, int32_t, vi32)
SN_FOLDS(u32, uint32_t, vu32)
SN_FOLDS(i64, int64_t, vi64)
SN_FOLDS(u64, uint64_t, vu64)

/* Whether any lane is -1: the signs as bits, where an instruction has these, since a fold takes twenty. */
SN_INLINE int sn_any(vi32 m) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512DQ__)
    typedef int Words __attribute__((vector_size(64)));
    return __builtin_ia32_cvtd2mask512((Words)m) != 0;
#else
    return sn_min_i32(m) != 0;
#endif
}
SN_INLINE int sn_all(vi32 m) {
    return !sn_any(~m);
}

#endif

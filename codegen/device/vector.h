/* Vectors of the C dialect: types, loads and stores, conversions, masks, horizontal reductions.
 *
 * Contract for the code generator. A kernel's text is, in this order:
 *   1. #define SN_VECTOR_BYTES 64, 32 or 16 (when absent: what the compiler's flags allow);
 *   2. the text of vector.h, then vector_exp.h with vector_math.h and vector_integer.h when their functions are used,
 *      then the #defines of a template and its text (gemm.h, attention.h);
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
 * sn_load_T_{v,p,x,s}(pointer [, n or stride]), sn_store_T_{v,p,x,s}(pointer, value [, n or stride]),
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

#define SN_SAME(i, x)         (x)
#define SN_INDEX(i, x)        (i)
#define SN_STEP(i, p, stride) (p)[(i) * (stride)]
#define SN_PICK(i, p, index)  (p)[(index)[i]]
#define SN_CONVERT(x, T)      __builtin_convertvector(x, T)

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

/* Partial vectors: the first n elements of SIZE bytes each, the others of `to` left alone or zero. Masked
 * instructions where there are some; otherwise by the binary digits of the n * SIZE < 256 bytes, since a call
 * to memcpy would cost more than the copy. */
#if SN_VECTOR_BYTES == 64 && defined(__AVX512BW__) && defined(__AVX512VL__)
typedef long long SnWide __attribute__((vector_size(64)));
typedef char SnBytes __attribute__((vector_size(16)));
typedef short SnHalves __attribute__((vector_size(32)));
typedef int SnWords __attribute__((vector_size(64)));
SN_INLINE void sn_load_part(void *to, const void *from, int64_t n, int size) {
    const uint32_t mask = (1u << n) - 1;
    if (size == 1) {
        SnBytes x = __builtin_ia32_loaddquqi128_mask(from, (SnBytes){0}, (uint16_t)mask);
        __builtin_memcpy(to, &x, sizeof x);
    } else if (size == 2) {
        SnHalves x = __builtin_ia32_loaddquhi256_mask(from, (SnHalves){0}, (uint16_t)mask);
        __builtin_memcpy(to, &x, sizeof x);
    } else if (size == 4) {
        SnWords x = __builtin_ia32_loaddqusi512_mask(from, (SnWords){0}, (uint16_t)mask);
        __builtin_memcpy(to, &x, sizeof x);
    } else {
        const long long *f = from;
        SnWide low = __builtin_ia32_loaddqudi512_mask(f, (SnWide){0}, (uint8_t)mask);
        SnWide high = __builtin_ia32_loaddqudi512_mask(f + 8, (SnWide){0}, (uint8_t)(mask >> 8));
        __builtin_memcpy(to, &low, sizeof low);
        __builtin_memcpy((char *)to + 64, &high, sizeof high);
    }
}
SN_INLINE void sn_store_part(void *to, const void *from, int64_t n, int size) {
    const uint32_t mask = (1u << n) - 1;
    if (size == 1) {
        SnBytes x;
        __builtin_memcpy(&x, from, sizeof x);
        __builtin_ia32_storedquqi128_mask(to, x, (uint16_t)mask);
    } else if (size == 2) {
        SnHalves x;
        __builtin_memcpy(&x, from, sizeof x);
        __builtin_ia32_storedquhi256_mask(to, x, (uint16_t)mask);
    } else if (size == 4) {
        SnWords x;
        __builtin_memcpy(&x, from, sizeof x);
        __builtin_ia32_storedqusi512_mask(to, x, (uint16_t)mask);
    } else {
        SnWide low, high;
        __builtin_memcpy(&low, from, sizeof low);
        __builtin_memcpy(&high, (const char *)from + 64, sizeof high);
        __builtin_ia32_storedqudi512_mask((long long *)to, low, (uint8_t)mask);
        __builtin_ia32_storedqudi512_mask((long long *)to + 8, high, (uint8_t)(mask >> 8));
    }
}
#else
SN_OUTLINE void sn_copy_bytes(void *to, const void *from, int64_t n) {
    char *t = to;
    const char *f = from;
#define SN_COPY_BIT(B)                                                                                       \
    if (n & (B)) {                                                                                           \
        __builtin_memcpy(t, f, B);                                                                           \
        t += (B);                                                                                            \
        f += (B);                                                                                            \
    }
    SN_COPY_BIT(128)
    SN_COPY_BIT(64)
    SN_COPY_BIT(32) SN_COPY_BIT(16) SN_COPY_BIT(8) SN_COPY_BIT(4) SN_COPY_BIT(2) SN_COPY_BIT(1)
#undef SN_COPY_BIT
}
SN_INLINE void sn_load_part(void *to, const void *from, int64_t n, int size) {
    sn_copy_bytes(to, from, n * size);
}
SN_INLINE void sn_store_part(void *to, const void *from, int64_t n, int size) {
    sn_copy_bytes(to, from, n * size);
}
#endif

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

/* 16-bit floats, after IEEE 754 (round to nearest even, NaN stays a quiet NaN). The arithmetic form gives the
 * bits of the machine's instructions, which are used where there are some. */
SN_INLINE vf32 sn_from_bf16_v(vu16 h) {
    return (vf32)(SN_CONVERT(h, vu32) << 16);
}
SN_INLINE vu16 sn_to_bf16_v(vf32 x) {
    vu32 u = (vu32)x, rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return SN_CONVERT((vu32)sn_select_i32_v(x != x, (vi32)((u >> 16) | 0x40), (vi32)rounded), vu16);
}
SN_INLINE vf32 sn_from_f16_v(vu16 h) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    typedef short Half __attribute__((vector_size(32)));
    return (vf32)__builtin_ia32_vcvtph2ps512_mask((Half)h, (vf32){0}, (uint16_t)-1, 4);
#elif SN_VECTOR_BYTES == 32 && defined(__F16C__)
    typedef short Half __attribute__((vector_size(16)));
    return (vf32)__builtin_ia32_vcvtph2ps256((Half)h);
#else
    vu32 u = SN_CONVERT(h, vu32), a = u & 0x7fff;
    vi32 special = (vi32)(a >= 0x7c00), nan = (vi32)(a > 0x7c00);
    vu32 finite = (vu32)((vf32)(a << 13) * 0x1p112f);
    vu32 other = (a << 13) | 0x7f800000 | ((vu32)nan & 0x400000);
    return (vf32)(((u & 0x8000) << 16) | (vu32)sn_select_i32_v(special, (vi32)other, (vi32)finite));
#endif
}
SN_INLINE vu16 sn_to_f16_v(vf32 x) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    typedef short Half __attribute__((vector_size(32)));
    return (vu16)__builtin_ia32_vcvtps2ph512_mask(x, 0, (Half){0}, (uint16_t)-1);
#elif SN_VECTOR_BYTES == 32 && defined(__F16C__)
    return (vu16)__builtin_ia32_vcvtps2ph256(x, 0);
#else
    vu32 u = (vu32)x, a = u & 0x7fffffff;
    vi32 small = (vi32)(a < 0x38800000), large = (vi32)(a >= 0x47800000), nan = (vi32)(a > 0x7f800000);
    vi32 normal = (vi32)((a - 0x38000000 + 0xfff + ((a >> 13) & 1)) >> 13);
    vi32 tiny = (vi32)((vf32)a + 0.5f) - 0x3f000000; /* the addition rounds at 2^-24, the subnormal unit */
    vi32 other = 0x7c00 | (nan & (vi32)(((a >> 13) & 0x3ff) | 0x200));
    vi32 bits = sn_select_i32_v(small, tiny, sn_select_i32_v(large, other, normal));
    return SN_CONVERT((vu32)bits | ((u >> 16) & 0x8000), vu16);
#endif
}
SN_INLINE float sn_from_bf16_s(uint16_t h) {
    return sn_from_bf16_v((vu16){SN_LIST(SN_SAME, h)})[0];
}
SN_INLINE uint16_t sn_to_bf16_s(float x) {
    return sn_to_bf16_v(sn_splat_f32(x))[0];
}
SN_INLINE float sn_from_f16_s(uint16_t h) {
    return sn_from_f16_v((vu16){SN_LIST(SN_SAME, h)})[0];
}
SN_INLINE uint16_t sn_to_f16_s(float x) {
    return sn_to_f16_v(sn_splat_f32(x))[0];
}

/* Bytes to integers of four bytes and back. GCC converts them element by element, and in two steps by halves, where one
 * instruction does it. */
#if !defined(__clang__) && SN_LANES == 16 && defined(__AVX512F__)
typedef char SnBytes __attribute__((vector_size(16)));
SN_INLINE vi32 sn_from_i8_v(vi8 x) {
    return (vi32)__builtin_ia32_pmovsxbd512_mask((SnBytes)x, (vi32){0}, -1);
}
SN_INLINE vi32 sn_from_u8_v(vu8 x) {
    return (vi32)__builtin_ia32_pmovzxbd512_mask((SnBytes)x, (vi32){0}, -1);
}
SN_INLINE vi8 sn_to_i8_v(vi32 x) {
    return (vi8)__builtin_ia32_pmovdb512_mask(x, (SnBytes){0}, -1);
}
SN_INLINE vu8 sn_to_u8_v(vi32 x) {
    return (vu8)sn_to_i8_v(x);
}
#else
#if !defined(__clang__) && SN_LANES == 8 && defined(__AVX2__)
typedef char SnBytes __attribute__((vector_size(16)));
typedef int64_t SnPair __attribute__((vector_size(16)));
SN_INLINE vi32 sn_from_i8_v(vi8 x) {
    return (vi32)__builtin_ia32_pmovsxbd256((SnBytes)(SnPair){(int64_t)x, 0});
}
SN_INLINE vi32 sn_from_u8_v(vu8 x) {
    return (vi32)__builtin_ia32_pmovzxbd256((SnBytes)(SnPair){(int64_t)x, 0});
}
#else
SN_INLINE vi32 sn_from_i8_v(vi8 x) {
    return SN_CONVERT(SN_CONVERT(x, vi16), vi32);
}
SN_INLINE vi32 sn_from_u8_v(vu8 x) {
    return SN_CONVERT(SN_CONVERT(x, vu16), vi32);
}
#endif
SN_INLINE vi8 sn_to_i8_v(vi32 x) {
    return SN_CONVERT(SN_CONVERT(x, vi16), vi8);
}
SN_INLINE vu8 sn_to_u8_v(vi32 x) {
    return SN_CONVERT(SN_CONVERT(x, vu16), vu8);
}
#endif
SN_INLINE vi16 sn_to_i16_v(vi32 x) {
    return SN_CONVERT(x, vi16);
}
SN_INLINE vu16 sn_to_u16_v(vi32 x) {
    return SN_CONVERT(x, vu16);
}
SN_INLINE vi32 sn_from_i16_v(vi16 x) {
    return SN_CONVERT(x, vi32);
}
SN_INLINE vi32 sn_from_u16_v(vu16 x) {
    return SN_CONVERT(x, vi32);
}

/* Loads and stores of every storage type. WIDEN and NARROW take a storage vector or scalar to the compute
 * type and back. */
#define SN_SAME_v(x)      (x)
#define SN_SAME_s(x)      (x)
#define sn_from_i8_s(x)   ((int32_t)(x))
#define sn_from_u8_s(x)   ((int32_t)(x))
#define sn_from_i16_s(x)  ((int32_t)(x))
#define sn_from_u16_s(x)  ((int32_t)(x))
#define SN_FROM_MASK_v(x) sn_to_u8_v(-(x))
#define SN_FROM_MASK_s(x) ((uint8_t) - (x))
#define SN_TO_MASK_v(x)   (sn_from_u8_v(x) != 0)
#define SN_TO_MASK_s(x)   (-((x) != 0))
#define SN_NARROW_WITH(NAME, T, SV)                                                                          \
    SN_INLINE SV sn_narrow_##NAME##_v(vi32 x) {                                                              \
        return sn_to_##NAME##_v(x);                                                                          \
    }                                                                                                        \
    SN_INLINE T sn_narrow_##NAME##_s(int32_t x) {                                                            \
        return (T)x;                                                                                         \
    }                                                                                                        \
    SN_INLINE vi32 sn_wrap_##NAME##_v(vi32 x) {                                                              \
        return sn_from_##NAME##_v(sn_to_##NAME##_v(x));                                                      \
    }                                                                                                        \
    SN_INLINE int32_t sn_wrap_##NAME##_s(int32_t x) {                                                        \
        return (T)x;                                                                                         \
    }
SN_NARROW_WITH(i8, int8_t, vi8)
SN_NARROW_WITH(u8, uint8_t, vu8)
SN_NARROW_WITH(i16, int16_t, vi16)
SN_NARROW_WITH(u16, uint16_t, vu16)

#define SN_MEMORY(NAME, T, SV, C, CV, WIDEN, NARROW)                                                         \
    SN_INLINE CV sn_load_##NAME##_v(const void *p) {                                                         \
        SV x;                                                                                                \
        __builtin_memcpy(&x, p, sizeof x);                                                                   \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_load_##NAME##_p(const void *p, int64_t n) {                                              \
        SV x = {0};                                                                                          \
        if (n == SN_LANES)                                                                                   \
            __builtin_memcpy(&x, p, sizeof x);                                                               \
        else                                                                                                 \
            sn_load_part(&x, p, n, sizeof(T));                                                               \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_load_##NAME##_x(const void *pointer, int64_t stride) {                                   \
        const T *p = pointer;                                                                                \
        SV x = {SN_LIST(SN_STEP, p, stride)};                                                                \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_gather_##NAME##_v(const void *pointer, vi64 offsets) {                                   \
        const T *p = pointer;                                                                                \
        SV x = {SN_LIST(SN_PICK, p, offsets)};                                                               \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE C sn_load_##NAME##_s(const void *p) {                                                          \
        return WIDEN##_s(*(const T *)p);                                                                     \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_v(void *p, CV value) {                                                  \
        SV x = NARROW##_v(value);                                                                            \
        __builtin_memcpy(p, &x, sizeof x);                                                                   \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_p(void *p, CV value, int64_t n) {                                       \
        SV x = NARROW##_v(value);                                                                            \
        if (n == SN_LANES)                                                                                   \
            __builtin_memcpy(p, &x, sizeof x);                                                               \
        else                                                                                                 \
            sn_store_part(p, &x, n, sizeof(T));                                                              \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_x(void *pointer, CV value, int64_t stride) {                            \
        SV x = NARROW##_v(value);                                                                            \
        for (int i = 0; i < SN_LANES; i++) ((T *)pointer)[i * stride] = x[i];                                \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_s(void *p, C value) {                                                   \
        *(T *)p = NARROW##_s(value);                                                                         \
    }
SN_MEMORY(f32, float, vf32, float, vf32, SN_SAME, SN_SAME)
SN_MEMORY(f64, double, vf64, double, vf64, SN_SAME, SN_SAME)
SN_MEMORY(f16, uint16_t, vu16, float, vf32, sn_from_f16, sn_to_f16)
SN_MEMORY(bf16, uint16_t, vu16, float, vf32, sn_from_bf16, sn_to_bf16)
SN_MEMORY(i8, int8_t, vi8, int32_t, vi32, sn_from_i8, sn_narrow_i8)
SN_MEMORY(u8, uint8_t, vu8, int32_t, vi32, sn_from_u8, sn_narrow_u8)
SN_MEMORY(i16, int16_t, vi16, int32_t, vi32, sn_from_i16, sn_narrow_i16)
SN_MEMORY(u16, uint16_t, vu16, int32_t, vi32, sn_from_u16, sn_narrow_u16)
SN_MEMORY(bool, uint8_t, vu8, int32_t, vi32, SN_TO_MASK, SN_FROM_MASK)
SN_MEMORY(i32, int32_t, vi32, int32_t, vi32, SN_SAME, SN_SAME)
SN_MEMORY(u32, uint32_t, vu32, uint32_t, vu32, SN_SAME, SN_SAME)
SN_MEMORY(i64, int64_t, vi64, int64_t, vi64, SN_SAME, SN_SAME)
SN_MEMORY(u64, uint64_t, vu64, uint64_t, vu64, SN_SAME, SN_SAME)

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

SN_INLINE int sn_any(vi32 m) {
    return sn_min_i32(m) != 0;
}
SN_INLINE int sn_all(vi32 m) {
    return sn_max_i32(m) != 0;
}

#endif

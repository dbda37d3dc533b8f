/* Between the types that memory holds and those that the C dialect computes in: 16-bit floats and f32, bytes, halves and truth
 * values and i32. sn_from_T_{v,s} widens, sn_to_T_{v,w} and sn_narrow_T_{v,s} narrow, sn_wrap_T_{v,s} does both. After vector.h. */
#ifndef SN_DEVICE_VECTOR_NARROW_H
#define SN_DEVICE_VECTOR_NARROW_H

/* Bytes and halves to integers of four bytes and back. GCC converts bytes element by element, and halves by parts of a register,
 * where one instruction does it. */
#if !defined(__clang__) && SN_LANES == 16 && defined(__AVX512F__)
typedef char SnBytes __attribute__((vector_size(16)));
typedef short SnHalves __attribute__((vector_size(32)));
SN_INLINE vi32 sn_from_i8_v(vi8 x) {
    return (vi32)__builtin_ia32_pmovsxbd512_mask((SnBytes)x, (vi32){0}, -1);
}
SN_INLINE vi32 sn_from_u8_v(vu8 x) {
    return (vi32)__builtin_ia32_pmovzxbd512_mask((SnBytes)x, (vi32){0}, -1);
}
SN_INLINE vi32 sn_from_i16_v(vi16 x) {
    return (vi32)__builtin_ia32_pmovsxwd512_mask((SnHalves)x, (vi32){0}, -1);
}
SN_INLINE vi32 sn_from_u16_v(vu16 x) {
    return (vi32)__builtin_ia32_pmovzxwd512_mask((SnHalves)x, (vi32){0}, -1);
}
SN_INLINE vi8 sn_to_i8_v(vi32 x) {
    return (vi8)__builtin_ia32_pmovdb512_mask(x, (SnBytes){0}, -1);
}
SN_INLINE vi16 sn_to_i16_v(vi32 x) {
    return (vi16)__builtin_ia32_pmovdw512_mask(x, (SnHalves){0}, -1);
}
#else
#if !defined(__clang__) && SN_LANES == 8 && defined(__AVX2__)
typedef char SnBytes __attribute__((vector_size(16)));
typedef short SnHalves __attribute__((vector_size(16)));
typedef int64_t SnPair __attribute__((vector_size(16)));
SN_INLINE vi32 sn_from_i8_v(vi8 x) {
    return (vi32)__builtin_ia32_pmovsxbd256((SnBytes)(SnPair){(int64_t)x, 0});
}
SN_INLINE vi32 sn_from_u8_v(vu8 x) {
    return (vi32)__builtin_ia32_pmovzxbd256((SnBytes)(SnPair){(int64_t)x, 0});
}
SN_INLINE vi32 sn_from_i16_v(vi16 x) {
    return (vi32)__builtin_ia32_pmovsxwd256((SnHalves)x);
}
SN_INLINE vi32 sn_from_u16_v(vu16 x) {
    return (vi32)__builtin_ia32_pmovzxwd256((SnHalves)x);
}
#else
SN_INLINE vi32 sn_from_i8_v(vi8 x) {
    return SN_CONVERT(SN_CONVERT(x, vi16), vi32);
}
SN_INLINE vi32 sn_from_u8_v(vu8 x) {
    return SN_CONVERT(SN_CONVERT(x, vu16), vi32);
}
SN_INLINE vi32 sn_from_i16_v(vi16 x) {
    return SN_CONVERT(x, vi32);
}
SN_INLINE vi32 sn_from_u16_v(vu16 x) {
    return SN_CONVERT(x, vi32);
}
#endif
SN_INLINE vi8 sn_to_i8_v(vi32 x) {
    return SN_CONVERT(SN_CONVERT(x, vi16), vi8);
}
SN_INLINE vi16 sn_to_i16_v(vi32 x) {
    return SN_CONVERT(x, vi16);
}
#endif
SN_INLINE vu8 sn_to_u8_v(vi32 x) {
    return (vu8)sn_to_i8_v(x);
}
SN_INLINE vu16 sn_to_u16_v(vi32 x) {
    return (vu16)sn_to_i16_v(x);
}

/* 16-bit floats, after IEEE 754 (round to nearest even, NaN stays a quiet NaN). The arithmetic form gives the
 * bits of the machine's instructions, which are used where there are some. */
SN_INLINE vf32 sn_from_bf16_v(vu16 h) {
#if !defined(__clang__) && SN_LANES == 16 && defined(__AVX512VBMI__)
    /* One lookup of bytes, the lower two of each lane zeros, instead of widening and a shift. */
    typedef char Bytes __attribute__((vector_size(64)));
    typedef int Half __attribute__((vector_size(32)));
    const Bytes from = {0,  0,  0,  1,  0,  0,  2,  3,  0,  0,  4,  5,  0,  0,  6,  7,  0,  0,  8,  9, 0,  0,
                        10, 11, 0,  0,  12, 13, 0,  0,  14, 15, 0,  0,  16, 17, 0,  0,  18, 19, 0,  0, 20, 21,
                        0,  0,  22, 23, 0,  0,  24, 25, 0,  0,  26, 27, 0,  0,  28, 29, 0,  0,  30, 31};
    return (vf32)__builtin_ia32_permvarqi512_mask((Bytes)__builtin_ia32_si512_256si((Half)h), from,
                                                  (Bytes){0}, UINT64_C(0xcccccccccccccccc));
#else
    return (vf32)((vu32)sn_from_u16_v(h) << 16);
#endif
}
SN_INLINE vu16 sn_to_bf16_v(vf32 x) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512BF16__) && defined(__AVX512DQ__)
    /* The instruction rounds as it is done below, but takes subnormal numbers, which are rare, for zeros. */
    enum { SUBNORMAL = 0x20 };
    vu16 narrow;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(narrow) : "v"(x));
    if (__builtin_expect(!__builtin_ia32_fpclassps512_mask(x, SUBNORMAL, (uint16_t)-1), 1)) return narrow;
#endif
    vu32 u = (vu32)x, rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return sn_to_u16_v(sn_select_i32_v(x != x, (vi32)((u >> 16) | 0x40), (vi32)rounded));
}
SN_INLINE vf32 sn_from_f16_v(vu16 h) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    typedef short Half __attribute__((vector_size(32)));
    return (vf32)__builtin_ia32_vcvtph2ps512_mask((Half)h, (vf32){0}, (uint16_t)-1, 4);
#elif SN_VECTOR_BYTES == 32 && defined(__F16C__)
    typedef short Half __attribute__((vector_size(16)));
    return (vf32)__builtin_ia32_vcvtph2ps256((Half)h);
#else
    vu32 u = (vu32)sn_from_u16_v(h), a = u & 0x7fff;
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
    return sn_to_u16_v(bits | (vi32)((u >> 16) & 0x8000));
#endif
}

/* Two vectors side by side, for one store of both: _w. */
typedef uint16_t vu16w __attribute__((vector_size(SN_VECTOR_BYTES)));
SN_INLINE vu16w sn_beside_u16(vu16 low, vu16 high) {
#if SN_VECTOR_BYTES == 64
    typedef int64_t Half __attribute__((vector_size(32)));
    typedef int64_t Line __attribute__((vector_size(64)));
    const Half a = (Half)low, b = (Half)high;
    return (vu16w)(Line){a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]};
#else
    vu16w line;
    __builtin_memcpy(&line, &low, sizeof low);
    __builtin_memcpy((char *)&line + sizeof low, &high, sizeof high);
    return line;
#endif
}
SN_INLINE vu16w sn_to_bf16_w(vf32 low, vf32 high) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512BF16__) && defined(__AVX512DQ__)
    /* The same instruction as above, for two. */
    enum { SUBNORMAL = 0x20 };
    vu16w narrow;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(narrow) : "v"(high), "v"(low));
    /* One test of both masks where they are; joined in other registers, they take two moves of one port. */
    if (__builtin_expect(
            __builtin_ia32_kortestzhi(__builtin_ia32_fpclassps512_mask(low, SUBNORMAL, (uint16_t)-1),
                                      __builtin_ia32_fpclassps512_mask(high, SUBNORMAL, (uint16_t)-1)),
            1))
        return narrow;
#endif
    return sn_beside_u16(sn_to_bf16_v(low), sn_to_bf16_v(high));
}
SN_INLINE vu16w sn_to_f16_w(vf32 low, vf32 high) {
    return sn_beside_u16(sn_to_f16_v(low), sn_to_f16_v(high));
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

#endif

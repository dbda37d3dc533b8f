/* The CUDA dialect: the scalar functions of the C dialect under the same names (form s), and what threads do
 * together. NVRTC compiles it without any header.
 *
 * Everything that follows it is CUDA C++ of one text. With SN_EMULATE defined it is compiled as C++ for the
 * host, behind an emulator that gives CUDA's own names (threadIdx, __syncthreads, shuffles, atomics, bit
 * casts) their meaning; only what is PTX or a missing header has two definitions, all of them in the block
 * below. */
#ifndef SN_DEVICE_PRELUDE_CUH
#define SN_DEVICE_PRELUDE_CUH

#define SN_DEVICE static __device__ __forceinline__
#define SN_MEMBER __device__ __forceinline__ /* of a struct */

#ifdef SN_EMULATE
#include <math.h>
#include <stdint.h>
/* IEEE binary16 by arithmetic: the multiplication by 2^112 rebuilds the exponent, the addition of 0.5 rounds
 * a subnormal at its last place. */
SN_DEVICE float sn_from_f16_s(uint16_t h) {
    uint32_t a = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
    if (a >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | a << 13 | (a > 0x7c00u ? 0x400000u : 0));
    return __uint_as_float(sign | __float_as_uint(__uint_as_float(a << 13) * 0x1p112f));
}
SN_DEVICE uint16_t sn_to_f16_s(float x) {
    uint32_t u = __float_as_uint(x), a = u & 0x7fffffffu, sign = u >> 16 & 0x8000u;
    if (a > 0x7f800000u) return (uint16_t)0x7fff;
    if (a >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) return (uint16_t)(sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | (a - 0x38000000u + 0xfffu + (a >> 13 & 1)) >> 13);
}
SN_DEVICE uint16_t sn_to_bf16_s(float x) {
    uint32_t u = __float_as_uint(x);
    return (uint16_t)(x != x ? 0x7fffu : (u + 0x7fffu + (u >> 16 & 1)) >> 16);
}
SN_DEVICE void *sn_shared_memory() {
    return emu_dynamic_shared();
}
SN_DEVICE float sn_quick_reciprocal(float x) {
    return 1 / x;
}
#else
#pragma nv_diag_suppress 177 /* an axis that a kernel names and does not need */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INT32_MIN   (-2147483647 - 1)
#define INT64_MIN   (-9223372036854775807LL - 1)
#define INT64_C(x)  x##LL
#define UINT64_C(x) x##ULL
SN_DEVICE float sn_from_f16_s(uint16_t h) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}
SN_DEVICE uint16_t sn_to_f16_s(float x) {
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
SN_DEVICE uint16_t sn_to_bf16_s(float x) {
    uint16_t h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
SN_DEVICE float sn_quick_reciprocal(float x) {
    float y;
    asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* The bytes that the launch gave each block (Kernel.shared), aligned to 128 where a device runs them. */
SN_DEVICE void *sn_shared_memory() {
    extern __shared__ __align__(128) unsigned char sn_shared_bytes[];
    return sn_shared_bytes;
}
#endif
SN_DEVICE float sn_from_bf16_s(uint16_t h) {
    return __uint_as_float((uint32_t)h << 16);
}
#define SN_NAN_F32      __uint_as_float(0x7fc00000u)
#define SN_NAN_F64      __longlong_as_double(0x7ff8000000000000LL)
#define SN_INFINITY_F32 __uint_as_float(0x7f800000u)
#define SN_INFINITY_F64 __longlong_as_double(0x7ff0000000000000LL)

/* Of several faults of a launch the least code is kept, in whatever order they come. */
SN_DEVICE void sn_fault(int *fault, int code) {
    int found = atomicCAS(fault, 0, code);
    while (found > code) {
        int before = atomicCAS(fault, found, code);
        if (before == found) break;
        found = before;
    }
}

/* ---- index arithmetic ---- */

SN_DEVICE int64_t sn_floordiv(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
SN_DEVICE int64_t sn_ceildiv(int64_t a, int64_t b) {
    return a / b + (a % b != 0 && (a < 0) == (b < 0));
}
SN_DEVICE int64_t sn_truncdiv(int64_t a, int64_t b) {
    return a / b;
}
SN_DEVICE int64_t sn_floormod(int64_t a, int64_t b) {
    return a - sn_floordiv(a, b) * b;
}
SN_DEVICE int64_t sn_least_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}
SN_DEVICE int64_t sn_largest_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* a to the power b modulo 2^64; of a negative power nothing is left but for a = 1 and -1. */
SN_DEVICE int64_t sn_pow_i64_s(int64_t a, int64_t b) {
    uint64_t power = 1, square = (uint64_t)a;
    if (b < 0) return a == 1 || (a == -1 && b % 2 == 0) ? 1 : a == -1 ? -1 : 0;
    for (; b; b /= 2, square *= square)
        if (b % 2) power *= square;
    return (int64_t)power;
}

/* ---- memory: storage types to compute types and back; a mask is 0 or -1 ---- */

#define SN_MEMORY(NAME, T, C, WIDEN, NARROW)                                                                 \
    SN_DEVICE C sn_load_##NAME##_s(const void *p) {                                                          \
        return WIDEN(*(const T *)p);                                                                         \
    }                                                                                                        \
    SN_DEVICE void sn_store_##NAME##_s(void *p, C x) {                                                       \
        *(T *)p = (T)NARROW(x);                                                                              \
    }
#define SN_SAME(x)      (x)
#define SN_TO_MASK(x)   (-(int32_t)((x) != 0))
#define SN_FROM_MASK(x) (-(x))
SN_MEMORY(f32, float, float, SN_SAME, SN_SAME)
SN_MEMORY(f64, double, double, SN_SAME, SN_SAME)
SN_MEMORY(f16, uint16_t, float, sn_from_f16_s, sn_to_f16_s)
SN_MEMORY(bf16, uint16_t, float, sn_from_bf16_s, sn_to_bf16_s)
SN_MEMORY(i8, int8_t, int32_t, SN_SAME, SN_SAME)
SN_MEMORY(u8, uint8_t, int32_t, SN_SAME, SN_SAME)
SN_MEMORY(i16, int16_t, int32_t, SN_SAME, SN_SAME)
SN_MEMORY(u16, uint16_t, int32_t, SN_SAME, SN_SAME)
SN_MEMORY(i32, int32_t, int32_t, SN_SAME, SN_SAME)
SN_MEMORY(u32, uint32_t, uint32_t, SN_SAME, SN_SAME)
SN_MEMORY(i64, int64_t, int64_t, SN_SAME, SN_SAME)
SN_MEMORY(u64, uint64_t, uint64_t, SN_SAME, SN_SAME)
SN_MEMORY(bool, uint8_t, int32_t, SN_TO_MASK, SN_FROM_MASK)

/* ---- packs: N neighbours of memory, at an address that is aligned to all of them or to 16 bytes ---- */

/* An access of one word or a built-in vector of them: of structs the compiler makes several where it only copies. */
template <int BYTES> struct SnWords;
template <> struct SnWords<16> { typedef uint4 Type; };
template <> struct SnWords<8> { typedef uint2 Type; };
template <> struct SnWords<4> { typedef uint32_t Type; };
template <> struct SnWords<2> { typedef uint16_t Type; };
template <class T, int N> union SnPack {
    typename SnWords<(int)sizeof(T) * N>::Type words;
    T at[N];
};
#define SN_PACK_PART(T, N) (sizeof(T) * N > 16 ? 16 / (int)sizeof(T) : N)
template <int N, class T> SN_DEVICE void sn_load_pack(T *to, const T *from) {
    constexpr int part = SN_PACK_PART(T, N);
#pragma unroll
    for (int i = 0; i < N; i += part) {
        SnPack<T, part> pack;
        pack.words = *(const decltype(pack.words) *)(from + i);
        for (int k = 0; k < part; k++) to[i + k] = pack.at[k];
    }
}
template <int N, class T> SN_DEVICE void sn_store_pack(T *to, const T *from) {
    constexpr int part = SN_PACK_PART(T, N);
#pragma unroll
    for (int i = 0; i < N; i += part) {
        SnPack<T, part> pack;
        for (int k = 0; k < part; k++) pack.at[k] = from[i + k];
        *(decltype(pack.words) *)(to + i) = pack.words;
    }
}
/* ---- what every compute type has ---- */

#define SN_CVT(FROM, FC, TO, TC)                                                                             \
    SN_DEVICE TC sn_cvt_##FROM##_##TO##_s(FC x) {                                                            \
        return (TC)x;                                                                                        \
    }
#define SN_COMPUTE(TYPE, C)                                                                                  \
    SN_DEVICE int32_t sn_eq_##TYPE##_s(C a, C b) {                                                           \
        return -(int32_t)(a == b);                                                                           \
    }                                                                                                        \
    SN_DEVICE int32_t sn_ne_##TYPE##_s(C a, C b) {                                                           \
        return -(int32_t)(a != b);                                                                           \
    }                                                                                                        \
    SN_DEVICE int32_t sn_lt_##TYPE##_s(C a, C b) {                                                           \
        return -(int32_t)(a < b);                                                                            \
    }                                                                                                        \
    SN_DEVICE int32_t sn_le_##TYPE##_s(C a, C b) {                                                           \
        return -(int32_t)(a <= b);                                                                           \
    }                                                                                                        \
    SN_DEVICE int32_t sn_gt_##TYPE##_s(C a, C b) {                                                           \
        return -(int32_t)(a > b);                                                                            \
    }                                                                                                        \
    SN_DEVICE int32_t sn_ge_##TYPE##_s(C a, C b) {                                                           \
        return -(int32_t)(a >= b);                                                                           \
    }                                                                                                        \
    SN_DEVICE C sn_select_##TYPE##_s(int32_t m, C yes, C no) {                                               \
        return m ? yes : no;                                                                                 \
    }
#define SN_NUMERIC(TYPE, C)                                                                                  \
    SN_COMPUTE(TYPE, C)                                                                                      \
    SN_CVT(TYPE, C, f32, float)                                                                              \
    SN_CVT(TYPE, C, f64, double)                                                                             \
    SN_CVT(TYPE, C, i32, int32_t)                                                                            \
    SN_CVT(TYPE, C, u32, uint32_t)                                                                           \
    SN_CVT(TYPE, C, i64, int64_t)                                                                            \
    SN_CVT(TYPE, C, u64, uint64_t)                                                                           \
    SN_DEVICE int32_t sn_cvt_##TYPE##_mask_s(C x) {                                                          \
        return -(int32_t)(x != 0);                                                                           \
    }                                                                                                        \
    SN_DEVICE C sn_cvt_mask_##TYPE##_s(int32_t m) {                                                          \
        return (C)(-m);                                                                                      \
    }                                                                                                        \
    SN_DEVICE C sn_max_##TYPE##_s(C a, C b) {                                                                \
        return a > b || a != a ? a : b;                                                                      \
    }                                                                                                        \
    SN_DEVICE C sn_min_##TYPE##_s(C a, C b) {                                                                \
        return a < b || a != a ? a : b;                                                                      \
    }                                                                                                        \
    SN_DEVICE C sn_add_##TYPE##_s(C a, C b) {                                                                \
        return a + b;                                                                                        \
    }                                                                                                        \
    SN_DEVICE C sn_mul_##TYPE##_s(C a, C b) {                                                                \
        return a * b;                                                                                        \
    }
SN_COMPUTE(mask, int32_t)
SN_NUMERIC(f32, float)
SN_NUMERIC(f64, double)
SN_NUMERIC(i32, int32_t)
SN_NUMERIC(u32, uint32_t)
SN_NUMERIC(i64, int64_t)
SN_NUMERIC(u64, uint64_t)
SN_DEVICE int32_t sn_wrap_i8_s(int32_t x) {
    return (int8_t)x;
}
SN_DEVICE int32_t sn_wrap_u8_s(int32_t x) {
    return (uint8_t)x;
}
SN_DEVICE int32_t sn_wrap_i16_s(int32_t x) {
    return (int16_t)x;
}
SN_DEVICE int32_t sn_wrap_u16_s(int32_t x) {
    return (uint16_t)x;
}

/* ---- functions of floats ---- */

#define SN_FLOATS(TYPE, C, F)                                                                                \
    SN_DEVICE C sn_exp_##TYPE##_s(C x) {                                                                     \
        return exp##F(x);                                                                                    \
    }                                                                                                        \
    SN_DEVICE C sn_log_##TYPE##_s(C x) {                                                                     \
        return log##F(x);                                                                                    \
    }                                                                                                        \
    SN_DEVICE C sn_sin_##TYPE##_s(C x) {                                                                     \
        return sin##F(x);                                                                                    \
    }                                                                                                        \
    SN_DEVICE C sn_cos_##TYPE##_s(C x) {                                                                     \
        return cos##F(x);                                                                                    \
    }                                                                                                        \
    SN_DEVICE C sn_tan_##TYPE##_s(C x) {                                                                     \
        return tan##F(x);                                                                                    \
    }                                                                                                        \
    SN_DEVICE C sn_sinh_##TYPE##_s(C x) {                                                                    \
        return sinh##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_cosh_##TYPE##_s(C x) {                                                                    \
        return cosh##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_asin_##TYPE##_s(C x) {                                                                    \
        return asin##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_acos_##TYPE##_s(C x) {                                                                    \
        return acos##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_atan_##TYPE##_s(C x) {                                                                    \
        return atan##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_asinh_##TYPE##_s(C x) {                                                                   \
        return asinh##F(x);                                                                                  \
    }                                                                                                        \
    SN_DEVICE C sn_acosh_##TYPE##_s(C x) {                                                                   \
        return acosh##F(x);                                                                                  \
    }                                                                                                        \
    SN_DEVICE C sn_atanh_##TYPE##_s(C x) {                                                                   \
        return atanh##F(x);                                                                                  \
    }                                                                                                        \
    SN_DEVICE C sn_tanh_##TYPE##_s(C x) {                                                                    \
        return tanh##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_erf_##TYPE##_s(C x) {                                                                     \
        return erf##F(x);                                                                                    \
    }                                                                                                        \
    SN_DEVICE C sn_sqrt_##TYPE##_s(C x) {                                                                    \
        return sqrt##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_reciprocal_##TYPE##_s(C x) {                                                              \
        return 1 / x;                                                                                        \
    }                                                                                                        \
    SN_DEVICE C sn_floor_##TYPE##_s(C x) {                                                                   \
        return floor##F(x);                                                                                  \
    }                                                                                                        \
    SN_DEVICE C sn_ceil_##TYPE##_s(C x) {                                                                    \
        return ceil##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_round_##TYPE##_s(C x) {                                                                   \
        return rint##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_abs_##TYPE##_s(C x) {                                                                     \
        return fabs##F(x);                                                                                   \
    }                                                                                                        \
    SN_DEVICE C sn_sign_##TYPE##_s(C x) {                                                                    \
        return x > 0 ? (C)1 : x < 0 ? (C)-1 : x;                                                             \
    }                                                                                                        \
    SN_DEVICE C sn_pow_##TYPE##_s(C x, C y) {                                                                \
        return pow##F(x, y);                                                                                 \
    }                                                                                                        \
    SN_DEVICE C sn_fmod_##TYPE##_s(C x, C y) {                                                               \
        return fmod##F(x, y);                                                                                \
    }                                                                                                        \
    SN_DEVICE int32_t sn_isnan_##TYPE##_s(C x) {                                                             \
        return -(int32_t)(x != x);                                                                           \
    }                                                                                                        \
    SN_DEVICE int32_t sn_isinf_##TYPE##_s(C x) {                                                             \
        return -(int32_t)(x == x && x - x != 0);                                                             \
    }
SN_FLOATS(f32, float, f)
SN_FLOATS(f64, double, )
/* Division and square root are correctly rounded, which takes a dozen instructions and a branch; these are within 2 units
 * in the last place in a few. */
SN_DEVICE float sn_sigmoid_f32_s(float x) {
    return sn_quick_reciprocal(1 + expf(-x));
}
SN_DEVICE double sn_sigmoid_f64_s(double x) {
    return 1 / (1 + exp(-x));
}
SN_DEVICE float sn_rsqrt_f32_s(float x) {
    return rsqrtf(x);
}
SN_DEVICE double sn_rsqrt_f64_s(double x) {
    return 1 / sqrt(x);
}

/* ---- functions of integers: none traps; x / 0 is 0, the least integer by -1 is itself ---- */

#define SN_INTEGERS(TYPE, C, SIGNED)                                                                         \
    SN_DEVICE int32_t sn_div_fault_##TYPE##_s(C a, C b) {                                                    \
        return -(int32_t)(b == 0 || (SIGNED && b == (C)-1 && a != 0 && a == (C)(0 - (uint64_t)a)));          \
    }                                                                                                        \
    SN_DEVICE C sn_div_##TYPE##_s(C a, C b) {                                                                \
        return b == 0 ? 0 : SIGNED && b == (C)-1 ? (C)(0 - (uint64_t)a) : a / b;                             \
    }                                                                                                        \
    SN_DEVICE C sn_rem_##TYPE##_s(C a, C b) {                                                                \
        return b == 0 || (SIGNED && b == (C)-1) ? 0 : a % b;                                                 \
    }                                                                                                        \
    SN_DEVICE C sn_mod_##TYPE##_s(C a, C b) {                                                                \
        C r = sn_rem_##TYPE##_s(a, b);                                                                       \
        return r != 0 && (r > 0) != (b > 0) ? r + b : r;                                                     \
    }                                                                                                        \
    SN_DEVICE C sn_abs_##TYPE##_s(C x) {                                                                     \
        return x > 0 ? x : (C)(0 - (uint64_t)x);                                                             \
    }                                                                                                        \
    SN_DEVICE C sn_sign_##TYPE##_s(C x) {                                                                    \
        return (C)((x > 0) - (x != 0 && !(x > 0)));                                                          \
    }
SN_INTEGERS(i32, int32_t, 1)
SN_INTEGERS(u32, uint32_t, 0)
SN_INTEGERS(i64, int64_t, 1)
SN_INTEGERS(u64, uint64_t, 0)

/* ---- random numbers: as sn_random_word of base/number.h has them (Philox 4x32-10) ---- */

SN_DEVICE uint32_t sn_random_i64_s(int64_t seed, int64_t stream, int64_t index) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)((uint64_t)seed >> 32);
    uint32_t x0 = (uint32_t)((uint64_t)index >> 2), x1 = (uint32_t)((uint64_t)index >> 34);
    uint32_t x2 = (uint32_t)stream, x3 = (uint32_t)((uint64_t)stream >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t even = (uint64_t)x0 * 0xD2511F53u, odd = (uint64_t)x2 * 0xCD9E8D57u;
        x0 = (uint32_t)(odd >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)odd;
        x2 = (uint32_t)(even >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)even;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return index & 2 ? index & 1 ? x3 : x2 : index & 1 ? x1 : x0;
}

/* ---- joining what threads have accumulated, always in the same order ---- */

/* sn_warp_F_T(x, team): over each `team` neighbouring lanes of a warp (a power of two), the result in all of them. sn_fold_F_T(part, count, stride):
 * over part[0], part[stride], ... */
#define SN_JOIN(NAME, TYPE, C)                                                                               \
    SN_DEVICE C sn_warp_##NAME##_##TYPE(C x, int team) {                                                     \
        for (int mask = team / 2; mask; mask /= 2)                                                           \
            x = sn_##NAME##_##TYPE##_s(x, __shfl_xor_sync(0xffffffffu, x, mask));                            \
        return x;                                                                                            \
    }                                                                                                        \
    SN_DEVICE C sn_fold_##NAME##_##TYPE(const C *part, int count, int stride) {                              \
        C x = part[0];                                                                                       \
        for (int i = 1; i < count; i++) x = sn_##NAME##_##TYPE##_s(x, part[i * stride]);                     \
        return x;                                                                                            \
    }
/* sn_scan_add_T(before, x, lane, exclusive): *before plus x of all lanes up to this one, or (exclusive) of those before
 * it; *before becomes that of the next 32. All lanes take part. */
#define SN_SCAN(TYPE, C)                                                                                     \
    SN_DEVICE C sn_scan_add_##TYPE(C *before, C x, int lane, bool exclusive) {                               \
        const C start = *before;                                                                             \
        for (int d = 1; d < 32; d *= 2) {                                                                    \
            const C left = __shfl_up_sync(0xffffffffu, x, d);                                                \
            if (lane >= d) x = left + x;                                                                     \
        }                                                                                                    \
        const C left = __shfl_up_sync(0xffffffffu, x, 1);                                                    \
        *before = start + __shfl_sync(0xffffffffu, x, 31);                                                   \
        return !exclusive ? start + x : lane ? start + left : start;                                         \
    }
#define SN_JOINS(TYPE, C)                                                                                    \
    SN_SCAN(TYPE, C)                                                                                         \
    SN_JOIN(add, TYPE, C)                                                                                    \
    SN_JOIN(mul, TYPE, C)                                                                                    \
    SN_JOIN(max, TYPE, C)                                                                                    \
    SN_JOIN(min, TYPE, C)
SN_JOINS(f32, float)
SN_JOINS(f64, double)
SN_JOINS(i32, int32_t)
SN_JOINS(u32, uint32_t)
SN_JOINS(i64, int64_t)
SN_JOINS(u64, uint64_t)

#endif

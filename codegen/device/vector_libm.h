/* The functions that vector_math.h names and libm has, called lane by lane (link with -lm): all of f64, and the rarer ones of
 * f32. After vector_math.h. */
#ifndef SN_DEVICE_VECTOR_LIBM_H
#define SN_DEVICE_VECTOR_LIBM_H

#define SN_LIBM_F32(NAME, CALL)                                                                              \
    SN_INLINE float sn_##NAME##_f32_s(float x) {                                                             \
        return CALL(x);                                                                                      \
    }                                                                                                        \
    SN_INLINE vf32 sn_##NAME##_f32_v(vf32 x) {                                                               \
        SN_EACH_LANE x[i] = CALL(x[i]);                                                                      \
        return x;                                                                                            \
    }
#define SN_LIBM_F64(NAME, CALL)                                                                              \
    SN_INLINE double sn_##NAME##_f64_s(double x) {                                                           \
        return CALL(x);                                                                                      \
    }                                                                                                        \
    SN_INLINE vf64 sn_##NAME##_f64_v(vf64 x) {                                                               \
        SN_EACH_LANE x[i] = CALL(x[i]);                                                                      \
        return x;                                                                                            \
    }
#define SN_LIBM_TWO(NAME, TYPE, C, V, CALL)                                                                  \
    SN_INLINE C sn_##NAME##_##TYPE##_s(C a, C b) {                                                           \
        return CALL(a, b);                                                                                   \
    }                                                                                                        \
    SN_INLINE V sn_##NAME##_##TYPE##_v(V a, V b) {                                                           \
        SN_EACH_LANE a[i] = CALL(a[i], b[i]);                                                                \
        return a;                                                                                            \
    }

SN_INLINE double sn_one_sigmoid(double x) {
    double e = __builtin_exp(-__builtin_fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}
SN_INLINE double sn_one_rsqrt(double x) {
    return 1 / __builtin_sqrt(x);
}
SN_INLINE double sn_one_reciprocal(double x) {
    return 1 / x;
}
SN_INLINE double sn_one_neg(double x) {
    return -x;
}
SN_INLINE double sn_one_sign(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
}
/* numpy's mod: the remainder takes the divisor's sign, and a zero remainder as well. */
SN_INLINE double sn_one_mod(double a, double b) {
    double r = __builtin_fmod(a, b);
    if (r == 0) return __builtin_copysign(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}
SN_INLINE float sn_one_modf(float a, float b) {
    float r = __builtin_fmodf(a, b);
    if (r == 0) return __builtin_copysignf(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}
#define SN_RARE(NAME) SN_LIBM_F32(NAME, __builtin_##NAME##f) SN_LIBM_F64(NAME, __builtin_##NAME)
SN_RARE(log1p)
SN_RARE(tan)
SN_RARE(sinh)
SN_RARE(cosh)
SN_RARE(asin)
SN_RARE(acos)
SN_RARE(atan)
SN_RARE(asinh)
SN_RARE(acosh)
SN_RARE(atanh)
SN_LIBM_F64(exp, __builtin_exp)
SN_LIBM_F64(log, __builtin_log)
SN_LIBM_F64(tanh, __builtin_tanh)
SN_LIBM_F64(erf, __builtin_erf)
SN_LIBM_F64(sin, __builtin_sin)
SN_LIBM_F64(cos, __builtin_cos)
SN_LIBM_F64(sqrt, __builtin_sqrt)
SN_LIBM_F64(floor, __builtin_floor)
SN_LIBM_F64(ceil, __builtin_ceil)
SN_LIBM_F64(trunc, __builtin_trunc)
SN_LIBM_F64(round, __builtin_nearbyint)
SN_LIBM_F64(abs, __builtin_fabs)
SN_LIBM_F64(sigmoid, sn_one_sigmoid)
SN_LIBM_F64(rsqrt, sn_one_rsqrt)
SN_LIBM_F64(reciprocal, sn_one_reciprocal)
SN_LIBM_F64(neg, sn_one_neg)
SN_LIBM_F64(sign, sn_one_sign)
SN_LIBM_TWO(pow, f64, double, vf64, __builtin_pow)
SN_LIBM_TWO(fmod, f64, double, vf64, __builtin_fmod)
SN_LIBM_TWO(mod, f64, double, vf64, sn_one_mod)
SN_LIBM_TWO(fmod, f32, float, vf32, __builtin_fmodf)
SN_LIBM_TWO(mod, f32, float, vf32, sn_one_modf)
SN_INLINE double sn_fma_f64_s(double a, double b, double c) {
    return __builtin_fma(a, b, c);
}
SN_INLINE vf64 sn_fma_f64_v(vf64 a, vf64 b, vf64 c) {
    SN_EACH_LANE c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}

#endif

/* Floating-point functions of the C dialect: sn_NAME_{f32,f64}_{v,s}.
 *
 * Contract for the code generator: after vector_memory.h and vector_exp.h. One argument: exp log log1p tanh erf sigmoid sin
 * cos tan sinh cosh asin acos atan asinh acosh atanh sqrt rsqrt reciprocal floor ceil trunc round (half to even) abs neg sign,
 * and isnan, isinf (results are masks). Two: pow, fmod (sign of the dividend), mod (sign of the divisor). Three: fma
 * (a * b + c). Form s has the bits of form v. f32 exp, log, tanh, erf, sigmoid, sin, cos and pow are polynomials, whose bounds
 * in units in the last place are: exp 1.1, log 1.5, tanh 1.5, erf 1.5, sigmoid 2 (2.4 with fewer than 16 lanes), sin and cos 2,
 * pow 2. Specials are those of C's functions and results are not flushed to zero. All other transcendental functions are in
 * vector_libm.h. The polynomials are minimax fits of the function named beside them. */
#ifndef SN_DEVICE_VECTOR_MATH_H
#define SN_DEVICE_VECTOR_MATH_H

SN_INLINE vf32 sn_sqrt_f32_v(vf32 x) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__) && !defined(__clang__)
    return __builtin_ia32_sqrtps512_mask(x, x, (uint16_t)-1, 4);
#elif SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return __builtin_ia32_sqrtps512(x, 4);
#elif SN_VECTOR_BYTES == 32 && defined(__AVX__)
    return __builtin_ia32_sqrtps256(x);
#elif SN_VECTOR_BYTES == 16 && defined(__SSE__)
    return __builtin_ia32_sqrtps(x);
#else
    SN_EACH_LANE x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}
SN_INLINE vf32 sn_neg_f32_v(vf32 x) {
    return -x;
}
SN_INLINE vf32 sn_rsqrt_f32_v(vf32 x) {
    return 1.0f / sn_sqrt_f32_v(x);
}
SN_INLINE vf32 sn_reciprocal_f32_v(vf32 x) {
    return 1.0f / x;
}
SN_INLINE vi32 sn_isnan_f32_v(vf32 x) {
    return x != x;
}
SN_INLINE vi32 sn_isinf_f32_v(vf32 x) {
    return sn_abs_f32_v(x) == SN_INFINITY;
}
SN_INLINE vf32 sn_sign_f32_v(vf32 x) {
    vf32 one = sn_select_f32_v(x > 0, SN_C(1), sn_select_f32_v(x < 0, SN_C(-1), SN_C(0)));
    return sn_select_f32_v(x != x, x, one);
}
/* Adding and taking away 2^23 leaves an integer, rounded half to even; from 2^23 on all are integers. */
SN_INLINE vf32 sn_round_f32_v(vf32 x) {
    vf32 a = sn_abs_f32_v(x), r = (a + 0x1p23f) - 0x1p23f;
    return sn_select_f32_v(a < 0x1p23f, sn_signed_as(r, x), x);
}
SN_INLINE vf32 sn_floor_f32_v(vf32 x) {
    vf32 r = sn_round_f32_v(x);
    return sn_signed_as(r - sn_select_f32_v(r > x, SN_C(1), SN_C(0)), x);
}
SN_INLINE vf32 sn_ceil_f32_v(vf32 x) {
    vf32 r = sn_round_f32_v(x);
    return sn_signed_as(r + sn_select_f32_v(r < x, SN_C(1), SN_C(0)), x);
}
SN_INLINE vf32 sn_trunc_f32_v(vf32 x) {
    return sn_signed_as(sn_floor_f32_v(sn_abs_f32_v(x)), x);
}

/* x = 2^e * m with m in [sqrt(1/2), sqrt 2), for finite positive x, subnormal ones too; returns m. */
SN_INLINE vf32 sn_split_exponent(vf32 x, vf32 *e) {
    vi32 tiny = x < 0x1p-126f;
    vi32 bits = (vi32)sn_select_f32_v(tiny, x * 0x1p23f, x);
    vi32 n = (bits - 0x3f3504f3) >> 23;
    *e = SN_CONVERT(n - (tiny & 23), vf32);
    return (vf32)(bits - (n << 23));
}
/* `finite` where x is positive and finite, else what log has at x. */
SN_INLINE vf32 sn_log_special(vf32 x, vf32 finite) {
    vf32 below = sn_select_f32_v(x == 0, SN_C(-SN_INFINITY), SN_C(__builtin_nanf("")));
    vf32 other = sn_select_f32_v(x > 0, SN_C(SN_INFINITY), below);
    other = sn_select_f32_v(x != x, x, other);
    return sn_select_f32_v((x > 0) & (x < SN_INFINITY), finite, other);
}
/* log m = f - f^2 / 2 + f^3 P(f) with f = m - 1. */
SN_INLINE vf32 sn_log_f32_v(vf32 x) {
    vf32 e, f = sn_split_exponent(x, &e) - 1, z = f * f;
    vf32 high =
        SN_POLY(f, 0.142195354f,
                SN_POLY(f, -0.12405576f, SN_POLY(f, 0.11888264f, SN_POLY1(f, -0.116757436f, 0.0674652465f))));
    vf32 p = SN_POLY(f, 0.333333126f,
                     SN_POLY(f, -0.250000096f, SN_POLY(f, 0.200021197f, SN_POLY(f, -0.166679963f, high))));
    vf32 low = sn_fma_f32_v(e, SN_C(0x1.7f7d1cp-20f), f * z * p);
    low = sn_fma_f32_v(z, SN_C(-0.5f), low);
    return sn_log_special(x, sn_fma_f32_v(e, SN_C(0x1.62e4p-1f), f + low));
}

/* Payne and Hanek's reduction (1983) of a large |x|: the product of the 24-bit significand and the 96 bits of
 * 2/pi that matter, in integers. Returns r = |x| - *quadrant * pi/2, |r| <= pi/4. */
SN_OUTLINE float sn_reduce_large(float x, int32_t *quadrant) {
    static const uint32_t two_over_pi[8] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                            0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    int32_t exponent = (int32_t)(bits >> 23 & 0xff) - 127; /* at least 16 here */
    uint64_t significand = (bits & 0x7fffff) | 0x800000;
    /* |x| = significand * 2^(exponent - 23); bit `start` of 2/pi has the weight of 4 in the product. */
    int32_t start = 32 + exponent - 23 - 2, word = start >> 5, shift = start & 31;
    uint32_t w[3];
    for (int i = 0; i < 3; i++)
        w[i] = (uint32_t)(((uint64_t)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1]) << shift >> 32);
    uint64_t low = significand * w[1] + (significand * w[2] >> 32);
    uint64_t product = (significand * w[0] << 32) + low; /* modulo 4, in units of 2^-62 */
    uint64_t rounded = product + (UINT64_C(1) << 61);
    *quadrant = (int32_t)(rounded >> 62);
    double fraction = (double)(int64_t)(product - (rounded >> 62 << 62)) * 0x1p-62;
    return (float)(fraction * 1.5707963267948966);
}

/* sin (first = 0) or cos (first = 1) of x = q pi/2 + r: sine or cosine of r by the parity of q, sign by its
 * second bit. */
SN_INLINE vf32 sn_sine(vf32 x, int32_t first) {
    vf32 a = sn_abs_f32_v(x), shifted = sn_fma_f32_v(a, SN_C(0x1.45f306p-1f), SN_C(0x1.8p23f));
    vf32 n = shifted - 0x1.8p23f, r = sn_fma_f32_v(n, SN_C(-0x1.921fb6p+0f), a);
    r = sn_fma_f32_v(n, SN_C(0x1.777a5cp-25f), r);
    r = sn_fma_f32_v(n, SN_C(0x1.ee59dap-50f), r);
    vi32 q = (vi32)shifted - 0x4b400000, large = (a > 70000) & (a < SN_INFINITY);
    if (__builtin_expect(sn_any(large), 0)) {
        SN_EACH_LANE if (large[i]) {
            int32_t quadrant;
            r[i] = sn_reduce_large(a[i], &quadrant);
            q[i] = quadrant;
        }
    }
    r = sn_select_f32_v(a < SN_INFINITY, r, x - x); /* infinity has none: NaN */
    vf32 z = r * r, s = SN_POLY(z, -0.166666666f,
                                SN_POLY(z, 0.00833332926f, SN_POLY1(z, -0.000198392963f, 2.71796941e-6f)));
    vf32 c =
        SN_POLY(z, 0.0416666666f, SN_POLY(z, -0.00138888834f, SN_POLY1(z, 2.47994427e-5f, -2.72043229e-7f)));
    s = sn_fma_f32_v(s * z, r, r);
    c = sn_fma_f32_v(SN_POLY(z, -0.5f, c), z, SN_C(1));
    vi32 parity = q + first, sign = (parity & 2) << 30;
    if (!first) sign ^= (vi32)x & INT32_MIN;
    return (vf32)((vi32)sn_select_f32_v((parity & 1) != 0, c, s) ^ sign);
}
SN_INLINE vf32 sn_sin_f32_v(vf32 x) {
    return sn_sine(x, 0);
}
SN_INLINE vf32 sn_cos_f32_v(vf32 x) {
    return sn_sine(x, 1);
}

/* y log|x| in two floats. log m = 2 s + 2 s^3 (1/3 + s^2 P(s^2)) with s = (m - 1) / (m + 1) kept in two
 * floats. */
SN_INLINE vf32 sn_pow_exponent(vf32 a, vf32 y, vf32 *low) {
    vf32 e, m = sn_split_exponent(a, &e), top = m - 1, bottom = m + 1, lost = m - (bottom - 1);
    vf32 s = top / bottom, rest = sn_fma_f32_v(-s, bottom, top);
    vf32 s_low = (rest - s * lost) / bottom, z = s * s;
    vf32 z_low = sn_fma_f32_v(s, s, -z) + 2 * s * s_low;
    vf32 p = SN_POLY(z, 0.199999991f, SN_POLY(z, 0.142859397f, SN_POLY1(z, 0.110923521f, 0.0973663174f)));
    vf32 third = SN_C(0x1.555556p-2f), t = sn_fma_f32_v(z, p, third);
    vf32 t_low = sn_fma_f32_v(z, p, third - t) - 0x1.555556p-27f; /* what the sum lost, and the rest of 1/3 */
    /* u = z t in two floats, then log m = 2 s (1 + u) */
    vf32 u = z * t, u_low = sn_fma_f32_v(z, t, -u) + z * t_low + z_low * t;
    vf32 v = s * u, v_low = sn_fma_f32_v(s, u, -v) + s * u_low + s_low * u;
    vf32 h = s + v, h_low = (s - h) + v + (s_low + v_low);
    /* plus e ln 2, whose high part has 15 bits, so that its product is exact */
    vf32 el = e * 0x1.62e4p-1f, g = el + 2 * h, back = g - el;
    vf32 g_low = (el - (g - back)) + (2 * h - back) + sn_fma_f32_v(e, SN_C(0x1.7f7d1cp-20f), 2 * h_low);
    vf32 high = g * y;
    *low = sn_fma_f32_v(g, y, -high) + g_low * y;
    return high;
}
SN_INLINE vf32 sn_pow_f32_v(vf32 x, vf32 y) {
    vf32 a = sn_abs_f32_v(x), low, inf = SN_C(SN_INFINITY), one = SN_C(1), zero = SN_C(0);
    vf32 high = sn_pow_exponent(a, y, &low);
    vi32 certain = (high > 100) | (high < -110); /* the low part may be no number there */
    vf32 r = sn_exp_pair(high, sn_select_f32_v(certain, zero, low));
    vi32 whole = sn_round_f32_v(y) == y, odd = whole & (sn_round_f32_v(0.5f * y) != 0.5f * y);
    vi32 up = y > 0, y_inf = sn_abs_f32_v(y) == SN_INFINITY;
    r = sn_select_f32_v(a == 0, sn_select_f32_v(up, zero, inf), r);
    r = sn_select_f32_v(a == SN_INFINITY, sn_select_f32_v(up, inf, zero), r);
    r = sn_select_f32_v(y_inf, sn_select_f32_v(up == (a > 1), inf, zero), r);
    r = (vf32)((vi32)r ^ (odd & (vi32)x & INT32_MIN));
    r = sn_select_f32_v((x < 0) & ~whole & (a < SN_INFINITY), SN_C(__builtin_nanf("")), r);
    r = sn_select_f32_v((x != x) | (y != y), x + y, r);
    return sn_select_f32_v((y == 0) | (x == 1) | ((a == 1) & y_inf), one, r);
}

#define SN_SCALAR_F32(NAME)                                                                                  \
    SN_INLINE float sn_##NAME##_f32_s(float x) {                                                             \
        return sn_##NAME##_f32_v(sn_splat_f32(x))[0];                                                        \
    }
#define SN_SCALAR_MASK(NAME)                                                                                 \
    SN_INLINE int32_t sn_##NAME##_f32_s(float x) {                                                           \
        return sn_##NAME##_f32_v(sn_splat_f32(x))[0];                                                        \
    }                                                                                                        \
    SN_INLINE vi32 sn_##NAME##_f64_v(vf64 x) {                                                               \
        vi32 r = {0};                                                                                        \
        SN_EACH_LANE r[i] = -!!__builtin_##NAME(x[i]);                                                       \
        return r;                                                                                            \
    }                                                                                                        \
    SN_INLINE int32_t sn_##NAME##_f64_s(double x) {                                                          \
        return -!!__builtin_##NAME(x);                                                                       \
    }
/* clang-format off */
#define SN_OWN(F)                                                                                            \
    F(exp) F(log) F(tanh) F(erf) F(one_plus_erf) F(sigmoid) F(sin) F(cos) F(sqrt) F(rsqrt) F(reciprocal) F(floor) F(ceil)    \
    F(trunc) F(round) F(abs) F(neg) F(sign)
/* clang-format on */
SN_OWN(SN_SCALAR_F32)
SN_SCALAR_MASK(isnan)
SN_SCALAR_MASK(isinf)
SN_INLINE float sn_pow_f32_s(float x, float y) {
    return sn_pow_f32_v(sn_splat_f32(x), sn_splat_f32(y))[0];
}
SN_INLINE float sn_fma_f32_s(float a, float b, float c) {
    return sn_fma_f32_v(sn_splat_f32(a), sn_splat_f32(b), sn_splat_f32(c))[0];
}

#endif

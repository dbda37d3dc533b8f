/* Exponentials of the C dialect and what is made of them: exp, tanh, erf, 1 + erf, sigmoid of f32 vectors; and what
 * the other polynomials, in vector_math.h, share with them. After vector.h; vector_math.h names the bounds and has
 * the other forms.
 *
 * Where a vector has 16 lanes and an instruction looks lanes up in a register, the argument's low bits choose one of
 * 16 constants: an exponential then needs a polynomial of half the degree, and 1 + erf no exponential at all. */
#ifndef SN_DEVICE_VECTOR_EXP_H
#define SN_DEVICE_VECTOR_EXP_H

#define SN_C(x)      sn_splat_f32(x)
#define SN_INFINITY  __builtin_inff()
#define SN_EACH_LANE for (int i = 0; i < SN_LANES; i++)

/* One rounding, exactly: error terms of products hang on it. */
SN_INLINE vf32 sn_fma_f32_v(vf32 a, vf32 b, vf32 c) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return __builtin_ia32_vfmaddps512_mask(a, b, c, (uint16_t)-1, 4);
#elif SN_VECTOR_BYTES == 32 && defined(__FMA__)
    return __builtin_ia32_vfmaddps256(a, b, c);
#elif SN_VECTOR_BYTES == 16 && defined(__FMA__)
    return __builtin_ia32_vfmaddps(a, b, c);
#elif defined(__FMA__) || !defined(__x86_64__)
    SN_EACH_LANE c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    /* The product is exact in double, so this errs by the second rounding alone. */
    return SN_CONVERT(SN_CONVERT(a, vf64) * SN_CONVERT(b, vf64) + SN_CONVERT(c, vf64), vf32);
#endif
}
/* The larger and the smaller of x and a bound that is a number; a NaN in x stays, as the machine's
 * instructions return their second operand then. */
SN_INLINE vf32 sn_at_least(vf32 x, vf32 bound) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__) && !defined(__clang__)
    return __builtin_ia32_maxps512_mask(bound, x, x, (uint16_t)-1, 4);
#elif SN_VECTOR_BYTES == 32 && defined(__AVX__)
    return __builtin_ia32_maxps256(bound, x);
#elif SN_VECTOR_BYTES == 16 && defined(__SSE__)
    return __builtin_ia32_maxps(bound, x);
#else
    return sn_select_f32_v(bound > x, bound, x);
#endif
}
SN_INLINE vf32 sn_at_most(vf32 x, vf32 bound) {
#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__) && !defined(__clang__)
    return __builtin_ia32_minps512_mask(bound, x, x, (uint16_t)-1, 4);
#elif SN_VECTOR_BYTES == 32 && defined(__AVX__)
    return __builtin_ia32_minps256(bound, x);
#elif SN_VECTOR_BYTES == 16 && defined(__SSE__)
    return __builtin_ia32_minps(bound, x);
#else
    return sn_select_f32_v(bound < x, bound, x);
#endif
}
#define SN_POLY1(x, a, b)  sn_fma_f32_v(x, SN_C(b), SN_C(a))
#define SN_POLY(x, a, ...) sn_fma_f32_v(x, __VA_ARGS__, SN_C(a)) /* a + x * (the rest) */

SN_INLINE vf32 sn_signed_as(vf32 magnitude, vf32 sign) {
    return (vf32)(((vi32)magnitude & INT32_MAX) | ((vi32)sign & INT32_MIN));
}
SN_INLINE vf32 sn_abs_f32_v(vf32 x) {
    return (vf32)((vi32)x & INT32_MAX);
}

#if SN_VECTOR_BYTES == 64 && defined(__AVX512F__)
#define SN_LOOKS_UP  1
#define SN_EXP_SHIFT 0x1.8p19f /* a sum with it has sixteenths in its low bits */
/* Lane i: the lane of `table` that the low four bits of index[i] say. */
SN_INLINE vf32 sn_look_up(vf32 table, vi32 index) {
#if defined(__clang__)
    return __builtin_ia32_permvarsf512(table, index);
#else
    return __builtin_ia32_permvarsf512_mask(table, index, table, (uint16_t)-1);
#endif
}
#else
#define SN_LOOKS_UP  0
#define SN_EXP_SHIFT 0x1.8p23f
#endif

/* x * 2^n, rounded once, where `shifted` is n + SN_EXP_SHIFT: the greatest whole number below n counts, or n is one and
 * in [-252, 254]. */
SN_INLINE vf32 sn_scale_by(vf32 x, vf32 shifted) {
#if SN_LOOKS_UP
    return __builtin_ia32_scalefps512_mask(x, shifted - SN_EXP_SHIFT, x, (uint16_t)-1, 4);
#else
    vi32 n = (vi32)shifted - 0x4b400000, half = n >> 1;
    return x * (vf32)((half + 127) << 23) * (vf32)((n - half + 127) << 23);
#endif
}

/* x = n ln 2 + r with |r| <= ln 2 / 2 (a sixteenth of that where sixteenths are looked up): returns r, and n +
 * SN_EXP_SHIFT. *near is r but for n times what the float next to ln 2 lacks of it. */
SN_INLINE vf32 sn_exp_split(vf32 x, vf32 *shifted, vf32 *near) {
    *shifted = sn_fma_f32_v(x, SN_C(0x1.715476p+0f), SN_C(SN_EXP_SHIFT));
    vf32 n = *shifted - SN_EXP_SHIFT;
    *near = sn_fma_f32_v(n, SN_C(-0x1.62e430p-1f), x);
    return sn_fma_f32_v(n, SN_C(0x1.05c610p-29f), *near);
}
/* 2^n e^r, where e^r = 1 + r + r^2 P(r). Terms of r^2 and above do with `near`, which is known sooner. */
SN_INLINE vf32 sn_exp_join(vf32 r, vf32 near, vf32 shifted) {
#if SN_LOOKS_UP
    const vf32 powers = {1,
                         0x1.0b5586p+0f,
                         0x1.172b84p+0f,
                         0x1.2387a6p+0f,
                         0x1.306fep+0f,
                         0x1.3dea64p+0f,
                         0x1.4bfdaep+0f,
                         0x1.5ab07ep+0f,
                         0x1.6a09e6p+0f,
                         0x1.7a1148p+0f,
                         0x1.8ace54p+0f,
                         0x1.9c4918p+0f,
                         0x1.ae89fap+0f,
                         0x1.c199bep+0f,
                         0x1.d5818ep+0f,
                         0x1.ea4afap+0f};
    vf32 power = sn_look_up(powers, (vi32)shifted);
    vf32 q = sn_fma_f32_v(near * near, SN_POLY1(near, 0.50001615f, 0.16666718f), r);
    return sn_scale_by(sn_fma_f32_v(power, q, power), shifted);
#else
    vf32 p = SN_POLY(
        r, 0.499999934f,
        SN_POLY(r, 0.1666652f, SN_POLY(r, 0.0416683956f, SN_POLY1(r, 0.0083687862f, 0.00138144023f))));
    p = sn_fma_f32_v(sn_fma_f32_v(p, r, SN_C(1)), r, SN_C(1));
    (void)near;
    return sn_scale_by(p, shifted);
#endif
}
/* e^(x + low) for a small `low`. */
SN_INLINE vf32 sn_exp_pair(vf32 x, vf32 low) {
    vf32 shifted, near, r = sn_exp_split(sn_at_most(sn_at_least(x, SN_C(-105)), SN_C(90)), &shifted, &near);
    return sn_exp_join(r + low, r + low, shifted);
}
/* e^x for x in [-105, 90], or NaN. */
SN_INLINE vf32 sn_exp_within(vf32 x) {
    vf32 shifted, near, r = sn_exp_split(x, &shifted, &near);
    return sn_exp_join(r, near, shifted);
}
SN_INLINE vf32 sn_exp_f32_v(vf32 x) {
    return sn_exp_within(sn_at_most(sn_at_least(x, SN_C(-105)), SN_C(90)));
}

/* Below 0.625 x + x^3 P(x^2), above 1 - 2 / (e^2x + 1). */
SN_INLINE vf32 sn_tanh_f32_v(vf32 x) {
    vf32 a = sn_abs_f32_v(x), z = x * x;
    vf32 large = 1 - 2 / (sn_exp_within(sn_at_most(a + a, SN_C(40))) + 1);
    vf32 p = SN_POLY(
        z, -0.333332819f,
        SN_POLY(z, 0.133314418f, SN_POLY(z, -0.0537396895f, SN_POLY1(z, 0.0206390129f, -0.00570491146f))));
    return sn_signed_as(sn_select_f32_v(a < 0.625f, sn_fma_f32_v(p * z, a, a), large), x);
}

/* Below 0.9 x + x Q(x^2), above 1 - e^(-t + t P(t)) with t = |x|; from 4 on it is one. */
SN_INLINE vf32 sn_erf_f32_v(vf32 x) {
    vf32 a = sn_abs_f32_v(x), t = sn_at_most(a, SN_C(4)), z = t * t;
    vf32 p = SN_POLY(
        t, -0.106119692f,
        SN_POLY(t, 0.023660144f, SN_POLY(t, -0.00359383417f, SN_POLY1(t, 0.000310744445f, -1.00171142e-5f))));
    p = SN_POLY(t, -0.12863141f, SN_POLY(t, -0.635221446f, p));
    vf32 large = 1 - sn_exp_within(sn_fma_f32_v(p, t, -t));
    vf32 q =
        SN_POLY(z, 0.112821407f, SN_POLY(z, -0.0267789052f, SN_POLY1(z, 0.00501195769f, -0.000609033517f)));
    q = SN_POLY(z, 0.128379154f, SN_POLY(z, -0.376125233f, q));
    return sn_signed_as(sn_select_f32_v(a < 0.9f, sn_fma_f32_v(q, t, t), large), x);
}

#if SN_LOOKS_UP
/* 1 + erf x to a unit in the last place of one, and to 3e-7 of itself down to -2: erfc |x| or 2 less that. erfc is a
 * polynomial about the next multiple of 9/32, and taken for 0 from 14.5 of these on, where it is below 1e-8. */
SN_INLINE vf32 sn_one_plus_erf_f32_v(vf32 x) {
    const vf32 c0 = {1,
                     0.690816283f,
                     0.42632556f,
                     0.232774347f,
                     0.111611769f,
                     0.0467301458f,
                     0.0170102809f,
                     0.00536544807f,
                     0.00146271707f,
                     0.000343952415f,
                     6.96509887e-05f,
                     1.21309104e-05f,
                     1.81530334e-06f,
                     2.33200353e-07f,
                     2.56999453e-08f,
                     0};
    const vf32 c1 = {-1.12837911f,     -1.04256141f,     -0.822321296f,    -0.553700209f,
                     -0.318274021f,    -0.1561784f,      -0.0654235259f,   -0.0233959053f,
                     -0.00714230165f,  -0.00186135096f,  -0.000414103561f, -7.86464007e-05f,
                     -1.27507528e-05f, -1.76472577e-06f, -2.08497141e-07f, 0};
    const vf32 c2 = {-1.66219104e-06f, 0.293210953f,    0.462545663f,    0.467181414f,
                     0.358061433f,     0.219630316f,    0.110404566f,    0.0460609607f,
                     0.0160696525f,    0.00471106637f,  0.00116442621f,  0.000243226677f,
                     4.30104847e-05f,  6.44728061e-06f, 8.20093419e-07f, 0};
    const vf32 c3 = {0.376176178f,     0.292519331f,     0.100631595f,     -0.0782241523f,
                     -0.162437215f,    -0.153823331f,    -0.102386676f,    -0.0526564494f,
                     -0.0217282549f,   -0.00733351707f,  -0.0020474412f,   -0.000476287154f,
                     -9.27778092e-05f, -1.51877202e-05f, -2.09492259e-06f, 0};
    const vf32 c4 = {-0.000620571605f, -0.137591094f,   -0.181121111f,   -0.122298963f,
                     -0.0284229629f,   0.0343282297f,   0.0492550358f,   0.0364423022f,
                     0.0191654451f,    0.00778259384f,  0.0025276693f,   0.000669038738f,
                     0.000145963379f,  2.64445625e-05f, 3.99950977e-06f, 0};
    const vf32 c5 = {-0.109861545f,    -0.0709517375f,   0.0113510862f,    0.0644788817f,
                     0.0605102554f,    0.0258698259f,    -0.00295000919f,  -0.0128351664f,
                     -0.0104917744f,   -0.00548580335f,  -0.00212860084f,  -0.000646508881f,
                     -0.000157763381f, -3.14005847e-05f, -5.14891417e-06f, 0};
    vf32 t = sn_at_most(sn_abs_f32_v(x), SN_C(15 * 0.28125f));
    vf32 shifted = sn_fma_f32_v(t, SN_C(1 / 0.28125f), SN_C(0x1.8p23f));
    vf32 d = sn_fma_f32_v(shifted - 0x1.8p23f, SN_C(-0.28125f), t);
    vi32 i = (vi32)shifted;
    vf32 e = sn_fma_f32_v(d, sn_look_up(c5, i), sn_look_up(c4, i));
    e = sn_fma_f32_v(d, e, sn_look_up(c3, i));
    e = sn_fma_f32_v(d, e, sn_look_up(c2, i));
    e = sn_fma_f32_v(d, e, sn_look_up(c1, i));
    e = sn_fma_f32_v(d, e, sn_look_up(c0, i));
    return sn_select_f32_v(x < 0, e, 2 - e);
}

/* 1 / (1 + e^-x) = a / (a + t e^-r) with x = m ln 2 + r, a = K 2^floor(m) and t = K 2^(floor(m) - m), for the K with which
 * all 16 of these are nearest to floats. The lesser of a and t joins what is small, so that only the last sum rounds. */
SN_INLINE vf32 sn_sigmoid_f32_v(vf32 x) {
    const vf32 powers = {0x1.d026fcp+0f, 0x1.bc7948p+0f, 0x1.a9a128p+0f, 0x1.979590p+0f,
                         0x1.864dd2p+0f, 0x1.75c1a2p+0f, 0x1.65e90cp+0f, 0x1.56bc72p+0f,
                         0x1.48348ap+0f, 0x1.3a4a58p+0f, 0x1.2cf72cp+0f, 0x1.2034a0p+0f,
                         0x1.13fc92p+0f, 0x1.084922p+0f, 0x1.fa2962p-1f, 0x1.e4b3bap-1f};
    vf32 shifted, near, r = sn_exp_split(sn_at_most(sn_at_least(x, SN_C(-105)), SN_C(60)), &shifted, &near);
    vf32 a = sn_scale_by(SN_C(0x1.d026fcp+0f), shifted), t = sn_look_up(powers, (vi32)shifted);
    vf32 q = sn_fma_f32_v(near * near, SN_POLY1(near, 0.50001615f, -0.16666718f), -r);
    return a / (sn_at_least(t, a) + sn_fma_f32_v(t, q, sn_at_most(t, a)));
}
#else
/* 1 + erf x to 1.5 units in the last place of one, and to 3e-6 of itself down to -2: e^(t P(t)) with t = |x| is
 * 1 - erf t. One range instead of erf's two, since what is added to one needs no digits of its own near 0. */
SN_INLINE vf32 sn_one_plus_erf_f32_v(vf32 x) {
    vf32 t = sn_at_most(sn_abs_f32_v(x), SN_C(10));
    vf32 z = t * t; /* the polynomial by pairs, so that less has to wait for what is before it */
    vf32 p = sn_fma_f32_v(z, SN_POLY1(t, 0.000308802566f, -3.14402091e-5f),
                          SN_POLY1(t, -0.000536931373f, -0.0010324029f));
    p = sn_fma_f32_v(z, p, SN_POLY1(t, -0.102919612f, 0.0195839585f));
    p = sn_fma_f32_v(z, p, SN_POLY1(t, -1.12838025f, -0.636597734f));
    vf32 e = sn_exp_within(sn_at_least(p * t, SN_C(-105)));
    return sn_select_f32_v(x < 0, e, 2 - e);
}

/* 1 / (1 + e^-x), written in e^-|x|, which cannot overflow. */
SN_INLINE vf32 sn_sigmoid_f32_v(vf32 x) {
    vf32 below = (vf32)((vi32)x | INT32_MIN), e = sn_exp_within(sn_at_least(below, SN_C(-105)));
    return sn_select_f32_v(x < 0, e, SN_C(1)) / (1 + e);
}
#endif

#endif

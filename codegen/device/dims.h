/* Index arithmetic of the C dialect: what an index expression may call when a sign is not known, and names
 * for the numbers that C cannot spell. No divisor is zero: sizes that divide are those of axes that are being
 * walked. */
#ifndef SN_DEVICE_DIMS_H
#define SN_DEVICE_DIMS_H

SN_INLINE int64_t sn_floordiv(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
SN_INLINE int64_t sn_ceildiv(int64_t a, int64_t b) {
    return a / b + (a % b != 0 && (a < 0) == (b < 0));
}
SN_INLINE int64_t sn_truncdiv(int64_t a, int64_t b) {
    return a / b;
}
SN_INLINE int64_t sn_floormod(int64_t a, int64_t b) {
    return a - sn_floordiv(a, b) * b;
}
SN_INLINE int64_t sn_least_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}
SN_INLINE int64_t sn_largest_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* a to the power b modulo 2^64; of a negative power nothing is left but for a = 1 and -1. */
SN_INLINE int64_t sn_pow_i64_s(int64_t a, int64_t b) {
    uint64_t power = 1, square = (uint64_t)a;
    if (b < 0) return a == 1 || (a == -1 && b % 2 == 0) ? 1 : a == -1 ? -1 : 0;
    for (; b; b /= 2, square *= square)
        if (b % 2) power *= square;
    return (int64_t)power;
}
SN_INLINE vi64 sn_pow_i64_v(vi64 a, vi64 b) {
    for (int i = 0; i < SN_LANES; i++) a[i] = sn_pow_i64_s(a[i], b[i]);
    return a;
}

#define SN_NAN_F32      __builtin_nanf("")
#define SN_NAN_F64      __builtin_nan("")
#define SN_INFINITY_F32 __builtin_inff()
#define SN_INFINITY_F64 __builtin_inf()

#endif

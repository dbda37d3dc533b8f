/* Single elements as the interpreter and shape values compute them: integers of every dtype are held in 64
 * bits; those of u64 as the same bits. */
#ifndef SN_SCALAR_H
#define SN_SCALAR_H

#include "number.h"
#include "type.h"

#include <math.h>

/* The integer modulo 2^bits of its dtype; bool: 0 or 1. */
static inline int64_t sn_scalar_wrap(DType dtype, int64_t value) {
    if (dtype == SN_BOOL) return value != 0;
    int unused = 64 - 8 * sn_dtype_bytes(dtype);
    uint64_t high = (uint64_t)value << unused;
    return sn_dtype_is_signed(dtype) ? (int64_t)high >> unused : (int64_t)(high >> unused);
}

/* The least and the greatest value of an integer dtype or bool. */
static inline int64_t sn_scalar_least(DType dtype) {
    if (!sn_dtype_is_signed(dtype)) return 0;
    return -(int64_t)((UINT64_C(1) << (8 * sn_dtype_bytes(dtype) - 1)) - 1) - 1;
}
static inline int64_t sn_scalar_greatest(DType dtype) {
    return sn_dtype_is_signed(dtype) ? -(sn_scalar_least(dtype) + 1) : sn_scalar_wrap(dtype, -1);
}

/* a < b; u64 compares unsigned. */
static inline bool sn_scalar_less(DType dtype, int64_t a, int64_t b) {
    return dtype == SN_U64 ? (uint64_t)a < (uint64_t)b : a < b;
}

/* a / b and a mod b (any kind of mod) are defined: a kernel would trap or fault otherwise. */
static inline bool sn_scalar_divides(DType dtype, int64_t a, int64_t b) {
    return b != 0 && !(sn_dtype_is_signed(dtype) && b == -1 && a == sn_scalar_least(dtype));
}

/* The float rounded to nearest even as its dtype holds it. */
static inline double sn_scalar_round(DType dtype, double value) {
    if (dtype == SN_F32) return (float)value;
    if (dtype == SN_F16) return sn_f16_to(sn_f16_from(value));
    if (dtype == SN_BF16) return sn_bf16_to(sn_bf16_from(value));
    return value;
}

/* The integer as a double. */
static inline double sn_scalar_to_float(DType dtype, int64_t value) {
    return dtype == SN_U64 ? (double)(uint64_t)value : (double)value;
}

/* The double truncated towards zero; false for NaN and what the integer dtype does not hold. */
static inline bool sn_scalar_from_float(DType dtype, double value, int64_t *out) {
    double whole = trunc(value), least = (double)sn_scalar_least(dtype);
    double beyond = ldexp(sn_dtype_is_signed(dtype) ? 0.5 : 1, 8 * sn_dtype_bytes(dtype));
    if (!(whole >= least && whole < beyond)) return false;
    *out = dtype == SN_U64 ? (int64_t)(uint64_t)whole : (int64_t)whole;
    return true;
}

/* The larger or smaller one; NaN if either is. */
static inline double sn_scalar_max(double a, double b) {
    if (isnan(a) || isnan(b)) return NAN;
    return a > b ? a : b;
}
static inline double sn_scalar_min(double a, double b) {
    if (isnan(a) || isnan(b)) return NAN;
    return a < b ? a : b;
}

#endif

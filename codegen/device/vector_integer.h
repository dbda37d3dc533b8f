/* Integer division of the C dialect: sn_NAME_{i32,u32,i64,u64}_{v,s}.
 *
 * Contract for the code generator: after vector.h. Two arguments: div (truncating), rem (sign of the
 * dividend), floordiv, mod (sign of the divisor), and div_fault, the mask of the lanes that have no quotient.
 * One: abs, neg, sign. None of them traps: x / 0 and x mod 0 are 0; the least integer by -1 is itself,
 * remainder 0. */
#ifndef SN_DEVICE_VECTOR_INTEGER_H
#define SN_DEVICE_VECTOR_INTEGER_H

#define SN_INTEGER_PAIR(NAME, TYPE, C, V)                                                                    \
    SN_INLINE V sn_##NAME##_##TYPE##_v(V a, V b) {                                                           \
        for (int i = 0; i < SN_LANES; i++) a[i] = sn_##NAME##_##TYPE##_s(a[i], b[i]);                        \
        return a;                                                                                            \
    }
#define SN_INTEGER(TYPE, C, V, SIGNED)                                                                       \
    SN_INLINE int32_t sn_div_fault_##TYPE##_s(C a, C b) {                                                    \
        return -(b == 0 || (SIGNED && b == (C)-1 && a != 0 && a == (C)(0 - a)));                             \
    }                                                                                                        \
    SN_INLINE C sn_div_##TYPE##_s(C a, C b) {                                                                \
        return b == 0 ? 0 : SIGNED && b == (C)-1 ? (C)(0 - a) : a / b;                                       \
    }                                                                                                        \
    SN_INLINE C sn_rem_##TYPE##_s(C a, C b) {                                                                \
        return b == 0 || (SIGNED && b == (C)-1) ? 0 : a % b;                                                 \
    }                                                                                                        \
    SN_INLINE C sn_mod_##TYPE##_s(C a, C b) {                                                                \
        C r = sn_rem_##TYPE##_s(a, b);                                                                       \
        return r != 0 && (r > 0) != (b > 0) ? r + b : r;                                                     \
    }                                                                                                        \
    SN_INLINE C sn_floordiv_##TYPE##_s(C a, C b) {                                                           \
        C r = sn_rem_##TYPE##_s(a, b), q = sn_div_##TYPE##_s(a, b);                                          \
        return r != 0 && (r > 0) != (b > 0) ? q - 1 : q;                                                     \
    }                                                                                                        \
    SN_INTEGER_PAIR(div, TYPE, C, V)                                                                         \
    SN_INTEGER_PAIR(rem, TYPE, C, V)                                                                         \
    SN_INTEGER_PAIR(mod, TYPE, C, V)                                                                         \
    SN_INTEGER_PAIR(floordiv, TYPE, C, V)                                                                    \
    SN_INLINE vi32 sn_div_fault_##TYPE##_v(V a, V b) {                                                       \
        vi32 r = {0};                                                                                        \
        for (int i = 0; i < SN_LANES; i++) r[i] = sn_div_fault_##TYPE##_s(a[i], b[i]);                       \
        return r;                                                                                            \
    }                                                                                                        \
    SN_INLINE V sn_neg_##TYPE##_v(V x) {                                                                     \
        return 0 - x;                                                                                        \
    }                                                                                                        \
    SN_INLINE C sn_neg_##TYPE##_s(C x) {                                                                     \
        return 0 - x;                                                                                        \
    }                                                                                                        \
    SN_INLINE V sn_abs_##TYPE##_v(V x) {                                                                     \
        return sn_max_##TYPE##_v(x, SIGNED ? 0 - x : x);                                                     \
    }                                                                                                        \
    SN_INLINE C sn_abs_##TYPE##_s(C x) {                                                                     \
        return SIGNED && !(x > 0) ? 0 - x : x;                                                               \
    }                                                                                                        \
    SN_INLINE V sn_sign_##TYPE##_v(V x) {                                                                    \
        return (V)(x < 0) - (V)(x > 0);                                                                      \
    }                                                                                                        \
    SN_INLINE C sn_sign_##TYPE##_s(C x) {                                                                    \
        return (C)((x > 0) - (x != 0 && !(x > 0)));                                                          \
    }
SN_INTEGER(i32, int32_t, vi32, 1)
SN_INTEGER(i64, int64_t, vi64, 1)
SN_INTEGER(u32, uint32_t, vu32, 0)
SN_INTEGER(u64, uint64_t, vu64, 0)

#endif

/* The bits of floats, as the unsigned integer of their width, and floats of bits: sn_bits_T_{v,s}(x), sn_of_bits_T_{v,s}(bits).
 * What is computed wider is rounded; of a NaN of 16 bits only that it is one is kept.
 *
 * Contract for the code generator: after vector_narrow.h. */
#ifndef SN_DEVICE_VECTOR_BITS_H
#define SN_DEVICE_VECTOR_BITS_H

SN_INLINE vu32 sn_bits_f32_v(vf32 x) {
    return (vu32)x;
}
SN_INLINE vf32 sn_of_bits_f32_v(vu32 bits) {
    return (vf32)bits;
}
SN_INLINE vu64 sn_bits_f64_v(vf64 x) {
    return (vu64)x;
}
SN_INLINE vf64 sn_of_bits_f64_v(vu64 bits) {
    return (vf64)bits;
}
SN_INLINE vi32 sn_bits_f16_v(vf32 x) {
    return sn_from_u16_v(sn_to_f16_v(x));
}
SN_INLINE vf32 sn_of_bits_f16_v(vi32 bits) {
    return sn_from_f16_v(sn_to_u16_v(bits));
}
SN_INLINE vi32 sn_bits_bf16_v(vf32 x) {
    return sn_from_u16_v(sn_to_bf16_v(x));
}
SN_INLINE vf32 sn_of_bits_bf16_v(vi32 bits) {
    return sn_from_bf16_v(sn_to_u16_v(bits));
}

#define SN_BITS_S(NAME, FLOAT, BITS, T, C)                                                                   \
    SN_INLINE T sn_bits_##NAME##_s(C x) {                                                                    \
        return sn_bits_##NAME##_v(sn_splat_##FLOAT(x))[0];                                                   \
    }                                                                                                        \
    SN_INLINE C sn_of_bits_##NAME##_s(T bits) {                                                              \
        return sn_of_bits_##NAME##_v(sn_splat_##BITS(bits))[0];                                              \
    }
SN_BITS_S(f32, f32, u32, uint32_t, float)
SN_BITS_S(f64, f64, u64, uint64_t, double)
SN_BITS_S(f16, f32, i32, int32_t, float)
SN_BITS_S(bf16, f32, i32, int32_t, float)

#endif

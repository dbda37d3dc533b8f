/* The bits of floats, and floats of bits, as vector_bits.h has them. After prelude.cuh. */
#ifndef SN_DEVICE_BITS_CUH
#define SN_DEVICE_BITS_CUH

SN_DEVICE uint32_t sn_bits_f32_s(float x) {
    return __float_as_uint(x);
}
SN_DEVICE float sn_of_bits_f32_s(uint32_t bits) {
    return __uint_as_float(bits);
}
SN_DEVICE uint64_t sn_bits_f64_s(double x) {
    return (uint64_t)__double_as_longlong(x);
}
SN_DEVICE double sn_of_bits_f64_s(uint64_t bits) {
    return __longlong_as_double((long long)bits);
}
SN_DEVICE int32_t sn_bits_f16_s(float x) {
    return sn_to_f16_s(x);
}
SN_DEVICE float sn_of_bits_f16_s(int32_t bits) {
    return sn_from_f16_s((uint16_t)bits);
}
SN_DEVICE int32_t sn_bits_bf16_s(float x) {
    return sn_to_bf16_s(x);
}
SN_DEVICE float sn_of_bits_bf16_s(int32_t bits) {
    return sn_from_bf16_s((uint16_t)bits);
}

#endif

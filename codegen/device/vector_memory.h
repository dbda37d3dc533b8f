/* Loads and stores of vectors and scalars of every storage type, in the forms that vector.h names. After vector_narrow.h. */
#ifndef SN_DEVICE_VECTOR_MEMORY_H
#define SN_DEVICE_VECTOR_MEMORY_H

/* Partial vectors: the first n elements of SIZE bytes each, the others of `to` left alone or zero; and vectors of the elements whose
 * lanes are `live`, the others zero. Masked instructions where there are some; otherwise the first n go by the binary digits of the
 * n * SIZE < 256 bytes, since a call to memcpy would cost more than the copy. */
#if SN_VECTOR_BYTES == 64 && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
typedef long long SnWide __attribute__((vector_size(64)));
typedef char SnBytes __attribute__((vector_size(16)));
typedef short SnHalves __attribute__((vector_size(32)));
typedef int SnWords __attribute__((vector_size(64)));
SN_INLINE void sn_load_bits(void *to, const void *from, uint32_t mask, int size) {
    if (size == 1) {
        SnBytes x = __builtin_ia32_loaddquqi128_mask(from, (SnBytes){0}, (uint16_t)mask);
        __builtin_memcpy(to, &x, sizeof x);
    } else if (size == 2) {
        SnHalves x = __builtin_ia32_loaddquhi256_mask(from, (SnHalves){0}, (uint16_t)mask);
        __builtin_memcpy(to, &x, sizeof x);
    } else if (size == 4) {
        SnWords x = __builtin_ia32_loaddqusi512_mask(from, (SnWords){0}, (uint16_t)mask);
        __builtin_memcpy(to, &x, sizeof x);
    } else {
        const long long *f = from;
        SnWide low = __builtin_ia32_loaddqudi512_mask(f, (SnWide){0}, (uint8_t)mask);
        SnWide high = __builtin_ia32_loaddqudi512_mask(f + 8, (SnWide){0}, (uint8_t)(mask >> 8));
        __builtin_memcpy(to, &low, sizeof low);
        __builtin_memcpy((char *)to + 64, &high, sizeof high);
    }
}
SN_INLINE void sn_load_part(void *to, const void *from, int64_t n, int size) {
    sn_load_bits(to, from, (1u << n) - 1, size);
}
SN_INLINE void sn_load_live(void *to, const void *from, vi32 live, int size) {
    sn_load_bits(to, from, (uint16_t)__builtin_ia32_cvtd2mask512((SnWords)live), size);
}
SN_INLINE void sn_store_part(void *to, const void *from, int64_t n, int size) {
    const uint32_t mask = (1u << n) - 1;
    if (size == 1) {
        SnBytes x;
        __builtin_memcpy(&x, from, sizeof x);
        __builtin_ia32_storedquqi128_mask(to, x, (uint16_t)mask);
    } else if (size == 2) {
        SnHalves x;
        __builtin_memcpy(&x, from, sizeof x);
        __builtin_ia32_storedquhi256_mask(to, x, (uint16_t)mask);
    } else if (size == 4) {
        SnWords x;
        __builtin_memcpy(&x, from, sizeof x);
        __builtin_ia32_storedqusi512_mask(to, x, (uint16_t)mask);
    } else {
        SnWide low, high;
        __builtin_memcpy(&low, from, sizeof low);
        __builtin_memcpy(&high, (const char *)from + 64, sizeof high);
        __builtin_ia32_storedqudi512_mask((long long *)to, low, (uint8_t)mask);
        __builtin_ia32_storedqudi512_mask((long long *)to + 8, high, (uint8_t)(mask >> 8));
    }
}
#else
SN_OUTLINE void sn_copy_bytes(void *to, const void *from, int64_t n) {
    char *t = to;
    const char *f = from;
#define SN_COPY_BIT(B)                                                                                       \
    if (n & (B)) {                                                                                           \
        __builtin_memcpy(t, f, B);                                                                           \
        t += (B);                                                                                            \
        f += (B);                                                                                            \
    }
    SN_COPY_BIT(128)
    SN_COPY_BIT(64)
    SN_COPY_BIT(32) SN_COPY_BIT(16) SN_COPY_BIT(8) SN_COPY_BIT(4) SN_COPY_BIT(2) SN_COPY_BIT(1)
#undef SN_COPY_BIT
}
SN_INLINE void sn_load_part(void *to, const void *from, int64_t n, int size) {
    sn_copy_bytes(to, from, n * size);
}
SN_INLINE void sn_load_live(void *to, const void *from, vi32 live, int size) {
#if SN_VECTOR_BYTES == 32 && defined(__AVX2__)
    typedef int Words __attribute__((vector_size(32)));
    if (size == 4) {
        Words x = __builtin_ia32_maskloadd256((const Words *)from, (Words)live);
        __builtin_memcpy(to, &x, sizeof x);
        return;
    }
#endif
    if (sn_all(live))
        __builtin_memcpy(to, from, (size_t)(SN_LANES * size));
    else if (sn_any(live))
        for (int64_t i = 0; i < SN_LANES; i++)
            if (live[i]) __builtin_memcpy((char *)to + i * size, (const char *)from + i * size, (size_t)size);
}
SN_INLINE void sn_store_part(void *to, const void *from, int64_t n, int size) {
    sn_copy_bytes(to, from, n * size);
}
#endif

/* Loads and stores of every storage type. WIDEN and NARROW take a storage vector or scalar to the compute
 * type and back. */
#define SN_SAME_v(x)          (x)
#define SN_SAME_s(x)          (x)
#define SN_STEP(i, p, stride) (p)[(i) * (stride)]
#define SN_PICK(i, p, index)  (p)[(index)[i]]

#define SN_MEMORY(NAME, T, SV, C, CV, WIDEN, NARROW)                                                         \
    SN_INLINE CV sn_load_##NAME##_v(const void *p) {                                                         \
        SV x;                                                                                                \
        __builtin_memcpy(&x, p, sizeof x);                                                                   \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_load_##NAME##_p(const void *p, int64_t n) {                                              \
        SV x = {0};                                                                                          \
        if (n == SN_LANES)                                                                                   \
            __builtin_memcpy(&x, p, sizeof x);                                                               \
        else                                                                                                 \
            sn_load_part(&x, p, n, sizeof(T));                                                               \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_load_##NAME##_m(const void *p, vi32 live) {                                              \
        SV x = {0};                                                                                          \
        sn_load_live(&x, p, live, sizeof(T));                                                                \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_load_##NAME##_x(const void *pointer, int64_t stride) {                                   \
        const T *p = pointer;                                                                                \
        SV x = {SN_LIST(SN_STEP, p, stride)};                                                                \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE CV sn_gather_##NAME##_v(const void *pointer, vi64 offsets) {                                   \
        const T *p = pointer;                                                                                \
        SV x = {SN_LIST(SN_PICK, p, offsets)};                                                               \
        return WIDEN##_v(x);                                                                                 \
    }                                                                                                        \
    SN_INLINE C sn_load_##NAME##_s(const void *p) {                                                          \
        return WIDEN##_s(*(const T *)p);                                                                     \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_v(void *p, CV value) {                                                  \
        SV x = NARROW##_v(value);                                                                            \
        __builtin_memcpy(p, &x, sizeof x);                                                                   \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_p(void *p, CV value, int64_t n) {                                       \
        SV x = NARROW##_v(value);                                                                            \
        if (n == SN_LANES)                                                                                   \
            __builtin_memcpy(p, &x, sizeof x);                                                               \
        else                                                                                                 \
            sn_store_part(p, &x, n, sizeof(T));                                                              \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_x(void *pointer, CV value, int64_t stride) {                            \
        SV x = NARROW##_v(value);                                                                            \
        for (int i = 0; i < SN_LANES; i++) ((T *)pointer)[i * stride] = x[i];                                \
    }                                                                                                        \
    SN_INLINE void sn_store_##NAME##_s(void *p, C value) {                                                   \
        *(T *)p = NARROW##_s(value);                                                                         \
    }
SN_MEMORY(f32, float, vf32, float, vf32, SN_SAME, SN_SAME)
SN_MEMORY(f64, double, vf64, double, vf64, SN_SAME, SN_SAME)
SN_MEMORY(f16, uint16_t, vu16, float, vf32, sn_from_f16, sn_to_f16)
SN_MEMORY(bf16, uint16_t, vu16, float, vf32, sn_from_bf16, sn_to_bf16)
SN_MEMORY(i8, int8_t, vi8, int32_t, vi32, sn_from_i8, sn_narrow_i8)
SN_MEMORY(u8, uint8_t, vu8, int32_t, vi32, sn_from_u8, sn_narrow_u8)
SN_MEMORY(i16, int16_t, vi16, int32_t, vi32, sn_from_i16, sn_narrow_i16)
SN_MEMORY(u16, uint16_t, vu16, int32_t, vi32, sn_from_u16, sn_narrow_u16)
SN_MEMORY(bool, uint8_t, vu8, int32_t, vi32, SN_TO_MASK, SN_FROM_MASK)
SN_MEMORY(i32, int32_t, vi32, int32_t, vi32, SN_SAME, SN_SAME)
SN_MEMORY(u32, uint32_t, vu32, uint32_t, vu32, SN_SAME, SN_SAME)
SN_MEMORY(i64, int64_t, vi64, int64_t, vi64, SN_SAME, SN_SAME)
SN_MEMORY(u64, uint64_t, vu64, uint64_t, vu64, SN_SAME, SN_SAME)

#endif

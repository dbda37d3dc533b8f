/* Random numbers of the C dialect: sn_random_i64_{v,s}(seed, stream, index), a word of Philox 4x32-10 (Salmon et al.,
 * 2011) as sn_random_word of base/number.h has it.
 *
 * Contract for the code generator: after vector.h. Words of 32 bits are kept in 64, whose upper halves are zero. A block
 * has four words: where neighbouring lanes are neighbouring indices, as they nearly always are, each block is computed
 * once, and otherwise for every lane. */
#ifndef SN_DEVICE_VECTOR_RANDOM_H
#define SN_DEVICE_VECTOR_RANDOM_H

typedef uint64_t SnBlocks __attribute__((vector_size(2 * SN_LANES))); /* a lane for four of a vector's */

/* Lane 0 of two such vectors, then lane 1 of both … */
#if SN_LANES == 16
#define SN_PAIRS 0, 4, 1, 5, 2, 6, 3, 7
#elif SN_LANES == 8
#define SN_PAIRS 0, 2, 1, 3
#else
#define SN_PAIRS 0, 1
#endif

/* a·b of words. GCC has no better idea for 64-bit lanes than to multiply all of their bits. */
SN_INLINE SnBlocks sn_mul_words_b(SnBlocks a, uint64_t b) {
#if SN_LANES == 16 && defined(__AVX2__) && !defined(__clang__)
    typedef int Words __attribute__((vector_size(2 * SN_LANES)));
    return (SnBlocks)__builtin_ia32_pmuludq256((Words)a, (Words)(a * 0 + b));
#elif SN_LANES == 8 && defined(__SSE2__) && !defined(__clang__)
    typedef int Words __attribute__((vector_size(2 * SN_LANES)));
    return (SnBlocks)__builtin_ia32_pmuludq128((Words)a, (Words)(a * 0 + b));
#else
    return a * b;
#endif
}
SN_INLINE vu64 sn_mul_words_v(vu64 a, uint64_t b) {
    return a * b;
}
SN_INLINE uint64_t sn_mul_words_s(uint64_t a, uint64_t b) {
    return a * b;
}

#define SN_PHILOX(FORM, W)                                                                                   \
    SN_INLINE void sn_philox_##FORM(W seed, W stream, W block, W x[4]) {                                     \
        W k0 = seed & 0xffffffff, k1 = seed >> 32;                                                           \
        W x0 = block & 0xffffffff, x1 = block >> 32, x2 = stream & 0xffffffff, x3 = stream >> 32;            \
        for (int round = 0; round < 10; round++) {                                                           \
            const W even = sn_mul_words_##FORM(x0, 0xD2511F53), odd = sn_mul_words_##FORM(x2, 0xCD9E8D57);   \
            x0 = (odd >> 32) ^ x1 ^ k0;                                                                      \
            x1 = odd & 0xffffffff;                                                                           \
            x2 = (even >> 32) ^ x3 ^ k1;                                                                     \
            x3 = even & 0xffffffff;                                                                          \
            k0 = (k0 + 0x9E3779B9) & 0xffffffff;                                                             \
            k1 = (k1 + 0xBB67AE85) & 0xffffffff;                                                             \
        }                                                                                                    \
        x[0] = x0, x[1] = x1, x[2] = x2, x[3] = x3;                                                          \
    }
SN_PHILOX(b, SnBlocks)
SN_PHILOX(v, vu64)
SN_PHILOX(s, uint64_t)

SN_INLINE uint32_t sn_random_i64_s(int64_t seed, int64_t stream, int64_t index) {
    uint64_t x[4];
    sn_philox_s((uint64_t)seed, (uint64_t)stream, (uint64_t)index >> 2, x);
    return (uint32_t)((index & 2) ? (index & 1) ? x[3] : x[2] : (index & 1) ? x[1] : x[0]);
}

/* The lanes are elements first, first + 1 …, of which the first begins a block. */
SN_INLINE vu32 sn_random_whole(uint64_t seed, uint64_t stream, uint64_t first) {
    SnBlocks x[4], block = {0};
    for (int i = 0; i < SN_LANES / 4; i++) block[i] = (first >> 2) + (uint64_t)i;
    sn_philox_b(block * 0 + seed, block * 0 + stream, block, x);
    const SnBlocks low_pair = x[0] | x[1] << 32, high_pair = x[2] | x[3] << 32;
    return (vu32)__builtin_shufflevector(low_pair, high_pair, SN_PAIRS);
}

/* Not inlined: it is needed seldom, and long. */
SN_OUTLINE vu32 sn_random_each(vi64 seed, vi64 stream, vi64 index) {
    vu64 x[4];
    sn_philox_v((vu64)seed, (vu64)stream, (vu64)index >> 2, x);
    const vu64 odd = (vu64)((index & 1) != 0), high = (vu64)((index & 2) != 0);
    const vu64 low_pair = (x[1] & odd) | (x[0] & ~odd), high_pair = (x[3] & odd) | (x[2] & ~odd);
    return SN_CONVERT((high_pair & high) | (low_pair & ~high), vu32);
}

SN_INLINE vu32 sn_random_i64_v(vi64 seed, vi64 stream, vi64 index) {
    const vi64 off = (seed ^ seed[0]) | (stream ^ stream[0]) | (index ^ (sn_iota_i64() + index[0]));
    if ((index[0] & 3) == 0 && sn_all(SN_CONVERT(off == 0, vi32)))
        return sn_random_whole((uint64_t)seed[0], (uint64_t)stream[0], (uint64_t)index[0]);
    return sn_random_each(seed, stream, index);
}

#endif

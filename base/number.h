/* Numbers: narrow float formats, overflow-checked sizes, and the counter-based random generator. */
#ifndef SN_NUMBER_H
#define SN_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* Round to nearest even; overflow gives infinity; NaN stays NaN (quiet). IEEE binary16 and bfloat16. */
uint16_t sn_f16_from(double value);
uint16_t sn_bf16_from(double value);
double sn_f16_to(uint16_t bits);
double sn_bf16_to(uint16_t bits);

/* The exact result, or false when it does not fit (then *out is unspecified). */
static inline bool sn_add_i64(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool sn_sub_i64(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_sub_overflow(a, b, out);
}
static inline bool sn_mul_i64(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* Division rounded towards minus infinity, and the remainder with the divisor's sign.
 * False for a zero divisor or INT64_MIN / -1. */
bool sn_floordiv_i64(int64_t a, int64_t b, int64_t *out);
bool sn_mod_i64(int64_t a, int64_t b, int64_t *out);

/* Philox4x32-10 (Salmon et al., 2011): four 32-bit words of the stream `seed` at `counter`. */
void sn_philox(uint64_t seed, uint64_t counter, uint32_t out[4]);

/* Word `index` of stream number `stream` of the seed: word index % 4 of the block whose counter has `index` / 4 in its
 * lower 64 bits and `stream` in its upper ones. sn_philox is stream 0. */
uint32_t sn_random_word(uint64_t seed, uint64_t stream, uint64_t index);

/* Number `index` of the stream `seed`: uniform over 0 … count − 1, up to a preference of count/2^64 for some. */
int64_t sn_random_below(uint64_t seed, uint64_t index, int64_t count);

/* Element `index` of the stream `seed`: uniform in [0, 1), and standard normal (Box-Muller on one block of
 * four words for elements 4k..4k+3). The same on every machine to the last bit of the uniform; the normal to
 * libm's log, sqrt and cos. */
double sn_random_uniform(uint64_t seed, uint64_t index);
double sn_random_normal(uint64_t seed, uint64_t index);

#endif

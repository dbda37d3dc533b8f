#include "number.h"

#include <math.h>
#include <string.h>

enum { F64_FRACTION = 52, F64_BIAS = 1023 };

/* `value` in the IEEE format with a sign, `exponent_bits` and `fraction_bits` (both smaller than a double's).
 */
static uint16_t narrow(double value, int exponent_bits, int fraction_bits) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t fraction = bits & ((UINT64_C(1) << F64_FRACTION) - 1);
    int exponent = (int)(bits >> F64_FRACTION & 0x7ff) - F64_BIAS;
    int bias = (1 << (exponent_bits - 1)) - 1;
    uint64_t infinity = ((UINT64_C(1) << exponent_bits) - 1) << fraction_bits;
    uint64_t sign = bits >> 63 << (exponent_bits + fraction_bits);

    if (isnan(value)) { /* the upper part of the payload, and the bit that says quiet */
        uint64_t payload = fraction >> (F64_FRACTION - fraction_bits);
        return (uint16_t)(sign | infinity | payload | UINT64_C(1) << (fraction_bits - 1));
    }
    if (exponent > bias) return (uint16_t)(sign | infinity);

    /* Below the smallest normal exponent the unit in the last place no longer shrinks. */
    int below = exponent < 1 - bias ? 1 - bias - exponent : 0;
    int shift = F64_FRACTION - fraction_bits + below;
    if (shift > F64_FRACTION + 1) return (uint16_t)sign; /* less than half of the smallest denormal */
    uint64_t significand = fraction | UINT64_C(1) << F64_FRACTION;
    uint64_t kept = significand >> shift;
    uint64_t rest = significand & ((UINT64_C(1) << shift) - 1);
    uint64_t half = UINT64_C(1) << (shift - 1);
    if (rest > half || (rest == half && (kept & 1))) kept++;
    /* A carry out of the fraction runs into the exponent, from the largest number into infinity: as it
     * should. */
    uint64_t biased = below ? 0 : (uint64_t)(exponent + bias - 1) << fraction_bits;
    return (uint16_t)(sign | (biased + kept));
}

uint16_t sn_f16_from(double value) {
    return narrow(value, 5, 10);
}

uint16_t sn_bf16_from(double value) {
    return narrow(value, 8, 7);
}

double sn_f16_to(uint16_t half) {
    uint64_t sign = (uint64_t)(half >> 15) << 63;
    int exponent = half >> 10 & 31;
    uint64_t fraction = half & 1023;
    if (exponent == 0) {
        double denormal = (double)fraction * 0x1p-24;
        return sign ? -denormal : denormal;
    }
    uint64_t wide = exponent == 31 ? 0x7ff : (uint64_t)(exponent - 15 + F64_BIAS);
    uint64_t quiet = exponent == 31 && fraction ? UINT64_C(1) << (F64_FRACTION - 1) : 0;
    uint64_t bits = sign | wide << F64_FRACTION | fraction << (F64_FRACTION - 10) | quiet;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double sn_bf16_to(uint16_t bits) {
    uint32_t single_bits = (uint32_t)bits << 16;
    float single;
    memcpy(&single, &single_bits, sizeof single);
    return single;
}

static bool divisible(int64_t a, int64_t b) {
    return b != 0 && !(a == INT64_MIN && b == -1);
}

bool sn_floordiv_i64(int64_t a, int64_t b, int64_t *out) {
    if (!divisible(a, b)) return false;
    *out = a / b - (a % b != 0 && (a < 0) != (b < 0));
    return true;
}

bool sn_mod_i64(int64_t a, int64_t b, int64_t *out) {
    if (!divisible(a, b)) return false;
    int64_t rest = a % b;
    *out = rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    return true;
}

/* Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2 and
 * section 4.3: the multipliers, and the Weyl constants that the key is raised by after each round. */
static void philox(uint64_t seed, uint64_t high, uint64_t low, uint32_t out[4]) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t x[4] = {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t even = UINT64_C(0xD2511F53) * x[0];
        uint64_t odd = UINT64_C(0xCD9E8D57) * x[2];
        x[0] = (uint32_t)(odd >> 32) ^ x[1] ^ key[0];
        x[1] = (uint32_t)odd;
        x[2] = (uint32_t)(even >> 32) ^ x[3] ^ key[1];
        x[3] = (uint32_t)even;
        key[0] += UINT32_C(0x9E3779B9);
        key[1] += UINT32_C(0xBB67AE85);
    }
    memcpy(out, x, sizeof x);
}

void sn_philox(uint64_t seed, uint64_t counter, uint32_t out[4]) {
    philox(seed, 0, counter, out);
}

uint32_t sn_random_word(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t word[4];
    philox(seed, stream, index / 4, word);
    return word[index % 4];
}

int64_t sn_random_below(uint64_t seed, uint64_t index, int64_t count) {
    uint32_t word[4];
    sn_philox(seed, index, word);
    uint64_t random = (uint64_t)word[0] | (uint64_t)word[1] << 32;
    return (int64_t)(random % (uint64_t)count);
}

double sn_random_uniform(uint64_t seed, uint64_t index) {
    uint32_t word[4];
    sn_philox(seed, index / 4, word);
    return word[index % 4] * 0x1p-32;
}

/* Box-Muller: words 0 and 1 are the radius and the angle of elements 4k and 4k+1, words 2 and 3 of the next
 * two. The second of a pair takes the sine, which is the cosine a quarter of a turn earlier. */
double sn_random_normal(uint64_t seed, uint64_t index) {
    uint32_t word[4];
    sn_philox(seed, index / 4, word);
    const uint32_t *pair = &word[index % 4 & 2];
    double radius = sqrt(-2 * log((pair[0] + 0.5) * 0x1p-32));
    double turn = pair[1] * 0x1p-32 - (index & 1 ? 0.25 : 0);
    return radius * cos(6.283185307179586 * turn);
}

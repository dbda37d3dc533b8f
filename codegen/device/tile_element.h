/* What the register tile multiplies: elements, alone or several in a word, and how products of them are added.
 *
 * Contract for the code generator: after vector.h; an optional #define before it, of which tile.h knows too:
 *   SN_TILE_B    element of B: 1 f32 [k][NR], 2 bf16 [k/2][NR][2] (pairs of k side by side in a 32-bit word),
 *                3 f16 [k][NR]; an odd k is padded with a row of zeros for 2 and 3; 4 i8 [k][NR] where the tile
 *                fetches b from memory, and otherwise what it was widened to, f32 [k][NR]; 5 i8 [k][NR][4]: of both
 *                operands k counts words of four bytes, A is u8 and C i32, whose sums wrap; 6 bf16 as 2 has it, but of both
 *                operands k counts words of two bf16 */
#ifndef SN_DEVICE_TILE_ELEMENT_H
#define SN_DEVICE_TILE_ELEMENT_H

#ifndef SN_TILE_B
#define SN_TILE_B 1
#endif

/* The elements of C. */
#if SN_TILE_B == 5
typedef int32_t SnTileNumber;
typedef vi32 SnTileVector;
#define sn_tile_load  sn_load_i32_v
#define sn_tile_store sn_store_i32_v
#else
typedef float SnTileNumber;
typedef vf32 SnTileVector;
#define sn_tile_load  sn_load_f32_v
#define sn_tile_store sn_store_f32_v
#endif

/* The elements of A as the tile reads them: words of four u8 or of two bf16, or numbers. */
#if SN_TILE_B >= 5
typedef int32_t SnTileElement;
typedef vi32 SnTileElements;
#define sn_tile_splat   sn_splat_i32
#define sn_tile_operand sn_load_i32_v
#else
typedef float SnTileElement;
typedef vf32 SnTileElements;
#define sn_tile_splat   sn_splat_f32
#define sn_tile_operand sn_load_f32_v
#endif

/* Dot products are the instructions themselves, as compilers disagree on the types of their builtins; 0: without them. */
#ifndef SN_TILE_DOT
#define SN_TILE_DOT 1
#endif

/* c += the four products of the bytes of each word: of x, which are not negative, by those of b. Nothing saturates. */
#if SN_TILE_B == 5
#if SN_TILE_DOT && defined(__AVX512VNNI__) && (SN_VECTOR_BYTES == 64 || defined(__AVX512VL__))
#define SN_TILE_ADD(c, x, b) __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(x), "v"(b));
#elif SN_TILE_DOT && defined(__AVXVNNI__) && SN_VECTOR_BYTES <= 32
#define SN_TILE_ADD(c, x, b) __asm__("{vex} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(x), "x"(b));
#else
SN_INLINE vi32 sn_tile_dot(vi32 c, vi32 x, vi32 b) {
    vu32 bytes = (vu32)x;
    c += (vi32)(bytes & 255) * (b << 24 >> 24);
    c += (vi32)(bytes >> 8 & 255) * (b << 16 >> 24);
    c += (vi32)(bytes >> 16 & 255) * (b << 8 >> 24);
    return c + (vi32)(bytes >> 24) * (b >> 24);
}
#define SN_TILE_ADD(c, x, b) c = sn_tile_dot(c, x, b);
#endif
/* c += the two products of the halves of each word. The instruction takes subnormal numbers for zeros and makes none. */
#elif SN_TILE_B == 6
#if SN_TILE_DOT && defined(__AVX512BF16__) && (SN_VECTOR_BYTES == 64 || defined(__AVX512VL__))
#define SN_TILE_ADD(c, x, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(x), "v"(b));
#else
SN_INLINE vf32 sn_tile_dot(vf32 c, vi32 x, vi32 b) {
    c += (vf32)(x >> 16 << 16) * (vf32)(b >> 16 << 16);
    return c + (vf32)(x << 16) * (vf32)(b << 16);
}
#define SN_TILE_ADD(c, x, b) c = sn_tile_dot(c, x, b);
#endif
#else
#define SN_TILE_ADD(c, x, b) c += x * b;
#endif

#if SN_TILE_B == 6
/* Numbers that bf16 has as its bits; and of two rows of them words. */
SN_INLINE void sn_tile_store_halves(uint16_t *to, vf32 x) {
    vu16 halves = sn_to_u16_v((vi32)((vu32)x >> 16));
    __builtin_memcpy(to, &halves, sizeof halves);
}
SN_INLINE uint16_t sn_tile_half(float x) {
    return (uint16_t)(((vu32)sn_splat_f32(x))[0] >> 16);
}
SN_INLINE vi32 sn_tile_pairs(vf32 first, vf32 second) {
    return (vi32)((vu32)first >> 16 | (vu32)second);
}
#endif

/* An element of a word, and SN_LANES of them. */
#if SN_TILE_B == 6
typedef uint16_t SnTilePart;
#define sn_tile_store_parts sn_tile_store_halves
#define sn_tile_part        sn_tile_half
#elif SN_TILE_B == 5
typedef uint8_t SnTilePart;
SN_INLINE void sn_tile_store_parts(SnTilePart *to, vi32 x) {
    sn_store_u8_v(to, x);
}
SN_INLINE SnTilePart sn_tile_part(int32_t x) {
    return (uint8_t)x;
}
#endif

#endif

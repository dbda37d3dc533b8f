/* Matrix tiles: registers of 16 rows of 64 bytes, two of which one instruction multiplies and adds to a third.
 *
 * Contract for the code generator: after vector.h (or what defines SN_INLINE); an optional #define before it:
 *   SN_MATRIX  1: the processor's own, which x86 calls AMX; 0: the same in C, for processors without. Default: what the compiler
 *              may use. A kernel with 1 runs only where runtime/cpu/matrix.h permits it.
 *
 * There are eight tiles, numbered by literals 0 .. 7. A kernel begins with sn_matrix_begin and ends with sn_matrix_end, since
 * tiles that hold something make every switch of threads save 8 KB. In between, on the same thread:
 *   SN_MATRIX_ZERO(t)
 *   SN_MATRIX_LOAD(t, from, stride), SN_MATRIX_STORE(t, to, stride)   rows of 64 bytes, `stride` bytes apart
 *   SN_MATRIX_PAIRS(c, a, b)   c, 16 rows of 16 f32, += a, 16 rows of 16 words along K, times b, 16 words along K of 16 columns
 *                              each; a word has two bf16, the one of the lesser k in its lower half
 *   SN_MATRIX_BYTES(c, a, b)   the same of words of four bytes, of a u8 and of b i8, into i32 whose sums wrap
 * PAIRS sums products of even and of odd k apart, in order and in f32, then both, and adds that to c. It takes subnormal numbers
 * for zeros, makes none, and rounds to nearest whatever the thread's mode is. The C form leaves subnormal numbers alone. */
#ifndef SN_DEVICE_MATRIX_H
#define SN_DEVICE_MATRIX_H

#ifndef SN_MATRIX
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define SN_MATRIX 1
#else
#define SN_MATRIX 0
#endif
#endif

enum { SN_MATRIX_ROWS = 16, SN_MATRIX_COLUMNS = 16, SN_MATRIX_WORDS = 16, SN_MATRIX_TILE_BYTES = 1024 };

#if SN_MATRIX

/* The instructions themselves: intrinsics would need a header that takes longer to read than a kernel to compile. */
SN_INLINE void sn_matrix_begin(void) {
    struct {
        uint8_t palette, start, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int t = 0; t < 8; t++) shape.bytes[t] = 64, shape.rows[t] = SN_MATRIX_ROWS;
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
}
SN_INLINE void sn_matrix_end(void) {
    __asm__ volatile("tilerelease");
}
#define SN_MATRIX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define SN_MATRIX_LOAD(t, from, stride)                                                                      \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"((int64_t)(stride)) : "memory")
#define SN_MATRIX_STORE(t, to, stride)                                                                       \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(stride)) : "memory")
#define SN_MATRIX_PAIRS(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define SN_MATRIX_BYTES(c, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

#else

typedef struct SnMatrixTile {
    uint32_t word[16][16];
} SnMatrixTile;

static __thread SnMatrixTile sn_matrix_tile[8]; /* as registers are, each thread's own */

SN_INLINE void sn_matrix_begin(void) {
    __builtin_memset(sn_matrix_tile, 0, sizeof sn_matrix_tile);
}
SN_INLINE void sn_matrix_end(void) {}
static __attribute__((unused)) void sn_matrix_load(int t, const void *from, int64_t stride) {
    for (int r = 0; r < 16; r++)
        __builtin_memcpy(sn_matrix_tile[t].word[r], (const char *)from + r * stride, 64);
}
static __attribute__((unused)) void sn_matrix_store(int t, void *to, int64_t stride) {
    for (int r = 0; r < 16; r++) __builtin_memcpy((char *)to + r * stride, sn_matrix_tile[t].word[r], 64);
}
/* The upper half of a word as a number. */
SN_INLINE float sn_matrix_number(uint32_t bits) {
    float x;
    bits &= 0xffff0000;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
static __attribute__((unused)) void sn_matrix_pairs(int c, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0, sum;
            for (int k = 0; k < 16; k++) {
                uint32_t x = sn_matrix_tile[a].word[m][k], y = sn_matrix_tile[b].word[k][n];
                even += sn_matrix_number(x << 16) * sn_matrix_number(y << 16);
                odd += sn_matrix_number(x) * sn_matrix_number(y);
            }
            __builtin_memcpy(&sum, &sn_matrix_tile[c].word[m][n], sizeof sum);
            sum += even + odd;
            __builtin_memcpy(&sn_matrix_tile[c].word[m][n], &sum, sizeof sum);
        }
}
static __attribute__((unused)) void sn_matrix_bytes(int c, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++)
            for (int k = 0; k < 64; k++) {
                uint32_t x = sn_matrix_tile[a].word[m][k / 4] >> k % 4 * 8 & 255;
                int8_t y = (int8_t)(sn_matrix_tile[b].word[k / 4][n] >> k % 4 * 8);
                sn_matrix_tile[c].word[m][n] += x * (uint32_t)(int32_t)y;
            }
}
#define SN_MATRIX_ZERO(t)               __builtin_memset(&sn_matrix_tile[t], 0, sizeof sn_matrix_tile[t])
#define SN_MATRIX_LOAD(t, from, stride) sn_matrix_load(t, from, stride)
#define SN_MATRIX_STORE(t, to, stride)  sn_matrix_store(t, to, stride)
#define SN_MATRIX_PAIRS(c, a, b)        sn_matrix_pairs(c, a, b)
#define SN_MATRIX_BYTES(c, a, b)        sn_matrix_bytes(c, a, b)

#endif

#endif

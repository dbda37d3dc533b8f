/* Bands of SN_BAND rows, transposed SN_LANES of their columns at a time by squares in registers: where vectors run across
 * the rows of what is loaded. After vector.h and memory.h.
 *
 * sn_tile_T(p, stride, tile) puts element j of row k, p[k * stride + j], at tile[j * SN_BAND_WIDTH + k] for k and j below
 * SN_LANES, as the compute type of T. */
#ifndef SN_DEVICE_TRANSPOSE_H
#define SN_DEVICE_TRANSPOSE_H

/* Exchanges what two rows that are H apart have in the wrong half of every 2 H columns. */
#define SN_LOW(i, h)  (((i) & (h)) ? SN_LANES + (i) - (h) : (i))
#define SN_HIGH(i, h) (((i) & (h)) ? SN_LANES + (i) : (i) + (h))
#define SN_SWAP(H, a, b)                                                                                     \
    {                                                                                                        \
        const vf32 low = __builtin_shufflevector(r##a, r##b, SN_LIST(SN_LOW, H));                            \
        r##b = __builtin_shufflevector(r##a, r##b, SN_LIST(SN_HIGH, H));                                     \
        r##a = low;                                                                                          \
    }
#if SN_LANES == 16
#define SN_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
/* clang-format off */
#define SN_SWAPS                                                                                             \
    SN_SWAP(8, 0, 8) SN_SWAP(8, 1, 9) SN_SWAP(8, 2, 10) SN_SWAP(8, 3, 11)                                    \
    SN_SWAP(8, 4, 12) SN_SWAP(8, 5, 13) SN_SWAP(8, 6, 14) SN_SWAP(8, 7, 15)                                  \
    SN_SWAP(4, 0, 4) SN_SWAP(4, 1, 5) SN_SWAP(4, 2, 6) SN_SWAP(4, 3, 7)                                      \
    SN_SWAP(4, 8, 12) SN_SWAP(4, 9, 13) SN_SWAP(4, 10, 14) SN_SWAP(4, 11, 15)                                \
    SN_SWAP(2, 0, 2) SN_SWAP(2, 1, 3) SN_SWAP(2, 4, 6) SN_SWAP(2, 5, 7)                                      \
    SN_SWAP(2, 8, 10) SN_SWAP(2, 9, 11) SN_SWAP(2, 12, 14) SN_SWAP(2, 13, 15)                                \
    SN_SWAP(1, 0, 1) SN_SWAP(1, 2, 3) SN_SWAP(1, 4, 5) SN_SWAP(1, 6, 7)                                      \
    SN_SWAP(1, 8, 9) SN_SWAP(1, 10, 11) SN_SWAP(1, 12, 13) SN_SWAP(1, 14, 15)
#elif SN_LANES == 8
#define SN_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define SN_SWAPS                                                                                             \
    SN_SWAP(4, 0, 4) SN_SWAP(4, 1, 5) SN_SWAP(4, 2, 6) SN_SWAP(4, 3, 7)                                      \
    SN_SWAP(2, 0, 2) SN_SWAP(2, 1, 3) SN_SWAP(2, 4, 6) SN_SWAP(2, 5, 7)                                      \
    SN_SWAP(1, 0, 1) SN_SWAP(1, 2, 3) SN_SWAP(1, 4, 5) SN_SWAP(1, 6, 7)
#else
#define SN_ROWS(F) F(0) F(1) F(2) F(3)
#define SN_SWAPS   SN_SWAP(2, 0, 2) SN_SWAP(2, 1, 3) SN_SWAP(1, 0, 1) SN_SWAP(1, 2, 3)
#endif
/* clang-format on */

/* Of the row of a square: a band's worth, and as much again as brings each row of the result to a whole line. */
enum { SN_BAND_WIDTH = SN_BAND + SN_LANES };

/* What a work item reads of SN_BAND rows that are `stride` bytes apart. Far ahead, what the next work item will want is
 * fetched in the order in which it lies, a share with every vector that is stored, as processors do not foresee so many short
 * runs. Near, where stores go past the caches, the next SN_LANES columns are copied to a stage, also a row with every vector
 * that is stored, by one instruction that walks down the rows: processors foresee that, and squares that are made of the
 * stage need not wait for rows that may lie so that a first-level cache holds few of them at once. */
typedef struct SnBand {
    uintptr_t at; /* a row, of which `done` of `bytes` are fetched, `rows` being left with it */
    int64_t done, bytes, stride, rows;
    const char *next,
        *from; /* columns of which the stage has the rows before `from`, up to `to`; NULL: none */
    char *to;
    int64_t left; /* rows that may still be taken */
} SnBand;

SN_INLINE SnBand sn_band(const void *p, int64_t stride, int64_t bytes) {
    return (SnBand){.at = (uintptr_t)p, .bytes = bytes, .stride = stride, .rows = SN_BAND};
}
SN_INLINE void sn_band_fetch(SnBand *band, int64_t bytes) {
    enum { LINE = 64 };
    for (; band->rows > 0 && bytes > 0; bytes -= LINE) {
        SN_AHEAD(band->at, band->done);
        if ((band->done += LINE) < band->bytes) continue;
        band->done = 0;
        band->at += (uintptr_t)band->stride;
        band->rows--;
    }
}
/* Copies a row of the next columns, `line` bytes, to the stage, if one is left. */
SN_INLINE void sn_band_take(SnBand *band, const int64_t line) {
    if (band->left <= 0) return;
    __builtin_memcpy(band->to, band->from, (size_t)line);
    band->from += band->stride;
    band->to += line;
    band->left--;
}
/* Where `count` rows of the columns at p can be made squares of: the stage, in whose rows the first m elements of `size` bytes
 * are theirs, or p itself. `more`: as many rows of the next SN_LANES columns may be taken from now on. */
SN_INLINE const void *sn_band_turn(SnBand *band, void *stage, const void *p, int64_t count, int64_t m,
                                   int more, const int size, uintptr_t past) {
    const int64_t line = SN_LANES * size;
    if (past && m == SN_LANES && count % SN_LANES == 0) return p;
    int64_t k = band->next == (const char *)p ? (band->to - (char *)stage) / line : 0;
    const char *from = (const char *)p + k * band->stride;
    char *to = (char *)stage + k * line;
    for (; k < count; k++, from += band->stride, to += line) {
        if (m == SN_LANES)
            __builtin_memcpy(to, from, (size_t)line);
        else
            sn_load_part(to, from, m, size);
    }
    more = more && !past;
    band->next = band->from = more ? (const char *)p + line : (const char *)0;
    band->to = (char *)stage;
    band->left = more ? count : 0;
    return stage;
}
/* Whether all rows of the result, `stride` bytes from each other, begin a line where the one at p does. */
SN_INLINE int sn_band_even(const void *p, int64_t stride, uintptr_t past) {
    return past || !(((uintptr_t)p | (uintptr_t)stride) & (SN_VECTOR_BYTES - 1));
}
#define SN_TILE_STORE(k) __builtin_memcpy(tile + (k)*SN_BAND_WIDTH, &r##k, sizeof r##k);
#define SN_TILE(NAME, T, C)                                                                                  \
    SN_INLINE void sn_tile_##NAME(const T *p, int64_t stride, C *tile) {                                     \
        SN_ROWS(SN_LOAD_##NAME)                                                                              \
        SN_SWAPS                                                                                             \
        SN_ROWS(SN_TILE_STORE)                                                                               \
    }
#define SN_LOAD_f32(k)  vf32 r##k = sn_load_f32_v(p + (k)*stride);
#define SN_LOAD_f16(k)  vf32 r##k = sn_load_f16_v(p + (k)*stride);
#define SN_LOAD_bf16(k) vf32 r##k = sn_load_bf16_v(p + (k)*stride);
#define SN_LOAD_i32(k)  vf32 r##k = (vf32)sn_load_i32_v(p + (k)*stride);
SN_TILE(f32, float, float)
SN_TILE(f16, uint16_t, float)
SN_TILE(bf16, uint16_t, float)
SN_TILE(i32, int32_t, int32_t)

#endif

/* Bands of SN_BAND rows, transposed SN_LANES of their columns at a time by squares in registers: where vectors run across
 * the rows of what is loaded. After vector.h and memory.h.
 *
 * sn_tile_T(p, stride, n, m, tile) puts element j of row k, p[k * stride + j], at tile[j * SN_BAND_WIDTH + k] for k < n
 * and j < m, both at most SN_LANES, as the compute type of T; elsewhere in the square of SN_LANES it leaves anything. */
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

/* Of SN_BAND rows, the bytes that a work item will want next of each: fetched in the order in which they lie, a share
 * with every vector that is stored, as processors do not foresee so many short runs. */
typedef struct SnBand {
    uintptr_t at;
    int64_t done, bytes, stride, rows;
} SnBand;

SN_INLINE SnBand sn_band(const void *p, int64_t stride, int64_t bytes) {
    return (SnBand){(uintptr_t)p, 0, bytes, stride, SN_BAND};
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
/* Whether all rows of the result, `stride` bytes from each other, begin a line where the one at p does. */
SN_INLINE int sn_band_even(const void *p, int64_t stride, uintptr_t past) {
    return past || !(((uintptr_t)p | (uintptr_t)stride) & (SN_VECTOR_BYTES - 1));
}
/* Otherwise: where in a row of the result, at address p, the stores of the band that begins at `at` begin, and those of
 * the one before it end, so that whole lines go past the caches. */
SN_INLINE int64_t sn_band_begin(const void *p, int64_t at, int64_t width, int64_t size, uintptr_t past) {
    return at == 0 ? 0 : sn_least_of(at + sn_stream_head(p, size, past), width);
}

#define SN_TILE_STORE(k) __builtin_memcpy(tile + (k)*SN_BAND_WIDTH, &r##k, sizeof r##k);
#define SN_TILE(NAME, T, C)                                                                                  \
    SN_INLINE void sn_tile_##NAME(const T *p, int64_t stride, int64_t n, int64_t m, C *tile) {               \
        T part[SN_LANES * SN_LANES];                                                                         \
        if (n < SN_LANES || m < SN_LANES) {                                                                  \
            __builtin_memset(part, 0, sizeof part);                                                          \
            for (int64_t k = 0; k < n; k++)                                                                  \
                __builtin_memcpy(part + k * SN_LANES, p + k * stride, (size_t)m * sizeof(T));                \
            p = part, stride = SN_LANES;                                                                     \
        }                                                                                                    \
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

/* Squares of SN_LANES rows and columns that are transposed in registers: where vectors run across the rows of what is loaded.
 * After vector.h and memory.h.
 *
 * sn_square_T(p, stride, tile, width) puts element j of row k, p[k * stride + j], at tile[j * width + k] for k and j below
 * SN_LANES, as the compute type of T; sn_squares_T does so for k below `count` and j below m, what else it writes being
 * undefined, and reads nothing else. */
#ifndef SN_DEVICE_TRANSPOSE_H
#define SN_DEVICE_TRANSPOSE_H

/* Rows k, k + 4, k + 8 ... of four columns side by side, rows being `by` / 4 elements apart: loads bring them to where they
 * can stay, so that only squares of four by four are left to exchange. GCC needs to be told, or it would shuffle. */
typedef float SnQuad __attribute__((vector_size(16)));
SN_INLINE SnQuad sn_quad(const void *p) {
    SnQuad x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}
#if SN_LANES == 16 && defined(__AVX512F__) && !defined(__clang__)
SN_INLINE vf32 sn_quads(const float *p, int64_t by) {
    vf32 x = __builtin_ia32_broadcastf32x4_512(sn_quad(p), (vf32){0}, 0xffff);
    x = __builtin_ia32_broadcastf32x4_512(sn_quad(p + by), x, 0xf0);
    x = __builtin_ia32_broadcastf32x4_512(sn_quad(p + 2 * by), x, 0xf00);
    return __builtin_ia32_broadcastf32x4_512(sn_quad(p + 3 * by), x, 0xf000);
}
#elif SN_LANES == 8 && defined(__AVX__) && !defined(__clang__)
SN_INLINE vf32 sn_quads(const float *p, int64_t by) {
    return __builtin_ia32_vinsertf128_ps256(__builtin_ia32_ps256_ps(sn_quad(p)), sn_quad(p + by), 1);
}
#elif SN_LANES == 4
SN_INLINE vf32 sn_quads(const float *p, int64_t by) {
    (void)by;
    return sn_quad(p);
}
#else
#define SN_QUAD_PAIR(p, by) __builtin_shufflevector(sn_quad(p), sn_quad((p) + (by)), 0, 1, 2, 3, 4, 5, 6, 7)
SN_INLINE vf32 sn_quads(const float *p, int64_t by) {
#if SN_LANES == 8
    return SN_QUAD_PAIR(p, by);
#else
    return __builtin_shufflevector(SN_QUAD_PAIR(p, by), SN_QUAD_PAIR(p + 2 * by, by), SN_LIST(SN_INDEX, 0));
#endif
}
#endif

/* Of each four lanes of two vectors: the first or the last two, element by element or pair by pair. */
#define SN_ZIP(i, from)          (((i) & ~3) + (from) + ((i) >> 1 & 1) + ((i)&1) * SN_LANES)
#define SN_ZIP_PAIRS(i, from)    (((i) & ~3) + (from) + ((i)&1) + ((i) >> 1 & 1) * SN_LANES)
#define SN_ZIPPED(a, b, F, from) __builtin_shufflevector(a, b, SN_LIST(F, from))
/* Four columns of SN_LANES rows, as x[0], x[by], x[2 * by] and x[3 * by]. */
SN_INLINE void sn_four_columns(const float *p, int64_t stride, vf32 *x, int by) {
    const vf32 a = sn_quads(p, 4 * stride), b = sn_quads(p + stride, 4 * stride);
    const vf32 c = sn_quads(p + 2 * stride, 4 * stride), d = sn_quads(p + 3 * stride, 4 * stride);
    const vf32 low = SN_ZIPPED(a, b, SN_ZIP, 0), high = SN_ZIPPED(a, b, SN_ZIP, 2);
    const vf32 next_low = SN_ZIPPED(c, d, SN_ZIP, 0), next_high = SN_ZIPPED(c, d, SN_ZIP, 2);
    x[0] = SN_ZIPPED(low, next_low, SN_ZIP_PAIRS, 0);
    x[by] = SN_ZIPPED(low, next_low, SN_ZIP_PAIRS, 2);
    x[2 * by] = SN_ZIPPED(high, next_high, SN_ZIP_PAIRS, 0);
    x[3 * by] = SN_ZIPPED(high, next_high, SN_ZIP_PAIRS, 2);
}
SN_INLINE void sn_square_words(const void *from, int64_t stride, void *to, int64_t width) {
    const float *p = from;
    float *tile = to;
    for (int64_t q = 0; q < SN_LANES; q += 4, p += 4, tile += 4 * width) {
        vf32 x[4];
        sn_four_columns(p, stride, x, 1);
        for (int k = 0; k < 4; k++) sn_store_f32_v(tile + k * width, x[k]);
    }
}

/* Four columns at a time straight from registers. Where rows share a few places of the first-level cache, the lines of SN_LANES
 * columns are copied behind one another first: sn_lines(p, stride, count, lines) does so for `count` rows that are `stride` elements
 * apart.
 *
 * sn_columns(p, stride, squares, begin, x) makes of four columns of rows that are `stride` elements apart `squares` times SN_LANES
 * elements each from row begin[r] of column r on, as x[r * squares], x[r * squares + 1] ...; begin[r] is below SN_LANES, for
 * which one square more is read, or 0 without `begin`. Of elements of 32 bits the bits, whatever their type. */
SN_OUTLINE void sn_lines(const void *from, int64_t stride, int64_t count, float *lines) {
    const float *p = from;
    for (int64_t k = 0; k < count; k++) sn_store_f32_v(lines + k * SN_LANES, sn_load_f32_v(p + k * stride));
}
SN_INLINE vf32 sn_from_lane(vf32 a, vf32 b, int64_t lane) {
#if defined(__clang__)
    float both[2 * SN_LANES];
    sn_store_f32_v(both, a);
    sn_store_f32_v(both + SN_LANES, b);
    return sn_load_f32_v(both + lane);
#else
    return __builtin_shuffle(a, b, sn_iota_i32() + (int32_t)lane);
#endif
}
SN_INLINE void sn_columns(const void *from, int64_t stride, const int squares, const int64_t *begin,
                          vf32 *x) {
    enum { MOST = 8 }; /* squares */
    const float *p = from;
    vf32 y[4 * (MOST + 1)];
    const int all = squares + (begin ? 1 : 0);
    for (int k = 0; k < all; k++)
        sn_four_columns(p + k * SN_LANES * stride, stride, begin ? y + k : x + k, all);
    for (int r = 0; begin && r < 4; r++)
        for (int k = 0; k < squares; k++)
            x[r * squares + k] = sn_from_lane(y[r * all + k], y[r * all + k + 1], begin[r]);
}

/* 16-bit floats are converted as whole rows, so their squares are made by exchanges alone: each of what two rows that are H
 * apart have in the wrong half of every 2 H columns. */
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

#define SN_SQUARE_STORE(k) __builtin_memcpy(tile + (k)*width, &r##k, sizeof r##k);
#define SN_SQUARE_HALVES(NAME)                                                                               \
    SN_INLINE void sn_square_##NAME(const uint16_t *p, int64_t stride, float *tile, int64_t width) {         \
        SN_ROWS(SN_LOAD_##NAME)                                                                              \
        SN_SWAPS                                                                                             \
        SN_ROWS(SN_SQUARE_STORE)                                                                             \
    }
#define SN_LOAD_f16(k)  vf32 r##k = sn_load_f16_v(p + (k)*stride);
#define SN_LOAD_bf16(k) vf32 r##k = sn_load_bf16_v(p + (k)*stride);
SN_SQUARE_HALVES(f16)
SN_SQUARE_HALVES(bf16)
SN_INLINE void sn_square_f32(const float *p, int64_t stride, float *tile, int64_t width) {
    sn_square_words(p, stride, tile, width);
}
SN_INLINE void sn_square_i32(const int32_t *p, int64_t stride, int32_t *tile, int64_t width) {
    sn_square_words(p, stride, tile, width);
}

#define SN_SQUARES(NAME, T, C)                                                                               \
    SN_OUTLINE void sn_squares_##NAME(const T *p, int64_t stride, int64_t count, int64_t m, C *tile,         \
                                      int64_t width) {                                                       \
        T part[SN_LANES * SN_LANES] = {0};                                                                   \
        for (int64_t k = 0; k < count; k += SN_LANES) {                                                      \
            const int64_t rows = count - k < SN_LANES ? count - k : SN_LANES;                                \
            if (rows == SN_LANES && m == SN_LANES) {                                                         \
                sn_square_##NAME(p + k * stride, stride, tile + k, width);                                   \
                continue;                                                                                    \
            }                                                                                                \
            for (int64_t i = 0; i < rows; i++)                                                               \
                sn_load_part(part + i * SN_LANES, p + (k + i) * stride, m, sizeof(T));                       \
            sn_square_##NAME(part, SN_LANES, tile + k, width);                                               \
        }                                                                                                    \
    }
SN_SQUARES(f32, float, float)
SN_SQUARES(f16, uint16_t, float)
SN_SQUARES(bf16, uint16_t, float)
SN_SQUARES(i32, int32_t, int32_t)

/* Brings near, at row j of a tile, its share of the lines that `count` squares at p will be loaded from: what waits in the
 * second-level cache comes from there a line a row, which processors do not foresee. */
#define SN_SQUARES_AHEAD(p, stride, j, count)                                                                \
    for (int k = 0; k < (count); k++) SN_AHEAD((p) + ((j) * (count) + k) * (stride), 0)

/* What the next work item will want of rows that are `stride` bytes apart: `bytes` of each, of which `done` of the row at `at`
 * are fetched. It is fetched in the order in which it lies, a share with every row of the result, as processors do not foresee
 * so many short runs. */
typedef struct SnBand {
    uintptr_t at;
    int64_t done, bytes, stride;
} SnBand;

SN_INLINE SnBand sn_band(const void *p, int64_t stride, int64_t bytes) {
    return (SnBand){(uintptr_t)p, 0, bytes, stride};
}
enum { SN_BAND_LINE = 64 };
SN_INLINE void sn_band_step(SnBand *band, const int64_t bytes) {
    for (band->done += bytes; band->done >= band->bytes; band->done -= band->bytes)
        band->at += (uintptr_t)band->stride;
}
SN_INLINE void sn_band_fetch(SnBand *band, const int64_t bytes) {
    for (int64_t k = 0; k < bytes; k += SN_BAND_LINE) SN_BRING(band->at, band->done + k);
    sn_band_step(band, bytes);
}
/* Line k of a share of a band of `rows` rows, which has four streams, two lines of each by turns: memory gives more so. */
enum { SN_BAND_STREAMS = 4, SN_BAND_PAIR = 2 };
SN_INLINE void sn_band_line(const SnBand *band, const int rows, const int k) {
    const int stream = k / SN_BAND_PAIR % SN_BAND_STREAMS;
    const int line = k / (SN_BAND_PAIR * SN_BAND_STREAMS) * SN_BAND_PAIR + k % SN_BAND_PAIR;
    SN_BRING(band->at + (uintptr_t)(stream * (rows / SN_BAND_STREAMS) * band->stride),
             band->done + line * SN_BAND_LINE);
}
SN_INLINE void sn_band_lines(SnBand *band, const int rows, const int count) {
    for (int k = 0; k < count; k++) sn_band_line(band, rows, k);
    sn_band_step(band, count / SN_BAND_STREAMS * SN_BAND_LINE);
}
/* With each four columns, the `group`-th of SN_LANES of them: fetches `fetched` lines of the band of `rows` rows by turns with a
 * share of the `count` lines at `next`, which it copies, or of those at `after`, which it brings near, if there are none. */
SN_INLINE void sn_columns_ahead(SnBand *band, const int rows, const int fetched, const float *next,
                                const float *after, int64_t stride, int64_t group, const int count,
                                float *lines) {
    const int share = count / (SN_LANES / 4), most = share > fetched ? share : fetched;
    const int64_t from = group * share;
    for (int k = 0; next && k < most; k++) {
        if (k < fetched) sn_band_line(band, rows, k);
        if (k < share)
            sn_store_f32_v(lines + (from + k) * SN_LANES, sn_load_f32_v(next + (from + k) * stride));
    }
    for (int k = 0; !next && k < most; k++) {
        if (k < fetched) sn_band_line(band, rows, k);
        if (k < share) SN_AHEAD(after + (from + k) * stride, 0);
    }
    sn_band_step(band, fetched / SN_BAND_STREAMS * SN_BAND_LINE);
}
/* Whether all rows of the result, `stride` bytes from each other, begin a line where the one at p does. */
SN_INLINE int sn_band_even(const void *p, int64_t stride, uintptr_t past) {
    return past || !(((uintptr_t)p | (uintptr_t)stride) & (SN_VECTOR_BYTES - 1));
}

#endif

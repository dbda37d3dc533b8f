/* The register tile of contractions and attention: C[rows][NR] = or += A[rows][k] * B[k][NR].
 *
 * Contract for the code generator: after vector.h and tile_element.h; optional #defines before it:
 *   SN_TILE_MR   rows of the tile, 1..16           SN_TILE_NV   vectors in a row of it, 1..4
 *                (when absent 8 by 3 for 64-byte vectors, else 6 by 2)
 *   SN_TILE_ONCE 1: the first-level cache has few places for lines that are awaited: what a tile fetches meanwhile goes to the
 *                second-level one, and no second tile asks for it; whole tiles do four steps of k in a round of their loop. 0
 *                (default): to the first, which may be asked twice, and single steps
 *   SN_TILE_STREAM   a stream of panels is fetched about so many bytes ahead into the second-level cache, and from there
 *                into the first (Target.fetch_bytes); 0 (default): into the first, SN_TILE_FAR rows ahead
 * MR*NV accumulators, NV operands and one broadcast must fit the registers (32 with AVX-512, else 16).
 * Every element is summed in the order of k, whatever the rows of the tile. The accumulators are named
 * variables made by repetition, since GCC keeps an array of that size in memory. */
#ifndef SN_DEVICE_TILE_H
#define SN_DEVICE_TILE_H

#ifndef SN_TILE_MR
#if SN_VECTOR_BYTES == 64
#define SN_TILE_MR 8
#else
#define SN_TILE_MR 6
#endif
#endif
#ifndef SN_TILE_NV
#if SN_VECTOR_BYTES == 64
#define SN_TILE_NV 3
#else
#define SN_TILE_NV 2
#endif
#endif
#ifndef SN_TILE_STREAM
#define SN_TILE_STREAM 0
#endif
#define SN_TILE_NR (SN_TILE_NV * SN_LANES)
#ifndef SN_TILE_ONCE
#define SN_TILE_ONCE 0
#endif

#define SN_TILE_MULTIPLY(i, j) SN_TILE_ADD(c##i##_##j, x, b##j)

/* The bytes of k rows of a panel of B. */
#if SN_TILE_B == 1 || SN_TILE_B >= 5
#define SN_TILE_PANEL_BYTES(k) (SN_TILE_NR * 4 * (k))
#elif SN_TILE_B == 4
#define SN_TILE_PANEL_BYTES(k) (SN_TILE_NR * (k))
#else
#define SN_TILE_PANEL_BYTES(k) (SN_TILE_NR * 2 * ((k) + (k) % 2))
#endif
#define SN_TILE_STEP_BYTES (SN_TILE_PANEL_BYTES(2) / (SN_TILE_B == 2 ? 1 : 2)) /* that are read together */

#if SN_TILE_NV == 1
#define SN_TILE_COLUMNS(F, i) F(i, 0)
#elif SN_TILE_NV == 2
#define SN_TILE_COLUMNS(F, i) F(i, 0) F(i, 1)
#elif SN_TILE_NV == 3
#define SN_TILE_COLUMNS(F, i) F(i, 0) F(i, 1) F(i, 2)
#elif SN_TILE_NV == 4
#define SN_TILE_COLUMNS(F, i) F(i, 0) F(i, 1) F(i, 2) F(i, 3)
#else
#error "SN_TILE_NV must be 1 to 4"
#endif

/* Rows are written in pairs up to SN_TILE_MR; the compiler drops those that a variant does not have. */
#define SN_TILE_ROWS(F) F(0) F(1) SN_TILE_ROWS_2(F)
#if SN_TILE_MR > 2
#define SN_TILE_ROWS_2(F) F(2) F(3) SN_TILE_ROWS_4(F)
#else
#define SN_TILE_ROWS_2(F)
#endif
#if SN_TILE_MR > 4
#define SN_TILE_ROWS_4(F) F(4) F(5) SN_TILE_ROWS_6(F)
#else
#define SN_TILE_ROWS_4(F)
#endif
#if SN_TILE_MR > 6
#define SN_TILE_ROWS_6(F) F(6) F(7) SN_TILE_ROWS_8(F)
#else
#define SN_TILE_ROWS_6(F)
#endif
#if SN_TILE_MR > 8
#define SN_TILE_ROWS_8(F) F(8) F(9) SN_TILE_ROWS_10(F)
#else
#define SN_TILE_ROWS_8(F)
#endif
#if SN_TILE_MR > 10
#define SN_TILE_ROWS_10(F) F(10) F(11) SN_TILE_ROWS_12(F)
#else
#define SN_TILE_ROWS_10(F)
#endif
#if SN_TILE_MR > 12
#define SN_TILE_ROWS_12(F) F(12) F(13) SN_TILE_ROWS_14(F)
#else
#define SN_TILE_ROWS_12(F)
#endif
#if SN_TILE_MR > 14
#define SN_TILE_ROWS_14(F) F(14) F(15)
#else
#define SN_TILE_ROWS_14(F)
#endif

#define SN_TILE_DECLARE(i, j) SnTileVector c##i##_##j = {0};
#define SN_TILE_FETCH(i, j)   c##i##_##j = sn_tile_load(c + (i)*ldc + (j)*SN_LANES);
#define SN_TILE_KEEP(i, j)    sn_tile_store(c + (i)*ldc + (j)*SN_LANES, c##i##_##j);
/* Line j of the rows of a step of k that are so many bytes behind these, if they have so many. */
#define SN_TILE_LINE(j, bytes, cache)                                                                        \
    if ((j)*64 < SN_TILE_STEP_BYTES)                                                                         \
        __builtin_prefetch((const char *)b + SN_TILE_PANEL_BYTES(k) + (bytes) + (j)*64, 0, cache);
#if SN_TILE_STREAM
#define SN_TILE_PREFETCH(i, j)                                                                               \
    SN_TILE_LINE(j, SN_TILE_STREAM / 4 * 7, 2)                                                               \
    SN_TILE_LINE(j, SN_TILE_STREAM / 2, 3)
#else
#define SN_TILE_PREFETCH(i, j) SN_TILE_LINE(j, SN_TILE_PANEL_BYTES(SN_TILE_FAR), 3)
#endif

#define SN_TILE_DECLARE_ROW(i) SN_TILE_COLUMNS(SN_TILE_DECLARE, i)
#define SN_TILE_FETCH_ROW(i)                                                                                 \
    if (rows > i) {                                                                                          \
        SN_TILE_COLUMNS(SN_TILE_FETCH, i)                                                                    \
    }
#define SN_TILE_KEEP_ROW(i)                                                                                  \
    if (rows > i) {                                                                                          \
        SN_TILE_COLUMNS(SN_TILE_KEEP, i)                                                                     \
    }
#define SN_TILE_ROW(i)                                                                                       \
    if (rows > i) {                                                                                          \
        SnTileElements x = sn_tile_splat(a[(i)*lda + k * along]);                                            \
        SN_TILE_COLUMNS(SN_TILE_MULTIPLY, i)                                                                 \
    }

#if SN_TILE_B >= 5
#define SN_TILE_OPERAND(i, j) vi32 b##j = sn_load_i32_v((const int32_t *)b + k * SN_TILE_NR + (j)*SN_LANES);
#elif SN_TILE_B == 1
#define SN_TILE_OPERAND(i, j) vf32 b##j = sn_load_f32_v((const float *)b + k * SN_TILE_NR + (j)*SN_LANES);
#elif SN_TILE_B == 4
#define SN_TILE_WIDENED(i, j)                                                                                \
    SN_CONVERT(sn_load_i8_v((const int8_t *)b + k * SN_TILE_NR + (j)*SN_LANES), vf32)
#define SN_TILE_OPERAND(i, j)                                                                                \
    vf32 b##j = fetch == SN_TILE_FETCH_STREAM                                                                \
                    ? SN_TILE_WIDENED(i, j)                                                                  \
                    : sn_load_f32_v((const float *)b + k * SN_TILE_NR + (j)*SN_LANES);
#elif SN_TILE_B == 3
#define SN_TILE_OPERAND(i, j) vf32 b##j = sn_load_f16_v((const uint16_t *)b + k * SN_TILE_NR + (j)*SN_LANES);
#else
#define SN_TILE_PAIR(i, j)                                                                                   \
    vu32 w##j = sn_load_u32_v((const uint32_t *)b + (k / 2) * SN_TILE_NR + (j)*SN_LANES);                    \
    vf32 b##j = (vf32)(w##j << 16);
#define SN_TILE_SECOND(i, j) b##j = (vf32)(w##j >> 16 << 16);
#endif

/* What a tile fetches into the caches while it computes. Prefetches in a burst would stall until the memory
 * answers; one or a few in a step of k cost nothing. */
typedef enum SnTileFetch {
    SN_TILE_FETCH_NONE,   /* b is near */
    SN_TILE_FETCH_STREAM, /* b comes from memory: what lies behind the row at hand is fetched */
    SN_TILE_FETCH_AHEAD,  /* b is near, and meanwhile `ahead` is fetched, a line for each `step` bytes */
} SnTileFetch;
#define SN_TILE_FAR 32

#define SN_TILE_FETCH_ROWS                                                                                   \
    if (fetch == SN_TILE_FETCH_STREAM) {                                                                     \
        SN_TILE_COLUMNS(SN_TILE_PREFETCH, 0)                                                                 \
    }                                                                                                        \
    if (fetch == SN_TILE_FETCH_AHEAD) {                                                                      \
        __builtin_prefetch(ahead, 0, SN_TILE_ONCE ? 2 : 3);                                                  \
        ahead += step;                                                                                       \
    }

/* One step of k. */
#define SN_TILE_STEP                                                                                         \
    {                                                                                                        \
        SN_TILE_COLUMNS(SN_TILE_OPERAND, 0)                                                                  \
        SN_TILE_FETCH_ROWS                                                                                   \
        SN_TILE_ROWS(SN_TILE_ROW)                                                                            \
        k++;                                                                                                 \
    }

/* Element (i, k) of A is at i * lda + k * along. `rows` and `fetch` are constants at every call, so that the conditions
 * vanish. */
SN_INLINE void sn_tile_strided(const int rows, const SnTileFetch fetch, int64_t length,
                               const SnTileElement *a, const int64_t lda, const int64_t along, const void *b,
                               SnTileNumber *c, int64_t ldc, int accumulate, const char *ahead,
                               int64_t step) {
    SN_TILE_ROWS(SN_TILE_DECLARE_ROW)
    if (accumulate) {
        SN_TILE_ROWS(SN_TILE_FETCH_ROW)
    }
    int64_t k = 0;
#if SN_TILE_B == 2
    for (; k + 1 < length; k++) {
        SN_TILE_COLUMNS(SN_TILE_PAIR, 0)
        SN_TILE_FETCH_ROWS
        SN_TILE_ROWS(SN_TILE_ROW)
        k++;
        SN_TILE_COLUMNS(SN_TILE_SECOND, 0)
        SN_TILE_ROWS(SN_TILE_ROW)
    }
    if (k < length) {
        SN_TILE_COLUMNS(SN_TILE_PAIR, 0)
        SN_TILE_ROWS(SN_TILE_ROW)
    }
#else
    /* There are processors that add integers where they multiply: the fewer of these beside a vector the better. */
    if (SN_TILE_ONCE && rows == SN_TILE_MR && fetch != SN_TILE_FETCH_STREAM)
        while (k + 4 <= length) {
            SN_TILE_STEP SN_TILE_STEP SN_TILE_STEP SN_TILE_STEP
        }
    while (k < length) SN_TILE_STEP
#endif
    SN_TILE_ROWS(SN_TILE_KEEP_ROW)
}
SN_INLINE void sn_tile_rows(const int rows, const SnTileFetch fetch, int64_t length, const SnTileElement *a,
                            const int64_t lda, const void *b, SnTileNumber *c, int64_t ldc, int accumulate,
                            const char *ahead, int64_t step) {
    sn_tile_strided(rows, fetch, length, a, lda, 1, b, c, ldc, accumulate, ahead, step);
}

/* to[j][i] = from[i][j] for a square of SN_LANES: log2(SN_LANES) perfect shuffles of the rows. `from` is
 * dense. */
#if SN_LANES == 16
#define SN_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define SN_ZIP_HIGH(a, b)                                                                                    \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif SN_LANES == 8
#define SN_ZIP_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define SN_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define SN_ZIP_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define SN_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
SN_OUTLINE void sn_transpose_square(const float *from, float *to, int64_t ldt) {
    vf32 rows[SN_LANES], next[SN_LANES];
    for (int i = 0; i < SN_LANES; i++) rows[i] = sn_load_f32_v(from + i * SN_LANES);
    for (int stage = 1; stage < SN_LANES; stage *= 2) {
        for (int i = 0; i < SN_LANES / 2; i++) {
            next[2 * i] = SN_ZIP_LOW(rows[i], rows[i + SN_LANES / 2]);
            next[2 * i + 1] = SN_ZIP_HIGH(rows[i], rows[i + SN_LANES / 2]);
        }
        __builtin_memcpy(rows, next, sizeof rows);
    }
    for (int i = 0; i < SN_LANES; i++) sn_store_f32_v(to + i * ldt, rows[i]);
}

/* The variants that are compiled: a tile of another height runs as the next one up, over rows of A that the
 * caller has made readable, since code for every height would double the time to compile. */
SN_INLINE int64_t sn_tile_height(int64_t rows) {
    static const uint8_t heights[17] = {0, 1, 2, 4, 4, 6, 6, 8, 8, 11, 11, 11, 14, 14, 14, 16, 16};
    return heights[rows] < SN_TILE_MR ? heights[rows] : SN_TILE_MR;
}

#define SN_TILE_CASE(n, fetch)                                                                               \
    case n:                                                                                                  \
        sn_tile_strided(n, fetch, length, a, lda, along, b, c, ldc, accumulate, ahead, step);                \
        break;
#if SN_TILE_MR > 14
#define SN_TILE_CASES(F, x) F(1, x) F(2, x) F(4, x) F(6, x) F(8, x) F(11, x) F(14, x) F(SN_TILE_MR, x)
#elif SN_TILE_MR > 11
#define SN_TILE_CASES(F, x) F(1, x) F(2, x) F(4, x) F(6, x) F(8, x) F(11, x) F(SN_TILE_MR, x)
#elif SN_TILE_MR > 8
#define SN_TILE_CASES(F, x) F(1, x) F(2, x) F(4, x) F(6, x) F(8, x) F(SN_TILE_MR, x)
#elif SN_TILE_MR > 6
#define SN_TILE_CASES(F, x) F(1, x) F(2, x) F(4, x) F(6, x) F(SN_TILE_MR, x)
#elif SN_TILE_MR > 4
#define SN_TILE_CASES(F, x) F(1, x) F(2, x) F(4, x) F(SN_TILE_MR, x)
#elif SN_TILE_MR > 2
#define SN_TILE_CASES(F, x) F(1, x) F(2, x) F(SN_TILE_MR, x)
#elif SN_TILE_MR > 1
#define SN_TILE_CASES(F, x) F(1, x) F(2, x)
#else
#define SN_TILE_CASES(F, x) F(1, x)
#endif

/* rows: a sn_tile_height. a: that many rows of `length` floats, element (i, k) at i * lda + k * along (constants at the
 * call site make the addresses immediate); b: `length` rows of a panel, near; c: rows of NR floats, ldc apart. */
SN_INLINE void sn_tile(int64_t rows, int64_t length, const SnTileElement *a, const int64_t lda,
                       const int64_t along, const void *b, SnTileNumber *c, int64_t ldc, int accumulate) {
    const char *ahead = (const char *)0;
    const int64_t step = 0;
    switch (rows) { SN_TILE_CASES(SN_TILE_CASE, SN_TILE_FETCH_NONE) }
}

/* The same for a b that comes from memory: fetched as it is read, or, where `step` is not 0, because b was
 * fetched before, with a line of `ahead` in each step of k (by tiles of the full height). */
SN_INLINE void sn_tile_stream(int64_t rows, int64_t length, const SnTileElement *a, const int64_t lda,
                              const int64_t along, const void *b, SnTileNumber *c, int64_t ldc,
                              int accumulate, const char *ahead, int64_t step) {
    if (rows == SN_TILE_MR && step) {
        sn_tile_strided(SN_TILE_MR, SN_TILE_FETCH_AHEAD, length, a, lda, along, b, c, ldc, accumulate, ahead,
                        step);
        return;
    }
    switch (rows) { SN_TILE_CASES(SN_TILE_CASE, SN_TILE_FETCH_STREAM) }
}

#endif

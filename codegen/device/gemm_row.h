/* Contraction of a single row by a B that is data: after gemm_holes.h. Packing would cost more than the product, so B
 * is read where it lies, in the order in which it lies there: along n by rows that are cut into pieces of K, along k by columns.
 *
 * The entry calls sn_gemm_row_run(context, N, K, batch, blocks, pieces, begin, end), K elements, where N is cut into that
 * many blocks and K into that many pieces (1 along k). For the host:
 *   work items       batch * blocks * pieces; where there are several pieces, batch * blocks * J more once these have ended,
 *                    J = ceil(ceil(N / blocks) / SN_GEMM_ROW_JOINED)
 *   scratch          then of floats, batch * blocks * pieces * (ceil(N / blocks) up to a multiple of 16), aligned to 64
 *   blocks           at least N / SN_GEMM_ROW_COLUMNS
 *   SN_GEMM_B_POINTER  1: there is a hole for the address of B's element, and B is fetched ahead; 2: besides, B is f32 whose
 *                    elements along its lanes lie one behind another; 0 (default): none
 *   SN_GEMM_PARTIAL    1: there can be several pieces; 0 (default): never
 * Holes:
 *   const void *sn_gemm_b_pointer(context, batch, k, n)               SN_GEMM_B_POINTER
 *   const void *sn_gemm_partial(context, at)                          SN_GEMM_PARTIAL; the scratch's element
 *
 * Pieces are added in their order, so results do not depend on how the work items are split. */
#ifndef SN_DEVICE_GEMM_ROW_H
#define SN_DEVICE_GEMM_ROW_H

#ifndef SN_GEMM_B_POINTER
#define SN_GEMM_B_POINTER 0
#endif
#ifndef SN_GEMM_PARTIAL
#define SN_GEMM_PARTIAL 0
#endif
#define SN_GEMM_ROW_COLUMNS 65536 /* of a block at most */
#define SN_GEMM_ROW_JOINED  4096  /* columns of an item that adds the sums of pieces */
#define SN_GEMM_ROW_DEPTH   4096  /* of A at once: they stay in the first-level cache */
#define SN_GEMM_ROW_AHEAD   1024  /* bytes that are fetched ahead */
#define SN_GEMM_ROW_AT_ONCE 8     /* rows of B, so that sums are seldom loaded and stored */

#if SN_GEMM_B_POINTER
SN_INLINE const void *sn_gemm_b_pointer(const SnContext *context, int64_t batch, int64_t k, int64_t n);
#endif
#if SN_GEMM_PARTIAL
SN_INLINE const void *sn_gemm_partial(const SnContext *context, int64_t at);
#endif

typedef struct SnGemmRow {
    SnGemm g;
    int64_t blocks, width, pieces;
} SnGemmRow;

/* A's only row, columns k .. k+count, as numbers. */
SN_INLINE void sn_gemm_read_row(const SnGemm *g, int64_t k, int64_t count, float *out) {
    int64_t i = 0;
#if !SN_GEMM_A_ALONG_M
    for (; i + SN_LANES <= count; i += SN_LANES)
        sn_store_f32_v(out + i, sn_gemm_a_v(g->context, g->batch, 0, k + i));
#endif
    for (; i < count; i++) out[i] = sn_gemm_a_s(g->context, g->batch, 0, k + i);
}

/* Fetches what is read behind an element. */
SN_INLINE void sn_gemm_row_fetch(const void *element) {
    __builtin_prefetch((const char *)element + SN_GEMM_ROW_AHEAD);
}

/* The line of B's elements from (k, n) on, along its lanes: where it begins, if it is one. */
SN_INLINE const float *sn_gemm_row_line(const SnGemm *g, int64_t k, int64_t n) {
#if SN_GEMM_B_POINTER > 1
    return sn_gemm_b_pointer(g->context, g->batch, k, n);
#else
    (void)g, (void)k, (void)n;
    return (const float *)0;
#endif
}

/* The vector i elements behind its beginning. */
SN_INLINE vf32 sn_gemm_row_read(const SnGemm *g, const float *line, int64_t k, int64_t n, int64_t i) {
#if SN_GEMM_B_POINTER > 1
    (void)g, (void)k, (void)n;
    sn_gemm_row_fetch(line + i);
    return sn_load_f32_v(line + i);
#else
    (void)line;
#if SN_GEMM_B_ALONG_K
    k += i;
#else
    n += i;
#endif
#if SN_GEMM_B_POINTER
    sn_gemm_row_fetch(sn_gemm_b_pointer(g->context, g->batch, k, n));
#endif
    return sn_gemm_b_v(g->context, g->batch, k, n);
#endif
}

#if SN_GEMM_B_ALONG_K
/* sums += a by rows k .. k+count of the columns n0 .. n0+columns. */
SN_INLINE void sn_gemm_row_add(const SnGemm *g, const float *a, int64_t k, int64_t count, int64_t n0,
                               int64_t columns, float *sums) {
    for (int64_t n = n0; n < n0 + columns; n++) {
        const float *line = sn_gemm_row_line(g, k, n);
        vf32 even = {0}, odd = {0};
        int64_t i = 0;
        for (; i + 2 * SN_LANES <= count; i += 2 * SN_LANES) {
            even += sn_load_f32_v(a + i) * sn_gemm_row_read(g, line, k, n, i);
            odd += sn_load_f32_v(a + i + SN_LANES) * sn_gemm_row_read(g, line, k, n, i + SN_LANES);
        }
        float sum = sn_sum_f32(even + odd);
        for (; i < count; i++) sum += a[i] * sn_gemm_b_s(g->context, g->batch, k + i, n);
        sums[n - n0] += sum;
    }
}
#else
/* The same, `rows` (a constant, at most AT_ONCE) rows at once. */
SN_INLINE void sn_gemm_row_add_rows(const SnGemm *g, const float *a, int64_t k, const int rows, int64_t n0,
                                    int64_t columns, float *sums) {
    const float *line[SN_GEMM_ROW_AT_ONCE];
    int64_t j = 0;
    for (int l = 0; l < rows; l++) line[l] = sn_gemm_row_line(g, k + l, n0);
    for (; j + SN_LANES <= columns; j += SN_LANES) {
        vf32 sum = sn_load_f32_v(sums + j);
        for (int l = 0; l < rows; l++) sum += a[l] * sn_gemm_row_read(g, line[l], k + l, n0, j);
        sn_store_f32_v(sums + j, sum);
    }
    for (; j < columns; j++)
        for (int l = 0; l < rows; l++) sums[j] += a[l] * sn_gemm_b_s(g->context, g->batch, k + l, n0 + j);
}

SN_INLINE void sn_gemm_row_add(const SnGemm *g, const float *a, int64_t k, int64_t count, int64_t n0,
                               int64_t columns, float *sums) {
    int64_t i = 0;
    for (; i + SN_GEMM_ROW_AT_ONCE <= count; i += SN_GEMM_ROW_AT_ONCE)
        sn_gemm_row_add_rows(g, a + i, k + i, SN_GEMM_ROW_AT_ONCE, n0, columns, sums);
    for (; i < count; i++) sn_gemm_row_add_rows(g, a + i, k + i, 1, n0, columns, sums);
}
#endif

/* sums = the row by rows k .. k1 of the columns n0 .. n0+columns. */
SN_OUTLINE void sn_gemm_row_sum(const SnGemm *g, int64_t k, int64_t k1, int64_t n0, int64_t columns,
                                float *sums) {
    SN_ALIGNED float a[SN_GEMM_ROW_DEPTH];
    __builtin_memset(sums, 0, (size_t)columns * sizeof(float));
    for (int64_t count; k < k1; k += count) {
        count = sn_least(k1 - k, SN_GEMM_ROW_DEPTH);
        sn_gemm_read_row(g, k, count, a);
        sn_gemm_row_add(g, a, k, count, n0, columns, sums);
    }
}

/* Where piece r of K begins: A is read by whole vectors from there. */
SN_INLINE int64_t sn_gemm_row_cut(const SnGemmRow *row, int64_t r) {
    return r < row->pieces ? r * row->g.depth / row->pieces / 16 * 16 : row->g.depth;
}

/* The sums of piece r of a block. */
SN_INLINE float *sn_gemm_row_partial(const SnGemmRow *row, int64_t block, int64_t r) {
#if SN_GEMM_PARTIAL
    int64_t at = (row->g.batch * row->blocks + block) * row->pieces + r;
    return (float *)sn_gemm_partial(row->g.context, at * row->width);
#else
    (void)row, (void)block, (void)r;
    return (float *)0;
#endif
}

/* Piece r of a block. */
SN_OUTLINE void sn_gemm_row_piece(const SnGemmRow *row, int64_t block, int64_t r) {
    SN_ALIGNED float sums[SN_GEMM_ROW_COLUMNS];
    const SnGemm *g = &row->g;
    int64_t n0 = block * row->width, columns = sn_least(g->N - n0, row->width);
    float *to = row->pieces > 1 ? sn_gemm_row_partial(row, block, r) : sums;
    sn_gemm_row_sum(g, sn_gemm_row_cut(row, r), sn_gemm_row_cut(row, r + 1), n0, columns, to);
    if (to == sums) sn_gemm_finish(g->context, sums, 0, g->batch, 0, 1, n0, columns);
}

/* The sums of all pieces of a block, its columns from `first` on, at most JOINED. */
SN_OUTLINE void sn_gemm_row_join(const SnGemmRow *row, int64_t block, int64_t first) {
    SN_ALIGNED float sums[SN_GEMM_ROW_JOINED];
    const SnGemm *g = &row->g;
    int64_t n0 = block * row->width, columns = sn_least(g->N - n0, row->width) - first;
    if (columns <= 0) return;
    columns = sn_least(columns, SN_GEMM_ROW_JOINED);
    __builtin_memset(sums, 0, (size_t)columns * sizeof(float));
    for (int64_t r = 0; r < row->pieces; r++) {
        const float *part = sn_gemm_row_partial(row, block, r) + first;
        int64_t j = 0;
        for (; j + SN_LANES <= columns; j += SN_LANES)
            sn_store_f32_v(sums + j, sn_load_f32_v(sums + j) + sn_load_f32_v(part + j));
        for (; j < columns; j++) sums[j] += part[j];
    }
    sn_gemm_finish(g->context, sums, 0, g->batch, 0, 1, n0 + first, columns);
}

SN_OUTLINE void sn_gemm_row_run(const SnContext *context, int64_t N, int64_t K, int64_t batch, int64_t blocks,
                                int64_t pieces, int64_t begin, int64_t end) {
    SnGemmRow row = {.g = sn_gemm_shape(context, &sn_gemm_holes, 1, N, K),
                     .blocks = blocks,
                     .width = sn_ceil_div(sn_ceil_div(N, blocks), 16) * 16,
                     .pieces = pieces};
    int64_t all = batch * blocks * pieces, joins = sn_ceil_div(sn_ceil_div(N, blocks), SN_GEMM_ROW_JOINED);
    for (int64_t item = begin; item < end; item++) {
        int64_t each = item < all ? pieces : joins, at = item < all ? item : item - all;
        row.g.batch = at / each / blocks;
        if (item < all)
            sn_gemm_row_piece(&row, at / each % blocks, at % each);
        else
            sn_gemm_row_join(&row, at / each % blocks, at % each * SN_GEMM_ROW_JOINED);
    }
}

#endif

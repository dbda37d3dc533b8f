/* Contraction: C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]), accumulated in f32.
 *
 * Contract for the code generator: after vector.h and tile.h. #defines before the text:
 *   SN_GEMM_B          0: B is read through its hole and packed per work item on the stack (B that is data);
 *                      1 f32, 2 bf16, 3 f16: B lies packed in panels (weights; tile.h's SN_TILE_B is then the
 * same) SN_GEMM_PACK       1 in the kernel that packs B; it has the packer only. SN_GEMM_B is what it packs
 * to. SN_GEMM_KC         K is cut into equal pieces of at most this (default 384; a multiple of 32)
 *   SN_GEMM_A_ALONG_M  the lanes of sn_gemm_a_v: 0 consecutive k (default, row-major A), 1 consecutive m
 *   SN_GEMM_B_ALONG_K  the lanes of sn_gemm_b_v: 0 consecutive n (default, row-major B), 1 consecutive k
 *   SN_GEMM_A_POINTER  1: there is a hole for the address of A's element, so that A is fetched ahead (4-7 %
 * faster where A comes from memory with consecutive k); 0 (default): none Holes, defined after the text; a v
 * form is only called where all its lanes are inside the matrix: vf32 sn_gemm_a_v(context, batch, m, k),
 * float sn_gemm_a_s(...)       unless SN_GEMM_PACK vf32 sn_gemm_b_v(context, batch, k, n), float
 * sn_gemm_b_s(...)       SN_GEMM_B 0 or SN_GEMM_PACK const void *sn_gemm_a_pointer(context, batch, m, k)
 * SN_GEMM_A_POINTER; only prefetched, may lie outside const void *sn_gemm_panels(context, batch) SN_GEMM_B 1
 * to 3 void sn_epilogue_v(context, vf32 sum, batch, m, n), sn_epilogue_s(context, float sum, batch, m, n) The
 * entry calls sn_gemm_run(context, M, N, K, begin, end), or sn_gemm_pack_run(context, panels, N, K, begin,
 * end).
 *
 * For the host, which may define SN_GEMM_PANELS and SN_GEMM_BLOCKS, the panels and the heights of the tile in
 * a work item (default 8 and 4; with SN_GEMM_B 0, where a work item packs its part of B, 4 and what gives
 * about 256 rows): with NR = SN_TILE_NV * SN_LANES, U = ceil(M / SN_TILE_MR), P = ceil(N / NR):
 *
 *   work items       batch * (U <= 4 ? P : ceil(P / SN_GEMM_PANELS) * ceil(U / SN_GEMM_BLOCKS))
 *
 *   packing items    batch * P
 *
 *   packed bytes     batch * P * NR * (SN_GEMM_B == 1 ? 4 * K : 2 * (K + K % 2)), aligned to 64
 *
 * Stack: less than 800 KB with the default tile and KC, 1.1 MB with 6 by 4. A work item is a block of panels
 * by heights of the tile, or a panel and all the rows, when these are few; neighbours in a call are joined,
 * so that the panels stay in the second-level cache. A single row reads a B that is data where it lies. An
 * element's sum is cut by K and by how many rows there are, so no result depends on how the items are split.
 */
#ifndef SN_DEVICE_GEMM_H
#define SN_DEVICE_GEMM_H

#ifndef SN_GEMM_B
#define SN_GEMM_B 1
#endif
#ifndef SN_GEMM_PACK
#define SN_GEMM_PACK 0
#endif
#ifndef SN_GEMM_KC
#define SN_GEMM_KC 384
#endif
#ifndef SN_GEMM_A_ALONG_M
#define SN_GEMM_A_ALONG_M 0
#endif
#ifndef SN_GEMM_B_ALONG_K
#define SN_GEMM_B_ALONG_K 0
#endif
#if SN_GEMM_B != SN_TILE_B && !(SN_GEMM_B == 0 && SN_TILE_B == 1)
#error "SN_TILE_B must be SN_GEMM_B, or 1 when that is 0"
#endif

#ifndef SN_GEMM_A_POINTER
#define SN_GEMM_A_POINTER 0
#endif
#ifndef SN_GEMM_PANELS
#define SN_GEMM_PANELS (SN_GEMM_B == 0 ? 4 : 8)
#endif
#ifndef SN_GEMM_BLOCKS
#define SN_GEMM_BLOCKS (SN_GEMM_B == 0 ? 256 / SN_TILE_MR : 4)
#endif
#define SN_GEMM_FEW 4 /* heights at most for which an item is one panel and all rows */
/* Heights joined at most: the sums of the block, the panels and a height of A share the second-level cache.
 */
#define SN_GEMM_MOST ((SN_GEMM_B == 0 ? 512 : 240) / SN_TILE_MR / SN_GEMM_BLOCKS * SN_GEMM_BLOCKS)
#define SN_GEMM_JOIN (SN_GEMM_MOST > SN_GEMM_BLOCKS ? SN_GEMM_MOST : SN_GEMM_BLOCKS)
#define SN_GEMM_LDA  (SN_GEMM_KC + SN_LANES) /* padded against cache set conflicts */
#define SN_GEMM_LDC  (SN_GEMM_PANELS * SN_TILE_NR + SN_LANES)
#define SN_ALIGNED   __attribute__((aligned(64)))

SN_INLINE int64_t sn_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
SN_INLINE int64_t sn_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

#if SN_GEMM_B == 0 || SN_GEMM_PACK
SN_INLINE vf32 sn_gemm_b_v(const SnContext *context, int64_t batch, int64_t k, int64_t n);
SN_INLINE float sn_gemm_b_s(const SnContext *context, int64_t batch, int64_t k, int64_t n);

/* out (panels, count, NR): rows k .. k+count of the panels whose first column is n, zero from column N on.
 * Each row is read across all the panels, since a row of B is often all that lies together in memory. */
SN_OUTLINE void sn_gemm_gather_b(const SnContext *context, int64_t batch, int64_t k, int64_t count, int64_t n,
                                 int64_t panels, int64_t N, float *out) {
    int64_t columns = sn_least(N - n, panels * SN_TILE_NR), done = 0; /* rows that the whole vectors have */
    int64_t whole = columns / SN_LANES * SN_LANES;
#if SN_GEMM_B_ALONG_K
    for (; done + SN_LANES <= count; done += SN_LANES)
        for (int64_t p = 0; p * SN_TILE_NR < whole; p++)
            for (int64_t j = 0; j < SN_TILE_NR && p * SN_TILE_NR + j < whole; j += SN_LANES) {
                SN_ALIGNED float square[SN_LANES * SN_LANES];
                for (int64_t l = 0; l < SN_LANES; l++)
                    sn_store_f32_v(square + l * SN_LANES,
                                   sn_gemm_b_v(context, batch, k + done, n + p * SN_TILE_NR + j + l));
                sn_transpose_square(square, out + (p * count + done) * SN_TILE_NR + j, SN_TILE_NR);
            }
#else
    for (; done < count; done++)
        for (int64_t p = 0; p * SN_TILE_NR < whole; p++)
            for (int64_t j = 0; j < SN_TILE_NR && p * SN_TILE_NR + j < whole; j += SN_LANES)
                sn_store_f32_v(out + (p * count + done) * SN_TILE_NR + j,
                               sn_gemm_b_v(context, batch, k + done, n + p * SN_TILE_NR + j));
#endif
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = i < done ? whole : 0; j < panels * SN_TILE_NR; j++)
            out[(j / SN_TILE_NR * count + i) * SN_TILE_NR + j % SN_TILE_NR] =
                j < columns ? sn_gemm_b_s(context, batch, k + i, n + j) : 0;
}
#endif

#if SN_GEMM_PACK
/* rows (count, NR), count even or the end of K, to the element type of the panels; `to` is where row 0 goes.
 */
SN_INLINE void sn_gemm_narrow(const float *rows, int64_t count, void *to) {
#if SN_GEMM_B == 1
    __builtin_memcpy(to, rows, (size_t)count * SN_TILE_NR * sizeof(float));
#else
    for (int64_t i = 0; i < count; i += 2)
        for (int64_t j = 0; j < SN_TILE_NR; j += SN_LANES) {
            vf32 even = sn_load_f32_v(rows + i * SN_TILE_NR + j), odd = {0};
            if (i + 1 < count) odd = sn_load_f32_v(rows + (i + 1) * SN_TILE_NR + j);
#if SN_GEMM_B == 2
            vu32 pair = SN_CONVERT(sn_to_bf16_v(even), vu32) | SN_CONVERT(sn_to_bf16_v(odd), vu32) << 16;
            sn_store_u32_v((uint32_t *)to + i / 2 * SN_TILE_NR + j, pair);
#else
            sn_store_f16_v((uint16_t *)to + i * SN_TILE_NR + j, even);
            sn_store_f16_v((uint16_t *)to + (i + 1) * SN_TILE_NR + j, odd);
#endif
        }
#endif
}

/* panels: (batch, P, packed panel). */
SN_OUTLINE void sn_gemm_pack_run(const SnContext *context, void *panels, int64_t N, int64_t K, int64_t begin,
                                 int64_t end) {
    enum { PIECE = 64 };
    SN_ALIGNED float rows[PIECE * SN_TILE_NR];
    int64_t P = sn_ceil_div(N, SN_TILE_NR);
    for (int64_t item = begin; item < end; item++) {
        char *panel = (char *)panels + item * SN_TILE_PANEL_BYTES(K);
        for (int64_t k = 0; k < K; k += PIECE) {
            int64_t count = K - k < PIECE ? K - k : PIECE;
            sn_gemm_gather_b(context, item / P, k, count, item % P * SN_TILE_NR, 1, N, rows);
            sn_gemm_narrow(rows, count, panel + SN_TILE_PANEL_BYTES(k));
        }
    }
}
#else

SN_INLINE vf32 sn_gemm_a_v(const SnContext *context, int64_t batch, int64_t m, int64_t k);
SN_INLINE float sn_gemm_a_s(const SnContext *context, int64_t batch, int64_t m, int64_t k);
SN_INLINE void sn_epilogue_v(const SnContext *context, vf32 sum, int64_t batch, int64_t m, int64_t n);
SN_INLINE void sn_epilogue_s(const SnContext *context, float sum, int64_t batch, int64_t m, int64_t n);
#if SN_GEMM_A_POINTER
SN_INLINE const void *sn_gemm_a_pointer(const SnContext *context, int64_t batch, int64_t m, int64_t k);
#endif
#if SN_GEMM_B != 0
SN_INLINE const void *sn_gemm_panels(const SnContext *context, int64_t batch);
#endif

/* out (height, LDA): rows m .. m+rows of A, columns k .. k+count; the rows to the height are zero. */
SN_OUTLINE void sn_gemm_gather_a(const SnContext *context, int64_t batch, int64_t m, int64_t rows, int64_t M,
                                 int64_t k, int64_t count, float *out) {
    int64_t whole = 0; /* columns already there */
#if SN_GEMM_A_ALONG_M
    for (; M >= SN_LANES && whole + SN_LANES <= count; whole += SN_LANES)
        for (int64_t r = 0; r < rows; r += SN_LANES) {
            SN_ALIGNED float square[SN_LANES * SN_LANES], turned[SN_LANES * SN_LANES];
            int64_t first = m + r < M - SN_LANES ? m + r : M - SN_LANES; /* stay inside A */
            for (int64_t l = 0; l < SN_LANES; l++)
                sn_store_f32_v(square + l * SN_LANES, sn_gemm_a_v(context, batch, first, k + whole + l));
            sn_transpose_square(square, turned, SN_LANES);
            for (int64_t i = m + r - first, to = r; i < SN_LANES && to < rows; i++, to++)
                sn_store_f32_v(out + to * SN_GEMM_LDA + whole, sn_load_f32_v(turned + i * SN_LANES));
        }
#else
    (void)M;
    for (int64_t r = 0; r < rows; r++)
        for (whole = 0; whole + SN_LANES <= count; whole += SN_LANES)
            sn_store_f32_v(out + r * SN_GEMM_LDA + whole, sn_gemm_a_v(context, batch, m + r, k + whole));
#endif
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = whole; i < count; i++)
            out[r * SN_GEMM_LDA + i] = sn_gemm_a_s(context, batch, m + r, k + i);
    for (int64_t r = rows; r < sn_tile_height(rows); r++)
        __builtin_memset(out + r * SN_GEMM_LDA, 0, (size_t)count * sizeof(float));
}

/* sums (rows, LDC) of rows m .. and columns n .. n+columns go to the epilogue, each once. */
SN_OUTLINE void sn_gemm_finish(const SnContext *context, const float *sums, int64_t batch, int64_t m,
                               int64_t rows, int64_t n, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) {
        const float *row = sums + r * SN_GEMM_LDC;
        int64_t i = 0;
        for (; i + SN_LANES <= columns; i += SN_LANES)
            sn_epilogue_v(context, sn_load_f32_v(row + i), batch, m + r, n + i);
        for (; i < columns; i++) sn_epilogue_s(context, row[i], batch, m + r, n + i);
    }
}

typedef struct SnGemm {
    const SnContext *context;
    int64_t M, N, K, batch;
} SnGemm;

/* The part of A that is needed next, brought near a share at a time while the tiles of a height are computed.
 */
typedef struct SnGemmRows {
    int64_t m, rows, k, count;
} SnGemmRows;
SN_INLINE void sn_gemm_fetch_a(const SnGemm *g, const SnGemmRows *next, int64_t share, int64_t shares) {
#if SN_GEMM_A_POINTER
    for (int64_t r = next->rows * share / shares; r < next->rows * (share + 1) / shares; r++)
        for (int64_t i = 0; i < next->count; i += 16)
            __builtin_prefetch(sn_gemm_a_pointer(g->context, g->batch, next->m + r, next->k + i));
#else
    (void)g, (void)next, (void)share, (void)shares;
#endif
}

/* The heights u0 .. u1 of the tile (at most SN_GEMM_JOIN) by the panels p0 .. p1 (at most SN_GEMM_PANELS).
 * Height u starts at row u * M / U, so that all are nearly equal. */
SN_OUTLINE void sn_gemm_block(const SnGemm *g, int64_t u0, int64_t u1, int64_t p0, int64_t p1) {
    SN_ALIGNED float a[SN_TILE_MR * SN_GEMM_LDA];
    SN_ALIGNED float sums[SN_GEMM_JOIN * SN_TILE_MR * SN_GEMM_LDC];
#if SN_GEMM_B == 0
    SN_ALIGNED float packed[SN_GEMM_PANELS * SN_GEMM_KC * SN_TILE_NR];
#else
    const char *panels = sn_gemm_panels(g->context, g->batch);
#endif
    int64_t U = sn_ceil_div(g->M, SN_TILE_MR), pieces = g->K > SN_GEMM_KC ? sn_ceil_div(g->K, SN_GEMM_KC) : 1;
    int64_t piece = (sn_ceil_div(g->K, pieces) + 31) / 32 * 32; /* no more than SN_GEMM_KC */
    int64_t k = 0;
    do {
        int64_t count = g->K - k < piece ? g->K - k : piece;
#if SN_GEMM_B == 0
        sn_gemm_gather_b(g->context, g->batch, k, count, p0 * SN_TILE_NR, p1 - p0, g->N, packed);
#endif
        for (int64_t u = u0; u < u1; u++) {
            int64_t m = u * g->M / U, rows = (u + 1) * g->M / U - m;
            float *c = sums + (pieces > 1 ? (u - u0) * SN_TILE_MR * SN_GEMM_LDC : 0);
            sn_gemm_gather_a(g->context, g->batch, m, rows, g->M, k, count, a);
            SnGemmRows next = {m + rows, rows, k, count};
            if (u + 1 == u1) next = (SnGemmRows){u0 * g->M / U, rows, k + count, g->K - k - count};
            for (int64_t p = p0; p < p1; p++) {
#if SN_GEMM_B == 0
                const void *b = packed + (p - p0) * count * SN_TILE_NR;
#else
                const void *b = panels + p * SN_TILE_PANEL_BYTES(g->K) + SN_TILE_PANEL_BYTES(k);
#endif
                sn_gemm_fetch_a(g, &next, p - p0, p1 - p0);
                float *sum = c + (p - p0) * SN_TILE_NR;
                sn_tile(sn_tile_height(rows), count, a, SN_GEMM_LDA, b, sum, SN_GEMM_LDC, k > 0);
                if (k + count >= g->K)
                    sn_gemm_finish(g->context, sum, g->batch, m, rows, p * SN_TILE_NR,
                                   sn_least(SN_TILE_NR, g->N - p * SN_TILE_NR));
            }
        }
        k += count;
    } while (k < g->K);
}

#if SN_GEMM_B == 0
#define SN_GEMM_ROW (2048 / SN_TILE_NR) /* panels at most of a single row's work items, joined */
/* A single row, columns n0 .. n1: packing would cost more than the product, so B is read where it lies, along
 * what is consecutive there. */
SN_OUTLINE void sn_gemm_row(const SnGemm *g, int64_t n0, int64_t n1) {
    SN_ALIGNED float a[SN_GEMM_LDA], sums[SN_GEMM_ROW * SN_TILE_NR];
    int64_t columns = n1 - n0, count;
    __builtin_memset(sums, 0, (size_t)columns * sizeof(float));
    for (int64_t k = 0; k < g->K; k += count) {
        count = sn_least(g->K - k, SN_GEMM_KC);
        sn_gemm_gather_a(g->context, g->batch, 0, 1, g->M, k, count, a);
#if SN_GEMM_B_ALONG_K
        for (int64_t j = 0; j < columns; j++) {
            vf32 even = {0}, odd = {0};
            int64_t i = 0;
            for (; i + 2 * SN_LANES <= count; i += 2 * SN_LANES) {
                even += sn_load_f32_v(a + i) * sn_gemm_b_v(g->context, g->batch, k + i, n0 + j);
                odd += sn_load_f32_v(a + i + SN_LANES) *
                       sn_gemm_b_v(g->context, g->batch, k + i + SN_LANES, n0 + j);
            }
            float sum = sn_sum_f32(even + odd);
            for (; i < count; i++) sum += a[i] * sn_gemm_b_s(g->context, g->batch, k + i, n0 + j);
            sums[j] += sum;
        }
#else
        int64_t step = 4, j;
        for (int64_t i = 0; i < count; i += step) {
            if (count - i < step) step = 1;
            for (j = 0; j + SN_LANES <= columns; j += SN_LANES) {
                vf32 sum = sn_load_f32_v(sums + j);
                sum += a[i] * sn_gemm_b_v(g->context, g->batch, k + i, n0 + j);
                for (int64_t l = 1; l < step; l++)
                    sum += a[i + l] * sn_gemm_b_v(g->context, g->batch, k + i + l, n0 + j);
                sn_store_f32_v(sums + j, sum);
            }
            for (; j < columns; j++)
                for (int64_t l = 0; l < step; l++)
                    sums[j] += a[i + l] * sn_gemm_b_s(g->context, g->batch, k + i + l, n0 + j);
        }
#endif
    }
    sn_gemm_finish(g->context, sums, g->batch, 0, 1, n0, columns);
}
#endif

SN_INLINE int64_t sn_gemm_items(int64_t M, int64_t N, int64_t batch) {
    int64_t U = sn_ceil_div(M, SN_TILE_MR), P = sn_ceil_div(N, SN_TILE_NR);
    return batch * (U <= SN_GEMM_FEW ? P : sn_ceil_div(P, SN_GEMM_PANELS) * sn_ceil_div(U, SN_GEMM_BLOCKS));
}

SN_OUTLINE void sn_gemm_run(const SnContext *context, int64_t M, int64_t N, int64_t K, int64_t begin,
                            int64_t end) {
    SnGemm g = {context, M, N, K, 0};
    int64_t U = sn_ceil_div(M, SN_TILE_MR), P = sn_ceil_div(N, SN_TILE_NR), joined;
    int64_t row_items = sn_ceil_div(U, SN_GEMM_BLOCKS), panel_items = sn_ceil_div(P, SN_GEMM_PANELS);
    for (int64_t item = begin; item < end; item += joined) {
        if (U <= SN_GEMM_FEW) { /* 0: no rows, of which the items know nothing */
            int64_t p = item % P;
            g.batch = item / P;
            joined = sn_least(end - item, P - p);
#if SN_GEMM_B == 0
            if (M == 1) {
                joined = sn_least(joined, SN_GEMM_ROW);
                sn_gemm_row(&g, p * SN_TILE_NR, sn_least(N, (p + joined) * SN_TILE_NR));
                continue;
            }
#endif
            joined = sn_least(joined, SN_GEMM_PANELS);
            sn_gemm_block(&g, 0, U, p, p + joined);
        } else {
            int64_t u = item % row_items, p = item / row_items % panel_items * SN_GEMM_PANELS;
            g.batch = item / (row_items * panel_items);
            joined = sn_least(sn_least(end - item, row_items - u), SN_GEMM_JOIN / SN_GEMM_BLOCKS);
            sn_gemm_block(&g, u * SN_GEMM_BLOCKS, sn_least(U, (u + joined) * SN_GEMM_BLOCKS), p,
                          sn_least(P, p + SN_GEMM_PANELS));
        }
    }
}
#endif

#endif

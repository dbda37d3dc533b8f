/* Contraction: C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]), accumulated in f32: what its
 * forms share, gemm_packed.h for a B that lies packed in panels (weights) and gemm_unpacked.h for one that is
 * packed as it is read; with matrix tiles gemm_matrix.h, and gemm_matrix_unpacked.h.
 *
 * A form is a function, SN_COMMON_NAME, that calls what is written of a kernel's holes, gemm_gather.h and gemm_holes.h, by their
 * addresses, and that only as often as a tile or a row is copied or stored. So kernels of the same #defines can share one.
 *
 * Contract for the code generator: after vector.h and tile.h. #defines before the text:
 *   SN_GEMM_B          0: B is read through its hole; 1 f32, 2 bf16, 3 f16, 4 i8, 5 i8 in words of four rows, 6 bf16
 *                      in words of two: panels of it (tile.h's SN_TILE_B is then the same; it is 6 also where a B of
 *                      bf16 that is read through its hole meets an A of bf16). With words A is u8 and sums are i32, or
 *                      A is bf16; lengths below are in words, but not the k of holes
 *   SN_GEMM_BLOCK      with i8 panels: rows of K that share a factor for each column, which gemm_blocks.h is about
 *                      (SN_TILE_B is 1); 0 (default): no factors
 *   SN_GEMM_KC         K is cut into equal pieces of at most this, a multiple of 32; default 768, and 384 for
 *                      a B that is packed as it is read
 *   SN_GEMM_A_ALONG_M  the lanes of sn_gemm_a_v: 0 consecutive k (default, row-major A), 1 consecutive m
 *   SN_GEMM_B_ALONG_K  the lanes of sn_gemm_b_v: 0 consecutive n (default, row-major B), 1 consecutive k
 *   SN_GEMM_A_POINTER  1: there is a hole for the address of A's element, so that A is fetched ahead (where A
 *                      comes from memory with consecutive k); 0 (default): none
 *   SN_GEMM_A_STRIDE   of a packed B, or with matrix tiles: the elements between rows of A, where these are f32 with consecutive k side by
 *                      side: the tile reads them as they lie, and needs the hole for addresses; 0 (default):
 *                      they are copied
 *   SN_GEMM_A_RUN      with panels of f32: the consecutive k, from a multiple of it on, that lie side by side, as in windows: rows are
 *                      copied run by run; 0 (default): there are none
 *   SN_GEMM_WHOLE      with strides: up to so many rows K is one piece, since no panel is read twice, or pieces would be short;
 *                      0 (default): none
 *   SN_GEMM_MATRIX     1: gemm_matrix.h or gemm_matrix_unpacked.h multiplies; 0 (default): the register tile
 *   SN_GEMM_AHEAD      1: there is a hole that fetches what the epilogue will need; 0 (default): none
 *   SN_GEMM_SPLIT      of f32: 0 (default), or what gemm_split.h, then the form, says
 *   SN_COMMON_NAME     the form's name; default sn_gemm_form
 * Holes, defined after the text; a v form is only called where all its lanes are inside the matrix:
 *   vf32 sn_gemm_a_v(context, batch, m, k), float sn_gemm_a_s(...)
 *   vf32 sn_gemm_a_run_v(context, batch, m, run, within)               SN_GEMM_A_RUN; k is run * RUN + within, and
 *                                                                     lanes from the end of the run on are anything
 *   vf32 sn_gemm_b_v(context, batch, k, n), float sn_gemm_b_s(...)    SN_GEMM_B 0, and in gemm_pack.h
 *   const void *sn_gemm_a_pointer(context, batch, m, k)               SN_GEMM_A_POINTER; may lie outside where
 *                                                                     it is only prefetched
 *   void sn_epilogue_ahead(context, batch, m, n)                      SN_GEMM_AHEAD; n may lie outside
 *   const void *sn_gemm_panels(context, batch)                        SN_GEMM_B 1 to 4
 *   const void *sn_gemm_factors(context, batch)                       SN_GEMM_BLOCK; f32 (P, ceil(K / BLOCK), NR)
 *   void sn_epilogue_v(context, vf32 sum, batch, m, n), void sn_epilogue_s(context, float sum, batch, m, n)
 * With words of bytes the numbers of A's holes and of the epilogue are vi32 and int32_t; with those of bf16 what A's and
 * B's holes give has no more bits than these.
 * The entry calls sn_gemm_run(context, M, N, K, begin, end) of gemm_holes.h, K elements.
 *
 * An element's sum is cut by K alone, so no result depends on how the work items are split. */
#ifndef SN_DEVICE_GEMM_H
#define SN_DEVICE_GEMM_H

#ifndef SN_GEMM_B
#define SN_GEMM_B 1
#endif
#ifndef SN_GEMM_KC
#define SN_GEMM_KC (SN_GEMM_B == 0 ? 384 : 768)
#endif
#ifndef SN_GEMM_A_ALONG_M
#define SN_GEMM_A_ALONG_M 0
#endif
#ifndef SN_GEMM_B_ALONG_K
#define SN_GEMM_B_ALONG_K 0
#endif
#ifndef SN_GEMM_A_POINTER
#define SN_GEMM_A_POINTER 0
#endif
#ifndef SN_GEMM_A_STRIDE
#define SN_GEMM_A_STRIDE 0
#endif
#ifndef SN_GEMM_A_RUN
#define SN_GEMM_A_RUN 0
#endif
#ifndef SN_GEMM_WHOLE
#define SN_GEMM_WHOLE 0
#endif
#ifndef SN_GEMM_AHEAD
#define SN_GEMM_AHEAD 0
#endif
#ifndef SN_GEMM_BLOCK
#define SN_GEMM_BLOCK 0
#endif
#ifndef SN_GEMM_MATRIX
#define SN_GEMM_MATRIX 0
#endif
#ifndef SN_GEMM_BITS
#define SN_GEMM_BITS 8
#endif
#ifndef SN_GEMM_SPLIT
#define SN_GEMM_SPLIT 0
#endif
#ifndef SN_COMMON_NAME
#define SN_COMMON_NAME sn_gemm_form
#endif
#if SN_GEMM_B != SN_TILE_B && !((SN_GEMM_B == 0 || SN_GEMM_BLOCK) && SN_TILE_B == 1) &&                      \
    !(SN_GEMM_B == 0 && SN_TILE_B == 6)
#error "SN_TILE_B must be SN_GEMM_B, or 1 when that is 0 or has blocks, or 6 when it is 0"
#endif
#define SN_GEMM_WORD                                                                                         \
    (SN_TILE_B == 5 ? 4 : SN_TILE_B == 6 ? 2 : 1) /* elements of A's and B's columns in a word */

#define SN_GEMM_ROWS (SN_GEMM_MATRIX ? 32 : SN_TILE_MR) /* of a height */

/* A height of A that is copied; its element (i, k) is at i * LDA + k * NEXT. ACROSS: its rows lie side by side. */
#define SN_GEMM_A_ACROSS (SN_GEMM_A_ALONG_M && SN_TILE_B != 5)
#if SN_GEMM_A_ACROSS
#define SN_GEMM_LDA    1
#define SN_GEMM_NEXT   SN_TILE_MR
#define SN_GEMM_HEIGHT (SN_GEMM_KC * SN_TILE_MR + SN_LANES)
#else
#define SN_GEMM_LDA                                                                                          \
    (SN_GEMM_A_STRIDE ? SN_GEMM_A_STRIDE : SN_GEMM_KC + SN_LANES) /* padded against set conflicts */
#define SN_GEMM_NEXT   1
#define SN_GEMM_HEIGHT (SN_TILE_MR * SN_GEMM_LDA)
#endif
#define SN_ALIGNED  __attribute__((aligned(64)))
#define SN_GEMM_FAR 4 /* rows of A that are fetched ahead */

SN_INLINE int64_t sn_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
SN_INLINE int64_t sn_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

#if SN_GEMM_MATRIX
#define SN_GEMM_WORDS 16 /* of K in a step: a row of a tile */
SN_INLINE int64_t sn_gemm_steps(int64_t words) {
    return sn_ceil_div(words, SN_GEMM_WORDS);
}
#endif

typedef struct SnGemm SnGemm;

/* What a form calls of a kernel: gemm_gather.h and its like, which say what it does, and holes. Those that a form does not call are
 * not there. */
typedef struct SnGemmHoles {
    void (*gather_a)(const SnGemm *g, int64_t batch, int64_t m, int64_t rows, int64_t k, int64_t count,
                     SnTileElement *out);
    void (*finish)(const SnContext *context, const SnTileNumber *sums, int64_t lds, int64_t batch, int64_t m,
                   int64_t rows, int64_t n, int64_t columns);
    const void *(*a_pointer)(const SnContext *context, int64_t batch, int64_t m, int64_t k);
    const void *(*panels)(const SnContext *context, int64_t batch);
    const void *(*factors)(const SnContext *context, int64_t batch);
    void (*fetch_a)(const SnContext *context, int64_t batch, int64_t m, int64_t end, int64_t k,
                    int64_t count);
    void (*gather_lanes)(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t count, float *out);
    void (*copy_row)(const SnGemm *g, int64_t batch, int64_t m, int64_t k, int64_t count, SnTileElement *out,
                     int64_t step);
    void (*gather_b)(const SnContext *context, int64_t batch, int64_t k, int64_t count, int64_t n,
                     int64_t panels, int64_t N, float *out);
    void (*gather_words)(const SnGemm *g, int64_t batch, int64_t k, int64_t count, int64_t n, int64_t panels,
                         SnTileElement *out);
} SnGemmHoles;

#define SN_COMMON __attribute__((visibility("hidden")))
SN_COMMON void SN_COMMON_NAME(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                              int64_t K, int64_t begin, int64_t end);

struct SnGemm {
    const SnContext *context;
    const SnGemmHoles *holes;
    int64_t M, N, K, depth, batch; /* K of words; depth: of elements */
    int64_t heights,
        panels; /* of the whole matrix; height u of the tile owns the rows from sn_gemm_first(u) on */
    int64_t pieces, piece; /* of K: how many, and how long, but for the last; 0 only where K is 0 */
};

SN_INLINE SnGemm sn_gemm_shape(const SnContext *context, const SnGemmHoles *holes, int64_t M, int64_t N,
                               int64_t K) {
    int64_t depth = K;
    K = sn_ceil_div(K, SN_GEMM_WORD);
    int64_t pieces = K > SN_GEMM_KC ? sn_ceil_div(K, SN_GEMM_KC) : 1;
    if (SN_GEMM_WHOLE && M <= SN_GEMM_WHOLE) pieces = 1; /* M may be 0, for which B is packed, too */
    return (SnGemm){.context = context,
                    .holes = holes,
                    .M = M,
                    .N = N,
                    .K = K,
                    .depth = depth,
                    .heights = sn_ceil_div(M, SN_GEMM_ROWS),
                    .panels = sn_ceil_div(N, SN_TILE_NR),
                    .pieces = pieces,
                    .piece = (sn_ceil_div(K, pieces) + 31) / 32 * 32};
}

/* The first row of height u: heights are even, but matrix tiles would gain nothing by it. */
SN_INLINE int64_t sn_gemm_first(const SnGemm *g, int64_t u) {
    if (SN_GEMM_MATRIX) return sn_least(u * SN_GEMM_ROWS, g->M);
    return u * g->M / g->heights;
}

#endif

/* What the form of a contraction is told of a kernel's holes, and its call: after gemm_gather.h, of an SN_GEMM_B of 0 also
 * gemm_pack.h, and gemm_words.h and gemm_matrix_copy.h where there are words and matrix tiles. */
#ifndef SN_DEVICE_GEMM_HOLES_H
#define SN_DEVICE_GEMM_HOLES_H

#if SN_GEMM_B
SN_INLINE const void *sn_gemm_panels(const SnContext *context, int64_t batch);
#endif
#if SN_GEMM_BLOCK
SN_INLINE const void *sn_gemm_factors(const SnContext *context, int64_t batch);
#endif

static const SnGemmHoles sn_gemm_holes = {
    .gather_a = sn_gemm_gather_a,
    .finish = sn_gemm_finish,
#if SN_GEMM_A_POINTER
    .a_pointer = sn_gemm_a_pointer,
#endif
#if SN_GEMM_B
    .panels = sn_gemm_panels,
#endif
#if SN_GEMM_BLOCK
    .factors = sn_gemm_factors,
#endif
#if SN_GEMM_A_POINTER && SN_GEMM_A_ACROSS
    .fetch_a = sn_gemm_fetch_a,
#endif
#if SN_GEMM_SPLIT && SN_GEMM_A_ACROSS
    .gather_lanes = sn_gemm_gather_lanes,
#endif
#if SN_GEMM_MATRIX
    .copy_row = sn_gemm_copy_row,
#endif
#if SN_GEMM_B == 0 && SN_GEMM_WORD > 1
    .gather_words = sn_gemm_gather_b_words,
#elif SN_GEMM_B == 0
    .gather_b = sn_gemm_gather_b,
#endif
};

SN_INLINE void sn_gemm_run(const SnContext *context, int64_t M, int64_t N, int64_t K, int64_t begin,
                           int64_t end) {
    SN_COMMON_NAME(context, &sn_gemm_holes, M, N, K, begin, end);
}

#endif

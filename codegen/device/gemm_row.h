/* A single row by a B that is data, read where it lies: after gemm_pack.h and gemm.h. */
#ifndef SN_DEVICE_GEMM_ROW_H
#define SN_DEVICE_GEMM_ROW_H

/* A's only row, columns k .. k+count, as numbers. */
SN_INLINE void sn_gemm_read_row(const SnGemm *g, int64_t k, int64_t count, float *out) {
    int64_t i = 0;
#if !SN_GEMM_A_ALONG_M
    for (; i + SN_LANES <= count; i += SN_LANES)
        sn_store_f32_v(out + i, sn_gemm_a_v(g->context, g->batch, 0, k + i));
#endif
    for (; i < count; i++) out[i] = sn_gemm_a_s(g->context, g->batch, 0, k + i);
}

#define SN_GEMM_ROW (2048 / SN_TILE_NR) /* panels at most of a single row's work items, joined */
/* A single row, columns n0 .. n1: packing would cost more than the product, so B is read where it lies, along
 * what is consecutive there. */
SN_OUTLINE void sn_gemm_row(const SnGemm *g, int64_t n0, int64_t n1) {
    SN_ALIGNED float a[SN_GEMM_KC + SN_LANES], sums[SN_GEMM_ROW * SN_TILE_NR];
    int64_t columns = n1 - n0, count;
    __builtin_memset(sums, 0, (size_t)columns * sizeof(float));
    for (int64_t k = 0; k < g->depth; k += count) {
        count = sn_least(g->depth - k, SN_GEMM_KC);
        sn_gemm_read_row(g, k, count, a);
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
    sn_gemm_finish(g->context, sums, 0, g->batch, 0, 1, n0, columns);
}

#endif

/* Packing the right operand of a contraction into panels of SN_TILE_NR columns, each K rows long.
 *
 * Contract for the code generator: after vector.h and tile.h; SN_GEMM_PACK 1 in the kernel that packs to the
 * elements of SN_TILE_B, whose entry calls sn_gemm_pack_run(context, panels, N, K, begin, end); SN_GEMM_B_ALONG_K
 * and the holes of B as in gemm.h.
 *
 * For the host, with NR = SN_TILE_NV * SN_LANES and P = ceil(N / NR):
 *   work items       batch * P
 *   packed bytes     batch * P * NR * (SN_TILE_B == 1 ? 4 * K : 2 * (K + K % 2)), aligned to 64 */
#ifndef SN_DEVICE_GEMM_PACK_H
#define SN_DEVICE_GEMM_PACK_H

#ifndef SN_GEMM_B_ALONG_K
#define SN_GEMM_B_ALONG_K 0
#endif
#ifndef SN_GEMM_PACK
#define SN_GEMM_PACK 0
#endif
#define SN_PACK_ALIGNED __attribute__((aligned(64)))

SN_INLINE vf32 sn_gemm_b_v(const SnContext *context, int64_t batch, int64_t k, int64_t n);
SN_INLINE float sn_gemm_b_s(const SnContext *context, int64_t batch, int64_t k, int64_t n);

/* out (panels, count, NR): rows k .. k+count of the panels whose first column is n, zero from column N on.
 * Each row is read across all the panels, since a row of B is often all that lies together in memory. */
SN_OUTLINE void sn_gemm_gather_b(const SnContext *context, int64_t batch, int64_t k, int64_t count, int64_t n,
                                 int64_t panels, int64_t N, float *out) {
    int64_t columns = N - n < panels * SN_TILE_NR ? N - n : panels * SN_TILE_NR,
            done = 0; /* rows that the whole vectors have */
    int64_t whole = columns / SN_LANES * SN_LANES;
#if SN_GEMM_B_ALONG_K
    for (; done + SN_LANES <= count; done += SN_LANES)
        for (int64_t p = 0; p * SN_TILE_NR < whole; p++)
            for (int64_t j = 0; j < SN_TILE_NR && p * SN_TILE_NR + j < whole; j += SN_LANES) {
                SN_PACK_ALIGNED float square[SN_LANES * SN_LANES];
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

#if SN_GEMM_PACK
/* rows (count, NR), count even or the end of K, to the element type of the panels; `to` is where row 0 goes.
 */
SN_INLINE void sn_gemm_narrow(const float *rows, int64_t count, void *to) {
#if SN_TILE_B == 1
    __builtin_memcpy(to, rows, (size_t)count * SN_TILE_NR * sizeof(float));
#else
    for (int64_t i = 0; i < count; i += 2)
        for (int64_t j = 0; j < SN_TILE_NR; j += SN_LANES) {
            vf32 even = sn_load_f32_v(rows + i * SN_TILE_NR + j), odd = {0};
            if (i + 1 < count) odd = sn_load_f32_v(rows + (i + 1) * SN_TILE_NR + j);
#if SN_TILE_B == 2
            const vi32 pair = sn_from_u16_v(sn_to_bf16_v(even)) | sn_from_u16_v(sn_to_bf16_v(odd)) << 16;
            sn_store_i32_v((int32_t *)to + i / 2 * SN_TILE_NR + j, pair);
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
    SN_PACK_ALIGNED float rows[PIECE * SN_TILE_NR];
    int64_t P = (N + SN_TILE_NR - 1) / SN_TILE_NR;
    for (int64_t item = begin; item < end; item++) {
        char *panel = (char *)panels + item * SN_TILE_PANEL_BYTES(K);
        for (int64_t k = 0; k < K; k += PIECE) {
            int64_t count = K - k < PIECE ? K - k : PIECE;
            sn_gemm_gather_b(context, item / P, k, count, item % P * SN_TILE_NR, 1, N, rows);
            sn_gemm_narrow(rows, count, panel + SN_TILE_PANEL_BYTES(k));
        }
    }
}
#endif

#endif

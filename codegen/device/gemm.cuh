/* Products by tiles of shared memory. After prelude.cuh and tensor.cuh.
 *
 * Use, the kernel's struct, has the holes
 *   float a_s(int64_t batch, int64_t m, int64_t k), float b_s(int64_t batch, int64_t k, int64_t n)
 *   void store_s(float sum, int64_t batch, int64_t m, int64_t n)
 * which are called for elements of the matrices only. */
#ifndef SN_DEVICE_GEMM_CUH
#define SN_DEVICE_GEMM_CUH

enum { SN_GEMM_TILE = 64, SN_GEMM_DEPTH = 16 };

/* A block of 256 threads computes a tile of C, each thread 4×4 elements of it. */
template <class Use>
SN_DEVICE void sn_gemm_run(const Use &use, int64_t M, int64_t N, int64_t K, int64_t block) {
    float(*const a)[SN_GEMM_TILE] = (float(*)[SN_GEMM_TILE])sn_shared_memory(),
                 (*const b)[SN_GEMM_TILE] = a + SN_GEMM_DEPTH;
    const int64_t across = sn_ceildiv(N, SN_GEMM_TILE), down = sn_ceildiv(M, SN_GEMM_TILE);
    const int64_t batch = block / (across * down), tile = block % (across * down);
    const int64_t m0 = tile / across * SN_GEMM_TILE, n0 = tile % across * SN_GEMM_TILE;
    const int row = threadIdx.x / 16, column = threadIdx.x % 16;
    float sum[4][4] = {};
    for (int64_t k0 = 0; k0 < K; k0 += SN_GEMM_DEPTH) {
        for (int at = threadIdx.x; at < SN_GEMM_TILE * SN_GEMM_DEPTH; at += 256) {
            const int i = at / SN_GEMM_DEPTH, k = at % SN_GEMM_DEPTH;
            a[k][i] = m0 + i < M && k0 + k < K ? use.a_s(batch, m0 + i, k0 + k) : 0;
        }
        for (int at = threadIdx.x; at < SN_GEMM_TILE * SN_GEMM_DEPTH; at += 256) {
            const int i = at % SN_GEMM_TILE, k = at / SN_GEMM_TILE;
            b[k][i] = n0 + i < N && k0 + k < K ? use.b_s(batch, k0 + k, n0 + i) : 0;
        }
        __syncthreads();
        for (int k = 0; k < SN_GEMM_DEPTH; k++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sum[i][j] += a[k][row + 16 * i] * b[k][column + 16 * j];
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (m0 + row + 16 * i < M && n0 + column + 16 * j < N)
                use.store_s(sum[i][j], batch, m0 + row + 16 * i, n0 + column + 16 * j);
}

#endif

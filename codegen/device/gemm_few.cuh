/* Products of at most eight rows: B is read once, 16 bytes a load, by blocks of few columns each, whose threads share
 * K. After gemm.cuh, whose contract this is too; besides, Use has the number FEW_ACROSS: the chunks side by side that a
 * block reads where B's neighbours are columns (2, 4 or 8). */
#ifndef SN_DEVICE_GEMM_FEW_CUH
#define SN_DEVICE_GEMM_FEW_CUH

enum { SN_GEMM_FEW_FLOATS = 8192 }; /* of A, in shared memory at a time */

/* The elements of a chunk. */
template <int MATH, int COUNT> SN_DEVICE void sn_gemm_widen(const uint4 &chunk, float *out) {
    const uint32_t word[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const uint16_t half = (uint16_t)(word[i * 4 / COUNT] >> i % 2 * 16);
        out[i] = MATH == SN_GEMM_BF16  ? sn_from_bf16_s(half)
                 : MATH == SN_GEMM_F16 ? sn_from_f16_s(half)
                                       : __uint_as_float(word[i * 4 / COUNT]);
    }
}

/* Floats [k0, k0 + depth) of A's rows into a matrix of ROWS; zero where it has no row. */
template <int ROWS, class Use>
SN_DEVICE void sn_gemm_few_fill(const Use &use, float *kept, int64_t batch, int64_t M, int64_t k0,
                                int depth) {
    constexpr int PIECE = SN_GEMM_FEW_FLOATS / ROWS;
    __syncthreads();
#pragma unroll 1
    for (int row = 0; row < ROWS; row++)
        for (int k = threadIdx.x; k < depth; k += Use::THREADS)
            kept[row * PIECE + k] = row < M ? use.a_s(batch, row, k0 + k) : 0;
    __syncthreads();
}

/* Adds up the sums of all threads with the same `across`: the first such thread of a warp has store(row, i, all). */
template <int ROWS, int CHUNK, class Use, class Store>
SN_DEVICE void sn_gemm_few_join(const float (*sum)[CHUNK], const Store &store) {
    float *const kept = (float *)sn_shared_memory() + threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    __syncthreads();
#pragma unroll
    for (int row = 0; row < ROWS; row++)
#pragma unroll
        for (int i = 0; i < CHUNK; i++) kept[(row * CHUNK + i) * Use::THREADS + warp * 32] = sum[row][i];
    __syncthreads();
#pragma unroll 2
    for (int at = warp; at < ROWS * CHUNK; at += Use::THREADS / 32) {
        float all = sn_fold_add_f32(kept + at * Use::THREADS, Use::THREADS / 32, 32);
        for (int mask = 16; mask >= Use::FEW_ACROSS; mask /= 2)
            all += __shfl_xor_sync(0xffffffffu, all, mask);
        if (threadIdx.x % 32 < Use::FEW_ACROSS) store(at / CHUNK, at % CHUNK, all);
    }
}

/* B's neighbours are columns: a block has FEW_ACROSS chunks of them, and its threads every so many-th row of B. */
template <int ROWS, class Use>
SN_DEVICE void sn_gemm_few_across(const Use &use, int64_t M, int64_t N, int64_t K, int64_t batch,
                                  int64_t block) {
    using B = SnGemmSource<Use, false, 64, Use::THREADS>;
    constexpr int CHUNK = B::Tile::CHUNK, ACROSS = Use::FEW_ACROSS, DOWN = Use::THREADS / ACROSS,
                  COLUMNS = ACROSS * CHUNK, PIECE = SN_GEMM_FEW_FLOATS / ROWS;
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    const int64_t n0 = block * COLUMNS;
    const B b(use, batch, n0 + across * CHUNK, N, K);
    const bool whole = b.whole && b.first + CHUNK <= N;
    float *const kept = (float *)sn_shared_memory();
    float sum[ROWS][CHUNK] = {};
    for (int64_t k0 = 0; k0 < K; k0 += PIECE) {
        const int depth = K - k0 < PIECE ? (int)(K - k0) : PIECE;
        sn_gemm_few_fill<ROWS>(use, kept, batch, M, k0, depth);
        auto add = [&](const uint4 &chunk, int k) {
            float x[CHUNK];
            sn_gemm_widen<Use::MATH, CHUNK>(chunk, x);
#pragma unroll
            for (int row = 0; row < ROWS; row++)
#pragma unroll
                for (int i = 0; i < CHUNK; i++) sum[row][i] += kept[row * PIECE + k] * x[i];
        };
        if (whole) {
#pragma unroll(ROWS == 1 ? 4 : 2)
            for (int k = down; k < depth; k += DOWN) add(*(const uint4 *)(b.base + (k0 + k) * b.k_step), k);
        } else {
#pragma unroll 1
            for (int k = down; k < depth; k += DOWN) add(b.gather(b.first, k0 + k), k);
        }
    }
    sn_gemm_few_join<ROWS, CHUNK, Use>(sum, [&](int row, int i, float all) {
        const int64_t n = b.first + i;
        if (row < M && n < N) use.store_s(all, batch, row, n);
    });
}

/* B's neighbours are along K: a warp has a column. */
template <int ROWS, class Use>
SN_DEVICE void sn_gemm_few_along(const Use &use, int64_t M, int64_t N, int64_t K, int64_t batch,
                                 int64_t block) {
    using B = SnGemmSource<Use, false, 64, Use::THREADS>;
    constexpr int CHUNK = B::Tile::CHUNK, STEP = 32 * CHUNK, PIECE = SN_GEMM_FEW_FLOATS / ROWS;
    const int lane = threadIdx.x % 32;
    const int64_t n = block * (Use::THREADS / 32) + threadIdx.x / 32;
    const bool inside = n < N;
    const B b(use, batch, inside ? n : 0, N, K);
    float *const kept = (float *)sn_shared_memory();
    float sum[ROWS] = {};
    for (int64_t k0 = 0; k0 < K; k0 += PIECE) {
        const int depth = K - k0 < PIECE ? (int)(K - k0) : PIECE;
        const int whole = !inside ? 0 : b.whole ? depth / CHUNK * CHUNK : 0;
        sn_gemm_few_fill<ROWS>(use, kept, batch, M, k0, depth);
#pragma unroll(ROWS == 1 ? 4 : 2)
        for (int k = lane * CHUNK; k < whole; k += STEP) {
            float x[CHUNK];
            sn_gemm_widen<Use::MATH, CHUNK>(*(const uint4 *)(b.base + (k0 + k) * b.k_step), x);
#pragma unroll
            for (int row = 0; row < ROWS; row++)
#pragma unroll
                for (int i = 0; i < CHUNK; i++) sum[row] += kept[row * PIECE + k + i] * x[i];
        }
#pragma unroll 1
        for (int k = whole + lane; k < depth && inside; k += 32) {
            const float x = b.element(n, k0 + k);
#pragma unroll
            for (int row = 0; row < ROWS; row++) sum[row] += kept[row * PIECE + k] * x;
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        const float all = sn_warp_add_f32(sum[row], 32);
        if (lane == row && row < M && inside) use.store_s(all, batch, row, n);
    }
}

template <int ROWS, class Use>
SN_DEVICE void sn_gemm_few_rows(const Use &use, int64_t M, int64_t N, int64_t K, int64_t block) {
    const int64_t columns =
        Use::B_ALONG_K ? Use::THREADS / 32 : Use::FEW_ACROSS * SnGemmTile<Use::MATH, true, 64>::CHUNK;
    const int64_t across = (N + columns - 1) / columns;
    if constexpr (Use::B_ALONG_K)
        sn_gemm_few_along<ROWS>(use, M, N, K, block / across, block % across);
    else
        sn_gemm_few_across<ROWS>(use, M, N, K, block / across, block % across);
}

template <class Use>
SN_DEVICE void sn_gemm_few(const Use &use, int64_t M, int64_t N, int64_t K, int64_t block) {
    if (M == 1)
        sn_gemm_few_rows<1>(use, M, N, K, block);
    else
        sn_gemm_few_rows<8>(use, M, N, K, block);
}

#endif

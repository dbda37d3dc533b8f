/* Products of at most eight rows: B is read once, 16 bytes a load, by blocks of few columns each, whose threads share
 * K. After gemm.cuh, whose contract this is too; besides, Use has the numbers
 *   FEW_ACROSS    the chunks side by side that a block reads where B's neighbours are columns: 2, 4 or 8
 *   B_EVEN        it is proven that B is made of whole chunks, all aligned */
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

/* Floats [k0, k0 + depth) of A's rows into a matrix of ROWS in shared memory; zero where it has no row. */
template <int ROWS, class Use>
SN_DEVICE void sn_gemm_few_fill(const Use &use, int64_t batch, int64_t M, int64_t k0, int depth) {
    constexpr int PIECE = SN_GEMM_FEW_FLOATS / ROWS;
    float *const kept = (float *)sn_shared_memory();
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

/* B's neighbours are columns: a block has FEW_ACROSS chunks of them, and its threads every so many-th row of B. What a
 * thread adds was loaded while it added what came before, and first of all before A is there. */
template <int ROWS, class Use>
SN_DEVICE void sn_gemm_few_across(const Use &use, int64_t M, int64_t N, int64_t K, int64_t batch,
                                  int64_t block) {
    using B = SnGemmSource<Use, false, 64, Use::THREADS>;
    constexpr int CHUNK = B::Tile::CHUNK, DOWN = Use::THREADS / Use::FEW_ACROSS,
                  PIECE = SN_GEMM_FEW_FLOATS / ROWS, GROUP = ROWS == 1 ? 4 : 2;
    const int across = threadIdx.x % Use::FEW_ACROSS, down = threadIdx.x / Use::FEW_ACROSS;
    const B b(use, batch, (block * Use::FEW_ACROSS + across) * CHUNK, N, K);
    const bool whole = Use::B_EVEN || (b.whole && b.first + CHUNK <= N);
    const float *const kept = (const float *)sn_shared_memory();
    float sum[ROWS][CHUNK] = {};
#pragma unroll 1
    for (int64_t k0 = 0; k0 < K; k0 += PIECE) {
        const int depth = K - k0 < PIECE ? (int)(K - k0) : PIECE;
        uint4 now[GROUP], next[GROUP];
        auto load = [&](uint4 *chunk, int k) {
#pragma unroll
            for (int i = 0; i < GROUP; i++, k += DOWN)
                if (k < depth && b.first < N)
                    chunk[i] =
                        whole ? *(const uint4 *)(b.base + (k0 + k) * b.k_step) : b.gather(b.first, k0 + k);
        };
        load(now, down);
        sn_gemm_few_fill<ROWS>(use, batch, M, k0, depth);
#pragma unroll 1
        for (int k = down; k < depth; k += GROUP * DOWN) {
            load(next, k + GROUP * DOWN);
#pragma unroll
            for (int i = 0; i < GROUP; i++) {
                const int at = k + i * DOWN;
                float x[CHUNK];
                if (at >= depth) break;
                sn_gemm_widen<Use::MATH, CHUNK>(now[i], x);
#pragma unroll
                for (int row = 0; row < ROWS; row++)
#pragma unroll
                    for (int c = 0; c < CHUNK; c++) sum[row][c] += kept[row * PIECE + at] * x[c];
            }
#pragma unroll
            for (int i = 0; i < GROUP; i++) now[i] = next[i];
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
    constexpr int CHUNK = B::Tile::CHUNK, STEP = 32 * CHUNK, PIECE = SN_GEMM_FEW_FLOATS / ROWS,
                  GROUP = ROWS == 1 ? 4 : 2;
    const int lane = threadIdx.x % 32;
    const int64_t n = block * (Use::THREADS / 32) + threadIdx.x / 32;
    const bool inside = n < N;
    const B b(use, batch, inside ? n : 0, N, K);
    const float *const kept = (const float *)sn_shared_memory();
    float sum[ROWS] = {};
#pragma unroll 1
    for (int64_t k0 = 0; k0 < K; k0 += PIECE) {
        const int depth = K - k0 < PIECE ? (int)(K - k0) : PIECE;
        const int whole = inside && b.whole ? depth / CHUNK * CHUNK : 0;
        uint4 now[GROUP], next[GROUP];
        auto load = [&](uint4 *chunk, int k) {
#pragma unroll
            for (int i = 0; i < GROUP; i++, k += STEP)
                if (k < whole) chunk[i] = *(const uint4 *)(b.base + (k0 + k) * b.k_step);
        };
        load(now, lane * CHUNK);
        sn_gemm_few_fill<ROWS>(use, batch, M, k0, depth);
#pragma unroll 1
        for (int k = lane * CHUNK; k < whole; k += GROUP * STEP) {
            load(next, k + GROUP * STEP);
#pragma unroll
            for (int i = 0; i < GROUP; i++) {
                const int at = k + i * STEP;
                float x[CHUNK];
                if (at >= whole) break;
                sn_gemm_widen<Use::MATH, CHUNK>(now[i], x);
#pragma unroll
                for (int row = 0; row < ROWS; row++)
#pragma unroll
                    for (int c = 0; c < CHUNK; c++) sum[row] += kept[row * PIECE + at + c] * x[c];
            }
#pragma unroll
            for (int i = 0; i < GROUP; i++) now[i] = next[i];
        }
        if constexpr (!Use::B_EVEN) {
#pragma unroll 4
            for (int k = inside ? whole + lane : depth; k < depth; k += 32) {
                const float x = b.element(n, k0 + k);
#pragma unroll
                for (int row = 0; row < ROWS; row++) sum[row] += kept[row * PIECE + k] * x;
            }
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) sum[row] = sn_warp_add_f32(sum[row], 32);
    for (int row = 0; row < ROWS; row++)
        if (lane == row && row < M && inside) use.store_s(sum[row], batch, row, n);
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

/* C[b][m][n] = sum over k of A[b][m][k] · B[b][k][n], by tiles of shared memory. After prelude.cuh, tensor.cuh and
 * gemm_math.cuh.
 *
 * Use, the kernel's struct, has the numbers
 *   MATH           how elements are multiplied, see gemm_math.cuh
 *   STAGES         tiles of K that are in shared memory at a time
 *   A_ALONG_K, B_ALONG_K    whether A's (B's) neighbours in memory are neighbours in K; otherwise in M (N)
 *   A_ADDRESS, B_ADDRESS    whether it lies in memory as it is multiplied: element by element in MATH's type, the offset
 *                           affine in m, n and k with 1 for those neighbours
 *   A_ALIGNED, B_ALIGNED    whether besides that it is proven that each chunk of 16 bytes is aligned
 * and the holes
 *   float a_s(int64_t batch, int64_t m, int64_t k), float b_s(int64_t batch, int64_t k, int64_t n)
 *   const void *a(batch, m, k), *b(batch, k, n)          where A_ADDRESS, B_ADDRESS
 *   void store_s(float sum, int64_t batch, int64_t m, int64_t n)
 *   const void *partial(int64_t at)                      where SPLIT: scratch, `splits` times as many floats as C has
 * which are called for elements of the matrices only; addresses are computed, not read, one beyond too. */
#ifndef SN_DEVICE_GEMM_CUH
#define SN_DEVICE_GEMM_CUH

/* ---- copying a tile ---- */

template <class Use, bool LEFT, int ROWS, int THREADS> struct SnGemmSource {
    static constexpr bool ALONG_K = LEFT ? Use::A_ALONG_K : Use::B_ALONG_K;
    static constexpr bool ADDRESS = LEFT ? Use::A_ADDRESS : Use::B_ADDRESS;
    static constexpr bool PROVEN = LEFT ? Use::A_ALIGNED : Use::B_ALIGNED;
    using Tile = SnGemmTile<Use::MATH, ALONG_K, ROWS>;

    const Use &use;
    const int64_t batch, first, rows, K; /* rows from `first` to before `rows` */
    const char *base;                    /* of (first, 0) */
    int64_t row_step, k_step;            /* bytes */
    bool whole;                          /* every chunk is aligned */

    /* This thread's chunks of the next tile: they are `chunk_step` bytes apart. */
    const char *next;
    int64_t chunk_step;
    int row, depth; /* of the first one */
    int rows_left;  /* from there, or as many as the tile has */

    SN_MEMBER const char *address(int64_t row, int64_t k) const {
        if constexpr (!ADDRESS)
            return nullptr;
        else if constexpr (LEFT)
            return (const char *)use.a(batch, row, k);
        else
            return (const char *)use.b(batch, k, row);
    }
    SN_MEMBER float element(int64_t row, int64_t k) const {
        if constexpr (LEFT)
            return use.a_s(batch, row, k);
        else
            return use.b_s(batch, k, row);
    }

    SN_MEMBER SnGemmSource(const Use &use, int64_t batch, int64_t first, int64_t rows, int64_t K)
        : use(use), batch(batch), first(first), rows(rows), K(K) {
        base = address(first, 0);
        row_step = address(first + 1, 0) - base;
        k_step = address(first, 1) - base;
        whole = PROVEN || (ADDRESS && ((uint64_t)base | (uint64_t)(ALONG_K ? row_step : k_step)) % 16 == 0);
        row = Tile::row_of(threadIdx.x), depth = Tile::depth_of(threadIdx.x);
        rows_left = (int)(rows - first < ROWS ? rows - first : ROWS) - row;
        chunk_step = ALONG_K ? THREADS / 4 * row_step : THREADS * Tile::CHUNK / ROWS * k_step;
    }

    /* The next tile is the one whose K begins at `k0`. */
    SN_MEMBER void seek(int64_t k0) { next = base + row * row_step + (k0 + depth) * k_step; }

    /* The bits of an element in the tile. */
    SN_DEVICE uint32_t bits(float x) {
        return Use::MATH == SN_GEMM_BF16  ? sn_to_bf16_s(x)
               : Use::MATH == SN_GEMM_F16 ? sn_to_f16_s(x)
                                          : __float_as_uint(x);
    }

    /* A chunk, element by element, as words. */
    SN_MEMBER uint4 gather(int64_t row, int64_t k) const {
        uint32_t word[4] = {};
#pragma unroll
        for (int i = 0; i < Tile::CHUNK; i++) {
            const int64_t r = ALONG_K ? row : row + i, d = ALONG_K ? k + i : k;
            if (r < rows && d < K) word[i * Tile::SIZE / 4] |= bits(element(r, d)) << i * Tile::SIZE % 4 * 8;
        }
        return make_uint4(word[0], word[1], word[2], word[3]);
    }

    SN_MEMBER void copy_elements(char *tile, int64_t k0) const {
#pragma unroll 1
        for (int chunk = threadIdx.x; chunk < Tile::CHUNKS; chunk += THREADS) {
            const int r = Tile::row_of(chunk), k = Tile::depth_of(chunk);
            *(uint4 *)(tile + Tile::at(r, k)) = gather(first + r, k0 + k);
        }
    }

    SN_DEVICE int limited(int64_t elements) {
        return elements >= Tile::CHUNK ? 16 : elements <= 0 ? 0 : (int)elements * Tile::SIZE;
    }

    /* Starts the copy of the next tile, whose K begins at `k0`; what is outside the matrix is zero. A copy of no byte
     * reads nothing, wherever it points. */
    SN_MEMBER void copy(char *tile, int64_t k0) {
        if (!PROVEN && !whole) {
            copy_elements(tile, k0);
            return;
        }
        const int64_t depth_left = K - k0 - depth;
        const int bytes = limited(ALONG_K ? depth_left : rows_left);
        const char *from = next;
#pragma unroll
        for (int i = 0; i < Tile::CHUNKS / THREADS; i++) {
            const int chunk = i * THREADS;
            const bool inside =
                ALONG_K ? Tile::row_of(chunk) < rows_left : Tile::depth_of(chunk) < depth_left;
            sn_copy_async16(tile + Tile::at(row + (ALONG_K ? Tile::row_of(chunk) : 0),
                                            depth + (ALONG_K ? 0 : Tile::depth_of(chunk))),
                            from, inside ? bytes : 0);
            from += chunk_step;
        }
        next += Tile::DEPTH * k_step;
    }
};

/* ---- which part of the product a block computes ---- */

struct SnGemmPlace {
    uint32_t batch, down, across; /* the tile's number in the batch, among rows and columns of tiles */
    int split;
};

/* Tiles of eight rows of tiles follow one another down the columns, so that those that run side by side share
 * operands in the second-level cache. */
SN_DEVICE SnGemmPlace sn_gemm_place(int64_t M, int64_t N, int BM, int BN, int splits, int64_t block) {
    const uint32_t GROUP = 8, down = (uint32_t)((M + BM - 1) / BM), across = (uint32_t)((N + BN - 1) / BN);
    const uint32_t tiles = down * across, number = (uint32_t)block, tile = number % tiles,
                   rest = number / tiles;
    const uint32_t first = tile / (GROUP * across) * GROUP, in_group = tile % (GROUP * across);
    const uint32_t height = down - first < GROUP ? down - first : GROUP;
    return {rest / splits, first + in_group % height, in_group / height, (int)(rest % splits)};
}

/* ---- results ---- */

/* The sums go through shared memory, so that neighbouring threads store neighbouring elements and the epilogue is
 * written once. `store(value, m, n)`. */
template <int BM, int BN, class Sums, class Store>
SN_DEVICE void sn_gemm_put(const Sums &sums, int64_t M, int64_t N, const SnGemmPlace &place,
                           const Store &store) {
    constexpr int HEIGHT = 64, PITCH = BN + 8;
    float *const kept = (float *)sn_shared_memory();
    for (int first = 0; first < BM; first += HEIGHT) {
        __syncthreads();
        if (Sums::row0() / HEIGHT == first / HEIGHT) sums.put(kept, PITCH, first);
        __syncthreads();
#pragma unroll 4
        for (int i = threadIdx.x; i < HEIGHT * BN; i += Sums::THREADS) {
            const int row = i / BN, column = i % BN;
            const int64_t m = (int64_t)place.down * BM + first + row, n = (int64_t)place.across * BN + column;
            if (m < M && n < N) store(kept[row * PITCH + column], m, n);
        }
    }
}

/* ---- the driver ---- */

/* A block's tile; with several splits its part of K, into scratch. */
template <int BM, int BN, class Use>
SN_DEVICE void sn_gemm_tile(const Use &use, int64_t M, int64_t N, int64_t K, int splits, int64_t batches,
                            int64_t block) {
    using Sums = typename SnGemmSums<Use::MATH, Use::A_ALONG_K, Use::B_ALONG_K, BM, BN>::Type;
    using A = SnGemmSource<Use, true, BM, Sums::THREADS>;
    using B = SnGemmSource<Use, false, BN, Sums::THREADS>;
    constexpr int DEPTH = A::Tile::DEPTH, BYTES = A::Tile::BYTES + B::Tile::BYTES, AHEAD = Use::STAGES - 1;
    const SnGemmPlace place = sn_gemm_place(M, N, BM, BN, splits, block);
    A a(use, place.batch, (int64_t)place.down * BM, M, K);
    B b(use, place.batch, (int64_t)place.across * BN, N, K);
    char *const tiles = (char *)sn_shared_memory();
    const int pieces = (int)((K + DEPTH - 1) / DEPTH);
    const int from = (int)((int64_t)pieces * place.split / splits);
    const int count = (int)((int64_t)pieces * (place.split + 1) / splits) - from;
    a.seek((int64_t)from * DEPTH);
    b.seek((int64_t)from * DEPTH);
    auto copy = [&](int piece) {
        char *const tile = tiles + piece % Use::STAGES * BYTES;
        if (piece < count) {
            a.copy(tile, (int64_t)(from + piece) * DEPTH);
            b.copy(tile + A::Tile::BYTES, (int64_t)(from + piece) * DEPTH);
        }
        sn_copy_commit();
    };
    Sums sums;
#pragma unroll 1
    for (int piece = 0; piece < AHEAD; piece++) copy(piece);
#pragma unroll 1
    for (int piece = 0; piece < count; piece++) {
        sn_copy_wait(AHEAD - 1);
        __syncthreads();
        copy(piece + AHEAD);
        const char *const tile = tiles + piece % Use::STAGES * BYTES;
        sums.add(tile, tile + A::Tile::BYTES);
    }
    sn_copy_wait(0);
    const int64_t part = (place.split * batches + place.batch) * M * N;
    if constexpr (Use::SPLIT) {
        if (splits > 1) {
            float *const partial = (float *)use.partial(part);
            sn_gemm_put<BM, BN>(sums, M, N, place,
                                [&](float sum, int64_t m, int64_t n) { partial[m * N + n] = sum; });
            return;
        }
    }
    sn_gemm_put<BM, BN>(sums, M, N, place,
                        [&](float sum, int64_t m, int64_t n) { use.store_s(sum, place.batch, m, n); });
}

/* The second round of a product that is split: block `block` adds the parts of some elements, first to last. */
template <class Use>
SN_DEVICE void sn_gemm_join(const Use &use, int64_t M, int64_t N, int64_t K, int splits, int64_t batches,
                            int64_t block) {
    (void)K;
    const int64_t count = batches * M * N;
    const float *const partial = (const float *)use.partial(0);
#pragma unroll 1
    for (int i = 0; i < 4; i++) {
        const int64_t at = (block * 4 + i) * Use::THREADS + threadIdx.x;
        if (at >= count) return;
        float sum = 0;
        for (int split = 0; split < splits; split++) sum += partial[split * count + at];
        const int64_t row = at / N;
        use.store_s(sum, row / M, row % M, at % N);
    }
}

#endif

/* What a product does with tiles that lie in shared memory: how they lie there, and the sums that a block's threads
 * keep in registers. After prelude.cuh and tensor.cuh.
 *
 * A tile of an operand is ROWS of its M or N by 64 bytes of its K, in chunks of 16 bytes of neighbouring elements:
 * along K when ALONG_K, otherwise along M or N. Chunks are permuted within 128 bytes so that neither the copies into a
 * tile nor the reads from it meet in a bank (tests/test_emulator_gemm.c counts). */
#ifndef SN_DEVICE_GEMM_MATH_CUH
#define SN_DEVICE_GEMM_MATH_CUH

/* How elements are multiplied; sums are f32. The numbers are those of lower_gemm_cuda.c. */
enum SnGemmMath { SN_GEMM_FMA, SN_GEMM_TF32, SN_GEMM_BF16, SN_GEMM_F16 };

template <int MATH, bool ALONG_K, int ROWS> struct SnGemmTile {
    static constexpr int SIZE = MATH >= SN_GEMM_BF16 ? 2 : 4; /* of an element, bytes */
    static constexpr int CHUNK = 16 / SIZE, DEPTH = 64 / SIZE;
    static constexpr int CHUNKS = ROWS * 4, BYTES = CHUNKS * 16;

    /* The first element of a chunk, by its number; neighbouring numbers are neighbours in the matrix. */
    SN_DEVICE int row_of(int chunk) { return ALONG_K ? chunk / 4 : chunk % (ROWS / CHUNK) * CHUNK; }
    SN_DEVICE int depth_of(int chunk) { return ALONG_K ? chunk % 4 * CHUNK : chunk / (ROWS / CHUNK); }

    /* Where element (row, k) lies, in bytes. Eight rows of a chunk, as ldmatrix reads them, are in eight places of 128
     * bytes; a product of TF32 reads eight rows at four neighbouring k word by word. */
    SN_DEVICE int at(int row, int k) {
        if (ALONG_K) return row * 64 + (k / CHUNK ^ (row >> 1 & 3)) * 16 + k % CHUNK * SIZE;
        const int turn = MATH == SN_GEMM_FMA ? 0 : MATH == SN_GEMM_TF32 ? (k & 3) * 2 : k & 7;
        return k * ROWS * SIZE + (row / CHUNK ^ turn) * 16 + row % CHUNK * SIZE;
    }
};

/* ---- tensor cores: 4 warps, two by two, each a quarter of the block's tile ---- */

template <int MATH, bool A_ALONG_K, bool B_ALONG_K, int BM, int BN> struct SnGemmWarps {
    using A = SnGemmTile<MATH, A_ALONG_K, BM>;
    using B = SnGemmTile<MATH, B_ALONG_K, BN>;
    static constexpr int THREADS = 128, WM = BM / 2, WN = BN / 2, STEP = MATH == SN_GEMM_TF32 ? 8 : 16;

    float sum[WM / 16][WN / 8][4];
    const int lane;

    SN_DEVICE int row0() { return threadIdx.x / 64 * WM; }
    SN_DEVICE int column0() { return threadIdx.x / 32 % 2 * WN; }

    SN_MEMBER SnGemmWarps() : sum(), lane(threadIdx.x % 32) {}

    /* A word of a tile of TF32. */
    template <class Tile> SN_DEVICE uint32_t word(const char *tile, int row, int k) {
        return *(const uint32_t *)(tile + Tile::at(row, k));
    }
    SN_DEVICE void round(uint32_t *r) {
        for (int i = 0; i < 4; i++) r[i] = sn_to_tf32(__uint_as_float(r[i]));
    }

    /* The fragment of A's rows from `row` and K from `k`. */
    SN_MEMBER void load_a(uint32_t *r, const char *tile, int row, int k) const {
        if (A_ALONG_K)
            sn_ldmatrix4(r, tile + A::at(row + lane % 16, k + lane / 16 * A::CHUNK));
        else if (MATH != SN_GEMM_TF32)
            sn_ldmatrix4_trans(r, tile + A::at(row + lane / 8 % 2 * 8, k + lane % 8 + lane / 16 * 8));
        else
            for (int i = 0; i < 4; i++)
                r[i] = word<A>(tile, row + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4);
        if (MATH == SN_GEMM_TF32) round(r);
    }

    /* The fragments of B's columns from `column`, two of eight columns, two words each. */
    SN_MEMBER void load_b(uint32_t *r, const char *tile, int column, int k) const {
        if (B_ALONG_K)
            sn_ldmatrix4(r, tile + B::at(column + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * B::CHUNK));
        else if (MATH != SN_GEMM_TF32)
            sn_ldmatrix4_trans(r, tile + B::at(column + lane / 16 * 8, k + lane % 16));
        else
            for (int i = 0; i < 4; i++)
                r[i] = word<B>(tile, column + lane / 4 + i / 2 * 8, k + lane % 4 + i % 2 * 4);
        if (MATH == SN_GEMM_TF32) round(r);
    }

    SN_DEVICE void multiply(float *d, const uint32_t *a, const uint32_t *b) {
        if (MATH == SN_GEMM_TF32) sn_mma_tf32(d, a, b);
        if (MATH == SN_GEMM_BF16) sn_mma_bf16(d, a, b);
        if (MATH == SN_GEMM_F16) sn_mma_f16(d, a, b);
    }

    SN_MEMBER void add(const char *tile_a, const char *tile_b) {
#pragma unroll
        for (int k = 0; k < A::DEPTH; k += STEP) {
            uint32_t a[WM / 16][4], b[WN / 16][4];
#pragma unroll
            for (int i = 0; i < WM / 16; i++) load_a(a[i], tile_a, row0() + 16 * i, k);
#pragma unroll
            for (int j = 0; j < WN / 16; j++) load_b(b[j], tile_b, column0() + 16 * j, k);
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int j = 0; j < WN / 8; j++) multiply(sum[i][j], a[i], b[j / 2] + j % 2 * 2);
        }
    }

    /* The sums of this thread into a matrix of floats whose first row is `first` of the block's tile. */
    SN_MEMBER void put(float *to, int pitch, int first) const {
        float *const start = to + (row0() - first + lane / 4) * pitch + column0() + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
#pragma unroll
            for (int j = 0; j < WN / 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    *(float2 *)(start + (16 * i + 8 * half) * pitch + 8 * j) =
                        make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
    }
};

/* ---- multiply-adds of f32: 8 warps, four by two, the lanes of each four by eight ---- */

template <bool A_ALONG_K, bool B_ALONG_K, int BM, int BN> struct SnGemmThreads {
    using A = SnGemmTile<SN_GEMM_FMA, A_ALONG_K, BM>;
    using B = SnGemmTile<SN_GEMM_FMA, B_ALONG_K, BN>;
    static constexpr int THREADS = 256, WM = BM / 4, WN = BN / 2, TM = WM / 4, TN = WN / 8;

    float sum[TM][TN];
    int a_start, b_start; /* where the lane's first row and column begin in a tile ALONG_K */

    /* The warp's first row and column, and the lane's place in it: pairs of lanes that read the same are neighbours. */
    SN_DEVICE int row0() { return threadIdx.x / 64 * WM; }
    SN_DEVICE int column0() { return threadIdx.x / 32 % 2 * WN; }
    SN_DEVICE int down() { return threadIdx.x / 16 % 2 * 2 + threadIdx.x % 2; }
    SN_DEVICE int across() { return threadIdx.x / 2 % 8; }

    SN_MEMBER SnGemmThreads() : sum() {
        a_start = A::at(row0() + down(), 0);
        b_start = B::at(column0() + across(), 0);
    }

    /* A thread's i-th row and j-th column: four neighbours together where a chunk holds them. */
    SN_DEVICE int row(int i) {
        return row0() + (A_ALONG_K ? down() + 4 * i : down() * 4 + i % 4 + i / 4 * 16);
    }
    SN_DEVICE int column(int j) {
        return column0() + (B_ALONG_K ? across() + 8 * j : across() * 4 + j % 4 + j / 4 * 32);
    }

    SN_DEVICE float part(const float4 &x, int i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }

    /* Two steps of K of the i-th row: what is at A::at(row(i), k). The permutation of its chunks is that of the first
     * row, with a bit turned in odd ones, so that two numbers hold all that depends on the lane. */
    SN_MEMBER float2 along_a(const char *tile, int i, int k) const {
        return *(const float2 *)(tile + (a_start ^ (k / 4 ^ i % 2 * 2) * 16) + i * 256 + k % 4 * 4);
    }
    /* The same of the j-th column. */
    SN_MEMBER float2 along_b(const char *tile, int j, int k) const {
        return *(const float2 *)(tile + (b_start ^ k / 4 * 16) + j * 512 + k % 4 * 4);
    }

    /* Two steps of K of this thread's rows. */
    SN_MEMBER void load_a(float (*a)[TM], const char *tile, int k) const {
        if (A_ALONG_K) {
#pragma unroll
            for (int i = 0; i < TM; i++) {
                const float2 x = along_a(tile, i, k);
                a[0][i] = x.x, a[1][i] = x.y;
            }
            return;
        }
        const char *const start = tile + A::at(row(0), k);
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int s = 0; s < 2; s++)
                a[s][i] = part(*(const float4 *)(start + s * BM * 4 + i / 4 * 64), i % 4);
    }

    SN_MEMBER void load_b(float (*b)[TN], const char *tile, int k) const {
        if (B_ALONG_K) {
#pragma unroll
            for (int j = 0; j < TN; j++) {
                const float2 x = along_b(tile, j, k);
                b[0][j] = x.x, b[1][j] = x.y;
            }
            return;
        }
        const char *const start = tile + B::at(column(0), k);
#pragma unroll
        for (int j = 0; j < TN; j++)
#pragma unroll
            for (int s = 0; s < 2; s++)
                b[s][j] = part(*(const float4 *)(start + s * BN * 4 + j / 4 * 128), j % 4);
    }

    SN_MEMBER void add(const char *tile_a, const char *tile_b) {
#pragma unroll(TM == 8 ? 1 : 4) /* more of the wide tile would not fit in the registers */
        for (int k = 0; k < A::DEPTH; k += 2) {
            float a[2][TM], b[2][TN];
            load_a(a, tile_a, k);
            load_b(b, tile_b, k);
#pragma unroll
            for (int s = 0; s < 2; s++)
#pragma unroll
                for (int i = 0; i < TM; i++)
#pragma unroll
                    for (int j = 0; j < TN; j++) sum[i][j] += a[s][i] * b[s][j];
        }
    }

    SN_MEMBER void put(float *to, int pitch, int first) const {
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int j = 0; j < TN; j++) to[(row(i) - first) * pitch + column(j)] = sum[i][j];
    }
};

template <int MATH, bool A_ALONG_K, bool B_ALONG_K, int BM, int BN> struct SnGemmSums {
    using Type = SnGemmWarps<MATH, A_ALONG_K, B_ALONG_K, BM, BN>;
};
template <bool A_ALONG_K, bool B_ALONG_K, int BM, int BN>
struct SnGemmSums<SN_GEMM_FMA, A_ALONG_K, B_ALONG_K, BM, BN> {
    using Type = SnGemmThreads<A_ALONG_K, B_ALONG_K, BM, BN>;
};

#endif

/* The products of attention.cuh in f32, by multiply-adds of register tiles. Weights go through shared memory, of which
 * each warp has its own part, since each has its own rows. */
#ifndef SN_DEVICE_ATTENTION_FMA_CUH
#define SN_DEVICE_ATTENTION_FMA_CUH

/* The lanes of a warp are 4 down and 8 across. A thread has every fourth of the warp's rows, every eighth column of the
 * scores, and of each 32 outputs four neighbours. */
template <class Use> struct SnAttentionFma {
    typedef SnAttentionShape<Use> Shape;
    static constexpr int WIDTH = Use::WIDTH, GROUPS = Shape::OUT / 32;
    static constexpr int HELD = 4 * Use::HEIGHT, ACROSS = WIDTH / 8, BESIDE = 4 * GROUPS, SHARERS = 8;
    struct Kept {};

    SN_DEVICE int row(int r) { return 4 * r + (int)threadIdx.x % 32 / 8; }
    SN_DEVICE int column(int c) { return 8 * c + (int)threadIdx.x % 8; }
    SN_DEVICE int out_column(int c) { return c / 4 * 32 + (int)threadIdx.x % 8 * 4 + c % 4; }
    SN_DEVICE int score_at(int r, int c) { return r * ACROSS + c; }
    SN_DEVICE int out_at(int r, int c) { return r * BESIDE + c; }
    SN_DEVICE void keep(const float *, Kept &) {}

    SN_DEVICE void multiply(const float *queries, const float *keys, const Kept &, float *score) {
        const float *query = queries +
                             (threadIdx.x / 32 * 16 * Use::HEIGHT + threadIdx.x % 32 / 8) * Shape::QUERY_LD,
                    *key = keys + threadIdx.x % 8 * Shape::QUERY_LD;
#pragma unroll
        for (int i = 0; i < HELD * ACROSS; i++) score[i] = 0;
#pragma unroll 1
        for (int d = 0; d < Shape::DEPTH; d += 4) {
            float4 k[ACROSS];
#pragma unroll
            for (int c = 0; c < ACROSS; c++) k[c] = *(const float4 *)(key + 8 * c * Shape::QUERY_LD + d);
#pragma unroll
            for (int r = 0; r < HELD; r++) {
                const float4 q = *(const float4 *)(query + 4 * r * Shape::QUERY_LD + d);
#pragma unroll
                for (int c = 0; c < ACROSS; c++) {
                    float &s = score[score_at(r, c)];
                    s += q.x * k[c].x;
                    s += q.y * k[c].y;
                    s += q.z * k[c].z;
                    s += q.w * k[c].w;
                }
            }
        }
    }

    SN_DEVICE void add(float weight, const float4 *v, float *out) {
#pragma unroll
        for (int n = 0; n < GROUPS; n++) {
            out[4 * n] += weight * v[n].x;
            out[4 * n + 1] += weight * v[n].y;
            out[4 * n + 2] += weight * v[n].z;
            out[4 * n + 3] += weight * v[n].w;
        }
    }

    SN_DEVICE void gather(float *weights, const float *values, SnAttentionPart<SnAttentionFma> &part) {
        float *own = weights + threadIdx.x / 32 * 16 * Use::HEIGHT * Shape::WEIGHT_LD;
        const float *value = values + threadIdx.x % 8 * 4;
#pragma unroll
        for (int r = 0; r < HELD; r++)
#pragma unroll
            for (int c = 0; c < ACROSS; c++)
                own[row(r) * Shape::WEIGHT_LD + column(c)] = part.score[score_at(r, c)];
        __syncwarp();
#pragma unroll 1
        for (int j = 0; j < WIDTH; j += 4) {
            float4 w[HELD];
#pragma unroll
            for (int r = 0; r < HELD; r++) w[r] = *(const float4 *)(own + row(r) * Shape::WEIGHT_LD + j);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                float4 v[GROUPS];
#pragma unroll
                for (int n = 0; n < GROUPS; n++)
                    v[n] = *(const float4 *)(value + (j + k) * Shape::VALUE_LD + 32 * n);
#pragma unroll
                for (int r = 0; r < HELD; r++)
                    add(k == 0   ? w[r].x
                        : k == 1 ? w[r].y
                        : k == 2 ? w[r].z
                                 : w[r].w,
                        v, part.out + r * BESIDE);
            }
        }
    }
};

#endif

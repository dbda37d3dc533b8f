/* The products of attention.cuh on tensor cores. Weights go from the first product's results to the second one's left
 * operand in registers: for 16-bit operands the layouts agree; for TF32 they do with the columns of a step in another
 * order, which is that of the values too. */
#ifndef SN_DEVICE_ATTENTION_TENSOR_CUH
#define SN_DEVICE_ATTENTION_TENSOR_CUH

template <int kind> SN_DEVICE void sn_attention_mma(float *d, const uint32_t *a, const uint32_t *b) {
    if constexpr (kind == SN_ATTENTION_BF16)
        sn_mma_bf16(d, a, b);
    else if constexpr (kind == SN_ATTENTION_F16)
        sn_mma_f16(d, a, b);
    else
        sn_mma_tf32(d, a, b);
}

/* Two weights of neighbouring columns. */
template <int kind> SN_DEVICE uint32_t sn_attention_pair(float low, float high) {
    if constexpr (kind == SN_ATTENTION_BF16) return sn_pack_bf16(low, high);
    return sn_pack_f16(low, high);
}

/* A weight as TF32: the product ignores what lies below its bits, so that adding half a unit rounds. A NaN may become
 * another number, but the row's sum has it too. */
SN_DEVICE uint32_t sn_attention_weight_tf32(float x) {
    return __float_as_uint(x) + 0x1000u;
}

/* Tiles of 16 rows by 8 columns, whose elements lie in the lanes as tensor.cuh says. */
template <class Use> struct SnAttentionTensor {
    typedef SnAttentionShape<Use> Shape;
    typedef typename Shape::Stored Stored;
    static constexpr int HEIGHT = Use::HEIGHT, WIDTH = Use::WIDTH, TILES = WIDTH / 8,
                         OUT_TILES = Shape::OUT / 8;
    static constexpr int HELD = 2 * HEIGHT, ACROSS = 2 * TILES, BESIDE = 2 * OUT_TILES, SHARERS = 4;
    static constexpr int STEPS = Shape::DEPTH / (2 * Shape::PIECE); /* of the sum over d */
    static constexpr bool KEEPS = STEPS * HEIGHT <= SnAttentionKeeps<Use>::STEPS;
    struct Kept {
        uint32_t query[KEEPS ? STEPS : 1][HEIGHT][4];
    };

    SN_DEVICE int row(int r) { return 8 * r + (int)threadIdx.x % 32 / 4; }
    SN_DEVICE int column(int c) { return c / 2 * 8 + (int)threadIdx.x % 4 * 2 + c % 2; }
    SN_DEVICE int out_column(int c) { return column(c); }
    SN_DEVICE int score_at(int r, int c) { return (r / 2 * TILES + c / 2) * 4 + r % 2 * 2 + c % 2; }
    SN_DEVICE int out_at(int r, int c) { return (r / 2 * OUT_TILES + c / 2) * 4 + r % 2 * 2 + c % 2; }

    /* The warp's queries of step `step`. */
    SN_DEVICE void load_queries(const Stored *queries, int step, uint32_t (*a)[4]) {
        const int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16 * HEIGHT;
#pragma unroll
        for (int m = 0; m < HEIGHT; m++)
            sn_ldmatrix4(a[m], queries + (first + 16 * m + lane % 16) * Shape::QUERY_LD +
                                   (2 * step + lane / 16) * Shape::PIECE);
    }

    SN_DEVICE void keep(const Stored *queries, Kept &kept) {
        if constexpr (KEEPS)
#pragma unroll
            for (int step = 0; step < STEPS; step++) load_queries(queries, step, kept.query[step]);
    }

    SN_DEVICE void multiply_step(const Stored *keys, int step, const uint32_t (*a)[4], float *score) {
        const int lane = threadIdx.x % 32;
        const Stored *key =
            keys + (lane / 16 * 8 + lane % 8) * Shape::QUERY_LD + (2 * step + lane / 8 % 2) * Shape::PIECE;
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t b[4];
            sn_ldmatrix4(b, key + 8 * n * Shape::QUERY_LD);
#pragma unroll
            for (int m = 0; m < HEIGHT; m++) {
                sn_attention_mma<Use::KIND>(score + (m * TILES + n) * 4, a[m], b);
                sn_attention_mma<Use::KIND>(score + (m * TILES + n + 1) * 4, a[m], b + 2);
            }
        }
    }

    SN_DEVICE void multiply(const Stored *queries, const Stored *keys, const Kept &kept, float *score) {
#pragma unroll
        for (int i = 0; i < HELD * ACROSS; i++) score[i] = 0;
        if constexpr (KEEPS) {
#pragma unroll
            for (int step = 0; step < STEPS; step++) multiply_step(keys, step, kept.query[step], score);
        } else {
#pragma unroll 2
            for (int step = 0; step < STEPS; step++) {
                uint32_t a[HEIGHT][4];
                load_queries(queries, step, a);
                multiply_step(keys, step, a, score);
            }
        }
    }

    /* 16 columns, of two tiles of scores. */
    SN_DEVICE void gather_pairs(const Stored *values, int k, SnAttentionPart<SnAttentionTensor> &part) {
        const int lane = threadIdx.x % 32;
        uint32_t a[HEIGHT][4];
#pragma unroll
        for (int m = 0; m < HEIGHT; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *s = part.score + (m * TILES + 2 * k + i / 2) * 4 + i % 2 * 2;
                a[m][i] = sn_attention_pair<Use::KIND>(s[0], s[1]);
            }
        const Stored *value = values + (16 * k + lane % 16) * Shape::VALUE_LD + lane / 16 * 8;
#pragma unroll
        for (int n = 0; n < OUT_TILES; n += 2) {
            uint32_t b[4];
            sn_ldmatrix4_trans(b, value + 8 * n);
#pragma unroll
            for (int m = 0; m < HEIGHT; m++) {
                sn_attention_mma<Use::KIND>(part.out + (m * OUT_TILES + n) * 4, a[m], b);
                sn_attention_mma<Use::KIND>(part.out + (m * OUT_TILES + n + 1) * 4, a[m], b + 2);
            }
        }
    }

    /* 8 columns: of the sum's eight terms, t is column 2t and t + 4 is column 2t + 1. */
    SN_DEVICE void gather_tf32(const Stored *values, int k, SnAttentionPart<SnAttentionTensor> &part) {
        const int lane = threadIdx.x % 32;
        uint32_t a[HEIGHT][4];
#pragma unroll
        for (int m = 0; m < HEIGHT; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] = sn_attention_weight_tf32(part.score[(m * TILES + k) * 4 + i % 2 * 2 + i / 2]);
        const Stored *value = values + (8 * k + lane % 4 * 2) * Shape::VALUE_LD + lane / 4;
#pragma unroll
        for (int n = 0; n < OUT_TILES; n++) {
            const uint32_t b[2] = {__float_as_uint(value[8 * n]),
                                   __float_as_uint(value[Shape::VALUE_LD + 8 * n])};
#pragma unroll
            for (int m = 0; m < HEIGHT; m++)
                sn_attention_mma<Use::KIND>(part.out + (m * OUT_TILES + n) * 4, a[m], b);
        }
    }

    SN_DEVICE void gather(Stored *, const Stored *values, SnAttentionPart<SnAttentionTensor> &part) {
        if constexpr (Use::KIND == SN_ATTENTION_TF32) {
#pragma unroll
            for (int k = 0; k < TILES; k++) gather_tf32(values, k, part);
        } else {
#pragma unroll
            for (int k = 0; k < TILES / 2; k++) gather_pairs(values, k, part);
        }
    }
};

#endif

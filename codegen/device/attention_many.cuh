/* Attention of many rows: a warp has 16·HEIGHT rows, their running maximum, sum and outputs in registers; the block's keys
 * and values go through shared memory, values on their way while scores are computed, the next keys while outputs are.
 * After Milakov and Gimelshein (online softmax, 2018) and Dao (FlashAttention-2, 2023). After attention.cuh. */
#ifndef SN_DEVICE_ATTENTION_MANY_CUH
#define SN_DEVICE_ATTENTION_MANY_CUH

/* ---- softmax, for the rows that this thread has a part of ---- */

/* Layout, of attention_tensor.cuh or attention_fma.cuh: a thread holds HELD rows, ACROSS scores and BESIDE outputs of
 * each, which SHARERS neighbouring lanes share. */
template <class Layout> struct SnAttentionPart {
    float score[Layout::HELD * Layout::ACROSS], out[Layout::HELD * Layout::BESIDE];
    float maximum[Layout::HELD], sum[Layout::HELD]; /* the sum is over this thread's scores */
};

/* The block's place. */
struct SnAttentionPlace {
    int64_t b, h, g;
    int64_t first; /* row of the warp */
    int present;   /* its rows that exist, may be negative */
};

/* Where a score is not to be counted it becomes -infinity. `whole`: nothing is masked of these columns. */
template <class Use, class Layout>
SN_DEVICE void sn_attention_settle(const Use &use, const SnAttention &p, const SnAttentionPlace &at,
                                   int64_t j, int64_t end, bool whole, SnAttentionPart<Layout> &part) {
    if (Use::SCALED)
#pragma unroll
        for (int i = 0; i < Layout::HELD * Layout::ACROSS; i++) part.score[i] *= p.scale;
    if (whole) return;
#pragma unroll
    for (int r = 0; r < Layout::HELD; r++) {
        int64_t limit = end - j;
        if (Use::CAUSAL) limit = sn_least_of(limit, at.first + Layout::row(r) + p.offset + 1 - j);
        const int columns = (int)sn_largest_of(sn_least_of(limit, Layout::WIDTH), 0);
#pragma unroll
        for (int c = 0; c < Layout::ACROSS; c++) {
            float &score = part.score[Layout::score_at(r, c)];
            const bool counts = Layout::column(c) < columns;
            if constexpr (Use::SCORE != 0)
                if (counts && Layout::row(r) < at.present)
                    score = use.score_s(score, at.b, at.h, at.first + Layout::row(r), j + Layout::column(c));
            if (!counts) score = -SN_INFINITY_F32;
        }
    }
}

/* Scores become weights; what was summed up so far is scaled to the new maximum. A NaN is passed over by the maximum and
 * met in the sum. */
template <class Use, class Layout>
SN_DEVICE void sn_attention_weigh(float factor, SnAttentionPart<Layout> &part) {
#pragma unroll
    for (int r = 0; r < Layout::HELD; r++) {
        float maximum = part.maximum[r];
#pragma unroll
        for (int c = 0; c < Layout::ACROSS; c++) maximum = fmaxf(maximum, part.score[Layout::score_at(r, c)]);
#pragma unroll
        for (int lanes = 1; lanes < Layout::SHARERS; lanes *= 2)
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, lanes));
        const float origin = sn_attention_origin<Use>(maximum, factor);
        const float fade = sn_attention_fade(part.maximum[r], maximum, factor);
        float sum = part.sum[r] * fade;
#pragma unroll
        for (int c = 0; c < Layout::ACROSS; c++) {
            float &score = part.score[Layout::score_at(r, c)];
            score = sn_attention_weight<Use>(score, factor, origin);
            sum += score;
        }
#pragma unroll
        for (int c = 0; c < Layout::BESIDE; c++) part.out[Layout::out_at(r, c)] *= fade;
        part.maximum[r] = maximum, part.sum[r] = sum;
    }
}

/* ---- many rows ---- */

/* Outputs through shared memory, 16 rows of a warp at a time, so that neighbouring lanes store neighbouring elements. */
template <class Use, class Layout>
SN_DEVICE void sn_attention_finish(const Use &use, const SnAttention &p, const SnAttentionPlace &at,
                                   SnAttentionPart<Layout> &part) {
    constexpr int LD = SnAttentionShape<Use>::STAGE_LD, AT_ONCE = Layout::HELD / Use::HEIGHT;
    const int lane = threadIdx.x % 32;
    float *stage = (float *)sn_shared_memory() + threadIdx.x / 32 * 16 * LD;
#pragma unroll
    for (int m = 0; m < Use::HEIGHT; m++) {
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            const int r = m * AT_ONCE + k;
            float sum = part.sum[r];
#pragma unroll
            for (int lanes = 1; lanes < Layout::SHARERS; lanes *= 2)
                sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
            const float inverse = sn_attention_inverse<Use>(p, sum);
#pragma unroll
            for (int c = 0; c < Layout::BESIDE; c++)
                stage[(Layout::row(r) - 16 * m) * LD + Layout::out_column(c)] =
                    part.out[Layout::out_at(r, c)] * inverse;
            if (Use::STATISTICS && lane % Layout::SHARERS == 0 && Layout::row(r) < at.present)
                sn_attention_tell(use, p, part.maximum[r], sum, at.b, at.h, at.first + Layout::row(r));
        }
        __syncwarp();
        const int rows = at.present - 16 * m < 16 ? at.present - 16 * m : 16;
#pragma unroll 1
        for (int r = 0; r < rows; r++)
            for (int d = lane; d < Use::DV; d += 32)
                use.output_s(stage[r * LD + d], at.b, at.h, at.first + 16 * m + r, d);
        __syncwarp();
    }
}

/* A block's rows against all columns before `end`. */
template <class Use, class Layout>
SN_DEVICE void sn_attention_rows(const Use &use, const SnAttention &p, const SnAttentionPlace &at,
                                 int64_t first, int64_t end, SnAttentionPart<Layout> &part) {
    typedef SnAttentionShape<Use> Shape;
    typename Shape::Stored *const queries = (typename Shape::Stored *)sn_shared_memory(),
                                  *const keys = queries + Shape::KEYS,
                                  *const values = queries + Shape::VALUES;
    const SnAttentionSource query_source = sn_attention_source<Use, SnAttentionQuery<Use>>(use, at.b, at.h),
                            key_source = sn_attention_source<Use, SnAttentionKey<Use>>(use, at.b, at.g),
                            value_source = sn_attention_source<Use, SnAttentionValue<Use>>(use, at.b, at.g);
    const float factor = sn_attention_factor<Use>(p);
    typename Layout::Kept kept;
    sn_attention_load<Use, SnAttentionQuery<Use>>(use, query_source, queries, Shape::ROWS, at.b, at.h, first,
                                                  (int)sn_least_of(p.rows - first, Shape::ROWS));
    sn_attention_load<Use, SnAttentionKey<Use>>(use, key_source, keys, Shape::WIDTH, at.b, at.g, 0,
                                                (int)sn_least_of(end, Shape::WIDTH));
    sn_copy_commit();
    sn_copy_wait(0);
    sn_attention_round<Use, SnAttentionQuery<Use>>(query_source, queries, Shape::ROWS);
    __syncthreads();
    Layout::keep(queries, kept);
#pragma unroll 1
    for (int64_t j = 0; j < end; j += Shape::WIDTH) {
        const int64_t next = j + Shape::WIDTH;
        const int present = (int)sn_least_of(end - j, Shape::WIDTH);
        const bool sees = !Use::CAUSAL || at.first + 16 * Use::HEIGHT + p.offset > j;
        sn_copy_wait(0);
        sn_attention_round<Use, SnAttentionKey<Use>>(key_source, keys, Shape::WIDTH);
        __syncthreads();
        sn_attention_load<Use, SnAttentionValue<Use>>(use, value_source, values, Shape::WIDTH, at.b, at.g, j,
                                                      present);
        sn_copy_commit();
        if (sees) Layout::multiply(queries, keys, kept, part.score);
        sn_copy_wait(0);
        sn_attention_round<Use, SnAttentionValue<Use>>(value_source, values, Shape::WIDTH);
        __syncthreads();
        if (next < end)
            sn_attention_load<Use, SnAttentionKey<Use>>(use, key_source, keys, Shape::WIDTH, at.b, at.g, next,
                                                        (int)sn_least_of(end - next, Shape::WIDTH));
        sn_copy_commit();
        if (!sees) continue;
        const bool whole = Use::SCORE == 0 && present == Shape::WIDTH &&
                           (!Use::CAUSAL || at.first + p.offset >= j + Shape::WIDTH - 1);
        sn_attention_settle(use, p, at, j, end, whole, part);
        sn_attention_weigh<Use>(factor, part);
        Layout::gather(queries + Shape::WEIGHTS, values, part);
    }
}

/* Blocks of a head follow one another, the last rows first: under a causal mask those have the most to do. */
template <class Use, class Layout>
SN_DEVICE void sn_attention_many(const Use &use, const SnAttention &p, int64_t block) {
    constexpr int ROWS = SnAttentionShape<Use>::ROWS;
    const int64_t blocks = sn_ceildiv(p.rows, ROWS), head = block / blocks,
                  first = (blocks - 1 - block % blocks) * ROWS, last = sn_least_of(first + ROWS, p.rows) - 1;
    SnAttentionPlace at;
    at.b = head / p.heads, at.h = head % p.heads, at.g = at.h / (p.heads / p.kv_heads);
    at.first = first + threadIdx.x / 32 * (16 * Use::HEIGHT);
    at.present = (int)sn_least_of(p.rows - at.first, 16 * Use::HEIGHT);
    SnAttentionPart<Layout> part;
#pragma unroll
    for (int i = 0; i < Layout::HELD * Layout::BESIDE; i++) part.out[i] = 0;
#pragma unroll
    for (int r = 0; r < Layout::HELD; r++) part.maximum[r] = -SN_INFINITY_F32, part.sum[r] = 0;
    const int64_t end = Use::CAUSAL ? sn_least_of(p.columns, last + p.offset + 1) : p.columns;
    if (end > 0) sn_attention_rows(use, p, at, first, end, part);
    __syncthreads();
    sn_attention_finish(use, p, at, part);
}

#endif

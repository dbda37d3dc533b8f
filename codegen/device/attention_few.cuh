/* Attention of few rows (decoding), and of heads that are too wide for attention.cuh's tiles: keys and values are read
 * once, where they lie, by all rows of all heads that share them. A block has a chunk of the columns; with several
 * chunks each leaves its part of a row in memory, and the blocks of a second round put the parts together in the order
 * of the columns.
 *
 * Use::FORMS: 1, only many rows; 2, only few; 3, up to Use::FEW rows of a head are few. Use::SHARE: rows that a block
 * works on. The hole partial(at) gives the address of element `at` of a float buffer that is written; a part takes
 * Use::DV + 2 floats: outputs, maximum, sum. */
#ifndef SN_DEVICE_ATTENTION_FEW_CUH
#define SN_DEVICE_ATTENTION_FEW_CUH

/* Row i of head h, which sees the columns before `end`. */
struct SnAttentionRow {
    int64_t h, i, end;
};

/* LANES neighbouring lanes, a group, share a column: each has every LANES-th piece of 16 bytes of its key and value.
 * Each thread has its own sums of each row, in shared memory, since there may be many; in the end those of all groups
 * are put together. */
template <class Use> struct SnAttentionFew {
    static constexpr int PIECE = SnAttentionShape<Use>::PIECE, SHARE = Use::SHARE, D = Use::D, DV = Use::DV;
    static constexpr int KEY_PIECES = (D + PIECE - 1) / PIECE, VALUE_PIECES = (DV + PIECE - 1) / PIECE,
                         PIECES = KEY_PIECES > VALUE_PIECES ? KEY_PIECES : VALUE_PIECES;
    static constexpr int LANES = PIECES > 16  ? 32
                                 : PIECES > 8 ? 16
                                 : PIECES > 4 ? 8
                                 : PIECES > 2 ? 4
                                              : PIECES;
    static constexpr int KEY_EACH = (KEY_PIECES + LANES - 1) / LANES,
                         VALUE_EACH = (VALUE_PIECES + LANES - 1) / LANES;
    static constexpr int GROUPS = SN_ATTENTION_THREADS / LANES; /* columns side by side */
    /* Whether keys and values can be read by pieces as they lie, when addresses allow it; columns that a group then has
     * under way together. */
    static constexpr bool FAST = (Use::POINTER & 6) == 6 && D % PIECE == 0 && DV % PIECE == 0;
    static constexpr int AHEAD = KEY_EACH + VALUE_EACH <= 2 ? 4 : KEY_EACH + VALUE_EACH <= 4 ? 2 : 1;
    /* Floats of shared memory that a row takes: its query, in whole pieces of all lanes; outputs, by four for each
     * thread; maximum and sum of each thread; which row it is. */
    static constexpr int QUERY = KEY_EACH * LANES * PIECE, OUTS = VALUE_EACH * PIECE,
                         ROW = QUERY + (OUTS + 2) * SN_ATTENTION_THREADS + 8;

    SN_DEVICE float *row(int r) { return (float *)sn_shared_memory() + r * ROW; }
    /* Of a row at `row`: output k of thread `thread`, its maximum, its sum. */
    SN_DEVICE float *out(float *row, int thread, int k) {
        return row + QUERY + (k / 4 * SN_ATTENTION_THREADS + thread) * 4 + k % 4;
    }
    SN_DEVICE float *maximum(float *row, int thread) {
        return row + QUERY + OUTS * SN_ATTENTION_THREADS + thread;
    }
    SN_DEVICE float *sum(float *row, int thread) { return maximum(row, thread) + SN_ATTENTION_THREADS; }
    SN_DEVICE SnAttentionRow *name(float *row) { return (SnAttentionRow *)sum(row, SN_ATTENTION_THREADS); }
};

/* Rows [first, first + rows) of those of all heads that share key head g, and a chunk of the columns. */
struct SnAttentionShare {
    int64_t b, g, first;
    int rows;
    int64_t from, end;
};

template <class Use>
SN_DEVICE void sn_attention_few_start(const Use &use, const SnAttention &p, const SnAttentionShare &t) {
    typedef SnAttentionFew<Use> Few;
#pragma unroll 1
    for (int r = 0; r < t.rows; r++) {
        const int64_t h = t.g * (p.heads / p.kv_heads) + (t.first + r) / p.rows, i = (t.first + r) % p.rows;
        const int64_t end = Use::CAUSAL ? sn_least_of(t.end, i + p.offset + 1) : t.end;
        if (threadIdx.x == 0) *Few::name(Few::row(r)) = {h, i, end};
        for (int d = threadIdx.x; d < Few::QUERY; d += SN_ATTENTION_THREADS)
            Few::row(r)[d] = d < Few::D ? use.query_s(t.b, h, i, d) : 0;
        for (int k = 0; k < Few::OUTS; k++) *Few::out(Few::row(r), threadIdx.x, k) = 0;
        *Few::maximum(Few::row(r), threadIdx.x) = -SN_INFINITY_F32;
        *Few::sum(Few::row(r), threadIdx.x) = 0;
    }
    __syncthreads();
}

/* This lane's pieces of an operand's row; zeros past its end. */
template <class Use, class Operand, int EACH, bool FAST>
SN_DEVICE void sn_attention_few_fetch(const Use &use, const SnAttentionSource &source,
                                      const SnAttentionShare &t, int64_t j, uint4 *piece) {
    typedef SnAttentionFew<Use> Few;
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int d = (e * Few::LANES + (int)threadIdx.x % Few::LANES) * Few::PIECE;
        piece[e] = make_uint4(0, 0, 0, 0);
        if (j >= t.end || d >= Operand::SIZE) continue;
        if (FAST)
            piece[e] = *(const uint4 *)(source.row + j * source.stride + d * (16 / Few::PIECE));
        else
            piece[e] = sn_attention_piece<Use, Operand>(use, t.b, t.g, j, d);
    }
}

/* The product of a row's query with this lane's pieces of a key, summed over the group: in all its lanes. */
template <class Use> SN_DEVICE float sn_attention_few_product(const float *row, const uint4 *key) {
    typedef SnAttentionFew<Use> Few;
    float score = 0;
#pragma unroll
    for (int e = 0; e < Few::KEY_EACH; e++) {
        const float4 *query =
            (const float4 *)(row + (e * Few::LANES + (int)threadIdx.x % Few::LANES) * Few::PIECE);
        float x[Few::PIECE];
        SnAttentionElement<Use::KIND>::unpack(key[e], x);
#pragma unroll
        for (int k = 0; k < Few::PIECE; k += 4) {
            const float4 q = query[k / 4];
            score += q.x * x[k] + q.y * x[k + 1] + q.z * x[k + 2] + q.w * x[k + 3];
        }
    }
#pragma unroll
    for (int lanes = 1; lanes < Few::LANES; lanes *= 2) score += __shfl_xor_sync(0xffffffffu, score, lanes);
    return score;
}

/* Adds columns with these scores and values to the row. */
template <class Use, int AHEAD>
SN_DEVICE void sn_attention_few_add(float *row, float factor, const float *score,
                                    const uint4 (*value)[SnAttentionFew<Use>::VALUE_EACH]) {
    typedef SnAttentionFew<Use> Few;
    float *const maximum_at = Few::maximum(row, threadIdx.x), *const sum_at = Few::sum(row, threadIdx.x);
    const float before = *maximum_at;
    float maximum = before, sum = 0, weight[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) maximum = fmaxf(maximum, score[u]);
    const float origin = sn_attention_origin<Use>(maximum, factor),
                fade = sn_attention_fade(before, maximum, factor);
#pragma unroll
    for (int u = 0; u < AHEAD; u++) sum += weight[u] = sn_attention_weight<Use>(score[u], factor, origin);
    *maximum_at = maximum;
    *sum_at = *sum_at * fade + sum;
#pragma unroll
    for (int e = 0; e < Few::VALUE_EACH; e++) {
        float total[Few::PIECE] = {};
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            float x[Few::PIECE];
            SnAttentionElement<Use::KIND>::unpack(value[u][e], x);
#pragma unroll
            for (int k = 0; k < Few::PIECE; k++) total[k] += weight[u] * x[k];
        }
#pragma unroll
        for (int k = 0; k < Few::PIECE; k += 4) {
            float4 *out = (float4 *)Few::out(row, threadIdx.x, e * Few::PIECE + k);
            const float4 o = *out;
            *out = make_float4(o.x * fade + total[k], o.y * fade + total[k + 1], o.z * fade + total[k + 2],
                               o.w * fade + total[k + 3]);
        }
    }
}

/* One row and AHEAD columns from the group's `first` on, GROUPS apart. */
template <class Use, int AHEAD>
SN_DEVICE void sn_attention_few_step(const Use &use, const SnAttention &p, const SnAttentionShare &t, int r,
                                     int64_t first, float factor,
                                     const uint4 (*key)[SnAttentionFew<Use>::KEY_EACH],
                                     const uint4 (*value)[SnAttentionFew<Use>::VALUE_EACH]) {
    typedef SnAttentionFew<Use> Few;
    float *const row = Few::row(r);
    const SnAttentionRow name = *Few::name(row);
    float score[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
        const int64_t j = first + u * Few::GROUPS;
        const bool counts = j < name.end;
        score[u] = sn_attention_few_product<Use>(row, key[u]);
        if (Use::SCALED) score[u] *= p.scale;
        if constexpr (Use::SCORE != 0)
            if (counts) score[u] = use.score_s(score[u], t.b, name.h, name.i, j);
        if (!counts) score[u] = -SN_INFINITY_F32;
    }
    sn_attention_few_add<Use, AHEAD>(row, factor, score, value);
}

/* All columns of the block, AHEAD a group at a time, so that their loads are under way together. */
template <class Use, bool FAST>
SN_DEVICE void sn_attention_few_columns(const Use &use, const SnAttention &p, const SnAttentionShare &t,
                                        const SnAttentionSource &keys, const SnAttentionSource &values) {
    typedef SnAttentionFew<Use> Few;
    constexpr int AHEAD = FAST ? Few::AHEAD : 1;
    const float factor = sn_attention_factor<Use>(p);
#pragma unroll 1
    for (int64_t from = t.from; from < t.end; from += AHEAD * Few::GROUPS) {
        const int64_t first = from + threadIdx.x / Few::LANES;
        uint4 key[AHEAD][Few::KEY_EACH], value[AHEAD][Few::VALUE_EACH];
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            const int64_t j = first + u * Few::GROUPS;
            sn_attention_few_fetch<Use, SnAttentionKey<Use>, Few::KEY_EACH, FAST>(use, keys, t, j, key[u]);
            sn_attention_few_fetch<Use, SnAttentionValue<Use>, Few::VALUE_EACH, FAST>(use, values, t, j,
                                                                                      value[u]);
        }
#pragma unroll 1
        for (int r = 0; r < t.rows; r++)
            sn_attention_few_step<Use, AHEAD>(use, p, t, r, first, factor, key, value);
    }
}

/* Parts of a row put together. */
struct SnAttentionSum {
    float maximum, sum, out;
};

/* Output d of a row, and what belongs to it, of all groups. */
template <class Use> SN_DEVICE SnAttentionSum sn_attention_few_join(float *row, float factor, int d) {
    typedef SnAttentionFew<Use> Few;
    SnAttentionSum total = {-SN_INFINITY_F32, 0, 0};
    const int piece = d / Few::PIECE, lane = piece % Few::LANES,
              k = piece / Few::LANES * Few::PIECE + d % Few::PIECE;
#pragma unroll 1
    for (int g = 0; g < SN_ATTENTION_THREADS; g += Few::LANES)
        total.maximum = fmaxf(total.maximum, *Few::maximum(row, g + lane));
#pragma unroll 1
    for (int g = 0; g < SN_ATTENTION_THREADS; g += Few::LANES) {
        const float weight = sn_attention_fade(*Few::maximum(row, g + lane), total.maximum, factor);
        total.sum += weight * *Few::sum(row, g + lane);
        total.out += weight * *Few::out(row, g + lane, k);
    }
    return total;
}

template <class Use> SN_DEVICE void sn_attention_few(const Use &use, const SnAttention &p, int64_t block) {
    typedef SnAttentionFew<Use> Few;
    const int64_t shared = p.rows * (p.heads / p.kv_heads), shares = sn_ceildiv(shared, Few::SHARE),
                  chunk = block % p.chunks, head = block / p.chunks / shares;
    const float factor = sn_attention_factor<Use>(p);
    SnAttentionShare t = {head / p.kv_heads, head % p.kv_heads, block / p.chunks % shares * Few::SHARE};
    t.rows = (int)sn_least_of(shared - t.first, Few::SHARE);
    t.from = chunk * p.chunk, t.end = sn_least_of(t.from + p.chunk, p.columns);
    sn_attention_few_start(use, p, t);
    const SnAttentionSource keys = sn_attention_source<Use, SnAttentionKey<Use>>(use, t.b, t.g),
                            values = sn_attention_source<Use, SnAttentionValue<Use>>(use, t.b, t.g);
    if constexpr (!Few::FAST)
        sn_attention_few_columns<Use, false>(use, p, t, keys, values);
    else if constexpr ((Use::PIECES & 6) == 6)
        sn_attention_few_columns<Use, true>(use, p, t, keys, values);
    else if (keys.aligned && values.aligned)
        sn_attention_few_columns<Use, true>(use, p, t, keys, values);
    else
        sn_attention_few_columns<Use, false>(use, p, t, keys, values);
    __syncthreads();
#pragma unroll 1
    for (int at = threadIdx.x; at < t.rows * Few::DV; at += SN_ATTENTION_THREADS) {
        const int r = at / Few::DV, d = at % Few::DV;
        const int64_t h = Few::name(Few::row(r))->h, i = Few::name(Few::row(r))->i;
        const SnAttentionSum total = sn_attention_few_join<Use>(Few::row(r), factor, d);
        if (p.chunks == 1) {
            use.output_s(total.out * sn_attention_inverse<Use>(p, total.sum), t.b, h, i, d);
            if (d == 0) sn_attention_tell(use, p, total.maximum, total.sum, t.b, h, i);
            continue;
        }
        float *part =
            (float *)use.partial((((t.b * p.heads + h) * p.rows + i) * p.chunks + chunk) * (Few::DV + 2));
        part[d] = total.out;
        if (d == 0) part[Few::DV] = total.maximum, part[Few::DV + 1] = total.sum;
    }
}

/* Output d of a row, and what belongs to it, of all chunks. */
template <class Use>
SN_DEVICE SnAttentionSum sn_attention_merge_parts(const float *part, int64_t chunks, float factor, int d) {
    constexpr int PART = Use::DV + 2;
    SnAttentionSum total = {-SN_INFINITY_F32, 0, 0};
#pragma unroll 1
    for (int64_t c = 0; c < chunks; c++) total.maximum = fmaxf(total.maximum, part[c * PART + Use::DV]);
#pragma unroll 1
    for (int64_t c = 0; c < chunks; c++) {
        const float weight = sn_attention_fade(part[c * PART + Use::DV], total.maximum, factor);
        total.sum += weight * part[c * PART + Use::DV + 1];
        total.out += weight * part[c * PART + d];
    }
    return total;
}

/* The second round: a warp has a row. */
template <class Use> SN_DEVICE void sn_attention_merge(const Use &use, const SnAttention &p, int64_t block) {
    const int64_t row = block * SN_ATTENTION_WARPS + threadIdx.x / 32, head = row / p.rows, i = row % p.rows;
    if (row >= p.batch * p.heads * p.rows) return;
    const float *part = (const float *)use.partial(row * p.chunks * (Use::DV + 2));
    const float factor = sn_attention_factor<Use>(p);
#pragma unroll 1
    for (int d = threadIdx.x % 32; d < Use::DV; d += 32) {
        const SnAttentionSum total = sn_attention_merge_parts<Use>(part, p.chunks, factor, d);
        use.output_s(total.out * sn_attention_inverse<Use>(p, total.sum), head / p.heads, head % p.heads, i,
                     d);
        if (d == 0) sn_attention_tell(use, p, total.maximum, total.sum, head / p.heads, head % p.heads, i);
    }
}

/* The kernel's block. */
template <class Use, class Layout>
SN_DEVICE void sn_attention_run(const Use &use, const SnAttention &p, int64_t block) {
    if constexpr ((Use::FORMS & 1) != 0)
        if (!(Use::FORMS & 2) || p.rows > Use::FEW) return sn_attention_many<Use, Layout>(use, p, block);
    if constexpr ((Use::FORMS & 2) != 0) {
        const int64_t shares = sn_ceildiv(p.rows * (p.heads / p.kv_heads), Use::SHARE),
                      first = p.batch * p.kv_heads * shares * p.chunks;
        if (block < first)
            sn_attention_few<Use>(use, p, block);
        else
            sn_attention_merge<Use>(use, p, block - first);
    }
}

#endif

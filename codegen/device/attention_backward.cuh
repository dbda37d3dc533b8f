/* The gradients of attention without its score matrix. With P[i][j] = exp(score - maximum - logarithm) of row i and
 * dS = P o (dO . V^T - sums): dQ = scale dS K, dK = scale dS^T Q, dV = P^T dO, the last two summed over the heads that share a
 * key head. After attention_many.cuh and attention_tensor.cuh or attention_fma.cuh, whose products these are: a warp's own rows,
 * against those that stream through shared memory.
 *
 * Blocks are of two sorts. One has 64 keys and values, against all queries and slopes (rows of dO) that see them, and gives dK and
 * dV; the other 64 queries and slopes against keys and values, for dQ. So two of seven products are made twice, but nothing is
 * added up in memory, and sums have one order.
 *
 * Use, the kernel's struct, has the numbers KIND, D, DV, CAUSAL, SCORE, POINTER and PIECES of attention.cuh (HEIGHT is 1),
 *   WIDTH    rows that stream at a time, a multiple of 16, at most 64
 *   STAGES   2: the next ones are on their way meanwhile; 1: they are not
 *   CAP      a float: the score hole has a soft cap; 0: it has none
 *   STORES   a bit for each of dQ, dK, dV (1, 2, 4): it is stored
 * the holes query_s, key_s, value_s, score_s and addresses of attention.cuh, and
 *   float slope_s(b, h, i, d), const void *slope_pointer(b, h, i, d): dO (8 of POINTER and PIECES)
 *   float statistic_s(b, h, i, which): of a row its maximum (0) and logarithm (1)
 *   float sum_s(b, h, i, 0): of a row the sum of dO o O
 *   void output_s(dq, b, h, i, d), key_slope_s(dk, b, g, j, d), value_slope_s(dv, b, g, j, d), those that are stored
 * After Dao (FlashAttention-2, 2023). */
#ifndef SN_DEVICE_ATTENTION_BACKWARD_CUH
#define SN_DEVICE_ATTENTION_BACKWARD_CUH

enum { SN_BACKWARD_ROWS = 64 }; /* of a block: 16 a warp */

/* Stands for Use where depth and width of a product are those of one padded operand. */
template <class Use, int SIZE> struct SnBackwardPair {
    static constexpr int KIND = Use::KIND, HEIGHT = 1, WIDTH = Use::WIDTH;
    static constexpr int STEP = KIND == SN_ATTENTION_F32 ? 32 : KIND == SN_ATTENTION_TF32 ? 8 : 16;
    static constexpr int D = (SIZE + STEP - 1) / STEP * STEP, DV = D;
};
template <class Use, int SIZE> struct SnAttentionKeeps<SnBackwardPair<Use, SIZE>> {
    static constexpr int STEPS = 4;
};

/* ---- operands ---- */

template <class Use> struct SnBackwardQuery : SnAttentionQuery<Use> {
    static constexpr int PADDED = SnBackwardPair<Use, Use::D>::D;
};
template <class Use> struct SnBackwardKey : SnAttentionKey<Use> {
    static constexpr int PADDED = SnBackwardPair<Use, Use::D>::D;
};
template <class Use> struct SnBackwardValue : SnAttentionValue<Use> {
    static constexpr int PADDED = SnBackwardPair<Use, Use::DV>::D;
};
template <class Use> struct SnBackwardSlope {
    static constexpr int SIZE = Use::DV, PADDED = SnBackwardPair<Use, Use::DV>::D;
    static constexpr bool POINTER = (Use::POINTER & 8) != 0, WHOLE = (Use::PIECES & 8) != 0;
    SN_DEVICE float element(const Use &use, int64_t b, int64_t h, int64_t i, int64_t d) {
        return use.slope_s(b, h, i, d);
    }
    SN_DEVICE const char *pointer(const Use &use, int64_t b, int64_t h, int64_t i, int64_t d) {
        if constexpr (POINTER) return (const char *)use.slope_pointer(b, h, i, d);
        return nullptr;
    }
};

/* What a block's own rows are, and what streams: of the first pair come the scores, of the second one dO . V^T. */
template <class Use, bool KEYS> struct SnBackwardSide {
    typedef SnBackwardKey<Use> Own1;
    typedef SnBackwardValue<Use> Own2;
    typedef SnBackwardQuery<Use> Stream1;
    typedef SnBackwardSlope<Use> Stream2;
};
template <class Use> struct SnBackwardSide<Use, false> {
    typedef SnBackwardQuery<Use> Own1;
    typedef SnBackwardSlope<Use> Own2;
    typedef SnBackwardKey<Use> Stream1;
    typedef SnBackwardValue<Use> Stream2;
};

/* Shared memory: both own operands, the stages, weights of attention_fma.cuh, and three numbers for each of 64 rows, of two
 * stages. Sizes in elements. */
template <class Use> struct SnBackwardShape {
    typedef SnBackwardPair<Use, Use::D> First;
    typedef SnBackwardPair<Use, Use::DV> Second;
    typedef typename SnAttentionShape<Use>::Stored Stored;
    static constexpr int LD1 = SnAttentionShape<First>::QUERY_LD, LD2 = SnAttentionShape<Second>::QUERY_LD;
    static constexpr int OWN2 = SN_BACKWARD_ROWS * LD1, STREAM = SN_BACKWARD_ROWS * (LD1 + LD2),
                         STAGE = Use::WIDTH * (LD1 + LD2), WEIGHTS = STREAM + Use::STAGES * STAGE;
    static constexpr int NUMBERS =
        WEIGHTS + (Use::KIND == SN_ATTENTION_F32 ? SN_BACKWARD_ROWS * SnAttentionShape<First>::WEIGHT_LD : 0);
};

/* The block's place: its own rows, and what of the others they have to do with. */
struct SnBackwardPlace {
    int64_t b, h, g;     /* h of a block of queries only */
    int64_t first, end;  /* own rows from first on, which exist before end */
    int64_t from, until; /* those that stream, of each head */
    int64_t tiles;       /* of a head */
};

/* Rows that stream at a time: of which head, from which on, and how many there are. */
struct SnBackwardTile {
    int64_t head, first;
    int present;
};

template <class Use, bool KEYS>
SN_DEVICE SnBackwardTile sn_backward_tile(const SnAttention &p, const SnBackwardPlace &at, int64_t n) {
    SnBackwardTile tile;
    tile.head = KEYS ? at.g * (p.heads / p.kv_heads) + n / at.tiles : at.g;
    tile.first = at.from + n % at.tiles * Use::WIDTH;
    tile.present = (int)sn_least_of(at.until - tile.first, Use::WIDTH);
    return tile;
}

template <class Use, bool KEYS>
SN_DEVICE void sn_backward_load(const Use &use, const SnBackwardPlace &at, const SnBackwardTile &tile,
                                typename SnAttentionShape<Use>::Stored *to) {
    typedef SnBackwardSide<Use, KEYS> Side;
    sn_attention_load<Use, typename Side::Stream1>(
        use, sn_attention_source<Use, typename Side::Stream1>(use, at.b, tile.head), to, Use::WIDTH, at.b,
        tile.head, tile.first, tile.present);
    sn_attention_load<Use, typename Side::Stream2>(
        use, sn_attention_source<Use, typename Side::Stream2>(use, at.b, tile.head),
        to + Use::WIDTH * SnBackwardShape<Use>::LD1, Use::WIDTH, at.b, tile.head, tile.first, tile.present);
    sn_copy_commit();
}
template <class Use, bool KEYS>
SN_DEVICE void sn_backward_round(const Use &use, typename SnAttentionShape<Use>::Stored *stage) {
    typedef SnBackwardSide<Use, KEYS> Side;
    sn_attention_round<Use, typename Side::Stream1>(
        sn_attention_source<Use, typename Side::Stream1>(use, 0, 0), stage, Use::WIDTH);
    sn_attention_round<Use, typename Side::Stream2>(
        sn_attention_source<Use, typename Side::Stream2>(use, 0, 0),
        stage + Use::WIDTH * SnBackwardShape<Use>::LD1, Use::WIDTH);
}

/* What weights of `rows` rows from i on are relative to: where scores change after their product, maximum and logarithm apart,
 * since these may be as low as numbers get; otherwise both at once. Factors for exponents of 2. */
template <class Use>
SN_DEVICE void sn_backward_numbers(const Use &use, const SnAttention &p, int64_t b, int64_t h, int64_t i,
                                   int rows, float *to) {
    const int r = threadIdx.x;
    if (r >= rows) return;
    float maximum = 0, logarithm = 0, sum = 0;
    if (i + r < p.rows) {
        maximum = use.statistic_s(b, h, i + r, 0), logarithm = use.statistic_s(b, h, i + r, 1);
        sum = use.sum_s(b, h, i + r, 0);
    }
    const bool empty = maximum == -SN_INFINITY_F32; /* no score is counted */
    const float log2e = 1.4426950408889634f;
    to[r] = empty ? SN_INFINITY_F32 : Use::SCORE == 0 ? (maximum + logarithm) * log2e : maximum;
    to[SN_BACKWARD_ROWS + r] = empty ? 0 : logarithm * log2e;
    to[2 * SN_BACKWARD_ROWS + r] = sum;
}

/* ---- a tile ---- */

/* Scores and dO . V^T become dS and P. */
template <class Use, class Layout, bool KEYS, class Part1, class Part2>
SN_DEVICE void sn_backward_weigh(const Use &use, const SnAttention &p, const SnBackwardPlace &at,
                                 const SnBackwardTile &tile, const float *number, Part1 &one, Part2 &two) {
    const int64_t warp = at.first + threadIdx.x / 32 * 16;
    const float log2e = 1.4426950408889634f, factor = p.scale * log2e;
#pragma unroll
    for (int r = 0; r < Layout::HELD; r++) {
        const int64_t own = warp + Layout::row(r);
        int from = 0, until = own < at.end ? tile.present : 0; /* the columns that count */
        if (Use::CAUSAL && KEYS)
            from = (int)sn_largest_of(sn_least_of(own - p.offset - tile.first, Use::WIDTH), 0);
        if (Use::CAUSAL && !KEYS)
            until = (int)sn_largest_of(sn_least_of(own + p.offset + 1 - tile.first, until), 0);
#pragma unroll
        for (int c = 0; c < Layout::ACROSS; c++) {
            const int column = Layout::column(c), at_score = Layout::score_at(r, c);
            const int row = KEYS ? column : (int)threadIdx.x / 32 * 16 + Layout::row(r);
            float &score = one.score[at_score], &slope = two.score[at_score];
            float weight = 0, bent = 0; /* bent: tanh of the soft cap */
            if constexpr (Use::SCORE == 0) {
                if (column >= from && column < until) weight = sn_exp2_fast(score * factor - number[row]);
            } else if (column >= from && column < until) {
                const int64_t other = tile.first + column;
                if constexpr (Use::CAP != 0) bent = sn_tanh_f32_s(score * p.scale / Use::CAP);
                score = use.score_s(score * p.scale, at.b, KEYS ? tile.head : at.h, KEYS ? other : own,
                                    KEYS ? own : other);
                weight = sn_exp2_fast((score - number[row]) * log2e - number[SN_BACKWARD_ROWS + row]);
            }
            score =
                weight * (slope - number[2 * SN_BACKWARD_ROWS + row]) * (Use::CAP != 0 ? 1 - bent * bent : 1);
            slope = weight;
        }
    }
}

/* Rows of this warp have to do with the tile. */
template <class Use, bool KEYS>
SN_DEVICE bool sn_backward_meets(const SnAttention &p, const SnBackwardPlace &at,
                                 const SnBackwardTile &tile) {
    const int64_t warp = at.first + threadIdx.x / 32 * 16;
    if (warp >= at.end) return false;
    if (!Use::CAUSAL) return true;
    return KEYS ? tile.first + tile.present - 1 + p.offset >= warp : warp + 15 + p.offset >= tile.first;
}

/* ---- a block ---- */

/* A warp's sums, through shared memory, so that neighbouring lanes store neighbouring elements. */
template <class Layout, int SIZE, class Store>
SN_DEVICE void sn_backward_finish(const float *out, float by, int64_t first, int64_t end, Store store) {
    constexpr int LD = Layout::Shape::STAGE_LD;
    const int lane = threadIdx.x % 32;
    const int64_t warp = first + threadIdx.x / 32 * 16;
    float *stage = (float *)sn_shared_memory() + threadIdx.x / 32 * 16 * LD;
#pragma unroll
    for (int r = 0; r < Layout::HELD; r++)
#pragma unroll
        for (int c = 0; c < Layout::BESIDE; c++)
            stage[Layout::row(r) * LD + Layout::out_column(c)] = out[Layout::out_at(r, c)] * by;
    __syncwarp();
    const int rows = (int)sn_least_of(end - warp, 16);
#pragma unroll 1
    for (int r = 0; r < rows; r++)
        for (int d = lane; d < SIZE; d += 32) store(stage[r * LD + d], warp + r, d);
    __syncwarp();
}

/* The sums of a block over all that streams. */
template <class Use, template <class> class Layout, bool KEYS, class Part1, class Part2>
SN_DEVICE void sn_backward_sweep(const Use &use, const SnAttention &p, const SnBackwardPlace &at, Part1 &one,
                                 Part2 &two) {
    typedef SnBackwardShape<Use> Shape;
    typedef SnBackwardSide<Use, KEYS> Side;
    typedef Layout<typename Shape::First> Layout1;
    typedef Layout<typename Shape::Second> Layout2;
    typedef typename Shape::Stored Stored;
    Stored *const own1 = (Stored *)sn_shared_memory(), *const own2 = own1 + Shape::OWN2,
                  *const weights = own1 + Shape::WEIGHTS;
    float *const numbers = (float *)(own1 + Shape::NUMBERS);
    const int64_t head = KEYS ? at.g : at.h, tiles = at.tiles * (KEYS ? p.heads / p.kv_heads : 1);
    const int present = (int)sn_least_of(at.end - at.first, SN_BACKWARD_ROWS);
    const SnAttentionSource source1 = sn_attention_source<Use, typename Side::Own1>(use, at.b, head),
                            source2 = sn_attention_source<Use, typename Side::Own2>(use, at.b, head);
    sn_attention_load<Use, typename Side::Own1>(use, source1, own1, SN_BACKWARD_ROWS, at.b, head, at.first,
                                                present);
    sn_attention_load<Use, typename Side::Own2>(use, source2, own2, SN_BACKWARD_ROWS, at.b, head, at.first,
                                                present);
    if (!KEYS) sn_backward_numbers(use, p, at.b, at.h, at.first, SN_BACKWARD_ROWS, numbers);
    sn_backward_load<Use, KEYS>(use, at, sn_backward_tile<Use, KEYS>(p, at, 0), own1 + Shape::STREAM);
    sn_copy_wait(0);
    sn_attention_round<Use, typename Side::Own1>(source1, own1, SN_BACKWARD_ROWS);
    sn_attention_round<Use, typename Side::Own2>(source2, own2, SN_BACKWARD_ROWS);
    __syncthreads();
    typename Layout1::Kept kept1;
    typename Layout2::Kept kept2;
    Layout1::keep(own1, kept1);
    Layout2::keep(own2, kept2);
#pragma unroll 1
    for (int64_t n = 0; n < tiles; n++) {
        const SnBackwardTile tile = sn_backward_tile<Use, KEYS>(p, at, n);
        Stored *const stage = own1 + Shape::STREAM + n % Use::STAGES * Shape::STAGE;
        float *const number = numbers + (KEYS ? n % 2 * 3 * SN_BACKWARD_ROWS : 0);
        sn_copy_wait(0);
        sn_backward_round<Use, KEYS>(use, stage);
        if (KEYS) sn_backward_numbers(use, p, at.b, tile.head, tile.first, Use::WIDTH, number);
        __syncthreads();
        if (Use::STAGES > 1 && n + 1 < tiles)
            sn_backward_load<Use, KEYS>(use, at, sn_backward_tile<Use, KEYS>(p, at, n + 1),
                                        own1 + Shape::STREAM + (n + 1) % Use::STAGES * Shape::STAGE);
        if (sn_backward_meets<Use, KEYS>(p, at, tile)) {
            Stored *const stage2 = stage + Use::WIDTH * Shape::LD1;
            Layout1::multiply(own1, stage, kept1, one.score);
            Layout2::multiply(own2, stage2, kept2, two.score);
            sn_backward_weigh<Use, Layout1, KEYS>(use, p, at, tile, number, one, two);
            Layout1::gather(weights, stage, one);
            if constexpr (KEYS) {
                __syncwarp(); /* weights of attention_fma.cuh are written anew */
                Layout2::gather(weights, stage2, two);
            }
        }
        if (Use::STAGES > 1) continue;
        __syncthreads();
        if (n + 1 < tiles)
            sn_backward_load<Use, KEYS>(use, at, sn_backward_tile<Use, KEYS>(p, at, n + 1), stage);
    }
}

template <class Use, template <class> class Layout, bool KEYS>
SN_DEVICE void sn_backward_block(const Use &use, const SnAttention &p, SnBackwardPlace &at) {
    typedef Layout<typename SnBackwardShape<Use>::First> Layout1;
    typedef Layout<typename SnBackwardShape<Use>::Second> Layout2;
    SnAttentionPart<Layout1> one;
    SnAttentionPart<Layout2> two;
#pragma unroll
    for (int i = 0; i < Layout1::HELD * Layout1::BESIDE; i++) one.out[i] = 0;
    if constexpr (KEYS)
#pragma unroll
        for (int i = 0; i < Layout2::HELD * Layout2::BESIDE; i++) two.out[i] = 0;
    at.tiles = at.until > at.from ? sn_ceildiv(at.until - at.from, Use::WIDTH) : 0;
    if (at.tiles > 0) sn_backward_sweep<Use, Layout, KEYS>(use, p, at, one, two);
    __syncthreads();
    if constexpr (KEYS && (Use::STORES & 2) != 0)
        sn_backward_finish<Layout1, Use::D>(
            one.out, p.scale, at.first, at.end,
            [&](float x, int64_t j, int d) { use.key_slope_s(x, at.b, at.g, j, d); });
    __syncthreads();
    if constexpr (KEYS && (Use::STORES & 4) != 0)
        sn_backward_finish<Layout2, Use::DV>(two.out, 1, at.first, at.end, [&](float x, int64_t j, int d) {
            use.value_slope_s(x, at.b, at.g, j, d);
        });
    if constexpr (!KEYS)
        sn_backward_finish<Layout1, Use::D>(
            one.out, p.scale, at.first, at.end,
            [&](float x, int64_t i, int d) { use.output_s(x, at.b, at.h, i, d); });
}

/* Blocks of keys come first, and the first keys of a head: under a causal mask those have the most to do. Of queries these are
 * the last ones. */
template <class Use, template <class> class Layout>
SN_DEVICE void sn_backward_run(const Use &use, const SnAttention &p, int64_t block) {
    const int64_t parts = sn_ceildiv(p.columns, SN_BACKWARD_ROWS),
                  keys = Use::STORES & 6 ? p.batch * p.kv_heads * parts : 0;
    SnBackwardPlace at;
    if (Use::STORES & 6 && block < keys) {
        at.b = block / parts / p.kv_heads, at.g = block / parts % p.kv_heads, at.h = 0;
        at.first = block % parts * SN_BACKWARD_ROWS, at.end = p.columns;
        at.from = Use::CAUSAL ? sn_largest_of(at.first - p.offset, 0) : 0, at.until = p.rows;
        sn_backward_block<Use, Layout, true>(use, p, at);
    } else if constexpr ((Use::STORES & 1) != 0) {
        const int64_t blocks = sn_ceildiv(p.rows, SN_BACKWARD_ROWS), head = (block - keys) / blocks;
        at.b = head / p.heads, at.h = head % p.heads, at.g = at.h / (p.heads / p.kv_heads);
        at.first = (blocks - 1 - (block - keys) % blocks) * SN_BACKWARD_ROWS, at.end = p.rows;
        const int64_t last = sn_least_of(at.first + SN_BACKWARD_ROWS, p.rows) - 1;
        at.from = 0, at.until = Use::CAUSAL ? sn_least_of(p.columns, last + p.offset + 1) : p.columns;
        sn_backward_block<Use, Layout, false>(use, p, at);
    }
}

#endif

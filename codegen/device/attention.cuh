/* Attention without its score matrix: O[b][h][i] = softmax over j of (scale · Q[b][h][i] · K[b][g][j]) times V[b][g][j],
 * with g = h / (heads / kv_heads). After prelude.cuh and tensor.cuh; then attention_tensor.cuh or attention_fma.cuh, then
 * attention_few.cuh.
 *
 * Use, the kernel's struct, has the numbers
 *   KIND     what operands are and how they are multiplied: SnAttentionKind
 *   D, DV    head sizes of Q and K, and of V and O
 *   HEIGHT, WIDTH  a block works on 64·HEIGHT rows, WIDTH columns (a multiple of 32) at a time
 *   FORMS, FEW, SHARE  of attention_few.cuh
 *   CAUSAL   1: row i sees the columns j <= i + offset
 *   SCORE    0: no score hole; 1: the hole masks (returns its argument or -infinity); 2: the hole adds
 *   SCALED   1: scores are multiplied by the scale before the hole and the maximum, otherwise in the exponential; it must
 *            be 1 when SCORE is 2 or the scale is not positive
 *   ZERO     1: a row of O whose scores are all -infinity is zero; 0: NaN, as Softmax has it
 *   POINTER  a bit for each of Q, K, V (1, 2, 4): there is an address hole, affine in its arguments, with a step of one
 *            element in d
 *   STATISTICS  1: there is a hole for the logarithm of a row's sum of exponentials
 * and the holes, called for elements that exist only (but see the addresses):
 *   float query_s(b, h, i, d), key_s(b, g, j, d), value_s(b, g, j, d)
 *   const void *query_pointer(b, h, i, d), key_pointer(b, g, j, d), value_pointer(b, g, j, d); where they are not, they may
 *            lie outside, and nothing is read
 *   float score_s(score, b, h, i, j)
 *   void output_s(o, b, h, i, d)
 *   void statistics_s(logarithm, b, h, i)
 *   const void *partial(at), of attention_few.cuh
 *
 * Many rows: a warp has 16·HEIGHT rows, their running maximum, sum and outputs in registers; the block's keys and values
 * go through shared memory, values on their way while scores are computed, the next keys while outputs are. After
 * Milakov and Gimelshein (online softmax, 2018) and Dao (FlashAttention-2, 2023). */
#ifndef SN_DEVICE_ATTENTION_CUH
#define SN_DEVICE_ATTENTION_CUH

enum { SN_ATTENTION_THREADS = 128, SN_ATTENTION_WARPS = 4 };

enum SnAttentionKind {
    SN_ATTENTION_F32,  /* f32, multiplied in f32 */
    SN_ATTENTION_TF32, /* f32, multiplied as TF32 */
    SN_ATTENTION_BF16,
    SN_ATTENTION_F16,
};

struct SnAttention {
    int64_t batch, heads, kv_heads, rows, columns;
    int64_t offset;        /* of a causal mask */
    int64_t chunk, chunks; /* columns of a chunk, and how many chunks there are: attention_few.cuh */
    float scale;
};

/* ---- what operands are in shared memory ---- */

template <int kind> struct SnAttentionElement {
    typedef float Stored;
    SN_DEVICE uint4 pack(const float *x) {
        return make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]),
                          __float_as_uint(x[3]));
    }
    SN_DEVICE void unpack(uint4 piece, float *x) {
        x[0] = __uint_as_float(piece.x), x[1] = __uint_as_float(piece.y);
        x[2] = __uint_as_float(piece.z), x[3] = __uint_as_float(piece.w);
    }
};
template <> struct SnAttentionElement<SN_ATTENTION_BF16> {
    typedef uint16_t Stored;
    SN_DEVICE uint4 pack(const float *x) {
        return make_uint4(sn_pack_bf16(x[0], x[1]), sn_pack_bf16(x[2], x[3]), sn_pack_bf16(x[4], x[5]),
                          sn_pack_bf16(x[6], x[7]));
    }
    SN_DEVICE void unpack(uint4 piece, float *x) {
        const uint32_t word[4] = {piece.x, piece.y, piece.z, piece.w};
        for (int i = 0; i < 4; i++) {
            x[2 * i] = __uint_as_float(word[i] << 16);
            x[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
        }
    }
};
template <> struct SnAttentionElement<SN_ATTENTION_F16> {
    typedef uint16_t Stored;
    SN_DEVICE uint4 pack(const float *x) {
        return make_uint4(sn_pack_f16(x[0], x[1]), sn_pack_f16(x[2], x[3]), sn_pack_f16(x[4], x[5]),
                          sn_pack_f16(x[6], x[7]));
    }
    SN_DEVICE void unpack(uint4 piece, float *x) {
        const uint32_t word[4] = {piece.x, piece.y, piece.z, piece.w};
        for (int i = 0; i < 4; i++) {
            x[2 * i] = sn_from_f16_s((uint16_t)(word[i] & 0xffffu));
            x[2 * i + 1] = sn_from_f16_s((uint16_t)(word[i] >> 16));
        }
    }
};

/* Sizes in elements. Rows of shared memory are a piece longer than what is in them, an odd number of pieces, so that
 * those of eight neighbouring rows lie in different banks. */
template <class Use> struct SnAttentionShape {
    typedef typename SnAttentionElement<Use::KIND>::Stored Stored;
    static constexpr int PIECE = 16 / (int)sizeof(Stored);
    static constexpr int STEP = Use::KIND == SN_ATTENTION_F32 ? 32 : Use::KIND == SN_ATTENTION_TF32 ? 8 : 16;
    static constexpr int DEPTH = (Use::D + 2 * PIECE - 1) / (2 * PIECE) * (2 * PIECE);
    static constexpr int OUT = (Use::DV + STEP - 1) / STEP * STEP;
    static constexpr int ROWS = 64 * Use::HEIGHT, WIDTH = Use::WIDTH;
    static constexpr int QUERY_LD = DEPTH + PIECE, VALUE_LD = OUT + PIECE, WEIGHT_LD = WIDTH + 8,
                         STAGE_LD = OUT + 8;
    /* Of the parts of shared memory. */
    static constexpr int KEYS = ROWS * QUERY_LD, VALUES = KEYS + WIDTH * QUERY_LD,
                         WEIGHTS = VALUES + WIDTH * VALUE_LD;
};

/* ---- operands ---- */

template <class Use> struct SnAttentionQuery {
    static constexpr int SIZE = Use::D, PADDED = SnAttentionShape<Use>::DEPTH;
    static constexpr bool POINTER = (Use::POINTER & 1) != 0;
    SN_DEVICE float element(const Use &use, int64_t b, int64_t h, int64_t i, int64_t d) {
        return use.query_s(b, h, i, d);
    }
    SN_DEVICE const char *pointer(const Use &use, int64_t b, int64_t h, int64_t i, int64_t d) {
        if constexpr (POINTER) return (const char *)use.query_pointer(b, h, i, d);
        return nullptr;
    }
};
template <class Use> struct SnAttentionKey {
    static constexpr int SIZE = Use::D, PADDED = SnAttentionShape<Use>::DEPTH;
    static constexpr bool POINTER = (Use::POINTER & 2) != 0;
    SN_DEVICE float element(const Use &use, int64_t b, int64_t g, int64_t j, int64_t d) {
        return use.key_s(b, g, j, d);
    }
    SN_DEVICE const char *pointer(const Use &use, int64_t b, int64_t g, int64_t j, int64_t d) {
        if constexpr (POINTER) return (const char *)use.key_pointer(b, g, j, d);
        return nullptr;
    }
};
template <class Use> struct SnAttentionValue {
    static constexpr int SIZE = Use::DV, PADDED = SnAttentionShape<Use>::OUT;
    static constexpr bool POINTER = (Use::POINTER & 4) != 0;
    SN_DEVICE float element(const Use &use, int64_t b, int64_t g, int64_t j, int64_t d) {
        return use.value_s(b, g, j, d);
    }
    SN_DEVICE const char *pointer(const Use &use, int64_t b, int64_t g, int64_t j, int64_t d) {
        if constexpr (POINTER) return (const char *)use.value_pointer(b, g, j, d);
        return nullptr;
    }
};

/* The rows of an operand for one b and head: pieces of 16 bytes of them can be read as they are when `aligned`, that is
 * when all addresses of rows are multiples of 16. */
struct SnAttentionSource {
    const char *row; /* 0 */
    int64_t stride;  /* bytes from row to row */
    bool aligned;
};
template <class Use, class Operand>
SN_DEVICE SnAttentionSource sn_attention_source(const Use &use, int64_t b, int64_t h) {
    SnAttentionSource source = {nullptr, 0, false};
    if constexpr (Operand::POINTER) {
        const char *first = Operand::pointer(use, 0, 0, 0, 0);
        source.row = Operand::pointer(use, b, h, 0, 0);
        source.stride = Operand::pointer(use, 0, 0, 1, 0) - first;
        const uint64_t all = (uint64_t)first | (uint64_t)source.stride |
                             (uint64_t)(Operand::pointer(use, 1, 0, 0, 0) - first) |
                             (uint64_t)(Operand::pointer(use, 0, 1, 0, 0) - first);
        source.aligned = all % 16 == 0;
    }
    return source;
}

/* The piece of row i from d on, element by element; zeros past its end. */
template <class Use, class Operand>
SN_DEVICE uint4 sn_attention_piece(const Use &use, int64_t b, int64_t h, int64_t i, int d) {
    constexpr int PIECE = SnAttentionShape<Use>::PIECE;
    float x[PIECE];
#pragma unroll
    for (int k = 0; k < PIECE; k++) x[k] = d + k < Operand::SIZE ? Operand::element(use, b, h, i, d + k) : 0;
    return SnAttentionElement<Use::KIND>::pack(x);
}

/* Four f32 to TF32. */
SN_DEVICE uint4 sn_attention_rounded(uint4 x) {
    return make_uint4(sn_to_tf32(__uint_as_float(x.x)), sn_to_tf32(__uint_as_float(x.y)),
                      sn_to_tf32(__uint_as_float(x.z)), sn_to_tf32(__uint_as_float(x.w)));
}

/* What a thread copies of `rows` rows in shared memory: visit(row, d, the piece's place). */
template <class Use, class Operand, class Visit>
SN_DEVICE void sn_attention_pieces(typename SnAttentionShape<Use>::Stored *to, const int rows, Visit visit) {
    constexpr int PIECE = SnAttentionShape<Use>::PIECE, PIECES = Operand::PADDED / PIECE,
                  LD = Operand::PADDED + PIECE;
    constexpr int ACROSS = PIECES > 64   ? 128
                           : PIECES > 32 ? 64
                           : PIECES > 16 ? 32
                           : PIECES > 8  ? 16
                           : PIECES > 4  ? 8
                                         : 4;
    const int first = threadIdx.x / ACROSS, across = threadIdx.x % ACROSS;
#pragma unroll 4
    for (int r = 0; r < rows; r += SN_ATTENTION_THREADS / ACROSS) /* which divides 32, and that `rows` */
        for (int piece = across; piece < PIECES; piece += ACROSS)
            visit(r + first, piece * PIECE, to + (r + first) * LD + piece * PIECE);
}

/* Rows [first, first + rows) of an operand to shared memory, of which `present` exist; the rest is zero. Pieces come
 * asynchronously when the source is aligned. */
template <class Use, class Operand>
SN_DEVICE void sn_attention_load(const Use &use, const SnAttentionSource &source,
                                 typename SnAttentionShape<Use>::Stored *to, const int rows, int64_t b,
                                 int64_t h, int64_t first, int present) {
    if (Operand::POINTER && source.aligned) {
        const char *from = source.row + first * source.stride;
        sn_attention_pieces<Use, Operand>(to, rows, [&](int r, int d, void *piece) {
            const int left = r < present ? (Operand::SIZE - d) * (int)sizeof(*to) : 0;
            sn_copy_async16(piece, left > 0 ? from + r * source.stride + d * (int)sizeof(*to) : source.row,
                            left > 16  ? 16
                            : left > 0 ? left
                                       : 0);
        });
        return;
    }
    constexpr int PIECE = SnAttentionShape<Use>::PIECE, PIECES = Operand::PADDED / PIECE;
#pragma unroll 1
    for (int at = threadIdx.x; at < rows * PIECES; at += SN_ATTENTION_THREADS) {
        const int r = at / PIECES, d = at % PIECES * PIECE;
        uint4 piece = make_uint4(0, 0, 0, 0);
        if (r < present) piece = sn_attention_piece<Use, Operand>(use, b, h, first + r, d);
        if (Use::KIND == SN_ATTENTION_TF32) piece = sn_attention_rounded(piece);
        *(uint4 *)(to + r * (Operand::PADDED + PIECE) + d) = piece;
    }
}

/* Rounds what sn_attention_load has copied for this thread, once it is there. */
template <class Use, class Operand>
SN_DEVICE void sn_attention_round(const SnAttentionSource &source, typename SnAttentionShape<Use>::Stored *to,
                                  const int rows) {
    if constexpr (Use::KIND == SN_ATTENTION_TF32 && Operand::POINTER)
        if (source.aligned)
            sn_attention_pieces<Use, Operand>(to, rows, [](int, int, void *piece) {
                *(uint4 *)piece = sn_attention_rounded(*(uint4 *)piece);
            });
}

/* ---- softmax, for the rows that this thread has a part of ---- */

/* Layout, of attention_tensor.cuh or attention_fma.cuh: a thread holds HELD rows, ACROSS scores and BESIDE outputs of
 * each, which SHARERS neighbouring lanes share. */
template <class Layout> struct SnAttentionPart {
    float score[Layout::HELD * Layout::ACROSS], out[Layout::HELD * Layout::BESIDE];
    float maximum[Layout::HELD], sum[Layout::HELD]; /* the sum is over this thread's scores */
};

/* By what (scaled, when SCALED) scores are multiplied for exponents of 2. */
template <class Use> SN_DEVICE float sn_attention_factor(const SnAttention &p) {
    return 1.4426950408889634f * (Use::SCALED ? 1 : p.scale);
}

/* What exponents are relative to: a row of nothing but -infinity keeps zeros. */
SN_DEVICE float sn_attention_origin(float maximum, float factor) {
    return maximum == -SN_INFINITY_F32 ? 0 : maximum * factor;
}

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
template <class Layout> SN_DEVICE void sn_attention_weigh(float factor, SnAttentionPart<Layout> &part) {
#pragma unroll
    for (int r = 0; r < Layout::HELD; r++) {
        float maximum = part.maximum[r];
#pragma unroll
        for (int c = 0; c < Layout::ACROSS; c++) maximum = fmaxf(maximum, part.score[Layout::score_at(r, c)]);
#pragma unroll
        for (int lanes = 1; lanes < Layout::SHARERS; lanes *= 2)
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, lanes));
        const float origin = sn_attention_origin(maximum, factor);
        const float fade = sn_exp2_fast(part.maximum[r] * factor - origin);
        float sum = part.sum[r] * fade;
#pragma unroll
        for (int c = 0; c < Layout::ACROSS; c++) {
            float &score = part.score[Layout::score_at(r, c)];
            score = sn_exp2_fast(score * factor - origin);
            sum += score;
        }
#pragma unroll
        for (int c = 0; c < Layout::BESIDE; c++) part.out[Layout::out_at(r, c)] *= fade;
        part.maximum[r] = maximum, part.sum[r] = sum;
    }
}

/* What a row's outputs are multiplied by in the end; the sum of no values is 0. */
template <class Use> SN_DEVICE float sn_attention_inverse(const SnAttention &p, float sum) {
    if (p.columns == 0 || (Use::ZERO && sum == 0)) return 0;
    return 1 / sum;
}
template <class Use>
SN_DEVICE void sn_attention_tell(const Use &use, const SnAttention &p, float maximum, float sum, int64_t b,
                                 int64_t h, int64_t i) {
    if constexpr (Use::STATISTICS)
        use.statistics_s((Use::SCALED ? maximum : maximum * p.scale) + logf(sum), b, h, i);
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
        sn_attention_weigh(factor, part);
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

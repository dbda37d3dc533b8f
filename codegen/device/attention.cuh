/* Attention without its score matrix: O[b][h][i] = softmax over j of (scale · Q[b][h][i] · K[b][g][j]) times V[b][g][j],
 * with g = h / (heads / kv_heads). After prelude.cuh and tensor.cuh; then
 * attention_many.cuh, attention_tensor.cuh or attention_fma.cuh, and attention_few.cuh.
 *
 * Use, the kernel's struct, has the numbers
 *   KIND     what operands are and how they are multiplied: SnAttentionKind
 *   D, DV    head sizes of Q and K, and of V and O
 *   HEIGHT, WIDTH  a block works on 64·HEIGHT rows, WIDTH columns (a multiple of 16) at a time
 *   FORMS, FEW, SHARE  of attention_few.cuh
 *   CAUSAL   1: row i sees the columns j <= i + offset
 *   SCORE    0: no score hole; 1: the hole masks (returns its argument or -infinity); 2: the hole adds, or caps
 *   SCALED   1: scores are multiplied by the scale before the hole and the maximum, otherwise in the exponential; it must
 *            be 1 when SCORE is 2 or the scale is not positive
 *   ZERO     1: a row of O whose scores are all -infinity is zero; 0: NaN, as Softmax has it
 *   POINTER  a bit for each of Q, K, V (1, 2, 4): there is an address hole, affine in its arguments, with a step of one
 *            element in d
 *   PIECES   a bit likewise: all rows of it begin at a multiple of 16 bytes
 *   STATISTICS  1: there is a hole for a row's maximum and the logarithm of its sum of exponentials relative to that
 * and the holes, called for elements that exist only (but see the addresses):
 *   float query_s(b, h, i, d), key_s(b, g, j, d), value_s(b, g, j, d)
 *   const void *query_pointer(b, h, i, d), key_pointer(b, g, j, d), value_pointer(b, g, j, d); where they are not, they may
 *            lie outside, and nothing is read
 *   float score_s(score, b, h, i, j)
 *   void output_s(o, b, h, i, d)
 *   void statistics_s(number, b, h, i, which), the maximum (0) and the logarithm (1)
 *   const void *partial(at), of attention_few.cuh */
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

/* Up to how many steps of the sum over d, times the height, a thread of attention_tensor.cuh keeps its queries. */
template <class Use> struct SnAttentionKeeps { static constexpr int STEPS = 8; };

/* ---- operands ---- */

template <class Use> struct SnAttentionQuery {
    static constexpr int SIZE = Use::D, PADDED = SnAttentionShape<Use>::DEPTH;
    static constexpr bool POINTER = (Use::POINTER & 1) != 0, WHOLE = (Use::PIECES & 1) != 0;
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
    static constexpr bool POINTER = (Use::POINTER & 2) != 0, WHOLE = (Use::PIECES & 2) != 0;
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
    static constexpr bool POINTER = (Use::POINTER & 4) != 0, WHOLE = (Use::PIECES & 4) != 0;
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
        source.aligned = Operand::WHOLE || all % 16 == 0;
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
    constexpr int DOWN = SN_ATTENTION_THREADS / ACROSS;
    const int first = threadIdx.x / ACROSS, across = threadIdx.x % ACROSS;
#pragma unroll 4
    for (int r = 0; r < rows; r += DOWN)
        for (int piece = across; piece < PIECES && (rows % DOWN == 0 || r + first < rows); piece += ACROSS)
            visit(r + first, piece * PIECE, to + (r + first) * LD + piece * PIECE);
}

/* Rows [first, first + rows) of an operand to shared memory, of which `present` exist; the rest is zero: asynchronously
 * by pieces, or element by element. */
template <class Use, class Operand>
SN_DEVICE void sn_attention_copy(const SnAttentionSource &source, typename SnAttentionShape<Use>::Stored *to,
                                 const int rows, int64_t first, int present) {
    const char *from = source.row + first * source.stride;
    sn_attention_pieces<Use, Operand>(to, rows, [&](int r, int d, void *piece) {
        const int left = r < present ? (Operand::SIZE - d) * (int)sizeof(*to) : 0;
        sn_copy_async16(piece, left > 0 ? from + r * source.stride + d * (int)sizeof(*to) : source.row,
                        left > 16  ? 16
                        : left > 0 ? left
                                   : 0);
    });
}
template <class Use, class Operand>
SN_DEVICE void sn_attention_copy_elements(const Use &use, typename SnAttentionShape<Use>::Stored *to,
                                          const int rows, int64_t b, int64_t h, int64_t first, int present) {
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
template <class Use, class Operand>
SN_DEVICE void sn_attention_load(const Use &use, const SnAttentionSource &source,
                                 typename SnAttentionShape<Use>::Stored *to, const int rows, int64_t b,
                                 int64_t h, int64_t first, int present) {
    if constexpr (Operand::WHOLE) {
        sn_attention_copy<Use, Operand>(source, to, rows, first, present);
    } else if constexpr (Operand::POINTER) {
        if (source.aligned)
            sn_attention_copy<Use, Operand>(source, to, rows, first, present);
        else
            sn_attention_copy_elements<Use, Operand>(use, to, rows, b, h, first, present);
    } else {
        sn_attention_copy_elements<Use, Operand>(use, to, rows, b, h, first, present);
    }
}

/* Rounds what sn_attention_load has copied for this thread, once it is there. */
template <class Use, class Operand>
SN_DEVICE void sn_attention_round(const SnAttentionSource &source, typename SnAttentionShape<Use>::Stored *to,
                                  const int rows) {
    if constexpr (Use::KIND == SN_ATTENTION_TF32 && Operand::POINTER)
        if (Operand::WHOLE || source.aligned)
            sn_attention_pieces<Use, Operand>(to, rows, [](int, int, void *piece) {
                *(uint4 *)piece = sn_attention_rounded(*(uint4 *)piece);
            });
}

/* ---- softmax ---- */

/* By what (scaled, when SCALED) scores are multiplied for exponents of 2. */
template <class Use> SN_DEVICE float sn_attention_factor(const SnAttention &p) {
    return 1.4426950408889634f * (Use::SCALED ? 1 : p.scale);
}

/* What exponents are relative to: a row of nothing but -infinity keeps zeros. A score that was added to may be as low
 * as numbers get, and times the factor would be -infinity: there the maximum is taken off first. */
template <class Use> SN_DEVICE float sn_attention_origin(float maximum, float factor) {
    return maximum == -SN_INFINITY_F32 ? 0 : Use::SCALED ? maximum : maximum * factor;
}

/* The weight of a score, or of what was summed up relative to it. */
template <class Use> SN_DEVICE float sn_attention_weight(float score, float factor, float origin) {
    return sn_exp2_fast(Use::SCALED ? (score - origin) * factor : score * factor - origin);
}

/* What was summed up relative to the maximum `before` is multiplied by this when it is to be relative to `maximum`: from
 * their difference, so that it is 1 where there is none. An origin is a product that was rounded, and in the weight of
 * the maximum itself, where the compiler joins product and subtraction, the product is not: of tile after tile with one
 * maximum the first would count more, or less, than the last. */
SN_DEVICE float sn_attention_fade(float before, float maximum, float factor) {
    return sn_exp2_fast((before - (maximum == -SN_INFINITY_F32 ? 0 : maximum)) * factor);
}

/* What a row's outputs are multiplied by in the end; the sum of no values is 0. */
template <class Use> SN_DEVICE float sn_attention_inverse(const SnAttention &p, float sum) {
    if (p.columns == 0 || (Use::ZERO && sum == 0)) return 0;
    return 1 / sum;
}
template <class Use>
SN_DEVICE void sn_attention_tell(const Use &use, const SnAttention &p, float maximum, float sum, int64_t b,
                                 int64_t h, int64_t i) {
    if constexpr (Use::STATISTICS) {
        use.statistics_s(Use::SCALED ? maximum : maximum * p.scale, b, h, i, 0);
        use.statistics_s(logf(sum), b, h, i, 1);
    }
}

#endif

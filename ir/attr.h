/* Attributes: one plain struct per operator, and one field table per struct that import checks, print, parse,
 * hash and equality all share. */
#ifndef SN_ATTR_H
#define SN_ATTR_H

#include "map.h"
#include "type.h"
#include "view.h"

typedef struct AttrNone {
    char unused;
} AttrNone;

/* constant */
typedef struct AttrConstant {
    const Tensor *tensor;
} AttrConstant;

/* dims: an i64 tensor of shape values; a scalar when `scalar`, else of shape [count]. */
typedef struct AttrDims {
    int count;
    const Dim *dim;
    bool scalar;
} AttrDims;

/* iota: element i of a tensor of shape [extent] is start + i·step, in `dtype`. Dims for integers. */
typedef struct AttrIota {
    DType dtype;
    Dim extent, start, step;
} AttrIota;

/* cast: `elidable` casts were put in by autocast and may vanish; a model's own never do. */
typedef struct AttrCast {
    DType to;
    bool elidable;
} AttrCast;

/* view: the output has shape `extent` (rank); output[i0, i1, …] = input[index[0], index[1], …], where each
 * index (source_rank of them) is a Dim over the axes sn_dim_axis(k, extent[k]). Every movement of data that
 * duplicates or drops but never combines elements (reshape, transpose, slice, expand, tile) is one of these.
 */
typedef IndexMap AttrView;

/* concat, gather, softmax, log_softmax, cumsum …: always normalised to 0 <= axis < rank. */
typedef struct AttrAxis {
    int axis;
} AttrAxis;

/* append(cache, x): the cache, with x in its elements at, at + 1 … of `axis`. The result takes the cache's place in
 * memory: a kernel whose result it is stores x and nothing else, so whatever reads the cache beside it must stay
 * below `at`. */
typedef struct AttrAppend {
    int axis;
    Dim at;
} AttrAppend;

/* gather_nd */
typedef struct AttrGatherNd {
    int batch_dims;
} AttrGatherNd;

/* scatter_add(index, x): index [N] of integers, x [N, C] -> [rows, C]: row r is the sum of the rows i of x with
 * index[i] = r, added up in the order of i. A negative index counts from the end, once.
 *
 * places(running): the running count of something in a list, i64 [T], from 0 up in steps of 0 and 1 -> i64 [rows]: the places
 * where it becomes 1, 2 … rows, which is no more than the last count. */
typedef struct AttrScatter {
    Dim rows;
} AttrScatter;

/* top(x): x [R, N] -> i64 [R, columns]: of each row the places of the elements that come first, in order from the least up, or
 * with `largest` from the largest down. Equal ones stand in the order of their places; NaN is the greatest. columns <= N.
 *
 * sift(hits, end): hits [N, N] of bool, end [N] of i64 -> bool [N]: element i stays where no element j < i that stays and has
 * end[j] > i has hits[j, i]. */
typedef struct AttrTop {
    Dim columns;
    bool largest;
} AttrTop;

/* pad: constant padding, `before[k]` and `after[k]` elements (>= 0) on axis k, filled with `value`. */
typedef struct AttrPad {
    int rank;
    const Dim *before;
    const Dim *after;
    double value;
} AttrPad;

/* cumsum */
typedef struct AttrScan {
    int axis;
    bool exclusive, reverse;
} AttrScan;

/* reductions: `axes` sorted, unique, non-negative; reduced axes stay with extent 1. */
typedef struct AttrReduce {
    int count;
    const int64_t *axes;
} AttrReduce;

/* layer_norm, rms_norm: over the axes from `axis` to the last; y = (x - mean)·rsqrt(var + epsilon)·scale +
 * bias */
typedef struct AttrNorm {
    int axis;
    double epsilon;
} AttrNorm;

/* softmax_cross_entropy(x, label, weight?): x [rows…, C], label [rows…] of integers, weight [C]. With p = softmax(x)
 * over the last axis, w = weight or 1 and s = smoothing: the loss of a row [rows…] is
 * −(1 − s)·w[label]·log p[label] − s/C·Σ_c w[c]·log p[c], as PyTorch has it, and 0 where the label is `ignored`. Other
 * labels outside of [0, C) are a fault. Output 1, if there is one: log Σ exp x [rows…], in the accumulator's
 * dtype. */
typedef struct AttrCrossEntropy {
    bool ignores;
    int64_t ignored;
    double smoothing;
} AttrCrossEntropy;

/* gelu: x·Φ(x), exact (erf) or the tanh approximation 0.5x(1 + tanh(√(2/π)(x + 0.044715x³))) */
typedef struct AttrGelu {
    bool tanh;
} AttrGelu;

/* silu: x·sigmoid(alpha·x) */
typedef struct AttrAlpha {
    double alpha;
} AttrAlpha;

/* random(seed, run, index), all i64: sn_random_word of number.h in stream run·2^20 + number, as u32. Kernels get the number
 * when they are launched: those of equal layers are one. */
typedef struct AttrRandom {
    int64_t number; /* below 2^20 */
} AttrRandom;

/* dropout(x, state?): each element is 0 with probability `ratio` (below 1) and x/(1 − ratio) otherwise. state is i64
 * [2]: a seed, and the number of the run. Element i is dropped where sn_random_word(seed, run·2^20 + number, i) <
 * ratio·2^32, rounded and below 2^32; with a negative run none is. Without a state this is x itself, unless it is
 * `always`: then it means nothing. Output 1, if there is one: bool, what was kept. `always` and `never`: the model
 * says that it drops, or that it does not, whoever runs it; see passes/dropout.c for `number`. */
typedef struct AttrDropout {
    double ratio;
    int64_t number; /* of the node among those that drop, from 1; 0: it does not */
    bool always, never;
} AttrDropout;

enum { SN_DROPOUT_NODES = 1 << 20 }; /* `number` is below */

/* trilu: keeps j <= i + k (lower) or j >= i + k (upper) of the last two axes, zero elsewhere. */
typedef struct AttrTrilu {
    bool upper;
    Dim k;
} AttrTrilu;

/* rotary(x, cos, sin): x [..., D], cos and sin broadcastable to [..., R/2] with R = 2·(last extent of cos) <=
 * D. Not interleaved: pairs (x[i], x[i + R/2]); interleaved: (x[2i], x[2i+1]); each pair (a, b) becomes
 * (a·cos − b·sin, b·cos + a·sin). Elements from R on pass unchanged. */
typedef struct AttrRotary {
    bool interleaved;
} AttrRotary;

/* attention(q, k, v, bias?, state?): q [B, H, S, D], k [B, G, T, D], v [B, G, T, E], H a multiple of G (query head h
 * reads key head h / (H/G)); bias broadcastable to [B, H, S, T], added to the scaled scores (a bool bias
 * keeps where true, −inf elsewhere). out [B, H, S, E] = softmax_T(scale·q·kᵀ + bias)·v; when `causal`, score
 * (i, j) counts only if j <= i + offset. `zero_rows`: a row with every score −inf gives 0 instead of NaN. With a
 * `softcap` c > 0 the scaled product x is c·tanh(x / c) before bias and masks.
 * With a `number` the weights that the softmax gives are dropped as dropout(weights, state) drops them, with that number
 * and the ratio `dropout`.
 * Output 1, if there is one: of each row of scores the maximum m, and log Σ_T exp(score − m), [B, H, S, 2] in the
 * accumulator's dtype; −∞ both where all scores are. As one number the logarithm would be lost beside a maximum as
 * low as masks have it. */
typedef struct AttrAttention {
    double scale;
    bool causal;
    Dim offset; /* NULL unless causal */
    bool zero_rows;
    double softcap; /* 0: none */
    double dropout; /* below 1 */
    int64_t number; /* 0: nothing is dropped */
} AttrAttention;

/* attention_backward(q, k, v, dy, statistic, sums, bias?, state?), with attention's attributes: the gradients of q, k and v, in
 * their types, for dy [B, H, S, E], that of attention's output o; statistic is its output 1, and sums [B, H, S, 1] are
 * Σ_E dy·o, in the accumulator's dtype. With p = exp(score − m − log Σ), 0 in a row whose m is −∞, and
 * ds = p∘(dy·vᵀ − sums), with a soft cap times 1 − tanh², and with what is dropped dy·vᵀ and
 * p as dropout has them, but for p in ds: dq = scale·ds·k, dk = scale·dsᵀ·q, dv = pᵀ·dy, the last two
 * summed over the query heads of a key head. After Dao et al., "FlashAttention" (2022). */

/* The widest heads of the tiled kernels: of that width, a work item takes 1.5 MB of the stack, and of gradients up to 2 MB;
 * on a GPU these are kept in registers. */
enum {
    SN_ATTENTION_WIDEST = 2048,
    SN_ATTENTION_BACKWARD_WIDEST = 512,
    SN_ATTENTION_BACKWARD_WIDEST_CUDA = 128
};

/* contract(a, b): a [batch…, M, K], b [batch…, K, N] -> [batch…, M, N], batch extents equal. When `packed`, b is what
 * pack made, [batch…, ceildiv(N, P), K, P] with columns past N zero, and `columns` is N. A packed b may come with
 * factors, packed too, [batch…, ceildiv(N, P), ceildiv(K, block), P]: one for each column and each `block` rows of b
 * (0 where there are none); with `halves` each byte of b then holds two rows as four bits from -8 on, the first one's
 * in its lower half, and is packed in groups of four, so that K and blocks are multiples of 8. Where a is u8 and a
 * packed b is i8, the result is i32, and `group` rows of b lie side by side, as pack has them. */
typedef struct AttrContract {
    bool packed;
    Dim columns; /* NULL unless packed */
    int64_t block;
    bool halves;
    int64_t group; /* 0: rows lie one behind the other */
} AttrContract;

/* pack(b): b [batch…, K, N] -> [batch…, ceildiv(N, P), K, P], P = panel: the layout a CPU contraction
 * streams; or with a group G -> [batch…, ceildiv(N, P), ceildiv(K, G), P, G], where rows past K are zero. */
typedef struct AttrPack {
    int64_t panel;
    int64_t group; /* 0: none */
} AttrPack;

/* cluster: a region that becomes one kernel. */
typedef enum ClusterKind {
    SN_CLUSTER_MAP,      /* no anchor: loads, pointwise, gathers, concat, stores */
    SN_CLUSTER_REDUCE,   /* one or more reductions over the same axes of the same shape, in dependent order */
    SN_CLUSTER_CONTRACT, /* one contract: views on a and b, then an epilogue */
    SN_CLUSTER_ATTENTION, /* one attention: views on q, k, v; a bias expression; views behind */
    SN_CLUSTER_SCAN,      /* one cumsum with maps around */
    SN_CLUSTER_PACK,      /* one pack: views and maps before it */
    SN_CLUSTER_SCATTER,   /* one scatter_add, places, top or sift: views and maps on its operands */
    SN_CLUSTER_RECURRENT, /* one recurrent: views and maps on its operands */
    SN_CLUSTER_KIND_COUNT
} ClusterKind;

typedef struct AttrCluster {
    ClusterKind kind;
} AttrCluster;

const char *sn_cluster_kind_name(ClusterKind kind);

/* ---- field tables ---- */

typedef enum FieldKind {
    SN_FIELD_INT,   /* int */
    SN_FIELD_INT64, /* int64_t */
    SN_FIELD_FLOAT, /* double */
    SN_FIELD_BOOL,
    SN_FIELD_DTYPE,
    SN_FIELD_DIM,     /* Dim; NULL only where the field is optional */
    SN_FIELD_DIMS,    /* const Dim *, its count in the int field at count_offset */
    SN_FIELD_INDEX,   /* DIMS over the axes sn_dim_axis(k, extent[k]) of the DIMS field before it */
    SN_FIELD_INT64S,  /* const int64_t *, likewise */
    SN_FIELD_TENSOR,  /* const Tensor * */
    SN_FIELD_CLUSTER, /* ClusterKind */
} FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
    size_t offset;
    size_t count_offset; /* of the int that counts a DIMS, INDEX or INT64S */
    bool optional;       /* false or NULL is its default: then it is not printed, and it may be left out */
} Field;

typedef struct AttrInfo {
    const char *name;
    size_t size;
    int field_count;
    const Field *field;
} AttrInfo;

/* One per struct above, named by the attribute column of ops.def: sn_attr_none, sn_attr_view … (attr.c). */
extern const AttrInfo sn_attr_none, sn_attr_constant, sn_attr_dims, sn_attr_iota, sn_attr_cast, sn_attr_view,
    sn_attr_axis, sn_attr_append, sn_attr_gather_nd, sn_attr_scatter, sn_attr_top, sn_attr_recurrent,
    sn_attr_pad, sn_attr_scan, sn_attr_reduce, sn_attr_norm, sn_attr_cross_entropy, sn_attr_gelu,
    sn_attr_alpha, sn_attr_trilu, sn_attr_rotary, sn_attr_attention, sn_attr_random, sn_attr_dropout,
    sn_attr_contract, sn_attr_pack, sn_attr_cluster;

bool sn_attr_equal(const AttrInfo *info, const void *a, const void *b);

/* A copy of the struct and its arrays in `arena`; tensors are shared. With `dims` not NULL every Dim is
 * carried over into that table, otherwise they are kept. */
void *sn_attr_copy(Arena *arena, Dims *dims, const AttrInfo *info, const void *attr);

/* SN_INVALID when a field holds what its kind does not allow (a missing Dim or tensor, a negative count, an
 * enumerator out of range): nothing that reads an attribute need check this again. */
Status sn_attr_check(const AttrInfo *info, const void *attr);

/* Calls `visit` for every Dim of the attributes. */
void sn_attr_each_dim(const AttrInfo *info, const void *attr, void (*visit)(void *user, Dim dim), void *user);

/* The address of a field, and the count of a DIMS, INDEX or INT64S one. */
static inline const void *sn_attr_at(const Field *field, const void *attr) {
    return (const char *)attr + field->offset;
}
static inline int sn_attr_count(const Field *field, const void *attr) {
    return *(const int *)(const void *)((const char *)attr + field->count_offset);
}

/* Tensors of at most 4 KiB hash and compare by content, larger ones by identity of their payload. */
Hash sn_attr_hash(const AttrInfo *info, const void *attr, Hash seed);

#endif

/* Steps that write composites: as one operator, and as exporters spell them out, with mistakes now and then
 * that make the spelling mean something else. */
#ifndef SN_RANDOM_FORMS_H
#define SN_RANDOM_FORMS_H

#include "random_graph.h"

static inline Value *reduce_axis(Maker *m, OpCode op, Value *x, int64_t axis) {
    return sn_build1(&m->b, op, &(AttrReduce){1, &axis}, x);
}

static inline void form_softmax(Maker *m) {
    Item x;
    if (!draw(m, sn_dtype_is_float, 1, &x)) return;
    int axis = pick(m, x.value->type.rank), other = chance(m, 15) ? 0 : axis;
    Value *top = reduce_axis(m, SN_OP_REDUCE_MAX, x.value, axis);
    Value *e = apply1(m, SN_OP_EXP, apply2(m, SN_OP_SUB, x.value, top));
    keep(m, apply2(m, SN_OP_DIV, e, reduce_axis(m, SN_OP_REDUCE_SUM, e, other)), 2, false);
}

static inline void form_norm(Maker *m) {
    Item x;
    if (m->special || !draw(m, sn_dtype_is_float, 1, &x)) return;
    Type type = x.value->type;
    int64_t axis = chance(m, 85) ? type.rank - 1 : 0;
    Value *v = x.value, *centred = v;
    if (chance(m, 60)) centred = apply2(m, SN_OP_SUB, v, reduce_axis(m, SN_OP_REDUCE_MEAN, v, axis));
    Value *square = chance(m, 50) ? apply2(m, SN_OP_MUL, centred, centred)
                                  : apply2(m, SN_OP_POW, centred, scalar(m, v, 2));
    Value *mean = reduce_axis(m, SN_OP_REDUCE_MEAN, square, axis);
    Value *root = apply1(m, SN_OP_SQRT, either(m, SN_OP_ADD, mean, scalar(m, v, 0.125)));
    Value *n = chance(m, 50) ? apply2(m, SN_OP_DIV, centred, root)
                             : either(m, SN_OP_MUL, centred, apply2(m, SN_OP_DIV, scalar(m, v, 1), root));
    Type part = {type.dtype, 1, type.dim + type.rank - 1};
    if (chance(m, 15)) part = type;
    Value *y = either(m, SN_OP_MUL, n, fresh(m, part));
    if (chance(m, 60)) y = either(m, SN_OP_ADD, y, fresh(m, part));
    keep(m, y, 200, false);
}

static inline Value *form_gelu_erf(Maker *m, Value *x) {
    Value *inner = chance(m, 50) ? apply2(m, SN_OP_DIV, x, scalar(m, x, sqrt(2)))
                                 : either(m, SN_OP_MUL, x, scalar(m, x, chance(m, 90) ? sqrt(0.5) : 0.7));
    Value *gate = either(m, SN_OP_ADD, apply1(m, SN_OP_ERF, inner), scalar(m, x, 1));
    Value *half = scalar(m, x, 0.5);
    if (chance(m, 30)) return either(m, SN_OP_MUL, either(m, SN_OP_MUL, x, gate), half);
    if (chance(m, 50)) return either(m, SN_OP_MUL, either(m, SN_OP_MUL, x, half), gate);
    return either(m, SN_OP_MUL, x, either(m, SN_OP_MUL, half, gate));
}

static inline Value *form_gelu_tanh(Maker *m, Value *x) {
    Value *cube = chance(m, 50) ? apply2(m, SN_OP_POW, x, scalar(m, x, 3))
                                : apply2(m, SN_OP_MUL, apply2(m, SN_OP_MUL, x, x), x);
    Value *sum = either(m, SN_OP_ADD, x, either(m, SN_OP_MUL, cube, scalar(m, x, 0.044715)));
    Value *inner = either(m, SN_OP_MUL, sum, scalar(m, x, sqrt(2 / acos(-1))));
    Value *gate = either(m, SN_OP_ADD, apply1(m, SN_OP_TANH, inner), scalar(m, x, 1));
    return either(m, SN_OP_MUL, either(m, SN_OP_MUL, x, scalar(m, x, 0.5)), gate);
}

static inline void form_activation(Maker *m) {
    Item x;
    if (!draw(m, sn_dtype_is_float, 0, &x)) return;
    Value *v = x.value, *y = NULL;
    int kind = pick(m, 3);
    if (kind == 0) y = form_gelu_erf(m, v);
    if (kind == 1) y = form_gelu_tanh(m, v);
    if (kind == 2) {
        Value *inner = chance(m, 60) ? v : either(m, SN_OP_MUL, v, scalar(m, v, 1.5));
        y = either(m, SN_OP_MUL, v, apply1(m, SN_OP_SIGMOID, inner));
    }
    keep(m, y, x.bound + 1, false);
}

/* ---- rotary positions ---- */

static inline Value *last_slice(Maker *m, Value *x, int64_t start, int64_t count) {
    return sn_build_slice(&m->b, x, x->type.rank - 1, number(m, start), number(m, count), 1);
}

static inline Value *twice(Maker *m, Value *a, Value *b) {
    AttrAxis axis = {a->type.rank - 1};
    return sn_build2(&m->b, SN_OP_CONCAT, &axis, a, b);
}

/* Angles of the shape of x but for the last axis, `width`; some axes are 1, or left out. */
static inline Value *angles(Maker *m, Type type, int64_t width) {
    Dim *dim = SN_ARRAY(m->arena, Dim, type.rank);
    for (int i = 0; i < type.rank; i++) dim[i] = chance(m, 30) ? number(m, 1) : type.dim[i];
    dim[type.rank - 1] = number(m, width);
    int dropped = pick(m, type.rank);
    return fresh(m, (Type){type.dtype, type.rank - dropped, dim + dropped});
}

static inline bool even_rows(Maker *m, Item *x, int64_t *width) {
    for (int i = 0; i < 4; i++)
        if (draw(m, sn_dtype_is_float, 1, x) &&
            sn_dim_is(x->value->type.dim[x->value->type.rank - 1], width) && *width % 2 == 0 && *width > 0)
            return true;
    return false;
}

static inline void step_rotary(Maker *m) {
    Item x;
    int64_t width;
    if (!even_rows(m, &x, &width)) return;
    int64_t half = width >= 4 && chance(m, 30) ? width / 4 : width / 2;
    AttrRotary attr = {chance(m, 40)};
    Value *y = sn_build3(&m->b, SN_OP_ROTARY, &attr, x.value, angles(m, x.value->type, half),
                         angles(m, x.value->type, half));
    keep(m, y, 16 * x.bound, false);
}

static inline void form_rotary(Maker *m) {
    Item x;
    int64_t width;
    if (!even_rows(m, &x, &width)) return;
    Value *v = x.value, *table[2];
    for (int i = 0; i < 2; i++) {
        Value *half = angles(m, v->type, width / 2);
        table[i] = chance(m, 15) ? angles(m, v->type, width) : twice(m, half, half);
        if (chance(m, 30)) table[i] = apply1(m, i ? SN_OP_SIN : SN_OP_COS, table[i]);
        if (chance(m, 10)) /* the start of a longer table, whose halves are not the halves of this */
            table[i] = last_slice(m, twice(m, table[i], table[i]), 0, width);
    }
    Value *low = last_slice(m, v, 0, width / 2), *high = last_slice(m, v, width / 2, width / 2);
    if (chance(m, 10)) low = high;
    Value *turned = twice(m, apply1(m, SN_OP_NEG, high), low);
    Value *y =
        either(m, SN_OP_ADD, either(m, SN_OP_MUL, v, table[0]), either(m, SN_OP_MUL, turned, table[1]));
    keep(m, y, 16 * x.bound, false);
}

/* ---- attention ---- */

typedef struct Heads {
    Dim b, h, g, s, t, d, e;
    int rank;
    DType dtype;
} Heads;

static inline Heads random_heads(Maker *m) {
    static const int widths[] = {1, 4, 5, 8};
    Heads a = {.rank = 4, .dtype = m->dtype};
    a.b = random_extent(m), a.g = number(m, 1 + pick(m, 2));
    a.h = number(m, a.g->value * (1 + pick(m, 2)));
    a.s = random_extent(m), a.t = chance(m, 50) ? a.s : random_extent(m);
    a.d = number(m, widths[pick(m, 4)]), a.e = chance(m, 70) ? a.d : number(m, 3);
    return a;
}

/* [b, heads, rows, width], sometimes seen through the transpose of [b, rows, heads · width]. */
static inline Value *heads_of(Maker *m, Heads a, Dim heads, Dim rows, Dim width) {
    Dim *direct = SN_ARRAY(m->arena, Dim, 4), *split = SN_ARRAY(m->arena, Dim, 4),
        *flat = SN_ARRAY(m->arena, Dim, 3);
    memcpy(direct, (Dim[]){a.b, heads, rows, width}, 4 * sizeof(Dim));
    memcpy(split, (Dim[]){a.b, rows, heads, width}, 4 * sizeof(Dim));
    memcpy(flat, (Dim[]){a.b, rows, sn_dim_mul(m->graph->dims, heads, width)}, 3 * sizeof(Dim));
    if (chance(m, 40)) return fresh(m, (Type){a.dtype, 4, direct});
    Value *x = sn_build_reshape(&m->b, fresh(m, (Type){a.dtype, 3, flat}), 4, split);
    return sn_build_transpose(&m->b, x, (int[]){0, 2, 1, 3});
}

static inline Type mask_type(Maker *m, Heads a, DType dtype) {
    Dim *dim = SN_ARRAY(m->arena, Dim, 4);
    memcpy(dim, (Dim[]){a.b, a.h, a.s, a.t}, 4 * sizeof(Dim));
    int first = pick(m, 3);
    for (int i = 0; i < 3; i++)
        if (chance(m, 40)) dim[i] = number(m, 1);
    return (Type){dtype, 4 - first, dim + first};
}

static inline void step_attention(Maker *m) {
    Heads a = random_heads(m);
    AttrAttention attr = {0.5, chance(m, 40), NULL, chance(m, 30), chance(m, 30) ? 1.5 : 0, 0, 0};
    if (attr.causal) attr.offset = number(m, chance(m, 80) ? pick(m, 3) : -1);
    if (attr.causal && chance(m, 30)) attr.offset = sn_dim_sub(m->graph->dims, a.t, a.s);
    Value *input[4] = {heads_of(m, a, a.h, a.s, a.d), heads_of(m, a, a.g, a.t, a.d),
                       heads_of(m, a, a.g, a.t, a.e), NULL};
    if (chance(m, 50)) input[3] = fresh(m, mask_type(m, a, chance(m, 50) ? SN_BOOL : a.dtype));
    keep(m, sn_build(&m->b, SN_OP_ATTENTION, &attr, 4, input), 8, false);
}

static inline Value *row_index(Maker *m, Dim extent, bool column) {
    Value *index =
        sn_build(&m->b, SN_OP_IOTA, &(AttrIota){SN_I64, extent, number(m, 0), number(m, 1)}, 0, NULL);
    Dim dim[2] = {extent, number(m, 1)};
    return column ? index : sn_build_reshape(&m->b, index, 2, dim);
}

/* A condition that lets a score through: causal in some spelling, on columns alone, or of any kind. */
static inline Value *condition(Maker *m, Heads a) {
    int kind = pick(m, 5);
    if (kind == 0) return fresh(m, mask_type(m, a, SN_BOOL));
    Value *row = row_index(m, a.s, false), *column = row_index(m, a.t, true);
    if (kind == 1)
        row = chance(m, 50) ? sn_build_dims(&m->b, 1, &a.b, true) : sn_build_scalar(&m->b, SN_I64, 2);
    if (kind == 1) column = sn_build_reshape(&m->b, column, 2, (Dim[]){number(m, 1), a.t});
    if (kind == 2) row = apply2(m, SN_OP_ADD, row, sn_build_scalar(&m->b, SN_I64, 1));
    if (kind == 2) return apply2(m, SN_OP_LESS, column, row);
    if (kind == 3) return apply1(m, SN_OP_NOT, apply2(m, SN_OP_LESS, row, column));
    return chance(m, 90) ? apply2(m, SN_OP_LESS_EQUAL, column, row)
                         : apply2(m, SN_OP_LESS_EQUAL, row, column);
}

static inline Value *bias_of(Maker *m, Heads a, double fill) {
    if (chance(m, 25)) return fresh(m, mask_type(m, a, a.dtype));
    Value *keep_score = condition(m, a);
    if (chance(m, 8)) return sn_build_cast(&m->b, keep_score, a.dtype);
    Value *zero = sn_build_scalar(&m->b, a.dtype, 0), *low = sn_build_scalar(&m->b, a.dtype, fill);
    return sn_build3(&m->b, SN_OP_WHERE, NULL, keep_score, zero, low);
}

/* One thing that stands between the product and the softmax. */
static inline Value *score_step(Maker *m, Heads a, Value *scores) {
    /* Where a row is masked as a whole its scores show, so they must survive the fill's rounding. */
    double fill = a.dtype == SN_F64 && chance(m, 50) ? -1e4 : -1e30;
    if (a.dtype == SN_F16 || chance(m, 30)) fill = -INFINITY;
    int kind = pick(m, 4);
    if (kind == 0) return either(m, SN_OP_MUL, scores, scalar(m, scores, 0.5));
    if (kind == 1) return apply2(m, SN_OP_DIV, scores, scalar(m, scores, 3));
    if (kind == 2) return either(m, SN_OP_ADD, scores, bias_of(m, a, fill));
    Value *low = scalar(m, scores, fill), *let = condition(m, a);
    if (chance(m, 20)) return sn_build3(&m->b, SN_OP_WHERE, NULL, apply1(m, SN_OP_NOT, let), low, scores);
    return sn_build3(&m->b, SN_OP_WHERE, NULL, let, scores, low);
}

/* Key and value heads as they are, or each of g heads repeated. */
static inline Value *repeated(Maker *m, Heads a, Value *v) {
    if (a.g == a.h) return v;
    int64_t repeat = a.h->value / a.g->value;
    Dim four[4] = {v->type.dim[0], a.h, v->type.dim[2], v->type.dim[3]};
    Dim one[5] = {four[0], a.g, number(m, 1), four[2], four[3]},
        many[5] = {four[0], a.g, number(m, repeat), four[2], four[3]};
    if (chance(m, 20))
        one[1] = number(m, 1), one[2] = many[1] = a.g, many[1] = number(m, repeat), many[2] = a.g;
    v = sn_build_expand(&m->b, sn_build_reshape(&m->b, v, 5, one), 5, many);
    return sn_build_reshape(&m->b, v, 4, four);
}

/* [1, H, S, D], or [B·H, S, D] as torch.bmm has it, where the graph is of rank 3. */
static inline Value *maybe_flat(Maker *m, Heads a, Value *v) {
    if (a.rank == 4) return v;
    Dim three[3] = {sn_dim_mul(m->graph->dims, v->type.dim[0], v->type.dim[1]), v->type.dim[2],
                    v->type.dim[3]};
    return sn_build_reshape(&m->b, v, 3, three);
}

static inline void form_attention(Maker *m) {
    Heads a = random_heads(m);
    if (m->special) return; /* masks as a bias let infinite scores and NaN through */
    if (chance(m, 20)) a.rank = 3;
    Value *q = maybe_flat(m, a, heads_of(m, a, a.h, a.s, a.d));
    Value *k = maybe_flat(m, a, repeated(m, a, heads_of(m, a, a.g, a.t, a.d)));
    Value *v = maybe_flat(m, a, repeated(m, a, heads_of(m, a, a.g, a.t, a.e)));
    if (a.rank == 3) a.h = sn_dim_mul(m->graph->dims, a.b, a.h), a.b = number(m, 1);
    if (chance(m, 30)) q = either(m, SN_OP_MUL, q, scalar(m, q, 0.7));
    static const int swap[2][4] = {{0, 2, 1}, {0, 1, 3, 2}};
    k = sn_build_transpose(&m->b, k, swap[a.rank - 3]);
    if (chance(m, 20)) k = apply2(m, SN_OP_MUL, k, scalar(m, k, 0.7));
    Value *scores = apply2(m, SN_OP_MATMUL, q, k);
    int rank = scores->type.rank;
    for (int i = 0, count = pick(m, 4); i < count; i++) scores = score_step(m, a, scores);
    Value *p = sn_build1(&m->b, SN_OP_SOFTMAX, &(AttrAxis){scores->type.rank - 1}, scores);
    if (chance(m, 20)) p = sn_build3(&m->b, SN_OP_WHERE, NULL, apply1(m, SN_OP_ISNAN, p), scalar(m, p, 0), p);
    if (scores->type.rank != rank) return; /* a mask of rank 4 on scores of rank 3 */
    if (chance(m, 10)) keep(m, p, 1, false);
    keep(m, apply2(m, SN_OP_MATMUL, p, v), 8, false);
}

#endif

/* Reductions, scans, and what normalises rows. Statistics of norms are computed again: the row is read anyway. */
#include "gradients.h"

static Value *widened(Builder *b, Value *x) {
    return sn_build_cast(b, x, accumulator_dtype(x->type.dtype));
}

/* ---- reductions ---- */

static Value *spread(Builder *b, Value *value, Type type) {
    return value ? sn_build_expand(b, value, type.rank, type.dim) : NULL;
}

void sn_gradient_reduce_sum(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, spread(&g->b, dy, node->input[0]->type));
}

/* Elements that equal the extremum share alike. */
static void give_extremum(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *x = widened(b, node->input[0]);
    Value *chosen = op2(b, SN_OP_EQUAL, node->input[0], node->output[0]);
    if (!chosen) return;
    Value *one = sn_build_cast(b, chosen, x->type.dtype);
    Value *count = sn_build1(b, SN_OP_REDUCE_SUM, node->attr, one);
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, one, op2(b, SN_OP_DIV, widened(b, dy), count)));
}

void sn_gradient_reduce_max(Grad *g, Node *node, Value *dy) {
    give_extremum(g, node, dy);
}

void sn_gradient_reduce_min(Grad *g, Node *node, Value *dy) {
    give_extremum(g, node, dy);
}

/* The product of all other elements. With p the product of those that are not 0: p / x where none is 0; p at the
 * only one that is 0; 0 elsewhere. */
void sn_gradient_reduce_prod(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *x = widened(b, node->input[0]);
    if (!x) return;
    Value *zero = sn_build_scalar(b, x->type.dtype, 0), *one = sn_build_scalar(b, x->type.dtype, 1);
    Value *is_zero = op2(b, SN_OP_EQUAL, x, zero);
    Value *other = sn_build3(b, SN_OP_WHERE, NULL, is_zero, one, x);
    Value *p = sn_build1(b, SN_OP_REDUCE_PROD, node->attr, other);
    Value *mark = sn_build3(b, SN_OP_WHERE, NULL, is_zero, one, zero);
    Value *zeros = sn_build1(b, SN_OP_REDUCE_SUM, node->attr, mark);
    Value *only = op2(b, SN_OP_AND, is_zero, op2(b, SN_OP_EQUAL, zeros, one));
    Value *rest = sn_build3(b, SN_OP_WHERE, NULL, only, p, zero);
    Value *none = op2(b, SN_OP_EQUAL, zeros, zero);
    Value *slope = sn_build3(b, SN_OP_WHERE, NULL, none, op2(b, SN_OP_DIV, p, other), rest);
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, widened(b, dy), slope));
}

/* What an element was added to are the sums behind it: the scan the other way round. */
void sn_gradient_cumsum(Grad *g, Node *node, Value *dy) {
    AttrScan attr = *(const AttrScan *)node->attr;
    attr.reverse = !attr.reverse;
    sn_gradient_give(g, node, 0, sn_build1(&g->b, SN_OP_CUMSUM, &attr, dy));
}

/* ---- softmax ---- */

/* y·(dy − Σ y·dy) */
void sn_gradient_softmax(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    int axis = ((const AttrAxis *)node->attr)->axis;
    Value *y = widened(b, node->output[0]), *wide = widened(b, dy);
    Value *sum = sn_gradient_sum(b, op2(b, SN_OP_MUL, y, wide), axis, axis + 1);
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, y, op2(b, SN_OP_SUB, wide, sum)));
}

/* dy − exp(y)·Σ dy */
void sn_gradient_log_softmax(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    int axis = ((const AttrAxis *)node->attr)->axis;
    Value *p = op1(b, SN_OP_EXP, widened(b, node->output[0])), *wide = widened(b, dy);
    Value *sum = sn_gradient_sum(b, wide, axis, axis + 1);
    sn_gradient_give(g, node, 0, op2(b, SN_OP_SUB, wide, op2(b, SN_OP_MUL, p, sum)));
}

/* ---- norms ---- */

static Value *row_mean(Builder *b, Value *x, const AttrNorm *attr) {
    if (!x) return NULL;
    int count = x->type.rank - attr->axis;
    int64_t *axes = SN_ARRAY(b->graph->arena, int64_t, count);
    for (int i = 0; i < count; i++) axes[i] = attr->axis + i;
    return sn_build1(b, SN_OP_REDUCE_MEAN, &(AttrReduce){count, axes}, x);
}

/* With x̂ the normalised row, r = 1/√(variance + ε) and s = dy·scale: dx = r·(s − mean s − x̂·mean(s·x̂)), without
 * mean s where no mean was subtracted. The scale gets dy·x̂ and the bias dy, summed over the rows. */
static void norm_gradient(Grad *g, Node *node, Value *dy, bool centred) {
    Builder *b = &g->b;
    const AttrNorm *attr = node->attr;
    Value *x = widened(b, node->input[0]), *wide = widened(b, dy);
    if (centred) x = op2(b, SN_OP_SUB, x, row_mean(b, x, attr));
    Value *variance = row_mean(b, op2(b, SN_OP_MUL, x, x), attr);
    Value *r = op1(b, SN_OP_RSQRT, op_scalar(b, SN_OP_ADD, variance, attr->epsilon));
    Value *unit = op2(b, SN_OP_MUL, x, r);
    if (sn_gradient_wanted(g, node, 0)) {
        Value *s = op2(b, SN_OP_MUL, wide, widened(b, node->input[1]));
        Value *along = op2(b, SN_OP_MUL, unit, row_mean(b, op2(b, SN_OP_MUL, s, unit), attr));
        Value *rest = centred ? op2(b, SN_OP_SUB, s, row_mean(b, s, attr)) : s;
        sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, r, op2(b, SN_OP_SUB, rest, along)));
    }
    if (sn_gradient_wanted(g, node, 1)) sn_gradient_give(g, node, 1, op2(b, SN_OP_MUL, wide, unit));
    if (node->input_count > 2) sn_gradient_give(g, node, 2, wide);
}

void sn_gradient_layer_norm(Grad *g, Node *node, Value *dy) {
    norm_gradient(g, node, dy, true);
}

void sn_gradient_rms_norm(Grad *g, Node *node, Value *dy) {
    norm_gradient(g, node, dy, false);
}

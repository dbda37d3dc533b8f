/* Losses. */
#include "gradients.h"

static Value *on_row(Builder *b, Value *v) {
    if (!v) return NULL;
    Dim extent[SN_MAX_RANK + 1];
    for (int i = 0; i < v->type.rank; i++) extent[i] = v->type.dim[i];
    extent[v->type.rank] = sn_dim(b->graph->dims, 1);
    return sn_build_reshape(b, v, v->type.rank + 1, extent);
}

/* 1 for the row's label, 0 for other classes, as a condition. */
static Value *is_label(Builder *b, Value *index, Dim classes) {
    Value *label = index ? sn_build_cast(b, index, SN_I32) : NULL;
    return op2(b, SN_OP_EQUAL, sn_build_positions(b, SN_I32, classes, 0), label);
}

/* With d = dy, 0 for ignored rows, and w, s, C as the operator has them:
 * dx[c] = p[c]·d·((1 − s)·w[label] + s/C·Σ w) − (c = label)·d·(1 − s)·w[label] − d·s/C·w[c], p[c] = exp(x[c] − lse). */
static Value *score_gradient(Grad *g, Node *node, Value *lse, Value *dy) {
    Builder *b = &g->b;
    const AttrCrossEntropy *attr = node->attr;
    DType wide = lse->type.dtype;
    Value *x = sn_build_cast(b, node->input[0], wide), *label = sn_build_cast(b, node->input[1], SN_I64);
    Value *weight = node->input_count > 2 ? sn_build_cast(b, node->input[2], wide) : NULL;
    if (!x || !label) return NULL;
    Dim classes = x->type.dim[x->type.rank - 1];
    Value *count = sn_build_cast(b, sn_build_dims(b, 1, &classes, true), wide);
    Value *zero = sn_build_scalar(b, wide, 0), *index = sn_label_index(b, attr, label, classes);
    Value *d = sn_build_cast(b, dy, wide);
    if (attr->ignores) d = sn_build3(b, SN_OP_WHERE, NULL, sn_label_ignored(b, attr, label), zero, d);
    Value *hit = op_scalar(b, SN_OP_MUL, d, 1 - attr->smoothing);
    if (weight && index)
        hit = op2(b, SN_OP_MUL, hit, sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, weight, index));
    Value *share = op2(b, SN_OP_DIV, op_scalar(b, SN_OP_MUL, d, attr->smoothing), count);
    Value *mass = weight ? sn_build_reshape(b, sn_gradient_sum(b, weight, 0, 1), 0, NULL) : count;
    Value *all = attr->smoothing > 0 ? op2(b, SN_OP_ADD, hit, op2(b, SN_OP_MUL, share, mass)) : hit;
    Value *p = op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, x, on_row(b, lse)));
    Value *chosen = is_label(b, on_row(b, index), classes);
    Value *minus = sn_build3(b, SN_OP_WHERE, NULL, chosen, on_row(b, hit), zero);
    Value *dx = op2(b, SN_OP_SUB, op2(b, SN_OP_MUL, p, on_row(b, all)), minus);
    if (attr->smoothing == 0) return dx;
    share = on_row(b, share);
    return op2(b, SN_OP_SUB, dx, weight ? op2(b, SN_OP_MUL, share, weight) : share);
}

void sn_gradient_cross_entropy(Grad *g, Node *node, Value *dy) {
    Node *kept = sn_gradient_with_statistic(g, node);
    if (kept) sn_gradient_give(g, kept, 0, score_gradient(g, kept, kept->output[1], dy));
}

/* Attention, whose probabilities are not kept but computed again from log Σ exp of their rows. */
#include "gradients.h"

#include <math.h>

static Value *widened(Builder *b, Value *x) {
    return x ? sn_build_cast(b, x, accumulator_dtype(x->type.dtype)) : NULL;
}

/* x [B, H, S, X] as [B, G, H/G·S, X]: the rows of all query heads that share a key head are those of one matrix. */
static Value *by_group(Builder *b, Value *x, Dim groups) {
    if (!x || x->type.dim[1] == groups) return x;
    Dims *dims = b->graph->dims;
    Dim rows = sn_dim_mul(dims, sn_dim_floordiv(dims, x->type.dim[1], groups), x->type.dim[2]);
    return sn_build_reshape(b, x, 4, (Dim[]){x->type.dim[0], groups, rows, x->type.dim[3]});
}

/* [B, H, S, 1] of [B, H, S] */
static Value *on_row(Builder *b, Value *x) {
    if (!x) return NULL;
    const Dim *dim = x->type.dim;
    return sn_build_reshape(b, x, 4, (Dim[]){dim[0], dim[1], dim[2], sn_dim(b->graph->dims, 1)});
}

/* The product of the rows of `x`, by group, with the transposed `y`: [B, H, S, T]. */
static Value *row_products(Builder *b, Value *x, Value *y) {
    Dim shape[4] = {x->type.dim[0], x->type.dim[1], x->type.dim[2], y->type.dim[2]};
    Value *product = op2(b, SN_OP_CONTRACT, by_group(b, x, y->type.dim[1]), sn_gradient_transpose(b, y));
    return product ? sn_build_reshape(b, product, 4, shape) : NULL;
}

/* exp(score − lse), 0 where masked; a row in which all is masked has an lse of −∞. */
static Value *probabilities(Builder *b, Node *node) {
    Value *scores = sn_attention_scores(b, node, row_products(b, node->input[0], node->input[1]));
    Value *lse = node->output[1], *zero = sn_build_scalar(b, lse->type.dtype, 0);
    lse = sn_build3(b, SN_OP_WHERE, NULL, op_scalar(b, SN_OP_EQUAL, lse, -INFINITY), zero, lse);
    return op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, scores, on_row(b, lse)));
}

/* The gradient of the biased scores: p∘(dp − D), dp = dO·vᵀ, D = Σ dO∘O of each row. */
static Value *score_gradient(Grad *g, Node *node, Value *p, Value *dy) {
    Builder *b = &g->b;
    Value *both = op2(b, SN_OP_MUL, widened(b, dy), widened(b, node->output[0]));
    Value *sum = sn_gradient_sum(b, both, 3, 4);
    sn_gradient_regroup(g);
    Value *dp = widened(b, row_products(b, dy, node->input[2]));
    return op2(b, SN_OP_MUL, p, op2(b, SN_OP_SUB, dp, sum));
}

/* xᵀ·y over the rows of a group: [B, G, T, X]. */
static Value *column_products(Builder *b, Value *x, Value *y, Dim groups) {
    return op2(b, SN_OP_CONTRACT, sn_gradient_transpose(b, by_group(b, x, groups)), by_group(b, y, groups));
}

void sn_gradient_attention(Grad *g, Node *node, Value *dy) {
    node = sn_gradient_with_statistic(g, node);
    if (!node) return;
    Builder *b = &g->b;
    Value *q = node->input[0], *k = node->input[1];
    DType dtype = q->type.dtype;
    Dim groups = k->type.dim[1];
    Value *p = probabilities(b, node);
    sn_gradient_regroup(g);
    Value *ds = score_gradient(g, node, p, dy);
    if (!ds) return;
    sn_gradient_give(g, node, 3, ds);
    Value *scaled =
        sn_build_cast(b, op_scalar(b, SN_OP_MUL, ds, ((const AttrAttention *)node->attr)->scale), dtype);
    sn_gradient_regroup(g);
    if (sn_gradient_wanted(g, node, 0)) {
        Value *dq = op2(b, SN_OP_CONTRACT, by_group(b, scaled, groups), k);
        sn_gradient_give(g, node, 0, dq ? sn_build_reshape(b, dq, 4, q->type.dim) : NULL);
    }
    sn_gradient_regroup(g);
    if (sn_gradient_wanted(g, node, 1)) sn_gradient_give(g, node, 1, column_products(b, scaled, q, groups));
    sn_gradient_regroup(g);
    if (sn_gradient_wanted(g, node, 2))
        sn_gradient_give(g, node, 2, column_products(b, sn_build_cast(b, p, dtype), dy, groups));
}

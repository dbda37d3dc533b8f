/* Losses. The probabilities of all classes are never stored: a row's log Σ exp x is all that is kept. */
#include "expand.h"

static Value *keep_axis(Builder *b, Value *v, Dim last) {
    if (!v) return NULL;
    Dim extent[SN_MAX_RANK + 1];
    for (int i = 0; i < v->type.rank; i++) extent[i] = v->type.dim[i];
    extent[v->type.rank] = last;
    return sn_build_reshape(b, v, v->type.rank + 1, extent);
}

static Value *reduce_last(Builder *b, OpCode op, Value *x) {
    if (!x) return NULL;
    int64_t axis = x->type.rank - 1;
    return sn_build1(b, op, &(AttrReduce){1, &axis}, x);
}

Value *sn_label_ignored(Builder *b, const AttrCrossEntropy *attr, Value *label) {
    if (!attr->ignores) return sn_build_scalar(b, SN_BOOL, 0);
    Dim ignored = sn_dim(b->graph->dims, attr->ignored);
    return op2(b, SN_OP_EQUAL, label, sn_build_dims(b, 1, &ignored, true));
}

/* 0 for an ignored label, and one past the last class for a negative one: gathers fault there, and would take it to
 * count from the end otherwise. */
Value *sn_label_index(Builder *b, const AttrCrossEntropy *attr, Value *label, Dim classes) {
    Value *zero = sn_build_scalar(b, SN_I64, 0), *end = sn_build_dims(b, 1, &classes, true);
    Value *index = sn_build3(b, SN_OP_WHERE, NULL, op2(b, SN_OP_LESS, label, zero), end, label);
    return sn_build3(b, SN_OP_WHERE, NULL, sn_label_ignored(b, attr, label), zero, index);
}

/* Σ_c w[c]·(lse − x[c])·s/C of each row */
static Value *smooth_loss(Builder *b, Value *x, Value *lse, Value *weight, double smoothing) {
    if (!x || !lse) return NULL;
    Value *surprise = op2(b, SN_OP_SUB, lse, x);
    if (weight) surprise = op2(b, SN_OP_MUL, surprise, weight);
    return op_scalar(b, SN_OP_MUL, reduce_last(b, SN_OP_REDUCE_MEAN, surprise), smoothing);
}

Value *sn_expand_cross_entropy(Builder *b, Node *node) {
    const AttrCrossEntropy *attr = node->attr;
    Type type = node->output[0]->type;
    DType wide = accumulator_dtype(type.dtype);
    Value *x = sn_build_cast(b, node->input[0], wide), *label = sn_build_cast(b, node->input[1], SN_I64);
    Value *weight = node->input_count > 2 ? node->input[2] : NULL;
    if (!x || !label) return NULL;
    if (weight) weight = sn_build_cast(b, weight, wide);
    Dim classes = x->type.dim[x->type.rank - 1], one = sn_dim(b->graph->dims, 1);
    Value *top = reduce_last(b, SN_OP_REDUCE_MAX, x);
    Value *sum = reduce_last(b, SN_OP_REDUCE_SUM, op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, x, top)));
    Value *lse = op2(b, SN_OP_ADD, top, op1(b, SN_OP_LOG, sum)); /* [rows…, 1], as all until the end */
    Value *index = keep_axis(b, sn_label_index(b, attr, label, classes), one);
    Value *ignored =
        keep_axis(b, sn_build_expand(b, sn_label_ignored(b, attr, label), type.rank, type.dim), one);
    Value *picked = sn_build2(b, SN_OP_GATHER_ELEMENTS, &(AttrAxis){type.rank}, node->input[0], index);
    picked = picked ? sn_build_cast(b, picked, wide) : NULL;
    Value *loss = op2(b, SN_OP_SUB, lse, picked);
    if (weight) loss = op2(b, SN_OP_MUL, loss, sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, weight, index));
    if (attr->smoothing > 0) {
        Value *smooth = smooth_loss(b, x, lse, weight, attr->smoothing);
        loss = op2(b, SN_OP_ADD, op_scalar(b, SN_OP_MUL, loss, 1 - attr->smoothing), smooth);
    }
    loss = sn_build3(b, SN_OP_WHERE, NULL, ignored, sn_build_scalar(b, wide, 0), loss);
    if (!loss) return NULL;
    if (node->output_count > 1) {
        Value *statistic = sn_build_reshape(b, lse, type.rank, type.dim);
        if (statistic) sn_value_replace(node->output[1], statistic);
    }
    return sn_build_cast(b, sn_build_reshape(b, loss, type.rank, type.dim), type.dtype);
}

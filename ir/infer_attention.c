/* Types of attention and of its gradients. */
#include "infer_rules.h"

#include <math.h>

static Status check_shapes(Infer *infer, const Node *node, const Dim *q, const Dim *k, const Dim *v) {
    TRY(sn_infer_equal_dim(infer, node, "the batches of q and k", q[0], k[0], NULL));
    TRY(sn_infer_equal_dim(infer, node, "the batches of k and v", k[0], v[0], NULL));
    TRY(sn_infer_equal_dim(infer, node, "the heads of k and v", k[1], v[1], NULL));
    TRY(sn_infer_equal_dim(infer, node, "the lengths of k and v", k[2], v[2], NULL));
    TRY(sn_infer_equal_dim(infer, node, "the head sizes of q and k", q[3], k[3], NULL));

    Graph *graph = infer->graph;
    if (sn_dim_divides(graph->dims, k[1], q[1], &(Dim){NULL})) return NULL;
    if (sn_dim_equals(k[1], 0)) return sn_fail(SN_INVALID, "there are no key heads");
    Dim rest = sn_dim_mod(graph->dims, q[1], k[1]);
    return sn_infer_equal_dim(infer, node, "the heads of q and a multiple of those of k", rest,
                              sn_dim(graph->dims, 0), NULL);
}

static Status check_dropout(const AttrAttention *attr, const Value *state) {
    if (!(attr->dropout >= 0 && attr->dropout < 1))
        return sn_fail(SN_INVALID, "a dropout of %g", attr->dropout);
    if (attr->number < 0 || attr->number >= SN_DROPOUT_NODES)
        return sn_fail(SN_INVALID, "number %lld", (long long)attr->number);
    if (!state) return NULL;
    Type type = state->type;
    if (type.dtype == SN_I64 && type.rank == 1 && sn_dim_equals(type.dim[0], 2)) return NULL;
    return sn_fail(SN_INVALID, "the state is no i64 [2]");
}

static DType statistic_dtype(const Node *node) {
    return node->input[0]->type.dtype == SN_F64 ? SN_F64 : SN_F32;
}

/* What both operators ask of q, k, v, the mask, and of the bias, which is operand `at`, and the state behind it. */
static Status check_operands(Infer *infer, const Node *node, int at) {
    const AttrAttention *attr = node->attr;
    const Value *bias = node->input_count > at ? node->input[at] : NULL;
    TRY(check_dropout(attr, node->input_count > at + 1 ? node->input[at + 1] : NULL));
    DType dtype = node->input[0]->type.dtype;
    if (!sn_dtype_is_float(dtype)) return sn_fail(SN_INVALID, "q is %s", sn_dtype_name(dtype));
    for (int k = 0; k < 3; k++) {
        Type type = node->input[k]->type;
        if (type.rank != 4) return sn_fail(SN_INVALID, "input %d has rank %d, not 4", k, type.rank);
        if (type.dtype != dtype) return sn_fail(SN_INVALID, "q, k and v have different types");
    }
    if (attr->causal && (!attr->offset || sn_dim_has_axis(attr->offset)))
        return sn_fail(SN_INVALID, "the causal offset is not a size");
    if (!(attr->softcap >= 0) || isinf(attr->softcap))
        return sn_fail(SN_INVALID, "a soft cap of %g", attr->softcap);
    const Dim *q = node->input[0]->type.dim, *k = node->input[1]->type.dim;
    TRY(check_shapes(infer, node, q, k, node->input[2]->type.dim));
    if (!bias) return NULL;
    bool wide = bias->type.dtype == statistic_dtype(node); /* it is added to the scores, which are */
    if (bias->type.dtype != dtype && bias->type.dtype != SN_BOOL && !wide)
        return sn_fail(SN_INVALID, "the bias is %s", sn_dtype_name(bias->type.dtype));
    return sn_infer_onto(infer, node, "the bias", bias, 4, (Dim[]){q[0], q[1], q[2], k[2]});
}

/* [B, H, S, last] of q [B, H, S, D] */
static Dim *row_shape(const Infer *infer, const Node *node, Dim last) {
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, 4);
    for (int a = 0; a < 3; a++) dim[a] = node->input[0]->type.dim[a];
    dim[3] = last;
    return dim;
}

Status sn_infer_attention(Infer *infer, Node *node) {
    TRY(check_operands(infer, node, 3));
    Dim two = sn_dim(infer->graph->dims, 2);
    if (node->output_count > 1)
        TRY(sn_infer_set(node, 1, statistic_dtype(node), 4, row_shape(infer, node, two)));
    const Value *v = node->input[2];
    return sn_infer_set(node, 0, v->type.dtype, 4, row_shape(infer, node, v->type.dim[3]));
}

Status sn_infer_attention_backward(Infer *infer, Node *node) {
    static const char *const name[] = {"dy", "the statistic", "the sums"};
    TRY(check_operands(infer, node, 6));
    Dims *dims = infer->graph->dims;
    const Dim last[] = {node->input[2]->type.dim[3], sn_dim(dims, 2), sn_dim(dims, 1)};
    for (int k = 0; k < 3; k++) {
        Type type = node->input[3 + k]->type;
        if (type.rank != 4) return sn_fail(SN_INVALID, "%s: rank %d, not 4", name[k], type.rank);
        if (type.dtype != (k ? statistic_dtype(node) : node->input[0]->type.dtype))
            return sn_fail(SN_INVALID, "%s: %s", name[k], sn_dtype_name(type.dtype));
        const Dim *row = row_shape(infer, node, last[k]);
        for (int a = 0; a < 4; a++) TRY(sn_infer_equal_dim(infer, node, name[k], type.dim[a], row[a], NULL));
    }
    for (int k = 0; k < 3; k++) {
        Type type = node->input[k]->type;
        TRY(sn_infer_set(node, k, type.dtype, 4, type.dim));
    }
    return NULL;
}

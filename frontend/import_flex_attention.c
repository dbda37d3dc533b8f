/* FlexAttention of ai.onnx.preview: attention with a graph of the file between its scores and their softmax, and one behind
 * that. */
#include "import_attention.h"
#include "import_compose.h"

/* What the graph of attribute `name` makes of x, or x itself where there is none. */
static Value *modified(Call *c, const char *name, Value *x) {
    if (!sn_call_has(c, name) || sn_call_failed(c)) return x;
    const Onnx__GraphProto *graph = sn_call_graph(c, name);
    if (sn_call_failed(c)) return NULL;
    if (graph->n_output != 1) return sn_call_invalid(c, "%s has %zu outputs", name, graph->n_output);
    Builder builder = *c->builder;
    int refused = c->import->refused;
    Value *y = NULL;
    Status status = sn_import_subgraph(c->import, graph, NULL, 1, &x, &y);
    *c->builder = builder;
    if (status) return sn_call_latch(c, sn_status_prefix(status, "%s", name));
    if (c->import->refused > refused) return NULL; /* which has been said */
    if (!y || y->type.dtype != x->type.dtype || y->type.rank != x->type.rank)
        return sn_call_invalid(c, "%s makes another type of what it gets", name);
    for (int k = 0; k < x->type.rank; k++) {
        status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, y->type.dim[k], x->type.dim[k],
                                c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "%s, axis %d", name, k));
    }
    return y;
}

/* The type of the softmax and of what stands around it. */
static DType softmax_type(Call *c, DType usual) {
    int64_t precision = sn_call_int(c, "softmax_precision", 0);
    DType dtype = wide_type(usual);
    if (precision && (!sn_dtype_from_onnx((int)precision, &dtype) || !sn_dtype_is_float(dtype)))
        sn_call_unsupported(c, "softmax_precision %lld", (long long)precision);
    return dtype;
}

Value *sn_import_flex_attention(Call *c) {
    Value *q = c->input[0], *k = c->input[1], *v = c->input[2];
    DType dtype = q->type.dtype, wide = softmax_type(c, dtype);
    if (q->type.rank != 4 || k->type.rank != 4 || v->type.rank != 4)
        return sn_call_invalid(c, "inputs of ranks %d, %d and %d", q->type.rank, k->type.rank, v->type.rank);
    sn_call_latch(c, sn_status_prefix(sn_graph_check(c->import->graph, SN_CHECK_EQUAL, k->type.dim[1],
                                                     v->type.dim[1], c->builder->origin),
                                      "the heads of keys and values"));
    double scale = sn_call_has(c, "scale") ? sn_call_float(c, "scale", 0) : sn_attention_scale(c, &q);
    if (sn_call_failed(c)) return NULL;
    if (!sn_call_has(c, "score_mod") && !sn_call_has(c, "prob_mod") && wide == wide_type(dtype))
        return sn_build3(c->builder, SN_OP_ATTENTION, &(AttrAttention){.scale = scale}, q, k, v);
    Dim heads = q->type.dim[1];
    Value *keys = sn_call_swap(c, sn_attention_spread(c, k, heads), 2, 3);
    Value *scores = as_type(c, op2(c, SN_OP_MATMUL, op_number(c, SN_OP_MUL, q, scale), keys), wide);
    scores = modified(c, "score_mod", scores);
    if (sn_call_failed(c) || !scores) return NULL;
    Value *share = sn_build1(c->builder, SN_OP_SOFTMAX, &(AttrAxis){3}, scores);
    share = modified(c, "prob_mod", share);
    if (sn_call_failed(c) || !share) return NULL;
    Value *values = as_type(c, sn_attention_spread(c, v, heads), wide);
    return as_type(c, op2(c, SN_OP_MATMUL, share, values), dtype);
}

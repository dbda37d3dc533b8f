/* Attention and its gradients taken apart: what the eager order runs, and the reference of the tiled kernels. */
#include "expand.h"

#include <math.h>

static Value *contract(Builder *b, Value *x, Value *y) {
    return op2(b, SN_OP_CONTRACT, x, y);
}

/* k or v [B, G, T, X] as [B, H, T, X]: query head h reads head h / (H/G). */
static Value *repeat_heads(Builder *b, Value *v, Dim heads) {
    Dims *dims = b->graph->dims;
    if (!v || v->type.dim[1] == heads) return v;
    Dim *extent = SN_ARRAY(b->graph->arena, Dim, 4), *index = SN_ARRAY(b->graph->arena, Dim, 4);
    for (int i = 0; i < 4; i++) {
        extent[i] = i == 1 ? heads : v->type.dim[i];
        index[i] = sn_dim_axis(dims, i, extent[i]);
    }
    index[1] = sn_dim_floordiv(dims, index[1], sn_dim_floordiv(dims, heads, v->type.dim[1]));
    AttrView view = {4, extent, 4, index};
    return sn_build1(b, SN_OP_VIEW, &view, v);
}

/* scores where j <= i + offset, −infinity elsewhere */
static Value *mask_future(Builder *b, Value *scores, Dim offset) {
    if (!scores) return NULL;
    Dims *dims = b->graph->dims;
    Dim rows = scores->type.dim[2], columns = scores->type.dim[3], one = sn_dim(dims, 1);
    AttrIota row = {SN_I64, rows, offset, one};
    Value *i = sn_build_reshape(b, sn_build(b, SN_OP_IOTA, &row, 0, NULL), 2, (Dim[]){rows, one});
    Value *j = sn_build_positions(b, SN_I64, columns, 0);
    Value *keep = op2(b, SN_OP_LESS_EQUAL, j, i);
    return sn_build3(b, SN_OP_WHERE, NULL, keep, scores, sn_build_scalar(b, scores->type.dtype, -INFINITY));
}

static Value *add_bias(Builder *b, Value *scores, Value *bias) {
    if (!scores || !bias) return scores;
    if (bias->type.dtype != SN_BOOL)
        return op2(b, SN_OP_ADD, scores, sn_build_cast(b, bias, scores->type.dtype));
    return sn_build3(b, SN_OP_WHERE, NULL, bias, scores, sn_build_scalar(b, scores->type.dtype, -INFINITY));
}

/* The scores [B, H, S, T] from the product q·kᵀ, in the accumulator's dtype: scaled, capped, biased, −∞ where masked.
 * *bent is the soft cap's tanh, NULL without one. */
static Value *scores_of(Builder *b, const AttrAttention *attr, Value *bias, Value *product, Value **bent) {
    Value *scores = product ? sn_build_cast(b, product, accumulator_dtype(product->type.dtype)) : NULL;
    double cap = attr->softcap;
    *bent = NULL;
    scores = op_scalar(b, SN_OP_MUL, scores, cap == 0 ? attr->scale : attr->scale / cap);
    if (cap != 0) {
        *bent = op1(b, SN_OP_TANH, scores);
        scores = op_scalar(b, SN_OP_MUL, *bent, cap);
    }
    scores = add_bias(b, scores, bias);
    return attr->causal ? mask_future(b, scores, attr->offset) : scores;
}

/* softmax over the last axis; with `zero_rows`, 0 where every score is −infinity. */
static Value *score_softmax(Builder *b, Value *scores, bool zero_rows) {
    AttrAxis last = {3};
    Value *p = sn_build1(b, SN_OP_SOFTMAX, &last, scores);
    if (!zero_rows || !p) return p;
    AttrReduce row = {1, &(int64_t){3}};
    Value *top = sn_build1(b, SN_OP_REDUCE_MAX, &row, scores);
    Value *zero = sn_build_scalar(b, p->type.dtype, 0);
    return sn_build3(b, SN_OP_WHERE, NULL, op_scalar(b, SN_OP_EQUAL, top, -INFINITY), zero, p);
}

/* `value`, but `number` where x is −∞. */
static Value *unless_lowest(Builder *b, Value *x, Value *value, double number) {
    Value *instead = value ? sn_build_scalar(b, value->type.dtype, number) : NULL;
    return sn_build3(b, SN_OP_WHERE, NULL, op_scalar(b, SN_OP_EQUAL, x, -INFINITY), instead, value);
}

/* The maximum of each row of scores and log Σ exp of what they are below it; −∞ twice of one that is all −∞. */
static void replace_statistic(Builder *b, Node *node, Value *scores) {
    AttrReduce row = {1, &(int64_t){3}};
    AttrAxis last = {3};
    if (!scores) return;
    Value *top = sn_build1(b, SN_OP_REDUCE_MAX, &row, scores);
    Value *below = op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, scores, unless_lowest(b, top, top, 0)));
    Value *logarithm = op1(b, SN_OP_LOG, sn_build1(b, SN_OP_REDUCE_SUM, &row, below));
    Value *both = sn_build2(b, SN_OP_CONCAT, &last, top, logarithm);
    if (both) sn_value_replace(node->output[1], both);
}

/* The weights, or their gradient, as dropout leaves them. */
static Value *dropped(Builder *b, const AttrAttention *attr, Value *state, Value *weights) {
    AttrDropout dropout = {.ratio = attr->dropout, .number = attr->number};
    if (!attr->number || !weights) return weights;
    return sn_build(b, SN_OP_DROPOUT, &dropout, state ? 2 : 1, (Value *[]){weights, state});
}

Value *sn_expand_attention(Builder *b, Node *node) {
    const AttrAttention *attr = node->attr;
    Graph *graph = b->graph;
    Value *q = node->input[0], *k = node->input[1], *v = node->input[2];
    static const int swap_last[4] = {0, 1, 3, 2};
    Dim heads = q->type.dim[1];
    Value *transposed = sn_build_transpose(b, repeat_heads(b, k, heads), swap_last);
    /* Each of the three steps is an operator of its own to the eager order. */
    b->group = graph->next_group++;
    Value *scores = contract(b, q, transposed);
    b->group = graph->next_group++;
    Value *bent;
    scores = scores_of(b, attr, node->input_count > 3 ? node->input[3] : NULL, scores, &bent);
    if (node->output_count > 1) replace_statistic(b, node, scores);
    Value *p = score_softmax(b, scores, attr->zero_rows);
    if (p) p = sn_build_cast(b, p, q->type.dtype);
    p = dropped(b, attr, node->input_count > 4 ? node->input[4] : NULL, p);
    b->group = graph->next_group++;
    return contract(b, p, repeat_heads(b, v, heads));
}

/* ---- gradients, after Dao et al., "FlashAttention" (2022), appendix B ---- */

static void regroup(Builder *b) {
    b->group = b->graph->next_group++;
}

static Value *transposed(Builder *b, Value *x) {
    return x ? sn_build_transpose(b, x, (int[]){0, 1, 3, 2}) : NULL;
}

/* x [B, H, S, X] as [B, G, H/G·S, X]: the rows of all query heads that share a key head are those of one matrix. */
static Value *by_group(Builder *b, Value *x, Dim groups) {
    if (!x || x->type.dim[1] == groups) return x;
    Dims *dims = b->graph->dims;
    Dim rows = sn_dim_mul(dims, sn_dim_floordiv(dims, x->type.dim[1], groups), x->type.dim[2]);
    return sn_build_reshape(b, x, 4, (Dim[]){x->type.dim[0], groups, rows, x->type.dim[3]});
}

/* The product of the rows of `x`, by group, with the transposed `y`: [B, H, S, T]. */
static Value *row_products(Builder *b, Value *x, Value *y) {
    Dim shape[4] = {x->type.dim[0], x->type.dim[1], x->type.dim[2], y->type.dim[2]};
    Value *product = contract(b, by_group(b, x, y->type.dim[1]), transposed(b, y));
    return product ? sn_build_reshape(b, product, 4, shape) : NULL;
}

/* xᵀ·y over the rows of a group: [B, G, T, X]. */
static Value *column_products(Builder *b, Value *x, Value *y, Dim groups) {
    return contract(b, transposed(b, by_group(b, x, groups)), by_group(b, y, groups));
}

/* exp(score − m − log Σ), 0 where masked and in rows whose maximum m is −∞; *bent is that of scores_of. */
static Value *probabilities(Builder *b, const AttentionOperands *of, Value **bent) {
    Dim zero = sn_dim(b->graph->dims, 0), one = sn_dim(b->graph->dims, 1);
    Value *scores = scores_of(b, of->attr, of->bias, row_products(b, of->q, of->k), bent);
    Value *top = sn_build_slice(b, of->statistic, 3, zero, one, 1);
    Value *logarithm = sn_build_slice(b, of->statistic, 3, one, one, 1);
    Value *below = op2(b, SN_OP_SUB, scores, unless_lowest(b, top, top, INFINITY));
    return op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, below, unless_lowest(b, top, logarithm, 0)));
}

void sn_attention_gradients(Builder *b, const AttentionOperands *of, Value *gradient[4]) {
    DType dtype = of->q->type.dtype;
    Dim groups = of->k->type.dim[1];
    regroup(b);
    Value *bent, *p = probabilities(b, of, &bent);
    regroup(b);
    Value *dp = row_products(b, of->dy, of->v);
    if (dp) dp = dropped(b, of->attr, of->state, sn_build_cast(b, dp, accumulator_dtype(dtype)));
    Value *ds = gradient[3] = op2(b, SN_OP_MUL, p, op2(b, SN_OP_SUB, dp, of->sums));
    Value *inner = ds; /* of what the soft cap is of */
    if (bent) inner = op2(b, SN_OP_SUB, ds, op2(b, SN_OP_MUL, ds, op2(b, SN_OP_MUL, bent, bent)));
    Value *scaled = op_scalar(b, SN_OP_MUL, inner, of->attr->scale);
    if (b->status) return;
    scaled = sn_build_cast(b, scaled, dtype);
    regroup(b);
    Value *dq = contract(b, by_group(b, scaled, groups), of->k);
    gradient[0] = dq ? sn_build_reshape(b, dq, 4, of->q->type.dim) : NULL;
    regroup(b);
    gradient[1] = column_products(b, scaled, of->q, groups);
    regroup(b);
    p = dropped(b, of->attr, of->state, p);
    gradient[2] = p ? column_products(b, sn_build_cast(b, p, dtype), of->dy, groups) : NULL;
}

Value *sn_expand_attention_backward(Builder *b, Node *node) {
    const AttentionOperands of = {node->attr,
                                  node->input[0],
                                  node->input[1],
                                  node->input[2],
                                  node->input[3],
                                  node->input[4],
                                  node->input[5],
                                  node->input_count > 6 ? node->input[6] : NULL,
                                  node->input_count > 7 ? node->input[7] : NULL};
    Value *gradient[4];
    sn_attention_gradients(b, &of, gradient);
    for (int k = 1; k < 3 && !b->status; k++) sn_value_replace(node->output[k], gradient[k]);
    return b->status ? NULL : gradient[0];
}

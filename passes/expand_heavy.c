/* Products, rotary positions and attention. */
#include "expand.h"

#include <math.h>

/* ---- matmul: numpy's rules, as contractions with explicit batch axes ---- */

static bool batch_is_one(const Value *v) {
    for (int i = 0; i < v->type.rank - 2; i++)
        if (!sn_dim_equals(v->type.dim[i], 1)) return false;
    return true;
}

/* The product of extents [first, last). */
static Dim extent_product(Dims *dims, const Value *v, int first, int last) {
    Dim product = sn_dim(dims, 1);
    for (int i = first; i < last; i++) product = sn_dim_mul(dims, product, v->type.dim[i]);
    return product;
}

static Value *reshape2(Builder *b, Value *v, Dim rows, Dim columns) {
    Dim extent[2] = {rows, columns};
    return sn_build_reshape(b, v, 2, extent);
}

static Value *contract(Builder *b, Value *x, Value *y) {
    return sn_build2(b, SN_OP_CONTRACT, NULL, x, y);
}

/* One matrix on the right: all rows of the left operand are one long M. */
static Value *contract_rows(Builder *b, Value *x, Value *y, const Value *out) {
    Dims *dims = b->graph->dims;
    int rank = x->type.rank;
    x = reshape2(b, x, extent_product(dims, x, 0, rank - 1), x->type.dim[rank - 1]);
    y = reshape2(b, y, y->type.dim[y->type.rank - 2], y->type.dim[y->type.rank - 1]);
    return sn_build_reshape(b, contract(b, x, y), out->type.rank, out->type.dim);
}

/* `v` with its batch axes broadcast to those of `batch` (rank - 2 leading extents). */
static Value *broadcast_batch(Builder *b, Value *v, const Dim *batch, int rank) {
    Dim extent[SN_MAX_RANK];
    for (int i = 0; i < rank - 2; i++) extent[i] = batch[i];
    extent[rank - 2] = v->type.dim[v->type.rank - 2];
    extent[rank - 1] = v->type.dim[v->type.rank - 1];
    return sn_build_expand(b, v, rank, extent);
}

Value *sn_expand_matmul(Builder *b, Node *node) {
    Dims *dims = b->graph->dims;
    const Value *out = node->output[0];
    Value *x = node->input[0], *y = node->input[1];
    if (x->type.rank == 1) x = reshape2(b, x, sn_dim(dims, 1), x->type.dim[0]);
    if (y->type.rank == 1) y = reshape2(b, y, y->type.dim[0], sn_dim(dims, 1));
    if (!x || !y) return NULL;
    if (batch_is_one(y)) return contract_rows(b, x, y, out);
    int rank = x->type.rank > y->type.rank ? x->type.rank : y->type.rank;
    const Dim *batch = out->type.dim; /* the result's leading extents */
    Value *product = contract(b, broadcast_batch(b, x, batch, rank), broadcast_batch(b, y, batch, rank));
    return sn_build_reshape(b, product, out->type.rank, out->type.dim);
}

/* ---- rotary positions ---- */

/* Elements start, start + step, … (count of them) of the last axis. */
static Value *slice_last(Builder *b, Value *v, Dim start, Dim count, int64_t step) {
    return v ? sn_build_slice(b, v, v->type.rank - 1, start, count, step) : NULL;
}

static Value *concat_last(Builder *b, Value *x, Value *y) {
    if (!x) return NULL;
    AttrAxis axis = {x->type.rank - 1};
    return sn_build2(b, SN_OP_CONCAT, &axis, x, y);
}

/* Two values interleaved along the last axis: stack on a new last axis, then merge it. */
static Value *interleave(Builder *b, Value *x, Value *y) {
    if (!x || !y) return NULL;
    Dims *dims = b->graph->dims;
    int rank = x->type.rank;
    Dim extent[SN_MAX_RANK + 1];
    for (int i = 0; i < rank; i++) extent[i] = x->type.dim[i];
    extent[rank] = sn_dim(dims, 1);
    AttrAxis axis = {rank};
    Value *pair = sn_build2(b, SN_OP_CONCAT, &axis, sn_build_reshape(b, x, rank + 1, extent),
                            sn_build_reshape(b, y, rank + 1, extent));
    extent[rank - 1] = sn_dim_mulc(dims, extent[rank - 1], 2);
    return sn_build_reshape(b, pair, rank, extent);
}

/* Su et al., "RoFormer" (2021): each pair (a, b) turns by its angle. */
Value *sn_expand_rotary(Builder *b, Node *node) {
    const AttrRotary *attr = node->attr;
    Dims *dims = b->graph->dims;
    Value *x = node->input[0], *cosine = node->input[1], *sine = node->input[2];
    Dim half = cosine->type.dim[cosine->type.rank - 1], zero = sn_dim(dims, 0);
    Dim turned = sn_dim_mulc(dims, half, 2), width = x->type.dim[x->type.rank - 1];
    Value *first = slice_last(b, x, zero, half, attr->interleaved ? 2 : 1);
    Value *second =
        attr->interleaved ? slice_last(b, x, sn_dim(dims, 1), half, 2) : slice_last(b, x, half, half, 1);
    Value *left = op2(b, SN_OP_SUB, op2(b, SN_OP_MUL, first, cosine), op2(b, SN_OP_MUL, second, sine));
    Value *right = op2(b, SN_OP_ADD, op2(b, SN_OP_MUL, second, cosine), op2(b, SN_OP_MUL, first, sine));
    Value *result = attr->interleaved ? interleave(b, left, right) : concat_last(b, left, right);
    if (turned == width) return result;
    return concat_last(b, result, slice_last(b, x, turned, sn_dim_sub(dims, width, turned), 1));
}

/* ---- attention: what the eager order runs, and the reference of the tiled kernel ---- */

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
    AttrIota row = {SN_I64, rows, offset, one}, column = {SN_I64, columns, sn_dim(dims, 0), one};
    Value *i = reshape2(b, sn_build(b, SN_OP_IOTA, &row, 0, NULL), rows, one);
    Value *j = sn_build(b, SN_OP_IOTA, &column, 0, NULL);
    Value *keep = op2(b, SN_OP_LESS_EQUAL, j, i);
    return sn_build3(b, SN_OP_WHERE, NULL, keep, scores, sn_build_scalar(b, scores->type.dtype, -INFINITY));
}

static Value *add_bias(Builder *b, Value *scores, Value *bias) {
    if (!scores || !bias) return scores;
    if (bias->type.dtype != SN_BOOL)
        return op2(b, SN_OP_ADD, scores, sn_build_cast(b, bias, scores->type.dtype));
    return sn_build3(b, SN_OP_WHERE, NULL, bias, scores, sn_build_scalar(b, scores->type.dtype, -INFINITY));
}

Value *sn_attention_scores(Builder *b, const Node *node, Value *product) {
    const AttrAttention *attr = node->attr;
    Value *scores = product ? sn_build_cast(b, product, accumulator_dtype(product->type.dtype)) : NULL;
    scores = op_scalar(b, SN_OP_MUL, scores, attr->scale);
    scores = add_bias(b, scores, node->input_count > 3 ? node->input[3] : NULL);
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

/* log Σ exp of each row of scores; of one that is all −infinity, −infinity. */
static void replace_statistic(Builder *b, Node *node, Value *scores) {
    AttrReduce row = {1, &(int64_t){3}};
    if (!scores) return;
    Value *top = sn_build1(b, SN_OP_REDUCE_MAX, &row, scores);
    Value *finite = sn_build3(b, SN_OP_WHERE, NULL, op_scalar(b, SN_OP_EQUAL, top, -INFINITY),
                              sn_build_scalar(b, scores->type.dtype, 0), top);
    Value *sum = sn_build1(b, SN_OP_REDUCE_SUM, &row, op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, scores, finite)));
    Value *lse = op2(b, SN_OP_ADD, finite, op1(b, SN_OP_LOG, sum));
    lse = sn_build_reshape(b, lse, 3, scores->type.dim);
    if (lse) sn_value_replace(node->output[1], lse);
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
    scores = sn_attention_scores(b, node, scores);
    if (node->output_count > 1) replace_statistic(b, node, scores);
    Value *p = score_softmax(b, scores, attr->zero_rows);
    if (p) p = sn_build_cast(b, p, q->type.dtype);
    b->group = graph->next_group++;
    return contract(b, p, repeat_heads(b, v, heads));
}

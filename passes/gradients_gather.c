/* What was read by an index goes back to where it was read. */
#include "gradients.h"

static Dim extent_product(Dims *dims, const Dim *extent, int count) {
    Dim product = sn_dim(dims, 1);
    for (int i = 0; i < count; i++) product = sn_dim_mul(dims, product, extent[i]);
    return product;
}

/* y[before…, index…, after…] = x[before…, index, after…]: the rows of the scattered matrix are the indices, its
 * columns what lies before and after. */
void sn_gradient_gather(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Dims *dims = b->graph->dims;
    int axis = ((const AttrAxis *)node->attr)->axis;
    Type x = node->input[0]->type;
    int indices = node->input[1]->type.rank, forth[SN_MAX_RANK], back[SN_MAX_RANK];
    for (int i = 0; i < dy->type.rank; i++) /* the index axes first */
        forth[i] = i < indices ? axis + i : i < indices + axis ? i - indices : i;
    Value *update = sn_build_transpose(b, dy, forth);
    Dim rows = x.dim[axis], shape[SN_MAX_RANK] = {rows};
    for (int i = 0, k = 1; i < x.rank; i++)
        if (i != axis) shape[k++] = x.dim[i];
    Dim columns = extent_product(dims, shape + 1, x.rank - 1);
    Value *sum = sn_gradient_scatter(b, node->input[1], update, rows, columns);
    sum = sum ? sn_build_reshape(b, sum, x.rank, shape) : NULL;
    for (int i = 0; i < x.rank; i++) back[i] = i < axis ? i + 1 : i == axis ? 0 : i;
    sn_gradient_give(g, node, 0, sum ? sn_build_transpose(b, sum, back) : NULL);
}

/* A negative index counts from the end: made positive before it becomes part of a row-major address. */
static Value *positive(Builder *b, Value *index, Dim extent) {
    Value *size = sn_build_dims(b, 1, &extent, true), *zero = sn_build_scalar(b, SN_I64, 0);
    Value *below = op2(b, SN_OP_LESS, index, zero);
    return sn_build3(b, SN_OP_WHERE, NULL, below, op2(b, SN_OP_ADD, index, size), index);
}

/* at·extent + position along an axis of a tensor of that rank */
static Value *next_position(Builder *b, Value *at, Value *position, Dim extent) {
    if (!at || !position) return position;
    return op2(b, SN_OP_ADD, op2(b, SN_OP_MUL, at, sn_build_dims(b, 1, &extent, true)), position);
}

/* 0, 1 … along `axis` of a tensor of `rank` axes, 1 along the others */
static Value *axis_position(Builder *b, int rank, int axis, Dim extent) {
    Dims *dims = b->graph->dims;
    Value *index = sn_build_positions(b, SN_I64, extent, 0);
    Dim shape[SN_MAX_RANK];
    for (int i = 0; i < rank; i++) shape[i] = i == axis ? extent : sn_dim(dims, 1);
    return index ? sn_build_reshape(b, index, rank, shape) : NULL;
}

void sn_gradient_gather_elements(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Dims *dims = b->graph->dims;
    int axis = ((const AttrAxis *)node->attr)->axis, rank = dy->type.rank;
    Type x = node->input[0]->type;
    Value *at = NULL;
    for (int i = 0; i < rank && !b->status; i++) {
        Value *position = i == axis ? positive(b, sn_build_cast(b, node->input[1], SN_I64), x.dim[i])
                                    : axis_position(b, rank, i, dy->type.dim[i]);
        at = next_position(b, at, position, x.dim[i]);
    }
    at = at ? sn_build_expand(b, at, rank, dy->type.dim) : NULL;
    Value *sum = sn_gradient_scatter(b, at, dy, sn_type_count(dims, x), sn_dim(dims, 1));
    sn_gradient_give(g, node, 0, sum ? sn_build_reshape(b, sum, x.rank, x.dim) : NULL);
}

/* y[batch…, rest…, after…] = x[batch…, indices[batch…, rest…, 0], indices[…, 1] …, after…] */
void sn_gradient_gather_nd(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Dims *dims = b->graph->dims;
    int batch = ((const AttrGatherNd *)node->attr)->batch_dims;
    Type x = node->input[0]->type, indices = node->input[1]->type;
    int lead = indices.rank - 1;
    int64_t depth = 0;
    sn_dim_is(indices.dim[lead], &depth); /* inference has seen to it */
    Value *at = NULL, *list = sn_build_cast(b, node->input[1], SN_I64);
    for (int i = 0; i < batch && !b->status; i++)
        at = next_position(b, at, axis_position(b, lead, i, x.dim[i]), x.dim[i]);
    for (int k = 0; k < depth && !b->status; k++) {
        Value *one = sn_build_slice(b, list, lead, sn_dim(dims, k), sn_dim(dims, 1), 1);
        one = one ? sn_build_reshape(b, one, lead, indices.dim) : NULL;
        at = next_position(b, at, one ? positive(b, one, x.dim[batch + k]) : NULL, x.dim[batch + k]);
    }
    at = at ? sn_build_expand(b, at, lead, indices.dim) : NULL;
    int first = batch + (int)depth;
    Dim rows = extent_product(dims, x.dim, first);
    Dim columns = extent_product(dims, x.dim + first, x.rank - first);
    Value *sum = sn_gradient_scatter(b, at, dy, rows, columns);
    sn_gradient_give(g, node, 0, sum ? sn_build_reshape(b, sum, x.rank, x.dim) : NULL);
}

void sn_gradient_scatter_add(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 1, sn_build2(&g->b, SN_OP_GATHER, &(AttrAxis){0}, dy, node->input[0]));
}

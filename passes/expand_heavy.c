/* Products and rotary positions. */
#include "expand.h"

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

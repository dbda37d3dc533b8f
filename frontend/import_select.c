/* Operators that compare positions: unit matrices, one-hot vectors, the largest elements. */
#include "import_compose.h"
#include "order.h"

enum { MOST_COMPARED = 64 /* elements of a row that are all compared with one another */ };

/* 0, 1, ... along an axis that has `after` axes behind it. */
static Value *positions(Call *c, Dim extent, int after) {
    return sn_build_positions(c->builder, SN_I64, extent, after);
}

Value *sn_import_eye_like(Call *c) {
    Type type = c->input[0]->type;
    DType dtype = type.dtype;
    int64_t code = sn_call_int(c, "dtype", -1), k = sn_call_int(c, "k", 0);
    if (code >= 0 && !sn_dtype_from_onnx((int)code, &dtype))
        return sn_call_unsupported(c, "element type %lld", (long long)code);
    if (type.rank != 2) return sn_call_invalid(c, "an input of rank %d", type.rank);
    Value *diagonal = sn_build2(c->builder, SN_OP_ADD, NULL, positions(c, type.dim[0], 1),
                                sn_call_scalar(c, SN_I64, (double)k));
    Value *hit = sn_build2(c->builder, SN_OP_EQUAL, NULL, diagonal, positions(c, type.dim[1], 0));
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, hit, dtype);
}

/* Indices below zero count from the end; those out of range hit nothing. */
Value *sn_import_one_hot(Call *c) {
    Builder *b = c->builder;
    Value *indices = sn_build_cast(b, c->input[0], SN_I64), *values = c->input[2];
    Dim depth = sn_call_dim(c, c->input[1], "depth"), one = sn_dim(c->dims, 1);
    if (sn_call_failed(c)) return NULL;
    int rank = indices->type.rank, axis = sn_call_axis(c, sn_call_int(c, "axis", -1), rank + 1);
    if (values->type.rank != 1) return sn_call_invalid(c, "values of rank %d", values->type.rank);
    Value *end = sn_build_dims(b, 1, &depth, true), *zero = sn_call_scalar(c, SN_I64, 0);
    Value *below = sn_build2(b, SN_OP_LESS, NULL, indices, zero);
    indices = sn_build3(b, SN_OP_WHERE, NULL, below, sn_build2(b, SN_OP_ADD, NULL, indices, end), indices);
    if (sn_call_failed(c)) return NULL;
    indices = sn_call_unsqueeze(c, indices, axis, 1);
    Value *hit = sn_build2(b, SN_OP_EQUAL, NULL, indices, positions(c, depth, rank - axis));
    Value *off = sn_call_failed(c) ? NULL : sn_build_slice(b, values, 0, sn_dim(c->dims, 0), one, 1);
    Value *on = sn_call_failed(c) ? NULL : sn_build_slice(b, values, 0, one, one, 1);
    return sn_build3(b, SN_OP_WHERE, NULL, hit, on, off);
}

/* x_j comes before x_i: it is larger (or smaller), or equal and further ahead. NaN counts as largest. */
static Value *comes_before(Call *c, Value *xj, Value *xi, Value *j, Value *i, bool largest) {
    Builder *b = c->builder;
    if (sn_call_failed(c)) return NULL;
    Value *first = largest ? xi : xj, *second = largest ? xj : xi;
    Value *beats = sn_build2(b, SN_OP_LESS, NULL, first, second);
    Value *ties = sn_build2(b, SN_OP_EQUAL, NULL, xi, xj);
    if (sn_dtype_is_float(xi->type.dtype)) {
        Value *odd1 = sn_build1(b, SN_OP_ISNAN, NULL, first), *odd2 = sn_build1(b, SN_OP_ISNAN, NULL, second);
        Value *above = sn_build2(b, SN_OP_AND, NULL, odd2, sn_build1(b, SN_OP_NOT, NULL, odd1));
        beats = sn_build2(b, SN_OP_OR, NULL, beats, above);
        ties = sn_build2(b, SN_OP_OR, NULL, ties, sn_build2(b, SN_OP_AND, NULL, odd1, odd2));
    }
    ties = sn_build2(b, SN_OP_AND, NULL, ties, sn_build2(b, SN_OP_LESS, NULL, j, i));
    return sn_build2(b, SN_OP_OR, NULL, beats, ties);
}

/* What of `x` [..., 1, n] has the rank that the row says: exactly one element is not zero, so the sum is it. */
static Value *pick(Call *c, Value *hit, Value *x) {
    if (sn_call_failed(c)) return NULL;
    Value *zero = sn_call_scalar(c, x->type.dtype, 0);
    Value *one = sn_build3(c->builder, SN_OP_WHERE, NULL, hit, x, zero);
    if (sn_call_failed(c)) return NULL;
    const int64_t axes[1] = {one->type.rank - 1};
    return sn_call_reduce(c, SN_OP_REDUCE_SUM, one, 1, axes, false);
}

/* The first k of the last axis of x, and their places. The rank of every element is the number of those that come before it,
 * by n² comparisons in one kernel: rows are short (experts, beams) where most models need them. */
static Value *first_of_few(Call *c, Value *x, Dim k, bool largest, Value **places) {
    Builder *b = c->builder;
    int rank = x->type.rank, last = rank - 1;
    Dim n = x->type.dim[last];
    Value *across = sn_call_unsqueeze(c, x, last, 1), *down = sn_call_unsqueeze(c, x, rank, 1);
    Value *before = comes_before(c, across, down, positions(c, n, 0), positions(c, n, 1), largest);
    if (sn_call_failed(c)) return NULL;
    Value *place =
        sn_call_reduce(c, SN_OP_REDUCE_SUM, sn_build_cast(b, before, SN_I64), 1, (int64_t[]){rank}, false);
    Value *hit = sn_call_failed(c) ? NULL
                                   : sn_build2(b, SN_OP_EQUAL, NULL, sn_call_unsqueeze(c, place, last, 1),
                                               positions(c, k, 1));
    *places = pick(c, hit, positions(c, n, 0));
    return pick(c, hit, across);
}

/* The same of many. */
static Value *first_of_many(Call *c, Value *x, Dim k, bool largest, Value **places) {
    *places = sn_call_top(c, x, k, largest);
    return sn_build2(c->builder, SN_OP_GATHER_ELEMENTS, &(AttrAxis){x->type.rank - 1}, x, *places);
}

Value *sn_import_top_k(Call *c) {
    Value *x = c->input[0];
    int rank = x->type.rank, last = rank - 1, axis = sn_call_axis(c, sn_call_int(c, "axis", -1), rank);
    bool largest = sn_call_int(c, "largest", 1) != 0;
    sn_call_ignore(c, "sorted"); /* in order they are in any order, too */
    Dim k = c->row->in_max > 1 ? sn_call_dim(c, c->input[1], "K") : sn_dim(c->dims, sn_call_int(c, "k", 0));
    if (sn_call_failed(c)) return NULL;
    if (x->type.dtype == SN_BOOL) return sn_call_invalid(c, "an input of bool");
    x = axis == last ? x : sn_call_swap(c, x, axis, last);
    if (sn_call_failed(c)) return NULL;
    Dim n = x->type.dim[last];
    Status status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, k, n, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "K"));
    bool few = sn_dim_le(c->dims, n, sn_dim(c->dims, MOST_COMPARED));
    Value *places, *values = (few ? first_of_few : first_of_many)(c, x, k, largest, &places);
    if (axis != last)
        values = sn_call_swap(c, values, axis, last), places = sn_call_swap(c, places, axis, last);
    if (c->output_count > 1) c->output[1] = places;
    return values;
}

/* What onnxruntime's optimizers write for biases: added with something else, or made of distances. */
#include "import_compose.h"

#include <math.h>

/* x + bias + skip */
Value *sn_import_bias_add(Call *c) {
    return op2(c, SN_OP_ADD, op2(c, SN_OP_ADD, c->input[0], c->input[1]), c->input[2]);
}

/* Of x + bias the left half times the GELU of the right one. */
Value *sn_import_bias_split_gelu(Call *c) {
    Value *sum = op2(c, SN_OP_ADD, c->input[0], c->input[1]);
    if (sn_call_failed(c)) return NULL;
    int axis = sum->type.rank - 1;
    Dim half = sn_dim_floordiv(c->dims, sum->type.dim[axis], sn_dim(c->dims, 2));
    Value *left = sliced(c, sum, axis, sn_dim(c->dims, 0), half), *right = sliced(c, sum, axis, half, half);
    return op2(c, SN_OP_MUL, left, sn_build1(c->builder, SN_OP_GELU, &(AttrGelu){false}, right));
}

/* Which axes the bias is spread along its extents say. */
Value *sn_import_bias_softmax(Call *c) {
    int rank = c->input[0]->type.rank, axis = sn_call_axis(c, sn_call_int(c, "axis", 1), rank);
    sn_call_ignore(c, "is_inner_broadcast");
    if (sn_call_failed(c)) return NULL;
    if (axis != rank - 1) return sn_call_unsupported(c, "a softmax over several axes");
    Value *sum = op2(c, SN_OP_ADD, c->input[0], c->input[1]);
    return sn_build1(c->builder, SN_OP_SOFTMAX, &(AttrAxis){axis}, sum);
}

/* Numbers of `buckets` for the distances [queries, keys]: half of them for one distance each, the others for ranges that grow up to
 * `most` (Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", 2020). */
static Value *buckets_of(Call *c, Value *distance, int64_t buckets, double most, bool both_ways) {
    Value *zero = sn_call_scalar(c, SN_I64, 0), *base = zero;
    if (both_ways) {
        buckets /= 2;
        Value *ahead = op2(c, SN_OP_LESS, zero, distance);
        base = choose(c, ahead, sn_call_scalar(c, SN_I64, (double)buckets), zero);
        distance = op1(c, SN_OP_ABS, distance);
    } else {
        distance = op2(c, SN_OP_MAX, op1(c, SN_OP_NEG, distance), zero);
    }
    int64_t exact = buckets / 2;
    Value *near = op_number(c, SN_OP_LESS, distance, (double)exact);
    Value *ratio = as_type(c, op_number(c, SN_OP_MAX, distance, 1), SN_F32);
    ratio = op1(c, SN_OP_LOG, op_number(c, SN_OP_DIV, ratio, (double)exact));
    ratio = op_number(c, SN_OP_DIV, ratio, log(most / (double)exact));
    Value *range = as_type(c, op_number(c, SN_OP_MUL, ratio, (double)(buckets - exact)), SN_I64);
    range = op_number(c, SN_OP_MIN, op_number(c, SN_OP_ADD, range, (double)exact), (double)(buckets - 1));
    return op2(c, SN_OP_ADD, base, choose(c, near, distance, range));
}

/* [1, heads, queries, keys] of a table [buckets, heads] that lies by heads. */
Value *sn_import_relative_bias(Call *c) {
    Value *table = c->input[0];
    bool both_ways = sn_call_int(c, "is_bidirectional", 0) != 0;
    int64_t most = sn_call_int(c, "max_distance", 128), buckets;
    if (table->type.rank != 2) return sn_call_invalid(c, "a table of rank %d", table->type.rank);
    if (!sn_dim_is(table->type.dim[0], &buckets))
        return sn_call_unsupported(c, "a number of buckets that is not known");
    int64_t exact = buckets / (both_ways ? 4 : 2);
    if (exact < 1 || most <= exact)
        return sn_call_invalid(c, "%lld buckets up to %lld", (long long)buckets, (long long)most);
    Dim queries = sn_call_dim(c, c->input[1], "query_length"),
        keys = sn_call_dim(c, c->input[2], "key_length");
    if (sn_call_failed(c)) return NULL;
    Value *distance = op2(c, SN_OP_SUB, count_up(c, SN_I64, keys, 0), count_up(c, SN_I64, queries, 1));
    table = reshaped(c, table, 2, (Dim[]){table->type.dim[1], table->type.dim[0]});
    Value *bias = gathered(c, table, buckets_of(c, distance, buckets, (double)most, both_ways), 1);
    return sn_call_failed(c) ? NULL : sn_call_unsqueeze(c, bias, 0, 1);
}

/* A bias of distances, times a gate of each query (Chen et al., "WavLM", 2022). */
Value *sn_import_gated_relative_bias(Call *c) {
    Dims *dims = c->dims;
    Value *x = op2(c, SN_OP_ADD, c->input[0], c->input[1]), *weight = c->input[3];
    int64_t heads = sn_call_int(c, "num_heads", 0);
    if (sn_call_input(c, 6)) return sn_call_unsupported(c, "rows without padding");
    if (heads < 1 || c->input[0]->type.rank != 3 || weight->type.rank != 2)
        return sn_call_invalid(c, "a query of rank %d and %lld heads", c->input[0]->type.rank,
                               (long long)heads);
    if (sn_call_failed(c)) return NULL;
    Dim each = weight->type.dim[0], two = sn_dim(dims, 2), half;
    if (!sn_dim_divides(dims, two, weight->type.dim[1], &half))
        return sn_call_invalid(c, "a weight of odd width");
    x = reshaped(c, x, 4, (Dim[]){x->type.dim[0], x->type.dim[1], sn_dim(dims, heads), each});
    Value *gates =
        op2(c, SN_OP_ADD, op2(c, SN_OP_MATMUL, transposed(c, x, (int[]){0, 2, 1, 3}), weight), c->input[4]);
    if (sn_call_failed(c)) return NULL;
    const Dim *dim = gates->type.dim;
    gates = reshaped(c, gates, 5, (Dim[]){dim[0], dim[1], dim[2], two, half});
    gates = op1(c, SN_OP_SIGMOID, reduce_axis(c, SN_OP_REDUCE_SUM, gates, 4, false));
    Value *part[2];
    for (int k = 0; k < 2; k++) part[k] = sliced(c, gates, 3, sn_dim(dims, k), sn_dim(dims, 1));
    Value *rest = op_number(c, SN_OP_SUB, op2(c, SN_OP_MUL, part[1], c->input[5]), 1);
    Value *gate = op_number(c, SN_OP_ADD, op2(c, SN_OP_MUL, part[0], rest), 2);
    return op2(c, SN_OP_MUL, gate, c->input[2]);
}

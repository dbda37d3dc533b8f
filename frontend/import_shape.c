/* Constants, shapes and what is made of shapes. */
#include "import_compose.h"

#include <math.h>
#include <string.h>

/* ---- constants ---- */

Value *sn_import_constant(Call *c) {
    const Onnx__TensorProto *proto = sn_call_tensor_proto(c, "value");
    Tensor *tensor = sn_call_tensor(c, "value");
    if (!tensor) tensor = sn_call_sparse_tensor(c, "sparse_value", &proto);
    if (!tensor) tensor = sn_call_list_tensor(c, "value_floats", true);
    if (!tensor) tensor = sn_call_list_tensor(c, "value_ints", false);
    if (sn_call_failed(c)) return NULL;
    c->says = true, c->made = tensor && proto ? sn_narrow(proto->data_type) : NULL;
    if (tensor) return sn_build_constant(c->builder, tensor);
    if (sn_call_has(c, "value_float")) return sn_call_scalar(c, SN_F32, sn_call_float(c, "value_float", 0));
    if (!sn_call_has(c, "value_int")) return sn_call_unsupported(c, "this kind of constant");
    void *bytes;
    tensor = sn_tensor_new(c->import->graph->arena, SN_I64, 0, NULL, &bytes);
    sn_element_set_int(SN_I64, bytes, 0, sn_call_int(c, "value_int", 0));
    return sn_build_constant(c->builder, tensor);
}

/* The constant's bytes, not a number through a double: 64-bit integers stay whole. */
Value *sn_import_constant_of_shape(Call *c) {
    int count;
    const Dim *extent = sn_call_dims(c, c->input[0], "shape", &count);
    const Onnx__TensorProto *proto = sn_call_tensor_proto(c, "value");
    Tensor *tensor = sn_call_tensor(c, "value");
    if (sn_call_failed(c)) return NULL;
    c->says = true, c->made = proto ? sn_narrow(proto->data_type) : NULL;
    if (tensor && tensor->count != 1)
        return sn_call_invalid(c, "a value of %lld elements", (long long)tensor->count);
    Value *one;
    if (tensor) {
        Tensor *scalar = SN_NEW(c->import->graph->arena, Tensor);
        *scalar = *tensor;
        scalar->rank = 0;
        one = sn_build_constant(c->builder, scalar);
    } else {
        one = sn_call_scalar(c, SN_F32, 0);
    }
    if (count > SN_MAX_RANK) return sn_call_unsupported(c, "rank %d", count);
    return sn_call_failed(c) ? NULL : sn_build_expand(c->builder, one, count, extent);
}

/* ---- shapes ---- */

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

Value *sn_import_shape(Call *c) {
    Type type = c->input[0]->type;
    int64_t start = sn_call_int(c, "start", 0), end = sn_call_int(c, "end", type.rank);
    start = clamp(start < 0 ? start + type.rank : start, 0, type.rank);
    end = clamp(end < 0 ? end + type.rank : end, 0, type.rank);
    int count = end > start ? (int)(end - start) : 0;
    return sn_build_dims(c->builder, count, type.dim + start, false);
}

Value *sn_import_size(Call *c) {
    Dim count = sn_type_count(c->dims, c->input[0]->type);
    return sn_build_dims(c->builder, 1, &count, true);
}

/* ---- ranges ---- */

/* How many steps fit: max(0, ceil((limit - start) / step)). */
static Dim steps(Call *c, Dim start, Dim limit, int64_t step) {
    Dim span = step > 0 ? sn_dim_sub(c->dims, limit, start) : sn_dim_sub(c->dims, start, limit);
    Dim count = sn_dim_ceildiv(c->dims, span, sn_dim(c->dims, step > 0 ? step : -step));
    return sn_dim_max(c->dims, count, sn_dim(c->dims, 0));
}

/* Fractional bounds: all three are constants. */
static Value *fractional_range(Call *c, DType dtype) {
    double start = sn_call_number(c, c->input[0], "start"), limit = sn_call_number(c, c->input[1], "limit");
    double step = sn_call_number(c, c->input[2], "delta");
    if (sn_call_failed(c)) return NULL;
    double count = ceil((limit - start) / step);
    if (step == 0 || !(count < 0x1p40)) return sn_call_invalid(c, "a range of %g elements", count);
    Dims *dims = c->dims;
    AttrIota attr = {dtype, sn_dim(dims, count > 0 ? (int64_t)count : 0), sn_dim(dims, 0), sn_dim(dims, 1)};
    Value *index = sn_build(c->builder, SN_OP_IOTA, &attr, 0, NULL);
    Value *offset = sn_build2(c->builder, SN_OP_MUL, NULL, index, sn_call_scalar(c, dtype, step));
    return sn_build2(c->builder, SN_OP_ADD, NULL, offset, sn_call_scalar(c, dtype, start));
}

/* The same number of whole bounds that a run computes: 1 and how often delta fits into what is left of the span when it is one
 * shorter, where both have one sign. A delta of 0 is a fault. */
static Value *whole_steps(Call *c, Value *span, Value *delta) {
    Value *sign = op1(c, SN_OP_SIGN, delta);
    Value *more = op2(c, SN_OP_DIV, op2(c, SN_OP_SUB, span, sign), delta);
    Value *any = op2(c, SN_OP_EQUAL, op1(c, SN_OP_SIGN, span), sign);
    return choose(c, any, op_number(c, SN_OP_ADD, more, 1), sn_call_scalar(c, SN_I64, 0));
}

/* And of floats, where a NaN is a fault, too, and infinitely many are more than any memory has. */
static Value *float_steps(Call *c, Value *span, Value *delta) {
    Value *none = op_number(c, SN_OP_EQUAL, delta, 0);
    Value *count = op2(c, SN_OP_DIV, span, choose(c, none, sn_call_scalar(c, SN_F64, NAN), delta));
    count = op_number(c, SN_OP_MAX, op1(c, SN_OP_CEIL, count), 0);
    return as_type(c, op_number(c, SN_OP_MIN, count, 0x1p62), SN_I64);
}

/* At a run: as many as data say. */
static Value *data_range(Call *c, DType dtype) {
    bool whole = !sn_dtype_is_float(dtype);
    DType wide = whole ? SN_I64 : SN_F64;
    Value *start = as_type(c, c->input[0], wide), *limit = as_type(c, c->input[1], wide),
          *delta = as_type(c, c->input[2], wide), *span = op2(c, SN_OP_SUB, limit, start);
    Value *count = whole ? whole_steps(c, span, delta) : float_steps(c, span, delta);
    Dim extent = sn_call_size(c, count, "range", NULL);
    Value *offset = op2(c, SN_OP_MUL, count_up(c, dtype, extent, 0), c->input[2]);
    return op2(c, SN_OP_ADD, offset, c->input[0]);
}

static bool is_fraction(const Value *value) {
    double number;
    return sn_dtype_is_float(value->type.dtype) && sn_value_is_splat(value, &number) &&
           number != floor(number);
}

Value *sn_import_range(Call *c) {
    DType dtype = c->input[0]->type.dtype;
    bool fraction = false, constant = true, known = true;
    double number;
    Dim bound[3];
    for (int k = 0; k < 3; k++) {
        if (c->input[k]->type.dtype != dtype) return sn_call_invalid(c, "bounds of different element types");
        fraction = fraction || is_fraction(c->input[k]);
        constant = constant && sn_value_is_splat(c->input[k], &number);
        bound[k] = sn_call_known_dim(c, c->input[k]);
        known = known && bound[k];
    }
    int64_t step;
    if (sn_call_failed(c)) return NULL;
    if (fraction && constant) return fractional_range(c, dtype);
    if (!known || !sn_dim_is(bound[2], &step)) return data_range(c, dtype);
    if (step == 0 || step == INT64_MIN) return sn_call_invalid(c, "a delta of %lld", (long long)step);
    AttrIota attr = {dtype, steps(c, bound[0], bound[1], step), bound[0], bound[2]};
    return sn_build(c->builder, SN_OP_IOTA, &attr, 0, NULL);
}

/* ---- reshapes ---- */

/* The one extent that is to be worked out: all elements over those of the other extents. */
static Dim missing_extent(Call *c, Type type, int rank, const Dim *extent, int missing) {
    Dim others = sn_dim(c->dims, 1), total = sn_type_count(c->dims, type), quotient;
    for (int k = 0; k < rank; k++)
        if (k != missing) others = sn_dim_mul(c->dims, others, extent[k]);
    if (sn_dim_equals(others, 0)) {
        sn_call_invalid(c, "an extent of -1 beside one of 0");
        return others;
    }
    if (sn_dim_divides(c->dims, others, total, &quotient)) return quotient;
    return sn_dim_floordiv(c->dims, total, others);
}

/* An extent that is asked for, or where that is 0 the input's. */
static Value *zero_copies(Call *c, Value *asked, Dim extent) {
    Value *own = size_number(c, extent, SN_I64);
    if (sn_call_failed(c)) return asked;
    if (asked->known) return sn_dim_equals(asked->known[0], 0) ? own : asked;
    return choose(c, op_number(c, SN_OP_EQUAL, asked, 0), own, asked);
}

/* The extents of a list that a run computes: what is 0 or -1 there is worked out by the run, too. */
static const Dim *data_shape(Call *c, const Value *shape, bool keep_zero, int *rank) {
    Type type = c->input[0]->type;
    int64_t count;
    *rank = 0;
    if (!sn_dim_is(sn_type_count(c->dims, shape->type), &count) || count > SN_MAX_RANK) {
        sn_call_unsupported(c, "a shape of a length that is not known");
        return NULL;
    }
    Dim *extent = SN_ARRAY(c->import->scratch, Dim, count);
    Value *asked[SN_MAX_RANK], *minus = sn_call_scalar(c, SN_I64, -1), *one = sn_call_scalar(c, SN_I64, 1);
    Value *others = one, *complete = one; /* 0 where one of them is -1 */
    for (int k = 0; k < count && !sn_call_failed(c); k++) {
        asked[k] = sn_call_element(c, shape, k);
        if (sn_call_failed(c)) break;
        if (!keep_zero && k < type.rank) asked[k] = zero_copies(c, asked[k], type.dim[k]);
        Value *missing = op2(c, SN_OP_EQUAL, asked[k], minus);
        others = op2(c, SN_OP_MUL, others, choose(c, missing, one, asked[k]));
        complete = choose(c, missing, sn_call_scalar(c, SN_I64, 0), complete);
    }
    /* What is left beside an extent of 0 is a fault. */
    Value *left = op2(c, SN_OP_DIV, size_number(c, sn_type_count(c->dims, type), SN_I64),
                      op2(c, SN_OP_MAX, others, complete));
    for (int k = 0; k < count && !sn_call_failed(c); k++) {
        bool known = asked[k]->known;
        extent[k] = known ? asked[k]->known[0]
                          : sn_call_size(c, choose(c, op2(c, SN_OP_EQUAL, asked[k], minus), left, asked[k]),
                                         "extent", NULL);
    }
    *rank = (int)count;
    return extent;
}

Value *sn_import_reshape(Call *c) {
    Type type = c->input[0]->type;
    int rank, missing = -1;
    bool keep_zero = sn_call_int(c, "allowzero", 0) != 0;
    const Value *shape = sn_call_input(c, 1);
    const Dim *given = shape && !shape->known ? data_shape(c, shape, keep_zero, &rank)
                                              : sn_call_dim_list(c, "shape", 1, &rank);
    if (sn_call_failed(c)) return NULL;
    if (rank > SN_MAX_RANK) return sn_call_unsupported(c, "rank %d", rank);
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) {
        extent[k] = given[k];
        if (sn_dim_equals(given[k], 0) && !keep_zero) {
            if (k >= type.rank) return sn_call_invalid(c, "extent %d is copied from no axis", k);
            extent[k] = type.dim[k];
        }
        if (!sn_dim_equals(given[k], -1)) continue;
        if (missing >= 0) return sn_call_invalid(c, "two extents of -1");
        missing = k;
    }
    if (missing >= 0) extent[missing] = missing_extent(c, type, rank, extent, missing);
    return sn_call_failed(c) ? NULL : sn_build_reshape(c->builder, c->input[0], rank, extent);
}

Value *sn_import_flatten(Call *c) {
    Type type = c->input[0]->type;
    int64_t axis = sn_call_int(c, "axis", 1);
    if (axis < -type.rank || axis > type.rank) return sn_call_invalid(c, "axis %lld", (long long)axis);
    if (axis < 0) axis += type.rank;
    Dim extent[2] = {sn_dim(c->dims, 1), sn_dim(c->dims, 1)};
    for (int k = 0; k < type.rank; k++)
        extent[k >= axis] = sn_dim_mul(c->dims, extent[k >= axis], type.dim[k]);
    return sn_build_reshape(c->builder, c->input[0], 2, extent);
}

Value *sn_import_unsqueeze(Call *c) {
    Type type = c->input[0]->type;
    int count;
    const int64_t *given = sn_call_list(c, "axes", 1, &count);
    int rank = type.rank + count;
    if (sn_call_failed(c)) return NULL;
    if (rank > SN_MAX_RANK) return sn_call_unsupported(c, "rank %d", rank);
    const int64_t *axes = sn_call_axes(c, given, count, rank);
    if (sn_call_failed(c)) return NULL;
    Dim extent[SN_MAX_RANK];
    for (int k = 0, next = 0, from = 0; k < rank; k++) {
        bool made = next < count && axes[next] == k;
        extent[k] = made ? sn_dim(c->dims, 1) : type.dim[from++];
        next += made;
    }
    return sn_build_reshape(c->builder, c->input[0], rank, extent);
}

/* The rank that the file declares the node's result to have if it is an output, -1 where it is not. */
static int declared_rank(const Call *c) {
    const Onnx__GraphProto *graph = c->import->model->graph;
    for (size_t i = 0; i < graph->n_output; i++) {
        const Onnx__ValueInfoProto *info = graph->output[i];
        if (!info->type || !info->type->tensor_type || !info->type->tensor_type->shape) continue;
        if (strcmp(info->name, c->node->output[0]) == 0) return (int)info->type->tensor_type->shape->n_dim;
    }
    return -1;
}

/* All axes of extent 1 go. Which of the sizes that only a run knows are 1 must be known now, as the result's rank hangs on
 * it: none of them, or all where the file declares a result of just the other axes. Binding checks that. */
static Value *squeeze_all(Call *c) {
    Type type = c->input[0]->type;
    Dim extent[SN_MAX_RANK], one = sn_dim(c->dims, 1), two = sn_dim(c->dims, 2);
    int rank = 0, fixed = 0, symbolic = 0, declared = declared_rank(c);
    for (int k = 0; k < type.rank; k++) {
        symbolic += type.dim[k]->kind != SN_DIM_CONST;
        fixed += type.dim[k]->kind == SN_DIM_CONST && type.dim[k] != one;
    }
    if (declared >= 0 && declared != fixed && declared != fixed + symbolic)
        return sn_call_unsupported(c, "a rank that depends on a run's sizes");
    bool ones = declared == fixed;
    for (int k = 0; k < type.rank; k++) {
        bool constant = type.dim[k]->kind == SN_DIM_CONST;
        if (constant ? type.dim[k] != one : !ones) extent[rank++] = type.dim[k];
        if (constant) continue;
        Status status = sn_graph_check(c->import->graph, ones ? SN_CHECK_EQUAL : SN_CHECK_AT_MOST,
                                       ones ? one : two, type.dim[k], c->builder->origin);
        if (status) return sn_call_latch(c, status);
    }
    return sn_build_reshape(c->builder, c->input[0], rank, extent);
}

Value *sn_import_squeeze(Call *c) {
    Type type = c->input[0]->type;
    int count;
    const int64_t *given = sn_call_list(c, "axes", 1, &count);
    if (!given && !sn_call_failed(c)) return squeeze_all(c);
    const int64_t *axes = sn_call_failed(c) ? NULL : sn_call_axes(c, given, count, type.rank);
    if (sn_call_failed(c)) return NULL;
    Dim extent[SN_MAX_RANK];
    int rank = 0;
    for (int k = 0, next = 0; k < type.rank; k++) {
        bool named = next < count && axes[next] == k;
        next += named;
        if (named && type.dim[k]->kind == SN_DIM_CONST && !sn_dim_equals(type.dim[k], 1))
            return sn_call_invalid(c, "axis %d has not extent 1", k);
        if (!named) extent[rank++] = type.dim[k];
    }
    return sn_build_reshape(c->builder, c->input[0], rank, extent);
}

Value *sn_import_identity(Call *c) {
    return c->input[0];
}

/* ---- transposes and expansions ---- */

Value *sn_import_transpose(Call *c) {
    int rank = c->input[0]->type.rank, count, order[SN_MAX_RANK];
    const int64_t *given = sn_call_int_list(c, "perm", &count);
    if (given && count != rank) return sn_call_invalid(c, "perm has %d entries for rank %d", count, rank);
    bool used[SN_MAX_RANK] = {false};
    for (int k = 0; k < rank; k++) {
        order[k] = given ? sn_call_axis(c, given[k], rank) : rank - 1 - k;
        if (used[order[k]]) sn_call_invalid(c, "perm is no permutation");
        used[order[k]] = true;
    }
    return sn_build_transpose(c->builder, c->input[0], order);
}

/* Both ways: an extent of 1 in the shape keeps the input's. */
Value *sn_import_expand(Call *c) {
    Type type = c->input[0]->type;
    int count;
    const Dim *given = sn_call_dims(c, c->input[1], "shape", &count);
    if (sn_call_failed(c)) return NULL;
    int rank = count > type.rank ? count : type.rank;
    if (rank > SN_MAX_RANK) return sn_call_unsupported(c, "rank %d", rank);
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) {
        int own = k - (rank - type.rank), asked = k - (rank - count);
        Dim one = sn_dim(c->dims, 1);
        Status status = sn_infer_broadcast_dim(c->import->graph, asked < 0 ? one : given[asked],
                                               own < 0 ? one : type.dim[own], c->builder->origin, &extent[k]);
        if (status) return sn_call_latch(c, status);
    }
    return sn_build_expand(c->builder, c->input[0], rank, extent);
}

/* Element i of a tiled axis is element i mod extent. */
Value *sn_import_tile(Call *c) {
    Type type = c->input[0]->type;
    int count;
    const Dim *repeats = sn_call_dims(c, c->input[1], "repeats", &count);
    if (sn_call_failed(c)) return NULL;
    if (count != type.rank) return sn_call_invalid(c, "%d repeats for rank %d", count, type.rank);
    Dim extent[SN_MAX_RANK], index[SN_MAX_RANK];
    bool moves = false;
    for (int k = 0; k < type.rank; k++) {
        extent[k] = sn_dim_mul(c->dims, type.dim[k], repeats[k]);
        moves = moves || extent[k] != type.dim[k];
        index[k] = sn_dim_axis(c->dims, k, extent[k]);
        if (extent[k] != type.dim[k]) index[k] = sn_dim_mod(c->dims, index[k], type.dim[k]);
    }
    AttrView attr = {type.rank, extent, type.rank, index};
    return moves ? sn_build1(c->builder, SN_OP_VIEW, &attr, c->input[0]) : c->input[0];
}

/* Types of sources, movements, pointwise operators, reductions and clusters. */
#include "infer_rules.h"

#include <math.h>

static Dim *copy_dims(Infer *infer, Type type) {
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, type.rank);
    for (int k = 0; k < type.rank; k++) dim[k] = type.dim[k];
    return dim;
}

static Status check_dtype(DType dtype) {
    if ((int)dtype >= 0 && dtype < SN_DTYPE_COUNT) return NULL;
    return sn_fail(SN_INVALID, "there is no element type %d", (int)dtype);
}

/* ---- sources ---- */

Status sn_infer_constant(Infer *infer, Node *node) {
    const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
    if (!tensor) return sn_fail(SN_INVALID, "the tensor is missing");
    TRY(check_dtype(tensor->dtype));
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, tensor->rank);
    for (int k = 0; k < tensor->rank; k++) dim[k] = sn_dim(infer->graph->dims, tensor->extent[k]);
    return sn_infer_set(node, 0, tensor->dtype, tensor->rank, dim);
}

Status sn_infer_dims(Infer *infer, Node *node) {
    const AttrDims *attr = node->attr;
    if (attr->count < 0 || (attr->scalar && attr->count != 1))
        return sn_fail(SN_INVALID, "%d values in a %s", attr->count, attr->scalar ? "scalar" : "list");
    for (int k = 0; k < attr->count; k++)
        if (!attr->dim[k] || sn_dim_has_axis(attr->dim[k]))
            return sn_fail(SN_INVALID, "value %d is not a size", k);
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, 1);
    dim[0] = sn_dim(infer->graph->dims, attr->count);
    return sn_infer_set(node, 0, SN_I64, attr->scalar ? 0 : 1, dim);
}

Status sn_infer_iota(Infer *infer, Node *node) {
    const AttrIota *attr = node->attr;
    TRY(check_dtype(attr->dtype));
    if (attr->dtype == SN_BOOL) return sn_fail(SN_INVALID, "it cannot count in bool");
    if (!attr->extent || !attr->start || !attr->step)
        return sn_fail(SN_INVALID, "extent, start or step is missing");
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, 1);
    dim[0] = attr->extent;
    return sn_infer_set(node, 0, attr->dtype, 1, dim);
}

/* The region's params are the operands and its results the outputs. */
Status sn_infer_cluster(Infer *infer, Node *node) {
    (void)infer;
    const Region *body = node->body;
    if (!body) return sn_fail(SN_INVALID, "it has no body");
    if (body->param.count != node->input_count || body->result.count != node->output_count)
        return sn_fail(SN_INVALID, "its body has %d params and %d results for %d inputs and %d outputs",
                       body->param.count, body->result.count, node->input_count, node->output_count);
    for (int k = 0; k < node->input_count; k++)
        if (!sn_type_equal(body->param.at[k]->type, node->input[k]->type))
            return sn_fail(SN_INVALID, "param %d of its body has not the type of input %d", k, k);
    for (int k = 0; k < node->output_count; k++) {
        Type type = body->result.at[k]->type;
        TRY(sn_infer_set(node, k, type.dtype, type.rank, type.dim));
    }
    return NULL;
}

Status sn_infer_gradient(Infer *infer, Node *node) {
    Type y = node->input[0]->type;
    int count = (node->input_count - 1) / 2;
    if (node->input_count != 1 + 2 * count || node->output_count > count)
        return sn_fail(SN_INVALID, "%d inputs for %d gradients", node->input_count, node->output_count);
    if (!sn_dtype_is_float(y.dtype) || !sn_dim_equals(sn_type_count(infer->graph->dims, y), 1))
        return sn_fail(SN_UNSUPPORTED, "unsupported: the gradient of what is not known to be one float");
    for (int k = 0; k < count; k++) {
        Type named = node->input[1 + k]->type, given = node->input[1 + count + k]->type;
        if (named.dtype != given.dtype || named.rank != given.rank)
            return sn_fail(SN_INVALID, "input %d has not the type of what it is given for", k);
        if (k >= node->output_count) continue;
        if (!sn_dtype_is_float(given.dtype)) return sn_fail(SN_INVALID, "a gradient by what is no float");
        TRY(sn_infer_set(node, k, given.dtype, given.rank, given.dim));
    }
    return NULL;
}

/* ---- movement ---- */

/* The axes in `dim` are the output's own. */
static bool axes_are_own(Dim dim, const AttrView *attr) {
    if (dim->kind == SN_DIM_AXIS)
        return dim->value >= 0 && dim->value < attr->rank && dim->operand[0] == attr->extent[dim->value];
    for (int k = 0; k < dim->count; k++)
        if (!axes_are_own(dim->operand[k], attr)) return false;
    return true;
}

static bool never_empty(Dims *dims, int rank, const Dim *extent) {
    for (int k = 0; k < rank; k++)
        if (!sn_dim_le(dims, sn_dim(dims, 1), extent[k])) return false;
    return true;
}

/* Whether the result, which has elements along each axis, is known to read outside of an axis of its source: of an index that goes
 * up or down evenly with each axis, the ends are looked at, of another one only whether all of it is outside. */
static bool reads_outside(Dims *dims, const AttrView *attr, Dim index, Dim extent) {
    Dim least = index, most = index;
    for (int k = 0; k < attr->rank; k++) {
        Dim axis = sn_dim_axis(dims, k, attr->extent[k]), last = sn_dim_addc(dims, attr->extent[k], -1), by;
        int64_t step;
        if (!sn_dim_depends(index, axis)) continue;
        if (!sn_dim_affine(dims, least, axis, &by, &least) || !sn_dim_affine(dims, most, axis, &by, &most) ||
            !sn_dim_is(by, &step)) {
            least = most = index;
            break;
        }
        Dim *end = step < 0 ? &least : &most;
        *end = sn_dim_add(dims, *end, sn_dim_mulc(dims, last, step));
    }
    return sn_dim_lt(dims, least, sn_dim(dims, 0)) || sn_dim_le(dims, extent, most);
}

Status sn_infer_view(Infer *infer, Node *node) {
    const AttrView *attr = node->attr;
    Type source = node->input[0]->type;
    Dims *dims = infer->graph->dims;
    if (attr->rank < 0 || attr->source_rank != source.rank)
        return sn_fail(SN_INVALID, "%d indices into a tensor of rank %d", attr->source_rank, source.rank);
    for (int k = 0; k < attr->rank; k++)
        if (!attr->extent[k] || sn_dim_has_axis(attr->extent[k]))
            return sn_fail(SN_INVALID, "extent %d is not a size", k);
    bool reads = never_empty(dims, attr->rank, attr->extent);
    for (int k = 0; k < attr->source_rank; k++) {
        Dim index = attr->index[k];
        if (!index || !axes_are_own(index, attr))
            return sn_fail(SN_INVALID, "index %d has an axis that is not the result's", k);
        if (reads && reads_outside(dims, attr, index, source.dim[k]))
            return sn_fail(SN_INVALID, "index %d is outside its axis", k);
    }
    return sn_infer_set(node, 0, source.dtype, attr->rank, attr->extent);
}

Status sn_infer_concat(Infer *infer, Node *node) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    Type first = node->input[0]->type;
    TRY(sn_infer_axis_range(axis, first.rank));
    TRY(sn_infer_one_dtype(node));
    Dim *dim = copy_dims(infer, first);
    for (int k = 1; k < node->input_count; k++) {
        Type type = node->input[k]->type;
        if (type.rank != first.rank)
            return sn_fail(SN_INVALID, "input %d has rank %d, input 0 has %d", k, type.rank, first.rank);
        for (int a = 0; a < first.rank; a++) {
            if (a == axis)
                dim[a] = sn_dim_add(infer->graph->dims, dim[a], type.dim[a]);
            else
                TRY(sn_infer_equal_dim(infer, node, "the other extents", dim[a], type.dim[a], &dim[a]));
        }
    }
    return sn_infer_set(node, 0, first.dtype, first.rank, dim);
}

Status sn_infer_append(Infer *infer, Node *node) {
    const AttrAppend *attr = node->attr;
    Type cache = node->input[0]->type, type = node->input[1]->type;
    Dims *dims = infer->graph->dims;
    TRY(sn_infer_axis_range(attr->axis, cache.rank));
    TRY(sn_infer_one_dtype(node));
    if (type.rank != cache.rank)
        return sn_fail(SN_INVALID, "input 1 has rank %d, input 0 has %d", type.rank, cache.rank);
    for (int a = 0; a < cache.rank; a++)
        if (a != attr->axis)
            TRY(sn_infer_equal_dim(infer, node, "the other extents", cache.dim[a], type.dim[a], NULL));
    TRY(sn_graph_check(infer->graph, SN_CHECK_AT_MOST, sn_dim(dims, 0), attr->at, node->origin));
    TRY(sn_graph_check(infer->graph, SN_CHECK_AT_MOST, sn_dim_add(dims, attr->at, type.dim[attr->axis]),
                       cache.dim[attr->axis], node->origin));
    return sn_infer_set(node, 0, cache.dtype, cache.rank, cache.dim);
}

/* A bool or integer that the dtype holds, or any double for a float. */
static bool representable(DType dtype, double value) {
    if (sn_dtype_is_float(dtype)) return true;
    if (dtype == SN_BOOL) return value == 0 || value == 1;
    int bits = 8 * sn_dtype_bytes(dtype);
    double low = sn_dtype_is_signed(dtype) ? -(double)(UINT64_C(1) << (bits - 1)) : 0;
    double high = 2.0 * (double)(UINT64_C(1) << (bits - 1)) + low;
    return value >= low && value < high && value == trunc(value);
}

Status sn_infer_pad(Infer *infer, Node *node) {
    const AttrPad *attr = node->attr;
    Graph *graph = infer->graph;
    Type type = node->input[0]->type;
    if (attr->rank != type.rank)
        return sn_fail(SN_INVALID, "pads of %d axes for a tensor of rank %d", attr->rank, type.rank);
    if (!representable(type.dtype, attr->value))
        return sn_fail(SN_INVALID, "the value %g is not a %s", attr->value, sn_dtype_name(type.dtype));
    Dim zero = sn_dim(graph->dims, 0);
    Dim *dim = copy_dims(infer, type);
    for (int k = 0; k < type.rank; k++) {
        if (sn_dim_lt(graph->dims, attr->before[k], zero) || sn_dim_lt(graph->dims, attr->after[k], zero))
            return sn_fail(SN_INVALID, "a negative pad on axis %d", k);
        TRY(sn_graph_check(graph, SN_CHECK_AT_MOST, zero, attr->before[k], node->origin));
        TRY(sn_graph_check(graph, SN_CHECK_AT_MOST, zero, attr->after[k], node->origin));
        dim[k] = sn_dim_add(graph->dims, sn_dim_add(graph->dims, attr->before[k], dim[k]), attr->after[k]);
    }
    return sn_infer_set(node, 0, type.dtype, type.rank, dim);
}

static Status check_index_dtype(const Node *node) {
    DType dtype = node->input[1]->type.dtype;
    if (sn_dtype_is_int(dtype)) return NULL;
    return sn_fail(SN_INVALID, "the indices are %s, not integers", sn_dtype_name(dtype));
}

Status sn_infer_gather(Infer *infer, Node *node) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    Type data = node->input[0]->type, index = node->input[1]->type;
    TRY(check_index_dtype(node));
    TRY(sn_infer_axis_range(axis, data.rank));
    int rank = 0;
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, data.rank + index.rank);
    for (int k = 0; k < axis; k++) dim[rank++] = data.dim[k];
    for (int k = 0; k < index.rank; k++) dim[rank++] = index.dim[k];
    for (int k = axis + 1; k < data.rank; k++) dim[rank++] = data.dim[k];
    return sn_infer_set(node, 0, data.dtype, rank, dim);
}

Status sn_infer_gather_nd(Infer *infer, Node *node) {
    int batch = ((const AttrGatherNd *)node->attr)->batch_dims;
    Type data = node->input[0]->type, index = node->input[1]->type;
    TRY(check_index_dtype(node));
    if (batch < 0 || index.rank < 1 || batch >= index.rank || batch >= data.rank)
        return sn_fail(SN_INVALID, "batch_dims %d with data of rank %d and indices of rank %d", batch,
                       data.rank, index.rank);
    int64_t depth;
    if (!sn_dim_is(index.dim[index.rank - 1], &depth))
        return sn_fail(SN_UNSUPPORTED, "unsupported: the last extent of the indices is not a constant");
    if (depth < 1 || depth > data.rank - batch)
        return sn_fail(SN_INVALID, "indices of %lld entries into %d axes", (long long)depth,
                       data.rank - batch);
    int rank = 0;
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, data.rank + index.rank);
    for (int k = 0; k < index.rank - 1; k++) {
        dim[rank] = index.dim[k];
        if (k < batch)
            TRY(sn_infer_equal_dim(infer, node, "the batch extents", index.dim[k], data.dim[k], &dim[rank]));
        rank++;
    }
    for (int k = batch + (int)depth; k < data.rank; k++) dim[rank++] = data.dim[k];
    return sn_infer_set(node, 0, data.dtype, rank, dim);
}

Status sn_infer_scatter_add(Infer *infer, Node *node) {
    Type index = node->input[0]->type, x = node->input[1]->type;
    Dim rows = ((const AttrScatter *)node->attr)->rows;
    if (!sn_dtype_is_int(index.dtype))
        return sn_fail(SN_INVALID, "indices of type %s", sn_dtype_name(index.dtype));
    if (index.rank != 1 || x.rank != 2)
        return sn_fail(SN_INVALID, "indices of rank %d for rows of rank %d", index.rank, x.rank);
    if (sn_dim_has_axis(rows)) return sn_fail(SN_INVALID, "the rows are not a size");
    TRY(sn_infer_equal_dim(infer, node, "the rows and their indices", index.dim[0], x.dim[0], NULL));
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, 2);
    dim[0] = rows;
    dim[1] = x.dim[1];
    return sn_infer_set(node, 0, x.dtype, 2, dim);
}

Status sn_infer_places(Infer *infer, Node *node) {
    Type running = node->input[0]->type;
    Dim *rows = SN_NEW(infer->graph->arena, Dim);
    *rows = ((const AttrScatter *)node->attr)->rows;
    if (running.dtype != SN_I64 || running.rank != 1)
        return sn_fail(SN_INVALID, "a running count that is no list of i64");
    if (sn_dim_has_axis(*rows)) return sn_fail(SN_INVALID, "the rows are not a size");
    return sn_infer_set(node, 0, SN_I64, 1, rows);
}

Status sn_infer_top(Infer *infer, Node *node) {
    Type x = node->input[0]->type;
    Dim columns = ((const AttrTop *)node->attr)->columns, *dim = SN_ARRAY(infer->graph->arena, Dim, 2);
    if (x.rank != 2) return sn_fail(SN_INVALID, "rows of rank %d", x.rank);
    if (sn_dim_has_axis(columns)) return sn_fail(SN_INVALID, "the columns are not a size");
    TRY(sn_graph_check(infer->graph, SN_CHECK_AT_MOST, columns, x.dim[1], node->origin));
    dim[0] = x.dim[0], dim[1] = columns;
    return sn_infer_set(node, 0, SN_I64, 2, dim);
}

Status sn_infer_sift(Infer *infer, Node *node) {
    Type hits = node->input[0]->type, end = node->input[1]->type;
    if (hits.rank != 2 || hits.dtype != SN_BOOL)
        return sn_fail(SN_INVALID, "hits that are no matrix of bool");
    if (end.rank != 1 || end.dtype != SN_I64) return sn_fail(SN_INVALID, "ends that are no list of i64");
    TRY(sn_infer_equal_dim(infer, node, "the rows and columns", hits.dim[0], hits.dim[1], NULL));
    TRY(sn_infer_equal_dim(infer, node, "the rows and their ends", hits.dim[0], end.dim[0], NULL));
    return sn_infer_set(node, 0, SN_BOOL, 1, hits.dim);
}

Status sn_infer_gather_elements(Infer *infer, Node *node) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    Type data = node->input[0]->type, index = node->input[1]->type;
    TRY(check_index_dtype(node));
    TRY(sn_infer_axis_range(axis, data.rank));
    if (index.rank != data.rank)
        return sn_fail(SN_INVALID, "data of rank %d with indices of rank %d", data.rank, index.rank);
    for (int k = 0; k < data.rank; k++) {
        if (k == axis) continue;
        if (sn_dim_lt(infer->graph->dims, data.dim[k], index.dim[k]))
            return sn_fail(SN_INVALID, "the indices are longer than the data on axis %d", k);
        TRY(sn_graph_check(infer->graph, SN_CHECK_AT_MOST, index.dim[k], data.dim[k], node->origin));
    }
    return sn_infer_set(node, 0, data.dtype, index.rank, index.dim);
}

Status sn_infer_trilu(Infer *infer, Node *node) {
    const AttrTrilu *attr = node->attr;
    if (node->input[0]->type.rank < 2) return sn_fail(SN_INVALID, "its input is no matrix");
    if (!attr->k || sn_dim_has_axis(attr->k)) return sn_fail(SN_INVALID, "k is not a size");
    return sn_infer_same(infer, node);
}

/* ---- pointwise ---- */

Status sn_infer_same(Infer *infer, Node *node) {
    (void)infer;
    Type type = node->input[0]->type;
    return sn_infer_set(node, 0, type.dtype, type.rank, type.dim);
}

Status sn_infer_predicate(Infer *infer, Node *node) {
    (void)infer;
    Type type = node->input[0]->type;
    return sn_infer_set(node, 0, SN_BOOL, type.rank, type.dim);
}

Status sn_infer_cast(Infer *infer, Node *node) {
    (void)infer;
    DType to = ((const AttrCast *)node->attr)->to;
    TRY(check_dtype(to));
    Type type = node->input[0]->type;
    return sn_infer_set(node, 0, to, type.rank, type.dim);
}

/* Between a float and the unsigned integer that its bits are. */
Status sn_infer_bitcast(Infer *infer, Node *node) {
    (void)infer;
    Type type = node->input[0]->type;
    DType to = ((const AttrCast *)node->attr)->to;
    TRY(check_dtype(to));
    DType bits = sn_dtype_is_float(to) ? type.dtype : to;
    if (sn_dtype_is_float(type.dtype) == sn_dtype_is_float(to) || bits == SN_BOOL ||
        sn_dtype_is_signed(bits) || sn_dtype_bytes(type.dtype) != sn_dtype_bytes(to))
        return sn_fail(SN_INVALID, "the bits of %s as %s", sn_dtype_name(type.dtype), sn_dtype_name(to));
    return sn_infer_set(node, 0, to, type.rank, type.dim);
}

Status sn_infer_broadcast(Infer *infer, Node *node) {
    TRY(sn_infer_one_dtype(node));
    return sn_infer_set_broadcast(infer, node, node->input[0]->type.dtype);
}

Status sn_infer_compare(Infer *infer, Node *node) {
    TRY(sn_infer_one_dtype(node));
    return sn_infer_set_broadcast(infer, node, SN_BOOL);
}

Status sn_infer_where(Infer *infer, Node *node) {
    DType then = node->input[1]->type.dtype, other = node->input[2]->type.dtype;
    if (node->input[0]->type.dtype != SN_BOOL)
        return sn_fail(SN_INVALID, "the condition is %s, not bool",
                       sn_dtype_name(node->input[0]->type.dtype));
    if (then != other)
        return sn_fail(SN_INVALID, "inputs 1 and 2 have different types, %s and %s", sn_dtype_name(then),
                       sn_dtype_name(other));
    return sn_infer_set_broadcast(infer, node, then);
}

/* ---- random numbers ---- */

Status sn_infer_random(Infer *infer, Node *node) {
    for (int k = 0; k < 3; k++)
        if (node->input[k]->type.dtype != SN_I64)
            return sn_fail(SN_INVALID, "input %d is %s, not i64", k,
                           sn_dtype_name(node->input[k]->type.dtype));
    int64_t number = ((const AttrRandom *)node->attr)->number;
    if (number < 0 || number >= SN_DROPOUT_NODES)
        return sn_fail(SN_INVALID, "there is no stream number %lld", (long long)number);
    return sn_infer_set_broadcast(infer, node, SN_U32);
}

Status sn_infer_dropout(Infer *infer, Node *node) {
    (void)infer;
    const AttrDropout *attr = node->attr;
    Type type = node->input[0]->type;
    const Value *state = node->input_count > 1 ? node->input[1] : NULL;
    if (!sn_dtype_is_float(type.dtype)) return sn_fail(SN_INVALID, "input 0 is no float");
    if (!(attr->ratio >= 0 && attr->ratio < 1)) return sn_fail(SN_INVALID, "a ratio of %g", attr->ratio);
    if (attr->number < 0 || attr->number >= SN_DROPOUT_NODES)
        return sn_fail(SN_UNSUPPORTED, "unsupported: more than %d dropouts", SN_DROPOUT_NODES - 1);
    if (state &&
        (state->type.dtype != SN_I64 || state->type.rank != 1 || !sn_dim_equals(state->type.dim[0], 2)))
        return sn_fail(SN_INVALID, "the state is not i64[2]");
    TRY(sn_infer_set(node, 0, type.dtype, type.rank, type.dim));
    return node->output_count > 1 ? sn_infer_set(node, 1, SN_BOOL, type.rank, type.dim) : NULL;
}

/* ---- reductions, scans, rows ---- */

Status sn_infer_reduce(Infer *infer, Node *node) {
    const AttrReduce *attr = node->attr;
    Type type = node->input[0]->type;
    Dim *dim = copy_dims(infer, type);
    for (int k = 0; k < attr->count; k++) {
        int64_t axis = attr->axes[k];
        if (axis < 0 || axis >= type.rank || (k > 0 && axis <= attr->axes[k - 1]))
            return sn_fail(SN_INVALID, "axis %lld of a tensor of rank %d", (long long)axis, type.rank);
        dim[axis] = sn_dim(infer->graph->dims, 1);
    }
    return sn_infer_set(node, 0, type.dtype, type.rank, dim);
}

Status sn_infer_cumsum(Infer *infer, Node *node) {
    TRY(sn_infer_axis_range(((const AttrScan *)node->attr)->axis, node->input[0]->type.rank));
    return sn_infer_same(infer, node);
}

Status sn_infer_row(Infer *infer, Node *node) {
    TRY(sn_infer_axis_range(((const AttrAxis *)node->attr)->axis, node->input[0]->type.rank));
    return sn_infer_same(infer, node);
}

Status sn_infer_norm(Infer *infer, Node *node) {
    Type type = node->input[0]->type;
    TRY(sn_infer_axis_range(((const AttrNorm *)node->attr)->axis, type.rank));
    TRY(sn_infer_one_dtype(node));
    for (int k = 1; k < node->input_count; k++)
        if (node->input[k])
            TRY(sn_infer_onto(infer, node, k == 1 ? "the scale" : "the bias", node->input[k], type.rank,
                              type.dim));
    return sn_infer_same(infer, node);
}

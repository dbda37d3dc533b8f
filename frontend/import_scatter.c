/* Scatters: a tensor with some of its elements replaced by, or combined with, others.
 *
 * There is no order in which kernels write, so each element of the result looks for what is written to it: among the
 * updates of its line along the scattered axis it takes the last one, or combines them all. That takes as many comparisons
 * as the line has elements, for each of its updates. */
#include "grid.h"
#include "import_compose.h"

#include <string.h>

typedef enum Reduction { REPLACE, ADD, MULTIPLY, LEAST, GREATEST } Reduction;

static Reduction read_reduction(Call *c) {
    static const char *const names[] = {"none", "add", "mul", "min", "max"};
    const char *name = sn_call_string(c, "reduction", "none");
    for (int k = 0; k < 5; k++)
        if (strcmp(name, names[k]) == 0) return (Reduction)k;
    sn_call_invalid(c, "reduction is \"%.16s\"", name);
    return REPLACE;
}

static Value *times_size(Call *c, Value *x, Dim size) {
    return op2(c, SN_OP_MUL, x, size_number(c, size, SN_I64));
}

/* The same index, not negative. One that is out of range is a fault, which only a gather raises. */
static Value *checked(Call *c, Value *index, Dim extent) {
    return gathered(c, count_up(c, SN_I64, extent, 0), index, 0);
}

/* x with more elements of `value` behind each axis but `axis`, as many as `extent` has more. */
static Value *padded_like(Call *c, Value *x, const Dim *extent, int axis, double value) {
    if (sn_call_failed(c)) return NULL;
    Dim zero = sn_dim(c->dims, 0), before[SN_MAX_RANK], after[SN_MAX_RANK];
    bool any = false;
    for (int k = 0; k < x->type.rank; k++) {
        before[k] = zero;
        after[k] = k == axis ? zero : sn_dim_sub(c->dims, extent[k], x->type.dim[k]);
        any = any || after[k] != zero;
    }
    AttrPad attr = {x->type.rank, before, after, value};
    return any ? sn_build1(c->builder, SN_OP_PAD, &attr, x) : x;
}

/* A line of no updates has one, which is never taken, so that there is something to gather from. */
static Value *at_least_one(Call *c, Value *updates, int axis) {
    if (sn_call_failed(c) || sn_dim_le(c->dims, sn_dim(c->dims, 1), updates->type.dim[axis])) return updates;
    Dim before[SN_MAX_RANK], after[SN_MAX_RANK];
    for (int k = 0; k < updates->type.rank; k++) {
        before[k] = sn_dim(c->dims, 0);
        after[k] = sn_dim(c->dims, k == axis);
    }
    return sn_build1(c->builder, SN_OP_PAD, &(AttrPad){updates->type.rank, before, after, 0}, updates);
}

/* Lines of `data` along an axis, and what is written to them: updates, of the shape of data but along that axis, and the
 * positions on it of each, i64 and in range or -1 for nowhere, of that shape too or of extent 1 on other axes. */
typedef struct Lines {
    Value *data, *index, *updates;
    int axis;
} Lines;

/* [.., A, J, ..]: whether update j of a line is for its element a. */
static Value *hits(Call *c, const Lines *l) {
    if (sn_call_failed(c)) return NULL;
    Value *at = count_up(c, SN_I64, l->data->type.dim[l->axis], l->data->type.rank - l->axis);
    return op2(c, SN_OP_EQUAL, sn_call_unsqueeze(c, l->index, l->axis, 1), at);
}

static Value *replaced(Call *c, const Lines *l) {
    Type type = l->data->type;
    Value *hit = hits(c, l);
    if (sn_call_failed(c)) return NULL;
    Value *number = count_up(c, SN_I64, l->index->type.dim[l->axis], type.rank - l->axis - 1);
    Value *found = choose(c, hit, number, sn_call_scalar(c, SN_I64, -1));
    Value *last = reduce_axis(c, SN_OP_REDUCE_MAX, found, l->axis + 1, false);
    Value *none = op_number(c, SN_OP_LESS, last, 0);
    Value *from = expanded(c, op_number(c, SN_OP_MAX, last, 0), type.rank, type.dim);
    Value *update = sn_build2(c->builder, SN_OP_GATHER_ELEMENTS, &(AttrAxis){l->axis},
                              at_least_one(c, l->updates, l->axis), from);
    return choose(c, none, l->data, update);
}

/* In the type that sums are computed in. What is not written to counts as `data` itself where that changes nothing. */
static Value *combined(Call *c, const Lines *l, Reduction how) {
    static const OpCode op[] = {
        [ADD] = SN_OP_ADD, [MULTIPLY] = SN_OP_MUL, [LEAST] = SN_OP_MIN, [GREATEST] = SN_OP_MAX};
    static const OpCode reduce[] = {[ADD] = SN_OP_REDUCE_SUM,
                                    [MULTIPLY] = SN_OP_REDUCE_PROD,
                                    [LEAST] = SN_OP_REDUCE_MIN,
                                    [GREATEST] = SN_OP_REDUCE_MAX};
    DType dtype = l->data->type.dtype, wide = sn_dtype_is_float(dtype) ? wide_type(dtype) : dtype;
    Value *data = as_type(c, l->data, wide), *updates = as_type(c, l->updates, wide);
    Value *other = how == ADD || how == MULTIPLY ? sn_call_scalar(c, wide, how == MULTIPLY)
                                                 : sn_call_unsqueeze(c, data, l->axis + 1, 1);
    Value *each = choose(c, hits(c, l), sn_call_unsqueeze(c, updates, l->axis, 1), other);
    Value *all = reduce_axis(c, reduce[how], each, l->axis + 1, false);
    return as_type(c, op2(c, op[how], data, all), dtype);
}

static Value *scatter_lines(Call *c, const Lines *l, Reduction how) {
    if (sn_call_failed(c)) return NULL;
    if (l->data->type.rank == SN_MAX_RANK) return sn_call_unsupported(c, "rank %d", SN_MAX_RANK);
    if (l->data->type.dtype == SN_BOOL && how != REPLACE) return sn_call_invalid(c, "arithmetic of bool");
    return how == REPLACE ? replaced(c, l) : combined(c, l, how);
}

/* ---- by elements ---- */

Value *sn_import_scatter_elements(Call *c) {
    Value *data = c->input[0], *index = c->input[1], *updates = c->input[2];
    Type type = data->type;
    Reduction how = read_reduction(c);
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 0), type.rank);
    if (sn_call_failed(c)) return NULL;
    if (index->type.rank != type.rank || updates->type.rank != type.rank)
        return sn_call_invalid(c, "ranks %d, %d and %d", type.rank, index->type.rank, updates->type.rank);
    if (updates->type.dtype != type.dtype) return sn_call_invalid(c, "updates of another element type");
    for (int k = 0; k < type.rank; k++) {
        Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, index->type.dim[k],
                                       updates->type.dim[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "the updates"));
        status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, index->type.dim[k],
                                k == axis ? index->type.dim[k] : type.dim[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "the indices"));
    }
    index = checked(c, as_type(c, index, SN_I64), type.dim[axis]);
    Lines lines = {data, padded_like(c, index, type.dim, axis, -1),
                   padded_like(c, updates, type.dim, axis, 0), axis};
    return scatter_lines(c, &lines, how);
}

/* ---- by index tuples ---- */

static Dim product(Call *c, int count, const Dim *extent) {
    Dim all = sn_dim(c->dims, 1);
    for (int k = 0; k < count; k++) all = sn_dim_mul(c->dims, all, extent[k]);
    return all;
}

/* The row, of the matrix that the first `depth` axes of `type` are the rows of, that each of `count` tuples names. */
static Value *row_of(Call *c, Value *tuples, Type type, int depth, Dim count) {
    Value *row = expanded(c, sn_call_scalar(c, SN_I64, 0), 1, &count);
    tuples = reshaped(c, as_type(c, tuples, SN_I64), 2, (Dim[]){count, sn_dim(c->dims, depth)});
    for (int k = 0; k < depth; k++) {
        Value *part = sliced(c, tuples, 1, sn_dim(c->dims, k), sn_dim(c->dims, 1));
        part = checked(c, reshaped(c, part, 1, &count), type.dim[k]);
        row = k ? op2(c, SN_OP_ADD, times_size(c, row, type.dim[k]), part) : part;
    }
    return row;
}

/* Sums of rows have a kernel of their own. */
static Value *rows_added(Call *c, Value *data, Value *row, Value *updates, Dim rows) {
    DType dtype = data->type.dtype, wide = sn_dtype_is_float(dtype) ? wide_type(dtype) : dtype;
    Value *sum =
        sn_build2(c->builder, SN_OP_SCATTER_ADD, &(AttrScatter){rows}, row, as_type(c, updates, wide));
    return as_type(c, op2(c, SN_OP_ADD, as_type(c, data, wide), sum), dtype);
}

static bool check_tuples(Call *c, Type data, Type index, Type updates, int depth) {
    int outer = index.rank - 1;
    if (depth > data.rank || updates.rank != outer + data.rank - depth)
        return sn_call_invalid(c, "ranks %d, %d and %d for tuples of %d", data.rank, index.rank, updates.rank,
                               depth);
    if (updates.dtype != data.dtype) return sn_call_invalid(c, "updates of another element type");
    for (int k = 0; k < updates.rank; k++) {
        Dim expected = k < outer ? index.dim[k] : data.dim[depth + k - outer];
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, updates.dim[k], expected, c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "the updates"));
    }
    return true;
}

/* Index tuples whose length only a run knows (a column that is cut out of what may have none), and the ranks tell. */
static Value *of_known_length(Call *c, Value *index, int depth) {
    int last = index->type.rank - 1;
    Dim extent[SN_MAX_RANK];
    if (depth < 0) return sn_call_invalid(c, "updates of too high a rank");
    for (int k = 0; k < last; k++) extent[k] = index->type.dim[k];
    extent[last] = sn_dim(c->dims, depth);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, index->type.dim[last], extent[last],
                                   c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the index tuples"));
    return reshaped(c, index, last + 1, extent);
}

Value *sn_import_scatter_nd(Call *c) {
    Value *data = c->input[0], *index = c->input[1], *updates = c->input[2];
    Type type = data->type, tuples = index->type;
    Reduction how = read_reduction(c);
    int64_t depth;
    if (sn_call_failed(c)) return NULL;
    if (tuples.rank < 1) return sn_call_invalid(c, "indices of rank 0");
    if (!sn_dim_is(tuples.dim[tuples.rank - 1], &depth)) {
        index = of_known_length(c, index, tuples.rank - 1 + type.rank - updates->type.rank);
        if (!index) return NULL;
        tuples = index->type;
        sn_dim_is(tuples.dim[tuples.rank - 1], &depth);
    }
    if (!check_tuples(c, type, tuples, updates->type, (int)depth)) return NULL;
    Value *boxed = how == REPLACE ? sn_grid_assign(c, data, index, updates) : NULL;
    if (boxed || sn_call_failed(c)) return boxed;
    Dim count = product(c, tuples.rank - 1, tuples.dim), rows = product(c, (int)depth, type.dim);
    Dim columns = product(c, type.rank - (int)depth, type.dim + depth);
    Value *row = row_of(c, index, type, (int)depth, count);
    data = reshaped(c, data, 2, (Dim[]){rows, columns});
    updates = reshaped(c, updates, 2, (Dim[]){count, columns});
    if (sn_call_failed(c)) return NULL;
    Value *result;
    if (how == ADD && (sn_dtype_is_float(type.dtype) || sn_dtype_is_signed(type.dtype))) {
        result = rows_added(c, data, row, updates, rows);
    } else {
        Lines lines = {data, sn_call_unsqueeze(c, row, 1, 1), updates, 0};
        result = scatter_lines(c, &lines, how);
    }
    return reshaped(c, result, type.rank, type.dim);
}

/* ---- caches ---- */

/* Element s of a line is update s - w, where w is the batch's index and there is such an update. */
Value *sn_import_tensor_scatter(Call *c) {
    Value *cache = c->input[0], *updates = c->input[1], *start = sn_call_input(c, 2);
    Type type = cache->type;
    int axis = sn_call_axis(c, sn_call_int(c, "axis", -2), type.rank);
    const char *mode = sn_call_string(c, "mode", "linear");
    bool circular = strcmp(mode, "circular") == 0;
    if (!circular && strcmp(mode, "linear") != 0) sn_call_invalid(c, "mode is \"%.16s\"", mode);
    if (sn_call_failed(c)) return NULL;
    if (axis == 0 || updates->type.rank != type.rank || updates->type.dtype != type.dtype)
        return sn_call_invalid(c, "an update that does not fit the cache");
    Dim length = type.dim[axis], written = updates->type.dim[axis], one = sn_dim(c->dims, 1);
    for (int k = 0; k < type.rank; k++) {
        Status status = sn_graph_check(c->import->graph, k == axis ? SN_CHECK_AT_MOST : SN_CHECK_EQUAL,
                                       updates->type.dim[k], type.dim[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "the update"));
    }
    Value *at = count_up(c, SN_I64, length, type.rank - axis - 1);
    if (start) {
        Dim starts = circular ? length : sn_dim_add(c->dims, sn_dim_sub(c->dims, length, written), one);
        start = checked(c, as_type(c, start, SN_I64), starts);
        at = op2(c, SN_OP_SUB, at, sn_call_unsqueeze(c, start, 1, type.rank - 1));
        if (circular) at = op2(c, SN_OP_MOD, at, size_number(c, length, SN_I64));
    }
    Value *inside = op2(c, SN_OP_AND, op2(c, SN_OP_LESS_EQUAL, sn_call_scalar(c, SN_I64, 0), at),
                        op2(c, SN_OP_LESS, at, size_number(c, written, SN_I64)));
    Value *from = choose(c, inside, at, sn_call_scalar(c, SN_I64, 0));
    Value *update = sn_build2(c->builder, SN_OP_GATHER_ELEMENTS, &(AttrAxis){axis},
                              at_least_one(c, updates, axis), expanded(c, from, type.rank, type.dim));
    return choose(c, inside, update, cache);
}

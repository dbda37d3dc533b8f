/* Unique: what is different among the elements of a tensor or its slices along an axis. They are put in order; where one differs
 * from the one before it a group of equal ones begins. */
#include "import_compose.h"
#include "order.h"

enum { MOST_COLUMNS = 256 /* elements of a slice: each is put in order by itself */ };

/* Whether neighbours in the list differ: element i of `x` [T] or [T, C] in `order` from the one before it, or behind it where
 * `step` is 1. Of the first or last one it is true. NaN equals itself. */
static Value *differ(Call *c, Value *x, Value *order, int step) {
    if (sn_call_failed(c)) return NULL;
    Type type = x->type;
    Dim count = type.dim[0];
    Value *at = count_up(c, SN_I64, count, 0),
          *last = op_number(c, SN_OP_SUB, size_number(c, count, SN_I64), 1);
    Value *other = step > 0 ? op2(c, SN_OP_MIN, op_number(c, SN_OP_ADD, at, 1), last)
                            : op_number(c, SN_OP_MAX, op_number(c, SN_OP_SUB, at, 1), 0);
    Value *a = gathered(c, x, order, 0), *b = gathered(c, x, gathered(c, order, other, 0), 0);
    Value *same = op2(c, SN_OP_EQUAL, a, b);
    if (sn_dtype_is_float(type.dtype))
        same = op2(c, SN_OP_OR, same, op2(c, SN_OP_AND, op1(c, SN_OP_ISNAN, a), op1(c, SN_OP_ISNAN, b)));
    Value *differs = op1(c, SN_OP_NOT, same), *end = step > 0 ? last : sn_call_scalar(c, SN_I64, 0);
    if (type.rank == 2) {
        differs = reduce_axis(c, SN_OP_REDUCE_MAX, as_type(c, differs, SN_I32), 1, false);
        differs = op2(c, SN_OP_LESS, sn_call_scalar(c, SN_I32, 0), differs); /* slices of nothing do not */
    }
    return op2(c, SN_OP_OR, differs, op2(c, SN_OP_EQUAL, at, end));
}

/* The places of slices in order, [A, C]: by the last element first, then by the one before it, each time among equals as they
 * were. */
static Value *order_of_slices(Call *c, Value *x) {
    int64_t columns;
    if (!sn_dim_is(x->type.dim[1], &columns) || columns > MOST_COLUMNS)
        return sn_call_unsupported(c, "slices that are not known to have at most %d elements", MOST_COLUMNS);
    Dim count = x->type.dim[0];
    Value *order = count_up(c, SN_I64, count, 0);
    for (int64_t k = columns - 1; k >= 0 && !sn_call_failed(c); k--) {
        Value *column = sliced(c, x, 1, sn_dim(c->dims, k), sn_dim(c->dims, 1));
        Value *next = gathered(c, reshaped(c, column, 1, &count), order, 0);
        order = gathered(c, order, sn_call_top(c, next, count, false), 0);
    }
    return order;
}

/* Where each place of a list of all places stands. */
static Value *inverse_of(Call *c, Value *order) {
    return sn_call_failed(c) ? NULL : sn_call_top(c, order, order->type.dim[0], false);
}

/* The results for `x` [A] or [A, C]: output 0 is the place of the first of each group, as output 1. */
static Value *find_groups(Call *c, Value *x, bool sorted) {
    if (sn_call_failed(c)) return NULL;
    Dim count = x->type.dim[0];
    Value *order = x->type.rank == 1 ? sn_call_top(c, x, count, false) : order_of_slices(c, x);
    Value *head = as_type(c, differ(c, x, order, -1), SN_I64),
          *tail = as_type(c, differ(c, x, order, 1), SN_I64);
    Value *number = sn_build1(c->builder, SN_OP_CUMSUM, &(AttrScan){.axis = 0}, head);
    Value *total = reduce_axis(c, SN_OP_REDUCE_SUM, head, 0, false);
    if (sn_call_failed(c)) return NULL;
    Dim groups = sn_call_size(c, total, "unique", count);
    Value *begin = sn_call_growths(c, number, groups);
    Value *end =
        sn_call_growths(c, sn_build1(c->builder, SN_OP_CUMSUM, &(AttrScan){.axis = 0}, tail), groups);
    Value *first = gathered(c, order, begin, 0);
    Value *counts = op_number(c, SN_OP_ADD, op2(c, SN_OP_SUB, end, begin), 1);
    Value *group = op_number(c, SN_OP_SUB, gathered(c, number, inverse_of(c, order), 0), 1);
    if (!sorted && !sn_call_failed(c)) { /* groups by their first elements */
        Value *by_place = sn_call_top(c, first, groups, false);
        first = gathered(c, first, by_place, 0), counts = gathered(c, counts, by_place, 0);
        group = gathered(c, inverse_of(c, by_place), group, 0);
    }
    if (c->output_count > 1) c->output[1] = first;
    if (c->output_count > 2) c->output[2] = group;
    if (c->output_count > 3) c->output[3] = counts;
    return first;
}

/* `axis` first, the others as they are. */
static Value *axis_first(Call *c, Value *x, int axis) {
    int order[SN_MAX_RANK];
    for (int k = 0; k < x->type.rank; k++) order[k] = k == 0 ? axis : k <= axis ? k - 1 : k;
    return sn_build_transpose(c->builder, x, order);
}

Value *sn_import_unique(Call *c) {
    Value *x = c->input[0];
    bool sorted = sn_call_int(c, "sorted", 1) != 0, flat = !sn_call_has(c, "axis");
    int axis = flat ? 0 : sn_call_axis(c, sn_call_int(c, "axis", 0), x->type.rank);
    Dim all = sn_type_count(c->dims, x->type);
    if (flat) x = reshaped(c, x, 1, &all);
    if (sn_call_failed(c)) return NULL;
    Value *list = x;
    if (x->type.rank > 1) {
        list = axis ? axis_first(c, x, axis) : x;
        if (sn_call_failed(c)) return NULL;
        Dim count = list->type.dim[0], each = sn_dim(c->dims, 1);
        for (int k = 1; k < list->type.rank; k++) each = sn_dim_mul(c->dims, each, list->type.dim[k]);
        list = reshaped(c, list, 2, (Dim[]){count, each});
    }
    return gathered(c, x, find_groups(c, list, sorted), axis);
}

/* What a mask selects: lists whose length data decide. */
#include "import_compose.h"
#include "order.h"

/* Not zero, as a list. */
static Value *flags_of(Call *c, Value *x) {
    if (sn_call_failed(c)) return NULL;
    Dim all = sn_type_count(c->dims, x->type);
    if (x->type.dtype != SN_BOOL) x = op1(c, SN_OP_NOT, op_number(c, SN_OP_EQUAL, x, 0));
    return reshaped(c, x, 1, &all);
}

/* Where every element is the same nonzero number the result is the list of all indices. */
static Value *all_places(Call *c, Type type) {
    return sn_call_unsqueeze(c, count_up(c, SN_I64, type.dim[0], 0), 0, 1);
}

Value *sn_import_nonzero(Call *c) {
    Value *x = c->input[0];
    Type type = x->type;
    double number;
    if (type.rank == 1 && sn_value_is_splat(x, &number) && number != 0) return all_places(c, type);
    if (type.rank == 0) return sn_call_unsupported(c, "a scalar");
    Value *place = sn_call_places(c, flags_of(c, x)), *index[SN_MAX_RANK];
    for (int k = type.rank - 1; k >= 0; k--) {
        Value *extent = size_number(c, type.dim[k], SN_I64);
        index[k] = sn_call_unsqueeze(c, k ? op2(c, SN_OP_MOD, place, extent) : place, 0, 1);
        if (k) place = op2(c, SN_OP_DIV, place, extent);
    }
    return joined(c, 0, type.rank, index);
}

/* The slices along an axis, or the elements of the list that the tensor is, whose condition is true. */
Value *sn_import_compress(Call *c) {
    Value *x = c->input[0], *condition = c->input[1];
    bool flat = !sn_call_has(c, "axis");
    int axis = flat ? 0 : sn_call_axis(c, sn_call_int(c, "axis", 0), x->type.rank);
    if (condition->type.rank != 1 || condition->type.dtype != SN_BOOL)
        return sn_call_invalid(c, "a condition that is no list of bool");
    Dim all = sn_type_count(c->dims, x->type);
    if (flat) x = reshaped(c, x, 1, &all);
    if (sn_call_failed(c)) return NULL;
    Status status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, condition->type.dim[0],
                                   x->type.dim[axis], c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the condition"));
    return gathered(c, x, sn_call_places(c, condition), axis);
}

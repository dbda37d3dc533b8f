/* The type of recurrent networks of run-time length. */
#include "infer_rules.h"
#include "recurrent.h"

static bool is_function(int function) {
    return function >= 0 && function < SN_RECURRENT_FUNCTIONS;
}

static Status check_attr(const AttrRecurrent *attr) {
    if (attr->kind < 0 || attr->kind >= SN_RECURRENT_KINDS)
        return sn_fail(SN_INVALID, "a network of kind %d", attr->kind);
    if (!is_function(attr->gate) || !is_function(attr->candidate) || !is_function(attr->output))
        return sn_fail(SN_INVALID, "a function that is not known");
    return NULL;
}

/* Every operand but the lengths is of x's type. */
static Status check_types(const Node *node) {
    static const int rank[SN_RECURRENT_OPERANDS] = {3, 2, 2, 1, 1, 1};
    DType dtype = node->input[SN_RECURRENT_X]->type.dtype;
    if (dtype != SN_F32 && dtype != SN_F64)
        return sn_fail(SN_INVALID, "steps of type %s", sn_dtype_name(dtype));
    for (int k = 0; k < node->input_count; k++) {
        if (!node->input[k]) continue;
        Type type = node->input[k]->type;
        if (type.rank != rank[k]) return sn_fail(SN_INVALID, "input %d is of rank %d", k, type.rank);
        if (type.dtype != (k == SN_RECURRENT_LENGTH ? SN_I64 : dtype))
            return sn_fail(SN_INVALID, "input %d is of type %s", k, sn_dtype_name(type.dtype));
    }
    return NULL;
}

/* The extent of an operand's axis is what the units make it. */
static Status check_extent(Infer *infer, const Node *node, int operand, int axis, int64_t wanted) {
    if (operand >= node->input_count || !node->input[operand]) return NULL;
    Dim dim = node->input[operand]->type.dim[axis];
    return sn_infer_equal_dim(infer, node, "the units", dim, sn_dim(infer->graph->dims, wanted), NULL);
}

Status sn_infer_recurrent(Infer *infer, Node *node) {
    const AttrRecurrent *attr = node->attr;
    TRY(check_attr(attr));
    TRY(check_types(node));
    Type x = node->input[SN_RECURRENT_X]->type, state = node->input[SN_RECURRENT_STATE]->type;
    int64_t units;
    if (!sn_dim_is(node->input[SN_RECURRENT_WEIGHT]->type.dim[0], &units) || units < 1 ||
        units > SN_RECURRENT_UNITS)
        return sn_fail(SN_INVALID, "a number of units that is not known, or above %d", SN_RECURRENT_UNITS);
    int64_t gates = units * sn_recurrent_gates(attr->kind);
    TRY(check_extent(infer, node, SN_RECURRENT_X, 2, gates));
    TRY(check_extent(infer, node, SN_RECURRENT_WEIGHT, 1, gates));
    TRY(check_extent(infer, node, SN_RECURRENT_STATE, 1, units * sn_recurrent_parts(attr->kind)));
    TRY(check_extent(infer, node, SN_RECURRENT_BIAS, 0, gates));
    TRY(check_extent(infer, node, SN_RECURRENT_PEEP, 0, units * 3));
    TRY(sn_infer_equal_dim(infer, node, "the batches of steps and state", x.dim[1], state.dim[0], NULL));
    if (node->input_count > SN_RECURRENT_LENGTH && node->input[SN_RECURRENT_LENGTH])
        TRY(sn_infer_equal_dim(infer, node, "the batch and its lengths", x.dim[1],
                               node->input[SN_RECURRENT_LENGTH]->type.dim[0], NULL));
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, 3);
    dim[0] = sn_dim_addc(infer->graph->dims, x.dim[0], 1);
    dim[1] = x.dim[1];
    dim[2] = sn_dim(infer->graph->dims, units * sn_recurrent_parts(attr->kind));
    return sn_infer_set(node, 0, x.dtype, 3, dim);
}

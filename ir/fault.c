#include "fault.h"

/* The column of the operator table: indices in operand 0 or 1 outside of what they go into; integers in operand 1 that nothing
 * can be divided by, or no power is taken to; floats in operand 0 that the integers of the result lack. */
typedef enum Fault { FAULT_NONE, FAULT_INDEX_0, FAULT_INDEX_1, FAULT_DIVISOR, FAULT_RANGE } Fault;

static const Fault faults[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, fault, ...) [code] = FAULT_##fault,
#include "ops.def"
#undef OP
};

int sn_node_fault(const Node *node, int *safe) {
    Fault fault = faults[node->op];
    int operand = fault == FAULT_INDEX_1 || fault == FAULT_DIVISOR;
    if (fault == FAULT_NONE || node->input_count <= operand) return -1;
    DType from = node->input[operand]->type.dtype;
    bool fails = fault == FAULT_RANGE
                     ? sn_dtype_is_float(from) && sn_dtype_is_int(node->output[0]->type.dtype)
                     : sn_dtype_is_int(from);
    if (safe) *safe = fault == FAULT_DIVISOR;
    return fails ? operand : -1;
}

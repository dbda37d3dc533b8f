#include "extremum.h"

static bool compares(const Node *node) {
    static const bool list[SN_OP_COUNT] = {
        [SN_OP_EQUAL] = true, [SN_OP_LESS] = true, [SN_OP_LESS_EQUAL] = true};
    return list[node->op];
}

static bool is_extremum(const Node *node) {
    static const bool list[SN_OP_COUNT] = {[SN_OP_REDUCE_MAX] = true, [SN_OP_REDUCE_MIN] = true};
    return node && list[node->op];
}

static Value *seen_through_views(Value *value) {
    while (value->producer && value->producer->op == SN_OP_VIEW) value = value->producer->input[0];
    return value;
}

Value *sn_compared_with_extremum(const Node *node, Node **extremum) {
    if (!compares(node) || !sn_dtype_is_float(node->input[0]->type.dtype)) return NULL;
    for (int k = 0; k < 2; k++) {
        *extremum = seen_through_views(node->input[k])->producer;
        if (is_extremum(*extremum)) return seen_through_views(node->input[1 - k]);
    }
    return NULL;
}

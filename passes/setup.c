/* What runs once. */
#include "pass.h"

static bool depends_on_symbols(Type type) {
    int64_t value;
    for (int i = 0; i < type.rank; i++)
        if (!sn_dim_is(type.dim[i], &value)) return true;
    return false;
}

void sn_mark_setup(Pass *pass, Graph *graph) {
    for (Node *node = graph->body->first; node; node = node->next) {
        OpClass class = sn_op(node->op)->class;
        node->setup = !pass->eager && (class != SN_CLASS_SOURCE || node->op == SN_OP_CONSTANT);
        if (node->op == SN_OP_IOTA && !pass->eager) {
            const AttrIota *iota = node->attr;
            int64_t value;
            node->setup = sn_dim_is(iota->start, &value) && sn_dim_is(iota->step, &value);
        }
        if (depends_on_symbols(node->output[0]->type)) node->setup = false;
        for (int k = 0; k < node->input_count; k++)
            if (node->input[k] && (!node->input[k]->producer || !node->input[k]->producer->setup))
                node->setup = false;
    }
}

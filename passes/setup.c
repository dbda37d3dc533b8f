/* What runs once. */
#include "pass.h"

static bool depends_on_symbols(Type type) {
    int64_t value;
    for (int i = 0; i < type.rank; i++)
        if (!sn_dim_is(type.dim[i], &value)) return true;
    return false;
}

static bool has_symbol(Dim dim) {
    if (dim->kind == SN_DIM_SYMBOL) return true;
    for (int i = 0; i < dim->count; i++)
        if (has_symbol(dim->operand[i])) return true;
    return false;
}

static void find_symbol(void *user, Dim dim) {
    bool *found = user;
    *found = *found || has_symbol(dim);
}

/* An index map, a padding or an offset may hold a size even where the shape does not. */
static bool attribute_has_symbol(const Node *node) {
    bool found = false;
    sn_attr_each_dim(sn_op(node->op)->attr, node->attr, find_symbol, &found);
    return found;
}

void sn_mark_setup(Pass *pass, Graph *graph) {
    for (Node *node = graph->body->first; node; node = node->next) {
        OpClass class = sn_op(node->op)->class;
        bool source = node->op == SN_OP_CONSTANT || node->op == SN_OP_IOTA;
        node->setup = !pass->eager && (class != SN_CLASS_SOURCE || source);
        if (depends_on_symbols(node->output[0]->type) || attribute_has_symbol(node)) node->setup = false;
        for (int k = 0; k < node->input_count; k++)
            if (node->input[k] && (!node->input[k]->producer || !node->input[k]->producer->setup))
                node->setup = false;
    }
}

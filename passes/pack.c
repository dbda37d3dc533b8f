/* Constant right operands of contractions are packed once, in setup, into the panels that the CPU kernel
 * streams. */
#include "pass.h"

#include "tuning.h"

static bool wants_packing(const Pass *pass, const Node *node) {
    if (node->op != SN_OP_CONTRACT || node->setup || ((const AttrContract *)node->attr)->packed) return false;
    const Value *b = node->input[1];
    const Dim *end = b->type.dim + b->type.rank;
    if (sn_dim_equals(end[-1], 0) || sn_dim_equals(end[-2], 0)) return false; /* panels of nothing */
    return pass->target->panel > 0 && b->producer && b->producer->setup && sn_dtype_is_float(b->type.dtype) &&
           b->type.dtype != SN_F64;
}

static void pack_operand(Pass *pass, Graph *graph, Node *node) {
    Builder builder = sn_builder_before(graph, node);
    Value *b = node->input[1];
    const Dim *end = b->type.dim + b->type.rank;
    AttrPack pack = {sn_tuning_panel(pass->target, b->type.dtype, end[-1], end[-2])};
    AttrContract contract = {true, b->type.dim[b->type.rank - 1]};
    Value *panels = sn_build1(&builder, SN_OP_PACK, &pack, b);
    Value *product = sn_build2(&builder, SN_OP_CONTRACT, &contract, node->input[0], panels);
    pass->status = builder.status;
    if (!product) return;
    sn_value_replace(node->output[0], product);
    sn_node_remove(node);
}

bool sn_pack(Pass *pass, Graph *graph) {
    bool changed = false;
    sn_mark_setup(pass, graph);
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        if (!wants_packing(pass, node) || !sn_pass_rewrite(pass)) continue;
        sn_pass_remark(pass, node->origin, true, "packs the weights once");
        pack_operand(pass, graph, node);
        changed = true;
    }
    return changed;
}

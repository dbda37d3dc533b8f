#include "either.h"

#include "fault.h"
#include "import_compose.h"
#include "sequence.h"

static void guard(Call *c, Node *node, Value *taken) {
    int safe, operand = sn_node_fault(node, &safe);
    if (operand < 0 || node->output[0]->known) return;
    Value *given = node->input[operand];
    Builder before = sn_builder_before(c->import->graph, node);
    Value *always = sn_build_scalar(&before, given->type.dtype, safe);
    Value *kept = sn_build3(&before, SN_OP_WHERE, NULL, taken, given, always);
    if (kept) sn_node_set_input(node, operand, kept);
    if (before.status) sn_call_latch(c, before.status);
}

bool sn_either_guard(Call *c, Node *first, Value *taken) {
    for (Node *node = first; node; node = node->next) guard(c, node, taken);
    return !sn_call_failed(c);
}

static void *depends(Call *c, const Value *condition, const char *what) {
    sn_import_deciding(c->import, condition);
    return sn_call_unsupported(c, "%s, by a condition that is only known in a run", what);
}

/* Sizes that are not provably the same are compared before a run. */
static bool same_shape(Call *c, const Value *condition, const Value *a, const Value *b) {
    if (sn_sequence_of(c->import, a) || sn_sequence_of(c->import, b))
        return depends(c, condition, "a sequence");
    if (a->type.dtype != b->type.dtype) return sn_call_invalid(c, "results of different element types");
    bool same = a->type.rank == b->type.rank;
    for (int k = 0; same && k < a->type.rank; k++) {
        Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, a->type.dim[k], b->type.dim[k],
                                       c->builder->origin);
        same = !status;
        sn_error_free(status);
    }
    return same || depends(c, condition, "results of different shapes");
}

Value *sn_either_choose(Call *c, Value *condition, Value *yes, Value *no) {
    if (!yes || !no || yes == no) return yes == no ? yes : NULL;
    if (!same_shape(c, condition, yes, no)) return NULL;
    return choose(c, condition, yes, expanded(c, no, yes->type.rank, yes->type.dim));
}

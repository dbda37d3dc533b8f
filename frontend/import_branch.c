/* If: a condition that is known picks its branch; with any other both are computed, and their results chosen among. */
#include "either.h"
#include "import_compose.h"

/* False after a failure, and where the branch has a node that is not supported. */
static bool run_branch(Call *c, const Onnx__GraphProto *branch, Value **out) {
    if ((int)branch->n_output != c->output_count)
        return sn_call_invalid(c, "a branch of %zu outputs", branch->n_output);
    Builder builder = *c->builder;
    int refused = c->import->refused;
    Status status = sn_import_subgraph(c->import, branch, 0, NULL, out);
    *c->builder = builder;
    if (status) sn_call_latch(c, status);
    return !status && c->import->refused == refused;
}

/* The same, for a branch that may not be taken. */
static bool run_guarded(Call *c, const Onnx__GraphProto *branch, Value *taken, Value **out) {
    Region *region = c->builder->region;
    Node *before = region->last;
    int sizes = c->import->graph->sizes.count;
    if (sn_call_failed(c) || !run_branch(c, branch, out)) return false;
    if (c->import->graph->sizes.count > sizes)
        return sn_call_unsupported(c, "sizes that depend on data, in a branch that only a run chooses");
    return sn_either_guard(c, before ? before->next : region->first, taken);
}

static Value *compute_both(Call *c, const Onnx__GraphProto *then, const Onnx__GraphProto *other) {
    Value *condition = sn_build_reshape(c->builder, c->input[0], 0, NULL);
    Value **yes = SN_ARRAY(c->import->scratch, Value *, c->output_count);
    Value **no = SN_ARRAY(c->import->scratch, Value *, c->output_count);
    if (!run_guarded(c, then, condition, yes)) return NULL;
    if (!run_guarded(c, other, op1(c, SN_OP_NOT, condition), no)) return NULL;
    for (int k = 0; k < c->output_count; k++) c->output[k] = sn_either_choose(c, condition, yes[k], no[k]);
    return c->output[0];
}

Value *sn_import_if(Call *c) {
    const Onnx__GraphProto *then = sn_call_graph(c, "then_branch"), *other = sn_call_graph(c, "else_branch");
    if (sn_call_failed(c)) return NULL;
    if (c->input[0]->type.dtype != SN_BOOL) return sn_call_invalid(c, "a condition that is no bool");
    double condition;
    if (!sn_value_is_splat(c->input[0], &condition)) return compute_both(c, then, other);
    return run_branch(c, condition != 0 ? then : other, c->output) ? c->output[0] : NULL;
}

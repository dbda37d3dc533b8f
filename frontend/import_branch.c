/* If: a condition that is known picks its branch; with any other both are computed, and their results chosen among. */
#include "import_compose.h"
#include "sequence.h"

/* Nodes that fail on some data, and what an operand of theirs may always be. */
typedef struct Failing {
    OpCode op;
    int operand, safe;
} Failing;

static const Failing failing[] = {
    {SN_OP_GATHER, 1, 0},    {SN_OP_GATHER_ELEMENTS, 1, 0},
    {SN_OP_GATHER_ND, 1, 0}, {SN_OP_SCATTER_ADD, 0, 0},
    {SN_OP_DIV, 1, 1},       {SN_OP_MOD, 1, 1},
    {SN_OP_FMOD, 1, 1},      {SN_OP_POW, 1, 1},
    {SN_OP_CAST, 0, 0},
};

static bool may_fail(const Node *node, const Failing *how) {
    DType from = node->input[how->operand]->type.dtype, to = node->output[0]->type.dtype;
    if (node->op != how->op || node->output[0]->known) return false;
    if (node->op == SN_OP_CAST) return sn_dtype_is_float(from) && sn_dtype_is_int(to);
    return sn_dtype_is_int(from);
}

/* What the branch that is not taken computes must not fail: there the operand is one that is always right. */
static void guard(Call *c, Node *node, Value *taken) {
    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
        const Failing *how = &failing[i];
        if (node->input_count <= how->operand || !may_fail(node, how)) continue;
        Value *operand = node->input[how->operand];
        Builder before = sn_builder_before(c->import->graph, node);
        Value *safe = sn_build_scalar(&before, operand->type.dtype, how->safe);
        Value *kept = sn_build3(&before, SN_OP_WHERE, NULL, taken, operand, safe);
        if (kept) sn_node_set_input(node, how->operand, kept);
        if (before.status) sn_call_latch(c, before.status);
    }
}

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
    for (Node *node = before ? before->next : region->first; node; node = node->next) guard(c, node, taken);
    return !sn_call_failed(c);
}

/* Sizes that are not provably the same are compared before a run. */
static bool same_shape(Call *c, const Value *a, const Value *b) {
    if (sn_sequence_of(c->import, a) || sn_sequence_of(c->import, b))
        return sn_call_unsupported(c, "a sequence by a condition that is only known in a run");
    if (a->type.dtype != b->type.dtype) return sn_call_invalid(c, "branches of different element types");
    bool same = a->type.rank == b->type.rank;
    for (int k = 0; same && k < a->type.rank; k++) {
        Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, a->type.dim[k], b->type.dim[k],
                                       c->builder->origin);
        same = !status;
        sn_error_free(status);
    }
    if (!same)
        sn_call_unsupported(c, "branches of different shapes, by a condition that is only known in a run");
    return same;
}

static Value *choose_result(Call *c, Value *condition, Value *yes, Value *no) {
    if (!yes || !no || yes == no) return yes == no ? yes : NULL;
    if (!same_shape(c, yes, no)) return NULL;
    return choose(c, condition, yes, expanded(c, no, yes->type.rank, yes->type.dim));
}

static Value *compute_both(Call *c, const Onnx__GraphProto *then, const Onnx__GraphProto *other) {
    Value *condition = sn_build_reshape(c->builder, c->input[0], 0, NULL);
    Value **yes = SN_ARRAY(c->import->scratch, Value *, c->output_count);
    Value **no = SN_ARRAY(c->import->scratch, Value *, c->output_count);
    if (!run_guarded(c, then, condition, yes)) return NULL;
    if (!run_guarded(c, other, op1(c, SN_OP_NOT, condition), no)) return NULL;
    for (int k = 0; k < c->output_count; k++) c->output[k] = choose_result(c, condition, yes[k], no[k]);
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

/* If: a condition that is known picks its branch. With any other both are computed and their results chosen among, or, where
 * their sizes differ or are not known to fit, the one that is taken: the other one has no elements (taken.h). */
#include "either.h"
#include "import_compose.h"
#include "sequence.h"
#include "taken.h"

typedef struct Branches {
    Call *c;
    const Onnx__GraphProto *graph[2]; /* then, else */
    Value *flag[2];                   /* whether a run takes it: scalars of bool */
} Branches;

/* False after a failure, and where the branch has a node that is not supported. */
static bool run_branch(Call *c, const Onnx__GraphProto *branch, Taken *taken, Value **out) {
    if ((int)branch->n_output != c->output_count)
        return sn_call_invalid(c, "a branch of %zu outputs", branch->n_output);
    Builder builder = *c->builder;
    int refused = c->import->refused;
    Status status = sn_import_subgraph(c->import, branch, taken, 0, NULL, out);
    *c->builder = builder;
    if (status) sn_call_latch(c, status);
    return !status && c->import->refused == refused;
}

/* The same, for a branch that may not be taken; *first is its first node. */
static bool run_guarded(const Branches *b, int side, Taken *taken, Value **out, Node **first) {
    Call *c = b->c;
    Region *region = c->builder->region;
    Node *before = region->last;
    if (sn_call_failed(c) || !run_branch(c, b->graph[side], taken, out)) return false;
    *first = before ? before->next : region->first;
    return sn_either_guard(c, *first, b->flag[side]);
}

static bool same_extents(const Value *a, const Value *b) {
    for (int k = 0; k < a->type.rank; k++)
        if (a->type.dim[k] != b->type.dim[k]) return false;
    return true;
}

/* Results that only differ in sizes. */
static bool is_tensor_pair(Call *c, const Value *a, const Value *b) {
    return a && b && !sn_sequence_of(c->import, a) && !sn_sequence_of(c->import, b) &&
           a->type.dtype == b->type.dtype && a->type.rank == b->type.rank;
}

/* Whether some results are of the same rank, and of sizes that are not known to be the same. */
static bool sizes_differ(Call *c, Value *const *yes, Value *const *no) {
    for (int k = 0; k < c->output_count; k++)
        if (is_tensor_pair(c, yes[k], no[k]) && !same_extents(yes[k], no[k])) return true;
    return false;
}

static bool ranks_differ(Call *c, Value *const *yes, Value *const *no) {
    for (int k = 0; k < c->output_count; k++)
        if (yes[k] && no[k] && yes[k]->type.rank != no[k]->type.rank) return true;
    return false;
}

/* The size that a condition compares with 1, or NULL. */
static Dim compared_with_one(Call *c, const Value *condition) {
    const Node *node = condition->producer;
    while (node && node->op == SN_OP_VIEW) node = node->input[0]->producer;
    if (!node || node->op != SN_OP_EQUAL) return NULL;
    Dim a = sn_call_known_dim(c, node->input[0]), b = sn_call_known_dim(c, node->input[1]);
    if (!a || !b) return NULL;
    return sn_dim_equals(b, 1) ? a : sn_dim_equals(a, 1) ? b : NULL;
}

/* Exporters squeeze an axis whose extent they do not know where it is 1. A rank is known before any run: so the extent is
 * larger, as with a Squeeze that names no axes, and binding checks that. */
static Value *take_larger(const Branches *b, Dim extent) {
    Call *c = b->c;
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, sn_dim(c->dims, 2), extent, c->builder->origin);
    if (status) return sn_call_latch(c, status);
    return run_branch(c, b->graph[1], NULL, c->output) ? c->output[0] : NULL;
}

static void choose_values(const Branches *b, Value *const *yes, Value *const *no) {
    for (int k = 0; k < b->c->output_count; k++)
        b->c->output[k] = sn_either_choose(b->c, b->flag[0], yes[k], no[k]);
}

/* False also where the branch cannot do without elements. */
static bool run_taken(const Branches *b, int side, Taken *taken, Value **out) {
    Import *import = b->c->import;
    int checks = import->graph->checks.count;
    Node *first;
    taken->first = import->graph->sizes.count;
    if (!run_guarded(b, side, taken, out, &first)) return false;
    taken->end = import->graph->sizes.count;
    return sn_taken_checks_hold(import, taken, checks) && sn_taken_reads_hold(import, taken, first);
}

/* The branch that a run takes, the other one of no elements. False where that cannot be; then all is as it was, but for nodes
 * that nobody uses. */
static bool take_one(const Branches *b) {
    Call *c = b->c;
    Import *import = c->import;
    ImportMark before = sn_import_mark(import);
    Value **out[2];
    Taken taken[2];
    bool done = true;
    for (int side = 0; side < 2; side++) taken[side] = sn_taken(c, b->flag[side], side ? "else" : "then");
    for (int side = 0; side < 2 && done; side++) {
        out[side] = SN_ARRAY(import->scratch, Value *, c->output_count);
        done = run_taken(b, side, &taken[side], out[side]);
    }
    for (int k = 0; k < c->output_count && done; k++) {
        Value *result[2] = {out[0][k], out[1][k]};
        bool plain = !is_tensor_pair(c, result[0], result[1]) || same_extents(result[0], result[1]);
        c->output[k] =
            plain ? sn_either_choose(c, b->flag[0], result[0], result[1]) : sn_taken_choose(c, taken, result);
        done = !sn_call_failed(c);
    }
    if (done) return true;
    sn_error_free(c->builder->status);
    c->builder->status = NULL;
    sn_import_go_back(import, before);
    return false;
}

/* What turned out to be possible. A branch that is taken is imported a second time, with each If in it: those are not tried
 * a second time, or the work would double with each level. */
typedef enum Decision { UNDECIDED, BOTH, ONE } Decision;

static Decision *decision_of(const Call *c) {
    void **slot = sn_map_at(c->import->decided, &c->node, sizeof c->node);
    if (!*slot) {
        Decision *made = SN_NEW(c->import->scratch, Decision);
        *made = UNDECIDED;
        *slot = made;
    }
    return *slot;
}

/* Takes one branch in place of both, which have been imported since `before`; or leaves all as it is. */
static bool take_instead(const Branches *b, ImportMark before, Decision *decision) {
    Import *import = b->c->import;
    Graph *graph = import->graph;
    ImportMark both = sn_import_mark(import);
    int count = both.checks - before.checks;
    Check *check = SN_ARRAY(import->scratch, Check, count + 1);
    for (int i = 0; i < count; i++) check[i] = graph->checks.at[before.checks + i];
    sn_import_go_back(import, before);
    bool done = take_one(b);
    if (done || *decision == UNDECIDED) *decision = done ? ONE : BOTH;
    for (int i = 0; i < count && !done; i++) sn_push(graph->arena, &graph->checks, check[i]);
    return done;
}

/* Both are imported as they are first: that tells whether a size in them needs a check, or is one that data decide. */
static Value *compute_both(const Branches *b) {
    Call *c = b->c;
    Import *import = c->import;
    Graph *graph = import->graph;
    Decision *decision = decision_of(c);
    ImportMark before = sn_import_mark(import);
    bool again = import->taken && *decision != UNDECIDED;
    Value **out[2];
    Node *first;
    if (again && *decision == ONE && take_one(b)) return c->output[0];
    for (int side = 0; side < 2; side++) {
        out[side] = SN_ARRAY(import->scratch, Value *, c->output_count);
        if (!run_guarded(b, side, NULL, out[side], &first)) return NULL;
    }
    Dim extent = ranks_differ(c, out[0], out[1]) ? compared_with_one(c, b->flag[0]) : NULL;
    if (extent) {
        sn_import_go_back(import, before);
        return take_larger(b, extent);
    }
    bool sizes = graph->sizes.count > before.sizes;
    bool unsure = sizes || graph->checks.count > before.checks || sizes_differ(c, out[0], out[1]);
    /* Whoever leaves out a turn of a loop refuses its sizes. */
    bool keeps_both = import->chance || (import->options && import->options->both_branches);
    if (unsure && !keeps_both) {
        if (!again && take_instead(b, before, decision)) return c->output[0];
        if (sizes)
            return sn_call_unsupported(c, "sizes that depend on data, in a branch that only a run chooses");
    }
    choose_values(b, out[0], out[1]);
    return c->output[0];
}

Value *sn_import_if(Call *c) {
    Branches b = {.c = c, .graph = {sn_call_graph(c, "then_branch"), sn_call_graph(c, "else_branch")}};
    if (sn_call_failed(c)) return NULL;
    if (c->input[0]->type.dtype != SN_BOOL) return sn_call_invalid(c, "a condition that is no bool");
    double condition;
    if (sn_value_is_splat(c->input[0], &condition))
        return run_branch(c, b.graph[condition == 0], NULL, c->output) ? c->output[0] : NULL;
    b.flag[0] = reshaped(c, c->input[0], 0, NULL);
    b.flag[1] = op1(c, SN_OP_NOT, b.flag[0]);
    return sn_call_failed(c) ? NULL : compute_both(&b);
}

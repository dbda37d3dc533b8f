#include "taken.h"

#include "fault.h"
#include "import_compose.h"
#include "sequence.h"

Taken sn_taken(Call *c, Value *flag, const char *stem) {
    const Taken *around = c->import->taken;
    if (around) flag = op2(c, SN_OP_AND, around->flag, flag);
    Dim once = sn_call_size(c, as_type(c, flag, SN_I64), stem, sn_dim(c->dims, 1));
    Arena *scratch = c->import->scratch;
    return (Taken){.flag = flag, .once = once, .captured = sn_map_new(scratch), .sizes = sn_map_new(scratch)};
}

/* ---- what comes in ---- */

static bool all_constant(int count, const Dim *dim) {
    for (int k = 0; k < count; k++)
        if (dim[k]->kind != SN_DIM_CONST) return false;
    return true;
}

/* A constant stays as it is. */
static Dim times(Import *import, const Taken *taken, Dim dim) {
    return dim->kind == SN_DIM_CONST ? dim : sn_dim_mul(import->graph->dims, taken->once, dim);
}

/* Elements along each axis from the first one on, as many as `extent` says. */
static Value *first_elements(Import *import, Value *value, const Dim *extent) {
    Graph *graph = import->graph;
    int rank = value->type.rank;
    AttrView attr = sn_view_identity(graph->dims, graph->arena, rank, extent);
    return sn_build1(&import->builder, SN_OP_VIEW, &attr, value);
}

/* Sizes, as numbers. */
static Value *capture_known(Import *import, const Taken *taken, Value *value) {
    Type type = value->type;
    int64_t count = 0;
    sn_dim_is(sn_type_count(import->graph->dims, type), &count);
    Dim *element = SN_ARRAY(import->scratch, Dim, count);
    for (int64_t i = 0; i < count; i++) element[i] = times(import, taken, value->known[i]);
    Value *made = sn_build_dims(&import->builder, (int)count, element, type.rank == 0);
    if (made && type.rank > 1) made = sn_build_reshape(&import->builder, made, type.rank, type.dim);
    return made ? sn_build_cast(&import->builder, made, type.dtype) : NULL;
}

static Value *capture(Import *import, const Taken *taken, Value *value) {
    Type type = value->type;
    int64_t count;
    bool numbers =
        value->known && type.dtype != SN_BOOL && sn_dim_is(sn_type_count(import->graph->dims, type), &count);
    if (numbers) return all_constant((int)count, value->known) ? value : capture_known(import, taken, value);
    if (all_constant(type.rank, type.dim)) return value;
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < type.rank; k++) extent[k] = times(import, taken, type.dim[k]);
    return first_elements(import, value, extent);
}

Value *sn_taken_capture(Import *import, Taken *taken, Value *value) {
    if (sn_sequence_of(import, value)) return value;
    void **slot = sn_map_at(taken->captured, &value, sizeof value);
    Value *made = *slot ? *slot : capture(import, taken, value);
    return *slot = made;
}

/* ---- what is known of runs that take it, or do not ---- */

static Dim when_taken(const Import *import, const Taken *taken, Dim dim) {
    Dims *dims = import->graph->dims;
    Dim one = sn_dim(dims, 1);
    return sn_dim_replace(dims, dim, &taken->once, &one, 1);
}

/* All sizes that the branch has made are 0, too. */
static Dim when_not(const Import *import, const Taken *taken, Dim dim) {
    Dims *dims = import->graph->dims;
    int count = 1 + taken->end - taken->first;
    Dim *from = SN_ARRAY(import->scratch, Dim, count), *to = SN_ARRAY(import->scratch, Dim, count);
    for (int k = 0; k < count; k++) {
        from[k] = k == 0 ? taken->once : import->graph->sizes.at[taken->first + k - 1].symbol;
        to[k] = sn_dim(dims, 0);
    }
    return sn_dim_replace(dims, dim, from, to, count);
}

bool sn_taken_checks_hold(const Import *import, const Taken *taken, int first) {
    Graph *graph = import->graph;
    for (int i = first; i < graph->checks.count; i++) {
        Check check = graph->checks.at[i];
        int count = graph->checks.count;
        Status status = sn_graph_check(graph, check.kind, when_not(import, taken, check.a),
                                       when_not(import, taken, check.b), check.origin);
        bool proven = !status && graph->checks.count == count;
        sn_error_free(status);
        graph->checks.count = count;
        if (!proven) return false;
    }
    return true;
}

static bool vanishes(const Import *import, const Taken *taken, const Value *value) {
    for (int k = 0; k < value->type.rank; k++)
        if (sn_dim_equals(when_not(import, taken, value->type.dim[k]), 0)) return true;
    return false;
}

bool sn_taken_reads_hold(const Import *import, const Taken *taken, const Node *first) {
    for (const Node *node = first; node; node = node->next) {
        int safe;
        if (sn_node_fault(node, &safe) < 0 || vanishes(import, taken, node->output[0])) continue;
        for (int k = 0; k < node->input_count; k++)
            if (node->input[k] && vanishes(import, taken, node->input[k])) return false;
    }
    return true;
}

/* ---- what comes out ---- */

/* An extent of the result: that of the branch which is taken. */
static Dim chosen_extent(const Import *import, const Taken *taken, Dim yes, Dim no) {
    Dims *dims = import->graph->dims;
    yes = when_taken(import, &taken[0], yes), no = when_taken(import, &taken[1], no);
    if (yes == no) return yes;
    return sn_dim_add(dims, sn_dim_mul(dims, taken[0].once, yes), sn_dim_mul(dims, taken[1].once, no));
}

/* One after another along the first axis, where one of the two has no elements. */
Value *sn_taken_choose(Call *c, const Taken *taken, Value *const *result) {
    Import *import = c->import;
    Dim extent[SN_MAX_RANK];
    Value *part[2];
    int rank = result[0]->type.rank;
    for (int k = 0; k < rank; k++)
        extent[k] = chosen_extent(import, taken, result[0]->type.dim[k], result[1]->type.dim[k]);
    Dim first = extent[0];
    for (int side = 0; side < 2 && !sn_call_failed(c); side++) {
        Dim own = result[side]->type.dim[0];
        bool gone = sn_dim_equals(when_not(import, &taken[side], own), 0);
        extent[0] = gone ? own : sn_dim_mul(c->dims, taken[side].once, own);
        part[side] = first_elements(import, result[side], extent);
    }
    Value *whole = joined(c, 0, 2, part);
    extent[0] = first;
    return sn_call_failed(c) ? NULL : first_elements(import, whole, extent);
}

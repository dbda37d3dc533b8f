/* Deep copies of graphs. */
#include "graph.h"

typedef struct Clone {
    const Graph *from;
    Graph *to;
    Value **value; /* the copies, by id of the original */
    Map *origins;  /* original origin -> copy */
} Clone;

static const char *copy_string(Clone *clone, const char *string) {
    return string ? sn_arena_string(clone->to->arena, string) : NULL;
}

static Dim carry(Clone *clone, Dim dim) {
    return sn_dim_replace(clone->to->dims, dim, NULL, NULL, 0);
}

static const Origin *copy_origin(Clone *clone, const Origin *origin) {
    if (!origin) return NULL;
    void **slot = sn_map_at(clone->origins, &origin, sizeof origin);
    if (*slot) return *slot;
    const Origin *copy = sn_origin(clone->to, origin->primary);
    for (int i = 0; i < origin->count; i++)
        copy = sn_origin_union(clone->to, copy, sn_origin(clone->to, origin->node[i]));
    *slot = (void *)copy;
    return copy;
}

static Type copy_type(Clone *clone, Type type) {
    Dim *dim = SN_ARRAY(clone->to->arena, Dim, type.rank);
    for (int i = 0; i < type.rank; i++) dim[i] = carry(clone, type.dim[i]);
    return (Type){type.dtype, type.rank, dim};
}

static const Dim *copy_known(Clone *clone, const Value *value) {
    if (!value->known) return NULL;
    int64_t count = 1;
    for (int i = 0; i < value->type.rank; i++) count *= value->type.dim[i]->value; /* known: constants */
    Dim *known = SN_ARRAY(clone->to->arena, Dim, count);
    for (int64_t i = 0; i < count; i++) known[i] = carry(clone, value->known[i]);
    return known;
}

/* Everything about a value but its place, which the maker of `to` has set. */
static void copy_value(Clone *clone, const Value *from, Value *to) {
    to->type = copy_type(clone, from->type);
    to->name = copy_string(clone, from->name);
    to->known = copy_known(clone, from);
    to->id = from->id;
    clone->value[from->id] = to;
}

/* The payload is shared; what describes it is not, so that the copy outlives the original's arena where the
 * payload does. */
static const Tensor *copy_tensor(Arena *arena, const Tensor *from) {
    Tensor *tensor = SN_NEW(arena, Tensor);
    *tensor = *from;
    int64_t *extent = SN_ARRAY(arena, int64_t, tensor->rank);
    for (int i = 0; i < tensor->rank; i++) extent[i] = tensor->extent[i];
    tensor->extent = extent;
    return tensor;
}

static const void *copy_attr(Clone *clone, const Node *node) {
    Arena *arena = clone->to->arena;
    void *copy = sn_attr_copy(arena, clone->to->dims, sn_op(node->op)->attr, node->attr);
    if (node->op != SN_OP_CONSTANT) return copy;
    AttrConstant *constant = copy;
    constant->tensor = copy_tensor(arena, constant->tensor);
    return copy;
}

static void copy_region(Clone *clone, const Region *from, Region *to);

static void copy_node(Clone *clone, const Node *node, Region *region) {
    Arena *arena = clone->to->arena;
    Value **input = SN_ARRAY(arena, Value *, node->input_count);
    for (int i = 0; i < node->input_count; i++)
        input[i] = node->input[i] ? clone->value[node->input[i]->id] : NULL;
    Node *copy = sn_node_new(clone->to, node->op, copy_attr(clone, node), node->input_count, input,
                             node->output_count);
    copy->id = node->id;
    copy->origin = copy_origin(clone, node->origin);
    copy->group = node->group;
    copy->phase = node->phase;
    copy->setup = node->setup;
    for (int i = 0; i < node->output_count; i++) copy_value(clone, node->output[i], copy->output[i]);
    if (node->body) copy_region(clone, node->body, sn_region_new(clone->to, copy));
    sn_node_append(region, copy);
}

static void copy_region(Clone *clone, const Region *from, Region *to) {
    for (int i = 0; i < from->param.count; i++) {
        const Value *param = from->param.at[i];
        copy_value(clone, param, sn_region_param(to, param->type, NULL));
    }
    for (const Node *node = from->first; node; node = node->next) copy_node(clone, node, to);
    for (int i = 0; i < from->result.count; i++) sn_region_result(to, clone->value[from->result.at[i]->id]);
}

static void copy_loops(Clone *clone) {
    Arena *arena = clone->to->arena;
    for (int i = 0; i < clone->from->loops.count; i++) {
        GraphLoop loop = clone->from->loops.at[i];
        LoopExtent *extent = SN_ARRAY(arena, LoopExtent, loop.extent_count);
        Dim *size = SN_ARRAY(arena, Dim, loop.size_count);
        for (int k = 0; k < loop.extent_count; k++) extent[k] = loop.extent[k];
        for (int k = 0; k < loop.size_count; k++) size[k] = carry(clone, loop.size[k]);
        loop.extent = extent;
        loop.size = size;
        loop.turn = sn_graph_clone(arena, loop.turn);
        loop.origin = copy_origin(clone, loop.origin);
        sn_push(arena, &clone->to->loops, loop);
    }
}

static void copy_states(Clone *clone) {
    Arena *arena = clone->to->arena;
    for (int i = 0; i < clone->from->states.count; i++) {
        GraphState state = clone->from->states.at[i];
        state.name = copy_string(clone, state.name);
        state.initial = copy_tensor(arena, state.initial);
        const char **name = SN_ARRAY(arena, const char *, state.copy_count);
        for (int k = 0; k < state.copy_count; k++) name[k] = copy_string(clone, state.copy[k]);
        state.copy = name;
        sn_push(arena, &clone->to->states, state);
    }
}

static void copy_sizes(Clone *clone) {
    for (int i = 0; i < clone->from->sizes.count; i++) {
        GraphSize size = clone->from->sizes.at[i];
        size.symbol = carry(clone, size.symbol);
        size.most = size.most ? carry(clone, size.most) : NULL;
        size.origin = copy_origin(clone, size.origin);
        sn_push(clone->to->arena, &clone->to->sizes, size);
    }
}

static void copy_checks(Clone *clone) {
    for (int i = 0; i < clone->from->checks.count; i++) {
        Check check = clone->from->checks.at[i];
        check.a = carry(clone, check.a);
        check.b = carry(clone, check.b);
        check.origin = copy_origin(clone, check.origin);
        sn_push(clone->to->arena, &clone->to->checks, check);
    }
}

/* What is known of equal sizes. */
static void copy_facts(Clone *clone) {
    for (int i = 0; i < sn_dims_fact_count(clone->from->dims); i++) {
        Dim from, to;
        sn_dims_fact(clone->from->dims, i, &from, &to);
        sn_dims_equate(clone->to->dims, carry(clone, from), carry(clone, to));
    }
}

Graph *sn_graph_clone(Arena *arena, const Graph *graph) {
    Graph *copy = sn_graph_new(arena, graph->name);
    Arena *scratch = sn_arena_child(arena);
    Clone clone = {.from = graph, .to = copy, .origins = sn_map_new(scratch)};
    clone.value = SN_ARRAY(scratch, Value *, graph->next_value);
    copy->file = copy_string(&clone, graph->file);
    copy->stage = graph->stage;
    sn_dims_copy_symbols(copy->dims, graph->dims); /* first, so that they keep their numbers */
    copy_region(&clone, graph->body, copy->body);
    for (int i = 0; i < graph->output_name.count; i++)
        sn_push(arena, &copy->output_name, copy_string(&clone, graph->output_name.at[i]));
    copy_states(&clone);
    copy_sizes(&clone);
    copy_loops(&clone);
    copy_checks(&clone);
    copy_facts(&clone); /* last: what was said before they were known stays as it was */
    copy->next_value = graph->next_value;
    copy->next_node = graph->next_node;
    copy->next_group = graph->next_group;
    sn_arena_free(scratch);
    return copy;
}

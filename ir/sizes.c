#include "sizes.h"

Status sn_graph_size(Graph *graph, const char *stem, Dim most, const Origin *origin, Dim *out) {
    GraphSize size = {
        .symbol = sn_dim_fresh(graph->dims, stem), .result = -1, .most = most, .origin = origin};
    int64_t bound;
    sn_push(graph->arena, &graph->sizes, size);
    *out = size.symbol;
    if (!most) return NULL;
    TRY(sn_graph_check(graph, SN_CHECK_AT_MOST, size.symbol, most, origin));
    if (sn_dim_upper(graph->dims, most, &bound)) sn_dims_symbol_at_most(graph->dims, size.symbol, bound);
    return NULL;
}

void sn_node_dims(const Node *node, void (*visit)(void *user, Dim dim), void *user) {
    for (int k = 0; k < node->output_count; k++) {
        Type type = node->output[k]->type;
        for (int axis = 0; axis < type.rank; axis++) visit(user, type.dim[axis]);
    }
    if (node->attr) sn_attr_each_dim(sn_op(node->op)->attr, node->attr, visit, user);
    for (const Node *inner = node->body ? node->body->first : NULL; inner; inner = inner->next)
        sn_node_dims(inner, visit, user);
}

void sn_dim_symbols(Dim dim, void (*visit)(void *user, int symbol), void *user) {
    if (dim->kind == SN_DIM_SYMBOL) visit(user, (int)dim->value);
    for (int k = 0; k < dim->count; k++) sn_dim_symbols(dim->operand[k], visit, user);
}

typedef struct Highest {
    const int *symbol;
    int level;
    bool unknown; /* one of the symbols has no level yet */
} Highest;

static void take_symbol(void *user, int symbol) {
    Highest *highest = user;
    int level = highest->symbol[symbol];
    if (level < 0) highest->unknown = true;
    if (level > highest->level) highest->level = level;
}

static void take_dim(void *user, Dim dim) {
    sn_dim_symbols(dim, take_symbol, user);
}

int sn_levels_dim(const Levels *levels, Dim dim) {
    Highest highest = {.symbol = levels->symbol};
    take_dim(&highest, dim);
    return highest.level;
}

/* The sizes that a result binds, where the value is one. */
static void bind_sizes(const Graph *graph, Levels *levels, const Value *value, int level) {
    for (int i = 0; i < graph->sizes.count; i++) {
        const GraphSize *size = &graph->sizes.at[i];
        if (size->result < 0 || graph->body->result.at[size->result] != value) continue;
        levels->symbol[size->symbol->value] = level + 1;
        if (level + 1 > levels->most) levels->most = level + 1;
    }
}

static bool is_result(const Value *value) {
    for (int i = 0; i < value->users.count; i++)
        if (!value->users.at[i]) return true;
    return false;
}

/* A value that is read. That of a node mentions its sizes there; of what a loop makes nothing else does. */
static void take_value(Highest *highest, const Levels *levels, const Value *value) {
    int level = value->producer ? levels->node[value->producer->id] : levels->param[value->index];
    if (level < 0) highest->unknown = true;
    if (level > highest->level) highest->level = level;
    for (int axis = 0; !value->producer && axis < value->type.rank; axis++)
        take_dim(highest, value->type.dim[axis]);
}

/* The level of what a loop makes; -1: not all that it takes is there. */
static int find_made(const Graph *graph, const Levels *levels, const GraphLoop *loop) {
    Highest highest = {.symbol = levels->symbol};
    for (int k = 0; k < loop->size_count; k++) take_dim(&highest, loop->size[k]);
    for (int k = 0; k < sn_loop_taken(loop); k++)
        take_value(&highest, levels, graph->body->result.at[loop->taken + k]);
    return highest.unknown ? -1 : highest.level + 1;
}

/* Runs the loops that have all that they take, in levels. */
static void pass_loops(const Graph *graph, Levels *levels) {
    for (int i = 0; i < graph->loops.count; i++) {
        const GraphLoop *loop = &graph->loops.at[i];
        int level = levels->param[loop->made] < 0 ? find_made(graph, levels, loop) : -1;
        if (level < 0) continue;
        if (level > levels->most) levels->most = level;
        for (int k = 0; k < sn_loop_made(loop); k++) {
            levels->param[loop->made + k] = level;
            bind_sizes(graph, levels, graph->body->param.at[loop->made + k], level);
        }
        i = -1; /* one may take what another one makes */
    }
}

static Status find_level(const Graph *graph, Levels *levels, const Node *node) {
    Highest highest = {.symbol = levels->symbol};
    sn_node_dims(node, take_dim, &highest);
    bool results = false;
    for (int k = 0; k < node->input_count; k++)
        if (node->input[k]) take_value(&highest, levels, node->input[k]);
    if (highest.unknown)
        return sn_fail(SN_INTERNAL, "%s comes before a size or a loop that it needs", sn_op(node->op)->text);
    levels->node[node->id] = highest.level;
    for (int k = 0; k < node->output_count; k++)
        if (is_result(node->output[k])) {
            bind_sizes(graph, levels, node->output[k], highest.level);
            results = true;
        }
    if (results) pass_loops(graph, levels);
    return NULL;
}

Status sn_levels_find(Arena *arena, const Graph *graph, Levels *out) {
    const Region *body = graph->body;
    *out = (Levels){.node = SN_ARRAY(arena, int, graph->next_node),
                    .symbol = SN_ARRAY(arena, int, sn_dims_symbol_count(graph->dims)),
                    .param = SN_ARRAY(arena, int, body->param.count)};
    if (graph->sizes.count + graph->loops.count == 0) return NULL;
    for (int i = 0; i < graph->next_node; i++) out->node[i] = -1;
    for (int i = 0; i < body->param.count; i++) out->param[i] = sn_loop_of_param(graph, i) ? -1 : 0;
    for (int i = 0; i < graph->sizes.count; i++) out->symbol[graph->sizes.at[i].symbol->value] = -1;
    for (int i = 0; i < body->param.count; i++)
        if (out->param[i] == 0 && is_result(body->param.at[i])) bind_sizes(graph, out, body->param.at[i], 0);
    pass_loops(graph, out);
    for (const Node *node = body->first; node; node = node->next) TRY(find_level(graph, out, node));
    return NULL;
}

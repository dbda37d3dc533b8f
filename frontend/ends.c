/* The end of an import: sizes, loops and their places among inputs and outputs; and ways back before it. */
#include "import.h"
#include "loop.h"
#include "sizes.h"

typedef struct Needed {
    bool *symbol, *value; /* by number, by id */
} Needed;

static void need_symbol(void *user, int symbol) {
    ((Needed *)user)->symbol[symbol] = true;
}

static void need_dim(void *user, Dim dim) {
    sn_dim_symbols(dim, need_symbol, user);
}

static bool is_needed(const Needed *needed, const Node *node) {
    for (int k = 0; k < node->output_count; k++)
        if (needed->value[node->output[k]->id]) return true;
    return false;
}

/* Its own upper bound does not make a size needed. */
static bool is_bound(const Graph *graph, const Check *check) {
    for (int i = 0; i < graph->sizes.count; i++)
        if (check->kind == SN_CHECK_AT_MOST && check->a == graph->sizes.at[i].symbol &&
            check->b == graph->sizes.at[i].most)
            return true;
    return false;
}

static void need_type(Needed *needed, Type type) {
    for (int axis = 0; axis < type.rank; axis++) need_dim(needed, type.dim[axis]);
}

/* All that a loop takes, and the extents of what it makes. */
static void need_loop(const ImportLoop *loop, Needed *needed) {
    for (int k = 0; k < sn_loop_taken(&loop->loop); k++) {
        needed->value[loop->taken[k]->id] = true;
        need_type(needed, loop->taken[k]->type);
    }
    for (int k = 0; k < sn_loop_made(&loop->loop); k++) need_type(needed, loop->made[k]->type);
    for (int k = 0; k < loop->loop.size_count; k++) need_dim(needed, loop->loop.size[k]);
}

/* What is checked is known. What makes a size stands before all that mentions it: one walk from the end finds what the outputs need. */
static void find_needed(const Import *import, Needed *needed) {
    const Graph *graph = import->graph;
    for (int i = 0; i < graph->body->result.count; i++) needed->value[graph->body->result.at[i]->id] = true;
    for (int i = 0; i < import->loops.count; i++) need_loop(&import->loops.at[i], needed);
    for (int i = 0; i < graph->checks.count; i++) {
        if (is_bound(graph, &graph->checks.at[i])) continue;
        need_dim(needed, graph->checks.at[i].a);
        need_dim(needed, graph->checks.at[i].b);
    }
    for (const Node *node = graph->body->last; node; node = node->previous) {
        for (int i = 0; i < graph->sizes.count; i++)
            if (import->size_values.at[i]->producer == node &&
                needed->symbol[graph->sizes.at[i].symbol->value])
                needed->value[import->size_values.at[i]->id] = true;
        if (!is_needed(needed, node)) continue;
        sn_node_dims(node, need_dim, needed);
        for (int k = 0; k < node->input_count; k++)
            if (node->input[k]) needed->value[node->input[k]->id] = true;
    }
}

static void add_sizes(Import *import) {
    Graph *graph = import->graph;
    int kept = 0;
    if (graph->sizes.count == 0) return;
    Needed needed = {.symbol = SN_ARRAY(import->scratch, bool, sn_dims_symbol_count(graph->dims)),
                     .value = SN_ARRAY(import->scratch, bool, graph->next_value)};
    find_needed(import, &needed);
    for (int i = 0; i < graph->sizes.count; i++) {
        GraphSize size = graph->sizes.at[i];
        if (!needed.symbol[size.symbol->value]) continue;
        size.result = graph->body->result.count;
        sn_graph_output(graph, sn_dims_symbol_name(graph->dims, (int)size.symbol->value),
                        import->size_values.at[i]);
        graph->sizes.at[kept++] = size;
    }
    graph->sizes.count = kept;
}

/* ---- loops ---- */

static void add_loops(Import *import) {
    Graph *graph = import->graph;
    for (int i = 0; i < import->loops.count; i++) {
        const ImportLoop *from = &import->loops.at[i];
        GraphLoop loop = from->loop;
        loop.taken = graph->body->result.count;
        for (int k = 0; k < sn_loop_taken(&loop); k++) sn_graph_output(graph, "", from->taken[k]);
        sn_push(graph->arena, &graph->loops, loop);
    }
}

/* What loops make goes behind the other inputs, and what they would have made goes away. */
static void arrange_inputs(Import *import) {
    Graph *graph = import->graph;
    const Region *body = graph->body;
    Arena *scratch = import->scratch;
    int *param = SN_ARRAY(scratch, int, body->param.count),
        *result = SN_ARRAY(scratch, int, body->result.count);
    int count = 0, results = body->result.count;
    for (int i = 0; i < body->param.count; i++)
        if (!sn_map_get(import->made, &body->param.at[i], sizeof(Value *))) param[count++] = i;
    for (int i = 0; i < import->loops.count; i++) {
        const ImportLoop *from = &import->loops.at[i];
        graph->loops.at[i].made = count;
        for (int k = 0; k < sn_loop_made(&from->loop); k++) param[count++] = from->made[k]->index;
    }
    for (int i = 0; i < results; i++) result[i] = i;
    sn_graph_arrange(graph, count, param, results, result);
}

void sn_import_ends(Import *import) {
    add_sizes(import);
    add_loops(import);
    sn_region_sweep(import->graph->body);
    if (sn_map_count(import->made)) arrange_inputs(import);
}

/* ---- going back ---- */

ImportMark sn_import_mark(const Import *import) {
    const Graph *graph = import->graph;
    return (ImportMark){graph->checks.count, graph->sizes.count, import->loops.count, import->refused};
}

void sn_import_go_back(Import *import, ImportMark mark) {
    import->graph->checks.count = mark.checks;
    import->graph->sizes.count = import->size_values.count = mark.sizes;
    import->loops.count = mark.loops;
    import->refused = mark.refused;
}

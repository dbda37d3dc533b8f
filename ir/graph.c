#include "graph.h"
#include "sizes.h"

#include <string.h>

Graph *sn_graph_new(Arena *arena, const char *name) {
    Graph *graph = SN_NEW(arena, Graph);
    graph->arena = arena;
    graph->dims = sn_dims_new(arena);
    graph->file = "";
    graph->name = sn_arena_string(arena, name);
    graph->origins = sn_map_new(arena);
    graph->body = sn_region_new(graph, NULL);
    graph->next_group = 1; /* 0: no group was given */
    return graph;
}

static Value *new_value(Graph *graph, Region *region, Node *producer, int index) {
    Value *value = SN_NEW(graph->arena, Value);
    value->region = region;
    value->producer = producer;
    value->index = index;
    value->id = graph->next_value++;
    return value;
}

/* ---- uses ----
 *
 * Only linked nodes are counted as users, so a node that was made and given up leaves no trace. */

static void drop_use(Value *value, const Node *user) {
    int i = 0;
    while (i < value->users.count && value->users.at[i] != user) i++;
    if (i == value->users.count) return;
    memmove(&value->users.at[i], &value->users.at[i + 1],
            (size_t)(value->users.count - i - 1) * sizeof *value->users.at);
    value->users.count--;
}

Region *sn_region_new(Graph *graph, Node *owner) {
    Region *region = SN_NEW(graph->arena, Region);
    region->graph = graph;
    region->owner = owner;
    if (owner) owner->body = region;
    return region;
}

Value *sn_region_param(Region *region, Type type, const char *name) {
    Graph *graph = region->graph;
    Value *value = new_value(graph, region, NULL, region->param.count);
    value->type = type;
    value->name = name ? sn_arena_string(graph->arena, name) : NULL;
    sn_push(graph->arena, &region->param, value);
    return value;
}

void sn_region_result(Region *region, Value *value) {
    sn_push(region->graph->arena, &region->result, value);
    sn_push(region->graph->arena, &value->users, NULL);
}

void sn_region_set_result(Region *region, int index, Value *value) {
    drop_use(region->result.at[index], NULL);
    region->result.at[index] = value;
    sn_push(region->graph->arena, &value->users, NULL);
}

Value *sn_graph_input(Graph *graph, const char *name, Type type) {
    return sn_region_param(graph->body, type, name);
}

void sn_graph_output(Graph *graph, const char *name, Value *value) {
    sn_region_result(graph->body, value);
    sn_push(graph->arena, &graph->output_name, sn_arena_string(graph->arena, name));
}

void sn_graph_arrange(Graph *graph, int param_count, const int *param, int result_count, const int *result) {
    Region *body = graph->body;
    Value **value = SN_ARRAY(graph->arena, Value *, param_count);
    for (int i = 0; i < param_count; i++) value[i] = body->param.at[param[i]];
    for (int i = 0; i < body->param.count; i++) body->param.at[i]->region = NULL;
    body->param.count = 0;
    for (int i = 0; i < param_count; i++) {
        value[i]->region = body;
        value[i]->index = i;
        sn_push(graph->arena, &body->param, value[i]);
    }
    Value **output = SN_ARRAY(graph->arena, Value *, result_count);
    const char **name = SN_ARRAY(graph->arena, const char *, result_count);
    for (int i = 0; i < result_count; i++) {
        output[i] = body->result.at[result[i]];
        name[i] = graph->output_name.at[result[i]];
    }
    for (int i = 0; i < body->result.count; i++) drop_use(body->result.at[i], NULL);
    body->result.count = graph->output_name.count = 0;
    for (int i = 0; i < result_count; i++) {
        sn_region_result(body, output[i]);
        sn_push(graph->arena, &graph->output_name, name[i]);
    }
}

int sn_value_use_count(const Value *value) {
    return value->users.count;
}

Node *sn_node_new(Graph *graph, OpCode op, const void *attr, int input_count, Value *const *input,
                  int output_count) {
    Node *node = SN_NEW(graph->arena, Node);
    node->op = op;
    node->id = graph->next_node++;
    node->attr = attr;
    node->input_count = input_count;
    node->input = SN_ARRAY(graph->arena, Value *, input_count);
    for (int i = 0; i < input_count; i++) node->input[i] = input[i];
    node->output_count = output_count;
    node->output = SN_ARRAY(graph->arena, Value *, output_count);
    for (int i = 0; i < output_count; i++) node->output[i] = new_value(graph, NULL, node, i);
    return node;
}

/* Puts an unlinked node between two neighbours of `region` (NULL: its ends) and counts its uses. */
static void link_node(Region *region, Node *node, Node *previous, Node *next) {
    node->region = region;
    node->previous = previous;
    node->next = next;
    *(previous ? &previous->next : &region->first) = node;
    *(next ? &next->previous : &region->last) = node;
    for (int i = 0; i < node->output_count; i++) node->output[i]->region = region;
    for (int i = 0; i < node->input_count; i++)
        if (node->input[i]) sn_push(region->graph->arena, &node->input[i]->users, node);
}

void sn_node_insert_before(Node *node, Node *position) {
    link_node(position->region, node, position->previous, position);
}

void sn_node_append(Region *region, Node *node) {
    link_node(region, node, region->last, NULL);
}

void sn_node_set_input(Node *node, int index, Value *value) {
    Value *old = node->input[index];
    if (old == value) return;
    node->input[index] = value;
    if (!node->region) return;
    if (old) drop_use(old, node);
    if (value) sn_push(node->region->graph->arena, &value->users, node);
}

void sn_node_remove(Node *node) {
    Region *region = node->region;
    *(node->previous ? &node->previous->next : &region->first) = node->next;
    *(node->next ? &node->next->previous : &region->last) = node->previous;
    for (int i = 0; i < node->input_count; i++)
        if (node->input[i]) drop_use(node->input[i], node);
    for (int i = 0; i < node->output_count; i++) node->output[i]->region = NULL;
    node->region = NULL;
    node->previous = node->next = NULL;
}

/* Makes one place that held `from` hold `to`. */
static void replace_once(Value **place, int count, Value *from, Value *to) {
    for (int i = 0; i < count; i++) {
        if (place[i] != from) continue;
        place[i] = to;
        return;
    }
}

void sn_value_replace(Value *from, Value *to) {
    if (from == to) return;
    Region *region = from->region;
    for (int i = 0; i < from->users.count; i++) {
        Node *user = from->users.at[i];
        if (user)
            replace_once(user->input, user->input_count, from, to);
        else
            replace_once(region->result.at, region->result.count, from, to);
        sn_push(region->graph->arena, &to->users, user);
    }
    from->users.count = 0;
    if (to->name || !from->name) return;
    to->name = from->name;
    from->name = NULL;
}

/* ---- order ---- */

enum Mark { MARK_NEW, MARK_OPEN, MARK_DONE };

typedef struct Sort {
    Arena *arena;
    const Region *region;
    const Value *
        *size;     /* by symbol: what its value is, where it is a size of the graph; NULL: there are none */
    Node *missing; /* what the search for one has found */
    int search;    /* its number */
    int *looked;   /* by loop: the last search that has looked at what it takes */
    unsigned char *mark;    /* by node id */
    SN_VEC(Node *) open;    /* the path of producers being visited */
    SN_VEC(Node *) ordered; /* the result */
} Sort;

static void look_at_dim(void *user, Dim dim);

static void look_at_value(Sort *sort, const Value *value);

/* Once a search: of loops that take all that others make there are too many ways. */
static void look_at_loop(Sort *sort, const GraphLoop *loop) {
    const Graph *graph = sort->region->graph;
    int *looked = &sort->looked[loop - graph->loops.at];
    if (*looked == sort->search) return;
    *looked = sort->search;
    for (int k = 0; k < sn_loop_taken(loop) && !sort->missing; k++)
        look_at_value(sort, graph->body->result.at[loop->taken + k]);
    for (int k = 0; k < loop->size_count; k++) look_at_dim(sort, loop->size[k]);
}

/* What a loop takes is needed by what it makes. */
static void look_at_value(Sort *sort, const Value *value) {
    const Graph *graph = sort->region->graph;
    Node *producer = value->producer;
    if (producer && producer->region == sort->region && sort->mark[producer->id] != MARK_DONE)
        sort->missing = producer;
    const GraphLoop *loop =
        producer || value->region != graph->body ? NULL : sn_loop_of_param(graph, value->index);
    if (!loop) return;
    look_at_loop(sort, loop);
    for (int axis = 0; axis < value->type.rank; axis++) look_at_dim(sort, value->type.dim[axis]);
}

static void look_at_symbol(void *user, int symbol) {
    Sort *sort = user;
    const Value *value = sort->size ? sort->size[symbol] : NULL;
    if (value && !sort->missing) look_at_value(sort, value);
}

static void look_at_dim(void *user, Dim dim) {
    sn_dim_symbols(dim, look_at_symbol, user);
}

/* What makes an operand of `node`, or a size that it mentions, and is not in order yet. */
static Node *missing_producer(Sort *sort, const Node *node) {
    sort->missing = NULL;
    sort->search++;
    for (int i = 0; i < node->input_count && !sort->missing; i++)
        if (node->input[i]) look_at_value(sort, node->input[i]);
    if (sort->size && !sort->missing) sn_node_dims(node, look_at_dim, sort);
    return sort->missing;
}

static void find_sizes(Sort *sort) {
    const Graph *graph = sort->region->graph;
    if (graph->sizes.count == 0 || sort->region != graph->body) return;
    sort->size = SN_ARRAY(sort->arena, const Value *, sn_dims_symbol_count(graph->dims));
    for (int i = 0; i < graph->sizes.count; i++) {
        const GraphSize *size = &graph->sizes.at[i];
        if (size->result >= 0) sort->size[size->symbol->value] = graph->body->result.at[size->result];
    }
}

/* Orders `root` after everything it needs; false when the path returns to itself. */
static bool visit(Sort *sort, Node *root) {
    if (sort->mark[root->id] == MARK_DONE) return true;
    sort->mark[root->id] = MARK_OPEN;
    sn_push(sort->arena, &sort->open, root);
    while (sort->open.count > 0) {
        Node *node = sort->open.at[sort->open.count - 1];
        Node *producer = missing_producer(sort, node);
        if (!producer) {
            sort->mark[node->id] = MARK_DONE;
            sn_push(sort->arena, &sort->ordered, node);
            sort->open.count--;
            continue;
        }
        if (sort->mark[producer->id] == MARK_OPEN) return false;
        sort->mark[producer->id] = MARK_OPEN;
        sn_push(sort->arena, &sort->open, producer);
    }
    return true;
}

static void relink(Region *region, Node *const *node, int count) {
    region->first = count ? node[0] : NULL;
    region->last = count ? node[count - 1] : NULL;
    for (int i = 0; i < count; i++) {
        node[i]->previous = i > 0 ? node[i - 1] : NULL;
        node[i]->next = i + 1 < count ? node[i + 1] : NULL;
    }
}

bool sn_region_sort(Region *region) {
    Arena *scratch = sn_arena_child(region->graph->arena);
    Sort sort = {.arena = scratch, .region = region};
    sort.mark = SN_ARRAY(scratch, unsigned char, region->graph->next_node);
    sort.looked = SN_ARRAY(scratch, int, region->graph->loops.count + 1);
    find_sizes(&sort);
    bool acyclic = true;
    for (Node *node = region->first; node && acyclic; node = node->next) acyclic = visit(&sort, node);
    if (acyclic) relink(region, sort.ordered.at, sort.ordered.count);
    sn_arena_free(scratch);
    return acyclic;
}

static bool is_unused(const Node *node) {
    for (int i = 0; i < node->output_count; i++)
        if (node->output[i]->users.count > 0) return false;
    return true;
}

bool sn_region_sweep(Region *region) {
    bool removed = false;
    /* Users come after producers, so one walk from the end finds every chain. */
    for (Node *node = region->last, *previous; node; node = previous) {
        previous = node->previous;
        if (!is_unused(node)) continue;
        sn_node_remove(node);
        removed = true;
    }
    return removed;
}

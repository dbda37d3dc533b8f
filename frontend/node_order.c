/* The order in which the nodes of a body are imported. ONNX wants them sorted; converters and optimizers leave files in
 * which they are not, and onnxruntime takes these. */
#include "import.h"

/* A name that is the body's own while one is looked through, and the node outside that makes it, too. */
typedef struct Hidden {
    const char *name;
    void *maker;
} Hidden;

/* Nodes are named by their places in the file. What a node reads is in `read`, from first[node] to first[node + 1]. */
typedef struct Sorting {
    Arena *arena;
    Map *maker; /* name -> the node that makes it, as a pointer into `nodes` */
    SN_VEC(Hidden) hidden;
    SN_VEC(Onnx__NodeProto *const *) read;
    int *first;
} Sorting;

static void add_reads(Sorting *sorting, const Onnx__NodeProto *node);

static void add_read(Sorting *sorting, const char *name) {
    Onnx__NodeProto *const *maker = sn_map_get_string(sorting->maker, name);
    if (maker) sn_push(sorting->arena, &sorting->read, maker);
}

static void hide(Sorting *sorting, const char *name) {
    Hidden hidden = {name, sn_map_get_string(sorting->maker, name)};
    if (!hidden.maker) return;
    sn_push(sorting->arena, &sorting->hidden, hidden);
    *sn_map_at_string(sorting->maker, name) = NULL;
}

static void hide_own(Sorting *sorting, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_input; i++) hide(sorting, graph->input[i]->name);
    for (size_t i = 0; i < graph->n_initializer; i++) hide(sorting, graph->initializer[i]->name);
    for (size_t i = 0; i < graph->n_sparse_initializer; i++)
        if (graph->sparse_initializer[i]->values) hide(sorting, graph->sparse_initializer[i]->values->name);
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t k = 0; k < graph->node[i]->n_output; k++) hide(sorting, graph->node[i]->output[k]);
}

/* What a body makes itself it does not read from outside, whatever has the same name there. */
static void add_body(Sorting *sorting, const Onnx__GraphProto *graph) {
    int outside = sorting->hidden.count;
    hide_own(sorting, graph);
    for (size_t i = 0; i < graph->n_node; i++) add_reads(sorting, graph->node[i]);
    for (size_t i = 0; i < graph->n_output; i++) add_read(sorting, graph->output[i]->name);
    while (sorting->hidden.count > outside) {
        Hidden hidden = sorting->hidden.at[--sorting->hidden.count];
        *sn_map_at_string(sorting->maker, hidden.name) = hidden.maker;
    }
}

static void add_reads(Sorting *sorting, const Onnx__NodeProto *node) {
    for (size_t k = 0; k < node->n_input; k++) add_read(sorting, node->input[k]);
    for (size_t k = 0; k < node->n_attribute; k++)
        if (node->attribute[k]->g) add_body(sorting, node->attribute[k]->g);
}

static void find_reads(Sorting *sorting, int count, Onnx__NodeProto *const *nodes) {
    sorting->maker = sn_map_new(sorting->arena);
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < nodes[i]->n_output; k++)
            if (*nodes[i]->output[k])
                *sn_map_at_string(sorting->maker, nodes[i]->output[k]) = (void *)&nodes[i];
    sorting->first = SN_ARRAY(sorting->arena, int, count + 1);
    for (int i = 0; i < count; i++) {
        add_reads(sorting, nodes[i]);
        sorting->first[i + 1] = sorting->read.count;
    }
}

/* Each node in the file's order, before it what it reads, and so on; where nodes read one another, some node comes too
 * early, and is refused when it is imported. Without recursion, as chains are as long as a file may say. */
static Onnx__NodeProto **sorted(const Sorting *sorting, int count, Onnx__NodeProto *const *nodes) {
    Arena *arena = sorting->arena;
    Onnx__NodeProto **order = SN_ARRAY(arena, Onnx__NodeProto *, count);
    int *next = SN_ARRAY(arena, int, count), *stack = SN_ARRAY(arena, int, count), depth = 0, placed = 0;
    bool *seen = SN_ARRAY(arena, bool, count);
    for (int i = 0; i < count; i++) next[i] = sorting->first[i];
    for (int i = 0; i < count; i++) {
        if (!seen[i]) stack[depth++] = i, seen[i] = true;
        while (depth > 0) {
            int at = stack[depth - 1];
            if (next[at] == sorting->first[at + 1]) {
                order[placed++] = nodes[at];
                depth--;
                continue;
            }
            int read = (int)(sorting->read.at[next[at]++] - nodes);
            if (!seen[read]) stack[depth++] = read, seen[read] = true;
        }
    }
    return order;
}

Onnx__NodeProto *const *sn_import_order(Arena *arena, int count, Onnx__NodeProto *const *nodes) {
    Sorting sorting = {.arena = arena};
    find_reads(&sorting, count, nodes);
    for (int i = 0; i < count; i++)
        for (int k = sorting.first[i]; k < sorting.first[i + 1]; k++)
            if (sorting.read.at[k] - nodes >= i) return sorted(&sorting, count, nodes);
    return nodes;
}

/* Weights that a model has twice. Where the table of tokens is also the matrix of the head, exporters that fold constants
 * store the table and its transpose, of which a training would make two. A matrix is taken to be another one's
 * transpose when it is that bit for bit, and its elements are not all alike. (Equal ones are not joined, symmetric ones
 * neither: layers that begin alike are no copies of each other.) */
#include "train.h"

static bool is_transpose(const Tensor *a, const Tensor *b) {
    if (a->payload != SN_PAYLOAD_BYTES || b->payload != SN_PAYLOAD_BYTES || a->dtype != b->dtype)
        return false;
    if (a->rank != 2 || b->rank != 2 || a->extent[0] != b->extent[1] || a->extent[1] != b->extent[0])
        return false;
    size_t size = (size_t)sn_dtype_bytes(a->dtype), rows = (size_t)a->extent[0],
           columns = (size_t)a->extent[1];
    const char *left = a->bytes, *right = b->bytes;
    bool alike = true, equal = rows == columns;
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++) {
            const char *element = left + (i * columns + k) * size;
            if (memcmp(element, right + (k * rows + i) * size, size) != 0) return false;
            alike = alike && memcmp(element, left, size) == 0;
            equal = equal && memcmp(element, right + (i * columns + k) * size, size) == 0;
        }
    return !alike && !equal;
}

static void add_copy(Graph *graph, GraphState *state, const char *name) {
    const char **copy = SN_ARRAY(graph->arena, const char *, state->copy_count + 1);
    for (int i = 0; i < state->copy_count; i++) copy[i] = state->copy[i];
    copy[state->copy_count++] = name;
    state->copy = copy;
}

bool sn_parameter_tie(Graph *graph, Node *node) {
    static const int swapped[] = {1, 0};
    Value *value = node->output[0];
    const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
    for (int i = 0; i < graph->states.count; i++) {
        GraphState *state = &graph->states.at[i];
        if (!is_transpose(tensor, state->initial)) continue;
        Builder b = {.graph = graph, .region = graph->body, .before = node, .group = graph->next_group++};
        Value *turned = sn_build_transpose(&b, graph->body->param.at[state->input], swapped);
        if (!turned) return false;
        add_copy(graph, state, value->name);
        value->name = NULL;
        sn_value_replace(value, turned);
        sn_node_remove(node);
        return true;
    }
    return false;
}

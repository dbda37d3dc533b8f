/* Integers that a model computes from float constants alone, such as int(pow(256, 0.5)) patches a side: the
 * interpreter says what they are, as folding does later. */
#include "infer_rules.h"

#include "eval.h"

enum { MOST_NODES = 32 };

/* An evaluation: what may still be looked at, so that a graph of shared values does not take for ever. */
typedef struct Cone {
    Arena *arena;
    const Graph *graph;
    int nodes_left;
} Cone;

static bool is_small(Type type) {
    int64_t count = 1, extent;
    for (int k = 0; k < type.rank; k++) {
        if (!sn_dim_is(type.dim[k], &extent) || extent > SN_KNOWN_MAX) return false;
        if ((count *= extent) > SN_KNOWN_MAX) return false;
    }
    return true;
}

/* Those of a shape value, such as the number of a loop's turn: NULL where one is no constant. */
static Array *known_elements(Cone *cone, const Value *value) {
    int64_t extent[SN_MAX_RANK] = {0};
    for (int k = 0; k < value->type.rank; k++)
        if (!sn_dim_is(value->type.dim[k], &extent[k])) return NULL;
    Array *array = sn_array_new(cone->arena, value->type.dtype, value->type.rank, extent);
    for (int64_t i = 0; i < array->count; i++)
        if (!sn_dim_is(value->known[i], &array->i[i])) return NULL;
    return array;
}

/* The value's elements, or NULL where they depend on more than constants. */
static Array *elements_of(Cone *cone, const Value *value) {
    const Node *node = value->producer;
    if (!node || !is_small(value->type) || node->body || node->output_count != 1) return NULL;
    if (node->op == SN_OP_CONSTANT) {
        const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
        return tensor->payload == SN_PAYLOAD_BYTES ? sn_array_of_tensor(cone->arena, tensor) : NULL;
    }
    if (value->known) return known_elements(cone, value);
    if (node->input_count == 0 || cone->nodes_left-- == 0) return NULL;
    const Array **input = SN_ARRAY(cone->arena, const Array *, node->input_count);
    for (int k = 0; k < node->input_count; k++)
        if (node->input[k] && !(input[k] = elements_of(cone, node->input[k]))) return NULL;
    Array *output = NULL;
    Status status = sn_eval_node(cone->arena, cone->graph, node, input, &output);
    if (!status) return output;
    sn_error_free(status); /* a symbol among its attributes */
    return NULL;
}

bool sn_infer_folded(const Graph *graph, const Node *node, Dim *out) {
    bool whole = node->output[0]->type.dtype != SN_U64; /* whose upper half no Dim can say */
    Cone cone = {.arena = sn_arena_new(), .graph = graph, .nodes_left = MOST_NODES};
    const Array *array = whole ? elements_of(&cone, node->output[0]) : NULL;
    for (int64_t i = 0; array && i < array->count; i++) out[i] = sn_dim(graph->dims, array->i[i]);
    sn_arena_free(cone.arena);
    return array != NULL;
}

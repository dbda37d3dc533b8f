/* Which Dropout nodes of a model drop in its training, and what its random nodes draw there.
 *
 * Masks are functions of (seed, run, number of the node, position of the element). Nodes are numbered in the file's order
 * before anything is rewritten, so that every way to execute a model drops the same elements; the number of the run is
 * half of a state, so that a training that goes on does so with the masks that were due. It counts runs, not updates:
 * runs whose gradients are summed, or whose update is left out, have masks of their own. */
#include "expand.h"
#include "pass.h"
#include "train.h"

void sn_dropout_ignore(Graph *graph) {
    for (Node *node = graph->body->first; node; node = node->next) {
        if (node->op != SN_OP_DROPOUT) continue;
        AttrDropout *attr = SN_NEW(graph->arena, AttrDropout);
        *attr = (AttrDropout){.ratio = ((const AttrDropout *)node->attr)->ratio, .never = true};
        node->attr = attr;
    }
}

static bool drops(const Training *training, const AttrDropout *attr) {
    if (!training->model_dropout) return training->dropout > 0;
    return !attr->never && attr->ratio > 0;
}

Status sn_dropout_choose(Graph *graph, const Training *training) {
    int64_t nodes = 0, numbered = 0;
    for (Node *node = graph->body->first; node; node = node->next) {
        if (node->op != SN_OP_DROPOUT) continue;
        AttrDropout *attr = SN_NEW(graph->arena, AttrDropout);
        *attr = *(const AttrDropout *)node->attr;
        attr->number = drops(training, attr) ? ++numbered : 0;
        if (!training->model_dropout) attr->ratio = training->dropout;
        attr->always = attr->always && attr->number;
        node->attr = attr;
        nodes++;
    }
    if (numbered >= SN_DROPOUT_NODES)
        return sn_fail(SN_UNSUPPORTED, "unsupported: more than %d Dropout nodes", SN_DROPOUT_NODES - 1);
    if (nodes || training->model_dropout || training->dropout == 0) return NULL;
    return sn_fail(SN_INVALID, "the model has no Dropout node that could drop: exporters leave them out "
                               "unless they are told that the model is to be trained");
}

/* Whether the node drops, and as which operand it has the state. */
static bool takes_state(const Node *node, int *at) {
    bool attention = node->op == SN_OP_ATTENTION;
    *at = attention ? 4 : 1;
    if (attention) return ((const AttrAttention *)node->attr)->number != 0;
    return node->op == SN_OP_DROPOUT && ((const AttrDropout *)node->attr)->number != 0;
}

/* The node once more, with the state as operand `at`. */
static Status give_state(Graph *graph, Node *node, int at, Value *state) {
    Builder b = sn_builder_before(graph, node);
    Value *input[5] = {NULL};
    for (int k = 0; k < at && k < node->input_count; k++) input[k] = node->input[k];
    input[at] = state;
    Node *made = sn_build_node(&b, node->op, node->attr, at + 1, input, node->output_count);
    if (!made) return b.status;
    for (int i = 0; i < node->output_count; i++) sn_value_replace(node->output[i], made->output[i]);
    sn_node_remove(node);
    return NULL;
}

/* Random nodes of the model draw by the training's seed too, and each run anew. */
static Status draw_anew(Graph *graph, Node *node, Value *state) {
    Builder b = sn_builder_before(graph, node);
    Value *seed = op2(&b, SN_OP_ADD, node->input[0], element_at(&b, state, 0));
    Value *run = element_at(&b, state, 1);
    if (b.status) return b.status;
    sn_node_set_input(node, 0, seed);
    sn_node_set_input(node, 1, run);
    return NULL;
}

static Value *new_state(Graph *graph, uint64_t seed) {
    static const int64_t two = 2;
    void *bytes;
    Tensor *initial = sn_tensor_new(graph->arena, SN_I64, 1, &two, &bytes);
    sn_element_set_int(SN_I64, bytes, 0, (int64_t)seed);
    sn_element_set_int(SN_I64, bytes, 1, 0);
    Dim *dim = SN_ARRAY(graph->arena, Dim, 1);
    dim[0] = sn_dim(graph->dims, two);
    return sn_state_add(graph, "optimizer.dropout", (Type){SN_I64, 1, dim}, initial);
}

/* The same seed, and the next run. */
static Status count_run(Graph *graph, Value *state) {
    Builder b = {
        .graph = graph, .region = graph->body, .group = graph->next_group++, .phase = SN_PHASE_UPDATE};
    Value *next = op2(&b, SN_OP_ADD, state, sn_build_positions(&b, SN_I64, sn_dim(graph->dims, 2), 0));
    if (next) sn_state_next(graph, state, next);
    return b.status;
}

Status sn_dropout_start(Graph *graph, const Training *training) {
    Value *state = NULL;
    for (Node *node = graph->body->first, *next; node; node = next) {
        next = node->next;
        int at;
        bool random = node->op == SN_OP_RANDOM, takes = takes_state(node, &at);
        if (!random && !takes) continue;
        if (!state) state = new_state(graph, training->seed);
        TRY(random ? draw_anew(graph, node, state) : give_state(graph, node, at, state));
    }
    return state ? count_run(graph, state) : NULL;
}

/* Which constants of a model are its parameters.
 *
 * A file does not tell weights from other tables of floats. A parameter is an initializer, not the constant of a
 * node; it has more than one element, or is the bias of a product of one column; it is no mask (a table of zeros and
 * ones, or with numbers of ten thousand and more), and no positions (rows of evenly spaced numbers, as biases of
 * attention are that grow with the distance); and the loss depends on it other than through sines and cosines, of
 * which the tables of rotary positions are made. Where that is not right, lists of names say what is. */
#include "train.h"

#include <math.h>

enum { MASKED = 10000 }; /* what masks add to scores that are to vanish is no smaller */

static bool fits(const char *pattern, const char *end, const char *name) {
    if (pattern == end) return !*name;
    if (*pattern != '*') return *name == *pattern && *name && fits(pattern + 1, end, name + 1);
    for (;; name++) {
        if (fits(pattern + 1, end, name)) return true;
        if (!*name) return false;
    }
}

bool sn_name_fits(const char *patterns, const char *name) {
    for (const char *at = patterns; at;) {
        const char *comma = strchr(at, ',');
        if (fits(at, comma ? comma : at + strlen(at), name)) return true;
        at = comma ? comma + 1 : NULL;
    }
    return false;
}

static bool looks_like_mask(const Tensor *tensor) {
    bool binary = true, zero = false, one = false;
    if (tensor->payload != SN_PAYLOAD_BYTES) return false;
    for (int64_t i = 0; i < tensor->count; i++) {
        double x = sn_tensor_get(tensor, i);
        if (fabs(x) >= MASKED || isnan(x)) return true;
        zero |= x == 0;
        one |= x == 1;
        binary = binary && (x == 0 || x == 1);
    }
    return binary && zero && one;
}

/* Of at least four numbers a row, that are not all alike. */
static bool looks_like_positions(const Tensor *tensor) {
    int64_t length = tensor->rank ? tensor->extent[tensor->rank - 1] : 0;
    if (tensor->payload != SN_PAYLOAD_BYTES || length < 4) return false;
    bool grows = false;
    for (int64_t row = 0; row < tensor->count; row += length) {
        double first = sn_tensor_get(tensor, row), last = sn_tensor_get(tensor, row + length - 1);
        double step = (last - first) / (double)(length - 1), near = 1e-6 * (fabs(first) + fabs(last));
        for (int64_t i = 1; i < length; i++)
            if (!(fabs(sn_tensor_get(tensor, row + i) - first - (double)i * step) <= near)) return false;
        grows = grows || step != 0;
    }
    return grows;
}

static bool is_bias(const Value *value) {
    for (int i = 0; value->type.rank == 1 && i < value->users.count; i++) {
        const Node *user = value->users.at[i];
        if (!user || user->op != SN_OP_ADD) continue;
        const Value *other = user->input[user->input[0] == value];
        const Type *type = &other->type;
        if (other->producer && other->producer->op == SN_OP_MATMUL && type->rank > 0 &&
            sn_dim_equals(type->dim[type->rank - 1], 1))
            return true;
    }
    return false;
}

/* An initializer of floats, and not the constant of a node. */
static bool is_named(const Node *node) {
    const Value *value = node->output[0];
    return node->op == SN_OP_CONSTANT && !node->origin && value->name && sn_dtype_is_float(value->type.dtype);
}

static bool may_be_parameter(const Training *training, const Node *node) {
    const Value *value = node->output[0];
    if (!is_named(node)) return false;
    if (training->trained) return sn_name_fits(training->trained, value->name);
    const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
    return (tensor->count > 1 || is_bias(value)) && !looks_like_mask(tensor) && !looks_like_positions(tensor);
}

Value *sn_state_add(Graph *graph, const char *name, Type type, const Tensor *initial) {
    Value *value = sn_graph_input(graph, name, type);
    sn_push(graph->arena, &graph->states,
            ((GraphState){
                .name = name, .input = graph->body->param.count - 1, .result = -1, .initial = initial}));
    return value;
}

void sn_state_next(Graph *graph, const Value *value, Value *next) {
    for (int i = 0; i < graph->states.count; i++) {
        GraphState *state = &graph->states.at[i];
        if (graph->body->param.at[state->input] != value) continue;
        sn_graph_output(graph, state->name, next);
        state->result = graph->body->result.count - 1;
    }
}

Status sn_parameters_declare(Graph *graph, const Training *training) {
    bool frozen = false;
    for (Node *node = graph->body->first, *next; node; node = next) {
        next = node->next;
        if (is_named(node) && sn_name_fits(training->frozen, node->output[0]->name)) {
            frozen = true;
            continue;
        }
        if (!may_be_parameter(training, node) || sn_parameter_tie(graph, node)) continue;
        Value *old = node->output[0];
        const char *name = old->name;
        old->name = NULL;
        Value *input = sn_state_add(graph, name, old->type, ((const AttrConstant *)node->attr)->tensor);
        sn_value_replace(old, input);
        sn_node_remove(node);
    }
    if (training->frozen && !frozen)
        return sn_fail(SN_INVALID, "none of the names that are to be frozen is an initializer's");
    if (graph->states.count || (training->inputs && !training->trained)) return NULL;
    return sn_fail(SN_INVALID, training->trained
                                   ? "none of the names that are to be trained is an initializer's of floats"
                                   : "the model has no parameters to train");
}

/* Whether a change of operand k is passed on for training. */
static bool passes_on(const Node *node, int k) {
    if (node->op == SN_OP_SIN || node->op == SN_OP_COS) return false;
    return node->op != SN_OP_ROTARY || k == 0;
}

static void make_constant(Graph *graph, const GraphState *state) {
    Value *value = graph->body->param.at[state->input];
    if (!value->users.count) return;
    Builder b = {
        .graph = graph, .region = graph->body, .before = graph->body->first, .group = graph->next_group++};
    Value *constant = sn_build_constant(&b, state->initial);
    value->name = NULL;
    sn_value_replace(value, constant);
    constant->name = state->name;
}

/* What the loss depends on in a way that is to be trained, by value id. */
static bool *reach(Arena *arena, const Graph *graph, const Value *loss) {
    bool *reached = SN_ARRAY(arena, bool, graph->next_value);
    reached[loss->id] = true;
    for (const Node *node = graph->body->last; node; node = node->previous) {
        bool any = false;
        for (int k = 0; k < node->output_count; k++) any |= reached[node->output[k]->id];
        for (int k = 0; any && k < node->input_count; k++)
            if (node->input[k] && sn_dtype_is_float(node->input[k]->type.dtype) && passes_on(node, k))
                reached[node->input[k]->id] = true;
    }
    return reached;
}

/* Takes the inputs with dropped[i] out of the graph. */
static void drop_inputs(Graph *graph, Arena *arena, const bool *dropped) {
    Region *body = graph->body;
    int *param = SN_ARRAY(arena, int, body->param.count), *result = SN_ARRAY(arena, int, body->result.count);
    int *place = SN_ARRAY(arena, int, body->param.count), count = 0;
    for (int i = 0; i < body->param.count; i++) {
        place[i] = count;
        if (!dropped[i]) param[count++] = i;
    }
    for (int i = 0; i < body->result.count; i++) result[i] = i;
    for (int i = 0; i < graph->states.count; i++)
        graph->states.at[i].input = place[graph->states.at[i].input];
    sn_graph_arrange(graph, count, param, body->result.count, result);
}

int sn_parameters_choose(Graph *graph, const Training *training, const Value *loss) {
    Arena *scratch = sn_arena_child(graph->arena);
    bool *reached = reach(scratch, graph, loss), *dropped = SN_ARRAY(scratch, bool, graph->body->param.count);
    int kept = 0;
    for (int i = 0; i < graph->states.count; i++) {
        const GraphState *state = &graph->states.at[i];
        bool wanted = sn_name_fits(training->trained, state->name);
        if (wanted || reached[graph->body->param.at[state->input]->id]) {
            graph->states.at[kept++] = *state;
        } else {
            make_constant(graph, state);
            dropped[state->input] = true;
        }
    }
    graph->states.count = kept;
    drop_inputs(graph, scratch, dropped);
    sn_arena_free(scratch);
    return kept;
}

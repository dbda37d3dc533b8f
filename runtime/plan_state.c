/* States of a plan: outputs of a run that are inputs of the next. */
#include "plan.h"

/* The append of a fused graph that makes this result, whose cache is an input: *input is which one. */
static const Node *find_append(const Graph *graph, const Value *result, int *input) {
    const Node *cluster = result->producer;
    if (!cluster || cluster->op != SN_OP_CLUSTER) return NULL;
    int output = 0;
    while (cluster->output[output] != result) output++;
    const Node *append = cluster->body->result.at[output]->producer;
    if (!append || append->op != SN_OP_APPEND) return NULL;
    int operand = 0;
    while (operand < cluster->input_count && cluster->body->param.at[operand] != append->input[0]) operand++;
    for (int i = 0; operand < cluster->input_count && i < graph->body->param.count; i++) {
        if (graph->body->param.at[i] != cluster->input[operand]) continue;
        *input = i;
        return append;
    }
    return NULL;
}

int sn_graph_cache_count(const Graph *graph) {
    int count = 0, input;
    for (int i = 0; i < graph->body->result.count; i++)
        count += find_append(graph, graph->body->result.at[i], &input) != NULL;
    return count;
}

int sn_graph_hidden_inputs(const Graph *graph) {
    return sn_graph_cache_count(graph) + sn_graph_loop_params(graph) + graph->states.count;
}

static void find_cache(const Plan *plan, const sn_State *state, PlanCache *out) {
    const Graph *graph = plan->graph;
    int input = -1;
    const Node *append = find_append(graph, graph->body->result.at[state->output], &input);
    *out = (PlanCache){.input = input};
    if (!append) return;
    const AttrAppend *attr = append->attr;
    out->axis = attr->axis;
    out->length = sn_dim_add(graph->dims, attr->at, append->input[1]->type.dim[attr->axis]);
}

static const char *name_or_nothing(const char *name) {
    return name ? name : "";
}

static Status check_pair(const Plan *plan, const sn_State *state, const bool *taken_input,
                         const bool *taken_output) {
    int inputs = plan->input_count - plan->hidden_inputs, outputs = plan->output_count - plan->hidden_outputs;
    if (state->input < 0 || state->input >= inputs)
        return sn_fail(SN_INVALID, "a state with input %d of a model with %d", state->input, inputs);
    if (state->output < 0 || state->output >= outputs)
        return sn_fail(SN_INVALID, "a state with output %d of a model with %d", state->output, outputs);
    const char *input = name_or_nothing(plan->graph->body->param.at[state->input]->name);
    const char *output = name_or_nothing(plan->graph->output_name.at[state->output]);
    if (taken_input[state->input] || taken_output[state->output])
        return sn_fail(SN_INVALID, "%s \"%s\" belongs to two states",
                       taken_input[state->input] ? "input" : "output",
                       taken_input[state->input] ? input : output);
    const Type *to = &plan->value[plan->input[state->input]].type;
    const Type *from = &plan->value[plan->output[state->output].value].type;
    if (to->dtype != from->dtype)
        return sn_fail(SN_INVALID,
                       "output \"%s\" is %s and cannot be the next run's input \"%s\", which is %s", output,
                       sn_dtype_name(from->dtype), input, sn_dtype_name(to->dtype));
    if (to->rank != from->rank)
        return sn_fail(SN_INVALID,
                       "output \"%s\" has rank %d and cannot be the next run's input \"%s\" of rank %d",
                       output, from->rank, input, to->rank);
    for (int i = 0; i < to->rank; i++) {
        int64_t a, b;
        if (sn_dim_is(to->dim[i], &a) && sn_dim_is(from->dim[i], &b) && a != b)
            return sn_fail(
                SN_INVALID,
                "axis %d of output \"%s\" is %lld and cannot be the next run's input \"%s\", whose "
                "axis is %lld",
                i, output, (long long)b, input, (long long)a);
    }
    return NULL;
}

static void add_state(Plan *plan, int i, sn_State state, const GraphState *kept) {
    ((sn_State *)plan->state)[i] = state;
    plan->kept[i] = kept;
    find_cache(plan, &state, (PlanCache *)&plan->cache[i]);
    /* What several outputs show is written once; the states behind the first get copies. */
    PlanValue *value = (PlanValue *)&plan->value[plan->output[state.output].value];
    if (value->storage == SN_STORAGE_OUTPUT) value->storage = SN_STORAGE_STATE, value->over = -1;
}

Status sn_plan_add_states(Arena *arena, Plan *plan, int count, const sn_State *state) {
    const Graph *graph = plan->graph;
    int own = graph->states.count, caches = 0;
    bool *input = SN_ARRAY(arena, bool, plan->input_count),
         *output = SN_ARRAY(arena, bool, plan->output_count);
    plan->state = SN_ARRAY(arena, sn_State, count + own);
    plan->cache = SN_ARRAY(arena, PlanCache, count + own);
    plan->kept = SN_ARRAY(arena, const GraphState *, count + own);
    plan->cache_count = sn_graph_cache_count(graph);
    plan->hidden_inputs = sn_graph_hidden_inputs(graph);
    plan->hidden_outputs = sn_graph_hidden_results(graph);
    for (int i = 0; i < count; i++) {
        TRY(check_pair(plan, &state[i], input, output));
        input[state[i].input] = output[state[i].output] = true;
        add_state(plan, i, state[i], NULL);
        caches += plan->cache[i].input >= 0;
    }
    for (int i = 0; i < own; i++) {
        const GraphState *kept = &graph->states.at[i];
        add_state(plan, count + i, (sn_State){kept->input, kept->result}, kept);
    }
    if (caches != plan->cache_count)
        return sn_fail(SN_INVALID, "%d states of the graph grow in place, and %d are wanted",
                       plan->cache_count, caches);
    plan->state_count = count + own;
    sn_plan_update_states(arena, plan);
    sn_plan_group(arena, plan);
    return NULL;
}

#include "plan_order.h"

typedef struct Order {
    const Graph *graph;
    const PlanStep *step; /* as they were */
    int count;
    PlanStep *out;
    int placed; /* of out */
    bool *done; /* per node of the graph: it is placed */
} Order;

static void place(Order *o, int index) {
    o->out[o->placed++] = o->step[index];
    o->done[o->step[index].cluster->id] = true;
}

static bool is_done(const Order *o, const Node *node) {
    return !node || node->op != SN_OP_CLUSTER || o->done[node->id];
}

/* Whether all that reads the value has run, but for `reader`. */
static bool is_read(const Order *o, const Value *value, const Node *reader) {
    for (int i = 0; i < value->users.count; i++)
        if (value->users.at[i] != reader && !is_done(o, value->users.at[i])) return false;
    return true;
}

static bool is_ready(const Order *o, const Node *update) {
    const Region *body = o->graph->body;
    for (int i = 0; i < update->input_count; i++)
        if (!is_done(o, update->input[i]->producer)) return false;
    for (int i = 0; i < o->graph->states.count; i++) {
        const GraphState *state = &o->graph->states.at[i];
        if (body->result.at[state->result]->producer == update &&
            !is_read(o, body->param.at[state->input], update))
            return false;
    }
    return true;
}

/* Places the updates that are ready; one of them may be what another one waits for, so from the first again. */
static void place_updates(Order *o, int first) {
    for (int i = first; i < o->count; i++) {
        const Node *update = o->step[i].cluster;
        if (o->done[update->id] || !is_ready(o, update)) continue;
        place(o, i);
        i = first - 1;
    }
}

/* Where updates may begin to come: behind the forward pass and what fails. */
static int find_start(const PlanStep *step, int count) {
    int start = 0;
    for (int i = 0; i < count; i++)
        if (step[i].cluster->setup || step[i].cluster->phase == SN_PHASE_FORWARD || step[i].fails)
            start = i + 1;
    return start;
}

void sn_plan_order(Arena *arena, const Graph *graph, PlanStep *step, int count) {
    int start = find_start(step, count), update = start;
    while (update < count && step[update].cluster->phase != SN_PHASE_UPDATE) update++;
    PlanStep *copy = SN_ARRAY(arena, PlanStep, count);
    if (count > 0) memcpy(copy, step, (size_t)count * sizeof *copy);
    Order o = {.graph = graph,
               .step = copy,
               .count = count,
               .out = step,
               .done = SN_ARRAY(arena, bool, graph->next_node)};
    for (int i = 0; i < update; i++) {
        place(&o, i);
        if (i >= start) place_updates(&o, update);
    }
    /* What reads a state behind its update keeps the old value for itself: the order is the one that there was. */
    for (int i = update; i < count; i++)
        if (!o.done[copy[i].cluster->id]) place(&o, i);
}

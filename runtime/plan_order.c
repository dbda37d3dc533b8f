#include "plan_order.h"

#include <stdlib.h>

typedef SN_VEC(const Value *) Olds;

typedef struct Order {
    const Graph *graph;
    const PlanStep *step; /* as they were */
    int count;
    PlanStep *out;
    int placed; /* of out */
    bool *done; /* per node of the graph: it is placed */
    Olds *old;  /* per step: the states that it replaces */
    bool *late; /* per step: an update that waits for all others of the kind */
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

static bool is_ready(const Order *o, int index) {
    const Node *update = o->step[index].cluster;
    for (int i = 0; i < update->input_count; i++)
        if (!is_done(o, update->input[i]->producer)) return false;
    for (int i = 0; i < o->old[index].count; i++)
        if (!is_read(o, o->old[index].at[i], update)) return false;
    return true;
}

/* What each step replaces, from step `first` on. */
static void find_olds(Arena *arena, Order *o, int first) {
    const Region *body = o->graph->body;
    int *step_of = SN_ARRAY(arena, int, o->graph->next_node); /* per node: + 1 */
    o->old = SN_ARRAY(arena, Olds, o->count);
    for (int i = first; i < o->count; i++) step_of[o->step[i].cluster->id] = i + 1;
    for (int i = 0; i < o->graph->states.count; i++) {
        const GraphState *state = &o->graph->states.at[i];
        const Node *maker = body->result.at[state->result]->producer;
        int step = maker ? step_of[maker->id] : 0;
        if (step) sn_push(arena, &o->old[step - 1], body->param.at[state->input]);
    }
}

/* ---- updates that are late ---- */

/* Bytes of the gradients that an update takes; -1: not known. */
static int64_t gradient_bytes(Dims *dims, const Node *update) {
    int64_t sum = 0, count;
    for (int i = 0; i < update->input_count; i++) {
        const Value *value = update->input[i];
        if (!value->producer || value->producer->phase != SN_PHASE_BACKWARD) continue;
        if (!sn_dim_is(sn_type_count(dims, value->type), &count)) return -1;
        sum += count * sn_dtype_bytes(value->type.dtype);
    }
    return sum;
}

static bool is_last(const Node *update) {
    for (int i = 0; i < update->output_count; i++)
        for (int k = 0; k < update->output[i]->users.count; k++)
            if (update->output[i]->users.at[k]) return false;
    return true;
}

typedef struct Size {
    int64_t bytes;
    int step;
} Size;

static int by_bytes(const void *a, const void *b) {
    const Size *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x->step - y->step;
}

/* The smallest updates, whose gradients are 1 % of all together, cost no memory by waiting for one another, and then are
 * few launches. */
static void find_late(Arena *arena, Order *o, int first) {
    enum { SHARE = 100 };
    Size *size = SN_ARRAY(arena, Size, o->count);
    int64_t all = 0, late = 0;
    int count = 0;
    o->late = SN_ARRAY(arena, bool, o->count);
    for (int i = first; i < o->count; i++) {
        int64_t bytes = gradient_bytes(o->graph->dims, o->step[i].cluster);
        if (bytes <= 0 || !is_last(o->step[i].cluster)) continue;
        size[count++] = (Size){bytes, i};
        all += bytes;
    }
    if (count) qsort(size, (size_t)count, sizeof *size, by_bytes);
    for (int i = 0; i < count && (late += size[i].bytes) <= all / SHARE; i++) o->late[size[i].step] = true;
}

/* Whether those that are late need not wait any more. */
static bool is_late_time(const Order *o, int first) {
    for (int i = first; i < o->count; i++)
        if (o->late[i] && !o->done[o->step[i].cluster->id] && !is_ready(o, i)) return false;
    return true;
}

/* ---- places ---- */

/* The next of the updates from `first` on that are ready, one of the kernel that was placed last before others, so that
 * launches of one kernel are neighbours; -1: none is. */
static int next_ready(const Order *o, int first, bool late_too) {
    int found = -1;
    for (int i = first; i < o->count; i++) {
        if (o->done[o->step[i].cluster->id] || (o->late[i] && !late_too)) continue;
        bool same = o->placed && sn_hash_equal(o->step[i].kernel->hash, o->out[o->placed - 1].kernel->hash);
        if ((!same && found >= 0) || !is_ready(o, i)) continue;
        if (same) return i;
        found = i;
    }
    return found;
}

/* Places the updates that are ready; one of them may be what another one waits for. */
static void place_updates(Order *o, int first) {
    bool late_too = is_late_time(o, first);
    for (int i; (i = next_ready(o, first, late_too)) >= 0;) place(o, i);
}

/* The next of all that is left. What reads a state behind its update keeps the old value for itself: such updates come in
 * the order that there was. */
static int next_left(const Order *o, int first) {
    int found = next_ready(o, first, true);
    for (int i = first; i < o->count && found < 0; i++)
        if (!o->done[o->step[i].cluster->id]) found = i;
    return found;
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
    find_olds(arena, &o, update);
    find_late(arena, &o, update);
    for (int i = 0; i < update; i++) {
        place(&o, i);
        if (i >= start) place_updates(&o, update);
    }
    for (int i; (i = next_left(&o, update)) >= 0;) place(&o, i);
}

/* Groups: neighbours in the order of a plan that have nothing to do with one another and run as one launch. A training step
 * has a launch for each parameter, of which most are so small that starting them takes longer than they do.
 *
 * A group is one moment of a run: whatever a member reads or makes lives through all of it (needs.c), so that of the arena
 * no two members share a byte that one of them writes. Memory that is not the arena's is told here: a state that is updated
 * in place is the buffer of its old value, and what grows in place is that of its cache. */
#include "plan.h"

enum {
    MOST = 4096, /* launches of a group */
    OWN_BYTES =
        64
        << 10 /* that a member makes in memory which it takes over from nobody: groups should not make a run
                               take more */
};

typedef struct Grouper {
    Plan *plan;
    int *root; /* per value: the one in whose memory it lies */
    int *read,
        *written; /* per value: 1 + the first launch of the last group in which something reads or writes it */
} Grouper;

static bool is_state(const Plan *plan, int value) {
    return plan->value[value].storage == SN_STORAGE_STATE;
}

static void find_roots(const Plan *plan, int *root) {
    for (int i = 0; i < plan->value_count; i++) root[i] = i;
    for (int i = 0; i < plan->state_count; i++) {
        int from = plan->input[plan->state[i].input], to = plan->output[plan->state[i].output].value;
        if (plan->cache[i].input >= 0)
            root[to] = root[from] = plan->input[plan->cache[i].input];
        else if (plan->update[i].launch >= 0)
            root[to] = from;
    }
    for (int i = 0; i < plan->value_count; i++)
        if (plan->value[i].over >= 0) root[i] = root[plan->value[i].over]; /* which is listed before it */
}

/* Whether what the launch makes anew is little. */
static bool makes_little(const Grouper *g, const PlanLaunch *launch) {
    int64_t sum = 0, bytes;
    for (int i = launch->kernel->input_count; i < launch->buffer_count; i++) {
        int at = launch->buffer[i];
        if (g->root[at] != at || is_state(g->plan, at)) continue;
        if (!sn_dim_is(g->plan->dim[g->plan->value[at].bytes], &bytes) || bytes > OWN_BYTES - sum)
            return false;
        sum += bytes;
    }
    return true;
}

static bool may_be_member(const Grouper *g, int index) {
    const PlanLaunch *launch = &g->plan->launch[index];
    return launch->kernel->grouped && !launch->product && launch->summed_by < 0 && makes_little(g, launch);
}

/* GPUs start one kernel at a time. What comes before the first update may be waited for. */
static bool goes_with(const Plan *plan, int first, int index) {
    const PlanLaunch *a = &plan->launch[first], *b = &plan->launch[index];
    return index - first < MOST && index != plan->update_first && a->cluster->phase == b->cluster->phase &&
           a->segment == b->segment && (plan->target->kind == SN_TARGET_CPU || a->unique == b->unique);
}

/* Whether what the launch touches is let alone by the group so far, which begins with launch `first`. */
static bool is_independent(const Grouper *g, int first, const PlanLaunch *launch) {
    for (int i = 0; i < launch->buffer_count; i++) {
        int root = g->root[launch->buffer[i]];
        bool writes = i >= launch->kernel->input_count;
        if (g->written[root] == first + 1 || (writes && g->read[root] == first + 1)) return false;
    }
    return true;
}

static void join(const Grouper *g, int first, const PlanLaunch *launch) {
    for (int i = 0; i < launch->buffer_count; i++)
        (i < launch->kernel->input_count ? g->read : g->written)[g->root[launch->buffer[i]]] = first + 1;
}

/* The launches from `first` on that are one group. */
static int find_group(const Grouper *g, int first) {
    const Plan *plan = g->plan;
    int end = first + 1;
    if (!may_be_member(g, first)) return 1;
    join(g, first, &plan->launch[first]);
    while (end < plan->launch_count && goes_with(plan, first, end) && may_be_member(g, end) &&
           is_independent(g, first, &plan->launch[end]))
        join(g, first, &plan->launch[end++]);
    return end - first;
}

static void set_group(Plan *plan, int first, int count) {
    PlanLaunch *launch = (PlanLaunch *)&plan->launch[first];
    int buffers = 0;
    for (int i = 0; i < count; i++) {
        launch[i].group = i ? -i : count;
        buffers += launch[i].buffer_count;
        if (count > 1) ((const Kernel **)plan->kernel)[launch[i].unique] = launch[i].kernel->grouped;
    }
    if (count > plan->group_most) plan->group_most = count;
    if (buffers > plan->group_buffers) plan->group_buffers = buffers;
}

void sn_plan_group(Arena *arena, Plan *plan) {
    Grouper g = {.plan = plan,
                 .root = SN_ARRAY(arena, int, plan->value_count),
                 .read = SN_ARRAY(arena, int, plan->value_count),
                 .written = SN_ARRAY(arena, int, plan->value_count)};
    if (plan->eager) return;
    find_roots(plan, g.root);
    for (int i = plan->setup_count; i < plan->launch_count;) {
        int count = find_group(&g, i);
        set_group(plan, i, count);
        i += count;
    }
}

int sn_plan_run_launches(const Plan *plan) {
    int count = 0;
    for (int i = plan->setup_count; i < plan->launch_count; i++) count += plan->launch[i].group > 0;
    return count;
}

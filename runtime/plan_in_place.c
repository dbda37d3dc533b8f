/* Which values of a plan lie where one lay that they replace. */
#include "plan.h"

/* Whether the launch may store the value in `to` over the one in `from` (positions in Plan.value). */
static bool listed(const PlanLaunch *launch, int from, int to) {
    int inputs = launch->kernel->input_count, uses = 0;
    for (int i = 0; i < inputs; i++) uses += launch->buffer[i] == from;
    for (int i = 0; i < launch->kernel->in_place_count && uses == 1; i++) {
        const InPlace *pair = &launch->kernel->in_place[i];
        if (launch->buffer[pair->input] == from && launch->buffer[inputs + pair->output] == to) return true;
    }
    return false;
}

static bool lives_in_run(const Plan *plan, const PlanValue *value) {
    bool run = value->storage == SN_STORAGE_ACTIVATION || value->storage == SN_STORAGE_OUTPUT;
    return run && value->first >= plan->setup_count;
}

void sn_plan_in_place(Arena *arena, Plan *plan) {
    bool *taken = SN_ARRAY(arena, bool, plan->value_count);
    for (int l = plan->setup_count; l < plan->launch_count && !plan->eager; l++) {
        const PlanLaunch *launch = &plan->launch[l];
        int inputs = launch->kernel->input_count;
        for (int i = 0; i < launch->kernel->in_place_count; i++) {
            const InPlace *pair = &launch->kernel->in_place[i];
            int from = launch->buffer[pair->input], to = launch->buffer[inputs + pair->output];
            const PlanValue *dying = &plan->value[from];
            PlanValue *made = (PlanValue *)&plan->value[to];
            if (made->over >= 0 || taken[from] || dying->last != l || made->first != l || made->last == l ||
                dying->bytes != made->bytes || !lives_in_run(plan, dying) || !lives_in_run(plan, made) ||
                plan->launch[dying->first].segment != launch->segment || !listed(launch, from, to))
                continue;
            made->over = from;
            taken[from] = true;
        }
    }
}

/* A size that data decide may contradict another one. */
static bool fails_from(const Plan *plan, int launch) {
    if (plan->launch[launch].segment + 1 < plan->segment_count) return true;
    for (int i = launch; i < plan->launch_count; i++)
        if (plan->launch[i].fails) return true;
    return false;
}

/* Of the states that have one value, the first one is where it is made. */
static bool is_made_for_another(const Plan *plan, const sn_State *state) {
    for (const sn_State *before = plan->state; before < state; before++)
        if (plan->output[before->output].value == plan->output[state->output].value) return true;
    return false;
}

/* NULL, or why the state needs two buffers. */
static const char *decide(const Plan *plan, const sn_State *state, int *launch) {
    int from = plan->input[state->input], to = plan->output[state->output].value;
    const PlanValue *old = &plan->value[from], *new = &plan->value[to];
    if (new->storage != SN_STORAGE_STATE || new->first < 0 || is_made_for_another(plan, state))
        return "its new value is made for something else too";
    if (old->bytes != new->bytes) return "its size changes";
    if (old->last > new->first) return "its old value is needed after the launch that makes the new one";
    if (old->last == new->first && !listed(&plan->launch[new->first], from, to))
        return "the kernel reads the old value elsewhere than it stores";
    if (fails_from(plan, new->first)) return "a later launch may fail on its data";
    *launch = new->first;
    return NULL;
}

void sn_plan_update_states(Arena *arena, Plan *plan) {
    PlanUpdate *update = SN_ARRAY(arena, PlanUpdate, plan->state_count);
    for (int i = 0; i < plan->state_count; i++) {
        update[i].launch = -1;
        update[i].reason = plan->cache[i].input >= 0 ? "it grows in place"
                                                     : decide(plan, &plan->state[i], &update[i].launch);
        int launch = update[i].launch;
        if (launch >= 0 && launch < plan->update_first) plan->update_first = launch;
    }
    plan->update = update;
}

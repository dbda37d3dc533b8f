#include "needs.h"
#include "memory.h"
#include "program.h"
#include <stdlib.h>

/* ---- the arena ---- */

static bool is_packed(const Plan *plan, int at) {
    return sn_plan_value_in_run(&plan->value[at]) && plan->value[at].first >= plan->setup_count;
}

static Phase phase_of(const Plan *plan, int launch) {
    return plan->launch[launch].cluster->phase;
}

/* What the backward pass makes for an update. */
static bool is_gradient(const Plan *plan, int at) {
    const PlanValue *value = &plan->value[at];
    return is_packed(plan, at) && phase_of(plan, value->first) == SN_PHASE_BACKWARD &&
           value->last < plan->launch_count && phase_of(plan, value->last) == SN_PHASE_UPDATE;
}

/* Whether it is one, or lies where one was. */
static bool over_gradient(const Plan *plan, int at) {
    while (at >= 0 && !is_gradient(plan, at)) at = plan->value[at].over;
    return at >= 0;
}

/* The launch behind which the value's memory is free; the launches of a group are one moment. Where updates run
 * beside the launches that follow them (beside.c), the next one of these would wait for an update whose memory it
 * took: so two more updates come first. */
static int last_need(const Plan *plan, int at) {
    enum { MORE = 2 };
    int last = plan->value[at].last, more = 0;
    if (last >= plan->launch_count) return last;
    last = sn_plan_group_last(plan, last);
    if (plan->target->kind != SN_TARGET_CUDA || plan->eager || phase_of(plan, last) != SN_PHASE_UPDATE)
        return last;
    for (int i = last + 1; i < plan->launch_count && more < MORE; i = sn_plan_group_last(plan, i) + 1)
        if (phase_of(plan, i) == SN_PHASE_UPDATE) last = sn_plan_group_last(plan, i), more++;
    return last;
}

/* What of a plan is packed. */
typedef struct Packing {
    const Plan *plan;
    const int64_t *dim;
    int segment;
    bool gradients;
} Packing;

typedef struct Lives {
    Life *life;
    int *place; /* per Plan.value: of its life; -1: none */
    int count;
} Lives;

static Status find_lives(const Packing *packing, Lives *out) {
    const Plan *plan = packing->plan;
    Lives lives = {.life = calloc((size_t)plan->value_count + 1, sizeof *lives.life),
                   .place = calloc((size_t)plan->value_count + 1, sizeof *lives.place)};
    *out = lives;
    if (!lives.life || !lives.place)
        return sn_fail(SN_NO_MEMORY, "out of memory for %d buffers", plan->value_count);
    for (int i = 0; i < plan->value_count; i++) {
        const PlanValue *value = &plan->value[i];
        lives.place[i] = -1;
        if (!is_packed(plan, i) || plan->launch[value->first].segment != packing->segment ||
            (!packing->gradients && over_gradient(plan, i)))
            continue;
        lives.place[i] = lives.count;
        lives.life[lives.count++] =
            (Life){.bytes = packing->dim[value->bytes],
                   .first = sn_plan_group_first(plan, value->first),
                   .last = last_need(plan, i),
                   .over = value->over >= 0 ? &lives.life[lives.place[value->over]] : NULL};
    }
    out->count = lives.count;
    return NULL;
}

static Status pack(const Packing *packing, int64_t *offset, int64_t *bytes) {
    Lives lives;
    Status status = find_lives(packing, &lives);
    if (!status) status = sn_memory_pack(lives.life, lives.count, bytes);
    for (int i = 0; offset && !status && i < packing->plan->value_count; i++)
        if (lives.place[i] >= 0) offset[i] = lives.life[lives.place[i]].offset;
    free(lives.life);
    free(lives.place);
    return status;
}

Status sn_plan_pack(const Plan *plan, int segment, const int64_t *dim, int64_t *offset,
                    int64_t *arena_bytes) {
    return pack(&(Packing){plan, dim, segment, true}, offset, arena_bytes);
}

static int64_t gradient_bytes(const Plan *plan, const int64_t *dim) {
    int64_t sum = 0;
    for (int i = 0; i < plan->value_count; i++)
        if (is_gradient(plan, i))
            sum += (dim[plan->value[i].bytes] + SN_ALIGNMENT - 1) & ~(int64_t)(SN_ALIGNMENT - 1);
    return sum;
}

/* ---- what stays from run to run ---- */

static int64_t constant_bytes(const Plan *plan, const int64_t *dim) {
    int64_t sum = 0;
    for (int i = 0; i < plan->value_count; i++) {
        const PlanValue *value = &plan->value[i];
        bool stays = value->storage == SN_STORAGE_CONSTANT || value->storage == SN_STORAGE_SETUP;
        if (stays && value->last >= plan->setup_count) sum += dim[value->bytes];
    }
    return sum;
}

static bool is_state_input(const Plan *plan, int input) {
    for (int i = 0; i < plan->state_count; i++)
        if (plan->state[i].input == input) return true;
    return false;
}

/* One block, or two that take turns. */
static int64_t state_bytes(const Plan *plan, const int64_t *dim) {
    int64_t sum = 0;
    for (int i = 0; i < plan->state_count; i++)
        sum += dim[plan->value[plan->output[plan->state[i].output].value].bytes] *
               (plan->update[i].launch >= 0 ? 1 : 2);
    return sum;
}

static int64_t side_bytes(const Plan *plan, const NeedsOf *of, const int64_t *dim) {
    int64_t sum = 0;
    bool products = false;
    for (int i = 0; i < plan->input_count; i++)
        if (!of->host_memory && !is_state_input(plan, i)) sum += dim[plan->value[plan->input[i]].bytes];
    for (int i = 0; i < plan->output_count; i++)
        if (of->host_memory && plan->output[i].copied) sum += dim[plan->value[plan->output[i].value].bytes];
    for (int i = plan->setup_count; i < plan->launch_count; i++)
        products |= of->library && sn_plan_way(&plan->launch[i], dim, plan->target) > 0;
    return sum + (products ? SN_WORKSPACE_BYTES : 0);
}

/* ---- work ---- */

static void add_work(const Plan *plan, const int64_t *dim, Needs *out) {
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        const PlanLaunch *launch = &plan->launch[i];
        if (launch->flops >= 0) out->flops += (double)dim[launch->flops];
        if (launch->bytes >= 0) out->moved += (double)dim[launch->bytes];
    }
}

static Status evaluate(const Plan *plan, const NeedsOf *of, int64_t *dim, Needs *out) {
    for (int i = 0; i < plan->dim_count; i++) TRY(sn_dim_eval(plan->dim[i], of->symbol, NULL, &dim[i]));
    for (int i = 0; i < plan->value_count; i++)
        if (dim[plan->value[i].bytes] < 0)
            return sn_fail(SN_INVALID, "with these sizes a tensor of the model has a negative extent");
    *out = (Needs){.constants = constant_bytes(plan, dim),
                   .states = state_bytes(plan, dim),
                   .side = side_bytes(plan, of, dim),
                   .gradients = gradient_bytes(plan, dim)};
    TRY(pack(&(Packing){plan, dim, 0, true}, NULL, &out->arena));
    TRY(pack(&(Packing){plan, dim, 0, false}, NULL, &out->activations));
    add_work(plan, dim, out);
    return NULL;
}

Status sn_plan_needs(const Plan *plan, const NeedsOf *of, Needs *out) {
    if (plan->segment_count > 1)
        return sn_fail(SN_UNSUPPORTED, "unsupported: what a run needs where its data decide sizes");
    int64_t *dim = calloc((size_t)plan->dim_count + 1, sizeof *dim);
    if (!dim) return sn_fail(SN_NO_MEMORY, "out of memory for the sizes of a run");
    Status status = evaluate(plan, of, dim, out);
    free(dim);
    return status;
}

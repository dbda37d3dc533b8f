#include "beside.h"
#include <stdlib.h>

/* ---- who touches what ---- */

typedef struct Bytes {
    uintptr_t start, end;
    bool written;
} Bytes;

static int buffers_of(const PlanLaunch *launch) {
    return launch->buffer_count + launch->more_count;
}

static Bytes bytes_of(const PlanLaunch *launch, int index, void *const *address, const int64_t *dim,
                      const PlanValue *value) {
    int count = launch->buffer_count,
        at = index < count ? launch->buffer[index] : launch->more[index - count];
    uintptr_t start = (uintptr_t)address[at];
    return (Bytes){start, start + (uintptr_t)dim[value[at].bytes], index >= launch->kernel->input_count};
}

static bool launches_conflict(const Plan *plan, void *const *address, const int64_t *dim, const PlanLaunch *a,
                              const PlanLaunch *b) {
    for (int i = 0; i < buffers_of(a); i++) {
        Bytes x = bytes_of(a, i, address, dim, plan->value);
        for (int k = x.written ? 0 : b->kernel->input_count; k < buffers_of(b); k++) {
            Bytes y = bytes_of(b, k, address, dim, plan->value);
            if (x.start < y.end && y.start < x.end) return true;
        }
    }
    return false;
}

/* Of two launches, or groups by their first ones. */
static bool conflict(const Plan *plan, void *const *address, const int64_t *dim, int one, int other) {
    const PlanLaunch *a = &plan->launch[one], *b = &plan->launch[other];
    for (int i = 0; i < a->group; i++)
        for (int k = 0; k < b->group; k++)
            if (launches_conflict(plan, address, dim, &a[i], &b[k])) return true;
    return false;
}

/* ---- the schedule ---- */

static int lane_of(const Plan *plan, int index) {
    return plan->launch[index].cluster->phase == SN_PHASE_UPDATE;
}

/* A second lane is of use when both kinds of launches are there; it begins with what the first one has begun. */
static bool has_both(const Plan *plan, int begin, int end) {
    int count[2] = {0};
    for (int i = begin; i < end; i++) count[lane_of(plan, i)]++;
    return count[0] && count[1];
}

bool sn_beside_schedule(const Plan *plan, void *const *address, const int64_t *dim, int begin, int end,
                        BesideStep *step, int *last) {
    int latest[2] = {-1, -1}; /* launch of each lane */
    int awaited[2] = {begin - 1,
                      begin - 1}; /* by each lane: of the other one, it has waited for all up to there */
    if (!has_both(plan, begin, end)) return false;
    for (int i = begin; i < end; i += plan->launch[i].group) {
        int lane = lane_of(plan, i) && latest[0] >= 0, found = -1;
        for (int k = latest[!lane]; k > awaited[lane] && found < 0; k--)
            if (plan->launch[k].group > 0 && step[k].lane != lane && conflict(plan, address, dim, i, k))
                found = k;
        if (lane && latest[1] < 0 && found < 0) found = latest[0]; /* what was there before the run, too */
        step[i] = (BesideStep){.lane = lane, .await = found};
        if (found >= 0) {
            step[found].posted = true;
            awaited[lane] = found;
        }
        latest[lane] = i;
    }
    *last = latest[1] > awaited[0] ? latest[1] : -1;
    if (*last >= 0) step[*last].posted = true;
    return latest[1] >= 0;
}

/* ---- the run ---- */

static Status run_lanes(sn_Context *context, const Binding *binding, const BesideStep *step, int last,
                        Status (*start)(sn_Context *, const Binding *, int index)) {
    const Plan *plan = context->program->plan;
    Device *device = context->program->device;
    int lane = 0;
    for (int i = context->begin; i < context->end; i += plan->launch[i].group) {
        if (step[i].lane != lane) TRY(device->ops->lane(device, lane = step[i].lane));
        if (step[i].await >= 0) TRY(device->ops->await(device, step[i].await));
        TRY(start(context, binding, i));
        if (step[i].posted) TRY(device->ops->post(device, i));
    }
    if (lane) TRY(device->ops->lane(device, 0));
    return last >= 0 ? device->ops->await(device, last) : NULL;
}

Status sn_beside_run(sn_Context *context, const Binding *binding,
                     Status (*start)(sn_Context *, const Binding *, int index)) {
    const Plan *plan = context->program->plan;
    BesideStep *step = NULL;
    int last;
    /* Times of single launches are those of launches that have the device for themselves. */
    bool whole = context->last_phase > SN_PHASE_BACKWARD; /* otherwise updates are left out */
    if (context->program->device->ops->lane && !context->profile && whole &&
        has_both(plan, context->begin, context->end)) {
        step = calloc((size_t)context->end, sizeof *step);
        if (!step) return sn_fail(SN_NO_MEMORY, "out of memory for the order of %d launches", context->end);
    }
    Status status = NULL;
    if (step &&
        sn_beside_schedule(plan, context->address, binding->dim, context->begin, context->end, step, &last))
        status = run_lanes(context, binding, step, last, start);
    else
        for (int i = context->begin; i < context->end && !status; i += plan->launch[i].group)
            status = start(context, binding, i);
    free(step);
    return status;
}

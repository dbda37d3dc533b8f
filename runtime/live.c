#include "live.h"
#include "needs.h"
#include <stdlib.h>

static bool is_made(const Plan *plan, int at) {
    return sn_plan_value_in_run(&plan->value[at]) && plan->value[at].first >= plan->setup_count;
}

/* The launch from which its memory is its own: what takes over another's has it from the next one on. */
static int begin(const Plan *plan, int at) {
    return plan->value[at].first + (plan->value[at].over >= 0);
}

static bool is_needed(const Plan *plan, int at, int launch) {
    return is_made(plan, at) && begin(plan, at) <= launch && plan->value[at].last >= launch;
}

static bool is_kept(const Plan *plan, int at) {
    const PlanValue *value = &plan->value[at];
    return is_made(plan, at) && plan->launch[value->first].cluster->phase == SN_PHASE_FORWARD &&
           value->last < plan->launch_count && plan->launch[value->last].cluster->phase > SN_PHASE_FORWARD;
}

/* Bytes of all that is needed while each launch runs. */
static int64_t *sum(Arena *arena, const Plan *plan, const int64_t *dim) {
    int64_t *bytes = SN_ARRAY(arena, int64_t, plan->launch_count + 1), now = 0;
    for (int i = 0; i < plan->value_count; i++) {
        if (!is_made(plan, i) || begin(plan, i) > plan->value[i].last) continue;
        bytes[begin(plan, i)] += dim[plan->value[i].bytes];
        if (plan->value[i].last < plan->launch_count)
            bytes[plan->value[i].last + 1] -= dim[plan->value[i].bytes];
    }
    for (int i = 0; i <= plan->launch_count; i++) bytes[i] = now += bytes[i];
    return bytes;
}

typedef struct Size {
    int64_t bytes;
    int value;
} Size;

static int by_size(const void *a, const void *b) {
    const Size *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->value - y->value;
}

static void find_values(Arena *arena, const Plan *plan, const int64_t *dim, Live *out) {
    Size *size = SN_ARRAY(arena, Size, plan->value_count + 1);
    for (int i = 0; i < plan->value_count; i++)
        if (is_needed(plan, i, out->peak)) size[out->count++] = (Size){dim[plan->value[i].bytes], i};
    qsort(size, (size_t)out->count, sizeof *size, by_size);
    int *value = SN_ARRAY(arena, int, out->count + 1);
    for (int i = 0; i < out->count; i++) value[i] = size[i].value;
    out->value = value;
}

Status sn_plan_live(Arena *arena, const Plan *plan, const int64_t *symbol, int64_t *dim, Live *out) {
    *out = (Live){.peak = -1};
    if (plan->segment_count > 1)
        return sn_fail(SN_UNSUPPORTED, "unsupported: what a run needs where its data decide sizes");
    for (int i = 0; i < plan->dim_count; i++) TRY(sn_dim_eval(plan->dim[i], symbol, NULL, &dim[i]));
    const int64_t *bytes = sum(arena, plan, dim);
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        int64_t *most = &out->most[plan->launch[i].cluster->phase];
        if (bytes[i] > *most) *most = bytes[i];
        if (bytes[i] > 0 && (out->peak < 0 || bytes[i] > bytes[out->peak])) out->peak = i;
    }
    for (int i = 0; i < plan->value_count; i++)
        if (is_kept(plan, i)) out->kept += dim[plan->value[i].bytes];
    if (out->peak >= 0) find_values(arena, plan, dim, out);
    return NULL;
}

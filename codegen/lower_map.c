/* Elementwise clusters: every result is a loop over its own shape; results of equal shape share a nest. A
 * result that is a concat is stored piece by piece, so that nothing is selected by comparing indices. */
#include "lower.h"

#include "view.h"

/* One store: `value` over the shape of `domain`, written at index + shift of result `result`. */
typedef struct Job {
    const Value *value;
    int result;
    const Dim *shift; /* per axis of the result */
    bool done;
} Job;

typedef SN_VEC(Job) Jobs;

static void add_jobs(Lower *lower, Jobs *jobs, const Value *value, int result, const Dim *shift) {
    const Node *node = value->producer;
    if (!node || node->op != SN_OP_CONCAT) {
        sn_push(lower->arena, jobs, ((Job){value, result, shift, false}));
        return;
    }
    int axis = ((const AttrAxis *)node->attr)->axis;
    Dim start = shift[axis];
    for (int i = 0; i < node->input_count; i++) {
        Dim *moved = SN_ARRAY(lower->arena, Dim, value->type.rank);
        for (int k = 0; k < value->type.rank; k++) moved[k] = shift[k];
        moved[axis] = start;
        add_jobs(lower, jobs, node->input[i], result, moved);
        start = sn_dim_add(lower->dims, start, node->input[i]->type.dim[axis]);
    }
}

static void lower_job(Lower *lower, Step *step, const Job *job, const Dim *axes) {
    Type type = job->value->type;
    Dim *at = SN_ARRAY(lower->arena, Dim, type.rank);
    for (int i = 0; i < type.rank; i++) at[i] = sn_dim_add(lower->dims, axes[i], job->shift[i]);
    sn_lower_store(lower, step, job->result, job->value, axes, at);
}

/* All jobs of the shape of jobs[first], in one nest. */
static Status lower_nest(Lower *lower, Jobs *jobs, int first) {
    Type type = jobs->at[first].value->type;
    sn_lower_nest(lower);
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, type.rank, type.dim);
    for (int i = 0; i < type.rank; i++)
        if (axes[i]->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->parallel, axes[i]);
    for (int i = first; i < jobs->count; i++) {
        if (jobs->at[i].done || !sn_type_same_shape(type, jobs->at[i].value->type)) continue;
        lower_job(lower, step, &jobs->at[i], axes);
        jobs->at[i].done = true;
    }
    if (lower->status) return lower->status;
    return sn_schedule_nest(lower->kernel, lower->nest);
}

Status sn_lower_map(KernelIr *kernel) {
    Lower lower = sn_lower(kernel);
    const Region *body = kernel->cluster->body;
    Jobs jobs = {0};
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        Dim *shift = SN_ARRAY(kernel->arena, Dim, value->type.rank);
        for (int k = 0; k < value->type.rank; k++) shift[k] = sn_dim(kernel->dims, 0);
        add_jobs(&lower, &jobs, value, i, shift);
    }
    for (int i = 0; i < jobs.count; i++)
        if (!jobs.at[i].done) TRY(lower_nest(&lower, &jobs, i));
    return NULL;
}

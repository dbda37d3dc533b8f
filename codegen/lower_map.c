/* Elementwise clusters: every result is a loop over its own shape; results of equal shape share a nest. A
 * result that is a concat is stored piece by piece, so that nothing is selected by comparing indices; of one that is
 * an append, what is new is stored. */
#include "lower.h"

#include "view.h"

/* So many pieces are worth a loop over them, and so many values are computed side by side at most: compilers take
 * more than twice the time for twice as many. */
enum { FEW = 8, MOST = 32 };

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

/* How many jobs from jobs[first] on store tensors of one type, which the launch has one after the other, each
 * as much further in the same result. */
static int run_length(Lower *lower, const Jobs *jobs, int first) {
    const Job *job = &jobs->at[first];
    Type type = job->value->type;
    int count = 1, axis = -1;
    if (lower->kernel->target->kind != SN_TARGET_CPU || job->value->producer || type.rank == 0) return 1;
    for (int k = first + 1; k < jobs->count; k++, count++) {
        const Job *next = &jobs->at[k];
        if (next->done || next->value->producer || next->value->index != job->value->index + count ||
            next->result != job->result || next->value->type.dtype != type.dtype ||
            !sn_type_same_shape(type, next->value->type))
            break;
        for (int i = 0; i < type.rank && count == 1; i++)
            if (next->shift[i] != job->shift[i]) axis = i;
        if (axis < 0) break;
        Dim further = sn_dim_mulc(lower->dims, type.dim[axis], count);
        Dim expected = sn_dim_add(lower->dims, job->shift[axis], further);
        if (next->shift[axis] != expected) break;
    }
    return count;
}

/* A run of jobs as one more loop, around those over the shape of one of them. */
static Status lower_run(Lower *lower, Jobs *jobs, int first, int count) {
    const Job *job = &jobs->at[first];
    Type type = job->value->type;
    sn_lower_nest(lower);
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, type.rank, type.dim);
    Dim piece = sn_dim_axis(lower->dims, type.rank, sn_dim(lower->dims, count));
    Dim *at = SN_ARRAY(lower->arena, Dim, type.rank);
    sn_push(lower->arena, &lower->nest->parallel, piece);
    for (int i = 0; i < type.rank; i++) {
        Dim moved = sn_dim_mul(lower->dims, piece, sn_dim_sub(lower->dims, job[1].shift[i], job->shift[i]));
        at[i] = sn_dim_add(lower->dims, sn_dim_add(lower->dims, axes[i], job->shift[i]), moved);
        if (axes[i]->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->parallel, axes[i]);
    }
    sn_lower_store(lower, step, job->result, job->value, axes, at);
    for (int i = 0; i < lower->nest->instr.count; i++)
        if (lower->nest->instr.at[i]->kind == SN_INSTR_LOAD) lower->nest->instr.at[i]->which = piece;
    for (int i = 0; i < count; i++) jobs->at[first + i].done = true;
    if (lower->status) return lower->status;
    return sn_schedule_nest(lower->kernel, lower->nest);
}

/* Jobs of the shape of jobs[first], in one nest. */
static Status lower_nest(Lower *lower, Jobs *jobs, int first) {
    Type type = jobs->at[first].value->type;
    int count = run_length(lower, jobs, first);
    if (count >= FEW) return lower_run(lower, jobs, first, count);
    sn_lower_nest(lower);
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, type.rank, type.dim);
    for (int i = 0; i < type.rank; i++)
        if (axes[i]->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->parallel, axes[i]);
    count = 0;
    for (int i = first; i < jobs->count && count < MOST; i++) {
        if (jobs->at[i].done || !sn_type_same_shape(type, jobs->at[i].value->type)) continue;
        lower_job(lower, step, &jobs->at[i], axes);
        jobs->at[i].done = true;
        count++;
    }
    if (lower->status) return lower->status;
    return sn_schedule_nest(lower->kernel, lower->nest);
}

Status sn_lower_map(KernelIr *kernel) {
    return sn_lower_map_from(kernel, NULL, NULL);
}

Status sn_lower_map_from(KernelIr *kernel, AnchorFunction *anchor, void *user) {
    Lower lower = sn_lower(kernel);
    lower.anchor = anchor, lower.user = user;
    const Region *body = kernel->cluster->body;
    Jobs jobs = {0};
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        Dim *shift = SN_ARRAY(kernel->arena, Dim, value->type.rank);
        for (int k = 0; k < value->type.rank; k++) shift[k] = sn_dim(kernel->dims, 0);
        if (value->producer && value->producer->op == SN_OP_APPEND) {
            const AttrAppend *attr = value->producer->attr;
            shift[attr->axis] = attr->at;
            value = value->producer->input[1];
        }
        add_jobs(&lower, &jobs, value, i, shift);
    }
    for (int i = 0; i < jobs.count; i++)
        if (!jobs.at[i].done) TRY(lower_nest(&lower, &jobs, i));
    return NULL;
}

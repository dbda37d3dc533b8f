#include "beside.h"
#include "clock.h"

Status sn_context_start(sn_Context *context, const Binding *binding, int index, int way, bool *done) {
    const sn_Program *program = context->program;
    const PlanLaunch *launch = &program->plan->launch[index];
    int *fault = &context->fault[index];
    if (way > 0) {
        int needs = launch->product->full ? launch->product->full->needs : -1;
        bool full = needs < 0 || binding->full[needs];
        TRY(sn_program_product(program, launch, context->address, binding->dim, binding->param,
                               context->buffer, context->workspace.at, way - 1, fault, &full, done));
        if (*done) binding->full[index] = full;
        return NULL;
    }
    *done = true;
    return sn_program_launch(program, launch, context->address, binding->dim,
                             binding->param + launch->param_start, context->buffer, fault);
}

/* A launch, or the group that it is the first of. */
static Status start(sn_Context *context, const Binding *binding, int index) {
    const PlanLaunch *launch = &context->program->plan->launch[index];
    int way = binding->way[index];
    bool done = false;
    binding->full[index] = false;
    if (launch->group > 1)
        return sn_program_launch_group(context->program, launch, context->address, binding->dim,
                                       binding->param, context->buffer, context->member,
                                       &context->fault[index]);
    if (way) TRY(sn_context_start(context, binding, index, way, &done));
    /* Another version of the library than the tuning's may propose less. */
    if (way > 1 && !done) TRY(sn_context_start(context, binding, index, 1, &done));
    return done ? NULL : sn_context_start(context, binding, index, 0, &done);
}

/* Updates run as soon as they can, between launches of the backward pass, which may be wanted alone. */
static bool is_left_out(const sn_Context *context, int index) {
    return context->program->plan->launch[index].cluster->phase > context->last_phase;
}

static Status find_fault(const sn_Context *context, int begin, int end) {
    for (int i = begin; i < end; i++) TRY(sn_program_fault(context->program, i, context->fault[i]));
    return NULL;
}

/* A fault that is known at once ends the run; what comes later is found at its end. */
static Status launch(sn_Context *context, const Binding *binding, int index) {
    Device *device = context->program->device;
    int end = index + context->program->plan->launch[index].group;
    bool timed = context->profile && !context->marks;
    double begin = timed ? device->ops->clock(device) : 0;
    if (context->marks) TRY(device->ops->mark(device, context->marks, index));
    if (is_left_out(context, index)) return NULL;
    context->reached = end - 1;
    int summed_by = context->program->plan->launch[index].summed_by;
    if (summed_by < 0 || !binding->full[summed_by]) TRY(start(context, binding, index));
    if (timed) TRY(sn_profile_add(context->profile, index, device->ops->clock(device) - begin, binding->dim));
    return device->host_memory ? find_fault(context, index, end) : NULL;
}

/* ---- compiled: one block, every value at its place ---- */

static Status run_launches(sn_Context *context, const Binding *binding) {
    return sn_beside_run(context, binding, launch);
}

static Status run_compiled(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    for (int i = 0; i < plan->value_count; i++)
        if (sn_plan_value_in_run(&plan->value[i]) && plan->value[i].first >= plan->setup_count &&
            plan->launch[plan->value[i].first].segment == context->segment)
            context->address[i] = (char *)context->arena[context->segment].at + binding->offset[i];
    return sn_replay(context, binding, run_launches);
}

/* ---- eager: a block for each tensor, from its launch to its last use ---- */

static Status take_blocks(sn_Context *context, const Binding *binding, const PlanLaunch *launch) {
    const Plan *plan = context->program->plan;
    for (int i = launch->kernel->input_count; i < launch->buffer_count; i++) {
        int at = launch->buffer[i];
        if (plan->value[at].storage == SN_STORAGE_STATE) continue;
        TRY(sn_allocator_get(&context->allocator, binding->dim[plan->value[at].bytes], &context->block[at]));
        context->address[at] = context->block[at].at;
    }
    return NULL;
}

static Status run_eager(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    for (int i = context->begin; i < context->end; i++) {
        const PlanLaunch *at = &plan->launch[i];
        Status status = take_blocks(context, binding, at);
        if (status) return sn_status_prefix(status, "%s", at->summary);
        TRY(launch(context, binding, i));
        for (int k = 0; k < at->dead_count; k++)
            sn_allocator_put(&context->allocator, &context->block[at->dead[k]]);
    }
    return NULL;
}

void sn_execute_release(sn_Context *context) {
    if (!context->block) return;
    for (int i = 0; i < context->program->plan->value_count; i++)
        sn_allocator_put(&context->allocator, &context->block[i]);
}

/* ---- either ---- */

static Status run_in_mode(sn_Context *context, const Binding *binding) {
    return context->program->plan->eager ? run_eager(context, binding) : run_compiled(context, binding);
}

static bool may_fail_before_updates(const Plan *plan) {
    for (int i = plan->setup_count; i < plan->update_first; i++)
        if (plan->launch[i].fails) return true;
    return false;
}

/* States are updated in place when it is known that nothing has failed on its data: where launches are only started,
 * what comes before is waited for. Nothing fails behind the first update. */
static Status run_part(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    Device *device = context->program->device;
    int begin = context->begin, end = context->end, update = plan->update_first;
    if (device->host_memory || update < begin || update >= end || is_left_out(context, update) ||
        !may_fail_before_updates(plan))
        return run_in_mode(context, binding);
    context->end = update;
    TRY(run_in_mode(context, binding));
    double started = sn_clock();
    Status status = device->ops->sync(device);
    double waited = sn_clock() - started;
    context->time.device += waited;
    context->time.host -= waited;
    TRY(status);
    TRY(find_fault(context, 0, update));
    context->begin = update;
    context->end = end;
    TRY(run_in_mode(context, binding));
    context->begin = begin;
    return NULL;
}

/* ---- segments ---- */

/* Waits for what has run, reads the sizes that it has made, and runs the loops that take what it has made. */
static Status begin_segment(sn_Context *context, const Binding *binding, int segment) {
    const Plan *plan = context->program->plan;
    const PlanSegment *at = &plan->segment[segment];
    Device *device = context->program->device;
    double started = sn_clock();
    Status status = device->ops->sync(device);
    for (int i = 0; i < at->size_count && !status; i++) {
        int result = plan->graph->sizes.at[at->size[i]].result;
        const void *from = context->address[plan->output[result].value];
        status = device->ops->download(device, &context->size[i], from, sizeof context->size[i]);
    }
    double waited = sn_clock() - started;
    context->time.device += waited;
    context->time.host -= waited;
    TRY(status);
    TRY(find_fault(context, 0, sn_plan_segment_begin(plan, segment)));
    TRY(sn_bindings_extend(&context->bindings, segment, context->size));
    started = sn_clock();
    status = at->loop_count ? context->program->loops->run(context, binding, segment) : NULL;
    waited = sn_clock() - started;
    context->time.device += waited;
    context->time.host -= waited;
    TRY(status);
    return sn_context_place(context, binding, segment);
}

static Status run_segments(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    for (int i = 0; i < plan->segment_count; i++) {
        if (i > 0) TRY(begin_segment(context, binding, i));
        context->segment = i;
        context->begin = sn_plan_segment_begin(plan, i);
        context->end = plan->segment[i].end;
        TRY(run_part(context, binding));
    }
    return NULL;
}

/* ---- phases ---- */

/* Launches that follow one another in one phase; those that are left out are of any. */
static Phase next_of_a_phase(sn_Context *context) {
    const Plan *plan = context->program->plan;
    Phase phase = SN_PHASE_COUNT;
    context->begin = context->end;
    for (int i = context->begin; i < plan->launch_count; i++) {
        if (is_left_out(context, i)) continue;
        if (phase == SN_PHASE_COUNT) phase = plan->launch[i].cluster->phase;
        if (phase != plan->launch[i].cluster->phase) break;
        context->end = i + 1;
    }
    return phase;
}

/* With a wait wherever the phase changes. Only training times phases, and a plan of that has one segment. */
static Status run_phases(sn_Context *context, const Binding *binding) {
    Device *device = context->program->device;
    for (;;) {
        Phase phase = next_of_a_phase(context);
        if (phase == SN_PHASE_COUNT) return NULL;
        double begin = device->ops->clock(device);
        TRY(run_part(context, binding));
        context->phase_seconds[phase] += device->ops->clock(device) - begin;
    }
}

static Status start_all(sn_Context *context, const Binding *binding) {
    Device *device = context->program->device;
    context->segment = 0;
    TRY(context->phase_seconds ? run_phases(context, binding) : run_segments(context, binding));
    return context->marks ? device->ops->mark(device, context->marks, context->end) : NULL;
}

static Status read_marks(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    Device *device = context->program->device;
    for (int i = plan->setup_count, next; i < context->end; i = next) {
        double seconds;
        next = i + plan->launch[i].group;
        TRY(device->ops->elapsed(device, context->marks, i, next, &seconds));
        TRY(sn_profile_add(context->profile, i, seconds, binding->dim));
    }
    return NULL;
}

Status sn_execute(sn_Context *context, const Binding *binding) {
    const sn_Program *program = context->program;
    memset(context->fault, 0, (size_t)program->plan->launch_count * sizeof *context->fault);
    double begin = sn_clock();
    context->begin = program->plan->setup_count;
    context->end = context->phase_seconds ? context->begin : program->plan->launch_count;
    Status status = start_all(context, binding);
    double started = sn_clock();
    /* What was started still uses the context's memory: it has to end, whatever happened. */
    Status ended = program->device->ops->sync(program->device);
    context->time.host += started - begin;
    context->time.device += sn_clock() - started;
    if (status) {
        sn_error_free(ended);
        return status;
    }
    if (!ended) ended = find_fault(context, 0, program->plan->launch_count);
    return !ended && context->marks ? read_marks(context, binding) : ended;
}

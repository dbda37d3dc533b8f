#include "context.h"

/* A fault that is known at once ends the run; what comes later is found at its end. */
static Status launch(sn_Context *context, const Binding *binding, int index) {
    const sn_Program *program = context->program;
    const int64_t *param = binding->param + program->plan->launch[index].param_start;
    Device *device = program->device;
    int *fault = &context->fault[index];
    double start = context->profile ? device->ops->clock(device) : 0;
    context->reached = index;
    TRY(sn_program_launch(program, index, context->address, binding->dim, param, context->buffer, fault));
    if (context->profile)
        sn_profile_add(context->profile, index, device->ops->clock(device) - start, binding->dim);
    return sn_program_fault(program, index, *fault);
}

/* ---- compiled: one block, every value at its place ---- */

static Status run_compiled(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    for (int i = 0; i < plan->value_count; i++)
        if (sn_plan_value_in_run(&plan->value[i]) && plan->value[i].first >= plan->setup_count)
            context->address[i] = (char *)context->arena.at + binding->offset[i];
    for (int i = plan->setup_count; i < plan->launch_count; i++) TRY(launch(context, binding, i));
    return NULL;
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
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
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

Status sn_execute(sn_Context *context, const Binding *binding) {
    const sn_Program *program = context->program;
    memset(context->fault, 0, (size_t)program->plan->launch_count * sizeof *context->fault);
    Status status = program->plan->eager ? run_eager(context, binding) : run_compiled(context, binding);
    /* What was started still uses the context's memory: it has to end, whatever happened. */
    Status ended = program->device->ops->sync(program->device);
    if (status) {
        sn_error_free(ended);
        return status;
    }
    for (int i = 0; i < program->plan->launch_count && !ended; i++)
        ended = sn_program_fault(program, i, context->fault[i]);
    return ended;
}

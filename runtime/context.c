#include "context.h"
#include "clock.h"
#include "loop_kept.h"
#include "memory.h"
#include "number.h"
#include <fenv.h>
#include <stdlib.h>

/* ---- life ---- */

static Status init_loops(sn_Context *context) {
    const sn_Program *program = context->program;
    int count = program->plan->graph->loops.count;
    if (!count) return NULL;
    return program->loops ? program->loops->init(context)
                          : sn_fail(SN_INTERNAL, "%d loops and nothing that runs them", count);
}

static Status fill_context(sn_Context *context, const sn_ContextOptions *options) {
    const sn_Program *program = context->program;
    const Plan *plan = program->plan;
    if (options && options->size >= offsetof(sn_ContextOptions, memory_limit) + sizeof options->memory_limit)
        context->memory_limit = options->memory_limit;
    if (context->memory_limit < 0) return sn_fail(SN_INVALID, "a negative memory limit");
    context->input = calloc((size_t)plan->input_count + 1, sizeof *context->input);
    context->output = calloc((size_t)plan->output_count + 1, sizeof *context->output);
    context->rank = calloc((size_t)plan->input_count + 1, sizeof *context->rank);
    context->extent = calloc((size_t)plan->input_count + 1, sizeof *context->extent);
    context->address = calloc((size_t)plan->value_count + 1, sizeof *context->address);
    int buffers = plan->buffer_most > plan->group_buffers ? plan->buffer_most : plan->group_buffers;
    context->buffer = calloc((size_t)buffers + 1, sizeof *context->buffer);
    context->member = calloc((size_t)plan->group_most, sizeof *context->member);
    context->block = calloc((size_t)plan->value_count + 1, sizeof *context->block);
    context->arena = calloc((size_t)plan->segment_count, sizeof *context->arena);
    context->size = calloc((size_t)plan->graph->sizes.count + 1, sizeof *context->size);
    if (!context->input || !context->output || !context->rank || !context->extent || !context->address ||
        !context->buffer || !context->member || !context->block || !context->arena || !context->size)
        return sn_fail(SN_NO_MEMORY, "out of memory for a context");
    int64_t fault_bytes = ((int64_t)plan->launch_count + 1) * (int64_t)sizeof *context->fault;
    void *fault;
    TRY(program->device->ops->alloc_host(program->device, fault_bytes, &fault));
    context->fault = fault;
    context->last_phase = SN_PHASE_COUNT;
    context->allocator = (Allocator){.device = program->device};
    for (int i = 0; i < plan->value_count; i++) context->address[i] = program->resident[i].at;
    TRY(sn_states_init(context));
    TRY(init_loops(context));
    return sn_bindings_init(&context->bindings, plan, program->library);
}

sn_Error *sn_context_new(const sn_Program *program, const sn_ContextOptions *options, sn_Context **out) {
    *out = NULL;
    sn_Context *context = calloc(1, sizeof *context);
    if (!context) return sn_fail(SN_NO_MEMORY, "out of memory for a context");
    context->program = program;
    Status status = fill_context(context, options);
    if (status)
        sn_context_free(context);
    else
        *out = context;
    return status;
}

static void free_profile(sn_Context *context) {
    Device *device = context->program->device;
    if (context->marks) device->ops->marks_free(device, context->marks);
    context->marks = NULL;
    sn_profile_free(context->profile);
    context->profile = NULL;
}

void sn_context_free(sn_Context *context) {
    if (!context) return;
    const Plan *plan = context->program->plan;
    sn_replay_free(context);
    if (context->block) sn_execute_release(context);
    sn_allocator_free(&context->allocator);
    sn_states_free(context);
    if (context->loop) context->program->loops->free(context);
    for (int i = 0; context->arena && i < plan->segment_count; i++)
        sn_context_free_block(context, &context->arena[i]);
    sn_context_free_block(context, &context->workspace);
    for (int i = 0; context->input && i < plan->input_count; i++)
        sn_context_free_block(context, &context->input[i].staging);
    for (int i = 0; context->output && i < plan->output_count; i++) {
        sn_context_free_block(context, &context->output[i].copy);
        free(context->output[i].host);
    }
    sn_bindings_free(&context->bindings);
    free_profile(context);
    free(context->input);
    free(context->output);
    free(context->rank);
    free(context->extent);
    free(context->address);
    free(context->buffer);
    free(context->member);
    context->program->device->ops->free_host(context->program->device, context->fault);
    free(context->block);
    free(context->arena);
    free(context->size);
    free(context);
}

Status sn_profile_enable(sn_Context *context) {
    const Plan *plan = context->program->plan;
    free_profile(context);
    Profile *profile = calloc(1, sizeof *profile);
    LaunchTime *time = calloc((size_t)plan->launch_count + 1, sizeof *time);
    if (!profile || !time) {
        free(profile);
        free(time);
        return sn_fail(SN_NO_MEMORY, "out of memory for a profile");
    }
    *profile = (Profile){.plan = plan, .time = time};
    context->profile = profile;
    Device *device = context->program->device;
    return device->ops->marks_new ? device->ops->marks_new(device, plan->launch_count + 1, &context->marks)
                                  : NULL;
}

const Profile *sn_context_profile(const sn_Context *context) {
    return context->profile;
}

/* ---- inputs ---- */

static const char *input_name(const sn_Context *context, int index) {
    const char *name = context->program->plan->graph->body->param.at[index]->name;
    return name ? name : "";
}

sn_Error *sn_context_set_input(sn_Context *context, int index, const sn_Tensor *tensor) {
    const Plan *plan = context->program->plan;
    int inputs = plan->input_count - plan->hidden_inputs;
    if (index < 0 || index >= inputs)
        return sn_fail(SN_INVALID, "input %d of a model with %d", index, inputs);
    Type type = plan->value[plan->input[index]].type;
    const char *name = input_name(context, index);
    DType dtype;
    if (!sn_dtype_from_onnx(tensor->element_type, &dtype) || dtype != type.dtype)
        return sn_fail(SN_INVALID, "input \"%s\": element type %d is not %s", name, tensor->element_type,
                       sn_dtype_name(type.dtype));
    if (tensor->rank != type.rank)
        return sn_fail(SN_INVALID, "input \"%s\": rank %d is not %d", name, tensor->rank, type.rank);
    int64_t bytes = sn_dtype_bytes(dtype);
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->extent[i] < 0 || !sn_mul_i64(bytes, tensor->extent[i], &bytes))
            return sn_fail(SN_INVALID, "input \"%s\": extent %lld of axis %d is impossible", name,
                           (long long)tensor->extent[i], i);
    if (!tensor->data && bytes) return sn_fail(SN_INVALID, "input \"%s\" has no data", name);
    InputSlot *slot = &context->input[index];
    slot->set = true;
    slot->data = tensor->data;
    if (slot->state) slot->state->live = slot->state->loaded = slot->state->spoilt = false;
    slot->rank = tensor->rank;
    for (int i = 0; i < tensor->rank; i++) slot->extent[i] = tensor->extent[i];
    return NULL;
}

/* Whether a loop makes it in the run. */
static bool is_made(const sn_Context *context, int input) {
    return sn_loop_of_param(context->program->plan->graph, input) != NULL;
}

static Status bind(sn_Context *context, const Binding **out) {
    const Plan *plan = context->program->plan;
    for (int i = 0; i < plan->input_count; i++) {
        const InputSlot *slot = &context->input[i];
        context->rank[i] = plan->value[plan->input[i]].type.rank;
        context->extent[i] = slot->cache ? slot->cache->room : slot->extent;
        if (slot->cache || is_made(context, i)) continue;
        if (!slot->set) return sn_fail(SN_INVALID, "input \"%s\" is not set", input_name(context, i));
        if (slot->state && slot->state->live) context->extent[i] = slot->state->extent;
    }
    TRY(sn_caches_fit(context));
    return sn_bindings_get(&context->bindings, context->rank, context->extent, out);
}

/* ---- memory ---- */

static bool inside(const Block *block, const void *data) {
    return block->at && (uintptr_t)data - (uintptr_t)block->at < (uintptr_t)block->bytes;
}

/* Whether the run would write over the caller's data: an output of the run before, handed in as an input. */
static bool is_own_memory(const sn_Context *context, const void *data) {
    const Plan *plan = context->program->plan;
    bool own = sn_states_hold(context, data);
    for (int i = 0; i < plan->segment_count && !own; i++) own = inside(&context->arena[i], data);
    for (int i = 0; i < plan->output_count && !own; i++)
        own = inside(&context->block[plan->output[i].value], data) || inside(&context->output[i].copy, data);
    return own;
}

static Status fill_staging(sn_Context *context, InputSlot *slot, int64_t bytes) {
    Device *device = context->program->device;
    TRY(sn_context_grow(context, &slot->staging, bytes,
                        sn_context_side_bytes(context) - slot->staging.bytes));
    return device->ops->upload(device, slot->staging.at, slot->data, bytes);
}

/* What an input is read from. Outputs of the run before are copied before any input is placed: that of a state may be
 * written over them. */
static Status find_source(sn_Context *context, const Binding *binding, int index) {
    const sn_Program *program = context->program;
    InputSlot *slot = &context->input[index];
    int64_t bytes = binding->dim[program->plan->value[program->plan->input[index]].bytes];
    bool read = !slot->cache && !(slot->state && (slot->state->cache || slot->state->live));
    slot->source = slot->data;
    if (!read || bytes == 0 || !program->device->host_memory || !is_own_memory(context, slot->data))
        return NULL;
    TRY(fill_staging(context, slot, bytes));
    slot->source = slot->staging.at;
    return NULL;
}

static Status place_input(sn_Context *context, const Binding *binding, int index) {
    const sn_Program *program = context->program;
    int at = program->plan->input[index];
    const PlanValue *value = &program->plan->value[at];
    InputSlot *slot = &context->input[index];
    int64_t bytes = binding->dim[value->bytes];
    const StateSlot *state = slot->cache ? slot->cache : slot->state;
    if (state && (state->cache || state->live)) {
        /* Of an input that a cache stands for, only the shape is looked at. */
        bool nothing = bytes == 0 || (state->cache && !slot->cache);
        context->address[at] = nothing ? program->nothing : state->current.at;
        if (slot->cache) context->address[program->plan->output[state->output].value] = context->address[at];
        return NULL;
    }
    if (state && state->kept && bytes) {
        TRY(sn_state_fill(context, slot->state, bytes));
        context->address[at] = slot->state->current.at;
        return NULL;
    }
    if (state && state->in_place && bytes) {
        TRY(sn_state_begin(context, slot->state, slot->source, bytes));
        context->address[at] = slot->state->current.at;
        return NULL;
    }
    bool aligned = (uintptr_t)slot->source % (uintptr_t)sn_dtype_bytes(value->type.dtype) == 0;
    if (bytes == 0) {
        context->address[at] = program->nothing;
    } else if (program->device->host_memory && aligned) {
        context->address[at] = (void *)(uintptr_t)slot->source;
    } else {
        TRY(fill_staging(context, slot, bytes));
        context->address[at] = slot->staging.at;
    }
    return NULL;
}

/* Memory for copies, states and the first segment, or the allocator's limit. */
static Status place_run(sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    for (int i = 0; i < plan->output_count && context->program->device->host_memory; i++)
        if (plan->output[i].copied)
            TRY(sn_context_grow(context, &context->output[i].copy,
                                binding->dim[plan->value[plan->output[i].value].bytes],
                                sn_context_side_bytes(context) - context->output[i].copy.bytes));
    /* What the segments and the turns of an earlier run took may be more than this one's. */
    if (context->memory_limit) sn_loops_free_kept(context);
    for (int i = 1; i < plan->segment_count && context->memory_limit; i++)
        sn_context_free_block(context, &context->arena[i]);
    context->allocator.peak = context->allocator.used;
    return sn_context_place(context, binding, 0);
}

/* ---- outputs ---- */

/* Whether the run ends before the phase that makes the value. */
static bool is_missing(const sn_Context *context, int value) {
    const Plan *plan = context->program->plan;
    int first = plan->value[value].first;
    return first >= 0 && plan->launch[first].cluster->phase > context->last_phase;
}

/* Notes where an output is. What lies in the device's own memory is brought to the host when it is asked for. */
static Status note_output(sn_Context *context, const Binding *binding, int index) {
    const sn_Program *program = context->program;
    const PlanOutput *output = &program->plan->output[index];
    OutputSlot *slot = &context->output[index];
    Device *device = program->device;
    int64_t bytes = binding->dim[program->plan->value[output->value].bytes];
    const Type *type = &program->plan->value[output->value].type;
    for (int i = 0; i < type->rank; i++) slot->extent[i] = binding->dim[output->dim[i]];
    slot->missing = is_missing(context, output->value);
    if (slot->missing) return NULL;
    slot->data = context->address[output->value];
    if (slot->cache) {
        const PlanCache *cache = slot->cache->cache;
        slot->data = NULL;
        return sn_dim_eval(cache->length, binding->symbol, NULL, &slot->extent[cache->axis]);
    }
    slot->made = slot->data;
    slot->bytes = bytes;
    if (bytes == 0) return NULL;
    if (!device->host_memory) {
        slot->data = NULL;
    } else if (output->copied) {
        TRY(device->ops->download(device, slot->copy.at, slot->data, bytes));
        slot->data = slot->copy.at;
    }
    return NULL;
}

static Status execute(sn_Context *context, const Binding *binding) {
    context->reached = -1;
    Status status = sn_execute(context, binding);
    if (status) sn_states_failed(context);
    return status;
}

static Status fetch_output(const sn_Context *context, OutputSlot *slot) {
    Device *device = context->program->device;
    void *host = realloc(slot->host, (size_t)slot->bytes);
    if (!host)
        return sn_fail(SN_NO_MEMORY, "out of memory for an output of %lld bytes", (long long)slot->bytes);
    slot->host = host;
    TRY(device->ops->download(device, host, slot->made, slot->bytes));
    slot->data = host;
    return NULL;
}

static Status run(sn_Context *context) {
    const Plan *plan = context->program->plan;
    const Binding *binding;
    TRY(sn_states_sound(context));
    double start = sn_clock();
    TRY(bind(context, &binding));
    context->ran = false;
    context->binding = binding;
    double bound = sn_clock();
    for (int i = 0; i < plan->input_count; i++)
        if (!is_made(context, i)) TRY(find_source(context, binding, i));
    for (int i = 0; i < plan->input_count; i++)
        if (!is_made(context, i)) TRY(place_input(context, binding, i));
    context->time = (RunTime){.host = bound - start, .upload = sn_clock() - bound};
    sn_execute_release(context);
    TRY(place_run(context, binding));
    TRY(execute(context, binding));
    int outputs = plan->output_count - (context->last_phase < SN_PHASE_UPDATE ? plan->hidden_outputs : 0);
    for (int i = 0; i < outputs; i++) TRY(note_output(context, binding, i));
    if (context->last_phase >= SN_PHASE_UPDATE) TRY(sn_states_hand_over(context, binding));
    int64_t made = plan->eager ? context->allocator.peak : 0;
    for (int i = 0; i < plan->segment_count; i++) made += binding->arena_bytes[i];
    context->peak = made + sn_context_side_bytes(context) + sn_loops_peak(context);
    context->ran = true;
    return NULL;
}

/* What the host has made of rounding, small numbers and traps does not reach the kernels, nor theirs the
 * host. */
sn_Error *sn_context_run(sn_Context *context) {
    fenv_t host;
    fegetenv(&host);
    fesetenv(FE_DFL_ENV);
    Status status = run(context);
    /* What a failed run has started uses the context's memory. */
    if (status) sn_error_free(context->program->device->ops->sync(context->program->device));
    fesetenv(&host);
    return status;
}

sn_Error *sn_context_output(const sn_Context *context, int index, sn_Tensor *out) {
    const Plan *plan = context->program->plan;
    int outputs = plan->output_count - plan->hidden_outputs;
    if (index < 0 || index >= outputs)
        return sn_fail(SN_INVALID, "output %d of a model with %d", index, outputs);
    if (!context->ran)
        return sn_fail(SN_INVALID, "no run has succeeded since the context was made or failed");
    const Type *type = &plan->value[plan->output[index].value].type;
    OutputSlot *slot = &context->output[index];
    if (slot->missing)
        return sn_fail(SN_INVALID, "output %d is made by a later phase than the run's last", index);
    if (slot->cache && !slot->data) TRY(sn_cache_output(context, slot));
    if (!slot->data) TRY(fetch_output(context, slot));
    *out = (sn_Tensor){.element_type = sn_dtype_onnx(type->dtype),
                       .rank = type->rank,
                       .extent = slot->extent,
                       .data = slot->data};
    return NULL;
}

RunTime sn_context_time(const sn_Context *context) {
    return context->time;
}

int64_t sn_context_peak_bytes(const sn_Context *context) {
    return context->peak;
}

double sn_context_flops(const sn_Context *context) {
    const Plan *plan = context->program->plan;
    double sum = context->ran && !plan->graph->loops.count ? 0 : -1;
    for (int i = plan->setup_count; i < plan->launch_count && sum >= 0; i++) {
        int flops = plan->launch[i].flops;
        sum = flops < 0 || context->binding->dim[flops] < 0 ? -1 : sum + (double)context->binding->dim[flops];
    }
    return sum;
}

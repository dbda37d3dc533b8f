#include "training.h"
#include "context.h"
#include <stdlib.h>

/* ---- options ---- */

static double or_default(double value, double usual) {
    return value == 0 ? usual : value < 0 ? 0 : value;
}

static Status check(const sn_TrainingOptions *o) {
    if (o->loss < SN_LOSS_OF_MODEL || o->loss > SN_LOSS_SQUARED_ERROR)
        return sn_fail(SN_INVALID, "loss %d does not exist", (int)o->loss);
    if (o->optimizer != SN_ADAMW && o->optimizer != SN_SGD)
        return sn_fail(SN_INVALID, "optimizer %d does not exist", (int)o->optimizer);
    if (!(o->beta1 < 1 && o->beta2 < 1)) return sn_fail(SN_INVALID, "a beta of AdamW that is not below 1");
    if (!(o->label_smoothing >= 0 && o->label_smoothing < 1))
        return sn_fail(SN_INVALID, "a label smoothing of %g", o->label_smoothing);
    if (!(o->clip_norm >= 0)) return sn_fail(SN_INVALID, "a norm of %g to clip gradients at", o->clip_norm);
    if (!(o->dropout < 1)) return sn_fail(SN_INVALID, "a dropout of %g", o->dropout);
    if (!(o->activation_share >= 0) || o->memory_budget < 0 || (o->memory_budget && o->activation_share > 0))
        return sn_fail(SN_INVALID, "a memory budget of %lld bytes, and of %g of the activations",
                       (long long)o->memory_budget, o->activation_share);
    if (o->extent_count < 0 || (o->extent_count && !o->extent))
        return sn_fail(SN_INVALID, "%d extents without a list of them", o->extent_count);
    return o->accumulate < 0 ? sn_fail(SN_INVALID, "%d runs a step", o->accumulate) : NULL;
}

/* Fields past what the caller's header knows keep their defaults. */
static Status complete(const sn_TrainingOptions *options, sn_TrainingOptions *out) {
    *out = (sn_TrainingOptions){0};
    if (options && options->size < sizeof options->size)
        return sn_fail(SN_INVALID, "training options without their size");
    if (options) memcpy(out, options, options->size < sizeof *out ? options->size : sizeof *out);
    out->size = sizeof *out;
    return check(out);
}

Status sn_training_read(const sn_TrainingOptions *options, Training *out) {
    sn_TrainingOptions o;
    TRY(complete(options, &o));
    bool adamw = o.optimizer == SN_ADAMW;
    *out = (Training){
        .has_loss = o.loss != SN_LOSS_OF_MODEL,
        .loss = {.kind = o.loss == SN_LOSS_CLASSES ? SN_LOSS_CROSS_ENTROPY : SN_LOSS_MSE,
                 .output = o.output,
                 .has_ignore_index = o.has_ignore_index != 0,
                 .ignore_index = o.ignore_index,
                 .smoothing = o.label_smoothing},
        .optimizer = adamw ? SN_OPTIMIZER_ADAMW : SN_OPTIMIZER_SGD,
        .beta1 = or_default(o.beta1, 0.9),
        .beta2 = or_default(o.beta2, 0.999),
        .epsilon = or_default(o.epsilon, 1e-8),
        .momentum = o.momentum,
        .nesterov = o.nesterov != 0,
        .decay = or_default(o.weight_decay, adamw ? 0.01 : 0),
        .clip = o.clip_norm,
        .accumulate = o.accumulate ? o.accumulate : 1,
        .model_dropout = o.dropout == 0,
        .dropout = or_default(o.dropout, 0),
        .seed = o.seed,
        .skip = o.skip_nonfinite != 0,
        .master = !o.no_master_weights,
        .trained = o.trained,
        .frozen = o.frozen,
        .decayed = o.decayed,
        .inputs = o.inputs,
    };
    return NULL;
}

sn_Error *sn_compile_training(const sn_Model *model, const sn_CompileOptions *options,
                              const sn_TrainingOptions *training, sn_Program **out) {
    Training step;
    sn_TrainingOptions all;
    *out = NULL;
    TRY(complete(training, &all));
    TRY(sn_training_read(&all, &step));
    SessionOptions session = {
        .pipeline = {.training = &step, .extent_count = all.extent_count, .extent = all.extent},
        .budget = {all.memory_budget, all.activation_share}};
    return sn_session_compile(model, options, &session, out);
}

Status sn_training_inputs(Arena *arena, const Graph *imported, const Training *training, Graph **out) {
    Graph *graph = *out = sn_graph_clone(arena, imported);
    Value *loss;
    if (training->has_loss) TRY(sn_append_loss(graph, &training->loss, &loss));
    sn_graph_input(graph, "learning_rate", (Type){SN_F32, 0, NULL});
    return NULL;
}

/* ---- states ---- */

static StateSlot *state_at(const sn_Context *context, int index) {
    const Plan *plan = context->program->plan;
    int first = plan->state_count - plan->graph->states.count;
    return index < 0 || index >= plan->graph->states.count ? NULL : &context->state[first + index];
}

int sn_context_state_count(const sn_Context *context) {
    return context->program->plan->graph->states.count;
}

const char *sn_context_state_name(const sn_Context *context, int index) {
    const StateSlot *state = state_at(context, index);
    return state ? state->kept->name : "";
}

const char *const *sn_context_state_copies(const sn_Context *context, int index, int *count) {
    const StateSlot *state = state_at(context, index);
    *count = state ? state->kept->copy_count : 0;
    return state ? state->kept->copy : NULL;
}

/* The state lies in its block, whatever the last run was. */
static Status settle(sn_Context *context, int index, StateSlot **out) {
    StateSlot *state = *out = state_at(context, index);
    if (!state) return sn_fail(SN_INVALID, "state %d of %d", index, sn_context_state_count(context));
    const Tensor *initial = state->kept->initial;
    int64_t bytes = initial->count * sn_dtype_bytes(initial->dtype);
    if (state->live || !bytes) return NULL;
    return sn_state_fill(context, state, bytes);
}

Status sn_context_state_get(sn_Context *context, int index, sn_Tensor *out) {
    StateSlot *state;
    Device *device = context->program->device;
    TRY(sn_states_sound(context));
    TRY(settle(context, index, &state));
    const Tensor *initial = state->kept->initial;
    int64_t bytes = initial->count * sn_dtype_bytes(initial->dtype);
    *out = (sn_Tensor){.element_type = sn_dtype_onnx(initial->dtype),
                       .rank = initial->rank,
                       .extent = initial->extent,
                       .data = state->current.at};
    if (device->host_memory || !bytes) return NULL;
    OutputSlot *slot = &context->output[state->output];
    void *host = realloc(slot->host, (size_t)bytes);
    if (!host) return sn_fail(SN_NO_MEMORY, "out of memory for a state of %lld bytes", (long long)bytes);
    slot->host = out->data = host;
    return device->ops->download(device, host, state->current.at, bytes);
}

Status sn_context_state_set(sn_Context *context, int index, const sn_Tensor *tensor) {
    StateSlot *state;
    Device *device = context->program->device;
    TRY(settle(context, index, &state));
    const Tensor *initial = state->kept->initial;
    bool same = tensor->element_type == sn_dtype_onnx(initial->dtype) && tensor->rank == initial->rank;
    for (int i = 0; same && i < initial->rank; i++) same = tensor->extent[i] == initial->extent[i];
    if (!same) return sn_fail(SN_INVALID, "the state \"%s\" has another type", state->kept->name);
    int64_t bytes = initial->count * sn_dtype_bytes(initial->dtype);
    if (bytes) TRY(device->ops->upload(device, state->current.at, tensor->data, bytes));
    TRY(device->ops->sync(device)); /* the next run may be another thread's */
    state->spoilt = false;
    return NULL;
}

/* Sets the number of the next run in the state "optimizer.dropout" and gives what it was; nothing where there is no such state. */
static Status set_dropout_run(sn_Context *context, int64_t run, int64_t *before) {
    for (int i = 0; i < sn_context_state_count(context); i++) {
        if (strcmp(sn_context_state_name(context, i), "optimizer.dropout") != 0) continue;
        sn_Tensor state;
        TRY(sn_context_state_get(context, i, &state));
        int64_t value[2] = {((const int64_t *)state.data)[0], run};
        *before = ((const int64_t *)state.data)[1];
        state.data = value;
        return sn_context_state_set(context, i, &state);
    }
    return NULL;
}

Status sn_context_evaluate(sn_Context *context) {
    double seconds[SN_PHASE_COUNT];
    int64_t run = 0, unused;
    TRY(set_dropout_run(context, -1, &run));
    Status status = sn_context_run_phases(context, SN_PHASE_FORWARD, seconds);
    Status restored = set_dropout_run(context, run, &unused);
    if (!status) return restored;
    sn_error_free(restored);
    return status;
}

Status sn_context_run_phases(sn_Context *context, Phase last, double seconds[SN_PHASE_COUNT]) {
    for (int i = 0; i < SN_PHASE_COUNT; i++) seconds[i] = 0;
    context->phase_seconds = seconds;
    context->last_phase = last;
    Status status = sn_context_run(context);
    context->phase_seconds = NULL;
    context->last_phase = SN_PHASE_COUNT;
    return status;
}

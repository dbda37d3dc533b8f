/* States of a context: outputs of a run that are inputs of the next. */
#include "context.h"
#include "number.h"
#include "session.h"
#include <stdlib.h>

/* Of a state that is the program's own, nobody sets the input. */
static void own_input(InputSlot *slot, const Tensor *initial) {
    slot->set = true;
    slot->rank = initial->rank;
    for (int i = 0; i < initial->rank; i++) slot->extent[i] = initial->extent[i];
}

Status sn_states_init(sn_Context *context) {
    const Plan *plan = context->program->plan;
    context->state = calloc((size_t)plan->state_count + 1, sizeof *context->state);
    if (!context->state) return sn_fail(SN_NO_MEMORY, "out of memory for %d states", plan->state_count);
    for (int i = 0; i < plan->state_count; i++) {
        StateSlot *state = &context->state[i];
        state->input = plan->state[i].input;
        state->output = plan->state[i].output;
        state->in_place = plan->update[i].launch >= 0;
        state->kept = plan->kept[i];
        if (state->kept) own_input(&context->input[state->input], state->kept->initial);
        context->input[state->input].state = state;
        if (plan->cache[i].input < 0) continue;
        state->cache = &plan->cache[i];
        context->input[state->cache->input].cache = state;
        context->output[state->output].cache = state;
    }
    return NULL;
}

void sn_states_free(sn_Context *context) {
    for (int i = 0; context->state && i < context->program->plan->state_count; i++) {
        sn_context_free_block(context, &context->state[i].current);
        sn_context_free_block(context, &context->state[i].next);
    }
    free(context->state);
}

static bool inside(const Block *block, const void *data) {
    return block->at && (uintptr_t)data - (uintptr_t)block->at < (uintptr_t)block->bytes;
}

bool sn_states_hold(const sn_Context *context, const void *data) {
    for (int i = 0; i < context->program->plan->state_count; i++)
        if (inside(&context->state[i].current, data) || inside(&context->state[i].next, data)) return true;
    return false;
}

/* A state that grows from run to run gets room for several of them at once. `others`: bytes held beside those of the side. */
static Status grow_next(sn_Context *context, StateSlot *state, int64_t bytes, int64_t others) {
    Block *next = &state->next;
    int64_t held = sn_context_side_bytes(context) - next->bytes + others, more;
    bool grows = next->at && next->bytes < bytes;
    if (grows && sn_add_i64(bytes, bytes / 2, &more)) {
        Status status = sn_context_grow(context, next, more, held);
        if (!status) return NULL;
        sn_error_free(status);
        held = sn_context_side_bytes(context) - next->bytes + others;
    }
    return sn_context_grow(context, next, bytes, held);
}

Status sn_state_begin(sn_Context *context, StateSlot *state, const void *data, int64_t bytes) {
    Device *device = context->program->device;
    TRY(sn_context_grow(context, &state->current, bytes,
                        sn_context_side_bytes(context) - state->current.bytes));
    return device->ops->upload(device, state->current.at, data, bytes);
}

Status sn_state_fill(sn_Context *context, StateSlot *state, int64_t bytes) {
    TRY(sn_context_grow(context, &state->current, bytes,
                        sn_context_side_bytes(context) - state->current.bytes));
    TRY(sn_program_fill(context->program, state->kept->initial, state->current.at));
    for (int i = 0; i < state->kept->initial->rank; i++) state->extent[i] = state->kept->initial->extent[i];
    state->live = true;
    return NULL;
}

Status sn_states_sound(const sn_Context *context) {
    for (int i = 0; i < context->program->plan->state_count; i++)
        if (context->state[i].spoilt)
            return sn_fail(SN_INVALID,
                           "a run that failed has updated a part of the states: they have to be reset");
    return NULL;
}

void sn_states_failed(sn_Context *context) {
    const Plan *plan = context->program->plan;
    bool begun = context->last_phase >= SN_PHASE_UPDATE && context->reached >= plan->update_first;
    for (int i = 0; i < plan->state_count && begun; i++)
        if (context->state[i].in_place) context->state[i].spoilt = true;
}

Status sn_states_place(sn_Context *context, const Binding *binding, int segment, int64_t others) {
    const sn_Program *program = context->program;
    const Plan *plan = program->plan;
    /* The first state of a value that several outputs show is where it is written: it is placed last. */
    for (int i = plan->state_count - 1; i >= 0; i--) {
        StateSlot *state = &context->state[i];
        int at = plan->output[state->output].value;
        if (state->cache || plan->known[plan->value[at].bytes] != segment) continue;
        int64_t bytes = binding->dim[plan->value[at].bytes];
        if (state->in_place) {
            context->address[at] = context->address[plan->input[state->input]];
            continue;
        }
        TRY(grow_next(context, state, bytes, others));
        if (plan->value[at].storage == SN_STORAGE_STATE)
            context->address[at] = bytes ? state->next.at : program->nothing;
    }
    return NULL;
}

Status sn_states_hand_over(sn_Context *context, const Binding *binding) {
    const sn_Program *program = context->program;
    const Plan *plan = program->plan;
    Device *device = program->device;
    for (int i = 0; i < plan->state_count; i++) {
        StateSlot *state = &context->state[i];
        if (state->cache || state->in_place) continue;
        const OutputSlot *output = &context->output[state->output];
        int at = plan->output[state->output].value;
        int64_t bytes = binding->dim[plan->value[at].bytes];
        RowsCopy copy = {SN_COPY_MOVE, state->next.at, output->made, bytes, bytes, bytes, 1};
        if (bytes && context->address[at] != state->next.at) TRY(device->ops->copy_rows(device, &copy));
    }
    for (int i = 0; i < plan->state_count; i++) {
        StateSlot *state = &context->state[i];
        memcpy(state->extent, context->output[state->output].extent, sizeof state->extent);
        state->live = true;
        if (state->cache || state->in_place) continue;
        Block made = state->next;
        state->next = state->current;
        state->current = made;
    }
    return NULL;
}

const int64_t *sn_context_state_extent(const sn_Context *context, int state) {
    return context->state[state].extent;
}

/* What a run appended to a cache lies behind the initial value. */
void sn_context_reset_states(sn_Context *context) {
    for (int i = 0; i < context->program->plan->state_count; i++) {
        StateSlot *state = &context->state[i];
        state->live = state->loaded;
        state->spoilt = false;
        memcpy(state->extent, context->input[state->input].extent, sizeof state->extent);
    }
}

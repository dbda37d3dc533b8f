/* States that grow in place: blocks with room to spare along one axis. */
#include "context.h"
#include "eval.h"
#include "number.h"
#include <stdlib.h>

enum { GRAIN = 64 }; /* capacities are multiples of it */

/* A block seen as `outer` runs of `extent` along the growing axis, each element of which is `inner` bytes. */
typedef struct Rows {
    int64_t outer, inner;
} Rows;

static Status rows_of(const sn_Context *context, const StateSlot *state, const int64_t *extent, Rows *out) {
    const Plan *plan = context->program->plan;
    const Type *type = &plan->value[plan->input[state->input]].type;
    *out = (Rows){1, sn_dtype_bytes(type->dtype)};
    bool fits = true;
    for (int i = 0; i < type->rank; i++) {
        int64_t *side = i < state->cache->axis ? &out->outer : &out->inner;
        if (i != state->cache->axis) fits = fits && sn_mul_i64(*side, extent[i], side);
    }
    return fits ? NULL : sn_fail(SN_NO_MEMORY, "a state exceeds every address space");
}

static Status copy_rows(const sn_Context *context, CopyKind kind, Rows rows, void *to, int64_t to_extent,
                        const void *from, int64_t from_extent, int64_t count) {
    Device *device = context->program->device;
    RowsCopy copy = {
        kind, to, from, to_extent * rows.inner, from_extent * rows.inner, count * rows.inner, rows.outer};
    return device->ops->copy_rows(device, &copy);
}

/* Gives the cache a block for `capacity`, with its contents at their new places. */
static Status fit(sn_Context *context, StateSlot *state, int64_t capacity) {
    const InputSlot *input = &context->input[state->input];
    int axis = state->cache->axis;
    const int64_t *extent = state->live ? state->extent : input->extent;
    Rows rows;
    int64_t bytes;
    TRY(rows_of(context, state, extent, &rows));
    if (!sn_mul_i64(rows.outer, rows.inner, &bytes) || !sn_mul_i64(bytes, capacity, &bytes))
        return sn_fail(SN_NO_MEMORY, "a state exceeds every address space");
    int64_t held = sn_context_side_bytes(context);
    if (!state->live) {
        TRY(sn_context_grow(context, &state->current, bytes, held - state->current.bytes));
        TRY(copy_rows(context, SN_COPY_UPLOAD, rows, state->current.at, capacity, input->data, extent[axis],
                      extent[axis]));
        memcpy(state->extent, extent, sizeof state->extent);
        state->live = state->loaded = true;
    } else if (state->capacity != capacity) {
        TRY(sn_context_grow(context, &state->next, bytes, held - state->next.bytes));
        TRY(copy_rows(context, SN_COPY_MOVE, rows, state->next.at, capacity, state->current.at,
                      state->capacity, extent[axis]));
        sn_context_free_block(context, &state->current);
        state->current = state->next;
        state->next = (Block){0};
    }
    memcpy(state->room, extent, sizeof state->room);
    state->capacity = state->room[axis] = capacity;
    return NULL;
}

/* The longest that a cache becomes in the run to come. */
static Status measure(sn_Context *context, int64_t *most) {
    const Plan *plan = context->program->plan;
    *most = 0;
    for (int i = 0; i < plan->state_count; i++) {
        StateSlot *state = &context->state[i];
        if (!state->cache) continue;
        memcpy(state->room, context->extent[state->input], sizeof state->room);
        state->room[state->cache->axis] = INT64_C(1) << 40; /* as if there were room for anything */
    }
    int64_t *symbol = context->bindings.symbol;
    TRY(sn_bind_symbols(plan->graph, plan->input_count, context->rank, context->extent, symbol));
    for (int i = 0; i < plan->state_count; i++) {
        int64_t length;
        if (!context->state[i].cache) continue;
        TRY(sn_dim_eval(context->state[i].cache->length, symbol, NULL, &length));
        if (length > *most) *most = length;
    }
    return NULL;
}

static Status fit_all(sn_Context *context, int64_t capacity) {
    for (int i = 0; i < context->program->plan->state_count; i++)
        if (context->state[i].cache) TRY(fit(context, &context->state[i], capacity));
    context->capacity = capacity;
    return NULL;
}

Status sn_caches_fit(sn_Context *context) {
    const Plan *plan = context->program->plan;
    if (!plan->cache_count) return NULL;
    int64_t most, more;
    TRY(measure(context, &most));
    if (most <= context->capacity) return fit_all(context, context->capacity);
    /* One that has grown before will grow again. */
    if (sn_add_i64(most, (context->capacity ? most / 2 : 0) + GRAIN - 1, &more)) {
        Status status = fit_all(context, more / GRAIN * GRAIN);
        if (!status) return NULL;
        sn_error_free(status);
    }
    return fit_all(context, most);
}

Status sn_cache_output(const sn_Context *context, OutputSlot *slot) {
    const StateSlot *state = slot->cache;
    int axis = state->cache->axis;
    Rows rows;
    TRY(rows_of(context, state, slot->extent, &rows));
    int64_t bytes = rows.outer * rows.inner * slot->extent[axis];
    void *host = realloc(slot->host, (size_t)bytes + 1);
    if (!host) return sn_fail(SN_NO_MEMORY, "out of memory for an output of %lld bytes", (long long)bytes);
    slot->host = host;
    TRY(copy_rows(context, SN_COPY_DOWNLOAD, rows, host, slot->extent[axis], state->current.at,
                  state->capacity, slot->extent[axis]));
    slot->data = host;
    return NULL;
}

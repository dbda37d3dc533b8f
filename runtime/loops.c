#include "loops.h"
#include "loop_kept.h"
#include "number.h"
#include <stdlib.h>

/* ---- life ---- */

static Status init_loop(LoopRun *run, const GraphLoop *loop, const sn_Program *program, int64_t limit) {
    run->loop = loop;
    run->host = calloc((size_t)sn_loop_taken(loop), sizeof *run->host);
    run->carried = calloc((size_t)loop->carried + 1, sizeof *run->carried);
    run->extent = calloc((size_t)sn_loop_taken(loop), sizeof *run->extent);
    run->kept = calloc((size_t)loop->kept + 1, sizeof *run->kept);
    if (!run->host || !run->carried || !run->extent || !run->kept)
        return sn_fail(SN_NO_MEMORY, "out of memory for a loop");
    sn_ContextOptions options = {.size = sizeof options, .memory_limit = limit};
    TRY(sn_context_new(program, &options, &run->turn[0]));
    return sn_context_new(program, &options, &run->turn[1]);
}

static Status init_loops(sn_Context *context) {
    const sn_Program *program = context->program;
    const Graph *graph = program->plan->graph;
    if (graph->loops.count != program->turn_count)
        return sn_fail(SN_INTERNAL, "%d loops with the programs of %d", graph->loops.count,
                       program->turn_count);
    context->loop = calloc((size_t)graph->loops.count, sizeof *context->loop);
    if (!context->loop) return sn_fail(SN_NO_MEMORY, "out of memory for the loops of a context");
    for (int i = 0; i < graph->loops.count; i++)
        TRY(init_loop(&context->loop[i], &graph->loops.at[i], program->turn[i], context->memory_limit));
    return NULL;
}

static void free_loops(sn_Context *context) {
    const Graph *graph = context->program->plan->graph;
    for (int i = 0; i < graph->loops.count; i++) {
        LoopRun *run = &context->loop[i];
        for (int k = 0; k < 2; k++) sn_context_free(run->turn[k]);
        for (int k = 0; run->host && k < sn_loop_taken(&graph->loops.at[i]); k++) free(run->host[k]);
        for (int k = 0; run->kept && k < graph->loops.at[i].kept; k++) free(run->kept[k].bytes);
        free(run->host);
        free(run->carried);
        free(run->extent);
        free(run->kept);
    }
    free(context->loop);
}

/* ---- what a loop takes ---- */

static Status to_host(void **host, Device *device, const void *from, int64_t bytes) {
    void *at = realloc(*host, (size_t)bytes);
    if (!at) return sn_fail(SN_NO_MEMORY, "out of memory for %lld bytes of a loop", (long long)bytes);
    *host = at;
    return device->ops->download(device, at, from, bytes);
}

/* Value k of those that the loop takes, in host memory. */
static Status take(const sn_Context *context, const Binding *binding, LoopRun *run, int k, sn_Tensor *out) {
    const Plan *plan = context->program->plan;
    Device *device = context->program->device;
    const PlanOutput *from = &plan->output[run->loop->taken + k];
    const PlanValue *value = &plan->value[from->value];
    int64_t bytes = binding->dim[value->bytes];
    for (int i = 0; i < value->type.rank; i++) run->extent[k][i] = binding->dim[from->dim[i]];
    *out = (sn_Tensor){.element_type = sn_dtype_onnx(value->type.dtype),
                       .rank = value->type.rank,
                       .extent = run->extent[k],
                       .data = bytes ? context->address[from->value] : NULL};
    if (!bytes || device->host_memory) return NULL;
    TRY(to_host(&run->host[k], device, out->data, bytes));
    out->data = run->host[k];
    return NULL;
}

/* What all turns read. */
static Status set_both(const LoopRun *run, int input, const sn_Tensor *tensor) {
    TRY(sn_context_set_input(run->turn[0], input, tensor));
    return sn_context_set_input(run->turn[1], input, tensor);
}

static Status set_carriers(const Binding *binding, const LoopRun *run) {
    const GraphLoop *loop = run->loop;
    for (int k = 0; k < sn_loop_carriers(loop); k++) {
        int count = sn_loop_carrier_sizes(loop, k);
        int64_t extent[SN_MAX_RANK] = {0};
        for (int i = 0; i < count; i++)
            TRY(sn_dim_eval(loop->size[k * SN_CARRIER_SIZES + i], binding->symbol, NULL, &extent[1 + i]));
        sn_Tensor carrier = {.element_type = SN_ELEMENT_U8, .rank = count + 1, .extent = extent};
        TRY(set_both(run, sn_loop_taken(loop) + k, &carrier));
    }
    return NULL;
}

/* ---- turns ---- */

static int64_t bytes_of(const sn_Tensor *tensor) {
    DType dtype = SN_BOOL;
    sn_dtype_from_onnx(tensor->element_type, &dtype);
    int64_t bytes = sn_dtype_bytes(dtype);
    for (int i = 0; i < tensor->rank; i++) bytes *= tensor->extent[i];
    return bytes;
}

/* Twice as much as there is, or what is needed where the limit allows no more. */
static Status make_room(const sn_Context *context, Kept *kept, int64_t bytes) {
    int64_t needed, room = kept->room > 0 ? kept->room : 256, most = INT64_MAX;
    if (!sn_add_i64(kept->size, bytes, &needed)) needed = INT64_MAX;
    if (needed <= kept->room) return NULL;
    if (context->memory_limit && context->program->device->host_memory)
        most = context->memory_limit - sn_context_side_bytes(context) + kept->room;
    if (needed > most)
        return sn_fail(SN_NO_MEMORY, "the results of the turns need %lld bytes, and the limit is %lld",
                       (long long)needed, (long long)context->memory_limit);
    while (room < needed && room <= most / 2) room *= 2;
    if (room < needed) room = needed;
    char *at = realloc(kept->bytes, (size_t)room);
    if (!at) return sn_fail(SN_NO_MEMORY, "out of memory for the results of a loop's turns");
    kept->bytes = at;
    kept->room = room;
    return NULL;
}

static Status keep(const sn_Context *context, LoopRun *run, const sn_Context *turn, int k) {
    Kept *kept = &run->kept[k];
    sn_Tensor tensor;
    TRY(sn_context_output(turn, 1 + run->loop->carried + k, &tensor));
    for (int i = 0; i < tensor.rank; i++) {
        if (run->turns && kept->extent[i] != tensor.extent[i])
            return sn_fail(SN_INVALID, "axis %d of what is kept of it is %lld, and %lld of the turns before",
                           i, (long long)tensor.extent[i], (long long)kept->extent[i]);
        kept->extent[i] = tensor.extent[i];
    }
    int64_t bytes = bytes_of(&tensor);
    TRY(make_room(context, kept, bytes));
    if (bytes) memcpy(kept->bytes + kept->size, tensor.data, (size_t)bytes);
    kept->size += bytes;
    return NULL;
}

/* *more: whether another turn follows. */
static Status run_turn(const sn_Context *context, LoopRun *run, uint8_t *more) {
    const GraphLoop *loop = run->loop;
    sn_Context *turn = run->turn[run->turns & 1];
    sn_Tensor number = {.element_type = SN_ELEMENT_I64, .data = &run->turns};
    sn_Tensor condition = {.element_type = SN_ELEMENT_BOOL, .data = more};
    TRY(sn_context_set_input(turn, 0, &number));
    TRY(sn_context_set_input(turn, 1, &condition));
    for (int k = 0; k < loop->carried; k++) TRY(sn_context_set_input(turn, 2 + k, &run->carried[k]));
    TRY(sn_context_run(turn));
    int64_t peak = sn_context_peak_bytes(run->turn[0]) + sn_context_peak_bytes(run->turn[1]);
    if (peak > run->peak) run->peak = peak;
    for (int k = 0; k < loop->carried; k++) TRY(sn_context_output(turn, 1 + k, &run->carried[k]));
    for (int k = 0; k < loop->kept; k++) TRY(keep(context, run, turn, k));
    TRY(sn_context_output(turn, 0, &condition));
    *more = *(const uint8_t *)condition.data;
    return NULL;
}

/* The node and the turn in front of what failed. */
static Status name_turn(const LoopRun *run, Status status) {
    Arena *arena = status ? sn_arena_new() : NULL;
    if (!arena) return status;
    const Origin *origin = run->loop->origin;
    status =
        sn_status_prefix(status, "%s, turn %lld", origin ? sn_source_text(arena, origin->primary) : "a loop",
                         (long long)run->turns);
    sn_arena_free(arena);
    return status;
}

static Status run_turns(const sn_Context *context, const Binding *binding, LoopRun *run) {
    const GraphLoop *loop = run->loop;
    sn_Tensor most, condition, captured;
    run->turns = run->peak = 0;
    for (int k = 0; k < loop->kept; k++) run->kept[k].size = 0;
    TRY(take(context, binding, run, 0, &most));
    TRY(take(context, binding, run, 1, &condition));
    for (int k = 0; k < loop->carried; k++) TRY(take(context, binding, run, 2 + k, &run->carried[k]));
    for (int k = 2 + loop->carried; k < sn_loop_taken(loop); k++) {
        TRY(take(context, binding, run, k, &captured));
        TRY(set_both(run, k, &captured));
    }
    TRY(set_carriers(binding, run));
    int64_t limit = *(const int64_t *)most.data;
    uint8_t more = *(const uint8_t *)condition.data;
    for (; run->turns < limit && more; run->turns++) TRY(name_turn(run, run_turn(context, run, &more)));
    return NULL;
}

/* ---- what a loop makes ---- */

static Status put(sn_Context *context, int input, const void *data, int64_t bytes) {
    Device *device = context->program->device;
    InputSlot *slot = &context->input[input];
    int at = context->program->plan->input[input];
    context->address[at] = context->program->nothing;
    if (!bytes) return NULL;
    TRY(sn_context_grow(context, &slot->staging, bytes,
                        sn_context_side_bytes(context) - slot->staging.bytes));
    context->address[at] = slot->staging.at;
    return device->ops->upload(device, slot->staging.at, data, bytes);
}

/* Of no turns, the extents of what is kept that the loop decides are 0. */
static int64_t extent_of(const LoopRun *run, const LoopExtent *extent) {
    int carried = run->loop->carried;
    if (extent->result < 0 || (extent->result >= carried && extent->axis == 0)) return run->turns;
    if (extent->result < carried) return run->carried[extent->result].extent[extent->axis];
    return run->turns ? run->kept[extent->result - carried].extent[extent->axis - 1] : 0;
}

static Status put_made(sn_Context *context, const LoopRun *run) {
    const GraphLoop *loop = run->loop;
    int at = loop->made;
    for (int k = 0; k < loop->carried; k++)
        TRY(put(context, at++, run->carried[k].data, bytes_of(&run->carried[k])));
    for (int k = 0; k < loop->kept; k++) TRY(put(context, at++, run->kept[k].bytes, run->kept[k].size));
    for (int i = 0; i < loop->extent_count; i++) {
        int64_t value = extent_of(run, &loop->extent[i]);
        TRY(put(context, at++, &value, sizeof value));
    }
    return NULL;
}

static Status run_loops(sn_Context *context, const Binding *binding, int segment) {
    const PlanSegment *at = &context->program->plan->segment[segment];
    for (int i = 0; i < at->loop_count; i++) {
        LoopRun *run = &context->loop[at->loop[i]];
        TRY(run_turns(context, binding, run));
        TRY(put_made(context, run));
    }
    return NULL;
}

const LoopOps sn_loops = {.init = init_loops, .free = free_loops, .run = run_loops};

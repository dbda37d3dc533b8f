/* The blocks that a context holds, within its limit. */
#include "loop_kept.h"

void sn_context_free_block(const sn_Context *context, Block *block) {
    Device *device = context->program->device;
    device->ops->free(device, block->at, block->bytes);
    *block = (Block){0};
}

static int64_t states_bytes(const sn_Context *context) {
    int64_t bytes = 0;
    for (int i = 0; i < context->program->plan->state_count; i++)
        bytes += context->state[i].current.bytes + context->state[i].next.bytes;
    return bytes;
}

int64_t sn_context_side_bytes(const sn_Context *context) {
    const Plan *plan = context->program->plan;
    int64_t bytes = states_bytes(context) + context->workspace.bytes + sn_loops_kept_bytes(context);
    for (int i = 0; i < plan->input_count; i++) bytes += context->input[i].staging.bytes;
    for (int i = 0; i < plan->output_count; i++) bytes += context->output[i].copy.bytes;
    return bytes;
}

static bool over_limit(const sn_Context *context, int64_t bytes, int64_t held) {
    return context->memory_limit && bytes > context->memory_limit - held;
}

Status sn_context_grow(sn_Context *context, Block *block, int64_t bytes, int64_t held) {
    if (block->bytes >= bytes && (block->at || !bytes) && !over_limit(context, block->bytes, held))
        return NULL;
    if (over_limit(context, bytes, held))
        return sn_fail(SN_NO_MEMORY, "the run needs %lld bytes beside %lld, and the limit is %lld",
                       (long long)bytes, (long long)held, (long long)context->memory_limit);
    sn_context_free_block(context, block);
    if (!bytes) return NULL;
    Device *device = context->program->device;
    TRY(device->ops->alloc(device, bytes, &block->at));
    block->bytes = bytes;
    return NULL;
}

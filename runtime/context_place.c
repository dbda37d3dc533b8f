/* Where a run's states, arena and workspace lie, within the limit of its context. */
#include "context.h"

static int64_t arenas_bytes(const sn_Context *context) {
    int64_t bytes = 0;
    for (int i = 0; i < context->program->plan->segment_count; i++) bytes += context->arena[i].bytes;
    return bytes;
}

/* What the limit leaves to the launches of an eager run. */
static Status limit_allocator(sn_Context *context) {
    int64_t side = sn_context_side_bytes(context);
    if (context->memory_limit && side >= context->memory_limit)
        return sn_fail(SN_NO_MEMORY, "copies of inputs and outputs take %lld bytes, and the limit is %lld",
                       (long long)side, (long long)context->memory_limit);
    context->allocator.limit = context->memory_limit ? context->memory_limit - side : 0;
    if (context->allocator.limit && context->allocator.held > context->allocator.limit)
        sn_allocator_trim(&context->allocator);
    return NULL;
}

/* The states of the segment, its arena in a compiled plan (at least one byte, so that every address is one), and the library's
 * workspace. */
Status sn_context_place(sn_Context *context, const Binding *binding, int segment) {
    bool eager = context->program->plan->eager;
    TRY(sn_states_place(context, binding, segment, eager ? context->allocator.used : arenas_bytes(context)));
    if (binding->products)
        TRY(sn_context_grow(context, &context->workspace, SN_WORKSPACE_BYTES,
                            sn_context_side_bytes(context) - context->workspace.bytes));
    if (eager) return limit_allocator(context);
    int64_t bytes = binding->arena_bytes[segment];
    Block *arena = &context->arena[segment];
    int64_t others = arenas_bytes(context) - arena->bytes;
    return sn_context_grow(context, arena, bytes ? bytes : 1, sn_context_side_bytes(context) + others);
}

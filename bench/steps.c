#include "steps.h"
#include "clock.h"
#include "profile.h"

static bool is_same(const sn_Tensor *a, const sn_Tensor *b) {
    return a->data == b->data && a->extent == b->extent;
}

Status sn_steps_set(sn_Context *context, const Inputs *inputs, const Inputs *before) {
    for (int i = 0; i < inputs->count; i++)
        if (!before || !is_same(&inputs->tensor[i], &before->tensor[i]))
            TRY(sn_context_set_input(context, i, &inputs->tensor[i]));
    return NULL;
}

Status sn_steps_next(Arena *arena, sn_Context *context, const Graph *graph, const InputRequest *request,
                     const Inputs *before, Inputs *out) {
    const int64_t **extent = SN_ARRAY(arena, const int64_t *, request->state_count);
    for (int i = 0; i < request->state_count; i++) extent[i] = sn_context_state_extent(context, i);
    TRY(sn_inputs_follow(arena, graph, request, before, extent, out));
    return sn_steps_set(context, out, before);
}

static Status run_steps(Arena *arena, sn_Context *context, const Graph *graph, const InputRequest *request,
                        Inputs *inputs, int steps, double *seconds) {
    for (int i = 0; i < steps; i++) {
        Inputs before = *inputs;
        if (i > 0) TRY(sn_steps_next(arena, context, graph, request, &before, inputs));
        double start = sn_clock();
        TRY(sn_context_run(context));
        *seconds += sn_clock() - start;
    }
    return NULL;
}

Status sn_steps_run(Arena *scratch, sn_Context *context, const Graph *graph, const InputRequest *request,
                    const Inputs *first, int steps, double *seconds) {
    Inputs last = *first;
    Arena *arena = sn_arena_child(scratch);
    *seconds = 0;
    Status status = run_steps(arena, context, graph, request, &last, steps, seconds);
    Status back = sn_steps_set(context, first, &last);
    sn_arena_free(arena);
    if (status) sn_error_free(back);
    return status ? status : back;
}

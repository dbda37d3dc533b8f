/* States that only grow: where an output is what the input was with more behind it (the caches of attention), the
 * state lies in a buffer with room to spare, and a run stores what is new.
 *
 * The buffer becomes a further input behind those of the model, whose extent along the growing axis is a symbol, the
 * capacity. What was the input is a slice of the buffer (the input itself stays, for its shape), the concat becomes an
 * append to the buffer, and the output is that: the buffer. Who runs the plan gives both the same memory. */
#include "pass.h"

typedef struct Growing {
    Value *past, *present;
    Node *concat;
    int result, axis;
} Growing;

static bool is_listed_twice(const Region *body, int result) {
    for (int i = 0; i < body->result.count; i++)
        if (i != result && body->result.at[i] == body->result.at[result]) return true;
    return false;
}

/* How much room a run needs is known before it begins. */
static bool is_known(const Graph *graph, Type type) {
    for (int i = 0; i < graph->sizes.count; i++)
        for (int k = 0; k < type.rank; k++)
            if (sn_dim_depends(type.dim[k], graph->sizes.at[i].symbol)) return false;
    return true;
}

/* NULL, or why the state cannot grow in place. */
static const char *find(const Graph *graph, const sn_State *state, Growing *out) {
    const Region *body = graph->body;
    if (state->input < 0 || state->input >= body->param.count || state->output < 0 ||
        state->output >= body->result.count)
        return "there is no such input or output";
    *out = (Growing){.past = body->param.at[state->input],
                     .present = body->result.at[state->output],
                     .result = state->output};
    Node *node = out->concat = out->present->producer;
    if (!node || node->op != SN_OP_CONCAT || node->input_count < 2 || node->input[0] != out->past)
        return "its output is not its input with more behind it";
    if (is_listed_twice(body, state->output)) return "its output is two outputs";
    for (int i = 1; i < node->input_count; i++)
        if (node->input[i] == out->past) return "its input comes more than once";
    if (!is_known(graph, out->present->type)) return "its size depends on data";
    out->axis = ((const AttrAxis *)node->attr)->axis;
    return NULL;
}

/* States of one length share a capacity, so that their kernels are equal. */
static Dim capacity(Graph *graph, Dim length) {
    Text name = sn_text(graph->arena);
    sn_text_add(&name, "capacity of ");
    sn_dim_print(&name, graph->dims, length);
    return sn_dim_symbol(graph->dims, sn_text_string(&name));
}

static Value *piece_of(Builder *builder, const Growing *growing) {
    const Node *concat = growing->concat;
    if (concat->input_count == 2) return concat->input[1];
    AttrAxis axis = {growing->axis};
    return sn_build(builder, SN_OP_CONCAT, &axis, concat->input_count - 1, concat->input + 1);
}

static void rewrite(Pass *pass, Graph *graph, const Growing *growing) {
    Type type = growing->past->type;
    Dim *extent = SN_ARRAY(graph->arena, Dim, type.rank), length = type.dim[growing->axis];
    for (int i = 0; i < type.rank; i++) extent[i] = type.dim[i];
    extent[growing->axis] = capacity(graph, length);
    Value *cache = sn_graph_input(graph, NULL, (Type){type.dtype, type.rank, extent});

    Builder first = sn_builder_before(graph, graph->body->first);
    first.origin = growing->concat->origin;
    Dim zero = sn_dim(graph->dims, 0);
    Value *past = sn_build_slice(&first, cache, growing->axis, zero, length, 1);
    Builder builder = sn_builder_before(graph, growing->concat);
    AttrAppend attr = {growing->axis, length};
    Value *piece = piece_of(&builder, growing);
    Value *append = sn_build2(&builder, SN_OP_APPEND, &attr, cache, piece);
    Value *present =
        sn_build_slice(&builder, append, growing->axis, zero, growing->present->type.dim[growing->axis], 1);
    pass->status = first.status ? first.status : builder.status;
    if (first.status) sn_error_free(builder.status);
    if (pass->status) return;
    const char *name = growing->past->name;
    sn_value_replace(growing->past, past); /* takes the name along, which is the input's */
    past->name = NULL;
    growing->past->name = name;
    sn_value_replace(growing->present, present);
    sn_region_set_result(graph->body, growing->result, append);
}

bool sn_append(Pass *pass, Graph *graph) {
    bool changed = false;
    for (int i = 0; i < pass->state_count && !pass->status; i++) {
        Growing growing = {0};
        const char *reason = pass->target->kind == SN_TARGET_CPU ? find(graph, &pass->state[i], &growing)
                                                                 : "the target has no such kernel";
        const Origin *origin = growing.concat ? growing.concat->origin : NULL;
        if (reason) {
            sn_pass_remark(pass, origin, false, "state %d changes places with its output: %s", i, reason);
        } else if (sn_pass_rewrite(pass)) {
            rewrite(pass, graph, &growing);
            sn_pass_remark(pass, origin, true, "state %d grows in place", i);
            changed = true;
        }
    }
    if (changed && !pass->status) sn_region_sweep(graph->body);
    return changed;
}

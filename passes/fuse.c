/* Fusion, as a whole: nodes find the kernels that they are part of (fuse_join.c), kernels become one (fuse_merge.c), and
 * are built (fuse_build.c). */
#include "fuse_internal.h"
#include "loop.h"

/* A result that is an input, a constant or another result gets a copy of its own; what a loop takes it only reads. */
static void copy_plain_results(Pass *pass, Graph *graph) {
    Region *body = graph->body;
    for (int i = 0; i < body->result.count && !pass->status; i++) {
        Value *value = body->result.at[i];
        if (sn_loop_takes(graph, i)) continue;
        bool plain = !value->producer || value->producer->op == SN_OP_CONSTANT;
        for (int j = 0; j < i; j++) plain |= body->result.at[j] == value;
        if (!plain) continue;
        Builder builder = {.graph = graph, .region = body, .group = graph->next_group++};
        if (value->producer) builder.phase = value->producer->phase;
        IndexMap map = sn_view_identity(graph->dims, graph->arena, value->type.rank, value->type.dim);
        Value *copy = sn_build1(&builder, SN_OP_VIEW, &map, value);
        pass->status = builder.status;
        if (copy) sn_region_set_result(body, i, copy);
    }
}

bool sn_fuse(Pass *pass, Graph *graph) {
    copy_plain_results(pass, graph);
    if (pass->status) return false;
    /* A copy may be what makes a size. */
    if (graph->sizes.count + graph->loops.count && !sn_region_sort(graph->body))
        pass->status = sn_fail(SN_INTERNAL, "a size that waits for itself");
    if (pass->status) return false;
    sn_mark_setup(pass, graph);
    Fusion fusion = sn_fusion_form(pass, graph);
    if (pass->status) return false;
    sn_fusion_merge(&fusion);
    sn_fusion_build(&fusion);
    if (!pass->status) graph->stage = SN_STAGE_FUSED;
    return true;
}

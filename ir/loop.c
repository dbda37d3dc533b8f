#include "loop.h"

const GraphLoop *sn_loop_of_param(const Graph *graph, int param) {
    for (int i = 0; i < graph->loops.count; i++) {
        const GraphLoop *loop = &graph->loops.at[i];
        if (param >= loop->made && param < loop->made + sn_loop_made(loop)) return loop;
    }
    return NULL;
}

bool sn_loop_decides(const GraphLoop *loop, int result, int axis) {
    for (int i = 0; i < loop->extent_count; i++)
        if (loop->extent[i].result == result && loop->extent[i].axis == axis) return true;
    return false;
}

bool sn_loop_takes(const Graph *graph, int result) {
    for (int i = 0; i < graph->loops.count; i++) {
        const GraphLoop *loop = &graph->loops.at[i];
        if (result >= loop->taken && result < loop->taken + sn_loop_taken(loop)) return true;
    }
    return false;
}

int sn_graph_loop_results(const Graph *graph) {
    int count = 0;
    for (int i = 0; i < graph->loops.count; i++) count += sn_loop_taken(&graph->loops.at[i]);
    return count;
}

int sn_graph_loop_params(const Graph *graph) {
    int count = 0;
    for (int i = 0; i < graph->loops.count; i++) count += sn_loop_made(&graph->loops.at[i]);
    return count;
}

static bool is_scalar(const Value *value, DType dtype) {
    return value->type.dtype == dtype && value->type.rank == 0;
}

static bool same_kind(const Value *a, const Value *b, int ranks_more) {
    return a->type.dtype == b->type.dtype && a->type.rank == b->type.rank + ranks_more;
}

/* Loops take what loops before them make at most. */
static bool in_order(const Graph *graph, const GraphLoop *loop) {
    for (int k = 0; k < sn_loop_taken(loop); k++) {
        const Value *value = graph->body->result.at[loop->taken + k];
        const GraphLoop *by = value->producer ? NULL : sn_loop_of_param(graph, value->index);
        if (by && by >= loop) return false;
    }
    return true;
}

static bool extents_fit(const GraphLoop *loop, Value *const *made) {
    int results = loop->carried + loop->kept;
    for (int i = 0; i < loop->extent_count; i++) {
        const LoopExtent *extent = &loop->extent[i];
        bool counts = extent->result == -1;
        if (!is_scalar(made[results + i], SN_I64) || extent->result < -1 || extent->result >= results ||
            (!counts && (extent->axis < 0 || extent->axis >= made[extent->result]->type.rank)))
            return false;
    }
    return true;
}

const char *sn_loop_fault(const Graph *graph, const GraphLoop *loop) {
    const Region *body = graph->body, *turn = loop->turn->body;
    if (loop->carried < 0 || loop->captured < 0 || loop->kept < 0 || loop->taken < 0 || loop->made < 0 ||
        loop->taken + sn_loop_taken(loop) > body->result.count ||
        loop->made + sn_loop_made(loop) > body->param.count)
        return "a loop takes or makes what there is not";
    if (sn_loop_made(loop) == 0) return "a loop makes nothing";
    if (!in_order(graph, loop)) return "a loop waits for itself";
    int inputs = sn_loop_taken(loop) + sn_loop_carriers(loop);
    if (turn->param.count - sn_graph_loop_params(loop->turn) != inputs ||
        turn->result.count < 1 + loop->carried + loop->kept)
        return "a loop's turn has not the inputs and outputs that it needs";
    Value *const *taken = body->result.at + loop->taken, *const *made = body->param.at + loop->made;
    if (!is_scalar(taken[0], SN_I64) || !is_scalar(turn->param.at[0], SN_I64) ||
        !is_scalar(taken[1], SN_BOOL) || !is_scalar(turn->param.at[1], SN_BOOL) ||
        !is_scalar(turn->result.at[0], SN_BOOL))
        return "a loop's turns or its condition are no scalars";
    for (int k = 2; k < sn_loop_taken(loop); k++)
        if (!same_kind(taken[k], turn->param.at[k], 0)) return "a loop's turn takes values of another type";
    for (int k = 0; k < loop->carried + loop->kept; k++)
        if (!same_kind(made[k], turn->result.at[1 + k], k >= loop->carried))
            return "a loop makes values of another type than its turns";
    return extents_fit(loop, made) ? NULL : "a loop decides an extent that there is not";
}

/* Windows that a product reads while it copies its rows, instead of rows of windows that are stored before: of a convolution
 * these are as many times larger as a filter has elements. */
#include "fuse_internal.h"

enum { SHORTEST = 4 }; /* runs: below it copying is no cheaper than storing rows at leisure */

/* The indices into what the views and the padding before `value` read, from those into `value`. */
static const Dim *trace(Fusion *fusion, const Value *value, const Dim *index, int *rank) {
    Dims *dims = fusion->graph->dims;
    Arena *arena = fusion->pass->arena;
    *rank = value->type.rank;
    for (const Node *node = value->producer; node; node = value->producer) {
        if (node->op != SN_OP_VIEW && node->op != SN_OP_PAD) break;
        value = node->input[0];
        const int before = *rank;
        const Dim *extent = node->output[0]->type.dim;
        Dim *at = SN_ARRAY(arena, Dim, value->type.rank + 1);
        for (int i = 0; i < value->type.rank && node->op == SN_OP_PAD; i++)
            at[i] = sn_dim_sub(dims, index[i], ((const AttrPad *)node->attr)->before[i]);
        for (int i = 0; i < value->type.rank && node->op == SN_OP_VIEW; i++)
            at[i] = sn_dim_replace(dims, ((const AttrView *)node->attr)->index[i],
                                   sn_view_axes(dims, arena, before, extent), index, before);
        index = at, *rank = value->type.rank;
    }
    return index;
}

/* Whether elements of `value` that follow one another along its last axis lie side by side, `run` of them at a time. */
static bool has_runs(Fusion *fusion, const Value *value, int64_t run) {
    Dims *dims = fusion->graph->dims;
    int rank = value->type.rank;
    int64_t K;
    Dim one, rest, *axes = sn_view_axes(dims, fusion->pass->arena, rank, value->type.dim);
    if (run < SHORTEST || !sn_dim_is(value->type.dim[rank - 1], &K) || K % run) return false;
    Dim within = sn_dim_axis(dims, rank + 1, sn_dim(dims, run));
    axes[rank - 1] =
        sn_dim_add(dims, sn_dim_mulc(dims, sn_dim_axis(dims, rank, sn_dim(dims, K / run)), run), within);
    const Dim *index = trace(fusion, value, axes, &rank);
    for (int i = 0; i < rank - 1; i++)
        if (sn_dim_depends(index[i], within)) return false;
    return rank > 0 && sn_dim_affine(dims, index[rank - 1], within, &one, &rest) && sn_dim_equals(one, 1);
}

bool sn_fusion_copies_windows(Fusion *fusion, const Node *node) {
    const AttrContract *attr = node->attr;
    Dims *dims = fusion->graph->dims;
    if (node->op != SN_OP_CONTRACT || fusion->pass->eager || fusion->pass->target->kind != SN_TARGET_CPU)
        return false;
    const Value *rows = node->input[0];
    const Node *view = rows->producer;
    if (!attr->packed || attr->group || attr->block || rows->type.dtype != SN_F32 || rows->type.rank < 1 ||
        node->input[1]->type.dtype != SN_F32 || !view || view->op != SN_OP_VIEW)
        return false;
    if (sn_dim_le(dims, sn_type_count(dims, rows->type), sn_type_count(dims, view->input[0]->type)))
        return false; /* they do not overlap: nothing is stored more than once */
    const AttrView *map = view->attr;
    Dim last = sn_dim_axis(dims, rows->type.rank - 1, rows->type.dim[rows->type.rank - 1]);
    int64_t run = 0;
    for (int i = 0; i < map->source_rank; i++) run = sn_dim_divisors(map->index[i], last, run);
    return has_runs(fusion, rows, run);
}

bool sn_fusion_is_padding(const Part *part) {
    return part->kind == SN_CLUSTER_MAP && part->node.count == 1 && part->node.at[0]->op == SN_OP_PAD;
}

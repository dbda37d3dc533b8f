/* What is computed of a transposed result is computed as the result lies, and is transposed behind.
 *
 * A convolution makes rows of filters, which its users see as [N, M, position...]. Arithmetic on that view would
 * store it with columns for rows, lane by lane, and the next convolution read columns. Below this pass the view wanders
 * down instead, until it meets another one that undoes it, or somebody who needs the order. Reductions go along
 * where each axis of the result is reduced as a whole or not at all. */
#include "pass.h"

#include "view.h"

typedef struct Source {
    Value *value; /* what a view, or a view of views, reads */
    IndexMap map; /* over the shape of the view */
} Source;

static Source source_of(Pass *pass, Dims *dims, Value *value) {
    Source source = {value, sn_view_identity(dims, pass->arena, value->type.rank, value->type.dim)};
    while (source.value->producer && source.value->producer->op == SN_OP_VIEW) {
        source.map = sn_view_compose(dims, pass->arena, &source.map, source.value->producer->attr);
        source.value = source.value->producer->input[0];
    }
    return source;
}

/* By how much an address moves with the last axis of the map's output that has several elements; NULL: not evenly. */
static Dim last_stride(Dims *dims, const IndexMap *map, const Dim *source) {
    Dim stride = sn_dim(dims, 0), rest;
    int last = map->rank - 1;
    while (last >= 0 && sn_dim_equals(map->extent[last], 1)) last--;
    if (last < 0) return stride;
    Dim axis = sn_dim_axis(dims, last, map->extent[last]);
    return sn_dim_affine(dims, sn_view_linear(dims, map, source), axis, &stride, &rest) ? stride : NULL;
}

/* Whether neighbours along the last axis are neighbours in memory, or one element. */
static bool reads_along(Dims *dims, const IndexMap *map, const Dim *source) {
    Dim stride = last_stride(dims, map, source);
    return stride && (sn_dim_equals(stride, 1) || sn_dim_equals(stride, 0));
}

static bool is_computed(const Value *value) {
    static const bool computed[] = {
        [SN_CLASS_POINTWISE] = true, [SN_CLASS_REDUCE] = true, [SN_CLASS_CONTRACT] = true};
    const Node *node = value->producer;
    OpClass class = node ? sn_op(node->op)->class : SN_CLASS_NONE;
    return node && !node->setup && class < (int)(sizeof computed / sizeof *computed) && computed[class];
}

/* The first operand that is a transposed view of a computed value, all of it. */
static bool find_transposed(Pass *pass, Dims *dims, const Node *node, Source *out, IndexMap *inverse) {
    for (int k = 0; k < node->input_count; k++) {
        if (!node->input[k]) continue;
        *out = source_of(pass, dims, node->input[k]);
        Type type = out->value->type;
        if (is_computed(out->value) && !reads_along(dims, &out->map, type.dim) &&
            sn_view_invert(dims, pass->arena, &out->map, type.dim, inverse))
            return true;
    }
    return false;
}

static Value *build_view(Builder *builder, const IndexMap *map, Value *source) {
    if (sn_view_is_identity(builder->graph->dims, map, source->type.dim)) return source;
    return sn_build1(builder, SN_OP_VIEW, map, source);
}

static void replace(Pass *pass, Builder *builder, Node *node, Value *value) {
    pass->status = builder->status;
    if (!value || pass->status) return;
    sn_value_replace(node->output[0], value);
    sn_node_remove(node);
}

/* Arithmetic in the order of `lies`, if no operand is then read across its rows. */
static bool move_arithmetic(Pass *pass, Graph *graph, Node *node, const Source *lies,
                            const IndexMap *inverse) {
    Source operand[3];
    for (int k = 0; k < node->input_count; k++) {
        operand[k] = source_of(pass, graph->dims, node->input[k]);
        operand[k].map = sn_view_compose(graph->dims, pass->arena, inverse, &operand[k].map);
        if (!reads_along(graph->dims, &operand[k].map, operand[k].value->type.dim)) return false;
    }
    if (!sn_pass_rewrite(pass)) return false;
    Builder builder = sn_builder_before(graph, node);
    Value *input[3];
    for (int k = 0; k < node->input_count; k++)
        input[k] = build_view(&builder, &operand[k].map, operand[k].value);
    Value *moved = builder.status ? NULL : sn_build(&builder, node->op, node->attr, node->input_count, input);
    replace(pass, &builder, node, moved ? build_view(&builder, &lies->map, moved) : NULL);
    return true;
}

/* Whether an index moves with reduced axes of the map's output only (1), with others only (0), or with both (-1). */
static int is_reduced(Dims *dims, const IndexMap *map, Dim index, const AttrReduce *reduce) {
    bool own = false, other = false;
    for (int i = 0; i < map->rank; i++) {
        bool reduced = false;
        for (int k = 0; k < reduce->count; k++) reduced |= reduce->axes[k] == i;
        if (sn_dim_depends(index, sn_dim_axis(dims, i, map->extent[i]))) *(reduced ? &own : &other) = true;
    }
    return own && other ? -1 : own;
}

/* A reduction of the same elements as they lie. */
static bool move_reduction(Pass *pass, Graph *graph, Node *node, const Source *lies) {
    const AttrReduce *reduce = node->attr;
    Dims *dims = graph->dims;
    const IndexMap *map = &lies->map;
    int64_t axes[SN_MAX_RANK];
    int count = 0;
    Dim *index = SN_ARRAY(graph->arena, Dim, map->source_rank);
    for (int j = 0; j < map->source_rank; j++) {
        int reduced = is_reduced(dims, map, map->index[j], reduce);
        if (reduced < 0) return false;
        if (reduced) axes[count++] = j;
        index[j] = reduced ? sn_dim(dims, 0) : map->index[j];
    }
    if (!count || !sn_pass_rewrite(pass)) return false;
    Builder builder = sn_builder_before(graph, node);
    Value *moved = sn_build1(&builder, node->op, &(AttrReduce){count, axes}, lies->value);
    Type left = node->output[0]->type;
    AttrView back = {left.rank, left.dim, map->source_rank, index};
    replace(pass, &builder, node, moved ? build_view(&builder, &back, moved) : NULL);
    return true;
}

bool sn_layout(Pass *pass, Graph *graph) {
    bool changed = false;
    sn_mark_setup(pass, graph);
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        OpClass class = sn_op(node->op)->class;
        bool moves = class == SN_CLASS_POINTWISE || class == SN_CLASS_REDUCE;
        Source lies;
        IndexMap inverse;
        if (!moves || node->setup || node->output_count != 1 ||
            !find_transposed(pass, graph->dims, node, &lies, &inverse))
            continue;
        const Origin *origin = node->origin;
        bool moved = class == SN_CLASS_REDUCE ? move_reduction(pass, graph, node, &lies)
                                              : move_arithmetic(pass, graph, node, &lies, &inverse);
        if (moved) sn_pass_remark(pass, origin, true, "computes as its operand lies, and transposes behind");
        changed |= moved;
    }
    if (changed && !pass->status) sn_region_sweep(graph->body);
    return changed;
}

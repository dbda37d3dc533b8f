/* Rotary positions in the half-split form: x·cos + concat(−x₂, x₁)·sin, where x₁ and x₂ are the halves of x's
 * last axis and each half of cos and sin is the same. */
#include "recognise_internal.h"

enum { MAX_DEPTH = 16 };

/* `value` is elements [start, start + extent) of x's last axis. */
static bool is_last_slice(const Value *value, const Value *x, Dims *dims, Dim start) {
    Node *view = made_by(value, SN_OP_VIEW);
    if (!view || view->input[0] != x) return false;
    const AttrView *attr = view->attr;
    for (int i = 0; i < x->type.rank; i++) {
        Dim axis = sn_dim_axis(dims, i, attr->extent[i]);
        Dim expected = i == x->type.rank - 1 ? sn_dim_add(dims, axis, start) : axis;
        if (attr->index[i] != expected) return false;
    }
    return true;
}

/* The x of concat(−x₂, x₁). Views of views were merged, so when x is a view its halves are views of its
 * source: `x` is the other operand's value, and the halves are compared as slices of it or of its source. */
static bool is_rotated(Graph *graph, const Value *value, const Value *x) {
    Node *concat = made_by(value, SN_OP_CONCAT);
    Dims *dims = graph->dims;
    int last = x->type.rank - 1;
    if (!concat || concat->input_count != 2 || ((const AttrAxis *)concat->attr)->axis != last) return false;
    if (!sn_type_equal(value->type, x->type)) return false;
    Node *neg = made_by(concat->input[0], SN_OP_NEG);
    Dim half = sn_dim_floordiv(dims, x->type.dim[last], sn_dim(dims, 2));
    if (!neg || sn_dim_mulc(dims, half, 2) != x->type.dim[last]) return false;
    Value *second = neg->input[0], *first = concat->input[1];
    if (first->type.dim[last] != half || second->type.dim[last] != half) return false;
    Dim zero = sn_dim(dims, 0);
    if (is_last_slice(first, x, dims, zero) && is_last_slice(second, x, dims, half)) return true;
    /* Build what the halves of x would be and see whether the merged views are those. */
    Node *whole = made_by(x, SN_OP_VIEW), *a = made_by(first, SN_OP_VIEW), *b = made_by(second, SN_OP_VIEW);
    if (!whole || !a || !b || a->input[0] != whole->input[0] || b->input[0] != whole->input[0]) return false;
    const AttrView *map = whole->attr, *low = a->attr, *high = b->attr;
    Dim from = sn_dim_axis(dims, last, x->type.dim[last]), axis = sn_dim_axis(dims, last, half);
    Dim shifted = sn_dim_add(dims, axis, half);
    for (int i = 0; i < map->source_rank; i++)
        if (sn_dim_replace(dims, map->index[i], &from, &axis, 1) != low->index[i] ||
            sn_dim_replace(dims, map->index[i], &from, &shifted, 1) != high->index[i])
            return false;
    return true;
}

static bool constant_halves_equal(const Tensor *tensor) {
    if (tensor->rank == 0 || tensor->payload != SN_PAYLOAD_BYTES) return tensor->rank == 0;
    int64_t width = tensor->extent[tensor->rank - 1];
    for (int64_t i = 0; i < tensor->count; i++)
        if (i % width < width / 2 && sn_tensor_get(tensor, i) != sn_tensor_get(tensor, i + width / 2))
            return false;
    return width % 2 == 0;
}

/* The last axis passes through the view as a whole, or is broadcast. */
static bool view_keeps_last(Graph *graph, const Node *view) {
    const AttrView *attr = view->attr;
    Type source = view->input[0]->type;
    if (attr->rank == 0 || attr->source_rank == 0) return false;
    Dim axis = sn_dim_axis(graph->dims, attr->rank - 1, attr->extent[attr->rank - 1]);
    for (int i = 0; i < attr->source_rank - 1; i++)
        if (sn_dim_depends(attr->index[i], axis)) return false;
    Dim last = attr->index[attr->source_rank - 1];
    bool whole = last == axis && source.dim[source.rank - 1] == attr->extent[attr->rank - 1];
    return whole || sn_dim_equals(last, 0);
}

/* Both halves of the last axis hold the same values. */
static bool halves_equal(Graph *graph, const Value *value, int depth) {
    const Node *node = value->producer;
    double number;
    if (sn_value_is_splat(value, &number)) return true;
    if (!node || depth == MAX_DEPTH) return false;
    if (node->op == SN_OP_CONSTANT) return constant_halves_equal(((const AttrConstant *)node->attr)->tensor);
    if (node->op == SN_OP_CONCAT)
        return node->input_count == 2 && node->input[0] == node->input[1] &&
               ((const AttrAxis *)node->attr)->axis == value->type.rank - 1;
    if (node->op == SN_OP_VIEW)
        return view_keeps_last(graph, node) && halves_equal(graph, node->input[0], depth + 1);
    if (node->op == SN_OP_GATHER)
        return ((const AttrAxis *)node->attr)->axis != node->input[0]->type.rank - 1 &&
               node->input[0]->type.dim[node->input[0]->type.rank - 1] ==
                   value->type.dim[value->type.rank - 1] &&
               halves_equal(graph, node->input[0], depth + 1);
    if (sn_op(node->op)->class != SN_CLASS_POINTWISE) return false;
    for (int k = 0; k < node->input_count; k++)
        if (!halves_equal(graph, node->input[k], depth + 1)) return false;
    return true;
}

static Value *first_half(Builder *b, Value *value, Dim half) {
    return sn_build_slice(b, value, value->type.rank - 1, sn_dim(b->graph->dims, 0), half, 1);
}

Value *sn_recognise_rotary(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    Graph *graph = b->graph;
    for (int order = 0; order < 8; order++) {
        Node *straight = made_by(node->input[order & 1], SN_OP_MUL);
        Node *turned = made_by(node->input[!(order & 1)], SN_OP_MUL);
        if (!straight || !turned) return NULL;
        Value *x = straight->input[order >> 1 & 1], *cosine = straight->input[!(order >> 1 & 1)];
        Value *rotated = turned->input[order >> 2 & 1], *sine = turned->input[!(order >> 2 & 1)];
        bool same = sn_type_equal(x->type, node->output[0]->type); /* the angles broadcast to x */
        if (x->type.rank == 0 || !same || !is_rotated(graph, rotated, x)) continue;
        Dim width = x->type.dim[x->type.rank - 1];
        Dim half = sn_dim_floordiv(graph->dims, width, sn_dim(graph->dims, 2));
        bool wide = cosine->type.rank > 0 && sine->type.rank > 0 &&
                    cosine->type.dim[cosine->type.rank - 1] == width &&
                    sine->type.dim[sine->type.rank - 1] == width;
        if (!wide || !halves_equal(graph, cosine, 0) || !halves_equal(graph, sine, 0)) continue;
        AttrRotary attr = {false};
        return sn_build3(b, SN_OP_ROTARY, &attr, x, first_half(b, cosine, half), first_half(b, sine, half));
    }
    return NULL;
}

/* What is computed of a transposed result is computed as the result lies, and is transposed behind.
 *
 * A convolution makes rows of filters, which its users see as [N, M, position...]. Arithmetic on that view would
 * store it with columns for rows, lane by lane, and the next convolution read columns. Below this pass the transposition
 * wanders down instead, until it meets another one that undoes it, or somebody who needs the order. */
#include "pass.h"

#include "view.h"

enum { MOST_OPERANDS = 16 };

typedef struct Source {
    Value *value; /* what a view, or a view of views, reads */
    IndexMap map; /* over the shape of the view */
} Source;

/* The axes of a result in the order in which an operand's elements lie: axis k of the moved result is axis order[k]. */
typedef struct Order {
    int rank, axis[SN_MAX_RANK];
} Order;

static Source source_of(Pass *pass, Dims *dims, Value *value) {
    Source source = {value, sn_view_identity(dims, pass->arena, value->type.rank, value->type.dim)};
    while (source.value->producer && source.value->producer->op == SN_OP_VIEW) {
        source.map = sn_view_compose(dims, pass->arena, &source.map, source.value->producer->attr);
        source.value = source.value->producer->input[0];
    }
    return source;
}

static bool is_one(Dim extent) {
    return sn_dim_equals(extent, 1);
}

static int last_axis(const IndexMap *map) {
    int last = map->rank - 1;
    while (last >= 0 && is_one(map->extent[last])) last--;
    return last;
}

/* Whether neighbours along the last axis are neighbours in memory, or one element. */
static bool reads_along(Dims *dims, const IndexMap *map, const Dim *source) {
    Dim stride, rest;
    int last = last_axis(map);
    if (last < 0) return true;
    Dim axis = sn_dim_axis(dims, last, map->extent[last]);
    return sn_dim_affine(dims, sn_view_linear(dims, map, source), axis, &stride, &rest) &&
           (sn_dim_equals(stride, 1) || sn_dim_equals(stride, 0));
}

static bool is_computed(const Value *value) {
    static const bool computed[SN_CLASS_PACK] = {[SN_CLASS_POINTWISE] = true,
                                                 [SN_CLASS_MOVE] = true,
                                                 [SN_CLASS_REDUCE] = true,
                                                 [SN_CLASS_CONTRACT] = true};
    const Node *node = value->producer;
    OpClass class = node ? sn_op(node->op)->class : SN_CLASS_NONE;
    return node && !node->setup && class < SN_CLASS_PACK && computed[class];
}

/* The order of a view's axes by their strides; axes of one element come first. False where that is not known. */
static bool order_by_strides(Dims *dims, const Source *source, Order *out) {
    Dim offset, stride[SN_MAX_RANK];
    if (!sn_view_strided(dims, &source->map, source->value->type.dim, &offset, stride)) return false;
    *out = (Order){.rank = source->map.rank};
    int count = 0;
    for (int i = 0; i < out->rank; i++)
        if (is_one(source->map.extent[i])) out->axis[count++] = i;
    for (int i = 0, ones = count; i < out->rank; i++) {
        if (is_one(source->map.extent[i])) continue;
        int at = count++;
        for (; at > ones && !sn_dim_le(dims, stride[i], stride[out->axis[at - 1]]); at--) {
            if (!sn_dim_le(dims, stride[out->axis[at - 1]], stride[i])) return false;
            out->axis[at] = out->axis[at - 1];
        }
        out->axis[at] = i;
    }
    return true;
}

/* By the first operand that is a transposed view of all of a computed value. */
static bool find_order(Pass *pass, Dims *dims, const Node *node, int count, Order *out) {
    for (int k = 0; k < count; k++) {
        IndexMap inverse;
        if (!node->input[k]) continue;
        Source source = source_of(pass, dims, node->input[k]);
        const Dim *extent = source.value->type.dim;
        if (is_computed(source.value) && !reads_along(dims, &source.map, extent) &&
            sn_view_invert(dims, pass->arena, &source.map, extent, &inverse) &&
            order_by_strides(dims, &source, out))
            return true;
    }
    return false;
}

static int place_of(const Order *order, int64_t axis) {
    int k = 0;
    while (order->axis[k] != axis) k++;
    return k;
}

/* Axis i of the output is axis[i] of the source. */
static IndexMap transposition(Pass *pass, Dims *dims, Type type, const int *axis) {
    return sn_view_transpose(dims, pass->arena, type.rank, type.dim, axis);
}

/* The operands with their axes in that order; false if one of them would be read across its rows. */
static bool move_operands(Pass *pass, Dims *dims, const Node *node, int count, const Order *order,
                          Source *out) {
    for (int k = 0; k < count; k++) {
        Value *operand = node->input[k];
        if (!operand || operand->type.rank != order->rank) return false;
        IndexMap moved = transposition(pass, dims, operand->type, order->axis);
        out[k] = source_of(pass, dims, operand);
        out[k].map = sn_view_compose(dims, pass->arena, &moved, &out[k].map);
        if (!reads_along(dims, &out[k].map, out[k].value->type.dim)) return false;
    }
    return true;
}

/* The attributes of the moved node, in `room`; NULL: the node cannot be moved. */
typedef union Room {
    AttrReduce reduce;
    AttrAxis axis;
} Room;

static const void *move_attributes(Pass *pass, const Node *node, const Order *order, Room *room) {
    if (sn_op(node->op)->class == SN_CLASS_POINTWISE) return node->attr;
    if (sn_op(node->op)->class == SN_CLASS_REDUCE) {
        const AttrReduce *reduce = node->attr;
        int64_t *axes = SN_ARRAY(pass->arena, int64_t, reduce->count);
        int count = 0;
        for (int k = 0; k < order->rank; k++)
            for (int i = 0; i < reduce->count; i++)
                if (reduce->axes[i] == order->axis[k]) axes[count++] = k;
        room->reduce = (AttrReduce){count, axes};
        return &room->reduce;
    }
    const AttrAxis *attr = node->attr;
    room->axis = *attr;
    room->axis.axis = place_of(order, attr->axis);
    bool rows = node->op == SN_OP_CONCAT || room->axis.axis != order->rank - 1; /* whole rows are gathered */
    return rows ? &room->axis : NULL;
}

/* How many operands have the result's axes; 0: nothing that this pass moves. */
static int moved_operands(const Node *node) {
    OpClass class = sn_op(node->op)->class;
    if (node->setup || node->output_count != 1 || node->input_count > MOST_OPERANDS) return 0;
    if (node->op == SN_OP_GATHER) return node->input[1]->type.rank == 1;
    bool moves = class == SN_CLASS_POINTWISE || class == SN_CLASS_REDUCE || node->op == SN_OP_CONCAT;
    return moves ? node->input_count : 0;
}

static Value *build_view(Builder *builder, const IndexMap *map, Value *source) {
    if (sn_view_is_identity(builder->graph->dims, map, source->type.dim)) return source;
    return sn_build1(builder, SN_OP_VIEW, map, source);
}

/* The node in that order, and its result in the one that its users know. */
static Value *build_moved(Pass *pass, Builder *builder, const Node *node, const void *attr, int count,
                          const Source *operand, const Order *order) {
    Value *input[MOST_OPERANDS];
    int back[SN_MAX_RANK];
    for (int k = 0; k < node->input_count; k++)
        input[k] = k < count ? build_view(builder, &operand[k].map, operand[k].value) : node->input[k];
    Value *moved = builder->status ? NULL : sn_build(builder, node->op, attr, node->input_count, input);
    if (!moved) return NULL;
    for (int k = 0; k < order->rank; k++) back[order->axis[k]] = k;
    IndexMap map = transposition(pass, builder->graph->dims, moved->type, back);
    return build_view(builder, &map, moved);
}

static bool move(Pass *pass, Graph *graph, Node *node) {
    Order order;
    Room room;
    Source operand[MOST_OPERANDS];
    int count = moved_operands(node);
    if (!count || !find_order(pass, graph->dims, node, count, &order)) return false;
    const void *attr = move_attributes(pass, node, &order, &room);
    if (!attr && sn_op(node->op)->class != SN_CLASS_POINTWISE) return false;
    if (!move_operands(pass, graph->dims, node, count, &order, operand) || !sn_pass_rewrite(pass))
        return false;
    sn_pass_remark(pass, node->origin, true, "computes as its operand lies, and transposes behind");
    Builder builder = sn_builder_before(graph, node);
    Value *value = build_moved(pass, &builder, node, attr, count, operand, &order);
    pass->status = builder.status;
    if (!value) return false;
    sn_value_replace(node->output[0], value);
    sn_node_remove(node);
    return true;
}

bool sn_layout(Pass *pass, Graph *graph) {
    bool changed = false;
    sn_mark_setup(pass, graph);
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        changed |= move(pass, graph, node);
    }
    if (changed && !pass->status) sn_region_sweep(graph->body);
    return changed;
}

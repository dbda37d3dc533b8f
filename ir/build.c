#include "graph.h"
#include "infer.h"
#include "view.h"

Builder sn_builder_before(Graph *graph, Node *node) {
    return (Builder){
        .graph = graph,
        .region = node->region,
        .before = node,
        .origin = node->origin,
        .group = node->group,
        .phase = node->phase,
    };
}

/* Latches the first failure, named after the node of the model that it comes from. */
static void *latch(Builder *builder, Status status) {
    if (builder->status) {
        sn_error_free(status);
        return NULL;
    }
    const SourceNode *node = builder->origin ? builder->origin->primary : NULL;
    if (node) {
        Arena *scratch = sn_arena_child(builder->graph->arena);
        status = sn_status_prefix(status, "%s", sn_source_text(scratch, node));
        sn_arena_free(scratch);
    }
    builder->status = status;
    return NULL;
}

static Status make_node(Builder *builder, OpCode op, const void *attr, int count, Value *const *input,
                        int output_count, Node **out) {
    Graph *graph = builder->graph;
    const OpInfo *info = sn_op(op);
    const void *copy = sn_attr_copy(graph->arena, NULL, info->attr, attr);
    TRY(sn_status_prefix(sn_attr_check(info->attr, copy), "%s", info->text));
    Node *node = *out = sn_node_new(graph, op, copy, count, input, output_count);
    node->origin = builder->origin;
    node->group = builder->group;
    node->phase = builder->phase;
    return sn_infer_node(graph, node);
}

Node *sn_build_node(Builder *builder, OpCode op, const void *attr, int count, Value *const *input,
                    int output_count) {
    if (builder->status) return NULL;
    Node *node;
    Status status = make_node(builder, op, attr, count, input, output_count, &node);
    if (status) latch(builder, status);
    if (status) return NULL;
    if (builder->before)
        sn_node_insert_before(node, builder->before);
    else
        sn_node_append(builder->region, node);
    return node;
}

Value *sn_build(Builder *builder, OpCode op, const void *attr, int count, Value *const *input) {
    Node *node = sn_build_node(builder, op, attr, count, input, sn_op(op)->out_min);
    return node ? node->output[0] : NULL;
}

Value *sn_build1(Builder *builder, OpCode op, const void *attr, Value *a) {
    return sn_build(builder, op, attr, 1, &a);
}

Value *sn_build2(Builder *builder, OpCode op, const void *attr, Value *a, Value *b) {
    return sn_build(builder, op, attr, 2, (Value *[]){a, b});
}

Value *sn_build3(Builder *builder, OpCode op, const void *attr, Value *a, Value *b, Value *c) {
    return sn_build(builder, op, attr, 3, (Value *[]){a, b, c});
}

Value *sn_build_constant(Builder *builder, const Tensor *tensor) {
    return sn_build(builder, SN_OP_CONSTANT, &(AttrConstant){tensor}, 0, NULL);
}

Value *sn_build_scalar(Builder *builder, DType dtype, double value) {
    if (builder->status) return NULL;
    void *bytes;
    Tensor *tensor = sn_tensor_new(builder->graph->arena, dtype, 0, NULL, &bytes);
    sn_element_set(dtype, bytes, 0, value);
    return sn_build_constant(builder, tensor);
}

Value *sn_build_positions(Builder *builder, DType dtype, Dim extent, int after) {
    Dims *dims = builder->graph->dims;
    AttrIota attr = {dtype, extent, sn_dim(dims, 0), sn_dim(dims, 1)};
    Value *value = sn_build(builder, SN_OP_IOTA, &attr, 0, NULL);
    Dim shape[SN_MAX_RANK] = {extent};
    for (int k = 1; k <= after; k++) shape[k] = attr.step;
    return value && after > 0 ? sn_build_reshape(builder, value, 1 + after, shape) : value;
}

Value *sn_build_dims(Builder *builder, int count, const Dim *dim, bool scalar) {
    return sn_build(builder, SN_OP_DIMS, &(AttrDims){count, dim, scalar}, 0, NULL);
}

Value *sn_build_cast(Builder *builder, Value *value, DType to) {
    if (builder->status || value->type.dtype == to) return builder->status ? NULL : value;
    return sn_build1(builder, SN_OP_CAST, &(AttrCast){.to = to}, value);
}

/* ---- movements ---- */

static Value *build_view(Builder *builder, Value *value, const IndexMap *map) {
    Graph *graph = builder->graph;
    if (sn_dims_overflowed(graph->dims))
        return latch(builder, sn_fail(SN_INVALID, "a computed size does not fit into 64 bits"));
    if (sn_view_is_identity(graph->dims, map, value->type.dim)) return value;
    return sn_build1(builder, SN_OP_VIEW, map, value);
}

Value *sn_build_reshape(Builder *builder, Value *value, int rank, const Dim *extent) {
    if (builder->status) return NULL;
    Graph *graph = builder->graph;
    Dim have = sn_type_count(graph->dims, value->type);
    Dim want = sn_type_count(graph->dims, (Type){value->type.dtype, rank, extent});
    Status status = sn_graph_check(graph, SN_CHECK_EQUAL, have, want, builder->origin);
    if (status) return latch(builder, sn_status_prefix(status, "reshape"));
    IndexMap map =
        sn_view_reshape(graph->dims, graph->arena, value->type.rank, value->type.dim, rank, extent);
    return build_view(builder, value, &map);
}

Value *sn_build_transpose(Builder *builder, Value *value, const int *permutation) {
    if (builder->status) return NULL;
    Graph *graph = builder->graph;
    IndexMap map =
        sn_view_transpose(graph->dims, graph->arena, value->type.rank, value->type.dim, permutation);
    return build_view(builder, value, &map);
}

/* Each source extent is 1 or the target's. Broadcasting alone would also let a target of 1 pass: the other
 * two checks shut out a longer source and an empty one. */
static Status check_expansion(Builder *builder, Dim source, Dim target) {
    Graph *graph = builder->graph;
    if (source == target || sn_dim_equals(source, 1)) return NULL;
    TRY(sn_graph_check(graph, SN_CHECK_BROADCAST, source, target, builder->origin));
    TRY(sn_graph_check(graph, SN_CHECK_AT_MOST, source, target, builder->origin));
    int64_t least;
    if (sn_dim_lower(graph->dims, source, &least) && least >= 1) return NULL;
    Dim product = sn_dim_mul(graph->dims, source, target);
    return sn_graph_check(graph, SN_CHECK_AT_MOST, target, product, builder->origin);
}

Value *sn_build_expand(Builder *builder, Value *value, int rank, const Dim *extent) {
    if (builder->status) return NULL;
    Graph *graph = builder->graph;
    Type type = value->type;
    if (rank < type.rank)
        return latch(builder, sn_fail(SN_INVALID, "expand: rank %d cannot become rank %d", type.rank, rank));
    for (int i = 0; i < type.rank; i++) {
        Status status = check_expansion(builder, type.dim[i], extent[rank - type.rank + i]);
        if (status) return latch(builder, sn_status_prefix(status, "expand"));
    }
    IndexMap map = sn_view_expand(graph->dims, graph->arena, type.rank, type.dim, rank, extent, NULL);
    return build_view(builder, value, &map);
}

Value *sn_build_slice(Builder *builder, Value *value, int axis, Dim start, Dim count, int64_t step) {
    if (builder->status) return NULL;
    Graph *graph = builder->graph;
    Type type = value->type;
    Dim *first = SN_ARRAY(graph->arena, Dim, type.rank);
    Dim *by = SN_ARRAY(graph->arena, Dim, type.rank);
    Dim *extent = SN_ARRAY(graph->arena, Dim, type.rank);
    for (int i = 0; i < type.rank; i++) {
        first[i] = i == axis ? start : sn_dim(graph->dims, 0);
        by[i] = sn_dim(graph->dims, i == axis ? step : 1);
        extent[i] = i == axis ? count : type.dim[i];
    }
    IndexMap map = sn_view_slice(graph->dims, graph->arena, type.rank, first, by, extent);
    return build_view(builder, value, &map);
}

/* ---- reading values ---- */

static bool tensor_is_splat(const Tensor *tensor, double *out) {
    /* A recipe is a stand-in for real weights, whatever its numbers are. */
    if (tensor->count < 1 || tensor->payload != SN_PAYLOAD_BYTES) return false;
    size_t width = (size_t)sn_dtype_bytes(tensor->dtype);
    const char *bytes = tensor->bytes;
    for (int64_t i = 1; i < tensor->count; i++)
        if (memcmp(bytes, bytes + (size_t)i * width, width) != 0) return false;
    *out = sn_tensor_get(tensor, 0);
    return true;
}

static bool known_is_splat(const Value *value, double *out) {
    int64_t count = 1, extent, first, element;
    for (int i = 0; i < value->type.rank; i++) {
        if (!sn_dim_is(value->type.dim[i], &extent)) return false;
        count *= extent; /* known values are few, so this cannot overflow */
    }
    if (count < 1 || !sn_dim_is(value->known[0], &first)) return false;
    for (int64_t i = 1; i < count; i++)
        if (!sn_dim_is(value->known[i], &element) || element != first) return false;
    *out = (double)first;
    return true;
}

bool sn_value_is_splat(const Value *value, double *out) {
    /* A movement repeats and drops elements but makes none. */
    while (value->producer && value->producer->op == SN_OP_VIEW && !value->known)
        value = value->producer->input[0];
    if (value->producer && value->producer->op == SN_OP_CONSTANT)
        return tensor_is_splat(((const AttrConstant *)value->producer->attr)->tensor, out);
    return value->known && known_is_splat(value, out);
}

#include "infer.h"

#include "infer_rules.h"

static Status check_arity(const OpInfo *op, const Node *node) {
    if (node->input_count < op->in_min || (op->in_max >= 0 && node->input_count > op->in_max))
        return sn_fail(SN_INVALID, "%d inputs given where it takes %s%d", node->input_count,
                       op->in_max == op->in_min         ? ""
                       : node->input_count < op->in_min ? "at least "
                                                        : "at most ",
                       node->input_count < op->in_min ? op->in_min : op->in_max);
    if (node->output_count < op->out_min || (op->out_max >= 0 && node->output_count > op->out_max))
        return sn_fail(SN_INVALID, "%d outputs asked for, it has %d", node->output_count, op->out_min);
    for (int k = 0; k < node->input_count; k++)
        if (!node->input[k] && (k < op->in_min || op->in_max < 0))
            return sn_fail(SN_INVALID, "input %d is missing", k);
    return NULL;
}

/* The letter of the dtype's class in the dtypes column. */
static char class_of(DType dtype) {
    if (sn_dtype_is_float(dtype)) return 'F';
    if (!sn_dtype_is_int(dtype)) return 'B';
    return sn_dtype_is_signed(dtype) ? 'I' : 'U';
}

/* A `where` reads a bool beside its data and a gather an integer; their classes allow both, and their own
 * rules tell the operands apart. */
static Status check_dtypes(const OpInfo *op, const Node *node) {
    for (int k = 0; k < node->input_count; k++) {
        if (!node->input[k]) continue;
        DType dtype = node->input[k]->type.dtype;
        if (!strchr(op->dtypes, class_of(dtype)))
            return sn_fail(SN_INVALID, "input %d cannot be %s", k, sn_dtype_name(dtype));
    }
    return NULL;
}

/* No extent is negative at any run. */
static Status check_extents(Graph *graph, const Node *node, const Value *value) {
    for (int k = 0; k < value->type.rank; k++) {
        Dim extent = value->type.dim[k];
        int64_t constant;
        if (sn_dim_is(extent, &constant) && constant < 0)
            return sn_fail(SN_INVALID, "axis %d of output %d has extent %lld", k, value->index,
                           (long long)constant);
        TRY(sn_graph_check(graph, SN_CHECK_AT_MOST, sn_dim(graph->dims, 0), extent, node->origin));
    }
    return NULL;
}

static Status infer(Graph *graph, const OpInfo *op, Node *node) {
    Infer context = {graph};
    TRY(check_arity(op, node));
    TRY(check_dtypes(op, node));
    TRY(op->infer(&context, node));
    for (int k = 0; k < node->output_count; k++) TRY(check_extents(graph, node, node->output[k]));
    sn_infer_known(graph, node);
    if (sn_dims_overflowed(graph->dims)) return sn_fail(SN_INVALID, "a size does not fit in 64 bits");
    return NULL;
}

Status sn_infer_node(Graph *graph, Node *node) {
    const OpInfo *op = sn_op(node->op);
    return sn_status_prefix(infer(graph, op, node), "%s", op->text);
}

/* "3 and T + 1", for messages. */
static const char *pair_text(Graph *graph, Dim a, Dim b) {
    Text text = sn_text(graph->arena);
    sn_dim_print(&text, graph->dims, a);
    sn_text_add(&text, " and ");
    sn_dim_print(&text, graph->dims, b);
    return sn_text_string(&text);
}

Status sn_infer_broadcast_dim(Graph *graph, Dim a, Dim b, const Origin *origin, Dim *out) {
    Dims *dims = graph->dims;
    *out = a;
    if (a == b || sn_dim_equals(b, 1)) return NULL;
    *out = b;
    if (sn_dim_equals(a, 1)) return NULL;

    Dim one = sn_dim(dims, 1), two = sn_dim(dims, 2);
    if (sn_dim_ne(dims, a, b) && sn_dim_ne(dims, a, one) && sn_dim_ne(dims, b, one))
        return sn_fail(SN_INVALID, "extents %s do not broadcast", pair_text(graph, a, b));
    TRY(sn_graph_check(graph, SN_CHECK_BROADCAST, a, b, origin));
    /* Where one of them is not 1 it is the result, whatever the other turns out to be. */
    if (sn_dim_le(dims, two, b) || sn_dim_equals(b, 0)) return NULL;
    *out = a;
    if (sn_dim_le(dims, two, a) || sn_dim_equals(a, 0)) return NULL;
    /* The larger one, but for 0 beside 1, which is 0: that one pair is refused, for the sake of a simple
     * extent. */
    *out = sn_dim_max(dims, a, b);
    if (sn_dim_le(dims, one, a) && sn_dim_le(dims, one, b)) return NULL;
    return sn_graph_check(graph, SN_CHECK_AT_MOST, *out, sn_dim_mul(dims, a, b), origin);
}

Status sn_infer_set(Node *node, int k, DType dtype, int rank, const Dim *dim) {
    if (rank > SN_MAX_RANK)
        return sn_fail(SN_UNSUPPORTED, "unsupported: a result of rank %d, above %d", rank, SN_MAX_RANK);
    node->output[k]->type = (Type){dtype, rank, dim};
    node->output[k]->known = NULL;
    return NULL;
}

Status sn_infer_set_broadcast(Infer *infer, Node *node, DType dtype) {
    int rank = 0;
    for (int k = 0; k < node->input_count; k++)
        if (node->input[k]->type.rank > rank) rank = node->input[k]->type.rank;
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, rank);
    for (int axis = 0; axis < rank; axis++) {
        Dim extent = sn_dim(infer->graph->dims, 1);
        for (int k = 0; k < node->input_count; k++) {
            Type type = node->input[k]->type;
            int own = axis - (rank - type.rank);
            if (own < 0) continue;
            TRY(sn_status_prefix(
                sn_infer_broadcast_dim(infer->graph, extent, type.dim[own], node->origin, &extent), "axis %d",
                axis));
        }
        dim[axis] = extent;
    }
    return sn_infer_set(node, 0, dtype, rank, dim);
}

Status sn_infer_equal_dim(Infer *infer, const Node *node, const char *what, Dim a, Dim b, Dim *out) {
    if (out) *out = b->kind == SN_DIM_CONST ? b : a;
    if (a == b) return NULL;
    if (sn_dim_ne(infer->graph->dims, a, b))
        return sn_fail(SN_INVALID, "%s differ: %s", what, pair_text(infer->graph, a, b));
    return sn_graph_check(infer->graph, SN_CHECK_EQUAL, a, b, node->origin);
}

Status sn_infer_onto(Infer *infer, const Node *node, const char *what, const Value *value, int rank,
                     const Dim *dim) {
    Graph *graph = infer->graph;
    if (value->type.rank > rank)
        return sn_fail(SN_INVALID, "%s of rank %d does not broadcast to rank %d", what, value->type.rank,
                       rank);
    Dim one = sn_dim(graph->dims, 1);
    for (int k = 0; k < value->type.rank; k++) {
        Dim from = value->type.dim[k], to = dim[rank - value->type.rank + k];
        if (from == to || from == one) continue;
        if (sn_dim_ne(graph->dims, from, to) && sn_dim_ne(graph->dims, from, one))
            return sn_fail(SN_INVALID, "%s does not broadcast: extents %s", what, pair_text(graph, from, to));
        TRY(sn_graph_check(graph, SN_CHECK_BROADCAST, from, to, node->origin));
        TRY(sn_graph_check(graph, SN_CHECK_AT_MOST, from, sn_dim_max(graph->dims, to, one), node->origin));
    }
    return NULL;
}

Status sn_infer_axis_range(int axis, int rank) {
    if (axis >= 0 && axis < rank) return NULL;
    return sn_fail(SN_INVALID, "axis %d of a tensor of rank %d", axis, rank);
}

Status sn_infer_one_dtype(const Node *node) {
    for (int k = 1; k < node->input_count; k++) {
        if (!node->input[k] || node->input[k]->type.dtype == node->input[0]->type.dtype) continue;
        return sn_fail(SN_INVALID, "inputs 0 and %d have different types, %s and %s", k,
                       sn_dtype_name(node->input[0]->type.dtype), sn_dtype_name(node->input[k]->type.dtype));
    }
    return NULL;
}

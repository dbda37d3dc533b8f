/* What a mask computes of (row, column): a condition is causal when it says column <= row + offset, however
 * the exporter spells it. The condition is followed through index expressions; tables are compared with a
 * triangle. */
#include "recognise_internal.h"
#include "view.h"

enum { MAX_DEPTH = 24 };

typedef struct Walk {
    Graph *graph;
    Arena *arena;
    bool additive; /* the mask is a bias: 0 where it lets through, very negative elsewhere */
} Walk;

static Dim *substitute(Walk *walk, const Node *view, const Dim *index) {
    const AttrView *attr = view->attr;
    Dims *dims = walk->graph->dims;
    Dim *inner = SN_ARRAY(walk->arena, Dim, attr->source_rank);
    Dim *axis = sn_view_axes(dims, walk->arena, attr->rank, attr->extent);
    for (int i = 0; i < attr->source_rank; i++)
        inner[i] = sn_dim_replace(dims, attr->index[i], axis, index, attr->rank);
    return inner;
}

/* numpy alignment: the operand's index, 0 where its extent is 1. */
static Dim *operand_index(Walk *walk, const Value *operand, const Value *result, const Dim *index) {
    Dim *own = SN_ARRAY(walk->arena, Dim, operand->type.rank);
    int shift = result->type.rank - operand->type.rank;
    for (int i = 0; i < operand->type.rank; i++)
        own[i] = sn_dim_equals(operand->type.dim[i], 1) ? sn_dim(walk->graph->dims, 0) : index[i + shift];
    return own;
}

static Dim integer_at(Walk *walk, const Value *value, const Dim *index, int depth);

static Dim integer_of_operand(Walk *walk, const Node *node, int k, const Dim *index, int depth) {
    return integer_at(walk, node->input[k], operand_index(walk, node->input[k], node->output[0], index),
                      depth + 1);
}

/* Whether positions are neither cut off nor wrapped in this type. */
static bool holds_positions(DType dtype) {
    return dtype != SN_BOOL && sn_dtype_is_signed(dtype) && sn_dtype_bytes(dtype) >= 4;
}

/* The integer at `index` as a Dim, or NULL. */
static Dim integer_at(Walk *walk, const Value *value, const Dim *index, int depth) {
    Dims *dims = walk->graph->dims;
    const Node *node = value->producer;
    double number;
    if (!holds_positions(value->type.dtype)) return NULL;
    if (sn_value_is_splat(value, &number) && number == (double)(int64_t)number)
        return sn_dim(dims, (int64_t)number);
    if (value->known && value->type.rank == 0) return value->known[0];
    if (!node || depth == MAX_DEPTH) return NULL;
    if (node->op == SN_OP_VIEW)
        return integer_at(walk, node->input[0], substitute(walk, node, index), depth + 1);
    if (node->op == SN_OP_CAST) return integer_at(walk, node->input[0], index, depth + 1);
    if (node->op == SN_OP_DIMS) {
        const AttrDims *attr = node->attr;
        return attr->count == 1 ? attr->dim[0] : NULL;
    }
    if (node->op == SN_OP_IOTA) {
        const AttrIota *attr = node->attr;
        return sn_dim_add(dims, attr->start, sn_dim_mul(dims, attr->step, index[0]));
    }
    if (node->op != SN_OP_ADD && node->op != SN_OP_SUB) return NULL;
    Dim a = integer_of_operand(walk, node, 0, index, depth),
        b = integer_of_operand(walk, node, 1, index, depth);
    if (!a || !b) return NULL;
    return node->op == SN_OP_ADD ? sn_dim_add(dims, a, b) : sn_dim_sub(dims, a, b);
}

static bool lets_through(const Walk *walk, double element) {
    return walk->additive ? element == 0 : element != 0;
}

/* The table (last two axes of a constant, the others of extent 1) lets through exactly where column <= row +
 * *k. */
static bool is_triangle(const Walk *walk, const Tensor *table, int64_t *k) {
    if (table->rank < 2 || table->payload != SN_PAYLOAD_BYTES) return false;
    int64_t rows = table->extent[table->rank - 2], columns = table->extent[table->rank - 1];
    if (rows == 0 || columns == 0 || rows * columns != table->count) return false;
    *k = -1;
    while (*k + 1 < columns && lets_through(walk, sn_tensor_get(table, *k + 1))) ++*k;
    for (int64_t i = 0; i < table->count; i++) {
        double element = sn_tensor_get(table, i);
        bool through = lets_through(walk, element);
        if (through != (i % columns <= i / columns + *k)) return false;
        if (!through && walk->additive && element > SN_MASKED_BELOW) return false;
    }
    /* A table too narrow to show its edge says nothing about what lies beyond. */
    return *k + 1 < columns;
}

static bool inequality_at(Walk *walk, const Value *value, const Dim *index, int depth, Dim *slack);

/* The cast gives 0 for 0 alone: no fraction and no high bits are cut off. */
static bool keeps_zero(const Node *cast) {
    DType from = cast->input[0]->type.dtype, to = cast->output[0]->type.dtype;
    return from == SN_BOOL || to == SN_BOOL ||
           (sn_dtype_is_int(from) && sn_dtype_is_int(to) && sn_dtype_bytes(to) >= sn_dtype_bytes(from));
}

/* where(c, 0, very negative), or with the two exchanged. */
static bool bias_at(Walk *walk, const Node *where, const Dim *index, int depth, Dim *slack) {
    double yes, no;
    if (!sn_value_is_splat(where->input[1], &yes) || !sn_value_is_splat(where->input[2], &no)) return false;
    bool straight = yes == 0 && no <= SN_MASKED_BELOW, inverted = no == 0 && yes <= SN_MASKED_BELOW;
    if (!straight && !inverted) return false;
    Walk condition = {walk->graph, walk->arena, false};
    Dim *own = operand_index(walk, where->input[0], where->output[0], index);
    if (!inequality_at(&condition, where->input[0], own, depth + 1, slack)) return false;
    Dims *dims = walk->graph->dims;
    if (inverted) *slack = sn_dim_sub(dims, sn_dim(dims, -1), *slack);
    return true;
}

/* The condition at `index` as a <= b with *slack = b − a; false when it is nothing of the kind. */
static bool inequality_at(Walk *walk, const Value *value, const Dim *index, int depth, Dim *slack) {
    Dims *dims = walk->graph->dims;
    const Node *node = value->producer;
    if (!node || depth == MAX_DEPTH) return false;
    if (node->op == SN_OP_VIEW)
        return inequality_at(walk, node->input[0], substitute(walk, node, index), depth + 1, slack);
    if (node->op == SN_OP_CAST) {
        bool float_kept =
            sn_dtype_is_float(node->input[0]->type.dtype) == sn_dtype_is_float(value->type.dtype);
        if (walk->additive ? !float_kept : !keeps_zero(node)) return false;
        return inequality_at(walk, node->input[0], index, depth + 1, slack);
    }
    if (node->op == SN_OP_NOT) { /* not (a <= b) is b + 1 <= a */
        if (!inequality_at(walk, node->input[0], index, depth + 1, slack)) return false;
        *slack = sn_dim_sub(dims, sn_dim(dims, -1), *slack);
        return true;
    }
    if (node->op == SN_OP_CONSTANT) {
        int64_t k;
        int rank = value->type.rank;
        if (!is_triangle(walk, ((const AttrConstant *)node->attr)->tensor, &k)) return false;
        *slack = sn_dim_addc(dims, sn_dim_sub(dims, index[rank - 2], index[rank - 1]), k);
        return true;
    }
    if (node->op == SN_OP_WHERE && walk->additive) return bias_at(walk, node, index, depth, slack);
    if (walk->additive || (node->op != SN_OP_LESS_EQUAL && node->op != SN_OP_LESS)) return false;
    Dim a = integer_of_operand(walk, node, 0, index, depth),
        b = integer_of_operand(walk, node, 1, index, depth);
    if (!a || !b) return false;
    *slack = sn_dim_addc(dims, sn_dim_sub(dims, b, a), node->op == SN_OP_LESS ? -1 : 0);
    return true;
}

bool sn_mask_is_causal(Graph *graph, const Value *mask, Type scores, Dim *offset) {
    int rank = mask->type.rank;
    if (rank < 2) return false;
    for (int k = 1; k <= 2; k++) /* a mask of one row says the same of every row */
        if (mask->type.dim[rank - k] != scores.dim[scores.rank - k]) return false;
    Walk walk = {graph, graph->arena, mask->type.dtype != SN_BOOL};
    Dim *axis = sn_view_axes(graph->dims, graph->arena, rank, mask->type.dim), slack;
    if (!inequality_at(&walk, mask, axis, 0, &slack)) return false;
    *offset = sn_dim_add(graph->dims, sn_dim_sub(graph->dims, slack, axis[rank - 2]), axis[rank - 1]);
    return !sn_dim_has_axis(*offset);
}

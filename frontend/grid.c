#include "grid.h"

#include "import_compose.h"

enum { DEEPEST = 48, MOST_FITTED = 1 << 22 /* elements of a constant that are looked at */ };

typedef struct Reader {
    Call *c;
    int depth;
} Reader;

static Dim read_element(Reader *r, const Value *value, const Dim *at);

/* ---- constants ---- */

/* element = first + Σ stride·index, for all of them */
static bool follows(const Tensor *tensor, int64_t first, const int64_t *stride) {
    int64_t index[SN_MAX_RANK] = {0};
    for (int64_t i = 0; i < tensor->count; i++) {
        int64_t expected = first;
        for (int k = 0; k < tensor->rank; k++) expected += stride[k] * index[k];
        if (sn_tensor_get_int(tensor, i) != expected) return false;
        for (int k = tensor->rank - 1; k >= 0 && ++index[k] == tensor->extent[k]; k--) index[k] = 0;
    }
    return true;
}

static Dim read_constant(Reader *r, const Tensor *tensor, const Dim *at) {
    Dims *dims = r->c->dims;
    if (!tensor->count || tensor->count > MOST_FITTED) return NULL;
    int64_t stride[SN_MAX_RANK] = {0}, first = sn_tensor_get_int(tensor, 0), apart = 1;
    Dim element = sn_dim(dims, first);
    for (int k = tensor->rank - 1; k >= 0; k--) {
        if (tensor->extent[k] > 1) stride[k] = sn_tensor_get_int(tensor, apart) - first;
        if (stride[k] > INT32_MAX || stride[k] < -INT32_MAX) return NULL;
        apart *= tensor->extent[k];
        element = sn_dim_add(dims, element, sn_dim_mulc(dims, at[k], stride[k]));
    }
    if (first > INT32_MAX || first < -INT32_MAX) return NULL;
    return follows(tensor, first, stride) ? element : NULL;
}

/* ---- what is computed ---- */

static Dim read_view(Reader *r, const Node *node, const Dim *at) {
    const AttrView *view = node->attr;
    Dims *dims = r->c->dims;
    Dim axis[SN_MAX_RANK], to[SN_MAX_RANK], source[SN_MAX_RANK];
    int count = 0;
    for (int k = 0; k < view->rank; k++) {
        axis[count] = sn_dim_axis(dims, k, view->extent[k]);
        to[count] = at[k];
        count += axis[count]->kind == SN_DIM_AXIS;
    }
    for (int k = 0; k < view->source_rank; k++)
        source[k] = sn_dim_replace(dims, view->index[k], axis, to, count);
    return read_element(r, node->input[0], source);
}

static Dim read_concat(Reader *r, const Node *node, const Dim *at) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    int64_t place, extent;
    Dim inside[SN_MAX_RANK];
    if (!sn_dim_is(at[axis], &place)) return NULL;
    for (int k = 0; k < node->output[0]->type.rank; k++) inside[k] = at[k];
    for (int i = 0; i < node->input_count; i++) {
        if (!sn_dim_is(node->input[i]->type.dim[axis], &extent)) return NULL;
        inside[axis] = sn_dim(r->c->dims, place);
        if (place < extent) return read_element(r, node->input[i], inside);
        place -= extent;
    }
    return NULL;
}

/* Of an operand that broadcasts. */
static Dim read_operand(Reader *r, const Node *node, int operand, const Dim *at) {
    const Value *value = node->input[operand];
    int ahead = node->output[0]->type.rank - value->type.rank;
    Dim own[SN_MAX_RANK];
    for (int k = 0; k < value->type.rank; k++)
        own[k] = sn_dim_equals(value->type.dim[k], 1) ? sn_dim(r->c->dims, 0) : at[ahead + k];
    return read_element(r, value, own);
}

static Dim read_arithmetic(Reader *r, const Node *node, const Dim *at) {
    Dims *dims = r->c->dims;
    int64_t factor;
    Dim a = read_operand(r, node, 0, at), b = a ? read_operand(r, node, 1, at) : NULL;
    if (!a || !b) return NULL;
    if (node->op == SN_OP_ADD) return sn_dim_add(dims, a, b);
    if (node->op == SN_OP_SUB) return sn_dim_sub(dims, a, b);
    if (sn_dim_is(b, &factor)) return sn_dim_mulc(dims, a, factor);
    return sn_dim_is(a, &factor) ? sn_dim_mulc(dims, b, factor) : NULL;
}

static Dim read_iota(Reader *r, const Node *node, const Dim *at) {
    const AttrIota *iota = node->attr;
    int64_t step;
    if (!sn_dim_is(iota->step, &step)) return NULL;
    return sn_dim_add(r->c->dims, iota->start, sn_dim_mulc(r->c->dims, at[0], step));
}

static Dim read_producer(Reader *r, const Value *value, const Dim *at) {
    const Node *node = value->producer;
    if (node->op == SN_OP_CONSTANT) return read_constant(r, ((const AttrConstant *)node->attr)->tensor, at);
    if (node->op == SN_OP_IOTA) return read_iota(r, node, at);
    if (node->op == SN_OP_VIEW) return read_view(r, node, at);
    if (node->op == SN_OP_CONCAT) return read_concat(r, node, at);
    if (node->op == SN_OP_CAST) return read_element(r, node->input[0], at);
    bool arithmetic = node->op == SN_OP_ADD || node->op == SN_OP_SUB || node->op == SN_OP_MUL;
    return arithmetic ? read_arithmetic(r, node, at) : NULL;
}

/* A known list, at a known place or of a single element. */
static Dim read_known(const Value *value, const Dim *at) {
    int64_t place = 0, extent, index;
    for (int k = 0; k < value->type.rank; k++) {
        if (!sn_dim_is(value->type.dim[k], &extent)) return NULL;
        if (extent == 1) continue;
        if (!sn_dim_is(at[k], &index) || index < 0 || index >= extent) return NULL;
        place = place * extent + index;
    }
    return value->known[place];
}

static Dim read_element(Reader *r, const Value *value, const Dim *at) {
    if (!sn_dtype_is_int(value->type.dtype) || r->depth == DEEPEST) return NULL;
    Dim known = value->known ? read_known(value, at) : NULL;
    if (known || !value->producer) return known;
    r->depth++;
    Dim element = read_producer(r, value, at);
    r->depth--;
    return element;
}

Dim sn_grid_element(Call *call, const Value *value, const Dim *at) {
    return read_element(&(Reader){call, 0}, value, at);
}

/* ---- boxes ---- */

/* Part of each of data's first axes, and the axis of the index tuples that runs along it; -1: a single element. */
typedef struct Box {
    int depth;
    Dim start[SN_MAX_RANK], count[SN_MAX_RANK];
    int along[SN_MAX_RANK];
} Box;

/* `element` is start + an axis of its own, or start alone. */
static bool read_side(Call *c, Box *box, int k, Dim element, const Type *tuples, bool *used) {
    Dims *dims = c->dims;
    box->along[k] = -1;
    box->start[k] = element;
    box->count[k] = sn_dim(dims, 1);
    for (int a = 0; a < tuples->rank - 1; a++) {
        Dim axis = sn_dim_axis(dims, a, tuples->dim[a]), stride, rest;
        if (axis->kind != SN_DIM_AXIS || !sn_dim_depends(element, axis)) continue;
        if (used[a] || !sn_dim_affine(dims, element, axis, &stride, &rest)) return false;
        if (!sn_dim_equals(stride, 1) || sn_dim_has_axis(rest)) return false;
        used[a] = true;
        box->along[k] = a, box->start[k] = rest, box->count[k] = tuples->dim[a];
        return true;
    }
    return !sn_dim_has_axis(element);
}

/* Every axis of more than one tuple runs along a side, so that no two tuples are equal. */
static bool read_box(Call *c, Type data, const Value *index, Box *box) {
    Type tuples = index->type;
    int64_t depth, constant;
    bool used[SN_MAX_RANK] = {false};
    Dim at[SN_MAX_RANK];
    if (!sn_dim_is(tuples.dim[tuples.rank - 1], &depth)) return false;
    for (int a = 0; a < tuples.rank - 1; a++) at[a] = sn_dim_axis(c->dims, a, tuples.dim[a]);
    for (box->depth = 0; box->depth < depth; box->depth++) {
        int k = box->depth;
        at[tuples.rank - 1] = sn_dim(c->dims, k);
        Dim element = sn_grid_element(c, index, at);
        if (!element || !read_side(c, box, k, element, &tuples, used)) return false;
        if (sn_dim_is(box->start[k], &constant) && constant < 0)
            box->start[k] = sn_dim_add(c->dims, box->start[k], data.dim[k]);
        if (!sn_dim_le(c->dims, sn_dim(c->dims, 0), box->start[k])) return false;
    }
    for (int a = 0; a < tuples.rank - 1; a++)
        if (!used[a] && !sn_dim_equals(tuples.dim[a], 1)) return false;
    return true;
}

/* The updates in the order of data's axes. */
static Value *as_piece(Call *c, const Box *box, Type data, int outer, Value *updates) {
    int order[SN_MAX_RANK], count = 0;
    bool placed[SN_MAX_RANK] = {false};
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < data.rank; k++) extent[k] = k < box->depth ? box->count[k] : data.dim[k];
    for (int k = 0; k < box->depth; k++) {
        if (box->along[k] < 0) continue;
        placed[box->along[k]] = true;
        order[count++] = box->along[k];
    }
    for (int a = 0; a < updates->type.rank; a++)
        if (a >= outer || !placed[a]) order[count++] = a;
    return reshaped(c, transposed(c, updates, order), data.rank, extent);
}

/* What is before the box, the box, and what is behind it, axis by axis. */
static Value *put(Call *c, const Box *box, int axis, Value *data, Value *piece) {
    if (axis == box->depth || sn_call_failed(c)) return piece;
    Dim start = box->start[axis], count = box->count[axis], extent = data->type.dim[axis];
    Dim end = sn_dim_add(c->dims, start, count), zero = sn_dim(c->dims, 0);
    if (start == zero && count == extent) return put(c, box, axis + 1, data, piece);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, end, extent, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the indices"));
    Value *part[3];
    int parts = 0;
    if (start != zero) part[parts++] = sliced(c, data, axis, zero, start);
    part[parts++] = put(c, box, axis + 1, sliced(c, data, axis, start, count), piece);
    if (end != extent) part[parts++] = sliced(c, data, axis, end, sn_dim_sub(c->dims, extent, end));
    return joined(c, axis, parts, part);
}

Value *sn_grid_assign(Call *call, Value *data, const Value *index, Value *updates) {
    Box box;
    if (sn_call_failed(call) || !read_box(call, data->type, index, &box)) return NULL;
    Value *piece = as_piece(call, &box, data->type, index->type.rank - 1, updates);
    return put(call, &box, 0, data, piece);
}

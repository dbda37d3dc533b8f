#include "lower.h"

#include "fault.h"
#include "view.h"
#include <assert.h>
#include <math.h>

enum { MAX_DEPTH = 20000 }; /* of a chain of values: bounds the recursion */

Lower sn_lower(KernelIr *kernel) {
    return (Lower){
        .arena = kernel->arena, .dims = kernel->dims, .cluster = kernel->cluster, .kernel = kernel};
}

void sn_lower_nest(Lower *lower) {
    lower->nest = sn_nest_new(lower->kernel);
    lower->memo = sn_map_new(lower->arena);
    lower->guard = NULL;
}

void sn_lower_fail(Lower *lower, const char *format, ...) {
    if (lower->status) return;
    va_list args;
    va_start(args, format);
    lower->status = sn_failv(SN_UNSUPPORTED, format, args);
    va_end(args);
}

int sn_lower_fault(const Lower *lower, const Node *node) {
    assert(sn_node_fault(node, NULL) >= 0);
    int position = 1;
    for (const Node *n = lower->cluster->body->first; n && n != node; n = n->next) position++;
    return position;
}

/* ---- building blocks ---- */

static Instr *make(Lower *lower, const Instr *proto) {
    return sn_instr(lower->kernel, lower->nest, proto);
}

Instr *sn_lower_literal(Lower *lower, DType dtype, double number, int64_t integer) {
    return make(lower, &(Instr){.kind = SN_INSTR_LITERAL,
                                .dtype = dtype,
                                .number = sn_dtype_is_float(dtype) ? number : 0,
                                .integer = sn_dtype_is_float(dtype) ? 0 : integer});
}

Instr *sn_lower_dim(Lower *lower, Dim dim) {
    int64_t value;
    if (sn_dim_is(dim, &value)) return sn_lower_literal(lower, SN_I64, 0, value);
    return make(lower, &(Instr){.kind = SN_INSTR_DIM, .dtype = SN_I64, .dim = dim});
}

Instr *sn_lower_less(Lower *lower, Dim a, Dim b) {
    if (sn_dim_lt(lower->dims, a, b)) return NULL;
    if (sn_dim_le(lower->dims, b, a)) return sn_lower_literal(lower, SN_BOOL, 0, 0);
    return make(lower, &(Instr){.kind = SN_INSTR_LESS, .dtype = SN_BOOL, .dim = a, .limit = b});
}

Instr *sn_lower_call(Lower *lower, const char *function, DType dtype, DType operand, int count,
                     Instr *const *arg) {
    Instr proto = {
        .kind = SN_INSTR_CALL, .dtype = dtype, .operand = operand, .function = function, .arg_count = count};
    for (int i = 0; i < count; i++) proto.arg[i] = arg[i];
    return make(lower, &proto);
}

Instr *sn_lower_and(Lower *lower, Instr *a, Instr *b) {
    if (!a || !b) return a ? a : b;
    return sn_lower_call(lower, "and", SN_BOOL, SN_BOOL, 2, (Instr *[]){a, b});
}

static Instr * not(Lower * lower, Instr *a) {
    return sn_lower_call(lower, "not", SN_BOOL, SN_BOOL, 1, &a);
}

static bool is_false(const Instr *a) {
    return a && a->kind == SN_INSTR_LITERAL && a->integer == 0;
}

Instr *sn_lower_cast(Lower *lower, Instr *value, DType to, bool exact) {
    if (value->dtype == to) return value;
    return make(lower, &(Instr){.kind = SN_INSTR_CAST,
                                .dtype = to,
                                .operand = value->dtype,
                                .exact = exact,
                                .arg_count = 1,
                                .arg = {value}});
}

Dim sn_lower_linear(Lower *lower, Type type, const Dim *index) {
    Dim offset = sn_dim(lower->dims, 0);
    for (int i = 0; i < type.rank; i++)
        offset = sn_dim_add(lower->dims, sn_dim_mul(lower->dims, offset, type.dim[i]), index[i]);
    return offset;
}

void sn_lower_store(Lower *lower, Step *step, int result, const Value *value, const Dim *index,
                    const Dim *at) {
    Instr *what = sn_lower_pull(lower, value, index);
    const Value *output = lower->cluster->body->result.at[result];
    Store store = {.buffer = lower->kernel->input_count + result,
                   .dtype = output->type.dtype,
                   .offset = sn_lower_linear(lower, output->type, at),
                   .value = what};
    sn_push(lower->arena, &step->store, store);
}

/* ---- pulling: one function a kind of operator ---- */

typedef Instr *PullFunction(Lower *lower, const Node *node, const Value *value, const Dim *index);

static Dim *copy_index(Lower *lower, int rank, const Dim *index) {
    Dim *copy = SN_ARRAY(lower->arena, Dim, rank);
    for (int i = 0; i < rank; i++) copy[i] = index[i];
    return copy;
}

static Instr *pull_under(Lower *lower, Instr *guard, const Value *value, const Dim *index) {
    Instr *saved = lower->guard;
    lower->guard = guard;
    Instr *result = sn_lower_pull(lower, value, index);
    lower->guard = saved;
    return result;
}

static Instr *zero(Lower *lower, DType dtype) {
    return sn_lower_literal(lower, dtype, 0, 0);
}

/* A tensor without elements is never loaded from: an address that does not depend on the axis that is empty
 * would be used outside of the loop that does not run. */
static Instr *pull_param(Lower *lower, const Value *value, const Dim *index) {
    if (sn_dim_equals(sn_type_count(lower->dims, value->type), 0)) return zero(lower, value->type.dtype);
    return make(lower, &(Instr){.kind = SN_INSTR_LOAD,
                                .dtype = value->type.dtype,
                                .buffer = value->index,
                                .dim = sn_lower_linear(lower, value->type, index),
                                .guard = lower->guard});
}

static Instr *pull_constant(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    (void)index;
    const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
    double splat;
    bool wide = tensor->dtype == SN_I64 || tensor->dtype == SN_U64;
    if (tensor->count == 1)
        return sn_lower_literal(lower, tensor->dtype, sn_tensor_get(tensor, 0),
                                sn_dtype_is_float(tensor->dtype) ? 0 : sn_tensor_get_int(tensor, 0));
    if (!wide && sn_value_is_splat(value, &splat))
        return sn_lower_literal(lower, tensor->dtype, splat,
                                sn_dtype_is_float(tensor->dtype) ? 0 : (int64_t)splat);
    sn_lower_fail(lower, "a constant of %lld elements inside a cluster", (long long)tensor->count);
    return zero(lower, tensor->dtype);
}

static Instr *pull_dims(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    (void)value;
    const AttrDims *attr = node->attr;
    if (attr->scalar || attr->count == 1) return sn_lower_dim(lower, attr->dim[0]);
    Instr *result = zero(lower, SN_I64);
    for (int i = attr->count - 1; i >= 0; i--) {
        Instr *element = sn_lower_dim(lower, attr->dim[i]);
        Instr *before = sn_lower_less(lower, index[0], sn_dim(lower->dims, i + 1));
        if (is_false(before)) continue;
        result = before
                     ? sn_lower_call(lower, "where", SN_I64, SN_I64, 3, (Instr *[]){before, element, result})
                     : element;
    }
    return result;
}

static Instr *pull_iota(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    (void)value;
    const AttrIota *attr = node->attr;
    Dim element = sn_dim_add(lower->dims, attr->start, sn_dim_mul(lower->dims, attr->step, index[0]));
    return sn_lower_cast(lower, sn_lower_dim(lower, element), attr->dtype, true);
}

static Instr *pull_view(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    (void)value;
    const AttrView *attr = node->attr;
    Dim *axes = sn_view_axes(lower->dims, lower->arena, attr->rank, attr->extent);
    Dim *source = SN_ARRAY(lower->arena, Dim, attr->source_rank);
    for (int i = 0; i < attr->source_rank; i++)
        source[i] = sn_dim_replace(lower->dims, attr->index[i], axes, index, attr->rank);
    return sn_lower_pull(lower, node->input[0], source);
}

static Instr *pull_concat(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    Dim start = sn_dim(lower->dims, 0);
    Instr *result = NULL, *outer = lower->guard;
    Instr *chosen[64], *test[64];
    int pieces = 0;
    for (int i = 0; i < node->input_count && pieces < 64; i++) {
        Dim end = sn_dim_add(lower->dims, start, node->input[i]->type.dim[axis]);
        Instr *below = sn_lower_less(lower, index[axis], end);
        Instr *before = sn_lower_less(lower, index[axis], start);
        Instr *from = !before ? zero(lower, SN_BOOL) : is_false(before) ? NULL : not(lower, before);
        Instr *inside = sn_lower_and(lower, from,
                                     is_false(below)             ? below
                                     : i + 1 < node->input_count ? below
                                                                 : NULL);
        if (!is_false(from) && !is_false(below)) {
            Dim *at = copy_index(lower, value->type.rank, index);
            at[axis] = sn_dim_sub(lower->dims, at[axis], start);
            chosen[pieces] = pull_under(lower, sn_lower_and(lower, outer, inside), node->input[i], at);
            test[pieces++] = below;
        }
        if (!below) break;
        start = end;
    }
    if (node->input_count > 64)
        sn_lower_fail(lower, "a concat of %d pieces read in place", node->input_count);
    for (int i = pieces - 1; i >= 0; i--)
        result = !result || !test[i] ? chosen[i]
                                     : sn_lower_call(lower, "where", value->type.dtype, value->type.dtype, 3,
                                                     (Instr *[]){test[i], chosen[i], result});
    return result ? result : zero(lower, value->type.dtype);
}

/* The condition that `at[k]` lies in the source on every axis; NULL: always. */
static Instr *inside(Lower *lower, Type source, const Dim *at) {
    Instr *result = NULL;
    for (int i = 0; i < source.rank; i++) {
        Instr *below = sn_lower_less(lower, at[i], sn_dim(lower->dims, 0));
        Instr *from = !below ? zero(lower, SN_BOOL) : is_false(below) ? NULL : not(lower, below);
        result = sn_lower_and(lower, result, from);
        result = sn_lower_and(lower, result, sn_lower_less(lower, at[i], source.dim[i]));
    }
    return result;
}

/* What a load gives where its guard is false. */
static bool is_zero(const Instr *a) {
    return a->kind == SN_INSTR_LITERAL && a->integer == 0 && a->number == 0 && !signbit(a->number);
}

static Instr *pull_or(Lower *lower, Instr *test, const Value *source, const Dim *at, Instr *otherwise) {
    if (!test) return sn_lower_pull(lower, source, at);
    Instr *value = pull_under(lower, sn_lower_and(lower, lower->guard, test), source, at);
    if (value->kind == SN_INSTR_LOAD && value->guard && is_zero(otherwise)) return value;
    return sn_lower_call(lower, "where", value->dtype, value->dtype, 3, (Instr *[]){test, value, otherwise});
}

static Instr *pull_pad(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    const AttrPad *attr = node->attr;
    Dim *at = copy_index(lower, value->type.rank, index);
    for (int i = 0; i < attr->rank; i++) at[i] = sn_dim_sub(lower->dims, at[i], attr->before[i]);
    /* A float may be infinite. */
    int64_t whole = sn_dtype_is_float(value->type.dtype) ? 0 : (int64_t)attr->value;
    Instr *fill = sn_lower_literal(lower, value->type.dtype, attr->value, whole);
    return pull_or(lower, inside(lower, node->input[0]->type, at), node->input[0], at, fill);
}

static Instr *pull_pack(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    const AttrPack *attr = node->attr;
    const Value *source = node->input[0];
    Dims *dims = lower->dims;
    int of = source->type.rank - 2; /* [batch…, panels, K, P] from [batch…, K, N] */
    Dim *at = copy_index(lower, value->type.rank, index);
    at[of] = index[of + 1];
    at[of + 1] = sn_dim_add(dims, sn_dim_mulc(dims, index[of], attr->panel), index[of + 2]);
    Instr *inside = sn_lower_less(lower, at[of + 1], source->type.dim[of + 1]);
    if (attr->group) {
        at[of] = sn_dim_add(dims, sn_dim_mulc(dims, index[of + 1], attr->group), index[of + 3]);
        inside = sn_lower_and(lower, inside, sn_lower_less(lower, at[of], source->type.dim[of]));
    }
    return pull_or(lower, inside, source, at, zero(lower, value->type.dtype));
}

Instr *sn_lower_index(Lower *lower, const Node *node, const Value *indices, const Dim *at, Dim extent) {
    Instr *raw = sn_lower_cast(lower, sn_lower_pull(lower, indices, at), SN_I64, true);
    return make(lower, &(Instr){.kind = SN_INSTR_INDEX,
                                .dtype = SN_I64,
                                .arg_count = 1,
                                .arg = {raw},
                                .limit = extent,
                                .guard = lower->guard,
                                .fault = sn_lower_fault(lower, node)});
}

/* A checked index into an axis of `extent`: the axis that stands for it, and *check when the axis cannot
 * carry the dependence (an extent of 1 is the constant 0). */
static Dim pull_index(Lower *lower, const Node *node, const Value *indices, const Dim *at, Dim extent,
                      Instr **check) {
    Instr *index = sn_lower_index(lower, node, indices, at, extent);
    if (index->dim->kind == SN_DIM_CONST) *check = index;
    return index->dim;
}

static Instr *checked(Lower *lower, Instr *value, Instr *check) {
    if (!check) return value;
    return make(
        lower,
        &(Instr){.kind = SN_INSTR_CHECKED, .dtype = value->dtype, .arg_count = 2, .arg = {value, check}});
}

static Instr *pull_gather(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    (void)value;
    int axis = ((const AttrAxis *)node->attr)->axis;
    const Value *data = node->input[0], *indices = node->input[1];
    Dim *at = SN_ARRAY(lower->arena, Dim, data->type.rank);
    Instr *check = NULL;
    for (int i = 0; i < axis; i++) at[i] = index[i];
    at[axis] = pull_index(lower, node, indices, index + axis, data->type.dim[axis], &check);
    for (int i = axis + 1; i < data->type.rank; i++) at[i] = index[i + indices->type.rank - 1];
    return checked(lower, sn_lower_pull(lower, data, at), check);
}

static Instr *pull_gather_elements(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    const Value *data = node->input[0];
    Dim *at = copy_index(lower, value->type.rank, index);
    Instr *check = NULL;
    at[axis] = pull_index(lower, node, node->input[1], index, data->type.dim[axis], &check);
    return checked(lower, sn_lower_pull(lower, data, at), check);
}

static Instr *pull_gather_nd(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    (void)value;
    int batch = ((const AttrGatherNd *)node->attr)->batch_dims;
    const Value *data = node->input[0], *indices = node->input[1];
    int rank = indices->type.rank;
    int64_t tuple;
    if (!sn_dim_is(indices->type.dim[rank - 1], &tuple)) {
        sn_lower_fail(lower, "gather_nd with index tuples of unknown length");
        return zero(lower, data->type.dtype);
    }
    Dim *at = SN_ARRAY(lower->arena, Dim, data->type.rank + 1);
    Dim *where = SN_ARRAY(lower->arena, Dim, rank);
    for (int i = 0; i < rank - 1; i++) where[i] = index[i];
    for (int i = 0; i < batch; i++) at[i] = index[i];
    Instr *check[SN_MAX_RANK] = {NULL};
    for (int k = 0; k < tuple; k++) {
        where[rank - 1] = sn_dim(lower->dims, k);
        at[batch + k] = pull_index(lower, node, indices, where, data->type.dim[batch + k], &check[k]);
    }
    for (int i = batch + (int)tuple; i < data->type.rank; i++)
        at[i] = index[rank - 1 + i - batch - (int)tuple];
    Instr *result = sn_lower_pull(lower, data, at);
    for (int k = 0; k < tuple; k++) result = checked(lower, result, check[k]);
    return result;
}

static Instr *pull_cast(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    const AttrCast *attr = node->attr;
    Instr *from = sn_lower_pull(lower, node->input[0], index);
    if (from->dtype == attr->to) return from;
    bool may_fail = sn_node_fault(node, NULL) >= 0;
    return make(lower, &(Instr){.kind = SN_INSTR_CAST,
                                .dtype = value->type.dtype,
                                .operand = from->dtype,
                                .exact = !attr->elidable,
                                .arg_count = 1,
                                .arg = {from},
                                .guard = may_fail ? lower->guard : NULL,
                                .fault = may_fail ? sn_lower_fault(lower, node) : 0});
}

/* The scalar column of the operator table. */
static const char *const scalar_function[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, expand, gradient, scalar)                                                                   \
    [code] = scalar,
#include "ops.def"
#undef OP
};

static Instr *pull_pointwise(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    Instr proto = {.kind = SN_INSTR_CALL,
                   .dtype = value->type.dtype,
                   .operand = node->input[node->input_count - 1]->type.dtype,
                   .function = scalar_function[node->op],
                   .arg_count = node->input_count};
    for (int i = 0; i < node->input_count; i++) {
        const Value *input = node->input[i];
        if (input->type.rank != value->type.rank) {
            sn_lower_fail(lower, "%s of operands of different rank", sn_op(node->op)->text);
            return zero(lower, value->type.dtype);
        }
        proto.arg[i] = sn_lower_pull(lower, input, index);
    }
    if (sn_node_fault(node, NULL) >= 0) {
        proto.guard = lower->guard;
        proto.fault = sn_lower_fault(lower, node);
    }
    return make(lower, &proto);
}

static Instr *pull_random(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    Instr *arg[3];
    for (int i = 0; i < 3; i++) arg[i] = sn_lower_pull(lower, node->input[i], index);
    Dim number = sn_dim(lower->dims, ((const AttrRandom *)node->attr)->number);
    Instr *given = make(lower, &(Instr){.kind = SN_INSTR_GIVEN, .dtype = SN_I64, .dim = number});
    Instr *streams = sn_lower_literal(lower, SN_I64, 0, SN_DROPOUT_NODES);
    arg[1] = sn_lower_call(lower, "mul", SN_I64, SN_I64, 2, (Instr *[]){arg[1], streams});
    arg[1] = sn_lower_call(lower, "add", SN_I64, SN_I64, 2, (Instr *[]){arg[1], given});
    return sn_lower_call(lower, scalar_function[node->op], value->type.dtype, SN_I64, 3, arg);
}

/* Where the kernel itself stores the result, this reads what is not stored, or computes it anew. */
static Instr *pull_append(Lower *lower, const Node *node, const Value *value, const Dim *index) {
    const AttrAppend *attr = node->attr;
    Dim end = sn_dim_add(lower->dims, attr->at, node->input[1]->type.dim[attr->axis]);
    Instr *below = sn_lower_less(lower, index[attr->axis], end);
    Instr *before = sn_lower_less(lower, index[attr->axis], attr->at);
    if (!before || is_false(below)) return sn_lower_pull(lower, node->input[0], index);
    Instr *inside = sn_lower_and(lower, is_false(before) ? NULL : not(lower, before), below);
    Dim *at = copy_index(lower, value->type.rank, index);
    at[attr->axis] = sn_dim_sub(lower->dims, at[attr->axis], attr->at);
    if (!inside) return sn_lower_pull(lower, node->input[1], at);
    Instr *outer = lower->guard;
    Instr *fresh = pull_under(lower, sn_lower_and(lower, outer, inside), node->input[1], at);
    Instr *old = sn_lower_pull(lower, node->input[0], index);
    return sn_lower_call(lower, "where", value->type.dtype, value->type.dtype, 3,
                         (Instr *[]){inside, fresh, old});
}

static PullFunction *const pull[SN_OP_COUNT] = {
    [SN_OP_CONSTANT] = pull_constant,
    [SN_OP_DIMS] = pull_dims,
    [SN_OP_IOTA] = pull_iota,
    [SN_OP_VIEW] = pull_view,
    [SN_OP_CONCAT] = pull_concat,
    [SN_OP_PAD] = pull_pad,
    [SN_OP_APPEND] = pull_append,
    [SN_OP_PACK] = pull_pack,
    [SN_OP_GATHER] = pull_gather,
    [SN_OP_GATHER_ND] = pull_gather_nd,
    [SN_OP_GATHER_ELEMENTS] = pull_gather_elements,
    [SN_OP_CAST] = pull_cast,
    [SN_OP_RANDOM] = pull_random,
};

static Instr *pull_value(Lower *lower, const Value *value, const Dim *index) {
    const Node *node = value->producer;
    if (!node) return pull_param(lower, value, index);
    if (lower->anchor) {
        Instr *anchored = lower->anchor(lower, value, index);
        if (anchored || lower->status) return anchored ? anchored : zero(lower, value->type.dtype);
    }
    if (pull[node->op]) return pull[node->op](lower, node, value, index);
    if (scalar_function[node->op] && sn_op(node->op)->class == SN_CLASS_POINTWISE)
        return pull_pointwise(lower, node, value, index);
    sn_lower_fail(lower, "%s inside a cluster of this kind", sn_op(node->op)->text);
    return zero(lower, value->type.dtype);
}

Instr *sn_lower_pull(Lower *lower, const Value *value, const Dim *index) {
    if (lower->status) return zero(lower, value->type.dtype);
    if (lower->depth > MAX_DEPTH) {
        sn_lower_fail(lower, "a chain of more than %d values in one cluster", MAX_DEPTH);
        return zero(lower, value->type.dtype);
    }
    int key[2 + SN_MAX_RANK], length = 2 + value->type.rank;
    key[0] = value->id, key[1] = lower->guard ? lower->guard->id + 1 : 0;
    for (int i = 0; i < value->type.rank; i++) key[2 + i] = index[i]->id;
    Instr *known = sn_map_get(lower->memo, key, (size_t)length * sizeof *key);
    if (known) return known;
    lower->depth++;
    Instr *result = pull_value(lower, value, index);
    lower->depth--;
    *sn_map_at(lower->memo, key, (size_t)length * sizeof *key) = result;
    return result;
}

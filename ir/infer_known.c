/* Shape values: what each element of a small integer or bool tensor is, as a Dim.
 *
 * A value is known for all of its elements or not at all. Two constants are computed as the dtype does it,
 * with wrap-around; with symbols the result is exact in Z, so it counts only if it provably fits the dtype. A
 * symbolic value of i64 is taken to fit (evaluating it reports an overflow); one of i32 gets checks that it
 * does, since exports cast shapes to i32 and back. */
#include "infer_rules.h"

#include "index.h"
#include "scalar.h"

/* The shape of a value whose extents are constants; false when they are not or it has too many elements. */
typedef struct Shape {
    int rank;
    int64_t extent[SN_MAX_RANK];
    int64_t count;
} Shape;

static bool shape_of(Type type, Shape *shape) {
    shape->rank = type.rank;
    for (int k = 0; k < type.rank; k++)
        if (!sn_dim_is(type.dim[k], &shape->extent[k])) return false;
    return sn_index_count(shape->rank, shape->extent, &shape->count) && shape->count <= SN_KNOWN_MAX;
}

/* One inference: the node, its output's shape and where the elements go. */
typedef struct Known {
    Graph *graph;
    Dims *dims;
    Node *node;
    DType dtype; /* of the output */
    Shape shape; /* of the output */
    Dim *out;
} Known;

/* A rule fills out[0 .. shape.count) or gives false: not known. */
typedef bool (*KnownRule)(Known *);

/* A constant as an element: wrapped, and false above INT64_MAX, which no Dim can say. */
static bool constant_element(Known *known, int64_t value, Dim *out) {
    value = sn_scalar_wrap(known->dtype, value);
    if (known->dtype == SN_U64 && value < 0) return false;
    *out = sn_dim(known->dims, value);
    return true;
}

/* Whether the Dim fits the dtype, by proof, or for i32 by checks. */
static bool fits(Known *known, Dim value) {
    if (known->dtype == SN_I64) return true;
    if (known->dtype == SN_BOOL) return false;
    bool is_signed = sn_dtype_is_signed(known->dtype);
    int bits = 8 * sn_dtype_bytes(known->dtype) - is_signed;
    int64_t top = bits >= 63 ? INT64_MAX : (INT64_C(1) << bits) - 1;
    Dim low = sn_dim(known->dims, is_signed ? -top - 1 : 0), high = sn_dim(known->dims, top);
    bool above = sn_dim_le(known->dims, low, value), below = sn_dim_le(known->dims, value, high);
    if (above && below) return true;
    if (known->dtype != SN_I32) return above && bits >= 63;
    const Origin *origin = known->node->origin;
    Status status = sn_graph_check(known->graph, SN_CHECK_AT_MOST, low, value, origin);
    if (!status) status = sn_graph_check(known->graph, SN_CHECK_AT_MOST, value, high, origin);
    bool fine = !status;
    sn_error_free(status);
    return fine;
}

static bool element(Known *known, Dim value, Dim *out) {
    if (!value) return false;
    int64_t constant;
    if (sn_dim_is(value, &constant)) return constant_element(known, constant, out);
    *out = value;
    return fits(known, value);
}

/* ---- arithmetic on two elements ----
 *
 * `fold` computes two constants (a division that faults is never asked for); `symbolic` gives NULL where
 * nothing can be proven. */

typedef struct Binary {
    bool (*fold)(int64_t a, int64_t b, int64_t *out);
    Dim (*symbolic)(Dims *dims, Dim a, Dim b);
} Binary;

static bool fold_add(int64_t a, int64_t b, int64_t *out) {
    *out = (int64_t)((uint64_t)a + (uint64_t)b);
    return true;
}
static bool fold_sub(int64_t a, int64_t b, int64_t *out) {
    *out = (int64_t)((uint64_t)a - (uint64_t)b);
    return true;
}
static bool fold_mul(int64_t a, int64_t b, int64_t *out) {
    *out = (int64_t)((uint64_t)a * (uint64_t)b);
    return true;
}
static bool fold_div(int64_t a, int64_t b, int64_t *out) {
    *out = a / b;
    return true;
}
static bool fold_fmod(int64_t a, int64_t b, int64_t *out) {
    *out = a % b;
    return true;
}
static bool fold_min(int64_t a, int64_t b, int64_t *out) {
    *out = a < b ? a : b;
    return true;
}
static bool fold_max(int64_t a, int64_t b, int64_t *out) {
    *out = a > b ? a : b;
    return true;
}
static bool fold_equal(int64_t a, int64_t b, int64_t *out) {
    *out = a == b;
    return true;
}
static bool fold_less(int64_t a, int64_t b, int64_t *out) {
    *out = a < b;
    return true;
}
static bool fold_less_equal(int64_t a, int64_t b, int64_t *out) {
    *out = a <= b;
    return true;
}
static bool fold_and(int64_t a, int64_t b, int64_t *out) {
    *out = a && b;
    return true;
}
static bool fold_or(int64_t a, int64_t b, int64_t *out) {
    *out = a || b;
    return true;
}
static bool fold_xor(int64_t a, int64_t b, int64_t *out) {
    *out = a != b;
    return true;
}

static bool not_negative(Dims *dims, Dim value) {
    return sn_dim_le(dims, sn_dim(dims, 0), value);
}

static Dim symbolic_div(Dims *dims, Dim a, Dim b) {
    return sn_dim_equals(b, 0) ? NULL : sn_dim_truncdiv(dims, a, b);
}

static Dim symbolic_mod(Dims *dims, Dim a, Dim b) {
    return sn_dim_equals(b, 0) ? NULL : sn_dim_mod(dims, a, b);
}

/* Equal to mod where no sign can be negative. */
static Dim symbolic_fmod(Dims *dims, Dim a, Dim b) {
    return not_negative(dims, a) && not_negative(dims, b) ? symbolic_mod(dims, a, b) : NULL;
}

static Dim symbolic_equal(Dims *dims, Dim a, Dim b) {
    if (a == b) return sn_dim(dims, 1);
    return sn_dim_ne(dims, a, b) ? sn_dim(dims, 0) : NULL;
}

static Dim symbolic_less(Dims *dims, Dim a, Dim b) {
    if (sn_dim_lt(dims, a, b)) return sn_dim(dims, 1);
    return sn_dim_le(dims, b, a) ? sn_dim(dims, 0) : NULL;
}

static Dim symbolic_less_equal(Dims *dims, Dim a, Dim b) {
    if (sn_dim_le(dims, a, b)) return sn_dim(dims, 1);
    return sn_dim_lt(dims, b, a) ? sn_dim(dims, 0) : NULL;
}

static const Binary binary_rule[SN_OP_COUNT] = {
    [SN_OP_ADD] = {fold_add, sn_dim_add},
    [SN_OP_SUB] = {fold_sub, sn_dim_sub},
    [SN_OP_MUL] = {fold_mul, sn_dim_mul},
    [SN_OP_DIV] = {fold_div, symbolic_div},
    [SN_OP_MOD] = {sn_mod_i64, symbolic_mod},
    [SN_OP_FMOD] = {fold_fmod, symbolic_fmod},
    [SN_OP_MIN] = {fold_min, sn_dim_min},
    [SN_OP_MAX] = {fold_max, sn_dim_max},
    [SN_OP_EQUAL] = {fold_equal, symbolic_equal},
    [SN_OP_LESS] = {fold_less, symbolic_less},
    [SN_OP_LESS_EQUAL] = {fold_less_equal, symbolic_less_equal},
    [SN_OP_AND] = {fold_and, NULL},
    [SN_OP_OR] = {fold_or, NULL},
    [SN_OP_XOR] = {fold_xor, NULL},
    [SN_OP_REDUCE_SUM] = {fold_add, sn_dim_add},
    [SN_OP_REDUCE_PROD] = {fold_mul, sn_dim_mul},
    [SN_OP_REDUCE_MIN] = {fold_min, sn_dim_min},
    [SN_OP_REDUCE_MAX] = {fold_max, sn_dim_max},
    [SN_OP_CUMSUM] = {fold_add, sn_dim_add},
};

/* A constant that arithmetic with a symbol could carry beyond 64 bits: masks and "to the end" sentinels. */
static bool is_huge(Dim value) {
    int64_t constant, most = INT64_C(1) << 48;
    return sn_dim_is(value, &constant) && (constant > most || constant < -most);
}

/* No run gets further in which the extent of a tensor is negative: the graph's checks say which Dims are extents. */
static bool is_extent(const Known *known, Dim dim) {
    for (int i = 0; i < known->graph->checks.count; i++) {
        const Check *check = &known->graph->checks.at[i];
        if (check->kind == SN_CHECK_AT_MOST && check->b == dim && sn_dim_equals(check->a, 0)) return true;
    }
    return false;
}

/* Whether an extent is asked to be what stands for "keep" or "work it out". */
static bool is_extent_beside_negative(const Known *known, Dim a, Dim b) {
    return b->kind == SN_DIM_CONST && b->value < 0 && is_extent(known, a);
}

static bool combine(Known *known, Dim a, Dim b, Dim *out) {
    Binary rule = binary_rule[known->node->op];
    int64_t left, right, result;
    if (sn_dim_is(a, &left) && sn_dim_is(b, &right)) {
        bool divides = rule.fold == fold_div || rule.fold == fold_fmod || rule.fold == sn_mod_i64;
        if (divides && !sn_scalar_divides(known->dtype, left, right)) return false;
        return rule.fold(left, right, &result) && constant_element(known, result, out);
    }
    if (!rule.symbolic || is_huge(a) || is_huge(b)) return false;
    if (known->node->op == SN_OP_EQUAL &&
        (is_extent_beside_negative(known, a, b) || is_extent_beside_negative(known, b, a)))
        return constant_element(known, 0, out);
    return element(known, rule.symbolic(known->dims, a, b), out);
}

/* ---- the rules ---- */

/* The known element of input k that element `index` of the output reads by broadcasting. */
static Dim operand(const Known *known, int k, const int64_t *index) {
    Shape shape;
    shape_of(known->node->input[k]->type, &shape);
    int64_t at = sn_index_broadcast(shape.rank, shape.extent, known->shape.rank, index);
    return known->node->input[k]->known[at];
}

static bool known_binary(Known *known) {
    for (int64_t i = 0; i < known->shape.count; i++) {
        int64_t index[SN_MAX_RANK] = {0};
        sn_index_split(known->shape.rank, known->shape.extent, i, index);
        if (!combine(known, operand(known, 0, index), operand(known, 1, index), &known->out[i])) return false;
    }
    return true;
}

static bool known_where(Known *known) {
    for (int64_t i = 0; i < known->shape.count; i++) {
        int64_t index[SN_MAX_RANK] = {0}, condition;
        sn_index_split(known->shape.rank, known->shape.extent, i, index);
        Dim then = operand(known, 1, index), other = operand(known, 2, index);
        if (then == other)
            known->out[i] = then;
        else if (sn_dim_is(operand(known, 0, index), &condition))
            known->out[i] = condition ? then : other;
        else
            return false;
    }
    return true;
}

typedef Dim (*UnaryRule)(Dims *, Dim);

static bool known_unary(Known *known, UnaryRule rule) {
    for (int64_t i = 0; i < known->shape.count; i++)
        if (!element(known, rule(known->dims, known->node->input[0]->known[i]), &known->out[i])) return false;
    return true;
}

static Dim dim_same(Dims *dims, Dim a) {
    (void)dims;
    return a;
}
static Dim dim_neg(Dims *dims, Dim a) {
    return sn_dim_equals(a, INT64_MIN) ? a : sn_dim_mulc(dims, a, -1);
}
static Dim dim_abs(Dims *dims, Dim a) {
    return sn_dim_equals(a, INT64_MIN) ? a : sn_dim_max(dims, a, sn_dim_mulc(dims, a, -1));
}
static Dim dim_relu(Dims *dims, Dim a) {
    return sn_dim_max(dims, a, sn_dim(dims, 0));
}
static Dim dim_not(Dims *dims, Dim a) {
    return sn_dim(dims, sn_dim_equals(a, 0));
}
static Dim dim_sign(Dims *dims, Dim a) {
    Dim zero = sn_dim(dims, 0);
    if (a == zero) return zero;
    if (sn_dim_lt(dims, zero, a)) return sn_dim(dims, 1);
    return sn_dim_lt(dims, a, zero) ? sn_dim(dims, -1) : NULL;
}
/* 1 where it is proven not to be 0. */
static Dim dim_truth(Dims *dims, Dim a) {
    if (a->kind == SN_DIM_CONST) return sn_dim(dims, a->value != 0);
    return sn_dim_ne(dims, a, sn_dim(dims, 0)) ? sn_dim(dims, 1) : NULL;
}

static bool known_cast_from_float(Known *known) {
    if (known->dtype == SN_BOOL) return false;
    for (int64_t i = 0; i < known->shape.count; i++) {
        Dim value;
        int64_t constant;
        if (!sn_infer_truncated(known->graph, known->node, i, &value)) return false;
        /* A run faults where a cast of integers wraps. */
        if (sn_dim_is(value, &constant) && sn_scalar_wrap(known->dtype, constant) != constant) return false;
        if (!element(known, value, &known->out[i])) return false;
    }
    return true;
}

static bool known_cast(Known *known) {
    if (!known->node->input[0]->known) return known_cast_from_float(known);
    return known_unary(known, known->dtype == SN_BOOL ? dim_truth : dim_same);
}
static bool known_neg(Known *known) {
    return known_unary(known, dim_neg);
}
static bool known_abs(Known *known) {
    return known_unary(known, dim_abs);
}
static bool known_relu(Known *known) {
    return known_unary(known, dim_relu);
}
static bool known_not(Known *known) {
    return known_unary(known, dim_not);
}
static bool known_sign(Known *known) {
    return known_unary(known, dim_sign);
}

static bool known_constant(Known *known) {
    const Tensor *tensor = ((const AttrConstant *)known->node->attr)->tensor;
    for (int64_t i = 0; i < known->shape.count; i++)
        if (!constant_element(known, sn_tensor_get_int(tensor, i), &known->out[i])) return false;
    return true;
}

static bool known_dims(Known *known) {
    const AttrDims *attr = known->node->attr;
    for (int k = 0; k < attr->count; k++) known->out[k] = attr->dim[k];
    return true;
}

static bool known_iota(Known *known) {
    const AttrIota *attr = known->node->attr;
    int64_t start, step;
    bool constant = sn_dim_is(attr->start, &start) && sn_dim_is(attr->step, &step);
    for (int64_t i = 0; i < known->shape.count; i++) {
        int64_t offset;
        if (constant) {
            if (!sn_mul_i64(i, step, &offset) || !sn_add_i64(start, offset, &offset)) return false;
            if (!constant_element(known, offset, &known->out[i])) return false;
            continue;
        }
        Dim value = sn_dim_add(known->dims, attr->start, sn_dim_mulc(known->dims, attr->step, i));
        if (!element(known, value, &known->out[i])) return false;
    }
    return true;
}

/* ---- movement ---- */

/* The constant that `index` is when the output's axes have the values `at`. */
static bool index_at(Known *known, const AttrView *attr, Dim index, const int64_t *at, int64_t *out) {
    if (!sn_index_has_symbol(index)) {
        Status status = sn_dim_eval(index, NULL, at, out);
        sn_error_free(status);
        return !status;
    }
    Dim from[SN_MAX_RANK], to[SN_MAX_RANK];
    for (int k = 0; k < attr->rank; k++) {
        from[k] = sn_dim_axis(known->dims, k, attr->extent[k]);
        to[k] = sn_dim(known->dims, at[k]);
    }
    return sn_dim_is(sn_dim_replace(known->dims, index, from, to, attr->rank), out);
}

static bool all_equal(const Dim *dim, int64_t count) {
    for (int64_t i = 1; i < count; i++)
        if (dim[i] != dim[0]) return false;
    return count > 0;
}

static bool known_view(Known *known) {
    const AttrView *attr = known->node->attr;
    const Dim *input = known->node->input[0]->known;
    Shape source;
    shape_of(known->node->input[0]->type, &source);
    bool splat = all_equal(input, source.count);
    for (int64_t i = 0; i < known->shape.count; i++) {
        int64_t at[SN_MAX_RANK], index[SN_MAX_RANK] = {0};
        sn_index_split(known->shape.rank, known->shape.extent, i, at);
        for (int k = 0; k < source.rank && !splat; k++)
            if (!index_at(known, attr, attr->index[k], at, &index[k]) || index[k] < 0 ||
                index[k] >= source.extent[k])
                return false;
        known->out[i] = input[splat ? 0 : sn_index_join(source.rank, source.extent, index)];
    }
    return true;
}

static bool known_concat(Known *known) {
    int axis = ((const AttrAxis *)known->node->attr)->axis;
    int64_t begin = 0;
    for (int k = 0; k < known->node->input_count; k++) {
        Shape shape;
        shape_of(known->node->input[k]->type, &shape);
        for (int64_t i = 0; i < shape.count; i++) {
            int64_t index[SN_MAX_RANK] = {0};
            sn_index_split(shape.rank, shape.extent, i, index);
            index[axis] += begin;
            known->out[sn_index_join(shape.rank, known->shape.extent, index)] =
                known->node->input[k]->known[i];
        }
        begin += shape.extent[axis];
    }
    return true;
}

static bool known_pad(Known *known) {
    const AttrPad *attr = known->node->attr;
    Shape shape;
    Dim around;
    int64_t before[SN_MAX_RANK];
    shape_of(known->node->input[0]->type, &shape);
    for (int k = 0; k < attr->rank; k++)
        if (!sn_dim_is(attr->before[k], &before[k])) return false;
    if (!(attr->value > -0x1p63 && attr->value < 0x1p63)) return false;
    if (!constant_element(known, (int64_t)attr->value, &around)) return false;
    for (int64_t i = 0; i < known->shape.count; i++) known->out[i] = around;
    for (int64_t i = 0; i < shape.count; i++) {
        int64_t index[SN_MAX_RANK] = {0};
        sn_index_split(shape.rank, shape.extent, i, index);
        for (int k = 0; k < attr->rank; k++) index[k] += before[k];
        known->out[sn_index_join(shape.rank, known->shape.extent, index)] = known->node->input[0]->known[i];
    }
    return true;
}

/* Indices are constants in range, or it is left to the run to fault. */
static bool known_gather(Known *known) {
    int axis = ((const AttrAxis *)known->node->attr)->axis;
    Shape data, indices;
    shape_of(known->node->input[0]->type, &data);
    shape_of(known->node->input[1]->type, &indices);
    for (int64_t i = 0; i < known->shape.count; i++) {
        int64_t at[SN_MAX_RANK], index[SN_MAX_RANK] = {0}, chosen;
        sn_index_split(known->shape.rank, known->shape.extent, i, at);
        int64_t which = sn_index_join(indices.rank, indices.extent, at + axis);
        if (!sn_dim_is(known->node->input[1]->known[which], &chosen)) return false;
        if (chosen < 0) chosen += data.extent[axis];
        if (chosen < 0 || chosen >= data.extent[axis]) return false;
        for (int k = 0; k < axis; k++) index[k] = at[k];
        index[axis] = chosen;
        for (int k = axis + 1; k < data.rank; k++) index[k] = at[k + indices.rank - 1];
        known->out[i] = known->node->input[0]->known[sn_index_join(data.rank, data.extent, index)];
    }
    return true;
}

/* ---- reductions ---- */

static bool known_reduce(Known *known) {
    Shape source;
    shape_of(known->node->input[0]->type, &source);
    for (int64_t i = 0; i < source.count; i++) {
        int64_t index[SN_MAX_RANK] = {0};
        sn_index_split(source.rank, source.extent, i, index);
        int64_t at = sn_index_broadcast(source.rank, known->shape.extent, source.rank, index);
        Dim next = known->node->input[0]->known[i];
        if (!known->out[at])
            known->out[at] = next;
        else if (!combine(known, known->out[at], next, &known->out[at]))
            return false;
    }
    /* What nothing was added to is the reduction of an empty axis: too rare to know. */
    for (int64_t i = 0; i < known->shape.count; i++)
        if (!known->out[i]) return false;
    return true;
}

static bool known_cumsum(Known *known) {
    const AttrScan *attr = known->node->attr;
    const Dim *input = known->node->input[0]->known;
    int64_t length = known->shape.extent[attr->axis], stride = 1;
    for (int k = attr->axis + 1; k < known->shape.rank; k++) stride *= known->shape.extent[k];
    for (int64_t i = 0; i < known->shape.count; i++) {
        if (i / stride % length != 0) continue;
        Dim sum = sn_dim(known->dims, 0);
        for (int64_t step = 0; step < length; step++) {
            int64_t at = i + (attr->reverse ? length - 1 - step : step) * stride;
            if (attr->exclusive) known->out[at] = sum;
            if (!combine(known, sum, input[at], &sum)) return false;
            if (!attr->exclusive) known->out[at] = sum;
        }
    }
    return true;
}

static const KnownRule known_rule[SN_OP_COUNT] = {
    [SN_OP_CONSTANT] = known_constant,  [SN_OP_DIMS] = known_dims,         [SN_OP_IOTA] = known_iota,
    [SN_OP_CAST] = known_cast,          [SN_OP_NEG] = known_neg,           [SN_OP_ABS] = known_abs,
    [SN_OP_SIGN] = known_sign,          [SN_OP_NOT] = known_not,           [SN_OP_RELU] = known_relu,
    [SN_OP_WHERE] = known_where,        [SN_OP_VIEW] = known_view,         [SN_OP_CONCAT] = known_concat,
    [SN_OP_GATHER] = known_gather,      [SN_OP_ADD] = known_binary,        [SN_OP_SUB] = known_binary,
    [SN_OP_MUL] = known_binary,         [SN_OP_DIV] = known_binary,        [SN_OP_MOD] = known_binary,
    [SN_OP_FMOD] = known_binary,        [SN_OP_MIN] = known_binary,        [SN_OP_MAX] = known_binary,
    [SN_OP_EQUAL] = known_binary,       [SN_OP_LESS] = known_binary,       [SN_OP_LESS_EQUAL] = known_binary,
    [SN_OP_AND] = known_binary,         [SN_OP_OR] = known_binary,         [SN_OP_XOR] = known_binary,
    [SN_OP_REDUCE_SUM] = known_reduce,  [SN_OP_REDUCE_MAX] = known_reduce, [SN_OP_REDUCE_MIN] = known_reduce,
    [SN_OP_REDUCE_PROD] = known_reduce, [SN_OP_CUMSUM] = known_cumsum,     [SN_OP_PAD] = known_pad,
};

void sn_infer_known(Graph *graph, Node *node) {
    KnownRule rule = known_rule[node->op];
    Value *value = node->output[0];
    Known known = {.graph = graph, .dims = graph->dims, .node = node, .dtype = value->type.dtype};
    if (sn_dtype_is_float(known.dtype) || !shape_of(value->type, &known.shape)) return;
    bool of_floats = false, all_known = true;
    for (int k = 0; k < node->input_count; k++) {
        of_floats = of_floats || (node->input[k] && sn_dtype_is_float(node->input[k]->type.dtype));
        all_known = all_known && node->input[k] && node->input[k]->known;
    }
    bool from_float = of_floats && node->op == SN_OP_CAST;
    if (!of_floats && (!rule || !all_known)) return;
    known.out = SN_ARRAY(graph->arena, Dim, known.shape.count);
    bool found = rule && (all_known || from_float) && rule(&known);
    if (found || (of_floats && sn_infer_folded(graph, node, known.out))) value->known = known.out;
}

/* Pointwise operators, products and reductions. */
#include "import_minifloat.h"

#include <float.h>
#include <math.h>

/* ---- pointwise ---- */

/* The parameter is the operator. */
Value *sn_import_unary(Call *c) {
    return sn_build1(c->builder, (OpCode)c->row->parameter, NULL, c->input[0]);
}

Value *sn_import_binary(Call *c) {
    return sn_build2(c->builder, (OpCode)c->row->parameter, NULL, c->input[0], c->input[1]);
}

/* a > b is b < a. */
Value *sn_import_swapped(Call *c) {
    return sn_build2(c->builder, (OpCode)c->row->parameter, NULL, c->input[1], c->input[0]);
}

Value *sn_import_variadic(Call *c) {
    Value *value = c->input[0];
    for (int k = 1; k < c->input_count; k++)
        value = sn_build2(c->builder, (OpCode)c->row->parameter, NULL, value, c->input[k]);
    return value;
}

Value *sn_import_mean(Call *c) {
    Value *sum = sn_import_variadic(c);
    if (sn_call_failed(c)) return NULL;
    return sn_build2(c->builder, SN_OP_DIV, NULL, sum, sn_call_scalar(c, sum->type.dtype, c->input_count));
}

/* The result has the base's element type; an integer base with a float exponent is computed in the
 * exponent's. */
Value *sn_import_pow(Call *c) {
    DType base = c->input[0]->type.dtype, exponent = c->input[1]->type.dtype;
    bool widen = !sn_dtype_is_float(base) && sn_dtype_is_float(exponent);
    DType in = widen ? exponent : base;
    Value *power = sn_build2(c->builder, SN_OP_POW, NULL, sn_build_cast(c->builder, c->input[0], in),
                             sn_build_cast(c->builder, c->input[1], in));
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, power, base);
}

Value *sn_import_mod(Call *c) {
    bool truncated = sn_call_int(c, "fmod", 0) != 0;
    if (!truncated && sn_dtype_is_float(c->input[0]->type.dtype))
        return sn_call_invalid(c, "fmod is 0 for floats");
    return sn_build2(c->builder, truncated ? SN_OP_FMOD : SN_OP_MOD, NULL, c->input[0], c->input[1]);
}

static bool is_bound(double value) {
    return value > -INFINITY && value < INFINITY;
}

/* Before opset 11 the bounds are attributes, whose defaults are the lowest and highest f32. */
Value *sn_import_clip_attribute(Call *c) {
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    double low = sn_call_float(c, "min", (double)-FLT_MAX), high = sn_call_float(c, "max", (double)FLT_MAX);
    if (is_bound(low)) x = sn_build2(c->builder, SN_OP_MAX, NULL, x, sn_call_scalar(c, dtype, low));
    if (is_bound(high)) x = sn_build2(c->builder, SN_OP_MIN, NULL, x, sn_call_scalar(c, dtype, high));
    return x;
}

Value *sn_import_clip(Call *c) {
    Value *x = c->input[0];
    if (sn_call_input(c, 1)) x = sn_build2(c->builder, SN_OP_MAX, NULL, x, c->input[1]);
    if (sn_call_input(c, 2)) x = sn_build2(c->builder, SN_OP_MIN, NULL, x, c->input[2]);
    return x;
}

Value *sn_import_is_inf(Call *c) {
    bool negative = sn_call_int(c, "detect_negative", 1) != 0,
         positive = sn_call_int(c, "detect_positive", 1) != 0;
    Value *x = c->input[0], *found = sn_build1(c->builder, SN_OP_ISINF, NULL, x);
    if (negative && positive) return found;
    Value *zero = sn_call_scalar(c, x->type.dtype, 0);
    if (!positive && !negative) return sn_build2(c->builder, SN_OP_LESS, NULL, x, x);
    Value *sign = sn_build2(c->builder, SN_OP_LESS, NULL, negative ? x : zero, negative ? zero : x);
    return sn_build2(c->builder, SN_OP_AND, NULL, found, sign);
}

Value *sn_import_where(Call *c) {
    return sn_build3(c->builder, SN_OP_WHERE, NULL, c->input[0], c->input[1], c->input[2]);
}

/* ---- casts ---- */

/* What is left of an integer in so many bits: its lowest ones. */
static Value *wrapped(Call *c, Value *value, const Narrow *narrow) {
    Builder *b = c->builder;
    double shift = narrow->held == SN_I8 ? 1 << (narrow->bits - 1) : 0;
    Value *wide = sn_build2(b, SN_OP_ADD, NULL, as_type(c, value, SN_I32), sn_call_scalar(c, SN_I32, shift));
    wide = sn_build2(b, SN_OP_MOD, NULL, wide, sn_call_scalar(c, SN_I32, 1 << narrow->bits));
    wide = sn_build2(b, SN_OP_SUB, NULL, wide, sn_call_scalar(c, SN_I32, shift));
    return sn_call_failed(c) ? NULL : sn_build_cast(b, wide, narrow->held);
}

static Value *cast_to(Call *c, int64_t onnx, const Narrow *narrow) {
    DType to;
    Value *x = c->input[0];
    c->says = true, c->made = narrow;
    bool saturate = sn_call_int(c, "saturate", 1) != 0;
    const char *how = sn_call_string(c, "round_mode", "up"); /* of powers of two alone */
    if (narrow && c->narrow[0] == narrow) return x;
    if (is_minifloat(c->narrow[0])) x = sn_minifloat_open(c, x, c->narrow[0]);
    if (narrow && narrow->power) return sn_minifloat_power(c, x, how, saturate);
    if (is_minifloat(narrow)) return sn_minifloat_close(c, x, narrow, saturate);
    if (narrow) return wrapped(c, x, narrow);
    if (onnx < 0 || onnx > INT32_MAX || !sn_dtype_from_onnx((int)onnx, &to))
        return sn_call_unsupported(c, "element type %lld", (long long)onnx);
    return as_type(c, x, to);
}

Value *sn_import_cast(Call *c) {
    if (!sn_call_has(c, "to")) return sn_call_invalid(c, "attribute \"to\" is missing");
    int64_t to = sn_call_int(c, "to", 0);
    return cast_to(c, to, to < 0 || to > INT32_MAX ? NULL : sn_narrow((int)to));
}

Value *sn_import_cast_like(Call *c) {
    return cast_to(c, sn_dtype_onnx(c->input[1]->type.dtype), c->narrow[1]);
}

/* ---- products ---- */

static Value *scaled(Call *c, Value *value, double factor) {
    if (sn_call_failed(c) || factor == 1) return value;
    /* An integer that the factor's own type, f32, may have rounded is not taken either. */
    bool whole = factor == trunc(factor) && fabs(factor) < 0x1p24;
    if (!whole && !sn_dtype_is_float(value->type.dtype))
        return sn_call_unsupported(c, "integers times %g", factor);
    return sn_build2(c->builder, SN_OP_MUL, NULL, value, sn_call_scalar(c, value->type.dtype, factor));
}

Value *sn_import_gemm(Call *c) {
    double alpha = sn_call_float(c, "alpha", 1), beta = sn_call_float(c, "beta", 1);
    bool turn_a = sn_call_int(c, "transA", 0) != 0, turn_b = sn_call_int(c, "transB", 0) != 0;
    Value *a = c->input[0], *b = c->input[1], *bias = sn_call_input(c, 2);
    if (a->type.rank != 2 || b->type.rank != 2)
        return sn_call_invalid(c, "operands of rank %d and %d", a->type.rank, b->type.rank);
    if (bias && bias->type.rank > 2) return sn_call_invalid(c, "C has rank %d", bias->type.rank);
    if (turn_a) a = sn_call_swap(c, a, 0, 1);
    if (turn_b) b = sn_call_swap(c, b, 0, 1);
    Value *product = scaled(c, sn_build2(c->builder, SN_OP_MATMUL, NULL, a, b), alpha);
    if (!bias || beta == 0) return product;
    Value *sum = sn_build2(c->builder, SN_OP_ADD, NULL, product, scaled(c, bias, beta));
    /* C is spread over the product, never the product over C. */
    for (int k = 0; k < 2 && !sn_call_failed(c); k++)
        sn_call_latch(c, sn_graph_check(c->import->graph, SN_CHECK_EQUAL, sum->type.dim[k],
                                        product->type.dim[k], c->builder->origin));
    return sum;
}

/* ---- reductions ---- */

/* The axes of a reduction: all of them where none are given, unless that is to mean none. */
static const int64_t *reduced_axes(Call *c, int *count) {
    int rank = c->input[0]->type.rank, named;
    const int64_t *given = sn_call_list(c, "axes", 1, &named);
    bool none = sn_call_int(c, "noop_with_empty_axes", 0) != 0;
    *count = named;
    if (sn_call_failed(c)) return NULL;
    if (named > 0 || none) return sn_call_axes(c, given, named, rank);
    int64_t *all = SN_ARRAY(c->import->scratch, int64_t, rank);
    for (int k = 0; k < rank; k++) all[k] = k;
    *count = rank;
    return all;
}

static Value *reduce(Call *c, OpCode op, Value *value) {
    int count;
    const int64_t *axes = reduced_axes(c, &count);
    bool keep = sn_call_int(c, "keepdims", 1) != 0;
    return sn_call_reduce(c, op, value, count, axes, keep);
}

/* bool is ordered as 0 < 1, and has no sums. */
Value *sn_import_reduce(Call *c) {
    Value *x = c->input[0];
    bool ordered = c->row->parameter == SN_OP_REDUCE_MAX || c->row->parameter == SN_OP_REDUCE_MIN;
    bool boolean = x->type.dtype == SN_BOOL && ordered;
    if (boolean) x = sn_build_cast(c->builder, x, SN_U8);
    Value *reduced = reduce(c, (OpCode)c->row->parameter, x);
    return sn_call_failed(c) || !boolean ? reduced : sn_build_cast(c->builder, reduced, SN_BOOL);
}

Value *sn_import_reduce_l1(Call *c) {
    return reduce(c, SN_OP_REDUCE_SUM, sn_build1(c->builder, SN_OP_ABS, NULL, c->input[0]));
}

Value *sn_import_reduce_sum_square(Call *c) {
    return reduce(c, SN_OP_REDUCE_SUM, sn_build2(c->builder, SN_OP_MUL, NULL, c->input[0], c->input[0]));
}

Value *sn_import_reduce_l2(Call *c) {
    return sn_build1(c->builder, SN_OP_SQRT, NULL, sn_import_reduce_sum_square(c));
}

Value *sn_import_reduce_log_sum(Call *c) {
    return sn_build1(c->builder, SN_OP_LOG, NULL, reduce(c, SN_OP_REDUCE_SUM, c->input[0]));
}

/* The maximum is taken out so that nothing overflows: m + log Σ exp(x - m). An infinite m is left in. */
Value *sn_import_reduce_log_sum_exp(Call *c) {
    Builder *b = c->builder;
    int count;
    const int64_t *axes = reduced_axes(c, &count);
    bool keep = sn_call_int(c, "keepdims", 1) != 0;
    Value *x = c->input[0], *top = sn_call_reduce(c, SN_OP_REDUCE_MAX, x, count, axes, true);
    Value *infinite = sn_build1(b, SN_OP_ISINF, NULL, top);
    top = sn_build3(b, SN_OP_WHERE, NULL, infinite, sn_call_scalar(c, x->type.dtype, 0), top);
    Value *power = sn_build1(b, SN_OP_EXP, NULL, sn_build2(b, SN_OP_SUB, NULL, x, top));
    Value *sum = sn_call_reduce(c, SN_OP_REDUCE_SUM, power, count, axes, true);
    Value *result = sn_build2(b, SN_OP_ADD, NULL, sn_build1(b, SN_OP_LOG, NULL, sum), top);
    if (keep || sn_call_failed(c)) return result;
    Dim extent[SN_MAX_RANK];
    int rank = 0;
    for (int k = 0, next = 0; k < x->type.rank; k++) {
        if (next < count && axes[next] == k)
            next++;
        else
            extent[rank++] = result->type.dim[k];
    }
    return sn_build_reshape(b, result, rank, extent);
}

/* Where x is the row's extreme; a NaN is, as numpy has it. */
static Value *is_extreme(Call *c, Value *x, Value *extreme) {
    Value *hit = sn_build2(c->builder, SN_OP_EQUAL, NULL, x, extreme);
    if (!sn_dtype_is_float(x->type.dtype)) return hit;
    return sn_build2(c->builder, SN_OP_OR, NULL, hit, sn_build1(c->builder, SN_OP_ISNAN, NULL, x));
}

/* The first index (or the last) that has the extreme: the least of the indices where it is. */
Value *sn_import_arg(Call *c) {
    Builder *b = c->builder;
    Value *x = c->input[0];
    int64_t length;
    int rank = x->type.rank, axis = sn_call_axis(c, sn_call_int(c, "axis", 0), rank);
    bool last = sn_call_int(c, "select_last_index", 0) != 0;
    if (sn_call_failed(c)) return NULL;
    if (sn_dim_is(x->type.dim[axis], &length) && length == 0)
        return sn_call_invalid(c, "an axis of no elements");
    const int64_t axes[1] = {axis};
    Value *extreme = sn_call_reduce(c, (OpCode)c->row->parameter, x, 1, axes, true);
    Value *hit = sn_call_failed(c) ? NULL : is_extreme(c, x, extreme);
    Value *index = sn_build_positions(b, SN_I64, x->type.dim[axis], rank - axis - 1);
    Value *none = last ? sn_call_scalar(c, SN_I64, -1) : sn_build_dims(b, 1, &x->type.dim[axis], true);
    Value *found = sn_build3(b, SN_OP_WHERE, NULL, hit, index, none);
    if (sn_call_failed(c)) return NULL;
    return sn_call_reduce(c, last ? SN_OP_REDUCE_MAX : SN_OP_REDUCE_MIN, found, 1, axes,
                          sn_call_int(c, "keepdims", 1) != 0);
}

Value *sn_import_cumsum(Call *c) {
    int count;
    const int64_t *axis = sn_call_constants(c, c->input[1], "axis", &count);
    AttrScan attr = {.exclusive = sn_call_int(c, "exclusive", 0) != 0,
                     .reverse = sn_call_int(c, "reverse", 0) != 0};
    if (!axis) return NULL;
    if (count != 1) return sn_call_invalid(c, "%d axes", count);
    attr.axis = sn_call_axis(c, axis[0], c->input[0]->type.rank);
    return sn_build1(c->builder, SN_OP_CUMSUM, &attr, c->input[0]);
}

/* Norms over axes and neighbourhoods, cumulated products, and other rules of a few lines. */
#include "import_compose.h"

#include <math.h>
#include <string.h>

static Value *power(Call *c, Value *x, double exponent) {
    if (exponent == 1) return x;
    return exponent == 2 ? op2(c, SN_OP_MUL, x, x) : op_number(c, SN_OP_POW, x, exponent);
}

/* ---- pointwise ---- */

Value *sn_import_shrink(Call *c) {
    double lambda = sn_call_float(c, "lambd", 0.5), bias = sn_call_float(c, "bias", 0);
    Value *x = c->input[0];
    if (!sn_dtype_is_float(x->type.dtype)) return sn_call_unsupported(c, "integers");
    Value *above = choose(c, op2(c, SN_OP_LESS, sn_call_scalar(c, x->type.dtype, lambda), x),
                          op_number(c, SN_OP_SUB, x, bias), sn_call_scalar(c, x->type.dtype, 0));
    return choose(c, op_number(c, SN_OP_LESS, x, -lambda), op_number(c, SN_OP_ADD, x, bias), above);
}

/* Products and quotients by powers of two; nothing is left of what is shifted by all its bits. */
Value *sn_import_bit_shift(Call *c) {
    Value *x = c->input[0], *by = c->input[1];
    const char *direction = sn_call_string(c, "direction", "");
    DType dtype = x->type.dtype;
    bool left = strcmp(direction, "LEFT") == 0;
    if (!left && strcmp(direction, "RIGHT") != 0) sn_call_invalid(c, "direction is \"%.16s\"", direction);
    if (!sn_dtype_is_int(dtype) || sn_dtype_is_signed(dtype)) sn_call_invalid(c, "numbers with a sign");
    if (sn_call_failed(c)) return NULL;
    int bits = 8 * sn_dtype_bytes(dtype);
    Value *two = sn_call_scalar(c, dtype, 2), *few = op_number(c, SN_OP_MIN, by, bits - 1);
    Value *factor = op2(c, SN_OP_POW, two, few);
    return choose(c, op_number(c, SN_OP_LESS, by, bits), op2(c, left ? SN_OP_MUL : SN_OP_DIV, x, factor),
                  sn_call_scalar(c, dtype, 0));
}

/* ---- over an axis ---- */

/* 1 at the first of the largest elements, 0 elsewhere. */
static Value *hardmax(Call *c, Value *x, int axis) {
    if (sn_call_failed(c)) return NULL;
    Dim extent = x->type.dim[axis];
    Value *at = count_up(c, SN_I64, extent, x->type.rank - axis - 1);
    Value *hit = op2(c, SN_OP_EQUAL, x, reduce_axis(c, SN_OP_REDUCE_MAX, x, axis, true));
    Value *found = choose(c, hit, at, size_number(c, extent, SN_I64));
    Value *first = reduce_axis(c, SN_OP_REDUCE_MIN, found, axis, true);
    return as_type(c, op2(c, SN_OP_EQUAL, at, first), x->type.dtype);
}

Value *sn_import_hardmax(Call *c) {
    Type type = c->input[0]->type;
    return hardmax(c, c->input[0], sn_call_axis(c, sn_call_int(c, "axis", -1), type.rank));
}

/* Before opset 13 all axes from `axis` on are one. */
Value *sn_import_hardmax_flat(Call *c) {
    Type type = c->input[0]->type;
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 1), type.rank);
    Dim extent[2] = {sn_dim(c->dims, 1), sn_dim(c->dims, 1)};
    for (int k = 0; k < type.rank; k++)
        extent[k >= axis] = sn_dim_mul(c->dims, extent[k >= axis], type.dim[k]);
    return reshaped(c, hardmax(c, reshaped(c, c->input[0], 2, extent), 1), type.rank, type.dim);
}

/* Nothing is left of a vector of norm 0. */
Value *sn_import_lp_normalization(Call *c) {
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    int axis = sn_call_axis(c, sn_call_int(c, "axis", -1), x->type.rank);
    int64_t p = sn_call_int(c, "p", 2);
    if (p != 1 && p != 2) return sn_call_invalid(c, "p is %lld", (long long)p);
    x = as_type(c, x, wide_type(dtype));
    Value *norm = reduce_axis(c, SN_OP_REDUCE_SUM, power(c, op1(c, SN_OP_ABS, x), (double)p), axis, true);
    if (p == 2) norm = op1(c, SN_OP_SQRT, norm);
    Value *zero = op_number(c, SN_OP_MUL, norm, 0), *none = op_number(c, SN_OP_EQUAL, norm, 0);
    return as_type(c, choose(c, none, zero, op2(c, SN_OP_DIV, x, norm)), dtype);
}

/* (x - mean)/(standard deviation + 1e-9) */
Value *sn_import_mean_variance(Call *c) {
    static const int64_t usual[] = {0, 2, 3};
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    int count;
    const int64_t *given = sn_call_int_list(c, "axes", &count);
    const int64_t *axes = sn_call_axes(c, given ? given : usual, given ? count : 3, x->type.rank);
    if (sn_call_failed(c)) return NULL;
    if (!given) count = 3;
    x = as_type(c, x, wide_type(dtype));
    Value *apart = op2(c, SN_OP_SUB, x, sn_call_reduce(c, SN_OP_REDUCE_MEAN, x, count, axes, true));
    Value *variance = sn_call_reduce(c, SN_OP_REDUCE_MEAN, power(c, apart, 2), count, axes, true);
    Value *deviation = op_number(c, SN_OP_ADD, op1(c, SN_OP_SQRT, variance), 1e-9);
    return as_type(c, op2(c, SN_OP_DIV, apart, deviation), dtype);
}

/* Element i is the product of those up to it (or from it on), with or without itself: a comparison for every pair. */
Value *sn_import_cumprod(Call *c) {
    Value *x = c->input[0];
    bool exclusive = sn_call_int(c, "exclusive", 0) != 0, reverse = sn_call_int(c, "reverse", 0) != 0;
    int count;
    const int64_t *given = sn_call_constants(c, c->input[1], "axis", &count);
    if (sn_call_failed(c)) return NULL;
    if (count != 1) return sn_call_invalid(c, "%d axes", count);
    int axis = sn_call_axis(c, given[0], x->type.rank), rank = x->type.rank;
    if (sn_call_failed(c)) return NULL;
    DType dtype = x->type.dtype, wide = sn_dtype_is_float(dtype) ? wide_type(dtype) : dtype;
    Dim extent = x->type.dim[axis];
    Value *i = count_up(c, SN_I64, extent, rank - axis), *j = count_up(c, SN_I64, extent, rank - axis - 1);
    OpCode before = exclusive ? SN_OP_LESS : SN_OP_LESS_EQUAL;
    Value *taken = op2(c, before, reverse ? i : j, reverse ? j : i);
    Value *factors = sn_call_unsqueeze(c, as_type(c, x, wide), axis, 1);
    Value *each = choose(c, taken, factors, sn_call_scalar(c, wide, 1));
    return as_type(c, reduce_axis(c, SN_OP_REDUCE_PROD, each, axis + 1, false), dtype);
}

/* ---- over neighbouring channels ---- */

/* [N, C, size, …]: the elements of x [N, C, …] around each channel, zeros beyond the first and the last one. */
static Value *channels_around(Call *c, Value *x, int64_t size) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank;
    Dim before[SN_MAX_RANK], after[SN_MAX_RANK], extent[SN_MAX_RANK], index[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) {
        before[k] = sn_dim(c->dims, k == 1 ? (size - 1) / 2 : 0);
        after[k] = sn_dim(c->dims, k == 1 ? size / 2 : 0);
        extent[k + (k > 1)] = x->type.dim[k];
    }
    extent[2] = sn_dim(c->dims, size);
    const Dim *at = sn_view_axes(c->dims, c->import->graph->arena, rank + 1, extent);
    for (int k = 0; k < rank; k++) index[k] = at[k + (k > 1)];
    index[1] = sn_dim_add(c->dims, at[1], at[2]);
    x = sn_build1(c->builder, SN_OP_PAD, &(AttrPad){rank, before, after, 0}, x);
    return sn_build1(c->builder, SN_OP_VIEW, &(AttrView){rank + 1, extent, rank, index}, x);
}

Value *sn_import_lrn(Call *c) {
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    int64_t size = sn_call_int(c, "size", 0);
    double alpha = sn_call_float(c, "alpha", 0.0001), beta = sn_call_float(c, "beta", 0.75);
    double bias = sn_call_float(c, "bias", 1);
    if (size < 1 || size > INT16_MAX) return sn_call_invalid(c, "size is %lld", (long long)size);
    if (x->type.rank < 2) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    if (x->type.rank == SN_MAX_RANK) return sn_call_unsupported(c, "rank %d", SN_MAX_RANK);
    x = as_type(c, x, wide_type(dtype));
    Value *sum = reduce_axis(c, SN_OP_REDUCE_SUM, channels_around(c, power(c, x, 2), size), 2, false);
    Value *scale = op_number(c, SN_OP_ADD, op_number(c, SN_OP_MUL, sum, alpha / (double)size), bias);
    return as_type(c, op2(c, SN_OP_DIV, x, power(c, scale, beta)), dtype);
}

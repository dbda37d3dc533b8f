/* Row operators: everything that reduces and uses the result on the row again. */
#include "expand.h"

static Value *reduce(Builder *b, OpCode op, Value *x, int first, int last) {
    int64_t *axes = SN_ARRAY(b->graph->arena, int64_t, last - first);
    for (int i = 0; i < last - first; i++) axes[i] = first + i;
    AttrReduce attr = {last - first, axes};
    return sn_build1(b, op, &attr, x);
}

/* The product of the extents of the reduced axes, as a scalar of `dtype`. */
static Value *reduced_count(Builder *b, const Value *x, const AttrReduce *attr, DType dtype) {
    Dims *dims = b->graph->dims;
    Dim count = sn_dim(dims, 1);
    for (int k = 0; k < attr->count; k++) count = sn_dim_mul(dims, count, x->type.dim[attr->axes[k]]);
    int64_t value;
    if (sn_dim_is(count, &value)) return sn_build_scalar(b, dtype, (double)value);
    return sn_build_cast(b, sn_build_dims(b, 1, &count, true), dtype);
}

Value *sn_expand_reduce_mean(Builder *b, Node *node) {
    const AttrReduce *attr = node->attr;
    DType dtype = node->input[0]->type.dtype;
    Value *x = sn_build_cast(b, node->input[0], accumulator_dtype(dtype));
    if (!x) return NULL;
    Value *sum = sn_build1(b, SN_OP_REDUCE_SUM, attr, x);
    return sn_build_cast(b, op2(b, SN_OP_DIV, sum, reduced_count(b, x, attr, x->type.dtype)), dtype);
}

/* The maximum is subtracted so that no exponential overflows. */
Value *sn_expand_softmax(Builder *b, Node *node) {
    const AttrAxis *attr = node->attr;
    DType dtype = node->input[0]->type.dtype;
    Value *x = sn_build_cast(b, node->input[0], accumulator_dtype(dtype));
    Value *top = reduce(b, SN_OP_REDUCE_MAX, x, attr->axis, attr->axis + 1);
    Value *e = op1(b, SN_OP_EXP, op2(b, SN_OP_SUB, x, top));
    Value *sum = reduce(b, SN_OP_REDUCE_SUM, e, attr->axis, attr->axis + 1);
    return sn_build_cast(b, op2(b, SN_OP_MUL, e, op1(b, SN_OP_RECIPROCAL, sum)), dtype);
}

Value *sn_expand_log_softmax(Builder *b, Node *node) {
    const AttrAxis *attr = node->attr;
    DType dtype = node->input[0]->type.dtype;
    Value *x = sn_build_cast(b, node->input[0], accumulator_dtype(dtype));
    Value *shifted = op2(b, SN_OP_SUB, x, reduce(b, SN_OP_REDUCE_MAX, x, attr->axis, attr->axis + 1));
    Value *sum = reduce(b, SN_OP_REDUCE_SUM, op1(b, SN_OP_EXP, shifted), attr->axis, attr->axis + 1);
    return sn_build_cast(b, op2(b, SN_OP_SUB, shifted, op1(b, SN_OP_LOG, sum)), dtype);
}

/* 1/√(mean(x²) + epsilon) over the axes from `axis` on. */
static Value *inverse_deviation(Builder *b, Value *x, const AttrNorm *attr) {
    if (!x) return NULL;
    Value *square = reduce(b, SN_OP_REDUCE_MEAN, op2(b, SN_OP_MUL, x, x), attr->axis, x->type.rank);
    return op1(b, SN_OP_RSQRT, op_scalar(b, SN_OP_ADD, square, attr->epsilon));
}

Value *sn_expand_layer_norm(Builder *b, Node *node) {
    const AttrNorm *attr = node->attr;
    DType dtype = node->input[0]->type.dtype, wide = accumulator_dtype(dtype);
    Value *x = sn_build_cast(b, node->input[0], wide);
    if (!x) return NULL;
    Value *centred = op2(b, SN_OP_SUB, x, reduce(b, SN_OP_REDUCE_MEAN, x, attr->axis, x->type.rank));
    Value *y = op2(b, SN_OP_MUL, centred, inverse_deviation(b, centred, attr));
    y = op2(b, SN_OP_MUL, y, sn_build_cast(b, node->input[1], wide));
    Value *bias = node->input_count > 2 ? node->input[2] : NULL;
    if (bias) y = op2(b, SN_OP_ADD, y, sn_build_cast(b, bias, wide));
    return sn_build_cast(b, y, dtype);
}

/* Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019). */
Value *sn_expand_rms_norm(Builder *b, Node *node) {
    const AttrNorm *attr = node->attr;
    DType dtype = node->input[0]->type.dtype, wide = accumulator_dtype(dtype);
    Value *x = sn_build_cast(b, node->input[0], wide);
    Value *y = op2(b, SN_OP_MUL, x, inverse_deviation(b, x, attr));
    y = op2(b, SN_OP_MUL, y, sn_build_cast(b, node->input[1], wide));
    return sn_build_cast(b, y, dtype);
}

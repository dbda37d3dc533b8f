/* Identities of arithmetic, as rows {operator, rule}. All keep the value exactly, but for the sign of a zero
 * and for roots of minus infinity, which as powers of 1/2 are infinite and as roots NaN. A third power rounds
 * once more. */
#include "simplify_internal.h"

#include <math.h>
#include <stdlib.h>

/* The splat value of operand k, or NaN. */
static double splat(const Node *node, int k) {
    double value;
    return sn_value_is_splat(node->input[k], &value) ? value : NAN;
}

/* Operand k, when it already has the shape of the result. */
static Value *operand(const Node *node, int k) {
    return sn_type_same_shape(node->input[k]->type, node->output[0]->type) ? node->input[k] : NULL;
}

static Value *add_zero(Builder *b, Node *node) {
    (void)b;
    if (splat(node, 1) == 0) return operand(node, 0);
    return splat(node, 0) == 0 ? operand(node, 1) : NULL;
}

static Value *subtract_zero(Builder *b, Node *node) {
    (void)b;
    return splat(node, 1) == 0 ? operand(node, 0) : NULL;
}

static Value *multiply_one(Builder *b, Node *node) {
    (void)b;
    if (splat(node, 1) == 1) return operand(node, 0);
    return splat(node, 0) == 1 ? operand(node, 1) : NULL;
}

/* `number` in the dtype and shape of `value`, as the stage may ask for. */
static Value *number_like(Builder *b, const Value *value, double number) {
    Value *scalar = sn_build_scalar(b, value->type.dtype, number);
    return scalar ? sn_build_expand(b, scalar, value->type.rank, value->type.dim) : NULL;
}

/* x / 2ⁿ = x · 2⁻ⁿ exactly; 1 / x is a reciprocal. */
static Value *divide(Builder *b, Node *node) {
    double divisor = splat(node, 1);
    DType dtype = node->output[0]->type.dtype;
    if (divisor == 1) return operand(node, 0);
    if (!sn_dtype_is_float(dtype)) return NULL;
    if (splat(node, 0) == 1 && operand(node, 1)) return sn_build1(b, SN_OP_RECIPROCAL, NULL, node->input[1]);
    int exponent;
    if (!isfinite(divisor) || fabs(frexp(divisor, &exponent)) != 0.5 || abs(exponent) > 14) return NULL;
    return sn_build2(b, SN_OP_MUL, NULL, node->input[0], number_like(b, node->input[1], 1 / divisor));
}

static Value *power(Builder *b, Node *node) {
    double exponent = splat(node, 1);
    Value *x = operand(node, 0);
    if (!x) return NULL;
    if (exponent == 1) return x;
    if (exponent == 2) return sn_build2(b, SN_OP_MUL, NULL, x, x);
    if (exponent == 3) return sn_build2(b, SN_OP_MUL, NULL, sn_build2(b, SN_OP_MUL, NULL, x, x), x);
    if (exponent == 0.5 && sn_dtype_is_float(x->type.dtype)) return sn_build1(b, SN_OP_SQRT, NULL, x);
    if (exponent == -0.5 && sn_dtype_is_float(x->type.dtype)) return sn_build1(b, SN_OP_RSQRT, NULL, x);
    return NULL;
}

static Value *reciprocal(Builder *b, Node *node) {
    const Node *inner = node->input[0]->producer;
    if (!inner || inner->op != SN_OP_SQRT) return NULL;
    return sn_build1(b, SN_OP_RSQRT, NULL, inner->input[0]);
}

static Value *negate(Builder *b, Node *node) {
    (void)b;
    const Node *inner = node->input[0]->producer;
    return inner && inner->op == node->op ? inner->input[0] : NULL; /* −(−x), not not x */
}

static Value *select_value(Builder *b, Node *node) {
    (void)b;
    double condition = splat(node, 0);
    if (condition == 1) return operand(node, 1);
    return condition == 0 ? operand(node, 2) : NULL;
}

static Value *conjunction(Builder *b, Node *node) {
    (void)b;
    if (splat(node, 1) == 1) return operand(node, 0);
    return splat(node, 0) == 1 ? operand(node, 1) : NULL;
}

/* Where nothing is dropped. */
static Value *dropout(Builder *b, Node *node) {
    (void)b;
    const AttrDropout *attr = node->attr;
    return attr->number || attr->always ? NULL : node->input[0];
}

/* Every value of `from` is one of `to`. */
static bool widens(DType from, DType to) {
    if (from == to) return true;
    if (sn_dtype_is_float(from)) {
        if (!sn_dtype_is_float(to)) return false;
        bool narrow_pair = sn_dtype_bytes(from) == 2 && sn_dtype_bytes(to) == 2;
        return !narrow_pair && sn_dtype_bytes(to) >= sn_dtype_bytes(from);
    }
    if (from == SN_BOOL) return true;
    if (sn_dtype_is_float(to)) return sn_dtype_bytes(to) > sn_dtype_bytes(from) && sn_dtype_bytes(to) >= 4;
    if (to == SN_BOOL) return false;
    if (sn_dtype_is_signed(from)) return sn_dtype_is_signed(to) && sn_dtype_bytes(to) >= sn_dtype_bytes(from);
    return sn_dtype_bytes(to) > sn_dtype_bytes(from) ||
           (!sn_dtype_is_signed(to) && sn_dtype_bytes(to) == sn_dtype_bytes(from));
}

/* A cast to the type it has; and x → wider → t, which is x → t. */
static Value *cast(Builder *b, Node *node) {
    const AttrCast *attr = node->attr;
    Value *x = node->input[0];
    if (x->type.dtype == attr->to) return x;
    const Node *inner = x->producer;
    if (!inner || inner->op != SN_OP_CAST) return NULL;
    DType from = inner->input[0]->type.dtype;
    /* An integer that does not fit wraps when it comes from an integer, and is a fault from a float. */
    bool wraps = sn_dtype_is_int(from) && sn_dtype_is_float(x->type.dtype) && sn_dtype_is_int(attr->to);
    if (!widens(from, x->type.dtype) || (wraps && !widens(from, attr->to))) return NULL;
    if (from != attr->to) return sn_build1(b, SN_OP_CAST, attr, inner->input[0]);
    /* What autocast made narrow may be wider yet in a kernel, and a cast of the model's rounds it. */
    bool rounds = !attr->elidable && ((const AttrCast *)inner->attr)->elidable;
    return rounds ? NULL : inner->input[0];
}

static const struct {
    OpCode op;
    Value *(*rule)(Builder *, Node *);
} rows[] = {
    {SN_OP_ADD, add_zero},    {SN_OP_SUB, subtract_zero}, {SN_OP_MUL, multiply_one},
    {SN_OP_DIV, divide},      {SN_OP_POW, power},         {SN_OP_RECIPROCAL, reciprocal},
    {SN_OP_NEG, negate},      {SN_OP_NOT, negate},        {SN_OP_WHERE, select_value},
    {SN_OP_AND, conjunction}, {SN_OP_CAST, cast},         {SN_OP_DROPOUT, dropout},
};

Value *sn_algebra(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (rows[r].op != node->op) continue;
        Value *value = rows[r].rule(b, node);
        if (value || b->status) return value;
    }
    return NULL;
}

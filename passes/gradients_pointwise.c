/* Arithmetic. Composites of narrow floats compute in f32, as their expansions do. */
#include "gradients.h"

#include <math.h>

static Value *widened(Grad *g, Value *x) {
    return sn_build_cast(&g->b, x, accumulator_dtype(x->type.dtype));
}

/* ---- one operand ---- */

/* What was dropped comes from the state again, as the number of the run is the same. */
void sn_gradient_dropout(Grad *g, Node *node, Value *dy) {
    Value *input[2] = {dy, node->input_count > 1 ? node->input[1] : NULL};
    sn_gradient_give(g, node, 0, sn_build(&g->b, SN_OP_DROPOUT, node->attr, input[1] ? 2 : 1, input));
}

void sn_gradient_cast(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, dy); /* which casts */
}

void sn_gradient_neg(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op1(&g->b, SN_OP_NEG, dy));
}

void sn_gradient_abs(Grad *g, Node *node, Value *dy) {
    Value *sign = op1(&g->b, SN_OP_SIGN, node->input[0]);
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, dy, sign));
}

/* dy / (2·y) */
void sn_gradient_sqrt(Grad *g, Node *node, Value *dy) {
    Value *twice = op_scalar(&g->b, SN_OP_MUL, node->output[0], 2);
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_DIV, dy, twice));
}

/* −dy·y³/2 */
void sn_gradient_rsqrt(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *y = node->output[0];
    Value *cube = op2(b, SN_OP_MUL, op2(b, SN_OP_MUL, y, y), y);
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, dy, op_scalar(b, SN_OP_MUL, cube, -0.5)));
}

/* −dy·y² */
void sn_gradient_reciprocal(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *square = op2(b, SN_OP_MUL, node->output[0], node->output[0]);
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, dy, op1(b, SN_OP_NEG, square)));
}

void sn_gradient_exp(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, dy, node->output[0]));
}

void sn_gradient_log(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_DIV, dy, node->input[0]));
}

void sn_gradient_sin(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, dy, op1(&g->b, SN_OP_COS, node->input[0])));
}

void sn_gradient_cos(Grad *g, Node *node, Value *dy) {
    Value *sine = op1(&g->b, SN_OP_SIN, node->input[0]);
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, dy, op1(&g->b, SN_OP_NEG, sine)));
}

/* 1 − y² as (1 − y)·(1 + y), which keeps its digits near 1. */
void sn_gradient_tanh(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *y = node->output[0], *one = sn_build_scalar(b, y->type.dtype, 1);
    Value *slope = op2(b, SN_OP_MUL, op2(b, SN_OP_SUB, one, y), op2(b, SN_OP_ADD, one, y));
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, dy, slope));
}

/* 2/√π·exp(−x²) */
void sn_gradient_erf(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *x = node->input[0];
    Value *bell = op1(b, SN_OP_EXP, op1(b, SN_OP_NEG, op2(b, SN_OP_MUL, x, x)));
    Value *slope = op_scalar(b, SN_OP_MUL, bell, 2 / sqrt(acos(-1)));
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, dy, slope));
}

/* y·(1 − y) */
static Value *logistic_slope(Builder *b, Value *y) {
    if (!y) return NULL;
    return op2(b, SN_OP_MUL, y, op2(b, SN_OP_SUB, sn_build_scalar(b, y->type.dtype, 1), y));
}

void sn_gradient_sigmoid(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, dy, logistic_slope(&g->b, node->output[0])));
}

/* `value` where `condition` holds, 0 elsewhere */
static Value *only_where(Builder *b, Value *condition, Value *value) {
    if (!value) return NULL;
    return sn_build3(b, SN_OP_WHERE, NULL, condition, value, sn_build_scalar(b, value->type.dtype, 0));
}

void sn_gradient_relu(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *zero = sn_build_scalar(b, node->output[0]->type.dtype, 0);
    Value *positive = op2(b, SN_OP_LESS, zero, node->output[0]);
    sn_gradient_give(g, node, 0, only_where(b, positive, dy));
}

/* Φ(x) + x·φ(x), Φ and φ of the normal distribution */
static Value *gelu_slope(Builder *b, Value *x) {
    Value *inner = op1(b, SN_OP_ERF, op_scalar(b, SN_OP_MUL, x, sqrt(0.5)));
    Value *share = op_scalar(b, SN_OP_ADD, op_scalar(b, SN_OP_MUL, inner, 0.5), 0.5);
    Value *bell = op1(b, SN_OP_EXP, op_scalar(b, SN_OP_MUL, op2(b, SN_OP_MUL, x, x), -0.5));
    Value *density = op_scalar(b, SN_OP_MUL, bell, 1 / sqrt(2 * acos(-1)));
    return op2(b, SN_OP_ADD, share, op2(b, SN_OP_MUL, x, density));
}

/* y = x·s with s the logistic function of w(x) = x·(c + 0.044715·c·x²), c = 2√(2/π): dy/dx = s + x·s·(1 − s)·w',
 * w' = c + 3·0.044715·c·x² */
static Value *gelu_tanh_slope(Builder *b, Value *x) {
    double slope = 2 * sqrt(2 / acos(-1));
    Value *square = op2(b, SN_OP_MUL, x, x);
    Value *ratio = op_scalar(b, SN_OP_ADD, op_scalar(b, SN_OP_MUL, square, 0.044715 * slope), slope);
    Value *s = op1(b, SN_OP_SIGMOID, op2(b, SN_OP_MUL, x, ratio));
    Value *w = op_scalar(b, SN_OP_ADD, op_scalar(b, SN_OP_MUL, square, 3 * 0.044715 * slope), slope);
    return op2(b, SN_OP_ADD, s, op2(b, SN_OP_MUL, op2(b, SN_OP_MUL, x, logistic_slope(b, s)), w));
}

void sn_gradient_gelu(Grad *g, Node *node, Value *dy) {
    Value *x = widened(g, node->input[0]);
    Value *slope = ((const AttrGelu *)node->attr)->tanh ? gelu_tanh_slope(&g->b, x) : gelu_slope(&g->b, x);
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, widened(g, dy), slope));
}

/* s·(1 + α·x·(1 − s)), s the logistic function of α·x */
void sn_gradient_silu(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    double alpha = ((const AttrAlpha *)node->attr)->alpha;
    Value *x = widened(g, node->input[0]), *u = alpha == 1 ? x : op_scalar(b, SN_OP_MUL, x, alpha);
    Value *s = op1(b, SN_OP_SIGMOID, u);
    Value *slope = op2(b, SN_OP_ADD, s, op2(b, SN_OP_MUL, u, logistic_slope(b, s)));
    sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, widened(g, dy), slope));
}

void sn_gradient_softplus(Grad *g, Node *node, Value *dy) {
    Value *slope = op1(&g->b, SN_OP_SIGMOID, widened(g, node->input[0]));
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, widened(g, dy), slope));
}

/* ---- two and three operands ---- */

void sn_gradient_add(Grad *g, Node *node, Value *dy) {
    for (int k = 0; k < 2; k++) sn_gradient_give(g, node, k, dy);
}

void sn_gradient_sub(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, dy);
    if (sn_gradient_wanted(g, node, 1)) sn_gradient_give(g, node, 1, op1(&g->b, SN_OP_NEG, dy));
}

void sn_gradient_mul(Grad *g, Node *node, Value *dy) {
    for (int k = 0; k < 2; k++)
        if (sn_gradient_wanted(g, node, k))
            sn_gradient_give(g, node, k, op2(&g->b, SN_OP_MUL, dy, node->input[1 - k]));
}

/* dy / x1 and −dy·y / x1 */
void sn_gradient_div(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *first = op2(b, SN_OP_DIV, dy, node->input[1]);
    sn_gradient_give(g, node, 0, first);
    if (!sn_gradient_wanted(g, node, 1)) return;
    sn_gradient_give(g, node, 1, op1(b, SN_OP_NEG, op2(b, SN_OP_MUL, first, node->output[0])));
}

/* dy·x1·x0^(x1 − 1) and dy·y·log x0; where x0 is 0 the latter is 0. An exponent of 0 gives no 0·∞. */
void sn_gradient_pow(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *x = node->input[0], *e = node->input[1], *y = node->output[0];
    if (!sn_dtype_is_float(x->type.dtype)) {
        sn_gradient_fail(g, node, "unsupported for an integer base");
        return;
    }
    e = sn_build_cast(b, e, x->type.dtype);
    Value *zero = sn_build_scalar(b, x->type.dtype, 0);
    if (sn_gradient_wanted(g, node, 0)) {
        Value *power = op2(b, SN_OP_POW, x, op_scalar(b, SN_OP_SUB, e, 1));
        Value *slope = op2(b, SN_OP_MUL, e, power);
        slope = sn_build3(b, SN_OP_WHERE, NULL, op2(b, SN_OP_EQUAL, e, zero), zero, slope);
        sn_gradient_give(g, node, 0, op2(b, SN_OP_MUL, dy, slope));
    }
    if (!sn_gradient_wanted(g, node, 1)) return;
    Value *slope = op2(b, SN_OP_MUL, y, op1(b, SN_OP_LOG, x));
    slope = sn_build3(b, SN_OP_WHERE, NULL, op2(b, SN_OP_EQUAL, x, zero), zero, slope);
    sn_gradient_give(g, node, 1, op2(b, SN_OP_MUL, dy, slope));
}

/* x0 − x1·trunc(x0 / x1): dy, and −dy·trunc(x0 / x1) = −dy·(x0 − y) / x1, rounded to the integer that it is */
void sn_gradient_fmod(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    sn_gradient_give(g, node, 0, dy);
    if (!sn_gradient_wanted(g, node, 1)) return;
    Value *whole = op2(b, SN_OP_SUB, node->input[0], node->output[0]);
    Value *times = op1(b, SN_OP_ROUND, op2(b, SN_OP_DIV, whole, node->input[1]));
    sn_gradient_give(g, node, 1, op1(b, SN_OP_NEG, op2(b, SN_OP_MUL, dy, times)));
}

/* The operand that was chosen gets all, equal ones half each. */
static void give_chosen(Grad *g, Node *node, Value *dy, bool largest) {
    Builder *b = &g->b;
    Value *x = node->input[0], *y = node->input[1];
    Value *half = op_scalar(b, SN_OP_MUL, dy, 0.5);
    Value *tie = only_where(b, op2(b, SN_OP_EQUAL, x, y), half);
    for (int k = 0; k < 2; k++) {
        if (!sn_gradient_wanted(g, node, k)) continue;
        Value *own = node->input[k], *other = node->input[1 - k];
        Value *chosen = largest ? op2(b, SN_OP_LESS, other, own) : op2(b, SN_OP_LESS, own, other);
        sn_gradient_give(g, node, k, sn_build3(b, SN_OP_WHERE, NULL, chosen, dy, tie));
    }
}

void sn_gradient_min(Grad *g, Node *node, Value *dy) {
    give_chosen(g, node, dy, false);
}

void sn_gradient_max(Grad *g, Node *node, Value *dy) {
    give_chosen(g, node, dy, true);
}

void sn_gradient_where(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *condition = node->input[0], *zero = sn_build_scalar(b, dy->type.dtype, 0);
    if (sn_gradient_wanted(g, node, 1))
        sn_gradient_give(g, node, 1, sn_build3(b, SN_OP_WHERE, NULL, condition, dy, zero));
    if (sn_gradient_wanted(g, node, 2))
        sn_gradient_give(g, node, 2, sn_build3(b, SN_OP_WHERE, NULL, condition, zero, dy));
}

/* Trigonometric and hyperbolic functions and their inverses. */
#include "gradients.h"

static void give_product(Grad *g, Node *node, Value *dy, Value *slope) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_MUL, dy, slope));
}

/* 1 + x² */
static Value *one_plus_square(Builder *b, Value *x) {
    return op_scalar(b, SN_OP_ADD, op2(b, SN_OP_MUL, x, x), 1);
}

/* 1 − x² as (1 − x)·(1 + x), which keeps its digits near 1. */
static Value *one_minus_square(Builder *b, Value *x) {
    Value *one = sn_build_scalar(b, x->type.dtype, 1);
    return op2(b, SN_OP_MUL, op2(b, SN_OP_SUB, one, x), op2(b, SN_OP_ADD, one, x));
}

/* dy·(1 + y²) */
void sn_gradient_tan(Grad *g, Node *node, Value *dy) {
    give_product(g, node, dy, one_plus_square(&g->b, node->output[0]));
}

void sn_gradient_sinh(Grad *g, Node *node, Value *dy) {
    give_product(g, node, dy, op1(&g->b, SN_OP_COSH, node->input[0]));
}

void sn_gradient_cosh(Grad *g, Node *node, Value *dy) {
    give_product(g, node, dy, op1(&g->b, SN_OP_SINH, node->input[0]));
}

/* dy/√(1 − x²) */
void sn_gradient_asin(Grad *g, Node *node, Value *dy) {
    give_product(g, node, dy, op1(&g->b, SN_OP_RSQRT, one_minus_square(&g->b, node->input[0])));
}

void sn_gradient_acos(Grad *g, Node *node, Value *dy) {
    Value *slope = op1(&g->b, SN_OP_RSQRT, one_minus_square(&g->b, node->input[0]));
    give_product(g, node, dy, op1(&g->b, SN_OP_NEG, slope));
}

void sn_gradient_atan(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_DIV, dy, one_plus_square(&g->b, node->input[0])));
}

/* dy/√(1 + x²) */
void sn_gradient_asinh(Grad *g, Node *node, Value *dy) {
    give_product(g, node, dy, op1(&g->b, SN_OP_RSQRT, one_plus_square(&g->b, node->input[0])));
}

/* dy/√(x² − 1) */
void sn_gradient_acosh(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    Value *x = node->input[0];
    Value *square = op2(b, SN_OP_MUL, op_scalar(b, SN_OP_ADD, x, -1), op_scalar(b, SN_OP_ADD, x, 1));
    give_product(g, node, dy, op1(b, SN_OP_RSQRT, square));
}

void sn_gradient_atanh(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, op2(&g->b, SN_OP_DIV, dy, one_minus_square(&g->b, node->input[0])));
}

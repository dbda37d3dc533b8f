/* Expansion rules: what each composite means in simpler operators. One function a row of ops.def's expand
 * column.
 *
 * A rule builds the value of output 0 before `node`. What it builds may itself be composite or broadcast: the
 * walker in expand.c expands it again. Narrow floats (f16, bf16) compute in f32 inside rules that reduce. */
#ifndef SN_EXPAND_H
#define SN_EXPAND_H

#include "graph.h"

typedef Value *ExpandRule(Builder *builder, Node *node);

ExpandRule sn_expand_trilu, sn_expand_relu, sn_expand_gelu, sn_expand_silu,
    sn_expand_softplus; /* expand_pointwise.c */
ExpandRule sn_expand_reduce_mean, sn_expand_softmax, sn_expand_log_softmax, sn_expand_layer_norm,
    sn_expand_rms_norm;                                             /* expand_rows.c */
ExpandRule sn_expand_matmul, sn_expand_rotary, sn_expand_attention; /* expand_heavy.c */

/* Short spellings for rules. */
static inline Value *op1(Builder *b, OpCode op, Value *x) {
    return sn_build1(b, op, NULL, x);
}
static inline Value *op2(Builder *b, OpCode op, Value *x, Value *y) {
    return sn_build2(b, op, NULL, x, y);
}

/* x (op) constant, the constant a scalar of x's dtype. */
static inline Value *op_scalar(Builder *b, OpCode op, Value *x, double constant) {
    return x ? op2(b, op, x, sn_build_scalar(b, x->type.dtype, constant)) : NULL;
}

static inline DType accumulator_dtype(DType dtype) {
    return dtype == SN_F16 || dtype == SN_BF16 ? SN_F32 : dtype;
}

#endif

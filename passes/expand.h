/* Expansion rules: what each composite means in simpler operators. One function a row of ops.def's expand
 * column.
 *
 * A rule builds the value of output 0 before `node`, and puts the others, if any, in their places itself. What it
 * builds may itself be composite or broadcast: the walker in expand.c expands it again. Narrow floats (f16, bf16)
 * compute in f32 inside rules that reduce. */
#ifndef SN_EXPAND_H
#define SN_EXPAND_H

#include "graph.h"

typedef Value *ExpandRule(Builder *builder, Node *node);

/* One a row: expand_pointwise.c, expand_rows.c, expand_loss.c, expand_heavy.c, expand_attention.c; sn_expand_none
 * stands for "is a primitive". */
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, expand, gradient, scalar)                                                                   \
    ExpandRule expand;
#include "ops.def"
#undef OP

/* Of labels [rows…] of softmax_cross_entropy, i64: which are ignored (a scalar where none can be), and where the others
 * may be gathered from a list of the classes, with a fault for those that are out of range. */
Value *sn_label_ignored(Builder *b, const AttrCrossEntropy *attr, Value *label);
Value *sn_label_index(Builder *b, const AttrCrossEntropy *attr, Value *label, Dim classes);

/* The operands of attention_backward (ir/attr.h); bias and state may be NULL. */
typedef struct AttentionOperands {
    const AttrAttention *attr;
    Value *q, *k, *v, *dy, *statistic, *sums, *bias, *state;
} AttentionOperands;

/* The gradients of q, k, v and, in the accumulator's dtype, of the scores [B, H, S, T] with their bias, by way of that
 * matrix; each product has its own kernel in the eager order. Nothing of `gradient` is to be read after a failure. */
void sn_attention_gradients(Builder *b, const AttentionOperands *of, Value *gradient[4]);

/* Puts the expansion of a composite in its place: *out (which may be NULL) is what stands for output 0. */
Status sn_expand_node(Graph *graph, Node *node, Value **out);

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

/* Element `at` of a list, as a scalar. */
static inline Value *element_at(Builder *b, Value *list, int64_t at) {
    Dims *dims = b->graph->dims;
    return sn_build_reshape(b, sn_build_slice(b, list, 0, sn_dim(dims, at), sn_dim(dims, 1), 1), 0, NULL);
}

static inline DType accumulator_dtype(DType dtype) {
    return dtype == SN_F16 || dtype == SN_BF16 ? SN_F32 : dtype;
}

#endif

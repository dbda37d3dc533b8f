/* Recognisers: each looks at one node as the root of a decomposed composite and gives the composite's value,
 * built before it, or NULL. Constants of a pattern are compared with a tolerance of 1e-5 of their size, since
 * exporters write them in single precision. */
#ifndef SN_RECOGNISE_INTERNAL_H
#define SN_RECOGNISE_INTERNAL_H

#include "pass.h"

typedef Value *Recogniser(Pass *pass, Builder *builder, Node *node);

Recogniser sn_recognise_layer_norm, sn_recognise_rms_norm, sn_recognise_softmax; /* recognise_norm.c */
Recogniser sn_recognise_gelu, sn_recognise_silu;                                 /* recognise_activation.c */
Recogniser sn_recognise_rotary;                                                  /* recognise_rotary.c */
Recogniser sn_recognise_attention;                                               /* recognise_attention.c */

/* The node that makes `value` if it is an `op`, else NULL. */
static inline Node *made_by(const Value *value, OpCode op) {
    return value && value->producer && value->producer->op == op ? value->producer : NULL;
}

/* True when `value` is a splat within tolerance of `expected`. */
bool sn_is_number(const Value *value, double expected);

/* For a commutative node: the operand that is a splat, in *number, and the other one; NULL when none is. */
Value *sn_other_than_splat(const Node *node, double *number);

/* A finite fill at or below this is taken for minus infinity: exp(fill − maximum) is 0 in f32 unless every
 * score of the row is as low. */
#define SN_MASKED_BELOW (-1e4)

/* Whether `mask` (bool: true lets a score through; else a bias: 0 lets it through, at most SN_MASKED_BELOW
 * does not) says column <= row + *offset on the last two axes of `scores`, whatever nodes spell it. */
bool sn_mask_is_causal(Graph *graph, const Value *mask, Type scores, Dim *offset);

#endif

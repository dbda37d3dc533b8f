/* Gradient rules: how the gradient of a node's output becomes gradients of its operands. One function a row of
 * ops.def's gradient column.
 *
 * A rule is called once the gradients of all uses of the node's outputs are summed, and calls sn_gradient_give for
 * every operand that it has a gradient for. What it builds may be composite and may broadcast, as in any imported
 * graph. Rules use the node's output instead of an operand where either would do: it is stored more often. */
#ifndef SN_GRADIENTS_H
#define SN_GRADIENTS_H

#include "expand.h"

typedef struct Grad {
    Builder b; /* at the end of the body, in the phase backward; origin and group of the node at hand */
    Arena *scratch;
    SN_VEC(bool) needed; /* by value id: depends on a value whose gradient is asked for */
    SN_VEC(bool) asked;  /* by value id: its gradient is asked for, and not rounded */
    SN_VEC(Value *) of;  /* by value id: the gradient so far, or NULL */
} Grad;

typedef void GradientRule(Grad *g, Node *node, Value *dy); /* dy: gradient of output 0 */

#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, expand, gradient, scalar)                                                                   \
    GradientRule gradient;
#include "ops.def"
#undef OP

/* Stand-ins in the column:
 *   sn_gradient_none    there is none; needing it is an error
 *   sn_gradient_zero    the derivative is zero wherever there is one
 *   sn_gradient_expand  the expansion is differentiated instead
 */

/* Whether operand k takes part in what is asked for. */
bool sn_gradient_wanted(const Grad *g, const Node *node, int k);

/* Adds `value` to the gradient of operand k if that is wanted. Its shape is the operand's, or what that broadcasts
 * to (numpy), which is then summed; any float dtype. */
void sn_gradient_give(Grad *g, const Node *node, int k, Value *value);

/* The gradient has its own kernel in the eager order from here on. */
void sn_gradient_regroup(Grad *g);

/* `node`, or the same with its optional second output in place of it; NULL after a failure. */
Node *sn_gradient_with_statistic(Grad *g, Node *node);

void sn_gradient_fail(Grad *g, const Node *node, const char *reason);

/* The sum over axes [first, last) of x, which stay with extent 1. */
Value *sn_gradient_sum(Builder *b, Value *x, int first, int last);

/* x with its last two axes exchanged. */
Value *sn_gradient_transpose(Builder *b, Value *x);

/* dx of x → view(x): gradient of the view's source, of the shape of `source`. */
Value *sn_gradient_of_view(Grad *g, const AttrView *view, Type source, Value *dy);

/* Σ of dy's rows by target: [rows, columns], row r the sum of the rows i of dy (seen as [count of index, columns])
 * with index[i] = r, in order, in the type that is summed in. Any integer dtype and shape of index; a negative one counts
 * from the end. */
Value *sn_gradient_scatter(Builder *b, Value *index, Value *dy, Dim rows, Dim columns);

#endif

/* The parts of `simplify`. Each function returns the value that may stand for output 0 of `node` (built
 * before it), or NULL to leave the node alone. */
#ifndef SN_SIMPLIFY_INTERNAL_H
#define SN_SIMPLIFY_INTERNAL_H

#include "pass.h"

typedef Value *SimplifyRule(Pass *pass, Builder *builder, Node *node);

SimplifyRule sn_fold_known;    /* fold.c: shape values that inference tracked */
SimplifyRule sn_fold_constant; /* fold.c: the interpreter, on constants */
SimplifyRule sn_merge_view;    /* merge_view.c: views of views, views that move nothing */
SimplifyRule sn_algebra;       /* algebra.c: x + 0, x · 1, x / 8, pow(x, 2) … */

#endif

/* The interpreter's rules (the eval column of ops.def) and what they share. Private to the interpreter. */
#ifndef SN_EVAL_RULES_H
#define SN_EVAL_RULES_H

#include "eval.h"
#include "scalar.h"

#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, ...)                                                                                        \
    Status eval(Eval *, const Node *);
#include "ops.def"
#undef OP

/* A tensor may have this many elements, which is 2 GiB of doubles. */
enum { SN_EVAL_MAX_COUNT = 1 << 28 };

/* A Dim without axes; SN_INVALID when symbols occur and none are bound. */
Status sn_eval_dim(const Eval *eval, Dim dim, int64_t *out);

/* No symbol occurs in `dim`, or the symbols are bound: sn_dim_eval may be called. */
Status sn_eval_bound(const Eval *eval, Dim dim);

/* Copies element `from` of `source` to element `to` of `out`; they have one dtype. */
void sn_array_copy(Array *out, int64_t to, const Array *source, int64_t from);

/* Positions in a result and in operands that broadcast to it, in step. Start with sn_walk_start, then go on
 * while sn_walk_next. A result without elements has no positions: check its count first. */
typedef struct Walk {
    int rank, operands;
    int64_t extent[SN_MAX_RANK], index[SN_MAX_RANK];
    int64_t at;    /* row-major position in the result */
    int64_t in[3]; /* position in each operand */
    int64_t stride[3][SN_MAX_RANK];
} Walk;

Walk sn_walk_start(int rank, const int64_t *extent, int operands, const Array *const *operand);
bool sn_walk_next(Walk *walk);

#endif

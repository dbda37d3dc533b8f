/* The inference rules (the infer column of ops.def) and what they share. Private to inference. */
#ifndef SN_INFER_RULES_H
#define SN_INFER_RULES_H

#include "infer.h"

#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           ...)                                                                                              \
    Status infer(Infer *, Node *);
#include "ops.def"
#undef OP

/* Sets the type of output `k`. `dim` is an array of `rank` extents in the graph's arena, which is kept.
 * SN_INVALID for a rank above SN_MAX_RANK. */
Status sn_infer_set(Node *node, int k, DType dtype, int rank, const Dim *dim);

/* Sets output 0 to `dtype` and the numpy broadcast of the shapes of all inputs. */
Status sn_infer_set_broadcast(Infer *infer, Node *node, DType dtype);

/* SN_INVALID, naming `what`, unless the extents are equal; a check where that is not proven. *out (which may
 * be NULL) is the constant of the two when there is one. */
Status sn_infer_equal_dim(Infer *infer, const Node *node, const char *what, Dim a, Dim b, Dim *out);

/* `value` broadcasts to `rank` extents `dim` without enlarging them: each of its extents is 1 or the same. */
Status sn_infer_onto(Infer *infer, const Node *node, const char *what, const Value *value, int rank,
                     const Dim *dim);

/* SN_INVALID unless 0 <= axis < rank. */
Status sn_infer_axis_range(int axis, int rank);

/* SN_INVALID unless all inputs that are present have the dtype of input 0. */
Status sn_infer_one_dtype(const Node *node);

/* Sets the known values of output 0 from those of the inputs; its type is set already (infer_known.c). */
void sn_infer_known(Graph *graph, Node *node);

/* Element `element` of what a cast from float to integer gives, when the floats are shape arithmetic whose
 * value is provably that Dim (infer_ratio.c); may add checks to the graph. */
bool sn_infer_truncated(Graph *graph, const Node *cast, int64_t element, Dim *out);

/* The elements of output 0, integers or bool, where the node reads floats that follow from constants alone
 * (infer_folded.c): as many as its type says, which has at most SN_KNOWN_MAX and no symbols. */
bool sn_infer_folded(const Graph *graph, const Node *node, Dim *out);

#endif

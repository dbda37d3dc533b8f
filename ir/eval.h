/* The reference interpreter: floats in double precision, integers native (64 bits, wrapped to their dtype),
 * one rule an operator (the eval column), never shared with the kernels. Oracle of every test and engine of
 * constant folding.
 */
#ifndef SN_EVAL_H
#define SN_EVAL_H

#include "graph.h"

/* A concrete tensor: `f` for float dtypes, `i` for integers and bool (0 or 1); the other is NULL. */
typedef struct Array {
    DType dtype;
    int rank;
    const int64_t *extent;
    int64_t count;
    double *f;
    int64_t *i;
} Array;

struct Eval {
    Arena *arena;
    const Graph *graph;
    int64_t *symbols; /* by number; NULL: none has a value */
    bool round;       /* round every float result to its dtype (folding, eager-like); else keep doubles */
    Map *value;       /* what was computed, by value id */
};

/* Binds symbols from the shapes of the inputs (in order of the body's params), verifies the declared extents
 * and the graph's checks, and fails with SN_INVALID naming the input or origin otherwise. `symbols` has
 * sn_dims_symbol_count entries; those of sizes that data decide become -1, and checks of them are left out. The runtime
 * binds with the same functions: there is one of each. */
Status sn_bind_symbols(const Graph *graph, int input_count, const int *rank, const int64_t *const *extent,
                       int64_t *symbols);

/* Gives size `index` of the graph its value. SN_INVALID when it is negative or beyond what proofs took for granted. */
Status sn_bind_size(const Graph *graph, int index, int64_t value, int64_t *symbols);

/* SN_INVALID, with the node's name, when the check, all of whose symbols have values, does not hold. */
Status sn_bind_check(const Graph *graph, const Check *check, const int64_t *symbols);

/* Runs the graph's body (any stage). inputs: one Array per body param that no loop makes; outputs: one per result, in
 * `arena`. */
Status sn_eval_graph(Arena *arena, const Graph *graph, bool round, const Array *const *inputs,
                     Array **outputs);

/* One node on given inputs, for folding: input[k] per operand (NULL: absent), output[k] made in `arena`.
 * Fails when a Dim in its attributes has no constant value. */
Status sn_eval_node(Arena *arena, const Graph *graph, const Node *node, const Array *const *input,
                    Array **output);

Array *sn_array_new(Arena *arena, DType dtype, int rank, const int64_t *extent);
Array *sn_array_of_tensor(Arena *arena, const Tensor *tensor);
Tensor *sn_tensor_of_array(Arena *arena, const Array *array); /* rounds to the dtype */

/* For eval rules: operand k, and a new result k of the node's inferred type with symbols bound. */
const Array *sn_eval_input(Eval *eval, const Node *node, int k);
Status sn_eval_output(Eval *eval, const Node *node, int k, Array **out);

#endif

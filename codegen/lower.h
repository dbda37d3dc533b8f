/* Lowering a cluster to kernel IR by pulling: what is the value of v at the index I? */
#ifndef SN_LOWER_H
#define SN_LOWER_H

#include "kernel.h"

typedef struct Lower Lower;

/* The value of an anchor's output at an index, in the nest being lowered; NULL: not available there. */
typedef Instr *AnchorFunction(Lower *lower, const Value *value, const Dim *index);

struct Lower {
    Arena *arena;
    Dims *dims;
    const Node *cluster;
    KernelIr *kernel;
    Nest *nest;
    Map *memo;    /* (value, guard, index) -> Instr, of this nest */
    Instr *guard; /* NULL, or the condition under which the value being pulled is used */
    AnchorFunction *anchor;
    void *user; /* the anchor's */
    int depth;
    Status status; /* the first failure latches here */
};

Lower sn_lower(KernelIr *kernel);

/* Starts a new nest: the memo is emptied. */
void sn_lower_nest(Lower *lower);

/* The value of `value` at `index` (rank Dims over the nest's axes). Never NULL: after a failure (latched in
 * lower->status) it is a literal zero. */
Instr *sn_lower_pull(Lower *lower, const Value *value, const Dim *index);

/* Building blocks. */
Instr *sn_lower_literal(Lower *lower, DType dtype, double number, int64_t integer);
Instr *sn_lower_dim(Lower *lower, Dim dim);
Instr *sn_lower_less(Lower *lower, Dim a, Dim b); /* NULL when a < b is proven */
Instr *sn_lower_call(Lower *lower, const char *function, DType dtype, DType operand, int count,
                     Instr *const *arg);
Instr *sn_lower_cast(Lower *lower, Instr *value, DType to, bool exact);
Instr *sn_lower_and(Lower *lower, Instr *a, Instr *b); /* either may be NULL: true */

void sn_lower_fail(Lower *lower, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Row-major element offset of `index` in a dense tensor. */
Dim sn_lower_linear(Lower *lower, Type type, const Dim *index);

/* What `indices` has at `at` (of an operand of `node`), an index as ONNX has it into an axis of `extent`: checked, a
 * negative one made positive, and 0 after a fault. */
Instr *sn_lower_index(Lower *lower, const Node *node, const Value *indices, const Dim *at, Dim extent);

/* Adds the store of result `k` of the cluster at `index` (over the result's shape) to a step. */
void sn_lower_store(Lower *lower, Step *step, int result, const Value *value, const Dim *index,
                    const Dim *at);

/* 1 + the position of `node` in the cluster's body. */
int sn_lower_fault(const Lower *lower, const Node *node);

/* ---- one function a kind of cluster ---- */
Status sn_lower_map(KernelIr *kernel);
Status sn_lower_map_from(KernelIr *kernel, AnchorFunction *anchor,
                         void *user);     /* with an anchor that is there already */
Status sn_lower_reduce(KernelIr *kernel); /* and scans */
Status sn_lower_contract(KernelIr *kernel);
Status sn_lower_pack(KernelIr *kernel);
Status sn_lower_attention(KernelIr *kernel);
Status sn_lower_scatter(KernelIr *kernel);
Status sn_lower_recurrent(KernelIr *kernel);

#endif

/* What a plan needs at given sizes: memory, operations and traffic, before anything of it is made. */
#ifndef SN_NEEDS_H
#define SN_NEEDS_H

#include "plan.h"

/* Bytes. The first four together are what a program and one context of it take of the device. */
typedef struct Needs {
    int64_t constants; /* and setup results, which the program holds */
    int64_t states;    /* in the context: parameters, moments, counts */
    int64_t side;      /* in the context: copies of inputs and outputs, the library's workspace */
    int64_t
        arena; /* in the context: all else that a run makes, where lives that do not overlap share bytes */
    int64_t
        gradients; /* of the arena: what an update reads of the backward pass. All of it is alive when that ends */
    int64_t activations; /* what the arena would be without the gradients */
    double flops, moved; /* operations and bytes moved of a run, as far as its kernels tell */
} Needs;

static inline int64_t sn_needs_whole(const Needs *needs) {
    return needs->constants + needs->states + needs->side + needs->arena;
}

/* What takes part in it beside the plan. */
typedef struct NeedsOf {
    bool host_memory;      /* of the device: inputs are read where they are */
    bool library;          /* the device has one for products */
    const int64_t *symbol; /* per symbol of the graph */
} NeedsOf;

/* The needs of a compiled plan, whose states do not grow and whose sizes follow from those of the inputs (otherwise
 * SN_UNSUPPORTED). Inputs count as aligned. */
Status sn_plan_needs(const Plan *plan, const NeedsOf *of, Needs *out);

/* Places what the launches of a segment make in a run: offset[] (may be NULL) per Plan.value, *arena_bytes in all. dim: per
 * Plan.dim. What later segments read, too, is there to the segment's end. */
Status sn_plan_pack(const Plan *plan, int segment, const int64_t *dim, int64_t *offset, int64_t *arena_bytes);

/* Whether the value is made and needed inside runs only (outputs included). */
static inline bool sn_plan_value_in_run(const PlanValue *value) {
    return value->storage == SN_STORAGE_ACTIVATION || value->storage == SN_STORAGE_OUTPUT ||
           value->storage == SN_STORAGE_SCRATCH;
}

#endif

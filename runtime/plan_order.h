/* What runs before what: the order of a plan's launches, and which of them may fail where nothing before them has. */
#ifndef SN_PLAN_ORDER_H
#define SN_PLAN_ORDER_H

#include "codegen.h"

/* A launch to be. */
typedef struct PlanStep {
    const Node *cluster;
    const Kernel *kernel;
    bool fails; /* its data can make it fail, also where no step before it has failed */

    /* Compiled: the whole step, and perhaps more, as one product with an epilogue of training, which the library may lack (see
     * Kernel.full); NULL: none. Behind the kernel's buffers it has the mask, then the sum, where there are such. */
    const LibraryProduct *full;
    const Node *mask; /* whose product writes the mask that this one writes or reads; NULL: none does */
    const Node *sum;  /* a cluster, not before this step, whose one result is the sum; NULL: none */
} PlanStep;

/* Finds epilogues of training (see library.h) among the steps of a compiled plan: a product with ReLU and one with its slope
 * share a mask, and a sum over the rows of what a product reads or makes becomes that product's. Sums are moved behind
 * it. */
void sn_plan_find_epilogues(Arena *arena, Dims *dims, PlanStep *step, int count);

/* Sets `fails` of steps that are in the order of their phases. A kernel that looks up rows by indices does not fail where
 * an earlier one has looked at all of them against the same number of rows: the gradient of a table meets the indices of
 * the forward pass again. */
void sn_plan_find_failures(Arena *arena, PlanStep *step, int count);

/* Moves updates, which come last, forward to where the backward pass has made what they need and nobody reads the
 * states that they replace any more, so that the memory of a gradient is free at once; those of the smallest parameters
 * wait for one another. Of updates that are ready together, those of one kernel follow one another. None comes before a step that
 * fails: a run that fails on its data leaves the states as they were. All else keeps its order; so does everything
 * where an update needs all gradients, as clipping does. */
void sn_plan_order(Arena *arena, const Graph *graph, PlanStep *step, int count);

#endif

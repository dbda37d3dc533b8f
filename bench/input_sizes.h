/* Sizes of inputs that nobody gave: what the model's checks ask for, and else what is usual; and how they go on from one run to
 * the next one. */
#ifndef SN_INPUT_SIZES_H
#define SN_INPUT_SIZES_H

#include "graph.h"

enum { SN_SIZE_UNBOUND = -1 }; /* symbols are never negative */

typedef struct InputSizes {
    Arena *arena;
    const Graph *graph;
    int count;         /* of inputs */
    const bool *state; /* per input: the runs before make it */
    int64_t *symbol;   /* per symbol of the graph */
} InputSizes;

/* Binds every symbol of an input that is unbound. "B = 1, T = 16": those that are not what a check asks for; "" for none. */
const char *sn_input_sizes_choose(const InputSizes *sizes);

/* The same for a run that follows one whose sizes were `before`, where those of the states are bound already. A size that a
 * check holds against what a state and the new rows come to (of a mask over a cache) grows by as many rows; others stay. */
void sn_input_sizes_follow(const InputSizes *sizes, const int64_t *before);

#endif

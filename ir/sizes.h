/* Sizes that data decide (GraphSize): which nodes wait for which of them.
 *
 * The level of a symbol that inputs bind is 0; that of a size is one more than the level of what makes it; that of a node
 * is the highest one of what it reads and mentions; that of what a loop makes is one more than the highest one of what it
 * takes. So a run that does level after level, and reads the sizes that a level
 * has made when it ends, knows every extent before it is needed. */
#ifndef SN_SIZES_H
#define SN_SIZES_H

#include "loop.h"

typedef struct Levels {
    int *node;   /* by node id, of the graph's body */
    int *symbol; /* by number */
    int *param;  /* of the body, by its position: 0, unless a loop makes it */
    int most;
} Levels;

/* Declares a symbol, named after `stem`, that a value will bind; `most` (may be NULL) gets its check. */
Status sn_graph_size(Graph *graph, const char *stem, Dim most, const Origin *origin, Dim *out);

/* Calls `visit` for every Dim that the node's results, its attributes and its body mention. */
void sn_node_dims(const Node *node, void (*visit)(void *user, Dim dim), void *user);

/* Calls `visit` with the number of every symbol of a Dim, extents of axes included. */
void sn_dim_symbols(Dim dim, void (*visit)(void *user, int symbol), void *user);

/* The levels of all nodes, in `arena`. SN_INTERNAL where something mentions a size that is made behind it. */
Status sn_levels_find(Arena *arena, const Graph *graph, Levels *out);

/* The level of a Dim: the highest one of its symbols. */
int sn_levels_dim(const Levels *levels, Dim dim);

/* How many of the last results of the body are no outputs of the model: sizes, what loops take, and states. */
static inline int sn_graph_hidden_results(const Graph *graph) {
    return graph->sizes.count + sn_graph_loop_results(graph) + graph->states.count;
}

#endif

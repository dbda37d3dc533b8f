/* Loops whose turns only a run counts (GraphLoop): where what they take and make is.
 *
 * `turn` computes one of them. Its params are the turn's number (i64), whether it is made (bool), the carried values, the
 * captured ones, and carriers: tensors of no elements whose extents are the loop's sizes. Its results are whether another
 * turn follows, the carried values' next ones, and what is kept. */
#ifndef SN_LOOP_H
#define SN_LOOP_H

#include "graph.h"

enum { SN_CARRIER_SIZES = SN_MAX_RANK - 1 /* of one carrier, behind its first extent, which is 0 */ };

static inline int sn_loop_taken(const GraphLoop *loop) {
    return 2 + loop->carried + loop->captured;
}
static inline int sn_loop_made(const GraphLoop *loop) {
    return loop->carried + loop->kept + loop->extent_count;
}
static inline int sn_loop_carriers(const GraphLoop *loop) {
    return (loop->size_count + SN_CARRIER_SIZES - 1) / SN_CARRIER_SIZES;
}
/* How many of the sizes carrier `k` has, which begin at k * SN_CARRIER_SIZES. */
static inline int sn_loop_carrier_sizes(const GraphLoop *loop, int k) {
    int left = loop->size_count - k * SN_CARRIER_SIZES;
    return left < SN_CARRIER_SIZES ? left : SN_CARRIER_SIZES;
}

/* Whether the loop decides an extent of one of its results. */
bool sn_loop_decides(const GraphLoop *loop, int result, int axis);

/* The loop that makes a param of the graph's body, or NULL. */
const GraphLoop *sn_loop_of_param(const Graph *graph, int param);
/* Whether a loop takes a result of the graph's body. */
bool sn_loop_takes(const Graph *graph, int result);

/* How many results of the body loops take, and how many params they make. */
int sn_graph_loop_results(const Graph *graph);
int sn_graph_loop_params(const Graph *graph);

/* NULL, or what about the loop contradicts the graph that it is of, in static text. */
const char *sn_loop_fault(const Graph *graph, const GraphLoop *loop);

#endif

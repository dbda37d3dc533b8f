/* The cheapest set of edges whose removal separates a source from a sink. */
#ifndef SN_MIN_CUT_H
#define SN_MIN_CUT_H

#include "arena.h"
#include <stdint.h>

typedef struct Flow Flow;

/* More than any sum of finite capacities may be. */
#define SN_FLOW_UNBOUNDED (INT64_MAX / 4)

/* A network of vertices [0, count) without edges. */
Flow *sn_flow_new(Arena *arena, int count);

/* capacity: 0 to SN_FLOW_UNBOUNDED. */
void sn_flow_edge(Flow *flow, int from, int to, int64_t capacity);

/* side[v]: whether v is on the source's side of a cheapest cut, the one nearest to the source. Once per network.
 * Dinic's algorithm (1970), O(V²E). */
void sn_flow_cut(Flow *flow, int source, int sink, bool *side);

#endif

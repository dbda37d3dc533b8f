/* Shape, dtype and shape-value inference. */
#ifndef SN_INFER_H
#define SN_INFER_H

#include "graph.h"

struct Infer {
    Graph *graph;
};

enum {
    SN_KNOWN_MAX = 1024, /* element count above which shape values are not tracked */
    SN_LISTED_MAX = 64   /* … above which lists of symbols stay computed: `dims` asks for each place */
};

/* Checks arity, dtypes and attributes of a node and sets the types and known values of its outputs. A failure
 * names the operator; the caller that knows the origin prefixes it. */
Status sn_infer_node(Graph *graph, Node *node);

/* numpy broadcasting of two extents; adds a check where it is not proven. */
Status sn_infer_broadcast_dim(Graph *graph, Dim a, Dim b, const Origin *origin, Dim *out);

/* The functions of ops.def's infer column are declared in infer_rules.h by including the table. */

#endif

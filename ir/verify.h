/* Legality of a graph at its stage. */
#ifndef SN_VERIFY_H
#define SN_VERIFY_H

#include "graph.h"

/* Structure (uses, order, isolation, arity, dtypes, types equal to what inference gives) and what the stage
 * allows. SN_INTERNAL with the graph's text, each violation written under its node. */
Status sn_verify(const Graph *graph);

#endif

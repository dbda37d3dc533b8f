/* Which nodes can fail on their data: kernels check those, and imports keep what nobody asked for from failing. */
#ifndef SN_FAULT_H
#define SN_FAULT_H

#include "graph.h"

/* The operand whose data can end a run of `node` with an error, by the operator table; -1: none can. *safe (which may be NULL) is
 * what the operand may always hold. */
int sn_node_fault(const Node *node, int *safe);

#endif

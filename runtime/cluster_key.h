/* When two clusters of one graph become the same kernel, without generating it. */
#ifndef SN_CLUSTER_KEY_H
#define SN_CLUSTER_KEY_H

#include "graph.h"

/* Equal for clusters whose bodies are the same operators on values of the same types, wired alike, with the
 * same attributes, and whose operands coincide in the same places: everything that a kernel's text and its
 * Dims depend on, and nothing of names, origins and weights. `local` has room for Graph.next_value numbers.
 */
Hash sn_cluster_key(const Node *cluster, int *local);

#endif

/* What a graph's checks say about its sizes. */
#ifndef SN_FACTS_H
#define SN_FACTS_H

#include "graph.h"

/* Files name the same size in several ways that only the checks of a run tie together: a mask of `total`
 * columns on scores of `past + new` columns gives max(total, past + new), and the product behind it requires
 * that to be past + new. Copies into `to`, a graph without nodes, each check of `from` that settles a minimum
 * or maximum which occurs in one of from's types, and makes it a fact of to's sizes. False when there is
 * nothing that `from` does not know already. */
bool sn_facts_carry(const Graph *from, Graph *to);

#endif

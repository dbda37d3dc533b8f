/* What rematerialisation (remat.c) may spend, and what it found. */
#ifndef SN_REMAT_H
#define SN_REMAT_H

#include "graph.h"

/* A value a symbol of `dims` into symbol[]: those of `extent` (names that are no symbols are passed over), and for the
 * others 128, or the nearest that their bounds allow. */
void sn_extents_assume(const Dims *dims, int count, const sn_Extent *extent, int64_t *symbol);

/* What may be computed again to keep less. */
typedef struct Effort {
    double operations; /* that a byte saved may cost; 0: none */
    int apart;         /* of the values that alone lead from part to part, each of this many is kept; 0: 1 */
} Effort;

/* The network falls into parts: from one such value to the next, the last one to its end. The first `parts` of them
 * are worth `more`, those behind `less`. Zero: nothing that costs operations is computed again. */
typedef struct Recompute {
    Effort less, more;
    int parts;
} Recompute;

/* What there was to choose from, and what came of it. */
typedef struct RematReport {
    int parts;          /* of the network; 0: remat had nothing to do */
    int cost_count;     /* of cost[] */
    const double *cost; /* ascending: operations a byte at which more could be computed again, each once */
    double kept, again; /* bytes that the backward pass finds, and operations that are done twice */
} RematReport;

#endif

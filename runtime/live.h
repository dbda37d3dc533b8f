/* What a run has in memory at once, launch by launch: buffers by their lives in the plan. */
#ifndef SN_LIVE_H
#define SN_LIVE_H

#include "plan.h"

typedef struct Live {
    int64_t most[SN_PHASE_COUNT]; /* bytes, at the launch of the phase that needs most; 0: it has none */
    int64_t kept;                 /* bytes, made in forward and needed by later phases */
    int peak; /* the launch that needs most of all, its buffers included; -1: none needs any */
    int count;
    const int *value; /* positions in Plan.value of what is needed then, the largest first */
} Live;

/* Of a plan, eager or compiled, with symbol[] per symbol of its graph, in `arena`. What counts is what runs make, outputs
 * included: not inputs, constants, states, and neither gaps in an arena nor what an allocator keeps. dim[] (room for
 * Plan.dim_count) becomes what the plan's positions mean. SN_UNSUPPORTED where data decide sizes. */
Status sn_plan_live(Arena *arena, const Plan *plan, const int64_t *symbol, int64_t *dim, Live *out);

#endif

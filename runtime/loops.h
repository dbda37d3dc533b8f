/* Loops whose turns only a run counts: each turn is a run of a program of its own, in a context of its own. */
#ifndef SN_LOOPS_H
#define SN_LOOPS_H

#include "context.h"

/* What the turns of a context's loops need; one entry per loop of the plan's graph. */
Status sn_loops_init(sn_Context *context);
void sn_loops_free(sn_Context *context);

/* Runs the loops that come before a segment, whose operands are there, and puts what they make where it is read. */
Status sn_loops_run(sn_Context *context, const Binding *binding, int segment);

/* The bytes of the device's memory that hold what turns have made, one after another. */
int64_t sn_loops_kept_bytes(const sn_Context *context);
/* Frees it: what it is for has been done. */
void sn_loops_free_kept(sn_Context *context);

/* The most bytes that the turns of the last run took at once. */
int64_t sn_loops_peak(const sn_Context *context);

#endif

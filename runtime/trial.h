/* Single launches of a run, started again in another way and timed: what `tune` measures. */
#ifndef SN_TRIAL_H
#define SN_TRIAL_H

#include "context.h"

/* The seconds that launch `index` of the plan takes in that way (see sn_plan_way), by the device's clock: the least of
 * `times` runs, each behind a copy that leaves nothing of its operands in the second-level cache. INFINITY where the
 * library has no such proposal. The context has run, compiled, on a device with marks; the launch computes with whatever
 * lies in its buffers, and the outputs of that run are lost. */
Status sn_context_try(sn_Context *context, int index, int way, int times, double *seconds);

#endif

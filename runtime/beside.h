/* What runs beside the rest of a run: the updates of parameters whose gradients are there, beside the rest of backward.
 *
 * Launches keep the order of the plan, but those of phase UPDATE go to the device's second lane. Of two launches in
 * different lanes that touch the same bytes, one of them writing, the later one waits for the earlier one; bytes are
 * told by the addresses of the run at hand, so states that are updated in place and memory that the arena gives out
 * again are seen like everything else. */
#ifndef SN_BESIDE_H
#define SN_BESIDE_H

#include "context.h"

/* How one launch takes part. */
typedef struct BesideStep {
    int lane;
    int await;   /* a launch of the other lane that it waits for; -1: none */
    bool posted; /* a launch of the other lane waits for it */
} BesideStep;

/* Decides for launches [begin, end), whose addresses in the context are set; `step` has a place for each launch of the
 * plan. Returns false, and leaves `step` as it is, when nothing would run beside anything. *last is the launch of the
 * second lane that the first one waits for in the end; -1: it has waited for all of them. */
bool sn_beside_schedule(const Plan *plan, void *const *address, const int64_t *dim, int begin, int end,
                        BesideStep *step, int *last);

/* Starts the context's launches [begin, end) by `start`, those that can run beside the others beside them. */
Status sn_beside_run(sn_Context *context, const Binding *binding,
                     Status (*start)(sn_Context *, const Binding *, int index));

#endif

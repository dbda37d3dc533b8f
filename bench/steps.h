/* Runs that follow one another through states. */
#ifndef SN_STEPS_H
#define SN_STEPS_H

#include "inputs.h"
#include "session.h"

/* Hands the inputs of a run to a context: those that are not as they were `before` (NULL: all). */
Status sn_steps_set(sn_Context *context, const Inputs *inputs, const Inputs *before);

/* Behind a run: the inputs of the next one (see sn_inputs_follow), handed to the context, in `arena`, which must outlive that
 * run. */
Status sn_steps_next(Arena *arena, sn_Context *context, const Graph *graph, const InputRequest *request,
                     const Inputs *before, Inputs *out);

/* `steps` runs, the first one with `first`, which the context has before and afterwards. *seconds: of these runs alone. */
Status sn_steps_run(Arena *scratch, sn_Context *context, const Graph *graph, const InputRequest *request,
                    const Inputs *first, int steps, double *seconds);

#endif

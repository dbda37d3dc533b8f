/* Training programs: what the public options mean, the states that a context keeps, and runs in phases. */
#ifndef SN_TRAINING_H
#define SN_TRAINING_H

#include "session.h"
#include "train.h"

/* What the public options say (NULL: all defaults), checked. Their budget is for sn_compile_training alone. */
Status sn_training_read(const sn_TrainingOptions *options, Training *out);

/* A graph with the inputs of the training step of an imported one, in their order, for whoever makes values for them: the
 * model with its loss. */
Status sn_training_inputs(Arena *arena, const Graph *imported, const Training *training, Graph **out);

/* The states that are the program's own: the parameters, then what the optimizer keeps. Their names are those of the
 * initializers, and "optimizer.first_moment.NAME" and so on. */
int sn_context_state_count(const sn_Context *context);
const char *sn_context_state_name(const sn_Context *context, int index);

/* The names of further initializers of the model that are the transpose of a state; *count of them. */
const char *const *sn_context_state_copies(const sn_Context *context, int index, int *count);

/* A state as it is now; *out is valid until the next run. */
Status sn_context_state_get(sn_Context *context, int index, sn_Tensor *out);

/* Makes a state what the tensor says, of the same type. */
Status sn_context_state_set(sn_Context *context, int index, const sn_Tensor *tensor);

/* A run up to the end of phase `last`, with the device idle before and behind each phase: seconds[phase] is what each
 * took. Where updates are left out, the states stay as they are. */
Status sn_context_run_phases(sn_Context *context, Phase last, double seconds[SN_PHASE_COUNT]);

/* The loss of the model as it is used, where nothing is dropped; no state changes. */
Status sn_context_evaluate(sn_Context *context);

#endif

/* Checkpoints of a training: the states of a context and how far it is, as one safetensors file. */
#ifndef SN_CHECKPOINT_H
#define SN_CHECKPOINT_H

#include "safetensors.h"

typedef struct Checkpoint {
    int64_t step;        /* steps done */
    const char *options; /* what the training was asked for, a "NAME VALUE" a line */
} Checkpoint;

/* Writes all states of the context; the file takes the place of an older one when it is complete. What is made for it
 * lies in `arena`. */
Status sn_checkpoint_write(Arena *arena, const char *path, sn_Context *context, const Checkpoint *checkpoint);

/* Sets all states of the context to those of the file. SN_INVALID lists the first of the states that one of both lacks,
 * or that differ in type or shape; no state is set then. */
Status sn_checkpoint_read(Arena *arena, const char *path, sn_Context *context, Checkpoint *out);

/* The states as tensors, views of the context's memory until its next run. */
Status sn_checkpoint_states(Arena *arena, sn_Context *context, int *count, NamedTensor **out);

#endif

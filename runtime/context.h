/* What a context holds. One thread at a time; nothing in it is shared. */
#ifndef SN_CONTEXT_H
#define SN_CONTEXT_H

#include "allocator.h"
#include "binding.h"
#include "profile.h"
#include "program.h"

typedef struct InputSlot {
    bool set;
    const void *data; /* the caller's */
    int rank;
    int64_t extent[SN_MAX_RANK];
    Block staging; /* a copy, where the caller's memory cannot be used in place */
} InputSlot;

typedef struct OutputSlot {
    void *data;
    int64_t extent[SN_MAX_RANK];
    Block copy; /* of what no launch of the run made */
    void *host; /* where the device's memory is not the host's */
} OutputSlot;

struct sn_Context {
    const sn_Program *program;
    int64_t memory_limit; /* 0: none */
    InputSlot *input;
    OutputSlot *output;
    int *rank;              /* per input, for binding */
    const int64_t **extent; /* likewise */
    Bindings bindings;
    void **address; /* per value of the plan */
    void **buffer;  /* of the launch at hand */
    int *fault;     /* per launch of the plan: its fault code in the last run */
    Block arena;    /* compiled: where all values of a run lie */
    Allocator allocator;
    Block *block; /* eager: per value of the plan */
    bool ran;     /* the outputs are those of a run */
    int64_t peak;
    Profile *profile;
};

/* The launches of one run, in either mode: every address but those of values made in the run is set. */
Status sn_execute(sn_Context *context, const Binding *binding);

/* Eager: the blocks that the last run left (its outputs) go back to the allocator. */
void sn_execute_release(sn_Context *context);

#endif

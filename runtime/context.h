/* What a context holds. One thread at a time; nothing in it is shared. */
#ifndef SN_CONTEXT_H
#define SN_CONTEXT_H

#include "allocator.h"
#include "binding.h"
#include "profile.h"
#include "program.h"

/* A state: two blocks that take turns as the output of a run and the input of the next; or one block,
 * `current`, that a run updates in place; or a cache, one block with room to spare along an axis, in which a
 * run stores what is new. */
typedef struct StateSlot {
    int input, output;         /* of the graph */
    const PlanCache *cache;    /* NULL: no cache */
    const GraphState *kept;    /* the program's own, with its initial value; NULL: the input has that */
    bool in_place;             /* one block */
    bool spoilt;               /* in place: a run that failed may have updated a part of it */
    bool loaded;               /* a cache: the initial value begins it */
    int64_t capacity;          /* a cache: the extent of its block along the axis */
    int64_t room[SN_MAX_RANK]; /* a cache: the extents that the run at hand takes its block to have */
    bool live; /* `current` holds what the last run made; otherwise the input has its initial value */
    Block current, next;
    int64_t extent[SN_MAX_RANK]; /* of what is in `current` */
} StateSlot;

typedef struct InputSlot {
    bool set;
    const void *data; /* the caller's */
    int rank;
    int64_t extent[SN_MAX_RANK];
    Block staging;      /* a copy, where the caller's memory cannot be used in place */
    const void *source; /* of the run at hand: `data`, or its copy */
    StateSlot *state;   /* NULL: not a state's input */
    StateSlot *cache;   /* not NULL: the input stands for this state's block */
} InputSlot;

typedef struct OutputSlot {
    void *data; /* NULL: not brought to the host yet */
    int64_t extent[SN_MAX_RANK];
    Block copy;       /* of what no launch of the run made */
    const void *made; /* where it is on the device, dense; and how much */
    int64_t bytes;
    bool missing;     /* the last run ended before the phase that makes it */
    void *host;       /* its copy, where the device's memory is not the host's, or not dense */
    StateSlot *cache; /* not NULL: the output is this state's block */
} OutputSlot;

/* Runs that are recorded; see replay.c. */
enum { SN_REPLAYS_MOST = 8 };

typedef struct ReplaySlot {
    Hash key;
    uint64_t wanted;      /* by the count of runs; 0: the place is free */
    bool recorded;        /* `recording` is of this key; otherwise of an earlier one, to be changed */
    Recording *recording; /* NULL: none yet */
} ReplaySlot;

typedef struct LoopRun LoopRun; /* see loop_kept.h */

struct sn_Context {
    const sn_Program *program;
    int64_t memory_limit; /* 0: none */
    InputSlot *input;
    OutputSlot *output;
    StateSlot *state;       /* per state of the plan */
    LoopRun *loop;          /* per loop of the plan's graph; NULL: it has none */
    int64_t capacity;       /* of all caches */
    int *rank;              /* per input, for binding */
    const int64_t **extent; /* likewise */
    Bindings bindings;
    void **address;          /* per value of the plan */
    void **buffer;           /* of the launch at hand, or of all of its group */
    LaunchArguments *member; /* of the group at hand */
    int *fault;      /* per launch of the plan: its fault code in the last run; of the device's alloc_host */
    Block *arena;    /* compiled: per segment of the plan, where the values that it makes lie */
    int64_t *size;   /* room for the sizes that are read before a segment */
    Block workspace; /* of the library's products */
    ReplaySlot replay[SN_REPLAYS_MOST];
    uint64_t runs;
    Allocator allocator;
    Block *block;           /* eager: per value of the plan */
    Phase last_phase;       /* of a run; SN_PHASE_COUNT: all of it, and states are handed over */
    double *phase_seconds;  /* NULL: the run is not cut into phases */
    int segment;            /* of the launches at hand */
    int begin, end;         /* the launches of the part at hand */
    int reached;            /* the last launch that the run at hand or the last one has started */
    bool ran;               /* the outputs are those of a run */
    const Binding *binding; /* of the last run */
    int64_t peak;
    Profile *profile;
    Marks *marks; /* of the profile, where the device has some: before each launch and behind the last */
    RunTime time; /* of the last run */
};

/* What runs the loops of a program's plan. Turns are runs of contexts, which know their loops by this alone. */
typedef struct LoopOps {
    Status (*init)(sn_Context *context); /* context->loop; `free` is due also when this fails */
    void (*free)(sn_Context *context);
    /* The loops that come before a segment, whose operands are there; puts what they make where it is read. */
    Status (*run)(sn_Context *context, const Binding *binding, int segment);
} LoopOps;

/* The slots of the plan's states; their memory. */
Status sn_states_init(sn_Context *context);
void sn_states_free(sn_Context *context);
bool sn_states_hold(const sn_Context *context, const void *data);

/* Before binding: every cache has its contents and room for what the run appends to it. context->rank and
 * extent are those of the inputs that are no caches. */
Status sn_caches_fit(sn_Context *context);

/* The contents of a cache as a dense tensor of the extents of its output slot. */
Status sn_cache_output(const sn_Context *context, OutputSlot *slot);

/* Brings the initial value of a state that is updated in place, which is not live, into its block. */
Status sn_state_begin(sn_Context *context, StateSlot *state, const void *data, int64_t bytes);

/* The same of a state that is the program's own, which is live from then on. */
Status sn_state_fill(sn_Context *context, StateSlot *state, int64_t bytes);

/* SN_INVALID when a run that failed has left states updated by half. */
Status sn_states_sound(const sn_Context *context);

/* After a run that failed: notes which states it may have spoilt. */
void sn_states_failed(sn_Context *context);

/* Room for what the run makes of each state whose size is known before the segment, and not before an earlier one. `others`:
 * bytes that the context holds beside those of its side. */
Status sn_states_place(sn_Context *context, const Binding *binding, int segment, int64_t others);

/* After a run whose outputs are all at hand: what it made becomes the next run's input. */
Status sn_states_hand_over(sn_Context *context, const Binding *binding);

/* ---- context_memory.c ---- */

/* Makes `block` at least `bytes` large; its contents are lost when it changes. `held`: the bytes of all other
 * blocks of the context. A block of an earlier run that is larger than the limit now allows is not kept. */
Status sn_context_grow(sn_Context *context, Block *block, int64_t bytes, int64_t held);
/* Bytes held beside arena and allocator. */
int64_t sn_context_side_bytes(const sn_Context *context);
void sn_context_free_block(const sn_Context *context, Block *block);

/* ---- context_place.c ---- */

/* Memory for states and the launches of a segment, whose sizes are known. */
Status sn_context_place(sn_Context *context, const Binding *binding, int segment);

/* ---- execute.c ---- */

/* The launches of one run, in either mode: every address but those of values made in the run is set. */
Status sn_execute(sn_Context *context, const Binding *binding);

/* Starts a launch of the plan, whose addresses are set, in one of its ways (see sn_plan_way). *done false: nothing was
 * started, as the library has no such proposal. */
Status sn_context_start(sn_Context *context, const Binding *binding, int index, int way, bool *done);

/* replay.c: what `run` starts, launches and products only, started together where the device records and the
 * same was started before. */
Status sn_replay(sn_Context *context, const Binding *binding, Status (*run)(sn_Context *, const Binding *));
void sn_replay_free(sn_Context *context);

/* Eager: the blocks that the last run left (its outputs) go back to the allocator. */
void sn_execute_release(sn_Context *context);

#endif

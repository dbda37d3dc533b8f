/* A plan: the launches of a fused graph and the buffers between them. Made once per program, without a
 * device; immutable afterwards, and shared by all contexts.
 */
#ifndef SN_PLAN_H
#define SN_PLAN_H

#include "codegen.h"
#include "sizes.h"
#include "tuning.h"

typedef enum Storage {
    SN_STORAGE_INPUT,      /* the caller's memory */
    SN_STORAGE_CONSTANT,   /* a tensor of the model */
    SN_STORAGE_SETUP,      /* made once from constants */
    SN_STORAGE_ACTIVATION, /* lives inside a run */
    SN_STORAGE_OUTPUT,     /* made in a run and kept until the next */
    SN_STORAGE_STATE,      /* made in a run, and the next one's input */
    SN_STORAGE_SCRATCH,    /* lives inside one launch */
    SN_STORAGE_COUNT
} Storage;

const char *sn_storage_name(Storage storage);

/* A buffer. `first` is the launch that writes it (-1: none does), `last` the last one that needs it; what
 * outlives a run has last == launch_count. A constant or setup result with last < setup_count is not needed
 * after setup. */
typedef struct PlanValue {
    const Value *value; /* NULL for scratch */
    Type type;          /* scratch: u8[bytes] */
    Storage storage;
    int bytes; /* position in Plan.dim */
    int first, last;
    int input;            /* INPUT: which one */
    int over;             /* the value whose memory it takes over in place; -1: none */
    const Tensor *tensor; /* CONSTANT */
} PlanValue;

/* A product that the device's library can do in a kernel's place (see codegen's library.h). All numbers are
 * positions in Plan.dim; those of an absent matrix are -1. */
typedef struct PlanMatrix {
    int offset, stride, batch_stride;
} PlanMatrix;

typedef struct PlanProduct {
    const LibraryProduct *form;
    int batch, M, N, K;
    PlanMatrix a, b, c, d, bias, aux, sum;
    const struct PlanLaunch
        *rest; /* what the library leaves to be done, with the same buffers; NULL: nothing */

    /* What is tried first: the launch, and perhaps a sum that is another launch, with an epilogue of training, which the library
     * may lack; NULL: none. It reads the mask of launch `needs`, which has to have been done in this way; -1: none. */
    const struct PlanProduct *full;
    int needs;
} PlanProduct;

/* One kernel launch. What is called a position in Plan.dim is -1 where the kernel gives no such Dim. */
typedef struct PlanLaunch {
    const Node *cluster;
    const Kernel *kernel; /* its Dims are this launch's own */
    int unique;           /* position in Plan.kernel: launches of equal text share one */
    const char *summary;  /* "contract add gelu": the operators of its body, anchor first */
    int buffer_count, output_count;
    const int *buffer;                                /* positions in Plan.value: inputs, outputs, scratch */
    int param_start;                                  /* of its params among those of all launches */
    const int *param;                                 /* positions in Plan.dim, kernel->param_count of them */
    int items, after, together, shared, flops, bytes; /* positions in Plan.dim */
    int segment;
    int group; /* launches that run as one: in the first of them how many they are (1: it is alone), in each other one how
                  many places behind the first it is, negative */
    bool fails;                 /* its data can make it fail, also where no launch before it has */
    const PlanProduct *product; /* NULL: the library cannot */
    int more_count;             /* buffers of product->full besides: a mask, a sum */
    int more[2];                /* positions in Plan.value */
    int summed_by;              /* the launch whose product->full does this one's work too; -1: none */
    int dead_count;
    const int *dead; /* run values that nobody needs after this launch */
} PlanLaunch;

/* A result of the graph. */
typedef struct PlanOutput {
    int value;      /* position in Plan.value */
    bool copied;    /* not made in a run (an input or a constant): handed out as a copy */
    const int *dim; /* its extents: positions in Plan.dim */
} PlanOutput;

/* A state that grows in place (see passes/append.c): one buffer is the input that stands for it and the output. */
typedef struct PlanCache {
    int input;  /* of the graph, behind those of the model; -1: the state does not grow in place */
    int axis;   /* along which it grows */
    Dim length; /* its extent there after a run; before one, that of the state's own input */
} PlanCache;

/* How a state that does not grow is kept: in one buffer, which the launch that makes its new value updates, or in two
 * that take turns. */
typedef struct PlanUpdate {
    int launch;         /* that updates it in place; -1: none does */
    const char *reason; /* why not, in static text; NULL where it is */
} PlanUpdate;

/* A run of launches, all of whose sizes are known before the first one. Segments follow one another; between two of them
 * the host reads the sizes that the earlier ones have made. */
typedef struct PlanSegment {
    int end; /* its launches begin where those of the segment before end, the first one's behind the setup */
    int size_count, dim_count, check_count, loop_count;
    const int *loop;  /* of the graph's loops, that run before it */
    const int *size;  /* of the graph's sizes, that are read before it */
    const int *dim;   /* positions in Plan.dim of what is known from it on */
    const int *check; /* likewise, of the graph's checks */
} PlanSegment;

typedef struct Plan {
    const Graph *graph; /* fused; holds the symbols, checks, names and origins */
    const Target *target;
    bool eager;

    int cache_count;   /* of the inputs: they are the last */
    int hidden_inputs; /* at the end: what loops make, caches, and the states of a training step */
    int hidden_outputs; /* at the end: sizes that data decide, what loops take, and the states of a training step */
    int segment_count; /* 1 at least; more where data decide sizes */
    const PlanSegment *segment;
    int value_count, launch_count, kernel_count, input_count, output_count, dim_count, param_count;
    const PlanValue *value;
    const PlanLaunch *launch;    /* setup first */
    int setup_count;             /* launches [0, setup_count) depend on constants alone and run once */
    const Kernel *const *kernel; /* distinct */
    const int *input;            /* per input of the graph: position in `value` */
    const PlanOutput *output;
    int state_count;
    const PlanCache *cache;   /* per state */
    const PlanUpdate *update; /* per state */
    int update_first;         /* the first launch that updates a state in place; launch_count: none does */
    const sn_State *state;    /* outputs that the next run takes as inputs */
    const GraphState **kept;  /* per state: not NULL, it is the program's own (a parameter, a moment) */
    const Dim *dim;           /* every distinct Dim that a run evaluates */
    const int *known;         /* per `dim`: the segment before which it is */
    int buffer_most;          /* the largest buffer_count, with `more` */
    int group_most;           /* launches of the largest group */
    int group_buffers;        /* the most buffers that the launches of a group have together */
} Plan;

/* What turns a cluster into a kernel; sn_codegen, or a test's own. */
typedef Status CodegenFunction(Arena *arena, Dims *dims, const Node *cluster, const Target *target,
                               Kernel **out);

/* Plans a graph of stage FUSED, which must live as long as the plan, in `arena`. Errors of code generation
 * name the cluster's origin. */
Status sn_plan_new(Arena *arena, const Graph *graph, const Target *target, bool eager,
                   CodegenFunction *codegen, Plan **out);

/* Fills plan->segment and plan->known, of a plan whose launches, each with its segment, are ordered. */
void sn_plan_segments(Arena *arena, Plan *plan, const Levels *levels);

/* Decides which values of a compiled plan take over the memory of one that dies. */
void sn_plan_in_place(Arena *arena, Plan *plan);

/* The same for the states of a plan, whose `state` and `cache` are set. A state is updated in place where nothing that
 * follows in the run can fail on its data, so that such a run leaves the states as they were. */
void sn_plan_update_states(Arena *arena, Plan *plan);

/* Forms groups of launches, in a plan whose states are decided: see plan_group.c. */
void sn_plan_group(Arena *arena, Plan *plan);

/* The first launch of the group that a launch is in, and the last one. */
static inline int sn_plan_group_first(const Plan *plan, int launch) {
    int group = plan->launch[launch].group;
    return group < 0 ? launch + group : launch;
}
static inline int sn_plan_group_last(const Plan *plan, int launch) {
    int first = sn_plan_group_first(plan, launch);
    return first + plan->launch[first].group - 1;
}

/* The launches of a segment: [begin, end). */
static inline int sn_plan_segment_begin(const Plan *plan, int segment) {
    return segment ? plan->segment[segment - 1].end : plan->setup_count;
}

/* Launches of a run, a group being one. */
int sn_plan_run_launches(const Plan *plan);

/* How many inputs of a fused graph stand for states that grow in place; they are the last. */
int sn_graph_cache_count(const Graph *graph);

/* How many of its last inputs nobody sets: those, what loops make, and the states of a training step. */
int sn_graph_hidden_inputs(const Graph *graph);

/* Makes outputs of the plan its next run's inputs, besides the states of the graph itself. SN_INVALID when one does
 * not exist, is taken twice, or differs from the other in dtype, rank or a fixed extent. */
Status sn_plan_add_states(Arena *arena, Plan *plan, int count, const sn_State *state);

/* How a launch is done where there is a library of products: 0, by its kernel; n, by the library's proposal n - 1. That
 * is what the target's tuning says of the product; otherwise it is the library's first one from 16 rows of all its
 * matrices together on. With fewer, the product is a pass over its right operand, which a kernel does at the speed of
 * memory and without a second launch. `dim` as in a binding. */
int sn_plan_way(const PlanLaunch *launch, const int64_t *dim, const Target *target);

/* The product of a launch as tuning knows it; false where the library has no part in it. */
bool sn_plan_product_key(const PlanLaunch *launch, const int64_t *dim, const Target *target, ProductKey *out);

/* The plan as text: buffers, then one line a launch. */
void sn_plan_print(Text *text, const Plan *plan);

/* The text of every distinct kernel, each under a line with its name and how many launches use it. */
void sn_plan_print_kernels(Text *text, const Plan *plan);

/* "layer.0/attn/MatMul" (MatMul) and 3 more; for messages, profiles and prints. "" for NULL. */
const char *sn_origin_text(Arena *arena, const Origin *origin);

#endif

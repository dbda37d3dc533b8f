/* Passes: graph to graph, one file each. */
#ifndef SN_PASS_H
#define SN_PASS_H

#include "graph.h"
#include "target.h"

/* Why something was done or declined, for `dump --remarks`. */
typedef struct Remark {
    const char *pass;
    const Origin *origin; /* may be NULL */
    bool done;            /* false: declined */
    const char *text;
} Remark;

typedef struct Pass {
    const char *name;
    Arena *arena; /* scratch, freed after the pass; what stays goes into the graph's arena */
    const Target *target;
    bool eager;     /* the order being run */
    Status status;  /* a failure latches here and ends the pipeline */
    int rewrites;   /* counted by the pass through sn_pass_rewrite */
    int64_t limit;  /* stop after this many rewrites in all passes (bisection); INT64_MAX: no limit */
    int64_t *spent; /* rewrites so far over the pipeline */
    sn_Autocast autocast;
    int state_count;
    const sn_State *state;             /* of the graph's inputs and outputs */
    const struct Training *training;   /* of a training order, see train.h */
    const struct Recompute *recompute; /* for remat, see remat.h; NULL: what costs nothing */
    struct RematReport *remat;         /* of remat; NULL: not wanted */
    int extent_count;
    const sn_Extent *extent; /* what symbols are reckoned to be */
    struct Remarks *remarks;
} Pass;

typedef struct Remarks {
    Arena *arena;
    SN_VEC(Remark) list;
} Remarks;

/* True when one more rewrite is allowed; counts it. Every rewrite of every pass asks first. */
bool sn_pass_rewrite(Pass *pass);
void sn_pass_remark(Pass *pass, const Origin *origin, bool done, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

typedef bool PassFunction(Pass *pass, Graph *graph);

/* The passes (true: changed something). */
bool sn_differentiate(Pass *pass, Graph *graph); /* a model's own gradients */
bool sn_simplify(Pass *pass, Graph *graph);      /* folding, CSE, algebra, view merging, DCE, to a fixpoint */
bool sn_recognise(Pass *pass, Graph *graph);     /* composites from decomposed exports */
bool sn_autocast(Pass *pass, Graph *graph);      /* products in 16 bits, where that is asked for */
bool sn_parameters(Pass *pass, Graph *graph);    /* training: the weights become inputs and states */
bool sn_make_step(Pass *pass, Graph *graph);     /* training: loss, gradients, updates */
bool sn_merge(Pass *pass, Graph *graph);    /* sibling contractions with one input and constant weights */
bool sn_append(Pass *pass, Graph *graph);   /* states that only grow, in place: concat to append */
bool sn_expand(Pass *pass, Graph *graph);   /* composites to primitives; stage becomes EXPANDED */
bool sn_layout(Pass *pass, Graph *graph);   /* arithmetic on transposed results, before the transposition */
bool sn_integers(Pass *pass, Graph *graph); /* products of small integers as exact ones of floats */
bool sn_remat(Pass *pass, Graph *graph);    /* what backward needs: kept or computed again */
bool sn_pack(Pass *pass, Graph *graph);     /* constant right operands of contractions packed in setup */
bool sn_fuse(Pass *pass, Graph *graph);     /* clusters; stage becomes FUSED; honours pass->eager */

/* Sets `setup` on every node: true for what constants alone decide, which runs once. Eager frameworks
 * recompute it, so in the eager order nothing is. */
void sn_mark_setup(Pass *pass, Graph *graph);

typedef struct PassRecord {
    const char *name;
    double seconds;
    int rewrites;
    bool changed;
} PassRecord;

/* What the caller of the pipeline wants to see and limit. Zero is the default for all. */
typedef struct PipelineOptions {
    bool eager;
    bool verify;   /* after every pass */
    int64_t limit; /* rewrites; 0: no limit */
    /* called before and after each pass, if not NULL */
    void (*observe)(void *user, const char *pass, bool after, const Graph *graph);
    void *user;
    sn_Autocast autocast; /* what products compute in, see autocast.c */
    int state_count;
    const sn_State *state;           /* outputs that the next run takes as inputs */
    const struct Training *training; /* see train.h: the program is a training step; NULL: it is the model */
    const struct Recompute *recompute; /* for remat, see remat.h; NULL: what costs nothing */
    struct RematReport *remat;         /* of remat; NULL: not wanted */
    int extent_count;
    const sn_Extent *extent; /* what symbols are reckoned to be where a choice depends on it */
    bool no_dropout;         /* nothing is dropped, whatever the model says */
    const char *stop_after;  /* name of the last pass to run, or NULL */
} PipelineOptions;

typedef struct PipelineResult {
    SN_VEC(PassRecord) record;
    Remarks remarks;
} PipelineResult;

/* Dropout nodes are not to drop, unless a training has a share for all of them. */
void sn_dropout_ignore(Graph *graph);

/* Runs the order for the mode on the graph in place. `arena` holds records and remarks. */
Status sn_pipeline(Arena *arena, Graph *graph, const Target *target, const PipelineOptions *options,
                   PipelineResult *result);

/* The name of the index-th pass of an order; NULL past the last. */
const char *sn_pipeline_name(bool eager, bool training, int index);

/* One pass by name ("simplify"), for pass tests and `dump`; false when there is none. */
bool sn_pass_by_name(const char *name, PassFunction **function);

#endif

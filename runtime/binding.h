/* Bindings: everything that follows from the shapes of the inputs, kept for the shapes met last. */
#ifndef SN_BINDING_H
#define SN_BINDING_H

#include "needs.h"

typedef struct Binding {
    int64_t *key;    /* per symbol of the graph: what the inputs' shapes say; -1: data decide it */
    int64_t *symbol; /* the same with what the run at hand has found */
    int64_t *dim;    /* per Plan.dim */
    int64_t *param;  /* per param of all launches, see PlanLaunch.param_start */
    int64_t *offset; /* compiled: per Plan.value that lives in a run, its place in the arena */
    int *way;        /* per launch of the plan: see sn_plan_way */
    bool products;   /* the library has one of them */

    /* Per launch of the plan: its product->full was done when it was started last. A recorded run does not tell, and one of
     * another binding may have done otherwise. */
    bool *full;

    int64_t *arena_bytes; /* compiled: per segment of the plan, what its values take together */
    uint64_t number;      /* of all bindings of a context, this one alone has it */
    uint64_t last_wanted; /* by the count of requests */
} Binding;

enum { SN_BINDINGS_MOST = 16 };

typedef struct Bindings {
    const Plan *plan;
    bool library;    /* the device has one */
    int64_t *symbol; /* of the request at hand */
    Binding *at[SN_BINDINGS_MOST];
    Binding *current; /* what the last request gave */
    int count;
    uint64_t requests, made;
} Bindings;

Status sn_bindings_init(Bindings *bindings, const Plan *plan, bool library);
void sn_bindings_free(Bindings *bindings);

/* The binding for inputs of these shapes (per input of the graph), made or found; it stays valid until the
 * next request. Of it, what is known before the first segment is set. SN_INVALID when the shapes contradict the model. */
Status sn_bindings_get(Bindings *bindings, const int *rank, const int64_t *const *extent,
                       const Binding **out);

/* Sets what becomes known of the current binding before `segment` (not the first one), by the values of the sizes that are
 * read there, in the order of the plan's list. SN_INVALID when one of them is impossible or contradicts the model. */
Status sn_bindings_extend(Bindings *bindings, int segment, const int64_t *size);

#endif

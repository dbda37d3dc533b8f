/* What the command line and the harness see of the public API's objects. */
#ifndef SN_SESSION_H
#define SN_SESSION_H

#include "budget.h"
#include "live.h"
#include "load.h"
#include "profile.h"
#include "saved.h"
#include "tuning.h"
#include <stdatomic.h>

struct sn_Model {
    Arena *arena;     /* the graph, and the mapping that its constants point into */
    Graph *graph;     /* imported (of a saved program: fused); never changed afterwards */
    const char *path; /* of the file; NULL: a saved program */
    LoadOptions options;
    ModelInfo info;
    const Saved *saved; /* NULL: an ONNX model */
    sn_TensorInfo *input, *output;
    atomic_int references; /* the caller's and one per program */
};

/* sn_model_open_with, also for a saved program: sn_session_compile executes it then, in the mode that it was saved in.
 * What `options` (may be NULL) refers to is copied. */
Status sn_session_open(const char *path, const LoadOptions *options, sn_Model **out);

/* What sn_CompileOptions cannot say. Zero is the default for all. */
typedef struct SessionOptions {
    PipelineOptions pipeline; /* eager is taken from the mode */
    PipelineResult *result;   /* in the program's arena; NULL: not wanted */
    const Tuning *tuning;     /* instead of a file; must outlive the program. NULL: none */
    Budget budget;            /* of a training step, for the extents of the pipeline options */
} SessionOptions;

/* sn_compile with more to say. `session` may be NULL. */
Status sn_session_compile(const sn_Model *model, const sn_CompileOptions *options,
                          const SessionOptions *session, sn_Program **out);

/* What a state of the compile options is after the last run. */
const int64_t *sn_context_state_extent(const sn_Context *context, int state);

const Plan *sn_program_plan(const sn_Program *program);
const Ledger *sn_program_ledger(const sn_Program *program);

/* What the program's budget came to; NULL: it has none. */
const BudgetReport *sn_program_budget(const sn_Program *program);

/* What a program of a compiled training step and one context of it take, at these sizes. */
Status sn_program_needs(const sn_Program *program, int count, const sn_Extent *extent, Needs *out);

/* sn_plan_live of a program at these sizes; *dim: what its plan's positions mean. Both in `arena`. */
Status sn_program_live(const sn_Program *program, Arena *arena, int count, const sn_Extent *extent, Live *out,
                       const int64_t **dim);

#endif

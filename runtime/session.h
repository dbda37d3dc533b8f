/* What the command line and the harness see of the public API's objects. */
#ifndef SN_SESSION_H
#define SN_SESSION_H

#include "compile.h"
#include "load.h"
#include "profile.h"
#include <stdatomic.h>

struct sn_Model {
    Arena *arena; /* the graph, and the mapping that its constants point into */
    Graph *graph; /* imported; never changed afterwards */
    ModelInfo info;
    double parse_seconds;
    sn_TensorInfo *input, *output;
    atomic_int references; /* the caller's and one per program */
};

/* What sn_CompileOptions cannot say. Zero is the default for all. */
typedef struct SessionOptions {
    PipelineOptions pipeline; /* eager is taken from the mode */
    PipelineResult *result;   /* in the program's arena; NULL: not wanted */
} SessionOptions;

/* sn_compile with more to say. `session` may be NULL. */
Status sn_session_compile(const sn_Model *model, const sn_CompileOptions *options,
                          const SessionOptions *session, sn_Program **out);

const Plan *sn_program_plan(const sn_Program *program);
const Ledger *sn_program_ledger(const sn_Program *program);

#endif

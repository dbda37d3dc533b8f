/* The compile driver: the only place that knows frontend, passes and codegen together. No device is needed.
 */
#ifndef SN_COMPILE_H
#define SN_COMPILE_H

#include "pass.h"
#include "program.h"

/* A copy of the imported graph, taken through the mode's passes (up to options->stop_after). `options` may be
 * NULL (compiled, everything), and so may `result`, which gets the passes' records and remarks. Time is added
 * to `ledger`. */
Status sn_compile_graph(Arena *arena, const Graph *imported, const Target *target,
                        const PipelineOptions *options, PipelineResult *result, Ledger *ledger, Graph **out);

/* The launches of such a graph when all passes are done, with the text of every kernel. */
Status sn_compile_launches(Arena *arena, const Graph *graph, const Target *target,
                           const PipelineOptions *options, Ledger *ledger, Plan **out);

/* Both: to its end, planned, with the text of every kernel. `target` must outlive the plan. */
Status sn_compile_plan(Arena *arena, const Graph *imported, const Target *target,
                       const PipelineOptions *options, PipelineResult *result, Ledger *ledger, Plan **out);

#endif

#include "compile.h"
#include "clock.h"

Status sn_compile_graph(Arena *arena, const Graph *imported, const Target *target,
                        const PipelineOptions *options, PipelineResult *result, Ledger *ledger, Graph **out) {
    PipelineOptions usual = {0};
    PipelineResult unwanted = {0};
    double start = sn_clock();
    Graph *graph = sn_graph_clone(arena, imported);
    TRY(sn_pipeline(arena, graph, target, options ? options : &usual, result ? result : &unwanted));
    ledger->passes += sn_clock() - start;
    *out = graph;
    return NULL;
}

Status sn_compile_launches(Arena *arena, const Graph *graph, const Target *target,
                           const PipelineOptions *options, Ledger *ledger, Plan **out) {
    double start = sn_clock();
    TRY(sn_plan_new(arena, graph, target, options && options->eager, sn_codegen, out));
    TRY(sn_plan_add_states(arena, *out, options ? options->state_count : 0, options ? options->state : NULL));
    ledger->codegen += sn_clock() - start;
    return NULL;
}

Status sn_compile_plan(Arena *arena, const Graph *imported, const Target *target,
                       const PipelineOptions *options, PipelineResult *result, Ledger *ledger, Plan **out) {
    Graph *graph;
    TRY(sn_compile_graph(arena, imported, target, options, result, ledger, &graph));
    return sn_compile_launches(arena, graph, target, options, ledger, out);
}

#include "loop_kept.h"
#include <stdlib.h>

int64_t sn_loops_peak(const sn_Context *context) {
    int64_t most = 0;
    for (int i = 0; i < context->program->plan->graph->loops.count; i++)
        if (context->loop[i].peak > most) most = context->loop[i].peak;
    return most;
}

int64_t sn_loops_kept_bytes(const sn_Context *context) {
    const Graph *graph = context->program->plan->graph;
    int64_t bytes = 0;
    if (!context->loop || !context->program->device->host_memory) return 0;
    for (int i = 0; i < graph->loops.count; i++)
        for (int k = 0; k < graph->loops.at[i].kept; k++) bytes += context->loop[i].kept[k].room;
    return bytes;
}

void sn_loops_free_kept(sn_Context *context) {
    const Graph *graph = context->program->plan->graph;
    for (int i = 0; i < graph->loops.count; i++)
        for (int k = 0; k < graph->loops.at[i].kept; k++) {
            free(context->loop[i].kept[k].bytes);
            context->loop[i].kept[k] = (Kept){0};
        }
}

/* The C dialect's lines that rows share: where a row, or a piece of one, ends inside a line that the next one begins in, and
 * results go past the caches, such lines are put together before they are stored (device/memory.h). */
#include "emit.h"

/* Whether rows follow each other without a gap and are no whole vectors: then each ends where the next one begins. */
static bool is_ragged(const Emit *emit, const Store *store) {
    Dims *dims = emit->kernel->dims;
    Dim stride, rest, axis = sn_emit_row_axis(emit->nest), length = sn_emit_row_length(emit);
    int64_t known, lanes = emit->kernel->target->vector_bytes / 4;
    if (!axis || !sn_dim_affine(dims, store->offset, axis, &stride, &rest) || stride != length) return false;
    return !sn_dim_is(sn_dim_mod(dims, length, sn_dim(dims, lanes)), &known) || known != 0;
}

static void add_edge(Emit *emit, const Store *store) {
    bool known = false;
    for (int i = 0; i < emit->edges.count; i++) known |= emit->edges.at[i]->buffer == store->buffer;
    if (!known) sn_emit_line(emit, "SnEdge edge%d = {0};", store->buffer);
    sn_push(emit->arena, &emit->edges, store);
}

void sn_emit_edges(Emit *emit) {
    const Nest *nest = emit->nest;
    emit->edges.count = 0;
    if (nest->chunk || nest->tile || nest->strip) return;
    bool apart = sn_emit_stores_apart(emit);
    for (int p = 0; p < nest->step.count; p++) {
        const Step *step = &nest->step.at[p];
        const Store *aligned = step->acc.count ? NULL : sn_emit_head_store(emit, step);
        for (int i = 0; i < step->store.count; i++) {
            const Store *store = &step->store.at[i];
            if (apart || (store == aligned && is_ragged(emit, store))) add_edge(emit, store);
        }
    }
}

void sn_emit_edges_end(Emit *emit) {
    for (int i = 0; i < emit->edges.count; i++) {
        bool known = false;
        for (int k = 0; k < i; k++) known |= emit->edges.at[k]->buffer == emit->edges.at[i]->buffer;
        if (!known) sn_emit_line(emit, "sn_edge_end(&edge%d);", emit->edges.at[i]->buffer);
    }
}

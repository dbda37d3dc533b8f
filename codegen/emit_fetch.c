/* Streams of vectors that the C dialect fetches ahead into the second-level cache, where the target was measured to gain by it
 * (Target.fetch_bytes). What reads and stores past the caches then waits for memory there, and not in the few places that the first
 * cache has for both. What may lie in the second-level cache is not fetched: a request to it costs as much as a load. Then the
 * line at hand is named instead, which costs nothing that could be told, where a test would keep loops from being compiled well. */
#include "emit.h"

enum {
    READS = 8, /* so many bytes are read for one that is written: nothing is stored beside them to wait for */
    SMALL_IN_L2 = 2, /* so many of what is small fit in one */
    LINE_BYTES = 64
};

void sn_emit_choose_fetches(Emit *emit) {
    emit->fetches = sn_kernel_fetches(emit->kernel, &emit->least_fetched);
}

/* What is read alone is not fetched as far ahead: half of that is then in time, and what is near stays near. */
void sn_emit_far(Emit *emit) {
    if (!emit->fetches) return;
    const KernelIr *kernel = emit->kernel;
    int most = kernel->target->fetch_bytes;
    const char *reads = sn_emit_dim(emit, sn_kernel_read_bytes(kernel), NULL),
               *writes =
                   sn_emit_dim(emit, sn_dim_mulc(kernel->dims, sn_kernel_written_bytes(kernel), READS), NULL);
    sn_emit_line(emit, "const int64_t far = %s < INT64_C(%lld) ? 0 : %s < %s ? %d : %d;", reads,
                 (long long)emit->least_fetched, writes, reads, most / 2, most);
    sn_emit_line(emit, "(void)far;");
}

static bool indexed(const Nest *nest, Dim offset) {
    for (int i = 0; i < nest->index.count; i++)
        if (sn_dim_depends(offset, nest->index.at[i]->dim)) return true;
    return false;
}

/* Elements from one place on `axis` to the next; NULL: they are the same, or it cannot be told. */
static Dim moves_by(const Emit *emit, const Instr *instr, Dim axis) {
    Dim by, rest;
    bool moves = sn_dim_affine(emit->kernel->dims, instr->dim, axis, &by, &rest) && !sn_dim_equals(by, 0);
    return moves && !sn_dim_has_axis(by) ? by : NULL;
}

/* Whether all of what a load may read stays in the second-level cache beside what passes through it. */
static bool is_small(const Emit *emit, const Instr *instr) {
    const KernelIr *kernel = emit->kernel;
    int64_t bytes;
    if (instr->which || instr->buffer >= kernel->input_count) return false;
    Type type = kernel->cluster->body->param.at[instr->buffer]->type;
    Dim all = sn_dim_mulc(kernel->dims, sn_type_count(kernel->dims, type), sn_dtype_bytes(type.dtype));
    return sn_dim_is(all, &bytes) && bytes <= kernel->target->l2_bytes / SMALL_IN_L2;
}

bool sn_emit_is_vast(const Emit *emit, int bytes) {
    int64_t length;
    return emit->fetches && sn_dim_is(sn_emit_row_length(emit), &length) &&
           length > emit->kernel->target->l2_bytes / bytes;
}

/* What rows have in common stays near, and what an earlier loop over the row loaded is near while the second-level cache holds the row.
 * What a walk by blocks loads is read ahead by these. */
static bool is_near(Emit *emit, const Instr *instr) {
    Dim axis = sn_emit_row_axis(emit->nest);
    const bool vast = sn_emit_is_vast(emit, sn_dtype_bytes(instr->dtype)),
               by_blocks = emit->online && emit->step == emit->online;
    for (int i = 0; i < emit->step && (!vast || by_blocks); i++)
        if (emit->nest->step.at[i].loop && sn_emit_needed(emit, i)[instr->id]) return true;
    return axis && !moves_by(emit, instr, axis);
}

bool sn_emit_strips(const Emit *emit, const Instr *load) {
    const Nest *nest = emit->nest;
    Dims *dims = emit->kernel->dims;
    Dim strip = nest->strip, other = NULL, by[2], rest;
    for (int i = 0; strip && i + 1 < nest->parallel.count; i++)
        if (nest->parallel.at[i] == strip) other = nest->parallel.at[i + 1];
    return other && !load->which && sn_dim_affine(dims, load->dim, strip, &by[0], &rest) &&
           sn_dim_affine(dims, rest, other, &by[1], &rest) && !sn_dim_equals(by[1], 0) &&
           by[0] == sn_dim_mul(dims, by[1], other->operand[0]);
}

/* Whether the elements of a map cost so much that few of the loads behind them wait beside them. */
static bool is_dear_map(const Emit *emit) {
    const Nest *nest = emit->nest;
    bool dear = false;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        dear |= instr->varying && instr->kind == SN_INSTR_CALL && sn_function_is_costly(instr->function);
    }
    return dear && nest->vector == SN_VECTOR_PARALLEL && !nest->reduced.count;
}

/* Whether a load is of a row that only the second-level cache has from an earlier walk: of one that is stored one row later. */
static bool is_again(const Emit *emit, const Instr *instr) {
    return emit->lags && (emit->online || emit->again) && emit->step > emit->online && instr->rowwise;
}

/* Whether a load of whole vectors is of a stream that is fetched. */
static bool is_stream(Emit *emit, const Instr *instr) {
    const Nest *nest = emit->nest;
    bool columns = nest->vector == SN_VECTOR_PARALLEL && nest->reduced.count; /* whose rows are elsewhere */
    return !nest->tile && (!columns || (emit->crosses && instr->reduced)) && !indexed(nest, instr->dim) &&
           !is_small(emit, instr) && !is_near(emit, instr) && !sn_emit_strips(emit, instr);
}

/* Whether the vector being written begins a line, if the first of those that the loop does at a time does. */
static bool begins_line(const Emit *emit, const Instr *instr) {
    return emit->part * emit->kernel->target->vector_bytes / 4 * sn_dtype_bytes(instr->dtype) % LINE_BYTES ==
           0;
}

void sn_emit_fetch(Emit *emit, const Instr *instr) {
    if (!emit->fetches || !begins_line(emit, instr)) return;
    const char *buffer = sn_emit_buffer(emit, instr->buffer), *at = sn_emit_dim(emit, instr->dim, NULL);
    const char *far = emit->crosses ? sn_arena_printf(emit->arena, "far%d", instr->id) : "far";
    const bool stream = is_stream(emit, instr);
    if (stream) sn_emit_line(emit, "SN_FETCH(%s + %s, %s);", buffer, at, far);
    if (stream ? is_dear_map(emit) : is_again(emit, instr))
        sn_emit_line(emit, "SN_AHEAD(%s + %s, %d);", buffer, at, SN_NEAR_BYTES);
}

void sn_emit_far_rows(Emit *emit, Dim axis, int rows, const char *run) {
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, emit->step);
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (!needed[i] || instr->kind != SN_INSTR_LOAD || !is_stream(emit, instr)) continue;
        Dim by = axis ? moves_by(emit, instr, axis) : NULL;
        const char *next =
            by ? sn_arena_printf(emit->arena, "(%d * %s - %s) * %d", rows, sn_emit_dim(emit, by, NULL), run,
                                 sn_dtype_bytes(instr->dtype))
               : "0";
        sn_emit_line(emit, "const int64_t far%d = ends ? far + %s : far;", instr->id, next);
        sn_emit_line(emit, "(void)far%d;", instr->id);
    }
}

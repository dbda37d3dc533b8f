/* Long rows of three loops that are stored later, four of them by turns: vector u of the hosting loop's four stores a vector of row u,
 * all at the same place in their rows. What rows have in common (gain, bias) then comes from the second-level cache once for
 * four, where it would else come as often as the rows themselves. While four rows are computed, four before them are stored. Rows
 * begin alike: what is no whole line is stored of all four when they begin to be stored, and when the next four do. */
#include "emit_before.h"
#include "emit_c.h"

enum {
    LOOPS = 3,
    NEAR_ROWS = 2 * SN_FOURS + 1, /* to be stored, to be stored next, and the one that is gone over first */
    FOURS_IN_L2 = 2               /* of that cache so much for these */
};

/* Whether all rows of a store begin at the same place of a line. */
static bool begins_alike(const Emit *emit, const Store *store) {
    Dims *dims = emit->kernel->dims;
    int64_t rest;
    Dim by, first, lanes = sn_dim(dims, emit->kernel->target->vector_bytes / 4);
    return sn_dtype_bytes(store->dtype) == 4 &&
           sn_dim_affine(dims, store->offset, emit->vector_axis, &by, &first) && sn_dim_equals(by, 1) &&
           sn_dim_is(sn_dim_mod(dims, first, lanes), &rest) && rest == 0;
}

/* Whether the hosting loop does so many vectors one by one. */
static bool hosts_four(Emit *emit) {
    const int present = emit->step;
    emit->step = emit->host;
    const int copies = sn_c_copies(emit, &emit->nest->step.at[emit->host], sn_emit_needed(emit, emit->host));
    emit->step = present;
    return copies == SN_FOURS;
}

bool sn_fours_fit(Emit *emit) {
    const Nest *nest = emit->nest;
    const Target *target = emit->kernel->target;
    const Step *last = &nest->step.at[sn_before_step(emit)];
    if (!emit->fetches || nest->step.count != LOOPS || nest->strip || nest->scratch.count ||
        sn_emit_gathers(emit) || !sn_before_bytes(emit, 0) ||
        sn_before_bytes(emit, LOOPS) <= target->l1_bytes ||
        sn_before_bytes(emit, NEAR_ROWS) > target->l2_bytes / FOURS_IN_L2 || !hosts_four(emit))
        return false;
    for (int i = 0; i < last->store.count; i++)
        if (!begins_alike(emit, &last->store.at[i])) return false;
    return true;
}

/* What is kept of rows has two places, of which the second is of rows that are to be stored next. */
void sn_fours_begin(Emit *emit) {
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    sn_emit_line(emit, "int64_t done = %s, waiting = 0;", sn_before_length(emit));
    for (int i = 0; i < nest->parallel.count; i++)
        sn_emit_line(emit, "int64_t before%d[2][%d] = {{0}};", (int)nest->parallel.at[i]->value, SN_FOURS);
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i))
            sn_emit_line(emit, "%s p%d[2][%d] = {{0}};", sn_emit_type(nest->instr.at[i]->dtype, false), i,
                         SN_FOURS);
}

/* Takes down the row at hand, as one that waits. */
static void emit_takes(Emit *emit, const unsigned char *needed) {
    const Nest *nest = emit->nest;
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "before%d[1][waiting] = i%d;", k, k);
    }
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i)) sn_emit_line(emit, "p%d[1][waiting] = v%d;", i, i);
    sn_emit_line(emit, "waiting++;");
}

/* Those that wait are to be stored. */
static void emit_moves_up(Emit *emit, const unsigned char *needed) {
    const Nest *nest = emit->nest;
    sn_emit_line(emit, "for (int64_t w = 0; next && w < waiting; w++) {");
    emit->indent++;
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "before%d[0][w] = before%d[1][w];", k, k);
    }
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i)) sn_emit_line(emit, "p%d[0][w] = p%d[1][w];", i, i);
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "if (next) done = 0;");
}

/* The names that row `which` of those to be stored had. */
static void emit_names(Emit *emit, const unsigned char *needed, const char *which) {
    const Nest *nest = emit->nest;
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "const int64_t i%d = before%d[0][%s];", k, k, which);
    }
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i))
            sn_emit_line(emit, "const %s v%d = p%d[0][%s];", sn_emit_type(nest->instr.at[i]->dtype, false), i,
                         i, which);
}

/* Where four wait, or no row comes any more: first what is left of those that are being stored, then of those that wait their
 * beginnings, or all. */
void sn_fours_row(Emit *emit) {
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    const char *length = sn_before_length(emit);
    const int present = emit->step;
    const Form form = emit->form;
    emit->step = sn_before_step(emit);
    emit_takes(emit, needed);
    sn_emit_line(emit, "const int over = row + 1 >= rows;");
    sn_emit_line(emit, "for (int next = 0; next < 2 && (over || waiting == %d); next++) {", SN_FOURS);
    emit->indent++;
    emit_moves_up(emit, needed);
    sn_emit_line(emit, "const int64_t from = done, limit = next && !over ? 0 : %s;", length);
    sn_emit_line(emit, "for (int64_t w = 0; from < %s && w < (next ? waiting : %d); w++) {", length,
                 SN_FOURS);
    emit->indent++;
    emit_names(emit, needed, "w");
    sn_emit_line(emit, "done = from;");
    sn_before_until(emit, needed);
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "if (next) waiting = 0;");
    emit->indent--;
    sn_emit_line(emit, "}");
    emit->step = present;
    emit->form = form;
}

void sn_fours_vector(Emit *emit) {
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    const int present = emit->step, turn = emit->part;
    const Form form = emit->form;
    emit->step = sn_before_step(emit);
    sn_emit_line(emit, "if (done + SN_LANES <= %s) {", sn_before_length(emit));
    emit->indent++;
    emit_names(emit, needed, sn_arena_printf(emit->arena, "%d", turn));
    emit->part = 0;
    sn_before_vector(emit, needed);
    emit->part = turn;
    if (turn == SN_FOURS - 1) sn_emit_line(emit, "done += SN_LANES;");
    emit->indent--;
    sn_emit_line(emit, "}");
    emit->step = present;
    emit->form = form;
}

/* Rows whose last loop only stores: the results of a row are stored while the next one is computed, or read, so that memory
 * reads and writes all the time. Where a loop computes what is dear, that one hosts the stores, otherwise the first, which
 * reads the row from memory. A range of work items is one sequence of such rows. Values that were kept for a row are
 * stored before the next row's take their place. */
#include "emit_before.h"

enum {
    ROWS_IN_L1 =
        4, /* of a row that two loops go over, what is fetched of the next ones, and what all of them need */
    ROWS_IN_L2 = 8,
    ROWS_BESIDE = 3, /* that go on at once */
    BESIDE_IN_L2 = 2 /* of that cache so much for rows that are read again */
};

/* Whether rows of which nothing is dear gain by it: those that lie in order, one beside the other in the first-level cache, are
 * read and stored as fast by loops of their own. */
static bool gains(const Emit *emit) {
    int64_t length;
    const Target *target = emit->kernel->target;
    return sn_dim_is(emit->vector_axis->operand[0], &length) && 4 * length <= target->l2_bytes / ROWS_IN_L2 &&
           (sn_emit_gathers(emit) || 4 * length > target->l1_bytes / ROWS_IN_L1);
}

/* Whether all that is kept of a row takes its places in the hosting loop. */
static bool keeps_locally(const Nest *nest, int host) {
    for (int i = 0; i < nest->scratch.count; i++)
        if (!nest->scratch.at[i].count) return false;
    for (int i = 0; i < nest->instr.count; i++)
        if (nest->instr.at[i]->scratch >= 0 && nest->instr.at[i]->kept != host) return false;
    return true;
}

/* Bytes that a loop loads of an element of its row. */
static int64_t loaded_bytes(Emit *emit, int step) {
    const unsigned char *needed = sn_emit_needed(emit, step);
    int64_t bytes = 0;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        bool kept = instr->scratch >= 0 && instr->kept < step;
        if (needed[i] && !kept && instr->kind == SN_INSTR_LOAD && instr->varying)
            bytes += sn_dtype_bytes(instr->dtype);
    }
    return bytes;
}

/* Whether the loops before the last one and the last of the row before go as one (of three the first over the next
 * row: emit_lead.c), though nothing is dear: memory then has one even stream of each kind, where what is awaited of
 * both has few places in the first cache. That cache holds these rows, what is kept of them and what all of them need, or a share of
 * the second one those that are not near anyway. */
static bool goes_beside(Emit *emit) {
    const Nest *nest = emit->nest;
    const Target *target = emit->kernel->target;
    const bool kept = nest->scratch.count > 0, gathers = sn_emit_gathers(emit);
    int64_t length, bytes = 0;
    if (!emit->fetches || sn_before_step(emit) > 2 || !sn_dim_is(emit->vector_axis->operand[0], &length) ||
        length > target->l2_bytes || (kept && !gathers) ||
        (gathers && !(keeps_locally(nest, 0) && sn_emit_may_lead(emit))))
        return false;
    for (int i = 0; i < nest->scratch.count; i++) bytes += 4 * ROWS_BESIDE * nest->scratch.at[i].count;
    for (int p = 0; p < nest->step.count; p++) bytes += length * loaded_bytes(emit, p);
    return bytes <= target->l1_bytes || sn_fours_fit(emit) ||
           (!kept && 4 * length > target->l1_bytes / ROWS_IN_L1 && bytes <= target->l2_bytes / BESIDE_IN_L2);
}

bool sn_emit_lags(Emit *emit) {
    const Nest *nest = emit->nest;
    const int last = sn_before_step(emit);
    emit->beside = emit->fours = emit->again = false;
    emit->wide = NULL;
    emit->host = last - 1;
    if (!emit->streams || emit->kernel->nest.count != 1 || nest->vector != SN_VECTOR_REDUCED || last < 1 ||
        nest->reduced.count != 1 || !nest->parallel.count || nest->cut || sn_emit_is_dear(emit, last))
        return false;
    bool dear = sn_emit_is_dear(emit, last - 1);
    const bool beside = !dear && goes_beside(emit);
    emit->host = dear || beside ? last - 1 : 0;
    for (int p = 0; p < last; p++) {
        const Step *step = &nest->step.at[p];
        if (!step->loop || !step->acc.count || (dear ? step->store.count > 0 : sn_emit_is_dear(emit, p)))
            return false;
    }
    const Step *step = &nest->step.at[last];
    const bool lags = step->loop && !step->acc.count && sn_emit_head_store(emit, step) &&
                      keeps_locally(nest, beside ? 0 : emit->host) && (dear || beside || gains(emit));
    emit->beside = lags && beside;
    emit->again = lags && beside && sn_before_bytes(emit, nest->step.count) > emit->kernel->target->l1_bytes;
    emit->fours = lags && beside && sn_fours_fit(emit);
    sn_wide_choose(emit);
    return lags;
}

void sn_emit_lag_begin(Emit *emit) {
    if (emit->wide) sn_wide_begin(emit);
    if (emit->fours) {
        sn_fours_begin(emit);
        return;
    }
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    sn_emit_line(emit, "int64_t done = %s;", sn_before_length(emit));
    for (int i = 0; i < nest->parallel.count; i++)
        sn_emit_line(emit, "int64_t before%d = 0;", (int)nest->parallel.at[i]->value);
    if (emit->online) sn_emit_line(emit, "float over_before = 0;");
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i))
            sn_emit_line(emit, "%s p%d = 0;", sn_emit_type(nest->instr.at[i]->dtype, false), i);
}

void sn_emit_lag_row(Emit *emit) {
    if (emit->fours) {
        sn_fours_row(emit);
        return;
    }
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    sn_emit_line(emit, "done = 0;");
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "before%d = i%d;", k, k);
    }
    if (emit->online) sn_emit_line(emit, "over_before = over;");
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i)) sn_emit_line(emit, "p%d = v%d;", i, i);
    for (int i = 0; i < nest->scratch.count && sn_emit_takes_turns(emit); i++)
        sn_emit_line(emit,
                     "{ float *const free = before_r%d; before_r%d = r%d, r%d = next_r%d, next_r%d = free; }",
                     i, i, i, i, i, i);
}

/* The names that the row of before had. */
static void emit_names(Emit *emit, const unsigned char *needed) {
    const Nest *nest = emit->nest;
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "const int64_t i%d = before%d;", k, k);
    }
    sn_emit_turn(emit, "before");
    if (emit->online) sn_emit_line(emit, "const float over = over_before;");
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_before_needs(emit, needed, i))
            sn_emit_line(emit, "const %s v%d = p%d;", sn_emit_type(nest->instr.at[i]->dtype, false), i, i);
}

/* Opens the block of what is done to the row of before if `condition`, as its last step. */
static int open_before(Emit *emit, const char *condition) {
    int present = emit->step;
    emit->step = sn_before_step(emit);
    sn_emit_line(emit, "if (%s) {", condition);
    emit->indent++;
    return present;
}

static void close_before(Emit *emit, int present, Form form) {
    emit->indent--;
    sn_emit_line(emit, "}");
    emit->step = present;
    emit->form = form;
}

/* Stores what has not been stored of the row of before, up to at least element `limit`, or all where it is the length. */
static void emit_until(Emit *emit, const char *limit) {
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    sn_emit_line(emit, "const int64_t limit = %s;", limit);
    emit_names(emit, needed);
    sn_before_until(emit, needed);
}

void sn_emit_lag(Emit *emit, const char *limit) {
    if (emit->fours) return;
    const Form form = emit->form;
    int present = open_before(emit, sn_arena_printf(emit->arena, "done < %s", sn_before_length(emit)));
    emit_until(emit, limit);
    close_before(emit, present, form);
}

void sn_emit_lag_group(Emit *emit, int vectors) {
    if (emit->fours) return;
    const Form form = emit->form;
    const char *length = sn_before_length(emit);
    const char *apart = sn_arena_printf(emit->arena, "done < %s && (!done || done + %d * SN_LANES > %s)",
                                        length, vectors, length);
    const char *limit =
        sn_arena_printf(emit->arena, "done + %d * SN_LANES > %s ? %s : 0", vectors + 1, length, length);
    int present = open_before(emit, apart);
    emit_until(emit, limit);
    close_before(emit, present, form);
}

void sn_emit_lag_vector(Emit *emit) {
    const Form form = emit->form;
    const unsigned char *needed = sn_emit_needed(emit, sn_before_step(emit));
    const bool two = sn_before_has_halves(emit);
    if (emit->fours) {
        sn_fours_vector(emit);
        return;
    }
    if (two && emit->part % 2) return;
    int present = open_before(emit, sn_arena_printf(emit->arena, "done < %s", sn_before_length(emit)));
    emit_names(emit, needed);
    if (two) {
        sn_before_two(emit, needed);
    } else {
        sn_before_vector(emit, needed);
        sn_emit_line(emit, "done += SN_LANES;");
    }
    close_before(emit, present, form);
}

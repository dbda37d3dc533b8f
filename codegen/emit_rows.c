/* The C dialect inside a row: its steps, one after the other, in vectors along the row or with rows side by side. */
#include "emit_c.h"

/* Reduced axes one element at a time; every lane, if there are lanes, is another row. */
static void emit_step_columns(Emit *emit, const Step *step, const unsigned char *needed) {
    sn_c_acc_starts(emit, step, 1);
    sn_c_open_reduced(emit, emit->nest->reduced.count);
    sn_c_body(emit, step, needed, 0);
    sn_c_close_loops(emit, emit->nest->reduced.count);
    sn_c_acc_ends(emit, step, 0);
}

static int step_size(Emit *emit, const Step *step) {
    return sn_c_loop_size(emit, sn_emit_needed(emit, emit->step)) + step->acc.count + step->store.count;
}

/* Whether the loop being written also stores the row of before. */
static bool hosts_stores(const Emit *emit) {
    return emit->lags && emit->step == emit->host;
}

/* Vectors SN_ROW_UNROLL at a time, and what they read ahead: in one of `copies` each, or in a loop where there is one. What is done of
 * other rows comes before them or, where nothing is dear, goes with each: loads and stores of all rows by turns. */
static void emit_groups(Emit *emit, const Step *step, const unsigned char *needed, int copies,
                        const RowShares *shares, const char *condition, const char *length) {
    const bool each = copies > 1 && !emit->online;
    int k = sn_c_axis(emit->vector_axis);
    sn_emit_line(emit, "%sfor (; i%d + %d * SN_LANES <= %s;) {", condition, k, SN_ROW_UNROLL, length);
    emit->indent++;
    sn_emit_read_share(emit, shares, SN_ROW_UNROLL);
    if (hosts_stores(emit) && each)
        sn_emit_lag_group(emit, SN_ROW_UNROLL);
    else if (hosts_stores(emit))
        sn_emit_lag(emit, sn_arena_printf(emit->arena, "i%d + %d * SN_LANES", k, SN_ROW_UNROLL));
    if (!each) sn_emit_lead_group(emit, SN_ROW_UNROLL);
    for (int copy = 0; copy < copies; copy++) {
        emit->part = copy;
        sn_emit_line(emit, copies > 1 ? "{" : "for (int u = 0; u < %d; u++) {", SN_ROW_UNROLL);
        emit->indent++;
        if (hosts_stores(emit) && each) sn_emit_lag_vector(emit);
        if (each) sn_emit_lead(emit, copy);
        sn_emit_block_ahead(emit);
        sn_c_body(emit, step, needed, copy);
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        sn_c_close_loops(emit, 1);
    }
    emit->part = 0;
    sn_c_close_loops(emit, 1);
}

/* Whether rows are only read, and fetched: memory then gives more by two streams, the halves of a row, than by one. */
static bool has_halves(const Emit *emit, const Step *step, int copies) {
    return emit->fetches && copies == SN_ROW_UNROLL && !step->store.count && emit->nest->reduced.count == 1 &&
           sn_emit_reduces_once(emit->nest) && !sn_emit_gathers(emit);
}

/* `count` vectors, for copies from `copy` on. */
static void emit_vectors_of(Emit *emit, const Step *step, const unsigned char *needed, int copy, int count) {
    for (; count > 0; count--, copy++) {
        emit->part = copy;
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_block_ahead(emit);
        sn_c_body(emit, step, needed, copy);
        sn_emit_line(emit, "i%d += SN_LANES;", sn_c_axis(emit->vector_axis));
        sn_c_close_loops(emit, 1);
    }
    emit->part = 0;
}

enum { EACH = SN_ROW_UNROLL / 2 }; /* vectors of either half at a time */

/* Two vectors of the first half of a row where the vector axis is, and as many at the same place of the second. */
static void emit_halves_group(Emit *emit, const Step *step, const unsigned char *needed) {
    int k = sn_c_axis(emit->vector_axis);
    emit_vectors_of(emit, step, needed, 0, EACH);
    sn_emit_line(emit, "i%d += half - %d * SN_LANES;", k, EACH);
    emit_vectors_of(emit, step, needed, EACH, EACH);
    sn_emit_line(emit, "i%d -= half;", k);
}

/* The halves of a row side by side, whole groups of SN_ROW_UNROLL vectors; their ends fetch the beginnings of the next row's. */
static void emit_halves(Emit *emit, const Step *step, const unsigned char *needed, const char *length) {
    int k = sn_c_axis(emit->vector_axis);
    sn_emit_line(emit, "const int64_t half = %s / (%d * SN_LANES) * (%d * SN_LANES);", length, SN_ROW_UNROLL,
                 EACH);
    sn_emit_line(emit, "for (int ends = 0; ends < 2; ends++) {");
    emit->indent++;
    emit->crosses = true;
    sn_emit_far_rows(emit, sn_emit_row_axis(emit->nest), 1, "half");
    sn_emit_line(emit, "while (i%d + %d * SN_LANES <= (ends ? half : half - far / 4)) {", k, EACH);
    emit->indent++;
    emit_halves_group(emit, step, needed);
    sn_c_close_loops(emit, 2);
    sn_emit_line(emit, "i%d += half;", k);
    emit->crosses = false;
}

/* The vectors of the last reduced axis from `from` to `to`. */
static void emit_row_loops(Emit *emit, const Step *step, const unsigned char *needed, const RowShares *shares,
                           const char *from, const char *to) {
    int k = sn_c_axis(emit->vector_axis), copies = sn_c_copies(emit, step, needed);
    /* Sums do not depend on where the row lies. */
    const Store *aligned = step->acc.count ? NULL : sn_emit_head_store(emit, step);
    const char *condition = aligned ? "if (!head) " : "";
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_emit_line(emit, "int64_t i%d = %s;", k, from);
    sn_c_open_vectors(emit, aligned);
    if (has_halves(emit, step, copies))
        emit_halves(emit, step, needed, to);
    else if (copies > 1 || shares->usual->count || shares->past->count || hosts_stores(emit))
        emit_groups(emit, step, needed, copies, shares, condition, to);
    if (hosts_stores(emit)) sn_emit_lag(emit, to);
    sn_emit_line(emit, "%sfor (; i%d + SN_LANES <= %s; i%d += SN_LANES) {", condition, k, to, k);
    emit->indent++;
    sn_emit_block_ahead(emit);
    sn_emit_lead(emit, 0);
    sn_c_body(emit, step, needed, 0);
    sn_c_close_loops(emit, 1);
    sn_c_open_partial(emit, aligned, k, to);
    sn_emit_lead(emit, 0);
    sn_c_body(emit, step, needed, 0);
    sn_c_close_partial(emit, aligned, k);
    sn_c_close_loops(emit, 1);
    emit->form = SN_FORM_VECTOR;
}

/* The last reduced axis in vectors. */
static void emit_row_step(Emit *emit, const Step *step, const unsigned char *needed,
                          const RowShares *shares) {
    int outer = emit->nest->reduced.count - 1, copies = sn_c_copies(emit, step, needed);
    emit->form = SN_FORM_VECTOR;
    sn_c_acc_starts(emit, step, copies);
    sn_emit_lead_starts(emit);
    sn_c_open_reduced(emit, outer);
    emit_row_loops(emit, step, needed, shares, "0", sn_c_end(emit, emit->vector_axis));
    sn_c_close_loops(emit, outer);
    sn_emit_lead_ends(emit);
    sn_c_folds(emit, step, copies);
    emit->form = SN_FORM_SCALAR;
}

/* ---- rows that are gone over while the one before is computed: emit_lead.c ---- */

/* The first loop over the row where the axes are. */
static void go_over(Emit *emit) {
    static const RowShare none;
    const int present = emit->step;
    emit->step = 0;
    emit_row_step(emit, &emit->nest->step.at[0], sn_emit_lead_needs(emit), &(RowShares){&none, &none});
    sn_emit_lead_take(emit);
    emit->step = present;
}

void sn_c_lead_begin(Emit *emit) {
    const Step *first = &emit->nest->step.at[0];
    for (int i = 0; i < first->acc.count; i++)
        sn_emit_line(emit, "%s lead%d = 0;", sn_emit_type(first->acc.at[i]->dtype, false),
                     first->acc.at[i]->result->id);
    sn_emit_line(emit, "if (row < rows) {");
    emit->indent++;
    sn_emit_place(emit, SN_PLACE_ROW, 0, sn_emit_lead_needs(emit));
    go_over(emit);
    sn_c_close_loops(emit, 1);
}

/* At the beginning of a row: what was found of it, as later steps know it, and the next row's axes. */
static void emit_lead_row(Emit *emit) {
    const Nest *nest = emit->nest;
    const Step *first = &nest->step.at[0];
    const unsigned char *needed = sn_emit_lead_needs(emit);
    for (int i = 0; i < first->acc.count; i++) {
        const Acc *acc = first->acc.at[i];
        sn_emit_line(emit, "const %s v%d = lead%d;", sn_emit_type(acc->dtype, false), acc->result->id,
                     acc->result->id);
    }
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "int64_t next%d = i%d;", k, k);
    }
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_emit_leads_row(nest->instr.at[i], needed))
            sn_emit_line(emit, "%s next_v%d = v%d;", sn_emit_type(nest->instr.at[i]->dtype, false), i, i);
    sn_emit_line(emit, "if (row + 1 < rows) {"); /* the last row is gone over once more, for nothing */
    emit->indent++;
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "int64_t i%d = next%d;", k, k);
    }
    sn_c_next_row(emit);
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "next%d = i%d;", k, k);
    }
    sn_emit_place(emit, SN_PLACE_ROW, 0, needed);
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_emit_leads_row(nest->instr.at[i], needed)) sn_emit_line(emit, "next_v%d = v%d;", i, i);
    if (sn_emit_leads_apart(emit)) {
        sn_emit_turn(emit, "next");
        go_over(emit);
    }
    sn_c_close_loops(emit, 1);
}

/* ---- all steps ---- */

/* The maximum so far, as later steps know it. */
static void emit_level(Emit *emit, const Step *top) {
    sn_emit_line(emit, "const float v%d = level;", top->acc.at[0]->result->id);
}

/* Whether the walk over a row only reads it, from memory: then it does so in two halves (above). */
static bool walks_halves(const Emit *emit) {
    return !emit->lags && !emit->nest->scratch.count && sn_emit_is_vast(emit, sn_dtype_bytes(SN_F32));
}

/* The vectors of a block: half of it where the vector axis goes from `from` to `till`, half of it in the second half of the row. */
static void emit_block_halves(Emit *emit, const Step *step, const unsigned char *needed) {
    int k = sn_c_axis(emit->vector_axis);
    sn_emit_line(emit, "for (int64_t i%d = from; i%d < till; ) {", k, k);
    emit->indent++;
    emit_halves_group(emit, step, needed);
    sn_c_close_loops(emit, 1);
}

/* A block, again where it has risen too far. */
static void emit_online_block(Emit *emit, const Step *top, const Step *sums, const Step *both,
                              const unsigned char *needed, bool halves) {
    static const RowShare none;
    sn_emit_online_hold(emit, sums, SN_ROW_UNROLL);
    sn_emit_line(emit, "for (;;) {");
    emit->indent++;
    sn_emit_line(emit, "{");
    emit->indent++;
    emit_level(emit, top);
    if (halves)
        emit_block_halves(emit, both, needed);
    else
        emit_row_loops(emit, both, needed, &(RowShares){&none, &none}, "from", "till");
    sn_c_close_loops(emit, 1);
    sn_c_folds(emit, top, SN_ROW_UNROLL);
    sn_emit_line(emit, "%s", sn_emit_online_test(emit, top));
    sn_emit_online_rise(emit, top, sums, SN_ROW_UNROLL);
    sn_c_close_loops(emit, 1);
}

/* Steps emit->online - 1 and the one behind it, a maximum and sums below it. The first level is the maximum of what comes first. */
static void emit_online(Emit *emit) {
    static const RowShare none;
    const int at = emit->online;
    unsigned char *below = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count),
                  *needed = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    Step top, sums, both;
    sn_emit_online_steps(emit, &top, &sums, &both);
    for (int i = 0; i < top.acc.count; i++) sn_emit_need(emit, top.acc.at[i]->value, below);
    for (int i = 0; i < both.acc.count; i++) sn_emit_need(emit, both.acc.at[i]->value, needed);
    const char *length = sn_c_extent(emit, emit->vector_axis);
    emit->form = SN_FORM_VECTOR;
    sn_c_acc_starts(emit, &both, SN_ROW_UNROLL);
    sn_emit_line(emit, "float level;");
    sn_emit_line(emit, "{");
    emit->indent++;
    emit->step = at - 1;
    emit_row_loops(emit, &top, below, &(RowShares){&none, &none}, "0",
                   sn_arena_printf(emit->arena, "%d", SN_ONLINE_FIRST));
    sn_c_folds(emit, &top, SN_ROW_UNROLL);
    sn_emit_line(emit, "level = v%d;", top.acc.at[0]->result->id);
    sn_c_close_loops(emit, 1);
    emit->step = at;
    if (walks_halves(emit)) {
        sn_emit_line(emit, "const int64_t half = %s / %d * %d;", length, SN_ONLINE_BLOCK,
                     SN_ONLINE_BLOCK / 2);
        sn_emit_line(emit, "for (int64_t from = 0; from < half; from += %d) {", SN_ONLINE_BLOCK / 2);
        emit->indent++;
        sn_emit_line(emit, "const int64_t till = from + %d;", SN_ONLINE_BLOCK / 2);
        emit_online_block(emit, &top, &sums, &both, needed, true);
        sn_c_close_loops(emit, 1);
    }
    sn_emit_line(emit, "for (int64_t from = %s; from < %s; from += %d) {",
                 walks_halves(emit) ? "2 * half" : "0", length, SN_ONLINE_BLOCK);
    emit->indent++;
    sn_emit_line(emit, "const int64_t till = sn_least_of(from + %d, %s);", SN_ONLINE_BLOCK, length);
    emit_online_block(emit, &top, &sums, &both, needed, false);
    sn_c_close_loops(emit, 1);
    sn_c_folds(emit, &top, SN_ROW_UNROLL);
    sn_emit_online_end(emit, &top, &sums, SN_ROW_UNROLL);
    sn_c_folds(emit, &sums, SN_ROW_UNROLL);
    emit->form = SN_FORM_SCALAR;
}

/* Whether a loop writes: results, or what is kept of the row. */
static bool writes(const Emit *emit, int step) {
    bool any = emit->nest->step.at[step].store.count > 0;
    for (int i = 0; i < emit->nest->instr.count && !any; i++)
        any = emit->nest->instr.at[i]->scratch >= 0 && emit->nest->instr.at[i]->kept == step;
    return any;
}

/* SN_ROW_UNROLL parts of a row, dealt to the loops over it by their sizes, in order. */
static void deal(int count, const int *size, RowShare *share) {
    int all = 0, before = 0;
    for (int i = 0; i < count; i++) all += size[i];
    for (int i = 0; i < count && all; i++) {
        share[i].from = (SN_ROW_UNROLL * before + all / 2) / all;
        before += size[i];
        share[i].count = (SN_ROW_UNROLL * before + all / 2) / all - share[i].from;
    }
}

/* Which of SN_ROW_UNROLL parts of a row further on each loop over the present one reads ahead: as much as it has to do
 * itself, so that memory is busy all the time. Where results go past the caches and nothing is dear, the loops that
 * write read alike: memory does most when it reads and writes at once, if the first cache has places for the lines that
 * both await. */
static RowShares row_shares(Emit *emit) {
    int count = emit->nest->step.count, any = 0;
    int *size = SN_ARRAY(emit->arena, int, count), *writing = SN_ARRAY(emit->arena, int, count);
    RowShare *usual = SN_ARRAY(emit->arena, RowShare, count), *past = SN_ARRAY(emit->arena, RowShare, count);
    bool dear = false;
    for (emit->step = 0; emit->step < count; emit->step++) {
        if (!emit->nest->step.at[emit->step].loop) continue;
        size[emit->step] = step_size(emit, &emit->nest->step.at[emit->step]);
        any += writing[emit->step] = writes(emit, emit->step);
        dear |= sn_emit_is_dear(emit, emit->step);
    }
    if (emit->lags) size[emit->host] += size[count - 1], size[count - 1] = 0;
    if (emit->leads) size[1] += size[0], size[0] = 0;
    deal(count, size, usual);
    deal(count, writing, past);
    return (RowShares){usual, any && !dear && !emit->lags && emit->streams && !emit->fetches ? past : usual};
}

/* All steps of a row (or, in lanes, of SN_LANES rows): in the form that is set. */
void sn_c_steps(Emit *emit) {
    const unsigned char *any = sn_emit_needed(emit, -1);
    bool columns = emit->nest->vector == SN_VECTOR_PARALLEL;
    const RowShares shares = row_shares(emit);
    for (int i = 0; i < emit->nest->step.count - emit->lags; i++) {
        const Step *step = &emit->nest->step.at[i];
        emit->step = i;
        if (!step->loop)
            sn_c_stores(emit, step);
        else if (emit->leads && !i)
            emit_lead_row(emit);
        else if (emit->online && i + 1 == emit->online) {
            emit_online(emit);
            sn_emit_place(emit, SN_PLACE_ROW, ++i, any);
        } else if (emit->nest->vector == SN_VECTOR_REDUCED)
            emit_row_step(emit, step, sn_emit_needed(emit, i),
                          &(RowShares){&shares.usual[i], &shares.past[i]});
        else
            emit_step_columns(emit, step, sn_emit_needed(emit, i));
        sn_emit_place(emit, columns ? SN_PLACE_VECTOR : SN_PLACE_ROW, i + 1, any);
    }
    if (emit->lags) sn_emit_lag_row(emit);
}

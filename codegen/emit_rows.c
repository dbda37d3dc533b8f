/* The C dialect inside a row: its steps, one after the other, in vectors along the row or with rows side by side. */
#include "emit_c.h"

enum { UNROLL_INSTRUCTIONS = 12, UNROLL = 4 };

static int axis_number(Dim axis) {
    return (int)axis->value;
}

static const char *extent_text(Emit *emit, Dim axis) {
    return sn_emit_dim(emit, axis->operand[0], NULL);
}

/* Where a loop over a reduced axis ends. */
static const char *end_text(Emit *emit, Dim axis) {
    return axis == emit->nest->cut ? "end" : extent_text(emit, axis);
}

void sn_c_stores(Emit *emit, const Step *step) {
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
}

static const char *acc_name(Emit *emit, const Acc *acc, int copy) {
    return copy ? sn_arena_printf(emit->arena, "a%d_%d", acc->number, copy)
                : sn_arena_printf(emit->arena, "a%d", acc->number);
}

/* One pass over the body of a loop step; accumulators go to copy `copy` of their variables. */
void sn_c_body(Emit *emit, const Step *step, const unsigned char *needed, int copy) {
    bool vector = emit->form != SN_FORM_SCALAR;
    sn_emit_place(emit, SN_PLACE_LOOP, 0, needed);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        if (acc->running) continue;
        const char *value = sn_emit_use(emit, acc->value, vector), *name = acc_name(emit, acc, copy);
        if (emit->form == SN_FORM_PARTIAL && emit->nest->vector == SN_VECTOR_REDUCED)
            value = sn_arena_printf(emit->arena, "sn_select_%s_v(live, %s, %s)", sn_emit_compute(acc->dtype),
                                    value, sn_emit_identity(emit, acc->function, acc->dtype, true));
        sn_emit_line(emit, "%s = %s;", name,
                     sn_emit_combine(emit, acc->function, acc->dtype, vector, name, value));
    }
    sn_c_stores(emit, step);
}

void sn_c_acc_starts(Emit *emit, const Step *step, int copies) {
    bool vector = emit->form != SN_FORM_SCALAR;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        for (int copy = 0; copy < copies; copy++)
            sn_emit_line(emit, "%s %s = %s;", sn_emit_type(acc->dtype, vector), acc_name(emit, acc, copy),
                         sn_emit_identity(emit, acc->function, acc->dtype, vector));
    }
}

/* Opens a loop over each of the first `count` reduced axes. */
void sn_c_open_reduced(Emit *emit, int count) {
    for (int i = 0; i < count; i++) {
        Dim axis = emit->nest->reduced.at[i];
        int k = axis_number(axis);
        sn_emit_line(emit, "for (int64_t i%d = 0; i%d < %s; i%d++) {", k, k, end_text(emit, axis), k);
        emit->indent++;
    }
}

void sn_c_close_loops(Emit *emit, int count) {
    for (int i = 0; i < count; i++) {
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

/* Narrow integers accumulate in 32 bits and wrap once. */
static const char *wrapped(Emit *emit, DType dtype, bool vector, const char *value) {
    if (!sn_dtype_is_int(dtype) || sn_dtype_bytes(dtype) >= 4) return value;
    return sn_arena_printf(emit->arena, "sn_wrap_%s_%s(%s)", sn_dtype_name(dtype), vector ? "v" : "s", value);
}

/* The results of the accumulators' copy `copy`, as the values that later steps use. */
void sn_c_acc_ends(Emit *emit, const Step *step, int copy) {
    bool vector = emit->form != SN_FORM_SCALAR;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        if (!acc->running)
            sn_emit_line(emit, "const %s v%d = %s;", sn_emit_type(acc->dtype, vector), acc->result->id,
                         wrapped(emit, acc->dtype, vector, acc_name(emit, acc, copy)));
    }
}

/* Reduced axes one element at a time; every lane, if there are lanes, is another row. */
static void emit_step_columns(Emit *emit, const Step *step, const unsigned char *needed) {
    sn_c_acc_starts(emit, step, 1);
    sn_c_open_reduced(emit, emit->nest->reduced.count);
    sn_c_body(emit, step, needed, 0);
    sn_c_close_loops(emit, emit->nest->reduced.count);
    sn_c_acc_ends(emit, step, 0);
}

/* How long a loop's body is, in instructions; a dear function counts as too many, since it hides the
 * accumulators' latency by itself. */
static int loop_size(const Emit *emit, const unsigned char *needed) {
    int size = 0;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (!needed[i] || !instr->reduced) continue;
        bool kept = instr->scratch >= 0 && emit->step > instr->kept;
        bool dear = !kept && instr->kind == SN_INSTR_CALL && sn_function_is_costly(instr->function);
        size += dear ? UNROLL_INSTRUCTIONS + 1 : 1;
    }
    return size;
}

static int step_size(Emit *emit, const Step *step) {
    return loop_size(emit, sn_emit_needed(emit, emit->step)) + step->acc.count + step->store.count;
}

/* The accumulators' copies in a fixed tree, then their lanes in another. */
void sn_c_folds(Emit *emit, const Step *step, int copies) {
    static const char *const fold[][2] = {{"add", "sum"}, {"mul", "prod"}, {"max", "max"}, {"min", "min"}};
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        const char *name = fold[0][1];
        for (int k = 0; k < 4; k++)
            if (strcmp(fold[k][0], acc->function) == 0) name = fold[k][1];
        for (int stride = 1; stride < copies; stride *= 2)
            for (int copy = 0; copy + stride < copies; copy += 2 * stride) {
                const char *a = acc_name(emit, acc, copy), *b = acc_name(emit, acc, copy + stride);
                sn_emit_line(emit, "%s = %s;", a,
                             sn_emit_combine(emit, acc->function, acc->dtype, true, a, b));
            }
        const char *folded = sn_arena_printf(emit->arena, "sn_%s_%s(%s)", name, sn_emit_compute(acc->dtype),
                                             acc_name(emit, acc, 0));
        sn_emit_line(emit, "const %s v%d = %s;", sn_emit_type(acc->dtype, false), acc->result->id,
                     wrapped(emit, acc->dtype, false, folded));
    }
}

/* Where `store` is to be aligned, a partial vector comes before the whole ones as well as behind them: one
 * loop around both, so that its code is written once. */
void sn_c_open_vectors(Emit *emit, const Store *store) {
    if (!sn_emit_head(emit, store)) return;
    sn_emit_line(emit, "for (;;) {");
    emit->indent++;
}

/* Opens the block of a partial vector. */
void sn_c_open_partial(Emit *emit, const Store *store, int k, const char *last) {
    if (store) {
        sn_emit_line(emit, "if (i%d >= %s) break;", k, last);
        sn_emit_line(emit, "SN_PARTIAL(head && head < %s - i%d ? head : sn_least_of(%s - i%d, SN_LANES))",
                     last, k, last, k);
    } else {
        sn_emit_line(emit, "if (i%d < %s) {", k, last);
        emit->indent++;
        sn_emit_line(emit, "SN_PARTIAL(%s - i%d)", last, k);
    }
    emit->form = SN_FORM_PARTIAL;
}

void sn_c_close_partial(Emit *emit, const Store *store, int k) {
    if (store) sn_emit_line(emit, "i%d += n, head = 0;", k);
    sn_c_close_loops(emit, 1);
}

/* Whether the loop being written also stores the row of before. */
static bool hosts_stores(const Emit *emit) {
    return emit->lags && emit->step == emit->nest->step.count - 2;
}

/* UNROLL vectors at a time, and what they read ahead: in one of `copies` each, or in a loop where there is one. */
static void emit_groups(Emit *emit, const Step *step, const unsigned char *needed, int copies,
                        const RowShares *shares, const char *condition, const char *length) {
    int k = axis_number(emit->vector_axis);
    sn_emit_line(emit, "%sfor (; i%d + %d * SN_LANES <= %s;) {", condition, k, UNROLL, length);
    emit->indent++;
    sn_emit_read_share(emit, shares, UNROLL);
    if (hosts_stores(emit)) sn_emit_lag(emit, sn_arena_printf(emit->arena, "i%d + %d * SN_LANES", k, UNROLL));
    sn_emit_lead(emit, UNROLL);
    for (int copy = 0; copy < copies; copy++) {
        sn_emit_line(emit, copies > 1 ? "{" : "for (int u = 0; u < %d; u++) {", UNROLL);
        emit->indent++;
        if (emit->online) sn_emit_block_ahead(emit);
        sn_c_body(emit, step, needed, copy);
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        sn_c_close_loops(emit, 1);
    }
    sn_c_close_loops(emit, 1);
}

int sn_c_copies(const Emit *emit, const Step *step, const unsigned char *needed) {
    return step->acc.count && loop_size(emit, needed) <= UNROLL_INSTRUCTIONS ? UNROLL : 1;
}

/* The vectors of the last reduced axis from `from` to `to`. */
static void emit_row_loops(Emit *emit, const Step *step, const unsigned char *needed, const RowShares *shares,
                           const char *from, const char *to) {
    int k = axis_number(emit->vector_axis), copies = sn_c_copies(emit, step, needed);
    /* Sums do not depend on where the row lies. */
    const Store *aligned = step->acc.count ? NULL : sn_emit_head_store(emit, step);
    const char *condition = aligned ? "if (!head) " : "";
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_emit_line(emit, "int64_t i%d = %s;", k, from);
    sn_c_open_vectors(emit, aligned);
    if (copies > 1 || shares->usual->count || shares->past->count || hosts_stores(emit))
        emit_groups(emit, step, needed, copies, shares, condition, to);
    if (hosts_stores(emit)) sn_emit_lag(emit, to);
    sn_emit_line(emit, "%sfor (; i%d + SN_LANES <= %s; i%d += SN_LANES) {", condition, k, to, k);
    emit->indent++;
    if (emit->online) sn_emit_block_ahead(emit);
    sn_emit_lead(emit, 1);
    sn_c_body(emit, step, needed, 0);
    sn_c_close_loops(emit, 1);
    sn_c_open_partial(emit, aligned, k, to);
    sn_emit_lead(emit, 1);
    sn_c_body(emit, step, needed, 0);
    sn_c_close_partial(emit, aligned, k);
    sn_c_close_loops(emit, 1);
    emit->form = SN_FORM_VECTOR;
}

/* The last reduced axis in vectors. */
void sn_c_row_step(Emit *emit, const Step *step, const unsigned char *needed, const RowShares *shares) {
    int outer = emit->nest->reduced.count - 1, copies = sn_c_copies(emit, step, needed);
    emit->form = SN_FORM_VECTOR;
    sn_c_acc_starts(emit, step, copies);
    sn_emit_lead_starts(emit);
    sn_c_open_reduced(emit, outer);
    emit_row_loops(emit, step, needed, shares, "0", end_text(emit, emit->vector_axis));
    sn_c_close_loops(emit, outer);
    sn_emit_lead_ends(emit);
    sn_c_folds(emit, step, copies);
    emit->form = SN_FORM_SCALAR;
}

/* Steps `at` and `at` + 1, a maximum and sums below it, in one walk over the row: block by block, each of which the first
 * cache holds while it is walked twice. */
static void emit_online(Emit *emit, int at, const Step *top, const Step *sums) {
    static const RowShare none;
    const RowShares nothing = {&none, &none};
    unsigned char *below = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count),
                  *needed = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    for (int i = 0; i < top->acc.count; i++) sn_emit_need(emit, top->acc.at[i]->value, below);
    for (int i = 0; i < sums->acc.count; i++) sn_emit_need(emit, sums->acc.at[i]->value, needed);
    const char *length = extent_text(emit, emit->vector_axis);
    int copies = sn_c_copies(emit, sums, needed);
    emit->form = SN_FORM_VECTOR;
    sn_c_acc_starts(emit, sums, copies);
    sn_emit_online_begin(emit, top);
    sn_emit_line(emit, "for (int64_t from = 0; from < %s; from += %d) {", length, SN_ONLINE_BLOCK);
    emit->indent++;
    sn_emit_line(emit, "const int64_t till = sn_least_of(from + %d, %s);", SN_ONLINE_BLOCK, length);
    sn_emit_line(emit, "{");
    emit->indent++;
    emit->step = at;
    sn_c_acc_starts(emit, top, sn_c_copies(emit, top, below));
    emit_row_loops(emit, top, below, &nothing, "from", "till");
    sn_c_folds(emit, top, sn_c_copies(emit, top, below));
    sn_emit_online_rise(emit, top, sums, copies);
    sn_c_close_loops(emit, 1);
    sn_emit_online_top(emit, top);
    emit->step = at + 1;
    emit->online = true;
    emit_row_loops(emit, sums, needed, &nothing, "from", "till");
    emit->online = false;
    sn_c_close_loops(emit, 1);
    sn_emit_online_top(emit, top);
    sn_c_folds(emit, sums, copies);
    emit->form = SN_FORM_SCALAR;
}

/* Whether a loop writes: results, or what is kept of the row. */
static bool writes(const Emit *emit, int step) {
    bool any = emit->nest->step.at[step].store.count > 0;
    for (int i = 0; i < emit->nest->instr.count && !any; i++)
        any = emit->nest->instr.at[i]->scratch >= 0 && emit->nest->instr.at[i]->kept == step;
    return any;
}

/* UNROLL parts of a row, dealt to the loops over it by their sizes, in order. */
static void deal(int count, const int *size, RowShare *share) {
    int all = 0, before = 0;
    for (int i = 0; i < count; i++) all += size[i];
    for (int i = 0; i < count && all; i++) {
        share[i].from = (UNROLL * before + all / 2) / all;
        before += size[i];
        share[i].count = (UNROLL * before + all / 2) / all - share[i].from;
    }
}

/* Which of UNROLL parts of a row further on each loop over the present one reads ahead: as much as it has to do
 * itself, so that memory is busy all the time. Where results go past the caches and nothing is dear, the loops that
 * write read alike: memory does most when it reads and writes at once. */
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
    if (emit->lags) size[count - 2] += size[count - 1], size[count - 1] = 0;
    if (emit->leads) size[1] += size[0], size[0] = 0;
    deal(count, size, usual);
    deal(count, writing, past);
    return (RowShares){usual, any && !dear && emit->streams ? past : usual};
}

/* All steps of a row (or, in lanes, of SN_LANES rows): in the form that is set. */
void sn_c_steps(Emit *emit) {
    const unsigned char *any = sn_emit_needed(emit, -1);
    bool columns = emit->nest->vector == SN_VECTOR_PARALLEL;
    const RowShares shares = row_shares(emit);
    Step top, sums;
    for (int i = 0; i < emit->nest->step.count - emit->lags; i++) {
        const Step *step = &emit->nest->step.at[i];
        emit->step = i;
        if (!step->loop)
            sn_c_stores(emit, step);
        else if (emit->leads && !i)
            sn_emit_lead_row(emit);
        else if (sn_emit_goes_online(emit, i, &top, &sums)) {
            emit_online(emit, i, &top, &sums);
            sn_emit_place(emit, SN_PLACE_ROW, ++i, any);
        } else if (emit->nest->vector == SN_VECTOR_REDUCED)
            sn_c_row_step(emit, step, sn_emit_needed(emit, i),
                          &(RowShares){&shares.usual[i], &shares.past[i]});
        else
            emit_step_columns(emit, step, sn_emit_needed(emit, i));
        sn_emit_place(emit, columns ? SN_PLACE_VECTOR : SN_PLACE_ROW, i + 1, any);
    }
    if (emit->lags) sn_emit_lag_row(emit);
}

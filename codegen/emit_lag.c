/* Rows whose last loop only stores: the results of a row are stored while the next one is computed, or read, so that memory
 * reads and writes all the time. Where a loop computes what is dear, that one hosts the stores, otherwise the first, which
 * reads the row from memory. A range of work items is one sequence of such rows. Values that were kept for a row are
 * stored before the next row's take their place. */
#include "emit.h"

enum {
    ROWS_IN_L1 =
        4, /* of a row that two loops go over, what is fetched of the next ones, and what all of them need */
    ROWS_IN_L2 = 8,
    ROWS_BESIDE = 3, /* that go on at once */
    BESIDE_IN_L2 = 2 /* of that cache so much for rows that are read again */
};

static int last_step(const Emit *emit) {
    return emit->nest->step.count - 1;
}

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

bool sn_emit_is_dear(Emit *emit, int step) {
    const unsigned char *needed = sn_emit_needed(emit, step);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        bool loaded = instr->scratch >= 0 && instr->kept < step;
        if (needed[i] && !loaded && instr->reduced && instr->kind == SN_INSTR_CALL &&
            sn_function_is_costly(instr->function))
            return true;
    }
    return false;
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
    if (!emit->fetches || last_step(emit) > 2 || !sn_dim_is(emit->vector_axis->operand[0], &length) ||
        length > target->l2_bytes || (kept && !gathers) ||
        (gathers && !(keeps_locally(nest, 0) && sn_emit_may_lead(emit))))
        return false;
    for (int i = 0; i < nest->scratch.count; i++) bytes += 4 * ROWS_BESIDE * nest->scratch.at[i].count;
    for (int p = 0; p < nest->step.count; p++) bytes += length * loaded_bytes(emit, p);
    return bytes <= target->l1_bytes ||
           (!kept && 4 * length > target->l1_bytes / ROWS_IN_L1 && bytes <= target->l2_bytes / BESIDE_IN_L2);
}

bool sn_emit_lags(Emit *emit) {
    const Nest *nest = emit->nest;
    int last = last_step(emit);
    emit->beside = false;
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
    return lags;
}

/* What the last loop needs of its row. */
static bool is_of_row(const Emit *emit, const unsigned char *needed, int id) {
    const Instr *instr = emit->nest->instr.at[id];
    (void)emit;
    return needed[id] && instr->rowwise && !instr->reduced;
}

static const char *length_text(Emit *emit) {
    return sn_emit_dim(emit, emit->vector_axis->operand[0], NULL);
}

void sn_emit_lag_begin(Emit *emit) {
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, last_step(emit));
    sn_emit_line(emit, "int64_t done = %s;", length_text(emit));
    for (int i = 0; i < nest->parallel.count; i++)
        sn_emit_line(emit, "int64_t before%d = 0;", (int)nest->parallel.at[i]->value);
    if (emit->online) sn_emit_line(emit, "float over_before = 0;");
    for (int i = 0; i < nest->instr.count; i++)
        if (is_of_row(emit, needed, i))
            sn_emit_line(emit, "%s p%d = 0;", sn_emit_type(nest->instr.at[i]->dtype, false), i);
}

void sn_emit_lag_row(Emit *emit) {
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, last_step(emit));
    sn_emit_line(emit, "done = 0;");
    for (int i = 0; i < nest->parallel.count; i++) {
        int k = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "before%d = i%d;", k, k);
    }
    if (emit->online) sn_emit_line(emit, "over_before = over;");
    for (int i = 0; i < nest->instr.count; i++)
        if (is_of_row(emit, needed, i)) sn_emit_line(emit, "p%d = v%d;", i, i);
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
        if (is_of_row(emit, needed, i))
            sn_emit_line(emit, "const %s v%d = p%d;", sn_emit_type(nest->instr.at[i]->dtype, false), i, i);
}

static void emit_stores(Emit *emit, const unsigned char *needed, Form form) {
    const Step *step = &emit->nest->step.at[last_step(emit)];
    emit->form = form;
    sn_emit_place(emit, SN_PLACE_LOOP, 0, needed);
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
}

/* Stores what has not been stored of the row of before, up to at least element `limit`, or all where it is the length: elements up to
 * the first whole line one by one, then vectors, at the row's end the rest. */
static void emit_until(Emit *emit, const char *limit) {
    const Step *step = &emit->nest->step.at[last_step(emit)];
    const unsigned char *needed = sn_emit_needed(emit, last_step(emit));
    const char *length = length_text(emit);
    int k = (int)emit->vector_axis->value;
    sn_emit_line(emit, "const int64_t limit = %s;", limit);
    emit_names(emit, needed);
    sn_emit_line(emit, "int64_t i%d = done;", k);
    sn_emit_head(emit, sn_emit_head_store(emit, step));
    sn_emit_line(emit, "if (i%d) head = 0;", k);
    sn_emit_line(emit, "for (;;) {");
    emit->indent++;
    sn_emit_line(emit, "if (!head) for (; i%d < limit && i%d + SN_LANES <= %s; i%d += SN_LANES) {", k, k,
                 length, k);
    emit->indent++;
    emit_stores(emit, needed, SN_FORM_VECTOR);
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "if (i%d >= %s || (!head && i%d + SN_LANES <= %s)) break;", k, length, k, length);
    sn_emit_line(emit, "SN_PARTIAL(head && head < %s - i%d ? head : sn_least_of(%s - i%d, SN_LANES))", length,
                 k, length, k);
    emit_stores(emit, needed, SN_FORM_PARTIAL);
    sn_emit_line(emit, "i%d += n, head = 0;", k);
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "done = i%d;", k);
}

/* Opens the block of what is done to the row of before if `condition`, as its last step. */
static int open_before(Emit *emit, const char *condition) {
    int present = emit->step;
    emit->step = last_step(emit);
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

void sn_emit_lag(Emit *emit, const char *limit) {
    const Form form = emit->form;
    int present = open_before(emit, sn_arena_printf(emit->arena, "done < %s", length_text(emit)));
    emit_until(emit, limit);
    close_before(emit, present, form);
}

void sn_emit_lag_group(Emit *emit, int vectors) {
    const Form form = emit->form;
    const char *length = length_text(emit);
    const char *apart = sn_arena_printf(emit->arena, "done < %s && (!done || done + %d * SN_LANES > %s)",
                                        length, vectors, length);
    const char *limit =
        sn_arena_printf(emit->arena, "done + %d * SN_LANES > %s ? %s : 0", vectors + 1, length, length);
    int present = open_before(emit, apart);
    emit_until(emit, limit);
    close_before(emit, present, form);
}

/* Whether two vectors are stored at once: of 16-bit floats, half a line each. */
static bool is_half(const Emit *emit, const Store *store) {
    Dim stride;
    return (store->dtype == SN_F16 || store->dtype == SN_BF16) &&
           sn_emit_strided(emit, store->offset, &stride) && sn_dim_equals(stride, 1);
}

static bool has_halves(const Emit *emit) {
    const Step *step = &emit->nest->step.at[last_step(emit)];
    for (int i = 0; i < step->store.count; i++)
        if (is_half(emit, &step->store.at[i])) return true;
    return false;
}

/* The first of two vectors is only kept where half a line is one; the second is then stored with it. */
static void emit_halves(Emit *emit, bool second) {
    const Step *step = &emit->nest->step.at[last_step(emit)];
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        if (!is_half(emit, store))
            sn_emit_store(emit, store);
        else if (!second)
            sn_emit_line(emit, "low%d = %s;", i, sn_emit_stored(emit, store, true));
        else
            sn_emit_line(emit, "sn_stream_%s_w(%s + %s - SN_LANES, low%d, %s, past);",
                         sn_dtype_name(store->dtype), sn_emit_buffer(emit, store->buffer),
                         sn_emit_dim(emit, store->offset, NULL), i, sn_emit_stored(emit, store, true));
    }
}

/* Two vectors of the row of before. */
static void emit_two(Emit *emit, const unsigned char *needed) {
    const Step *step = &emit->nest->step.at[last_step(emit)];
    for (int i = 0; i < step->store.count; i++)
        if (is_half(emit, &step->store.at[i])) sn_emit_line(emit, "vf32 low%d;", i);
    for (int second = 0; second < 2; second++) {
        emit->part += second;
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = done;", (int)emit->vector_axis->value);
        sn_emit_place(emit, SN_PLACE_LOOP, 0, needed);
        emit_halves(emit, second);
        sn_emit_line(emit, "done += SN_LANES;");
        emit->indent--;
        sn_emit_line(emit, "}");
        emit->part -= second;
    }
}

void sn_emit_lag_vector(Emit *emit) {
    const Form form = emit->form;
    const unsigned char *needed = sn_emit_needed(emit, last_step(emit));
    const bool two = has_halves(emit);
    if (two && emit->part % 2) return;
    int present = open_before(emit, sn_arena_printf(emit->arena, "done < %s", length_text(emit)));
    emit_names(emit, needed);
    if (two) {
        emit->form = SN_FORM_VECTOR;
        emit_two(emit, needed);
    } else {
        sn_emit_line(emit, "const int64_t i%d = done;", (int)emit->vector_axis->value);
        emit_stores(emit, needed, SN_FORM_VECTOR);
        sn_emit_line(emit, "done += SN_LANES;");
    }
    close_before(emit, present, form);
}

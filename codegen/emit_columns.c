/* Columns that the C dialect reduces: several vectors side by side down all rows, or, where sums in memory pay (columns.c), all of a
 * row's, one row after the other. Either way each column is reduced in the order of its rows. */
#include "emit_c.h"

enum {
    ROWS = 2,        /* are added at once where sums are in memory, … */
    ROWS_OF_FAR = 3, /* … and where the first-level cache does not hold these */
    BLOCK = 8,
    BLOCK_ACCUMULATORS = 16,
    BLOCK_BODY = 6 /* instructions that are worth sixteen copies */
};

/* Vectors of a block: by sixteen lines of a row memory gives up to a third more than by eight. */
static int widest_block(Emit *emit) {
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_needed(emit, 0);
    int body = 0;
    for (int i = 0; i < nest->instr.count; i++) body += needed[i] != 0;
    bool fits = 2 * BLOCK * nest->step.at[0].acc.count <= emit->kernel->target->vector_registers / 2;
    return fits && body <= BLOCK_BODY ? 2 * BLOCK : BLOCK;
}

/* `block` vectors of lanes side by side. */
static void emit_block(Emit *emit, const unsigned char *any, int block) {
    const Step *step = &emit->nest->step.at[0];
    const unsigned char *needed = sn_emit_needed(emit, 0);
    int k = sn_c_axis(emit->vector_axis), count = emit->nest->reduced.count;
    emit->form = SN_FORM_VECTOR;
    emit->step = 0;
    sn_emit_line(emit, "for (; i%d + %d * SN_LANES <= last;) {", k, block);
    emit->indent++;
    sn_c_acc_starts(emit, step, block);
    sn_c_open_reduced(emit, count);
    for (int copy = 0; copy < block; copy++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_place(emit, SN_PLACE_VECTOR, 0, needed);
        sn_c_body(emit, step, needed, copy);
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        sn_c_close_loops(emit, 1);
    }
    sn_emit_line(emit, "i%d -= %d * SN_LANES;", k, block);
    sn_c_close_loops(emit, count);
    for (int copy = 0; copy < block; copy++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
        sn_c_acc_ends(emit, step, copy);
        sn_emit_place(emit, SN_PLACE_VECTOR, 1, any);
        for (emit->step = 1; emit->step < emit->nest->step.count; emit->step++)
            sn_c_stores(emit, &emit->nest->step.at[emit->step]);
        emit->step = 0;
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        sn_c_close_loops(emit, 1);
    }
    sn_c_close_loops(emit, 1);
}

/* ---- sums in memory ---- */

static const char *sum_type(const Acc *acc) {
    return sn_emit_type(acc->dtype, true);
}

/* Columns of a work item at most. */
static int64_t most_columns(const Emit *emit) {
    int64_t most = emit->nest->sums, width;
    return sn_dim_is(emit->vector_axis->operand[0], &width) && width < most ? width : most;
}

/* Rows whose sums come from the second-level cache share a load and a store of these by three; more streams, or three of rows that
 * are near, memory likes less. */
static int rows_at_once(const Emit *emit) {
    const Step *step = &emit->nest->step.at[0];
    int64_t bytes = 0, width;
    for (int i = 0; i < step->acc.count; i++) bytes += sn_dtype_bytes(step->acc.at[i]->dtype);
    bool known = sn_dim_is(emit->vector_axis->operand[0], &width);
    return known && bytes * most_columns(emit) > emit->kernel->target->l1_bytes ? ROWS_OF_FAR : ROWS;
}

/* Room for the sums of all columns of a work item. */
static void emit_room(Emit *emit) {
    const Step *step = &emit->nest->step.at[0];
    sn_emit_line(emit, "enum { room = (%lld + SN_LANES - 1) / SN_LANES };", (long long)most_columns(emit));
    for (int i = 0; i < step->acc.count; i++)
        sn_emit_line(emit, "%s sum%d[room];", sum_type(step->acc.at[i]), step->acc.at[i]->number);
    sn_emit_line(emit, "for (int64_t u = 0; u < sn_ceildiv(last - first, SN_LANES); u++) {");
    emit->indent++;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "sum%d[u] = %s;", acc->number,
                     sn_emit_identity(emit, acc->function, acc->dtype, true));
    }
    sn_c_close_loops(emit, 1);
}

/* Adds what `rows` rows have at the present vector to its sums. */
static void add_vector(Emit *emit, const unsigned char *needed, int rows) {
    const Nest *nest = emit->nest;
    const Step *step = &nest->step.at[0];
    int k = sn_c_axis(nest->reduced.at[nest->reduced.count - 1]);
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, needed);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "%s a%d = sum%d[u];", sum_type(acc), acc->number, acc->number);
    }
    for (int row = 0; row < rows; row++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        if (row) sn_emit_line(emit, "const int64_t there = i%d + %d, i%d = there;", k, row, k);
        sn_c_body(emit, step, needed, 0);
        sn_c_close_loops(emit, 1);
    }
    for (int i = 0; i < step->acc.count; i++)
        sn_emit_line(emit, "sum%d[u] = a%d;", step->acc.at[i]->number, step->acc.at[i]->number);
}

/* `rows` rows. Their ends fetch the beginnings of those that come next. */
static void add_rows(Emit *emit, const unsigned char *needed, int rows) {
    int k = sn_c_axis(emit->vector_axis);
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "int64_t i%d = first, u = 0;", k);
    sn_emit_line(emit, "for (int ends = 0; ends < 2; ends++) {");
    emit->indent++;
    sn_emit_far_rows(emit, emit->nest->reduced.at[emit->nest->reduced.count - 1], rows, "(last - first)");
    sn_emit_line(emit, "for (; i%d + SN_LANES <= (ends ? last : last - far / 4); i%d += SN_LANES, u++) {", k,
                 k);
    emit->indent++;
    add_vector(emit, needed, rows);
    sn_c_close_loops(emit, 2);
    sn_c_open_partial(emit, NULL, k, "last");
    add_vector(emit, needed, rows);
    sn_c_close_loops(emit, 1);
}

/* Opens a loop over the last reduced axis, `rows` at a time. */
static void open_rows(Emit *emit, int rows) {
    Dim axis = emit->nest->reduced.at[emit->nest->reduced.count - 1];
    int k = sn_c_axis(axis);
    sn_emit_line(emit, "for (; i%d + %d <= %s; i%d += %d) {", k, rows, sn_c_end(emit, axis), k, rows);
    emit->indent++;
}

/* Stores what the columns of the present vector come to. */
static void end_vector(Emit *emit, const unsigned char *any) {
    const Step *step = &emit->nest->step.at[0];
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "const %s a%d = sum%d[u];", sum_type(acc), acc->number, acc->number);
    }
    sn_c_acc_ends(emit, step, 0);
    sn_emit_place(emit, SN_PLACE_VECTOR, 1, any);
    for (emit->step = 1; emit->step < emit->nest->step.count; emit->step++)
        sn_c_stores(emit, &emit->nest->step.at[emit->step]);
    emit->step = 0;
}

static void end_columns(Emit *emit, const unsigned char *any) {
    int k = sn_c_axis(emit->vector_axis);
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "for (int64_t u = 0; i%d + SN_LANES <= last; i%d += SN_LANES, u++) {", k, k);
    emit->indent++;
    end_vector(emit, any);
    sn_c_close_loops(emit, 1);
    sn_c_open_partial(emit, NULL, k, "last");
    sn_emit_line(emit, "const int64_t u = (last - first) / SN_LANES;");
    end_vector(emit, any);
    sn_emit_line(emit, "i%d = last;", k);
    sn_c_close_loops(emit, 1);
}

static void emit_sums(Emit *emit, const unsigned char *any) {
    const unsigned char *needed = sn_emit_needed(emit, 0);
    int outer = emit->nest->reduced.count - 1;
    emit->step = 0;
    emit->crosses = true;
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "if (far) {");
    emit->indent++;
    emit_room(emit);
    sn_c_open_reduced(emit, outer);
    sn_emit_line(emit, "int64_t i%d = 0;", sn_c_axis(emit->nest->reduced.at[outer]));
    for (int rows = rows_at_once(emit); rows > 0; rows = rows > 1) {
        open_rows(emit, rows);
        add_rows(emit, needed, rows);
        sn_c_close_loops(emit, 1);
    }
    sn_c_close_loops(emit, outer);
    end_columns(emit, any);
    sn_c_close_loops(emit, 1);
    emit->crosses = false;
    emit->form = SN_FORM_SCALAR;
}

void sn_c_fold_columns(Emit *emit, const unsigned char *any) {
    if (emit->nest->sums) emit_sums(emit, any);
    if (emit->nest->step.at[0].acc.count > BLOCK_ACCUMULATORS / BLOCK) return;
    for (int block = widest_block(emit); block >= BLOCK; block /= 2) emit_block(emit, any, block);
}

/* The C dialect: loops over rows with vectors of SN_LANES, a partial vector at the end of each, and the
 * entry. */
#include "emit.h"

#include "emit_template.h"

static const Dialect c_dialect = {
    .fault = "return %d;",
    .one_plus_erf = true,
    .symbol = "symbols[%d]",
    .buffer = "buffers[%d]",
};

enum { UNROLL_INSTRUCTIONS = 12, UNROLL = 4, BLOCK = 8, BLOCK_ACCUMULATORS = 16 };

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

/* ---- the inside of a row ---- */

static void emit_stores(Emit *emit, const Step *step) {
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
}

static const char *acc_name(Emit *emit, const Acc *acc, int copy) {
    return copy ? sn_arena_printf(emit->arena, "a%d_%d", acc->number, copy)
                : sn_arena_printf(emit->arena, "a%d", acc->number);
}

/* One pass over the body of a loop step; accumulators go to copy `copy` of their variables. */
static void emit_body(Emit *emit, const Step *step, const unsigned char *needed, int copy) {
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
    emit_stores(emit, step);
}

static void emit_acc_starts(Emit *emit, const Step *step, int copies) {
    bool vector = emit->form != SN_FORM_SCALAR;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        for (int copy = 0; copy < copies; copy++)
            sn_emit_line(emit, "%s %s = %s;", sn_emit_type(acc->dtype, vector), acc_name(emit, acc, copy),
                         sn_emit_identity(emit, acc->function, acc->dtype, vector));
    }
}

/* Opens a loop over each of the first `count` reduced axes. */
static void open_reduced(Emit *emit, int count) {
    for (int i = 0; i < count; i++) {
        Dim axis = emit->nest->reduced.at[i];
        int k = axis_number(axis);
        sn_emit_line(emit, "for (int64_t i%d = 0; i%d < %s; i%d++) {", k, k, end_text(emit, axis), k);
        emit->indent++;
    }
}

static void close_loops(Emit *emit, int count) {
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
static void emit_acc_ends(Emit *emit, const Step *step, int copy) {
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
    emit_acc_starts(emit, step, 1);
    open_reduced(emit, emit->nest->reduced.count);
    emit_body(emit, step, needed, 0);
    close_loops(emit, emit->nest->reduced.count);
    emit_acc_ends(emit, step, 0);
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
static void emit_folds(Emit *emit, const Step *step, int copies) {
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
static void open_vectors(Emit *emit, const Store *store) {
    if (!sn_emit_head(emit, store)) return;
    sn_emit_line(emit, "for (;;) {");
    emit->indent++;
}

/* Opens the block of a partial vector. */
static void open_partial(Emit *emit, const Store *store, int k, const char *last) {
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

static void close_partial(Emit *emit, const Store *store, int k) {
    if (store) sn_emit_line(emit, "i%d += n, head = 0;", k);
    close_loops(emit, 1);
}

/* Whether the loop being written also stores the row of before. */
static bool hosts_stores(const Emit *emit) {
    return emit->lags && emit->step == emit->nest->step.count - 2;
}

/* UNROLL vectors at a time, and what they read ahead: in one of `copies` each, or in a loop where there is one. */
static void emit_groups(Emit *emit, const Step *step, const unsigned char *needed, int copies,
                        const RowShare *share, const char *condition, const char *length) {
    int k = axis_number(emit->vector_axis);
    sn_emit_line(emit, "%sfor (; i%d + %d * SN_LANES <= %s;) {", condition, k, UNROLL, length);
    emit->indent++;
    sn_emit_read_share(emit, share, UNROLL);
    if (hosts_stores(emit)) sn_emit_lag(emit, sn_arena_printf(emit->arena, "i%d + %d * SN_LANES", k, UNROLL));
    for (int copy = 0; copy < copies; copy++) {
        sn_emit_line(emit, copies > 1 ? "{" : "for (int u = 0; u < %d; u++) {", UNROLL);
        emit->indent++;
        emit_body(emit, step, needed, copy);
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        close_loops(emit, 1);
    }
    close_loops(emit, 1);
}

/* The last reduced axis in vectors. */
static void emit_step_row(Emit *emit, const Step *step, const unsigned char *needed, const RowShare *share) {
    int outer = emit->nest->reduced.count - 1, k = axis_number(emit->vector_axis);
    int copies = step->acc.count && loop_size(emit, needed) <= UNROLL_INSTRUCTIONS ? UNROLL : 1;
    const char *length = end_text(emit, emit->vector_axis);
    /* Sums do not depend on where the row lies. */
    const Store *aligned = step->acc.count ? NULL : sn_emit_head_store(emit, step);
    const char *condition = aligned ? "if (!head) " : "";
    emit->form = SN_FORM_VECTOR;
    emit_acc_starts(emit, step, copies);
    open_reduced(emit, outer);
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_emit_line(emit, "int64_t i%d = 0;", k);
    open_vectors(emit, aligned);
    if (copies > 1 || share->count || hosts_stores(emit))
        emit_groups(emit, step, needed, copies, share, condition, length);
    if (hosts_stores(emit)) sn_emit_lag(emit, length);
    sn_emit_line(emit, "%sfor (; i%d + SN_LANES <= %s; i%d += SN_LANES) {", condition, k, length, k);
    emit->indent++;
    emit_body(emit, step, needed, 0);
    close_loops(emit, 1);
    open_partial(emit, aligned, k, length);
    emit_body(emit, step, needed, 0);
    close_partial(emit, aligned, k);
    close_loops(emit, 1 + outer);
    emit_folds(emit, step, copies);
    emit->form = SN_FORM_SCALAR;
}

/* Which of UNROLL parts of a row further on each loop over the present one reads ahead: as much as it has to do
 * itself, so that memory is busy all the time. */
static RowShare *row_shares(Emit *emit) {
    int count = emit->nest->step.count, all = 0, before = 0;
    RowShare *share = SN_ARRAY(emit->arena, RowShare, count);
    int *size = SN_ARRAY(emit->arena, int, count);
    for (emit->step = 0; emit->step < count; emit->step++)
        if (emit->nest->step.at[emit->step].loop)
            all += size[emit->step] = step_size(emit, &emit->nest->step.at[emit->step]);
    if (emit->lags) size[count - 2] += size[count - 1], size[count - 1] = 0;
    for (int i = 0; i < count && all; i++) {
        share[i].from = (UNROLL * before + all / 2) / all;
        before += size[i];
        share[i].count = (UNROLL * before + all / 2) / all - share[i].from;
    }
    return share;
}

/* All steps of a row (or, in lanes, of SN_LANES rows): in the form that is set. */
static void emit_steps(Emit *emit) {
    const unsigned char *any = sn_emit_needed(emit, -1);
    bool columns = emit->nest->vector == SN_VECTOR_PARALLEL;
    const RowShare *share = row_shares(emit);
    for (int i = 0; i < emit->nest->step.count - emit->lags; i++) {
        const Step *step = &emit->nest->step.at[i];
        emit->step = i;
        if (!step->loop)
            emit_stores(emit, step);
        else if (emit->nest->vector == SN_VECTOR_REDUCED)
            emit_step_row(emit, step, sn_emit_needed(emit, i), &share[i]);
        else
            emit_step_columns(emit, step, sn_emit_needed(emit, i));
        sn_emit_place(emit, columns ? SN_PLACE_VECTOR : SN_PLACE_ROW, i + 1, any);
    }
    if (emit->lags) sn_emit_lag_row(emit);
}

/* ---- rows ---- */

/* Whether the rows that are lanes can be reduced several vectors at a time: a sum of columns goes through memory
 * along the rows, of which one vector each is little. */
static bool has_blocks(const Nest *nest) {
    if (!nest->reduced.count || !nest->step.at[0].acc.count || nest->step.at[0].store.count ||
        nest->scratch.count)
        return false;
    for (int i = 0; i < nest->step.at[0].acc.count; i++)
        if (nest->step.at[0].acc.at[i]->running) return false;
    for (int p = 1; p < nest->step.count; p++)
        if (nest->step.at[p].loop) return false;
    return nest->step.at[0].acc.count <= BLOCK_ACCUMULATORS / BLOCK;
}

/* BLOCK vectors of lanes side by side. */
static void emit_block(Emit *emit, const unsigned char *any) {
    const Step *step = &emit->nest->step.at[0];
    const unsigned char *needed = sn_emit_needed(emit, 0);
    int k = axis_number(emit->vector_axis), count = emit->nest->reduced.count;
    emit->form = SN_FORM_VECTOR;
    emit->step = 0;
    sn_emit_line(emit, "for (; i%d + %d * SN_LANES <= last;) {", k, BLOCK);
    emit->indent++;
    emit_acc_starts(emit, step, BLOCK);
    open_reduced(emit, count);
    for (int copy = 0; copy < BLOCK; copy++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_place(emit, SN_PLACE_VECTOR, 0, needed);
        emit_body(emit, step, needed, copy);
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        close_loops(emit, 1);
    }
    sn_emit_line(emit, "i%d -= %d * SN_LANES;", k, BLOCK);
    close_loops(emit, count);
    for (int copy = 0; copy < BLOCK; copy++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
        emit_acc_ends(emit, step, copy);
        sn_emit_place(emit, SN_PLACE_VECTOR, 1, any);
        for (emit->step = 1; emit->step < emit->nest->step.count; emit->step++)
            emit_stores(emit, &emit->nest->step.at[emit->step]);
        emit->step = 0;
        sn_emit_line(emit, "i%d += SN_LANES;", k);
        close_loops(emit, 1);
    }
    close_loops(emit, 1);
}

/* The work of one vector of lanes. */
static void emit_lanes(Emit *emit, const unsigned char *any) {
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
    emit_steps(emit);
}

/* The vectors of a row from where the vector axis is to `end`. */
static void emit_vectors(Emit *emit, const unsigned char *any, const Store *aligned, const char *end) {
    int k = axis_number(emit->vector_axis);
    open_vectors(emit, aligned);
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "%sfor (; i%d + SN_LANES <= %s; i%d += SN_LANES) {", aligned ? "if (!head) " : "", k,
                 end, k);
    emit->indent++;
    if (emit->nest->tile)
        sn_emit_band_ahead(emit);
    else
        sn_emit_read_ahead(emit);
    emit_lanes(emit, any);
    close_loops(emit, 1);
    open_partial(emit, aligned, k, end);
    emit_lanes(emit, any);
    close_partial(emit, aligned, k);
    emit->form = SN_FORM_SCALAR;
}

static const Store *first_head_store(const Emit *emit) {
    const Store *store = NULL;
    for (int i = 0; i < emit->nest->step.count && !store; i++)
        store = sn_emit_head_store(emit, &emit->nest->step.at[i]);
    return store;
}

/* The m rows of a tile. */
static void emit_tile(Emit *emit, const unsigned char *any) {
    const Store *aligned = first_head_store(emit);
    int u = axis_number(emit->nest->tile);
    sn_emit_tiles(emit, aligned);
    sn_emit_line(emit, "for (int64_t j = 0; j < m; j++, i%d++) {", u);
    emit->indent++;
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_tile_range(emit, aligned);
    emit_vectors(emit, any, aligned, "end");
    close_loops(emit, 1);
    sn_emit_line(emit, "i%d -= m;", u);
}

/* SN_LANES rows (or elements) side by side, then what is left of them. */
static void emit_columns(Emit *emit, const unsigned char *any) {
    const Store *aligned = first_head_store(emit);
    sn_emit_line(emit, "int64_t i%d = first;", axis_number(emit->vector_axis));
    if (has_blocks(emit->nest)) {
        aligned = NULL; /* few results */
        emit_block(emit, any);
    }
    emit_vectors(emit, any, aligned, "last");
}

/* How many rows an axis moves on by, as text; NULL: one. */
static const char *stride_of(const Nest *nest, Dim axis) {
    return axis == nest->tile ? "SN_LANES" : axis == nest->strip ? "strip" : NULL;
}

static int outer_axes(const Nest *nest) {
    return nest->parallel.count - (nest->vector == SN_VECTOR_PARALLEL);
}

/* The rows and, when it is cut, the piece of the vector axis of work item `item`; axes at the first row. */
static void emit_range(Emit *emit) {
    const Nest *nest = emit->nest;
    if (nest->vector == SN_VECTOR_PARALLEL) {
        const char *width = extent_text(emit, emit->vector_axis);
        if (nest->chunk) {
            const char *chunk = sn_emit_dim(emit, nest->chunk, NULL);
            Dim count = sn_dim_ceildiv(emit->kernel->dims, emit->vector_axis->operand[0], nest->chunk);
            const char *chunks = sn_emit_dim(emit, count, NULL);
            sn_emit_line(emit, "const int64_t first = item %% %s * %s;", chunks, chunk);
            sn_emit_line(emit, "const int64_t last = sn_least_of(first + %s, %s);", chunk, width);
            sn_emit_line(emit, "item /= %s;", chunks);
        } else {
            sn_emit_line(emit, "const int64_t first = 0, last = %s;", width);
        }
    }
    const char *grain = sn_emit_dim(emit, nest->grain, NULL), *rows = sn_emit_dim(emit, nest->rows, NULL);
    sn_emit_line(emit, "int64_t row = item * %s, rest = row;", grain);
    sn_emit_line(emit, "const int64_t rows = sn_least_of(%s * %s, %s);", emit->lags ? "till" : "(item + 1)",
                 grain, rows);
    for (int i = outer_axes(nest) - 1; i >= 0; i--) {
        Dim axis = nest->parallel.at[i];
        const char *extent = extent_text(emit, axis), *by = stride_of(nest, axis);
        if (by) extent = sn_arena_printf(emit->arena, "sn_ceildiv(%s, %s)", extent, by);
        sn_emit_line(emit, "int64_t i%d = rest %% %s%s%s;", axis_number(axis), extent, by ? " * " : "",
                     by ? by : "");
        sn_emit_line(emit, "rest /= %s;", extent);
    }
    sn_emit_line(emit, "(void)rest;");
}

/* Counts the axes on to the next row. */
static void emit_next_row(Emit *emit) {
    const Nest *nest = emit->nest;
    int outer = outer_axes(nest);
    for (int i = outer - 1; i >= 0; i--) {
        int k = axis_number(nest->parallel.at[i]);
        const char *by = stride_of(nest, nest->parallel.at[i]);
        if (!by) by = "1";
        if (i == 0) {
            sn_emit_line(emit, "i%d += %s;", k, by);
            break;
        }
        sn_emit_line(emit, "if ((i%d += %s) >= %s) {", k, by, extent_text(emit, nest->parallel.at[i]));
        emit->indent++;
        sn_emit_line(emit, "i%d = 0;", k);
    }
    close_loops(emit, outer > 1 ? outer - 1 : 0);
}

static void emit_scratch(Emit *emit) {
    const Nest *nest = emit->nest;
    for (int i = 0; i < nest->scratch.count; i++) {
        const Scratch *scratch = &nest->scratch.at[i];
        if (scratch->count) {
            sn_emit_line(emit, "float r%d[%lld] __attribute__((aligned(64)));", i, (long long)scratch->count);
            continue;
        }
        sn_emit_line(emit, "float *const r%d = (float *)((char *)buffers[%d] + item * %s);", i,
                     scratch->buffer, sn_emit_dim(emit, scratch->each, NULL));
    }
}

static void emit_row(Emit *emit, const unsigned char *any) {
    const Nest *nest = emit->nest;
    if (!nest->tile) sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_far_indices(emit);
    if (nest->tile)
        emit_tile(emit, any);
    else if (nest->vector == SN_VECTOR_PARALLEL)
        emit_columns(emit, any);
    else
        emit_steps(emit);
}

/* The m rows of a strip. */
static void emit_strip(Emit *emit, const unsigned char *any) {
    int k = axis_number(emit->nest->strip);
    sn_emit_line(emit, "for (int64_t j = 0; j < m; j++, i%d++) {", k);
    emit->indent++;
    emit_row(emit, any);
    close_loops(emit, 1);
    sn_emit_line(emit, "i%d -= m;", k);
}

static void emit_nest(Emit *emit, int number, Text *out) {
    const Nest *nest = emit->kernel->nest.at[number];
    sn_emit_function(emit, nest);
    const unsigned char *any = sn_emit_needed(emit, -1);
    emit->lags = sn_emit_lags(emit);
    emit_scratch(emit);
    if (nest->strip) sn_emit_line(emit, "enum { strip = %d };", SN_STRIP_ROWS);
    emit_range(emit);
    sn_emit_past(emit);
    sn_emit_rows_ahead(emit);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    sn_emit_bands(emit);
    if (emit->lags) sn_emit_lag_begin(emit);
    sn_emit_line(emit, "for (; row < rows; row++) {");
    emit->indent++;
    if (nest->cut) {
        Dims *dims = emit->kernel->dims;
        Dim before = sn_dim_mul(dims, nest->piece, nest->cut->operand[0]);
        sn_emit_line(emit, "const int64_t end = sn_least_of(%s, %s);", extent_text(emit, nest->cut),
                     sn_emit_dim(emit, sn_dim_sub(dims, nest->whole, before), NULL));
    }
    Dim together = nest->tile ? nest->tile : nest->strip;
    if (together)
        sn_emit_line(emit, "const int64_t m = sn_least_of(%s, %s - i%d);", stride_of(nest, together),
                     extent_text(emit, together), axis_number(together));
    if (nest->strip)
        emit_strip(emit, any);
    else
        emit_row(emit, any);
    emit_next_row(emit);
    close_loops(emit, 1);
    if (emit->lags) sn_emit_lag(emit, extent_text(emit, emit->vector_axis));
    sn_emit_line(emit, "return 0;");
    sn_text_add(out, "static int nest%d(void *const *buffers, const int64_t *symbols, int64_t item%s) {\n",
                number, emit->lags ? ", int64_t till" : "");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n\n", sn_text_string(&emit->text));
}

/* ---- the kernel ---- */

/* Work items are those of the first nest, then those of the next. */
static void emit_entry(Emit *emit, Text *out) {
    KernelIr *kernel = emit->kernel;
    Dim start = sn_dim(kernel->dims, 0);
    sn_emit_function(emit, kernel->nest.at[0]);
    /* Rows that are stored later go on from one work item to the next. */
    sn_emit_line(emit, "for (int64_t item = begin; item < end; item%s) {", emit->lags ? " = end" : "++");
    emit->indent++;
    sn_emit_line(emit, "int fault;");
    for (int i = 0; i < kernel->nest.count; i++) {
        Dim end = sn_dim_add(kernel->dims, start, kernel->nest.at[i]->items);
        const char *test = i + 1 < kernel->nest.count
                               ? sn_arena_printf(emit->arena, "if (item < %s) ", sn_emit_dim(emit, end, NULL))
                               : "";
        sn_emit_line(emit, "%s%sfault = nest%d(buffers, symbols, item - %s%s);", i ? "else " : "", test, i,
                     sn_emit_dim(emit, start, NULL), emit->lags ? ", end" : "");
        start = end;
    }
    sn_emit_line(emit, "if (fault) return fault;");
    close_loops(emit, 1);
    if (emit->streams) sn_emit_line(emit, "sn_stream_end();");
    sn_emit_line(emit, "return 0;");
    sn_text_add(
        out, "int KERNEL_NAME(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

/* Headers cost the compiler time, so those of mathematics, of integer division and of random numbers come only where
 * an instruction may call them: not the arithmetic that vector.h has. */
static bool calls(const KernelIr *kernel, bool floats) {
    static const char *const plain[] = {"add", "sub", "mul",  "neg",        "min",   "max",   "and",   "or",
                                        "xor", "not", "less", "less_equal", "equal", "where", "random"};
    for (int n = 0; n < kernel->nest.count; n++)
        for (int i = 0; i < kernel->nest.at[n]->instr.count; i++) {
            const Instr *instr = kernel->nest.at[n]->instr.at[i];
            if (instr->kind != SN_INSTR_CALL) continue;
            bool known = floats && strcmp(instr->function, "div") == 0 && sn_dtype_is_float(instr->operand);
            for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
                known |= strcmp(plain[k], instr->function) == 0;
            if (!known && sn_dtype_is_float(instr->operand) == floats) return true;
        }
    return false;
}

static bool calls_random(const KernelIr *kernel) {
    for (int n = 0; n < kernel->nest.count; n++)
        for (int i = 0; i < kernel->nest.at[n]->instr.count; i++) {
            const Instr *instr = kernel->nest.at[n]->instr.at[i];
            if (instr->kind == SN_INSTR_CALL && strcmp(instr->function, "random") == 0) return true;
        }
    return false;
}

void sn_emit_prelude_c(const KernelIr *kernel, bool maths, Text *out) {
    sn_text_add(out, "#define SN_VECTOR_BYTES %d\n%s\n", kernel->target->vector_bytes,
                sn_device_text("vector.h"));
    if (maths || calls(kernel, true)) sn_text_add(out, "%s\n", sn_device_text("vector_math.h"));
    if (calls(kernel, false)) sn_text_add(out, "%s\n", sn_device_text("vector_integer.h"));
    if (calls_random(kernel)) sn_text_add(out, "%s\n", sn_device_text("vector_random.h"));
    sn_text_add(out, "%s\n", sn_device_text("dims.h"));
}

Status sn_emit_c(KernelIr *kernel, Kernel *out) {
    Emit emit = {.arena = kernel->arena, .dialect = &c_dialect, .kernel = kernel};
    Text text = sn_text(kernel->arena);
    sn_emit_prelude_c(kernel, kernel->use && kernel->use->maths, &text);
    if (kernel->use) return sn_emit_template(&emit, &text, out);
    sn_emit_choose_streams(&emit);
    sn_text_add(&text, "%s\n", sn_device_text("memory.h"));
    for (int i = 0; i < kernel->nest.count; i++)
        if (kernel->nest.at[i]->tile) {
            sn_text_add(&text, "#define SN_BAND %d\n%s\n", SN_TILE_BAND, sn_device_text("transpose.h"));
            break;
        }
    sn_text_add(&text, "#define SN_PARTIAL(count)                              \\\n"
                       "    const int64_t n = (count);                         \\\n"
                       "    const vi32 live = sn_iota_i32() < (int32_t)n;      \\\n"
                       "    (void)live;\n\n");
    out->items = sn_dim(kernel->dims, 0);
    for (int i = 0; i < kernel->nest.count; i++) {
        const Nest *nest = kernel->nest.at[i];
        emit_nest(&emit, i, &text);
        if (nest->last)
            out->after = nest->items;
        else
            out->items = sn_dim_add(kernel->dims, out->items, nest->items);
    }
    emit_entry(&emit, &text);
    sn_emit_finish(kernel, &emit, sn_text_string(&text), out);
    return NULL;
}

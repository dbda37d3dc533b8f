/* The C dialect: loops over rows with vectors of SN_LANES, a partial vector at the end of each, and the
 * entry. */
#include "emit_c.h"

#include "columns.h"
#include "emit_template.h"
#include "emit_tile.h"

static const Dialect c_dialect = {
    .fault = "return %d;",
    .one_plus_erf = true,
    .symbol = "symbols[%d]",
    .buffer = "buffers[%d]",
    .number = "((union { int32_t bits; float number; }){(int32_t)%s}).number",
};

/* ---- rows ---- */

/* The work of one vector of lanes. */
static void emit_lanes(Emit *emit, const unsigned char *any) {
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, emit->alone ? emit->needs : any);
    if (emit->alone)
        sn_emit_store(emit, emit->alone);
    else
        sn_c_steps(emit);
}

/* The vectors of a row from where the vector axis is to `end`. */
static void emit_vectors(Emit *emit, const unsigned char *any, const Store *aligned, const char *end) {
    int k = sn_c_axis(emit->vector_axis);
    sn_c_open_vectors(emit, aligned);
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "%sfor (; i%d + SN_LANES <= %s; i%d += SN_LANES) {", aligned ? "if (!head) " : "", k,
                 end, k);
    emit->indent++;
    if (!emit->nest->tile) sn_emit_read_ahead(emit);
    emit_lanes(emit, any);
    sn_c_close_loops(emit, 1);
    sn_c_open_partial(emit, aligned, k, end);
    emit_lanes(emit, any);
    sn_c_close_partial(emit, aligned, k);
    emit->form = SN_FORM_SCALAR;
}

static const Store *first_head_store(const Emit *emit) {
    const Store *store = NULL;
    for (int i = 0; i < emit->nest->step.count && !store; i++)
        store = sn_emit_head_store(emit, &emit->nest->step.at[i]);
    return store;
}

/* The rows of a whole tile, which have a loop of as few instructions as can be, since memory is the busier the more of them wait
 * for it at once. */
static void emit_whole_tile(Emit *emit, const unsigned char *any, const Store *aligned) {
    sn_emit_line(emit, "int64_t made = 0;");
    sn_emit_tile_rows(emit, aligned, true);
    sn_emit_tiles_ahead(emit);
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_tile_begin(emit, aligned);
    emit->form = SN_FORM_VECTOR;
    emit_lanes(emit, any);
    emit->form = SN_FORM_SCALAR;
    sn_c_close_loops(emit, 2);
}

/* The same from registers, for each way in which rows may begin a loop of its own. */
static void emit_direct_tile(Emit *emit, const unsigned char *any, const Store *aligned) {
    for (int odd = 0; odd < (aligned ? 2 : 1); odd++) {
        sn_emit_tile_fours(emit, aligned, odd);
        sn_emit_place(emit, SN_PLACE_ROW, 0, any);
        sn_emit_four_begin(emit, odd);
        emit->form = SN_FORM_VECTOR;
        emit_lanes(emit, any);
        emit->form = SN_FORM_SCALAR;
        sn_c_close_loops(emit, 3);
    }
    sn_emit_tiles_rest(emit);
}

/* The m rows of a tile. */
static void emit_tile(Emit *emit, const unsigned char *any) {
    const Store *aligned = first_head_store(emit);
    sn_emit_tiles(emit, aligned);
    if (emit->direct)
        emit_direct_tile(emit, any, aligned);
    else
        emit_whole_tile(emit, any, aligned);
    sn_emit_tile_rows(emit, aligned, false);
    sn_emit_bands_ahead(emit);
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_tile_range(emit, aligned);
    emit_vectors(emit, any, aligned, "end");
    sn_c_close_loops(emit, 1);
    sn_emit_line(emit, "i%d -= m;", sn_c_axis(emit->nest->tile));
}

/* SN_LANES rows (or elements) side by side, then what is left of them. */
static void emit_columns(Emit *emit, const unsigned char *any) {
    const Step *step = &emit->nest->step.at[0];
    for (int i = 0; i < step->store.count && sn_emit_stores_apart(emit); i++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "int64_t i%d = first;", sn_c_axis(emit->vector_axis));
        sn_emit_alone(emit, &step->store.at[i]);
        emit_vectors(emit, any, emit->alone, "last");
        sn_emit_alone(emit, NULL);
        sn_c_close_loops(emit, 1);
        if (i == step->store.count - 1) return;
    }
    const Store *aligned = first_head_store(emit);
    sn_emit_line(emit, "int64_t i%d = first;", sn_c_axis(emit->vector_axis));
    if (sn_schedule_folds_columns(emit->nest)) {
        aligned = NULL; /* few results */
        sn_c_fold_columns(emit, any);
    }
    emit_vectors(emit, any, aligned, "last");
}

/* The rows and, when it is cut, the piece of the vector axis of work item `item`; axes at the first row. */
static void emit_range(Emit *emit) {
    const Nest *nest = emit->nest;
    if (nest->vector == SN_VECTOR_PARALLEL) {
        const char *width = sn_c_extent(emit, emit->vector_axis);
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
    for (int i = sn_c_outer_axes(nest) - 1; i >= 0; i--) {
        Dim axis = nest->parallel.at[i];
        const char *extent = sn_c_extent(emit, axis), *by = sn_c_stride(nest, axis);
        if (by) extent = sn_arena_printf(emit->arena, "sn_ceildiv(%s, %s)", extent, by);
        sn_emit_line(emit, "int64_t i%d = rest %% %s%s%s;", sn_c_axis(axis), extent, by ? " * " : "",
                     by ? by : "");
        sn_emit_line(emit, "rest /= %s;", extent);
    }
    sn_emit_line(emit, "(void)rest;");
}

static void emit_scratch(Emit *emit) {
    enum { LINE = 16 }; /* elements */
    const Nest *nest = emit->nest;
    for (int i = 0; i < nest->scratch.count; i++) {
        const Scratch *scratch = &nest->scratch.at[i];
        if (sn_emit_takes_turns(emit)) {
            int64_t each = (scratch->count + LINE - 1) / LINE * LINE;
            sn_emit_line(emit, "float k%d[3][%lld] __attribute__((aligned(64)));", i, (long long)each);
            sn_emit_line(emit, "float *r%d = k%d[0], *next_r%d = k%d[1], *before_r%d = k%d[2];", i, i, i, i,
                         i, i);
            continue;
        }
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
    bool always = false;
    if (!nest->tile) sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_far_indices(emit);
    bool beside = sn_c_rows_beside(emit, any, &always);
    if (always) return;
    if (nest->tile)
        emit_tile(emit, any);
    else if (nest->vector == SN_VECTOR_PARALLEL)
        emit_columns(emit, any);
    else
        sn_c_steps(emit);
    sn_c_close_loops(emit, beside);
}

/* The m rows of a strip. */
static void emit_strip(Emit *emit, const unsigned char *any) {
    int k = sn_c_axis(emit->nest->strip);
    sn_emit_line(emit, "for (int64_t j = 0; j < m; j++, i%d++) {", k);
    emit->indent++;
    emit_row(emit, any);
    sn_c_close_loops(emit, 1);
    sn_emit_line(emit, "i%d -= m;", k);
}

static void emit_nest(Emit *emit, int number, Text *out) {
    const Nest *nest = emit->kernel->nest.at[number];
    sn_emit_function(emit, nest);
    const unsigned char *any = sn_emit_needed(emit, -1);
    emit->online = sn_emit_online(emit);
    emit->lags = sn_emit_lags(emit);
    emit->leads = sn_emit_leads(emit);
    emit_scratch(emit);
    if (nest->strip) sn_emit_line(emit, "enum { strip = %d };", SN_STRIP_ROWS);
    emit_range(emit);
    sn_emit_past(emit);
    sn_emit_far(emit);
    sn_emit_edges(emit);
    sn_emit_rows_ahead(emit);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    sn_emit_bands(emit);
    if (emit->lags) sn_emit_lag_begin(emit);
    if (emit->leads) sn_c_lead_begin(emit);
    sn_emit_line(emit, "for (; row < rows; row++) {");
    emit->indent++;
    if (nest->cut) {
        Dims *dims = emit->kernel->dims;
        Dim before = sn_dim_mul(dims, nest->piece, nest->cut->operand[0]);
        sn_emit_line(emit, "const int64_t end = sn_least_of(%s, %s);", sn_c_extent(emit, nest->cut),
                     sn_emit_dim(emit, sn_dim_sub(dims, nest->whole, before), NULL));
    }
    Dim together = nest->tile ? nest->tile : nest->strip;
    if (together)
        sn_emit_line(emit, "const int64_t m = sn_least_of(%s, %s - i%d);", sn_c_stride(nest, together),
                     sn_c_extent(emit, together), sn_c_axis(together));
    if (nest->strip)
        emit_strip(emit, any);
    else
        emit_row(emit, any);
    sn_c_next_row(emit);
    sn_c_close_loops(emit, 1);
    if (emit->lags) sn_emit_lag(emit, sn_c_extent(emit, emit->vector_axis));
    sn_emit_edges_end(emit);
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
    sn_c_close_loops(emit, 1);
    if (emit->streams) sn_emit_line(emit, "sn_stream_end();");
    sn_emit_line(emit, "return 0;");
    sn_text_add(
        out, "int KERNEL_NAME(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

Status sn_emit_c(KernelIr *kernel, Kernel *out) {
    Emit emit = {.arena = kernel->arena, .dialect = &c_dialect, .kernel = kernel};
    Text text = sn_text(kernel->arena);
    sn_emit_vectors_c(kernel, &text);
    if (kernel->use) return sn_emit_template(&emit, &text, out);
    sn_emit_functions_c(kernel, false, &text);
    sn_emit_choose_streams(&emit);
    sn_emit_choose_fetches(&emit);
    if (emit.fetches) sn_text_add(&text, "#define SN_FETCHES 1\n");
    sn_text_add(&text, "%s\n", sn_device_text("memory.h"));
    for (int i = 0; i < kernel->nest.count; i++)
        if (kernel->nest.at[i]->tile) {
            sn_text_add(&text, "%s\n", sn_device_text("transpose.h"));
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

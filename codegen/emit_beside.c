/* Rows of columns that are reduced side by side (beside.c), several vectors of each. */
#include "emit_c.h"

#include "columns.h"

/* A row and a vector of those side by side, and the copy of the accumulator that they have. */
typedef struct Cell {
    int row, vector, copy;
} Cell;

static Dim row_axis(const Emit *emit) {
    return emit->nest->parallel.at[emit->nest->parallel.count - 2];
}

/* Opens a block in which the axes are at a cell; what rows have in common is computed there anew. */
static void open_cell(Emit *emit, Cell cell, const unsigned char *needed) {
    int row = sn_c_axis(row_axis(emit)), lane = sn_c_axis(emit->vector_axis);
    sn_emit_line(emit, "{");
    emit->indent++;
    if (cell.row) sn_emit_line(emit, "const int64_t there = i%d + %d, i%d = there;", row, cell.row, row);
    if (cell.vector)
        sn_emit_line(emit, "const int64_t along = i%d + %d * SN_LANES, i%d = along;", lane, cell.vector,
                     lane);
    if (cell.row && needed) sn_emit_place(emit, SN_PLACE_ROW, 0, needed);
}

static Cell next_cell(const Emit *emit, Cell cell) {
    cell.copy++;
    if (++cell.row == emit->nest->beside) cell.row = 0, cell.vector++;
    return cell;
}

/* The tests of a pass over the body that are the same in all lanes, by id; *count of them. */
static unsigned char *tests_of(Emit *emit, const unsigned char *needed, int *count) {
    const Nest *nest = emit->nest;
    unsigned char *test = SN_ARRAY(emit->arena, unsigned char, nest->instr.count);
    *count = 0;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *guard = nest->instr.at[i]->guard;
        if (!needed[i] || nest->instr.at[i]->kind != SN_INSTR_LOAD || !guard || guard->varying) continue;
        *count += !test[guard->id];
        test[guard->id] = 1;
    }
    return test;
}

/* Whether a test is of comparisons all of which, where they hold for two rows, hold for those between them: of numbers that move
 * evenly from row to row. */
static bool is_even(const Emit *emit, const Instr *test) {
    Dims *dims = emit->kernel->dims;
    Dim by, rest;
    if (test->kind == SN_INSTR_LESS)
        return sn_dim_affine(dims, sn_dim_sub(dims, test->limit, test->dim), row_axis(emit), &by, &rest);
    if (test->kind != SN_INSTR_CALL) return false;
    if (strcmp(test->function, "not") == 0)
        return test->arg[0]->kind == SN_INSTR_LESS && is_even(emit, test->arg[0]);
    return strcmp(test->function, "and") == 0 && is_even(emit, test->arg[0]) && is_even(emit, test->arg[1]);
}

/* Opens the branch of `rows` rows from `first` on for all of which these tests hold. */
static void open_test(Emit *emit, const unsigned char *tests, int first, int rows) {
    const Nest *nest = emit->nest;
    unsigned char *needed = SN_ARRAY(emit->arena, unsigned char, nest->instr.count);
    bool even = true;
    for (int i = 0; i < nest->instr.count; i++) {
        if (!tests[i]) continue;
        sn_emit_need(emit, nest->instr.at[i], needed);
        even &= is_even(emit, nest->instr.at[i]);
    }
    sn_emit_line(emit, "int32_t all = -1;");
    for (Cell cell = {.row = first}; cell.row < first + rows; cell.row += even && rows > 1 ? rows - 1 : 1) {
        open_cell(emit, cell, needed);
        sn_emit_place(emit, SN_PLACE_LOOP, 0, needed);
        for (int i = 0; i < nest->instr.count; i++)
            if (tests[i]) sn_emit_line(emit, "all &= %s;", sn_emit_use(emit, nest->instr.at[i], false));
        sn_c_close_loops(emit, 1);
    }
    sn_emit_line(emit, "if (all) {");
    emit->indent++;
}

static void open_otherwise(Emit *emit) {
    emit->indent--;
    sn_emit_line(emit, "} else {");
    emit->indent++;
}

/* A pass over the body for the cells of one row, or (-1) of all. */
static void emit_cells(Emit *emit, const unsigned char *needed, int copies, int row,
                       const unsigned char *holds) {
    emit->holds = holds;
    for (Cell cell = {0}; cell.copy < copies; cell = next_cell(emit, cell)) {
        if (row >= 0 && cell.row != row) continue;
        open_cell(emit, cell, needed);
        sn_emit_place(emit, SN_PLACE_VECTOR, 0, needed);
        sn_c_body(emit, &emit->nest->step.at[0], needed, cell.copy);
        sn_c_close_loops(emit, 1);
    }
    emit->holds = NULL;
}

/* A pass for all cells, with one test for all rows, and where that fails one for each. */
static void emit_tested(Emit *emit, const unsigned char *needed, const unsigned char *tests, int copies) {
    open_test(emit, tests, 0, emit->nest->beside);
    emit_cells(emit, needed, copies, -1, tests);
    open_otherwise(emit);
    for (int row = 0; row < emit->nest->beside; row++) {
        sn_emit_line(emit, "{");
        emit->indent++;
        open_test(emit, tests, row, 1);
        emit_cells(emit, needed, copies, row, tests);
        open_otherwise(emit);
        emit_cells(emit, needed, copies, row, NULL);
        sn_c_close_loops(emit, 2);
    }
    sn_c_close_loops(emit, 1);
}

static void emit_ends(Emit *emit, const unsigned char *any, int copies) {
    for (Cell cell = {0}; cell.copy < copies; cell = next_cell(emit, cell)) {
        open_cell(emit, cell, any);
        sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
        sn_c_acc_ends(emit, &emit->nest->step.at[0], cell.copy);
        sn_emit_place(emit, SN_PLACE_VECTOR, 1, any);
        for (emit->step = 1; emit->step < emit->nest->step.count; emit->step++)
            sn_c_stores(emit, &emit->nest->step.at[emit->step]);
        emit->step = 0;
        sn_c_close_loops(emit, 1);
    }
}

/* Fetches, where streams are, what the last elements of the windows will be `far` bytes on: what no row before has read. */
static void fetch_cells(Emit *emit, int copies) {
    const Nest *nest = emit->nest;
    Dims *dims = emit->kernel->dims;
    for (int i = 0; i < nest->instr.count && emit->fetches; i++) {
        const Instr *load = nest->instr.at[i];
        Dim at = load->dim, unit;
        if (load->kind != SN_INSTR_LOAD || !load->reduced || !load->rowwise ||
            !sn_emit_strided(emit, at, &unit) || !sn_dim_equals(unit, 1))
            continue;
        for (int k = 0; k < nest->reduced.count; k++) {
            Dim axis = nest->reduced.at[k], last = sn_dim_addc(dims, axis->operand[0], -1);
            at = sn_dim_replace(dims, at, &axis, &last, 1);
        }
        for (Cell cell = {0}; cell.copy < copies; cell = next_cell(emit, cell)) {
            open_cell(emit, cell, NULL);
            sn_emit_line(emit, "SN_FETCH(%s + %s, far);", sn_emit_buffer(emit, load->buffer),
                         sn_emit_dim(emit, at, NULL));
            sn_c_close_loops(emit, 1);
        }
    }
}

/* `vectors` vectors (1: also a partial one) of the rows at hand. */
static void emit_block(Emit *emit, const unsigned char *any, int vectors) {
    const unsigned char *needed = sn_emit_needed(emit, 0);
    const int copies = vectors * emit->nest->beside, reduced = emit->nest->reduced.count;
    int count;
    const unsigned char *tests = tests_of(emit, needed, &count);
    fetch_cells(emit, copies);
    sn_c_acc_starts(emit, &emit->nest->step.at[0], copies);
    sn_c_open_reduced(emit, reduced);
    if (count)
        emit_tested(emit, needed, tests, copies);
    else
        emit_cells(emit, needed, copies, -1, NULL);
    sn_c_close_loops(emit, reduced);
    emit_ends(emit, any, copies);
}

static void emit_rows(Emit *emit, const unsigned char *any) {
    int k = sn_c_axis(emit->vector_axis);
    emit->step = 0;
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "int64_t i%d = first;", k);
    for (int vectors = sn_schedule_vectors_beside(emit->kernel, emit->nest); vectors; vectors /= 2) {
        sn_emit_line(emit, "for (; i%d + %d * SN_LANES <= last; i%d += %d * SN_LANES) {", k, vectors, k,
                     vectors);
        emit->indent++;
        emit_block(emit, any, vectors);
        sn_c_close_loops(emit, 1);
    }
    sn_c_open_partial(emit, NULL, k, "last");
    emit_block(emit, any, 1);
    sn_c_close_loops(emit, 1);
    emit->form = SN_FORM_SCALAR;
}

/* Whether rows are a multiple of those side by side, and work items begin at such. */
static bool is_always(Emit *emit) {
    int64_t extent;
    return sn_dim_is(row_axis(emit)->operand[0], &extent) && extent % emit->nest->beside == 0;
}

bool sn_c_rows_beside(Emit *emit, const unsigned char *any, bool *always) {
    const int rows = emit->nest->beside;
    if (!rows) return false;
    Dim axis = row_axis(emit);
    int k = sn_c_axis(axis);
    *always = is_always(emit);
    sn_emit_line(emit, *always ? "{" : "if (i%d + %d <= %s && row + %d <= rows) {", k, rows,
                 sn_c_extent(emit, axis), rows);
    emit->indent++;
    emit_rows(emit, any);
    sn_emit_line(emit, "i%d += %d, row += %d;", k, rows - 1, rows - 1);
    emit->indent--;
    sn_emit_line(emit, *always ? "}" : "} else {");
    emit->indent += !*always;
    return true;
}

/* Rows of columns that are reduced side by side (beside.c), several vectors of each. */
#include "emit_c.h"

#include "columns.h"

enum { MOST_BORDERS = 4 }; /* so many copies of the code for rows at borders */

/* A row and a vector of those side by side, and the copy of the accumulator that they have. */
typedef struct Cell {
    int row, vector, copy;
} Cell;

static Dim row_axis(const Emit *emit) {
    return emit->nest->parallel.at[emit->nest->parallel.count - 2];
}

static Dim tap_axis(const Emit *emit) {
    return emit->nest->reduced.at[emit->nest->reduced.count - 1];
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

/* Stores what the cells come to, row by row, so that lines of memory that are neighbours leave together. */
static void emit_ends(Emit *emit, const unsigned char *any, int vectors) {
    const int beside = emit->nest->beside;
    for (int i = 0; i < vectors * beside; i++) {
        const int row = i / vectors, vector = i % vectors;
        const Cell cell = {row, vector, vector * beside + row};
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

/* ---- fetching ---- */

/* Whether a load of windows is a stream; *last: where it reads the last element of the window at hand. */
static bool is_stream(Emit *emit, const Instr *load, Dim *last) {
    const Nest *nest = emit->nest;
    Dims *dims = emit->kernel->dims;
    Dim unit;
    *last = load->dim;
    if (!emit->fetches || load->kind != SN_INSTR_LOAD || !load->reduced || !load->rowwise ||
        !sn_emit_strided(emit, load->dim, &unit) || !sn_dim_equals(unit, 1))
        return false;
    for (int k = 0; k < nest->reduced.count; k++) {
        Dim axis = nest->reduced.at[k], end = sn_dim_addc(dims, axis->operand[0], -1);
        *last = sn_dim_replace(dims, *last, &axis, &end, 1);
    }
    return true;
}

/* Fetches, where streams are, what the last elements of the windows will be `far` bytes on: what no row before has read. */
static void fetch_cells(Emit *emit, int copies) {
    const Nest *nest = emit->nest;
    Dim at;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *load = nest->instr.at[i];
        if (!is_stream(emit, load, &at)) continue;
        for (Cell cell = {0}; cell.copy < copies; cell = next_cell(emit, cell)) {
            open_cell(emit, cell, NULL);
            sn_emit_line(emit, "SN_FETCH(%s + %s, far);", sn_emit_buffer(emit, load->buffer),
                         sn_emit_dim(emit, at, NULL));
            sn_c_close_loops(emit, 1);
        }
    }
}

/* Whether the rows of a work item, of whole rows, lie one behind the other in what is loaded from there. */
static bool is_dense(const Emit *emit, Dim at) {
    Dim by, rest;
    return !emit->nest->chunk && sn_dim_affine(emit->kernel->dims, at, row_axis(emit), &by, &rest) &&
           by == emit->vector_axis->operand[0];
}

/* The same inside the loop over the axis before the last: a share each time, so that memory gets requests evenly; and of rows one
 * behind the other in their order, each block a share of all, which pages and channels of memory like better. */
static void fetch_share(Emit *emit, int vectors) {
    const Nest *nest = emit->nest;
    const int count = nest->reduced.count, row = sn_c_axis(row_axis(emit)),
              lane = sn_c_axis(emit->vector_axis);
    const int lines = vectors * nest->beside;
    Dim at, outer = count > 1 ? nest->reduced.at[count - 2] : NULL;
    const char *from = "0", *to = sn_arena_printf(emit->arena, "%d", lines);
    if (outer) {
        const char *turns = sn_c_extent(emit, outer);
        from = sn_arena_printf(emit->arena, "i%d * %d / %s", sn_c_axis(outer), lines, turns);
        to = sn_arena_printf(emit->arena, "(i%d + 1) * %d / %s", sn_c_axis(outer), lines, turns);
    }
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *load = nest->instr.at[i];
        if (!is_stream(emit, load, &at)) continue;
        sn_emit_line(emit, "for (int64_t line = %s; line < %s; line++) {", from, to);
        emit->indent++;
        const char *buffer = sn_emit_buffer(emit, load->buffer), *text = sn_emit_dim(emit, at, NULL);
        if (is_dense(emit, at)) {
            sn_emit_line(emit, "SN_FETCH(%s + %s + i%d * %d + line * SN_LANES, next);", buffer, text, lane,
                         nest->beside - 1);
        } else {
            sn_emit_line(emit, "const int64_t there = i%d + line / %d, i%d = there;", row, vectors, row);
            sn_emit_line(emit, "const int64_t along = i%d + line %% %d * SN_LANES, i%d = along;", lane,
                         vectors, lane);
            sn_emit_line(emit, "SN_FETCH(%s + %s, next);", buffer, text);
        }
        sn_c_close_loops(emit, 1);
    }
}

/* Defines `next`: as far ahead, but what the next rows side by side will read first at least. */
static void emit_next(Emit *emit) {
    const Nest *nest = emit->nest;
    Dims *dims = emit->kernel->dims;
    Dim most = sn_dim(dims, 0), by, rest, at;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *load = nest->instr.at[i];
        if (is_stream(emit, load, &at) && sn_dim_affine(dims, at, row_axis(emit), &by, &rest) &&
            !sn_dim_has_axis(by))
            most = sn_dim_max(dims, most,
                              sn_dim_mulc(dims, by, (int64_t)nest->beside * sn_dtype_bytes(load->dtype)));
    }
    if (emit->fetches)
        sn_emit_line(emit, "const int64_t next = far ? sn_largest_of(far, %s) : 0;",
                     sn_emit_dim(emit, most, NULL));
}

/* ---- taps: elements of the window along its last axis, written one by one ---- */

/* Of what the tests of a body are made by "and": what has the same value for all rows side by side and all taps, and what moves. */
typedef struct Parts {
    unsigned char *same, *moves; /* by id */
    int same_count;
} Parts;

static bool moves(const Emit *emit, const Instr *test) {
    const bool negated = test->kind == SN_INSTR_CALL && strcmp(test->function, "not") == 0;
    if (negated) test = test->arg[0];
    if (test->kind != SN_INSTR_LESS) return true;
    Dim apart = sn_dim_sub(emit->kernel->dims, test->limit, test->dim);
    return sn_dim_depends(apart, row_axis(emit)) || sn_dim_depends(apart, tap_axis(emit));
}

static void add_parts(const Emit *emit, const Instr *test, Parts *parts) {
    if (test->kind == SN_INSTR_CALL && strcmp(test->function, "and") == 0) {
        add_parts(emit, test->arg[0], parts);
        add_parts(emit, test->arg[1], parts);
    } else if (moves(emit, test)) {
        parts->moves[test->id] = 1;
    } else {
        parts->same_count += !parts->same[test->id];
        parts->same[test->id] = 1;
    }
}

static Parts parts_of(Emit *emit, const unsigned char *tests) {
    const int count = emit->nest->instr.count;
    Parts parts = {SN_ARRAY(emit->arena, unsigned char, count), SN_ARRAY(emit->arena, unsigned char, count),
                   0};
    for (int i = 0; i < count; i++)
        if (tests[i]) add_parts(emit, emit->nest->instr.at[i], &parts);
    return parts;
}

/* Whether a part is known to be true for a row and a tap. */
static bool is_true(const Emit *emit, const Instr *part, int64_t row, int64_t tap) {
    Dims *dims = emit->kernel->dims;
    const Dim axis[] = {row_axis(emit), tap_axis(emit)}, at[] = {sn_dim(dims, row), sn_dim(dims, tap)};
    const bool negated = part->kind == SN_INSTR_CALL && strcmp(part->function, "not") == 0;
    int64_t apart;
    if (negated) part = part->arg[0];
    return part->kind == SN_INSTR_LESS &&
           sn_dim_is(sn_dim_replace(dims, sn_dim_sub(dims, part->limit, part->dim), axis, at, 2), &apart) &&
           (apart > 0) != negated;
}

/* Whether all parts that move are true for all rows side by side from there on. */
static bool is_inside(const Emit *emit, const Parts *parts, int64_t first, int taps) {
    for (int i = 0; i < emit->nest->instr.count; i++)
        for (int64_t row = first; parts->moves[i] && row < first + emit->nest->beside; row++)
            for (int tap = 0; tap < taps; tap++)
                if (!is_true(emit, emit->nest->instr.at[i], row, tap)) return false;
    return true;
}

/* A pass over the body for the cells, tap by tap: what neighbours read both is then loaded once. */
static void emit_taps(Emit *emit, const unsigned char *needed, int vectors, int taps,
                      const unsigned char *holds) {
    const int beside = emit->nest->beside, k = sn_c_axis(tap_axis(emit));
    emit->holds = holds;
    for (int vector = 0; vector < vectors; vector++)
        for (int tap = 0; tap < taps; tap++)
            for (int row = 0; row < beside; row++) {
                open_cell(emit, (Cell){row, vector, vector * beside + row}, needed);
                sn_emit_line(emit, "const int64_t i%d = %d;", k, tap);
                sn_emit_place(emit, SN_PLACE_VECTOR, 0, needed);
                sn_c_body(emit, &emit->nest->step.at[0], needed, vector * beside + row);
                sn_c_close_loops(emit, 1);
            }
    emit->holds = NULL;
}

/* The window of rows side by side, of which the parts that move are known (inside: to be true). */
static void emit_window(Emit *emit, const unsigned char *needed, int vectors, int taps, bool inside) {
    const int reduced = emit->nest->reduced.count, copies = vectors * emit->nest->beside;
    int count;
    const unsigned char *tests = tests_of(emit, needed, &count);
    const Parts parts = parts_of(emit, tests);
    sn_c_open_reduced(emit, reduced - 1);
    fetch_share(emit, vectors);
    if (parts.same_count) {
        sn_emit_line(emit, "{");
        emit->indent++;
        open_test(emit, parts.same, 0, 1);
    }
    emit_taps(emit, needed, vectors, taps, inside ? tests : NULL);
    if (parts.same_count) {
        int k = sn_c_axis(tap_axis(emit));
        open_otherwise(emit);
        sn_emit_line(emit, "for (int64_t i%d = 0; i%d < %d; i%d++) {", k, k, taps, k);
        emit->indent++;
        emit_cells(emit, needed, copies, -1, NULL);
        sn_c_close_loops(emit, 3);
    }
    sn_c_close_loops(emit, reduced - 1);
}

/* How rows side by side are written: with taps of their windows one by one, which lie inside for all of them or not; or (0 taps)
 * with a loop over all of the window. */
typedef struct Way {
    int taps;
    bool inside;
} Way;

/* `vectors` vectors (1: also a partial one) of the rows at hand. */
static void emit_block(Emit *emit, const unsigned char *any, int vectors, Way way) {
    const unsigned char *needed = sn_emit_needed(emit, 0);
    const int copies = vectors * emit->nest->beside, reduced = emit->nest->reduced.count;
    int count;
    const unsigned char *tests = tests_of(emit, needed, &count);
    if (!way.taps) fetch_cells(emit, copies);
    sn_c_acc_starts(emit, &emit->nest->step.at[0], copies);
    if (way.taps) {
        emit_window(emit, needed, vectors, way.taps, way.inside);
    } else {
        sn_c_open_reduced(emit, reduced);
        if (count)
            emit_tested(emit, needed, tests, copies);
        else
            emit_cells(emit, needed, copies, -1, NULL);
        sn_c_close_loops(emit, reduced);
    }
    emit_ends(emit, any, vectors);
}

/* Elements of a work item's columns that are left behind blocks of so many; -1: any number. */
static int64_t columns_left(const Emit *emit, int64_t block) {
    int64_t width, chunk = block;
    bool known = sn_dim_is(emit->vector_axis->operand[0], &width) &&
                 (!emit->nest->chunk || sn_dim_is(emit->nest->chunk, &chunk));
    return known && chunk % block == 0 ? width % block : -1;
}

static void emit_rows(Emit *emit, const unsigned char *any, Way way) {
    const int k = sn_c_axis(emit->vector_axis), lanes = emit->kernel->target->vector_bytes / 4;
    int vectors = sn_schedule_vectors_beside(emit->kernel, emit->nest);
    const int64_t left = columns_left(emit, (int64_t)vectors * lanes);
    emit->step = 0;
    emit->form = SN_FORM_VECTOR;
    sn_emit_line(emit, "int64_t i%d = first;", k);
    for (int most = vectors; vectors; vectors /= 2) {
        if (vectors < most && left >= 0 && left < (int64_t)vectors * lanes) continue;
        sn_emit_line(emit, "for (; i%d + %d * SN_LANES <= last; i%d += %d * SN_LANES) {", k, vectors, k,
                     vectors);
        emit->indent++;
        emit_block(emit, any, vectors, way);
        sn_c_close_loops(emit, 1);
    }
    if (left < 0 || left % lanes) {
        sn_c_open_partial(emit, NULL, k, "last");
        emit_block(emit, any, 1, way);
        sn_c_close_loops(emit, 1);
    }
    emit->form = SN_FORM_SCALAR;
}

/* Whether rows are a multiple of those side by side, and work items begin at such. */
static bool is_always(Emit *emit) {
    int64_t extent;
    return sn_dim_is(row_axis(emit)->operand[0], &extent) && extent % emit->nest->beside == 0;
}

/* The first rows of those side by side that reach beyond borders, of rows that are always so; -1: too many, or it is not known. */
static int find_borders(Emit *emit, int taps, int64_t *at) {
    int64_t extent = 0;
    int count, borders = 0;
    const Parts parts = parts_of(emit, tests_of(emit, sn_emit_needed(emit, 0), &count));
    if (!sn_dim_is(row_axis(emit)->operand[0], &extent)) return -1;
    for (int64_t first = 0; first < extent; first += emit->nest->beside) {
        if (is_inside(emit, &parts, first, taps)) continue;
        if (borders == MOST_BORDERS) return -1;
        at[borders++] = first;
    }
    return borders;
}

/* The rows, of which those at borders have code of their own, where their number is known: no element is tested then. */
static void emit_between(Emit *emit, const unsigned char *any, int taps, const int64_t *at, int borders) {
    const int k = sn_c_axis(row_axis(emit));
    int64_t extent = 0;
    bool between =
        sn_dim_is(row_axis(emit)->operand[0], &extent) && extent > (int64_t)borders * emit->nest->beside;
    for (int i = 0; i < borders; i++) {
        const bool last = i == borders - 1 && !between;
        if (last)
            sn_emit_line(emit, "{");
        else
            sn_emit_line(emit, "if (i%d == %lld) {", k, (long long)at[i]);
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = %lld;", k, (long long)at[i]);
        emit_rows(emit, any, (Way){taps, false});
        emit->indent--;
        sn_emit_line(emit, last ? "}" : "} else");
    }
    if (!between) return;
    sn_emit_line(emit, "{");
    emit->indent++;
    emit_rows(emit, any, (Way){taps, true});
    sn_c_close_loops(emit, 1);
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
    const int taps = *always ? sn_schedule_taps(emit->kernel, emit->nest) : 0;
    int64_t at[MOST_BORDERS];
    const int borders = taps ? find_borders(emit, taps, at) : -1;
    if (borders >= 0) {
        emit_next(emit);
        emit_between(emit, any, taps, at, borders);
    } else {
        emit_rows(emit, any, (Way){0});
    }
    sn_emit_line(emit, "i%d += %d, row += %d;", k, rows - 1, rows - 1);
    emit->indent--;
    sn_emit_line(emit, *always ? "}" : "} else {");
    emit->indent += !*always;
    return true;
}

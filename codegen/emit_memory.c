/* The C dialect's traffic with memory: which stores go past the caches, where loops begin so that these are
 * aligned, and which rows are read ahead. */
#include "emit.h"

enum {
    LEAD_BYTES =
        6144, /* so far ahead of the next row's loop, where that goes with this row's, memory is asked */
    LONG_BYTES = 12288, /* the same inside rows that are too long for a whole row ahead, and only reduced */
    ROWS_IN_L2 = 4,     /* that many rows of a load have to fit, or reading ahead pushes out what is in use */
    MAXIMUM = 4,        /* instructions, with what minds numbers that are none */
    STORES_APART = 8,   /* more loops than that are too much text */
    SHORT_IN_L1 = 8     /* so many of what short rows load fit in one */
};

/* ---- stores past the caches ---- */

void sn_emit_choose_streams(Emit *emit) {
    int64_t bytes, least = emit->kernel->target->stream_bytes;
    emit->streams =
        least > 0 && (!sn_dim_is(sn_kernel_written_bytes(emit->kernel), &bytes) || bytes >= least);
}

/* The test that a store lies where the nest loads the same element; NULL: it loads none such. */
static const char *stored_in_place(Emit *emit, const Store *store) {
    const Nest *nest = emit->nest;
    const char *test = NULL;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *load = nest->instr.at[i];
        if (load->kind != SN_INSTR_LOAD || load->which || load->guard || load->dim != store->offset ||
            sn_dtype_bytes(load->dtype) != sn_dtype_bytes(store->dtype))
            continue;
        const char *same =
            sn_arena_printf(emit->arena, "(const void *)%s == (const void *)%s",
                            sn_emit_buffer(emit, store->buffer), sn_emit_buffer(emit, load->buffer));
        test = test ? sn_arena_printf(emit->arena, "%s || %s", test, same) : same;
    }
    return test;
}

/* The test that a map stores all its results where it loads; NULL: it never does. The caches have these lines then, which leave
 * them as well without being sent past. */
static const char *in_place(Emit *emit) {
    const Nest *nest = emit->nest;
    const char *test = NULL;
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].store.count; i++) {
            const char *one =
                nest->reduced.count ? NULL : stored_in_place(emit, &nest->step.at[p].store.at[i]);
            if (!one) return NULL;
            test = test ? sn_arena_printf(emit->arena, "%s && (%s)", test, one)
                        : sn_arena_printf(emit->arena, "(%s)", one);
        }
    return test;
}

void sn_emit_past(Emit *emit) {
    if (!emit->streams) return;
    const char *near = in_place(emit);
    if (near) sn_emit_line(emit, "const int in_place = %s;", near);
    sn_emit_line(emit, "const uintptr_t past = %s >= INT64_C(%lld)%s ? 0 : UINTPTR_MAX;",
                 sn_emit_dim(emit, sn_kernel_written_bytes(emit->kernel), NULL),
                 (long long)emit->kernel->target->stream_bytes, near ? " && !in_place" : "");
}

/* Whether an address is of a place inside the loops over reduced axes, where lanes are rows. */
static bool is_inside(const Nest *nest, Dim offset) {
    for (int i = 0; i < nest->reduced.count && nest->vector == SN_VECTOR_PARALLEL; i++)
        if (sn_dim_depends(offset, nest->reduced.at[i])) return true;
    return false;
}

const Store *sn_emit_head_store(const Emit *emit, const Step *step) {
    for (int i = 0; i < step->store.count && emit->streams; i++) {
        Dim stride, offset = step->store.at[i].offset;
        if (sn_emit_strided(emit, offset, &stride) && sn_dim_equals(stride, 1) &&
            !is_inside(emit->nest, offset))
            return &step->store.at[i];
    }
    return NULL;
}

static bool begins_alike(const Emit *emit, const Store *a, const Store *b) {
    Dims *dims = emit->kernel->dims;
    Dim lanes = sn_dim(dims, emit->kernel->target->vector_bytes / 4);
    int64_t rest;
    return sn_dtype_bytes(a->dtype) == sn_dtype_bytes(b->dtype) &&
           sn_dim_is(sn_dim_mod(dims, sn_dim_sub(dims, b->offset, a->offset), lanes), &rest) && rest == 0;
}

static bool loads_the_same(const Nest *nest, const unsigned char *a, const unsigned char *b) {
    for (int i = 0; i < nest->instr.count; i++)
        for (int k = 0; a[i] && k < nest->instr.count; k++) {
            const Instr *x = nest->instr.at[i], *y = nest->instr.at[k];
            bool loads = b[k] && x->kind == SN_INSTR_LOAD && y->kind == SN_INSTR_LOAD;
            if (loads && (x->which || y->which || (x->buffer == y->buffer && x->dim == y->dim))) return true;
        }
    return false;
}

static unsigned char *needs_of(Emit *emit, const Store *store) {
    unsigned char *needs = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    sn_emit_need(emit, store->value, needs);
    if (store->guard) sn_emit_need(emit, store->guard, needs);
    return needs;
}

/* Whether pieces of short rows share nothing but loads and conversions: these are done again from the first cache, so that each
 * piece is stored in order. What is stored to by several lies where no operand does. */
static bool loads_again(Emit *emit) {
    const Nest *nest = emit->nest;
    const Step *step = &nest->step.at[0];
    int *uses = SN_ARRAY(emit->arena, int, nest->instr.count);
    int64_t length, bytes = 0;
    if (!emit->fetches || !sn_dim_is(emit->vector_axis->operand[0], &length)) return false;
    for (int i = 0; i < step->store.count; i++) {
        const unsigned char *needs = needs_of(emit, &step->store.at[i]);
        if (step->store.at[i].buffer != step->store.at[0].buffer) return false;
        for (int k = 0; k < nest->instr.count; k++) uses[k] += needs[k];
    }
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (!instr->varying) continue;
        if (instr->kind == SN_INSTR_LOAD)
            bytes += sn_dtype_bytes(instr->dtype);
        else if (uses[i] > 1 && instr->kind != SN_INSTR_CAST)
            return false;
    }
    return length <= emit->kernel->target->l1_bytes / SHORT_IN_L1 / (bytes ? bytes : 1);
}

bool sn_emit_stores_apart(Emit *emit) {
    const Nest *nest = emit->nest;
    const Step *step = &nest->step.at[0];
    bool alike = true, shared = false;
    if (!emit->streams || nest->vector != SN_VECTOR_PARALLEL || nest->reduced.count || nest->tile ||
        nest->step.count != 1 || step->store.count < 2 || step->store.count > STORES_APART)
        return false;
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        const unsigned char *needs = needs_of(emit, store);
        Dim stride;
        if (!sn_emit_strided(emit, store->offset, &stride) || !sn_dim_equals(stride, 1)) return false;
        alike &= begins_alike(emit, &step->store.at[0], store);
        for (int k = 0; k < i; k++) shared |= loads_the_same(nest, needs, needs_of(emit, &step->store.at[k]));
    }
    return nest->strip ? shared && loads_again(emit) : !shared && !alike;
}

void sn_emit_alone(Emit *emit, const Store *store) {
    emit->alone = store;
    emit->needs = store ? needs_of(emit, store) : NULL;
}

bool sn_emit_head(Emit *emit, const Store *store) {
    if (!store) return false;
    sn_emit_line(emit, "int64_t head = sn_stream_head(%s + %s, %d, past);",
                 sn_emit_buffer(emit, store->buffer), sn_emit_dim(emit, store->offset, NULL),
                 sn_dtype_bytes(store->dtype));
    return true;
}

/* ---- reading ahead ----
 *
 * Processors read ahead along a stream, not from the end of one row to the beginning of another elsewhere, and not
 * while a row is worked on a second time. So the last loop over a row also touches what the rows after it
 * will load. */

typedef struct Indices {
    const Nest *nest;
    int count;
    bool rows; /* all are of rows */
} Indices;

static void note_part(void *user, Instr *instr) {
    Indices *indices = user;
    indices->rows &= !instr->varying && !instr->reduced && !instr->ready && !instr->fault;
}

static void note_index(void *user, Instr *instr) {
    Indices *indices = user;
    unsigned char seen[SN_INDEX_AXIS];
    indices->count++;
    indices->rows &= indices->nest->instr.count < SN_INDEX_AXIS;
    if (!indices->rows) return;
    memset(seen, 0, (size_t)indices->nest->instr.count);
    sn_instr_walk(indices->nest, instr->arg[0], seen, NULL, note_part, indices);
}

/* Whether rows are walked once, with less to do than to load: so many loads are under way then that a stream of rows
 * behind one another needs nothing more. */
static bool is_stream(const Nest *nest) {
    int loops = 0, loads = 0, work = 0;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        loads += instr->varying && instr->kind == SN_INSTR_LOAD;
        work += instr->varying && instr->kind != SN_INSTR_LOAD;
    }
    for (int i = 0; i < nest->step.count; i++) {
        const Step *step = &nest->step.at[i];
        loops += step->loop;
        for (int k = 0; k < step->acc.count; k++)
            work += strcmp(step->acc.at[k]->function, "add") == 0 ? 1 : MAXIMUM;
    }
    return loops <= 1 && work <= loads;
}

/* Whether a load takes vectors of rows, and what they move on by with the axis of rows: *stride elements, or
 * (*indexed) as indices say. */
static bool moves_on(const Emit *emit, const Instr *instr, Dim *stride, bool *indexed) {
    const Nest *nest = emit->nest;
    Dim unit, rest, axis = sn_emit_row_axis(nest);
    Indices indices = {nest, 0, true};
    if (instr->kind != SN_INSTR_LOAD || instr->which || !axis) return false;
    sn_dim_indices(nest, instr->dim, note_index, &indices);
    *indexed = indices.count > 0;
    bool row = sn_emit_strided(emit, instr->dim, &unit) && sn_dim_equals(unit, 1);
    if (!row || *indexed) return row && indices.rows;
    return sn_dim_affine(emit->kernel->dims, instr->dim, axis, stride, &rest) && !sn_dim_equals(*stride, 0) &&
           !sn_dim_has_axis(*stride) && !(is_stream(nest) && *stride == sn_emit_row_length(emit));
}

bool sn_emit_reduces_once(const Nest *nest) {
    int loops = 0, reduces = 0;
    for (int i = 0; i < nest->step.count; i++) {
        loops += nest->step.at[i].loop;
        reduces += nest->step.at[i].acc.count;
    }
    return loops == 1 && reduces;
}

bool sn_emit_gathers(const Emit *emit) {
    Dim stride = NULL;
    bool indexed;
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (moves_on(emit, emit->nest->instr.at[i], &stride, &indexed) && indexed) return true;
    return false;
}

/* Whether loads are one even stream, of which enough is fetched as it is read (emit_fetch.c): to ask for it twice takes places from
 * what is stored. */
static bool is_fetched(const Emit *emit) {
    return emit->fetches && (emit->leads || emit->beside || sn_emit_reduces_once(emit->nest)) &&
           !sn_emit_gathers(emit);
}

/* So many bytes of a row are read ahead of rows of their own: longer ones would push each other out of the second-level cache. */
static int64_t most_ahead(const Emit *emit) {
    return emit->kernel->target->l2_bytes / ROWS_IN_L2;
}

/* Whether a row further on is read ahead: of rows that are known to be too long for that, what comes later of the present one would
 * be asked for long before it is wanted. */
static bool reads_ahead(Emit *emit, const Instr *instr, Dim *stride, bool *indexed) {
    int64_t length;
    if (!moves_on(emit, instr, stride, indexed)) return false;
    return emit->leads || emit->lags || sn_emit_gathers(emit) || sn_emit_reduces_once(emit->nest) ||
           !sn_dim_is(sn_emit_row_length(emit), &length) ||
           length <= most_ahead(emit) / sn_dtype_bytes(instr->dtype);
}

/* How many bytes further on a load of rows that lie in order is worth reading, as text. `rows`: so many rows ahead, with nothing
 * else to go by. */
static const char *bytes_ahead(Emit *emit, Dim stride, int bytes, const char *length, const char *rows) {
    const Nest *nest = emit->nest;
    const long long most = (long long)most_ahead(emit);
    const char *row = sn_emit_dim(emit, sn_dim_mulc(emit->kernel->dims, stride, bytes), NULL);
    if (sn_emit_gathers(emit)) return sn_arena_printf(emit->arena, "%d * %s", 1 + emit->leads, row);
    if (emit->leads) return sn_arena_printf(emit->arena, "%s + %d", row, LEAD_BYTES);
    if (emit->lags && nest->step.count == 2 && stride == sn_emit_row_length(emit))
        return sn_arena_printf(emit->arena, "sn_least_of(%s, %d)", row, LEAD_BYTES);
    const char *far = sn_emit_reduces_once(nest)
                          ? sn_arena_printf(emit->arena, " + (%s > %lld ? %d : 0)", length, most, LONG_BYTES)
                          : "";
    return sn_arena_printf(emit->arena, "%s * %s%s", rows, row, far);
}

/* Rows that indices choose are read as far ahead as if nothing else were, a row more where a row is stored while the next one is
 * read; those that lie in order beside them a single row, as caches foresee them. */
void sn_emit_rows_ahead(Emit *emit) {
    const long long most = (long long)most_ahead(emit);
    Dim stride = NULL;
    bool indexed;
    int count = 0;
    if (is_fetched(emit)) return;
    for (int i = 0; i < emit->nest->instr.count; i++)
        count += moves_on(emit, emit->nest->instr.at[i], &stride, &indexed);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (!reads_ahead(emit, instr, &stride, &indexed)) continue;
        int bytes = sn_dtype_bytes(instr->dtype);
        const char *length =
            sn_emit_dim(emit, sn_dim_mulc(emit->kernel->dims, sn_emit_row_length(emit), bytes), NULL);
        const char *rows = sn_arena_printf(emit->arena, "sn_rows_ahead(%s, %d, INT64_C(%lld), %s)", length,
                                           indexed ? 1 : count, most, emit->streams ? "past" : "UINTPTR_MAX");
        if (indexed && emit->lags) rows = sn_arena_printf(emit->arena, "%s + %d", rows, 1 + emit->leads);
        sn_emit_line(emit, "const int64_t ahead%d = %s;", instr->id,
                     indexed ? rows : bytes_ahead(emit, stride, bytes, length, rows));
    }
}

typedef struct Far {
    Emit *emit;
    const Instr *load;
    bool farther; /* half as far again as rows are read ahead */
} Far;

/* Each index of the load once, however often its offset has it. */
static void each_index(const Far *far, void (*visit)(const Far *far, const Instr *index)) {
    const Nest *nest = far->emit->nest;
    for (int i = 0; i < nest->index.count; i++)
        if (sn_dim_depends(far->load->dim, nest->index.at[i]->dim)) visit(far, nest->index.at[i]);
}

/* Defines the axes of rows as they will be that many rows on: those of the last row, at most. */
static void define_place(const Far *far) {
    Emit *emit = far->emit;
    const Axes *axes = &emit->nest->parallel;
    Dim axis = sn_emit_row_axis(emit->nest), outer = NULL;
    for (int i = 0; i + 1 < axes->count; i++)
        if (axes->at[i + 1] == axis) outer = axes->at[i];
    const char *extent = sn_emit_dim(emit, axis->operand[0], NULL);
    int k = (int)axis->value;
    int id = far->load->id;
    sn_emit_line(emit,
                 far->farther ? "int64_t there = i%d + (3 * ahead%d + 1) / 2;"
                              : "int64_t there = i%d + ahead%d;",
                 k, id);
    if (outer) {
        int o = (int)outer->value;
        sn_emit_line(emit, "int64_t next = i%d;", o);
        sn_emit_line(emit, "if (there >= %s && next + 1 < %s) there -= %s, next++;", extent,
                     sn_emit_dim(emit, outer->operand[0], NULL), extent);
        sn_emit_line(emit, "const int64_t i%d = next;", o);
    }
    sn_emit_line(emit, "const int64_t i%d = sn_least_of(there, %s - 1);", k, extent);
}

/* Defines far<load>_<index>: what an index will be that many rows on, unchecked. */
static void define_far(const Far *far, const Instr *index) {
    Emit *emit = far->emit;
    unsigned char *needed = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    sn_emit_need(emit, index->arg[0], needed);
    sn_emit_line(emit, "int64_t far%d_%d;", far->load->id, index->id);
    sn_emit_line(emit, "{");
    emit->indent++;
    define_place(far);
    sn_emit_place(emit, SN_PLACE_ROW, 0, needed);
    sn_emit_line(emit, "far%d_%d = %s;", far->load->id, index->id, sn_emit_use(emit, index->arg[0], false));
    emit->indent--;
    sn_emit_line(emit, "}");
}

/* In a block of its own, an index is what it will be. */
static void go_far(const Far *far, const Instr *index) {
    sn_emit_line(far->emit, "const int64_t v%d = far%d_%d;", index->id, far->load->id, index->id);
}

/* Fetches both ends of a row that is wanted half as much later again, so that the addresses of its pages are known when it is read
 * ahead: rows that lie anywhere are in other pages each. Rows that several loops go over one after the other gain nothing by it. */
static void touch_farther(const Far *far) {
    Emit *emit = far->emit;
    int k = (int)emit->vector_axis->value;
    if ((emit->nest->step.count > 1 && !emit->lags) || emit->nest->reduced.count > 1) return;
    sn_emit_line(emit, "{");
    emit->indent++;
    each_index(far, define_far);
    each_index(far, go_far);
    sn_emit_line(emit, "for (int last = 0; last < 2; last++) {");
    emit->indent++;
    sn_emit_line(emit, "const int64_t i%d = last ? %s - 1 : 0;", k,
                 sn_emit_dim(emit, emit->vector_axis->operand[0], NULL));
    sn_emit_line(emit, "SN_BRING(%s + %s, 0);", sn_emit_buffer(emit, far->load->buffer),
                 sn_emit_dim(emit, far->load->dim, NULL));
    for (int i = 0; i < 2; i++) {
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

void sn_emit_far_indices(Emit *emit) {
    Dim stride = NULL;
    bool indexed;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        Far far = {emit, emit->nest->instr.at[i], false}, farther = {emit, far.load, true};
        if (!moves_on(emit, far.load, &stride, &indexed) || !indexed) continue;
        each_index(&far, define_far);
        touch_farther(&farther);
    }
}

/* The number of the store that loops are written for. */
static int alone_number(const Emit *emit) {
    const Step *step = &emit->nest->step.at[0];
    int number = 0;
    while (emit->alone && emit->alone != &step->store.at[number]) number++;
    return number;
}

static bool has_strip(const Emit *emit, const Instr *instr) {
    Dim unit;
    return instr->kind == SN_INSTR_LOAD && sn_emit_strided(emit, instr->dim, &unit) &&
           sn_dim_equals(unit, 1) && sn_emit_strips(emit, instr);
}

/* In strips: of what a load has in one piece for a whole strip, the next strip's, in the order in which it lies in memory
 * and not in that of the rows: processors fetch such a piece far better. Stores with loops of their own share the loads out. */
static void read_strip(Emit *emit) {
    const int loops = emit->alone ? emit->nest->step.at[0].store.count : 1;
    int at = 0, loads = 0, load = 0;
    for (int i = 0; i < emit->nest->instr.count; i++) loads += has_strip(emit, emit->nest->instr.at[i]);
    while (emit->nest->parallel.at[at] != emit->nest->strip) at++;
    int s = (int)emit->nest->strip->value, o = (int)emit->nest->parallel.at[at + 1]->value;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (!has_strip(emit, instr) || load++ * loops / loads != alone_number(emit)) continue;
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t there = i%d * strip + j, next = i%d - j + strip;", o, s);
        sn_emit_line(emit, "const int64_t i%d = there, i%d = next;", o, s);
        sn_emit_line(emit, "SN_BRING(%s + %s, 0);", sn_emit_buffer(emit, instr->buffer),
                     sn_emit_dim(emit, instr->dim, NULL));
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

void sn_emit_read_ahead(Emit *emit) {
    if (emit->nest->strip) {
        read_strip(emit);
        return;
    }
    Dim stride = NULL;
    bool indexed;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        Far far = {emit, emit->nest->instr.at[i], false};
        if (!reads_ahead(emit, far.load, &stride, &indexed) || (emit->alone && !emit->needs[i])) continue;
        const char *at = sn_emit_dim(emit, far.load->dim, NULL),
                   *buffer = sn_emit_buffer(emit, far.load->buffer);
        if (!indexed) {
            sn_emit_line(emit, "SN_AHEAD(%s + %s, ahead%d);", buffer, at, far.load->id);
            continue;
        }
        sn_emit_line(emit, "{");
        emit->indent++;
        each_index(&far, go_far);
        sn_emit_line(emit, "SN_BRING(%s + %s, 0);", buffer, at);
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

/* One of two numbers that `past` chooses between. */
static const char *by_past(Emit *emit, int usual, int past) {
    return usual == past ? sn_arena_printf(emit->arena, "%d", usual)
                         : sn_arena_printf(emit->arena, "(past ? %d : %d)", usual, past);
}

void sn_emit_read_share(Emit *emit, const RowShares *shares, int parts) {
    Dim stride = NULL;
    bool indexed, any = false;
    for (int i = 0; i < emit->nest->instr.count; i++)
        any |= reads_ahead(emit, emit->nest->instr.at[i], &stride, &indexed);
    if (!any || is_fetched(emit) || (!shares->usual->count && !shares->past->count)) return;
    int k = (int)emit->vector_axis->value;
    const char *length = sn_emit_dim(emit, emit->vector_axis->operand[0], NULL),
               *from = by_past(emit, shares->usual->from, shares->past->from),
               *count = by_past(emit, shares->usual->count, shares->past->count);
    sn_emit_line(emit, "for (int u = 0; u < %s; u++) {", count);
    emit->indent++;
    sn_emit_line(emit, "const int64_t there = %s / %d * %s + i%d / %d * %s + u * SN_LANES;", length, parts,
                 from, k, parts, count);
    sn_emit_line(emit, "const int64_t i%d = there;", k);
    sn_emit_read_ahead(emit);
    emit->indent--;
    sn_emit_line(emit, "}");
}

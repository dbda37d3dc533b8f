/* Transposed loads of the C dialect: a band of rows of the source goes through squares in registers to a local array, a tile, from
 * which the rows of the result are stored, runs of several whole lines each, while the next tile is made. See
 * device/transpose.h.
 *
 * Where streams are fetched, and registers hold them, four rows of the result at a time are stored straight from where they are
 * made: what is stored past the caches leaves in order, and so would the tile's stores behind it, and loads that wait for these. */
#include "emit_tile.h"

static int vector_number(const Emit *emit) {
    return (int)emit->vector_axis->value;
}

static const Instr *tiled(const Emit *emit, int i, Dim *stride) {
    const Instr *instr = emit->nest->instr.at[i];
    return sn_schedule_tiled(emit->kernel->dims, emit->nest, instr, stride) ? instr : NULL;
}

static const char *load_address(Emit *emit, const Instr *instr) {
    return sn_arena_printf(emit->arena, "%s + %s", sn_emit_buffer(emit, instr->buffer),
                           sn_emit_dim(emit, instr->dim, NULL));
}

/* Whether four rows of whole tiles, and a square more of each where they begin anywhere, are no more than the registers. */
static bool is_direct(const Emit *emit) {
    const Target *target = emit->kernel->target;
    Dim stride;
    int loads = 0, lanes = target->vector_bytes / 4;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        loads++;
        if (sn_dtype_bytes(instr->dtype) != 4) return false;
    }
    return emit->fetches &&
           4 * loads * (sn_schedule_band(emit->nest) / lanes + 1) <= target->vector_registers;
}

/* Whether rows that are so many elements apart share so few places of the first-level cache that a tile's lines would not stay there
 * until all of their columns are stored: what a row's distance is, unless it is known, may be that. */
static bool is_crowded(const Emit *emit, Dim stride) {
    enum {
        PLACES =
            4096, /* bytes after which lines have the same place: a page, by whose offset they are found */
        WAYS = 8  /* lines that a place has at least */
    };
    int64_t apart, places = PLACES;
    if (!sn_dim_is(stride, &apart)) return true;
    while (apart * 4 % places) places /= 2;
    return sn_schedule_band(emit->nest) > WAYS * (PLACES / places);
}

/* Of rows from registers: those of a load whose lines are copied first. */
static const Instr *copied(const Emit *emit, int i, Dim *stride) {
    const Instr *instr = tiled(emit, i, stride);
    return instr && emit->direct && is_crowded(emit, *stride) ? instr : NULL;
}

static bool copies_any(const Emit *emit) {
    Dim stride;
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (copied(emit, i, &stride)) return true;
    return false;
}

void sn_emit_bands(Emit *emit) {
    Dim stride;
    if (!emit->nest->tile) return;
    emit->direct = is_direct(emit);
    sn_emit_line(emit, "enum { band = %d, width = band + SN_LANES };", sn_schedule_band(emit->nest));
    /* which of two tiles, or lines of them, is stored while the other is made */
    if (!emit->direct || copies_any(emit)) sn_emit_line(emit, "int turn = 0;");
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int id = instr->id, bytes = sn_dtype_bytes(instr->dtype);
        const char *type = sn_emit_type(instr->dtype, false);
        if (emit->direct) {
            sn_emit_line(emit, "%s t%d[2 * SN_LANES * width] __attribute__((aligned(64)));", type, id);
        } else {
            sn_emit_line(emit, "%s g%d[2][SN_LANES * width] __attribute__((aligned(64)));", type, id);
        }
        if (copied(emit, i, &stride))
            sn_emit_line(emit, "float l%d[2][SN_LANES * width] __attribute__((aligned(64)));", id);
        if (!emit->direct || copied(emit, i, &stride))
            sn_emit_line(emit, "const %s *q%d = (void *)0;", sn_emit_storage(instr->dtype), id);
        sn_emit_line(emit, "SnBand band%d;", id);
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = last + SN_LANES;", vector_number(emit));
        sn_emit_line(emit, "band%d = sn_band(%s, %s, (rows - row) * SN_LANES * %d);", id,
                     load_address(emit, instr),
                     sn_emit_dim(emit, sn_dim_mulc(emit->kernel->dims, stride, bytes), NULL), bytes);
        emit->indent--;
        sn_emit_line(emit, "}");
        if (copied(emit, i, &stride))
            sn_emit_line(emit, "const float *const after%d = (const float *)band%d.at - SN_LANES * %s;", id,
                         id, sn_emit_dim(emit, stride, NULL));
    }
}

static const char *store_address(Emit *emit, const Store *store) {
    return sn_arena_printf(emit->arena, "%s + %s", sn_emit_buffer(emit, store->buffer),
                           sn_emit_dim(emit, store->offset, NULL));
}

static const char *width_text(Emit *emit) {
    return sn_emit_dim(emit, emit->vector_axis->operand[0], NULL);
}

/* How far the rows of the result are from each other; false: they move on by no one stride. */
static bool row_stride(const Emit *emit, const Store *store, Dim *stride) {
    Dim rest;
    return sn_dim_affine(emit->kernel->dims, store->offset, emit->nest->tile, stride, &rest);
}

/* Defines `even`, `reach`, `on`, the elements of a row from `first` on that belong to the item before, and `lanes`, of which `on`
 * has the bits. Rows that move on by no one stride are taken to begin anywhere. */
static void emit_reach(Emit *emit, const Store *store) {
    Dims *dims = emit->kernel->dims;
    Dim stride;
    if (!store) {
        sn_emit_line(emit, "const int64_t reach = last;");
        return;
    }
    int bytes = sn_dtype_bytes(store->dtype);
    if (!row_stride(emit, store, &stride)) stride = sn_dim(dims, 1);
    sn_emit_line(emit, "int even;");
    sn_emit_line(emit, "int64_t on;");
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_emit_line(emit, "const int64_t i%d = first;", vector_number(emit));
    const char *address = store_address(emit, store);
    sn_emit_line(emit, "even = sn_band_even(%s, %s, past);", address,
                 sn_emit_dim(emit, sn_dim_mulc(dims, stride, bytes), NULL));
    sn_emit_line(emit, "on = sn_stream_head(%s, %d, past);", address, bytes);
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "const int64_t lanes = even ? 0 : SN_ALIGNMENT(%d * SN_LANES) / %d - 1;", bytes,
                 bytes);
    sn_emit_line(emit, "const int64_t reach = even ? last : sn_least_of(last + SN_LANES, %s);",
                 width_text(emit));
}

/* Defines `whole`; unless rows are made of what lies where it was, whether there is `more` to make of the tile after this one; and
 * how many `squares` of that. */
static void emit_whole(Emit *emit, const Store *store) {
    int tile = (int)emit->nest->tile->value;
    const char *extent = sn_emit_dim(emit, emit->nest->tile->operand[0], NULL);
    const char *fits = !emit->direct      ? "m == SN_LANES && "
                       : copies_any(emit) ? sn_arena_printf(emit->arena, "i%d + m >= SN_LANES && ", tile)
                                          : "";
    sn_emit_line(emit, "const int whole = %slast - first == band%s;", fits,
                 store ? " && (even || (first && reach - last == SN_LANES))" : "");
    if (!*fits) return;
    sn_emit_line(emit, "const int more = whole && row + 1 < rows && i%d + %sSN_LANES %s %s;", tile,
                 emit->direct ? "" : "2 * ", emit->direct ? "<" : "<=", extent);
    if (!emit->direct) sn_emit_line(emit, "const int64_t squares = more ? (reach - first) / SN_LANES : 0;");
}

/* How many columns `less` copied lines of this tile begin, which end where rows do, and those of the next one. */
static void emit_less(Emit *emit) {
    sn_emit_line(emit,
                 "const int64_t less = SN_LANES - m, less_next = sn_largest_of(i%d + 2 * SN_LANES - %s, 0);",
                 (int)emit->nest->tile->value, sn_emit_dim(emit, emit->nest->tile->operand[0], NULL));
    sn_emit_line(emit, "turn = !turn;");
}

/* The lines of this tile, if the one before has not copied them, and where those of the next one are. */
static void emit_lines(Emit *emit, const Instr *instr, Dim stride) {
    int id = instr->id;
    sn_emit_line(emit, "if (whole && p%d != q%d) sn_lines(p%d - less, %s, reach - first, l%d[turn]);", id, id,
                 id, sn_emit_dim(emit, stride, NULL), id);
    sn_emit_line(emit, "q%d = more ? p%d + SN_LANES : (void *)0;", id, id);
    sn_emit_line(emit, "const float *const n%d = more ? (const float *)q%d - less_next : (void *)0;", id, id);
}

void sn_emit_tiles(Emit *emit, const Store *store) {
    Dim stride;
    emit_reach(emit, store);
    emit_whole(emit, store);
    if (copies_any(emit)) emit_less(emit);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int id = instr->id;
        sn_emit_line(emit, "const %s *p%d;", sn_emit_storage(instr->dtype), id);
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = first;", vector_number(emit));
        sn_emit_line(emit, "p%d = %s;", id, load_address(emit, instr));
        emit->indent--;
        sn_emit_line(emit, "}");
        if (copied(emit, i, &stride)) emit_lines(emit, instr, stride);
        if (emit->direct) continue;
        sn_emit_line(emit, "%s *const t%d = g%d[turn];", sn_emit_type(instr->dtype, false), id, id);
        sn_emit_line(emit, "if (p%d != q%d) sn_squares_%s(p%d, %s, reach - first, m, t%d, width);", id, id,
                     sn_dtype_name(instr->dtype), id, sn_emit_dim(emit, stride, NULL), id);
        sn_emit_line(emit, "q%d = squares ? p%d + SN_LANES : (void *)0;", id, id);
    }
    if (!emit->direct) sn_emit_line(emit, "turn = !turn;");
}

/* How far `on` moves with a row, as the end of a loop's head; "" where rows move on by no one stride. */
static const char *next_on(Emit *emit, const Store *store) {
    Dim stride;
    if (!store || !row_stride(emit, store, &stride)) return "";
    return sn_arena_printf(emit->arena, ", on = (on - %s) & lanes", sn_emit_dim(emit, stride, NULL));
}

/* At a row of a store that moves on by no one stride: what `on` is. */
static void emit_on(Emit *emit, const Store *store) {
    Dim stride;
    if (!store || row_stride(emit, store, &stride)) return;
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_emit_line(emit, "const int64_t i%d = first;", vector_number(emit));
    sn_emit_line(emit, "on = sn_stream_head(%s, %d, past) & lanes;", store_address(emit, store),
                 sn_dtype_bytes(store->dtype));
    emit->indent--;
    sn_emit_line(emit, "}");
}

/* Asks for lines of the next band, and for those of the next tile or copies them. Rows may begin anywhere, so of lines that stay
 * where they are the last of those columns is asked for. */
static void emit_fours_ahead(Emit *emit, const Instr *instr, const char *by, bool odd) {
    int id = instr->id;
    Dim stride;
    bool copies = copied(emit, id, &stride);
    const char *next =
        copies ? sn_arena_printf(emit->arena, "n%d, after%d", id, id)
               : sn_arena_printf(emit->arena, "(void *)0, (const float *)p%d + 2 * SN_LANES - 1", id);
    sn_emit_line(emit,
                 "sn_columns_ahead(&band%d, band, 4 * band * %d / SN_BAND_LINE, %s, %s, group, %s, %s);", id,
                 sn_dtype_bytes(instr->dtype), next, by, odd ? "width" : "band",
                 copies ? sn_arena_printf(emit->arena, "l%d[!turn]", id) : "(void *)0");
}

/* Of each load through a tile what four rows need. */
static void emit_fours(Emit *emit, bool odd) {
    Dim stride;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int id = instr->id;
        const char *by = sn_emit_dim(emit, stride, NULL);
        sn_emit_line(emit, "vf32 x%d[4 * (band / SN_LANES)];", id);
        emit_fours_ahead(emit, instr, by, odd);
        const char *from = copied(emit, i, &stride)
                               ? sn_arena_printf(emit->arena, "l%d[turn] + less + j, SN_LANES", id)
                               : sn_arena_printf(emit->arena, "p%d + j, %s", id, by);
        sn_emit_line(emit, "sn_columns(%s, band / SN_LANES, %s, x%d);", from,
                     odd ? "begin" : "(const int64_t *)0", id);
    }
}

/* Where each four rows of a tile begin. The last four are the last ones of the tile, of which `back` are stored already. */
static void emit_begins(Emit *emit, const Store *store) {
    int tile = (int)emit->nest->tile->value;
    Dim stride;
    sn_emit_line(emit, "const int64_t back = sn_largest_of(j + 4 - m, 0);");
    sn_emit_line(emit, "int64_t begin[4];");
    sn_emit_line(emit, "j -= back, i%d -= back;", tile);
    if (row_stride(emit, store, &stride))
        sn_emit_line(emit, "on = (on + back * %s) & lanes;", sn_emit_dim(emit, stride, NULL));
    sn_emit_line(emit, "for (int r = 0; r < 4; r++, i%d++%s) {", tile, next_on(emit, store));
    emit->indent++;
    emit_on(emit, store);
    sn_emit_line(emit, "begin[r] = on;");
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "i%d -= 4;", tile);
}

void sn_emit_tile_fours(Emit *emit, const Store *store, bool odd) {
    emit->registers = true;
    if (!odd) sn_emit_line(emit, "int64_t j = 0;");
    sn_emit_line(emit, "if (whole%s) for (; j%s < m; j += 4) {",
                 odd     ? " && !even && m >= 4"
                 : store ? " && even"
                         : "",
                 odd ? "" : " + 3");
    emit->indent++;
    sn_emit_line(emit, "const int64_t group = j / 4;");
    if (odd) emit_begins(emit, store);
    emit_fours(emit, odd);
    sn_emit_line(emit, "_Pragma(\"GCC unroll 4\") for (int r = 0; r < 4; r++, i%d++) {",
                 (int)emit->nest->tile->value);
    emit->indent++;
    if (odd) sn_emit_line(emit, "if (r < back) continue;");
}

void sn_emit_four_begin(Emit *emit, bool odd) {
    int k = vector_number(emit);
    sn_emit_line(emit, "int64_t i%d = first%s;", k, odd ? " + begin[r]" : "");
    sn_emit_line(emit,
                 "_Pragma(\"GCC unroll 8\") for (int v = 0; v < band / SN_LANES; v++, i%d += SN_LANES) {", k);
    emit->indent++;
}

void sn_emit_tiles_rest(Emit *emit) {
    Dim stride;
    emit->registers = false;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (instr)
            sn_emit_line(
                emit, "if (j < m) sn_squares_%s(p%d + j, %s, reach - first, m - j, t%d + j * width, width);",
                sn_dtype_name(instr->dtype), instr->id, sn_emit_dim(emit, stride, NULL), instr->id);
    }
}

void sn_emit_tiles_ahead(Emit *emit) {
    Dim stride;
    sn_emit_line(emit, "for (; made * SN_LANES < (j + 1) * squares; made++) {");
    emit->indent++;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int id = instr->id;
        const char *by = sn_emit_dim(emit, stride, NULL);
        sn_emit_line(emit,
                     "sn_square_%s(q%d + made * SN_LANES * %s, %s, g%d[turn] + made * SN_LANES, width);",
                     sn_dtype_name(instr->dtype), id, by, by, id);
    }
    emit->indent--;
    sn_emit_line(emit, "}");
    for (int i = 0; i < emit->nest->instr.count && emit->fetches; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (instr)
            sn_emit_line(
                emit,
                "if (squares == band / SN_LANES) SN_SQUARES_AHEAD(q%d + SN_LANES, %s, j, band / SN_LANES);",
                instr->id, sn_emit_dim(emit, stride, NULL));
    }
    sn_emit_bands_ahead(emit);
}

void sn_emit_bands_ahead(Emit *emit) {
    Dim stride;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int bytes = sn_dtype_bytes(instr->dtype);
        if (emit->direct)
            sn_emit_line(emit, "if (j %% 4 == 0) sn_band_lines(&band%d, band, 4 * band * %d / SN_BAND_LINE);",
                         instr->id, bytes);
        else
            sn_emit_line(emit, "sn_band_fetch(&band%d, band * %d);", instr->id, bytes);
    }
}

void sn_emit_tile_rows(Emit *emit, const Store *store, bool whole) {
    int tile = (int)emit->nest->tile->value;
    if (emit->direct)
        sn_emit_line(emit, "for (; j < m; j++, i%d++%s) {", tile, next_on(emit, store));
    else
        sn_emit_line(emit, "if (%swhole) for (int64_t j = 0; j < %s; j++, i%d++%s) {", whole ? "" : "!",
                     whole ? "SN_LANES" : "m", tile, next_on(emit, store));
    emit->indent++;
    emit_on(emit, store);
}

void sn_emit_tile_begin(Emit *emit, const Store *store) {
    int k = vector_number(emit);
    sn_emit_line(emit, "int64_t i%d = first%s;", k, store ? " + on" : "");
    sn_emit_line(emit, "for (int v = 0; v < band; v += SN_LANES, i%d += SN_LANES) {", k);
    emit->indent++;
}

void sn_emit_tile_range(Emit *emit, const Store *store) {
    int k = vector_number(emit);
    if (!store) {
        sn_emit_line(emit, "int64_t i%d = first, end = last;", k);
        return;
    }
    /* Whole lines go past the caches; bands are whole lines wide. */
    const char *width = width_text(emit);
    sn_emit_line(emit, "int64_t i%d = first ? sn_least_of(first + on, %s) : 0;", k, width);
    sn_emit_line(emit, "const int64_t end = sn_least_of(last + on, %s);", width);
}

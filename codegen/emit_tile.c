/* Transposed loads of the C dialect: a band of rows of the source goes through a stage and squares in registers to a local
 * array, from which the rows of the result are stored, runs of several whole lines each. See device/transpose.h. */
#include "emit.h"

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

void sn_emit_bands(Emit *emit) {
    Dim stride;
    for (int i = 0; i < emit->nest->instr.count && emit->nest->tile; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int bytes = sn_dtype_bytes(instr->dtype);
        sn_emit_line(emit, "SnBand band%d;", instr->id);
        sn_emit_line(emit, "%s g%d[SN_BAND_WIDTH * SN_LANES] __attribute__((aligned(64)));",
                     sn_emit_storage(instr->dtype), instr->id);
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = last + SN_LANES;", vector_number(emit));
        sn_emit_line(emit, "band%d = sn_band(%s, %s, (rows - row) * SN_LANES * %d);", instr->id,
                     load_address(emit, instr),
                     sn_emit_dim(emit, sn_dim_mulc(emit->kernel->dims, stride, bytes), NULL), bytes);
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

static const char *store_address(Emit *emit, const Store *store) {
    return sn_arena_printf(emit->arena, "%s + %s", sn_emit_buffer(emit, store->buffer),
                           sn_emit_dim(emit, store->offset, NULL));
}

static const char *width_text(Emit *emit) {
    return sn_emit_dim(emit, emit->vector_axis->operand[0], NULL);
}

/* Defines `even` and `reach`. Rows that move on by no one stride are taken to begin anywhere. */
static void emit_reach(Emit *emit, const Store *store) {
    Dims *dims = emit->kernel->dims;
    Dim stride, rest;
    if (!store) {
        sn_emit_line(emit, "const int64_t reach = last;");
        return;
    }
    if (!sn_dim_affine(dims, store->offset, emit->nest->tile, &stride, &rest)) stride = sn_dim(dims, 1);
    sn_emit_line(emit, "int even;");
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_emit_line(emit, "const int64_t i%d = first;", vector_number(emit));
    sn_emit_line(emit, "even = sn_band_even(%s, %s, past);", store_address(emit, store),
                 sn_emit_dim(emit, sn_dim_mulc(dims, stride, sn_dtype_bytes(store->dtype)), NULL));
    emit->indent--;
    sn_emit_line(emit, "}");
    sn_emit_line(emit, "const int64_t reach = even ? last : sn_least_of(last + SN_LANES, %s);",
                 width_text(emit));
}

/* From the stage, whose rows lie at a known distance, or from where the rows are. */
static void emit_squares(Emit *emit, const Instr *instr, const char *stride) {
    static const char *const line = "    for (int64_t k = 0; k < reach - first; k += SN_LANES)";
    const char *name = sn_dtype_name(instr->dtype);
    int id = instr->id;
    sn_emit_line(emit, "if (p%d == g%d)", id, id);
    sn_emit_line(emit, "%s", line);
    sn_emit_line(emit, "        sn_tile_%s(g%d + k * SN_LANES, SN_LANES, t%d + k);", name, id, id);
    sn_emit_line(emit, "else");
    sn_emit_line(emit, "%s", line);
    sn_emit_line(emit, "        sn_tile_%s(p%d + k * %s, %s, t%d + k);", name, id, stride, stride, id);
}

void sn_emit_tiles(Emit *emit, const Store *store) {
    int k = vector_number(emit);
    Dim stride;
    emit_reach(emit, store);
    Dim tile = emit->nest->tile;
    sn_emit_line(emit, "const int more = row + 1 < rows && i%d + 2 * SN_LANES <= %s;", (int)tile->value,
                 sn_emit_dim(emit, tile->operand[0], NULL));
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int id = instr->id, bytes = sn_dtype_bytes(instr->dtype);
        sn_emit_line(emit, "%s t%d[SN_LANES * SN_BAND_WIDTH] __attribute__((aligned(64)));",
                     sn_emit_type(instr->dtype, false), id);
        sn_emit_line(emit, "const %s *p%d;", sn_emit_storage(instr->dtype), id);
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = first;", k);
        sn_emit_line(emit, "p%d = sn_band_turn(&band%d, g%d, %s, reach - first, m, more, %d, %s);", id, id,
                     id, load_address(emit, instr), bytes, emit->streams ? "past" : "UINTPTR_MAX");
        emit->indent--;
        sn_emit_line(emit, "}");
        emit_squares(emit, instr, sn_emit_dim(emit, stride, NULL));
    }
}

void sn_emit_tile_range(Emit *emit, const Store *store) {
    int k = vector_number(emit);
    sn_emit_line(emit, "int64_t i%d = first, end = last;", k);
    if (!store) return;
    const char *address = store_address(emit, store), *width = width_text(emit);
    sn_emit_line(emit, "if (!even) {"); /* whole lines go past the caches; bands are whole lines wide */
    emit->indent++;
    sn_emit_line(emit, "const int64_t on = sn_stream_head(%s, %d, past);", address,
                 sn_dtype_bytes(store->dtype));
    sn_emit_line(emit, "if (first) i%d = sn_least_of(first + on, %s);", k, width);
    sn_emit_line(emit, "end = sn_least_of(last + on, %s);", width);
    emit->indent--;
    sn_emit_line(emit, "}");
}

void sn_emit_band_ahead(Emit *emit, bool fetch) {
    Dim stride;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        int id = instr->id, bytes = sn_dtype_bytes(instr->dtype);
        if (fetch) sn_emit_line(emit, "sn_band_fetch(&band%d, SN_LANES * %d);", id, bytes);
        sn_emit_line(emit, "sn_band_take(&band%d, SN_LANES * %d);", id, bytes);
    }
}

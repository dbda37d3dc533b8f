/* Transposed loads of the C dialect: a band of rows of the source goes through squares in registers to a local array, from
 * which the rows of the result are stored, runs of several whole lines each. See device/transpose.h. */
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
        sn_emit_line(emit, "{");
        emit->indent++;
        sn_emit_line(emit, "const int64_t i%d = last;", vector_number(emit));
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

void sn_emit_tiles(Emit *emit, const Store *store) {
    int k = vector_number(emit);
    Dim stride;
    emit_reach(emit, store);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (!instr) continue;
        sn_emit_line(emit, "%s t%d[SN_LANES * SN_BAND_WIDTH] __attribute__((aligned(64)));",
                     sn_emit_type(instr->dtype, false), instr->id);
        sn_emit_line(emit, "for (int64_t i%d = first; i%d < reach; i%d += SN_LANES) {", k, k, k);
        emit->indent++;
        sn_emit_line(emit, "sn_tile_%s(%s, %s, sn_least_of(reach - i%d, SN_LANES), m, t%d + (i%d - first));",
                     sn_dtype_name(instr->dtype), load_address(emit, instr), sn_emit_dim(emit, stride, NULL),
                     k, instr->id, k);
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

void sn_emit_tile_range(Emit *emit, const Store *store) {
    int k = vector_number(emit);
    sn_emit_line(emit, "int64_t i%d = first, end = last;", k);
    if (!store) return;
    const char *address = store_address(emit, store), *width = width_text(emit);
    int bytes = sn_dtype_bytes(store->dtype);
    sn_emit_line(emit, "if (!even) {");
    emit->indent++;
    sn_emit_line(emit, "i%d = last;", k);
    sn_emit_line(emit, "end = sn_band_begin(%s, last, %s, %d, past);", address, width, bytes);
    sn_emit_line(emit, "i%d = first;", k);
    sn_emit_line(emit, "i%d = sn_band_begin(%s, first, %s, %d, past);", k, address, width, bytes);
    emit->indent--;
    sn_emit_line(emit, "}");
}

void sn_emit_band_ahead(Emit *emit) {
    Dim stride;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = tiled(emit, i, &stride);
        if (instr)
            sn_emit_line(emit, "sn_band_fetch(&band%d, SN_LANES * %d);", instr->id,
                         sn_dtype_bytes(instr->dtype));
    }
}

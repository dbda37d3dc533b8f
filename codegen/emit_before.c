/* What is stored of a row that was computed before. */
#include "emit_before.h"

int sn_before_step(const Emit *emit) {
    return emit->nest->step.count - 1;
}

const char *sn_before_length(Emit *emit) {
    return sn_emit_dim(emit, emit->vector_axis->operand[0], NULL);
}

bool sn_before_needs(const Emit *emit, const unsigned char *needed, int id) {
    const Instr *instr = emit->nest->instr.at[id];
    return needed[id] && instr->rowwise && !instr->reduced;
}

int64_t sn_before_bytes(const Emit *emit, int rows) {
    const Nest *nest = emit->nest;
    int64_t length, bytes = 0;
    if (!sn_dim_is(emit->vector_axis->operand[0], &length) || length > emit->kernel->target->l2_bytes)
        return -1;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->kind == SN_INSTR_LOAD && instr->varying)
            bytes += (instr->rowwise ? rows : 1) * length * sn_dtype_bytes(instr->dtype);
    }
    return bytes;
}

static void emit_stores(Emit *emit, const unsigned char *needed, Form form) {
    const Step *step = &emit->nest->step.at[sn_before_step(emit)];
    emit->form = form;
    sn_emit_place(emit, SN_PLACE_LOOP, 0, needed);
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
}

void sn_before_until(Emit *emit, const unsigned char *needed) {
    const Step *step = &emit->nest->step.at[sn_before_step(emit)];
    const char *length = sn_before_length(emit);
    int k = (int)emit->vector_axis->value;
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

/* Of 16-bit floats, half a line each. */
static bool is_half(const Emit *emit, const Store *store) {
    Dim stride;
    return (store->dtype == SN_F16 || store->dtype == SN_BF16) &&
           sn_emit_strided(emit, store->offset, &stride) && sn_dim_equals(stride, 1);
}

bool sn_before_has_halves(const Emit *emit) {
    const Step *step = &emit->nest->step.at[sn_before_step(emit)];
    for (int i = 0; i < step->store.count; i++)
        if (is_half(emit, &step->store.at[i])) return true;
    return false;
}

/* The first of two vectors is only kept where half a line is one; the second is then stored with it. */
static void emit_halves(Emit *emit, bool second) {
    const Step *step = &emit->nest->step.at[sn_before_step(emit)];
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

void sn_before_two(Emit *emit, const unsigned char *needed) {
    const Step *step = &emit->nest->step.at[sn_before_step(emit)];
    emit->form = SN_FORM_VECTOR;
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

void sn_before_vector(Emit *emit, const unsigned char *needed) {
    sn_emit_line(emit, "const int64_t i%d = done;", (int)emit->vector_axis->value);
    emit_stores(emit, needed, SN_FORM_VECTOR);
}

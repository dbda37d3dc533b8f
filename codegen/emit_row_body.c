/* What loops over rows are made of in the C dialect: a pass over their body, accumulators, the beginnings and ends of loops, and
 * the way to the next row. */
#include "emit_c.h"

enum { UNROLL_INSTRUCTIONS = 12 };

int sn_c_axis(Dim axis) {
    return (int)axis->value;
}

const char *sn_c_extent(Emit *emit, Dim axis) {
    return sn_emit_dim(emit, axis->operand[0], NULL);
}

const char *sn_c_end(Emit *emit, Dim axis) {
    return axis == emit->nest->cut ? "end" : sn_c_extent(emit, axis);
}

void sn_c_stores(Emit *emit, const Step *step) {
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
}

static const char *acc_name(Emit *emit, const Acc *acc, int copy) {
    return copy ? sn_arena_printf(emit->arena, "a%d_%d", acc->number, copy)
                : sn_arena_printf(emit->arena, "a%d", acc->number);
}

/* One pass over the body of a loop step; accumulators go to copy `copy` of their variables. */
void sn_c_body(Emit *emit, const Step *step, const unsigned char *needed, int copy) {
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
    sn_c_stores(emit, step);
}

void sn_c_acc_starts(Emit *emit, const Step *step, int copies) {
    bool vector = emit->form != SN_FORM_SCALAR;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        for (int copy = 0; copy < copies; copy++)
            sn_emit_line(emit, "%s %s = %s;", sn_emit_type(acc->dtype, vector), acc_name(emit, acc, copy),
                         sn_emit_identity(emit, acc->function, acc->dtype, vector));
    }
}

/* Opens a loop over each of the first `count` reduced axes. */
void sn_c_open_reduced(Emit *emit, int count) {
    for (int i = 0; i < count; i++) {
        Dim axis = emit->nest->reduced.at[i];
        int k = sn_c_axis(axis);
        sn_emit_line(emit, "for (int64_t i%d = 0; i%d < %s; i%d++) {", k, k, sn_c_end(emit, axis), k);
        emit->indent++;
    }
}

void sn_c_close_loops(Emit *emit, int count) {
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
void sn_c_acc_ends(Emit *emit, const Step *step, int copy) {
    bool vector = emit->form != SN_FORM_SCALAR;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        if (!acc->running)
            sn_emit_line(emit, "const %s v%d = %s;", sn_emit_type(acc->dtype, vector), acc->result->id,
                         wrapped(emit, acc->dtype, vector, acc_name(emit, acc, copy)));
    }
}

int sn_c_loop_size(const Emit *emit, const unsigned char *needed) {
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

int sn_c_copies(const Emit *emit, const Step *step, const unsigned char *needed) {
    bool online = emit->online && emit->step == emit->online; /* a maximum's own latency is long */
    bool small = sn_c_loop_size(emit, needed) <= UNROLL_INSTRUCTIONS;
    return step->acc.count && (small || online) ? SN_ROW_UNROLL : 1;
}

/* The accumulators' copies in a fixed tree, then their lanes in another. */
void sn_c_folds(Emit *emit, const Step *step, int copies) {
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
void sn_c_open_vectors(Emit *emit, const Store *store) {
    if (!sn_emit_head(emit, store)) return;
    sn_emit_line(emit, "for (;;) {");
    emit->indent++;
}

/* Opens the block of a partial vector. */
void sn_c_open_partial(Emit *emit, const Store *store, int k, const char *last) {
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

void sn_c_close_partial(Emit *emit, const Store *store, int k) {
    if (store) sn_emit_line(emit, "i%d += n, head = 0;", k);
    sn_c_close_loops(emit, 1);
}

/* ---- the axes of rows ---- */

const char *sn_c_stride(const Nest *nest, Dim axis) {
    return axis == nest->tile ? "SN_LANES" : axis == nest->strip ? "strip" : NULL;
}

int sn_c_outer_axes(const Nest *nest) {
    return nest->parallel.count - (nest->vector == SN_VECTOR_PARALLEL);
}

void sn_c_next_row(Emit *emit) {
    const Nest *nest = emit->nest;
    int outer = sn_c_outer_axes(nest);
    for (int i = outer - 1; i >= 0; i--) {
        int k = sn_c_axis(nest->parallel.at[i]);
        const char *by = sn_c_stride(nest, nest->parallel.at[i]);
        if (!by) by = "1";
        if (i == 0) {
            sn_emit_line(emit, "i%d += %s;", k, by);
            break;
        }
        sn_emit_line(emit, "if ((i%d += %s) >= %s) {", k, by, sn_c_extent(emit, nest->parallel.at[i]));
        emit->indent++;
        sn_emit_line(emit, "i%d = 0;", k);
    }
    sn_c_close_loops(emit, outer > 1 ? outer - 1 : 0);
}

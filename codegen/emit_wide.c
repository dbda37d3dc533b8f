/* Vectors of 16-bit floats that all rows have in common (gain, bias), as f32: widened once for a range of rows, where half of the
 * first-level cache holds them beside the rows that go on at once. To widen them with every row is a good part of what a norm does. */
#include "emit_before.h"

enum { WIDE_IN_L1 = 2 };

/* Whether the elements of a load are numbered as the row's. */
static bool is_common(const Emit *emit, const Instr *instr) {
    Dim stride;
    return instr->kind == SN_INSTR_LOAD && instr->varying && !instr->rowwise && !instr->guard &&
           !instr->which && (instr->dtype == SN_F16 || instr->dtype == SN_BF16) &&
           sn_emit_strided(emit, instr->dim, &stride) && sn_dim_equals(stride, 1);
}

void sn_wide_choose(Emit *emit) {
    const Nest *nest = emit->nest;
    int64_t length, bytes = emit->beside ? sn_before_bytes(emit, nest->step.count) : -1;
    bool *wide = SN_ARRAY(emit->arena, bool, nest->instr.count), any = false;
    emit->wide = NULL;
    if (bytes < 0 || emit->fours || !sn_dim_is(emit->vector_axis->operand[0], &length)) return;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        any |= wide[i] = is_common(emit, instr);
        if (wide[i]) bytes += (4 - sn_dtype_bytes(instr->dtype)) * length;
    }
    if (any && bytes <= emit->kernel->target->l1_bytes / WIDE_IN_L1) emit->wide = wide;
}

void sn_wide_begin(Emit *emit) {
    const Nest *nest = emit->nest;
    const char *length = sn_before_length(emit);
    int k = (int)emit->vector_axis->value;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (!emit->wide[i]) continue;
        sn_emit_line(emit, "float g%d[%s] __attribute__((aligned(64)));", i, length);
        sn_emit_line(emit, "for (int64_t i%d = 0; i%d < %s; i%d += SN_LANES) {", k, k, length, k);
        emit->indent++;
        sn_emit_line(emit, "SN_PARTIAL(sn_least_of(%s - i%d, SN_LANES))", length, k);
        sn_emit_line(emit, "sn_store_f32_p(g%d + i%d, sn_load_%s_p(%s + %s, n), n);", i, k,
                     sn_dtype_name(instr->dtype), sn_emit_buffer(emit, instr->buffer),
                     sn_emit_dim(emit, instr->dim, NULL));
        emit->indent--;
        sn_emit_line(emit, "}");
    }
}

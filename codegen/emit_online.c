/* Long rows of which a maximum and then sums of exponentials below that maximum are wanted: block by block, against the
 * maximum of all blocks so far. When it rises, what has been summed up is multiplied by e to what it has risen by, so
 * that a row comes from memory once instead of twice. Blocks are of one length: no result depends on threads. */
#include "emit.h"

enum { BLOCKS_LEAST = 4 };

/* exp(something - the maximum), where that is known before the maximum is. */
static bool is_below(const Instr *value, const Instr *top, int step) {
    if (value->kind != SN_INSTR_CALL || strcmp(value->function, "exp") != 0 || value->dtype != SN_F32)
        return false;
    const Instr *from = value->arg[0];
    return from->kind == SN_INSTR_CALL && strcmp(from->function, "sub") == 0 && from->arg[1] == top &&
           from->arg[0]->ready <= step;
}

/* The one maximum of a step, or NULL; what else it accumulates goes with the sums. */
static Acc *find_maximum(const Step *step) {
    Acc *found = NULL;
    for (int i = 0; i < step->acc.count; i++) {
        Acc *acc = step->acc.at[i];
        if (acc->running) return NULL;
        if (strcmp(acc->function, "max") != 0 || acc->dtype != SN_F32) continue;
        if (found) return NULL;
        found = acc;
    }
    return found;
}

static bool is_long_row(const Emit *emit) {
    const Nest *nest = emit->nest;
    int64_t length;
    return nest->vector == SN_VECTOR_REDUCED && nest->reduced.count == 1 && !nest->cut && !emit->lags &&
           !nest->scratch.count && sn_dim_is(emit->vector_axis->operand[0], &length) &&
           length >= BLOCKS_LEAST * SN_ONLINE_BLOCK;
}

bool sn_emit_goes_online(Emit *emit, int step, Step *top, Step *sums) {
    const Nest *nest = emit->nest;
    if (step + 1 >= nest->step.count || !is_long_row(emit)) return false;
    const Step *first = &nest->step.at[step], *second = &nest->step.at[step + 1];
    Acc *maximum = first->loop && second->loop ? find_maximum(first) : NULL;
    if (!maximum || first->store.count || second->store.count) return false;
    *top = *sums = (Step){.loop = true};
    sn_push(emit->arena, &top->acc, maximum);
    for (int i = 0; i < first->acc.count; i++)
        if (first->acc.at[i] != maximum) sn_push(emit->arena, &sums->acc, first->acc.at[i]);
    bool any = false;
    for (int i = 0; i < second->acc.count; i++) {
        Acc *acc = second->acc.at[i];
        bool below = strcmp(acc->function, "add") == 0 && acc->dtype == SN_F32 &&
                     is_below(acc->value, maximum->result, step);
        if (acc->running || (!below && acc->value->ready > step)) return false;
        sn_push(emit->arena, &sums->acc, acc);
        any |= below;
    }
    return any;
}

void sn_emit_online_begin(Emit *emit, const Step *top) {
    sn_emit_line(emit, "float top = %s;", sn_emit_identity(emit, "max", top->acc.at[0]->dtype, false));
}

void sn_emit_online_rise(Emit *emit, const Step *top, const Step *sums, int copies) {
    const Acc *acc = top->acc.at[0];
    const char *now = sn_arena_printf(emit->arena, "v%d", acc->result->id);
    sn_emit_line(emit, "if (!(%s <= top)) {", now);
    emit->indent++;
    /* Before that there was nothing but minus infinity, of which sums below itself are no numbers. */
    sn_emit_line(emit, "const int none = top == -SN_INFINITY_F32;");
    sn_emit_line(emit, "const float scale = sn_exp_f32_s(top - %s);", now);
    for (int i = 0; i < sums->acc.count; i++)
        for (int copy = 0; copy < copies; copy++) {
            if (!is_below(sums->acc.at[i]->value, acc->result, emit->step)) continue;
            const char *name =
                sn_arena_printf(emit->arena, copy ? "a%d_%d" : "a%d", sums->acc.at[i]->number, copy);
            sn_emit_line(emit, "%s = none ? sn_splat_f32(0) : %s * sn_splat_f32(scale);", name, name);
        }
    sn_emit_line(emit, "top = %s;", sn_emit_combine(emit, "max", acc->dtype, false, "top", now));
    emit->indent--;
    sn_emit_line(emit, "}");
}

void sn_emit_online_top(Emit *emit, const Step *top) {
    sn_emit_line(emit, "const float v%d = top;", top->acc.at[0]->result->id);
}

void sn_emit_block_ahead(Emit *emit) {
    const unsigned char *needed = sn_emit_needed(emit, emit->step);
    Dim unit;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (needed[i] && instr->kind == SN_INSTR_LOAD && !instr->which && instr->reduced &&
            sn_emit_strided(emit, instr->dim, &unit) && sn_dim_equals(unit, 1))
            sn_emit_line(emit, "SN_AHEAD(%s + %s, %d);", sn_emit_buffer(emit, instr->buffer),
                         sn_emit_dim(emit, instr->dim, NULL), SN_ONLINE_BLOCK * sn_dtype_bytes(instr->dtype));
    }
}

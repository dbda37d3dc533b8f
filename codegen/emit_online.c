/* Long rows of which a maximum and then sums of exponentials below that maximum are wanted, in one walk: block by block, below
 * a level that is at least the maximum so far less a little; the first level is the maximum of what comes first. What e to that
 * little is too large by is put right at the end of the row, by one factor, in the sums and in exponentials that were kept for
 * later. Where a block rises above it, the level becomes the maximum so far: all before is scaled, and the block done again. So a
 * row comes from memory once, and has one exponential an element. Blocks are of one length: no result depends on threads. */
#include "emit.h"

/* The more an exponent has to do with what is large, the less of it is left for what is small: 4 costs a unit of an
 * exponential's last place or two, and is seldom risen above. */
enum {
    BLOCKS_LEAST = 4,
    LITTLE = 4,
    ROWS_AT_ONCE = 3 /* of rows that lead (emit_lead.c): the next one, this one, and what is kept of it */
};

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

/* Where streams are fetched, rows are long that lead by more than the first cache holds: what comes from the second one once
 * more than it has to costs more than a first level. */
static bool is_long_row(const Emit *emit) {
    const Nest *nest = emit->nest;
    int64_t length;
    if (nest->vector != SN_VECTOR_REDUCED || nest->reduced.count != 1 || nest->cut ||
        !sn_dim_is(emit->vector_axis->operand[0], &length))
        return false;
    return length >= BLOCKS_LEAST * SN_ONLINE_BLOCK ||
           (emit->fetches && length >= BLOCKS_LEAST * SN_ONLINE_FIRST &&
            ROWS_AT_ONCE * 4 * length > emit->kernel->target->l1_bytes);
}

/* Whether all that is kept of a row is exponentials below the maximum of step `step`, near at hand. */
static bool keeps_below(const Nest *nest, const Instr *top, int step) {
    for (int i = 0; i < nest->scratch.count; i++)
        if (!nest->scratch.at[i].count) return false;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->scratch >= 0 && (instr->kept != step + 1 || !is_below(instr, top, step))) return false;
    }
    return true;
}

/* Whether steps `step` and `step` + 1 can be one walk. */
static bool goes_online(const Nest *nest, int step) {
    const Step *first = &nest->step.at[step], *second = &nest->step.at[step + 1];
    const Acc *maximum = first->loop && second->loop ? find_maximum(first) : NULL;
    if (!maximum || first->store.count || second->store.count) return false;
    if (!keeps_below(nest, maximum->result, step)) return false;
    bool any = false;
    for (int i = 0; i < second->acc.count; i++) {
        const Acc *acc = second->acc.at[i];
        bool below = strcmp(acc->function, "add") == 0 && acc->dtype == SN_F32 &&
                     is_below(acc->value, maximum->result, step);
        if (acc->running || (!below && acc->value->ready > step)) return false;
        any |= below;
    }
    return any;
}

int sn_emit_online(const Emit *emit) {
    const Nest *nest = emit->nest;
    for (int i = 0; i + 1 < nest->step.count && is_long_row(emit); i++)
        if (goes_online(nest, i)) return i + 1;
    return 0;
}

void sn_emit_online_steps(Emit *emit, Step *top, Step *sums, Step *both) {
    *top = *sums = *both = (Step){.loop = true};
    sn_push(emit->arena, &top->acc, find_maximum(&emit->nest->step.at[emit->online - 1]));
    for (int i = emit->online - 1; i <= emit->online; i++)
        for (int k = 0; k < emit->nest->step.at[i].acc.count; k++) {
            Acc *acc = emit->nest->step.at[i].acc.at[k];
            sn_push(emit->arena, &both->acc, acc);
            if (acc != top->acc.at[0]) sn_push(emit->arena, &sums->acc, acc);
        }
}

/* The name of copy `copy` of an accumulator that is called `letter` and its number. */
static const char *copy_name(Emit *emit, char letter, const Acc *acc, int copy) {
    return copy ? sn_arena_printf(emit->arena, "%c%d_%d", letter, acc->number, copy)
                : sn_arena_printf(emit->arena, "%c%d", letter, acc->number);
}

void sn_emit_online_hold(Emit *emit, const Step *sums, int copies) {
    for (int i = 0; i < sums->acc.count; i++)
        for (int copy = 0; copy < copies; copy++) {
            const Acc *acc = sums->acc.at[i];
            sn_emit_line(emit, "const %s %s = %s;", sn_emit_type(acc->dtype, true),
                         copy_name(emit, 'h', acc, copy), copy_name(emit, 'a', acc, copy));
        }
}

void sn_emit_online_rise(Emit *emit, const Step *top, const Step *sums, int copies) {
    const Instr *maximum = top->acc.at[0]->result;
    /* Before that there was nothing but minus infinity, of which exponentials below itself are no numbers. */
    sn_emit_line(emit, "const int none = level == -SN_INFINITY_F32;");
    sn_emit_line(emit, "const vf32 rise = sn_splat_f32(sn_exp_f32_s(level - v%d));", maximum->id);
    for (int i = 0; i < sums->acc.count; i++)
        for (int copy = 0; copy < copies; copy++) {
            const Acc *acc = sums->acc.at[i];
            const char *held = copy_name(emit, 'h', acc, copy);
            if (is_below(acc->value, maximum, emit->online - 1))
                held = sn_arena_printf(emit->arena, "none ? sn_splat_f32(0) : %s * rise", held);
            sn_emit_line(emit, "%s = %s;", copy_name(emit, 'a', acc, copy), held);
        }
    for (int i = 0; i < emit->nest->scratch.count; i++) {
        const char *kept = sn_arena_printf(emit->arena, "r%d + i", i);
        sn_emit_line(emit, "for (int64_t i = 0; i < from; i += SN_LANES)");
        sn_emit_line(emit, "    sn_store_f32_v(%s, none ? sn_splat_f32(0) : sn_load_f32_v(%s) * rise);", kept,
                     kept);
    }
    sn_emit_line(emit, "level = v%d;", maximum->id);
}

void sn_emit_online_end(Emit *emit, const Step *top, const Step *sums, int copies) {
    const Instr *maximum = top->acc.at[0]->result;
    sn_emit_line(emit, "const float over = v%d == level ? 1 : sn_exp_f32_s(level - v%d);", maximum->id,
                 maximum->id);
    for (int i = 0; i < sums->acc.count; i++)
        for (int copy = 0; copy < copies; copy++) {
            const Acc *acc = sums->acc.at[i];
            const char *name = copy_name(emit, 'a', acc, copy);
            if (is_below(acc->value, maximum, emit->online - 1))
                sn_emit_line(emit, "%s = %s * sn_splat_f32(over);", name, name);
        }
}

const char *sn_emit_online_test(Emit *emit, const Step *top) {
    return sn_arena_printf(emit->arena, "if (!(v%d > level + %d)) break;", top->acc.at[0]->result->id,
                           LITTLE);
}

void sn_emit_block_ahead(Emit *emit) {
    const unsigned char *needed = sn_emit_needed(emit, emit->step);
    Dim unit;
    if (!emit->online || emit->step != emit->online) return;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (!needed[i] || instr->kind != SN_INSTR_LOAD || instr->which || !instr->reduced ||
            !sn_emit_strided(emit, instr->dim, &unit) || !sn_dim_equals(unit, 1))
            continue;
        const char *buffer = sn_emit_buffer(emit, instr->buffer), *at = sn_emit_dim(emit, instr->dim, NULL);
        /* Of the next row then as much as its first level is made of. */
        const int ahead = emit->fetches ? SN_ONLINE_FIRST : SN_ONLINE_BLOCK;
        sn_emit_line(emit, "SN_BRING(%s + %s, %d);", buffer, at, ahead * sn_dtype_bytes(instr->dtype));
        if (emit->fetches) sn_emit_line(emit, "SN_AHEAD(%s + %s, %d);", buffer, at, SN_NEAR_BYTES);
    }
}

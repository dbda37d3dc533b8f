/* Which instructions a step of a nest needs. */
#include "emit.h"

typedef struct Needed {
    unsigned char *flag;
    int step;
} Needed;

static bool needed_enters(void *user, const Instr *instr) {
    const Needed *needed = user;
    return instr->scratch < 0 || needed->step <= instr->kept;
}

static void needed_visit(void *user, Instr *instr) {
    const Needed *needed = user;
    needed->flag[instr->id] = 1;
}

static void add_needed(Emit *emit, int step, unsigned char *flag) {
    const Step *now = &emit->nest->step.at[step];
    unsigned char *seen = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    Needed needed = {flag, step};
    for (int i = 0; i < now->acc.count; i++) {
        sn_instr_walk(emit->nest, now->acc.at[i]->value, seen, needed_enters, needed_visit, &needed);
        sn_instr_walk(emit->nest, now->acc.at[i]->result, seen, needed_enters, needed_visit, &needed);
    }
    for (int i = 0; i < now->store.count; i++)
        sn_instr_walk(emit->nest, now->store.at[i].value, seen, needed_enters, needed_visit, &needed);
}

void sn_emit_need(Emit *emit, Instr *value, unsigned char *needed) {
    unsigned char *seen = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    Needed all = {needed, 0};
    sn_instr_walk(emit->nest, value, seen, needed_enters, needed_visit, &all);
}

unsigned char *sn_emit_needed(Emit *emit, int step) {
    unsigned char *flag = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    for (int i = 0; i < emit->nest->step.count; i++)
        if (step < 0 || step == i) add_needed(emit, i, flag);
    return flag;
}

bool sn_emit_is_dear(Emit *emit, int step) {
    const unsigned char *needed = sn_emit_needed(emit, step);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        bool loaded = instr->scratch >= 0 && instr->kept < step;
        if (needed[i] && !loaded && instr->reduced && instr->kind == SN_INSTR_CALL &&
            sn_function_is_costly(instr->function))
            return true;
    }
    return false;
}

/* Rows that lag (emit_lag.c) and have a first loop that only reduces: it goes over the next row inside the loop that computes
 * what is dear of this one. A row is then read from memory, computed on and stored all the time, in even parts, and what
 * joins the lanes of the next row's results is done when they are wanted. */
#include "emit_c.h"

/* The last three loops: of the next row, of this one, of the one before. */
enum { NEXT, THIS, BEFORE, STEPS };

unsigned char *sn_emit_lead_needs(Emit *emit) {
    const Step *first = &emit->nest->step.at[NEXT];
    unsigned char *needed = SN_ARRAY(emit->arena, unsigned char, emit->nest->instr.count);
    for (int i = 0; i < first->acc.count; i++) sn_emit_need(emit, first->acc.at[i]->value, needed);
    return needed;
}

bool sn_emit_leads_row(const Instr *instr, const unsigned char *needed) {
    return needed[instr->id] && instr->rowwise && !instr->reduced;
}

/* Whether the first loop needs nothing of its row but vectors and what the row is chosen by, and the near caches hold those of two
 * rows beside what is kept of one. */
static bool fits(Emit *emit) {
    const Nest *nest = emit->nest;
    const unsigned char *needed = sn_emit_lead_needs(emit);
    const bool gathers = sn_emit_gathers(emit);
    int64_t length, bytes = 0;
    if (!sn_dim_is(emit->vector_axis->operand[0], &length)) return false;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (!needed[i]) continue;
        const bool chosen = sn_emit_leads_row(instr, needed);
        if (chosen ? !gathers : instr->fault != 0) return false;
        if (instr->kind == SN_INSTR_LOAD && instr->rowwise)
            bytes += 2 * length * sn_dtype_bytes(instr->dtype);
    }
    for (int i = 0; i < nest->scratch.count; i++) bytes += 4 * nest->scratch.at[i].count;
    return bytes <= emit->kernel->target->l2_bytes / 4 * 3;
}

bool sn_emit_may_lead(Emit *emit) {
    const Nest *nest = emit->nest;
    if (emit->online || nest->step.count != STEPS || nest->strip || nest->tile || sn_emit_is_dear(emit, NEXT))
        return false;
    const Step *first = &nest->step.at[NEXT];
    if (first->store.count) return false; /* the last row is gone over twice */
    for (int i = 0; i < first->acc.count; i++)
        if (first->acc.at[i]->running) return false;
    return fits(emit);
}

bool sn_emit_leads(Emit *emit) {
    return emit->lags && emit->host == THIS && sn_emit_may_lead(emit);
}

bool sn_emit_takes_turns(const Emit *emit) {
    bool any = false;
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        any |= instr->scratch >= 0 && instr->kept == NEXT;
    }
    return any && emit->leads;
}

void sn_emit_turn(Emit *emit, const char *row) {
    for (int i = 0; i < emit->nest->scratch.count && sn_emit_takes_turns(emit); i++)
        sn_emit_line(emit, "float *const r%d = %s_r%d;", i, row, i);
}

/* Rows so short that joining the lanes takes about as long as the row: only the shortest where streams are fetched, as
 * memory has nothing to do during the exponentials when nothing else is read beside them. */
bool sn_emit_leads_apart(const Emit *emit) {
    enum { VECTORS = 32, FETCHED_VECTORS = 8 };
    int64_t length, most = emit->fetches ? FETCHED_VECTORS : VECTORS;
    return sn_dim_is(emit->vector_axis->operand[0], &length) &&
           4 * length <= most * emit->kernel->target->vector_bytes;
}

void sn_emit_lead_take(Emit *emit) {
    const Step *first = &emit->nest->step.at[NEXT];
    for (int i = 0; i < first->acc.count; i++) {
        int id = first->acc.at[i]->result->id;
        sn_emit_line(emit, "lead%d = v%d;", id, id);
    }
}

/* Whether the loop being written also goes over the next row. */
static bool hosts(const Emit *emit) {
    return emit->leads && emit->step == THIS && !sn_emit_leads_apart(emit);
}

void sn_emit_lead_starts(Emit *emit) {
    if (!hosts(emit)) return;
    const Step *first = &emit->nest->step.at[NEXT];
    emit->step = NEXT;
    sn_c_acc_starts(emit, first, sn_c_copies(emit, first, sn_emit_lead_needs(emit)));
    emit->step = THIS;
}

/* Goes over a vector of the next row, `ahead` vectors on, by copy `copy` of the accumulators. */
static void go_over(Emit *emit, int copy, int ahead) {
    const Nest *nest = emit->nest;
    const Step *first = &nest->step.at[NEXT];
    const unsigned char *needed = sn_emit_lead_needs(emit);
    int k = (int)emit->vector_axis->value;
    emit->step = NEXT;
    sn_emit_line(emit, "{");
    emit->indent++;
    if (ahead) {
        sn_emit_line(emit, "const int64_t there = i%d + %d * SN_LANES;", k, ahead);
        sn_emit_line(emit, "const int64_t i%d = there;", k);
    }
    for (int i = 0; i < nest->parallel.count; i++) {
        int p = (int)nest->parallel.at[i]->value;
        sn_emit_line(emit, "const int64_t i%d = next%d;", p, p);
    }
    for (int i = 0; i < nest->instr.count; i++)
        if (sn_emit_leads_row(nest->instr.at[i], needed))
            sn_emit_line(emit, "const %s v%d = next_v%d;", sn_emit_type(nest->instr.at[i]->dtype, false), i,
                         i);
    sn_emit_turn(emit, "next");
    sn_c_body(emit, first, needed, sn_c_copies(emit, first, needed) > 1 ? copy : 0);
    sn_c_close_loops(emit, 1);
    emit->step = THIS;
}

void sn_emit_lead(Emit *emit, int copy) {
    if (hosts(emit)) go_over(emit, copy, 0);
}

void sn_emit_lead_group(Emit *emit, int vectors) {
    for (int u = 0; u < vectors && hosts(emit); u++) go_over(emit, u, u);
}

void sn_emit_lead_ends(Emit *emit) {
    if (!hosts(emit)) return;
    const Step *first = &emit->nest->step.at[NEXT];
    emit->step = NEXT;
    sn_emit_line(emit, "{");
    emit->indent++;
    sn_c_folds(emit, first, sn_c_copies(emit, first, sn_emit_lead_needs(emit)));
    sn_emit_lead_take(emit);
    sn_c_close_loops(emit, 1);
    emit->step = THIS;
}

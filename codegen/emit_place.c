/* Where instructions are written. */
#include "emit.h"

static Place place_of(const Emit *emit, const Instr *instr) {
    if (instr->reduced) return SN_PLACE_LOOP;
    if (instr->varying && emit->form != SN_FORM_SCALAR) return SN_PLACE_VECTOR;
    if (instr->varying) return emit->nest->vector == SN_VECTOR_PARALLEL ? SN_PLACE_VECTOR : SN_PLACE_LOOP;
    return instr->rowwise ? SN_PLACE_ROW : SN_PLACE_ITEM;
}

void sn_emit_place(Emit *emit, Place place, int ready, const unsigned char *needed) {
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (!needed[i] || place_of(emit, instr) != place) continue;
        if (place == SN_PLACE_LOOP || instr->ready == ready) sn_emit_instr(emit, instr);
    }
}

/* What the schedules of all targets ask of a nest. */
#include "kernel.h"

Dim sn_schedule_product(Dims *dims, const Axes *axes, int count) {
    Dim result = sn_dim(dims, 1);
    for (int i = 0; i < count; i++) result = sn_dim_mul(dims, result, axes->at[i]->operand[0]);
    return result;
}

static void note_index(void *user, Instr *instr) {
    (void)instr;
    *(bool *)user = true;
}

bool sn_schedule_crosses(Dims *dims, const Nest *nest, const Instr *instr, Dim axis, Dim *stride) {
    static const bool has_tile[SN_DTYPE_COUNT] = {
        [SN_F32] = true, [SN_F16] = true, [SN_BF16] = true, [SN_I32] = true};
    Dim unit, rest;
    bool indexed = false;
    if (instr->kind != SN_INSTR_LOAD || instr->guard || instr->which || !has_tile[instr->dtype]) return false;
    sn_dim_indices(nest, instr->dim, note_index, &indexed);
    return !indexed && sn_dim_affine(dims, instr->dim, axis, &unit, &rest) && sn_dim_equals(unit, 1) &&
           sn_dim_affine(dims, rest, nest->parallel.at[nest->parallel.count - 1], stride, &rest) &&
           !sn_dim_equals(*stride, 0) && !sn_dim_equals(*stride, 1);
}

bool sn_schedule_tiled(Dims *dims, const Nest *nest, const Instr *instr, Dim *stride) {
    Dim unwanted;
    return nest->tile && sn_schedule_crosses(dims, nest, instr, nest->tile, stride ? stride : &unwanted);
}

int sn_schedule_band(const Nest *nest) {
    enum {
        RUN = 128 /* bytes; lines by themselves go past the caches at half the rate of pairs */,
        LEAST = 2
    };
    int least = 4;
    for (int i = 0; i < nest->step.count; i++)
        for (int k = 0; k < nest->step.at[i].store.count; k++) {
            int bytes = sn_dtype_bytes(nest->step.at[i].store.at[k].dtype);
            if (bytes < least) least = bytes < LEAST ? LEAST : bytes;
        }
    return RUN / least;
}

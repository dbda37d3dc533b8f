/* Other axes, or extents, in the place of those that a nest was made with. */
#include "kernel.h"

NestDims sn_nest_dims(Arena *arena, Nest *nest) {
    NestDims dims = {0};
    for (int i = 0; i < nest->instr.count; i++) {
        Instr *instr = nest->instr.at[i];
        if (instr->dim && instr->kind != SN_INSTR_INDEX) sn_push(arena, &dims, &instr->dim);
        if (instr->limit && instr->kind == SN_INSTR_LESS) sn_push(arena, &dims, &instr->limit);
        if (instr->which) sn_push(arena, &dims, &instr->which);
    }
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].store.count; i++)
            sn_push(arena, &dims, &nest->step.at[p].store.at[i].offset);
    return dims;
}

void sn_nest_dims_replace(Dims *dims, NestDims in, const Dim *from, const Dim *to, int count) {
    for (int i = 0; i < in.count; i++) *in.at[i] = sn_dim_replace(dims, *in.at[i], from, to, count);
}

void sn_schedule_replace(KernelIr *kernel, Nest *nest, const Dim *from, const Dim *to, int count) {
    sn_nest_dims_replace(kernel->dims, sn_nest_dims(kernel->arena, nest), from, to, count);
}

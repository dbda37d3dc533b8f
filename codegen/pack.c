#include "pack.h"

enum {
    MOST = 8
}; /* elements of a pack: of the narrowest types half an access, so that others need not be many */

static Dim vector_axis(const Nest *nest) {
    const Axes *axes = nest->vector == SN_VECTOR_PARALLEL ? &nest->parallel : &nest->reduced;
    return nest->vector == SN_VECTOR_NONE ? NULL : axes->at[axes->count - 1];
}

typedef struct Indices {
    Axes axes;
    bool varying;
    Arena *arena;
} Indices;

static void note_index(void *user, Instr *instr) {
    Indices *indices = user;
    indices->varying |= instr->varying;
    sn_push(indices->arena, &indices->axes, instr->dim);
}

/* Whether `dim` may be a multiple of test->elements; what is to be looked at in a run is added to the test. */
static bool take(KernelIr *kernel, Dim dim, PackTest *test) {
    Dim beyond = sn_dim_mod(kernel->dims, dim, sn_dim(kernel->dims, test->elements));
    if (beyond->kind == SN_DIM_CONST) return beyond->value == 0;
    sn_push(kernel->arena, &test->multiple, beyond);
    return true;
}

/* Takes the part that moves with `axis` off *rest; false when that is no multiple of a number. */
static bool take_axis(KernelIr *kernel, Dim *rest, Dim axis, PackTest *test) {
    Dim each;
    if (!sn_dim_affine(kernel->dims, *rest, axis, &each, rest) || sn_dim_has_axis(each)) return false;
    return take(kernel, each, test);
}

static bool take_axes(KernelIr *kernel, Dim *rest, const Axes *axes, Dim but, PackTest *test) {
    for (int i = 0; i < axes->count; i++)
        if (axes->at[i] != but && !take_axis(kernel, rest, axes->at[i], test)) return false;
    return true;
}

bool sn_pack_test(KernelIr *kernel, const Nest *nest, Dim offset, DType dtype, int pack, PackTest *test) {
    Dim axis = vector_axis(nest), each, rest;
    Indices indices = {.arena = kernel->arena};
    int64_t widest = SN_PACK_BYTES / sn_dtype_bytes(dtype);
    *test = (PackTest){.elements = pack < widest ? pack : widest};
    sn_dim_indices(nest, offset, note_index, &indices);
    if (!axis || indices.varying || !sn_dim_affine(kernel->dims, offset, axis, &each, &rest)) return false;
    return sn_dim_equals(each, 1) && take_axes(kernel, &rest, &nest->parallel, axis, test) &&
           take_axes(kernel, &rest, &nest->reduced, axis, test) &&
           take_axes(kernel, &rest, &indices.axes, axis, test) && !sn_dim_has_axis(rest) &&
           take(kernel, rest, test);
}

bool *sn_pack_loads(KernelIr *kernel, const Nest *nest, int pack) {
    bool *wide = SN_ARRAY(kernel->arena, bool, nest->instr.count);
    PackTest test;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        wide[i] = instr->kind == SN_INSTR_LOAD && !instr->guard && !instr->which &&
                  sn_pack_test(kernel, nest, instr->dim, instr->dtype, pack, &test);
    }
    return wide;
}

bool sn_pack_stores(KernelIr *kernel, const Nest *nest, const Step *step, int pack) {
    PackTest test;
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        if (store->guard || !sn_pack_test(kernel, nest, store->offset, store->dtype, pack, &test))
            return false;
    }
    return true;
}

/* The bytes of the narrowest access that there is along the vector axis; 0: there is none. */
static int narrowest(KernelIr *kernel, const Nest *nest) {
    const bool *wide = sn_pack_loads(kernel, nest, 1);
    int least = 0;
    for (int i = 0; i < nest->instr.count; i++) {
        int bytes = (int)sn_dtype_bytes(nest->instr.at[i]->dtype);
        if (wide[i] && (!least || bytes < least)) least = bytes;
    }
    for (int p = 0; p < nest->step.count; p++) {
        const Step *step = &nest->step.at[p];
        if (nest->vector == SN_VECTOR_REDUCED && !step->loop) continue;
        for (int i = 0; i < step->store.count; i++) {
            int bytes = (int)sn_dtype_bytes(step->store.at[i].dtype);
            if (!least || bytes < least) least = bytes;
        }
    }
    return least;
}

/* Whether there is any access of whole packs. */
static bool gains(KernelIr *kernel, const Nest *nest, int pack) {
    const bool *wide = sn_pack_loads(kernel, nest, pack);
    for (int i = 0; i < nest->instr.count; i++)
        if (wide[i]) return true;
    for (int p = 0; p < nest->step.count; p++)
        if (nest->step.at[p].store.count && (nest->step.at[p].loop || nest->vector == SN_VECTOR_PARALLEL))
            return true;
    return false;
}

int sn_pack_width(KernelIr *kernel, const Nest *nest) {
    Dim axis = vector_axis(nest);
    int least = axis ? narrowest(kernel, nest) : 0;
    if (!least) return 1;
    int pack = SN_PACK_BYTES / least < MOST ? SN_PACK_BYTES / least : MOST;
    /* A single axis may end in a part of a pack: the block that has it goes element by element. */
    bool whole = nest->parallel.count == 1 && nest->reduced.count == 0;
    for (; pack > 1; pack /= 2) {
        Dim beyond = sn_dim_mod(kernel->dims, axis->operand[0], sn_dim(kernel->dims, pack));
        if (whole || beyond->kind != SN_DIM_CONST || beyond->value == 0) break;
    }
    for (int p = 0; p < nest->step.count && pack > 1; p++) {
        const Step *step = &nest->step.at[p];
        if (nest->vector == SN_VECTOR_REDUCED && !step->loop) continue;
        while (pack > 1 && !sn_pack_stores(kernel, nest, step, pack)) pack /= 2;
    }
    while (pack > 1 && !gains(kernel, nest, pack)) pack /= 2;
    return pack;
}

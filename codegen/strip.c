/* Strips: rows that are exchanged between two axes, as attention's heads and positions are, in an order in which both what
 * is read and what is written comes in long pieces. */
#include "kernel.h"

static Dim extent(Dim axis) {
    return axis->operand[0];
}

static void note_index(void *user, Instr *instr) {
    (void)instr;
    *(bool *)user = true;
}

/* Whether a load or store is of vectors, and how far it moves along two axes. */
static bool moves(Dims *dims, const Nest *nest, Dim offset, const Dim axis[2], Dim stride[2]) {
    Dim unit, rest;
    bool indexed = false;
    sn_dim_indices(nest, offset, note_index, &indexed);
    return !indexed &&
           sn_dim_affine(dims, offset, nest->parallel.at[nest->parallel.count - 1], &unit, &rest) &&
           sn_dim_equals(unit, 1) && sn_dim_affine(dims, rest, axis[0], &stride[0], &rest) &&
           sn_dim_affine(dims, rest, axis[1], &stride[1], &rest);
}

/* Which of two axes moves the load and the store less; -1: not known. */
static int near_axis(const Dim load[2], const Dim store[2]) {
    int64_t by[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        int64_t a, b;
        if (!sn_dim_is(load[k], &a) || !sn_dim_is(store[k], &b))
            by[k] = INT64_MAX;
        else
            by[k] = a > b ? a : b;
    }
    return by[0] == by[1] ? -1 : by[0] < by[1] ? 0 : 1;
}

/* Whether two strides are known to be in this order; one of run-time extents counts as large. */
static bool is_less(Dim a, Dim b) {
    int64_t x, y;
    if (!sn_dim_is(a, &x) || x == 0) return false;
    return !sn_dim_is(b, &y) || x < y;
}

/* The axis, of two, in strips of which the nest should be worked on, because the load is contiguous along the other one
 * than the store is; NULL: it is not. */
static Dim strip_of(Dims *dims, const Nest *nest, const Instr *load, const Store *store, const Dim axis[2]) {
    Dim from[2], to[2];
    if (load->kind != SN_INSTR_LOAD || load->guard || load->which ||
        !moves(dims, nest, load->dim, axis, from) || !moves(dims, nest, store->offset, axis, to))
        return NULL;
    bool crossed = (is_less(from[0], from[1]) && is_less(to[1], to[0])) ||
                   (is_less(from[1], from[0]) && is_less(to[0], to[1]));
    int near = crossed ? near_axis(from, to) : -1;
    return near < 0 ? NULL : axis[near];
}

void sn_schedule_strip(KernelIr *kernel, Nest *nest) {
    enum { RUN = 1024 }; /* elements of a row that is long enough by itself */
    int count = nest->parallel.count;
    int64_t width;
    nest->strip = NULL;
    if (nest->vector != SN_VECTOR_PARALLEL || nest->reduced.count || nest->tile || nest->step.count != 1 ||
        count < 3 || !sn_dim_is(extent(nest->parallel.at[count - 1]), &width) || width > RUN ||
        !nest->step.at[0].store.count)
        return;
    for (int i = 0; i < nest->instr.count; i++)
        for (int k = count - 3; k >= 0; k--) {
            Dim axis[2] = {nest->parallel.at[k], nest->parallel.at[count - 2]};
            Dim strip = strip_of(kernel->dims, nest, nest->instr.at[i], &nest->step.at[0].store.at[0], axis);
            if (!strip) continue;
            for (; k + 3 < count; k++) nest->parallel.at[k] = nest->parallel.at[k + 1];
            nest->strip = nest->parallel.at[count - 3] = strip;
            nest->parallel.at[count - 2] = strip == axis[0] ? axis[1] : axis[0];
            return;
        }
}

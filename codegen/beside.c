/* Sums over windows: neighbouring rows (positions) read much of the same, and all of them the same weights. Several positions by
 * several vectors are accumulated in registers, so that a weight is loaded once for them all, and what is tested of an element of
 * the window, whether it is padding, is tested once for all vectors. The weights of a work item's columns stay in the first-level
 * cache. */
#include "columns.h"

enum {
    LEAST_ROUNDS =
        8, /* rows side by side in a work item, so many times: it reads its weights from further away */
    WEIGHTS_IN_L1 = 2, /* at most so large a part of it are weights */
    MOST_TAPS = 8,
    LEAST_SUMS = 8
};

static Dim row_axis(const Nest *nest) {
    return nest->parallel.count > 1 ? nest->parallel.at[nest->parallel.count - 2] : NULL;
}

/* Whether neighbouring rows read some elements both along a reduced axis: a row reaches beyond where the next one begins. */
static bool overlaps_along(Dims *dims, const Instr *load, Dim row, Dim axis) {
    Dim by, rest, step;
    int64_t apart, each, count;
    return sn_dim_affine(dims, load->dim, row, &by, &rest) && sn_dim_is(by, &apart) && apart > 0 &&
           sn_dim_affine(dims, load->dim, axis, &step, &rest) && sn_dim_is(step, &each) &&
           sn_dim_is(axis->operand[0], &count) && each > 0 && apart < each * count && apart % each == 0;
}

static bool overlaps(Dims *dims, const Nest *nest, const Instr *load, Dim row) {
    for (int i = 0; i < nest->reduced.count; i++)
        if (overlaps_along(dims, load, row, nest->reduced.at[i])) return true;
    return false;
}

/* Whether all is loads at indices of axes, and arithmetic on floats. */
static bool is_plain(const Nest *nest) {
    const Step *loop = &nest->step.at[0];
    if (nest->index.count || nest->tile || nest->strip || nest->last || nest->piece || loop->acc.count != 1 ||
        loop->acc.at[0]->dtype != SN_F32)
        return false;
    for (int i = 0; i < nest->instr.count; i++)
        if (nest->instr.at[i]->which || nest->instr.at[i]->fault) return false;
    return true;
}

/* Bytes of a column that all rows have in common; -1: it cannot be told. */
static int64_t shared_bytes(const Nest *nest, Dim row) {
    int64_t elements = 1, extent, bytes = 0;
    for (int i = 0; i < nest->reduced.count; i++) {
        if (!sn_dim_is(nest->reduced.at[i]->operand[0], &extent) || extent > 1024) return -1;
        elements *= extent;
    }
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->kind == SN_INSTR_LOAD && instr->varying && instr->reduced &&
            !sn_dim_depends(instr->dim, row))
            bytes += elements * sn_dtype_bytes(instr->dtype);
    }
    return bytes;
}

/* A number that rows are a multiple of, if there is one. */
static int rows_beside(Dim row) {
    static const int count[] = {4, 7, 5, 6, 3};
    int64_t extent;
    if (!sn_dim_is(row->operand[0], &extent)) return count[0];
    for (size_t i = 0; i < sizeof count / sizeof *count; i++)
        if (extent % count[i] == 0) return count[i];
    return extent < count[0] ? 0 : count[0];
}

int sn_schedule_taps(const KernelIr *kernel, const Nest *nest) {
    Dim axis = nest->reduced.at[nest->reduced.count - 1];
    int64_t taps, rows;
    if (!sn_dim_is(axis->operand[0], &taps) || taps > MOST_TAPS || !nest->beside ||
        !sn_dim_is(row_axis(nest)->operand[0], &rows) || rows % nest->beside)
        return 0;
    for (int i = 0; i < nest->instr.count; i++)
        if (nest->instr.at[i]->kind == SN_INSTR_LOAD &&
            overlaps_along(kernel->dims, nest->instr.at[i], row_axis(nest), axis))
            return (int)taps;
    return 0;
}

/* Where taps are written one by one no test is shared by several vectors: so many that multiply-adds do not wait for each other. */
int sn_schedule_vectors_beside(const KernelIr *kernel, const Nest *nest) {
    int vectors = kernel->target->vector_registers / 2 / nest->beside;
    int most = sn_schedule_taps(kernel, nest) ? (LEAST_SUMS + nest->beside - 1) / nest->beside : 4;
    return vectors < 1 ? 1 : vectors > most ? most : vectors;
}

void sn_schedule_beside(KernelIr *kernel, Nest *nest) {
    Dims *dims = kernel->dims;
    const int64_t lanes = kernel->target->vector_bytes / 4;
    nest->beside = 0;
    if (!lanes || !sn_schedule_folds_columns(nest) || !is_plain(nest)) return;
    Dim row = row_axis(nest), width = nest->parallel.at[nest->parallel.count - 1]->operand[0];
    bool found = false;
    for (int i = 0; i < nest->instr.count && row; i++)
        found |= nest->instr.at[i]->kind == SN_INSTR_LOAD && overlaps(dims, nest, nest->instr.at[i], row);
    const int64_t shared = found ? shared_bytes(nest, row) : -1;
    if (shared < 0 || !(nest->beside = rows_beside(row))) return;
    const int64_t together = sn_schedule_vectors_beside(kernel, nest) * lanes;
    int64_t columns = shared ? kernel->target->l1_bytes / WEIGHTS_IN_L1 / shared / together * together : 0;
    if (shared && columns < together) columns = together;
    if (columns && !sn_dim_le(dims, width, sn_dim(dims, columns))) nest->chunk = sn_dim(dims, columns);
    Dim least = sn_dim_max(dims, nest->grain, sn_dim(dims, (int64_t)LEAST_ROUNDS * nest->beside));
    nest->grain = sn_dim_mulc(dims, sn_dim_ceildiv(dims, least, sn_dim(dims, nest->beside)), nest->beside);
    nest->items = sn_dim_ceildiv(dims, nest->rows, nest->grain);
}

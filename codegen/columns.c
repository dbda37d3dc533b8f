/* Columns that are reduced with sums in memory: rows are added one after the other as they lie, so that memory has
 * one even stream that can be fetched ahead, where the same columns of many rows would be runs of a few lines each.
 * Worth it where the target was measured to gain by fetching; a row's sums have to stay in the second-level cache. */
#include "columns.h"

enum {
    SUMS_IN_L2 = 8,      /* at most so large a part of it are sums */
    LEAST_ITEMS = 8,     /* work items that rows are cut for, … */
    LEAST_COLUMNS = 1024 /* … but not in shorter pieces: beginnings of runs are not fetched ahead */
};

bool sn_schedule_folds_columns(const Nest *nest) {
    return nest->vector == SN_VECTOR_PARALLEL && sn_nest_folds(nest);
}

/* Whether some load goes along rows, and nothing dear would be computed for each row anew. */
static bool suits(KernelIr *kernel, const Nest *nest) {
    Dim axis = nest->parallel.at[nest->parallel.count - 1], unit, rest;
    bool runs = false;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->kind == SN_INSTR_CALL && instr->varying && !instr->reduced && !instr->ready &&
            sn_function_is_costly(instr->function))
            return false;
        runs |= instr->kind == SN_INSTR_LOAD && instr->reduced && !instr->which &&
                sn_dim_affine(kernel->dims, instr->dim, axis, &unit, &rest) && sn_dim_equals(unit, 1);
    }
    return runs;
}

/* Bytes of what is kept of a column. */
static int column_bytes(const Nest *nest) {
    enum { WORD = 4 }; /* narrower values are computed in words */
    int bytes = 0;
    for (int i = 0; i < nest->step.at[0].acc.count; i++) {
        int each = sn_dtype_bytes(nest->step.at[0].acc.at[i]->dtype);
        bytes += each < WORD ? WORD : each;
    }
    return bytes;
}

void sn_schedule_sums(KernelIr *kernel, Nest *nest) {
    Dims *dims = kernel->dims;
    int64_t least, lanes = kernel->target->vector_bytes / 4;
    nest->sums = 0;
    if (nest->last || !lanes || !sn_schedule_folds_columns(nest) || !sn_kernel_fetches(kernel, &least) ||
        !suits(kernel, nest))
        return;
    const int64_t most = kernel->target->l2_bytes / SUMS_IN_L2 / column_bytes(nest) / lanes * lanes;
    if (!most) return;
    Dim width = nest->parallel.at[nest->parallel.count - 1]->operand[0];
    Dim one = sn_dim(dims, 1), rows = sn_dim_max(dims, nest->rows, one);
    Dim wanted = sn_dim_ceildiv(dims, sn_dim(dims, LEAST_ITEMS), rows);
    Dim bands = sn_dim_min(dims, wanted, sn_dim_floordiv(dims, width, sn_dim(dims, LEAST_COLUMNS)));
    Dim vectors =
        sn_dim_ceildiv(dims, sn_dim_ceildiv(dims, width, sn_dim_max(dims, bands, one)), sn_dim(dims, lanes));
    Dim chunk =
        sn_dim_min(dims, sn_dim_mulc(dims, sn_dim_max(dims, vectors, one), lanes), sn_dim(dims, most));
    nest->sums = most;
    nest->chunk = sn_dim_le(dims, width, chunk) ? NULL : chunk;
}

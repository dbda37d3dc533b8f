/* Columns that a CPU reduces with their sums in memory. */
#ifndef SN_COLUMNS_H
#define SN_COLUMNS_H

#include "kernel.h"

/* Whether rows that are lanes are reduced in one loop, behind which they are only stored. */
bool sn_schedule_folds_columns(const Nest *nest);

/* Chooses nest->sums, and nest->chunk by it; nest->rows is known, and chunk as it would be without. */
void sn_schedule_sums(KernelIr *kernel, Nest *nest);

/* Chooses nest->beside (beside.c) and by it nest->grain, items and chunk, which are as they would be without. */
void sn_schedule_beside(KernelIr *kernel, Nest *nest);

/* Elements of such a window along its last axis, where they are few, neighbouring rows share them, and rows are
 * known to be a multiple of those side by side: they are written one by one. 0: a loop goes over them. */
int sn_schedule_taps(const KernelIr *kernel, const Nest *nest);

/* Vectors of such rows that are reduced side by side. */
int sn_schedule_vectors_beside(const KernelIr *kernel, const Nest *nest);

#endif

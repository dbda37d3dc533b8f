/* Columns that a CPU reduces with their sums in memory. */
#ifndef SN_COLUMNS_H
#define SN_COLUMNS_H

#include "kernel.h"

/* Whether rows that are lanes are reduced in one loop, behind which they are only stored. */
bool sn_schedule_folds_columns(const Nest *nest);

/* Chooses nest->sums, and nest->chunk by it; nest->rows is known, and chunk as it would be without. */
void sn_schedule_sums(KernelIr *kernel, Nest *nest);

#endif

/* Where and how something was measured: what stands in front of every report. */
#ifndef SN_ENVIRONMENT_H
#define SN_ENVIRONMENT_H

#include "peaks.h"
#include "report.h"

/* One row: processor, processors for this process, system, version of Sinter, warm-up and counted runs, load.
 */
Table sn_environment_table(void);
void sn_environment_fill(Arena *arena, Table *table, int warmup, int iters);

/* A row per number of threads: what the machine can do. */
Table sn_peaks_table(void);
void sn_peaks_fill(Arena *arena, Table *table, const Peaks *peaks);

/* The processor's name as the system has it. */
const char *sn_processor_name(Arena *arena);

#endif

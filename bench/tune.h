/* Measures the choices that a tuning file holds, in the model that they are for. */
#ifndef SN_TUNE_H
#define SN_TUNE_H

#include "inputs.h"
#include "report.h"
#include "session.h"

typedef struct TuneRequest {
    const sn_Model *model;              /* not a saved program */
    const Inputs *inputs;               /* whose shapes the choices are for */
    int threads;                        /* 0: as many as the process may use */
    int iters;                          /* runs of a candidate; the quickest of each kernel counts */
    void (*progress)(const char *text); /* may be NULL */
} TuneRequest;

/* A table without rows. */
Table sn_tune_table(void);

/* Every product with packed weights of known sizes is timed as it usually is and in other forms; `tuning` gets an entry
 * where one was quicker by 2 % at least, twice, and loses the one it had where none was. A row of `table` per
 * product says what was measured; launches of equal products count together. */
Status sn_tune(Arena *arena, const TuneRequest *request, Tuning *tuning, Table *table);

#endif

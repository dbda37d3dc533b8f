/* Measures the choices that a tuning file holds, in the model that they are for. */
#ifndef SN_TUNE_H
#define SN_TUNE_H

#include "inputs.h"
#include "report.h"
#include "session.h"
#include "train.h"

typedef struct TuneRequest {
    const sn_Model *model;    /* not a saved program */
    const Training *training; /* the products are those of its training step; NULL: those of the model */
    const Inputs *inputs;     /* whose shapes the choices are for */
    const char *device;       /* NULL: the usual one */
    sn_Precision precision;
    int threads;                        /* 0: as many as the process may use */
    int iters;                          /* runs of a candidate; the quickest of each kernel counts */
    void (*progress)(const char *text); /* may be NULL */
} TuneRequest;

#define SN_TUNE_WORTH 0.98 /* of the usual time: more is noise */

/* A table without rows, for what is measured on a processor or on a GPU. */
Table sn_tune_table(bool gpu);
Table sn_tune_products_table(void);

/* On a processor: every product with packed weights of known sizes is timed as it usually is and in other forms;
 * `tuning` gets an entry where one was quicker by 2 % at least, twice, and loses the one it had where none was. A row
 * of `table` per product says what was measured; launches of equal products count together. */
Status sn_tune(Arena *arena, const TuneRequest *request, Tuning *tuning, Table *table);

/* On a GPU, whose products have a library: the generated kernel of each, with whatever is fused into it, beside the
 * library's proposals with what these leave to be done, each launched alone with cold caches; the same rule. */
Status sn_tune_products(Arena *arena, const TuneRequest *request, Tuning *tuning, Table *table);

#endif

/* What a benchmark of a model is made of: between the measuring (model_bench.c) and the rows (bench_rows.c).
 */
#ifndef SN_BENCH_ROWS_H
#define SN_BENCH_ROWS_H

#include "model_bench.h"

enum { SN_BENCH_MODES = 2 };

/* One mode of the setting at hand. What failed first is its status. */
typedef struct Subject {
    sn_Mode mode;
    sn_Program *program;
    sn_Context *context;
    double *seconds; /* iters */
    Status status;
} Subject;

/* Everything about the setting at hand. */
typedef struct Bench {
    Arena *arena, *scratch; /* of the report; of the setting */
    const BenchRequest *request;
    const char *path;
    const sn_Model *model; /* NULL: it could not be opened */
    const Graph *graph;    /* whose inputs are those of the runs */
    const Phases *phases;  /* of the rows at hand */
    Subject subject[SN_BENCH_MODES];
    BenchResult *result;
    int threads; /* position in request->threads */
    States states;
    Inputs inputs;
    const char *shapes;
} Bench;

const char *sn_bench_mode_name(sn_Mode mode);

void sn_bench_note(const Bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "ids=4x256 mask=4x256": the inputs of the setting at hand. */
const char *sn_bench_shapes(Bench *bench);

/* The rows of the setting at hand, one a mode. */
void sn_bench_add_rows(Bench *bench, const char *phase, const char *autocast);

/* One row that is a failure. */
void sn_bench_add_failure(Bench *bench, sn_Mode mode, const char *phase, const char *autocast,
                          const Status status);

/* The kernels of a context that was profiled for `iters` runs. */
void sn_bench_add_kernels(Bench *bench, const Subject *subject);

#endif

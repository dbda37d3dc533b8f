/* What a benchmark of a model is made of: between the measuring (model_bench.c) and the rows (bench_rows.c).
 */
#ifndef SN_BENCH_ROWS_H
#define SN_BENCH_ROWS_H

#include "model_bench.h"

enum { SN_BENCH_SUBJECTS = 3 };

/* One mode of the setting at hand, or the compiled one under a budget. What failed first is its status. */
typedef struct Subject {
    sn_Mode mode;
    bool limited; /* by the request's budget */
    sn_Program *program;
    sn_Context *context;
    double *seconds; /* iters */
    int64_t grown; /* what the process had more of after the context's first run than before there was one */
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
    sn_Autocast autocast;  /* likewise */
    Subject subject[SN_BENCH_SUBJECTS];
    int subject_count;
    BenchResult *result;
    int threads; /* position in request->threads */
    States states;
    InputRequest wanted; /* of the setting at hand, and its first run's */
    Inputs inputs;
    const char *shapes;
} Bench;

const char *sn_bench_mode_name(sn_Mode mode);

/* What is behind the last slash. */
const char *sn_bench_file_name(const char *path);

void sn_bench_note(const Bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "ids=4x256 mask=4x256": the inputs of the setting at hand; "past.0...past.23=1x12x512x64": three or more neighbours of one
 * shape. */
const char *sn_bench_shapes(Bench *bench);

/* The rows of the setting at hand, one a subject. */
void sn_bench_add_rows(Bench *bench, const char *phase, const char *autocast);

/* One row that is a failure. */
void sn_bench_add_failure(Bench *bench, const Subject *subject, const char *phase, const char *autocast,
                          const Status status);

/* Empty tables of what runs or steps take of memory, and of the largest buffers at their peaks; and rows of both. slower: the
 * median by that of the compiled mode without a budget, 0 where this was not measured. */
Table sn_bench_memory_table(void);
Table sn_bench_buffer_table(void);
void sn_bench_add_memory(Bench *bench, const Subject *subject, double slower);

/* An empty table of kernels, and the rows of a context that was profiled for `iters` runs. */
Table sn_bench_kernel_table(void);
void sn_bench_add_kernels(Bench *bench, const Subject *subject);

/* Those that the setting at hand runs on. */
int sn_bench_threads(const Bench *bench);

#endif

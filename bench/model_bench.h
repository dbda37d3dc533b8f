/* Times models: eager beside compiled, over a sweep of threads and shapes. */
#ifndef SN_MODEL_BENCH_H
#define SN_MODEL_BENCH_H

#include "inputs.h"
#include "peaks.h"
#include "report.h"
#include "session.h"
#include "states.h"
#include "training.h"

/* What is timed of a training step. Forward is what the loss needs; backward is timed behind a forward that is not;
 * with both, and with each alone, the device is idle at the ends; a step is a whole run. */
typedef struct Phases {
    const char *name; /* as the command line spells it */
    Phase first, last;
    bool whole;
} Phases;

typedef struct BenchRequest {
    int mode_count, phase_count, autocast_count, threads_count;
    const sn_Mode *mode;
    const char *const *phase, *const *autocast; /* as the command line spells them */
    const int *threads;                         /* 0: as many as the process may use */
    /* A sweep over shapes: setting s is shape[s], of `shapes_each` entries. */
    int setting_count, shapes_each;
    const ShapeSpec *const *shape;
    int input_count;
    const InputSpec *input;
    LoadOptions load;
    StateSpecs state;
    const Training
        *training; /* the phases are those of a training step; NULL: the one phase is the model's run */
    int steps;     /* >= 1: runs of an iteration that follow one another through the states */
    int warmup, iters;
    const char *device; /* NULL: the usual one */
    const char *tuning; /* a file; NULL: none */
    sn_Precision precision;
    bool no_dropout;
    int64_t memory_limit;
    Budget budget; /* of training: the compiled mode is measured without it and with it */
    bool kernels, memory;
    const char *range; /* of the kernels' rows, as in ProfileQuery; NULL: all */
    /* Per entry of `threads`, NULL where there is none: peaks are measured around every setting too. */
    PeakMeter *const *meter;
    /* What is being done, and what a row's failure or choice was; either may be NULL. */
    void (*progress)(const char *text);
    void (*note)(const char *text);
} BenchRequest;

typedef struct BenchResult {
    Table rows, memory, buffers, kernels;
    int failures; /* rows that are neither ok nor out of memory */
    int good;     /* rows that are ok */
} BenchResult;

/* What a phase's name means; NULL: there is none of that name. */
const Phases *sn_bench_phases(const char *name);

/* SN_UNSUPPORTED for a phase that a saved program does not have: one that was not compiled as a training step is its model's
 * run. */
Status sn_bench_check_phase(const sn_Model *model, const char *phase);

/* One timed run of the phases of a training step; training goes on from run to run. */
Status sn_bench_run_phases(sn_Context *context, const Phases *phases, double *seconds);

/* Gives the inputs of a training step (see sn_training_inputs) a learning rate that changes little, however many
 * steps are timed. */
void sn_bench_set_rate(const Graph *graph, const Inputs *inputs);

/* An empty result. */
BenchResult sn_bench_result(void);

/* Adds the rows of the model at `path`, one per phase, autocast, threads, setting and mode, to `result`, in
 * `arena`. The modes take turns iteration by iteration, so that a slow moment of the machine falls on all of
 * them. What fails is a row whose status says so, and the sweep goes on; only the lack of memory for the
 * report itself fails.
 *
 * Times are seconds of a run from bound inputs to finished outputs; with `steps`, an iteration's by their
 * number. States have their initial values at the first run of every iteration, so that the first step's time
 * is that of the sizes in `shapes`. `tokens_s`: elements of the first input of integers that a second takes.
 * `speedup`: eager's median by this row's, where both were measured. `peak_share`: work that the kernels
 * declare, a second, by the measured peak. `peak_bytes`: constants, setup results and the most that a run
 * took at once. `compile_s`: passes, code generation, compiler and setup. */
void sn_bench_model(Arena *arena, const BenchRequest *request, const char *path, BenchResult *result);

/* When all models are measured: `peak_share` of the rows is formed, by the best that the meters have seen on
 * as many threads. */
void sn_bench_finish(const BenchRequest *request, BenchResult *result);

#endif

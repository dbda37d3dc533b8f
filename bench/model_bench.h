/* Times models: eager beside compiled, over a sweep of threads and shapes. */
#ifndef SN_MODEL_BENCH_H
#define SN_MODEL_BENCH_H

#include "inputs.h"
#include "peaks.h"
#include "report.h"
#include "session.h"

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
    int warmup, iters;
    const char *device; /* NULL: the usual one */
    int64_t memory_limit;
    bool kernels;
    const Peaks *peaks; /* per entry of `threads`; fma 0 where it could not be measured */
    /* What is being done, and what a row's failure or choice was; either may be NULL. */
    void (*progress)(const char *text);
    void (*note)(const char *text);
} BenchRequest;

typedef struct BenchResult {
    Table rows, kernels;
    int failures; /* rows that are neither ok nor out of memory */
    int good;     /* rows that are ok */
} BenchResult;

/* An empty result. */
BenchResult sn_bench_result(void);

/* Adds the rows of the model at `path`, one per phase, autocast, threads, setting and mode, to `result`, in
 * `arena`. The modes take turns iteration by iteration, so that a slow moment of the machine falls on all of
 * them. What fails is a row whose status says so, and the sweep goes on; only the lack of memory for the
 * report itself fails.
 *
 * Times are seconds of a run from bound inputs to finished outputs. `speedup`: eager's median by this row's,
 * where both were measured. `peak_share`: work that the kernels declare, a second, by the measured peak.
 * `peak_bytes`: constants, setup results and the most that a run took at once. `compile_s`: passes, code
 * generation, compiler and setup. */
void sn_bench_model(Arena *arena, const BenchRequest *request, const char *path, BenchResult *result);

#endif

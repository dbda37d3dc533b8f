/* What the kernel benchmarks share: options, participants that take turns, the machine's own peaks measured
 * between the turns, and the tables. A benchmark is a program that reads its options, measures its cases and
 * prints. */
#ifndef SN_KERNEL_HARNESS_H
#define SN_KERNEL_HARNESS_H

#include "peaks.h"
#include "report.h"
#include "session.h"
#include <stdio.h>
#include <sys/types.h>

enum {
    SN_KERNEL_THREADS_MOST = 8,
    SN_KERNEL_SHAPES_MOST = 128,
    SN_KERNEL_RUNNERS_MOST = 4,
    SN_KERNEL_TURNS = 15, /* that count, at most; where a run is long, fewer */
    SN_KERNEL_TURNS_QUICK = 1,
};

/* A process that speaks the protocol of bench/peers/protocol.py. */
typedef struct PeerProcess {
    pid_t process; /* 0: none */
    FILE *to, *from;
} PeerProcess;

typedef struct KernelBench {
    Arena *arena; /* of the report */
    const char *program;

    /* Options. */
    bool quick; /* few shapes, few turns: whether it works, rather than how fast it is */
    bool peers, json;
    bool bf16; /* operands of bf16, held against dot products of these */
    bool hot;  /* one set of data for every run, which the caches may keep */
    int thread_count, threads[SN_KERNEL_THREADS_MOST];
    int shape_count;
    const char *shape[SN_KERNEL_SHAPES_MOST]; /* as given; none: the benchmark's own */
    const char *peer;                         /* a command, or NULL */

    PeakMeter *meter[SN_KERNEL_THREADS_MOST]; /* per entry of `threads` */
    PeerProcess peer_process;
    char folder[64]; /* for model files; removed by sn_kernel_bench_close */
} KernelBench;

/* One who can do the case at hand. run(user, count, seconds): does it `count` times; *seconds in all. */
typedef struct Runner {
    const char *name;
    void *user;
    Status (*run)(void *user, int count, double *seconds);
} Runner;

typedef struct Timing {
    double median, min; /* seconds of one run, of the turns that count */
    double could;       /* FLOPs that the multiply-adds beside a turn had done in a run's time: the median */
    double discarded;   /* the share of the turns that were disturbed */
} Timing;

/* Reads the options; prints a usage and returns false when they are wrong or help is asked for, *code then
 * being what to exit with. `shape_help` is how a shape is written. */
bool sn_kernel_bench_options(KernelBench *bench, int count, char **words, const char *shape_help, int *code);

/* Opens what the options ask for. */
Status sn_kernel_bench_open(KernelBench *bench);
void sn_kernel_bench_close(KernelBench *bench);

/* Times the runners in turns on threads[at] (turns.c). Right before and right after each turn the multiply-adds of
 * the same threads are measured, and what the turn is held against is their mean. A turn is disturbed where the two
 * differ by more than a few per cent, or where a thread was kept from its processor meanwhile; it is taken again, up
 * to a bound. What counts are the undisturbed turns, and where these are less than a fifth, or than three, the least
 * disturbed ones. `memory`: reading is measured between the turns too. *peaks: medians of this case; its `copy` is
 * not measured. */
Status sn_kernel_measure(KernelBench *bench, int at, bool memory, const Runner *runner, int count,
                         Timing *timing, Peaks *peaks);

/* A case for the peer's process: a line that it answers with `ok`; and its turns, `user` being the
 * KernelBench. */
Status sn_kernel_peer_case(KernelBench *bench, const char *line);
Status sn_kernel_peer_run(void *user, int count, double *seconds);

/* Opens a model that `writer` holds, by way of a file in the benchmark's folder. */
struct Writer;
Status sn_kernel_model(KernelBench *bench, struct Writer *writer, sn_Model **out);

/* Prints the environment, the peaks and the tables, as Markdown or JSON. */
Status sn_kernel_bench_print(KernelBench *bench, const Table *const *table, int count);

/* `count` elements, uniform around 0 with deviation 1; from the C library's allocator, aligned to 64. NULL
 * without memory. */
float *sn_kernel_random(int64_t count, uint64_t seed);

#endif

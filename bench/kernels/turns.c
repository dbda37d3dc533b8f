/* Measuring: participants take turns, each between two measurements of what the same threads can do at most. */
#include "absence.h"
#include "clock.h"
#include "harness.h"
#include "stats.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>

static const double turn_seconds = 0.010; /* a turn is at least as long: the clock and the start are noise */
static const double case_seconds = 1.5;   /* a participant's turns of one case, in all */
static const double peaks_differ =
    0.03;                               /* of the greater one: then the machine was not the same throughout */
static const double absent_most = 0.01; /* of the time from the first peak to the second */

enum {
    TURNS_LEAST = 3,
    TRIES = 4, /* times the turns that are wanted */
    TRIES_MOST = SN_KERNEL_TURNS * TRIES,
    FEWEST = 5, /* one turn in so many is taken, even where fewer were undisturbed */
    PAUSE_NANOSECONDS = 4000000
};

typedef struct Turn {
    double each, could; /* as in Timing */
    double disturbance; /* what differs, or was absent, by what may; at most 1: undisturbed */
} Turn;

/* The turns of one participant. */
typedef struct Turns {
    int runs; /* in a turn */
    int count, clean;
    Turn turn[TRIES_MOST];
} Turns;

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NANOSECONDS}, NULL);
}

/* How often in a turn, and how many turns, from what one run takes. */
static void plan_turns(const KernelBench *bench, double seconds, int *runs, int *turns) {
    double each = seconds > 1e-7 ? seconds : 1e-7;
    *runs = each >= turn_seconds ? 1 : (int)(turn_seconds / each) + 1;
    double fit = case_seconds / (each * (*runs + 1));
    *turns = fit < TURNS_LEAST ? TURNS_LEAST : fit > SN_KERNEL_TURNS ? SN_KERNEL_TURNS : (int)fit;
    if (bench->quick) *turns = SN_KERNEL_TURNS_QUICK;
}

/* One turn. Where runs are short there is one before them that is not counted, since the others have emptied the
 * caches and threads have to wake. */
static Status take_turn(PeakMeter *meter, const Runner *runner, Turns *turns, double *peak) {
    double seconds, before, after;
    rest();
    double absent = sn_absence(), start = sn_clock();
    TRY(sn_peak_meter_fma(meter, &before));
    if (turns->runs > 1) TRY(runner->run(runner->user, 1, &seconds));
    TRY(runner->run(runner->user, turns->runs, &seconds));
    TRY(sn_peak_meter_fma(meter, &after));
    double length = sn_clock() - start, differ = fabs(before - after) / fmax(before, after);
    absent = (sn_absence() - absent) / length;
    *peak = 0.5 * (before + after);
    Turn *turn = &turns->turn[turns->count++];
    *turn = (Turn){.each = seconds / turns->runs,
                   .could = seconds / turns->runs * *peak,
                   .disturbance = fmax(differ / peaks_differ, absent / absent_most)};
    turns->clean += turn->disturbance <= 1;
    return NULL;
}

static int by_disturbance(const void *a, const void *b) {
    double x = ((const Turn *)a)->disturbance, y = ((const Turn *)b)->disturbance;
    return x < y ? -1 : x > y;
}

/* Of the undisturbed turns, or of the least disturbed ones where these are few. */
static Timing timing_of(Turns *turns) {
    double each[TRIES_MOST], could[TRIES_MOST];
    int count = turns->count, least = count / FEWEST;
    if (least < TURNS_LEAST) least = count < TURNS_LEAST ? count : TURNS_LEAST;
    int taken = turns->clean > least ? turns->clean : least;
    qsort(turns->turn, (size_t)count, sizeof *turns->turn, by_disturbance);
    for (int i = 0; i < taken; i++) each[i] = turns->turn[i].each, could[i] = turns->turn[i].could;
    Stats stats = sn_stats(each, taken);
    return (Timing){.median = stats.median,
                    .min = stats.min,
                    .could = sn_stats(could, taken).median,
                    .discarded = (double)(count - turns->clean) / count};
}

/* Two runs that are not counted, and what they tell. */
static Status prepare(const KernelBench *bench, const Runner *runner, Turns *turns, int *wanted) {
    double seconds;
    int count;
    TRY(runner->run(runner->user, 1, &seconds));
    TRY(runner->run(runner->user, 1, &seconds));
    turns->count = turns->clean = 0;
    plan_turns(bench, seconds, &turns->runs, &count);
    if (count < *wanted) *wanted = count;
    return NULL;
}

Status sn_kernel_measure(KernelBench *bench, int at, bool memory, const Runner *runner, int count,
                         Timing *timing, Peaks *peaks) {
    Turns turns[SN_KERNEL_RUNNERS_MOST];
    double fma[TRIES_MOST], read[TRIES_MOST];
    int wanted = SN_KERNEL_TURNS, most, least = 0, turn = 0;
    *peaks = (Peaks){.threads = bench->threads[at]};
    for (int i = 0; i < count; i++) TRY(prepare(bench, &runner[i], &turns[i], &wanted));
    most = bench->quick ? wanted : TRIES * wanted;
    for (; least < wanted && turn < most; turn++) {
        if (memory) TRY(sn_peak_meter_memory(bench->meter[at], false, &read[turn]));
        least = turn + 1;
        for (int k = 0; k < count; k++) {
            int i = turn % 2 ? count - 1 - k : k;
            TRY(take_turn(bench->meter[at], &runner[i], &turns[i], &fma[turn]));
            if (turns[i].clean < least) least = turns[i].clean;
        }
    }
    peaks->fma = sn_stats(fma, turn).median;
    if (memory) peaks->read = sn_stats(read, turn).median;
    for (int i = 0; i < count; i++) timing[i] = timing_of(&turns[i]);
    return NULL;
}

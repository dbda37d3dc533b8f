/* Measuring: participants take turns, each between two measurements of what the same threads can do at most. */
#include "absence.h"
#include "clock.h"
#include "harness.h"
#include "stats.h"
#include <math.h>
#include <time.h>

static const double turn_seconds = 0.010; /* a turn is at least as long: the clock and the start are noise */
static const double case_seconds = 1.5;   /* a participant's turns of one case, in all */
static const double long_seconds = 0.1;   /* a run of this length needs none before it that is not counted */
static const double peaks_differ =
    0.03;                               /* of the greater one: then the machine was not the same throughout */
static const double absent_most = 0.01; /* of the time from the first peak to the second */

enum { TURNS_LEAST = 3, TRIES = 4, TRIES_MOST = SN_KERNEL_TURNS * TRIES, PAUSE_NANOSECONDS = 4000000 };

/* The turns of one participant. */
typedef struct Turns {
    double usual;     /* seconds of a run, roughly */
    int runs;         /* in a turn */
    int count, clean; /* turns so far; `each` and `could` have the clean ones in front */
    double each[TRIES_MOST], could[TRIES_MOST];
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

static void add_turn(Turns *turns, double each, double could, bool clean) {
    int at = turns->count++;
    if (clean) {
        turns->each[at] = turns->each[turns->clean];
        turns->could[at] = turns->could[turns->clean];
        at = turns->clean++;
    }
    turns->each[at] = each;
    turns->could[at] = could;
}

/* One turn: a run that is not counted, since the others have emptied the caches and slowed the clock, then the timed
 * ones between their peaks. */
static Status take_turn(PeakMeter *meter, const Runner *runner, Turns *turns, double *peak) {
    double seconds, before, after;
    rest();
    if (turns->usual < long_seconds) TRY(runner->run(runner->user, 1, &seconds));
    double absent = sn_absence(), start = sn_clock();
    TRY(sn_peak_meter_fma(meter, &before));
    TRY(runner->run(runner->user, turns->runs, &seconds));
    TRY(sn_peak_meter_fma(meter, &after));
    double length = sn_clock() - start;
    bool clean = fabs(before - after) <= peaks_differ * fmax(before, after) &&
                 sn_absence() - absent <= absent_most * length;
    *peak = 0.5 * (before + after);
    add_turn(turns, seconds / turns->runs, seconds / turns->runs * *peak, clean);
    return NULL;
}

static Timing timing_of(Turns *turns) {
    Timing timing = {.discarded = (double)(turns->count - turns->clean) / turns->count};
    if (turns->clean < TURNS_LEAST && turns->clean < turns->count) {
        turns->clean = turns->count;
        timing.discarded = 1;
    }
    Stats each = sn_stats(turns->each, turns->clean);
    timing.median = each.median, timing.min = each.min;
    timing.could = sn_stats(turns->could, turns->clean).median;
    return timing;
}

/* Two runs that are not counted, and what they tell. */
static Status prepare(const KernelBench *bench, const Runner *runner, Turns *turns, int *wanted) {
    double seconds;
    int count;
    TRY(runner->run(runner->user, 1, &seconds));
    TRY(runner->run(runner->user, 1, &seconds));
    *turns = (Turns){.usual = seconds};
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

/* The time of each kernel of a context that was profiled. */
#include "bench_rows.h"
#include "stats.h"
#include "text_parts.h"

typedef enum KernelColumn {
    KERNEL_MODEL,
    KERNEL_MODE,
    KERNEL_AUTOCAST,
    KERNEL_THREADS,
    KERNEL_SHAPES,
    KERNEL_PHASE,
    KERNEL_SHARE,
    KERNEL_FLOP_SHARE,
    KERNEL_SECONDS,
    KERNEL_CALLS,
    KERNEL_MEAN,
    KERNEL_MEDIAN,
    KERNEL_MIN,
    KERNEL_MAX,
    KERNEL_STD,
    KERNEL_BYTES_RATE,
    KERNEL_FLOP_RATE,
    KERNEL_BYTES,
    KERNEL_LAUNCHES,
    KERNEL_WHAT,
    KERNEL_ORIGIN,
    KERNEL_NAME,
    KERNEL_COLUMNS
} KernelColumn;

static const Column columns[KERNEL_COLUMNS] = {
    [KERNEL_MODEL] = {"model", "model", SN_CELL_TEXT},
    [KERNEL_MODE] = {"mode", "mode", SN_CELL_TEXT},
    [KERNEL_AUTOCAST] = {"autocast", "autocast", SN_CELL_TEXT},
    [KERNEL_THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [KERNEL_SHAPES] = {"shapes", "shapes", SN_CELL_TEXT},
    [KERNEL_PHASE] = {"phase", "phase", SN_CELL_TEXT},
    [KERNEL_SHARE] = {"share", "time", SN_CELL_SHARE},
    [KERNEL_FLOP_SHARE] = {"flop_share", "of the FLOP", SN_CELL_SHARE},
    [KERNEL_SECONDS] = {"seconds", "a run", SN_CELL_SECONDS},
    [KERNEL_CALLS] = {"calls", "calls", SN_CELL_COUNT},
    [KERNEL_MEAN] = {"mean_s", "mean", SN_CELL_SECONDS},
    [KERNEL_MEDIAN] = {"median_s", "median", SN_CELL_SECONDS},
    [KERNEL_MIN] = {"min_s", "min", SN_CELL_SECONDS},
    [KERNEL_MAX] = {"max_s", "max", SN_CELL_SECONDS},
    [KERNEL_STD] = {"std_s", "std", SN_CELL_SECONDS},
    [KERNEL_BYTES_RATE] = {"bytes_rate", "bytes", SN_CELL_RATE},
    [KERNEL_FLOP_RATE] = {"flop_rate", "FLOP", SN_CELL_RATE},
    [KERNEL_BYTES] = {"bytes", "moved", SN_CELL_BYTES},
    [KERNEL_LAUNCHES] = {"launches", "launches", SN_CELL_COUNT},
    [KERNEL_WHAT] = {"summary", "what", SN_CELL_TEXT},
    [KERNEL_ORIGIN] = {"origin", "first of", SN_CELL_TEXT},
    [KERNEL_NAME] = {"kernel", "kernel", SN_CELL_TEXT},
};

Table sn_bench_kernel_table(void) {
    return (Table){
        .name = "kernels", .column = columns, .column_count = KERNEL_COLUMNS, .labels = KERNEL_SHARE};
}

static void fill(Cell *row, const LaunchTime *time, int runs) {
    Stats stats = sn_stats(time->each, (int)time->calls);
    row[KERNEL_SECONDS] = sn_cell_number(time->seconds / runs);
    row[KERNEL_CALLS] = sn_cell_number((double)time->calls);
    row[KERNEL_MEAN] = sn_cell_number(stats.mean);
    row[KERNEL_MEDIAN] = sn_cell_number(stats.median);
    row[KERNEL_MIN] = sn_cell_number(stats.min);
    row[KERNEL_MAX] = sn_cell_number(stats.max);
    row[KERNEL_STD] = sn_cell_number(stats.std);
    if (time->bytes >= 0) {
        row[KERNEL_BYTES] = sn_cell_number(time->bytes / runs);
        row[KERNEL_BYTES_RATE] = sn_cell_number(time->bytes / time->seconds);
    }
    if (time->flops >= 0) row[KERNEL_FLOP_RATE] = sn_cell_number(time->flops / time->seconds);
}

/* What the rows of a range are of the whole run, which no row says. */
static void note_range(Bench *bench, const ProfileRow *row, int count) {
    double time = 0, flops = 0;
    for (int i = 0; i < count; i++) {
        time += row[i].share;
        flops = row[i].flop_share < 0 || flops < 0 ? -1 : flops + row[i].flop_share;
    }
    const char *work = flops < 0 ? "" : sn_arena_printf(bench->scratch, ", %.1f %% of the FLOP", 100 * flops);
    sn_bench_note(bench, "%s: %s takes %.1f %% of the kernels' time%s", bench->path, bench->request->range,
                  100 * time, work);
}

void sn_bench_add_kernels(Bench *bench, const Subject *subject) {
    Arena *arena = bench->arena;
    const Profile *profile = sn_context_profile(subject->context);
    const ProfileQuery query = {.by_kernel = true, .range = bench->request->range};
    int count;
    const ProfileRow *rows = sn_profile_rows(arena, profile, &query, &count);
    for (int i = 0; i < count; i++) {
        const PlanLaunch *launch = &profile->plan->launch[rows[i].launch];
        Cell *row = sn_table_row(arena, &bench->result->kernels);
        row[KERNEL_MODEL] = sn_cell_text(arena, sn_bench_file_name(bench->path));
        row[KERNEL_MODE] = sn_cell_text(arena, sn_bench_mode_name(subject->mode));
        row[KERNEL_AUTOCAST] = sn_cell_text(arena, sn_autocast_name(bench->autocast));
        row[KERNEL_THREADS] = sn_cell_number(sn_bench_threads(bench));
        row[KERNEL_SHAPES] = sn_cell_text(arena, bench->shapes);
        row[KERNEL_PHASE] = sn_cell_text(arena, sn_phase_word[rows[i].phase]);
        row[KERNEL_SHARE] = sn_cell_number(rows[i].share);
        if (rows[i].flop_share >= 0) row[KERNEL_FLOP_SHARE] = sn_cell_number(rows[i].flop_share);
        row[KERNEL_LAUNCHES] = sn_cell_number(rows[i].launches);
        row[KERNEL_WHAT] = sn_cell_text(arena, launch->summary);
        row[KERNEL_ORIGIN] = sn_cell_text(arena, rows[i].origin);
        row[KERNEL_NAME] = sn_cell_text(arena, profile->plan->kernel[launch->unique]->name);
        fill(row, &rows[i].time, bench->request->iters);
    }
    if (query.range) note_range(bench, rows, count);
}

#include "bench_rows.h"
#include "stats.h"

typedef enum RowColumn {
    ROW_MODEL,
    ROW_MODE,
    ROW_PHASE,
    ROW_AUTOCAST,
    ROW_DEVICE,
    ROW_THREADS,
    ROW_BATCH,
    ROW_CONTEXT,
    ROW_SHAPES,
    ROW_STATUS,
    ROW_LABELS,
    ROW_MEAN = ROW_LABELS,
    ROW_STD,
    ROW_MEDIAN,
    ROW_MIN,
    ROW_MAX,
    ROW_P90,
    ROW_P99,
    ROW_TOKENS,
    ROW_SPEEDUP,
    ROW_PEAK_SHARE,
    ROW_PEAK_BYTES,
    ROW_BUDGET,
    ROW_LAUNCHES,
    ROW_COMPILE,
    ROW_HOST,
    ROW_UPLOAD,
    ROW_ON_DEVICE,
    ROW_COLUMNS
} RowColumn;

static const Column row_columns[ROW_COLUMNS] = {
    [ROW_MODEL] = {"model", "model", SN_CELL_TEXT},
    [ROW_MODE] = {"mode", "mode", SN_CELL_TEXT},
    [ROW_PHASE] = {"phase", "phase", SN_CELL_TEXT},
    [ROW_AUTOCAST] = {"autocast", "autocast", SN_CELL_TEXT},
    [ROW_DEVICE] = {"device", "device", SN_CELL_TEXT},
    [ROW_THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [ROW_BATCH] = {"batch", "batch", SN_CELL_COUNT},
    [ROW_CONTEXT] = {"context", "context", SN_CELL_COUNT},
    [ROW_SHAPES] = {"shapes", "shapes", SN_CELL_TEXT},
    [ROW_STATUS] = {"status", "status", SN_CELL_TEXT},
    [ROW_MEAN] = {"mean_s", "mean", SN_CELL_SECONDS},
    [ROW_STD] = {"std_s", "std", SN_CELL_SECONDS},
    [ROW_MEDIAN] = {"median_s", "median", SN_CELL_SECONDS},
    [ROW_MIN] = {"min_s", "min", SN_CELL_SECONDS},
    [ROW_MAX] = {"max_s", "max", SN_CELL_SECONDS},
    [ROW_P90] = {"p90_s", "p90", SN_CELL_SECONDS},
    [ROW_P99] = {"p99_s", "p99", SN_CELL_SECONDS},
    [ROW_TOKENS] = {"tokens_s", "tokens/s", SN_CELL_NUMBER},
    [ROW_SPEEDUP] = {"speedup", "speed-up", SN_CELL_RATIO},
    [ROW_PEAK_SHARE] = {"peak_share", "of peak", SN_CELL_SHARE},
    [ROW_PEAK_BYTES] = {"peak_bytes", "peak memory", SN_CELL_BYTES},
    [ROW_BUDGET] = {"memory_budget", "memory budget", SN_CELL_TEXT},
    [ROW_LAUNCHES] = {"launches", "launches", SN_CELL_COUNT},
    [ROW_COMPILE] = {"compile_s", "compile", SN_CELL_SECONDS},
    [ROW_HOST] = {"host_s", "host", SN_CELL_SECONDS},
    [ROW_UPLOAD] = {"upload_s", "upload", SN_CELL_SECONDS},
    [ROW_ON_DEVICE] = {"device_s", "waiting for the device", SN_CELL_SECONDS},
};

BenchResult sn_bench_result(void) {
    return (BenchResult){
        .rows = {.name = "rows", .column = row_columns, .column_count = ROW_COLUMNS, .labels = ROW_LABELS},
        .memory = sn_bench_memory_table(),
        .buffers = sn_bench_buffer_table(),
        .kernels = sn_bench_kernel_table(),
    };
}

/* ---- rows ---- */

/* Batch and context are the first two extents of the first input of integers; their product, *tokens. */
static void fill_sizes(const Bench *bench, Cell *row, double *tokens) {
    *tokens = 0;
    for (int i = 0; i < bench->inputs.count; i++) {
        const sn_Tensor *tensor = &bench->inputs.tensor[i];
        DType dtype;
        if (!sn_dtype_from_onnx(tensor->element_type, &dtype) || !sn_dtype_is_int(dtype) || tensor->rank < 1)
            continue;
        row[ROW_BATCH] = sn_cell_number((double)tensor->extent[0]);
        if (tensor->rank < 2) return;
        row[ROW_CONTEXT] = sn_cell_number((double)tensor->extent[1]);
        *tokens = (double)tensor->extent[0] * (double)tensor->extent[1];
        return;
    }
}

static Cell *new_row(Bench *bench, const Subject *subject, const char *phase, const char *autocast) {
    Arena *arena = bench->arena;
    Cell *row = sn_table_row(arena, &bench->result->rows);
    row[ROW_MODEL] = sn_cell_text(arena, sn_bench_file_name(bench->path));
    row[ROW_MODE] = sn_cell_text(arena, sn_bench_mode_name(subject->mode));
    row[ROW_PHASE] = sn_cell_text(arena, phase);
    row[ROW_AUTOCAST] = sn_cell_text(arena, autocast);
    if (subject->limited)
        row[ROW_BUDGET] = sn_cell_text(arena, sn_budget_text(arena, &bench->request->budget));
    row[ROW_DEVICE] = sn_cell_text(arena, bench->request->device ? bench->request->device : "cpu");
    row[ROW_THREADS] = sn_cell_number(sn_bench_threads(bench));
    if (!bench->shapes) return row;
    row[ROW_SHAPES] = sn_cell_text(arena, bench->shapes);
    double tokens;
    fill_sizes(bench, row, &tokens);
    return row;
}

static void fill_failure(Bench *bench, Cell *row, const Status status) {
    sn_Code code = sn_error_code(status);
    const char *word = code == SN_NO_MEMORY ? "OOM" : code == SN_UNSUPPORTED ? "unsupported" : "failed";
    row[ROW_STATUS] = sn_cell_text(bench->arena, word);
    if (code != SN_NO_MEMORY) bench->result->failures++;
    sn_bench_note(bench, "%s, %s: %s", bench->path, row[ROW_MODE].text, sn_error_message(status));
}

/* Of the last run: what a device of its own leaves to the host. */
static void fill_parts(Cell *row, const Subject *subject) {
    if (sn_program_plan(subject->program)->target->kind == SN_TARGET_CPU) return;
    RunTime time = sn_context_time(subject->context);
    row[ROW_HOST] = sn_cell_number(time.host);
    row[ROW_UPLOAD] = sn_cell_number(time.upload);
    row[ROW_ON_DEVICE] = sn_cell_number(time.device);
}

static void fill_times(Bench *bench, Cell *row, const Subject *subject, const Stats *stats) {
    const Plan *plan = sn_program_plan(subject->program);
    const Ledger *ledger = sn_program_ledger(subject->program);
    bench->result->good++;
    row[ROW_STATUS] = sn_cell_text(bench->arena, "ok");
    row[ROW_MEAN] = sn_cell_number(stats->mean);
    row[ROW_STD] = sn_cell_number(stats->std);
    row[ROW_MEDIAN] = sn_cell_number(stats->median);
    row[ROW_MIN] = sn_cell_number(stats->min);
    row[ROW_MAX] = sn_cell_number(stats->max);
    /* Of fewer runs they would be the longest one's. */
    if (bench->request->iters >= 10) row[ROW_P90] = sn_cell_number(stats->p90);
    if (bench->request->iters >= 100) row[ROW_P99] = sn_cell_number(stats->p99);
    row[ROW_PEAK_BYTES] = sn_cell_number((double)sn_context_peak_bytes(subject->context) +
                                         (double)sn_program_constant_bytes(subject->program));
    row[ROW_LAUNCHES] = sn_cell_number(sn_plan_run_launches(plan));
    row[ROW_COMPILE] = sn_cell_number(ledger->passes + ledger->codegen + ledger->setup +
                                      ledger->kernels.compiler + ledger->kernels.link + ledger->kernels.load);
    fill_parts(row, subject);
    double tokens;
    fill_sizes(bench, row, &tokens);
    if (tokens > 0 && stats->median > 0) row[ROW_TOKENS] = sn_cell_number(tokens / stats->median);
    if (bench->request->steps > 1) return; /* of different sizes, with as many amounts of work */
    if (bench->request->training && !bench->phases->whole) return; /* a part of the work */
    double flops = sn_context_flops(subject->context);
    if (flops >= 0) row[ROW_PEAK_SHARE] = sn_cell_number(flops / stats->median); /* see sn_bench_finish */
}

void sn_bench_add_rows(Bench *bench, const char *phase, const char *autocast) {
    Stats stats[SN_BENCH_SUBJECTS] = {{0}};
    double eager = 0, compiled = 0;
    for (int m = 0; m < bench->subject_count; m++) {
        const Subject *subject = &bench->subject[m];
        if (subject->status) continue;
        stats[m] = sn_stats(subject->seconds, bench->request->iters);
        if (subject->mode == SN_EAGER) eager = stats[m].median;
        if (subject->mode == SN_COMPILED && !subject->limited) compiled = stats[m].median;
    }
    for (int m = 0; m < bench->subject_count; m++) {
        const Subject *subject = &bench->subject[m];
        Cell *row = new_row(bench, subject, phase, autocast);
        if (subject->status)
            fill_failure(bench, row, subject->status);
        else
            fill_times(bench, row, subject, &stats[m]);
        bool both = bench->request->mode_count > 1 && eager > 0 && stats[m].median > 0;
        if (both) row[ROW_SPEEDUP] = sn_cell_number(eager / stats[m].median);
        bool whole = !bench->request->training || bench->phases->whole;
        if (bench->request->memory && whole && !subject->status)
            sn_bench_add_memory(bench, subject, compiled > 0 ? stats[m].median / compiled : 0);
    }
}

void sn_bench_finish(const BenchRequest *request, BenchResult *result) {
    for (int i = 0; i < result->rows.row.count; i++) {
        Cell *row = result->rows.row.at[i];
        double peak = 0;
        for (int k = 0; k < request->threads_count; k++) {
            const Peaks *best = request->meter[k] ? sn_peak_meter_best(request->meter[k]) : NULL;
            if (best && best->threads == (int)row[ROW_THREADS].number && best->fma > peak) peak = best->fma;
        }
        row[ROW_PEAK_SHARE].set = row[ROW_PEAK_SHARE].set && peak > 0;
        if (row[ROW_PEAK_SHARE].set) row[ROW_PEAK_SHARE].number /= peak;
    }
}

void sn_bench_add_failure(Bench *bench, const Subject *subject, const char *phase, const char *autocast,
                          const Status status) {
    fill_failure(bench, new_row(bench, subject, phase, autocast), status);
}

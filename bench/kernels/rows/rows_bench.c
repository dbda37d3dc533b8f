/* Kernels that memory bounds, each as a graph of its own: bytes read and written per second, beside the best of our
 * own non-temporal copies, of our own loops that only read, and of those that read and write in the kernel's
 * proportion, which take turns with the runs of that very kernel.
 *
 * The roofline of a kernel is the longer of two times. Memory's: what it reads and writes, at the best rate of that
 * proportion or as a copy of the lesser of them beside a loop that only reads, whichever is quicker; and at the rate
 * of reading what it must read twice because no second-level cache holds a row of it. Arithmetic's: what the same
 * kernel takes for a part of the data that the second-level caches hold. Some kernels ask for data in an order that
 * costs more than that; then a loop that copies in this order is memory's time: of rows of a table that are read at
 * random a copy of such rows, from as large a table, with rows of a small one added where the kernel does; of
 * transpositions one of the same lines in bands, without exchanging elements; of rows that do not fit the first-level
 * cache and are gone over twice one that stores each while it reads the next one, from the second-level cache.
 *
 *   rows_bench [-m MEGABYTES] [-t THREADS] [-n RUNS] [-k PART_OF_A_NAME] [-p BYTES] [-j] [-s]
 *
 * With -p stores go past the caches in kernels that write at least so many bytes (0: never). With -j the tables
 * are JSON. With -s the kernels are shown instead of run. */
#include "clock.h"
#include "context.h"
#include "cpu/cpu.h"
#include "cpu/rates.h"
#include "environment.h"
#include "guard.h"
#include "number.h"
#include "peaks.h"
#include "rows_cases.h"
#include "session.h"
#include "text_form.h"
#include "training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Options {
    int64_t bytes;
    int64_t stream; /* bytes written from which on stores go past the caches; -1: the target's */
    int threads, runs;
    bool show, json;
    const char *part;
} Options;

typedef struct Bench {
    const Options *options;
    const RowsCase *rows;
    PeakMeter *meter;
    Arena *arena;
    sn_Program *program;
    sn_Context *context;
    Device *device; /* whose memory the inputs are in */
    Module *evict;  /* SN_RATE_EVICT alone */
    void *input[8];
    int64_t input_bytes[8];
    int input_count;
    double read, written; /* bytes per run */
    double seconds;       /* of the best run */
    double copy, reading; /* bytes a second, of the best copy and the best reading loop between the runs */
    double mix;           /* of the best loop that reads and writes in the proportion of the kernel */
    double near;          /* seconds that a run would take if the caches held the data; 0: not measured */
} Bench;

/* Appends AdamW's update of one parameter, of which the graph's only input is the gradient; states come last. */
static Status append_update(Graph *graph, int64_t count) {
    Training training = sn_training_default();
    Value *gradient = graph->body->param.at[0];
    int64_t *extent = SN_ARRAY(graph->arena, int64_t, 1);
    Tensor *zero = SN_NEW(graph->arena, Tensor);
    *extent = count;
    *zero =
        (Tensor){.dtype = SN_F32, .rank = 1, .extent = extent, .count = count, .payload = SN_PAYLOAD_RECIPE};
    Value *parameter = sn_state_add(graph, "parameter", gradient->type, zero);
    TRY(sn_optimizer_append(graph, &training, NULL, NULL, 1, &parameter, &gradient));
    enum { VISIBLE = 2 }; /* the gradient and the learning rate, which the first state precedes */
    int states = graph->states.count, *order = SN_ARRAY(graph->arena, int, VISIBLE + states),
        *result = SN_ARRAY(graph->arena, int, states);
    order[1] = VISIBLE;
    for (int i = 0; i < states; i++) {
        GraphState *state = &graph->states.at[i];
        order[VISIBLE + i] = state->input;
        result[i] = state->result;
        state->input = VISIBLE + i;
        state->result = i;
    }
    sn_graph_arrange(graph, VISIBLE + states, order, states, result);
    return NULL;
}

static int64_t size_of(const Bench *b) {
    int64_t n = b->options->bytes / b->rows->row_bytes;
    if (b->rows->multiple) n -= n % b->rows->multiple;
    return n > 0 ? n : 1;
}

static Status compile(Bench *b) {
    const char *text =
        b->rows->body
            ? sn_arena_printf(b->arena, "graph \"rows\" stage imported\n%s", b->rows->body)
            : sn_arena_printf(b->arena, "graph \"rows\" stage imported\ninput %%0 \"gradient\": f32[%lld]\n",
                              (long long)size_of(b));
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    TRY(sn_program_open(b->arena, "cpu", b->options->threads, NULL, &b->program));
    b->device = b->program->device;
    if (b->options->stream >= 0) b->device->target.stream_bytes = b->options->stream;
    TRY(sn_graph_parse(b->arena, text, strlen(text), &graph));
    if (!b->rows->body) TRY(append_update(graph, size_of(b)));
    TRY(sn_compile_plan(b->arena, graph, &b->device->target, NULL, NULL, &ledger, &plan));
    TRY(sn_program_load(b->program, plan));
    return sn_context_new(b->program, NULL, &b->context);
}

/* Random values that repeat every PERIOD of them. */
static void fill(char *at, DType dtype, int64_t count, int64_t index_most) {
    enum { PERIOD = 1 << 16 };
    int64_t bytes = sn_dtype_bytes(dtype), first = count < PERIOD ? count : PERIOD;
    for (int64_t i = 0; i < first; i++) {
        double u = sn_random_uniform(1, (uint64_t)i);
        if (sn_dtype_is_float(dtype))
            sn_element_set(dtype, at, i, 4 * u - 2);
        else
            sn_element_set_int(dtype, at, i, (int64_t)(u * (double)index_most));
    }
    for (int64_t i = first; i < count; i += first)
        memcpy(at + i * bytes, at, (size_t)((count - i < first ? count - i : first) * bytes));
}

/* Gives input `k` the shape that it has with the symbol at n; memory, when it comes first. */
static Status set_input(Bench *b, const Graph *graph, int k, int64_t n) {
    const Value *value = graph->body->param.at[k];
    int64_t extent[SN_MAX_RANK], count = 1;
    for (int i = 0; i < value->type.rank; i++) {
        TRY(sn_dim_eval(value->type.dim[i], &n, NULL, &extent[i]));
        count *= extent[i];
    }
    if (k == b->input_count) {
        b->input_bytes[k] = count * sn_dtype_bytes(value->type.dtype);
        TRY(b->device->ops->alloc(b->device, b->input_bytes[k], &b->input[k]));
        b->input_count = k + 1;
        fill(b->input[k], value->type.dtype, count, b->rows->index_most);
    }
    sn_Tensor tensor = {sn_dtype_onnx(value->type.dtype), value->type.rank, extent, b->input[k]};
    return sn_context_set_input(b->context, k, &tensor);
}

static Status set_inputs(Bench *b, int64_t n) {
    const Graph *graph = b->program->plan->graph;
    for (int k = 0; k < graph->body->param.count - graph->states.count; k++) TRY(set_input(b, graph, k, n));
    return NULL;
}

static Status count_bytes(Bench *b) {
    const Plan *plan = b->program->plan;
    double read = 0, written = 0;
    b->read = 16.0 * (double)size_of(b); /* gradient, parameter and both moments */
    b->written = 12.0 * (double)size_of(b);
    if (!b->rows->body) return NULL;
    for (int k = 0; k < b->input_count; k++)
        if (k + 1 != b->rows->table) read += (double)b->input_bytes[k];
    for (int k = 0; k < plan->output_count; k++) {
        sn_Tensor out;
        TRY(sn_context_output(b->context, k, &out));
        double bytes = (double)sn_dtype_bytes(plan->value[plan->output[k].value].type.dtype);
        for (int i = 0; i < out.rank; i++) bytes *= (double)out.extent[i];
        written += bytes;
    }
    b->read = read + (b->rows->table ? written : 0);
    b->written = written;
    return NULL;
}

/* The best of a few dozen runs with the symbol at n. */
static Status best_of_small(Bench *b, int64_t n, double *seconds) {
    enum { RUNS = 40 };
    TRY(set_inputs(b, n));
    for (int i = 0; i <= RUNS; i++) {
        double start = sn_clock();
        TRY(sn_context_run(b->context));
        double now = sn_clock() - start;
        if (i <= 1 || now < *seconds) *seconds = now;
    }
    return NULL;
}

/* On one thread: the least time of all of it that the time of as much as a second-level cache holds, or of a half or a
 * quarter of it, tells, where that is not less than a row. */
static Status measure_near(void *argument) {
    Bench *b = argument;
    TRY(compile(b));
    TRY(set_inputs(b, size_of(b)));
    const int64_t near = b->device->target.l2_bytes / 4 * 3; /* bytes read and written by a thread */
    int64_t all = size_of(b), step = b->rows->multiple ? b->rows->multiple : 1;
    int64_t each = (int64_t)((b->read + b->written) / (double)all);
    if (step * each > near) return NULL;
    for (int part = 1; part <= 4; part *= 2) {
        int64_t n = near / part / each / step * step;
        double seconds = 0;
        n = n < step ? step : n < all ? n : all;
        TRY(best_of_small(b, n, &seconds));
        seconds *= (double)all / (double)n;
        if (part == 1 || seconds < b->near) b->near = seconds;
    }
    return NULL;
}

static Status show(Bench *b) {
    Text text = sn_text(b->arena);
    sn_plan_print_kernels(&text, b->program->plan);
    return puts(sn_text_string(&text)) < 0 ? sn_fail(SN_IO, "the output cannot be written") : NULL;
}

/* Of SN_PEAK_MIX parts of what is read and written: those that are written. */
static int written_parts(const Bench *b) {
    return (int)(SN_PEAK_MIX * b->written / (b->read + b->written) + 0.5);
}

/* Whether a loop of its own tells what memory takes for the order in which the kernel goes over data. */
static bool has_order(const RowsCase *rows) {
    return rows->table_bytes || rows->columns || rows->again == ROWS_READ_AGAIN || rows->again == ROWS_KEPT;
}

static Status measure_order(const Bench *b, int written, double *rate) {
    enum { PIECE = 256 }; /* of which the rows of a loop are multiples */
    const RowsCase *rows = b->rows;
    if (rows->table_bytes)
        return sn_peak_meter_rows(b->meter, rows->table_row, rows->table_bytes, rows->table_beside, rate);
    if (rows->columns)
        return sn_peak_meter_bands(b->meter, rows->columns, rows->positions ? rows->positions : size_of(b),
                                   rate);
    if (has_order(rows))
        return sn_peak_meter_again(b->meter, rows->row_bytes / PIECE * PIECE, rows->again == ROWS_KEPT, rate);
    return sn_peak_meter_mix(b->meter, written, rate);
}

/* Kernel and loops have threads of their own, of which the ones still look for work when the others' turn begins: so each turn
 * has a launch that does not count, behind which its threads are awake. */
static Status measure_memory(Bench *b) {
    double copy, reading, mix;
    int written = written_parts(b);
    TRY(sn_peak_meter_memory(b->meter, false, NULL));
    TRY(sn_peak_meter_copy(b->meter, &copy));
    TRY(sn_peak_meter_memory(b->meter, false, &reading));
    TRY(measure_order(b, written, &mix));
    b->copy = fmax(b->copy, copy);
    b->reading = fmax(b->reading, reading);
    b->mix = fmax(b->mix, mix);
    if (has_order(b->rows)) return NULL;
    if (2 * written == SN_PEAK_MIX) b->mix = fmax(b->mix, copy);
    if (!written) b->mix = fmax(b->mix, reading);
    return NULL;
}

/* Puts the inputs out of all caches, as a last-level cache may hold them, by the threads that are to run the kernel next. */
static Status evict_inputs(Bench *b) {
    enum { PIECE = 1 << 12 };
    int64_t symbol = PIECE;
    for (int k = 0; k < b->input_count; k++) {
        LaunchArguments arguments = {.buffer = &b->input[k],
                                     .symbol = &symbol,
                                     .items = b->input_bytes[k] / PIECE,
                                     .work = -1,
                                     .threads = 1,
                                     .buffer_count = 1,
                                     .symbol_count = 1};
        int fault = 0;
        TRY(b->device->ops->launch(b->device, b->evict, &arguments, &fault));
    }
    return NULL;
}

static Status compile_evict(Bench *b) {
    const Kernel *list[SN_RATE_COUNT];
    CompileRecord record = {0};
    sn_rate_kernels(b->arena, list);
    return b->device->ops->compile(b->device, &list[SN_RATE_EVICT], 1, &record, &b->evict);
}

static Status measure(void *argument) {
    Bench *b = argument;
    TRY(compile(b));
    if (b->options->show) return show(b);
    TRY(compile_evict(b));
    TRY(set_inputs(b, size_of(b)));
    for (int i = 0; i <= b->options->runs; i++) {
        TRY(sn_context_run(b->context));
        TRY(evict_inputs(b));
        double start = sn_clock();
        TRY(sn_context_run(b->context));
        double seconds = sn_clock() - start;
        if (i == 0) TRY(count_bytes(b));
        if (i == 1 || (i > 1 && seconds < b->seconds))
            b->seconds = seconds; /* the first one touches memory */
        TRY(measure_memory(b));
    }
    return NULL;
}

static Status guarded(Bench *b, Status (*function)(void *argument)) {
    b->arena = sn_arena_new();
    if (!b->arena) return sn_fail(SN_NO_MEMORY, "out of memory");
    Status status = sn_guarded(b->arena, function, b);
    for (int k = 0; k < b->input_count; k++) b->device->ops->free(b->device, b->input[k], b->input_bytes[k]);
    sn_context_free(b->context);
    if (b->evict) b->device->ops->unload(b->device, b->evict);
    if (b->program)
        sn_program_free(b->program);
    else
        sn_arena_free(b->arena);
    return status;
}

static Status run_case(const Options *options, const RowsCase *rows, PeakMeter *meter, Bench *b) {
    Options alone = *options;
    alone.threads = 1;
    *b = (Bench){.options = options, .rows = rows, .meter = meter};
    TRY(guarded(b, measure));
    if (options->show || !rows->body) return NULL;
    Bench near = {.options = &alone, .rows = rows, .read = b->read, .written = b->written};
    TRY(guarded(&near, measure_near));
    b->near = near.near / options->threads;
    /* A run that beats it by no more than the clock wanders is at that bound; one that beats it by more shows that it is
     * none: a few rows have an end of their own. */
    if (b->near > b->seconds) b->near = b->near > 1.05 * b->seconds ? 0 : b->seconds;
    return NULL;
}

/* ---- the table ---- */

enum { KERNEL, THREADS, SECONDS, RATE, COPY, SHARE, READING, MIX, NEAR, BOUND, ROOFLINE, COLUMN_COUNT };

static const Column columns[COLUMN_COUNT] = {
    [KERNEL] = {"kernel", "kernel", SN_CELL_TEXT},
    [THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [SECONDS] = {"min_s", "best", SN_CELL_SECONDS},
    [RATE] = {"bytes_rate", "read + written bytes", SN_CELL_RATE},
    [COPY] = {"copy_rate", "copied bytes", SN_CELL_RATE},
    [SHARE] = {"copy_share", "of the copy", SN_CELL_SHARE},
    [READING] = {"read_rate", "only read bytes", SN_CELL_RATE},
    [MIX] = {"mix_rate", "in its proportion", SN_CELL_RATE},
    [NEAR] = {"near_s", "in caches", SN_CELL_SECONDS},
    [BOUND] = {"bound", "bound", SN_CELL_TEXT},
    [ROOFLINE] = {"roofline_share", "of the roofline", SN_CELL_SHARE},
};

/* Seconds that memory takes at least, and the name of what it does. Rows that are read twice come from memory the
 * first time with nothing written. */
static double memory_seconds(const Bench *b, const char **bound) {
    double both = fmin(b->read, b->written), again = b->rows->again == ROWS_TWICE ? b->read : 0;
    double apart = (both + b->written) / b->copy + (b->read - both) / b->reading;
    if (has_order(b->rows)) {
        *bound = b->rows->table_bytes ? "memory, rows at random"
                 : b->rows->columns   ? "memory, columns"
                                      : "memory, rows gone over twice";
        return (b->read + b->written) / b->mix;
    }
    *bound = again > 0 ? "memory, rows read twice" : written_parts(b) ? "memory" : "reading";
    return fmin((b->read + b->written) / b->mix, apart) + again / b->reading;
}

static void add_row(Arena *arena, Table *table, const Bench *b) {
    Cell *row = sn_table_row(arena, table);
    const char *bound;
    double rate = (b->read + b->written) / b->seconds, least = memory_seconds(b, &bound);
    if (b->near > least) least = b->near, bound = "arithmetic";
    row[KERNEL] = sn_cell_text(arena, b->rows->name);
    row[THREADS] = sn_cell_number(b->options->threads);
    row[SECONDS] = sn_cell_number(b->seconds);
    row[RATE] = sn_cell_number(rate);
    row[COPY] = sn_cell_number(b->copy);
    row[SHARE] = sn_cell_number(rate / b->copy);
    row[READING] = sn_cell_number(b->reading);
    row[MIX] = sn_cell_number(b->mix);
    row[NEAR] = sn_cell_number(b->near);
    row[BOUND] = sn_cell_text(arena, bound);
    row[ROOFLINE] = sn_cell_number(least / b->seconds);
}

static Status print(Arena *arena, const Options *options, const PeakMeter *meter, const Table *rows) {
    Table environment = sn_environment_table(), peaks = sn_peaks_table();
    Text text = sn_text(arena);
    sn_environment_fill(arena, &environment, 1, options->runs);
    sn_peaks_fill(arena, &peaks, sn_peak_meter_best(meter));
    TRY(sn_report_print(&text, options->json ? SN_REPORT_JSON : SN_REPORT_MD,
                        (const Table *const[]){&environment, &peaks, rows}, 3));
    return fputs(sn_text_string(&text), stdout) < 0 ? sn_fail(SN_IO, "the output cannot be written") : NULL;
}

static Status run_all(Arena *arena, const Options *options, PeakMeter *meter) {
    Table rows = {.name = "rows", .column = columns, .column_count = COLUMN_COUNT};
    for (int i = 0; i < sn_rows_case_count; i++) {
        Bench b;
        if (!strstr(sn_rows_cases[i].name, options->part)) continue;
        TRY(run_case(options, &sn_rows_cases[i], meter, &b));
        add_row(arena, &rows, &b);
    }
    if (options->show) return NULL;
    TRY(sn_peak_meter_memory(meter, true, NULL));
    return print(arena, options, meter, &rows);
}

int main(int argc, char **argv) {
    Options options = {64 << 20, -1, 1, 5, false, false, ""};
    for (int c; (c = getopt(argc, argv, "m:t:n:k:p:js")) != -1;) {
        if (c == 'm')
            options.bytes = (int64_t)strtol(optarg, NULL, 10) << 20;
        else if (c == 't')
            options.threads = (int)strtol(optarg, NULL, 10);
        else if (c == 'n')
            options.runs = (int)strtol(optarg, NULL, 10);
        else if (c == 'p')
            options.stream = strtol(optarg, NULL, 10);
        else if (c == 's')
            options.show = true;
        else if (c == 'j')
            options.json = true;
        else if (c == 'k')
            options.part = optarg;
        else
            return fprintf(stderr, "rows_bench [-m megabytes] [-t threads] [-n runs] [-k part of a name] [-p "
                                   "bytes] [-j] [-s]\n"),
                   2;
    }
    if (options.bytes <= 0 || options.threads <= 0 || options.runs <= 0) return 2;
    PeakMeter *meter = NULL;
    Arena *arena = sn_arena_new();
    Status status =
        arena ? sn_peak_meter_new(options.threads, NULL, &meter) : sn_fail(SN_NO_MEMORY, "out of memory");
    if (!status) sn_peak_meter_past_caches(meter);
    if (!status) status = run_all(arena, &options, meter);
    if (status) fprintf(stderr, "rows_bench: %s\n", sn_error_message(status));
    int code = status ? 1 : 0;
    sn_error_free(status);
    sn_peak_meter_free(meter);
    sn_arena_free(arena);
    return code;
}

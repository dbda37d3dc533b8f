/* bench: times of models, eager beside compiled, as a table. */
#include "bench.h"
#include "environment.h"
#include "model_bench.h"

static Status read_budget(Cli *cli, BenchRequest *request) {
    const Options *options = &cli->options;
    bool compiled = false;
    for (int i = 0; i < request->mode_count; i++) compiled |= request->mode[i] == SN_COMPILED;
    request->budget = (Budget){sn_option_integer(options, OPTION_MEMORY_BUDGET, 0),
                               sn_option_number(options, OPTION_MEMORY_BUDGET, 0)};
    request->memory = sn_option_given(options, OPTION_MEMORY) || sn_budget_given(&request->budget);
    if (sn_budget_given(&request->budget) && !request->training)
        return sn_cli_usage(cli, "--memory-budget is about steps of training: --phases step");
    if (sn_budget_given(&request->budget) && !compiled)
        return sn_cli_usage(cli, "--memory-budget is for --modes compiled: eager execution keeps all");
    return NULL;
}

static Status read_request(Cli *cli, BenchRequest *request) {
    static const char *const modes[] = {"eager", "compiled"};
    const Options *options = &cli->options;
    const char *const *mode;
    TRY(sn_bench_read_shapes(cli, request));
    TRY(sn_bench_read_inputs(cli, request));
    request->mode_count = sn_bench_read_words(cli, OPTION_MODES, modes, 2, &mode);
    sn_Mode *chosen = SN_ARRAY(cli->arena, sn_Mode, request->mode_count);
    for (int i = 0; i < request->mode_count; i++)
        chosen[i] = strcmp(mode[i], "eager") == 0 ? SN_EAGER : SN_COMPILED;
    request->mode = chosen;
    TRY(sn_bench_read_phases(cli, request));
    sn_bench_read_autocast(cli, request);
    const OptionValue *threads = &options->value[OPTION_THREADS_SWEEP];
    request->threads_count = threads->count ? threads->count : 1;
    int *count = SN_ARRAY(cli->arena, int, request->threads_count); /* 0 when none is given */
    for (int i = 0; i < threads->count; i++) count[i] = (int)threads->integer[i];
    request->threads = count;
    TRY(sn_bench_read_states(cli, request));
    request->warmup = (int)sn_option_integer(options, OPTION_WARMUP, 5);
    request->iters = (int)sn_option_integer(options, OPTION_ITERS, 10);
    request->device = sn_option_text(options, OPTION_DEVICE, NULL);
    request->tuning = sn_option_text(options, OPTION_TUNING, NULL);
    request->precision = sn_option_precision(options);
    request->no_dropout = sn_option_given(options, OPTION_NO_DROPOUT);
    request->memory_limit = sn_option_integer(options, OPTION_MEMORY_LIMIT, 0);
    request->range = sn_option_text(options, OPTION_RANGE, NULL);
    request->kernels = sn_option_given(options, OPTION_KERNELS) || request->range;
    return read_budget(cli, request);
}

/* A saved program is the step, or the run, that it was compiled as. */
static Status check_saved(Cli *cli) {
    static const OptionId compiled[] = {
        OPTION_LOSS,       OPTION_LOGITS,        OPTION_OPTIMIZER, OPTION_CLIP,     OPTION_MASTER,
        OPTION_SEED,       OPTION_MEMORY_BUDGET, OPTION_DROPOUT,   OPTION_AUTOCAST, OPTION_GRADIENTS,
        OPTION_NO_DROPOUT, OPTION_PRECISION,     OPTION_CONSTANT};
    const Options *options = &cli->options;
    for (int i = 0; i < options->argument_count; i++)
        for (size_t k = 0; k < sizeof compiled / sizeof *compiled && sn_parts_is(options->argument[i]); k++)
            if (sn_option_given(options, compiled[k]))
                return sn_cli_usage(cli, "%s is decided when a model is compiled, and %s is a saved program",
                                    sn_option_name(compiled[k]), options->argument[i]);
    return NULL;
}

/* ---- the sweep ---- */

static void show_progress(const char *text) {
    sn_cli_progress("%s", text);
}

static void show_note(const char *text) {
    sn_cli_note("%s", text);
}

/* The meters of the threads asked for, where they are what the models run on and peaks are wanted; one that cannot be
 * opened is NULL. */
static PeakMeter **open_meters(Cli *cli, const BenchRequest *request) {
    PeakMeter **meter = SN_ARRAY(cli->arena, PeakMeter *, request->threads_count);
    bool on_cpu = !request->device || strcmp(request->device, "cpu") == 0;
    bool wanted = on_cpu && !sn_option_given(&cli->options, OPTION_NO_PEAKS);
    for (int i = 0; i < request->threads_count && wanted; i++) {
        Status status = sn_peak_meter_new(request->threads[i], NULL, &meter[i]);
        if (status) sn_cli_note("the machine's peaks: %s", sn_error_message(status));
        sn_error_free(status);
    }
    return meter;
}

static void measure_peaks(const BenchRequest *request) {
    for (int i = 0; i < request->threads_count; i++) {
        if (!request->meter[i]) continue;
        sn_cli_progress("measuring what the machine can do");
        Status status = sn_peak_meter_all(request->meter[i]);
        if (status) sn_cli_note("the machine's peaks: %s", sn_error_message(status));
        sn_error_free(status);
    }
}

static Status print(Cli *cli, const BenchRequest *request, const BenchResult *result) {
    Table environment = sn_environment_table(), measured = sn_peaks_table();
    sn_environment_fill(cli->arena, &environment, request->warmup, request->iters);
    for (int i = 0; i < request->threads_count; i++)
        if (request->meter[i]) sn_peaks_fill(cli->arena, &measured, sn_peak_meter_best(request->meter[i]));
    const Table *const tables[] = {&environment,    &measured,        &result->rows,
                                   &result->memory, &result->buffers, &result->kernels};
    ReportFormat format;
    sn_report_format(sn_option_text(&cli->options, OPTION_OUT_FORMAT, NULL), &format);
    /* CSV is one table: the rows, or what else was asked for. */
    bool csv = format == SN_REPORT_CSV;
    int last = request->kernels ? 5 : !request->memory ? 2 : csv ? 3 : 4, first = csv ? last : 0;
    Text text = sn_text(cli->arena);
    TRY(sn_report_print(&text, format, tables + first, last - first + 1));
    return sn_cli_write(cli, NULL, sn_text_string(&text), text.length);
}

/* All models, the peaks before, between and after them. */
static Status sweep(Cli *cli, const BenchRequest *request) {
    BenchResult result = sn_bench_result();
    measure_peaks(request);
    for (int i = 0; i < cli->options.argument_count; i++)
        sn_bench_model(cli->arena, request, cli->options.argument[i], &result);
    measure_peaks(request);
    sn_bench_finish(request, &result);
    sn_cli_progress("%s", "");
    TRY(print(cli, request, &result));
    if (!result.failures && result.good) return NULL;
    return sn_fail(SN_INVALID, "%s",
                   result.failures ? "rows of the table could not be measured" : "no row is ok");
}

Status sn_cli_bench(Cli *cli) {
    TRY(check_saved(cli));
    if (sn_option_given(&cli->options, OPTION_PEER)) return sn_bench_peer(cli);
    if (sn_option_given(&cli->options, OPTION_MODE))
        return sn_cli_usage(cli, "--mode goes with --peer; see --modes");
    if (sn_option_given(&cli->options, OPTION_ROOFLINE))
        return sn_cli_usage(cli, "--roofline goes with --peer");
    BenchRequest request = {.progress = show_progress, .note = show_note};
    TRY(read_request(cli, &request));
    PeakMeter **meter = open_meters(cli, &request);
    request.meter = meter;
    Status status = sweep(cli, &request);
    for (int i = 0; i < request.threads_count; i++) sn_peak_meter_free(meter[i]);
    return status;
}

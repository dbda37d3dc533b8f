/* bench --peer: a process that takes turns with others. A line `run N` on standard input is answered by N
 * lines, each the seconds of one run (--roofline: of its multiply-adds alone), then `ok`; `quit` or the end of
 * input ends it; what goes wrong is one line `error MESSAGE`. */
#include "bench.h"
#include "clock.h"
#include "session.h"
#include <stdlib.h>

static bool parse_run(const char *line, long *count) {
    char *end;
    if (strncmp(line, "run ", 4) != 0 || line[4] < '0' || line[4] > '9') return false;
    *count = strtol(line + 4, &end, 10);
    return (*end == '\n' || !*end) && *count >= 0;
}

/* One run, with its time. */
static Status run_once(sn_Context *context, const Phases *phases, double *seconds) {
    if (phases) return sn_bench_run_phases(context, phases, seconds);
    sn_context_reset_states(context);
    double start = sn_clock();
    TRY(sn_context_run(context));
    *seconds = sn_clock() - start;
    return NULL;
}

/* What a run takes at the least: the operations that its kernels declare, at the rate of multiply-adds of this moment. */
static Status least_time(sn_Context *context, PeakMeter *meter, double *seconds) {
    double flops = sn_context_flops(context), rate;
    if (flops < 0) {
        TRY(run_once(context, NULL, seconds));
        flops = sn_context_flops(context);
    }
    if (flops < 0) return sn_fail(SN_UNSUPPORTED, "a kernel does not say how much it computes");
    TRY(sn_peak_meter_fma(meter, &rate));
    *seconds = flops / rate;
    return NULL;
}

/* `phases`: of a training step; NULL: the model's run. `meter`: NULL, or what measures --roofline. */
static Status serve(sn_Context *context, const Phases *phases, PeakMeter *meter) {
    char line[128];
    while (fgets(line, sizeof line, stdin)) {
        long count;
        if (strcmp(line, "quit\n") == 0) return NULL;
        if (!parse_run(line, &count)) return sn_fail(SN_INVALID, "expected `run N` or `quit`");
        for (long i = 0; i < count; i++) {
            double seconds;
            TRY(meter ? least_time(context, meter, &seconds) : run_once(context, phases, &seconds));
            printf("%.9f\n", seconds);
        }
        printf("ok\n");
        if (fflush(stdout) != 0) return sn_fail(SN_IO, "standard output cannot be written");
    }
    return NULL;
}

static Status serve_program(Cli *cli, const sn_Program *program, const Inputs *inputs, const Phases *phases) {
    sn_ContextOptions options = {.size = sizeof options,
                                 .memory_limit = sn_option_integer(&cli->options, OPTION_MEMORY_LIMIT, 0)};
    sn_Context *context;
    TRY(sn_context_new(program, &options, &context));
    Status status = NULL;
    for (int i = 0; i < inputs->count && !status; i++)
        status = sn_context_set_input(context, i, &inputs->tensor[i]);
    PeakMeter *meter = NULL;
    if (!status && sn_option_given(&cli->options, OPTION_ROOFLINE))
        status =
            sn_peak_meter_new((int)sn_option_integer(&cli->options, OPTION_THREADS_SWEEP, 0), NULL, &meter);
    if (!status) status = serve(context, phases, meter);
    sn_peak_meter_free(meter);
    sn_context_free(context);
    return status;
}

static Status serve_model(Cli *cli, const sn_Model *model, const BenchRequest *request) {
    const Options *options = &cli->options;
    States states;
    Graph *graph = (Graph *)model->graph;
    bool step = model->saved ? model->graph->states.count > 0 : request->training != NULL;
    TRY(sn_bench_check_phase(model, request->phase[0]));
    if (step && !model->saved) TRY(sn_training_inputs(cli->arena, model->graph, request->training, &graph));
    TRY(sn_states_find(cli->arena, model, &request->state, &states));
    InputRequest wanted = {.shape_count = request->shapes_each,
                           .input_count = request->input_count,
                           .shape = request->shape[0],
                           .input = request->input,
                           .state_count = states.count,
                           .state = states.at};
    Inputs inputs;
    TRY(sn_inputs_make(cli->arena, graph, &wanted, &inputs));
    if (step) sn_bench_set_rate(graph, &inputs);
    if (*inputs.chosen) sn_cli_note("sizes taken: %s", inputs.chosen);
    sn_CompileOptions compile = sn_option_compile(options);
    compile.threads = (int)sn_option_integer(options, OPTION_THREADS_SWEEP, 0);
    compile.state_count = states.count;
    compile.state = states.at;
    (void)sn_autocast_from_name(request->autocast[0], &compile.autocast); /* one of the choices */
    SessionOptions session = {.pipeline.training = request->training};
    sn_Program *program;
    TRY(sn_session_compile(model, &compile, &session, &program));
    const Phases *phases = step ? sn_bench_phases(request->phase[0]) : NULL;
    Status status = serve_program(cli, program, &inputs, phases);
    sn_program_free(program);
    return status;
}

/* The parent shows one line. */
static void print_error(const char *message) {
    fputs("error ", stdout);
    for (; *message; message++) putchar(*message == '\n' ? ' ' : *message);
    putchar('\n');
    fflush(stdout);
}

Status sn_bench_peer(Cli *cli) {
    BenchRequest request = {0};
    TRY(sn_bench_read_shapes(cli, &request));
    TRY(sn_bench_read_inputs(cli, &request));
    TRY(sn_bench_read_states(cli, &request));
    TRY(sn_bench_read_phases(cli, &request));
    sn_bench_read_autocast(cli, &request);
    if (request.setting_count != 1 || request.phase_count != 1 || request.autocast_count != 1 ||
        cli->options.value[OPTION_THREADS_SWEEP].count > 1 || cli->options.argument_count != 1)
        return sn_cli_usage(cli, "--peer takes one model, and no sweeps");
    bool on_cpu = strcmp(sn_option_text(&cli->options, OPTION_DEVICE, "cpu"), "cpu") == 0;
    if (sn_option_given(&cli->options, OPTION_ROOFLINE) && (request.training || !on_cpu))
        return sn_cli_usage(cli, "--roofline is of a model's run on the CPU");
    sn_Model *model;
    LoadOptions load;
    TRY(sn_cli_load_options(cli, 0, NULL, &load));
    Status status = sn_session_open(cli->options.argument[0], &load, &model);
    if (!status) {
        status = serve_model(cli, model, &request);
        sn_model_close(model);
    }
    if (status) print_error(sn_error_message(status));
    return status;
}

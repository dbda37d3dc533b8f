#include "bench_rows.h"
#include "clock.h"

static void progress(const Bench *bench, const char *what, sn_Mode mode) {
    if (!bench->request->progress) return;
    bench->request->progress(
        sn_arena_printf(bench->scratch, "%s: %s %s", bench->path, what, sn_bench_mode_name(mode)));
}

const Phases *sn_bench_phases(const char *name) {
    static const Phases table[] = {
        {"forward", SN_PHASE_FORWARD, SN_PHASE_FORWARD, false},
        {"backward", SN_PHASE_BACKWARD, SN_PHASE_BACKWARD, false},
        {"forward+backward", SN_PHASE_FORWARD, SN_PHASE_BACKWARD, false},
        {"step", SN_PHASE_FORWARD, SN_PHASE_UPDATE, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}

void sn_bench_set_rate(const Graph *graph, const Inputs *inputs) {
    static const float rate = 1e-5f;
    for (int i = 0; i < inputs->count; i++) {
        const char *name = graph->body->param.at[i]->name;
        if (name && strcmp(name, "learning_rate") == 0) memcpy(inputs->tensor[i].data, &rate, sizeof rate);
    }
}

static Status profile(Bench *bench, Subject *subject) {
    progress(bench, "profiling", subject->mode);
    TRY(sn_profile_enable(subject->context));
    for (int i = 0; i < bench->request->iters; i++) {
        if (!bench->request->training) sn_context_reset_states(subject->context);
        TRY(sn_context_run(subject->context));
    }
    sn_bench_add_kernels(bench, subject);
    return NULL;
}

/* ---- measuring ---- */

static Status open_context(Bench *bench, Subject *subject) {
    sn_ContextOptions options = {.size = sizeof options, .memory_limit = bench->request->memory_limit};
    TRY(sn_context_new(subject->program, &options, &subject->context));
    for (int i = 0; i < bench->inputs.count; i++)
        TRY(sn_context_set_input(subject->context, i, &bench->inputs.tensor[i]));
    return NULL;
}

static void iterate(Subject *subject, int steps, double *seconds) {
    if (subject->status) return;
    sn_context_reset_states(subject->context);
    double start = sn_clock();
    for (int i = 0; i < steps && !subject->status; i++) subject->status = sn_context_run(subject->context);
    if (seconds) *seconds = (sn_clock() - start) / steps;
}

Status sn_bench_run_phases(sn_Context *context, const Phases *phases, double *seconds) {
    double part[SN_PHASE_COUNT], start = sn_clock(), sum = 0;
    if (phases->whole)
        TRY(sn_context_run(context));
    else
        TRY(sn_context_run_phases(context, phases->last, part));
    *seconds = sn_clock() - start;
    for (Phase phase = phases->first; phase <= phases->last && !phases->whole; phase++) sum += part[phase];
    if (phases->first != SN_PHASE_FORWARD) *seconds = sum;
    return NULL;
}

static void iterate_phases(Subject *subject, const Phases *phases, double *seconds) {
    double unwanted;
    if (!subject->status)
        subject->status = sn_bench_run_phases(subject->context, phases, seconds ? seconds : &unwanted);
}

static void measure(Bench *bench) {
    const BenchRequest *request = bench->request;
    for (int m = 0; m < request->mode_count; m++) {
        Subject *subject = &bench->subject[m];
        subject->seconds = SN_ARRAY(bench->scratch, double, request->iters);
        if (!subject->status) subject->status = open_context(bench, subject);
    }
    for (int i = -request->warmup; i < request->iters; i++) {
        for (int m = 0; m < request->mode_count; m++) {
            if (i <= 0) progress(bench, i < 0 ? "warming" : "measuring", bench->subject[m].mode);
            double *seconds = i < 0 ? NULL : &bench->subject[m].seconds[i];
            if (request->training)
                iterate_phases(&bench->subject[m], bench->phases, seconds);
            else
                iterate(&bench->subject[m], request->steps, seconds);
        }
    }
}

/* A machine that is slower for a minute has a lower peak meanwhile. Peaks are only what results are held
 * against: a failure loses nothing. */
static void measure_peak(const Bench *bench) {
    PeakMeter *meter = bench->request->meter[bench->threads];
    Status status = meter ? sn_peak_meter_fma(meter, NULL) : NULL;
    if (meter && !status) status = sn_peak_meter_memory(meter, true, NULL);
    sn_error_free(status);
}

/* Whatever happened here must not reach the next setting: statuses of the run are dropped, those of compiling
 * stay. */
static void run_setting(Bench *bench, const char *phase, const char *autocast, int setting) {
    const BenchRequest *request = bench->request;
    Status kept[SN_BENCH_MODES] = {0};
    for (int m = 0; m < request->mode_count; m++) kept[m] = bench->subject[m].status;
    InputRequest wanted = {.shape_count = request->shapes_each,
                           .input_count = request->input_count,
                           .shape = request->shape[setting],
                           .input = request->input,
                           .state_count = bench->states.count,
                           .state = bench->states.at};
    bench->shapes = NULL;
    Status made = sn_inputs_make(bench->scratch, bench->graph, &wanted, &bench->inputs);
    if (!made) {
        if (request->training) sn_bench_set_rate(bench->graph, &bench->inputs);
        bench->shapes = sn_bench_shapes(bench);
        if (*bench->inputs.chosen)
            sn_bench_note(bench, "%s: sizes taken: %s", bench->path, bench->inputs.chosen);
        measure_peak(bench);
        measure(bench);
        measure_peak(bench);
    }
    for (int m = 0; m < request->mode_count; m++)
        if (made && !kept[m])
            bench->subject[m].status = sn_fail(sn_error_code(made), "%s", sn_error_message(made));
    sn_error_free(made);
    sn_bench_add_rows(bench, phase, autocast);
    for (int m = 0; m < request->mode_count; m++) {
        Subject *subject = &bench->subject[m];
        if (request->kernels && !subject->status) {
            Status status = profile(bench, subject);
            if (status) sn_bench_note(bench, "%s: profiling: %s", bench->path, sn_error_message(status));
            sn_error_free(status);
        }
        sn_context_free(subject->context);
        subject->context = NULL;
        if (subject->status != kept[m]) sn_error_free(subject->status);
        subject->status = kept[m];
    }
}

static void compile_all(Bench *bench) {
    const BenchRequest *request = bench->request;
    for (int m = 0; m < request->mode_count; m++) {
        Subject *subject = &bench->subject[m];
        *subject = (Subject){.mode = request->mode[m]};
        progress(bench, "compiling", subject->mode);
        sn_CompileOptions options = {.size = sizeof options,
                                     .mode = subject->mode,
                                     .device = request->device,
                                     .threads = request->threads[bench->threads],
                                     .state_count = bench->states.count,
                                     .state = bench->states.at,
                                     .tuning = request->tuning,
                                     .precision = request->precision};
        SessionOptions session = {.pipeline.training = request->training};
        subject->status = sn_session_compile(bench->model, &options, &session, &subject->program);
    }
}

static void release_all(Bench *bench) {
    for (int m = 0; m < bench->request->mode_count; m++) {
        if (bench->subject[m].program) sn_program_free(bench->subject[m].program);
        sn_error_free(bench->subject[m].status);
        bench->subject[m] = (Subject){0};
    }
}

/* A row a mode and setting that all fail alike. */
static void refuse(Bench *bench, const char *phase, const char *autocast, sn_Code code, const char *message) {
    bench->shapes = NULL;
    for (int setting = 0; setting < bench->request->setting_count; setting++) {
        for (int m = 0; m < bench->request->mode_count; m++) {
            Status status = sn_fail(code, "%s", message);
            sn_bench_add_failure(bench, bench->request->mode[m], phase, autocast, status);
            sn_error_free(status);
        }
    }
}

static void sweep_settings(Bench *bench, const char *phase, const char *autocast) {
    if (strcmp(autocast, "none") != 0) {
        refuse(bench, phase, autocast, SN_UNSUPPORTED,
               sn_arena_printf(bench->arena, "unsupported: autocast %s", autocast));
        return;
    }
    bench->phases = sn_bench_phases(phase);
    compile_all(bench);
    for (int setting = 0; setting < bench->request->setting_count; setting++) {
        bench->scratch = sn_arena_child(bench->arena);
        run_setting(bench, phase, autocast, setting);
        sn_arena_free(bench->scratch);
        bench->scratch = bench->arena;
    }
    release_all(bench);
}

void sn_bench_model(Arena *arena, const BenchRequest *request, const char *path, BenchResult *result) {
    Bench bench = {.arena = arena, .scratch = arena, .request = request, .path = path, .result = result};
    sn_Model *model = NULL;
    Status opened = sn_session_open(path, &model);
    BenchRequest saved = *request;
    sn_Mode only = SN_COMPILED;
    bench.model = model;
    if (!opened && model->saved) { /* it has one mode, whatever was asked for */
        only = model->saved->facts.eager ? SN_EAGER : SN_COMPILED;
        saved.mode = &only;
        saved.mode_count = 1;
        bench.request = request = &saved;
    }
    bench.graph = model ? model->graph : NULL;
    if (!opened && request->training)
        opened = model->saved
                     ? sn_fail(SN_UNSUPPORTED, "unsupported: phases of a saved program")
                     : sn_training_inputs(arena, model->graph, request->training, (Graph **)&bench.graph);
    if (!opened) opened = sn_states_find(arena, model, &request->state, &bench.states);
    for (int p = 0; p < request->phase_count; p++)
        for (int a = 0; a < request->autocast_count; a++)
            for (bench.threads = 0; bench.threads < request->threads_count; bench.threads++) {
                if (opened)
                    refuse(&bench, request->phase[p], request->autocast[a], sn_error_code(opened),
                           sn_error_message(opened));
                else
                    sweep_settings(&bench, request->phase[p], request->autocast[a]);
            }
    sn_error_free(opened);
    if (model) sn_model_close(model);
}

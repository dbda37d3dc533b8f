#include "bench_rows.h"
#include "clock.h"
#include "resident.h"
#include "steps.h"

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

Status sn_bench_check_phase(const sn_Model *model, const char *phase) {
    if (!model->saved || model->graph->states.count || strcmp(phase, "forward") == 0) return NULL;
    return sn_fail(SN_UNSUPPORTED,
                   "unsupported: the file has no phase \"%s\": it holds the model's run, and what `compile "
                   "--phases step` saves is a training step",
                   phase);
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

static void iterate(const Bench *bench, Subject *subject, double *seconds) {
    int steps = bench->request->steps;
    double all;
    if (subject->status) return;
    sn_context_reset_states(subject->context);
    subject->status = sn_steps_run(bench->scratch, subject->context, bench->graph, &bench->wanted,
                                   &bench->inputs, steps, &all);
    if (seconds) *seconds = all / steps;
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
    for (int m = 0; m < bench->subject_count; m++) {
        Subject *subject = &bench->subject[m];
        int64_t before = sn_resident_bytes();
        subject->seconds = SN_ARRAY(bench->scratch, double, request->iters);
        if (!subject->status) subject->status = open_context(bench, subject);
        subject->grown = sn_resident_bytes() - before;
    }
    for (int i = -request->warmup; i < request->iters; i++) {
        for (int m = 0; m < bench->subject_count; m++) {
            Subject *subject = &bench->subject[m];
            if (i <= 0) progress(bench, i < 0 ? "warming" : "measuring", subject->mode);
            double *seconds = i < 0 ? NULL : &subject->seconds[i];
            int64_t before = sn_resident_bytes();
            if (request->training)
                iterate_phases(subject, bench->phases, seconds);
            else
                iterate(bench, subject, seconds);
            if (i == -request->warmup) subject->grown += sn_resident_bytes() - before;
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

static void compile(Bench *bench, Subject *subject, const SessionOptions *session) {
    const BenchRequest *request = bench->request;
    progress(bench, "compiling", subject->mode);
    sn_CompileOptions options = {.size = sizeof options,
                                 .mode = subject->mode,
                                 .device = request->device,
                                 .threads = request->threads[bench->threads],
                                 .state_count = bench->states.count,
                                 .state = bench->states.at,
                                 .tuning = request->tuning,
                                 .precision = request->precision,
                                 .autocast = bench->autocast,
                                 .no_dropout = request->no_dropout};
    subject->status = sn_session_compile(bench->model, &options, session, &subject->program);
}

/* What a budget leaves depends on the sizes at hand. */
static void compile_limited(Bench *bench) {
    const BenchRequest *request = bench->request;
    SessionOptions session = {.pipeline.training = request->training, .budget = request->budget};
    session.pipeline.extent =
        sn_inputs_extents(bench->scratch, bench->graph, &bench->inputs, &session.pipeline.extent_count);
    for (int m = 0; m < bench->subject_count; m++)
        if (bench->subject[m].limited) compile(bench, &bench->subject[m], &session);
}

/* Whatever happened here must not reach the next setting: statuses of the run are dropped, those of compiling
 * stay. */
/* Compiles, and measures in turns, with inputs of that setting; what fails is the subjects' status, or is given. */
static Status measure_setting(Bench *bench, int setting) {
    const BenchRequest *request = bench->request;
    bench->wanted = (InputRequest){.shape_count = request->shapes_each,
                                   .input_count = request->input_count,
                                   .shape = request->shape[setting],
                                   .input = request->input,
                                   .state_count = bench->states.count,
                                   .state = bench->states.at};
    bench->shapes = NULL;
    TRY(sn_inputs_make(bench->scratch, bench->graph, &bench->wanted, &bench->inputs));
    if (request->training) sn_bench_set_rate(bench->graph, &bench->inputs);
    bench->shapes = sn_bench_shapes(bench);
    if (*bench->inputs.chosen) sn_bench_note(bench, "%s: sizes taken: %s", bench->path, bench->inputs.chosen);
    compile_limited(bench);
    measure_peak(bench);
    measure(bench);
    measure_peak(bench);
    return NULL;
}

/* Profiles a subject where that is asked for, and frees what it has of this setting. */
static void end_setting(Bench *bench, Subject *subject) {
    if (bench->request->kernels && !subject->status) {
        Status status = profile(bench, subject);
        if (status) sn_bench_note(bench, "%s: profiling: %s", bench->path, sn_error_message(status));
        sn_error_free(status);
    }
    sn_context_free(subject->context);
    subject->context = NULL;
    if (!subject->limited) return;
    sn_program_free(subject->program);
    subject->program = NULL;
}

static void run_setting(Bench *bench, const char *phase, const char *autocast, int setting) {
    Status kept[SN_BENCH_SUBJECTS] = {0};
    for (int m = 0; m < bench->subject_count; m++) kept[m] = bench->subject[m].status;
    Status made = measure_setting(bench, setting);
    for (int m = 0; m < bench->subject_count; m++)
        if (made && !kept[m])
            bench->subject[m].status = sn_fail(sn_error_code(made), "%s", sn_error_message(made));
    sn_error_free(made);
    sn_bench_add_rows(bench, phase, autocast);
    for (int m = 0; m < bench->subject_count; m++) {
        Subject *subject = &bench->subject[m];
        end_setting(bench, subject);
        if (subject->status != kept[m]) sn_error_free(subject->status);
        subject->status = kept[m];
    }
}

static void compile_all(Bench *bench) {
    for (int m = 0; m < bench->subject_count; m++)
        if (!bench->subject[m].limited)
            compile(bench, &bench->subject[m],
                    &(SessionOptions){.pipeline.training = bench->request->training});
}

static void release_all(Bench *bench) {
    for (int m = 0; m < bench->subject_count; m++) {
        Subject *subject = &bench->subject[m];
        sn_program_free(subject->program);
        sn_error_free(subject->status);
        *subject = (Subject){.mode = subject->mode, .limited = subject->limited};
    }
}

/* A row a subject and setting that all fail alike. */
static void refuse(Bench *bench, const char *phase, const char *autocast, sn_Code code, const char *message) {
    bench->shapes = NULL;
    for (int setting = 0; setting < bench->request->setting_count; setting++) {
        for (int m = 0; m < bench->subject_count; m++) {
            Status status = sn_fail(code, "%s", message);
            sn_bench_add_failure(bench, &bench->subject[m], phase, autocast, status);
            sn_error_free(status);
        }
    }
}

static void sweep_settings(Bench *bench, const char *phase, const char *autocast) {
    (void)sn_autocast_from_name(autocast, &bench->autocast); /* one of the command line's choices */
    Status there = sn_bench_check_phase(bench->model, phase);
    if (there) {
        refuse(bench, phase, autocast, sn_error_code(there), sn_error_message(there));
        sn_error_free(there);
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

static void list_subjects(Bench *bench) {
    const BenchRequest *request = bench->request;
    for (int m = 0; m < request->mode_count; m++)
        bench->subject[bench->subject_count++] = (Subject){.mode = request->mode[m]};
    for (int m = 0; m < request->mode_count; m++)
        if (request->mode[m] == SN_COMPILED && sn_budget_given(&request->budget))
            bench->subject[bench->subject_count++] = (Subject){.mode = SN_COMPILED, .limited = true};
}

/* The request that a saved program allows: it is what it was compiled as, whatever was asked for. */
static const BenchRequest *request_of_saved(Arena *arena, const BenchRequest *asked, const sn_Model *model) {
    static const Training of_file;
    BenchRequest *request = SN_NEW(arena, BenchRequest);
    sn_Mode *mode = SN_NEW(arena, sn_Mode);
    const char **autocast = SN_NEW(arena, const char *);
    *mode = model->saved->facts.eager ? SN_EAGER : SN_COMPILED;
    *autocast = sn_autocast_name(model->saved->facts.autocast);
    *request = *asked;
    request->mode = mode;
    request->mode_count = 1;
    request->autocast = autocast;
    request->autocast_count = 1;
    request->training = model->graph->states.count ? &of_file : NULL;
    return request;
}

void sn_bench_model(Arena *arena, const BenchRequest *request, const char *path, BenchResult *result) {
    sn_Model *model = NULL;
    Status opened = sn_session_open(path, &request->load, &model);
    const bool saved = !opened && model->saved;
    if (saved) request = request_of_saved(arena, request, model);
    Bench bench = {.arena = arena,
                   .scratch = arena,
                   .request = request,
                   .path = path,
                   .result = result,
                   .model = model,
                   .graph = model ? model->graph : NULL};
    list_subjects(&bench);
    if (!opened && request->training && !saved)
        opened = sn_training_inputs(arena, model->graph, request->training, (Graph **)&bench.graph);
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

/* compile: a model to a program ahead of time, and where the time went. */
#include "bench.h"
#include "clock.h"
#include "report.h"
#include "session.h"
#include "states.h"
#include <sys/stat.h>

typedef enum LedgerColumn {
    LEDGER_STEP,
    LEDGER_TIME,
    LEDGER_SHARE,
    LEDGER_COUNT,
    LEDGER_CACHED,
    LEDGER_NOTE,
    LEDGER_COLUMNS
} LedgerColumn;

static const Column ledger_columns[LEDGER_COLUMNS] = {
    [LEDGER_STEP] = {"step", "step", SN_CELL_TEXT},
    [LEDGER_TIME] = {"seconds", "time", SN_CELL_SECONDS},
    [LEDGER_SHARE] = {"share", "share", SN_CELL_SHARE},
    [LEDGER_COUNT] = {"count", "count", SN_CELL_COUNT},
    [LEDGER_CACHED] = {"from_cache", "from cache", SN_CELL_COUNT},
    [LEDGER_NOTE] = {"note", "", SN_CELL_TEXT},
};

typedef struct Report {
    Arena *arena;
    Table table;
} Report;

/* Counts below 0 are absent. */
static void add(Report *report, const char *step, double seconds, int64_t count, int64_t cached,
                const char *note) {
    Cell *row = sn_table_row(report->arena, &report->table);
    row[LEDGER_STEP] = sn_cell_text(report->arena, step);
    row[LEDGER_TIME] = sn_cell_number(seconds);
    if (count >= 0) row[LEDGER_COUNT] = sn_cell_number((double)count);
    if (cached >= 0) row[LEDGER_CACHED] = sn_cell_number((double)cached);
    if (*note) row[LEDGER_NOTE] = sn_cell_text(report->arena, note);
}

static void add_passes(Report *report, const PipelineResult *result) {
    for (int i = 0; i < result->record.count; i++) {
        const PassRecord *record = &result->record.at[i];
        add(report, sn_arena_printf(report->arena, "pass %s", record->name), record->seconds,
            record->rewrites, -1, i ? "" : "counts are rewrites");
    }
}

static void add_program(Report *report, const sn_Program *program, const PipelineResult *result) {
    const Ledger *ledger = sn_program_ledger(program);
    const CompileRecord *kernels = &ledger->kernels;
    const Plan *plan = sn_program_plan(program);
    Arena *arena = report->arena;
    add(report, "open and parse", ledger->parse, -1, -1, "");
    add(report, "import", ledger->import, -1, -1, "");
    add(report, "ask the compiler", ledger->tools, -1, -1, "");
    add_passes(report, result);
    add(report, "plan and generate", ledger->codegen, plan->launch_count, -1,
        sn_arena_printf(arena, "launches; %d kernels", plan->kernel_count));
    const char *how = sn_arena_printf(arena, "%d %s started", kernels->processes,
                                      kernels->processes == 1 ? "process" : "processes");
    if (plan->target->kind == SN_TARGET_CUDA)
        how = sn_arena_printf(arena, "up to %d registers, %d with too few", kernels->registers,
                              kernels->spilling);
    add(report, "compile", kernels->compiler, kernels->kernels, kernels->kernels - kernels->compiled,
        sn_arena_printf(arena, "kernels; %s%s%s", how, *kernels->reason ? "; " : "", kernels->reason));
    if (plan->target->kind == SN_TARGET_CPU) add(report, "link", kernels->link, 1, !kernels->linked, "");
    add(report, "load", kernels->load, -1, -1, "");
    add(report, "setup", ledger->setup, plan->setup_count, -1, "launches: weights packed and cast");
}

static void add_total(Report *report) {
    double total = 0;
    for (int i = 0; i < report->table.row.count; i++) total += report->table.row.at[i][LEDGER_TIME].number;
    add(report, "total", total, -1, -1, "");
    for (int i = 0; i < report->table.row.count && total > 0; i++) {
        Cell *row = report->table.row.at[i];
        row[LEDGER_SHARE] = sn_cell_number(row[LEDGER_TIME].number / total);
    }
}

static Status save(Cli *cli, Report *report, const sn_Program *program, const char *path) {
    double start = sn_clock();
    TRY(sn_program_save(program, path));
    add(report, "save", sn_clock() - start, -1, -1, "");
    struct stat info;
    if (stat(path, &info) == 0)
        sn_cli_note("%s: %.1f MiB, %d kernels for %s; it contains code, and is as trusted as its maker", path,
                    (double)info.st_size * 0x1p-20, sn_program_plan(program)->kernel_count,
                    sn_program_plan(program)->target->name);
    (void)cli;
    return NULL;
}

static Status report_program(Cli *cli, const sn_Program *program, const PipelineResult *result) {
    const Options *options = &cli->options;
    const char *path = sn_option_text(options, OPTION_OUT_FILE, NULL);
    Report report = {.arena = cli->arena,
                     .table = {.name = "ledger", .column = ledger_columns, .column_count = LEDGER_COLUMNS}};
    add_program(&report, program, result);
    if (path) TRY(save(cli, &report, program, path));
    if (path && !sn_option_given(options, OPTION_LEDGER)) return NULL;
    add_total(&report);
    ReportFormat format;
    sn_report_format(sn_option_text(options, OPTION_TABLE_FORMAT, NULL), &format);
    Text text = sn_text(cli->arena);
    TRY(sn_report_print(&text, format, (const Table *const[]){&report.table}, 1));
    return sn_cli_write(cli, NULL, sn_text_string(&text), text.length);
}

/* With a phase other than forward, or a loss, the program is a training step. A budget is for the sizes of --shape. */
static Status read_step(Cli *cli, const sn_Model *model, SessionOptions *session) {
    const Options *options = &cli->options;
    const OptionValue *shape = &options->value[OPTION_SHAPE];
    BenchRequest phases = {0};
    TRY(sn_bench_read_phases(cli, &phases));
    session->pipeline.training = phases.training;
    session->budget = (Budget){sn_option_integer(options, OPTION_MEMORY_BUDGET, 0),
                               sn_option_number(options, OPTION_MEMORY_BUDGET, 0)};
    bool limited = sn_budget_given(&session->budget);
    if (!limited)
        return shape->count ? sn_cli_usage(cli, "--shape is what --memory-budget is for: all shapes run")
                            : NULL;
    if (!phases.training) return sn_cli_usage(cli, "--memory-budget is of a training step: --phases step");
    Graph *graph;
    Inputs inputs;
    ShapeSpec *spec = SN_ARRAY(cli->arena, ShapeSpec, shape->count);
    for (int i = 0; i < shape->count; i++) {
        Status status = sn_shape_spec_parse(cli->arena, shape->text[i], &spec[i]);
        if (status) cli->usage = true;
        TRY(status);
    }
    TRY(sn_training_inputs(cli->arena, model->graph, phases.training, &graph));
    InputRequest wanted = {.shape_count = shape->count, .shape = spec};
    TRY(sn_inputs_make(cli->arena, graph, &wanted, &inputs));
    if (*inputs.chosen) sn_cli_note("sizes that the budget is for: %s", inputs.chosen);
    session->pipeline.extent = sn_inputs_extents(cli->arena, graph, &inputs, &session->pipeline.extent_count);
    return NULL;
}

static Status compile_model(Cli *cli, const sn_Model *model) {
    const Options *options = &cli->options;
    const OptionValue *state = &options->value[OPTION_STATE];
    StateSpecs specs;
    States states;
    Status status = sn_state_specs_parse(cli->arena, state->count, state->text, &specs);
    if (status) cli->usage = true;
    TRY(status);
    TRY(sn_states_find(cli->arena, model, &specs, &states));
    if (sn_option_given(options, OPTION_TARGET) && sn_option_given(options, OPTION_DEVICE))
        return sn_cli_usage(
            cli, "--target names what is compiled for, and --device a device of this machine: one of them");
    sn_CompileOptions compile = sn_option_compile(options);
    compile.device = sn_option_text(options, OPTION_TARGET, compile.device);
    compile.state_count = states.count;
    compile.state = states.at;
    PipelineResult result = {0};
    SessionOptions session = {.result = &result};
    TRY(read_step(cli, model, &session));
    sn_Program *program;
    sn_cli_progress("compiling");
    TRY(sn_session_compile(model, &compile, &session, &program));
    sn_cli_progress("%s", "");
    status = report_program(cli, program, &result);
    sn_program_free(program);
    return status;
}

Status sn_cli_compile(Cli *cli) {
    const char *path = cli->options.argument[0];
    if (sn_parts_is(path)) return sn_cli_usage(cli, "%s is a compiled program already", path);
    sn_Model *model;
    TRY(sn_cli_check_place(cli, sn_option_text(&cli->options, OPTION_OUT_FILE, NULL)));
    LoadOptions load;
    TRY(sn_cli_load_options(cli, 0, NULL, &load));
    TRY(sn_session_open(path, &load, &model));
    Status status = compile_model(cli, model);
    sn_model_close(model);
    return status;
}

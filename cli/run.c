/* run: a run of a model, or several that follow one another, its outputs summarised, saved and compared. */
#include "cli.h"
#include "compare.h"
#include "inputs.h"
#include "report.h"
#include "session.h"
#include "states.h"
#include "steps.h"
#include <dirent.h>
#include <math.h>

enum { FIRST_VALUES = 4 };

/* ---- a folder of input_K.pb and output_K.pb ---- */

static bool file_exists(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    fclose(file);
    return true;
}

static int find_name(const sn_Model *model, bool output, const char *name) {
    int count = output ? sn_model_output_count(model) : sn_model_input_count(model);
    for (int i = 0; name && i < count; i++) {
        sn_TensorInfo info = output ? sn_model_output(model, i) : sn_model_input(model, i);
        if (strcmp(info.name, name) == 0) return i;
    }
    return -1;
}

/* An input that the model was compiled for a value of. */
static bool is_constant(const sn_Model *model, const char *name) {
    for (int i = 0; i < model->options.constant_count; i++)
        if (strcmp(model->options.constant[i].name, name) == 0) return find_name(model, false, name) < 0;
    return false;
}

/* File number `index` belongs to the input or output that it names, or else to the index-th. */
static Status which_tensor(const sn_Model *model, bool output, const char *path, const char *name, int index,
                           int *out) {
    int count = output ? sn_model_output_count(model) : sn_model_input_count(model);
    *out = find_name(model, output, name);
    if (*out >= 0) return NULL;
    *out = index;
    if (!output && model->options.constant_count)
        return sn_fail(SN_INVALID, "%s names no input, which it has to where some are constants", path);
    if (*out >= count)
        return sn_fail(SN_INVALID, "%s: the model has %d %s", path, count, output ? "outputs" : "inputs");
    return NULL;
}

typedef SN_VEC(InputSpec) InputSpecs;
typedef SN_VEC(Expectation) Expectations;

/* One of the runs that follow one another: its folder (NULL: none), and what is in it or was given for all. */
typedef struct Step {
    const char *folder;
    InputSpecs inputs;
    Expectations expected;
} Step;

static bool is_given(const InputSpecs *inputs, const char *name) {
    for (int i = 0; i < inputs->count; i++)
        if (strcmp(inputs->at[i].name, name) == 0) return true;
    return false;
}

/* File number `index` of the folder, with the name that its tensor says; *path is NULL behind the last one. */
static Status load_numbered(Cli *cli, const char *folder, bool output, int index, const char **path,
                            Tensor **tensor, const char **name) {
    *path = sn_arena_printf(cli->arena, "%s/%s_%d.pb", folder, output ? "output" : "input", index);
    if (file_exists(*path)) return sn_load_tensor(cli->arena, *path, tensor, name);
    *path = NULL;
    return NULL;
}

static const char *first_folder(const Cli *cli) {
    const OptionValue *value = &cli->options.value[OPTION_DATA];
    return value->count ? value->text[0] : NULL;
}

/* The inputs that files of the first folder name. */
static Status read_names(Cli *cli, InputSpecs *inputs) {
    const char *folder = first_folder(cli);
    for (int i = 0; folder; i++) {
        const char *path, *name;
        Tensor *tensor;
        TRY(load_numbered(cli, folder, false, i, &path, &tensor, &name));
        if (!path) break;
        if (*name && !is_given(inputs, name)) sn_push(cli->arena, inputs, ((InputSpec){name, path, 0}));
    }
    return NULL;
}

/* What --input names does not come from the folder. */
static Status read_folder(Cli *cli, const sn_Model *model, Step *step) {
    const char *folder = step->folder;
    if (!folder) return NULL;
    DIR *directory = opendir(folder);
    if (!directory) return sn_fail(SN_IO, "%s is not a folder that can be read", folder);
    closedir(directory);
    for (int output = 0; output < 2; output++) {
        for (int i = 0;; i++) {
            const char *path, *name;
            Tensor *tensor;
            int at;
            TRY(load_numbered(cli, folder, output, i, &path, &tensor, &name));
            if (!path) break;
            if (!output && is_constant(model, name)) continue;
            TRY(which_tensor(model, output, path, name, i, &at));
            if (output)
                sn_push(cli->arena, &step->expected, ((Expectation){at, tensor, path}));
            else if (!is_given(&step->inputs, sn_model_input(model, at).name))
                sn_push(cli->arena, &step->inputs, ((InputSpec){sn_model_input(model, at).name, path, 0}));
        }
    }
    if (step->expected.count == 0) return sn_fail(SN_IO, "%s has no output_0.pb to compare with", folder);
    return NULL;
}

/* ---- options ---- */

static Status read_shapes(Cli *cli, InputRequest *request) {
    const OptionValue *value = &cli->options.value[OPTION_SHAPE];
    ShapeSpec *shape = SN_ARRAY(cli->arena, ShapeSpec, value->count);
    for (int i = 0; i < value->count; i++) {
        Status status = sn_shape_spec_parse(cli->arena, value->text[i], &shape[i]);
        if (status) cli->usage = true;
        TRY(status);
    }
    request->shape = shape;
    request->shape_count = value->count;
    return NULL;
}

/* `model` is NULL where it is not open yet. */
static Status read_inputs(Cli *cli, const sn_Model *model, InputSpecs *inputs) {
    const InputSpec *spec;
    int count;
    TRY(sn_cli_input_specs(cli, &count, &spec));
    for (int i = 0; i < count; i++)
        if (!model || !is_constant(model, spec[i].name)) sn_push(cli->arena, inputs, spec[i]);
    return NULL;
}

/* "NAME=@FILE" for an output of the model. */
static Status split_output(Cli *cli, const sn_Model *model, const char *text, int *output,
                           const char **file) {
    const char *at = strstr(text, "=@");
    if (!at || at == text || !at[2]) return sn_cli_usage(cli, "'%s' is not NAME=@FILE", text);
    char *name = sn_arena_string(cli->arena, text);
    name[at - text] = '\0';
    *file = at + 2;
    *output = find_name(model, true, name);
    if (*output >= 0) return NULL;
    Text names = sn_text(cli->arena);
    for (int i = 0; i < sn_model_output_count(model); i++) {
        sn_text_add(&names, i ? ", " : "");
        sn_text_quote(&names, sn_model_output(model, i).name, strlen(sn_model_output(model, i).name));
    }
    return sn_fail(SN_INVALID, "the model has no output '%s'; it has %s", name, sn_text_string(&names));
}

static Status read_expected(Cli *cli, const sn_Model *model, Expectations *expected) {
    const OptionValue *value = &cli->options.value[OPTION_EXPECT];
    for (int i = 0; i < value->count; i++) {
        Expectation one = {0};
        Tensor *tensor;
        TRY(split_output(cli, model, value->text[i], &one.output, &one.file));
        TRY(sn_load_tensor(cli->arena, one.file, &tensor, NULL));
        one.tensor = tensor;
        sn_push(cli->arena, expected, one);
    }
    return NULL;
}

/* ---- after the run ---- */

static Status output_tensor(const sn_Context *context, int index, Tensor *out) {
    sn_Tensor tensor;
    TRY(sn_context_output(context, index, &tensor));
    *out = (Tensor){.rank = tensor.rank, .extent = tensor.extent, .count = 1, .bytes = tensor.data};
    if (!sn_dtype_from_onnx(tensor.element_type, &out->dtype))
        return sn_fail(SN_INTERNAL, "output %d has element type %d", index, tensor.element_type);
    for (int i = 0; i < tensor.rank; i++) out->count *= tensor.extent[i];
    return NULL;
}

typedef enum SummaryColumn {
    SUMMARY_NAME,
    SUMMARY_TYPE,
    SUMMARY_SHAPE,
    SUMMARY_MIN,
    SUMMARY_MAX,
    SUMMARY_MEAN,
    SUMMARY_NAN,
    SUMMARY_FIRST,
    SUMMARY_COLUMNS
} SummaryColumn;

static const Column summary_columns[SUMMARY_COLUMNS] = {
    [SUMMARY_NAME] = {"name", "output", SN_CELL_TEXT},
    [SUMMARY_TYPE] = {"dtype", "dtype", SN_CELL_TEXT},
    [SUMMARY_SHAPE] = {"shape", "shape", SN_CELL_TEXT},
    [SUMMARY_MIN] = {"min", "min", SN_CELL_NUMBER},
    [SUMMARY_MAX] = {"max", "max", SN_CELL_NUMBER},
    [SUMMARY_MEAN] = {"mean", "mean", SN_CELL_NUMBER},
    [SUMMARY_NAN] = {"nan_count", "NaN", SN_CELL_COUNT},
    [SUMMARY_FIRST] = {"first", "first values", SN_CELL_TEXT},
};

static void summarise_values(const Tensor *tensor, Cell *row) {
    double least = INFINITY, most = -INFINITY, sum = 0;
    int64_t nans = 0;
    const float *plain =
        tensor->dtype == SN_F32 ? tensor->bytes : NULL; /* the usual one is read as it lies */
    for (int64_t i = 0; i < tensor->count; i++) {
        double value = plain ? plain[i] : sn_tensor_get(tensor, i);
        nans += isnan(value);
        if (isnan(value)) continue;
        least = value < least ? value : least;
        most = value > most ? value : most;
        sum += value;
    }
    if (nans) row[SUMMARY_NAN] = sn_cell_number((double)nans);
    if (nans == tensor->count) return;
    row[SUMMARY_MIN] = sn_cell_number(least);
    row[SUMMARY_MAX] = sn_cell_number(most);
    row[SUMMARY_MEAN] = sn_cell_number(sum / (double)(tensor->count - nans));
}

static void summarise(Arena *arena, Table *table, const char *name, const Tensor *tensor) {
    Cell *row = sn_table_row(arena, table);
    Text shape = sn_text(arena), first = sn_text(arena);
    for (int i = 0; i < tensor->rank; i++)
        sn_text_add(&shape, "%s%lld", i ? "x" : "", (long long)tensor->extent[i]);
    for (int64_t i = 0; i < tensor->count && i < FIRST_VALUES; i++)
        sn_text_add(&first, "%s%.6g", i ? " " : "", sn_tensor_get(tensor, i));
    row[SUMMARY_NAME] = sn_cell_text(arena, name);
    row[SUMMARY_TYPE] = sn_cell_text(arena, sn_dtype_name(tensor->dtype));
    row[SUMMARY_SHAPE] = sn_cell_text(arena, sn_text_string(&shape));
    row[SUMMARY_FIRST] = sn_cell_text(arena, sn_text_string(&first));
    summarise_values(tensor, row);
}

/* Before the run, with `context` NULL, names and places are looked at. What is loaded again is told apart by its suffix. */
static Status save_outputs(Cli *cli, const sn_Model *model, const sn_Context *context) {
    const OptionValue *value = &cli->options.value[OPTION_OUTPUT];
    for (int i = 0; i < value->count; i++) {
        int output;
        const char *file;
        Tensor tensor;
        TRY(split_output(cli, model, value->text[i], &output, &file));
        const char *suffix = strrchr(file, '.');
        if (!suffix || (strcmp(suffix, ".npy") != 0 && strcmp(suffix, ".pb") != 0))
            return sn_cli_usage(cli, "--output: %s ends neither in .npy nor in .pb", file);
        if (!context) TRY(sn_cli_check_place(cli, file));
        if (!context) continue;
        TRY(output_tensor(context, output, &tensor));
        TRY(sn_save_tensor(file, &tensor, sn_model_output(model, output).name));
    }
    return NULL;
}

/* Narrow floats are as good as their rounding: a few units in the last place. */
static double default_tolerance(DType dtype) {
    if (dtype == SN_F16) return 4e-3;
    return dtype == SN_BF16 ? 2e-2 : 1e-4;
}

static Status compare_outputs(Cli *cli, const sn_Model *model, const sn_Context *context,
                              const Expectations *expected) {
    for (int i = 0; i < expected->count; i++) {
        const Expectation *one = &expected->at[i];
        Tensor tensor;
        TRY(output_tensor(context, one->output, &tensor));
        double tolerance = default_tolerance(one->tensor->dtype);
        double rtol = sn_option_number(&cli->options, OPTION_RTOL, tolerance);
        double atol = sn_option_number(&cli->options, OPTION_ATOL, tolerance);
        const char *difference = sn_compare(cli->arena, &tensor, one->tensor, rtol, atol);
        if (!difference) continue;
        cli->differs = true;
        Text name = sn_text(cli->arena);
        const char *output = sn_model_output(model, one->output).name;
        sn_text_quote(&name, output, strlen(output));
        sn_cli_note("output %s differs from %s: %s", sn_text_string(&name), one->file, difference);
    }
    return NULL;
}

static Status show_outputs(Cli *cli, const sn_Model *model, const sn_Context *context) {
    Table table = {.name = "outputs", .column = summary_columns, .column_count = SUMMARY_COLUMNS};
    for (int i = 0; i < sn_model_output_count(model); i++) {
        Tensor tensor;
        TRY(output_tensor(context, i, &tensor));
        summarise(cli->arena, &table, sn_model_output(model, i).name, &tensor);
    }
    ReportFormat format;
    sn_report_format(sn_option_text(&cli->options, OPTION_OUT_FORMAT, NULL), &format);
    Text text = sn_text(cli->arena);
    TRY(sn_report_print(&text, format, (const Table *const[]){&table}, 1));
    return sn_cli_write(cli, NULL, sn_text_string(&text), text.length);
}

/* ---- the runs ---- */

typedef struct Runs {
    const sn_Model *model;
    InputRequest request; /* but for the inputs, which are each step's */
    Inputs inputs;        /* of the run at hand */
    int count;
    Step *step;
} Runs;

static InputRequest request_of(const Runs *runs, const Step *step) {
    InputRequest request = runs->request;
    request.input = step->inputs.at;
    request.input_count = step->inputs.count;
    return request;
}

static Status run_context(Cli *cli, Runs *runs, sn_Context *context) {
    int compared = 0;
    TRY(sn_steps_set(context, &runs->inputs, NULL));
    for (int i = 0; i < runs->count; i++) {
        const Step *step = &runs->step[i];
        InputRequest request = request_of(runs, step);
        Inputs before = runs->inputs;
        if (i > 0)
            TRY(sn_steps_next(cli->arena, context, runs->model->graph, &request, &before, &runs->inputs));
        TRY(sn_context_run(context));
        TRY(compare_outputs(cli, runs->model, context, &step->expected));
        compared += step->expected.count;
    }
    TRY(show_outputs(cli, runs->model, context));
    TRY(save_outputs(cli, runs->model, context));
    if (compared && !cli->differs)
        sn_cli_note("%d %s as expected", compared, compared == 1 ? "output" : "outputs");
    return NULL;
}

static Status run_program(Cli *cli, Runs *runs, const sn_Program *program) {
    sn_ContextOptions options = {.size = sizeof options,
                                 .memory_limit = sn_option_integer(&cli->options, OPTION_MEMORY_LIMIT, 0)};
    sn_Context *context;
    TRY(sn_context_new(program, &options, &context));
    Status status = run_context(cli, runs, context);
    sn_context_free(context);
    return status;
}

static Status read_states(Cli *cli, const sn_Model *model, States *states) {
    const OptionValue *value = &cli->options.value[OPTION_STATE];
    StateSpecs specs;
    Status status = sn_state_specs_parse(cli->arena, value->count, value->text, &specs);
    if (status) cli->usage = true;
    TRY(status);
    return sn_states_find(cli->arena, model, &specs, states);
}

/* As many runs as --steps says, or as there are folders of data; what --expect names is the last one's. */
static Status read_steps(Cli *cli, Runs *runs) {
    const OptionValue *folder = &cli->options.value[OPTION_DATA];
    int64_t count = sn_option_integer(&cli->options, OPTION_STEPS, 1);
    runs->count = folder->count > count ? folder->count : (int)count;
    runs->step = SN_ARRAY(cli->arena, Step, runs->count);
    for (int i = 0; i < runs->count; i++) {
        Step *step = &runs->step[i];
        step->folder = i < folder->count ? folder->text[i] : NULL;
        TRY(read_inputs(cli, runs->model, &step->inputs));
        TRY(read_folder(cli, runs->model, step));
    }
    return read_expected(cli, runs->model, &runs->step[runs->count - 1].expected);
}

static Status run_model(Cli *cli, const sn_Model *model) {
    Runs runs = {.model = model};
    States states;
    TRY(read_states(cli, model, &states));
    TRY(read_shapes(cli, &runs.request));
    runs.request.state = states.at;
    runs.request.state_count = states.count;
    TRY(read_steps(cli, &runs));
    TRY(save_outputs(cli, model, NULL));
    InputRequest request = request_of(&runs, &runs.step[0]);
    TRY(sn_inputs_make(cli->arena, model->graph, &request, &runs.inputs));
    if (*runs.inputs.chosen) sn_cli_note("sizes taken: %s (--shape gives others)", runs.inputs.chosen);
    sn_CompileOptions compile = sn_option_compile(&cli->options);
    compile.state_count = states.count;
    compile.state = states.at;
    sn_Program *program;
    sn_cli_progress("compiling");
    TRY(sn_compile(model, &compile, &program));
    sn_cli_progress("%s", "");
    Status status = run_program(cli, &runs, program);
    sn_program_free(program);
    return status;
}

/* What belongs to one of the two kinds of runs does not go with the other. */
static Status check_options(Cli *cli) {
    static const OptionId tensors[] = {OPTION_DATA,   OPTION_SHAPE, OPTION_OUTPUT,
                                       OPTION_EXPECT, OPTION_STEPS, OPTION_OUT_FORMAT,
                                       OPTION_RTOL,   OPTION_ATOL,  OPTION_END};
    static const OptionId text[] = {OPTION_TOKENS, OPTION_TEMPERATURE, OPTION_TOP_K, OPTION_SEED,
                                    OPTION_WINDOW, OPTION_LOGITS,      OPTION_END};
    bool prompt = sn_option_given(&cli->options, OPTION_PROMPT);
    for (const OptionId *id = prompt ? tensors : text; *id; id++)
        if (sn_option_given(&cli->options, *id))
            return sn_cli_usage(cli, prompt ? "%s does not go with --prompt" : "%s goes with --prompt only",
                                sn_option_name(*id));
    return NULL;
}

/* A saved program has been compiled already. */
static Status check_saved(Cli *cli, const sn_Model *model) {
    bool eager = strcmp(sn_option_text(&cli->options, OPTION_MODE, ""), "eager") == 0;
    if (model->saved && sn_option_given(&cli->options, OPTION_CAST) &&
        sn_option_autocast(&cli->options) != model->saved->facts.autocast)
        return sn_cli_usage(cli, "--autocast: the program was compiled with %s",
                            sn_autocast_name(model->saved->facts.autocast));
    static const OptionId compiled[] = {OPTION_NO_DROPOUT, OPTION_PRECISION, OPTION_CONSTANT};
    for (size_t i = 0; i < sizeof compiled / sizeof *compiled && model->saved; i++)
        if (sn_option_given(&cli->options, compiled[i]))
            return sn_cli_usage(cli, "%s is decided when a model is compiled", sn_option_name(compiled[i]));
    if (!model->saved || !sn_option_given(&cli->options, OPTION_MODE) || eager == model->saved->facts.eager)
        return NULL;
    return sn_cli_usage(cli, "--mode: the program was compiled as %s",
                        model->saved->facts.eager ? "eager" : "compiled");
}

/* Sizes may hang on inputs whose values were given: the model is compiled for these then, and what is wrong with them is
 * what is said. */
static Status open_given(Cli *cli, sn_Model **out) {
    const char *path = cli->options.argument[0];
    LoadOptions options;
    InputSpecs specs = {0};
    TRY(sn_cli_load_options(cli, 0, NULL, &options));
    Status status = sn_session_open(path, &options, out);
    if (sn_error_code(status) != SN_UNSUPPORTED) return status;
    Status again = read_inputs(cli, NULL, &specs);
    if (!again) again = read_names(cli, &specs);
    if (!again) again = sn_cli_load_options(cli, specs.count, specs.at, &options);
    if (!again) again = sn_session_open(path, &options, out);
    sn_error_free(status);
    for (int i = 0; !again && i < specs.count; i++)
        if (is_constant(*out, specs.at[i].name))
            sn_cli_note("input %s decides sizes or what is computed: compiled for its value",
                        sn_quoted(cli->arena, specs.at[i].name));
    return again;
}

Status sn_cli_run(Cli *cli) {
    sn_Model *model;
    TRY(check_options(cli));
    TRY(open_given(cli, &model));
    Status status = check_saved(cli, model);
    if (!status)
        status = sn_option_given(&cli->options, OPTION_PROMPT) ? sn_cli_generate(cli, model)
                                                               : run_model(cli, model);
    sn_model_close(model);
    return status;
}

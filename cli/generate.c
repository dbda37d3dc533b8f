/* run --prompt: a model of bytes continues a text. */
#include "cli.h"
#include "inputs.h"
#include "language.h"
#include "number.h"
#include "session.h"
#include "states.h"
#include <math.h>
#include <stdlib.h>

enum {
    BYTES = 256, /* ids that are bytes */
    TOKENS_USUAL = 200,
};

typedef struct Generator {
    Cli *cli;
    const sn_Model *model;
    Language language;
    States states;
    StateSpecs specs;
    InputRequest request; /* shapes and inputs as given; the last `shape` rows are the generator's own */
    ShapeSpec *shape;     /* of the tokens, and of each state */
    int64_t context;      /* most ids in the model at once; 0: any number */
    sn_Context *run;
    uint8_t *id; /* the prompt and what follows */
    int64_t count;
    int64_t past; /* ids that the states hold */
    int choices;  /* classes that are bytes */
} Generator;

/* ---- what is asked ---- */

static Status read_inputs(Generator *g) {
    Cli *cli = g->cli;
    const InputSpec *spec;
    int count;
    TRY(sn_cli_input_specs(cli, &count, &spec));
    for (int i = 0; i < count; i++)
        if (strcmp(spec[i].name, sn_model_input(g->model, g->language.tokens).name) == 0)
            return sn_cli_usage(cli, "input '%s' comes from --prompt", spec[i].name);
    g->shape = SN_ARRAY(cli->arena, ShapeSpec, 1 + g->states.count);
    g->request = (InputRequest){.shape_count = 1 + g->states.count,
                                .shape = g->shape,
                                .input_count = count,
                                .input = spec,
                                .state_count = g->states.count,
                                .state = g->states.at};
    return NULL;
}

static Status read_states(Generator *g) {
    Cli *cli = g->cli;
    const OptionValue *value = &cli->options.value[OPTION_STATE];
    Status status = sn_state_specs_parse(cli->arena, value->count, value->text, &g->specs);
    if (status) cli->usage = true;
    TRY(status);
    return sn_states_find(cli->arena, g->model, &g->specs, &g->states);
}

static bool is_state(const Generator *g, int input) {
    for (int i = 0; i < g->states.count; i++)
        if (g->states.at[i].input == input) return true;
    return false;
}

static bool is_given(const Generator *g, const char *name) {
    for (int i = 0; i < g->request.input_count; i++)
        if (strcmp(g->request.input[i].name, name) == 0) return true;
    return false;
}

/* Masks and positions can be made up, and what a model is told in floats cannot. */
static Status check_inputs(const Generator *g) {
    for (int i = 0; i < sn_model_input_count(g->model); i++) {
        const char *name = sn_model_input(g->model, i).name;
        bool is_float = sn_dtype_is_float(g->model->graph->body->param.at[i]->type.dtype);
        if (is_float && !is_state(g, i) && !is_given(g, name))
            return sn_fail(SN_INVALID, "--prompt: input '%s' is neither a --state nor given by --input",
                           name);
    }
    return NULL;
}

static Status check_model(const Generator *g) {
    const Language *language = &g->language;
    const char *name = sn_model_input(g->model, language->tokens).name;
    if (language->batch > 1 || language->length > 1)
        return sn_fail(SN_UNSUPPORTED, "--prompt: the model fixes the shape of its input '%s'", name);
    for (int64_t i = 0; i < g->count; i++)
        if (language->vocabulary && g->id[i] >= language->vocabulary)
            return sn_fail(SN_INVALID, "--prompt: byte %d is out of the model's vocabulary of %lld", g->id[i],
                           (long long)language->vocabulary);
    return check_inputs(g);
}

static Status prepare(Generator *g) {
    const Options *options = &g->cli->options;
    const char *prompt = sn_option_text(options, OPTION_PROMPT, "");
    int64_t more = sn_option_integer(options, OPTION_TOKENS, TOKENS_USUAL);
    TRY(sn_language_find(g->model->graph, sn_option_text(options, OPTION_LOGITS, NULL), &g->language));
    TRY(read_states(g));
    TRY(read_inputs(g));
    g->count = (int64_t)strlen(prompt);
    g->id = memcpy(SN_ARRAY(g->cli->arena, uint8_t, g->count + more), prompt, (size_t)g->count);
    g->context = sn_option_integer(options, OPTION_WINDOW, g->language.context);
    g->choices = g->language.classes < BYTES ? (int)g->language.classes : BYTES;
    if (g->language.classes > BYTES)
        sn_cli_note("of the model's %lld classes only the first %d are taken, as bytes",
                    (long long)g->language.classes, BYTES);
    return check_model(g);
}

/* ---- runs ---- */

static void remember_shape(ShapeSpec *shape, const char *name, int rank, const int64_t *extent) {
    *shape = (ShapeSpec){.name = name, .rank = rank};
    for (int i = 0; i < rank; i++) shape->extent[i] = extent[i];
}

/* What the states will be in the next run: what this one, with the sizes of `inputs`, makes of them. */
static Status advance_states(Generator *g, const Inputs *inputs) {
    const Graph *graph = g->model->graph;
    for (int i = 0; i < g->states.count; i++) {
        const sn_State *state = &g->states.at[i];
        Type type = graph->body->result.at[state->output]->type;
        int64_t extent[SN_MAX_RANK];
        for (int k = 0; k < type.rank; k++) TRY(sn_dim_eval(type.dim[k], inputs->symbol, NULL, &extent[k]));
        remember_shape(&g->shape[1 + i], sn_model_input(g->model, state->input).name, type.rank, extent);
    }
    return NULL;
}

/* Runs ids [begin, begin + length) behind `past` others. */
static Status run_ids(Generator *g, Arena *scratch, int64_t begin, int64_t length) {
    int tokens = g->language.tokens;
    InputRequest request = g->request;
    Inputs inputs;
    remember_shape(&g->shape[0], sn_model_input(g->model, tokens).name, 2, (int64_t[2]){1, length});
    if (!g->past) request.shape_count = 1;
    TRY(sn_inputs_make(scratch, g->model->graph, &request, &inputs));
    sn_language_fill(&g->language, &request, &inputs, g->past);
    for (int64_t i = 0; i < length; i++)
        sn_element_set_int(g->language.dtype, inputs.tensor[tokens].data, i, g->id[begin + i]);
    for (int i = 0; i < inputs.count; i++)
        if (!g->past || !is_state(g, i)) TRY(sn_context_set_input(g->run, i, &inputs.tensor[i]));
    TRY(sn_context_run(g->run));
    if (!g->states.count) return NULL;
    g->past += length;
    return advance_states(g, &inputs);
}

/* The ids that the next run is about. Without states all that the context holds, the last ones; with states those
 * that they do not hold yet, and where they are full, they begin again with the last half of the context. */
static void choose_ids(Generator *g, int64_t *begin, int64_t *length) {
    int64_t fresh = g->count - g->past;
    bool fits = !g->context || g->past + fresh <= g->context;
    *begin = g->past, *length = fresh;
    if (fits) return;
    *length = g->states.count ? (g->context + 1) / 2 : g->context;
    *begin = g->count - *length;
    g->past = 0;
}

/* ---- choices ---- */

typedef struct Choice {
    int id;
    double weight;
} Choice;

static int likely_first(const void *a, const void *b) {
    const Choice *left = a, *right = b;
    if (left->weight != right->weight) return left->weight < right->weight ? 1 : -1;
    return left->id - right->id;
}

static Status read_choices(const Generator *g, Choice *choice) {
    sn_Tensor tensor;
    TRY(sn_context_output(g->run, g->language.logits, &tensor));
    Tensor logits = {.rank = 3, .extent = tensor.extent, .bytes = tensor.data};
    logits.count = tensor.extent[0] * tensor.extent[1] * tensor.extent[2];
    if (!sn_dtype_from_onnx(tensor.element_type, &logits.dtype) || logits.count < tensor.extent[2])
        return sn_fail(SN_INVALID, "the model made no logits");
    for (int i = 0; i < g->choices; i++) {
        double value = sn_tensor_get(&logits, logits.count - tensor.extent[2] + i);
        if (!isfinite(value)) return sn_fail(SN_FAULT, "the model's logits are not finite");
        choice[i] = (Choice){i, value};
    }
    qsort(choice, (size_t)g->choices, sizeof *choice, likely_first);
    return NULL;
}

/* Drawn from the softmax of logits / temperature over the top-k; a temperature of 0 is the likeliest. The number
 * that decides depends on the seed and on how many were drawn before. */
static Status choose(const Generator *g, uint64_t drawn, int *id) {
    const Options *options = &g->cli->options;
    double temperature = sn_option_number(options, OPTION_TEMPERATURE, 1);
    int64_t most = sn_option_integer(options, OPTION_TOP_K, g->choices);
    Choice choice[BYTES];
    TRY(read_choices(g, choice));
    *id = choice[0].id;
    if (temperature == 0) return NULL;
    int count = most < g->choices ? (int)most : g->choices;
    double sum = 0, largest = choice[0].weight;
    for (int i = 0; i < count; i++) sum += choice[i].weight = exp((choice[i].weight - largest) / temperature);
    double left = sum * sn_random_uniform((uint64_t)sn_option_integer(options, OPTION_SEED, 0), drawn);
    for (int i = 0; i < count && left >= 0; i++) {
        left -= choice[i].weight;
        *id = choice[i].id;
    }
    return NULL;
}

static Status generate(Generator *g) {
    int64_t prompt = g->count,
            end = prompt + sn_option_integer(&g->cli->options, OPTION_TOKENS, TOKENS_USUAL);
    fwrite(g->id, 1, (size_t)prompt, stdout);
    while (g->count < end && fflush(stdout) == 0) {
        int64_t begin, length;
        int id;
        choose_ids(g, &begin, &length);
        Arena *scratch = sn_arena_child(g->cli->arena);
        Status status = run_ids(g, scratch, begin, length);
        sn_arena_free(scratch);
        TRY(status);
        TRY(choose(g, (uint64_t)(g->count - prompt), &id));
        g->id[g->count++] = (uint8_t)id;
        putchar(id);
    }
    putchar('\n');
    return NULL;
}

Status sn_cli_generate(Cli *cli, const sn_Model *model) {
    const Options *options = &cli->options;
    Generator g = {.cli = cli, .model = model};
    TRY(prepare(&g));
    sn_CompileOptions compile = sn_option_compile(options);
    compile.state_count = g.states.count;
    compile.state = g.states.at;
    sn_ContextOptions memory = {.size = sizeof memory,
                                .memory_limit = sn_option_integer(options, OPTION_MEMORY_LIMIT, 0)};
    sn_Program *program;
    sn_cli_progress("compiling");
    TRY(sn_compile(model, &compile, &program));
    sn_cli_progress("%s", "");
    Status status = sn_context_new(program, &memory, &g.run);
    if (!status) status = generate(&g);
    sn_context_free(g.run);
    sn_program_free(program);
    return status;
}

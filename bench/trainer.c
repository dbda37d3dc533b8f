#include "trainer.h"
#include "training.h"
#include <math.h>
#include <stdlib.h>

enum {
    USUAL_LENGTH = 256,
    NO_STATE = -1,
};

struct Trainer {
    Arena *arena;
    const sn_Model *model;
    const TrainerOptions *options;
    sn_TrainingOptions training;
    const Graph *graph; /* whose inputs are those of the step */
    Inputs inputs;      /* of the step */
    sn_Program *program;
    sn_Context *context;
    int counter;  /* the state that counts updates, or NO_STATE */
    int scale;    /* the state that is the scale of gradients, or NO_STATE */
    int64_t step; /* done */

    /* of windows of tokens */
    Language language;
    Tokens tokens;
    TokenPart train, held;

    Examples examples; /* otherwise */
};

/* ---- opening ---- */

static Status choose_length(const Language *language, int64_t asked, int64_t *out) {
    *out = asked               ? asked
           : language->length  ? language->length
           : language->context ? language->context
                               : USUAL_LENGTH;
    if (!language->context || *out <= language->context) return NULL;
    return sn_fail(SN_INVALID, "a window of %lld tokens, and the model has positions for %lld",
                   (long long)*out, (long long)language->context);
}

static Status open_data(Trainer *trainer, int64_t length) {
    const TrainerOptions *options = trainer->options;
    int64_t known = trainer->language.vocabulary, classes = trainer->language.classes;
    TokenRequest request = {.text = options->text,
                            .bytes = options->token_bytes,
                            .vocabulary = known && known < classes ? known : classes};
    TRY(sn_tokens_open(trainer->arena, options->data, &request, &trainer->tokens));
    return sn_tokens_split(&trainer->tokens, options->held_out, length, &trainer->train, &trainer->held);
}

static bool is_of_tokens(const Trainer *trainer) {
    return trainer->options->data != NULL;
}

static int64_t elements(const sn_Tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->extent[i];
    return count;
}

static bool is_given(int count, const InputSpec *spec, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(spec[i].name, name) == 0) return true;
    return false;
}

/* The place of an input of the step, or -1. */
static int find_input(const Trainer *trainer, const char *name) {
    for (int i = 0; i < trainer->graph->body->param.count; i++) {
        const char *own = trainer->graph->body->param.at[i]->name;
        if (own && strcmp(own, name) == 0) return i;
    }
    return -1;
}

/* Masks and positions can be made up, and what a model is told in floats, or to be right, cannot. */
static Status check_inputs(const Trainer *trainer) {
    const TrainerOptions *options = trainer->options;
    for (int i = 0; i < trainer->graph->body->param.count; i++) {
        const Value *value = trainer->graph->body->param.at[i];
        const char *name = value->name ? value->name : "";
        bool model = i < sn_model_input_count(trainer->model), windows = is_of_tokens(trainer);
        bool given = is_given(options->input_count, options->input, name);
        bool varies = is_given(options->example_count, options->example, name);
        if (strcmp(name, "learning_rate") == 0 || (windows && !model)) continue;
        if (given && (varies || (windows && i == trainer->language.tokens)))
            return sn_fail(SN_INVALID, "input '%s' is what the data is for", name);
        bool needed = sn_dtype_is_float(value->type.dtype) || !model;
        if (needed && !given && !varies)
            return sn_fail(SN_INVALID, "input '%s' is not given by --input%s", name,
                           windows ? "" : " or --examples");
    }
    return NULL;
}

static Status open_examples(Trainer *trainer) {
    const TrainerOptions *o = trainer->options;
    return sn_examples_open(trainer->arena, trainer->graph, o->example_count, o->example, o->batch,
                            o->held_out, &trainer->examples);
}

static Status make_inputs(Trainer *trainer, int64_t length) {
    const TrainerOptions *options = trainer->options;
    const Language *language = &trainer->language;
    InputRequest request = {.input_count = options->input_count, .input = options->input};
    ShapeSpec window = {.rank = 2, .extent = {options->batch, length}};
    TRY(check_inputs(trainer));
    if (is_of_tokens(trainer)) {
        window.name = sn_model_input(trainer->model, language->tokens).name;
        request.shape_count = 1, request.shape = &window;
    } else {
        request.shape_count = trainer->examples.count, request.shape = trainer->examples.shape;
    }
    TRY(sn_inputs_make(trainer->arena, trainer->graph, &request, &trainer->inputs));
    if (!is_of_tokens(trainer)) return NULL;
    Inputs of_model = trainer->inputs;
    of_model.count = sn_model_input_count(trainer->model);
    sn_language_fill(language, &request, &of_model, 0);
    int64_t labels = elements(&trainer->inputs.tensor[find_input(trainer, "labels")]);
    int64_t tokens = elements(&trainer->inputs.tensor[language->tokens]);
    if (labels == tokens) return NULL;
    return sn_fail(SN_INVALID, "the model has logits for %lld positions of %lld tokens", (long long)labels,
                   (long long)tokens);
}

/* What the step is, and the graph that has its inputs. */
static Status choose_step(Trainer *trainer) {
    const TrainerOptions *options = trainer->options;
    Training training;
    Graph *graph;
    trainer->training = options->training;
    trainer->training.size = sizeof trainer->training;
    trainer->training.output = options->logits;
    trainer->training.accumulate = (int)options->accumulate;
    trainer->training.skip_nonfinite = !options->late;
    if (is_of_tokens(trainer))
        trainer->training.output = trainer->model->graph->output_name.at[trainer->language.logits];
    TRY(sn_training_read(&trainer->training, &training));
    TRY(sn_training_inputs(trainer->arena, trainer->model->graph, &training, &graph));
    trainer->graph = graph;
    return NULL;
}

/* Sets the inputs, whose memory stays the same: runs read what is in it then. */
static Status set_inputs(Trainer *trainer) {
    for (int i = 0; i < trainer->inputs.count; i++)
        TRY(sn_context_set_input(trainer->context, i, &trainer->inputs.tensor[i]));
    trainer->counter = trainer->scale = NO_STATE;
    for (int i = 0; i < sn_context_state_count(trainer->context); i++) {
        const char *name = sn_context_state_name(trainer->context, i);
        if (strcmp(name, "optimizer.step") == 0) trainer->counter = i;
        if (strcmp(name, "optimizer.loss_scale") == 0) trainer->scale = i;
    }
    return NULL;
}

static void close_trainer(void *trainer) {
    sn_trainer_close(trainer);
}

Status sn_trainer_open(Arena *arena, const sn_Model *model, const TrainerOptions *options, Trainer **out) {
    Trainer *trainer = *out = SN_NEW(arena, Trainer);
    int64_t length = 0;
    *trainer = (Trainer){.arena = arena, .model = model, .options = options};
    sn_arena_defer(arena, close_trainer, trainer);
    if (is_of_tokens(trainer)) {
        TRY(sn_language_find(model->graph, options->logits, &trainer->language));
        TRY(choose_length(&trainer->language, options->length, &length));
        TRY(open_data(trainer, length));
    }
    TRY(choose_step(trainer));
    if (!is_of_tokens(trainer)) TRY(open_examples(trainer));
    TRY(make_inputs(trainer, length));
    trainer->training.extent =
        sn_inputs_extents(arena, trainer->graph, &trainer->inputs, &trainer->training.extent_count);
    TRY(sn_compile_training(model, &options->compile, &trainer->training, &trainer->program));
    TRY(sn_context_new(trainer->program, NULL, &trainer->context));
    return set_inputs(trainer);
}

void sn_trainer_close(Trainer *trainer) {
    sn_context_free(trainer->context);
    sn_program_free(trainer->program);
    trainer->context = NULL;
    trainer->program = NULL;
}

int64_t sn_trainer_length(const Trainer *trainer) {
    return trainer->train.length;
}

int64_t sn_trainer_step_size(const Trainer *trainer) {
    int64_t each = is_of_tokens(trainer) ? trainer->train.length : 1;
    return trainer->options->batch * each * trainer->options->accumulate;
}

const BudgetReport *sn_trainer_budget(const Trainer *trainer) {
    return sn_program_budget(trainer->program);
}

int64_t sn_trainer_step(const Trainer *trainer) {
    return trainer->step;
}

/* ---- steps ---- */

static void put_window(Trainer *trainer, const TokenPart *part, int64_t start, int64_t row) {
    const Inputs *inputs = &trainer->inputs;
    sn_tokens_window(part, start, row * part->length, trainer->language.dtype,
                     inputs->tensor[trainer->language.tokens].data,
                     inputs->tensor[find_input(trainer, "labels")].data);
}

/* What is drawn as number `index`. */
static void put_drawn(Trainer *trainer, uint64_t index, int64_t row) {
    uint64_t seed = trainer->options->seed;
    if (is_of_tokens(trainer))
        put_window(trainer, &trainer->train, sn_tokens_random_start(&trainer->train, seed, index), row);
    else
        sn_examples_put(&trainer->examples, sn_examples_random(&trainer->examples, seed, index), row,
                        &trainer->inputs);
}

/* Number `index` of `count` that are held out. */
static void put_held(Trainer *trainer, int64_t index, int64_t count, int64_t row) {
    if (is_of_tokens(trainer))
        put_window(trainer, &trainer->held, sn_tokens_even_start(&trainer->held, index, count), row);
    else
        sn_examples_put(&trainer->examples, sn_examples_even(&trainer->examples, index, count), row,
                        &trainer->inputs);
}

static Status read_loss(const Trainer *trainer, double *out) {
    sn_Tensor loss;
    DType dtype;
    TRY(sn_context_output(trainer->context, 0, &loss));
    if (!sn_dtype_from_onnx(loss.element_type, &dtype)) return sn_fail(SN_INTERNAL, "a loss without a type");
    *out = sn_tensor_get(&(Tensor){.dtype = dtype, .count = 1, .bytes = loss.data}, 0);
    return NULL;
}

Status sn_trainer_scales(const Trainer *trainer, bool *out) {
    sn_Tensor state;
    *out = false;
    if (trainer->scale == NO_STATE) return NULL;
    TRY(sn_context_state_get(trainer->context, trainer->scale, &state));
    *out = *(const float *)state.data > 1;
    return NULL;
}

/* Updates made so far; 0 where nothing counts them. */
static Status count_updates(const Trainer *trainer, int64_t *out) {
    sn_Tensor state;
    *out = 0;
    if (trainer->counter == NO_STATE) return NULL;
    TRY(sn_context_state_get(trainer->context, trainer->counter, &state));
    *out = *(const int64_t *)state.data;
    return NULL;
}

Status sn_trainer_run(Trainer *trainer, double *loss, bool *updated) {
    const TrainerOptions *options = trainer->options;
    int64_t runs = options->accumulate, before, after;
    double sum = 0;
    TRY(count_updates(trainer, &before));
    float rate = (float)sn_schedule_rate(&options->schedule, trainer->step);
    memcpy(trainer->inputs.tensor[find_input(trainer, "learning_rate")].data, &rate, sizeof rate);
    for (int64_t run = 0; run < runs; run++) {
        double one;
        for (int64_t row = 0; row < options->batch; row++)
            put_drawn(trainer, (uint64_t)((trainer->step * runs + run) * options->batch + row), row);
        TRY(sn_context_run(trainer->context));
        TRY(read_loss(trainer, &one));
        sum += one;
    }
    TRY(count_updates(trainer, &after));
    trainer->step++;
    *loss = sum / (double)runs;
    *updated = trainer->counter == NO_STATE || options->late ? isfinite(*loss) : after > before;
    return NULL;
}

Status sn_trainer_evaluate(Trainer *trainer, double *loss) {
    const TrainerOptions *options = trainer->options;
    double sum = 0, one;
    int64_t windows = options->eval_batches * options->batch;
    for (int64_t i = 0; i < windows; i++) {
        put_held(trainer, i, windows, i % options->batch);
        if ((i + 1) % options->batch) continue;
        TRY(sn_context_evaluate(trainer->context));
        TRY(read_loss(trainer, &one));
        sum += one;
    }
    *loss = sum / (double)options->eval_batches;
    return NULL;
}

/* ---- files ---- */

static bool is_finite(const Tensor *tensor) {
    const uint32_t exponent = 0x7f800000;
    bool finite = true;
    if (tensor->dtype == SN_F32) {
        const uint32_t *bits = (const void *)tensor->bytes;
        for (int64_t i = 0; i < tensor->count; i++) finite &= (bits[i] & exponent) != exponent;
    } else if (sn_dtype_is_float(tensor->dtype)) {
        for (int64_t i = 0; i < tensor->count && finite; i++) finite = isfinite(sn_tensor_get(tensor, i));
    }
    return finite;
}

/* A gradient that is not finite is in the moments, before the next loss shows it. */
static Status check_states(Trainer *trainer, Arena *scratch) {
    int count;
    NamedTensor *state;
    if (!trainer->options->late) return NULL;
    TRY(sn_checkpoint_states(scratch, trainer->context, &count, &state));
    for (int i = 0; i < count; i++)
        if (!is_finite(state[i].tensor))
            return sn_fail(SN_FAULT, "step %lld: the state \"%s\" is not finite any more and is not saved",
                           (long long)trainer->step, state[i].name);
    return NULL;
}

Status sn_trainer_save(Trainer *trainer, const char *path, const char *options) {
    Arena *scratch = sn_arena_child(trainer->arena);
    Checkpoint checkpoint = {trainer->step, options};
    Status status = check_states(trainer, scratch);
    if (!status) status = sn_checkpoint_write(scratch, path, trainer->context, &checkpoint);
    sn_arena_free(scratch);
    return status;
}

Status sn_trainer_resume(Trainer *trainer, const char *path, const char **options) {
    Checkpoint checkpoint;
    TRY(sn_checkpoint_read(trainer->arena, path, trainer->context, &checkpoint));
    trainer->step = checkpoint.step;
    *options = checkpoint.options;
    return NULL;
}

static const Tensor *transposed(Arena *arena, const Tensor *from) {
    Tensor *tensor = SN_NEW(arena, Tensor);
    size_t size = (size_t)sn_dtype_bytes(from->dtype), rows = (size_t)from->extent[0],
           columns = (size_t)from->extent[1];
    int64_t *extent = SN_ARRAY(arena, int64_t, 2);
    char *bytes = sn_arena_alloc(arena, rows * columns * size);
    extent[0] = from->extent[1], extent[1] = from->extent[0];
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++)
            memcpy(bytes + (k * rows + i) * size, (const char *)from->bytes + (i * columns + k) * size, size);
    *tensor =
        (Tensor){.dtype = from->dtype, .rank = 2, .extent = extent, .count = from->count, .bytes = bytes};
    return tensor;
}

/* The weights by the names of all initializers that have them. */
static Status write_model(Arena *arena, sn_Context *context, const char *file, const char *path) {
    int count;
    NamedTensor *state;
    SN_VEC(NamedTensor) weight = {0};
    TRY(sn_checkpoint_states(arena, context, &count, &state));
    for (int i = 0; i < count; i++) {
        int copies;
        const char *const *copy = sn_context_state_copies(context, i, &copies);
        sn_push(arena, &weight, state[i]);
        for (int k = 0; k < copies; k++)
            sn_push(arena, &weight, ((NamedTensor){copy[k], transposed(arena, state[i].tensor)}));
    }
    return sn_save_onnx(arena, file, path, weight.count, weight.at);
}

Status sn_trainer_export(Trainer *trainer, const char *file, const char *path) {
    Arena *scratch = sn_arena_child(trainer->arena);
    Status status = check_states(trainer, scratch);
    if (!status) status = write_model(scratch, trainer->context, file, path);
    sn_arena_free(scratch);
    return status;
}

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
    Language language;
    Tokens tokens;
    TokenPart train, held;
    sn_Program *program;
    sn_Context *context;
    Inputs inputs;   /* of the model */
    sn_Tensor label; /* i64 [batch, length] */
    float rate;
    int counter;  /* the state that counts updates, or NO_STATE */
    int64_t step; /* done */
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

static int64_t elements(const sn_Tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->extent[i];
    return count;
}

static bool is_given(const TrainerOptions *options, const char *name) {
    for (int i = 0; i < options->input_count; i++)
        if (strcmp(options->input[i].name, name) == 0) return true;
    return false;
}

/* Masks and positions can be made up, and what a model is told in floats cannot. */
static Status check_inputs(const Trainer *trainer) {
    for (int i = 0; i < sn_model_input_count(trainer->model); i++) {
        const char *name = sn_model_input(trainer->model, i).name;
        bool is_float = sn_dtype_is_float(trainer->model->graph->body->param.at[i]->type.dtype);
        bool given = is_given(trainer->options, name);
        if (given && i == trainer->language.tokens)
            return sn_fail(SN_INVALID, "input '%s' is what the data is for", name);
        if (is_float && !given) return sn_fail(SN_INVALID, "input '%s' is not given by --input", name);
    }
    return NULL;
}

static Status make_inputs(Trainer *trainer, int64_t length) {
    const TrainerOptions *options = trainer->options;
    const Language *language = &trainer->language;
    const char *name = sn_model_input(trainer->model, language->tokens).name;
    ShapeSpec shape = {.name = name, .rank = 2, .extent = {options->batch, length}};
    TRY(check_inputs(trainer));
    InputRequest request = {
        .shape_count = 1, .shape = &shape, .input_count = options->input_count, .input = options->input};
    TRY(sn_inputs_make(trainer->arena, trainer->model->graph, &request, &trainer->inputs));
    sn_language_fill(language, &request, &trainer->inputs, 0);
    trainer->label = trainer->inputs.tensor[language->tokens];
    trainer->label.element_type = sn_dtype_onnx(SN_I64);
    trainer->label.data = SN_ARRAY(trainer->arena, int64_t, elements(&trainer->label));
    return NULL;
}

static Status compile(Trainer *trainer) {
    const TrainerOptions *options = trainer->options;
    sn_TrainingOptions training = options->training;
    training.size = sizeof training;
    training.loss = SN_LOSS_CLASSES;
    training.output = trainer->model->graph->output_name.at[trainer->language.logits];
    training.accumulate = (int)options->accumulate;
    training.skip_nonfinite = 1;
    training.extent =
        sn_inputs_extents(trainer->arena, trainer->model->graph, &trainer->inputs, &training.extent_count);
    TRY(sn_compile_training(trainer->model, &options->compile, &training, &trainer->program));
    return sn_context_new(trainer->program, NULL, &trainer->context);
}

/* Sets the inputs, whose memory stays the same: runs read what is in it then. */
static Status set_inputs(Trainer *trainer) {
    const sn_Tensor rate = {.element_type = sn_dtype_onnx(SN_F32), .data = &trainer->rate};
    for (int i = 0; i < sn_program_input_count(trainer->program); i++) {
        const char *name = sn_program_input(trainer->program, i).name;
        const sn_Tensor *tensor = i < trainer->inputs.count            ? &trainer->inputs.tensor[i]
                                  : strcmp(name, "learning_rate") == 0 ? &rate
                                                                       : &trainer->label;
        TRY(sn_context_set_input(trainer->context, i, tensor));
    }
    trainer->counter = NO_STATE;
    for (int i = 0; i < sn_context_state_count(trainer->context); i++)
        if (strcmp(sn_context_state_name(trainer->context, i), "optimizer.step") == 0) trainer->counter = i;
    return NULL;
}

static void close_trainer(void *trainer) {
    sn_trainer_close(trainer);
}

Status sn_trainer_open(Arena *arena, const sn_Model *model, const TrainerOptions *options, Trainer **out) {
    Trainer *trainer = *out = SN_NEW(arena, Trainer);
    int64_t length;
    *trainer = (Trainer){.arena = arena, .model = model, .options = options};
    sn_arena_defer(arena, close_trainer, trainer);
    TRY(sn_language_find(model->graph, options->logits, &trainer->language));
    TRY(choose_length(&trainer->language, options->length, &length));
    TRY(open_data(trainer, length));
    TRY(make_inputs(trainer, length));
    TRY(compile(trainer));
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

int64_t sn_trainer_step_tokens(const Trainer *trainer) {
    return elements(&trainer->label) * trainer->options->accumulate;
}

const BudgetReport *sn_trainer_budget(const Trainer *trainer) {
    return sn_program_budget(trainer->program);
}

int64_t sn_trainer_step(const Trainer *trainer) {
    return trainer->step;
}

/* ---- steps ---- */

static void put_window(Trainer *trainer, const TokenPart *part, int64_t start, int64_t row) {
    const sn_Tensor *tokens = &trainer->inputs.tensor[trainer->language.tokens];
    sn_tokens_window(part, start, row * part->length, trainer->language.dtype, tokens->data,
                     trainer->label.data);
}

static Status read_loss(const Trainer *trainer, double *out) {
    sn_Tensor loss;
    DType dtype;
    TRY(sn_context_output(trainer->context, 0, &loss));
    if (!sn_dtype_from_onnx(loss.element_type, &dtype)) return sn_fail(SN_INTERNAL, "a loss without a type");
    *out = sn_tensor_get(&(Tensor){.dtype = dtype, .count = 1, .bytes = loss.data}, 0);
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
    trainer->rate = (float)sn_schedule_rate(&options->schedule, trainer->step);
    for (int64_t run = 0; run < runs; run++) {
        double one;
        for (int64_t row = 0; row < options->batch; row++) {
            uint64_t index = (uint64_t)((trainer->step * runs + run) * options->batch + row);
            put_window(trainer, &trainer->train,
                       sn_tokens_random_start(&trainer->train, options->seed, index), row);
        }
        TRY(sn_context_run(trainer->context));
        TRY(read_loss(trainer, &one));
        sum += one;
    }
    TRY(count_updates(trainer, &after));
    trainer->step++;
    *loss = sum / (double)runs;
    *updated = trainer->counter == NO_STATE ? isfinite(*loss) : after > before;
    return NULL;
}

Status sn_trainer_evaluate(Trainer *trainer, double *loss) {
    const TrainerOptions *options = trainer->options;
    double sum = 0, one;
    int64_t windows = options->eval_batches * options->batch;
    for (int64_t i = 0; i < windows; i++) {
        put_window(trainer, &trainer->held, sn_tokens_even_start(&trainer->held, i, windows),
                   i % options->batch);
        if ((i + 1) % options->batch) continue;
        TRY(sn_context_evaluate(trainer->context));
        TRY(read_loss(trainer, &one));
        sum += one;
    }
    *loss = sum / (double)options->eval_batches;
    return NULL;
}

/* ---- files ---- */

Status sn_trainer_save(Trainer *trainer, const char *path, const char *options) {
    Arena *scratch = sn_arena_child(trainer->arena);
    Checkpoint checkpoint = {trainer->step, options};
    Status status = sn_checkpoint_write(scratch, path, trainer->context, &checkpoint);
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

Status sn_trainer_export(Trainer *trainer, const char *file, const char *path) {
    Arena *scratch = sn_arena_child(trainer->arena);
    int count;
    NamedTensor *state;
    Status status = sn_checkpoint_states(scratch, trainer->context, &count, &state);
    if (!status) status = sn_save_onnx(scratch, file, path, count, state);
    sn_arena_free(scratch);
    return status;
}

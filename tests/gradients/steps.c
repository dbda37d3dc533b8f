/* steps MODEL eager|compiled THREADS NAME=FILE.npy…: the losses of ten AdamW steps with one batch, learning rate 1e-3 and
 * decay 0.1, a line each, through the public interface. */
#include "load.h"
#include "sinter/sinter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 10 };

typedef struct Job {
    Arena *arena;
    sn_Model *model;
    sn_Program *program;
    sn_Context *context;
} Job;

static Status set_input(Job *job, int index, int count, char **argument) {
    static float rate = 1e-3f;
    sn_TensorInfo info = sn_program_input(job->program, index);
    size_t length = strlen(info.name);
    if (strcmp(info.name, "learning_rate") == 0)
        return sn_context_set_input(job->context, index, &(sn_Tensor){info.element_type, 0, NULL, &rate});
    for (int k = 0; k < count; k++) {
        Tensor *tensor;
        if (strncmp(argument[k], info.name, length) != 0 || argument[k][length] != '=') continue;
        TRY(sn_load_tensor(job->arena, argument[k] + length + 1, &tensor, NULL));
        sn_Tensor view = {sn_dtype_onnx(tensor->dtype), tensor->rank, tensor->extent, (void *)tensor->bytes};
        return sn_context_set_input(job->context, index, &view);
    }
    return sn_fail(SN_INVALID, "input \"%s\" is missing", info.name);
}

static Status work(Job *job, int count, char **argument) {
    sn_CompileOptions options = {.size = sizeof options,
                                 .mode = strcmp(argument[1], "eager") == 0 ? SN_EAGER : SN_COMPILED,
                                 .threads = atoi(argument[2])};
    sn_TrainingOptions training = {.size = sizeof training, .loss = SN_LOSS_CLASSES, .weight_decay = 0.1};
    TRY(sn_model_open(argument[0], &job->model));
    TRY(sn_compile_training(job->model, &options, &training, &job->program));
    TRY(sn_context_new(job->program, NULL, &job->context));
    for (int i = 0; i < sn_program_input_count(job->program); i++)
        TRY(set_input(job, i, count - 3, argument + 3));
    for (int i = 0; i < STEPS; i++) {
        sn_Tensor loss;
        TRY(sn_context_run(job->context));
        TRY(sn_context_output(job->context, 0, &loss));
        printf("%.9g\n", (double)*(const float *)loss.data);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    Job job = {.arena = sn_arena_new()};
    Status status = work(&job, argc - 1, argv + 1);
    int code = status != NULL;
    if (status) fprintf(stderr, "%s\n", sn_error_message(status));
    sn_error_free(status);
    sn_context_free(job.context);
    if (job.program) sn_program_free(job.program);
    if (job.model) sn_model_close(job.model);
    sn_arena_free(job.arena);
    return code;
}

/* gradients MODEL eager|compiled cross_entropy|mse FOLDER NAME=FILE.npy…: the loss of the model's first float output and
 * its gradients by all float initializers, through kernels, as FOLDER/loss.npy and FOLDER/NAME.npy. */
#include "autodiff.h"
#include "compile.h"
#include "context.h"
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 512 };

typedef struct Job {
    Arena *arena;
    Graph *graph;
    bool eager;
    int count;          /* of weights */
    Value *value[MOST]; /* the inputs in their places */
    const Tensor *weight[MOST];
    sn_Program *program;
    sn_Context *context;
} Job;

static Status run_pass(Job *job, const char *name) {
    PassFunction *function;
    Target target;
    int64_t spent = 0;
    sn_target_cpu(&target, 32, 16, 32 << 10, 1 << 20);
    Remarks remarks = {.arena = job->arena};
    Pass pass = {.name = name,
                 .arena = job->arena,
                 .target = &target,
                 .limit = INT64_MAX,
                 .spent = &spent,
                 .remarks = &remarks};
    if (!sn_pass_by_name(name, &function)) return sn_fail(SN_INTERNAL, "there is no pass %s", name);
    function(&pass, job->graph);
    return pass.status;
}

/* Inputs take the places of the initializers, so that nothing is folded into them. */
static void free_weights(Job *job) {
    for (const Node *node = job->graph->body->first; node && job->count < MOST; node = node->next) {
        Value *output = node->output[0];
        if (node->op != SN_OP_CONSTANT || !output->name || !sn_dtype_is_float(output->type.dtype)) continue;
        if (output->type.rank == 0) continue;
        job->weight[job->count] = ((const AttrConstant *)node->attr)->tensor;
        job->value[job->count] = sn_graph_input(job->graph, output->name, output->type);
        sn_value_replace(output, job->value[job->count++]);
    }
}

/* Adds the loss as output 0, and the gradient by each initializer as an output of its name. */
static Status differentiate(Job *job, LossKind kind) {
    Value *loss, *gradient[MOST];
    free_weights(job);
    TRY(run_pass(job, "simplify"));
    TRY(run_pass(job, "recognise"));
    TRY(sn_append_loss(job->graph, &(LossOptions){.kind = kind}, &loss));
    TRY(sn_autodiff(job->graph, loss, job->count, job->value, gradient));
    for (int k = 0; k < job->count; k++) sn_graph_output(job->graph, job->value[k]->name, gradient[k]);
    return NULL;
}

static Status start(Job *job) {
    Ledger ledger = {0};
    PipelineOptions options = {.eager = job->eager, .verify = true};
    Plan *plan;
    Arena *arena = sn_arena_new(); /* the program's own from here on */
    TRY(sn_program_open(arena, NULL, 1, getenv("SINTER_CACHE"), &job->program));
    TRY(sn_compile_plan(arena, job->graph, &job->program->device->target, &options, NULL, &ledger, &plan));
    TRY(sn_program_load(job->program, plan));
    return sn_context_new(job->program, NULL, &job->context);
}

/* What is given for an input, or the initializer. */
static Status find_tensor(Job *job, const Value *param, int count, char **argument, Tensor **out) {
    size_t length = strlen(param->name);
    for (int k = 0; k < job->count; k++) {
        *out = (Tensor *)job->weight[k];
        if (job->value[k] == param) return NULL;
    }
    for (int k = 0; k < count; k++)
        if (strncmp(argument[k], param->name, length) == 0 && argument[k][length] == '=')
            return sn_load_tensor(job->arena, argument[k] + length + 1, out, NULL);
    return sn_fail(SN_INVALID, "input \"%s\" is missing", param->name);
}

static Status set_inputs(Job *job, int count, char **argument) {
    const Region *body = job->graph->body;
    for (int i = 0; i < body->param.count; i++) {
        Tensor *tensor;
        TRY(find_tensor(job, body->param.at[i], count, argument, &tensor));
        sn_Tensor view = {sn_dtype_onnx(tensor->dtype), tensor->rank, tensor->extent, (void *)tensor->bytes};
        TRY(sn_context_set_input(job->context, i, &view));
    }
    return NULL;
}

static Status save_outputs(Job *job, const char *folder) {
    for (int i = 0; i < job->graph->body->result.count; i++) {
        const char *name = job->graph->output_name.at[i];
        sn_Tensor got;
        TRY(sn_context_output(job->context, i, &got));
        Tensor tensor = {.rank = got.rank, .extent = got.extent, .count = 1, .bytes = got.data};
        for (int k = 0; k < got.rank; k++) tensor.count *= got.extent[k];
        if (!sn_dtype_from_onnx(got.element_type, &tensor.dtype)) return sn_fail(SN_INTERNAL, "element type");
        char *path = sn_arena_printf(job->arena, "%s/%s.npy", folder, name);
        TRY(sn_save_tensor(path, &tensor, name));
    }
    return NULL;
}

static Status work(Job *job, int count, char **argument) {
    TRY(sn_load_onnx(job->arena, argument[0], NULL, &job->graph, NULL));
    job->eager = strcmp(argument[1], "eager") == 0;
    TRY(differentiate(job, strcmp(argument[2], "mse") == 0 ? SN_LOSS_MSE : SN_LOSS_CROSS_ENTROPY));
    TRY(start(job));
    TRY(set_inputs(job, count - 4, argument + 4));
    TRY(sn_context_run(job->context));
    return save_outputs(job, argument[3]);
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    Job job = {.arena = sn_arena_new()};
    Status status = work(&job, argc - 1, argv + 1);
    int code = status != NULL;
    if (status) fprintf(stderr, "%s\n", sn_error_message(status));
    sn_error_free(status);
    sn_context_free(job.context);
    sn_program_free(job.program);
    sn_arena_free(job.arena);
    return code;
}

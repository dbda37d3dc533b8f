#include "session.h"
#include "clock.h"
#include "guard.h"
#include <stdlib.h>

/* ---- models ---- */

static void release_model(const sn_Model *shared) {
    sn_Model *model = (sn_Model *)shared;
    if (!model || atomic_fetch_sub(&model->references, 1) != 1) return;
    sn_arena_free(model->arena);
    free(model);
}

static sn_TensorInfo tensor_info(const sn_Model *model, const char *name, Type type) {
    int64_t *extent = SN_ARRAY(model->arena, int64_t, type.rank);
    const char **dim_name = SN_ARRAY(model->arena, const char *, type.rank);
    for (int i = 0; i < type.rank; i++) {
        dim_name[i] = "";
        if (sn_dim_is(type.dim[i], &extent[i])) continue;
        extent[i] = -1;
        Text text = sn_text(model->arena);
        sn_dim_print(&text, model->graph->dims, type.dim[i]);
        dim_name[i] = sn_text_string(&text);
        if (type.dim[i]->kind == SN_DIM_SYMBOL)
            dim_name[i] = sn_dims_symbol_name(model->graph->dims, (int)type.dim[i]->value);
    }
    return (sn_TensorInfo){.name = name ? name : "",
                           .element_type = sn_dtype_onnx(type.dtype),
                           .rank = type.rank,
                           .extent = extent,
                           .dim_name = dim_name};
}

typedef struct OpenRequest {
    sn_Model *model;
    const char *path;
} OpenRequest;

static Status open_model(void *argument) {
    OpenRequest *request = argument;
    sn_Model *model = request->model;
    double start = sn_clock();
    TRY(sn_load_onnx(model->arena, request->path, NULL, &model->graph, &model->info));
    model->parse_seconds = sn_clock() - start;
    const Graph *graph = model->graph;
    model->input = SN_ARRAY(model->arena, sn_TensorInfo, graph->body->param.count);
    model->output = SN_ARRAY(model->arena, sn_TensorInfo, graph->body->result.count);
    for (int i = 0; i < graph->body->param.count; i++)
        model->input[i] = tensor_info(model, graph->body->param.at[i]->name, graph->body->param.at[i]->type);
    for (int i = 0; i < graph->body->result.count; i++)
        model->output[i] = tensor_info(model, graph->output_name.at[i], graph->body->result.at[i]->type);
    return NULL;
}

sn_Error *sn_model_open(const char *path, sn_Model **out) {
    *out = NULL;
    sn_Model *model = calloc(1, sizeof *model);
    if (!model) return sn_fail(SN_NO_MEMORY, "out of memory for a model");
    atomic_init(&model->references, 1);
    model->arena = sn_arena_new();
    OpenRequest request = {model, path};
    Status status = model->arena ? sn_guarded(model->arena, open_model, &request)
                                 : sn_fail(SN_NO_MEMORY, "out of memory for a model");
    if (status)
        release_model(model);
    else
        *out = model;
    return status;
}

void sn_model_close(sn_Model *model) {
    release_model(model);
}

int sn_model_input_count(const sn_Model *model) {
    return model->graph->body->param.count;
}

int sn_model_output_count(const sn_Model *model) {
    return model->graph->body->result.count;
}

sn_TensorInfo sn_model_input(const sn_Model *model, int index) {
    bool there = index >= 0 && index < sn_model_input_count(model);
    return there ? model->input[index] : (sn_TensorInfo){.name = ""};
}

sn_TensorInfo sn_model_output(const sn_Model *model, int index) {
    bool there = index >= 0 && index < sn_model_output_count(model);
    return there ? model->output[index] : (sn_TensorInfo){.name = ""};
}

/* ---- programs ---- */

typedef struct CompileRequest {
    const sn_Model *model;
    sn_CompileOptions options;
    const SessionOptions *session;
    Arena *arena;
    sn_Program *program;
} CompileRequest;

/* Fields past what the caller's header knows keep their defaults. */
static Status read_options(const sn_CompileOptions *options, sn_CompileOptions *out) {
    *out = (sn_CompileOptions){0};
    if (options && options->size < sizeof options->size)
        return sn_fail(SN_INVALID, "compile options without their size");
    if (options) memcpy(out, options, options->size < sizeof *out ? options->size : sizeof *out);
    if (out->mode != SN_COMPILED && out->mode != SN_EAGER)
        return sn_fail(SN_INVALID, "mode %d does not exist", (int)out->mode);
    return out->threads < 0 ? sn_fail(SN_INVALID, "%d threads", out->threads) : NULL;
}

static Status compile(void *argument) {
    CompileRequest *request = argument;
    const sn_CompileOptions *options = &request->options;
    TRY(sn_program_open(request->arena, options->device, options->threads, options->cache_dir,
                        &request->program));
    sn_Program *program = request->program;
    PipelineOptions pipeline = request->session ? request->session->pipeline : (PipelineOptions){0};
    pipeline.eager = options->mode == SN_EAGER;
#ifndef NDEBUG
    pipeline.verify = true;
#endif
    program->ledger.parse = request->model->parse_seconds;
    Plan *plan;
    TRY(sn_compile_plan(request->arena, request->model->graph, &program->device->target, &pipeline,
                        request->session ? request->session->result : NULL, &program->ledger, &plan));
    return sn_program_load(program, plan);
}

Status sn_session_compile(const sn_Model *model, const sn_CompileOptions *options,
                          const SessionOptions *session, sn_Program **out) {
    *out = NULL;
    CompileRequest request = {.model = model, .session = session};
    TRY(read_options(options, &request.options));
    request.arena = sn_arena_new();
    if (!request.arena) return sn_fail(SN_NO_MEMORY, "out of memory for a program");
    Status status = sn_guarded(request.arena, compile, &request);
    if (status) {
        if (request.program)
            sn_program_free(request.program);
        else
            sn_arena_free(request.arena);
        return status;
    }
    atomic_fetch_add(&((sn_Model *)model)->references, 1);
    request.program->model = model;
    request.program->release_model = release_model;
    *out = request.program;
    return NULL;
}

sn_Error *sn_compile(const sn_Model *model, const sn_CompileOptions *options, sn_Program **out) {
    return sn_session_compile(model, options, NULL, out);
}

const Plan *sn_program_plan(const sn_Program *program) {
    return program->plan;
}

const Ledger *sn_program_ledger(const sn_Program *program) {
    return &program->ledger;
}

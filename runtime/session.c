#include "session.h"
#include "clock.h"
#include "guard.h"
#include "loops.h"
#include "number.h"
#include "saved.h"
#include "tuning_file.h"
#include <stdlib.h>

/* ---- models ---- */

static void release_model(const sn_Model *shared) {
    sn_Model *model = (sn_Model *)shared;
    if (!model || atomic_fetch_sub(&model->references, 1) != 1) return;
    sn_arena_free(model->arena);
    free(model);
}

static sn_TensorInfo tensor_info(Arena *arena, const Graph *graph, const char *name, Type type) {
    int64_t *extent = SN_ARRAY(arena, int64_t, type.rank);
    const char **dim_name = SN_ARRAY(arena, const char *, type.rank);
    for (int i = 0; i < type.rank; i++) {
        dim_name[i] = "";
        if (sn_dim_is(type.dim[i], &extent[i])) continue;
        extent[i] = -1;
        Text text = sn_text(arena);
        sn_dim_print(&text, graph->dims, type.dim[i]);
        dim_name[i] = sn_text_string(&text);
        if (type.dim[i]->kind == SN_DIM_SYMBOL)
            dim_name[i] = sn_dims_symbol_name(graph->dims, (int)type.dim[i]->value);
    }
    return (sn_TensorInfo){.name = name ? name : "",
                           .element_type = sn_dtype_onnx(type.dtype),
                           .rank = type.rank,
                           .extent = extent,
                           .dim_name = dim_name};
}

static sn_TensorInfo *input_infos(Arena *arena, const Graph *graph) {
    sn_TensorInfo *info = SN_ARRAY(arena, sn_TensorInfo, graph->body->param.count);
    for (int i = 0; i < graph->body->param.count; i++)
        info[i] = tensor_info(arena, graph, graph->body->param.at[i]->name, graph->body->param.at[i]->type);
    return info;
}

static sn_TensorInfo *output_infos(Arena *arena, const Graph *graph) {
    sn_TensorInfo *info = SN_ARRAY(arena, sn_TensorInfo, graph->body->result.count);
    for (int i = 0; i < graph->body->result.count; i++)
        info[i] = tensor_info(arena, graph, graph->output_name.at[i], graph->body->result.at[i]->type);
    return info;
}

typedef struct OpenRequest {
    sn_Model *model;
    const char *path;
    const LoadOptions *options;  /* or NULL */
    const sn_OpenOptions *asked; /* the same in the public form, or NULL */
    bool saved;                  /* the file may be a saved program */
} OpenRequest;

static Status read_constant(Arena *arena, const sn_Constant *from, ConstantInput *out) {
    const sn_Tensor *given = &from->tensor;
    void *bytes;
    DType dtype;
    int64_t size;
    const char *name = from->name ? from->name : "";
    if (!sn_dtype_from_onnx(given->element_type, &dtype) || given->rank < 0 || given->rank > SN_MAX_RANK ||
        (given->rank > 0 && !given->extent))
        return sn_fail(SN_INVALID, "constant %s: element type %d, rank %d", sn_quoted(arena, name),
                       given->element_type, given->rank);
    size = sn_dtype_bytes(dtype);
    for (int k = 0; k < given->rank; k++)
        if (given->extent[k] < 0 || !sn_mul_i64(size, given->extent[k], &size))
            return sn_fail(SN_INVALID, "constant %s: extent %lld", sn_quoted(arena, name),
                           (long long)given->extent[k]);
    if (size > 0 && !given->data)
        return sn_fail(SN_INVALID, "constant %s has no data", sn_quoted(arena, name));
    *out = (ConstantInput){.name = name};
    out->tensor = sn_tensor_new(arena, dtype, given->rank, given->extent, &bytes);
    if (size > 0) memcpy(bytes, given->data, (size_t)size);
    return NULL;
}

static Status read_open_options(Arena *arena, const sn_OpenOptions *asked, LoadOptions *out) {
    sn_OpenOptions read = {0};
    if (asked->size < sizeof asked->size) return sn_fail(SN_INVALID, "open options without their size");
    memcpy(&read, asked, asked->size < sizeof read ? asked->size : sizeof read);
    if (read.given_count < 0 || (read.given_count > 0 && !read.given) || read.constant_count < 0 ||
        (read.constant_count > 0 && !read.constant))
        return sn_fail(SN_INVALID, "%d inputs and %d constants without a list of them", read.given_count,
                       read.constant_count);
    ConstantInput *constant = SN_ARRAY(arena, ConstantInput, read.constant_count);
    for (int i = 0; i < read.constant_count; i++) TRY(read_constant(arena, &read.constant[i], &constant[i]));
    *out = (LoadOptions){.given_count = read.given_count,
                         .given = read.given,
                         .constant_count = read.constant_count,
                         .constant = constant};
    return NULL;
}

static const Tensor *copy_of(Arena *arena, const Tensor *tensor) {
    void *bytes;
    Tensor *copy = sn_tensor_new(arena, tensor->dtype, tensor->rank, tensor->extent, &bytes);
    sn_tensor_copy(tensor, 0, tensor->count, bytes);
    return copy;
}

/* What it takes to import the file again. */
static void keep_request(sn_Model *model, const char *path, const LoadOptions *from) {
    const char **given = SN_ARRAY(model->arena, const char *, from->given_count);
    for (int i = 0; i < from->given_count; i++) given[i] = sn_arena_string(model->arena, from->given[i]);
    ConstantInput *constant = SN_ARRAY(model->arena, ConstantInput, from->constant_count);
    for (int i = 0; i < from->constant_count; i++) {
        constant[i] = from->constant[i];
        constant[i].name = sn_arena_string(model->arena, constant[i].name);
        constant[i].tensor = copy_of(model->arena, constant[i].tensor);
    }
    model->path = sn_arena_string(model->arena, path);
    model->options = *from;
    model->options.given = given;
    model->options.constant = constant;
}

static Status open_model(void *argument) {
    OpenRequest *request = argument;
    sn_Model *model = request->model;
    bool is_saved = sn_parts_is(request->path);
    if (is_saved && !request->saved)
        return sn_fail(SN_INVALID, "%s is a saved program, which contains code: sn_program_open_file",
                       request->path);
    double start = sn_clock();
    if (is_saved) {
        Saved *saved;
        TRY(sn_saved_open(model->arena, request->path, &saved, &model->graph));
        model->saved = saved;
        model->info.parse_seconds = sn_clock() - start;
    } else {
        LoadOptions options = request->options ? *request->options : (LoadOptions){0};
        if (request->asked) TRY(read_open_options(model->arena, request->asked, &options));
        keep_request(model, request->path, &options);
        TRY(sn_load_onnx(model->arena, request->path, &model->options, &model->graph, &model->info));
    }
    model->input = input_infos(model->arena, model->graph);
    model->output = output_infos(model->arena, model->graph);
    return NULL;
}

static Status open_file(OpenRequest request, sn_Model **out) {
    *out = NULL;
    sn_Model *model = calloc(1, sizeof *model);
    if (!model) return sn_fail(SN_NO_MEMORY, "out of memory for a model");
    atomic_init(&model->references, 1);
    model->arena = sn_arena_new();
    request.model = model;
    Status status = model->arena ? sn_guarded(model->arena, open_model, &request)
                                 : sn_fail(SN_NO_MEMORY, "out of memory for a model");
    if (status)
        release_model(model);
    else
        *out = model;
    return status;
}

sn_Error *sn_model_open(const char *path, sn_Model **out) {
    return open_file((OpenRequest){.path = path}, out);
}

sn_Error *sn_model_open_with(const char *path, const sn_OpenOptions *options, sn_Model **out) {
    return open_file((OpenRequest){.path = path, .asked = options}, out);
}

Status sn_session_open(const char *path, const LoadOptions *options, sn_Model **out) {
    return open_file((OpenRequest){.path = path, .options = options, .saved = true}, out);
}

void sn_model_close(sn_Model *model) {
    release_model(model);
}

int sn_model_input_count(const sn_Model *model) {
    return model->graph->body->param.count - sn_graph_hidden_inputs(model->graph);
}

int sn_model_output_count(const sn_Model *model) {
    return model->graph->body->result.count - sn_graph_hidden_results(model->graph);
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
    if (out->state_count < 0 || (out->state_count > 0 && !out->state))
        return sn_fail(SN_INVALID, "%d states without a list of them", out->state_count);
    if (out->precision < SN_PRECISION_HIGHEST || out->precision > SN_PRECISION_MEDIUM)
        return sn_fail(SN_INVALID, "precision %d does not exist", (int)out->precision);
    if (out->autocast < SN_AUTOCAST_NONE || out->autocast > SN_AUTOCAST_F16)
        return sn_fail(SN_INVALID, "autocast %d does not exist", (int)out->autocast);
    return out->threads < 0 ? sn_fail(SN_INVALID, "%d threads", out->threads) : NULL;
}

static Status own_states(void) {
    return sn_fail(SN_INVALID, "a training step keeps its own states: none can be named");
}

/* A saved program has been through all of it before. */
static Status load_saved(CompileRequest *request) {
    const sn_CompileOptions *options = &request->options;
    const Saved *saved = request->model->saved;
    if (options->tuning || (request->session && request->session->tuning))
        return sn_fail(SN_INVALID, "a saved program keeps the choices that it was compiled with");
    TRY(sn_program_open_compiled(request->arena, options->device, options->threads, &saved->facts.target,
                                 &request->program));
    request->program->ledger.parse = request->model->info.parse_seconds;
    const Graph *graph = sn_graph_clone(request->arena, request->model->graph);
    if (graph->states.count && options->state_count) return own_states();
    return sn_saved_load(request->program, saved, graph, options->state_count, options->state);
}

static Status apply_tuning(const CompileRequest *request, Target *target) {
    if (request->session && request->session->tuning) {
        sn_tuning_apply(target, request->session->tuning);
    } else if (request->options.tuning) {
        Tuning *tuning;
        TRY(sn_tuning_read(request->arena, request->options.tuning, &tuning));
        sn_tuning_apply(target, tuning);
    }
    return NULL;
}

static NeedsOf needs_of(const sn_Program *program) {
    Device *device = program->device;
    bool library = device->ops->library && !device->absent && device->ops->library(device);
    return (NeedsOf){.host_memory = device->host_memory, .library = library};
}

/* A training step has no sizes that data decide, and no loops that a run counts. Where an If or a Loop of the model gave it some,
 * the file is imported again, with both branches computed; a file that cannot be, keeps them. */
static const Graph *graph_to_compile(CompileRequest *request, bool training) {
    const sn_Model *model = request->model;
    if (!training || model->graph->sizes.count + model->graph->loops.count == 0) return model->graph;
    LoadOptions options = model->options;
    Graph *graph;
    options.both_branches = true;
    Status status = sn_load_onnx(request->arena, model->path, &options, &graph, NULL);
    bool better = !status && graph->sizes.count + graph->loops.count == 0;
    sn_error_free(status);
    return better ? graph : model->graph;
}

static Status make_plan(CompileRequest *request, const PipelineOptions *pipeline, Plan **out) {
    sn_Program *program = request->program;
    const SessionOptions *session = request->session;
    const Graph *graph = graph_to_compile(request, pipeline->training != NULL);
    const Target *target = &program->device->target;
    PipelineResult *result = session ? session->result : NULL;
    if (!session || !sn_budget_given(&session->budget))
        return sn_compile_plan(request->arena, graph, target, pipeline, result, &program->ledger, out);
    BudgetReport *report = SN_NEW(request->arena, BudgetReport);
    NeedsOf of = needs_of(program);
    program->budget = report;
    return sn_compile_within(request->arena, graph, target, pipeline, &session->budget, &of, result,
                             &program->ledger, report, out);
}

/* The programs of the loops' turns, and of the loops in these. */
static Status compile_turns(sn_Program *program, const PipelineOptions *pipeline) {
    PipelineOptions options = *pipeline;
    const Graph *graph = program->plan->graph;
    options.state_count = 0;
    program->loops = graph->loops.count ? &sn_loops : NULL;
    for (int i = 0; i < graph->loops.count; i++) {
        const GraphLoop *loop = &graph->loops.at[i];
        sn_Program *turn;
        Plan *plan;
        TRY(sn_program_open_turn(program, i, &turn));
        TRY(sn_compile_plan(program->arena, loop->turn, &program->device->target, &options, NULL,
                            &turn->ledger, &plan));
        TRY(sn_program_load(turn, plan));
        TRY(compile_turns(turn, pipeline));
        program->ledger.passes += turn->ledger.passes;
        program->ledger.codegen += turn->ledger.codegen;
        program->ledger.setup += turn->ledger.setup;
    }
    return NULL;
}

static Status compile_model(CompileRequest *request) {
    const sn_CompileOptions *options = &request->options;
    TRY(sn_program_open(request->arena, options->device, options->threads, options->cache_dir,
                        &request->program));
    sn_Program *program = request->program;
    program->device->target.precision = options->precision;
    TRY(apply_tuning(request, &program->device->target));
    PipelineOptions pipeline = request->session ? request->session->pipeline : (PipelineOptions){0};
    pipeline.eager = options->mode == SN_EAGER;
    if (pipeline.training && options->state_count) return own_states();
    pipeline.state_count = options->state_count;
    pipeline.state = options->state;
    pipeline.no_dropout = options->no_dropout != 0;
    pipeline.autocast = options->autocast;
    program->autocast = options->autocast;
#ifndef NDEBUG
    pipeline.verify = true;
#endif
    program->ledger.parse = request->model->info.parse_seconds;
    program->ledger.import = request->model->info.import_seconds;
    Plan *plan;
    TRY(make_plan(request, &pipeline, &plan));
    TRY(sn_program_load(program, plan));
    return compile_turns(program, &pipeline);
}

static Status compile(void *argument) {
    CompileRequest *request = argument;
    TRY(request->model->saved ? load_saved(request) : compile_model(request));
    const Graph *graph = request->program->plan->graph;
    request->program->input = input_infos(request->arena, graph);
    request->program->output = output_infos(request->arena, graph);
    return NULL;
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

const BudgetReport *sn_program_budget(const sn_Program *program) {
    return program->budget;
}

Status sn_program_needs(const sn_Program *program, int count, const sn_Extent *extent, Needs *out) {
    const Dims *dims = program->plan->graph->dims;
    int64_t *symbol = calloc((size_t)sn_dims_symbol_count(dims) + 1, sizeof *symbol);
    if (!symbol) return sn_fail(SN_NO_MEMORY, "out of memory for the sizes of a run");
    NeedsOf of = needs_of(program);
    of.symbol = symbol;
    sn_extents_assume(dims, count, extent, symbol);
    Status status = sn_plan_needs(program->plan, &of, out);
    free(symbol);
    return status;
}

Status sn_program_live(const sn_Program *program, Arena *arena, int count, const sn_Extent *extent, Live *out,
                       const int64_t **dim) {
    const Plan *plan = program->plan;
    int64_t *symbol = SN_ARRAY(arena, int64_t, sn_dims_symbol_count(plan->graph->dims) + 1);
    int64_t *values = SN_ARRAY(arena, int64_t, plan->dim_count + 1);
    sn_extents_assume(plan->graph->dims, count, extent, symbol);
    *dim = values;
    return sn_plan_live(arena, plan, symbol, values, out);
}

/* ---- saved programs ---- */

typedef struct SaveRequest {
    const sn_Program *program;
    const char *path;
    Arena *arena;
} SaveRequest;

static Status save(void *argument) {
    const SaveRequest *request = argument;
    return sn_saved_write(request->arena, request->program, request->path);
}

sn_Error *sn_program_save(const sn_Program *program, const char *path) {
    SaveRequest request = {program, path, sn_arena_new()};
    if (!request.arena) return sn_fail(SN_NO_MEMORY, "out of memory");
    Status status = sn_guarded(request.arena, save, &request);
    sn_arena_free(request.arena);
    return status;
}

sn_Error *sn_program_open_file(const char *path, const sn_CompileOptions *options, sn_Program **out) {
    *out = NULL;
    sn_Model *model;
    TRY(sn_session_open(path, NULL, &model));
    Status status = model->saved ? sn_session_compile(model, options, NULL, out)
                                 : sn_fail(SN_INVALID, "%s is not a saved program: sn_model_open", path);
    sn_model_close(model);
    return status;
}

int sn_program_input_count(const sn_Program *program) {
    return program->plan->input_count - program->plan->hidden_inputs;
}

int sn_program_output_count(const sn_Program *program) {
    return program->plan->output_count - program->plan->hidden_outputs;
}

sn_TensorInfo sn_program_input(const sn_Program *program, int index) {
    bool there = index >= 0 && index < sn_program_input_count(program);
    return there ? program->input[index] : (sn_TensorInfo){.name = ""};
}

sn_TensorInfo sn_program_output(const sn_Program *program, int index) {
    bool there = index >= 0 && index < sn_program_output_count(program);
    return there ? program->output[index] : (sn_TensorInfo){.name = ""};
}

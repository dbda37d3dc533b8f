/* Files in, graph out. */
#include "load.h"

#include "clock.h"
#include "facts.h"
#include "import.h"
#include "number.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ATTEMPTS = 5 };

/* ---- what `info` reports ---- */

typedef struct Count {
    const char *domain, *op_type;
    int count;
} Count;

static int by_name(const void *a, const void *b) {
    const Count *left = a, *right = b;
    int order = strcmp(left->op_type, right->op_type);
    return order ? order : strcmp(left->domain, right->domain);
}

static void count_nodes(const Onnx__GraphProto *graph, Arena *scratch, Map *counts, int *total) {
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        const char *domain = strcmp(node->domain, "ai.onnx") == 0 ? "" : node->domain;
        void **slot = sn_map_at_string(counts, sn_arena_printf(scratch, "%s\n%s", domain, node->op_type));
        if (!*slot) {
            Count *made = *slot = SN_NEW(scratch, Count);
            *made = (Count){domain, node->op_type, 0};
        }
        ((Count *)*slot)->count++;
        (*total)++;
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g) count_nodes(node->attribute[k]->g, scratch, counts, total);
    }
}

static void fill_operators(Arena *arena, Arena *scratch, const Onnx__GraphProto *graph, ModelInfo *info) {
    Map *counts = sn_map_new(scratch);
    count_nodes(graph, scratch, counts, &info->node_count);
    int count = info->operator_count = sn_map_count(counts);
    Count *sorted = SN_ARRAY(scratch, Count, count);
    for (int i = 0; i < count; i++) sorted[i] = *(const Count *)sn_map_entry(counts, i, NULL, NULL);
    if (count > 0) qsort(sorted, (size_t)count, sizeof *sorted, by_name);
    info->operator= sn_arena_array(arena, (size_t)count, sizeof *info->operator);
    for (int i = 0; i < count; i++) {
        info->operator[i].domain = sn_arena_string(arena, sorted[i].domain);
        info->operator[i].op_type = sn_arena_string(arena, sorted[i].op_type);
        info->operator[i].count = sorted[i].count;
    }
}

/* Overflow saturates: a report of a hostile file need not be exact. */
static void fill_parameters(const Onnx__GraphProto *graph, ModelInfo *info) {
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *tensor = graph->initializer[i];
        int64_t count = 1, bytes = 0;
        DType dtype;
        const Narrow *narrow = sn_narrow(tensor->data_type);
        bool known = sn_narrow_held(tensor->data_type, &dtype);
        for (size_t k = 0; k < tensor->n_dims; k++)
            if (!sn_mul_i64(count, tensor->dims[k], &count)) count = INT64_MAX;
        if (count < 0) continue;
        if (known && !sn_mul_i64(count, sn_dtype_bytes(dtype), &bytes)) bytes = INT64_MAX;
        if (narrow) bytes = sn_narrow_bytes(narrow, count);
        if (!sn_add_i64(info->parameter_count, count, &info->parameter_count))
            info->parameter_count = INT64_MAX;
        if (!sn_add_i64(info->parameter_bytes, bytes, &info->parameter_bytes))
            info->parameter_bytes = INT64_MAX;
    }
}

static void fill_info(Arena *arena, Arena *scratch, const Onnx__ModelProto *model, ModelInfo *info) {
    *info = (ModelInfo){
        .ir_version = (int)model->ir_version,
        .opset_count = (int)model->n_opset_import,
        .producer = sn_arena_printf(arena, "%s%s%s", model->producer_name,
                                    *model->producer_version ? " " : "", model->producer_version),
    };
    info->opset = sn_arena_array(arena, model->n_opset_import, sizeof *info->opset);
    for (size_t i = 0; i < model->n_opset_import; i++) {
        info->opset[i].domain = sn_arena_string(arena, model->opset_import[i]->domain);
        info->opset[i].version = (int)model->opset_import[i]->version;
    }
    fill_operators(arena, scratch, model->graph, info);
    fill_parameters(model->graph, info);
}

/* ---- models ---- */

static Graph *new_graph(Arena *arena, const Weights *weights, const Onnx__ModelProto *model) {
    Graph *graph = sn_graph_new(arena, sn_arena_string(arena, model->graph->name));
    graph->file = sn_arena_string(arena, weights->path);
    return graph;
}

static Status import_once(const Import *start, Graph *graph) {
    Import import = *start;
    import.graph = graph;
    import.weights->tensors = graph->arena;
    return sn_import_graph(&import);
}

/* Imports again while the checks of the graph say something about its sizes that was not known when it was
 * made. Each attempt has an arena of its own. */
static Status import_settled(Arena *arena, const Import *start, Graph **out) {
    Arena *own = sn_arena_child(arena);
    *out = new_graph(own, start->weights, start->model);
    TRY(import_once(start, *out));
    for (int attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
        Arena *next = sn_arena_child(arena);
        Graph *graph = new_graph(next, start->weights, start->model);
        bool learnt = sn_facts_carry(*out, graph);
        sn_arena_free(learnt ? own : next);
        if (!learnt) break;
        own = next;
        *out = graph;
        TRY(import_once(start, graph));
    }
    return NULL;
}

/* Whether constants that were left inputs may help against what was refused. */
static bool needs_more(const Import *begun) {
    const LoadOptions *options = begun->options;
    bool more = false;
    for (int k = 0; options && k < options->constant_count; k++) {
        const ConstantInput *constant = &options->constant[k];
        if (!constant->if_needed || begun->needed[k]) continue;
        if (sn_map_get_string(begun->deciding, constant->name)) begun->needed[k] = more = true;
    }
    return more;
}

static Status parse(Arena *scratch, const Mapping *file, const WireLimits *limits, Onnx__ModelProto **out) {
    ProtobufCMessage *message;
    TRY(sn_wire_unpack(scratch, file->bytes, file->size, &onnx__model_proto__descriptor, limits, &message));
    *out = (Onnx__ModelProto *)message;
    return (*out)->graph ? NULL : sn_fail(SN_INVALID, "not a valid ONNX file: there is no graph in it");
}

static Status load(Arena *arena, Arena *scratch, Weights *weights, const LoadOptions *options, Graph **out,
                   ModelInfo *info) {
    double start = sn_clock();
    WireLimits limits = sn_wire_limits(options ? options->max_nodes : 0, options ? options->max_depth : 0);
    Onnx__ModelProto *model = NULL;
    TRY(sn_file_explain(parse(scratch, &weights->file, &limits, &model), &weights->file));
    if (info) fill_info(arena, scratch, model, info);
    double parsed = sn_clock();
    Import begun = {.scratch = scratch,
                    .weights = weights,
                    .model = model,
                    .options = options,
                    .needed = SN_ARRAY(scratch, bool, options ? options->constant_count : 0),
                    .max_nodes = limits.max_nodes};
    Status status;
    do {
        begun.deciding = sn_map_new(scratch);
        status = import_settled(arena, &begun, out);
    } while (sn_error_code(status) == SN_UNSUPPORTED && needs_more(&begun) && (sn_error_free(status), true));
    TRY(status);
    if (info) info->parse_seconds = parsed - start, info->import_seconds = sn_clock() - parsed;
    return NULL;
}

Status sn_load_onnx(Arena *arena, const char *path, const LoadOptions *options, Graph **out,
                    ModelInfo *info) {
    Arena *scratch = sn_arena_child(arena);
    if (info) *info = (ModelInfo){0};
    Weights weights = {
        .arena = arena, .path = path, .folder = -1, .external = true, .mapped = sn_map_new(scratch)};
    Status status = sn_file_map(arena, path, &weights.file); /* whose failure names the file */
    if (!status)
        status = sn_status_prefix(load(arena, scratch, &weights, options, out, info), "%s",
                                  sn_quoted(scratch, path));
    sn_arena_free(scratch);
    return status;
}

/* ---- tensors ---- */

static bool ends_with(const char *path, const char *suffix) {
    size_t length = strlen(path), tail = strlen(suffix);
    return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

static Status load_proto(Arena *arena, Arena *scratch, const Mapping *file, Tensor **out, const char **name) {
    WireLimits limits = sn_wire_limits(0, 0);
    ProtobufCMessage *message;
    TRY(sn_wire_unpack(scratch, file->bytes, file->size, &onnx__tensor_proto__descriptor, &limits, &message));
    const Onnx__TensorProto *proto = (const Onnx__TensorProto *)message;
    Weights weights = {
        .arena = scratch, .tensors = scratch, .file = *file, .folder = -1, .mapped = sn_map_new(scratch)};
    Tensor *found;
    TRY(sn_tensor_import(&weights, proto, &found));
    void *bytes;
    *out = sn_tensor_new(arena, found->dtype, found->rank, found->extent, &bytes);
    sn_tensor_copy(found, 0, found->count, bytes);
    if (name) *name = sn_arena_string(arena, proto->name);
    return NULL;
}

Status sn_map_npy(Arena *arena, const char *path, Tensor *out) {
    Mapping file;
    TRY(sn_file_map(arena, path, &file));
    return sn_status_prefix(sn_npy_view(arena, file.bytes, file.size, out), "%s", sn_quoted(arena, path));
}

Status sn_load_tensor(Arena *arena, const char *path, Tensor **out, const char **name) {
    Arena *scratch = sn_arena_child(arena);
    Mapping file;
    if (name) *name = "";
    Status status = sn_file_map(scratch, path, &file);
    if (!status) {
        status = ends_with(path, ".npy")
                     ? sn_npy_parse(arena, file.bytes, file.size, out)
                     : sn_file_explain(load_proto(arena, scratch, &file, out, name), &file);
        status = sn_status_prefix(status, "%s", sn_quoted(scratch, path));
    }
    sn_arena_free(scratch);
    return status;
}

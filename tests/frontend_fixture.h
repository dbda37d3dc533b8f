/* For tests of the reader: models made field by field, written to a folder of the test's own and loaded. */
#ifndef SN_FRONTEND_FIXTURE_H
#define SN_FRONTEND_FIXTURE_H

#include "eval.h"
#include "fixture.h"
#include "load.h"

#include "onnx.pb-c.h"

#include <unistd.h>

/* ---- a folder for each test ---- */

typedef struct Fixture {
    Arena *arena;
    char folder[64];
} Fixture;

static inline int setup(void **state) {
    Fixture *fixture = calloc(1, sizeof *fixture);
    fixture->arena = sn_arena_new();
    if (make_test_folder(fixture->folder)) return -1;
    *state = fixture;
    return 0;
}

static inline int teardown(void **state) {
    Fixture *fixture = *state;
    int failed = remove_test_folder(fixture->folder);
    sn_arena_free(fixture->arena);
    free(fixture);
    return failed;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline const char *in_folder(Fixture *fixture, const char *name) {
    return sn_arena_printf(fixture->arena, "%s/%s", fixture->folder, name);
}

static inline void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- models ---- */

enum { F32 = 1, I32 = 6, I64 = 7, BOOL = 9, F64 = 11, MAX = 8 };
enum { FLOAT = 1, INT = 2, STRING = 3, GRAPH = 5, INTS = 7, STRINGS = 8 }; /* of attributes */

/* A model under construction: one array of each kind, all of it in the arena. */
typedef struct Model {
    Arena *arena;
    Onnx__ModelProto proto;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset;
    Onnx__OperatorSetIdProto *opsets[1];
    Onnx__NodeProto *node[MAX];
    Onnx__TensorProto *initializer[MAX];
    Onnx__ValueInfoProto *input[MAX], *output[MAX];
} Model;

static inline Model *model_new(Arena *arena, int opset) {
    Model *model = SN_NEW(arena, Model);
    model->arena = arena;
    onnx__model_proto__init(&model->proto);
    onnx__graph_proto__init(&model->graph);
    onnx__operator_set_id_proto__init(&model->opset);
    model->opset.version = opset;
    model->opsets[0] = &model->opset;
    model->proto.opset_import = model->opsets;
    model->proto.n_opset_import = 1;
    model->proto.graph = &model->graph;
    model->graph.name = "graph";
    model->graph.node = model->node;
    model->graph.initializer = model->initializer;
    model->graph.input = model->input;
    model->graph.output = model->output;
    return model;
}

/* `dims`: extents separated by commas; a number, a name, or ? for nothing. */
static inline Onnx__ValueInfoProto *value_info(Model *model, const char *name, int type, const char *dims) {
    Arena *arena = model->arena;
    Onnx__ValueInfoProto *info = SN_NEW(arena, Onnx__ValueInfoProto);
    onnx__value_info_proto__init(info);
    info->name = (char *)name;
    info->type = SN_NEW(arena, Onnx__TypeProto);
    onnx__type_proto__init(info->type);
    info->type->tensor_type = SN_NEW(arena, Onnx__TypeProto__Tensor);
    onnx__type_proto__tensor__init(info->type->tensor_type);
    info->type->tensor_type->elem_type = type;
    Onnx__TensorShapeProto *shape = info->type->tensor_type->shape = SN_NEW(arena, Onnx__TensorShapeProto);
    onnx__tensor_shape_proto__init(shape);
    shape->dim = SN_ARRAY(arena, Onnx__TensorShapeProto__Dimension *, MAX);
    char *text = sn_arena_string(arena, dims), *save;
    for (char *at = strtok_r(text, ",", &save); at; at = strtok_r(NULL, ",", &save)) {
        Onnx__TensorShapeProto__Dimension *dim = SN_NEW(arena, Onnx__TensorShapeProto__Dimension);
        onnx__tensor_shape_proto__dimension__init(dim);
        if (*at >= '0' && *at <= '9') {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = atoll(at);
        } else if (*at != '?') {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = at;
        }
        shape->dim[shape->n_dim++] = dim;
    }
    return info;
}

static inline void add_input(Model *model, const char *name, int type, const char *dims) {
    model->input[model->graph.n_input++] = value_info(model, name, type, dims);
}

static inline void add_output(Model *model, const char *name) {
    model->output[model->graph.n_output++] = value_info(model, name, 0, "");
}

/* Names separated by spaces; "_" is an absent input. */
static inline char **names(Arena *arena, const char *list, size_t *count) {
    char **name = SN_ARRAY(arena, char *, MAX), *save, *text = sn_arena_string(arena, list);
    for (char *at = strtok_r(text, " ", &save); at; at = strtok_r(NULL, " ", &save))
        name[(*count)++] = strcmp(at, "_") == 0 ? "" : at;
    return name;
}

static inline Onnx__NodeProto *add_node(Model *model, const char *op, const char *inputs,
                                        const char *outputs) {
    Onnx__NodeProto *node = SN_NEW(model->arena, Onnx__NodeProto);
    onnx__node_proto__init(node);
    node->op_type = (char *)op;
    node->name = sn_arena_printf(model->arena, "%s_%zu", op, model->graph.n_node);
    node->input = names(model->arena, inputs, &node->n_input);
    node->output = names(model->arena, outputs, &node->n_output);
    node->attribute = SN_ARRAY(model->arena, Onnx__AttributeProto *, MAX);
    model->node[model->graph.n_node++] = node;
    return node;
}

static inline Onnx__AttributeProto *add_attribute(Model *model, Onnx__NodeProto *node, const char *name,
                                                  int type) {
    Onnx__AttributeProto *attribute = SN_NEW(model->arena, Onnx__AttributeProto);
    onnx__attribute_proto__init(attribute);
    attribute->name = (char *)name;
    attribute->type = type;
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

static inline void set_int(Model *model, Onnx__NodeProto *node, const char *name, int64_t value) {
    add_attribute(model, node, name, INT)->i = value;
}

static inline void set_string(Model *model, Onnx__NodeProto *node, const char *name, const char *value) {
    add_attribute(model, node, name, STRING)->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
}

static inline Onnx__TensorProto *add_initializer(Model *model, const char *name, int type, int64_t extent) {
    Onnx__TensorProto *tensor = SN_NEW(model->arena, Onnx__TensorProto);
    onnx__tensor_proto__init(tensor);
    tensor->name = (char *)name;
    tensor->data_type = type;
    tensor->n_dims = 1;
    tensor->dims = SN_ARRAY(model->arena, int64_t, 1);
    tensor->dims[0] = extent;
    model->initializer[model->graph.n_initializer++] = tensor;
    return tensor;
}

static inline void set_external(Model *model, Onnx__TensorProto *tensor, const char *key, const char *value) {
    Onnx__StringStringEntryProto *entry = SN_NEW(model->arena, Onnx__StringStringEntryProto);
    onnx__string_string_entry_proto__init(entry);
    entry->key = (char *)key;
    entry->value = (char *)value;
    if (!tensor->external_data)
        tensor->external_data = SN_ARRAY(model->arena, Onnx__StringStringEntryProto *, MAX);
    tensor->external_data[tensor->n_external_data++] = entry;
    tensor->data_location = 1;
}

/* y = x + w with x f32 [batch, 4] and w f32 [4], whose data the caller adds. */
static inline Model *sum_model(Arena *arena, Onnx__TensorProto **weight) {
    Model *model = model_new(arena, 17);
    add_input(model, "x", F32, "batch,4");
    *weight = add_initializer(model, "w", F32, 4);
    add_node(model, "Add", "x w", "y");
    add_output(model, "y");
    return model;
}

static const float four[4] = {1, -2, 0.5f, 8};

static inline void set_raw(Onnx__TensorProto *tensor, const void *bytes, size_t size) {
    tensor->raw_data = (ProtobufCBinaryData){size, (uint8_t *)bytes};
}

/* An i64 constant of this rank and no other extent than 1 but for the last one. */
static inline void add_integers(Model *model, const char *name, int rank, int64_t count,
                                const int64_t *value) {
    Onnx__TensorProto *tensor = add_initializer(model, name, I64, count);
    tensor->n_dims = (size_t)rank;
    tensor->dims = SN_ARRAY(model->arena, int64_t, rank);
    for (int k = 0; k < rank; k++) tensor->dims[k] = k == rank - 1 ? count : 1;
    int64_t *copy = SN_ARRAY(model->arena, int64_t, count);
    memcpy(copy, value, (size_t)count * sizeof *value);
    set_raw(tensor, copy, (size_t)count * sizeof *value);
}

static inline uint8_t *packed(Model *model, size_t *size) {
    *size = onnx__model_proto__get_packed_size(&model->proto);
    uint8_t *bytes = sn_arena_alloc(model->arena, *size);
    onnx__model_proto__pack(&model->proto, bytes);
    return bytes;
}

static inline Status load(Fixture *fixture, Model *model, Graph **graph) {
    size_t size;
    uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "model.onnx");
    write_file(path, bytes, size);
    return sn_load_onnx(fixture->arena, path, NULL, graph, NULL);
}

/* The load fails with this code and a message that has each of the words (up to NULL). */
static inline void refused(Fixture *fixture, Model *model, sn_Code code, ...) {
    Graph *graph;
    Status status = load(fixture, model, &graph);
    assert_int_equal(sn_error_code(status), code);
    va_list words;
    va_start(words, code);
    for (const char *word; (word = va_arg(words, const char *));)
        if (!strstr(sn_error_message(status), word)) fail_msg("no %s in: %s", word, sn_error_message(status));
    va_end(words);
    sn_error_free(status);
}

static inline const Tensor *constant_of(const Graph *graph) {
    for (const Node *node = graph->body->first; node; node = node->next)
        if (node->op == SN_OP_CONSTANT) return ((const AttrConstant *)node->attr)->tensor;
    fail_msg("no constant");
    return NULL;
}

static inline void loaded(Fixture *fixture, Model *model, Graph **graph) {
    Status status = load(fixture, model, graph);
    if (status) fail_msg("%s", sn_error_message(status));
}

/* The first result for one f32 input of these extents, filled with `x`; sizes that data decide are results, too. */
static inline const Array *result_of(Fixture *fixture, Model *model, int rank, const int64_t *extent,
                                     double x) {
    Graph *graph;
    loaded(fixture, model, &graph);
    Array *input = sn_array_new(fixture->arena, SN_F32, rank, extent);
    Array **output = SN_ARRAY(fixture->arena, Array *, graph->body->result.count);
    for (int64_t i = 0; i < input->count; i++) input->f[i] = x;
    Status status = sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){input}, output);
    if (status) fail_msg("%s", sn_error_message(status));
    return output[0];
}

static inline void weight_is_four(const Graph *graph) {
    const Tensor *tensor = constant_of(graph);
    assert_int_equal(tensor->count, 4);
    for (int i = 0; i < 4; i++) assert_true(sn_tensor_get(tensor, i) == four[i]);
}

#endif

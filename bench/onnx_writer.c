#include "onnx_writer.h"

#include "new_file.h"
#include "number.h"
#include "onnx.pb-c.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STORE_ALIGNMENT = 64, STORE_CHUNK = 1 << 20 };

struct Writer {
    Arena *arena;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    SN_VEC(Onnx__NodeProto *) node;
    SN_VEC(Onnx__TensorProto *) initializer;
    SN_VEC(const Tensor *) weight; /* parallel to weight_proto */
    SN_VEC(Onnx__TensorProto *) weight_proto;
    SN_VEC(Onnx__ValueInfoProto *) input;
    SN_VEC(Onnx__ValueInfoProto *) output;
    int constants;
    const Tensor *
        *given; /* where the weights' values come from, parallel to weight; NULL: they are recipes */
};

/* A zero-initialised protobuf-c message in the arena. */
#define MESSAGE(writer, type, init) ((type *)memcpy(SN_NEW((writer)->arena, type), &(type)init, sizeof(type)))

Writer *sn_writer_new(Arena *arena, const char *graph_name, int opset) {
    Writer *writer = SN_NEW(arena, Writer);
    writer->arena = arena;
    writer->model = (Onnx__ModelProto)ONNX__MODEL_PROTO__INIT;
    writer->graph = (Onnx__GraphProto)ONNX__GRAPH_PROTO__INIT;
    writer->graph.name = sn_arena_string(arena, graph_name);
    writer->model.ir_version = 8;
    writer->model.producer_name = "sinter";
    writer->model.graph = &writer->graph;
    Onnx__OperatorSetIdProto *set =
        MESSAGE(writer, Onnx__OperatorSetIdProto, ONNX__OPERATOR_SET_ID_PROTO__INIT);
    set->domain = "";
    set->version = opset;
    writer->model.n_opset_import = 1;
    writer->model.opset_import = SN_ARRAY(arena, Onnx__OperatorSetIdProto *, 1);
    writer->model.opset_import[0] = set;
    return writer;
}

/* ---- inputs and outputs ---- */

static Onnx__ValueInfoProto *value_info(Writer *writer, const char *name, DType dtype, int rank,
                                        const int64_t *extent, const char *const *dim_name) {
    typedef Onnx__TensorShapeProto__Dimension Dimension;
    Onnx__TensorShapeProto *shape = MESSAGE(writer, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
    shape->n_dim = (size_t)rank;
    shape->dim = SN_ARRAY(writer->arena, Dimension *, rank);
    for (int i = 0; i < rank; i++) {
        Dimension *dim = MESSAGE(writer, Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
        dim->value_case = extent[i] < 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                        : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (extent[i] < 0)
            dim->dim_param = sn_arena_string(writer->arena, dim_name[i]);
        else
            dim->dim_value = extent[i];
        shape->dim[i] = dim;
    }
    Onnx__TypeProto__Tensor *tensor =
        MESSAGE(writer, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
    tensor->elem_type = sn_dtype_onnx(dtype);
    tensor->shape = shape;
    Onnx__TypeProto *type = MESSAGE(writer, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
    type->tensor_type = tensor;
    Onnx__ValueInfoProto *info = MESSAGE(writer, Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
    info->name = sn_arena_string(writer->arena, name);
    info->type = type;
    return info;
}

void sn_writer_input(Writer *writer, const char *name, DType dtype, int rank, const int64_t *extent,
                     const char *const *dim_name) {
    sn_push(writer->arena, &writer->input, value_info(writer, name, dtype, rank, extent, dim_name));
}

void sn_writer_output(Writer *writer, const char *name, DType dtype, int rank, const int64_t *extent,
                      const char *const *dim_name) {
    sn_push(writer->arena, &writer->output, value_info(writer, name, dtype, rank, extent, dim_name));
}

/* ---- initializers ---- */

static Onnx__TensorProto *initializer(Writer *writer, const char *name, DType dtype, int rank,
                                      const int64_t *extent) {
    Onnx__TensorProto *proto = MESSAGE(writer, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
    proto->name = sn_arena_string(writer->arena, name);
    proto->data_type = sn_dtype_onnx(dtype);
    proto->n_dims = (size_t)rank;
    proto->dims = SN_ARRAY(writer->arena, int64_t, rank);
    for (int i = 0; i < rank; i++) proto->dims[i] = extent[i];
    sn_push(writer->arena, &writer->initializer, proto);
    return proto;
}

const char *sn_writer_weight(Writer *writer, const char *name, DType dtype, int rank, const int64_t *extent,
                             double scale, double offset) {
    Onnx__TensorProto *proto = initializer(writer, name, dtype, rank, extent);
    Tensor *tensor = SN_NEW(writer->arena, Tensor);
    *tensor = (Tensor){dtype, rank, proto->dims, 1, SN_PAYLOAD_RECIPE, NULL, 0, scale, offset};
    for (int i = 0; i < rank; i++) tensor->count *= extent[i];
    tensor->seed = (uint64_t)writer->weight.count + 1;
    sn_push(writer->arena, &writer->weight, tensor);
    sn_push(writer->arena, &writer->weight_proto, proto);
    return proto->name;
}

static const char *constant(Writer *writer, DType dtype, int rank, int64_t count, const void *bytes) {
    const char *name = sn_arena_printf(writer->arena, "constant_%d", writer->constants++);
    Onnx__TensorProto *proto = initializer(writer, name, dtype, rank, &count);
    proto->raw_data.len = (size_t)count * (size_t)sn_dtype_bytes(dtype);
    proto->raw_data.data =
        memcpy(sn_arena_alloc(writer->arena, proto->raw_data.len), bytes, proto->raw_data.len);
    return proto->name;
}

const char *sn_writer_floats(Writer *writer, int count, const float *value) {
    return constant(writer, SN_F32, 1, count, value);
}
const char *sn_writer_float(Writer *writer, DType dtype, float value) {
    char bytes[sizeof(double)];
    sn_element_set(dtype, bytes, 0, value);
    return constant(writer, dtype, 0, 1, bytes);
}
const char *sn_writer_ints(Writer *writer, int count, const int64_t *value) {
    return constant(writer, SN_I64, 1, count, value);
}
const char *sn_writer_int(Writer *writer, int64_t value) {
    return constant(writer, SN_I64, 0, 1, &value);
}

/* ---- nodes ---- */

const char *sn_writer_node(Writer *writer, const char *op, const char *name, int count,
                           const char *const *input) {
    Onnx__NodeProto *node = MESSAGE(writer, Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
    node->op_type = sn_arena_string(writer->arena, op);
    node->name = sn_arena_string(writer->arena, name);
    node->domain = "";
    node->n_input = (size_t)count;
    node->input = SN_ARRAY(writer->arena, char *, count);
    for (int i = 0; i < count; i++) node->input[i] = sn_arena_string(writer->arena, input[i]);
    node->n_output = 1;
    node->output = SN_ARRAY(writer->arena, char *, 1);
    node->output[0] = node->name;
    sn_push(writer->arena, &writer->node, node);
    return node->output[0];
}

const char *sn_writer_op1(Writer *writer, const char *op, const char *name, const char *a) {
    return sn_writer_node(writer, op, name, 1, &a);
}

const char *sn_writer_op2(Writer *writer, const char *op, const char *name, const char *a, const char *b) {
    const char *input[2] = {a, b};
    return sn_writer_node(writer, op, name, 2, input);
}

enum { ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7 }; /* AttributeProto.AttributeType */

static Onnx__AttributeProto *attribute(Writer *writer, const char *name, int type) {
    Onnx__NodeProto *node = writer->node.at[writer->node.count - 1];
    Onnx__AttributeProto *attr = MESSAGE(writer, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
    attr->name = sn_arena_string(writer->arena, name);
    attr->type = type;
    Onnx__AttributeProto **list = SN_ARRAY(writer->arena, Onnx__AttributeProto *, node->n_attribute + 1);
    for (size_t i = 0; i < node->n_attribute; i++) list[i] = node->attribute[i];
    list[node->n_attribute++] = attr;
    node->attribute = list;
    return attr;
}

void sn_writer_attr_int(Writer *writer, const char *name, int64_t value) {
    attribute(writer, name, ATTRIBUTE_INT)->i = value;
}

void sn_writer_attr_ints(Writer *writer, const char *name, int count, const int64_t *value) {
    Onnx__AttributeProto *attr = attribute(writer, name, ATTRIBUTE_INTS);
    attr->n_ints = (size_t)count;
    attr->ints = SN_ARRAY(writer->arena, int64_t, count);
    for (int i = 0; i < count; i++) attr->ints[i] = value[i];
}

void sn_writer_rename(Writer *writer, const char *name) {
    writer->node.at[writer->node.count - 1]->output[0] = sn_arena_string(writer->arena, name);
}

/* ---- saving ---- */

static void external_entry(Writer *writer, Onnx__TensorProto *proto, int index, const char *key,
                           char *value) {
    Onnx__StringStringEntryProto *entry =
        MESSAGE(writer, Onnx__StringStringEntryProto, ONNX__STRING_STRING_ENTRY_PROTO__INIT);
    entry->key = (char *)key;
    entry->value = value;
    proto->external_data[index] = entry;
}

static void make_external(Writer *writer, Onnx__TensorProto *proto, int entries) {
    proto->data_location = 1;
    proto->n_external_data = (size_t)entries;
    proto->external_data = SN_ARRAY(writer->arena, Onnx__StringStringEntryProto *, entries);
}

static void describe_recipe(Writer *writer, int index) {
    const Tensor *tensor = writer->weight.at[index];
    Onnx__TensorProto *proto = writer->weight_proto.at[index];
    make_external(writer, proto, 4);
    external_entry(writer, proto, 0, "location", "recipe");
    external_entry(writer, proto, 1, "seed", sn_arena_printf(writer->arena, "%" PRIu64, tensor->seed));
    external_entry(writer, proto, 2, "scale", sn_arena_printf(writer->arena, "%.17g", tensor->scale));
    external_entry(writer, proto, 3, "offset_value", sn_arena_printf(writer->arena, "%.17g", tensor->offset));
}

static int64_t weight_bytes(const Tensor *weight) {
    return weight->count * sn_dtype_bytes(weight->dtype);
}

static void describe_stored(Writer *writer, int index, const char *location, int64_t offset) {
    Onnx__TensorProto *proto = writer->weight_proto.at[index];
    int64_t bytes = weight_bytes(writer->weight.at[index]);
    make_external(writer, proto, 3);
    external_entry(writer, proto, 0, "location", sn_arena_string(writer->arena, location));
    external_entry(writer, proto, 1, "offset", sn_arena_printf(writer->arena, "%" PRId64, offset));
    external_entry(writer, proto, 2, "length", sn_arena_printf(writer->arena, "%" PRId64, bytes));
}

/* ---- weights from elsewhere ---- */

static bool same_shape(const Tensor *a, const Tensor *b) {
    bool same = a->rank == b->rank;
    for (int i = 0; i < a->rank && same; i++) same = a->extent[i] == b->extent[i];
    return same;
}

static void print_shape(Text *text, const Tensor *tensor) {
    sn_text_add(text, "[");
    for (int i = 0; i < tensor->rank; i++) sn_text_add(text, "%s%" PRId64, i ? ", " : "", tensor->extent[i]);
    sn_text_add(text, "]");
}

Status sn_writer_take_weights(Writer *writer, const SafeTensors *file) {
    Text wrong = sn_text(writer->arena);
    writer->given = SN_ARRAY(writer->arena, const Tensor *, writer->weight.count);
    for (int i = 0; i < writer->weight.count; i++) {
        const char *name = writer->weight_proto.at[i]->name;
        const Tensor *own = writer->weight.at[i], *given = sn_safetensors_tensor(file, name);
        bool is_float = given && sn_dtype_is_float(given->dtype);
        if (is_float && same_shape(own, given)) {
            writer->given[i] = given;
            continue;
        }
        sn_text_add(&wrong, "\n  %s ", name);
        print_shape(&wrong, own);
        sn_text_add(&wrong, !given     ? " is missing"
                            : is_float ? ": the file has "
                                       : ": the file has integers");
        if (is_float) print_shape(&wrong, given);
    }
    return wrong.length ? sn_fail(SN_INVALID, "these weights do not fit the model:%s", sn_text_string(&wrong))
                        : NULL;
}

/* ---- storing weights ---- */

/* Appends one weight of this dtype to the data file, a chunk at a time. */
static Status store_weight(NewFile *file, DType dtype, const Tensor *values, float *chunk) {
    for (int64_t begin = 0; begin < values->count; begin += STORE_CHUNK) {
        int64_t end = begin + STORE_CHUNK < values->count ? begin + STORE_CHUNK : values->count;
        if (values->dtype == dtype)
            sn_tensor_copy(values, begin, end, chunk);
        else
            for (int64_t i = begin; i < end; i++)
                sn_element_set(dtype, chunk, i - begin, sn_tensor_get(values, i));
        TRY(sn_new_file_put(file, chunk, (size_t)((end - begin) * sn_dtype_bytes(dtype))));
    }
    return NULL;
}

static Status store_weights(Writer *writer, NewFile *file, const char *location, float *chunk,
                            void (*progress)(void *, int64_t, int64_t), void *user) {
    int64_t total = 0;
    for (int i = 0; i < writer->weight.count; i++) total += weight_bytes(writer->weight.at[i]);
    for (int i = 0; i < writer->weight.count; i++) {
        static const char zeros[STORE_ALIGNMENT];
        TRY(sn_new_file_put(file, zeros, (size_t)(-file->length & (STORE_ALIGNMENT - 1))));
        describe_stored(writer, i, location, (int64_t)file->length);
        const Tensor *weight = writer->weight.at[i];
        TRY(store_weight(file, weight->dtype, writer->given ? writer->given[i] : weight, chunk));
        if (progress) progress(user, (int64_t)file->length, total);
    }
    return NULL;
}

static Status save_data(Writer *writer, const char *path, void (*progress)(void *, int64_t, int64_t),
                        void *user) {
    const char *data = sn_arena_printf(writer->arena, "%s.data", path);
    const char *slash = strrchr(data, '/');
    float *chunk = malloc(STORE_CHUNK * sizeof *chunk);
    if (!chunk) return sn_fail(SN_NO_MEMORY, "no memory to store weights");
    NewFile file;
    Status status = sn_new_file_begin(writer->arena, data, &file);
    if (!status) status = store_weights(writer, &file, slash ? slash + 1 : data, chunk, progress, user);
    free(chunk);
    return sn_new_file_end(&file, status);
}

static Status save_model(Writer *writer, NewFile *file) {
    Onnx__GraphProto *graph = &writer->graph;
    graph->n_node = (size_t)writer->node.count, graph->node = writer->node.at;
    graph->n_initializer = (size_t)writer->initializer.count, graph->initializer = writer->initializer.at;
    graph->n_input = (size_t)writer->input.count, graph->input = writer->input.at;
    graph->n_output = (size_t)writer->output.count, graph->output = writer->output.at;
    size_t size = onnx__model_proto__get_packed_size(&writer->model);
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes) return sn_fail(SN_NO_MEMORY, "no memory to write %s", file->path);
    onnx__model_proto__pack(&writer->model, bytes);
    Status status = sn_new_file_put(file, bytes, size);
    free(bytes);
    return status;
}

Status sn_writer_save(Writer *writer, const char *path, bool stored,
                      void (*progress)(void *, int64_t, int64_t), void *user) {
    NewFile file;
    stored = stored || writer->given;
    TRY(sn_new_file_begin(writer->arena, path, &file));
    Status status = stored ? save_data(writer, path, progress, user) : NULL;
    for (int i = 0; i < writer->weight.count && !stored; i++) describe_recipe(writer, i);
    if (!status) status = save_model(writer, &file);
    return sn_new_file_end(&file, status);
}

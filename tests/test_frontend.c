/* The ONNX reader: hostile and contradictory files, external data, recipes, tensors on disk. */
#include "files.h"
#include "frontend_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- structure ---- */

static void a_model_is_read(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    Graph *graph;
    loaded(fixture, model, &graph);
    weight_is_four(graph);
    assert_int_equal(graph->body->param.count, 1);
    assert_int_equal(graph->body->result.count, 1);
    assert_string_equal(graph->output_name.at[0], "y");
    Text text = sn_text(fixture->arena);
    sn_type_print(&text, graph->dims, graph->body->result.at[0]->type);
    assert_string_equal(sn_text_string(&text), "f32[batch, 4]");
}

static void info_counts_operators_and_parameters(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    add_node(model, "Frobnicate", "y", "z");
    add_output(model, "z");
    model->proto.producer_name = "hand";
    size_t size;
    uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "model.onnx");
    write_file(path, bytes, size);
    Graph *graph;
    ModelInfo info;
    Status status = sn_load_onnx(fixture->arena, path, NULL, &graph, &info);
    assert_int_equal(sn_error_code(status), SN_UNSUPPORTED);
    sn_error_free(status);
    assert_int_equal(info.node_count, 2);
    assert_int_equal(info.operator_count, 2);
    assert_string_equal(info.operator[0].op_type, "Add");
    assert_string_equal(info.operator[1].op_type, "Frobnicate");
    assert_int_equal(info.parameter_count, 4);
    assert_int_equal(info.parameter_bytes, 16);
    assert_int_equal(info.opset[0].version, 17);
    assert_string_equal(info.producer, "hand");
}

static void every_prefix_is_refused(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    size_t size;
    uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "model.onnx");
    for (size_t length = 0; length < size; length++) {
        write_file(path, bytes, length);
        Graph *graph;
        Status status = sn_load_onnx(fixture->arena, path, NULL, &graph, NULL);
        if (sn_error_code(status) != SN_INVALID)
            fail_msg("%zu of %zu bytes: %s", length, size, sn_error_message(status));
        sn_error_free(status);
    }
}

/* Nothing may crash, whatever comes out; and nothing but INVALID and UNSUPPORTED may. */
static void every_changed_byte_is_survived(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    size_t size;
    uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "model.onnx");
    const uint8_t patterns[] = {0x01, 0x80, 0xff};
    for (size_t at = 0; at < size; at++) {
        for (size_t k = 0; k < sizeof patterns; k++) {
            bytes[at] ^= patterns[k];
            write_file(path, bytes, size);
            bytes[at] ^= patterns[k];
            Arena *arena = sn_arena_new();
            Graph *graph;
            Status status = sn_load_onnx(arena, path, NULL, &graph, NULL);
            sn_Code code = sn_error_code(status);
            assert_true(code == SN_OK || code == SN_INVALID || code == SN_UNSUPPORTED);
            sn_error_free(status);
            sn_arena_free(arena);
        }
    }
}

/* A graph in an attribute of a node of a graph in an attribute … */
static void nesting_is_bounded(void **state) {
    Fixture *fixture = *state;
    Text inner = sn_text(fixture->arena);
    for (int depth = 0; depth < 300; depth++) {
        const int fields[] = {6, 5, 1}; /* the attribute's graph, the node's attribute, the graph's node */
        for (int k = 0; k < 3; k++) {
            Text outer = sn_text(fixture->arena);
            char header[6] = {(char)(fields[k] << 3 | 2)};
            size_t length = 1, rest = inner.length;
            do {
                header[length++] = (char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
                rest >>= 7;
            } while (rest);
            sn_text_put(&outer, header, length);
            sn_text_put(&outer, inner.at ? inner.at : "", inner.length);
            inner = outer;
        }
    }
    Text file = sn_text(fixture->arena);
    sn_text_put(&file, "\x3a", 1); /* the model's graph, before which its length goes */
    for (size_t rest = inner.length; rest || file.length == 1; rest >>= 7)
        sn_text_put(&file, (const char[]){(char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))}, 1);
    sn_text_put(&file, inner.at, inner.length);
    const char *path = in_folder(fixture, "deep.onnx");
    write_file(path, file.at, file.length);
    Graph *graph;
    Status status = sn_load_onnx(fixture->arena, path, NULL, &graph, NULL);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    assert_non_null(strstr(sn_error_message(status), "nested too deeply"));
    sn_error_free(status);
}

static void node_counts_are_bounded(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    add_node(model, "Relu", "y", "z");
    size_t size;
    uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "model.onnx");
    write_file(path, bytes, size);
    Graph *graph;
    Status status = sn_load_onnx(fixture->arena, path, &(LoadOptions){.max_nodes = 1}, &graph, NULL);
    assert_int_equal(sn_error_code(status), SN_UNSUPPORTED);
    sn_error_free(status);
}

/* ---- contradictions, and what is not supported ---- */

static void contradictions_are_named(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    Onnx__NodeProto *node = model->node[0];
    node->input[1] = "nowhere";
    refused(fixture, model, SN_INVALID, "model.onnx", "\"Add_0\"", "Add, opset 17", "\"nowhere\"", NULL);
    node->input[1] = "later";
    add_node(model, "Relu", "x", "later");
    refused(fixture, model, SN_INVALID, "\"Add_0\"", "\"later\"", "sorted", NULL);
    node->input[1] = "w";
    model->node[1]->output[0] = "y";
    refused(fixture, model, SN_INVALID, "\"Relu_1\"", "twice", NULL);
    model->graph.n_node = 1;
    node->n_input = 1;
    refused(fixture, model, SN_INVALID, "\"Add_0\"", "1 inputs", NULL);
    node->n_input = 2;
    node->input[1] = "";
    refused(fixture, model, SN_INVALID, "\"Add_0\"", NULL);
    node->input[1] = "y"; /* itself */
    refused(fixture, model, SN_INVALID, "\"Add_0\"", "\"y\"", NULL);
    node->input[1] = "w";
    weight->dims[0] = 3;
    refused(fixture, model, SN_INVALID, "\"w\"", "16 bytes", NULL);
    set_raw(weight, four, 12);
    refused(fixture, model, SN_INVALID, "\"Add_0\"", "4 and 3", NULL);
    set_raw(weight, four, sizeof four);
    weight->dims[0] = 4;
    model->output[0]->type->tensor_type->elem_type = I64;
    refused(fixture, model, SN_INVALID, "output \"y\"", NULL);
    model->output[0]->type->tensor_type->elem_type = F32;
    model->opset.domain = "elsewhere";
    refused(fixture, model, SN_INVALID, "\"Add_0\"", "opset", NULL);
}

static void attributes_are_checked(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "batch,4");
    Onnx__NodeProto *node = add_node(model, "Softmax", "x", "y");
    add_output(model, "y");
    Onnx__AttributeProto *axis = add_attribute(model, node, "axis", 1);
    refused(fixture, model, SN_INVALID, "\"Softmax_0\"", "Softmax, opset 17", "wrong type", NULL);
    axis->type = 2;
    axis->i = 7;
    refused(fixture, model, SN_INVALID, "axis 7", NULL);
    axis->i = -1;
    Onnx__AttributeProto *more = add_attribute(model, node, "temperature", 1);
    more->f = 2;
    refused(fixture, model, SN_UNSUPPORTED, "unsupported", "Softmax, opset 17", "\"temperature\"", NULL);
    more->name = "axis";
    refused(fixture, model, SN_INVALID, "twice", NULL);
}

static void everything_unsupported_is_listed_once(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "batch,4");
    add_node(model, "Frobnicate", "x", "a");
    add_node(model, "Relu", "a", "b"); /* depends on it: not mentioned */
    add_node(model, "Frobnicate", "x", "c");
    add_node(model, "Gelu", "x", "d"); /* not at this opset */
    add_input(model, "s", 8, "batch");
    add_output(model, "b");
    Graph *graph;
    Status status = load(fixture, model, &graph);
    assert_int_equal(sn_error_code(status), SN_UNSUPPORTED);
    const char *message = sn_error_message(status), *first = strstr(message, "Frobnicate, opset 17");
    assert_non_null(first);
    assert_null(strstr(first + 1, "Frobnicate, opset"));
    assert_non_null(strstr(message, "(for example node \"Frobnicate_0\")"));
    assert_non_null(strstr(message, "Gelu, opset 17: not supported at this opset"));
    assert_non_null(strstr(message, "input \"s\""));
    assert_null(strstr(message, "Relu"));
    sn_error_free(status);
}

static void what_nothing_reads_need_not_be_supported(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "batch,4");
    add_node(model, "Frobnicate", "x", "a");
    add_node(model, "Relu", "a", "b");
    add_node(model, "Relu", "x", "y");
    add_output(model, "y");
    Graph *graph;
    loaded(fixture, model, &graph);
    assert_ptr_equal(graph->body->first, graph->body->last);
}

/* ---- functions ---- */

static Onnx__NodeProto **node_list(Model *model, Onnx__NodeProto *a, Onnx__NodeProto *b) {
    Onnx__NodeProto **list = SN_ARRAY(model->arena, Onnx__NodeProto *, 2);
    list[0] = a;
    list[1] = b;
    model->graph.n_node -= 2; /* they were added to the graph */
    return list;
}

/* Leaky(x, low; slope): max(low, leaky relu of x), its slope an attribute with a default and `low` optional.
 */
static Onnx__FunctionProto *leaky(Model *model) {
    Onnx__FunctionProto *function = SN_NEW(model->arena, Onnx__FunctionProto);
    onnx__function_proto__init(function);
    function->name = "Leaky";
    function->domain = "local";
    function->input = names(model->arena, "x low", &function->n_input);
    function->output = names(model->arena, "y", &function->n_output);
    Onnx__NodeProto *relu = add_node(model, "LeakyRelu", "x", "middle");
    add_attribute(model, relu, "alpha", 1)->ref_attr_name = "slope";
    function->node = node_list(model, relu, add_node(model, "Clip", "middle low", "y"));
    function->n_node = 2;
    function->opset_import = model->opsets;
    function->n_opset_import = 1;
    Onnx__AttributeProto *slope = SN_NEW(model->arena, Onnx__AttributeProto);
    onnx__attribute_proto__init(slope);
    slope->name = "slope";
    slope->type = 1;
    slope->f = 0.5f;
    function->attribute_proto = SN_ARRAY(model->arena, Onnx__AttributeProto *, 1);
    function->attribute_proto[0] = slope;
    function->n_attribute_proto = 1;
    return function;
}

static double result_for(Fixture *fixture, const Graph *graph, double x) {
    const int64_t extent[1] = {1};
    Array *input = sn_array_new(fixture->arena, SN_F32, 1, extent), *output[1];
    input->f[0] = x;
    Status status = sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){input}, output);
    if (status) fail_msg("%s", sn_error_message(status));
    return output[0]->f[0];
}

static void functions_are_put_in_place(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    Onnx__FunctionProto *function = leaky(model);
    model->proto.functions = &function;
    model->proto.n_functions = 1;
    add_input(model, "x", F32, "n");
    Onnx__TensorProto *low = add_initializer(model, "low", F32, 1);
    set_raw(low, four + 1, sizeof(float));
    Onnx__NodeProto *call = add_node(model, "Leaky", "x", "middle"),
                    *again = add_node(model, "Leaky", "middle low", "z");
    call->domain = again->domain = "local";
    add_attribute(model, again, "slope", 1)->f = 0.25f;
    add_output(model, "z");
    Graph *graph;
    loaded(fixture, model, &graph);
    assert_true(result_for(fixture, graph, 3) == 3);
    assert_true(result_for(fixture, graph, -8) == -1);
    assert_true(result_for(fixture, graph, -80) == -2);
    /* A function that calls itself ends somewhere. */
    function->node[0]->op_type = "Leaky";
    function->node[0]->domain = "local";
    refused(fixture, model, SN_INVALID, "nested too deeply", NULL);
}

/* ---- sizes ---- */

/* (a + b)·v with a [n], b [m], v [n]: the sum has max(n, m) elements, and the product needs that to be n. */
static void checks_settle_sizes(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "a", F32, "n");
    add_input(model, "b", F32, "m");
    add_input(model, "v", F32, "n");
    add_node(model, "Add", "a b", "sum");
    add_node(model, "MatMul", "sum v", "y");
    add_output(model, "y");
    Graph *graph;
    loaded(fixture, model, &graph);
    const Value *sum = graph->body->first->output[0];
    assert_ptr_equal(sum->type.dim[0], sn_dim_symbol(graph->dims, "n"));
    assert_int_equal(sn_dims_fact_count(graph->dims), 1);
    /* A copy knows it too, and a run that breaks it is refused. */
    Graph *copy = sn_graph_clone(fixture->arena, graph);
    Dim n = sn_dim_symbol(copy->dims, "n"), m = sn_dim_symbol(copy->dims, "m");
    assert_ptr_equal(sn_dim_max(copy->dims, n, m), n);
    const int rank[3] = {1, 1, 1};
    const int64_t few[1] = {1}, many[1] = {3};
    int64_t symbols[8];
    const int64_t *good[3] = {many, few, many}, *bad[3] = {few, many, few};
    assert_null(sn_bind_symbols(graph, 3, rank, good, symbols));
    Status status = sn_bind_symbols(graph, 3, rank, bad, symbols);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    sn_error_free(status);
}

/* ---- inputs ---- */

static const char *input_type(Fixture *fixture, const Graph *graph, int k) {
    Text text = sn_text(fixture->arena);
    sn_type_print(&text, graph->dims, graph->body->param.at[k]->type);
    return sn_arena_string(fixture->arena, sn_text_string(&text));
}

static void extents_become_symbols(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "?,T,past + T");
    add_input(model, "p", F32, "past,x,a * b");
    add_node(model, "Relu", "x", "y");
    add_output(model, "y");
    Graph *graph;
    loaded(fixture, model, &graph);
    /* The anonymous extent is not the symbol that another input calls "x"; a sum of names is a sum; a text
     * whose symbols nothing binds is a name. */
    assert_string_equal(input_type(fixture, graph, 0), "f32[x.1, T, T + past]");
    assert_string_equal(input_type(fixture, graph, 1), "f32[past, x, \"a * b\"]");
}

static void initializers_that_are_inputs_are_constants(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_raw(weight, four, sizeof four);
    add_input(model, "w", F32, "4");
    Graph *graph;
    loaded(fixture, model, &graph);
    assert_int_equal(graph->body->param.count, 1);
    weight_is_four(graph);
}

/* ---- tensors in the file ---- */

static void typed_fields_are_read(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    weight->n_float_data = 4;
    weight->float_data = (float *)four;
    Graph *graph;
    loaded(fixture, model, &graph);
    weight_is_four(graph);
    weight->n_float_data = 3;
    refused(fixture, model, SN_INVALID, "\"w\"", "3 elements", NULL);
    weight->n_float_data = 4;
    set_raw(weight, four, sizeof four);
    refused(fixture, model, SN_INVALID, "several places", NULL);
    set_raw(weight, NULL, 0);
    int32_t halves[4] = {0x3c00, 0xc000, 0x3800, 0x4800};
    weight->n_float_data = 0;
    weight->data_type = 10;
    weight->n_int32_data = 4;
    weight->int32_data = halves;
    model->input[0]->type->tensor_type->elem_type = 10;
    loaded(fixture, model, &graph);
    weight_is_four(graph);
}

static void bools_are_zero_or_one(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    model->node[0]->op_type = "And";
    model->input[0]->type->tensor_type->elem_type = 9;
    weight->data_type = 9;
    set_raw(weight, "\1\0\1\1", 4);
    Graph *graph;
    loaded(fixture, model, &graph);
    set_raw(weight, "\1\0\2\1", 4);
    refused(fixture, model, SN_INVALID, "neither 0 nor 1", NULL);
}

/* ---- external data ---- */

static void external_data_is_bounded(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    char bytes[24] = {0};
    memcpy(bytes + 8, four, sizeof four);
    write_file(in_folder(fixture, "weights.bin"), bytes, sizeof bytes);
    set_external(model, weight, "location", "weights.bin");
    set_external(model, weight, "offset", "8");
    Graph *graph;
    loaded(fixture, model, &graph);
    weight_is_four(graph);
    set_external(model, weight, "length", "16");
    loaded(fixture, model, &graph);
    const char *offsets[] = {"9", "18446744073709551615", "-1", "99999999999999999999", "", "8x", " 8"};
    for (size_t k = 0; k < sizeof offsets / sizeof offsets[0]; k++) {
        weight->external_data[1]->value = (char *)offsets[k];
        refused(fixture, model, SN_INVALID, "\"w\"", NULL);
    }
    weight->external_data[1]->value = "8";
    weight->external_data[2]->value = "12";
    refused(fixture, model, SN_INVALID, "12 bytes", NULL);
}

/* What would read a file that is not the model's own. */
static void external_data_stays_below_the_folder(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    write_file(in_folder(fixture, "weights.bin"), four, sizeof four);
    const char *inner = in_folder(fixture, "inner"), *secret = in_folder(fixture, "weights.bin");
    assert_int_equal(mkdir(inner, 0700), 0);
    strcpy(fixture->folder, inner); /* the model lies one folder further down */
    write_file(in_folder(fixture, "mine.bin"), four, sizeof four);
    assert_int_equal(symlink(secret, in_folder(fixture, "link.bin")), 0);
    assert_int_equal(symlink("..", in_folder(fixture, "up")), 0);
    assert_int_equal(link(in_folder(fixture, "mine.bin"), in_folder(fixture, "hard.bin")), 0);
    assert_int_equal(mkfifo(in_folder(fixture, "pipe"), 0600), 0);
    write_file(in_folder(fixture, "own.bin"), four, sizeof four);
    set_external(model, weight, "location", "own.bin");
    Graph *graph;
    loaded(fixture, model, &graph);
    const char *bad[] = {"../weights.bin",   secret,    "link.bin", "up/weights.bin",
                         "./../weights.bin", "hard.bin"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        weight->external_data[0]->value = (char *)bad[k];
        refused(fixture, model, SN_INVALID, "\"w\"", NULL);
    }
    const char *missing[] = {"nothing.bin", ".", "pipe", "own.bin/x"};
    for (size_t k = 0; k < sizeof missing / sizeof missing[0]; k++) {
        weight->external_data[0]->value = (char *)missing[k];
        refused(fixture, model, SN_IO, "\"w\"", NULL);
    }
    weight->external_data[0]->value = "";
    refused(fixture, model, SN_INVALID, "location", NULL);
    *strrchr(fixture->folder, '/') = 0;
}

/* Kernels without openat2 get the same answers. */
static void stepwise_opening_agrees(void **state) {
    Fixture *fixture = *state;
    assert_int_equal(mkdir(in_folder(fixture, "a"), 0700), 0);
    write_file(in_folder(fixture, "a/file"), four, sizeof four);
    assert_int_equal(symlink("a", in_folder(fixture, "alias")), 0);
    assert_int_equal(symlink("file", in_folder(fixture, "a/link")), 0);
    int folder = open(fixture->folder, O_RDONLY | O_DIRECTORY);
    const char *paths[] = {"a/file",      "./a/file",    "a/link", "alias/file",
                           "a/../a/file", "/etc/passwd", "",       "a/none"};
    for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
        int resolved = sn_file_open_resolved(folder, paths[k]), error = errno;
        int stepwise = sn_file_open_stepwise(folder, paths[k]);
        if (resolved >= 0) close(resolved);
        if (stepwise >= 0) close(stepwise);
        assert_true(stepwise < 0 || k < 2);
        if (resolved >= 0 || (error != ENOSYS && error != EPERM)) {
            /* a/../a/file stays inside, and only the kernel can know that it does */
            if (k != 4) assert_int_equal(resolved >= 0, stepwise >= 0);
        }
    }
    close(folder);
}

static void recipes_are_made_on_demand(void **state) {
    Fixture *fixture = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(fixture->arena, &weight);
    set_external(model, weight, "location", "recipe");
    set_external(model, weight, "seed", "18446744073709551615");
    set_external(model, weight, "scale", "0.02");
    set_external(model, weight, "offset_value", "1");
    Graph *graph;
    loaded(fixture, model, &graph);
    const Tensor *tensor = constant_of(graph);
    assert_int_equal(tensor->payload, SN_PAYLOAD_RECIPE);
    assert_true(tensor->seed == UINT64_MAX && tensor->scale == 0.02 && tensor->offset == 1);
    weight->external_data[2]->value = "much";
    refused(fixture, model, SN_INVALID, "scale", NULL);
}

/* ---- tensors on disk ---- */

static void tensors_survive_files(void **state) {
    Fixture *fixture = *state;
    const int64_t extent[3] = {2, 1, 3};
    for (DType dtype = 0; dtype < SN_DTYPE_COUNT; dtype++) {
        for (int rank = 0; rank <= 3; rank++) {
            void *bytes;
            Tensor *tensor = sn_tensor_new(fixture->arena, dtype, rank, extent, &bytes), *back;
            for (int64_t i = 0; i < tensor->count; i++)
                sn_element_set_int(dtype, bytes, i, dtype == SN_BOOL ? i % 2 : 3 * i);
            const char *suffixes[] = {"npy", "pb"}, *name;
            for (int k = 0; k < 2; k++) {
                const char *path = in_folder(fixture, sn_arena_printf(fixture->arena, "t.%s", suffixes[k]));
                assert_null(sn_save_tensor(path, tensor, "it"));
                assert_null(sn_load_tensor(fixture->arena, path, &back, &name));
                assert_string_equal(name, k ? "it" : "");
                /* NumPy has no bfloat16 */
                assert_int_equal(back->dtype, dtype == SN_BF16 && k == 0 ? SN_F32 : dtype);
                assert_int_equal(back->rank, rank);
                assert_int_equal(back->count, tensor->count);
                for (int64_t i = 0; i < back->count; i++)
                    assert_true(sn_tensor_get(back, i) == sn_tensor_get(tensor, i));
            }
        }
    }
}

static void every_prefix_of_a_tensor_file_is_refused(void **state) {
    Fixture *fixture = *state;
    const int64_t extent[2] = {2, 2};
    void *bytes;
    Tensor *tensor = sn_tensor_new(fixture->arena, SN_F32, 2, extent, &bytes), *back;
    memcpy(bytes, four, sizeof four);
    const char *suffixes[] = {"npy", "pb"};
    for (int k = 0; k < 2; k++) {
        const char *path = in_folder(fixture, sn_arena_printf(fixture->arena, "t.%s", suffixes[k]));
        assert_null(sn_save_tensor(path, tensor, NULL));
        char whole[512];
        FILE *file = fopen(path, "rb");
        size_t size = fread(whole, 1, sizeof whole, file);
        fclose(file);
        for (size_t length = 0; length < size; length++) {
            write_file(path, whole, length);
            Status status = sn_load_tensor(fixture->arena, path, &back, NULL);
            assert_int_equal(sn_error_code(status) == SN_INVALID || sn_error_code(status) == SN_UNSUPPORTED,
                             1);
            sn_error_free(status);
        }
    }
}

static void odd_npy_headers_are_refused(void **state) {
    Fixture *fixture = *state;
    const char *headers[] = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4, 4), }",
        "{'descr': '<f4', 'fortran_order': False}",
        "{    'descr': '", /* with its NUL as long as a piece of the arena: nothing may be read beyond */
    };
    for (size_t k = 0; k < sizeof headers / sizeof headers[0]; k++) {
        Text text = sn_text(fixture->arena);
        char length[2] = {(char)strlen(headers[k]), 0};
        sn_text_put(&text, "\x93NUMPY\x01\x00", 8);
        sn_text_put(&text, length, 2);
        sn_text_put(&text, headers[k], strlen(headers[k]));
        sn_text_put(&text, (const char *)four, sizeof four);
        const char *path = in_folder(fixture, "odd.npy");
        write_file(path, text.at, text.length);
        Tensor *tensor;
        Status status = sn_load_tensor(fixture->arena, path, &tensor, NULL);
        assert_non_null(status);
        sn_error_free(status);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_model_is_read),
        TEST(info_counts_operators_and_parameters),
        TEST(every_prefix_is_refused),
        TEST(every_changed_byte_is_survived),
        TEST(nesting_is_bounded),
        TEST(node_counts_are_bounded),
        TEST(contradictions_are_named),
        TEST(attributes_are_checked),
        TEST(everything_unsupported_is_listed_once),
        TEST(what_nothing_reads_need_not_be_supported),
        TEST(functions_are_put_in_place),
        TEST(checks_settle_sizes),
        TEST(extents_become_symbols),
        TEST(initializers_that_are_inputs_are_constants),
        TEST(typed_fields_are_read),
        TEST(bools_are_zero_or_one),
        TEST(external_data_is_bounded),
        TEST(external_data_stays_below_the_folder),
        TEST(stepwise_opening_agrees),
        TEST(recipes_are_made_on_demand),
        TEST(tensors_survive_files),
        TEST(every_prefix_of_a_tensor_file_is_refused),
        TEST(odd_npy_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

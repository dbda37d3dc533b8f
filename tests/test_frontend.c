/* The ONNX reader: hostile and contradictory files, what is not supported, functions, inputs. */
#include "frontend_fixture.h"

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
    add_node(model, "Relu", "y", "later"); /* of this node's own result */
    refused(fixture, model, SN_INVALID, "\"Relu_1\"", "\"y\"", "reads what comes of it", NULL);
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
    add_node(model, "Gelu", "x", "d");    /* not at this opset */
    add_node(model, "Grumble", "b", "e"); /* depends on it, and lacks itself */
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
    assert_non_null(strstr(message, "Grumble, opset 17: the operator is not supported"));
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
    /* Unless the caller gives them; of what is no input a name changes nothing. */
    const char *path = in_folder(fixture, "model.onnx"), *given[] = {"w", "x", "none"};
    const LoadOptions options = {.given_count = 3, .given = given};
    assert_ok(sn_load_onnx(fixture->arena, path, &options, &graph, NULL));
    assert_int_equal(graph->body->param.count, 2);
    assert_string_equal(graph->body->param.at[1]->name, "w");
    model->graph.n_input--;
    loaded(fixture, model, &graph);
    assert_ok(sn_load_onnx(fixture->arena, path, &options, &graph, NULL));
    assert_int_equal(graph->body->param.count, 1);
}

static Onnx__TensorProto *tensor_of(Model *model, const char *name, int type, size_t rank, int64_t rows,
                                    const void *bytes, size_t size) {
    Onnx__TensorProto *tensor = add_initializer(model, name, type, rows);
    model->graph.n_initializer--; /* it was added to the graph */
    tensor->n_dims = rank;
    tensor->dims = SN_ARRAY(model->arena, int64_t, 2);
    tensor->dims[0] = rows, tensor->dims[1] = 2;
    set_raw(tensor, bytes, size);
    return tensor;
}

/* y = x + w, both [2, 3], and w sparse: an initializer or an attribute. */
static Model *sparse_model(Arena *arena, bool initializer, size_t rank, const int64_t *index) {
    static const float value[2] = {5, 7};
    static int64_t dims[2] = {2, 3};
    Model *model = model_new(arena, 17);
    Onnx__SparseTensorProto *sparse = SN_NEW(arena, Onnx__SparseTensorProto);
    onnx__sparse_tensor_proto__init(sparse);
    sparse->values = tensor_of(model, "w", F32, 1, 2, value, sizeof value);
    sparse->indices = tensor_of(model, "", I64, rank, 2, index, (rank == 2 ? 4 : 2) * sizeof *index);
    sparse->n_dims = 2;
    sparse->dims = dims;
    add_input(model, "x", F32, "2,3");
    if (initializer) {
        model->graph.sparse_initializer = SN_ARRAY(arena, Onnx__SparseTensorProto *, 1);
        model->graph.sparse_initializer[model->graph.n_sparse_initializer++] = sparse;
    } else {
        enum { SPARSE_TENSOR = 11 };
        Onnx__NodeProto *node = add_node(model, "Constant", "", "w");
        add_attribute(model, node, "sparse_value", SPARSE_TENSOR)->sparse_tensor = sparse;
    }
    add_node(model, "Add", "x w", "y");
    add_output(model, "y");
    return model;
}

static void sparse_tensors_are_written_out(void **state) {
    Fixture *fixture = *state;
    Arena *arena = fixture->arena;
    const int64_t number[2] = {1, 5}, tuple[4] = {0, 1, 1, 2}, beyond[2] = {1, 6}, below[4] = {0, 1, -1, 0};
    for (int initializer = 0; initializer < 2; initializer++)
        for (size_t rank = 1; rank <= 2; rank++) {
            Model *model = sparse_model(arena, initializer, rank, rank == 1 ? number : tuple);
            const Array *y = result_of(fixture, model, 2, (int64_t[]){2, 3}, 1);
            for (int i = 0; i < 6; i++) assert_true(y->f[i] == (i == 1 ? 6 : i == 5 ? 8 : 1));
        }
    refused(fixture, sparse_model(arena, true, 1, beyond), SN_INVALID, "\"w\"", "6 of 6", NULL);
    refused(fixture, sparse_model(arena, false, 2, below), SN_INVALID, "Constant", "-1 of 2", NULL);
    Model *model = sparse_model(arena, true, 1, number);
    int64_t large[2] = {INT64_C(1) << 20, INT64_C(1) << 20};
    model->graph.sparse_initializer[0]->dims = large;
    refused(fixture, model, SN_UNSUPPORTED, "more than", NULL);
    model = sparse_model(arena, true, 1, number);
    model->graph.sparse_initializer[0]->indices->dims[0] = 1;
    model->graph.sparse_initializer[0]->indices->raw_data.len = 8;
    refused(fixture, model, SN_INVALID, "do not fit", NULL);
}

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
        TEST(sparse_tensors_are_written_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

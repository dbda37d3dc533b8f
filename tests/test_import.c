/* Rules of the importer: forms of operators that are easily taken for others, and what they have to refuse. Those of operators
 * that move elements are in test_import_move.c. */
#include "autodiff.h"
#include "frontend_fixture.h"

#include <math.h>

/* ---- functions ---- */

static Onnx__FunctionProto *unary_function(Model *model, const char *overload, const char *op) {
    Onnx__FunctionProto *function = SN_NEW(model->arena, Onnx__FunctionProto);
    onnx__function_proto__init(function);
    function->name = "Twice";
    function->domain = "local";
    function->overload = (char *)overload;
    function->input = names(model->arena, "x", &function->n_input);
    function->output = names(model->arena, "y", &function->n_output);
    function->node = SN_ARRAY(model->arena, Onnx__NodeProto *, 1);
    function->node[function->n_node++] = add_node(model, op, "x", "y");
    model->graph.n_node--; /* it was added to the graph */
    function->opset_import = model->opsets;
    function->n_opset_import = 1;
    return function;
}

static void overloads_are_told_apart(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    Onnx__FunctionProto *function[] = {unary_function(model, "", "Abs"), unary_function(model, "n", "Neg")};
    model->proto.functions = function;
    model->proto.n_functions = 2;
    add_input(model, "x", F32, "1");
    Onnx__NodeProto *call = add_node(model, "Twice", "x", "y");
    call->domain = "local";
    add_output(model, "y");
    assert_true(result_of(fixture, model, 1, (int64_t[]){1}, 3)->f[0] == 3);
    call->overload = "n";
    assert_true(result_of(fixture, model, 1, (int64_t[]){1}, 3)->f[0] == -3);
    call->overload = "none";
    refused(fixture, model, SN_UNSUPPORTED, "Twice", NULL);
}

/* ---- the order of nodes ---- */

static Onnx__GraphProto *negated(Model *model, const char *name) {
    Onnx__GraphProto *graph = SN_NEW(model->arena, Onnx__GraphProto);
    onnx__graph_proto__init(graph);
    graph->node = SN_ARRAY(model->arena, Onnx__NodeProto *, 1);
    graph->node[graph->n_node++] = add_node(model, "Neg", name, "negated");
    model->graph.n_node--; /* it was added to the graph */
    graph->output = SN_ARRAY(model->arena, Onnx__ValueInfoProto *, 1);
    graph->output[graph->n_output++] = value_info(model, "negated", F32, "1");
    return graph;
}

/* y = -(|x| + |x|), whose nodes stand in the file behind those that read them; a branch reads, too. */
static void nodes_need_no_order(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "1");
    Onnx__NodeProto *chosen = add_node(model, "If", "known", "y");
    add_attribute(model, chosen, "then_branch", GRAPH)->g = negated(model, "sum");
    add_attribute(model, chosen, "else_branch", GRAPH)->g = negated(model, "x");
    add_node(model, "Add", "size size", "sum");
    add_node(model, "Abs", "x", "size");
    const int64_t yes = 1;
    add_integers(model, "yes", 0, 1, &yes);
    set_int(model, add_node(model, "Cast", "yes", "known"), "to", BOOL);
    add_output(model, "y");
    assert_true(result_of(fixture, model, 1, (int64_t[]){1}, 3)->f[0] == -6);
}

/* Both branches make "negated" for themselves; another of that name, made of what is chosen, is none of theirs. */
static void bodies_have_names_of_their_own(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "1");
    Onnx__NodeProto *chosen = add_node(model, "If", "known", "y");
    add_attribute(model, chosen, "then_branch", GRAPH)->g = negated(model, "x");
    add_attribute(model, chosen, "else_branch", GRAPH)->g = negated(model, "x");
    add_node(model, "Add", "y y", "negated");
    const int64_t yes = 1;
    add_integers(model, "yes", 0, 1, &yes);
    set_int(model, add_node(model, "Cast", "yes", "known"), "to", BOOL);
    add_output(model, "negated");
    assert_true(result_of(fixture, model, 1, (int64_t[]){1}, 3)->f[0] == -6);
}

static void nodes_that_read_one_another_are_refused(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "1");
    add_node(model, "Add", "x back", "there");
    add_node(model, "Neg", "there", "back");
    add_output(model, "back");
    refused(fixture, model, SN_INVALID, "\"there\" is made by a node that reads what comes of it", NULL);
}

/* ---- quantised tensors ---- */

/* A calibration that has seen -infinity gives scales of infinity, and a mask divided by one is no number. */
static void what_is_no_number_is_quantised_to_the_least(void **state) {
    Fixture *fixture = *state;
    static const struct {
        int type, zero;
        double least;
    } cases[] = {{2, 7, 0}, {3, 7, -128}, {5, -9, -32768}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Model *model = model_new(fixture->arena, 21);
        add_input(model, "x", F32, "1");
        set_raw(add_initializer(model, "scale", F32, 1), &four[2], sizeof four[2]);
        Onnx__TensorProto *zero = add_initializer(model, "zero", cases[k].type, 1);
        zero->int32_data = SN_ARRAY(fixture->arena, int32_t, 1);
        zero->int32_data[zero->n_int32_data++] = cases[k].zero;
        add_node(model, "QuantizeLinear", "x scale zero", "y");
        add_output(model, "y");
        assert_true((double)result_of(fixture, model, 1, (int64_t[]){1}, NAN)->i[0] == cases[k].least);
        assert_true((double)result_of(fixture, model, 1, (int64_t[]){1}, -INFINITY)->i[0] == cases[k].least);
        assert_true((double)result_of(fixture, model, 1, (int64_t[]){1}, 1)->i[0] == cases[k].zero + 2);
    }
}

/* Row 2 of a table of 4 bits: (q - zero point)·scale, with one of each for two neighbours. */
static void rows_of_quantised_tables_are_opened(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 21);
    static const uint8_t data[] = {0x00, 0x00, 0x11, 0x11, 0x75, 0xf1}, zeros[] = {0x00, 0x00, 0x31};
    static const float scale[] = {9, 9, 9, 9, 0.5f, 2}, want[] = {2, 3, -4, 24};
    const int64_t row = 2;
    add_input(model, "x", F32, "4");
    Onnx__TensorProto *table = add_initializer(model, "data", 21, 3);
    Onnx__TensorProto *scales = add_initializer(model, "scales", F32, 3);
    Onnx__TensorProto *zero = add_initializer(model, "zeros", 21, 3);
    table->n_dims = scales->n_dims = zero->n_dims = 2;
    table->dims = (int64_t[]){3, 4};
    scales->dims = zero->dims = (int64_t[]){3, 2};
    set_raw(table, data, sizeof data);
    set_raw(scales, scale, sizeof scale);
    set_raw(zero, zeros, sizeof zeros);
    add_integers(model, "row", 2, 1, &row);
    Onnx__NodeProto *node = add_node(model, "GatherBlockQuantized", "data row scales zeros", "taken");
    node->domain = "com.microsoft";
    set_int(model, node, "block_size", 2);
    add_node(model, "Add", "x taken", "y");
    add_output(model, "y");
    Onnx__OperatorSetIdProto contrib = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    contrib.domain = "com.microsoft", contrib.version = 1;
    model->proto.opset_import = (Onnx__OperatorSetIdProto *[]){&model->opset, &contrib};
    model->proto.n_opset_import = 2;
    const Array *y = result_of(fixture, model, 1, (int64_t[]){4}, 0);
    for (int i = 0; i < 4; i++) assert_true(y->f[i] == want[i]);
}

/* Writers leave out the import of com.microsoft; and its Range may leave out the delta. */
static void the_domain_of_one_version_needs_no_import(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 11);
    const int64_t bound[] = {2, 5};
    add_input(model, "x", F32, "3");
    add_integers(model, "start", 0, 1, &bound[0]);
    add_integers(model, "limit", 0, 1, &bound[1]);
    add_node(model, "Range", "start limit", "count")->domain = "com.microsoft";
    set_int(model, add_node(model, "Cast", "count", "floats"), "to", F32);
    add_node(model, "Add", "x floats", "y");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 1, (int64_t[]){3}, 0);
    for (int i = 0; i < 3; i++) assert_true(y->f[i] == i + 2);
}

/* ---- ranges ---- */

/* y = range(0, cast(cast(limit)), 1), as i64 after a cast to `middle`. */
static Model *range_model(Arena *arena, int64_t limit, int middle) {
    Model *model = model_new(arena, 17);
    const int64_t zero = 0, one = 1;
    add_integers(model, "limit", 0, 1, &limit);
    add_integers(model, "zero", 0, 1, &zero);
    add_integers(model, "one", 0, 1, &one);
    set_int(model, add_node(model, "Cast", "limit", "middle"), "to", middle);
    set_int(model, add_node(model, "Cast", "middle", "end"), "to", I64);
    add_node(model, "Range", "zero end one", "y");
    add_output(model, "y");
    return model;
}

/* A cast that changes the number is not looked through. */
static void range_bounds_are_what_casts_make_of_them(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, range_model(fixture->arena, 5, F32), &graph);
    assert_true(sn_dim_equals(graph->body->result.at[0]->type.dim[0], 5));
    loaded(fixture, range_model(fixture->arena, 5, BOOL), &graph);
    assert_true(sn_dim_equals(graph->body->result.at[0]->type.dim[0], 1));
    loaded(fixture, range_model(fixture->arena, (1 << 24) + 1, F32), &graph); /* which no float is */
    assert_true(sn_dim_equals(graph->body->result.at[0]->type.dim[0], 1 << 24));
}

/* ---- products ---- */

static Model *gemm_model(Arena *arena, int type, const char *a, const char *c, double alpha) {
    Model *model = model_new(arena, 17);
    add_input(model, "a", type, a);
    add_input(model, "b", type, "3,4");
    add_input(model, "c", type, c);
    add_attribute(model, add_node(model, "Gemm", "a b c", "y"), "alpha", FLOAT)->f = (float)alpha;
    add_output(model, "y");
    return model;
}

static void gemm_spreads_c_alone(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, gemm_model(fixture->arena, F32, "2,3", "4", 0.5), &graph);
    loaded(fixture, gemm_model(fixture->arena, F32, "2,3", "2,1", 0.5), &graph);
    refused(fixture, gemm_model(fixture->arena, F32, "1,3", "2,4", 1), SN_INVALID, "not equal", NULL);
    loaded(fixture, gemm_model(fixture->arena, I32, "2,3", "4", 2), &graph);
    refused(fixture, gemm_model(fixture->arena, I32, "2,3", "4", 0.5), SN_UNSUPPORTED, "0.5", NULL);
}

static Model *einsum_model(Arena *arena, const char *equation, const char *dims) {
    Model *model = model_new(arena, 17);
    add_input(model, "a", F32, dims);
    add_input(model, "b", F32, dims);
    set_string(model, add_node(model, "Einsum", "a b", "y"), "equation", equation);
    add_output(model, "y");
    return model;
}

static void einsum_drops_no_label(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, einsum_model(fixture->arena, "abcdef,ghijkl", "1,1,1,1,1,1"), &graph);
    assert_int_equal(graph->body->result.at[0]->type.rank, 12);
    refused(fixture, einsum_model(fixture->arena, "abcdefg,hijklmn", "1,1,1,1,1,1,1"), SN_UNSUPPORTED,
            "more than 12 labels", NULL);
}

/* Label z of the first two operands is needed until the last one, beyond the 25 labels of the others. */
static void einsum_keeps_what_later_operands_have(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "2,2");
    for (int k = 0; k < 2; k++) {
        Onnx__TensorProto *ones = add_initializer(model, k ? "c" : "d", F32, 1);
        ones->n_dims = 12;
        ones->dims = SN_ARRAY(fixture->arena, int64_t, 12);
        for (int i = 0; i < 12; i++) ones->dims[i] = 1;
        set_raw(ones, four, sizeof four[0]);
    }
    set_raw(add_initializer(model, "e", F32, 2), four, 2 * sizeof four[0]);
    set_string(model, add_node(model, "Einsum", "x x c d e", "y"), "equation",
               "az,bz,cdefghijklmn,opqrstuvwxyA,z->ab");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 2, (int64_t[]){2, 2}, 3);
    for (int i = 0; i < 4; i++) assert_true(y->f[i] == 9 * (double)(four[0] + four[1]));
}

/* ---- attention ---- */

static Model *attention_model(Arena *arena, const char *lengths, double softcap) {
    Model *model = model_new(arena, 24);
    add_input(model, "q", F32, "2,3,4,8");
    add_input(model, "k", F32, "2,3,6,8");
    add_input(model, "v", F32, "2,3,6,10");
    add_input(model, "lengths", I64, lengths);
    Onnx__NodeProto *node = add_node(model, "Attention", "q k v _ _ _ lengths", "y");
    add_attribute(model, node, "softcap", FLOAT)->f = (float)softcap;
    add_output(model, "y");
    return model;
}

static double softcap_of(const Graph *graph) {
    const Node *node = graph->body->first;
    while (node && node->op != SN_OP_ATTENTION) node = node->next;
    assert_non_null(node);
    return ((const AttrAttention *)node->attr)->softcap;
}

static void attention_needs_a_list_of_lengths(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, attention_model(fixture->arena, "2", 0), &graph);
    refused(fixture, attention_model(fixture->arena, "", 0), SN_INVALID, "lengths of rank 0", NULL);
    refused(fixture, attention_model(fixture->arena, "2,1", 0), SN_INVALID, "lengths of rank 2", NULL);
}

/* cap·tanh(x / cap) is the same for a negative cap; only 0 is none. */
static void caps_of_either_sign_count(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, attention_model(fixture->arena, "2", 0), &graph);
    assert_true(softcap_of(graph) == 0);
    loaded(fixture, attention_model(fixture->arena, "2", -2), &graph);
    assert_true(softcap_of(graph) == 2);
}

/* ---- others ---- */

static void bools_have_an_order_and_no_sum(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 20);
    Graph *graph;
    add_input(model, "x", BOOL, "2,3");
    Onnx__NodeProto *node = add_node(model, "ReduceMax", "x", "y");
    add_output(model, "y");
    loaded(fixture, model, &graph);
    assert_int_equal(graph->body->result.at[0]->type.dtype, SN_BOOL);
    node->op_type = "ReduceSum";
    refused(fixture, model, SN_INVALID, "bool", NULL);
}

/* As attributes, bounds that are not given are the least and the greatest f32. */
static void old_clips_are_bounded(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 10);
    add_input(model, "x", F32, "1");
    add_node(model, "Clip", "x", "y");
    add_output(model, "y");
    assert_true(isfinite(result_of(fixture, model, 1, (int64_t[]){1}, INFINITY)->f[0]));
    model->opset.version = 11;
    assert_true(isinf(result_of(fixture, model, 1, (int64_t[]){1}, INFINITY)->f[0]));
}

static void add_floats(Model *model, const char *name, const char *dims) {
    Onnx__TensorProto *tensor = add_initializer(model, name, F32, 1);
    int64_t *extent = SN_ARRAY(model->arena, int64_t, SN_MAX_RANK), count = 1;
    tensor->n_dims = 0;
    for (char *at = sn_arena_string(model->arena, dims); *at; at += *at == ',')
        count *= extent[tensor->n_dims++] = strtol(at, &at, 10);
    tensor->dims = extent;
    set_raw(tensor, SN_ARRAY(model->arena, float, count), (size_t)count * sizeof(float));
}

static Model *batch_norm_model(Arena *arena, const char *x, const char *scale, const char *mean) {
    Model *model = model_new(arena, 17);
    add_input(model, "x", F32, x);
    add_floats(model, "scale", scale);
    add_floats(model, "mean", mean);
    add_node(model, "BatchNormalization", "x scale scale mean mean", "y");
    add_output(model, "y");
    return model;
}

static Model *depthwise_model(Arena *arena, const char *x) {
    Model *model = model_new(arena, 17);
    add_input(model, "x", F32, x);
    add_floats(model, "w", "3,1,2");
    set_int(model, add_node(model, "Conv", "x w", "y"), "group", 3);
    add_output(model, "y");
    return model;
}

static bool checks_channels(const Graph *graph, int64_t count) {
    Dim channels = graph->body->param.at[0]->type.dim[1], wanted = sn_dim(graph->dims, count);
    for (int i = 0; i < graph->checks.count; i++) {
        const Check *check = &graph->checks.at[i];
        bool both =
            (check->a == channels && check->b == wanted) || (check->a == wanted && check->b == channels);
        if (check->kind == SN_CHECK_EQUAL && both) return true;
    }
    return false;
}

/* One channel, or a vector of one number, would be spread over the others. */
static void channels_are_not_spread(void **state) {
    Fixture *fixture = *state;
    Arena *arena = fixture->arena;
    Graph *graph;
    refused(fixture, batch_norm_model(arena, "2,1,4", "3", "3"), SN_INVALID, "channels", NULL);
    refused(fixture, batch_norm_model(arena, "2,3,4", "1", "3"), SN_INVALID, "channels", NULL);
    refused(fixture, batch_norm_model(arena, "2,3,4", "3", "1"), SN_INVALID, "channels", NULL);
    refused(fixture, batch_norm_model(arena, "2,3,4", "3", "1,3"), SN_INVALID, "rank 2", NULL);
    loaded(fixture, batch_norm_model(arena, "2,n,4", "3", "3"), &graph);
    assert_true(checks_channels(graph, 3));
    refused(fixture, depthwise_model(arena, "2,1,4"), SN_INVALID, "channels", NULL);
    loaded(fixture, depthwise_model(arena, "2,n,4"), &graph);
    assert_true(checks_channels(graph, 3));
}

/* What a model has measured of its data is not trained: no constant of the file reaches the result as that. */
static void statistics_are_no_weights(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, batch_norm_model(fixture->arena, "2,3,4", "3", "3"), &graph);
    for (const Node *node = graph->body->first; node; node = node->next) {
        const Value *value = node->output[0];
        if (node->op != SN_OP_CONSTANT || node->origin || !value->name) continue;
        assert_int_equal(value->users.count != 0, strcmp(value->name, "scale") == 0);
    }
}

/* Nor is what says how much a class counts. */
static void weights_of_classes_are_no_weights(void **state) {
    Fixture *fixture = *state;
    for (int k = 0; k < 2; k++) {
        Graph *graph;
        Model *model = model_new(fixture->arena, 17);
        add_input(model, "x", F32, "2,4");
        add_input(model, "labels", I64, "2");
        set_raw(add_initializer(model, "w", F32, 4), four, sizeof four);
        add_node(model, k ? "NegativeLogLikelihoodLoss" : "SoftmaxCrossEntropyLoss", "x labels w", "y");
        add_output(model, "y");
        loaded(fixture, model, &graph);
        for (const Node *node = graph->body->first; node; node = node->next)
            if (node->op == SN_OP_CONSTANT && node->output[0]->name && !node->origin)
                assert_int_equal(node->output[0]->users.count, 0);
    }
}

/* With two values for one name there would be two answers. */
static void gradients_name_a_tensor_once(void **state) {
    Fixture *fixture = *state;
    static char domain[] = "ai.onnx.preview.training";
    Model *model = model_new(fixture->arena, 17);
    Onnx__OperatorSetIdProto training = ONNX__OPERATOR_SET_ID_PROTO__INIT,
                             *both[] = {&model->opset, &training};
    training.domain = domain;
    training.version = 1;
    model->proto.opset_import = both;
    model->proto.n_opset_import = 2;
    add_input(model, "x", F32, "1");
    add_input(model, "z", F32, "1");
    add_node(model, "Mul", "x x", "y");
    Onnx__NodeProto *node = add_node(model, "Gradient", "x z", "a b");
    node->domain = domain;
    set_string(model, node, "y", "y");
    Onnx__AttributeProto *xs = add_attribute(model, node, "xs", STRINGS);
    xs->n_strings = 2;
    xs->strings = SN_ARRAY(model->arena, ProtobufCBinaryData, 2);
    for (int i = 0; i < 2; i++) xs->strings[i] = (ProtobufCBinaryData){1, (uint8_t *)"x"};
    add_output(model, "b");
    refused(fixture, model, SN_UNSUPPORTED, "twice", NULL);
}

static double slope_at(Fixture *fixture, const char *op, double x) {
    Model *model = model_new(fixture->arena, 17);
    Graph *graph;
    Value *gradient;
    add_input(model, "x", F32, "1");
    add_node(model, op, "x", "y");
    add_output(model, "y");
    loaded(fixture, model, &graph);
    Status status = sn_autodiff(graph, graph->body->result.at[0], 1, &graph->body->param.at[0], &gradient);
    if (status) fail_msg("%s", sn_error_message(status));
    sn_graph_output(graph, "slope", gradient);
    Array *input = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){1}), *output[2];
    input->f[0] = x;
    status = sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){input}, output);
    if (status) fail_msg("%s", sn_error_message(status));
    return output[1]->f[0];
}

/* Even where the power that is for numbers below zero would be infinite. */
static void slopes_of_large_numbers_are_finite(void **state) {
    static const char *const op[] = {"Elu", "Selu", "Celu"};
    static const double slope[] = {1, 1.05070102214813232421875, 1};
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(slope_at(*state, op[i], 1000) - slope[i]) < 1e-6);
        assert_true(fabs(slope_at(*state, op[i], -1000)) < 1e-6);
    }
}

/* ---- recurrences with a state ---- */

static Model *linear_attention_model(Arena *arena, const char *key, const char *value, const char *state) {
    Model *model = model_new(arena, 27);
    add_input(model, "q", F32, "2,3,8");
    add_input(model, "k", F32, key);
    add_input(model, "v", F32, value);
    add_input(model, "s", F32, state);
    Onnx__NodeProto *node = add_node(model, "LinearAttention", "q k v s", "y");
    set_string(model, node, "update_rule", "linear");
    set_int(model, node, "q_num_heads", 2);
    set_int(model, node, "kv_num_heads", 2);
    add_output(model, "y");
    return model;
}

static Model *causal_conv_model(Arena *arena, const char *weight, const char *state) {
    Model *model = model_new(arena, 27);
    add_input(model, "x", F32, "2,4,5");
    add_input(model, "w", F32, weight);
    add_input(model, "b", F32, "4");
    add_input(model, "s", F32, state);
    add_node(model, "CausalConvWithState", "x w b s", "y");
    add_output(model, "y");
    return model;
}

static void recurrences_want_what_fits(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, linear_attention_model(fixture->arena, "2,3,8", "2,3,6", "2,2,4,3"), &graph);
    refused(fixture, linear_attention_model(fixture->arena, "2,5,8", "2,3,6", "2,2,4,3"), SN_INVALID, "keys",
            NULL);
    refused(fixture, linear_attention_model(fixture->arena, "2,3,8", "2,7,6", "2,2,4,3"), SN_INVALID,
            "values", NULL);
    refused(fixture, linear_attention_model(fixture->arena, "2,3,8", "2,3,6", "2,2,4,4"), SN_INVALID,
            "a state", NULL);
    loaded(fixture, causal_conv_model(fixture->arena, "4,1,3", "2,4,2"), &graph);
    refused(fixture, causal_conv_model(fixture->arena, "4,2,3", "2,4,2"), SN_INVALID, "weights", NULL);
    refused(fixture, causal_conv_model(fixture->arena, "4,1,3", "2,4,3"), SN_INVALID, "a state", NULL);
}

/* ---- batch normalization ---- */

/* A batch of equal elements, whose variance is 0: output `k`, at an opset where more outputs than one say that statistics are the
 * batch's. */
static const Array *measured_output(Fixture *fixture, int k) {
    static const char *const name[] = {"y", "mean", "variance", "own_mean", "own_variance"};
    Model *model = model_new(fixture->arena, 9);
    add_input(model, "x", F32, "3,2");
    static const char *const given[] = {"scale", "bias", "m", "v"};
    for (int i = 0; i < 4; i++)
        set_raw(add_initializer(model, given[i], F32, 2), four + i % 2, 2 * sizeof *four);
    add_node(model, "BatchNormalization", "x scale bias m v", "y mean variance own_mean own_variance");
    add_output(model, name[k]);
    return result_of(fixture, model, 2, (int64_t[]){3, 2}, 7);
}

static void outputs_say_that_a_batch_is_measured(void **state) {
    for (int i = 0; i < 2; i++) {
        double first = four[i], second = four[1 + i]; /* scale and mean, bias and variance */
        const double expected[5] = {second, 0.9 * first + 0.1 * 7, 0.9 * second, 7, 0};
        for (int k = 0; k < 5; k++) {
            const Array *y = measured_output(*state, k);
            assert_int_equal(y->count, k ? 2 : 6);
            assert_true(fabs(y->f[i] - expected[k]) < 1e-5);
        }
    }
}

/* Before opset 9 statistics may be those of each element. */
/* erfc(-x·c), of which no negation is left: half of a GELU. */
static void erfc_takes_a_negation_off(void **state) {
    Fixture *fixture = *state;
    for (int of_factor = 0; of_factor < 2; of_factor++) {
        Model *model = model_new(fixture->arena, 13);
        add_input(model, "x", F32, "1");
        set_raw(add_initializer(model, "half", F32, 1), &(float){0.5f}, sizeof(float));
        if (of_factor) add_node(model, "Neg", "x", "a");
        add_node(model, "Mul", of_factor ? "a half" : "x half", "b");
        add_node(model, "Erfc", "b", "y");
        add_output(model, "y");
        const Array *y = result_of(fixture, model, 1, (int64_t[]){1}, 0.5);
        assert_true(fabs(y->f[0] - erfc(of_factor ? -0.25 : 0.25)) < 1e-6);
        Graph *graph;
        int negations = 0;
        loaded(fixture, model, &graph);
        for (const Node *node = graph->body->first; node; node = node->next)
            negations += node->op == SN_OP_NEG && node->output[0]->users.count > 0;
        assert_int_equal(negations, !of_factor);
    }
}

static void statistics_may_be_of_elements(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 7);
    static const char *const given[] = {"scale", "bias", "m", "v"};
    static const float spread[4] = {1, 2, 0.5f, 8};
    static int64_t extent[2] = {2, 2};
    add_input(model, "x", F32, "2,2,2");
    for (int i = 0; i < 4; i++) {
        Onnx__TensorProto *part = add_initializer(model, given[i], F32, 2);
        part->n_dims = 2, part->dims = extent;
        set_raw(part, i == 3 ? spread : four, sizeof four);
    }
    set_int(model, add_node(model, "BatchNormalization", "x scale bias m v", "y"), "spatial", 0);
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 3, (int64_t[]){2, 2, 2}, 7);
    for (int i = 0; i < 8; i++) {
        double each = four[i % 4];
        assert_true(fabs(y->f[i] - ((7 - each) / sqrt(spread[i % 4] + 1e-5) * each + each)) < 1e-4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(overloads_are_told_apart),
        TEST(nodes_need_no_order),
        TEST(bodies_have_names_of_their_own),
        TEST(nodes_that_read_one_another_are_refused),
        TEST(what_is_no_number_is_quantised_to_the_least),
        TEST(rows_of_quantised_tables_are_opened),
        TEST(the_domain_of_one_version_needs_no_import),
        TEST(range_bounds_are_what_casts_make_of_them),
        TEST(gemm_spreads_c_alone),
        TEST(einsum_drops_no_label),
        TEST(einsum_keeps_what_later_operands_have),
        TEST(attention_needs_a_list_of_lengths),
        TEST(caps_of_either_sign_count),
        TEST(bools_have_an_order_and_no_sum),
        TEST(old_clips_are_bounded),
        TEST(channels_are_not_spread),
        TEST(statistics_are_no_weights),
        TEST(weights_of_classes_are_no_weights),
        TEST(gradients_name_a_tensor_once),
        TEST(slopes_of_large_numbers_are_finite),
        TEST(recurrences_want_what_fits),
        TEST(outputs_say_that_a_batch_is_measured),
        TEST(erfc_takes_a_negation_off),
        TEST(statistics_may_be_of_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

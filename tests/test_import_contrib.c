/* Operands that have to fit one another, of com.microsoft's operators and of recurrent networks; and rows that see nothing. */
#include "frontend_fixture.h"

#include <math.h>

enum { U8 = 2 };

/* An initializer of zeros; `dims` is made of extents below 10. */
static void add_zeros(Model *model, const char *name, int type, const char *dims) {
    Onnx__TensorProto *tensor = add_initializer(model, name, type, 0);
    size_t count = 1;
    tensor->n_dims = strlen(dims);
    tensor->dims = SN_ARRAY(model->arena, int64_t, tensor->n_dims);
    for (size_t k = 0; k < tensor->n_dims; k++) {
        tensor->dims[k] = dims[k] - '0';
        count *= (size_t)tensor->dims[k];
    }
    size_t bytes = count * (type == U8 ? 1 : 4);
    set_raw(tensor, SN_ARRAY(model->arena, uint8_t, 2 * bytes), bytes); /* there may be twice as many */
}

/* ---- mixtures of experts ---- */

/* The shapes of scores [5, E], of the layers' weights, and of the first bias, of which one is to be wrong. */
static Model *mixture(Arena *arena, const char *scores, const char *up, const char *bias, const char *down,
                      const char *beside) {
    Model *model = model_new(arena, 16);
    add_input(model, "x", F32, "5,4");
    add_zeros(model, "scores", F32, scores);
    add_zeros(model, "up", F32, up);
    add_zeros(model, "bias", F32, bias);
    add_zeros(model, "down", F32, down);
    add_zeros(model, "beside", F32, beside);
    Onnx__NodeProto *node = add_node(model, "MoE", "x scores up bias down _ beside", "y");
    node->domain = "com.microsoft";
    set_string(model, node, "activation_type", "silu");
    add_output(model, "y");
    return model;
}

static void experts_have_layers_that_fit(void **state) {
    Fixture *fixture = *state;
    Arena *arena = fixture->arena;
    result_of(fixture, mixture(arena, "53", "364", "36", "346", "364"), 2, (int64_t[]){5, 4}, 1);
    refused(fixture, mixture(arena, "53", "364", "36", "346", "34"), SN_INVALID, "rank 2", NULL);
    refused(fixture, mixture(arena, "53", "364", "36", "346", "6"), SN_INVALID, "rank 1", NULL);
    refused(fixture, mixture(arena, "53", "364", "3", "346", "364"), SN_INVALID, "rank 1", NULL);
    refused(fixture, mixture(arena, "53", "364", "36", "446", "364"), SN_INVALID, "experts", NULL);
    refused(fixture, mixture(arena, "54", "364", "36", "346", "364"), SN_INVALID, "scores", NULL);
}

/* Of three experts; scales and zero points of one number each, which are to be one for each column. */
static void experts_have_scales_of_their_columns(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 16);
    add_input(model, "x", F32, "5,4");
    add_zeros(model, "scores", F32, "53");
    add_zeros(model, "up", U8, "362");
    add_zeros(model, "down", U8, "343");
    add_zeros(model, "scale", F32, "3");
    add_zeros(model, "zero", U8, "3");
    Onnx__NodeProto *node = add_node(model, "QMoE", "x", "y");
    node->input =
        (char *[]){"x", "scores", "up", "scale", "", "down", "scale", "", "", "", "", "zero", "zero"};
    node->n_input = 13;
    node->domain = "com.microsoft";
    add_output(model, "y");
    refused(fixture, model, SN_INVALID, "QMoE", "rank 1", NULL);
}

/* ---- packed elements ---- */

/* Rows of four blocks of 16 elements of 4 bits, with zero points of `count` bytes a row, where two are due. */
static Model *table(Arena *arena, const char *zeros) {
    Model *model = model_new(arena, 16);
    add_input(model, "x", F32, "1");
    add_node(model, "Shape", "x", "rows");
    add_zeros(model, "q", U8, "984"); /* 9 rows, 8·4 bytes each */
    model->initializer[0]->n_dims = 2, model->initializer[0]->dims[1] = 32;
    add_zeros(model, "scale", F32, "94");
    add_zeros(model, "zero", U8, zeros);
    Onnx__NodeProto *node = add_node(model, "GatherBlockQuantized", "q rows scale zero", "y");
    node->domain = "com.microsoft";
    set_int(model, node, "block_size", 16);
    add_output(model, "y");
    return model;
}

static void packed_zero_points_are_all_there(void **state) {
    Fixture *fixture = *state;
    result_of(fixture, table(fixture->arena, "92"), 1, (int64_t[]){1}, 1);
    refused(fixture, table(fixture->arena, "91"), SN_INVALID, "packed elements", NULL);
}

/* ---- recurrent networks ---- */

/* Of two units: the weights of the state, the bias and the peepholes. */
static Model *network(Arena *arena, const char *state, const char *bias, const char *peep) {
    Model *model = model_new(arena, 16);
    add_input(model, "x", F32, "3,1,4");
    add_zeros(model, "w", F32, "184");
    add_zeros(model, "r", F32, state);
    add_zeros(model, "b", F32, bias);
    model->initializer[2]->dims[1] *= 2, model->initializer[2]->raw_data.len *= 2;
    add_zeros(model, "p", F32, peep);
    add_node(model, "LSTM", "x w r b _ _ _ p", "y");
    add_output(model, "y");
    return model;
}

static void gates_are_cut_out_of_what_has_them(void **state) {
    Fixture *fixture = *state;
    Arena *arena = fixture->arena;
    result_of(fixture, network(arena, "182", "18", "16"), 3, (int64_t[]){3, 1, 4}, 1);
    refused(fixture, network(arena, "172", "18", "16"), SN_INVALID, "weights", NULL);
    refused(fixture, network(arena, "182", "17", "16"), SN_INVALID, "biases", NULL);
    refused(fixture, network(arena, "182", "18", "15"), SN_INVALID, "LSTM", NULL);
    refused(fixture, network(arena, "182", "28", "16"), SN_INVALID, "LSTM", NULL);
}

/* ---- attention ---- */

/* Two rows, of which the second one sees nothing but the column that a smooth softmax adds: it is 0. */
static void rows_that_see_a_sink_alone_are_zero(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 16);
    static const int32_t last[] = {1}, total[] = {2};
    static const float added[] = {0, -INFINITY, -INFINITY, -INFINITY};
    add_input(model, "x", F32, "1,2,4");
    set_raw(add_initializer(model, "last", I32, 1), last, sizeof last);
    set_raw(add_initializer(model, "total", I32, 1), total, sizeof total);
    Onnx__TensorProto *bias = add_initializer(model, "bias", F32, 0);
    bias->n_dims = 4, bias->dims = (int64_t[]){1, 1, 2, 2};
    set_raw(bias, added, sizeof added);
    Onnx__NodeProto *node = add_node(model, "GroupQueryAttention", "x", "y");
    node->input = (char *[]){"x", "x", "x", "", "", "last", "total", "", "", "", "bias"};
    node->n_input = 11;
    node->domain = "com.microsoft";
    set_int(model, node, "num_heads", 1);
    set_int(model, node, "kv_num_heads", 1);
    set_int(model, node, "smooth_softmax", 1);
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 3, (int64_t[]){1, 2, 4}, 0.5);
    double weight = 1 / (1 + exp(-0.5)); /* the score is 4·0.5·0.5/√4, that of the further column 0 */
    for (int i = 0; i < 8; i++)
        if (!(fabs(y->f[i] - (i < 4 ? 0.5 * weight : 0)) < 1e-6)) fail_msg("element %d: %g", i, y->f[i]);
}

/* ---- attention with graphs in it ---- */

/* y of x as queries, keys and values, where one node `op` of "s" and these other inputs makes "t" of the probabilities. */
static Model *flexible(Arena *arena, const char *op, const char *inputs, int outputs) {
    Model *model = model_new(arena, 26), *inner = model_new(arena, 26);
    static const float three = 3;
    Onnx__OperatorSetIdProto *preview = SN_NEW(arena, Onnx__OperatorSetIdProto);
    onnx__operator_set_id_proto__init(preview);
    preview->domain = "ai.onnx.preview", preview->version = 1;
    model->proto.opset_import = SN_ARRAY(arena, Onnx__OperatorSetIdProto *, 2);
    model->proto.opset_import[0] = &model->opset;
    model->proto.opset_import[1] = preview;
    model->proto.n_opset_import = 2;
    add_input(model, "x", F32, "1,2,3,4");
    set_raw(add_initializer(model, "three", F32, 1), &three, sizeof three);
    add_input(inner, "s", F32, "b,h,l,k");
    add_node(inner, op, inputs, "t");
    for (int i = 0; i < outputs; i++) add_output(inner, "t");
    Onnx__NodeProto *node = add_node(model, "FlexAttention", "x x x", "y");
    node->domain = preview->domain;
    add_attribute(model, node, "prob_mod", GRAPH)->g = &inner->graph;
    add_output(model, "y");
    return model;
}

static void graphs_in_attention_keep_its_type(void **state) {
    Fixture *fixture = *state;
    Arena *arena = fixture->arena;
    const Array *y = result_of(fixture, flexible(arena, "Mul", "s three", 1), 4, (int64_t[]){1, 2, 3, 4}, 2);
    for (int i = 0; i < 24; i++) assert_true(fabs(y->f[i] - 6) < 1e-6);
    refused(fixture, flexible(arena, "Mul", "s three", 2), SN_INVALID, "prob_mod has 2 outputs", NULL);
    refused(fixture, flexible(arena, "Shape", "s", 1), SN_INVALID, "prob_mod makes another type", NULL);
    refused(fixture, flexible(arena, "Transpose", "s", 1), SN_INVALID, "prob_mod, axis 0", NULL);
    refused(fixture, flexible(arena, "Nothing", "s", 1), SN_UNSUPPORTED, "Nothing, opset 26", NULL);
    Model *model = flexible(arena, "Relu", "s", 1);
    add_input(model, "one", F32, "1,1,3,4");
    model->node[0]->input[1] = "one";
    refused(fixture, model, SN_INVALID, "the heads of keys and values", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(experts_have_layers_that_fit),        TEST(experts_have_scales_of_their_columns),
        TEST(packed_zero_points_are_all_there),    TEST(gates_are_cut_out_of_what_has_them),
        TEST(rows_that_see_a_sink_alone_are_zero), TEST(graphs_in_attention_keep_its_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

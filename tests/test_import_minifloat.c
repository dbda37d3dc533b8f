/* Floats of 4 and 8 bits, held as bytes: every code, and what numbers round to. */
#include "frontend_fixture.h"

#include <math.h>

enum { E4M3 = 17, E4M3_ONE_ZERO = 18, E5M2 = 19, E5M2_ONE_ZERO = 20, E2M1 = 23, E8M0 = 24 };
static const int signed_types[] = {E4M3, E4M3_ONE_ZERO, E5M2, E5M2_ONE_ZERO, E2M1};

/* The number of a code by the formats' definitions; what is no finite number is `beyond`. */
static double number_of(int type, int code, double beyond) {
    static const double four_bits[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    if (type == E2M1) return code & 8 ? -four_bits[code & 7] : four_bits[code & 7];
    int m = type <= E4M3_ONE_ZERO ? 3 : 2,
        bias = (m == 3 ? 7 : 15) + (type == E4M3_ONE_ZERO || type == E5M2_ONE_ZERO);
    int exponent = (code & 127) >> m;
    double fraction = (code & ((1 << m) - 1)) / (double)(1 << m);
    if (type == E4M3 && (code & 127) == 127) return beyond;
    if (type == E5M2 && exponent == 31) return beyond;
    if (bias % 2 == 0 && code == 128) return beyond;
    double size = exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
    return code & 128 ? -size : size;
}

/* The nearest finite number, of two the one whose code is even. */
static double nearest(int type, double x) {
    double best = 0;
    int code = 0;
    for (int k = 0; k < (type == E2M1 ? 16 : 256); k++) {
        double number = number_of(type, k, NAN), apart = fabs(number - x) - fabs(best - x);
        if (apart < 0 || (apart == 0 && k % 2 == 0 && code % 2 == 1)) best = number, code = k;
    }
    return best;
}

static const Array *there_and_back(Fixture *fixture, int type, bool saturate, const Array *x) {
    Model *model = model_new(fixture->arena, 19);
    Graph *graph;
    Array *output[1];
    add_input(model, "x", F32, "n");
    Onnx__NodeProto *cast = add_node(model, "Cast", "x", "q");
    set_int(model, cast, "to", type);
    set_int(model, cast, "saturate", saturate);
    add_node(model, "Identity", "q", "r");
    set_int(model, add_node(model, "Cast", "r", "y"), "to", F32);
    add_output(model, "y");
    loaded(fixture, model, &graph);
    Status status = sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){x}, output);
    if (status) fail_msg("%s", sn_error_message(status));
    return output[0];
}

/* All numbers, those half-way between two, and others close to these. */
static void numbers_round_to_the_nearest(void **state) {
    Fixture *fixture = *state;
    for (int t = 0; t < 5; t++) {
        int type = signed_types[t];
        Array *x = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){256 * 3});
        for (int code = 0; code < 256; code++) {
            double number = number_of(type, code, 0), next = number_of(type, (code + 1) % 256, 0);
            for (int k = 0; k < 3; k++)
                x->f[3 * code + k] = (float)(number + (next - number) * (2 + k) / 6.0);
            x->f[3 * code] = number;
        }
        const Array *y = there_and_back(fixture, type, true, x);
        for (int i = 0; i < x->count; i++)
            if (y->f[i] != nearest(type, x->f[i])) fail_msg("type %d: %g became %g", type, x->f[i], y->f[i]);
    }
}

static void what_is_too_large_saturates_where_asked(void **state) {
    Fixture *fixture = *state;
    static const double most[] = {448, 240, 57344, 57344};
    const double given[] = {INFINITY, -1e30, NAN, -0.0};
    for (int type = E4M3; type <= E5M2_ONE_ZERO; type++) {
        Array *x = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){4});
        memcpy(x->f, given, sizeof given);
        double largest = most[type - E4M3];
        const Array *y = there_and_back(fixture, type, true, x), *z = there_and_back(fixture, type, false, x);
        assert_true(y->f[0] == largest && y->f[1] == -largest && isnan(y->f[2]) && isnan(z->f[2]));
        assert_true(type == E5M2 ? z->f[0] == INFINITY && z->f[1] == -INFINITY
                                 : isnan(z->f[0]) && isnan(z->f[1]));
        assert_int_equal(signbit(y->f[3]) != 0, type == E4M3 || type == E5M2);
    }
}

/* Of 4 bits there is nothing but numbers. */
static void four_bits_always_saturate(void **state) {
    Fixture *fixture = *state;
    const double given[] = {INFINITY, -1e30, NAN, -0.0, 5.1};
    for (int saturate = 0; saturate < 2; saturate++) {
        Array *x = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){5});
        memcpy(x->f, given, sizeof given);
        const Array *y = there_and_back(fixture, E2M1, saturate, x);
        assert_true(y->f[0] == 6 && y->f[1] == -6 && y->f[2] == 0 && y->f[3] == 0 && y->f[4] == 6);
        assert_true(signbit(y->f[2]) && signbit(y->f[3]));
    }
}

/* Two codes a byte, and scales of blocks that are powers of two. */
static void blocks_have_powers_of_two(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 25);
    static const uint8_t codes[] = {0x72, 0x1f, 0x3a, 0x40}, powers[] = {127, 130, 0, 126};
    static const float wanted[] = {1, 6, -48, 4, -0x1p-127f, 0x1.8p-127f, 0, 1};
    add_input(model, "x", F32, "8");
    set_raw(add_initializer(model, "q", E2M1, 8), codes, sizeof codes);
    set_raw(add_initializer(model, "s", E8M0, 4), powers, sizeof powers);
    Onnx__NodeProto *node = add_node(model, "DequantizeLinear", "q s", "w");
    set_int(model, node, "axis", 0);
    set_int(model, node, "block_size", 2);
    set_int(model, node, "output_dtype", F32);
    add_node(model, "Add", "x w", "y");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 1, (int64_t[]){8}, 0);
    for (int i = 0; i < 8; i++) assert_true(y->f[i] == (double)wanted[i]);
}

/* Powers of two have no sign, and a fraction of which half counts as more: below the smallest normal f32 the next power is taken
 * beyond its half. The largest one is 2^127. */
static void powers_are_rounded_as_asked(void **state) {
    Fixture *fixture = *state;
    static const char *const how[] = {"up", "down", "nearest"};
    static const float given[] = {1,           1.25f, -1.5f,      1.75f,    0x1p-127f,
                                  0x1.8p-127f, 0,     0x1.8p127f, INFINITY, -NAN};
    static const float wanted[3][7] = {{1, 2, 2, 2, 0x1p-126f, 0x1p-126f, 0x1p-127f},
                                       {1, 1, 1, 1, 0x1p-127f, 0x1p-127f, 0x1p-127f},
                                       {1, 1, 2, 2, 0x1p-127f, 0x1p-126f, 0x1p-127f}};
    for (int k = 0; k < 6; k++) {
        bool saturate = k % 2;
        Model *model = model_new(fixture->arena, 25);
        add_input(model, "z", F32, "1");
        set_raw(add_initializer(model, "x", F32, 10), given, sizeof given);
        Onnx__NodeProto *cast = add_node(model, "Cast", "x", "q");
        set_int(model, cast, "to", E8M0);
        set_int(model, cast, "saturate", saturate);
        set_string(model, cast, "round_mode", how[k / 2]);
        set_int(model, add_node(model, "Cast", "q", "n"), "to", F32);
        add_node(model, "Add", "n z", "y");
        add_output(model, "y");
        const Array *y = result_of(fixture, model, 1, (int64_t[]){1}, 0);
        for (int i = 0; i < 7; i++)
            if (y->f[i] != (double)wanted[k / 2][i])
                fail_msg("%s: %g became %g", how[k / 2], (double)given[i], y->f[i]);
        assert_true(saturate || k / 2 == 1 ? y->f[7] == 0x1p127 : isnan(y->f[7]));
        assert_true(isnan(y->f[8]) && isnan(y->f[9]));
    }
}

/* Of 4 bits as of whole bytes; what has other widths is refused. */
static void bits_are_taken_for_others(void **state) {
    enum { U8 = 2, U4 = 21, I4 = 22 };
    Fixture *fixture = *state;
    static const uint8_t codes[] = {0x87, 0xf1};
    static const double wanted[2][4] = {{7, -8, 1, -1}, {6, -0.0, 0.5, -6}};
    static const int to[3] = {I4, E2M1, U8};
    for (int k = 0; k < 3; k++) {
        Model *model = model_new(fixture->arena, 26);
        add_input(model, "z", F32, "1");
        set_raw(add_initializer(model, "x", U4, 4), codes, sizeof codes);
        set_int(model, add_node(model, "BitCast", "x", "q"), "to", to[k]);
        set_int(model, add_node(model, "Cast", "q", "n"), "to", F32);
        add_node(model, "Add", "n z", "y");
        add_output(model, "y");
        if (k == 2) {
            refused(fixture, model, SN_INVALID, "BitCast", "elements of 4 bits taken for ones of 8", NULL);
            continue;
        }
        const Array *y = result_of(fixture, model, 1, (int64_t[]){1}, 0);
        for (int i = 0; i < 4; i++) assert_true(y->f[i] == wanted[k][i]);
    }
}

/* Bytes that are codes go through no arithmetic. */
static void arithmetic_of_codes_is_refused(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 19);
    add_input(model, "x", F32, "4");
    set_int(model, add_node(model, "Cast", "x", "q"), "to", E5M2);
    add_node(model, "Relu", "q", "r");
    set_int(model, add_node(model, "Cast", "r", "y"), "to", F32);
    add_output(model, "y");
    refused(fixture, model, SN_UNSUPPORTED, "Relu", "floats of 8 bits", NULL);
}

/* Weights are codes in the file; scales make numbers of them. */
static void weights_are_dequantised(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 19);
    static const uint8_t codes[] = {0x38, 0xb9, 0x01, 0x7e};
    static const float wanted[] = {1, -1.125f, 0x1p-9f, 448};
    add_input(model, "x", F32, "4");
    set_raw(add_initializer(model, "w", E4M3, 4), codes, sizeof codes);
    set_raw(add_initializer(model, "s", F32, 1), four, sizeof four[0]);
    add_node(model, "DequantizeLinear", "w s", "d");
    add_node(model, "Add", "x d", "y");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 1, (int64_t[]){4}, 0);
    for (int i = 0; i < 4; i++) assert_true(y->f[i] == (double)(wanted[i] * four[0]));
}

static Onnx__FunctionProto *cast_function(Model *model, int type) {
    Onnx__FunctionProto *function = SN_NEW(model->arena, Onnx__FunctionProto);
    onnx__function_proto__init(function);
    function->name = "Narrowed", function->domain = "local";
    function->input = names(model->arena, "a", &function->n_input);
    function->output = names(model->arena, "b", &function->n_output);
    function->node = SN_ARRAY(model->arena, Onnx__NodeProto *, 1);
    set_int(model, function->node[function->n_node++] = add_node(model, "Cast", "a", "b"), "to", type);
    model->graph.n_node--; /* it was added to the graph */
    function->opset_import = model->opsets;
    function->n_opset_import = 1;
    return function;
}

/* What a function of the model makes is what it says inside, and not what its input is. */
static void functions_give_codes_as_such(void **state) {
    Fixture *fixture = *state;
    for (int k = 0; k < 2; k++) {
        enum { U8 = 2 };
        Model *model = model_new(fixture->arena, 19);
        model->proto.functions = (Onnx__FunctionProto *[]){cast_function(model, k ? U8 : E4M3)};
        model->proto.n_functions = 1;
        add_input(model, "x", F32, "1");
        if (k) set_int(model, add_node(model, "Cast", "x", "codes"), "to", E4M3);
        add_node(model, "Narrowed", k ? "codes" : "x", "b")->domain = "local";
        set_int(model, add_node(model, "Cast", "b", "y"), "to", F32);
        add_output(model, "y");
        assert_true(result_of(fixture, model, 1, (int64_t[]){1}, 3.1)->f[0] == 3);
    }
}

/* Of a branch or of a turn nothing would tell what the bytes are. */
static void bodies_give_no_codes(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 19), *branch[2];
    add_input(model, "x", F32, "1");
    add_input(model, "c", BOOL, "");
    Onnx__NodeProto *node = add_node(model, "If", "c", "b");
    for (int k = 0; k < 2; k++) {
        branch[k] = model_new(fixture->arena, 19);
        const char *name = k ? "no" : "yes";
        set_int(branch[k], add_node(branch[k], "Cast", "x", name), "to", E2M1);
        add_output(branch[k], name);
        add_attribute(model, node, k ? "else_branch" : "then_branch", GRAPH)->g = &branch[k]->graph;
    }
    set_int(model, add_node(model, "Cast", "b", "y"), "to", F32);
    add_output(model, "y");
    refused(fixture, model, SN_UNSUPPORTED, "If", "floats of 4 bits as result 0", NULL);
}

static void fillings_are_codes(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 19);
    static const uint8_t code[] = {0x39};
    add_input(model, "x", F32, "2");
    add_node(model, "Shape", "x", "shape");
    Onnx__TensorProto *value = add_initializer(model, "value", E4M3, 1);
    set_raw(value, code, sizeof code);
    model->graph.n_initializer--; /* it is an attribute */
    add_attribute(model, add_node(model, "ConstantOfShape", "shape", "codes"), "value", 4)->t = value;
    set_int(model, add_node(model, "Cast", "codes", "filled"), "to", F32);
    add_node(model, "Add", "x filled", "y");
    add_output(model, "y");
    assert_true(result_of(fixture, model, 1, (int64_t[]){2}, 1)->f[1] == 2.125);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(numbers_round_to_the_nearest),
        TEST(what_is_too_large_saturates_where_asked),
        TEST(four_bits_always_saturate),
        TEST(blocks_have_powers_of_two),
        TEST(powers_are_rounded_as_asked),
        TEST(bits_are_taken_for_others),
        TEST(arithmetic_of_codes_is_refused),
        TEST(weights_are_dequantised),
        TEST(functions_give_codes_as_such),
        TEST(bodies_give_no_codes),
        TEST(fillings_are_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Training steps of weights and products of 16 bits. */
#include "training_fixture.h"

/* y = x·w of bf16, and the table's rows, twice each: w's and the table's gradients are sums of products. */
static const char half[] =
    "graph \"half\" stage imported\n"
    "input %0 \"x\": f32[4, 3]\n"
    "%1 \"w\" = constant {tensor = bf16[3, 8] recipe 1 scale 1 offset 0} : bf16[3, 8]\n"
    "%2 \"table\" = constant {tensor = bf16[2, 8] recipe 2 scale 1 offset 0} : bf16[2, 8]\n"
    "%3 \"rows\" = constant {tensor = i64[4] (0, 1, 0, 1)} : i64[4]\n"
    "%4 = cast(%0) {to = bf16} : bf16[4, 3]\n"
    "%5 = matmul(%4, %1) : bf16[4, 8]\n"
    "%6 = gather(%2, %3) {axis = 0} : bf16[4, 8]\n"
    "%7 = mul(%5, %6) : bf16[4, 8]\n"
    "%8 = cast(%7) {to = f32} : f32[4, 8]\n"
    "%9 = reduce_sum(%8) {axes = [1]} : f32[4, 1]\n"
    "%10 = view(%9) {extent = [4, 2], index = [i0, 0]} : f32[4, 2]\n"
    "output %10 \"y\"\n";

/* With β1 = 1/2 the first moment of the first step is half the gradient, to the bit. */
static void gradients_of_bf16_are_not_rounded(void **state) {
    Training training = squared();
    training.beta1 = 0.5;
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_of(half, &training, eager, 1, *state);
        sn_Context *context = context_of(program);
        random_batch(3);
        rate = 0.05f;
        assert_ok(sn_context_run(context));
        for (int k = 0; k < 2; k++) {
            sn_Tensor moment;
            const char *name = k ? "optimizer.first_moment.table" : "optimizer.first_moment.w";
            assert_ok(sn_context_state_get(context, state_named(context, name), &moment));
            int count = (int)(moment.extent[0] * moment.extent[1]), finer = 0;
            for (int i = 0; i < count; i++) finer += (((const uint32_t *)moment.data)[i] & 0xffff) != 0;
            assert_true(finer > count / 2);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

enum { HALVES = 24 };

static void read_halves(sn_Context *context, float *out) {
    sn_Tensor w;
    assert_ok(sn_context_state_get(context, state_named(context, "w"), &w));
    for (int i = 0; i < HALVES; i++)
        out[i] = (float)sn_tensor_get(&(Tensor){.dtype = SN_BF16, .count = HALVES, .bytes = w.data}, i);
}

static void assert_copy_near(sn_Context *context, const float *expected) {
    sn_Tensor copy;
    assert_ok(sn_context_state_get(context, state_named(context, "optimizer.master.w"), &copy));
    assert_int_equal(copy.element_type, 1);
    for (int i = 0; i < HALVES; i++)
        assert_near((double)((const float *)copy.data)[i], (double)expected[i], 0.004);
}

/* Steps that are too small for bf16 add up in the copies of f32, and only there. */
static void small_steps_of_bf16_add_up(void **state) {
    enum { STEPS = 64 };
    for (int optimizer = 0; optimizer < 2; optimizer++)
        for (int master = 0; master < 2; master++) {
            Training training = squared();
            training.optimizer = optimizer ? SN_OPTIMIZER_SGD : SN_OPTIMIZER_ADAMW;
            training.decay = 0;
            training.master = master;
            sn_Program *program = program_of(half, &training, false, 1, *state);
            sn_Context *context = context_of(program);
            float before[HALVES], after[HALVES];
            int large = 0, moved = 0;
            read_halves(context, before);
            random_batch(3);
            rate = 1e-4f;
            for (int step = 0; step < STEPS; step++) assert_ok(sn_context_run(context));
            read_halves(context, after);
            for (int i = 0; i < HALVES; i++) {
                if (fabsf(before[i]) < 0.25f) continue; /* bf16 tells smaller ones apart more finely */
                large++;
                moved += after[i] != before[i];
            }
            assert_true(large > HALVES / 3);
            if (master)
                assert_true(moved > large / 2), assert_copy_near(context, after);
            else
                assert_true(moved * 4 < large);
            sn_context_free(context);
            sn_program_free(program);
        }
}

/* A weight that is set is stepped from, whatever its copy was. */
static void a_weight_that_is_set_counts(void **state) {
    Training training = squared();
    sn_Program *program = program_of(half, &training, false, 1, *state);
    sn_Context *context = context_of(program);
    uint16_t set[HALVES];
    float expected[HALVES];
    sn_Tensor w;
    random_batch(3);
    rate = 1e-4f;
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_state_get(context, state_named(context, "w"), &w));
    for (int i = 0; i < HALVES; i++) set[i] = 0x4040, expected[i] = 3;
    w.data = set;
    assert_ok(sn_context_state_set(context, state_named(context, "w"), &w));
    assert_ok(sn_context_run(context));
    assert_copy_near(context, expected);
    sn_context_free(context);
    sn_program_free(program);
}

static double float_state(sn_Context *context, const char *name) {
    sn_Tensor state;
    assert_ok(sn_context_state_get(context, state_named(context, name), &state));
    return (double)*(const float *)state.data;
}

/* Weights, gradients and states are those of f32 but for the rounding of the product's operands. */
static void products_of_16_bits_make_steps(void **state) {
    for (int type = SN_AUTOCAST_BF16; type <= SN_AUTOCAST_F16; type++) {
        Training training = squared();
        training.optimizer = SN_OPTIMIZER_SGD, training.decay = 0;
        sn_Program *program = autocast_of(regression, &training, (sn_Autocast)type, false, 1, *state);
        sn_Context *context = context_of(program);
        Model model = first_model;
        double gradient[PARAMETERS], tolerance = type == SN_AUTOCAST_BF16 ? 0x1p-8 : 0x1p-11;
        float scale = 1024; /* with the first one the gradients of this loss overflow */
        if (type == SN_AUTOCAST_F16)
            assert_ok(sn_context_state_set(context, state_named(context, "optimizer.loss_scale"),
                                           &(sn_Tensor){sn_dtype_onnx(SN_F32), 0, NULL, &scale}));
        rate = 0.05f;
        for (int step = 0; step < 5; step++) {
            random_batch((uint64_t)step);
            double expected = gradient_of(&model, x, target, gradient);
            assert_ok(sn_context_run(context));
            assert_near(loss_of(context), expected, 2 * tolerance);
            sgd(&model, &training, (double)rate, gradient);
            assert_parameters(context, &model, tolerance);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* Errors of thousands times the scale are more than f16 holds: it is halved until they are not. */
static void a_scale_that_overflows_is_halved(void **state) {
    Training training = squared();
    sn_Program *program = autocast_of(regression, &training, SN_AUTOCAST_F16, false, 1, *state);
    sn_Context *context = context_of(program);
    double scale = 65536;
    int skipped = 0;
    rate = 0.05f;
    random_batch(1);
    for (int i = 0; i < ROWS * 2; i++) target[i] = 3000;
    for (; skipped < 16; skipped++) {
        assert_ok(sn_context_run(context));
        assert_true(isfinite(loss_of(context)));
        if (float_state(context, "optimizer.loss_scale") == scale) break;
        scale /= 2;
        assert_near(float_state(context, "optimizer.loss_scale"), scale, 0);
        assert_parameters(context, &first_model, 0);
    }
    assert_in_range(skipped, 9, 12);
    assert_true(float_state(context, "w") != 0.5);
    float small = 8;
    int64_t steps = 1999; /* the next one is as many as make it grow */
    assert_ok(sn_context_state_set(context, state_named(context, "optimizer.loss_scale"),
                                   &(sn_Tensor){sn_dtype_onnx(SN_F32), 0, NULL, &small}));
    assert_ok(sn_context_state_set(context, state_named(context, "optimizer.steps_in_scale"),
                                   &(sn_Tensor){sn_dtype_onnx(SN_I64), 0, NULL, &steps}));
    assert_ok(sn_context_run(context));
    assert_near(float_state(context, "optimizer.loss_scale"), 16, 0);
    sn_context_free(context);
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_bf16_are_not_rounded), cmocka_unit_test(small_steps_of_bf16_add_up),
        cmocka_unit_test(a_weight_that_is_set_counts),       cmocka_unit_test(products_of_16_bits_make_steps),
        cmocka_unit_test(a_scale_that_overflows_is_halved),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

/* Every model of tests/models on the CPU (models_fixture.h). */
#include "models_fixture.h"

static void test_models(void **state) {
    Totals *totals = *state;
    run_folder(totals, SN_TESTS "/models", "");
    print_message("models: %d passed, %d refused, %d failed\n", totals->passed, totals->refused,
                  totals->failed);
    assert_int_equal(totals->failed, 0);
    assert_true(totals->passed > 0 || getenv("SN_MODELS"));
}

/* A cache that stays f32, rotary positions, and a mask. */
static void test_autocast(void **state) {
    static const struct {
        const char *name;
        sn_Autocast autocast;
    } model[] = {{"gpt2_op16_cache", SN_AUTOCAST_BF16},
                 {"llama_op17_dynamic", SN_AUTOCAST_BF16},
                 {"bert_op13_untyped", SN_AUTOCAST_F16}};
    Totals *totals = *state;
    totals->passed = totals->refused = totals->failed = 0;
    for (size_t i = 0; i < sizeof model / sizeof *model; i++) {
        char path[2048];
        snprintf(path, sizeof path, "%s/models/%s", SN_TESTS, model[i].name);
        totals->autocast = model[i].autocast;
        run_model(totals, path, model[i].name);
    }
    totals->autocast = SN_AUTOCAST_NONE;
    assert_int_equal(totals->failed, 0);
    assert_int_equal(totals->passed, sizeof model / sizeof *model);
}

static void test_operators(void **state) {
    Totals *totals = *state;
    totals->passed = totals->refused = totals->failed = 0;
    run_folder(totals, SN_TESTS "/models/ops", "ops/");
    print_message("operators: %d passed, %d refused, %d failed\n", totals->passed, totals->refused,
                  totals->failed);
    assert_int_equal(totals->failed, 0);
    assert_true(totals->passed > 0 || getenv("SN_MODELS"));
}

static void test_folder(void **state) {
    Totals *totals = *state;
    run_folder(totals, totals->folder, "");
    print_message("%d passed, %d refused, %d failed\n", totals->passed, totals->refused, totals->failed);
    assert_int_equal(totals->failed, 0);
    assert_true(totals->passed > 0);
}

/* With a folder as argument: the models there, of which those of a list (without one, any) are refused, but none may fail. */
int main(int count, char **argument) {
    if (count > 1) {
        Totals totals = {.folder = argument[1], .device = "cpu", .strict = true};
        if (count > 2) totals.expected_refusals = read_text(argument[2]);
        const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test_folder, &totals)};
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        free(totals.expected_refusals);
        return failed;
    }
    Totals totals = {.expected_refusals = read_text(SN_TESTS "/models/unsupported.txt"), .device = "cpu"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_models, &totals),
        cmocka_unit_test_prestate(test_autocast, &totals),
        cmocka_unit_test_prestate(test_operators, &totals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(totals.expected_refusals);
    return failed;
}

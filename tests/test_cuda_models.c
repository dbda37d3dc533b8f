/* Every model of tests/models on the device `cuda`, whose libraries are emulated here (emulator/README.md), or, with
 * SINTER_TEST_GPU=1, on the GPU of this machine.
 *
 * tests/models/unsupported_cuda.txt lists what this device refuses and the CPU does not; it has to become empty. */
#include "models_fixture.h"
#include "program.h"

static bool on_gpu(void) {
    const char *told = getenv("SINTER_TEST_GPU");
    return told && strcmp(told, "1") == 0;
}

static const char usual[] = "order=2,processors=1,resident=1";

static void emulate(void) {
    setenv("SINTER_LIBCUDA", SN_EMULATED "/libemulated_cuda.so", 1);
    setenv("SINTER_LIBNVRTC", SN_EMULATED "/libemulated_nvrtc.so", 1);
    setenv("SINTER_LIBCUBLASLT", SN_EMULATED "/libemulated_cublaslt.so", 1);
    setenv("SINTER_EMULATOR", usual, 1);
}

static sn_Program *keeper;

/* Making a context on a GPU, and releasing it, takes longer than most models do: all programs share the one that is kept
 * by another. */
static int keep_context(void **state) {
    (void)state;
    if (on_gpu()) assert_null(sn_program_open(sn_arena_new(), "cuda", 1, NULL, &keeper));
    return 0;
}

static int release_context(void **state) {
    (void)state;
    sn_program_free(keeper);
    return 0;
}

static char *read_refusals(void) {
    char *here = read_text(SN_TESTS "/models/unsupported_cuda.txt"),
         *everywhere = read_text(SN_TESTS "/models/unsupported.txt");
    here = realloc(here, strlen(here) + strlen(everywhere) + 1);
    assert_non_null(here);
    strcat(here, everywhere);
    free(everywhere);
    return here;
}

static void run_all(Totals *totals, const char *folder, const char *prefix) {
    totals->passed = totals->refused = totals->failed = 0;
    run_folder(totals, folder, prefix);
    print_message("%d passed, %d refused, %d failed\n", totals->passed, totals->refused, totals->failed);
    assert_int_equal(totals->failed, 0);
    assert_true(totals->passed > 0 || getenv("SN_MODELS"));
}

static void models_run_on_cuda(void **state) {
    run_all(*state, SN_TESTS "/models", "");
}

static void products_of_16_bits_run_on_cuda(void **state) {
    Totals *totals = *state;
    totals->passed = totals->refused = totals->failed = 0;
    totals->autocast = SN_AUTOCAST_BF16;
    run_model(totals, SN_TESTS "/models/llama_op17_dynamic", "llama_op17_dynamic");
    totals->autocast = SN_AUTOCAST_F16;
    run_model(totals, SN_TESTS "/models/gpt2_op17_fixed", "gpt2_op17_fixed");
    totals->autocast = SN_AUTOCAST_NONE;
    assert_int_equal(totals->passed, 2);
}

/* Capabilities that have less shared memory, of which tiles take what there is. */
static void other_capabilities_run_on_cuda(void **state) {
    static const char *const settings[] = {"sm=89", "sm=120"};
    Totals *totals = *state;
    if (on_gpu()) skip();
    totals->passed = totals->refused = totals->failed = 0;
    for (int i = 0; i < 2; i++) {
        setenv("SINTER_EMULATOR", settings[i], 1);
        run_model(totals, SN_TESTS "/models/llama_op17_dynamic", "llama_op17_dynamic");
    }
    setenv("SINTER_EMULATOR", usual, 1);
    assert_int_equal(totals->passed, 2);
}

static void operators_run_on_cuda(void **state) {
    run_all(*state, SN_TESTS "/models/ops", "ops/");
}

int main(void) {
    Totals totals = {.expected_refusals = read_refusals(), .device = "cuda"};
    if (!on_gpu()) emulate();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(models_run_on_cuda, &totals),
        cmocka_unit_test_prestate(products_of_16_bits_run_on_cuda, &totals),
        cmocka_unit_test_prestate(other_capabilities_run_on_cuda, &totals),
        cmocka_unit_test_prestate(operators_run_on_cuda, &totals),
    };
    int failed = cmocka_run_group_tests(tests, keep_context, release_context);
    free(totals.expected_refusals);
    return failed;
}

/* The public API from a file to outputs, as a program that embeds Sinter uses it. */
#include "execute_fixture.h"
#include "load.h"

#define MODEL SN_TESTS "/models/gpt2_op17_fixed"

static sn_Model *open_model(void) {
    sn_Model *model;
    assert_ok(sn_model_open(MODEL "/model.onnx", &model));
    return model;
}

static sn_Program *compile(const sn_Model *model, sn_Mode mode, const char *cache) {
    sn_CompileOptions options = {.size = sizeof options, .mode = mode, .threads = 2, .cache_dir = cache};
    sn_Program *program;
    assert_ok(sn_compile(model, &options, &program));
    return program;
}

/* A stored tensor as the API takes it. */
static sn_Tensor stored(Arena *arena, const char *path) {
    Tensor *tensor;
    assert_ok(sn_load_tensor(arena, path, &tensor, NULL));
    return (sn_Tensor){.element_type = sn_dtype_onnx(tensor->dtype),
                       .rank = tensor->rank,
                       .extent = tensor->extent,
                       .data = (void *)(uintptr_t)tensor->bytes};
}

static void assert_near(const sn_Tensor *got, const sn_Tensor *expected) {
    int64_t count = 1;
    assert_int_equal(got->element_type, 1);
    assert_int_equal(expected->element_type, 1);
    assert_int_equal(got->rank, expected->rank);
    for (int i = 0; i < got->rank; i++) {
        assert_int_equal(got->extent[i], expected->extent[i]);
        count *= got->extent[i];
    }
    for (int64_t i = 0; i < count; i++) {
        double a = ((const float *)got->data)[i], b = ((const float *)expected->data)[i];
        double difference = a > b ? a - b : b - a, size = b < 0 ? -b : b;
        if (!(difference <= 1e-4 * (1 + size))) fail_msg("element %d: %g is not %g", (int)i, a, b);
    }
}

static void a_model_describes_itself(void **state) {
    (void)state;
    sn_Model *model = open_model();
    assert_int_equal(sn_model_input_count(model), 1);
    assert_int_equal(sn_model_output_count(model), 1);
    sn_TensorInfo input = sn_model_input(model, 0);
    assert_int_equal(input.element_type, 7);
    assert_int_equal(input.rank, 2);
    assert_int_equal(input.extent[0], 2);
    assert_int_equal(input.extent[1], 7);
    assert_string_equal(input.dim_name[0], "");
    assert_string_equal(sn_model_input(model, 1).name, "");
    assert_string_equal(sn_model_output(model, -1).name, "");
    sn_model_close(model);
}

static void programs_outlive_their_model(void **state) {
    Arena *arena = sn_arena_new();
    sn_Tensor input = stored(arena, MODEL "/b2_t7/input_0.pb"), got;
    sn_Tensor expected = stored(arena, MODEL "/b2_t7/output_0.pb");
    sn_Model *model = open_model();
    sn_Program *programs[] = {compile(model, SN_COMPILED, *state), compile(model, SN_EAGER, *state)};
    sn_model_close(model);
    for (int k = 0; k < 2; k++) {
        sn_Context *context = make_context(programs[k], 0);
        assert_ok(sn_context_set_input(context, 0, &input));
        for (int run = 0; run < 2; run++) {
            assert_ok(sn_context_run(context));
            assert_ok(sn_context_output(context, 0, &got));
            assert_near(&got, &expected);
        }
        assert_true(sn_context_peak_bytes(context) > 0);
        sn_context_free(context);
    }
    assert_true(sn_program_plan(programs[0])->launch_count < sn_program_plan(programs[1])->launch_count);
    assert_true(sn_program_constant_bytes(programs[1]) > 0);
    sn_program_free(programs[0]);
    sn_program_free(programs[1]);
    sn_arena_free(arena);
}

static void a_second_program_compiles_nothing(void **state) {
    sn_Model *model = open_model();
    sn_program_free(compile(model, SN_COMPILED, *state));
    sn_Program *program = compile(model, SN_COMPILED, *state);
    const Ledger *ledger = sn_program_ledger(program);
    assert_true(ledger->kernels.kernels > 0);
    assert_int_equal(ledger->kernels.compiled, 0);
    assert_false(ledger->kernels.linked);
    assert_true(ledger->parse > 0 && ledger->passes > 0 && ledger->codegen > 0 && ledger->kernels.load > 0);
    sn_program_free(program);
    sn_model_close(model);
}

static void mistakes_are_errors(void **state) {
    sn_Model *model;
    assert_fails(sn_model_open(SN_TESTS "/no such file", &model), SN_IO, "no such file");
    assert_null(model);
    model = open_model();
    sn_Program *program;
    sn_CompileOptions options = {.cache_dir = *state};
    assert_fails(sn_compile(model, &options, &program), SN_INVALID, "size");
    options = (sn_CompileOptions){.size = sizeof options, .mode = 7};
    assert_fails(sn_compile(model, &options, &program), SN_INVALID, "mode 7");
    options = (sn_CompileOptions){.size = sizeof options, .threads = -1};
    assert_fails(sn_compile(model, &options, &program), SN_INVALID, "-1 threads");
    options = (sn_CompileOptions){.size = sizeof options, .device = "tpu"};
    assert_fails(sn_compile(model, &options, &program), SN_UNSUPPORTED, "tpu");
    options = (sn_CompileOptions){.size = sizeof options, .cache_dir = "/dev/null/x"};
    assert_fails(sn_compile(model, &options, &program), SN_IO, "/dev/null");
    assert_null(program);
    sn_program_free(program);
    sn_model_close(model);
    sn_model_close(NULL);
}

static void element_types_are_those_of_onnx(void **state) {
    (void)state;
    static const struct {
        int number;
        DType dtype;
    } named[] = {{SN_ELEMENT_F32, SN_F32},  {SN_ELEMENT_U8, SN_U8},     {SN_ELEMENT_I8, SN_I8},
                 {SN_ELEMENT_U16, SN_U16},  {SN_ELEMENT_I16, SN_I16},   {SN_ELEMENT_I32, SN_I32},
                 {SN_ELEMENT_I64, SN_I64},  {SN_ELEMENT_BOOL, SN_BOOL}, {SN_ELEMENT_F16, SN_F16},
                 {SN_ELEMENT_F64, SN_F64},  {SN_ELEMENT_U32, SN_U32},   {SN_ELEMENT_U64, SN_U64},
                 {SN_ELEMENT_BF16, SN_BF16}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        assert_int_equal(named[i].number, sn_dtype_onnx(named[i].dtype));
}

/* y = x[b:c] along the axes of d, all three given to each run by the file's vectors. */
static void inputs_become_constants(void **state) {
    const char *folder = SN_TESTS "/models/ops/Slice_10_run_time",
               *path = SN_TESTS "/models/ops/Slice_10_run_time/model.onnx";
    static const char *const names[] = {"b", "c", "d"};
    Arena *arena = sn_arena_new();
    sn_Constant constant[3];
    sn_Model *model;
    sn_Context *context;
    sn_Tensor got, x = stored(arena, sn_arena_printf(arena, "%s/input_0.pb", folder)),
                   expected = stored(arena, sn_arena_printf(arena, "%s/output_0.pb", folder));
    for (int i = 0; i < 3; i++)
        constant[i] =
            (sn_Constant){names[i], stored(arena, sn_arena_printf(arena, "%s/input_%d.pb", folder, i + 1))};
    sn_OpenOptions options = {.size = sizeof options, .constant_count = 1, .constant = constant};
    assert_fails(sn_model_open_with(path, &options, &model), SN_UNSUPPORTED, "\"c\" (constants in their");
    options.constant_count = 3;
    assert_ok(sn_model_open_with(path, &options, &model));
    assert_int_equal(sn_model_input_count(model), 1);
    sn_Program *program = compile(model, SN_COMPILED, *state);
    assert_ok(sn_context_new(program, NULL, &context));
    assert_ok(sn_context_set_input(context, 0, &x));
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_output(context, 0, &got));
    assert_near(&got, &expected);
    sn_context_free(context);
    sn_program_free(program);
    sn_model_close(model);
    sn_arena_free(arena);
}

static void constants_fit_their_inputs(void **state) {
    (void)state;
    static const int64_t few[] = {1}, negative[] = {-1};
    int64_t value = 3;
    sn_Constant constant = {"absent", {SN_ELEMENT_I64, 1, few, &value}};
    sn_OpenOptions options = {.size = sizeof options, .constant_count = 1, .constant = &constant};
    sn_Model *model;
    const char *path = MODEL "/model.onnx";
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "no input is called \"absent\"");
    constant.name = "input_ids";
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "where it is i64 of rank 2");
    constant.tensor = (sn_Tensor){SN_ELEMENT_F32, 2, few, &value};
    constant.tensor.extent = negative;
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "extent -1");
    constant.tensor = (sn_Tensor){SN_ELEMENT_I64, 2, (const int64_t[]){1, 1}, &value};
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "input \"input_ids\"");
    constant.tensor.data = NULL;
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "no data");
    options.size = 0;
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "size");
    options = (sn_OpenOptions){.size = sizeof options, .given_count = 1};
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "1 inputs and 0 constants without");
    options = (sn_OpenOptions){.size = sizeof options, .constant_count = -1};
    assert_fails(sn_model_open_with(path, &options, &model), SN_INVALID, "-1 constants without");
    assert_null(model);
    assert_ok(sn_model_open_with(path, NULL, &model));
    sn_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_describes_itself),          cmocka_unit_test(programs_outlive_their_model),
        cmocka_unit_test(a_second_program_compiles_nothing), cmocka_unit_test(mistakes_are_errors),
        cmocka_unit_test(element_types_are_those_of_onnx),   cmocka_unit_test(inputs_become_constants),
        cmocka_unit_test(constants_fit_their_inputs),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

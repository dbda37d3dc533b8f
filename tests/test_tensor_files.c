/* Tensors as files have them: in the model, beside it, made of a recipe, and in files of their own. */
#include "files.h"
#include "frontend_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- in the model ---- */

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

/* ---- files of their own ---- */

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

static const char *write_npy(Fixture *fixture, const char *header, const void *bytes, size_t size) {
    Text text = sn_text(fixture->arena);
    char length[2] = {(char)strlen(header), 0};
    sn_text_put(&text, "\x93NUMPY\x01\x00", 8);
    sn_text_put(&text, length, 2);
    sn_text_put(&text, header, strlen(header));
    sn_text_put(&text, bytes, size);
    const char *path = in_folder(fixture, "odd.npy");
    write_file(path, text.at, text.length);
    return path;
}

/* NumPy writes a transposed array so: element (i, j, k) of shape (2, 3, 2), here 100 i + 10 j + k, is number i + 2 j + 6 k. */
static void npy_in_column_major_order_is_read(void **state) {
    Fixture *fixture = *state;
    int16_t columns[12];
    for (int i = 0; i < 12; i++) columns[i] = (int16_t)(i % 2 * 100 + i / 2 % 3 * 10 + i / 6);
    const char *header = "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 2), }";
    const char *path = write_npy(fixture, header, columns, sizeof columns);
    Tensor *tensor, mapped;
    assert_ok(sn_load_tensor(fixture->arena, path, &tensor, NULL));
    assert_int_equal(tensor->count, 12);
    for (int i = 0; i < 12; i++)
        assert_int_equal(sn_tensor_get_int(tensor, i), i / 6 * 100 + i / 2 % 3 * 10 + i % 2);
    assert_fails(sn_map_npy(fixture->arena, path, &mapped), SN_UNSUPPORTED, "ascontiguousarray");
    header = "{'descr': '<i2', 'fortran_order': True, 'shape': (0, 4611686018427387904, 4), }";
    assert_ok(sn_load_tensor(fixture->arena, write_npy(fixture, header, NULL, 0), &tensor, NULL));
    assert_int_equal(tensor->count, 0);
}

static void odd_npy_headers_are_refused(void **state) {
    Fixture *fixture = *state;
    const char *headers[] = {
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
        const char *path = write_npy(fixture, headers[k], four, sizeof four);
        Tensor *tensor;
        Status status = sn_load_tensor(fixture->arena, path, &tensor, NULL);
        assert_non_null(status);
        sn_error_free(status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(typed_fields_are_read),
        TEST(bools_are_zero_or_one),
        TEST(external_data_is_bounded),
        TEST(external_data_stays_below_the_folder),
        TEST(stepwise_opening_agrees),
        TEST(recipes_are_made_on_demand),
        TEST(tensors_survive_files),
        TEST(every_prefix_of_a_tensor_file_is_refused),
        TEST(npy_in_column_major_order_is_read),
        TEST(odd_npy_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

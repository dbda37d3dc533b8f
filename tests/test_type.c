/* Element types, tensor types and the elements of tensors. */
#include "number.h"
#include "type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void names_and_numbers_agree(void **state) {
    (void)state;
    for (int i = 0; i < SN_DTYPE_COUNT; i++) {
        DType from_name = SN_DTYPE_COUNT, from_onnx = SN_DTYPE_COUNT, dtype = (DType)i;
        const char *name = sn_dtype_name(dtype);
        assert_true(sn_dtype_from_name(name, strlen(name), &from_name));
        assert_true(sn_dtype_from_onnx(sn_dtype_onnx(dtype), &from_onnx));
        assert_int_equal(from_name, dtype);
        assert_int_equal(from_onnx, dtype);
        assert_false(sn_dtype_is_float(dtype) && sn_dtype_is_int(dtype));
    }
    DType out;
    assert_false(sn_dtype_from_name("f3", 2, &out));
    assert_false(sn_dtype_from_onnx(8, &out)); /* strings */
    assert_true(sn_dtype_is_signed(SN_I8) && sn_dtype_is_signed(SN_BF16) && !sn_dtype_is_signed(SN_U8));
    assert_false(sn_dtype_is_int(SN_BOOL));
}

static void types_print_and_count(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Dims *dims = sn_dims_new(arena);
    Dim dim[] = {sn_dim_symbol(dims, "B"), sn_dim_symbol(dims, "T"), sn_dim(dims, 768)};
    Type type = {SN_F32, 3, dim}, other = {SN_F32, 2, dim}, scalar = {SN_BF16, 0, NULL};
    Text text = sn_text(arena);
    sn_type_print(&text, dims, type);
    sn_type_print(&text, dims, scalar);
    assert_string_equal(sn_text_string(&text), "f32[B, T, 768]bf16[]");
    assert_ptr_equal(sn_type_count(dims, type), sn_dim_mul(dims, dim[2], sn_dim_mul(dims, dim[0], dim[1])));
    assert_ptr_equal(sn_type_count(dims, scalar), sn_dim(dims, 1));
    assert_true(sn_type_equal(type, type));
    assert_false(sn_type_equal(type, other));
    sn_arena_free(arena);
}

/* What is written is read back, rounded or wrapped to the dtype; payloads may be unaligned. */
static void elements_round_and_wrap(void **state) {
    (void)state;
    static const struct {
        DType dtype;
        int64_t in, out;
    } ints[] = {{SN_BOOL, 7, 1},
                {SN_U8, 257, 1},
                {SN_U8, -1, 255},
                {SN_I8, 200, -56},
                {SN_I16, -5, -5},
                {SN_U16, -1, 65535},
                {SN_I32, INT64_C(1) << 32, 0},
                {SN_U32, -1, 4294967295},
                {SN_F16, 2049, 2048},
                {SN_BF16, 257, 256},
                {SN_F32, 16777217, 16777216},
                {SN_I64, INT64_MIN, INT64_MIN},
                {SN_F64, 16777217, 16777217}};
    for (size_t k = 0; k < sizeof ints / sizeof ints[0]; k++) {
        char bytes[1 + 3 * 8] = {0};
        const int64_t extent[] = {3};
        sn_element_set_int(ints[k].dtype, bytes + 1, 2, ints[k].in);
        Tensor tensor = {.dtype = ints[k].dtype, .rank = 1, .extent = extent, .count = 3, .bytes = bytes + 1};
        assert_int_equal(sn_tensor_get_int(&tensor, 2), ints[k].out);
        assert_int_equal(sn_tensor_get_int(&tensor, 1), 0);
        assert_true(sn_tensor_get(&tensor, 2) == (double)ints[k].out);
    }
    char bytes[8];
    Tensor one = {.dtype = SN_F16, .count = 1, .bytes = bytes};
    sn_element_set(SN_F16, bytes, 0, 0.1);
    assert_true(sn_tensor_get(&one, 0) == 0.0999755859375);
    one.dtype = SN_I32;
    sn_element_set(SN_I32, bytes, 0, -2.75);
    assert_int_equal(sn_tensor_get_int(&one, 0), -2);
}

static void recipes_are_computed(void **state) {
    (void)state;
    const int64_t extent[] = {100};
    Tensor recipe = {.dtype = SN_BF16,
                     .rank = 1,
                     .extent = extent,
                     .count = 100,
                     .payload = SN_PAYLOAD_RECIPE,
                     .seed = 5,
                     .scale = 0.02,
                     .offset = 1};
    uint16_t bits[10];
    sn_tensor_copy(&recipe, 20, 30, bits);
    for (int i = 0; i < 10; i++) {
        double u = sn_random_uniform(5, (uint64_t)(20 + i));
        assert_int_equal(bits[i], sn_bf16_from(0.02 * (1.7320508075688772 * (2 * u - 1)) + 1));
        assert_true(sn_tensor_get(&recipe, 20 + i) == sn_bf16_to(bits[i]));
    }
}

static void new_tensors_are_zero(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    void *bytes;
    Tensor *tensor = sn_tensor_new(arena, SN_I32, 2, (int64_t[]){2, 3}, &bytes);
    assert_int_equal(tensor->count, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(sn_tensor_get_int(tensor, i), 0);
    sn_element_set_int(SN_I32, bytes, 5, 9);
    int32_t copy[2];
    sn_tensor_copy(tensor, 4, 6, copy);
    assert_int_equal(copy[0], 0);
    assert_int_equal(copy[1], 9);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_agree), cmocka_unit_test(types_print_and_count),
        cmocka_unit_test(elements_round_and_wrap), cmocka_unit_test(recipes_are_computed),
        cmocka_unit_test(new_tensors_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

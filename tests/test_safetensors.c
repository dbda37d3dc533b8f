/* Safetensors files: what is written is read again, and hostile headers end with a message. */
#include "frontend_fixture.h"
#include "safetensors.h"

#include <signal.h>
#include <sys/resource.h>

/* A file of a header's text and `size` bytes of elements 0, 1, 2 … */
static Status read_text(Fixture *f, const char *header, size_t size, SafeTensors *out) {
    const char *path = in_folder(f, "file.safetensors");
    size_t length = strlen(header);
    uint8_t *bytes = sn_arena_alloc(f->arena, 8 + length + size);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < size; i++) bytes[8 + length + i] = (uint8_t)i;
    write_file(path, bytes, 8 + length + size);
    return sn_safetensors_read(f->arena, path, out);
}

static void declined(Fixture *f, sn_Code code, const char *part, const char *header, size_t size) {
    SafeTensors file;
    Status status = read_text(f, header, size, &file);
    if (sn_error_code(status) != code || !strstr(sn_error_message(status), part))
        fail_msg("%s: %d, '%s'", header, (int)sn_error_code(status), sn_error_message(status));
    sn_error_free(status);
}

static void every_element_type_comes_back(void **state) {
    Fixture *f = *state;
    static const int64_t extent[2] = {2, 3};
    NamedTensor given[SN_DTYPE_COUNT];
    for (int i = 0; i < SN_DTYPE_COUNT; i++) {
        void *bytes;
        given[i].name = sn_arena_printf(f->arena, "t/%s \"\\ \xc3\xa9", sn_dtype_name((DType)i));
        given[i].tensor = sn_tensor_new(f->arena, (DType)i, 2, extent, &bytes);
        for (int k = 0; k < 6; k++) sn_element_set((DType)i, bytes, k, i == SN_BOOL ? k % 2 : k + 1);
    }
    const NamedText text[2] = {{"step", "12"}, {"options", "a\nb"}};
    const char *path = in_folder(f, "all.safetensors");
    assert_null(sn_safetensors_write(f->arena, path, SN_DTYPE_COUNT, given, 2, text));
    SafeTensors read;
    assert_null(sn_safetensors_read(f->arena, path, &read));
    assert_int_equal(read.count, SN_DTYPE_COUNT);
    for (int i = 0; i < SN_DTYPE_COUNT; i++) {
        const Tensor *tensor = sn_safetensors_tensor(&read, given[i].name);
        assert_non_null(tensor);
        assert_int_equal(tensor->dtype, i);
        assert_int_equal(tensor->rank, 2);
        assert_int_equal(tensor->extent[1], 3);
        assert_int_equal((uintptr_t)tensor->bytes % (uintptr_t)sn_dtype_bytes((DType)i), 0);
        for (int k = 0; k < 6; k++)
            assert_true(sn_tensor_get(tensor, k) == sn_tensor_get(given[i].tensor, k));
    }
    assert_string_equal(sn_safetensors_text(&read, "options"), "a\nb");
    assert_null(sn_safetensors_text(&read, "absent"));
    assert_null(sn_safetensors_tensor(&read, "absent"));
}

static void recipes_scalars_and_nothing(void **state) {
    Fixture *f = *state;
    static const int64_t extent[2] = {300, 70}, none[1] = {0};
    const Tensor recipe = {.dtype = SN_F32,
                           .rank = 2,
                           .extent = extent,
                           .count = 21000,
                           .payload = SN_PAYLOAD_RECIPE,
                           .seed = 5,
                           .scale = 0.5,
                           .offset = 1};
    const int64_t seven = 7;
    const Tensor scalar = {.dtype = SN_I64, .count = 1, .bytes = &seven};
    const Tensor nothing = {.dtype = SN_F64, .rank = 1, .extent = none, .bytes = &seven};
    const NamedTensor given[3] = {{"recipe", &recipe}, {"scalar", &scalar}, {"nothing", &nothing}};
    const char *path = in_folder(f, "some.safetensors");
    assert_null(sn_safetensors_write(f->arena, path, 3, given, 0, NULL));
    SafeTensors read;
    assert_null(sn_safetensors_read(f->arena, path, &read));
    const Tensor *tensor = sn_safetensors_tensor(&read, "recipe");
    for (int64_t i = 0; i < recipe.count; i++)
        assert_true((float)sn_tensor_get(&recipe, i) == (float)sn_tensor_get(tensor, i));
    assert_int_equal(sn_tensor_get_int(sn_safetensors_tensor(&read, "scalar"), 0), 7);
    assert_int_equal(sn_safetensors_tensor(&read, "nothing")->count, 0);
    assert_int_equal(read.text_count, 0);
    assert_null(sn_safetensors_write(f->arena, path, 0, NULL, 0, NULL));
    assert_null(sn_safetensors_read(f->arena, path, &read));
    assert_int_equal(read.count, 0);
}

static void the_format_is_read_as_others_write_it(void **state) {
    Fixture *f = *state;
    SafeTensors file;
    /* Unordered, unaligned, with trailing spaces. */
    assert_null(
        read_text(f,
                  "{\"b\":{\"dtype\":\"U16\",\"shape\":[2],\"data_offsets\":[1,5]}, \"__metadata__\":"
                  "{\"format\":\"pt\"},\"a\":{\"shape\":[],\"dtype\":\"I8\",\"data_offsets\":[0,1]}}   ",
                  5, &file));
    assert_int_equal(file.count, 2);
    assert_int_equal(sn_tensor_get_int(sn_safetensors_tensor(&file, "b"), 1), 0x0403);
    assert_int_equal(sn_tensor_get_int(sn_safetensors_tensor(&file, "a"), 0), 0);
    assert_string_equal(sn_safetensors_text(&file, "format"), "pt");
}

#define ONE(dtype, shape, offsets)                                                                           \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void headers_that_lie_are_refused(void **state) {
    Fixture *f = *state;
    declined(f, SN_INVALID, "no JSON", "{\"a\":", 0);
    declined(f, SN_INVALID, "no JSON", "{\"a\":{},\"a\":{}}", 0);
    declined(f, SN_INVALID, "no JSON", "", 0);
    declined(f, SN_INVALID, "no object", "[]", 0);
    declined(f, SN_INVALID, "no \"dtype\"", "{\"a\":[1]}", 0);
    declined(f, SN_INVALID, "no object", "{\"__metadata__\":[]}", 0);
    declined(f, SN_INVALID, "holds no text", "{\"__metadata__\":{\"a\":1}}", 0);
    declined(f, SN_UNSUPPORTED, "element type", ONE("F8_E4M3", "[1]", "[0,1]"), 1);
    declined(f, SN_UNSUPPORTED, "element type", ONE("f32", "[1]", "[0,4]"), 4);
    declined(f, SN_INVALID, "no \"shape\"", ONE("F32", "1", "[0,4]"), 4);
    declined(f, SN_INVALID, "axis 1", ONE("F32", "[1,-1]", "[0,4]"), 4);
    declined(f, SN_INVALID, "axis 0", ONE("F32", "[1.0]", "[0,4]"), 4);
    declined(f, SN_UNSUPPORTED, "rank", ONE("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), 4);
    declined(f, SN_INVALID, "too many", ONE("U8", "[4294967296,4294967296]", "[0,0]"), 0);
    declined(f, SN_INVALID, "shape's", ONE("F64", "[2305843009213693952]", "[0,0]"), 0);
    declined(f, SN_INVALID, "shape's", ONE("F32", "[2]", "[0,4]"), 4);
    declined(f, SN_INVALID, "ends at byte 8 of 4", ONE("F32", "[2]", "[0,8]"), 4);
    declined(f, SN_INVALID, "data_offsets", ONE("F32", "[1]", "[4,0]"), 4);
    declined(f, SN_INVALID, "data_offsets", ONE("F32", "[1]", "[-4,0]"), 4);
    declined(f, SN_INVALID, "gap, at byte 0", ONE("F32", "[1]", "[4,8]"), 8);
    declined(f, SN_INVALID, "4 bytes, and the file 8", ONE("F32", "[1]", "[0,4]"), 8);
    declined(f, SN_INVALID, "overlap",
             "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
             "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
             4);
    declined(f, SN_INVALID, "neither 0 nor 1", ONE("BOOL", "[3]", "[0,3]"), 3);
    write_file(in_folder(f, "short"), "\x05\0\0\0\0\0\0\0{}", 10);
    SafeTensors file;
    Status status = sn_safetensors_read(f->arena, in_folder(f, "short"), &file);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    sn_error_free(status);
    write_file(in_folder(f, "long"), "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    status = sn_safetensors_read(f->arena, in_folder(f, "long"), &file);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    sn_error_free(status);
}

/* Every byte of a good file, changed: no crash (the sanitizers look on), and what is accepted can be read. */
static void changed_bytes_do_no_harm(void **state) {
    Fixture *f = *state;
    SafeTensors file;
    const char *path = in_folder(f, "file.safetensors");
    static uint8_t bytes[4096];
    assert_null(read_text(f,
                          "{\"b\":{\"dtype\":\"U16\",\"shape\":[2,1],\"data_offsets\":[1,5]},"
                          "\"a\":{\"shape\":[],\"dtype\":\"I8\",\"data_offsets\":[0,1]}}",
                          5, &file));
    FILE *in = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    for (size_t i = 0; i < size; i++) {
        for (int change = 1; change < 256; change *= 2) {
            bytes[i] = (uint8_t)(bytes[i] ^ change);
            write_file(path, bytes, size);
            Arena *arena = sn_arena_new();
            Status status = sn_safetensors_read(arena, path, &file);
            for (int k = 0; !status && k < file.count; k++)
                for (int64_t e = 0; e < file.tensor[k].tensor->count; e++)
                    (void)sn_tensor_get(file.tensor[k].tensor, e);
            assert_true(sn_error_code(status) != SN_INTERNAL);
            sn_error_free(status);
            sn_arena_free(arena);
            bytes[i] = (uint8_t)(bytes[i] ^ change);
        }
    }
}

/* A disk that is full: here a limit of the size of files. */
static void a_failed_write_leaves_the_old_file(void **state) {
    Fixture *f = *state;
    static const int64_t extent[1] = {100000};
    const Tensor large = {.dtype = SN_F32,
                          .rank = 1,
                          .extent = extent,
                          .count = 100000,
                          .payload = SN_PAYLOAD_RECIPE,
                          .scale = 1};
    const int64_t seven = 7;
    const Tensor scalar = {.dtype = SN_I64, .count = 1, .bytes = &seven};
    const char *path = in_folder(f, "kept.safetensors");
    assert_null(sn_safetensors_write(f->arena, path, 1, &(NamedTensor){"n", &scalar}, 0, NULL));
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){100000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Status status = sn_safetensors_write(f->arena, path, 1, &(NamedTensor){"n", &large}, 0, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(sn_error_code(status), SN_IO);
    sn_error_free(status);
    SafeTensors file;
    assert_null(sn_safetensors_read(f->arena, path, &file));
    assert_int_equal(sn_tensor_get_int(sn_safetensors_tensor(&file, "n"), 0), 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_element_type_comes_back),
        TEST(recipes_scalars_and_nothing),
        TEST(the_format_is_read_as_others_write_it),
        TEST(headers_that_lie_are_refused),
        TEST(changed_bytes_do_no_harm),
        TEST(a_failed_write_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

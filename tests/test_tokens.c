/* Token files: every kind is read, windows lie inside of their part, and mistakes have a message. */
#include "frontend_fixture.h"
#include "language.h"
#include "text_form.h"
#include "tokens.h"

static Status open_tokens(Fixture *f, const char *name, TokenRequest request, Tokens *out) {
    return sn_tokens_open(f->arena, in_folder(f, name), &request, out);
}

static void declined(Status status, sn_Code code, const char *part) {
    if (sn_error_code(status) != code || !strstr(sn_error_message(status), part))
        fail_msg("%d, '%s' lacks '%s'", (int)sn_error_code(status), sn_error_message(status), part);
    sn_error_free(status);
}

static void every_kind_is_read(void **state) {
    Fixture *f = *state;
    Tokens tokens;
    static const uint16_t words[4] = {1, 300, 65535, 7};
    static const uint32_t wide[2] = {70000, 5};
    static const int64_t extent[1] = {3}, ids[3] = {4, 0, 99};
    const Tensor npy = {.dtype = SN_I64, .rank = 1, .extent = extent, .count = 3, .bytes = ids};
    write_file(in_folder(f, "a.bin"), words, sizeof words);
    assert_null(open_tokens(f, "a.bin", (TokenRequest){.vocabulary = 65536}, &tokens));
    assert_int_equal(tokens.ids.count, 4);
    assert_int_equal(sn_tensor_get_int(&tokens.ids, 2), 65535);
    write_file(in_folder(f, "b.bin"), wide, sizeof wide);
    assert_null(open_tokens(f, "b.bin", (TokenRequest){.vocabulary = 70001}, &tokens));
    assert_int_equal(sn_tensor_get_int(&tokens.ids, 0), 70000);
    assert_null(open_tokens(f, "b.bin", (TokenRequest){.bytes = 1}, &tokens));
    assert_int_equal(tokens.ids.count, 8);
    assert_null(sn_save_tensor(in_folder(f, "c.npy"), &npy, NULL));
    assert_null(open_tokens(f, "c.npy", (TokenRequest){.vocabulary = 100}, &tokens));
    assert_int_equal(sn_tensor_get_int(&tokens.ids, 2), 99);
    write_file(in_folder(f, "d.txt"), "h\xc3\xa9", 3);
    assert_null(open_tokens(f, "d.txt", (TokenRequest){.vocabulary = 256}, &tokens));
    assert_int_equal(sn_tensor_get_int(&tokens.ids, 1), 0xc3);
    assert_null(open_tokens(f, "a.bin", (TokenRequest){.text = true}, &tokens));
    assert_int_equal(tokens.ids.count, 8);
}

static void mistakes_have_a_message(void **state) {
    Fixture *f = *state;
    Tokens tokens;
    static const int32_t ids[2] = {3, -1};
    static const int64_t extent[2] = {2, 1};
    const Tensor npy = {.dtype = SN_I32, .rank = 1, .extent = extent, .count = 2, .bytes = ids};
    const Tensor flat = {.dtype = SN_F32, .rank = 1, .extent = extent, .count = 2, .bytes = ids};
    const Tensor deep = {.dtype = SN_I32, .rank = 2, .extent = extent, .count = 2, .bytes = ids};
    write_file(in_folder(f, "a.bin"), "\1\0\0\0\5\0", 6);
    declined(open_tokens(f, "a.bin", (TokenRequest){.vocabulary = 5}, &tokens), SN_INVALID,
             "id 5, at position 2, is out of the vocabulary of 5");
    declined(open_tokens(f, "a.bin", (TokenRequest){.vocabulary = 100000}, &tokens), SN_INVALID, "6 bytes");
    declined(open_tokens(f, "a.bin", (TokenRequest){.bytes = 3}, &tokens), SN_INVALID, "ids of 3 bytes");
    declined(open_tokens(f, "none.bin", (TokenRequest){0}, &tokens), SN_IO, "none.bin");
    write_file(in_folder(f, "a.dat"), "abc", 3);
    declined(open_tokens(f, "a.dat", (TokenRequest){0}, &tokens), SN_UNSUPPORTED, ".npy");
    assert_null(sn_save_tensor(in_folder(f, "a.npy"), &npy, NULL));
    declined(open_tokens(f, "a.npy", (TokenRequest){0}, &tokens), SN_INVALID, "id -1, at position 1");
    assert_null(sn_save_tensor(in_folder(f, "a.npy"), &flat, NULL));
    declined(open_tokens(f, "a.npy", (TokenRequest){0}, &tokens), SN_INVALID, "not f32");
    assert_null(sn_save_tensor(in_folder(f, "a.npy"), &deep, NULL));
    declined(open_tokens(f, "a.npy", (TokenRequest){0}, &tokens), SN_INVALID, "rank 2");
    write_file(in_folder(f, "a.npy"), "abc", 3);
    declined(open_tokens(f, "a.npy", (TokenRequest){0}, &tokens), SN_INVALID, "not an .npy");
}

enum { COUNT = 1000, LENGTH = 16 };

static Tokens counted(Fixture *f) {
    uint8_t bytes[COUNT];
    Tokens tokens;
    for (int i = 0; i < COUNT; i++) bytes[i] = (uint8_t)(i % 251);
    write_file(in_folder(f, "counted.txt"), bytes, sizeof bytes);
    assert_null(open_tokens(f, "counted.txt", (TokenRequest){.vocabulary = 256}, &tokens));
    return tokens;
}

static void windows_are_reproducible_and_cover_their_part(void **state) {
    Fixture *f = *state;
    Tokens tokens = counted(f);
    TokenPart train, held;
    bool met[COUNT] = {false};
    assert_null(sn_tokens_split(&tokens, 0.25, LENGTH, &train, &held));
    assert_int_equal(train.end, 750);
    assert_int_equal(held.begin, 750);
    assert_int_equal(held.end, 1000);
    for (uint64_t i = 0; i < 20000; i++) {
        int64_t start = sn_tokens_random_start(&train, 9, i);
        assert_in_range(start, 0, 750 - LENGTH - 1);
        assert_int_equal(start, sn_tokens_random_start(&train, 9, i));
        met[start] = true;
    }
    for (int i = 0; i < 750 - LENGTH; i++) assert_true(met[i]);
    assert_int_not_equal(sn_tokens_random_start(&train, 9, 1), sn_tokens_random_start(&train, 10, 1));
    for (int64_t i = 0; i < 7; i++)
        assert_in_range(sn_tokens_even_start(&held, i, 7), 750 + 33 * i, 750 + 34 * i);
    int32_t inputs[2 * LENGTH];
    int64_t labels[2 * LENGTH];
    sn_tokens_window(&held, 1000 - LENGTH - 1, LENGTH, SN_I32, inputs, labels);
    for (int i = 0; i < LENGTH; i++) {
        assert_int_equal(inputs[LENGTH + i], (1000 - LENGTH - 1 + i) % 251);
        assert_int_equal(labels[LENGTH + i], (1000 - LENGTH + i) % 251);
    }
}

static void parts_that_are_too_short_are_refused(void **state) {
    Fixture *f = *state;
    Tokens tokens = counted(f);
    TokenPart train, held;
    assert_null(sn_tokens_split(&tokens, 0, COUNT - 1, &train, &held));
    assert_int_equal(sn_tokens_random_start(&train, 1, 5), 0);
    declined(sn_tokens_split(&tokens, 0, COUNT, &train, &held), SN_INVALID,
             "has 1000 ids, and a window needs 1001");
    declined(sn_tokens_split(&tokens, 0.01, LENGTH, &train, &held), SN_INVALID, "held out has 10 ids");
    declined(sn_tokens_split(&tokens, 0.99, LENGTH, &train, &held), SN_INVALID, "train on has 10 ids");
}

/* ---- what a language model is recognised by ---- */

static const char source[] = "graph \"model\" stage imported\n"
                             "symbol B\n"
                             "symbol T\n"
                             "input %0 \"mask\": i64[B, T]\n"
                             "input %1 \"kind\": i64[B, T]\n"
                             "input %2 \"ids\": i32[B, T]\n"
                             "input %3 \"place\": i64[B, T]\n"
                             "%4 = constant {tensor = f32[2, 8] recipe 1 scale 1 offset 0} : f32[2, 8]\n"
                             "%5 = constant {tensor = f32[99, 8] recipe 2 scale 1 offset 0} : f32[99, 8]\n"
                             "%6 = constant {tensor = f32[40, 8] recipe 3 scale 1 offset 0} : f32[40, 8]\n"
                             "%7 = constant {tensor = f32[30, 8] recipe 4 scale 1 offset 0} : f32[30, 8]\n"
                             "%8 = gather(%4, %1) {axis = 0} : f32[B, T, 8]\n"
                             "%9 = gather(%5, %2) {axis = 0} : f32[B, T, 8]\n"
                             "%10 = gather(%6, %3) {axis = 0} : f32[B, T, 8]\n"
                             "%11 = iota {dtype = i64, extent = T, start = 0, step = 1} : i64[T]\n"
                             "%12 = view(%11) {extent = [1, T], index = [i1]} : i64[1, T]\n"
                             "%13 = gather(%7, %12) {axis = 0} : f32[1, T, 8]\n"
                             "%14 = add(%8, %9) : f32[B, T, 8]\n"
                             "%15 = add(%14, %10) : f32[B, T, 8]\n"
                             "%16 = add(%15, %13) : f32[B, T, 8]\n"
                             "output %0 \"mask\"\n"
                             "output %16 \"scores\"\n";

static void a_language_model_is_recognised(void **state) {
    Fixture *f = *state;
    Graph *graph;
    Language language;
    assert_null(sn_graph_parse(f->arena, source, strlen(source), &graph));
    assert_null(sn_language_find(graph, NULL, &language));
    assert_int_equal(language.tokens, 2);
    assert_int_equal(language.dtype, SN_I32);
    assert_int_equal(language.vocabulary, 99);
    assert_int_equal(language.context, 30);
    assert_int_equal(language.logits, 1);
    assert_int_equal(language.classes, 8);
    assert_int_equal(language.length, 0);
    declined(sn_language_find(graph, "mask", &language), SN_INVALID, "'mask' is not of floats");
    declined(sn_language_find(graph, "none", &language), SN_INVALID, "no output 'none'");

    ShapeSpec shape = {"ids", 2, {2, 5}};
    InputRequest request = {.shape_count = 1, .shape = &shape};
    Inputs inputs;
    assert_null(sn_inputs_make(f->arena, graph, &request, &inputs));
    sn_language_fill(&language, &request, &inputs, 7);
    const int64_t *mask = inputs.tensor[0].data, *kind = inputs.tensor[1].data,
                  *place = inputs.tensor[3].data;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mask[i], 1);
        assert_int_equal(kind[i], 0);
        assert_int_equal(place[i], 7 + i % 5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_kind_is_read),
        TEST(mistakes_have_a_message),
        TEST(windows_are_reproducible_and_cover_their_part),
        TEST(parts_that_are_too_short_are_refused),
        TEST(a_language_model_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

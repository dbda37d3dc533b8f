/* Inputs that nobody gave: shapes, and values that suit what the model does with them. */
#include "inputs.h"
#include "load.h"
#include "text_form.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* ids index a table of 7 rows behind a view and a cast; mask is multiplied. */
static const char source[] = "graph \"inputs\" stage imported\n"
                             "symbol B\n"
                             "symbol T at_most 12\n"
                             "input %0 \"ids\": i32[B, T]\n"
                             "input %1 \"mask\": i64[B, T]\n"
                             "input %2 \"x\": f32[T, 3]\n"
                             "input %3 \"keep\": bool[T]\n"
                             "%4 \"table\" = constant {tensor = f32[7] recipe 1 scale 1 offset 0} : f32[7]\n"
                             "%5 = view(%0) {extent = [T, B], index = [i1, i0]} : i32[T, B]\n"
                             "%6 = cast(%5) {to = i64} : i64[T, B]\n"
                             "%7 = gather(%4, %6) {axis = 0} : f32[T, B]\n"
                             "%8 = mul(%1, %1) : i64[B, T]\n"
                             "output %7 \"y\"\n"
                             "output %8 \"z\"\n"
                             "output %2 \"x\"\n"
                             "output %3 \"keep\"\n";

/* A mask over a cache and what is new; the width is told by a check, and what the window needs at least by another one. */
static const char decoder[] = "graph \"decoder\" stage imported\n"
                              "symbol B\n"
                              "symbol T\n"
                              "symbol S\n"
                              "symbol P\n"
                              "symbol D\n"
                              "symbol W\n"
                              "check equal D, 8\n"
                              "check at_most T, P + S\n"
                              "check at_most 5, W\n"
                              "check at_most S, 12\n"
                              "input %0 \"mask\": i64[B, T]\n"
                              "input %1 \"ids\": i64[B, S]\n"
                              "input %2 \"past\": f32[B, P, D]\n"
                              "input %3 \"window\": f32[W]\n"
                              "output %0 \"mask\"\n"
                              "output %1 \"ids\"\n"
                              "output %2 \"present\"\n"
                              "output %3 \"later\"\n";

static Arena *arena;
static Graph *graph;

static int setup(void **state) {
    (void)state;
    arena = sn_arena_new();
    Status status = sn_graph_parse(arena, source, strlen(source), &graph);
    if (status) print_error("%s\n", sn_error_message(status));
    return status ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    sn_arena_free(arena);
    return 0;
}

static Inputs make(const char *shape) {
    ShapeSpec spec;
    if (shape) assert_null(sn_shape_spec_parse(arena, shape, &spec));
    InputRequest request = {.shape_count = shape ? 1 : 0, .shape = &spec};
    Inputs inputs;
    assert_null(sn_inputs_make(arena, graph, &request, &inputs));
    return inputs;
}

static void test_open_sizes_are_chosen_within_bounds(void **state) {
    (void)state;
    Inputs inputs = make(NULL);
    assert_string_equal(inputs.chosen, "B = 1, T = 12");
    assert_int_equal(inputs.tensor[0].extent[0], 1);
    assert_int_equal(inputs.tensor[2].extent[0], 12);
    assert_int_equal(inputs.tensor[2].extent[1], 3);
}

static void test_a_shape_binds_the_symbols_of_all_inputs(void **state) {
    (void)state;
    Inputs inputs = make("ids=2x5");
    assert_string_equal(inputs.chosen, "");
    assert_int_equal(inputs.tensor[1].extent[0], 2);
    assert_int_equal(inputs.tensor[3].extent[0], 5);
    assert_string_equal(make("T=4").chosen, "B = 1");
}

static void test_values_suit_their_use(void **state) {
    (void)state;
    Inputs inputs = make("ids=40x12");
    const int32_t *ids = inputs.tensor[0].data;
    int seen[7] = {0};
    for (int i = 0; i < 40 * 12; i++) {
        assert_in_range(ids[i], 0, 6);
        seen[ids[i]] = 1;
    }
    for (int i = 0; i < 7; i++) assert_int_equal(seen[i], 1);
    const int64_t *mask = inputs.tensor[1].data;
    for (int i = 0; i < 40 * 12; i++) assert_int_equal(mask[i], 1);
    const unsigned char *keep = inputs.tensor[3].data;
    for (int i = 0; i < 12; i++) assert_int_equal(keep[i], 1);
    const float *x = inputs.tensor[2].data;
    assert_true(isfinite(x[0]) && x[0] != x[1]);
}

static void test_seeds_repeat_and_differ(void **state) {
    (void)state;
    InputSpec spec;
    Inputs inputs[3];
    static const char *const words[] = {"x=random:5", "x=random:5", "x=random:6"};
    for (int i = 0; i < 3; i++) {
        assert_null(sn_input_spec_parse(arena, words[i], &spec));
        InputRequest request = {.input_count = 1, .input = &spec};
        assert_null(sn_inputs_make(arena, graph, &request, &inputs[i]));
    }
    assert_memory_equal(inputs[0].tensor[2].data, inputs[1].tensor[2].data, 12 * 3 * 4);
    assert_memory_not_equal(inputs[0].tensor[2].data, inputs[2].tensor[2].data, 12 * 3 * 4);
}

static void expect_refusal(const char *shape, const char *part) {
    ShapeSpec spec;
    Inputs inputs;
    Status status = sn_shape_spec_parse(arena, shape, &spec);
    InputRequest request = {.shape_count = 1, .shape = &spec};
    if (!status) status = sn_inputs_make(arena, graph, &request, &inputs);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    if (!strstr(sn_error_message(status), part)) fail_msg("'%s' lacks '%s'", sn_error_message(status), part);
    sn_error_free(status);
}

static void test_contradictions_are_refused(void **state) {
    (void)state;
    expect_refusal("ids=2", "rank 2");
    expect_refusal("x=4x2", "fixes it to 3");
    expect_refusal("nobody=4", "\"ids\", \"mask\"");
    expect_refusal("=4", "NAME=4x256");
    expect_refusal("ids=4x", "NAME=4x256");
    expect_refusal("ids=-4x2", "NAME=4x256");
    expect_refusal("ids=4x99999999999999999999", "NAME=4x256");
    expect_refusal("ids=1x1x1x1x1x1x1x1x1x1x1x1x1", "too many");
    expect_refusal("ids=4000000000x4000000000", "cannot have");
}

static const sn_State caches[] = {{2, 2}, {3, 3}};

static void test_sizes_are_what_checks_ask_for(void **state) {
    (void)state;
    Graph *checked;
    Inputs inputs;
    InputRequest request = {.state_count = 2, .state = caches};
    assert_null(sn_graph_parse(arena, decoder, strlen(decoder), &checked));
    assert_null(sn_inputs_make(arena, checked, &request, &inputs));
    assert_string_equal(inputs.chosen, "B = 1, S = 12, P = 0, W = 5");
    assert_int_equal(inputs.tensor[0].extent[1], 12);
    assert_int_equal(inputs.tensor[2].extent[2], 8);
}

/* The mask of `first` columns over a cache of `past` rows with 3 more; what it has in the next run, where there are `now`. */
static int64_t next_mask(const char *first, int64_t past, int64_t now) {
    Graph *checked;
    Inputs before, after;
    ShapeSpec shape[3];
    InputRequest request = {.shape_count = 3, .shape = shape, .state_count = 2, .state = caches};
    assert_null(sn_graph_parse(arena, decoder, strlen(decoder), &checked));
    assert_null(sn_shape_spec_parse(arena, "ids=1x3", &shape[0]));
    assert_null(sn_shape_spec_parse(arena, first, &shape[1]));
    shape[2] = (ShapeSpec){.name = "P", .rank = 1, .extent = {past}};
    assert_null(sn_inputs_make(arena, checked, &request, &before));
    const int64_t cache[] = {1, now, 8}, window[] = {5}, *const extent[] = {cache, window};
    assert_null(sn_inputs_follow(arena, checked, &request, &before, extent, &after));
    assert_ptr_equal(after.tensor[1].data, before.tensor[1].data);
    assert_int_equal(after.tensor[0].extent[0], 1);
    return after.tensor[0].extent[1];
}

static void test_a_mask_goes_on_with_its_cache(void **state) {
    (void)state;
    assert_int_equal(next_mask("T=3", 0, 3), 6);
    assert_int_equal(next_mask("T=10", 7, 10), 13);
    assert_int_equal(next_mask("T=4", 64, 64), 7); /* room to spare */
}

static void write_ids(const char *path, int64_t count, int64_t first) {
    void *data;
    Tensor *ids = sn_tensor_new(arena, SN_I64, 2, (int64_t[]){1, count}, &data);
    for (int64_t i = 0; i < count; i++) ((int64_t *)data)[i] = first + i;
    assert_null(sn_save_tensor(path, ids, "ids"));
}

static Status follow(const Graph *checked, const char *mask, const char *ids, const Inputs *before,
                     Inputs *after) {
    InputSpec spec[] = {{.name = "mask", .file = mask}, {.name = "ids", .file = ids}};
    InputRequest request = {.input_count = 2, .input = spec, .state_count = 2, .state = caches};
    if (!before) return sn_inputs_make(arena, checked, &request, after);
    const int64_t cache[] = {1, 3, 8}, window[] = {5}, *const extent[] = {cache, window};
    return sn_inputs_follow(arena, checked, &request, before, extent, after);
}

/* What is read again for each of many runs is kept for all of them. */
static void test_a_file_is_read_once(void **state) {
    (void)state;
    static const char *const path[] = {"test_inputs_ids.npy", "test_inputs_more.npy", "test_inputs_mask.npy"};
    Graph *checked;
    Inputs inputs[4];
    assert_null(sn_graph_parse(arena, decoder, strlen(decoder), &checked));
    for (int k = 0; k < 3; k++) write_ids(path[k], 3, 10 * k);
    assert_null(follow(checked, path[2], path[0], NULL, &inputs[0]));
    unlink(path[0]);
    unlink(path[2]);
    assert_null(follow(checked, path[2], path[0], &inputs[0], &inputs[1]));
    assert_ptr_equal(inputs[1].tensor[0].data, inputs[0].tensor[0].data);
    assert_ptr_equal(inputs[1].tensor[1].data, inputs[0].tensor[1].data);
    assert_null(follow(checked, path[2], path[1], &inputs[1], &inputs[2]));
    assert_int_equal(((const int64_t *)inputs[2].tensor[1].data)[2], 12);
    /* The one before is another file again. */
    write_ids(path[0], 3, 40);
    assert_null(follow(checked, path[2], path[0], &inputs[2], &inputs[3]));
    assert_int_equal(((const int64_t *)inputs[3].tensor[1].data)[0], 40);
    for (int k = 0; k < 3; k++) unlink(path[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_sizes_are_chosen_within_bounds),
        cmocka_unit_test(test_a_shape_binds_the_symbols_of_all_inputs),
        cmocka_unit_test(test_values_suit_their_use),
        cmocka_unit_test(test_seeds_repeat_and_differ),
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_sizes_are_what_checks_ask_for),
        cmocka_unit_test(test_a_mask_goes_on_with_its_cache),
        cmocka_unit_test(test_a_file_is_read_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* The interpreter: sources, movements and scatters. */
#include "eval_fixture.h"
#include "recurrent.h"

static void sources(void **state) {
    Arena *arena = *state;
    void *bytes;
    Tensor *tensor = sn_tensor_new(arena, SN_F32, 1, (int64_t[]){2}, &bytes);
    sn_element_set(SN_F32, bytes, 0, 1.5);
    sn_element_set(SN_F32, bytes, 1, -2);
    expect(arena, SN_OP_CONSTANT, &(AttrConstant){tensor}, ARRAY(SN_F32, "2", 1.5, -2), NULL, NULL, NULL);

    Call call = call_of(arena, 0, NULL);
    Dims *dims = call.graph->dims;
    Array *got;
    AttrIota iota = {SN_I32, sn_dim(dims, 4), sn_dim(dims, 5), sn_dim(dims, -2)};
    assert_ok(finish(&call, sn_build(&call.builder, SN_OP_IOTA, &iota, 0, NULL), false, &got));
    assert_same(got, ARRAY(SN_I32, "4", 5, 3, 1, -1), "iota");
    evaluated[SN_OP_IOTA] = true;
}

/* dims of the symbols that the input binds: [B, 2·T + 1] given x: [B, T]. */
static void dims_follow_the_inputs(void **state) {
    Arena *arena = *state;
    Graph *graph = sn_graph_new(arena, "dims");
    Dim shape[2] = {sn_dim_symbol(graph->dims, "B"), sn_dim_symbol(graph->dims, "T")};
    sn_graph_input(graph, "x", (Type){SN_F64, 2, shape});
    Builder builder = {.graph = graph, .region = graph->body};
    Dim value[2] = {shape[0], sn_dim_addc(graph->dims, sn_dim_mulc(graph->dims, shape[1], 2), 1)};
    sn_graph_output(graph, "y", sn_build_dims(&builder, 2, value, false));
    assert_ok(builder.status);
    const Array *x = F("2 3", 0, 0, 0, 0, 0, 0);
    Array *got;
    assert_ok(sn_eval_graph(arena, graph, false, &x, &got));
    assert_same(got, I("2", 2, 7), "dims");
    evaluated[SN_OP_DIMS] = true;
}

static void views(void **state) {
    Arena *arena = *state;
    const Array *x = F("2 3", 1, 2, 3, 4, 5, 6);
    Array *got;
    Call call = call_of(arena, 1, &x);
    assert_ok(finish(&call, sn_build_transpose(&call.builder, call.value[0], (int[]){1, 0}), false, &got));
    assert_same(got, F("3 2", 1, 4, 2, 5, 3, 6), "transpose");

    call = call_of(arena, 1, &x);
    Dim flat[2] = {sn_dim(call.graph->dims, 3), sn_dim(call.graph->dims, 2)};
    assert_ok(finish(&call, sn_build_reshape(&call.builder, call.value[0], 2, flat), false, &got));
    assert_same(got, F("3 2", 1, 2, 3, 4, 5, 6), "reshape");

    call = call_of(arena, 1, &x);
    Dims *dims = call.graph->dims;
    Value *slice = sn_build_slice(&call.builder, call.value[0], 1, sn_dim(dims, 2), sn_dim(dims, 2), -2);
    assert_ok(finish(&call, slice, false, &got));
    assert_same(got, F("2 2", 3, 1, 6, 4), "slice");

    const Array *row = F("3", 1, 2, 3);
    call = call_of(arena, 1, &row);
    Dim wide[2] = {sn_dim(call.graph->dims, 2), sn_dim(call.graph->dims, 3)};
    assert_ok(finish(&call, sn_build_expand(&call.builder, call.value[0], 2, wide), false, &got));
    assert_same(got, F("2 3", 1, 2, 3, 1, 2, 3), "expand");

    /* Tiling, which is no affine map: index = i0 mod 3. */
    call = call_of(arena, 1, &row);
    dims = call.graph->dims;
    Dim extent = sn_dim(dims, 5), index = sn_dim_mod(dims, sn_dim_axis(dims, 0, extent), sn_dim(dims, 3));
    AttrView tile = {1, &extent, 1, &index};
    assert_ok(finish(&call, sn_build1(&call.builder, SN_OP_VIEW, &tile, call.value[0]), false, &got));
    assert_same(got, F("5", 1, 2, 3, 1, 2), "tile");
    evaluated[SN_OP_VIEW] = true;
}

static void concatenations(void **state) {
    Arena *arena = *state;
    expect(arena, SN_OP_CONCAT, &(AttrAxis){1}, F("2 3", 1, 2, 5, 3, 4, 6), F("2 2", 1, 2, 3, 4),
           F("2 1", 5, 6), F("2 0", 0));
}

static void appends(void **state) {
    Arena *arena = *state;
    Dims *dims = sn_dims_new(arena);
    expect(arena, SN_OP_APPEND, &(AttrAppend){1, sn_dim(dims, 1)}, F("2 4", 1, 10, 11, 4, 5, 12, 13, 8),
           F("2 4", 1, 2, 3, 4, 5, 6, 7, 8), F("2 2", 10, 11, 12, 13), NULL);
    expect(arena, SN_OP_APPEND, &(AttrAppend){0, sn_dim(dims, 2)}, F("2", 1, 2), F("2", 1, 2), F("0", 0),
           NULL);
}

static void gathers(void **state) {
    Arena *arena = *state;
    const Array *data = F("3 2", 1, 2, 3, 4, 5, 6);
    expect(arena, SN_OP_GATHER, &(AttrAxis){0}, F("1 2 2", 5, 6, 1, 2), data, I("1 2", -1, 0), NULL);
    expect(arena, SN_OP_GATHER, &(AttrAxis){1}, F("3", 2, 4, 6), data, I("", 1), NULL);
    expect_fault(arena, SN_OP_GATHER, &(AttrAxis){0}, data, I("1", 3));
    expect_fault(arena, SN_OP_GATHER, &(AttrAxis){0}, data, I("1", -4));

    expect(arena, SN_OP_GATHER_ND, &(AttrGatherNd){0}, F("2", 6, 1), data, I("2 2", 2, -1, 0, 0), NULL);
    expect(arena, SN_OP_GATHER_ND, &(AttrGatherNd){0}, F("1 2", 3, 4), data, I("1 1", 1), NULL);
    expect(arena, SN_OP_GATHER_ND, &(AttrGatherNd){1}, F("3", 2, 3, 6), data, I("3 1", 1, 0, 1), NULL);
    expect_fault(arena, SN_OP_GATHER_ND, &(AttrGatherNd){0}, data, I("1 2", 0, 2));

    expect(arena, SN_OP_GATHER_ELEMENTS, &(AttrAxis){0}, F("2 2", 1, 6, 3, 2), data, I("2 2", 0, -1, 1, 0),
           NULL);
    expect_fault(arena, SN_OP_GATHER_ELEMENTS, &(AttrAxis){1}, data, I("1 1", 2));
}

static void scatters(void **state) {
    Arena *arena = *state;
    AttrScatter attr = {sn_dim(sn_dims_new(arena), 3)};
    const Array *rows = F("4 2", 1, 2, 3, 4, 5, 6, 7, 8);
    expect(arena, SN_OP_SCATTER_ADD, &attr, F("3 2", 3, 4, 0, 0, 13, 16), I("4", 2, 0, -1, 2), rows, NULL);
    expect_fault(arena, SN_OP_SCATTER_ADD, &attr, I("4", 2, 0, 3, 2), rows);
    expect_fault(arena, SN_OP_SCATTER_ADD, &attr, I("4", 2, 0, -4, 2), rows);
}

static void places(void **state) {
    Arena *arena = *state;
    AttrScatter three = {sn_dim(sn_dims_new(arena), 3)}, none = {sn_dim(sn_dims_new(arena), 0)};
    expect(arena, SN_OP_PLACES, &three, I("3", 1, 2, 4), I("6", 0, 1, 2, 2, 3, 3), NULL, NULL);
    expect(arena, SN_OP_PLACES, &none, I("0", 0), I("2", 0, 0), NULL, NULL);
    expect_fault(arena, SN_OP_PLACES, &three, I("3", 0, 1, 2), NULL);
}

static void orders(void **state) {
    Arena *arena = *state;
    Dims *dims = sn_dims_new(arena);
    AttrTop up = {sn_dim(dims, 4), false}, down = {sn_dim(dims, 2), true}, none = {sn_dim(dims, 0), true};
    const Array *x = F("2 4", 3, NAN, -1, 3, 0, 0, -INFINITY, 0);
    expect(arena, SN_OP_TOP, &up, I("2 4", 2, 0, 3, 1, 2, 0, 1, 3), x, NULL, NULL);
    expect(arena, SN_OP_TOP, &down, I("2 2", 1, 0, 0, 1), x, NULL, NULL);
    expect(arena, SN_OP_TOP, &none, I("2 0", 0), x, NULL, NULL);
    expect(arena, SN_OP_TOP, &down, I("1 2", 2, 1), I("1 3", -5, 7, 9), NULL, NULL);
    expect(arena, SN_OP_TOP, &down, I("1 2", 0, 2), ARRAY(SN_U64, "1 3", -5, 7, 9), NULL, NULL);
}

/* 0 hits 1 and 3; 1, which does not stay, hits 2. */
static void sifts(void **state) {
    Arena *arena = *state;
    const Array *hits = B("4 4", 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0);
    expect(arena, SN_OP_SIFT, NULL, B("4", 1, 0, 1, 0), hits, I("4", 4, 9, 3, 4), NULL);
    expect(arena, SN_OP_SIFT, NULL, B("4", 1, 0, 1, 1), hits, I("4", 3, 4, 3, 0), NULL);
}

static void expect_recurrence(Arena *arena, AttrRecurrent attr, const Array *want, int count,
                              const Array *const *input) {
    Call call = call_of(arena, count, input);
    Array *got;
    assert_ok(finish(&call, sn_build(&call.builder, SN_OP_RECURRENT, &attr, count, call.value), false, &got));
    assert_same(got, want, "recurrent");
    evaluated[SN_OP_RECURRENT] = true;
}

/* Two sequences, of which the second one ends after its first step, forwards and backwards; by hand. */
static void recurrences(void **state) {
    Arena *arena = *state;
    const Array *input[6] = {
        F("2 2 1", 1, 2, 3, 4), F("1 1", 2), F("2 1", 0.5, -1), F("1", 10), NULL, I("2", 2, 1)};
    AttrRecurrent attr = {.kind = SN_RECURRENT_SIMPLE, .candidate = SN_RECURRENT_RELU};
    expect_recurrence(arena, attr, F("3 2 1", 0.5, -1, 12, 10, 37, 10), 6, input);
    attr.reverse = true;
    expect_recurrence(arena, attr, F("3 2 1", 39, 10, 14, -1, 0.5, -1), 6, input);
    /* With relu for all: z = 1, r = 2, and then c = 3 + r·(h·4 + 1) or 3 + (r·h)·4 + 1. */
    const Array *gated[4] = {F("1 1 3", 1, 2, 3), F("1 3", 0, 0, 4), F("1 1", 5), F("3", -0.5, 0, 1)};
    attr = (AttrRecurrent){SN_RECURRENT_GATED, SN_RECURRENT_RELU, SN_RECURRENT_RELU, 0, false, true};
    expect_recurrence(arena, attr, F("2 1 1", 5, 25), 4, gated);
    attr.late_reset = false;
    expect_recurrence(arena, attr, F("2 1 1", 5, 24.5), 4, gated);
    /* i = 1 + 2·3, f = 2 + 4·3, s' = 14·3 + 7·5, o = 3 + 3·77. */
    const Array *cell[5] = {F("1 1 4", 1, 3, 2, 5), F("1 4", 0, 0, 0, 0), F("1 2", 9, 3), NULL,
                            F("3", 2, 3, 4)};
    attr = (AttrRecurrent){
        SN_RECURRENT_LONG_SHORT, SN_RECURRENT_RELU, SN_RECURRENT_RELU, SN_RECURRENT_RELU, false, false};
    expect_recurrence(arena, attr, F("2 1 2", 9, 3, 18018, 77), 5, cell);
}

static void pads(void **state) {
    Arena *arena = *state;
    const Array *x = I("2 2", 1, 2, 3, 4);
    Call call = call_of(arena, 1, &x);
    Dims *dims = call.graph->dims;
    Dim before[2] = {sn_dim(dims, 1), sn_dim(dims, 0)}, after[2] = {sn_dim(dims, 0), sn_dim(dims, 2)};
    AttrPad attr = {2, before, after, -5};
    Array *got;
    assert_ok(finish(&call, sn_build1(&call.builder, SN_OP_PAD, &attr, call.value[0]), false, &got));
    assert_same(got, I("3 4", -5, -5, -5, -5, 1, 2, -5, -5, 3, 4, -5, -5), "pad");
    evaluated[SN_OP_PAD] = true;
}

static void triangles(void **state) {
    Arena *arena = *state;
    const Array *x = F("2 3", 1, 2, 3, 4, 5, 6);
    struct {
        bool upper;
        int64_t k;
        const Array *want;
    } row[] = {
        {false, 0, F("2 3", 1, 0, 0, 4, 5, 0)},  {false, 1, F("2 3", 1, 2, 0, 4, 5, 6)},
        {true, 0, F("2 3", 1, 2, 3, 0, 5, 6)},   {true, 1, F("2 3", 0, 2, 3, 0, 0, 6)},
        {false, -1, F("2 3", 0, 0, 0, 4, 0, 0)}, {true, INT64_MAX, F("2 3", 0, 0, 0, 0, 0, 0)},
    };
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        Call call = call_of(arena, 1, &x);
        AttrTrilu attr = {row[r].upper, sn_dim(call.graph->dims, row[r].k)};
        Array *got;
        assert_ok(finish(&call, sn_build1(&call.builder, SN_OP_TRILU, &attr, call.value[0]), false, &got));
        assert_same(got, row[r].want, "trilu");
    }
    evaluated[SN_OP_TRILU] = true;
}

int test_move(void) {
    const struct CMUnitTest tests[] = {
        TEST(sources),     TEST(dims_follow_the_inputs),
        TEST(views),       TEST(concatenations),
        TEST(appends),     TEST(gathers),
        TEST(scatters),    TEST(places),
        TEST(orders),      TEST(sifts),
        TEST(pads),        TEST(triangles),
        TEST(recurrences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

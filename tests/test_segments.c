/* Sizes that data decide: a graph with two of them, one behind the other, in both modes, against the interpreter. */
#include "compile.h"
#include "eval.h"
#include "execute_fixture.h"

#include <math.h>

/* What of x is above 0, and what of that is above 1; as many as w has. */
static const char picked_twice[] = "graph \"picked twice\" stage imported\n"
                                   "symbol T\n"
                                   "symbol W\n"
                                   "symbol found\n"
                                   "symbol more\n"
                                   "check at_most found, T\n"
                                   "check at_most more, found\n"
                                   "check equal more, W @ \"pick\" Add 17 #0\n"
                                   "input %0 \"x\": f32[T]\n"
                                   "input %1 \"w\": f32[W]\n"
                                   "%2 = constant {tensor = f32[] (0)} : f32[]\n"
                                   "%3 = less(%2, %0) : bool[T]\n"
                                   "%4 = cast(%3) {to = i64} : i64[T]\n"
                                   "%5 = reduce_sum(%4) {axes = [0]} : i64[1]\n"
                                   "%6 = view(%5) {extent = [], index = [0]} : i64[]\n"
                                   "%7 = cumsum(%4) {axis = 0} : i64[T]\n"
                                   "%8 = places(%7) {rows = found} : i64[found]\n"
                                   "%9 = gather(%0, %8) {axis = 0} : f32[found]\n"
                                   "%10 = constant {tensor = f32[] (1)} : f32[]\n"
                                   "%11 = less(%10, %9) : bool[found]\n"
                                   "%12 = cast(%11) {to = i64} : i64[found]\n"
                                   "%13 = reduce_sum(%12) {axes = [0]} : i64[1]\n"
                                   "%14 = view(%13) {extent = [], index = [0]} : i64[]\n"
                                   "%15 = cumsum(%12) {axis = 0} : i64[found]\n"
                                   "%16 = places(%15) {rows = more} : i64[more]\n"
                                   "%17 = gather(%9, %16) {axis = 0} : f32[more]\n"
                                   "%18 = exp(%0) : f32[T]\n"
                                   "output %8 \"where\"\n"
                                   "output %17 \"picked\"\n"
                                   "output %18 \"beside\"\n"
                                   "output %6 \"\"\n"
                                   "output %14 \"\"\n"
                                   "size found output 3 most T @ \"pick\" Add 17 #0\n"
                                   "size more output 4 most found\n";

enum { LONGEST = 40000, CASES = 14 };

static Status start(const char *cache, const char *text, const PipelineOptions *options, int threads,
                    sn_Program **program) {
    Arena *arena = sn_arena_new();
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    TRY(sn_program_open(arena, NULL, threads, cache, program));
    TRY(sn_graph_parse(arena, text, strlen(text), &graph));
    TRY(sn_verify(graph));
    TRY(sn_compile_plan(arena, graph, &(*program)->device->target, options, NULL, &ledger, &plan));
    return sn_program_load(*program, plan);
}

/* Of case k: how many elements, and how many of 8 are above 0. */
static int64_t fill(int k, float *x) {
    static const int64_t lengths[] = {LONGEST, 1, 0, 33, 5000, 7, 16385};
    int64_t length = lengths[k % 7];
    uint32_t random = 77u + (uint32_t)k;
    for (int64_t i = 0; i < length; i++) {
        random = random * 1664525u + 1013904223u;
        x[i] = (float)(random >> 24) / 64 - (float)(k % 5);
    }
    return length;
}

static void set_and_run(sn_Context *context, float *x, int64_t length, int64_t wanted, Status *status) {
    assert_ok(set_f32(context, 0, 1, &length, x));
    assert_ok(set_f32(context, 1, 1, &wanted, x));
    *status = sn_context_run(context);
}

static void expect_output(sn_Context *context, int index, const Array *want) {
    sn_Tensor got;
    assert_ok(sn_context_output(context, index, &got));
    assert_int_equal(got.extent[0], want->extent[0]);
    for (int64_t i = 0; i < want->count; i++) {
        if (want->i)
            assert_int_equal(((const int64_t *)got.data)[i], want->i[i]);
        else
            assert_true(fabs((double)((const float *)got.data)[i] - want->f[i]) <= 1e-5 * fabs(want->f[i]));
    }
}

/* One context meets every case, so sizes grow and shrink; where w is of another length the run fails, and the next one does not. */
static void run_cases(const char *cache, const PipelineOptions *options, int threads) {
    sn_Program *program;
    static float x[LONGEST];
    assert_ok(start(cache, picked_twice, options, threads, &program));
    assert_int_equal(program->plan->segment_count, 3);
    assert_int_equal(sn_program_output_count(program), 3);
    sn_Context *context = make_context(program, 0);
    for (int k = 0; k < CASES; k++) {
        Arena *arena = sn_arena_new();
        Graph *graph;
        assert_ok(sn_graph_parse(arena, picked_twice, strlen(picked_twice), &graph));
        int64_t length = fill(k, x), wanted = 0;
        for (int64_t i = 0; i < length; i++) wanted += x[i] > 1;
        Array *given = sn_array_new(arena, SN_F32, 1, &length),
              *other = sn_array_new(arena, SN_F32, 1, &wanted);
        for (int64_t i = 0; i < length; i++) given->f[i] = (double)x[i];
        Array *expected[5];
        assert_ok(sn_eval_graph(arena, graph, false, (const Array *const[]){given, other}, expected));
        Status status;
        set_and_run(context, x, length, wanted + 1, &status);
        assert_fails(status, SN_INVALID, "node \"pick\" (Add, opset 17)");
        set_and_run(context, x, length, wanted, &status);
        assert_ok(status);
        for (int i = 0; i < 3; i++) expect_output(context, i, expected[i]);
        sn_arena_free(arena);
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void both_modes_agree_with_the_interpreter(void **state) {
    for (int eager = 0; eager < 2; eager++)
        for (int threads = 1; threads < 3; threads++)
            run_cases(*state, &(PipelineOptions){.eager = eager, .verify = true}, threads);
}

/* What has been read of one run is nothing to another: a context that fails in between keeps its limit, too. */
static void the_limit_holds_for_all_segments(void **state) {
    sn_Program *program;
    static float x[LONGEST];
    Status status;
    assert_ok(start(*state, picked_twice, &(PipelineOptions){0}, 1, &program));
    sn_Context *context = make_context(program, 600000);
    for (int64_t i = 0; i < LONGEST; i++) x[i] = 2;
    for (int k = 0; k < 2; k++) {
        set_and_run(context, x, LONGEST, LONGEST, &status);
        assert_fails(status, SN_NO_MEMORY, "limit");
        set_and_run(context, x, 100, 100, &status);
        assert_ok(status);
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void a_size_is_made_before_it_is_needed(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Graph *graph;
    assert_ok(sn_graph_parse(arena, picked_twice, strlen(picked_twice), &graph));
    graph->sizes.at[0].result = 4;
    graph->sizes.at[1].result = 3;
    assert_fails(sn_verify(graph), SN_INTERNAL, "size");
    sn_arena_free(arena);
}

static void negative_sizes_are_refused_by_name(void **state) {
    static const char given[] = "graph \"given\" stage imported\n"
                                "symbol N\n"
                                "input %0 \"n\": i64[]\n"
                                "%1 = iota {dtype = f32, extent = N, start = 0, step = 1} : f32[N]\n"
                                "output %1 \"y\"\n"
                                "output %0 \"\"\n"
                                "size N output 1 @ \"range\" Range 17 #0\n";
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program;
        assert_ok(start(*state, given, &(PipelineOptions){.eager = eager, .verify = true}, 1, &program));
        sn_Context *context = make_context(program, 0);
        sn_Tensor got;
        int64_t n = -3;
        assert_ok(set_i64(context, 0, 0, NULL, &n));
        assert_fails(sn_context_run(context), SN_INVALID, "node \"range\" (Range, opset 17): a size of -3");
        n = 5;
        assert_ok(sn_context_run(context));
        assert_ok(sn_context_output(context, 0, &got));
        assert_true(got.extent[0] == 5 && ((const float *)got.data)[4] == 4);
        sn_context_free(context);
        sn_program_free(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_modes_agree_with_the_interpreter),
                                       cmocka_unit_test(the_limit_holds_for_all_segments),
                                       cmocka_unit_test(a_size_is_made_before_it_is_needed),
                                       cmocka_unit_test(negative_sizes_are_refused_by_name)};
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

/* States: outputs that the next run takes as inputs, handed over without a copy, in both modes. */
#include "execute_fixture.h"
#include "number.h"
#include "states.h"

/* A cache that grows by `fresh`, beside a counter that does not; `seen` shows the cache as it was. */
static const char growing[] = "graph \"growing\" stage fused\n"
                              "symbol P\n"
                              "symbol T\n"
                              "input %0 \"past\": f32[2, P, 3]\n"
                              "input %1 \"fresh\": f32[2, T, 3]\n"
                              "input %2 \"count\": f32[3]\n"
                              "input %20 \"copy\": f32[3]\n"
                              "%3 = cluster(%0, %1) {kind = map} {\n"
                              "  param %4: f32[2, P, 3]\n"
                              "  param %5: f32[2, T, 3]\n"
                              "  %6 = concat(%4, %5) {axis = 1} : f32[2, P + T, 3]\n"
                              "  return %6\n"
                              "} : f32[2, P + T, 3] ; group 1\n"
                              "%30 = constant {tensor = f32[3] (1, 2, 3)} : f32[3]\n"
                              "%7 = cluster(%2, %30) {kind = map} {\n"
                              "  param %8: f32[3]\n"
                              "  param %9: f32[3]\n"
                              "  %10 = add(%8, %9) : f32[3]\n"
                              "  return %10\n"
                              "} : f32[3] ; group 2\n"
                              "%11 = cluster(%0) {kind = map} {\n"
                              "  param %12: f32[2, P, 3]\n"
                              "  %13 = neg(%12) : f32[2, P, 3]\n"
                              "  return %13\n"
                              "} : f32[2, P, 3] ; group 3\n"
                              "output %3 \"present\"\n"
                              "output %7 \"counted\"\n"
                              "output %7 \"again\"\n"
                              "output %11 \"seen\"\n"
                              "output %2 \"as it was\"\n";

/* The same as an imported model: what grows does so in place. The cache is read before and behind what is appended, and
 * what is appended is computed. */
static const char model[] = "graph \"model\" stage imported\n"
                            "symbol P\n"
                            "symbol T\n"
                            "input %0 \"past\": f32[2, P, 3]\n"
                            "input %1 \"fresh\": f32[2, T, 3]\n"
                            "input %2 \"count\": f32[3]\n"
                            "input %3 \"copy\": f32[3]\n"
                            "%4 = neg(%1) : f32[2, T, 3]\n"
                            "%5 = neg(%4) : f32[2, T, 3]\n"
                            "%6 = concat(%0, %5) {axis = 1} : f32[2, P + T, 3]\n"
                            "%7 = constant {tensor = f32[3] (1, 2, 3)} : f32[3]\n"
                            "%8 = add(%2, %7) : f32[3]\n"
                            "%9 = neg(%0) : f32[2, P, 3]\n"
                            "%10 = reduce_max(%6) {axes = [0, 1, 2]} : f32[1, 1, 1]\n"
                            "%11 = neg(%6) : f32[2, P + T, 3]\n"
                            "output %6 \"present\"\n"
                            "output %8 \"counted\"\n"
                            "output %8 \"again\"\n"
                            "output %9 \"seen\"\n"
                            "output %2 \"as it was\"\n"
                            "output %10 \"most\"\n"
                            "output %11 \"turned\"\n";

enum { PAST, FRESH, COUNT, COPY };
enum { PRESENT, COUNTED, AGAIN, SEEN, BEFORE, MOST_OF, TURNED };

static const sn_State usual[] = {{PAST, PRESENT}, {COUNT, COUNTED}};

static Status plan_with(sn_Program *program, bool eager, int count, const sn_State *state, Plan **out) {
    TRY(sn_plan_new(program->arena, parse_fused(program->arena, growing), &program->device->target, eager,
                    sn_codegen, out));
    return sn_plan_add_states(program->arena, *out, count, state);
}

static sn_Program *program_with(bool eager, const char *cache, int count, const sn_State *state) {
    sn_Program *program;
    Plan *plan;
    assert_ok(sn_program_open(sn_arena_new(), NULL, 2, cache, &program));
    assert_ok(plan_with(program, eager, count, state, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

enum { FORMS = 4 };

/* The same states in one of four forms: two hand-made plans whose states change places, and a model from its
 * beginning, compiled and eager, whose cache grows in place. */
static sn_Program *program_of(int form, const char *cache) {
    if (form < 2) return program_with(form == 1, cache, 2, usual);
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.eager = form == 3, .verify = true, .state_count = 2, .state = usual};
    assert_ok(sn_program_open(sn_arena_new(), NULL, 2, cache, &program));
    assert_ok(sn_graph_parse(program->arena, model, strlen(model), &graph));
    assert_ok(sn_verify(graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &options, NULL, &ledger, &plan));
    assert_int_equal(plan->cache_count, 1);
    assert_string_equal(plan->graph->body->param.at[PAST]->name, "past");
    assert_ok(sn_program_load(program, plan));
    return program;
}

static const float *output(const sn_Context *context, int index, int rank, const int64_t *extent) {
    sn_Tensor got;
    assert_ok(sn_context_output(context, index, &got));
    assert_int_equal(got.rank, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(got.extent[i], extent[i]);
    return got.data;
}

/* What a row of the cache holds: a number of its own. */
static float element(int64_t batch, int64_t row, int64_t column, int start) {
    return (float)(1000 * start + 100 * batch + 10 * row + column);
}

static void fill_rows(float *data, int64_t first, int64_t rows, int start) {
    for (int64_t b = 0; b < 2; b++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < 3; c++) data[(b * rows + r) * 3 + c] = element(b, first + r, c, start);
}

static void assert_rows(const float *data, int64_t rows, int start, float sign) {
    for (int64_t b = 0; b < 2; b++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < 3; c++)
                assert_true(data[(b * rows + r) * 3 + c] == sign * element(b, r, c, start));
}

enum { MOST = 400 };

/* `steps` runs that each add `fresh` rows to `rows`, checked; what there is then. */
static int64_t step(sn_Context *context, int64_t rows, int64_t fresh, int steps, int start, int *count) {
    static float data[2 * MOST * 3];
    for (int i = 0; i < steps; i++) {
        fill_rows(data, rows, fresh, start);
        assert_ok(set_f32(context, FRESH, 3, (int64_t[]){2, fresh, 3}, data));
        assert_ok(sn_context_run(context));
        assert_rows(output(context, SEEN, 3, (int64_t[]){2, rows, 3}), rows, start, -1);
        rows += fresh;
        assert_rows(output(context, PRESENT, 3, (int64_t[]){2, rows, 3}), rows, start, 1);
        const float *counted = output(context, COUNTED, 1, (int64_t[]){3});
        ++*count;
        for (int k = 0; k < 3; k++) assert_true(counted[k] == (float)(*count * (k + 1)));
        if (context->program->plan->output_count <= TURNED) continue;
        assert_rows(output(context, TURNED, 3, (int64_t[]){2, rows, 3}), rows, start, -1);
        assert_true(*output(context, MOST_OF, 3, (int64_t[]){1, 1, 1}) == element(1, rows - 1, 2, start));
    }
    return rows;
}

static void set_rest(sn_Context *context, float *zero) {
    assert_ok(set_f32(context, COUNT, 1, (int64_t[]){3}, zero));
    assert_ok(set_f32(context, COPY, 1, (int64_t[]){3}, zero));
}

static void runs_follow_one_another(void **state) {
    static float begin[2 * 5 * 3], other[2 * 7 * 3];
    float zero[3] = {0};
    for (int form = 0; form < FORMS; form++) {
        sn_Program *program = program_of(form, *state);
        sn_Context *context = make_context(program, 0);
        int count = 0;
        set_rest(context, zero);
        fill_rows(begin, 0, 5, 1);
        assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 5, 3}, begin));
        int64_t rows = step(context, 5, 2, 10, 1, &count);
        rows = step(context, rows, 100, 1, 1, &count);
        step(context, rows, 1, 20, 1, &count);

        sn_context_reset_states(context); /* five rows again, and a count of 0 */
        count = 0;
        step(context, 5, 1, 3, 1, &count);

        fill_rows(other, 0, 7, 2);
        assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 7, 3}, other));
        step(context, 7, 3, 4, 2, &count);
        assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 0, 3}, NULL));
        step(context, 0, 1, 4, 3, &count);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void nothing_is_copied(void **state) {
    static float begin[2 * 5 * 3], fresh[2 * 3];
    float zero[3] = {0};
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_with(eager, *state, 2, usual);
        sn_Context *context = make_context(program, 0);
        set_rest(context, zero);
        assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 5, 3}, begin));
        assert_ok(set_f32(context, FRESH, 3, (int64_t[]){2, 1, 3}, fresh));
        const void *before = begin;
        for (int i = 0; i < 8; i++) {
            assert_ok(sn_context_run(context));
            assert_ptr_equal(context->address[program->plan->input[PAST]], before);
            before = output(context, PRESENT, 3, (int64_t[]){2, 6 + i, 3});
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void a_failed_run_leaves_states(void **state) {
    static float begin[2 * 5 * 3], large[2 * MOST * 3];
    float zero[3] = {0};
    for (int form = 0; form < FORMS; form++) {
        sn_Program *program = program_of(form, *state);
        sn_Context *context = make_context(program, form == 2 ? 20000 : 10000);
        int count = 0;
        set_rest(context, zero);
        fill_rows(begin, 0, 5, 1);
        assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 5, 3}, begin));
        int64_t rows = step(context, 5, 2, 3, 1, &count);
        assert_ok(set_f32(context, FRESH, 3, (int64_t[]){2, MOST, 3}, large));
        assert_fails(sn_context_run(context), SN_NO_MEMORY, "limit");
        step(context, rows, 2, 3, 1, &count);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* Runs write what is new into the block that the one before left, which moves only when it is full. */
static void a_cache_stays_where_it_is(void **state) {
    static float begin[2 * 5 * 3], fresh[2 * 3];
    float zero[3] = {0};
    sn_Program *program = program_of(2, *state);
    sn_Context *context = make_context(program, 0);
    const Plan *plan = program->plan;
    set_rest(context, zero);
    assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 5, 3}, begin));
    assert_ok(set_f32(context, FRESH, 3, (int64_t[]){2, 1, 3}, fresh));
    assert_fails(set_f32(context, 4, 3, (int64_t[]){2, 1, 3}, fresh), SN_INVALID,
                 "input 4 of a model with 4");
    const void *before = NULL;
    int moves = 0;
    for (int i = 0; i < 150; i++) {
        assert_ok(sn_context_run(context));
        const void *input = context->address[plan->input[plan->cache[0].input]];
        assert_ptr_equal(context->address[plan->output[PRESENT].value], input);
        moves += input != before;
        before = input;
    }
    assert_true(moves <= 3);
    sn_context_free(context);
    sn_program_free(program);
}

/* An output that is an input, or that another state has already. */
static void what_no_launch_makes_for_it_is_copied(void **state) {
    static const sn_State twice[] = {{COUNT, COUNTED}, {COPY, AGAIN}},
                          shift[] = {{COUNT, COUNTED}, {COPY, BEFORE}};
    static float past[2 * 3], fresh[2 * 3];
    float zero[3] = {0};
    for (int eager = 0; eager < 2; eager++) {
        for (int kind = 0; kind < 2; kind++) {
            sn_Program *program = program_with(eager, *state, 2, kind ? shift : twice);
            sn_Context *context = make_context(program, 0);
            set_rest(context, zero);
            assert_ok(set_f32(context, PAST, 3, (int64_t[]){2, 1, 3}, past));
            assert_ok(set_f32(context, FRESH, 3, (int64_t[]){2, 1, 3}, fresh));
            for (int i = 1; i < 6; i++) {
                assert_ok(sn_context_run(context));
                const StateSlot *slot = context->input[COPY].state;
                const float *copy = slot->current.at;
                assert_true(copy[2] == (float)(kind ? i - 1 : i) * 3);
                assert_true(output(context, COUNTED, 1, (int64_t[]){3})[1] == (float)i * 2);
                assert_ptr_not_equal(slot->current.at, context->input[COUNT].state->current.at);
            }
            sn_context_free(context);
            sn_program_free(program);
        }
    }
}

static void pairs_that_do_not_fit_are_refused(void **state) {
    static const struct {
        sn_State pair[2];
        const char *why;
    } cases[] = {
        {{{9, 0}}, "input 9"},
        {{{0, -1}}, "output -1"},
        {{{PAST, COUNTED}}, "rank"},
        {{{PAST, PRESENT}, {PAST, SEEN}}, "\"past\" belongs to two"},
        {{{PAST, PRESENT}, {FRESH, PRESENT}}, "\"present\" belongs to two"},
    };
    sn_Program *program;
    assert_ok(sn_program_open(sn_arena_new(), NULL, 1, *state, &program));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Plan *plan;
        int count = cases[i].pair[1].input || cases[i].pair[1].output || i == 3 ? 2 : 1;
        assert_fails(plan_with(program, false, count, cases[i].pair, &plan), SN_INVALID, cases[i].why);
    }
    sn_program_free(program);
}

static void specs_are_read(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    StateSpecs specs;
    const char *good[] = {"a=b,c.*.d=e*", "f=g"};
    assert_ok(sn_state_specs_parse(arena, 2, good, &specs));
    assert_int_equal(specs.count, 3);
    assert_string_equal(specs.at[1].input, "c.*.d");
    assert_string_equal(specs.at[1].output, "e*");
    assert_string_equal(specs.at[2].input, "f");
    static const char *const bad[] = {"", "a", "=b", "a=", "a=b,", "a*=b", "a*b*=c*d*", ",a=b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(sn_state_specs_parse(arena, 1, &bad[i], &specs), SN_INVALID, "INPUT=OUTPUT");
    sn_arena_free(arena);
}

/* Rows without elements take no memory, so that there is no address to copy them to. */
static void a_cache_of_nothing_grows(void **state) {
    static const char text[] = "graph \"nothing\" stage imported\n"
                               "symbol P\n"
                               "input %0 \"past\": f32[1, P, 0]\n"
                               "input %1 \"fresh\": f32[1, 2, 0]\n"
                               "%2 = concat(%0, %1) {axis = 1} : f32[1, P + 2, 0]\n"
                               "output %2 \"present\"\n";
    static const sn_State pair[] = {{0, 0}};
    sn_Program *program;
    sn_Context *context;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.verify = true, .state_count = 1, .state = pair};
    assert_ok(sn_program_open(sn_arena_new(), NULL, 1, *state, &program));
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &options, NULL, &ledger, &plan));
    assert_int_equal(plan->cache_count, 1);
    assert_ok(sn_program_load(program, plan));
    assert_ok(sn_context_new(program, NULL, &context));
    assert_ok(set_f32(context, 0, 3, (int64_t[]){1, 3, 0}, NULL));
    assert_ok(set_f32(context, 1, 3, (int64_t[]){1, 2, 0}, NULL));
    for (int64_t i = 1; i < 4; i++) {
        assert_ok(sn_context_run(context));
        output(context, 0, 3, (int64_t[]){1, 3 + 2 * i, 0});
    }
    sn_context_free(context);
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_of_nothing_grows),
        cmocka_unit_test(runs_follow_one_another),
        cmocka_unit_test(nothing_is_copied),
        cmocka_unit_test(a_failed_run_leaves_states),
        cmocka_unit_test(a_cache_stays_where_it_is),
        cmocka_unit_test(what_no_launch_makes_for_it_is_copied),
        cmocka_unit_test(pairs_that_do_not_fit_are_refused),
        cmocka_unit_test(specs_are_read),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

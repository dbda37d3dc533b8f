/* What a run writes over: states that are updated where they lie, and results that replace an operand. */
#include "execute_fixture.h"

/* A parameter that a step moves along its gradient, and a number that is looked up. */
static const char update_last[] = "graph \"update last\" stage imported\n"
                                  "symbol N\n"
                                  "input %0 \"weight\": f32[N, 3]\n"
                                  "input %1 \"gradient\": f32[N, 3]\n"
                                  "input %2 \"table\": f32[5]\n"
                                  "input %3 \"index\": i64[2]\n"
                                  "%4 = gather(%2, %3) {axis = 0} : f32[2]\n"
                                  "%5 = neg(%1) : f32[N, 3]\n"
                                  "%6 = add(%0, %5) : f32[N, 3]\n"
                                  "output %6 \"weight after\"\n"
                                  "output %4 \"found\"\n";

static const char update_first[] = "graph \"update first\" stage imported\n"
                                   "symbol N\n"
                                   "input %0 \"weight\": f32[N, 3]\n"
                                   "input %1 \"gradient\": f32[N, 3]\n"
                                   "input %2 \"table\": f32[5]\n"
                                   "input %3 \"index\": i64[2]\n"
                                   "%5 = neg(%1) : f32[N, 3]\n"
                                   "%6 = add(%0, %5) : f32[N, 3]\n"
                                   "%4 = gather(%2, %3) {axis = 0} : f32[2]\n"
                                   "output %6 \"weight after\"\n"
                                   "output %4 \"found\"\n";

enum { WEIGHT, GRADIENT, TABLE, INDEX };
enum { ROWS = 700, COUNT = 3 * ROWS };

static sn_Program *program_with(const char *text, bool eager, int states, const sn_State *pair,
                                const char *cache) {
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.eager = eager, .verify = true, .state_count = states, .state = pair};
    assert_ok(sn_program_open(sn_arena_new(), NULL, 2, cache, &program));
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &options, NULL, &ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static sn_Program *program_of(const char *text, bool eager, int states, const char *cache) {
    static const sn_State pair[] = {{WEIGHT, 0}};
    return program_with(text, eager, states, pair, cache);
}

static sn_Context *context_of(const sn_Program *program, float *weight, float *gradient, float *table,
                              int64_t *index) {
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < COUNT; i++) weight[i] = (float)i, gradient[i] = 0.25f * (float)(i % 7);
    for (int i = 0; i < 5; i++) table[i] = (float)(10 * i);
    index[0] = 4, index[1] = 1;
    assert_ok(set_f32(context, WEIGHT, 2, (int64_t[]){ROWS, 3}, weight));
    assert_ok(set_f32(context, GRADIENT, 2, (int64_t[]){ROWS, 3}, gradient));
    assert_ok(set_f32(context, TABLE, 1, (int64_t[]){5}, table));
    sn_Tensor indices = {sn_dtype_onnx(SN_I64), 1, (int64_t[]){2}, index};
    assert_ok(sn_context_set_input(context, INDEX, &indices));
    return context;
}

static void assert_weight(const sn_Context *context, int steps) {
    sn_Tensor got;
    assert_ok(sn_context_output(context, 0, &got));
    for (int i = 0; i < COUNT; i++)
        assert_true(((const float *)got.data)[i] == (float)i - (float)steps * 0.25f * (float)(i % 7));
}

static float weight[COUNT], gradient[COUNT], table[5];
static int64_t index_of[2];

static void a_state_is_updated_where_it_lies(void **state) {
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_of(update_last, eager, 1, *state);
        const Plan *plan = program->plan;
        assert_true(plan->update[0].launch >= 0 && !plan->update[0].reason);
        sn_Context *context = context_of(program, weight, gradient, table, index_of);
        const void *place = NULL;
        for (int i = 1; i < 5; i++) {
            assert_ok(sn_context_run(context));
            assert_weight(context, i);
            const void *now = context->address[plan->input[WEIGHT]];
            assert_ptr_equal(context->address[plan->output[0].value], now);
            assert_true(i == 1 || now == place);
            place = now;
        }
        assert_int_equal(context->state[0].next.bytes, 0);
        for (int i = 0; i < COUNT; i++) assert_true(weight[i] == (float)i); /* the caller's is left alone */
        sn_context_reset_states(context);
        assert_ok(sn_context_run(context));
        assert_weight(context, 1);
        /* What the last run left, as the beginning of the next. */
        sn_Tensor got;
        assert_ok(sn_context_output(context, 0, &got));
        assert_ok(sn_context_set_input(context, WEIGHT, &got));
        assert_ok(sn_context_run(context));
        assert_weight(context, 2);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* A lookup that fails: the weights stay as they were, however late it comes. */
static void a_run_that_fails_on_its_data_leaves_states(void **state) {
    for (int form = 0; form < 4; form++) {
        sn_Program *program = program_of(form % 2 ? update_first : update_last, form > 1, 1, *state);
        const PlanUpdate *update = &program->plan->update[0];
        if (form % 2)
            assert_true(update->launch < 0 && strstr(update->reason, "later launch may fail"));
        else
            assert_true(update->launch >= 0);
        sn_Context *context = context_of(program, weight, gradient, table, index_of);
        assert_ok(sn_context_run(context));
        index_of[1] = 5;
        assert_fails(sn_context_run(context), SN_FAULT, "gather");
        index_of[1] = 2;
        assert_ok(sn_context_run(context));
        assert_weight(context, 2);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static int fail_launch; /* counted down; at 0 launches fail */
static Status (*launch_of_device)(Device *, Module *, const LaunchArguments *, int *);

static Status failing_launch(Device *device, Module *module, const LaunchArguments *arguments, int *fault) {
    TRY(launch_of_device(device, module, arguments, fault));
    return --fail_launch == 0 ? sn_fail(SN_DEVICE, "the device is gone") : NULL;
}

static void a_device_that_fails_spoils_states(void **state) {
    sn_Program *program = program_of(update_last, false, 1, *state);
    DeviceOps ops = *program->device->ops;
    launch_of_device = ops.launch;
    ops.launch = failing_launch;
    program->device->ops = &ops;
    int last = program->plan->update[0].launch - program->plan->setup_count;
    for (int at = 0; at <= last; at++) {
        sn_Context *context = context_of(program, weight, gradient, table, index_of);
        fail_launch = 100;
        assert_ok(sn_context_run(context));
        fail_launch = at + 1;
        assert_fails(sn_context_run(context), SN_DEVICE, "gone");
        fail_launch = 100;
        if (at == last) {
            assert_fails(sn_context_run(context), SN_INVALID, "have to be reset");
            sn_context_reset_states(context);
            assert_ok(sn_context_run(context));
            assert_weight(context, 1);
        } else {
            assert_ok(sn_context_run(context));
            assert_weight(context, 2);
        }
        sn_context_free(context);
    }
    sn_program_free(program);
}

/* The new values of two states become the old ones of each other: none is written over before it is read. */
static void states_change_places(void **state) {
    static const char text[] = "graph \"two\" stage imported\n"
                               "symbol N\n"
                               "input %0 \"a\": f32[N]\n"
                               "input %1 \"b\": f32[N]\n"
                               "%2 = neg(%0) : f32[N]\n"
                               "%3 = add(%1, %1) : f32[N]\n"
                               "output %2 \"minus a\"\n"
                               "output %3 \"twice b\"\n";
    static const sn_State pair[] = {{0, 0}, {1, 1}};
    float a[] = {1, 2, 3}, b[] = {10, 20, 30};
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_with(text, eager, 2, pair, *state);
        for (int i = 0; i < 2; i++) assert_true(program->plan->update[i].launch >= 0);
        sn_Context *context = make_context(program, 0);
        sn_Tensor first, second;
        assert_ok(set_f32(context, 0, 1, (int64_t[]){3}, a));
        assert_ok(set_f32(context, 1, 1, (int64_t[]){3}, b));
        assert_ok(sn_context_run(context));
        assert_ok(sn_context_output(context, 0, &first));
        assert_ok(sn_context_output(context, 1, &second));
        assert_ok(sn_context_set_input(context, 0, &second));
        assert_ok(sn_context_set_input(context, 1, &first));
        assert_ok(sn_context_run(context));
        assert_ok(sn_context_output(context, 0, &first));
        assert_ok(sn_context_output(context, 1, &second));
        for (int i = 0; i < 3; i++) {
            assert_true(((const float *)first.data)[i] == -2 * b[i]);
            assert_true(((const float *)second.data)[i] == -2 * a[i]);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* What the kernel or somebody behind it still needs as it was. */
static void other_states_have_two_buffers(void **state) {
    static const struct {
        const char *step, *reason;
    } form[] = {
        {"%5 = view(%0) {extent = [8, 8], index = [i1, i0]} : f32[8, 8]\n%6 = add(%0, %5) : f32[8, 8]\n"
         "output %6 \"after\"\n",
         "elsewhere"},
        {"%6 = add(%0, %1) : f32[8, 8]\noutput %6 \"after\"\noutput %0 \"before\"\n", "needed after"},
    };
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        Text text = sn_text(sn_arena_new());
        sn_text_add(
            &text, "graph \"two\" stage imported\ninput %%0 \"a\": f32[8, 8]\ninput %%1 \"b\": f32[8, 8]\n%s",
            form[i].step);
        sn_Program *program = program_of(sn_text_string(&text), false, 1, *state);
        const PlanUpdate *update = &program->plan->update[0];
        if (update->launch >= 0 || !strstr(update->reason, form[i].reason))
            fail_msg("%zu: %s", i, update->reason ? update->reason : "in place");
        sn_program_free(program);
        sn_arena_free(text.arena);
    }
}

/* A chain of results that each replace the one before: one buffer, and the same numbers as with one each. */
static void results_replace_operands(void **state) {
    static const char text[] = "graph \"chain\" stage imported\n"
                               "input %0 \"x\": f32[64, 64]\n"
                               "%1 = exp(%0) : f32[64, 64]\n"
                               "%2 = reduce_sum(%1) {axes = [1]} : f32[64, 1]\n"
                               "%3 = div(%1, %2) : f32[64, 64]\n"
                               "%4 = contract(%0, %0) : f32[64, 64]\n"
                               "%5 = add(%4, %3) : f32[64, 64]\n"
                               "%6 = reduce_max(%5) {axes = [1]} : f32[64, 1]\n"
                               "%7 = sub(%5, %6) : f32[64, 64]\n"
                               "output %7 \"y\"\n";
    static float x[64 * 64], first[64 * 64];
    for (int i = 0; i < 64 * 64; i++) x[i] = (float)(i % 13) / 13.0f;
    for (int eager = 1; eager >= 0; eager--) {
        sn_Program *program = program_of(text, eager, 0, *state);
        const Plan *plan = program->plan;
        int over = 0;
        for (int i = 0; i < plan->value_count; i++) over += plan->value[i].over >= 0;
        assert_true(eager ? over == 0 : over >= 2);
        sn_Context *context = make_context(program, 0);
        sn_Tensor got;
        assert_ok(set_f32(context, 0, 2, (int64_t[]){64, 64}, x));
        assert_ok(sn_context_run(context));
        assert_ok(sn_context_output(context, 0, &got));
        if (eager)
            memcpy(first, got.data, sizeof first);
        else
            for (int i = 0; i < 64 * 64; i++)
                assert_true(((const float *)got.data)[i] - first[i] < 1e-5f &&
                            first[i] - ((const float *)got.data)[i] < 1e-5f);
        sn_context_free(context);
        sn_program_free(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_updated_where_it_lies),
        cmocka_unit_test(a_run_that_fails_on_its_data_leaves_states),
        cmocka_unit_test(a_device_that_fails_spoils_states),
        cmocka_unit_test(states_change_places),
        cmocka_unit_test(other_states_have_two_buffers),
        cmocka_unit_test(results_replace_operands),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

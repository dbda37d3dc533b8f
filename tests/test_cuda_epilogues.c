/* cuBLASLt's epilogues of training: what of a step the plan gives to the library, and that the steps are those of the
 * generated kernels, of eager launches and of the CPU. */
#include "compile.h"
#include "cuda_fixture.h"
#include "training.h"

#include <math.h>

enum { ROWS = 20, WIDTH = 16, LAYERS = 4, STEPS = 4, FLOATS_MOST = 1 << 12 };

static void add_tensor(Text *text, int number, const char *name, const char *shape, int count, double scale) {
    sn_text_add(text, "%%%d \"%s\" = constant {tensor = f32%s (", number, name, shape);
    for (int i = 0; i < count; i++) sn_text_add(text, "%s%g", i ? ", " : "", scale * ((i * 7) % 11 - 4.75));
    sn_text_add(text, ")} : f32%s\n", shape);
}

enum { TABLE_ROWS = 3 };

/* Layers with a bias and behind them tanh, ReLU, the tanh form of GELU, and nothing; of x, or of rows of a table, and then
 * the last one has no bias. */
static const char *layers(Arena *arena, bool lookup) {
    static const char *const function[LAYERS] = {"tanh(%%%d)", "relu(%%%d)", "gelu(%%%d) {tanh = true}"};
    Text text = sn_text(arena);
    int value = 0, next = 1 + 2 * LAYERS;
    sn_text_add(&text, "graph \"layers\" stage imported\nsymbol N\ninput %%0 \"x\": %s\n",
                lookup ? "i64[N]" : "f32[N, 16]");
    for (int i = 0; i < LAYERS; i++) {
        add_tensor(&text, 1 + 2 * i, sn_arena_printf(arena, "w%d", i), "[16, 16]", WIDTH * WIDTH, 0.06);
        add_tensor(&text, 2 + 2 * i, sn_arena_printf(arena, "b%d", i), "[16]", WIDTH, 0.02);
    }
    if (lookup) {
        add_tensor(&text, next, "table", "[3, 16]", TABLE_ROWS * WIDTH, 0.1);
        sn_text_add(&text, "%%%d = gather(%%%d, %%0) {axis = 0} : f32[N, 16]\n", next + 1, next);
        value = next + 1;
        next += 2;
    }
    for (int i = 0; i < LAYERS; i++) {
        sn_text_add(&text, "%%%d = matmul(%%%d, %%%d) : f32[N, 16]\n", next, value, 1 + 2 * i);
        value = next++;
        if (lookup && i == LAYERS - 1) break;
        sn_text_add(&text, "%%%d = add(%%%d, %%%d) : f32[N, 16]\n", next, value, 2 + 2 * i);
        value = next++;
        if (!function[i]) continue;
        sn_text_add(&text, "%%%d = ", next);
        sn_text_add(&text, function[i], value);
        sn_text_add(&text, " : f32[N, 16]\n");
        value = next++;
    }
    sn_text_add(&text, "output %%%d \"y\"\n", value);
    return sn_text_string(&text);
}

static sn_Program *open_layers(const char *device, bool eager, bool lookup, const char *cache) {
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    Training training;
    sn_TrainingOptions options = {.size = sizeof options, .loss = SN_LOSS_SQUARED_ERROR};
    if (lookup) options.optimizer = SN_SGD; /* whose first update waits for a gradient */
    assert_ok(sn_program_open(sn_arena_new(), device, 1, cache, &program));
    assert_ok(sn_training_read(&options, &training));
    PipelineOptions pipeline = {.verify = true, .eager = eager, .training = &training};
    const char *text = layers(program->arena, lookup);
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &pipeline, NULL, &ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static sn_Program *open_program(const char *device, bool eager, const char *cache) {
    return open_layers(device, eager, false, cache);
}

/* All states as floats, and how many these are. */
static int read_states(sn_Context *context, float *states) {
    int count = 0;
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        if (value.element_type == 7) continue;
        int64_t elements = 1;
        for (int k = 0; k < value.rank; k++) elements *= value.extent[k];
        assert_true(count + elements <= FLOATS_MOST);
        memcpy(states + count, value.data, (size_t)elements * sizeof *states);
        count += (int)elements;
    }
    return count;
}

/* Some steps of `rows` rows, and the states behind them. */
static int train(const sn_Program *program, int rows, float *states) {
    static float x[ROWS * WIDTH], targets[ROWS * WIDTH], rate = 1e-2f;
    const int64_t extent[2] = {rows, WIDTH};
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < rows * WIDTH; i++) {
        x[i] = (float)((i * 5) % 13) * 0.2f - 1.2f;
        targets[i] = (float)((i * 3) % 7) * 0.25f - 0.75f;
    }
    assert_ok(set_f32(context, 0, 2, extent, x));
    assert_ok(set_f32(context, 1, 2, extent, targets));
    assert_ok(set_f32(context, 2, 0, NULL, &rate));
    for (int step = 0; step < STEPS; step++) assert_ok(sn_context_run(context));
    int count = read_states(context, states);
    sn_context_free(context);
    return count;
}

/* The largest difference, by what float rounding leaves of it in four steps. */
static double difference(const float *a, const float *b, int count) {
    double largest = 0;
    for (int i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]) / (1e-2 + fabs((double)b[i])));
    return largest;
}

static const PlanLaunch *launch_with(const Plan *plan, LibraryEpilogue epilogue, LibrarySum sum) {
    for (int i = 0; i < plan->launch_count; i++) {
        const PlanProduct *product = plan->launch[i].product;
        if (!product || !product->full) continue;
        if (product->full->form->epilogue == epilogue && product->full->form->sum_of == sum)
            return &plan->launch[i];
    }
    fail_msg("no product with epilogue %d and sum %d", (int)epilogue, (int)sum);
    return NULL;
}

static void the_plan_has_epilogues(const Plan *plan) {
    const PlanLaunch *relu = launch_with(plan, SN_LIBRARY_RELU, SN_LIBRARY_NO_SUM),
                     *back = launch_with(plan, SN_LIBRARY_RELU_SLOPE, SN_LIBRARY_SUM_D);
    launch_with(plan, SN_LIBRARY_GELU_TANH, SN_LIBRARY_NO_SUM);
    launch_with(plan, SN_LIBRARY_GELU_SLOPE, SN_LIBRARY_SUM_D);
    launch_with(plan, SN_LIBRARY_NONE, SN_LIBRARY_SUM_B);
    assert_int_equal(back->more[0], relu->more[0]);
    assert_ptr_equal(&plan->launch[back->product->full->needs], relu);
    int summed = 0;
    for (int i = 0; i < plan->launch_count; i++) {
        int by = plan->launch[i].summed_by;
        if (by < 0) continue;
        assert_true(by < i && plan->value[plan->launch[i].buffer[1]].first == by);
        summed++;
    }
    assert_int_equal(summed, 3);
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    sn_plan_print(&text, plan);
    const char *const word[] = {" library relu+aux b", " library drelu+sum b", " mask of ",
                                " library gelu+aux",   " library dgelu+sum b", " library sum b",
                                " summed by "};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (!strstr(sn_text_string(&text), word[i])) fail_msg("the plan does not say%s", word[i]);
    sn_arena_free(arena);
}

/* A device of its own, as one keeps what the library has answered. */
static int train_with(const char *setting, bool eager, int rows, const char *cache, float *states) {
    plant(setting);
    sn_Program *program = open_program("cuda", eager, cache);
    if (!eager) the_plan_has_epilogues(program->plan);
    int count = train(program, rows, states);
    sn_program_free(program);
    plant("");
    return count;
}

static int train_on_cpu(int rows, const char *cache, float *states) {
    sn_Program *program = open_program("cpu", false, cache);
    int count = train(program, rows, states);
    sn_program_free(program);
    return count;
}

/* Where the library has all, lacks some of it, or only products with a bias; nothing is done twice over, or too early. */
static void steps_are_the_same(void **state) {
    /* Bits of cublasLtEpilogue_t: sums with slopes, other sums, all sums, ReLU and thus masks, its slope, all. */
    static const char *const setting[] = {
        "races=1",
        "races=1,captured_order=1",
        "races=1,lacking_epilogues=16",
        "races=1,lacking_epilogues=256",
        "races=1,lacking_epilogues=272",
        "races=1,lacking_epilogues=2",
        "races=1,lacking_epilogues=8",
        "races=1,lacking_epilogues=400",
    };
    static float expected[FLOATS_MOST], got[FLOATS_MOST];
    int count = train_on_cpu(ROWS, *state, expected);
    for (size_t i = 0; i < (on_gpu() ? 1 : sizeof setting / sizeof *setting); i++) {
        assert_int_equal(train_with(setting[i], false, ROWS, *state, got), count);
        double most = difference(got, expected, count);
        if (!(most <= 1e-3)) fail_msg("%s: off by %g", setting[i], most);
    }
    assert_int_equal(train_with("races=1", true, ROWS, *state, got), count);
    assert_true(difference(got, expected, count) <= 1e-3);
}

/* Of few rows the forward products are the kernels', and no mask is there. */
static void few_rows_are_the_kernels(void **state) {
    static float expected[FLOATS_MOST], got[FLOATS_MOST];
    int count = train_on_cpu(7, *state, expected);
    assert_int_equal(train_with("races=1", false, 7, *state, got), count);
    assert_true(difference(got, expected, count) <= 1e-3);
}

/* A library whose sums are wrong is found out, where it is asked for them. */
static void a_wrong_sum_is_found(void **state) {
    static float expected[FLOATS_MOST], got[FLOATS_MOST];
    if (on_gpu()) skip();
    int count = train_with("", false, ROWS, *state, expected);
    train_with("short_sums=1", false, ROWS, *state, got);
    assert_true(difference(got, expected, count) > 1e-2);
    train_with("short_sums=1,lacking_epilogues=272", false, ROWS, *state, got);
    assert_true(difference(got, expected, count) <= 1e-3);
}

/* Rows of the table by turns; the step fails where `wrong`. */
static void step_of(sn_Context *context, int rows, bool wrong) {
    static int64_t ids[ROWS];
    static float targets[ROWS * WIDTH], rate = 1e-2f;
    const int64_t extent[2] = {rows, WIDTH};
    for (int i = 0; i < rows; i++) ids[i] = i % TABLE_ROWS;
    for (int i = 0; i < rows * WIDTH; i++) targets[i] = (float)((i * 3) % 7) * 0.25f - 0.75f;
    if (wrong) ids[rows / 2] = TABLE_ROWS;
    assert_ok(set_i64(context, 0, 1, extent, ids));
    assert_ok(set_f32(context, 1, 2, extent, targets));
    assert_ok(set_f32(context, 2, 0, NULL, &rate));
    Status status = sn_context_run(context);
    assert_int_equal(status != NULL, wrong);
    sn_error_free(status);
}

static int steps_of_turns(const char *device, bool wrong, const char *cache, float *states) {
    sn_Program *program = open_layers(device, false, true, cache);
    sn_Context *context = make_context(program, 0);
    step_of(context, ROWS, false);
    step_of(context, 7, false);
    if (wrong) step_of(context, 7, true);
    step_of(context, ROWS, false);
    step_of(context, 7, false);
    int count = read_states(context, states);
    sn_context_free(context);
    sn_program_free(program);
    return count;
}

/* A part of a run that is recorded does not say how its products were done; a run of other rows, between, did them
 * otherwise. */
static void parts_of_a_run_agree(void **state) {
    static float expected[FLOATS_MOST], got[FLOATS_MOST];
    int count = steps_of_turns("cpu", false, *state, expected);
    assert_int_equal(steps_of_turns("cuda", true, *state, got), count);
    assert_true(difference(got, expected, count) <= 1e-3);
}

/* ---- plans alone ---- */

static Plan *plan_of(Arena *arena, Target *target, const char *text) {
    Plan *plan;
    sn_target_cuda(target, 90);
    assert_ok(sn_plan_new(arena, parse_fused(arena, text), target, false, sn_codegen, &plan));
    return plan;
}

/* sums = rows of dy (T, 16) added up, before dyᵀ·x; `between` reads them before that, or does not. */
static const char *sum_before_product(Arena *arena, bool narrow, bool between) {
    const char *type = narrow ? "bf16" : "f32";
    return sn_arena_printf(
        arena,
        "graph \"sums\" stage fused\nsymbol T\ninput %%0 \"dy\": %s[T, 16]\ninput %%1 \"x\": %s[T, 24]\n"
        "%%2 = cluster(%%0) {kind = reduce} {\n  param %%3: %s[T, 16]\n%s"
        "  %%4 = reduce_sum(%s) {axes = [0]} : f32[1, 16]\n  return %%4\n} : f32[1, 16] ; group 1\n%s"
        "%%5 = cluster(%%0, %%1) {kind = contract} {\n  param %%6: %s[T, 16]\n  param %%7: %s[T, 24]\n"
        "  %%8 = view(%%6) {extent = [16, T], index = [i1, i0]} : %s[16, T]\n"
        "  %%9 = contract(%%8, %%7) : %s[16, 24]\n%s"
        "  return %s\n} : f32[16, 24] ; group 2\noutput %s \"sum\"\noutput %%5 \"y\"\n",
        type, type, type, narrow ? "  %10 = cast(%3) {to = f32} : f32[T, 16]\n" : "", narrow ? "%10" : "%3",
        between ? "%12 = cluster(%2) {kind = map} {\n  param %13: f32[1, 16]\n  %14 = neg(%13) : f32[1, 16]\n"
                  "  return %14\n} : f32[1, 16] ; group 3\n"
                : "",
        type, type, type, type, narrow ? "  %11 = cast(%9) {to = f32} : f32[16, 24]\n" : "",
        narrow ? "%11" : "%9", between ? "%12" : "%2");
}

/* A sum that comes before the product waits for it, unless somebody else would have to wait too; also of narrow operands,
 * as sums have the result's type. */
static void sums_wait_for_their_product(void **state) {
    (void)state;
    Target target;
    for (int narrow = 0; narrow < 2; narrow++)
        for (int between = 0; between < 2; between++) {
            Arena *arena = sn_arena_new();
            const char *text = sum_before_product(arena, narrow, between);
            const Plan *plan = plan_of(arena, &target, text);
            assert_int_equal(plan->launch_count, 2 + between);
            if (between) {
                for (int i = 0; i < 3; i++) assert_int_equal(plan->launch[i].summed_by, -1);
            } else {
                assert_int_equal(plan->launch[1].summed_by, 0);
                assert_int_equal(plan->launch[0].product->full->form->sum_of, SN_LIBRARY_SUM_A);
                assert_int_equal(plan->launch[0].more[0], plan->launch[1].buffer[1]);
            }
            sn_arena_free(arena);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_wait_for_their_product), cmocka_unit_test(steps_are_the_same),
        cmocka_unit_test(few_rows_are_the_kernels),    cmocka_unit_test(a_wrong_sum_is_found),
        cmocka_unit_test(parts_of_a_run_agree),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

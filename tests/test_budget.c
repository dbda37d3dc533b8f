/* Memory of training steps: what is planned is what is taken, budgets are kept or refused with the least that is possible,
 * and what is computed again is what it was. */
#include "budget.h"
#include "execute_fixture.h"
#include "number.h"
#include "training.h"

#include <math.h>

enum { LAYERS = 6, WIDTH = 16, HIDDEN = 64, ROWS = 96, STEPS = 3 };
enum { X, TARGETS, RATE, INPUTS };

/* LAYERS times x + silu(norm(x)·w1)·w2; rows are a symbol. */
static const char *model_text(Arena *arena) {
    Text text = sn_text(arena);
    sn_text_add(&text, "graph \"layers\" stage imported\nsymbol T at_least 1\ninput %%0 \"x\": f32[T, %d]\n",
                WIDTH);
    int x = 0, next = 1;
    for (int i = 0; i < LAYERS; i++, next += 8) {
        sn_text_add(&text,
                    "%%%d \"gain%d\" = constant {tensor = f32[%d] recipe %d scale 0.1 offset 1} : f32[%d]\n",
                    next, i, WIDTH, 3 * i, WIDTH);
        sn_text_add(
            &text,
            "%%%d \"w%d\" = constant {tensor = f32[%d, %d] recipe %d scale 0.2 offset 0} : f32[%d, %d]\n",
            next + 1, i, WIDTH, HIDDEN, 3 * i + 1, WIDTH, HIDDEN);
        sn_text_add(
            &text,
            "%%%d \"v%d\" = constant {tensor = f32[%d, %d] recipe %d scale 0.2 offset 0} : f32[%d, %d]\n",
            next + 2, i, HIDDEN, WIDTH, 3 * i + 2, HIDDEN, WIDTH);
        sn_text_add(&text, "%%%d = rms_norm(%%%d, %%%d) {axis = 1, epsilon = 1e-05} : f32[T, %d]\n", next + 3,
                    x, next, WIDTH);
        sn_text_add(&text, "%%%d = matmul(%%%d, %%%d) : f32[T, %d]\n", next + 4, next + 3, next + 1, HIDDEN);
        sn_text_add(&text, "%%%d = silu(%%%d) {alpha = 1} : f32[T, %d]\n", next + 5, next + 4, HIDDEN);
        sn_text_add(&text, "%%%d = matmul(%%%d, %%%d) : f32[T, %d]\n", next + 6, next + 5, next + 2, WIDTH);
        sn_text_add(&text, "%%%d = add(%%%d, %%%d) : f32[T, %d]\n", next + 7, x, next + 6, WIDTH);
        x = next + 7;
    }
    sn_text_add(&text, "output %%%d \"y\"\n", x);
    return sn_text_string(&text);
}

/* ---- a device that counts ---- */

static struct {
    const DeviceOps *usual;
    DeviceOps ops;
    int64_t held;
} counted; /* one test at a time */

static Status count_alloc(Device *device, int64_t bytes, void **out) {
    counted.held += bytes;
    return counted.usual->alloc(device, bytes, out);
}

static void count_free(Device *device, void *at, int64_t bytes) {
    if (at) counted.held -= bytes;
    counted.usual->free(device, at, bytes);
}

static void count(Device *device) {
    counted.usual = device->ops;
    counted.ops = *device->ops;
    counted.ops.alloc = count_alloc;
    counted.ops.free = count_free;
    counted.held = 0;
    device->ops = &counted.ops;
}

/* ---- steps ---- */

static const sn_Extent extent = {"T", ROWS};

static Training training_of(const sn_TrainingOptions *options) {
    Training training;
    sn_TrainingOptions all = *options;
    all.size = sizeof all;
    all.loss = SN_LOSS_SQUARED_ERROR;
    assert_ok(sn_training_read(&all, &training));
    return training;
}

/* The program of a step under the budget, or *status says why there is none. */
static sn_Program *program_of(const Training *training, const Budget *budget, const char *cache,
                              BudgetReport *report, Status *status) {
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.verify = true, .training = training, .extent_count = 1, .extent = &extent};
    assert_ok(sn_program_open(sn_arena_new(), NULL, 2, cache, &program));
    count(program->device);
    const char *text = model_text(program->arena);
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    *status = sn_compile_within(program->arena, graph, &program->device->target, &options, budget,
                                &(NeedsOf){.host_memory = true}, NULL, &ledger, report, &plan);
    if (!*status) *status = sn_program_load(program, plan);
    return program;
}

/* What a few steps make of the parameters, behind their losses. */
static float *train(Arena *arena, const sn_Program *program, int *count, int64_t *peak) {
    static float x[ROWS * WIDTH], target[ROWS * WIDTH], rate = 0.01f;
    sn_Context *context = make_context(program, 0);
    assert_ok(set_f32(context, X, 2, (int64_t[]){ROWS, WIDTH}, x));
    assert_ok(set_f32(context, TARGETS, 2, (int64_t[]){ROWS, WIDTH}, target));
    assert_ok(set_f32(context, RATE, 0, NULL, &rate));
    SN_VEC(float) out = {0};
    for (int step = 0; step < STEPS; step++) {
        sn_Tensor loss;
        for (uint64_t i = 0; i < ROWS * WIDTH; i++) {
            x[i] = (float)sn_random_normal((uint64_t)step, i);
            target[i] = (float)sn_random_normal((uint64_t)step + 100, i);
        }
        assert_ok(sn_context_run(context));
        assert_ok(sn_context_output(context, 0, &loss));
        sn_push(arena, &out, *(const float *)loss.data);
        assert_true(isfinite(out.at[step]));
    }
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        int64_t elements = value.element_type == 1 ? 1 : 0;
        for (int k = 0; k < value.rank; k++) elements *= value.extent[k];
        for (int64_t k = 0; k < elements; k++) sn_push(arena, &out, ((const float *)value.data)[k]);
    }
    *peak = sn_context_peak_bytes(context) + sn_program_constant_bytes(program);
    assert_int_equal(counted.held - *peak, 64); /* what buffers of no bytes point to */
    sn_context_free(context);
    *count = out.count;
    return out.at;
}

static void what_is_planned_is_taken(void **state) {
    static const sn_TrainingOptions form[] = {{.clip_norm = 1}, {.accumulate = 2, .skip_nonfinite = 1}};
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        Training training = training_of(&form[i]);
        BudgetReport report;
        Status status;
        int count;
        int64_t peak;
        sn_Program *program = program_of(&training, &(Budget){0}, *state, &report, &status);
        assert_ok(status);
        assert_int_equal(report.attempts, 1);
        train(program->arena, program, &count, &peak);
        const Needs *needs = &report.with;
        assert_int_equal(peak, sn_needs_whole(needs));
        int64_t parameters = 4 * LAYERS * (WIDTH + 2 * WIDTH * HIDDEN);
        assert_true(needs->states >= 2 * parameters && needs->gradients >= parameters);
        assert_true(needs->arena <= needs->gradients + needs->activations);
        assert_true(needs->flops > 6.0 * ROWS * LAYERS * 2 * WIDTH * HIDDEN);
        sn_program_free(program);
    }
}

static void budgets_are_kept(void **state) {
    const double share = 0.6;
    Training training = training_of(&(sn_TrainingOptions){.clip_norm = 1});
    Arena *arena = sn_arena_new();
    BudgetReport report;
    Status status;
    int expected_count, count;
    int64_t peak;
    sn_Program *program = program_of(&training, &(Budget){0}, *state, &report, &status);
    assert_ok(status);
    Needs without = report.with, before = without;
    float *expected = train(arena, program, &expected_count, &peak);
    sn_program_free(program);
    for (int i = 0; i < 2; i++) {
        /* The same again in bytes: exactly what it came to, of which nothing can be spared. */
        Budget budget = {.share = share};
        if (i) budget = (Budget){.bytes = sn_needs_whole(&before)};
        program = program_of(&training, &budget, *state, &report, &status);
        assert_ok(status);
        assert_int_equal(report.without.activations, without.activations);
        if (!i) assert_true((double)report.with.activations <= budget.share * (double)without.activations);
        if (i) assert_true(sn_needs_whole(&report.with) <= budget.bytes);
        assert_true(report.with.flops >= without.flops);
        if (!i) assert_true(report.with.flops >= before.flops); /* less memory costs more */
        float *found = train(arena, program, &count, &peak);
        assert_int_equal(peak, sn_needs_whole(&report.with));
        assert_int_equal(count, expected_count);
        assert_memory_equal(found, expected, (size_t)count * sizeof *found);
        before = report.with;
        sn_program_free(program);
    }
    assert_true(before.flops > 1.1 * without.flops);
    sn_arena_free(arena);
}

static void what_cannot_be_is_said(void **state) {
    Training training = training_of(&(sn_TrainingOptions){0});
    BudgetReport report;
    Status status;
    sn_Program *program = program_of(&training, &(Budget){.share = 0.01}, *state, &report, &status);
    assert_fails(status, SN_NO_MEMORY, "activations take");
    sn_program_free(program);
    program = program_of(&training, &(Budget){.bytes = 1000}, *state, &report, &status);
    assert_fails(status, SN_NO_MEMORY, "the memory budget is 0.0009537 MiB");
    sn_program_free(program);
    program = program_of(NULL, &(Budget){.bytes = 1000}, *state, &report, &status);
    assert_fails(status, SN_UNSUPPORTED, "no step of training");
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_planned_is_taken),
        cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

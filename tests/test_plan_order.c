/* The order of a step's launches: updates run as gradients land, where nothing that follows can fail, and come to the same
 * bits as updates that wait for all gradients. */
#include "execute_fixture.h"
#include "number.h"
#include "plan_order.h"
#include "training.h"

#include <math.h>

enum { LAYERS = 6, WIDTH = 48, ROWS = 4, TABLE = 7 };
enum { IDS, TARGETS, RATE };

/* Rows of a table, then LAYERS times x·w. `partly`: of the rows that are looked up, only the first two are used. */
static const char *model_text(Arena *arena, bool partly) {
    const char *rows = partly ? "2" : "N";
    Text text = sn_text(arena);
    sn_text_add(&text,
                "graph \"rows\" stage imported\nsymbol N at_least 2\ninput %%0 \"ids\": i64[N]\n"
                "%%1 \"table\" = constant {tensor = f32[%d, %d] recipe 1 scale 0.5 offset 0} : f32[%d, %d]\n"
                "%%2 = gather(%%1, %%0) {axis = 0} : f32[N, %d]\n",
                TABLE, WIDTH, TABLE, WIDTH, WIDTH);
    int x = 2, next = 3;
    if (partly) {
        sn_text_add(&text,
                    "%%3 = view(%%2) {extent = [2, %d], index = [i0, i1]} : f32[2, %d]\n"
                    "%%4 = add(%%3, %%3) : f32[2, %d]\n",
                    WIDTH, WIDTH, WIDTH);
        x = 4, next = 5;
    }
    for (int i = 0; i < LAYERS; i++, x = next + 1, next += 2) {
        sn_text_add(
            &text,
            "%%%d \"w%d\" = constant {tensor = f32[%d, %d] recipe %d scale 0.2 offset 0} : f32[%d, %d]\n",
            next, i, WIDTH, WIDTH, i + 2, WIDTH, WIDTH);
        sn_text_add(&text, "%%%d = matmul(%%%d, %%%d) : f32[%s, %d]\n", next + 1, x, next, rows, WIDTH);
    }
    sn_text_add(&text, "output %%%d \"y\"\n", x);
    return sn_text_string(&text);
}

static sn_Program *program_of(bool partly, const sn_TrainingOptions *form, const char *cache) {
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Training training;
    Ledger ledger = {0};
    sn_TrainingOptions all = *form;
    all.size = sizeof all;
    all.loss = SN_LOSS_SQUARED_ERROR;
    assert_ok(sn_training_read(&all, &training));
    PipelineOptions options = {.verify = true, .training = &training};
    assert_ok(sn_program_open(sn_arena_new(), NULL, 2, cache, &program));
    const char *text = model_text(program->arena, partly);
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &options, NULL, &ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static int64_t ids[ROWS];
static float target[ROWS * WIDTH], rate = 0.01f;

static sn_Context *context_of(const sn_Program *program, bool partly) {
    sn_Context *context = make_context(program, 0);
    assert_ok(set_i64(context, IDS, 1, (int64_t[]){ROWS}, ids));
    assert_ok(set_f32(context, TARGETS, 2, (int64_t[]){partly ? 2 : ROWS, WIDTH}, target));
    assert_ok(set_f32(context, RATE, 0, NULL, &rate));
    return context;
}

static void draw_batch(uint64_t seed) {
    for (uint64_t i = 0; i < ROWS; i++) ids[i] = sn_random_below(seed, i, TABLE);
    for (uint64_t i = 0; i < ROWS * WIDTH; i++) target[i] = (float)sn_random_normal(seed, i);
}

static char *copy_states(Arena *arena, sn_Context *context, size_t *size) {
    SN_VEC(char) bytes = {0};
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor state;
        assert_ok(sn_context_state_get(context, i, &state));
        size_t count = state.element_type == 1 ? 4 : 8;
        for (int k = 0; k < state.rank; k++) count *= (size_t)state.extent[k];
        for (size_t k = 0; k < count; k++) sn_push(arena, &bytes, ((const char *)state.data)[k]);
    }
    *size = (size_t)bytes.count;
    return bytes.at;
}

/* The last launch of the backward pass, and the first update. */
static void find_border(const Plan *plan, int *last_backward, int *first_update) {
    *last_backward = -1, *first_update = plan->launch_count;
    for (int i = plan->launch_count - 1; i >= 0; i--) {
        Phase phase = plan->launch[i].cluster->phase;
        if (phase == SN_PHASE_BACKWARD && *last_backward < 0) *last_backward = i;
        if (phase == SN_PHASE_UPDATE) *first_update = i;
    }
}

static void updates_follow_their_gradients(void **state) {
    /* What looks at all gradients before it updates comes to the same bits, with more memory. */
    static const sn_TrainingOptions form[] = {{0}, {.skip_nonfinite = 1}};
    Arena *arena = sn_arena_new();
    char *bytes[2];
    size_t size[2];
    int64_t peak[2];
    for (int f = 0; f < 2; f++) {
        sn_Program *program = program_of(false, &form[f], *state);
        sn_Context *context = context_of(program, false);
        const Plan *plan = program->plan;
        int backward, update, early = 0;
        find_border(plan, &backward, &update);
        for (int i = 0; i < plan->state_count; i++) {
            if (plan->update[i].launch < 0) fail_msg("state %d: %s", i, plan->update[i].reason);
            early += plan->update[i].launch < backward;
        }
        if (f)
            assert_int_equal(early, 0);
        else
            assert_true(early >= 3 * (LAYERS - 1) && update > 0);
        for (uint64_t step = 0; step < 4; step++) {
            draw_batch(step);
            assert_ok(sn_context_run(context));
        }
        bytes[f] = copy_states(arena, context, &size[f]);
        peak[f] = sn_context_peak_bytes(context);
        sn_context_free(context);
        sn_program_free(program);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    assert_true(peak[1] - peak[0] >= (LAYERS - 2) * WIDTH * WIDTH * 4);
    sn_arena_free(arena);
}

/* The gradient of the table looks at the ids again, when most weights are new: it fails only where the forward pass did not
 * look at all of them, and then updates wait for it. */
static void faults_come_before_updates(void **state) {
    for (int partly = 0; partly < 2; partly++) {
        Arena *arena = sn_arena_new();
        sn_Program *program = program_of(partly, &(sn_TrainingOptions){0}, *state);
        int backward, update;
        find_border(program->plan, &backward, &update);
        assert_int_equal(update > backward, partly);
        draw_batch(1);
        sn_Context *context = context_of(program, partly);
        assert_ok(sn_context_run(context));
        size_t size, after;
        char *before = copy_states(arena, context, &size);
        int64_t kept = ids[0];
        ids[0] = TABLE;
        assert_fails(sn_context_run(context), SN_FAULT, "an index is out of range");
        char *now = copy_states(arena, context, &after);
        assert_int_equal(after, size);
        assert_memory_equal(now, before, size);
        ids[0] = kept;
        assert_ok(sn_context_run(context));
        sn_context_free(context);
        sn_program_free(program);
        sn_arena_free(arena);
    }
}

/* A gradient that is there before the last reader of its parameter: the update waits for that one. */
static void readers_come_before_updates(void **state) {
    static const char text[] = "graph \"late\" stage fused\n"
                               "input %0 \"x\": f32[4]\n"
                               "input %1 \"w\": f32[4]\n"
                               "%2 = cluster(%0) {kind = map} {\n"
                               "  param %3: f32[4]\n"
                               "  %4 = mul(%3, %3) : f32[4] ; phase backward\n"
                               "  return %4\n"
                               "} : f32[4] ; phase backward\n"
                               "%5 = cluster(%1) {kind = map} {\n"
                               "  param %6: f32[4]\n"
                               "  %7 = mul(%6, %6) : f32[4] ; phase backward\n"
                               "  return %7\n"
                               "} : f32[4] ; phase backward\n"
                               "%8 = cluster(%0, %5) {kind = map} {\n"
                               "  param %9: f32[4]\n"
                               "  param %10: f32[4]\n"
                               "  %11 = mul(%9, %10) : f32[4] ; phase backward\n"
                               "  return %11\n"
                               "} : f32[4] ; phase backward\n"
                               "%12 = cluster(%1, %2) {kind = map} {\n"
                               "  param %13: f32[4]\n"
                               "  param %14: f32[4]\n"
                               "  %15 = sub(%13, %14) : f32[4] ; phase update\n"
                               "  return %15\n"
                               "} : f32[4] ; phase update\n"
                               "output %8 \"y\"\n"
                               "output %12 \"next\"\n";
    (void)state;
    static const Kernel kernel = {.name = "k"};
    Arena *arena = sn_arena_new();
    for (int is_state = 0; is_state < 2; is_state++) {
        Graph *graph = parse_fused(arena, text);
        PlanStep step[4];
        int count = 0, at = 0;
        if (is_state) sn_push(arena, &graph->states, ((GraphState){.name = "w", .input = 1, .result = 1}));
        for (const Node *node = graph->body->first; node; node = node->next)
            step[count++] = (PlanStep){.cluster = node, .kernel = &kernel};
        assert_int_equal(count, 4);
        sn_plan_order(arena, graph, step, count);
        while (step[at].cluster->phase != SN_PHASE_UPDATE) at++;
        assert_int_equal(at, is_state ? 2 : 1); /* behind its gradient, or behind the last reader too */
    }
    sn_arena_free(arena);
}

/* Parts of a run that end before the updates make none of those that lie between. */
static void phases_alone_update_nothing(void **state) {
    Arena *arena = sn_arena_new();
    sn_Program *program = program_of(false, &(sn_TrainingOptions){0}, *state);
    draw_batch(2);
    sn_Context *context = context_of(program, false), *twin = context_of(program, false);
    double seconds[SN_PHASE_COUNT];
    size_t size, after;
    char *before = copy_states(arena, context, &size);
    for (Phase last = SN_PHASE_FORWARD; last < SN_PHASE_UPDATE; last++) {
        assert_ok(sn_context_run_phases(context, last, seconds));
        assert_true(last < SN_PHASE_BACKWARD ? seconds[SN_PHASE_BACKWARD] == 0
                                             : seconds[SN_PHASE_BACKWARD] > 0);
        assert_memory_equal(copy_states(arena, context, &after), before, size);
    }
    /* In phases or at once: the same step. */
    assert_ok(sn_context_run_phases(context, SN_PHASE_UPDATE, seconds));
    assert_true(seconds[SN_PHASE_UPDATE] > 0);
    assert_ok(sn_context_run(twin));
    before = copy_states(arena, twin, &size);
    assert_memory_equal(copy_states(arena, context, &after), before, size);
    sn_context_free(context);
    sn_context_free(twin);
    sn_program_free(program);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_follow_their_gradients),
        cmocka_unit_test(faults_come_before_updates),
        cmocka_unit_test(readers_come_before_updates),
        cmocka_unit_test(phases_alone_update_nothing),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

/* The compile driver: imported graphs through passes, code generation and execution, in both modes, against
 * the interpreter on the imported graph. */
#include "cpu/cpu.h"
#include "eval.h"
#include "execute_fixture.h"
#include "guard.h"
#include "number.h"

static const char rows[] =
    "graph \"rows\" stage imported\n"
    "symbol B at_least 1\n"
    "symbol T at_least 1\n"
    "input %0 \"x\": f32[B, T, 24]\n"
    "%1 \"gain\" = constant {tensor = f32[24] recipe 1 scale 1 offset 1} : f32[24]\n"
    "%2 \"shift\" = constant {tensor = f32[24] recipe 2 scale 1 offset 0} : f32[24]\n"
    "%3 = layer_norm(%0, %1, %2) {axis = 2, epsilon = 1e-05} : f32[B, T, 24] ; group 1\n"
    "%4 = gelu(%3) {tanh = true} : f32[B, T, 24] ; group 2\n"
    "%5 = add(%4, %0) : f32[B, T, 24] ; group 3\n"
    "%6 = softmax(%5) {axis = 2} : f32[B, T, 24] ; group 4\n"
    "output %5 \"y\"\n"
    "output %6 \"p\"\n";

static const char perceptron[] =
    "graph \"perceptron\" stage imported\n"
    "symbol B at_least 1\n"
    "symbol T at_least 1\n"
    "input %0 \"x\": f32[B, T, 24]\n"
    "%1 \"w1\" = constant {tensor = f32[24, 50] recipe 1 scale 0.2 offset 0} : f32[24, 50]\n"
    "%2 \"b1\" = constant {tensor = f32[50] recipe 2 scale 1 offset 0} : f32[50]\n"
    "%3 = matmul(%0, %1) : f32[B, T, 50] ; group 1\n"
    "%4 = add(%3, %2) : f32[B, T, 50] ; group 2\n"
    "%5 = gelu(%4) : f32[B, T, 50] ; group 3\n"
    "%6 \"w2\" = constant {tensor = f32[50, 24] recipe 3 scale 0.2 offset 0} : f32[50, 24]\n"
    "%7 = matmul(%5, %6) : f32[B, T, 24] ; group 4\n"
    "%8 = add(%7, %0) : f32[B, T, 24] ; group 5\n"
    "output %8 \"y\"\n";

typedef struct Case {
    Arena *arena;
    const Graph *imported;
    sn_Program *program;
    sn_Context *context;
} Case;

static Case compile(const char *text, bool eager, const char *cache) {
    Case made = {.arena = sn_arena_new()};
    Graph *graph;
    Plan *plan;
    PipelineOptions options = {.eager = eager, .verify = true};
    assert_ok(sn_graph_parse(made.arena, text, strlen(text), &graph));
    made.imported = graph;
    Arena *arena = sn_arena_new();
    assert_ok(sn_program_open(arena, "cpu", 2, cache, &made.program));
    assert_ok(sn_compile_plan(arena, graph, &made.program->device->target, &options, NULL,
                              &made.program->ledger, &plan));
    assert_ok(sn_program_load(made.program, plan));
    made.context = make_context(made.program, 0);
    return made;
}

static void release(Case *made) {
    sn_context_free(made->context);
    sn_program_free(made->program);
    sn_arena_free(made->arena);
}

static void run_and_compare(const Case *made, int64_t batch, int64_t length) {
    Arena *arena = sn_arena_new();
    int64_t extent[] = {batch, length, 24};
    Array *input = sn_array_new(arena, SN_F32, 3, extent);
    float *x = SN_ARRAY(arena, float, input->count);
    for (int64_t i = 0; i < input->count; i++) input->f[i] = x[i] = (float)sn_random_normal(9, (uint64_t)i);
    const Array *inputs[] = {input};
    Array *expected[4];
    assert_ok(sn_eval_graph(arena, made->imported, false, inputs, expected));
    assert_ok(set_f32(made->context, 0, 3, extent, x));
    assert_ok(sn_context_run(made->context));
    for (int k = 0; k < made->imported->body->result.count; k++) {
        sn_Tensor got;
        assert_ok(sn_context_output(made->context, k, &got));
        assert_int_equal(got.rank, expected[k]->rank);
        for (int64_t i = 0; i < expected[k]->count; i++) {
            double difference = ((const float *)got.data)[i] - expected[k]->f[i], size = expected[k]->f[i];
            if (!(difference * difference <= 1e-10 * (1 + size * size)))
                fail_msg("output %d, element %d: %g is not %g", k, (int)i, ((const float *)got.data)[i],
                         size);
        }
    }
    sn_arena_free(arena);
}

static void check(const char *text, const char *cache) {
    for (int eager = 0; eager < 2; eager++) {
        Case made = compile(text, eager, cache);
        int compiled = made.program->ledger.kernels.compiled;
        run_and_compare(&made, 1, 7);
        run_and_compare(&made, 3, 65);
        run_and_compare(&made, 2, 1);
        assert_int_equal(made.program->ledger.kernels.compiled, compiled);
        release(&made);
    }
}

static void rows_are_normalised(void **state) {
    check(rows, *state);
}

static void products_are_right(void **state) {
    check(perceptron, *state);
}

static void compiled_plans_have_fewer_launches(void **state) {
    Case compiled = compile(rows, false, *state), eager = compile(rows, true, *state);
    assert_true(compiled.program->plan->launch_count < eager.program->plan->launch_count);
    release(&compiled);
    release(&eager);
}

/* ---- exhaustion ---- */

typedef struct Attempt {
    Arena *arena;
    const Graph *graph;
    const Target *target;
    Plan *plan;
} Attempt;

static Status attempt(void *argument) {
    Attempt *at = argument;
    Ledger ledger = {0};
    return sn_compile_plan(at->arena, at->graph, at->target, NULL, NULL, &ledger, &at->plan);
}

/* With ever more memory the compiler fails cleanly until it succeeds. */
static void exhaustion_is_an_error(void **state) {
    Arena *arena = sn_arena_new();
    Graph *graph;
    Target target;
    assert_ok(sn_graph_parse(arena, perceptron, strlen(perceptron), &graph));
    assert_ok(sn_cpu_target(arena, *state, &target));
    int failures = 0;
    for (size_t limit = 0;; limit += limit / 8 + 1000) {
        Attempt at = {sn_arena_new(), graph, &target, NULL};
        sn_arena_limit(at.arena, limit);
        Status status = sn_guarded(at.arena, attempt, &at);
        sn_arena_free(at.arena);
        if (!status) break;
        assert_fails(status, SN_NO_MEMORY, "memory");
        failures++;
    }
    assert_true(failures > 10);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_normalised),
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(compiled_plans_have_fewer_launches),
        cmocka_unit_test(exhaustion_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

/* Which constants of a model are parameters, and gradients of inputs beside them. */
#include "training_fixture.h"

static void assert_refused(const Training *training, const char *part, const char *cache) {
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.training = training};
    assert_ok(sn_program_open(sn_arena_new(), NULL, 1, cache, &program));
    assert_ok(sn_graph_parse(program->arena, regression, strlen(regression), &graph));
    assert_fails(
        sn_compile_plan(program->arena, graph, &program->device->target, &options, NULL, &ledger, &plan),
        SN_INVALID, part);
    sn_program_free(program);
}

static void names_choose_parameters(void **state) {
    static const struct {
        const char *trained, *frozen;
        int count;
    } form[] = {
        {NULL, NULL, 2}, {NULL, "w", 1}, {"*", NULL, 6}, {"scale,b", NULL, 2}, {"*a*", "mask,angles", 1}};
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        Training training = squared();
        training.trained = form[i].trained;
        training.frozen = form[i].frozen;
        training.optimizer = SN_OPTIMIZER_SGD;
        sn_Program *program = program_of(regression, &training, false, 1, *state);
        assert_int_equal(program->plan->hidden_inputs, form[i].count);
        sn_program_free(program);
    }
    Training training = squared();
    training.frozen = "*";
    assert_refused(&training, "no parameters", *state);
    training.frozen = "W,none";
    assert_refused(&training, "to be frozen", *state);
}

/* The gradient by x of the mean square of (x·w + b)·1.5·cos(angle) − t. */
static void gradient_by_x(double *gradient) {
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < 3; k++) {
            gradient[3 * r + k] = 0;
            for (int c = 0; c < 2; c++) {
                double scale = 1.5 * cos((double)(c ? 0.2f : 0.1f)), y = first_model.p[WEIGHTS + c];
                for (int i = 0; i < 3; i++) y += (double)x[3 * r + i] * first_model.p[2 * i + c];
                gradient[3 * r + k] +=
                    (y * scale - (double)target[2 * r + c]) * scale / ROWS * first_model.p[2 * k + c];
            }
        }
}

/* Beside parameters, which are stepped from what they were, and without any. */
static void gradients_of_inputs_are_outputs(void **state) {
    for (int form = 0; form < 4; form++) {
        bool eager = form & 1, alone = form & 2;
        Training training = squared();
        training.inputs = "x";
        if (alone) training.frozen = "w,b";
        sn_Program *program = program_of(regression, &training, eager, 1, *state);
        assert_int_equal(sn_program_output_count(program), 2);
        assert_int_equal(program->plan->graph->states.count > 0, !alone);
        random_batch(3);
        rate = 0.1f;
        sn_Context *context = context_of(program);
        double seconds[SN_PHASE_COUNT], expected[3 * ROWS];
        sn_Tensor got;
        assert_ok(sn_context_run_phases(context, SN_PHASE_FORWARD, seconds));
        assert_fails(sn_context_output(context, 1, &got), SN_INVALID, "later phase");
        gradient_by_x(expected);
        for (Phase last = SN_PHASE_BACKWARD; last < SN_PHASE_COUNT; last++) {
            assert_ok(sn_context_run_phases(context, last, seconds));
            assert_ok(sn_context_output(context, 1, &got));
            assert_int_equal(got.rank, 2);
            for (int i = 0; i < 3 * ROWS; i++)
                assert_near((double)((const float *)got.data)[i], expected[i], 1e-5);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
    Training training = squared();
    training.inputs = "w";
    assert_refused(&training, "an input's of floats", *state);
}

/* y = x·a·aᵀ + c with aᵀ as a matrix of its own, which follows a; and a bias of one element. */
static const char twice[] =
    "graph \"twice\" stage imported\n"
    "symbol N\n"
    "input %0 \"x\": f32[N, 3]\n"
    "%1 \"a\" = constant {tensor = f32[3, 2] (0.5, -1, 0.25, 2, -0.75, 1)} : f32[3, 2]\n"
    "%2 \"turned\" = constant {tensor = f32[2, 3] (0.5, 0.25, -0.75, -1, 2, 1)} : f32[2, 3]\n"
    "%3 \"v\" = constant {tensor = f32[3, 1] (1, 1, 1)} : f32[3, 1]\n"
    "%4 \"c\" = constant {tensor = f32[1] (0.5)} : f32[1]\n"
    "%5 = matmul(%0, %1) : f32[N, 2]\n"
    "%6 = matmul(%5, %2) : f32[N, 3]\n"
    "%7 = matmul(%6, %3) : f32[N, 1]\n"
    "%8 = add(%7, %4) : f32[N, 1]\n"
    "output %8 \"y\"\n";

/* The gradient by a of the mean of (x·a·aᵀ·v + c − t)² over rows, v being ones: that of u·aᵀ·v, u = Σ e·x of the errors e, is
 * u ⊗ aᵀv + v ⊗ aᵀu. */
static void gradient_of_twice(const float *a, double c, double gradient[7]) {
    double u[3] = {0}, au[2] = {0}, av[2] = {0};
    for (int k = 0; k < 7; k++) gradient[k] = 0;
    for (int i = 0; i < 6; i++) av[i % 2] += (double)a[i];
    for (int r = 0; r < ROWS; r++) {
        double y = c - (double)target[r];
        for (int i = 0; i < 6; i++) y += (double)x[3 * r + i / 2] * (double)a[i] * av[i % 2];
        for (int k = 0; k < 3; k++) u[k] += 2 * y / ROWS * (double)x[3 * r + k];
        gradient[6] += 2 * y / ROWS;
    }
    for (int i = 0; i < 6; i++) au[i % 2] += u[i / 2] * (double)a[i];
    for (int i = 0; i < 6; i++) gradient[i] = u[i / 2] * av[i % 2] + au[i % 2];
}

static void a_matrix_and_its_transpose_are_one(void **state) {
    Training training = squared();
    training.optimizer = SN_OPTIMIZER_SGD;
    training.frozen = "v";
    training.decay = 0;
    random_batch(3);
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_of(twice, &training, eager, 1, *state);
        sn_Context *context = make_context(program, 0);
        static const float a[6] = {0.5f, -1, 0.25f, 2, -0.75f, 1};
        double gradient[7];
        sn_Tensor got;
        int copies;
        assert_int_equal(sn_context_state_count(context), 2);
        assert_string_equal(sn_context_state_copies(context, 0, &copies)[0], "turned");
        assert_int_equal(copies, 1);
        sn_context_state_copies(context, 1, &copies);
        assert_int_equal(copies, 0);
        rate = 0.01f;
        assert_ok(set_f32(context, X, 2, (int64_t[]){ROWS, 3}, x));
        assert_ok(set_f32(context, TARGETS, 2, (int64_t[]){ROWS, 1}, target));
        assert_ok(set_f32(context, RATE, 0, NULL, &rate));
        assert_ok(sn_context_run(context));
        gradient_of_twice(a, 0.5, gradient);
        assert_ok(sn_context_state_get(context, state_named(context, "a"), &got));
        for (int i = 0; i < 6; i++)
            assert_near((double)((float *)got.data)[i], (double)a[i] - 0.01 * gradient[i], 1e-6);
        assert_ok(sn_context_state_get(context, state_named(context, "c"), &got));
        assert_near((double)*(float *)got.data, 0.5 - 0.01 * gradient[6], 1e-6);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* Layers that begin with the same symmetric matrix, which is its own transpose. */
static const char symmetric[] = "graph \"symmetric\" stage imported\n"
                                "symbol N\n"
                                "input %0 \"x\": f32[N, 2]\n"
                                "%1 \"a\" = constant {tensor = f32[2, 2] (0.5, -1, -1, 0.25)} : f32[2, 2]\n"
                                "%2 \"b\" = constant {tensor = f32[2, 2] (0.5, -1, -1, 0.25)} : f32[2, 2]\n"
                                "%3 = matmul(%0, %1) : f32[N, 2]\n"
                                "%4 = matmul(%3, %2) : f32[N, 2]\n"
                                "output %4 \"y\"\n";

static void equal_symmetric_matrices_are_two(void **state) {
    Training training = squared();
    training.optimizer = SN_OPTIMIZER_SGD;
    sn_Program *program = program_of(symmetric, &training, false, 1, *state);
    sn_Context *context = make_context(program, 0);
    assert_int_equal(sn_context_state_count(context), 2);
    sn_context_free(context);
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_choose_parameters),
        cmocka_unit_test(gradients_of_inputs_are_outputs),
        cmocka_unit_test(a_matrix_and_its_transpose_are_one),
        cmocka_unit_test(equal_symmetric_matrices_are_two),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

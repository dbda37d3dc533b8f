/* Training steps: parameters as states, optimizers against their formulas, clipping, accumulation, steps that do not
 * count, and what a run that fails leaves. */
#include "execute_fixture.h"
#include "number.h"
#include "training.h"

#include <math.h>

/* y = x·w + b, of which the loss is the mean square of y − targets; a mask, a table of angles and a scale that are no
 * parameters. */
static const char regression[] =
    "graph \"regression\" stage imported\n"
    "symbol N\n"
    "input %0 \"x\": f32[N, 3]\n"
    "%1 \"w\" = constant {tensor = f32[3, 2] (0.5, -1, 0.25, 2, -0.75, 1)} : f32[3, 2]\n"
    "%2 \"b\" = constant {tensor = f32[2] (0.125, 0)} : f32[2]\n"
    "%3 \"angles\" = constant {tensor = f32[2] (0.1, 0.2)} : f32[2]\n"
    "%4 \"scale\" = constant {tensor = f32[1] (1.5)} : f32[1]\n"
    "%12 \"shift\" = constant {tensor = f32[1, 4] (-0.3, -0.2, -0.1, 0)} : f32[1, 4]\n"
    "%5 \"mask\" = constant {tensor = f32[2] (-1e10, -1e9)} : f32[2]\n"
    "%6 = cos(%3) : f32[2]\n"
    "%7 = matmul(%0, %1) : f32[N, 2]\n"
    "%8 = add(%7, %2) : f32[N, 2]\n"
    "%9 = mul(%8, %6) : f32[N, 2]\n"
    "%10 = mul(%9, %4) : f32[N, 2]\n"
    "%11 = max(%10, %5) : f32[N, 2]\n"
    "%13 = reduce_max(%12) {axes = [0, 1]} : f32[1, 1]\n"
    "%14 = add(%11, %13) : f32[N, 2]\n"
    "output %14 \"y\"\n";

enum { X, TARGETS, RATE };
enum { ROWS = 4, WEIGHTS = 6, BIASES = 2, PARAMETERS = WEIGHTS + BIASES };

static sn_Program *autocast_of(const char *text, const Training *training, sn_Autocast autocast, bool eager,
                               int threads, const char *cache) {
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.eager = eager, .verify = true, .training = training, .autocast = autocast};
    assert_ok(sn_program_open(sn_arena_new(), NULL, threads, cache, &program));
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &options, NULL, &ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static sn_Program *program_of(const char *text, const Training *training, bool eager, int threads,
                              const char *cache) {
    return autocast_of(text, training, SN_AUTOCAST_NONE, eager, threads, cache);
}

static Training squared(void) {
    Training training;
    sn_TrainingOptions options = {.size = sizeof options, .loss = SN_LOSS_SQUARED_ERROR};
    assert_ok(sn_training_read(&options, &training));
    return training;
}

/* ---- the same in double precision ---- */

typedef struct Model {
    double p[PARAMETERS], m[PARAMETERS], v[PARAMETERS];
    int64_t step;
} Model;

static const Model first_model = {.p = {0.5, -1, 0.25, 2, -0.75, 1, 0.125, 0}};

static double gradient_of(const Model *model, const float *x, const float *target, double *gradient) {
    double loss = 0;
    for (int i = 0; i < PARAMETERS; i++) gradient[i] = 0;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < 2; c++) {
            double scale = 1.5 * cos((double)(c ? 0.2f : 0.1f)), y = model->p[WEIGHTS + c];
            for (int k = 0; k < 3; k++) y += (double)x[3 * r + k] * model->p[2 * k + c];
            double error = y * scale - (double)target[2 * r + c], slope = 2 * error * scale / (2 * ROWS);
            loss += error * error / (2 * ROWS);
            gradient[WEIGHTS + c] += slope;
            for (int k = 0; k < 3; k++) gradient[2 * k + c] += slope * (double)x[3 * r + k];
        }
    return loss;
}

static void adamw(Model *model, const Training *t, double rate, const double *gradient) {
    model->step++;
    double first = 1 - pow(t->beta1, (double)model->step), second = 1 - pow(t->beta2, (double)model->step);
    for (int i = 0; i < PARAMETERS; i++) {
        double g = gradient[i], *p = &model->p[i], *m = &model->m[i], *v = &model->v[i];
        if (i < WEIGHTS) *p -= rate * t->decay * *p;
        *m = t->beta1 * *m + (1 - t->beta1) * g;
        *v = t->beta2 * *v + (1 - t->beta2) * g * g;
        *p -= rate / first * *m / (sqrt(*v) / sqrt(second) + t->epsilon);
    }
}

static void sgd(Model *model, const Training *t, double rate, const double *gradient) {
    for (int i = 0; i < PARAMETERS; i++) {
        double g = gradient[i] + (i < WEIGHTS ? t->decay * model->p[i] : 0);
        model->m[i] = t->momentum * model->m[i] + g;
        model->p[i] -= rate * (t->nesterov ? g + t->momentum * model->m[i] : model->m[i]);
    }
}

static void clip(const Training *t, double *gradient) {
    double square = 0;
    for (int i = 0; i < PARAMETERS; i++) square += gradient[i] * gradient[i];
    double ratio = t->clip ? t->clip / (sqrt(square) + 1e-6) : 1;
    for (int i = 0; i < PARAMETERS && ratio < 1; i++) gradient[i] *= ratio;
}

/* ---- runs ---- */

static float x[ROWS * 3], target[ROWS * 2], rate;

static void random_batch(uint64_t seed) {
    for (uint64_t i = 0; i < ROWS * 3; i++) x[i] = (float)sn_random_normal(seed, i);
    for (uint64_t i = 0; i < ROWS * 2; i++) target[i] = (float)sn_random_normal(seed + 1000, i);
}

static sn_Context *context_of(const sn_Program *program) {
    sn_Context *context = make_context(program, 0);
    assert_ok(set_f32(context, X, 2, (int64_t[]){ROWS, 3}, x));
    assert_ok(set_f32(context, TARGETS, 2, (int64_t[]){ROWS, 2}, target));
    assert_ok(set_f32(context, RATE, 0, NULL, &rate));
    return context;
}

static double loss_of(const sn_Context *context) {
    sn_Tensor loss;
    assert_ok(sn_context_output(context, 0, &loss));
    assert_int_equal(loss.rank, 0);
    return (double)*(const float *)loss.data;
}

static void assert_near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * (1 + fabs(expected))))
        fail_msg("%.9g is not %.9g", got, expected);
}

static int state_named(const sn_Context *context, const char *name) {
    for (int i = 0; i < sn_context_state_count(context); i++)
        if (strcmp(sn_context_state_name(context, i), name) == 0) return i;
    fail_msg("no state %s", name);
    return -1;
}

static void assert_parameters(sn_Context *context, const Model *model, double tolerance) {
    sn_Tensor w, b;
    assert_ok(sn_context_state_get(context, state_named(context, "w"), &w));
    assert_ok(sn_context_state_get(context, state_named(context, "b"), &b));
    for (int i = 0; i < WEIGHTS; i++) assert_near((double)((const float *)w.data)[i], model->p[i], tolerance);
    for (int i = 0; i < BIASES; i++)
        assert_near((double)((const float *)b.data)[i], model->p[WEIGHTS + i], tolerance);
}

static void steps_follow_the_formula(void **state) {
    Training form[5];
    for (int i = 0; i < 5; i++) form[i] = squared();
    form[1].clip = 0.5;
    form[2].clip = 0.5, form[2].skip = true, form[2].beta1 = 0.8;
    form[3].optimizer = form[4].optimizer = SN_OPTIMIZER_SGD;
    form[4].momentum = 0.9, form[4].nesterov = true, form[4].clip = 1e6;
    for (int i = 0; i < 10; i++) {
        const Training *training = &form[i % 5];
        sn_Program *program = program_of(regression, training, i >= 5, 2, *state);
        assert_int_equal(sn_program_plan(program)->hidden_outputs, training->optimizer == SN_OPTIMIZER_ADAMW
                                                                       ? 7
                                                                   : training->momentum ? 4
                                                                                        : 2);
        sn_Context *context = context_of(program);
        Model model = first_model;
        for (int step = 0; step < 12; step++) {
            double gradient[PARAMETERS];
            random_batch((uint64_t)step);
            rate = 0.05f / (float)(1 + step);
            double expected = gradient_of(&model, x, target, gradient);
            assert_ok(sn_context_run(context));
            assert_near(loss_of(context), expected, 1e-5);
            clip(training, gradient);
            (training->optimizer == SN_OPTIMIZER_ADAMW ? adamw : sgd)(&model, training, (double)rate,
                                                                      gradient);
            assert_parameters(context, &model, 2e-5);
        }
        const Plan *plan = program->plan;
        for (int k = 0; k < plan->state_count; k++)
            if (plan->update[k].launch < 0) fail_msg("state %d: %s", k, plan->update[k].reason);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void gradients_of_several_runs_make_a_step(void **state) {
    Training training = squared();
    training.accumulate = 3;
    sn_Program *program = program_of(regression, &training, false, 1, *state);
    sn_Context *context = context_of(program);
    Model model = first_model;
    double sum[PARAMETERS] = {0}, gradient[PARAMETERS];
    rate = 0.05f;
    for (int run = 1; run <= 9; run++) {
        random_batch((uint64_t)run);
        assert_near((assert_ok(sn_context_run(context)), loss_of(context)),
                    gradient_of(&model, x, target, gradient), 1e-5);
        for (int i = 0; i < PARAMETERS; i++) sum[i] += gradient[i] / 3;
        if (run % 3 == 0) {
            adamw(&model, &training, (double)rate, sum);
            memset(sum, 0, sizeof sum);
        }
        assert_parameters(context, &model, 2e-5);
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void steps_that_are_not_finite_do_not_count(void **state) {
    Training training = squared();
    training.skip = true;
    sn_Program *program = program_of(regression, &training, false, 1, *state);
    sn_Context *context = context_of(program);
    Model model = first_model;
    double gradient[PARAMETERS];
    rate = 0.05f;
    for (int run = 0; run < 6; run++) {
        random_batch((uint64_t)run);
        if (run % 2)
            x[run] = run == 3 ? NAN : INFINITY;
        else
            gradient_of(&model, x, target, gradient), adamw(&model, &training, (double)rate, gradient);
        assert_ok(sn_context_run(context));
        if (run % 2) assert_false(isfinite(loss_of(context)));
        assert_parameters(context, &model, 2e-5);
    }
    sn_Tensor step;
    assert_ok(sn_context_state_get(context, state_named(context, "optimizer.step"), &step));
    assert_int_equal(*(const int64_t *)step.data, 3);
    sn_context_free(context);
    sn_program_free(program);
}

static void states_are_read_and_set(void **state) {
    Training training = squared();
    sn_Program *program = program_of(regression, &training, false, 1, *state);
    sn_Context *context = context_of(program), *other = context_of(program);
    random_batch(1);
    rate = 0.1f;
    assert_parameters(context, &first_model, 0); /* before the first run */
    for (int i = 0; i < 3; i++) assert_ok(sn_context_run(context));
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        assert_ok(sn_context_state_set(other, i, &value));
    }
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_run(other));
    assert_true(loss_of(context) == loss_of(other));
    sn_Tensor wrong = {.element_type = 1, .rank = 1, .extent = (int64_t[]){3}, .data = x};
    assert_fails(sn_context_state_set(other, 0, &wrong), SN_INVALID, "another type");
    assert_fails(sn_context_state_set(other, 99, &wrong), SN_INVALID, "state 99");
    sn_context_reset_states(context);
    assert_parameters(context, &first_model, 0);
    assert_fails(set_f32(context, 3, 1, (int64_t[]){3}, x), SN_INVALID, "input 3 of a model with 3");
    sn_context_free(context);
    sn_context_free(other);
    sn_program_free(program);
}

/* y = x·w of bf16, and the table's rows, twice each: w's and the table's gradients are sums of products. */
static const char half[] =
    "graph \"half\" stage imported\n"
    "input %0 \"x\": f32[4, 3]\n"
    "%1 \"w\" = constant {tensor = bf16[3, 8] recipe 1 scale 1 offset 0} : bf16[3, 8]\n"
    "%2 \"table\" = constant {tensor = bf16[2, 8] recipe 2 scale 1 offset 0} : bf16[2, 8]\n"
    "%3 \"rows\" = constant {tensor = i64[4] (0, 1, 0, 1)} : i64[4]\n"
    "%4 = cast(%0) {to = bf16} : bf16[4, 3]\n"
    "%5 = matmul(%4, %1) : bf16[4, 8]\n"
    "%6 = gather(%2, %3) {axis = 0} : bf16[4, 8]\n"
    "%7 = mul(%5, %6) : bf16[4, 8]\n"
    "%8 = cast(%7) {to = f32} : f32[4, 8]\n"
    "%9 = reduce_sum(%8) {axes = [1]} : f32[4, 1]\n"
    "%10 = view(%9) {extent = [4, 2], index = [i0, 0]} : f32[4, 2]\n"
    "output %10 \"y\"\n";

/* With β1 = 1/2 the first moment of the first step is half the gradient, to the bit. */
static void gradients_of_bf16_are_not_rounded(void **state) {
    Training training = squared();
    training.beta1 = 0.5;
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_of(half, &training, eager, 1, *state);
        sn_Context *context = context_of(program);
        random_batch(3);
        rate = 0.05f;
        assert_ok(sn_context_run(context));
        for (int k = 0; k < 2; k++) {
            sn_Tensor moment;
            const char *name = k ? "optimizer.first_moment.table" : "optimizer.first_moment.w";
            assert_ok(sn_context_state_get(context, state_named(context, name), &moment));
            int count = (int)(moment.extent[0] * moment.extent[1]), finer = 0;
            for (int i = 0; i < count; i++) finer += (((const uint32_t *)moment.data)[i] & 0xffff) != 0;
            assert_true(finer > count / 2);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

enum { HALVES = 24 };

static void read_halves(sn_Context *context, float *out) {
    sn_Tensor w;
    assert_ok(sn_context_state_get(context, state_named(context, "w"), &w));
    for (int i = 0; i < HALVES; i++)
        out[i] = (float)sn_tensor_get(&(Tensor){.dtype = SN_BF16, .count = HALVES, .bytes = w.data}, i);
}

static void assert_copy_near(sn_Context *context, const float *expected) {
    sn_Tensor copy;
    assert_ok(sn_context_state_get(context, state_named(context, "optimizer.master.w"), &copy));
    assert_int_equal(copy.element_type, 1);
    for (int i = 0; i < HALVES; i++)
        assert_near((double)((const float *)copy.data)[i], (double)expected[i], 0.004);
}

/* Steps that are too small for bf16 add up in the copies of f32, and only there. */
static void small_steps_of_bf16_add_up(void **state) {
    enum { STEPS = 64 };
    for (int optimizer = 0; optimizer < 2; optimizer++)
        for (int master = 0; master < 2; master++) {
            Training training = squared();
            training.optimizer = optimizer ? SN_OPTIMIZER_SGD : SN_OPTIMIZER_ADAMW;
            training.decay = 0;
            training.master = master;
            sn_Program *program = program_of(half, &training, false, 1, *state);
            sn_Context *context = context_of(program);
            float before[HALVES], after[HALVES];
            int large = 0, moved = 0;
            read_halves(context, before);
            random_batch(3);
            rate = 1e-4f;
            for (int step = 0; step < STEPS; step++) assert_ok(sn_context_run(context));
            read_halves(context, after);
            for (int i = 0; i < HALVES; i++) {
                if (fabsf(before[i]) < 0.25f) continue; /* bf16 tells smaller ones apart more finely */
                large++;
                moved += after[i] != before[i];
            }
            assert_true(large > HALVES / 3);
            if (master)
                assert_true(moved > large / 2), assert_copy_near(context, after);
            else
                assert_true(moved * 4 < large);
            sn_context_free(context);
            sn_program_free(program);
        }
}

/* A weight that is set is stepped from, whatever its copy was. */
static void a_weight_that_is_set_counts(void **state) {
    Training training = squared();
    sn_Program *program = program_of(half, &training, false, 1, *state);
    sn_Context *context = context_of(program);
    uint16_t set[HALVES];
    float expected[HALVES];
    sn_Tensor w;
    random_batch(3);
    rate = 1e-4f;
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_state_get(context, state_named(context, "w"), &w));
    for (int i = 0; i < HALVES; i++) set[i] = 0x4040, expected[i] = 3;
    w.data = set;
    assert_ok(sn_context_state_set(context, state_named(context, "w"), &w));
    assert_ok(sn_context_run(context));
    assert_copy_near(context, expected);
    sn_context_free(context);
    sn_program_free(program);
}

static void phases_leave_out_updates(void **state) {
    Training training = squared();
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_of(regression, &training, eager, 1, *state);
        sn_Context *context = context_of(program);
        double seconds[SN_PHASE_COUNT];
        random_batch(1);
        rate = 0.1f;
        for (Phase last = SN_PHASE_FORWARD; last < SN_PHASE_COUNT; last++) {
            assert_ok(sn_context_run_phases(context, last, seconds));
            for (Phase phase = SN_PHASE_FORWARD; phase < SN_PHASE_COUNT; phase++)
                assert_true(phase <= last ? seconds[phase] > 0 : seconds[phase] == 0);
            if (last < SN_PHASE_UPDATE) assert_parameters(context, &first_model, 0);
        }
        double before = loss_of(context);
        assert_ok(sn_context_run(context));
        assert_true(loss_of(context) < before);
        sn_context_free(context);
        sn_program_free(program);
    }
}

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

static double float_state(sn_Context *context, const char *name) {
    sn_Tensor state;
    assert_ok(sn_context_state_get(context, state_named(context, name), &state));
    return (double)*(const float *)state.data;
}

/* Weights, gradients and states are those of f32 but for the rounding of the product's operands. */
static void products_of_16_bits_make_steps(void **state) {
    for (int type = SN_AUTOCAST_BF16; type <= SN_AUTOCAST_F16; type++) {
        Training training = squared();
        training.optimizer = SN_OPTIMIZER_SGD, training.decay = 0;
        sn_Program *program = autocast_of(regression, &training, (sn_Autocast)type, false, 1, *state);
        sn_Context *context = context_of(program);
        Model model = first_model;
        double gradient[PARAMETERS], tolerance = type == SN_AUTOCAST_BF16 ? 0x1p-8 : 0x1p-11;
        float scale = 1024; /* with the first one the gradients of this loss overflow */
        if (type == SN_AUTOCAST_F16)
            assert_ok(sn_context_state_set(context, state_named(context, "optimizer.loss_scale"),
                                           &(sn_Tensor){sn_dtype_onnx(SN_F32), 0, NULL, &scale}));
        rate = 0.05f;
        for (int step = 0; step < 5; step++) {
            random_batch((uint64_t)step);
            double expected = gradient_of(&model, x, target, gradient);
            assert_ok(sn_context_run(context));
            assert_near(loss_of(context), expected, 2 * tolerance);
            sgd(&model, &training, (double)rate, gradient);
            assert_parameters(context, &model, tolerance);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* Errors of thousands times the scale are more than f16 holds: it is halved until they are not. */
static void a_scale_that_overflows_is_halved(void **state) {
    Training training = squared();
    sn_Program *program = autocast_of(regression, &training, SN_AUTOCAST_F16, false, 1, *state);
    sn_Context *context = context_of(program);
    double scale = 65536;
    int skipped = 0;
    rate = 0.05f;
    random_batch(1);
    for (int i = 0; i < ROWS * 2; i++) target[i] = 3000;
    for (; skipped < 16; skipped++) {
        assert_ok(sn_context_run(context));
        assert_true(isfinite(loss_of(context)));
        if (float_state(context, "optimizer.loss_scale") == scale) break;
        scale /= 2;
        assert_near(float_state(context, "optimizer.loss_scale"), scale, 0);
        assert_parameters(context, &first_model, 0);
    }
    assert_in_range(skipped, 9, 12);
    assert_true(float_state(context, "w") != 0.5);
    float small = 8;
    int64_t steps = 1999; /* the next one is as many as make it grow */
    assert_ok(sn_context_state_set(context, state_named(context, "optimizer.loss_scale"),
                                   &(sn_Tensor){sn_dtype_onnx(SN_F32), 0, NULL, &small}));
    assert_ok(sn_context_state_set(context, state_named(context, "optimizer.steps_in_scale"),
                                   &(sn_Tensor){sn_dtype_onnx(SN_I64), 0, NULL, &steps}));
    assert_ok(sn_context_run(context));
    assert_near(float_state(context, "optimizer.loss_scale"), 16, 0);
    sn_context_free(context);
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

static void options_are_checked(void **state) {
    (void)state;
    Training training;
    sn_TrainingOptions good = {.size = sizeof good, .weight_decay = -1, .epsilon = 1e-6};
    assert_ok(sn_training_read(&good, &training));
    assert_true(training.decay == 0 && training.beta2 == 0.999 && training.epsilon == 1e-6);
    static const sn_TrainingOptions bad[] = {{.loss = 7},       {.optimizer = 7},
                                             {.beta1 = 1},      {.label_smoothing = 1},
                                             {.clip_norm = -1}, {.accumulate = -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sn_TrainingOptions options = bad[i];
        options.size = sizeof options;
        assert_fails(sn_training_read(&options, &training), SN_INVALID, "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_the_formula),
        cmocka_unit_test(gradients_of_several_runs_make_a_step),
        cmocka_unit_test(steps_that_are_not_finite_do_not_count),
        cmocka_unit_test(states_are_read_and_set),
        cmocka_unit_test(gradients_of_bf16_are_not_rounded),
        cmocka_unit_test(small_steps_of_bf16_add_up),
        cmocka_unit_test(a_weight_that_is_set_counts),
        cmocka_unit_test(phases_leave_out_updates),
        cmocka_unit_test(products_of_16_bits_make_steps),
        cmocka_unit_test(a_scale_that_overflows_is_halved),
        cmocka_unit_test(names_choose_parameters),
        cmocka_unit_test(gradients_of_inputs_are_outputs),
        cmocka_unit_test(a_matrix_and_its_transpose_are_one),
        cmocka_unit_test(equal_symmetric_matrices_are_two),
        cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

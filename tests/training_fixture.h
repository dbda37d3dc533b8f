/* Training steps of a small regression, and the same steps in double precision. */
#ifndef SN_TRAINING_FIXTURE_H
#define SN_TRAINING_FIXTURE_H

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

static inline sn_Program *autocast_of(const char *text, const Training *training, sn_Autocast autocast,
                                      bool eager, int threads, const char *cache) {
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

static inline sn_Program *program_of(const char *text, const Training *training, bool eager, int threads,
                                     const char *cache) {
    return autocast_of(text, training, SN_AUTOCAST_NONE, eager, threads, cache);
}

static inline Training squared(void) {
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

static inline double gradient_of(const Model *model, const float *x, const float *target, double *gradient) {
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

static inline void sgd(Model *model, const Training *t, double rate, const double *gradient) {
    for (int i = 0; i < PARAMETERS; i++) {
        double g = gradient[i] + (i < WEIGHTS ? t->decay * model->p[i] : 0);
        model->m[i] = t->momentum * model->m[i] + g;
        model->p[i] -= rate * (t->nesterov ? g + t->momentum * model->m[i] : model->m[i]);
    }
}

/* ---- runs ---- */

static float x[ROWS * 3], target[ROWS * 2], rate;

static inline void random_batch(uint64_t seed) {
    for (uint64_t i = 0; i < ROWS * 3; i++) x[i] = (float)sn_random_normal(seed, i);
    for (uint64_t i = 0; i < ROWS * 2; i++) target[i] = (float)sn_random_normal(seed + 1000, i);
}

static inline sn_Context *context_of(const sn_Program *program) {
    sn_Context *context = make_context(program, 0);
    assert_ok(set_f32(context, X, 2, (int64_t[]){ROWS, 3}, x));
    assert_ok(set_f32(context, TARGETS, 2, (int64_t[]){ROWS, 2}, target));
    assert_ok(set_f32(context, RATE, 0, NULL, &rate));
    return context;
}

static inline double loss_of(const sn_Context *context) {
    sn_Tensor loss;
    assert_ok(sn_context_output(context, 0, &loss));
    assert_int_equal(loss.rank, 0);
    return (double)*(const float *)loss.data;
}

static inline void assert_near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * (1 + fabs(expected))))
        fail_msg("%.9g is not %.9g", got, expected);
}

static inline int state_named(const sn_Context *context, const char *name) {
    for (int i = 0; i < sn_context_state_count(context); i++)
        if (strcmp(sn_context_state_name(context, i), name) == 0) return i;
    fail_msg("no state %s", name);
    return -1;
}

static inline void assert_parameters(sn_Context *context, const Model *model, double tolerance) {
    sn_Tensor w, b;
    assert_ok(sn_context_state_get(context, state_named(context, "w"), &w));
    assert_ok(sn_context_state_get(context, state_named(context, "b"), &b));
    for (int i = 0; i < WEIGHTS; i++) assert_near((double)((const float *)w.data)[i], model->p[i], tolerance);
    for (int i = 0; i < BIASES; i++)
        assert_near((double)((const float *)b.data)[i], model->p[WEIGHTS + i], tolerance);
}

#endif

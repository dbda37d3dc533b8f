/* Dropout in training: which elements are dropped, that it is the same ones forward and backward, in every way to
 * execute a step and after going on, that the others are scaled, and that what is not trained drops nothing. */
#include "cuda_fixture.h"
#include "number.h"
#include "training.h"

#include <math.h>

enum { ROWS = 23, WIDTH = 37, COUNT = ROWS * WIDTH, SEED = 11 };

/* y = dropout(x·w), whose rows are no whole vectors; a second one says that it never drops. Of x = 1, w = 1 and targets 0
 * the loss is the mean of y², and a step of SGD moves just the weights of elements that were kept. */
static const char model[] =
    "graph \"dropped\" stage imported\n"
    "input %0 \"x\": f32[23, 37]\n"
    "%1 \"w\" = constant {tensor = f32[23, 37] recipe 0 scale 0 offset 1} : f32[23, 37]\n"
    "%2 = mul(%0, %1) : f32[23, 37]\n"
    "%3 = dropout(%2) {ratio = 0.25, number = 0} : f32[23, 37]\n"
    "%4 = dropout(%3) {ratio = 0.5, number = 0, never = true} : f32[23, 37]\n"
    "output %4 \"y\"\n";

static const double kept_share = 0.75, rate_of_learning = 0.5;
static float ones[COUNT], zeros[COUNT], rate = 0.5f;

static Training squared(double dropout) {
    Training training;
    sn_TrainingOptions options = {.size = sizeof options,
                                  .loss = SN_LOSS_SQUARED_ERROR,
                                  .optimizer = SN_SGD,
                                  .dropout = dropout,
                                  .seed = SEED};
    assert_ok(sn_training_read(&options, &training));
    return training;
}

static Status try_program(const char *text, const Training *training, bool eager, const char *device,
                          int threads, const char *cache, sn_Program **program) {
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.eager = eager, .verify = true, .training = training};
    assert_ok(sn_program_open(sn_arena_new(), device, threads, cache, program));
    Arena *arena = (*program)->arena;
    assert_ok(sn_graph_parse(arena, text, strlen(text), &graph));
    TRY(sn_compile_plan(arena, graph, &(*program)->device->target, &options, NULL, &ledger, &plan));
    return sn_program_load(*program, plan);
}

static sn_Context *context_of(const sn_Program *program) {
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < COUNT; i++) ones[i] = 1;
    assert_ok(set_f32(context, 0, 2, (int64_t[]){ROWS, WIDTH}, ones));
    assert_ok(set_f32(context, 1, 2, (int64_t[]){ROWS, WIDTH}, zeros));
    assert_ok(set_f32(context, 2, 0, NULL, &rate));
    return context;
}

static double loss_of(const sn_Context *context) {
    sn_Tensor loss;
    assert_ok(sn_context_output(context, 0, &loss));
    return (double)*(const float *)loss.data;
}

static const float *weights_of(sn_Context *context) {
    static float copy[COUNT];
    sn_Tensor w;
    assert_ok(sn_context_state_get(context, 0, &w));
    memcpy(copy, w.data, sizeof copy);
    return copy;
}

static bool is_kept(int64_t run, int64_t node, int i, double share) {
    uint64_t stream = (uint64_t)run * SN_DROPOUT_NODES + (uint64_t)node;
    return sn_random_word(SEED, stream, (uint64_t)i) >= ldexp(1 - share, 32);
}

/* ---- what a step does ---- */

/* `runs` steps from the state at hand, beside the formula in double precision. */
static void follow(sn_Context *context, double *w, int64_t first, int runs) {
    for (int64_t run = first; run < first + runs; run++) {
        double loss = 0;
        int kept = 0;
        for (int i = 0; i < COUNT; i++) {
            if (!is_kept(run, 1, i, kept_share)) continue;
            double y = w[i] / kept_share;
            kept++;
            loss += y * y / COUNT;
            w[i] -= rate_of_learning * 2 * y / COUNT / kept_share;
        }
        /* four deviations of a binomial distribution */
        assert_true(fabs(kept - kept_share * COUNT) < 4 * sqrt(COUNT * kept_share * (1 - kept_share)));
        assert_ok(sn_context_run(context));
        assert_true(fabs(loss_of(context) - loss) < 1e-5 * (1 + loss));
        const float *got = weights_of(context);
        for (int i = 0; i < COUNT; i++)
            if (!(fabs((double)got[i] - w[i]) < 1e-5))
                fail_msg("run %d, element %d: %g is not %g", (int)run, i, (double)got[i], w[i]);
    }
}

static const struct {
    bool eager;
    const char *device;
    int threads;
} form[] = {{false, NULL, 1}, {false, NULL, 2}, {true, NULL, 2}, {false, "cuda", 2}, {true, "cuda", 2}};

static void every_way_drops_the_same(void **state) {
    Training training = squared(0);
    float first[COUNT];
    for (size_t f = 0; f < sizeof form / sizeof *form; f++) {
        sn_Program *program;
        assert_ok(
            try_program(model, &training, form[f].eager, form[f].device, form[f].threads, *state, &program));
        sn_Context *context = context_of(program);
        double w[COUNT];
        for (int i = 0; i < COUNT; i++) w[i] = 1;
        follow(context, w, 0, 3);
        if (f == 0) memcpy(first, weights_of(context), sizeof first);
        if (memcmp(first, weights_of(context), sizeof first) != 0) fail_msg("form %d has other bits", (int)f);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void what_goes_on_drops_what_was_due(void **state) {
    Training training = squared(0);
    sn_Program *program;
    assert_ok(try_program(model, &training, false, NULL, 1, *state, &program));
    sn_Context *context = context_of(program), *other = context_of(program);
    double w[COUNT];
    for (int i = 0; i < COUNT; i++) w[i] = 1;
    follow(context, w, 0, 2);
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        assert_ok(sn_context_state_set(other, i, &value));
    }
    follow(other, w, 2, 2);
    sn_context_free(context);
    sn_context_free(other);
    sn_program_free(program);
}

static void evaluation_drops_nothing(void **state) {
    Training training = squared(0);
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program;
        assert_ok(try_program(model, &training, eager, NULL, 1, *state, &program));
        sn_Context *context = context_of(program);
        double w[COUNT];
        for (int i = 0; i < COUNT; i++) w[i] = 1;
        assert_ok(sn_context_evaluate(context));
        assert_true(loss_of(context) == 1);
        follow(context, w, 0, 1);
        assert_ok(sn_context_evaluate(context));
        double loss = 0;
        for (int i = 0; i < COUNT; i++) loss += w[i] * w[i] / COUNT;
        assert_true(fabs(loss_of(context) - loss) < 1e-5);
        follow(context, w, 1, 1);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* ---- random nodes ---- */

enum { KEY = 77, STREAM = 5 };

/* y = w + noise, as importers write nodes that draw. */
static const char noisy[] =
    "graph \"noisy\" stage imported\n"
    "input %0 \"x\": f32[23, 37]\n"
    "%1 \"w\" = constant {tensor = f32[23, 37] recipe 0 scale 0 offset 1} : f32[23, 37]\n"
    "%2 = dims {dim = [77], scalar = true} : i64[]\n"
    "%3 = constant {tensor = i64[] (0)} : i64[]\n"
    "%4 = iota {dtype = i64, extent = 851, start = 0, step = 1} : i64[851]\n"
    "%5 = random(%2, %3, %4) {number = 5} : u32[851]\n"
    "%6 = cast(%5) {to = f32} : f32[851]\n"
    "%7 = constant {tensor = f32[] (2.328306437e-10)} : f32[]\n"
    "%8 = mul(%6, %7) : f32[851]\n"
    "%9 = view(%8) {extent = [23, 37], index = [37*i0 + i1]} : f32[23, 37]\n"
    "%10 = mul(%0, %1) : f32[23, 37]\n"
    "%11 = mul(%10, %9) : f32[23, 37]\n"
    "output %11 \"y\"\n";

/* The steps of each run draw anew, forward and backward alike, and by the training's seed too. */
static void each_run_draws_anew(void **state) {
    Training training = squared(0);
    float first[COUNT];
    for (size_t f = 0; f < sizeof form / sizeof *form; f++) {
        sn_Program *program;
        assert_ok(
            try_program(noisy, &training, form[f].eager, form[f].device, form[f].threads, *state, &program));
        sn_Context *context = context_of(program);
        double w[COUNT];
        for (int i = 0; i < COUNT; i++) w[i] = 1;
        for (uint64_t run = 0; run < 2; run++) {
            assert_ok(sn_context_run(context));
            const float *got = weights_of(context);
            for (int i = 0; i < COUNT; i++) {
                uint64_t stream = run * SN_DROPOUT_NODES + STREAM;
                double noise = sn_random_word(KEY + SEED, stream, (uint64_t)i) * 0x1p-32;
                w[i] -= rate_of_learning * 2 * w[i] * noise * noise / COUNT;
                if (!(fabs((double)got[i] - w[i]) < 1e-6)) fail_msg("form %d, element %d", (int)f, i);
            }
        }
        if (f == 0) memcpy(first, weights_of(context), sizeof first);
        if (memcmp(first, weights_of(context), sizeof first) != 0) fail_msg("form %d has other bits", (int)f);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* ---- what is asked for ---- */

static double first_loss(const char *text, double dropout, const char *cache) {
    Training training = squared(dropout);
    sn_Program *program;
    assert_ok(try_program(text, &training, false, NULL, 1, cache, &program));
    sn_Context *context = context_of(program);
    assert_ok(sn_context_run(context));
    double loss = loss_of(context);
    sn_context_free(context);
    sn_program_free(program);
    return loss;
}

static const char always[] =
    "graph \"always\" stage imported\n"
    "input %0 \"x\": f32[23, 37]\n"
    "%1 \"w\" = constant {tensor = f32[23, 37] recipe 0 scale 0 offset 1} : f32[23, 37]\n"
    "%2 = mul(%0, %1) : f32[23, 37]\n"
    "%3 = dropout(%2) {ratio = 0.5, number = 0, always = true} : f32[23, 37]\n"
    "output %3 \"y\"\n";

static void rates_are_for_all_nodes(void **state) {
    double loss = 0;
    for (int i = 0; i < COUNT; i++) loss += is_kept(0, 1, i, 0.5) && is_kept(0, 2, i, 0.5) ? 16.0 / COUNT : 0;
    assert_true(fabs(first_loss(model, 0.5, *state) - loss) < 1e-5 * loss);
    assert_true(first_loss(model, -1, *state) == 1);
    assert_true(fabs(first_loss(always, 0, *state) - 2) < 0.5);
    assert_true(first_loss(always, -1, *state) == 1);
    sn_Program *program;
    assert_fails(try_program(always, NULL, false, NULL, 1, *state, &program), SN_UNSUPPORTED,
                 "outside of a training");
    sn_program_free(program);
}

static void models_run_without(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Graph *graph;
    Target target;
    PipelineOptions options = {.verify = true, .no_dropout = true};
    PipelineResult result = {0};
    Array *x = sn_array_new(arena, SN_F32, 2, (int64_t[]){ROWS, WIDTH}), *y;
    for (int i = 0; i < COUNT; i++) x->f[i] = i;
    sn_target_cpu(&target, 64, 32, 32 << 10, 1 << 20);
    assert_ok(sn_graph_parse(arena, always, strlen(always), &graph));
    assert_ok(sn_pipeline(arena, graph, &target, &options, &result));
    assert_ok(sn_eval_graph(arena, graph, false, (const Array *[]){x}, &y));
    assert_memory_equal(x->f, y->f, COUNT * sizeof *x->f);
    sn_arena_free(arena);
}

static void there_must_be_something_to_drop(void **state) {
    static const char plain[] =
        "graph \"plain\" stage imported\n"
        "input %0 \"x\": f32[23, 37]\n"
        "%1 \"w\" = constant {tensor = f32[23, 37] recipe 0 scale 0 offset 1} : f32[23, 37]\n"
        "%2 = mul(%0, %1) : f32[23, 37]\n"
        "output %2 \"y\"\n";
    Training training = squared(0.1);
    sn_Program *program;
    assert_fails(try_program(plain, &training, false, NULL, 1, *state, &program), SN_INVALID,
                 "no Dropout node");
    sn_program_free(program);
    assert_true(first_loss(plain, 0, *state) == 1);
    sn_TrainingOptions wrong = {.size = sizeof wrong, .dropout = 1};
    assert_fails(sn_training_read(&wrong, &training), SN_INVALID, "dropout of 1");
}

/* ---- attention ---- */

/* A step of attention by the sums of the weights' gradients, where %8 makes the weights out of the softmax's %7. */
#define ATTENTION(weights)                                                                                   \
    "graph \"attention\" stage imported\n"                                                                   \
    "input %0 \"x\": f32[23, 37]\n"                                                                          \
    "%1 \"w\" = constant {tensor = f32[23, 37] recipe 7 scale 1 offset 0} : f32[23, 37]\n"                   \
    "%2 = mul(%0, %1) : f32[23, 37]\n"                                                                       \
    "%3 = view(%2) {extent = [1, 1, 23, 37], index = [i2, i3]} : f32[1, 1, 23, 37]\n"                        \
    "%4 = view(%2) {extent = [1, 1, 37, 23], index = [i3, i2]} : f32[1, 1, 37, 23]\n"                        \
    "%5 = matmul(%3, %4) : f32[1, 1, 23, 23]\n"                                                              \
    "%6 = softmax(%5) {axis = 3} : f32[1, 1, 23, 23]\n"                                                      \
    "%7 = dropout(%6) {ratio = 0.25, number = 0} : f32[1, 1, 23, 23]\n" weights                              \
    "%9 = matmul(%8, %3) : f32[1, 1, 23, 37]\n"                                                              \
    "%10 = view(%9) {extent = [23, 37], index = [0, 0, i0, i1]} : f32[23, 37]\n"                             \
    "output %10 \"y\"\n"

/* Two steps, with the weights dropped in attention's kernels, and with all their numbers stored, which a maximum that
 * changes none of them brings about. */
static void attention_drops_the_same(void **state) {
    static const char *const text[] = {
        ATTENTION("%8 = view(%7) {extent = [1, 1, 23, 23], index = [0, 0, i2, i3]} "
                  ": f32[1, 1, 23, 23]\n"),
        ATTENTION("%11 = constant {tensor = f32[] (-1)} : f32[]\n"
                  "%8 = max(%7, %11) : f32[1, 1, 23, 23]\n")};
    Training training = squared(0);
    float first[COUNT];
    for (size_t f = 0; f < 2 * sizeof form / sizeof *form; f++) {
        sn_Program *program;
        const size_t way = f / 2;
        assert_ok(try_program(text[f % 2], &training, form[way].eager, form[way].device, form[way].threads,
                              *state, &program));
        sn_Context *context = context_of(program);
        for (int run = 0; run < 2; run++) assert_ok(sn_context_run(context));
        const float *got = weights_of(context);
        if (f == 0) memcpy(first, got, sizeof first);
        for (int i = 0; i < COUNT; i++)
            if (!(fabsf(got[i] - first[i]) < 1e-5F))
                fail_msg("form %d, element %d: %g is not %g", (int)f, i, (double)got[i], (double)first[i]);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* ---- equal layers ---- */

static int kernels_of(int layers, const char *cache) {
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    sn_text_add(&text, "graph \"layers\" stage imported\ninput %%0 \"x\": f32[23, 37]\n");
    for (int i = 0, x = 0; i < layers; i++, x = 3 * i) {
        sn_text_add(
            &text,
            "%%%d \"w%d\" = constant {tensor = f32[37, 37] recipe %d scale 0.1 offset 0} : f32[37, 37]\n",
            3 * i + 1, i, i);
        sn_text_add(&text, "%%%d = matmul(%%%d, %%%d) : f32[23, 37]\n", 3 * i + 2, x, 3 * i + 1);
        sn_text_add(&text, "%%%d = dropout(%%%d) {ratio = 0.1, number = 0} : f32[23, 37]\n", 3 * i + 3,
                    3 * i + 2);
    }
    sn_text_add(&text, "output %%%d \"y\"\n", 3 * layers);
    Training training = squared(0);
    sn_Program *program;
    assert_ok(try_program(sn_text_string(&text), &training, false, NULL, 1, cache, &program));
    int count = program->plan->kernel_count;
    sn_program_free(program);
    sn_arena_free(arena);
    return count;
}

static void equal_layers_share_kernels(void **state) {
    assert_int_equal(kernels_of(3, *state), kernels_of(5, *state));
}

/* ---- the mask as an output, and half precision ---- */

static void masks_are_outputs(void **state) {
    static const char masked[] =
        "graph \"masked\" stage imported\n"
        "input %0 \"x\": f32[23, 37]\n"
        "%1 \"w\" = constant {tensor = f32[23, 37] recipe 0 scale 0 offset 1} : f32[23, 37]\n"
        "%2 = mul(%0, %1) : f32[23, 37]\n"
        "%3 = cast(%2) {to = bf16} : bf16[23, 37]\n"
        "%4, %5 = dropout(%3) {ratio = 0.1, number = 0} : bf16[23, 37], bool[23, 37]\n"
        "%6 = cast(%4) {to = f32} : f32[23, 37]\n"
        "%7 = cast(%5) {to = f32} : f32[23, 37]\n"
        "%8 = mul(%6, %7) : f32[23, 37]\n"
        "output %8 \"y\"\n";
    double y = 1.109375, loss = 0; /* 1/0.9 in bf16 */
    for (int i = 0; i < COUNT; i++) loss += is_kept(0, 1, i, 0.9) ? y * y / COUNT : 0;
    assert_true(fabs(first_loss(masked, 0, *state) - loss) < 1e-5);
    assert_true(first_loss(masked, -1, *state) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_drops_the_same),
        cmocka_unit_test(what_goes_on_drops_what_was_due),
        cmocka_unit_test(evaluation_drops_nothing),
        cmocka_unit_test(each_run_draws_anew),
        cmocka_unit_test(rates_are_for_all_nodes),
        cmocka_unit_test(models_run_without),
        cmocka_unit_test(there_must_be_something_to_drop),
        cmocka_unit_test(equal_layers_share_kernels),
        cmocka_unit_test(masks_are_outputs),
        cmocka_unit_test(attention_drops_the_same),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

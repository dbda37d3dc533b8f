/* Random nodes of a file: their moments, that every way to execute them draws the same bits, and what is refused. */
#include "cuda_fixture.h"
#include "frontend_fixture.h"

#include <math.h>

enum { COUNT = 25000, SAMPLES = 5000, F16 = 10 };

typedef struct Moments {
    double mean, deviation, least, most, neighbours; /* correlation of an element and the next */
} Moments;

static Moments moments_of(const float *x, int count) {
    Moments m = {.least = INFINITY, .most = -INFINITY};
    double square = 0, product = 0;
    for (int i = 0; i < count; i++) m.mean += (double)x[i] / count;
    for (int i = 0; i < count; i++) {
        double d = (double)x[i] - m.mean;
        square += d * d / count;
        if (i) product += d * ((double)x[i - 1] - m.mean) / count;
        m.least = fmin(m.least, (double)x[i]);
        m.most = fmax(m.most, (double)x[i]);
    }
    m.deviation = sqrt(square);
    m.neighbours = product / square;
    return m;
}

/* Four deviations of the mean of so many, which a fixed seed either meets or does not. */
static void assert_moments(Moments m, double mean, double deviation) {
    double room = 4 / sqrt(COUNT);
    if (fabs(m.mean - mean) > room * deviation || fabs(m.deviation / deviation - 1) > room ||
        fabs(m.neighbours) > room)
        fail_msg("mean %g, deviation %g, neighbours %g", m.mean, m.deviation, m.neighbours);
}

static void set_float(Model *model, Onnx__NodeProto *node, const char *name, float value) {
    add_attribute(model, node, name, FLOAT)->f = value;
}

static void set_shape(Model *model, Onnx__NodeProto *node) {
    static int64_t shape[2] = {100, COUNT / 100};
    Onnx__AttributeProto *attribute = add_attribute(model, node, "shape", INTS);
    attribute->ints = shape;
    attribute->n_ints = 2;
}

/* One of each, over a tensor of a shape that a run brings along, and classes of the weights 1, 2, 5 and 0. */
static Model *all_kinds(Arena *arena) {
    Model *model = model_new(arena, 17);
    add_input(model, "x", F32, "N,100");
    add_input(model, "scores", F32, "1,4");
    Onnx__NodeProto *node = add_node(model, "RandomUniform", "", "uniform");
    set_shape(model, node);
    set_float(model, node, "low", -1);
    set_float(model, node, "high", 3);
    node = add_node(model, "RandomNormal", "", "normal");
    set_shape(model, node);
    set_float(model, node, "mean", 1);
    set_float(model, node, "scale", 2);
    add_node(model, "RandomNormalLike", "x", "like");
    set_float(model, add_node(model, "RandomUniformLike", "x", "seeded"), "seed", 3);
    set_float(model, add_node(model, "RandomUniformLike", "x", "again"), "seed", 3);
    add_node(model, "Bernoulli", "x", "coin");
    node = add_node(model, "Multinomial", "scores", "classes");
    add_attribute(model, node, "sample_size", INT)->i = SAMPLES;
    const char *const outputs[] = {"uniform", "normal", "like", "seeded", "again", "coin", "classes"};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) add_output(model, outputs[i]);
    return model;
}

enum { UNIFORM, NORMAL, LIKE, SEEDED, AGAIN, COIN, CLASSES, OUTPUTS };

static const struct {
    bool eager;
    const char *device;
    int threads;
} form[] = {{false, NULL, 1}, {false, NULL, 2}, {true, NULL, 2}, {false, "cuda", 2}, {true, "cuda", 2}};

typedef struct Drawn {
    float number[CLASSES][COUNT];
    int32_t class[SAMPLES];
} Drawn;

static void run(const Graph *imported, size_t f, const char *cache, Drawn *out) {
    static float x[COUNT], scores[4];
    sn_Program *program;
    Plan *plan;
    Ledger ledger = {0};
    PipelineOptions options = {.eager = form[f].eager, .verify = true};
    assert_ok(sn_program_open(sn_arena_new(), form[f].device, form[f].threads, cache, &program));
    assert_ok(
        sn_compile_plan(program->arena, imported, &program->device->target, &options, NULL, &ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < COUNT; i++) x[i] = 0.25F;
    for (int i = 0; i < 4; i++) scores[i] = logf((float[]){1, 2, 5, 0}[i]);
    assert_ok(set_f32(context, 0, 2, (int64_t[]){COUNT / 100, 100}, x));
    assert_ok(set_f32(context, 1, 2, (int64_t[]){1, 4}, scores));
    for (int again = 0; again < 2; again++) assert_ok(sn_context_run(context));
    for (int k = 0; k < OUTPUTS; k++) {
        sn_Tensor got;
        assert_ok(sn_context_output(context, k, &got));
        if (k == CLASSES)
            memcpy(out->class, got.data, sizeof out->class);
        else
            memcpy(out->number[k], got.data, sizeof *out->number);
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void check_moments(const Drawn *drawn) {
    Moments uniform = moments_of(drawn->number[UNIFORM], COUNT),
            seeded = moments_of(drawn->number[SEEDED], COUNT);
    assert_moments(uniform, 1, 4 / sqrt(12));
    assert_true(uniform.least >= -1 && uniform.most < 3);
    assert_moments(moments_of(drawn->number[NORMAL], COUNT), 1, 2);
    assert_moments(moments_of(drawn->number[LIKE], COUNT), 0, 1);
    assert_moments(seeded, 0.5, 1 / sqrt(12));
    assert_true(seeded.least >= 0 && seeded.most < 1);
    assert_moments(moments_of(drawn->number[COIN], COUNT), 0.25, sqrt(0.25 * 0.75));
    assert_memory_equal(drawn->number[SEEDED], drawn->number[AGAIN], sizeof *drawn->number);
    double count[4] = {0}, share[4] = {0.125, 0.25, 0.625, 0};
    for (int i = 0; i < SAMPLES; i++) count[drawn->class[i] & 3]++;
    for (int k = 0; k < 4; k++)
        assert_true(fabs(count[k] / SAMPLES - share[k]) <= 4 * sqrt(share[k] * (1 - share[k]) / SAMPLES));
}

/* The words are the same everywhere; what is computed of them with functions is, where these are the same code. */
static void every_way_draws_the_same(void **state) {
    Fixture fixture = {.arena = sn_arena_new()};
    snprintf(fixture.folder, sizeof fixture.folder, "%s", (const char *)*state);
    Graph *graph;
    loaded(&fixture, all_kinds(fixture.arena), &graph);
    Drawn *first = SN_NEW(fixture.arena, Drawn), *other = SN_NEW(fixture.arena, Drawn);
    run(graph, 0, *state, first);
    check_moments(first);
    for (size_t f = 1; f < sizeof form / sizeof *form; f++) {
        run(graph, f, *state, other);
        assert_memory_equal(other->class, first->class, sizeof first->class);
        for (int k = 0; k < CLASSES; k++)
            for (int i = 0; i < COUNT; i++) {
                double a = (double)first->number[k][i], b = (double)other->number[k][i];
                bool functions = form[f].device && (k == NORMAL || k == LIKE);
                if (!(fabs(a - b) <= (functions ? 2e-6 * (1 + fabs(a)) : 0)))
                    fail_msg("form %d, output %d, element %d: %g is not %g", (int)f, k, i, b, a);
            }
    }
    sn_arena_free(fixture.arena);
}

/* The interpreter draws them too; types that a node names. */
static void types_are_the_nodes(void **state) {
    Fixture fixture = {.arena = sn_arena_new()};
    snprintf(fixture.folder, sizeof fixture.folder, "%s", (const char *)*state);
    Graph *graph;
    Model *model = model_new(fixture.arena, 22);
    add_input(model, "x", F32, "4,8");
    add_attribute(model, add_node(model, "Bernoulli", "x", "b"), "dtype", INT)->i = I32;
    add_attribute(model, add_node(model, "RandomNormalLike", "x", "n"), "dtype", INT)->i = F16;
    add_output(model, "b");
    add_output(model, "n");
    loaded(&fixture, model, &graph);
    assert_int_equal(graph->body->result.at[0]->type.dtype, SN_I32);
    assert_int_equal(graph->body->result.at[1]->type.dtype, SN_F16);
    Array *x = sn_array_new(fixture.arena, SN_F32, 2, (int64_t[]){4, 8}), *out[2];
    for (int i = 0; i < 32; i++) x->f[i] = i % 2;
    assert_ok(sn_eval_graph(fixture.arena, graph, false, (const Array *const[]){x}, out));
    for (int i = 0; i < 32; i++) assert_int_equal(out[0]->i[i], i % 2);
    for (int i = 1; i < 32; i++) assert_true(out[1]->f[i] != out[1]->f[i - 1]);
    model = model_new(fixture.arena, 17);
    add_attribute(model, add_node(model, "RandomNormal", "", "y"), "dtype", INT)->i = FLOAT;
    add_output(model, "y");
    refused(&fixture, model, SN_INVALID, "shape", NULL);
    model->node[0]->attribute[0]->i = I32;
    set_shape(model, model->node[0]);
    refused(&fixture, model, SN_INVALID, "random floats as i32", NULL);
    sn_arena_free(fixture.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_draws_the_same),
        cmocka_unit_test(types_are_the_nodes),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

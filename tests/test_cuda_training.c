/* Training steps on the device `cuda` beside the interpreter's: gradients and ten steps of small whole models, runs in phases,
 * states that are read and set, and what is left of them when a run fails. */
#include "cuda_fixture.h"
#include "number.h"
#include "training.h"
#include "zoo.h"

#include <math.h>

/* Of LENGTH the products of the forward part are too small for the library, of LONG they are not. */
enum { BATCH = 2, LENGTH = 7, LONG = 8, TOKENS = BATCH * LONG, VOCABULARY = 24, STEPS = 10 };

static const ZooOptions sizes = {.layers = 1,
                                 .d_model = 16,
                                 .heads = 2,
                                 .kv_heads = 1,
                                 .d_ff = 24,
                                 .vocab = VOCABULARY,
                                 .context = 24,
                                 .opset = 17,
                                 .dtype = SN_F32};

static int64_t ids[TOKENS], labels[TOKENS];
static float rate = 1e-2f;

static void draw_tokens(void) {
    for (uint64_t i = 0; i < TOKENS; i++) {
        ids[i] = (int64_t)(sn_random_uniform(1, i) * VOCABULARY);
        labels[i] = (int64_t)(sn_random_uniform(2, i) * 16);
    }
}

static sn_Model *make_model(const char *kind, const char *folder) {
    Arena *arena = sn_arena_new();
    Writer *writer;
    sn_Model *model;
    assert_non_null(arena);
    assert_ok(sn_zoo_build(arena, kind, &sizes, &writer));
    const char *path = sn_arena_printf(arena, "%s/%s.onnx", folder, kind);
    assert_ok(sn_writer_save(writer, path, false, NULL, NULL));
    assert_ok(sn_model_open(path, &model));
    sn_arena_free(arena);
    return model;
}

typedef struct Side {
    sn_Program *program;
    sn_Context *context;
} Side;

/* Tokens, labels and the learning rate by name; what else a model asks for is a mask of ones or kinds that are zero. */
static void set_inputs(const sn_Program *program, sn_Context *context, int length) {
    const int64_t extent[2] = {BATCH, length};
    static int64_t zeros[TOKENS];
    static float ones[TOKENS];
    for (int i = 0; i < TOKENS; i++) ones[i] = 1;
    for (int i = 0; i < sn_program_input_count(program); i++) {
        sn_TensorInfo info = sn_program_input(program, i);
        bool is_ids = strcmp(info.name, "input_ids") == 0, is_labels = strcmp(info.name, "labels") == 0;
        if (info.element_type == 7)
            assert_ok(set_i64(context, i, 2, extent, is_ids ? ids : is_labels ? labels : zeros));
        else
            assert_ok(set_f32(context, i, info.rank, extent, info.rank ? ones : &rate));
    }
}

static Side open_side(const sn_Model *model, sn_Mode mode, double clip, const char *cache) {
    Side side;
    sn_CompileOptions options = {
        .size = sizeof options, .device = "cuda", .mode = mode, .threads = 2, .cache_dir = cache};
    sn_TrainingOptions training = {.size = sizeof training,
                                   .loss = SN_LOSS_CLASSES,
                                   .weight_decay = 0.1,
                                   .clip_norm = clip,
                                   .skip_nonfinite = clip > 0};
    assert_ok(sn_compile_training(model, &options, &training, &side.program));
    assert_ok(sn_context_new(side.program, NULL, &side.context));
    set_inputs(side.program, side.context, LENGTH);
    return side;
}

static void close_side(Side *side) {
    sn_context_free(side->context);
    sn_program_free(side->program);
}

static double run_step(sn_Context *context) {
    sn_Tensor loss;
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_output(context, 0, &loss));
    return (double)*(const float *)loss.data;
}

static int64_t count_of(const sn_Tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->extent[i];
    return count;
}

/* ---- the same as in double precision ---- */

/* The same step by the interpreter, whose states are arrays that a step replaces. */
typedef struct Reference {
    Arena *arena;
    const Graph *graph;
    const Array **input;
    Array **output;
} Reference;

static Array *array_of(Arena *arena, const InputSlot *slot, Type type) {
    Array *array = sn_array_new(arena, type.dtype, type.rank, slot->extent);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->f) array->f[i] = (double)((const float *)slot->data)[i];
        if (array->i) array->i[i] = ((const int64_t *)slot->data)[i];
    }
    return array;
}

static Reference new_reference(const Side *side) {
    Reference r = {.arena = sn_arena_new(), .graph = side->program->plan->graph};
    const Region *body = r.graph->body;
    r.input = SN_ARRAY(r.arena, const Array *, body->param.count);
    r.output = SN_ARRAY(r.arena, Array *, body->result.count);
    for (int i = 0; i < sn_program_input_count(side->program); i++)
        r.input[i] = array_of(r.arena, &side->context->input[i], body->param.at[i]->type);
    for (int i = 0; i < r.graph->states.count; i++)
        r.input[r.graph->states.at[i].input] = sn_array_of_tensor(r.arena, r.graph->states.at[i].initial);
    return r;
}

/* The loss before the step. */
static double reference_step(Reference *r) {
    assert_ok(sn_eval_graph(r->arena, r->graph, false, r->input, r->output));
    for (int i = 0; i < r->graph->states.count; i++)
        r->input[r->graph->states.at[i].input] = r->output[r->graph->states.at[i].result];
    return r->output[0]->f[0];
}

static double root_mean_square(const Array *array) {
    double sum = 0;
    for (int64_t i = 0; i < array->count; i++) sum += array->f[i] * array->f[i];
    return sqrt(sum / (double)array->count);
}

/* The first moments behind the first step are a tenth of the gradients. What is left by rounding of one that is zero is
 * held against the largest one. */
static void compare_gradients(const Reference *r, sn_Context *context) {
    double largest = 0;
    int compared = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < r->graph->states.count; i++) {
            const char *name = sn_context_state_name(context, i);
            const Array *expected = r->input[r->graph->states.at[i].input];
            if (!strstr(name, "first_moment")) continue;
            double size = root_mean_square(expected);
            largest = fmax(largest, size);
            if (pass == 0) continue;
            sn_Tensor got;
            assert_ok(sn_context_state_get(context, i, &got));
            for (int64_t k = 0; k < expected->count; k++, compared++) {
                double x = expected->f[k], y = (double)((float *)got.data)[k];
                if (!(fabs(x - y) <= 1e-4 * fmax(size, largest / 100)))
                    fail_msg("%s, element %d: %.9g is not %.9g", name, (int)k, y, x);
            }
        }
    assert_true(compared > 1000);
}

/* The slope of GELU and the gradient of the bias before it are one product's, and other biases' gradients those of others. */
static void has_epilogues(const Plan *plan) {
    int slopes = 0, sums = 0;
    for (int i = 0; i < plan->launch_count; i++) {
        const PlanProduct *product = plan->launch[i].product;
        if (!product || !product->full) continue;
        slopes += product->full->form->epilogue == SN_LIBRARY_GELU_SLOPE;
        sums += product->full->form->sum_of != SN_LIBRARY_NO_SUM;
    }
    assert_true(slopes == 1 && sums > 2);
}

static void follow(const char *kind, bool eager, double clip, int length, const char *cache) {
    const char *only = getenv("SN_MODELS");
    if (only && strcmp(only, kind) != 0) return;
    sn_Model *model = make_model(kind, cache);
    Side side = open_side(model, eager ? SN_EAGER : SN_COMPILED, clip, cache);
    if (length == LONG) has_epilogues(side.program->plan);
    set_inputs(side.program, side.context, length);
    Reference reference = new_reference(&side);
    double first = 0;
    for (int step = 0; step < STEPS; step++) {
        double expected = reference_step(&reference), loss = run_step(side.context);
        if (!(fabs(loss - expected) <= 1e-4 * (1 + fabs(expected))))
            fail_msg("%s, step %d: a loss of %.9g is not %.9g", kind, step, loss, expected);
        if (step == 0) compare_gradients(&reference, side.context);
        if (step == 0) first = loss;
        if (step == STEPS - 1) assert_true(loss < first - 0.1);
    }
    sn_arena_free(reference.arena);
    close_side(&side);
    sn_model_close(model);
}

static void steps_follow_double_precision(void **state) {
    follow("gpt2", false, 0, LONG, *state);
    follow("llama", false, 0.5, LENGTH, *state);
    follow("bert", true, 0, LENGTH, *state);
}

/* ---- states ---- */

/* The bytes of all states, one after the other; malloc. */
static char *copy_states(sn_Context *context, size_t *size) {
    char *bytes = NULL;
    *size = 0;
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        size_t more = (size_t)count_of(&value) * (value.element_type == 7 ? 8 : 4);
        bytes = realloc(bytes, *size + more);
        assert_non_null(bytes);
        memcpy(bytes + *size, value.data, more);
        *size += more;
    }
    return bytes;
}

static void assert_states(sn_Context *context, const char *expected, size_t expected_size) {
    size_t size;
    char *bytes = copy_states(context, &size);
    assert_int_equal(size, expected_size);
    assert_memory_equal(bytes, expected, size);
    free(bytes);
}

/* As a checkpoint does it: another context goes on with the same bits. */
static void states_are_read_and_set(void **state) {
    sn_Model *model = make_model("llama", *state);
    Side side = open_side(model, SN_COMPILED, 0.5, *state);
    sn_Context *other = make_context(side.program, 0);
    set_inputs(side.program, other, LENGTH);
    for (int i = 0; i < 3; i++) run_step(side.context);
    for (int i = 0; i < sn_context_state_count(other); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(side.context, i, &value));
        assert_ok(sn_context_state_set(other, i, &value));
    }
    for (int i = 0; i < 4; i++) assert_true(run_step(side.context) == run_step(other));
    size_t size;
    char *bytes = copy_states(side.context, &size);
    assert_states(other, bytes, size);
    free(bytes);
    const Plan *plan = side.program->plan;
    for (int i = 0; i < plan->state_count; i++)
        if (plan->update[i].launch < 0) fail_msg("state %d: %s", i, plan->update[i].reason);
    sn_context_free(other);
    close_side(&side);
    sn_model_close(model);
}

static void a_saved_step_goes_on_to_the_same_bits(void **state) {
    sn_Model *model = make_model("gpt2", *state);
    Side side = open_side(model, SN_COMPILED, 0, *state), loaded;
    char file[96];
    snprintf(file, sizeof file, "%s/step.sinter", (const char *)*state);
    assert_ok(sn_program_save(side.program, file));
    assert_ok(sn_program_open_file(file, NULL, &loaded.program));
    loaded.context = make_context(loaded.program, 0);
    set_inputs(loaded.program, loaded.context, LENGTH);
    for (int i = 0; i < 3; i++) assert_true(run_step(side.context) == run_step(loaded.context));
    size_t size;
    char *bytes = copy_states(side.context, &size);
    assert_states(loaded.context, bytes, size);
    free(bytes);
    close_side(&loaded);
    close_side(&side);
    sn_model_close(model);
}

/* Phases of their own leave the states alone; what is recorded of them too. */
static void phases_leave_out_updates(void **state) {
    sn_Model *model = make_model("llama", *state);
    Side side = open_side(model, SN_COMPILED, 0.5, *state);
    double seconds[SN_PHASE_COUNT], first = run_step(side.context);
    size_t size;
    char *bytes = copy_states(side.context, &size);
    for (int run = 0; run < 3; run++)
        for (Phase last = SN_PHASE_FORWARD; last < SN_PHASE_UPDATE; last++) {
            assert_ok(sn_context_run_phases(side.context, last, seconds));
            for (Phase phase = SN_PHASE_FORWARD; phase < SN_PHASE_COUNT; phase++)
                assert_true(phase <= last ? seconds[phase] > 0 : seconds[phase] == 0);
            assert_states(side.context, bytes, size);
        }
    assert_true(run_step(side.context) < first);
    free(bytes);
    close_side(&side);
    sn_model_close(model);
}

/* ---- failures ---- */

/* A fault of the data ends a run before any update, launched or replayed; the next step is what it would have been. */
static void faults_leave_the_states(void **state) {
    sn_Model *model = make_model("llama", *state);
    Side side = open_side(model, SN_COMPILED, 0.5, *state), twin = open_side(model, SN_COMPILED, 0.5, *state);
    for (int run = 0; run < 4; run++) {
        size_t size;
        char *bytes = copy_states(side.context, &size);
        int64_t kept = ids[3];
        ids[3] = VOCABULARY;
        assert_fails(sn_context_run(side.context), SN_FAULT, "an index is out of range");
        assert_states(side.context, bytes, size);
        ids[3] = kept;
        free(bytes);
        assert_true(run_step(side.context) == run_step(twin.context));
    }
    close_side(&side);
    close_side(&twin);
    sn_model_close(model);
}

/* A loss that is not finite updates nothing, as the options say. */
static void steps_that_are_not_finite_do_not_count(void **state) {
    sn_Model *model = make_model("llama", *state);
    Side side = open_side(model, SN_COMPILED, 0.5, *state);
    size_t size;
    sn_Tensor weight;
    assert_true(isfinite(run_step(side.context)));
    assert_ok(sn_context_state_get(side.context, 0, &weight));
    ((float *)weight.data)[5 % count_of(&weight)] = INFINITY;
    assert_ok(sn_context_state_set(side.context, 0, &weight));
    char *bytes = copy_states(side.context, &size);
    for (int run = 0; run < 3; run++) {
        assert_false(isfinite(run_step(side.context)));
        assert_states(side.context, bytes, size);
    }
    free(bytes);
    close_side(&side);
    sn_model_close(model);
}

/* The last launch of a step, which is an update, is refused: what it leaves is of no use, which is said until the states are
 * new. A recording that fails has run nothing. */
static void states_are_lost_where_updates_fail(void **state) {
    if (on_gpu()) skip();
    sn_Model *model = make_model("llama", *state);
    Side side = open_side(model, SN_COMPILED, 0.5, *state), twin = open_side(model, SN_COMPILED, 0.5, *state);
    double first = run_step(side.context);
    size_t size;
    char what[32], *bytes = copy_states(side.context, &size);
    plant("capture=1");
    assert_fails(sn_context_run(side.context), SN_DEVICE, "recording a run");
    plant("");
    assert_states(side.context, bytes, size);
    assert_true(run_step(twin.context) == first && run_step(side.context) == run_step(twin.context));
    assert_ok(sn_profile_enable(side.context)); /* its runs are not recorded */
    Status status = NULL;
    for (int n = 3 * side.program->plan->launch_count; !status && n > 0; n--) {
        snprintf(what, sizeof what, "refuse=%d", n);
        plant(what);
        status = sn_context_run(side.context);
    }
    plant("");
    assert_fails(status, SN_DEVICE, "cuLaunchKernel");
    sn_Tensor value;
    assert_fails(sn_context_run(side.context), SN_INVALID, "has updated a part of the states");
    assert_fails(sn_context_state_get(side.context, 0, &value), SN_INVALID, "they have to be reset");
    sn_context_reset_states(side.context);
    assert_true(run_step(side.context) == first);
    free(bytes);
    close_side(&side);
    close_side(&twin);
    sn_model_close(model);
}

/* A kernel that traps takes the states with it. */
static void a_lost_device_is_said(void **state) {
    if (on_gpu()) skip();
    sn_Model *model = make_model("llama", *state);
    Side side = open_side(model, SN_COMPILED, 0.5, *state);
    sn_Tensor value;
    run_step(side.context);
    plant("launch=7");
    assert_fails(sn_context_run(side.context), SN_DEVICE, "context is lost");
    plant("");
    Status status = sn_context_state_get(side.context, 0, &value);
    assert_true(status != NULL);
    sn_error_free(status);
    sn_context_reset_states(side.context);
    assert_fails(sn_context_run(side.context), SN_DEVICE, "context is lost");
    close_side(&side);
    sn_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_double_precision),
        cmocka_unit_test(states_are_read_and_set),
        cmocka_unit_test(a_saved_step_goes_on_to_the_same_bits),
        cmocka_unit_test(phases_leave_out_updates),
        cmocka_unit_test(faults_leave_the_states),
        cmocka_unit_test(steps_that_are_not_finite_do_not_count),
        cmocka_unit_test(states_are_lost_where_updates_fail),
        cmocka_unit_test(a_lost_device_is_said),
    };
    draw_tokens();
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

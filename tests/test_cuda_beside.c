/* Updates of parameters beside the rest of a training step: what runs at once never touches the same bytes, which the
 * emulator finds, and the bits are those of launches one after the other. */
#include "beside.h"
#include "cuda_fixture.h"
#include "training.h"

#include <pthread.h>

enum { ROWS = 5, INPUTS = 6, OUTPUTS = 4, STEPS = 5, BYTES_MOST = 1 << 14 };

static void add_weight(Text *text, int number, const char *shape, int count) {
    sn_text_add(text, "%%%d \"w%d\" = constant {tensor = f32%s (", number, number, shape);
    for (int i = 0; i < count; i++) sn_text_add(text, "%s%g", i ? ", " : "", 0.125 * (i % 7) - 0.25);
    sn_text_add(text, ")} : f32%s\n", shape);
}

/* Three layers, so that the update of one can run while the gradient of another is computed; nothing can fail. */
static const char *layers(Arena *arena) {
    Text text = sn_text(arena);
    sn_text_add(&text, "graph \"layers\" stage imported\nsymbol N\ninput %%0 \"x\": f32[N, 6]\n");
    add_weight(&text, 1, "[6, 8]", 48);
    add_weight(&text, 2, "[8, 8]", 64);
    add_weight(&text, 3, "[8, 4]", 32);
    sn_text_add(&text, "%%4 = matmul(%%0, %%1) : f32[N, 8]\n%%5 = tanh(%%4) : f32[N, 8]\n"
                       "%%6 = matmul(%%5, %%2) : f32[N, 8]\n%%7 = tanh(%%6) : f32[N, 8]\n"
                       "%%8 = matmul(%%7, %%3) : f32[N, 4]\noutput %%8 \"y\"\n");
    return sn_text_string(&text);
}

static float x[ROWS * INPUTS], targets[ROWS * OUTPUTS], rate = 1e-2f;

typedef struct Side {
    sn_Program *program;
    sn_Context *context;
} Side;

static sn_Program *open_program(const char *cache) {
    sn_Program *program = open_device(cache);
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    Training training;
    sn_TrainingOptions options = {.size = sizeof options, .loss = SN_LOSS_SQUARED_ERROR};
    assert_ok(sn_training_read(&options, &training));
    PipelineOptions pipeline = {.verify = true, .training = &training};
    const char *text = layers(program->arena);
    assert_ok(sn_graph_parse(program->arena, text, strlen(text), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &pipeline, NULL, &ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static Side open_side(const char *cache, bool timed) {
    const int64_t in[2] = {ROWS, INPUTS}, out[2] = {ROWS, OUTPUTS};
    Side side = {.program = open_program(cache)};
    side.context = make_context(side.program, 0);
    if (timed) assert_ok(sn_profile_enable(side.context)); /* one launch after the other */
    for (int i = 0; i < ROWS * INPUTS; i++) x[i] = (float)(i % 7) * 0.25f - 0.5f;
    for (int i = 0; i < ROWS * OUTPUTS; i++) targets[i] = (float)(i % 5) * 0.5f - 1;
    assert_ok(set_f32(side.context, 0, 2, in, x));
    assert_ok(set_f32(side.context, 1, 2, out, targets));
    assert_ok(set_f32(side.context, 2, 0, NULL, &rate));
    return side;
}

static void close_side(Side *side) {
    sn_context_free(side->context);
    sn_program_free(side->program);
}

static size_t copy_states(sn_Context *context, char *bytes) {
    size_t size = 0;
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        size_t more = value.element_type == 7 ? 8 : 4;
        for (int k = 0; k < value.rank; k++) more *= (size_t)value.extent[k];
        assert_true(size + more <= BYTES_MOST);
        memcpy(bytes + size, value.data, more);
        size += more;
    }
    return size;
}

/* The first step is launched, the second one recorded, the others replayed. */
static void follow(const char *cache, const char *setting) {
    static char bytes[BYTES_MOST], expected[BYTES_MOST];
    plant(setting);
    Side side = open_side(cache, false), twin = open_side(cache, true);
    for (int step = 0; step < STEPS; step++) {
        assert_ok(sn_context_run(side.context));
        assert_ok(sn_context_run(twin.context));
        size_t size = copy_states(side.context, bytes);
        assert_int_equal(copy_states(twin.context, expected), size);
        assert_memory_equal(bytes, expected, size);
    }
    close_side(&side);
    close_side(&twin);
}

static void the_bits_are_those_of_one_lane(void **state) {
    follow(*state, "races=1");
    follow(*state, "races=1,captured_order=1");
}

/* How often one lane waits for the other in a step of the program's plan; the first one never does before the end. */
static int count_waits(const Side *side, bool *joined) {
    const sn_Context *context = side->context;
    const Plan *plan = side->program->plan;
    BesideStep step[64];
    int waits = 0, last;
    assert_true(plan->launch_count <= 64);
    assert_true(sn_beside_schedule(plan, context->address, context->binding->dim, plan->setup_count,
                                   plan->launch_count, step, &last));
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        waits += step[i].await >= 0;
        assert_true(step[i].await < 0 || step[i].lane == 1);
    }
    *joined = last >= 0;
    return waits + (last >= 0);
}

/* Each wait that is left out shows: as a race, or, when it is the last one, as a recording that is not whole. The first
 * one is for what was there before the step, for which the host has waited. */
static void a_wait_that_is_missing_is_found(void **state) {
    if (on_gpu()) skip();
    bool joined;
    plant("races=1");
    Side side = open_side(*state, false);
    assert_ok(sn_context_run(side.context));
    int waits = count_waits(&side, &joined);
    close_side(&side);
    assert_true(joined && waits >= 3);
    for (int recorded = 0; recorded < 2; recorded++)
        for (int n = 2; n < waits + recorded; n++) {
            char what[64];
            plant("races=1");
            side = open_side(*state, false);
            if (recorded) assert_ok(sn_context_run(side.context));
            snprintf(what, sizeof what, "races=1,wait=%d", n);
            plant(what);
            Status status = sn_context_run(side.context);
            assert_fails(status, SN_DEVICE, n == waits ? "unjoined" : "context is lost");
            plant("races=1");
            close_side(&side);
        }
}

static void *run_context(void *context) {
    return sn_context_run(context);
}

/* A thread whose lane is new records a step that another thread has launched before: the lane's second stream has to be
 * there before the capture begins. */
static void another_thread_records_the_step(void **state) {
    pthread_t thread;
    void *at, *status;
    float number = 1;
    plant("");
    Side side = open_side(*state, false);
    Device *device = side.program->device;
    assert_ok(device->ops->alloc(device, sizeof number, &at));
    assert_ok(sn_context_run(side.context));
    assert_ok(device->ops->upload(device, at, &number, sizeof number)); /* this thread keeps its lane */
    for (int run = 0; run < 2; run++) {
        assert_int_equal(pthread_create(&thread, NULL, run_context, side.context), 0);
        assert_int_equal(pthread_join(thread, &status), 0);
        assert_ok(status);
    }
    assert_ok(device->ops->sync(device));
    device->ops->free(device, at, sizeof number);
    close_side(&side);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_those_of_one_lane),
        cmocka_unit_test(a_wait_that_is_missing_is_found),
        cmocka_unit_test(another_thread_records_the_step),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

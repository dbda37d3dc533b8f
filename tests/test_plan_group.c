/* Groups: neighbours of a plan that run as one launch, on the CPU and on (emulated) CUDA. They change no bit, no two members
 * touch what one of them writes, and a fault is its member's. */
#include "cuda_fixture.h"
#include "training.h"

enum { ROWS = 5, WIDTH = 64, OUTPUTS = 16, STEPS = 3, BYTES_MOST = 1 << 20 };

/* Three layers, whose second weight is of bf16 and is stepped from a copy of f32; the biases are less than 1 % of all. */
static const char layers[] =
    "graph \"layers\" stage imported\nsymbol N\ninput %0 \"x\": f32[N, 64]\n"
    "%1 \"w1\" = constant {tensor = f32[64, 520] recipe 1 scale 0.2 offset 0} : f32[64, 520]\n"
    "%2 \"b1\" = constant {tensor = f32[520] recipe 2 scale 0.2 offset 0} : f32[520]\n"
    "%3 \"w2\" = constant {tensor = bf16[520, 64] recipe 3 scale 0.1 offset 0} : bf16[520, 64]\n"
    "%4 \"w3\" = constant {tensor = f32[64, 16] recipe 4 scale 0.2 offset 0} : f32[64, 16]\n"
    "%5 \"b3\" = constant {tensor = f32[16] recipe 5 scale 0.2 offset 0} : f32[16]\n"
    "%6 = matmul(%0, %1) : f32[N, 520]\n%7 = add(%6, %2) : f32[N, 520]\n%8 = tanh(%7) : f32[N, 520]\n"
    "%9 = cast(%3) {to = f32} : f32[520, 64]\n"
    "%10 = matmul(%8, %9) : f32[N, 64]\n%11 = tanh(%10) : f32[N, 64]\n"
    "%12 = matmul(%11, %4) : f32[N, 16]\n%13 = add(%12, %5) : f32[N, 16]\noutput %13 \"y\"\n";

static float x[ROWS * WIDTH], targets[ROWS * OUTPUTS], rate = 1e-2f;

static sn_Program *open_program(const char *device, int threads, const char *cache) {
    sn_Program *program;
    assert_ok(sn_program_open(sn_arena_new(), device, threads, cache, &program));
    return program;
}

static Plan *plan_of(sn_Program *program, double clip) {
    Graph *graph;
    Plan *plan;
    Ledger ledger = {0};
    Training training;
    sn_TrainingOptions options = {.size = sizeof options, .loss = SN_LOSS_SQUARED_ERROR, .clip_norm = clip};
    assert_ok(sn_training_read(&options, &training));
    PipelineOptions pipeline = {.verify = true, .training = &training};
    assert_ok(sn_graph_parse(program->arena, layers, strlen(layers), &graph));
    assert_ok(
        sn_compile_plan(program->arena, graph, &program->device->target, &pipeline, NULL, &ledger, &plan));
    return plan;
}

/* The same plan, launch by launch. */
static void ungroup(Plan *plan) {
    for (int i = 0; i < plan->launch_count; i++) ((PlanLaunch *)&plan->launch[i])->group = 1;
}

static sn_Context *context_of(const sn_Program *program) {
    const int64_t in[2] = {ROWS, WIDTH}, out[2] = {ROWS, OUTPUTS};
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = (float)(i % 7) * 0.25f - 0.5f;
    for (int i = 0; i < ROWS * OUTPUTS; i++) targets[i] = (float)(i % 5) * 0.5f - 1;
    assert_ok(set_f32(context, 0, 2, in, x));
    assert_ok(set_f32(context, 1, 2, out, targets));
    assert_ok(set_f32(context, 2, 0, NULL, &rate));
    return context;
}

static size_t copy_states(sn_Context *context, char *bytes) {
    size_t size = 0;
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        DType dtype;
        assert_ok(sn_context_state_get(context, i, &value));
        assert_true(sn_dtype_from_onnx(value.element_type, &dtype));
        size_t more = (size_t)sn_dtype_bytes(dtype);
        for (int k = 0; k < value.rank; k++) more *= (size_t)value.extent[k];
        assert_true(size + more <= BYTES_MOST);
        memcpy(bytes + size, value.data, more);
        size += more;
    }
    return size;
}

/* ---- what a group may be ---- */

static bool overlap(const sn_Context *context, int a, int b) {
    const PlanValue *value = context->program->plan->value;
    const int64_t *dim = context->binding->dim;
    uintptr_t x_at = (uintptr_t)context->address[a], y_at = (uintptr_t)context->address[b];
    return x_at < y_at + (uintptr_t)dim[value[b].bytes] && y_at < x_at + (uintptr_t)dim[value[a].bytes];
}

/* By the addresses of the last run. */
static void members_let_one_another_alone(const sn_Context *context) {
    const Plan *plan = context->program->plan;
    for (int i = 0; i < plan->launch_count; i++)
        for (int k = sn_plan_group_first(plan, i); k <= sn_plan_group_last(plan, i); k++) {
            const PlanLaunch *a = &plan->launch[i], *b = &plan->launch[k];
            for (int m = a->kernel->input_count; m < a->buffer_count && k != i; m++)
                for (int n = 0; n < b->buffer_count; n++)
                    assert_false(overlap(context, a->buffer[m], b->buffer[n]));
        }
}

/* The launch that makes the next value of the state. */
static int update_of(const Plan *plan, const char *name) {
    for (int i = 0; i < plan->state_count; i++)
        if (plan->kept[i] && strcmp(plan->kept[i]->name, name) == 0)
            return plan->value[plan->output[plan->state[i].output].value].first;
    fail_msg("no state %s", name);
    return -1;
}

static bool together(const Plan *plan, const char *a, const char *b) {
    return sn_plan_group_first(plan, update_of(plan, a)) == sn_plan_group_first(plan, update_of(plan, b));
}

/* All updates are one launch where all wait for the norm of the gradients, and one of each kernel on a GPU. Without it the
 * large ones run while gradients are made, the small ones together. */
static void updates_are_grouped(const Plan *plan, bool clip) {
    bool cuda = plan->target->kind == SN_TARGET_CUDA;
    int last = plan->launch_count - 1;
    while (plan->launch[last].cluster->phase != SN_PHASE_BACKWARD) last--;
    assert_true(together(plan, "b1", "b3"));
    assert_int_equal(together(plan, "w1", "w3"), clip);
    assert_int_equal(together(plan, "w1", "b1"), clip && !cuda);
    assert_int_equal(together(plan, "w1", "w2"), clip && !cuda); /* of other types */
    assert_int_equal(update_of(plan, "w3") < last, !clip);
    assert_true(sn_plan_run_launches(plan) < plan->launch_count - plan->setup_count);
    if (clip) /* nothing follows but the rest of the groups */
        assert_int_equal(plan->launch[sn_plan_group_first(plan, plan->launch_count - 1)].group, cuda ? 2 : 5);
}

static void follow(const char *device, int threads, double clip, const char *cache) {
    static char bytes[BYTES_MOST], expected[BYTES_MOST];
    sn_Program *program[2];
    sn_Context *context[2];
    for (int k = 0; k < 2; k++) {
        program[k] = open_program(device, threads, cache);
        Plan *plan = plan_of(program[k], clip);
        updates_are_grouped(plan, clip > 0);
        if (k) ungroup(plan);
        assert_ok(sn_program_load(program[k], plan));
        context[k] = context_of(program[k]);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < 2; k++) assert_ok(sn_context_run(context[k]));
        members_let_one_another_alone(context[0]);
        size_t size = copy_states(context[0], bytes);
        assert_int_equal(copy_states(context[1], expected), size);
        assert_memory_equal(bytes, expected, size);
    }
    for (int k = 0; k < 2; k++) {
        sn_context_free(context[k]);
        sn_program_free(program[k]);
    }
}

static void groups_change_no_bit(void **state) {
    for (int clip = 0; clip < 2; clip++) {
        for (int threads = 1; threads <= 2; threads++) follow("cpu", threads, clip, *state);
        plant("races=1");
        follow("cuda", 2, clip, *state);
        if (on_gpu() || !clip) continue;
        plant("races=1,processors=1,resident=1"); /* where the large ones walk their grid, by themselves */
        follow("cuda", 2, clip, *state);
    }
}

static const char chain[] = "graph \"chain\" stage fused\n"
                            "input %0 \"x\": f32[64]\ninput %1 \"y\": f32[64]\n"
                            "%2 = cluster(%0) {kind = map} {\n"
                            "  param %3: f32[64]\n  %4 = mul(%3, %3) : f32[64]\n  return %4\n} : f32[64]\n"
                            "%5 = cluster(%2) {kind = reduce} {\n"
                            "  param %6: f32[64]\n  %7 = reduce_sum(%6) {axes = [0]} : f32[1]\n"
                            "  return %7\n} : f32[1]\n"
                            "%8 = cluster(%1) {kind = map} {\n"
                            "  param %9: f32[64]\n  %10 = add(%9, %9) : f32[64]\n  return %10\n} : f32[64]\n"
                            "output %5 \"sum\"\noutput %8 \"twice\"\n";

/* A launch that needs what the one before makes is in no group with it. What the first member reads for the last time is not
 * where another one stores. */
static void a_group_is_one_moment(void **state) {
    static float ones[64], twos[64];
    const int64_t extent[1] = {64};
    sn_Program *program = open_program("cpu", 2, *state);
    Plan *plan;
    assert_ok(sn_plan_new(program->arena, parse_fused(program->arena, chain), &program->device->target, false,
                          sn_codegen, &plan));
    assert_ok(sn_plan_add_states(program->arena, plan, 0, NULL));
    assert_int_equal(plan->launch[0].group, 1);
    assert_int_equal(plan->launch[1].group, 2);
    assert_int_equal(plan->launch[2].group, -1);
    assert_int_equal(sn_plan_run_launches(plan), 2);
    assert_ok(sn_program_load(program, plan));
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < 64; i++) ones[i] = 1, twos[i] = 2;
    assert_ok(set_f32(context, 0, 1, extent, ones));
    assert_ok(set_f32(context, 1, 1, extent, twos));
    assert_ok(sn_context_run(context));
    members_let_one_another_alone(context);
    sn_Tensor sum;
    assert_ok(sn_context_output(context, 0, &sum));
    assert_true(*(const float *)sum.data == 64);
    sn_context_free(context);
    sn_program_free(program);
}

/* ---- planted ---- */

/* Two members that write one another's memory are a race inside of a launch. */
static void members_that_share_are_found(void **state) {
    if (on_gpu()) skip();
    for (int planted = 0; planted < 2; planted++) {
        plant("races=1");
        sn_Program *program = open_program("cuda", 2, *state);
        Plan *plan = plan_of(program, 0);
        const PlanLaunch *a = &plan->launch[update_of(plan, "b1")], *b = &plan->launch[update_of(plan, "b3")];
        if (planted) ((int *)b->buffer)[b->kernel->input_count] = a->buffer[a->kernel->input_count];
        assert_ok(sn_program_load(program, plan));
        sn_Context *context = context_of(program);
        Status status = sn_context_run(context);
        if (planted)
            assert_fails(status, SN_DEVICE, "context is lost");
        else
            assert_ok(status);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* ---- what is told of them ---- */

static const char quotients[] = "graph \"quotients\" stage fused\n"
                                "input %0 \"a\": i64[9]\ninput %1 \"b\": i64[9]\ninput %2 \"c\": i64[9]\n"
                                "%3 = cluster(%0, %1) {kind = map} {\n"
                                "  param %4: i64[9]\n  param %5: i64[9]\n"
                                "  %6 = div(%4, %5) : i64[9]\n  return %6\n} : i64[9]\n"
                                "%7 = cluster(%0, %2) {kind = map} {\n"
                                "  param %8: i64[9]\n  param %9: i64[9]\n"
                                "  %10 = mod(%8, %9) : i64[9]\n  return %10\n} : i64[9]\n"
                                "output %3 \"x\"\noutput %7 \"y\"\n";

/* On the CPU members need not be of one kernel. The group is timed as one, with the bytes of all. */
static void faults_and_times_are_of_members(void **state) {
    int64_t a[9], b[9], c[9], count;
    const int64_t extent[1] = {9};
    sn_Program *program = open_program("cpu", 2, *state);
    Plan *plan;
    assert_ok(sn_plan_new(program->arena, parse_fused(program->arena, quotients), &program->device->target,
                          false, sn_codegen, &plan));
    assert_ok(sn_plan_add_states(program->arena, plan, 0, NULL));
    assert_int_equal(plan->launch[0].group, 2);
    assert_ok(sn_program_load(program, plan));
    sn_Context *context = make_context(program, 0);
    for (int zero = 0; zero < 4; zero++) { /* of b, of c */
        for (int i = 0; i < 9; i++) a[i] = i + 7, b[i] = i + 1, c[i] = 2 * i + 3;
        if (zero & 1) b[4] = 0;
        if (zero & 2) c[0] = 0;
        assert_ok(set_i64(context, 0, 1, extent, a));
        assert_ok(set_i64(context, 1, 1, extent, b));
        assert_ok(set_i64(context, 2, 1, extent, c));
        Status status = sn_context_run(context);
        if (zero) {
            assert_fails(status, SN_FAULT, zero & 1 ? "div" : "mod");
            continue;
        }
        assert_ok(status);
        for (int k = 0; k < 2; k++) {
            sn_Tensor got;
            assert_ok(sn_context_output(context, k, &got));
            for (int i = 0; i < 9; i++)
                assert_int_equal(((const int64_t *)got.data)[i], k ? a[i] % c[i] : a[i] / b[i]);
        }
        assert_ok(sn_profile_enable(context));
        assert_ok(sn_context_run(context));
        int rows;
        const ProfileRow *row =
            sn_profile_rows(program->arena, sn_context_profile(context), &(ProfileQuery){0}, &rows);
        assert_int_equal(rows, 1);
        assert_int_equal(row->time.calls, 1);
        count = (int64_t)row->time.bytes;
        assert_int_equal(count, 6 * 9 * 8);
    }
    sn_context_free(context);
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_change_no_bit),
        cmocka_unit_test(a_group_is_one_moment),
        cmocka_unit_test(members_that_share_are_found),
        cmocka_unit_test(faults_and_times_are_of_members),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

/* Plans, programs and contexts on hand-made fused graphs: both modes against the interpreter, and everything
 * that can go wrong in a run. */
#include "cluster_key.h"
#include "eval.h"
#include "execute_fixture.h"
#include "live.h"
#include "number.h"
#include <math.h>

/* %8 and %13 die inside a run; the weight is doubled once, in setup; y, z, x and w are outputs. */
static const char chain[] = "graph \"chain\" stage fused\n"
                            "symbol T\n"
                            "input %0 \"x\": f32[T, 4]\n"
                            "%1 \"w\" = constant {tensor = f32[4] (1, 2, -3, 0.5)} : f32[4]\n"
                            "%2 \"r\" = constant {tensor = f32[4] recipe 5 scale 1 offset 0} : f32[4]\n"
                            "%3 = cluster(%1, %2) {kind = map} {\n"
                            "  param %4: f32[4]\n"
                            "  param %5: f32[4]\n"
                            "  %6 = add(%4, %5) : f32[4]\n"
                            "  return %6\n"
                            "} : f32[4] ; group 1 setup\n"
                            "%7 = cluster(%0, %3) {kind = map} {\n"
                            "  param %8: f32[T, 4]\n"
                            "  param %9: f32[4]\n"
                            "  %10 = view(%9) {extent = [T, 4], index = [i1]} : f32[T, 4]\n"
                            "  %11 = mul(%8, %10) : f32[T, 4]\n"
                            "  return %11\n"
                            "} : f32[T, 4] ; group 2 @ \"first\" Mul 17 #1\n"
                            "%12 = cluster(%7, %0) {kind = map} {\n"
                            "  param %13: f32[T, 4]\n"
                            "  param %14: f32[T, 4]\n"
                            "  %15 = add(%13, %14) : f32[T, 4]\n"
                            "  return %15\n"
                            "} : f32[T, 4] ; group 3\n"
                            "%16, %17 = cluster(%12, %7) {kind = map} {\n"
                            "  param %18: f32[T, 4]\n"
                            "  param %19: f32[T, 4]\n"
                            "  %20 = sub(%18, %19) : f32[T, 4]\n"
                            "  %21 = mul(%20, %18) : f32[T, 4]\n"
                            "  return %20, %21\n"
                            "} : f32[T, 4], f32[T, 4] ; group 4\n"
                            "%22 = cluster(%16, %17) {kind = map} {\n"
                            "  param %23: f32[T, 4]\n"
                            "  param %24: f32[T, 4]\n"
                            "  %25 = add(%23, %24) : f32[T, 4]\n"
                            "  return %25\n"
                            "} : f32[T, 4] ; group 5\n"
                            "output %22 \"y\"\n"
                            "output %17 \"z\"\n"
                            "output %0 \"x\"\n"
                            "output %1 \"w\"\n";

static const char lookup[] =
    "graph \"lookup\" stage fused\n"
    "symbol N\n"
    "symbol T\n"
    "input %0 \"table\": f32[N]\n"
    "input %1 \"ids\": i64[T]\n"
    "%2 = cluster(%0, %1) {kind = map} {\n"
    "  param %3: f32[N]\n"
    "  param %4: i64[T]\n"
    "  %5 = gather(%3, %4) {axis = 0} : f32[T] ; group 1 @ \"embed/Gather\" Gather 17 #3\n"
    "  return %5\n"
    "} : f32[T] ; group 1 @ \"other\" Add 17 #4\n"
    "output %2 \"y\"\n";

static void fill(float *data, int64_t count, uint64_t seed) {
    for (int64_t i = 0; i < count; i++) data[i] = (float)sn_random_normal(seed, (uint64_t)i);
}

/* Every output of a run against the interpreter's on the same graph. */
static void compare(const sn_Program *program, const sn_Context *context, const float *x, int64_t rows) {
    Arena *arena = sn_arena_new();
    int64_t extent[] = {rows, 4};
    Array *input = sn_array_new(arena, SN_F32, 2, extent);
    for (int64_t i = 0; i < input->count; i++) input->f[i] = x[i];
    const Array *inputs[] = {input};
    Array *expected[4];
    assert_ok(sn_eval_graph(arena, program->plan->graph, true, inputs, expected));
    for (int k = 0; k < 4; k++) {
        sn_Tensor got;
        assert_ok(sn_context_output(context, k, &got));
        assert_int_equal(got.rank, expected[k]->rank);
        for (int i = 0; i < got.rank; i++) assert_int_equal(got.extent[i], expected[k]->extent[i]);
        for (int64_t i = 0; i < expected[k]->count; i++) {
            double difference = ((const float *)got.data)[i] - expected[k]->f[i];
            if (!(difference * difference < 1e-10 * (1 + expected[k]->f[i] * expected[k]->f[i])))
                fail_msg("output %d, element %d: %g is not %g", k, (int)i, ((const float *)got.data)[i],
                         expected[k]->f[i]);
        }
    }
    sn_arena_free(arena);
}

static void both_modes_agree_with_the_interpreter(void **state) {
    static const int64_t sizes[] = {3, 1000, 1, 0, 3, 77777, 2};
    enum { MOST = 77777 };
    float *x = malloc(MOST * 4 * sizeof *x);
    assert_non_null(x);
    for (int eager = 0; eager < 2; eager++) {
        for (int threads = 1; threads <= 3; threads += 2) {
            sn_Program *program = make_program(chain, eager, threads, *state, NULL);
            assert_int_equal(program->ledger.kernels.kernels, 3); /* three of the five clusters are equal */
            sn_Context *context = make_context(program, 0);
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                fill(x, sizes[k] * 4, k);
                assert_ok(set_f32(context, 0, 2, (int64_t[]){sizes[k], 4}, x));
                assert_ok(sn_context_run(context));
                compare(program, context, x, sizes[k]);
            }
            sn_context_free(context);
            sn_program_free(program);
        }
    }
    free(x);
}

static void more_shapes_than_are_remembered(void **state) {
    sn_Program *program = make_program(chain, false, 1, *state, NULL);
    sn_Context *context = make_context(program, 0);
    float x[60 * 4];
    fill(x, 60 * 4, 1);
    for (int round = 0; round < 2; round++) {
        for (int64_t rows = 1; rows < 60; rows++) {
            assert_ok(set_f32(context, 0, 2, (int64_t[]){rows, 4}, x));
            assert_ok(sn_context_run(context));
            compare(program, context, x, rows);
        }
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void memory_is_accounted(void **state) {
    enum { ROWS = 64, ROW = 16 };
    float x[ROWS * 4];
    fill(x, ROWS * 4, 1);
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(chain, eager, 1, *state, NULL);
        /* w is an output and r is only needed by setup, whose result takes its place. */
        assert_int_equal(sn_program_constant_bytes(program), 2 * ROW);
        sn_Context *context = make_context(program, 0);
        assert_ok(set_f32(context, 0, 2, (int64_t[]){ROWS, 4}, x));
        assert_ok(sn_context_run(context));
        /* The four values of the third launch are alive at once; and the copies of outputs x and w. */
        assert_int_equal(sn_context_peak_bytes(context), 4 * ROWS * ROW + ROWS * ROW + ROW);
        int64_t dim[64];
        Live live;
        assert_true(program->plan->dim_count <= 64);
        assert_ok(sn_plan_live(program->arena, program->plan, (int64_t[]){ROWS}, dim, &live));
        assert_int_equal(live.most[SN_PHASE_FORWARD], 4 * ROWS * ROW);
        assert_int_equal(live.most[SN_PHASE_BACKWARD], 0);
        assert_int_equal(live.peak, program->plan->setup_count + 2);
        assert_int_equal(live.count, 4);
        for (int i = 0; i < live.count; i++)
            assert_int_equal(dim[program->plan->value[live.value[i]].bytes], ROWS * ROW);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void a_limit_fails_the_run_and_nothing_else(void **state) {
    enum { ROWS = 4000 };
    static float x[ROWS * 4];
    fill(x, ROWS * 4, 1);
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(chain, eager, 1, *state, NULL);
        sn_Context *context = make_context(program, 200000);
        for (int round = 0; round < 3; round++) {
            assert_ok(set_f32(context, 0, 2, (int64_t[]){ROWS, 4}, x));
            assert_fails(sn_context_run(context), SN_NO_MEMORY, "limit");
            sn_Tensor got;
            assert_fails(sn_context_output(context, 0, &got), SN_INVALID, "run");
            assert_ok(set_f32(context, 0, 2, (int64_t[]){8, 4}, x));
            assert_ok(sn_context_run(context));
            compare(program, context, x, 8);
        }
        assert_true(sn_context_peak_bytes(context) <= 200000);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* What a run holds that needs another split of the limit than the one before: an input that cannot be used in
 * place takes memory that the larger run had for its values. */
static void a_limit_counts_what_earlier_runs_left(void **state) {
    enum { ROWS = 64, ROW = 16, LIMIT = 5 * ROWS * ROW + ROW + 64 };
    float x[ROWS * 4 + 1];
    fill(x, ROWS * 4 + 1, 1);
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(chain, eager, 1, *state, NULL);
        sn_Context *context = make_context(program, eager ? 0 : LIMIT);
        assert_ok(set_f32(context, 0, 2, (int64_t[]){ROWS, 4}, x));
        assert_ok(sn_context_run(context));
        context->memory_limit = eager ? sn_context_peak_bytes(context) + context->allocator.held : LIMIT;
        void *odd = memmove((char *)x + 1, x, sizeof x - 1);
        assert_ok(set_f32(context, 0, 2, (int64_t[]){ROWS / 2, 4}, odd));
        assert_ok(sn_context_run(context));
        int64_t held = context->arena[0].bytes + context->allocator.held + context->input[0].staging.bytes;
        for (int i = 0; i < program->plan->output_count; i++) held += context->output[i].copy.bytes;
        assert_true(context->input[0].staging.bytes == ROWS / 2 * ROW && held <= context->memory_limit);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void more_memory_than_there_is(void **state) {
    float x[4];
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(chain, eager, 1, *state, NULL);
        sn_Context *context = make_context(program, 0);
        assert_ok(set_f32(context, 0, 2, (int64_t[]){(int64_t)1 << 46, 4}, x));
        assert_fails(sn_context_run(context), SN_NO_MEMORY, "");
        assert_fails(set_f32(context, 0, 2, (int64_t[]){(int64_t)1 << 62, 4}, x), SN_INVALID, "impossible");
        assert_ok(set_f32(context, 0, 2, (int64_t[]){1, 4}, x));
        assert_ok(sn_context_run(context));
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void faults_name_the_node(void **state) {
    float table[] = {1, 2, 4};
    int64_t ids[64] = {0};
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(lookup, eager, 2, *state, NULL);
        sn_Context *context = make_context(program, 0);
        assert_ok(set_f32(context, 0, 1, (int64_t[]){3}, table));
        assert_ok(set_i64(context, 1, 1, (int64_t[]){64}, ids));
        ids[60] = 3;
        assert_fails(sn_context_run(context), SN_FAULT,
                     "node \"embed/Gather\" (Gather), gather: an index is out of range");
        ids[60] = 2;
        assert_ok(sn_context_run(context));
        sn_Tensor got;
        assert_ok(sn_context_output(context, 0, &got));
        assert_true(((float *)got.data)[60] == 4 && ((float *)got.data)[61] == 1);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void wrong_inputs_are_refused(void **state) {
    sn_Program *program = make_program(chain, false, 1, *state, NULL);
    sn_Context *context = make_context(program, 0);
    float x[12] = {0};
    sn_Tensor got;
    assert_fails(sn_context_output(context, 0, &got), SN_INVALID, "run");
    assert_fails(sn_context_run(context), SN_INVALID, "\"x\" is not set");
    assert_fails(set_f32(context, 1, 2, (int64_t[]){3, 4}, x), SN_INVALID, "input 1");
    assert_fails(set_f32(context, -1, 2, (int64_t[]){3, 4}, x), SN_INVALID, "input -1");
    assert_fails(set_i64(context, 0, 2, (int64_t[]){3, 4}, x), SN_INVALID, "element type 7 is not f32");
    assert_fails(set_f32(context, 0, 1, (int64_t[]){12}, x), SN_INVALID, "rank 1 is not 2");
    assert_fails(set_f32(context, 0, 2, (int64_t[]){-3, 4}, x), SN_INVALID, "extent -3");
    assert_fails(set_f32(context, 0, 2, (int64_t[]){3, 4}, NULL), SN_INVALID, "no data");
    assert_ok(set_f32(context, 0, 2, (int64_t[]){4, 3}, x));
    assert_fails(sn_context_run(context), SN_INVALID, "x");
    assert_ok(set_f32(context, 0, 2, (int64_t[]){3, 4}, x));
    assert_ok(sn_context_run(context));
    assert_fails(sn_context_output(context, 4, &got), SN_INVALID, "output 4");
    sn_context_free(context);
    sn_program_free(program);
}

static void any_address_will_do_for_inputs(void **state) {
    sn_Program *program = make_program(chain, false, 1, *state, NULL);
    sn_Context *context = make_context(program, 0);
    float x[12];
    char bytes[sizeof x + 1];
    fill(x, 12, 3);
    memcpy(bytes + 1, x, sizeof x);
    assert_ok(set_f32(context, 0, 2, (int64_t[]){3, 4}, bytes + 1));
    assert_ok(sn_context_run(context));
    compare(program, context, x, 3);
    sn_context_free(context);
    sn_program_free(program);
}

/* Each run reads what the run before it wrote, at a place that the run itself may use for something else. */
static void outputs_can_be_inputs_of_the_next_run(void **state) {
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(chain, eager, 1, *state, NULL);
        sn_Context *context = make_context(program, 0);
        float x[12];
        fill(x, 12, 3);
        assert_ok(set_f32(context, 0, 2, (int64_t[]){3, 4}, x));
        assert_ok(sn_context_run(context));
        for (int round = 0; round < 9; round++) {
            sn_Tensor got;
            assert_ok(sn_context_output(context, round % 3, &got));
            for (int i = 0; i < 12; i++) { /* kept small, where it lies */
                float *at = (float *)got.data + i;
                x[i] = *at = *at / (*at < 0 ? 1 - *at : 1 + *at);
            }
            assert_ok(sn_context_set_input(context, 0, &got));
            assert_ok(sn_context_run(context));
            compare(program, context, x, 3);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void a_profile_counts_every_launch(void **state) {
    sn_Program *program = make_program(chain, false, 1, *state, NULL);
    sn_Context *context = make_context(program, 0);
    float x[12] = {0};
    assert_null(sn_context_profile(context));
    assert_ok(sn_profile_enable(context));
    assert_ok(set_f32(context, 0, 2, (int64_t[]){3, 4}, x));
    for (int i = 0; i < 5; i++) assert_ok(sn_context_run(context));
    Arena *arena = sn_arena_new();
    int count;
    const ProfileRow *row = sn_profile_rows(arena, sn_context_profile(context), &(ProfileQuery){0}, &count);
    assert_int_equal(count, 4);
    double share = 0;
    bool named = false;
    for (int i = 0; i < count; i++) {
        assert_int_equal(row[i].time.calls, 5);
        double sum = 0;
        for (int k = 0; k < 5; k++) sum += row[i].time.each[k];
        assert_true(fabs(sum - row[i].time.seconds) <= 1e-9 * sum);
        assert_true(i == 0 || row[i].time.seconds <= row[i - 1].time.seconds);
        share += row[i].share;
        named = named || strcmp(row[i].origin, "\"first\" (Mul)") == 0;
    }
    assert_true(share > 0.999 && share < 1.001 && named);
    row = sn_profile_rows(arena, sn_context_profile(context), &(ProfileQuery){.by_kernel = true}, &count);
    assert_int_equal(count, 3); /* the first and the last one of the run share a kernel */
    double all = row[0].share + row[1].share + row[2].share;
    row = sn_profile_rows(arena, sn_context_profile(context), &(ProfileQuery){.range = "f?rst"}, &count);
    assert_int_equal(count, 1);
    assert_string_equal(row[0].origin, "\"first\" (Mul)");
    assert_true(row[0].share > 0 && row[0].share < all); /* of all launches, not of those in the range */
    sn_profile_rows(arena, sn_context_profile(context), &(ProfileQuery){.range = "Mul"}, &count);
    assert_int_not_equal(count, 0); /* an operator's name */
    sn_profile_rows(arena, sn_context_profile(context), &(ProfileQuery){.range = "Conv*"}, &count);
    assert_int_equal(count, 0);
    sn_arena_free(arena);
    sn_context_free(context);
    sn_program_free(program);
}

static void plans_print(void **state) {
    sn_Program *program = make_program(chain, false, 1, *state, NULL);
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    sn_plan_print(&text, program->plan);
    const char *printed = sn_text_string(&text);
    static const char *const lines[] = {
        "plan \"chain\" compiled target cpu\n",
        "  b0 input f32[T, 4] last use 5 %0 \"x\"\n",
        "  b2 constant f32[4] last use 0 %2 \"r\"\n",
        "  b3 setup f32[4] life 0..1 %3\n",
        "  b4 activation f32[T, 4] life 1..3 %7\n",
        "  b7 output f32[T, 4] life 3.. %17\n",
        "launches 5 kernels 3\n",
        " map [mul] b4 = (b0, b3) items 4*T @ \"first\" (Mul)\n",
        "outputs b8, b7, b0 (copied), b1 (copied)\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(printed, lines[i])) fail_msg("\"%s\" is not in\n%s", lines[i], printed);
    sn_arena_free(arena);
    sn_program_free(program);
}

/* ---- which clusters share a kernel ---- */

/* A cluster over x, y: f32[T, 4] with one thing in its own way: its type, how its body reads them, what it
 * returns. */
static const char *cluster_text(Arena *arena, int first, const char *operands, const char *view,
                                const char *operator, const char * result) {
    return sn_arena_printf(arena,
                           "%%%d = cluster(%s) {kind = map} {\n"
                           "  param %%%d: f32[T, 4]\n"
                           "  param %%%d: f32[T, 4]\n"
                           "  %%%d = view(%%%d) {extent = [T, 4], index = [%s]} : f32[T, 4]\n"
                           "  %%%d = %s(%%%d, %%%d) : f32[T, 4]\n"
                           "  return %%%d\n"
                           "} : f32[T, 4]\n",
                           first, operands, first + 1, first + 2, first + 3, first + 1, view,
                           first + 4, operator, first + 3, first + 2, first + (*result == 'v' ? 3 : 4));
}

static void clusters_alike_have_one_key(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    sn_text_add(&text, "graph \"keys\" stage fused\nsymbol T\ninput %%0 \"x\": f32[T, 4]\n"
                       "input %%1 \"y\": f32[T, 4]\n");
    const char *const made[] = {
        cluster_text(arena, 10, "%0, %1", "i0, 3 - i1", "add", ""),
        cluster_text(arena, 20, "%1, %0", "i0, 3 - i1", "add", ""), /* the same of other operands */
        cluster_text(arena, 30, "%0, %0", "i0, 3 - i1", "add", ""), /* of one operand twice */
        cluster_text(arena, 40, "%0, %1", "i0, 0", "add", ""),
        cluster_text(arena, 50, "%0, %1", "i0, 3 - i1", "mul", ""),
        cluster_text(arena, 60, "%0, %1", "i0, 3 - i1", "add", "view"),
    };
    enum { COUNT = sizeof made / sizeof *made };
    for (int i = 0; i < COUNT; i++) sn_text_add(&text, "%s", made[i]);
    for (int i = 0; i < COUNT; i++) sn_text_add(&text, "output %%%d \"\"\n", 10 * (i + 1));
    Graph *graph = parse_fused(arena, sn_text_string(&text));
    int *local = SN_ARRAY(arena, int, graph->next_value);
    Hash key[COUNT];
    for (int i = 0; i < COUNT; i++) key[i] = sn_cluster_key(graph->body->result.at[i]->producer, local);
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < i; j++) assert_int_equal(sn_hash_equal(key[i], key[j]), i == 1 && j == 0);
    sn_arena_free(arena);
}

/* ---- a device with a memory of its own ---- */

typedef struct Remote {
    Device device;
    Device *cpu;
    DeviceOps ops;
    int64_t up, down;
    int *late, code; /* a fault that sync tells */
} Remote;

static Remote remote; /* one test at a time */

static Status remote_alloc(Device *device, int64_t bytes, void **out) {
    (void)device;
    return remote.cpu->ops->alloc(remote.cpu, bytes, out);
}

static void remote_free(Device *device, void *at, int64_t bytes) {
    (void)device;
    remote.cpu->ops->free(remote.cpu, at, bytes);
}

static Status remote_upload(Device *device, void *to, const void *from, int64_t bytes) {
    (void)device;
    remote.up += bytes;
    return remote.cpu->ops->upload(remote.cpu, to, from, bytes);
}

static Status remote_download(Device *device, void *to, const void *from, int64_t bytes) {
    (void)device;
    remote.down += bytes;
    return remote.cpu->ops->download(remote.cpu, to, from, bytes);
}

static Status remote_compile(Device *device, const Kernel *const *kernel, int count, CompileRecord *record,
                             Module **out) {
    (void)device;
    return remote.cpu->ops->compile(remote.cpu, kernel, count, record, out);
}

static Status remote_launch(Device *device, Module *module, const LaunchArguments *arguments, int *fault) {
    (void)device;
    remote.late = fault;
    return remote.cpu->ops->launch(remote.cpu, module, arguments, &remote.code);
}

static Status remote_sync(Device *device) {
    (void)device;
    if (remote.late) *remote.late = remote.code;
    return NULL;
}

static void use_remote(sn_Program *program) {
    remote = (Remote){.cpu = program->device, .ops = *program->device->ops};
    remote.ops.alloc = remote_alloc;
    remote.ops.free = remote_free;
    remote.ops.upload = remote_upload;
    remote.ops.download = remote_download;
    remote.ops.compile = remote_compile;
    remote.ops.launch = remote_launch;
    remote.ops.sync = remote_sync;
    remote.device = (Device){.ops = &remote.ops, .target = program->device->target, .host_memory = false};
    program->device = &remote.device;
}

static void other_memory_is_copied_to_and_from(void **state) {
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(chain, eager, 1, *state, use_remote);
        assert_int_equal(remote.up, 2 * 16);
        sn_Context *context = make_context(program, 0);
        float x[12];
        fill(x, 12, 9);
        assert_ok(set_f32(context, 0, 2, (int64_t[]){3, 4}, x));
        assert_ok(sn_context_run(context));
        compare(program, context, x, 3);
        assert_int_equal(remote.up, 2 * 16 + 48);
        assert_int_equal(remote.down, 3 * 48 + 16);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void late_faults_are_found(void **state) {
    sn_Program *program = make_program(lookup, false, 1, *state, use_remote);
    sn_Context *context = make_context(program, 0);
    float table[] = {1, 2, 4};
    int64_t ids[] = {1, 5, 0};
    assert_ok(set_f32(context, 0, 1, (int64_t[]){3}, table));
    assert_ok(set_i64(context, 1, 1, (int64_t[]){3}, ids));
    assert_fails(sn_context_run(context), SN_FAULT, "embed/Gather");
    ids[1] = 2;
    assert_ok(sn_context_run(context));
    sn_context_free(context);
    sn_program_free(program);
}

static void unknown_devices_are_unsupported(void **state) {
    Arena *arena = sn_arena_new();
    sn_Program *program;
    assert_fails(sn_program_open(arena, "tpu", 1, *state, &program), SN_UNSUPPORTED, "unsupported");
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_modes_agree_with_the_interpreter),
        cmocka_unit_test(more_shapes_than_are_remembered),
        cmocka_unit_test(memory_is_accounted),
        cmocka_unit_test(a_limit_fails_the_run_and_nothing_else),
        cmocka_unit_test(a_limit_counts_what_earlier_runs_left),
        cmocka_unit_test(more_memory_than_there_is),
        cmocka_unit_test(faults_name_the_node),
        cmocka_unit_test(wrong_inputs_are_refused),
        cmocka_unit_test(any_address_will_do_for_inputs),
        cmocka_unit_test(outputs_can_be_inputs_of_the_next_run),
        cmocka_unit_test(a_profile_counts_every_launch),
        cmocka_unit_test(plans_print),
        cmocka_unit_test(clusters_alike_have_one_key),
        cmocka_unit_test(other_memory_is_copied_to_and_from),
        cmocka_unit_test(late_faults_are_found),
        cmocka_unit_test(unknown_devices_are_unsupported),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

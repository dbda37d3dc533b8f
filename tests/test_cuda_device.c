/* The device `cuda`: runs, recorded runs, planted faults, saved programs. */
#include "cuda_fixture.h"
#include "number.h"
#include "training.h"
#include <pthread.h>

/* ---- programs ---- */

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
    "%9 = softmax(%8) {axis = 2} : f32[B, T, 24] ; group 6\n"
    "output %8 \"y\"\n"
    "output %9 \"p\"\n";

typedef struct Made {
    Arena *arena;
    Graph *imported;
    sn_Program *program;
    sn_Context *context;
} Made;

static Status try_compile(Made *made, const char *text, bool eager, const char *cache) {
    *made = (Made){.arena = sn_arena_new()};
    assert_ok(sn_graph_parse(made->arena, text, strlen(text), &made->imported));
    PipelineOptions options = {.eager = eager, .verify = true};
    Arena *arena = sn_arena_new();
    Plan *plan;
    Status status = sn_program_open(arena, "cuda", 2, cache, &made->program);
    if (!status)
        status = sn_compile_plan(arena, made->imported, &made->program->device->target, &options, NULL,
                                 &made->program->ledger, &plan);
    return status ? status : sn_program_load(made->program, plan);
}

static Made compile(const char *text, bool eager, const char *cache) {
    Made made;
    assert_ok(try_compile(&made, text, eager, cache));
    made.context = make_context(made.program, 0);
    return made;
}

static void release(Made *made) {
    sn_context_free(made->context);
    if (made->program) sn_program_free(made->program);
    sn_arena_free(made->arena);
}

enum { MOST = 4 * 33 * 24 };

static void set_random(sn_Context *context, int64_t batch, int64_t length, uint64_t seed, float *x) {
    for (int64_t i = 0; i < batch * length * 24; i++) x[i] = (float)sn_random_normal(seed, (uint64_t)i);
    assert_ok(set_f32(context, 0, 3, (int64_t[]){batch, length, 24}, x));
}

static void compare(const Made *made, int64_t batch, int64_t length, const float *x) {
    compare_with(made->imported, made->context, 3, (int64_t[]){batch, length, 24}, x);
}

/* The third run of a shape replays what the second one recorded, with inputs of other numbers at another
 * place. */
static void runs_agree_with_the_interpreter(void **state) {
    static const int64_t shapes[][2] = {{1, 7}, {3, 33}, {1, 7}, {2, 1}};
    float *x = malloc(2 * MOST * sizeof *x);
    for (int eager = 0; eager < 2; eager++) {
        Made made = compile(perceptron, eager, *state);
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            for (int run = 0; run < 4; run++) {
                float *at = x + (run % 2 ? MOST : 0);
                set_random(made.context, shapes[k][0], shapes[k][1], 10 * k + (uint64_t)run, at);
                assert_ok(sn_context_run(made.context));
                compare(&made, shapes[k][0], shapes[k][1], at);
            }
        release(&made);
    }
    free(x);
}

/* Parts of one run that are recorded are not taken for one another. */
static void phases_are_recorded_apart(void **state) {
    static const char phases[] = "graph \"phases\" stage imported\n"
                                 "symbol B\nsymbol T\n"
                                 "input %0 \"x\": f32[B, T, 24]\n"
                                 "%1 = softmax(%0) {axis = 2} : f32[B, T, 24] ; group 1\n"
                                 "%2 = softmax(%1) {axis = 1} : f32[B, T, 24] ; group 2 phase backward\n"
                                 "%3 = softmax(%2) {axis = 2} : f32[B, T, 24] ; group 3 phase update\n"
                                 "output %1 \"e\"\n"
                                 "output %3 \"y\"\n";
    float x[MOST];
    for (int eager = 0; eager < 2; eager++) {
        Made made = compile(phases, eager, *state);
        for (int run = 0; run < 4; run++) {
            double seconds[SN_PHASE_COUNT];
            set_random(made.context, 2, 3, (uint64_t)run, x);
            assert_ok(sn_context_run_phases(made.context, SN_PHASE_COUNT, seconds));
            compare(&made, 2, 3, x);
        }
        release(&made);
    }
}

static void outputs_come_when_they_are_asked_for(void **state) {
    float x[MOST];
    sn_Tensor first, second;
    Made made = compile(perceptron, false, *state);
    set_random(made.context, 1, 3, 1, x);
    assert_ok(sn_context_run(made.context));
    assert_null(made.context->output[1].data);
    assert_ok(sn_context_output(made.context, 0, &first));
    assert_null(made.context->output[1].data);
    assert_ok(sn_context_output(made.context, 0, &second));
    assert_ptr_equal(first.data, second.data);
    compare(&made, 1, 3, x);
    release(&made);
}

static void launches_are_timed_one_by_one(void **state) {
    float x[MOST];
    for (int eager = 0; eager < 2; eager++) {
        Made made = compile(perceptron, eager, *state);
        assert_ok(sn_profile_enable(made.context));
        set_random(made.context, 1, 3, 1, x);
        for (int i = 0; i < 3; i++) assert_ok(sn_context_run(made.context));
        compare(&made, 1, 3, x);
        const Profile *profile = sn_context_profile(made.context);
        const Plan *plan = made.program->plan;
        for (int i = plan->setup_count; i < plan->launch_count; i++) {
            assert_int_equal(profile->time[i].calls, 3);
            assert_true(profile->time[i].seconds >= 0 && profile->time[i].seconds < 60);
        }
        release(&made);
    }
}

static const char lookup[] = "graph \"lookup\" stage imported\n"
                             "symbol T\n"
                             "input %0 \"table\": f32[3]\n"
                             "input %1 \"ids\": i64[T]\n"
                             "%2 = gather(%0, %1) {axis = 0} : f32[T] ; group 1 @ \"embed\" Gather 17 #1\n"
                             "output %2 \"y\"\n";

static void faults_name_the_node_and_pass(void **state) {
    Made made = compile(lookup, false, *state);
    float table[] = {1, 2, 4};
    int64_t ids[] = {1, 5, 0};
    assert_ok(set_f32(made.context, 0, 1, (int64_t[]){3}, table));
    for (int i = 0; i < 3; i++) { /* directly, recorded, replayed */
        ids[1] = 5;
        assert_ok(set_i64(made.context, 1, 1, (int64_t[]){3}, ids));
        assert_fails(sn_context_run(made.context), SN_FAULT, "embed");
        ids[1] = 2;
        assert_ok(sn_context_run(made.context));
        sn_Tensor y;
        assert_ok(sn_context_output(made.context, 0, &y));
        assert_true(((const float *)y.data)[1] == 4);
    }
    release(&made);
}

typedef struct Worker {
    const Made *made;
    uint64_t seed;
    bool good;
} Worker;

/* A state that is updated in place, behind a lookup that fails: it stays as it was, recorded or not. */
static void a_run_that_fails_on_its_data_leaves_states(void **state) {
    static const char text[] = "graph \"step\" stage imported\n"
                               "input %0 \"weight\": f32[300]\n"
                               "input %1 \"table\": f32[5]\n"
                               "input %2 \"index\": i64[2]\n"
                               "%3 = gather(%1, %2) {axis = 0} : f32[2]\n"
                               "%4 = add(%0, %0) : f32[300]\n"
                               "output %4 \"weight after\"\n"
                               "output %3 \"found\"\n";
    static const sn_State pair[] = {{0, 0}};
    static float weight[300], table[5];
    int64_t index[2] = {4, 1};
    for (int i = 0; i < 300; i++) weight[i] = (float)i;
    for (int eager = 0; eager < 2; eager++) {
        Made made = {.arena = sn_arena_new(), .program = open_device(*state)};
        PipelineOptions options = {.eager = eager, .verify = true, .state_count = 1, .state = pair};
        Plan *plan;
        sn_Tensor got, indices = {sn_dtype_onnx(SN_I64), 1, (int64_t[]){2}, index};
        assert_ok(sn_graph_parse(made.arena, text, strlen(text), &made.imported));
        assert_ok(sn_compile_plan(made.program->arena, made.imported, &made.program->device->target, &options,
                                  NULL, &made.program->ledger, &plan));
        assert_ok(sn_program_load(made.program, plan));
        assert_true(plan->update[0].launch >= 0);
        made.context = make_context(made.program, 0);
        assert_ok(set_f32(made.context, 0, 1, (int64_t[]){300}, weight));
        assert_ok(set_f32(made.context, 1, 1, (int64_t[]){5}, table));
        float times = 1;
        for (int run = 0; run < 8; run++) {
            index[1] = run % 4 == 1 ? 5 : 1;
            assert_ok(sn_context_set_input(made.context, 2, &indices));
            if (run % 4 == 1) {
                assert_fails(sn_context_run(made.context), SN_FAULT, "gather");
                continue;
            }
            assert_ok(sn_context_run(made.context));
            assert_ok(sn_context_output(made.context, 0, &got));
            times *= 2;
            for (int i = 0; i < 300; i++) assert_true(((const float *)got.data)[i] == times * (float)i);
        }
        release(&made);
    }
}

static void *work(void *argument) {
    Worker *worker = argument;
    Made own = *worker->made;
    own.context = make_context(own.program, 0);
    float *x = malloc(MOST * sizeof *x);
    for (int run = 0; run < 4; run++) {
        set_random(own.context, 1, 5, worker->seed + (uint64_t)run, x);
        assert_ok(sn_context_run(own.context));
    }
    sn_Tensor y;
    worker->good = sn_context_output(own.context, 0, &y) == NULL;
    sn_context_free(own.context);
    free(x);
    return NULL;
}

static void contexts_run_side_by_side(void **state) {
    Made made = compile(perceptron, false, *state);
    pthread_t thread[3];
    Worker worker[3];
    for (int i = 0; i < 3; i++) {
        worker[i] = (Worker){&made, 100 * (uint64_t)i, false};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_true(worker[i].good);
    }
    release(&made);
}

/* ---- the device by itself ---- */

static void copies_keep_every_byte(void **state) {
    sn_Program *program = open_device(*state);
    Device *device = program->device;
    enum { BYTES = (9 << 20) + 3 }; /* more than two pieces of staging memory */
    unsigned char *from = malloc(BYTES), *to = calloc(BYTES, 1);
    void *at, *other;
    for (int i = 0; i < BYTES; i++) from[i] = (unsigned char)(i * 2654435761u >> 24);
    assert_ok(device->ops->alloc(device, BYTES, &at));
    assert_ok(device->ops->alloc(device, BYTES, &other));
    assert_ok(device->ops->upload(device, at, from, BYTES));
    assert_ok(device->ops->download(device, to, at, BYTES));
    assert_memory_equal(from, to, BYTES);
    RowsCopy up = {SN_COPY_UPLOAD, other, from, 100, 40, 30, 7},
             move = {SN_COPY_MOVE, at, other, 50, 100, 30, 7},
             down = {SN_COPY_DOWNLOAD, to, at, 30, 50, 30, 7},
             whole = {SN_COPY_MOVE, other, at, BYTES, BYTES, BYTES, 1};
    assert_ok(device->ops->copy_rows(device, &up));
    assert_ok(device->ops->copy_rows(device, &move));
    assert_ok(device->ops->copy_rows(device, &down));
    for (int row = 0; row < 7; row++) assert_memory_equal(to + 30 * row, from + 40 * row, 30);
    assert_ok(device->ops->copy_rows(device, &whole));
    device->ops->free(device, at, BYTES);
    device->ops->free(device, other, BYTES);
    free(from);
    free(to);
    sn_program_free(program);
}

/* Rows that are farther apart than one copy of the driver can have them. */
static void rows_may_lie_far_apart(void **state) {
    enum { ROWS = 5, WIDTH = 20, FAR = 100, NEAR = 60 };
    unsigned char from[ROWS * FAR], to[ROWS * FAR] = {0};
    void *far, *near;
    if (on_gpu()) skip();
    plant("pitch=64");
    sn_Program *program = open_device(*state);
    Device *device = program->device;
    for (int i = 0; i < ROWS * FAR; i++) from[i] = (unsigned char)(i * 7);
    assert_ok(device->ops->alloc(device, ROWS * FAR, &far));
    assert_ok(device->ops->alloc(device, ROWS * NEAR, &near));
    RowsCopy up = {SN_COPY_UPLOAD, far, from, FAR, NEAR, WIDTH, ROWS},
             move = {SN_COPY_MOVE, near, far, NEAR, FAR, WIDTH, ROWS},
             down = {SN_COPY_DOWNLOAD, to, near, FAR, NEAR, WIDTH, ROWS};
    assert_ok(device->ops->copy_rows(device, &up));
    assert_ok(device->ops->copy_rows(device, &move));
    assert_ok(device->ops->copy_rows(device, &down));
    for (int row = 0; row < ROWS; row++) assert_memory_equal(to + FAR * row, from + NEAR * row, WIDTH);
    device->ops->free(device, far, ROWS * FAR);
    device->ops->free(device, near, ROWS * NEAR);
    sn_program_free(program);
    plant("");
}

/* ---- planted faults ---- */

static void open_fails(const char *variable, const char *library, const char *planted, sn_Code code,
                       const char *what, const char *cache) {
    char *before = strdup(getenv(variable));
    sn_Program *program;
    plant(planted);
    setenv(variable, library, 1);
    assert_fails(sn_program_open(sn_arena_new(), "cuda", 1, cache, &program), code, what);
    sn_program_free(program);
    setenv(variable, before, 1);
    free(before);
    plant("");
}

static void what_is_missing_is_said(void **state) {
    const char *cuda = SN_EMULATED "/libemulated_cuda.so";
    if (on_gpu()) skip();
    open_fails("SINTER_LIBCUDA", "/nowhere/libcuda.so.1", "", SN_DEVICE,
               "no usable GPU: the NVIDIA driver is missing", *state);
    open_fails("SINTER_LIBCUDA", SN_EMULATED "/libemulated_cuda_old.so", "", SN_DEVICE,
               "lacks cuGraphExecUpdate_v2", *state);
    open_fails("SINTER_LIBCUDA", cuda, "init=100", SN_DEVICE,
               "no usable GPU: cuInit gave 100 CUDA_ERROR_NO_DEVICE", *state);
    open_fails("SINTER_LIBCUDA", cuda, "init=34", SN_DEVICE, "cuInit gave 34 CUDA_ERROR_STUB_LIBRARY",
               *state);
    open_fails("SINTER_LIBCUDA", cuda, "devices=0", SN_DEVICE, "no usable GPU", *state);
    open_fails("SINTER_LIBCUDA", cuda, "sm=75", SN_UNSUPPORTED, "compute capability 7.5 is unsupported",
               *state);
    open_fails("SINTER_LIBNVRTC", "/nowhere/libnvrtc.so", "", SN_COMPILER, "NVRTC is missing", *state);
}

/* Compilations and runs that fail at every allocation in turn, and work again afterwards. */
static void memory_may_run_out_anywhere(void **state) {
    static const char *const kinds[] = {"alloc", "host_alloc", "module"};
    float x[MOST];
    if (on_gpu()) skip();
    for (int kind = 0; kind < 3; kind++)
        for (int eager = 0; eager < 2; eager++) {
            int failures = 0;
            for (int n = 1; n == 1 || failures == n - 1; n++) {
                char fault[64];
                snprintf(fault, sizeof fault, "%s=%d", kinds[kind], n);
                plant(fault);
                Made made;
                Status status = try_compile(&made, perceptron, eager, *state);
                if (!status) status = sn_context_new(made.program, NULL, &made.context);
                if (!status) set_random(made.context, 1, 3, 1, x);
                for (int run = 0; run < 3 && !status; run++) status = sn_context_run(made.context);
                sn_Tensor y;
                if (!status) status = sn_context_output(made.context, 0, &y);
                failures += status != NULL;
                if (status) assert_int_equal(sn_error_code(status), SN_NO_MEMORY);
                if (status && made.context) {
                    assert_ok(sn_context_run(made.context));
                    compare(&made, 1, 3, x);
                }
                sn_error_free(status);
                release(&made);
            }
            assert_true(failures >= 1);
        }
    plant("");
}

static void a_failed_recording_ends_one_run(void **state) {
    static const struct {
        const char *fault;
        sn_Code code;
    } cases[] = {{"capture=1", SN_DEVICE}, {"instantiate=1", SN_NO_MEMORY}};
    float x[MOST];
    if (on_gpu()) skip();
    for (int i = 0; i < 2; i++) {
        Made made = compile(perceptron, false, *state);
        set_random(made.context, 1, 3, 1, x);
        assert_ok(sn_context_run(made.context));
        plant(cases[i].fault);
        assert_fails(sn_context_run(made.context), cases[i].code, "recording a run");
        for (int run = 0; run < 2; run++) {
            assert_ok(sn_context_run(made.context));
            compare(&made, 1, 3, x);
        }
        release(&made);
        plant("");
    }
}

static void a_compiler_that_fails_is_quoted(void **state) {
    Made made;
    char cache[128];
    if (on_gpu()) skip();
    snprintf(cache, sizeof cache, "%s/none", (const char *)*state);
    plant("compile=1");
    assert_fails(try_compile(&made, lookup, false, cache), SN_COMPILER, "nvrtcCompileProgram gave 6");
    release(&made);
    plant("");
}

/* Last: the GPU is lost to the whole process. */
static void a_lost_context_stays_lost(void **state) {
    float x[MOST];
    Made made[2];
    if (on_gpu()) skip();
    for (int eager = 0; eager < 2; eager++) {
        made[eager] = compile(perceptron, eager, *state);
        set_random(made[eager].context, 1, 3, 1, x);
        assert_ok(sn_context_run(made[eager].context));
    }
    plant("launch=2");
    for (int eager = 0; eager < 2; eager++) {
        sn_Context *other;
        for (int i = 0; i < 3; i++)
            assert_fails(sn_context_run(made[eager].context), SN_DEVICE, "the GPU's context is lost since");
        assert_fails(sn_context_new(made[eager].program, NULL, &other), SN_DEVICE, "is lost since");
    }
    for (int eager = 0; eager < 2; eager++) release(&made[eager]);
    plant("");
}

/* ---- ahead of time ---- */

static void set_variable(const char *name, const char *value, char *before, size_t size) {
    snprintf(before, size, "%s", getenv(name));
    setenv(name, value, 1);
}

/* Without a driver, for a GPU that is not there, into a file. */
static void save_for_an_absent_gpu(const char *cache, const char *architecture, const char *path) {
    Arena *arena = sn_arena_new();
    sn_Program *program;
    Graph *graph;
    Plan *plan;
    PipelineOptions options = {0};
    sn_Context *context;
    char driver[256];
    set_variable("SINTER_LIBCUDA", "/nowhere/libcuda.so.1", driver, sizeof driver);
    assert_ok(sn_program_open(arena, architecture, 2, cache, &program));
    assert_ok(sn_graph_parse(arena, perceptron, strlen(perceptron), &graph));
    assert_ok(
        sn_compile_plan(arena, graph, &program->device->target, &options, NULL, &program->ledger, &plan));
    assert_ok(sn_program_load(program, plan));
    assert_fails(sn_context_new(program, NULL, &context), SN_DEVICE, "only compiled for");
    assert_ok(sn_program_save(program, path));
    sn_program_free(program);
    setenv("SINTER_LIBCUDA", driver, 1);
}

static void a_saved_program_needs_no_compiler(void **state) {
    char path[128], nvrtc[256];
    float x[MOST];
    if (on_gpu()) skip();
    snprintf(path, sizeof path, "%s/saved.sinter", (const char *)*state);
    save_for_an_absent_gpu(*state, "cuda:sm_90a", path);
    set_variable("SINTER_LIBNVRTC", "/nowhere/libnvrtc.so", nvrtc, sizeof nvrtc);
    Made made = {.arena = sn_arena_new()};
    assert_ok(sn_graph_parse(made.arena, perceptron, strlen(perceptron), &made.imported));
    assert_ok(sn_program_open_file(path, NULL, &made.program));
    made.context = make_context(made.program, 0);
    for (int run = 0; run < 3; run++) {
        set_random(made.context, 2, 5, (uint64_t)run, x);
        assert_ok(sn_context_run(made.context));
        compare(&made, 2, 5, x);
    }
    release(&made);
    setenv("SINTER_LIBNVRTC", nvrtc, 1);
}

static void a_saved_program_needs_its_kind_of_gpu(void **state) {
    static const struct {
        const char *target, *gpu;
        bool runs;
    } cases[] = {{"cuda:sm_80", "sm=87", true},   {"cuda:sm_86", "sm=89", true},
                 {"cuda:sm_80", "sm=86", false}, /* has less shared memory */
                 {"cuda:sm_86", "sm=80", false},  {"cuda:sm_80", "sm=90", false},
                 {"cuda:sm_90a", "sm=100", false}};
    char path[128];
    if (on_gpu()) skip();
    snprintf(path, sizeof path, "%s/saved.sinter", (const char *)*state);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sn_Program *program = NULL;
        save_for_an_absent_gpu(*state, cases[i].target, path);
        plant(cases[i].gpu);
        Status status = sn_program_open_file(path, NULL, &program);
        if (!cases[i].runs) assert_fails(status, SN_UNSUPPORTED, "unsupported by this GPU");
        if (cases[i].runs) assert_ok(status);
        if (program) sn_program_free(program);
        plant("");
    }
    Arena *arena = sn_arena_new();
    Target target;
    sn_target_cuda(&target, 90);
    assert_string_equal(sn_cuda_missing(arena, &target), "");
    plant("sm=80");
    assert_non_null(strstr(sn_cuda_missing(arena, &target), "compiled for sm_90a"));
    plant("");
    sn_arena_free(arena);
    sn_CompileOptions options = {.size = sizeof options, .device = "cpu"};
    sn_Program *program;
    assert_fails(sn_program_open_file(path, &options, &program), SN_UNSUPPORTED, "was saved for cuda:sm_90a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_agree_with_the_interpreter),
        cmocka_unit_test(phases_are_recorded_apart),
        cmocka_unit_test(outputs_come_when_they_are_asked_for),
        cmocka_unit_test(launches_are_timed_one_by_one),
        cmocka_unit_test(faults_name_the_node_and_pass),
        cmocka_unit_test(a_run_that_fails_on_its_data_leaves_states),
        cmocka_unit_test(contexts_run_side_by_side),
        cmocka_unit_test(copies_keep_every_byte),
        cmocka_unit_test(rows_may_lie_far_apart),
        cmocka_unit_test(what_is_missing_is_said),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(a_failed_recording_ends_one_run),
        cmocka_unit_test(a_compiler_that_fails_is_quoted),
        cmocka_unit_test(a_saved_program_needs_no_compiler),
        cmocka_unit_test(a_saved_program_needs_its_kind_of_gpu),
        cmocka_unit_test(a_lost_context_stays_lost),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}

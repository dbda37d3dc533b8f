/* One program of a whole model, run by several threads with different shapes at once; and a model that several compile at once. */
#include "execute_fixture.h"
#include "number.h"

#include <pthread.h>

#define MODEL SN_TESTS "/models/bert_op11_dynamic/model.onnx"

enum { CALLERS = 4, RUNS = 12, SHAPES = 5, MOST = 4 * 23, INPUTS = 3 };

static const int64_t shapes[SHAPES][2] = {{1, 1}, {2, 7}, {4, 23}, {3, 16}, {1, 12}};

/* What a run of shape `shapes[index]` gave. */
typedef struct Result {
    float *data;
    int64_t count;
} Result;

typedef struct Caller {
    const sn_Program *program;
    const Result *expected;
    int number;
    const char *wrong;
} Caller;

/* Tokens, the mask (the last tokens of a row are padding), token types. */
static void fill(int64_t *data, int input, const int64_t *shape) {
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) {
        uint32_t word[4];
        sn_philox((uint64_t)input, (uint64_t)i, word);
        data[i] = input == 0 ? word[0] % 20 : input == 1 ? i % shape[1] < 10 : word[0] % 2;
    }
}

static Status run(sn_Context *context, int shape, Result *out) {
    int64_t data[INPUTS][MOST];
    for (int i = 0; i < INPUTS; i++) {
        fill(data[i], i, shapes[shape]);
        TRY(set_i64(context, i, 2, shapes[shape], data[i]));
    }
    TRY(sn_context_run(context));
    sn_Tensor got;
    TRY(sn_context_output(context, 0, &got));
    out->data = got.data;
    out->count = got.extent[0] * got.extent[1] * got.extent[2];
    return NULL;
}

static void *call(void *argument) {
    Caller *self = argument;
    sn_Context *context;
    Status status = sn_context_new(self->program, NULL, &context);
    for (int i = 0; i < RUNS && !status && !self->wrong; i++) {
        int shape = (self->number + i) % SHAPES;
        const Result *expected = &self->expected[shape];
        Result got;
        status = run(context, shape, &got);
        if (status) break;
        bool same = got.count == expected->count &&
                    memcmp(got.data, expected->data, (size_t)got.count * sizeof *got.data) == 0;
        if (!same) self->wrong = "a result differs from that of one thread alone";
    }
    if (status) self->wrong = "a run failed";
    sn_error_free(status);
    sn_context_free(context);
    return NULL;
}

static sn_Program *compile(const sn_Model *model, sn_Mode mode, int threads, const char *cache) {
    sn_CompileOptions options = {
        .size = sizeof options, .mode = mode, .threads = threads, .cache_dir = cache};
    sn_Program *program;
    assert_ok(sn_compile(model, &options, &program));
    return program;
}

static void expect_alone(const sn_Model *model, sn_Mode mode, const char *cache, Result *expected) {
    sn_Program *program = compile(model, mode, 1, cache);
    sn_Context *context = make_context(program, 0);
    for (int s = 0; s < SHAPES; s++) {
        Result result;
        assert_ok(run(context, s, &result));
        assert_true(result.count > 0);
        expected[s] = (Result){malloc((size_t)result.count * sizeof(float)), result.count};
        assert_non_null(expected[s].data);
        memcpy(expected[s].data, result.data, (size_t)result.count * sizeof(float));
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void call_together(const sn_Program *program, const Result *expected) {
    pthread_t thread[CALLERS];
    Caller caller[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        caller[i] = (Caller){program, expected, i, NULL};
        assert_int_equal(pthread_create(&thread[i], NULL, call, &caller[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < CALLERS; i++)
        if (caller[i].wrong) fail_msg("thread %d: %s", i, caller[i].wrong);
}

static void results_are_those_of_one_thread_alone(void **state) {
    sn_Model *model;
    assert_ok(sn_model_open(MODEL, &model));
    for (sn_Mode mode = SN_COMPILED; mode <= SN_EAGER; mode++) {
        Result expected[SHAPES];
        expect_alone(model, mode, *state, expected);
        for (int threads = 1; threads <= 3; threads++) {
            sn_Program *program = compile(model, mode, threads, *state);
            call_together(program, expected);
            sn_program_free(program);
        }
        for (int s = 0; s < SHAPES; s++) free(expected[s].data);
    }
    sn_model_close(model);
}

/* ---- compilations of one model at once, into one cache ---- */

/* Several kernels, none of which takes long to compile. */
#define LIST SN_TESTS "/models/ops/Unique_11_values/model.onnx"

enum { LIST_LENGTH = 65, DIFFERENT = 7 };

static Status count_different(sn_Context *context, int64_t *out) {
    int64_t data[LIST_LENGTH];
    for (int i = 0; i < LIST_LENGTH; i++) data[i] = i % DIFFERENT;
    TRY(set_i64(context, 0, 1, (int64_t[]){LIST_LENGTH}, data));
    TRY(sn_context_run(context));
    sn_Tensor got;
    TRY(sn_context_output(context, 0, &got));
    *out = got.extent[0];
    return NULL;
}

typedef struct Compiler {
    const sn_Model *model;
    const char *cache;
    bool good;
} Compiler;

static void *compile_and_run(void *argument) {
    Compiler *self = argument;
    sn_CompileOptions options = {.size = sizeof options, .threads = 2, .cache_dir = self->cache};
    sn_Program *program;
    sn_Context *context = NULL;
    int64_t count = 0;
    Status status = sn_compile(self->model, &options, &program);
    if (!status) status = sn_context_new(program, NULL, &context);
    if (!status) status = count_different(context, &count);
    self->good = !status && count == DIFFERENT;
    sn_error_free(status);
    sn_context_free(context);
    sn_program_free(program);
    return NULL;
}

static void threads_compile_into_one_cache(void **state) {
    sn_Model *model;
    char cache[80];
    snprintf(cache, sizeof cache, "%s/fresh", (const char *)*state);
    assert_ok(sn_model_open(LIST, &model));
    pthread_t thread[CALLERS];
    Compiler compiler[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        compiler[i] = (Compiler){model, cache, false};
        assert_int_equal(pthread_create(&thread[i], NULL, compile_and_run, &compiler[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_true(compiler[i].good);
    }
    sn_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(results_are_those_of_one_thread_alone),
                                       cmocka_unit_test(threads_compile_into_one_cache)};
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

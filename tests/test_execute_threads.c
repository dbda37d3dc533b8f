/* Contexts of one program on several threads at once. */
#include "execute_fixture.h"

#include <pthread.h>

static const char squares[] = "graph \"squares\" stage fused\n"
                              "symbol T\n"
                              "input %0 \"x\": f32[T]\n"
                              "%1 = cluster(%0) {kind = map} {\n"
                              "  param %2: f32[T]\n"
                              "  %3 = mul(%2, %2) : f32[T]\n"
                              "  return %3\n"
                              "} : f32[T]\n"
                              "%4 = cluster(%1, %0) {kind = map} {\n"
                              "  param %5: f32[T]\n"
                              "  param %6: f32[T]\n"
                              "  %7 = add(%5, %6) : f32[T]\n"
                              "  return %7\n"
                              "} : f32[T]\n"
                              "output %4 \"y\"\n";

enum { THREADS = 4, RUNS = 60, MOST = 3000 };

typedef struct Caller {
    const sn_Program *program;
    int number;
    const char *wrong;
} Caller;

static const char *run_once(sn_Context *context, float *x, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++) x[i] = value;
    sn_Tensor got;
    sn_Error *error = set_f32(context, 0, 1, &count, x);
    if (!error) error = sn_context_run(context);
    if (!error) error = sn_context_output(context, 0, &got);
    sn_error_free(error);
    if (error) return "a run failed";
    for (int64_t i = 0; i < count; i++)
        if (((float *)got.data)[i] != value * value + value) return "an element is wrong";
    return NULL;
}

static void *caller(void *argument) {
    Caller *self = argument;
    static const sn_ContextOptions options = {.size = sizeof options};
    sn_Context *context;
    float *x = malloc(MOST * sizeof *x);
    sn_Error *error = sn_context_new(self->program, &options, &context);
    if (error || !x) return self->wrong = "no context", NULL;
    for (int run = 0; run < RUNS && !self->wrong; run++)
        self->wrong = run_once(context, x, MOST - 40 * run, (float)(self->number + run));
    sn_context_free(context);
    free(x);
    return NULL;
}

static void contexts_do_not_disturb_each_other(void **state) {
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_program(squares, eager, 3, *state, NULL);
        pthread_t thread[THREADS];
        Caller callers[THREADS] = {{0}};
        for (int i = 0; i < THREADS; i++) {
            callers[i] = (Caller){program, i, NULL};
            assert_int_equal(pthread_create(&thread[i], NULL, caller, &callers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(thread[i], NULL), 0);
            if (callers[i].wrong) fail_msg("thread %d: %s", i, callers[i].wrong);
        }
        sn_program_free(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(contexts_do_not_disturb_each_other)};
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}

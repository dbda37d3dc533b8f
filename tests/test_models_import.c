/* Every model under models/ is imported, and the interpreter's results are compared with the reference's. */
#include "eval.h"
#include "load.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

/* A comparison holds where |a - b| <= tolerance·(1 + |b|), with NaN and infinity in the same places. */
static double tolerance_of(DType dtype) {
    return dtype == SN_F16 ? 2e-3 : dtype == SN_BF16 ? 2e-2 : 1e-4;
}

typedef struct Tally {
    int models, cases, failures, unsupported;
    Text unsupported_text;
} Tally;

static bool exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

static const Array *read_array(Arena *arena, const char *path, Status *status) {
    Tensor *tensor;
    const char *name;
    *status = sn_load_tensor(arena, path, &tensor, &name);
    return *status ? NULL : sn_array_of_tensor(arena, tensor);
}

static bool close_to(double a, double b, double tolerance) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs(a - b) <= tolerance * (1 + fabs(b));
}

/* NULL, or what differs. */
static const char *difference(Arena *arena, const Array *have, const Array *want) {
    if (have->dtype != want->dtype)
        return sn_arena_printf(arena, "%s instead of %s", sn_dtype_name(have->dtype), sn_dtype_name(want->dtype));
    if (have->rank != want->rank) return sn_arena_printf(arena, "rank %d instead of %d", have->rank, want->rank);
    for (int k = 0; k < have->rank; k++)
        if (have->extent[k] != want->extent[k])
            return sn_arena_printf(arena, "extent %d is %lld instead of %lld", k, (long long)have->extent[k],
                                   (long long)want->extent[k]);
    for (int64_t i = 0; i < have->count; i++) {
        double a = have->f ? have->f[i] : (double)have->i[i], b = want->f ? want->f[i] : (double)want->i[i];
        if (!(have->f ? close_to(a, b, tolerance_of(have->dtype)) : have->i[i] == want->i[i]))
            return sn_arena_printf(arena, "element %lld is %.9g instead of %.9g", (long long)i, a, b);
    }
    return NULL;
}

/* The name of a file of a case; with one TensorProto each. */
static const char *numbered(Arena *arena, const char *folder, const char *what, int number) {
    return sn_arena_printf(arena, "%s/%s_%d.pb", folder, what, number);
}

static const char *run_case(Arena *arena, const Graph *graph, const char *folder) {
    int inputs = graph->body->param.count, outputs = graph->body->result.count;
    const Array **input = SN_ARRAY(arena, const Array *, inputs);
    Array **output = SN_ARRAY(arena, Array *, outputs);
    Status status;
    for (int k = 0; k < inputs; k++) {
        input[k] = read_array(arena, numbered(arena, folder, "input", k), &status);
        if (status) return sn_arena_string(arena, sn_error_message(status));
    }
    status = sn_eval_graph(arena, graph, true, input, output);
    if (status) return sn_arena_string(arena, sn_error_message(status));
    for (int k = 0; k < outputs; k++) {
        const Array *want = read_array(arena, numbered(arena, folder, "output", k), &status);
        if (status) return sn_arena_string(arena, sn_error_message(status));
        const char *differs = difference(arena, output[k], want);
        if (differs) return sn_arena_printf(arena, "output %d: %s", k, differs);
    }
    return NULL;
}

static void run_folder(Tally *tally, const Graph *graph, const char *folder) {
    Arena *arena = sn_arena_new();
    const char *problem = run_case(arena, graph, folder);
    tally->cases++;
    if (problem) {
        tally->failures++;
        print_error("%s: %s\n", folder, problem);
    }
    sn_arena_free(arena);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The folders in `folder`, sorted. */
static char **folders_in(Arena *arena, const char *folder, int *count) {
    SN_VEC(char *) found = {0};
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char *path = sn_arena_printf(arena, "%s/%s", folder, entry->d_name);
        struct stat info;
        if (entry->d_name[0] != '.' && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) sn_push(arena, &found, path);
    }
    closedir(directory);
    if (found.count > 0) qsort(found.at, (size_t)found.count, sizeof *found.at, by_name);
    *count = found.count;
    return found.at;
}

static void run_model(Tally *tally, const char *folder) {
    Arena *arena = sn_arena_new();
    const char *path = sn_arena_printf(arena, "%s/model.onnx", folder);
    Graph *graph;
    tally->models++;
    Status status = sn_load_onnx(arena, path, NULL, &graph, NULL);
    if (status) {
        tally->failures++;
        print_error("%s\n", sn_error_message(status));
        sn_error_free(status);
        sn_arena_free(arena);
        return;
    }
    int count;
    char **cases = folders_in(arena, folder, &count);
    for (int k = 0; k < count; k++) run_folder(tally, graph, cases[k]);
    if (exists(numbered(arena, folder, "output", 0))) run_folder(tally, graph, folder);
    sn_arena_free(arena);
}

static void run_all(const char *below) {
    Tally tally = {0};
    Arena *arena = sn_arena_new();
    int count;
    char **models = folders_in(arena, below, &count);
    for (int k = 0; k < count; k++) {
        const char *model = sn_arena_printf(arena, "%s/model.onnx", models[k]);
        if (exists(model)) run_model(&tally, models[k]);
    }
    sn_arena_free(arena);
    print_message("%d models, %d cases, %d failures\n", tally.models, tally.cases, tally.failures);
    assert_true(tally.models > 0);
    assert_int_equal(tally.failures, 0);
}

static void whole_models_give_the_references_results(void **state) {
    (void)state;
    run_all(SN_TESTS "/models");
}

static void operators_give_the_references_results(void **state) {
    (void)state;
    run_all(SN_TESTS "/models/ops");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_give_the_references_results),
        cmocka_unit_test(whole_models_give_the_references_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every model under models/ is imported, and the interpreter's results are compared with the reference's.
 *
 * With folders as arguments it does the same with the models in those, for larger collections. */
#include "eval.h"
#include "load.h"
#include "sizes.h"
#include "text_form.h"
#include "verify.h"

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
    int models, cases, failures, refused;
} Tally;

/* What cannot be known before a run is refused, and in these words. */
typedef struct Refusal {
    const char *folder, *reason;
} Refusal;

static const Refusal refusals[] = {
    {"Add_7_empty", "is greater than"}, /* an extent of 0 against a symbolic one that turns out to be 1 */
    {"Mul_7_empty", "is greater than"},
    {"Sub_7_empty", "is greater than"},
    {"Expand_8_run_time", "data-dependent shape"}, /* of an unknown rank */
    {"Slice_10_run_time", "data-dependent starts"},
    {"GatherND_11_mask_grid", "the last extent of the indices is not a constant"},
    {"GatherND_11_rows", "the last extent of the indices is not a constant"},
    {"Squeeze_11_all", "a rank that depends on a run's sizes"},
};

static const char *expected_refusal(const char *folder) {
    const char *name = strrchr(folder, '/') + 1;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strcmp(refusals[i].folder, name) == 0) return refusals[i].reason;
    return NULL;
}

/* What went wrong counts as a failure unless it was expected. */
static void count_problem(Tally *tally, const char *folder, const char *problem) {
    const char *expected = expected_refusal(folder);
    if (expected && strstr(problem, expected)) {
        tally->refused++;
        return;
    }
    tally->failures++;
    print_error("%s: %s\n", folder, problem);
}

/* The message, kept in the arena; the status is freed. */
static const char *message_of(Arena *arena, Status status) {
    const char *message = sn_arena_string(arena, sn_error_message(status));
    sn_error_free(status);
    return message;
}

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
        return sn_arena_printf(arena, "%s instead of %s", sn_dtype_name(have->dtype),
                               sn_dtype_name(want->dtype));
    if (have->rank != want->rank)
        return sn_arena_printf(arena, "rank %d instead of %d", have->rank, want->rank);
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
    int inputs = graph->body->param.count - sn_graph_loop_params(graph);
    int results = graph->body->result.count, outputs = results - sn_graph_hidden_results(graph);
    const Array **input = SN_ARRAY(arena, const Array *, inputs);
    Array **output = SN_ARRAY(arena, Array *, results);
    Status status;
    for (int k = 0; k < inputs; k++) {
        input[k] = read_array(arena, numbered(arena, folder, "input", k), &status);
        if (status) return message_of(arena, status);
    }
    status = sn_eval_graph(arena, graph, true, input, output);
    if (status) return message_of(arena, status);
    for (int k = 0; k < outputs; k++) {
        const Array *want = read_array(arena, numbered(arena, folder, "output", k), &status);
        if (status) return message_of(arena, status);
        const char *differs = difference(arena, output[k], want);
        if (differs) return sn_arena_printf(arena, "output %d: %s", k, differs);
    }
    return NULL;
}

static void run_folder(Tally *tally, const Graph *graph, const char *folder) {
    Arena *arena = sn_arena_new();
    const char *problem = run_case(arena, graph, folder);
    tally->cases++;
    if (problem) count_problem(tally, folder, problem);
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
        if (entry->d_name[0] != '.' && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            sn_push(arena, &found, path);
    }
    closedir(directory);
    if (found.count > 0) qsort(found.at, (size_t)found.count, sizeof *found.at, by_name);
    *count = found.count;
    return found.at;
}

/* Print, parse, print is the identity. */
static const char *reprints(Arena *arena, const Graph *graph) {
    Text first = sn_text(arena), second = sn_text(arena);
    sn_graph_print(&first, graph);
    Graph *parsed;
    Status status = sn_graph_parse(arena, first.at, first.length, &parsed);
    if (status) return sn_arena_printf(arena, "the text form does not parse: %s", message_of(arena, status));
    sn_graph_print(&second, parsed);
    return strcmp(first.at, second.at) == 0 ? NULL : "the text form changes when it is parsed";
}

static bool depends_on_data(const Node *node, const bool *data) {
    for (int k = 0; k < node->input_count; k++)
        if (node->input[k] && data[node->input[k]->id]) return true;
    return false;
}

/* Integers that follow from shapes alone are sizes: dims and iota, and the movements and casts that give them
 * the form a reader wants. */
static const char *shape_arithmetic(Arena *arena, const Graph *graph) {
    bool *data = SN_ARRAY(arena, bool, graph->next_value);
    for (int k = 0; k < graph->body->param.count; k++) data[graph->body->param.at[k]->id] = true;
    for (const Node *node = graph->body->first; node; node = node->next) {
        /* Constant tables and grids count as data: they are folded when their own pass comes. */
        bool source = node->op == SN_OP_CONSTANT || node->op == SN_OP_IOTA;
        bool from_data = source || depends_on_data(node, data);
        for (int k = 0; k < node->output_count; k++) data[node->output[k]->id] = from_data;
        bool integer = !sn_dtype_is_float(node->output[0]->type.dtype);
        bool form = node->op == SN_OP_DIMS || node->op == SN_OP_CAST || node->op == SN_OP_VIEW;
        if (from_data || !integer || form) continue;
        Text text = sn_text(arena);
        sn_node_print(&text, graph, node);
        return sn_arena_printf(arena, "shape arithmetic is left: %s", sn_text_string(&text));
    }
    return NULL;
}

static const char *check_graph(Arena *arena, const Graph *graph) {
    Status status = sn_verify(graph);
    if (status) return message_of(arena, status);
    const char *problem = shape_arithmetic(arena, graph);
    return problem ? problem : reprints(arena, graph);
}

static void run_model(Tally *tally, const char *folder) {
    Arena *arena = sn_arena_new();
    const char *path = sn_arena_printf(arena, "%s/model.onnx", folder);
    Graph *graph;
    tally->models++;
    Status status = sn_load_onnx(arena, path, NULL, &graph, NULL);
    if (status) {
        count_problem(tally, folder, sn_error_message(status));
        sn_error_free(status);
        sn_arena_free(arena);
        return;
    }
    const char *problem = check_graph(arena, graph);
    if (problem) count_problem(tally, folder, problem);
    int count;
    char **cases = folders_in(arena, folder, &count);
    for (int k = 0; k < count; k++) run_folder(tally, graph, cases[k]);
    if (exists(numbered(arena, folder, "output", 0))) run_folder(tally, graph, folder);
    sn_arena_free(arena);
}

static void run_all(const char *below, int refused) {
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
    assert_int_equal(tally.refused, refused);
}

static void whole_models_give_the_references_results(void **state) {
    (void)state;
    run_all(SN_TESTS "/models", 0);
}

static void operators_give_the_references_results(void **state) {
    (void)state;
    run_all(SN_TESTS "/models/ops", (int)(sizeof refusals / sizeof refusals[0]));
}

static void given_models(void **state) {
    run_all(*state, 0);
}

int main(int argc, char **argv) {
    for (int k = 1; k < argc; k++) {
        const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(given_models, argv[k])};
        if (cmocka_run_group_tests(tests, NULL, NULL)) return 1;
    }
    if (argc > 1) return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_give_the_references_results),
        cmocka_unit_test(whole_models_give_the_references_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

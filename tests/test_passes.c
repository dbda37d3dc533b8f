/* passes: golden texts. Each file of tests/passes/ is
 *
 *   passes NAME...          (or: eager passes NAME..., f16 passes NAME..., pipeline compiled, pipeline eager)
 *   graph ...               the input
 *   ----
 *   graph ...               what must come out
 *
 * The pass autocast has bf16, unless f16 is named. The graph before and after is also run by the interpreter on
 * random inputs, with every symbol at two values, and must give the same. SN_UPDATE=1 rewrites the expected halves. */
#include "eval.h"
#include "number.h"
#include "pass.h"
#include "text_form.h"
#include "verify.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct Case {
    char *path, *text; /* the whole file */
    char *order;       /* first line, without the newline */
    char *input, *expected;
} Case;

static void must(Status status, const char *what) {
    if (status) fail_msg("%s: %s", what, sn_error_message(status));
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t length = fread(text, 1, (1 << 20) - 1, file);
    assert_true(length > 0);
    fclose(file);
    return text;
}

static void split_case(Case *c) {
    char *line = strchr(c->text, '\n');
    assert_non_null(line);
    c->order = strndup(c->text, (size_t)(line - c->text));
    char *rule = strstr(line, "\n----\n");
    c->input = rule ? strndup(line + 1, (size_t)(rule - line)) : strdup(line + 1);
    c->expected = strdup(rule ? rule + 6 : "");
}

static Graph *parse(Arena *arena, const char *text, const char *path) {
    Graph *graph = NULL;
    must(sn_graph_parse(arena, text, strlen(text), &graph), path);
    must(sn_verify(graph), path);
    return graph;
}

static void run_named(Arena *arena, Graph *graph, const Target *target, const char *names, bool eager,
                      sn_Autocast autocast, const char *path) {
    int64_t spent = 0;
    Remarks remarks = {.arena = arena};
    char *copy = strdup(names), *save = NULL;
    for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        PassFunction *function;
        if (!sn_pass_by_name(name, &function)) fail_msg("%s: no pass %s", path, name);
        Pass pass = {.name = name,
                     .arena = sn_arena_child(arena),
                     .target = target,
                     .eager = eager,
                     .autocast = autocast,
                     .limit = INT64_MAX,
                     .spent = &spent,
                     .remarks = &remarks};
        function(&pass, graph);
        must(pass.status, path);
        must(sn_verify(graph), path);
    }
    free(copy);
}

static void run_order(Arena *arena, Graph *graph, const Target *target, const Case *c) {
    if (strncmp(c->order, "pipeline ", 9) == 0) {
        PipelineOptions options = {.eager = strcmp(c->order + 9, "eager") == 0, .verify = true};
        PipelineResult result = {0};
        must(sn_pipeline(arena, graph, target, &options, &result), c->path);
        return;
    }
    bool eager = strncmp(c->order, "eager ", 6) == 0;
    const char *names = strstr(c->order, "passes ");
    assert_non_null(names);
    bool half = strncmp(c->order, "f16 ", 4) == 0;
    run_named(arena, graph, target, names + 7, eager, half ? SN_AUTOCAST_F16 : SN_AUTOCAST_BF16, c->path);
}

/* ---- the same meaning ---- */

static Array *random_input(Arena *arena, const Graph *graph, const Value *param, const int64_t *symbols,
                           int seed) {
    int64_t extent[SN_MAX_RANK];
    (void)graph;
    for (int i = 0; i < param->type.rank; i++)
        must(sn_dim_eval(param->type.dim[i], symbols, NULL, &extent[i]), "extent");
    Array *array = sn_array_new(arena, param->type.dtype, param->type.rank, extent);
    for (int64_t i = 0; i < array->count; i++) {
        double u = sn_random_uniform((uint64_t)seed, (uint64_t)i);
        if (array->f)
            array->f[i] = 4 * u - 2;
        else
            array->i[i] = (int64_t)(u * 2); /* fits bool, masks and small indices */
    }
    return array;
}

static void assert_same(const Array *a, const Array *b, const char *path, int output) {
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        double x = a->f ? a->f[i] : (double)a->i[i], y = b->f ? b->f[i] : (double)b->i[i];
        bool same = (isnan(x) && isnan(y)) || x == y || fabs(x - y) <= 1e-7 * (1 + fabs(x));
        if (!same) fail_msg("%s: output %d element %ld is %.17g, was %.17g", path, output, (long)i, y, x);
    }
}

static void assert_same_meaning(Arena *arena, const Graph *before, const Graph *after, const char *path) {
    for (int setting = 0; setting < 2; setting++) {
        int64_t symbols[64];
        assert_true(sn_dims_symbol_count(before->dims) <= 64);
        for (int s = 0; s < 64; s++) symbols[s] = setting == 0 ? 2 + s : 5 - s % 3;
        int count = before->body->param.count;
        const Array **input = SN_ARRAY(arena, const Array *, count);
        Array **x = SN_ARRAY(arena, Array *, before->body->result.count);
        Array **y = SN_ARRAY(arena, Array *, before->body->result.count);
        for (int i = 0; i < count; i++)
            input[i] = random_input(arena, before, before->body->param.at[i], symbols, i + 1);
        must(sn_eval_graph(arena, before, false, input, x), path);
        must(sn_eval_graph(arena, after, false, input, y), path);
        for (int i = 0; i < before->body->result.count; i++) assert_same(x[i], y[i], path, i);
    }
}

/* Products of bytes are quick by dot products, or by matrix tiles alone, which makes the same graph. */
static void run_case(const char *path, bool dots) {
    Case c = {.path = (char *)path, .text = read_file(path)};
    split_case(&c);
    Arena *arena = sn_arena_new();
    Target target;
    sn_target_cpu(&target, 64, 32, 32 << 10, 1 << 20);
    target.byte_percent = dots ? 400 : 100;
    target.matrix_byte_percent = dots ? 0 : 800;
    Graph *before = parse(arena, c.input, path), *after = sn_graph_clone(arena, before);
    run_order(arena, after, &target, &c);
    assert_same_meaning(arena, before, after, path);
    Text text = sn_text(arena);
    sn_graph_print(&text, after);
    if (getenv("SN_UPDATE")) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fprintf(file, "%s\n%s----\n%s", c.order, c.input, sn_text_string(&text));
        assert_int_equal(fclose(file), 0);
    } else if (strcmp(sn_text_string(&text), c.expected) != 0)
        fail_msg("%s: got\n%s", path, sn_text_string(&text));
    sn_arena_free(arena);
    free(c.text), free(c.order), free(c.input), free(c.expected);
}

static void test_golden_texts(void **state) {
    (void)state;
    struct dirent **entry;
    int count = scandir(SN_TESTS "/passes", &entry, NULL, alphasort), ran = 0;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        char path[1024];
        size_t length = strlen(entry[i]->d_name);
        if (length > 4 && strcmp(entry[i]->d_name + length - 4, ".txt") == 0) {
            snprintf(path, sizeof path, "%s/passes/%s", SN_TESTS, entry[i]->d_name);
            for (int dots = 1; dots >= 0; dots--) run_case(path, dots);
            ran++;
        }
        free(entry[i]);
    }
    free(entry);
    assert_true(ran > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The gradient of every operator that the models of tests/models/ops import, by their float inputs, against differences. */
#include "gradient_fixture.h"
#include "load.h"

#include <dirent.h>
#include <sys/stat.h>

enum { MOST = 6, LARGEST = 5000 };

typedef struct Totals {
    int models, compared;
} Totals;

static const char *const folder = SN_TESTS "/models/ops";

static bool has_float(int count, Value *const *value) {
    for (int i = 0; i < count; i++)
        if (sn_dtype_is_float(value[i]->type.dtype)) return true;
    return false;
}

/* Those have gradients of another type; others of the same operator are there in f32. */
static bool is_narrow(const Graph *graph) {
    for (int i = 0; i < graph->body->param.count; i++) {
        DType dtype = graph->body->param.at[i]->type.dtype;
        if (dtype == SN_F16 || dtype == SN_BF16) return true;
    }
    return false;
}

/* NULL where one is missing: its values are those of a rule, or it has several cases. */
static const Array **read_inputs(Arena *arena, const char *name, int count) {
    const Array **input = SN_ARRAY(arena, const Array *, count);
    for (int i = 0; i < count; i++) {
        struct stat info;
        Tensor *tensor;
        const char *path = sn_arena_printf(arena, "%s/%s/input_%d.pb", folder, name, i);
        if (stat(path, &info) != 0) return NULL;
        must(sn_load_tensor(arena, path, &tensor, NULL), path);
        input[i] = sn_array_of_tensor(arena, tensor);
    }
    return input;
}

static void compare(Differentiated *d, const char *name, const Array **input, Totals *totals) {
    Arena *arena = d->m->arena;
    Array **out = SN_ARRAY(arena, Array *, d->m->graph->body->result.count);
    Status status = sn_eval_graph(arena, d->m->graph, false, input, out);
    bool runs = !status; /* some models are there for how they fail */
    sn_error_free(status);
    for (int k = 0; k < d->count && runs; k++) {
        Array *x = (Array *)input[d->param[k]];
        int64_t step = x->count > MOST ? x->count / MOST : 1;
        for (int64_t i = 0; i < x->count && x->count <= LARGEST; i += step) {
            const char *reason = compare_element(d, input, x, i, out[d->first + k]->f[i]);
            if (reason) fail_msg("%s: input %d: %s", name, d->param[k], reason);
            totals->compared++;
        }
    }
}

static void check_model(const char *name, Totals *totals) {
    Arena *arena = sn_arena_new();
    Graph *graph;
    Status status =
        sn_load_onnx(arena, sn_arena_printf(arena, "%s/%s/model.onnx", folder, name), NULL, &graph, NULL);
    bool refused = status != NULL;
    sn_error_free(status);
    const Region *body = refused || is_narrow(graph) ? NULL : graph->body;
    if (body && has_float(body->param.count, body->param.at) &&
        has_float(body->result.count, body->result.at)) {
        int count = body->param.count;
        Maker maker = {.arena = arena, .graph = graph, .b = {.graph = graph, .region = graph->body}};
        Differentiated d = with_gradients(&maker);
        if (d.error) fail_msg("%s: %s", name, d.error);
        const Array **input = read_inputs(arena, name, count);
        if (input) compare(&d, name, input, totals);
        totals->models++;
    }
    sn_arena_free(arena);
}

static void every_operator_has_its_gradient(void **state) {
    (void)state;
    struct dirent **entry;
    Totals totals = {0};
    int count = scandir(folder, &entry, NULL, alphasort);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        if (entry[i]->d_name[0] != '.') check_model(entry[i]->d_name, &totals);
        free(entry[i]);
    }
    free(entry);
    print_message("%d models, %d elements\n", totals.models, totals.compared);
    assert_true(totals.models > 500 && totals.compared > 4 * totals.models);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_has_its_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

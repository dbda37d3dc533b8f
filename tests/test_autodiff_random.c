/* passes: random graphs differentiated, against finite differences; both pipelines keep what gradients mean. SN_SEED=
 * first[:count] runs other seeds. */
#include "gradient_fixture.h"
#include "pass.h"

enum { GRAPHS = 200, MOST = 12 };

/* The pipelines' result for the same inputs. */
static const char *compare_pipeline(Maker *m, const int64_t *symbols, uint64_t seed, bool eager) {
    Graph *after = sn_graph_clone(m->arena, m->graph);
    PipelineOptions options = {.eager = eager, .verify = true};
    PipelineResult result = {0};
    Target target;
    sn_target_cpu(&target, 32, 16, 32 << 10, 1 << 20);
    Status status = sn_pipeline(m->arena, after, &target, &options, &result);
    if (status) return sn_error_message(status);
    int count = m->graph->body->result.count;
    Array **x = SN_ARRAY(m->arena, Array *, count), **y = SN_ARRAY(m->arena, Array *, count);
    const Array **inputs = random_inputs(m, symbols, seed);
    status = sn_eval_graph(m->arena, m->graph, false, inputs, x);
    if (status) {
        sn_error_free(status);
        return NULL;
    }
    status = sn_eval_graph(m->arena, after, false, inputs, y);
    if (status) return sn_error_message(status);
    for (int i = 0; i < count; i++) {
        const char *reason = difference(m->arena, y[i], x[i], 1e-4); /* f32 constants among them */
        if (reason)
            return sn_arena_printf(m->arena, "%s, output %d: %s", eager ? "eager" : "compiled", i, reason);
    }
    return NULL;
}

static const char *run_seed(Arena *arena, uint64_t seed, int length, int *compared) {
    Maker *m = random_graph(arena, seed, SN_F64, length, 4, false);
    m->special = false; /* derivatives at infinity depend on how they are spelled */
    if (m->graph->body->result.count == 0) return NULL;
    m->b.group = 0;
    Differentiated d = differentiated(m);
    if (d.error) return d.error;
    int64_t symbols[64];
    Maker random = {.seed = seed, .at = 900};
    for (int s = 0; s < 64; s++) symbols[s] = 1 + pick(&random, LARGEST_SYMBOL);
    const char *reason = compare_gradients(&d, symbols, seed, MOST, compared);
    if (!reason) reason = compare_pipeline(m, symbols, seed, false);
    if (!reason) reason = compare_pipeline(m, symbols, seed, true);
    if (!reason) return NULL;
    Text text = sn_text(arena);
    sn_text_add(&text, "seed %llu, %d steps: %s\n", (unsigned long long)seed, length, reason);
    sn_graph_print(&text, m->graph);
    return sn_text_string(&text);
}

static bool fails(uint64_t seed, int length, int *compared, bool print) {
    Arena *arena = sn_arena_new();
    const char *reason = run_seed(arena, seed, length, compared);
    if (reason && print) fprintf(stderr, "%s\n", reason);
    sn_arena_free(arena);
    return reason != NULL;
}

static void gradients_of_random_graphs(void **state) {
    (void)state;
    unsigned long long first = 1, count = GRAPHS;
    const char *other = getenv("SN_SEED");
    if (other && sscanf(other, "%llu:%llu", &first, &count) == 1) count = 1;
    int compared = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        int length = 3 + (int)(seed * 2654435761u % 12), shorter = 1;
        if (!fails(seed, length, &compared, false)) continue;
        while (shorter < length && !fails(seed, shorter, &compared, false)) shorter++;
        fails(seed, shorter, &compared, true);
        fail();
    }
    if (count == GRAPHS) assert_true(compared > 5 * GRAPHS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_of_random_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

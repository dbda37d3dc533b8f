/* Random graphs through both pipelines, verified after every pass: what comes out means what went in, at two
 * bindings of the symbols, as the interpreter sees it. SN_SEED=first[:count] runs other seeds. */
#include "pass.h"
#include "random_steps.h"

enum { GRAPHS = 4000, FIRST_SEED = 1, MOST_OUTPUTS = 4 };

/* A pass that is wrong on purpose, run before the others; NULL but where a test plants one. */
typedef bool Mistake(Graph *graph);

typedef struct Trial {
    uint64_t seed;
    int length, outputs, only; /* only: the one output that stays, or -1 */
    Mistake *mistake;
    bool mistaken; /* the mistake found a place */
} Trial;

static DType dtype_of_seed(uint64_t seed) {
    static const DType dtypes[] = {SN_F64, SN_F32, SN_F64, SN_F32, SN_F64, SN_F16, SN_F32, SN_BF16};
    return dtypes[seed % 8];
}

/* Folding rounds to the dtype, and the numbers in expansions are rounded to it. */
static double tolerance_of(const Graph *graph, sn_Autocast autocast) {
    static const DType cast[] = {SN_F32, SN_BF16, SN_F16};
    double tolerance = 1e-9;
    for (const Node *node = graph->body->first; node; node = node->next) {
        DType dtype = node->output[0]->type.dtype;
        if (dtype == SN_F32) tolerance = fmax(tolerance, 3e-5), dtype = cast[autocast];
        if (dtype == SN_F16) tolerance = fmax(tolerance, 0.05);
        if (dtype == SN_BF16) tolerance = fmax(tolerance, 0.3);
    }
    return tolerance;
}

static const char *compare_meaning(Maker *m, const Graph *after, uint64_t seed, sn_Autocast autocast) {
    const Graph *before = m->graph;
    int count = before->body->result.count;
    Array **x = SN_ARRAY(m->arena, Array *, count), **y = SN_ARRAY(m->arena, Array *, count);
    for (int setting = 0; setting < 2; setting++) {
        int64_t symbols[64];
        Maker random = {.seed = seed, .at = 900 + 7 * (uint64_t)setting};
        for (int s = 0; s < 64; s++)
            symbols[s] = m->least + pick(&random, LARGEST_SYMBOL + 1 - (int)m->least);
        const Array **inputs = random_inputs(m, symbols, seed + (uint64_t)setting);
        Status status = sn_eval_graph(m->arena, before, false, inputs, x);
        if (status) { /* a fault of the graph itself, or a check that these sizes break */
            sn_error_free(status);
            continue;
        }
        status = sn_eval_graph(m->arena, after, false, inputs, y);
        if (status) return sn_error_message(status);
        for (int i = 0; i < count; i++) {
            const char *reason = difference(m->arena, y[i], x[i], tolerance_of(before, autocast));
            if (reason)
                return sn_arena_printf(m->arena, "A = %lld, B = %lld: output %d: %s", (long long)symbols[0],
                                       (long long)symbols[1], i, reason);
        }
    }
    return NULL;
}

/* limit: of rewrites, 0 for none. Wherever the passes stop, the graph means the same. */
static const char *run_mode(Maker *m, Trial *trial, const Target *target, bool eager, int64_t limit) {
    Graph *after = sn_graph_clone(m->arena, m->graph);
    sn_Autocast autocast = (sn_Autocast)(trial->seed / 8 % 3);
    PipelineOptions options = {.eager = eager, .verify = true, .limit = limit, .autocast = autocast};
    PipelineResult result = {0};
    if (trial->mistake && trial->mistake(after)) trial->mistaken = true;
    Status status = sn_pipeline(m->arena, after, target, &options, &result);
    const char *reason = status ? sn_error_message(status) : compare_meaning(m, after, trial->seed, autocast);
    return reason ? sn_arena_printf(m->arena, "%s, limit %lld: %s", eager ? "eager" : "compiled",
                                    (long long)limit, reason)
                  : NULL;
}

static void keep_one_output(Graph *graph, int only) {
    Region *body = graph->body;
    for (int i = 0; i < output_count(graph); i++) sn_region_set_result(body, i, body->result.at[only]);
    sn_region_sweep(body);
}

/* NULL, or what went wrong, followed by the graph. */
static const char *run_trial(Arena *arena, Trial *trial) {
    Maker *m =
        random_graph(arena, trial->seed, dtype_of_seed(trial->seed), trial->length, trial->outputs, true);
    if (output_count(m->graph) == 0) return NULL;
    if (trial->only >= output_count(m->graph)) return NULL;
    if (trial->only >= 0) keep_one_output(m->graph, trial->only);
    Target target;
    sn_target_cpu(&target, 32, 16, 32 << 10, 1 << 20);
    const char *reason = run_mode(m, trial, &target, false, 0);
    if (!reason) reason = run_mode(m, trial, &target, true, 0);
    if (!reason && !trial->mistake)
        reason = run_mode(m, trial, &target, false, 1 + (int64_t)(trial->seed % 23));
    if (!reason) return NULL;
    Text text = sn_text(arena);
    sn_text_add(&text, "seed %llu, %d steps: %s\n", (unsigned long long)trial->seed, trial->length, reason);
    sn_graph_print(&text, m->graph);
    return sn_text_string(&text);
}

static int length_of_seed(uint64_t seed) {
    return 6 + (int)(seed * 2654435761u % 30);
}

/* Fewer steps and one output, as long as it still fails. */
static void report(Trial trial) {
    for (int shorter = 1; shorter <= trial.length; shorter++) {
        for (int only = 0; only <= MOST_OUTPUTS; only++) {
            Arena *arena = sn_arena_new();
            Trial small = trial;
            small.length = shorter;
            small.only = only == MOST_OUTPUTS ? -1 : only;
            const char *reason = run_trial(arena, &small);
            if (reason) {
                fprintf(stderr, "%s", reason); /* longer than what fail_msg prints */
                fail();
            }
            sn_arena_free(arena);
        }
    }
}

static bool fails(Trial *trial) {
    Arena *arena = sn_arena_new();
    bool failed = run_trial(arena, trial) != NULL;
    sn_arena_free(arena);
    return failed;
}

static void both_pipelines_keep_the_meaning(void **state) {
    (void)state;
    unsigned long long first = FIRST_SEED, count = GRAPHS;
    const char *other = getenv("SN_SEED");
    if (other && sscanf(other, "%llu:%llu", &first, &count) == 1) count = 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        Trial trial = {.seed = seed, .length = length_of_seed(seed), .outputs = MOST_OUTPUTS, .only = -1};
        if (fails(&trial)) report(trial);
    }
}

/* ---- planted mistakes ---- */

static bool swap_a_difference(Graph *graph) {
    for (Node *node = graph->body->last; node; node = node->previous) {
        Value *x = node->op == SN_OP_SUB ? node->input[0] : NULL, *y = x ? node->input[1] : NULL;
        if (!x || x == y) continue;
        sn_node_set_input(node, 0, y);
        sn_node_set_input(node, 1, x);
        return true;
    }
    return false;
}

/* x·W + b without the sum. */
static bool drop_an_epilogue(Graph *graph) {
    for (Node *node = graph->body->last; node; node = node->previous) {
        const Node *product = node->op == SN_OP_ADD ? node->input[0]->producer : NULL;
        if (!product || product->op != SN_OP_MATMUL) continue;
        if (!sn_type_equal(node->output[0]->type, node->input[0]->type)) continue;
        sn_value_replace(node->output[0], node->input[0]);
        sn_node_remove(node);
        return true;
    }
    return false;
}

static bool forget_to_divide(Graph *graph) {
    for (Node *node = graph->body->last; node; node = node->previous) {
        if (node->op != SN_OP_REDUCE_MEAN) continue;
        node->op = SN_OP_REDUCE_SUM;
        return true;
    }
    return false;
}

/* Most of what is planted in a random graph shows in its outputs: some is dead, or one value where it stands.
 */
static void planted(Mistake *mistake) {
    int mistaken = 0, caught = 0;
    for (uint64_t seed = 1; mistaken < 40 && seed < 2000; seed++) {
        Trial trial = {.seed = seed, .length = 14, .outputs = MOST_OUTPUTS, .only = -1, .mistake = mistake};
        bool failed = fails(&trial);
        mistaken += trial.mistaken;
        caught += trial.mistaken && failed;
    }
    assert_int_equal(mistaken, 40);
    if (caught < 12) fail_msg("only %d of %d mistakes were caught", caught, mistaken);
}

static void planted_mistakes_are_caught(void **state) {
    (void)state;
    planted(swap_a_difference);
    planted(drop_an_epilogue);
    planted(forget_to_divide);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_pipelines_keep_the_meaning),
        cmocka_unit_test(planted_mistakes_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* passes: minimum cuts against all cuts, and rematerialised gradients against those of a graph that keeps everything. */
#include "autodiff.h"
#include "eval.h"
#include "extremum.h"
#include "min_cut.h"
#include "pass.h"
#include "remat.h"
#include "text_form.h"
#include "verify.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- cuts ---- */

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

enum { VERTICES = 7 };

/* The capacity out of the set of vertices whose bits are set. */
static int64_t cut_of(int64_t capacity[VERTICES][VERTICES], unsigned set) {
    int64_t sum = 0;
    for (int i = 0; i < VERTICES; i++)
        for (int k = 0; k < VERTICES; k++)
            if ((set >> i & 1) && !(set >> k & 1)) sum += capacity[i][k];
    return sum;
}

static void cuts_are_cheapest(void **state) {
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < 400; round++) {
        Arena *arena = sn_arena_new();
        Flow *flow = sn_flow_new(arena, VERTICES);
        int64_t capacity[VERTICES][VERTICES] = {{0}}, least = INT64_MAX;
        for (int edge = 0; edge < 4 + round % 20; edge++) {
            int from = (int)(next_random(&random) % VERTICES), to = (int)(next_random(&random) % VERTICES);
            int64_t size = (int64_t)(next_random(&random) % 9);
            if (from == to) continue;
            capacity[from][to] += size;
            sn_flow_edge(flow, from, to, size);
        }
        bool side[VERTICES];
        sn_flow_cut(flow, 0, VERTICES - 1, side);
        unsigned found = 0;
        for (int i = 0; i < VERTICES; i++) found |= (unsigned)side[i] << i;
        assert_true(found & 1 && !(found >> (VERTICES - 1)));
        for (unsigned set = 1; set < 1u << (VERTICES - 1); set += 2) {
            int64_t size = cut_of(capacity, set);
            if (size < least) least = size;
        }
        assert_int_equal(cut_of(capacity, found), least);
        sn_arena_free(arena);
    }
}

/* ---- gradients ---- */

/* Two layers: x + silu(norm(x)·w1)·w2, and their mean square. */
static const char source[] = "graph \"layers\" stage imported\n"
                             "symbol T at_least 1\n"
                             "input %0 \"x\": f32[T, 8]\n"
                             "input %1 \"a1\": f32[8, 32]\n"
                             "input %2 \"a2\": f32[32, 8]\n"
                             "input %3 \"b1\": f32[8, 32]\n"
                             "input %4 \"b2\": f32[32, 8]\n"
                             "input %5 \"gain\": f32[8]\n"
                             "input %6 \"first\": f32[8, 8]\n"
                             "%10 = matmul(%0, %6) : f32[T, 8]\n"
                             "%11 = rms_norm(%10, %5) {axis = 1, epsilon = 1e-05} : f32[T, 8]\n"
                             "%12 = matmul(%11, %1) : f32[T, 32]\n"
                             "%13 = silu(%12) {alpha = 1} : f32[T, 32]\n"
                             "%14 = matmul(%13, %2) : f32[T, 8]\n"
                             "%15 = add(%10, %14) : f32[T, 8]\n"
                             "%16 = rms_norm(%15, %5) {axis = 1, epsilon = 1e-05} : f32[T, 8]\n"
                             "%17 = matmul(%16, %3) : f32[T, 32]\n"
                             "%18 = silu(%17) {alpha = 1} : f32[T, 32]\n"
                             "%19 = matmul(%18, %4) : f32[T, 8]\n"
                             "%20 = add(%15, %19) : f32[T, 8]\n"
                             "output %20 \"y\"\n";

static void must(Status status) {
    if (status) fail_msg("%s", sn_error_message(status));
}

/* The graph with its loss and the gradients of all inputs but the first as outputs, expanded. */
static Graph *differentiated_text(Arena *arena, const char *text) {
    enum { MOST = 6 };
    Graph *graph;
    Value *loss, *value[MOST], *gradient[MOST];
    Target target;
    int64_t spent = 0;
    Remarks remarks = {.arena = arena};
    sn_target_cpu(&target, 32, 16, 32 << 10, 1 << 20);
    must(sn_graph_parse(arena, text, strlen(text), &graph));
    int count = graph->body->param.count - 1;
    assert_true(count <= MOST);
    must(sn_append_loss(graph, &(LossOptions){.kind = SN_LOSS_MSE}, &loss));
    for (int i = 0; i < count; i++) value[i] = graph->body->param.at[i + 1];
    must(sn_autodiff(graph, loss, count, value, gradient));
    for (int i = 0; i < count; i++) sn_graph_output(graph, sn_arena_printf(arena, "d%d", i), gradient[i]);
    Pass pass = {.name = "expand",
                 .arena = arena,
                 .target = &target,
                 .limit = INT64_MAX,
                 .spent = &spent,
                 .remarks = &remarks};
    sn_simplify(&pass, graph);
    sn_expand(&pass, graph);
    sn_simplify(&pass, graph);
    must(pass.status);
    must(sn_verify(graph));
    return graph;
}

static Graph *differentiated(Arena *arena) {
    return differentiated_text(arena, source);
}

/* Elements, at T = 128, of the forward values that later phases read. */
static double kept_elements(const Graph *graph) {
    double sum = 0;
    for (const Node *node = graph->body->first; node; node = node->next) {
        if (node->phase != SN_PHASE_FORWARD || sn_op(node->op)->level == SN_LEVEL_STRUCTURE) continue;
        for (int i = 0; i < node->output_count; i++) {
            const Value *value = node->output[i];
            bool kept = false;
            for (int u = 0; u < value->users.count; u++)
                kept |= value->users.at[u] && value->users.at[u]->phase != SN_PHASE_FORWARD;
            double count = kept;
            for (int k = 0; k < value->type.rank; k++) {
                int64_t extent;
                must(sn_dim_eval(value->type.dim[k], (const int64_t[]){128}, NULL, &extent));
                count *= (double)extent;
            }
            sum += count;
        }
    }
    return sum;
}

/* The greatest of each row of x·sigmoid(1.702·x) + x, cut off below 0. */
static const char extremum_source[] = "graph \"greatest\" stage imported\n"
                                      "symbol T at_least 1\n"
                                      "input %0 \"x\": f32[T, 8]\n"
                                      "input %1 \"w\": f32[8, 8]\n"
                                      "%2 = matmul(%0, %1) : f32[T, 8]\n"
                                      "%3 = silu(%2) {alpha = 1.702} : f32[T, 8]\n"
                                      "%4 = add(%3, %2) : f32[T, 8]\n"
                                      "%5 = relu(%4) : f32[T, 8]\n"
                                      "%6 = reduce_max(%5) {axes = [1]} : f32[T, 1]\n"
                                      "output %6 \"y\"\n";

/* x·sigmoid(1.702·x) + x, with a gain more where it is the greatest of its row. */
static const char mask_source[] = "graph \"marked\" stage imported\n"
                                  "symbol T at_least 1\n"
                                  "input %0 \"x\": f32[T, 8]\n"
                                  "input %1 \"w\": f32[8, 8]\n"
                                  "input %2 \"gain\": f32[8]\n"
                                  "%3 = matmul(%0, %1) : f32[T, 8]\n"
                                  "%4 = silu(%3) {alpha = 1.702} : f32[T, 8]\n"
                                  "%5 = add(%4, %3) : f32[T, 8]\n"
                                  "%6 = reduce_max(%5) {axes = [1]} : f32[T, 1]\n"
                                  "%7 = equal(%5, %6) : bool[T, 8]\n"
                                  "%8 = cast(%7) {to = f32} : f32[T, 8]\n"
                                  "%9 = mul(%8, %2) : f32[T, 8]\n"
                                  "%10 = add(%9, %5) : f32[T, 8]\n"
                                  "output %10 \"y\"\n";

static int count_contractions(const Graph *graph) {
    int count = 0;
    for (const Node *node = graph->body->first; node; node = node->next) count += node->op == SN_OP_CONTRACT;
    return count;
}

static RematReport rematerialise(Arena *arena, Graph *graph, const Recompute *recompute) {
    int64_t spent = 0;
    Remarks remarks = {.arena = arena};
    RematReport report;
    Pass pass = {.name = "remat",
                 .arena = arena,
                 .limit = INT64_MAX,
                 .spent = &spent,
                 .recompute = recompute,
                 .remat = &report,
                 .remarks = &remarks};
    sn_remat(&pass, graph);
    must(pass.status);
    must(sn_verify(graph));
    assert_int_equal(remarks.list.count, 1);
    return report;
}

static Array **evaluate(Arena *arena, const Graph *graph) {
    uint64_t random = 7;
    const Region *body = graph->body;
    const Array **input = SN_ARRAY(arena, const Array *, body->param.count);
    for (int i = 0; i < body->param.count; i++) {
        Type type = body->param.at[i]->type;
        int64_t *extent = SN_ARRAY(arena, int64_t, type.rank);
        for (int k = 0; k < type.rank; k++)
            must(sn_dim_eval(type.dim[k], (const int64_t[]){5}, NULL, &extent[k]));
        Array *array = sn_array_new(arena, type.dtype, type.rank, extent);
        for (int64_t e = 0; e < array->count; e++)
            array->f[e] = (double)(next_random(&random) % 2001) / 1000 - 1;
        input[i] = array;
    }
    Array **output = SN_ARRAY(arena, Array *, body->result.count);
    must(sn_eval_graph(arena, graph, false, input, output));
    return output;
}

static void what_is_computed_again_is_the_same(void **state) {
    (void)state;
    static const double cost[] = {0, 3, 1e9}; /* reductions cost 2 operations a byte, products 4 and 16 */
    Arena *arena = sn_arena_new();
    Graph *whole = differentiated(arena);
    Array **expected = evaluate(arena, whole);
    double before = kept_elements(whole);
    for (int i = 0; i < 3; i++) {
        Graph *graph = differentiated(arena);
        int contractions = count_contractions(graph);
        Recompute recompute = {.more.operations = cost[i], .parts = 99};
        RematReport report = rematerialise(arena, graph, &recompute);
        assert_int_equal(report.parts, 5); /* up to the first product, each sum, the loss; and behind it */
        assert_int_equal(report.cost_count, 4);
        double kept = kept_elements(graph);
        assert_true(kept < before);
        before = kept;
        /* w1's product is computed again at the last step: for what its gradient and silu's need. */
        assert_int_equal(count_contractions(graph) - contractions, i < 2 ? 0 : 2);
        Array **found = evaluate(arena, graph);
        for (int k = 0; k < graph->body->result.count; k++)
            for (int64_t e = 0; e < expected[k]->count; e++) assert_true(found[k]->f[e] == expected[k]->f[e]);
    }
    /* Then the stream between the layers is what is left: three times 8 elements a row, and what is smaller. */
    assert_true(before <= 128 * (3 * 8 + 4));
    sn_arena_free(arena);
}

/* The comparisons with an extremum in later phases, all of what was computed forward. */
static int count_compared(const Graph *graph) {
    int compared = 0;
    for (const Node *node = graph->body->first; node; node = node->next) {
        Node *extremum;
        const Value *value = sn_compared_with_extremum(node, &extremum);
        if (!value || node->phase == SN_PHASE_FORWARD) continue;
        if (value->producer->phase != SN_PHASE_FORWARD) {
            assert_int_equal(value->producer->op, SN_OP_MAX); /* with 0, which rounds nothing */
            value = value->producer->input[0];
        }
        assert_int_equal(value->producer->phase, SN_PHASE_FORWARD);
        compared++;
    }
    return compared;
}

/* It might be rounded in another way there, and then no element would be the greatest. */
static void what_is_compared_with_an_extremum_is_kept(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Recompute all = {.more.operations = 1e9, .parts = 99};
    Graph *graph = differentiated_text(arena, extremum_source);
    rematerialise(arena, graph, &all);
    assert_int_equal(count_compared(graph), 1);
    graph =
        differentiated_text(arena, mask_source); /* here the mask is what is kept, with a byte an element */
    rematerialise(arena, graph, &all);
    assert_int_equal(count_compared(graph), 0);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_cheapest),
        cmocka_unit_test(what_is_computed_again_is_the_same),
        cmocka_unit_test(what_is_compared_with_an_extremum_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

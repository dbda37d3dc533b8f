/* The interpreter: whole graphs, faults, and whether all of the table was looked at. */
#include "eval_fixture.h"

/* There is nothing to compute it with: passes put what does in its place. */
static void gradients_are_not_evaluated(void **state) {
    Arena *arena = *state;
    const Array *x = F("", 3), *input[3] = {x, x, x};
    Array *got;
    assert_fails(run(arena, SN_OP_GRADIENT, NULL, false, 3, input, &got), SN_UNSUPPORTED,
                 "has not been replaced");
    evaluated[SN_OP_GRADIENT] = true;
}

/* (x + x)·x in a cluster whose results are both. */
static void clusters(void **state) {
    Arena *arena = *state;
    const Array *x = ARRAY(SN_F32, "3", 1, 2, 1. / 3);
    Call call = call_of(arena, 1, &x);
    AttrCluster attr = {SN_CLUSTER_MAP};
    Node *node = sn_node_new(call.graph, SN_OP_CLUSTER, &attr, 1, call.value, 2);
    Region *body = sn_region_new(call.graph, node);
    Value *inner = sn_region_param(body, call.value[0]->type, NULL);
    Builder builder = {.graph = call.graph, .region = body};
    Value *sum = sn_build2(&builder, SN_OP_ADD, NULL, inner, inner);
    Value *product = sn_build2(&builder, SN_OP_MUL, NULL, sum, inner);
    assert_ok(builder.status);
    sn_region_result(body, product);
    sn_region_result(body, sum);
    assert_ok(sn_infer_node(call.graph, node));
    sn_node_append(call.graph->body, node);
    sn_graph_output(call.graph, "product", node->output[0]);
    sn_graph_output(call.graph, "sum", node->output[1]);
    Array *got[2];
    assert_ok(sn_eval_graph(arena, call.graph, false, call.input, got));
    assert_same(got[0], ARRAY(SN_F32, "3", 2, 8, 2. / 9), "cluster");
    assert_same(got[1], ARRAY(SN_F32, "3", 2, 4, 2. / 3), "cluster");
    evaluated[SN_OP_CLUSTER] = true;
}

static void single_nodes_fold(void **state) {
    Arena *arena = *state;
    Graph *graph = sn_graph_new(arena, "fold");
    Builder builder = {.graph = graph, .region = graph->body};
    Value *third = sn_build2(&builder, SN_OP_DIV, NULL, sn_build_scalar(&builder, SN_F16, 1),
                             sn_build_scalar(&builder, SN_F16, 3));
    assert_ok(builder.status);
    const Array *input[2] = {ARRAY(SN_F16, "", 1), ARRAY(SN_F16, "", 3)};
    Array *got;
    assert_ok(sn_eval_node(arena, graph, third->producer, input, &got));
    assert_true(got->f[0] == 0.333251953125);
    Tensor *tensor = sn_tensor_of_array(arena, got);
    assert_int_equal(*(const uint16_t *)tensor->bytes, 0x3555);
    assert_same(sn_array_of_tensor(arena, tensor), got, "tensor");
    const Array *wrong[2] = {F("", 1), F("", 3)};
    assert_fails(sn_eval_node(arena, graph, third->producer, wrong, &got), SN_INVALID, "shape");

    Dim t = sn_dim_symbol(graph->dims, "T");
    Value *size = sn_build_dims(&builder, 1, &t, true);
    assert_fails(sn_eval_node(arena, graph, size->producer, NULL, &got), SN_INVALID, "not a constant");
}

static void huge_results_are_refused(void **state) {
    Arena *arena = *state;
    Call call = call_of(arena, 0, NULL);
    Dims *dims = call.graph->dims;
    Dim zero = sn_dim(dims, 0), extent[2] = {sn_dim(dims, INT64_C(1) << 40), sn_dim(dims, INT64_C(1) << 40)};
    Value *one = sn_build_scalar(&call.builder, SN_F32, 1);
    AttrView attr = {2, extent, 0, &zero};
    Array *got;
    Value *result = sn_build1(&call.builder, SN_OP_VIEW, &attr, one);
    assert_fails(finish(&call, result, false, &got), SN_NO_MEMORY, "view");
}

static void faults_name_the_node(void **state) {
    Arena *arena = *state;
    const Array *input[2] = {I("1", 1), I("1", 0)};
    Call call = call_of(arena, 2, input);
    call.builder.origin = sn_origin(call.graph, &(SourceNode){"/layer/Div", "Div", "", 17, 3});
    Value *result = sn_build(&call.builder, SN_OP_DIV, NULL, 2, call.value);
    Array *got;
    assert_fails(finish(&call, result, false, &got), SN_FAULT, "div (\"Div\" \"/layer/Div\")");
}

static void every_operator_was_evaluated(void **state) {
    (void)state;
    for (int op = 0; op < SN_OP_COUNT; op++)
        if (!evaluated[op]) fail_msg("%s was never evaluated", sn_op((OpCode)op)->text);
}

int test_graphs(void) {
    const struct CMUnitTest tests[] = {
        TEST(gradients_are_not_evaluated), TEST(clusters),
        TEST(single_nodes_fold),           TEST(huge_results_are_refused),
        TEST(faults_name_the_node),        TEST(every_operator_was_evaluated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

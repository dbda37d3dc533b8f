/* ir: the verifier sees what is wrong with a graph, one planted violation at a time. */
#include "graph_fixture.h"
#include "verify.h"

/* x -> exp -> add(exp, y) -> out */
static Value *plant(Fixture *f) {
    Value *e = sn_build1(&f->builder, SN_OP_EXP, NULL, f->x);
    Value *sum = sn_build2(&f->builder, SN_OP_ADD, NULL, e, f->y);
    sn_graph_output(f->graph, "out", sum);
    assert_ok(sn_verify(f->graph));
    return sum;
}

static void verify_sees_a_wrong_type(void **state) {
    Fixture *f = *state;
    Value *sum = plant(f);
    sum->type.dtype = SN_F16;
    Status status = sn_verify(f->graph);
    /* The note stands behind its node. */
    assert_non_null(strstr(sn_error_message(status),
                           "= add(%2, %1) : f16[T, 8]\n// ^ result 0 is f32[T, 8] by inference\n"));
    assert_fails(status, SN_INTERNAL, "the graph breaks 1 rules");
}

static void verify_sees_wrong_known_values(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    Value *shape = sn_build_dims(&f->builder, 1, (Dim[]){sn_dim(dims, 3)}, false);
    sn_graph_output(f->graph, "shape", shape);
    assert_ok(sn_verify(f->graph));
    shape->known = (Dim[]){sn_dim(dims, 4)};
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "known values of result 0");
}

static void verify_sees_lost_and_invented_uses(void **state) {
    Fixture *f = *state;
    plant(f);
    f->x->users.count--;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "does not list this node once for each use");
    f->x->users.count++;
    sn_push(f->arena, &f->y->users, NULL);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "%1 lists 2 uses and has 1");
}

static void verify_sees_a_lost_result_use(void **state) {
    Fixture *f = *state;
    Value *sum = plant(f);
    sum->users.count = 0;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "does not list its uses as a result");
}

static void verify_sees_wrong_arity_and_missing_operands(void **state) {
    Fixture *f = *state;
    Value *sum = plant(f);
    sn_node_set_input(sum->producer, 1, NULL);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "operand 1 is missing");
    sum->producer->input_count = 1;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "1 operands are not what the operator takes");
}

static void verify_sees_missing_attributes(void **state) {
    Fixture *f = *state;
    Value *sum = plant(f);
    Value *soft = sn_build1(&f->builder, SN_OP_SOFTMAX, &(AttrAxis){1}, sum);
    soft->producer->attr = NULL;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "attributes are missing");
}

static void verify_sees_repeated_ids_and_lost_places(void **state) {
    Fixture *f = *state;
    Value *sum = plant(f);
    int id = sum->id;
    sum->id = 0;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "%0 is defined twice");
    sum->id = 1000;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "%1000 was never handed out");
    sum->id = id;
    sum->index = 1;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "does not know its own place");
}

static void verify_sees_broken_links(void **state) {
    Fixture *f = *state;
    plant(f);
    f->graph->body->last = f->graph->body->first;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "does not end with its last node");
    f->graph->body->last = f->graph->body->first->next;
    f->graph->body->last->previous = NULL;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "is linked wrongly");
}

static void verify_sees_values_of_removed_nodes(void **state) {
    Fixture *f = *state;
    Value *sum = plant(f);
    sn_node_remove(sum->producer->input[0]->producer);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "belongs to another region or to no node");
}

static void verify_sees_a_missing_check(void **state) {
    Fixture *f = *state;
    Dim s = sn_dim_symbol(f->graph->dims, "S");
    Value *z = sn_graph_input(f->graph, "z", (Type){SN_F32, 1, (Dim[]){s}});
    sn_graph_output(f->graph, "out", sn_build2(&f->builder, SN_OP_ADD, NULL, f->x, z));
    assert_ok(f->builder.status);
    assert_true(f->graph->checks.count > 0);
    assert_ok(sn_verify(f->graph));
    f->graph->checks.count = 0;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "lacks a check");
    assert_int_equal(f->graph->checks.count, 0);
}

static void verify_sees_impure_setup(void **state) {
    Fixture *f = *state;
    Value *half = sn_build_scalar(&f->builder, SN_F32, 0.5);
    Value *e = sn_build1(&f->builder, SN_OP_EXP, NULL, half);
    Value *t = sn_build1(&f->builder, SN_OP_TANH, NULL, e);
    Value *sum = sn_build2(&f->builder, SN_OP_ADD, NULL, t, f->x);
    sn_graph_output(f->graph, "out", sum);
    e->producer->setup = t->producer->setup = true;
    assert_ok(sn_verify(f->graph));
    e->producer->setup = false;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "setup depends on operand 0");
    e->producer->setup = sum->producer->setup = true;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "setup depends on operand 1");
}

static void verify_sees_unnamed_outputs(void **state) {
    Fixture *f = *state;
    plant(f);
    f->graph->output_name.count = 0;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "1 outputs have 0 names");
}

static void verify_sees_what_a_stage_forbids(void **state) {
    Fixture *f = *state;
    plant(f);
    Value *row =
        sn_build_slice(&f->builder, f->x, 0, sn_dim(f->graph->dims, 0), sn_dim(f->graph->dims, 1), 1);
    sn_graph_output(f->graph, "row", row);
    Value *wide = sn_build2(&f->builder, SN_OP_ADD, NULL, row, f->x);
    sn_graph_output(f->graph, "wide", wide);
    Value *relu = sn_build1(&f->builder, SN_OP_RELU, NULL, f->x);
    sn_graph_output(f->graph, "relu", relu);
    assert_ok(f->builder.status);
    assert_ok(sn_verify(f->graph));
    f->graph->stage = SN_STAGE_EXPANDED;
    Status status = sn_verify(f->graph);
    assert_non_null(strstr(sn_error_message(status), "no composites after expand"));
    assert_fails(status, SN_INTERNAL, "operand 0 has not the result's shape");
    f->graph->stage = SN_STAGE_FUSED;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "only constants and clusters");
}

/* A fused graph: out = exp(x) in a cluster of `kind`. */
static Node *plant_cluster(Fixture *f, ClusterKind kind) {
    AttrCluster *attr = SN_NEW(f->arena, AttrCluster);
    attr->kind = kind;
    Node *cluster = sn_node_new(f->graph, SN_OP_CLUSTER, attr, 1, &f->x, 1);
    Region *body = sn_region_new(f->graph, cluster);
    Value *param = sn_region_param(body, f->x->type, NULL);
    Builder inside = {.graph = f->graph, .region = body};
    sn_region_result(body, sn_build1(&inside, SN_OP_EXP, NULL, param));
    assert_ok(inside.status);
    cluster->output[0]->type = f->x->type;
    sn_node_append(f->graph->body, cluster);
    sn_graph_output(f->graph, "out", cluster->output[0]);
    f->graph->stage = SN_STAGE_FUSED;
    return cluster;
}

static void verify_sees_captures_and_wrong_params(void **state) {
    Fixture *f = *state;
    Node *cluster = plant_cluster(f, SN_CLUSTER_MAP);
    assert_ok(sn_verify(f->graph));
    Value *param = cluster->body->param.at[0];
    sn_node_set_input(cluster->body->first, 0, f->x);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "belongs to another region");
    sn_node_set_input(cluster->body->first, 0, param);
    param->type.dtype = SN_F16;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "operand 0 is f32[T, 8]");
    param->type.dtype = SN_F32;
    cluster->body->owner = NULL;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "the body belongs to another node");
    cluster->body->owner = cluster;
    f->graph->stage = SN_STAGE_EXPANDED;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "there are no clusters before fuse");
}

static void verify_sees_what_a_cluster_may_not_hold(void **state) {
    Fixture *f = *state;
    Node *cluster = plant_cluster(f, SN_CLUSTER_MAP);
    Builder inside = sn_builder_before(f->graph, cluster->body->first);
    float *element;
    Tensor *tensor = sn_tensor_new(f->arena, SN_F32, 1, (int64_t[]){2}, (void **)&element);
    sn_build_constant(&inside, tensor);
    assert_ok(sn_verify(f->graph));
    element[1] = 1;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "constant of several values");
    sn_node_remove(cluster->body->first);
    sn_build_scalar(&inside, SN_F32, 1);
    assert_ok(sn_verify(f->graph));
    sn_build1(&inside, SN_OP_RELU, NULL, cluster->body->param.at[0]);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "cannot hold a composite");
}

static void verify_sees_the_wrong_anchor(void **state) {
    Fixture *f = *state;
    plant_cluster(f, SN_CLUSTER_CONTRACT);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "kind contract holds 0 anchors");
}

static void verify_sees_a_cluster_without_a_kernel(void **state) {
    Fixture *f = *state;
    Node *cluster = plant_cluster(f, SN_CLUSTER_REDUCE);
    Builder inside = {.graph = f->graph, .region = cluster->body};
    Value *param = cluster->body->param.at[0];
    sn_build1(&inside, SN_OP_REDUCE_SUM, &(AttrReduce){1, (int64_t[]){1}}, param);
    assert_ok(sn_verify(f->graph));
    sn_build1(&inside, SN_OP_REDUCE_SUM, &(AttrReduce){1, (int64_t[]){0}}, param);
    assert_ok(inside.status);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "no kernel can be made of the cluster");
}

static void verify_sees_states_without_a_place(void **state) {
    Fixture *f = *state;
    float *element;
    Tensor *tensor = sn_tensor_new(f->arena, SN_F32, 1, (int64_t[]){2}, (void **)&element);
    GraphState kept = {.name = "w", .input = 99, .result = -1, .initial = tensor};
    sn_push(f->arena, &f->graph->states, kept);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "no place among the inputs");
    f->graph->states.at[0].input = 0;
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "differ in type");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(verify_sees_a_wrong_type),
        TEST(verify_sees_wrong_known_values),
        TEST(verify_sees_lost_and_invented_uses),
        TEST(verify_sees_a_lost_result_use),
        TEST(verify_sees_wrong_arity_and_missing_operands),
        TEST(verify_sees_missing_attributes),
        TEST(verify_sees_repeated_ids_and_lost_places),
        TEST(verify_sees_broken_links),
        TEST(verify_sees_values_of_removed_nodes),
        TEST(verify_sees_a_missing_check),
        TEST(verify_sees_impure_setup),
        TEST(verify_sees_unnamed_outputs),
        TEST(verify_sees_what_a_stage_forbids),
        TEST(verify_sees_captures_and_wrong_params),
        TEST(verify_sees_what_a_cluster_may_not_hold),
        TEST(verify_sees_the_wrong_anchor),
        TEST(verify_sees_a_cluster_without_a_kernel),
        TEST(verify_sees_states_without_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

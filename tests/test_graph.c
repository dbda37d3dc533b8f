/* ir: the graph, its rewriting, the builder, the attributes of operators, and targets. */
#include "graph_fixture.h"
#include "target.h"
#include "text_form.h"
#include "verify.h"

static const char *text_of(const Fixture *f, const Graph *graph) {
    Text text = sn_text(f->arena);
    sn_graph_print(&text, graph);
    return sn_text_string(&text);
}

/* The nodes of the body as "exp add ...". */
static const char *order_of(const Fixture *f) {
    Text text = sn_text(f->arena);
    for (const Node *node = f->graph->body->first; node; node = node->next)
        sn_text_add(&text, "%s ", sn_op(node->op)->text);
    return sn_text_string(&text);
}

/* ---- uses ---- */

static void uses_count_duplicates_and_results(void **state) {
    Fixture *f = *state;
    Value *square = sn_build2(&f->builder, SN_OP_MUL, NULL, f->x, f->x);
    assert_ok(f->builder.status);
    assert_int_equal(sn_value_use_count(f->x), 2);
    sn_graph_output(f->graph, "a", square);
    sn_graph_output(f->graph, "b", square);
    assert_int_equal(sn_value_use_count(square), 2);
    sn_node_set_input(square->producer, 1, f->y);
    assert_int_equal(sn_value_use_count(f->x), 1);
    assert_int_equal(sn_value_use_count(f->y), 1);
    assert_ok(sn_verify(f->graph));
}

static void replacing_moves_operands_results_and_the_name(void **state) {
    Fixture *f = *state;
    Value *e = sn_build1(&f->builder, SN_OP_EXP, NULL, f->x);
    e->name = "e";
    Value *sum = sn_build2(&f->builder, SN_OP_ADD, NULL, e, e);
    sn_graph_output(f->graph, "e", e);
    sn_graph_output(f->graph, "sum", sum);
    Builder before = sn_builder_before(f->graph, e->producer);
    Value *tanh = sn_build1(&before, SN_OP_TANH, NULL, f->x);
    assert_ok(before.status);
    sn_value_replace(e, tanh);
    assert_int_equal(sn_value_use_count(e), 0);
    assert_int_equal(sn_value_use_count(tanh), 3);
    assert_ptr_equal(f->graph->body->result.at[0], tanh);
    assert_string_equal(tanh->name, "e");
    assert_null(e->name);
    assert_ok(sn_verify(f->graph));
    assert_true(sn_region_sweep(f->graph->body));
    assert_false(sn_region_sweep(f->graph->body));
    assert_string_equal(order_of(f), "tanh add ");
    assert_int_equal(sn_value_use_count(f->x), 1);
    assert_ok(sn_verify(f->graph));
}

static void sweeping_takes_whole_chains(void **state) {
    Fixture *f = *state;
    Value *kept = sn_build1(&f->builder, SN_OP_EXP, NULL, f->x);
    Value *dead = f->y;
    for (int i = 0; i < 5; i++) dead = sn_build1(&f->builder, SN_OP_TANH, NULL, dead);
    sn_graph_output(f->graph, "out", kept);
    assert_true(sn_region_sweep(f->graph->body));
    assert_string_equal(order_of(f), "exp ");
    assert_int_equal(sn_value_use_count(f->y), 0);
}

/* ---- order ---- */

static void sorting_keeps_an_order_that_is_right(void **state) {
    Fixture *f = *state;
    Value *a = sn_build1(&f->builder, SN_OP_EXP, NULL, f->x);
    Value *b = sn_build1(&f->builder, SN_OP_TANH, NULL, f->y);
    sn_build2(&f->builder, SN_OP_ADD, NULL, b, a);
    assert_true(sn_region_sort(f->graph->body));
    assert_string_equal(order_of(f), "exp tanh add ");
}

static void sorting_puts_producers_first_and_finds_cycles(void **state) {
    Fixture *f = *state;
    Value *e = sn_build1(&f->builder, SN_OP_EXP, NULL, f->x);
    Value *n = sn_build1(&f->builder, SN_OP_NEG, NULL, f->y);
    Value *t = sn_build1(&f->builder, SN_OP_TANH, NULL, n);
    sn_graph_output(f->graph, "out", sn_build2(&f->builder, SN_OP_ADD, NULL, e, t));
    sn_node_set_input(e->producer, 0, t);
    assert_fails(sn_verify(f->graph), SN_INTERNAL, "used before it is made");
    assert_true(sn_region_sort(f->graph->body));
    assert_string_equal(order_of(f), "neg tanh exp add ");
    assert_ok(sn_verify(f->graph));
    sn_node_set_input(n->producer, 0, e);
    assert_false(sn_region_sort(f->graph->body));
    assert_string_equal(order_of(f), "neg tanh exp add ");
}

static void sorting_needs_no_stack_for_a_long_chain(void **state) {
    Fixture *f = *state;
    enum { LENGTH = 20000 };
    Node **node = SN_ARRAY(f->arena, Node *, LENGTH);
    Value *value = f->x;
    for (int i = 0; i < LENGTH; i++) {
        static const AttrNone none;
        node[i] = sn_node_new(f->graph, SN_OP_NEG, &none, 1, &value, 1);
        node[i]->output[0]->type = f->x->type;
        value = node[i]->output[0];
    }
    for (int i = LENGTH - 1; i >= 0; i--) sn_node_append(f->graph->body, node[i]);
    assert_true(sn_region_sort(f->graph->body));
    assert_ptr_equal(f->graph->body->first, node[0]);
    assert_ptr_equal(f->graph->body->last, node[LENGTH - 1]);
}

/* ---- origins and checks ---- */

static void equal_origins_are_one(void **state) {
    Fixture *f = *state;
    char name[] = "add_1";
    SourceNode first = {.name = "mul", .op_type = "Mul", .domain = "", .opset = 17, .index = 3};
    SourceNode second = {.name = name, .op_type = "Add", .domain = "", .opset = 17, .index = 1};
    const Origin *a = sn_origin(f->graph, &first), *b = sn_origin(f->graph, &second);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(sn_origin(f->graph, &second), b);
    name[0] = 'x'; /* it was copied */
    assert_string_equal(b->primary->name, "add_1");
    const Origin *both = sn_origin_union(f->graph, a, b);
    assert_int_equal(both->count, 2);
    assert_ptr_equal(both->primary, a->primary);
    assert_int_equal(both->node[0]->index, 1);
    assert_int_equal(both->node[1]->index, 3);
    assert_ptr_equal(sn_origin_union(f->graph, both, a), both);
    assert_ptr_equal(sn_origin_union(f->graph, a, both), both);
    assert_ptr_equal(sn_origin_union(f->graph, NULL, b), b);
    assert_ptr_equal(sn_origin_union(f->graph, b, NULL), b);
    assert_ptr_equal(sn_origin_union(f->graph, b, a)->primary, b->primary);
}

static void checks_are_added_once_and_proven_ones_never(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    Dim s = sn_dim_symbol(dims, "S"), one = sn_dim(dims, 1);
    assert_ok(sn_graph_check(f->graph, SN_CHECK_EQUAL, s, s, NULL));
    assert_ok(sn_graph_check(f->graph, SN_CHECK_BROADCAST, s, one, NULL));
    assert_ok(sn_graph_check(f->graph, SN_CHECK_AT_MOST, s, sn_dim_addc(dims, s, 1), NULL));
    assert_int_equal(f->graph->checks.count, 0);
    assert_ok(sn_graph_check(f->graph, SN_CHECK_EQUAL, s, f->t, NULL));
    assert_ok(sn_graph_check(f->graph, SN_CHECK_EQUAL, f->t, s, NULL));
    assert_int_equal(f->graph->checks.count, 1);
    assert_ok(sn_graph_check(f->graph, SN_CHECK_AT_MOST, s, f->t, NULL));
    assert_ok(sn_graph_check(f->graph, SN_CHECK_AT_MOST, f->t, s, NULL));
    assert_int_equal(f->graph->checks.count, 3);
    Dim more = sn_dim_addc(dims, s, 2);
    assert_fails(sn_graph_check(f->graph, SN_CHECK_EQUAL, s, more, NULL), SN_INVALID, "is not equal to");
    assert_fails(sn_graph_check(f->graph, SN_CHECK_AT_MOST, more, s, NULL), SN_INVALID, "is greater than");
    assert_fails(sn_graph_check(f->graph, SN_CHECK_BROADCAST, more, sn_dim(dims, 0), NULL), SN_INVALID,
                 "does not broadcast with");
}

/* ---- the builder ---- */

static void the_first_failure_latches_with_its_origin(void **state) {
    Fixture *f = *state;
    SourceNode source = {.name = "h.0/\n\"add\"", .op_type = "Add\n", .domain = "", .opset = 17, .index = 0};
    f->builder.origin = sn_origin(f->graph, &source);
    Value *integers = sn_build_cast(&f->builder, f->y, SN_I32);
    assert_non_null(integers);
    assert_null(sn_build2(&f->builder, SN_OP_ADD, NULL, f->x, integers));
    assert_null(sn_build1(&f->builder, SN_OP_EXP, NULL, f->x));
    assert_null(sn_build_scalar(&f->builder, SN_F32, 1));
    assert_int_equal(sn_error_code(f->builder.status), SN_INVALID);
    const char *message = sn_error_message(f->builder.status);
    assert_ptr_equal(strstr(message, "node \"h.0/\\n\\\"add\\\"\" (Add\\n, opset 17): add: "), message);
    assert_null(strchr(message, '\n'));
    assert_string_equal(order_of(f), "cast ");
}

static void attributes_are_copied_with_their_lists(void **state) {
    Fixture *f = *state;
    int64_t axes[] = {1};
    Value *sum = sn_build1(&f->builder, SN_OP_REDUCE_SUM, &(AttrReduce){1, axes}, f->x);
    assert_ok(f->builder.status);
    axes[0] = 0;
    assert_int_equal(((const AttrReduce *)sum->producer->attr)->axes[0], 1);
    assert_null(sn_build1(&f->builder, SN_OP_TRILU, &(AttrTrilu){.upper = true}, f->x));
    assert_non_null(strstr(sn_error_message(f->builder.status), "attribute k"));
}

static void movements_are_views_and_identities_nothing(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    Builder *b = &f->builder;
    Dim eight = sn_dim(dims, 8), four = sn_dim(dims, 4), two = sn_dim(dims, 2);
    assert_ptr_equal(sn_build_transpose(b, f->x, (int[]){0, 1}), f->x);
    assert_ptr_equal(sn_build_reshape(b, f->x, 2, (Dim[]){f->t, eight}), f->x);
    assert_ptr_equal(sn_build_expand(b, f->x, 2, (Dim[]){f->t, eight}), f->x);
    assert_ptr_equal(sn_build_slice(b, f->x, 1, sn_dim(dims, 0), eight, 1), f->x);
    assert_ptr_equal(sn_build_cast(b, f->x, SN_F32), f->x);
    assert_null(f->graph->body->first);
    Value *turned = sn_build_transpose(b, f->x, (int[]){1, 0});
    Value *split = sn_build_reshape(b, f->x, 3, (Dim[]){f->t, two, four});
    Value *wide = sn_build_expand(b, f->x, 3, (Dim[]){two, f->t, eight});
    Value *last = sn_build_slice(b, f->x, 1, sn_dim(dims, 7), two, -5);
    assert_ok(b->status);
    assert_int_equal(f->graph->checks.count, 0);
    sn_graph_output(f->graph, "turned", turned);
    sn_graph_output(f->graph, "split", split);
    sn_graph_output(f->graph, "wide", wide);
    sn_graph_output(f->graph, "last", last);
    assert_string_equal(text_of(f, f->graph),
                        "graph \"test\" stage imported\n"
                        "symbol T\n"
                        "input %0 \"x\": f32[T, 8]\n"
                        "input %1 \"y\": f32[T, 8]\n"
                        "%2 = view(%0) {extent = [8, T], index = [i1, i0]} : f32[8, T]\n"
                        "%3 = view(%0) {extent = [T, 2, 4], index = [i0, 4*i1 + i2]} : f32[T, 2, 4]\n"
                        "%4 = view(%0) {extent = [2, T, 8], index = [i1, i2]} : f32[2, T, 8]\n"
                        "%5 = view(%0) {extent = [T, 2], index = [i0, -5*i1 + 7]} : f32[T, 2]\n"
                        "output %2 \"turned\"\n"
                        "output %3 \"split\"\n"
                        "output %4 \"wide\"\n"
                        "output %5 \"last\"\n");
    assert_ok(sn_verify(f->graph));
}

static void unproven_movements_are_checked(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    Dim s = sn_dim_symbol(dims, "S"), eight = sn_dim(dims, 8);
    assert_non_null(sn_build_reshape(&f->builder, f->x, 2, (Dim[]){s, sn_dim(dims, 4)}));
    assert_int_equal(f->graph->checks.count, 1);
    assert_int_equal(f->graph->checks.at[0].kind, SN_CHECK_EQUAL);
    assert_non_null(sn_build_expand(&f->builder, f->x, 2, (Dim[]){s, eight}));
    assert_true(f->graph->checks.count > 1);
    assert_ok(f->builder.status);
    /* 8·T = 7·T where T is 0, so that is a check too; 8·T is never T - 1. */
    assert_non_null(sn_build_reshape(&f->builder, f->x, 2, (Dim[]){f->t, sn_dim(dims, 7)}));
    assert_null(sn_build_reshape(&f->builder, f->x, 1, (Dim[]){sn_dim_addc(dims, f->t, -1)}));
    assert_non_null(strstr(sn_error_message(f->builder.status), "reshape: extent 8*T is not equal to T - 1"));
}

static void expansion_refuses_what_does_not_fit(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    assert_null(sn_build_expand(&f->builder, f->x, 2, (Dim[]){f->t, sn_dim(dims, 1)}));
    assert_fails(f->builder.status, SN_INVALID, "expand: ");
    f->builder.status = NULL;
    assert_null(sn_build_expand(&f->builder, f->x, 1, (Dim[]){sn_dim(dims, 8)}));
    assert_int_equal(sn_error_code(f->builder.status), SN_INVALID);
}

static void splats_are_seen_through_views(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    double value = 0;
    Value *scalar = sn_build_scalar(&f->builder, SN_F16, 0.5);
    Value *wide = sn_build_expand(&f->builder, scalar, 2, f->x->type.dim);
    assert_true(sn_value_is_splat(wide, &value));
    assert_true(value == 0.5);
    int32_t *element;
    Tensor *tensor = sn_tensor_new(f->arena, SN_I32, 1, (int64_t[]){3}, (void **)&element);
    for (int i = 0; i < 3; i++) element[i] = -7;
    assert_true(sn_value_is_splat(sn_build_constant(&f->builder, tensor), &value));
    assert_true(value == -7);
    element[2] = 1;
    assert_false(sn_value_is_splat(sn_build_constant(&f->builder, tensor), &value));
    Dim two = sn_dim(dims, 2);
    assert_true(sn_value_is_splat(sn_build_dims(&f->builder, 2, (Dim[]){two, two}, false), &value));
    assert_true(value == 2);
    assert_false(sn_value_is_splat(sn_build_dims(&f->builder, 2, (Dim[]){f->t, f->t}, false), &value));
    element[2] = element[0];
    Tensor recipe = *tensor;
    recipe.payload = SN_PAYLOAD_RECIPE;
    assert_false(sn_value_is_splat(sn_build_constant(&f->builder, &recipe), &value));
    assert_false(sn_value_is_splat(f->x, &value));
    assert_ok(f->builder.status);
}

/* ---- attributes ---- */

static Hash hash_of(const AttrInfo *info, const void *attr) {
    return sn_attr_hash(info, attr, (Hash){0});
}

static void attributes_compare_by_meaning(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    int64_t one[] = {0, 1}, same[] = {0, 1}, other[] = {0, 2};
    AttrReduce a = {2, one}, b = {2, same}, c = {2, other}, d = {1, one};
    assert_true(sn_attr_equal(&sn_attr_reduce, &a, &b));
    assert_true(sn_hash_equal(hash_of(&sn_attr_reduce, &a), hash_of(&sn_attr_reduce, &b)));
    assert_false(sn_attr_equal(&sn_attr_reduce, &a, &c));
    assert_false(sn_hash_equal(hash_of(&sn_attr_reduce, &a), hash_of(&sn_attr_reduce, &c)));
    assert_false(sn_attr_equal(&sn_attr_reduce, &a, &d));
    AttrNorm n = {.axis = 1, .epsilon = 0.0}, m = {.axis = 1, .epsilon = -0.0};
    assert_false(sn_attr_equal(&sn_attr_norm, &n, &m));
    AttrAttention p = {.scale = 1}, q = {.scale = 1, .causal = true, .offset = sn_dim(dims, 0)};
    assert_false(sn_attr_equal(&sn_attr_attention, &p, &q));
    assert_false(sn_hash_equal(hash_of(&sn_attr_attention, &p), hash_of(&sn_attr_attention, &q)));
    assert_true(sn_attr_equal(&sn_attr_none, NULL, &(AttrNone){0}));
}

static void tensors_compare_by_content_when_small(void **state) {
    Fixture *f = *state;
    void *p, *q;
    AttrConstant a = {sn_tensor_new(f->arena, SN_F32, 1, (int64_t[]){4}, &p)};
    AttrConstant b = {sn_tensor_new(f->arena, SN_F32, 1, (int64_t[]){4}, &q)};
    assert_true(sn_attr_equal(&sn_attr_constant, &a, &b));
    assert_true(sn_hash_equal(hash_of(&sn_attr_constant, &a), hash_of(&sn_attr_constant, &b)));
    ((char *)q)[15] = 1;
    assert_false(sn_attr_equal(&sn_attr_constant, &a, &b));
    AttrConstant flat = {sn_tensor_new(f->arena, SN_F32, 2, (int64_t[]){2, 2}, &q)};
    assert_false(sn_attr_equal(&sn_attr_constant, &a, &flat));
    AttrConstant large = {sn_tensor_new(f->arena, SN_F32, 1, (int64_t[]){1025}, &p)};
    AttrConstant twin = {sn_tensor_new(f->arena, SN_F32, 1, (int64_t[]){1025}, &q)};
    Tensor alias = *large.tensor;
    assert_false(sn_attr_equal(&sn_attr_constant, &large, &twin));
    assert_true(sn_attr_equal(&sn_attr_constant, &large, &(AttrConstant){&alias}));
    assert_true(sn_hash_equal(hash_of(&sn_attr_constant, &large),
                              hash_of(&sn_attr_constant, &(AttrConstant){&alias})));
}

static void every_row_of_the_table_is_complete(void **state) {
    (void)state;
    for (int code = 0; code < SN_OP_COUNT; code++) {
        const OpInfo *op = sn_op((OpCode)code);
        OpCode found;
        assert_true(sn_op_from_text(op->text, strlen(op->text), &found));
        assert_int_equal(found, code);
        assert_non_null(op->infer);
        assert_non_null(op->eval);
        assert_non_null(op->attr);
        assert_true(op->in_max == -1 || op->in_min <= op->in_max);
        assert_true(op->attr->field_count < 32);
        for (int i = 0; i < op->attr->field_count; i++)
            assert_true(op->attr->field[i].offset < op->attr->size);
    }
    assert_false(sn_op_from_text("ad", 2, &(OpCode){0}));
}

/* ---- clones ---- */

static void a_clone_is_the_same_and_apart(void **state) {
    Fixture *f = *state;
    Dims *dims = f->graph->dims;
    SourceNode source = {.name = "n", .op_type = "Mul", .domain = "d", .opset = 1, .index = 2};
    sn_dims_symbol_at_most(dims, f->t, 4096);
    f->builder.origin = sn_origin(f->graph, &source);
    f->builder.group = 3;
    Value *half = sn_build_scalar(&f->builder, SN_F32, 0.5);
    half->producer->setup = true;
    Value *scaled = sn_build2(&f->builder, SN_OP_MUL, NULL, f->x, half);
    scaled->name = "scaled";
    Dim s = sn_dim_symbol(dims, "S");
    Value *shape = sn_build_dims(&f->builder, 2, (Dim[]){s, f->t}, false);
    sn_graph_output(f->graph, "out", sn_build_transpose(&f->builder, scaled, (int[]){1, 0}));
    sn_graph_output(f->graph, "shape", shape);
    assert_ok(sn_graph_check(f->graph, SN_CHECK_EQUAL, s, f->t, f->builder.origin));
    assert_ok(f->builder.status);

    Arena *elsewhere = sn_arena_new();
    Graph *clone = sn_graph_clone(elsewhere, f->graph);
    assert_ok(sn_verify(clone));
    assert_string_equal(text_of(f, clone), text_of(f, f->graph));
    assert_int_equal(clone->next_value, f->graph->next_value);
    const Value *copy = clone->body->result.at[1];
    assert_ptr_equal(copy->known[0], sn_dim_symbol(clone->dims, "S"));
    assert_ptr_not_equal(copy->known[0], s);
    assert_ptr_equal(clone->checks.at[0].a, sn_dim_symbol(clone->dims, "S"));
    assert_ptr_equal(clone->checks.at[0].b, sn_dim_symbol(clone->dims, "T"));
    const char *before = sn_arena_string(f->arena, text_of(f, f->graph));
    Builder builder = {.graph = clone, .region = clone->body};
    sn_graph_output(clone, "more", sn_build1(&builder, SN_OP_EXP, NULL, clone->body->param.at[0]));
    assert_ok(builder.status);
    sn_arena_free(elsewhere);
    assert_string_equal(text_of(f, f->graph), before);
}

/* ---- targets ---- */

static void tiles_fit_the_registers(void **state) {
    (void)state;
    static const int vectors[][2] = {{64, 32}, {32, 32}, {32, 16}, {16, 16}};
    for (int i = 0; i < 4; i++) {
        Target target;
        sn_target_cpu(&target, vectors[i][0], vectors[i][1], 32768, 1 << 20);
        assert_true(target.tile_rows * target.tile_vectors + target.tile_vectors < vectors[i][1]);
        assert_int_equal(target.panel, target.tile_vectors * vectors[i][0] / 4);
    }
    Target target;
    sn_target_cuda(&target, 90);
    assert_string_equal(target.name, "cuda:sm_90a");
    assert_false(sn_target_accepts(&target, SN_CLUSTER_CONTRACT)->prologue_pointwise);
    assert_true(sn_target_accepts(&target, SN_CLUSTER_CONTRACT)->epilogue_pointwise);
    assert_false(sn_target_accepts(&target, SN_CLUSTER_ATTENTION)->epilogue_pointwise);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(uses_count_duplicates_and_results),
        TEST(replacing_moves_operands_results_and_the_name),
        TEST(sweeping_takes_whole_chains),
        TEST(sorting_keeps_an_order_that_is_right),
        TEST(sorting_puts_producers_first_and_finds_cycles),
        TEST(sorting_needs_no_stack_for_a_long_chain),
        TEST(equal_origins_are_one),
        TEST(checks_are_added_once_and_proven_ones_never),
        TEST(the_first_failure_latches_with_its_origin),
        TEST(attributes_are_copied_with_their_lists),
        TEST(movements_are_views_and_identities_nothing),
        TEST(unproven_movements_are_checked),
        TEST(expansion_refuses_what_does_not_fit),
        TEST(splats_are_seen_through_views),
        TEST(attributes_compare_by_meaning),
        TEST(tensors_compare_by_content_when_small),
        TEST(every_row_of_the_table_is_complete),
        TEST(a_clone_is_the_same_and_apart),
        TEST(tiles_fit_the_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

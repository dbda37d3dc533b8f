/* Loops whose last turn only a run knows. */
#include "frontend_fixture.h"
#include "loop.h"
#include "text_form.h"
#include "verify.h"

/* "go and below", as an If: below where it goes on, and otherwise false. */
static void add_both(Model *body) {
    Onnx__NodeProto *node = add_node(body, "If", "go", "again");
    for (int k = 0; k < 2; k++) {
        Model *branch = model_new(body->arena, 13);
        if (k) add_integers(branch, "zero", 0, 1, (int64_t[]){0});
        add_node(branch, k ? "Cast" : "Identity", k ? "zero" : "below", "r");
        if (k) set_int(branch, branch->graph.node[0], "to", BOOL);
        add_output(branch, "r");
        add_attribute(body, node, k ? "else_branch" : "then_branch", GRAPH)->g = &branch->graph;
    }
}

/* Doubles x in each turn and keeps it; goes on while `go` is true and, with `two`, the turn is below 2. */
static Onnx__GraphProto *doubling(Arena *arena, bool two, bool branches) {
    Model *body = model_new(arena, 13);
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    add_input(body, "x", F32, "2");
    if (two) {
        add_integers(body, "two", 0, 1, (int64_t[]){2});
        add_node(body, "Less", "i two", "below");
        if (branches)
            add_both(body);
        else
            add_node(body, "And", "go below", "again");
    } else {
        add_node(body, "Identity", "go", "again");
    }
    add_node(body, "Add", "x x", "twice");
    add_node(body, "Identity", "twice", "each");
    add_output(body, "again");
    add_output(body, "twice");
    add_output(body, "each");
    return &body->graph;
}

static Model *loop_model(Fixture *fixture, const char *inputs, bool two, bool branches, bool kept) {
    static const float zero; /* the file is written after the return */
    Model *model = model_new(fixture->arena, 13);
    add_input(model, "n", F32, "");
    add_integers(model, "most", 0, 1, (int64_t[]){5});
    set_raw(add_initializer(model, "four", F32, 2), four, 2 * sizeof *four);
    set_raw(add_initializer(model, "zero", F32, 1), &zero, sizeof zero);
    set_int(model, add_node(model, "Cast", "n", "number"), "to", I64);
    add_node(model, "Min", "number most", "limit");
    add_node(model, "Greater", "n zero", "go");
    Onnx__NodeProto *loop = add_node(model, "Loop", inputs, "last all");
    add_attribute(model, loop, "body", GRAPH)->g = doubling(fixture->arena, two, branches);
    add_output(model, kept ? "all" : "last");
    return model;
}

/* Both results of a loop that `n` ends: after `turns`. */
static void expect_turns(Fixture *fixture, const char *inputs, bool two, bool branches, double n, int turns) {
    const Array *last = result_of(fixture, loop_model(fixture, inputs, two, branches, false), 0, NULL, n);
    assert_int_equal(last->count, 2);
    for (int k = 0; k < 2; k++) assert_true(last->f[k] == (double)four[k] * (1 << turns));
    const Array *all = result_of(fixture, loop_model(fixture, inputs, two, branches, true), 0, NULL, n);
    assert_int_equal(all->count, 2 * turns);
    for (int i = 0; i < turns; i++)
        for (int k = 0; k < 2; k++) assert_true(all->f[2 * i + k] == (double)four[k] * (2 << i));
}

static void a_run_may_say_how_many(void **state) {
    static const int number[] = {-1, 0, 1, 4, 5, 9};
    for (int k = 0; k < 6; k++) {
        int turns = number[k] < 0 ? 0 : number[k] > 5 ? 5 : number[k];
        expect_turns(*state, "limit _ four", false, false, number[k], turns);
    }
}

/* A conjunction with what is false of the turn's number ends the loop, however many turns nobody bounds. */
static void a_number_may_end_it_all(void **state) {
    for (int branches = 0; branches < 2; branches++) {
        expect_turns(*state, "_ go four", true, branches, 1, 3);
        expect_turns(*state, "_ go four", true, branches, 0, 0);
    }
}

/* ---- turns that only a run counts ---- */

static const GraphLoop *only_loop(Fixture *fixture, Model *model) {
    Graph *graph;
    loaded(fixture, model, &graph);
    assert_ok(sn_verify(graph));
    assert_int_equal(graph->loops.count, 1);
    return &graph->loops.at[0];
}

static void a_run_may_say_any_number(void **state) {
    static const int number[] = {-1, 0, 1, 7, 20};
    for (int k = 0; k < 5; k++)
        expect_turns(*state, "number _ four", false, false, number[k], number[k] < 0 ? 0 : number[k]);
    const GraphLoop *loop = only_loop(*state, loop_model(*state, "number _ four", false, false, true));
    assert_int_equal(loop->carried, 1);
    assert_int_equal(loop->kept, 1);
    assert_int_equal(loop->captured, 0);
}

/* Of few turns each is written out; of many a run counts them. */
static void a_known_end_counts(void **state) {
    Graph *graph;
    loaded(*state, loop_model(*state, "_ go four", true, false, false), &graph);
    assert_int_equal(graph->loops.count, 0);
    only_loop(*state, loop_model(*state, "_ go four", false, false, false));
}

/* A body whose carried value is made by `op` of itself and another one: n turns of it. */
static Model *carrying(Fixture *fixture, const char *op, const char *inputs, int axis, int to) {
    Model *body = model_new(fixture->arena, 13), *model = model_new(fixture->arena, 13);
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    add_input(body, "x", F32, "2");
    add_integers(body, "first", 1, 1, (int64_t[]){0});
    Onnx__NodeProto *node = add_node(body, op, inputs, "y");
    if (axis >= 0) set_int(body, node, "axis", axis);
    if (to) set_int(body, node, "to", to);
    add_node(body, "Identity", "go", "again");
    add_output(body, "again");
    add_output(body, "y");
    add_input(model, "n", F32, "");
    set_raw(add_initializer(model, "four", F32, 2), four, 2 * sizeof *four);
    set_int(model, add_node(model, "Cast", "n", "number"), "to", I64);
    Onnx__NodeProto *loop = add_node(model, "Loop", "number _ four", "last");
    add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
    add_output(model, "last");
    return model;
}

/* Extents that change are found by importing the body again. */
static void sizes_may_change(void **state) {
    for (int n = 0; n < 5; n++) {
        const Array *last = result_of(*state, carrying(*state, "Concat", "x four", 0, 0), 0, NULL, n);
        assert_int_equal(last->count, 2 * (n + 1));
        for (int k = 0; k < last->count; k++) assert_true(last->f[k] == (double)four[k % 2]);
    }
    const GraphLoop *loop = only_loop(*state, carrying(*state, "Concat", "x four", 0, 0));
    assert_int_equal(loop->extent_count, 2); /* the turns, and that of the carried value */
    assert_int_equal(loop->extent[1].result, 0);
    loop = only_loop(*state, carrying(*state, "Add", "x four", -1, 0));
    assert_int_equal(loop->extent_count, 1);
}

static void types_and_ranks_stay(void **state) {
    refused(*state, carrying(*state, "Unsqueeze", "x first", -1, 0), SN_UNSUPPORTED, "changes its rank",
            NULL);
    refused(*state, carrying(*state, "Cast", "x", -1, I64), SN_UNSUPPORTED, "changes its type", NULL);
}

/* The turn's number and the condition are lists of one element where the body declares them so, in turns that are written out
 * and in those that a run counts. */
static void numbers_may_be_lists(void **state) {
    Fixture *fixture = *state;
    for (int run = 0; run < 2; run++) {
        Model *model = model_new(fixture->arena, 11), *body = model_new(fixture->arena, 11);
        add_input(model, "n", F32, "");
        add_integers(model, "three", 0, 1, (int64_t[]){3});
        set_raw(add_initializer(model, "four", F32, 2), four, 2 * sizeof *four);
        set_int(model, add_node(model, "Cast", "n", "number"), "to", I64);
        add_input(body, "i", I64, "1");
        add_input(body, "go", BOOL, "1");
        add_input(body, "x", F32, "2");
        set_int(body, add_node(body, "Concat", "i i", "twice"), "axis", 0);
        set_int(body, add_node(body, "Cast", "twice", "added"), "to", F32);
        add_node(body, "Add", "x added", "y");
        set_int(body, add_node(body, "Concat", "go", "again"), "axis", 0);
        add_output(body, "again");
        add_output(body, "y");
        Onnx__NodeProto *loop = add_node(model, "Loop", run ? "number _ four" : "three _ four", "last");
        add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
        add_output(model, "last");
        const Array *last = result_of(fixture, model, 0, NULL, 3);
        for (int k = 0; k < 2; k++) assert_true(last->f[k] == (double)four[k] + 3);
    }
}

/* A turn may add to a list, but not look at what others have added. */
static void lists_only_grow(void **state) {
    static const char *const reader[] = {"SequenceLength", "SequenceErase", NULL};
    for (int k = 0; k < 3; k++) {
        Fixture *fixture = *state;
        Model *body = model_new(fixture->arena, 13), *model = model_new(fixture->arena, 13);
        add_input(body, "i", I64, "");
        add_input(body, "go", BOOL, "");
        add_input(body, "list", F32, "");
        if (reader[k]) add_node(body, reader[k], "list", "read");
        add_node(body, "SequenceInsert", "list n", "longer");
        add_node(body, "Identity", "go", "again");
        add_output(body, "again");
        add_output(body, "longer");
        if (reader[k]) add_output(body, "read");
        add_input(model, "n", F32, "");
        set_int(model, add_node(model, "Cast", "n", "number"), "to", I64);
        add_node(model, "SequenceEmpty", "", "none");
        Onnx__NodeProto *loop = add_node(model, "Loop", "number _ none", reader[k] ? "grown all" : "grown");
        add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
        set_int(model, add_node(model, "ConcatFromSequence", "grown", "stack"), "axis", 0);
        set_int(model, model->graph.node[model->graph.n_node - 1], "new_axis", 1);
        add_output(model, "stack");
        if (reader[k])
            refused(fixture, model, SN_UNSUPPORTED, "what the turns before have added", reader[k], NULL);
        else
            assert_int_equal(result_of(fixture, model, 0, NULL, 3)->count, 3);
    }
}

/* Of what a loop makes, which has a name of its own or none, the loop's inputs decide. */
static void inputs_decide_what_loops_make(void **state) {
    for (int list = 0; list < 2; list++) {
        Fixture *fixture = *state;
        Model *body = model_new(fixture->arena, 13), *model = model_new(fixture->arena, 13);
        add_input(body, "i", I64, "");
        add_input(body, "go", BOOL, "");
        add_input(body, "before", I64, list ? "" : "1");
        add_node(body, "Identity", "go", "again");
        add_integers(body, "one", 1, 1, (int64_t[]){1});
        add_node(body, list ? "SequenceInsert" : "Add", "before one", "behind");
        add_output(body, "again");
        add_output(body, "behind");
        add_input(model, "number", I64, "");
        add_input(model, "start", I64, "1");
        add_input(model, "x", F32, "2 3");
        if (list) set_int(model, add_node(model, "SequenceEmpty", "", "none"), "dtype", I64);
        Onnx__NodeProto *loop = add_node(model, "Loop", list ? "number _ none" : "number _ start", "made");
        add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
        if (list) set_int(model, add_node(model, "ConcatFromSequence", "made", "axes"), "axis", 0);
        add_node(model, "ReduceSum", list ? "x axes" : "x made", "y");
        add_output(model, "y");
        refused(fixture, model, SN_UNSUPPORTED, "data-dependent axes",
                list ? "that decide it: \"number\" (const" : "\"number\"", list ? NULL : "\"start\"", NULL);
    }
}

/* Of what a turn has from around the loop the file's inputs decide, too. */
static void inputs_decide_inside_of_turns(void **state) {
    Fixture *fixture = *state;
    Model *body = model_new(fixture->arena, 13), *model = model_new(fixture->arena, 13);
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    add_input(body, "s", F32, "2 3");
    add_node(body, "Identity", "go", "again");
    add_node(body, "ReduceSum", "s axes", "sum");
    add_node(body, "Add", "s sum", "behind");
    add_output(body, "again");
    add_output(body, "behind");
    add_input(model, "number", I64, "");
    add_input(model, "minus", I64, "1");
    add_input(model, "x", F32, "2 3");
    add_node(model, "Neg", "minus", "axes");
    add_attribute(model, add_node(model, "Loop", "number _ x", "y"), "body", GRAPH)->g = &body->graph;
    add_output(model, "y");
    refused(fixture, model, SN_UNSUPPORTED, "data-dependent axes", "decide it: \"minus\" (const", NULL);
}

/* Each list has to stay what it is: a turn may not add to one of them and pass it on as another. */
static void lists_change_no_places(void **state) {
    for (int swapped = 0; swapped < 2; swapped++) {
        Fixture *fixture = *state;
        Model *body = model_new(fixture->arena, 13), *model = model_new(fixture->arena, 13);
        add_input(body, "i", I64, "");
        add_input(body, "go", BOOL, "");
        add_input(body, "one", F32, "");
        add_input(body, "two", F32, "");
        add_node(body, "Neg", "n", "minus");
        add_node(body, "SequenceInsert", "one n", "first");
        add_node(body, "SequenceInsert", "two minus", "second");
        add_node(body, "Identity", "go", "again");
        add_output(body, "again");
        add_output(body, swapped ? "second" : "first");
        add_output(body, swapped ? "first" : "second");
        add_input(model, "n", F32, "");
        set_int(model, add_node(model, "Cast", "n", "number"), "to", I64);
        add_node(model, "SequenceEmpty", "", "none");
        add_node(model, "SequenceEmpty", "", "nothing");
        Onnx__NodeProto *loop = add_node(model, "Loop", "number _ none nothing", "grown other");
        add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
        set_int(model, add_node(model, "ConcatFromSequence", "grown", "stack"), "axis", 0);
        set_int(model, model->graph.node[model->graph.n_node - 1], "new_axis", 1);
        add_output(model, "stack");
        if (swapped)
            refused(fixture, model, SN_UNSUPPORTED, "a sequence to whose end", NULL);
        else
            assert_true(result_of(fixture, model, 0, NULL, 3)->f[2] == 3);
    }
}

/* What a scan of many constants keeps has no rows where a run leaves its branch out. */
static void a_scan_may_be_left_out(void **state) {
    enum { MANY = (1 << 16) + 1 };
    static const float ones[MANY];
    Fixture *fixture = *state;
    Model *body = model_new(fixture->arena, 13), *model = model_new(fixture->arena, 13);
    Model *branch[2] = {model_new(fixture->arena, 13), model_new(fixture->arena, 13)};
    add_input(body, "s", F32, "1");
    add_input(body, "e", F32, "");
    add_node(body, "Add", "s e", "sum");
    add_node(body, "Exp", "e", "one");
    add_output(body, "sum");
    add_output(body, "one");
    Onnx__NodeProto *scan = add_node(branch[0], "Scan", "none many", "last all");
    add_attribute(branch[0], scan, "body", GRAPH)->g = &body->graph;
    set_int(branch[0], scan, "num_scan_inputs", 1);
    add_node(branch[0], "ReduceMax", "all", "most");
    add_node(branch[0], "Concat", "most last", "r");
    set_int(branch[0], branch[0]->graph.node[2], "axis", 0);
    add_node(branch[1], "Neg", "few", "r");
    add_input(model, "n", F32, "");
    set_raw(add_initializer(model, "many", F32, MANY), ones, sizeof ones);
    set_raw(add_initializer(model, "none", F32, 1), ones, sizeof *ones);
    set_raw(add_initializer(model, "few", F32, 4), four, sizeof four);
    set_int(model, add_node(model, "Cast", "n", "go"), "to", BOOL);
    Onnx__NodeProto *either = add_node(model, "If", "go", "r");
    for (int k = 0; k < 2; k++) {
        add_output(branch[k], "r");
        add_attribute(model, either, k ? "else_branch" : "then_branch", GRAPH)->g = &branch[k]->graph;
    }
    add_output(model, "r");
    Graph *graph;
    loaded(fixture, model, &graph);
    assert_int_equal(graph->loops.count, 1);
    const GraphLoop *loop = &graph->loops.at[0];
    assert_int_not_equal(graph->body->param.at[loop->made + loop->carried]->type.dim[0]->kind, SN_DIM_CONST);
    const Array *r = result_of(fixture, model, 0, NULL, 0);
    assert_int_equal(r->count, 4);
    for (int k = 0; k < 4; k++) assert_true(r->f[k] == -(double)four[k]);
}

/* Of loops that take all that those before them make there are many ways from the last one to the first. */
static void a_long_chain_is_ordered_soon(void **state) {
    enum { LOOPS = 40, CARRIED = 2 };
    Graph *graph = sn_graph_new((*(Fixture **)state)->arena, "chain");
    Builder builder = {.graph = graph, .region = graph->body};
    Type number = {SN_F32, 0, NULL};
    Value *value[CARRIED] = {sn_graph_input(graph, "x", number), sn_graph_input(graph, "y", number)};
    for (int i = 0; i < LOOPS; i++) {
        GraphLoop loop = {
            .carried = CARRIED, .taken = graph->body->result.count, .made = graph->body->param.count};
        sn_graph_output(graph, "", sn_build_scalar(&builder, SN_I64, 3));
        sn_graph_output(graph, "", sn_build_scalar(&builder, SN_BOOL, 1));
        for (int k = 0; k < CARRIED; k++) sn_graph_output(graph, "", value[k]);
        for (int k = 0; k < CARRIED; k++) value[k] = sn_graph_input(graph, NULL, number);
        sn_push(graph->arena, &graph->loops, loop);
    }
    assert_non_null(sn_build2(&builder, SN_OP_ADD, NULL, value[0], value[1]));
    assert_true(sn_region_sort(graph->body));
    assert_int_equal(graph->body->last->op, SN_OP_ADD);
}

/* What a loop decides stands behind its results: it makes the number of its turns at least. */
static void loops_make_something(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, loop_model(fixture, "number _ four", false, false, false), &graph);
    GraphLoop *loop = &graph->loops.at[0];
    assert_null(sn_loop_fault(graph, loop));
    loop->carried = loop->kept = loop->extent_count = 0;
    assert_non_null(sn_loop_fault(graph, loop));
    assert_non_null(strstr(sn_loop_fault(graph, loop), "makes nothing"));
}

/* The shape of what would be kept is known without a turn, where it can be; and a loop has to have an end. */
static void no_turns_and_no_end(void **state) {
    static const struct {
        const char *inputs;
        int rank;
    } never[] = {{"none _ four", 2}, {"_ false four", 2}};
    for (int k = 0; k < 2; k++) {
        Model *model = loop_model(*state, never[k].inputs, false, false, true);
        add_integers(model, "none", 0, 1, (int64_t[]){0});
        static const uint8_t no;
        set_raw(add_initializer(model, "false", BOOL, 1), &no, sizeof no);
        const Array *all = result_of(*state, model, 0, NULL, 1);
        assert_int_equal(all->rank, never[k].rank);
        assert_int_equal(all->extent[0], 0);
        assert_int_equal(all->extent[1], 2);
    }
    refused(*state, loop_model(*state, "_ _ four", false, false, false), SN_INVALID, "turns without an end",
            NULL);
}

/* What is printed of a graph with loops is read as the same, and a clone prints the same. */
static void loops_are_printed(void **state) {
    Fixture *fixture = *state;
    Graph *graph, *again;
    loaded(fixture, loop_model(fixture, "number _ four", false, false, true), &graph);
    Text text = sn_text(fixture->arena), second = sn_text(fixture->arena), third = sn_text(fixture->arena);
    sn_graph_print(&text, graph);
    assert_ok(sn_graph_parse(fixture->arena, sn_text_string(&text), text.length, &again));
    sn_graph_print(&second, again);
    sn_graph_print(&third, sn_graph_clone(fixture->arena, graph));
    assert_string_equal(sn_text_string(&text), sn_text_string(&second));
    assert_string_equal(sn_text_string(&text), sn_text_string(&third));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_run_may_say_how_many),
        TEST(a_number_may_end_it_all),
        TEST(a_run_may_say_any_number),
        TEST(a_known_end_counts),
        TEST(sizes_may_change),
        TEST(types_and_ranks_stay),
        TEST(numbers_may_be_lists),
        TEST(lists_only_grow),
        TEST(no_turns_and_no_end),
        TEST(loops_are_printed),
        TEST(inputs_decide_what_loops_make),
        TEST(inputs_decide_inside_of_turns),
        TEST(lists_change_no_places),
        TEST(a_scan_may_be_left_out),
        TEST(a_long_chain_is_ordered_soon),
        TEST(loops_make_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Loops whose last turn only a run knows. */
#include "frontend_fixture.h"

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
    refused(*state, loop_model(*state, "_ go four", false, false, false), SN_UNSUPPORTED, "no end before",
            NULL);
    refused(*state, loop_model(*state, "number _ four", false, false, false), SN_UNSUPPORTED, "has no bound",
            NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_run_may_say_how_many),
        TEST(a_number_may_end_it_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

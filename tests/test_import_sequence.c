/* Sequences that are known at import, and optional values. */
#include "frontend_fixture.h"

/* x [2] and the sequence of x, -x and x again as "list". */
static Model *model_with_list(Fixture *fixture) {
    Model *model = model_new(fixture->arena, 18);
    add_input(model, "x", F32, "2");
    add_node(model, "Neg", "x", "minus");
    add_node(model, "SequenceConstruct", "x minus x", "list");
    return model;
}

/* (a, b) -> a + b, a·b */
static Model *body_of_two(Fixture *fixture) {
    Model *body = model_new(fixture->arena, 18);
    add_input(body, "a", F32, "2");
    add_input(body, "b", F32, "2");
    add_node(body, "Add", "a b", "sum");
    add_node(body, "Mul", "a b", "product");
    add_output(body, "sum");
    add_output(body, "product");
    return body;
}

static void map(Model *model, const Model *body, const char *inputs, const char *outputs) {
    Onnx__NodeProto *node = add_node(model, "SequenceMap", inputs, outputs);
    add_attribute(model, node, "body", GRAPH)->g = (Onnx__GraphProto *)&body->graph;
}

static void join(Model *model, const char *list) {
    set_int(model, add_node(model, "ConcatFromSequence", list, "y"), "axis", 0);
    add_output(model, "y");
}

/* Tensors beside the sequences go to each of its elements. */
static void maps_take_each_element(void **state) {
    static const double expected[2][6] = {{10, 10, 0, 0, 10, 10}, {25, 25, -25, -25, 25, 25}};
    for (int k = 0; k < 2; k++) {
        Fixture *fixture = *state;
        Model *model = model_with_list(fixture);
        map(model, body_of_two(fixture), "list x", "sums products");
        join(model, k ? "products" : "sums");
        const Array *y = result_of(fixture, model, 1, (int64_t[]){2}, 5);
        assert_int_equal(y->count, 6);
        for (int i = 0; i < 6; i++) assert_true(y->f[i] == expected[k][i]);
    }
}

static void maps_take_sequences_side_by_side(void **state) {
    for (int shorter = 0; shorter < 2; shorter++) {
        Fixture *fixture = *state;
        Model *model = model_with_list(fixture);
        add_node(model, "SequenceConstruct", shorter ? "x minus" : "minus x x", "other");
        map(model, body_of_two(fixture), "list other", "sums _");
        join(model, "sums");
        if (shorter) {
            refused(fixture, model, SN_INVALID, "sequences of 3 and 2 elements", NULL);
            continue;
        }
        const Array *y = result_of(fixture, model, 1, (int64_t[]){2}, 5);
        assert_true(y->f[0] == 0 && y->f[2] == 0 && y->f[4] == 10);
    }
}

/* One of nothing is told from one of a tensor, or of a sequence, before any run. */
static void optional_values_are_known(void **state) {
    static const struct {
        const char *wraps, *asks; /* inputs */
        bool has;
    } row[] = {{"", "maybe", false}, {"x", "maybe", true}, {"list", "maybe", true}, {"x", "", false}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Fixture *fixture = *state;
        Model *model = model_with_list(fixture);
        add_node(model, "Optional", row[i].wraps, "maybe");
        add_node(model, "OptionalHasElement", row[i].asks, "has");
        set_int(model, add_node(model, "Cast", "has", "y"), "to", F32);
        add_output(model, "y");
        assert_true(result_of(fixture, model, 1, (int64_t[]){2}, 5)->f[0] == row[i].has);
    }
}

static void an_element_is_what_was_put_in(void **state) {
    static const char *const wraps[] = {"list", ""};
    for (int k = 0; k < 2; k++) {
        Fixture *fixture = *state;
        Model *model = model_with_list(fixture);
        add_node(model, "Optional", wraps[k], "maybe");
        add_node(model, "OptionalGetElement", "maybe", "got");
        join(model, "got");
        if (k)
            refused(fixture, model, SN_INVALID, "an optional value without an element", NULL);
        else
            assert_true(result_of(fixture, model, 1, (int64_t[]){2}, 5)->f[2] == -5);
    }
}

/* Inside a loop whose turns only a run counts it is not known whether a carried one has an element. */
static void optional_values_are_not_carried(void **state) {
    Fixture *fixture = *state;
    Model *body = model_new(fixture->arena, 18), *model = model_new(fixture->arena, 18);
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    add_input(body, "before", F32, "");
    add_node(body, "OptionalHasElement", "before", "has");
    add_node(body, "SequenceInsert", "before n", "behind");
    add_node(body, "Identity", "go", "again");
    add_output(body, "again");
    add_output(body, "behind");
    add_output(body, "has");
    add_input(model, "n", F32, "");
    set_int(model, add_node(model, "Cast", "n", "number"), "to", I64);
    add_node(model, "Optional", "", "none");
    add_attribute(model, add_node(model, "Loop", "number _ none", "last all"), "body", GRAPH)->g =
        &body->graph;
    add_output(model, "all");
    refused(fixture, model, SN_UNSUPPORTED, "without an element before the first turn", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(maps_take_each_element),          TEST(maps_take_sequences_side_by_side),
        TEST(optional_values_are_known),       TEST(an_element_is_what_was_put_in),
        TEST(optional_values_are_not_carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

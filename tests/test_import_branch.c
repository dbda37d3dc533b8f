/* Branches whose sizes differ, or fit only where they are taken. */
#include "execute_fixture.h"
#include "frontend_fixture.h"
#include "training.h"

/* x [n, 2] and y [m, 2]; `more` is that x has a number above 5. */
static Model *model_begun(Fixture *fixture) {
    static const float five = 5; /* the file is written after the return */
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "n,2");
    add_input(model, "y", F32, "m,2");
    set_raw(add_initializer(model, "five", F32, 1), &five, sizeof five);
    set_int(model, add_node(model, "ReduceMax", "x", "most"), "keepdims", 0);
    add_node(model, "Greater", "most five", "more");
    add_output(model, "z");
    return model;
}

/* A branch of one node. */
static Model *branch_of(Fixture *fixture, const char *op, const char *inputs) {
    Model *branch = model_new(fixture->arena, 17);
    Onnx__NodeProto *made = add_node(branch, op, inputs, "r");
    if (strcmp(op, "Concat") == 0) set_int(branch, made, "axis", 0);
    add_output(branch, "r");
    return branch;
}

static void add_if(Model *model, const char *condition, const char *result, Model *then, Model *other) {
    Onnx__NodeProto *node = add_node(model, "If", condition, result);
    add_attribute(model, node, "then_branch", GRAPH)->g = &then->graph;
    add_attribute(model, node, "else_branch", GRAPH)->g = &other->graph;
}

/* more ? then : other, each a node of these. */
static Model *model_of(Fixture *fixture, const char *op[2], const char *inputs[2]) {
    Model *model = model_begun(fixture);
    add_integers(model, "rows", 1, 2, (int64_t[]){0, 1});
    add_if(model, "more", "z", branch_of(fixture, op[0], inputs[0]), branch_of(fixture, op[1], inputs[1]));
    return model;
}

/* Of x full of `number`, and y of 0, 1 … */
static Status run(Fixture *fixture, Model *model, int n, int m, double number, const Array **z) {
    Graph *graph;
    loaded(fixture, model, &graph);
    Array *x = sn_array_new(fixture->arena, SN_F32, 2, (int64_t[]){n, 2});
    Array *y = sn_array_new(fixture->arena, SN_F32, 2, (int64_t[]){m, 2});
    Array **output = SN_ARRAY(fixture->arena, Array *, graph->body->result.count);
    for (int i = 0; i < 2 * n; i++) x->f[i] = number;
    for (int i = 0; i < 2 * m; i++) y->f[i] = i;
    TRY(sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){x, y}, output));
    *z = output[0];
    return NULL;
}

static const Array *result(Fixture *fixture, Model *model, int n, int m, double number) {
    const Array *z = NULL;
    assert_ok(run(fixture, model, n, m, number, &z));
    return z;
}

static void sizes_may_differ(void **state) {
    Model *model = model_of(*state, (const char *[]){"Concat", "Identity"}, (const char *[]){"x y", "y"});
    const Array *z = result(*state, model, 2, 3, 6);
    assert_int_equal(z->extent[0], 5);
    for (int i = 0; i < 10; i++) assert_true(z->f[i] == (i < 4 ? 6 : i - 4));
    z = result(*state, model, 2, 3, 4);
    assert_int_equal(z->extent[0], 3);
    for (int i = 0; i < 6; i++) assert_true(z->f[i] == i);
}

/* x + y wants as many rows of both, only where it is taken. */
static void what_is_not_taken_need_not_fit(void **state) {
    const Array *z;
    Model *model = model_of(*state, (const char *[]){"Add", "Identity"}, (const char *[]){"x y", "x"});
    z = result(*state, model, 3, 3, 6);
    for (int i = 0; i < 6; i++) assert_true(z->f[i] == 6 + i);
    z = result(*state, model, 3, 2, 4);
    assert_int_equal(z->extent[0], 3);
    for (int i = 0; i < 6; i++) assert_true(z->f[i] == 4);
    assert_fails(run(*state, model, 3, 2, 6, &z), SN_INVALID, "does not broadcast");
}

/* Indices find nothing where there are no elements: such a branch is computed always, and its sizes have to fit. */
static void what_needs_elements_is_always_computed(void **state) {
    const Array *z;
    Model *model = model_of(*state, (const char *[]){"Gather", "Identity"}, (const char *[]){"x rows", "x"});
    assert_int_equal(result(*state, model, 2, 1, 6)->extent[0], 2);
    assert_int_equal(result(*state, model, 2, 1, 4)->extent[0], 2);
    assert_fails(run(*state, model, 5, 1, 4, &z), SN_INVALID, "If");
}

/* As many as x or y has that are not 0. */
static void data_may_decide_sizes_there(void **state) {
    Model *model = model_of(*state, (const char *[]){"NonZero", "NonZero"}, (const char *[]){"x", "y"});
    const Array *z = result(*state, model, 2, 4, 6);
    assert_int_equal(z->extent[1], 4);
    for (int i = 0; i < 8; i++) assert_int_equal(z->i[i], i < 4 ? i / 2 : i % 2);
    z = result(*state, model, 2, 4, 0);
    assert_int_equal(z->extent[1], 7);
    for (int i = 0; i < 14; i++) assert_int_equal(z->i[i], i < 7 ? (i + 1) / 2 : (i - 6) % 2);
}

/* As exporters squeeze an axis that they do not know the extent of: x [n, 2] without its first axis where n is 1. */
static void ranks_are_those_of_more_than_one(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17), *branch[2];
    add_input(model, "x", F32, "n,2");
    add_integers(model, "first", 1, 1, (int64_t[]){0});
    add_integers(model, "one", 1, 1, (int64_t[]){1});
    add_node(model, "Shape", "x", "shape");
    add_node(model, "Gather", "shape first", "extent");
    add_node(model, "Equal", "extent one", "single");
    Onnx__NodeProto *node = add_node(model, "If", "single", "z");
    for (int k = 0; k < 2; k++) {
        branch[k] = model_new(fixture->arena, 17);
        add_node(branch[k], k ? "Identity" : "Squeeze", k ? "x" : "x first", "r");
        add_output(branch[k], "r");
        add_attribute(model, node, k ? "else_branch" : "then_branch", GRAPH)->g = &branch[k]->graph;
    }
    add_output(model, "z");
    model->output[0]->type->tensor_type->shape = NULL;
    assert_int_equal(result_of(fixture, model, 2, (int64_t[]){3, 2}, 5)->rank, 2);
    Graph *graph;
    loaded(fixture, model, &graph);
    Array *x = sn_array_new(fixture->arena, SN_F32, 2, (int64_t[]){1, 2}), *out[1];
    assert_fails(sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){x}, out), SN_INVALID,
                 "If");
}

/* more ? (some ? x + 0, 1 … : y) : y, where `some` is that y has a number above 0, the last of which says how many are added. */
static Model *nested_model(Fixture *fixture) {
    Model *model = model_begun(fixture), *then = model_new(fixture->arena, 17);
    add_integers(model, "none", 0, 1, (int64_t[]){0});
    add_integers(model, "one", 0, 1, (int64_t[]){1});
    add_integers(model, "columns", 1, 1, (int64_t[]){1});
    set_int(model, add_node(model, "ReduceMax", "y", "last"), "keepdims", 0);
    set_int(model, add_node(model, "Cast", "last", "count"), "to", I64);
    add_node(model, "Greater", "count none", "some");
    Model *inner = model_new(fixture->arena, 17);
    add_node(inner, "Range", "none count one", "range");
    set_int(inner, add_node(inner, "Cast", "range", "numbers"), "to", F32);
    add_node(inner, "Unsqueeze", "numbers columns", "column");
    add_node(inner, "Add", "x column", "sum");
    add_output(inner, "sum");
    add_if(then, "some", "nested", inner, branch_of(fixture, "Identity", "y"));
    add_output(then, "nested");
    add_if(model, "more", "z", then, branch_of(fixture, "Identity", "y"));
    return model;
}

/* Of a branch in one that is not taken the sizes are 0, too, whatever its own condition is. */
static void branches_may_be_nested(void **state) {
    Model *model = nested_model(*state);
    const Array *z = result(*state, model, 3, 2, 6);
    assert_int_equal(z->extent[0], 3);
    for (int i = 0; i < 6; i++) assert_true(z->f[i] == 6 + i / 2);
    z = result(*state, model, 2, 2, 4);
    assert_int_equal(z->extent[0], 2);
    for (int i = 0; i < 4; i++) assert_true(z->f[i] == i);
}

/* Each "else if" is imported a few times, not twice as often as the one around it. */
static void a_long_chain_is_imported_soon(void **state) {
    enum { LENGTH = 10, MOST_VALUES = 4000 };
    Fixture *fixture = *state;
    Model *model = model_begun(fixture), *other = branch_of(fixture, "Identity", "y");
    Graph *graph;
    for (int i = 1; i < LENGTH; i++) {
        Model *around = model_new(fixture->arena, 17);
        add_if(around, "more", "r", branch_of(fixture, "Concat", "x y"), other);
        add_output(around, "r");
        other = around;
    }
    add_if(model, "more", "z", branch_of(fixture, "Identity", "x"), other);
    loaded(fixture, model, &graph);
    assert_true(graph->next_value < MOST_VALUES);
    assert_int_equal(result(fixture, model, 2, 3, 6)->extent[0], 2);
    assert_int_equal(result(fixture, model, 2, 3, 4)->extent[0], 3);
}

/* Twice at most, while it says so: v + (more ? x + y : y). */
static Model *loop_model(Fixture *fixture) {
    Model *model = model_begun(fixture), *body = model_new(fixture->arena, 17);
    add_integers(model, "turns", 0, 1, (int64_t[]){2});
    add_input(body, "turn", I64, "");
    add_input(body, "go", BOOL, "");
    add_input(body, "v", F32, "m,2");
    add_if(body, "more", "term", branch_of(fixture, "Add", "x y"), branch_of(fixture, "Identity", "y"));
    add_node(body, "Add", "v term", "sum");
    set_int(body, add_node(body, "ReduceMax", "sum", "highest"), "keepdims", 0);
    add_node(body, "Less", "highest five", "again");
    add_output(body, "again");
    add_output(body, "sum");
    add_attribute(model, add_node(model, "Loop", "turns more y", "z"), "body", GRAPH)->g = &body->graph;
    return model;
}

/* Data decide no size in a turn that a run may leave out; so the sizes of both branches are checked there. */
static void a_turn_of_a_loop_computes_both(void **state) {
    Model *model = loop_model(*state);
    const Array *z = result(*state, model, 3, 3, 6);
    for (int i = 0; i < 6; i++) assert_true(z->f[i] == 6 + 2 * i);
    z = result(*state, model, 3, 3, 4);
    for (int i = 0; i < 6; i++) assert_true(z->f[i] == i);
}

/* The mean of v = x w + (more ? y : 0), a node that needs a check; w is 1 and 2. */
static const char *trainable_file(Fixture *fixture) {
    static const float first[2] = {1, 2};
    Model *model = model_begun(fixture);
    size_t size;
    set_raw(add_initializer(model, "w", F32, 2), first, sizeof first);
    add_node(model, "Mul", "x w", "v");
    add_if(model, "more", "sum", branch_of(fixture, "Add", "v y"), branch_of(fixture, "Identity", "v"));
    set_int(model, add_node(model, "ReduceMean", "sum", "z"), "keepdims", 0);
    const uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "trained.onnx");
    write_file(path, bytes, size);
    return path;
}

/* w after one step of gradient descent by 1, from x full of `number`. */
static void step(const sn_Program *program, float number, float *w) {
    enum { X, Y, RATE, ROWS = 3 };
    float x[ROWS * 2], y[ROWS * 2], rate = 1;
    for (int i = 0; i < ROWS * 2; i++) x[i] = number, y[i] = (float)i;
    sn_Context *context = make_context(program, 0);
    assert_ok(set_f32(context, X, 2, (int64_t[]){ROWS, 2}, x));
    assert_ok(set_f32(context, Y, 2, (int64_t[]){ROWS, 2}, y));
    assert_ok(set_f32(context, RATE, 0, NULL, &rate));
    assert_ok(sn_context_run(context));
    sn_Tensor state;
    assert_ok(sn_context_state_get(context, 0, &state));
    memcpy(w, state.data, 2 * sizeof *w);
    sn_context_free(context);
}

static void what_needs_a_check_can_be_trained(void **state) {
    Fixture *fixture = *state;
    sn_Model *model;
    sn_Program *program;
    float w[2];
    assert_ok(sn_model_open(trainable_file(fixture), &model));
    assert_int_equal(model->graph->sizes.count, 2);
    sn_TrainingOptions options = {.size = sizeof options, .loss = SN_LOSS_OF_MODEL, .optimizer = SN_SGD};
    Training training;
    assert_ok(sn_training_read(&options, &training));
    sn_CompileOptions compile = {.size = sizeof compile, .cache_dir = fixture->folder, .threads = 1};
    SessionOptions session = {.pipeline = {.training = &training}};
    assert_ok(sn_session_compile(model, &compile, &session, &program));
    sn_model_close(model);
    for (int number = 4; number <= 6; number += 2) { /* d mean / d w is half of x */
        step(program, (float)number, w);
        assert_true(w[0] == 1 - (float)number / 2 && w[1] == 2 - (float)number / 2);
    }
    sn_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(sizes_may_differ),
        TEST(what_is_not_taken_need_not_fit),
        TEST(what_needs_elements_is_always_computed),
        TEST(data_may_decide_sizes_there),
        TEST(ranks_are_those_of_more_than_one),
        TEST(branches_may_be_nested),
        TEST(a_long_chain_is_imported_soon),
        TEST(a_turn_of_a_loop_computes_both),
        TEST(what_needs_a_check_can_be_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

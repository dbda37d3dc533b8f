/* Loops whose turns a run counts, through the library: what fails in a turn, what comes behind it, what is refused. */
#include "context.h"
#include "frontend_fixture.h"

#include <sinter/sinter.h>

enum { ROWS = 5 };
static const float table[ROWS] = {1, 2, 4, 8, 16};

/* x plus the first n entries of a table of five, one a turn; with `grows` each turn keeps all of x so far, which is longer
 * by one. */
static Model *sums(Arena *arena, bool grows) {
    Model *model = model_new(arena, 13), *body = model_new(arena, 13);
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    add_input(body, "s", F32, "?");
    add_node(body, "Gather", "table i", "one");
    add_node(body, "Add", "s one", "sum");
    add_integers(body, "first", 1, 1, (int64_t[]){0});
    add_node(body, "Unsqueeze", "one first", "part");
    if (grows) set_int(body, add_node(body, "Concat", "sum part", "next"), "axis", 0);
    add_node(body, "Identity", "go", "again");
    add_output(body, "again");
    add_output(body, grows ? "next" : "sum");
    add_output(body, "sum");
    add_input(model, "n", I64, "");
    add_input(model, "x", F32, "size");
    set_raw(add_initializer(model, "table", F32, ROWS), table, sizeof table);
    Onnx__NodeProto *loop = add_node(model, "Loop", "n _ x", "last all");
    add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
    add_output(model, "last");
    add_output(model, "all");
    return model;
}

/* Draws two numbers in each of n turns. */
static Model *drawing(Arena *arena) {
    Model *model = model_new(arena, 13), *body = model_new(arena, 13);
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    add_node(body, "RandomUniformLike", "x", "drawn");
    add_node(body, "Identity", "go", "again");
    add_output(body, "again");
    add_output(body, "drawn");
    add_input(model, "n", I64, "");
    add_input(model, "x", F32, "size");
    Onnx__NodeProto *loop = add_node(model, "Loop", "n", "all");
    add_attribute(model, loop, "body", GRAPH)->g = &body->graph;
    add_output(model, "all");
    return model;
}

typedef struct Session {
    sn_Model *model;
    sn_Program *program;
    sn_Context *context;
} Session;

static Session opened(Fixture *fixture, Model *model, sn_Mode mode, int64_t limit) {
    Session s;
    size_t size;
    uint8_t *bytes = packed(model, &size);
    const char *path = in_folder(fixture, "model.onnx");
    write_file(path, bytes, size);
    sn_CompileOptions options = {.size = sizeof options, .mode = mode, .threads = 2};
    sn_ContextOptions run = {.size = sizeof run, .memory_limit = limit};
    assert_ok(sn_model_open(path, &s.model));
    assert_ok(sn_compile(s.model, &options, &s.program));
    assert_ok(sn_context_new(s.program, &run, &s.context));
    return s;
}

static void closed(Session *s) {
    sn_context_free(s->context);
    sn_program_free(s->program);
    sn_model_close(s->model);
}

static Status run(const Session *s, int64_t n, int64_t size) {
    static float x[4096];
    sn_Tensor count = {.element_type = SN_ELEMENT_I64, .data = &n};
    sn_Tensor values = {.element_type = SN_ELEMENT_F32, .rank = 1, .extent = &size, .data = x};
    assert_ok(sn_context_set_input(s->context, 0, &count));
    assert_ok(sn_context_set_input(s->context, 1, &values));
    return sn_context_run(s->context);
}

/* The sums of the first turns. */
static void expect_sums(const Session *s, int64_t n, int64_t size) {
    sn_Tensor last, all;
    assert_ok(run(s, n, size));
    assert_ok(sn_context_output(s->context, 0, &last));
    assert_ok(sn_context_output(s->context, 1, &all));
    assert_int_equal(last.extent[0], size);
    assert_int_equal(all.extent[0], n);
    assert_int_equal(all.extent[1], size);
    for (int64_t turn = 0; turn < n; turn++)
        for (int64_t k = 0; k < size; k++)
            assert_true(((float *)all.data)[turn * size + k] == (float)((2 << turn) - 1));
    for (int64_t k = 0; k < size; k++) assert_true(((float *)last.data)[k] == (float)((1 << n) - 1));
}

/* One context takes any number of turns and any size, also after a run that has failed. */
static void a_failed_turn_is_named(void **state) {
    for (int eager = 0; eager < 2; eager++) {
        Session s =
            opened(*state, sums((*(Fixture **)state)->arena, false), eager ? SN_EAGER : SN_COMPILED, 0);
        expect_sums(&s, 3, 2);
        Status status = run(&s, ROWS + 1, 2);
        assert_non_null(strstr(sn_error_message(status), "Loop_0"));
        assert_fails(status, SN_FAULT, "turn 5");
        assert_fails(run(&s, ROWS + 1, 2), SN_FAULT, "Gather_0");
        expect_sums(&s, ROWS, 7);
        expect_sums(&s, 0, 3);
        closed(&s);
    }
}

static void what_is_kept_has_one_shape(void **state) {
    Session s = opened(*state, sums((*(Fixture **)state)->arena, true), SN_COMPILED, 0);
    sn_Tensor last;
    assert_fails(run(&s, 2, 3), SN_INVALID, "turn 1");
    assert_ok(run(&s, 1, 3));
    assert_ok(sn_context_output(s.context, 0, &last));
    assert_int_equal(last.extent[0], 4);
    closed(&s);
}

static void turns_draw_their_own_numbers(void **state) {
    enum { TURNS = 6 };
    Session s = opened(*state, drawing((*(Fixture **)state)->arena), SN_COMPILED, 0);
    sn_Tensor all;
    assert_ok(run(&s, TURNS, 2));
    assert_ok(sn_context_output(s.context, 0, &all));
    const float *number = all.data;
    for (int i = 0; i < 2 * TURNS; i++)
        for (int k = 0; k < i; k++) assert_true(number[i] != number[k]);
    closed(&s);
}

static void memory_is_limited(void **state) {
    Session s = opened(*state, sums((*(Fixture **)state)->arena, false), SN_COMPILED, 8 << 10);
    assert_fails(run(&s, 2, 4096), SN_NO_MEMORY, "limit");
    expect_sums(&s, 2, 8);
    closed(&s);
}

/* What turns have made lies in memory until the last one has ended, and then a second time where it is read. */
static void what_is_kept_takes_memory(void **state) {
    enum { SIZE = 4096, ALL = ROWS * SIZE * (int)sizeof(float) };
    Model *model = sums((*(Fixture **)state)->arena, false);
    Session s = opened(*state, model, SN_COMPILED, 3 * ALL);
    assert_fails(run(&s, ROWS, SIZE), SN_NO_MEMORY, "limit");
    expect_sums(&s, ROWS, 8);
    closed(&s);
    s = opened(*state, model, SN_COMPILED, 5 * ALL);
    for (int k = 0; k < 2; k++) expect_sums(&s, ROWS, SIZE);
    assert_true(sn_context_peak_bytes(s.context) >= 3 * ALL);
    closed(&s);
}

/* The lengths of five inputs, whose product is no number, are sizes of each turn. */
static void turns_have_many_sizes(void **state) {
    enum { OTHERS = 5, LENGTH = 8000 };
    static const float zeros[LENGTH];
    Arena *arena = (*(Fixture **)state)->arena;
    Model *model = model_new(arena, 13), *body = model_new(arena, 13);
    static const char *const other[OTHERS] = {"a", "b", "c", "d", "e"};
    add_input(body, "i", I64, "");
    add_input(body, "go", BOOL, "");
    set_int(body, add_node(body, "Concat", "a b c d e", "row"), "axis", 0);
    add_node(body, "Identity", "go", "again");
    add_output(body, "again");
    add_output(body, "row");
    add_input(model, "n", I64, "");
    for (int k = 0; k < OTHERS; k++)
        add_input(model, other[k], F32, sn_arena_printf(arena, "size_%s", other[k]));
    add_attribute(model, add_node(model, "Loop", "n", "all"), "body", GRAPH)->g = &body->graph;
    add_output(model, "all");
    Session s = opened(*state, model, SN_COMPILED, 0);
    int64_t n = 2, length[OTHERS];
    assert_ok(sn_context_set_input(s.context, 0, &(sn_Tensor){.element_type = SN_ELEMENT_I64, .data = &n}));
    for (int k = 0; k < OTHERS; k++) {
        length[k] = LENGTH - k;
        sn_Tensor x = {.element_type = SN_ELEMENT_F32,
                       .rank = 1,
                       .extent = &length[k],
                       .data = (void *)(uintptr_t)zeros};
        assert_ok(sn_context_set_input(s.context, 1 + k, &x));
    }
    assert_ok(sn_context_run(s.context));
    sn_Tensor all;
    assert_ok(sn_context_output(s.context, 0, &all));
    assert_int_equal(all.extent[1], OTHERS * LENGTH - 10);
    closed(&s);
}

/* Contexts know loops by what the program says runs them. */
static void loops_that_nothing_runs(void **state) {
    Session s = opened(*state, sums((*(Fixture **)state)->arena, false), SN_COMPILED, 0);
    const LoopOps *loops = s.program->loops;
    sn_Context *context;
    s.program->loops = NULL;
    assert_fails(sn_context_new(s.program, NULL, &context), SN_INTERNAL,
                 "1 loops and nothing that runs them");
    s.program->loops = loops;
    closed(&s);
}

static void neither_trained_nor_saved(void **state) {
    Session s = opened(*state, sums((*(Fixture **)state)->arena, false), SN_COMPILED, 0);
    sn_TrainingOptions training = {.size = sizeof training, .loss = SN_LOSS_SQUARED_ERROR};
    sn_Program *program;
    assert_fails(sn_compile_training(s.model, NULL, &training, &program), SN_UNSUPPORTED,
                 "loops whose turns only a run counts");
    assert_fails(sn_program_save(s.program, in_folder(*state, "saved.sinter")), SN_UNSUPPORTED,
                 "loops whose turns only a run counts");
    assert_int_equal(sn_program_input_count(s.program), 2);
    assert_int_equal(sn_program_output_count(s.program), 2);
    closed(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_failed_turn_is_named),  TEST(what_is_kept_has_one_shape), TEST(turns_draw_their_own_numbers),
        TEST(memory_is_limited),       TEST(what_is_kept_takes_memory),  TEST(turns_have_many_sizes),
        TEST(loops_that_nothing_runs), TEST(neither_trained_nor_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the tests of inference share: a graph, and values and expectations written as text. */
#ifndef INFER_FIXTURE_H
#define INFER_FIXTURE_H

#include "eval.h"
#include "fixture.h"
#include "infer.h"
#include "number.h"

typedef struct Fixture {
    Arena *arena;
    Graph *graph;
    Dims *dims;
    Builder builder;
} Fixture;

static inline int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    f->arena = sn_arena_new();
    f->graph = sn_graph_new(f->arena, "test");
    f->dims = f->graph->dims;
    f->builder = (Builder){.graph = f->graph, .region = f->graph->body};
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    Fixture *f = *state;
    sn_error_free(f->builder.status);
    sn_arena_free(f->arena);
    free(f);
    return 0;
}

/* "T, 2*T + 1" */
static inline int dims_of(Fixture *f, const char *text, Dim *dim) {
    int count = 0;
    while (*text) {
        assert_ok(sn_dim_parse(f->dims, &text, NULL, 0, &dim[count++]));
        text += strspn(text, ", ");
    }
    return count;
}

static inline Value *input(Fixture *f, DType dtype, const char *shape) {
    Dim *dim = SN_ARRAY(f->arena, Dim, SN_MAX_RANK);
    int rank = dims_of(f, shape, dim);
    return sn_graph_input(f->graph, "x", (Type){dtype, rank, dim});
}

static inline void assert_type(Fixture *f, const Value *value, const char *want) {
    assert_ok(f->builder.status);
    Text text = sn_text(f->arena);
    sn_type_print(&text, f->dims, value->type);
    assert_string_equal(sn_text_string(&text), want);
}

/* "" for none; else "T + 1, 4". */
static inline void assert_known(Fixture *f, const Value *value, const char *want) {
    assert_ok(f->builder.status);
    Text text = sn_text(f->arena);
    int64_t count;
    if (value->known && sn_dim_is(sn_type_count(f->dims, value->type), &count))
        for (int64_t i = 0; i < count; i++) {
            if (i) sn_text_add(&text, ", ");
            sn_dim_print(&text, f->dims, value->known[i]);
        }
    assert_string_equal(sn_text_string(&text), want);
}

static inline void assert_refused(Fixture *f, const char *fragment) {
    assert_int_equal(sn_error_code(f->builder.status), SN_INVALID);
    if (!strstr(sn_error_message(f->builder.status), fragment))
        fail_msg("\"%s\" is not in: %s", fragment, sn_error_message(f->builder.status));
    sn_error_free(f->builder.status);
    f->builder.status = NULL;
}

static inline int check_count(const Fixture *f, CheckKind kind) {
    int count = 0;
    for (int k = 0; k < f->graph->checks.count; k++) count += f->graph->checks.at[k].kind == kind;
    return count;
}

/* A number below `below` of a stream that `seed` moves along. */
static inline uint64_t draw(uint64_t *seed, uint64_t below) {
    uint32_t word[4];
    sn_philox(20240607, (*seed)++, word);
    return word[0] % below;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif

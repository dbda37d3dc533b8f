/* What the tests of graphs share: a small graph. Included once by each test. */
#ifndef SN_GRAPH_FIXTURE_H
#define SN_GRAPH_FIXTURE_H

#include "fixture.h"
#include "graph.h"

/* A graph with inputs x: f32[T, 8] and y: f32[T, 8], and a builder at its end. */
typedef struct Fixture {
    Arena *arena;
    Graph *graph;
    Builder builder;
    Dim t;
    Value *x, *y;
} Fixture;

static inline int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    f->arena = sn_arena_new();
    f->graph = sn_graph_new(f->arena, "test");
    f->t = sn_dim_symbol(f->graph->dims, "T");
    Dim *shape = SN_ARRAY(f->arena, Dim, 2);
    shape[0] = f->t;
    shape[1] = sn_dim(f->graph->dims, 8);
    f->x = sn_graph_input(f->graph, "x", (Type){SN_F32, 2, shape});
    f->y = sn_graph_input(f->graph, "y", (Type){SN_F32, 2, shape});
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif

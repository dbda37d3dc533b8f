/* For tests of dims and index maps: a world of three symbols, none of whose sums overflowed when it ends. */
#ifndef SN_DIM_FIXTURE_H
#define SN_DIM_FIXTURE_H

#include "dim.h"
#include "fixture.h"

typedef struct World {
    Arena *arena;
    Dims *d;
    Dim B, T, S;
} World;

static inline int make_world(void **state) {
    Arena *arena = sn_arena_new();
    World *w = SN_NEW(arena, World);
    w->arena = arena;
    w->d = sn_dims_new(arena);
    w->B = sn_dim_symbol(w->d, "B");
    w->T = sn_dim_symbol(w->d, "T");
    w->S = sn_dim_symbol(w->d, "S");
    *state = w;
    return 0;
}

static inline int drop_world(void **state) {
    assert_false(sn_dims_overflowed(((World *)*state)->d));
    sn_arena_free(((World *)*state)->arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)

#endif

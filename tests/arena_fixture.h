/* Tests whose state is an arena: `Arena *arena = *state;`. */
#ifndef SN_ARENA_FIXTURE_H
#define SN_ARENA_FIXTURE_H

#include "arena.h"
#include "fixture.h"

static inline int setup(void **state) {
    *state = sn_arena_new();
    return 0;
}

static inline int teardown(void **state) {
    sn_arena_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif

/* Index maps: chains of movements against brute force on numbers, and what must become simple. */
#include "dim_fixture.h"
#include "number.h"
#include "view.h"

#include <stdio.h>

enum { RANK = 8, SYMBOLS = 3, ELEMENTS = 3000 };

static void expect_text(World *w, Dim dim, const char *expected) {
    Text text = sn_text(w->arena);
    sn_dim_print(&text, w->d, dim);
    assert_string_equal(sn_text_string(&text), expected);
}

/* [B, T, 2304] -> [B*T, 2304] -> [B, T, 3, 12, 64] -> [B, T, 1, 12, 64] -> [B, T, 12, 64] -> [B, 12, T, 64]:
 * the keys of a joined projection. */
static void heads_of_a_joined_projection(void **state) {
    World *w = *state;
    Dims *d = w->d;
    Dim zero = sn_dim(d, 0), one = sn_dim(d, 1), heads = sn_dim(d, 12), width = sn_dim(d, 64);
    Dim rows = sn_dim_mul(d, w->B, w->T), all = sn_dim(d, 2304);
    Dim source[] = {w->B, w->T, all}, flat[] = {rows, all}, five[] = {w->B, w->T, sn_dim(d, 3), heads, width};
    Dim cut[] = {w->B, w->T, one, heads, width}, four[] = {w->B, w->T, heads, width};
    Dim start[] = {zero, zero, one, zero, zero}, step[] = {one, one, one, one, one};
    IndexMap chain = sn_view_reshape(d, w->arena, 3, source, 2, flat);
    IndexMap next = sn_view_reshape(d, w->arena, 2, flat, 5, five);
    chain = sn_view_compose(d, w->arena, &next, &chain);
    assert_true(sn_view_is_reshape(d, &chain, source));
    next = sn_view_slice(d, w->arena, 5, start, step, cut);
    chain = sn_view_compose(d, w->arena, &next, &chain);
    next = sn_view_reshape(d, w->arena, 5, cut, 4, four);
    chain = sn_view_compose(d, w->arena, &next, &chain);
    next = sn_view_transpose(d, w->arena, 4, four, (int[]){0, 2, 1, 3});
    chain = sn_view_compose(d, w->arena, &next, &chain);
    expect_text(w, chain.index[0], "i0");
    expect_text(w, chain.index[1], "i2");
    expect_text(w, chain.index[2], "64*i1 + i3 + 768");
    Dim offset, stride[4];
    assert_true(sn_view_strided(d, &chain, source, &offset, stride));
    expect_text(w, offset, "768");
    expect_text(w, stride[0], "2304*T");
    expect_text(w, stride[1], "64");
    expect_text(w, stride[2], "2304");
    expect_text(w, stride[3], "1");
    IndexMap inverse;
    assert_false(sn_view_invert(d, w->arena, &chain, source, &inverse)); /* it reads a third of the source */
}

/* [B, T, 768] -> [B, T, 12, 64] -> [B, 12, T, 64] and back. */
static void heads_split_and_merge(void **state) {
    World *w = *state;
    Dims *d = w->d;
    Dim source[] = {w->B, w->T, sn_dim(d, 768)}, four[] = {w->B, w->T, sn_dim(d, 12), sn_dim(d, 64)};
    Dim swapped[] = {four[0], four[2], four[1], four[3]};
    int perm[] = {0, 2, 1, 3};
    IndexMap split = sn_view_reshape(d, w->arena, 3, source, 4, four);
    IndexMap swap = sn_view_transpose(d, w->arena, 4, four, perm);
    IndexMap there = sn_view_compose(d, w->arena, &swap, &split);
    IndexMap swap_back = sn_view_transpose(d, w->arena, 4, swapped, perm);
    IndexMap merge = sn_view_reshape(d, w->arena, 4, four, 3, source);
    IndexMap back = sn_view_compose(d, w->arena, &merge, &swap_back), inverse;
    assert_true(sn_view_invert(d, w->arena, &there, source, &inverse));
    assert_true(sn_view_equal(&inverse, &back));
    IndexMap both = sn_view_compose(d, w->arena, &back, &there);
    assert_true(sn_view_is_identity(d, &both, source));
    assert_false(sn_view_is_identity(d, &there, source));
    assert_false(sn_view_is_reshape(d, &there, source));
    expect_text(w, back.index[1], "(i2 floordiv 64)");
    expect_text(w, back.index[3], "(i2 mod 64)");
    Dim offset, stride[3];
    assert_false(sn_view_strided(d, &back, swapped, &offset, stride));
}

static void expand_says_what_to_check(void **state) {
    World *w = *state;
    Dims *d = w->d;
    bool check = false;
    Dim target[] = {w->B, w->T, sn_dim(d, 8)};
    IndexMap map = sn_view_expand(d, w->arena, 2, (Dim[]){sn_dim(d, 1), sn_dim(d, 8)}, 3, target, &check);
    assert_false(check);
    expect_text(w, map.index[0], "0");
    expect_text(w, map.index[1], "i2");
    map = sn_view_expand(d, w->arena, 3, (Dim[]){w->B, w->S, sn_dim(d, 8)}, 3, target, &check);
    assert_true(check);
    expect_text(w, map.index[0], "i0");
    expect_text(w, map.index[1], "min(S - 1, i1)");
    sn_dims_symbol_at_least(d, w->S, 2);
    map = sn_view_expand(d, w->arena, 3, (Dim[]){w->B, w->S, sn_dim(d, 8)}, 3, target, NULL);
    expect_text(w, map.index[1], "i1");
}

static void carried_to_another_table(void **state) {
    World *w = *state;
    Dims *other = sn_dims_new(w->arena);
    sn_dim_symbol(other, "X");
    Dim shape[] = {w->B, sn_dim_mul(w->d, w->T, sn_dim(w->d, 4))},
        flat[] = {sn_dim_mul(w->d, shape[0], shape[1])};
    IndexMap map = sn_view_reshape(w->d, w->arena, 2, shape, 1, flat);
    IndexMap there = sn_view_carry(other, w->arena, &map), back = sn_view_carry(w->d, w->arena, &there);
    assert_false(sn_view_equal(&map, &there));
    assert_true(sn_view_equal(&map, &back));
}

/* ---- random chains ---- */

typedef struct Random {
    uint64_t seed, counter;
} Random;

static int below(Random *r, int limit) {
    uint32_t out[4];
    sn_philox(r->seed, r->counter++, out);
    return (int)(out[0] % (uint32_t)limit);
}

/* A tensor made by moving the elements of a first one; each element is its position there. */
typedef struct Moved {
    Dim dim[RANK];
    int64_t extent[RANK];
    int rank, count;
    int element[ELEMENTS];
} Moved;

typedef struct Chain {
    World *w;
    const int64_t *symbols;
    Random *r;
    Moved now;
    IndexMap map; /* from the first shape */
    bool bijective;
} Chain;

static int64_t number(const Chain *c, Dim dim) {
    int64_t value = -1;
    assert_null(sn_dim_eval(dim, c->symbols, NULL, &value));
    return value;
}

static void take_shape(Chain *c, Moved *to, int rank, const Dim *dim) {
    to->rank = rank;
    to->count = 1;
    for (int i = 0; i < rank; i++) {
        to->dim[i] = dim[i];
        to->extent[i] = number(c, dim[i]);
        to->count *= (int)to->extent[i];
    }
    assert_true(to->count <= ELEMENTS);
}

static void unravel(const Moved *m, int position, int64_t *at) {
    for (int i = m->rank - 1; i >= 0; i--) {
        at[i] = position % m->extent[i];
        position /= (int)m->extent[i];
    }
}

static int ravel(const Moved *m, const int64_t *at) {
    int64_t position = 0;
    for (int i = 0; i < m->rank; i++) {
        assert_true(at[i] >= 0 && at[i] < m->extent[i]);
        position = position * m->extent[i] + at[i];
    }
    return (int)position;
}

static void follow(Chain *c, const Moved *next, IndexMap step) {
    c->now = *next;
    c->map = sn_view_compose(c->w->d, c->w->arena, &step, &c->map);
}

static void move_transpose(Chain *c) {
    Moved next;
    int perm[RANK];
    Dim shape[RANK];
    for (int i = 0; i < c->now.rank; i++) perm[i] = i;
    for (int i = c->now.rank - 1; i > 0; i--) {
        int j = below(c->r, i + 1), swap = perm[i];
        perm[i] = perm[j];
        perm[j] = swap;
    }
    for (int i = 0; i < c->now.rank; i++) shape[i] = c->now.dim[perm[i]];
    take_shape(c, &next, c->now.rank, shape);
    for (int e = 0; e < next.count; e++) {
        int64_t at[RANK], from[RANK];
        unravel(&next, e, at);
        for (int i = 0; i < next.rank; i++) from[perm[i]] = at[i];
        next.element[e] = c->now.element[ravel(&c->now, from)];
    }
    follow(c, &next, sn_view_transpose(c->w->d, c->w->arena, c->now.rank, c->now.dim, perm));
}

/* Merges two neighbours, splits an axis by a factor of it, or drops or adds a 1. */
static void move_reshape(Chain *c) {
    Dims *d = c->w->d;
    Dim shape[RANK], quotient;
    int rank = 0, at = c->now.rank > 0 ? below(c->r, c->now.rank) : 0, what = below(c->r, 4);
    Dim factors[] = {sn_dim(d, 2), sn_dim(d, 3), c->w->B, c->w->T, sn_dim(d, 1), sn_dim_mulc(d, c->w->T, 2)};
    Dim factor = factors[below(c->r, 6)];
    for (int i = 0; i < c->now.rank; i++) {
        bool merge = what == 0 && i == at && i + 1 < c->now.rank;
        bool split = what >= 1 && i == at && c->now.rank + 1 < RANK;
        if (merge) {
            shape[rank++] = sn_dim_mul(d, c->now.dim[i], c->now.dim[i + 1]);
            i++;
        } else if (split && number(c, factor) > 0 && sn_dim_divides(d, factor, c->now.dim[i], &quotient)) {
            shape[rank++] = what == 1 ? factor : quotient;
            shape[rank++] = what == 1 ? quotient : factor;
        } else {
            shape[rank++] = c->now.dim[i];
        }
    }
    if (below(c->r, 8) == 0) { /* all at once */
        shape[0] = sn_dim(d, 1);
        for (int i = 0; i < c->now.rank; i++) shape[0] = sn_dim_mul(d, shape[0], c->now.dim[i]);
        rank = 1;
    }
    Moved next = c->now;
    take_shape(c, &next, rank, shape);
    assert_int_equal(next.count, c->now.count);
    follow(c, &next, sn_view_reshape(d, c->w->arena, c->now.rank, c->now.dim, rank, shape));
}

/* Along one axis: all of it backwards, or from the second element on, or every other one. */
static void move_slice(Chain *c) {
    Dims *d = c->w->d;
    Moved next;
    Dim start[RANK], step[RANK], shape[RANK];
    if (c->now.rank == 0) return;
    int at = below(c->r, c->now.rank), what = below(c->r, 3);
    if (c->now.extent[at] < 1) return;
    for (int i = 0; i < c->now.rank; i++) {
        start[i] = sn_dim(d, 0);
        step[i] = sn_dim(d, 1);
        shape[i] = c->now.dim[i];
    }
    Dim last = sn_dim_addc(d, shape[at], -1);
    if (what == 0) start[at] = last;
    if (what == 1) start[at] = sn_dim(d, 1);
    if (what == 1) shape[at] = last;
    if (what == 2) shape[at] = sn_dim_ceildiv(d, shape[at], sn_dim(d, 2));
    step[at] = sn_dim(d, what == 0 ? -1 : what == 1 ? 1 : 2);
    take_shape(c, &next, c->now.rank, shape);
    for (int e = 0; e < next.count; e++) {
        int64_t from[RANK];
        unravel(&next, e, from);
        from[at] = what == 0 ? c->now.extent[at] - 1 - from[at] : what == 1 ? from[at] + 1 : 2 * from[at];
        next.element[e] = c->now.element[ravel(&c->now, from)];
    }
    c->bijective = c->bijective && next.count == c->now.count && what != 0;
    follow(c, &next, sn_view_slice(d, c->w->arena, c->now.rank, start, step, shape));
}

/* A new axis in front, and axes of extent 1 grow. */
static void move_expand(Chain *c) {
    Dims *d = c->w->d;
    Moved next;
    Dim shape[RANK];
    int rank = 0;
    if (c->now.rank + 1 >= RANK || c->now.count > ELEMENTS / 8) return;
    bool front = below(c->r, 2);
    if (front) shape[rank++] = sn_dim(d, 2);
    for (int i = 0; i < c->now.rank; i++)
        shape[rank++] = sn_dim_equals(c->now.dim[i], 1) ? sn_dim(d, 2) : c->now.dim[i];
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= number(c, shape[i]);
    if (count > ELEMENTS / 4) return;
    take_shape(c, &next, rank, shape);
    for (int e = 0; e < next.count; e++) {
        int64_t at[RANK], from[RANK];
        unravel(&next, e, at);
        for (int i = 0; i < c->now.rank; i++) from[i] = c->now.extent[i] == 1 ? 0 : at[i + front];
        next.element[e] = c->now.element[ravel(&c->now, from)];
    }
    bool check = false;
    c->bijective = c->bijective && next.count == c->now.count;
    follow(c, &next, sn_view_expand(d, c->w->arena, c->now.rank, c->now.dim, rank, shape, &check));
    assert_false(check);
}

/* Each element of the chain is where the map says, also as an address. */
static void check_elements(const Chain *c, const Moved *first) {
    Dim linear = sn_view_linear(c->w->d, &c->map, first->dim), offset, stride[RANK];
    bool strided = sn_view_strided(c->w->d, &c->map, first->dim, &offset, stride);
    for (int e = 0; e < c->now.count; e++) {
        int64_t at[RANK], from[RANK], address = -1;
        unravel(&c->now, e, at);
        for (int i = 0; i < first->rank; i++)
            assert_null(sn_dim_eval(c->map.index[i], c->symbols, at, &from[i]));
        assert_int_equal(ravel(first, from), c->now.element[e]);
        assert_null(sn_dim_eval(linear, c->symbols, at, &address));
        assert_int_equal(address, c->now.element[e]);
        if (!strided) continue;
        address = number(c, offset);
        for (int i = 0; i < c->now.rank; i++) address += number(c, stride[i]) * at[i];
        assert_int_equal(address, c->now.element[e]);
    }
    if (!sn_view_is_reshape(c->w->d, &c->map, first->dim)) return;
    assert_int_equal(c->now.count, first->count);
    for (int e = 0; e < c->now.count; e++) assert_int_equal(c->now.element[e], e);
}

static bool check_inverse(const Chain *c, const Moved *first) {
    IndexMap inverse;
    if (!sn_view_invert(c->w->d, c->w->arena, &c->map, first->dim, &inverse)) return false;
    assert_true(c->now.count == first->count);
    for (int e = 0; e < first->count; e++) {
        int64_t at[RANK], to[RANK];
        unravel(first, e, at);
        for (int i = 0; i < c->now.rank; i++)
            assert_null(sn_dim_eval(inverse.index[i], c->symbols, at, &to[i]));
        assert_int_equal(c->now.element[ravel(&c->now, to)], e);
    }
    IndexMap both = sn_view_compose(c->w->d, c->w->arena, &inverse, &c->map);
    assert_true(sn_view_is_identity(c->w->d, &both, first->dim));
    both = sn_view_compose(c->w->d, c->w->arena, &c->map, &inverse);
    assert_true(sn_view_is_identity(c->w->d, &both, c->now.dim));
    return true;
}

static void random_chains(void **state) {
    World *w = *state;
    Random r = {77, 0};
    int bijective = 0, inverted = 0;
    for (int round = 0; round < 1500; round++) {
        int64_t symbols[SYMBOLS] = {below(&r, 4), below(&r, 6), 1};
        Dim dims[] = {
            w->B, w->T, sn_dim(w->d, 12), sn_dim(w->d, 6), sn_dim(w->d, 4), sn_dim_mulc(w->d, w->T, 4)};
        Chain c = {.w = w, .symbols = symbols, .r = &r, .bijective = true};
        Moved first;
        Dim shape[] = {dims[below(&r, 6)], dims[below(&r, 2)], dims[2 + below(&r, 3)]};
        take_shape(&c, &first, 1 + below(&r, 3), shape);
        for (int e = 0; e < first.count; e++) first.element[e] = e;
        c.now = first;
        c.map = sn_view_identity(w->d, w->arena, first.rank, first.dim);
        void (*const moves[])(Chain *) = {move_transpose, move_reshape, move_reshape, move_slice,
                                          move_expand};
        int kinds = below(&r, 2) ? 3 : 5; /* half of the chains are permutations, splits and merges alone */
        for (int i = below(&r, 6); i >= 0; i--) moves[below(&r, kinds)](&c);
        check_elements(&c, &first);
        bool found = check_inverse(&c, &first);
        bijective += c.bijective && kinds == 3;
        inverted += found && kinds == 3;
    }
    print_message("%d of %d bijective chains inverted\n", inverted, bijective);
    assert_true(inverted * 10 >= bijective * 7);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(heads_of_a_joined_projection), TEST(heads_split_and_merge), TEST(expand_says_what_to_check),
        TEST(carried_to_another_table),     TEST(random_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Symbolic integers: what must simplify, what must be proven, and that simplification never changes a value.
 */
#include "dim_fixture.h"
#include "number.h"

static const char *text_of(World *w, Dim dim) {
    Text *text = SN_NEW(w->arena, Text);
    *text = sn_text(w->arena);
    sn_dim_print(text, w->d, dim);
    return sn_text_string(text);
}

/* Both sides as text over T, B, S and the axes i0 < B, i1 < T, i2 < 12, i3 < 64, i4 < 768, i5 < B*T, i6 < 3,
 * i7 < S + T, i8 < T - 1. */
static Dim parsed(World *w, const char *text) {
    Dims *d = w->d;
    Dim extents[] = {w->B,
                     w->T,
                     sn_dim(d, 12),
                     sn_dim(d, 64),
                     sn_dim(d, 768),
                     sn_dim_mul(d, w->B, w->T),
                     sn_dim(d, 3),
                     sn_dim_add(d, w->S, w->T),
                     sn_dim_addc(d, w->T, -1)};
    enum { COUNT = sizeof extents / sizeof extents[0] };
    Dim axes[COUNT], out;
    for (int i = 0; i < COUNT; i++) axes[i] = sn_dim_axis(d, i, extents[i]);
    Status status = sn_dim_parse(d, &text, axes, COUNT, &out);
    if (status) fail_msg("%s", sn_error_message(status));
    assert_string_equal(text, "");
    return out;
}

typedef struct Pair {
    const char *from, *to;
} Pair;

static void check_pairs(World *w, const Pair *pairs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        Dim from = parsed(w, pairs[i].from), to = parsed(w, pairs[i].to);
        if (from != to) fail_msg("%s gives %s, not %s", pairs[i].from, text_of(w, from), text_of(w, to));
    }
}
#define CHECK(w, pairs) check_pairs((w), (pairs), sizeof(pairs) / sizeof(pairs)[0])

static void delinearises(void **state) {
    static const Pair pairs[] = {
        {"(i0*T + i1) floordiv T", "i0"},
        {"(i0*T + i1) mod T", "i1"},
        {"(i5 floordiv T)*T*768 + (i5 mod T)*768 + i4", "i5*768 + i4"},
        {"(i4 floordiv 64)*64 + i4 mod 64", "i4"},
        {"i5 floordiv (B*T)", "0"},
        {"(i5 floordiv T) floordiv B", "0"},
        {"(i5 floordiv T) mod B", "i5 floordiv T"},
        {"i4 floordiv 64 floordiv 12", "0"},
        {"(((i0*12 + i2)*T + i1)*64 + i3) mod 64", "i3"},
        {"((((i0*12 + i2)*T + i1)*64 + i3) floordiv 64) mod T", "i1"},
        {"((((i0*12 + i2)*T + i1)*64 + i3) floordiv (64*T)) mod 12", "i2"},
        {"(((i0*12 + i2)*T + i1)*64 + i3) floordiv (64*T) floordiv 12", "i0"},
        {"(((i0*12 + i2)*T + i1)*64 + i3) floordiv 64 floordiv T floordiv 12", "i0"},
        {"(((i0*12 + i2)*T + i1)*64 + i3) floordiv (768*T)", "i0"},
        {"((((i0*12 + i2)*T + i1)*64 + i3) mod (768*T)) floordiv (64*T)", "i2"},
        {"((((i0*12 + i2)*T + i1)*64 + i3) mod (64*T)) floordiv 64", "i1"},
        {"((((i0*12 + i2)*T + i1)*64 + i3) mod (768*T) mod (64*T)) mod 64", "i3"},
        {"(i0*(S + T) + i7) floordiv (S + T)", "i0"},
        {"(i0*(S + T) + i7) mod (S + T)", "i7"},
        {"(i0*(T - 1) + i8) floordiv (T - 1)", "i0"},
        {"(i0*(T - 1) + i8) mod (T - 1)", "i8"},
        {"(i0*(S + T) + S + i1) floordiv (S + T)", "i0"},
        {"(i0*(S + T) + S + i1) mod (S + T)", "S + i1"},
        {"(i0*T + T - 1 - i1) mod T", "T - 1 - i1"},
        {"(i0*T + T - 1 - i1) floordiv T", "i0"},
        {"768*(i5 floordiv 768) + 64*((i5 floordiv 64) mod 12) + i5 mod 64", "i5"},
        {"(T*i0*(i4 floordiv 64)*64 + T*i0*(i4 mod 64))*5", "5*T*i0*i4"},
        {"(S + T)*(i5 floordiv (S + T)) + i5 mod (S + T)", "i5"},
        {"((i5 mod 128) + i5) mod 64", "(2*i5) mod 64"},
        {"((i5 mod 8) + i5) mod 4 + 4*(((i5 mod 8) + i5) floordiv 4)", "i5 + i5 mod 8"},
        {"(i5 mod 128) floordiv 64", "(i5 floordiv 64) mod 2"},
        {"(i2*T + i1) floordiv (4*T)", "i2 floordiv 4"},
        {"(i2*T + i1) mod (4*T)", "(i2 mod 4)*T + i1"},
    };
    CHECK((World *)*state, pairs);
}

static int count_words(const char *text, const char *word) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) count++;
    return count;
}

static void head_split_keeps_one_division(void **state) {
    World *w = *state;
    const char *text = text_of(w, parsed(w, "((i4 floordiv 64)*T + i1)*64 + i4 mod 64"));
    assert_int_equal(count_words(text, "floordiv"), 1);
    assert_int_equal(count_words(text, "mod"), 1);
}

static void sizes_simplify(void **state) {
    static const Pair pairs[] = {
        {"12*T floordiv 12", "T"},
        {"(B*T*768) floordiv (T*768)", "B"},
        {"(B*T*768) truncdiv (T*768)", "B"},
        {"min(T, 9223372036854775807)", "T"},
        {"max(T, 0)", "T"},
        {"min(max(0 + 0, 0), T)", "0"},
        {"min(T + S, T)", "T"},
        {"min(T + 1, T + 1)", "T + 1"},
        {"max(T, min(T, S))", "T"},
        {"min(T, max(T, S))", "T"},
        {"min(min(T, S), min(S, B))", "min(B, min(S, T))"},
        {"(T + 1) - T", "1"},
        {"T ceildiv 1", "T"},
        {"12*T ceildiv 4", "3*T"},
        {"T ceildiv T", "1"},
        {"(T*4 + 1) ceildiv 4", "T + 1"},
        {"-7 floordiv 2", "-4"},
        {"-7 truncdiv 2", "-3"},
        {"-7 ceildiv 2", "-3"},
        {"-7 mod 2", "1"},
        {"7 mod (-2)", "-1"},
        {"T floordiv (-3)", "(-T) floordiv 3"},
        {"T mod (-3)", "-((-T) mod 3)"},
        {"(B*B - 1) floordiv (B - 1)", "B + 1"},
        {"(T + S)*(T - S)", "T*T - S*S"},
    };
    CHECK((World *)*state, pairs);
}

static void proofs_hold(void **state) {
    World *w = *state;
    static const Pair le[] = {
        {"T", "T*768"},
        {"0", "T*S"},
        {"T + 1", "T + S + 1"},
        {"min(T, S)", "S"},
        {"i5", "B*T - 1"},
        {"T floordiv 4", "T"},
        {"4*(T floordiv 4)", "T"},
        {"T mod 4", "T"},
        {"i5 floordiv T", "B - 1"},
        {"T", "max(S, T)"},
        {"min(T, 5)", "5 + S"},
        {"i5 mod T", "T - 1"},
        {"T - 3", "4*(T floordiv 4)"},
        {"-1", "T"},
        {"i1 + S", "i7*0 + T + S"},
        {"1", "T + 1"},
        {"(T + 3) floordiv 4 * 4", "T + 3"},
        {"max(T, S)", "T + S"},
        {"i0*T + i1", "B*T - 1"},
    };
    for (size_t i = 0; i < sizeof le / sizeof le[0]; i++) {
        if (!sn_dim_le(w->d, parsed(w, le[i].from), parsed(w, le[i].to)))
            fail_msg("%s <= %s is not proven", le[i].from, le[i].to);
    }
    static const Pair not_le[] = {{"T", "5"},       {"T", "S"},         {"1", "T"},
                                  {"T", "T*S"},     {"S", "min(T, S)"}, {"i5", "B*T - 2"},
                                  {"T", "T - 1"},   {"max(T, S)", "S"}, {"T", "4*(T floordiv 4)"},
                                  {"T mod 4", "2"}, {"T*2", "T + 1"}};
    for (size_t i = 0; i < sizeof not_le / sizeof not_le[0]; i++) {
        if (sn_dim_le(w->d, parsed(w, not_le[i].from), parsed(w, not_le[i].to)))
            fail_msg("%s <= %s is 'proven'", not_le[i].from, not_le[i].to);
    }
    assert_true(sn_dim_lt(w->d, w->T, parsed(w, "T + 1")));
    assert_false(sn_dim_lt(w->d, w->T, w->T));
    assert_true(sn_dim_ne(w->d, w->T, sn_dim(w->d, -1)));
    assert_true(sn_dim_ne(w->d, parsed(w, "2*T + 4*S"), parsed(w, "2*B + 1")));
    assert_false(sn_dim_ne(w->d, w->T, sn_dim(w->d, 1)));
}

static void bounds_of_symbols(void **state) {
    World *w = *state;
    int64_t bound;
    Dim clamped = sn_dim_min(w->d, w->T, sn_dim(w->d, 128));
    assert_int_equal(clamped->kind, SN_DIM_MIN);
    assert_false(sn_dim_upper(w->d, w->T, &bound));
    sn_dims_symbol_at_most(w->d, w->T, 128);
    sn_dims_symbol_at_least(w->d, w->T, 1);
    assert_ptr_equal(sn_dim_min(w->d, w->T, sn_dim(w->d, 128)), w->T);
    assert_ptr_equal(parsed(w, "max(T - 1, 0)"), parsed(w, "T - 1"));
    assert_true(sn_dim_upper(w->d, parsed(w, "3*T + 1"), &bound));
    assert_int_equal(bound, 385);
    assert_true(sn_dim_lower(w->d, parsed(w, "3*T + 1"), &bound));
    assert_int_equal(bound, 4);
}

static void quotients_affine_depends(void **state) {
    World *w = *state;
    Dim q, rest, axis = parsed(w, "i1");
    assert_true(sn_dim_divides(w->d, parsed(w, "S + T"), parsed(w, "S*S - T*T"), &q));
    assert_ptr_equal(q, parsed(w, "S - T"));
    assert_false(sn_dim_divides(w->d, parsed(w, "2*T"), parsed(w, "3*T"), &q));
    assert_false(sn_dim_divides(w->d, parsed(w, "T"), parsed(w, "T + 1"), &q));
    assert_true(sn_dim_affine(w->d, parsed(w, "i0*T + 3*i1*S + i1 + 7"), axis, &q, &rest));
    assert_ptr_equal(q, parsed(w, "3*S + 1"));
    assert_ptr_equal(rest, parsed(w, "i0*T + 7"));
    assert_false(sn_dim_affine(w->d, parsed(w, "i1 mod 3 + i1"), axis, &q, &rest));
    assert_false(sn_dim_affine(w->d, parsed(w, "i1*i1"), axis, &q, &rest));
    assert_true(sn_dim_depends(parsed(w, "i1 mod 3"), axis));
    assert_false(sn_dim_depends(axis, w->T));
    assert_true(sn_dim_depends(parsed(w, "i0*T"), w->T));
    assert_true(sn_dim_has_axis(parsed(w, "(i1 mod 3)*T")));
    assert_false(sn_dim_has_axis(parsed(w, "T mod 3")));
}

static void replaced_in_another_table(void **state) {
    World *w = *state;
    sn_dims_symbol_at_most(w->d, w->S, 9);
    Dims *other = sn_dims_new(w->arena);
    Dim t = sn_dim_symbol(other, "Z");
    Dim carried = sn_dim_replace(other, parsed(w, "(i5 floordiv T)*T + i5 mod S"), &w->T, &t, 1);
    assert_int_equal(sn_dims_symbol_count(other), 3); /* Z, B, S */
    Text text = sn_text(w->arena);
    sn_dim_print(&text, other, carried);
    assert_string_equal(sn_text_string(&text), "Z*(i5 floordiv Z) + (i5 mod S)");
    int64_t bound;
    assert_true(sn_dim_upper(other, sn_dim_symbol(other, "S"), &bound));
    assert_int_equal(bound, 9);
    Dim four = sn_dim(w->d, 4);
    assert_ptr_equal(sn_dim_replace(w->d, parsed(w, "i1 floordiv 4 + T"), &w->T, &four, 1), four);
}

/* An axis alone, whose extent is compound, into one table after the other. */
static void an_axis_takes_its_extent_along(void **state) {
    World *w = *state;
    Dim axis = sn_dim_axis(w->d, 3, parsed(w, "2*T + 1")), carried[2];
    Dims *table[2] = {sn_dims_new(w->arena), sn_dims_new(w->arena)};
    for (int i = 0; i < 2; i++) carried[i] = sn_dim_replace(table[i], axis, NULL, NULL, 0);
    for (int i = 0; i < 2; i++) {
        Dim twice = sn_dim_mulc(table[i], sn_dim_symbol(table[i], "T"), 2);
        Dim extent = sn_dim_add(table[i], twice, sn_dim(table[i], 1));
        assert_ptr_equal(carried[i], sn_dim_axis(table[i], 3, extent));
    }
}

static void text_form(void **state) {
    World *w = *state;
    assert_string_equal(text_of(w, parsed(w, "4*T + 1")), "4*T + 1");
    assert_string_equal(text_of(w, parsed(w, "T floordiv 64")), "(T floordiv 64)");
    assert_string_equal(text_of(w, parsed(w, "min(T, 128)")), "min(128, T)");
    assert_string_equal(text_of(w, parsed(w, "3 - T - 2*S*T")), "-2*S*T - T + 3");
    assert_string_equal(text_of(w, parsed(w, "-9223372036854775808")), "-9223372036854775808");
    static const char *const odd[] = {"i1", "mod", "batch size", "a\"b\\\n\x01", "", "9", "min"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        Dim symbol = sn_dim_symbol(w->d, odd[i]);
        assert_ptr_equal(parsed(w, text_of(w, sn_dim_addc(w->d, symbol, 1))), sn_dim_addc(w->d, symbol, 1));
    }
    static const char *const bad[] = {
        "",     "T +",   "min(T",   "i99",         "mod 3", "(T", "99999999999999999999",
        "\"ab", "T * *", "\"\\q\"", "T floordiv 0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        Dims *dims = sn_dims_new(w->arena);
        const char *at = bad[i];
        Dim out;
        Status status = sn_dim_parse(dims, &at, NULL, 0, &out);
        if (!status) fail_msg("'%s' was read", bad[i]);
        assert_int_equal(sn_error_code(status), SN_INVALID);
        sn_error_free(status);
    }
    char deep[3000];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    const char *at = deep;
    Dim out;
    Status status = sn_dim_parse(w->d, &at, NULL, 0, &out);
    assert_non_null(status);
    sn_error_free(status);
}

static void overflow_is_sticky(void **state) {
    World *w = *state;
    Dims *dims = sn_dims_new(w->arena);
    Dim t = sn_dim_symbol(dims, "T"), x = t;
    sn_dim_mulc(dims, sn_dim_mulc(dims, t, INT64_MAX), 1);
    assert_false(sn_dims_overflowed(dims));
    sn_dim_mulc(dims, sn_dim_mulc(dims, t, INT64_MAX), 2);
    assert_true(sn_dims_overflowed(dims));
    dims = sn_dims_new(w->arena);
    t = sn_dim_symbol(dims, "T");
    sn_dim_mod(dims, t, sn_dim(dims, 0));
    assert_true(sn_dims_overflowed(dims));
    dims = sn_dims_new(w->arena);
    x = sn_dim_symbol(dims, "T");
    for (int i = 0; i < 1000 && !sn_dims_overflowed(dims); i++) /* what doubles at each step is stopped */
        x = sn_dim_floordiv(dims, sn_dim_mul(dims, x, x), sn_dim_addc(dims, x, 3));
    assert_true(sn_dims_overflowed(dims));
}

/* Near the ends of 64 bits a quotient times its divisor does not fit any more. */
static void extreme_constants_are_divided(void **state) {
    Dims *dims = sn_dims_new(((World *)*state)->arena); /* which may give up */
    const int64_t divisors[] = {3, -3, 7, INT64_MIN}, tops[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX - 9, 2};
    const int64_t one = 1;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            int64_t quotient, rest, found;
            Dim x = sn_dim_addc(dims, sn_dim_mulc(dims, sn_dim_symbol(dims, "T"), 3), tops[i]);
            assert_true(sn_floordiv_i64(tops[i] + 3, divisors[k], &quotient));
            assert_true(sn_mod_i64(tops[i] + 3, divisors[k], &rest));
            Dim by = sn_dim(dims, divisors[k]), divided = sn_dim_floordiv(dims, x, by);
            Dim left = sn_dim_mod(dims, x, by);
            if (sn_dims_overflowed(dims)) return;
            assert_null(sn_dim_eval(divided, &one, NULL, &found));
            assert_int_equal(found, quotient);
            assert_null(sn_dim_eval(left, &one, NULL, &found));
            assert_int_equal(found, rest);
        }
}

/* ---- random expressions against an evaluator that knows no rule ---- */

enum { SYMBOLS = 3, AXES = 4, POINTS = 24 };

typedef struct Random {
    uint64_t seed, counter;
} Random;

static uint32_t next(Random *r, uint32_t below) {
    uint32_t out[4];
    sn_philox(r->seed, r->counter++, out);
    return out[0] % below;
}

typedef struct Value {
    bool defined;
    int64_t at;
} Value;

/* A Dim with its value at every point, computed apart from it. */
typedef struct Tracked {
    Dim dim;
    Value value[POINTS];
} Tracked;

typedef struct Field {
    Dims *d;
    Dim symbol[SYMBOLS], axis[AXES], extent[AXES];
    int64_t symbols[POINTS][SYMBOLS], axes[POINTS][AXES];
    bool exists[POINTS][AXES]; /* the axis has an element there */
} Field;

static void make_field(Field *f, Arena *arena, Random *r) {
    f->d = sn_dims_new(arena);
    static const char *const names[] = {"T", "B", "S"};
    for (int i = 0; i < SYMBOLS; i++) f->symbol[i] = sn_dim_symbol(f->d, names[i]);
    int64_t least = 0, most = INT64_MAX;
    if (next(r, 2)) sn_dims_symbol_at_least(f->d, f->symbol[0], least = 1 + next(r, 3));
    if (next(r, 2)) sn_dims_symbol_at_most(f->d, f->symbol[0], most = least + next(r, 6));
    for (int i = 0; i < AXES; i++) {
        Dim product = sn_dim_mul(f->d, f->symbol[next(r, SYMBOLS)], f->symbol[next(r, SYMBOLS)]);
        Dim choice[] = {
            sn_dim(f->d, 1 + next(r, 12)), f->symbol[next(r, SYMBOLS)], product,
            sn_dim_addc(f->d, f->symbol[next(r, SYMBOLS)], (int64_t)next(r, 3) - 1),
            sn_dim_add(f->d, product, sn_dim_addc(f->d, f->symbol[next(r, SYMBOLS)], next(r, 2)))};
        if (next(r, 4) == 0) choice[2] = sn_dim_addc(f->d, product, 1);
        f->extent[i] = choice[next(r, 5)];
        f->axis[i] = sn_dim_axis(f->d, i, f->extent[i]);
    }
    for (int p = 0; p < POINTS; p++) {
        for (int i = 0; i < SYMBOLS; i++) f->symbols[p][i] = next(r, 4) ? next(r, 9) : next(r, 200);
        if (f->symbols[p][0] < least) f->symbols[p][0] = least;
        if (f->symbols[p][0] > most) f->symbols[p][0] = most;
        for (int i = 0; i < AXES; i++) {
            int64_t extent = 0;
            assert_null(sn_dim_eval(f->extent[i], f->symbols[p], NULL, &extent));
            f->exists[p][i] = extent > 0;
            if (extent > 0) f->axes[p][i] = next(r, 3) ? next(r, (uint32_t)extent) : extent - 1;
        }
    }
}

static Value naive(DimKind kind, Value x, Value y) {
    int64_t a = x.at, b = y.at, q, out = 0;
    bool divides = kind >= SN_DIM_FLOORDIV && kind <= SN_DIM_MOD;
    if (!x.defined || !y.defined || (divides && b == 0)) return (Value){false, 0};
    q = divides ? a / b : 0;
    if (divides && a % b != 0 && (a < 0) != (b < 0)) q--;
    if (kind == SN_DIM_SUM) out = a + b;
    if (kind == SN_DIM_CONST) out = a - b;
    if (kind == SN_DIM_PRODUCT) out = a * b;
    if (kind == SN_DIM_FLOORDIV) out = q;
    if (kind == SN_DIM_MOD) out = a - q * b;
    if (kind == SN_DIM_CEILDIV) out = q + (a - q * b != 0);
    if (kind == SN_DIM_TRUNCDIV) out = a / b;
    if (kind == SN_DIM_MIN) out = a < b ? a : b;
    if (kind == SN_DIM_MAX) out = a > b ? a : b;
    return (Value){out > -(1 << 30) && out < (1 << 30), out};
}

static Dim constructed(Dims *d, DimKind kind, Dim a, Dim b) {
    static Dim (*const make[])(Dims *, Dim,
                               Dim) = {[SN_DIM_CONST] = sn_dim_sub,       [SN_DIM_SUM] = sn_dim_add,
                                       [SN_DIM_PRODUCT] = sn_dim_mul,     [SN_DIM_FLOORDIV] = sn_dim_floordiv,
                                       [SN_DIM_CEILDIV] = sn_dim_ceildiv, [SN_DIM_TRUNCDIV] = sn_dim_truncdiv,
                                       [SN_DIM_MOD] = sn_dim_mod,         [SN_DIM_MIN] = sn_dim_min,
                                       [SN_DIM_MAX] = sn_dim_max};
    return make[kind](d, a, b);
}

static Tracked leaf(Field *f, Random *r) {
    Tracked made;
    uint32_t choice = next(r, 10), index = next(r, choice < 3 ? SYMBOLS : AXES);
    int64_t constant = next(r, 4) ? (int64_t)next(r, 13) - 3 : (int64_t)next(r, 130) - 64;
    made.dim = choice < 3 ? f->symbol[index] : choice < 7 ? f->axis[index] : sn_dim(f->d, constant);
    for (int p = 0; p < POINTS; p++) {
        bool axis = choice >= 3 && choice < 7;
        int64_t value = choice < 3 ? f->symbols[p][index] : axis ? f->axes[p][index] : constant;
        made.value[p] = (Value){!axis || f->exists[p][index], value};
    }
    return made;
}

/* Divisors are mostly what divides in index maps: extents and constants, and products of them. */
static Tracked divisor(Field *f, Random *r) {
    Tracked made;
    int64_t constant = next(r, 8) ? 1 + next(r, 8) : -1 - (int64_t)next(r, 8);
    uint32_t choice = next(r, 4), index = next(r, AXES);
    made.dim = choice == 0   ? sn_dim(f->d, constant)
               : choice == 1 ? f->extent[index]
                             : sn_dim_mulc(f->d, f->extent[index], constant);
    for (int p = 0; p < POINTS; p++) {
        int64_t extent = 0;
        assert_null(sn_dim_eval(f->extent[index], f->symbols[p], NULL, &extent));
        int64_t value = choice == 0 ? constant : choice == 1 ? extent : extent * constant;
        made.value[p] = (Value){true, value};
    }
    return made;
}

static Tracked combine(Field *f, DimKind kind, const Tracked *a, const Tracked *b) {
    Tracked made;
    made.dim = constructed(f->d, kind, a->dim, b->dim);
    for (int p = 0; p < POINTS; p++) made.value[p] = naive(kind, a->value[p], b->value[p]);
    return made;
}

static Tracked expression(Field *f, Random *r, int depth) {
    if (depth == 0 || next(r, 6) == 0) return leaf(f, r);
    static const DimKind kinds[] = {SN_DIM_SUM,     SN_DIM_SUM,     SN_DIM_SUM,      SN_DIM_CONST,
                                    SN_DIM_PRODUCT, SN_DIM_PRODUCT, SN_DIM_FLOORDIV, SN_DIM_FLOORDIV,
                                    SN_DIM_MOD,     SN_DIM_MOD,     SN_DIM_CEILDIV,  SN_DIM_TRUNCDIV,
                                    SN_DIM_MIN,     SN_DIM_MAX};
    DimKind kind = kinds[next(r, sizeof kinds / sizeof kinds[0])];
    Tracked a = expression(f, r, depth - 1);
    bool divides = kind >= SN_DIM_FLOORDIV && kind <= SN_DIM_MOD;
    Tracked b = divides && next(r, 5) ? divisor(f, r) : expression(f, r, depth - 1);
    if (divides && sn_dim_equals(b.dim, 0)) return a; /* an error, and tested as such */
    if (kind != SN_DIM_SUM || next(r, 2)) return combine(f, kind, &a, &b);
    b = divisor(f, r); /* M·(d·(a floordiv d) + a mod d), in all its forms */
    Tracked q = combine(f, SN_DIM_FLOORDIV, &a, &b), m = combine(f, SN_DIM_MOD, &a, &b);
    q = combine(f, SN_DIM_PRODUCT, &q, &b);
    b = leaf(f, r);
    q = combine(f, SN_DIM_PRODUCT, &q, &b);
    m = combine(f, SN_DIM_PRODUCT, &m, &b);
    return combine(f, SN_DIM_SUM, &q, &m);
}

static void check_value(Field *f, Arena *arena, const Tracked *e) {
    for (int p = 0; p < POINTS; p++) {
        if (!e->value[p].defined) continue;
        int64_t value = 0;
        Status status = sn_dim_eval(e->dim, f->symbols[p], f->axes[p], &value);
        if (status || value != e->value[p].at) {
            Text text = sn_text(arena);
            sn_dim_print(&text, f->d, e->dim);
            for (int i = 0; i < AXES; i++) {
                sn_text_add(&text, "; i%d = %d < ", i, (int)f->axes[p][i]);
                sn_dim_print(&text, f->d, f->extent[i]);
            }
            for (int i = 0; i < SYMBOLS; i++) sn_text_add(&text, "; %d", (int)f->symbols[p][i]);
            fail_msg("%s: %d, not %d (%s)", sn_text_string(&text), (int)value, (int)e->value[p].at,
                     sn_error_message(status));
        }
    }
}

/* Bounds and proofs against the values too. */
static void check_proofs(Field *f, const Tracked *a, const Tracked *b) {
    int64_t lower = INT64_MIN, upper = INT64_MAX;
    if (!sn_dim_lower(f->d, a->dim, &lower)) lower = INT64_MIN;
    if (!sn_dim_upper(f->d, a->dim, &upper)) upper = INT64_MAX;
    bool le = sn_dim_le(f->d, a->dim, b->dim), lt = sn_dim_lt(f->d, a->dim, b->dim);
    bool ne = sn_dim_ne(f->d, a->dim, b->dim);
    for (int p = 0; p < POINTS; p++) {
        if (!a->value[p].defined || !b->value[p].defined) continue;
        int64_t x = a->value[p].at, y = b->value[p].at;
        assert_true(lower <= x && x <= upper);
        assert_true(!le || x <= y);
        assert_true(!lt || x < y);
        assert_true(!ne || x != y);
    }
}

static void check_text(Field *f, Arena *arena, const Tracked *e) {
    Text text = sn_text(arena);
    sn_dim_print(&text, f->d, e->dim);
    const char *at = sn_text_string(&text);
    Dim back = NULL;
    Status status = sn_dim_parse(f->d, &at, f->axis, AXES, &back);
    if (status || back != e->dim) {
        Text again = sn_text(arena);
        if (back) sn_dim_print(&again, f->d, back);
        fail_msg("%s is read as %s (%s)", sn_text_string(&text), sn_text_string(&again),
                 sn_error_message(status));
    }
}

static void random_expressions(void **state) {
    (void)state;
    Random r = {20240611, 0};
    for (int round = 0; round < 150; round++) {
        Arena *arena = sn_arena_new();
        Field *f = SN_NEW(arena, Field);
        make_field(f, arena, &r);
        for (int i = 0; i < 200; i++) {
            Tracked a = expression(f, &r, 3), b = expression(f, &r, 2);
            assert_false(sn_dims_overflowed(f->d));
            check_value(f, arena, &a);
            check_value(f, arena, &b);
            check_proofs(f, &a, &b);
            check_text(f, arena, &a);
        }
        sn_arena_free(arena);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(delinearises),
        TEST(head_split_keeps_one_division),
        TEST(sizes_simplify),
        TEST(proofs_hold),
        TEST(bounds_of_symbols),
        TEST(quotients_affine_depends),
        TEST(text_form),
        TEST(replaced_in_another_table),
        TEST(an_axis_takes_its_extent_along),
        TEST(overflow_is_sticky),
        TEST(extreme_constants_are_divided),
        TEST(random_expressions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

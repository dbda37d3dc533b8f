/* base: arenas, errors, text, maps and numbers. */
#include "arena.h"
#include "map.h"
#include "number.h"
#include "status.h"
#include "text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- arena --- */

static void arena_gives_zeroed_aligned_memory(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    assert_non_null(arena);
    size_t total = 0;
    for (size_t bytes = 0; bytes < 3000; bytes += 7) {
        unsigned char *piece = sn_arena_alloc(arena, bytes);
        assert_non_null(piece);
        assert_int_equal((uintptr_t)piece % 16, 0);
        for (size_t i = 0; i < bytes; i++) assert_int_equal(piece[i], 0);
        memset(piece, 0xff, bytes); /* a later piece that overlaps is not zero */
        total += bytes;
    }
    assert_true(sn_arena_used(arena) >= total);
    assert_string_equal(sn_arena_printf(arena, "%d %s", 7, "dwarfs"), "7 dwarfs");
    assert_string_equal(sn_arena_string(arena, ""), "");
    sn_arena_free(arena);
    sn_arena_free(NULL);
}

/* What a call to `work` does under a limit: true when it ran out. */
static bool exhausts(Arena *root, size_t limit, void (*work)(Arena *arena)) {
    jmp_buf guard;
    sn_arena_guard(root, &guard);
    sn_arena_limit(root, limit);
    bool ran_out = true;
    if (!setjmp(guard)) {
        work(root);
        ran_out = false;
    }
    sn_arena_guard(root, NULL);
    sn_arena_limit(root, SIZE_MAX);
    return ran_out;
}

static void take_1000(Arena *arena) {
    for (int i = 0; i < 10; i++) sn_arena_alloc(arena, 100);
}
static void take_1000_in_children(Arena *arena) {
    take_1000(sn_arena_child(sn_arena_child(arena)));
}
/* The product wraps to 4. */
static void overflow_product(Arena *arena) {
    sn_arena_array(arena, SIZE_MAX / 4 + 2, 4);
}
static void ask_for_everything(Arena *arena) {
    sn_arena_alloc(arena, SIZE_MAX - 8);
}
static void ask_for_most(Arena *arena) {
    sn_arena_alloc(arena, PTRDIFF_MAX - 64);
}
static void print_1000(Arena *arena) {
    sn_arena_printf(arena, "%1000d", 1);
}

static void arena_exhaustion_jumps_to_the_guard(void **state) {
    (void)state;
    Arena *root = sn_arena_new();
    assert_false(exhausts(root, 1000, take_1000));
    assert_true(exhausts(root, 999, take_1000));
    assert_false(exhausts(root, 1000, take_1000_in_children));
    assert_true(exhausts(root, 999, take_1000_in_children));
    assert_false(exhausts(root, 1001, print_1000));
    assert_true(exhausts(root, 1000, print_1000));
    assert_true(exhausts(root, SIZE_MAX, overflow_product));
    assert_true(exhausts(root, SIZE_MAX, ask_for_everything));
    assert_true(exhausts(root, SIZE_MAX, ask_for_most));
    assert_false(exhausts(root, SIZE_MAX, take_1000)); /* still usable */
    sn_arena_free(root);
}

typedef struct Step {
    char *log;
    char name;
} Step;

static void record(void *object) {
    Step *step = object;
    step->log[strlen(step->log)] = step->name;
}

static void arena_releases_latest_first_and_children_too(void **state) {
    (void)state;
    char log[16] = "";
    Step steps[] = {{log, 'a'}, {log, 'b'}, {log, 'c'}, {log, 'd'}, {log, 'e'}};
    Arena *root = sn_arena_new();
    Arena *first = sn_arena_child(root), *second = sn_arena_child(root), *third = sn_arena_child(root);
    sn_arena_defer(root, record, &steps[0]);
    sn_arena_defer(root, record, &steps[1]);
    sn_arena_defer(first, record, &steps[2]);
    sn_arena_defer(second, record, &steps[3]);
    sn_arena_defer(third, record, &steps[4]);
    sn_arena_free(second);
    assert_string_equal(log, "d");
    sn_arena_free(root);
    assert_string_equal(log, "dbaec");
}

static char deferred_log[16];
static Step deferred_step = {deferred_log, 'x'};
static void defer_one(Arena *arena) {
    sn_arena_defer(arena, record, &deferred_step);
}

static void arena_releases_what_it_could_not_note(void **state) {
    (void)state;
    Arena *root = sn_arena_new();
    assert_true(exhausts(root, 1, defer_one));
    assert_string_equal(deferred_log, "x");
    sn_arena_free(root);
    assert_string_equal(deferred_log, "x");
}

static void vec_keeps_its_items(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    SN_VEC(int) squares = {0};
    for (int i = 0; i < 5000; i++) sn_push(arena, &squares, i * i);
    assert_int_equal(squares.count, 5000);
    for (int i = 0; i < 5000; i++) assert_int_equal(squares.at[i], i * i);
    sn_arena_free(arena);
}

/* --- status --- */

static Status forward(Status status) {
    TRY(status);
    return sn_fail(SN_INTERNAL, "not reached by a failure");
}

static void status_carries_code_and_message(void **state) {
    (void)state;
    assert_int_equal(sn_error_code(NULL), SN_OK);
    assert_string_equal(sn_error_message(NULL), "");
    assert_null(sn_status_prefix(NULL, "nothing"));
    Status status = forward(sn_fail(SN_UNSUPPORTED, "operator %s", "Foo"));
    status = sn_status_prefix(status, "node %d", 3);
    status = sn_status_prefix(status, "%s", "model.onnx");
    assert_int_equal(sn_error_code(status), SN_UNSUPPORTED);
    assert_string_equal(sn_error_message(status), "model.onnx: node 3: operator Foo");
    sn_error_free(status);
    status = forward(NULL);
    assert_int_equal(sn_error_code(status), SN_INTERNAL);
    sn_error_free(status);
    sn_error_free(NULL);
    assert_true(strlen(sn_version()) >= 5);
}

/* --- text --- */

static void text_grows(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    assert_string_equal(sn_text_string(&text), "");
    for (int i = 0; i < 3000; i++) sn_text_add(&text, "%04d", i);
    sn_text_add(&text, "%*d", 20000, 5); /* longer than any room that is left */
    sn_text_put(&text, "end", 3);
    const char *string = sn_text_string(&text);
    assert_int_equal(text.length, 3000 * 4 + 20000 + 3);
    assert_int_equal(strlen(string), text.length);
    for (int i = 0; i < 3000; i++) {
        char four[5];
        snprintf(four, sizeof four, "%04d", i);
        assert_memory_equal(string + 4 * i, four, 4);
    }
    assert_string_equal(string + 12000 + 19998, " 5end");
    sn_arena_free(arena);
}

static void text_quotes_what_could_forge_a_line(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    static const char hostile[] = "a\"b\\c\nd\te\0f\x7f\xc3\xa9\r~ ";
    sn_text_quote(&text, hostile, sizeof hostile - 1);
    assert_string_equal(sn_text_string(&text), "\"a\\\"b\\\\c\\nd\\te\\x00f\\x7f\\xc3\\xa9\\x0d~ \"");
    Text empty = sn_text(arena);
    sn_text_quote(&empty, NULL, 0);
    assert_string_equal(sn_text_string(&empty), "\"\"");
    sn_arena_free(arena);
}

/* --- map and hash --- */

static void map_finds_many_keys_in_order_of_insertion(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    Arena *arena = sn_arena_new();
    Map *map = sn_map_new(arena);
    static int values[COUNT];
    assert_null(sn_map_get_string(map, "missing"));
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i * 7919 % COUNT);
        void **slot = sn_map_at_string(map, key);
        assert_null(*slot);
        *slot = &values[i];
        memset(key, 0, sizeof key); /* the map has its own copy */
    }
    assert_int_equal(sn_map_count(map), COUNT);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i * 7919 % COUNT);
        assert_ptr_equal(sn_map_get_string(map, key), &values[i]);
        assert_ptr_equal(*sn_map_at_string(map, key), &values[i]);
        const void *bytes;
        size_t length;
        assert_ptr_equal(sn_map_entry(map, i, &bytes, &length), &values[i]);
        assert_int_equal(length, strlen(key));
        assert_memory_equal(bytes, key, length);
    }
    assert_int_equal(sn_map_count(map), COUNT);
    assert_null(sn_map_get_string(map, "k"));
    assert_null(sn_map_get_string(map, "k20000"));
    sn_arena_free(arena);
}

static void map_keys_are_bytes(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Map *map = sn_map_new(arena);
    int one, two, three, four;
    *sn_map_at(map, "a\0b", 3) = &one;
    *sn_map_at(map, "a\0c", 3) = &two;
    *sn_map_at(map, "a", 1) = &three;
    *sn_map_at(map, NULL, 0) = &four;
    assert_ptr_equal(sn_map_get(map, "a\0b", 3), &one);
    assert_ptr_equal(sn_map_get(map, "a\0c", 3), &two);
    assert_ptr_equal(sn_map_get_string(map, "a"), &three);
    assert_ptr_equal(sn_map_get_string(map, ""), &four);
    assert_int_equal(sn_map_count(map), 4);
    sn_arena_free(arena);
}

static void hash_depends_on_everything(void **state) {
    (void)state;
    enum { LENGTH = 300 }; /* both sides of the length where hashing changes its ways */
    unsigned char data[LENGTH];
    for (int i = 0; i < LENGTH; i++) data[i] = (unsigned char)(i * 31);
    Arena *arena = sn_arena_new();
    Map *seen = sn_map_new(arena);
    Hash seeds[] = {{0, 0}, {1, 0}, {0, 1}, {0, UINT64_C(1) << 63}};
    for (size_t s = 0; s < 4; s++)
        for (size_t length = 0; length <= LENGTH; length++) {
            Hash hash = sn_hash(seeds[s], data, length);
            assert_true(sn_hash_equal(hash, sn_hash(seeds[s], data, length)));
            *sn_map_at(seen, &hash, sizeof hash) = data;
        }
    for (int flip = 0; flip < LENGTH; flip++) {
        data[flip] ^= 1;
        Hash hash = sn_hash(seeds[0], data, LENGTH);
        *sn_map_at(seen, &hash, sizeof hash) = data;
        data[flip] ^= 1;
    }
    assert_int_equal(sn_map_count(seen), 4 * (LENGTH + 1) + LENGTH);
    char hex[33];
    sn_hash_hex((Hash){.lo = UINT64_C(0xfedcba9876543210), .hi = 0xab}, hex);
    assert_string_equal(hex, "00000000000000abfedcba9876543210");
    sn_arena_free(arena);
}

/* XXH3_128bits of 16 zero bytes and the data, by the command `xxhsum -H2`. */
static void hash_is_the_published_one(void **state) {
    (void)state;
    char hex[33];
    sn_hash_hex(sn_hash((Hash){0}, "sinter", 6), hex);
    assert_string_equal(hex, "cddee4e94742452dab20cf719f11a171");
    char data[1000];
    memset(data, 'x', sizeof data);
    sn_hash_hex(sn_hash((Hash){0}, data, sizeof data), hex);
    assert_string_equal(hex, "d4d5d12284815fb39bcfffc9a9c92a20");
}

/* --- numbers --- */

typedef struct Format {
    uint16_t (*from)(double value);
    double (*to)(uint16_t bits);
    uint16_t infinity;
    uint16_t quiet;
} Format;

static const Format formats[] = {{sn_f16_from, sn_f16_to, 0x7c00, 0x0200},
                                 {sn_bf16_from, sn_bf16_to, 0x7f80, 0x0040}};

static void narrow_floats_round_trip(void **state) {
    (void)state;
    for (size_t f = 0; f < 2; f++)
        for (unsigned bits = 0; bits < 0x10000; bits++) {
            double value = formats[f].to((uint16_t)bits);
            bool nan = (bits & 0x7fff) > formats[f].infinity;
            assert_int_equal(isnan(value) != 0, nan);
            assert_int_equal(signbit(value) != 0, bits >> 15);
            assert_int_equal(formats[f].from(value), nan ? bits | formats[f].quiet : bits);
        }
}

/* Between each pair of neighbours: the midpoint goes to the even one, and anything off it to the nearer one.
 */
static void narrow_floats_round_to_nearest_even(void **state) {
    (void)state;
    for (size_t f = 0; f < 2; f++)
        for (unsigned bits = 0; bits < formats[f].infinity; bits++) {
            uint16_t low = (uint16_t)bits, high = (uint16_t)(bits + 1);
            double a = formats[f].to(low), b = formats[f].to(high);
            if (high == formats[f].infinity) b = a + (a - formats[f].to((uint16_t)(bits - 1)));
            double middle = a + (b - a) / 2;
            uint16_t even = low & 1 ? high : low;
            assert_int_equal(formats[f].from(middle), even);
            assert_int_equal(formats[f].from(nextafter(middle, 0)), low);
            assert_int_equal(formats[f].from(nextafter(middle, INFINITY)), high);
            assert_int_equal(formats[f].from(-middle), even | 0x8000);
        }
}

static void narrow_floats_at_the_edges(void **state) {
    (void)state;
    assert_int_equal(sn_f16_from(1.0), 0x3c00);
    assert_int_equal(sn_f16_from(65504.0), 0x7bff);
    assert_int_equal(sn_f16_from(65519.999), 0x7bff);
    assert_int_equal(sn_f16_from(65520.0), 0x7c00);
    assert_int_equal(sn_f16_from(1e300), 0x7c00);
    assert_int_equal(sn_f16_from(-INFINITY), 0xfc00);
    assert_int_equal(sn_f16_from(0x1p-24), 1);
    assert_int_equal(sn_f16_from(0x1p-25), 0);
    assert_int_equal(sn_f16_from(0x1.8p-25), 1);
    assert_int_equal(sn_f16_from(-0x1p-1074), 0x8000);
    assert_int_equal(sn_bf16_from(1.0), 0x3f80);
    assert_int_equal(sn_bf16_from(3.3895313892515355e38), 0x7f7f);
    assert_int_equal(sn_bf16_from(1e39), 0x7f80);
    assert_int_equal(sn_bf16_from(0x1p-133), 1);
    /* Through float this would be rounded twice, to 0x3f80. */
    assert_int_equal(sn_bf16_from(1.0 + 0x1p-8 + 0x1p-40), 0x3f81);
    /* A payload that does not fit must not turn NaN into infinity. */
    static const uint64_t low_payload = UINT64_C(0xfff0000000000001);
    double nan;
    memcpy(&nan, &low_payload, sizeof nan);
    assert_int_equal(sn_f16_from(nan), 0xfe00);
    assert_int_equal(sn_bf16_from(nan), 0xffc0);
    assert_true(isnan(sn_f16_to(sn_f16_from(NAN))));
    assert_true(isnan(sn_bf16_to(sn_bf16_from(NAN))));
}

static void integers_divide_towards_minus_infinity(void **state) {
    (void)state;
    for (int64_t a = -20; a <= 20; a++)
        for (int64_t b = -7; b <= 7; b++) {
            int64_t quotient, rest;
            if (b == 0) {
                assert_false(sn_floordiv_i64(a, b, &quotient));
                assert_false(sn_mod_i64(a, b, &rest));
                continue;
            }
            assert_true(sn_floordiv_i64(a, b, &quotient));
            assert_true(sn_mod_i64(a, b, &rest));
            assert_int_equal(quotient, (int64_t)floor((double)a / (double)b));
            assert_int_equal(quotient * b + rest, a);
            assert_true(rest == 0 || (rest < 0) == (b < 0));
        }
    int64_t out;
    assert_false(sn_floordiv_i64(INT64_MIN, -1, &out));
    assert_false(sn_mod_i64(INT64_MIN, -1, &out));
    assert_true(sn_floordiv_i64(INT64_MIN, 2, &out) && out == INT64_MIN / 2);
    assert_false(sn_add_i64(INT64_MAX, 1, &out));
    assert_false(sn_sub_i64(INT64_MIN, 1, &out));
    assert_false(sn_mul_i64(INT64_C(1) << 32, INT64_C(1) << 31, &out));
    assert_true(sn_mul_i64(INT64_C(1) << 31, INT64_C(1) << 31, &out) && out == INT64_C(1) << 62);
}

/* The first is the generator's published vector; the others were computed by a separate implementation that
 * gives all three published vectors (whose counters have 128 bits). */
static void philox_gives_known_answers(void **state) {
    (void)state;
    static const struct {
        uint64_t seed, counter;
        uint32_t word[4];
    } known[] = {
        {0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {1, 0, {0xe3e80670, 0xe50a0ebc, 0x95f222c0, 0xb615aa27}},
        {0, 1, {0xf8e4cca4, 0x5cb200db, 0xb1a574eb, 0x097eff67}},
        {0x299f31d0a4093822, 0x85a308d3243f6a88, {0xe69c9c31, 0xb5a3d762, 0xe733bfc1, 0x341a787c}},
        {UINT64_MAX, UINT64_MAX, {0x4d18d7d2, 0x430ac65a, 0xbd2fa22a, 0x0afae10d}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t word[4];
        sn_philox(known[i].seed, known[i].counter, word);
        assert_memory_equal(word, known[i].word, sizeof word);
    }
}

static void random_numbers_have_their_distribution(void **state) {
    (void)state;
    enum { COUNT = 100000, SEED = 42 };
    double uniform[2] = {0}, normal[4] = {0}, neighbours = 0, before = 0;
    for (int i = 0; i < COUNT; i++) {
        double u = sn_random_uniform(SEED, (uint64_t)i), n = sn_random_normal(SEED, (uint64_t)i);
        assert_true(u >= 0 && u < 1);
        for (int power = 1; power <= 2; power++) uniform[power - 1] += pow(u, power) / COUNT;
        for (int power = 1; power <= 4; power++) normal[power - 1] += pow(n, power) / COUNT;
        neighbours += n * before / COUNT;
        before = n;
    }
    /* Moments, to about five standard errors at this count. */
    assert_true(fabs(uniform[0] - 1.0 / 2) < 0.005 && fabs(uniform[1] - 1.0 / 3) < 0.005);
    assert_true(fabs(normal[0]) < 0.016 && fabs(normal[1] - 1) < 0.023);
    assert_true(fabs(normal[2]) < 0.062 && fabs(normal[3] - 3) < 0.16);
    assert_true(fabs(neighbours) < 0.016);
    uint32_t word[4];
    sn_philox(SEED, 3, word);
    assert_true(sn_random_uniform(SEED, 14) == word[2] / 4294967296.0);
    assert_true(sn_random_word(SEED, 0, 14) == word[2]);
    assert_true(sn_random_word(0x299f31d0a4093822, 0x0370734413198a2e, 0x168c234c90fdaa21) == 0x572a2f27);
    double radius = hypot(sn_random_normal(SEED, 14), sn_random_normal(SEED, 15));
    assert_true(fabs(radius - sqrt(-2 * log((word[2] + 0.5) / 4294967296.0))) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(arena_exhaustion_jumps_to_the_guard),
        cmocka_unit_test(arena_releases_latest_first_and_children_too),
        cmocka_unit_test(arena_releases_what_it_could_not_note),
        cmocka_unit_test(vec_keeps_its_items),
        cmocka_unit_test(status_carries_code_and_message),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(text_quotes_what_could_forge_a_line),
        cmocka_unit_test(map_finds_many_keys_in_order_of_insertion),
        cmocka_unit_test(map_keys_are_bytes),
        cmocka_unit_test(hash_depends_on_everything),
        cmocka_unit_test(hash_is_the_published_one),
        cmocka_unit_test(narrow_floats_round_trip),
        cmocka_unit_test(narrow_floats_round_to_nearest_even),
        cmocka_unit_test(narrow_floats_at_the_edges),
        cmocka_unit_test(integers_divide_towards_minus_infinity),
        cmocka_unit_test(philox_gives_known_answers),
        cmocka_unit_test(random_numbers_have_their_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

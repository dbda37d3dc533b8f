/* Generated C for softmax and its like: where the maximum of a row is found. */
#include "codegen_fixture.h"

static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 2, 64, 1, 1000, 37, 133}, rows[] = {1, 3, 5};
enum { SIZES = 6, ROWS = 3 };

static Value *softmax(Case *c, Value *x, int64_t axis) {
    Value *top = reduce(c, SN_OP_REDUCE_MAX, x, axis);
    Value *e = one(c, SN_OP_EXP, two(c, SN_OP_SUB, x, spread(c, top, x)));
    return two(c, SN_OP_DIV, e, spread(c, reduce(c, SN_OP_REDUCE_SUM, e, axis), x));
}

static Value *log_softmax(Case *c, Value *x, int64_t axis) {
    Value *low = two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MAX, x, axis), x));
    Value *sum = reduce(c, SN_OP_REDUCE_SUM, one(c, SN_OP_EXP, low), axis);
    return two(c, SN_OP_SUB, low, spread(c, one(c, SN_OP_LOG, sum), x));
}

/* The maximum of the next row, before this one where rows are short; not where that row has a bias of its own. */
static void maxima_are_found_one_row_sooner(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 150", "B, T, 523"}, *const row[] = {"T, 150", "T, 523"};
    for (int i = 0; i < 2; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, shape[i]), *y = param(c, SN_BF16, row[i]);
        result(c, softmax(c, two(c, SN_OP_MUL, x, expand(c, cast(c, y, SN_F32), shape[i])), 2));
        check_text(c, "float lead", true, SIZES, sizes);
    }
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = param(c, SN_F32, "B, T, 9"), *y = param(c, SN_F32, "B, T, 1");
    result(c, softmax(c, two(c, SN_OP_ADD, x, expand(c, y, "B, T, 9")), 2));
    check_text(c, "float lead", false, SIZES, sizes);
}

/* Where streams are fetched, rows that are not the shortest have it found beside this one. */
static void maxima_are_found_beside_fetched_rows(void **state) {
    (void)state;
    for (int form = 0; form < 3; form++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        const char *shape =
            sn_arena_printf(c->arena, "B, T, %d", (form == 2 ? 1 : 4) * c->target.vector_bytes + 3);
        result(c, softmax(c, param(c, SN_F32, shape), 2));
        c->target.fetch_bytes = form ? 2048 : 0;
        const Kernel *kernel = generate(c);
        assert_true(mentions(kernel, "float lead"));
        assert_true(mentions(kernel, "there = i2 + 3 * SN_LANES;") == (form == 1));
        check_kernel(c, kernel, SIZES, sizes);
    }
}

enum { RISING, MASKED, EMPTY, INFINITE, NO_NUMBER, UNEVEN_KINDS };

/* Rows whose blocks differ: the maximum rises by more than a little; is minus infinity but for five elements a row, or for
 * all; elements of some rows are infinity, or no numbers. */
static Value *uneven(Case *c, Value *x, int kind) {
    const double least[] = {0, 3.5, 9, 4.2, 4.2};
    if (kind == RISING) return x;
    Value *few = two(c, SN_OP_MAX, two(c, SN_OP_SUB, x, number(c, least[kind], x)), number(c, 0, x));
    if (kind == MASKED || kind == EMPTY) return two(c, SN_OP_DIV, number(c, -1, x), few);
    Value *huge = few; /* also in double precision, where the truth is computed */
    for (int i = 0; i < 10; i++) huge = two(c, SN_OP_MUL, huge, number(c, 3e38, x));
    return two(c, SN_OP_ADD, x, kind == INFINITE ? huge : two(c, SN_OP_SUB, huge, huge));
}

/* Whole blocks and a rest; kept for the next row's time or stored at once, or too long for that; with another sum in the same
 * loop, whose elements know nothing of the maximum. */
static void long_rows_are_walked_once(void **state) {
    (void)state;
    static const char *const shape[] = {"B, 66001", "B, 270001"};
    for (int kind = 0; kind < UNEVEN_KINDS; kind++)
        for (int all = 0; all < 2; all++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, SN_F32, "B, 20480"), *z = uneven(c, x, kind);
            Value *top = reduce(c, SN_OP_REDUCE_MAX, z, 1);
            Value *e = one(c, SN_OP_EXP, two(c, SN_OP_SUB, z, spread(c, top, z)));
            Value *sum = reduce(c, SN_OP_REDUCE_SUM, e, 1);
            result(c, two(c, SN_OP_DIV, e, spread(c, sum, x)));
            Value *more = reduce(c, SN_OP_REDUCE_SUM, two(c, SN_OP_MUL, x, x), 1);
            /* Of infinity the sum is no number, but most exponentials are zero. */
            Value *some = cast(c, two(c, SN_OP_LESS, sum, number(c, 0, sum)), SN_F32);
            if (all) result(c, two(c, SN_OP_SUB, e, spread(c, some, x)));
            if (all) result(c, two(c, SN_OP_ADD, two(c, SN_OP_ADD, top, one(c, SN_OP_LOG, sum)), more));
            c->scale = kind ? 1 : 12;
            c->tolerance = 2e-5;
            check_text(c, all ? "float level;" : "over_before = over;", true, ROWS, rows);
        }
    for (int i = 0; i < 2; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, shape[i]), *y = param(c, SN_BF16, shape[i]);
        result(c, softmax(c, two(c, SN_OP_MUL, x, cast(c, y, SN_F32)), 1));
        c->scale = 2;
        check_text(c, i == 0 ? "float r0[66001]" : "float level;", true, 2, rows);
    }
    Case *c = begin_case(SN_CLUSTER_REDUCE); /* what is kept is also of something else */
    Value *x = param(c, SN_F32, "B, 20480"), *y = one(c, SN_OP_TANH, x);
    result(c, softmax(c, y, 1));
    check_text(c, "float level;", false, ROWS, rows);
}

/* Where streams are fetched, also rows of which the first cache does not hold three, but none of a few vectors. */
static void rows_longer_than_the_first_cache_are_walked_once(void **state) {
    (void)state;
    static const struct {
        const char *shape;
        int fetch, l1;
        bool once;
    } kinds[] = {{"B, 5001", 2048, 3 * 4 * 5001 - 1, true},
                 {"B, 5001", 2048, 3 * 4 * 5001, false},
                 {"B, 5001", 0, 3 * 4 * 5001 - 1, false},
                 {"B, 4095", 2048, 3 * 4 * 4095 - 1, false}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int logarithm = 0; logarithm < 2; logarithm++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, SN_F32, kinds[i].shape);
            result(c, (logarithm ? log_softmax : softmax)(c, x, 1));
            c->target.fetch_bytes = kinds[i].fetch;
            c->target.l1_bytes = kinds[i].l1;
            c->scale = 12;
            c->tolerance = 2e-5;
            const Kernel *kernel = generate(c);
            assert_true(mentions(kernel, "over_before = over;") == kinds[i].once);
            assert_true(
                mentions(kernel, "sn_edge_f32_p(&edge")); /* lines that rows share, also of long ones */
            check_kernel(c, kernel, ROWS, rows);
        }
}

/* What of a long row is stored later is brought from the second-level cache. */
static void long_rows_are_brought_near(void **state) {
    (void)state;
    for (int fetches = 0; fetches < 2; fetches++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        if (fetches) c->target.fetch_bytes = 2048;
        c->tolerance = 2e-5;
        result(c, softmax(c, param(c, SN_F32, "B, 20480"), 1));
        check_text(c, "i1), 512);", fetches, ROWS, rows);
        c = begin_case(SN_CLUSTER_REDUCE);
        if (fetches) c->target.fetch_bytes = 2048;
        result(c, log_softmax(c, param(c, SN_F32, "B, 20480"), 1));
        c->tolerance = 2e-5;
        const Kernel *kernel = generate(c);
        assert_true(mentions(kernel, "over_before = over;"));
        assert_int_equal(count_of(kernel, ", 512);"),
                         fetches ? 8 : 0); /* 5 of this row, 3 of the one before */
        check_kernel(c, kernel, ROWS, rows);
    }
}

/* Where streams are fetched, rows that the second-level cache does not hold are read in halves side by side, and fetched again by the
 * loop that stores; nothing of a row is asked for that its loops come to much later. */
static void rows_longer_than_the_second_cache_are_walked_in_halves(void **state) {
    (void)state;
    enum { LENGTH = 270001, WITHIN = 1, NOT_FETCHED = 2 };
    for (int kind = RISING; kind < UNEVEN_KINDS; kind++)
        for (int other = 0; other <= (kind ? 0 : NOT_FETCHED); other++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            result(c, softmax(c, uneven(c, param(c, SN_F32, "B, 270001"), kind), 1));
            c->target.fetch_bytes = other == NOT_FETCHED ? 0 : 2048;
            c->target.l2_bytes = 4 * LENGTH - (other != WITHIN);
            c->scale = kind ? 1 : 12;
            c->tolerance = 2e-5;
            const Kernel *kernel = generate(c);
            assert_true(mentions(kernel, "float level;"));
            assert_true(mentions(kernel, "i1 += half - 2 * SN_LANES;") == !other);
            if (kind == RISING) /* of what the first loop loads, and with it the last one */
                assert_int_equal(count_of(kernel, ", far);"), other == NOT_FETCHED ? 0 : other ? 5 : 7);
            assert_false(mentions(kernel, "ahead0"));
            check_kernel(c, kernel, 2, rows);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maxima_are_found_one_row_sooner),
        cmocka_unit_test(maxima_are_found_beside_fetched_rows),
        cmocka_unit_test(long_rows_are_walked_once),
        cmocka_unit_test(rows_longer_than_the_first_cache_are_walked_once),
        cmocka_unit_test(long_rows_are_brought_near),
        cmocka_unit_test(rows_longer_than_the_second_cache_are_walked_in_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Generated C for long rows of three loops that are stored four by turns, one or several rows after they were computed. */
#include "codegen_fixture.h"

static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 2, 64, 1, 1000, 37, 133};
enum { SIZES = 6, ROW = 4 * 320, THREE = 5 * ROW, NINE = 2 * 11 * ROW }; /* rows with gain and bias */

static Value *centred(Case *c, Value *x) {
    Value *middle = two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MIN, x, 2), x));
    Value *most = reduce(c, SN_OP_REDUCE_MAX, one(c, SN_OP_ABS, middle), 2);
    return two(c, SN_OP_SUB, middle, spread(c, most, x));
}

/* Rows of `shape`, with gain and bias where these are wanted. */
static Case *rows_of(const char *shape, bool common, DType stored) {
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *y = centred(c, param(c, SN_F32, shape));
    if (common) {
        y = two(c, SN_OP_MUL, y, expand(c, param(c, SN_F32, shape + 6), shape));
        y = two(c, SN_OP_ADD, y, expand(c, param(c, SN_F32, shape + 6), shape));
    }
    result(c, stored == SN_F32 ? y : cast(c, y, stored));
    c->target.fetch_bytes = 2048;
    c->target.l1_bytes = THREE - 1;
    c->target.l2_bytes = 1 << 20;
    return c;
}

/* Where three rows and what they have in common are more than the first-level cache, and nine less than half of the second. */
static void four_rows_take_turns(void **state) {
    (void)state;
    static const struct {
        int fetch, l1, l2;
        bool turns;
    } targets[] = {{2048, THREE - 1, NINE, true},
                   {2048, THREE, NINE, false},
                   {2048, THREE - 1, NINE - 1, false},
                   {0, THREE - 1, NINE, false}};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        Case *c = rows_of("B, T, 320", true, SN_F32);
        c->target.fetch_bytes = targets[i].fetch;
        c->target.l1_bytes = targets[i].l1;
        c->target.l2_bytes = targets[i].l2;
        check_text(c, "waiting == 4", targets[i].turns, SIZES, sizes);
    }
}

/* Rows that begin in different places of a line, have nothing in common, or are half as long when they are stored do not. */
static void others_are_stored_one_by_one(void **state) {
    (void)state;
    check_text(rows_of("B, T, 340", true, SN_F32), "waiting", false, SIZES, sizes);
    check_text(rows_of("B, T, 640", false, SN_F32), "waiting", false, SIZES, sizes);
    check_text(rows_of("B, T, 320", true, SN_BF16), "waiting", false, SIZES, sizes);
}

/* Two results of a row; a row that is widened, and of vectors that do not come in fours. */
static void rows_of_two_results_take_turns(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        const char *shape = i ? "B, T, 336" : "B, T, 320";
        Value *y = centred(c, cast(c, param(c, i ? SN_BF16 : SN_F32, shape), SN_F32));
        Value *gain = expand(c, param(c, SN_F32, shape + 6), shape);
        result(c, two(c, SN_OP_MUL, y, gain));
        result(c, two(c, SN_OP_ADD, y, gain));
        c->target.fetch_bytes = 2048;
        c->target.l1_bytes = 2 * ROW;
        check_text(c, "waiting == 4", true, SIZES, sizes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_rows_take_turns),
        cmocka_unit_test(others_are_stored_one_by_one),
        cmocka_unit_test(rows_of_two_results_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

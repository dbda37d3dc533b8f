/* Generated C for norms of 16-bit floats that several loops go over at once: what their rows have in common is widened once, and what
 * the first-level cache holds is not asked for. */
#include "codegen_fixture.h"

static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 2, 64, 1, 1000, 37, 133};
enum { SIZES = 6, LENGTH = 300, ROWS = 3 * 2 * LENGTH, ALL = ROWS + 2 * 4 * LENGTH };

static Case *norm_of(const char *shape, DType row, DType gain, DType bias) {
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = cast(c, param(c, row, shape), SN_F32);
    Value *y = two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MIN, x, 2), x));
    Value *most = reduce(c, SN_OP_REDUCE_MAX, one(c, SN_OP_ABS, y), 2);
    y = two(c, SN_OP_DIV, y, spread(c, most, x));
    y = two(c, SN_OP_MUL, y, expand(c, cast(c, param(c, gain, shape + 6), SN_F32), shape));
    y = two(c, SN_OP_ADD, y, expand(c, cast(c, param(c, bias, shape + 6), SN_F32), shape));
    result(c, cast(c, y, row));
    c->target.fetch_bytes = 2048;
    c->target.l1_bytes = 32768;
    return c;
}

static void common_vectors_are_widened_once(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 300", "B, T, 64", "B, T, 68", "B, T, 13"};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        check_text(norm_of(shape[i], SN_BF16, SN_BF16, SN_F16), "float g", true, SIZES, sizes);
    check_text(norm_of(shape[0], SN_BF16, SN_F32, SN_F32), "float g", false, SIZES, sizes);
    for (int less = 0; less < 2; less++) {
        Case *c = norm_of(shape[0], SN_BF16, SN_F16, SN_BF16);
        c->target.l1_bytes = 2 * ALL - less;
        check_text(c, "float g", !less, SIZES, sizes);
    }
}

/* A row that the first-level cache has not is brought near again. */
static void near_rows_are_not_asked_for(void **state) {
    (void)state;
    for (int less = 0; less < 2; less++) {
        Case *c = norm_of("B, T, 300", SN_BF16, SN_BF16, SN_BF16);
        c->target.l1_bytes = ROWS + 2 * 2 * LENGTH - less;
        check_text(c, "SN_AHEAD(b", less, SIZES, sizes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_vectors_are_widened_once),
        cmocka_unit_test(near_rows_are_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Generated C for reductions that memory bounds: rows in halves, columns by rows or several vectors side by side. */
#include "codegen_fixture.h"

static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 2, 64, 1, 1000, 37, 133};
enum { SIZES = 6 };

/* Where streams are fetched, rows that are only read are so in halves, side by side, of one type or another, also in pieces; rows
 * that two loops go over are not. */
static void rows_in_halves(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 37", "B, T, 300", "B, T, 1000", "B, T"};
    static const int64_t few[] = {1, 1, 2, 133, 3, 300001};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int fetches = 0; fetches < 2; fetches++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, SN_F32, shape[i]), *y = param(c, SN_BF16, shape[i]);
            int axis = i < 3 ? 2 : 1;
            result(c, reduce(c, SN_OP_REDUCE_SUM, two(c, SN_OP_SUB, x, cast(c, y, SN_F32)), axis));
            result(c, reduce(c, SN_OP_REDUCE_MAX, x, axis));
            if (fetches) c->target.fetch_bytes = 2048;
            c->target.l2_bytes = 1 << 10;
            c->tolerance = 2e-5;
            check_text(c, "half - far / 4", fetches, i < 3 ? SIZES : 3, i < 3 ? sizes : few);
        }
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = param(c, SN_F32, "B, T, 300");
    result(c, two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MAX, x, 2), x)));
    c->target.fetch_bytes = 2048;
    check_text(c, "half - far / 4", false, SIZES, sizes);
}

/* Lanes are columns: one vector, several at a time, and less than one. */
static void columns_in_pieces(void **state) {
    (void)state;
    static const char *const width[] = {"T, 16", "T, 37", "T, 300"};
    static const int64_t rows[] = {1, 5, 700, 20001};
    for (size_t i = 0; i < sizeof width / sizeof *width; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, width[i]), *bias = param(c, SN_F32, strchr(width[i], ' ') + 1);
        Value *shifted = two(c, SN_OP_ADD, x, expand(c, bias, width[i]));
        result(c, reduce(c, SN_OP_REDUCE_SUM, shifted, 0));
        result(c, one(c, SN_OP_ABS, reduce(c, SN_OP_REDUCE_MAX, x, 0)));
        c->tolerance = 2e-5;
        check_text(c, "nest1(", true, sizeof rows / sizeof *rows, rows);
    }
}

/* Where streams are fetched, columns are reduced in memory by rows that follow each other, two at a time (three where the
 * first-level cache does not hold the sums), and their ends fetch the next ones' beginnings: in one band or in several, as the
 * second-level cache has room. */
static void columns_by_rows(void **state) {
    (void)state;
    static const char *const width[] = {"T, 16", "T, 37", "T, 300", "T, 475"};
    static const int64_t rows[] = {1, 2, 5, 700, 20001}, l2[] = {1 << 11, 1 << 13, 1 << 16};
    for (size_t i = 0; i < sizeof width / sizeof *width; i++)
        for (size_t k = 0; k < sizeof l2 / sizeof *l2; k++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, SN_F32, width[i]), *y = param(c, SN_BF16, width[i]),
                  *bias = param(c, SN_F32, strchr(width[i], ' ') + 1);
            Value *shifted = two(c, SN_OP_ADD, x, expand(c, bias, width[i]));
            result(c, reduce(c, SN_OP_REDUCE_SUM, shifted, 0));
            result(c, one(c, SN_OP_ABS, reduce(c, SN_OP_REDUCE_MAX, cast(c, y, SN_F32), 0)));
            result(c, reduce(c, SN_OP_REDUCE_MIN, x, 0));
            c->target.fetch_bytes = 2048;
            c->target.l1_bytes = 1 << 12;
            c->target.l2_bytes = l2[k];
            c->tolerance = 2e-5;
            bool far = i == 3 && k == 2; /* three sums of 475 columns */
            check_text(c, far ? "ends ? far + (3 * " : "ends ? far + (2 * ", true, sizeof rows / sizeof *rows,
                       rows);
        }
}

/* What is read of a row has to lie together, and what has to be done for each row anew must not be dear. */
static void columns_by_themselves(void **state) {
    (void)state;
    for (int form = 0; form < 4; form++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        const char *shape = form == 1 ? "B, T, 300" : "T, 300";
        Value *x = param(c, SN_F32, shape), *gain = param(c, SN_F32, "300");
        if (form == 2) gain = one(c, SN_OP_EXP, gain);
        if (form >= 2) x = two(c, SN_OP_MUL, x, expand(c, gain, shape));
        result(c, reduce(c, SN_OP_REDUCE_SUM, x, form == 1));
        c->target.fetch_bytes = form == 0 ? 0 : 2048;
        c->target.l2_bytes = 1 << 14;
        c->tolerance = 2e-5;
        check_text(c, "sum0[u] = ", form % 2 == 1, form == 1 ? SIZES : SIZES * 2, sizes);
    }
}

/* One sum of columns: by sixteen vectors where there are registers for them, by eight, one and less; several, or with more to
 * do, by eight at most. */
static void columns_by_sixteen_vectors(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 5, 700};
    for (int more = 0; more < 2; more++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, "T, 475"), *y = param(c, SN_F32, "T, 475");
        result(c, reduce(c, SN_OP_REDUCE_SUM, two(c, SN_OP_SUB, x, y), 0));
        if (more) result(c, reduce(c, SN_OP_REDUCE_MAX, x, 0));
        c->tolerance = 2e-5;
        check_text(c, "16 * SN_LANES <= last", !more && c->target.vector_registers >= 32,
                   sizeof rows / sizeof *rows, rows);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_in_halves),
        cmocka_unit_test(columns_in_pieces),
        cmocka_unit_test(columns_by_rows),
        cmocka_unit_test(columns_by_themselves),
        cmocka_unit_test(columns_by_sixteen_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

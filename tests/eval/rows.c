/* The interpreter: operators along an axis. */
#include "eval_fixture.h"

static void reductions(void **state) {
    Arena *arena = *state;
    const Array *x = F("2 3", 1, 2, 3, 4, 5, -6), *empty = F("2 0", 0);
    AttrReduce rows = {1, (int64_t[]){1}}, columns = {1, (int64_t[]){0}}, all = {2, (int64_t[]){0, 1}};
    expect(arena, SN_OP_REDUCE_SUM, &rows, F("2 1", 6, 3), x, NULL, NULL);
    expect(arena, SN_OP_REDUCE_SUM, &columns, F("1 3", 5, 7, -3), x, NULL, NULL);
    expect(arena, SN_OP_REDUCE_SUM, &rows, F("2 1", 0, 0), empty, NULL, NULL);
    expect(arena, SN_OP_REDUCE_PROD, &all, F("1 1", -720), x, NULL, NULL);
    expect(arena, SN_OP_REDUCE_MAX, &rows, F("2 1", 3, 5), x, NULL, NULL);
    expect(arena, SN_OP_REDUCE_MAX, &rows, F("2 1", -INFINITY, -INFINITY), empty, NULL, NULL);
    expect(arena, SN_OP_REDUCE_MIN, &columns, F("1 3", 1, 2, -6), x, NULL, NULL);
    expect(arena, SN_OP_REDUCE_MIN, &rows, F("1 1", NAN), F("1 3", 1, NAN, -1), NULL, NULL);
    expect(arena, SN_OP_REDUCE_MEAN, &rows, F("2 1", 2, 1), x, NULL, NULL);
    expect(arena, SN_OP_REDUCE_MEAN, &rows, I("1 1", -1), I("1 3", -1, -2, -2), NULL, NULL);
    expect_fault(arena, SN_OP_REDUCE_MEAN, &rows, I("1 0", 0), NULL);
    expect(arena, SN_OP_REDUCE_MAX, &rows, ARRAY(SN_I8, "1 1", -128), ARRAY(SN_I8, "1 0", 0), NULL, NULL);
    expect(arena, SN_OP_REDUCE_SUM, &rows, ARRAY(SN_U8, "1 1", 44), ARRAY(SN_U8, "1 2", 200, 100), NULL,
           NULL);
}

static void scans(void **state) {
    Arena *arena = *state;
    const Array *x = I("2 3", 1, 2, 3, 4, 5, 6);
    expect(arena, SN_OP_CUMSUM, &(AttrScan){1, false, false}, I("2 3", 1, 3, 6, 4, 9, 15), x, NULL, NULL);
    expect(arena, SN_OP_CUMSUM, &(AttrScan){0, false, false}, I("2 3", 1, 2, 3, 5, 7, 9), x, NULL, NULL);
    expect(arena, SN_OP_CUMSUM, &(AttrScan){1, true, false}, I("2 3", 0, 1, 3, 0, 4, 9), x, NULL, NULL);
    expect(arena, SN_OP_CUMSUM, &(AttrScan){1, false, true}, I("2 3", 6, 5, 3, 15, 11, 6), x, NULL, NULL);
    expect(arena, SN_OP_CUMSUM, &(AttrScan){1, true, true}, F("1 3", 5, 3, 0), F("1 3", 1, 2, 3), NULL, NULL);
}

static void softmaxes(void **state) {
    Arena *arena = *state;
    const Array *x = F("2 3", 1, 2, 4, 0, 0, -1);
    expect(arena, SN_OP_SOFTMAX, &(AttrAxis){1},
           F("2 3", 0.042010066134, 0.114195199385, 0.843794734481, 0.422318798252, 0.422318798252,
             0.155362403497),
           x, NULL, NULL);
    expect(arena, SN_OP_SOFTMAX, &(AttrAxis){0},
           F("2 3", 0.73105857863, 0.880797077978, 0.993307149076, 0.26894142137, 0.119202922022,
             0.006692850924),
           x, NULL, NULL);
    expect(arena, SN_OP_LOG_SOFTMAX, &(AttrAxis){1},
           F("2 3", -3.169846019556, -2.169846019556, -0.169846019556, -0.861994804058, -0.861994804058,
             -1.861994804058),
           x, NULL, NULL);
    expect(arena, SN_OP_SOFTMAX, &(AttrAxis){0}, F("3", 0.5, 0.5, 0), F("3", 1000, 1000, -INFINITY), NULL,
           NULL);
    expect(arena, SN_OP_SOFTMAX, &(AttrAxis){0}, F("2", NAN, NAN), F("2", -INFINITY, -INFINITY), NULL, NULL);
}

static void losses(void **state) {
    Arena *arena = *state;
    const Array *x = F("2 3", 1, 2, 4, 0.5, 0.5, -0.5), *label = I("2", 2, 1), *weight = F("3", 1, 2, 0.5);
    expect(arena, SN_OP_CROSS_ENTROPY, &(AttrCrossEntropy){0},
           F("2", 0.16984601955628567, 0.8619948040582511), x, label, NULL);
    expect(arena, SN_OP_CROSS_ENTROPY, &(AttrCrossEntropy){true, 1, 0.2}, F("2", 0.5742358123856476, 0), x,
           label, weight);
    expect_fault(arena, SN_OP_CROSS_ENTROPY, &(AttrCrossEntropy){0}, x, I("2", 2, -1));
    expect_fault(arena, SN_OP_CROSS_ENTROPY, &(AttrCrossEntropy){0}, x, I("2", 2, 3));
}

static void norms(void **state) {
    Arena *arena = *state;
    const Array *x = F("2 3", 1, 2, 4, 0, 0, -1), *scale = F("3", 1, 2, -1), *bias = F("3", 0, 0.5, 1);
    expect(arena, SN_OP_LAYER_NORM, &(AttrNorm){1, 1e-5},
           F("2 3", -1.06904153145, -0.034520765725, -0.336301914313, 0.707090871821, 1.914181743642,
             2.414181743642),
           x, scale, bias);
    expect(arena, SN_OP_RMS_NORM, &(AttrNorm){1, 1e-5},
           F("2 3", 0.377964203035, 1.51185681214, -1.51185681214, 0, 0, 1.732024827391), x, scale, NULL);
}

int test_rows(void) {
    const struct CMUnitTest tests[] = {
        TEST(reductions), TEST(scans), TEST(softmaxes), TEST(losses), TEST(norms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The interpreter: operators that work element by element. */
#include "eval_fixture.h"

static void float_functions(void **state) {
    Arena *arena = *state;
    const Array *x = F("5", -2, -0.5, 0, 0.5, 2), *p = F("4", 0.5, 1, 2, 10);
    expect(arena, SN_OP_NEG, NULL, F("5", 2, 0.5, 0, -0.5, -2), x, NULL, NULL);
    expect(arena, SN_OP_ABS, NULL, F("5", 2, 0.5, 0, 0.5, 2), x, NULL, NULL);
    expect(arena, SN_OP_SIGN, NULL, F("5", -1, -1, 0, 1, 1), x, NULL, NULL);
    expect(arena, SN_OP_FLOOR, NULL, F("5", -2, -1, 0, 0, 2), x, NULL, NULL);
    expect(arena, SN_OP_CEIL, NULL, F("5", -2, 0, 0, 1, 2), x, NULL, NULL);
    expect(arena, SN_OP_ROUND, NULL, F("6", 0, 2, 2, -0.0, -2, 3), F("6", 0.5, 1.5, 2.5, -0.5, -1.5, 2.51),
           NULL, NULL);
    expect(arena, SN_OP_SQRT, NULL, F("3", 0, 1.5, NAN), F("3", 0, 2.25, -1), NULL, NULL);
    expect(arena, SN_OP_RSQRT, NULL, F("3", INFINITY, 0.5, NAN), F("3", 0, 4, -1), NULL, NULL);
    expect(arena, SN_OP_RECIPROCAL, NULL, F("3", INFINITY, 0.25, -2), F("3", 0, 4, -0.5), NULL, NULL);
    expect(arena, SN_OP_EXP, NULL, F("5", 0.135335283237, 0.606530659713, 1, 1.6487212707, 7.389056098931), x,
           NULL, NULL);
    expect(arena, SN_OP_LOG, NULL, F("4", -0.69314718056, 0, 0.69314718056, 2.302585092994), p, NULL, NULL);
    expect(arena, SN_OP_SIN, NULL,
           F("5", -0.909297426826, -0.479425538604, 0, 0.479425538604, 0.909297426826), x, NULL, NULL);
    expect(arena, SN_OP_COS, NULL, F("5", -0.416146836547, 0.87758256189, 1, 0.87758256189, -0.416146836547),
           x, NULL, NULL);
    const Array *h = F("2", -0.5, 0.25);
    expect(arena, SN_OP_TAN, NULL, F("2", -0.5463024898438, 0.255341921221), h, NULL, NULL);
    expect(arena, SN_OP_SINH, NULL, F("2", -0.5210953054937, 0.2526123168082), h, NULL, NULL);
    expect(arena, SN_OP_COSH, NULL, F("2", 1.127625965206, 1.03141309988), h, NULL, NULL);
    expect(arena, SN_OP_ASIN, NULL, F("2", -0.5235987755983, 0.2526802551421), h, NULL, NULL);
    expect(arena, SN_OP_ACOS, NULL, F("2", 2.094395102393, 1.318116071653), h, NULL, NULL);
    expect(arena, SN_OP_ATAN, NULL, F("2", -0.4636476090008, 0.2449786631269), h, NULL, NULL);
    expect(arena, SN_OP_ASINH, NULL, F("2", -0.4812118250596, 0.2474664615473), h, NULL, NULL);
    expect(arena, SN_OP_ATANH, NULL, F("2", -0.5493061443341, 0.255412811883), h, NULL, NULL);
    expect(arena, SN_OP_ACOSH, NULL, F("3", 0, 1.566799236972, NAN), F("3", 1, 2.5, 0.5), NULL, NULL);
    expect(arena, SN_OP_TANH, NULL, F("5", -0.964027580076, -0.46211715726, 0, 0.46211715726, 0.964027580076),
           x, NULL, NULL);
    expect(arena, SN_OP_ERF, NULL,
           F("5", -0.995322265019, -0.520499877813, 0, 0.520499877813, 0.995322265019), x, NULL, NULL);
    expect(arena, SN_OP_SIGMOID, NULL,
           F("5", 0.119202922022, 0.377540668798, 0.5, 0.622459331202, 0.880797077978), x, NULL, NULL);
    expect(arena, SN_OP_SIGMOID, NULL, F("2", 0, 1), F("2", -1000, 1000), NULL, NULL);
    expect(arena, SN_OP_ISNAN, NULL, B("3", 0, 1, 0), F("3", 1, NAN, INFINITY), NULL, NULL);
    expect(arena, SN_OP_ISINF, NULL, B("4", 0, 0, 1, 1), F("4", 1, NAN, INFINITY, -INFINITY), NULL, NULL);
    expect(arena, SN_OP_RELU, NULL, F("3", 0, 2, NAN), F("3", -1, 2, NAN), NULL, NULL);
    expect(arena, SN_OP_GELU, &(AttrGelu){false},
           F("5", -0.045500263896, -0.154268769363, 0, 0.345731230637, 1.954499736104), x, NULL, NULL);
    expect(arena, SN_OP_GELU, &(AttrGelu){true},
           F("5", -0.045402305912, -0.154285990175, 0, 0.345714009825, 1.954597694088), x, NULL, NULL);
    expect(arena, SN_OP_SILU, &(AttrAlpha){1.7},
           F("5", -0.064590929397, -0.149716428763, 0, 0.350283571237, 1.935409070603), x, NULL, NULL);
    expect(arena, SN_OP_SOFTPLUS, NULL,
           F("5", 0.126928011043, 0.47407698418, 0.69314718056, 0.97407698418, 2.126928011043), x, NULL,
           NULL);
    expect(arena, SN_OP_SOFTPLUS, NULL, F("2", 0, 1000), F("2", -1000, 1000), NULL, NULL);
}

static void float_arithmetic_broadcasts(void **state) {
    Arena *arena = *state;
    const Array *column = F("2 1", 1, -2), *row = F("3", 3, 0.5, -4);
    expect(arena, SN_OP_ADD, NULL, F("2 3", 4, 1.5, -3, 1, -1.5, -6), column, row, NULL);
    expect(arena, SN_OP_SUB, NULL, F("2 3", -2, 0.5, 5, -5, -2.5, 2), column, row, NULL);
    expect(arena, SN_OP_MUL, NULL, F("2 3", 3, 0.5, -4, -6, -1, 8), column, row, NULL);
    expect(arena, SN_OP_DIV, NULL, F("2 3", 1. / 3, 2, -0.25, -2. / 3, -4, 0.5), column, row, NULL);
    expect(arena, SN_OP_POW, NULL, F("2", 9, 0.5), F("2", -3, 4), F("2", 2, -0.5), NULL);
    expect(arena, SN_OP_FMOD, NULL, F("2", 1, -1), F("2", 7, -7), F("2", -3, 3), NULL);
    expect(arena, SN_OP_MIN, NULL, F("3", 1, NAN, NAN), F("3", 1, NAN, 1), F("3", 2, 1, NAN), NULL);
    expect(arena, SN_OP_MAX, NULL, F("3", 2, NAN, NAN), F("3", 1, NAN, 1), F("3", 2, 1, NAN), NULL);
    expect(arena, SN_OP_EQUAL, NULL, B("3", 1, 0, 0), F("3", 1, 1, NAN), F("3", 1, 2, NAN), NULL);
    expect(arena, SN_OP_LESS, NULL, B("3", 0, 1, 0), F("3", 1, 1, NAN), F("3", 1, 2, NAN), NULL);
    expect(arena, SN_OP_LESS_EQUAL, NULL, B("3", 1, 0, 0), F("3", 1, 3, NAN), F("3", 1, 2, NAN), NULL);
    expect(arena, SN_OP_WHERE, NULL, F("2 2", 1, 20, 1, 40), B("2", 1, 0), F("", 1),
           F("2 2", 10, 20, 30, 40));
    expect(arena, SN_OP_ADD, NULL, F("0 3", 0), F("0 1", 0), row, NULL);
}

static void integer_arithmetic(void **state) {
    Arena *arena = *state;
    const Array *a = I("4", 7, -7, 7, -7), *b = I("4", 3, 3, -3, -3);
    expect(arena, SN_OP_DIV, NULL, I("4", 2, -2, -2, 2), a, b, NULL);
    expect(arena, SN_OP_MOD, NULL, I("4", 1, 2, -2, -1), a, b, NULL);
    expect(arena, SN_OP_FMOD, NULL, I("4", 1, -1, 1, -1), a, b, NULL);
    expect(arena, SN_OP_POW, NULL, I("5", 8, 1, 0, -1, 1), I("5", 2, 5, 5, -1, 1), I("5", 3, 0, -1, -3, -9),
           NULL);
    expect(arena, SN_OP_MIN, NULL, I("4", 3, -7, -3, -7), a, b, NULL);
    expect(arena, SN_OP_MAX, NULL, I("4", 7, 3, 7, -3), a, b, NULL);
    expect(arena, SN_OP_SIGN, NULL, I("3", -1, 0, 1), I("3", -5, 0, 5), NULL, NULL);
    expect(arena, SN_OP_RELU, NULL, I("3", 0, 0, 5), I("3", -5, 0, 5), NULL, NULL);
    expect(arena, SN_OP_NOT, NULL, B("2", 1, 0), B("2", 0, 1), NULL, NULL);
    expect(arena, SN_OP_BIT_NOT, NULL, I("3", -1, 0, -6), I("3", 0, -1, 5), NULL, NULL);
    expect(arena, SN_OP_BIT_AND, NULL, I("2", 8, 5), I("2", 12, -1), I("2", 10, 5), NULL);
    expect(arena, SN_OP_BIT_OR, NULL, I("2", 14, -1), I("2", 12, -1), I("2", 10, 5), NULL);
    expect(arena, SN_OP_BIT_XOR, NULL, I("2", 6, -6), I("2", 12, -1), I("2", 10, 5), NULL);
    const Array *p = B("4", 0, 0, 1, 1), *q = B("4", 0, 1, 0, 1);
    expect(arena, SN_OP_AND, NULL, B("4", 0, 0, 0, 1), p, q, NULL);
    expect(arena, SN_OP_OR, NULL, B("4", 0, 1, 1, 1), p, q, NULL);
    expect(arena, SN_OP_XOR, NULL, B("4", 0, 1, 1, 0), p, q, NULL);
}

static void integers_wrap_to_their_dtype(void **state) {
    Arena *arena = *state;
    expect(arena, SN_OP_ADD, NULL, ARRAY(SN_I8, "1", -128), ARRAY(SN_I8, "1", 127), ARRAY(SN_I8, "1", 1),
           NULL);
    expect(arena, SN_OP_SUB, NULL, ARRAY(SN_U8, "1", 255), ARRAY(SN_U8, "1", 0), ARRAY(SN_U8, "1", 1), NULL);
    expect(arena, SN_OP_MUL, NULL, ARRAY(SN_I32, "1", 0), ARRAY(SN_I32, "1", 65536),
           ARRAY(SN_I32, "1", 65536), NULL);
    expect(arena, SN_OP_ABS, NULL, ARRAY(SN_I16, "1", -32768), ARRAY(SN_I16, "1", -32768), NULL, NULL);
    expect(arena, SN_OP_NEG, NULL, ARRAY(SN_I8, "2", -128, 1), ARRAY(SN_I8, "2", -128, -1), NULL, NULL);

    /* The upper half of u64, which as an i64 would be negative. */
    Array *big = sn_array_new(arena, SN_U64, 1, (int64_t[]){1}),
          *half = sn_array_new(arena, SN_U64, 1, big->extent);
    big->i[0] = -2; /* 2^64 - 2 */
    half->i[0] = INT64_MAX;
    const Array *two = ARRAY(SN_U64, "1", 2);
    expect(arena, SN_OP_DIV, NULL, half, big, two, NULL);
    expect(arena, SN_OP_MAX, NULL, big, big, two, NULL);
    expect(arena, SN_OP_LESS, NULL, B("1", 1), two, big, NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_F64}, F("1", 0x1p64), big, NULL, NULL);
}

static void division_by_zero_faults(void **state) {
    Arena *arena = *state;
    OpCode ops[] = {SN_OP_DIV, SN_OP_MOD, SN_OP_FMOD};
    for (int k = 0; k < 3; k++) {
        expect_fault(arena, ops[k], NULL, I("2", 1, 1), I("2", 1, 0));
        expect_fault(arena, ops[k], NULL, ARRAY(SN_I32, "1", INT32_MIN), ARRAY(SN_I32, "1", -1));
    }
    expect_fault(arena, SN_OP_POW, NULL, I("1", 0), I("1", -1));
}

static void bits_are_those_of_what_is_rounded(void **state) {
    Arena *arena = *state;
    expect(arena, SN_OP_BITCAST, &(AttrCast){.to = SN_U32}, ARRAY(SN_U32, "3", 0x3f800000, 0xc0000000, 0),
           ARRAY(SN_F32, "3", 1, -2, 0), NULL, NULL);
    expect(arena, SN_OP_BITCAST, &(AttrCast){.to = SN_F32}, ARRAY(SN_F32, "2", 1, -2),
           ARRAY(SN_U32, "2", 0x3f800000, 0xc0000000), NULL, NULL);
    expect(arena, SN_OP_BITCAST, &(AttrCast){.to = SN_U16}, ARRAY(SN_U16, "2", 0x3c00, 0xfc00),
           ARRAY(SN_F16, "2", 1 + 0x1p-20, -1e9), NULL, NULL);
    expect(arena, SN_OP_BITCAST, &(AttrCast){.to = SN_BF16}, ARRAY(SN_BF16, "1", 1.5),
           ARRAY(SN_U16, "1", 0x3fc0), NULL, NULL);
    expect(arena, SN_OP_BITCAST, &(AttrCast){.to = SN_F64}, ARRAY(SN_F64, "1", 2),
           ARRAY(SN_U64, "1", 0x4000000000000000), NULL, NULL);
}

static void casts(void **state) {
    Arena *arena = *state;
    const Array *x = F("5", -2.7, -0.5, 0, 0.5, 300.9);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_I32}, ARRAY(SN_I32, "5", -2, 0, 0, 0, 300), x, NULL, NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_BOOL}, B("5", 1, 1, 0, 1, 1), x, NULL, NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_BOOL}, B("3", 1, 0, 1), I("3", 256, 0, -1), NULL, NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_U8}, ARRAY(SN_U8, "3", 0, 255, 7), I("3", 256, -1, 7),
           NULL, NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_F32}, ARRAY(SN_F32, "2", 0, 1), B("2", 0, 1), NULL, NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_U8}, ARRAY(SN_U8, "2", 0, 255), F("2", -0.9, 255.9), NULL,
           NULL);
    expect_fault(arena, SN_OP_CAST, &(AttrCast){.to = SN_U8}, F("1", 256), NULL);
    expect_fault(arena, SN_OP_CAST, &(AttrCast){.to = SN_U8}, F("1", -1), NULL);
    expect_fault(arena, SN_OP_CAST, &(AttrCast){.to = SN_I64}, F("1", NAN), NULL);
    expect_fault(arena, SN_OP_CAST, &(AttrCast){.to = SN_I64}, F("1", 0x1p63), NULL);
    expect(arena, SN_OP_CAST, &(AttrCast){.to = SN_I64}, I("1", -0x1p63), F("1", -0x1p63), NULL, NULL);
}

static void results_are_rounded_on_demand(void **state) {
    Arena *arena = *state;
    struct {
        DType dtype;
        double third;
    } row[] = {{SN_F16, 0.333251953125}, {SN_BF16, 0.333984375}, {SN_F32, 1.f / 3.f}, {SN_F64, 1. / 3.}};
    for (int k = 0; k < 4; k++) {
        const Array *input[2] = {ARRAY(row[k].dtype, "", 1), ARRAY(row[k].dtype, "", 3)};
        Array *got;
        assert_ok(run(arena, SN_OP_DIV, NULL, true, 2, input, &got));
        assert_true(got->f[0] == row[k].third);
        assert_ok(run(arena, SN_OP_DIV, NULL, false, 2, input, &got));
        assert_true(got->f[0] == 1. / 3.);
    }
}

/* Words were computed by an implementation in Python that gives the generator's published vectors. */
static void random_words_and_dropout(void **state) {
    Arena *arena = *state;
    const Array *index = I("8", 0, 1, 2, 3, 4, 5, 6, 7), *x = F("2 4", 3, 6, -3, 9, 12, 15, 18, 21);
    AttrDropout attr = {.ratio = 0.25, .number = 3};
    expect(arena, SN_OP_RANDOM, &(AttrRandom){3},
           ARRAY(SN_U32, "8", 1056782501, 4093777750, 1384206340, 3367815482, 1384891795, 2655364969,
                 247205162, 918869983),
           I("", 7), I("", 5), index);
    expect(arena, SN_OP_RANDOM, &(AttrRandom){(1 << 20) - 1}, ARRAY(SN_U32, "1", 3446981951), I("1", -3),
           I("1", -1), I("1", -2));
    expect(arena, SN_OP_DROPOUT, &attr, F("2 4", 0, 8, -4, 12, 16, 20, 0, 0), x, I("2", 7, 5), NULL);
    expect(arena, SN_OP_DROPOUT, &attr, x, x, I("2", 7, -1), NULL);
    expect(arena, SN_OP_DROPOUT, &attr, x, x, NULL, NULL);
    attr.always = true;
    Array *got;
    assert_fails(run(arena, SN_OP_DROPOUT, &attr, false, 1, &x, &got), SN_UNSUPPORTED,
                 "outside of a training");
}

int test_pointwise(void) {
    const struct CMUnitTest tests[] = {
        TEST(float_functions),
        TEST(float_arithmetic_broadcasts),
        TEST(integer_arithmetic),
        TEST(integers_wrap_to_their_dtype),
        TEST(bits_are_those_of_what_is_rounded),
        TEST(division_by_zero_faults),
        TEST(casts),
        TEST(results_are_rounded_on_demand),
        TEST(random_words_and_dropout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

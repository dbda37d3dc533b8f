/* ir: shape values by inference. */
#include "infer_fixture.h"

static Value *dims(Fixture *f, const char *text) {
    Dim dim[SN_MAX_RANK];
    int count = dims_of(f, text, dim);
    return sn_build_dims(&f->builder, count, dim, false);
}

static void known_values(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *shape = dims(f, "B, T, 64"), *zero = sn_build_scalar(b, SN_I64, 0),
          *two = sn_build_scalar(b, SN_I64, 2);
    assert_known(f, shape, "B, T, 64");
    assert_known(f, sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, shape, sn_build_scalar(b, SN_I64, -1)), "64");
    assert_known(f, sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, shape, sn_build_scalar(b, SN_I64, 3)), "");
    assert_known(f, sn_build2(b, SN_OP_CONCAT, &(AttrAxis){0}, shape, dims(f, "7")), "B, T, 64, 7");
    assert_known(f, sn_build2(b, SN_OP_MUL, NULL, shape, two), "2*B, 2*T, 128");
    assert_known(f, sn_build2(b, SN_OP_DIV, NULL, sn_build2(b, SN_OP_MUL, NULL, shape, two), two),
                 "B, T, 64");
    assert_known(f, sn_build1(b, SN_OP_REDUCE_PROD, &(AttrReduce){1, (int64_t[]){0}}, shape), "64*B*T");
    assert_known(f, sn_build1(b, SN_OP_CUMSUM, &(AttrScan){0, true, false}, shape), "0, B, B + T");
    assert_known(f, sn_build2(b, SN_OP_LESS, NULL, shape, zero), "0, 0, 0");
    assert_known(f, sn_build2(b, SN_OP_EQUAL, NULL, shape, dims(f, "B + 1, T, 3")), "0, 1, 0");
    assert_known(f, sn_build2(b, SN_OP_EQUAL, NULL, shape, two), "");
    assert_known(f, sn_build2(b, SN_OP_DIV, NULL, shape, zero), "");
    Value *minus = sn_build2(b, SN_OP_EQUAL, NULL, shape, sn_build_scalar(b, SN_I64, -1));
    assert_known(f, sn_build3(b, SN_OP_WHERE, NULL, minus, two, shape), "B, T, 64");
    assert_known(f, sn_build1(b, SN_OP_NOT, NULL, minus), "1, 1, 1");
    Value *slice = sn_build_slice(b, shape, 0, sn_dim(f->dims, 2), sn_dim(f->dims, 2), -1);
    assert_known(f, slice, "64, T");
    Dim wide[2] = {sn_dim(f->dims, 2), sn_dim(f->dims, 2)};
    assert_known(f, sn_build_expand(b, slice, 2, wide), "64, T, 64, T");
    assert_known(f, sn_build1(b, SN_OP_NEG, NULL, slice), "-64, -T");
    assert_known(f, sn_build1(b, SN_OP_ABS, NULL, slice), "64, T");
    assert_known(
        f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_BOOL}, sn_build2(b, SN_OP_ADD, NULL, slice, two)),
        "1, 1");
    const Dim front[1] = {sn_dim(f->dims, 1)}, back[1] = {sn_dim(f->dims, 2)};
    assert_known(f, sn_build1(b, SN_OP_PAD, &(AttrPad){1, front, back, 9}, slice), "9, 64, T, 9, 9");
    AttrIota iota = {SN_I32, sn_dim(f->dims, 3), sn_dim(f->dims, 5), sn_dim(f->dims, -2)};
    assert_known(f, sn_build(b, SN_OP_IOTA, &iota, 0, NULL), "5, 3, 1");
    AttrIota moving = {SN_I64, sn_dim(f->dims, 2), shape->known[1], sn_dim(f->dims, 1)};
    assert_known(f, sn_build(b, SN_OP_IOTA, &moving, 0, NULL), "T, T + 1");
}

static void integers_of_float_constants_are_known(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *x = sn_build_scalar(b, SN_F32, 256), *half = sn_build_scalar(b, SN_F32, 0.5);
    Value *root = sn_build2(b, SN_OP_POW, NULL, x, half);
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I64}, root), "16");
    assert_known(f, sn_build2(b, SN_OP_LESS, NULL, half, sn_build1(b, SN_OP_EXP, NULL, half)), "1");
    Dim eight = sn_dim(f->dims, 8);
    Value *table = sn_build_expand(b, root, 1, &eight);
    Value *sum = sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){1, (int64_t[]){0}}, table);
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I32}, sum), "128");
    Value *turn = sn_build_cast(b, dims(f, "3"), SN_F32), *length = sn_build_cast(b, dims(f, "T"), SN_F32);
    assert_known(f, sn_build2(b, SN_OP_LESS, NULL, turn, x), "1");
    assert_known(f, sn_build2(b, SN_OP_LESS, NULL, sn_build1(b, SN_OP_SQRT, NULL, length), x), "");
}

static void narrow_integers_are_known_when_they_fit(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *shape = dims(f, "B, 300");
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I8}, shape), "");
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I8}, dims(f, "300")), "44");
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_F32}, shape), "");
    assert_int_equal(check_count(f, SN_CHECK_AT_MOST), 0);
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I32}, shape), "B, 300");
    assert_int_equal(check_count(f, SN_CHECK_AT_MOST), 1); /* B <= 2^31 - 1 */
    sn_dims_symbol_at_most(f->dims, shape->known[0], 100);
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I8}, dims(f, "B")), "B");
    assert_known(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_U64}, dims(f, "B - 1")), "");

    /* Sentinels neither overflow nor poison the table. */
    Value *end = sn_build_scalar(b, SN_I64, 0);
    end = sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I64}, dims(f, "9223372036854775807"));
    assert_known(f, sn_build2(b, SN_OP_ADD, NULL, end, end), "-2");
    assert_known(f, sn_build2(b, SN_OP_ADD, NULL, dims(f, "T"), end), "");
    assert_known(f, sn_build2(b, SN_OP_MUL, NULL, dims(f, "T"), end), "");
    assert_false(sn_dims_overflowed(f->dims));
}

/* Whether an extent is -1 is known once a tensor has it. */
static void extents_are_not_negative(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *size = dims(f, "B - 1"), *minus = dims(f, "-1");
    assert_known(f, sn_build2(b, SN_OP_EQUAL, NULL, size, minus), "");
    AttrIota attr = {SN_I64, size->known[0], sn_dim(f->dims, 0), sn_dim(f->dims, 1)};
    assert_non_null(sn_build(b, SN_OP_IOTA, &attr, 0, NULL));
    assert_known(f, sn_build2(b, SN_OP_EQUAL, NULL, size, minus), "0");
    assert_known(f, sn_build2(b, SN_OP_EQUAL, NULL, minus, size), "0");
    assert_known(f, sn_build2(b, SN_OP_EQUAL, NULL, size, dims(f, "0")), "");
}

/* ---- a property ---- */

/* Random programs on shape values: what is known, evaluated, is what the interpreter computes. */
typedef struct Program {
    Fixture *f;
    Value *value[40];
    int count;
    uint64_t *seed;
} Program;

static Value *pick(Program *p, DType dtype) {
    for (;;) {
        Value *value = p->value[draw(p->seed, (uint64_t)p->count)];
        if (value->type.dtype == dtype) return value;
    }
}

static Value *random_pointwise(Program *p) {
    static const OpCode op[] = {SN_OP_ADD, SN_OP_SUB, SN_OP_MUL,  SN_OP_DIV,        SN_OP_MOD,  SN_OP_FMOD,
                                SN_OP_MIN, SN_OP_MAX, SN_OP_LESS, SN_OP_LESS_EQUAL, SN_OP_EQUAL};
    static const OpCode logic[] = {SN_OP_AND, SN_OP_OR, SN_OP_XOR};
    static const OpCode unary[] = {SN_OP_NEG, SN_OP_ABS, SN_OP_SIGN, SN_OP_RELU};
    Builder *b = &p->f->builder;
    switch (draw(p->seed, 6)) {
    case 0:
        return sn_build2(b, logic[draw(p->seed, 3)], NULL, pick(p, SN_BOOL), pick(p, SN_BOOL));
    case 1:
        return sn_build3(b, SN_OP_WHERE, NULL, pick(p, SN_BOOL), pick(p, SN_I64), pick(p, SN_I64));
    case 2:
        return sn_build1(b, unary[draw(p->seed, 4)], NULL, pick(p, SN_I64));
    case 3: {
        DType to = draw(p->seed, 2) ? SN_I32 : SN_BOOL;
        Value *narrow = sn_build1(b, SN_OP_CAST, &(AttrCast){.to = to}, pick(p, SN_I64));
        return sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_I64}, narrow);
    }
    default:
        return sn_build2(b, op[draw(p->seed, 11)], NULL, pick(p, SN_I64), pick(p, SN_I64));
    }
}

/* All values have shape [4], so that any two go together. */
static Value *random_movement(Program *p) {
    static const OpCode reduction[] = {SN_OP_REDUCE_SUM, SN_OP_REDUCE_MIN, SN_OP_REDUCE_MAX};
    Fixture *f = p->f;
    Builder *b = &f->builder;
    Dim four = sn_dim(f->dims, 4), two = sn_dim(f->dims, 2), three = sn_dim(f->dims, 3);
    Value *x = pick(p, SN_I64), *y = pick(p, SN_I64);
    switch (draw(p->seed, 5)) {
    case 0:
        return sn_build_slice(b, x, 0, three, four, -1);
    case 1:
        return sn_build2(b, SN_OP_CONCAT, &(AttrAxis){0}, sn_build_slice(b, x, 0, two, two, 1),
                         sn_build_slice(b, y, 0, sn_dim(f->dims, 0), two, 2));
    case 2:
        return sn_build1(b, SN_OP_CUMSUM, &(AttrScan){0, draw(p->seed, 2), draw(p->seed, 2)}, x);
    case 3: {
        AttrReduce all = {1, (int64_t[]){0}};
        return sn_build_expand(b, sn_build1(b, reduction[draw(p->seed, 3)], &all, x), 1, &four);
    }
    default: {
        Value *index = sn_build2(b, SN_OP_MOD, NULL, y, sn_build_scalar(b, SN_I64, 4));
        return sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, x, index);
    }
    }
}

static Program random_program(Fixture *f, uint64_t *seed) {
    Program p = {.f = f, .seed = seed};
    static const char *const start[] = {"T, S, 3, 0", "S, 1, T + 2, 2*T", "2, -1, 5, 4", "T, T, S, -S",
                                        "1, 1, 1, 1"};
    for (int k = 0; k < 5; k++) p.value[p.count++] = dims(f, start[k]);
    p.value[p.count++] =
        sn_build1(&f->builder, SN_OP_CAST, &(AttrCast){.to = SN_BOOL}, dims(f, "0, 1, 1, 0"));
    while (p.count < 24) {
        p.value[p.count++] = draw(seed, 3) ? random_pointwise(&p) : random_movement(&p);
        assert_ok(f->builder.status);
    }
    for (int k = 0; k < p.count; k++) sn_graph_output(f->graph, "y", p.value[k]);
    return p;
}

/* How many known elements of a program with given sizes were compared. */
static int compare_program(const Program *p, int64_t s, int64_t t) {
    Fixture *f = p->f;
    const int64_t extent[2] = {t, s};
    const Array *in = sn_array_new(f->arena, SN_F32, 2, extent);
    Array *out[40];
    Status status = sn_eval_graph(f->arena, f->graph, false, &in, out);
    sn_Code code = sn_error_code(status);
    sn_error_free(status);
    if (status) { /* a division by zero, or a value that does not fit i32 */
        assert_true(code == SN_FAULT || code == SN_INVALID);
        return 0;
    }
    int compared = 0;
    for (int k = 0; k < p->count; k++) {
        const Value *value = p->value[k];
        assert_int_equal(out[k]->count, 4);
        for (int64_t i = 0; value->known && i < 4; i++) {
            int64_t known, symbols[2] = {t, s};
            if (sn_dim_eval(value->known[i], symbols, NULL, &known)) continue; /* overflow: never used */
            if (known != out[k]->i[i])
                fail_msg("%s %%%d element %d: known %lld, computed %lld (S %lld, T %lld)",
                         sn_op(value->producer->op)->text, value->id, (int)i, (long long)known,
                         (long long)out[k]->i[i], (long long)s, (long long)t);
            compared++;
        }
    }
    return compared;
}

static void known_values_are_what_is_computed(void **state) {
    (void)state;
    uint64_t seed = 1;
    int compared = 0;
    for (int round = 0; round < 300; round++) {
        void *fresh;
        setup(&fresh);
        Fixture *f = fresh;
        input(f, SN_F32, "T, S");
        Program p = random_program(f, &seed);
        for (int64_t s = 0; s < 4; s++) compared += compare_program(&p, s * 3, 7 - 2 * s);
        teardown(&fresh);
    }
    assert_true(compared > 20000);
}

/* ---- shape arithmetic in floats ---- */

static Value *f32(Fixture *f, double value) {
    return sn_build_scalar(&f->builder, SN_F32, value);
}

/* float(T) of x: [0, T], an input without elements however large T is. */
static Value *float_size(Fixture *f) {
    Value *x = input(f, SN_F32, "0, T");
    return sn_build_cast(&f->builder, sn_build_dims(&f->builder, 1, &x->type.dim[1], true), SN_F32);
}

/* (T / 3)·3 and (T / 3)/3 round twice, so nothing is known of them. */
static void two_roundings_are_not_followed(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *third = sn_build2(b, SN_OP_DIV, NULL, float_size(f), f32(f, 3));
    assert_known(f, sn_build_cast(b, sn_build2(b, SN_OP_MUL, NULL, third, f32(f, 3)), SN_I64), "");
    assert_known(f, sn_build_cast(b, sn_build2(b, SN_OP_DIV, NULL, third, f32(f, 3)), SN_I64), "");
    assert_known(f, sn_build_cast(b, third, SN_I64), "(T floordiv 3)");
    Value *narrow = sn_build_cast(b, sn_build_cast(b, float_size(f), SN_F16), SN_I64);
    assert_known(f, narrow, ""); /* f16 holds integers up to 2048 only */
}

/* Shape arithmetic in floats: what is known is what rounding to f32 after each step gives. */
static void sizes_through_floats(void **state) {
    (void)state;
    static const struct {
        OpCode op;
        double by, plus;
        OpCode round; /* SN_OP_COUNT: the cast alone truncates */
        const char *known;
    } row[] = {
        {SN_OP_DIV, 2, 0, SN_OP_FLOOR, "(T floordiv 2)"},
        {SN_OP_MUL, 0.5, 0, SN_OP_CEIL, NULL},
        {SN_OP_DIV, 3, 0, SN_OP_CEIL, NULL},
        {SN_OP_DIV, 7, 1, SN_OP_FLOOR, NULL},
        {SN_OP_DIV, 49, -5, SN_OP_COUNT, NULL},
        {SN_OP_MUL, 0.375, 2.5, SN_OP_FLOOR, NULL},
        {SN_OP_DIV, 0.125, 0, SN_OP_COUNT, "8*T"},
        {SN_OP_MUL, 1. / 3, 0, SN_OP_FLOOR, ""},
        {SN_OP_DIV, 0, 0, SN_OP_FLOOR, ""},
        {SN_OP_MUL, 0x1p-30, 0, SN_OP_FLOOR, ""},
    };
    static const int64_t size[] = {0,  1,  2,     3,       6,       7,       48,      49,       50,
                                   97, 98, 12345, 2097151, 2097152, 5592405, 8388607, 16777213, 16777215};
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        void *fresh;
        setup(&fresh);
        Fixture *f = fresh;
        Builder *b = &f->builder;
        Value *value = float_size(f);
        if (row[r].plus != 0) value = sn_build2(b, SN_OP_ADD, NULL, value, f32(f, row[r].plus));
        value = sn_build2(b, row[r].op, NULL, value, f32(f, row[r].by));
        if (row[r].round != SN_OP_COUNT) value = sn_build1(b, row[r].round, NULL, value);
        value = sn_build_cast(b, value, SN_I64);
        assert_ok(b->status);
        if (row[r].known) assert_known(f, value, row[r].known);
        sn_graph_output(f->graph, "y", value);
        int compared = 0;
        for (size_t k = 0; value->known && k < sizeof size / sizeof *size; k++) {
            int64_t extent[2] = {0, size[k]}, symbols[1] = {size[k]}, known;
            const Array *in = sn_array_new(f->arena, SN_F32, 2, extent);
            Array *out;
            Status status = sn_eval_graph(f->arena, f->graph, true, &in, &out);
            if (status) { /* one of the parts is above 2^24 */
                sn_error_free(status);
                continue;
            }
            assert_ok(sn_dim_eval(value->known[0], symbols, NULL, &known));
            assert_int_equal(known, out->i[0]);
            compared++;
        }
        if (!row[r].known || *row[r].known) assert_true(compared >= 12);
        teardown(&fresh);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(known_values),
        TEST(narrow_integers_are_known_when_they_fit),
        TEST(integers_of_float_constants_are_known),
        TEST(extents_are_not_negative),
        cmocka_unit_test(known_values_are_what_is_computed),
        cmocka_unit_test(sizes_through_floats),
        TEST(two_roundings_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

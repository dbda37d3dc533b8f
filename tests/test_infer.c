/* ir: types and checks by inference. */
#include "infer_fixture.h"

/* ---- types ---- */

static void broadcasting(void **state) {
    static const struct {
        const char *a, *b, *out; /* out NULL: refused */
        int checks;
    } row[] = {
        {"T, 1", "8", "f32[T, 8]", 0},
        {"T", "T", "f32[T]", 0},
        {"", "B, T", "f32[B, T]", 0},
        {"1", "0", "f32[0]", 0},
        {"T", "4", "f32[4]", 1},
        {"4", "T", "f32[4]", 1},
        {"B, 1, T", "H, 1", "f32[B, H, T]", 0},
        {"3", "4", NULL, 0},
        {"T + 1", "T + 3", "f32[T + 3]", 1},
        {"2*T + 2", "T", "f32[2*T + 2]", 1},
        {"T", "0", "f32[0]", 1},
    };
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        void *fresh;
        setup(&fresh);
        Fixture *f = fresh;
        Value *out =
            sn_build2(&f->builder, SN_OP_ADD, NULL, input(f, SN_F32, row[r].a), input(f, SN_F32, row[r].b));
        if (!row[r].out) {
            assert_refused(f, "add: axis 0: extents 3 and 4 do not broadcast");
        } else {
            assert_type(f, out, row[r].out);
            assert_int_equal(check_count(f, SN_CHECK_BROADCAST), row[r].checks);
        }
        teardown(&fresh);
    }
    (void)state;
}

/* Two free extents: the larger one, with checks that refuse what is not broadcasting. */
static void free_extents_broadcast_by_check(void **state) {
    Fixture *f = *state;
    Value *a = input(f, SN_F64, "S"), *b = input(f, SN_F64, "T");
    sn_graph_output(f->graph, "y", sn_build2(&f->builder, SN_OP_ADD, NULL, a, b));
    assert_ok(f->builder.status);
    int64_t symbols[2];
    static const struct {
        int64_t s, t;
        bool fine;
    } row[] = {{4, 4, true},  {1, 4, true},  {4, 1, true},  {0, 0, true}, {1, 1, true},
               {2, 4, false}, {0, 4, false}, {0, 1, false}, {1, 0, false}};
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        Status status =
            sn_bind_symbols(f->graph, 2, (int[]){1, 1}, (const int64_t *[]){&row[r].s, &row[r].t}, symbols);
        assert_int_equal(!status, row[r].fine);
        sn_error_free(status);
        if (!row[r].fine) continue;
        const Array *in[2] = {sn_array_new(f->arena, SN_F64, 1, &row[r].s),
                              sn_array_new(f->arena, SN_F64, 1, &row[r].t)};
        Array *out;
        assert_ok(sn_eval_graph(f->arena, f->graph, false, in, &out));
        assert_int_equal(out->extent[0], row[r].s > row[r].t ? row[r].s : row[r].t);
    }
}

static void types_of_operators(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *x = input(f, SN_F32, "B, T, 8"), *ids = input(f, SN_I64, "B, T"),
          *mask = input(f, SN_BOOL, "B, T, 1");
    assert_type(f, sn_build1(b, SN_OP_EXP, NULL, x), "f32[B, T, 8]");
    assert_type(f, sn_build1(b, SN_OP_ISNAN, NULL, x), "bool[B, T, 8]");
    assert_type(f, sn_build1(b, SN_OP_CAST, &(AttrCast){.to = SN_F16}, x), "f16[B, T, 8]");
    assert_type(f, sn_build2(b, SN_OP_EQUAL, NULL, ids, sn_build_scalar(b, SN_I64, 3)), "bool[B, T]");
    assert_type(f, sn_build3(b, SN_OP_WHERE, NULL, mask, x, sn_build_scalar(b, SN_F32, 0)), "f32[B, T, 8]");
    assert_type(f, sn_build2(b, SN_OP_GATHER, &(AttrAxis){1}, x, ids), "f32[B, B, T, 8]");
    assert_type(f, sn_build2(b, SN_OP_GATHER, &(AttrAxis){2}, x, sn_build_scalar(b, SN_I32, 3)), "f32[B, T]");
    assert_type(f, sn_build2(b, SN_OP_GATHER_ND, &(AttrGatherNd){1}, x, input(f, SN_I64, "B, 3, 1")),
                "f32[B, 3, 8]");
    assert_type(f, sn_build2(b, SN_OP_GATHER_ELEMENTS, &(AttrAxis){1}, x, input(f, SN_I64, "B, 5, 8")),
                "f32[B, 5, 8]");
    assert_type(f, sn_build2(b, SN_OP_CONCAT, &(AttrAxis){1}, x, input(f, SN_F32, "B, P, 8")),
                "f32[B, P + T, 8]");
    assert_type(f, sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){2, (int64_t[]){0, 2}}, x), "f32[1, T, 1]");
    assert_type(f, sn_build2(b, SN_OP_RMS_NORM, &(AttrNorm){2, 1e-5}, x, input(f, SN_F32, "8")),
                "f32[B, T, 8]");
    assert_type(f, sn_build2(b, SN_OP_MATMUL, NULL, x, input(f, SN_F32, "8, 3")), "f32[B, T, 3]");
    assert_type(f, sn_build2(b, SN_OP_MATMUL, NULL, x, input(f, SN_F32, "8")), "f32[B, T]");
    assert_type(f, sn_build2(b, SN_OP_MATMUL, NULL, input(f, SN_F32, "T"), x), "f32[B, 8]");
    assert_type(f, sn_build2(b, SN_OP_CONTRACT, NULL, x, input(f, SN_F32, "B, 8, N")), "f32[B, T, N]");
    Value *packed = sn_build1(b, SN_OP_PACK, &(AttrPack){.panel = 16}, input(f, SN_F32, "B, 8, 40"));
    assert_type(f, packed, "f32[B, 3, 8, 16]");
    AttrContract contract = {.packed = true, .columns = sn_dim(f->dims, 40)};
    assert_type(f, sn_build2(b, SN_OP_CONTRACT, &contract, x, packed), "f32[B, T, 40]");
    packed = sn_build1(b, SN_OP_PACK, &(AttrPack){.panel = 16, .group = 4}, input(f, SN_I8, "B, 9, 40"));
    assert_type(f, packed, "i8[B, 3, 3, 16, 4]");
    contract.group = 4;
    assert_type(f, sn_build2(b, SN_OP_CONTRACT, &contract, input(f, SN_U8, "B, T, 9"), packed),
                "i32[B, T, 40]");
    Value *angle = input(f, SN_F32, "T, 4");
    assert_type(f, sn_build3(b, SN_OP_ROTARY, NULL, x, angle, angle), "f32[B, T, 8]");
    Value *attention[4] = {input(f, SN_F32, "B, 12, S, 64"), input(f, SN_F32, "B, 4, T, 64"),
                           input(f, SN_F32, "B, 4, T, 32"), input(f, SN_F32, "S, T")};
    assert_type(f, sn_build(b, SN_OP_ATTENTION, &(AttrAttention){.scale = 1}, 4, attention),
                "f32[B, 12, S, 32]");
    Value *slope[6] = {attention[0],
                       attention[1],
                       attention[2],
                       input(f, SN_F32, "B, 12, S, 32"),
                       input(f, SN_F32, "B, 12, S, 2"),
                       input(f, SN_F32, "B, 12, S, 1")};
    const Value *dq = sn_build(b, SN_OP_ATTENTION_BACKWARD, &(AttrAttention){.scale = 1}, 6, slope);
    assert_type(f, dq, "f32[B, 12, S, 64]");
    assert_type(f, dq->producer->output[2], "f32[B, 4, T, 32]");
}

static void what_is_wrong_is_named(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *x = input(f, SN_F32, "B, 8"), *y = input(f, SN_F64, "B, 8"), *i = input(f, SN_I64, "B, 8");
    sn_build2(b, SN_OP_ADD, NULL, x, y);
    assert_refused(f, "add: inputs 0 and 1 have different types, f32 and f64");
    sn_build1(b, SN_OP_EXP, NULL, i);
    assert_refused(f, "exp: input 0 cannot be i64");
    sn_build1(b, SN_OP_ADD, NULL, x);
    assert_refused(f, "add: 1 inputs given where it takes 2");
    sn_build2(b, SN_OP_ADD, NULL, x, NULL);
    assert_refused(f, "add: input 1 is missing");
    sn_build1(b, SN_OP_SOFTMAX, &(AttrAxis){2}, x);
    assert_refused(f, "softmax: axis 2 of a tensor of rank 2");
    sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){2, (int64_t[]){1, 0}}, x);
    assert_refused(f, "reduce_sum: axis 0");
    sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, x, x);
    assert_refused(f, "gather: the indices are f32");
    sn_build2(b, SN_OP_CONCAT, &(AttrAxis){0}, x, input(f, SN_F32, "B, 7"));
    assert_refused(f, "concat: the other extents differ: 8 and 7");
    sn_build2(b, SN_OP_MATMUL, NULL, x, input(f, SN_F32, "7, 3"));
    assert_refused(f, "matmul: the inner extents differ: 8 and 7");
    sn_build3(b, SN_OP_WHERE, NULL, i, x, x);
    assert_refused(f, "where: the condition is i64");
    sn_build1(b, SN_OP_CAST, &(AttrCast){.to = (DType)99}, x);
    assert_int_equal(sn_error_code(b->status), SN_INVALID);
    sn_error_free(b->status);
    b->status = NULL;
    sn_build2(b, SN_OP_RMS_NORM, &(AttrNorm){1, 1e-5}, x, input(f, SN_F32, "4"));
    assert_refused(f, "rms_norm: the scale does not broadcast: extents 4 and 8");
    AttrIota iota = {SN_I64, sn_dim(f->dims, -1), sn_dim(f->dims, 0), sn_dim(f->dims, 1)};
    sn_build(b, SN_OP_IOTA, &iota, 0, NULL);
    assert_refused(f, "iota: axis 0 of output 0 has extent -1");
    Dim extent = sn_dim(f->dims, 4), index[2] = {sn_dim(f->dims, 0), sn_dim(f->dims, 8)};
    sn_build1(b, SN_OP_VIEW, &(AttrView){1, &extent, 2, index}, x);
    assert_refused(f, "view: index 1 is outside");
    index[1] = sn_dim_axis(f->dims, 0, sn_dim(f->dims, 5));
    sn_build1(b, SN_OP_VIEW, &(AttrView){1, &extent, 2, index}, x);
    assert_refused(f, "view: index 1 has an axis that is not the result's");
}

/* A source has all that is read of it: the ends of an index that goes up or down evenly are looked at. */
static void views_read_inside(void **state) {
    Fixture *f = *state;
    Builder *b = &f->builder;
    Value *x = input(f, SN_F32, "6, T"), *y = input(f, SN_F32, "20");
    Dim t = x->type.dim[1], two = sn_dim(f->dims, 2), three = sn_dim(f->dims, 3), four = sn_dim(f->dims, 4);
    assert_type(f, sn_build_slice(b, x, 0, two, four, 1), "f32[4, T]");
    sn_dims_symbol_at_least(f->dims, t, 1);
    assert_type(f, sn_build_slice(b, x, 0, two, four, 1), "f32[4, T]");
    assert_type(f, sn_build_slice(b, x, 0, two, three, -1), "f32[3, T]");
    sn_build_slice(b, x, 0, three, four, 1);
    assert_refused(f, "view: index 0 is outside");
    sn_build_slice(b, x, 0, two, four, -1);
    assert_refused(f, "view: index 0 is outside");
    sn_build_slice(b, x, 0, two, three, 2);
    assert_refused(f, "view: index 0 is outside");
    sn_build_slice(b, x, 1, sn_dim(f->dims, 1), t, 1);
    assert_refused(f, "view: index 1 is outside");
    /* Windows of four: three, each six behind the other one, then nine, and then turned round. */
    Dim extent[2] = {three, four}, row = sn_dim_axis(f->dims, 0, three),
        column = sn_dim_axis(f->dims, 1, four);
    Dim index = sn_dim_add(f->dims, sn_dim_mulc(f->dims, row, 6), column);
    assert_type(f, sn_build1(b, SN_OP_VIEW, &(AttrView){2, extent, 1, &index}, y), "f32[3, 4]");
    index = sn_dim_add(f->dims, sn_dim_mulc(f->dims, row, 9), column);
    sn_build1(b, SN_OP_VIEW, &(AttrView){2, extent, 1, &index}, y);
    assert_refused(f, "view: index 0 is outside");
    index = sn_dim_sub(f->dims, sn_dim_mulc(f->dims, row, 6), column);
    sn_build1(b, SN_OP_VIEW, &(AttrView){2, extent, 1, &index}, y);
    assert_refused(f, "view: index 0 is outside");
}

/* A slice that may come out negative is refused when it does. */
static void unproven_extents_are_checked(void **state) {
    Fixture *f = *state;
    Value *x = input(f, SN_F32, "T");
    Dim t = x->type.dim[0];
    Value *rest = sn_build_slice(&f->builder, x, 0, sn_dim(f->dims, 1), sn_dim_addc(f->dims, t, -1), 1);
    assert_type(f, rest, "f32[T - 1]");
    int64_t symbols[1], none = 0, some = 3;
    assert_ok(sn_bind_symbols(f->graph, 1, (int[]){1}, (const int64_t *[]){&some}, symbols));
    Status status = sn_bind_symbols(f->graph, 1, (int[]){1}, (const int64_t *[]){&none}, symbols);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    sn_error_free(status);
}

/* ---- properties ---- */

/* A random shape of the symbols S, T and constants, with its concrete extents (S = 2, T = 3). */
static Value *random_input(Fixture *f, uint64_t *seed, int rank, const Array **array) {
    static const char *const text[] = {"1", "S", "T", "4", "2*S + T"};
    static const int64_t extent[] = {1, 2, 3, 4, 7};
    Dim *dim = SN_ARRAY(f->arena, Dim, rank);
    int64_t concrete[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) {
        uint64_t which = draw(seed, 5);
        dims_of(f, text[which], &dim[k]);
        concrete[k] = extent[which];
    }
    Array *made = sn_array_new(f->arena, SN_F64, rank, concrete);
    for (int64_t i = 0; i < made->count; i++) made->f[i] = (double)draw(seed, 100);
    *array = made;
    return sn_graph_input(f->graph, "x", (Type){SN_F64, rank, dim});
}

/* Broadcasting as numpy does it on concrete shapes; false when it does not. */
static bool numpy_add(const Array *a, const Array *b, int *rank, int64_t *extent) {
    *rank = a->rank > b->rank ? a->rank : b->rank;
    for (int k = 0; k < *rank; k++) {
        int in_a = k - *rank + a->rank, in_b = k - *rank + b->rank;
        int64_t left = in_a < 0 ? 1 : a->extent[in_a], right = in_b < 0 ? 1 : b->extent[in_b];
        if (left != right && left != 1 && right != 1) return false;
        extent[k] = left == 1 ? right : left;
    }
    return true;
}

/* The interpreter's shapes come from inference: they are compared with numpy's rule and its elements with
 * plain indexing. Where numpy refuses, building or binding does. */
static void broadcasting_agrees_with_numpy(void **state) {
    (void)state;
    uint64_t seed = 77;
    int agreed = 0;
    for (int round = 0; round < 500; round++) {
        void *fresh;
        setup(&fresh);
        Fixture *f = fresh;
        const Array *in[3];
        Value *sizes = input(f, SN_F64, "S, T");
        (void)sizes;
        in[0] = sn_array_new(f->arena, SN_F64, 2, (int64_t[]){2, 3});
        Value *a = random_input(f, &seed, (int)draw(&seed, 4), &in[1]);
        Value *b = random_input(f, &seed, (int)draw(&seed, 4), &in[2]);
        int rank;
        int64_t extent[SN_MAX_RANK];
        bool legal = numpy_add(in[1], in[2], &rank, extent);
        Value *sum = sn_build2(&f->builder, SN_OP_ADD, NULL, a, b);
        Array *out = NULL;
        Status status = NULL;
        if (sum) {
            sn_graph_output(f->graph, "y", sum);
            status = sn_eval_graph(f->arena, f->graph, false, in, &out);
        }
        assert_int_equal(sum && !status, legal);
        sn_error_free(status);
        if (legal) {
            assert_int_equal(out->rank, rank);
            assert_memory_equal(out->extent, extent, (size_t)rank * sizeof *extent);
            agreed++;
        }
        teardown(&fresh);
    }
    assert_true(agreed > 100);
}

/* ---- shapes of other operators against their specification ---- */

typedef struct Expected {
    int rank;
    int64_t extent[SN_MAX_RANK];
} Expected;

static void expect_axis(Expected *expected, int64_t extent) {
    expected->extent[expected->rank++] = extent;
}

/* One random operator on x (of rank >= 1) with its expected shape. */
static Value *random_operator(Fixture *f, uint64_t *seed, Value *x, const Array *in, Expected *want) {
    Builder *b = &f->builder;
    int axis = (int)draw(seed, (uint64_t)in->rank);
    want->rank = 0;
    switch (draw(seed, 6)) {
    case 0: /* [.., M, K]·[K, 5] */
        for (int k = 0; k < in->rank - 1; k++) expect_axis(want, in->extent[k]);
        expect_axis(want, 5);
        Dim *dim = SN_ARRAY(f->arena, Dim, 2);
        dim[0] = x->type.dim[in->rank - 1];
        dim[1] = sn_dim(f->dims, 5);
        return sn_build2(b, SN_OP_MATMUL, NULL, x, sn_build_expand(b, sn_build_scalar(b, SN_F64, 2), 2, dim));
    case 1:
        for (int k = 0; k < in->rank; k++) expect_axis(want, in->extent[k] * (k == axis ? 3 : 1));
        return sn_build3(b, SN_OP_CONCAT, &(AttrAxis){axis}, x, x, x);
    case 2:
        for (int k = 0; k < in->rank; k++) expect_axis(want, k == axis ? 1 : in->extent[k]);
        return sn_build1(b, SN_OP_REDUCE_MAX, &(AttrReduce){1, (int64_t[]){axis}}, x);
    case 3: { /* indices [2, 1] in place of the axis */
        for (int k = 0; k < in->rank; k++) {
            if (k == axis) expect_axis(want, 2);
            expect_axis(want, k == axis ? 1 : in->extent[k]);
        }
        Dim shape[2] = {sn_dim(f->dims, 2), sn_dim(f->dims, 1)};
        Value *index = sn_build_expand(b, sn_build_scalar(b, SN_I64, -1), 2, shape);
        return sn_build2(b, SN_OP_GATHER, &(AttrAxis){axis}, x, index);
    }
    case 4: {
        Dim before[SN_MAX_RANK], after[SN_MAX_RANK];
        for (int k = 0; k < in->rank; k++) {
            before[k] = sn_dim(f->dims, k == axis ? 2 : 0);
            after[k] = x->type.dim[k];
            expect_axis(want, 2 * in->extent[k] + (k == axis ? 2 : 0));
        }
        return sn_build1(b, SN_OP_PAD, &(AttrPad){in->rank, before, after, 0}, x);
    }
    default: {
        int permutation[SN_MAX_RANK];
        for (int k = 0; k < in->rank; k++) {
            permutation[k] = (k + axis) % in->rank;
            expect_axis(want, in->extent[(k + axis) % in->rank]);
        }
        return sn_build_transpose(b, x, permutation);
    }
    }
}

static void shapes_are_as_specified(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 300; round++) {
        void *fresh;
        setup(&fresh);
        Fixture *f = fresh;
        const Array *in[2] = {sn_array_new(f->arena, SN_F64, 2, (int64_t[]){2, 3})};
        input(f, SN_F64, "S, T");
        Value *x = random_input(f, &seed, 1 + (int)draw(&seed, 4), &in[1]);
        Expected want;
        Value *y = random_operator(f, &seed, x, in[1], &want);
        assert_ok(f->builder.status);
        sn_graph_output(f->graph, "y", y);
        Array *out;
        assert_ok(sn_eval_graph(f->arena, f->graph, false, in, &out));
        assert_int_equal(out->rank, want.rank);
        assert_memory_equal(out->extent, want.extent, (size_t)want.rank * sizeof *want.extent);
        teardown(&fresh);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcasting),
        TEST(free_extents_broadcast_by_check),
        TEST(types_of_operators),
        TEST(what_is_wrong_is_named),
        TEST(views_read_inside),
        TEST(unproven_extents_are_checked),
        cmocka_unit_test(broadcasting_agrees_with_numpy),
        cmocka_unit_test(shapes_are_as_specified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

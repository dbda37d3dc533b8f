/* Generated C against the interpreter: elementwise kernels, reductions and scans. */
#include "codegen_fixture.h"

static const int64_t none[1] = {0};
/* Odd sizes of two symbols: less than a vector, one more than a vector, long. */
static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 2, 64, 1, 1000, 17, 33};
enum { SIZES = 6 };

static void elementwise(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, "B, T, 768"), *bias = param(c, SN_F32, "768"),
          *column = param(c, SN_F32, "B, T, 1");
    Value *y = two(c, SN_OP_ADD, x, expand(c, bias, "B, T, 768"));
    y = two(c, SN_OP_MUL, y, expand(c, column, "B, T, 768"));
    Value *half = two(c, SN_OP_MUL, y, number(c, 0.5, y));
    Value *gate = two(c, SN_OP_ADD, one(c, SN_OP_ERF, two(c, SN_OP_MUL, y, number(c, 0.70710678118, y))),
                      number(c, 1, y));
    result(c, two(c, SN_OP_MUL, half, gate));
    result(c, one(c, SN_OP_TANH, y));
    check(c, SIZES, sizes);
}

static void views(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, "B, T, 12*16"), *y = param(c, SN_F32, "B, 12, T, 16");
    Value *heads = transpose(c, reshape(c, x, "B, T, 12, 16"), (int[]){0, 2, 1, 3});
    Value *sum = two(c, SN_OP_ADD, heads, y);
    result(c, reshape(c, transpose(c, sum, (int[]){0, 2, 1, 3}), "B, T, 12*16"));
    result(c, one(c, SN_OP_NEG, slice(c, sum, 3, 1, "5", 3)));
    result(c, transpose(c, sum, (int[]){3, 2, 1, 0}));
    check(c, SIZES, sizes);
}

static void pieces(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, "B, T, 40"), *angle = param(c, SN_F32, "T, 20");
    Value *cosine = expand(c, one(c, SN_OP_COS, angle), "B, T, 20"),
          *sine = expand(c, one(c, SN_OP_SIN, angle), "B, T, 20");
    Value *x1 = slice(c, x, 2, 0, "20", 1), *x2 = slice(c, x, 2, 20, "20", 1);
    Value *o1 = two(c, SN_OP_SUB, two(c, SN_OP_MUL, x1, cosine), two(c, SN_OP_MUL, x2, sine));
    Value *o2 = two(c, SN_OP_ADD, two(c, SN_OP_MUL, x2, cosine), two(c, SN_OP_MUL, x1, sine));
    Value *joined = apply(c, SN_OP_CONCAT, &(AttrAxis){2}, o1, o2);
    result(c, joined);
    result(c, two(c, SN_OP_ADD, joined, x)); /* the concat read inside an expression */
    Dims *dims = c->graph->dims;
    Dim before[3] = {sn_dim(dims, 0), sn_dim(dims, 1), sn_dim(dims, 3)},
        after[3] = {sn_dim(dims, 2), sn_dim(dims, 0), sn_dim(dims, 1)};
    result(c, apply(c, SN_OP_PAD, &(AttrPad){3, before, after, 7.5}, joined, NULL));
    check(c, SIZES, sizes);
}

static void gathers(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *table = param(c, SN_F32, "50, 24"), *ids = param(c, SN_I64, "B, T"),
          *x = param(c, SN_F32, "B, T, 24");
    Value *columns = param(c, SN_I32, "B, 6");
    result(c, two(c, SN_OP_ADD, apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids), x));
    result(c, apply(c, SN_OP_GATHER, &(AttrAxis){1}, table, columns));
    result(c, apply(c, SN_OP_GATHER_ELEMENTS, &(AttrAxis){1}, param(c, SN_F32, "B, 24"), columns));
    result(c, apply(c, SN_OP_GATHER_ND, &(AttrGatherNd){0}, table, param(c, SN_I64, "T, 2")));
    c->low = -5, c->high = 5;
    check(c, SIZES, sizes);
}

/* Axes of extent 0, some of them known when compiling. */
static void nothing(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, "B, T, 6");
    result(c, one(c, SN_OP_NEG, x));
    result(c, slice(c, x, 2, 1, "0", 1));
    result(c, slice(c, transpose(c, x, (int[]){2, 1, 0}), 0, 1, "0", 1));
    check(c, 3, (const int64_t[]){0, 3, 3, 0, 2, 2});
}

static void faults(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *table = param(c, SN_F32, "50, 24"), *ids = param(c, SN_I64, "7");
    Value *shifted = two(c, SN_OP_ADD, ids, number(c, 1, ids));
    Value *rows = apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, shifted);
    result(c, rows);
    Value *a = param(c, SN_I32, "40");
    result(c, two(c, SN_OP_DIV, a, a));
    void *handle;
    const Kernel *kernel = generate(c);
    KernelFunction *function = compile(kernel, &handle);
    float data[50 * 24] = {0}, out[7 * 24];
    int64_t id[7] = {0, 1, -51, 48, 2, 3, 4};
    int32_t ints[40], quotient[40], at = 1;
    for (int i = 0; i < 40; i++) ints[i] = i + 1;
    void *buffers[] = {data, id, ints, out, quotient};
    int64_t numbers[8] = {0}, items;
    for (int i = 0; i < kernel->param_count; i++)
        assert_ok(sn_dim_eval(kernel->param[i], none, NULL, &numbers[i]));
    assert_ok(sn_dim_eval(kernel->items, none, NULL, &items));
    assert_int_equal(function(buffers, numbers, 0, items), 0);
    for (const Node *node = c->cluster->body->first; node != rows->producer; node = node->next) at++;
    id[3] = 49;
    assert_int_equal(function(buffers, numbers, 0, items), at);
    id[3] = 0, id[2] = -52;
    assert_int_equal(function(buffers, numbers, 0, items), at);
    id[2] = 0, ints[38] = 0;
    assert_int_equal(function(buffers, numbers, 0, items), at + 1);
    dlclose(handle);
    sn_arena_free(c->arena);
}

static void sources(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Dims *dims = c->graph->dims;
    Value *x = param(c, SN_F32, "B, T");
    Dim T = x->type.dim[1], one_dim = sn_dim(dims, 1);
    Value *row =
        sn_build(&c->b, SN_OP_IOTA, &(AttrIota){SN_I64, x->type.dim[0], sn_dim(dims, 0), one_dim}, 0, NULL);
    Value *column = sn_build(&c->b, SN_OP_IOTA, &(AttrIota){SN_I32, T, T, sn_dim(dims, -1)}, 0, NULL);
    assert_ok(c->b.status);
    Value *i = expand(c, reshape(c, row, "B, 1"), "B, T"), *j = expand(c, cast(c, column, SN_I64), "B, T");
    Value *keep = two(c, SN_OP_LESS_EQUAL, j, i);
    Value *masked = sn_build3(&c->b, SN_OP_WHERE, NULL, keep, x, number(c, -INFINITY, x));
    result(c, masked);
    result(c, keep);
    Value *length = sn_build_dims(&c->b, 1, &T, true);
    result(c, two(c, SN_OP_ADD, i, sn_build_expand(&c->b, length, 2, i->type.dim)));
    assert_ok(c->b.status);
    check(c, SIZES, sizes);
}

/* Every function of floats, in every float type. */
static void float_functions(void **state) {
    (void)state;
    static const OpCode unary[] = {SN_OP_NEG,     SN_OP_ABS,   SN_OP_SIGN,  SN_OP_FLOOR,      SN_OP_CEIL,
                                   SN_OP_ROUND,   SN_OP_SQRT,  SN_OP_RSQRT, SN_OP_RECIPROCAL, SN_OP_EXP,
                                   SN_OP_LOG,     SN_OP_SIN,   SN_OP_COS,   SN_OP_TANH,       SN_OP_ERF,
                                   SN_OP_SIGMOID, SN_OP_ISNAN, SN_OP_ISINF};
    static const OpCode binary[] = {SN_OP_ADD,   SN_OP_SUB,  SN_OP_MUL,       SN_OP_DIV,
                                    SN_OP_POW,   SN_OP_FMOD, SN_OP_MIN,       SN_OP_MAX,
                                    SN_OP_EQUAL, SN_OP_LESS, SN_OP_LESS_EQUAL};
    static const DType types[] = {SN_F32, SN_F64, SN_F16, SN_BF16};
    for (int t = 0; t < 4; t++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, types[t], "T"), *y = param(c, types[t], "T");
        for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) result(c, one(c, unary[i], x));
        for (size_t i = 0; i < 10; i++) result(c, two(c, binary[i], x, y));
        c->positive = true;
        check(c, 3, (const int64_t[]){1, 17, 1000});
    }
}

static void trigonometry(void **state) {
    (void)state;
    static const OpCode unary[] = {SN_OP_TAN,  SN_OP_SINH,  SN_OP_COSH,  SN_OP_ASIN, SN_OP_ACOS,
                                   SN_OP_ATAN, SN_OP_ASINH, SN_OP_ACOSH, SN_OP_ATANH};
    Case *c = begin_case(SN_CLUSTER_MAP);
    for (int t = 0; t < 2; t++) {
        Value *x = param(c, t ? SN_F32 : SN_F64, "T");
        for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) result(c, one(c, unary[i], x));
    }
    check(c, 3, (const int64_t[]){1, 17, 1000});
}

static void integer_functions(void **state) {
    (void)state;
    static const OpCode binary[] = {SN_OP_ADD,   SN_OP_SUB,  SN_OP_MUL,       SN_OP_DIV,
                                    SN_OP_MOD,   SN_OP_FMOD, SN_OP_MIN,       SN_OP_MAX,
                                    SN_OP_EQUAL, SN_OP_LESS, SN_OP_LESS_EQUAL};
    static const DType types[] = {SN_U8, SN_I8, SN_U16, SN_I16, SN_U32, SN_I32, SN_U64, SN_I64};
    for (int t = 0; t < 8; t++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, types[t], "T"), *y = param(c, types[t], "T");
        Value *other = two(c, SN_OP_MAX, y, number(c, 1, y)); /* never zero */
        for (size_t i = 0; i < sizeof binary / sizeof *binary; i++) result(c, two(c, binary[i], x, other));
        result(c, two(c, SN_OP_POW, other, two(c, SN_OP_MIN, other, number(c, 9, x))));
        result(c, one(c, SN_OP_ABS, x));
        result(c, one(c, SN_OP_SIGN, x));
        result(c, one(c, SN_OP_BIT_NOT, x));
        result(c, two(c, SN_OP_BIT_AND, x, y));
        result(c, two(c, SN_OP_BIT_OR, x, y));
        result(c, two(c, SN_OP_BIT_XOR, x, y));
        if (sn_dtype_is_signed(types[t])) result(c, one(c, SN_OP_NEG, x));
        c->low = sn_dtype_is_signed(types[t]) ? -120 : 0, c->high = 120;
        check(c, 3, (const int64_t[]){1, 17, 1000});
    }
}

static void casts(void **state) {
    (void)state;
    static const DType types[] = {SN_BOOL, SN_U8,  SN_I8,  SN_U16,  SN_I16, SN_U32, SN_I32,
                                  SN_U64,  SN_I64, SN_F16, SN_BF16, SN_F32, SN_F64};
    for (int from = 0; from < 13; from++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, types[from], "T");
        for (int to = 0; to < 13; to++)
            if (to != from) result(c, cast(c, x, types[to]));
        c->positive = true, c->low = 0, c->high = 100, c->scale = 3;
        check(c, 2, (const int64_t[]){5, 100});
    }
}

static void logic(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *a = param(c, SN_BOOL, "B, T"), *b = param(c, SN_BOOL, "T"), *x = param(c, SN_I64, "B, T");
    Value *wide = expand(c, b, "B, T");
    result(c, two(c, SN_OP_AND, a, wide));
    result(c, two(c, SN_OP_OR, a, one(c, SN_OP_NOT, wide)));
    result(c, two(c, SN_OP_XOR, a, wide));
    result(c, two(c, SN_OP_EQUAL, a, wide));
    result(c, sn_build3(&c->b, SN_OP_WHERE, NULL, a, x, number(c, -9, x)));
    check(c, SIZES, sizes);
}

static Value *softmax(Case *c, Value *x, int axis) {
    Value *e = one(c, SN_OP_EXP, two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MAX, x, axis), x)));
    return two(c, SN_OP_DIV, e, spread(c, reduce(c, SN_OP_REDUCE_SUM, e, axis), x));
}

static void softmax_rows(void **state) {
    (void)state;
    for (int fixed = 0; fixed < 2; fixed++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, fixed ? "B, T, 100" : "B, 3, T"),
              *mask = param(c, SN_F32, fixed ? "100" : "T");
        result(c, softmax(c, two(c, SN_OP_ADD, x, spread(c, mask, x)), 2));
        Kernel *kernel = NULL;
        (void)kernel;
        check(c, SIZES, sizes);
    }
}

static void softmax_columns(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    result(c, softmax(c, param(c, SN_F32, "3, B, T"), 1));
    check(c, SIZES, sizes);
}

/* How often the loops of a softmax over rows of that shape compute exponentials, and whether they keep them. */
static int exponentials(const char *shape_of_rows, bool *kept) {
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    result(c, softmax(c, param(c, SN_F32, shape_of_rows), 1));
    Text text = sn_text(c->arena);
    finish_graph(c);
    assert_ok(sn_codegen_print(c->arena, c->graph->dims, c->cluster, &c->target, &text));
    int count = 0;
    for (const char *at = sn_text_string(&text); (at = strstr(at, "call exp")); at++) count++;
    *kept = strstr(sn_text_string(&text), "kept r0");
    sn_arena_free(c->arena);
    return count;
}

/* exp is computed once an element, unless rows are so long that keeping it takes longer: it is written once where they are
 * read in vectors. */
static void softmax_keeps(void **state) {
    (void)state;
    bool kept;
    assert_int_equal(exponentials("B, T", &kept), 1);
    assert_true(kept);
    assert_int_equal(exponentials("B, 262144", &kept), 1);
    assert_true(kept);
    exponentials("B, 262145", &kept); /* in no near cache any more */
    assert_false(kept);
}

static void layer_norm(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_F16, SN_F64};
    for (int t = 0; t < 3; t++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *a = param(c, types[t], "B, T, 96"), *r = param(c, types[t], "B, T, 96");
        Value *scale = param(c, types[t], "96"), *bias = param(c, types[t], "96");
        Value *x = two(c, SN_OP_ADD, a, r);
        Value *mean = reduce(c, SN_OP_REDUCE_SUM, x, 2);
        mean = two(c, SN_OP_DIV, mean, number(c, 96, mean));
        Value *d = two(c, SN_OP_SUB, x, spread(c, mean, x));
        Value *variance = reduce(c, SN_OP_REDUCE_SUM, two(c, SN_OP_MUL, d, d), 2);
        variance = two(c, SN_OP_ADD, two(c, SN_OP_DIV, variance, number(c, 96, variance)),
                       number(c, 1e-5, variance));
        Value *y = two(c, SN_OP_MUL, d, spread(c, one(c, SN_OP_RSQRT, variance), d));
        result(c, two(c, SN_OP_ADD, two(c, SN_OP_MUL, y, spread(c, scale, y)), spread(c, bias, y)));
        result(c, x);
        result(c, reshape(c, mean, "B, T"));
        c->tolerance = types[t] == SN_F16 ? 2e-3 : 4e-6;
        check(c, SIZES, sizes);
    }
}

static void reductions(void **state) {
    (void)state;
    static const OpCode ops[] = {SN_OP_REDUCE_SUM, SN_OP_REDUCE_MAX, SN_OP_REDUCE_MIN, SN_OP_REDUCE_PROD};
    static const DType types[] = {SN_F32, SN_F16, SN_BF16, SN_F64, SN_U8, SN_I16, SN_I32, SN_I64};
    for (int t = 0; t < 8; t++)
        for (int axis = 0; axis < 2; axis++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, types[t], "B, T");
            for (int i = 0; i < 4; i++) result(c, reduce(c, ops[i], x, axis));
            c->scale = 0.5, c->positive = true;
            check(c, SIZES, sizes);
        }
}

/* Two reduced axes with a kept one between, all reduced, and a transposed operand. */
static void reduced_axes(void **state) {
    (void)state;
    static const int64_t axes[3][3] = {{0, 2}, {0, 1, 2}, {1}};
    static const int counts[3] = {2, 3, 1};
    for (int k = 0; k < 3; k++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = transpose(c, param(c, SN_F32, "T, B, 5"), (int[]){1, 0, 2});
        Value *sum = apply(c, SN_OP_REDUCE_SUM, &(AttrReduce){counts[k], axes[k]}, x, NULL);
        result(c, sum);
        result(c, two(c, SN_OP_SUB, x, spread(c, sum, x)));
        c->positive = true;
        check(c, SIZES, sizes);
    }
}

static void scans(void **state) {
    (void)state;
    for (int k = 0; k < 8; k++) {
        Case *c = begin_case(SN_CLUSTER_SCAN);
        int axis = k & 1;
        DType dtype = k < 4 ? SN_F32 : SN_I64;
        Value *x = param(c, dtype, "B, T");
        Value *y = apply(c, SN_OP_CUMSUM, &(AttrScan){axis, (k >> 1) & 1, (k >> 2) & 1},
                         two(c, SN_OP_ADD, x, x), NULL);
        result(c, two(c, SN_OP_SUB, y, x));
        result(c, transpose(c, y, (int[]){1, 0}));
        c->positive = true;
        check(c, SIZES, sizes);
    }
}

static Value *equal_layer(Case *c, const char *shape_text) {
    Value *x = param(c, SN_F32, shape_text);
    return two(c, SN_OP_MUL, one(c, SN_OP_EXP, x), x);
}

/* Equal clusters have one name, whatever their symbols are called; others have another. */
static void names(void **state) {
    (void)state;
    static const char *const shapes[] = {"B, T", "X, Y", "B, B"};
    char name[3][64];
    for (int i = 0; i < 3; i++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        if (i == 1) shape(c, SN_F32, "A0, A1, A2");
        result(c, equal_layer(c, shapes[i]));
        snprintf(name[i], sizeof name[i], "%s", generate(c)->name);
        sn_arena_free(c->arena);
    }
    assert_string_equal(name[0], name[1]);
    Case *c = begin_case(SN_CLUSTER_MAP);
    result(c, one(c, SN_OP_EXP, param(c, SN_F32, "B, T")));
    assert_string_not_equal(name[0], generate(c)->name);
    sn_arena_free(c->arena);
}

static Case *dense_case(const char *shape) {
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, shape), *y = param(c, SN_BF16, shape), *scale = param(c, SN_F32, "1");
    Value *sum = two(c, SN_OP_ADD, two(c, SN_OP_MUL, x, expand(c, scale, shape)), cast(c, y, SN_F32));
    result(c, sum);
    result(c, cast(c, one(c, SN_OP_NEG, sum), SN_BF16));
    return c;
}

/* Where everything lies at the element's own place, shapes differ by a number of the launch alone. */
static void any_size(void **state) {
    (void)state;
    static const char *const shape[] = {"7", "1000", "33, 129", "5, 8, 7", "300000"};
    char first[64] = "";
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        Case *c = dense_case(shape[i]);
        const char *name = generate(c)->name;
        if (!i) snprintf(first, sizeof first, "%s", name);
        assert_string_equal(name, first);
        sn_arena_free(c->arena);
        check(dense_case(shape[i]), 1, none);
    }
}

static Case *scale_case(const char *shape, double scale, double sign) {
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, shape);
    Value *y = two(c, SN_OP_ADD, two(c, SN_OP_MUL, x, number(c, scale, x)), number(c, sign * scale / 3, x));
    result(c, two(c, SN_OP_MUL, y, number(c, sign, y)));
    return c;
}

static bool same_text(const char *shape, double scale, double other, double sign) {
    Case *a = scale_case(shape, scale, 1), *b = scale_case(shape, other, sign);
    bool same = strcmp(generate(a)->source, generate(b)->source) == 0;
    sn_arena_free(a->arena);
    sn_arena_free(b->arena);
    return same;
}

/* Kernels of single elements differ by numbers of the launch where formulas differ by numbers that no formula has. */
static void any_scale(void **state) {
    (void)state;
    static const double scales[] = {0.0273, -1e-38, 3e38, 1234.567};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        assert_true(same_text("", 0.0123, scales[i], 1));
        check(scale_case("", scales[i], 1), 1, none);
    }
    assert_false(same_text("", 0.0123, 0.0123, -1));
    assert_false(same_text("1000", 0.0123, 0.0273, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementwise),   cmocka_unit_test(views),
        cmocka_unit_test(pieces),        cmocka_unit_test(gathers),
        cmocka_unit_test(nothing),       cmocka_unit_test(faults),
        cmocka_unit_test(sources),       cmocka_unit_test(float_functions),
        cmocka_unit_test(trigonometry),  cmocka_unit_test(integer_functions),
        cmocka_unit_test(casts),         cmocka_unit_test(logic),
        cmocka_unit_test(softmax_rows),  cmocka_unit_test(softmax_columns),
        cmocka_unit_test(softmax_keeps), cmocka_unit_test(layer_norm),
        cmocka_unit_test(reductions),    cmocka_unit_test(reduced_axes),
        cmocka_unit_test(scans),         cmocka_unit_test(names),
        cmocka_unit_test(any_size),      cmocka_unit_test(any_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

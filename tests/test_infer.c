/* ir: types, checks and shape values by inference. */
#include "eval.h"
#include "infer.h"
#include "number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct Fixture {
    Arena *arena;
    Graph *graph;
    Dims *dims;
    Builder builder;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    f->arena = sn_arena_new();
    f->graph = sn_graph_new(f->arena, "test");
    f->dims = f->graph->dims;
    f->builder = (Builder){.graph = f->graph, .region = f->graph->body};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    sn_error_free(f->builder.status);
    sn_arena_free(f->arena);
    free(f);
    return 0;
}

static void assert_ok(Status status) {
    if (status) fail_msg("%s", sn_error_message(status));
}

/* "T, 2*T + 1" */
static int dims_of(Fixture *f, const char *text, Dim *dim) {
    int count = 0;
    while (*text) {
        assert_ok(sn_dim_parse(f->dims, &text, NULL, 0, &dim[count++]));
        text += strspn(text, ", ");
    }
    return count;
}

static Value *input(Fixture *f, DType dtype, const char *shape) {
    Dim *dim = SN_ARRAY(f->arena, Dim, SN_MAX_RANK);
    int rank = dims_of(f, shape, dim);
    return sn_graph_input(f->graph, "x", (Type){dtype, rank, dim});
}

static void assert_type(Fixture *f, const Value *value, const char *want) {
    assert_ok(f->builder.status);
    Text text = sn_text(f->arena);
    sn_type_print(&text, f->dims, value->type);
    assert_string_equal(sn_text_string(&text), want);
}

/* "" for none; else "T + 1, 4". */
static void assert_known(Fixture *f, const Value *value, const char *want) {
    assert_ok(f->builder.status);
    Text text = sn_text(f->arena);
    int64_t count;
    if (value->known && sn_dim_is(sn_type_count(f->dims, value->type), &count))
        for (int64_t i = 0; i < count; i++) {
            if (i) sn_text_add(&text, ", ");
            sn_dim_print(&text, f->dims, value->known[i]);
        }
    assert_string_equal(sn_text_string(&text), want);
}

static void assert_refused(Fixture *f, const char *fragment) {
    assert_int_equal(sn_error_code(f->builder.status), SN_INVALID);
    if (!strstr(sn_error_message(f->builder.status), fragment))
        fail_msg("\"%s\" is not in: %s", fragment, sn_error_message(f->builder.status));
    sn_error_free(f->builder.status);
    f->builder.status = NULL;
}

static int check_count(const Fixture *f, CheckKind kind) {
    int count = 0;
    for (int k = 0; k < f->graph->checks.count; k++) count += f->graph->checks.at[k].kind == kind;
    return count;
}

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
    Value *packed = sn_build1(b, SN_OP_PACK, &(AttrPack){16}, input(f, SN_F32, "B, 8, 40"));
    assert_type(f, packed, "f32[B, 3, 8, 16]");
    AttrContract contract = {true, sn_dim(f->dims, 40)};
    assert_type(f, sn_build2(b, SN_OP_CONTRACT, &contract, x, packed), "f32[B, T, 40]");
    Value *angle = input(f, SN_F32, "T, 4");
    assert_type(f, sn_build3(b, SN_OP_ROTARY, NULL, x, angle, angle), "f32[B, T, 8]");
    Value *attention[4] = {input(f, SN_F32, "B, 12, S, 64"), input(f, SN_F32, "B, 4, T, 64"),
                           input(f, SN_F32, "B, 4, T, 32"), input(f, SN_F32, "S, T")};
    assert_type(f, sn_build(b, SN_OP_ATTENTION, &(AttrAttention){.scale = 1}, 4, attention),
                "f32[B, 12, S, 32]");
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

/* ---- shape values ---- */

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
    AttrIota iota = {SN_I32, sn_dim(f->dims, 3), sn_dim(f->dims, 5), sn_dim(f->dims, -2)};
    assert_known(f, sn_build(b, SN_OP_IOTA, &iota, 0, NULL), "5, 3, 1");
    AttrIota moving = {SN_I64, sn_dim(f->dims, 2), shape->known[1], sn_dim(f->dims, 1)};
    assert_known(f, sn_build(b, SN_OP_IOTA, &moving, 0, NULL), "T, T + 1");
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

/* ---- properties ---- */

static uint64_t draw(uint64_t *seed, uint64_t below) {
    uint32_t word[4];
    sn_philox(20240607, (*seed)++, word);
    return word[0] % below;
}

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

static Value *f32(Fixture *f, double value) {
    return sn_build_scalar(&f->builder, SN_F32, value);
}

/* float(T) of x: [0, T], an input without elements however large T is. */
static Value *float_size(Fixture *f) {
    Value *x = input(f, SN_F32, "0, T");
    return sn_build_cast(&f->builder, sn_build_dims(&f->builder, 1, &x->type.dim[1], true), SN_F32);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcasting),
        TEST(free_extents_broadcast_by_check),
        TEST(types_of_operators),
        TEST(what_is_wrong_is_named),
        TEST(unproven_extents_are_checked),
        TEST(known_values),
        TEST(narrow_integers_are_known_when_they_fit),
        cmocka_unit_test(known_values_are_what_is_computed),
        cmocka_unit_test(sizes_through_floats),
        cmocka_unit_test(broadcasting_agrees_with_numpy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

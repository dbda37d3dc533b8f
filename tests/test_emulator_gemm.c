/* Products on a GPU, run on the emulator: equal to the interpreter for all layouts, types and edges of tiles; planted
 * faults are found; and no read of a tile meets another one in a bank of shared memory. */
#include "emulator_fixture.h"

/* ---- the cases ---- */

enum { PROCESSORS = 3 }; /* so that few tiles are many */

/* B and T: one row, few rows, an edge of a narrow tile, wide tiles. */
static const int64_t sizes[][2] = {{1, 1}, {1, 7}, {3, 17}, {2, 150}};

typedef struct Made {
    Case *c;
    const Kernel *kernel;
    const char *what;
} Made;

typedef struct Suite {
    Arena *arena;
    SN_VEC(Made) made;
    Emulated emulated;
} Suite;

static Case *start(Precision precision) {
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    sn_target_cuda(&c->target, 90);
    c->target.processors = PROCESSORS;
    c->target.precision = precision;
    if (precision != SN_PRECISION_HIGHEST) c->tolerance = 1e-3;
    return c;
}

static void end(Suite *suite, Case *c, const char *what) {
    Made made = {c, generate(c), what};
    sn_push(suite->arena, &suite->made, made);
}

static Value *contract(Case *c, Value *a, Value *b) {
    return apply(c, SN_OP_CONTRACT, &(AttrContract){0}, a, b);
}

static const char *text(Case *c, const char *format, const char *a, const char *b) {
    return sn_arena_printf(c->arena, format, a, b);
}

/* A linear layer of `depth` by `width`, with a bias, a function, a residual and two results. */
static void add_linear(Suite *suite, DType type, Precision precision, const char *depth, const char *width,
                       bool transposed) {
    Case *c = start(precision);
    Value *x = param(c, type, text(c, "B, T, %s", depth, NULL));
    Value *w = transposed ? transpose(c, param(c, type, text(c, "%s, %s", width, depth)), (int[]){1, 0})
                          : param(c, type, text(c, "%s, %s", depth, width));
    Value *bias = param(c, type, width), *residual = param(c, type, text(c, "B, T, %s", width, NULL));
    Value *y = contract(c, reshape(c, x, text(c, "B*T, %s", depth, NULL)), w);
    y = reshape(c, y, text(c, "B, T, %s", width, NULL));
    y = two(c, SN_OP_ADD, y, expand(c, bias, text(c, "B, T, %s", width, NULL)));
    result(c, two(c, SN_OP_ADD, one(c, SN_OP_TANH, y), residual));
    result(c, y);
    end(suite, c, text(c, "linear %s %s", depth, width));
}

/* Products of heads, which lie side by side: `form` says how b lies, and a where it is 3. */
static void add_heads(Suite *suite, DType type, Precision precision, int form) {
    Case *c = start(precision);
    Value *a = transpose(c, param(c, type, "B, T, 3, 24"), (int[]){0, 2, 1, 3});
    Value *b = form == 0   ? transpose(c, param(c, type, "B, T, 3, 24"), (int[]){0, 2, 3, 1})
               : form == 1 ? expand(c, param(c, type, "1, 3, 24, T"), "B, 3, 24, T")
                           : param(c, type, "B, 3, 24, T");
    if (form == 3) a = transpose(c, param(c, type, "B, 3, 24, T"), (int[]){0, 1, 3, 2});
    Value *y = contract(c, a, b);
    result(c, two(c, SN_OP_MUL, y, number(c, 0.125, y)));
    end(suite, c, text(c, "heads", NULL, NULL));
}

/* The result's heads apart from one another. */
static void add_split(Suite *suite, DType type) {
    Case *c = start(SN_PRECISION_HIGHEST);
    Value *x = param(c, type, "B, T, 40"), *w = param(c, type, "40, 96");
    Value *y = contract(c, reshape(c, x, "B*T, 40"), w);
    result(c, transpose(c, reshape(c, y, "B, T, 3, 32"), (int[]){0, 2, 1, 3}));
    end(suite, c, "split");
}

/* Rows that are gathered: no address says where they lie. */
static void add_gathered(Suite *suite, Precision precision) {
    Case *c = start(precision);
    c->low = 0, c->high = 10;
    Value *table = param(c, SN_F32, "11, 32"), *index = param(c, SN_I64, "B, T"),
          *w = param(c, SN_F32, "32, 40");
    Value *x = apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, index);
    result(c, reshape(c, contract(c, reshape(c, x, "B*T, 32"), w), "B, T, 40"));
    end(suite, c, "gathered");
}

/* One column, one row, one element of depth, nothing to add up, and a depth that is split. */
static void add_thin(Suite *suite) {
    static const char *const shape[][2] = {
        {"T, 20", "20, 1"}, {"1, 20", "20, T"}, {"T, 1", "1, 8"}, {"T, B", "B, 12"}, {"T, 1000", "1000, 24"}};
    for (int i = 0; i < 5; i++) {
        Case *c = start(SN_PRECISION_HIGHEST);
        param(c, SN_F32, "B, T");
        c->scale = 0.3;
        Value *y = contract(c, param(c, SN_F32, shape[i][0]), param(c, SN_F32, shape[i][1]));
        result(c, two(c, SN_OP_ADD, y, y));
        end(suite, c, text(c, "thin %s by %s", shape[i][0], shape[i][1]));
    }
}

static void add_cases(Suite *suite) {
    static const DType types[] = {SN_F32, SN_F32, SN_BF16, SN_F16};
    static const Precision precisions[] = {SN_PRECISION_HIGHEST, SN_PRECISION_HIGH, SN_PRECISION_HIGHEST,
                                           SN_PRECISION_HIGHEST};
    for (int i = 0; i < 4; i++) {
        for (int transposed = 0; transposed < 2; transposed++) {
            add_linear(suite, types[i], precisions[i], "40", "72", transposed);
            add_linear(suite, types[i], precisions[i], "37", "65", transposed);
        }
        for (int form = 0; form < 4; form++) add_heads(suite, types[i], precisions[i], form);
    }
    add_split(suite, SN_F32);
    add_split(suite, SN_BF16);
    add_gathered(suite, SN_PRECISION_HIGHEST);
    add_gathered(suite, SN_PRECISION_HIGH);
    add_thin(suite);
}

/* ---- planted faults: edits of the first kernel of f32 and of bf16 ---- */

typedef struct Planted {
    const char *name;
    int made;
    const char *from, *to;
    const char *said; /* by the emulator; NULL: a wrong result is enough */
} Planted;

static const char probe[] =
    "#undef EMU_KERNEL\n"
    "extern \"C\" int gemm_tile_at(int math, int along_k, int rows, int row, int k) {\n"
    "    if (rows == 128 && along_k) return math == 0 ? SnGemmTile<0, true, 128>::at(row, k) : math == 1 ? "
    "SnGemmTile<1, true, 128>::at(row, k) : SnGemmTile<2, true, 128>::at(row, k);\n"
    "    if (rows == 128) return math == 0 ? SnGemmTile<0, false, 128>::at(row, k) : math == 1 ? "
    "SnGemmTile<1, false, 128>::at(row, k) : SnGemmTile<2, false, 128>::at(row, k);\n"
    "    if (along_k) return math == 0 ? SnGemmTile<0, true, 64>::at(row, k) : math == 1 ? "
    "SnGemmTile<1, true, 64>::at(row, k) : SnGemmTile<2, true, 64>::at(row, k);\n"
    "    return math == 0 ? SnGemmTile<0, false, 64>::at(row, k) : math == 1 ? "
    "SnGemmTile<1, false, 64>::at(row, k) : SnGemmTile<2, false, 64>::at(row, k);\n"
    "}\n";

static int setup(void **state) {
    Suite *suite = calloc(1, sizeof *suite);
    assert_non_null(suite);
    suite->arena = sn_arena_new();
    add_cases(suite);
    const Kernel **kernel = SN_ARRAY(suite->arena, const Kernel *, suite->made.count);
    for (int i = 0; i < suite->made.count; i++) kernel[i] = suite->made.at[i].kernel;
    emulate(&suite->emulated, emulated_text(suite->arena, kernel, suite->made.count, probe));
    *state = suite;
    return 0;
}

static int teardown(void **state) {
    Suite *suite = *state;
    for (int i = 0; i < suite->made.count; i++) sn_arena_free(suite->made.at[i].c->arena);
    dlclose(suite->emulated.library);
    sn_arena_free(suite->arena);
    free(suite);
    return 0;
}

static void products_equal_the_interpreter(void **state) {
    Suite *suite = *state;
    for (int i = 0; i < suite->made.count; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const Made *made = &suite->made.at[i];
            if (getenv("LOUD")) fprintf(stderr, "%d %s size %d\n", i, made->what, (int)s);
            EmuOrder order = (EmuOrder)((i + (int)s) % EMU_ORDER_COUNT);
            emulated_check(&suite->emulated, made->c, made->kernel, NULL, sizes[s], order, true);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_the_interpreter),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

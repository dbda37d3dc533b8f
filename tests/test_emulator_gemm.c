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

/* With a library there are no wide tiles. */
static Case *start(Precision precision, bool library) {
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    sn_target_cuda(&c->target, 90);
    c->target.processors = PROCESSORS;
    c->target.precision = precision;
    c->target.library = library;
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
    Case *c = start(precision, transposed);
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
    Case *c = start(precision, true);
    Value *a = transpose(c, param(c, type, "B, T, 3, 24"), (int[]){0, 2, 1, 3});
    Value *b = form == 0   ? transpose(c, param(c, type, "B, T, 3, 24"), (int[]){0, 2, 3, 1})
               : form == 1 ? expand(c, param(c, type, "1, 3, 24, T"), "B, 3, 24, T")
                           : param(c, type, "B, 3, 24, T");
    if (form == 3) a = transpose(c, param(c, type, "B, 3, 24, T"), (int[]){0, 1, 3, 2});
    Value *y = contract(c, a, b);
    result(c, two(c, SN_OP_MUL, y, number(c, 0.125, y)));
    end(suite, c, "heads");
}

/* The result's heads apart from one another. */
static void add_split(Suite *suite, DType type) {
    Case *c = start(SN_PRECISION_HIGHEST, false);
    Value *x = param(c, type, "B, T, 40"), *w = param(c, type, "40, 96");
    Value *y = contract(c, reshape(c, x, "B*T, 40"), w);
    result(c, transpose(c, reshape(c, y, "B, T, 3, 32"), (int[]){0, 2, 1, 3}));
    end(suite, c, "split");
}

/* Rows that are gathered: no address says where they lie. */
static void add_gathered(Suite *suite, Precision precision) {
    Case *c = start(precision, false);
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
        {"T, 20", "20, 1"}, {"1, 20", "20, T"}, {"T, 1", "1, 8"}, {"T, B", "B, 12"}, {"T, 1100", "1100, 24"}};
    for (int i = 0; i < 5; i++) {
        Case *c = start(SN_PRECISION_HIGHEST, i % 2);
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
            if (types[i] != SN_F16) add_linear(suite, types[i], precisions[i], "37", "65", transposed);
        }
        for (int form = 0; form < 4 && types[i] != SN_F16; form++)
            add_heads(suite, types[i], precisions[i], form);
    }
    add_split(suite, SN_F32);
    add_split(suite, SN_BF16);
    add_gathered(suite, SN_PRECISION_HIGHEST);
    add_gathered(suite, SN_PRECISION_HIGH);
    add_thin(suite);
}

/* ---- what the library computes ---- */

/* x times the logistic function of x·(slope + 0.044715·slope·x²): how the tanh form of GELU is expanded. */
static Value *gelu_tanh(Case *c, Value *narrow) {
    DType type = narrow->type.dtype;
    Value *x = type == SN_F32 ? narrow : cast(c, narrow, SN_F32);
    double slope = 2 * sqrt(2 / acos(-1));
    Value *square = two(c, SN_OP_MUL, two(c, SN_OP_MUL, x, x), number(c, 0.044715 * slope, x));
    Value *twice = two(c, SN_OP_MUL, x, two(c, SN_OP_ADD, square, number(c, slope, x)));
    Value *y = two(c, SN_OP_MUL, x, one(c, SN_OP_SIGMOID, twice));
    return type == SN_F32 ? y : cast(c, y, type);
}

/* What stands behind the products of the library's cases: a letter each. b: a bias, a: a matrix, r: ReLU, g: GELU in
 * its tanh form, e: a function that the library lacks, s: a bias again. */
static const char *const behind[] = {"", "b", "br", "bg", "ba", "ab", "bar", "e", "rb", "bs", "bgr"};
static const bool is_whole[] = {true, true, true, true, true, true, true, false, false, false, false};
enum { BEHIND = sizeof behind / sizeof *behind };

static void add_behind(Suite *suite, DType type, const char *letters) {
    Case *c = start(SN_PRECISION_HIGHEST, true);
    Value *x = param(c, type, "B, T, 40"), *w = param(c, type, "40, 72");
    Value *bias = param(c, type, "72"), *more = param(c, type, "B, T, 72");
    Value *y = reshape(c, contract(c, reshape(c, x, "B*T, 40"), w), "B, T, 72");
    for (; *letters; letters++) switch (*letters) {
        case 'b':
        case 's':
            y = two(c, SN_OP_ADD, y, expand(c, bias, "B, T, 72"));
            break;
        case 'a':
            y = two(c, SN_OP_ADD, more, y);
            break;
        case 'r':
            y = two(c, SN_OP_MAX, y, number(c, 0, y));
            break;
        case 'g':
            y = gelu_tanh(c, y);
            break;
        default:
            y = one(c, SN_OP_ERF, y);
        }
    result(c, y);
    end(suite, c, "library");
}

/* An element of a matrix of the product, and where it lies. */
static int64_t matrix_at(const LibraryMatrix *matrix, const int64_t *symbols, int64_t batch, int64_t row,
                         int64_t column) {
    int64_t stride = emulated_number(matrix->stride, symbols);
    return emulated_number(matrix->offset, symbols) + batch * emulated_number(matrix->batch_stride, symbols) +
           (matrix->transposed ? column * stride + row : row * stride + column);
}

static double matrix_get(const LibraryMatrix *matrix, const int64_t *symbols, const EmulatedRun *run,
                         int64_t batch, int64_t row, int64_t column) {
    Tensor tensor = {.dtype = matrix->dtype,
                     .count = INT64_MAX,
                     .payload = SN_PAYLOAD_BYTES,
                     .bytes = run->buffer[matrix->buffer]};
    return sn_tensor_get(&tensor, matrix_at(matrix, symbols, batch, row, column));
}

static double element(const LibraryProduct *p, const int64_t *symbols, const EmulatedRun *run, int64_t batch,
                      int64_t m, int64_t n) {
    double x = 0;
    for (int64_t k = 0; k < emulated_number(p->K, symbols); k++)
        x += matrix_get(&p->a, symbols, run, batch, m, k) * matrix_get(&p->b, symbols, run, batch, k, n);
    if (p->c.buffer >= 0) x += matrix_get(&p->c, symbols, run, batch, m, n);
    if (p->bias.buffer >= 0) x += matrix_get(&p->bias, symbols, run, 0, 0, n);
    if (p->epilogue == SN_LIBRARY_RELU) return x > 0 ? x : 0;
    return p->epilogue == SN_LIBRARY_GELU_TANH
               ? x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)))
               : x;
}

/* The library's product in double precision, then the rest on the emulator. */
static bool by_library(const Emulated *e, const Kernel *kernel, const int64_t *symbols, EmuOrder order,
                       EmulatedRun *run) {
    const LibraryProduct *p = kernel->library;
    int64_t batches = emulated_number(p->batch, symbols), M = emulated_number(p->M, symbols),
            N = emulated_number(p->N, symbols);
    for (int64_t batch = 0; batch < batches; batch++)
        for (int64_t m = 0; m < M; m++)
            for (int64_t n = 0; n < N; n++)
                sn_element_set(p->d.dtype, run->buffer[p->d.buffer], matrix_at(&p->d, symbols, batch, m, n),
                               element(p, symbols, run, batch, m, n));
    return !kernel->rest || emulated_kernel(e, kernel->rest, symbols, order, run);
}

/* ---- planted faults: edits of a kernel's text, and the binding that shows them ---- */

typedef struct Planted {
    const char *name, *what; /* the case */
    int size;
    const char *from, *to;
} Planted;

static const Planted planted[] = {
    {"no_wait", "linear 40 72", 2, "sn_copy_wait(AHEAD - 1);", ""},
    {"no_barrier", "linear 40 72", 2, "sn_copy_wait(AHEAD - 1);\n        __syncthreads();",
     "sn_copy_wait(AHEAD - 1);"},
    {"no_barrier_before_results", "linear 40 72", 2, "__syncthreads();\n        if (Sums::row0()",
     "if (Sums::row0()"},
    {"early_wait", "linear 40 72", 2, "sn_copy_wait(AHEAD - 1);", "sn_copy_wait(AHEAD);"},
    {"no_barrier_of_few", "linear 40 72", 1, "0;\n    __syncthreads();\n}", "0;\n}"},
};
enum { PLANTED = sizeof planted / sizeof *planted };

static const Made *find_case(const Suite *suite, const char *what) {
    int i = 0;
    while (strcmp(suite->made.at[i].what, what) != 0) i++;
    return &suite->made.at[i];
}

static const char *replaced(Arena *arena, const char *text, const char *from, const char *to, bool all) {
    Text out = sn_text(arena);
    const char *next = strstr(text, from);
    if (!next) fail_msg("no \"%s\"", from);
    for (; next; next = all ? strstr(text, from) : NULL) {
        sn_text_put(&out, text, (size_t)(next - text));
        sn_text_add(&out, "%s", to);
        text = next + strlen(from);
    }
    sn_text_add(&out, "%s", text);
    return sn_text_string(&out);
}

/* Each with a prelude and templates of its own, in a namespace. */
static void add_planted(const Suite *suite, Text *out) {
    for (int i = 0; i < PLANTED; i++) {
        const Kernel *kernel = find_case(suite, planted[i].what)->kernel;
        const char *text = replaced(suite->arena, kernel->source, planted[i].from, planted[i].to, false);
        text = replaced(suite->arena, text, kernel->name, planted[i].name, true);
        text =
            replaced(suite->arena, text, "sn_gemm_", sn_arena_printf(suite->arena, "sn_gemm_%d_", i), true);
        text = replaced(suite->arena, text, "SN_DEVICE_", sn_arena_printf(suite->arena, "SN_PLANTED_%d_", i),
                        true);
        sn_text_add(out, "namespace space_%d {\n%s\nEMU_KERNEL(%s)\n}\n", i, text, planted[i].name);
    }
}

static const char *planted_name;

static bool by_planted(const Emulated *e, const Kernel *kernel, const int64_t *symbols, EmuOrder order,
                       EmulatedRun *run) {
    char symbol[64];
    snprintf(symbol, sizeof symbol, "%s_call", planted_name);
    bool ran = emulated_launch(e, kernel, symbol, symbols, order, run);
    run->fault |= ran; /* whatever it computed is not looked at */
    return ran;
}

/* ---- banks of shared memory ---- */

typedef int TileAt(int row, int k);

enum { FMA, TF32, BF16, MATHS };

/* gemm_tile_at[math][along K][128 rows instead of 64] is SnGemmTile<…>::at. */
static const char probe[] =
    "#define AT(math, along, rows) SnGemmTile<math, along, rows>::at\n"
    "#define FORMS(math) {{AT(math, false, 64), AT(math, false, 128)}, {AT(math, true, 64), AT(math, true, "
    "128)}}\n"
    "extern \"C\" int (*const gemm_tile_at[3][2][2])(int, int) = {FORMS(0), FORMS(1), FORMS(2)};\n";

/* What some lanes access at once: words in different rows of one bank. */
static bool conflicts(const int *address, int count, int words) {
    int row[32];
    memset(row, -1, sizeof row);
    for (int i = 0; i < count; i++)
        for (int w = 0; w < words; w++) {
            int word = address[i] / 4 + w;
            if (row[word % 32] >= 0 && row[word % 32] != word / 32) return true;
            row[word % 32] = word / 32;
        }
    return false;
}

/* Copies into a tile: eight neighbouring chunks at a time. */
static bool copies_conflict(TileAt *at, int math, bool along, int rows) {
    int chunk = math == BF16 ? 8 : 4, address[8];
    for (int first = 0; first < rows * 4; first += 8) {
        for (int i = 0; i < 8; i++) {
            int q = first + i, across = rows / chunk;
            address[i] = along ? at(q / 4, q % 4 * chunk) : at(q % across * chunk, q / across);
        }
        if (conflicts(address, 8, 4)) return true;
    }
    return false;
}

/* What the lanes of a phase read: ldmatrix eight chunks; of TF32 across K a warp reads 8 by 4 words; multiply-adds
 * read pairs along K of eight rows, or chunks of four that are neighbours. */
static bool reads_conflict(TileAt *at, int math, bool along, int rows) {
    int chunk = math == BF16 ? 8 : 4, depth = 8 * chunk / 2, address[32];
    for (int row = 0; row + 8 <= rows; row += 8)
        for (int k = 0; k < depth; k += along ? chunk : math == TF32 ? 4 : math == BF16 ? 8 : 1) {
            int count = math == TF32 && !along ? 32 : 8;
            if (math == FMA && !along) count = 2;
            for (int i = 0; i < count; i++)
                address[i] = along          ? at(row + i, k)
                             : math == TF32 ? at(row + i / 4, k + i % 4)
                             : math == BF16 ? at(row, k + i)
                                            : at(row + i * 4, k);
            if (conflicts(address, count, count == 32 ? 1 : math == FMA && along ? 2 : 4)) return true;
        }
    return false;
}

/* ---- the suite ---- */

static int setup(void **state) {
    Suite *suite = calloc(1, sizeof *suite);
    assert_non_null(suite);
    suite->arena = sn_arena_new();
    for (int i = 0; i < BEHIND; i++) add_behind(suite, i % 2 ? SN_BF16 : SN_F32, behind[i]);
    add_cases(suite);
    const Kernel **kernel = SN_ARRAY(suite->arena, const Kernel *, 2 * suite->made.count);
    int count = 0;
    for (int i = 0; i < suite->made.count; i++) {
        kernel[count++] = suite->made.at[i].kernel;
        if (suite->made.at[i].kernel->rest) kernel[count++] = suite->made.at[i].kernel->rest;
    }
    Text more = sn_text(suite->arena);
    sn_text_add(&more, "%s", probe);
    add_planted(suite, &more);
    emulate(&suite->emulated, emulated_text(suite->arena, kernel, count, sn_text_string(&more)));
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

static void check_all(const Suite *suite, EmulatedWay *way) {
    for (int i = 0; i < suite->made.count; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const Made *made = &suite->made.at[i];
            EmuOrder order = (EmuOrder)((i + (int)s) % EMU_ORDER_COUNT);
            if (way == by_library && !made->kernel->library) continue;
            emulated_check(&suite->emulated, made->c, made->kernel, way, sizes[s], order);
        }
}

static void products_equal_the_interpreter(void **state) {
    check_all(*state, emulated_kernel);
}

static void library_products_equal_the_interpreter(void **state) {
    check_all(*state, by_library);
}

static void the_library_has_what_it_can(void **state) {
    const Suite *suite = *state;
    for (int i = 0; i < BEHIND; i++) {
        const Kernel *kernel = suite->made.at[i].kernel;
        assert_non_null(kernel->library);
        if (!kernel->rest != is_whole[i]) fail_msg("\"%s\": a rest, or none", behind[i]);
        assert_int_equal(kernel->library->c.buffer >= 0, is_whole[i] && strchr(behind[i], 'a'));
    }
    int heads = 0;
    for (int i = 0; i < suite->made.count; i++)
        if (strcmp(suite->made.at[i].what, "heads") == 0) heads += suite->made.at[i].kernel->library != NULL;
    assert_int_equal(heads, 3); /* of dense operands alone: those of two strides have none */
}

static void all_forms_are_run(void **state) {
    const Suite *suite = *state;
    int split = 0, wide = 0;
    for (int i = 0; i < suite->made.count; i++) {
        const Kernel *kernel = suite->made.at[i].kernel;
        int64_t shared = emulated_number(kernel->shared, sizes[3]);
        wide += shared == 4 * 2 * 128 * 64;
        split += kernel->after && emulated_number(kernel->after, sizes[3]) > 0;
    }
    assert_true(split >= 1 && wide >= 4);
}

static void planted_faults_are_found(void **state) {
    const Suite *suite = *state;
    for (int i = 0; i < PLANTED; i++)
        for (int order = 0; order < EMU_ORDER_COUNT; order++) {
            const Made *made = find_case(suite, planted[i].what);
            EmulatedRun run;
            planted_name = planted[i].name;
            if (emulated_run(&suite->emulated, made->c, made->kernel, by_planted, sizes[planted[i].size],
                             (EmuOrder)order, &run) ||
                !*run.message)
                fail_msg("%s, order %d: not noticed", planted[i].name, order);
        }
}

static void no_access_meets_another_in_a_bank(void **state) {
    const Suite *suite = *state;
    TileAt *const(*at)[2][2];
    *(void **)&at = emulated_symbol(&suite->emulated, "gemm_tile_at");
    for (int math = 0; math < MATHS; math++)
        for (int along = 0; along < 2; along++)
            for (int wide = 0; wide < 2; wide++) {
                TileAt *tile = at[math][along][wide];
                if (copies_conflict(tile, math, along, 64 << wide) ||
                    reads_conflict(tile, math, along, 64 << wide))
                    fail_msg("banks: math %d, along K %d, rows %d", math, along, 64 << wide);
            }
    const int same[] = {0, 128}, beside[] = {0, 16};
    assert_true(conflicts(same, 2, 4));
    assert_false(conflicts(beside, 2, 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_the_interpreter),
        cmocka_unit_test(library_products_equal_the_interpreter),
        cmocka_unit_test(the_library_has_what_it_can),
        cmocka_unit_test(all_forms_are_run),
        cmocka_unit_test(planted_faults_are_found),
        cmocka_unit_test(no_access_meets_another_in_a_bank),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

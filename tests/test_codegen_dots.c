/* Generated products of bf16 by bf16 against the interpreter, by dot products of pairs, by matrix tiles and by widened elements. */
#include "codegen_fixture.h"
#include "cpu/matrix.h"

/* How the products are made: widened, by the instruction (where the compiler has it), and by what stands for it; and
 * by matrix tiles, where the processor has them, and by what stands for these. */
typedef enum Way { WIDENED, DOTS, PLAIN_DOTS, MATRIX, PLAIN_MATRIX, WAYS } Way;

static Case *begin_dots(ClusterKind kind, Way way) {
    Case *c = begin_case(kind);
    c->target.dot_percent = way == DOTS || way == PLAIN_DOTS ? 200 : 50;
    c->target.matrix_percent = way >= MATRIX ? 800 : 0;
    return c;
}

static Kernel *generate_way(Case *c, Way way) {
    Kernel *kernel = generate(c);
    assert_int_equal(way != WIDENED, strstr(kernel->source, "#define SN_TILE_B 6") != NULL);
    assert_int_equal(way >= MATRIX, strstr(kernel->source, "#define SN_GEMM_MATRIX 1") ||
                                        strstr(kernel->source, "#define SN_ATTENTION_MATRIX 1"));
    if (way >= MATRIX) assert_string_equal(kernel->needs, "amx-tile amx-bf16");
    if (way == PLAIN_MATRIX || (way == MATRIX && sn_matrix_refusal()))
        kernel->source = sn_arena_printf(c->arena, "#define SN_MATRIX 0\n%s", kernel->source);
    if (way == PLAIN_DOTS)
        kernel->source = sn_arena_printf(c->arena, "#define SN_TILE_DOT 0\n%s", kernel->source);
    return kernel;
}

static void check_way(Case *c, Way way, int count, const int64_t *symbols) {
    void *handle;
    Kernel *kernel = generate_way(c, way);
    KernelFunction *function = compile(kernel, &handle);
    int width = sn_dims_symbol_count(c->graph->dims);
    for (int i = 0; i < count; i++) check_with(c, kernel, function, symbols + i * width);
    dlclose(handle);
    sn_arena_free(c->arena);
}

typedef struct Layout {
    const char *a, *b, *bias; /* as they lie in memory */
    bool turn_a, turn_b;      /* their last two axes are exchanged */
} Layout;

/* Operands in all layouts, of even and odd depths and of one that a run tells; a single row, few and many. */
static void data(void **state) {
    (void)state;
    enum { WIDE = 6 }; /* behind this one several pieces of groups of panels */
    static const Layout layouts[] = {
        {"B, T, 805", "B, 805, 70", "70", false, false}, {"B, T, 18", "B, 70, 18", "70", false, true},
        {"B, 37, T", "B, 37, 70", "70", true, false},    {"B, 37, T", "B, 70, 37", "70", true, true},
        {"B, 70, T", "B, T, 33", "33", false, false},    {"B, T, 70", "B, 33, T", "33", true, true},
        {"B, T, 37", "B, 1, 37", "1", false, true},      {"B, T, 805", "B, 805, 870", "870", false, false},
        {"B, 800, T", "B, 870, 800", "870", true, true},
    };
    static const int64_t sizes[] = {1, 1, 2, 3, 1, 16, 3, 17, 0, 5, 1, 100, 1, 301};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (Way way = 0; way < WAYS; way++) {
            if (way != MATRIX && (way != DOTS || i > WIDE) && i != 3) continue; /* the other ways see less */
            const Layout *l = &layouts[i];
            Case *c = begin_dots(SN_CLUSTER_CONTRACT, way);
            Value *a = param(c, SN_BF16, l->a), *b = param(c, SN_BF16, l->b),
                  *bias = param(c, SN_BF16, l->bias);
            if (l->turn_a) a = transpose(c, a, (int[]){0, 2, 1});
            if (l->turn_b) b = transpose(c, b, (int[]){0, 2, 1});
            Value *y = apply(c, SN_OP_CONTRACT, &(AttrContract){0}, a, b);
            result(c, two(c, SN_OP_ADD, y, spread(c, bias, y)));
            check_way(c, way, 7, sizes);
        }
}

/* Rows of heads, and rows with others between them, also such that pairs begin at odd elements. */
static void check_views(Way way) {
    static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 1, 100};
    Case *c = begin_dots(SN_CLUSTER_CONTRACT, way);
    Value *q = reshape(c, param(c, SN_BF16, "B, T, 4*24"), "B, T, 4, 24");
    Value *k = reshape(c, param(c, SN_BF16, "B, T, 4*24"), "B, T, 4, 24");
    Value *y = apply(c, SN_OP_CONTRACT, &(AttrContract){0}, transpose(c, q, (int[]){0, 2, 1, 3}),
                     transpose(c, k, (int[]){0, 2, 3, 1}));
    result(c, two(c, SN_OP_MUL, y, number(c, 0.125, y)));
    check_way(c, way, 4, sizes);
}
static void views(void **state) {
    (void)state;
    check_views(DOTS);
    check_views(MATRIX);
}

typedef struct Packed {
    int64_t depth;
    const char *rows; /* of x as it lies; NULL: [B·T, depth] */
    bool turned;      /* x lies as [depth, B·T] */
    int skipped;      /* elements before those of a row that are multiplied */
} Packed;

/* Rows of panels [P, K, N] as they lie: of two the elements side by side. */
static void pair_rows(uint16_t *panels, const Array *array) {
    int64_t count = array->extent[0] * array->extent[1] / 2, width = array->extent[2];
    uint16_t *two_rows = malloc(sizeof(uint16_t) * 2 * (size_t)width);
    assert_non_null(two_rows);
    for (int64_t i = 0; i < count; i++, panels += 2 * width) {
        memcpy(two_rows, panels, sizeof(uint16_t) * 2 * (size_t)width);
        for (int64_t n = 0; n < 2 * width; n++) panels[n] = two_rows[n % 2 * width + n / 2];
    }
    free(two_rows);
}

/* One run whole and one in single items, which have the same bits. The third input is the panels. */
static void check_panels(Case *c, const Kernel *kernel, KernelFunction *function, const int64_t *symbols) {
    enum { INPUTS = 4, PANELS = 2 };
    Array *inputs[INPUTS], *output;
    Run run[2] = {0};
    for (int i = 0; i < INPUTS; i++) {
        inputs[i] = random_input(c, c->graph->body->param.at[i], symbols, (uint64_t)i + 1);
        run[0].buffer[i] = run[1].buffer[i] = bytes_of(inputs[i]);
    }
    assert_ok(sn_eval_graph(c->arena, c->graph, false, (const Array *const *)inputs, &output));
    pair_rows(run[0].buffer[PANELS], inputs[PANELS]);
    launch(c, kernel, function, symbols, &run[0], INT64_MAX / 2);
    launch(c, kernel, function, symbols, &run[1], 1);
    compare(c, output, run[0].buffer[INPUTS], "a packed product");
    assert_memory_equal(run[0].buffer[INPUTS], run[1].buffer[INPUTS],
                        (size_t)output->count * sizeof(uint16_t));
    for (int i = 0; i < INPUTS; i++) free(run[0].buffer[i]);
    free(run[0].buffer[INPUTS]), free(run[1].buffer[INPUTS]);
}

/* x by 200 packed columns, with the rows' kernel for each height of the tile. */
static void check_packed(const Packed *t, Way way) {
    static const int64_t sizes[] = {1, 1, 1, 2, 1, 3, 2, 2, 1, 5, 3,  2, 1,
                                    7, 1, 8, 1, 9, 0, 9, 7, 9, 4, 67, 3, 100};
    Case *c = begin_dots(SN_CLUSTER_CONTRACT, way);
    char text[96];
    param(c, SN_BF16, "B, T"); /* names the symbols */
    snprintf(text, sizeof text, t->turned ? "%lld, B*T" : "B*T, %lld", (long long)t->depth);
    Value *x = param(c, SN_BF16, t->rows ? t->rows : text);
    if (t->rows) {
        snprintf(text, sizeof text, "%lld", (long long)t->depth);
        x = slice(c, x, 1, t->skipped, text, 1);
    }
    if (t->turned) x = transpose(c, x, (int[]){1, 0});
    long long panel = c->target.panel;
    snprintf(text, sizeof text, "%lld, %lld, %lld", (199 + panel) / panel, (long long)t->depth, panel);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, 200)};
    Value *y = apply(c, SN_OP_CONTRACT, &attr, x, param(c, SN_BF16, text)), *bias = param(c, SN_BF16, "200");
    result(c, reshape(c, two(c, SN_OP_ADD, y, spread(c, bias, y)), "B, T, 200"));
    Kernel *kernel = generate_way(c, way);
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    for (int i = 0; i < (t->depth > 1000 ? 11 : 13); i++) check_panels(c, kernel, function, sizes + 2 * i);
    dlclose(handle);
    sn_arena_free(c->arena);
}

static void packed(void **state) {
    (void)state;
    static const Packed cases[] = {
        {.depth = 2},
        {.depth = 130, .turned = true},
        {.depth = 64, .rows = "B*T, 80", .skipped = 6},
        {.depth = 64, .rows = "B*T, 81", .skipped = 7},
        {.depth = 2100},
        {.depth = 2100, .turned = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (Way way = 0; way < WAYS; way++)
            if (way == DOTS || way == MATRIX || cases[i].depth == 130) check_packed(&cases[i], way);
}

/* Panels as the pack kernel makes them: pairs of rows, by which the product is checked against the matrix itself. */
static void packing(void **state) {
    (void)state;
    Case *p = begin_dots(SN_CLUSTER_PACK, DOTS);
    Value *w = param(p, SN_BF16, "2, 130, 70");
    result(p, apply(p, SN_OP_PACK, &(AttrPack){.panel = p->target.panel}, w, NULL));
    Kernel *kernel = generate(p);
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    Array *in = random_input(p, w, NULL, 3);
    Run run = {.buffer = {bytes_of(in)}};
    launch(p, kernel, function, NULL, &run, 1);
    int64_t panel = p->target.panel, panels = (69 + panel) / panel;
    const uint16_t *made = run.buffer[1];
    for (int64_t i = 0; i < in->count; i++) {
        int64_t n = i % 70, k = i / 70 % 130, of = i / 70 / 130 * panels + n / panel;
        uint32_t bits = (uint32_t)made[((of * 65 + k / 2) * panel + n % panel) * 2 + k % 2] << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        assert_true(x == (float)in->f[i]);
    }
    dlclose(handle);
    free(run.buffer[0]), free(run.buffer[1]);
    sn_arena_free(p->arena);
}

/* Operands that are not bf16 both, as they lie, have more bits than pairs: they are widened. */
static void exact_operands(void **state) {
    (void)state;
    static const int64_t sizes[] = {3, 17};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    c->target.dot_percent = 200;
    Value *a = param(c, SN_BF16, "B, T, 18"), *b = param(c, SN_BF16, "B, 18, 70");
    Value *scaled = two(c, SN_OP_MUL, a, number(c, 1.0 / 3, a));
    result(c, apply(c, SN_OP_CONTRACT, &(AttrContract){0}, scaled, b));
    check_way(c, WIDENED, 1, sizes);
    c = begin_case(SN_CLUSTER_CONTRACT);
    c->target.dot_percent = 200;
    char text[64];
    long long panel = c->target.panel;
    snprintf(text, sizeof text, "%lld, 40, %lld", (69 + panel) / panel, panel);
    a = param(c, SN_F32, "B*T, 40"), param(c, SN_F32, "B, T");
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, 70)};
    result(c, apply(c, SN_OP_CONTRACT, &attr, a, param(c, SN_BF16, text)));
    check_way(c, WIDENED, 0, NULL);
}

typedef struct Attends {
    int D, DV;
    const char *keys; /* how many */
    double scale, softcap, dropout;
    int bias;    /* 0: none, 1: of which columns count, 2: added */
    bool causal; /* the queries are the last rows; 700 keys or more than these */
    bool turned; /* keys do not lie one behind another along d */
} Attends;

/* Attention of bf16: heads of several widths, steps that begin and end at odd columns, and everything between the products. */
static void check_attention(const Attends *t, Way way) {
    static const int64_t sizes[] = {1, 9, 2, 17, 1, 40, 3, 3, 0, 20, 1, 101};
    Case *c = begin_dots(SN_CLUSTER_ATTENTION, way);
    char text[96];
    snprintf(text, sizeof text, "B, T, 4*%d", t->D);
    Value *q = param(c, SN_BF16, text), *operand[5] = {NULL};
    snprintf(text, sizeof text, "B, T, 4, %d", t->D);
    operand[0] = transpose(c, reshape(c, q, text), (int[]){0, 2, 1, 3});
    snprintf(text, sizeof text, t->turned ? "B, 2, %2$d, %1$s" : "B, 2, %1$s, %2$d", t->keys, t->D);
    operand[1] = param(c, SN_BF16, text);
    if (t->turned) operand[1] = transpose(c, operand[1], (int[]){0, 1, 3, 2});
    snprintf(text, sizeof text, "B, 2, %s, %d", t->keys, t->DV);
    operand[2] = param(c, SN_BF16, text);
    snprintf(text, sizeof text, t->bias == 1 ? "B, 1, 1, %s" : "B, 4, T, %s", t->keys);
    if (t->bias) operand[3] = param(c, t->bias == 1 ? SN_BOOL : SN_BF16, text);
    AttrAttention attr = {.scale = t->scale,
                          .causal = t->causal,
                          .zero_rows = true,
                          .softcap = t->softcap,
                          .dropout = t->dropout,
                          .number = t->dropout > 0 ? 5 : 0};
    if (t->causal) attr.offset = sn_dim(c->graph->dims, strcmp(t->keys, "T") == 0 ? 0 : 699);
    if (t->dropout > 0) operand[4] = param(c, SN_I64, "2");
    Value *y = sn_build(&c->b, SN_OP_ATTENTION, &attr, operand[4] ? 5 : operand[3] ? 4 : 3, operand);
    assert_ok(c->b.status);
    snprintf(text, sizeof text, "B, T, 4*%d", t->DV);
    result(c, reshape(c, transpose(c, y, (int[]){0, 2, 1, 3}), text));
    c->low = 0, c->high = 1 << 20;
    check_way(c, way, 6, sizes);
}

static void attention(void **state) {
    (void)state;
    static const Attends cases[] = {
        {64, 64, "T", 0.125, 0, 0, 0, true, false},
        {128, 128, "T + 699", 0.0883883, 0, 0, 0, true, false},
        {40, 24, "T", 0.17, 0, 0, 1, false, false},
        {18, 70, "T + 699", 0.25, 0.7, 0, 2, true, false},
        {96, 96, "T + 699", 0.1, 0, 0.3, 1, false, false},
        {34, 40, "T", -0.2, 0, 0, 0, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (Way way = DOTS; way < WAYS; way++)
            if (way != PLAIN_DOTS) check_attention(&cases[i], way);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data),    cmocka_unit_test(views),          cmocka_unit_test(packed),
        cmocka_unit_test(packing), cmocka_unit_test(exact_operands), cmocka_unit_test(attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

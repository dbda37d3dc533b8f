/* Generated C against the interpreter: contractions, packing, attention. */
#include "codegen_fixture.h"
#include "cpu/matrix.h"
#include "recurrent.h"

/* B, T, small and odd. */
static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 1, 100};
enum { SIZES = 4 };

static Value *contract(Case *c, Value *a, Value *b) {
    return apply(c, SN_OP_CONTRACT, &(AttrContract){0}, a, b);
}

/* A linear layer: activation rows by a weight, bias, GELU, residual. */
static void linear(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Value *x = param(c, SN_F32, "B, T, 70"), *w = param(c, SN_F32, "70, 50"), *bias = param(c, SN_F32, "50");
    Value *residual = param(c, SN_F32, "B, T, 50");
    Value *y = reshape(c, contract(c, reshape(c, x, "B*T, 70"), w), "B, T, 50");
    y = two(c, SN_OP_ADD, y, expand(c, bias, "B, T, 50"));
    result(c, two(c, SN_OP_ADD, one(c, SN_OP_TANH, y), residual));
    result(c, y);
    check(c, SIZES, sizes);
}

/* Heads are split behind the product and the weight is stored transposed. */
static void heads(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Value *x = param(c, SN_F32, "B, T, 33"), *w = param(c, SN_F32, "96, 33"), *bias = param(c, SN_F32, "96");
    Value *y = contract(c, reshape(c, x, "B*T, 33"), transpose(c, w, (int[]){1, 0}));
    y = two(c, SN_OP_ADD, reshape(c, y, "B, T, 96"), expand(c, bias, "B, T, 96"));
    result(c, transpose(c, reshape(c, y, "B, T, 3, 32"), (int[]){0, 2, 1, 3}));
    check(c, SIZES, sizes);
}

/* Batched products of transposed data, in three layouts. */
static void batched(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        Case *c = begin_case(SN_CLUSTER_CONTRACT);
        Value *a = transpose(c, param(c, SN_F32, "B, T, 4, 24"), (int[]){0, 2, 1, 3});
        Value *b = k == 0   ? transpose(c, param(c, SN_F32, "B, T, 4, 24"), (int[]){0, 2, 3, 1})
                   : k == 1 ? expand(c, param(c, SN_F32, "1, 4, 24, T"), "B, 4, 24, T")
                            : param(c, SN_F32, "B, 4, 24, T");
        if (k == 2) a = transpose(c, param(c, SN_F32, "B, 4, 24, T"), (int[]){0, 1, 3, 2});
        Value *y = contract(c, a, b);
        result(c, two(c, SN_OP_MUL, y, number(c, 0.125, y)));
        check(c, SIZES, sizes);
    }
}

/* One column, one row, one element of depth; and nothing to add up. */
static void thin(void **state) {
    (void)state;
    static const char *const a[] = {"T, 20", "1, 20", "T, 1", "1, B"}, *const b[] = {"20, 1", "20, T", "1, 8",
                                                                                     "B, 1"};
    for (int i = 0; i < 4; i++) {
        Case *c = begin_case(SN_CLUSTER_CONTRACT);
        param(c, SN_F32, "B, T");
        Value *y = contract(c, param(c, SN_F32, a[i]), param(c, SN_F32, b[i]));
        result(c, two(c, SN_OP_ADD, y, y));
        check(c, 3, (const int64_t[]){1, 1, 0, 17, 30, 100});
    }
}

static void types(void **state) {
    (void)state;
    static const DType types[] = {SN_F16, SN_BF16, SN_F64, SN_I32, SN_I64, SN_U8};
    for (int t = 0; t < 6; t++) {
        Case *c = begin_case(SN_CLUSTER_CONTRACT);
        Value *a = param(c, types[t], "B, T, 19"), *b = param(c, types[t], "B, 19, 21");
        Value *y = contract(c, a, b);
        result(c, two(c, SN_OP_ADD, y, y));
        check(c, SIZES, sizes);
    }
}

typedef struct PackedCase {
    DType left, panels;
    int64_t depth;
    bool turned;   /* the rows of x lie side by side */
    int64_t block; /* rows of the weight that share a factor; 0: there are none */
} PackedCase;

/* x [B·T, depth] by 70 columns; `size`: B and T, by which x may have its own word for its depth. */
static void check_packed(const PackedCase *t, const int64_t *size, const char *depth) {
    Case *p = begin_case(SN_CLUSTER_PACK), *c = begin_case(SN_CLUSTER_CONTRACT);
    char text[64];
    snprintf(text, sizeof text, "70, %lld", (long long)t->depth);
    p->low = -128, p->high = 127;
    Value *stored = param(p, t->panels, text), *w = transpose(p, stored, (int[]){1, 0});
    result(p, apply(p, SN_OP_PACK, &(AttrPack){.panel = p->target.panel}, w, NULL));
    Kernel *pack = generate(p);
    snprintf(text, sizeof text, "%lld", (long long)t->depth);
    char x_text[64];
    snprintf(x_text, sizeof x_text, t->turned ? "%s, B*T" : "B*T, %s", depth ? depth : text);
    Value *x = param(c, t->left, x_text);
    Type type = p->cluster->output[0]->type;
    snprintf(text, sizeof text, "%lld, %lld, %lld", (long long)type.dim[0]->value, (long long)t->depth,
             (long long)c->target.panel);
    Value *b = param(c, t->panels, text);
    int64_t blocks = t->block ? (t->depth + t->block - 1) / t->block : 0, panel = c->target.panel;
    snprintf(text, sizeof text, "%lld, %lld, %lld", (long long)type.dim[0]->value, (long long)blocks,
             (long long)panel);
    Value *operand[3] = {t->turned ? transpose(c, x, (int[]){1, 0}) : x, b};
    if (t->block) operand[2] = param(c, SN_F32, text);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, 70), .block = t->block};
    Value *y = sn_build(&c->b, SN_OP_CONTRACT, &attr, t->block ? 3 : 2, operand);
    assert_ok(c->b.status);
    result(c, reshape(c, y, "B, T, 70"));
    Kernel *kernel = generate(c);

    void *handle[2];
    KernelFunction *do_pack = compile(pack, &handle[0]), *multiply = compile(kernel, &handle[1]);
    Array *in[2] = {random_input(c, x, size, 1), random_input(p, stored, size, 2)};
    Run one_run = {.buffer = {bytes_of(in[1])}}, two_runs = {.buffer = {bytes_of(in[0])}};
    launch(p, pack, do_pack, size, &one_run, 1);
    two_runs.buffer[1] = one_run.buffer[1];
    Array *scale = t->block ? random_input(c, operand[2], size, 3) : NULL;
    if (scale) two_runs.buffer[2] = bytes_of(scale);
    launch(c, kernel, multiply, size, &two_runs, 1);
    Array *truth = sn_array_new(c->arena, t->left, 3, (const int64_t[]){size[0], size[1], 70});
    int64_t M = size[0] * size[1], K = t->depth;
    for (int64_t i = 0; i < truth->count; i++)
        for (int64_t k = 0; k < K; k++) {
            int64_t at = i % 70 * K + k;
            double right = in[1]->f ? in[1]->f[at] : (double)in[1]->i[at];
            int64_t of = (i % 70 / panel * blocks + (t->block ? k / t->block : 0)) * panel + i % 70 % panel;
            truth->f[i] +=
                in[0]->f[t->turned ? k * M + i / 70 : i / 70 * K + k] * right * (scale ? scale->f[of] : 1);
        }
    compare(c, truth, two_runs.buffer[scale ? 3 : 2], "packed product");
    dlclose(handle[0]), dlclose(handle[1]);
    free(one_run.buffer[0]), free(one_run.buffer[1]), free(two_runs.buffer[0]), free(two_runs.buffer[2]);
    if (scale) free(two_runs.buffer[3]);
    sn_arena_free(p->arena), sn_arena_free(c->arena);
}

/* A packed weight, packed by the pack kernel of the same target. */
static void packed(void **state) {
    (void)state;
    static const PackedCase cases[] = {
        {SN_F32, SN_F32, 40, false, 0}, {SN_F32, SN_F32, 40, true, 0},   {SN_BF16, SN_BF16, 40, false, 0},
        {SN_F16, SN_F16, 40, false, 0}, {SN_F64, SN_F64, 40, false, 0},  {SN_BF16, SN_BF16, 41, false, 0},
        {SN_F32, SN_F32, 3, false, 0},  {SN_F32, SN_BF16, 40, false, 0}, {SN_F32, SN_F16, 40, false, 0},
        {SN_F32, SN_BF16, 41, true, 0}, {SN_F32, SN_I8, 41, false, 0},   {SN_F32, SN_I8, 1100, true, 0},
        {SN_F32, SN_I8, 45, true, 16},  {SN_F32, SN_I8, 300, false, 32}};
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        check_packed(&cases[t], (const int64_t[]){3, 17}, NULL);
        if (cases[t].panels == SN_I8) check_packed(&cases[t], (const int64_t[]){1, 3}, NULL);
        if (cases[t].block) check_packed(&cases[t], (const int64_t[]){1, 1}, NULL);
        if (cases[t].depth == 40 && !cases[t].turned)
            check_packed(&cases[t], (const int64_t[]){3, 10}, "4*T");
    }
}

/* How bytes are multiplied: by dot products or by matrix tiles; the processor's, where it has them, or what stands for these. */
typedef enum ByteWay { DOTS, PLAIN_DOTS, TILES, PLAIN_TILES, BYTE_WAYS } ByteWay;

static Kernel *generate_bytes(Case *c, ByteWay way) {
    c->target.matrix_byte_percent = way >= TILES ? 800 : 0;
    Kernel *kernel = generate(c);
    assert_int_equal(way >= TILES, strstr(kernel->source, "#define SN_GEMM_MATRIX 1") != NULL);
    if (way >= TILES) assert_string_equal(kernel->needs, "amx-tile amx-int8");
    if (way == PLAIN_TILES || (way == TILES && sn_matrix_refusal()))
        kernel->source = sn_arena_printf(c->arena, "#define SN_MATRIX 0\n%s", kernel->source);
    if (way == PLAIN_DOTS)
        kernel->source = sn_arena_printf(c->arena, "#define SN_TILE_DOT 0\n%s", kernel->source);
    return kernel;
}

/* Bytes by bytes in groups of four rows: depths that fill no words, one of several pieces, and the largest products, which
 * sums of pairs in 16 bits do not hold. */
static void check_bytes(int64_t depth, bool turned, bool extremes, ByteWay way) {
    static const int64_t few[] = {1, 1, 0, 9, 1, 2, 1, 3, 2, 2, 1, 5, 3, 2, 1, 7, 1, 8, 1, 9};
    static const int64_t many[] = {7, 9, 4, 16, 13, 10, 4, 67};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    char text[96];
    param(c, SN_U8, "B, T"); /* names the symbols */
    snprintf(text, sizeof text, turned ? "%lld, B*T" : "B*T, %lld", (long long)depth);
    Value *x = param(c, SN_U8, text);
    if (turned) x = transpose(c, x, (int[]){1, 0});
    int64_t panel = c->target.panel;
    snprintf(text, sizeof text, "%lld, %lld, %lld, 4", (69 + (long long)panel) / (long long)panel,
             (3 + (long long)depth) / 4, (long long)panel);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, 70), .group = 4};
    Value *y = apply(c, SN_OP_CONTRACT, &attr, x, param(c, SN_I8, text)), *bias = param(c, SN_I32, "70");
    result(c, reshape(c, two(c, SN_OP_ADD, y, spread(c, bias, y)), "B, T, 70"));
    c->low = -128, c->high = extremes ? -128 : 127;
    Kernel *kernel = generate_bytes(c, way);
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    for (int i = 0; i < 10 && depth < 1000; i++) check_with(c, kernel, function, few + 2 * i);
    for (int i = 0; i < 4; i++) check_with(c, kernel, function, many + 2 * i);
    dlclose(handle);
    sn_arena_free(c->arena);
}

static void products_of_bytes(void **state) {
    (void)state;
    static const int64_t depths[] = {1, 4, 31, 130};
    for (ByteWay way = 0; way < BYTE_WAYS; way++) {
        bool plain = way == PLAIN_DOTS || way == PLAIN_TILES;
        for (int i = 0; i < 4 && !plain; i++) check_bytes(depths[i], false, false, way);
        check_bytes(130, true, false, way);
        check_bytes(plain ? 31 : 130, false, true, way);
        for (int64_t depth = 4100; depth <= 4103 && !plain; depth += 3) check_bytes(depth, false, false, way);
    }
}

/* Four bits a number, eight rows in a word, with factors of blocks of rows. */
static void check_halves(int64_t depth, int64_t block, bool turned) {
    static const int64_t bindings[] = {1, 1, 1, 2, 3, 2, 1, 9, 0, 9, 3, 17, 13, 10};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    char text[96];
    param(c, SN_U8, "B, T"); /* names the symbols */
    snprintf(text, sizeof text, turned ? "%lld, B*T" : "B*T, %lld", (long long)depth);
    Value *operand[3] = {param(c, SN_F32, text)};
    if (turned) operand[0] = transpose(c, operand[0], (int[]){1, 0});
    long long panel = c->target.panel, panels = (199 + panel) / panel;
    snprintf(text, sizeof text, "%lld, %lld, %lld, 4", panels, (long long)depth / 8, panel);
    operand[1] = param(c, SN_I8, text);
    snprintf(text, sizeof text, "%lld, %lld, %lld", panels, (long long)((depth + block - 1) / block), panel);
    operand[2] = param(c, SN_F32, text);
    Dim columns = sn_dim(c->graph->dims, 200);
    AttrContract attr = {.packed = true, .columns = columns, .block = block, .halves = true, .group = 4};
    Value *y = sn_build(&c->b, SN_OP_CONTRACT, &attr, 3, operand);
    assert_ok(c->b.status);
    result(c, reshape(c, y, "B, T, 200"));
    c->low = -128, c->high = 127;
    check(c, 7, bindings);
}

static void products_of_halves(void **state) {
    (void)state;
    check_halves(64, 16, false);
    check_halves(312, 32, false);
    check_halves(312, 128, true);
}

/* Bytes packed in groups. */
static void packed_groups(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_PACK);
    Value *w = param(c, SN_I8, "2, 45, 70");
    result(c, apply(c, SN_OP_PACK, &(AttrPack){.panel = c->target.panel, .group = 4}, w, NULL));
    c->low = -128, c->high = 127;
    check(c, 1, sizes);
}

/* Rows that overlap in memory, as windows do, by a packed weight. */
static void windows(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Dims *dims = c->graph->dims;
    char panels[64];
    snprintf(panels, sizeof panels, "%lld, 32, %lld", (69 + (long long)c->target.panel) / c->target.panel,
             (long long)c->target.panel);
    Value *like = param(c, SN_F32, "B, T"), *x = param(c, SN_F32, "4*T + 28"), *w = param(c, SN_F32, panels);
    Dim extent[2] = {like->type.dim[1], sn_dim(dims, 32)};
    Dim start = sn_dim_mulc(dims, sn_dim_axis(dims, 0, extent[0]), 4);
    Dim index = sn_dim_add(dims, start, sn_dim_axis(dims, 1, extent[1]));
    Value *rows = apply(c, SN_OP_VIEW, &(AttrView){2, extent, 1, &index}, x, NULL);
    result(c,
           apply(c, SN_OP_CONTRACT, &(AttrContract){.packed = true, .columns = sn_dim(dims, 70)}, rows, w));
    check(c, SIZES, sizes);
}

/* The same by a weight with factors of blocks of rows, of which few rows are multiplied in one piece. */
static void windows_by_blocks(void **state) {
    (void)state;
    enum { STEP = 128, DEPTH = 512, BLOCK = 32 };
    static const int64_t rows_of[] = {1, 3, 1, 16};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Dims *dims = c->graph->dims;
    int panel = (int)c->target.panel, panels = (69 + panel) / panel;
    char text[64];
    Value *like = param(c, SN_U8, "B, T"), *operand[3], *x = param(c, SN_F32, "128*T + 384");
    snprintf(text, sizeof text, "%d, %d, %d", panels, DEPTH, panel);
    operand[1] = param(c, SN_I8, text);
    snprintf(text, sizeof text, "%d, %d, %d", panels, DEPTH / BLOCK, panel);
    operand[2] = param(c, SN_F32, text);
    Dim extent[2] = {like->type.dim[1], sn_dim(dims, DEPTH)};
    Dim start = sn_dim_mulc(dims, sn_dim_axis(dims, 0, extent[0]), STEP);
    Dim index = sn_dim_add(dims, start, sn_dim_axis(dims, 1, extent[1]));
    operand[0] = apply(c, SN_OP_VIEW, &(AttrView){2, extent, 1, &index}, x, NULL);
    AttrContract attr = {.packed = true, .columns = sn_dim(dims, 70), .block = BLOCK};
    Value *y = sn_build(&c->b, SN_OP_CONTRACT, &attr, 3, operand);
    assert_ok(c->b.status);
    result(c, y);
    check(c, 2, rows_of);
}

/* The kernel that packs a matrix "batch, rows, columns", read transposed or not; what it makes is compared with the
 * matrix, panel by panel. */
static void pack_name(const char *shape, bool transposed, char *name) {
    Case *c = begin_case(SN_CLUSTER_PACK);
    Value *stored = param(c, SN_F32, shape),
          *w = transposed ? transpose(c, stored, (int[]){0, 2, 1}) : stored;
    Value *packed = apply(c, SN_OP_PACK, &(AttrPack){.panel = c->target.panel}, w, NULL);
    result(c, packed);
    Kernel *kernel = generate(c);
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    Array *in = random_input(c, stored, sizes, 3);
    Run run = {.buffer = {bytes_of(in)}};
    launch(c, kernel, function, sizes, &run, 1);
    int64_t rows = in->extent[1], columns = in->extent[2], panel = c->target.panel, K, N, P;
    K = transposed ? columns : rows, N = transposed ? rows : columns, P = (N + panel - 1) / panel;
    for (int64_t i = 0; i < in->extent[0] * P * K * panel; i++) {
        int64_t n = i / (K * panel) % P * panel + i % panel, k = i / panel % K, b = i / (K * panel * P);
        const double *at = in->f + b * rows * columns + (transposed ? n * columns + k : k * columns + n);
        assert_true(((const float *)run.buffer[1])[i] == (n < N ? (float)*at : 0.0F));
    }
    strcpy(name, kernel->name);
    dlclose(handle);
    free(run.buffer[0]), free(run.buffer[1]);
    sn_arena_free(c->arena);
}

/* One kernel packs matrices of all sizes that lie alike. */
static void packs_of_all_sizes(void **state) {
    (void)state;
    char name[4][64];
    for (int transposed = 0; transposed < 2; transposed++) {
        pack_name("1, 40, 70", transposed, name[2 * transposed]);
        pack_name("3, 129, 100", transposed, name[2 * transposed + 1]);
        assert_string_equal(name[2 * transposed], name[2 * transposed + 1]);
    }
    assert_string_not_equal(name[0], name[2]);
}

/* A gather and arithmetic in front of a product. */
static void prologue(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Value *table = param(c, SN_F32, "20, 30"), *ids = param(c, SN_I64, "T");
    Value *rows = apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids);
    result(c, contract(c, two(c, SN_OP_MUL, rows, rows), param(c, SN_F32, "30, 40")));
    c->low = 0, c->high = 19;
    check(c, 3, (const int64_t[]){1, 5, 40});
}

/* With a number, weights are dropped by a state of its own. */
static Value *attention(Case *c, Value *q, Value *k, Value *v, Value *bias, AttrAttention attr) {
    Value *state = attr.number ? param(c, SN_I64, "2") : NULL;
    Value *result = sn_build(&c->b, SN_OP_ATTENTION, &attr,
                             state  ? 5
                             : bias ? 4
                                    : 3,
                             (Value *[]){q, k, v, bias, state});
    c->low = 0, c->high = 1 << 20; /* no run is negative */
    assert_ok(c->b.status);
    return result;
}

/* Self-attention on heads that lie side by side, its result put back side by side; with a soft cap where it is
 * causal; weights are dropped. */
static void self_attention(void **state) {
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        Case *c = begin_case(SN_CLUSTER_ATTENTION);
        Value *side[3];
        for (int i = 0; i < 3; i++)
            side[i] =
                transpose(c, reshape(c, param(c, SN_F32, "B, T, 4*20"), "B, T, 4, 20"), (int[]){0, 2, 1, 3});
        AttrAttention attr = {.scale = 0.25,
                              .causal = causal,
                              .offset = causal ? sn_dim(c->graph->dims, 0) : NULL,
                              .softcap = causal ? 0.7 : 0,
                              .dropout = 0.3,
                              .number = 5};
        Value *y = attention(c, side[0], side[1], side[2], NULL, attr);
        result(c, reshape(c, transpose(c, y, (int[]){0, 2, 1, 3}), "B, T, 80"));
        check(c, SIZES, sizes);
    }
}

/* A bias that is as low as floats get in the rows that are not kept. */
static Value *lowest_where(Case *c, Value *rows, const char *shape) {
    Value *keeps = expand(c, rows, shape), *zero = sn_build_scalar(&c->b, SN_F32, 0);
    Value *low = sn_build_scalar(&c->b, SN_F32, -0x1.fffffep127);
    Value *fill = sn_build3(&c->b, SN_OP_WHERE, NULL, keeps, expand(c, zero, shape), expand(c, low, shape));
    assert_ok(c->b.status);
    return fill;
}

/* The greatest score and log Σ exp relative to it beside the result: of many rows and of few, of few in several chunks, of
 * rows that see nothing, and of rows with nothing but the lowest float for scores. */
static void statistics(void **state) {
    (void)state;
    static const char *const keys[] = {"B, 2, T, 16", "B, 2, T + 699, 16", "B, 2, 3, 16", "B, 2, T, 16"};
    for (int kind = 0; kind < 4; kind++) {
        Case *c = begin_case(SN_CLUSTER_ATTENTION);
        Value *q = param(c, SN_F32, "B, 4, T, 16"), *k = param(c, SN_F32, keys[kind]),
              *v = param(c, SN_F32, keys[kind]);
        AttrAttention attr = {
            .scale = 0.25, .causal = true, .offset = sn_dim(c->graph->dims, kind == 2 ? -2 : 699)};
        attr.zero_rows = kind == 2;
        Value *fill = kind == 3 ? lowest_where(c, param(c, SN_BOOL, "T, 1"), "T, T") : NULL;
        Value *y = attention(c, q, k, v, fill, attr);
        const Node *one = y->producer;
        Node *two = sn_node_new(c->graph, SN_OP_ATTENTION, one->attr, one->input_count, one->input, 2);
        assert_ok(sn_infer_node(c->graph, two));
        sn_node_insert_before(two, y->producer);
        sn_node_remove(y->producer);
        result(c, two->output[0]);
        result(c, two->output[1]);
        check(c, kind == 1 ? 3 : SIZES, sizes);
    }
}

/* Cached keys (an offset), grouped heads, a mask by batch, soft caps, and no row without a key. */
static void cached_attention(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        Case *c = begin_case(SN_CLUSTER_ATTENTION);
        Value *q = param(c, SN_F32, "B, 6, T, 16"), *k = param(c, SN_F32, "B, 2, T + 5, 16"),
              *v = param(c, SN_F32, "B, 2, T + 5, 24");
        Value *bias = kind == 0   ? NULL
                      : kind == 1 ? param(c, SN_F32, "B, 1, 1, T + 5")
                                  : param(c, SN_BOOL, "T, T + 5");
        AttrAttention attr = {
            .scale = 0.25, .causal = kind != 2, .zero_rows = true, .softcap = kind ? 0.5 : 0};
        if (attr.causal) attr.offset = sn_dim(c->graph->dims, 5);
        result(c, attention(c, q, k, v, bias, attr));
        check(c, SIZES, sizes);
    }
}

/* Few rows against many keys, which several work items share, with grouped heads and without. */
static void split_attention(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        Case *c = begin_case(SN_CLUSTER_ATTENTION);
        const char *heads = kind == 1 ? "B, 6, T + 699, 32" : "B, 2, T + 699, 32";
        Value *q = param(c, SN_F32, "B, 6, T, 64"),
              *k = param(c, SN_F32, kind == 1 ? "B, 6, T + 699, 64" : "B, 2, T + 699, 64"),
              *v = param(c, SN_F32, heads), *bias = kind == 2 ? param(c, SN_BOOL, "B, 1, 1, T + 699") : NULL;
        AttrAttention attr = {.scale = 0.0625,
                              .causal = kind < 2,
                              .zero_rows = true,
                              .softcap = kind / 2,
                              .dropout = 0.5,
                              .number = kind == 2 ? 77 : 0};
        if (attr.causal) attr.offset = sn_dim(c->graph->dims, 699);
        result(c, attention(c, q, k, v, bias, attr));
        check(c, 3, sizes);
    }
}

/* The gradients of attention, from statistics of any kind: causal with cached keys that fill several steps (or none that a
 * row sees), grouped heads, values of another width, a mask, a bias, or rows whose maximum is −∞, and weights that are dropped. */
static void attention_gradients(void **state) {
    (void)state;
    static const char *const keys[] = {"B, 2, T, 20", "B, 2, T + 699, 20", "B, 6, 3, 130",
                                       "B, 2, T + 40, 20"};
    static const char *const values[] = {"B, 2, T, 24", "B, 2, T + 699, 24", "B, 6, 3, 24",
                                         "B, 2, T + 40, 24"};
    for (int kind = 0; kind < 4; kind++) {
        Case *c = begin_case(SN_CLUSTER_ATTENTION);
        AttrAttention attr = {.scale = 0.25,
                              .causal = kind != 3,
                              .softcap = kind % 2 ? 0.6 : 0,
                              .dropout = 0.25,
                              .number = kind < 3 ? 9 : 0};
        if (attr.causal) attr.offset = sn_dim(c->graph->dims, kind == 1 ? 699 : kind == 2 ? -2 : 0);
        Value *q = param(c, SN_F32, kind == 2 ? "B, 6, T, 130" : "B, 6, T, 20"),
              *dy = param(c, SN_F32, "B, T, 6*24");
        Value *statistic = param(c, SN_F32, "B, 6, T, 2"), *sums = param(c, SN_F32, "B, 6, T, 1");
        dy = transpose(c, reshape(c, dy, "B, T, 6, 24"), (int[]){0, 2, 1, 3});
        if (kind == 0) {
            Value *seen = expand(c, param(c, SN_BOOL, "B, 6, T, 1"), "B, 6, T, 2");
            statistic = sn_build3(&c->b, SN_OP_WHERE, NULL, seen, statistic, number(c, -INFINITY, statistic));
        }
        Value *operand[8] = {q,   param(c, SN_F32, keys[kind]), param(c, SN_F32, values[kind]), dy, statistic,
                             sums};
        if (kind == 1) operand[6] = param(c, SN_BOOL, "B, 1, 1, T + 699");
        if (kind == 3) operand[6] = param(c, SN_F32, "6, T, T + 40");
        if (attr.number) operand[7] = param(c, SN_I64, "2");
        int count = operand[7] ? 8 : operand[6] ? 7 : 6;
        c->low = 0, c->high = 1 << 20; /* no run is negative */
        Value *first = sn_build(&c->b, SN_OP_ATTENTION_BACKWARD, &attr, count, operand);
        assert_ok(c->b.status);
        if (kind != 2) result(c, reshape(c, transpose(c, first, (int[]){0, 2, 1, 3}), "B, T, 120"));
        result(c, first->producer->output[1]);
        if (kind != 3) result(c, first->producer->output[2]);
        check(c, kind == 1 ? 3 : SIZES, sizes);
    }
}

/* Rows added up by target: many to one, none, over chunks of the result, and rows that are columns of their source. */
static void scatters(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_F64, SN_I64};
    for (int t = 0; t < 3; t++) {
        Case *c = begin_case(SN_CLUSTER_SCATTER);
        Value *at = reshape(c, param(c, SN_I64, "B, T"), "B*T");
        Value *x = reshape(c, param(c, types[t], "B, T, 37"), "B*T, 37");
        result(c, apply(c, SN_OP_SCATTER_ADD, &(AttrScatter){sn_dim(c->graph->dims, 6)}, at, x));
        c->low = -6, c->high = 5;
        check(c, SIZES, sizes);
    }
    for (int wide = 0; wide < 2; wide++) {
        Case *c = begin_case(SN_CLUSTER_SCATTER);
        Value *at = param(c, SN_I32, "T"), *x = param(c, SN_F32, wide ? "300, T" : "1, T");
        AttrScatter attr = {sn_dim(c->graph->dims, wide ? 900 : 200000)};
        result(c, apply(c, SN_OP_SCATTER_ADD, &attr, at, transpose(c, x, (int[]){1, 0})));
        c->low = 0, c->high = 899;
        check(c, 3, sizes);
    }
}

/* The first of rows in order, in every type that elements are compared in, with ties and NaN, and lists that are sifted. */
static void orders(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_F16, SN_F64, SN_I64, SN_U8, SN_U64};
    for (int t = 0; t < 6; t++) {
        Case *c = begin_case(SN_CLUSTER_SCATTER);
        Value *x = param(c, types[t], "T, B, 37");
        if (t == 0)
            x = sn_build3(&c->b, SN_OP_WHERE, NULL, two(c, SN_OP_LESS, x, number(c, -1, x)),
                          number(c, NAN, x), x);
        if (types[t] == SN_F64) /* closer together than f32 tells apart */
            x = two(c, SN_OP_ADD, two(c, SN_OP_MUL, x, number(c, 1e-9, x)), number(c, 1, x));
        if (types[t] == SN_U64) x = two(c, SN_OP_SUB, number(c, 3, x), x); /* above the largest i64, too */
        x = reshape(c, transpose(c, x, (int[]){1, 0, 2}), "B, T*37");
        AttrTop attr = {shape(c, SN_F32, t % 2 ? "T*37" : "T + 3").dim[0], t < 4};
        result(c, apply(c, SN_OP_TOP, &attr, x, NULL));
        check(c, SIZES, sizes);
    }
    Case *c = begin_case(SN_CLUSTER_SCATTER);
    Value *x = reshape(c, param(c, SN_F32, "B, T"), "B*T"), *across = expand(c, x, "B*T, B*T");
    Value *gap = one(c, SN_OP_ABS, two(c, SN_OP_SUB, transpose(c, across, (int[]){1, 0}), across));
    Value *end = reshape(c, param(c, SN_I64, "B, T"), "B*T");
    result(c, two(c, SN_OP_SIFT, two(c, SN_OP_LESS, gap, number(c, 0.25, gap)), end));
    c->low = 0, c->high = 40;
    check(c, SIZES, sizes);
}

/* Recurrent networks over run-time steps: every kind, both directions and both types of numbers. */
static void recurrences(void **state) {
    (void)state;
    static const int64_t shapes[] = {1, 1, 2, 3, 9, 17, 5, 0};
    for (int kind = 0; kind < SN_RECURRENT_KINDS; kind++) {
        for (int form = 0; form < 3; form++) {
            Case *c = begin_case(SN_CLUSTER_RECURRENT);
            bool peeps = kind == SN_RECURRENT_LONG_SHORT && form != 1;
            const char *gates = kind == 0 ? "21" : kind == 1 ? "63" : "84";
            DType dtype = form == 1 ? SN_F64 : SN_F32;
            Value *x = param(c, dtype, sn_arena_printf(c->arena, "B, T, %s", gates));
            Value *weight = param(c, dtype, sn_arena_printf(c->arena, "21, %s", gates));
            Value *operand[SN_RECURRENT_OPERANDS] = {
                transpose(c, x, (int[]){1, 0, 2}), two(c, SN_OP_MUL, weight, number(c, 0.25, weight)),
                param(c, dtype, kind == 2 ? "B, 42" : "B, 21"), form ? param(c, dtype, gates) : NULL,
                peeps ? param(c, dtype, "63") : NULL};
            if (form < 2) operand[SN_RECURRENT_LENGTH] = param(c, SN_I64, "B");
            AttrRecurrent attr = {.kind = kind,
                                  .gate = SN_RECURRENT_SIGMOID,
                                  .candidate = SN_RECURRENT_TANH,
                                  .output = form ? SN_RECURRENT_TANH : SN_RECURRENT_RELU,
                                  .reverse = form == 1,
                                  .late_reset = form == 2};
            int count = form == 2 ? SN_RECURRENT_LENGTH : SN_RECURRENT_OPERANDS;
            result(c, sn_build(&c->b, SN_OP_RECURRENT, &attr, count, operand));
            c->low = 0, c->high = 9;
            check(c, 4, shapes);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(heads),
        cmocka_unit_test(batched),
        cmocka_unit_test(thin),
        cmocka_unit_test(types),
        cmocka_unit_test(packed),
        cmocka_unit_test(products_of_bytes),
        cmocka_unit_test(products_of_halves),
        cmocka_unit_test(packed_groups),
        cmocka_unit_test(windows),
        cmocka_unit_test(windows_by_blocks),
        cmocka_unit_test(packs_of_all_sizes),
        cmocka_unit_test(prologue),
        cmocka_unit_test(scatters),
        cmocka_unit_test(orders),
        cmocka_unit_test(recurrences),
        cmocka_unit_test(self_attention),
        cmocka_unit_test(statistics),
        cmocka_unit_test(cached_attention),
        cmocka_unit_test(split_attention),
        cmocka_unit_test(attention_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

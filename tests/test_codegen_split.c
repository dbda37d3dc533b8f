/* Generated products of f32 whose many rows are multiplied by matrix tiles (device/gemm_split.h), against the
 * interpreter; where the processor has none, or this process may not use them, what stands for them in C. */
#include "codegen_fixture.h"
#include "cpu/matrix.h"

enum { COLUMNS = 300, INPUTS = 4 };

/* f(x) by packed columns, with a bias and a residual; x lies whole, or in wider rows, or is computed. */
typedef struct Split {
    int64_t depth;
    int64_t wide; /* elements of a row of x in memory; 0: depth */
    bool scaled;  /* x is scaled before it is multiplied */
    bool data;    /* the columns are not packed */
    bool turned;  /* and lie the other way */
} Split;

static Kernel *splits(const Case *c, Kernel *kernel) {
    assert_non_null(strstr(kernel->source, "SN_DEVICE_GEMM_SPLIT_H"));
    assert_string_equal(kernel->needs, "amx-tile amx-bf16");
    if (sn_matrix_refusal())
        kernel->source = sn_arena_printf(c->arena, "#define SN_MATRIX 0\n%s", kernel->source);
    return kernel;
}

static Kernel *generate_split(Case *c, const Split *t) {
    char text[96];
    c->target.matrix_percent = 800;
    long long wide = t->wide ? t->wide : t->depth, depth = t->depth;
    long long panel = sn_target_panel(&c->target, COLUMNS, depth);
    snprintf(text, sizeof text, "B*T, %lld", wide);
    param(c, SN_F32, "B, T"); /* names the symbols */
    Value *x = param(c, SN_F32, text);
    snprintf(text, sizeof text, "%lld", depth);
    if (t->wide) x = slice(c, x, 1, 3, text, 1);
    if (t->scaled) x = two(c, SN_OP_MUL, x, number(c, 1.0 / 3, x));
    snprintf(text, sizeof text, "%lld, %lld, %lld", (COLUMNS - 1 + panel) / panel, depth, panel);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
    if (t->data) {
        snprintf(text, sizeof text, t->turned ? "300, %lld" : "%lld, 300", depth);
        attr = (AttrContract){0};
    }
    Value *columns = param(c, SN_F32, text), *bias = param(c, SN_F32, "300");
    if (t->turned) columns = transpose(c, columns, (int[]){1, 0});
    Value *y = apply(c, SN_OP_CONTRACT, &attr, x, columns);
    result(c, reshape(c, two(c, SN_OP_ADD, y, spread(c, bias, y)), "B, T, 300"));
    Kernel *kernel = generate(c);
    return splits(c, kernel);
}

/* f(x) by packed columns. */
static Kernel *product(Case *c, bool exponential) {
    c->target.matrix_percent = 800;
    const long long panel = c->target.panel;
    Value *x = param(c, SN_F32, "N, 320");
    Value *columns =
        param(c, SN_F32, sn_arena_printf(c->arena, "%lld, 320, %lld", (COLUMNS - 1 + panel) / panel, panel));
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
    Value *y = apply(c, SN_OP_CONTRACT, &attr, x, columns);
    result(c, exponential ? one(c, SN_OP_EXP, y) : y);
    return generate(c);
}

/* What multiplies is one text, whatever is done with the sums. */
static void epilogues_have_their_form_in_common(void **state) {
    (void)state;
    Case *a = begin_case(SN_CLUSTER_CONTRACT), *b = begin_case(SN_CLUSTER_CONTRACT);
    const Kernel *plain = product(a, false), *exponential = product(b, true);
    assert_true(plain->common_bytes > 0 && plain->common_bytes == exponential->common_bytes);
    assert_memory_equal(plain->source, exponential->source, plain->common_bytes);
    assert_string_not_equal(plain->source, exponential->source);
    const char *form = strstr(plain->source, "sn_gemm_round");
    assert_true(form && form < plain->source + plain->common_bytes);
    sn_arena_free(a->arena);
    sn_arena_free(b->arena);
}

/* Whole and in single items, to the same bits. */
static void check_sizes(Case *c, Kernel *kernel, int count, const int64_t *sizes) {
    const int inputs_count = c->graph->body->param.count;
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    for (int s = 0; s < 2 * count; s += 2) {
        Array *inputs[INPUTS], *output;
        Run run[2] = {0};
        for (int i = 0; i < inputs_count; i++) {
            inputs[i] = random_input(c, c->graph->body->param.at[i], sizes + s, (uint64_t)i + 1);
            run[0].buffer[i] = run[1].buffer[i] = bytes_of(inputs[i]);
        }
        assert_ok(sn_eval_graph(c->arena, c->graph, false, (const Array *const *)inputs, &output));
        launch(c, kernel, function, sizes + s, &run[0], INT64_MAX / 2);
        launch(c, kernel, function, sizes + s, &run[1], 1);
        compare(c, output, run[0].buffer[inputs_count], "a product by matrix tiles");
        assert_memory_equal(run[0].buffer[inputs_count], run[1].buffer[inputs_count],
                            (size_t)output->count * sizeof(float));
        for (int i = 0; i < inputs_count; i++) free(run[0].buffer[i]);
        for (int i = inputs_count; i < run[0].buffer_count; i++)
            free(run[0].buffer[i]), free(run[1].buffer[i]);
    }
    dlclose(handle);
    sn_arena_free(c->arena);
}

static void check_split(const Split *t) {
    static const int64_t sizes[] = {1, 5, 1, 31, 1, 32, 1, 48, 1, 49, 1, 63, 1, 64, 3, 43, 1, 300};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    check_sizes(c, generate_split(c, t), 9, sizes);
}

/* Gradients of weights: rows that lie side by side by packed rows of a number that a run tells. */
static void gradients(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 5, 1, 255, 1, 256, 3, 111, 1, 600};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    if (c->target.vector_bytes != 64) {
        sn_arena_free(c->arena);
        skip();
    }
    char text[96];
    long long panel = c->target.panel;
    c->target.matrix_percent = 800;
    param(c, SN_F32, "B, T");
    snprintf(text, sizeof text, "%lld, B*T, %lld", (COLUMNS - 1 + panel) / panel, panel);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
    Value *x = transpose(c, param(c, SN_F32, "B*T, 333"), (int[]){1, 0});
    result(c, apply(c, SN_OP_CONTRACT, &attr, x, param(c, SN_F32, text)));
    check_sizes(c, splits(c, generate(c)), 5, sizes);
}

static void products(void **state) {
    (void)state;
    static const Split cases[] = {{.depth = 256},
                                  {.depth = 777},
                                  {.depth = 600, .wide = 650},
                                  {.depth = 300, .scaled = true},
                                  {.depth = 777, .data = true},
                                  {.depth = 390, .data = true, .turned = true, .wide = 400}};
    Case *any = begin_case(SN_CLUSTER_CONTRACT);
    int bytes = any->target.vector_bytes;
    sn_arena_free(any->arena);
    if (bytes != 64) skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_split(&cases[i]);
}

/* What is too small, or as quick by multiply-adds, is not split. */
static void others(void **state) {
    (void)state;
    static const struct {
        int64_t percent;
        const char *x;
    } cases[] = {{400, "B*T, 256"}, {800, "30, 256"}, {800, "B*T, 200"}};
    for (int i = 0; i < 3; i++) {
        Case *c = begin_case(SN_CLUSTER_CONTRACT);
        c->target.matrix_percent = (int)cases[i].percent;
        param(c, SN_F32, "B, T");
        Value *x = param(c, SN_F32, cases[i].x);
        char text[96];
        int64_t depth = 0;
        assert_true(sn_dim_is(x->type.dim[1], &depth));
        int64_t panel = sn_target_panel(&c->target, COLUMNS, depth);
        snprintf(text, sizeof text, "%lld, %lld, %lld", (long long)((COLUMNS - 1 + panel) / panel),
                 (long long)depth, (long long)panel);
        AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
        result(c, apply(c, SN_OP_CONTRACT, &attr, x, param(c, SN_F32, text)));
        Kernel *kernel = generate(c);
        assert_null(strstr(kernel->source, "SN_DEVICE_GEMM_SPLIT_H"));
        assert_null(kernel->needs);
        sn_arena_free(c->arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(gradients),
        cmocka_unit_test(others),
        cmocka_unit_test(epilogues_have_their_form_in_common),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Generated products of f32 whose many rows are multiplied by matrix tiles (device/gemm_split.h), against the interpreter; where the
 * processor has none, or this process may not use them, what stands for them in C. */
#include "codegen_fixture.h"
#include "cpu/matrix.h"

enum { COLUMNS = 300, INPUTS = 4 };

/* f(x) by packed columns, with a bias and a residual; x lies whole, or in wider rows, or is computed. */
typedef struct Split {
    int64_t depth;
    int64_t wide; /* elements of a row of x in memory; 0: depth */
    bool scaled;  /* x is scaled before it is multiplied */
} Split;

static Kernel *generate_split(Case *c, const Split *t) {
    char text[96];
    c->target.matrix_percent = 800;
    long long wide = t->wide ? t->wide : t->depth, depth = t->depth, panel = c->target.panel;
    snprintf(text, sizeof text, "B*T, %lld", wide);
    param(c, SN_F32, "B, T"); /* names the symbols */
    Value *x = param(c, SN_F32, text);
    snprintf(text, sizeof text, "%lld", depth);
    if (t->wide) x = slice(c, x, 1, 3, text, 1);
    if (t->scaled) x = two(c, SN_OP_MUL, x, number(c, 1.0 / 3, x));
    snprintf(text, sizeof text, "%lld, %lld, %lld", (COLUMNS - 1 + panel) / panel, depth, panel);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
    Value *y = apply(c, SN_OP_CONTRACT, &attr, x, param(c, SN_F32, text)), *bias = param(c, SN_F32, "300");
    result(c, reshape(c, two(c, SN_OP_ADD, y, spread(c, bias, y)), "B, T, 300"));
    Kernel *kernel = generate(c);
    assert_non_null(strstr(kernel->source, "sn_gemm_split_run(context"));
    assert_string_equal(kernel->needs, "amx-tile amx-bf16");
    if (sn_matrix_refusal())
        kernel->source = sn_arena_printf(c->arena, "#define SN_MATRIX 0\n%s", kernel->source);
    return kernel;
}

/* Whole and in single items, to the same bits. */
static void check_split(const Split *t) {
    static const int64_t sizes[] = {1, 5, 1, 63, 1, 64, 3, 43, 1, 300};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Kernel *kernel = generate_split(c, t);
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    for (int s = 0; s < 10; s += 2) {
        Array *inputs[INPUTS], *output;
        Run run[2] = {0};
        for (int i = 0; i < INPUTS; i++) {
            inputs[i] = random_input(c, c->graph->body->param.at[i], sizes + s, (uint64_t)i + 1);
            run[0].buffer[i] = run[1].buffer[i] = bytes_of(inputs[i]);
        }
        assert_ok(sn_eval_graph(c->arena, c->graph, false, (const Array *const *)inputs, &output));
        launch(c, kernel, function, sizes + s, &run[0], INT64_MAX / 2);
        launch(c, kernel, function, sizes + s, &run[1], 1);
        compare(c, output, run[0].buffer[INPUTS], "a product by matrix tiles");
        assert_memory_equal(run[0].buffer[INPUTS], run[1].buffer[INPUTS],
                            (size_t)output->count * sizeof(float));
        for (int i = 0; i < INPUTS; i++) free(run[0].buffer[i]);
        free(run[0].buffer[INPUTS]), free(run[1].buffer[INPUTS]);
    }
    dlclose(handle);
    sn_arena_free(c->arena);
}

static void products(void **state) {
    (void)state;
    static const Split cases[] = {
        {.depth = 256}, {.depth = 777}, {.depth = 600, .wide = 650}, {.depth = 300, .scaled = true}};
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
    } cases[] = {{400, "B*T, 256"}, {800, "60, 256"}, {800, "B*T, 200"}};
    for (int i = 0; i < 3; i++) {
        Case *c = begin_case(SN_CLUSTER_CONTRACT);
        c->target.matrix_percent = (int)cases[i].percent;
        param(c, SN_F32, "B, T");
        Value *x = param(c, SN_F32, cases[i].x);
        char text[96];
        int64_t panel = c->target.panel, depth = 0;
        assert_true(sn_dim_is(x->type.dim[1], &depth));
        snprintf(text, sizeof text, "%lld, %lld, %lld", (long long)((COLUMNS - 1 + panel) / panel),
                 (long long)depth, (long long)panel);
        AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
        result(c, apply(c, SN_OP_CONTRACT, &attr, x, param(c, SN_F32, text)));
        Kernel *kernel = generate(c);
        assert_null(strstr(kernel->source, "sn_gemm_split_run"));
        assert_null(kernel->needs);
        sn_arena_free(c->arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

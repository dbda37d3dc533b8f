/* Generated C for few rows: products by weights, and attention, that read streams. */
#include "codegen_fixture.h"

enum { DEPTH = 1600, COLUMNS = 70 }; /* several pieces of K for many rows, which no split form takes */

/* x [B·T, depth], rows `stride` apart, by packed weights of f32. */
static Case *product(int64_t depth, int64_t stride, int fetch) {
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Dims *dims = c->graph->dims;
    char text[64];
    int panel = (int)c->target.panel;
    c->target.fetch_bytes = fetch;
    Value *like = param(c, SN_U8, "B, T");
    snprintf(text, sizeof text, "%lld*B*T + %lld", (long long)stride, (long long)(depth - stride));
    Value *x = param(c, SN_F32, text);
    snprintf(text, sizeof text, "%d, %lld, %d", (COLUMNS + panel - 1) / panel, (long long)depth, panel);
    Value *w = param(c, SN_F32, text);
    Dim count = sn_dim_mul(dims, like->type.dim[0], like->type.dim[1]);
    Dim extent[2] = {count, sn_dim(dims, depth)};
    Dim start = sn_dim_mulc(dims, sn_dim_axis(dims, 0, extent[0]), stride);
    Dim index = sn_dim_add(dims, start, sn_dim_axis(dims, 1, extent[1]));
    Value *rows = apply(c, SN_OP_VIEW, &(AttrView){2, extent, 1, &index}, x, NULL);
    AttrContract attr = {.packed = true, .columns = sn_dim(dims, COLUMNS)};
    result(c, apply(c, SN_OP_CONTRACT, &attr, rows, w));
    return c;
}

/* The result for so many rows, from the C library's allocator. */
static float *run_rows(Case *c, const Kernel *kernel, KernelFunction *function, int64_t rows) {
    const int64_t symbols[2] = {1, rows};
    Run run = {0};
    for (int i = 0; i < kernel->input_count; i++)
        run.buffer[i] = bytes_of(random_input(c, c->graph->body->param.at[i], symbols, (uint64_t)i + 1));
    launch(c, kernel, function, symbols, &run, INT64_MAX / 2);
    assert_int_equal(run.fault, 0);
    for (int i = 0; i < kernel->input_count; i++) free(run.buffer[i]);
    return run.buffer[kernel->input_count];
}

/* Few rows take K at once and many piece by piece, to the same bits, whether streams are fetched or not. */
static void rows_do_not_change_sums(void **state) {
    (void)state;
    static const int64_t few[] = {1, 3, 6, 8, 9, 16};
    for (int fetch = 0; fetch <= 2048; fetch += 2048) {
        Case *c = product(DEPTH, DEPTH, fetch);
        void *handle;
        const Kernel *kernel = generate(c);
        assert_true(!strstr(kernel->source, "SN_TILE_STREAM 2048") == !fetch);
        KernelFunction *function = compile(kernel, &handle);
        float *all = run_rows(c, kernel, function, 40);
        for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
            float *some = run_rows(c, kernel, function, few[i]);
            assert_memory_equal(some, all, (size_t)few[i] * COLUMNS * sizeof *some);
            free(some);
            check_with(c, kernel, function, (const int64_t[]){1, few[i]});
        }
        free(all);
        dlclose(handle);
        sn_arena_free(c->arena);
    }
}

/* Rows that overlap, by more than a piece of K: copies of them have no room for all of it. */
static void overlapping_rows(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 1, 1, 3, 1, 8};
    check(product(DEPTH, 1100, 2048), 3, sizes);
}

/* A B that is data is packed also where there are no rows for it, by pieces that there is room for. */
static void no_rows(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 0, 1, 1};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    param(c, SN_U8, "B, T");
    Value *x = param(c, SN_F32, "B*T, 4000");
    result(c, apply(c, SN_OP_CONTRACT, &(AttrContract){0}, x, param(c, SN_F32, "4000, 70")));
    check(c, 2, sizes);
}

/* Keys and values of several work items, of heads narrower and wider than what is fetched at once. */
static void streams_of_attention(void **state) {
    (void)state;
    static const char *const keys[] = {"B, 2, T + 699, 64", "B, 2, T + 699, 8", "B, 2, T + 99, 600"},
                             *const queries[] = {"B, 4, T, 64", "B, 4, T, 8", "B, 4, T, 600"};
    static const int64_t sizes[] = {1, 1, 2, 3};
    for (int i = 0; i < 3; i++)
        for (int fetch = 0; fetch <= 2048; fetch += 2048) {
            Case *c = begin_case(SN_CLUSTER_ATTENTION);
            c->target.fetch_bytes = fetch;
            Value *operand[3] = {param(c, SN_F32, queries[i]), param(c, SN_F32, keys[i]),
                                 param(c, SN_F32, keys[i])};
            AttrAttention attr = {.scale = 0.0625};
            result(c, sn_build(&c->b, SN_OP_ATTENTION, &attr, 3, operand));
            assert_ok(c->b.status);
            const Kernel *kernel = generate(c);
            assert_true(!strstr(kernel->source, "SN_ATTENTION_STREAM 2048") == !fetch);
            check_kernel(c, kernel, 2, sizes);
        }
}

/* Rows that are known are divided into full tiles where usual ones would compute rows that nobody wants. */
static void known_rows_fill_tiles(void **state) {
    (void)state;
    enum { LESS = 1 };
    static const int64_t sizes[] = {1, 1};
    for (int i = 0; i < 2; i++) {
        Case *c = begin_case(SN_CLUSTER_CONTRACT);
        char rows[32], panels[64], text[64];
        int panel = (int)c->target.panel, usual = c->target.tile_rows, height = usual - (i ? LESS : 0);
        param(c, SN_U8, "B, T");
        snprintf(rows, sizeof rows, "%d, 33", height * (usual - LESS));
        snprintf(panels, sizeof panels, "%d, 33, %d", (COLUMNS + panel - 1) / panel, panel);
        snprintf(text, sizeof text, "#define SN_TILE_MR %d\n", height);
        Value *x = param(c, SN_F32, rows), *w = param(c, SN_F32, panels);
        AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, COLUMNS)};
        result(c, apply(c, SN_OP_CONTRACT, &attr, x, w));
        const Kernel *kernel = generate(c);
        assert_non_null(strstr(kernel->source, text));
        check_kernel(c, kernel, 1, sizes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_do_not_change_sums),
        cmocka_unit_test(overlapping_rows),
        cmocka_unit_test(no_rows),
        cmocka_unit_test(known_rows_fill_tiles),
        cmocka_unit_test(streams_of_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

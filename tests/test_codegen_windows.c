/* Generated C against the interpreter: products that copy their rows, run by run, from the windows that these are; and sums and
 * maxima over windows, of several rows side by side. */
#include "codegen_fixture.h"
#include "view.h"

enum { FILTERS = 70, HEIGHT = 6, WIDTH = 5 };

/* B, T. */
static const int64_t sizes[] = {1, 1, 3, 2, 9, 1};

/* x [B, C, H, W] padded by `pad` on both sides, of which windows of `edge` by `edge` elements are taken `stride` apart: rows of C by
 * edge by edge elements, or of edge by edge by C. */
static Value *rows_of(Case *c, Value *x, int64_t channels, int64_t edge, int64_t stride, int64_t pad,
                      bool last) {
    Dims *dims = c->graph->dims;
    Dim zero = sn_dim(dims, 0), by = sn_dim(dims, pad), around[4] = {zero, zero, by, by};
    int64_t high = (HEIGHT + 2 * pad - edge) / stride + 1, wide = (WIDTH + 2 * pad - edge) / stride + 1;
    Value *padded = apply(c, SN_OP_PAD, &(AttrPad){4, around, around, 0}, x, NULL);
    Dim count = sn_dim_mulc(dims, x->type.dim[0], high * wide), area = sn_dim(dims, high * wide);
    Dim extent[2] = {count, sn_dim(dims, channels * edge * edge)};
    Dim row = sn_dim_axis(dims, 0, count), k = sn_dim_axis(dims, 1, extent[1]),
        at = sn_dim_mod(dims, row, area);
    Dim side = sn_dim(dims, edge), run = last ? sn_dim(dims, channels) : sn_dim(dims, 1);
    Dim channel = last ? sn_dim_mod(dims, k, run) : sn_dim_floordiv(dims, k, sn_dim(dims, edge * edge));
    Dim element = sn_dim_floordiv(dims, k, run);
    if (!last) element = sn_dim_mod(dims, element, sn_dim(dims, edge * edge));
    Dim y = sn_dim_mulc(dims, sn_dim_floordiv(dims, at, sn_dim(dims, wide)), stride);
    Dim z = sn_dim_mulc(dims, sn_dim_mod(dims, at, sn_dim(dims, wide)), stride);
    Dim index[4] = {sn_dim_floordiv(dims, row, area), channel,
                    sn_dim_add(dims, y, sn_dim_floordiv(dims, element, side)),
                    sn_dim_add(dims, z, sn_dim_mod(dims, element, side))};
    return apply(c, SN_OP_VIEW, &(AttrView){2, extent, 4, index}, padded, NULL);
}

static Case *begin_product(int64_t channels, int64_t edge, int64_t stride, int64_t pad, bool last) {
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    char text[64];
    const char *order = last ? "B, %d, %d, %lld" : "B, %lld, %d, %d";
    param(c, SN_U8, "B, T");
    if (last)
        snprintf(text, sizeof text, order, HEIGHT, WIDTH, (long long)channels);
    else
        snprintf(text, sizeof text, order, (long long)channels, HEIGHT, WIDTH);
    Value *x = param(c, SN_F32, text);
    if (last) x = transpose(c, x, (int[]){0, 3, 1, 2});
    Value *rows = rows_of(c, x, channels, edge, stride, pad, last);
    snprintf(text, sizeof text, "%lld, %lld, %lld",
             (FILTERS - 1 + (long long)c->target.panel) / c->target.panel,
             (long long)(channels * edge * edge), (long long)c->target.panel);
    AttrContract attr = {.packed = true, .columns = sn_dim(c->graph->dims, FILTERS)};
    result(c, apply(c, SN_OP_CONTRACT, &attr, rows, param(c, SN_F32, text)));
    return c;
}

/* Runs of channels: of whole vectors, of a part of one, of several and a part, and such that pieces of K end inside one. */
static void channels_side_by_side(void **state) {
    (void)state;
    static const int64_t channels[] = {32, 5, 20, 128};
    for (int i = 0; i < 4; i++) {
        check(begin_product(channels[i], 3, 1, 1, true), 3, sizes);
        check(begin_product(channels[i], 3, 1, 0, true), 3,
              sizes); /* what lies behind the last one is not read */
    }
}

/* Runs of elements of a window's row, some of which are padding. */
static void elements_side_by_side(void **state) {
    (void)state;
    check(begin_product(3, 7, 2, 3, false), 3, sizes);
    check(begin_product(2, 5, 1, 0, false), 3, sizes);
    check(begin_product(40, 4, 1, 2, false), 3, sizes);
}

/* They are copied by runs at all. */
static void runs_are_found(void **state) {
    (void)state;
    static const int64_t run[] = {32, 7};
    for (int i = 0; i < 2; i++) {
        Case *c = i ? begin_product(3, 7, 2, 3, false) : begin_product(32, 3, 1, 1, true);
        char text[64];
        snprintf(text, sizeof text, "#define SN_GEMM_A_RUN %lld\n", (long long)run[i]);
        const Kernel *kernel = generate(c);
        assert_non_null(strstr(kernel->source, text));
        sn_arena_free(c->arena);
    }
}

/* Windows of edge by edge elements of x [B, H, width, channels], padded by `above` and `beside`, [B, H, W, edge, edge, channels]. */
static Value *windows_of(Case *c, Value *x, int64_t edge, int64_t above, int64_t beside, double fill) {
    Dims *dims = c->graph->dims;
    Dim zero = sn_dim(dims, 0), side = sn_dim(dims, edge);
    Dim pad[4] = {zero, sn_dim(dims, above), sn_dim(dims, beside), zero};
    x = apply(c, SN_OP_PAD, &(AttrPad){4, pad, pad, fill}, x, NULL);
    const Dim *dim = x->type.dim;
    Dim extent[6] = {
        dim[0], sn_dim_addc(dims, dim[1], 1 - edge), sn_dim_addc(dims, dim[2], 1 - edge), side, side, dim[3]};
    Dim *axis = sn_view_axes(dims, c->arena, 6, extent);
    Dim index[4] = {axis[0], sn_dim_add(dims, axis[1], axis[3]), sn_dim_add(dims, axis[2], axis[4]), axis[5]};
    return apply(c, SN_OP_VIEW, &(AttrView){6, extent, 4, index}, x, NULL);
}

static Value *around_each(Case *c, Value *x, double fill) {
    return windows_of(c, x, 3, 1, 1, fill);
}

/* Widths that are a multiple of four, of seven, of none of these, less than four, and not known; channels of whole groups of vectors, of
 * some and a part of one, and of less than one. */
static void rows_side_by_side(void **state) {
    (void)state;
    static const char *const shapes[] = {"B, 5, 4, 112", "B, 3, 14, 40", "B, 4, 11, 7",
                                         "B, 4, 2, 16",  "B, 4, 12, 96", "B, 3, T + 2, 20"};
    static const int64_t axes[] = {3, 4};
    for (int i = 0; i < 12; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        param(c, SN_U8, "B, T");
        Value *x = param(c, SN_F32, shapes[i / 2]), *windows = around_each(c, x, i % 2 ? -INFINITY : 0);
        Type weights = windows->type;
        Dim *dim = SN_ARRAY(c->arena, Dim, 6);
        for (int k = 0; k < 6; k++) dim[k] = k < 3 ? sn_dim(c->graph->dims, 1) : weights.dim[k];
        weights.dim = dim;
        AttrReduce reduced = {2, axes};
        if (i % 2) {
            result(c, apply(c, SN_OP_REDUCE_MAX, &reduced, windows, NULL));
        } else {
            Value *w = spread(c, param_of(c, weights), windows);
            Value *sum = apply(c, SN_OP_REDUCE_SUM, &reduced, two(c, SN_OP_MUL, windows, w), NULL);
            result(c, one(c, SN_OP_TANH, sum));
        }
        check(c, 3, sizes);
    }
}

/* Windows wider than rows side by side, borders on both sides of the same rows, some on one side only, and windows that have no
 * padding; streams that are fetched. */
static void wide_windows_side_by_side(void **state) {
    (void)state;
    static const struct {
        const char *shape;
        int64_t edge, above, beside;
    } forms[] = {{"B, 5, 7, 70", 7, 3, 3},
                 {"B, 6, 20, 32", 7, 3, 3},
                 {"B, 5, 12, 40", 5, 0, 2},
                 {"B, 9, 14, 35", 3, 0, 0}};
    static const int64_t axes[] = {3, 4};
    for (int i = 0; i < 4; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        c->target.fetch_bytes = 3072;
        param(c, SN_U8, "B, T");
        Value *x = param(c, SN_F32, forms[i].shape);
        Value *windows = windows_of(c, x, forms[i].edge, forms[i].above, forms[i].beside, 0);
        result(c,
               apply(c, SN_OP_REDUCE_SUM, &(AttrReduce){2, axes}, two(c, SN_OP_MUL, windows, windows), NULL));
        check(c, 3, sizes);
    }
}

/* No element is tested where rows are known to lie inside or which of their elements do not. */
static void known_borders_are_not_tested(void **state) {
    (void)state;
    static const char *const shapes[] = {"B, 5, 12, 32", "B, 5, 11, 32"};
    static const int64_t axes[] = {3, 4};
    for (int i = 0; i < 2; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *windows = windows_of(c, param(c, SN_F32, shapes[i]), 3, 0, 1, 0);
        result(c, apply(c, SN_OP_REDUCE_SUM, &(AttrReduce){2, axes}, windows, NULL));
        const Kernel *kernel = generate(c);
        assert_true((strstr(kernel->source, "if (all) {") != NULL) == (i == 1));
        sn_arena_free(c->arena);
    }
}

/* What is padding is tested for all of them at once. */
static void rows_are_tested_together(void **state) {
    (void)state;
    static const int64_t axes[] = {3, 4};
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *windows = around_each(c, param(c, SN_F32, "B, 5, 8, 32"), -INFINITY);
    result(c, apply(c, SN_OP_REDUCE_MAX, &(AttrReduce){2, axes}, windows, NULL));
    const Kernel *kernel = generate(c);
    assert_non_null(strstr(kernel->source, "if (all) {"));
    sn_arena_free(c->arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_side_by_side),
        cmocka_unit_test(elements_side_by_side),
        cmocka_unit_test(runs_are_found),
        cmocka_unit_test(rows_side_by_side),
        cmocka_unit_test(rows_are_tested_together),
        cmocka_unit_test(wide_windows_side_by_side),
        cmocka_unit_test(known_borders_are_not_tested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ir: symbols from the shapes of the inputs. */
#include "arena_fixture.h"
#include "eval.h"

/* Inputs x: [B, T], y: [T, 2·T + P], with T at most 8 and T a multiple of 2 checked. */
static void binding(void **state) {
    Arena *arena = *state;
    Graph *graph = sn_graph_new(arena, "bind");
    Dims *dims = graph->dims;
    Dim b = sn_dim_symbol(dims, "B"), t = sn_dim_symbol(dims, "T"), p = sn_dim_symbol(dims, "P");
    Dim x[2] = {b, t}, y[2] = {t, sn_dim_add(dims, sn_dim_mulc(dims, t, 2), p)};
    sn_graph_input(graph, "x", (Type){SN_F32, 2, x});
    sn_graph_input(graph, "y", (Type){SN_F32, 2, y});
    sn_dims_symbol_at_most(dims, t, 8);
    assert_ok(
        sn_graph_check(graph, SN_CHECK_EQUAL, sn_dim_mod(dims, t, sn_dim(dims, 2)), sn_dim(dims, 0), NULL));
    struct {
        int64_t x[2], y[2];
        const char *fails; /* NULL: binds */
    } row[] = {
        {{3, 4}, {4, 9}, NULL},
        {{0, 0}, {0, 0}, NULL},
        {{3, 4}, {5, 9}, "\"y\": axis 0 (T)"},
        {{3, 4}, {4, 7}, "\"y\": axis 1"},
        {{1, 3}, {3, 9}, "is not equal to"},
        {{1, 10}, {10, 30}, "at most 8"},
        {{-1, 4}, {4, 9}, "\"x\": axis 0"},
    };
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        int64_t symbols[3];
        const int64_t *extent[2] = {row[r].x, row[r].y};
        Status status = sn_bind_symbols(graph, 2, (int[]){2, 2}, extent, symbols);
        if (row[r].fails) {
            assert_fails(status, SN_INVALID, row[r].fails);
            continue;
        }
        assert_ok(status);
        assert_int_equal(symbols[0], row[r].x[0]);
        assert_int_equal(symbols[1], row[r].x[1]);
        assert_int_equal(symbols[2], row[r].y[1] - 2 * row[r].x[1]);
    }
    int64_t symbols[3];
    const int64_t *extent[2] = {row[0].x, row[0].y};
    assert_fails(sn_bind_symbols(graph, 1, (int[]){2}, extent, symbols), SN_INVALID, "1 inputs");
    assert_fails(sn_bind_symbols(graph, 2, (int[]){2, 1}, extent, symbols), SN_INVALID, "rank");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(binding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What clusters are refused for, and where results are stored. */
#include "codegen_fixture.h"

/* The cluster's verdict; ends the case. */
static const char *verdict(Case *c) {
    finish_graph(c);
    const char *reason = sn_cluster_legal(c->graph->dims, c->cluster);
    sn_arena_free(c->arena);
    return reason;
}

static void assert_refused(Case *c, const char *fragment) {
    const char *reason = verdict(c);
    if (!reason || !strstr(reason, fragment))
        fail_msg("\"%s\" is not in: %s", fragment, reason ? reason : "(legal)");
}

static void anchors(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_MAP);
    result(c, reduce(c, SN_OP_REDUCE_SUM, param(c, SN_F32, "B, T"), 1));
    assert_refused(c, "kind does not name");

    c = begin_case(SN_CLUSTER_REDUCE);
    result(c, one(c, SN_OP_NEG, param(c, SN_F32, "B, T")));
    assert_refused(c, "no anchor");

    c = begin_case(SN_CLUSTER_CONTRACT);
    Value *x = param(c, SN_F32, "T, T");
    Value *y = two(c, SN_OP_CONTRACT, x, x);
    result(c, two(c, SN_OP_CONTRACT, y, x));
    assert_refused(c, "more than one");

    c = begin_case(SN_CLUSTER_REDUCE);
    x = param(c, SN_F32, "B, T");
    result(c, reduce(c, SN_OP_REDUCE_SUM, x, 0));
    result(c, reduce(c, SN_OP_REDUCE_SUM, x, 1));
    assert_refused(c, "different axes");
}

/* A row may use its own sum, not that of another row, and not its transposed product. */
static void reads(void **state) {
    (void)state;
    static const int swap[] = {1, 0};
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = param(c, SN_F32, "T, T");
    Value *sum = spread(c, reduce(c, SN_OP_REDUCE_SUM, x, 1), x);
    result(c, two(c, SN_OP_SUB, x, sum));
    assert_null(verdict(c));

    c = begin_case(SN_CLUSTER_REDUCE);
    x = param(c, SN_F32, "T, T");
    sum = spread(c, reduce(c, SN_OP_REDUCE_SUM, x, 1), x);
    result(c, two(c, SN_OP_SUB, sum, transpose(c, sum, swap)));
    assert_refused(c, "invertible");

    c = begin_case(SN_CLUSTER_REDUCE);
    x = param(c, SN_F32, "T, T");
    sum = spread(c, reduce(c, SN_OP_REDUCE_SUM, x, 1), x);
    result(c, reduce(c, SN_OP_REDUCE_MAX, transpose(c, sum, swap), 1));
    assert_refused(c, "different row");

    c = begin_case(SN_CLUSTER_CONTRACT);
    x = param(c, SN_F32, "T, T");
    Value *y = two(c, SN_OP_CONTRACT, x, x);
    result(c, two(c, SN_OP_ADD, y, transpose(c, y, swap)));
    assert_refused(c, "invertible");
}

/* Half of a product has no element for every element of it. */
static void halves(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Value *y = two(c, SN_OP_CONTRACT, param(c, SN_F32, "T, 8"), param(c, SN_F32, "8, 32"));
    result(c, slice(c, y, 1, 0, "16", 1));
    assert_refused(c, "invertible");
}

/* The element of [B, H, T, 16] that belongs to (m, n) of a product [B·T, H·16] behind a reshape and a
 * transpose. */
static void places(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    Value *y = two(c, SN_OP_CONTRACT, param(c, SN_F32, "B*T, 8"), param(c, SN_F32, "8, 64"));
    Value *heads = transpose(c, reshape(c, y, "B, T, 4, 16"), (int[]){0, 2, 1, 3});
    result(c, one(c, SN_OP_NEG, heads));
    finish_graph(c);
    Dims *dims = c->graph->dims;
    ClusterFrame frame;
    const Dim *at;
    bool row = true;
    assert_null(sn_cluster_frame(dims, c->arena, c->cluster, &frame));
    assert_true(sn_cluster_place(dims, c->arena, &frame, c->cluster->body->result.at[0], &at, &row));
    assert_false(row);
    for (int64_t m = 0; m < 6; m++)
        for (int64_t n = 0; n < 64; n += 5) {
            int64_t got[4], want[4] = {m / 3, n / 16, m % 3, n % 16};
            for (int i = 0; i < 4; i++)
                assert_ok(sn_dim_eval(at[i], (int64_t[]){2, 3}, (int64_t[]){m, n}, &got[i]));
            assert_memory_equal(got, want, sizeof want);
        }
    sn_arena_free(c->arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anchors),
        cmocka_unit_test(reads),
        cmocka_unit_test(halves),
        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

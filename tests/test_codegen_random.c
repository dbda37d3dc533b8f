/* Random chains of movements and arithmetic, elementwise and around a reduction, against the interpreter. */
#include "codegen_fixture.h"

enum { CASES = 24, STEPS = 7 };

typedef struct Random {
    uint64_t seed, at;
} Random;

static int64_t below(Random *r, int64_t n) {
    return (int64_t)(sn_random_uniform(r->seed, r->at++) * (double)n);
}

static Value *random_transpose(Case *c, Random *r, Value *x) {
    int permutation[SN_MAX_RANK], rank = x->type.rank;
    for (int i = 0; i < rank; i++) permutation[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        int k = (int)below(r, i + 1), kept = permutation[i];
        permutation[i] = permutation[k], permutation[k] = kept;
    }
    return transpose(c, x, permutation);
}

/* Neighbouring axes merged into one, or an axis of a known extent split. */
static Value *random_reshape(Case *c, Random *r, Value *x) {
    Dims *dims = c->graph->dims;
    Dim extent[SN_MAX_RANK];
    int rank = 0, k = (int)below(r, x->type.rank);
    int64_t length;
    bool split = sn_dim_is(x->type.dim[k], &length) && length % 2 == 0 && x->type.rank < 5;
    for (int i = 0; i < x->type.rank; i++) {
        if (i == k && split) {
            extent[rank++] = sn_dim(dims, length / 2);
            extent[rank++] = sn_dim(dims, 2);
        } else if (i == k && i + 1 < x->type.rank) {
            extent[rank++] = sn_dim_mul(dims, x->type.dim[i], x->type.dim[i + 1]);
            i++;
        } else {
            extent[rank++] = x->type.dim[i];
        }
    }
    Value *result = sn_build_reshape(&c->b, x, rank, extent);
    assert_ok(c->b.status);
    return result;
}

static Value *random_slice(Case *c, Random *r, Value *x) {
    Dims *dims = c->graph->dims;
    int k = (int)below(r, x->type.rank);
    int64_t length;
    if (!sn_dim_is(x->type.dim[k], &length) || length < 3) return one(c, SN_OP_ABS, x);
    int64_t start = below(r, 2), step = 1 + below(r, 2);
    Dim count = sn_dim(dims, (length - start + step - 1) / step);
    Value *result = sn_build_slice(&c->b, x, k, sn_dim(dims, start), count, step);
    assert_ok(c->b.status);
    return result;
}

static Value *random_join(Case *c, Random *r, Value *x) {
    int axis = (int)below(r, x->type.rank);
    return apply(c, SN_OP_CONCAT, &(AttrAxis){axis}, x, two(c, SN_OP_MUL, x, number(c, 2, x)));
}

static Value *random_pad(Case *c, Random *r, Value *x) {
    Dim before[SN_MAX_RANK], after[SN_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) {
        before[i] = sn_dim(c->graph->dims, below(r, 2));
        after[i] = sn_dim(c->graph->dims, below(r, 2));
    }
    return apply(c, SN_OP_PAD, &(AttrPad){x->type.rank, before, after, -1}, x, NULL);
}

/* With another operand that is broadcast along some axes. */
static Value *random_arithmetic(Case *c, Random *r, Value *x) {
    Dim extent[SN_MAX_RANK];
    int from = (int)below(r, x->type.rank + 1), rank = 0;
    for (int i = from; i < x->type.rank; i++)
        extent[rank++] = below(r, 3) ? x->type.dim[i] : sn_dim(c->graph->dims, 1);
    Dim *kept = SN_ARRAY(c->arena, Dim, rank);
    for (int i = 0; i < rank; i++) kept[i] = extent[i];
    Type type = {SN_F32, rank, kept};
    sn_graph_input(c->graph, "x", type);
    Value *other = sn_region_param(c->cluster->body, type, NULL);
    static const OpCode ops[] = {SN_OP_ADD, SN_OP_MUL, SN_OP_MAX, SN_OP_SUB};
    return two(c, ops[below(r, 4)], x, spread(c, other, x));
}

static Value *random_step(Case *c, Random *r, Value *x, bool moves) {
    static Value *(*const any[])(Case *, Random *, Value *) = {
        random_arithmetic, random_transpose, random_reshape, random_slice, random_join, random_pad};
    return any[below(r, moves ? 6 : 3)](c, r, x);
}

static const int64_t sizes[] = {1, 1, 2, 5, 3, 17, 1, 40};

static void elementwise(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        Random r = {100 + (uint64_t)i, 0};
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, SN_F32, i % 2 ? "B, T, 6, 4" : "B, 8, T");
        for (int k = 0; k < STEPS; k++) {
            x = random_step(c, &r, x, true);
            if (k == STEPS / 2) result(c, x);
        }
        result(c, x);
        check(c, 4, sizes);
    }
}

/* A softmax of something rearranged, rearranged again by what can be inverted. */
static void rows(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        Random r = {500 + (uint64_t)i, 0};
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, "B, 8, T, 2");
        for (int k = 0; k < 3; k++) x = random_step(c, &r, x, true);
        int64_t axis = below(&r, x->type.rank);
        Value *e =
            one(c, SN_OP_EXP, two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MAX, x, axis), x)));
        Value *sum = reduce(c, SN_OP_REDUCE_SUM, e, axis);
        Value *y = two(c, SN_OP_DIV, e, spread(c, sum, e));
        for (int k = 0; k < 2; k++) y = random_step(c, &r, y, false);
        result(c, y);
        result(c, sum);
        check(c, 4, sizes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(elementwise), cmocka_unit_test(rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

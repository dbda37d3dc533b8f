/* The tests of the interpreter: one operator on concrete inputs. */
#include "eval_fixture.h"

bool evaluated[SN_OP_COUNT];

/* ---- arrays ---- */

Array *array_of(Arena *arena, DType dtype, const char *shape, const double *value) {
    int64_t extent[SN_MAX_RANK];
    int rank = 0;
    for (char *end; *shape; shape = end) {
        extent[rank++] = strtoll(shape, &end, 10);
    }
    Array *array = sn_array_new(arena, dtype, rank, extent);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->f)
            array->f[i] = value[i];
        else
            array->i[i] = (int64_t)value[i];
    }
    return array;
}

static bool close_to(double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= 1e-11 * (1 + fabs(b));
}

void assert_same(const Array *got, const Array *want, const char *what) {
    if (got->dtype != want->dtype || got->rank != want->rank) fail_msg("%s: another type", what);
    for (int k = 0; k < want->rank; k++)
        if (got->extent[k] != want->extent[k])
            fail_msg("%s: axis %d is %lld, not %lld", what, k, (long long)got->extent[k],
                     (long long)want->extent[k]);
    for (int64_t i = 0; i < want->count; i++) {
        if (want->f && !close_to(got->f[i], want->f[i]))
            fail_msg("%s: element %d is %.17g, not %.17g", what, (int)i, got->f[i], want->f[i]);
        if (want->i && got->i[i] != want->i[i])
            fail_msg("%s: element %d is %lld, not %lld", what, (int)i, (long long)got->i[i],
                     (long long)want->i[i]);
    }
}

/* ---- one operator on concrete inputs ---- */

Call call_of(Arena *arena, int count, const Array *const *input) {
    Call call = {.arena = arena, .graph = sn_graph_new(arena, "call")};
    call.builder = (Builder){.graph = call.graph, .region = call.graph->body};
    for (int k = 0; k < count; k++) {
        call.value[k] = NULL;
        if (!input[k]) continue;
        Dim *dim = SN_ARRAY(arena, Dim, input[k]->rank);
        for (int a = 0; a < input[k]->rank; a++) dim[a] = sn_dim(call.graph->dims, input[k]->extent[a]);
        call.value[k] = sn_graph_input(call.graph, "x", (Type){input[k]->dtype, input[k]->rank, dim});
        call.input[call.count++] = input[k];
    }
    return call;
}

Status finish(Call *call, Value *result, bool round, Array **out) {
    if (call->builder.status) return call->builder.status;
    sn_graph_output(call->graph, "y", result);
    return sn_eval_graph(call->arena, call->graph, round, call->input, out);
}

Status run(Arena *arena, OpCode op, const void *attr, bool round, int count, const Array *const *input,
           Array **out) {
    Call call = call_of(arena, count, input);
    Value *result = sn_build(&call.builder, op, attr, count, call.value);
    return finish(&call, result, round, out);
}

void expect(Arena *arena, OpCode op, const void *attr, const Array *want, const Array *a, const Array *b,
            const Array *c) {
    const Array *input[3] = {a, b, c};
    Array *got = NULL;
    int count = c ? 3 : b ? 2 : a ? 1 : 0;
    Status status = run(arena, op, attr, false, count, input, &got);
    if (status) fail_msg("%s: %s", sn_op(op)->text, sn_error_message(status));
    assert_same(got, want, sn_op(op)->text);
    evaluated[op] = true;
}

void expect_fault(Arena *arena, OpCode op, const void *attr, const Array *a, const Array *b) {
    const Array *input[2] = {a, b};
    Array *got;
    assert_fails(run(arena, op, attr, false, b ? 2 : 1, input, &got), SN_FAULT, sn_op(op)->text);
}

/* passes: losses appended to a graph, their values and what is refused. Expected values are PyTorch's. */
#include "autodiff.h"
#include "eval.h"
#include "graph_fixture.h"
#include "verify.h"

#include <math.h>

/* The fixture's graph with x as its output "y". */
static Value *with_output(Fixture *f) {
    sn_graph_output(f->graph, "steps", sn_build_dims(&f->builder, 1, &f->t, false));
    sn_graph_output(f->graph, "y", f->x);
    return f->x;
}

/* x[t, c] = sin(8·t + c); y is not used. */
static void fill(Fixture *f, const Array **inputs) {
    int64_t extent[2] = {3, 8};
    for (int i = 0; i < 2; i++) {
        Array *array = sn_array_new(f->arena, SN_F32, 2, extent);
        for (int64_t k = 0; k < array->count; k++) array->f[k] = sin((double)k);
        inputs[i] = array;
    }
}

static Status loss_of(Fixture *f, const LossOptions *options, const Array *target, double *out) {
    Value *loss;
    Array *result[3];
    const Array *inputs[3] = {NULL, NULL, target};
    assert_ok(sn_append_loss(f->graph, options, &loss));
    assert_ok(sn_verify(f->graph));
    assert_ptr_equal(f->graph->body->result.at[0], loss);
    assert_string_equal(f->graph->output_name.at[0], "loss");
    assert_string_equal(f->graph->output_name.at[2], "y");
    fill(f, inputs);
    Status status = sn_eval_graph(f->arena, f->graph, false, inputs, result);
    if (!status) *out = result[0]->f[0];
    return status;
}

static Array *labels(Fixture *f, int64_t a, int64_t b, int64_t c) {
    Array *array = sn_array_new(f->arena, SN_I64, 1, (const int64_t[]){3});
    array->i[0] = a, array->i[1] = b, array->i[2] = c;
    return array;
}

static void cross_entropy(void **state) {
    Fixture *f = *state;
    with_output(f);
    double loss;
    assert_ok(loss_of(f, &(LossOptions){.kind = SN_LOSS_CROSS_ENTROPY}, labels(f, 1, 7, 0), &loss));
    assert_true(fabs(loss - 1.9386348292187054) < 1e-9);
}

static void some_labels_count(void **state) {
    Fixture *f = *state;
    with_output(f);
    double loss;
    LossOptions options = {.kind = SN_LOSS_CROSS_ENTROPY,
                           .output = "y",
                           .has_ignore_index = true,
                           .ignore_index = -100,
                           .smoothing = 0.1};
    assert_ok(loss_of(f, &options, labels(f, 1, -100, 0), &loss));
    assert_true(fabs(loss - 2.0265446184468434) < 1e-9);
}

static void labels_are_classes(void **state) {
    Fixture *f = *state;
    with_output(f);
    double loss;
    assert_fails(loss_of(f, &(LossOptions){.kind = SN_LOSS_CROSS_ENTROPY}, labels(f, 1, 8, 0), &loss),
                 SN_FAULT, "loss");
}

static void mean_square(void **state) {
    Fixture *f = *state;
    with_output(f);
    double loss;
    Array *target = sn_array_new(f->arena, SN_F32, 2, (const int64_t[]){3, 8});
    for (int64_t k = 0; k < target->count; k++) target->f[k] = 0.5;
    assert_ok(loss_of(f, &(LossOptions){.kind = SN_LOSS_MSE}, target, &loss));
    assert_true(fabs(loss - 0.6972283652891959) < 1e-9);
}

static void what_has_no_loss(void **state) {
    Fixture *f = *state;
    Value *loss;
    LossOptions options = {.kind = SN_LOSS_CROSS_ENTROPY};
    assert_fails(sn_append_loss(f->graph, &options, &loss), SN_INVALID, "no float output");
    with_output(f);
    options.output = "z";
    assert_fails(sn_append_loss(f->graph, &options, &loss), SN_INVALID, "\"z\"");
    options.output = "steps";
    assert_fails(sn_append_loss(f->graph, &options, &loss), SN_INVALID, "not a float");
}

/* An operator without a rule is named with the model's node. */
static void what_has_no_gradient(void **state) {
    Fixture *f = *state;
    f->builder.origin = sn_origin(f->graph, &(SourceNode){"/cache", "Concat", "", 17, 4});
    AttrAppend attr = {0, sn_dim(f->graph->dims, 0)};
    Value *grown = sn_build2(&f->builder, SN_OP_APPEND, &attr, f->y, f->x), *gradient, *loss;
    sn_graph_output(f->graph, "y", grown);
    assert_ok(sn_append_loss(f->graph, &(LossOptions){.kind = SN_LOSS_MSE}, &loss));
    assert_fails(sn_autodiff(f->graph, loss, 1, &f->x, &gradient), SN_UNSUPPORTED,
                 "append of node \"/cache\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(cross_entropy), TEST(some_labels_count), TEST(labels_are_classes),
        TEST(mean_square),   TEST(what_has_no_loss),  TEST(what_has_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

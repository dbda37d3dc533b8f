/* Models written again with other weights: what was replaced is new, everything else as it was. */
#include "frontend_fixture.h"

#include <sys/stat.h>

static void write_model(Fixture *f, Model *model, const char *path) {
    size_t size;
    uint8_t *bytes = packed(model, &size);
    write_file(path, bytes, size);
    (void)f;
}

static Status save_again(Fixture *f, Model *model, int count, const NamedTensor *weight) {
    const char *from = in_folder(f, "from.onnx");
    write_model(f, model, from);
    return sn_save_onnx(f->arena, from, in_folder(f, "to.onnx"), count, weight);
}

static const Tensor *weight_of_copy(Fixture *f) {
    Graph *graph;
    Status status = sn_load_onnx(f->arena, in_folder(f, "to.onnx"), NULL, &graph, NULL);
    if (status) fail_msg("%s", sn_error_message(status));
    return constant_of(graph);
}

static Tensor floats(int64_t *extent, const float *value, int64_t count) {
    *extent = count;
    return (Tensor){.dtype = SN_F32, .rank = 1, .extent = extent, .count = count, .bytes = value};
}

static void values_are(const Tensor *tensor, const float *value) {
    assert_int_equal(tensor->count, 4);
    for (int i = 0; i < 4; i++) assert_true(sn_tensor_get(tensor, i) == value[i]);
}

static const float other[4] = {3, 0, -0.25f, 1e30f};

static void weights_are_replaced_wherever_they_were(void **state) {
    Fixture *f = *state;
    int64_t extent;
    Tensor tensor = floats(&extent, other, 4);
    for (int kind = 0; kind < 3; kind++) {
        Onnx__TensorProto *weight;
        Model *model = sum_model(f->arena, &weight);
        if (kind == 0) set_raw(weight, four, sizeof four);
        if (kind == 1) weight->n_float_data = 4, weight->float_data = (float *)four;
        if (kind == 2)
            set_external(model, weight, "location", "recipe"), set_external(model, weight, "seed", "7");
        assert_null(save_again(f, model, 1, &(NamedTensor){"w", &tensor}));
        values_are(weight_of_copy(f), other);
    }
}

static void without_new_weights_the_file_stays_as_it_is(void **state) {
    Fixture *f = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(f->arena, &weight);
    int64_t extent;
    Tensor tensor = floats(&extent, other, 4);
    set_raw(weight, four, sizeof four);
    model->proto.producer_name = "somebody";
    assert_null(save_again(f, model, 1, &(NamedTensor){"not there", &tensor}));
    char command[256];
    snprintf(command, sizeof command, "cmp '%s' '%s'", in_folder(f, "from.onnx"), in_folder(f, "to.onnx"));
    assert_int_equal(system(command), 0);
}

static void what_lay_outside_comes_in(void **state) {
    Fixture *f = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(f->arena, &weight);
    write_file(in_folder(f, "weights"), four, sizeof four);
    set_external(model, weight, "location", "weights");
    assert_null(save_again(f, model, 0, NULL));
    assert_int_equal(unlink(in_folder(f, "weights")), 0);
    values_are(weight_of_copy(f), four);
}

/* 1 GiB and a few bytes, which are a rule here and zeros in the file. */
static void large_weights_lie_beside_the_model(void **state) {
    Fixture *f = *state;
    enum { COUNT = (1 << 28) + 2 };
    Model *model = model_new(f->arena, 17);
    add_input(model, "x", F32, "batch");
    Onnx__TensorProto *weight = add_initializer(model, "w", F32, COUNT);
    add_initializer(model, "zero", I64, 1)->int64_data = (int64_t[]){0};
    model->initializer[1]->n_int64_data = 1;
    add_node(model, "Gather", "w zero", "row");
    add_node(model, "Add", "x row", "y");
    add_output(model, "y");
    set_external(model, weight, "location", "recipe");
    set_external(model, weight, "seed", "1");
    set_external(model, weight, "scale", "0");
    set_external(model, weight, "offset_value", "2.5");
    assert_null(save_again(f, model, 0, NULL));
    struct stat info;
    assert_int_equal(stat(in_folder(f, "to.onnx"), &info), 0);
    assert_true(info.st_size < 4096);
    const Tensor *tensor = weight_of_copy(f);
    assert_int_equal(tensor->payload, SN_PAYLOAD_BYTES);
    assert_int_equal(tensor->count, COUNT);
    assert_true(sn_tensor_get(tensor, 0) == 2.5 && sn_tensor_get(tensor, COUNT - 1) == 2.5);
}

static void other_shapes_are_refused_and_nothing_is_written(void **state) {
    Fixture *f = *state;
    Onnx__TensorProto *weight;
    Model *model = sum_model(f->arena, &weight);
    int64_t extent;
    Tensor tensor = floats(&extent, other, 3);
    set_raw(weight, four, sizeof four);
    Status status = save_again(f, model, 1, &(NamedTensor){"w", &tensor});
    assert_int_equal(sn_error_code(status), SN_INVALID);
    assert_non_null(strstr(sn_error_message(status), "\"w\""));
    sn_error_free(status);
    assert_int_equal(access(in_folder(f, "to.onnx"), F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(weights_are_replaced_wherever_they_were),
        TEST(without_new_weights_the_file_stays_as_it_is),
        TEST(what_lay_outside_comes_in),
        TEST(large_weights_lie_beside_the_model),
        TEST(other_shapes_are_refused_and_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

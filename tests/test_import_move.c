/* Rules of the importer for operators that move elements. */
#include "frontend_fixture.h"

#include <math.h>

/* A point at no place has no neighbours; the run goes on. */
static void points_may_be_nowhere(void **state) {
    Fixture *fixture = *state;
    static const char *const beyond[] = {"zeros", "border", "reflection"};
    for (int k = 0; k < 3; k++) {
        Model *model = model_new(fixture->arena, 16);
        add_input(model, "grid", F32, "1,1,1,2");
        Onnx__TensorProto *image = add_initializer(model, "image", F32, 1);
        image->n_dims = 4;
        image->dims = SN_ARRAY(fixture->arena, int64_t, 4);
        for (int i = 0; i < 4; i++) image->dims[i] = i < 2 ? 1 : 2;
        set_raw(image, four, sizeof four);
        set_string(model, add_node(model, "GridSample", "image grid", "y"), "padding_mode", beyond[k]);
        add_output(model, "y");
        const Array *y = result_of(fixture, model, 4, (int64_t[]){1, 1, 1, 2}, NAN);
        assert_int_equal(y->count, 1);
        assert_true(k == 0 ? y->f[0] == 0 : y->f[0] == (double)four[0]);
    }
}

/* A padding value may be written as a quantised number. */
static void padding_values_may_be_computed(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 13);
    const int64_t pads[2] = {1, 0};
    add_input(model, "x", F32, "2");
    add_integers(model, "pads", 1, 2, pads);
    set_raw(add_initializer(model, "a", F32, 1), four, sizeof four[0]);
    set_raw(add_initializer(model, "b", F32, 1), four + 1, sizeof four[0]);
    add_node(model, "Mul", "a b", "c");
    add_node(model, "Neg", "c", "d");
    add_node(model, "Pad", "x pads d", "y");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 1, (int64_t[]){2}, 3);
    assert_int_equal(y->count, 3);
    assert_true(y->f[0] == -(double)(four[0] * four[1]) && y->f[1] == 3);
}

static Model *pad_model(Arena *arena, int64_t value) {
    Model *model = model_new(arena, 17);
    const int64_t pads[] = {1, 0};
    add_input(model, "x", I64, "2");
    add_integers(model, "pads", 1, 2, pads);
    add_integers(model, "value", 0, 1, &value);
    add_node(model, "Pad", "x pads value", "y");
    add_output(model, "y");
    return model;
}

static void padding_values_are_exact(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    loaded(fixture, pad_model(fixture->arena, (INT64_C(1) << 53) - 1), &graph);
    refused(fixture, pad_model(fixture->arena, (INT64_C(1) << 53) + 1), SN_UNSUPPORTED, "padding value",
            NULL);
}

/* Elements of shapes are gathered by indices of every rank there is. */
static void shape_values_are_gathered_at_any_rank(void **state) {
    Fixture *fixture = *state;
    for (int rank = 0; rank <= SN_MAX_RANK; rank += SN_MAX_RANK) {
        Model *model = model_new(fixture->arena, 17);
        const int64_t index = -1;
        add_input(model, "x", F32, "2,n");
        add_integers(model, "index", rank, 1, &index);
        add_node(model, "Shape", "x", "shape");
        add_node(model, "Gather", "shape index", "y");
        add_output(model, "y");
        Graph *graph;
        loaded(fixture, model, &graph);
        const Value *y = graph->body->result.at[0];
        assert_int_equal(y->type.rank, rank);
        assert_ptr_equal(y->known[0], graph->body->param.at[0]->type.dim[1]);
    }
}

/* x[2, :] = u as exporters write it: the tuples (2, 0), (2, 1), … are a box, and nothing is looked up. */
static void a_box_of_tuples_moves_parts(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    const int64_t zero = 0, one = 1, two = 2;
    add_input(model, "x", F32, "4,n");
    add_input(model, "u", F32, "n");
    add_integers(model, "zero", 0, 1, &zero);
    add_integers(model, "one", 0, 1, &one);
    add_integers(model, "axis", 1, 1, &one);
    add_integers(model, "two", 2, 1, &two);
    add_node(model, "Size", "u", "n");
    add_node(model, "Range", "zero n one", "range");
    add_node(model, "Unsqueeze", "range axis", "column");
    add_node(model, "Shape", "column", "shape");
    add_node(model, "Expand", "two shape", "row");
    set_int(model, add_node(model, "Concat", "row column", "tuples"), "axis", 1);
    add_node(model, "ScatterND", "x tuples u", "y");
    add_output(model, "y");
    Graph *graph;
    loaded(fixture, model, &graph);
    for (const Node *node = graph->body->first; node; node = node->next)
        if (node->op != SN_OP_VIEW && node->op != SN_OP_CONCAT) fail_msg("%s", sn_op(node->op)->text);
    Array *x = sn_array_new(fixture->arena, SN_F32, 2, (int64_t[]){4, 3}), *output[1];
    Array *u = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){3});
    for (int i = 0; i < 12; i++) x->f[i] = i;
    for (int i = 0; i < 3; i++) u->f[i] = -1 - i;
    Status status = sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){x, u}, output);
    if (status) fail_msg("%s", sn_error_message(status));
    for (int i = 0; i < 12; i++) assert_true(output[0]->f[i] == (i / 3 == 2 ? -1 - i % 3 : i));
}

static Status scatter_at(Fixture *fixture, const char *op, int64_t index, Array **output) {
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "4");
    add_input(model, "at", I64, strcmp(op, "ScatterND") == 0 ? "1,1" : "1");
    add_input(model, "u", F32, "1");
    add_node(model, op, "x at u", "y");
    add_output(model, "y");
    Graph *graph;
    loaded(fixture, model, &graph);
    Array *x = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){4});
    Array *at = sn_array_new(fixture->arena, SN_I64, graph->body->param.at[1]->type.rank, (int64_t[]){1, 1});
    Array *u = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){1});
    for (int i = 0; i < 4; i++) x->f[i] = i;
    at->i[0] = index, u->f[0] = 9;
    return sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){x, at, u}, output);
}

/* x[i] = u where the tuples are as long as a run says, and must be of one number. */
static void ranks_tell_how_long_tuples_are(void **state) {
    Fixture *fixture = *state;
    for (int64_t length = 1; length < 3; length++) {
        Model *model = model_new(fixture->arena, 17);
        add_input(model, "x", F32, "4");
        add_input(model, "at", I64, "2,n");
        add_input(model, "u", F32, "2");
        add_node(model, "ScatterND", "x at u", "y");
        add_output(model, "y");
        Graph *graph;
        loaded(fixture, model, &graph);
        Array *x = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){4}), *output[1];
        Array *at = sn_array_new(fixture->arena, SN_I64, 2, (int64_t[]){2, length});
        Array *u = sn_array_new(fixture->arena, SN_F32, 1, (int64_t[]){2});
        at->i[0] = 3, at->i[1] = 1, u->f[0] = 8, u->f[1] = 9;
        Status status = sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){x, at, u}, output);
        assert_int_equal(sn_error_code(status), length == 1 ? SN_OK : SN_INVALID);
        sn_error_free(status);
        if (length == 1) assert_true(output[0]->f[3] == 8 && output[0]->f[1] == 9 && output[0]->f[0] == 0);
    }
}

static void scatters_stay_inside(void **state) {
    Fixture *fixture = *state;
    static const char *const op[] = {"ScatterND", "ScatterElements"};
    Array *output[1];
    for (int i = 0; i < 2; i++) {
        Status status = scatter_at(fixture, op[i], -4, output);
        if (status) fail_msg("%s", sn_error_message(status));
        for (int k = 0; k < 4; k++) assert_true(output[0]->f[k] == (k == 0 ? 9 : k));
        for (int64_t beyond = -5; beyond <= 4; beyond += 9) {
            status = scatter_at(fixture, op[i], beyond, output);
            assert_int_equal(sn_error_code(status), SN_FAULT);
            sn_error_free(status);
        }
    }
}

/* Scales 1, 1, 3, 2, of which the last two are sliced, each for itself, out of a table of doubles. */
static void scales_are_read_where_they_stand(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    const int64_t bounds[] = {3, 4, 5};
    const float ones[2] = {1, 1};
    const double table[5] = {9, 8, 7, 3, 2};
    add_input(model, "x", F32, "1,1,2,2");
    set_raw(add_initializer(model, "table", F64, 5), table, sizeof table);
    set_raw(add_initializer(model, "ones", F32, 2), ones, sizeof ones);
    for (int i = 0; i < 3; i++)
        add_integers(model, sn_arena_printf(fixture->arena, "at%d", i), 1, 1, &bounds[i]);
    add_node(model, "Slice", "table at0 at1", "rows");
    add_node(model, "Slice", "table at1 at2", "columns");
    set_int(model, add_node(model, "Cast", "rows", "rows32"), "to", F32);
    set_int(model, add_node(model, "Cast", "columns", "columns32"), "to", F32);
    set_int(model, add_node(model, "Concat", "ones rows32 columns32", "scales"), "axis", 0);
    add_node(model, "Resize", "x _ scales", "y");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 4, (int64_t[]){1, 1, 2, 2}, 5);
    assert_int_equal(y->extent[2], 6);
    assert_int_equal(y->extent[3], 4);
    assert_int_equal(y->count, 24);
}

/* Of sizes that data decide no scale is known: such a Resize names the input that a constant may stand for. */
static void sizes_that_decide_scales_are_named(void **state) {
    for (int k = 0; k < 2; k++) {
        Fixture *fixture = *state;
        Model *model = model_new(fixture->arena, 18);
        add_input(model, "x", F32, "1,1,8,8");
        add_input(model, "wanted", I64, "4");
        Onnx__NodeProto *node = add_node(model, "Resize", "x _ _ wanted", "y");
        set_string(model, node, "mode", "linear");
        if (k)
            set_int(model, node, "antialias", 1);
        else
            set_string(model, node, "keep_aspect_ratio_policy", "not_larger");
        add_output(model, "y");
        refused(fixture, model, SN_UNSUPPORTED, "data-dependent sizes", "decide it: \"wanted\" (const", NULL);
    }
}

/* Likewise a condition that chooses between ranks. */
static void conditions_that_decide_ranks_are_named(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17), *branch[2];
    add_input(model, "x", F32, "2");
    add_input(model, "flat", BOOL, "");
    add_integers(model, "first", 1, 1, (int64_t[]){0});
    Onnx__NodeProto *node = add_node(model, "If", "flat", "y");
    for (int k = 0; k < 2; k++) {
        branch[k] = model_new(fixture->arena, 17);
        add_node(branch[k], k ? "Unsqueeze" : "Identity", k ? "x first" : "x", "r");
        add_output(branch[k], "r");
        add_attribute(model, node, k ? "else_branch" : "then_branch", GRAPH)->g = &branch[k]->graph;
    }
    add_output(model, "y");
    refused(fixture, model, SN_UNSUPPORTED, "results of different shapes", "decide it: \"flat\" (const",
            NULL);
}

/* x < 3 ? table[x] : x / (x - 1), of which one fails for x = 7 and the other for x = 1. */
static Model *branches_model(Arena *arena) {
    Model *model = model_new(arena, 17), *then = model_new(arena, 17), *other = model_new(arena, 17);
    add_input(model, "number", F32, "2");
    add_integers(model, "one", 1, 1, (int64_t[]){1});
    add_integers(model, "three", 1, 1, (int64_t[]){3});
    add_integers(model, "table", 1, 3, (int64_t[]){10, 11, 12});
    set_int(model, add_node(model, "Cast", "number", "x"), "to", I64);
    add_node(model, "ReduceMax", "x", "most");
    add_node(model, "Less", "most three", "small");
    add_node(then, "Gather", "table x", "a");
    add_output(then, "a");
    add_node(other, "Sub", "x one", "d");
    add_node(other, "Div", "x d", "b");
    add_output(other, "b");
    Onnx__NodeProto *node = add_node(model, "If", "small", "y");
    add_attribute(model, node, "then_branch", GRAPH)->g = &then->graph;
    add_attribute(model, node, "else_branch", GRAPH)->g = &other->graph;
    add_output(model, "y");
    return model;
}

/* Both branches are computed, without the faults of the one that is not taken. */
static void conditions_may_depend_on_data(void **state) {
    Fixture *fixture = *state;
    static const int64_t x[] = {1, 7, 2}, y[] = {11, 1, 12};
    for (int k = 0; k < 3; k++) {
        const Array *result =
            result_of(fixture, branches_model(fixture->arena), 1, (int64_t[]){2}, (double)x[k]);
        assert_int_equal(result->count, 2);
        assert_int_equal(result->i[1], y[k]);
    }
}

/* Sizes that only a run knows are not 1 where nothing says so. */
static void squeezed_sizes_are_checked(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 17);
    add_input(model, "x", F32, "n,1,4");
    add_node(model, "Squeeze", "x", "y");
    add_output(model, "y");
    model->output[0]->type->tensor_type->shape = NULL;
    Array *y = (Array *)result_of(fixture, model, 3, (int64_t[]){3, 1, 4}, 1), *out[1];
    assert_int_equal(y->rank, 2);
    Graph *graph;
    loaded(fixture, model, &graph);
    Array *one = sn_array_new(fixture->arena, SN_F32, 3, (int64_t[]){1, 1, 4});
    assert_fails(sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){one}, out), SN_INVALID,
                 "Squeeze");
    model->output[0] = value_info(model, "y", F32, "4");
    assert_int_equal(result_of(fixture, model, 3, (int64_t[]){1, 1, 4}, 1)->rank, 1);
}

/* y is what operands packed into one give, less what they give one by one, and z the latter. */
static Model *packed_model(Arena *arena, int parts) {
    Model *model = model_new(arena, 17);
    Onnx__OperatorSetIdProto *microsoft = SN_NEW(arena, Onnx__OperatorSetIdProto);
    onnx__operator_set_id_proto__init(microsoft);
    microsoft->domain = "com.microsoft", microsoft->version = 1;
    model->proto.opset_import = SN_ARRAY(arena, Onnx__OperatorSetIdProto *, 2);
    model->proto.opset_import[0] = &model->opset, model->proto.opset_import[1] = microsoft;
    model->proto.n_opset_import = 2;
    add_input(model, "x", F32, parts == 3 ? "1,n,2,3,2" : "1,n,2,2,2");
    add_integers(model, "rows", 1, 3, (int64_t[]){0, 0, 4});
    Onnx__NodeProto *split = add_node(model, "Split", "x", parts == 3 ? "a b c" : "b c");
    set_int(model, split, "axis", 3);
    if (parts == 3) add_node(model, "Reshape", "a rows", "q");
    add_node(model, "Reshape", "b rows", "k");
    add_node(model, "Reshape", "c rows", "v");
    const char *query = parts == 3 ? "q" : "k";
    Onnx__NodeProto *apart =
        add_node(model, "MultiHeadAttention", sn_arena_printf(arena, "%s k v", query), "z");
    Onnx__NodeProto *packed = add_node(model, "MultiHeadAttention", parts == 3 ? "x" : "k x", "p");
    apart->domain = packed->domain = "com.microsoft";
    set_int(model, apart, "num_heads", 2), set_int(model, packed, "num_heads", 2);
    add_node(model, "Sub", "p z", "y");
    add_output(model, "y"), add_output(model, "z");
    return model;
}

static void operands_may_be_packed(void **state) {
    Fixture *fixture = *state;
    for (int parts = 2; parts <= 3; parts++) {
        Graph *graph;
        loaded(fixture, packed_model(fixture->arena, parts), &graph);
        Array *x = sn_array_new(fixture->arena, SN_F32, 5, (int64_t[]){1, 3, 2, parts, 2}), *out[2];
        for (int64_t i = 0; i < x->count; i++) x->f[i] = (float)sin((double)(i * i));
        assert_ok(sn_eval_graph(fixture->arena, graph, false, (const Array *const[]){x}, out));
        for (int64_t i = 0; i < 12; i++) assert_true(fabs(out[0]->f[i]) < 1e-12 && out[1]->f[i] != 0);
    }
}

/* A mask that the file holds has its places before any run. */
static void constant_masks_are_known(void **state) {
    Fixture *fixture = *state;
    Graph *graph;
    Model *model = model_new(fixture->arena, 17);
    const int64_t mask[] = {0, 3, 0, -1, 7};
    add_integers(model, "mask", 1, 5, mask);
    add_input(model, "x", F32, "5");
    add_node(model, "NonZero", "mask", "places");
    add_node(model, "Gather", "x places", "y");
    add_output(model, "y");
    loaded(fixture, model, &graph);
    const Value *y = graph->body->result.at[0];
    assert_int_equal(graph->sizes.count, 0);
    assert_true(y->type.rank == 2 && sn_dim_equals(y->type.dim[1], 3));
}

static Model *three_numbers(Arena *arena) {
    Model *model = model_new(arena, 17);
    const int64_t number[] = {0, 1, 2};
    for (int i = 0; i < 3; i++)
        add_integers(model, (const char *const[]){"zero", "one", "two"}[i], 1, 1, &number[i]);
    add_input(model, "x", F32, "2,n");
    return model;
}

/* All but the last none are none. */
static void ends_may_be_nothing(void **state) {
    Fixture *fixture = *state;
    Model *model = three_numbers(fixture->arena);
    add_node(model, "NonZero", "x", "places");
    add_node(model, "Shape", "places", "shape");
    add_node(model, "Slice", "shape one two", "found");
    add_node(model, "Neg", "found", "end");
    add_node(model, "Slice", "x zero end one", "y");
    add_output(model, "y");
    assert_int_equal(result_of(fixture, model, 2, (int64_t[]){2, 3}, 0)->extent[1], 0);
}

/* An extent of 0 is the input's also beside one that a run computes. */
static void extents_are_copied_beside_those_of_data(void **state) {
    Fixture *fixture = *state;
    Model *model = three_numbers(fixture->arena);
    set_int(model, add_node(model, "ReduceMin", "x", "least"), "keepdims", 0);
    set_int(model, add_node(model, "Cast", "least", "number"), "to", I64);
    add_node(model, "Unsqueeze", "number zero", "numbers");
    set_int(model, add_node(model, "Concat", "zero numbers", "asked"), "axis", 0);
    add_node(model, "Reshape", "x asked", "y");
    add_output(model, "y");
    const Array *y = result_of(fixture, model, 2, (int64_t[]){2, 3}, -1);
    assert_true(y->rank == 2 && y->extent[0] == 2 && y->extent[1] == 3);
}

static void evaluation_fails(Fixture *fixture, Model *model, double x, sn_Code code, const char *part) {
    Graph *graph;
    loaded(fixture, model, &graph);
    Array *input = sn_array_new(fixture->arena, SN_F32, 0, NULL);
    Array **output = SN_ARRAY(fixture->arena, Array *, graph->body->result.count);
    input->f[0] = x;
    assert_fails(sn_eval_graph(fixture->arena, graph, true, (const Array *const[]){input}, output), code,
                 part);
}

/* No number of elements comes of a step of 0, nor of an end that is nowhere. */
static void ranges_of_data_end(void **state) {
    Fixture *fixture = *state;
    static const char *const bounds[] = {"a a x", "a b x", "b a x", "a x b", "a x b"};
    static const double x[] = {0, 0, 0, -INFINITY, NAN};
    for (int k = 0; k < 5; k++) {
        Model *model = model_new(fixture->arena, 17);
        add_input(model, "x", F32, "");
        for (int i = 0; i < 2; i++) {
            Onnx__TensorProto *number = add_initializer(model, i ? "b" : "a", F32, 1);
            number->n_dims = 0;
            set_raw(number, four + i, sizeof four[0]);
        }
        add_node(model, "Range", bounds[k], "y");
        add_output(model, "y");
        evaluation_fails(fixture, model, x[k], k == 3 ? SN_NO_MEMORY : SN_FAULT, "");
    }
}

/* Slices without elements are all equal. */
static void slices_of_nothing_are_one(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 11);
    add_input(model, "x", F32, "3,0");
    set_int(model, add_node(model, "Unique", "x", "y first group times"), "axis", 0);
    add_output(model, "times");
    const Array *times = result_of(fixture, model, 2, (int64_t[]){3, 0}, 0);
    assert_int_equal(times->count, 1);
    assert_int_equal(times->i[0], 3);
}

/* NaN equals itself in a list, and is the greatest element of a window, at its own place. */
static void what_is_no_number_has_places(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 12);
    add_input(model, "x", F32, "3");
    add_node(model, "Unique", "x", "y first group times");
    add_output(model, "times");
    const Array *times = result_of(fixture, model, 1, (int64_t[]){3}, NAN);
    assert_true(times->count == 1 && times->i[0] == 3);
    model = model_new(fixture->arena, 12);
    add_input(model, "x", F32, "1,1,4");
    Onnx__AttributeProto *shape =
        add_attribute(model, add_node(model, "MaxPool", "x", "y places"), "kernel_shape", INTS);
    shape->n_ints = 1, shape->ints = (int64_t[]){3};
    add_output(model, "places");
    const Array *places = result_of(fixture, model, 3, (int64_t[]){1, 1, 4}, NAN);
    assert_true(places->count == 2 && places->i[0] == 0 && places->i[1] == 1);
}

/* Offsets and masks of another number of groups, or of other positions, even as many in all. */
static void offsets_fit_their_windows(void **state) {
    Fixture *fixture = *state;
    static const struct {
        const char *offset, *mask;
        bool fits;
    } test[] = {{"1,8,2,2", "1,4,2,2", true},  {"1,16,2,2", "1,4,2,2", false}, {"1,8,4,1", "1,4,2,2", false},
                {"1,8,2,2", "1,2,4,2", false}, {"1,8,2,2", "1,8,2,2", false},  {"1,8,2,2", "4,2,2", false}};
    for (int k = 0; k < 6; k++) {
        Model *model = model_new(fixture->arena, 19);
        Graph *graph;
        add_input(model, "x", F32, "1,1,3,3");
        add_input(model, "w", F32, "1,1,2,2");
        add_input(model, "offset", F32, test[k].offset);
        add_input(model, "mask", F32, test[k].mask);
        add_node(model, "DeformConv", "x w offset _ mask", "y");
        add_output(model, "y");
        if (test[k].fits)
            loaded(fixture, model, &graph);
        else
            refused(fixture, model, SN_INVALID, "offsets or a mask", NULL);
    }
}

/* Vectors that are none, in files that contradict themselves. */
static void ranks_are_checked(void **state) {
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 11);
    add_input(model, "x", F32, "1,2,5");
    add_input(model, "w", F32, "3,2,2");
    add_input(model, "b", F32, "");
    add_node(model, "Conv", "x w b", "y");
    add_output(model, "y");
    refused(fixture, model, SN_INVALID, "Conv", "rank 0", NULL);
    model = model_new(fixture->arena, 1);
    model->opset.domain = "com.microsoft";
    add_input(model, "x", F32, "1,2,6");
    add_input(model, "w", F32, "6,18");
    Onnx__NodeProto *node = add_node(model, "Attention", "x w", "y");
    node->domain = "com.microsoft";
    set_int(model, node, "num_heads", 0);
    add_output(model, "y");
    refused(fixture, model, SN_INVALID, "0 heads", NULL);
}

/* Of many nodes that are refused what they come of is walked once. */
static void refusals_cost_little(void **state) {
    enum { MANY = 2000 };
    Fixture *fixture = *state;
    Model *model = model_new(fixture->arena, 13);
    Onnx__NodeProto **node = SN_ARRAY(fixture->arena, Onnx__NodeProto *, 2 * MANY);
    add_input(model, "v0", I64, "1");
    for (int i = 0; i < MANY; i++) {
        const char *v = sn_arena_printf(fixture->arena, "v%d", i + 1);
        node[2 * i] = add_node(model, "Neg", sn_arena_printf(fixture->arena, "v%d", i), v);
        node[2 * i + 1] = add_node(model, "Unsqueeze", sn_arena_printf(fixture->arena, "v0 %s", v),
                                   sn_arena_printf(fixture->arena, "y%d", i));
        model->graph.n_node = 0; /* the model has room for few */
    }
    model->graph.node = node, model->graph.n_node = 2 * MANY;
    add_output(model, "y1");
    sn_arena_limit(fixture->arena, 64 << 20);
    refused(fixture, model, SN_UNSUPPORTED, "data-dependent axes", "\"v0\" (const", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(points_may_be_nowhere),
        TEST(padding_values_may_be_computed),
        TEST(padding_values_are_exact),
        TEST(shape_values_are_gathered_at_any_rank),
        TEST(a_box_of_tuples_moves_parts),
        TEST(ranks_tell_how_long_tuples_are),
        TEST(scatters_stay_inside),
        TEST(scales_are_read_where_they_stand),
        TEST(conditions_may_depend_on_data),
        TEST(squeezed_sizes_are_checked),
        TEST(operands_may_be_packed),
        TEST(constant_masks_are_known),
        TEST(ends_may_be_nothing),
        TEST(extents_are_copied_beside_those_of_data),
        TEST(ranges_of_data_end),
        TEST(slices_of_nothing_are_one),
        TEST(what_is_no_number_has_places),
        TEST(sizes_that_decide_scales_are_named),
        TEST(conditions_that_decide_ranks_are_named),
        TEST(offsets_fit_their_windows),
        TEST(ranks_are_checked),
        TEST(refusals_cost_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

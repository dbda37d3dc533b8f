/* The passes that make a training step of a model. */
#include "train.h"
#include "pass.h"

bool sn_parameters(Pass *pass, Graph *graph) {
    if (graph->loops.count || graph->sizes.count) {
        pass->status =
            sn_fail(SN_UNSUPPORTED, "unsupported: training a model with %s",
                    graph->loops.count ? "loops whose turns only a run counts" : "sizes that depend on data");
        return false;
    }
    pass->status = sn_parameters_declare(graph, pass->training);
    if (!pass->status) pass->status = sn_dropout_choose(graph, pass->training);
    return !pass->status;
}

static Status find_loss(Graph *graph, const Training *training, Value **loss) {
    if (training->has_loss) return sn_append_loss(graph, &training->loss, loss);
    const char *name = training->loss.output;
    for (int i = 0; i < graph->body->result.count; i++) {
        Value *value = graph->body->result.at[i];
        bool one =
            sn_dtype_is_float(value->type.dtype) && sn_dim_equals(sn_type_count(graph->dims, value->type), 1);
        if (name ? strcmp(graph->output_name.at[i], name) != 0 : !one) continue;
        *loss = value;
        return NULL;
    }
    return name ? sn_fail(SN_INVALID, "there is no output \"%s\" for the loss", name)
                : sn_fail(SN_INVALID, "there is no output of one float for the loss");
}

static bool is_state(const Graph *graph, int input) {
    for (int i = 0; i < graph->states.count; i++)
        if (graph->states.at[i].input == input) return true;
    return false;
}

/* The inputs become those of the model, then the states; the results the loss, then the `asked` ones from `gradient` on, then
 * the states' next values. */
static void arrange(Graph *graph, int loss, int gradient, int asked) {
    int count = graph->states.count, visible = 0;
    int *input = SN_ARRAY(graph->arena, int, graph->body->param.count),
        *result = SN_ARRAY(graph->arena, int, count + asked + 1);
    result[0] = loss;
    for (int i = 0; i < asked; i++) result[1 + i] = gradient + i;
    for (int i = 0; i < graph->body->param.count; i++)
        if (!is_state(graph, i)) input[visible++] = i;
    for (int i = 0; i < count; i++) {
        GraphState *state = &graph->states.at[i];
        input[visible + i] = state->input;
        result[1 + asked + i] = state->result;
        state->input = visible + i;
        state->result = 1 + asked + i;
    }
    sn_graph_arrange(graph, visible + count, input, 1 + asked + count, result);
}

/* The inputs whose gradients are asked for, in value[]; *count of them. */
static Status find_inputs(const Graph *graph, const Training *training, Value **value, int *count) {
    *count = 0;
    for (int i = 0; training->inputs && i < graph->body->param.count; i++) {
        Value *input = graph->body->param.at[i];
        if (!is_state(graph, i) && sn_dtype_is_float(input->type.dtype) &&
            sn_name_fits(training->inputs, input->name))
            value[(*count)++] = input;
    }
    if (!training->inputs || *count) return NULL;
    return sn_fail(SN_INVALID, "none of the names whose gradients are asked for is an input's of floats");
}

/* They become results, behind those there are; the first one's place. */
static int give_gradients(Graph *graph, int count, Value *const *value, Value *const *gradient) {
    int first = graph->body->result.count;
    for (int i = 0; i < count; i++)
        sn_graph_output(graph, sn_arena_printf(graph->arena, "gradient.%s", value[i]->name), gradient[i]);
    return first;
}

static Status make_step(Pass *pass, Graph *graph) {
    Training own = *pass->training;
    const Training *training = &own;
    Value *loss, *scale = NULL, *whole;
    bool scaled = pass->autocast == SN_AUTOCAST_F16;
    own.skip |= scaled; /* a scale that was too large is found by what overflows */
    TRY(find_loss(graph, training, &loss));
    int count = sn_parameters_choose(graph, training, loss), asked;
    if (!count && !training->inputs)
        return sn_fail(SN_INVALID, "the loss depends on no parameter that could be trained");
    if (scaled && training->inputs)
        return sn_fail(SN_UNSUPPORTED,
                       "unsupported: gradients of inputs with autocast to f16, which scales the loss");
    int most = count + graph->body->param.count;
    Value **value = SN_ARRAY(pass->arena, Value *, most), **gradient = SN_ARRAY(pass->arena, Value *, most);
    for (int i = 0; i < count; i++) value[i] = graph->body->param.at[graph->states.at[i].input];
    TRY(find_inputs(graph, training, value + count, &asked));
    TRY(sn_dropout_start(graph, training));
    int result = 0;
    while (graph->body->result.at[result] != loss) result++;
    whole = loss;
    if (scaled) TRY(sn_loss_scale_start(graph, loss, &scale, &whole));
    TRY(sn_autodiff(graph, whole, count + asked, value, gradient));
    loss = graph->body->result.at[result]; /* what was taken apart to be differentiated has another value */
    int first = give_gradients(graph, asked, value + count, gradient + count);
    if (count)
        TRY(sn_optimizer_append(graph, training, loss, scale, count, value, gradient));
    else
        sn_graph_input(graph, "learning_rate",
                       (Type){SN_F32, 0, NULL}); /* steps of all models are called alike */
    arrange(graph, result, first, asked);
    sn_region_sweep(graph->body);
    sn_pass_remark(pass, NULL, true, "%d parameters are trained", count);
    return NULL;
}

bool sn_make_step(Pass *pass, Graph *graph) {
    pass->status = make_step(pass, graph);
    return !pass->status;
}

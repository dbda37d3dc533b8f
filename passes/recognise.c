/* Composites are rebuilt from what exporters decompose them into. */
#include "recognise_internal.h"

#include <math.h>

/* Larger patterns first where one root fits several. */
static const struct {
    OpCode root;
    const char *what;
    Recogniser *recogniser;
} rows[] = {
    {SN_OP_ADD, "layer normalization", sn_recognise_layer_norm},
    {SN_OP_MUL, "layer normalization without bias", sn_recognise_layer_norm},
    {SN_OP_MUL, "RMS normalization", sn_recognise_rms_norm},
    {SN_OP_ADD, "rotary positions", sn_recognise_rotary},
    {SN_OP_MUL, "GELU", sn_recognise_gelu},
    {SN_OP_MUL, "SiLU", sn_recognise_silu},
    {SN_OP_DIV, "softmax", sn_recognise_softmax},
    {SN_OP_MATMUL, "attention", sn_recognise_attention},
};

bool sn_is_number(const Value *value, double expected) {
    double number;
    return sn_value_is_splat(value, &number) && fabs(number - expected) <= 1e-5 * fabs(expected);
}

Value *sn_other_than_splat(const Node *node, double *number) {
    for (int k = 0; k < 2; k++)
        if (sn_value_is_splat(node->input[k], number)) return node->input[1 - k];
    return NULL;
}

static bool recognise_node(Pass *pass, Graph *graph, Node *node) {
    for (size_t r = 0; r < sizeof rows / sizeof *rows && !pass->status; r++) {
        if (rows[r].root != node->op) continue;
        Builder builder = sn_builder_before(graph, node);
        builder.group = graph->next_group++;
        Value *value = rows[r].recogniser(pass, &builder, node);
        if (!pass->status) pass->status = builder.status;
        /* A constant of the pattern may widen the result. */
        if (pass->status || !value || !sn_type_equal(value->type, node->output[0]->type)) continue;
        if (!sn_pass_rewrite(pass)) return false;
        sn_pass_remark(pass, node->origin, true, "recognised: %s", rows[r].what);
        sn_value_replace(node->output[0], value);
        sn_node_remove(node);
        return true;
    }
    return false;
}

/* From the results back, so that a root is seen before the roots of the smaller patterns inside it. */
bool sn_recognise(Pass *pass, Graph *graph) {
    bool changed = false;
    for (Node *node = graph->body->last, *previous; node && !pass->status; node = previous) {
        previous = node->previous;
        if (node->output_count == 1 && sn_value_use_count(node->output[0]) > 0)
            changed |= recognise_node(pass, graph, node);
    }
    if (!pass->status) changed |= sn_region_sweep(graph->body);
    return changed;
}

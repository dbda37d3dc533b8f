/* Composites become primitives; broadcasting becomes explicit. */
#include "expand.h"
#include "pass.h"

static ExpandRule *const rules[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, expand, gradient, scalar)                                                                   \
    [code] = expand,
#include "ops.def"
#undef OP
};

/* Never called: primitives are left as they are. */
Value *sn_expand_none(Builder *builder, Node *node) {
    (void)builder;
    return node->output[0];
}

/* The tiled kernel of a direct composite computes in f32, with its row widths compiled in. */
static bool fits_tiled_kernel(const Pass *pass, const Node *node) {
    int64_t width, widest = SN_ATTENTION_WIDEST;
    if (((const AttrAttention *)node->attr)->number && pass->target->kind != SN_TARGET_CPU) return false;
    if (node->op == SN_OP_ATTENTION_BACKWARD)
        widest = pass->target->kind == SN_TARGET_CPU ? SN_ATTENTION_BACKWARD_WIDEST
                                                     : SN_ATTENTION_BACKWARD_WIDEST_CUDA;
    for (int k = 0; k < node->input_count && k < 3; k++) {
        Type type = node->input[k]->type;
        if (type.dtype == SN_F64 || !sn_dim_is(type.dim[type.rank - 1], &width) || width < 1 ||
            width > widest)
            return false;
    }
    return true;
}

static bool must_expand(Pass *pass, const Node *node) {
    OpLevel level = sn_op(node->op)->level;
    if (level != SN_LEVEL_DIRECT) return level == SN_LEVEL_COMPOSITE;
    if (pass->eager) return true;
    if (fits_tiled_kernel(pass, node)) return false;
    sn_pass_remark(pass, node->origin, false,
                   "%s is taken apart: no kernel of the target has it in f64, or with heads as wide, or of a "
                   "width that is not known when compiling, or with weights that are dropped",
                   sn_op(node->op)->text);
    return true;
}

Status sn_expand_node(Graph *graph, Node *node, Value **out) {
    Builder builder = sn_builder_before(graph, node);
    Value *value = rules[node->op](&builder, node);
    if (builder.status) return builder.status;
    sn_value_replace(node->output[0], value);
    sn_node_remove(node);
    if (out) *out = value;
    return NULL;
}

/* Gives every operand of a pointwise primitive the output's shape. */
static bool broadcast_operands(Pass *pass, Graph *graph, Node *node) {
    bool changed = false;
    Builder builder = sn_builder_before(graph, node);
    const Value *out = node->output[0];
    for (int k = 0; k < node->input_count; k++) {
        if (!node->input[k] || sn_type_same_shape(node->input[k]->type, out->type)) continue;
        Value *wide = sn_build_expand(&builder, node->input[k], out->type.rank, out->type.dim);
        pass->status = builder.status;
        if (pass->status) return changed;
        sn_node_set_input(node, k, wide);
        changed = true;
    }
    return changed;
}

bool sn_expand(Pass *pass, Graph *graph) {
    bool changed = false;
    Region *body = graph->body;
    for (Node *node = body->first; node && !pass->status;) {
        if (must_expand(pass, node)) {
            Node *before = node->previous;
            pass->status = sn_expand_node(graph, node, NULL);
            pass->rewrites += !pass->status;
            node = before ? before->next : body->first;
            changed = true;
            continue;
        }
        if (sn_op(node->op)->class == SN_CLASS_POINTWISE) changed |= broadcast_operands(pass, graph, node);
        node = node->next;
    }
    if (pass->status) return changed;
    graph->stage = SN_STAGE_EXPANDED;
    sn_region_sweep(body);
    return changed;
}

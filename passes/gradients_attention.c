/* Attention, whose probabilities are not kept but computed again from the statistic of their rows. */
#include "gradients.h"

static Value *widened(Builder *b, Value *x) {
    return x ? sn_build_cast(b, x, accumulator_dtype(x->type.dtype)) : NULL;
}

/* One operator for all of q, k and v; where the bias has a gradient, that is needed element by element. */
void sn_gradient_attention(Grad *g, Node *node, Value *dy) {
    node = sn_gradient_with_statistic(g, node);
    if (!node) return;
    Builder *b = &g->b;
    Value *const *in = node->input, *bias = node->input_count > 3 ? in[3] : NULL;
    Value *state = node->input_count > 4 ? in[4] : NULL;
    Value *sums = sn_gradient_sum(b, op2(b, SN_OP_MUL, widened(b, dy), widened(b, node->output[0])), 3, 4);
    sn_gradient_regroup(g);
    if (b->status) return;
    Value *operand[] = {in[0], in[1], in[2], dy, node->output[1], sums, bias, state}, *gradient[4];
    if (bias && sn_gradient_wanted(g, node, 3)) {
        const AttentionOperands of = {node->attr,      in[0], in[1], in[2], dy,
                                      node->output[1], sums,  bias,  state};
        sn_attention_gradients(b, &of, gradient);
    } else {
        Value *first = sn_build(b, SN_OP_ATTENTION_BACKWARD, node->attr, state ? 8 : bias ? 7 : 6, operand);
        for (int k = 0; k < 3 && first; k++) gradient[k] = first->producer->output[k];
    }
    for (int k = 0; k < (bias ? 4 : 3) && !b->status; k++)
        if (sn_gradient_wanted(g, node, k)) sn_gradient_give(g, node, k, gradient[k]);
}

/* Products, rotary positions and attention. */
#include "gradients.h"

/* da = dy·bᵀ and db = aᵀ·dy */
void sn_gradient_contract(Grad *g, Node *node, Value *dy) {
    Builder *b = &g->b;
    if (((const AttrContract *)node->attr)->packed) {
        sn_gradient_fail(g, node, "unsupported for a packed operand");
        return;
    }
    if (sn_gradient_wanted(g, node, 0))
        sn_gradient_give(g, node, 0, op2(b, SN_OP_CONTRACT, dy, sn_gradient_transpose(b, node->input[1])));
    sn_gradient_regroup(g);
    if (sn_gradient_wanted(g, node, 1))
        sn_gradient_give(g, node, 1, op2(b, SN_OP_CONTRACT, sn_gradient_transpose(b, node->input[0]), dy));
}

/* Turning back is turning by the opposite angle. Where the angles' gradients are wanted the node was taken apart. */
void sn_gradient_rotary(Grad *g, Node *node, Value *dy) {
    Value *sine = op1(&g->b, SN_OP_NEG, node->input[2]);
    sn_gradient_give(g, node, 0, sn_build3(&g->b, SN_OP_ROTARY, node->attr, dy, node->input[1], sine));
}

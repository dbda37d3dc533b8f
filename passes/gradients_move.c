/* Movements: what was read from many places goes back to each. */
#include "gradients.h"

void sn_gradient_view(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, sn_gradient_of_view(g, node->attr, node->input[0]->type, dy));
}

void sn_gradient_concat(Grad *g, Node *node, Value *dy) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    Dims *dims = g->b.graph->dims;
    Dim start = sn_dim(dims, 0);
    for (int k = 0; k < node->input_count; k++) {
        Dim count = node->input[k]->type.dim[axis];
        if (sn_gradient_wanted(g, node, k))
            sn_gradient_give(g, node, k, sn_build_slice(&g->b, dy, axis, start, count, 1));
        start = sn_dim_add(dims, start, count);
    }
}

void sn_gradient_pad(Grad *g, Node *node, Value *dy) {
    const AttrPad *attr = node->attr;
    const Value *x = node->input[0];
    for (int i = 0; i < attr->rank && dy; i++)
        dy = sn_build_slice(&g->b, dy, i, attr->before[i], x->type.dim[i], 1);
    sn_gradient_give(g, node, 0, dy);
}

void sn_gradient_trilu(Grad *g, Node *node, Value *dy) {
    sn_gradient_give(g, node, 0, sn_build1(&g->b, SN_OP_TRILU, node->attr, dy));
}

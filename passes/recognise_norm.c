/* Layer normalization, RMS normalization and softmax. */
#include "recognise_internal.h"

/* Axes first … rank-1 of x, with the first one in *axis. */
static bool is_trailing(const Node *reduce, int *axis) {
    const AttrReduce *attr = reduce->attr;
    int rank = reduce->input[0]->type.rank;
    for (int k = 0; k < attr->count; k++)
        if (attr->axes[k] != rank - attr->count + k) return false;
    *axis = rank - attr->count;
    return attr->count > 0;
}

/* `value` is mean(x) over trailing axes. */
static Value *mean_of(const Value *value, int *axis) {
    Node *mean = made_by(value, SN_OP_REDUCE_MEAN);
    return mean && is_trailing(mean, axis) ? mean->input[0] : NULL;
}

/* `value` is mean(x·x) + epsilon. */
static Value *mean_square_of(const Value *value, int *axis, double *epsilon) {
    Node *add = made_by(value, SN_OP_ADD);
    Value *mean = add ? sn_other_than_splat(add, epsilon) : NULL;
    Node *square = made_by(mean ? mean_of(mean, axis) : NULL, SN_OP_MUL);
    return square && square->input[0] == square->input[1] ? square->input[0] : NULL;
}

/* `value` is x / √(mean(x²) + epsilon), however the root and the quotient are spelled; gives x. */
static Value *normalised(const Value *value, int *axis, double *epsilon) {
    Node *div = made_by(value, SN_OP_DIV), *mul = made_by(value, SN_OP_MUL);
    if (div) {
        Node *root = made_by(div->input[1], SN_OP_SQRT);
        return root && mean_square_of(root->input[0], axis, epsilon) == div->input[0] ? div->input[0] : NULL;
    }
    for (int k = 0; mul && k < 2; k++) {
        Node *root = made_by(mul->input[k], SN_OP_RSQRT);
        if (root && mean_square_of(root->input[0], axis, epsilon) == mul->input[1 - k])
            return mul->input[1 - k];
    }
    return NULL;
}

/* A gain or bias has exactly the normalised extents. */
static bool fits(const Value *vector, const Value *x, int axis) {
    if (vector->type.rank != x->type.rank - axis || vector->type.dtype != x->type.dtype) return false;
    for (int i = 0; i < vector->type.rank; i++)
        if (vector->type.dim[i] != x->type.dim[axis + i]) return false;
    return true;
}

/* mul = gain · n, in either order, with n normalised: gives n's x and the gain. */
static Value *scaled(const Value *value, Value **gain, AttrNorm *attr) {
    Node *mul = made_by(value, SN_OP_MUL);
    for (int k = 0; mul && k < 2; k++) {
        Value *x = normalised(mul->input[k], &attr->axis, &attr->epsilon);
        if (!x || !fits(mul->input[1 - k], x, attr->axis)) continue;
        *gain = mul->input[1 - k];
        return x;
    }
    return NULL;
}

Value *sn_recognise_layer_norm(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    AttrNorm attr = {0};
    Value *gain = NULL, *bias = NULL, *centred = NULL;
    if (node->op == SN_OP_MUL) centred = scaled(node->output[0], &gain, &attr);
    for (int k = 0; node->op == SN_OP_ADD && k < 2 && !centred; k++) {
        bias = node->input[1 - k];
        centred = scaled(node->input[k], &gain, &attr);
    }
    Node *sub = made_by(centred, SN_OP_SUB);
    int axis = 0;
    if (!sub || mean_of(sub->input[1], &axis) != sub->input[0] || axis != attr.axis) return NULL;
    if (bias && !fits(bias, sub->input[0], axis)) return NULL;
    Value *input[3] = {sub->input[0], gain, bias};
    return sn_build(b, SN_OP_LAYER_NORM, &attr, bias ? 3 : 2, input);
}

Value *sn_recognise_rms_norm(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    AttrNorm attr = {0};
    Value *gain;
    Value *x = scaled(node->output[0], &gain, &attr);
    return x ? sn_build2(b, SN_OP_RMS_NORM, &attr, x, gain) : NULL;
}

static bool reduces_axis(const Node *reduce, int axis) {
    const AttrReduce *attr = reduce->attr;
    return attr->count == 1 && attr->axes[0] == axis;
}

/* exp(x − max(x)) / sum(the same) */
Value *sn_recognise_softmax(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    Node *sum = made_by(node->input[1], SN_OP_REDUCE_SUM), *e = made_by(node->input[0], SN_OP_EXP);
    if (!sum || !e || sum->input[0] != node->input[0]) return NULL;
    Node *sub = made_by(e->input[0], SN_OP_SUB);
    Node *top = sub ? made_by(sub->input[1], SN_OP_REDUCE_MAX) : NULL;
    const AttrReduce *attr = sum->attr;
    if (!top || top->input[0] != sub->input[0] || attr->count != 1) return NULL;
    AttrAxis axis = {(int)attr->axes[0]};
    return reduces_axis(top, axis.axis) ? sn_build1(b, SN_OP_SOFTMAX, &axis, sub->input[0]) : NULL;
}

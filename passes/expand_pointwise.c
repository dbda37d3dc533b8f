#include "expand.h"

#include <math.h>

Value *sn_expand_relu(Builder *b, Node *node) {
    return op_scalar(b, SN_OP_MAX, node->input[0], 0);
}

/* 0.5·x·(1 + inner), as `dtype` */
static Value *half_times_one_plus(Builder *b, Value *x, Value *inner, DType dtype) {
    Value *y = op2(b, SN_OP_MUL, op_scalar(b, SN_OP_MUL, x, 0.5), op_scalar(b, SN_OP_ADD, inner, 1));
    return y ? sn_build_cast(b, y, dtype) : NULL;
}

/* The numbers in these formulas would lose most of their digits in a narrow float. */
static Value *widened(Builder *b, Value *x) {
    return sn_build_cast(b, x, accumulator_dtype(x->type.dtype));
}

/* Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016). */
Value *sn_expand_gelu(Builder *b, Node *node) {
    const AttrGelu *attr = node->attr;
    DType dtype = node->input[0]->type.dtype;
    Value *x = widened(b, node->input[0]);
    if (!attr->tanh) {
        Value *scaled = op_scalar(b, SN_OP_MUL, x, sqrt(0.5));
        return half_times_one_plus(b, x, op1(b, SN_OP_ERF, scaled), dtype);
    }
    /* (1 + tanh(u))/2 is the logistic function of 2u, which keeps its digits where tanh(u) is near -1;
     * 2u = x·(slope + 0.044715·slope·x²). */
    double slope = 2 * sqrt(2 / acos(-1));
    Value *square = op_scalar(b, SN_OP_MUL, op2(b, SN_OP_MUL, x, x), 0.044715 * slope);
    Value *twice = op2(b, SN_OP_MUL, x, op_scalar(b, SN_OP_ADD, square, slope));
    Value *y = op2(b, SN_OP_MUL, x, op1(b, SN_OP_SIGMOID, twice));
    return y ? sn_build_cast(b, y, dtype) : NULL;
}

Value *sn_expand_silu(Builder *b, Node *node) {
    const AttrAlpha *attr = node->attr;
    Value *x = widened(b, node->input[0]);
    Value *inner = attr->alpha == 1 ? x : op_scalar(b, SN_OP_MUL, x, attr->alpha);
    Value *y = op2(b, SN_OP_MUL, x, op1(b, SN_OP_SIGMOID, inner));
    return y ? sn_build_cast(b, y, node->input[0]->type.dtype) : NULL;
}

/* max(x, 0) + log(1 + exp(-|x|)): no overflow for any x. */
Value *sn_expand_softplus(Builder *b, Node *node) {
    Value *x = widened(b, node->input[0]);
    Value *small = op1(b, SN_OP_EXP, op1(b, SN_OP_NEG, op1(b, SN_OP_ABS, x)));
    Value *tail = op1(b, SN_OP_LOG, op_scalar(b, SN_OP_ADD, small, 1));
    Value *y = op2(b, SN_OP_ADD, op_scalar(b, SN_OP_MAX, x, 0), tail);
    return y ? sn_build_cast(b, y, node->input[0]->type.dtype) : NULL;
}

/* Which elements are dropped, for a run that drops; `limit` is of u32 []. */
static Value *dropped(Builder *b, Type type, int64_t number, Value *seed, Value *run, Value *limit) {
    Value *index = sn_build_positions(b, SN_I64, sn_type_count(b->graph->dims, type), 0);
    index = sn_build_reshape(b, index, type.rank, type.dim);
    return op2(b, SN_OP_LESS, sn_build3(b, SN_OP_RANDOM, &(AttrRandom){number}, seed, run, index), limit);
}

Value *sn_expand_dropout(Builder *b, Node *node) {
    const AttrDropout *attr = node->attr;
    Value *x = node->input[0], *state = node->input_count > 1 ? node->input[1] : NULL;
    Type type = x->type;
    if (!state && attr->always) {
        b->status = sn_fail(SN_UNSUPPORTED, "unsupported: a dropout whose training_mode is true, outside of "
                                            "a training (--no-dropout leaves it out)");
        return NULL;
    }
    Value *gone = NULL, *y = x;
    if (state) {
        Value *seed = element_at(b, state, 0), *run = element_at(b, state, 1);
        Value *off = op_scalar(b, SN_OP_LESS, run, 0);
        Value *limit = sn_build3(b, SN_OP_WHERE, NULL, off, sn_build_scalar(b, SN_U32, 0),
                                 sn_build_scalar(b, SN_U32, fmin(rint(ldexp(attr->ratio, 32)), UINT32_MAX)));
        gone = dropped(b, type, attr->number, seed, run, limit);
        Value *wide = widened(b, x);
        if (!wide) return NULL;
        DType dtype = wide->type.dtype;
        Value *scale = sn_build3(b, SN_OP_WHERE, NULL, off, sn_build_scalar(b, dtype, 1),
                                 sn_build_scalar(b, dtype, 1 / (1 - attr->ratio)));
        y = sn_build3(b, SN_OP_WHERE, NULL, gone, sn_build_scalar(b, dtype, 0),
                      op2(b, SN_OP_MUL, wide, scale));
        y = y ? sn_build_cast(b, y, type.dtype) : NULL;
    }
    if (node->output_count > 1) {
        Value *kept = gone ? op1(b, SN_OP_NOT, gone) : sn_build_scalar(b, SN_BOOL, 1);
        kept = kept ? sn_build_expand(b, kept, type.rank, type.dim) : NULL;
        if (kept) sn_value_replace(node->output[1], kept);
    }
    return y;
}

/* 0, 1, 2 … along one of the last two axes, shaped to broadcast against the other. */
static Value *index_along(Builder *b, Dim extent, Dim start, bool row) {
    Dims *dims = b->graph->dims;
    AttrIota iota = {SN_I64, extent, start, sn_dim(dims, 1)};
    Value *index = sn_build(b, SN_OP_IOTA, &iota, 0, NULL);
    Dim column[2] = {extent, sn_dim(dims, 1)};
    return row ? sn_build_reshape(b, index, 2, column) : index;
}

Value *sn_expand_trilu(Builder *b, Node *node) {
    const AttrTrilu *attr = node->attr;
    Value *x = node->input[0];
    Type type = x->type;
    Value *i = index_along(b, type.dim[type.rank - 2], attr->k, true); /* row index + k */
    Value *j = index_along(b, type.dim[type.rank - 1], sn_dim(b->graph->dims, 0), false);
    Value *keep = attr->upper ? op2(b, SN_OP_LESS_EQUAL, i, j) : op2(b, SN_OP_LESS_EQUAL, j, i);
    return sn_build3(b, SN_OP_WHERE, NULL, keep, x, sn_build_scalar(b, type.dtype, 0));
}

/* What onnxruntime's writers of models with gates, branches and states of linear attention put in the place of ONNX's operators.
 * All of it is computed in f32 at least. */
#include "import_compose.h"

#include <string.h>

static Value *wide(Call *c, Value *x) {
    return x && !sn_call_failed(c) ? as_type(c, x, wide_type(x->type.dtype)) : NULL;
}

/* x·scale, times its sigmoid. */
Value *sn_import_scaled_silu(Call *c) {
    double alpha = sn_call_float(c, "alpha", 1);
    Value *x = c->input[0], *scale = sn_call_input(c, 1), *y = wide(c, x);
    if (scale)
        y = op2(c, SN_OP_MUL, y, as_type(c, reshaped(c, scale, 0, NULL), wide_type(x->type.dtype)));
    else
        y = op_number(c, SN_OP_MUL, y, alpha);
    y = sn_build1(c->builder, SN_OP_SILU, &(AttrAlpha){1}, y);
    return as_type(c, y, x->type.dtype);
}

Value *sn_import_gated_add(Call *c) {
    return op2(c, SN_OP_ADD, c->input[0], op2(c, SN_OP_MUL, c->input[1], c->input[2]));
}

/* scale·softplus(a + bias), and sigmoid(b). */
Value *sn_import_linear_attention_gate(Call *c) {
    DType dtype = c->input[0]->type.dtype;
    Value *b = sn_call_input(c, 3), *sum = op2(c, SN_OP_ADD, wide(c, c->input[0]), wide(c, c->input[1]));
    Value *decay = op2(c, SN_OP_MUL, op1(c, SN_OP_SOFTPLUS, sum), wide(c, c->input[2]));
    if (c->output_count > 1) {
        if (!b) return sn_call_invalid(c, "the output beta without b");
        c->output[1] = as_type(c, op1(c, SN_OP_SIGMOID, wide(c, b)), dtype);
    }
    return as_type(c, decay, dtype);
}

/* The last axis as [branches, width], whichever of them is given; the same where there is one branch. */
static Value *split(Call *c, Value *x, Dim branches, Dim width) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank;
    Dim extent[SN_MAX_RANK], last = x->type.dim[rank - 1];
    if (rank + 1 > SN_MAX_RANK) return sn_call_unsupported(c, "an input of rank %d", rank);
    if (last == width) return x;
    for (int k = 0; k < rank - 1; k++) extent[k] = x->type.dim[k];
    Dim given = branches ? branches : width, *other = branches ? &width : &branches;
    if (!sn_dim_divides(c->dims, given, last, other))
        return sn_call_unsupported(c, "rows not known to hold whole branches");
    extent[rank - 1] = branches, extent[rank] = width;
    return reshaped(c, x, rank + 1, extent);
}

/* The norm of each run of as many elements as the scale has, times the gate's activation. */
Value *sn_import_gated_rms_norm(Call *c) {
    Value *x = c->input[0], *scale = c->input[1], *gate = wide(c, c->input[2]);
    const char *activation = sn_call_string(c, "activation", "silu");
    double epsilon = sn_call_float(c, "epsilon", (double)1e-5f);
    bool sigmoid = strcmp(activation, "sigmoid") == 0;
    if (!sigmoid && strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
        return sn_call_unsupported(c, "activation \"%.24s\"", activation);
    if (scale->type.rank != 1 || x->type.rank < 1)
        return sn_call_invalid(c, "a scale of rank %d", scale->type.rank);
    Value *rows = split(c, wide(c, x), NULL, scale->type.dim[0]);
    if (sn_call_failed(c)) return NULL;
    AttrNorm attr = {rows->type.rank - 1, epsilon};
    Value *y = sn_build2(c->builder, SN_OP_RMS_NORM, &attr, rows, wide(c, scale));
    gate = sigmoid ? op1(c, SN_OP_SIGMOID, gate) : sn_build1(c->builder, SN_OP_SILU, &(AttrAlpha){1}, gate);
    return as_type(c, op2(c, SN_OP_MUL, reshaped(c, y, x->type.rank, x->type.dim), gate), x->type.dtype);
}

/* ---- branches: [..., C, H], or [..., C·H] where num_branches says what C is ---- */

/* *grouped: x has the axis of branches. */
static Value *branches_of(Call *c, Value *x, bool *grouped) {
    int64_t count = sn_call_int(c, "num_branches", 0);
    *grouped = count == 0;
    if (count < 0 || x->type.rank < (*grouped ? 2 : 1))
        return sn_call_invalid(c, "%lld branches of an input of rank %d", (long long)count, x->type.rank);
    return *grouped ? wide(c, x) : split(c, wide(c, x), sn_dim(c->dims, count), NULL);
}

/* What is given for x [..., C, H] as (..., C), (..., C, 1), (..., C, H), or, where x was not grouped, (..., C·H). */
static Value *beside(Call *c, Value *part, const Value *x, bool grouped) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank;
    part = wide(c, part);
    if (sn_call_failed(c) || part->type.rank == rank) return part;
    if (part->type.rank != rank - 1) return sn_call_invalid(c, "a factor of rank %d", part->type.rank);
    bool each = grouped || part->type.dim[rank - 2] == x->type.dim[rank - 2];
    return each ? sn_call_unsqueeze(c, part, rank - 1, 1) : reshaped(c, part, rank, x->type.dim);
}

/* Each branch's norm; the scale is (H), (C, H) or (C·H). */
Value *sn_import_branchwise_norm(Call *c) {
    bool grouped;
    double epsilon = sn_call_float(c, "epsilon", (double)1e-5f);
    Value *x = c->input[0], *scale = wide(c, sn_call_input(c, 1)), *rows = branches_of(c, x, &grouped);
    if (sn_call_failed(c)) return NULL;
    int rank = rows->type.rank;
    Dim width = rows->type.dim[rank - 1];
    AttrNorm attr = {rank - 1, epsilon};
    bool plain = scale && scale->type.rank == 1 && scale->type.dim[0] == width;
    Value *one = expanded(c, sn_call_scalar(c, rows->type.dtype, 1), 1, &width);
    Value *y = sn_build2(c->builder, SN_OP_RMS_NORM, &attr, rows, plain ? scale : one);
    if (scale && !plain) y = op2(c, SN_OP_MUL, y, reshaped(c, scale, 2, &rows->type.dim[rank - 2]));
    return as_type(c, reshaped(c, y, x->type.rank, x->type.dim), x->type.dtype);
}

/* The weighted sum of the branches. */
Value *sn_import_branches_joined(Call *c) {
    bool grouped;
    double factor = sn_call_float(c, "reduction_scale", 1);
    Value *x = branches_of(c, c->input[0], &grouped);
    Value *product = op2(c, SN_OP_MUL, x, beside(c, c->input[1], x, grouped));
    if (sn_call_failed(c)) return NULL;
    Value *sum = reduce_axis(c, SN_OP_REDUCE_SUM, product, product->type.rank - 2, false);
    return as_type(c, op_number(c, SN_OP_MUL, sum, factor), c->input[0]->type.dtype);
}

/* The branches, mixed by a matrix of each place, and what is new of each place times a factor for each branch. */
Value *sn_import_branches_mixed(Call *c) {
    bool grouped;
    Value *given = c->input[0], *x = branches_of(c, given, &grouped), *mix = wide(c, sn_call_input(c, 3));
    Value *fresh = wide(c, c->input[1]);
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank;
    if (fresh->type.rank != rank - 1) return sn_call_invalid(c, "a block of rank %d", fresh->type.rank);
    fresh = op2(c, SN_OP_MUL, sn_call_unsqueeze(c, fresh, rank - 2, 1), beside(c, c->input[2], x, grouped));
    if (mix) x = op2(c, SN_OP_MATMUL, sn_call_swap(c, mix, rank - 2, rank - 1), x);
    Value *y = op2(c, SN_OP_ADD, x, fresh);
    return as_type(c, reshaped(c, y, given->type.rank, given->type.dim), given->type.dtype);
}

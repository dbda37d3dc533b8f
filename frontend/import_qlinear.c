/* com.microsoft's operators on quantised tensors that stand for one between dequantising and quantising, and networks of quantised
 * weights. */
#include "import_compose.h"
#include "import_quantize.h"

/* Inputs k, k+1 and k+2 as numbers, of one scale. */
static Value *number_at(Call *c, int k) {
    Value *q = c->input[k], *scale = c->input[k + 1], *zero = sn_call_input(c, k + 2);
    scale = sn_quant_spread(c, scale, q->type, 0, 0);
    zero = sn_quant_spread(c, zero, q->type, 0, 0);
    return sn_call_failed(c) ? NULL : sn_quant_open(c, q, scale, zero);
}

/* `y` by the scale and zero point that are inputs k and k + 1, as the element type of input 0. */
static Value *closed_by(Call *c, Value *y, int k) {
    if (sn_call_failed(c)) return NULL;
    Value *scale = sn_quant_spread(c, c->input[k], y->type, 0, 0),
          *zero = sn_quant_spread(c, sn_call_input(c, k + 1), y->type, 0, 0);
    if (sn_call_failed(c)) return NULL;
    Value *ratio = sn_build2(c->builder, SN_OP_DIV, NULL, y, sn_build_cast(c->builder, scale, SN_F32));
    return sn_quant_close(c, ratio, zero, zero ? zero->type.dtype : c->input[0]->type.dtype, NULL);
}

/* The parameter is the operator. */
Value *sn_import_qlinear_binary(Call *c) {
    Value *a = number_at(c, 0), *b = number_at(c, 3);
    return closed_by(c, sn_build2(c->builder, (OpCode)c->row->parameter, NULL, a, b), 6);
}

Value *sn_import_qlinear_unary(Call *c) {
    return closed_by(c, sn_build1(c->builder, (OpCode)c->row->parameter, NULL, number_at(c, 0)), 3);
}

Value *sn_import_qlinear_global_pool(Call *c) {
    int64_t axes[SN_MAX_RANK];
    int count = c->input[0]->type.rank - 2;
    bool last = sn_call_int(c, "channels_last", 0) != 0;
    if (count < 1) return sn_call_invalid(c, "an input of rank %d", count + 2);
    for (int k = 0; k < count; k++) axes[k] = last ? 1 + k : 2 + k;
    return closed_by(c, sn_call_reduce(c, SN_OP_REDUCE_MEAN, number_at(c, 0), count, axes, true), 3);
}

Value *sn_import_qlinear_softmax(Call *c) {
    int rank = c->input[0]->type.rank;
    bool flat = sn_call_int(c, "opset", 13) < 13;
    AttrAxis attr = {sn_call_axis(c, sn_call_int(c, "axis", -1), rank)};
    if (flat && attr.axis != rank - 1) return sn_call_unsupported(c, "rows of several axes");
    return closed_by(c, sn_build1(c->builder, SN_OP_SOFTMAX, &attr, number_at(c, 0)), 3);
}

Value *sn_import_qlinear_leaky_relu(Call *c) {
    double slope = sn_call_float(c, "alpha", 0.01);
    Value *x = number_at(c, 0);
    Value *negative = op_number(c, SN_OP_LESS, x, 0);
    return closed_by(c, choose(c, negative, op_number(c, SN_OP_MUL, x, slope), x), 3);
}

Value *sn_import_qlinear_where(Call *c) {
    Value *yes = number_at(c, 1), *no = number_at(c, 4), *type = c->input[1];
    Value *y = choose(c, c->input[0], yes, no);
    c->input[0] = type; /* whose element type the result has */
    return closed_by(c, y, 7);
}

/* [N, D..., C] as [N, C, D...], or the other way round. */
static Value *move_channels(Call *c, Value *x, bool to_last) {
    int order[SN_MAX_RANK] = {0}, rank = sn_call_failed(c) ? 0 : x->type.rank;
    if (rank < 2) return x;
    for (int k = 1; k < rank; k++) order[k] = to_last ? 1 + k % (rank - 1) : k == 1 ? rank - 1 : k - 1;
    return transposed(c, x, order);
}

/* onnxruntime adds the zero point before it rounds, to f32: 2.5000001 above a zero point of 128 is 130. Its other operators
 * round the ratio itself. */
Value *sn_import_qlinear_average_pool(Call *c) {
    Value *q = c->input[0], *x = number_at(c, 0);
    bool last = sn_call_int(c, "channels_last", 0) != 0;
    c->input[0] = last ? move_channels(c, x, false) : x;
    Value *y = sn_call_failed(c) ? NULL : sn_import_average_pool(c);
    c->input[0] = q;
    if (last) y = move_channels(c, y, true);
    if (sn_call_failed(c)) return NULL;
    Value *scale = sn_quant_spread(c, c->input[3], y->type, 0, 0),
          *zero = sn_quant_spread(c, sn_call_input(c, 4), y->type, 0, 0);
    if (sn_call_failed(c)) return NULL;
    Value *ratio = op2(c, SN_OP_DIV, y, as_type(c, scale, SN_F32));
    if (zero) ratio = op2(c, SN_OP_ADD, ratio, as_type(c, zero, SN_F32));
    return sn_quant_close(c, ratio, NULL, zero ? zero->type.dtype : q->type.dtype, NULL);
}

Value *sn_import_qlinear_reduce_mean(Call *c) {
    int count, rank = c->input[0]->type.rank;
    const int64_t *given = sn_call_int_list(c, "axes", &count);
    bool keep = sn_call_int(c, "keepdims", 1) != 0;
    int64_t all[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) all[k] = k;
    const int64_t *axes = given ? sn_call_axes(c, given, count, rank) : all;
    Value *x = number_at(c, 0);
    if (sn_call_failed(c)) return NULL;
    return closed_by(c, sn_call_reduce(c, SN_OP_REDUCE_MEAN, x, given ? count : rank, axes, keep), 3);
}

/* The result's scale and zero point, then each part with its own. */
Value *sn_import_qlinear_concat(Call *c) {
    int count = (c->input_count - 2) / 3;
    if (c->input_count < 5 || (c->input_count - 2) % 3 != 0)
        return sn_call_invalid(c, "%d inputs", c->input_count);
    Value **part = SN_ARRAY(c->import->scratch, Value *, count);
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 0), c->input[2]->type.rank);
    for (int k = 0; k < count; k++) part[k] = number_at(c, 2 + 3 * k);
    return closed_by(c, joined(c, axis, count, part), 0);
}

/* ---- recurrent networks ---- */

/* Numbers [directions, rows, columns] of weights [directions, columns, rows], by inputs k and k + 1: a scale and a zero point for
 * each direction, or for each of its rows. */
static Value *opened_weights(Call *c, Value *q, int k) {
    Value *beside[2] = {sn_call_input(c, k), sn_call_input(c, k + 1)};
    if (!has_input(c, k) || !has_input(c, k + 1)) return NULL;
    if (q->type.rank != 3) return sn_call_invalid(c, "weights of rank %d", q->type.rank);
    for (int i = 0; i < 2; i++) {
        int rank = beside[i]->type.rank;
        if (rank != 1 && rank != 2) return sn_call_invalid(c, "scales or zero points of rank %d", rank);
        beside[i] = sn_call_unsqueeze(c, beside[i], 1, rank == 1 ? 2 : 1);
    }
    return sn_call_swap(c, sn_quant_open(c, q, beside[0], beside[1]), 1, 2);
}

/* An LSTM whose weights are quantised and transposed: their scales and zero points are inputs 8 to 11. What is asked for is the
 * least accuracy; products are of f32. */
Value *sn_import_dynamic_quantize_lstm(Call *c) {
    enum { INPUTS = 8 };
    if (!has_input(c, 0) || !has_input(c, 1) || !has_input(c, 2)) return NULL;
    Value **input = SN_ARRAY(c->import->scratch, Value *, INPUTS);
    for (int k = 0; k < INPUTS; k++) input[k] = sn_call_input(c, k);
    input[1] = opened_weights(c, input[1], INPUTS), input[2] = opened_weights(c, input[2], INPUTS + 2);
    if (sn_call_failed(c)) return NULL;
    c->input = input, c->input_count = INPUTS;
    return sn_import_recurrent(c);
}

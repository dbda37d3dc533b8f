/* What onnxruntime's optimizers write for sequences of ONNX's operators: products with a transpose, a factor or an
 * activation, ranges, and the sum of embeddings. */
#include "import_compose.h"
#include "import_quantize.h"

/* ---- activations named by an attribute ---- */

/* The numbers that an activation takes: of a list, or of attributes. */
typedef struct Numbers {
    bool given[2];
    double value[2];
} Numbers;

static double number(const Numbers *numbers, int k, double missing) {
    return numbers->given[k] ? numbers->value[k] : missing;
}

static Value *leaky(Call *c, Value *y, const Numbers *n) {
    Value *below = op_number(c, SN_OP_MUL, y, number(n, 0, (double)0.01f));
    return choose(c, op_number(c, SN_OP_LESS, y, 0), below, y);
}

static Value *hard_sigmoid(Call *c, Value *y, const Numbers *n) {
    Value *line = op_number(c, SN_OP_MUL, y, number(n, 0, (double)0.2f));
    line = op_number(c, SN_OP_ADD, line, number(n, 1, 0.5));
    return op_number(c, SN_OP_MAX, op_number(c, SN_OP_MIN, line, 1), 0);
}

static Value *clip(Call *c, Value *y, const Numbers *n) {
    if (n->given[0]) y = op_number(c, SN_OP_MAX, y, n->value[0]);
    return n->given[1] ? op_number(c, SN_OP_MIN, y, n->value[1]) : y;
}

static Value *relu(Call *c, Value *y, const Numbers *n) {
    (void)n;
    return op1(c, SN_OP_RELU, y);
}
static Value *sigmoid(Call *c, Value *y, const Numbers *n) {
    (void)n;
    return op1(c, SN_OP_SIGMOID, y);
}
static Value *tanh_of(Call *c, Value *y, const Numbers *n) {
    (void)n;
    return op1(c, SN_OP_TANH, y);
}

static const struct {
    const char *name;
    Value *(*rule)(Call *c, Value *y, const Numbers *n);
} activations[] = {{"Relu", relu},       {"Sigmoid", sigmoid},          {"Tanh", tanh_of},
                   {"LeakyRelu", leaky}, {"HardSigmoid", hard_sigmoid}, {"Clip", clip}};

static Value *activated(Call *c, Value *y, const Numbers *n) {
    const char *name = sn_call_string(c, "activation", "");
    if (sn_call_failed(c) || !*name) return y;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (strcmp(activations[i].name, name) == 0) return activations[i].rule(c, y, n);
    return sn_call_unsupported(c, "activation \"%.24s\"", name);
}

/* ---- products ---- */

/* [M, batch…, K] as [batch…, M, K] */
static Value *batch_first(Call *c, Value *x) {
    int rank = x->type.rank, order[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) order[k] = k == rank - 1 ? k : k == rank - 2 ? 0 : k + 1;
    return transposed(c, x, order);
}

/* alpha·A·B, each with its first axis moved behind those of the batch, or its last two exchanged, or both. */
Value *sn_import_fused_matmul(Call *c) {
    Value *operand[2] = {c->input[0], c->input[1]};
    static const char *const turn[2] = {"transA", "transB"}, *const batch[2] = {"transBatchA", "transBatchB"};
    for (int k = 0; k < 2; k++) {
        int rank = operand[k]->type.rank;
        if (sn_call_int(c, batch[k], 0) != 0 && rank > 2) operand[k] = batch_first(c, operand[k]);
        if (sn_call_int(c, turn[k], 0) != 0 && rank > 1 && operand[k])
            operand[k] = sn_call_swap(c, operand[k], rank - 2, rank - 1);
    }
    double alpha = sn_call_float(c, "alpha", 1);
    Value *product = op2(c, SN_OP_MATMUL, operand[0], operand[1]);
    return alpha == 1 ? product : op_number(c, SN_OP_MUL, product, alpha);
}

Value *sn_import_fused_gemm(Call *c) {
    static const char *const name[2] = {"activation_alpha", "activation_beta"};
    Numbers numbers = {0};
    for (int k = 0; k < 2; k++) {
        numbers.given[k] = sn_call_has(c, name[k]);
        numbers.value[k] = sn_call_float(c, name[k], 0);
    }
    sn_call_ignore(c, "activation_gamma"); /* of activations that are not here */
    return activated(c, sn_import_gemm(c), &numbers);
}

/* X, W, B, what is added before the activation. */
Value *sn_import_fused_conv(Call *c) {
    Numbers numbers = {0};
    Tensor *given = sn_call_list_tensor(c, "activation_params", true);
    for (int k = 0; given && k < 2 && k < given->count; k++) {
        numbers.given[k] = true;
        numbers.value[k] = sn_tensor_get(given, k);
    }
    Value *y = sn_import_conv(c);
    if (sn_call_input(c, 3)) y = op2(c, SN_OP_ADD, y, c->input[3]);
    return activated(c, y, &numbers);
}

/* ---- ranges ---- */

/* ONNX's, where the delta may be left out. */
Value *sn_import_contrib_range(Call *c) {
    Value **bound = SN_ARRAY(c->import->scratch, Value *, 3), *delta = sn_call_input(c, 2);
    bound[0] = c->input[0], bound[1] = c->input[1];
    bound[2] = delta ? delta : sn_call_scalar(c, bound[0]->type.dtype, 1);
    c->input = bound, c->input_count = 3;
    return sn_import_range(c);
}

/* ---- norms and embeddings ---- */

/* An RMS norm under the name that it had before opset 23; its second output is 1/√(mean of squares + epsilon). */
Value *sn_import_simplified_norm(Call *c) {
    if (sn_call_wants(c, 1)) return sn_call_unsupported(c, "the output inv_std_var");
    return sn_import_rms_norm(c);
}

/* The rows of a table for indices [B, S], or [1, S] or [S] for all of B. */
static Value *rows_of(Call *c, Value *table, Value *index) {
    return gathered(c, table, index, 0);
}

/* Input k, or the number that it and its scale and zero point are, where those follow behind a mask. */
static Value *table_at(Call *c, int k) {
    enum { TABLES = 5, MASK = 1 };
    Value *q = sn_call_input(c, k), *scale, *zero;
    if (!q || !c->row->parameter) return q;
    int at = k + TABLES + MASK;
    if (!has_input(c, at)) return NULL;
    scale = c->input[at], zero = sn_call_input(c, at + TABLES);
    if (zero) zero = reshaped(c, zero, 0, NULL);
    return op2(c, SN_OP_MUL, as_type(c, sn_quant_centre(c, q, zero, SN_I32), SN_F32),
               reshaped(c, scale, 0, NULL));
}

/* ids, segments, the tables of words, positions and segments, gamma, beta, mask, positions: the norm of the rows' sum, the
 * number of ones in each row of the mask, the sum. With a parameter the five are quantised. */
Value *sn_import_embed_norm(Call *c) {
    Value *ids = c->input[0], *segments = sn_call_input(c, 1);
    Value *mask = sn_call_input(c, 7), *positions = c->row->parameter ? NULL : sn_call_input(c, 8);
    double epsilon = sn_call_float(c, "epsilon", (double)1e-12f);
    sn_call_ignore(c, "mask_index_type");
    for (int k = 2; k < 7; k++)
        if (k != 4 && !has_input(c, k)) return NULL;
    if (ids->type.rank != 2) return sn_call_invalid(c, "ids of rank %d", ids->type.rank);
    Value *table[5];
    for (int k = 0; k < 5; k++) table[k] = table_at(c, 2 + k);
    if (sn_call_failed(c)) return NULL;
    if (!positions) positions = count_up(c, SN_I64, ids->type.dim[1], 0);
    Value *sum = op2(c, SN_OP_ADD, rows_of(c, table[0], ids), rows_of(c, table[1], positions));
    if (segments && table[2]) sum = op2(c, SN_OP_ADD, sum, rows_of(c, table[2], segments));
    if (c->output_count > 2) c->output[2] = sum;
    if (sn_call_wants(c, 1)) {
        Value *zero = expanded(c, sn_call_scalar(c, SN_I32, 0), 1, ids->type.dim);
        c->output[1] = mask ? reduce_axis(c, SN_OP_REDUCE_SUM, as_type(c, mask, SN_I32), 1, false) : zero;
    }
    return sn_build3(c->builder, SN_OP_LAYER_NORM, &(AttrNorm){2, epsilon}, sum, table[3], table[4]);
}

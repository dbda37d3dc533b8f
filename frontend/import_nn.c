/* Activations, softmax, normalisation. */
#include "import.h"

#include <math.h>

/* ---- activations ---- */

Value *sn_import_gelu(Call *c) {
    const char *kind = sn_call_string(c, "approximate", "none");
    AttrGelu attr = {strcmp(kind, "tanh") == 0};
    if (!attr.tanh && strcmp(kind, "none") != 0) return sn_call_invalid(c, "approximate is \"%.16s\"", kind);
    return sn_build1(c->builder, SN_OP_GELU, &attr, c->input[0]);
}

/* x·sigmoid(alpha·x); the parameter is alpha's default in thousandths. */
Value *sn_import_swish(Call *c) {
    AttrAlpha attr = {sn_call_float(c, "alpha", c->row->parameter / 1000.0)};
    return sn_build1(c->builder, SN_OP_SILU, &attr, c->input[0]);
}

/* x for x >= 0 (and NaN), otherwise what `below` is. */
static Value *where_negative(Call *c, Value *below) {
    Value *x = c->input[0];
    Value *negative = sn_build2(c->builder, SN_OP_LESS, NULL, x, sn_call_scalar(c, x->type.dtype, 0));
    return sn_build3(c->builder, SN_OP_WHERE, NULL, negative, below, x);
}

Value *sn_import_leaky_relu(Call *c) {
    Value *x = c->input[0];
    double alpha = sn_call_float(c, "alpha", (double)0.01f);
    return where_negative(c,
                          sn_build2(c->builder, SN_OP_MUL, NULL, x, sn_call_scalar(c, x->type.dtype, alpha)));
}

/* e^(x/alpha) - 1 for x below zero, for use there alone. Of a large x the power would be infinite, and its gradient,
 * which is to be left out, not a number. */
static Value *power_below_zero(Call *c, double alpha) {
    Builder *b = c->builder;
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    Value *power = sn_build2(b, SN_OP_MIN, NULL, x, sn_call_scalar(c, dtype, 0));
    if (alpha != 1) power = sn_build2(b, SN_OP_DIV, NULL, power, sn_call_scalar(c, dtype, alpha));
    return sn_build2(b, SN_OP_SUB, NULL, sn_build1(b, SN_OP_EXP, NULL, power), sn_call_scalar(c, dtype, 1));
}

Value *sn_import_elu(Call *c) {
    Value *alpha = sn_call_scalar(c, c->input[0]->type.dtype, sn_call_float(c, "alpha", 1));
    return where_negative(c, sn_build2(c->builder, SN_OP_MUL, NULL, power_below_zero(c, 1), alpha));
}

/* max(0, min(1, alpha·x + beta)); a NaN stays one. */
static Value *hard_sigmoid(Call *c, double alpha, double beta) {
    Builder *b = c->builder;
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    Value *line = sn_build2(b, SN_OP_MUL, NULL, x, sn_call_scalar(c, dtype, alpha));
    line = sn_build2(b, SN_OP_ADD, NULL, line, sn_call_scalar(c, dtype, beta));
    line = sn_build2(b, SN_OP_MIN, NULL, line, sn_call_scalar(c, dtype, 1));
    return sn_build2(b, SN_OP_MAX, NULL, line, sn_call_scalar(c, dtype, 0));
}

Value *sn_import_hard_sigmoid(Call *c) {
    double alpha = sn_call_float(c, "alpha", (double)0.2f);
    return hard_sigmoid(c, alpha, sn_call_float(c, "beta", 0.5));
}

Value *sn_import_hard_swish(Call *c) {
    return sn_build2(c->builder, SN_OP_MUL, NULL, c->input[0], hard_sigmoid(c, 1.0 / 6, 0.5));
}

/* gamma·x, and below zero gamma·alpha·(e^x - 1). */
Value *sn_import_selu(Call *c) {
    Builder *b = c->builder;
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    double alpha = sn_call_float(c, "alpha", 1.67326319217681884765625);
    double gamma = sn_call_float(c, "gamma", 1.05070102214813232421875);
    Value *y = where_negative(
        c, sn_build2(b, SN_OP_MUL, NULL, power_below_zero(c, 1), sn_call_scalar(c, dtype, alpha)));
    return sn_build2(b, SN_OP_MUL, NULL, y, sn_call_scalar(c, dtype, gamma));
}

/* x, and below zero alpha·(e^(x/alpha) - 1). */
Value *sn_import_celu(Call *c) {
    double alpha = sn_call_float(c, "alpha", 1);
    Value *factor = sn_call_scalar(c, c->input[0]->type.dtype, alpha);
    return where_negative(c, sn_build2(c->builder, SN_OP_MUL, NULL, factor, power_below_zero(c, alpha)));
}

Value *sn_import_prelu(Call *c) {
    return where_negative(c, sn_build2(c->builder, SN_OP_MUL, NULL, c->input[0], c->input[1]));
}

/* x·tanh(log(1 + e^x)) */
Value *sn_import_mish(Call *c) {
    Value *plus = sn_build1(c->builder, SN_OP_SOFTPLUS, NULL, c->input[0]);
    return sn_build2(c->builder, SN_OP_MUL, NULL, c->input[0], sn_build1(c->builder, SN_OP_TANH, NULL, plus));
}

/* -x, taken off where x is what was negated, or that times something. */
static Value *negated(Call *c, Value *x) {
    const Node *node = x->producer;
    if (node && node->op == SN_OP_NEG) return node->input[0];
    for (int k = 0; node && node->op == SN_OP_MUL && k < 2; k++) {
        const Node *factor = node->input[k]->producer;
        if (factor && factor->op == SN_OP_NEG)
            return sn_build2(c->builder, SN_OP_MUL, NULL, factor->input[0], node->input[1 - k]);
    }
    return sn_build1(c->builder, SN_OP_NEG, NULL, x);
}

/* 1 - erf(x), as 1 + erf(-x): TensorFlow's, which its exporter leaves in the file; half of its GELU. */
Value *sn_import_erfc(Call *c) {
    Value *erf = sn_build1(c->builder, SN_OP_ERF, NULL, negated(c, c->input[0]));
    return sn_build2(c->builder, SN_OP_ADD, NULL, erf, sn_call_scalar(c, c->input[0]->type.dtype, 1));
}

/* x/(1 + |x|) */
Value *sn_import_softsign(Call *c) {
    Value *x = c->input[0], *size = sn_build1(c->builder, SN_OP_ABS, NULL, x);
    size = sn_build2(c->builder, SN_OP_ADD, NULL, size, sn_call_scalar(c, x->type.dtype, 1));
    return sn_build2(c->builder, SN_OP_DIV, NULL, x, size);
}

Value *sn_import_thresholded_relu(Call *c) {
    Value *x = c->input[0];
    Value *alpha = sn_call_scalar(c, x->type.dtype, sn_call_float(c, "alpha", 1));
    Value *above = sn_build2(c->builder, SN_OP_LESS, NULL, alpha, x);
    return sn_build3(c->builder, SN_OP_WHERE, NULL, above, x, sn_call_scalar(c, x->type.dtype, 0));
}

/* The mask says what was kept: without dropping it is all ones at every opset. */
static Value *dropout(Call *c, AttrDropout attr) {
    Value *x = c->input[0];
    sn_call_ignore(c, "seed");
    if (sn_call_failed(c)) return NULL;
    if (!(attr.ratio >= 0 && attr.ratio < 1)) return sn_call_invalid(c, "a ratio of %g", attr.ratio);
    if (attr.ratio == 0) attr.always = false;
    if (!sn_call_wants(c, 1)) return sn_build1(c->builder, SN_OP_DROPOUT, &attr, x);
    Node *node = sn_build_node(c->builder, SN_OP_DROPOUT, &attr, 1, &x, 2);
    if (!node) return NULL;
    /* Before opset 10 the mask has the data's element type. */
    c->output[1] = sn_build_cast(c->builder, node->output[1], c->row->parameter ? x->type.dtype : SN_BOOL);
    return node->output[0];
}

Value *sn_import_dropout_attribute(Call *c) {
    return dropout(c, (AttrDropout){.ratio = sn_call_float(c, "ratio", 0.5)});
}

/* Whether it drops is a matter of who runs the model, unless the model says so. */
Value *sn_import_dropout(Call *c) {
    Value *ratio = sn_call_input(c, 1), *mode = sn_call_input(c, 2);
    AttrDropout attr = {.ratio = 0.5};
    double training;
    if (mode && !sn_value_is_splat(mode, &training)) return sn_call_depends(c, mode, "training_mode");
    if (mode) attr.always = training != 0, attr.never = training == 0;
    if (ratio && !sn_value_is_splat(ratio, &attr.ratio)) {
        if (attr.always) return sn_call_depends(c, ratio, "ratio");
        attr.ratio = 0; /* which means nothing to runs that do not train, and no dropping in a training */
    }
    return dropout(c, attr);
}

/* ---- softmax ---- */

/* The parameter is the operator, SOFTMAX or LOG_SOFTMAX. */
Value *sn_import_softmax(Call *c) {
    AttrAxis attr = {sn_call_axis(c, sn_call_int(c, "axis", -1), c->input[0]->type.rank)};
    return sn_build1(c->builder, (OpCode)c->row->parameter, &attr, c->input[0]);
}

/* Before opset 13 it is over all axes from `axis` on, as if they were one. */
Value *sn_import_softmax_flat(Call *c) {
    Value *x = c->input[0];
    Type type = x->type;
    int64_t given = sn_call_int(c, "axis", 1);
    /* A vector has the default axis 1 at its end: every element is a row of its own. */
    int axis = given == type.rank ? type.rank : sn_call_axis(c, given, type.rank);
    if (sn_call_failed(c)) return NULL;
    if (axis == type.rank - 1) return sn_build1(c->builder, (OpCode)c->row->parameter, &(AttrAxis){axis}, x);
    Dim extent[2] = {sn_dim(c->dims, 1), sn_dim(c->dims, 1)};
    for (int k = 0; k < type.rank; k++)
        extent[k >= axis] = sn_dim_mul(c->dims, extent[k >= axis], type.dim[k]);
    Value *flat = sn_build_reshape(c->builder, x, 2, extent);
    flat = sn_build1(c->builder, (OpCode)c->row->parameter, &(AttrAxis){1}, flat);
    return sn_call_failed(c) ? NULL : sn_build_reshape(c->builder, flat, type.rank, type.dim);
}

/* ---- normalisation ---- */

/* The mean and 1/√(variance + epsilon) over the axes from attr->axis on, in f32 as stash_type 1 says, where
 * something reads them. */
static void norm_statistics(Call *c, const AttrNorm *attr) {
    Builder *b = c->builder;
    if (!sn_call_wants(c, 1) && !sn_call_wants(c, 2)) return;
    Value *x = c->input[0];
    if (x->type.dtype != SN_F64) x = sn_build_cast(b, x, SN_F32);
    if (sn_call_failed(c)) return;
    int count = x->type.rank - attr->axis;
    int64_t *axes = SN_ARRAY(c->import->scratch, int64_t, count);
    for (int k = 0; k < count; k++) axes[k] = attr->axis + k;
    Value *mean = sn_call_reduce(c, SN_OP_REDUCE_MEAN, x, count, axes, true);
    Value *off = sn_build2(b, SN_OP_SUB, NULL, x, mean);
    Value *variance =
        sn_call_reduce(c, SN_OP_REDUCE_MEAN, sn_build2(b, SN_OP_MUL, NULL, off, off), count, axes, true);
    if (sn_call_failed(c)) return;
    Value *sum = sn_build2(b, SN_OP_ADD, NULL, variance, sn_call_scalar(c, x->type.dtype, attr->epsilon));
    Value *inverse = sn_build1(b, SN_OP_RSQRT, NULL, sum);
    if (c->output_count > 1) c->output[1] = mean;
    if (c->output_count > 2) c->output[2] = inverse;
}

Value *sn_import_layer_norm(Call *c) {
    Type type = c->input[0]->type;
    AttrNorm attr = {sn_call_axis(c, sn_call_int(c, "axis", -1), type.rank),
                     sn_call_float(c, "epsilon", (double)1e-5f)};
    if (sn_call_int(c, "stash_type", 1) != 1) return sn_call_unsupported(c, "stash_type other than f32");
    if (sn_call_failed(c)) return NULL;
    norm_statistics(c, &attr);
    return sn_build(c->builder, SN_OP_LAYER_NORM, &attr, sn_call_input(c, 2) ? 3 : 2, c->input);
}

/* The result has the scale's element type; the input may be narrower or wider. */
Value *sn_import_rms_norm(Call *c) {
    Value *x = c->input[0], *scale = c->input[1];
    AttrNorm attr = {sn_call_axis(c, sn_call_int(c, "axis", -1), x->type.rank),
                     sn_call_float(c, "epsilon", (double)1e-5f)};
    if (sn_call_int(c, "stash_type", 1) != 1) return sn_call_unsupported(c, "stash_type other than f32");
    DType result = scale->type.dtype, wide = x->type.dtype;
    if (sn_dtype_bytes(result) > sn_dtype_bytes(wide)) wide = result;
    Value *normal = sn_build2(c->builder, SN_OP_RMS_NORM, &attr, sn_build_cast(c->builder, x, wide),
                              sn_build_cast(c->builder, scale, wide));
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, normal, result);
}

/* A vector of as many numbers as [N, C, D...] has channels (or groups), beside it. */
static Value *by_channel(Call *c, Value *vector, int rank, Dim each) {
    if (sn_call_failed(c)) return NULL;
    if (vector->type.rank != 1) return sn_call_invalid(c, "a vector of rank %d", vector->type.rank);
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_EQUAL, vector->type.dim[0], each, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "channels"));
    return rank > 2 ? sn_call_unsqueeze(c, vector, 1, rank - 2) : vector;
}

/* Statistics are measured and not learnt: a constant of the node, which an initializer becomes here, is no parameter. */
static Value *measured(Call *c, Value *value) {
    const Node *node = value->producer;
    if (!node || node->op != SN_OP_CONSTANT) return value;
    return sn_build_constant(c->builder, ((const AttrConstant *)node->attr)->tensor);
}

/* What a batch normalization reads and measures. A part lies beside x: a number a channel, or, of opsets 7 and 8 that say so,
 * one an element. */
typedef struct Batch {
    DType wide;
    Value *x;                              /* in `wide` */
    Value *scale, *bias, *mean, *variance; /* as they were given, in `wide` */
    bool elements, training;
    double momentum;
} Batch;

static Value *beside(Call *c, const Batch *batch, Value *part) {
    if (sn_call_failed(c)) return NULL;
    int rank = batch->x->type.rank;
    if (!batch->elements) return by_channel(c, part, rank, batch->x->type.dim[1]);
    if (part->type.rank != rank - 1) return sn_call_invalid(c, "statistics of rank %d", part->type.rank);
    return part;
}

/* The mean over the batch, and over all places of a channel. */
static Value *over_batch(Call *c, const Batch *batch, Value *x) {
    int64_t axes[SN_MAX_RANK] = {0};
    int count = 1;
    for (int k = 2; !batch->elements && k < batch->x->type.rank; k++) axes[count++] = k;
    return sn_call_reduce(c, SN_OP_REDUCE_MEAN, x, count, axes, false);
}

/* before·momentum + now·(1 - momentum), in the type of input k. */
static void run_on(Call *c, const Batch *batch, int k, Value *before, Value *now) {
    if (c->output_count <= k || sn_call_failed(c)) return;
    Builder *b = c->builder;
    before = sn_build2(b, SN_OP_MUL, NULL, before, sn_call_scalar(c, batch->wide, batch->momentum));
    now = sn_build2(b, SN_OP_MUL, NULL, now, sn_call_scalar(c, batch->wide, 1 - batch->momentum));
    Value *sum = sn_build2(b, SN_OP_ADD, NULL, before, now);
    if (!sn_call_failed(c)) c->output[k] = sn_build_cast(b, sum, c->input[k + 2]->type.dtype);
}

/* Mean and variance of this very batch take the place of those given, and outputs say how these run on. */
static void measure(Call *c, Batch *batch) {
    Builder *b = c->builder;
    Value *mean = over_batch(c, batch, batch->x);
    Value *off = sn_build2(b, SN_OP_SUB, NULL, batch->x, beside(c, batch, mean));
    Value *variance = over_batch(c, batch, sn_build2(b, SN_OP_MUL, NULL, off, off));
    run_on(c, batch, 1, batch->mean, mean);
    run_on(c, batch, 2, batch->variance, variance);
    if (c->output_count > 3 && !sn_call_failed(c)) /* before opset 14 */
        c->output[3] = sn_build_cast(b, mean, c->input[3]->type.dtype);
    if (c->output_count > 4 && !sn_call_failed(c))
        c->output[4] = sn_build_cast(b, variance, c->input[4]->type.dtype);
    batch->mean = mean, batch->variance = variance;
}

/* (x - mean)/√(variance + epsilon)·scale + bias, the factors of a channel put together. Before opset 14 more outputs than
 * the first one are what says that the statistics are the batch's. */
Value *sn_import_batch_norm(Call *c) {
    Builder *b = c->builder;
    Value *x = c->input[0];
    double epsilon = sn_call_float(c, "epsilon", (double)1e-5f);
    if (x->type.rank < 2) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    Batch batch = {.wide = x->type.dtype == SN_F64 ? SN_F64 : SN_F32};
    batch.momentum = sn_call_float(c, "momentum", (double)0.9f);
    batch.training = c->opset < 14 ? c->node->n_output > 1 : sn_call_int(c, "training_mode", 0) != 0;
    batch.elements = sn_call_int(c, "spatial", 1) == 0;
    batch.x = sn_build_cast(b, x, batch.wide);
    batch.scale = sn_build_cast(b, c->input[1], batch.wide);
    batch.bias = sn_build_cast(b, c->input[2], batch.wide);
    batch.mean = sn_build_cast(b, measured(c, c->input[3]), batch.wide);
    batch.variance = sn_build_cast(b, measured(c, c->input[4]), batch.wide);
    if (!batch.training)
        for (int k = 1; k < c->output_count; k++)
            if (sn_call_wants(c, k)) return sn_call_invalid(c, "output %d without training_mode", k);
    if (batch.training && !sn_call_failed(c)) measure(c, &batch);
    Value *spread = sn_build2(b, SN_OP_ADD, NULL, beside(c, &batch, batch.variance),
                              sn_call_scalar(c, batch.wide, epsilon));
    Value *factor =
        sn_build2(b, SN_OP_DIV, NULL, beside(c, &batch, batch.scale), sn_build1(b, SN_OP_SQRT, NULL, spread));
    Value *y = sn_build2(b, SN_OP_SUB, NULL, batch.x, beside(c, &batch, batch.mean));
    y = sn_build2(b, SN_OP_ADD, NULL, sn_build2(b, SN_OP_MUL, NULL, y, factor),
                  beside(c, &batch, batch.bias));
    return sn_call_failed(c) ? NULL : sn_build_cast(b, y, x->type.dtype);
}

/* [N, groups, everything else], each row brought to mean 0 and variance 1. */
static Value *normal_groups(Call *c, Value *x, Dim groups, double epsilon) {
    if (sn_call_failed(c)) return NULL;
    Dims *dims = c->dims;
    Dim rest = sn_dim(dims, 1);
    if (x->type.rank < 3) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    for (int k = 2; k < x->type.rank; k++) rest = sn_dim_mul(dims, rest, x->type.dim[k]);
    rest = sn_dim_mul(dims, rest, sn_dim_floordiv(dims, x->type.dim[1], groups));
    Value *rows = sn_build_reshape(c->builder, x, 3, (Dim[]){x->type.dim[0], groups, rest});
    Value *one = sn_build_expand(c->builder, sn_call_scalar(c, x->type.dtype, 1), 1, &rest);
    return sn_call_failed(c) ? NULL
                             : sn_build2(c->builder, SN_OP_LAYER_NORM, &(AttrNorm){2, epsilon}, rows, one);
}

/* x·scale + bias, vectors along axis 1. */
static Value *scaled(Call *c, Value *x, Value *scale, Value *bias) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank;
    Dim each = x->type.dim[1];
    Value *y = sn_build2(c->builder, SN_OP_MUL, NULL, x, by_channel(c, scale, rank, each));
    return sn_build2(c->builder, SN_OP_ADD, NULL, y, by_channel(c, bias, rank, each));
}

Value *sn_import_instance_norm(Call *c) {
    Type type = c->input[0]->type;
    double epsilon = sn_call_float(c, "epsilon", (double)1e-5f);
    if (type.rank < 3) return sn_call_invalid(c, "an input of rank %d", type.rank);
    Value *y = normal_groups(c, c->input[0], type.dim[1], epsilon);
    y = scaled(c, y, c->input[1], c->input[2]);
    return y ? sn_build_reshape(c->builder, y, type.rank, type.dim) : NULL;
}

static bool has_groups(Call *c, Type type, int axis, int64_t groups) {
    int64_t channels;
    if (groups < 1 || type.rank < 3) return sn_call_invalid(c, "%lld groups", (long long)groups);
    if (!sn_dim_is(type.dim[axis], &channels) || channels % groups == 0) return true;
    return sn_call_invalid(c, "%lld channels in %lld groups", (long long)channels, (long long)groups);
}

/* Scale and bias are one a channel; one a group (the parameter) before opset 21. */
Value *sn_import_group_norm(Call *c) {
    Type type = c->input[0]->type;
    double epsilon = sn_call_float(c, "epsilon", (double)1e-5f);
    int64_t groups = sn_call_int(c, "num_groups", 0);
    if (sn_call_int(c, "stash_type", 1) != 1) return sn_call_unsupported(c, "stash_type other than f32");
    if (!has_groups(c, type, 1, groups)) return NULL;
    Value *y = normal_groups(c, c->input[0], sn_dim(c->dims, groups), epsilon);
    if (c->row->parameter) y = scaled(c, y, c->input[1], c->input[2]);
    if (y) y = sn_build_reshape(c->builder, y, type.rank, type.dim);
    return c->row->parameter ? y : scaled(c, y, c->input[1], c->input[2]);
}

/* ---- com.microsoft ---- */

Value *sn_import_gelu_exact(Call *c) {
    return sn_build1(c->builder, SN_OP_GELU, &(AttrGelu){false}, c->input[0]);
}

/* gelu(x + bias); the parameter chooses the tanh approximation. */
Value *sn_import_bias_gelu(Call *c) {
    Value *x = c->input[0];
    if (sn_call_input(c, 1)) x = sn_build2(c->builder, SN_OP_ADD, NULL, x, c->input[1]);
    return sn_build1(c->builder, SN_OP_GELU, &(AttrGelu){c->row->parameter != 0}, x);
}

/* norm(input + skip + bias): inputs input, skip, gamma, beta?, bias?; output 3 is the sum. The parameter is
 * the norm: RMS_NORM has no beta. */
Value *sn_import_skip_norm(Call *c) {
    bool rms = c->row->parameter == SN_OP_RMS_NORM;
    Value *sum = sn_build2(c->builder, SN_OP_ADD, NULL, c->input[0], c->input[1]);
    Value *beta = rms ? NULL : sn_call_input(c, 3), *bias = sn_call_input(c, rms ? 3 : 4);
    if (bias) sum = sn_build2(c->builder, SN_OP_ADD, NULL, sum, bias);
    AttrNorm attr = {c->input[0]->type.rank - 1, sn_call_float(c, "epsilon", (double)1e-12f)};
    if (c->output_count > 3) c->output[3] = sum;
    return sn_build(c->builder, (OpCode)c->row->parameter, &attr, beta ? 3 : 2,
                    (Value *[]){sum, c->input[2], beta});
}

/* Channels last as second axis, or back. */
static Value *turned(Call *c, Value *x, bool back) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank, order[SN_MAX_RANK] = {0};
    for (int k = 1; k < rank; k++) order[k] = back ? k == rank - 1 ? 1 : k + 1 : k == 1 ? rank - 1 : k - 1;
    return sn_build_transpose(c->builder, x, order);
}

/* x + skip, which is [N, C], [N, 1, 1, C] or as x is, + bias; that is output 1. */
static Value *with_skip(Call *c, Value *x) {
    Value *skip = c->input[3], *bias = sn_call_input(c, 4);
    if (skip->type.rank == 2) skip = sn_call_unsqueeze(c, skip, 1, x->type.rank - 2);
    x = sn_build2(c->builder, SN_OP_ADD, NULL, x, skip);
    if (bias) x = sn_build2(c->builder, SN_OP_ADD, NULL, x, bias);
    if (c->output_count > 1) c->output[1] = x;
    return x;
}

/* Input, scale and bias; with a parameter also what is added before. */
Value *sn_import_contrib_group_norm(Call *c) {
    Value *x = c->input[0];
    DType dtype = x->type.dtype, wide = dtype == SN_F64 ? SN_F64 : SN_F32;
    bool last = sn_call_int(c, "channels_last", 1) != 0, silu = sn_call_int(c, "activation", 0) != 0;
    int64_t groups = sn_call_int(c, "groups", 0);
    double epsilon = sn_call_float(c, "epsilon", (double)1e-5f);
    if (!has_groups(c, x->type, last ? x->type.rank - 1 : 1, groups)) return NULL;
    if (c->row->parameter && !last) return sn_call_unsupported(c, "channels that are not last");
    if (c->row->parameter) x = with_skip(c, x);
    if (!sn_call_failed(c)) x = sn_build_cast(c->builder, x, wide);
    if (last) x = turned(c, x, false);
    Value *y = normal_groups(c, x, sn_dim(c->dims, groups), epsilon);
    if (sn_call_failed(c)) return NULL;
    y = scaled(c, sn_build_reshape(c->builder, y, x->type.rank, x->type.dim),
               sn_build_cast(c->builder, c->input[1], wide), sn_build_cast(c->builder, c->input[2], wide));
    if (silu) y = sn_build1(c->builder, SN_OP_SILU, &(AttrAlpha){1}, y);
    if (last) y = turned(c, y, true);
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, y, dtype);
}

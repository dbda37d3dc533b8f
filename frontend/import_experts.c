/* com.microsoft's mixtures of experts: layers of which each token goes through those few that its scores choose. Each expert
 * computes the tokens that chose it, whose number data decide. */
#include "import_compose.h"
#include "import_quantize.h"
#include "order.h"

#include <math.h>
#include <string.h>

enum { MOST_EXPERTS = 1024 };
enum { UP, DOWN, BESIDE, LAYERS };

/* A layer of all experts: weights [E, out, in], or packed integers of `bits`, of which `block` neighbours share a scale. */
typedef struct Layer {
    Value *weight, *bias, *scale, *zero;
    int64_t bits;
} Layer;

typedef struct Experts {
    Layer layer[LAYERS];
    Value *x;              /* [tokens, H] */
    Value *chosen, *share; /* [tokens, K]: which experts, and what of the result each makes */
    int64_t experts, count, block;
    const char *activation;
    int64_t fusion; /* of what gates and what is gated: 1 side by side, 2 one behind the other */
    double alpha, beta, limit;
} Experts;

/* ---- one layer of one expert ---- */

/* [E, …] of expert e, without the first axis. */
static Value *of_expert(Call *c, Value *x, int64_t e) {
    if (sn_call_failed(c) || !x) return NULL;
    Value *part = sliced(c, x, 0, sn_dim(c->dims, e), sn_dim(c->dims, 1));
    return reshaped(c, part, x->type.rank - 1, x->type.dim + 1);
}

/* Zero points packed as the weights are, in their middle where there are none: one for each scale. */
static Value *zero_points(Call *c, const Layer *layer, const Value *scale, int64_t e) {
    if (!layer->zero) return sn_call_scalar(c, SN_U8, (double)((int64_t)1 << (layer->bits - 1)));
    Value *packed = of_expert(c, layer->zero, e);
    if (sn_call_failed(c)) return NULL;
    if (packed->type.rank != scale->type.rank) return sn_call_invalid(c, "zero points that do not fit");
    return sn_quant_unpack(c, packed, (int)layer->bits, scale->type.dim[scale->type.rank - 1]);
}

/* [in, out] */
static Value *weights_of(Call *c, const Experts *x, const Layer *layer, int64_t e) {
    Value *weight = of_expert(c, layer->weight, e);
    if (layer->scale && !sn_call_failed(c)) {
        Value *scale = of_expert(c, layer->scale, e), *zero = NULL;
        Dim in = sn_dim_mulc(c->dims, weight->type.dim[1], 8 / layer->bits);
        weight = sn_quant_unpack(c, weight, (int)layer->bits, in);
        if (!sn_call_failed(c)) zero = zero_points(c, layer, scale, e);
        if (sn_call_failed(c)) return NULL;
        scale = sn_quant_spread(c, scale, weight->type, x->block > 0, x->block);
        zero = sn_quant_spread(c, zero, weight->type, x->block > 0, x->block);
        weight = sn_call_failed(c) ? NULL : sn_quant_open(c, weight, scale, zero);
    }
    return sn_call_failed(c) ? NULL : sn_call_swap(c, weight, 0, 1);
}

static Value *through(Call *c, const Experts *x, int which, int64_t e, Value *rows) {
    const Layer *layer = &x->layer[which];
    Value *weight = weights_of(c, x, layer, e);
    if (sn_call_failed(c)) return NULL;
    Value *y = op2(c, SN_OP_MATMUL, as_type(c, rows, weight->type.dtype), weight);
    if (layer->bias) y = op2(c, SN_OP_ADD, y, as_type(c, of_expert(c, layer->bias, e), weight->type.dtype));
    return y;
}

/* ---- activations ---- */

/* Half `k` of what is twice as wide. */
static Value *half_of(Call *c, const Experts *x, Value *y, int k) {
    if (sn_call_failed(c)) return NULL;
    Dim two = sn_dim(c->dims, 2), one = sn_dim(c->dims, 1), width;
    if (!sn_dim_divides(c->dims, two, y->type.dim[1], &width)) return sn_call_invalid(c, "an odd width");
    if (x->fusion == 2) return sliced(c, y, 1, sn_dim_mulc(c->dims, width, k), width);
    Dim extent[3] = {y->type.dim[0], width, two};
    return reshaped(c, sliced(c, reshaped(c, y, 3, extent), 2, sn_dim(c->dims, k), one), 2, extent);
}

/* gate·σ(alpha·gate)·(y + beta), both cut off at a limit. */
static Value *gated(Call *c, const Experts *x, Value *gate, Value *y) {
    if (isfinite(x->limit)) {
        gate = op_number(c, SN_OP_MIN, gate, x->limit);
        y = op_number(c, SN_OP_MAX, op_number(c, SN_OP_MIN, y, x->limit), -x->limit);
    }
    gate = sn_build1(c->builder, SN_OP_SILU, &(AttrAlpha){x->alpha}, gate);
    return op2(c, SN_OP_MUL, gate, x->beta != 0 ? op_number(c, SN_OP_ADD, y, x->beta) : y);
}

static Value *activated(Call *c, const Experts *x, Value *y, int64_t e, Value *rows) {
    bool silu = strcmp(x->activation, "silu") == 0, beside = x->layer[BESIDE].weight != NULL;
    if (strcmp(x->activation, "swiglu") == 0) {
        if (beside) return gated(c, x, y, through(c, x, BESIDE, e, rows));
        return gated(c, x, half_of(c, x, y, 0), half_of(c, x, y, 1));
    }
    if (silu) y = sn_build1(c->builder, SN_OP_SILU, &(AttrAlpha){1}, y);
    if (silu) return beside ? op2(c, SN_OP_MUL, y, through(c, x, BESIDE, e, rows)) : y;
    if (beside) return sn_call_unsupported(c, "a third layer beside %.16s", x->activation);
    if (strcmp(x->activation, "relu") == 0) return op1(c, SN_OP_RELU, y);
    if (strcmp(x->activation, "gelu") == 0) return sn_build1(c->builder, SN_OP_GELU, &(AttrGelu){true}, y);
    if (strcmp(x->activation, "identity") == 0) return y;
    return sn_call_invalid(c, "activation_type is \"%.16s\"", x->activation);
}

/* ---- who computes what ---- */

/* The experts with the largest scores, and the softmax of these scores or of all. */
static void choose_experts(Call *c, Experts *x, Value *scores) {
    bool own = sn_call_int(c, "normalize_routing_weights", 0) != 0;
    if (sn_call_failed(c)) return;
    scores = as_type(c, scores, wide_type(scores->type.dtype));
    Value *part = own ? scores : sn_build1(c->builder, SN_OP_SOFTMAX, &(AttrAxis){1}, scores);
    x->chosen = sn_call_top(c, scores, sn_dim(c->dims, x->count), true);
    x->share = sn_build2(c->builder, SN_OP_GATHER_ELEMENTS, &(AttrAxis){1}, part, x->chosen);
    if (own) x->share = sn_build1(c->builder, SN_OP_SOFTMAX, &(AttrAxis){1}, x->share);
}

/* What expert e makes of its tokens, as parts of their results; *tokens says which they are. */
static Value *made_by(Call *c, const Experts *x, int64_t e, Value **tokens) {
    Value *is = op_number(c, SN_OP_EQUAL, x->chosen, (double)e);
    if (sn_call_failed(c)) return NULL;
    Value *share = choose(c, is, x->share, sn_call_scalar(c, x->share->type.dtype, 0));
    Value *times = reduce_axis(c, SN_OP_REDUCE_SUM, as_type(c, is, SN_I32), 1, false);
    if (sn_call_failed(c)) return NULL;
    *tokens = sn_call_places(c, op2(c, SN_OP_LESS, sn_call_scalar(c, SN_I32, 0), times));
    Value *rows = gathered(c, x->x, *tokens, 0);
    Value *y = activated(c, x, through(c, x, UP, e, rows), e, rows);
    y = through(c, x, DOWN, e, y);
    share = gathered(c, reduce_axis(c, SN_OP_REDUCE_SUM, share, 1, true), *tokens, 0);
    return sn_call_failed(c) ? NULL : op2(c, SN_OP_MUL, as_type(c, y, share->type.dtype), share);
}

static Value *sum_of_experts(Call *c, const Experts *x) {
    Value **token = SN_ARRAY(c->import->scratch, Value *, x->experts),
          **part = SN_ARRAY(c->import->scratch, Value *, x->experts);
    for (int64_t e = 0; e < x->experts && !sn_call_failed(c); e++) part[e] = made_by(c, x, e, &token[e]);
    Value *tokens = joined(c, 0, (int)x->experts, token), *parts = joined(c, 0, (int)x->experts, part);
    if (sn_call_failed(c)) return NULL;
    return sn_build2(c->builder, SN_OP_SCATTER_ADD, &(AttrScatter){x->x->type.dim[0]}, tokens, parts);
}

/* ---- what a node says ---- */

/* Whether a part of a layer, if it is there, has so many axes, of which the first one is the experts'. */
static bool fits_experts(Call *c, const Experts *x, const Value *part, int rank) {
    if (!part) return true;
    if (part->type.rank != rank) return sn_call_invalid(c, "an operand of rank %d", part->type.rank);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, part->type.dim[0],
                                   sn_dim(c->dims, x->experts), c->builder->origin);
    return !status || sn_call_latch(c, sn_status_prefix(status, "experts"));
}

static bool fit_experts(Call *c, const Experts *x) {
    int rank = x->block > 0 ? 3 : 2; /* of scales */
    for (int k = 0; k < LAYERS; k++) {
        const Layer *layer = &x->layer[k];
        if (!fits_experts(c, x, layer->weight, 3) || !fits_experts(c, x, layer->bias, 2) ||
            !fits_experts(c, x, layer->scale, rank) || !fits_experts(c, x, layer->zero, rank))
            return false;
    }
    return true;
}

static bool read_attributes(Call *c, Experts *x) {
    x->count = sn_call_int(c, "k", 1), x->fusion = sn_call_int(c, "swiglu_fusion", 0);
    x->activation = sn_call_string(c, "activation_type", "relu");
    x->alpha = sn_call_float(c, "activation_alpha", 1), x->beta = sn_call_float(c, "activation_beta", 0);
    x->limit = sn_call_float(c, "swiglu_limit", INFINITY);
    if (sn_call_int(c, "use_sparse_mixer", 0) != 0) return sn_call_unsupported(c, "use_sparse_mixer");
    if (sn_call_failed(c)) return false;
    const Layer *up = &x->layer[UP], *down = &x->layer[DOWN];
    if (!up->weight || !down->weight || up->weight->type.rank != 3 || down->weight->type.rank != 3)
        return sn_call_invalid(c, "weights of no three axes");
    bool both = strcmp(x->activation, "swiglu") == 0 && !x->layer[BESIDE].weight;
    if (both && x->fusion != 1 && x->fusion != 2) return sn_call_invalid(c, "a gate without what it gates");
    if (!sn_dim_is(up->weight->type.dim[0], &x->experts) || x->experts < 1 || x->experts > MOST_EXPERTS)
        return sn_call_unsupported(c, "a number of experts that is not known, or above %d", MOST_EXPERTS);
    if (x->count < 1 || x->count > x->experts)
        return sn_call_invalid(c, "%lld of %lld experts", (long long)x->count, (long long)x->experts);
    return fit_experts(c, x);
}

static Value *mixture(Call *c, Experts *x) {
    Value *whole = c->input[0], *scores = c->input[1];
    if (!read_attributes(c, x)) return NULL;
    Type type = whole->type;
    if ((type.rank != 2 && type.rank != 3) || scores->type.rank != 2)
        return sn_call_invalid(c, "an input of rank %d and scores of rank %d", type.rank, scores->type.rank);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, scores->type.dim[1],
                                   sn_dim(c->dims, x->experts), c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "scores"));
    x->x = reshaped(c, whole, 2, (Dim[]){scores->type.dim[0], type.dim[type.rank - 1]});
    choose_experts(c, x, scores);
    return reshaped(c, as_type(c, sum_of_experts(c, x), type.dtype), type.rank, type.dim);
}

/* x, scores, then weights and biases of three layers: what gates or is all there is, what leads back, what is gated. */
Value *sn_import_experts(Call *c) {
    Experts x = {0};
    for (int k = 0; k < LAYERS; k++)
        x.layer[k] = (Layer){.weight = sn_call_input(c, 2 + 2 * k), .bias = sn_call_input(c, 3 + 2 * k)};
    return mixture(c, &x);
}

static bool read_quantised(Call *c, Experts *x) {
    static const char *const own[LAYERS] = {"fc1_expert_weight_bits", "fc2_expert_weight_bits",
                                            "fc3_expert_weight_bits"};
    int64_t bits = sn_call_int(c, "expert_weight_bits", 4);
    x->block = sn_call_int(c, "block_size", 0);
    sn_call_ignore(c, "accuracy_level"); /* the least that is asked for; products are of f32 */
    if (strcmp(sn_call_string(c, "quant_type", "int"), "int") != 0)
        return sn_call_unsupported(c, "quant_type");
    if (sn_call_int(c, "weights_prepacked", -1) > 0) return sn_call_unsupported(c, "weights_prepacked");
    for (int k = 14; k < c->input_count; k++)
        if (c->input[k]) return sn_call_unsupported(c, "input %d", k);
    if (x->block < 0 || x->block > INT32_MAX)
        return sn_call_invalid(c, "block_size is %lld", (long long)x->block);
    for (int k = 0; k < LAYERS; k++) {
        Layer *layer = &x->layer[k];
        *layer = (Layer){sn_call_input(c, 2 + 3 * k), sn_call_input(c, 4 + 3 * k),
                         sn_call_input(c, 3 + 3 * k), sn_call_input(c, 11 + k), sn_call_int(c, own[k], bits)};
        if (layer->weight && !layer->scale) return sn_call_invalid(c, "weights without scales");
        if (layer->bits != 2 && layer->bits != 4 && layer->bits != 8)
            return sn_call_unsupported(c, "weights of %lld bits", (long long)layer->bits);
    }
    return !sn_call_failed(c);
}

/* The same with scales between weights and biases, and zero points behind: of integers. */
Value *sn_import_quantised_experts(Call *c) {
    Experts x = {0};
    return read_quantised(c, &x) ? mixture(c, &x) : NULL;
}

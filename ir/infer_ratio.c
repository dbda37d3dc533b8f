/* Shape arithmetic that a model does in floating point: int(floor(float(T) / 2)) and the like.
 *
 * Float tensors carry no shape values. A cast from float to integer looks back over the few operators such
 * chains consist of and reads each element as a ratio of integers, as long as that is what the float
 * arithmetic of f32 computes:
 *  - a ratio is `exact` when its denominator is a power of two and both parts are at most 2^24: then it is a
 *    float. Sums, products and quotients are only taken of exact ratios.
 *  - one rounding later, n/d with 0 < n, d <= 2^24 lies no further than 1/2 ulp off. A quotient that is no
 *    integer differs from every integer by at least 1/d, and half an ulp of n/d is less than 1/d, so floor,
 *    ceiling and truncation still give those of the ratio itself.
 * Whatever magnitude is not proven becomes a check. */
#include "infer_rules.h"

#include "index.h"

#include <math.h>

enum { LARGEST = 1 << 24, MOST_STEPS = 64, MOST_CHECKS = 16 };

typedef struct Ratio {
    Dim above;
    int64_t below; /* >= 1 */
    bool exact;
} Ratio;

typedef struct Chain {
    Graph *graph;
    Dims *dims;
    int64_t element;
    Dim bounded[MOST_CHECKS]; /* must be in [-LARGEST, LARGEST] */
    int bounded_count;
    int steps; /* operators looked at, of MOST_STEPS */
} Chain;

static bool ratio_of(Chain *chain, const Value *value, Ratio *out);

/* The numerator has to be in range: now, or by a check when all of the chain is understood. */
static bool bound(Chain *chain, Ratio *ratio) {
    int64_t constant;
    if (sn_dims_overflowed(chain->dims) || ratio->below > LARGEST) return false;
    if (sn_dim_is(ratio->above, &constant)) return constant >= -LARGEST && constant <= LARGEST;
    if (chain->bounded_count == MOST_CHECKS) return false;
    chain->bounded[chain->bounded_count++] = ratio->above;
    return true;
}

static bool is_power_of_two(int64_t value) {
    return (value & (value - 1)) == 0;
}

static bool settle(Chain *chain, Dim above, int64_t below, Ratio *out) {
    *out = (Ratio){above, below, is_power_of_two(below)};
    return bound(chain, out);
}

/* The element of a value that this element of the chain reads: tensors of one element go with all others. */
static int64_t element_of(const Chain *chain, const Value *value, bool *fits) {
    int64_t extent[SN_MAX_RANK], count;
    for (int k = 0; k < value->type.rank; k++)
        if (!sn_dim_is(value->type.dim[k], &extent[k])) return *fits = false;
    *fits = sn_index_count(value->type.rank, extent, &count) && (count == 1 || chain->element < count);
    return count == 1 ? 0 : chain->element;
}

static bool ratio_of_constant(Chain *chain, const Node *node, const Value *value, Ratio *out) {
    const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
    bool fits;
    int64_t at = element_of(chain, value, &fits), below = 1;
    if (!fits) return false;
    double number = sn_tensor_get(tensor, at);
    for (; isfinite(number) && number != trunc(number) && below < LARGEST; below *= 2) number *= 2;
    if (!(fabs(number) <= LARGEST) || number != trunc(number)) return false;
    return settle(chain, sn_dim(chain->dims, (int64_t)number), below, out);
}

static bool ratio_of_cast(Chain *chain, const Node *node, Ratio *out) {
    const Value *source = node->input[0];
    if (sn_dtype_is_float(source->type.dtype)) return ratio_of(chain, source, out) && out->exact;
    bool fits;
    int64_t at = element_of(chain, source, &fits);
    return fits && source->known && settle(chain, source->known[at], 1, out);
}

static bool ratio_of_floor(Chain *chain, const Node *node, Ratio *out) {
    if (!ratio_of(chain, node->input[0], out)) return false;
    return settle(chain, sn_dim_floordiv(chain->dims, out->above, sn_dim(chain->dims, out->below)), 1, out);
}

static bool ratio_of_ceil(Chain *chain, const Node *node, Ratio *out) {
    if (!ratio_of(chain, node->input[0], out)) return false;
    return settle(chain, sn_dim_ceildiv(chain->dims, out->above, sn_dim(chain->dims, out->below)), 1, out);
}

/* Both operands, exact; of the same shape, or one with a single element. */
static bool operands(Chain *chain, const Node *node, Ratio *a, Ratio *b) {
    for (int k = 0; k < 2; k++) {
        const Value *other = node->input[k];
        if (other->type.rank != node->output[0]->type.rank && other->type.rank != 0) return false;
    }
    return ratio_of(chain, node->input[0], a) && a->exact && ratio_of(chain, node->input[1], b) && b->exact;
}

static bool ratio_of_mul(Chain *chain, const Node *node, Ratio *out) {
    Ratio a, b;
    if (!operands(chain, node, &a, &b)) return false;
    return settle(chain, sn_dim_mul(chain->dims, a.above, b.above), a.below * b.below, out);
}

/* By a constant above 0: (a / c) / (b / d) = (a·d) / (c·b). */
static bool ratio_of_div(Chain *chain, const Node *node, Ratio *out) {
    Ratio a, b;
    int64_t divisor;
    if (!operands(chain, node, &a, &b) || !sn_dim_is(b.above, &divisor) || divisor <= 0) return false;
    return settle(chain, sn_dim_mulc(chain->dims, a.above, b.below), a.below * divisor, out);
}

static bool ratio_of_sum(Chain *chain, const Node *node, Ratio *out) {
    Ratio a, b;
    if (!operands(chain, node, &a, &b)) return false;
    Dim left = sn_dim_mulc(chain->dims, a.above, b.below), right = sn_dim_mulc(chain->dims, b.above, a.below);
    Dim above =
        node->op == SN_OP_ADD ? sn_dim_add(chain->dims, left, right) : sn_dim_sub(chain->dims, left, right);
    return settle(chain, above, a.below * b.below, out);
}

typedef bool (*RatioRule)(Chain *chain, const Node *node, Ratio *out);

static const RatioRule ratio_rule[SN_OP_COUNT] = {
    [SN_OP_CAST] = ratio_of_cast, [SN_OP_FLOOR] = ratio_of_floor, [SN_OP_CEIL] = ratio_of_ceil,
    [SN_OP_MUL] = ratio_of_mul,   [SN_OP_DIV] = ratio_of_div,     [SN_OP_ADD] = ratio_of_sum,
    [SN_OP_SUB] = ratio_of_sum,
};

static bool ratio_of(Chain *chain, const Value *value, Ratio *out) {
    const Node *node = value->producer;
    bool wide = value->type.dtype == SN_F32 || value->type.dtype == SN_F64;
    if (!node || !wide || chain->steps++ == MOST_STEPS) return false;
    if (node->op == SN_OP_CONSTANT) return ratio_of_constant(chain, node, value, out);
    return ratio_rule[node->op] && ratio_rule[node->op](chain, node, out);
}

static bool add_checks(Chain *chain, const Origin *origin) {
    Dim low = sn_dim(chain->dims, -LARGEST), high = sn_dim(chain->dims, LARGEST);
    for (int k = 0; k < chain->bounded_count; k++) {
        Status status = sn_graph_check(chain->graph, SN_CHECK_AT_MOST, low, chain->bounded[k], origin);
        if (!status) status = sn_graph_check(chain->graph, SN_CHECK_AT_MOST, chain->bounded[k], high, origin);
        bool refused = status != NULL;
        sn_error_free(status);
        if (refused) return false;
    }
    return true;
}

bool sn_infer_truncated(Graph *graph, const Node *cast, int64_t element, Dim *out) {
    Chain chain = {.graph = graph, .dims = graph->dims, .element = element};
    Ratio ratio;
    if (!ratio_of(&chain, cast->input[0], &ratio) || !add_checks(&chain, cast->origin)) return false;
    *out = sn_dim_truncdiv(graph->dims, ratio.above, sn_dim(graph->dims, ratio.below));
    return true;
}

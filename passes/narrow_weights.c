#include "narrow_weights.h"

#include "view.h"

#include <math.h>

enum {
    DEEPEST = 16,         /* operators looked through */
    MOST_LOOKED_AT = 256, /* for the range of one value */
    MOST_TERMS = 8,       /* operands of a join */
};

/* ---- integers in floats ---- */

typedef struct Range {
    double least, most;
} Range;

/* Whether every element is a whole number, and which there may be. */
static bool constant_range(const Tensor *tensor, Range *out) {
    bool bytes = tensor->dtype == SN_I8 || tensor->dtype == SN_U8;
    if (tensor->payload != SN_PAYLOAD_BYTES || (!bytes && tensor->count > 1 << 16)) return false;
    *out = (Range){INFINITY, -INFINITY};
    for (int64_t i = 0; i < tensor->count; i++) {
        double x = tensor->dtype == SN_I8   ? ((const int8_t *)tensor->bytes)[i]
                   : tensor->dtype == SN_U8 ? ((const uint8_t *)tensor->bytes)[i]
                                            : sn_tensor_get(tensor, i);
        if (x != trunc(x) || isinf(x)) return false;
        if (x < out->least) out->least = x;
        if (x > out->most) out->most = x;
    }
    return tensor->count > 0;
}

/* What a search has still to look at; shared operands are looked at each time that they are met. */
typedef struct Search {
    int left;
} Search;

typedef bool RangeRule(Search *search, const Node *node, Range *out);

static bool find_range(Search *search, const Value *value, Range *out);

static bool range_of_constant(Search *search, const Node *node, Range *out) {
    (void)search;
    return constant_range(((const AttrConstant *)node->attr)->tensor, out);
}

static bool range_of_view(Search *search, const Node *node, Range *out) {
    return find_range(search, node->input[0], out);
}

static bool is_wide(const Node *node) {
    DType dtype = node->output[0]->type.dtype;
    return dtype == SN_F32 || dtype == SN_I32;
}

/* Of whole numbers as small as these to f32 or i32, which have them all. */
static bool range_of_cast(Search *search, const Node *node, Range *out) {
    return is_wide(node) && find_range(search, node->input[0], out);
}

/* x mod c, and x / c, of integers that are not negative by a positive number. */
static bool range_divided(Search *search, const Node *node, double *by, Range *out) {
    bool whole = sn_dtype_is_int(node->output[0]->type.dtype);
    return whole && sn_value_is_splat(node->input[1], by) && *by >= 1 &&
           find_range(search, node->input[0], out) && out->least >= 0;
}

static bool range_of_mod(Search *search, const Node *node, Range *out) {
    double by;
    if (!range_divided(search, node, &by, out)) return false;
    *out = (Range){0, fmin(out->most, by - 1)};
    return true;
}

static bool range_of_div(Search *search, const Node *node, Range *out) {
    double by;
    if (!range_divided(search, node, &by, out)) return false;
    *out = (Range){0, floor(out->most / by)};
    return true;
}

static bool range_of_sub(Search *search, const Node *node, Range *out) {
    Range minus;
    if (!is_wide(node) || !find_range(search, node->input[0], out) ||
        !find_range(search, node->input[1], &minus))
        return false;
    *out = (Range){out->least - minus.most, out->most - minus.least};
    return fabs(out->least) < 0x1p24 && fabs(out->most) < 0x1p24;
}

static bool range_of_concat(Search *search, const Node *node, Range *out) {
    *out = (Range){INFINITY, -INFINITY};
    for (int k = 0; k < node->input_count; k++) {
        Range part;
        if (!find_range(search, node->input[k], &part)) return false;
        out->least = fmin(out->least, part.least), out->most = fmax(out->most, part.most);
    }
    return true;
}

/* By what computes the value; otherwise by its type. */
static bool find_range(Search *search, const Value *value, Range *out) {
    static RangeRule *const rule[SN_OP_COUNT] = {
        [SN_OP_CONSTANT] = range_of_constant, [SN_OP_VIEW] = range_of_view, [SN_OP_CAST] = range_of_cast,
        [SN_OP_CONCAT] = range_of_concat,     [SN_OP_MOD] = range_of_mod,   [SN_OP_DIV] = range_of_div,
        [SN_OP_SUB] = range_of_sub,
    };
    const Node *node = value->producer;
    DType dtype = value->type.dtype;
    if (node && rule[node->op] && search->left-- > 0 && rule[node->op](search, node, out)) return true;
    *out = dtype == SN_U8 ? (Range){0, UINT8_MAX} : (Range){INT8_MIN, INT8_MAX};
    return dtype == SN_U8 || dtype == SN_I8;
}

static bool whole_range(const Value *value, Range *out) {
    return find_range(&(Search){MOST_LOOKED_AT}, value, out);
}

bool sn_whole_range(const Value *value, double *least, double *most) {
    Range range;
    if (!whole_range(value, &range)) return false;
    *least = range.least, *most = range.most;
    return true;
}

/* ---- floats ---- */

/* What every element is widened from; F32: that is not known. */
static DType widened_from(const Value *value, int depth) {
    const Node *node = value->producer;
    if (!node || depth > DEEPEST) return SN_F32;
    if (node->op == SN_OP_CAST) return node->input[0]->type.dtype;
    if (node->op != SN_OP_VIEW && node->op != SN_OP_CONCAT) return SN_F32;
    DType dtype = widened_from(node->input[0], depth + 1);
    for (int k = 1; k < node->input_count; k++)
        if (widened_from(node->input[k], depth + 1) != dtype) return SN_F32;
    return dtype;
}

/* ---- factors ---- */

/* The operand of a product that is a whole number: 0 or 1; -1: neither. */
static int whole_operand(const Node *node) {
    Range range;
    for (int k = 0; k < 2; k++)
        if (whole_range(node->input[k], &range)) return k;
    return -1;
}

/* Whether the value is integers times factors, below views and joins. */
static bool is_scaled(const Value *value, int depth, Range *range) {
    const Node *node = value->producer;
    if (!node || depth > DEEPEST) return false;
    if (node->op == SN_OP_VIEW) return is_scaled(node->input[0], depth + 1, range);
    if (node->op == SN_OP_CONCAT) {
        *range = (Range){INFINITY, -INFINITY};
        for (int k = 0; k < node->input_count; k++) {
            Range part;
            if (!is_scaled(node->input[k], depth + 1, &part)) return false;
            range->least = fmin(range->least, part.least), range->most = fmax(range->most, part.most);
        }
        return node->input_count <= MOST_TERMS;
    }
    if (node->op != SN_OP_MUL) return false;
    int whole = whole_operand(node);
    return whole >= 0 && whole_range(node->input[whole], range);
}

/* Whether all elements along `axis` are equal. */
static bool is_uniform(const Graph *graph, Arena *arena, const Value *value, int axis, int depth) {
    const Node *node = value->producer;
    double same;
    if (sn_dim_equals(value->type.dim[axis], 1) || sn_value_is_splat(value, &same)) return true;
    if (!node || depth > DEEPEST) return false;
    if (node->op == SN_OP_VIEW) {
        const AttrView *attr = node->attr;
        Dim along = sn_view_axes(graph->dims, arena, attr->rank, attr->extent)[axis];
        for (int i = 0; i < attr->source_rank; i++)
            if (sn_dim_depends(attr->index[i], along) &&
                (attr->index[i] != along || !is_uniform(graph, arena, node->input[0], i, depth + 1)))
                return false;
        return true;
    }
    bool through = node->op == SN_OP_CAST || node->op == SN_OP_MUL ||
                   (node->op == SN_OP_CONCAT && ((const AttrAxis *)node->attr)->axis != axis);
    for (int k = 0; through && k < node->input_count; k++)
        through = is_uniform(graph, arena, node->input[k], axis, depth + 1);
    return through;
}

bool sn_uniform_along(const Graph *graph, Arena *arena, const Value *value, int axis) {
    return is_uniform(graph, arena, value, axis, 0);
}

enum { LEAST_BLOCK = 8 }; /* rows: shorter ones are multiplied with their factors beforehand */

int sn_source_axis(const Graph *graph, Arena *arena, const AttrView *attr, int axis) {
    Dim along = sn_view_axes(graph->dims, arena, attr->rank, attr->extent)[axis];
    int at = -1;
    for (int i = 0; i < attr->source_rank; i++)
        if (sn_dim_depends(attr->index[i], along)) at = at == -1 && attr->index[i] == along ? i : -2;
    return at;
}

/* How many neighbours along `axis` a view gives the same element of its source; 0: not so. */
static int64_t repeats(const Graph *graph, Arena *arena, const AttrView *attr, int axis) {
    Dim along = sn_view_axes(graph->dims, arena, attr->rank, attr->extent)[axis];
    int64_t block = 0;
    for (int i = 0; i < attr->source_rank; i++) {
        Dim index = attr->index[i];
        if (!sn_dim_depends(index, along)) continue;
        if (block || index->kind != SN_DIM_FLOORDIV || index->operand[0] != along ||
            !sn_dim_is(index->operand[1], &block))
            return 0;
    }
    return block;
}

/* How many rows in turn have the same factors: 0: that is not known; INT64_MAX: all. `axis` is the rows' in `value`. */
static int64_t factor_rows(const Graph *graph, Arena *arena, const Value *value, int axis) {
    const Node *node = value->producer;
    if (node->op == SN_OP_MUL) {
        const Value *factors = node->input[!whole_operand(node)];
        if (is_uniform(graph, arena, factors, axis, 0)) return INT64_MAX;
        while (factors->producer && factors->producer->op == SN_OP_CAST)
            factors = factors->producer->input[0];
        bool view = factors->producer && factors->producer->op == SN_OP_VIEW;
        return view ? repeats(graph, arena, factors->producer->attr, axis) : 0;
    }
    if (node->op == SN_OP_VIEW) {
        int at = sn_source_axis(graph, arena, node->attr, axis);
        return at == -1 ? INT64_MAX : at < 0 ? 0 : factor_rows(graph, arena, node->input[0], at);
    }
    int64_t rows = factor_rows(graph, arena, node->input[0], axis);
    for (int k = 1; k < node->input_count; k++)
        if (factor_rows(graph, arena, node->input[k], axis) != rows) return 0;
    return ((const AttrAxis *)node->attr)->axis == axis ? 0 : rows;
}

bool sn_narrow_weights(Pass *pass, const Graph *graph, const Value *b, NarrowWeights *out) {
    Range range;
    if (b->type.dtype != SN_F32) return false;
    *out = (NarrowWeights){.dtype = widened_from(b, 0)};
    if (out->dtype == SN_BF16 || out->dtype == SN_F16) return true;
    if (!whole_range(b, &range)) {
        if (!is_scaled(b, 0, &range)) return false;
        int64_t rows = factor_rows(graph, pass->arena, b, b->type.rank - 2);
        if (rows < LEAST_BLOCK) return false;
        out->scaled = rows == INT64_MAX;
        out->block = out->scaled ? 0 : rows;
    }
    if (fabs(range.least) > 256 || range.most > 256) return false;
    out->least = range.least, out->most = range.most;
    bool byte = range.least >= -128 && range.most <= 127;
    out->dtype = byte ? SN_I8 : SN_BF16; /* bf16 has all whole numbers up to 256 */
    return byte || !out->block;
}

/* ---- the parts ---- */

/* One side of the products below views and joins. */
static Value *side(Builder *builder, Value *value, bool factors) {
    Node *node = value->producer;
    if (node->op == SN_OP_MUL) {
        int whole = whole_operand(node);
        return node->input[factors ? !whole : whole];
    }
    Value *part[MOST_TERMS];
    for (int k = 0; k < node->input_count; k++) part[k] = side(builder, node->input[k], factors);
    return sn_build(builder, node->op, node->attr, node->input_count, part);
}

Value *sn_narrow_elements(Builder *builder, Value *b, const NarrowWeights *weights) {
    Value *elements = weights->scaled || weights->block ? side(builder, b, false) : b;
    return elements ? sn_build_cast(builder, elements, weights->dtype) : NULL;
}

Value *sn_narrow_factors(Builder *builder, Value *b, const NarrowWeights *weights) {
    Dims *dims = builder->graph->dims;
    Value *factors = side(builder, b, true);
    if (!factors) return NULL;
    int64_t step = weights->block ? weights->block : 1;
    Dim rows = b->type.dim[b->type.rank - 2], zero = sn_dim(dims, 0);
    Dim count = weights->block ? sn_dim_ceildiv(dims, rows, sn_dim(dims, step)) : sn_dim(dims, 1);
    return sn_build_slice(builder, factors, b->type.rank - 2, zero, count, step);
}

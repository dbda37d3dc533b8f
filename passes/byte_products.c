#include "byte_products.h"

#include "narrow_weights.h"

#include <math.h>

enum {
    GROUP = 4,          /* bytes of a word */
    WORTH_IT = 200,     /* % of the rate of f32 */
    DEEPEST = 16,       /* operators looked through */
    SPREAD = UINT8_MAX, /* of weights: bytes when their middle is taken off */
};

/* ---- the left operand ---- */

/* (elements - zero)·scale, where zero and scale are the same along K. */
typedef struct Bytes {
    Value *elements; /* u8 or i8 */
    Value *zero;     /* whole numbers; NULL: 0 */
    Value *scale;    /* f32; NULL: 1 */
} Bytes;

/* What looks for them, and, when there is a builder, makes them as they are seen through views. */
typedef struct Search {
    const Pass *pass;
    const Graph *graph;
    Builder *builder;
} Search;

static bool is_zero_point(const Search *s, const Value *value, int axis) {
    double least, most;
    return sn_whole_range(value, &least, &most) && least >= INT16_MIN && most <= INT16_MAX &&
           sn_uniform_along(s->graph, s->pass->arena, value, axis);
}

static bool find_bytes(const Search *s, Value *value, int axis, int depth, Bytes *out);

static bool find_behind_view(const Search *s, const Node *node, int axis, int depth, Bytes *out) {
    int at = sn_source_axis(s->graph, s->pass->arena, node->attr, axis);
    if (at < 0 || !find_bytes(s, node->input[0], at, depth, out)) return false;
    Value **part[] = {&out->elements, &out->zero, &out->scale};
    for (int k = 0; s->builder && k < 3; k++)
        if (*part[k]) *part[k] = sn_build1(s->builder, SN_OP_VIEW, node->attr, *part[k]);
    return true;
}

static bool find_bytes(const Search *s, Value *value, int axis, int depth, Bytes *out) {
    const Node *node = value->producer;
    DType dtype = value->type.dtype;
    *out = (Bytes){.elements = value};
    if (dtype == SN_U8 || dtype == SN_I8) return true;
    if (!node || depth > DEEPEST || (dtype != SN_I32 && dtype != SN_F32)) return false;
    if (node->op == SN_OP_VIEW) return find_behind_view(s, node, axis, depth + 1, out);
    if (node->op == SN_OP_CAST) return find_bytes(s, node->input[0], axis, depth + 1, out) && !out->scale;
    if (node->op == SN_OP_SUB && is_zero_point(s, node->input[1], axis)) {
        if (!find_bytes(s, node->input[0], axis, depth + 1, out) || out->zero || out->scale) return false;
        out->zero = node->input[1];
        return true;
    }
    for (int k = 0; k < 2 && node->op == SN_OP_MUL && dtype == SN_F32; k++) {
        if (!sn_uniform_along(s->graph, s->pass->arena, node->input[!k], axis)) continue;
        if (!find_bytes(s, node->input[k], axis, depth + 1, out) || out->scale) continue;
        out->scale = node->input[!k];
        return true;
    }
    return false;
}

/* ---- the right operand ---- */

/* Whether b is made in setup of whole numbers that bytes can hold, with a factor for each column or none. */
static bool find_weights(Pass *pass, const Graph *graph, const Value *b, NarrowWeights *out) {
    *out = (NarrowWeights){.dtype = SN_I32};
    if (!b->producer || !b->producer->setup) return false;
    if (!sn_whole_range(b, &out->least, &out->most) &&
        (!sn_narrow_weights(pass, graph, b, out) || !out->scaled))
        return false;
    out->dtype = SN_I32;
    return out->most - out->least <= SPREAD;
}

/* ---- the product ---- */

typedef struct Product {
    Builder *builder;
    const Node *node;
    Bytes left;
    Value *bytes;  /* of the left operand, u8 */
    Value *middle; /* i32, a number: what weights are shifted by; NULL: 0 */
    Value *packed;
    Value *columns; /* i32 [batch…, 1, N]: sums of the shifted weights */
} Product;

static Value *op2(const Product *p, OpCode op, Value *a, Value *b) {
    return a && b ? sn_build2(p->builder, op, NULL, a, b) : NULL;
}

/* As large as the result. */
static Value *spread(const Product *p, Value *value) {
    Type type = p->node->output[0]->type;
    return value ? sn_build_expand(p->builder, value, type.rank, type.dim) : NULL;
}

static Value *whole(const Product *p, double value, Type type) {
    return sn_build_expand(p->builder, sn_build_scalar(p->builder, SN_I32, value), type.rank, type.dim);
}

static Value *sum_along(const Product *p, Value *value, int axis) {
    int64_t axes[1] = {axis};
    return value ? sn_build1(p->builder, SN_OP_REDUCE_SUM, &(AttrReduce){1, axes}, value) : NULL;
}

/* The first of what is the same along K, [batch…, M, 1]. */
static Value *of_rows(const Product *p, Value *value) {
    Dims *dims = p->builder->graph->dims;
    int last = value->type.rank - 1;
    return sn_build_slice(p->builder, value, last, sn_dim(dims, 0), sn_dim(dims, 1), 1);
}

/* Bytes from -128 on are shifted, and so is their zero point. */
static void take_left(Product *p) {
    Bytes *left = &p->left;
    Type type = left->elements->type;
    p->bytes = left->elements;
    if (left->zero) left->zero = sn_build_cast(p->builder, of_rows(p, left->zero), SN_I32);
    if (left->scale) left->scale = of_rows(p, left->scale);
    if (type.dtype == SN_U8) return;
    Value *numbers = sn_build_cast(p->builder, left->elements, SN_I32);
    p->bytes = sn_build_cast(p->builder, op2(p, SN_OP_ADD, numbers, whole(p, 128, type)), SN_U8);
    Dim *row = SN_ARRAY(p->builder->graph->arena, Dim, type.rank);
    for (int k = 0; k < type.rank; k++) row[k] = type.dim[k];
    row[type.rank - 1] = sn_dim(p->builder->graph->dims, 1);
    type = (Type){SN_I32, type.rank, row};
    left->zero = left->zero ? op2(p, SN_OP_ADD, left->zero, whole(p, 128, type)) : whole(p, 128, type);
}

static void take_right(Product *p, const Target *target, Value *b, const NarrowWeights *weights) {
    Value *numbers = sn_narrow_elements(p->builder, b, weights);
    bool fits = weights->least >= INT8_MIN && weights->most <= INT8_MAX;
    if (!fits && numbers) {
        double middle = weights->least - INT8_MIN;
        p->middle = whole(p, middle, p->node->output[0]->type);
        numbers = op2(p, SN_OP_SUB, numbers, whole(p, middle, numbers->type));
    }
    if (!numbers) return;
    AttrPack pack = {.panel = target->panel, .group = GROUP};
    p->packed = sn_build1(p->builder, SN_OP_PACK, &pack, sn_build_cast(p->builder, numbers, SN_I8));
    p->columns = p->left.zero ? sum_along(p, numbers, numbers->type.rank - 2) : NULL;
}

/* Σ (x - z)·(w + middle) = Σ x·w - z·Σ w + middle·(Σ x - K·z). */
static Value *sum_of_products(Product *p, Dim K) {
    Builder *b = p->builder;
    AttrContract contract = {.packed = true, .group = GROUP};
    contract.columns = p->node->output[0]->type.dim[p->node->output[0]->type.rank - 1];
    Value *y = p->packed ? sn_build2(b, SN_OP_CONTRACT, &contract, p->bytes, p->packed) : NULL;
    Value *zero = p->left.zero;
    if (zero) y = op2(p, SN_OP_SUB, y, op2(p, SN_OP_MUL, spread(p, zero), spread(p, p->columns)));
    if (!p->middle) return y;
    int last = p->bytes->type.rank - 1;
    Value *rows = sum_along(p, sn_build_cast(b, p->bytes, SN_I32), last);
    int64_t terms;
    if (zero && sn_dim_is(K, &terms))
        rows = op2(p, SN_OP_SUB, rows, op2(p, SN_OP_MUL, zero, whole(p, (double)terms, zero->type)));
    return op2(p, SN_OP_ADD, y, op2(p, SN_OP_MUL, spread(p, rows), p->middle));
}

static Value *scaled(const Product *p, Value *y, Value *columns) {
    DType dtype = p->node->output[0]->type.dtype;
    y = y ? sn_build_cast(p->builder, y, dtype) : NULL;
    if (dtype != SN_F32) return y;
    Value *scale = p->left.scale ? spread(p, p->left.scale) : NULL;
    columns = columns ? spread(p, columns) : NULL;
    if (scale && columns) scale = op2(p, SN_OP_MUL, scale, columns);
    if (!scale) scale = columns;
    return scale ? op2(p, SN_OP_MUL, y, scale) : y;
}

static bool is_candidate(const Pass *pass, const Node *node, int64_t *K) {
    const Target *target = pass->target;
    if (node->op != SN_OP_CONTRACT || node->setup || ((const AttrContract *)node->attr)->packed) return false;
    if (target->kind != SN_TARGET_CPU || target->panel <= 0) return false;
    if (target->byte_percent < WORTH_IT && target->matrix_byte_percent < WORTH_IT) return false;
    DType dtype = node->output[0]->type.dtype;
    Type b = node->input[1]->type;
    if ((dtype != SN_I32 && dtype != SN_F32) || sn_dim_equals(b.dim[b.rank - 1], 0)) return false;
    return sn_dim_is(b.dim[b.rank - 2], K) && *K >= 1;
}

/* Whether 31 bits hold the sum whatever the bytes are: one that becomes a float may not wrap. */
static bool sum_fits(const Bytes *left, const NarrowWeights *weights, int64_t K) {
    bool is_signed = left->elements->type.dtype == SN_I8;
    double least = 0, most = 0, low = is_signed ? INT8_MIN : 0, high = is_signed ? INT8_MAX : UINT8_MAX;
    if (left->zero && !sn_whole_range(left->zero, &least, &most)) return false;
    double factor = fmax(high - least, most - low), weight = fmax(-weights->least, weights->most);
    return factor * weight * (double)K <= INT32_MAX;
}

bool sn_byte_product(Pass *pass, Graph *graph, Node *node) {
    int64_t K;
    if (!is_candidate(pass, node, &K)) return false;
    Value *a = node->input[0], *b = node->input[1];
    NarrowWeights weights;
    Search search = {pass, graph, NULL};
    Product p = {.node = node};
    int axis = a->type.rank - 1;
    if (!find_weights(pass, graph, b, &weights) || !find_bytes(&search, a, axis, 0, &p.left) ||
        (node->output[0]->type.dtype == SN_F32 && !sum_fits(&p.left, &weights, K)) || !sn_pass_rewrite(pass))
        return false;
    sn_pass_remark(pass, node->origin, true, "sums of products of bytes are integers");
    Builder builder = sn_builder_before(graph, node);
    p.builder = search.builder = &builder;
    find_bytes(&search, a, axis, 0, &p.left);
    take_left(&p);
    take_right(&p, pass->target, b, &weights);
    Value *columns = weights.scaled ? sn_narrow_factors(&builder, b, &weights) : NULL;
    Value *y = scaled(&p, sum_of_products(&p, b->type.dim[b->type.rank - 2]), columns);
    pass->status = builder.status;
    if (!y) return false;
    sn_value_replace(node->output[0], y);
    sn_node_remove(node);
    return true;
}

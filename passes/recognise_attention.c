/* Attention: matmul(softmax(scale · matmul(q, kᵀ) + masks), v) on values of rank 3 or 4, between which views may take batch
 * and head together and apart; or with cap · tanh(scale · matmul(q, kᵀ) / cap) for what is scaled.
 *
 * The scores are followed from the softmax inwards. A mask that is causal alone becomes the attribute; every
 * other mask goes into the bias as it is, so that rows with nothing to attend to give what the file says.
 * What is not kept is how a finite fill hides a score that is itself infinite or NaN: as a bias it is added.
 */
#include "recognise_internal.h"
#include "view.h"

#include <math.h>

enum { MAX_STEPS = 12, MAX_MASKS = 4 };

/* scores + value, or where(value, scores, fill) */
typedef struct Mask {
    Value *value;
    bool select;
    double fill;
    int rank; /* of the scores there */
} Mask;

typedef struct Scores {
    Value *q, *transposed_k;
    Type type;            /* of the product */
    Dim lead[2];          /* batch and head, where a view has them apart from values of rank 3; or NULL */
    double scale, outer;  /* outer: what the tanh of a soft cap is multiplied by, 0 without one */
    Mask mask[MAX_MASKS]; /* the outermost first */
    int mask_count;
    /* A mask's fill is only as good as −infinity if the mask becomes the causal attribute. */
    bool needs_causal;
} Scores;

/* A fill that absorbs any score it is added to, so that where(c, s, fill) = s + where(c, 0, fill). */
static bool absorbs(double fill) {
    return fill <= -1e30;
}

/* A view between [B·H, S, T] and [B, H, S, T]. */
static bool regroups(Dims *dims, const Node *node) {
    if (node->op != SN_OP_VIEW) return false;
    Type from = node->input[0]->type, to = node->output[0]->type;
    if (!(from.rank == 3 && to.rank == 4) && !(from.rank == 4 && to.rank == 3)) return false;
    for (int k = 1; k <= 2; k++)
        if (from.dim[from.rank - k] != to.dim[to.rank - k]) return false;
    return sn_view_is_reshape(dims, node->attr, from.dim);
}

static bool leads_to_product(Dims *dims, const Value *value, int depth) {
    const Node *node = value->producer;
    if (!node || depth == MAX_STEPS) return false;
    int first = node->op == SN_OP_WHERE ? 1 : 0, last = first;
    if (node->op == SN_OP_MATMUL) return true;
    if (node->op == SN_OP_WHERE || node->op == SN_OP_ADD || node->op == SN_OP_MUL)
        last = first + 1;
    else if (node->op != SN_OP_DIV && node->op != SN_OP_TANH && !regroups(dims, node))
        return false;
    return leads_to_product(dims, node->input[first], depth + 1) ||
           (last != first && leads_to_product(dims, node->input[last], depth + 1));
}

/* Whether what views say of batch and head agrees. */
static bool set_lead(Scores *scores, Type four) {
    if (!scores->lead[0]) scores->lead[0] = four.dim[0], scores->lead[1] = four.dim[1];
    return scores->lead[0] == four.dim[0] && scores->lead[1] == four.dim[1];
}

static Value *step_view(Scores *scores, Node *node) {
    Value *inner = node->input[0];
    return set_lead(scores, inner->type.rank == 4 ? inner->type : node->output[0]->type) ? inner : NULL;
}

/* A mask that is scaled or capped together with the scores is no bias. */
static Value *push_mask(Scores *scores, Mask mask, Value *inner) {
    if (scores->mask_count == MAX_MASKS || scores->scale != 1 || scores->outer != 0) return NULL;
    Type type = mask.value->type;
    mask.rank = inner->type.rank;
    if (mask.rank == 3 && type.rank == 3 && !sn_dim_equals(type.dim[0], 1) &&
        type.dim[0] != inner->type.dim[0])
        return NULL; /* whose batches are equal to the scores' only when they run */
    scores->mask[scores->mask_count++] = mask;
    return inner;
}

static Value *step_add(Dims *dims, Scores *scores, Node *node) {
    int inner = leads_to_product(dims, node->input[0], 0) ? 0 : 1;
    return push_mask(scores, (Mask){.value = node->input[1 - inner]}, node->input[inner]);
}

/* where(condition, scores, fill), or where(condition, fill, scores) */
static Value *step_where(Builder *b, Scores *scores, Node *node) {
    double fill;
    bool inverted = sn_value_is_splat(node->input[1], &fill);
    if (!inverted && !sn_value_is_splat(node->input[2], &fill)) return NULL;
    Value *inner = node->input[inverted ? 2 : 1], *condition = node->input[0];
    if (inverted) condition = sn_build1(b, SN_OP_NOT, NULL, condition);
    if (!condition) return NULL;
    Dim offset;
    bool lone = scores->mask_count == 0 && fill <= SN_MASKED_BELOW &&
                sn_mask_is_causal(b->graph, condition, node->output[0]->type, &offset) &&
                sn_dim_le(b->graph->dims, sn_dim(b->graph->dims, 0), offset);
    if (!lone && !absorbs(fill)) return NULL;
    scores->needs_causal |= !absorbs(fill);
    return push_mask(scores, (Mask){condition, true, fill, 0}, inner);
}

static Value *step_scale(Scores *scores, Node *node) {
    double number;
    if (node->op == SN_OP_DIV) {
        if (!sn_value_is_splat(node->input[1], &number) || number == 0) return NULL;
        scores->scale /= number;
        return node->input[0];
    }
    Value *inner = sn_other_than_splat(node, &number);
    scores->scale *= inner ? number : 1;
    return inner;
}

static Value *step_tanh(Scores *scores, Node *node) {
    if (scores->outer != 0 || !(scores->scale > 0)) return NULL;
    scores->outer = scores->scale, scores->scale = 1;
    return node->input[0];
}

static Value *step(Builder *b, Scores *scores, Node *node) {
    Dims *dims = b->graph->dims;
    if (!leads_to_product(dims, node->output[0], 0)) return NULL;
    if (regroups(dims, node)) return step_view(scores, node);
    Value *inner = NULL;
    if (node->op == SN_OP_ADD)
        inner = step_add(dims, scores, node);
    else if (node->op == SN_OP_WHERE)
        inner = step_where(b, scores, node);
    else if (node->op == SN_OP_MUL || node->op == SN_OP_DIV)
        inner = step_scale(scores, node);
    else if (node->op == SN_OP_TANH)
        inner = step_tanh(scores, node);
    /* A mask must not widen the scores. */
    return inner && sn_type_equal(inner->type, node->output[0]->type) ? inner : NULL;
}

/* Follows the softmax's input to the product; false when something else stands between. */
static bool follow(Builder *b, Value *value, Scores *scores) {
    for (int steps = 0; steps < MAX_STEPS && value && value->producer; steps++) {
        Node *node = value->producer;
        if (node->op == SN_OP_MATMUL) {
            scores->type = node->output[0]->type;
            scores->q = node->input[0];
            scores->transposed_k = node->input[1];
            return true;
        }
        value = step(b, scores, node);
    }
    return false;
}

/* q · c or k · c, or divided: the constant joins the scale. */
static Value *take_factor(Value *value, double *scale) {
    Node *mul = made_by(value, SN_OP_MUL), *div = made_by(value, SN_OP_DIV);
    double number;
    Value *inner = mul ? sn_other_than_splat(mul, &number) : NULL;
    if (div && sn_value_is_splat(div->input[1], &number) && number != 0)
        inner = div->input[0], number = 1 / number;
    if (!inner || !sn_type_equal(inner->type, value->type)) return value;
    *scale *= number;
    return inner;
}

/* ---- grouped heads ---- */

/* The divisor r of an (axis 1 floordiv r) in the map, or 0. */
static int64_t head_divisor(const IndexMap *map, Dim head) {
    for (int i = 0; i < map->source_rank; i++) {
        Dim index = map->index[i];
        int64_t divisor;
        if (index->kind == SN_DIM_FLOORDIV && index->operand[0] == head &&
            sn_dim_is(index->operand[1], &divisor))
            return divisor;
    }
    return 0;
}

/* v [B, H, T, X], which shows each of G heads H/G times, as the view of those G heads; or v itself. */
static Value *group_heads(Builder *b, Value *v) {
    Dims *dims = b->graph->dims;
    Arena *arena = b->graph->arena;
    Value *source = v;
    IndexMap map = sn_view_identity(dims, arena, 4, v->type.dim);
    for (Node *view; (view = made_by(source, SN_OP_VIEW)); source = view->input[0])
        map = sn_view_compose(dims, arena, &map, view->attr);
    Dim head = sn_dim_axis(dims, 1, v->type.dim[1]), heads;
    int64_t repeat = head_divisor(&map, head);
    if (repeat < 2 || !sn_dim_divides(dims, sn_dim(dims, repeat), v->type.dim[1], &heads)) return v;
    Dim group = sn_dim_axis(dims, 1, heads), copy = sn_dim_axis(dims, 4, sn_dim(dims, repeat));
    Dim any = sn_dim_add(dims, sn_dim_mulc(dims, group, repeat), copy);
    Dim *extent = SN_ARRAY(arena, Dim, 4), *index = SN_ARRAY(arena, Dim, map.source_rank);
    memcpy(extent, v->type.dim, 4 * sizeof *extent);
    extent[1] = heads;
    for (int i = 0; i < map.source_rank; i++) {
        index[i] = sn_dim_replace(dims, map.index[i], &head, &any, 1);
        if (sn_dim_depends(index[i], copy)) return v; /* the copies differ */
    }
    AttrView attr = {4, extent, map.source_rank, index};
    return sn_build1(b, SN_OP_VIEW, &attr, source);
}

/* ---- building ---- */

/* [B·H, S, X] as [B, H, S, X], where a view has batch and head apart; 1 in the place of B·H is so of both. */
static Value *apart(Builder *b, const Scores *scores, Value *value) {
    if (!value || !scores->lead[0] || value->type.rank != 3) return value;
    const Dim *dim = value->type.dim;
    bool one = sn_dim_equals(dim[0], 1);
    Dim extent[4] = {one ? dim[0] : scores->lead[0], one ? dim[0] : scores->lead[1], dim[1], dim[2]};
    return sn_build_reshape(b, value, 4, extent);
}

/* Brings all that the scores are made of to the same axes; false: they do not agree. */
static bool set_apart(Builder *b, Scores *scores) {
    Type *type = &scores->type;
    if (!scores->lead[0]) return true;
    if (type->rank == 4 && !set_lead(scores, *type)) return false;
    for (int i = 0; i < scores->mask_count; i++)
        if (scores->mask[i].rank == 3) scores->mask[i].value = apart(b, scores, scores->mask[i].value);
    scores->q = apart(b, scores, scores->q);
    scores->transposed_k = apart(b, scores, scores->transposed_k);
    Dim *dim = SN_ARRAY(b->graph->arena, Dim, 4);
    memcpy(dim, scores->lead, sizeof scores->lead);
    memcpy(dim + 2, type->dim + type->rank - 2, 2 * sizeof *dim);
    type->rank = 4, type->dim = dim;
    return !b->status;
}

/* [N, S, X] as [N, 1, S, X] */
static Value *with_head_axis(Builder *b, Value *value) {
    if (!value || value->type.rank == 4) return value;
    Dim extent[4] = {value->type.dim[0], sn_dim(b->graph->dims, 1), value->type.dim[1], value->type.dim[2]};
    return sn_build_reshape(b, value, 4, extent);
}

/* What the mask makes of the bias inside it (NULL: none). */
static Value *apply_mask(Builder *b, const Mask *mask, Value *inner, DType dtype) {
    if (!mask->select) return inner ? sn_build2(b, SN_OP_ADD, NULL, mask->value, inner) : mask->value;
    if (!inner) inner = sn_build_scalar(b, dtype, 0);
    return sn_build3(b, SN_OP_WHERE, NULL, mask->value, inner, sn_build_scalar(b, dtype, mask->fill));
}

/* All masks as one bias, or the causal attribute when there is one mask and it is that. */
static Value *combine_masks(Builder *b, Scores *scores, AttrAttention *attr, int rank) {
    Graph *graph = b->graph;
    const Mask *outer = &scores->mask[0];
    bool lone = scores->mask_count == 1, infinite = outer->select && outer->fill == -INFINITY;
    if (lone && sn_mask_is_causal(graph, outer->value, scores->type, &attr->offset)) {
        /* A row that sees nothing is NaN, which only an infinite fill gives. */
        attr->causal = infinite || sn_dim_le(graph->dims, sn_dim(graph->dims, 0), attr->offset);
        if (attr->causal) return NULL;
    }
    attr->offset = NULL;
    Value *bias = lone && infinite ? outer->value : NULL;
    for (int i = scores->mask_count - 1; i >= 0 && !(lone && infinite); i--)
        bias = apply_mask(b, &scores->mask[i], bias, scores->type.dtype);
    if (!bias || rank == 4 || bias->type.rank < 3) return bias;
    return with_head_axis(b, bias);
}

/* softmax(…), or where(isnan(softmax), 0, softmax) as scaled_dot_product_attention is exported. */
static Node *softmax_of(Value *value, bool *zero_rows) {
    Node *where = made_by(value, SN_OP_WHERE);
    double zero;
    *zero_rows = false;
    if (where && sn_value_is_splat(where->input[1], &zero) && zero == 0) {
        Node *test = made_by(where->input[0], SN_OP_ISNAN);
        if (!test || test->input[0] != where->input[2]) return NULL;
        *zero_rows = true;
        value = where->input[2];
    }
    Node *softmax = made_by(value, SN_OP_SOFTMAX);
    if (!softmax || ((const AttrAxis *)softmax->attr)->axis != value->type.rank - 1) return NULL;
    return sn_value_use_count(value) == (*zero_rows ? 2 : 1) ? softmax : NULL;
}

/* k or v has q's batches, and q's heads or one that they all share. */
static bool fits_batch(const Value *q, const Value *other) {
    int rank = q->type.rank;
    if (other->type.dim[0] != q->type.dim[0]) return false;
    return rank == 3 || other->type.dim[1] == q->type.dim[1] || sn_dim_equals(other->type.dim[1], 1);
}

/* A dropout of the training at hand, whose mask nobody else wants; the CPU's kernel can make it for itself. */
static bool drops(const Pass *pass, const Node *node) {
    if (node->op != SN_OP_DROPOUT || pass->target->kind != SN_TARGET_CPU) return false;
    bool shown = node->output_count > 1 && sn_value_use_count(node->output[1]) > 0;
    return ((const AttrDropout *)node->attr)->number && node->input_count == 1 && !shown;
}

/* The softmax's result where the node multiplies it by v, as it is, regrouped, or with some of it dropped. */
static Value *weights_of(Pass *pass, Dims *dims, Scores *scores, const Node *node, AttrAttention *attr) {
    Value *weights = node->input[0];
    while (weights && weights->producer && sn_value_use_count(weights) == 1) {
        Node *from = weights->producer;
        if (regroups(dims, from)) {
            weights = step_view(scores, from);
        } else if (!attr->number && drops(pass, from)) {
            const AttrDropout *dropout = from->attr;
            attr->dropout = dropout->ratio, attr->number = dropout->number;
            weights = from->input[0];
        } else {
            break;
        }
    }
    return weights;
}

Value *sn_recognise_attention(Pass *pass, Builder *b, Node *node) {
    AttrAttention attr = {0};
    Scores scores = {.scale = 1};
    Node *softmax = softmax_of(weights_of(pass, b->graph->dims, &scores, node, &attr), &attr.zero_rows);
    if (!softmax || !follow(b, softmax->input[0], &scores)) return NULL;
    scores.q = take_factor(scores.q, &scores.scale);
    scores.transposed_k = take_factor(scores.transposed_k, &scores.scale);
    if (!set_apart(b, &scores)) return NULL;
    Value *v = apart(b, &scores, node->input[1]), *k = scores.transposed_k;
    int rank = scores.type.rank;
    if ((rank != 3 && rank != 4) || !v || v->type.rank != rank || k->type.rank != rank ||
        scores.q->type.rank != rank)
        return NULL;
    if (!fits_batch(scores.q, k) || !fits_batch(scores.q, v)) {
        sn_pass_remark(pass, node->origin, false, "attention with broadcast batch axes stays as it is");
        return NULL;
    }
    attr.scale = scores.outer == 0 ? scores.scale : scores.scale * scores.outer;
    attr.softcap = scores.outer;
    Value *bias = combine_masks(b, &scores, &attr, rank);
    if (scores.needs_causal && !attr.causal) return NULL;
    static const int swap3[] = {0, 2, 1}, swap4[] = {0, 1, 3, 2};
    k = with_head_axis(b, sn_build_transpose(b, k, rank == 3 ? swap3 : swap4));
    v = with_head_axis(b, v);
    if (!k || !v) return NULL;
    Value *input[4] = {with_head_axis(b, scores.q), group_heads(b, k), group_heads(b, v), bias};
    if (input[1]->type.dim[1] != input[2]->type.dim[1]) input[1] = k, input[2] = v;
    if (input[1]->type.dim[1] != input[2]->type.dim[1]) return NULL;
    Value *out = sn_build(b, SN_OP_ATTENTION, &attr, bias ? 4 : 3, input);
    return out ? sn_build_reshape(b, out, node->output[0]->type.rank, node->output[0]->type.dim) : NULL;
}

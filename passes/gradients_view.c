/* The gradient of an index map.
 *
 * A bijection is undone by its inverse. Otherwise the output's axes are split at the divisors that the indices
 * use, so that every index becomes start + Σ stride·digit over digits of its own: a number written in a mixed radix.
 * Digits that no index uses were broadcast, and are summed; the others are put in the order of the source's axes and
 * each source axis is built up from its innermost digit, padded with zeros where the map skips elements. What
 * is not of that form (an axis that reads a diagonal, say) is scattered by address. */
#include "gradients.h"
#include "view.h"

enum { MAX_DIGITS = 24 };

/* One digit of an output axis. */
typedef struct Digit {
    Dim extent;
    Dim axis;   /* its loop variable */
    int source; /* the source axis whose index has it; -1: none */
    Dim stride; /* in that index */
} Digit;

typedef struct Split {
    Grad *g;
    Dims *dims;
    const AttrView *view;
    Type source;
    SN_VEC(Dim) cut[SN_MAX_RANK]; /* by output axis: divisors but 1, each dividing the next */
    Digit digit[MAX_DIGITS];      /* outermost first, axis by axis */
    int count;
    Dim start[SN_MAX_RANK]; /* by source axis */
} Split;

/* ---- splitting the output's axes ---- */

/* `dim` as axis floordiv divisor (1 for the axis alone). */
static bool quotient_of_axis(Dims *dims, Dim dim, int *axis, Dim *divisor) {
    *divisor = sn_dim(dims, 1);
    if (dim->kind == SN_DIM_FLOORDIV) {
        *divisor = dim->operand[1];
        dim = dim->operand[0];
    }
    if (dim->kind != SN_DIM_AXIS || sn_dim_has_axis(*divisor)) return false;
    *axis = (int)dim->value;
    return true;
}

/* Puts `at` among the divisors of an axis; false when one of two neighbours does not divide the other. */
static bool add_cut(Split *s, int axis, Dim at) {
    Dim ratio;
    int k = 0;
    if (sn_dim_equals(at, 1)) return true;
    for (; k < s->cut[axis].count; k++) {
        if (s->cut[axis].at[k] == at) return true;
        if (sn_dim_divides(s->dims, at, s->cut[axis].at[k], &ratio)) break;
    }
    if (k > 0 && !sn_dim_divides(s->dims, s->cut[axis].at[k - 1], at, &ratio)) return false;
    sn_push(s->g->scratch, &s->cut[axis], at);
    Dim *list = s->cut[axis].at;
    for (int i = s->cut[axis].count - 1; i > k; i--) list[i] = list[i - 1];
    list[k] = at;
    return true;
}

static bool find_cuts(Split *s, Dim dim) {
    int axis;
    Dim divisor;
    if (dim->kind == SN_DIM_FLOORDIV && sn_dim_has_axis(dim))
        return quotient_of_axis(s->dims, dim, &axis, &divisor) && add_cut(s, axis, divisor);
    if (dim->kind == SN_DIM_MOD && sn_dim_has_axis(dim)) {
        if (!quotient_of_axis(s->dims, dim->operand[0], &axis, &divisor)) return false;
        return !sn_dim_has_axis(dim->operand[1]) && add_cut(s, axis, divisor) &&
               add_cut(s, axis, sn_dim_mul(s->dims, divisor, dim->operand[1]));
    }
    for (int k = 0; k < dim->count; k++)
        if (dim->kind != SN_DIM_AXIS && !find_cuts(s, dim->operand[k])) return false;
    return true;
}

static bool add_digit(Split *s, Dim extent) {
    if (s->count == MAX_DIGITS) return false;
    s->digit[s->count] = (Digit){extent, sn_dim_axis(s->dims, s->count, extent), -1, NULL};
    s->count++;
    return true;
}

/* The digits of output axis `a`, and what the axis is over them. */
static bool split_axis(Split *s, int a, Dim *whole) {
    Dim above = s->view->extent[a], ratio;
    *whole = sn_dim(s->dims, 0);
    for (int k = s->cut[a].count; k >= 0; k--) {
        Dim below = k > 0 ? s->cut[a].at[k - 1] : sn_dim(s->dims, 1);
        if (!sn_dim_divides(s->dims, below, above, &ratio) || !add_digit(s, ratio)) return false;
        Dim part = sn_dim_mul(s->dims, s->digit[s->count - 1].axis, below);
        *whole = sn_dim_add(s->dims, *whole, part);
        above = below;
    }
    return true;
}

/* Writes index `k` of the source as start + Σ stride·digit, each digit in one index only. */
static bool read_index(Split *s, int k, Dim index) {
    for (int d = 0; d < s->count; d++) {
        Dim stride, rest;
        if (s->digit[d].axis->kind != SN_DIM_AXIS || !sn_dim_depends(index, s->digit[d].axis)) continue;
        if (s->digit[d].source >= 0 || !sn_dim_affine(s->dims, index, s->digit[d].axis, &stride, &rest) ||
            sn_dim_has_axis(stride))
            return false;
        s->digit[d].source = k;
        s->digit[d].stride = stride;
        index = rest;
    }
    s->start[k] = index;
    return !sn_dim_has_axis(index);
}

static bool split(Split *s) {
    const AttrView *view = s->view;
    Dim *axes = sn_view_axes(s->dims, s->g->scratch, view->rank, view->extent), whole[SN_MAX_RANK];
    for (int k = 0; k < view->source_rank; k++)
        if (!find_cuts(s, view->index[k])) return false;
    for (int a = 0; a < view->rank; a++)
        if (!split_axis(s, a, &whole[a])) return false;
    if (s->count > SN_MAX_RANK) return false;
    for (int k = 0; k < view->source_rank; k++)
        if (!read_index(s, k, sn_dim_replace(s->dims, view->index[k], axes, whole, view->rank))) return false;
    return true;
}

/* ---- building the source's axes up ---- */

/* One step in building a source axis: its next digit, padded to `window` from `before` on, goes around what there
 * is already. */
typedef struct Level {
    int digit; /* -1: an axis of extent 1 that is added */
    bool flip;
    Dim before, window;
} Level;

typedef struct Plan {
    Level level[SN_MAX_RANK][MAX_DIGITS]; /* innermost first */
    int count[SN_MAX_RANK];
} Plan;

/* The digits of a source axis by stride, smallest first; false when an order is not proven. */
static bool order_digits(Split *s, int k, int *list, int *count) {
    *count = 0;
    for (int d = 0; d < s->count; d++) {
        if (s->digit[d].source != k) continue;
        int at = (*count)++;
        for (; at > 0 && sn_dim_le(s->dims, s->digit[d].stride, s->digit[list[at - 1]].stride); at--)
            list[at] = list[at - 1];
        list[at] = d;
        if (at > 0 && !sn_dim_le(s->dims, s->digit[list[at - 1]].stride, s->digit[d].stride)) return false;
    }
    return true;
}

/* A digit that counts down is turned round. */
static void turn_digits(Split *s, bool *flip) {
    for (int d = 0; d < s->count; d++) {
        Digit *digit = &s->digit[d];
        flip[d] = digit->source >= 0 && sn_dim_lt(s->dims, digit->stride, sn_dim(s->dims, 0));
        if (!flip[d]) continue;
        Dim last = sn_dim_addc(s->dims, digit->extent, -1);
        s->start[digit->source] =
            sn_dim_add(s->dims, s->start[digit->source], sn_dim_mul(s->dims, digit->stride, last));
        digit->stride = sn_dim_mulc(s->dims, digit->stride, -1);
    }
}

/* Appends a level: `extent` elements, `stride` apart, up to where the next stride (or the axis' end) is. */
static bool add_level(Split *s, Plan *plan, int k, Level level, Dim extent, Dim stride, Dim next, bool last) {
    Dims *dims = s->dims;
    Dim window = sn_dim_ceildiv(dims, next, stride), exact;
    if (!last && !sn_dim_divides(dims, stride, next, &exact)) return false;
    level.before = sn_dim_floordiv(dims, s->start[k], stride);
    if (!last) level.before = sn_dim_mod(dims, level.before, exact);
    level.window = last ? window : exact;
    Dim end = sn_dim_add(dims, level.before, extent);
    if (!sn_dim_le(dims, end, level.window) || !sn_dim_le(dims, sn_dim(dims, 0), level.before)) return false;
    plan->level[k][plan->count[k]++] = level;
    return true;
}

static bool plan_axis(Split *s, Plan *plan, int k, const bool *flip) {
    int list[MAX_DIGITS], count;
    Dim one = sn_dim(s->dims, 1), extent = s->source.dim[k];
    if (!order_digits(s, k, list, &count)) return false;
    bool unit = count > 0 && sn_dim_equals(s->digit[list[0]].stride, 1);
    if (!unit) {
        Dim next = count > 0 ? s->digit[list[0]].stride : extent;
        if (!add_level(s, plan, k, (Level){.digit = -1}, one, one, next, count == 0)) return false;
    }
    for (int i = 0; i < count; i++) {
        const Digit *digit = &s->digit[list[i]];
        bool last = i + 1 == count;
        Dim next = last ? extent : s->digit[list[i + 1]].stride;
        Level level = {.digit = list[i], .flip = flip[list[i]]};
        if (!add_level(s, plan, k, level, digit->extent, digit->stride, next, last)) return false;
    }
    return true;
}

static bool plan_axes(Split *s, Plan *plan) {
    bool flip[MAX_DIGITS];
    turn_digits(s, flip);
    for (int k = 0; k < s->source.rank; k++)
        if (!plan_axis(s, plan, k, flip)) return false;
    return true;
}

/* ---- building ---- */

/* dy as a tensor with an axis a digit, summed over those that no index has, the others by source axis. */
static Value *digits_in_order(Split *s, const Plan *plan, Value *dy) {
    Builder *b = &s->g->b;
    Dim extent[SN_MAX_RANK];
    int permutation[SN_MAX_RANK], rank = 0;
    int64_t axes[SN_MAX_RANK];
    AttrReduce sum = {0, axes};
    for (int d = 0; d < s->count; d++) extent[d] = s->digit[d].extent;
    dy = sn_build_reshape(b, dy, s->count, extent);
    for (int k = 0; k < s->source.rank; k++)
        for (int l = plan->count[k] - 1; l >= 0; l--)
            if (plan->level[k][l].digit >= 0) permutation[rank++] = plan->level[k][l].digit;
    for (int d = 0; d < s->count; d++) {
        if (s->digit[d].source >= 0) continue;
        permutation[rank++] = d;
        if (!sn_dim_equals(s->digit[d].extent, 1)) axes[sum.count++] = d;
    }
    if (dy && sum.count > 0) {
        dy = sn_build_cast(b, dy, accumulator_dtype(dy->type.dtype));
        dy = dy ? sn_build1(b, SN_OP_REDUCE_SUM, &sum, dy) : NULL;
    }
    return dy ? sn_build_transpose(b, dy, permutation) : NULL;
}

/* x with its axis at `before` of one of extent `window`, zeros around it. */
static Value *pad_axis(Builder *b, Value *x, int axis, Dim before, Dim window) {
    Dims *dims = b->graph->dims;
    if (!x || x->type.dim[axis] == window) return x;
    Dim left[SN_MAX_RANK], right[SN_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) left[i] = right[i] = sn_dim(dims, 0);
    left[axis] = before;
    right[axis] = sn_dim_sub(dims, window, sn_dim_add(dims, before, x->type.dim[axis]));
    return sn_build1(b, SN_OP_PAD, &(AttrPad){x->type.rank, left, right, 0}, x);
}

static Value *flip_axis(Builder *b, Value *x, int axis) {
    if (!x) return NULL;
    Dim extent = x->type.dim[axis];
    return sn_build_slice(b, x, axis, sn_dim_addc(b->graph->dims, extent, -1), extent, -1);
}

/* x with axes [first, first + 2) as one. */
static Value *merge_axes(Builder *b, Value *x, int first) {
    if (!x) return NULL;
    Dim extent[SN_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->type.rank; i++) {
        bool second = i == first + 1;
        extent[rank - second] =
            second ? sn_dim_mul(b->graph->dims, extent[rank - 1], x->type.dim[i]) : x->type.dim[i];
        rank += !second;
    }
    return sn_build_reshape(b, x, rank, extent);
}

/* x with an axis of extent 1 put in before `axis`. */
static Value *insert_axis(Builder *b, Value *x, int axis) {
    if (!x) return NULL;
    Dim extent[SN_MAX_RANK + 1];
    for (int i = 0, k = 0; i <= x->type.rank; i++)
        extent[i] = i == axis ? sn_dim(b->graph->dims, 1) : x->type.dim[k++];
    return sn_build_reshape(b, x, x->type.rank + 1, extent);
}

/* Source axis k is built at `axis`: the outer digits lie before the inner ones. */
static Value *build_axis(Split *s, const Plan *plan, int k, Value *x, int axis) {
    Builder *b = &s->g->b;
    int outer = 0;
    for (int l = 0; l < plan->count[k]; l++) outer += plan->level[k][l].digit >= 0;
    for (int l = 0; l < plan->count[k]; l++) {
        const Level *level = &plan->level[k][l];
        bool fresh = level->digit < 0;
        int own = fresh ? axis + outer : axis + --outer;
        if (fresh) x = insert_axis(b, x, own);
        if (level->flip) x = flip_axis(b, x, own);
        x = pad_axis(b, x, own, level->before, level->window);
        if (l > 0) x = merge_axes(b, x, own);
    }
    Dim extent = s->source.dim[k];
    if (!x || x->type.dim[axis] == extent) return x;
    return sn_build_slice(b, x, axis, sn_dim(s->dims, 0), extent, 1);
}

static Value *undo_split(Split *s, const Plan *plan, Value *dy) {
    Value *x = digits_in_order(s, plan, dy);
    /* Summed digits lie last, with extent 1. */
    Dim extent[SN_MAX_RANK];
    int rank = 0;
    for (int i = 0; x && i < x->type.rank; i++) extent[i] = x->type.dim[i];
    for (int d = 0; d < s->count; d++) rank += s->digit[d].source >= 0;
    x = x ? sn_build_reshape(&s->g->b, x, rank, extent) : NULL;
    for (int k = 0; k < s->source.rank; k++) x = build_axis(s, plan, k, x, k);
    return x;
}

/* ---- by address ---- */

static Value *index_value(Builder *b, const AttrView *view, Dim dim);

/* Operands of index arithmetic, one after the other. */
static Value *fold_values(Builder *b, const AttrView *view, Dim dim, OpCode op) {
    Value *x = index_value(b, view, dim->operand[0]);
    for (int i = 1; i < dim->count && x; i++) x = op2(b, op, x, index_value(b, view, dim->operand[i]));
    return x;
}

static Value *sum_value(Builder *b, const AttrView *view, Dim dim) {
    Dims *dims = b->graph->dims;
    Dim constant = sn_dim(dims, dim->value);
    Value *x = sn_build_dims(b, 1, &constant, true);
    for (int i = 0; i < dim->count && x; i++) {
        Dim factor = sn_dim(dims, dim->coefficient[i]);
        Value *term = index_value(b, view, dim->operand[i]);
        x = op2(b, SN_OP_ADD, x, op2(b, SN_OP_MUL, term, sn_build_dims(b, 1, &factor, true)));
    }
    return x;
}

/* x floordiv y = (x − x mod y) / y, exactly */
static Value *quotient_value(Builder *b, const AttrView *view, Dim dim) {
    Value *x = index_value(b, view, dim->operand[0]), *y = index_value(b, view, dim->operand[1]);
    return op2(b, SN_OP_DIV, op2(b, SN_OP_SUB, x, op2(b, SN_OP_MOD, x, y)), y);
}

/* x ceildiv y = (x + y − 1) floordiv y */
static Value *ceiling_value(Builder *b, const AttrView *view, Dim dim) {
    Value *x = index_value(b, view, dim->operand[0]), *y = index_value(b, view, dim->operand[1]);
    Value *up = op_scalar(b, SN_OP_SUB, op2(b, SN_OP_ADD, x, y), 1);
    return op2(b, SN_OP_DIV, op2(b, SN_OP_SUB, up, op2(b, SN_OP_MOD, up, y)), y);
}

static Value *axis_value(Builder *b, const AttrView *view, Dim dim) {
    return sn_build_positions(b, SN_I64, dim->operand[0], view->rank - 1 - (int)dim->value);
}

/* What an index expression over the view's axes is at each element, broadcastable to the view's shape. */
static Value *index_value(Builder *b, const AttrView *view, Dim dim) {
    static const OpCode op[] = {
        [SN_DIM_PRODUCT] = SN_OP_MUL, [SN_DIM_MOD] = SN_OP_MOD,      [SN_DIM_MIN] = SN_OP_MIN,
        [SN_DIM_MAX] = SN_OP_MAX,     [SN_DIM_TRUNCDIV] = SN_OP_DIV, [SN_DIM_FLOORDIV] = SN_OP_DIV};
    if (b->status) return NULL;
    if (!sn_dim_has_axis(dim)) return sn_build_dims(b, 1, &dim, true);
    if (dim->kind == SN_DIM_SUM) return sum_value(b, view, dim);
    if (dim->kind == SN_DIM_AXIS) return axis_value(b, view, dim);
    if (dim->kind == SN_DIM_FLOORDIV) return quotient_value(b, view, dim);
    if (dim->kind == SN_DIM_CEILDIV) return ceiling_value(b, view, dim);
    return fold_values(b, view, dim, op[dim->kind]);
}

Value *sn_gradient_scatter(Builder *b, Value *index, Value *dy, Dim rows, Dim columns) {
    if (!index || !dy) return NULL;
    Dim count = sn_type_count(b->graph->dims, index->type), shape[2] = {count, columns};
    Value *list = sn_build_reshape(b, sn_build_cast(b, index, SN_I64), 1, &count);
    Value *update = sn_build_reshape(b, sn_build_cast(b, dy, accumulator_dtype(dy->type.dtype)), 2, shape);
    return sn_build2(b, SN_OP_SCATTER_ADD, &(AttrScatter){rows}, list, update);
}

static Value *scatter_by_address(Grad *g, const AttrView *view, Type source, Value *dy) {
    Builder *b = &g->b;
    Dims *dims = b->graph->dims;
    Value *at = index_value(b, view, sn_view_linear(dims, view, source.dim));
    at = at ? sn_build_expand(b, at, view->rank, view->extent) : NULL;
    Value *sum = at ? sn_gradient_scatter(b, at, dy, sn_type_count(dims, source), sn_dim(dims, 1)) : NULL;
    return sum ? sn_build_reshape(b, sum, source.rank, source.dim) : NULL;
}

Value *sn_gradient_of_view(Grad *g, const AttrView *view, Type source, Value *dy) {
    Dims *dims = g->b.graph->dims;
    IndexMap inverse;
    if (sn_view_invert(dims, g->b.graph->arena, view, source.dim, &inverse))
        return sn_build1(&g->b, SN_OP_VIEW, &inverse, dy);
    Split s = {.g = g, .dims = dims, .view = view, .source = source};
    Plan *plan = SN_NEW(g->scratch, Plan);
    if (split(&s) && plan_axes(&s, plan)) return undo_split(&s, plan, dy);
    return scatter_by_address(g, view, source, dy);
}

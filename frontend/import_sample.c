/* Grids of points, and samples of a tensor at such points. */
#include "import_sample.h"
#include "import_compose.h"

#include <math.h>
#include <string.h>

enum { MOST_SPATIAL = 3, MOST_TAPS = 4 };

/* ---- grids ---- */

/* The coordinates of `extent` points in [-1, 1]: of the outermost points, or of the centres of as many parts. */
static Value *spread_points(Call *c, Dim extent, DType dtype, bool corners) {
    Value *i = count_up(c, SN_F64, extent, 0), *n = size_number(c, extent, SN_F64);
    Value *twice = op_number(c, SN_OP_MUL, i, 2);
    if (!corners) twice = op_number(c, SN_OP_ADD, twice, 1);
    Value *steps = corners ? op_number(c, SN_OP_MAX, op_number(c, SN_OP_SUB, n, 1), 1) : n;
    return as_type(c, op_number(c, SN_OP_SUB, op2(c, SN_OP_DIV, twice, steps), 1), dtype);
}

/* theta [N, n, n+1] times the points (x, y, …, 1) of [N, C, …, H, W]: [N, …, H, W, n]. */
Value *sn_import_affine_grid(Call *c) {
    Value *theta = c->input[0];
    bool corners = sn_call_int(c, "align_corners", 0) != 0;
    int count;
    const Dim *size = sn_call_dims(c, c->input[1], "size", &count);
    if (sn_call_failed(c)) return NULL;
    int n = count - 2;
    if (n < 2 || n > MOST_SPATIAL || theta->type.rank != 3)
        return sn_call_invalid(c, "a size of %d extents", count);
    Dim extent[MOST_SPATIAL + 1], rows = sn_dim(c->dims, 1), one = sn_dim(c->dims, 1);
    for (int k = 0; k < n; k++) extent[k] = size[2 + k], rows = sn_dim_mul(c->dims, rows, size[2 + k]);
    extent[n] = one;
    Value *part[MOST_SPATIAL + 1];
    for (int k = 0; k < n; k++) { /* x runs along the last axis */
        Value *points = spread_points(c, extent[n - 1 - k], theta->type.dtype, corners);
        part[k] = expanded(c, sn_call_unsqueeze(c, points, 1, k + 1), n + 1, extent);
    }
    part[n] = expanded(c, sn_call_scalar(c, theta->type.dtype, 1), n + 1, extent);
    Value *points = reshaped(c, joined(c, n, n + 1, part), 2, (Dim[]){rows, sn_dim(c->dims, n + 1)});
    Value *grid = op2(c, SN_OP_MATMUL, points, sn_call_swap(c, theta, 1, 2));
    Dim whole[MOST_SPATIAL + 2] = {size[0]};
    for (int k = 0; k < n; k++) whole[1 + k] = extent[k];
    whole[n + 1] = sn_dim(c->dims, n);
    return reshaped(c, grid, n + 2, whole);
}

/* ---- samples ---- */

typedef enum Beyond { ZEROS, BORDER, REFLECTION, BEYONDS } Beyond;

typedef struct Sampler {
    int n, taps; /* taps: neighbours on an axis */
    Beyond beyond;
    bool corners;
    Value *x; /* [N, spatial…, C] in the type of sums */
    const Dim *extent;
} Sampler;

Value *sn_sample_at_most(Call *c, Value *x, Value *top) {
    if (sn_call_failed(c)) return NULL;
    Value *zero = sn_call_scalar(c, x->type.dtype, 0), *inside = op2(c, SN_OP_MIN, x, top);
    return choose(c, op2(c, SN_OP_LESS, zero, inside), inside, zero);
}

/* A coordinate thrown back at both ends, which are the outermost points or lie half a step beyond them. */
static Value *reflected(Call *c, Value *x, Dim extent, bool corners) {
    DType dtype = sn_call_failed(c) ? SN_F32 : x->type.dtype;
    Value *n = size_number(c, extent, dtype);
    Value *span = corners ? op_number(c, SN_OP_MAX, op_number(c, SN_OP_SUB, n, 1), 1) : n;
    double low = corners ? 0 : -0.5;
    Value *away = op1(c, SN_OP_ABS, op_number(c, SN_OP_SUB, x, low));
    Value *twice = op_number(c, SN_OP_MUL, span, 2);
    Value *turns = op1(c, SN_OP_FLOOR, op2(c, SN_OP_DIV, away, twice));
    Value *rest = op2(c, SN_OP_SUB, away, op2(c, SN_OP_MUL, turns, twice));
    Value *inside = op2(c, SN_OP_MIN, rest, op2(c, SN_OP_SUB, twice, rest));
    return op_number(c, SN_OP_ADD, inside, low);
}

/* Where an index (a whole number in a float) is taken from, and whether it counts; *live is NULL where all do. */
static Value *taken_from(Call *c, const Sampler *s, Value *index, int axis, Value **live) {
    Value *top = op_number(c, SN_OP_SUB, size_number(c, s->extent[axis], s->x->type.dtype), 1);
    *live = NULL;
    if (s->beyond == REFLECTION) index = reflected(c, index, s->extent[axis], s->corners);
    if (s->beyond == ZEROS)
        *live = op2(c, SN_OP_AND, op2(c, SN_OP_LESS_EQUAL, sn_call_scalar(c, s->x->type.dtype, 0), index),
                    op2(c, SN_OP_LESS_EQUAL, index, top));
    return as_type(c, sn_sample_at_most(c, index, top), SN_I64);
}

/* The weights of the four neighbours of a point `t` behind the second one. Keys (1981), a = -0.75. */
static void cubic_weights(Call *c, Value *t, Value **weight) {
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        Value *d = op1(c, SN_OP_ABS, op_number(c, SN_OP_ADD, t, 1 - k)), *square = op2(c, SN_OP_MUL, d, d);
        bool inner = k == 1 || k == 2;
        Value *w = inner ? op_number(c, SN_OP_SUB, op_number(c, SN_OP_MUL, d, a + 2), a + 3)
                         : op_number(c, SN_OP_MUL, op_number(c, SN_OP_SUB, d, 5), a);
        w = inner ? op2(c, SN_OP_MUL, w, square)
                  : op2(c, SN_OP_MUL, op_number(c, SN_OP_ADD, op2(c, SN_OP_MUL, w, d), 8 * a), d);
        weight[k] = op_number(c, SN_OP_ADD, w, inner ? 1 : -4 * a);
    }
}

/* One axis: [N, points…] of the indices of each neighbour and of its weight. */
typedef struct Side {
    Value *index[MOST_TAPS], *weight[MOST_TAPS];
} Side;

static Side side_of(Call *c, const Sampler *s, Value *at, int axis) {
    Side side = {0};
    Value *first = s->taps == 1 ? op1(c, SN_OP_ROUND, at) : op1(c, SN_OP_FLOOR, at);
    Value *t = op2(c, SN_OP_SUB, at, first);
    if (s->taps == 2)
        side.weight[0] = op2(c, SN_OP_SUB, sn_call_scalar(c, s->x->type.dtype, 1), t), side.weight[1] = t;
    if (s->taps == 4) cubic_weights(c, t, side.weight);
    for (int k = 0; k < s->taps; k++) {
        Value *live, *index = op_number(c, SN_OP_ADD, first, s->taps == 4 ? k - 1 : k);
        side.index[k] = taken_from(c, s, index, axis, &live);
        Value *one = s->taps == 1 ? sn_call_scalar(c, s->x->type.dtype, 1) : side.weight[k];
        side.weight[k] = live ? choose(c, live, one, sn_call_scalar(c, s->x->type.dtype, 0)) : one;
    }
    return side;
}

/* One neighbour, k[axis] of each axis: [N, points…, C]. */
static Value *term_of(Call *c, const Sampler *s, const Side *side, const int *k) {
    Value *part[MOST_SPATIAL], *weight = NULL;
    int rank = s->n + 1; /* of the points */
    for (int axis = 0; axis < s->n; axis++) {
        Value *w = side[axis].weight[k[axis]];
        part[axis] = sn_call_unsqueeze(c, side[axis].index[k[axis]], rank, 1);
        weight = axis ? op2(c, SN_OP_MUL, weight, w) : w;
    }
    Value *index = joined(c, rank, s->n, part);
    Value *x = sn_build2(c->builder, SN_OP_GATHER_ND, &(AttrGatherNd){1}, s->x, index);
    if (sn_call_failed(c)) return NULL;
    if (weight->type.rank == 0) return x;
    return op2(c, SN_OP_MUL, x, sn_call_unsqueeze(c, weight, rank, 1));
}

static Value *sampled(Call *c, const Sampler *s, Value *grid) {
    Side side[MOST_SPATIAL];
    int k[MOST_SPATIAL] = {0};
    Value *sum = NULL;
    for (int axis = 0; axis < s->n; axis++) { /* the grid's first coordinate is that of the last axis */
        Dim place = sn_dim(c->dims, s->n - 1 - axis);
        Value *at = sliced(c, grid, s->n + 1, place, sn_dim(c->dims, 1));
        at = sn_call_failed(c) ? NULL : reshaped(c, at, s->n + 1, at->type.dim);
        Value *n = size_number(c, s->extent[axis], s->x->type.dtype);
        at = op_number(c, SN_OP_ADD, at, 1);
        if (s->corners)
            at = op2(c, SN_OP_MUL, at, op_number(c, SN_OP_MUL, op_number(c, SN_OP_SUB, n, 1), 0.5));
        else
            at = op_number(c, SN_OP_SUB, op_number(c, SN_OP_MUL, op2(c, SN_OP_MUL, at, n), 0.5), 0.5);
        if (s->taps != 4 && s->beyond == REFLECTION) at = reflected(c, at, s->extent[axis], s->corners);
        if (s->taps != 4 && s->beyond != ZEROS) at = sn_sample_at_most(c, at, op_number(c, SN_OP_SUB, n, 1));
        side[axis] = side_of(c, s, at, axis);
    }
    do {
        Value *term = term_of(c, s, side, k);
        sum = sum ? op2(c, SN_OP_ADD, sum, term) : term;
        int axis = s->n - 1;
        while (axis >= 0 && ++k[axis] == s->taps) k[axis--] = 0;
        if (axis < 0) break;
    } while (!sn_call_failed(c));
    return sum;
}

Value *sn_import_grid_sample(Call *c) {
    static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear", "bicubic"};
    static const int taps[] = {1, 2, 4, 2, 4};
    static const char *const beyonds[BEYONDS] = {"zeros", "border", "reflection"};
    const char *mode = sn_call_string(c, "mode", "linear"),
               *beyond = sn_call_string(c, "padding_mode", "zeros");
    Value *x = c->input[0];
    int m = 0, b = 0, rank = x->type.rank, n = rank - 2, last[SN_MAX_RANK], back[SN_MAX_RANK];
    while (m < 5 && strcmp(mode, modes[m]) != 0) m++;
    while (b < BEYONDS && strcmp(beyond, beyonds[b]) != 0) b++;
    if (m == 5 || b == BEYONDS)
        return sn_call_invalid(c, "mode \"%.16s\", padding_mode \"%.16s\"", mode, beyond);
    if (n < 1 || n > MOST_SPATIAL) return sn_call_unsupported(c, "%d spatial axes", n);
    if (c->input[1]->type.rank != rank)
        return sn_call_invalid(c, "a grid of rank %d", c->input[1]->type.rank);
    DType dtype = x->type.dtype;
    if (!sn_dtype_is_float(dtype)) return sn_call_unsupported(c, "samples of %s", sn_dtype_name(dtype));
    for (int k = 0; k < rank; k++) {
        last[k] = k == 0 ? 0 : k == rank - 1 ? 1 : k + 1;
        back[k] = k == 0 ? 0 : k == 1 ? rank - 1 : k - 1;
    }
    Sampler s = {.n = n, .taps = taps[m], .beyond = (Beyond)b, .extent = x->type.dim + 2};
    s.corners = sn_call_int(c, "align_corners", 0) != 0;
    s.x = transposed(c, as_type(c, x, wide_type(dtype)), last);
    if (sn_call_failed(c)) return NULL;
    return as_type(c, transposed(c, sampled(c, &s, as_type(c, c->input[1], s.x->type.dtype)), back), dtype);
}

/* Resize and Upsample, an axis at a time: a weighted sum of a few neighbours, each fetched by a gather whose indices are
 * computed from the sizes (and folded where these are known). */
#include "import_compose.h"

#include <math.h>
#include <string.h>

enum { MOST_TAPS = 64 };

typedef enum Kind { NEAREST, LINEAR, CUBIC, KINDS } Kind;
typedef enum Coordinates {
    HALF_PIXEL,
    SYMMETRIC,
    PYTORCH,
    CORNERS,
    ASYMMETRIC,
    CROP,
    WHOLE_PIXEL,
    COORDINATES
} Coordinates;
typedef enum Rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL, ROUNDINGS } Rounding;

typedef struct Resize {
    Kind kind;
    Coordinates coordinates;
    Rounding rounding;
    double cubic, outside; /* the coefficient a; what lies outside of a crop */
    bool antialias, exclude;
} Resize;

/* One axis. */
typedef struct Axis {
    int number;
    Dim in, out;
    double scale;    /* 0: out/in, which is not known */
    bool exact;      /* the length is scale·in, of which out is the whole part */
    double from, to; /* of a crop, in parts of the axis */
} Axis;

/* ---- numbers that are constants, or lists of such ---- */

static bool number_at(Call *c, const Value *value, int64_t i, double *out);

static bool cast_number_at(Call *c, const Node *node, int64_t i, double *out) {
    DType dtype = node->output[0]->type.dtype;
    if (!number_at(c, node->input[0], i, out)) return false;
    if (dtype == SN_F32) *out = (float)*out;
    return dtype == SN_F32 || dtype == SN_F64 || (sn_dtype_is_int(dtype) && *out == trunc(*out));
}

/* Element i of a vector that is a view of a vector or of a single element. */
static bool viewed_number_at(Call *c, const Node *node, int64_t i, double *out) {
    const AttrView *view = node->attr;
    int64_t at = 0;
    if (view->rank != 1 || view->source_rank > 1) return false;
    Dim axis = sn_dim_axis(c->dims, 0, view->extent[0]), to = sn_dim(c->dims, i);
    if (view->source_rank && !sn_dim_is(sn_dim_replace(c->dims, view->index[0], &axis, &to, 1), &at))
        return false;
    return number_at(c, node->input[0], at, out);
}

static bool number_at(Call *c, const Value *value, int64_t i, double *out) {
    const Node *node = value->producer;
    int64_t known, extent;
    if (value->known) return sn_dim_is(value->known[i], &known) ? (*out = (double)known, true) : false;
    if (!node) return false;
    if (node->op == SN_OP_CAST) return cast_number_at(c, node, i, out);
    if (node->op == SN_OP_VIEW) return viewed_number_at(c, node, i, out);
    if (node->op == SN_OP_CONSTANT) {
        *out = sn_tensor_get(((const AttrConstant *)node->attr)->tensor, i);
        return true;
    }
    for (int k = 0; node->op == SN_OP_CONCAT && k < node->input_count; k++) {
        if (!sn_dim_is(node->input[k]->type.dim[0], &extent)) return false;
        if (i < extent) return number_at(c, node->input[k], i, out);
        i -= extent;
    }
    return false;
}

/* The numbers of an input, NULL where it is absent or empty. */
static const double *numbers_of(Call *c, int input, const char *what, int *count) {
    const Value *value = sn_call_input(c, input);
    int64_t extent;
    *count = 0;
    if (!value || sn_call_failed(c)) return NULL;
    if (value->type.rank != 1 || !sn_dim_is(value->type.dim[0], &extent) || extent > 2 * SN_MAX_RANK) {
        sn_call_unsupported(c, "%s of a shape that is not known", what);
        return NULL;
    }
    double *list = SN_ARRAY(c->import->scratch, double, extent);
    for (int64_t i = 0; i < extent; i++)
        if (!number_at(c, value, i, &list[i])) sn_call_depends(c, value, what);
    *count = (int)extent;
    return extent > 0 ? list : NULL;
}

/* ---- attributes ---- */

static int choice(Call *c, const char *name, int count, const char *const *names, const char *missing) {
    const char *text = sn_call_string(c, name, missing);
    for (int k = 0; k < count; k++)
        if (strcmp(text, names[k]) == 0) return k;
    sn_call_unsupported(c, "%s %.32s", name, text);
    return 0;
}

static Kind read_kind(Call *c) {
    static const char *const kinds[KINDS] = {"nearest", "linear", "cubic"};
    bool bilinear = strcmp(sn_call_string(c, "mode", "nearest"), "bilinear") == 0;
    return bilinear ? LINEAR : (Kind)choice(c, "mode", KINDS, kinds, "nearest");
}

static Resize read_resize(Call *c) {
    static const char *const coordinates[COORDINATES] = {
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",  "align_corners",
        "asymmetric", "tf_crop_and_resize",   "tf_half_pixel_for_nn"};
    static const char *const roundings[ROUNDINGS] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                                     "ceil"};
    Resize r = {.kind = read_kind(c)};
    r.coordinates =
        (Coordinates)choice(c, "coordinate_transformation_mode", COORDINATES, coordinates, "half_pixel");
    r.rounding = (Rounding)choice(c, "nearest_mode", ROUNDINGS, roundings, "round_prefer_floor");
    r.cubic = sn_call_float(c, "cubic_coeff_a", -0.75);
    r.outside = sn_call_float(c, "extrapolation_value", 0);
    r.exclude = sn_call_int(c, "exclude_outside", 0) != 0;
    r.antialias = sn_call_int(c, "antialias", 0) != 0 && r.kind != NEAREST;
    return r;
}

/* ---- coordinates ---- */

static Value *scalar(Call *c, double value) {
    return sn_call_scalar(c, SN_F64, value);
}

static Value *scale_of(Call *c, const Axis *a) {
    if (a->scale != 0) return scalar(c, a->scale);
    return op2(c, SN_OP_DIV, size_number(c, a->out, SN_F64), size_number(c, a->in, SN_F64));
}

/* The length of the result, not rounded. */
static Value *length_of(Call *c, const Axis *a) {
    Value *whole = size_number(c, a->exact ? a->in : a->out, SN_F64);
    return a->exact ? op_number(c, SN_OP_MUL, whole, a->scale) : whole;
}

/* numerator/(length − 1), which is only asked for at 0 where the length is 1. */
static Value *over_length(Call *c, Value *numerator, const Axis *a) {
    Value *steps = op_number(c, SN_OP_MAX, op_number(c, SN_OP_SUB, length_of(c, a), 1), 1e-6);
    return op2(c, SN_OP_DIV, numerator, steps);
}

static Value *cropped(Call *c, Value *y, const Axis *a) {
    Value *last = op_number(c, SN_OP_SUB, size_number(c, a->in, SN_F64), 1);
    Value *span = op_number(c, SN_OP_MUL, last, a->to - a->from);
    Value *single = op2(c, SN_OP_EQUAL, length_of(c, a), scalar(c, 1));
    Value *many = over_length(c, op2(c, SN_OP_MUL, y, span), a);
    Value *at = choose(c, single, op_number(c, SN_OP_MUL, span, 0.5), many);
    return op2(c, SN_OP_ADD, at, op_number(c, SN_OP_MUL, last, a->from));
}

/* Where in the axis each element of the result lies: f64 [out]. */
static Value *coordinates_of(Call *c, const Resize *r, const Axis *a) {
    Value *y = count_up(c, SN_F64, a->out, 0), *scale = scale_of(c, a);
    if (r->coordinates == CROP) return cropped(c, y, a);
    if (r->coordinates == ASYMMETRIC) return op2(c, SN_OP_DIV, y, scale);
    Value *in = size_number(c, a->in, SN_F64);
    if (r->coordinates == CORNERS)
        return over_length(c, op2(c, SN_OP_MUL, y, op_number(c, SN_OP_SUB, in, 1)), a);
    Value *x = op2(c, SN_OP_DIV, op_number(c, SN_OP_ADD, y, 0.5), scale);
    if (r->coordinates == WHOLE_PIXEL) return x;
    x = op_number(c, SN_OP_SUB, x, 0.5);
    if (r->coordinates == PYTORCH)
        return choose(c, op2(c, SN_OP_EQUAL, length_of(c, a), scalar(c, 1)), scalar(c, 0), x);
    if (r->coordinates == HALF_PIXEL) return x;
    Value *ratio = op2(c, SN_OP_DIV, size_number(c, a->out, SN_F64), length_of(c, a));
    Value *rest = op2(c, SN_OP_SUB, scalar(c, 1), ratio);
    return op2(c, SN_OP_ADD, x, op2(c, SN_OP_MUL, op_number(c, SN_OP_MUL, in, 0.5), rest));
}

/* ---- neighbours ---- */

static Value *fetch(Call *c, Value *x, Value *at, const Axis *a) {
    Value *last = op_number(c, SN_OP_SUB, size_number(c, a->in, SN_I64), 1);
    at = op_number(c, SN_OP_MAX, op2(c, SN_OP_MIN, at, last), 0);
    return gathered(c, x, at, a->number);
}

static Value *nearest(Call *c, const Resize *r, Value *x, Value *at, const Axis *a) {
    double shift = r->rounding == PREFER_FLOOR ? -0.5 : r->rounding == PREFER_CEIL ? 0.5 : 0;
    bool up = r->rounding == PREFER_FLOOR || r->rounding == CEIL;
    Value *rounded = op1(c, up ? SN_OP_CEIL : SN_OP_FLOOR, op_number(c, SN_OP_ADD, at, shift));
    return fetch(c, x, as_type(c, rounded, SN_I64), a);
}

/* The weight at a distance >= 0. Cubic: Keys, "Cubic convolution interpolation" (1981). */
static Value *weight_at(Call *c, const Resize *r, Value *d) {
    Value *zero = scalar(c, 0), *one = scalar(c, 1);
    if (r->kind == LINEAR) return op2(c, SN_OP_MAX, zero, op2(c, SN_OP_SUB, one, d));
    double a = r->cubic;
    Value *square = op2(c, SN_OP_MUL, d, d);
    Value *inner = op_number(c, SN_OP_SUB, op_number(c, SN_OP_MUL, d, a + 2), a + 3);
    inner = op_number(c, SN_OP_ADD, op2(c, SN_OP_MUL, inner, square), 1);
    Value *outer = op_number(c, SN_OP_MUL, op_number(c, SN_OP_SUB, d, 5), a);
    outer = op_number(c, SN_OP_ADD, op2(c, SN_OP_MUL, outer, d), 8 * a);
    outer = op_number(c, SN_OP_SUB, op2(c, SN_OP_MUL, outer, d), 4 * a);
    outer = choose(c, op_number(c, SN_OP_LESS, d, 2), outer, zero);
    return choose(c, op2(c, SN_OP_LESS_EQUAL, d, one), inner, outer);
}

static Value *is_outside(Call *c, Value *index, const Axis *a) {
    Value *beyond = op2(c, SN_OP_LESS_EQUAL, size_number(c, a->in, SN_I64), index);
    return op2(c, SN_OP_OR, beyond, op_number(c, SN_OP_LESS, index, 0));
}

/* Σ weight·neighbour. With antialias a result that is smaller takes its neighbours from as much further around. */
static Value *weighted(Call *c, const Resize *r, Value *x, Value *at, const Axis *a) {
    double narrow = r->antialias && a->scale < 1 ? a->scale : 1, reach = r->kind == CUBIC ? 2 : 1;
    if (r->antialias && a->scale == 0)
        return sn_call_unsupported(c, "antialias with a scale that is not known");
    if (narrow < reach / MOST_TAPS) return sn_call_unsupported(c, "a scale of %g", a->scale);
    int first = (int)floor(-reach / narrow) + 1, taps = 2 - 2 * first;
    if (taps > MOST_TAPS) return sn_call_unsupported(c, "a scale of %g", a->scale);
    Value *below = op1(c, SN_OP_FLOOR, at), *rest = op2(c, SN_OP_SUB, at, below), *sum = NULL, *all = NULL;
    Value *base = as_type(c, below, SN_I64), *weight[MOST_TAPS], *index[MOST_TAPS];
    for (int t = 0; t < taps; t++) {
        Value *apart = op2(c, SN_OP_SUB, scalar(c, first + t), rest);
        index[t] = op_number(c, SN_OP_ADD, base, first + t);
        weight[t] = weight_at(c, r, op1(c, SN_OP_ABS, op_number(c, SN_OP_MUL, apart, narrow)));
        if (r->exclude) weight[t] = choose(c, is_outside(c, index[t], a), scalar(c, 0), weight[t]);
        all = t ? op2(c, SN_OP_ADD, all, weight[t]) : weight[t];
    }
    for (int t = 0; t < taps && !sn_call_failed(c); t++) {
        if (r->exclude || r->antialias) weight[t] = op2(c, SN_OP_DIV, weight[t], all);
        Value *w = as_type(c, weight[t], x->type.dtype);
        w = sn_call_unsqueeze(c, w, 1, x->type.rank - a->number - 1);
        Value *term = op2(c, SN_OP_MUL, fetch(c, x, index[t], a), w);
        sum = t ? op2(c, SN_OP_ADD, sum, term) : term;
    }
    return sum;
}

static Value *resize_axis(Call *c, const Resize *r, Value *x, const Axis *a) {
    Value *at = coordinates_of(c, r, a);
    if (sn_call_failed(c)) return NULL;
    Value *y = r->kind == NEAREST ? nearest(c, r, x, at, a) : weighted(c, r, x, at, a);
    if (r->coordinates != CROP || sn_call_failed(c)) return y;
    Value *last = op_number(c, SN_OP_SUB, size_number(c, a->in, SN_F64), 1);
    Value *outside = op2(c, SN_OP_OR, op_number(c, SN_OP_LESS, at, 0), op2(c, SN_OP_LESS, last, at));
    outside = sn_call_unsqueeze(c, outside, 1, y->type.rank - a->number - 1);
    return choose(c, outside, sn_call_scalar(c, y->type.dtype, r->outside), y);
}

/* ---- sizes ---- */

/* The whole part of scale·in; for a symbolic size the scale is a fraction of small numbers. */
static Dim scaled(Call *c, Dim in, double scale) {
    int64_t constant;
    if (sn_dim_is(in, &constant)) return sn_dim(c->dims, (int64_t)floorf((float)constant * (float)scale));
    for (int64_t below = 1; below <= 64; below++) {
        double above = scale * (double)below;
        if (above != floor(above) || above > INT32_MAX) continue;
        return sn_dim_floordiv(c->dims, sn_dim_mulc(c->dims, in, (int64_t)above), sn_dim(c->dims, below));
    }
    sn_call_unsupported(c, "a size that depends on a run's sizes times %g", scale);
    return in;
}

/* The integer towards zero, as onnxruntime has it; what only rounding holds apart from one is that one. */
static Value *whole_part(Call *c, Value *x, DType dtype) {
    const double steps = 4096;
    x = op1(c, SN_OP_ROUND, op_number(c, SN_OP_MUL, x, steps));
    return as_type(c, op_number(c, SN_OP_MUL, x, 1 / steps), dtype);
}

static Value *resize_axes(Call *c, const Resize *r, int count, const Axis *axis) {
    Value *x = c->input[0];
    DType dtype = x->type.dtype;
    bool bytes = dtype == SN_U8 || dtype == SN_I8;
    if (r->kind != NEAREST && !sn_dtype_is_float(dtype) && (!bytes || r->kind != LINEAR || r->antialias))
        return sn_call_unsupported(c, "means of %s", sn_dtype_name(dtype));
    if (r->kind != NEAREST) x = as_type(c, x, wide_type(dtype));
    for (int k = 0; k < count; k++) {
        bool same = axis[k].in == axis[k].out && (axis[k].scale == 1 || !axis[k].exact);
        if (same && (r->coordinates != CROP || (axis[k].from == 0 && axis[k].to == 1))) continue;
        x = resize_axis(c, r, x, &axis[k]);
    }
    return bytes && r->kind == LINEAR ? whole_part(c, x, dtype) : as_type(c, x, dtype);
}

/* One scale for all axes, the smallest or the largest of theirs. */
static void keep_aspect(Call *c, int count, Axis *axis, bool larger) {
    double scale = 0;
    int64_t in;
    for (int k = 0; k < count; k++) {
        if (axis[k].scale == 0) sn_call_unsupported(c, "an aspect ratio of sizes that are not known");
        if (k == 0 || (larger ? axis[k].scale > scale : axis[k].scale < scale)) scale = axis[k].scale;
    }
    for (int k = 0; k < count && !sn_call_failed(c); k++) {
        if (!sn_dim_is(axis[k].in, &in)) continue;
        axis[k].scale = scale;
        axis[k].exact = true;
        axis[k].out = sn_dim(c->dims, (int64_t)(scale * (double)in + 0.5));
    }
}

static bool needs_scales(Call *c, const Resize *r) {
    return r->antialias || strcmp(sn_call_string(c, "keep_aspect_ratio_policy", "stretch"), "stretch") != 0;
}

static bool any_from_data(const Call *c, int count, const Dim *size) {
    for (int k = 0; k < count; k++)
        if (sn_call_from_data(c, size[k])) return true;
    return false;
}

static void set_sizes(Call *c, int count, Axis *axis, const Dim *size) {
    const char *policy = sn_call_string(c, "keep_aspect_ratio_policy", "stretch");
    bool larger = strcmp(policy, "not_smaller") == 0;
    for (int k = 0; k < count; k++) {
        int64_t in, out;
        axis[k].out = size[k];
        if (sn_dim_is(axis[k].in, &in) && sn_dim_is(size[k], &out) && in > 0)
            axis[k].scale = (double)out / (double)in;
    }
    if (larger || strcmp(policy, "not_larger") == 0)
        keep_aspect(c, count, axis, larger);
    else if (strcmp(policy, "stretch") != 0)
        sn_call_invalid(c, "keep_aspect_ratio_policy is \"%.16s\"", policy);
}

static void set_scales(Call *c, int count, Axis *axis, const double *scale) {
    for (int k = 0; k < count && !sn_call_failed(c); k++) {
        if (!(scale[k] > 0)) sn_call_invalid(c, "a scale of %g", scale[k]);
        axis[k].scale = scale[k];
        axis[k].exact = true;
        axis[k].out = scaled(c, axis[k].in, scale[k]);
    }
}

static int start_axes(Call *c, Axis *axis) {
    int rank = c->input[0]->type.rank, count;
    const int64_t *list = sn_call_int_list(c, "axes", &count);
    if (!list) count = rank;
    if (count > rank) sn_call_invalid(c, "%d axes", count);
    for (int k = 0; k < count && !sn_call_failed(c); k++) {
        int number = sn_call_axis(c, list ? list[k] : k, rank);
        axis[k] = (Axis){.number = number, .in = c->input[0]->type.dim[number], .to = 1};
    }
    return count;
}

Value *sn_import_resize(Call *c) {
    Axis axis[SN_MAX_RANK];
    int count = start_axes(c, axis), scales, sizes = 0, regions;
    Resize r = read_resize(c);
    const double *scale = numbers_of(c, 2, "scales", &scales);
    const double *region = r.coordinates == CROP ? numbers_of(c, 1, "roi", &regions) : NULL;
    const Dim *size = sn_call_input(c, 3) ? sn_call_dims(c, c->input[3], "sizes", &sizes) : NULL;
    if (sn_call_failed(c)) return NULL;
    if (needs_scales(c, &r) && any_from_data(c, sizes, size)) return sn_call_depends(c, c->input[3], "sizes");
    if (!scale == !sizes || (scale ? scales : sizes) != count || (region && regions != 2 * count))
        return sn_call_invalid(c, "%d scales and %d sizes for %d axes", scales, sizes, count);
    for (int k = 0; k < count && region; k++) axis[k].from = region[k], axis[k].to = region[count + k];
    if (scale)
        set_scales(c, count, axis, scale);
    else
        set_sizes(c, count, axis, size);
    sn_call_ignore(c, "keep_aspect_ratio_policy");
    return sn_call_failed(c) ? NULL : resize_axes(c, &r, count, axis);
}

/* Upsample, and Resize of opset 10: the scales are input 1, or an attribute before opset 9. */
Value *sn_import_upsample(Call *c) {
    Axis axis[SN_MAX_RANK];
    int count = start_axes(c, axis), scales = 0;
    Resize r = {.kind = read_kind(c), .coordinates = ASYMMETRIC, .rounding = FLOOR};
    double list[SN_MAX_RANK];
    const double *scale = list;
    if (c->row->in_max > 1) {
        scale = numbers_of(c, 1, "scales", &scales);
    } else {
        const Tensor *tensor = sn_call_list_tensor(c, "scales", true);
        for (int64_t i = 0; tensor && i < tensor->count && i < SN_MAX_RANK; i++, scales++)
            list[i] = sn_tensor_get(tensor, i);
    }
    if (sn_call_failed(c)) return NULL;
    if (scales != count) return sn_call_invalid(c, "%d scales for rank %d", scales, count);
    set_scales(c, count, axis, scale);
    return sn_call_failed(c) ? NULL : resize_axes(c, &r, count, axis);
}

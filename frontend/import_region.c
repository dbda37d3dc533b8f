/* Planes sampled between their elements: DeformConv, whose windows are bent by an input, and RoiAlign. */
#include "import_compose.h"
#include "import_sample.h"
#include "import_window.h"

#include <string.h>

/* The two neighbours of each point along one axis: their indices, and how much of each is taken. */
typedef struct Neighbours {
    Value *index[2], *weight[2];
} Neighbours;

static Value *last_index(Call *c, Dim extent, DType dtype) {
    return op_number(c, SN_OP_SUB, size_number(c, extent, dtype), 1);
}

/* Elements beyond the plane are zero. */
static Neighbours within_zeros(Call *c, Value *at, Dim extent) {
    Neighbours side = {0};
    Value *low = op1(c, SN_OP_FLOOR, at), *t = op2(c, SN_OP_SUB, at, low);
    if (sn_call_failed(c)) return side;
    DType dtype = at->type.dtype;
    Value *zero = sn_call_scalar(c, dtype, 0), *top = last_index(c, extent, dtype);
    for (int k = 0; k < 2; k++) {
        Value *index = op_number(c, SN_OP_ADD, low, k);
        Value *live =
            op2(c, SN_OP_AND, op2(c, SN_OP_LESS_EQUAL, zero, index), op2(c, SN_OP_LESS_EQUAL, index, top));
        Value *part = k ? t : op2(c, SN_OP_SUB, sn_call_scalar(c, dtype, 1), t);
        side.weight[k] = choose(c, live, part, zero);
        side.index[k] = as_type(c, sn_sample_at_most(c, index, top), SN_I64);
    }
    return side;
}

/* Points up to a step outside are taken from the border, others are zero. */
static Neighbours within_border(Call *c, Value *at, Dim extent) {
    Neighbours side = {0};
    if (sn_call_failed(c)) return side;
    DType dtype = at->type.dtype;
    Value *zero = sn_call_scalar(c, dtype, 0), *top = last_index(c, extent, dtype);
    Value *end = size_number(c, extent, dtype);
    Value *live = op2(c, SN_OP_AND, op2(c, SN_OP_LESS_EQUAL, sn_call_scalar(c, dtype, -1), at),
                      op2(c, SN_OP_LESS_EQUAL, at, end));
    at = sn_sample_at_most(c, at, top);
    Value *low = op1(c, SN_OP_FLOOR, at), *t = op2(c, SN_OP_SUB, at, low);
    side.weight[0] = choose(c, live, op2(c, SN_OP_SUB, sn_call_scalar(c, dtype, 1), t), zero);
    side.weight[1] = t; /* which is 0 on the border itself, where all the others are now */
    side.index[0] = as_type(c, low, SN_I64);
    side.index[1] = as_type(c, op2(c, SN_OP_MIN, op_number(c, SN_OP_ADD, low, 1), top), SN_I64);
    return side;
}

/* Corner k of each point, times its weight: [points…, C] of x [batch…, H, W, C]. With `image` (one image a point, which
 * broadcasts to them) x has no batch but the first axis. */
static Value *corner(Call *c, Value *x, int batch, Value *image, const Neighbours *side, int k) {
    Value *y = side[0].index[k >> 1], *z = side[1].index[k & 1], *part[3];
    Value *weight = op2(c, SN_OP_MUL, side[0].weight[k >> 1], side[1].weight[k & 1]);
    if (sn_call_failed(c)) return NULL;
    int rank = weight->type.rank, count = 0;
    if (image) part[count++] = image;
    part[count++] = y, part[count++] = z;
    for (int i = 0; i < count; i++)
        part[i] = sn_call_unsqueeze(c, expanded(c, part[i], rank, weight->type.dim), rank, 1);
    Value *index = joined(c, rank, count, part);
    Value *taken = sn_build2(c->builder, SN_OP_GATHER_ND, &(AttrGatherNd){batch}, x, index);
    return op2(c, SN_OP_MUL, taken, sn_call_unsqueeze(c, weight, rank, 1));
}

/* ---- DeformConv ---- */

/* Whether what each group says of `parts` parts of each element of all windows is there. */
static bool has_elements(Call *c, const Value *x, Dim batches, int64_t groups, const Windows *w,
                         int64_t parts) {
    if (x->type.rank != 4) return sn_call_invalid(c, "offsets or a mask of rank %d", x->type.rank);
    const Slide *s = w->axis;
    Dim each = sn_dim_mul(c->dims, sn_dim(c->dims, groups), sn_dim(c->dims, parts * s[0].kernel));
    const Dim want[4] = {batches, sn_dim_mulc(c->dims, each, s[1].kernel), s[0].count, s[1].count};
    for (int k = 0; k < 4; k++) {
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, x->type.dim[k], want[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "offsets or a mask"));
    }
    return true;
}

/* [N, offset groups, position..., element...] of part `part` of `parts` of an input [N, groups·elements·parts, position...].
 */
static Value *by_element(Call *c, Value *x, int64_t groups, const Windows *w, int64_t parts, int64_t part) {
    if (sn_call_failed(c)) return NULL;
    Dim one = sn_dim(c->dims, 1);
    Dim extent[7] = {x->type.dim[0],
                     sn_dim(c->dims, groups),
                     sn_dim(c->dims, w->axis[0].kernel),
                     sn_dim(c->dims, w->axis[1].kernel),
                     sn_dim(c->dims, parts),
                     w->axis[0].count,
                     w->axis[1].count};
    x = sliced(c, reshaped(c, x, 7, extent), 4, sn_dim(c->dims, part), one);
    Dim without[6] = {extent[0], extent[1], extent[2], extent[3], extent[5], extent[6]};
    return transposed(c, reshaped(c, x, 6, without), (int[]){0, 1, 4, 5, 2, 3});
}

/* Where the windows' elements are along one axis: position·stride + element·dilation - padding + offset. */
static Value *bent(Call *c, const Windows *w, int axis, Value *offset) {
    const Slide *s = &w->axis[axis];
    if (sn_call_failed(c)) return NULL;
    DType dtype = offset->type.dtype;
    Value *position = op_number(c, SN_OP_MUL, count_up(c, dtype, s->count, 3 - axis), (double)s->stride);
    Value *element = count_up(c, dtype, sn_dim(c->dims, s->kernel), 1 - axis);
    element = op_number(c, SN_OP_MUL, element, (double)s->dilation);
    Value *at = op2(c, SN_OP_SUB, op2(c, SN_OP_ADD, position, element), size_number(c, s->before, dtype));
    return op2(c, SN_OP_ADD, at, offset);
}

/* Inputs x, weights, offsets, bias, mask. */
static Value *bent_windows(Call *c, Value *x, const Windows *w) {
    Value *offset = c->input[2], *mask = sn_call_input(c, 4), *sum = NULL;
    int64_t groups = sn_call_int(c, "offset_group", 1), channels;
    DType dtype = x->type.dtype, wide = wide_type(dtype);
    if (w->spatial != 2) return sn_call_unsupported(c, "%d spatial axes", w->spatial);
    if (!sn_dim_is(x->type.dim[1], &channels))
        return sn_call_unsupported(c, "channels of a number that is not known");
    if (groups < 1 || channels % groups != 0)
        return sn_call_invalid(c, "%lld channels in %lld groups of offsets", (long long)channels,
                               (long long)groups);
    Dim each = sn_dim(c->dims, channels / groups), *dim = (Dim *)x->type.dim;
    if (!has_elements(c, offset, dim[0], groups, w, 2) ||
        (mask && !has_elements(c, mask, dim[0], groups, w, 1)))
        return NULL;
    Dim split[5] = {dim[0], sn_dim(c->dims, groups), each, dim[2], dim[3]};
    Value *planes = transposed(c, reshaped(c, as_type(c, x, wide), 5, split), (int[]){0, 1, 3, 4, 2});
    Neighbours side[2];
    for (int axis = 0; axis < 2; axis++) {
        Value *by = by_element(c, as_type(c, offset, wide), groups, w, 2, axis);
        side[axis] = within_zeros(c, bent(c, w, axis, by), dim[2 + axis]);
    }
    for (int k = 0; k < 4; k++) {
        Value *term = corner(c, planes, 2, NULL, side, k);
        sum = sum ? op2(c, SN_OP_ADD, sum, term) : term;
    }
    if (mask)
        sum = op2(c, SN_OP_MUL, sum,
                  sn_call_unsqueeze(c, by_element(c, as_type(c, mask, wide), groups, w, 1, 0), 6, 1));
    sum = transposed(c, sum, (int[]){0, 1, 6, 2, 3, 4, 5});
    Dim extent[6] = {dim[0],
                     dim[1],
                     w->axis[0].count,
                     w->axis[1].count,
                     sn_dim(c->dims, w->axis[0].kernel),
                     sn_dim(c->dims, w->axis[1].kernel)};
    return as_type(c, reshaped(c, sum, 6, extent), dtype);
}

Value *sn_import_deform_conv(Call *c) {
    return sn_call_conv_of(c, c->input[0], c->input[1], sn_call_input(c, 3), bent_windows);
}

/* ---- RoiAlign ---- */

typedef struct Regions {
    int64_t extent[2], samples; /* of the result; on each axis of each of its elements */
    double scale;
    bool half; /* half_pixel */
} Regions;

/* One axis: [regions, output…, sample…] of where samples are, an extent of 1 where the other axis is. */
static Value *sample_places(Call *c, const Regions *r, Value *rois, int axis) {
    Dim one = sn_dim(c->dims, 1), count = rois->type.dim[0];
    Value *end[2];
    for (int k = 0; k < 2; k++) { /* x1, y1, x2, y2 */
        Value *edge = sliced(c, rois, 1, sn_dim(c->dims, 2 * k + 1 - axis), one);
        edge = op_number(c, SN_OP_MUL, reshaped(c, edge, 5, (Dim[]){count, one, one, one, one}), r->scale);
        end[k] = r->half ? op_number(c, SN_OP_SUB, edge, 0.5) : edge;
    }
    Value *length = op2(c, SN_OP_SUB, end[1], end[0]);
    if (!r->half) length = op_number(c, SN_OP_MAX, length, 1);
    if (sn_call_failed(c)) return NULL;
    DType dtype = length->type.dtype;
    Value *bin = op_number(c, SN_OP_DIV, length, (double)r->extent[axis]);
    Value *output = count_up(c, dtype, sn_dim(c->dims, r->extent[axis]), 3 - axis);
    Value *sample = count_up(c, dtype, sn_dim(c->dims, r->samples), 1 - axis);
    sample = op_number(c, SN_OP_DIV, op_number(c, SN_OP_ADD, sample, 0.5), (double)r->samples);
    return op2(c, SN_OP_ADD, end[0], op2(c, SN_OP_MUL, op2(c, SN_OP_ADD, output, sample), bin));
}

static bool read_regions(Call *c, Regions *r) {
    const char *usual = c->opset < 16 ? "output_half_pixel" : "half_pixel";
    const char *mode = sn_call_string(c, "coordinate_transformation_mode", usual);
    r->extent[0] = sn_call_int(c, "output_height", 1), r->extent[1] = sn_call_int(c, "output_width", 1);
    r->samples = sn_call_int(c, "sampling_ratio", 0);
    r->scale = sn_call_float(c, "spatial_scale", 1);
    r->half = strcmp(mode, "half_pixel") == 0;
    if (!r->half && strcmp(mode, "output_half_pixel") != 0)
        return sn_call_invalid(c, "coordinate_transformation_mode \"%.20s\"", mode);
    if (r->samples < 1)
        return sn_call_unsupported(c, "a sampling_ratio of 0: regions would say how many samples there are");
    if (r->extent[0] < 1 || r->extent[1] < 1) return sn_call_invalid(c, "an output of no elements");
    return !sn_call_failed(c);
}

/* The mean of samples, or the largest of what corners weigh in them: the mode "max" is so in every implementation. */
Value *sn_import_roi_align(Call *c) {
    Value *x = c->input[0], *rois = c->input[1], *image = c->input[2], *all = NULL;
    const char *mode = sn_call_string(c, "mode", "avg");
    bool most = strcmp(mode, "max") == 0;
    Regions r;
    if (!most && strcmp(mode, "avg") != 0) return sn_call_invalid(c, "mode \"%.16s\"", mode);
    if (x->type.rank != 4 || rois->type.rank != 2 || image->type.rank != 1)
        return sn_call_invalid(c, "inputs of ranks %d, %d and %d", x->type.rank, rois->type.rank,
                               image->type.rank);
    if (!read_regions(c, &r)) return NULL;
    DType dtype = x->type.dtype, wide = wide_type(dtype);
    Value *planes = transposed(c, as_type(c, x, wide), (int[]){0, 2, 3, 1});
    rois = as_type(c, rois, wide);
    Neighbours side[2];
    for (int axis = 0; axis < 2 && !sn_call_failed(c); axis++)
        side[axis] = within_border(c, sample_places(c, &r, rois, axis), x->type.dim[2 + axis]);
    image = sn_call_unsqueeze(c, as_type(c, image, SN_I64), 1, 4);
    for (int k = 0; k < 4 && !sn_call_failed(c); k++) {
        Value *term = corner(c, planes, 0, image, side, k);
        all = all ? op2(c, most ? SN_OP_MAX : SN_OP_ADD, all, term) : term;
    }
    if (sn_call_failed(c)) return NULL;
    Value *y =
        sn_call_reduce(c, most ? SN_OP_REDUCE_MAX : SN_OP_REDUCE_MEAN, all, 2, (int64_t[]){3, 4}, false);
    return as_type(c, transposed(c, y, (int[]){0, 3, 1, 2}), dtype);
}

/* Windows that slide over the spatial axes of an [N, C, D...] tensor: convolutions as matrix products, and pools.
 *
 * The windows are a view [N, C, position..., element...] of the padded input; nothing is copied where a kernel reads it.
 * A convolution makes rows of filters, one a position, that are seen as [N, M, position...]. So what is computed of it
 * lies with channels side by side (passes/layout.c), and windows of such a tensor are read that way: see channels_last. */
#include "import_window.h"

#include <math.h>

/* ---- attributes ---- */

/* How many elements a window spans. */
static int64_t reach(const Slide *s) {
    return (s->kernel - 1) * s->dilation + 1;
}

/* auto_pad SAME_*: as many positions as strides fit, rounded up; an odd padding is longer at the end, or with `lower` at the
 * start. */
static void pad_same(Dims *dims, Slide *s, Dim length, bool lower) {
    Dim zero = sn_dim(dims, 0), stride = sn_dim(dims, s->stride);
    Dim last = sn_dim_mul(dims, sn_dim_addc(dims, sn_dim_ceildiv(dims, length, stride), -1), stride);
    Dim total = sn_dim_max(dims, sn_dim_sub(dims, sn_dim_addc(dims, last, reach(s)), length), zero);
    Dim less = sn_dim_floordiv(dims, total, sn_dim(dims, 2)), more = sn_dim_sub(dims, total, less);
    s->before = lower ? more : less;
    s->after = lower ? less : more;
}

/* Counts are rounded up where `ceil` says so, but no window starts in the padding at the end. */
static void count_positions(Dims *dims, Slide *s, Dim length, bool ceil) {
    Dim zero = sn_dim(dims, 0), stride = sn_dim(dims, s->stride);
    Dim padded = sn_dim_add(dims, s->before, length);
    Dim free = sn_dim_addc(dims, sn_dim_add(dims, padded, s->after), -reach(s));
    s->beyond = zero;
    if (!ceil) {
        s->count = sn_dim_addc(dims, sn_dim_floordiv(dims, free, stride), 1);
        return;
    }
    s->count = sn_dim_min(dims, sn_dim_addc(dims, sn_dim_ceildiv(dims, free, stride), 1),
                          sn_dim_ceildiv(dims, padded, stride));
    Dim last = sn_dim_mul(dims, sn_dim_addc(dims, s->count, -1), stride);
    s->beyond = sn_dim_max(dims, sn_dim_sub(dims, last, free), zero);
}

/* The attributes that say how windows slide over x; kernel_shape by `kernel` where the weights tell it. */
static bool read_windows(Call *c, const Value *x, const int64_t *kernel, bool ceil, Windows *w) {
    *w = (Windows){.spatial = x->type.rank - 2};
    int n = w->spatial;
    if (n < 1) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    if (n > SN_WINDOW_AXES) return sn_call_unsupported(c, "%d spatial axes", n);
    const char *how = sn_call_string(c, "auto_pad", "NOTSET");
    const int64_t *shape = sn_call_checked_list(c, "kernel_shape", n, 1),
                  *pads = sn_call_checked_list(c, "pads", 2 * n, 0);
    const int64_t *strides = sn_call_checked_list(c, "strides", n, 1),
                  *dilations = sn_call_checked_list(c, "dilations", n, 1);
    bool lower = strcmp(how, "SAME_LOWER") == 0, same = lower || strcmp(how, "SAME_UPPER") == 0;
    bool valid = strcmp(how, "VALID") == 0;
    if (!same && !valid && strcmp(how, "NOTSET") != 0) sn_call_invalid(c, "auto_pad is \"%.16s\"", how);
    if (sn_call_failed(c)) return false;
    if (!shape && !kernel) return sn_call_invalid(c, "kernel_shape is missing");
    for (int k = 0; k < n; k++) {
        Slide *s = &w->axis[k];
        Dim length = x->type.dim[2 + k];
        if (shape && kernel && shape[k] != kernel[k])
            return sn_call_invalid(c, "kernel_shape is not the weights'");
        s->kernel = kernel ? kernel[k] : shape[k];
        s->stride = strides ? strides[k] : 1;
        s->dilation = dilations ? dilations[k] : 1;
        s->before = sn_dim(c->dims, pads && !valid ? pads[k] : 0);
        s->after = sn_dim(c->dims, pads && !valid ? pads[n + k] : 0);
        if (same) pad_same(c->dims, s, length, lower);
        count_positions(c->dims, s, length, ceil && !same);
        int64_t most;
        if (sn_dim_upper(c->dims, s->count, &most) && most < 0)
            return sn_call_invalid(c, "a window of %lld that is longer than its axis", (long long)reach(s));
    }
    return true;
}

/* ---- views ---- */

/* x with `before` and `after` of each spatial axis, or, with `beyond`, what lies past those. */
static Value *padded(Call *c, Value *x, const Windows *w, bool beyond, double value) {
    if (sn_call_failed(c)) return NULL;
    Dim zero = sn_dim(c->dims, 0), before[SN_MAX_RANK], after[SN_MAX_RANK];
    bool any = false;
    for (int k = 0; k < x->type.rank; k++) {
        const Slide *s = k < 2 ? NULL : &w->axis[k - 2];
        before[k] = s && !beyond ? s->before : zero;
        after[k] = !s ? zero : beyond ? s->beyond : s->after;
        any = any || before[k] != zero || after[k] != zero;
    }
    AttrPad attr = {x->type.rank, before, after, value};
    return any ? sn_build1(c->builder, SN_OP_PAD, &attr, x) : x;
}

/* [N, C, position..., element...] of a padded input. */
static Value *windows_of(Call *c, Value *x, const Windows *w) {
    if (sn_call_failed(c)) return NULL;
    Arena *arena = c->import->graph->arena;
    int n = w->spatial, rank = 2 + 2 * n;
    Dim *extent = SN_ARRAY(arena, Dim, rank), *index = SN_ARRAY(arena, Dim, 2 + n);
    for (int k = 0; k < 2; k++) extent[k] = x->type.dim[k];
    for (int k = 0; k < n; k++) {
        extent[2 + k] = w->axis[k].count;
        extent[2 + n + k] = sn_dim(c->dims, w->axis[k].kernel);
    }
    Dim *axis = sn_view_axes(c->dims, arena, rank, extent);
    for (int k = 0; k < 2; k++) index[k] = axis[k];
    for (int k = 0; k < n; k++)
        index[2 + k] = sn_dim_add(c->dims, sn_dim_mulc(c->dims, axis[2 + k], w->axis[k].stride),
                                  sn_dim_mulc(c->dims, axis[2 + n + k], w->axis[k].dilation));
    AttrView attr = {rank, extent, 2 + n, index};
    return sn_build1(c->builder, SN_OP_VIEW, &attr, x);
}

/* [N, C, axis...] with the channels behind the axes, or (`back`) from there. */
static Value *move_channels(Call *c, Value *x, bool back) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank, order[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) order[k] = k == 0 ? 0 : back ? (k == 1 ? rank - 1 : k - 1) : k + 1;
    if (!back) order[rank - 1] = 1;
    return sn_build_transpose(c->builder, x, order);
}

/* The elements of each window put together by a reduction: [N, position..., C] of [N, position..., element..., C], or with the
 * channels behind N. */
static Value *reduce_elements(Call *c, OpCode op, Value *windows, int spatial, bool last) {
    int64_t axes[SN_WINDOW_AXES];
    for (int k = 0; k < spatial; k++) axes[k] = (last ? 1 : 2) + spatial + k;
    return sn_call_reduce(c, op, windows, spatial, axes, false);
}

/* The same of windows as they come: [N, C, position...]. */
static Value *reduce_windows(Call *c, OpCode op, Value *windows, int spatial, bool last) {
    if (!last) return reduce_elements(c, op, windows, spatial, false);
    return move_channels(c, reduce_elements(c, op, move_channels(c, windows, false), spatial, true), true);
}

/* The last axis of the source that a view reads as `axis` of its output says; -1: none. */
static int source_axis(Dims *dims, const AttrView *view, int axis) {
    int from = view->source_rank - 1;
    Dim own = sn_dim_axis(dims, axis, view->extent[axis]);
    while (from >= 0 && !sn_dim_depends(view->index[from], own)) from--;
    return from;
}

/* Whether the channels of x [N, C, D...] will lie side by side in memory: x is a transposed view of what has them last, or is
 * computed of such views element by element. */
static bool channels_last(Dims *dims, const Value *x) {
    enum { FAR = 256 }; /* chains of residual additions are long */
    int axis = 1;
    if (sn_dim_equals(x->type.dim[1], 1)) return false;
    for (int k = 0; k < FAR && x->producer; k++) {
        const Node *node = x->producer;
        const Value *from = node->input_count ? node->input[0] : NULL;
        if (!from) return false;
        if (node->op == SN_OP_VIEW) {
            const AttrView *view = node->attr;
            axis = source_axis(dims, view, axis);
            if (axis < 0 || axis == view->source_rank - 1) return axis >= 0;
        } else if (from->type.rank != x->type.rank || from->type.dim[axis] != x->type.dim[axis]) {
            return false;
        }
        x = from;
    }
    return false;
}

/* ---- convolution ---- */

typedef struct Conv {
    Windows windows;
    Value *weight;
    Dim filters, channels; /* the weight's first two extents */
    int64_t groups;
    bool last; /* the elements of a window are taken with channels side by side */
} Conv;

/* Positions, elements of a filter. */
static Dim product_of(Call *c, const Windows *w, bool positions) {
    Dim product = sn_dim(c->dims, 1);
    for (int k = 0; k < w->spatial; k++)
        product =
            sn_dim_mul(c->dims, product, positions ? w->axis[k].count : sn_dim(c->dims, w->axis[k].kernel));
    return product;
}

/* One filter a channel: a sum over each window, with no product worth the name. */
static Value *depthwise(Call *c, const Conv *conv, Value *windows) {
    int n = conv->windows.spatial;
    Dim extent[SN_MAX_RANK];
    if (sn_call_failed(c)) return NULL;
    extent[0] = sn_dim(c->dims, 1), extent[1] = conv->filters;
    for (int k = 0; k < n; k++) {
        extent[2 + k] = sn_dim(c->dims, 1);
        extent[2 + n + k] = sn_dim(c->dims, conv->windows.axis[k].kernel);
    }
    DType dtype = windows->type.dtype;
    DType wide = dtype == SN_F64 || !sn_dtype_is_float(dtype) ? dtype : SN_F32;
    Value *filter = sn_build_reshape(c->builder, conv->weight, 2 + 2 * n, extent);
    if (conv->last) windows = move_channels(c, windows, false), filter = move_channels(c, filter, false);
    Value *terms = sn_build2(c->builder, SN_OP_MUL, NULL, sn_build_cast(c->builder, windows, wide),
                             sn_build_cast(c->builder, filter, wide));
    Value *sum = reduce_elements(c, SN_OP_REDUCE_SUM, terms, n, conv->last);
    if (conv->last) sum = move_channels(c, sum, true);
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, sum, dtype);
}

/* The filters of each group as [G, elements, M/G]. */
static Value *filter_columns(Call *c, const Conv *conv, Dim groups, Dim each, Dim elements) {
    Dim taps = product_of(c, &conv->windows, false);
    Value *filters =
        sn_build_reshape(c->builder, conv->weight, 4, (Dim[]){groups, each, conv->channels, taps});
    const int *order = conv->last ? (int[]){0, 3, 2, 1} : (int[]){0, 2, 3, 1};
    if (filters) filters = sn_build_transpose(c->builder, filters, order);
    return filters ? sn_build_reshape(c->builder, filters, 3, (Dim[]){groups, elements, each}) : NULL;
}

/* windows[N, G, positions, elements of C/G channels] · weight[G, elements, M/G], as [N, M, positions]. */
static Value *as_product(Call *c, const Conv *conv, Value *windows) {
    const Windows *w = &conv->windows;
    int n = w->spatial, order[SN_MAX_RANK];
    if (sn_call_failed(c)) return NULL;
    Dim batch = windows->type.dim[0], groups = sn_dim(c->dims, conv->groups);
    Dim each = sn_dim_floordiv(c->dims, conv->filters, groups), positions = product_of(c, w, true);
    Dim elements = sn_dim_mul(c->dims, conv->channels, product_of(c, w, false));
    Dim split[SN_MAX_RANK] = {batch, groups, conv->channels};
    for (int k = 0; k < 2 * n; k++) split[3 + k] = windows->type.dim[2 + k];
    order[0] = 0, order[1] = 1, order[2 + (conv->last ? 2 * n : n)] = 2;
    for (int k = 0; k < n; k++) order[2 + k] = 3 + k, order[(conv->last ? 2 : 3) + n + k] = 3 + n + k;
    Value *rows = sn_build_reshape(c->builder, windows, 3 + 2 * n, split);
    if (rows) rows = sn_build_transpose(c->builder, rows, order);
    if (rows) rows = sn_build_reshape(c->builder, rows, 4, (Dim[]){batch, groups, positions, elements});
    Value *filters = filter_columns(c, conv, groups, each, elements);
    Value *y = rows && filters ? sn_build2(c->builder, SN_OP_MATMUL, NULL, rows, filters) : NULL;
    if (y) y = sn_build_transpose(c->builder, y, (int[]){0, 1, 3, 2});
    return y ? sn_build_reshape(c->builder, y, 3, (Dim[]){batch, conv->filters, positions}) : NULL;
}

static bool read_conv(Call *c, Value *x, Value *weight, Conv *conv) {
    int rank = x->type.rank;
    int64_t kernel[SN_MAX_RANK], channels, filters;
    if (weight->type.rank != rank || rank < 3)
        return sn_call_invalid(c, "weights of rank %d and an input of rank %d", weight->type.rank, rank);
    for (int k = 2; k < rank; k++)
        if (!sn_dim_is(weight->type.dim[k], &kernel[k - 2]))
            return sn_call_unsupported(c, "weights of a size that is not known");
    *conv = (Conv){.weight = weight, .filters = weight->type.dim[0], .channels = weight->type.dim[1]};
    conv->groups = sn_call_int(c, "group", 1);
    if (conv->groups < 1) return sn_call_invalid(c, "group is %lld", (long long)conv->groups);
    Dim taken = sn_dim_mulc(c->dims, conv->channels, conv->groups);
    if (sn_dim_ne(c->dims, x->type.dim[1], taken)) {
        if (sn_dim_is(x->type.dim[1], &channels) && sn_dim_is(conv->channels, &filters))
            return sn_call_invalid(c, "%lld channels for %lld groups of %lld", (long long)channels,
                                   (long long)conv->groups, (long long)filters);
        return sn_call_invalid(c, "channels that are not the weights'");
    }
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_EQUAL, x->type.dim[1], taken, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "channels"));
    if (sn_dim_is(conv->filters, &filters) && filters % conv->groups != 0)
        return sn_call_invalid(c, "%lld filters in %lld groups", (long long)filters, (long long)conv->groups);
    return read_windows(c, x, kernel, false, &conv->windows);
}

static Value *plain_windows(Call *c, Value *x, const Windows *w) {
    return windows_of(c, padded(c, x, w, false, 0), w);
}

Value *sn_call_conv_of(Call *c, Value *x, Value *weight, Value *bias, WindowRule rule) {
    Conv conv;
    if (!read_conv(c, x, weight, &conv)) return NULL;
    const Windows *w = &conv.windows;
    Dim extent[SN_MAX_RANK] = {x->type.dim[0], conv.filters};
    for (int k = 0; k < w->spatial; k++) extent[2 + k] = w->axis[k].count;
    Value *windows = rule(c, x, w);
    conv.last = channels_last(c->dims, x);
    bool alone = sn_dim_equals(conv.channels, 1) && sn_dim_equals(conv.filters, conv.groups);
    Value *y = alone && conv.groups > 1 ? depthwise(c, &conv, windows) : as_product(c, &conv, windows);
    if (bias && sn_call_failed(c)) return NULL;
    if (bias) bias = sn_call_unsqueeze(c, bias, 1, y->type.rank - 2);
    if (bias) y = sn_build2(c->builder, SN_OP_ADD, NULL, y, bias);
    return y ? sn_build_reshape(c->builder, y, 2 + w->spatial, extent) : NULL;
}

Value *sn_call_conv(Call *c, Value *x, Value *weight, Value *bias) {
    return sn_call_conv_of(c, x, weight, bias, plain_windows);
}

Value *sn_import_conv(Call *c) {
    return sn_call_conv(c, c->input[0], c->input[1], sn_call_input(c, 2));
}

/* ---- pools ---- */

/* What no element is less than. */
static double least_of(DType dtype) {
    if (sn_dtype_is_float(dtype)) return -INFINITY;
    return dtype == SN_I8 ? INT8_MIN : dtype == SN_U8 ? 0 : INT32_MIN;
}

/* Each element's number in x, counted row by row or, with `columns`, with the first spatial axis of a plane fastest. */
static Value *numbered(Call *c, const Value *x, bool columns) {
    int rank = x->type.rank, order[SN_MAX_RANK];
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) {
        order[k] = columns && k >= 2 ? rank + 1 - k : k;
        extent[k] = x->type.dim[order[k]];
    }
    Value *number = sn_build_positions(c->builder, SN_I64, sn_type_count(c->dims, x->type), 0);
    number = number ? sn_build_reshape(c->builder, number, rank, extent) : NULL;
    return number ? sn_build_transpose(c->builder, number, order) : NULL;
}

/* Where in x the maximum of each window is, the first one; a NaN is a maximum. */
static Value *places_of(Call *c, const Value *x, const Windows *w, Value *windows, Value *most) {
    Builder *b = c->builder;
    const double nowhere = 0x1p62;
    if (sn_call_failed(c)) return NULL;
    Value *all = padded(c, padded(c, numbered(c, x, false), w, false, nowhere), w, true, nowhere);
    Value *place = windows_of(c, all, w);
    most = sn_call_unsqueeze(c, most, most->type.rank, w->spatial);
    Value *hit = sn_build2(b, SN_OP_EQUAL, NULL, windows, most);
    if (sn_dtype_is_float(x->type.dtype))
        hit = sn_build2(b, SN_OP_OR, NULL, hit, sn_build1(b, SN_OP_ISNAN, NULL, windows));
    place = sn_build3(b, SN_OP_WHERE, NULL, hit, place, sn_call_scalar(c, SN_I64, nowhere));
    place = reduce_windows(c, SN_OP_REDUCE_MIN, place, w->spatial, false);
    if (sn_call_int(c, "storage_order", 0) == 0 || sn_call_failed(c)) return place;
    Dim count = sn_type_count(c->dims, x->type);
    Value *columns = sn_build_reshape(b, numbered(c, x, true), 1, &count);
    return sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, columns, place);
}

Value *sn_import_max_pool(Call *c) {
    Windows w;
    Value *x = c->input[0];
    bool ceil = sn_call_int(c, "ceil_mode", 0) != 0;
    sn_call_ignore(c, "storage_order"); /* of the indices */
    if (!read_windows(c, x, NULL, ceil, &w)) return NULL;
    double least = least_of(x->type.dtype);
    Value *all = padded(c, padded(c, x, &w, false, least), &w, true, least);
    Value *windows = windows_of(c, all, &w),
          *most = reduce_windows(c, SN_OP_REDUCE_MAX, windows, w.spatial, channels_last(c->dims, x));
    if (sn_call_wants(c, 1)) c->output[1] = places_of(c, x, &w, windows, most);
    return most;
}

/* The extents that a pool of these attributes had: (positions - 1)·stride + kernel - pads. */
static void extents_before(Call *c, const Value *x, const int64_t *shape, Dim *extent) {
    int n = x->type.rank - 2;
    const int64_t *pads = sn_call_checked_list(c, "pads", 2 * n, 0),
                  *strides = sn_call_checked_list(c, "strides", n, 1);
    for (int k = 0; k < 2; k++) extent[k] = x->type.dim[k];
    for (int k = 0; k < n && !sn_call_failed(c); k++) {
        Dim span =
            sn_dim_mulc(c->dims, sn_dim_addc(c->dims, x->type.dim[2 + k], -1), strides ? strides[k] : 1);
        extent[2 + k] = sn_dim_addc(c->dims, span, shape[k] - (pads ? pads[k] + pads[n + k] : 0));
    }
}

/* Every element at the place that MaxPool found it at, zero elsewhere. Windows that overlap found some elements several
 * times: of these the sum is divided by the number. Places are those of the extents that the attributes tell; what
 * output_shape has more lies behind. */
Value *sn_import_max_unpool(Call *c) {
    Value *x = c->input[0], *given = sn_call_input(c, 2);
    int rank = x->type.rank, count;
    if (rank < 3) return sn_call_invalid(c, "an input of rank %d", rank);
    const int64_t *shape = sn_call_checked_list(c, "kernel_shape", rank - 2, 1);
    if (!sn_call_failed(c) && !shape) return sn_call_invalid(c, "kernel_shape is missing");
    const Dim *whole = given ? sn_call_dims(c, given, "output_shape", &count) : NULL;
    Dim extent[SN_MAX_RANK], zero = sn_dim(c->dims, 0), one = sn_dim(c->dims, 1), after[SN_MAX_RANK];
    if (sn_call_failed(c)) return NULL;
    if (whole && count != rank) return sn_call_invalid(c, "an output_shape of %d extents", count);
    extents_before(c, x, shape, extent);
    if (sn_call_failed(c)) return NULL;
    Dim from = sn_type_count(c->dims, x->type);
    AttrScatter to = {sn_type_count(c->dims, (Type){x->type.dtype, rank, extent})};
    DType dtype = x->type.dtype, wide = dtype == SN_F64 ? SN_F64 : SN_F32;
    Value *row = sn_build_reshape(c->builder, c->input[1], 1, &from);
    Value *value = sn_build_reshape(c->builder, sn_build_cast(c->builder, x, wide), 2, (Dim[]){from, one});
    Value *ones = sn_build_expand(c->builder, sn_call_scalar(c, wide, 1), 2, (Dim[]){from, one});
    Value *sum = sn_build2(c->builder, SN_OP_SCATTER_ADD, &to, row, value);
    Value *times = sn_build2(c->builder, SN_OP_SCATTER_ADD, &to, row, ones);
    times = sn_build2(c->builder, SN_OP_MAX, NULL, times, sn_call_scalar(c, wide, 1));
    Value *y = sn_build2(c->builder, SN_OP_DIV, NULL, sum, times);
    if (sn_call_failed(c)) return NULL;
    y = sn_build_cast(c->builder, sn_build_reshape(c->builder, y, rank, extent), dtype);
    if (!whole || sn_call_failed(c)) return y;
    Dim before[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) before[k] = zero, after[k] = sn_dim_sub(c->dims, whole[k], extent[k]);
    return sn_build1(c->builder, SN_OP_PAD, &(AttrPad){rank, before, after, 0}, y);
}

/* The sum of each window over the number of its elements that count: those of x, and its padding where count_include_pad
 * says so. */
Value *sn_import_average_pool(Call *c) {
    Windows w;
    Value *x = c->input[0];
    bool ceil = sn_call_int(c, "ceil_mode", 0) != 0, include = sn_call_int(c, "count_include_pad", 0) != 0;
    if (!read_windows(c, x, NULL, ceil, &w)) return NULL;
    DType dtype = x->type.dtype, wide = dtype == SN_F64 ? SN_F64 : SN_F32;
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < x->type.rank; k++) extent[k] = k < 2 ? sn_dim(c->dims, 1) : x->type.dim[k];
    Value *ones = sn_build_expand(c->builder, sn_call_scalar(c, wide, 1), x->type.rank, extent);
    Value *counted = padded(c, padded(c, ones, &w, false, include), &w, true, 0);
    Value *all = padded(c, padded(c, sn_build_cast(c->builder, x, wide), &w, false, 0), &w, true, 0);
    Value *count = reduce_windows(c, SN_OP_REDUCE_SUM, windows_of(c, counted, &w), w.spatial, false);
    Value *sum =
        reduce_windows(c, SN_OP_REDUCE_SUM, windows_of(c, all, &w), w.spatial, channels_last(c->dims, x));
    if (sn_call_failed(c)) return NULL;
    return sn_build_cast(c->builder, sn_build2(c->builder, SN_OP_DIV, NULL, sum, count), dtype);
}

/* The parameter is the reduction. */
Value *sn_import_global_pool(Call *c) {
    Value *x = c->input[0];
    int64_t axes[SN_MAX_RANK];
    int count = x->type.rank - 2;
    if (count < 1) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    for (int k = 0; k < count; k++) axes[k] = 2 + k;
    return sn_call_reduce(c, (OpCode)c->row->parameter, x, count, axes, true);
}

/* ---- norms ---- */

/* |x|^p; the rules below take the p-th root of its sums. */
static Value *powers(Call *c, Value *x, int64_t p) {
    x = sn_build1(c->builder, SN_OP_ABS, NULL, x);
    if (p == 1 || sn_call_failed(c)) return x;
    return sn_build2(c->builder, SN_OP_POW, NULL, x, sn_call_scalar(c, x->type.dtype, (double)p));
}

static Value *root(Call *c, Value *sum, int64_t p) {
    if (p == 1 || sn_call_failed(c)) return sum;
    return sn_build2(c->builder, SN_OP_POW, NULL, sum, sn_call_scalar(c, sum->type.dtype, 1 / (double)p));
}

Value *sn_import_lp_pool(Call *c) {
    Windows w;
    Value *x = c->input[0];
    int64_t p = sn_call_int(c, "p", 2);
    bool ceil = sn_call_int(c, "ceil_mode", 0) != 0;
    if (p < 1) return sn_call_invalid(c, "p is %lld", (long long)p);
    if (!read_windows(c, x, NULL, ceil, &w)) return NULL;
    DType dtype = x->type.dtype, wide = dtype == SN_F64 ? SN_F64 : SN_F32;
    Value *each = powers(c, sn_build_cast(c->builder, x, wide), p);
    Value *all = padded(c, padded(c, each, &w, false, 0), &w, true, 0);
    Value *norm = root(
        c, reduce_windows(c, SN_OP_REDUCE_SUM, windows_of(c, all, &w), w.spatial, channels_last(c->dims, x)),
        p);
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, norm, dtype);
}

Value *sn_import_global_lp_pool(Call *c) {
    Value *x = c->input[0];
    int64_t axes[SN_MAX_RANK], p = sn_call_int(c, "p", 2);
    int count = x->type.rank - 2;
    if (count < 1 || p < 1) return sn_call_invalid(c, "rank %d, p %lld", x->type.rank, (long long)p);
    for (int k = 0; k < count; k++) axes[k] = 2 + k;
    return root(c, sn_call_reduce(c, SN_OP_REDUCE_SUM, powers(c, x, p), count, axes, true), p);
}

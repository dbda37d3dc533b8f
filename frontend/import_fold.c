/* Windows that are added up where they lie: Col2Im, and ConvTranspose, which is a product and a Col2Im. */
#include "import_compose.h"

#include <string.h>

enum { MOST_SPATIAL = (SN_MAX_RANK - 2) / 2 };

/* One spatial axis: element k of window l is added to element l·stride + k·dilation - before of the result. */
typedef struct Fold {
    int64_t kernel, stride, dilation;
    Dim windows, before, length; /* length: of the result */
} Fold;

/* The axis with stride - 1 zeros behind each element. */
static Value *spread(Call *c, Value *x, int axis, int64_t stride) {
    if (stride == 1) return x;
    x = sn_call_unsqueeze(c, x, axis + 1, 1);
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank;
    Dim before[SN_MAX_RANK], after[SN_MAX_RANK], merged[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) {
        before[k] = sn_dim(c->dims, 0);
        after[k] = sn_dim(c->dims, k == axis + 1 ? stride - 1 : 0);
        if (k != axis + 1) merged[k - (k > axis)] = x->type.dim[k];
    }
    merged[axis] = sn_dim_mulc(c->dims, merged[axis], stride);
    x = sn_build1(c->builder, SN_OP_PAD, &(AttrPad){rank, before, after, 0}, x);
    return reshaped(c, x, rank - 1, merged);
}

/* `front` zeros before the axis and so many behind it that there are `length` elements; what is negative is cut. */
static Value *placed(Call *c, Value *x, int axis, Dim front, Dim length) {
    if (sn_call_failed(c)) return NULL;
    Dims *dims = c->dims;
    Dim zero = sn_dim(dims, 0), extent = x->type.dim[axis];
    Dim back = sn_dim_sub(dims, length, sn_dim_add(dims, extent, front));
    Dim before = sn_dim_max(dims, front, zero), after = sn_dim_max(dims, back, zero);
    Dim start = sn_dim_sub(dims, before, front), cut = sn_dim_sub(dims, after, back);
    if (start != zero || cut != zero)
        x = sliced(c, x, axis, start, sn_dim_sub(dims, sn_dim_sub(dims, extent, start), cut));
    if (sn_call_failed(c) || (before == zero && after == zero)) return x;
    Dim pad[2][SN_MAX_RANK];
    for (int k = 0; k < x->type.rank; k++)
        pad[0][k] = k == axis ? before : zero, pad[1][k] = k == axis ? after : zero;
    return sn_build1(c->builder, SN_OP_PAD, &(AttrPad){x->type.rank, pad[0], pad[1], 0}, x);
}

/* x [N, C, kernel…, windows…] -> [N, C, length…] */
static Value *fold(Call *c, Value *x, int n, const Fold *axis) {
    Dims *dims = c->dims;
    if (sn_call_failed(c)) return NULL;
    DType dtype = x->type.dtype;
    if (sn_dtype_is_float(dtype)) x = as_type(c, x, wide_type(dtype));
    for (int k = 0; k < n; k++) {
        int64_t reach = (axis[k].kernel - 1) * axis[k].dilation;
        Dim front = sn_dim_sub(dims, sn_dim(dims, reach), axis[k].before);
        x = spread(c, x, 2 + n + k, axis[k].stride);
        x = placed(c, x, 2 + n + k, front, sn_dim_addc(dims, axis[k].length, reach));
    }
    if (sn_call_failed(c)) return NULL;
    int64_t axes[MOST_SPATIAL];
    Dim extent[SN_MAX_RANK] = {x->type.dim[0], x->type.dim[1]}, index[SN_MAX_RANK];
    for (int k = 0; k < n; k++) {
        extent[2 + k] = axis[k].length;
        extent[2 + n + k] = sn_dim(dims, axis[k].kernel);
        axes[k] = 2 + n + k;
    }
    const Dim *at = sn_view_axes(dims, c->import->graph->arena, 2 + 2 * n, extent);
    index[0] = at[0], index[1] = at[1];
    for (int k = 0; k < n; k++) {
        Dim element = at[2 + n + k], back = sn_dim_sub(dims, sn_dim(dims, axis[k].kernel - 1), element);
        index[2 + k] = element;
        index[2 + n + k] = sn_dim_add(dims, at[2 + k], sn_dim_mulc(dims, back, axis[k].dilation));
    }
    x = sn_build1(c->builder, SN_OP_VIEW, &(AttrView){2 + 2 * n, extent, 2 + 2 * n, index}, x);
    return as_type(c, sn_call_reduce(c, SN_OP_REDUCE_SUM, x, n, axes, false), dtype);
}

/* ---- attributes ---- */

static void read_steps(Call *c, int n, Fold *axis) {
    const int64_t *strides = sn_call_checked_list(c, "strides", n, 1),
                  *dilations = sn_call_checked_list(c, "dilations", n, 1);
    for (int k = 0; k < n; k++) {
        axis[k].stride = strides ? strides[k] : 1;
        axis[k].dilation = dilations ? dilations[k] : 1;
    }
}

/* ---- Col2Im ---- */

/* Windows of a length-`length` axis with these pads. */
static Dim window_count(Dims *dims, const Fold *f, int64_t pads) {
    Dim room = sn_dim_addc(dims, f->length, pads - (f->kernel - 1) * f->dilation - 1);
    return sn_dim_addc(dims, sn_dim_floordiv(dims, room, sn_dim(dims, f->stride)), 1);
}

Value *sn_import_col2im(Call *c) {
    Dims *dims = c->dims;
    Value *x = c->input[0];
    int n, blocks;
    const Dim *image = sn_call_dims(c, c->input[1], "image_shape", &n);
    const int64_t *block = sn_call_constants(c, c->input[2], "block_shape", &blocks);
    if (sn_call_failed(c)) return NULL;
    if (n < 1 || n != blocks || x->type.rank != 3) return sn_call_invalid(c, "shapes that do not fit");
    if (n > MOST_SPATIAL) return sn_call_unsupported(c, "%d spatial axes", n);
    Fold axis[MOST_SPATIAL];
    const int64_t *pads = sn_call_checked_list(c, "pads", 2 * n, 0);
    read_steps(c, n, axis);
    Dim split[SN_MAX_RANK] = {x->type.dim[0]};
    int64_t elements = 1;
    for (int k = 0; k < n && !sn_call_failed(c); k++) {
        Fold *f = &axis[k];
        if (block[k] < 1 || block[k] > INT16_MAX)
            return sn_call_invalid(c, "a block of %lld", (long long)block[k]);
        f->kernel = block[k], f->length = image[k], f->before = sn_dim(dims, pads ? pads[k] : 0);
        f->windows = window_count(dims, f, pads ? pads[k] + pads[n + k] : 0);
        split[2 + k] = sn_dim(dims, f->kernel), split[2 + n + k] = f->windows;
        elements *= f->kernel;
    }
    if (sn_call_failed(c)) return NULL;
    if (!sn_dim_divides(dims, sn_dim(dims, elements), x->type.dim[1], &split[1]))
        return sn_call_unsupported(c, "columns that are not known to hold whole blocks");
    return fold(c, reshaped(c, x, 2 + 2 * n, split), n, axis);
}

/* ---- ConvTranspose ---- */

typedef struct Output {
    const int64_t *pads, *more, *shape;
    bool same, upper, valid;
} Output;

static Output read_output(Call *c, int n) {
    const char *how = sn_call_string(c, "auto_pad", "NOTSET");
    Output o = {.pads = sn_call_checked_list(c, "pads", 2 * n, 0),
                .more = sn_call_checked_list(c, "output_padding", n, 0),
                .shape = sn_call_checked_list(c, "output_shape", n, 1),
                .upper = strcmp(how, "SAME_UPPER") == 0,
                .valid = strcmp(how, "VALID") == 0};
    o.same = o.upper || strcmp(how, "SAME_LOWER") == 0;
    if (!o.same && !o.valid && strcmp(how, "NOTSET") != 0) sn_call_invalid(c, "auto_pad is \"%.16s\"", how);
    return o;
}

/* Where a length is asked for, the pads are what is left over, the odd one at the end for SAME_UPPER alone. */
static void set_output(Dims *dims, Fold *f, const Output *o, int k, int n) {
    Dim all = sn_dim_addc(dims, sn_dim_mulc(dims, sn_dim_addc(dims, f->windows, -1), f->stride),
                          (f->kernel - 1) * f->dilation + 1 + (o->more ? o->more[k] : 0));
    if (o->shape || o->same) {
        f->length = o->shape ? sn_dim(dims, o->shape[k]) : sn_dim_mulc(dims, f->windows, f->stride);
        Dim left = sn_dim_max(dims, sn_dim_sub(dims, all, f->length), sn_dim(dims, 0));
        Dim half = sn_dim_floordiv(dims, left, sn_dim(dims, 2));
        f->before = o->upper ? half : sn_dim_sub(dims, left, half);
        return;
    }
    bool pads = o->pads && !o->valid;
    f->before = sn_dim(dims, pads ? o->pads[k] : 0);
    f->length = sn_dim_addc(dims, all, pads ? -(o->pads[k] + o->pads[n + k]) : 0);
}

static bool read_axes(Call *c, int n, Fold *axis) {
    const Value *x = c->input[0], *weight = c->input[1];
    const int64_t *kernel = sn_call_checked_list(c, "kernel_shape", n, 1);
    Output output = read_output(c, n);
    read_steps(c, n, axis);
    for (int k = 0; k < n && !sn_call_failed(c); k++) {
        if (!sn_dim_is(weight->type.dim[2 + k], &axis[k].kernel))
            return sn_call_unsupported(c, "weights of a size that is not known");
        if (kernel && kernel[k] != axis[k].kernel)
            return sn_call_invalid(c, "kernel_shape is not the weights'");
        axis[k].windows = x->type.dim[2 + k];
        set_output(c->dims, &axis[k], &output, k, n);
    }
    return !sn_call_failed(c);
}

/* x [N, G·C, windows…], weight [G·C, M, kernel…]: their product [N, G·M, kernel…, windows…] is folded. */
Value *sn_import_conv_transpose(Call *c) {
    Dims *dims = c->dims;
    Value *x = c->input[0], *weight = c->input[1], *bias = sn_call_input(c, 2);
    int rank = x->type.rank, n = rank - 2;
    int64_t groups = sn_call_int(c, "group", 1);
    Fold axis[MOST_SPATIAL];
    if (n < 1 || weight->type.rank != rank)
        return sn_call_invalid(c, "weights of rank %d", weight->type.rank);
    if (n > MOST_SPATIAL) return sn_call_unsupported(c, "%d spatial axes", n);
    if (groups < 1) return sn_call_invalid(c, "group is %lld", (long long)groups);
    if (!read_axes(c, n, axis)) return NULL;
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, x->type.dim[1], weight->type.dim[0],
                                   c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "channels"));
    Dim g = sn_dim(dims, groups), each, filters = weight->type.dim[1], elements = filters,
        windows = sn_dim(dims, 1);
    if (!sn_dim_divides(dims, g, weight->type.dim[0], &each))
        return sn_call_invalid(c, "channels in %lld groups", (long long)groups);
    Dim split[SN_MAX_RANK] = {x->type.dim[0], sn_dim_mul(dims, filters, g)};
    for (int k = 0; k < n; k++) {
        elements = sn_dim_mulc(dims, elements, axis[k].kernel);
        windows = sn_dim_mul(dims, windows, axis[k].windows);
        split[2 + k] = sn_dim(dims, axis[k].kernel), split[2 + n + k] = axis[k].windows;
    }
    weight = transposed(c, reshaped(c, weight, 3, (Dim[]){g, each, elements}), (int[]){0, 2, 1});
    Value *columns =
        op2(c, SN_OP_MATMUL, weight, reshaped(c, x, 4, (Dim[]){x->type.dim[0], g, each, windows}));
    Value *y = fold(c, reshaped(c, columns, 2 + 2 * n, split), n, axis);
    return bias ? op2(c, SN_OP_ADD, y, sn_call_unsqueeze(c, bias, 1, n)) : y;
}

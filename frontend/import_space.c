/* Operators that rearrange positions: blocks to channels and back, cuts and pads around the middle, reversals, and pads that
 * repeat what is there. */
#include "import_compose.h"

#include <string.h>

/* ---- blocks ---- */

/* An extent that is not known to be a multiple is checked by each run. */
static Dim divided(Call *c, Dim extent, int64_t by) {
    Dim quotient, size = sn_dim(c->dims, by);
    if (sn_dim_divides(c->dims, size, extent, &quotient)) return quotient;
    quotient = sn_dim_floordiv(c->dims, extent, size);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, sn_dim_mul(c->dims, quotient, size),
                                   extent, c->builder->origin);
    if (status) sn_call_latch(c, sn_status_prefix(status, "blocks"));
    return quotient;
}

static int64_t block_size(Call *c) {
    int64_t size = sn_call_int(c, "blocksize", 0);
    if (c->input[0]->type.rank != 4) sn_call_invalid(c, "an input of rank %d", c->input[0]->type.rank);
    if (size < 1 || size > INT16_MAX) sn_call_invalid(c, "blocksize is %lld", (long long)size);
    return size;
}

/* Channels are [row, column, channel] (DCR) or [channel, row, column] (CRD) of a block. */
Value *sn_import_depth_to_space(Call *c) {
    Dims *dims = c->dims;
    Value *x = c->input[0];
    int64_t size = block_size(c);
    const char *mode = sn_call_string(c, "mode", "DCR");
    bool inside = strcmp(mode, "CRD") == 0;
    if (!inside && strcmp(mode, "DCR") != 0) sn_call_invalid(c, "mode is \"%.16s\"", mode);
    if (sn_call_failed(c)) return NULL;
    const Dim *d = x->type.dim;
    Dim block = sn_dim(dims, size), channels = divided(c, d[1], size * size);
    Dim split[2][6] = {{d[0], block, block, channels, d[2], d[3]},
                       {d[0], channels, block, block, d[2], d[3]}};
    static const int order[2][6] = {{0, 3, 4, 1, 5, 2}, {0, 1, 4, 2, 5, 3}};
    Dim merged[4] = {d[0], channels, sn_dim_mul(dims, d[2], block), sn_dim_mul(dims, d[3], block)};
    return reshaped(c, transposed(c, reshaped(c, x, 6, split[inside]), order[inside]), 4, merged);
}

Value *sn_import_space_to_depth(Call *c) {
    Dims *dims = c->dims;
    Value *x = c->input[0];
    int64_t size = block_size(c);
    if (sn_call_failed(c)) return NULL;
    const Dim *d = x->type.dim;
    Dim block = sn_dim(dims, size), rows = divided(c, d[2], size), columns = divided(c, d[3], size);
    Dim split[6] = {d[0], d[1], rows, block, columns, block};
    Dim merged[4] = {d[0], sn_dim_mulc(dims, d[1], size * size), rows, columns};
    return reshaped(c, transposed(c, reshaped(c, x, 6, split), (int[]){0, 3, 5, 1, 2, 4}), 4, merged);
}

/* ---- the middle ---- */

/* As much is cut, or padded with zeros, before as behind; an odd one more behind. */
Value *sn_import_center_crop_pad(Call *c) {
    Dims *dims = c->dims;
    Value *x = c->input[0];
    int rank = x->type.rank, count, axis_count;
    const Dim *shape = sn_call_dims(c, c->input[1], "shape", &count);
    const int64_t *axes = sn_call_int_list(c, "axes", &axis_count);
    if (sn_call_failed(c)) return NULL;
    if (count != (axes ? axis_count : rank)) return sn_call_invalid(c, "%d extents for rank %d", count, rank);
    Dim zero = sn_dim(dims, 0), before[SN_MAX_RANK], after[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) before[k] = after[k] = zero;
    bool pads = false;
    for (int i = 0; i < count; i++) {
        int axis = sn_call_axis(c, axes ? axes[i] : i, rank);
        if (sn_call_failed(c)) return NULL;
        Dim extent = x->type.dim[axis], two = sn_dim(dims, 2);
        Dim cut = sn_dim_max(dims, sn_dim_sub(dims, extent, shape[i]), zero);
        Dim more = sn_dim_max(dims, sn_dim_sub(dims, shape[i], extent), zero);
        if (cut != zero)
            x = sliced(c, x, axis, sn_dim_floordiv(dims, cut, two), sn_dim_sub(dims, extent, cut));
        before[axis] = sn_dim_floordiv(dims, more, two);
        after[axis] = sn_dim_sub(dims, more, before[axis]);
        pads = pads || more != zero;
        if (sn_call_failed(c)) return NULL;
    }
    return pads ? sn_build1(c->builder, SN_OP_PAD, &(AttrPad){rank, before, after, 0}, x) : x;
}

/* ---- reversals ---- */

/* Element t of a sequence of length n comes from n - 1 - t, and from t where that is beyond the sequence. */
Value *sn_import_reverse_sequence(Call *c) {
    Value *x = c->input[0];
    Type type = x->type;
    int batch = sn_call_axis(c, sn_call_int(c, "batch_axis", 1), type.rank);
    int time = sn_call_axis(c, sn_call_int(c, "time_axis", 0), type.rank);
    if (sn_call_failed(c)) return NULL;
    if (batch == time || c->input[1]->type.rank != 1)
        return sn_call_invalid(c, "axes or lengths that do not fit");
    Value *length = sn_call_unsqueeze(c, as_type(c, c->input[1], SN_I64), 1, type.rank - batch - 1);
    Value *at = count_up(c, SN_I64, type.dim[time], type.rank - time - 1);
    Value *mirrored = op2(c, SN_OP_SUB, op_number(c, SN_OP_SUB, length, 1), at);
    Value *from = choose(c, op2(c, SN_OP_LESS, at, length), mirrored, at);
    return sn_build2(c->builder, SN_OP_GATHER_ELEMENTS, &(AttrAxis){time}, x,
                     expanded(c, from, type.rank, type.dim));
}

/* ---- pads that repeat ---- */

typedef enum Repeat { EDGE, WRAP, REFLECT } Repeat;

/* Which element of an axis of `extent` the element `at` of the axis before its start (if negative) or behind its end is. */
static Dim repeated(Dims *dims, Repeat repeat, Dim at, Dim extent) {
    Dim zero = sn_dim(dims, 0), last = sn_dim_addc(dims, extent, -1);
    if (repeat == EDGE) return sn_dim_max(dims, zero, sn_dim_min(dims, at, last));
    if (repeat == WRAP) return sn_dim_mod(dims, at, extent);
    Dim twice = sn_dim_mulc(dims, last, 2); /* there and back */
    Dim inside = sn_dim_mod(dims, at, sn_dim_max(dims, twice, sn_dim(dims, 1)));
    return sn_dim_min(dims, inside, sn_dim_sub(dims, twice, inside));
}

Value *sn_import_pad_repeating(Call *c, const char *mode, const Dim *pads, int count, const int64_t *axes) {
    static const char *const names[] = {"edge", "wrap", "reflect"};
    Value *x = c->input[0];
    Type type = x->type;
    int repeat = 0, each = count / 2;
    while (repeat < 3 && strcmp(mode, names[repeat]) != 0) repeat++;
    if (repeat == 3) return sn_call_invalid(c, "mode is \"%.16s\"", mode);
    if (sn_call_failed(c)) return NULL;
    if (count % 2 != 0 || (!axes && each != type.rank)) return sn_call_invalid(c, "%d pads", count);
    Dim extent[SN_MAX_RANK], index[SN_MAX_RANK], front[SN_MAX_RANK];
    for (int k = 0; k < type.rank; k++) extent[k] = type.dim[k], front[k] = sn_dim(c->dims, 0);
    for (int i = 0; i < each; i++) {
        int axis = sn_call_axis(c, axes ? axes[i] : i, type.rank);
        front[axis] = pads[i];
        extent[axis] = sn_dim_add(c->dims, type.dim[axis], sn_dim_add(c->dims, pads[i], pads[each + i]));
    }
    for (int k = 0; k < type.rank; k++) {
        Dim axis = sn_dim_axis(c->dims, k, extent[k]);
        index[k] = extent[k] == type.dim[k] && sn_dim_equals(front[k], 0)
                       ? axis
                       : repeated(c->dims, (Repeat)repeat, sn_dim_sub(c->dims, axis, front[k]), type.dim[k]);
    }
    if (sn_call_failed(c)) return NULL;
    return sn_build1(c->builder, SN_OP_VIEW, &(AttrView){type.rank, extent, type.rank, index}, x);
}

/* Slices, splits, joins, pads and gathers. */
#include "import.h"

#include <math.h>
#include <string.h>

/* ---- slices ---- */

/* A start or end as ONNX counts: from the axis's end where it is negative. An end that is 0 or less (as in
 * the last n elements, n symbolic) is held to be negative by a check; where the sign is open, or data decide it, an
 * expression does. */
static Dim from_front(Call *c, Dim at, Dim extent) {
    Dims *dims = c->dims;
    Dim zero = sn_dim(dims, 0);
    int64_t constant;
    if (sn_dim_is(at, &constant)) return constant < 0 ? sn_dim_add(dims, at, extent) : at;
    if (sn_dim_le(dims, zero, at)) return at;
    Dim moved = sn_dim_add(dims, at, extent);
    if (sn_dim_le(dims, at, zero) && !sn_call_from_data(c, at)) {
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, at, sn_dim(dims, -1), c->builder->origin);
        if (status) sn_call_latch(c, status);
        return moved;
    }
    Dim below = sn_dim_min(dims, sn_dim(dims, 1), sn_dim_max(dims, zero, sn_dim_mulc(dims, at, -1)));
    return sn_dim_add(dims, at, sn_dim_mul(dims, extent, below));
}

/* An end beyond the axis means its end. A table of constant length that is cut to a symbolic one is long
 * enough, or the cut would not have the extent that all around it expects: that is checked, instead of
 * carrying a minimum through every shape that follows. */
static Dim at_most_extent(Call *c, Dim at, Dim extent) {
    if (sn_dim_le(c->dims, at, extent)) return at;
    if (sn_dim_le(c->dims, extent, at)) return extent;
    int64_t constant;
    if (sn_dim_is(at, &constant) || !sn_dim_is(extent, &constant) || sn_call_from_data(c, at))
        return sn_dim_min(c->dims, at, extent);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, at, extent, c->builder->origin);
    if (status) sn_call_latch(c, status);
    return at;
}

/* `big` ends stand for "to the end"; sums with them would leave 64 bits. */
static Dim tamed(Dims *dims, Dim at) {
    int64_t constant, big = INT64_C(1) << 48;
    if (!sn_dim_is(at, &constant)) return at;
    return sn_dim(dims, constant > big ? big : constant < -big ? -big : constant);
}

static Dim difference(Dims *dims, Dim from, Dim to) {
    return sn_dim_le(dims, from, to) ? sn_dim_sub(dims, to, from)
                                     : sn_dim_max(dims, sn_dim_sub(dims, to, from), sn_dim(dims, 0));
}

static Value *slice_axis(Call *c, Value *value, int axis, Dim start, Dim end, int64_t step) {
    if (sn_call_failed(c)) return NULL;
    Dims *dims = c->dims;
    Dim extent = value->type.dim[axis], zero = sn_dim(dims, 0), last = sn_dim_addc(dims, extent, -1), count;
    start = from_front(c, tamed(dims, start), extent);
    end = from_front(c, tamed(dims, end), extent);
    if (step > 0) {
        end = sn_dim_max(dims, at_most_extent(c, end, extent), zero);
        start = sn_dim_max(dims, start, zero);
        if (!sn_dim_le(dims, start, end)) start = at_most_extent(c, start, extent);
        count = sn_dim_ceildiv(dims, difference(dims, start, end), sn_dim(dims, step));
    } else {
        start = sn_dim_max(dims, sn_dim_min(dims, start, last), zero);
        end = sn_dim_max(dims, sn_dim_min(dims, end, last), sn_dim(dims, -1));
        count = sn_dim_min(dims, difference(dims, end, start), extent);
        count = sn_dim_ceildiv(dims, count, sn_dim(dims, -step));
    }
    return sn_build_slice(c->builder, value, axis, start, count, step);
}

typedef struct SliceBounds {
    const Dim *start, *end;
    const int64_t *axes, *steps;
    int count, end_count, axis_count, step_count;
} SliceBounds;

static Value *slice(Call *c, const SliceBounds *bounds) {
    Value *value = c->input[0];
    if (sn_call_failed(c)) return NULL;
    if (bounds->end_count != bounds->count || (bounds->axes && bounds->axis_count != bounds->count) ||
        (bounds->steps && bounds->step_count != bounds->count))
        return sn_call_invalid(c, "starts, ends, axes and steps of different lengths");
    int rank = value->type.rank;
    bool cut[SN_MAX_RANK] = {false};
    for (int i = 0; i < bounds->count && !sn_call_failed(c); i++) {
        int axis = sn_call_axis(c, bounds->axes ? bounds->axes[i] : i, rank);
        int64_t step = bounds->steps ? bounds->steps[i] : 1;
        if (step == 0 || step == INT64_MIN) return sn_call_invalid(c, "a step of %lld", (long long)step);
        if (sn_call_failed(c)) return NULL;
        if (cut[axis]) return sn_call_invalid(c, "axis %d is there twice", axis);
        cut[axis] = true;
        value = slice_axis(c, value, axis, bounds->start[i], bounds->end[i], step);
    }
    return value;
}

Value *sn_import_slice_attribute(Call *c) {
    SliceBounds bounds = {0};
    bounds.start = sn_call_dim_list(c, "starts", 1, &bounds.count);
    bounds.end = sn_call_dim_list(c, "ends", 1, &bounds.end_count);
    bounds.axes = sn_call_int_list(c, "axes", &bounds.axis_count);
    if (!bounds.start || !bounds.end) return sn_call_invalid(c, "starts or ends are missing");
    return slice(c, &bounds);
}

Value *sn_import_slice(Call *c) {
    SliceBounds bounds = {0};
    bounds.start = sn_call_signed_dims(c, c->input[1], "starts", &bounds.count);
    bounds.end = sn_call_signed_dims(c, c->input[2], "ends", &bounds.end_count);
    if (sn_call_input(c, 3)) bounds.axes = sn_call_constants(c, c->input[3], "axes", &bounds.axis_count);
    if (sn_call_input(c, 4)) bounds.steps = sn_call_constants(c, c->input[4], "steps", &bounds.step_count);
    return slice(c, &bounds);
}

/* ---- splits and joins ---- */

static Value *split_parts(Call *c, int axis, int count, const Dim *size) {
    Dim start = sn_dim(c->dims, 0), extent = c->input[0]->type.dim[axis], total = start;
    for (int k = 0; k < count; k++) total = sn_dim_add(c->dims, total, size[k]);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, total, extent, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the parts"));
    Value *first = NULL;
    for (int k = 0; k < count; k++) {
        Value *part = sn_build_slice(c->builder, c->input[0], axis, start, size[k], 1);
        if (k == 0) first = part;
        c->output[k] = part;
        start = sn_dim_add(c->dims, start, size[k]);
    }
    return first;
}

/* Equal parts; the last one is smaller where num_outputs does not divide the extent. */
Value *sn_import_split(Call *c) {
    Value *x = c->input[0];
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 0), x->type.rank), count;
    const Dim *given = sn_call_dim_list(c, "split", 1, &count);
    int64_t outputs = sn_call_int(c, "num_outputs", c->output_count);
    if (sn_call_failed(c)) return NULL;
    if (given && count != c->output_count)
        return sn_call_invalid(c, "%d parts for %d outputs", count, c->output_count);
    if (given) return split_parts(c, axis, count, given);
    if (outputs != c->output_count)
        return sn_call_invalid(c, "num_outputs is %lld for %d outputs", (long long)outputs, c->output_count);
    Dim *size = SN_ARRAY(c->import->scratch, Dim, outputs);
    Dim extent = x->type.dim[axis], parts = sn_dim(c->dims, outputs), whole;
    bool even = sn_dim_divides(c->dims, parts, extent, &whole);
    if (!even) whole = sn_dim_ceildiv(c->dims, extent, parts);
    for (int64_t k = 0; k < outputs; k++) size[k] = whole;
    if (!even) size[outputs - 1] = sn_dim_sub(c->dims, extent, sn_dim_mulc(c->dims, whole, outputs - 1));
    return split_parts(c, axis, (int)outputs, size);
}

Value *sn_import_concat(Call *c) {
    if (!sn_call_has(c, "axis")) return sn_call_invalid(c, "attribute \"axis\" is missing");
    AttrAxis attr = {sn_call_axis(c, sn_call_int(c, "axis", 0), c->input[0]->type.rank)};
    if (sn_call_failed(c) || c->input_count == 1) return c->input[0];
    return sn_build(c->builder, SN_OP_CONCAT, &attr, c->input_count, c->input);
}

/* ---- pads ---- */

/* Negative pads cut; the rest is padded with `value`. pads: all befores, then all afters, of `axes`. */
static Value *pad(Call *c, const Dim *pads, int count, const int64_t *axes, double value) {
    Value *x = c->input[0];
    int rank = x->type.rank, axis_count = count / 2;
    if (sn_call_failed(c)) return NULL;
    if (count % 2 != 0 || (!axes && axis_count != rank))
        return sn_call_invalid(c, "%d pads for rank %d", count, rank);
    Dim zero = sn_dim(c->dims, 0), before[SN_MAX_RANK], after[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) before[k] = after[k] = zero;
    bool pads_any = false;
    for (int i = 0; i < axis_count; i++) {
        int axis = sn_call_axis(c, axes ? axes[i] : i, rank);
        Dim front = sn_dim_max(c->dims, pads[i], zero),
            back = sn_dim_max(c->dims, pads[axis_count + i], zero);
        Dim cut_front = sn_dim_sub(c->dims, front, pads[i]);
        Dim cut_back = sn_dim_sub(c->dims, back, pads[axis_count + i]);
        if (sn_call_failed(c)) return NULL;
        Dim left = sn_dim_sub(c->dims, sn_dim_sub(c->dims, x->type.dim[axis], cut_front), cut_back);
        if (cut_front != zero || cut_back != zero)
            x = sn_build_slice(c->builder, x, axis, cut_front, left, 1);
        if (sn_call_failed(c)) return NULL;
        before[axis] = front;
        after[axis] = back;
        pads_any = pads_any || front != zero || back != zero;
    }
    AttrPad attr = {rank, before, after, value};
    return pads_any ? sn_build1(c->builder, SN_OP_PAD, &attr, x) : x;
}

Value *sn_import_pad_attribute(Call *c) {
    int count;
    const Dim *pads = sn_call_dim_list(c, "pads", 1, &count);
    double value = sn_call_float(c, "value", 0);
    if (!pads) return sn_call_invalid(c, "pads are missing");
    const char *mode = sn_call_string(c, "mode", "constant");
    if (strcmp(mode, "constant") != 0) return sn_import_pad_repeating(c, mode, pads, count, NULL);
    return pad(c, pads, count, NULL, value);
}

Value *sn_import_pad(Call *c) {
    int count, axis_count = 0;
    const char *mode = sn_call_string(c, "mode", "constant");
    const Dim *pads = sn_call_signed_dims(c, c->input[1], "pads", &count);
    double value = sn_call_input(c, 2) ? sn_call_number(c, c->input[2], "padding value") : 0;
    const int64_t *axes = sn_call_input(c, 3) ? sn_call_constants(c, c->input[3], "axes", &axis_count) : NULL;
    if (sn_call_failed(c)) return NULL;
    if (!sn_dtype_is_float(c->input[0]->type.dtype) && fabs(value) >= 0x1p53)
        return sn_call_unsupported(c, "a padding value of %g", value); /* a double may have rounded it */
    if (axes && axis_count * 2 != count) return sn_call_invalid(c, "%d pads for %d axes", count, axis_count);
    if (strcmp(mode, "constant") != 0) return sn_import_pad_repeating(c, mode, pads, count, axes);
    return pad(c, pads, count, axes, value);
}

/* ---- gathers ---- */

Value *sn_import_gather(Call *c) {
    AttrAxis attr = {sn_call_axis(c, sn_call_int(c, "axis", 0), c->input[0]->type.rank)};
    return sn_build2(c->builder, (OpCode)c->row->parameter, &attr, c->input[0], c->input[1]);
}

Value *sn_import_gather_nd(Call *c) {
    int64_t batch = sn_call_int(c, "batch_dims", 0);
    if (batch < 0 || batch > SN_MAX_RANK) return sn_call_invalid(c, "batch_dims is %lld", (long long)batch);
    AttrGatherNd attr = {(int)batch};
    return sn_build2(c->builder, SN_OP_GATHER_ND, &attr, c->input[0], c->input[1]);
}

/* ---- triangles ---- */

/* k is not known: column j is kept where j <= row i + k (lower), or j >= i + k (upper). */
static Value *trilu_at_run_time(Call *c, bool upper) {
    Value *x = c->input[0];
    Type type = x->type;
    if (type.rank < 2) return sn_call_invalid(c, "an input of rank %d", type.rank);
    Value *row = sn_build_positions(c->builder, SN_I64, type.dim[type.rank - 2], 1);
    Value *column = sn_build_positions(c->builder, SN_I64, type.dim[type.rank - 1], 0);
    Value *k = sn_build_reshape(c->builder, c->input[1], 0, NULL);
    Value *edge = sn_build2(c->builder, SN_OP_ADD, NULL, row, k);
    Value *kept = sn_build2(c->builder, SN_OP_LESS_EQUAL, NULL, upper ? edge : column, upper ? column : edge);
    return sn_build3(c->builder, SN_OP_WHERE, NULL, kept, x, sn_call_scalar(c, type.dtype, 0));
}

Value *sn_import_trilu(Call *c) {
    AttrTrilu attr = {sn_call_int(c, "upper", 1) != 0, sn_dim(c->dims, 0)};
    Value *k = sn_call_input(c, 1);
    if (k && !k->known) return trilu_at_run_time(c, attr.upper);
    if (k) attr.k = sn_call_dim(c, k, "k");
    return sn_build1(c->builder, SN_OP_TRILU, &attr, c->input[0]);
}

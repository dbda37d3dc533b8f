/* Quantised tensors: an integer q stands for (q - zero point)·scale, with one scale and one zero point for a whole tensor,
 * for each element of an axis, or for each block of neighbours along an axis. */
#include "import_quantize.h"

#include "import_minifloat.h"

/* ---- which scale belongs to an element ---- */

/* A scale for each block of `block` neighbours along `axis` of a tensor of type `to`, at each of its elements. */
static Value *spread_blocks(Call *c, Value *value, Type to, int axis, int64_t block) {
    Arena *arena = c->import->graph->arena;
    if (value->type.rank != to.rank)
        return sn_call_invalid(c, "scales of rank %d for blocks of a tensor of rank %d", value->type.rank,
                               to.rank);
    Dim *index = sn_view_axes(c->dims, arena, to.rank, to.dim), size = sn_dim(c->dims, block);
    for (int k = 0; k < to.rank; k++) {
        Dim wanted = k == axis ? sn_dim_ceildiv(c->dims, to.dim[k], size) : to.dim[k];
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, value->type.dim[k], wanted, c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "scales of blocks"));
    }
    index[axis] = sn_dim_floordiv(c->dims, index[axis], size);
    AttrView attr = {to.rank, to.dim, to.rank, index};
    return sn_build1(c->builder, SN_OP_VIEW, &attr, value);
}

Value *sn_quant_spread(Call *c, Value *value, Type to, int64_t axis, int64_t block) {
    if (!value || sn_call_failed(c) || value->type.rank == 0) return value;
    bool one = value->type.rank == 1 && sn_dim_equals(value->type.dim[0], 1);
    if (one && to.rank != 1) return sn_build_reshape(c->builder, value, 0, NULL);
    int at = to.rank == 1 ? 0 : sn_call_axis(c, axis, to.rank);
    if (sn_call_failed(c)) return NULL;
    if (block > 0) return spread_blocks(c, value, to, at, block);
    if (one) return sn_build_reshape(c->builder, value, 0, NULL);
    if (value->type.rank != 1) return sn_call_invalid(c, "scales of rank %d", value->type.rank);
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_EQUAL, value->type.dim[0], to.dim[at], c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "scales"));
    return sn_call_unsqueeze(c, value, 1, to.rank - at - 1);
}

/* The attributes of where scales lie; block 0: none. */
static bool read_place(Call *c, int64_t *axis, int64_t *block) {
    *axis = sn_call_int(c, "axis", 1);
    *block = sn_call_int(c, "block_size", 0);
    if (*block < 0 || *block > INT32_MAX) return sn_call_invalid(c, "block_size is %lld", (long long)*block);
    return !sn_call_failed(c);
}

/* ---- one tensor ---- */

/* The integers that a quantised tensor may have. */
bool sn_quant_range(Call *c, DType dtype, const Narrow *narrow, double *least, double *most) {
    int bits = narrow ? narrow->bits : 8 * sn_dtype_bytes(dtype);
    if (!sn_dtype_is_int(dtype) || bits > 16)
        return sn_call_unsupported(c, "quantised to %s", sn_dtype_name(dtype));
    bool negative = sn_dtype_is_signed(dtype);
    *least = negative ? -(double)(1 << (bits - 1)) : 0;
    *most = (double)((1 << (negative ? bits - 1 : bits)) - 1);
    return true;
}

Value *sn_quant_close(Call *c, Value *ratio, Value *zero, DType dtype, const Narrow *narrow) {
    Builder *b = c->builder;
    double least, most, same;
    if (sn_call_failed(c) || !sn_quant_range(c, dtype, narrow, &least, &most)) return NULL;
    /* Every sum of a rounded ratio and a zero point that is in range is exact in f32. */
    Value *y = sn_build1(b, SN_OP_ROUND, NULL, sn_build_cast(b, ratio, SN_F32));
    if (zero && !(sn_value_is_splat(zero, &same) && same == 0))
        y = sn_build2(b, SN_OP_ADD, NULL, y, sn_build_cast(b, zero, SN_F32));
    /* What is no number becomes the least, as in onnxruntime: a scale of infinity, which calibration gives a mask of it. */
    Value *bottom = sn_call_scalar(c, SN_F32, least);
    y = choose(c, sn_build2(b, SN_OP_LESS, NULL, bottom, y), y, bottom);
    y = sn_build2(b, SN_OP_MIN, NULL, y, sn_call_scalar(c, SN_F32, most));
    return sn_call_failed(c) ? NULL : sn_build_cast(b, y, dtype);
}

Value *sn_quant_centre(Call *c, Value *q, Value *zero, DType to) {
    double same;
    if (sn_call_failed(c)) return NULL;
    Value *x = sn_build_cast(c->builder, q, to);
    if (!zero || (sn_value_is_splat(zero, &same) && same == 0)) return x;
    return sn_build2(c->builder, SN_OP_SUB, NULL, x, sn_build_cast(c->builder, zero, to));
}

Value *sn_quant_unpack(Call *c, Value *bytes, int bits, Dim count) {
    Builder *b = c->builder;
    if (sn_call_failed(c)) return NULL;
    int each = 8 / bits, rank = bytes->type.rank;
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) extent[k] = bytes->type.dim[k];
    if (each > 1) {
        Value *part[8];
        Value *columns = sn_call_unsqueeze(c, bytes, rank, 1);
        for (int i = 0; i < each; i++) {
            part[i] = i == 0
                          ? columns
                          : sn_build2(b, SN_OP_DIV, NULL, columns, sn_call_scalar(c, SN_U8, 1 << bits * i));
            part[i] = sn_build2(b, SN_OP_MOD, NULL, part[i], sn_call_scalar(c, SN_U8, 1 << bits));
        }
        AttrAxis last = {rank};
        extent[rank - 1] = sn_dim_mulc(c->dims, extent[rank - 1], each);
        bytes = sn_build_reshape(b, sn_build(b, SN_OP_CONCAT, &last, each, part), rank, extent);
    }
    if (sn_call_failed(c)) return NULL;
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, count, bytes->type.dim[rank - 1], b->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "packed elements"));
    return sn_build_slice(b, bytes, rank - 1, sn_dim(c->dims, 0), count, 1);
}

/* An attribute that names an element type; `missing` where it is absent or 0. */
static bool read_type(Call *c, const char *name, DType missing, DType *out, const Narrow **narrow) {
    int64_t onnx = sn_call_int(c, name, 0);
    *out = missing;
    if (sn_call_failed(c) || onnx == 0) return !sn_call_failed(c);
    if (onnx < 0 || onnx > INT32_MAX || !sn_narrow_held((int)onnx, out))
        return sn_call_unsupported(c, "%s %lld", name, (long long)onnx);
    if (narrow) *narrow = sn_narrow((int)onnx);
    return true;
}

/* Scales as numbers: they may be powers of two. */
static Value *scale_numbers(Call *c) {
    return is_minifloat(c->narrow[1]) ? sn_minifloat_open(c, c->input[1], c->narrow[1]) : c->input[1];
}

/* Of a ratio; the sum with a zero point, which is 0, has no sign where it is 0. */
static Value *close_minifloat(Call *c, Value *ratio, const Value *zero, const Narrow *narrow, bool saturate) {
    if (zero && narrow->bits == 4)
        ratio = choose(c, op_number(c, SN_OP_EQUAL, ratio, 0), op1(c, SN_OP_ABS, ratio), ratio);
    return sn_minifloat_close(c, ratio, narrow, saturate);
}

Value *sn_import_quantize(Call *c) {
    Builder *b = c->builder;
    Value *x = c->input[0], *scale = scale_numbers(c), *zero = sn_call_input(c, 2);
    int64_t axis, block;
    DType to, precision;
    const Narrow *narrow = zero ? c->narrow[2] : NULL;
    bool saturate = sn_call_int(c, "saturate", 1) != 0; /* of floats of 8 bits */
    if (!read_place(c, &axis, &block)) return NULL;
    if (!read_type(c, "output_dtype", zero ? zero->type.dtype : SN_U8, &to, &narrow)) return NULL;
    if (!read_type(c, "precision", scale->type.dtype, &precision, NULL)) return NULL;
    if (!sn_dtype_is_float(precision))
        return sn_call_unsupported(c, "division in %s", sn_dtype_name(precision));
    c->says = true, c->made = narrow;
    scale = sn_quant_spread(c, scale, x->type, axis, block);
    if (sn_call_failed(c)) return NULL;
    Value *ratio =
        sn_build2(b, SN_OP_DIV, NULL, sn_build_cast(b, x, precision), sn_build_cast(b, scale, precision));
    if (is_minifloat(narrow)) return close_minifloat(c, ratio, zero, narrow, saturate);
    return sn_quant_close(c, ratio, sn_quant_spread(c, zero, x->type, axis, block), to, narrow);
}

/* A difference of 16 bits is exact in f32; one of 32 bits is made before it is rounded. */
Value *sn_quant_open(Call *c, Value *q, Value *scale, Value *zero) {
    DType dtype = q->type.dtype;
    if (!sn_dtype_is_int(dtype) || sn_dtype_bytes(dtype) > 4)
        return sn_call_unsupported(c, "quantised as %s", sn_dtype_name(dtype));
    Value *x = sn_quant_centre(c, q, zero, sn_dtype_bytes(dtype) == 4 ? SN_I32 : SN_F32);
    if (sn_call_failed(c)) return NULL;
    return sn_build2(c->builder, SN_OP_MUL, NULL, sn_build_cast(c->builder, x, SN_F32),
                     sn_build_cast(c->builder, scale, SN_F32));
}

Value *sn_import_dequantize(Call *c) {
    Value *q = c->input[0], *scale = scale_numbers(c), *zero = sn_call_input(c, 2);
    int64_t axis, block;
    DType to;
    if (!read_place(c, &axis, &block)) return NULL;
    if (!read_type(c, "output_dtype", c->input[1]->type.dtype, &to, NULL)) return NULL;
    if (!sn_dtype_is_float(to)) return sn_call_invalid(c, "dequantised to %s", sn_dtype_name(to));
    c->says = true;
    scale = sn_quant_spread(c, scale, q->type, axis, block);
    zero = sn_quant_spread(c, zero, q->type, axis, block);
    if (sn_call_failed(c)) return NULL;
    if (is_minifloat(c->narrow[0]))
        return as_type(c, op2(c, SN_OP_MUL, sn_minifloat_open(c, q, c->narrow[0]), as_type(c, scale, SN_F32)),
                       to);
    return as_type(c, sn_quant_open(c, q, scale, zero), to);
}

/* The last axis of what gathered bytes hold: each of `each` elements, of zero points as many as there are scales. */
static void unpack_rows(Call *c, Value **part, int64_t bits) {
    if (sn_call_failed(c)) return;
    int last = part[0]->type.rank - 1;
    Dim whole = sn_dim_mulc(c->dims, part[0]->type.dim[last], 8 / bits);
    part[0] = sn_quant_unpack(c, part[0], (int)bits, whole);
    if (part[2]) part[2] = sn_quant_unpack(c, part[2], (int)bits, part[1]->type.dim[last]);
}

/* Rows of a quantised table, opened behind the gather. Data, indices, scales, zero points; what lies in bytes, one or several
 * in each, has its zero point in the middle where none is given. */
Value *sn_import_gather_quantized(Call *c) {
    Value *part[] = {c->input[0], c->input[2], sn_call_input(c, 3)};
    int rank = part[0]->type.rank, axis = sn_call_axis(c, sn_call_int(c, "gather_axis", 0), rank);
    int64_t along = sn_call_axis(c, sn_call_int(c, "quantize_axis", 1), rank);
    int64_t block = sn_call_int(c, "block_size", 128), bits = sn_call_int(c, "bits", 4);
    DType to = part[1]->type.dtype;
    bool bytes = !c->narrow[0];
    if (sn_call_failed(c)) return NULL;
    if (block < 1 || block > INT32_MAX) return sn_call_invalid(c, "block_size is %lld", (long long)block);
    if (axis == along) return sn_call_invalid(c, "rows are gathered along the axis of the blocks");
    if (bytes && bits != 2 && bits != 4 && bits != 8)
        return sn_call_unsupported(c, "elements of %lld bits", (long long)bits);
    if (bytes && bits < 8 && axis == rank - 1)
        return sn_call_invalid(c, "elements are gathered along the axis on which bytes hold several");
    for (int k = 0; k < 3; k++) {
        if (part[k] && part[k]->type.rank != rank) return sn_call_invalid(c, "operands of different ranks");
        if (part[k]) part[k] = gathered(c, part[k], c->input[1], axis);
    }
    if (bytes && bits < 8) unpack_rows(c, part, bits);
    if (sn_call_failed(c)) return NULL;
    if (along > axis) along += c->input[1]->type.rank - 1;
    c->says = true;
    Value *scale = sn_quant_spread(c, part[1], part[0]->type, along, block);
    Value *zero = sn_quant_spread(c, part[2], part[0]->type, along, block);
    if (!zero && bytes) zero = sn_call_scalar(c, SN_U8, 1 << (bits - 1));
    return sn_call_failed(c) ? NULL : as_type(c, sn_quant_open(c, part[0], scale, zero), to);
}

/* ---- quantised by its own range ---- */

static Value *extreme(Call *c, Value *x, OpCode reduce, OpCode with) {
    int64_t axes[SN_MAX_RANK];
    for (int k = 0; k < x->type.rank; k++) axes[k] = k;
    Value *y = x->type.rank ? sn_call_reduce(c, reduce, x, x->type.rank, axes, false) : x;
    return sn_build2(c->builder, with, NULL, y, sn_call_scalar(c, SN_F32, 0));
}

/* The range, widened to hold 0, in 255 steps; where all is 0 the scale is 1. */
Quantised sn_quant_dynamic(Call *c, Value *x) {
    Builder *b = c->builder;
    Quantised none = {0};
    if (x->type.dtype != SN_F32) {
        sn_call_unsupported(c, "a range of %s", sn_dtype_name(x->type.dtype));
        return none;
    }
    Value *most = extreme(c, x, SN_OP_REDUCE_MAX, SN_OP_MAX);
    Value *least = extreme(c, x, SN_OP_REDUCE_MIN, SN_OP_MIN);
    Value *range = sn_build2(b, SN_OP_SUB, NULL, most, least);
    Value *scale = sn_build2(b, SN_OP_DIV, NULL, range, sn_call_scalar(c, SN_F32, 255));
    Value *flat = sn_build2(b, SN_OP_EQUAL, NULL, range, sn_call_scalar(c, SN_F32, 0));
    scale = sn_build3(b, SN_OP_WHERE, NULL, flat, sn_call_scalar(c, SN_F32, 1), scale);
    Value *start = sn_build2(b, SN_OP_DIV, NULL, least, scale);
    Value *zero = sn_quant_close(c, sn_build1(b, SN_OP_NEG, NULL, start), NULL, SN_U8, NULL);
    if (sn_call_failed(c)) return none;
    Value *q = sn_quant_close(c, sn_build2(b, SN_OP_DIV, NULL, x, scale), zero, SN_U8, NULL);
    return (Quantised){q, scale, zero};
}

Value *sn_import_dynamic_quantize(Call *c) {
    Quantised made = sn_quant_dynamic(c, c->input[0]);
    if (c->output_count > 1) c->output[1] = made.scale;
    if (c->output_count > 2) c->output[2] = made.zero;
    return made.q;
}

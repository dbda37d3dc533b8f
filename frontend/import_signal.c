/* Windows of signal processing and discrete Fourier transforms. */
#include "import_compose.h"

#include <math.h>

static DType output_type(Call *c) {
    DType dtype = SN_F32;
    int64_t code = sn_call_int(c, "output_datatype", sn_dtype_onnx(SN_F32));
    if (code < 0 || code > INT32_MAX || !sn_dtype_from_onnx((int)code, &dtype))
        sn_call_unsupported(c, "element type %lld", (long long)code);
    return dtype;
}

/* ---- windows: a0 - a1·cos(2πn/N) + a2·cos(4πn/N) ---- */

/* Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform" (1978). */
static const double weights[3][3] = {{0.5, 0.5, 0}, {25.0 / 46, 21.0 / 46, 0}, {0.42, 0.5, 0.08}};

/* The parameter: 0 Hann, 1 Hamming, 2 Blackman. */
Value *sn_import_cosine_window(Call *c) {
    const double *a = weights[c->row->parameter];
    DType dtype = output_type(c);
    bool periodic = sn_call_int(c, "periodic", 1) != 0;
    Dim size = sn_call_dim(c, c->input[0], "size");
    if (sn_call_failed(c)) return NULL;
    Dim period = periodic ? size : sn_dim_addc(c->dims, size, -1);
    Value *part = op2(c, SN_OP_DIV, count_up(c, SN_F64, size, 0), size_number(c, period, SN_F64));
    Value *angle = op_number(c, SN_OP_MUL, part, 2 * M_PI);
    Value *once = op_number(c, SN_OP_MUL, op1(c, SN_OP_COS, angle), -a[1]);
    Value *window = op_number(c, SN_OP_ADD, once, a[0]);
    if (a[2] != 0) {
        Value *twice = op1(c, SN_OP_COS, op_number(c, SN_OP_MUL, angle, 2));
        window = op2(c, SN_OP_ADD, window, op_number(c, SN_OP_MUL, twice, a[2]));
    }
    return as_type(c, window, dtype);
}

/* ---- Fourier transforms ---- */

typedef struct Transform {
    int axis;
    Dim length, given, results; /* of the transform; elements that are read, and made */
    bool inverse, half;         /* half: of an inverse, the given ones are the first half of a spectrum */
} Transform;

/* Of a spectrum's first half all stand for themselves and their conjugates, but for the first one and, of an even length,
 * the last one. */
static Value *twice_inside(Call *c, const Transform *t, Value *wave) {
    Value *n = count_up(c, SN_I64, t->given, 1), *length = size_number(c, t->length, SN_I64);
    Value *mirror = op2(c, SN_OP_MOD, op2(c, SN_OP_SUB, length, n), length);
    return choose(c, op2(c, SN_OP_EQUAL, n, mirror), wave, op_number(c, SN_OP_MUL, wave, 2));
}

/* [given, results]: cos or sin of 2πnk/length. The product is reduced before it is rounded. */
static Value *waves(Call *c, const Transform *t, OpCode function, DType dtype) {
    Value *n = count_up(c, SN_I64, t->given, 1), *k = count_up(c, SN_I64, t->results, 0);
    Value *turn = op2(c, SN_OP_MOD, op2(c, SN_OP_MUL, n, k), size_number(c, t->length, SN_I64));
    Value *part = op2(c, SN_OP_DIV, as_type(c, turn, SN_F64), size_number(c, t->length, SN_F64));
    Value *wave = op1(c, function, op_number(c, SN_OP_MUL, part, 2 * M_PI));
    return as_type(c, t->half ? twice_inside(c, t, wave) : wave, dtype);
}

/* The real (0) or imaginary (1) part, its signal axis the last one and of as many elements as are read. */
static Value *part_of(Call *c, Value *x, int part, const Transform *t) {
    if (sn_call_failed(c)) return NULL;
    int rank = x->type.rank - 1;
    x = sliced(c, x, rank, sn_dim(c->dims, part), sn_dim(c->dims, 1));
    x = sn_call_failed(c) ? NULL : reshaped(c, x, rank, x->type.dim);
    if (t->axis != rank - 1) x = sn_call_swap(c, x, t->axis, rank - 1);
    if (sn_call_failed(c)) return NULL;
    Dim zero = sn_dim(c->dims, 0), more = sn_dim_sub(c->dims, t->given, x->type.dim[rank - 1]);
    if (sn_dim_le(c->dims, more, zero)) return sliced(c, x, rank - 1, zero, t->given);
    Dim before[SN_MAX_RANK], after[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) before[k] = zero, after[k] = k == rank - 1 ? more : zero;
    return sn_build1(c->builder, SN_OP_PAD, &(AttrPad){rank, before, after, 0}, x);
}

static Value *transform(Call *c, Value *x, const Transform *t) {
    DType dtype = x->type.dtype, wide = wide_type(dtype);
    int rank = x->type.rank - 1;
    bool complex = sn_dim_equals(x->type.dim[rank], 2);
    x = as_type(c, x, wide);
    Value *cosine = waves(c, t, SN_OP_COS, wide), *sine = waves(c, t, SN_OP_SIN, wide);
    if (!t->inverse) sine = op1(c, SN_OP_NEG, sine);
    Value *real = part_of(c, x, 0, t), *part[2];
    part[0] = op2(c, SN_OP_MATMUL, real, cosine), part[1] = op2(c, SN_OP_MATMUL, real, sine);
    if (complex) {
        Value *imaginary = part_of(c, x, 1, t);
        part[0] = op2(c, SN_OP_SUB, part[0], op2(c, SN_OP_MATMUL, imaginary, sine));
        part[1] = op2(c, SN_OP_ADD, part[1], op2(c, SN_OP_MATMUL, imaginary, cosine));
    }
    for (int k = 0; k < (t->half ? 1 : 2); k++) { /* what half a spectrum is of is real */
        if (t->inverse) part[k] = op2(c, SN_OP_DIV, part[k], size_number(c, t->length, wide));
        if (t->axis != rank - 1) part[k] = sn_call_swap(c, part[k], t->axis, rank - 1);
        part[k] = sn_call_unsqueeze(c, part[k], rank, 1);
    }
    return as_type(c, joined(c, rank, t->half ? 1 : 2, part), dtype);
}

/* As products with matrices of cosines and sines: signals are short. The parameter: the axis is an attribute. */
Value *sn_import_dft(Call *c) {
    Value *x = c->input[0];
    int rank = x->type.rank - 1;
    bool onesided = sn_call_int(c, "onesided", 0) != 0;
    Transform t = {.inverse = sn_call_int(c, "inverse", 0) != 0};
    int64_t axis = c->row->parameter ? sn_call_int(c, "axis", 1) : -2, parts;
    if (!c->row->parameter && sn_call_input(c, 2)) axis = (int64_t)sn_call_number(c, c->input[2], "axis");
    if (rank < 1) return sn_call_invalid(c, "an input of rank %d", rank + 1);
    t.axis = sn_call_axis(c, axis, rank + 1);
    if (sn_call_failed(c)) return NULL;
    if (t.axis == rank) return sn_call_invalid(c, "a transform of the real and the imaginary part");
    if (!sn_dim_is(x->type.dim[rank], &parts))
        return sn_call_unsupported(c, "numbers not known to be complex");
    if (parts != 1 && parts != 2) return sn_call_invalid(c, "numbers of %lld parts", (long long)parts);
    if (onesided && !t.inverse && parts == 2)
        return sn_call_unsupported(c, "half the spectrum of complex numbers");
    if (onesided && t.inverse && parts == 1) return sn_call_invalid(c, "half a spectrum of real numbers");
    t.half = onesided && t.inverse;
    Dim extent = x->type.dim[t.axis], two = sn_dim(c->dims, 2);
    Dim whole = t.half ? sn_dim_mul(c->dims, sn_dim_addc(c->dims, extent, -1), two) : extent;
    t.length = sn_call_input(c, 1) ? sn_call_dim(c, c->input[1], "length") : whole;
    if (sn_call_failed(c)) return NULL;
    Dim half = sn_dim_addc(c->dims, sn_dim_floordiv(c->dims, t.length, two), 1);
    t.results = onesided && !t.inverse ? half : t.length;
    t.given = !t.half ? t.length : t.length == whole ? extent : half;
    if (!sn_dim_le(c->dims, t.given, extent) && !sn_dim_le(c->dims, extent, t.given))
        return sn_call_unsupported(c, "a length not known to be shorter or longer than the signal");
    return transform(c, x, &t);
}

/* [B, frames, N, parts] of [B, L, parts]: element n of frame f is element f·step + n. */
static Value *frames_of(Call *c, Value *x, Dim step, Dim length) {
    Dims *dims = c->dims;
    Dim parts = x->type.rank == 3 ? x->type.dim[2] : sn_dim(dims, 1);
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, length, x->type.dim[1], c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the frame's length"));
    Dim count = sn_dim_addc(dims, sn_dim_floordiv(dims, sn_dim_sub(dims, x->type.dim[1], length), step), 1);
    Dim extent[4] = {x->type.dim[0], count, length, parts};
    Dim start = sn_dim_mul(dims, sn_dim_axis(dims, 1, count), step);
    Dim index[3] = {sn_dim_axis(dims, 0, extent[0]), sn_dim_add(dims, start, sn_dim_axis(dims, 2, length)),
                    sn_dim_axis(dims, 3, parts)};
    AttrView attr = {4, extent, x->type.rank, index};
    return sn_build1(c->builder, SN_OP_VIEW, &attr, x);
}

/* The transforms of frames, each times the window: signal, distance of the frames, window, their length. */
Value *sn_import_stft(Call *c) {
    Value *x = c->input[0], *window = sn_call_input(c, 2);
    bool onesided = sn_call_int(c, "onesided", 1) != 0;
    Dim step = sn_call_dim(c, c->input[1], "frame_step"), length = NULL;
    int64_t distance, parts = 1;
    if (x->type.rank != 2 && x->type.rank != 3)
        return sn_call_invalid(c, "a signal of rank %d", x->type.rank);
    if (sn_call_input(c, 3))
        length = sn_call_dim(c, c->input[3], "frame_length");
    else if (window)
        length = window->type.dim[0];
    else
        return sn_call_invalid(c, "frames of no length");
    if (sn_call_failed(c)) return NULL;
    if (sn_call_from_data(c, step)) return sn_call_depends(c, c->input[1], "frame_step");
    if (!sn_dim_is(step, &distance))
        return sn_call_unsupported(c, "a frame_step that depends on a run's sizes");
    if (distance < 1) return sn_call_invalid(c, "a frame_step of %lld", (long long)distance);
    if (x->type.rank == 3 && (!sn_dim_is(x->type.dim[2], &parts) || parts < 1 || parts > 2))
        return sn_call_unsupported(c, "numbers not known to be complex");
    if (onesided && parts == 2) return sn_call_unsupported(c, "a transform of half a spectrum");
    Value *frames = frames_of(c, x, step, length);
    if (frames && window) frames = op2(c, SN_OP_MUL, frames, sn_call_unsqueeze(c, window, 1, 1));
    Dim half = sn_dim_addc(c->dims, sn_dim_floordiv(c->dims, length, sn_dim(c->dims, 2)), 1);
    Transform t = {.axis = 2, .length = length, .given = length, .results = onesided ? half : length};
    return sn_call_failed(c) ? NULL : transform(c, frames, &t);
}

/* ---- MelWeightMatrix ---- */

static Value *frequency_of(Call *c, int input) {
    return as_type(c, reshaped(c, c->input[input], 0, NULL), SN_F64);
}

/* log(1 + f/700), by which mels are counted. */
static Value *mels_of(Call *c, Value *frequency) {
    return op1(c, SN_OP_LOG, op_number(c, SN_OP_ADD, op_number(c, SN_OP_DIV, frequency, 700), 1));
}

/* Numbers 0, 1 … bins + 1 of as many frequencies, equally far apart in mels: which element of a spectrum each falls on. */
static Value *edges_of(Call *c, Dim bins, Dim length) {
    Dim edges = sn_dim_addc(c->dims, bins, 2);
    Value *low = mels_of(c, frequency_of(c, 3)), *high = mels_of(c, frequency_of(c, 4));
    Value *step = op2(c, SN_OP_DIV, op2(c, SN_OP_SUB, high, low), size_number(c, edges, SN_F64));
    Value *mel = op2(c, SN_OP_ADD, op2(c, SN_OP_MUL, count_up(c, SN_F64, edges, 0), step), low);
    Value *frequency = op_number(c, SN_OP_MUL, op_number(c, SN_OP_SUB, op1(c, SN_OP_EXP, mel), 1), 700);
    Value *elements = size_number(c, sn_dim_addc(c->dims, length, 1), SN_F64);
    Value *place = op2(c, SN_OP_DIV, op2(c, SN_OP_MUL, elements, frequency), frequency_of(c, 2));
    return op1(c, SN_OP_FLOOR, place);
}

/* How far from a to b an element of a spectrum lies, 0 where it is beyond a: a side of a triangle. */
static Value *side_of(Call *c, Value *a, Value *at, Value *b, bool falls) {
    Value *way = falls ? op2(c, SN_OP_SUB, a, at) : op2(c, SN_OP_SUB, at, a);
    Value *whole = falls ? op2(c, SN_OP_SUB, a, b) : op2(c, SN_OP_SUB, b, a);
    return op_number(c, SN_OP_MAX, op2(c, SN_OP_DIV, way, whole), 0);
}

/* [length/2 + 1, bins]: a triangle for each bin, from the edge before to the one behind it. */
Value *sn_import_mel_weights(Call *c) {
    Dims *dims = c->dims;
    DType dtype = output_type(c);
    Dim bins = sn_call_dim(c, c->input[0], "num_mel_bins"),
        length = sn_call_dim(c, c->input[1], "dft_length");
    if (sn_call_failed(c)) return NULL;
    Value *edges = edges_of(c, bins, length), *edge[3];
    for (int k = 0; k < 3; k++) edge[k] = sliced(c, edges, 0, sn_dim(dims, k), bins);
    Dim elements = sn_dim_addc(dims, sn_dim_floordiv(dims, length, sn_dim(dims, 2)), 1);
    Value *at = count_up(c, SN_F64, elements, 1), *below = op2(c, SN_OP_LESS, at, edge[1]);
    Value *sides =
        choose(c, below, side_of(c, edge[0], at, edge[1], false), side_of(c, edge[2], at, edge[1], true));
    Value *top = op2(c, SN_OP_EQUAL, at, edge[1]);
    return as_type(c, choose(c, top, sn_call_scalar(c, SN_F64, 1), sides), dtype);
}

/* Random numbers, as functions of the node's seed and the position of the element.
 *
 * Philox has a key, here the seed, and a stream: equal seeds give equal numbers, and nodes without one are numbered. Every
 * run of a model draws the same, and every turn of a loop its own; a training gives each run numbers of its own (passes/dropout.c). The words are cut to
 * what the float type holds exactly, so that all devices compare and scale the very same numbers. */
#include "import_compose.h"
#include "turns.h"

#include <math.h>

/* Streams of a node's second number an element. */
enum { SECOND = SN_DROPOUT_NODES / 2 };

typedef struct Draw {
    int64_t number;
    Value *seed;
} Draw;

/* The upper half tells seeds from each other's kinds, and from the seeds of trainings. */
static bool begin(Call *c, Draw *out) {
    bool given = sn_call_has(c, "seed");
    float seed = (float)sn_call_float(c, "seed", 0);
    uint32_t bits;
    memcpy(&bits, &seed, sizeof bits);
    out->number = given ? 0 : ++c->import->draws;
    if (out->number >= SECOND) sn_call_unsupported(c, "more than %d random nodes", SECOND - 1);
    Dim key = sn_dim(c->dims, (given ? INT64_C(1) << 32 : INT64_C(2) << 32) | (int64_t)bits);
    out->seed = sn_build_dims(c->builder, 1, &key, true);
    return !sn_call_failed(c);
}

/* Words 0, 1 … of the stream, as floats of `dtype` with `bits` bits, the others zero. */
static Value *words(Call *c, const Draw *draw, int64_t number, Dim count, DType dtype, int bits) {
    Turn *turn = c->import->turn;
    Value *run = turn ? sn_turn_number(turn) : sn_call_scalar(c, SN_I64, 0);
    Value *index = count_up(c, SN_I64, count, 0);
    Value *word = sn_build3(c->builder, SN_OP_RANDOM, &(AttrRandom){number}, draw->seed, run, index);
    if (bits < 32) word = op_number(c, SN_OP_BIT_AND, word, (double)(UINT32_MAX - (UINT32_MAX >> bits)));
    return as_type(c, word, dtype);
}

static int uniform_bits(DType dtype) {
    return dtype == SN_F64 ? 32 : 24;
}

/* In [0, 1). */
static Value *uniform(Call *c, Type type) {
    DType wide = wide_type(type.dtype);
    Draw draw;
    if (!begin(c, &draw)) return NULL;
    Value *word = words(c, &draw, draw.number, sn_type_count(c->dims, type), wide, uniform_bits(wide));
    return reshaped(c, op_number(c, SN_OP_MUL, word, 0x1p-32), type.rank, type.dim);
}

/* Box and Muller, "A note on the generation of random normal deviates" (1958): √(−2 log u)·cos(2πv). u is in the middle
 * of its step, which takes a bit more, and so above 0. */
static Value *normal(Call *c, Type type) {
    DType wide = wide_type(type.dtype);
    Dim count = sn_type_count(c->dims, type);
    int bits = wide == SN_F64 ? 32 : 23;
    Draw draw;
    if (!begin(c, &draw)) return NULL;
    Value *u = words(c, &draw, draw.number, count, wide, bits);
    Value *v = words(c, &draw, draw.number + SECOND, count, wide, uniform_bits(wide));
    u = op_number(c, SN_OP_MUL, op_number(c, SN_OP_ADD, u, ldexp(0.5, 32 - bits)), 0x1p-32);
    Value *radius = op1(c, SN_OP_SQRT, op_number(c, SN_OP_MUL, op1(c, SN_OP_LOG, u), -2));
    Value *turn = op1(c, SN_OP_COS, op_number(c, SN_OP_MUL, v, 2 * acos(-1) * 0x1p-32));
    return reshaped(c, op2(c, SN_OP_MUL, radius, turn), type.rank, type.dim);
}

/* The element type that the node names, else `usual`. */
static DType drawn_type(Call *c, DType usual, bool floats) {
    int64_t code = sn_call_int(c, "dtype", sn_dtype_onnx(usual));
    DType dtype = usual;
    if (code < 0 || code > INT32_MAX || !sn_dtype_from_onnx((int)code, &dtype))
        sn_call_unsupported(c, "element type %lld", (long long)code);
    else if (floats && !sn_dtype_is_float(dtype))
        sn_call_invalid(c, "random floats as %s", sn_dtype_name(dtype));
    return dtype;
}

/* What the node draws: of the shape that it names or, where it has an input, of that one's shape. */
static bool drawn(Call *c, Type *out) {
    if (c->input_count) {
        *out = c->input[0]->type;
        DType usual = sn_dtype_is_float(out->dtype) ? out->dtype : SN_F32;
        out->dtype = drawn_type(c, usual, true);
        return !sn_call_failed(c);
    }
    int count;
    const int64_t *shape = sn_call_int_list(c, "shape", &count);
    if (!sn_call_has(c, "shape")) sn_call_invalid(c, "attribute \"shape\" is missing");
    if (count > SN_MAX_RANK) sn_call_unsupported(c, "%d axes", count);
    *out = (Type){drawn_type(c, SN_F32, true), count, NULL};
    if (sn_call_failed(c)) return false;
    Dim *dim = SN_ARRAY(c->import->graph->arena, Dim, count);
    for (int i = 0; i < count; i++) {
        if (shape[i] < 0) sn_call_invalid(c, "an axis of %lld elements", (long long)shape[i]);
        dim[i] = sn_dim(c->dims, shape[i]);
    }
    out->dim = dim;
    return !sn_call_failed(c);
}

static Value *scaled(Call *c, Value *x, double factor, double offset, DType dtype) {
    if (factor != 1) x = op_number(c, SN_OP_MUL, x, factor);
    if (offset != 0) x = op_number(c, SN_OP_ADD, x, offset);
    return as_type(c, x, dtype);
}

Value *sn_import_random_uniform(Call *c) {
    double low = sn_call_float(c, "low", 0), high = sn_call_float(c, "high", 1);
    Type type;
    return drawn(c, &type) ? scaled(c, uniform(c, type), high - low, low, type.dtype) : NULL;
}

Value *sn_import_random_normal(Call *c) {
    double mean = sn_call_float(c, "mean", 0), scale = sn_call_float(c, "scale", 1);
    Type type;
    return drawn(c, &type) ? scaled(c, normal(c, type), scale, mean, type.dtype) : NULL;
}

/* 1 with the probability that stands there. */
Value *sn_import_bernoulli(Call *c) {
    Value *p = c->input[0];
    DType dtype = drawn_type(c, p->type.dtype, false);
    if (sn_call_failed(c)) return NULL;
    Value *u = uniform(c, p->type);
    return as_type(c, op2(c, SN_OP_LESS, u, as_type(c, p, wide_type(p->type.dtype))), dtype);
}

/* The inverse of the distribution: in a row of scores, how many classes end at or below u of the whole. */
Value *sn_import_multinomial(Call *c) {
    Value *x = c->input[0];
    DType dtype = drawn_type(c, SN_I32, false), wide = wide_type(x->type.dtype);
    int64_t samples = sn_call_int(c, "sample_size", 1);
    if (x->type.rank != 2) return sn_call_invalid(c, "scores of rank %d, not 2", x->type.rank);
    if (samples < 1) return sn_call_invalid(c, "%lld samples", (long long)samples);
    if (dtype != SN_I32 && dtype != SN_I64) return sn_call_invalid(c, "classes as %s", sn_dtype_name(dtype));
    if (sn_call_failed(c)) return NULL;
    Dim rows = x->type.dim[0], classes = x->type.dim[1], one = sn_dim(c->dims, 1);
    Dim shape[3] = {rows, sn_dim(c->dims, samples), one}, ends[3] = {rows, one, classes};
    x = as_type(c, x, wide);
    Value *weight = op1(c, SN_OP_EXP, op2(c, SN_OP_SUB, x, reduce_axis(c, SN_OP_REDUCE_MAX, x, 1, true)));
    Value *end = sn_build1(c->builder, SN_OP_CUMSUM, &(AttrScan){.axis = 1}, weight);
    Value *whole = sliced(c, end, 1, sn_dim_sub(c->dims, classes, one), one);
    Value *u = uniform(c, (Type){wide, 3, shape});
    u = op2(c, SN_OP_MUL, u, reshaped(c, whole, 3, (Dim[]){rows, one, one}));
    Value *above = op2(c, SN_OP_LESS_EQUAL, reshaped(c, end, 3, ends), u);
    Value *count = reduce_axis(c, SN_OP_REDUCE_SUM, as_type(c, above, dtype), 2, false);
    return op2(c, SN_OP_MIN, count, size_number(c, sn_dim_sub(c->dims, classes, one), dtype));
}

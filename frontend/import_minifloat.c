/* Floats of 4 and 8 bits: their codes lie in bytes, which become f32 by a table, and come of f32 by arithmetic. */
#include "import_minifloat.h"

#include "import_bits.h"

#include <math.h>
#include <string.h>

/* ---- codes to numbers ---- */

static int sign_bit(const Narrow *narrow) {
    return 1 << (narrow->bits - 1);
}

static float number_of(const Narrow *narrow, int code) {
    int m = narrow->mantissa, top = sign_bit(narrow), low = code & (top - 1);
    int exponent = low >> m, fraction = low & ((1 << m) - 1);
    float sign = code & top ? -1 : 1;
    if (narrow->power) return code > narrow->largest ? NAN : ldexpf(1, code - narrow->bias);
    if (narrow->one_zero && code == top) return NAN;
    if (low > narrow->largest) return narrow->infinite && low == narrow->largest + 1 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * ldexpf((float)fraction, 1 - narrow->bias - m);
    return sign * ldexpf((float)(fraction + (1 << m)), exponent - narrow->bias - m);
}

Value *sn_minifloat_open(Call *c, Value *codes, const Narrow *narrow) {
    void *bytes;
    int count = 1 << narrow->bits;
    Tensor *table = sn_tensor_new(c->import->graph->arena, SN_F32, 1, (int64_t[]){count}, &bytes);
    for (int code = 0; code < count; code++) ((float *)bytes)[code] = number_of(narrow, code);
    return gathered(c, sn_build_constant(c->builder, table), as_type(c, codes, SN_I32), 0);
}

/* ---- numbers to codes ---- */

static Value *table_of(Call *c, int count, int first, int step) {
    void *bytes;
    Tensor *table = sn_tensor_new(c->import->graph->arena, SN_F32, 1, (int64_t[]){count}, &bytes);
    for (int k = 0; k < count; k++) ((float *)bytes)[k] = ldexpf(1, first + step * k);
    return sn_build_constant(c->builder, table);
}

/* Numbers below 2^(2 - bias) lie as far apart as the subnormal ones do; each power of two from there on doubles that. */
static Value *steps_of(Call *c, Value *size, const Narrow *narrow, int steps) {
    Value *powers = table_of(c, steps, 2 - narrow->bias, 1);
    Value *reached = op2(c, SN_OP_LESS_EQUAL, powers, sn_call_unsqueeze(c, size, size->type.rank, 1));
    return reduce_axis(c, SN_OP_REDUCE_SUM, as_type(c, reached, SN_I32), size->type.rank, false);
}

/* The code of a size, which counts the numbers below it: a step's first number is 2^mantissa times its number. Rounded up from
 * the last number of a step that is the first of the next. */
static Value *code_of(Call *c, Value *size, const Narrow *narrow) {
    int m = narrow->mantissa, steps = narrow->largest >> m;
    Value *step = sn_call_failed(c) ? NULL : steps_of(c, size, narrow, steps);
    Value *inverse = gathered(c, table_of(c, steps + 1, m + narrow->bias - 1, -1), step, 0);
    Value *within = as_type(c, op1(c, SN_OP_ROUND, op2(c, SN_OP_MUL, size, inverse)), SN_I32);
    return op2(c, SN_OP_ADD, op_number(c, SN_OP_MUL, step, 1 << m), within);
}

Value *sn_minifloat_close(Call *c, Value *x, const Narrow *narrow, bool saturate) {
    int top = sign_bit(narrow);
    if (narrow->power) return sn_call_unsupported(c, "numbers quantised to powers of two (FLOAT8E8M0)");
    x = as_type(c, x, SN_F32);
    Value *odd = op1(c, SN_OP_ISNAN, x);
    /* Far above all there are the casts below would fail, as they would on what is no number. */
    Value *size = op_number(c, SN_OP_MIN, op1(c, SN_OP_ABS, x), 2.0 * number_of(narrow, narrow->largest));
    size = choose(c, odd, sn_call_scalar(c, SN_F32, 0), size);
    Value *code = code_of(c, size, narrow);
    /* Of the three that E5M2 has, the quiet one with an empty rest, and -0 where there is none, as ONNX's own vectors. */
    bool none = narrow->largest == top - 1 && !narrow->one_zero;
    int nan = narrow->one_zero || none ? top : narrow->infinite ? 0x7e : 0x7f;
    int beyond = narrow->infinite ? narrow->largest + 1 : nan;
    Value *over = op2(c, SN_OP_LESS, sn_call_scalar(c, SN_I32, narrow->largest), code);
    code = choose(c, over, sn_call_scalar(c, SN_I32, saturate || none ? narrow->largest : beyond), code);
    Value *negative = op_number(c, SN_OP_LESS, x, 0);
    if (!narrow->one_zero) /* 1/x tells -0 */
        negative = op2(c, SN_OP_OR, negative, op_number(c, SN_OP_LESS, op1(c, SN_OP_RECIPROCAL, x), 0));
    Value *signed_code = op_number(c, SN_OP_BIT_OR, code, top);
    if (narrow->one_zero) {
        Value *zero = op_number(c, SN_OP_EQUAL, code, 0);
        negative = op2(c, SN_OP_AND, negative, op1(c, SN_OP_NOT, zero));
    }
    code = choose(c, negative, signed_code, code);
    return as_type(c, choose(c, odd, sn_call_scalar(c, SN_I32, nan), code), SN_U8);
}

/* What is behind the exponent's bits decides whether the next power is taken. Where the exponent is 0 what is there is less than
 * one of its powers, and "nearest" as ONNX's own rounding. */
static Value *power_up(Call *c, const char *how, Value *exponent, Value *rest) {
    const double half = 1 << 22;
    if (strcmp(how, "up") == 0) return op2(c, SN_OP_LESS, sn_call_scalar(c, SN_U32, 0), rest);
    if (strcmp(how, "nearest") != 0) return sn_call_invalid(c, "round_mode is \"%.16s\"", how);
    Value *least = choose(c, op_number(c, SN_OP_EQUAL, exponent, 0), sn_call_scalar(c, SN_U32, half + 1),
                          sn_call_scalar(c, SN_U32, half));
    return op2(c, SN_OP_LESS_EQUAL, least, rest);
}

Value *sn_minifloat_power(Call *c, Value *x, const char *how, bool saturate) {
    Value *bits = sn_bits_of(c, as_type(c, x, SN_F32));
    Value *exponent = op_number(c, SN_OP_DIV, bits, 1 << 23);
    exponent = op_number(c, SN_OP_BIT_AND, exponent, 0xff); /* without the sign */
    Value *rest = op_number(c, SN_OP_BIT_AND, bits, (1 << 23) - 1), *code = exponent;
    if (strcmp(how, "down") != 0)
        code = op2(c, SN_OP_ADD, code, as_type(c, power_up(c, how, exponent, rest), SN_U32));
    code = op_number(c, SN_OP_MIN, code, saturate ? 0xfe : 0xff);
    Value *special = op_number(c, SN_OP_EQUAL, exponent, 0xff);
    return as_type(c, choose(c, special, sn_call_scalar(c, SN_U32, 0xff), code), SN_U8);
}

/* ---- who takes them ---- */

bool sn_minifloat_taken(ImportRule rule) {
    static const ImportRule takers[] = {
        sn_import_cast,    sn_import_cast_like, sn_import_quantize, sn_import_dequantize, sn_import_identity,
        sn_import_reshape, sn_import_flatten,   sn_import_squeeze,  sn_import_unsqueeze,  sn_import_transpose,
        sn_import_shape,   sn_import_size,      sn_import_gather,   sn_import_slice,      sn_import_concat,
        sn_import_expand,  sn_import_split,     sn_import_bitcast,
    };
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++)
        if (takers[i] == rule) return true;
    return false;
}

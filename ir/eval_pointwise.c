/* Pointwise operators, element by element with numpy broadcasting. Integers may leave their dtype here: the
 * driver wraps every result. */
#include "eval_rules.h"

/* ---- one input ---- */

typedef double (*FloatUnary)(double);
typedef int64_t (*IntUnary)(int64_t);

static Status unary(Eval *eval, const Node *node, FloatUnary of_float, IntUnary of_int) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t k = 0; k < out->count; k++) {
        if (x->f)
            out->f[k] = of_float(x->f[k]);
        else
            out->i[k] = of_int(x->i[k]);
    }
    return NULL;
}

static double float_neg(double x) {
    return -x;
}
static int64_t int_neg(int64_t x) {
    return (int64_t) - (uint64_t)x;
}

/* NaN stays NaN, as numpy.sign has it. */
static double float_sign(double x) {
    if (isnan(x)) return x;
    return (x > 0) - (x < 0);
}
static int64_t int_sign(int64_t x) {
    return (x > 0) - (x < 0);
}
static double float_rsqrt(double x) {
    return 1 / sqrt(x);
}
static double float_reciprocal(double x) {
    return 1 / x;
}
/* Of the two equal forms, the one whose exponential cannot overflow. */
static double float_sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}
static double float_relu(double x) {
    return sn_scalar_max(x, 0);
}
static int64_t int_relu(int64_t x) {
    return x > 0 ? x : 0;
}
/* log(1 + e^x), again without overflow. */
static double float_softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static int64_t int_not(int64_t x) {
    return !x;
}
static int64_t int_bit_not(int64_t x) {
    return ~x;
}

Status sn_eval_neg(Eval *eval, const Node *node) {
    return unary(eval, node, float_neg, int_neg);
}
Status sn_eval_floor(Eval *eval, const Node *node) {
    return unary(eval, node, floor, NULL);
}
Status sn_eval_ceil(Eval *eval, const Node *node) {
    return unary(eval, node, ceil, NULL);
}
/* rint: half to even in the default rounding mode. */
Status sn_eval_round(Eval *eval, const Node *node) {
    return unary(eval, node, rint, NULL);
}
Status sn_eval_sqrt(Eval *eval, const Node *node) {
    return unary(eval, node, sqrt, NULL);
}
Status sn_eval_rsqrt(Eval *eval, const Node *node) {
    return unary(eval, node, float_rsqrt, NULL);
}
Status sn_eval_reciprocal(Eval *eval, const Node *node) {
    return unary(eval, node, float_reciprocal, NULL);
}
Status sn_eval_exp(Eval *eval, const Node *node) {
    return unary(eval, node, exp, NULL);
}
Status sn_eval_log(Eval *eval, const Node *node) {
    return unary(eval, node, log, NULL);
}
Status sn_eval_sin(Eval *eval, const Node *node) {
    return unary(eval, node, sin, NULL);
}
Status sn_eval_cos(Eval *eval, const Node *node) {
    return unary(eval, node, cos, NULL);
}
Status sn_eval_tan(Eval *eval, const Node *node) {
    return unary(eval, node, tan, NULL);
}
Status sn_eval_sinh(Eval *eval, const Node *node) {
    return unary(eval, node, sinh, NULL);
}
Status sn_eval_cosh(Eval *eval, const Node *node) {
    return unary(eval, node, cosh, NULL);
}
Status sn_eval_asin(Eval *eval, const Node *node) {
    return unary(eval, node, asin, NULL);
}
Status sn_eval_acos(Eval *eval, const Node *node) {
    return unary(eval, node, acos, NULL);
}
Status sn_eval_atan(Eval *eval, const Node *node) {
    return unary(eval, node, atan, NULL);
}
Status sn_eval_asinh(Eval *eval, const Node *node) {
    return unary(eval, node, asinh, NULL);
}
Status sn_eval_acosh(Eval *eval, const Node *node) {
    return unary(eval, node, acosh, NULL);
}
Status sn_eval_atanh(Eval *eval, const Node *node) {
    return unary(eval, node, atanh, NULL);
}
Status sn_eval_tanh(Eval *eval, const Node *node) {
    return unary(eval, node, tanh, NULL);
}
Status sn_eval_erf(Eval *eval, const Node *node) {
    return unary(eval, node, erf, NULL);
}
Status sn_eval_sigmoid(Eval *eval, const Node *node) {
    return unary(eval, node, float_sigmoid, NULL);
}
Status sn_eval_not(Eval *eval, const Node *node) {
    return unary(eval, node, NULL, int_not);
}
Status sn_eval_bit_not(Eval *eval, const Node *node) {
    return unary(eval, node, NULL, int_bit_not);
}
Status sn_eval_relu(Eval *eval, const Node *node) {
    return unary(eval, node, float_relu, int_relu);
}
Status sn_eval_softplus(Eval *eval, const Node *node) {
    return unary(eval, node, float_softplus, NULL);
}

/* Unsigned integers are their own absolute value and sign; as bits those of u64 may look negative. */
static int64_t int_abs(int64_t x) {
    return x < 0 ? int_neg(x) : x;
}
static int64_t unsigned_abs(int64_t x) {
    return x;
}
static int64_t unsigned_sign(int64_t x) {
    return x != 0;
}

static bool is_signed(const Node *node) {
    return sn_dtype_is_signed(node->input[0]->type.dtype);
}

Status sn_eval_abs(Eval *eval, const Node *node) {
    return unary(eval, node, fabs, is_signed(node) ? int_abs : unsigned_abs);
}
Status sn_eval_sign(Eval *eval, const Node *node) {
    return unary(eval, node, float_sign, is_signed(node) ? int_sign : unsigned_sign);
}

Status sn_eval_isnan(Eval *eval, const Node *node) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t k = 0; k < out->count; k++) out->i[k] = isnan(x->f[k]) != 0;
    return NULL;
}

Status sn_eval_isinf(Eval *eval, const Node *node) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t k = 0; k < out->count; k++) out->i[k] = isinf(x->f[k]) != 0;
    return NULL;
}

Status sn_eval_gelu(Eval *eval, const Node *node) {
    bool approximate = ((const AttrGelu *)node->attr)->tanh;
    const Array *in = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t k = 0; k < out->count; k++) {
        double x = in->f[k];
        if (approximate)
            out->f[k] = 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        else
            out->f[k] = x * 0.5 * (1 + erf(x / sqrt(2)));
    }
    return NULL;
}

Status sn_eval_silu(Eval *eval, const Node *node) {
    double alpha = ((const AttrAlpha *)node->attr)->alpha;
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t k = 0; k < out->count; k++) out->f[k] = x->f[k] * float_sigmoid(alpha * x->f[k]);
    return NULL;
}

/* One element from `x` to `out`; false where an integer cannot hold it. */
static bool cast_element(Array *out, const Array *x, int64_t k) {
    if (out->f) {
        out->f[k] = x->f ? x->f[k] : sn_scalar_to_float(x->dtype, x->i[k]);
        return true;
    }
    if (!x->f) {
        out->i[k] = sn_scalar_wrap(out->dtype, x->i[k]);
        return true;
    }
    if (out->dtype == SN_BOOL) {
        out->i[k] = x->f[k] != 0;
        return true;
    }
    return sn_scalar_from_float(out->dtype, x->f[k], &out->i[k]);
}

Status sn_eval_cast(Eval *eval, const Node *node) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t k = 0; k < out->count; k++)
        if (!cast_element(out, x, k))
            return sn_fail(SN_FAULT, "%g does not fit %s", x->f[k], sn_dtype_name(out->dtype));
    return NULL;
}

/* The same bytes, which what is computed wider has once it is rounded. */
Status sn_eval_bitcast(Eval *eval, const Node *node) {
    Tensor *bytes = sn_tensor_of_array(eval->arena, sn_eval_input(eval, node, 0));
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    bytes->dtype = out->dtype;
    for (int64_t k = 0; k < out->count; k++) {
        if (out->f)
            out->f[k] = sn_tensor_get(bytes, k);
        else
            out->i[k] = sn_tensor_get_int(bytes, k);
    }
    return NULL;
}

/* ---- two inputs ---- */

typedef double (*FloatBinary)(double, double);
typedef bool (*IntBinary)(DType, int64_t, int64_t, int64_t *); /* false: not defined */

static Status start_binary(Eval *eval, const Node *node, const Array *operand[2], Array **out, Walk *walk) {
    for (int k = 0; k < 2; k++) operand[k] = sn_eval_input(eval, node, k);
    TRY(sn_eval_output(eval, node, 0, out));
    *walk = sn_walk_start((*out)->rank, (*out)->extent, 2, operand);
    return NULL;
}

static Status binary(Eval *eval, const Node *node, FloatBinary of_float, IntBinary of_int) {
    const Array *operand[2];
    Array *out;
    Walk walk;
    TRY(start_binary(eval, node, operand, &out, &walk));
    if (out->count == 0) return NULL;
    do {
        if (out->f) {
            out->f[walk.at] = of_float(operand[0]->f[walk.in[0]], operand[1]->f[walk.in[1]]);
            continue;
        }
        int64_t a = operand[0]->i[walk.in[0]], b = operand[1]->i[walk.in[1]];
        if (!of_int(out->dtype, a, b, &out->i[walk.at]))
            return sn_fail(SN_FAULT, "%lld and %lld have no result in %s", (long long)a, (long long)b,
                           sn_dtype_name(out->dtype));
    } while (sn_walk_next(&walk));
    return NULL;
}

static double float_add(double a, double b) {
    return a + b;
}
static double float_sub(double a, double b) {
    return a - b;
}
static double float_mul(double a, double b) {
    return a * b;
}
static double float_div(double a, double b) {
    return a / b;
}

static bool int_add(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = (int64_t)((uint64_t)a + (uint64_t)b);
    return true;
}
static bool int_sub(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = (int64_t)((uint64_t)a - (uint64_t)b);
    return true;
}
static bool int_mul(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = (int64_t)((uint64_t)a * (uint64_t)b);
    return true;
}

/* Truncates, as ONNX and C do. */
static bool int_div(DType dtype, int64_t a, int64_t b, int64_t *out) {
    if (!sn_scalar_divides(dtype, a, b)) return false;
    *out = dtype == SN_U64 ? (int64_t)((uint64_t)a / (uint64_t)b) : a / b;
    return true;
}

/* The sign of the dividend. */
static bool int_fmod(DType dtype, int64_t a, int64_t b, int64_t *out) {
    if (!sn_scalar_divides(dtype, a, b)) return false;
    *out = dtype == SN_U64 ? (int64_t)((uint64_t)a % (uint64_t)b) : a % b;
    return true;
}

/* The sign of the divisor. */
static bool int_mod(DType dtype, int64_t a, int64_t b, int64_t *out) {
    if (!int_fmod(dtype, a, b, out)) return false;
    if (sn_dtype_is_signed(dtype) && *out != 0 && (*out < 0) != (b < 0)) *out += b;
    return true;
}

/* A negative power of an integer is a fraction, of which truncation leaves nothing but for ±1. */
static bool int_pow(DType dtype, int64_t base, int64_t exponent, int64_t *out) {
    if (sn_dtype_is_signed(dtype) && exponent < 0) {
        if (base == 0) return false;
        *out = base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
        return true;
    }
    uint64_t power = 1, square = (uint64_t)base;
    for (uint64_t left = (uint64_t)exponent; left; left >>= 1) {
        if (left & 1) power *= square;
        square *= square;
    }
    *out = (int64_t)power;
    return true;
}

static bool int_min(DType dtype, int64_t a, int64_t b, int64_t *out) {
    *out = sn_scalar_less(dtype, a, b) ? a : b;
    return true;
}
static bool int_max(DType dtype, int64_t a, int64_t b, int64_t *out) {
    *out = sn_scalar_less(dtype, a, b) ? b : a;
    return true;
}
static bool int_and(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = a && b;
    return true;
}
static bool int_or(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = a || b;
    return true;
}
static bool int_xor(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = a != b;
    return true;
}

static bool int_bit_and(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = a & b;
    return true;
}
static bool int_bit_or(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = a | b;
    return true;
}
static bool int_bit_xor(DType dtype, int64_t a, int64_t b, int64_t *out) {
    (void)dtype;
    *out = a ^ b;
    return true;
}

Status sn_eval_add(Eval *eval, const Node *node) {
    return binary(eval, node, float_add, int_add);
}
Status sn_eval_sub(Eval *eval, const Node *node) {
    return binary(eval, node, float_sub, int_sub);
}
Status sn_eval_mul(Eval *eval, const Node *node) {
    return binary(eval, node, float_mul, int_mul);
}
Status sn_eval_div(Eval *eval, const Node *node) {
    return binary(eval, node, float_div, int_div);
}
Status sn_eval_pow(Eval *eval, const Node *node) {
    return binary(eval, node, pow, int_pow);
}
Status sn_eval_mod(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_mod);
}
Status sn_eval_fmod(Eval *eval, const Node *node) {
    return binary(eval, node, fmod, int_fmod);
}
Status sn_eval_min(Eval *eval, const Node *node) {
    return binary(eval, node, sn_scalar_min, int_min);
}
Status sn_eval_max(Eval *eval, const Node *node) {
    return binary(eval, node, sn_scalar_max, int_max);
}
Status sn_eval_and(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_and);
}
Status sn_eval_or(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_or);
}
Status sn_eval_xor(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_xor);
}

/* ---- comparisons ---- */

typedef bool (*Relation)(const Array *a, int64_t i, const Array *b, int64_t j);

static bool equal(const Array *a, int64_t i, const Array *b, int64_t j) {
    return a->f ? a->f[i] == b->f[j] : a->i[i] == b->i[j];
}
static bool less(const Array *a, int64_t i, const Array *b, int64_t j) {
    return a->f ? a->f[i] < b->f[j] : sn_scalar_less(a->dtype, a->i[i], b->i[j]);
}
static bool less_equal(const Array *a, int64_t i, const Array *b, int64_t j) {
    return less(a, i, b, j) || equal(a, i, b, j);
}

static Status compare(Eval *eval, const Node *node, Relation relation) {
    const Array *operand[2];
    Array *out;
    Walk walk;
    TRY(start_binary(eval, node, operand, &out, &walk));
    if (out->count == 0) return NULL;
    do {
        out->i[walk.at] = relation(operand[0], walk.in[0], operand[1], walk.in[1]);
    } while (sn_walk_next(&walk));
    return NULL;
}

Status sn_eval_equal(Eval *eval, const Node *node) {
    return compare(eval, node, equal);
}
Status sn_eval_less(Eval *eval, const Node *node) {
    return compare(eval, node, less);
}
Status sn_eval_less_equal(Eval *eval, const Node *node) {
    return compare(eval, node, less_equal);
}

/* ---- three inputs ---- */

Status sn_eval_bit_and(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_bit_and);
}
Status sn_eval_bit_or(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_bit_or);
}
Status sn_eval_bit_xor(Eval *eval, const Node *node) {
    return binary(eval, node, NULL, int_bit_xor);
}

Status sn_eval_where(Eval *eval, const Node *node) {
    const Array *operand[3];
    for (int k = 0; k < 3; k++) operand[k] = sn_eval_input(eval, node, k);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    if (out->count == 0) return NULL;
    Walk walk = sn_walk_start(out->rank, out->extent, 3, operand);
    do {
        int chosen = operand[0]->i[walk.in[0]] ? 1 : 2;
        sn_array_copy(out, walk.at, operand[chosen], walk.in[chosen]);
    } while (sn_walk_next(&walk));
    return NULL;
}

/* GELU (both forms) and SiLU, as products whose factors may stand in any order. */
#include "recognise_internal.h"

#include <math.h>

enum { MAX_FACTORS = 4 };

/* The factors of a tree of multiplications below `root`; false when there are more than MAX_FACTORS. A
 * product that something else uses too is one factor: it may be the x of the pattern. */
static bool factors(const Node *root, Value **factor, int *count) {
    for (int k = 0; k < 2; k++) {
        Value *value = root->input[k];
        const Node *mul = made_by(value, SN_OP_MUL);
        if (mul && sn_value_use_count(value) == 1) {
            if (!factors(mul, factor, count)) return false;
            continue;
        }
        if (*count == MAX_FACTORS) return false;
        factor[(*count)++] = value;
    }
    return true;
}

/* The inner value of 1 + f(inner) for f an `op`. */
static Value *one_plus(const Value *value, OpCode op) {
    Node *add = made_by(value, SN_OP_ADD);
    double number;
    Value *other = add ? sn_other_than_splat(add, &number) : NULL;
    Node *f = other && number == 1 ? made_by(other, op) : NULL;
    return f ? f->input[0] : NULL;
}

/* value = c · x for a number c near `expected`; x / c' counts too. */
static Value *multiple_of(const Value *value, double expected) {
    Node *mul = made_by(value, SN_OP_MUL), *div = made_by(value, SN_OP_DIV);
    double number;
    if (mul) {
        Value *other = sn_other_than_splat(mul, &number);
        return other && fabs(number - expected) <= 1e-5 * expected ? other : NULL;
    }
    return div && sn_is_number(div->input[1], 1 / expected) ? div->input[0] : NULL;
}

/* The factors of a product, however they are paired: how often x, and the product of the numbers. */
static bool count_factors(const Value *value, const Value *x, int depth, int *count, double *scale) {
    double number;
    if (value == x) return ++*count <= 3;
    if (sn_value_is_splat(value, &number)) {
        *scale *= number;
        return true;
    }
    const Node *mul = depth > 0 ? made_by(value, SN_OP_MUL) : NULL;
    return mul && count_factors(mul->input[0], x, depth - 1, count, scale) &&
           count_factors(mul->input[1], x, depth - 1, count, scale);
}

/* 0.044715·x^power */
static bool is_scaled_power(const Value *value, const Value *x, int power) {
    const double expected = 0.044715;
    int count = 0;
    double scale = 1;
    const Node *div = made_by(value, SN_OP_DIV);
    if (div && sn_is_number(div->input[1], 1 / expected)) value = div->input[0], scale = expected;
    return count_factors(value, x, 4, &count, &scale) && count == power &&
           fabs(scale - expected) <= 1e-5 * expected;
}

/* x + 0.044715·x³, or x·(1 + 0.044715·x²) */
static bool is_tanh_polynomial(const Value *value, const Value *x) {
    Node *add = made_by(value, SN_OP_ADD), *mul = made_by(value, SN_OP_MUL);
    for (int k = 0; add && k < 2; k++)
        if (add->input[k] == x && is_scaled_power(add->input[1 - k], x, 3)) return true;
    for (int k = 0; mul && k < 2; k++) {
        Node *inner = mul->input[k] == x ? made_by(mul->input[1 - k], SN_OP_ADD) : NULL;
        double one;
        Value *term = inner ? sn_other_than_splat(inner, &one) : NULL;
        if (term && one == 1 && is_scaled_power(term, x, 2)) return true;
    }
    return false;
}

static bool is_gelu_factor(const Value *value, const Value *x, bool *tanh_form) {
    Value *inner = one_plus(value, SN_OP_ERF);
    *tanh_form = !inner;
    if (inner) return multiple_of(inner, sqrt(0.5)) == x;
    inner = one_plus(value, SN_OP_TANH);
    return inner && is_tanh_polynomial(multiple_of(inner, sqrt(2 / acos(-1))), x);
}

/* x · 0.5 · (1 + erf(x/√2)), or its tanh form */
Value *sn_recognise_gelu(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    Value *factor[MAX_FACTORS];
    int count = 0;
    if (!factors(node, factor, &count) || count != 3) return NULL;
    for (int h = 0; h < 3; h++) {
        if (!sn_is_number(factor[h], 0.5)) continue;
        for (int swap = 0; swap < 2; swap++) {
            Value *x = factor[(h + 1 + swap) % 3], *gate = factor[(h + 2 - swap) % 3];
            AttrGelu attr;
            if (is_gelu_factor(gate, x, &attr.tanh)) return sn_build1(b, SN_OP_GELU, &attr, x);
        }
    }
    return NULL;
}

/* x · sigmoid(alpha · x) */
Value *sn_recognise_silu(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    for (int k = 0; k < 2; k++) {
        Value *x = node->input[k];
        Node *gate = made_by(node->input[1 - k], SN_OP_SIGMOID);
        if (!gate) continue;
        AttrAlpha attr = {1};
        Node *mul = made_by(gate->input[0], SN_OP_MUL);
        Value *inner = gate->input[0];
        if (inner != x && mul) inner = sn_other_than_splat(mul, &attr.alpha);
        if (inner == x) return sn_build1(b, SN_OP_SILU, &attr, x);
    }
    return NULL;
}

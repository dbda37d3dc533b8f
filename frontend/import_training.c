/* ai.onnx.preview.training: optimizers as arithmetic, and gradients of the graph itself. */
#include "import.h"

#include <string.h>

/* ---- optimizers ---- */

/* One call updates many tensors, each with its gradient and what is kept of it: the inputs are the rate, the count of
 * updates, all tensors, all gradients, all first and (Adam) all second moments; the outputs all new tensors and all new
 * moments. */
typedef struct Update {
    Call *c;
    Value *rate, *count;  /* scalars; the count in the rate's type */
    Value *x, *g, *v, *h; /* one of each; g with the term of the norm */
    Value *new_x, *new_v, *new_h;
} Update;

typedef void UpdateFunction(Update *u);

static Value *binary(Update *u, OpCode op, Value *a, Value *b) {
    return sn_build2(u->c->builder, op, NULL, a, b);
}

static Value *times(Update *u, Value *x, double factor) {
    return sn_call_failed(u->c) ? NULL : binary(u, SN_OP_MUL, x, sn_call_scalar(u->c, x->type.dtype, factor));
}

static Value *plus(Update *u, Value *x, double term) {
    return sn_call_failed(u->c) ? NULL : binary(u, SN_OP_ADD, x, sn_call_scalar(u->c, x->type.dtype, term));
}

/* 1 − base^count */
static Value *rest_of_power(Update *u, double base) {
    if (sn_call_failed(u->c)) return NULL;
    DType dtype = u->count->type.dtype;
    Value *power = binary(u, SN_OP_POW, sn_call_scalar(u->c, dtype, base), u->count);
    return binary(u, SN_OP_SUB, sn_call_scalar(u->c, dtype, 1), power);
}

/* In a later update than the first (the count is above 0) one value, otherwise the other. */
static Value *when_later(Update *u, Value *later, Value *first) {
    if (sn_call_failed(u->c)) return NULL;
    Value *is_later = binary(u, SN_OP_LESS, sn_call_scalar(u->c, u->count->type.dtype, 0), u->count);
    return sn_build3(u->c->builder, SN_OP_WHERE, NULL, is_later, later, first);
}

/* A scalar in the type of the tensors. */
static Value *as_tensor(Update *u, Value *scalar) {
    return sn_call_failed(u->c) ? NULL : sn_build_cast(u->c->builder, scalar, u->x->type.dtype);
}

static void momentum(Update *u) {
    Call *c = u->c;
    double alpha = sn_call_float(c, "alpha", 0);
    Value *one = sn_call_scalar(c, u->rate->type.dtype, 1);
    Value *beta = when_later(u, sn_call_scalar(c, u->rate->type.dtype, sn_call_float(c, "beta", 0)), one);
    u->new_v = binary(u, SN_OP_ADD, times(u, u->v, alpha), binary(u, SN_OP_MUL, u->g, as_tensor(u, beta)));
    const char *mode = sn_call_string(c, "mode", "");
    bool nesterov = strcmp(mode, "nesterov") == 0;
    if (!nesterov && strcmp(mode, "standard") != 0) sn_call_invalid(c, "mode is \"%.16s\"", mode);
    Value *change = nesterov ? binary(u, SN_OP_ADD, u->g, times(u, u->new_v, alpha)) : u->new_v;
    u->new_x = binary(u, SN_OP_SUB, u->x, binary(u, SN_OP_MUL, as_tensor(u, u->rate), change));
}

static void adagrad(Update *u) {
    Call *c = u->c;
    Value *slower = plus(u, times(u, u->count, sn_call_float(c, "decay_factor", 0)), 1);
    Value *rate = as_tensor(u, binary(u, SN_OP_DIV, u->rate, slower));
    u->new_v = binary(u, SN_OP_ADD, u->v, binary(u, SN_OP_MUL, u->g, u->g));
    Value *root = plus(u, sn_build1(c->builder, SN_OP_SQRT, NULL, u->new_v),
                       sn_call_float(c, "epsilon", (double)1e-6f));
    u->new_x = binary(u, SN_OP_SUB, u->x, binary(u, SN_OP_DIV, binary(u, SN_OP_MUL, rate, u->g), root));
}

static void adam(Update *u) {
    Call *c = u->c;
    double alpha = sn_call_float(c, "alpha", (double)0.9f), beta = sn_call_float(c, "beta", (double)0.999f);
    u->new_v = binary(u, SN_OP_ADD, times(u, u->v, alpha), times(u, u->g, 1 - alpha));
    u->new_h =
        binary(u, SN_OP_ADD, times(u, u->h, beta), times(u, binary(u, SN_OP_MUL, u->g, u->g), 1 - beta));
    Value *root = plus(u, sn_build1(c->builder, SN_OP_SQRT, NULL, u->new_h),
                       sn_call_float(c, "epsilon", (double)1e-6f));
    Value *ratio = binary(u, SN_OP_DIV, sn_build1(c->builder, SN_OP_SQRT, NULL, rest_of_power(u, beta)),
                          rest_of_power(u, alpha));
    Value *rate = as_tensor(u, when_later(u, binary(u, SN_OP_MUL, u->rate, ratio), u->rate));
    Value *change = binary(u, SN_OP_DIV, binary(u, SN_OP_MUL, rate, u->new_v), root);
    double decay = sn_call_float(c, "norm_coefficient_post", 0);
    u->new_x = times(u, binary(u, SN_OP_SUB, u->x, change), 1 - decay);
}

/* Tensor k of `count`. */
static void update_one(Update *u, UpdateFunction *function, int k, int count) {
    Call *c = u->c;
    Value **input = c->input + 2;
    u->x = input[k];
    u->v = input[2 * count + k];
    u->h = c->input_count == 2 + 4 * count ? input[3 * count + k] : NULL;
    u->g = binary(u, SN_OP_ADD, input[count + k], times(u, u->x, sn_call_float(c, "norm_coefficient", 0)));
    function(u);
    Value *made[3] = {u->new_x, u->new_v, u->new_h};
    for (int i = 0; i < (u->h ? 3 : 2); i++)
        if (i * count + k < c->output_count) c->output[i * count + k] = made[i];
}

static Value *update_all(Call *c, UpdateFunction *function, int each) {
    int count = (c->input_count - 2) / each;
    if (count < 1 || c->input_count != 2 + each * count || c->output_count > (each - 1) * count)
        return sn_call_invalid(c, "%d inputs and %d outputs", c->input_count, c->output_count);
    for (int k = 2; k < c->input_count; k++) {
        Type type = c->input[k]->type, first = c->input[2 + (k - 2) % count]->type;
        if (type.dtype != first.dtype || type.rank != first.rank)
            return sn_call_invalid(c, "input %d has not the type of its tensor", k);
        for (int axis = 0; axis < type.rank; axis++) {
            Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, type.dim[axis], first.dim[axis],
                                           c->builder->origin);
            if (status) return sn_call_latch(c, sn_status_prefix(status, "input %d", k));
        }
    }
    Value *rate = c->input[0];
    Update u = {.c = c, .rate = rate, .count = sn_build_cast(c->builder, c->input[1], rate->type.dtype)};
    for (int k = 0; k < count && !sn_call_failed(c); k++) update_one(&u, function, k, count);
    return sn_call_failed(c) ? NULL : c->output[0];
}

Value *sn_import_momentum(Call *c) {
    static const char *const required[] = {"alpha", "beta", "mode", "norm_coefficient"};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!sn_call_has(c, required[i]))
            return sn_call_invalid(c, "attribute \"%s\" is missing", required[i]);
    return update_all(c, momentum, 3);
}

Value *sn_import_adagrad(Call *c) {
    return update_all(c, adagrad, 3);
}

Value *sn_import_adam(Call *c) {
    return update_all(c, adam, 4);
}

/* ---- gradients ---- */

/* What a name of the graph stands for. */
static Value *named(Call *c, const char *name) {
    Value *value;
    Status status = sn_scope_resolve(c->import, name, &value);
    if (status) return sn_call_latch(c, status);
    return value ? value : sn_call_unsupported(c, "the gradient of what is not supported");
}

static bool is_named_twice(const Value *const *value, int count) {
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (value[i] == value[k]) return true;
    return false;
}

/* The inputs are values for the tensors that xs and then zs name; they need not be those tensors. */
Value *sn_import_gradient(Call *c) {
    int of, beside;
    const char *const *xs = sn_call_string_list(c, "xs", &of), *const *zs =
                                                                   sn_call_string_list(c, "zs", &beside);
    const char *y = sn_call_string(c, "y", "");
    int count = of + beside;
    if (sn_call_failed(c)) return NULL;
    if (of < 1 || c->input_count != count || c->output_count > of)
        return sn_call_invalid(c, "%d inputs and %d outputs for %d names", c->input_count, c->output_count,
                               count);
    Value **input = SN_ARRAY(c->import->scratch, Value *, 1 + 2 * count);
    input[0] = named(c, y);
    for (int k = 0; k < count; k++) {
        input[1 + k] = named(c, k < of ? xs[k] : zs[k - of]);
        input[1 + count + k] = c->input[k];
    }
    if (sn_call_failed(c)) return NULL;
    if (is_named_twice((const Value *const *)input + 1, count))
        return sn_call_unsupported(c, "a tensor that xs and zs name twice");
    Node *node = sn_build_node(c->builder, SN_OP_GRADIENT, NULL, 1 + 2 * count, input, of);
    for (int k = 0; node && k < c->output_count; k++) c->output[k] = node->output[k];
    return node ? node->output[0] : NULL;
}

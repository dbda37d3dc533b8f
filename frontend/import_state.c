/* Recurrences that carry a state from call to call: linear attention and causal convolutions. */
#include "import_compose.h"

#include <math.h>
#include <string.h>

enum { MOST_STEPS = 256 /* that are written out */ };

/* Whether an input that is there has these extents; what only a run can tell is checked then. */
static bool fits(Call *c, const Value *x, const char *what, int rank, const Dim *extent) {
    if (sn_call_failed(c)) return false;
    if (!x) return true;
    if (x->type.rank != rank) return sn_call_invalid(c, "%s of rank %d", what, x->type.rank);
    for (int k = 0; k < rank; k++) {
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, x->type.dim[k], extent[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "%s", what));
    }
    return true;
}

/* com.microsoft's have attributes that ONNX's do not: what they may say here. */
static bool says_usual(Call *c, const char *name, int64_t usual) {
    if (c->row->parameter == 0 || sn_call_int(c, name, usual) == usual) return !sn_call_failed(c);
    return sn_call_unsupported(c, "%s %lld", name, (long long)sn_call_int(c, name, usual));
}

/* ---- linear attention ---- */

/* Everything [B, H, steps, …] in f32. */
typedef struct Recurrence {
    Value *query, *key, *value, *decay, *beta, *state; /* state [B, H, K, V]; query [B, H, group, steps, K] */
    int64_t steps, group;
    double scale;
} Recurrence;

/* [B, T, H·D] as [B, H, T, D]. */
static Value *heads_of(Call *c, Value *x, int64_t heads) {
    Dim each;
    if (sn_call_failed(c)) return NULL;
    if (x->type.rank != 3) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    const Dim *d = x->type.dim;
    if (!sn_dim_divides(c->dims, sn_dim(c->dims, heads), d[2], &each))
        return sn_call_invalid(c, "a width that is no multiple of %lld heads", (long long)heads);
    x = reshaped(c, as_type(c, x, SN_F32), 4, (Dim[]){d[0], d[1], sn_dim(c->dims, heads), each});
    return transposed(c, x, (int[]){0, 2, 1, 3});
}

/* Step t, [B, H, 1, …]. */
static Value *at_step(Call *c, Value *x, int64_t t) {
    return sliced(c, x, 2, sn_dim(c->dims, t), sn_dim(c->dims, 1));
}

/* The state after step t: decayed, corrected by what it gives for the key already (delta rule), with the outer product of
 * key and value. After Yang et al., "Gated Delta Networks" (2024). */
static void advance(Call *c, Recurrence *r, int64_t t) {
    Value *key = sn_call_swap(c, at_step(c, r->key, t), 2, 3), *value = at_step(c, r->value, t);
    if (r->decay) {
        Value *gate = op1(c, SN_OP_EXP, sn_call_swap(c, at_step(c, r->decay, t), 2, 3));
        r->state = op2(c, SN_OP_MUL, r->state, gate);
    }
    if (r->beta) {
        Value *had = reduce_axis(c, SN_OP_REDUCE_SUM, op2(c, SN_OP_MUL, r->state, key), 2, true);
        value = op2(c, SN_OP_MUL, at_step(c, r->beta, t), op2(c, SN_OP_SUB, value, had));
    }
    r->state = op2(c, SN_OP_ADD, r->state, op2(c, SN_OP_MUL, key, value));
}

/* What the queries of step t read of the state: [B, H·group, 1, V]. */
static Value *read_state(Call *c, const Recurrence *r, int64_t t) {
    if (sn_call_failed(c)) return NULL;
    const Dim *d = r->query->type.dim;
    Value *query = sliced(c, r->query, 3, sn_dim(c->dims, t), sn_dim(c->dims, 1));
    query = reshaped(c, query, 4, (Dim[]){d[0], d[1], d[2], d[4]});
    Value *out = op_number(c, SN_OP_MUL, op2(c, SN_OP_MATMUL, query, r->state), r->scale);
    if (sn_call_failed(c)) return NULL;
    Dim extent[4] = {d[0], sn_dim_mul(c->dims, d[1], d[2]), sn_dim(c->dims, 1), out->type.dim[3]};
    return reshaped(c, out, 4, extent);
}

static bool read_rule(Call *c, Recurrence *r, int64_t heads) {
    const char *rule = sn_call_string(c, "update_rule", "gated_delta");
    bool gated = strncmp(rule, "gated", 5) == 0, delta = strstr(rule, "delta") != NULL;
    if (!gated && !delta && strcmp(rule, "linear") != 0)
        return sn_call_invalid(c, "update_rule is \"%.16s\"", rule);
    Value *decay = sn_call_input(c, 4), *beta = sn_call_input(c, 5);
    if (gated != (decay != NULL) || delta != (beta != NULL))
        return sn_call_invalid(c, "inputs that do not go with the update rule %.16s", rule);
    r->decay = decay ? heads_of(c, decay, heads) : NULL;
    bool shared = beta && beta->type.rank == 3 && sn_dim_equals(beta->type.dim[2], 1);
    r->beta = beta ? heads_of(c, beta, shared ? 1 : heads) : NULL;
    return !sn_call_failed(c);
}

/* Decays are of each key element or of each head, the delta rule's shares of each head or of all. */
static bool fits_gates(Call *c, const Recurrence *r, const Dim *of_key) {
    Dim one = sn_dim(c->dims, 1), extent[4] = {of_key[0], of_key[1], of_key[2], of_key[3]};
    if (r->decay && sn_dim_equals(r->decay->type.dim[3], 1)) extent[3] = one;
    if (!fits(c, r->decay, "decays", 4, extent)) return false;
    extent[3] = one;
    if (r->beta && sn_dim_equals(r->beta->type.dim[1], 1)) extent[1] = one;
    return fits(c, r->beta, "beta", 4, extent);
}

static bool read_recurrence(Call *c, Recurrence *r) {
    int64_t queries = sn_call_int(c, "q_num_heads", 0), heads = sn_call_int(c, "kv_num_heads", 0), width;
    sn_call_ignore(c, "chunk_size");
    if (!says_usual(c, "state_window", 0)) return false;
    if (heads < 1 || queries < 1 || queries % heads != 0)
        return sn_call_invalid(c, "%lld heads of queries for %lld", (long long)queries, (long long)heads);
    r->group = queries / heads;
    r->key = heads_of(c, c->input[1], heads), r->value = heads_of(c, c->input[2], heads);
    Value *query = heads_of(c, c->input[0], queries);
    if (!read_rule(c, r, heads)) return false;
    const Dim *d = query->type.dim;
    if (!sn_dim_is(d[2], &r->steps)) return sn_call_unsupported(c, "a number of steps that is not known");
    if (r->steps > MOST_STEPS) return sn_call_unsupported(c, "%lld steps", (long long)r->steps);
    if (!sn_dim_is(d[3], &width) || width < 1)
        return sn_call_unsupported(c, "heads of a width that is not known");
    Dim split[5] = {d[0], sn_dim(c->dims, heads), sn_dim(c->dims, r->group), d[2], d[3]};
    r->query = reshaped(c, query, 5, split);
    r->scale = sn_call_float(c, "scale", 0);
    if (r->scale == 0) r->scale = 1 / sqrt((double)width);
    Dim whole[4] = {d[0], sn_dim(c->dims, heads), d[3], r->value->type.dim[3]};
    Value *past = sn_call_input(c, 3);
    Dim of_value[4] = {d[0], whole[1], d[2], whole[3]}, of_key[4] = {d[0], whole[1], d[2], d[3]};
    if (!fits(c, r->key, "keys", 4, of_key) || !fits(c, r->value, "values", 4, of_value) ||
        !fits(c, past, "a state", 4, whole) || !fits_gates(c, r, of_key))
        return false;
    r->state = past ? as_type(c, past, SN_F32) : expanded(c, sn_call_scalar(c, SN_F32, 0), 4, whole);
    return !sn_call_failed(c);
}

Value *sn_import_linear_attention(Call *c) {
    Recurrence r = {0};
    if (!read_recurrence(c, &r)) return NULL;
    DType dtype = c->input[0]->type.dtype;
    if (r.steps < 1) return sn_call_unsupported(c, "no steps");
    Value **out = SN_ARRAY(c->import->scratch, Value *, r.steps);
    for (int64_t t = 0; t < r.steps; t++) {
        advance(c, &r, t);
        out[t] = read_state(c, &r, t);
    }
    Value *all = transposed(c, joined(c, 2, (int)r.steps, out), (int[]){0, 2, 1, 3});
    if (sn_call_failed(c)) return NULL;
    const Dim *d = all->type.dim;
    all = reshaped(c, all, 3, (Dim[]){d[0], d[1], sn_dim_mul(c->dims, d[2], d[3])});
    if (c->output_count > 1)
        c->output[1] = as_type(c, r.state, sn_call_input(c, 3) ? c->input[3]->type.dtype : dtype);
    return as_type(c, all, dtype);
}

/* ---- causal convolutions ---- */

/* x [B, C, L] behind the state [B, C, past], or behind zeros. */
static Value *with_state(Call *c, Value *x, Value *state, int64_t past) {
    if (state) return past > 0 ? joined(c, 2, 2, (Value *[]){state, x}) : x;
    Dim zero = sn_dim(c->dims, 0), before[3] = {zero, zero, sn_dim(c->dims, past)},
        after[3] = {zero, zero, zero};
    return past > 0 ? sn_build1(c->builder, SN_OP_PAD, &(AttrPad){3, before, after, 0}, x) : x;
}

/* Position l of a channel is the sum of the K elements up to it, some steps apart, each times its weight. */
Value *sn_import_causal_conv(Call *c) {
    Value *x = c->input[0], *weight = c->input[1], *bias = sn_call_input(c, 2);
    const char *activation = sn_call_string(c, "activation", "none");
    bool silu = strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
    int64_t length, apart = c->row->parameter ? sn_call_int(c, "dilation", 1) : 1;
    if (!says_usual(c, "ndim", 1) || !says_usual(c, "channels_last", 0) || !says_usual(c, "state_window", 0))
        return NULL;
    if (apart < 1 || apart > INT32_MAX) return sn_call_invalid(c, "dilation is %lld", (long long)apart);
    if (!silu && strcmp(activation, "none") != 0)
        return sn_call_invalid(c, "activation is \"%.16s\"", activation);
    if (x->type.rank != 3 || weight->type.rank != 3)
        return sn_call_invalid(c, "ranks %d and %d", x->type.rank, weight->type.rank);
    if (!sn_dim_is(weight->type.dim[2], &length) || length < 1 || length > INT32_MAX)
        return sn_call_unsupported(c, "weights of a size that is not known");
    DType dtype = x->type.dtype, wide = wide_type(dtype);
    const Dim *d = x->type.dim;
    int64_t past = (length - 1) * apart;
    Value *state = sn_call_input(c, 3);
    Dim one = sn_dim(c->dims, 1), of_weight[3] = {d[1], one, sn_dim(c->dims, length)},
        of_state[3] = {d[0], d[1], sn_dim(c->dims, past)};
    if (!fits(c, weight, "weights", 3, of_weight) || !fits(c, bias, "a bias", 1, &d[1]) ||
        !fits(c, state, "a state", 3, of_state))
        return NULL;
    Value *all = with_state(c, x, state, past);
    Dim extent[4] = {d[0], d[1], d[2], sn_dim(c->dims, length)};
    const Dim *at = sn_view_axes(c->dims, c->import->graph->arena, 4, extent);
    AttrView view = {4, extent, 3,
                     (Dim[]){at[0], at[1], sn_dim_add(c->dims, at[2], sn_dim_mulc(c->dims, at[3], apart))}};
    Value *windows = as_type(c, sn_build1(c->builder, SN_OP_VIEW, &view, all), wide);
    Value *terms = op2(c, SN_OP_MUL, windows, as_type(c, weight, wide));
    Value *y = as_type(c, reduce_axis(c, SN_OP_REDUCE_SUM, terms, 3, false), dtype);
    if (bias) y = op2(c, SN_OP_ADD, y, sn_call_unsqueeze(c, bias, 1, 1));
    if (silu) y = sn_build1(c->builder, SN_OP_SILU, &(AttrAlpha){1}, y);
    if (c->output_count > 1) c->output[1] = sliced(c, all, 2, d[2], sn_dim(c->dims, past));
    return y;
}

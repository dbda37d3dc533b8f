/* Attention and RotaryEmbedding of opset 23 on. */
#include "import_attention.h"
#include "import_compose.h"

#include <math.h>

Value *sn_attention_split(Call *c, Value *x, int64_t heads) {
    if (sn_call_failed(c)) return NULL;
    if (heads < 1) return sn_call_invalid(c, "%lld heads", (long long)heads);
    if (x->type.rank != 3) return sn_call_invalid(c, "an input of rank %d", x->type.rank);
    Dim extent[4] = {x->type.dim[0], x->type.dim[1], sn_dim(c->dims, heads), NULL};
    if (!sn_dim_divides(c->dims, extent[2], x->type.dim[2], &extent[3]))
        extent[3] = sn_dim_floordiv(c->dims, x->type.dim[2], extent[2]);
    return sn_build_reshape(c->builder, x, 4, extent);
}

/* ---- rotary ---- */

/* The sines of each position as something that broadcasts to the heads: [B, 1, S, R/2], or [B, S, 1, R/2]
 * where the heads stand behind the positions. */
static Value *angles(Call *c, Value *table, Value *positions, int head_axis) {
    if (positions) table = sn_build2(c->builder, SN_OP_GATHER, &(AttrAxis){0}, table, positions);
    if (sn_call_failed(c)) return NULL;
    if (table->type.rank != 3) return sn_call_invalid(c, "cos and sin of rank %d", table->type.rank);
    return sn_call_unsqueeze(c, table, head_axis, 1);
}

Value *sn_import_rotary(Call *c) {
    Value *x = c->input[0], *positions = sn_call_input(c, 3);
    AttrRotary attr = {sn_call_int(c, "interleaved", 0) != 0};
    int64_t heads = sn_call_int(c, "num_heads", 0), turned = sn_call_int(c, "rotary_embedding_dim", 0);
    Type type = x->type;
    if (type.rank != 3 && type.rank != 4) return sn_call_invalid(c, "an input of rank %d", type.rank);
    if (type.rank == 3) x = sn_attention_split(c, x, heads);
    Value *cosine = angles(c, c->input[1], positions, type.rank == 3 ? 2 : 1);
    Value *sine = angles(c, c->input[2], positions, type.rank == 3 ? 2 : 1);
    if (sn_call_failed(c)) return NULL;
    Dim whole = turned ? sn_dim(c->dims, turned) : x->type.dim[3];
    Dim angle_count = sn_dim_mulc(c->dims, cosine->type.dim[3], 2);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, angle_count, whole, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the angles"));
    Value *result = sn_build3(c->builder, SN_OP_ROTARY, &attr, x, cosine, sine);
    return sn_call_failed(c) ? NULL : sn_build_reshape(c->builder, result, type.rank, type.dim);
}

/* ---- attention ---- */

typedef struct Heads {
    Value *q, *k, *v; /* [B, H, S, D], [B, G, T, D], [B, G, T, E] */
    Value *mask;      /* or NULL */
    double scale, softcap;
    bool causal;
    Dim offset;
} Heads;

Value *sn_attention_heads(Call *c, Value *x, int64_t heads) {
    if (sn_call_failed(c)) return NULL;
    if (x->type.rank == 4) return x;
    return sn_call_swap(c, sn_attention_split(c, x, heads), 1, 2);
}

Value *sn_attention_extend(Call *c, Value *past, Value *now) {
    if (!past || sn_call_failed(c)) return now;
    return sn_build2(c->builder, SN_OP_CONCAT, &(AttrAxis){2}, past, now);
}

/* A mask that ends before the keys do hides the rest. */
static Value *whole_mask(Call *c, Value *mask, Dim keys) {
    if (sn_call_failed(c) || !mask) return NULL;
    Type type = mask->type;
    if (type.rank < 1 || type.rank > 4) return sn_call_invalid(c, "a mask of rank %d", type.rank);
    Dim have = type.dim[type.rank - 1], zero = sn_dim(c->dims, 0);
    if (have == keys) return mask;
    Dim missing = sn_dim_sub(c->dims, keys, have);
    if (sn_dim_equals(have, 1) && keys->kind != SN_DIM_CONST)
        return sn_call_unsupported(c, "a mask of one column for a symbolic number of keys");
    if (missing->kind != SN_DIM_CONST) {
        Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, have, keys, c->builder->origin);
        return status ? sn_call_latch(c, sn_status_prefix(status, "the mask's columns")) : mask;
    }
    Dim before[4], after[4];
    for (int k = 0; k < type.rank; k++) before[k] = after[k] = zero;
    after[type.rank - 1] = missing;
    AttrPad attr = {type.rank, before, after, type.dtype == SN_BOOL ? 0 : -INFINITY};
    return sn_build1(c->builder, SN_OP_PAD, &attr, mask);
}

/* Columns from length[b] on are hidden: length i64 [B]. The rows of a causal attention without a past are the last ones of
 * these columns, so that row i sees columns up to i + length[b] - S; nothing else of it has to be causal then. */
static Value *mask_padding(Call *c, Value *mask, Value *length, bool past, Heads *heads) {
    if (!length || sn_call_failed(c)) return mask;
    if (length->type.rank != 1) return sn_call_invalid(c, "lengths of rank %d", length->type.rank);
    Builder *b = c->builder;
    DType dtype = heads->q->type.dtype;
    Dim rows = heads->q->type.dim[2];
    Value *column = sn_build_positions(b, length->type.dtype, heads->k->type.dim[2], 0);
    Value *end = sn_call_unsqueeze(c, length, 1, 3);
    if (heads->causal && !past) {
        Dim before = sn_dim_addc(c->dims, sn_dim_sub(c->dims, sn_dim(c->dims, 0), rows), 1);
        Value *row = sn_build_positions(b, length->type.dtype, rows, 1);
        end = sn_build2(b, SN_OP_ADD, NULL, end,
                        sn_build_cast(b, sn_build_dims(b, 1, &before, true), length->type.dtype));
        end = sn_build2(b, SN_OP_ADD, NULL, end, row);
        heads->causal = false;
    }
    Value *inside = sn_build2(b, SN_OP_LESS, NULL, column, end);
    if (!mask) return inside;
    if (mask->type.dtype == SN_BOOL) return sn_build2(b, SN_OP_AND, NULL, mask, inside);
    return sn_build3(b, SN_OP_WHERE, NULL, inside, mask, sn_call_scalar(c, dtype, -INFINITY));
}

/* cap·tanh(x / cap) is the same for either sign of the cap. A row that sees nothing is zero, which the text of opset 23 says
 * since a correction, as that of later ones. */
static Value *attention(Call *c, const Heads *heads) {
    AttrAttention attr = {.scale = heads->scale, .causal = heads->causal, .softcap = fabs(heads->softcap)};
    if (heads->causal) attr.offset = heads->offset;
    attr.zero_rows = heads->mask != NULL;
    Value *input[4] = {heads->q, heads->k, heads->v, heads->mask};
    return sn_build(c->builder, SN_OP_ATTENTION, &attr, heads->mask ? 4 : 3, input);
}

/* q times 1/√D, D symbolic: what the scale attribute cannot say. */
static Value *scale_query(Call *c, Value *q) {
    Dim size = q->type.dim[3];
    Value *width = sn_build_cast(c->builder, sn_build_dims(c->builder, 1, &size, true), q->type.dtype);
    return sn_build2(c->builder, SN_OP_MUL, NULL, q, sn_build1(c->builder, SN_OP_RSQRT, NULL, width));
}

double sn_attention_scale(Call *c, Value **q) {
    int64_t size;
    if (sn_call_failed(c)) return 1;
    if (sn_dim_is((*q)->type.dim[3], &size)) return 1 / sqrt((double)size);
    *q = scale_query(c, *q);
    return 1;
}

Value *sn_attention_join(Call *c, Value *y) {
    if (sn_call_failed(c)) return NULL;
    const Dim *dim = y->type.dim;
    Dim joined[3] = {dim[0], dim[2], sn_dim_mul(c->dims, dim[1], dim[3])};
    return sn_build_reshape(c->builder, sn_call_swap(c, y, 1, 2), 3, joined);
}

static void check_precision(Call *c) {
    int64_t precision = sn_call_int(c, "softmax_precision", 0);
    DType dtype;
    if (precision == 0) return;
    if (!sn_dtype_from_onnx((int)precision, &dtype) || (dtype != SN_F32 && dtype != c->input[0]->type.dtype))
        sn_call_unsupported(c, "softmax_precision %lld", (long long)precision);
}

/* ---- the scores as an output ---- */

Value *sn_attention_spread(Call *c, Value *k, Dim heads) {
    if (sn_call_failed(c) || k->type.dim[1] == heads) return k;
    Dim groups = k->type.dim[1], each = sn_dim_floordiv(c->dims, heads, groups);
    Dim extent[5] = {k->type.dim[0], groups, each, k->type.dim[2], k->type.dim[3]};
    k = expanded(c, sn_call_unsqueeze(c, k, 2, 1), 5, extent);
    return reshaped(c, k, 4, (Dim[]){extent[0], heads, extent[3], extent[4]});
}

static Value *hidden_where(Call *c, Value *scores, Value *seen) {
    return sn_call_failed(c) ? NULL
                             : choose(c, seen, scores, sn_call_scalar(c, scores->type.dtype, -INFINITY));
}

static Value *masked_scores(Call *c, const Heads *heads, Value *scores) {
    if (sn_call_failed(c)) return NULL;
    Type type = scores->type;
    if (heads->mask && heads->mask->type.dtype == SN_BOOL)
        scores = hidden_where(c, scores, heads->mask);
    else if (heads->mask)
        scores = op2(c, SN_OP_ADD, scores, heads->mask);
    if (!heads->causal) return scores;
    Value *last =
        op2(c, SN_OP_ADD, count_up(c, SN_I64, type.dim[2], 1), size_number(c, heads->offset, SN_I64));
    return hidden_where(c, scores, op2(c, SN_OP_LESS_EQUAL, count_up(c, SN_I64, type.dim[3], 0), last));
}

/* What becomes of the products of queries and keys: as they are (0), capped (1), masked too (2), or their softmax (3), which
 * is zero in rows that see nothing. */
static Value *shown_scores(Call *c, const Heads *heads, int64_t mode) {
    if (mode < 0 || mode > 3) return sn_call_invalid(c, "qk_matmul_output_mode is %lld", (long long)mode);
    if (sn_call_failed(c)) return NULL;
    DType dtype = heads->q->type.dtype;
    Value *keys = sn_call_swap(c, sn_attention_spread(c, heads->k, heads->q->type.dim[1]), 2, 3);
    Value *scores = op2(c, SN_OP_MATMUL, op_number(c, SN_OP_MUL, heads->q, heads->scale), keys);
    if (mode >= 1 && heads->softcap != 0) {
        scores = op1(c, SN_OP_TANH, op_number(c, SN_OP_DIV, scores, heads->softcap));
        scores = op_number(c, SN_OP_MUL, scores, heads->softcap);
    }
    if (mode >= 2) scores = masked_scores(c, heads, scores);
    if (mode < 3 || sn_call_failed(c)) return scores;
    Value *most = reduce_axis(c, SN_OP_REDUCE_MAX, scores, 3, true);
    Value *part = sn_build1(c->builder, SN_OP_SOFTMAX, &(AttrAxis){3}, scores),
          *zero = sn_call_scalar(c, dtype, 0);
    return choose(c, op2(c, SN_OP_EQUAL, most, sn_call_scalar(c, dtype, -INFINITY)), zero, part);
}

Value *sn_import_attention(Call *c) {
    int64_t q_heads = sn_call_int(c, "q_num_heads", 0), kv_heads = sn_call_int(c, "kv_num_heads", 0);
    int64_t shown = sn_call_int(c, "qk_matmul_output_mode", 0);
    check_precision(c);
    Value *past_key = sn_call_input(c, 4), *past_value = sn_call_input(c, 5);
    Heads heads = {
        .q = sn_attention_heads(c, c->input[0], q_heads),
        .k = sn_attention_extend(c, past_key, sn_attention_heads(c, c->input[1], kv_heads)),
        .v = sn_attention_extend(c, past_value, sn_attention_heads(c, c->input[2], kv_heads)),
        .softcap = sn_call_float(c, "softcap", 0),
        .causal = sn_call_int(c, "is_causal", 0) != 0,
        .offset = sn_dim(c->dims, 0),
    };
    if (sn_call_failed(c)) return NULL;
    heads.scale = sn_call_has(c, "scale") ? sn_call_float(c, "scale", 0) : sn_attention_scale(c, &heads.q);
    if (sn_call_failed(c)) return NULL;
    if (past_key) heads.offset = past_key->type.rank == 4 ? past_key->type.dim[2] : heads.offset;
    heads.mask = whole_mask(c, sn_call_input(c, 3), heads.k->type.dim[2]);
    heads.mask = mask_padding(c, heads.mask, sn_call_input(c, 6), past_key, &heads);
    if (c->output_count > 1) c->output[1] = heads.k;
    if (c->output_count > 2) c->output[2] = heads.v;
    if (sn_call_wants(c, 3)) c->output[3] = shown_scores(c, &heads, shown);
    Value *result = attention(c, &heads);
    if (sn_call_failed(c) || c->input[0]->type.rank == 4) return result;
    return sn_attention_join(c, result);
}

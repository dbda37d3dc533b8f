/* com.microsoft's Attention, MultiHeadAttention and RotaryEmbedding. (GroupQueryAttention: import_group_query.c.) */
#include "import_attention.h"
#include "import_compose.h"

typedef struct Fused {
    Value *q, *k, *v; /* [B, heads, S, D] */
    Value *mask;      /* what is added to the scores, or NULL */
    Dim batch, past, rows, columns;
    DType dtype;
} Fused;

/* ---- what is hidden ---- */

/* What is added where `seen` does not hold. */
static Value *hidden(Call *c, const Fused *f, Value *seen) {
    double filter = sn_call_float(c, "mask_filter_value", -10000);
    if (sn_call_failed(c)) return NULL;
    return choose(c, seen, sn_call_scalar(c, f->dtype, 0), sn_call_scalar(c, f->dtype, filter));
}

/* Columns below an end, and from a start on: `ends` has B entries, or B more that are the starts. */
static Value *between(Call *c, const Fused *f, Value *ends) {
    Value *column = count_up(c, ends->type.dtype, f->columns, 0);
    Value *end = sliced(c, ends, 0, sn_dim(c->dims, 0), f->batch);
    Value *seen = op2(c, SN_OP_LESS, column, end ? sn_call_unsqueeze(c, end, 1, 3) : NULL);
    if (ends->type.dim[0] != sn_dim_mulc(c->dims, f->batch, 2)) {
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, ends->type.dim[0], f->batch, c->builder->origin);
        return status ? sn_call_latch(c, sn_status_prefix(status, "the mask")) : seen;
    }
    Value *start = sliced(c, ends, 0, f->batch, f->batch);
    Value *from = op2(c, SN_OP_LESS_EQUAL, start ? sn_call_unsqueeze(c, start, 1, 3) : NULL, column);
    return op2(c, SN_OP_AND, seen, from);
}

/* The mask of an integer tensor: [B] or [2B] (see above), [B, T], [B, S, T] with ones for what counts. */
static void hide_padding(Call *c, Fused *f, Value *mask) {
    if (!mask || sn_call_failed(c)) return;
    Type type = mask->type;
    Value *seen;
    if (type.rank == 1) {
        seen = between(c, f, mask);
    } else if (type.rank == 2 || type.rank == 3) {
        if (type.dtype != SN_BOOL) mask = op2(c, SN_OP_LESS, sn_call_scalar(c, type.dtype, 0), mask);
        seen = sn_call_failed(c) ? NULL : sn_call_unsqueeze(c, mask, 1, 4 - type.rank);
    } else {
        sn_call_unsupported(c, "a mask of rank %d", type.rank);
        return;
    }
    f->mask = hidden(c, f, seen);
}

static void add_bias(Call *c, Fused *f, Value *bias) {
    if (bias) f->mask = f->mask ? op2(c, SN_OP_ADD, f->mask, bias) : bias;
}

static Value *attend(Call *c, Fused *f) {
    double scale = sn_call_float(c, "scale", 0);
    if (scale == 0) scale = sn_attention_scale(c, &f->q);
    AttrAttention attr = {.scale = scale, .causal = sn_call_int(c, "unidirectional", 0) != 0};
    if (attr.causal) attr.offset = f->past;
    Value *input[4] = {f->q, f->k, f->v, f->mask};
    return sn_attention_join(c, sn_build(c->builder, SN_OP_ATTENTION, &attr, f->mask ? 4 : 3, input));
}

/* ---- Attention: one product makes q, k and v ---- */

/* The widths of q, k and v in the product's last extent. */
static bool read_widths(Call *c, Dim whole, Dim *width) {
    int count;
    const int64_t *given = sn_call_int_list(c, "qkv_hidden_sizes", &count);
    if (given && count != 3) return sn_call_invalid(c, "%d qkv_hidden_sizes", count);
    for (int k = 0; k < 3; k++) {
        if (given) {
            width[k] = sn_dim(c->dims, given[k]);
        } else if (!sn_dim_divides(c->dims, sn_dim(c->dims, 3), whole, &width[k])) {
            width[k] = sn_dim_floordiv(c->dims, whole, sn_dim(c->dims, 3));
        }
    }
    return !sn_call_failed(c);
}

/* Key (0) or value (1) of past [2, B, H, P, D]. */
static Value *half_of_past(Call *c, Value *past, int which) {
    if (!past || sn_call_failed(c)) return NULL;
    if (past->type.rank != 5) return sn_call_invalid(c, "a past of rank %d", past->type.rank);
    Value *half = sliced(c, past, 0, sn_dim(c->dims, which), sn_dim(c->dims, 1));
    return reshaped(c, half, 4, past->type.dim + 1);
}

Value *sn_attention_packed(Call *c, Value *product, Value *mask, Value *past, Value *bias) {
    int64_t heads = sn_call_int(c, "num_heads", 0);
    Dim width[3], start = sn_dim(c->dims, 0);
    static const char *const refused[] = {"do_rotary", "past_present_share_buffer"};
    for (int k = 0; k < 2; k++)
        if (sn_call_int(c, refused[k], 0) != 0) return sn_call_unsupported(c, "%s", refused[k]);
    sn_call_ignore(c, "rotary_embedding_dim");
    if (sn_call_failed(c)) return NULL;
    if (product->type.rank != 3) return sn_call_invalid(c, "an input of rank %d", product->type.rank);
    if (!read_widths(c, product->type.dim[2], width)) return NULL;
    Value *part[3];
    for (int k = 0; k < 3; k++) {
        part[k] = sn_attention_heads(c, sliced(c, product, 2, start, width[k]), heads);
        start = sn_dim_add(c->dims, start, width[k]);
    }
    Fused f = {.q = part[0], .dtype = product->type.dtype, .batch = product->type.dim[0]};
    f.k = sn_attention_extend(c, half_of_past(c, past, 0), part[1]);
    f.v = sn_attention_extend(c, half_of_past(c, past, 1), part[2]);
    if (sn_call_failed(c)) return NULL;
    f.past = past ? past->type.dim[3] : sn_dim(c->dims, 0);
    f.rows = f.q->type.dim[2], f.columns = f.k->type.dim[2];
    if (sn_call_wants(c, 1))
        c->output[1] =
            joined(c, 0, 2, (Value *[]){sn_call_unsqueeze(c, f.k, 0, 1), sn_call_unsqueeze(c, f.v, 0, 1)});
    hide_padding(c, &f, mask);
    add_bias(c, &f, bias);
    return attend(c, &f);
}

/* x, weights, bias, mask, past, what is added to the scores, length of the past in a shared buffer. */
Value *sn_import_fused_attention(Call *c) {
    if (sn_call_input(c, 6)) return sn_call_unsupported(c, "past_sequence_length");
    Value *product = op2(c, SN_OP_MATMUL, c->input[0], c->input[1]);
    if (sn_call_input(c, 2)) product = op2(c, SN_OP_ADD, product, c->input[2]);
    return sn_attention_packed(c, product, sn_call_input(c, 3), sn_call_input(c, 4), sn_call_input(c, 5));
}

/* ---- MultiHeadAttention ---- */

/* Of a bias for q, k and v side by side, what belongs to x, whose width is `width`. */
static Value *with_part(Call *c, Value *x, Value *bias, Dim *start) {
    if (!bias || sn_call_failed(c)) return x;
    if (x->type.rank != 3) return sn_call_unsupported(c, "a bias beside an input of rank %d", x->type.rank);
    Value *part = sliced(c, bias, 0, *start, x->type.dim[2]);
    *start = sn_dim_add(c->dims, *start, x->type.dim[2]);
    return op2(c, SN_OP_ADD, x, part);
}

/* Part `which` of [B, S, heads, parts, D], as [B, S, heads·D]. */
static Value *part_of_packed(Call *c, Value *x, int which) {
    Value *part = sliced(c, x, 3, sn_dim(c->dims, which), sn_dim(c->dims, 1));
    if (sn_call_failed(c)) return NULL;
    const Dim *extent = x->type.dim;
    return reshaped(c, part, 3, (Dim[]){extent[0], extent[1], sn_dim_mul(c->dims, extent[2], extent[4])});
}

/* Query, key and value lie side by side in the first input, or key and value in the second. */
static bool unpack(Call *c, Value **query, Value **key, Value **value) {
    if (*key && *value) return true;
    Value *packed = *key ? *key : *query;
    int first = *key ? 1 : 0;
    if (*value || packed->type.rank != 5 || !sn_dim_equals(packed->type.dim[3], 3 - first))
        return sn_call_unsupported(c, "no key or no value");
    if (!first) *query = part_of_packed(c, packed, 0);
    *key = part_of_packed(c, packed, 1 - first);
    *value = part_of_packed(c, packed, 2 - first);
    return !sn_call_failed(c);
}

static bool read_operands(Call *c, Fused *f) {
    Value *query = c->input[0], *key = sn_call_input(c, 1), *value = sn_call_input(c, 2);
    Value *bias = sn_call_input(c, 3);
    int64_t heads = sn_call_int(c, "num_heads", 0);
    Dim start = sn_dim(c->dims, 0);
    if (!unpack(c, &query, &key, &value)) return false;
    f->q = sn_attention_heads(c, with_part(c, query, bias, &start), heads);
    /* Keys that were computed before have theirs in them. */
    if (key->type.rank == 4) bias = NULL;
    f->k = sn_attention_heads(c, with_part(c, key, bias, &start), heads);
    f->v = sn_attention_heads(c, with_part(c, value, bias, &start), heads);
    return !sn_call_failed(c);
}

/* Query, key, value, bias, mask of keys, what is added to the scores, past key and value. */
Value *sn_import_multi_head_attention(Call *c) {
    Value *past_key = sn_call_input(c, 6), *past_value = sn_call_input(c, 7);
    Fused f = {.dtype = c->input[0]->type.dtype, .batch = c->input[0]->type.dim[0]};
    if (sn_call_input(c, 8) || sn_call_input(c, 9)) return sn_call_unsupported(c, "a shared buffer");
    if (sn_call_wants(c, 3)) return sn_call_unsupported(c, "the output of scores");
    if (c->input[0]->type.rank < 3) return sn_call_invalid(c, "a query of rank %d", c->input[0]->type.rank);
    if (!read_operands(c, &f)) return NULL;
    f.past = past_key && past_key->type.rank == 4 ? past_key->type.dim[2] : sn_dim(c->dims, 0);
    f.k = sn_attention_extend(c, past_key, f.k);
    f.v = sn_attention_extend(c, past_value, f.v);
    if (sn_call_failed(c)) return NULL;
    f.rows = f.q->type.dim[2], f.columns = f.k->type.dim[2];
    if (c->output_count > 1) c->output[1] = f.k;
    if (c->output_count > 2) c->output[2] = f.v;
    hide_padding(c, &f, sn_call_input(c, 4));
    add_bias(c, &f, sn_call_input(c, 5));
    return attend(c, &f);
}

/* ---- RotaryEmbedding ---- */

/* Which of three positions, of time, height and width, turns each pair: one after another as many as the sections say, or in turns
 * where `turns`, and of time what is left. */
static Value *streams_of(Call *c, int64_t half, const int64_t *section, bool turns) {
    void *bytes;
    Tensor *streams = sn_tensor_new(c->import->graph->arena, SN_I32, 1, &half, &bytes);
    for (int64_t i = 0; i < half; i++) {
        int64_t stream = i < section[0] ? 0 : i < section[0] + section[1] ? 1 : 2;
        if (turns) stream = i < 3 * section[i % 3] ? i % 3 : 0;
        ((int32_t *)bytes)[i] = (int32_t)stream;
    }
    return sn_build_constant(c->builder, streams);
}

/* Rows of the table by positions [3, B, S]. */
static Value *rows_of_streams(Call *c, Value *table, Value *positions) {
    const int64_t *section = sn_call_checked_list(c, "mrope_section", 3, 0);
    int64_t half = 0, layout = sn_call_int(c, "mrope_layout", 0);
    if (sn_call_failed(c)) return NULL;
    sn_dim_is(table->type.dim[1], &half);
    if (positions->type.rank != 3 || !section || section[0] + section[1] + section[2] != half)
        return sn_call_invalid(c, "positions of rank %d, or sections that are not the table's",
                               positions->type.rank);
    if (layout != 0 && layout != 1) return sn_call_invalid(c, "mrope_layout is %lld", (long long)layout);
    Value *streams = streams_of(c, half, section, layout == 1), *rows = NULL;
    for (int k = 0; k < 3; k++) {
        Value *at = sliced(c, positions, 0, sn_dim(c->dims, k), sn_dim(c->dims, 1));
        Value *these = gathered(c, table, reshaped(c, at, 2, &positions->type.dim[1]), 0);
        rows = k ? choose(c, op_number(c, SN_OP_EQUAL, streams, k), these, rows) : these;
    }
    return rows;
}

/* Positions [B, S], or one number that they count from, as rows of the table, to stand beside the heads. */
static Value *angles(Call *c, Value *table, Value *positions, Dim length, int head_axis) {
    if (sn_call_failed(c)) return NULL;
    if (positions->type.rank < 2) {
        Value *row = count_up(c, positions->type.dtype, length, 0);
        positions = op2(c, SN_OP_ADD, row, reshaped(c, positions, 1, (Dim[]){sn_dim(c->dims, 1)}));
        positions = positions ? sn_call_unsqueeze(c, positions, 0, 1) : NULL;
    }
    Value *rows = c->row->parameter ? rows_of_streams(c, table, positions) : gathered(c, table, positions, 0);
    return rows ? sn_call_unsqueeze(c, rows, head_axis, 1) : NULL;
}

/* x [B, S, heads·D] or [B, heads, S, D], positions, cos, sin: those of as many pairs as they are wide. With a
 * parameter there are three positions. */
Value *sn_import_rotary_of_positions(Call *c) {
    Value *x = c->input[0], *cosine = c->input[2], *sine = c->input[3];
    AttrRotary attr = {sn_call_int(c, "interleaved", 0) != 0};
    int64_t heads = sn_call_int(c, "num_heads", 0), turned = sn_call_int(c, "rotary_embedding_dim", 0), half;
    Type type = x->type;
    if (sn_call_float(c, "scale", 1) != 1) return sn_call_unsupported(c, "scale");
    if (sn_call_int(c, "is_packed_batching", 0) != 0) return sn_call_unsupported(c, "is_packed_batching");
    if (type.rank != 3 && type.rank != 4) return sn_call_invalid(c, "an input of rank %d", type.rank);
    if (cosine->type.rank != 2 || !sn_dim_is(cosine->type.dim[1], &half) || half < 1)
        return sn_call_invalid(c, "cos of rank %d", cosine->type.rank);
    if (turned && turned != 2 * half) return sn_call_invalid(c, "rotary_embedding_dim is not that of cos");
    int64_t width;
    if (type.rank == 3 && heads == 0 && sn_dim_is(type.dim[2], &width)) heads = width / (2 * half);
    if (type.rank == 3) x = sn_attention_split(c, x, heads);
    int axis = type.rank == 3 ? 2 : 1;
    Dim length = type.dim[type.rank == 3 ? 1 : 2];
    Value *result =
        sn_build3(c->builder, SN_OP_ROTARY, &attr, x, angles(c, cosine, c->input[1], length, axis),
                  angles(c, sine, c->input[1], length, axis));
    return reshaped(c, result, type.rank, type.dim);
}

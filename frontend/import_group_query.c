/* com.microsoft's GroupQueryAttention. Each sequence of a batch has a length of its own: its new keys stand right behind its
 * past ones, whose buffer may be longer. */
#include "import_attention.h"
#include "import_compose.h"

#include <math.h>

typedef struct Group {
    int64_t heads, groups;
    Value *q, *k, *v; /* [B, S, heads, D] */
    Value *length;    /* i64 [B]: how many past keys each sequence has */
    Value *whole;     /* i64 [B]: and how many with the new ones */
    Value *position;  /* i64 [B, S] */
    int64_t window;   /* keys that a query sees, or no more than 0: all */
    Value *had;       /* i64 [B]: rows of the past that count, where the cache is a window; or NULL */
    Dim batch, rows, past, present;
} Group;

/* q, k and v as heads; they may lie side by side in the first input. */
static bool read_operands(Call *c, Group *g) {
    Value *query = c->input[0], *key = sn_call_input(c, 1), *value = sn_call_input(c, 2);
    g->heads = sn_call_int(c, "num_heads", 0), g->groups = sn_call_int(c, "kv_num_heads", 0);
    if (sn_call_failed(c)) return false;
    if (g->heads < 1 || g->groups < 1) return sn_call_invalid(c, "no heads");
    if (query->type.rank != 3 || !key != !value)
        return sn_call_unsupported(c, "a query of rank %d", query->type.rank);
    if (!key) {
        Dim whole = query->type.dim[2], size, all = sn_dim(c->dims, g->heads + 2 * g->groups);
        if (!sn_dim_divides(c->dims, all, whole, &size)) size = sn_dim_floordiv(c->dims, whole, all);
        Dim q = sn_dim_mulc(c->dims, size, g->heads), k = sn_dim_mulc(c->dims, size, g->groups);
        key = sliced(c, query, 2, q, k);
        value = sliced(c, query, 2, sn_dim_add(c->dims, q, k), k);
        query = sliced(c, query, 2, sn_dim(c->dims, 0), q);
    }
    g->q = sn_attention_split(c, query, g->heads);
    g->k = sn_attention_split(c, key, g->groups);
    g->v = sn_attention_split(c, value, g->groups);
    return !sn_call_failed(c);
}

/* `last` holds each sequence's length less one, the new keys among it. Where all of the sequence is new, it has no past,
 * and what stands beyond its length is padding. */
static void read_lengths(Call *c, Group *g, Value *last, Dim total) {
    last = reshaped(c, as_type(c, last, SN_I64), 1, &g->batch);
    Dim past = sn_dim_max(c->dims, sn_dim_sub(c->dims, total, g->rows), sn_dim(c->dims, 0));
    Value *later = size_number(c, sn_dim_min(c->dims, past, sn_dim(c->dims, 1)), SN_I64);
    g->whole = op_number(c, SN_OP_ADD, last, 1);
    Value *before = op2(c, SN_OP_SUB, g->whole, size_number(c, g->rows, SN_I64));
    g->length = op2(c, SN_OP_MUL, before, later);
    Value *column = g->length ? sn_call_unsqueeze(c, g->length, 1, 1) : NULL;
    g->position = op2(c, SN_OP_ADD, column, count_up(c, SN_I64, g->rows, 0));
}

/* x [B, S, heads, D] turned by the angles of its positions. */
static Value *turned(Call *c, const Group *g, Value *x, Value *positions) {
    Value *angle[2];
    AttrRotary attr = {sn_call_int(c, "rotary_interleaved", 0) != 0};
    for (int k = 0; k < 2; k++) {
        Value *table = sn_call_input(c, 7 + k);
        if (!table) return sn_call_invalid(c, "do_rotary without cos or sin");
        angle[k] = gathered(c, table, positions ? positions : g->position, 0);
        if (sn_call_failed(c)) return NULL;
        angle[k] = sn_call_unsqueeze(c, angle[k], 2, 1);
    }
    return sn_build3(c->builder, SN_OP_ROTARY, &attr, x, angle[0], angle[1]);
}

/* How `present` columns are made: the new ones stand at `length`, and the others where they were. */
typedef struct Places {
    Value *fresh; /* bool [B, 1, present, 1]: a new one */
    Value *row;   /* i64 [B, present]: and which one, as a row of all of the batch; any row where it is not */
} Places;

static Places find_places(Call *c, const Group *g) {
    Value *column = count_up(c, SN_I64, g->present, 0), *rows = size_number(c, g->rows, SN_I64);
    if (sn_call_failed(c)) return (Places){0};
    Value *length = sn_call_unsqueeze(c, g->length, 1, 1);
    Value *since = op2(c, SN_OP_SUB, column, length);
    Value *fresh =
        op2(c, SN_OP_AND, op2(c, SN_OP_LESS_EQUAL, length, column), op2(c, SN_OP_LESS, since, rows));
    Value *last = size_number(c, sn_dim_addc(c->dims, g->rows, -1), SN_I64);
    Value *row = op2(c, SN_OP_MIN, op_number(c, SN_OP_MAX, since, 0), last);
    Value *first = op2(c, SN_OP_MUL, count_up(c, SN_I64, g->batch, 1), rows);
    row = op2(c, SN_OP_ADD, row, first);
    if (sn_call_failed(c)) return (Places){0};
    return (Places){sn_call_unsqueeze(c, sn_call_unsqueeze(c, fresh, 1, 1), 3, 1), row};
}

/* Rows [batch, row] of x [B, S, G, D], as heads: [B, G, rows, D]. */
static Value *rows_as_heads(Call *c, Value *x, Value *row) {
    if (sn_call_failed(c)) return NULL;
    const Dim *dim = x->type.dim;
    Dim flat[3] = {sn_dim_mul(c->dims, dim[0], dim[1]), dim[2], dim[3]};
    Value *placed = gathered(c, reshaped(c, x, 3, flat), row, 0);
    return placed ? sn_call_swap(c, placed, 1, 2) : NULL;
}

/* past [B, G, P, D] or NULL and new [B, S, G, D] -> [B, G, present, D]. What is neither is 0. */
static Value *present_of(Call *c, const Group *g, Value *past, Value *new, const Places *places) {
    if (sn_call_failed(c)) return NULL;
    Dim zero = sn_dim(c->dims, 0);
    if (!past) return sliced(c, sn_call_swap(c, new, 1, 2), 2, zero, g->present);
    Dim before[4] = {zero, zero, zero, zero},
        after[4] = {zero, zero, sn_dim_sub(c->dims, g->present, g->past), zero};
    Value *old = sn_build1(c->builder, SN_OP_PAD, &(AttrPad){4, before, after, 0}, past);
    return choose(c, places->fresh, rows_as_heads(c, new, places->row), old);
}

/* Bool [B, 1, S, present]: no key behind the query's position (or where it is not causal, behind the last one's), and none
 * further ahead than the window. */
static Value *seen(Call *c, const Group *g) {
    int64_t window = g->window;
    bool causal = sn_call_int(c, "causal", 1) != 0;
    Value *column = count_up(c, SN_I64, g->present, 0), *until = g->position;
    if (sn_call_failed(c)) return NULL;
    if (!causal && window > 0) return sn_call_invalid(c, "a window of what is not causal");
    if (!causal) until = sliced(c, until, 1, sn_dim_addc(c->dims, g->rows, -1), sn_dim(c->dims, 1));
    if (sn_call_failed(c)) return NULL;
    Value *row = sn_call_unsqueeze(c, sn_call_unsqueeze(c, until, 1, 1), 3, 1);
    Value *mask = op2(c, SN_OP_LESS_EQUAL, column, row);
    if (window <= 0) return mask;
    Value *from = op_number(c, SN_OP_SUB, row, (double)window);
    return op2(c, SN_OP_AND, mask, op2(c, SN_OP_LESS, from, column));
}

/* ---- a cache that is a window ---- */

/* How many of the last positions, `whole` of them, a cache of C rows has: all, and where these are more than C, as many fewer as
 * C - window + 1 go into what is too much, rounded up. */
static Value *resident(Call *c, const Group *g, Value *whole) {
    Value *capacity = size_number(c, g->past, SN_I64);
    Value *step = op_number(c, SN_OP_ADD, capacity, (double)(1 - g->window));
    Value *over = op_number(c, SN_OP_MAX, op2(c, SN_OP_SUB, whole, capacity), 0);
    over = op2(c, SN_OP_DIV, op2(c, SN_OP_ADD, over, op_number(c, SN_OP_SUB, step, 1)), step);
    return op2(c, SN_OP_SUB, whole, op2(c, SN_OP_MUL, over, step));
}

/* i64 [B] as a column. */
static Value *upright(Call *c, Value *x) {
    return sn_call_failed(c) ? NULL : sn_call_unsqueeze(c, x, 1, 1);
}

/* Where each row of a cache that is a window comes from in past with new behind it, i64 [B, P], as a row of all of the batch: the
 * last rows of those of the past that count and of the new ones. What is behind them may be anything. */
static Value *window_sources(Call *c, const Group *g) {
    Dim all = sn_dim_add(c->dims, g->past, g->rows);
    Value *now = resident(c, g, g->whole), *had = upright(c, g->had);
    Value *gone = op2(c, SN_OP_SUB, op2(c, SN_OP_SUB, g->whole, g->length), op2(c, SN_OP_SUB, now, g->had));
    Value *place = op2(c, SN_OP_ADD, count_up(c, SN_I64, g->past, 0), upright(c, gone));
    Value *new = op2(c, SN_OP_ADD, op2(c, SN_OP_SUB, place, had), size_number(c, g->past, SN_I64));
    place = choose(c, op2(c, SN_OP_LESS, place, had), place, new);
    place = op2(c, SN_OP_MIN, place, size_number(c, sn_dim_addc(c->dims, all, -1), SN_I64));
    Value *first = op2(c, SN_OP_MUL, count_up(c, SN_I64, g->batch, 1), size_number(c, all, SN_I64));
    return op2(c, SN_OP_ADD, place, first);
}

/* As `seen`, of the past with what is new behind it. */
static Value *window_seen(Call *c, const Group *g) {
    Value *column = count_up(c, SN_I64, sn_dim_add(c->dims, g->past, g->rows), 0);
    Value *capacity = size_number(c, g->past, SN_I64), *had = upright(c, g->had),
          *length = upright(c, g->length);
    Value *old = op2(c, SN_OP_LESS, column, capacity);
    Value *since = choose(c, old, op2(c, SN_OP_SUB, column, had), op2(c, SN_OP_SUB, column, capacity));
    Value *at = op2(c, SN_OP_ADD, length, since);
    Value *live = op2(c, SN_OP_OR, op1(c, SN_OP_NOT, old), op2(c, SN_OP_LESS, column, had));
    if (sn_call_failed(c)) return NULL;
    at = sn_call_unsqueeze(c, at, 1, 2), live = sn_call_unsqueeze(c, live, 1, 2);
    Value *row = sn_call_unsqueeze(c, sn_call_unsqueeze(c, g->position, 1, 1), 3, 1);
    Value *from = op_number(c, SN_OP_SUB, row, (double)g->window);
    Value *near = op2(c, SN_OP_AND, op2(c, SN_OP_LESS_EQUAL, at, row), op2(c, SN_OP_LESS, from, at));
    return op2(c, SN_OP_AND, live, near);
}

/* past [B, G, P, D] and new [B, S, G, D] -> [B, G, P, D] */
static Value *window_of(Call *c, Value *past, Value *new, Value *source) {
    if (sn_call_failed(c)) return NULL;
    Value *all = joined(c, 1, 2, (Value *[]){sn_call_swap(c, past, 1, 2), new});
    return rows_as_heads(c, all, source);
}

static bool open_window(Call *c, Group *g, const Value *past) {
    if (g->window < 1 || !past) return sn_call_invalid(c, "a window of a cache without a size or a past");
    if (sn_call_int(c, "causal", 1) == 0) return sn_call_invalid(c, "a window of what is not causal");
    if (sn_call_input(c, 10)) return sn_call_unsupported(c, "attention_bias beside a cache that is a window");
    Status status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, sn_dim(c->dims, g->window), g->past,
                                   c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "the window"));
    g->had = resident(c, g, g->length);
    return !sn_call_failed(c);
}

/* Without a window nothing stands behind the past and what is new. */
static bool check_total(Call *c, const Group *g, Dim total) {
    Dim all = sn_dim_add(c->dims, g->past, g->rows);
    Status status = sn_graph_check(c->import->graph, SN_CHECK_AT_MOST, total, all, c->builder->origin);
    if (status) sn_call_latch(c, sn_status_prefix(status, "total_sequence_length"));
    return !sn_call_failed(c);
}

/* ---- attention ---- */

/* An attention whose softmax has one more column, without a value: a score for each head, or 0. That is what the other columns
 * have of the sum, Σ / (Σ + exp(sink)), which the statistic tells. */
static Value *with_sink(Call *c, const AttrAttention *attr, Value *const *input, Value *sink) {
    Node *node = sn_build_node(c->builder, SN_OP_ATTENTION, attr, 4, input, 2);
    if (sn_call_failed(c)) return NULL;
    Value *y = node->output[0], *all = reduce_axis(c, SN_OP_REDUCE_SUM, node->output[1], 3, true);
    if (sn_call_failed(c)) return NULL;
    DType wide = all->type.dtype;
    if (sink) all = op2(c, SN_OP_SUB, all, sn_call_unsqueeze(c, as_type(c, sink, wide), 1, 2));
    y = op2(c, SN_OP_MUL, as_type(c, y, wide), op1(c, SN_OP_SIGMOID, all));
    return as_type(c, y, input[0]->type.dtype);
}

static Value *attend(Call *c, const Group *g, Value *key, Value *value) {
    Value *mask = g->had ? window_seen(c, g) : seen(c, g), *bias = sn_call_input(c, 10), *q = g->q;
    if (sn_call_failed(c)) return NULL;
    if (bias) {
        if (bias->type.rank != 4) return sn_call_invalid(c, "an attention_bias of rank %d", bias->type.rank);
        Status status = sn_graph_check(c->import->graph, SN_CHECK_EQUAL, bias->type.dim[3], g->present,
                                       c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "attention_bias"));
        mask = choose(c, mask, bias, sn_call_scalar(c, bias->type.dtype, -INFINITY));
    }
    q = sn_call_swap(c, q, 1, 2);
    double scale = sn_call_float(c, "scale", 0);
    if (scale == 0) scale = sn_attention_scale(c, &q);
    Value *input[4] = {q, key, value, mask}, *sink = sn_call_input(c, 11);
    if (sink && sink->type.rank != 1) return sn_call_invalid(c, "a head_sink of rank %d", sink->type.rank);
    bool further = sn_call_int(c, "smooth_softmax", 0) > 0 || sink; /* a column that every row sees */
    AttrAttention attr = {.scale = scale, .softcap = sn_call_float(c, "softcap", 0), .zero_rows = further};
    if (further) return sn_attention_join(c, with_sink(c, &attr, input, sink));
    return sn_attention_join(c, sn_build(c->builder, SN_OP_ATTENTION, &attr, 4, input));
}

static bool is_plain(Call *c) {
    static const char *const refused[] = {"qk_output", "kv_cache_bit_width"};
    for (int k = 0; k < 2; k++)
        if (sn_call_int(c, refused[k], 0) > 0) return sn_call_unsupported(c, "%s", refused[k]);
    sn_call_ignore(c, "qk_norm_epsilon");
    for (int k = 12; k < c->input_count; k++)
        if (c->input[k]) return sn_call_unsupported(c, "input %d", k);
    for (int k = 0; k < 2; k++) {
        const char *name = k ? "v_quant_type" : "k_quant_type";
        if (strcmp(sn_call_string(c, name, "NONE"), "NONE") != 0) return sn_call_unsupported(c, "%s", name);
    }
    return !sn_call_failed(c);
}

static void make_present(Call *c, const Group *g, Value *const *past, Value **present) {
    Value *fresh[2] = {g->k, g->v}, *source = g->had ? window_sources(c, g) : NULL;
    Places places = past[0] && !g->had ? find_places(c, g) : (Places){0};
    for (int k = 0; k < 2; k++)
        present[k] =
            g->had ? window_of(c, past[k], fresh[k], source) : present_of(c, g, past[k], fresh[k], &places);
}

/* Query, key, value, past key and value, lengths less one, the longest of all, cos, sin, positions, what is added to the
 * scores, sinks of the heads. */
Value *sn_import_group_query_attention(Call *c) {
    Value *past[2] = {sn_call_input(c, 3), sn_call_input(c, 4)};
    Group g = {0};
    if (!has_input(c, 5) || !has_input(c, 6) || !is_plain(c) || !read_operands(c, &g)) return NULL;
    Dim total = sn_call_dim(c, c->input[6], "total_sequence_length");
    if (sn_call_failed(c)) return NULL;
    if (!past[0] != !past[1] || (past[0] && past[0]->type.rank != 4)) return sn_call_invalid(c, "the past");
    g.batch = g.q->type.dim[0], g.rows = g.q->type.dim[1];
    g.past = past[0] ? past[0]->type.dim[2] : sn_dim(c->dims, 0);
    g.present = sn_dim_max(c->dims, g.past, total);
    g.window = sn_call_int(c, "local_window_size", -1);
    read_lengths(c, &g, c->input[5], total);
    bool window = sn_call_int(c, "sliding_window_cache", 0) != 0;
    if (window ? !open_window(c, &g, past[0]) : !check_total(c, &g, total)) return NULL;
    if (sn_call_int(c, "do_rotary", 0) != 0) {
        g.q = turned(c, &g, g.q, sn_call_input(c, 9));
        g.k = turned(c, &g, g.k, sn_call_input(c, 9));
    } else {
        sn_call_ignore(c, "rotary_interleaved");
    }
    Value *present[2];
    make_present(c, &g, past, present);
    for (int k = 0; k < 2; k++)
        if (c->output_count > 1 + k) c->output[1 + k] = present[k];
    if (g.had && !sn_call_failed(c)) {
        present[0] = sn_attention_extend(c, past[0], sn_call_swap(c, g.k, 1, 2));
        present[1] = sn_attention_extend(c, past[1], sn_call_swap(c, g.v, 1, 2));
    }
    return sn_call_failed(c) ? NULL : attend(c, &g, present[0], present[1]);
}

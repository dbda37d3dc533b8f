/* Attention and its gradients, row by row. */
#include "eval_rules.h"
#include "index.h"

typedef struct Attention {
    const AttrAttention *attr;
    const Array *q, *k, *v, *bias, *state; /* bias and state may be NULL */
    int64_t offset;
    int64_t length; /* T */
    double *score;  /* T */
    double *slope;  /* T: of the soft cap, 1 without one */
} Attention;

static int64_t at4(const Array *array, int64_t a, int64_t b, int64_t c, int64_t d) {
    return ((a * array->extent[1] + b) * array->extent[2] + c) * array->extent[3] + d;
}

static double biased(const Array *bias, double score, const int64_t index[4]) {
    if (!bias) return score;
    int64_t at = sn_index_broadcast(bias->rank, bias->extent, 4, index);
    if (bias->f) return score + bias->f[at];
    return bias->i[at] ? score : -INFINITY;
}

static Status begin(Eval *eval, const Node *node, int bias, Attention *attention) {
    *attention = (Attention){.attr = node->attr,
                             .q = sn_eval_input(eval, node, 0),
                             .k = sn_eval_input(eval, node, 1),
                             .v = sn_eval_input(eval, node, 2),
                             .bias = sn_eval_input(eval, node, bias),
                             .state = sn_eval_input(eval, node, bias + 1)};
    attention->length = attention->k->extent[2];
    attention->score = SN_ARRAY(eval->arena, double, attention->length);
    attention->slope = SN_ARRAY(eval->arena, double, attention->length);
    return attention->attr->causal ? sn_eval_dim(eval, attention->attr->offset, &attention->offset) : NULL;
}

/* The score of column j behind the soft cap. */
static double capped(Attention *attention, int64_t j, double score) {
    double cap = attention->attr->softcap;
    attention->slope[j] = 1;
    if (cap == 0) return score;
    double bent = tanh(score / cap);
    attention->slope[j] = 1 - bent * bent;
    return cap * bent;
}

/* The scores of query row (b, h, i); gives the greatest. */
static double row_scores(Attention *attention, int64_t b, int64_t h, int64_t group, int64_t i) {
    const Array *q = attention->q, *k = attention->k;
    double max = -INFINITY;
    for (int64_t j = 0; j < attention->length; j++) {
        double score = 0;
        for (int64_t d = 0; d < q->extent[3]; d++)
            score += q->f[at4(q, b, h, i, d)] * k->f[at4(k, b, group, j, d)];
        score = capped(attention, j, score * attention->attr->scale);
        score = biased(attention->bias, score, (int64_t[4]){b, h, i, j});
        /* j > i + offset, without the sum. */
        if (attention->attr->causal && j - i > attention->offset) score = -INFINITY;
        attention->score[j] = score;
        max = sn_scalar_max(max, score);
    }
    return max;
}

/* What the weight of column j of a row is multiplied by. */
static double kept(const Attention *attention, int64_t row, int64_t j) {
    const AttrAttention *attr = attention->attr;
    const Array *state = attention->state;
    if (!attr->number || !state || state->i[1] < 0) return 1;
    uint64_t stream = (uint64_t)state->i[1] * SN_DROPOUT_NODES + (uint64_t)attr->number;
    uint64_t at = (uint64_t)(row * attention->length + j);
    double limit = fmin(rint(ldexp(attr->dropout, 32)), UINT32_MAX);
    return sn_random_word((uint64_t)state->i[0], stream, at) < limit ? 0 : 1 / (1 - attr->dropout);
}

/* The weights of the row, in `score`, and its statistic (2 doubles, or NULL). */
static void row_weights(Attention *attention, double max, double *statistic) {
    double sum = 0;
    bool zero = attention->attr->zero_rows && max == -INFINITY;
    for (int64_t j = 0; j < attention->length; j++) {
        attention->score[j] = zero ? 0 : exp(attention->score[j] - max);
        sum += attention->score[j];
    }
    for (int64_t j = 0; j < attention->length && !zero; j++) attention->score[j] /= sum;
    if (!statistic) return;
    statistic[0] = max;
    statistic[1] = max == -INFINITY ? max : log(sum);
}

Status sn_eval_attention(Eval *eval, const Node *node) {
    Attention attention;
    Array *out, *statistic = NULL;
    TRY(begin(eval, node, 3, &attention));
    const Array *v = attention.v;
    TRY(sn_eval_output(eval, node, 0, &out));
    if (node->output_count > 1) TRY(sn_eval_output(eval, node, 1, &statistic));
    int64_t rows = attention.q->extent[0] * attention.q->extent[1] * attention.q->extent[2];
    for (int64_t row = 0; row < rows; row++) {
        int64_t index[3];
        sn_index_split(3, out->extent, row, index);
        int64_t group = index[1] / (out->extent[1] / v->extent[1]);
        double max = row_scores(&attention, index[0], index[1], group, index[2]);
        row_weights(&attention, max, statistic ? statistic->f + 2 * row : NULL);
        for (int64_t j = 0; j < attention.length; j++) attention.score[j] *= kept(&attention, row, j);
        for (int64_t e = 0; e < out->extent[3]; e++) {
            double sum = 0;
            for (int64_t j = 0; j < attention.length; j++)
                sum += attention.score[j] * v->f[at4(v, index[0], group, j, e)];
            out->f[row * out->extent[3] + e] = sum;
        }
    }
    return NULL;
}

/* ---- gradients ---- */

typedef struct Gradients {
    const Array *dy, *statistic, *sums;
    Array *of[3]; /* q, k, v */
} Gradients;

/* Adds what weight `p` of column j, which counts `factor` times, adds to the gradients. */
static void add_column(const Attention *attention, Gradients *to, const int64_t *row, int64_t group,
                       int64_t j, double p, double factor) {
    const Array *q = attention->q, *k = attention->k, *v = attention->v, *dy = to->dy;
    double dp = 0;
    for (int64_t e = 0; e < v->extent[3]; e++) {
        double gradient = dy->f[at4(dy, row[0], row[1], row[2], e)];
        dp += gradient * v->f[at4(v, row[0], group, j, e)];
        to->of[2]->f[at4(v, row[0], group, j, e)] += p * factor * gradient;
    }
    double ds = p * (factor * dp - to->sums->f[at4(to->sums, row[0], row[1], row[2], 0)]);
    ds *= attention->slope[j] * attention->attr->scale;
    for (int64_t d = 0; d < q->extent[3]; d++) {
        int64_t of_q = at4(q, row[0], row[1], row[2], d), of_k = at4(k, row[0], group, j, d);
        to->of[0]->f[of_q] += ds * k->f[of_k];
        to->of[1]->f[of_k] += ds * q->f[of_q];
    }
}

Status sn_eval_attention_backward(Eval *eval, const Node *node) {
    Attention attention;
    Gradients to = {.dy = sn_eval_input(eval, node, 3),
                    .statistic = sn_eval_input(eval, node, 4),
                    .sums = sn_eval_input(eval, node, 5)};
    TRY(begin(eval, node, 6, &attention));
    for (int k = 0; k < 3; k++) TRY(sn_eval_output(eval, node, k, &to.of[k]));
    const Array *q = attention.q;
    for (int64_t row = 0; row < q->extent[0] * q->extent[1] * q->extent[2]; row++) {
        int64_t index[3];
        sn_index_split(3, q->extent, row, index);
        int64_t group = index[1] / (q->extent[1] / attention.k->extent[1]);
        double max = to.statistic->f[2 * row], logarithm = to.statistic->f[2 * row + 1];
        row_scores(&attention, index[0], index[1], group, index[2]);
        for (int64_t j = 0; j < attention.length; j++) {
            double p = max == -INFINITY ? 0 : exp(attention.score[j] - max - logarithm);
            add_column(&attention, &to, index, group, j, p, kept(&attention, row, j));
        }
    }
    return NULL;
}

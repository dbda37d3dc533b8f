/* Recurrent networks, sequence by sequence and step by step. */
#include "eval_rules.h"
#include "recurrent.h"

#include <math.h>

typedef struct Network {
    const AttrRecurrent *attr;
    int64_t steps, batch, units, gates, parts;
    const Array *operand[SN_RECURRENT_OPERANDS];
    double *sum; /* [gates, units] of a step */
} Network;

static double apply(int function, double x) {
    if (function == SN_RECURRENT_SIGMOID) return 1 / (1 + exp(-x));
    if (function == SN_RECURRENT_TANH) return tanh(x);
    return x < 0 ? 0 : x;
}

/* Column c of the product of h, or of reset·h, and the bias behind it. */
static double product(const Network *n, const double *h, const double *reset, int64_t c) {
    const Array *bias = n->operand[SN_RECURRENT_BIAS];
    double sum = bias ? bias->f[c] : 0;
    for (int64_t k = 0; k < n->units; k++)
        sum +=
            h[k] * (reset ? reset[k] : 1) * n->operand[SN_RECURRENT_WEIGHT]->f[k * n->gates * n->units + c];
    return sum;
}

static void simple_step(const Network *n, const double *x, const double *from, double *to) {
    for (int64_t j = 0; j < n->units; j++)
        to[j] = apply(n->attr->candidate, x[j] + product(n, from, NULL, j));
}

static void gated_step(const Network *n, const double *x, const double *from, double *to) {
    int64_t units = n->units;
    double *update = n->sum, *reset = n->sum + units;
    for (int64_t c = 0; c < 2 * units; c++)
        n->sum[c] = apply(n->attr->gate, x[c] + product(n, from, NULL, c));
    for (int64_t j = 0; j < units; j++) {
        int64_t c = 2 * units + j;
        double late = n->attr->late_reset ? reset[j] * product(n, from, NULL, c) : product(n, from, reset, c);
        double candidate = apply(n->attr->candidate, x[c] + late);
        to[j] = update[j] * from[j] + (1 - update[j]) * candidate;
    }
}

static void long_short_step(const Network *n, const double *x, const double *from, double *to) {
    const Array *peep = n->operand[SN_RECURRENT_PEEP];
    int64_t units = n->units;
    for (int64_t j = 0; j < units; j++) {
        double sum[4], s = from[units + j], weight[3] = {0};
        for (int k = 0; k < 4; k++) sum[k] = x[k * units + j] + product(n, from, NULL, k * units + j);
        for (int k = 0; k < 3 && peep; k++) weight[k] = peep->f[k * units + j];
        double input = apply(n->attr->gate, sum[0] + weight[0] * s);
        double forget = apply(n->attr->gate, sum[2] + weight[2] * s);
        double after = forget * s + input * apply(n->attr->candidate, sum[3]);
        to[j] = apply(n->attr->gate, sum[1] + weight[1] * after) * apply(n->attr->output, after);
        to[units + j] = after;
    }
}

/* Sequence b: its first state, and the others one from another. */
static void run_sequence(const Network *n, int64_t b, double *out) {
    static void (*const step[])(const Network *, const double *, const double *,
                                double *) = {simple_step, gated_step, long_short_step};
    const Array *length = n->operand[SN_RECURRENT_LENGTH];
    int64_t width = n->parts * n->units, row = n->batch * width;
    bool reverse = n->attr->reverse;
    memcpy(out + (reverse ? n->steps : 0) * row + b * width, n->operand[SN_RECURRENT_STATE]->f + b * width,
           (size_t)width * sizeof *out);
    for (int64_t i = 0; i < n->steps; i++) {
        int64_t t = reverse ? n->steps - 1 - i : i;
        const double *x = n->operand[SN_RECURRENT_X]->f + (t * n->batch + b) * n->gates * n->units;
        const double *from = out + (reverse ? t + 1 : t) * row + b * width;
        double *to = out + (reverse ? t : t + 1) * row + b * width;
        if (length && t >= length->i[b])
            memcpy(to, from, (size_t)width * sizeof *to);
        else
            step[n->attr->kind](n, x, from, to);
    }
}

Status sn_eval_recurrent(Eval *eval, const Node *node) {
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    Network n = {.attr = node->attr};
    for (int k = 0; k < node->input_count; k++)
        n.operand[k] = node->input[k] ? sn_eval_input(eval, node, k) : NULL;
    n.steps = n.operand[SN_RECURRENT_X]->extent[0], n.batch = n.operand[SN_RECURRENT_X]->extent[1];
    n.units = n.operand[SN_RECURRENT_WEIGHT]->extent[0];
    n.gates = sn_recurrent_gates(n.attr->kind), n.parts = sn_recurrent_parts(n.attr->kind);
    n.sum = SN_ARRAY(eval->arena, double, n.gates *n.units);
    for (int64_t b = 0; b < n.batch; b++) run_sequence(&n, b, out->f);
    return NULL;
}

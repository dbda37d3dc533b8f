/* Losses and gradients. */
#include "eval_rules.h"

#include <math.h>

/* log Σ exp x over `count` elements, which do not overflow. */
static double log_sum(const double *x, int64_t count) {
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < count; c++) most = fmax(most, x[c]);
    for (int64_t c = 0; c < count; c++) sum += exp(x[c] - most);
    return most + log(sum);
}

static double row_loss(const double *x, const double *weight, int64_t count, int64_t label, double smoothing,
                       double lse) {
    double loss = (1 - smoothing) * (weight ? weight[label] : 1) * (lse - x[label]);
    for (int64_t c = 0; c < count && smoothing > 0; c++)
        loss += smoothing / (double)count * (weight ? weight[c] : 1) * (lse - x[c]);
    return loss;
}

Status sn_eval_cross_entropy(Eval *eval, const Node *node) {
    const AttrCrossEntropy *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0), *label = sn_eval_input(eval, node, 1);
    const Array *weight = sn_eval_input(eval, node, 2);
    Array *loss, *sums = NULL;
    TRY(sn_eval_output(eval, node, 0, &loss));
    if (node->output_count > 1) TRY(sn_eval_output(eval, node, 1, &sums));
    int64_t classes = x->extent[x->rank - 1];
    for (int64_t i = 0; i < label->count; i++) {
        const double *row = x->f + i * classes;
        int64_t at = label->i[i];
        bool ignored = attr->ignores && at == attr->ignored;
        if (!ignored && (at < 0 || at >= classes))
            return sn_fail(SN_FAULT, "label %lld is not one of %lld classes", (long long)at,
                           (long long)classes);
        double lse = log_sum(row, classes);
        if (sums) sums->f[i] = lse;
        if (!ignored)
            loss->f[i] = row_loss(row, weight ? weight->f : NULL, classes, at, attr->smoothing, lse);
    }
    return NULL;
}

/* It is replaced before anything is computed. */
Status sn_eval_gradient(Eval *eval, const Node *node) {
    (void)eval, (void)node;
    return sn_fail(SN_UNSUPPORTED, "unsupported: a gradient that has not been replaced by what computes it");
}

/* Random numbers and what is dropped by them. */
#include "eval_rules.h"

Status sn_eval_random(Eval *eval, const Node *node) {
    const Array *operand[3];
    for (int k = 0; k < 3; k++) operand[k] = sn_eval_input(eval, node, k);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    if (out->count == 0) return NULL;
    Walk walk = sn_walk_start(out->rank, out->extent, 3, operand);
    do {
        uint64_t seed = (uint64_t)operand[0]->i[walk.in[0]], run = (uint64_t)operand[1]->i[walk.in[1]];
        uint64_t stream = run * SN_DROPOUT_NODES + (uint64_t)((const AttrRandom *)node->attr)->number;
        out->i[walk.at] = sn_random_word(seed, stream, (uint64_t)operand[2]->i[walk.in[2]]);
    } while (sn_walk_next(&walk));
    return NULL;
}

Status sn_eval_dropout(Eval *eval, const Node *node) {
    const AttrDropout *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0), *state = sn_eval_input(eval, node, 1);
    Array *y, *kept = NULL;
    if (!state && attr->always) return sn_fail(SN_UNSUPPORTED, "unsupported: dropping outside of a training");
    TRY(sn_eval_output(eval, node, 0, &y));
    if (node->output_count > 1) TRY(sn_eval_output(eval, node, 1, &kept));
    bool drops = state && state->i[1] >= 0;
    uint64_t stream = drops ? (uint64_t)state->i[1] * SN_DROPOUT_NODES + (uint64_t)attr->number : 0;
    double limit = fmin(rint(ldexp(attr->ratio, 32)), UINT32_MAX);
    for (int64_t i = 0; i < x->count; i++) {
        bool keep = !drops || sn_random_word((uint64_t)state->i[0], stream, (uint64_t)i) >= limit;
        y->f[i] = !drops ? x->f[i] : keep ? x->f[i] / (1 - attr->ratio) : 0;
        if (kept) kept->i[i] = keep;
    }
    return NULL;
}

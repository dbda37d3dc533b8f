/* Lists in order. */
#include "eval_rules.h"

#include <math.h>

/* Whether element i of x comes before element j. */
static bool comes_before(const Array *x, bool largest, int64_t i, int64_t j) {
    if (x->f) {
        bool odd_i = isnan(x->f[i]), odd_j = isnan(x->f[j]);
        if (odd_i != odd_j) return largest ? odd_i : odd_j;
        if (!odd_i && x->f[i] != x->f[j]) return (x->f[i] < x->f[j]) != largest;
    } else if (x->i[i] != x->i[j]) {
        bool less = x->dtype == SN_U64 ? (uint64_t)x->i[i] < (uint64_t)x->i[j] : x->i[i] < x->i[j];
        return less != largest;
    }
    return i < j;
}

/* Merges ordered halves of the list of `count` places into `to`, and so on downwards. */
static void order(const Array *x, bool largest, int64_t count, int64_t *place, int64_t *to) {
    if (count < 2) return;
    int64_t half = count / 2, a = 0, b = half;
    order(x, largest, half, place, to);
    order(x, largest, count - half, place + half, to);
    for (int64_t i = 0; i < count; i++) {
        bool first = b == count || (a < half && comes_before(x, largest, place[a], place[b]));
        to[i] = first ? place[a++] : place[b++];
    }
    memcpy(place, to, (size_t)count * sizeof *place);
}

Status sn_eval_top(Eval *eval, const Node *node) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int64_t count = x->extent[1], columns = out->extent[1];
    if (columns > count)
        return sn_fail(SN_FAULT, "%lld of %lld elements", (long long)columns, (long long)count);
    int64_t *place = SN_ARRAY(eval->arena, int64_t, count), *spare = SN_ARRAY(eval->arena, int64_t, count);
    for (int64_t r = 0; r < out->extent[0]; r++) {
        for (int64_t i = 0; i < count; i++) place[i] = r * count + i;
        order(x, ((const AttrTop *)node->attr)->largest, count, place, spare);
        for (int64_t i = 0; i < columns; i++) out->i[r * columns + i] = place[i] - r * count;
    }
    return NULL;
}

Status sn_eval_sift(Eval *eval, const Node *node) {
    const Array *hits = sn_eval_input(eval, node, 0), *end = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t i = 0; i < out->count; i++) {
        out->i[i] = 1;
        for (int64_t j = 0; j < i; j++)
            if (out->i[j] && end->i[j] > i && hits->i[j * out->count + i]) out->i[i] = 0;
    }
    return NULL;
}

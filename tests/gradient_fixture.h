/* Gradients against finite differences, in the double-precision interpreter. */
#ifndef SN_GRADIENT_FIXTURE_H
#define SN_GRADIENT_FIXTURE_H

#include "autodiff.h"
#include "random_steps.h"

static inline Value *sum_of(Builder *b, Value *x) {
    int64_t axes[SN_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) axes[i] = i;
    if (x->type.rank > 0) x = sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){x->type.rank, axes}, x);
    return x ? sn_build_reshape(b, x, 0, NULL) : NULL;
}

/* Adds Σ w·y over all float results, w another number for each element (the cosine of its position), as the last
 * output. */
static inline Value *add_loss(Maker *m) {
    Builder *b = &m->b;
    Value *loss = sn_build_scalar(b, SN_F64, 0);
    for (int i = 0; i < m->graph->body->result.count; i++) {
        Value *y = m->graph->body->result.at[i];
        if (!sn_dtype_is_float(y->type.dtype)) continue;
        Dim count = sn_type_count(m->graph->dims, y->type);
        AttrIota iota = {SN_F64, count, number(m, 1 + i), number(m, 1)};
        Value *w = sn_build1(b, SN_OP_COS, NULL, sn_build(b, SN_OP_IOTA, &iota, 0, NULL));
        y = sn_build_cast(b, y, SN_F64);
        y = sn_build_reshape(b, y, 1, &count);
        loss = sn_build2(b, SN_OP_ADD, NULL, loss, sum_of(b, sn_build2(b, SN_OP_MUL, NULL, w, y)));
    }
    must(b->status, "the loss");
    sn_graph_output(m->graph, "loss", loss);
    return loss;
}

typedef struct Differentiated {
    Maker *m;
    int loss, first;   /* places of the loss and of the first gradient among the results */
    int count;         /* of float params */
    int param[64];     /* which */
    const char *error; /* NULL, or what sn_autodiff said */
} Differentiated;

/* Not verified: of operators that are taken apart, sizes may be spelled otherwise than inference does. */
static inline Differentiated with_gradients(Maker *m) {
    Differentiated d = {.m = m};
    Value *loss = add_loss(m), *value[64], *gradient[64];
    Region *body = m->graph->body;
    for (int p = 0; p < body->param.count && d.count < 64; p++) {
        if (!sn_dtype_is_float(body->param.at[p]->type.dtype)) continue;
        d.param[d.count] = p;
        value[d.count++] = body->param.at[p];
    }
    Status status = sn_autodiff(m->graph, loss, d.count, value, gradient);
    if (status) {
        d.error = sn_arena_string(m->arena, sn_error_message(status));
        sn_error_free(status);
        return d;
    }
    d.first = body->result.count;
    d.loss = d.first - 1;
    for (int k = 0; k < d.count; k++) {
        assert_true(sn_type_equal(gradient[k]->type, value[k]->type));
        sn_graph_output(m->graph, sn_arena_printf(m->arena, "d%d", k), gradient[k]);
    }
    return d;
}

static inline Differentiated differentiated(Maker *m) {
    Differentiated d = with_gradients(m);
    if (!d.error) must(sn_verify(m->graph), "a differentiated graph");
    return d;
}

/* The loss for inputs; false where the graph itself faults. */
static inline bool loss_at(const Differentiated *d, const Array *const *inputs, double *loss) {
    Maker *m = d->m;
    const Graph *graph = m->graph;
    Array **out = SN_ARRAY(m->arena, Array *, graph->body->result.count);
    Status status = sn_eval_graph(m->arena, graph, false, inputs, out);
    if (status) {
        sn_error_free(status);
        return false;
    }
    *loss = out[d->loss]->f[0];
    return isfinite(*loss);
}

/* Compares the gradient of one element with a central difference. Where the two one-sided ones differ there is a
 * kink, where the loss changes by more than any slope would there is a jump, and beside the largest numbers a step is
 * lost: nothing to compare. NULL, or what differs. */
static inline const char *compare_element(const Differentiated *d, const Array *const *inputs, Array *x,
                                          int64_t i, double got) {
    const double h = 1e-5;
    double at = x->f[i], middle, above, below;
    if (at + h == at) return NULL;
    bool whole = loss_at(d, inputs, &middle);
    x->f[i] = at + h;
    whole = whole && loss_at(d, inputs, &above);
    x->f[i] = at - h;
    whole = whole && loss_at(d, inputs, &below);
    x->f[i] = at;
    if (!whole || fabs(above - below) > 1e-2 * (1 + fabs(middle))) return NULL;
    double slope = (above - below) / (2 * h), right = (above - middle) / h, left = (middle - below) / h;
    double scale = 1 + fabs(slope) + 1e-5 * fabs(middle);
    if (fabs(right - left) > 1e-2 * scale) return NULL;
    if (fabs(got - slope) <= 2e-5 * scale) return NULL;
    return sn_arena_printf(d->m->arena, "element %lld: %.12g, by differences %.12g", (long long)i, got,
                           slope);
}

/* All gradients (at most `most` elements of each) for random inputs with the given symbols; *compared counts. */
static inline const char *compare_gradients(Differentiated *d, const int64_t *symbols, uint64_t seed,
                                            int most, int *compared) {
    Maker *m = d->m;
    const Graph *graph = m->graph;
    const Array **inputs = random_inputs(m, symbols, seed);
    Array **out = SN_ARRAY(m->arena, Array *, graph->body->result.count);
    Status status = sn_eval_graph(m->arena, graph, false, inputs, out);
    if (status) {
        sn_error_free(status);
        return NULL;
    }
    for (int k = 0; k < d->count; k++) {
        Array *x = (Array *)inputs[d->param[k]], *gradient = out[d->first + k];
        int64_t step = x->count > most ? x->count / most : 1;
        for (int64_t i = 0; i < x->count; i += step) {
            const char *reason = compare_element(d, inputs, x, i, gradient->f[i]);
            if (reason) return sn_arena_printf(m->arena, "input %d %s", d->param[k], reason);
            ++*compared;
        }
    }
    return NULL;
}

#endif

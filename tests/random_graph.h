/* Random legal graphs of stage imported, from a seed: the pool of values and the steps that draw on it.
 *
 * Every float value keeps a bound on its size, so that no product overflows, and says whether it is exact:
 * only exact values are compared, floored or cast to integers, because what lies on the edge of a step may
 * fall on either side of it after a legal rewrite. Included once by each test. */
#ifndef SN_RANDOM_GRAPH_H
#define SN_RANDOM_GRAPH_H

#include "eval.h"
#include "graph.h"
#include "number.h"
#include "sizes.h"
#include "text_form.h"
#include "verify.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_ITEMS = 512, MOST_ELEMENTS = 4096, LARGEST_SYMBOL = 7, SYMBOLS = 2 };

typedef struct Item {
    Value *value;
    double bound; /* no element is larger */
    bool exact;
} Item;

typedef struct Maker {
    Arena *arena;
    Graph *graph;
    Builder b;
    uint64_t seed, at;
    DType dtype;  /* of most floats */
    bool special; /* inputs hold infinities and NaN */
    Dim symbol[SYMBOLS];
    int64_t least;              /* of every symbol */
    bool sized;                 /* data decide sizes, too */
    SN_VEC(Value *) size_value; /* parallel to graph->sizes */
    Item item[MAX_ITEMS];
    int count;
} Maker;

static inline void must(Status status, const char *what) {
    if (status) fail_msg("%s: %s", what, sn_error_message(status));
}

static inline double uniform(Maker *m) {
    return sn_random_uniform(m->seed, m->at++);
}
static inline int pick(Maker *m, int count) {
    return (int)(uniform(m) * count);
}
static inline bool chance(Maker *m, int percent) {
    return pick(m, 100) < percent;
}
static inline Dim number(Maker *m, int64_t value) {
    return sn_dim(m->graph->dims, value);
}

/* ---- the pool ---- */

static inline int64_t most_elements(Maker *m, Type type) {
    int64_t symbols[64], count;
    for (int i = 0; i < 64; i++) symbols[i] = LARGEST_SYMBOL;
    must(sn_dim_eval(sn_type_count(m->graph->dims, type), symbols, NULL, &count), "count");
    return count;
}

/* Puts a value into the pool, scaled down where it might be large. A value that nobody needs, as it is too
 * big, is left to the sweep. */
static inline void keep(Maker *m, Value *value, double bound, bool exact) {
    must(m->b.status, "a generated graph is legal");
    if (m->count == MAX_ITEMS || most_elements(m, value->type) > MOST_ELEMENTS || value->type.rank > 5)
        return;
    DType dtype = value->type.dtype;
    if (sn_dtype_is_float(dtype) && bound > 16) {
        double scale = exp2(-ceil(log2(bound)) + 1);
        value = sn_build2(&m->b, SN_OP_MUL, NULL, value, sn_build_scalar(&m->b, dtype, scale));
        bound = 2, exact = false;
    } else if (sn_dtype_is_int(dtype) && bound > 1000) {
        value = sn_build2(&m->b, SN_OP_MOD, NULL, value, sn_build_scalar(&m->b, dtype, 7));
        bound = 7;
    }
    m->item[m->count++] = (Item){value, bound, exact};
}

typedef bool Accept(DType dtype);
static inline bool is_any(DType dtype) {
    return (int)dtype >= 0;
}
static inline bool is_bool(DType dtype) {
    return dtype == SN_BOOL;
}

/* A value of the pool, recent ones more often; false when none fits. */
static inline bool draw(Maker *m, Accept *accept, int least_rank, Item *out) {
    for (int attempt = 0; attempt < 12; attempt++) {
        int back = chance(m, 60) ? pick(m, m->count < 6 ? m->count : 6) : pick(m, m->count);
        *out = m->item[m->count - 1 - back];
        if (accept(out->value->type.dtype) && out->value->type.rank >= least_rank) return true;
    }
    return false;
}

static inline bool broadcasts(Type a, Type b) {
    for (int i = 1; i <= a.rank && i <= b.rank; i++) {
        Dim x = a.dim[a.rank - i], y = b.dim[b.rank - i];
        if (x != y && !sn_dim_equals(x, 1) && !sn_dim_equals(y, 1)) return false;
    }
    return true;
}

/* ---- fresh values ---- */

static inline Dim random_extent(Maker *m) {
    static const int sizes[] = {1, 2, 3, 4, 4, 5, 7, 8};
    if (chance(m, 30)) return m->symbol[pick(m, SYMBOLS)];
    if (chance(m, 2)) return number(m, 0);
    return number(m, sizes[pick(m, 8)]);
}

static inline Type random_type(Maker *m, DType dtype, int rank) {
    Dim *dim = SN_ARRAY(m->arena, Dim, rank);
    for (int i = 0; i < rank; i++) dim[i] = random_extent(m);
    return (Type){dtype, rank, dim};
}

static inline double random_element(Maker *m, DType dtype) {
    if (dtype == SN_BOOL) return chance(m, 60);
    return sn_dtype_is_int(dtype) ? pick(m, 7) - (sn_dtype_is_signed(dtype) ? 3 : 0) : 4 * uniform(m) - 2;
}

static inline bool is_concrete(Type type) {
    int64_t value;
    for (int i = 0; i < type.rank; i++)
        if (!sn_dim_is(type.dim[i], &value)) return false;
    return true;
}

static inline Value *random_constant(Maker *m, Type type) {
    static const double common[] = {0, 1, 2, 0.5, -1, 8};
    int64_t extent[SN_MAX_RANK];
    for (int i = 0; i < type.rank; i++) extent[i] = type.dim[i]->value;
    void *bytes;
    Tensor *tensor = sn_tensor_new(m->graph->arena, type.dtype, type.rank, extent, &bytes);
    bool splat = chance(m, 20);
    double same = common[pick(m, 6)];
    if (type.dtype == SN_BOOL) same = same != 0;
    for (int64_t i = 0; i < tensor->count; i++)
        sn_element_set(type.dtype, bytes, i, splat ? same : random_element(m, type.dtype));
    if (!splat && sn_dtype_is_float(type.dtype) && chance(m, 20)) {
        tensor->payload = SN_PAYLOAD_RECIPE;
        tensor->seed = m->at, tensor->scale = 0.5, tensor->offset = 0.25;
    }
    return sn_build_constant(&m->b, tensor);
}

static inline bool is_from_data(const Maker *m, Type type) {
    for (int i = 0; i < m->graph->sizes.count; i++)
        for (int axis = 0; axis < type.rank; axis++)
            if (sn_dim_depends(type.dim[axis], m->graph->sizes.at[i].symbol)) return true;
    return false;
}

/* A constant, or an input of the graph, which has no size that the graph itself decides. */
static inline Value *fresh(Maker *m, Type type) {
    if (is_concrete(type) && chance(m, 60)) return random_constant(m, type);
    if (is_from_data(m, type))
        return sn_build_expand(&m->b, random_constant(m, (Type){type.dtype, 0, NULL}), type.rank, type.dim);
    return sn_graph_input(m->graph, sn_arena_printf(m->arena, "x%d", m->graph->body->param.count), type);
}

/* Numbers of fresh values are at most 8, floats outside of splats at most 2. */
static inline double fresh_bound(const Value *value) {
    return value->producer ? 8 : sn_dtype_is_float(value->type.dtype) ? 2 : 3;
}

/* Something that broadcasts with `like`: of the pool, or fresh with some axes dropped or 1. */
static inline Item partner(Maker *m, const Value *like, DType dtype) {
    Item item;
    for (int attempt = 0; attempt < 6; attempt++)
        if (draw(m, is_any, 0, &item) && item.value->type.dtype == dtype &&
            broadcasts(item.value->type, like->type))
            return item;
    Type type = {dtype, like->type.rank, NULL};
    Dim *dim = SN_ARRAY(m->arena, Dim, type.rank);
    int dropped = type.rank && chance(m, 40) ? pick(m, type.rank + 1) : 0;
    for (int i = 0; i < type.rank; i++) dim[i] = chance(m, 25) ? number(m, 1) : like->type.dim[i];
    type.dim = dim + dropped, type.rank -= dropped;
    Value *value = fresh(m, type);
    return (Item){value, fresh_bound(value), true};
}

static inline Value *scalar(Maker *m, const Value *like, double value) {
    return sn_build_scalar(&m->b, like->type.dtype, value);
}
static inline Value *apply1(Maker *m, OpCode op, Value *x) {
    return sn_build1(&m->b, op, NULL, x);
}
static inline Value *apply2(Maker *m, OpCode op, Value *x, Value *y) {
    return sn_build2(&m->b, op, NULL, x, y);
}
/* Operands of a commutative operator in either order. */
static inline Value *either(Maker *m, OpCode op, Value *x, Value *y) {
    return chance(m, 50) ? apply2(m, op, x, y) : apply2(m, op, y, x);
}
/* |x| + 1/2, where a root or quotient is well behaved. */
static inline Value *away_from_zero(Maker *m, Value *x) {
    return apply2(m, SN_OP_ADD, apply1(m, SN_OP_ABS, x), scalar(m, x, 0.5));
}

/* ---- comparing ---- */

/* How many results are outputs; sizes are behind them. */
static inline int output_count(const Graph *graph) {
    return graph->body->result.count - graph->sizes.count;
}

/* The inputs of a graph for given symbols, as random as its seed. */
static inline const Array **random_inputs(Maker *m, const int64_t *symbols, uint64_t seed) {
    const Region *body = m->graph->body;
    const Array **inputs = SN_ARRAY(m->arena, const Array *, body->param.count);
    for (int p = 0; p < body->param.count; p++) {
        Type type = body->param.at[p]->type;
        int64_t extent[SN_MAX_RANK];
        for (int i = 0; i < type.rank; i++)
            must(sn_dim_eval(type.dim[i], symbols, NULL, &extent[i]), "extent");
        Array *array = sn_array_new(m->arena, type.dtype, type.rank, extent);
        Maker random = {.seed = seed + 1000003ull * (uint64_t)p};
        for (int64_t i = 0; i < array->count; i++) {
            double x = random_element(&random, type.dtype);
            if (array->i)
                array->i[i] = (int64_t)x;
            else if (m->special && chance(&random, 10))
                array->f[i] = (double[]){INFINITY, -INFINITY, NAN}[pick(&random, 3)];
            else if (type.dtype == SN_F16 || type.dtype == SN_BF16)
                array->f[i] = type.dtype == SN_F16 ? sn_f16_to(sn_f16_from(x)) : sn_bf16_to(sn_bf16_from(x));
            else
                array->f[i] = type.dtype == SN_F32 ? (float)x : x;
        }
        inputs[p] = array;
    }
    return inputs;
}

/* What of `got` is not `expected`, or NULL: integers exactly, NaN and infinities in the same places, finite
 * floats within tolerance · (1 + the largest expected one). */
static inline const char *difference(Arena *arena, const Array *got, const Array *expected,
                                     double tolerance) {
    if (got->dtype != expected->dtype) return "another element type";
    if (got->count != expected->count || got->rank != expected->rank) return "another shape";
    double largest = 0;
    for (int64_t i = 0; i < expected->count && expected->f; i++)
        if (isfinite(expected->f[i])) largest = fmax(largest, fabs(expected->f[i]));
    for (int64_t i = 0; i < expected->count; i++) {
        if (!expected->f) {
            if (got->i[i] != expected->i[i])
                return sn_arena_printf(arena, "element %lld is %lld, not %lld", (long long)i,
                                       (long long)got->i[i], (long long)expected->i[i]);
            continue;
        }
        double x = got->f[i], y = expected->f[i];
        bool same = x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= tolerance * (1 + largest);
        if (!same) return sn_arena_printf(arena, "element %lld is %.17g, not %.17g", (long long)i, x, y);
    }
    return NULL;
}

#endif

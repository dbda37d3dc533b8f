/* The steps that a random graph is made of: each draws on the pool and adds to it, or does nothing. */
#ifndef SN_RANDOM_STEPS_H
#define SN_RANDOM_STEPS_H

#include "random_forms.h"
#include "random_moves.h"

static inline bool is_exact_of(const Maker *m, const Item *a, const Item *b) {
    (void)m;
    return a->exact && b->exact;
}

static inline void step_unary(Maker *m) {
    static const OpCode smooth[] = {SN_OP_TANH,    SN_OP_SIGMOID, SN_OP_ERF,  SN_OP_SIN,      SN_OP_COS,
                                    SN_OP_GELU,    SN_OP_SILU,    SN_OP_ABS,  SN_OP_SOFTPLUS, SN_OP_NEG,
                                    SN_OP_SIGMOID, SN_OP_GELU,    SN_OP_RELU, SN_OP_EXP,      SN_OP_NEG};
    static const OpCode guarded[] = {SN_OP_SQRT, SN_OP_RSQRT, SN_OP_LOG, SN_OP_RECIPROCAL};
    static const OpCode steps[] = {SN_OP_FLOOR, SN_OP_CEIL, SN_OP_ROUND, SN_OP_SIGN};
    Item x;
    if (!draw(m, sn_dtype_is_float, 0, &x)) return;
    if (x.exact && chance(m, 25)) {
        keep(m, apply1(m, steps[pick(m, 4)], x.value), x.bound + 1, true);
    } else if (chance(m, 20)) {
        keep(m, apply1(m, guarded[pick(m, 4)], away_from_zero(m, x.value)), x.bound + 3, false);
    } else {
        OpCode op = smooth[pick(m, 15)];
        bool same = op == SN_OP_NEG || op == SN_OP_ABS || op == SN_OP_RELU;
        AttrGelu gelu = {chance(m, 50)};
        AttrAlpha alpha = {chance(m, 50) ? 1 : 1.7};
        Value *value = op == SN_OP_EXP && x.bound > 3 ? apply1(m, SN_OP_TANH, x.value) : x.value;
        const void *attr = op == SN_OP_GELU ? (void *)&gelu : op == SN_OP_SILU ? (void *)&alpha : NULL;
        value = sn_build1(&m->b, op, attr, value);
        keep(m, value, op == SN_OP_EXP ? 21 : x.bound + 1, x.exact && same);
    }
}

static inline void step_binary(Maker *m) {
    static const OpCode ops[] = {SN_OP_ADD, SN_OP_SUB, SN_OP_MUL, SN_OP_ADD, SN_OP_MUL,
                                 SN_OP_MIN, SN_OP_MAX, SN_OP_DIV, SN_OP_SUB};
    Item x;
    if (!draw(m, sn_dtype_is_float, 0, &x)) return;
    Item y = partner(m, x.value, x.value->type.dtype);
    OpCode op = ops[pick(m, 9)];
    bool exact = (op == SN_OP_MIN || op == SN_OP_MAX) && is_exact_of(m, &x, &y);
    double bound = op == SN_OP_MUL ? x.bound * y.bound : op == SN_OP_DIV ? 2 * x.bound : x.bound + y.bound;
    Value *right = op == SN_OP_DIV ? away_from_zero(m, y.value) : y.value;
    Value *left = x.value;
    if (op != SN_OP_DIV && chance(m, 50)) left = right, right = x.value;
    keep(m, apply2(m, op, left, right), bound, exact);
}

static inline void step_integer(Maker *m) {
    static const OpCode ops[] = {SN_OP_ADD, SN_OP_SUB, SN_OP_MUL, SN_OP_MIN,
                                 SN_OP_MAX, SN_OP_DIV, SN_OP_MOD, SN_OP_FMOD};
    Item x;
    if (!draw(m, sn_dtype_is_int, 0, &x)) return;
    OpCode op = ops[pick(m, 8)];
    if (op == SN_OP_DIV || op == SN_OP_MOD || op == SN_OP_FMOD) {
        keep(m, apply2(m, op, x.value, scalar(m, x.value, 1 + pick(m, 5))), x.bound + 5, true);
        return;
    }
    Item y = partner(m, x.value, x.value->type.dtype);
    keep(m, either(m, op, x.value, y.value), op == SN_OP_MUL ? x.bound * y.bound : x.bound + y.bound, true);
}

/* What algebra knows: x + 0, x · 1, x / 8, 1 / x, powers, casts there and back … */
static inline void step_identity(Maker *m) {
    static const double powers[] = {1, 2, 3, 0.5, -0.5, 2.5};
    Item x;
    if (!draw(m, sn_dtype_is_float, 0, &x)) return;
    Value *v = x.value, *y = v;
    DType dtype = v->type.dtype;
    int kind = pick(m, 10);
    double bound = x.bound;
    if (kind == 0) y = either(m, SN_OP_ADD, v, scalar(m, v, 0));
    if (kind == 1) y = either(m, SN_OP_MUL, v, scalar(m, v, 1));
    if (kind == 2) y = apply2(m, SN_OP_DIV, v, scalar(m, v, exp2(pick(m, 20) - 4))), bound *= 16;
    if (kind == 3) y = apply2(m, SN_OP_DIV, scalar(m, v, 1), away_from_zero(m, v)), bound = 2;
    if (kind == 4) {
        double power = powers[pick(m, 6)];
        y = apply2(m, SN_OP_POW, away_from_zero(m, v), scalar(m, v, power));
        bound = pow(bound + 0.5, fabs(power)) + 2;
    }
    if (kind == 5) y = apply1(m, SN_OP_NEG, apply1(m, SN_OP_NEG, v));
    if (kind == 6) y = apply2(m, SN_OP_SUB, v, scalar(m, v, 0));
    if (kind == 7)
        y = sn_build3(&m->b, SN_OP_WHERE, NULL, sn_build_scalar(&m->b, SN_BOOL, chance(m, 50)), v,
                      partner(m, v, dtype).value),
        bound = fmax(bound, 8);
    if (kind == 8) y = apply1(m, SN_OP_RECIPROCAL, apply1(m, SN_OP_SQRT, away_from_zero(m, v))), bound = 2;
    if (kind == 9 && dtype == SN_F32) y = sn_build_cast(&m->b, sn_build_cast(&m->b, v, SN_F64), SN_F32);
    keep(m, y, bound, x.exact && (kind < 2 || kind == 5 || kind == 6 || kind == 9));
}

static inline void step_compare(Maker *m) {
    static const OpCode ops[] = {SN_OP_EQUAL, SN_OP_LESS, SN_OP_LESS_EQUAL};
    Item x;
    if (!draw(m, chance(m, 50) ? sn_dtype_is_int : sn_dtype_is_float, 0, &x) || !x.exact) return;
    if (sn_dtype_is_float(x.value->type.dtype) && chance(m, 20)) {
        keep(m, apply1(m, chance(m, 50) ? SN_OP_ISNAN : SN_OP_ISINF, x.value), 1, true);
        return;
    }
    Item y = partner(m, x.value, x.value->type.dtype);
    if (y.exact) keep(m, either(m, ops[pick(m, 3)], x.value, y.value), 1, true);
}

static inline void step_logic(Maker *m) {
    static const OpCode ops[] = {SN_OP_AND, SN_OP_OR, SN_OP_XOR};
    Item x;
    if (!draw(m, is_bool, 0, &x)) return;
    if (chance(m, 30))
        keep(m, apply1(m, SN_OP_NOT, x.value), 1, true);
    else
        keep(m, either(m, ops[pick(m, 3)], x.value, partner(m, x.value, SN_BOOL).value), 1, true);
}

static inline void step_where(Maker *m) {
    Item x;
    if (!draw(m, is_any, 0, &x)) return;
    Item y = partner(m, x.value, x.value->type.dtype);
    Item c = partner(m, broadcasts(x.value->type, y.value->type) ? x.value : y.value, SN_BOOL);
    if (!broadcasts(c.value->type, y.value->type)) return;
    Value *v = sn_build3(&m->b, SN_OP_WHERE, NULL, c.value, x.value, y.value);
    keep(m, v, fmax(x.bound, y.bound), is_exact_of(m, &x, &y));
}

static inline void step_cast(Maker *m) {
    static const DType narrow[] = {SN_BOOL, SN_I32, SN_I64, SN_F32, SN_F64, SN_U8};
    Item x;
    if (!draw(m, is_any, 0, &x)) return;
    DType to = chance(m, 40) ? m->dtype : narrow[pick(m, 6)], from = x.value->type.dtype;
    bool into_integer = sn_dtype_is_float(from) && !sn_dtype_is_float(to);
    if (into_integer && (!x.exact || m->special)) return;
    if (to == SN_U8 && !sn_dtype_is_int(from) && from != SN_BOOL) return;
    if (sn_dtype_is_float(to) && sn_dtype_is_float(from) && m->dtype == SN_F64) return; /* would round */
    keep(m, sn_build_cast(&m->b, x.value, to), to == SN_U8 ? 255 : x.bound + 1, x.exact);
}

/* ---- reductions ---- */

static inline bool is_number_type(DType dtype) {
    return dtype != SN_BOOL;
}

static inline void step_reduce(Maker *m) {
    static const OpCode ops[] = {SN_OP_REDUCE_SUM,  SN_OP_REDUCE_MAX, SN_OP_REDUCE_MIN, SN_OP_REDUCE_MEAN,
                                 SN_OP_REDUCE_PROD, SN_OP_REDUCE_SUM, SN_OP_REDUCE_MEAN};
    Item x;
    if (!draw(m, is_number_type, 1, &x)) return;
    bool whole = sn_dtype_is_int(x.value->type.dtype);
    OpCode op = ops[pick(m, whole ? 3 : 7)];
    int64_t axes[SN_MAX_RANK];
    AttrReduce attr = {0, axes};
    for (int i = 0; i < x.value->type.rank; i++)
        if (chance(m, 50)) axes[attr.count++] = i;
    /* Maxima of nothing are left out for integers, whose least number would overflow in what follows. */
    bool nothing = m->least == 0 || is_from_data(m, x.value->type);
    if (attr.count == 0 || (whole && op != SN_OP_REDUCE_SUM && nothing)) return;
    double terms = (double)most_elements(m, x.value->type), bound = x.bound;
    Value *v = x.value;
    if (op == SN_OP_REDUCE_PROD) v = apply1(m, SN_OP_TANH, v);
    if (op == SN_OP_REDUCE_SUM) bound *= terms;
    bool exact = whole || (x.exact && (op == SN_OP_REDUCE_MAX || op == SN_OP_REDUCE_MIN));
    keep(m, sn_build1(&m->b, op, &attr, v), bound, exact);
}

static inline void step_row(Maker *m) {
    Item x;
    if (!draw(m, sn_dtype_is_float, 1, &x)) return;
    AttrAxis axis = {pick(m, x.value->type.rank)};
    if (chance(m, 30)) {
        AttrScan scan = {axis.axis, chance(m, 50), chance(m, 50)};
        keep(m, sn_build1(&m->b, SN_OP_CUMSUM, &scan, x.value), 8 * x.bound, false);
        return;
    }
    bool log = chance(m, 30);
    keep(m, sn_build1(&m->b, log ? SN_OP_LOG_SOFTMAX : SN_OP_SOFTMAX, &axis, x.value),
         log ? 2 * x.bound + 10 : 1, false);
}

static inline void step_norm(Maker *m) {
    Item x;
    if (m->special || !draw(m, sn_dtype_is_float, 1, &x)) return; /* an infinite gain shows every rounding */
    Type type = x.value->type;
    AttrNorm attr = {chance(m, 70) ? type.rank - 1 : pick(m, type.rank), 1e-2};
    Type part = {type.dtype, type.rank - attr.axis, type.dim + attr.axis};
    Value *input[3] = {x.value, fresh(m, part), fresh(m, part)};
    bool layer = chance(m, 50);
    int count = layer ? 2 + pick(m, 2) : 2;
    keep(m, sn_build(&m->b, layer ? SN_OP_LAYER_NORM : SN_OP_RMS_NORM, &attr, count, input), 200, false);
}

/* ---- products ---- */

static inline void step_matmul(Maker *m) {
    Item x;
    if (!draw(m, sn_dtype_is_float, 1, &x)) return;
    Type type = x.value->type;
    int rank = pick(m, 4) == 0 ? 1 : chance(m, 60) ? 2 : 2 + pick(m, 3);
    Dim *dim = SN_ARRAY(m->arena, Dim, rank);
    for (int i = 0; i < rank - 2; i++) {
        int from = type.rank - rank + i;
        dim[i] = from >= 0 && from < type.rank - 2 ? (chance(m, 30) ? number(m, 1) : type.dim[from])
                                                   : random_extent(m);
    }
    dim[rank > 1 ? rank - 2 : 0] = type.dim[type.rank - 1];
    if (rank > 1) dim[rank - 1] = random_extent(m);
    Value *y = fresh(m, (Type){type.dtype, rank, dim});
    keep(m, apply2(m, SN_OP_MATMUL, x.value, y), 8 * fresh_bound(y) * x.bound, false);
}

/* Two values of the pool, one transposed. */
static inline void step_gram(Maker *m) {
    Item x;
    if (!draw(m, sn_dtype_is_float, 2, &x)) return;
    int permutation[SN_MAX_RANK], rank = x.value->type.rank;
    for (int i = 0; i < rank; i++) permutation[i] = i;
    permutation[rank - 1] = rank - 2, permutation[rank - 2] = rank - 1;
    Value *y = sn_build_transpose(&m->b, x.value, permutation);
    Item other = partner(m, x.value, x.value->type.dtype);
    Value *left = x.value;
    if (other.value->type.rank == rank && other.value->type.dim[rank - 1] == y->type.dim[rank - 2])
        left = other.value;
    keep(m, apply2(m, SN_OP_MATMUL, left, y), 8 * x.bound * fmax(x.bound, other.bound), false);
}

static inline void step_siblings(Maker *m) {
    Item x;
    int64_t inner;
    if (!draw(m, sn_dtype_is_float, 2, &x)) return;
    Type type = x.value->type;
    if (!sn_dim_is(type.dim[type.rank - 1], &inner)) return;
    bool bias = chance(m, 50);
    for (int i = 0, count = 2 + pick(m, 3); i < count; i++) {
        Dim dim[2] = {type.dim[type.rank - 1], number(m, 1 + pick(m, 8))};
        Value *y = apply2(m, SN_OP_MATMUL, x.value, random_constant(m, (Type){type.dtype, 2, dim}));
        bool has_bias = chance(m, 10) ? !bias : bias;
        if (has_bias) y = either(m, SN_OP_ADD, y, random_constant(m, (Type){type.dtype, 1, dim + 1}));
        keep(m, y, 64 * x.bound + 8, false);
    }
}

/* ---- all of them ---- */

typedef void Step(Maker *m);

static Step *const steps[] = {
    step_unary,     step_unary,       step_binary,   step_binary,   step_binary,     step_binary,
    step_integer,   step_identity,    step_identity, step_compare,  step_logic,      step_where,
    step_cast,      step_reshape,     step_reshape,  step_reshape,  step_transpose,  step_transpose,
    step_slice,     step_slice,       step_expand,   step_concat,   step_pad,        step_gather,
    step_gather,    step_gather_many, step_source,   step_trilu,    step_reduce,     step_reduce,
    step_reduce,    step_row,         step_row,      step_norm,     step_norm,       step_matmul,
    step_matmul,    step_matmul,      step_gram,     step_siblings, step_rotary,     step_attention,
    form_attention, form_attention,   form_softmax,  form_norm,     form_activation, form_rotary,
    step_select,    step_size,        step_select,
};

/* A graph of `length` steps from a seed. Values that nobody reads become outputs, at most `outputs` of them.
 */
static inline Maker *random_graph(Arena *arena, uint64_t seed, DType dtype, int length, int outputs,
                                  bool sized) {
    Maker *m = SN_NEW(arena, Maker);
    *m = (Maker){
        .arena = arena, .graph = sn_graph_new(arena, "random"), .seed = seed, .dtype = dtype, .sized = sized};
    m->b = (Builder){.graph = m->graph, .region = m->graph->body};
    m->special = chance(m, 8);
    m->least = chance(m, 70);
    for (int i = 0; i < SYMBOLS; i++) {
        m->symbol[i] = sn_dim_symbol(m->graph->dims, i ? "B" : "A");
        if (m->least) sn_dims_symbol_at_least(m->graph->dims, m->symbol[i], 1);
    }
    Dim *carrier = SN_ARRAY(arena, Dim, SYMBOLS); /* the shape of an input that binds the symbols */
    memcpy(carrier, m->symbol, sizeof m->symbol);
    keep(m, sn_graph_input(m->graph, "x", (Type){dtype, 2, carrier}), 2, true);
    for (int i = 0; i < 2; i++) {
        Value *value = fresh(m, random_type(m, dtype, 1 + pick(m, 4)));
        keep(m, value, fresh_bound(value), true);
    }
    for (int s = 0; s < length; s++) {
        m->b.group = m->graph->next_group++;
        steps[pick(m, sizeof steps / sizeof *steps)](m);
    }
    for (int i = m->count - 1, made = 0; i >= 0 && made < outputs; i--) {
        if (m->item[i].value->users.count > 0 && !chance(m, 5)) continue;
        sn_graph_output(m->graph, sn_arena_printf(arena, "y%d", made++), m->item[i].value);
    }
    for (int i = 0; i < m->graph->sizes.count; i++) {
        m->graph->sizes.at[i].result = m->graph->body->result.count;
        sn_graph_output(m->graph, "", m->size_value.at[i]);
    }
    sn_region_sweep(m->graph->body);
    must(sn_verify(m->graph), "a generated graph");
    return m;
}

#endif

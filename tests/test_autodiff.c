/* passes: every gradient rule against finite differences. A row of the operator table that has a rule and no case here
 * fails the test. */
#include "gradient_fixture.h"
#include "gradients.h"
#include "pass.h"
#include "text_form.h"

#include <string.h>

static GradientRule *const rules[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, expand, gradient, scalar)                                                                   \
    [code] = gradient,
#include "ops.def"
#undef OP
};

static bool covered[SN_OP_COUNT];

static Maker *maker_new(Arena *arena, uint64_t seed) {
    Maker *m = SN_NEW(arena, Maker);
    *m = (Maker){
        .arena = arena, .graph = sn_graph_new(arena, "case"), .seed = seed, .dtype = SN_F64, .least = 1};
    m->b = (Builder){.graph = m->graph, .region = m->graph->body};
    for (int i = 0; i < SYMBOLS; i++) {
        m->symbol[i] = sn_dim_symbol(m->graph->dims, i ? "B" : "A");
        sn_dims_symbol_at_least(m->graph->dims, m->symbol[i], 2);
    }
    /* which binds the symbols, whatever a case has of them */
    sn_graph_input(m->graph, "sizes", (Type){SN_BOOL, 2, m->symbol});
    return m;
}

/* An f64 input of a shape like "A 3 B". */
static Value *in(Maker *m, const char *shape) {
    Dim *dim = SN_ARRAY(m->arena, Dim, SN_MAX_RANK);
    int rank = 0;
    for (const char *at = shape; *at;) {
        char *end;
        if (*at == 'A' || *at == 'B') {
            dim[rank++] = m->symbol[*at == 'B'];
            at++;
        } else {
            dim[rank++] = number(m, strtoll(at, &end, 10));
            at = end;
        }
        while (*at == ' ') at++;
    }
    const char *name = sn_arena_printf(m->arena, "x%d", m->graph->body->param.count);
    return sn_graph_input(m->graph, name, (Type){SN_F64, rank, dim});
}

static Value *call(Maker *m, OpCode op, const void *attr, int count, Value **input) {
    return sn_build(&m->b, op, attr, count, input);
}

#define CALL(op, attr, ...)                                                                                  \
    call(m, op, attr, sizeof((Value *[]){__VA_ARGS__}) / sizeof(Value *), (Value *[]){__VA_ARGS__})
#define REDUCE(...)                                                                                          \
    &(AttrReduce) {                                                                                          \
        sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]) {                                    \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }

/* ---- pointwise operators, all alike: operands where the functions are smooth, one of them broadcast ---- */

static Value *pointwise(Maker *m, OpCode op) {
    const OpInfo *info = sn_op(op);
    union {
        AttrCast cast;
        AttrGelu gelu;
        AttrAlpha alpha;
        AttrDropout dropout; /* without a state: nothing is dropped */
    } attr = {0};
    if (op == SN_OP_CAST) attr.cast.to = SN_F32;
    if (op == SN_OP_GELU) attr.gelu.tanh = chance(m, 50);
    if (op == SN_OP_SILU) attr.alpha.alpha = chance(m, 50) ? 1 : 1.7;
    bool positive = op == SN_OP_SQRT || op == SN_OP_RSQRT || op == SN_OP_LOG || op == SN_OP_RECIPROCAL ||
                    op == SN_OP_DIV || op == SN_OP_POW || op == SN_OP_FMOD;
    bool below_one = op == SN_OP_ASIN || op == SN_OP_ACOS || op == SN_OP_ATANH;
    bool narrow = chance(m, 50);
    Value *input[3];
    for (int k = 0; k < info->in_min; k++) {
        input[k] = in(m, k == narrow ? "A 3" : "2 1 3");
        if (positive) input[k] = away_from_zero(m, input[k]);
        if (below_one)
            input[k] = CALL(SN_OP_MUL, NULL, CALL(SN_OP_TANH, NULL, input[k]), scalar(m, input[k], 0.9));
        if (op == SN_OP_TAN) input[k] = CALL(SN_OP_TANH, NULL, input[k]);
        if (op == SN_OP_ACOSH)
            input[k] = CALL(SN_OP_ADD, NULL, away_from_zero(m, input[k]), scalar(m, input[k], 1));
    }
    if (op == SN_OP_WHERE) input[0] = sn_build2(&m->b, SN_OP_LESS, NULL, input[0], scalar(m, input[1], 0));
    return sn_build(&m->b, op, &attr, info->in_min, input);
}

/* ---- the others ---- */

typedef Value *CaseFunction(Maker *m);

static Value *concat_case(Maker *m) {
    return CALL(SN_OP_CONCAT, &(AttrAxis){1}, in(m, "2 A"), in(m, "2 3"), in(m, "2 1"));
}
static Value *pad_case(Maker *m) {
    Dim before[2] = {number(m, 1), number(m, 0)}, after[2] = {number(m, 2), m->symbol[0]};
    return CALL(SN_OP_PAD, (&(AttrPad){2, before, after, 3}), in(m, "2 A"));
}
static Value *trilu_case(Maker *m) {
    return CALL(SN_OP_TRILU, (&(AttrTrilu){chance(m, 50), number(m, 1)}), in(m, "2 4 3"));
}
static Value *gather_case(Maker *m) {
    int axis = pick(m, 3);
    Value *index = positions(m, axis == 1 ? 5 : 2, 2, (int64_t[]){3, 2});
    return CALL(SN_OP_GATHER, &(AttrAxis){axis}, in(m, "2 5 4"), index);
}
static Value *gather_from_end(Maker *m) {
    Value *index = sn_build1(&m->b, SN_OP_NEG, NULL, positions(m, 3, 1, (int64_t[]){7}));
    index = sn_build2(&m->b, SN_OP_SUB, NULL, index, sn_build_scalar(&m->b, SN_I64, 1));
    return CALL(SN_OP_GATHER, &(AttrAxis){0}, in(m, "3 A"), index);
}
static Value *gather_nd_case(Maker *m) {
    bool batch = chance(m, 50);
    AttrGatherNd attr = {batch};
    if (batch)
        return CALL(SN_OP_GATHER_ND, &attr, in(m, "2 3 4 2"), positions(m, 3, 3, (int64_t[]){2, 4, 2}));
    return CALL(SN_OP_GATHER_ND, &attr, in(m, "3 3 A"), positions(m, 3, 3, (int64_t[]){2, 4, 2}));
}
static Value *gather_elements_case(Maker *m) {
    return CALL(SN_OP_GATHER_ELEMENTS, &(AttrAxis){1}, in(m, "3 4"), positions(m, 4, 2, (int64_t[]){2, 6}));
}
static Value *scatter_case(Maker *m) {
    return CALL(SN_OP_SCATTER_ADD, &(AttrScatter){number(m, 4)}, positions(m, 4, 1, (int64_t[]){6}),
                in(m, "6 3"));
}

static Value *some_reduction(Maker *m, OpCode op) {
    if (chance(m, 30)) return CALL(op, REDUCE(1), in(m, "2 A 3"));
    if (chance(m, 50)) return CALL(op, REDUCE(0, 2), in(m, "2 A 3"));
    return CALL(op, REDUCE(0, 1), in(m, "2 3"));
}
static Value *reduce_sum_case(Maker *m) {
    return some_reduction(m, SN_OP_REDUCE_SUM);
}
static Value *reduce_max_case(Maker *m) {
    return some_reduction(m, SN_OP_REDUCE_MAX);
}
static Value *reduce_min_case(Maker *m) {
    return some_reduction(m, SN_OP_REDUCE_MIN);
}
static Value *reduce_prod_case(Maker *m) {
    return some_reduction(m, SN_OP_REDUCE_PROD);
}
static Value *reduce_mean_case(Maker *m) {
    return some_reduction(m, SN_OP_REDUCE_MEAN);
}
/* x with zeros in it: x·(0, 1, 1 …), one or two in a row. */
static Value *product_with_zeros(Maker *m) {
    AttrIota iota = {SN_F64, number(m, 4), number(m, 0), number(m, 1)};
    Value *at = sn_build(&m->b, SN_OP_IOTA, &iota, 0, NULL), *limit = scalar(m, at, chance(m, 50) ? 1 : 2);
    Value *keeps = sn_build2(&m->b, SN_OP_LESS_EQUAL, NULL, limit, at);
    Value *x = sn_build3(&m->b, SN_OP_WHERE, NULL, keeps, in(m, "3 4"), sn_build_scalar(&m->b, SN_F64, 0));
    return CALL(SN_OP_REDUCE_PROD, REDUCE(1), x);
}
static Value *cumsum_case(Maker *m) {
    return CALL(SN_OP_CUMSUM, (&(AttrScan){1, chance(m, 50), chance(m, 50)}), in(m, "2 A 2"));
}
static Value *softmax_case(Maker *m) {
    return CALL(SN_OP_SOFTMAX, &(AttrAxis){pick(m, 2)}, in(m, "A 4"));
}
static Value *log_softmax_case(Maker *m) {
    return CALL(SN_OP_LOG_SOFTMAX, &(AttrAxis){pick(m, 2)}, in(m, "A 4"));
}
static Value *layer_norm_case(Maker *m) {
    if (chance(m, 30)) return CALL(SN_OP_LAYER_NORM, (&(AttrNorm){1, 1e-3}), in(m, "A 2 3"), in(m, "2 3"));
    return CALL(SN_OP_LAYER_NORM, (&(AttrNorm){2, 1e-3}), in(m, "2 A 5"), in(m, "5"), in(m, "5"));
}
static Value *rms_norm_case(Maker *m) {
    return CALL(SN_OP_RMS_NORM, (&(AttrNorm){2, 1e-3}), in(m, "2 A 5"), in(m, "5"));
}
static Value *matmul_case(Maker *m) {
    static const char *const shapes[][2] = {{"A 3", "3 4"},       {"2 A 3", "3 4"}, {"2 1 A 3", "B 3 2"},
                                            {"2 A 3", "2 3 B"},   {"3", "A 3 2"},   {"A 2 3", "3"},
                                            {"1 2 A 3", "2 3 4"}, {"3", "3"}};
    int k = pick(m, 8);
    return CALL(SN_OP_MATMUL, NULL, in(m, shapes[k][0]), in(m, shapes[k][1]));
}
static Value *contract_case(Maker *m) {
    return CALL(SN_OP_CONTRACT, NULL, in(m, "A 2 3 4"), in(m, "A 2 4 B"));
}
static Value *rotary_case(Maker *m) {
    if (chance(m, 30))
        return CALL(SN_OP_ROTARY, &(AttrRotary){0}, in(m, "A 3 4"), in(m, "3 2"), in(m, "1 2"));
    /* as tables, whose gradient is not asked for */
    Type type = {SN_F64, 2, (Dim[]){number(m, 3), number(m, 2)}};
    Value *cosine = random_constant(m, type), *sine = random_constant(m, type);
    return CALL(SN_OP_ROTARY, (&(AttrRotary){chance(m, 50)}), in(m, chance(m, 50) ? "A 3 4" : "A 3 6"),
                cosine, sine);
}
static Value *attention_case(Maker *m) {
    Value *q = in(m, "2 4 A 3"), *k = in(m, "2 2 B 3"), *v = in(m, "2 2 B 5");
    AttrAttention attr = {0.7, chance(m, 50), number(m, 1), chance(m, 50), chance(m, 30) ? 0.9 : 0, 0, 0};
    if (!attr.causal) attr.offset = NULL;
    int bias = pick(m, 3);
    if (bias == 0) return CALL(SN_OP_ATTENTION, &attr, q, k, v);
    Value *scores = in(m, bias == 1 ? "4 A B" : "A B");
    if (bias == 1) return CALL(SN_OP_ATTENTION, &attr, q, k, v, scores);
    Value *keeps = sn_build2(&m->b, SN_OP_LESS, NULL, scores, scalar(m, scores, 1));
    return CALL(SN_OP_ATTENTION, &attr, q, k, v, keeps);
}
/* Rows of which nothing is kept, with a fill so low that neither the scores nor the logarithm of their sum can be seen
 * beside it: the weights are all equal, and only values have a slope. */
static Value *attention_of_lowest(Maker *m) {
    Type type = {SN_F64, 4, (Dim[]){number(m, 2), number(m, 2), number(m, 3), number(m, 4)}};
    Value *q = random_constant(m, type), *k = random_constant(m, type);
    Value *row = in(m, "3 1"), *keeps = sn_build2(&m->b, SN_OP_LESS, NULL, row, scalar(m, row, 0));
    Value *zero = sn_build_scalar(&m->b, SN_F64, 0), *low = sn_build_scalar(&m->b, SN_F64, -0x1.fffffep127);
    Value *fill = sn_build3(&m->b, SN_OP_WHERE, NULL, keeps, zero, low);
    return CALL(SN_OP_ATTENTION, (&(AttrAttention){.scale = 0.7}), q, k, in(m, "2 2 3 5"), fill);
}
/* A softmax with one more column, without a value: its statistic is read by other operators. */
static Value *attention_with_sink(Maker *m) {
    Value *input[] = {in(m, "2 2 A 3"), in(m, "2 1 B 3"), in(m, "2 1 B 5")}, *sink = in(m, "2 1 1");
    AttrAttention attr = {.scale = 0.7};
    Node *node = sn_build_node(&m->b, SN_OP_ATTENTION, &attr, 3, input, 2);
    if (!node) return NULL;
    Value *y = node->output[0],
          *all = CALL(SN_OP_REDUCE_SUM, (&(AttrReduce){1, (int64_t[]){3}}), node->output[1]);
    return CALL(SN_OP_MUL, NULL, y, CALL(SN_OP_SIGMOID, NULL, CALL(SN_OP_SUB, NULL, all, sink)));
}
static Value *cross_entropy_case(Maker *m) {
    AttrCrossEntropy attr = {chance(m, 50), 2, chance(m, 50) ? 0.2 : 0};
    Value *label = positions(m, 5, 2, (int64_t[]){2, 4});
    if (chance(m, 50)) return CALL(SN_OP_CROSS_ENTROPY, &attr, in(m, "2 4 5"), label);
    Type classes = {SN_F64, 1, (Dim[]){number(m, 5)}};
    Value *weight = chance(m, 50) ? in(m, "5") : random_constant(m, classes);
    return CALL(SN_OP_CROSS_ENTROPY, &attr, in(m, "2 4 5"), label, weight);
}

static Value *dropout_case(Maker *m) {
    void *bytes;
    Tensor *state = sn_tensor_new(m->arena, SN_I64, 1, (int64_t[]){2}, &bytes);
    for (int i = 0; i < 2; i++) sn_element_set_int(SN_I64, bytes, i, pick(m, 1000));
    AttrDropout attr = {.ratio = chance(m, 50) ? 0.3 : 0.8, .number = 1 + pick(m, 9)};
    return CALL(SN_OP_DROPOUT, &attr, in(m, "A 4 B"), sn_build_constant(&m->b, state));
}

/* ---- index maps ---- */

static Value *view(Maker *m, Value *x, int rank, const Dim *extent, const Dim *index) {
    return CALL(SN_OP_VIEW, (&(AttrView){rank, extent, x->type.rank, index}), x);
}

static Value *random_moves(Maker *m) {
    static void (*const step[])(Maker *) = {step_reshape, step_transpose, step_slice, step_expand};
    Value *x = in(m, chance(m, 50) ? "A 4 2" : "6 4 B");
    keep(m, x, 2, true);
    for (int i = 0; i < 5; i++) step[pick(m, 4)](m);
    Value *y = m->item[m->count - 1].value; /* one movement */
    IndexMap map = sn_view_identity(m->graph->dims, m->arena, y->type.rank, y->type.dim);
    for (; y->producer; y = y->producer->input[0])
        map = sn_view_compose(m->graph->dims, m->arena, &map, y->producer->attr);
    return y == x ? view(m, x, map.rank, map.extent, map.index) : NULL;
}
/* out[i, j] = x[j floordiv 2 · 3 + 1, i] */
static Value *view_with_gaps(Maker *m) {
    Dims *dims = m->graph->dims;
    Dim extent[2] = {m->symbol[0], number(m, 6)};
    Dim i = sn_dim_axis(dims, 0, extent[0]), j = sn_dim_axis(dims, 1, extent[1]);
    Dim at = sn_dim_addc(dims, sn_dim_mulc(dims, sn_dim_floordiv(dims, j, number(m, 2)), 3), 1);
    return view(m, in(m, "9 A"), 2, extent, (Dim[]){at, i});
}
/* The middle one of three parts of each head. */
static Value *part_of_heads(Maker *m) {
    Dims *dims = m->graph->dims;
    Dim extent[3] = {m->symbol[0], number(m, 2), number(m, 3)};
    Dim h = sn_dim_axis(dims, 1, extent[1]), d = sn_dim_axis(dims, 2, extent[2]);
    Dim at = sn_dim_add(dims, sn_dim_addc(dims, sn_dim_mulc(dims, h, 9), 3), d);
    return view(m, in(m, "A 18"), 3, extent, (Dim[]){sn_dim_axis(dims, 0, extent[0]), at});
}
static Value *diagonal(Maker *m) {
    Dim i = sn_dim_axis(m->graph->dims, 0, m->symbol[0]);
    return view(m, in(m, "A A"), 1, &m->symbol[0], (Dim[]){i, i});
}
/* Windows of 3 that overlap. */
static Value *windows(Maker *m) {
    Dims *dims = m->graph->dims;
    Dim extent[2] = {number(m, 4), number(m, 3)};
    Dim at = sn_dim_add(dims, sn_dim_axis(dims, 0, extent[0]), sn_dim_axis(dims, 1, extent[1]));
    return view(m, in(m, "6"), 2, extent, &at);
}

/* Operands of B − 1 = 1 and min(A, 5) = 3 rows beside one of A = 3: which of them is spread is known when it runs. */
static Value *perhaps_spread(Maker *m) {
    Dims *dims = m->graph->dims;
    Dim one = sn_dim_addc(dims, m->symbol[1], -1), same = sn_dim_min(dims, m->symbol[0], number(m, 5));
    Value *first = sn_build_slice(&m->b, in(m, "5 3"), 0, number(m, 1), one, 1);
    Value *second = sn_build_slice(&m->b, in(m, "5 3"), 0, number(m, 2), same, 1);
    return CALL(SN_OP_MUL, NULL, CALL(SN_OP_MUL, NULL, in(m, "A 3"), first), second);
}

static CaseFunction *const cases[] = {
    perhaps_spread,
    concat_case,
    pad_case,
    trilu_case,
    gather_case,
    gather_from_end,
    gather_nd_case,
    scatter_case,
    reduce_sum_case,
    reduce_max_case,
    gather_elements_case,
    reduce_min_case,
    reduce_prod_case,
    reduce_mean_case,
    product_with_zeros,
    cumsum_case,
    softmax_case,
    log_softmax_case,
    layer_norm_case,
    rms_norm_case,
    matmul_case,
    contract_case,
    rotary_case,
    attention_case,
    cross_entropy_case,
    random_moves,
    view_with_gaps,
    part_of_heads,
    diagonal,
    windows,
    dropout_case,
    attention_of_lowest,
    attention_with_sink,
};

/* ---- running them ---- */

static void check_case(Arena *arena, Maker *m, Value *y, const char *what) {
    must(m->b.status, what);
    if (!y) return;
    sn_graph_output(m->graph, "y", y);
    for (const Node *node = m->graph->body->first; node; node = node->next) covered[node->op] = true;
    Differentiated d = differentiated(m);
    if (d.error) fail_msg("%s: %s", what, d.error);
    int compared = 0;
    const char *reason = compare_gradients(&d, (int64_t[]){3, 2}, m->seed, 40, &compared);
    if (!reason && compared == 0) reason = "nothing was compared";
    if (!reason) return;
    Text text = sn_text(arena);
    sn_graph_print(&text, m->graph);
    fprintf(stderr, "%s, seed %llu: %s\n%s", what, (unsigned long long)m->seed, reason,
            sn_text_string(&text));
    fail();
}

static void pointwise_rules(void **state) {
    (void)state;
    for (int op = 0; op < SN_OP_COUNT; op++) {
        bool smooth = sn_op(op)->class == SN_CLASS_POINTWISE && rules[op] != sn_gradient_none &&
                      rules[op] != sn_gradient_zero && op != SN_OP_ROTARY;
        for (uint64_t seed = 1; smooth && seed <= 4; seed++) {
            Arena *arena = sn_arena_new();
            Maker *m = maker_new(arena, seed * 1000 + (uint64_t)op);
            check_case(arena, m, pointwise(m, (OpCode)op), sn_op(op)->text);
            sn_arena_free(arena);
        }
    }
}

static void other_rules(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (uint64_t seed = 1; seed <= (cases[c] == random_moves ? 150 : 8); seed++) {
            Arena *arena = sn_arena_new();
            Maker *m = maker_new(arena, seed * 100 + c);
            check_case(arena, m, cases[c](m), sn_arena_printf(arena, "case %d", (int)c));
            sn_arena_free(arena);
        }
    }
}

static void every_rule_has_a_case(void **state) {
    (void)state;
    for (int op = 0; op < SN_OP_COUNT; op++)
        if (!covered[op] && rules[op] != sn_gradient_none && rules[op] != sn_gradient_zero)
            fail_msg("%s has a gradient that no case here checks", sn_op(op)->text);
}

/* ---- gradients that a model asks for ---- */

/* y = a·a·b + c·a, its derivatives by a and b at (u, v, w), where u is half of a: what computes u is not of the function;
 * the second derivative of a·a·b by a, at a; and that of y by itself. */
static const char asking[] = "graph \"asking\" stage imported\n"
                             "input %0 \"a\": f64[]\n"
                             "input %1 \"b\": f64[]\n"
                             "input %2 \"c\": f64[]\n"
                             "input %3 \"v\": f64[]\n"
                             "input %4 \"w\": f64[]\n"
                             "%5 = constant {tensor = f64[] (0.5)} : f64[]\n"
                             "%6 = mul(%0, %5) : f64[]\n"
                             "%7 = mul(%0, %0) : f64[]\n"
                             "%8 = mul(%7, %1) : f64[]\n"
                             "%9 = mul(%2, %0) : f64[]\n"
                             "%10 = add(%8, %9) : f64[]\n"
                             "%11, %12 = gradient(%10, %0, %1, %2, %6, %3, %4) : f64[], f64[]\n"
                             "%13 = neg(%11) : f64[]\n"
                             "%14 = gradient(%8, %0, %0) : f64[]\n"
                             "%15 = gradient(%14, %0, %0) : f64[]\n"
                             "%16 = gradient(%10, %10, %10) : f64[]\n"
                             "output %13 \"minus\"\n"
                             "output %12 \"db\"\n"
                             "output %15 \"second\"\n"
                             "output %16 \"one\"\n";

static void models_ask_for_gradients(void **state) {
    (void)state;
    enum { INPUTS = 5, OUTPUTS = 4 };
    const double a = 3, b = -0.75, v = 1.5, w = 0.25, u = a / 2, given[INPUTS] = {a, b, 7, v, w};
    const double expected[OUTPUTS] = {-(2 * u * v + w), u * u, 2 * b, 1};
    for (int eager = 0; eager < 2; eager++) {
        Arena *arena = sn_arena_new();
        Graph *graph;
        Target target;
        PipelineOptions options = {.eager = eager, .verify = true};
        PipelineResult result = {0};
        sn_target_cpu(&target, 64, 32, 32 << 10, 1 << 20);
        must(sn_graph_parse(arena, asking, strlen(asking), &graph), "the text");
        must(sn_pipeline(arena, graph, &target, &options, &result), "the pipeline");
        const Array *input[INPUTS];
        Array *out[OUTPUTS];
        for (int i = 0; i < INPUTS; i++) {
            Array *x = sn_array_new(arena, SN_F64, 0, NULL);
            x->f[0] = given[i];
            input[i] = x;
        }
        must(sn_eval_graph(arena, graph, false, input, out), "evaluation");
        for (int i = 0; i < OUTPUTS; i++) assert_true(fabs(out[i]->f[0] - expected[i]) < 1e-12);
        sn_arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointwise_rules),
        cmocka_unit_test(other_rules),
        cmocka_unit_test(every_rule_has_a_case),
        cmocka_unit_test(models_ask_for_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What makes new parameters of gradients: the formulas of PyTorch's AdamW and SGD, in its order of operations.
 *
 * What is one number for all parameters (bias corrections, the norm of the gradients, whether the step counts at all) is
 * computed once; each parameter's update is elementwise, so that one kernel reads the parameter, its gradient and its
 * moments and writes them over the old ones. */
#include "expand.h"
#include "train.h"

typedef struct Optimizer {
    Builder b;
    const Training *training;
    Value *rate;                      /* f64 [] */
    Value *scale;                     /* f32 []: of the gradients; NULL: 1 */
    Value *active;                    /* bool []: the step counts; NULL: it does */
    Value *step_size, *root, *shrink; /* f32 []: see adamw */
} Optimizer;

Training sn_training_default(void) {
    return (Training){.optimizer = SN_OPTIMIZER_ADAMW,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .epsilon = 1e-8,
                      .decay = 0.01,
                      .master = true,
                      .accumulate = 1};
}

static Value *where(Builder *b, Value *condition, Value *x, Value *y) {
    return condition ? sn_build3(b, SN_OP_WHERE, NULL, condition, x, y) : x;
}

static Value *narrow(Builder *b, Value *scalar) {
    return scalar ? sn_build_cast(b, scalar, SN_F32) : NULL;
}

/* constant (op) x */
static Value *from_constant(Builder *b, OpCode op, double constant, Value *x) {
    return x ? op2(b, op, sn_build_scalar(b, x->type.dtype, constant), x) : NULL;
}

/* A state of the optimizer's own, which begins at zero. */
static Value *new_state(Optimizer *o, const char *what, const char *of, Type type) {
    Graph *graph = o->b.graph;
    int64_t extent[SN_MAX_RANK], count = 1;
    for (int i = 0; i < type.rank; i++)
        if (!sn_dim_is(type.dim[i], &extent[i])) return NULL; /* parameters were constants */
    for (int i = 0; i < type.rank; i++) count *= extent[i];
    int64_t *copy = SN_ARRAY(graph->arena, int64_t, type.rank);
    for (int i = 0; i < type.rank; i++) copy[i] = extent[i];
    Tensor *zero = SN_NEW(graph->arena, Tensor);
    *zero = (Tensor){
        .dtype = type.dtype, .rank = type.rank, .extent = copy, .count = count, .payload = SN_PAYLOAD_RECIPE};
    const char *name = of ? sn_arena_printf(graph->arena, "optimizer.%s.%s", what, of)
                          : sn_arena_printf(graph->arena, "optimizer.%s", what);
    return sn_state_add(graph, name, type, zero);
}

/* The next value of a state; its own where the step does not count. */
static void keep(Optimizer *o, Value *state, Value *next) {
    next = where(&o->b, o->active, next, state);
    if (next) sn_state_next(o->b.graph, state, next);
}

static void start_group(Optimizer *o) {
    o->b.group = o->b.graph->next_group++;
}

/* ---- once a step ---- */

static Value *sum_of_squares(Builder *b, Value *x) {
    int64_t axes[SN_MAX_RANK];
    x = sn_build_cast(b, x, accumulator_dtype(x->type.dtype));
    Value *square = x ? op2(b, SN_OP_MUL, x, x) : NULL;
    if (!square || !square->type.rank) return square;
    for (int i = 0; i < square->type.rank; i++) axes[i] = i;
    Value *sum = sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){square->type.rank, axes}, square);
    return sum ? sn_build_reshape(b, sum, 0, NULL) : NULL;
}

/* The norm of all gradients as one vector; summed in the order of the parameters. */
static Value *global_norm(Optimizer *o, int count, Value *const *gradient) {
    Value *total = NULL;
    for (int i = 0; i < count && !o->b.status; i++) {
        start_group(o);
        Value *square = narrow(&o->b, sum_of_squares(&o->b, gradient[i]));
        total = total && square ? op2(&o->b, SN_OP_ADD, total, square) : square;
    }
    return total ? op1(&o->b, SN_OP_SQRT, total) : NULL;
}

static Value *is_finite(Builder *b, Value *x) {
    Value *nan = op1(b, SN_OP_ISNAN, x), *infinite = op1(b, SN_OP_ISINF, x);
    Value *bad = nan && infinite ? op2(b, SN_OP_OR, nan, infinite) : NULL;
    return bad ? op1(b, SN_OP_NOT, bad) : NULL;
}

static Value *both(Builder *b, Value *x, Value *y) {
    return x && y ? op2(b, SN_OP_AND, x, y) : x ? x : y;
}

/* As clip_grad_norm_ of PyTorch has it. */
static void judge_gradients(Optimizer *o, Value *loss, Value *scale, int count, Value *const *gradient) {
    const Training *t = o->training;
    if (!t->clip && !t->skip) return;
    Value *norm = global_norm(o, count, gradient);
    start_group(o);
    if (norm && t->clip) {
        Value *ratio = from_constant(&o->b, SN_OP_DIV, t->clip, op_scalar(&o->b, SN_OP_ADD, norm, 1e-6));
        o->scale = op_scalar(&o->b, SN_OP_MIN, ratio, 1);
    }
    if (!norm || !t->skip) return;
    Value *fine = both(&o->b, is_finite(&o->b, narrow(&o->b, loss)), is_finite(&o->b, norm));
    if (scale && fine)
        (void)sn_loss_scale_next(&o->b, scale, fine, o->active); /* a failure latches in the builder */
    o->active = both(&o->b, o->active, fine);
}

/* Counts this step; of it follow lr/(1 − β1^t), √(1 − β2^t) and 1 − lr·decay, computed in f64. */
static void count_step(Optimizer *o) {
    const Training *t = o->training;
    Builder *b = &o->b;
    start_group(o);
    Value *before = new_state(o, "step", NULL, (Type){SN_I64, 0, NULL});
    Value *now = op_scalar(b, SN_OP_ADD, before, 1);
    Value *wide = now ? sn_build_cast(b, now, SN_F64) : NULL;
    Value *first = from_constant(b, SN_OP_SUB, 1, from_constant(b, SN_OP_POW, t->beta1, wide));
    Value *second = from_constant(b, SN_OP_SUB, 1, from_constant(b, SN_OP_POW, t->beta2, wide));
    o->step_size = first ? narrow(b, op2(b, SN_OP_DIV, o->rate, first)) : NULL;
    o->root = second ? narrow(b, op1(b, SN_OP_SQRT, second)) : NULL;
    o->shrink = narrow(b, from_constant(b, SN_OP_SUB, 1, op_scalar(b, SN_OP_MUL, o->rate, t->decay)));
    keep(o, before, now);
}

/* ---- for each parameter ---- */

static bool is_decayed(const Training *training, const Value *parameter, const char *name) {
    if (!training->decay) return false;
    return training->decayed ? sn_name_fits(training->decayed, name) : parameter->type.rank >= 2;
}

/* What a parameter is stepped from, in the type of its gradient. Of 16 bits, a step is often less than what it rounds to:
 * there is a copy, *master, of which the parameter is what the forward pass reads. An element that the copy does not
 * round to has been set since, as all are before the first step: then it counts. */
static Value *unrounded(Optimizer *o, Value *parameter, Type type, Value **master) {
    Builder *b = &o->b;
    Value *wide = sn_build_cast(b, parameter, type.dtype);
    *master = NULL;
    if (!o->training->master || !wide || sn_dtype_bytes(parameter->type.dtype) != 2) return wide;
    *master = new_state(o, "master", parameter->name, wide->type);
    Value *rounded = *master ? sn_build_cast(b, *master, parameter->type.dtype) : NULL;
    Value *same = rounded ? op2(b, SN_OP_EQUAL, rounded, parameter) : NULL;
    return same ? where(b, same, *master, wide) : NULL;
}

static void keep_parameter(Optimizer *o, Value *parameter, Value *master, Value *next) {
    if (!next) return;
    keep(o, parameter, sn_build_cast(&o->b, next, parameter->type.dtype));
    if (master) keep(o, master, next);
}

static void adamw(Optimizer *o, Value *parameter, const char *name, Value *gradient) {
    const Training *t = o->training;
    Builder *b = &o->b;
    Type type = gradient->type;
    Value *m = new_state(o, "first_moment", name, type), *v = new_state(o, "second_moment", name, type);
    Value *master, *p = unrounded(o, parameter, type, &master);
    if (!m || !v || !p) return;
    if (is_decayed(t, parameter, name)) p = op2(b, SN_OP_MUL, p, sn_build_cast(b, o->shrink, type.dtype));
    Value *m1 = op2(b, SN_OP_ADD, m, op_scalar(b, SN_OP_MUL, op2(b, SN_OP_SUB, gradient, m), 1 - t->beta1));
    Value *square = op_scalar(b, SN_OP_MUL, op2(b, SN_OP_MUL, gradient, gradient), 1 - t->beta2);
    Value *v1 = square ? op2(b, SN_OP_ADD, op_scalar(b, SN_OP_MUL, v, t->beta2), square) : NULL;
    if (b->status) return;
    Value *root = op2(b, SN_OP_DIV, op1(b, SN_OP_SQRT, v1), sn_build_cast(b, o->root, type.dtype));
    Value *ratio = root ? op2(b, SN_OP_DIV, m1, op_scalar(b, SN_OP_ADD, root, t->epsilon)) : NULL;
    Value *change = ratio ? op2(b, SN_OP_MUL, sn_build_cast(b, o->step_size, type.dtype), ratio) : NULL;
    p = change ? op2(b, SN_OP_SUB, p, change) : NULL;
    if (!p) return;
    keep_parameter(o, parameter, master, p);
    keep(o, m, m1);
    keep(o, v, v1);
}

static void sgd(Optimizer *o, Value *parameter, const char *name, Value *gradient) {
    const Training *t = o->training;
    Builder *b = &o->b;
    DType dtype = gradient->type.dtype;
    Value *master, *p = unrounded(o, parameter, gradient->type, &master), *change = gradient;
    if (p && is_decayed(t, parameter, name))
        change = op2(b, SN_OP_ADD, change, op_scalar(b, SN_OP_MUL, p, t->decay));
    if (t->momentum) {
        Value *before = new_state(o, "momentum", name, gradient->type);
        Value *now =
            before && change ? op2(b, SN_OP_ADD, op_scalar(b, SN_OP_MUL, before, t->momentum), change) : NULL;
        if (now) keep(o, before, now);
        change =
            now && t->nesterov ? op2(b, SN_OP_ADD, change, op_scalar(b, SN_OP_MUL, now, t->momentum)) : now;
    }
    change = change ? op2(b, SN_OP_MUL, sn_build_cast(b, o->rate, dtype), change) : NULL;
    keep_parameter(o, parameter, master, p && change ? op2(b, SN_OP_SUB, p, change) : NULL);
}

static void update(Optimizer *o, Value *parameter, Value *gradient) {
    Builder *b = &o->b;
    start_group(o);
    if (o->scale && gradient)
        gradient = op2(b, SN_OP_MUL, gradient, sn_build_cast(b, o->scale, gradient->type.dtype));
    if (!gradient) return;
    if (o->training->optimizer == SN_OPTIMIZER_ADAMW)
        adamw(o, parameter, parameter->name, gradient);
    else
        sgd(o, parameter, parameter->name, gradient);
}

/* ---- several runs a step ---- */

/* The mean of the gradients since the last step; it is one in every `accumulate`-th run. */
static void accumulate(Optimizer *o, int count, Value *const *parameter, Value **gradient) {
    Builder *b = &o->b;
    int64_t runs = o->training->accumulate;
    start_group(o);
    Value *before = new_state(o, "run", NULL, (Type){SN_I64, 0, NULL});
    Value *now = op_scalar(b, SN_OP_ADD, before, 1);
    Value *last = op_scalar(b, SN_OP_EQUAL, now, (double)runs);
    if (!last) return;
    sn_state_next(b->graph, before, where(b, last, sn_build_scalar(b, SN_I64, 0), now));
    for (int i = 0; i < count && !b->status; i++) {
        start_group(o);
        Value *sum = new_state(o, "gradient", parameter[i]->name, gradient[i]->type);
        Value *more = sum ? op2(b, SN_OP_ADD, sum, gradient[i]) : NULL;
        if (!more) break;
        Value *zero = sn_build_scalar(b, more->type.dtype, 0);
        sn_state_next(b->graph, sum, where(b, last, zero, more));
        gradient[i] = op_scalar(b, SN_OP_MUL, more, 1.0 / (double)runs);
    }
    o->active = last;
}

Status sn_optimizer_append(Graph *graph, const Training *training, Value *loss, Value *scale, int count,
                           Value *const *parameter, Value *const *gradient) {
    Optimizer o = {.b = {.graph = graph, .region = graph->body, .phase = SN_PHASE_UPDATE},
                   .training = training};
    Value **wide = SN_ARRAY(graph->arena, Value *, count);
    Value *rate = sn_graph_input(graph, "learning_rate", (Type){SN_F32, 0, NULL});
    for (int i = 0; i < count; i++) {
        start_group(&o);
        wide[i] = sn_build_cast(&o.b, gradient[i], accumulator_dtype(gradient[i]->type.dtype));
        if (!wide[i]) return o.b.status;
    }
    if (scale) TRY(sn_loss_scale_undo(&o.b, scale, count, wide));
    start_group(&o);
    o.rate = sn_build_cast(&o.b, rate, SN_F64);
    if (training->accumulate > 1) accumulate(&o, count, parameter, wide);
    judge_gradients(&o, loss, scale, count, wide);
    if (!o.b.status && training->optimizer == SN_OPTIMIZER_ADAMW) count_step(&o);
    for (int i = 0; i < count && !o.b.status; i++) update(&o, parameter[i], wide[i]);
    return o.b.status;
}

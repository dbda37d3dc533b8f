/* The walk back from the loss. */
#include "autodiff.h"
#include "gradients.h"
#include "infer.h"
#include "view.h"

static GradientRule *const rules[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, \
           eval, expand, gradient, scalar)                                                                   \
    [code] = gradient,
#include "ops.def"
#undef OP
};

/* ---- what rules use ---- */

static bool is_needed(const Grad *g, const Value *value) {
    return value->id < g->needed.count && g->needed.at[value->id];
}

static void need(Grad *g, const Value *value) {
    while (g->needed.count <= value->id) sn_push(g->scratch, &g->needed, false);
    g->needed.at[value->id] = sn_dtype_is_float(value->type.dtype);
}

static void ask(Grad *g, const Value *value) {
    while (g->asked.count <= value->id) sn_push(g->scratch, &g->asked, false);
    g->asked.at[value->id] = true;
}

/* The type that a value's gradient has. */
static DType gradient_dtype(const Grad *g, const Value *value) {
    bool asked = value->id < g->asked.count && g->asked.at[value->id];
    return asked ? accumulator_dtype(value->type.dtype) : value->type.dtype;
}

static Value *gradient_of(const Grad *g, const Value *value) {
    return value->id < g->of.count ? g->of.at[value->id] : NULL;
}

bool sn_gradient_wanted(const Grad *g, const Node *node, int k) {
    return k < node->input_count && node->input[k] && is_needed(g, node->input[k]);
}

void sn_gradient_fail(Grad *g, const Node *node, const char *reason) {
    if (g->b.status) return;
    const SourceNode *source = node->origin ? node->origin->primary : NULL;
    Text by = sn_text(g->scratch);
    if (source) {
        sn_text_add(&by, " of node ");
        sn_text_quote(&by, source->name, strlen(source->name));
        sn_text_add(&by, " (%s, opset %d)", source->op_type, source->opset);
    }
    g->b.status = sn_fail(SN_UNSUPPORTED, "the gradient of %s%s: %s", sn_op(node->op)->text,
                          sn_text_string(&by), reason);
}

void sn_gradient_regroup(Grad *g) {
    g->b.group = g->b.graph->next_group++;
}

Node *sn_gradient_with_statistic(Grad *g, Node *node) {
    if (node->output_count > 1) return node;
    Graph *graph = g->b.graph;
    Node *copy = sn_node_new(graph, node->op, node->attr, node->input_count, node->input, 2);
    copy->origin = node->origin;
    copy->group = node->group;
    copy->phase = node->phase;
    if (!g->b.status) g->b.status = sn_infer_node(graph, copy);
    if (g->b.status) return NULL;
    sn_node_insert_before(copy, node);
    sn_value_replace(node->output[0], copy->output[0]);
    sn_node_remove(node);
    return copy;
}

Value *sn_gradient_sum(Builder *b, Value *x, int first, int last) {
    if (!x || first == last) return x;
    int64_t *axes = SN_ARRAY(b->graph->arena, int64_t, last - first);
    for (int i = first; i < last; i++) axes[i - first] = i;
    return sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){last - first, axes}, x);
}

Value *sn_gradient_transpose(Builder *b, Value *x) {
    if (!x) return NULL;
    int rank = x->type.rank, permutation[SN_MAX_RANK];
    for (int i = 0; i < rank; i++) permutation[i] = i;
    permutation[rank - 2] = rank - 1;
    permutation[rank - 1] = rank - 2;
    return sn_build_transpose(b, x, permutation);
}

/* Whether an operand of type `to` is broadcast to `from` along axis i of it, or where that is known only when it runs. */
static bool may_be_spread(Type from, Type to, int i) {
    int lead = from.rank - to.rank;
    return i >= lead && from.dim[i] != to.dim[i - lead] && !sn_dim_equals(to.dim[i - lead], 1);
}

/* `value` summed over the axes along which an operand of type `to` was broadcast. */
static Value *sum_to(Grad *g, Value *value, Type to) {
    Type from = value->type;
    AttrReduce attr = {0, SN_ARRAY(g->b.graph->arena, int64_t, from.rank)};
    int64_t *axes = (int64_t *)attr.axes;
    int lead = from.rank - to.rank;
    for (int i = 0; i < from.rank; i++) {
        if (i >= lead && from.dim[i] == to.dim[i - lead]) continue;
        if (may_be_spread(from, to, i)) {
            Graph *graph = g->b.graph;
            IndexMap map =
                sn_view_expand(graph->dims, graph->arena, to.rank, to.dim, from.rank, from.dim, NULL);
            value = sn_build_cast(&g->b, value, accumulator_dtype(from.dtype));
            return value ? sn_gradient_of_view(g, &map, to, value) : NULL;
        }
        if (i < lead || !sn_dim_equals(from.dim[i], 1)) axes[attr.count++] = i;
    }
    if (attr.count > 0) {
        value = sn_build_cast(&g->b, value, accumulator_dtype(from.dtype));
        value = value ? sn_build1(&g->b, SN_OP_REDUCE_SUM, &attr, value) : NULL;
    }
    return value ? sn_build_reshape(&g->b, value, to.rank, to.dim) : NULL;
}

void sn_gradient_give(Grad *g, const Node *node, int k, Value *value) {
    if (g->b.status || !sn_gradient_wanted(g, node, k)) return;
    const Value *operand = node->input[k];
    value = sum_to(g, value, operand->type);
    value = value ? sn_build_cast(&g->b, value, gradient_dtype(g, operand)) : NULL;
    while (g->of.count <= operand->id) sn_push(g->scratch, &g->of, NULL);
    Value **sum = &g->of.at[operand->id];
    if (!*sum) {
        *sum = value;
        return;
    }
    int group = g->b.group; /* adding gradients up is an operator of its own to the eager order */
    sn_gradient_regroup(g);
    *sum = value ? op2(&g->b, SN_OP_ADD, *sum, value) : NULL;
    g->b.group = group;
}

/* ---- stand-ins in the column ---- */

void sn_gradient_none(Grad *g, Node *node, Value *dy) {
    (void)dy;
    sn_gradient_fail(g, node, "unsupported, there is no rule for it");
}

void sn_gradient_zero(Grad *g, Node *node, Value *dy) {
    (void)g, (void)node, (void)dy;
}

/* Never called: the node is taken apart before. */
void sn_gradient_expand(Grad *g, Node *node, Value *dy) {
    (void)dy;
    sn_gradient_fail(g, node, "it was to be taken apart");
}

/* ---- the walk ---- */

static bool reads_needed(const Grad *g, const Node *node) {
    for (int k = 0; k < node->input_count; k++)
        if (sn_gradient_wanted(g, node, k)) return true;
    return false;
}

static bool must_take_apart(const Grad *g, const Node *node) {
    if (rules[node->op] == sn_gradient_rotary)
        return sn_gradient_wanted(g, node, 1) || sn_gradient_wanted(g, node, 2);
    if (rules[node->op] == sn_gradient_cross_entropy) return sn_gradient_wanted(g, node, 2);
    if (rules[node->op] == sn_gradient_attention && node->output_count > 1)
        return true; /* its statistic is read */
    return rules[node->op] == sn_gradient_expand;
}

/* Marks what depends on the wanted values, and takes apart what has to be. */
static Status find_needed(Grad *g, Graph *graph, Value **loss) {
    for (Node *node = graph->body->first, *next; node; node = next) {
        next = node->next;
        if (!reads_needed(g, node)) continue;
        if (must_take_apart(g, node)) {
            Node *before = node->previous;
            Value *old = node->output[0], *made;
            TRY(sn_expand_node(graph, node, &made));
            if (*loss == old) *loss = made;
            next = before ? before->next : graph->body->first;
            continue;
        }
        for (int k = 0; k < node->output_count; k++) need(g, node->output[k]);
    }
    return NULL;
}

static Status walk_node(Grad *g, Node *node) {
    Value *dy = gradient_of(g, node->output[0]);
    for (int k = 1; k < node->output_count; k++)
        if (gradient_of(g, node->output[k])) sn_gradient_fail(g, node, "unsupported for its statistics");
    if (!dy || !reads_needed(g, node)) return g->b.status;
    g->b.origin = node->origin;
    sn_gradient_regroup(g);
    dy = sn_build_cast(&g->b, dy, node->output[0]->type.dtype); /* one that is asked for is wider */
    if (!dy) return g->b.status;
    rules[node->op](g, node, dy);
    return g->b.status;
}

static Value *filled(Builder *b, Type type, double number) {
    Value *scalar = sn_build_scalar(b, type.dtype, number);
    return scalar ? sn_build_expand(b, scalar, type.rank, type.dim) : NULL;
}

static Status differentiate(Grad *g, Value *loss, int count, Value *const *value, Value **gradient) {
    Graph *graph = g->b.graph;
    for (int k = 0; k < count; k++) {
        if (!sn_dtype_is_float(value[k]->type.dtype))
            return sn_fail(SN_INVALID, "a gradient by a value of type %s",
                           sn_dtype_name(value[k]->type.dtype));
        need(g, value[k]);
        ask(g, value[k]);
    }
    TRY(find_needed(g, graph, &loss));
    if (!sn_dtype_is_float(loss->type.dtype) || !sn_dim_equals(sn_type_count(graph->dims, loss->type), 1))
        return sn_fail(SN_INVALID, "the loss is not one float");
    while (g->of.count <= loss->id) sn_push(g->scratch, &g->of, NULL);
    g->of.at[loss->id] = filled(&g->b, loss->type, 1);
    for (Node *node = loss->producer, *next; node; node = next) {
        next = node->previous;
        TRY(walk_node(g, node));
    }
    g->b.origin = NULL;
    for (int k = 0; k < count; k++) {
        gradient[k] = gradient_of(g, value[k]);
        Type type = value[k]->type;
        type.dtype = gradient_dtype(g, value[k]);
        if (!gradient[k]) gradient[k] = filled(&g->b, type, 0);
    }
    return g->b.status;
}

Status sn_autodiff(Graph *graph, Value *loss, int count, Value *const *value, Value **gradient) {
    Arena *scratch = sn_arena_child(graph->arena);
    Grad g = {.b = {.graph = graph, .region = graph->body, .phase = SN_PHASE_BACKWARD}, .scratch = scratch};
    Status status = differentiate(&g, loss, count, value, gradient);
    sn_arena_free(scratch);
    return status;
}

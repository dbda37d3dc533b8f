/* Rematerialisation: what the backward pass needs of the forward pass is kept, or computed again from what is kept.
 *
 * The cheapest choice is a minimum cut. Each forward node is an edge whose capacity is the size of its results; the
 * source leads to what cannot be computed again, every node to the nodes that use it, and what the backward pass uses to
 * the sink. The nodes cut are kept; those behind the cut are cloned into the backward pass, each before the first node
 * there that needs it. What is wanted later weighs a little more per step of its distance, as Horace He and others do
 * in PyTorch's partitioner: chains that are computed again stay short.
 *
 * Views and pointwise operators are always computed again, for fuse puts them into the kernels that use them, but for casts
 * of parameters. What costs
 * operations is, when a byte that it saves costs no more of them than `pass->recompute` allows. What is compared with an
 * extremum is not, for it has to have the same bits (extremum.h). A value that alone leads
 * from what is before it to what is behind it (the residual stream between two layers) separates parts of the network.
 * It is kept, or at least each n-th of its kind is: without that a tight budget would compute the whole network again,
 * and hold all of it. */
#include "remat.h"
#include "extremum.h"
#include "min_cut.h"
#include "pass.h"

#include <math.h>
#include <stdlib.h>

enum { FAR = 100 };
static const double step_weight = 1.1;
static const double same_cost = 1.01; /* costs that differ by less are one */

typedef struct Forward {
    Node *node;
    bool heavy;     /* depends on a contraction or on data of an input through one */
    bool separates; /* nothing else heavy leads past it */
    bool compared;  /* it, or what is chosen of it, is compared with an extremum … */
    bool exact;     /* … and it is nothing that is chosen itself */
    int part;       /* how many separators come before it */
    int from;    /* the separator that alone, by free operators, gives it; itself for a separator; -1: none */
    bool wanted; /* a later phase uses a result */
    int distance; /* uses between it and a later phase */
    double bytes, operations;
} Forward;

typedef struct Remat {
    Pass *pass;
    Graph *graph;
    int64_t *symbol;   /* the sizes that are reckoned with */
    int nodes, values; /* of the graph before there were clones */
    int separators;
    int *index_of; /* by node id: position in `forward`, or -1 */
    SN_VEC(Forward) forward;
    bool *kept;    /* per forward node */
    Value **copy;  /* by value id: what stands for it in the backward pass */
    int *group_of; /* the copies' groups, by that of the original */
} Remat;

/* ---- sizes ---- */

void sn_extents_assume(const Dims *dims, int count, const sn_Extent *extent, int64_t *symbol) {
    enum { USUAL = 128 };
    for (int i = 0; i < sn_dims_symbol_count(dims); i++) {
        int64_t least, most;
        sn_dims_symbol_bounds(dims, i, &least, &most);
        symbol[i] = USUAL < least ? least : USUAL > most ? most : USUAL;
        for (int k = 0; k < count; k++)
            if (strcmp(extent[k].name, sn_dims_symbol_name(dims, i)) == 0) symbol[i] = extent[k].value;
    }
}

static double elements(const Remat *r, Type type) {
    double count = 1;
    for (int i = 0; i < type.rank; i++) {
        int64_t extent = 0;
        sn_error_free(sn_dim_eval(type.dim[i], r->symbol, NULL, &extent));
        count *= (double)extent;
    }
    return count;
}

static double reduced(const Remat *r, const Node *node) {
    return elements(r, node->input[0]->type);
}

static double contracted(const Remat *r, const Node *node) {
    Type a = node->input[0]->type;
    return 2 * elements(r, node->output[0]->type) * elements(r, (Type){a.dtype, 1, &a.dim[a.rank - 1]});
}

static double attended(const Remat *r, const Node *node) {
    Type q = node->input[0]->type, k = node->input[1]->type;
    return 4 * elements(r, q) * elements(r, (Type){k.dtype, 1, &k.dim[k.rank - 2]});
}

/* A parameter in the type of the products that read it: these have no place for arithmetic on an operand, so that its cast
 * would be a kernel of its own once more. */
static bool is_parameter_cast(const Node *node) {
    if (node->op != SN_OP_CAST || !((const AttrCast *)node->attr)->elidable) return false;
    const Value *value = node->input[0];
    while (value->producer && value->producer->op == SN_OP_VIEW) value = value->producer->input[0];
    return !value->producer;
}

/* What it costs to compute a node again; a class that is not here costs nothing. Multiply-adds count twice. */
static double operations_of(const Remat *r, const Node *node) {
    static double (*const by_class[])(const Remat *, const Node *) = {[SN_CLASS_REDUCE] = reduced,
                                                                      [SN_CLASS_SCAN] = reduced,
                                                                      [SN_CLASS_CONTRACT] = contracted,
                                                                      [SN_CLASS_ATTENTION] = attended};
    size_t class = sn_op(node->op)->class;
    if (is_parameter_cast(node)) return elements(r, node->output[0]->type);
    bool costs = class < sizeof by_class / sizeof *by_class && by_class[class];
    return costs ? by_class[class](r, node) : 0;
}

/* ---- what there is ---- */

static Forward *forward_of(const Remat *r, const Value *value) {
    const Node *node = value ? value->producer : NULL;
    int at = node && node->id < r->nodes ? r->index_of[node->id] : -1;
    return at < 0 ? NULL : &r->forward.at[at];
}

static bool is_result(const Value *value) {
    for (int i = 0; i < value->users.count; i++)
        if (!value->users.at[i]) return true;
    return false;
}

static void add_forward(Remat *r, Node *node) {
    Forward made = {.node = node, .from = -1, .distance = FAR, .operations = operations_of(r, node)};
    OpClass class = sn_op(node->op)->class;
    made.heavy = class == SN_CLASS_CONTRACT || class == SN_CLASS_ATTENTION;
    for (int i = 0; i < node->input_count && !made.heavy; i++) {
        const Forward *input = node->input[i] ? forward_of(r, node->input[i]) : NULL;
        made.heavy = input && input->heavy;
    }
    for (int i = 0; i < node->output_count; i++) /* Results of the graph are there in any case. */
        if (!is_result(node->output[i]))
            made.bytes += elements(r, node->output[i]->type) * sn_dtype_bytes(node->output[i]->type.dtype);
    r->index_of[node->id] = r->forward.count;
    sn_push(r->pass->arena, &r->forward, made);
}

static void find_forward(Remat *r) {
    r->index_of = SN_ARRAY(r->pass->arena, int, r->nodes);
    for (int i = 0; i < r->nodes; i++) r->index_of[i] = -1;
    for (Node *node = r->graph->body->first; node; node = node->next)
        if (node->phase == SN_PHASE_FORWARD && sn_op(node->op)->level != SN_LEVEL_STRUCTURE)
            add_forward(r, node);
}

/* Whether a later phase uses it, and how many uses lie between. */
static void find_uses(Remat *r) {
    for (int i = r->forward.count - 1; i >= 0; i--) {
        Forward *f = &r->forward.at[i];
        for (int k = 0; k < f->node->output_count; k++) {
            const Value *value = f->node->output[k];
            for (int u = 0; u < value->users.count; u++) {
                const Node *user = value->users.at[u];
                if (!user) continue;
                int at = r->index_of[user->id], distance = at < 0 ? 0 : r->forward.at[at].distance + 1;
                f->wanted |= at < 0;
                if (distance < f->distance) f->distance = distance;
            }
        }
    }
}

/* Operators whose result is one of their operands as it is, but for its sign. */
static bool chooses(const Node *node) {
    static const bool list[SN_OP_COUNT] = {[SN_OP_VIEW] = true, [SN_OP_MAX] = true, [SN_OP_MIN] = true,
                                           [SN_OP_NEG] = true,  [SN_OP_ABS] = true, [SN_OP_RELU] = true};
    return list[node->op];
}

static void be_exact(Remat *r, const Value *value) {
    Forward *f = forward_of(r, value);
    if (!f || f->compared) return;
    f->compared = true;
    f->exact = !chooses(f->node);
    for (int i = 0; i < f->node->input_count && !f->exact; i++)
        if (f->node->input[i]) be_exact(r, f->node->input[i]);
}

/* Forward ones too, which may be made again in a later phase, beside an extremum that was kept. */
static void find_compared(Remat *r) {
    Node *extremum;
    for (const Node *node = r->graph->body->first; node; node = node->next) {
        const Value *value = sn_compared_with_extremum(node, &extremum);
        if (value) be_exact(r, value);
    }
}

/* The last forward node that uses a result of it; itself when there is none. */
static int last_use(const Remat *r, int index) {
    int last = index;
    const Node *node = r->forward.at[index].node;
    for (int k = 0; k < node->output_count; k++)
        for (int u = 0; u < node->output[k]->users.count; u++) {
            const Node *user = node->output[k]->users.at[u];
            int at = user ? r->index_of[user->id] : -1;
            if (at > last) last = at;
        }
    return last;
}

/* The separator that all heavy inputs of a free operator come from, or -1. */
static int comes_from(const Remat *r, const Forward *f) {
    int from = -1;
    if (f->operations > 0) return -1;
    for (int i = 0; i < f->node->input_count; i++) {
        const Forward *input = f->node->input[i] ? forward_of(r, f->node->input[i]) : NULL;
        if (!input || !input->heavy) continue;
        if (input->from < 0 || (from >= 0 && from != input->from)) return -1;
        from = input->from;
    }
    return from;
}

/* Counts, in order, the heavy values on their way to a later node: one that is alone separates, unless an earlier one
 * does that gives it for nothing. */
static void find_separators(Remat *r) {
    int *ends = SN_ARRAY(r->pass->arena, int, r->forward.count);
    for (int i = 0, open = 0; i < r->forward.count; i++) {
        open -= ends[i]; /* those that this node is the last to use */
        Forward *f = &r->forward.at[i];
        f->part = r->separators;
        if (!f->heavy) continue;
        int last = last_use(r, i);
        f->from = comes_from(r, f);
        f->separates = open == 0 && last > i && f->from < 0;
        if (f->separates) f->from = i, r->separators++;
        if (last > i) open++, ends[last]++;
    }
}

/* ---- the choice ---- */

static bool may_be_computed_again(const Remat *r, const Forward *f) {
    const Recompute *recompute = r->pass->recompute, none = {0};
    if (!recompute) recompute = &none;
    const Effort *effort = f->part < recompute->parts ? &recompute->more : &recompute->less;
    if (f->separates && (effort->apart <= 1 || (f->part + 1) % effort->apart == 0)) return false;
    OpClass class = sn_op(f->node->op)->class;
    if (f->exact || class == SN_CLASS_NONE || class == SN_CLASS_PACK) return false;
    return f->operations <= effort->operations * f->bytes;
}

static void choose(Remat *r) {
    int count = r->forward.count, source = 2 * count, sink = source + 1;
    Flow *flow = sn_flow_new(r->pass->arena, 2 * count + 2);
    for (int i = 0; i < count; i++) {
        const Forward *f = &r->forward.at[i];
        double weight = f->bytes * pow(step_weight, f->distance);
        sn_flow_edge(flow, 2 * i, 2 * i + 1, weight < 1e17 ? (int64_t)weight : (int64_t)1e17);
        if (!may_be_computed_again(r, f)) sn_flow_edge(flow, source, 2 * i, SN_FLOW_UNBOUNDED);
        if (f->wanted) sn_flow_edge(flow, 2 * i + 1, sink, SN_FLOW_UNBOUNDED);
        for (int k = 0; k < f->node->input_count; k++) {
            const Forward *input = f->node->input[k] ? forward_of(r, f->node->input[k]) : NULL;
            if (input) sn_flow_edge(flow, 2 * (int)(input - r->forward.at) + 1, 2 * i, SN_FLOW_UNBOUNDED);
        }
    }
    bool *side = SN_ARRAY(r->pass->arena, bool, 2 * count + 2);
    sn_flow_cut(flow, source, sink, side);
    r->kept = SN_ARRAY(r->pass->arena, bool, count);
    for (int i = 0; i < count; i++) r->kept[i] = side[2 * i];
}

/* ---- the rewrite ---- */

static int group_of(Remat *r, int group) {
    if (group == 0) return 0;
    if (!r->group_of[group]) r->group_of[group] = r->graph->next_group++;
    return r->group_of[group];
}

static Value *copy_of(Remat *r, Value *value, Node *user);

/* The node once more, in the phase of `user` and before it. */
static void clone_node(Remat *r, const Forward *f, Node *user) {
    const Node *node = f->node;
    Value **input = SN_ARRAY(r->pass->arena, Value *, node->input_count);
    for (int i = 0; i < node->input_count; i++)
        input[i] = node->input[i] ? copy_of(r, node->input[i], user) : NULL;
    Node *made = sn_node_new(r->graph, node->op, node->attr, node->input_count, input, node->output_count);
    made->origin = node->origin;
    made->phase = user->phase;
    made->group = group_of(r, node->group);
    for (int i = 0; i < node->output_count; i++) {
        made->output[i]->type = node->output[i]->type;
        made->output[i]->known = node->output[i]->known;
        r->copy[node->output[i]->id] = made->output[i];
    }
    sn_node_insert_before(made, user);
}

/* What `user`, of a later phase, reads in the place of `value`. Clones are made at their first use, and later users
 * come behind it. */
static Value *copy_of(Remat *r, Value *value, Node *user) {
    const Forward *f = forward_of(r, value);
    if (!f || r->kept[f - r->forward.at]) return value;
    if (!r->copy[value->id]) clone_node(r, f, user);
    return r->copy[value->id];
}

static bool rewrite(Remat *r) {
    bool changed = false;
    r->copy = SN_ARRAY(r->pass->arena, Value *, r->values);
    r->group_of = SN_ARRAY(r->pass->arena, int, r->graph->next_group + 1);
    for (Node *node = r->graph->body->first; node; node = node->next) {
        if (node->phase == SN_PHASE_FORWARD || node->id >= r->nodes) continue;
        for (int i = 0; i < node->input_count; i++) {
            Value *value = node->input[i];
            if (!value) continue;
            Value *copy = copy_of(r, value, node);
            if (copy == value) continue;
            sn_node_set_input(node, i, copy);
            changed = true;
        }
    }
    return changed;
}

/* ---- what is said of it ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The costs at which more could be computed again. */
static void list_costs(const Remat *r, RematReport *report) {
    double *cost = SN_ARRAY(r->pass->remarks->arena, double, r->forward.count);
    int count = 0, kept = 0;
    for (int i = 0; i < r->forward.count; i++) {
        const Forward *f = &r->forward.at[i];
        if (f->operations > 0 && f->bytes > 0) cost[count++] = f->operations / f->bytes;
    }
    qsort(cost, (size_t)count, sizeof *cost, by_value);
    /* Of those that are nearly the same, the greatest is left. */
    for (int i = 0; i < count; i++)
        if (i + 1 == count || cost[i + 1] > same_cost * cost[i]) cost[kept++] = cost[i];
    report->cost = cost;
    report->cost_count = kept;
}

static void tell(const Remat *r) {
    double kept = 0, again = 0;
    for (int i = 0; i < r->forward.count; i++) {
        const Forward *f = &r->forward.at[i];
        bool cloned = f->node->output_count && r->copy[f->node->output[0]->id];
        if (cloned) again += f->operations;
        if (r->kept[i] && f->wanted) kept += f->bytes;
    }
    sn_pass_remark(r->pass, NULL, true, "%.3f MB kept for the backward pass, %.3f GFLOP computed again",
                   1e-6 * kept, 1e-9 * again);
    if (!r->pass->remat) return;
    *r->pass->remat = (RematReport){.parts = r->separators + 1, .kept = kept, .again = again};
    list_costs(r, r->pass->remat);
}

static bool has_later_phases(const Graph *graph) {
    for (const Node *node = graph->body->first; node; node = node->next)
        if (node->phase != SN_PHASE_FORWARD) return true;
    return false;
}

bool sn_remat(Pass *pass, Graph *graph) {
    if (!has_later_phases(graph)) return false;
    Remat r = {.pass = pass, .graph = graph, .nodes = graph->next_node, .values = graph->next_value};
    r.symbol = SN_ARRAY(pass->arena, int64_t, sn_dims_symbol_count(graph->dims));
    sn_extents_assume(graph->dims, pass->extent_count, pass->extent, r.symbol);
    find_forward(&r);
    find_uses(&r);
    find_separators(&r);
    find_compared(&r);
    if (!sn_pass_rewrite(pass)) return false;
    choose(&r);
    bool changed = rewrite(&r);
    tell(&r);
    if (changed) sn_region_sweep(graph->body);
    return changed;
}

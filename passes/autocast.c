/* Mixed precision by operator, as PyTorch's autocast decides it: products take their operands in a type of 16 bits and sum in
 * f32, functions that lose digits there stay f32, and everything else takes the widest type of what it reads.
 *
 * Nothing but values of f32 changes its type, and the graph's inputs, states and results keep theirs. Constants and
 * parameters of at most one axis (numbers, biases, gains) do not widen what they meet: there the arithmetic is f32 and its
 * result of 16 bits, which costs a kernel nothing. The casts are elidable: kernels round where they store, not in between. */
#include "infer.h"
#include "pass.h"
#include "scalar.h"

#include <math.h>

typedef enum CastClass { CAST_LOW, CAST_WIDE, CAST_FOLLOW } CastClass;

static const CastClass class_of[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, ...) [code] = CAST_##autocast,
#include "ops.def"
#undef OP
};

enum { MOST_OUTPUTS = 4 }; /* of an operator that is not a region */

typedef struct Fact {
    bool lowered; /* f32 in the model, of the low type now */
    bool fixed;   /* constants and parameters decide it */
    Value *low;   /* of f32: its cast, which all products share; NULL: there is none yet */
} Fact;

typedef struct Autocast {
    Pass *pass;
    Graph *graph;
    DType low;
    SN_VEC(Fact) fact; /* by value id */
} Autocast;

/* Valid until it is asked about another value. */
static Fact *fact_of(Autocast *a, const Value *value) {
    while (a->fact.count <= value->id) sn_push(a->pass->arena, &a->fact, (Fact){0});
    return &a->fact.at[value->id];
}

static bool is_lowered(Autocast *a, const Value *value) {
    return value && fact_of(a, value)->lowered;
}

static bool is_wide(const Value *value) {
    return value && value->type.dtype == SN_F32;
}

static Value *cast_to(Builder *b, Value *value, DType to) {
    return sn_build1(b, SN_OP_CAST, &(AttrCast){to, true}, value);
}

/* What an operator of its own, placed where `value` is known, is built with. */
static Builder builder_behind(Autocast *a, const Value *value) {
    const Node *producer = value->producer;
    Node *before = producer ? producer->next : a->graph->body->first;
    Builder b = {.graph = a->graph, .region = a->graph->body, .before = before};
    if (producer) b.origin = producer->origin, b.phase = producer->phase;
    b.group = a->graph->next_group++;
    return b;
}

static Value *low_form(Autocast *a, Value *value) {
    if (!is_wide(value)) return value;
    if (fact_of(a, value)->low) return fact_of(a, value)->low;
    Builder b = builder_behind(a, value);
    Value *low = cast_to(&b, value, a->low);
    a->pass->status = b.status;
    if (!low) return value;
    bool fixed = fact_of(a, value)->fixed;
    *fact_of(a, low) = (Fact){.lowered = true, .fixed = fixed};
    fact_of(a, value)->low = low;
    return low;
}

/* ---- what widens ---- */

/* A number, or one of each row or column: by itself it is no reason to compute wider, unless the low type has no such
 * number. */
static bool is_slight(Autocast *a, const Value *value) {
    int axes = 0;
    double number;
    for (int i = 0; i < value->type.rank; i++) axes += !sn_dim_equals(value->type.dim[i], 1);
    if (!fact_of(a, value)->fixed || axes > 1) return false;
    return !sn_value_is_splat(value, &number) || isinf(number) || !isinf(sn_scalar_round(a->low, number));
}

static bool follows_low(Autocast *a, const Node *node) {
    bool low = false;
    for (int k = 0; k < node->input_count; k++) {
        if (is_wide(node->input[k]) && !is_slight(a, node->input[k])) return false;
        low |= is_lowered(a, node->input[k]);
    }
    return low;
}

/* A cache: an input of the graph with more behind it. To cast all of it in every run would cost more than a product of
 * f32 does. */
static bool is_cache(const Value *value) {
    const Node *node = value->producer;
    while (node && node->op == SN_OP_VIEW) node = node->input[0]->producer;
    if (!node || (node->op != SN_OP_CONCAT && node->op != SN_OP_APPEND)) return false;
    for (int k = 0; k < node->input_count; k++) {
        const Value *piece = node->input[k];
        while (piece->producer && piece->producer->op == SN_OP_VIEW) piece = piece->producer->input[0];
        if (!piece->producer) return true;
    }
    return false;
}

/* Whether the value is made of integers by scales and views. A CPU's products read those integers. */
static bool is_dequantised(const Value *value) {
    enum { DEEPEST = 16 };
    for (int depth = 0; depth < DEEPEST && value->producer; depth++) {
        const Node *node = value->producer;
        if (node->op == SN_OP_CAST && sn_dtype_is_int(node->input[0]->type.dtype)) return true;
        bool through = node->op == SN_OP_VIEW || node->op == SN_OP_CAST || node->op == SN_OP_MUL ||
                       node->op == SN_OP_SUB || node->op == SN_OP_DIV;
        if (!through) return false;
        value = node->input[0];
    }
    return false;
}

/* Exporters write the angles of rotary embeddings so, positions by frequencies, and 16 bits would hold no position above
 * a few hundred. There is nothing to gain either: each element is a single multiplication. */
static bool is_outer(const Node *node) {
    const Type left = node->input[0]->type;
    return left.rank > 0 && sn_dim_equals(left.dim[left.rank - 1], 1);
}

/* NULL, or why a product stays f32. */
static const char *stays_wide(const Autocast *a, const Node *node) {
    for (int k = 0; k < 2; k++)
        if (a->pass->target->kind == SN_TARGET_CPU && is_dequantised(node->input[k]))
            return "the processor multiplies the integers that an operand is made of";
    if (sn_op(node->op)->class != SN_CLASS_ATTENTION) return is_outer(node) ? "it sums nothing" : NULL;
    for (int k = 1; k < 3; k++)
        if (is_wide(node->input[k]) && is_cache(node->input[k])) return "it reads a cache of f32";
    return NULL;
}

/* ---- nodes ---- */

/* Operands have changed their types. */
static bool infer(Autocast *a, Node *node) {
    bool wide[MOST_OUTPUTS];
    for (int k = 0; k < node->output_count && k < MOST_OUTPUTS; k++) wide[k] = is_wide(node->output[k]);
    if (!a->pass->status) a->pass->status = sn_infer_node(a->graph, node);
    for (int k = 0; k < node->output_count && k < MOST_OUTPUTS && !a->pass->status; k++)
        if (wide[k] && !is_wide(node->output[k])) fact_of(a, node->output[k])->lowered = true;
    return !a->pass->status;
}

/* The operands that a product takes in the low type; the bias of attention is added in f32. */
static int product_operands(const Node *node) {
    return sn_op(node->op)->class == SN_CLASS_ATTENTION ? 3 : node->input_count;
}

static void make_low(Autocast *a, Node *node) {
    for (int k = 0; k < product_operands(node); k++) sn_node_set_input(node, k, low_form(a, node->input[k]));
    if (infer(a, node))
        sn_pass_remark(a->pass, node->origin, true, "%s in %s", sn_op(node->op)->text, sn_dtype_name(a->low));
}

/* Operands of the low type are widened as a part of the node. */
static void make_wide(Autocast *a, Node *node) {
    bool any = false;
    Builder b = sn_builder_before(a->graph, node);
    for (int k = 0; k < node->input_count; k++) {
        if (!is_lowered(a, node->input[k])) continue;
        Value *wide = cast_to(&b, node->input[k], SN_F32);
        if (wide) sn_node_set_input(node, k, wide);
        any = true;
    }
    if (!a->pass->status) a->pass->status = b.status;
    if (any) infer(a, node);
}

/* The node in f32, and its results as a part of it in the low type. */
static void make_low_after(Autocast *a, Node *node) {
    make_wide(a, node);
    for (int k = 0; k < node->output_count && !a->pass->status; k++) {
        Value *wide = node->output[k];
        if (!is_wide(wide)) continue;
        Builder b = builder_behind(a, wide);
        b.group = node->group;
        Value *low = cast_to(&b, wide, a->low);
        a->pass->status = b.status;
        if (!low) return;
        sn_value_replace(wide, low);
        sn_node_set_input(low->producer, 0, wide);
        *fact_of(a, low) = (Fact){.lowered = true};
        fact_of(a, wide)->low = low;
    }
}

static void follow(Autocast *a, Node *node) {
    bool mixed = false;
    for (int k = 0; k < node->input_count; k++) mixed |= is_wide(node->input[k]);
    if (!follows_low(a, node))
        make_wide(a, node);
    else if (mixed)
        make_low_after(a, node);
    else
        infer(a, node);
}

static bool is_product(Autocast *a, const Node *node) {
    if (class_of[node->op] != CAST_LOW) return false;
    return is_wide(node->input[0]) || is_lowered(a, node->input[0]);
}

static void visit(Autocast *a, Node *node) {
    bool fixed = true;
    for (int k = 0; k < node->input_count; k++) fixed &= !node->input[k] || fact_of(a, node->input[k])->fixed;
    for (int k = 0; k < node->output_count; k++) fact_of(a, node->output[k])->fixed = fixed;
    if (class_of[node->op] == CAST_FOLLOW) {
        follow(a, node);
        return;
    }
    bool wanted = is_product(a, node) && !fixed;
    const char *reason = wanted ? stays_wide(a, node) : NULL;
    if (reason)
        sn_pass_remark(a->pass, node->origin, false, "%s stays f32: %s", sn_op(node->op)->text, reason);
    if (wanted && !reason && sn_pass_rewrite(a->pass))
        make_low(a, node);
    else
        make_wide(a, node);
}

/* The graph's results have the types that they had. */
static void widen_results(Autocast *a) {
    Region *body = a->graph->body;
    for (int i = 0; i < body->result.count && !a->pass->status; i++) {
        Value *value = body->result.at[i];
        if (!is_lowered(a, value)) continue;
        Builder b = builder_behind(a, value);
        if (value->producer) b.group = value->producer->group;
        Value *wide = cast_to(&b, value, SN_F32);
        a->pass->status = b.status;
        if (wide) sn_region_set_result(body, i, wide);
    }
}

bool sn_autocast(Pass *pass, Graph *graph) {
    static const DType low[] = {[SN_AUTOCAST_BF16] = SN_BF16, [SN_AUTOCAST_F16] = SN_F16};
    if (pass->autocast == SN_AUTOCAST_NONE) return false;
    int before = pass->rewrites;
    Autocast a = {.pass = pass, .graph = graph, .low = low[pass->autocast]};
    for (int i = 0; i < graph->states.count; i++)
        fact_of(&a, graph->body->param.at[graph->states.at[i].input])->fixed = true;
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        visit(&a, node);
    }
    widen_results(&a);
    /* What a loop makes is cast in front of all nodes, also of those that the loop waits for. */
    if (graph->loops.count && !pass->status && !sn_region_sort(graph->body))
        pass->status = sn_fail(SN_INTERNAL, "a loop that waits for itself");
    return pass->rewrites > before;
}

/* Sibling contractions: products of one value with several constant matrices (Q, K and V of an attention
 * layer) become one product with the matrices side by side, and slices of its result. Their constant biases
 * join too. */
#include "pass.h"

enum { MAX_SIBLINGS = 8 };

typedef struct Sibling {
    Node *product;
    Value *bias; /* a constant of rank 1, or NULL */
    Value *end;  /* the product, or the sum with the bias */
} Sibling;

/* A constant, or a view of one. */
static bool is_constant(const Value *value) {
    const Node *node = value->producer;
    if (node && node->op == SN_OP_VIEW) node = node->input[0]->producer;
    return node && node->op == SN_OP_CONSTANT;
}

static Node *only_user(const Value *value) {
    return value->users.count == 1 ? value->users.at[0] : NULL;
}

/* The constant bias vector that `product` gets at once, with its sum in *end. */
static Value *bias_of(Node *product, Value **end) {
    Node *add = only_user(product->output[0]);
    if (!add || add->op != SN_OP_ADD) return NULL;
    Value *other = add->input[add->input[0] == product->output[0]];
    Dim columns = product->input[1]->type.dim[1];
    if (!is_constant(other) || other->type.rank != 1 || other->type.dim[0] != columns) return NULL;
    *end = add->output[0];
    return other;
}

/* Arithmetic on the result would ride in the product's own epilogue, which a slice of a wider one cannot give
 * it. */
static bool has_epilogue(const Value *value) {
    for (int i = 0; i < value->users.count; i++) {
        const Node *user = value->users.at[i];
        if (!user) continue;
        if (user->op == SN_OP_VIEW ? has_epilogue(user->output[0])
                                   : sn_op(user->op)->class == SN_CLASS_POINTWISE && user->op != SN_OP_ROTARY)
            return true;
    }
    return false;
}

static bool is_candidate(const Node *node) {
    return node && node->op == SN_OP_MATMUL && node->input[1]->type.rank == 2 &&
           node->input[0]->type.rank >= 2 && is_constant(node->input[1]);
}

static int find_siblings(Pass *pass, const Value *input, Sibling *sibling) {
    int count = 0;
    for (int i = 0; i < input->users.count && count < MAX_SIBLINGS; i++) {
        Node *node = input->users.at[i];
        if (!is_candidate(node) || node->input[0] != input) continue;
        if (count > 0 && node->phase != sibling[0].product->phase) continue;
        Sibling found = {.product = node, .end = node->output[0]};
        found.bias = bias_of(node, &found.end);
        if (has_epilogue(found.end)) {
            sn_pass_remark(pass, node->origin, false, "stays alone: its result has an epilogue of its own");
            continue;
        }
        if (count > 0 && (!found.bias != !sibling[0].bias ||
                          node->input[1]->type.dtype != sibling[0].product->input[1]->type.dtype))
            continue;
        sibling[count++] = found;
    }
    return count;
}

static Value *side_by_side(Builder *b, const Sibling *sibling, int count, bool bias) {
    Value *part[MAX_SIBLINGS];
    for (int i = 0; i < count; i++) part[i] = bias ? sibling[i].bias : sibling[i].product->input[1];
    AttrAxis axis = {bias ? 0 : 1};
    return sn_build(b, SN_OP_CONCAT, &axis, count, part);
}

static void merge_siblings(Pass *pass, Graph *graph, const Sibling *sibling, int count) {
    Builder builder = sn_builder_before(graph, sibling[0].product);
    for (int i = 1; i < count; i++)
        builder.origin = sn_origin_union(graph, builder.origin, sibling[i].product->origin);
    Value *weights = side_by_side(&builder, sibling, count, false);
    Value *whole = sn_build2(&builder, SN_OP_MATMUL, NULL, sibling[0].product->input[0], weights);
    if (sibling[0].bias)
        whole = sn_build2(&builder, SN_OP_ADD, NULL, whole, side_by_side(&builder, sibling, count, true));
    Dim start = sn_dim(graph->dims, 0);
    for (int i = 0; i < count && whole; i++) {
        Dim columns = sibling[i].product->input[1]->type.dim[1];
        Value *slice = sn_build_slice(&builder, whole, whole->type.rank - 1, start, columns, 1);
        if (slice) sn_value_replace(sibling[i].end, slice);
        start = sn_dim_add(graph->dims, start, columns);
    }
    pass->status = builder.status;
    sn_pass_remark(pass, builder.origin, true, "%d products of one value became one", count);
}

bool sn_merge(Pass *pass, Graph *graph) {
    bool changed = false;
    for (Node *node = graph->body->first; node && !pass->status; node = node->next) {
        Sibling sibling[MAX_SIBLINGS];
        if (!is_candidate(node) || sn_value_use_count(node->output[0]) == 0) continue;
        int count = find_siblings(pass, node->input[0], sibling);
        if (count < 2 || sibling[0].product != node || !sn_pass_rewrite(pass)) continue;
        merge_siblings(pass, graph, sibling, count);
        changed = true;
    }
    if (!changed || pass->status) return changed;
    sn_region_sweep(graph->body);
    /* Constants of the later siblings may stand behind the merged product. */
    if (!sn_region_sort(graph->body)) pass->status = sn_fail(SN_INTERNAL, "merging products made a cycle");
    return true;
}

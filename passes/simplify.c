/* Folding, algebra, view merging, common subexpressions and dead code, until nothing changes. */
#include "infer.h"
#include "simplify_internal.h"

enum { MAX_ROUNDS = 16 };

static SimplifyRule *const rules[] = {sn_fold_known, sn_fold_constant, sn_merge_view, sn_algebra};

/* What reads shape values that were not known before may know its own now, and ask for checks. */
static Status learn(Graph *graph, const Value *value) {
    for (int i = 0; i < value->users.count; i++)
        if (value->users.at[i]) TRY(sn_infer_node(graph, value->users.at[i]));
    return NULL;
}

static bool rewrite_node(Pass *pass, Graph *graph, Node *node) {
    for (size_t r = 0; r < sizeof rules / sizeof *rules && !pass->status; r++) {
        Builder builder = sn_builder_before(graph, node);
        Value *value = rules[r](pass, &builder, node);
        if (!pass->status) pass->status = builder.status;
        if (pass->status || !value) continue;
        if (!sn_pass_rewrite(pass)) return false;
        bool learned = value->known && !node->output[0]->known;
        sn_value_replace(node->output[0], value);
        sn_node_remove(node);
        if (learned) pass->status = learn(graph, value);
        return true;
    }
    return false;
}

static bool rewrite_all(Pass *pass, Graph *graph) {
    bool changed = false;
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        if (node->output_count == 1 && sn_value_use_count(node->output[0]) > 0)
            changed |= rewrite_node(pass, graph, node);
    }
    return changed;
}

/* ---- common subexpressions ---- */

static bool same_node(const Node *a, const Node *b) {
    if (a->op != b->op || a->input_count != b->input_count || a->output_count != b->output_count || a->body ||
        b->body)
        return false;
    for (int k = 0; k < a->input_count; k++)
        if (a->input[k] != b->input[k]) return false;
    return sn_attr_equal(sn_op(a->op)->attr, a->attr, b->attr);
}

static Hash node_hash(const Node *node) {
    Hash hash = sn_hash_u64((Hash){0}, (uint64_t)node->op);
    for (int k = 0; k < node->input_count; k++)
        hash = sn_hash_u64(hash, node->input[k] ? (uint64_t)node->input[k]->id : UINT64_MAX);
    return sn_attr_hash(sn_op(node->op)->attr, node->attr, hash);
}

static bool share_equal_nodes(Pass *pass, Graph *graph) {
    bool changed = false;
    Map *seen = sn_map_new(pass->arena);
    for (Node *node = graph->body->first, *next; node; node = next) {
        next = node->next;
        Hash hash = node_hash(node);
        Node **slot = (Node **)sn_map_at(seen, &hash, sizeof hash);
        if (!*slot) *slot = node;
        if (*slot == node || !same_node(*slot, node) || (*slot)->phase != node->phase) continue;
        if (!sn_pass_rewrite(pass)) return changed;
        (*slot)->origin = sn_origin_union(graph, (*slot)->origin, node->origin);
        for (int k = 0; k < node->output_count; k++) sn_value_replace(node->output[k], (*slot)->output[k]);
        sn_node_remove(node);
        changed = true;
    }
    return changed;
}

bool sn_simplify(Pass *pass, Graph *graph) {
    bool any = false;
    for (int round = 0; round < MAX_ROUNDS && !pass->status; round++) {
        bool changed = rewrite_all(pass, graph);
        if (!pass->status) changed |= share_equal_nodes(pass, graph);
        if (!pass->status) changed |= sn_region_sweep(graph->body);
        if (!changed) break;
        any = true;
    }
    return any;
}

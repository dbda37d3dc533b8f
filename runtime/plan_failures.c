#include "map.h"
#include "plan_order.h"

/* A node of a cluster that compares indices with a number of rows. */
typedef struct Lookup {
    const Value *indices;
    Dim rows;
} Lookup;

static bool find_lookup(const Node *node, Lookup *out) {
    if (node->op == SN_OP_SCATTER_ADD)
        *out = (Lookup){node->input[0], ((const AttrScatter *)node->attr)->rows};
    else if (node->op == SN_OP_GATHER || node->op == SN_OP_GATHER_ELEMENTS)
        *out = (Lookup){node->input[1], node->input[0]->type.dim[((const AttrAxis *)node->attr)->axis]};
    else
        return false;
    return true;
}

/* The operand of the cluster that a value of its body shows elements of, through views; NULL: none. *whole is cleared
 * where that may not be all of them. */
static const Value *find_operand(Dims *dims, const Node *cluster, const Value *value, bool *whole) {
    while (value->producer) {
        if (value->producer->op != SN_OP_VIEW) return NULL;
        const Value *source = value->producer->input[0];
        *whole &= sn_view_is_reshape(dims, value->producer->attr, source->type.dim);
        value = source;
    }
    return cluster->input[value->index];
}

/* Whether every element of a value of the body is computed: it is stored, or something that needs each of its elements
 * is. */
static bool is_computed(Dims *dims, const Region *body, const Value *value) {
    for (int i = 0; i < body->result.count; i++)
        if (body->result.at[i] == value) return true;
    for (int i = 0; i < value->users.count; i++) {
        const Node *user = value->users.at[i];
        if (!user) continue;
        OpClass class = sn_op(user->op)->class;
        bool all = class == SN_CLASS_POINTWISE || class == SN_CLASS_REDUCE ||
                   (user->op == SN_OP_VIEW && sn_view_is_reshape(dims, user->attr, value->type.dim));
        if (all && is_computed(dims, body, user->output[0])) return true;
    }
    return false;
}

typedef struct LookupKey {
    const Value *indices;
    Dim rows;
} LookupKey;

static void **place_of(Map *map, const Value *indices, Dim rows) {
    LookupKey key = {indices, rows};
    return sn_map_at(map, &key, sizeof key);
}

static const Node *node_at(const Node *cluster, int position) {
    const Node *node = cluster->body->first;
    for (int i = 1; i < position; i++) node = node->next;
    return node;
}

/* Whether all that can make the step fail was looked at before. */
static bool is_known_to_pass(Map *passed, Dims *dims, const PlanStep *step) {
    for (int i = 0; i < step->kernel->fault_count; i++) {
        Lookup lookup;
        bool whole = true;
        if (!find_lookup(node_at(step->cluster, step->kernel->fault[i]), &lookup)) return false;
        const Value *indices = find_operand(dims, step->cluster, lookup.indices, &whole);
        if (!indices || !*place_of(passed, indices, lookup.rows)) return false;
    }
    return true;
}

static void note_lookups(Map *passed, Dims *dims, const PlanStep *step) {
    const Region *body = step->cluster->body;
    for (const Node *node = body->first; node; node = node->next) {
        Lookup lookup;
        bool whole = true;
        if (!find_lookup(node, &lookup) || !is_computed(dims, body, node->output[0])) continue;
        const Value *indices = find_operand(dims, step->cluster, lookup.indices, &whole);
        if (indices && whole) *place_of(passed, indices, lookup.rows) = (void *)node;
    }
}

void sn_plan_find_failures(Arena *arena, PlanStep *step, int count) {
    Map *passed = sn_map_new(arena);
    for (int i = 0; i < count; i++) {
        Dims *dims = step[i].cluster->region->graph->dims;
        step[i].fails = !is_known_to_pass(passed, dims, &step[i]);
        note_lookups(passed, dims, &step[i]);
    }
}

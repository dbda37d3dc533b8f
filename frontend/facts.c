#include "facts.h"

static bool contains(Dim dim, Dim part) {
    if (dim == part) return true;
    for (int k = 0; k < dim->count; k++)
        if (contains(dim->operand[k], part)) return true;
    return false;
}

static bool is_extreme(Dim dim) {
    return dim->kind == SN_DIM_MIN || dim->kind == SN_DIM_MAX;
}

/* The Dims that occur in the shapes of a graph's values, with all their parts. */
typedef struct Shapes {
    const Graph *graph;
    Map *seen;
} Shapes;

static void collect(Shapes *shapes, Dim dim) {
    void **slot = sn_map_at(shapes->seen, &dim, sizeof dim);
    if (*slot) return;
    *slot = shapes;
    for (int k = 0; k < dim->count; k++) collect(shapes, dim->operand[k]);
}

static Shapes shapes_of(const Graph *graph, Arena *scratch) {
    Shapes shapes = {graph, sn_map_new(scratch)};
    for (const Node *node = graph->body->first; node; node = node->next)
        for (int i = 0; i < node->output_count; i++)
            for (int k = 0; k < node->output[i]->type.rank; k++)
                collect(&shapes, node->output[i]->type.dim[k]);
    return shapes;
}

/* The check comes along in the words that were there before the fact, so that fact and check have one number.
 */
static bool carry_fact(const Check *check, Dim from, Dim settled, Graph *to) {
    Dim here = sn_dim_replace(to->dims, from, NULL, NULL, 0);
    Dim there = sn_dim_replace(to->dims, settled, NULL, NULL, 0);
    if (!is_extreme(here) || contains(there, here)) return false;
    Check copy = {
        .kind = check->kind,
        .a = sn_dim_replace(to->dims, check->a, NULL, NULL, 0),
        .b = sn_dim_replace(to->dims, check->b, NULL, NULL, 0),
        .origin = check->origin ? sn_origin(to, check->origin->primary) : NULL,
    };
    sn_push(to->arena, &to->checks, copy);
    sn_dims_equate(to->dims, here, there);
    return true;
}

static bool learn(const Shapes *shapes, const Check *check, Dim from, Dim settled, Graph *to) {
    if (!is_extreme(from) || !sn_map_get(shapes->seen, &from, sizeof from)) return false;
    return carry_fact(check, from, settled, to);
}

static bool learn_from(const Shapes *shapes, const Check *check, Graph *to) {
    Dims *dims = shapes->graph->dims;
    Dim a = check->a, b = check->b;
    if (check->kind == SN_CHECK_EQUAL)
        return learn(shapes, check, a, b, to) || learn(shapes, check, b, a, to);
    if (check->kind != SN_CHECK_AT_MOST) return false;
    bool least = learn(shapes, check, sn_dim_min(dims, a, b), a, to);
    return learn(shapes, check, sn_dim_max(dims, a, b), b, to) || least;
}

bool sn_facts_carry(const Graph *from, Graph *to) {
    Arena *scratch = sn_arena_child(to->arena);
    Shapes shapes = shapes_of(from, scratch);
    bool learnt = false;
    int known = sn_dims_fact_count(from->dims);
    for (int i = 0; i < known; i++) {
        Dim old, settled;
        sn_dims_fact(from->dims, i, &old, &settled);
        carry_fact(&from->checks.at[i], old, settled, to);
    }
    for (int i = known; i < from->checks.count; i++)
        learnt = learn_from(&shapes, &from->checks.at[i], to) || learnt;
    sn_arena_free(scratch);
    return learnt;
}

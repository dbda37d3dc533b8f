/* Gradients that a model asks for (ONNX's Gradient) become the nodes that compute them.
 *
 * gradient(y, named…, given…) has as output k the derivative of y by named[k], where every named value is replaced by the
 * given one. The part of the graph between them is copied with the given values, which end what is differentiated, as
 * independent inputs would; simplify shares what is then twice the same. */
#include "autodiff.h"
#include "pass.h"

/* Gradients of gradients of … make graphs several times as large each; a file may ask for more than there is room for. */
enum { MOST_NODES = 1 << 20 };

typedef struct Copy {
    Graph *graph;
    Arena *scratch;
    Builder b;     /* before the gradient */
    Value **value; /* by id: what stands for a value in the copy; NULL: itself */
    bool *wanted;  /* by id of a value: y depends on it */
    int nodes;     /* before there were copies; their values and no others are in these lists */
} Copy;

/* The value itself, by a node of its own. */
static Value *leaf(Copy *copy, Value *given) {
    return sn_build1(&copy->b, SN_OP_CAST, &(AttrCast){.to = given->type.dtype}, given);
}

static bool reads_copied(const Copy *copy, const Node *node) {
    for (int k = 0; k < node->input_count; k++)
        if (node->input[k] && copy->value[node->input[k]->id]) return true;
    return false;
}

static void copy_node(Copy *copy, const Node *node) {
    Value **input = SN_ARRAY(copy->scratch, Value *, node->input_count);
    for (int k = 0; k < node->input_count; k++) {
        Value *other = node->input[k] ? copy->value[node->input[k]->id] : NULL;
        input[k] = other ? other : node->input[k];
    }
    copy->b.origin = node->origin;
    copy->b.group = node->group;
    Node *made = sn_build_node(&copy->b, node->op, node->attr, node->input_count, input, node->output_count);
    for (int k = 0; made && k < node->output_count; k++)
        if (!copy->value[node->output[k]->id]) copy->value[node->output[k]->id] = made->output[k];
}

/* Whether y depends on a result of this node, one of the model's own, that is not replaced. */
static bool is_wanted(const Copy *copy, const Node *node) {
    for (int k = 0; node->id < copy->nodes && k < node->output_count; k++)
        if (copy->wanted[node->output[k]->id] && !copy->value[node->output[k]->id]) return true;
    return false;
}

/* Copies what lies between the named values and y, which come before `end`. */
static void copy_between(Copy *copy, const Value *y, const Node *end) {
    copy->wanted[y->id] = true;
    for (const Node *node = end->previous; node; node = node->previous) {
        if (!is_wanted(copy, node)) continue;
        for (int k = 0; k < node->input_count; k++)
            if (node->input[k]) copy->wanted[node->input[k]->id] = true;
    }
    for (const Node *node = copy->graph->body->first; node != end && !copy->b.status; node = node->next)
        if (is_wanted(copy, node) && reads_copied(copy, node)) copy_node(copy, node);
}

/* The phases of a step are not those of a model's own arithmetic. */
static void forget_phases(Graph *graph, int first) {
    for (Node *node = graph->body->first; node; node = node->next)
        if (node->id >= first) node->phase = SN_PHASE_FORWARD;
}

static Status replace(Pass *pass, Graph *graph, Node *node) {
    int count = (node->input_count - 1) / 2, of = node->output_count, first = graph->next_node;
    Copy copy = {.graph = graph,
                 .scratch = pass->arena,
                 .b = sn_builder_before(graph, node),
                 .value = SN_ARRAY(pass->arena, Value *, graph->next_value),
                 .wanted = SN_ARRAY(pass->arena, bool, graph->next_value),
                 .nodes = graph->next_node};
    Value **by = SN_ARRAY(pass->arena, Value *, count), **gradient = SN_ARRAY(pass->arena, Value *, of);
    for (int k = 0; k < count; k++) {
        by[k] = leaf(&copy, node->input[1 + count + k]);
        copy.value[node->input[1 + k]->id] = by[k];
    }
    Value *y = node->input[0];
    if (!copy.b.status) copy_between(&copy, y, node);
    if (copy.b.status) return copy.b.status;
    TRY(sn_autodiff(graph, copy.value[y->id] ? copy.value[y->id] : y, of, by, gradient));
    forget_phases(graph, first);
    for (int k = 0; k < of; k++) {
        Value *rounded = sn_build_cast(&copy.b, gradient[k], node->output[k]->type.dtype);
        if (!rounded) return copy.b.status;
        sn_value_replace(node->output[k], rounded);
    }
    sn_node_remove(node);
    if (!sn_region_sort(graph->body)) return sn_fail(SN_INTERNAL, "a gradient that depends on itself");
    return NULL;
}

bool sn_differentiate(Pass *pass, Graph *graph) {
    bool changed = false;
    for (Node *node = graph->body->first; node && !pass->status;) {
        if (node->op != SN_OP_GRADIENT) {
            node = node->next;
            continue;
        }
        /* What is computed again with other values has other sizes. */
        if (graph->loops.count || graph->sizes.count)
            pass->status = sn_fail(SN_UNSUPPORTED, "unsupported: gradients beside %s",
                                   graph->loops.count ? "loops whose turns only a run counts"
                                                      : "sizes that depend on data");
        else
            pass->status =
                graph->next_node < MOST_NODES
                    ? replace(pass, graph, node)
                    : sn_fail(SN_UNSUPPORTED, "unsupported: gradients of more than %d nodes", MOST_NODES);
        pass->rewrites++;
        changed = true;
        node = graph->body->first;
    }
    return changed;
}

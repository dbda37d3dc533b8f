#include "verify.h"

#include "cluster.h"
#include "infer.h"
#include "sizes.h"
#include "text_parts.h"

#include <stdio.h>

typedef struct Verify {
    Arena *arena;
    const Graph *graph;
    Notes notes;
    Map *ids;   /* value id -> Value */
    Map *order; /* Node -> itself, once the walk has passed it */
    Map *uses;  /* Value -> the number of uses that the walk has met */
} Verify;

static void note(Verify *v, const void *about, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void note(Verify *v, const void *about, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char message[512];
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    Note entry = {about, sn_arena_string(v->arena, message)};
    sn_push(v->arena, &v->notes.list, entry);
}

/* ---- values and uses ---- */

static void check_definition(Verify *v, const void *about, const Value *value, const Region *region,
                             const Node *producer, int index) {
    void **slot = sn_map_at(v->ids, &value->id, sizeof value->id);
    if (*slot) note(v, about, "%%%d is defined twice", value->id);
    *slot = (void *)value;
    if (value->id < 0 || value->id >= v->graph->next_value)
        note(v, about, "%%%d was never handed out", value->id);
    if (value->region != region || value->producer != producer || value->index != index)
        note(v, about, "%%%d does not know its own place", value->id);
    if ((unsigned)value->type.dtype >= SN_DTYPE_COUNT || value->type.rank < 0 ||
        value->type.rank > SN_MAX_RANK)
        note(v, about, "%%%d has no type", value->id);
}

static void count_use(Verify *v, const Value *value) {
    void **slot = sn_map_at(v->uses, &value, sizeof value);
    *slot = (void *)((uintptr_t)*slot + 1);
}

static int uses_by(const Value *value, const Node *user) {
    int count = 0;
    for (int i = 0; i < value->users.count; i++) count += value->users.at[i] == user;
    return count;
}

static int times(Value *const *place, int count, const Value *value) {
    int found = 0;
    for (int i = 0; i < count; i++) found += place[i] == value;
    return found;
}

/* True where the operand can be looked at further. */
static bool check_operand(Verify *v, const Node *node, int k) {
    const Value *value = node->input[k];
    const OpInfo *op = sn_op(node->op);
    if (!value) {
        if (k >= op->in_min && op->in_max >= 0) return true;
        note(v, node, "operand %d is missing", k);
        return false;
    }
    count_use(v, value);
    if (value->region != node->region) {
        note(v, node, "operand %d (%%%d) belongs to another region or to no node", k, value->id);
        return false;
    }
    if (value->producer && !sn_map_get(v->order, &value->producer, sizeof value->producer))
        note(v, node, "operand %d (%%%d) is used before it is made", k, value->id);
    if (uses_by(value, node) != times(node->input, node->input_count, value))
        note(v, node, "operand %d (%%%d) does not list this node once for each use", k, value->id);
    return true;
}

static void check_use_count(Verify *v, const void *about, const Value *value) {
    uintptr_t met = (uintptr_t)sn_map_get(v->uses, &value, sizeof value);
    if (met != (uintptr_t)value->users.count)
        note(v, about, "%%%d lists %d uses and has %d", value->id, value->users.count, (int)met);
}

/* ---- nodes ---- */

static bool check_arity(Verify *v, const Node *node) {
    const OpInfo *op = sn_op(node->op);
    bool ok = node->input_count >= op->in_min && (op->in_max < 0 || node->input_count <= op->in_max);
    if (!ok) note(v, node, "%d operands are not what the operator takes", node->input_count);
    bool made = node->output_count >= op->out_min && (op->out_max < 0 || node->output_count <= op->out_max);
    if (!made) note(v, node, "%d results are not what the operator gives", node->output_count);
    Status status = sn_attr_check(op->attr, node->attr);
    if (status) note(v, node, "%s", sn_error_message(status));
    bool sound = ok && made && !status;
    sn_error_free(status);
    return sound;
}

static const char *type_text(Verify *v, Type type) {
    Text text = sn_text(v->arena);
    sn_type_print(&text, v->graph->dims, type);
    return sn_text_string(&text);
}

/* Two things known of one element may be written differently; they must not contradict each other. */
static bool known_contradicts(Verify *v, const Value *stored, const Value *inferred) {
    if (!stored->known || !inferred->known) return false;
    int64_t count = 1, extent;
    for (int i = 0; i < stored->type.rank; i++) {
        if (!sn_dim_is(stored->type.dim[i], &extent)) return true;
        count *= extent;
    }
    for (int64_t i = 0; i < count; i++)
        if (sn_dim_ne(v->graph->dims, stored->known[i], inferred->known[i])) return true;
    return false;
}

/* Infers again on a copy of the node, in a copy of the graph's head: new checks and types land there. */
static void check_types(Verify *v, const Node *node) {
    Graph head = *v->graph;
    head.arena = v->arena;
    head.checks.capacity = head.checks.count; /* so that a new check moves the list instead of extending it */
    Node copy = *node;
    copy.output = SN_ARRAY(v->arena, Value *, node->output_count);
    for (int k = 0; k < node->output_count; k++) {
        copy.output[k] = SN_NEW(v->arena, Value);
        copy.output[k]->producer = &copy;
        copy.output[k]->index = k;
        copy.output[k]->id = node->output[k]->id;
    }
    Status status = sn_infer_node(&head, &copy);
    if (status) note(v, node, "%s", sn_error_message(status));
    for (int k = 0; k < node->output_count && !status; k++) {
        const Value *stored = node->output[k], *inferred = copy.output[k];
        if (!sn_type_equal(stored->type, inferred->type))
            note(v, node, "result %d is %s by inference", k, type_text(v, inferred->type));
        else if (known_contradicts(v, stored, inferred))
            note(v, node, "the known values of result %d contradict inference", k);
    }
    if (!status && head.checks.count > v->graph->checks.count)
        note(v, node, "the graph lacks a check that inference asks for");
    sn_error_free(status);
}

/* What a cluster's operands and results are outside, its params and results are inside. */
static void check_body_types(Verify *v, const Node *node) {
    const Region *body = node->body;
    if (body->owner != node) note(v, node, "the body belongs to another node");
    if (body->param.count != node->input_count)
        note(v, node, "%d params stand for %d operands", body->param.count, node->input_count);
    for (int i = 0; i < body->param.count && i < node->input_count; i++)
        if (node->input[i] && !sn_type_equal(body->param.at[i]->type, node->input[i]->type))
            note(v, body->param.at[i], "operand %d is %s", i, type_text(v, node->input[i]->type));
    if (body->result.count != node->output_count)
        note(v, node, "%d values are returned for %d results", body->result.count, node->output_count);
}

/* ---- what the stage allows ---- */

static bool is_cluster_body(const Region *region) {
    return region->owner != NULL;
}

static void check_pointwise_shapes(Verify *v, const Node *node) {
    Type out = node->output[0]->type;
    for (int k = 0; k < node->input_count; k++) {
        if (!node->input[k]) continue;
        Type in = node->input[k]->type;
        in.dtype = out.dtype;
        if (!sn_type_equal(in, out)) note(v, node, "operand %d has not the result's shape", k);
    }
}

static void check_clustered(Verify *v, const Node *node) {
    const OpInfo *op = sn_op(node->op);
    if (op->level == SN_LEVEL_COMPOSITE) note(v, node, "a cluster cannot hold a composite");
    if (node->op == SN_OP_CLUSTER) note(v, node, "a cluster cannot hold a cluster");
    double splat;
    if (node->op == SN_OP_CONSTANT && ((const AttrConstant *)node->attr)->tensor->count > 1 &&
        !sn_value_is_splat(node->output[0], &splat))
        note(v, node, "a constant of several values must be an operand of its cluster");
}

static void check_stage(Verify *v, const Node *node) {
    const OpInfo *op = sn_op(node->op);
    Stage stage = v->graph->stage;
    bool structure = op->level == SN_LEVEL_STRUCTURE;
    if (is_cluster_body(node->region))
        check_clustered(v, node);
    else if (stage == SN_STAGE_FUSED && !structure)
        note(v, node, "only constants and clusters may stand here after fuse");
    else if (stage != SN_STAGE_FUSED && node->op == SN_OP_CLUSTER)
        note(v, node, "there are no clusters before fuse");
    else if (stage != SN_STAGE_IMPORTED && op->level == SN_LEVEL_COMPOSITE)
        note(v, node, "there are no composites after expand");
    if (stage != SN_STAGE_IMPORTED && op->class == SN_CLASS_POINTWISE && op->level == SN_LEVEL_PRIMITIVE)
        check_pointwise_shapes(v, node);
}

/* How many anchors of its own and of other kinds a cluster holds. */
static void check_anchor(Verify *v, const Node *cluster) {
    static const OpClass anchor[SN_CLUSTER_KIND_COUNT] = {
        [SN_CLUSTER_MAP] = SN_CLASS_NONE,          [SN_CLUSTER_REDUCE] = SN_CLASS_REDUCE,
        [SN_CLUSTER_CONTRACT] = SN_CLASS_CONTRACT, [SN_CLUSTER_ATTENTION] = SN_CLASS_ATTENTION,
        [SN_CLUSTER_SCAN] = SN_CLASS_SCAN,         [SN_CLUSTER_PACK] = SN_CLASS_PACK,
        [SN_CLUSTER_SCATTER] = SN_CLASS_SCATTER,   [SN_CLUSTER_RECURRENT] = SN_CLASS_RECURRENT,
    };
    ClusterKind kind = ((const AttrCluster *)cluster->attr)->kind;
    int own = 0, foreign = 0;
    for (const Node *node = cluster->body->first; node; node = node->next) {
        OpClass class = sn_op(node->op)->class;
        bool heavy = class != SN_CLASS_SOURCE && class != SN_CLASS_POINTWISE && class != SN_CLASS_MOVE;
        own += heavy && class == anchor[kind];
        foreign += heavy && class != anchor[kind];
    }
    bool wrong = kind == SN_CLUSTER_MAP ? own > 0 : kind == SN_CLUSTER_REDUCE ? own < 1 : own != 1;
    if (wrong || foreign > 0)
        note(v, cluster, "a cluster of kind %s holds %d anchors of its kind and %d of others",
             sn_cluster_kind_name(kind), own, foreign);
}

/* Looks at the cluster as a whole, once nothing is wrong with its parts. */
static void check_cluster(Verify *v, const Node *cluster) {
    int before = v->notes.list.count;
    check_anchor(v, cluster);
    const char *reason = v->notes.list.count > before ? NULL : sn_cluster_legal(v->graph->dims, cluster);
    if (reason) note(v, cluster, "no kernel can be made of the cluster: %s", reason);
}

static void check_setup(Verify *v, const Node *node) {
    for (int k = 0; k < node->input_count; k++) {
        const Value *value = node->input[k];
        if (!value) continue;
        if (!value->producer || (!value->producer->setup && value->producer->op != SN_OP_CONSTANT))
            note(v, node, "setup depends on operand %d (%%%d), which is not ready before a run", k,
                 value->id);
    }
}

/* ---- walks ---- */

static void check_region(Verify *v, const Region *region, const void *about);

static void check_node(Verify *v, const Node *node) {
    if ((unsigned)node->op >= SN_OP_COUNT) {
        note(v, node->region, "a node with operator %d", (int)node->op);
        return;
    }
    int before = v->notes.list.count;
    bool sound = check_arity(v, node);
    for (int k = 0; k < node->input_count; k++) sound &= check_operand(v, node, k);
    for (int k = 0; k < node->output_count; k++)
        check_definition(v, node, node->output[k], node->region, node, k);
    if ((node->op == SN_OP_CLUSTER) != (node->body != NULL)) {
        note(v, node, "a cluster has a body, and nothing else has");
        sound = false;
    }
    if (node->body) {
        check_body_types(v, node);
        check_region(v, node->body, node);
    }
    if (!sound) return;
    if (node->body && v->notes.list.count == before) check_cluster(v, node);
    check_types(v, node);
    check_stage(v, node);
    if (node->setup) check_setup(v, node);
}

static void check_links(Verify *v, const Region *region, const void *about) {
    const Node *previous = NULL;
    for (const Node *node = region->first; node; previous = node, node = node->next)
        if (node->previous != previous || node->region != region)
            note(v, about, "node %d is linked wrongly", node->id);
    if (region->last != previous) note(v, about, "the region does not end with its last node");
}

static void check_results(Verify *v, const Region *region, const void *about) {
    for (int i = 0; i < region->result.count; i++) {
        const Value *value = region->result.at[i];
        count_use(v, value);
        if (value->region != region)
            note(v, about, "result %d (%%%d) belongs to another region or to no node", i, value->id);
        else if (uses_by(value, NULL) != times(region->result.at, region->result.count, value))
            note(v, about, "result %d (%%%d) does not list its uses as a result", i, value->id);
    }
}

/* `about` is what notes on the region as a whole are put behind. */
static void check_region(Verify *v, const Region *region, const void *about) {
    if (region->graph != v->graph) note(v, about, "the region belongs to another graph");
    check_links(v, region, about);
    for (int i = 0; i < region->param.count; i++)
        check_definition(v, region->param.at[i], region->param.at[i], region, NULL, i);
    for (const Node *node = region->first; node; node = node->next) {
        check_node(v, node);
        *sn_map_at(v->order, &node, sizeof node) = (void *)node;
    }
    check_results(v, region, about);
    for (int i = 0; i < region->param.count; i++)
        check_use_count(v, region->param.at[i], region->param.at[i]);
    for (const Node *node = region->first; node; node = node->next)
        for (int k = 0; k < node->output_count; k++) check_use_count(v, node, node->output[k]);
}

static bool fits_state(const Value *value, const Tensor *initial) {
    bool same = value->type.dtype == initial->dtype && value->type.rank == initial->rank;
    for (int i = 0; same && i < initial->rank; i++)
        same = sn_dim_equals(value->type.dim[i], initial->extent[i]);
    return same;
}

/* Passes come to what the next run finds by and by; at the end, states are the last inputs and outputs. */
static void check_states(Verify *v) {
    const Graph *graph = v->graph;
    const Region *body = graph->body;
    int count = graph->states.count, inputs = body->param.count, outputs = body->result.count;
    for (int i = 0; i < count; i++) {
        const GraphState *state = &graph->states.at[i];
        bool placed = state->input == inputs - count + i && state->result == outputs - count + i;
        if (state->input < 0 || state->input >= inputs || state->result >= outputs ||
            (graph->stage == SN_STAGE_FUSED && !placed)) {
            note(v, graph, "state %d has no place among the inputs and outputs", i);
            continue;
        }
        if (!fits_state(body->param.at[state->input], state->initial) ||
            (state->result >= 0 && !fits_state(body->result.at[state->result], state->initial)))
            note(v, graph, "state %d and what a run finds or leaves of it differ in type", i);
    }
}

static void check_loops(Verify *v) {
    const Graph *graph = v->graph;
    int first = graph->body->result.count - sn_graph_hidden_results(graph) + graph->sizes.count;
    for (int i = 0; i < graph->loops.count; i++) {
        const GraphLoop *loop = &graph->loops.at[i];
        const char *fault = sn_loop_fault(graph, loop);
        if (!fault && loop->taken != first)
            fault = "what a loop takes is not behind the outputs and sizes of the model";
        if (fault) note(v, graph, "%s", fault);
        first += sn_loop_taken(loop);
        Status status = fault ? NULL : sn_verify(loop->turn);
        if (status) note(v, graph, "a turn of loop %d: %s", i, sn_error_message(status));
        sn_error_free(status);
    }
}

/* A size is an i64 scalar that is made before anything mentions it. */
static void check_sizes(Verify *v) {
    const Graph *graph = v->graph;
    const Region *body = graph->body;
    for (int i = 0; i < graph->sizes.count; i++) {
        int result = graph->sizes.at[i].result;
        bool placed = result >= 0 && result < body->result.count;
        if (!placed || body->result.at[result]->type.dtype != SN_I64 ||
            body->result.at[result]->type.rank != 0) {
            note(v, graph, "size %d is no result of one i64", i);
            return;
        }
        if (result != body->result.count - sn_graph_hidden_results(graph) + i)
            note(v, graph, "size %d is not behind the outputs of the model", i);
    }
    Levels levels;
    Status status = graph->sizes.count + graph->loops.count ? sn_levels_find(v->arena, graph, &levels) : NULL;
    if (status) note(v, graph, "%s", sn_error_message(status));
    sn_error_free(status);
}

static Status report(Verify *v) {
    Text text = sn_text(v->arena);
    sn_graph_print_notes(&text, v->graph, &v->notes);
    return sn_fail(SN_INTERNAL, "the graph breaks %d rules, the first: %s\n%s", v->notes.list.count,
                   v->notes.list.at[0].message, sn_text_string(&text));
}

Status sn_verify(const Graph *graph) {
    Arena *scratch = sn_arena_child(graph->arena);
    Verify v = {
        .arena = scratch,
        .graph = graph,
        .ids = sn_map_new(scratch),
        .order = sn_map_new(scratch),
        .uses = sn_map_new(scratch),
    };
    check_region(&v, graph->body, graph->body);
    if (graph->output_name.count != graph->body->result.count)
        note(&v, graph->body, "%d outputs have %d names", graph->body->result.count,
             graph->output_name.count);
    check_states(&v);
    if (v.notes.list.count == 0) check_loops(&v);
    if (v.notes.list.count == 0) check_sizes(&v);
    Status status = v.notes.list.count > 0 ? report(&v) : NULL;
    sn_arena_free(scratch);
    return status;
}

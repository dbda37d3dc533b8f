/* Fusion: which nodes share a kernel.
 *
 * Nodes are taken in topological order. Each one joins the part (the kernel to be) of one of its operands
 * where that part's anchor accepts it, else it starts a part of its own; then parts that only feed it are
 * drawn in. Joining never makes a cycle: the part must not be reached by the node's other operands. In the
 * eager order a part holds nodes of one group, that is, of one operator of the model; views are absorbed in
 * both orders, as strided tensors alias in eager frameworks.
 */
#include "extremum.h"
#include "fuse_internal.h"
#include "recurrent.h"
#include "view.h"

enum { MAX_PART_NODES = 64, MAX_RECOMPUTED_NODES = 8, MAX_INDEX_DEPTH = 24 };

/* ---- free nodes ---- */

static bool is_cheap(OpCode op) {
    static const bool costly[SN_OP_COUNT] = {
        [SN_OP_EXP] = true,   [SN_OP_LOG] = true,  [SN_OP_SIN] = true,   [SN_OP_COS] = true,
        [SN_OP_TANH] = true,  [SN_OP_ERF] = true,  [SN_OP_POW] = true,   [SN_OP_SIGMOID] = true,
        [SN_OP_TAN] = true,   [SN_OP_SINH] = true, [SN_OP_COSH] = true,  [SN_OP_ASIN] = true,
        [SN_OP_ACOS] = true,  [SN_OP_ATAN] = true, [SN_OP_ASINH] = true, [SN_OP_ACOSH] = true,
        [SN_OP_ATANH] = true,
    };
    return !costly[op];
}

/* 0 for what reads a buffer; else 1 + the longest chain of arithmetic and views on positions and scalars. */
static int index_depth(Fusion *fusion, const Node *node) {
    const OpInfo *op = sn_op(node->op);
    if (op->class == SN_CLASS_SOURCE)
        return node->op != SN_OP_CONSTANT || ((const AttrConstant *)node->attr)->tensor->count == 1;
    bool arithmetic = op->class == SN_CLASS_POINTWISE && is_cheap(node->op) && !fusion->pass->eager;
    if (node->op != SN_OP_VIEW && !arithmetic) return 0;
    int depth = 0;
    for (int k = 0; k < node->input_count; k++) {
        const Node *producer = node->input[k]->producer;
        int below = producer && !fusion->owned[producer->id] ? fusion->index_depth[producer->id] : 0;
        if (below == 0) return 0;
        if (below > depth) depth = below;
    }
    return depth < MAX_INDEX_DEPTH ? depth + 1 : 0;
}

Value *sn_fusion_look_through(Fusion *fusion, Value *value, IndexMap *map) {
    Dims *dims = fusion->graph->dims;
    Arena *arena = fusion->pass->arena;
    *map = sn_view_identity(dims, arena, value->type.rank, value->type.dim);
    while (value->producer && value->producer->op == SN_OP_VIEW && !fusion->owned[value->producer->id]) {
        const AttrView *inner = value->producer->attr;
        *map = sn_view_compose(dims, arena, map, inner);
        value = value->producer->input[0];
    }
    return value;
}

/* ---- reachability between parts ---- */

typedef struct Walk {
    Fusion *fusion;
    const Part *goal;
    SN_VEC(Part *) open;
} Walk;

static void walk_source(void *user, Value *source) {
    Walk *walk = user;
    Part *part = source->producer ? sn_fusion_part(walk->fusion, source->producer) : NULL;
    if (!part || part->visit == walk->fusion->walk) return;
    if (part->late < walk->goal->late) return; /* it cannot depend on the goal */
    part->visit = walk->fusion->walk;
    sn_push(walk->fusion->pass->arena, &walk->open, part);
}

bool sn_fusion_depends(Fusion *fusion, Part *from, const Part *goal) {
    Walk walk = {.fusion = fusion, .goal = goal};
    from->visit = ++fusion->walk;
    sn_push(fusion->pass->arena, &walk.open, from);
    while (walk.open.count > 0) {
        Part *part = walk.open.at[--walk.open.count];
        if (part == goal) return true;
        for (int i = 0; i < part->node.count; i++)
            sn_fusion_sources(fusion, part->node.at[i], walk_source, &walk);
    }
    return false;
}

/* Whether an operand that neither `reader` nor `part` makes needs something of `part`. */
typedef struct OperandCheck {
    Fusion *fusion;
    Part *reader, *part;
    bool cycle;
} OperandCheck;

static void check_operand(void *user, Value *source) {
    OperandCheck *check = user;
    Part *other = source->producer ? sn_fusion_part(check->fusion, source->producer) : NULL;
    if (check->cycle || !other || other == check->part || other == check->reader) return;
    check->cycle = sn_fusion_depends(check->fusion, other, check->part);
}

static bool joining_makes_cycle(Fusion *fusion, const Node *node, Part *part) {
    OperandCheck check = {fusion, NULL, part, false};
    sn_fusion_sources(fusion, node, check_operand, &check);
    return check.cycle;
}

bool sn_fusion_cycle(Fusion *fusion, Part *reader, Part *producer) {
    OperandCheck check = {fusion, reader, producer, false};
    for (int i = 0; i < reader->node.count; i++)
        sn_fusion_sources(fusion, reader->node.at[i], check_operand, &check);
    return check.cycle;
}

/* ---- what a part accepts ---- */

/* The map reads the per-row value (extent 1 on the reduced axes) for each element of the row. */
static bool is_row_broadcast(const Part *part, const IndexMap *map, Type reduced) {
    if (map->rank != part->domain.rank || map->source_rank != reduced.rank) return false;
    for (int i = 0; i < map->rank; i++) {
        Dim index = map->index[i];
        bool own_axis = index->kind == SN_DIM_AXIS && index->value == i;
        if (!own_axis && !sn_dim_equals(index, 0)) return false;
    }
    return true;
}

static Type reduced_type(Fusion *fusion, const Part *part) {
    Dim *dim = SN_ARRAY(fusion->pass->arena, Dim, part->domain.rank);
    for (int i = 0; i < part->domain.rank; i++) dim[i] = part->domain.dim[i];
    for (int k = 0; k < part->reduce->count; k++) dim[part->reduce->axes[k]] = sn_dim(fusion->graph->dims, 1);
    return (Type){part->domain.dtype, part->domain.rank, dim};
}

static bool is_reduction(const Node *node) {
    return sn_op(node->op)->class == SN_CLASS_REDUCE;
}
static bool is_pointwise(const Node *node) {
    return sn_op(node->op)->class == SN_CLASS_POINTWISE;
}

const char *sn_fusion_row_accepts(Fusion *fusion, const Part *part, const Node *node, const Value *source,
                                  const IndexMap *map) {
    Type reduced = reduced_type(fusion, part);
    if (is_reduction(node)) {
        if (!sn_attr_equal(&sn_attr_reduce, node->attr, part->reduce)) return "it reduces other axes";
        if (!sn_type_same_shape(node->input[0]->type, part->domain)) return "it reduces another shape";
    } else if (!is_pointwise(node))
        return "only arithmetic and reductions join a row kernel";
    Type shape = is_reduction(node) ? part->domain : node->output[0]->type;
    bool full = sn_type_same_shape(shape, part->domain), per_row = sn_type_same_shape(shape, reduced);
    if (!full && !per_row) return "its shape is neither the row's nor one value a row";
    bool direct = sn_view_is_identity(fusion->graph->dims, map, source->type.dim);
    bool widened = full && sn_type_same_shape(source->type, reduced) && is_row_broadcast(part, map, reduced);
    if (!direct && !widened) return "it reads the row through another index map";
    return NULL;
}

/* `node` only prepares what a reduction consumes, from a value that is stored for others anyway: the row
 * kernel computes it again for less than storing it would cost. */
static bool belongs_to_row(const Node *node, const Value *source) {
    if (!is_pointwise(node) || sn_value_use_count(source) < 2) return false;
    bool elsewhere = false;
    for (int i = 0; i < source->users.count; i++) elsewhere |= source->users.at[i] != node;
    for (int i = 0; i < node->output[0]->users.count; i++) {
        const Node *user = node->output[0]->users.at[i];
        if (!user || !is_reduction(user)) return false;
    }
    return elsewhere;
}

/* A result of an anchor goes on through arithmetic and maps that can be undone, to be stored where they end.
 */
static const char *anchor_part_accepts(Fusion *fusion, const Part *part, const Node *node,
                                       const Value *source, const IndexMap *map) {
    const AnchorAccepts *accepts = sn_target_accepts(fusion->pass->target, part->kind);
    if (is_pointwise(node) ? !accepts->epilogue_pointwise : node->op != SN_OP_VIEW)
        return "the anchor takes no such epilogue";
    if (source->index > 0) return "the anchor's statistics are stored as they are";
    if (belongs_to_row(node, source)) return "it belongs to the row kernel behind it";
    IndexMap whole = *map, inverse;
    Dims *dims = fusion->graph->dims;
    if (node->op == SN_OP_VIEW) {
        whole = sn_view_compose(dims, fusion->pass->arena, node->attr, map);
    }
    if (sn_view_is_identity(dims, &whole, source->type.dim)) return NULL;
    if (!accepts->epilogue_views) return "the anchor stores its result as it is";
    if (!sn_view_invert(dims, fusion->pass->arena, &whole, source->type.dim, &inverse))
        return "its index map cannot be inverted";
    return NULL;
}

/* Whether every use of `value`, seen through free nodes, is by `node`. */
static bool used_only_by(Fusion *fusion, const Value *value, const Node *node) {
    for (int i = 0; i < value->users.count; i++) {
        const Node *user = value->users.at[i];
        if (!user) return false;
        if (user == node) continue;
        if (!sn_fusion_is_free(fusion, user) || !used_only_by(fusion, user->output[0], node)) return false;
    }
    return true;
}

bool sn_fusion_is_cheap(const Part *part) {
    if (part->node.count > MAX_RECOMPUTED_NODES) return false;
    for (int i = 0; i < part->node.count; i++)
        if (!is_cheap(part->node.at[i]->op) || part->node.at[i]->op == SN_OP_GATHER) return false;
    return true;
}

static const char *map_part_accepts(Fusion *fusion, const Part *part, const Node *node, const Value *source,
                                    const IndexMap *map) {
    bool takes =
        is_pointwise(node) || is_reduction(node) || node->op == SN_OP_VIEW || node->op == SN_OP_CUMSUM;
    if (!takes) return "gathers and joins start a kernel of their own";
    Type loop = is_reduction(node) ? node->input[0]->type : node->output[0]->type;
    if (sn_type_same_shape(loop, part->domain) &&
        sn_view_is_identity(fusion->graph->dims, map, source->type.dim))
        return NULL;
    if (!used_only_by(fusion, source, node)) return "the value is stored in another shape as well";
    Dims *dims = fusion->graph->dims;
    bool repeats = !sn_dim_le(dims, sn_type_count(dims, loop), sn_type_count(dims, source->type));
    if (repeats && !sn_fusion_is_cheap(part)) return "it would compute the value several times";
    return NULL;
}

/* Whether a kernel of the nodes of both parts, and of `node`, would compute both what `node` compares and the extremum
 * that it compares it with. */
static bool computes_both(Fusion *fusion, const Node *node, const Part *part, const Part *other) {
    Node *extremum;
    const Value *value = sn_compared_with_extremum(node, &extremum);
    if (!value || !value->producer) return false;
    const Part *of_value = sn_fusion_part(fusion, value->producer),
               *of_extremum = sn_fusion_part(fusion, extremum);
    return of_value && (of_value == part || of_value == other) &&
           (of_extremum == part || of_extremum == other);
}

static bool any_computes_both(Fusion *fusion, const Part *reader, const Part *part, const Part *other) {
    for (int i = 0; i < reader->node.count; i++)
        if (computes_both(fusion, reader->node.at[i], part, other)) return true;
    return false;
}

/* NULL when `node`, which reads `source` of `part` through `map`, may join; else why not. */
static const char *accepts(Fusion *fusion, Part *part, const Node *node, const Value *source,
                           const IndexMap *map) {
    if (part->setup != node->setup) return "one of them runs once, in setup";
    if (fusion->pass->eager && part->group != node->group) return "another operator";
    if (part->phase != node->phase) return "another phase";
    if (part->level != fusion->levels.node[node->id]) return "a size between them is read first";
    if (part->node.count >= MAX_PART_NODES) return "the kernel is large enough";
    if (computes_both(fusion, node, part, part)) return "what it compares with an extremum is stored first";
    const char *reason;
    switch (part->kind) {
    case SN_CLUSTER_MAP:
        reason = map_part_accepts(fusion, part, node, source, map);
        break;
    case SN_CLUSTER_REDUCE:
        reason = sn_fusion_row_accepts(fusion, part, node, source, map);
        break;
    case SN_CLUSTER_CONTRACT:
    case SN_CLUSTER_ATTENTION:
        reason = anchor_part_accepts(fusion, part, node, source, map);
        break;
    default:
        reason = "its anchor takes no epilogue";
        break;
    }
    if (!reason && joining_makes_cycle(fusion, node, part)) reason = "an operand waits for the kernel";
    return reason;
}

/* ---- placing nodes ---- */

/* Heavier anchors first: their epilogue saves most. */
static int rank_of_kind(ClusterKind kind) {
    static const int rank[SN_CLUSTER_KIND_COUNT] = {
        [SN_CLUSTER_CONTRACT] = 3, [SN_CLUSTER_ATTENTION] = 3, [SN_CLUSTER_REDUCE] = 2, [SN_CLUSTER_MAP] = 1};
    return rank[kind];
}

static Part *choose_part(Fusion *fusion, Node *node) {
    Part *best = NULL;
    for (int k = 0; k < node->input_count; k++) {
        IndexMap map;
        Value *source = node->input[k] ? sn_fusion_look_through(fusion, node->input[k], &map) : NULL;
        Part *part = source && source->producer ? sn_fusion_part(fusion, source->producer) : NULL;
        if (!part || part == best) continue;
        const char *reason = accepts(fusion, part, node, source, &map);
        if (reason) {
            sn_pass_remark(fusion->pass, node->origin, false, "%s does not join a %s kernel: %s",
                           sn_op(node->op)->text, sn_cluster_kind_name(part->kind), reason);
            continue;
        }
        bool better = !best || rank_of_kind(part->kind) > rank_of_kind(best->kind) ||
                      (rank_of_kind(part->kind) == rank_of_kind(best->kind) && part->id > best->id);
        if (better) best = part;
    }
    return best;
}

/* ---- drawing in producers ---- */

bool sn_fusion_may_join(Fusion *fusion, const Part *part, const Part *from) {
    return part->setup == from->setup && part->phase == from->phase && part->level == from->level &&
           (!fusion->pass->eager || part->group == from->group) &&
           part->node.count + from->node.count <= MAX_PART_NODES &&
           !any_computes_both(fusion, part, part, from) && !any_computes_both(fusion, from, part, from);
}

/* Made of pieces, each of which is stored where it is computed. */
static bool is_joined(const Node *node) {
    return node->op == SN_OP_CONCAT || node->op == SN_OP_APPEND;
}

bool sn_fusion_takes_prologue(const Part *part, const Node *node) {
    if (part->kind == SN_CLUSTER_MAP) return is_pointwise(node) || is_joined(node) || node->op == SN_OP_VIEW;
    if (part->kind == SN_CLUSTER_REDUCE) return is_pointwise(node) || is_reduction(node);
    if (node->op == SN_OP_SIFT) return true; /* which reads each element once at most, and few of them */
    return part->kind == SN_CLUSTER_CONTRACT && is_pointwise(node);
}

/* Nothing that the kernel makes has a user outside of it but `node`. */
static bool makes_for_one(Fusion *fusion, const Part *from, const Node *node) {
    for (int i = 0; i < from->node.count; i++) {
        const Node *member = from->node.at[i];
        for (int u = 0; u < member->output[0]->users.count; u++) {
            const Node *user = member->output[0]->users.at[u];
            if (!user ||
                (!sn_fusion_is_free(fusion, user) && sn_fusion_part(fusion, user) != from && user != node))
                return false;
        }
    }
    return true;
}

/* Two map kernels over the same elements, of which one reads the other's where it is: as one they need not load it,
 * though it is stored. */
static bool goes_along(Fusion *fusion, const Part *part, const Part *from, const Value *source,
                       const IndexMap *map) {
    return part->kind == SN_CLUSTER_MAP && sn_type_same_shape(part->domain, from->domain) &&
           sn_type_same_shape(part->domain, source->type) &&
           sn_view_is_identity(fusion->graph->dims, map, source->type.dim);
}

int sn_fusion_copies(Fusion *fusion, const Node *const *reader, int count, const Part *from) {
    SN_VEC(IndexMap) place = {0};
    for (int i = 0; i < count; i++)
        for (int k = 0; k < reader[i]->input_count; k++) {
            IndexMap map;
            const Value *operand = reader[i]->input[k];
            const Value *source = operand ? sn_fusion_look_through(fusion, reader[i]->input[k], &map) : NULL;
            if (!source || !source->producer || sn_fusion_part(fusion, source->producer) != from) continue;
            bool again = false;
            for (int p = 0; p < place.count && !is_joined(reader[i]); p++)
                again |= sn_view_equal(&place.at[p], &map);
            if (!again) sn_push(fusion->pass->arena, &place, map);
        }
    return place.count * from->copies;
}

/* Whether `part` may compute what `from` makes for operand k of `node`. */
static bool draws_in(Fusion *fusion, const Node *node, Part *part, Part *from, int k) {
    Dims *dims = fusion->graph->dims;
    IndexMap map;
    const Value *source = sn_fusion_look_through(fusion, node->input[k], &map);
    if (goes_along(fusion, part, from, source, &map)) return !sn_fusion_cycle(fusion, part, from);
    bool repeats =
        !sn_dim_le(dims, sn_type_count(dims, node->input[k]->type), sn_type_count(dims, source->type));
    bool alone = used_only_by(fusion, source, node);
    if (!alone || (repeats && !sn_fusion_is_cheap(from)) || sn_fusion_cycle(fusion, part, from)) return false;
    return makes_for_one(fusion, from, node); /* its other results would be stored at another shape */
}

/* Draws in the padding of windows that a product copies. */
static void absorb_padding(Fusion *fusion, Node *node, Part *part) {
    IndexMap map;
    if (part->kind != SN_CLUSTER_CONTRACT || !sn_fusion_copies_windows(fusion, node)) return;
    Value *source = sn_fusion_look_through(fusion, node->input[0], &map);
    Part *from = source->producer ? sn_fusion_part(fusion, source->producer) : NULL;
    bool alone = from && sn_fusion_is_padding(from) && sn_fusion_may_join(fusion, part, from);
    if (alone && draws_in(fusion, node, part, from, 0)) sn_fusion_join(fusion, part, from);
}

/* Draws in the map kernels that make a value for `node` alone, or along with it. */
static void absorb_producers(Fusion *fusion, Node *node, Part *part) {
    for (int k = 0; k < node->input_count && sn_fusion_takes_prologue(part, node); k++) {
        IndexMap map;
        Value *source = node->input[k] ? sn_fusion_look_through(fusion, node->input[k], &map) : NULL;
        Part *from = source && source->producer ? sn_fusion_part(fusion, source->producer) : NULL;
        if (!from || from == part || from->kind != SN_CLUSTER_MAP || !sn_fusion_may_join(fusion, part, from))
            continue;
        int copies = sn_fusion_copies(fusion, (const Node *const[]){node}, 1, from);
        if (copies > SN_FUSION_COPIES || !draws_in(fusion, node, part, from, k)) continue;
        sn_fusion_join(fusion, part, from);
        if (copies > part->copies) part->copies = copies;
    }
}

/* ---- views that somebody must store ---- */

static bool is_strided(Fusion *fusion, Value *value) {
    IndexMap map;
    Value *source = sn_fusion_look_through(fusion, value, &map);
    Dim offset, stride[SN_MAX_RANK];
    return sn_view_strided(fusion->graph->dims, &map, source->type.dim, &offset, stride);
}

/* Every step reads a recurrent network's weights, along their rows. */
static void own_weight(Fusion *fusion, const Node *node) {
    Node *producer = node->input[SN_RECURRENT_WEIGHT]->producer;
    if (producer && producer->op == SN_OP_VIEW) fusion->owned[producer->id] = true;
}

/* An anchor streams its operands with strides; a view that has none is stored first, by its producer if it
 * can. */
static void own_anchor_operands(Fusion *fusion, const Node *node) {
    OpClass class = sn_op(node->op)->class;
    if (node->op == SN_OP_RECURRENT) own_weight(fusion, node);
    if (class != SN_CLASS_CONTRACT && class != SN_CLASS_ATTENTION) return;
    int operands = class == SN_CLASS_CONTRACT ? 2 : node->op == SN_OP_ATTENTION ? 3 : 4;
    for (int k = 0; k < operands; k++) {
        Node *producer = node->input[k]->producer;
        if (!producer) continue;
        bool view = producer->op == SN_OP_VIEW && !is_strided(fusion, node->input[k]);
        bool computed = producer->op != SN_OP_VIEW && fusion->index_depth[producer->id] > 0;
        if (!view && !computed) continue;
        if (view && k == 0 && sn_fusion_copies_windows(fusion, node)) continue;
        sn_pass_remark(fusion->pass, node->origin, false,
                       "operand %d of %s has no strides and is stored first", k, sn_op(node->op)->text);
        fusion->owned[producer->id] = true;
    }
}

/* Gathers and joins read buffers, not what their own kernel computes. */
static bool reads_buffers_only(const Node *node) {
    return sn_op(node->op)->class == SN_CLASS_MOVE && node->op != SN_OP_VIEW && !is_joined(node);
}

static void own_views(Fusion *fusion) {
    Region *body = fusion->graph->body;
    for (Node *node = body->first; node; node = node->next) own_anchor_operands(fusion, node);
    for (int i = 0; i < body->result.count; i++) {
        Value *value = body->result.at[i];
        if (value->producer && value->producer->op != SN_OP_CONSTANT &&
            sn_fusion_is_free(fusion, value->producer))
            fusion->owned[value->producer->id] = true;
    }
}

/* ---- every node finds its part ---- */

Fusion sn_fusion_form(Pass *pass, Graph *graph) {
    int nodes = graph->next_node;
    Fusion fusion = {.pass = pass, .graph = graph};
    fusion.of_node = SN_ARRAY(pass->arena, Part *, nodes);
    fusion.index_depth = SN_ARRAY(pass->arena, signed char, nodes);
    fusion.owned = SN_ARRAY(pass->arena, bool, nodes);
    fusion.place = SN_ARRAY(pass->arena, int, nodes);
    pass->status = sn_levels_find(pass->arena, graph, &fusion.levels);
    int place = 0;
    for (Node *node = graph->body->first; node; node = node->next) {
        fusion.place[node->id] = place++;
        fusion.index_depth[node->id] = (signed char)index_depth(&fusion, node);
    }
    own_views(&fusion);
    for (Node *node = graph->body->first; node; node = node->next) {
        if (node->op == SN_OP_CONSTANT || sn_fusion_is_free(&fusion, node)) continue;
        Part *part = choose_part(&fusion, node);
        if (!part) part = sn_fusion_new_part(&fusion, node);
        sn_fusion_place(&fusion, node, part);
        if (!reads_buffers_only(node)) absorb_producers(&fusion, node, part);
        absorb_padding(&fusion, node, part);
    }
    return fusion;
}

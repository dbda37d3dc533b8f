#include "cluster.h"

#include "view.h"

typedef struct Placement {
    bool found, row;
    const Dim *at;
} Placement;

typedef struct Search {
    Dims *dims;
    Arena *arena;
    const ClusterFrame *frame;
    Map *depends; /* value id: present when the value depends on the anchor */
    Map *checked; /* (value id, index): present when reading it there was found right */
    Map *placed;  /* value id -> Placement */
} Search;

/* ---- the frame ---- */

static bool is_anchor(const Node *node) {
    OpClass class = sn_op(node->op)->class;
    return class == SN_CLASS_REDUCE || class == SN_CLASS_CONTRACT || class == SN_CLASS_ATTENTION ||
           class == SN_CLASS_SCAN;
}

/* The class of anchor that each kind is for. */
static const OpClass anchor_class[SN_CLUSTER_KIND_COUNT] = {
    [SN_CLUSTER_MAP] = SN_CLASS_NONE,          [SN_CLUSTER_REDUCE] = SN_CLASS_REDUCE,
    [SN_CLUSTER_CONTRACT] = SN_CLASS_CONTRACT, [SN_CLUSTER_ATTENTION] = SN_CLASS_ATTENTION,
    [SN_CLUSTER_SCAN] = SN_CLASS_SCAN,         [SN_CLUSTER_PACK] = SN_CLASS_NONE,
    [SN_CLUSTER_SCATTER] = SN_CLASS_NONE,      [SN_CLUSTER_RECURRENT] = SN_CLASS_NONE,
};

static const char *find_anchor(const Node *cluster, const Node **anchor) {
    OpClass class = anchor_class[((const AttrCluster *)cluster->attr)->kind];
    *anchor = NULL;
    for (const Node *node = cluster->body->first; node; node = node->next) {
        if (node->body) return "a cluster inside a cluster";
        if (!is_anchor(node)) continue;
        if (sn_op(node->op)->class != class) return "an anchor that the cluster's kind does not name";
        if (!*anchor) {
            *anchor = node;
            continue;
        }
        if (class != SN_CLASS_REDUCE) return "more than one anchor";
        if (!sn_type_same_shape(node->input[0]->type, (*anchor)->input[0]->type) ||
            !sn_attr_equal(&sn_attr_reduce, node->attr, (*anchor)->attr))
            return "reductions over different axes or shapes";
    }
    return class != SN_CLASS_NONE && !*anchor ? "no anchor" : NULL;
}

const char *sn_cluster_frame(Dims *dims, Arena *arena, const Node *cluster, ClusterFrame *frame) {
    memset(frame, 0, sizeof *frame);
    frame->cluster = cluster;
    const char *reason = find_anchor(cluster, &frame->anchor);
    if (reason || !frame->anchor) return reason;
    const Node *anchor = frame->anchor;
    OpClass class = sn_op(anchor->op)->class;
    bool operand = class == SN_CLASS_REDUCE || class == SN_CLASS_SCAN;
    frame->domain = operand ? anchor->input[0]->type : anchor->output[0]->type;
    if (class == SN_CLASS_SCAN) frame->reduced[((const AttrScan *)anchor->attr)->axis] = true;
    if (class == SN_CLASS_REDUCE) {
        const AttrReduce *attr = anchor->attr;
        for (int i = 0; i < attr->count; i++) frame->reduced[attr->axes[i]] = true;
    }
    frame->full = sn_view_axes(dims, arena, frame->domain.rank, frame->domain.dim);
    frame->left = SN_ARRAY(arena, Dim, frame->domain.rank);
    for (int i = 0; i < frame->domain.rank; i++)
        frame->left[i] = class == SN_CLASS_REDUCE && frame->reduced[i] ? sn_dim(dims, 0) : frame->full[i];
    return NULL;
}

/* ---- reading the anchor at its own element ---- */

static void note_dependents(Search *search) {
    for (const Node *node = search->frame->cluster->body->first; node; node = node->next) {
        bool depends = is_anchor(node);
        for (int i = 0; i < node->input_count && !depends; i++)
            depends = node->input[i] && sn_map_get(search->depends, &node->input[i]->id, sizeof(int));
        for (int i = 0; i < node->output_count && depends; i++)
            *sn_map_at(search->depends, &node->output[i]->id, sizeof(int)) = search;
    }
}

static bool depends(const Search *search, const Value *value) {
    return sn_map_get(search->depends, &value->id, sizeof(int)) != NULL;
}

static bool same_index(int rank, const Dim *a, const Dim *b) {
    for (int i = 0; i < rank; i++)
        if (a[i] != b[i]) return false;
    return true;
}

static Dim *view_index(const Search *search, const AttrView *attr, const Dim *index) {
    Dim *axes = sn_view_axes(search->dims, search->arena, attr->rank, attr->extent);
    Dim *source = SN_ARRAY(search->arena, Dim, attr->source_rank);
    for (int i = 0; i < attr->source_rank; i++)
        source[i] = sn_dim_replace(search->dims, attr->index[i], axes, index, attr->rank);
    return source;
}

static bool reads_right(Search *search, const Value *value, const Dim *index);

static bool reads_operands(Search *search, const Value *value, const Dim *index) {
    const Node *node = value->producer;
    const ClusterFrame *frame = search->frame;
    if (is_anchor(node))
        return value->index == 0 &&
               same_index(frame->domain.rank, index,
                          sn_op(node->op)->class == SN_CLASS_REDUCE ? frame->left : frame->full);
    if (node->op == SN_OP_VIEW)
        return reads_right(search, node->input[0], view_index(search, node->attr, index));
    if (sn_op(node->op)->class != SN_CLASS_POINTWISE) return false;
    for (int i = 0; i < node->input_count; i++)
        if (node->input[i]->type.rank != value->type.rank || !reads_right(search, node->input[i], index))
            return false;
    return true;
}

/* Computing `value` at `index` reads anchors at the frame's element only. */
static bool reads_right(Search *search, const Value *value, const Dim *index) {
    if (!depends(search, value)) return true;
    int key[1 + SN_MAX_RANK] = {value->id};
    for (int i = 0; i < value->type.rank; i++) key[1 + i] = index[i]->id;
    size_t bytes = (size_t)(1 + value->type.rank) * sizeof *key;
    if (sn_map_get(search->checked, key, bytes)) return true;
    if (!reads_operands(search, value, index)) return false;
    *sn_map_at(search->checked, key, bytes) = search;
    return true;
}

/* ---- where a result is stored ---- */

static bool place(Search *search, const Value *value, Placement *out);

static bool try_at(Search *search, const Value *value, const Dim *at, bool row, Placement *out) {
    if (!reads_right(search, value, at)) return false;
    *out = (Placement){true, row, at};
    return true;
}

static bool place_as_domain(Search *search, const Value *value, Placement *out) {
    const ClusterFrame *frame = search->frame;
    bool full = value->type.rank == frame->domain.rank, left = full, reduces = false;
    for (int i = 0; i < frame->domain.rank && (full || left); i++) {
        bool reduced =
            frame->left[i] != frame->full[i] || (frame->reduced[i] && sn_dim_equals(frame->domain.dim[i], 1));
        reduces |= frame->left[i] != frame->full[i];
        full = full && value->type.dim[i] == frame->domain.dim[i];
        left = left &&
               (reduced ? sn_dim_equals(value->type.dim[i], 1) : value->type.dim[i] == frame->domain.dim[i]);
    }
    if (full && try_at(search, value, frame->full, false, out)) return true;
    return left && reduces && try_at(search, value, frame->left, true, out);
}

static bool place_through_view(Search *search, const Value *value, Placement *out) {
    const AttrView *attr = value->producer->attr;
    const Value *source = value->producer->input[0];
    Placement below;
    IndexMap map = {attr->rank, attr->extent, attr->source_rank, attr->index}, inverse;
    if (!place(search, source, &below)) return false;
    if (!sn_view_invert(search->dims, search->arena, &map, source->type.dim, &inverse)) return false;
    Dim *axes = sn_view_axes(search->dims, search->arena, source->type.rank, source->type.dim);
    Dim *at = SN_ARRAY(search->arena, Dim, value->type.rank);
    for (int i = 0; i < value->type.rank; i++)
        at[i] = sn_dim_replace(search->dims, inverse.index[i], axes, below.at, source->type.rank);
    return try_at(search, value, at, below.row, out);
}

static bool place_anew(Search *search, const Value *value, Placement *out) {
    if (place_as_domain(search, value, out)) return true;
    const Node *node = value->producer;
    if (!node || is_anchor(node)) return false;
    if (node->op == SN_OP_VIEW) return place_through_view(search, value, out);
    if (sn_op(node->op)->class != SN_CLASS_POINTWISE) return false;
    for (int i = 0; i < node->input_count; i++) {
        Placement below;
        if (node->input[i]->type.rank == value->type.rank && place(search, node->input[i], &below) &&
            try_at(search, value, below.at, below.row, out))
            return true;
    }
    return false;
}

static bool place(Search *search, const Value *value, Placement *out) {
    void **slot = sn_map_at(search->placed, &value->id, sizeof value->id);
    if (*slot) {
        *out = *(Placement *)*slot;
        return out->found;
    }
    *out = (Placement){false, false, NULL};
    place_anew(search, value, out);
    Placement *kept = SN_NEW(search->arena, Placement);
    *kept = *out;
    *sn_map_at(search->placed, &value->id, sizeof value->id) = kept;
    return out->found;
}

static Search search_new(Dims *dims, Arena *arena, const ClusterFrame *frame) {
    Search search = {dims, arena, frame, sn_map_new(arena), sn_map_new(arena), sn_map_new(arena)};
    note_dependents(&search);
    return search;
}

bool sn_cluster_place(Dims *dims, Arena *arena, const ClusterFrame *frame, const Value *value, const Dim **at,
                      bool *row) {
    Search search = search_new(dims, arena, frame);
    Placement placement;
    if (!place(&search, value, &placement)) return false;
    *at = placement.at;
    *row = placement.row;
    return true;
}

/* ---- legality ---- */

static const char *legal_body(const Node *cluster) {
    for (const Node *node = cluster->body->first; node; node = node->next) {
        const OpInfo *op = sn_op(node->op);
        if (node->op != SN_OP_CONSTANT && op->level != SN_LEVEL_PRIMITIVE && op->level != SN_LEVEL_DIRECT)
            return "an operator that is not expanded";
        if (node->op != SN_OP_CONSTANT) continue;
        double splat;
        if (((const AttrConstant *)node->attr)->tensor->count != 1 &&
            !sn_value_is_splat(node->output[0], &splat))
            return "a constant of several values, which must be an input of the cluster";
    }
    return NULL;
}

bool sn_cluster_is_statistic(const Value *value) {
    return value->index > 0 && value->producer && is_anchor(value->producer);
}

static const char *legal_reads(Search *search) {
    for (const Node *node = search->frame->cluster->body->first; node; node = node->next)
        if (sn_op(node->op)->class == SN_CLASS_REDUCE &&
            !reads_right(search, node->input[0], search->frame->full))
            return "a reduction that reads another one at a different row";
    for (int i = 0; i < search->frame->cluster->body->result.count; i++) {
        Placement placement;
        if (sn_cluster_is_statistic(search->frame->cluster->body->result.at[i])) continue;
        if (!place(search, search->frame->cluster->body->result.at[i], &placement))
            return "a result that is no invertible view of the anchor's domain";
    }
    return NULL;
}

const char *sn_cluster_legal(Dims *dims, const Node *cluster) {
    Arena *arena = sn_arena_child(cluster->body->graph->arena);
    ClusterFrame frame;
    const char *reason = legal_body(cluster);
    if (!reason) reason = sn_cluster_frame(dims, arena, cluster, &frame);
    if (!reason && frame.anchor) {
        Search search = search_new(dims, arena, &frame);
        reason = legal_reads(&search);
    }
    sn_arena_free(arena);
    return reason;
}

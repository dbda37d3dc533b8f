/* The partition of a graph that is being fused. */
#include "fuse_internal.h"

Part *sn_fusion_part(const Fusion *fusion, const Node *node) {
    Part *part = fusion->of_node[node->id];
    while (part && part->into) part = part->into;
    return part;
}

bool sn_fusion_is_free(Fusion *fusion, const Node *node) {
    if (fusion->owned[node->id]) return false;
    return fusion->index_depth[node->id] > 0 || node->op == SN_OP_VIEW;
}

void sn_fusion_sources(Fusion *fusion, const Node *node, SourceVisitor *visit, void *user) {
    for (int k = 0; k < node->input_count; k++) {
        Value *value = node->input[k];
        if (!value) continue;
        if (value->producer && sn_fusion_is_free(fusion, value->producer))
            sn_fusion_sources(fusion, value->producer, visit, user);
        else
            visit(user, value);
    }
}

static const ClusterKind kind_of_class[] = {
    [SN_CLASS_NONE] = SN_CLUSTER_MAP,
    [SN_CLASS_SOURCE] = SN_CLUSTER_MAP,
    [SN_CLASS_POINTWISE] = SN_CLUSTER_MAP,
    [SN_CLASS_MOVE] = SN_CLUSTER_MAP,
    [SN_CLASS_REDUCE] = SN_CLUSTER_REDUCE,
    [SN_CLASS_CONTRACT] = SN_CLUSTER_CONTRACT,
    [SN_CLASS_ATTENTION] = SN_CLUSTER_ATTENTION,
    [SN_CLASS_SCAN] = SN_CLUSTER_SCAN,
    [SN_CLASS_PACK] = SN_CLUSTER_PACK,
    [SN_CLASS_SCATTER] = SN_CLUSTER_SCATTER,
    [SN_CLASS_RECURRENT] = SN_CLUSTER_RECURRENT,
};

static void take_kind(Part *part, const Node *node) {
    ClusterKind kind = kind_of_class[sn_op(node->op)->class];
    if (kind != SN_CLUSTER_MAP) part->kind = kind;
    if (kind != SN_CLUSTER_REDUCE) return;
    part->reduce = node->attr;
    part->domain = node->input[0]->type;
}

Part *sn_fusion_new_part(Fusion *fusion, Node *node) {
    Part *part = SN_NEW(fusion->pass->arena, Part);
    *part = (Part){.id = fusion->part.count,
                   .group = node->group,
                   .phase = node->phase,
                   .level = fusion->levels.node[node->id],
                   .setup = node->setup,
                   .copies = 1};
    part->late = -1;
    part->kind = SN_CLUSTER_MAP;
    part->domain = node->output[0]->type;
    take_kind(part, node);
    sn_push(fusion->pass->arena, &fusion->part, part);
    return part;
}

/* ---- what depends on what ----
 *
 * A part is as late as the latest of what it depends on. So one that is less late than another does not depend on it,
 * and of a long graph only the end is walked to see that. */

static void be_late(Fusion *fusion, Part *part, int late) {
    SN_VEC(Part *) open = {0};
    sn_push(fusion->pass->arena, &open, part);
    while (open.count > 0) {
        part = open.at[--open.count];
        while (part->into) part = part->into;
        if (part->late >= late) continue;
        part->late = late;
        for (int i = 0; i < part->reader.count; i++) sn_push(fusion->pass->arena, &open, part->reader.at[i]);
    }
}

typedef struct Placing {
    Fusion *fusion;
    Part *part;
} Placing;

static void note_source(void *user, Value *source) {
    const Placing *placing = user;
    Part *from = source->producer ? sn_fusion_part(placing->fusion, source->producer) : NULL;
    if (!from || from == placing->part) return;
    int count = from->reader.count;
    if (!count || from->reader.at[count - 1] != placing->part)
        sn_push(placing->fusion->pass->arena, &from->reader, placing->part);
    be_late(placing->fusion, placing->part, from->late);
}

void sn_fusion_place(Fusion *fusion, Node *node, Part *part) {
    if (part->kind == SN_CLUSTER_MAP && part->node.count > 0) {
        part->domain = node->output[0]->type; /* the loop follows the newest result */
        take_kind(part, node);
    }
    sn_push(fusion->pass->arena, &part->node, node);
    fusion->of_node[node->id] = part;
    Placing placing = {fusion, part};
    be_late(fusion, part, fusion->place[node->id]);
    sn_fusion_sources(fusion, node, note_source, &placing);
}

void sn_fusion_join(Fusion *fusion, Part *part, Part *from) {
    int late = part->late > from->late ? part->late : from->late;
    for (int i = 0; i < from->node.count; i++) sn_push(fusion->pass->arena, &part->node, from->node.at[i]);
    for (int i = 0; i < from->reader.count; i++)
        sn_push(fusion->pass->arena, &part->reader, from->reader.at[i]);
    if (from->copies > part->copies) part->copies = from->copies;
    from->into = part;
    part->late = late;
    for (int i = 0; i < part->reader.count; i++) be_late(fusion, part->reader.at[i], late);
}

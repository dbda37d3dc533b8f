/* From parts to cluster nodes. */
#include "cluster.h"
#include "fuse_internal.h"

typedef struct Cluster Cluster;

typedef struct Build {
    Fusion *fusion;
    Graph *graph;
    int values;     /* those of the body; clones have higher ids */
    int *order;     /* by node id: position in the body */
    bool *external; /* by value id: another part, or the graph's result, reads it */
    Value **clone;  /* by value id: its copy in part clone_of[id] */
    const Part **clone_of;
    Part *reading; /* whose operands are being visited */
    SN_VEC(Cluster *) cluster;
} Build;

/* The cluster of one part while it is made. */
struct Cluster {
    Build *build;
    Part *part;
    Node *node;
    Region *region;
    SN_VEC(Value *) input;  /* values of the body, parallel to region->param */
    SN_VEC(Value *) output; /* likewise, parallel to region->result */
};

static void sort_nodes(Build *build, Part *part) {
    for (int i = 1; i < part->node.count; i++) { /* insertion: nearly sorted, at most a few dozen */
        Node *node = part->node.at[i];
        int j = i;
        for (; j > 0 && build->order[part->node.at[j - 1]->id] > build->order[node->id]; j--)
            part->node.at[j] = part->node.at[j - 1];
        part->node.at[j] = node;
    }
}

static void mark_external(void *user, Value *source) {
    Build *build = user;
    Part *maker = source->producer ? sn_fusion_part(build->fusion, source->producer) : NULL;
    if (maker && maker != build->reading) build->external[source->id] = true;
}

static void find_externals(Build *build) {
    Fusion *fusion = build->fusion;
    memset(build->external, 0, (size_t)build->values * sizeof *build->external);
    for (int p = 0; p < fusion->part.count; p++) {
        build->reading = fusion->part.at[p];
        if (build->reading->into) continue;
        for (int i = 0; i < build->reading->node.count; i++)
            sn_fusion_sources(fusion, build->reading->node.at[i], mark_external, build);
    }
    for (int i = 0; i < build->graph->body->result.count; i++)
        build->external[build->graph->body->result.at[i]->id] = true;
}

/* ---- cloning one part ---- */

static Value *clone_operand(Cluster *cluster, Value *value);

static void remember(Cluster *cluster, const Value *value, Value *copy) {
    cluster->build->clone[value->id] = copy;
    cluster->build->clone_of[value->id] = cluster->part;
}

static Node *clone_node(Cluster *cluster, const Node *node) {
    Graph *graph = cluster->build->graph;
    Value **input = SN_ARRAY(cluster->build->fusion->pass->arena, Value *, node->input_count);
    for (int k = 0; k < node->input_count; k++)
        input[k] = node->input[k] ? clone_operand(cluster, node->input[k]) : NULL;
    Node *copy = sn_node_new(graph, node->op, node->attr, node->input_count, input, node->output_count);
    copy->origin = node->origin;
    copy->group = node->group;
    copy->phase = node->phase;
    for (int k = 0; k < node->output_count; k++) {
        copy->output[k]->type = node->output[k]->type;
        copy->output[k]->known = node->output[k]->known;
        remember(cluster, node->output[k], copy->output[k]);
    }
    sn_node_append(cluster->region, copy);
    return copy;
}

static Value *clone_operand(Cluster *cluster, Value *value) {
    Build *build = cluster->build;
    if (build->clone_of[value->id] == cluster->part) return build->clone[value->id];
    if (value->producer && sn_fusion_is_free(build->fusion, value->producer))
        return clone_node(cluster, value->producer)->output[value->index];
    Value *param = sn_region_param(cluster->region, value->type, NULL);
    param->known = value->known;
    remember(cluster, value, param);
    sn_push(build->fusion->pass->arena, &cluster->input, value);
    return param;
}

/* The node whose name the kernel goes by: its anchor, else its last node. */
static const Node *chief(const Part *part) {
    for (int i = 0; i < part->node.count; i++) {
        OpClass class = sn_op(part->node.at[i]->op)->class;
        bool anchor = class != SN_CLASS_POINTWISE && class != SN_CLASS_MOVE;
        if (anchor && part->kind != SN_CLUSTER_MAP) return part->node.at[i];
    }
    return part->node.at[part->node.count - 1];
}

static void describe(Graph *graph, const Part *part, Node *cluster) {
    const Node *main = chief(part);
    cluster->origin = main->origin;
    for (int i = 0; i < part->node.count; i++)
        cluster->origin = sn_origin_union(graph, cluster->origin, part->node.at[i]->origin);
    cluster->group = main->group;
    cluster->phase = part->phase;
    cluster->setup = part->setup;
}

/* Makes cluster->node, linked nowhere yet; its outputs stand for the values in cluster->output. */
static void build_cluster(Cluster *cluster) {
    Build *build = cluster->build;
    Graph *graph = build->graph;
    Part *part = cluster->part;
    cluster->region = sn_region_new(graph, NULL);
    for (int i = 0; i < part->node.count; i++) {
        const Node *copy = clone_node(cluster, part->node.at[i]);
        for (int k = 0; k < copy->output_count; k++) {
            Value *original = part->node.at[i]->output[k];
            if (!build->external[original->id]) continue;
            sn_region_result(cluster->region, copy->output[k]);
            sn_push(build->fusion->pass->arena, &cluster->output, original);
        }
    }
    AttrCluster *attr = SN_NEW(graph->arena, AttrCluster);
    attr->kind = part->kind;
    Node *node = sn_node_new(graph, SN_OP_CLUSTER, attr, cluster->input.count, cluster->input.at,
                             cluster->output.count);
    node->body = cluster->region;
    cluster->region->owner = node;
    for (int k = 0; k < node->output_count; k++) node->output[k]->type = cluster->output.at[k]->type;
    describe(graph, part, node);
    cluster->node = node;
}

/* ---- all parts ---- */

static void split_part(Fusion *fusion, Part *part, const char *reason) {
    sn_pass_remark(fusion->pass, chief(part)->origin, false,
                   "a %s kernel of %d operators was taken apart: %s", sn_cluster_kind_name(part->kind),
                   part->node.count, reason);
    for (int i = 0; i < part->node.count; i++) {
        Node *node = part->node.at[i];
        sn_fusion_place(fusion, node, sn_fusion_new_part(fusion, node));
    }
    part->node.count = 0;
}

/* Makes the cluster of each part, linked nowhere. False when a part had to be split, so that what is stored
 * has changed and all must be made again. */
static bool build_parts(Build *build) {
    Fusion *fusion = build->fusion;
    bool whole = true;
    find_externals(build);
    memset(build->clone_of, 0, (size_t)build->values * sizeof *build->clone_of);
    build->cluster.count = 0;
    for (int p = 0, count = fusion->part.count; p < count && !fusion->pass->status; p++) {
        Part *part = fusion->part.at[p];
        if (part->into || part->node.count == 0) continue;
        sort_nodes(build, part);
        Cluster *cluster = SN_NEW(fusion->pass->arena, Cluster);
        *cluster = (Cluster){.build = build, .part = part};
        build_cluster(cluster);
        sn_push(fusion->pass->arena, &build->cluster, cluster);
        const char *reason = sn_cluster_legal(build->graph->dims, cluster->node);
        if (!reason) continue;
        whole = false;
        if (part->node.count > 1)
            split_part(fusion, part, reason);
        else
            fusion->pass->status =
                sn_fail(SN_INTERNAL, "%s cannot be a kernel: %s", sn_op(part->node.at[0]->op)->text, reason);
    }
    return whole;
}

static void link_clusters(Build *build) {
    Region *body = build->graph->body;
    for (int c = 0; c < build->cluster.count; c++) sn_node_append(body, build->cluster.at[c]->node);
    for (int c = 0; c < build->cluster.count; c++) {
        Cluster *cluster = build->cluster.at[c];
        for (int k = 0; k < cluster->output.count; k++)
            sn_value_replace(cluster->output.at[k], cluster->node->output[k]);
    }
    sn_region_sweep(body);
    if (!sn_region_sort(body))
        build->fusion->pass->status = sn_fail(SN_INTERNAL, "the kernels wait for one another");
}

void sn_fusion_build(Fusion *fusion) {
    Arena *scratch = fusion->pass->arena;
    Graph *graph = fusion->graph;
    Build build = {.fusion = fusion, .graph = graph, .values = graph->next_value};
    build.order = SN_ARRAY(scratch, int, graph->next_node);
    build.external = SN_ARRAY(scratch, bool, build.values);
    build.clone = SN_ARRAY(scratch, Value *, build.values);
    build.clone_of = SN_ARRAY(scratch, const Part *, build.values);
    int position = 0;
    for (Node *node = graph->body->first; node; node = node->next) build.order[node->id] = position++;
    while (!build_parts(&build))
        if (fusion->pass->status) return;
    link_clusters(&build);
}

/* Origins (which nodes of the model a node stems from) and the checks of bind time. */
#include "graph.h"

#include <string.h>

/* ---- origins ----
 *
 * The intern table holds source nodes and sets. A key begins with a byte that tells which; a source node's
 * key is its content, a set's key is its source nodes' addresses, the primary one first. */

static const SourceNode *intern_source(Graph *graph, const SourceNode *node) {
    Text key = sn_text(graph->arena);
    sn_text_add(&key, "n%d %d ", node->index, node->opset);
    sn_text_put(&key, node->name, strlen(node->name) + 1);
    sn_text_put(&key, node->op_type, strlen(node->op_type) + 1);
    sn_text_put(&key, node->domain, strlen(node->domain) + 1);
    void **slot = sn_map_at(graph->origins, key.at, key.length);
    if (*slot) return *slot;
    SourceNode *copy = SN_NEW(graph->arena, SourceNode);
    *slot = copy;
    copy->name = sn_arena_string(graph->arena, node->name);
    copy->op_type = sn_arena_string(graph->arena, node->op_type);
    copy->domain = sn_arena_string(graph->arena, node->domain);
    copy->opset = node->opset;
    copy->index = node->index;
    return copy;
}

/* `node` is sorted, of interned source nodes; it is kept. */
static const Origin *intern_set(Graph *graph, const SourceNode *primary, int count,
                                const SourceNode *const *node) {
    Text key = sn_text(graph->arena);
    sn_text_put(&key, "s", 1);
    sn_text_put(&key, (const char *)&primary, sizeof primary);
    sn_text_put(&key, (const char *)node, (size_t)count * sizeof *node);
    void **slot = sn_map_at(graph->origins, key.at, key.length);
    if (*slot) return *slot;
    Origin *origin = SN_NEW(graph->arena, Origin);
    *slot = origin;
    *origin = (Origin){.primary = primary, .count = count, .node = node};
    return origin;
}

const char *sn_source_text(Arena *arena, const SourceNode *node) {
    /* The operator's type without its quotes: what is escaped inside them cannot forge a line. */
    const char *type = sn_quoted(arena, node->op_type);
    return sn_arena_printf(arena, "node %s (%.*s, opset %d)", sn_quoted(arena, node->name),
                           (int)strlen(type) - 2, type + 1, node->opset);
}

const Origin *sn_origin(Graph *graph, const SourceNode *node) {
    const SourceNode **list = SN_ARRAY(graph->arena, const SourceNode *, 1);
    list[0] = intern_source(graph, node);
    return intern_set(graph, list[0], 1, list);
}

/* By position in the file, then by content, so that the order never depends on addresses. */
static int compare_sources(const SourceNode *a, const SourceNode *b) {
    if (a == b) return 0;
    if (a->index != b->index) return a->index < b->index ? -1 : 1;
    if (a->opset != b->opset) return a->opset < b->opset ? -1 : 1;
    int order = strcmp(a->name, b->name);
    if (!order) order = strcmp(a->op_type, b->op_type);
    return order ? order : strcmp(a->domain, b->domain);
}

const Origin *sn_origin_union(Graph *graph, const Origin *a, const Origin *b) {
    if (!a || a == b) return b;
    if (!b) return a;
    const SourceNode **list = SN_ARRAY(graph->arena, const SourceNode *, a->count + b->count);
    int i = 0, j = 0, count = 0;
    while (i < a->count || j < b->count) {
        int order = i == a->count ? 1 : j == b->count ? -1 : compare_sources(a->node[i], b->node[j]);
        list[count++] = order <= 0 ? a->node[i] : b->node[j];
        if (order <= 0) i++;
        if (order >= 0) j++;
    }
    if (count == a->count) return a;
    return intern_set(graph, a->primary, count, list);
}

/* ---- checks ---- */

static bool proven(Dims *dims, CheckKind kind, Dim a, Dim b) {
    if (kind == SN_CHECK_AT_MOST) return sn_dim_le(dims, a, b);
    if (a == b) return true;
    return kind == SN_CHECK_BROADCAST && (sn_dim_equals(a, 1) || sn_dim_equals(b, 1));
}

static bool refuted(Dims *dims, CheckKind kind, Dim a, Dim b) {
    if (kind == SN_CHECK_AT_MOST) return sn_dim_lt(dims, b, a);
    if (!sn_dim_ne(dims, a, b)) return false;
    Dim one = sn_dim(dims, 1);
    return kind == SN_CHECK_EQUAL || (sn_dim_ne(dims, a, one) && sn_dim_ne(dims, b, one));
}

static Status refuse(Graph *graph, CheckKind kind, Dim a, Dim b) {
    static const char *const what[] = {
        [SN_CHECK_EQUAL] = "is not equal to",
        [SN_CHECK_BROADCAST] = "does not broadcast with",
        [SN_CHECK_AT_MOST] = "is greater than",
    };
    Arena *scratch = sn_arena_child(graph->arena);
    Text text = sn_text(scratch);
    sn_text_add(&text, "extent ");
    sn_dim_print(&text, graph->dims, a);
    sn_text_add(&text, " %s ", what[kind]);
    sn_dim_print(&text, graph->dims, b);
    Status status = sn_fail(SN_INVALID, "%s", sn_text_string(&text));
    sn_arena_free(scratch);
    return status;
}

Status sn_graph_check(Graph *graph, CheckKind kind, Dim a, Dim b, const Origin *origin) {
    if (proven(graph->dims, kind, a, b)) return NULL;
    if (refuted(graph->dims, kind, a, b)) return refuse(graph, kind, a, b);
    for (int i = 0; i < graph->checks.count; i++) {
        const Check *check = &graph->checks.at[i];
        if (check->kind != kind) continue;
        if (check->a == a && check->b == b) return NULL;
        if (kind != SN_CHECK_AT_MOST && check->a == b && check->b == a) return NULL;
    }
    Check check = {.kind = kind, .a = a, .b = b, .origin = origin};
    sn_push(graph->arena, &graph->checks, check);
    return NULL;
}

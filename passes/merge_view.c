/* Views of views become one view; a view that is the identity goes away. */
#include "simplify_internal.h"
#include "view.h"

static IndexMap map_of(const Node *view) {
    const AttrView *attr = view->attr;
    return (IndexMap){attr->rank, attr->extent, attr->source_rank, attr->index};
}

Value *sn_merge_view(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    if (node->op != SN_OP_VIEW) return NULL;
    Graph *graph = b->graph;
    Value *source = node->input[0];
    IndexMap map = map_of(node);
    if (sn_view_is_identity(graph->dims, &map, source->type.dim)) return source;
    if (!source->producer || source->producer->op != SN_OP_VIEW) return NULL;
    IndexMap inner = map_of(source->producer);
    IndexMap whole = sn_view_compose(graph->dims, graph->arena, &map, &inner);
    AttrView attr = {whole.rank, whole.extent, whole.source_rank, whole.index};
    return sn_build1(b, SN_OP_VIEW, &attr, source->producer->input[0]);
}

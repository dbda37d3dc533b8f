/* Views of views become one view; a view that is the identity goes away. */
#include "simplify_internal.h"
#include "view.h"

Value *sn_merge_view(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    if (node->op != SN_OP_VIEW) return NULL;
    Graph *graph = b->graph;
    Value *source = node->input[0];
    const AttrView *map = node->attr;
    if (sn_view_is_identity(graph->dims, map, source->type.dim)) return source;
    if (!source->producer || source->producer->op != SN_OP_VIEW) return NULL;
    const AttrView *inner = source->producer->attr;
    IndexMap whole = sn_view_compose(graph->dims, graph->arena, map, inner);
    return sn_build1(b, SN_OP_VIEW, &whole, source->producer->input[0]);
}

#include "text_form.h"

/* Inside a quoted label of Graphviz, from text that is already escaped and quoted by us. */
static void add_escaped(Text *text, const char *string) {
    for (const char *c = string; *c; c++) {
        if (*c == '"' || *c == '\\') sn_text_put(text, "\\", 1);
        sn_text_put(text, c, 1);
    }
}

static void add_name(Text *text, const char *name) {
    Arena *scratch = sn_arena_child(text->arena);
    Text quoted = sn_text(scratch);
    sn_text_quote(&quoted, name, strlen(name));
    add_escaped(text, sn_text_string(&quoted));
    sn_arena_free(scratch);
}

static void add_edges(Text *text, const Graph *graph, const Node *node) {
    Arena *scratch = sn_arena_child(text->arena);
    for (int k = 0; k < node->input_count; k++) {
        const Value *value = node->input[k];
        if (!value) continue;
        Text label = sn_text(scratch);
        sn_type_print(&label, graph->dims, value->type);
        if (value->producer)
            sn_text_add(text, "  n%d -> n%d", value->producer->id, node->id);
        else
            sn_text_add(text, "  v%d -> n%d", value->id, node->id);
        sn_text_add(text, " [label=\"");
        add_escaped(text, sn_text_string(&label));
        sn_text_add(text, "\"];\n");
    }
    sn_arena_free(scratch);
}

static void add_node(Text *text, const Graph *graph, const Node *node) {
    sn_text_add(text, "  n%d [label=\"%s", node->id, sn_op(node->op)->text);
    if (node->origin) {
        sn_text_add(text, "\\n");
        add_name(text, node->origin->primary->name);
    }
    sn_text_add(text, "\"];\n");
    add_edges(text, graph, node);
}

static void add_param(Text *text, const Value *param) {
    sn_text_add(text, "  v%d [shape=ellipse, label=\"%%%d", param->id, param->id);
    if (param->name) {
        sn_text_add(text, " ");
        add_name(text, param->name);
    }
    sn_text_add(text, "\"];\n");
}

/* A cluster is a box around its body; edges from outside end at a point inside it that bears its id. */
static void add_cluster(Text *text, const Graph *graph, const Node *cluster) {
    sn_text_add(text, "  subgraph cluster_%d {\n  label=\"%s\";\n", cluster->id,
                sn_cluster_kind_name(((const AttrCluster *)cluster->attr)->kind));
    sn_text_add(text, "  n%d [shape=point];\n", cluster->id);
    for (int i = 0; i < cluster->body->param.count; i++) add_param(text, cluster->body->param.at[i]);
    for (const Node *node = cluster->body->first; node; node = node->next) add_node(text, graph, node);
    sn_text_add(text, "  }\n");
    add_edges(text, graph, cluster);
}

void sn_graph_print_dot(Text *text, const Graph *graph) {
    const Region *body = graph->body;
    sn_text_add(text, "digraph {\n  node [shape=box];\n");
    for (int i = 0; i < body->param.count; i++) add_param(text, body->param.at[i]);
    for (const Node *node = body->first; node; node = node->next) {
        if (node->body)
            add_cluster(text, graph, node);
        else
            add_node(text, graph, node);
    }
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        sn_text_add(text, "  o%d [shape=ellipse, label=\"", i);
        add_name(text, i < graph->output_name.count ? graph->output_name.at[i] : "");
        sn_text_add(text, "\"];\n  %c%d -> o%d;\n", value->producer ? 'n' : 'v',
                    value->producer ? value->producer->id : value->id, i);
    }
    sn_text_add(text, "}\n");
}

/* What is not supported: noted node by node, reported all at once. */
#include "import.h"
#include "loop.h"

#include <string.h>

void sn_import_note(Import *import, const char *key, const char *line) {
    import->refused++;
    void **slot = sn_map_at_string(import->problems, key);
    if (!*slot) *slot = sn_arena_string(import->scratch, line);
}

void sn_import_problem(Import *import, const SourceNode *node, Status status) {
    const char *reason = sn_error_message(status), *word = "unsupported: ";
    if (strncmp(reason, word, strlen(word)) == 0) reason += strlen(word);
    const char *type = sn_quoted(import->scratch, node->op_type),
               *domain = sn_quoted(import->scratch, node->domain);
    Text text = sn_text(import->scratch);
    if (*node->domain) sn_text_add(&text, "%.*s.", (int)strlen(domain) - 2, domain + 1);
    sn_text_add(&text, "%.*s, opset %d: %s", (int)strlen(type) - 2, type + 1, node->opset, reason);
    const char *key = sn_arena_string(import->scratch, sn_text_string(&text));
    sn_text_add(&text, " (for example node %s)", sn_quoted(import->scratch, node->name));
    sn_import_note(import, key, sn_text_string(&text));
    sn_error_free(status);
}

static bool is_input(const Graph *graph, const Value *value) {
    for (int i = 0; i < graph->body->param.count; i++)
        if (graph->body->param.at[i] == value) return true;
    return false;
}

typedef SN_VEC(const Value *) ValueList;

/* What loops make are inputs of the graph, too, but none of the file's: they come of what their loop takes. */
static void push_taken(const Import *import, const Value *made, ValueList *left) {
    for (int i = 0; i < import->loops.count; i++) {
        const ImportLoop *loop = &import->loops.at[i];
        int k = 0, count = sn_loop_made(&loop->loop);
        while (k < count && loop->made[k] != made) k++;
        for (int t = 0; k < count && t < sn_loop_taken(&loop->loop); t++)
            sn_push(import->scratch, left, loop->taken[t]);
    }
}

/* A turn's inputs are what it has from around it, or what the turn before has made, which no input of the file is. */
static void note_input(Import *import, const Value *value) {
    if (!import->turn)
        *sn_map_at_string(import->deciding, value->name) = import;
    else
        sn_import_deciding(import->around, sn_map_get(import->captures, &value, sizeof value));
}

void sn_import_deciding(Import *import, const Value *value) {
    ValueList left = {0};
    if (value) sn_push(import->scratch, &left, value);
    while (left.count > 0) {
        value = left.at[--left.count];
        void **slot = sn_map_at(import->walked, &value, sizeof value);
        if (!value || *slot) continue;
        *slot = import;
        if (sn_map_get(import->made, &value, sizeof value))
            push_taken(import, value, &left);
        else if (is_input(import->graph, value))
            note_input(import, value);
        for (int k = 0; value->producer && k < value->producer->input_count; k++)
            sn_push(import->scratch, &left, value->producer->input[k]);
    }
}

/* What might help. */
static void add_deciding(const Import *import, Text *text) {
    const void *name;
    size_t length;
    int count = sn_map_count(import->deciding);
    for (int i = 0; i < count; i++) {
        sn_map_entry(import->deciding, i, &name, &length);
        sn_text_add(text, i ? ", " : "\n  inputs that decide it: ");
        sn_text_quote(text, name, length);
    }
    if (count) sn_text_add(text, " (constants in their place may do)");
}

Status sn_import_bare(Import *import, const SourceNode *node, Status status) {
    const char *prefix = sn_source_text(import->scratch, node), *message = sn_error_message(status);
    size_t length = strlen(prefix);
    if (strncmp(message, prefix, length) != 0 || strncmp(message + length, ": ", 2) != 0) return status;
    Status bare = sn_fail(sn_error_code(status), "%s", message + length + 2);
    sn_error_free(status);
    return bare;
}

/* Whether an input is not supported, or an output depends on a node that is not: what else could not be made
 * is read by nothing that matters. */
static bool is_incomplete(const Import *import, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_input + graph->n_output; i++) {
        const Onnx__ValueInfoProto *info =
            i < graph->n_input ? graph->input[i] : graph->output[i - graph->n_input];
        const Binding *binding = sn_scope_find(import, info->name);
        if (binding && binding->unknown) return true;
    }
    return false;
}

Status sn_import_report(Import *import, const Onnx__GraphProto *graph) {
    if (import->refused == 0 || !is_incomplete(import, graph)) return NULL;
    Text text = sn_text(import->scratch);
    for (int i = 0; i < sn_map_count(import->problems); i++)
        sn_text_add(&text, "\n  %s", (const char *)sn_map_entry(import->problems, i, NULL, NULL));
    add_deciding(import, &text);
    return sn_fail(SN_UNSUPPORTED, "unsupported:%s", sn_text_string(&text));
}

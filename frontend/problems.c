/* What is not supported: noted node by node, reported all at once. */
#include "import.h"

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

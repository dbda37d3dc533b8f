#include "language.h"
#include "sizes.h"

enum {
    ROUNDABOUT = 16, /* movements between positions and the table that they index */
    KINDS_MOST = 16, /* a table of fewer rows is one of kinds of tokens, not of positions */
};

static const Value *input_of(const Graph *graph, int index) {
    return graph->body->param.at[index];
}

static bool may_be_tokens(Type type) {
    return sn_dtype_is_int(type.dtype) && type.rank == 2;
}

static Status find_tokens(Language *language) {
    const Graph *graph = language->graph;
    int count = graph->body->param.count - sn_graph_loop_params(graph), candidates = 0;
    language->tokens = -1;
    for (int i = 0; i < count; i++) {
        if (!may_be_tokens(input_of(graph, i)->type)) continue;
        int64_t rows = sn_inputs_table_rows(graph, i, NULL);
        candidates++;
        if (language->tokens >= 0 && rows <= language->vocabulary) continue;
        language->tokens = i;
        language->vocabulary = rows;
    }
    if (language->tokens < 0)
        return sn_fail(SN_INVALID, "the model has no integer input [batch, length] for tokens");
    if (candidates > 1 && !language->vocabulary)
        return sn_fail(SN_INVALID,
                       "the model has %d integer inputs, and none of them indexes a table of tokens",
                       candidates);
    Type type = input_of(graph, language->tokens)->type;
    language->dtype = type.dtype;
    sn_dim_is(type.dim[0], &language->batch);
    sn_dim_is(type.dim[1], &language->length);
    return NULL;
}

static Status find_logits(Language *language, const char *name) {
    const Graph *graph = language->graph;
    language->logits = -1;
    int count = graph->body->result.count - sn_graph_hidden_results(graph);
    for (int i = 0; i < count && language->logits < 0; i++) {
        Type type = graph->body->result.at[i]->type;
        bool fits = sn_dtype_is_float(type.dtype) && type.rank == 3;
        if (name ? strcmp(graph->output_name.at[i], name) == 0 : fits) language->logits = i;
    }
    if (language->logits < 0 && name) return sn_fail(SN_INVALID, "the model has no output '%s'", name);
    if (language->logits < 0)
        return sn_fail(SN_INVALID, "the model has no output of floats [batch, length, classes]");
    Type type = graph->body->result.at[language->logits]->type;
    bool fits = sn_dtype_is_float(type.dtype) && type.rank == 3 && sn_dim_is(type.dim[2], &language->classes);
    return fits ? NULL
                : sn_fail(SN_INVALID, "the output '%s' is not of floats [batch, length, classes]",
                          graph->output_name.at[language->logits]);
}

/* Whether the value is 0, 1, 2 … or something that moves those, or begins behind a cache. */
static bool are_positions(const Value *value) {
    for (int i = 0; i < ROUNDABOUT && value->producer; i++) {
        const Node *node = value->producer;
        if (node->op == SN_OP_IOTA) return sn_dim_equals(((const AttrIota *)node->attr)->step, 1);
        if (node->op != SN_OP_VIEW && node->op != SN_OP_CAST) return false;
        value = node->input[0];
    }
    return false;
}

static void limit_context(Language *language, int64_t rows) {
    if (!language->context || rows < language->context) language->context = rows;
}

/* Positions that the model makes itself, and those that it is given. */
static void find_context(Language *language) {
    const Graph *graph = language->graph;
    for (int i = 0; i < graph->body->param.count; i++) {
        int64_t rows = sn_inputs_table_rows(graph, i, NULL);
        if (i != language->tokens && may_be_tokens(input_of(graph, i)->type) && rows > KINDS_MOST)
            limit_context(language, rows);
    }
    for (const Node *node = graph->body->first; node; node = node->next) {
        int64_t rows;
        if (node->op != SN_OP_GATHER || !are_positions(node->input[1])) continue;
        const Dim *dim = node->input[0]->type.dim;
        if (!sn_dim_is(dim[((const AttrAxis *)node->attr)->axis], &rows)) continue;
        limit_context(language, rows);
    }
}

Status sn_language_find(const Graph *graph, const char *logits, Language *out) {
    *out = (Language){.graph = graph};
    TRY(find_tokens(out));
    TRY(find_logits(out, logits));
    find_context(out);
    return NULL;
}

static bool is_named(const InputRequest *request, const char *name) {
    for (int i = 0; i < request->input_count; i++)
        if (name && strcmp(request->input[i].name, name) == 0) return true;
    return false;
}

void sn_language_fill(const Language *language, const InputRequest *request, const Inputs *inputs,
                      int64_t past) {
    const sn_Tensor *tokens = &inputs->tensor[language->tokens];
    int64_t length = tokens->extent[1];
    for (int i = 0; i < inputs->count; i++) {
        const sn_Tensor *tensor = &inputs->tensor[i];
        const Value *value = input_of(language->graph, i);
        int64_t rows = sn_inputs_table_rows(language->graph, i, inputs->symbol);
        if (i == language->tokens || !rows || !may_be_tokens(value->type)) continue;
        if (is_named(request, value->name) || tensor->extent[1] != length) continue;
        for (int64_t k = 0; k < tensor->extent[0] * length; k++)
            sn_element_set_int(value->type.dtype, tensor->data, k, rows > KINDS_MOST ? past + k % length : 0);
    }
}

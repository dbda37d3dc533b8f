/* The driver: one node at a time, and what is not supported. */
#include "import.h"

#include <string.h>

/* ---- problems ---- */

void sn_import_note(Import *import, const char *key, const char *line) {
    import->refused++;
    void **slot = sn_map_at_string(import->problems, key);
    if (!*slot) *slot = sn_arena_string(import->scratch, line);
}

/* One line for each operator, opset and reason, with the first node as an example; the status is freed. */
static void note_problem(Import *import, const SourceNode *node, Status status) {
    const char *reason = sn_error_message(status), *word = "unsupported: ";
    if (strncmp(reason, word, strlen(word)) == 0) reason += strlen(word);
    const char *type = sn_import_quoted(import, node->op_type),
               *domain = sn_import_quoted(import, node->domain);
    Text text = sn_text(import->scratch);
    if (*node->domain) sn_text_add(&text, "%.*s.", (int)strlen(domain) - 2, domain + 1);
    sn_text_add(&text, "%.*s, opset %d: %s", (int)strlen(type) - 2, type + 1, node->opset, reason);
    const char *key = sn_arena_string(import->scratch, sn_text_string(&text));
    sn_text_add(&text, " (for example node %s)", sn_import_quoted(import, node->name));
    sn_import_note(import, key, sn_text_string(&text));
    sn_error_free(status);
}

/* How messages name a node, the same way as the builder does. */
static const char *node_text(Import *import, const SourceNode *node) {
    const char *type = sn_import_quoted(import, node->op_type);
    return sn_arena_printf(import->scratch, "node %s (%.*s, opset %d)", sn_import_quoted(import, node->name),
                           (int)strlen(type) - 2, type + 1, node->opset);
}

/* A failure without the node's name in front, where the builder has put it there. */
static Status without_prefix(Import *import, const SourceNode *node, Status status) {
    const char *prefix = node_text(import, node), *message = sn_error_message(status);
    size_t length = strlen(prefix);
    if (strncmp(message, prefix, length) != 0 || strncmp(message + length, ": ", 2) != 0) return status;
    Status bare = sn_fail(sn_error_code(status), "%s", message + length + 2);
    sn_error_free(status);
    return bare;
}

/* ---- one node ---- */

/* Shape arithmetic ends here: a value whose elements are known is made anew from them, and what computed it
 * is left to the sweep. */
static Value *materialise(Import *import, Value *value) {
    const Node *producer = value->producer;
    Type type = value->type;
    if (!value->known || !producer || sn_op(producer->op)->class == SN_CLASS_SOURCE) return value;
    Builder *builder = &import->builder;
    Graph *graph = import->graph;
    int64_t extent[SN_MAX_RANK], count = 1, element;
    for (int k = 0; k < type.rank; k++) {
        if (!sn_dim_is(type.dim[k], &extent[k])) return value;
        count *= extent[k];
    }
    bool constant = true;
    for (int64_t i = 0; i < count; i++) constant = constant && sn_dim_is(value->known[i], &element);
    if (constant) {
        void *bytes;
        Tensor *tensor = sn_tensor_new(graph->arena, type.dtype, type.rank, extent, &bytes);
        for (int64_t i = 0; i < count; i++)
            sn_element_set_int(type.dtype, bytes, i, sn_dim_is(value->known[i], &element) ? element : 0);
        return sn_build_constant(builder, tensor);
    }
    if (type.dtype == SN_BOOL) return value;
    Value *made = sn_build_dims(builder, (int)count, value->known, type.rank == 0);
    if (made && type.rank > 1) made = sn_build_reshape(builder, made, type.rank, type.dim);
    return made ? sn_build_cast(builder, made, type.dtype) : NULL;
}

static Status bind_outputs(Call *call, bool unknown) {
    Import *import = call->import;
    for (int k = 0; k < call->output_count; k++) {
        const char *name = call->node->output[k];
        if (!*name) continue;
        Binding *binding = sn_scope_find(import, name);
        binding->defined = true;
        binding->unknown = unknown || !call->output[k];
        if (binding->unknown) continue;
        binding->value = materialise(import, call->output[k]);
        if (sn_call_failed(call)) return NULL;
        const Narrow *narrow = call->says ? call->made : call->input_count > 0 ? call->narrow[0] : NULL;
        if (narrow && narrow->held == binding->value->type.dtype) binding->narrow = narrow;
        if (!binding->value->name) binding->value->name = sn_arena_string(import->graph->arena, name);
    }
    return NULL;
}

static Status check_arity(const Call *call) {
    const ImportRow *row = call->row;
    if (call->input_count < row->in_min || (row->in_max >= 0 && call->input_count > row->in_max))
        return sn_fail(SN_INVALID, "%d inputs", call->input_count);
    if (call->output_count < 1 || (row->out_max >= 0 && call->output_count > row->out_max))
        return sn_fail(SN_INVALID, "%d outputs", call->output_count);
    for (int k = 0; k < call->input_count; k++)
        if (!call->input[k] && (k < row->in_min || row->in_max < 0))
            return sn_fail(SN_INVALID, "input %d is missing", k);
    return NULL;
}

/* An attribute that a rule did not look at may change the meaning. */
static Status check_attributes(const Call *call) {
    for (size_t i = 0; i < call->node->n_attribute; i++)
        if (!call->read[i])
            return sn_fail(SN_UNSUPPORTED, "attribute %s",
                           sn_import_quoted(call->import, call->node->attribute[i]->name));
    return NULL;
}

static Status find_row(Call *call) {
    bool known;
    call->row = sn_import_row(call->source->domain, call->source->op_type, call->opset, &known);
    if (known && call->opset == 0) return sn_fail(SN_INVALID, "the model imports no opset of this domain");
    if (!call->row && known) return sn_fail(SN_UNSUPPORTED, "not supported at this opset");
    if (!call->row) return sn_fail(SN_UNSUPPORTED, "the operator is not supported");
    return NULL;
}

/* *unknown: an input was not made, so that this node cannot be either. */
static Status read_inputs(Call *call, bool *unknown) {
    *unknown = false;
    for (int k = 0; k < call->input_count; k++) {
        const char *name = call->node->input[k];
        if (!*name) continue;
        TRY(sn_scope_resolve(call->import, name, &call->input[k]));
        const Binding *binding = sn_scope_find(call->import, name);
        if (!call->input[k] && !binding->absent) *unknown = true;
        call->narrow[k] = binding->narrow;
    }
    return NULL;
}

static Status run_rule(Call *call) {
    const Onnx__FunctionProto *function = sn_import_find_function(call->import, call->node);
    int refused = call->import->refused;
    if (function) {
        TRY(sn_import_function(call, function));
    } else {
        TRY(find_row(call));
        TRY(check_arity(call));
        call->output[0] = call->row->rule(call);
    }
    Status status = call->builder->status;
    call->builder->status = NULL;
    if (status) return without_prefix(call->import, call->source, status);
    /* A branch with a node that is not supported has said so. */
    if (call->import->refused > refused) return NULL;
    for (int k = 0; k < call->output_count; k++)
        if (sn_call_wants(call, k) && !call->output[k]) return sn_fail(SN_UNSUPPORTED, "its output %d", k);
    return check_attributes(call);
}

static Status import_call(Call *call) {
    bool unknown;
    Status status = read_inputs(call, &unknown);
    if (!status && !unknown) status = run_rule(call);
    if (sn_error_code(status) == SN_UNSUPPORTED) {
        note_problem(call->import, call->source, status);
        status = NULL;
        unknown = true;
    }
    TRY(status);
    TRY(bind_outputs(call, unknown));
    status = call->builder->status;
    call->builder->status = NULL;
    return status ? without_prefix(call->import, call->source, status) : NULL;
}

static SourceNode *source_of(Import *import, const Onnx__NodeProto *node) {
    Arena *arena = import->graph->arena;
    SourceNode *source = SN_NEW(arena, SourceNode);
    const int64_t *opset = sn_map_get_string(import->opsets, sn_import_domain(node->domain));
    *source = (SourceNode){
        .name = sn_arena_string(arena, node->name),
        .op_type = sn_arena_string(arena, node->op_type),
        .domain = sn_arena_string(arena, sn_import_domain(node->domain)),
        .opset = opset ? (int)*opset : 0,
        .index = import->node_index++,
    };
    return source;
}

static Status import_node(Import *import, const Onnx__NodeProto *node) {
    if (import->node_index >= import->max_nodes)
        return sn_fail(SN_UNSUPPORTED, "more than %lld nodes", (long long)import->max_nodes);
    SourceNode *source = source_of(import, node);
    Builder *builder = &import->builder;
    Builder outer = *builder;
    builder->origin = sn_origin(import->graph, source);
    builder->group = import->graph->next_group++;
    Call call = {
        .import = import,
        .builder = builder,
        .dims = import->graph->dims,
        .node = node,
        .source = source,
        .opset = source->opset,
        .input = SN_ARRAY(import->scratch, Value *, node->n_input),
        .input_count = (int)node->n_input,
        .narrow = SN_ARRAY(import->scratch, const Narrow *, node->n_input),
        .output = SN_ARRAY(import->scratch, Value *, node->n_output + 1),
        .output_count = (int)node->n_output,
        .read = SN_ARRAY(import->scratch, bool, node->n_attribute),
    };
    /* Absent inputs at the end count for nothing. */
    while (call.input_count > 0 && !*node->input[call.input_count - 1]) call.input_count--;
    Status status = import_call(&call);
    *builder = outer;
    return status ? sn_status_prefix(status, "%s", node_text(import, source)) : NULL;
}

/* ---- a graph's nodes ---- */

Status sn_import_nodes(Import *import, size_t count, Onnx__NodeProto *const *node) {
    TRY(sn_scope_results(import, count, node));
    for (size_t i = 0; i < count; i++) TRY(import_node(import, node[i]));
    return NULL;
}

static void mark_used(Import *import, const char *name) {
    *sn_map_at_string(import->used, name) = import;
}

static void mark_used_by(Import *import, size_t count, Onnx__NodeProto *const *node) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < node[i]->n_input; k++) mark_used(import, node[i]->input[k]);
        for (size_t k = 0; k < node[i]->n_attribute; k++) {
            const Onnx__GraphProto *graph = node[i]->attribute[k]->g;
            if (!graph) continue;
            mark_used_by(import, graph->n_node, graph->node);
            for (size_t o = 0; o < graph->n_output; o++) mark_used(import, graph->output[o]->name);
        }
    }
}

/* By name alone, in whatever scope: too many names marked do no harm. */
static void mark_all_used(Import *import) {
    const Onnx__GraphProto *graph = import->model->graph;
    mark_used_by(import, graph->n_node, graph->node);
    for (size_t i = 0; i < graph->n_output; i++) mark_used(import, graph->output[i]->name);
    for (size_t i = 0; i < import->model->n_functions; i++) {
        const Onnx__FunctionProto *function = import->model->functions[i];
        mark_used_by(import, function->n_node, function->node);
        for (size_t k = 0; k < function->n_output; k++) mark_used(import, function->output[k]);
    }
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

static Status report_problems(Import *import, const Onnx__GraphProto *graph) {
    if (import->refused == 0 || !is_incomplete(import, graph)) return NULL;
    Text text = sn_text(import->scratch);
    for (int i = 0; i < sn_map_count(import->problems); i++)
        sn_text_add(&text, "\n  %s", (const char *)sn_map_entry(import->problems, i, NULL, NULL));
    return sn_fail(SN_UNSUPPORTED, "unsupported:%s", sn_text_string(&text));
}

static Status import_outputs(Import *import, const Onnx__GraphProto *graph) {
    Graph *to = import->graph;
    for (size_t i = 0; i < graph->n_output; i++) {
        const Onnx__ValueInfoProto *info = graph->output[i];
        Value *value;
        TRY(sn_status_prefix(sn_scope_resolve(import, info->name, &value), "output %s",
                             sn_import_quoted(import, info->name)));
        int declared = info->type && info->type->tensor_type ? info->type->tensor_type->elem_type : 0;
        DType held = SN_BOOL;
        if (declared && (!sn_narrow_held(declared, &held) || held != value->type.dtype))
            return sn_fail(SN_INVALID, "output %s: declared as element type %d, but it is %s",
                           sn_import_quoted(import, info->name), declared, sn_dtype_name(value->type.dtype));
        sn_graph_output(to, sn_arena_string(to->arena, info->name), value);
    }
    return NULL;
}

Status sn_import_graph(Import *import) {
    const Onnx__GraphProto *graph = import->model->graph;
    import->used = sn_map_new(import->scratch);
    import->problems = sn_map_new(import->scratch);
    import->scope = sn_scope_new(import, NULL);
    import->builder = (Builder){.graph = import->graph, .region = import->graph->body};
    import->opsets = sn_import_opsets(import, import->model->n_opset_import, import->model->opset_import);
    mark_all_used(import);
    TRY(sn_scope_initializers(import, graph));
    TRY(sn_import_inputs(import, graph));
    TRY(sn_import_nodes(import, graph->n_node, graph->node));
    TRY(report_problems(import, graph));
    TRY(import_outputs(import, graph));
    sn_region_sweep(import->graph->body);
    return NULL;
}

/* The driver: scopes, one node at a time, and what is not supported. */
#include "import.h"

#include <string.h>

enum { MAX_DEPTH = 32 }; /* subgraphs inside subgraphs */

/* ---- scopes ---- */

static Scope *scope_new(Import *import) {
    Scope *scope = SN_NEW(import->scratch, Scope);
    *scope = (Scope){import->scope, sn_map_new(import->scratch)};
    return scope;
}

static Binding *find(const Import *import, const char *name) {
    for (const Scope *scope = import->scope; scope; scope = scope->parent) {
        Binding *binding = sn_map_get_string(scope->names, name);
        if (binding) return binding;
    }
    return NULL;
}

static const char *quoted(Import *import, const char *name) {
    Text text = sn_text(import->scratch);
    sn_text_quote(&text, name, strlen(name));
    return sn_text_string(&text);
}

/* A name is defined once in its scope. */
static Status define(Import *import, const char *name, Binding **out) {
    void **slot = sn_map_at_string(import->scope->names, name);
    if (*slot) return sn_fail(SN_INVALID, "the name %s is defined twice", quoted(import, name));
    *out = *slot = SN_NEW(import->scratch, Binding);
    return NULL;
}

/* What is outside the nodes: a group of its own, and no origin. */
static Value *build_initializer(Import *import, const Tensor *tensor, const char *name) {
    Builder builder = import->builder;
    import->builder.origin = NULL;
    import->builder.group = import->graph->next_group++;
    Value *value = sn_build_constant(&import->builder, tensor);
    builder.status = import->builder.status;
    import->builder = builder;
    if (value) value->name = sn_arena_string(import->graph->arena, name);
    return value;
}

/* The value of a name: an initializer becomes a constant when it is first asked for. *out is NULL for what
 * was not made because a node is not supported. */
static Status resolve(Import *import, const char *name, Value **out) {
    Binding *binding = find(import, name);
    *out = NULL;
    if (!binding) return sn_fail(SN_INVALID, "%s is made by no node", quoted(import, name));
    if (!binding->defined)
        return sn_fail(SN_INVALID, "%s is made by a later node (nodes must be sorted)", quoted(import, name));
    if (!binding->value && binding->initializer) {
        Tensor *tensor;
        TRY(sn_status_prefix(sn_tensor_import(import->weights, binding->initializer, &tensor),
                             "initializer %s", quoted(import, name)));
        binding->value = build_initializer(import, tensor, name);
        if (!binding->value) {
            Status status = import->builder.status;
            import->builder.status = NULL;
            return status;
        }
    }
    *out = binding->value;
    return NULL;
}

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
    const char *type = quoted(import, node->op_type), *domain = quoted(import, node->domain);
    Text text = sn_text(import->scratch);
    if (*node->domain) sn_text_add(&text, "%.*s.", (int)strlen(domain) - 2, domain + 1);
    sn_text_add(&text, "%.*s, opset %d: %s", (int)strlen(type) - 2, type + 1, node->opset, reason);
    const char *key = sn_arena_string(import->scratch, sn_text_string(&text));
    sn_text_add(&text, " (for example node %s)", quoted(import, node->name));
    sn_import_note(import, key, sn_text_string(&text));
    sn_error_free(status);
}

/* How messages name a node, the same way as the builder does. */
static const char *node_text(Import *import, const SourceNode *node) {
    const char *type = quoted(import, node->op_type);
    return sn_arena_printf(import->scratch, "node %s (%.*s, opset %d)", quoted(import, node->name),
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
        Binding *binding = find(import, name);
        binding->defined = true;
        binding->unknown = unknown || !call->output[k];
        if (binding->unknown) continue;
        binding->value = materialise(import, call->output[k]);
        if (sn_call_failed(call)) return NULL;
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
                           quoted(call->import, call->node->attribute[i]->name));
    return NULL;
}

static bool is_function(const Import *import, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < import->model->n_functions; i++)
        if (strcmp(import->model->functions[i]->name, node->op_type) == 0 &&
            strcmp(import->model->functions[i]->domain, node->domain) == 0)
            return true;
    return false;
}

static Status find_row(Call *call) {
    bool known;
    call->row = sn_import_row(call->source->domain, call->source->op_type, call->opset, &known);
    if (is_function(call->import, call->node)) return sn_fail(SN_UNSUPPORTED, "a function of the model");
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
        TRY(resolve(call->import, name, &call->input[k]));
        if (!call->input[k]) *unknown = true;
    }
    return NULL;
}

static Status run_rule(Call *call) {
    TRY(find_row(call));
    TRY(check_arity(call));
    int refused = call->import->refused;
    call->output[0] = call->row->rule(call);
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
    TRY(read_inputs(call, &unknown));
    Status status = unknown ? NULL : run_rule(call);
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

/* ONNX's own operators may be written with the domain spelled out. */
static const char *domain_of(const Onnx__NodeProto *node) {
    return strcmp(node->domain, "ai.onnx") == 0 ? "" : node->domain;
}

static SourceNode *source_of(Import *import, const Onnx__NodeProto *node) {
    Arena *arena = import->graph->arena;
    SourceNode *source = SN_NEW(arena, SourceNode);
    const int64_t *opset = sn_map_get_string(import->opsets, domain_of(node));
    *source = (SourceNode){
        .name = sn_arena_string(arena, node->name),
        .op_type = sn_arena_string(arena, node->op_type),
        .domain = sn_arena_string(arena, domain_of(node)),
        .opset = opset ? (int)*opset : 0,
        .index = import->node_index++,
    };
    return source;
}

static Status import_node(Import *import, const Onnx__NodeProto *node) {
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
        .output = SN_ARRAY(import->scratch, Value *, node->n_output + 1),
        .output_count = (int)node->n_output,
        .read = SN_ARRAY(import->scratch, bool, node->n_attribute),
    };
    /* Absent inputs at the end count for nothing. */
    while (call.input_count > 0 && !*node->input[call.input_count - 1]) call.input_count--;
    Status status = import_call(&call);
    *builder = outer;
    return sn_status_prefix(status, "%s", node_text(import, source));
}

/* ---- a graph's nodes ---- */

static Status define_results(Import *import, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        for (size_t k = 0; k < node->n_output; k++) {
            Binding *binding;
            if (!*node->output[k]) continue;
            TRY(sn_status_prefix(define(import, node->output[k], &binding), "node %s",
                                 quoted(import, node->name)));
        }
    }
    return NULL;
}

/* An initializer that is an input too (files before IR version 4) is a default: here a constant. */
static Status define_initializers(Import *import, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_initializer; i++) {
        Binding *binding;
        TRY(define(import, graph->initializer[i]->name, &binding));
        binding->initializer = graph->initializer[i];
        binding->defined = true;
    }
    if (graph->n_sparse_initializer > 0) return sn_fail(SN_UNSUPPORTED, "unsupported: sparse initializers");
    return NULL;
}

static Status import_nodes(Import *import, const Onnx__GraphProto *graph) {
    TRY(define_results(import, graph));
    for (size_t i = 0; i < graph->n_node; i++) TRY(import_node(import, graph->node[i]));
    return NULL;
}

Status sn_import_subgraph(Import *import, const Onnx__GraphProto *graph, Value **out) {
    if (import->depth == MAX_DEPTH) return sn_fail(SN_INVALID, "graphs nested too deeply");
    if (graph->n_input > 0) return sn_fail(SN_INVALID, "a branch with inputs");
    Scope *outer = import->scope;
    import->scope = scope_new(import);
    import->depth++;
    Status status = define_initializers(import, graph);
    if (!status) status = import_nodes(import, graph);
    for (size_t i = 0; i < graph->n_output && !status; i++)
        status = resolve(import, graph->output[i]->name, &out[i]);
    import->depth--;
    import->scope = outer;
    return status;
}

static void mark_used(Import *import, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        for (size_t k = 0; k < node->n_input; k++) *sn_map_at_string(import->used, node->input[k]) = import;
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g) mark_used(import, node->attribute[k]->g);
    }
    for (size_t i = 0; i < graph->n_output; i++)
        *sn_map_at_string(import->used, graph->output[i]->name) = import;
}

static Status report_problems(Import *import) {
    if (import->refused == 0) return NULL;
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
        TRY(sn_status_prefix(resolve(import, info->name, &value), "output %s", quoted(import, info->name)));
        int declared = info->type && info->type->tensor_type ? info->type->tensor_type->elem_type : 0;
        if (declared && declared != sn_dtype_onnx(value->type.dtype))
            return sn_fail(SN_INVALID, "output %s: declared as element type %d, but it is %s",
                           quoted(import, info->name), declared, sn_dtype_name(value->type.dtype));
        sn_graph_output(to, sn_arena_string(to->arena, info->name), value);
    }
    return NULL;
}

Status sn_import_graph(Import *import) {
    const Onnx__GraphProto *graph = import->model->graph;
    import->opsets = sn_map_new(import->scratch);
    import->used = sn_map_new(import->scratch);
    import->problems = sn_map_new(import->scratch);
    import->scope = scope_new(import);
    import->builder = (Builder){.graph = import->graph, .region = import->graph->body};
    for (size_t i = 0; i < import->model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *opset = import->model->opset_import[i];
        const char *domain = strcmp(opset->domain, "ai.onnx") == 0 ? "" : opset->domain;
        *sn_map_at_string(import->opsets, domain) = (void *)(uintptr_t)&opset->version;
    }
    mark_used(import, graph);
    TRY(define_initializers(import, graph));
    TRY(sn_import_inputs(import, graph));
    TRY(import_nodes(import, graph));
    TRY(report_problems(import));
    TRY(import_outputs(import, graph));
    sn_region_sweep(import->graph->body);
    return NULL;
}

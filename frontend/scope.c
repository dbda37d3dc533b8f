/* What names stand for. */
#include "taken.h"

#include <string.h>

Scope *sn_scope_new(Import *import, Scope *parent) {
    Scope *scope = SN_NEW(import->scratch, Scope);
    *scope = (Scope){.parent = parent, .names = sn_map_new(import->scratch)};
    return scope;
}

Binding *sn_scope_find(const Import *import, const char *name) {
    for (const Scope *scope = import->scope; scope; scope = scope->parent) {
        Binding *binding = sn_map_get_string(scope->names, name);
        if (binding) return binding;
    }
    return NULL;
}

Status sn_scope_define(Import *import, const char *name, Binding **out) {
    void **slot = sn_map_at_string(import->scope->names, name);
    if (*slot) return sn_fail(SN_INVALID, "the name %s is defined twice", sn_quoted(import->scratch, name));
    *out = *slot = SN_NEW(import->scratch, Binding);
    return NULL;
}

/* What is outside the nodes: a group of its own, and no origin; with a name it is a parameter to a training. */
static Value *build_constant(Import *import, const Tensor *tensor, const char *name) {
    Builder builder = import->builder;
    import->builder.origin = NULL;
    import->builder.group = import->graph->next_group++;
    Value *value = sn_build_constant(&import->builder, tensor);
    builder.status = import->builder.status;
    import->builder = builder;
    if (value && name) value->name = sn_arena_string(import->graph->arena, name);
    return value;
}

/* What the builder latched is the caller's. */
static Status take_status(Import *import) {
    Status status = import->builder.status;
    import->builder.status = NULL;
    return status;
}

Status sn_scope_constant(Import *import, const Tensor *tensor, const char *name, Value **out) {
    *out = build_constant(import, tensor, name);
    return *out ? NULL : take_status(import);
}

static Status make_initializer(Import *import, Binding *binding, const char *name) {
    Tensor *tensor;
    Status status = binding->sparse ? sn_tensor_import_sparse(import->weights, binding->sparse, &tensor)
                                    : sn_tensor_import(import->weights, binding->initializer, &tensor);
    TRY(sn_status_prefix(status, "initializer %s", sn_quoted(import->scratch, name)));
    binding->narrow = sn_narrow(binding->initializer->data_type);
    return sn_scope_constant(import, tensor, binding->sparse ? NULL : name, &binding->value);
}

/* The value of a binding of `scope` or of one around it. */
static Status resolve_from(Import *import, const Scope *scope, Binding *binding, const char *name,
                           Value **out) {
    if (sn_map_get_string(scope->names, name)) {
        if (!binding->value && binding->initializer) TRY(make_initializer(import, binding, name));
        *out = binding->value;
        return NULL;
    }
    Import *around = scope->turn ? scope->outside : import;
    TRY(resolve_from(around, scope->parent, binding, name, out));
    if (!*out) return NULL;
    if (scope->turn) return scope->capture(scope->turn, *out, out);
    if (!scope->taken) return NULL;
    *out = sn_taken_capture(import, scope->taken, *out);
    return *out ? NULL : take_status(import);
}

Status sn_scope_resolve(Import *import, const char *name, Value **out) {
    Binding *binding = sn_scope_find(import, name);
    *out = NULL;
    if (!binding) return sn_fail(SN_INVALID, "%s is made by no node", sn_quoted(import->scratch, name));
    if (!binding->defined)
        return sn_fail(SN_INVALID, "%s is made by a node that reads what comes of it",
                       sn_quoted(import->scratch, name));
    return resolve_from(import, import->scope, binding, name, out);
}

Status sn_scope_results(Import *import, size_t count, Onnx__NodeProto *const *nodes) {
    for (size_t i = 0; i < count; i++) {
        const Onnx__NodeProto *node = nodes[i];
        for (size_t k = 0; k < node->n_output; k++) {
            Binding *binding;
            if (!*node->output[k]) continue;
            TRY(sn_status_prefix(sn_scope_define(import, node->output[k], &binding), "node %s",
                                 sn_quoted(import->scratch, node->name)));
        }
    }
    return NULL;
}

static bool says_given(const LoadOptions *options, const char *name) {
    for (int k = 0; options && k < options->given_count; k++)
        if (strcmp(options->given[k], name) == 0) return true;
    return false;
}

/* What the options say is given is given, where the graph declares it as an input. */
static bool is_given(const Import *import, const Onnx__GraphProto *graph, const char *name) {
    if (!says_given(import->options, name) && !sn_constant_of_input(import, name)) return false;
    for (size_t i = 0; i < graph->n_input; i++)
        if (strcmp(graph->input[i]->name, name) == 0) return true;
    return false;
}

static Status define_initializer(Import *import, const Onnx__GraphProto *graph,
                                 const Onnx__TensorProto *tensor, const Onnx__SparseTensorProto *sparse) {
    Binding *binding;
    if (is_given(import, graph, tensor->name)) return NULL;
    TRY(sn_scope_define(import, tensor->name, &binding));
    binding->initializer = tensor;
    binding->sparse = sparse;
    binding->defined = true;
    return NULL;
}

Status sn_scope_initializers(Import *import, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_initializer; i++)
        TRY(define_initializer(import, graph, graph->initializer[i], NULL));
    for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *sparse = graph->sparse_initializer[i];
        if (!sparse->values) return sn_fail(SN_INVALID, "a sparse initializer without values");
        TRY(define_initializer(import, graph, sparse->values, sparse));
    }
    return NULL;
}

/* Nodes that stand for other nodes: the branch of an If, and the functions of a model. */
#include "import.h"

#include <string.h>

enum { MAX_DEPTH = 32 /* of bodies inside bodies */ };

/* Runs `nodes` in a scope of their own; the caller has entered the scope. */
static Status import_body(Import *import, const Onnx__GraphProto *graph, Value **out) {
    TRY(sn_scope_initializers(import, graph));
    TRY(sn_import_nodes(import, graph->n_node, graph->node));
    for (size_t i = 0; i < graph->n_output; i++)
        TRY(sn_scope_resolve(import, graph->output[i]->name, &out[i]));
    return NULL;
}

Status sn_import_subgraph(Import *import, const Onnx__GraphProto *graph, Value **out) {
    if (import->depth == MAX_DEPTH) return sn_fail(SN_INVALID, "graphs nested too deeply");
    if (graph->n_input > 0) return sn_fail(SN_INVALID, "a branch with inputs");
    Scope *outer = import->scope;
    import->scope = sn_scope_new(import, outer);
    import->depth++;
    Status status = import_body(import, graph, out);
    import->depth--;
    import->scope = outer;
    return status;
}

/* ---- functions ---- */

const char *sn_import_domain(const char *domain) {
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

Map *sn_import_opsets(Import *import, size_t count, Onnx__OperatorSetIdProto *const *opset) {
    Map *opsets = sn_map_new(import->scratch);
    for (size_t i = 0; i < count; i++)
        *sn_map_at_string(opsets, sn_import_domain(opset[i]->domain)) = &opset[i]->version;
    return opsets;
}

const Onnx__FunctionProto *sn_import_find_function(const Import *import, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < import->model->n_functions; i++) {
        const Onnx__FunctionProto *function = import->model->functions[i];
        if (strcmp(function->name, node->op_type) == 0 &&
            strcmp(sn_import_domain(function->domain), sn_import_domain(node->domain)) == 0 &&
            strcmp(function->overload, node->overload) == 0)
            return function;
    }
    return NULL;
}

/* The function's inputs are the node's; those that the node leaves out are absent inside too. */
static Status bind_inputs(Call *call, const Onnx__FunctionProto *function) {
    if ((size_t)call->input_count > function->n_input || (size_t)call->output_count > function->n_output)
        return sn_fail(SN_INVALID, "%d inputs and %d outputs for a function of %zu and %zu",
                       call->input_count, call->output_count, function->n_input, function->n_output);
    for (size_t k = 0; k < function->n_input; k++) {
        Binding *binding;
        TRY(sn_scope_define(call->import, function->input[k], &binding));
        binding->defined = true;
        binding->value = sn_call_input(call, (int)k);
        binding->narrow = binding->value ? call->narrow[k] : NULL;
        binding->absent = !binding->value;
    }
    return NULL;
}

static Status import_inside(Call *call, const Onnx__FunctionProto *function) {
    TRY(bind_inputs(call, function));
    TRY(sn_import_nodes(call->import, function->n_node, function->node));
    for (int k = 0; k < call->output_count; k++)
        TRY(sn_scope_resolve(call->import, function->output[k], &call->output[k]));
    return NULL;
}

Status sn_import_function(Call *call, const Onnx__FunctionProto *function) {
    Import *import = call->import, outer = *import;
    if (import->depth == MAX_DEPTH) return sn_fail(SN_INVALID, "functions nested too deeply");
    /* The function's attributes are read inside, by reference; a default may hide one that nothing refers to.
     */
    for (size_t i = 0; i < function->n_attribute; i++) sn_call_ignore(call, function->attribute[i]);
    for (size_t i = 0; i < function->n_attribute_proto; i++)
        sn_call_ignore(call, function->attribute_proto[i]->name);
    import->scope = sn_scope_new(import, NULL);
    import->opsets = sn_import_opsets(import, function->n_opset_import, function->opset_import);
    import->caller = &(Caller){outer.caller, call->node, function};
    import->depth++;
    Status status = import_inside(call, function);
    import->scope = outer.scope;
    import->opsets = outer.opsets;
    import->caller = outer.caller;
    import->builder = outer.builder;
    import->depth--;
    return status;
}

static const Onnx__AttributeProto *named(size_t count, Onnx__AttributeProto *const *attribute,
                                         const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(attribute[i]->name, name) == 0) return attribute[i];
    return NULL;
}

const Onnx__AttributeProto *sn_import_referred(const Import *import, const Onnx__AttributeProto *attribute) {
    const Caller *caller = import->caller;
    while (attribute && *attribute->ref_attr_name && caller) {
        const char *name = attribute->ref_attr_name;
        attribute = named(caller->node->n_attribute, caller->node->attribute, name);
        if (!attribute)
            attribute = named(caller->function->n_attribute_proto, caller->function->attribute_proto, name);
        caller = caller->outer;
    }
    return attribute;
}

/* The functions of a model: finding them, the opsets of what is inside, the attributes that it refers to. */
#include "import.h"

#include <string.h>

const char *sn_import_domain(const char *domain) {
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

/* Writers leave out the import of com.microsoft, which has one version. */
Map *sn_import_opsets(Import *import, size_t count, Onnx__OperatorSetIdProto *const *opset) {
    Map *opsets = sn_map_new(import->scratch);
    int64_t *one = SN_NEW(import->scratch, int64_t);
    *one = 1;
    *sn_map_at_string(opsets, "com.microsoft") = one;
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

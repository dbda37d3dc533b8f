/* The model's inputs: types, and symbols for the extents that are not fixed. */
#include "import.h"

#include <ctype.h>
#include <string.h>

enum { MAX_EXPRESSION = 128 }; /* characters that are tried as one */

typedef struct Inputs {
    Import *import;
    Map *plain; /* the dim_params that are simple names */
} Inputs;

static const Onnx__TensorShapeProto *shape_of(const Onnx__ValueInfoProto *info) {
    return info->type && info->type->tensor_type ? info->type->tensor_type->shape : NULL;
}

static bool is_param(const Onnx__TensorShapeProto__Dimension *dim) {
    return dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && *dim->dim_param;
}

static bool is_identifier(const char *name) {
    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '.') return false;
    return isalpha((unsigned char)*name) || *name == '_';
}

/* Only names that another axis binds on its own. */
static bool symbols_are_plain(const Inputs *inputs, const Dims *dims, Dim dim) {
    if (dim->kind == SN_DIM_SYMBOL)
        return sn_map_get_string(inputs->plain, sn_dims_symbol_name(dims, (int)dim->value)) != NULL;
    for (int k = 0; k < dim->count; k++)
        if (!symbols_are_plain(inputs, dims, dim->operand[k])) return false;
    return true;
}

/* Exporters write "past + sequence" where the extent is that sum. Such a text is read as an expression if it
 * is one in symbols that are known otherwise; else it is a name like any other. */
static Dim param_dim(const Inputs *inputs, const char *param) {
    Dims *dims = inputs->import->graph->dims;
    if (is_identifier(param) || strlen(param) > MAX_EXPRESSION) return sn_dim_symbol(dims, param);
    /* Tried in a table of its own, so that a failure leaves no symbols behind. */
    Dims *trial = sn_dims_new(inputs->import->scratch);
    const char *cursor = param;
    Dim parsed;
    Status status = sn_dim_parse(trial, &cursor, NULL, 0, &parsed);
    bool good =
        !status && *cursor == 0 && !sn_dims_overflowed(trial) && symbols_are_plain(inputs, trial, parsed);
    sn_error_free(status);
    return good ? sn_dim_replace(dims, parsed, NULL, NULL, 0) : sn_dim_symbol(dims, param);
}

static Dim input_dim(const Inputs *inputs, const char *name, const Onnx__TensorShapeProto__Dimension *dim) {
    Dims *dims = inputs->import->graph->dims;
    if (is_param(dim)) return param_dim(inputs, dim->dim_param);
    /* Some exporters write -1 for what they do not know. */
    if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && dim->dim_value >= 0)
        return sn_dim(dims, dim->dim_value);
    return sn_dim_fresh(dims, *name ? name : "dim");
}

static Status import_input(const Inputs *inputs, const Onnx__ValueInfoProto *info, Type *type) {
    Graph *graph = inputs->import->graph;
    const Onnx__TensorShapeProto *shape = shape_of(info);
    if (!info->type || !info->type->tensor_type) return sn_fail(SN_UNSUPPORTED, "it is not a tensor");
    if (!shape) return sn_fail(SN_UNSUPPORTED, "its rank is not known");
    if (!sn_narrow_held(info->type->tensor_type->elem_type, &type->dtype))
        return sn_fail(SN_UNSUPPORTED, "element type %d", info->type->tensor_type->elem_type);
    if (shape->n_dim > SN_MAX_RANK) return sn_fail(SN_UNSUPPORTED, "rank %zu", shape->n_dim);
    Dim *dim = SN_ARRAY(graph->arena, Dim, shape->n_dim);
    for (size_t k = 0; k < shape->n_dim; k++) dim[k] = input_dim(inputs, info->name, shape->dim[k]);
    type->rank = (int)shape->n_dim;
    type->dim = dim;
    return NULL;
}

/* All named extents first, so that no made-up name is one that a later input has. */
static void collect_params(Inputs *inputs, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__TensorShapeProto *shape = shape_of(graph->input[i]);
        for (size_t k = 0; shape && k < shape->n_dim; k++)
            if (is_param(shape->dim[k]) && is_identifier(shape->dim[k]->dim_param))
                *sn_map_at_string(inputs->plain, shape->dim[k]->dim_param) = inputs;
    }
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__TensorShapeProto *shape = shape_of(graph->input[i]);
        for (size_t k = 0; shape && k < shape->n_dim; k++)
            if (is_param(shape->dim[k])) param_dim(inputs, shape->dim[k]->dim_param);
    }
}

/* A constant is of the type and shape that is declared; what that says of symbols holds of the other inputs. */
static Status check_constant(Import *import, const Tensor *tensor, Type type) {
    if (tensor->dtype != type.dtype || tensor->rank != type.rank)
        return sn_fail(SN_INVALID, "%s of rank %d as its constant, where it is %s of rank %d",
                       sn_dtype_name(tensor->dtype), tensor->rank, sn_dtype_name(type.dtype), type.rank);
    for (int k = 0; k < type.rank; k++) {
        Dim extent = sn_dim(import->graph->dims, tensor->extent[k]);
        TRY(sn_graph_check(import->graph, SN_CHECK_EQUAL, type.dim[k], extent, NULL));
    }
    return NULL;
}

/* An input that is not supported is noted, and so is all that follows from it. */
static Status bind_input(const Inputs *inputs, const Onnx__ValueInfoProto *info, Binding *binding) {
    Import *import = inputs->import;
    Text name = sn_text(import->scratch);
    sn_text_quote(&name, info->name, strlen(info->name));
    if (binding->defined || !*info->name)
        return sn_fail(SN_INVALID, "input %s: defined twice", sn_text_string(&name));
    binding->defined = true;
    Type type;
    Status status = sn_status_prefix(import_input(inputs, info, &type), "input %s", sn_text_string(&name));
    if (sn_error_code(status) == SN_UNSUPPORTED) {
        sn_import_note(import, sn_error_message(status), sn_error_message(status));
        sn_error_free(status);
        binding->unknown = true;
        return NULL;
    }
    TRY(status);
    const Tensor *constant = sn_constant_of_input(import, info->name);
    binding->narrow = sn_narrow(info->type->tensor_type->elem_type);
    if (constant) {
        TRY(sn_status_prefix(check_constant(import, constant, type), "input %s", sn_text_string(&name)));
        return sn_scope_constant(import, constant, NULL, &binding->value);
    }
    binding->value = sn_graph_input(import->graph, sn_arena_string(import->graph->arena, info->name), type);
    return NULL;
}

static bool is_repeated(const LoadOptions *options, int index) {
    const ConstantInput *constant = options->constant;
    for (int k = 0; k < index; k++)
        if (constant[k].if_needed == constant[index].if_needed &&
            strcmp(constant[k].name, constant[index].name) == 0)
            return true;
    return false;
}

/* No name is taken that means nothing, or two things. */
static Status check_constants(const Import *import, const Onnx__GraphProto *graph) {
    const LoadOptions *options = import->options;
    for (int k = 0; options && k < options->constant_count; k++) {
        const char *name = options->constant[k].name;
        size_t i = 0;
        if (is_repeated(options, k))
            return sn_fail(SN_INVALID, "input %s has two constants", sn_quoted(import->scratch, name));
        if (options->constant[k].if_needed) continue;
        while (i < graph->n_input && strcmp(graph->input[i]->name, name) != 0) i++;
        if (i == graph->n_input)
            return sn_fail(SN_INVALID, "no input is called %s, which is to be a constant",
                           sn_quoted(import->scratch, name));
    }
    return NULL;
}

Status sn_import_inputs(Import *import, const Onnx__GraphProto *graph) {
    Inputs inputs = {import, sn_map_new(import->scratch)};
    TRY(check_constants(import, graph));
    collect_params(&inputs, graph);
    for (size_t i = 0; i < graph->n_input; i++) {
        void **slot = sn_map_at_string(import->scope->names, graph->input[i]->name);
        Binding *binding = *slot;
        if (binding && binding->initializer) continue;
        if (!binding) *slot = binding = SN_NEW(import->scratch, Binding);
        TRY(bind_input(&inputs, graph->input[i], binding));
    }
    return NULL;
}

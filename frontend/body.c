/* The nodes of a body, one at a time: of a graph, of the branch of an If, of the turns of a loop, of a function of
 * the model, which its call stands for. */
#include "import_minifloat.h"
#include "sequence.h"

#include <string.h>

enum { MAX_DEPTH = 32 /* of bodies inside bodies */ };

/* ---- bodies in bodies ---- */

/* Runs `nodes` in a scope of their own; the caller has entered the scope. */
static Status import_body(Import *import, const Onnx__GraphProto *graph, Value *const *input, Value **out) {
    for (size_t i = 0; i < graph->n_input; i++) {
        Binding *binding;
        TRY(sn_scope_define(import, graph->input[i]->name, &binding));
        binding->defined = true;
        binding->value = input[i];
    }
    TRY(sn_scope_initializers(import, graph));
    TRY(sn_import_nodes(import, graph->n_node, graph->node));
    for (size_t i = 0; i < graph->n_output; i++) {
        const char *name = graph->output[i]->name;
        TRY(sn_scope_resolve(import, name, &out[i]));
        const Narrow *narrow = sn_scope_find(import, name)->narrow;
        /* Whoever reads them outside would take the codes for numbers. */
        if (is_minifloat(narrow))
            return sn_fail(SN_UNSUPPORTED, "floats of %d bits as result %zu of a body", narrow->bits, i);
    }
    return NULL;
}

Status sn_import_subgraph(Import *import, const Onnx__GraphProto *graph, Taken *taken, int count,
                          Value *const *input, Value **out) {
    if (import->depth == MAX_DEPTH) return sn_fail(SN_INVALID, "graphs nested too deeply");
    if (graph->n_input != (size_t)count)
        return sn_fail(SN_INVALID, "a body of %zu inputs instead of %d", graph->n_input, count);
    Scope *outer = import->scope;
    Taken *around = import->taken;
    import->scope = sn_scope_new(import, outer);
    import->scope->taken = taken;
    if (taken) import->taken = taken;
    import->depth++;
    Status status = import_body(import, graph, input, out);
    import->depth--;
    import->scope = outer;
    import->taken = around;
    return status;
}

/* ---- functions ---- */

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
    call->given = SN_ARRAY(call->import->scratch, const Narrow *, call->output_count);
    for (int k = 0; k < call->output_count; k++) {
        TRY(sn_scope_resolve(call->import, function->output[k], &call->output[k]));
        call->given[k] = sn_scope_find(call->import, function->output[k])->narrow;
    }
    return NULL;
}

static Status import_function(Call *call, const Onnx__FunctionProto *function) {
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
    if (type.dtype == SN_BOOL || count > SN_LISTED_MAX) return value;
    Value *made = sn_build_dims(builder, (int)count, value->known, type.rank == 0);
    if (made && type.rank > 1) made = sn_build_reshape(builder, made, type.rank, type.dim);
    return made ? sn_build_cast(builder, made, type.dtype) : NULL;
}

/* What the bytes of output k hold. */
static const Narrow *narrow_of(const Call *call, int k) {
    if (call->given) return call->given[k];
    if (call->says) return call->made;
    return call->input_count > 0 ? call->narrow[0] : NULL;
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
        const Narrow *narrow = narrow_of(call, k);
        if (narrow && narrow->held == binding->value->type.dtype) binding->narrow = narrow;
        if (!binding->value->name) binding->value->name = sn_arena_string(import->graph->arena, name);
    }
    return NULL;
}

/* A sequence goes where one is taken. */
static Status check_sequences(const Call *call) {
    for (int k = 0; k < call->input_count && call->row->parameter != SN_ROW_SEQUENCES; k++)
        if (sn_sequence_of(call->import, call->input[k]))
            return sn_fail(SN_INVALID, "input %d is a sequence", k);
    return NULL;
}

/* Codes of floats of few bits are no numbers. */
static Status check_narrow(const Call *call) {
    for (int k = 0; k < call->input_count; k++)
        if (is_minifloat(call->narrow[k]) && !sn_minifloat_taken(call->row->rule))
            return sn_fail(SN_UNSUPPORTED, "floats of %d bits as input %d", call->narrow[k]->bits, k);
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
                           sn_quoted(call->import->scratch, call->node->attribute[i]->name));
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
        TRY(import_function(call, function));
    } else {
        TRY(find_row(call));
        TRY(check_arity(call));
        TRY(check_sequences(call));
        TRY(check_narrow(call));
        call->output[0] = call->row->rule(call);
    }
    Status status = call->builder->status;
    call->builder->status = NULL;
    if (status) return sn_import_bare(call->import, call->source, status);
    /* A branch with a node that is not supported has said so. */
    if (call->import->refused > refused) return NULL;
    for (int k = 0; k < call->output_count; k++)
        if (sn_call_wants(call, k) && !call->output[k]) return sn_fail(SN_UNSUPPORTED, "its output %d", k);
    return check_attributes(call);
}

/* Of a node whose inputs could not be made: whether it could be made of others, so that a report has all that is missing. */
static Status check_operator(Call *call) {
    return sn_import_find_function(call->import, call->node) ? NULL : find_row(call);
}

static Status import_call(Call *call) {
    bool unknown;
    Status status = read_inputs(call, &unknown);
    if (!status) status = unknown ? check_operator(call) : run_rule(call);
    if (sn_error_code(status) == SN_UNSUPPORTED) {
        sn_import_problem(call->import, call->source, status);
        status = NULL;
        unknown = true;
    }
    TRY(status);
    TRY(bind_outputs(call, unknown));
    status = call->builder->status;
    call->builder->status = NULL;
    return status ? sn_import_bare(call->import, call->source, status) : NULL;
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
    return status ? sn_status_prefix(status, "%s", sn_source_text(import->scratch, source)) : NULL;
}

Status sn_import_nodes(Import *import, size_t count, Onnx__NodeProto *const *node) {
    TRY(sn_scope_results(import, count, node));
    Onnx__NodeProto *const *order = sn_import_order(import->scratch, (int)count, node);
    for (size_t i = 0; i < count; i++) TRY(import_node(import, order[i]));
    return NULL;
}

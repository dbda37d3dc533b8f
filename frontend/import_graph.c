/* A model's graph: what of it is used, its inputs, nodes and outputs. */
#include "sequence.h"

#include <string.h>

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

static Status import_outputs(Import *import, const Onnx__GraphProto *graph) {
    Graph *to = import->graph;
    for (size_t i = 0; i < graph->n_output; i++) {
        const Onnx__ValueInfoProto *info = graph->output[i];
        Value *value;
        TRY(sn_status_prefix(sn_scope_resolve(import, info->name, &value), "output %s",
                             sn_quoted(import->scratch, info->name)));
        const Sequence *sequence = sn_sequence_of(import, value);
        if (sequence)
            return sn_fail(SN_UNSUPPORTED, "unsupported: output %s is %s",
                           sn_quoted(import->scratch, info->name),
                           sequence->nothing ? "an optional value without an element" : "a sequence");
        int declared = info->type && info->type->tensor_type ? info->type->tensor_type->elem_type : 0;
        DType held = SN_BOOL;
        if (declared && (!sn_narrow_held(declared, &held) || held != value->type.dtype))
            return sn_fail(SN_INVALID, "output %s: declared as element type %d, but it is %s",
                           sn_quoted(import->scratch, info->name), declared,
                           sn_dtype_name(value->type.dtype));
        sn_graph_output(to, sn_arena_string(to->arena, info->name), value);
    }
    return NULL;
}

Status sn_import_graph(Import *import) {
    const Onnx__GraphProto *graph = import->model->graph;
    import->used = sn_map_new(import->scratch);
    import->problems = sn_map_new(import->scratch);
    import->walked = sn_map_new(import->scratch);
    import->sequences = sn_map_new(import->scratch);
    import->decided = sn_map_new(import->scratch);
    import->made = sn_map_new(import->scratch);
    import->scope = sn_scope_new(import, NULL);
    import->builder = (Builder){.graph = import->graph, .region = import->graph->body};
    import->opsets = sn_import_opsets(import, import->model->n_opset_import, import->model->opset_import);
    mark_all_used(import);
    TRY(sn_scope_initializers(import, graph));
    TRY(sn_import_inputs(import, graph));
    TRY(sn_import_nodes(import, graph->n_node, graph->node));
    TRY(sn_import_report(import, graph));
    TRY(import_outputs(import, graph));
    sn_import_ends(import);
    return NULL;
}

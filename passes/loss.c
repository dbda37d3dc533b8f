/* The loss as part of the graph. */
#include "autodiff.h"
#include "expand.h"

static Status find_output(Graph *graph, const char *name, Value **out) {
    for (int i = 0; i < graph->body->result.count; i++) {
        Value *value = graph->body->result.at[i];
        bool named = name && i < graph->output_name.count && strcmp(graph->output_name.at[i], name) == 0;
        if (!named && (name || !sn_dtype_is_float(value->type.dtype))) continue;
        *out = value;
        return sn_dtype_is_float(value->type.dtype)
                   ? NULL
                   : sn_fail(SN_INVALID, "output \"%s\" is not a float that a loss could be of", name);
    }
    if (name) return sn_fail(SN_INVALID, "there is no output \"%s\" for the loss", name);
    return sn_fail(SN_INVALID, "there is no float output for the loss");
}

static Value *sum_all(Builder *b, Value *x) {
    if (!x || x->type.rank == 0) return x;
    int64_t axes[SN_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) axes[i] = i;
    return sn_build_reshape(b, sn_build1(b, SN_OP_REDUCE_SUM, &(AttrReduce){x->type.rank, axes}, x), 0, NULL);
}

/* The mean over the rows that count. Where none does it is 0/0, as in PyTorch. */
static Value *cross_entropy(Builder *b, const LossOptions *options, Value *scores) {
    Graph *graph = b->graph;
    Value *label = sn_graph_input(graph, "labels", (Type){SN_I64, scores->type.rank - 1, scores->type.dim});
    AttrCrossEntropy attr = {options->has_ignore_index, options->ignore_index, options->smoothing};
    Value *total = sum_all(b, sn_build2(b, SN_OP_CROSS_ENTROPY, &attr, scores, label));
    if (!total) return NULL;
    DType dtype = total->type.dtype;
    Dim rows = sn_type_count(graph->dims, label->type);
    Value *count = sn_build_cast(b, sn_build_dims(b, 1, &rows, true), dtype);
    if (attr.ignores) {
        Value *zero = sn_build_scalar(b, dtype, 0), *one = sn_build_scalar(b, dtype, 1);
        count = sum_all(b, sn_build3(b, SN_OP_WHERE, NULL, sn_label_ignored(b, &attr, label), zero, one));
    }
    return op2(b, SN_OP_DIV, total, count);
}

static Value *mean_square(Builder *b, Value *output, DType dtype, Type declared) {
    Value *target = sn_build_cast(b, sn_graph_input(b->graph, "targets", declared), dtype);
    Value *difference = op2(b, SN_OP_SUB, output, target);
    Value *sum = sum_all(b, op2(b, SN_OP_MUL, difference, difference));
    Dim count = sn_type_count(b->graph->dims, declared);
    Value *elements = sn_build_dims(b, 1, &count, true);
    return elements ? op2(b, SN_OP_DIV, sum, sn_build_cast(b, elements, dtype)) : NULL;
}

/* Puts the last output first. */
static void make_first(Graph *graph) {
    Region *body = graph->body;
    int last = body->result.count - 1;
    Value *value = body->result.at[last];
    const char *name = graph->output_name.at[last];
    memmove(body->result.at + 1, body->result.at, (size_t)last * sizeof *body->result.at);
    memmove(graph->output_name.at + 1, graph->output_name.at, (size_t)last * sizeof *graph->output_name.at);
    body->result.at[0] = value;
    graph->output_name.at[0] = name;
}

Status sn_append_loss(Graph *graph, const LossOptions *options, Value **loss) {
    Value *output;
    TRY(find_output(graph, options->output, &output));
    bool classes = options->kind == SN_LOSS_CROSS_ENTROPY;
    SourceNode source = {.name = "loss",
                         .op_type = classes ? "SoftmaxCrossEntropyLoss" : "MeanSquaredError",
                         .domain = "",
                         .index = -1}; /* in no file */
    Builder b = {.graph = graph,
                 .region = graph->body,
                 .origin = sn_origin(graph, &source),
                 .group = graph->next_group++};
    DType dtype = accumulator_dtype(output->type.dtype);
    Type declared = output->type;
    if (classes && output->type.rank < 1) return sn_fail(SN_INVALID, "the output of the loss has no classes");
    Value *wide = sn_build_cast(&b, output, dtype);
    if (wide) *loss = classes ? cross_entropy(&b, options, wide) : mean_square(&b, wide, dtype, declared);
    if (b.status) return b.status;
    sn_graph_output(graph, "loss", *loss);
    make_first(graph);
    return NULL;
}

/* Reverse-mode differentiation, graph to graph, and the losses that it starts from.
 *
 * Both work on graphs of stage imported, after `recognise`: composites are differentiated whole where that saves
 * memory or arithmetic (the gradient column of ops.def). The nodes that are added have the phase backward and the
 * origin of the node whose gradient they compute; each gradient rule's nodes form one group. */
#ifndef SN_AUTODIFF_H
#define SN_AUTODIFF_H

#include "graph.h"

/* Appends to the graph's body what computes gradient[k] = d loss / d value[k], of value[k]'s shape, for k < count. It
 * is not rounded to f16 or bf16: where that is the value's type, it is f32.
 *
 * `loss` is a float of one element (known when compiling) and each value a float; both belong to the graph's
 * body: inputs, constants' results or anything between. A value that the loss does not depend on has a gradient
 * of zeros. Composites whose gradient needs pieces of them are taken apart on the way. SN_UNSUPPORTED names
 * the first node, in the order of the walk back from the loss, that has no gradient where one is needed; the graph
 * is then half differentiated and of no more use. */
Status sn_autodiff(Graph *graph, Value *loss, int count, Value *const *value, Value **gradient);

typedef enum LossKind {
    SN_LOSS_CROSS_ENTROPY, /* mean over the labels that count of −log softmax(logits)[label] */
    SN_LOSS_MSE,           /* mean of (output − target)² */
} LossKind;

typedef struct LossOptions {
    LossKind kind;
    const char *output;    /* name of the graph's output that the loss is about; NULL: the first float one */
    bool has_ignore_index; /* cross entropy: rows with this label count for nothing */
    int64_t ignore_index;
    double smoothing; /* cross entropy: the share of the label's weight that all classes have alike, [0, 1) */
} LossOptions;

/* Adds the loss, an f32 scalar (f64 where the output is), as the graph's first output, "loss", and gives it in
 * *loss. Its targets are a new last input: "labels", i64 of the output's shape without the last axis (the classes),
 * or "targets", of the output's type. SN_INVALID when there is no such output or it is not a float of the rank
 * that this needs. A label outside of the classes that is not ignored is a fault of the run. */
Status sn_append_loss(Graph *graph, const LossOptions *options, Value **loss);

#endif

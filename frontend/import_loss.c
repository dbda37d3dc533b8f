/* Losses. ONNX has the classes on axis 1, Sinter on the last one. */
#include "import.h"

/* What both losses are made of; all values have the shape of the labels. */
typedef struct Loss {
    Value *label;   /* i64 */
    Value *ignored; /* NULL: no label is ignored */
    Value
        *index; /* the label; 0 where ignored, and past the last class where negative, which gathers refuse */
    Value *classes; /* the weight of each class; NULL: all are 1 */
    Value *weight;  /* of the label, 0 where ignored; NULL: all are 1 */
} Loss;

/* The weights of classes say what a loss is; an initializer would be trained. */
static Value *class_weights(Call *c) {
    Value *weight = sn_call_input(c, 2);
    const Node *node = weight ? weight->producer : NULL;
    if (!node || node->op != SN_OP_CONSTANT) return weight;
    return sn_build_constant(c->builder, ((const AttrConstant *)node->attr)->tensor);
}

static Value *classes_last(Call *c, Value *x) {
    int permutation[SN_MAX_RANK], rank = x->type.rank;
    for (int i = 0; i < rank; i++) permutation[i] = i == rank - 1 ? 1 : i == 0 ? 0 : i + 1;
    return sn_build_transpose(c->builder, x, permutation);
}

/* The labels and what they are worth. Opset 12's and 13's texts allow any ignored label, inside of the classes or
 * outside. */
static bool read_labels(Call *c, Loss *loss) {
    Builder *b = c->builder;
    Value *x = c->input[0], *weight = loss->classes = class_weights(c);
    if (x->type.rank < 2 || c->input[1]->type.rank != x->type.rank - 1) {
        sn_call_invalid(c, "scores of rank %d for labels of rank %d", x->type.rank, c->input[1]->type.rank);
        return false;
    }
    loss->label = sn_build_cast(b, c->input[1], SN_I64);
    Value *zero = sn_call_scalar(c, SN_I64, 0), *end = sn_build_dims(b, 1, &x->type.dim[1], true);
    Value *below = sn_build2(b, SN_OP_LESS, NULL, loss->label, zero);
    loss->index = sn_build3(b, SN_OP_WHERE, NULL, below, end, loss->label);
    if (sn_call_has(c, "ignore_index")) {
        Dim ignored = sn_dim(c->dims, sn_call_int(c, "ignore_index", 0));
        loss->ignored = sn_build2(b, SN_OP_EQUAL, NULL, loss->label, sn_build_dims(b, 1, &ignored, true));
        loss->index = sn_build3(b, SN_OP_WHERE, NULL, loss->ignored, zero, loss->index);
    }
    Value *none = sn_call_scalar(c, x->type.dtype, 0), *one = sn_call_scalar(c, x->type.dtype, 1);
    if (weight) weight = sn_build2(b, SN_OP_GATHER, &(AttrAxis){0}, weight, loss->index);
    if (loss->ignored) weight = sn_build3(b, SN_OP_WHERE, NULL, loss->ignored, none, weight ? weight : one);
    loss->weight = weight;
    return !sn_call_failed(c);
}

static Value *sum_all(Call *c, Value *x) {
    int64_t axes[SN_MAX_RANK];
    if (!x) return NULL;
    for (int i = 0; i < x->type.rank; i++) axes[i] = i;
    return sn_call_reduce(c, SN_OP_REDUCE_SUM, x, x->type.rank, axes, false);
}

/* `each` is the loss of each label, weighted. */
static Value *reduced(Call *c, const Loss *loss, Value *each) {
    const char *kind = sn_call_string(c, "reduction", "mean");
    if (sn_call_failed(c) || strcmp(kind, "none") == 0) return each;
    Value *total = sum_all(c, each);
    if (strcmp(kind, "sum") == 0) return total;
    if (strcmp(kind, "mean") != 0) return sn_call_invalid(c, "reduction is \"%.16s\"", kind);
    Value *mass = sum_all(c, loss->weight);
    if (!loss->weight) {
        Dim count = sn_type_count(c->dims, loss->label->type);
        mass = sn_build_dims(c->builder, 1, &count, true);
        mass = mass ? sn_build_cast(c->builder, mass, c->input[0]->type.dtype) : NULL;
    }
    return sn_build2(c->builder, SN_OP_DIV, NULL, total, mass);
}

Value *sn_import_cross_entropy(Call *c) {
    Loss loss = {0};
    if (!read_labels(c, &loss)) return NULL;
    if (sn_call_wants(c, 1))
        c->output[1] = sn_build1(c->builder, SN_OP_LOG_SOFTMAX, &(AttrAxis){1}, c->input[0]);
    AttrCrossEntropy attr = {loss.ignored != NULL, sn_call_int(c, "ignore_index", 0), 0};
    Value *input[3] = {classes_last(c, c->input[0]), loss.label, loss.classes};
    return reduced(c, &loss, sn_build(c->builder, SN_OP_CROSS_ENTROPY, &attr, input[2] ? 3 : 2, input));
}

/* −weight·x[label] */
Value *sn_import_nll(Call *c) {
    Builder *b = c->builder;
    Loss loss = {0};
    if (!read_labels(c, &loss)) return NULL;
    Value *x = classes_last(c, c->input[0]);
    int last = c->input[0]->type.rank - 1;
    Value *picked =
        sn_build2(b, SN_OP_GATHER_ELEMENTS, &(AttrAxis){last}, x, sn_call_unsqueeze(c, loss.index, last, 1));
    if (sn_call_failed(c)) return NULL;
    picked = sn_build_reshape(b, picked, last, loss.label->type.dim);
    Value *each = sn_build1(b, SN_OP_NEG, NULL, picked);
    if (loss.weight) each = sn_build2(b, SN_OP_MUL, NULL, each, loss.weight);
    /* An ignored label's score may be infinite. */
    Value *none = sn_call_scalar(c, c->input[0]->type.dtype, 0);
    if (loss.ignored) each = sn_build3(b, SN_OP_WHERE, NULL, loss.ignored, none, each);
    return reduced(c, &loss, each);
}

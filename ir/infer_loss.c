/* Types of losses. */
#include "infer_rules.h"

Status sn_infer_cross_entropy(Infer *infer, Node *node) {
    Type x = node->input[0]->type, label = node->input[1]->type;
    const Value *weight = node->input_count > 2 ? node->input[2] : NULL;
    double smoothing = ((const AttrCrossEntropy *)node->attr)->smoothing;
    if (!sn_dtype_is_float(x.dtype) || !sn_dtype_is_int(label.dtype))
        return sn_fail(SN_INVALID, "scores are %s and labels %s", sn_dtype_name(x.dtype),
                       sn_dtype_name(label.dtype));
    if (x.rank < 1 || label.rank != x.rank - 1)
        return sn_fail(SN_INVALID, "labels of rank %d for scores of rank %d", label.rank, x.rank);
    if (!(smoothing >= 0 && smoothing <= 1)) return sn_fail(SN_INVALID, "a smoothing of %g", smoothing);
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, label.rank);
    for (int k = 0; k < label.rank; k++)
        TRY(sn_infer_equal_dim(infer, node, "the extents of labels and scores", x.dim[k], label.dim[k],
                               &dim[k]));
    if (weight) {
        if (weight->type.rank != 1 || weight->type.dtype != x.dtype)
            return sn_fail(SN_INVALID, "the weights are no list of the scores' type");
        TRY(sn_infer_equal_dim(infer, node, "the classes and their weights", x.dim[x.rank - 1],
                               weight->type.dim[0], NULL));
    }
    DType wide = x.dtype == SN_F64 ? SN_F64 : SN_F32;
    if (node->output_count > 1) TRY(sn_infer_set(node, 1, wide, label.rank, dim));
    return sn_infer_set(node, 0, x.dtype, label.rank, dim);
}

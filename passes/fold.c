/* Constant folding: shape values become constants or `dims`; arithmetic on constants is done by the
 * interpreter. */
#include "eval.h"
#include "infer.h"
#include "number.h"
#include "simplify_internal.h"

/* What folding may write: larger results are left to the setup region, which computes them in parallel. */
enum { MAX_FOLDED_ELEMENTS = 1 << 16 };

static int64_t element_count(Type type) {
    int64_t count = 1, extent;
    for (int i = 0; i < type.rank; i++)
        if (!sn_dim_is(type.dim[i], &extent) || !sn_mul_i64(count, extent, &count)) return -1;
    return count;
}

static bool all_constant(const Dim *known, int64_t count) {
    int64_t value;
    for (int64_t i = 0; i < count; i++)
        if (!sn_dim_is(known[i], &value)) return false;
    return true;
}

static Value *known_as_constant(Builder *b, const Value *value, int64_t count) {
    int64_t extent[SN_MAX_RANK];
    for (int i = 0; i < value->type.rank; i++) extent[i] = value->type.dim[i]->value;
    void *bytes;
    Tensor *tensor = sn_tensor_new(b->graph->arena, value->type.dtype, value->type.rank, extent, &bytes);
    for (int64_t i = 0; i < count; i++)
        sn_element_set_int(value->type.dtype, bytes, i, value->known[i]->value);
    return sn_build_constant(b, tensor);
}

Value *sn_fold_known(Pass *pass, Builder *b, Node *node) {
    (void)pass;
    const Value *value = node->output[0];
    if (!value->known || node->op == SN_OP_CONSTANT) return NULL;
    int64_t count = element_count(value->type);
    if (count < 0) return NULL;
    if (all_constant(value->known, count)) return known_as_constant(b, value, count);
    if (count > SN_LISTED_MAX) return NULL;
    bool plain = value->type.dtype == SN_I64 && value->type.rank <= 1;
    bool last_step = node->op == SN_OP_VIEW || node->op == SN_OP_CAST;
    bool from_dims =
        last_step && node->input[0]->producer &&
        (node->input[0]->producer->op == SN_OP_DIMS || node->input[0]->producer->op == SN_OP_VIEW) &&
        node->input[0]->type.dtype == SN_I64;
    if (node->op == SN_OP_DIMS || (!plain && from_dims)) return NULL;
    Value *dims = sn_build_dims(b, (int)count, value->known, value->type.rank == 0);
    if (value->type.rank > 1) dims = sn_build_reshape(b, dims, value->type.rank, value->type.dim);
    return sn_build_cast(b, dims, value->type.dtype);
}

/* ---- the interpreter on constants ---- */

static const Tensor *constant_of(const Value *value) {
    if (!value || !value->producer || value->producer->op != SN_OP_CONSTANT) return NULL;
    return ((const AttrConstant *)value->producer->attr)->tensor;
}

static bool is_foldable(const Node *node) {
    if (node->input_count == 0 || node->body) return false;
    if (node->op == SN_OP_RANDOM) return false; /* a training gives each run others */
    int64_t count = element_count(node->output[0]->type), largest = 0;
    if (count < 0 || count > MAX_FOLDED_ELEMENTS) return false;
    for (int k = 0; k < node->input_count; k++) {
        const Tensor *tensor = constant_of(node->input[k]);
        if (node->input[k] && (!tensor || tensor->payload != SN_PAYLOAD_BYTES)) return false;
        if (tensor && tensor->count > MAX_FOLDED_ELEMENTS) return false;
        if (tensor && tensor->count > largest) largest = tensor->count;
    }
    /* A widened scalar says more as a view of the scalar. */
    return node->op != SN_OP_VIEW || count <= largest;
}

Value *sn_fold_constant(Pass *pass, Builder *b, Node *node) {
    if (!is_foldable(node)) return NULL;
    const Array **input = SN_ARRAY(pass->arena, const Array *, node->input_count);
    Array *output = NULL;
    for (int k = 0; k < node->input_count; k++)
        if (node->input[k]) input[k] = sn_array_of_tensor(pass->arena, constant_of(node->input[k]));
    Status status = sn_eval_node(pass->arena, b->graph, node, input, &output);
    if (status) { /* what would fault when run is left to fault when run; symbolic attributes stay */
        sn_error_free(status);
        return NULL;
    }
    return sn_build_constant(b, sn_tensor_of_array(b->graph->arena, output));
}

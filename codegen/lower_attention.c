/* Attention and its gradients: what all lowerings of them begin with, and which of them a target has. */
#include "lower_attention.h"

static Status begin(KernelIr *kernel, Attention *a) {
    const Node *node = kernel->cluster->body->first;
    while (node && sn_op(node->op)->class != SN_CLASS_ATTENTION) node = node->next;
    if (!node) return sn_fail(SN_UNSUPPORTED, "an attention cluster without attention");
    *a = (Attention){.lower = sn_lower(kernel), .node = node, .attr = node->attr};
    a->use = SN_NEW(kernel->arena, TemplateUse);
    a->q = node->input[0]->type, a->k = node->input[1]->type, a->v = node->input[2]->type;
    int bias = node->op == SN_OP_ATTENTION ? 3 : 6; /* the operand */
    a->bias = node->input_count > bias ? node->input[bias] : NULL;
    a->adds = a->bias && a->bias->type.dtype != SN_BOOL;
    a->cap = a->attr->softcap;
    a->state = a->attr->number && node->input_count > bias + 1 ? node->input[bias + 1] : NULL;
    for (int i = 0; i < 4; i++) a->extent[i] = i < 3 ? a->q.dim[i] : a->k.dim[2];
    if (!sn_dim_is(a->q.dim[3], &a->D) || !sn_dim_is(a->v.dim[3], &a->DV))
        return sn_fail(SN_UNSUPPORTED, "attention with a head size that is not known when compiling");
    if (a->D < 1 || a->DV < 1 || a->D > SN_ATTENTION_WIDEST || a->DV > SN_ATTENTION_WIDEST)
        return sn_fail(SN_UNSUPPORTED, "attention with a head that is not 1 to %d wide", SN_ATTENTION_WIDEST);
    if (a->q.dtype == SN_F64) return sn_fail(SN_UNSUPPORTED, "attention in f64");
    return NULL;
}

/* Operations of the products: of scores and outputs, or of scores, dO·vᵀ, dV, dK and dQ. */
static Dim operations(const Attention *a) {
    Dims *dims = a->lower.dims;
    Dim pairs = sn_dim_mul(dims, sn_dim_mul(dims, a->extent[0], a->extent[1]),
                           sn_dim_mul(dims, a->extent[2], a->extent[3]));
    int64_t each = a->node->op == SN_OP_ATTENTION ? a->D + a->DV : 3 * a->D + 2 * a->DV;
    return sn_dim_mulc(dims, pairs, a->attr->causal ? each : 2 * each);
}

Status sn_lower_attention(KernelIr *kernel) {
    Attention a;
    TRY(begin(kernel, &a));
    bool cpu = kernel->target->kind == SN_TARGET_CPU;
    if (a.node->op == SN_OP_ATTENTION)
        TRY(cpu ? sn_lower_attention_cpu(&a) : sn_lower_attention_cuda(&a));
    else
        TRY(cpu ? sn_lower_attention_backward(&a) : sn_lower_attention_backward_cuda(&a));
    kernel->use = a.use;
    kernel->flops = operations(&a);
    return NULL;
}

#include "codegen.h"

#include "emit.h"
#include "lower.h"

typedef Status LowerFunction(KernelIr *kernel);

static LowerFunction *const lower_function[SN_CLUSTER_KIND_COUNT] = {
    [SN_CLUSTER_MAP] = sn_lower_map,           [SN_CLUSTER_REDUCE] = sn_lower_reduce,
    [SN_CLUSTER_CONTRACT] = sn_lower_contract, [SN_CLUSTER_ATTENTION] = sn_lower_attention,
    [SN_CLUSTER_SCAN] = sn_lower_reduce,       [SN_CLUSTER_PACK] = sn_lower_pack,
    [SN_CLUSTER_SCATTER] = sn_lower_scatter,   [SN_CLUSTER_RECURRENT] = sn_lower_recurrent,
};

static KernelIr *kernel_new(Arena *arena, Dims *dims, const Node *cluster, const Target *target) {
    KernelIr *kernel = SN_NEW(arena, KernelIr);
    kernel->arena = arena, kernel->dims = dims, kernel->cluster = cluster, kernel->target = target;
    const Region *body = cluster->body;
    kernel->input_count = body->param.count;
    kernel->output_count = body->result.count;
    for (int i = 0; i < body->param.count; i++)
        sn_push(arena, &kernel->buffer, ((Buffer){.dtype = body->param.at[i]->type.dtype}));
    for (int i = 0; i < body->result.count; i++)
        sn_push(arena, &kernel->buffer, ((Buffer){.dtype = body->result.at[i]->type.dtype, .written = true}));
    return kernel;
}

static Status lower(KernelIr *kernel) {
    const AttrCluster *attr = kernel->cluster->attr;
    Status status = lower_function[attr->kind](kernel);
    if (!status && sn_dims_overflowed(kernel->dims))
        status = sn_fail(SN_UNSUPPORTED, "an index expression too large for 64 bits");
    return sn_status_prefix(status, "%s kernel", sn_cluster_kind_name(attr->kind));
}

/* Bytes read and written once, and one operation for each arithmetic node's element: what reports go by. */
static void count_work(KernelIr *kernel) {
    Dims *dims = kernel->dims;
    const Region *body = kernel->cluster->body;
    Dim bytes = sn_dim(dims, 0), flops = sn_dim(dims, 0);
    for (int i = 0; i < body->param.count; i++)
        bytes = sn_dim_add(dims, bytes,
                           sn_dim_mulc(dims, sn_type_count(dims, body->param.at[i]->type),
                                       sn_dtype_bytes(body->param.at[i]->type.dtype)));
    for (int i = 0; i < body->result.count; i++)
        bytes = sn_dim_add(dims, bytes,
                           sn_dim_mulc(dims, sn_type_count(dims, body->result.at[i]->type),
                                       sn_dtype_bytes(body->result.at[i]->type.dtype)));
    for (const Node *node = body->first; node; node = node->next) {
        OpClass class = sn_op(node->op)->class;
        if (class == SN_CLASS_POINTWISE)
            flops = sn_dim_add(dims, flops, sn_type_count(dims, node->output[0]->type));
        if (class == SN_CLASS_REDUCE || class == SN_CLASS_SCAN)
            flops = sn_dim_add(dims, flops, sn_type_count(dims, node->input[0]->type));
    }
    kernel->bytes = bytes;
    kernel->flops = kernel->flops ? sn_dim_add(dims, kernel->flops, flops) : flops;
}

/* Loops only: what a template shares between its work items, or does behind them, is for one launch. */
static const Kernel *grouped(const KernelIr *kernel, const Kernel *made) {
    if (made->after || made->together) return NULL;
    if (kernel->target->kind == SN_TARGET_CPU) return kernel->use ? NULL : made;
    if (!kernel->group_text) return NULL;
    Kernel *form = SN_NEW(kernel->arena, Kernel);
    *form = *made;
    sn_emit_name(kernel->arena, kernel->group_text, form);
    form->group_most = sn_group_most(kernel->buffer.count, made->param_count);
    return form;
}

static Status emit(KernelIr *kernel, Kernel **out) {
    Arena *arena = kernel->arena;
    Dims *dims = kernel->dims;
    Kernel *result = SN_NEW(arena, Kernel);
    TRY(kernel->target->kind == SN_TARGET_CPU ? sn_emit_c(kernel, result) : sn_emit_cuda(kernel, result));
    count_work(kernel);
    sn_find_in_place(kernel, result);
    sn_find_faults(kernel, result);
    result->input_count = kernel->input_count;
    result->output_count = kernel->output_count;
    result->scratch_count = kernel->buffer.count - kernel->input_count - kernel->output_count;
    Dim *bytes = SN_ARRAY(arena, Dim, result->scratch_count);
    for (int i = 0; i < result->scratch_count; i++)
        bytes[i] = kernel->buffer.at[kernel->input_count + kernel->output_count + i].bytes;
    result->scratch_bytes = bytes;
    if (!result->shared) result->shared = sn_dim(dims, 0);
    sn_give_count(kernel, result);
    result->flops = kernel->flops, result->bytes = kernel->bytes;
    result->grouped = grouped(kernel, result);
    if (sn_dims_overflowed(dims)) return sn_fail(SN_UNSUPPORTED, "a size too large for 64 bits");
    *out = result;
    return NULL;
}

Status sn_codegen(Arena *arena, Dims *dims, const Node *cluster, const Target *target, Kernel **out) {
    KernelIr *kernel = kernel_new(arena, dims, cluster, target);
    TRY(lower(kernel));
    TRY(emit(kernel, out));
    Kernel *rest = NULL;
    if (kernel->rest) TRY(emit(kernel->rest, &rest));
    (*out)->library = kernel->library, (*out)->rest = rest, (*out)->full = kernel->full;
    return NULL;
}

Status sn_codegen_print(Arena *arena, Dims *dims, const Node *cluster, const Target *target, Text *text) {
    KernelIr *kernel = kernel_new(arena, dims, cluster, target);
    TRY(lower(kernel));
    sn_kernel_print(text, kernel);
    return NULL;
}

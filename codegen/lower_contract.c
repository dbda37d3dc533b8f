/* Contractions: which lowering a target has for one. Element types that the templates of no target accumulate (doubles,
 * integers) are plain nests with a reduction. */
#include "lower_gemm.h"

typedef struct Plain {
    ClusterFrame frame;
    Acc *acc;
} Plain;

static Instr *plain_result(Lower *lower, const Value *value, const Dim *index) {
    const Plain *plain = lower->user;
    if (value->producer != plain->frame.anchor) return NULL;
    for (int i = 0; i < plain->frame.domain.rank; i++)
        if (index[i] != plain->frame.full[i]) {
            sn_lower_fail(lower, "a product read at another element than its own");
            return NULL;
        }
    return plain->acc->result;
}

/* The index of b's element (k, n), packed or not. */
static Dim *right_index(const Gemm *gemm, const Dim *full, Dim k) {
    Dims *dims = gemm->lower.dims;
    Dim *at = SN_ARRAY(gemm->lower.arena, Dim, gemm->rank + 2);
    for (int i = 0; i < gemm->rank - 2; i++) at[i] = full[i];
    Dim n = full[gemm->rank - 1];
    at[gemm->rank - 2] = k, at[gemm->rank - 1] = n;
    if (gemm->attr->packed) {
        Type type = gemm->node->input[1]->type;
        Dim panel = type.dim[gemm->rank];
        at[gemm->rank - 2] = sn_dim_floordiv(dims, n, panel);
        at[gemm->rank - 1] = k;
        at[gemm->rank] = sn_dim_mod(dims, n, panel);
    }
    if (gemm->attr->group) {
        Dim group = sn_dim(dims, gemm->attr->group);
        at[gemm->rank - 1] = sn_dim_floordiv(dims, k, group);
        at[gemm->rank + 1] = sn_dim_mod(dims, k, group);
    }
    return at;
}

/* What is multiplied at (full..., k): an element of a by one of b, which a factor of its block may scale. */
static Instr *plain_product(Gemm *gemm, const Dim *full, Dim k) {
    Lower *lower = &gemm->lower;
    Dim *left = SN_ARRAY(lower->arena, Dim, gemm->rank);
    for (int i = 0; i < gemm->rank - 1; i++) left[i] = full[i];
    left[gemm->rank - 1] = k;
    DType dtype = gemm->type.dtype;
    Instr *factor[2] = {sn_lower_pull(lower, gemm->node->input[0], left),
                        sn_lower_pull(lower, gemm->node->input[1], right_index(gemm, full, k))};
    for (int i = 0; i < 2; i++) factor[i] = sn_lower_cast(lower, factor[i], dtype, true);
    if (gemm->attr->block) {
        Dim block = sn_dim_floordiv(lower->dims, k, sn_dim(lower->dims, gemm->attr->block));
        Instr *scaled[2] = {factor[1],
                            sn_lower_pull(lower, gemm->node->input[2], right_index(gemm, full, block))};
        factor[1] = sn_lower_call(lower, "mul", dtype, dtype, 2, scaled);
    }
    return sn_lower_call(lower, "mul", dtype, dtype, 2, factor);
}

/* The step behind the sum: the cluster's results, each at its own place. */
static Status store_plain(Lower *lower, const Plain *plain) {
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    const Region *body = lower->cluster->body;
    for (int i = 0; i < body->result.count; i++) {
        const Dim *at;
        bool row;
        if (!sn_cluster_place(lower->dims, lower->arena, &plain->frame, body->result.at[i], &at, &row))
            return sn_fail(SN_UNSUPPORTED, "a result that is no invertible view of the product");
        sn_lower_store(lower, step, i, body->result.at[i], at, at);
    }
    return lower->status;
}

static Status lower_plain(Gemm *gemm) {
    Lower *lower = &gemm->lower;
    Plain *plain = SN_NEW(lower->arena, Plain);
    const char *reason = sn_cluster_frame(lower->dims, lower->arena, lower->cluster, &plain->frame);
    if (gemm->attr->halves) return sn_fail(SN_UNSUPPORTED, "halves of bytes in panels of another width");
    if (reason) return sn_fail(SN_UNSUPPORTED, "%s", reason);
    const Dim *full = plain->frame.full;
    sn_lower_nest(lower);
    Dim k = sn_dim_axis(lower->dims, gemm->rank, gemm->K);
    for (int i = 0; i < gemm->rank; i++)
        if (full[i]->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->parallel, full[i]);
    if (k->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->reduced, k);
    Acc *acc = SN_NEW(lower->arena, Acc);
    *acc = (Acc){.function = "add", .dtype = gemm->type.dtype, .value = plain_product(gemm, full, k)};
    acc->result = sn_instr(lower->kernel, lower->nest,
                           &(Instr){.kind = SN_INSTR_REDUCED, .dtype = acc->dtype, .acc = acc});
    Step *loop = sn_nest_step(lower->kernel, lower->nest, true);
    sn_push(lower->arena, &loop->acc, acc);
    plain->acc = acc;
    lower->anchor = plain_result;
    lower->user = plain;
    TRY(store_plain(lower, plain));
    return sn_schedule_nest(lower->kernel, lower->nest);
}

Status sn_lower_contract(KernelIr *kernel) {
    const Node *node = kernel->cluster->body->first;
    while (node && node->op != SN_OP_CONTRACT) node = node->next;
    if (!node) return sn_fail(SN_UNSUPPORTED, "a contraction cluster without a contraction");
    Type type = node->output[0]->type, a = node->input[0]->type, b = node->input[1]->type;
    Gemm gemm = {
        .lower = sn_lower(kernel), .node = node, .attr = node->attr, .rank = type.rank, .type = type};
    gemm.use = SN_NEW(kernel->arena, TemplateUse);
    gemm.batch = sn_gemm_product(kernel->dims, type, type.rank - 2);
    gemm.M = type.dim[type.rank - 2], gemm.N = type.dim[type.rank - 1];
    /* Of equal depths the one that the panels were made by, for it decides how they lie. */
    gemm.K = gemm.attr->packed && !gemm.attr->group ? b.dim[b.rank - 2] : a.dim[a.rank - 1];
    if (gemm.attr->halves) gemm.K = sn_dim_mulc(kernel->dims, b.dim[b.rank - 3], 8);
    kernel->flops =
        sn_dim_mulc(kernel->dims, sn_dim_mul(kernel->dims, sn_type_count(kernel->dims, type), gemm.K), 2);
    if (kernel->target->kind == SN_TARGET_CPU)
        return sn_gemm_has_tiles(&gemm) ? sn_lower_gemm_cpu(&gemm) : lower_plain(&gemm);
    bool tiles = sn_gemm_is_narrow(type.dtype) && !gemm.attr->packed;
    return tiles ? sn_lower_gemm_cuda(&gemm) : lower_plain(&gemm);
}

/* Elementwise kernels that know no sizes: where every load and store of a nest is at the element's own place, nothing but
 * the number of elements tells tensors of different shapes apart, and the launch gives that. The parameters of a model, of
 * as many shapes as it has kinds of layers, are then updated by one kernel. */
#include "cluster.h"
#include "kernel.h"

static bool is_at(Dim offset, Dim axis) {
    return offset == axis || !sn_dim_depends(offset, axis);
}

/* Loads are at the element's place, or at one that is the same for all elements; nothing else knows where it is. */
static bool is_dense(const Nest *nest, Dim axis) {
    if (nest->step.count != 1 || nest->index.count || nest->reduced.count) return false;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        bool elsewhere = instr->dim && sn_dim_depends(instr->dim, axis) && instr->kind != SN_INSTR_LOAD;
        if (elsewhere || instr->which || (instr->limit && sn_dim_depends(instr->limit, axis)) ||
            (instr->dim && !is_at(instr->dim, axis)))
            return false;
    }
    const Step *step = &nest->step.at[0];
    for (int i = 0; i < step->store.count; i++)
        if (step->store.at[i].offset != axis) return false;
    return true;
}

void sn_schedule_dense(KernelIr *kernel, Nest *nest) {
    const AttrCluster *attr = kernel->cluster->attr;
    Dim axis = nest->parallel.count == 1 ? nest->parallel.at[0] : NULL,
        count = axis ? axis->operand[0] : NULL;
    int64_t elements;
    if (attr->kind != SN_CLUSTER_MAP || !axis || !sn_dim_is(count, &elements) || elements < 1 ||
        (kernel->count && kernel->count != count) || !is_dense(nest, axis))
        return;
    kernel->count = count;
    nest->parallel.at[0] = sn_dim_axis(kernel->dims, 0, sn_dim_unknown(kernel->dims));
    sn_schedule_replace(kernel, nest, &axis, &nest->parallel.at[0], 1);
}

/* ---- what the launch gives ---- */

static Dim given(const KernelIr *kernel, Dim dim) {
    Dim unknown = sn_dim_unknown(kernel->dims);
    return dim ? sn_dim_replace(kernel->dims, dim, &unknown, &kernel->count, 1) : NULL;
}

void sn_give_count(const KernelIr *kernel, Kernel *out) {
    if (!kernel->count) return;
    Dim *param = SN_ARRAY(kernel->arena, Dim, out->param_count);
    for (int i = 0; i < out->param_count; i++) param[i] = given(kernel, out->param[i]);
    out->param = param;
    out->items = given(kernel, out->items);
    out->after = given(kernel, out->after);
}
